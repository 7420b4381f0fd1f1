//! Our own log: one history, whatever is restored or answered.

use tallystick_protocol::sync::{AuthorRefusal, Notice, Refusal};

use tallystick_simulator::authority::Who;
use tallystick_simulator::world::World;

/// A node that authored on, and was then put back to an older copy of its disk.
fn restored(before: usize, after: usize) -> World {
    let mut world = World::new(40);
    world.add_many(3);
    world.connect(0, 1);
    if before > 0 {
        world.author(0, before, 50);
    }
    world.run(20);
    let mut copy = world.nodes[0].disk.clone();
    world.author(0, after, 50);
    world.run(20);
    assert_eq!(world.signed(1, 0), (before + after) as u64);
    world.crash(0);
    copy.incarnation = [50; 16];
    world.nodes[0].disk = copy;
    world.nodes[0].own_head_answers = 1;
    world.nodes[0].notices.clear();
    world.nodes[0].authored.clear();
    world
}

#[test]
fn invariant_2_later_entries_are_fetched_back_before_anything_is_signed() {
    let mut world = restored(10, 500);
    world.start(0);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(0, 0), 510);
    let own = |notice: &&Notice| {
        matches!(notice, Notice::OwnLogBehind { .. } | Notice::OwnLogRecovered { .. })
    };
    let notices: Vec<_> = world.nodes[0].notices.iter().filter(own).copied().collect();
    assert_eq!(
        notices,
        [Notice::OwnLogBehind { size: 510 }, Notice::OwnLogRecovered { size: 510 }]
    );
    // The oracle checks that no second history is signed.
    world.author(0, 4, 50);
    world.run(20);
    assert_eq!(world.signed(1, 0), 514);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn authoring_is_refused_while_own_entries_are_fetched_back() {
    let mut world = restored(10, 500);
    world.start(0);
    world.nodes[0].disk.delay = 5_000_000;
    world.connect(0, 1);
    world.run(2);
    world.author(0, 1, 50);
    world.run(1);
    let refused: Vec<_> = world.nodes[0].author_refused.iter().map(|(_, why)| *why).collect();
    assert_eq!(refused, [AuthorRefusal::FetchingOwn { size: 510 }]);
    world.run(30);
    world.author(0, 1, 50);
    world.run(20);
    assert_eq!(world.signed(0, 0), 511);
}

#[test]
fn nothing_is_signed_before_enough_partners_have_answered() {
    let mut world = World::new(41);
    world.add_many(3);
    world.crash(0);
    world.nodes[0].own_head_answers = 2;
    world.start(0);
    world.author(0, 3, 50);
    world.run(5);
    let signed = |world: &World| world.nodes[0].authored.iter().any(|(.., signed)| *signed);
    assert_eq!(world.nodes[0].authored.len(), 1, "journalled and acknowledged");
    assert!(!signed(&world));
    world.connect(0, 1);
    world.run(5);
    assert_eq!(world.signed(0, 0), 0, "one answer is not two");
    // The same authority on another node is still one.
    let twin = world.nodes[1].who.clone();
    let twin = world.add_node(twin, 1, true);
    world.connect(0, twin);
    world.run(5);
    assert_eq!(world.signed(0, 0), 0, "one authority answered twice");
    world.connect(0, 2);
    world.run(5);
    assert_eq!(world.signed(0, 0), 3);
    assert_eq!(world.signed(2, 0), 3);
}

#[test]
fn a_stranger_or_ourselves_do_not_count_as_an_answer() {
    let mut world = World::new(42);
    world.add_many(1);
    world.crash(0);
    world.nodes[0].own_head_answers = 1;
    world.start(0);
    world.author(0, 1, 50);
    let own = world.nodes[0].who.clone();
    let own = world.add_node(own, 1, true);
    world.connect(0, own);
    world.run(5);
    assert_eq!(world.signed(0, 0), 0);
}

