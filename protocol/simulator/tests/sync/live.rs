//! Live announcements.

use tallystick_protocol::sync::Refusal;

use tallystick_simulator::world::World;

#[test]
fn two_nodes_hear_each_others_entries_live() {
    let mut world = World::new(1);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.author(0, 3, 300);
    world.author(1, 2, 300);
    let took = world.run_up_to(2, |world| world.signed(0, 1) == 2 && world.signed(1, 0) == 3);
    assert!(took < 1, "gossip took {took} seconds");
    assert!(world.agree(&[0, 1]));
    assert_eq!(world.bodies_sent(0, 1), 0, "gossip brought everything");
    world.assert_no_refusals();
}

#[test]
fn a_batch_too_large_for_gossip_is_announced_and_fetched() {
    let mut world = World::new(2);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.author(0, 700, 100);
    let took = world.run_up_to(5, |world| world.signed(1, 0) == 700);
    assert!(took < 2, "took {took} seconds");
    assert_eq!(world.bodies_sent(0, 1), 700);
}

#[test]
fn what_gossip_loses_the_next_news_bring() {
    let mut world = World::new(3);
    world.add_many(2);
    world.loss = 100;
    world.connect(0, 1);
    world.run(1);
    world.author(0, 5, 100);
    world.run(20);
    assert_eq!(world.signed(1, 0), 5);
}

#[test]
fn a_hub_relays_for_nodes_that_only_dial_out() {
    let mut world = World::new(4);
    let spokes = world.add_many(6);
    for spoke in 1..6 {
        world.connect(0, spoke);
    }
    world.run(2);
    for spoke in 1..6 {
        // Some by gossip with entries, some as "my head moved" only.
        world.author(spoke, if spoke % 2 == 0 { 4 } else { 60 }, 200);
    }
    world.run(1);
    let took = world.run_up_to(60, |world| world.agree(&spokes));
    assert!(took < 35, "took {took} seconds");
    assert_eq!(world.signed(5, 1), 60);
    world.assert_no_refusals();
}

#[test]
fn a_late_joiner_catches_up_with_everything() {
    let mut world = World::new(5);
    let nodes = world.add_many(4);
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        world.connect(a, b);
    }
    for node in 0..3 {
        world.author(node, 300 + node, 100);
    }
    world.run(30);
    assert!(world.agree(&[0, 1, 2]));
    world.connect(3, 0);
    world.connect(3, 1);
    let took = world.run_up_to(30, |world| world.agree(&nodes));
    assert!(took < 3, "took {took} seconds");
    world.author(3, 1, 100);
    let took = world.run_up_to(30, |world| world.agree(&nodes));
    assert!(took < 20, "took {took} seconds");
}

#[test]
fn a_head_by_an_unknown_author_is_taken_once_its_identity_has_come() {
    let mut world = World::new(6);
    world.add_many(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.run(1);
    // Nobody introduced 0 to 2; gossip comes before the next news.
    world.author(0, 2, 100);
    world.run(5);
    assert_eq!(world.signed(2, 0), 2);
    assert_eq!(world.refusals(2, Refusal::UnknownAuthor), 0);
}

#[test]
fn gossip_heard_while_an_exchange_runs_is_not_lost() {
    let mut world = World::new(7);
    world.add_many(2);
    world.author(0, 3_000, 50);
    world.run(1);
    world.nodes[1].disk.delay = 400_000;
    world.connect(0, 1);
    for _ in 0..20 {
        world.run_up_to(1, |_| false);
        world.author(0, 2, 50);
    }
    world.run(20);
    assert_eq!(world.signed(1, 0), 3_040);
    assert!(world.agree(&[0, 1]));
}
