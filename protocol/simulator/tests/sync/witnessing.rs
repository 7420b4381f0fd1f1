//! Witnesses inside the network: who cosigns what, and that nobody who was put
//! back to an older state cosigns another history.

use tallystick_protocol::id::LogId;
use tallystick_protocol::limits;
use tallystick_protocol::log::root_at;
use tallystick_protocol::sync::wire::Message;

use tallystick_simulator::authority::Who;
use tallystick_simulator::link::LinkModel;
use tallystick_simulator::measure::Event;
use tallystick_simulator::report::Cosigning;
use tallystick_simulator::scenario::Witnessed;
use tallystick_simulator::topology::{Partition, ring_and_random};
use tallystick_simulator::world::World;

/// Author 0, who names nodes 1 to `witnesses`; one more node only follows. All are connected.
fn witnessed(seed: u64, witnesses: usize, quorum: u32) -> World {
    let mut world = World::new(seed);
    let nodes = world.add_many(witnesses + 2);
    let named: Vec<_> = (1..=witnesses).map(|node| world.nodes[node].who.authority()).collect();
    let who = world.nodes[0].who.witnessed_by(&named, quorum);
    world.rekey(0, who);
    for (at, a) in nodes.iter().enumerate() {
        nodes[..at].iter().for_each(|b| world.connect(*a, *b));
    }
    world.run(2);
    world.author(0, 10, 50);
    world.run(30);
    world
}

fn cosigned(world: &World, node: usize) -> usize {
    world.status(node, 0).unwrap().cosigned
}

fn log(world: &World) -> LogId {
    world.nodes[0].who.log()
}

#[test]
fn named_witnesses_cosign_and_everybody_hears_it() {
    let mut world = witnessed(600, 4, 3);
    for node in 0..6 {
        assert_eq!(cosigned(&world, node), 4, "{node}");
    }
    world.author(0, 1, 50);
    world.run(30);
    for node in 0..6 {
        assert_eq!((world.signed(node, 0), cosigned(&world, node)), (11, 4), "{node}");
    }
    assert!(world.agree(&[0, 1, 2, 3, 4, 5]));
    world.assert_no_refusals();
}

#[test]
fn who_is_not_named_cosigns_nothing() {
    let world = witnessed(601, 1, 1);
    assert_eq!(world.nodes[2].disk.cosigned.len(), 0);
    assert_eq!(world.nodes[1].disk.cosigned[&log(&world)].size, 10);
    assert_eq!(world.happened.times(Event::Cosigned), 1);
}

#[test]
fn a_busy_log_is_cosigned_once_a_second() {
    let mut world = witnessed(602, 2, 2);
    let before = world.happened.times(Event::Cosigned);
    for _ in 0..100 {
        world.author(0, 1, 50);
        world.run_for(100_000);
    }
    world.run(20);
    let cosigned_since = world.happened.times(Event::Cosigned) - before;
    assert!((10..=26).contains(&cosigned_since), "{cosigned_since} in ten seconds by two");
    assert_eq!(cosigned(&world, 3), 2, "the newest is cosigned in the end");
}

#[test]
fn a_line_reaches_an_author_that_is_not_connected_with_the_witness() {
    let mut world = World::new(603);
    world.add_many(3);
    let named = [world.nodes[2].who.authority()];
    let who = world.nodes[0].who.witnessed_by(&named, 1);
    world.rekey(0, who);
    // A chain: the author knows the witness only through the node between them.
    world.connect(0, 1);
    world.connect(1, 2);
    world.author(0, 5, 50);
    world.run(60);
    for node in 0..3 {
        assert_eq!((world.signed(node, 0), cosigned(&world, node)), (5, 1), "{node}");
    }
}

#[test]
fn what_was_cosigned_while_the_author_was_away_reaches_it_when_it_is_back() {
    let mut world = witnessed(604, 1, 1);
    world.cut(Partition::island(&[0]));
    world.run(20);
    world.author(0, 3, 50);
    world.run(5);
    world.heal();
    world.connect(0, 1);
    world.connect(0, 2);
    world.run(30);
    assert_eq!((world.signed(2, 0), cosigned(&world, 2)), (13, 1));
}

#[test]
fn a_witness_restored_from_a_backup_does_not_cosign_the_other_branch() {
    let mut world = witnessed(605, 2, 2);
    let backup = world.nodes[1].disk.clone();
    let thief = {
        let who = world.nodes[0].who.clone();
        let thief = world.place(who, 1, false);
        world.nodes[thief].disk = world.nodes[0].disk.clone();
        world.nodes[thief].disk.crash();
        world.nodes[thief].signs_alone = true;
        world.start(thief);
        thief
    };
    world.author(0, 5, 50);
    world.run(20);
    assert_eq!(world.nodes[1].disk.cosigned[&log(&world)].size, 15);
    // The witness goes back; a thief with the author's keys has another history for it.
    world.crash(1);
    world.nodes[1].disk = backup;
    world.nodes[1].disk.incarnation = [61; 16];
    world.start(1);
    world.author(thief, 9, 50);
    // It meets somebody who has its later cosignature, and the thief.
    world.connect(1, 3);
    world.connect(1, thief);
    world.run(60);
    let seen = world.nodes[1].disk.cosigned[&log(&world)];
    let honest = &world.nodes[0].disk.logs[&log(&world)];
    let root = root_at(&**honest, seen.size);
    assert_eq!(root, Ok(seen.root), "what it cosigned is of the history it cosigned before");
}

