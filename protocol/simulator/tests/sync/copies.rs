//! Invariant 2 where a node runs from an older state, or twice: no accident
//! makes a forger. The world's oracle checks each signature by itself.

use std::cell::RefCell;
use std::rc::Rc;

use tallystick_protocol::sync::wire::Message;
use tallystick_protocol::sync::{AuthorRefusal, Notice};

use tallystick_simulator::disk::Disk;
use tallystick_simulator::node::Lie;
use tallystick_simulator::world::World;

/// A node, and as many partners, all connected to it and idle.
fn with_partners(seed: u64, partners: usize) -> World {
    let mut world = World::new(seed);
    world.add_many(1 + partners);
    for partner in 1..=partners {
        world.connect(0, partner);
    }
    world.run(2);
    world.author(0, 10, 50);
    world.run(20);
    assert_eq!(world.signed(1, 0), 10);
    world
}

/// A second process over a copy of the disk of node 0, not connected yet.
fn copy(world: &mut World) -> usize {
    let who = world.nodes[0].who.clone();
    let copy = world.add_node(who, 0, true);
    world.crash(copy);
    let (disk, delay) = (world.nodes[0].disk.clone(), world.nodes[0].disk.delay);
    world.nodes[copy].disk = disk;
    world.nodes[copy].disk.crash();
    world.nodes[copy].disk.delay = delay;
    world.start(copy);
    copy
}

fn said(world: &World, node: usize) -> Vec<bool> {
    let stopped = |notice: &Notice| match notice {
        Notice::AnotherCopy { stopped } => Some(*stopped),
        _ => None,
    };
    world.nodes[node].notices.iter().filter_map(stopped).collect()
}

fn assert_stopped(world: &mut World, node: usize) {
    assert_eq!(said(world, node), [true], "the later one stopped, and said so once");
    world.author(node, 1, 50);
    let refused = world.nodes[node].author_refused.last().unwrap().1;
    assert_eq!(refused, AuthorRefusal::AnotherCopy);
}

fn is_signed(world: &World, node: usize) -> Vec<bool> {
    world.nodes[node].authored.iter().map(|(.., signed)| *signed).collect()
}

/// Takes a node back to an older copy of its disk, with all memory lost.
fn restore(world: &mut World, node: usize, disk: Disk) {
    world.crash(node);
    world.nodes[node].disk = disk;
    world.nodes[node].notices.clear();
    world.nodes[node].authored.clear();
    world.start(node);
}

#[test]
fn invariant_2_a_node_restored_from_an_older_disk_signs_only_after_a_partner_has_answered() {
    let mut world = with_partners(400, 1);
    let old = world.nodes[0].disk.clone();
    world.author(0, 5, 50);
    world.run(2);
    restore(&mut world, 0, old);
    // Authored before the partner is connected, as it is a moment later.
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(is_signed(&world, 0), [], "neither kept nor signed");
    world.connect(0, 1);
    world.run(30);
    let refused = world.nodes[0].author_refused.last().unwrap().1;
    assert_eq!(refused, AuthorRefusal::FetchingOwn { size: 15 });
    assert_eq!(world.signed(0, 0), 15, "what it had signed has come back");
    world.author(0, 1, 50);
    world.run(5);
    assert_eq!(is_signed(&world, 0), [true], "and it goes on from there");
    assert_eq!(world.signed(1, 0), 16);
    world.assert_no_refusals();
}

#[test]
fn invariant_2_a_restored_node_that_hears_first_goes_on_where_it_was() {
    let mut world = with_partners(401, 1);
    let old = world.nodes[0].disk.clone();
    world.author(0, 5, 50);
    world.run(2);
    restore(&mut world, 0, old);
    world.connect(0, 1);
    world.run(5);
    world.author(0, 3, 50);
    world.run(5);
    assert_eq!(world.signed(1, 0), 18);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn invariant_2_a_node_reverted_while_it_runs_signs_only_after_a_partner_has_answered() {
    let mut world = with_partners(402, 1);
    let disk = world.nodes[0].disk.clone();
    world.author(0, 5, 50);
    world.run(2);
    // The machine's memory is put back as well: as if it had started from the
    // old disk long ago and had heard all it wanted, when the clocks part.
    restore(&mut world, 0, disk);
    world.run(60);
    world.jump(0);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(is_signed(&world, 0), []);
    world.connect(0, 1);
    world.run(30);
    assert_eq!(world.signed(0, 0), 15);
    assert!(!world.nodes[0].notices.contains(&Notice::OwnLogForked));
}

#[test]
fn after_a_clock_jump_signing_goes_on_once_the_partner_has_answered() {
    let mut world = with_partners(403, 1);
    world.jump(0);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(0, 0), 10);
    world.connect(0, 1);
    world.run(1);
    assert_eq!(world.signed(0, 0), 11);
    assert_eq!(world.signed(1, 0), 11);
    assert_eq!(said(&world, 0), []);
    world.assert_no_refusals();
}