#[test]
fn what_an_earlier_run_left_unsigned_is_signed_at_the_next_start() {
    let mut world = World::new(43);
    world.add_many(1);
    world.crash(0);
    world.nodes[0].own_head_answers = 1;
    world.start(0);
    world.author(0, 3, 50);
    world.run(5);
    assert_eq!(world.signed(0, 0), 0);
    world.crash(0);
    world.nodes[0].own_head_answers = 0;
    world.start(0);
    world.run(1);
    assert_eq!(world.signed(0, 0), 3);
}

#[test]
fn unsigned_entries_that_a_later_head_covers_are_kept() {
    // A copy from the moment when entries were journalled but not signed.
    let mut world = World::new(44);
    world.add_many(2);
    world.crash(0);
    world.nodes[0].own_head_answers = 1;
    world.start(0);
    world.author(0, 5, 50);
    world.run(2);
    let mut copy = world.nodes[0].disk.clone();
    world.connect(0, 1);
    world.run(2);
    world.author(0, 2, 50);
    world.run(2);
    assert_eq!(world.signed(1, 0), 7);
    world.crash(0);
    copy.incarnation = [51; 16];
    world.nodes[0].disk = copy;
    world.start(0);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(0, 0), 7);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn unsigned_entries_beyond_a_signed_head_stay_and_are_signed_after_it() {
    let mut world = World::new(45);
    world.add_many(2);
    world.crash(0);
    world.nodes[0].own_head_answers = 1;
    world.start(0);
    world.author(0, 5, 50);
    world.run(2);
    world.connect(0, 1);
    world.run(2);
    // A copy that lost the head but has the entries, and some that were never signed.
    world.crash(0);
    let log = world.nodes[0].who.log();
    world.nodes[0].disk.incarnation = [52; 16];
    world.nodes[0].disk.logs.get_mut(&log).unwrap().forget_head();
    world.start(0);
    world.author(0, 3, 50);
    // Nobody answers, so they are journalled, but not signed.
    world.run(12);
    assert_eq!(world.signed(0, 0), 0);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(0, 0), 8);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn unsigned_entries_that_a_later_head_contradicts_are_never_signed() {
    let mut world = restored(10, 5);
    world.nodes[0].own_head_answers = 1;
    world.start(0);
    // Authored before anybody could warn, and nobody answers for long.
    world.author(0, 3, 50);
    world.run(12);
    assert_eq!(world.signed(0, 0), 10);
    world.connect(0, 1);
    world.run(40);
    assert_eq!(world.signed(0, 0), 10);
    assert!(world.nodes[0].notices.contains(&Notice::OwnLogForked));
    world.author(0, 1, 50);
    assert_eq!(world.nodes[0].author_refused.last().unwrap().1, AuthorRefusal::TwoHistories);
    assert_eq!(world.signed(1, 0), 15);
}

#[test]
fn two_heads_of_our_own_of_one_size_stop_all_signing() {
    let mut world = World::new(46);
    let follower = world.add();
    let who = Who::new(901);
    let one = world.add_node(who.clone(), 0, false);
    let other = world.add_node(who, 1, false);
    world.connect(follower, one);
    world.author(one, 3, 50);
    world.run(2);
    world.author(other, 3, 50);
    world.run(2);
    world.connect(follower, other);
    world.run(5);
    assert!(world.nodes[other].notices.contains(&Notice::OwnLogForked));
    assert!(world.refusals(other, Refusal::Fork) > 0);
    world.author(other, 1, 50);
    assert_eq!(world.nodes[other].author_refused.last().unwrap().1, AuthorRefusal::TwoHistories);
}

#[test]
fn batches_of_no_or_too_many_entries_are_refused() {
    let mut world = World::new(47);
    world.add();
    world.author_entries(0, Vec::new());
    let entry = world.entry(10);
    let many = vec![entry; tallystick_protocol::limits::AUTHOR_ENTRIES + 1];
    world.author_entries(0, many);
    let refused: Vec<_> = world.nodes[0].author_refused.iter().map(|(_, why)| *why).collect();
    assert_eq!(refused, [AuthorRefusal::BatchSize, AuthorRefusal::BatchSize]);
}