#[test]
fn what_a_witness_decided_before_a_crash_it_signs_after_it() {
    for seed in 0..8 {
        let mut world = witnessed(610 + seed, 1, 1);
        world.nodes[1].disk.delay = 100_000;
        world.author(0, 1, 50);
        world.run_for(20_000 * (seed + 1));
        world.tear(1);
        world.start(1);
        world.connect(0, 1);
        world.connect(1, 2);
        world.run(40);
        assert_eq!((world.signed(2, 0), cosigned(&world, 2)), (11, 1), "{seed}");
    }
}

#[test]
fn in_whatever_order_lines_come_all_end_with_the_same_bytes() {
    let mut world = witnessed(620, 5, 3);
    // Only some of the witnesses are connected with the author.
    for witness in [3, 4, 5] {
        world.disconnect(0, witness);
    }
    for _ in 0..5 {
        world.author(0, 1, 50);
        world.run(2);
    }
    world.run(90);
    assert!(world.agree(&[0, 1, 2, 3, 4, 5, 6]));
    assert_eq!(cosigned(&world, 6), 5);
}

/// So many authorities, each with so many witnesses and a record. All start at once and
/// know of nobody but their partners, who are not all among their witnesses.
fn start_at_once(seed: u64, authorities: usize, witnesses: usize, quorum: u32) -> World {
    let mut world = World::new(seed);
    world.is_watchful = true;
    let nodes: Vec<_> =
        (0..authorities).map(|number| world.place(Who::new(number as u16), 0, true)).collect();
    for node in &nodes {
        let named = (1..=witnesses).map(|step| (node + step * 3) % authorities);
        let named: Vec<_> = named.map(|witness| world.nodes[witness].who.authority()).collect();
        let who = world.nodes[*node].who.witnessed_by(&named, quorum);
        world.assume(*node, who);
        world.nodes[*node].disk.delay = world.chance.between(2_000, 400_000);
    }
    for (a, b) in ring_and_random(&mut world.chance, &nodes, 6) {
        let model = LinkModel::country(&mut world.chance);
        world.want(a, b, model);
    }
    nodes.iter().for_each(|node| world.start(*node));
    nodes.iter().for_each(|node| world.author(*node, 2, 50));
    world
}

#[test]
fn authorities_that_all_start_at_once_see_each_other_confirmed_by_all_witnesses() {
    for seed in 630..634 {
        let mut world = start_at_once(seed, 25, 14, 8);
        world.run(120);
        for (node, of) in (0..25).flat_map(|node| (0..25).map(move |of| (node, of))) {
            let status = world.status(node, of).unwrap();
            assert_eq!((status.signed, status.cosigned), (2, 14), "seed {seed}: {of} at {node}");
        }
        assert!(world.agree(&(0..25).collect::<Vec<_>>()), "seed {seed}");
        world.assert_no_refusals();
    }
}

#[test]
fn whoever_is_named_after_the_last_head_cosigns_it_all_the_same() {
    let mut world = witnessed(640, 1, 1);
    let named = [1, 2].map(|node: usize| world.nodes[node].who.authority());
    let who = world.nodes[0].who.witnessed_by(&named, 2);
    // The event comes by itself, as a card does; the log stays as it is.
    world.oracle.register(&who, true);
    for node in [1, 2] {
        world.introduce(node, who.events.clone());
    }
    world.run(30);
    assert_eq!(cosigned(&world, 2), 2);
    assert_eq!(world.signed(2, 0), 10);
}