#[test]
fn a_clock_jump_asks_for_as_many_answers_as_a_start() {
    let mut world = with_partners(404, 2);
    world.crash(0);
    world.nodes[0].own_head_answers = 2;
    world.start(0);
    for partner in [1, 2] {
        world.connect(0, partner);
    }
    world.run(1);
    world.jump(0);
    world.connect(0, 1);
    world.author(0, 1, 50);
    world.run(60);
    assert_eq!(world.signed(0, 0), 10);
    world.connect(0, 2);
    world.run(1);
    assert_eq!(world.signed(0, 0), 11);
}

#[test]
fn a_partner_that_comes_back_after_others_were_away_is_heard_before_anything_is_signed() {
    let mut world = with_partners(405, 1);
    world.disconnect(0, 1);
    world.run(60);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(is_signed(&world, 0), [true, true], "alone for long: as it has always been");
    world.nodes[1].lie = Some(Box::new(|_, _| Vec::new()));
    world.connect(0, 1);
    world.run(1);
    world.author(0, 1, 50);
    world.run(5);
    assert_eq!(is_signed(&world, 0), [true, true], "it waits for the partner");
    world.run(30);
    assert_eq!(world.signed(0, 0), 12, "a partner that says nothing delays, no more");
}

#[test]
fn without_any_partner_to_be_reached_signing_goes_on_after_the_grace() {
    let mut world = with_partners(406, 1);
    world.crash(0);
    world.start(0);
    world.author(0, 1, 50);
    world.run(9);
    assert_eq!(world.signed(0, 0), 10);
    world.run(2);
    assert_eq!(world.signed(0, 0), 11);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(0, 0), 12, "it waits once");
}

#[test]
fn a_normal_restart_is_not_delayed() {
    let mut world = with_partners(407, 2);
    world.crash(0);
    world.run(5);
    world.start(0);
    world.connect(0, 1);
    world.connect(0, 2);
    world.author(0, 1, 50);
    let waited = world.run_up_to(20, |world| world.signed(0, 0) == 11);
    assert_eq!(waited, 0, "less than a second");
    world.run(20);
    assert_eq!(said(&world, 0), []);
    world.assert_no_refusals();
}

#[test]
fn a_reconnect_of_the_same_run_over_a_dead_link_is_no_second_copy() {
    let mut world = with_partners(408, 1);
    world.replace(0, 0, 1);
    world.run(1);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(1, 0), 11);
    assert_eq!(said(&world, 0), []);
}

#[test]
fn invariant_2_of_two_live_copies_at_one_partner_the_later_stops() {
    let mut world = with_partners(409, 1);
    let twin = copy(&mut world);
    world.author(twin, 1, 50);
    world.replace(0, twin, 1);
    world.run(5);
    assert_eq!(world.signed(twin, 0), 10, "it waits for the other to say that it lives");
    // The copies drive each other off the partner's link, as one node key does.
    world.replace(twin, 0, 1);
    world.run(1);
    assert_eq!(said(&world, 0), [false], "the earlier one warns");
    world.replace(0, twin, 1);
    world.run(1);
    assert_stopped(&mut world, twin);
    assert!(!world.is_linked(twin, 1), "and leaves the link to it");
    world.connect(0, 1);
    world.run(1);
    world.author(0, 2, 50);
    world.run(30);
    assert_eq!(world.signed(1, 0), 12);
    assert_eq!(world.signed(twin, 0), 10);
    // It does not come back, either.
    world.replace(0, twin, 1);
    world.run(1);
    assert!(!world.is_linked(twin, 1));
    assert_eq!(said(&world, 0), [false]);
}

