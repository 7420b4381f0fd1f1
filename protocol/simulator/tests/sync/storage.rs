//! Disks that are slow, fail and crash.

use tallystick_protocol::limits;
use tallystick_protocol::sync::{AuthorRefusal, Notice};

use tallystick_simulator::schedule::SECOND;
use tallystick_simulator::world::World;

#[test]
fn invariant_7_a_slow_disk_bounds_what_is_held_in_memory() {
    let mut world = World::new(1);
    world.add_many(3);
    world.author(0, 75, 900_000);
    world.connect(0, 1);
    world.run(30);
    assert!(world.agree(&[0, 1]));
    world.nodes[2].disk.delay = 8 * SECOND;
    world.connect(2, 0);
    world.connect(2, 1);
    let took = world.run_up_to(300, |world| world.agree(&[0, 2]));
    assert!(took > 16, "the disk was not slow: {took}");
    assert!(world.agree(&[0, 2]));
    // The bound itself is checked by the world after every step.
    assert!(world.nodes[2].most_staged > limits::STAGED_BYTES / 2);
    world.assert_no_refusals();
    assert_eq!(stalls(&world, 2), 0, "blamed for our disk");
}

fn stalls(world: &World, node: usize) -> usize {
    let stalled = |notice: &&Notice| matches!(notice, Notice::Stalled { .. });
    world.nodes[node].notices.iter().filter(stalled).count()
}

#[test]
fn answers_that_are_larger_than_expected_stay_with_the_transport() {
    let mut world = World::new(9);
    world.add_many(4);
    world.fill(0, 45, 1_000_000);
    for copy in [1, 2] {
        world.crash(copy);
        world.nodes[copy].disk.logs = world.nodes[0].disk.logs.clone();
        world.nodes[copy].disk.identities = world.nodes[0].disk.identities.clone();
        world.start(copy);
    }
    world.nodes[3].disk.delay = 30 * SECOND;
    world.spread = 1;
    for partner in 0..3 {
        world.connect(partner, 3);
    }
    world.run_up_to(300, |world| world.nodes[3].disk.logs.len() == 45);
    assert_eq!(world.nodes[3].disk.logs.len(), 45);
    // More was asked for than the stage holds; see the assertion in the world.
    assert!(world.nodes[3].most_staged >= limits::STAGED_BYTES);
    assert_eq!(stalls(&world, 3), 0, "blamed for our disk");
}

#[test]
fn a_very_slow_disk_is_not_blamed_on_the_partner() {
    let mut world = World::new(2);
    world.add_many(2);
    world.author(0, 80, 900_000);
    world.run(1);
    world.nodes[1].disk.delay = 50 * SECOND;
    world.connect(0, 1);
    world.run(600);
    assert!(world.agree(&[0, 1]));
    world.assert_no_refusals();
    assert_eq!(stalls(&world, 1), 0, "blamed for our disk");
}

#[test]
fn entries_are_acknowledged_and_announced_only_when_durable() {
    let mut world = World::new(3);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.nodes[0].disk.delay = 5 * SECOND;
    world.author(0, 3, 100);
    world.run(4);
    assert_eq!(world.nodes[0].authored, []);
    assert_eq!(world.signed(1, 0), 0);
    world.run(2);
    assert_eq!(world.nodes[0].authored.len(), 1);
    assert_eq!(world.signed(1, 0), 3);
}

#[test]
fn a_crash_loses_only_what_was_not_acknowledged() {
    let mut world = World::new(4);
    world.add_many(2);
    world.author(0, 3, 100);
    world.run(1);
    world.author(0, 4, 100);
    world.crash(0);
    assert_eq!(world.nodes[0].authored.len(), 1);
    world.start(0);
    world.author(0, 5, 100);
    world.connect(0, 1);
    world.run(3);
    assert_eq!(world.signed(1, 0), 8);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn nothing_is_acknowledged_when_the_disk_fails() {
    let mut world = World::new(5);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.nodes[0].disk.failing = 100;
    world.author(0, 3, 100);
    world.author(0, 20, 100);
    world.run(5);
    assert_eq!(world.nodes[0].authored, []);
    let refused: Vec<_> = world.nodes[0].author_refused.iter().map(|(_, why)| *why).collect();
    assert_eq!(refused, [AuthorRefusal::Storage, AuthorRefusal::Storage]);
    assert_eq!(world.signed(1, 0), 0);
    world.nodes[0].disk.failing = 0;
    world.author(0, 2, 100);
    world.run(5);
    assert_eq!(world.signed(1, 0), 2);
}

#[test]
fn a_receiver_whose_disk_failed_hears_everything_again() {
    let mut world = World::new(6);
    world.add_many(2);
    world.author(0, 1_000, 100);
    world.run(1);
    world.nodes[1].disk.failing = 100;
    world.connect(0, 1);
    world.run(2);
    assert_eq!(world.signed(1, 0), 0);
    world.nodes[1].disk.failing = 0;
    world.run(40);
    assert_eq!(world.signed(1, 0), 1_000);
    assert!(world.agree(&[0, 1]));
}

/// The counter that a cursor covers is lost in the crash and given out again.
#[test]
fn a_crash_never_hides_a_change_from_those_who_read_before_it() {
    let mut world = World::new(7);
    world.add_many(3);
    world.connect(0, 1);
    world.run(40);
    // The hub hears of an authority, tells of it, and crashes before it is durable.
    world.nodes[0].disk.delay = 60 * SECOND;
    world.connect(0, 2);
    world.run(20);
    let known = |world: &World| world.nodes[1].machine.as_ref().unwrap().authorities().count();
    assert_eq!(known(&world), 3, "it was told");
    world.crash(0);
    world.nodes[0].disk.delay = 3_000;
    world.loss = 100;
    world.start(0);
    world.author(0, 1, 100);
    world.connect(0, 1);
    world.run(40);
    assert_eq!(world.signed(1, 0), 1);
}

/// Two logs' appends become durable in the other order than they were handed out.
#[test]
fn a_cursor_never_runs_past_a_change_that_is_on_its_way_to_the_disk() {
    use tallystick_protocol::sync::wire::Message;
    use tallystick_protocol::sync::{Input, Output};
    use tallystick_protocol::time::Timestamp;

    let mut world = World::new(8);
    world.add_many(4);
    for node in 1..4 {
        world.connect(0, node);
    }
    world.run(20);
    world.nodes[0].disk.delay = 1_000 * SECOND;
    world.author(1, 1, 100);
    world.run(1);
    world.author(2, 1, 100);
    world.run(1);
    let third = world.nodes[3].id;
    let tickets: Vec<_> = world.nodes[0]
        .disk
        .pending
        .iter()
        .filter_map(|write| match write {
            tallystick_simulator::disk::Write::Append(ticket, _) => Some(*ticket),
            _ => None,
        })
        .collect();
    assert_eq!(tickets.len(), 2);
    let now = Timestamp::from_micros(world.now());
    let machine = world.nodes[0].machine.as_mut().unwrap();
    let mut heads = |input: Input| {
        machine.handle(now, input);
        machine.handle(now, Input::Received(third, Message::Since { cursor: None }.encode()));
        let mut heads = 0;
        while let Some(output) = machine.poll() {
            if let Output::Send(_, frame) = output
                && let Ok(Some(Message::News(news))) = Message::decode(&frame)
            {
                heads = news.heads.len();
            }
        }
        heads
    };
    assert_eq!(heads(Input::Appended(tickets[1])), 0, "the first is not durable yet");
    assert_eq!(heads(Input::Appended(tickets[0])), 2);
}