#[test]
fn invariant_1_a_line_that_cannot_be_verified_yet_is_neither_shown_nor_told_until_it_is() {
    let mut world = World::new(641);
    world.add_many(4);
    // Node 1 cosigns for node 0. Node 2 never hears who node 1 is, but for its line.
    let named = [world.nodes[1].who.authority()];
    let who = world.nodes[0].who.witnessed_by(&named, 1);
    world.rekey(0, who);
    world.author(0, 3, 50);
    world.connect(0, 1);
    world.run(20);
    let witness = world.nodes[1].who.events.clone();
    let hidden = witness.clone();
    world.nodes[0].lie = Some(Box::new(move |_, mut message| {
        if let Message::News(news) = &mut message {
            news.identities.retain(|events| *events != hidden);
        }
        vec![message.encode()]
    }));
    let told = std::rc::Rc::new(std::cell::Cell::new(0));
    let most = std::rc::Rc::clone(&told);
    world.nodes[2].lie = Some(Box::new(move |_, message| {
        let lines = |head: &Vec<u8>| String::from_utf8_lossy(head).matches('\u{2014}').count() - 1;
        let told = match &message {
            Message::News(news) => news.heads.iter().map(lines).max(),
            Message::Lines(held) => held.iter().map(|held| held.lines.len()).max(),
            Message::Offers(offers) => offers.iter().map(|offer| offer.count as usize).max(),
            _ => None,
        };
        most.set(told.unwrap_or_default().max(most.get()));
        vec![message.encode()]
    }));
    world.isolate(1);
    world.connect(0, 2);
    world.connect(2, 3);
    world.run(20);
    assert_eq!((world.signed(2, 0), cosigned(&world, 2)), (3, 0), "nobody knows the witness");
    assert_eq!(told.get(), 0, "the log's own line, and no other");
    world.introduce(2, witness);
    world.run(20);
    assert_eq!(cosigned(&world, 2), 1, "the line was kept until it could be verified");
    assert_eq!((cosigned(&world, 3), told.get()), (1, 1), "and is told from then on");
}

#[test]
fn two_lines_of_one_witness_for_one_head_end_as_one_at_everybody() {
    for seed in 650..656 {
        let mut world = witnessed(seed, 2, 2);
        world.author(0, 1, 50);
        world.run_for(600_000);
        // The witness has signed, and crashes before the line has come back to it. It
        // does not reach the author any more, signs once more, and tells node 3.
        world.crash(1);
        world.cut(Partition::island(&[0, 2]));
        world.run(20);
        world.start(1);
        world.connect(1, 3);
        world.run(30);
        let line = |world: &World, node: usize| {
            let (size, note) = world.nodes[node].disk.logs[&log(world)].head.clone().unwrap();
            let name = format!("{}/witness ", world.nodes[1].who.authority());
            let note = String::from_utf8(note).unwrap();
            (size, note.lines().find(|line| line.contains(&name)).map(str::to_owned))
        };
        let (first, second) = (line(&world, 2), line(&world, 3));
        assert!(first.1.is_some() && second.1.is_some() && first != second, "{seed}");
        world.heal();
        for (a, b) in [(0, 1), (0, 3), (1, 2), (2, 3)] {
            world.connect(a, b);
        }
        world.run(60);
        assert!(world.agree(&[0, 1, 2, 3]), "{seed}");
        assert_eq!(line(&world, 3), first, "{seed}: the earlier one stays");
        world.assert_no_refusals();
    }
}

#[test]
fn cosigning_is_cheap_for_everybody() {
    let plan =
        |witnesses| Witnessed { authorities: 30, witnesses, every: 600, watched: 600, seed: 5 };
    let cosigning =
        Cosigning { plan: plan(8), with: plan(8).run(|| 0.0), without: plan(0).run(|| 0.0) };
    let Cosigning { with, without, .. } = &cosigning;
    assert_eq!((with.heads, without.heads), (30, 30));
    // Each head by each witness, a few of them twice after a crash or a reconnection.
    assert!((240..=264).contains(&with.signed), "{}", with.signed);
    // Each line is checked once by each node, and sent to it once, in some 80 bytes; the
    // rest is who says to whom that it has them. Sent with each head to each partner, as
    // notes have them, they would take over ten times as much.
    assert!(cosigning.checks() <= 1.1, "{} checks", cosigning.checks());
    assert!(cosigning.kilobits() <= 0.9, "{} kbit/s", cosigning.kilobits());
    assert_eq!((without.signed, without.checked), (0, 0));
}

#[test]
fn whoever_reads_the_news_in_many_frames_hears_of_a_head_and_of_lines_that_came_later() {
    let mut world = World::new(660);
    world.add_many(3);
    let named = [world.nodes[2].who.authority()];
    let who = world.nodes[0].who.witnessed_by(&named, 1);
    world.rekey(0, who);
    world.connect(0, 1);
    world.author(0, 3, 50);
    world.run(10);
    assert_eq!((world.signed(1, 0), cosigned(&world, 1)), (3, 0));
    // More than a frame of other news comes before the witness has signed.
    for number in 2_000..2_000 + limits::NEWS_ITEMS as u16 {
        world.introduce(1, Who::new(number).events);
    }
    world.connect(0, 2);
    world.run(20);
    assert_eq!(cosigned(&world, 1), 1);
    world.isolate(0);
    let newcomer = world.add();
    world.connect(1, newcomer);
    world.run(30);
    assert_eq!((world.signed(newcomer, 0), cosigned(&world, newcomer)), (3, 1));
}
