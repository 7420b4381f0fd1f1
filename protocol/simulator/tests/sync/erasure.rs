//! Erasure: what is erased is shown to nobody any more, and what a thief erased comes back.

use tallystick_protocol::body::{Body, FieldName, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::erasure::{Erasure, Reason, Scope};
use tallystick_protocol::id::{LogId, Version};
use tallystick_protocol::time::UnixTime;

use tallystick_simulator::measure::Event;
use tallystick_simulator::world::World;

use crate::identity::{recover, thief};

/// An author, node 0, with ten entries, and two partners, all connected.
fn world_of(seed: u64) -> World {
    let mut world = World::new(seed);
    world.add_many(3);
    meet(&mut world);
    world.author(0, 10, 50);
    world.run(20);
    world
}

fn meet(world: &mut World) {
    world.connect(0, 1);
    world.connect(0, 2);
    world.connect(1, 2);
}

/// A partner that comes later.
fn late(world: &mut World, partners: &[usize]) -> usize {
    let late = world.add();
    partners.iter().for_each(|partner| world.connect(late, *partner));
    world.run(60);
    late
}

/// The author's first log.
fn log(world: &World) -> LogId {
    LogId::public(world.nodes[0].who.authority(), 0)
}

/// The entry by which the author erases one of its entries.
fn erasure(world: &World, of: u64, scope: &Scope) -> Entry {
    let erased = world.nodes[0].disk.logs[&log(world)].entries[of as usize].checked();
    let fields = Erasure::to_fields(Reason::Mistake, scope, &[]).unwrap();
    let salt = Salt::from_random([of as u8; 32]);
    let (body, commitment) = FullBody::new(&salt, &fields).unwrap();
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let Header { kind, record, issued, .. } = *erased.header();
    let mut header = Header::new(kind, record, Action::Erase, issued, commitment, size);
    header.previous = Some(Version { generation: 0, index: of });
    Entry::author(header, Body::Full(body)).unwrap()
}

fn erase(world: &mut World, by: usize, of: u64, scope: &Scope) {
    let entry = erasure(world, of, scope);
    world.author_entries(by, vec![entry]);
}

fn fields(names: &[&str]) -> Scope {
    Scope::Fields(names.iter().map(|name| FieldName::new(name).unwrap()).collect())
}

/// The names of what a node can read of an entry.
fn shown(world: &World, node: usize, index: u64) -> Vec<String> {
    let entry = world.nodes[node].disk.logs[&log(world)].entries[index as usize].checked();
    let fields = entry.body().unwrap().fields();
    fields.iter().map(|(name, _)| name.to_string()).collect()
}

const ALL: [&str; 3] = ["title", "status", "payload"];

fn has_all(world: &World, node: usize, index: u64) -> bool {
    let shown = shown(world, node, index);
    ALL.iter().all(|name| shown.contains(&(*name).to_owned()))
}

#[test]
fn invariant_6_late_joiners_never_get_what_is_erased() {
    let mut world = world_of(900);
    erase(&mut world, 0, 3, &Scope::Whole);
    erase(&mut world, 0, 4, &fields(&["payload"]));
    world.run(20);
    // Nobody has deleted anything yet.
    assert!((0..3).all(|node| has_all(&world, node, 3) && has_all(&world, node, 4)));
    for partners in [&[1][..], &[0, 1, 2]] {
        let late = late(&mut world, partners);
        assert_eq!(world.signed(late, 0), 12);
        assert_eq!(shown(&world, late, 3), Vec::<String>::new());
        assert_eq!(shown(&world, late, 4), ["title", "status"]);
        assert!(has_all(&world, late, 5));
        assert!(world.agree(&[0, 1, 2, late]));
    }
    world.assert_no_refusals();
    assert_eq!(world.happened.events.get(&Event::BodyFilled), None);
}

#[test]
fn invariant_6_what_is_erased_is_hidden_after_a_restart_too() {
    let mut world = world_of(901);
    erase(&mut world, 0, 3, &Scope::Whole);
    world.run(20);
    for node in 0..3 {
        world.crash(node);
        world.start(node);
    }
    let late = late(&mut world, &[0, 1, 2]);
    assert_eq!(shown(&world, late, 3), Vec::<String>::new());
}

/// The author's entry 3 once more, with a retention date so many seconds from now.
fn dated(world: &World, seconds: u64) -> Entry {
    let entry = world.nodes[0].disk.logs[&log(world)].entries[3].checked();
    let (mut header, body) = (entry.header().clone(), entry.body().unwrap().clone());
    let now = world.now() / 1_000_000;
    header.retain_until = Some(UnixTime::from_seconds(now + seconds));
    Entry::author(header, body).unwrap()
}

#[test]
fn invariant_6_what_is_retained_no_longer_is_shown_to_nobody_whatever_clocks_say() {
    let mut world = world_of(903);
    let entry = dated(&world, 300);
    world.author_entries(0, vec![entry]);
    world.run(20);
    let early = late(&mut world, &[1]);
    assert!(has_all(&world, early, 10), "its date has still to come");
    world.run(300);
    let late = late(&mut world, &[0, 1, 2]);
    assert_eq!(world.signed(late, 0), 11);
    assert_eq!(shown(&world, late, 10), Vec::<String>::new());
    assert_eq!(shown(&world, late, 3), Vec::<String>::new(), "an earlier version of the record");
    assert!(has_all(&world, late, 4), "another record");
    assert!(world.agree(&[0, 1, 2, early, late]));
    world.run(600);
    world.assert_no_refusals();
    assert_eq!(world.happened.events.get(&Event::BodyFilled), None, "nobody misses it");
}

#[test]
fn invariant_6_a_fast_clock_loses_nothing_before_the_retention_date() {
    let mut world = world_of(904);
    let entry = dated(&world, 500);
    world.author_entries(0, vec![entry]);
    world.run(20);
    // A partner whose clock is far ahead, and one that has the log from it alone.
    let now = world.now();
    world.nodes[2].clock.jump(now, 5_000 * 1_000_000);
    let fed = world.add();
    world.connect(fed, 2);
    world.run(60);
    assert_eq!(shown(&world, fed, 10), Vec::<String>::new(), "all that it was given");
    world.connect(fed, 0);
    world.run(120);
    assert!(has_all(&world, fed, 10), "the author still has it, and it is wanted");
    world.run(400);
    let late = late(&mut world, &[0]);
    assert_eq!(shown(&world, late, 10), Vec::<String>::new());
}

#[test]
fn an_erasure_covers_no_later_version_and_no_other_record() {
    let mut world = world_of(902);
    erase(&mut world, 0, 3, &Scope::Whole);
    let again = world.nodes[0].disk.logs[&log(&world)].entries[3].checked();
    world.author_entries(0, vec![again]);
    world.run(20);
    let late = late(&mut world, &[1]);
    assert_eq!(shown(&world, late, 3), Vec::<String>::new());
    assert!(has_all(&world, late, 11), "published again");
    assert!((0..3).chain(4..10).all(|index| has_all(&world, late, index)));
}

#[test]
fn invariant_4_what_one_holder_withholds_another_gives() {
    let mut world = world_of(903);
    let id = log(&world);
    for index in 0..8 {
        world.reduce(1, &id, index, &Scope::Whole);
    }
    world.reduce(1, &id, 8, &fields(&["payload"]));
    world.crash(1);
    world.isolate(0);
    world.isolate(2);
    world.start(1);
    let late = late(&mut world, &[1]);
    assert_eq!(world.signed(late, 0), 10);
    assert_eq!(shown(&world, late, 8), ["title", "status"]);
    world.connect(late, 2);
    world.run(60);
    assert!((0..10).all(|index| has_all(&world, late, index)), "the other one gave them");
    assert!(world.happened.events.contains_key(&Event::BodyFilled));
    world.assert_no_refusals();
}

#[test]
fn what_is_lacking_is_asked_for_again_after_a_restart() {
    let mut world = world_of(904);
    let id = log(&world);
    world.crash(1);
    world.reduce(1, &id, 2, &Scope::Whole);
    world.start(1);
    world.connect(1, 2);
    world.run(60);
    assert!(has_all(&world, 1, 2));
}

#[test]
fn what_a_thief_erased_comes_back_when_the_controllers_disown_it() {
    for seed in 905..913 {
        let mut world = world_of(seed);
        let closes = world.head(0);
        let thief = thief(&mut world);
        world.crash(0);
        world.connect(thief, 1);
        erase(&mut world, thief, 3, &Scope::Whole);
        erase(&mut world, thief, 4, &fields(&["title"]));
        world.run(30);
        let late = late(&mut world, &[1, 2]);
        assert_eq!(shown(&world, late, 3), Vec::<String>::new());
        assert_eq!(shown(&world, late, 4), ["status", "payload"]);
        world.isolate(thief);
        recover(&mut world, 0, closes);
        meet(&mut world);
        world.run(10);
        if seed % 2 == 0 {
            world.crash(late);
            world.start(late);
            world.connect(late, 1);
        }
        world.run(120);
        for node in [0, 1, 2, late] {
            assert!(has_all(&world, node, 3) && has_all(&world, node, 4), "{seed}: node {node}");
        }
        assert!(world.agree(&[0, 1, 2, late]));
    }
}

#[test]
fn an_honest_erasure_of_before_a_theft_stands() {
    let mut world = world_of(920);
    erase(&mut world, 0, 3, &Scope::Whole);
    world.run(20);
    let closes = world.head(0);
    let thief = thief(&mut world);
    world.crash(0);
    world.connect(thief, 1);
    erase(&mut world, thief, 4, &Scope::Whole);
    world.run(30);
    world.isolate(thief);
    recover(&mut world, 0, closes);
    meet(&mut world);
    world.run(60);
    let late = late(&mut world, &[0, 1, 2]);
    assert_eq!(shown(&world, late, 3), Vec::<String>::new());
    assert!(has_all(&world, late, 4));
}