#[test]
fn invariant_2_two_live_copies_at_two_partners_that_know_each_other_find_each_other() {
    let mut world = World::new(410);
    world.add_many(3);
    world.connect(1, 2);
    world.connect(0, 1);
    // The other partner has never met the node, but knows it.
    let events = world.nodes[0].who.events.clone();
    world.introduce(2, events);
    world.run(2);
    world.author(0, 10, 50);
    world.run(20);
    let twin = copy(&mut world);
    world.run(1);
    world.connect(twin, 2);
    world.run(1);
    assert_eq!(said(&world, 0), [false]);
    assert_stopped(&mut world, twin);
    world.author(0, 2, 50);
    world.run(10);
    assert_eq!(world.signed(1, 0), 12);
    assert_eq!(world.signed(twin, 0), 10);
}

#[test]
fn copies_at_partners_that_both_have_met_them_find_each_other_too() {
    let mut world = with_partners(411, 2);
    world.connect(1, 2);
    world.run(2);
    let twin = copy(&mut world);
    world.replace(0, twin, 2);
    world.run(3);
    assert_eq!(said(&world, 0), [false]);
    assert_stopped(&mut world, twin);
}

#[test]
fn a_partner_that_lies_about_another_run_delays_signing_for_a_bounded_time_only() {
    let mut world = with_partners(412, 1);
    let (node, mut number) = (world.nodes[0].id, 0);
    for second in 0..60 {
        number += 1;
        world.inject(1, 0, Message::Seen { node, run: [number; 16] }.encode());
        world.run(1);
        if second == 0 {
            world.author(0, 1, 50);
        }
        let signed = world.signed(0, 0);
        assert!(second >= 9 || signed == 10, "in second {second}");
        assert!(second <= 11 || signed == 11, "in second {second}");
    }
    assert_eq!(said(&world, 0), []);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(1, 0), 12, "it has had its say");
}

#[test]
fn another_node_of_our_own_does_not_count_as_a_partner_that_saw_another_run() {
    let mut world = with_partners(413, 1);
    let who = world.nodes[0].who.clone();
    let own = world.add_node(who, 1, true);
    world.connect(0, own);
    world.run(1);
    let node = world.nodes[0].id;
    world.inject(own, 0, Message::Seen { node, run: [77; 16] }.encode());
    world.run(1);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(1, 0), 11);
}

/// Collects the statements that a node sends.
fn overhear(world: &mut World, node: usize) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&heard);
    let lie: Lie = Box::new(move |_, message| {
        if matches!(message, Message::Alive(_)) {
            kept.borrow_mut().push(message.encode());
        }
        vec![message.encode()]
    });
    world.nodes[node].lie = Some(lie);
    heard
}

#[test]
fn a_replayed_statement_of_an_earlier_run_stops_nobody() {
    let mut world = with_partners(414, 1);
    let node = world.nodes[0].id;
    let heard = overhear(&mut world, 0);
    // The partner asks for statements for whatever runs it likes.
    for number in 1..=5 {
        world.inject(1, 0, Message::Seen { node, run: [number; 16] }.encode());
    }
    world.run(20);
    assert_eq!(heard.borrow().len(), 5);
    world.crash(0);
    world.start(0);
    world.connect(0, 1);
    world.run(1);
    for statement in heard.borrow().iter() {
        world.inject(1, 0, statement.clone());
    }
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(1, 0), 11);
    assert_eq!(said(&world, 0), []);
}

#[test]
fn a_statement_that_was_changed_or_is_our_own_stops_nobody() {
    let mut world = with_partners(415, 1);
    let node = world.nodes[0].id;
    let heard = overhear(&mut world, 0);
    world.inject(1, 0, Message::Seen { node, run: [9; 16] }.encode());
    world.run(20);
    let own = heard.borrow()[0].clone();
    let Some(Message::Alive(statement)) = Message::decode(&own).unwrap() else { panic!() };
    // As if the run [9; 16], started before us, had heard of ours.
    let mut forged = statement.clone();
    (forged.run, forged.probe) = (statement.probe, statement.run);
    forged.started = tallystick_protocol::time::UnixTime::from_seconds(0);
    let mut mirrored = statement.clone();
    mirrored.probe = statement.run;
    for bytes in [own, Message::Alive(forged).encode(), Message::Alive(mirrored).encode()] {
        world.inject(1, 0, bytes);
    }
    world.run(1);
    world.author(0, 1, 50);
    world.run(1);
    assert_eq!(world.signed(1, 0), 11);
    assert_eq!(said(&world, 0), []);
}
