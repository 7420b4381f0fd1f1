//! Witnesses inside the network: who cosigns what, and that nobody who was put
//! back to an older state cosigns another history.

use tallystick_protocol::id::LogId;
use tallystick_protocol::log::root_at;

use tallystick_simulator::measure::Event;
use tallystick_simulator::topology::Partition;
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
