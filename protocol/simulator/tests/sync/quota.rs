//! Quotas: of what is over them only heads are kept, until they are raised.

use tallystick_protocol::sync::{LogStatus, Quota};
use tallystick_simulator::world::World;

fn limited(seed: u64, quota: Quota) -> World {
    let mut world = World::new(seed);
    world.add_many(3);
    world.crash(1);
    world.nodes[1].quota = quota;
    world.start(1);
    world.connect(0, 1);
    world.run(5);
    world
}

fn status(world: &World) -> LogStatus {
    world.status(1, 0).unwrap()
}

#[test]
fn over_a_quota_of_entries_only_the_head_is_kept_and_a_raised_one_catches_up() {
    let mut world = limited(90, Quota { entries: 1_000, ..Quota::default() });
    world.author(0, 1_000, 50);
    world.run(10);
    assert_eq!(world.signed(1, 0), 1_000);
    assert!(!status(&world).over_quota);
    world.author(0, 5, 50);
    world.run(40);
    assert_eq!(world.signed(1, 0), 1_000);
    let found = status(&world);
    assert_eq!((found.size, found.behind, found.over_quota), (1_000, Some(1_005), true));
    world.assert_no_refusals();
    // Others are fetched, and the own log has none.
    world.author(1, 1_500, 50);
    world.connect(2, 1);
    world.author(2, 7, 50);
    world.run(10);
    assert_eq!((world.signed(1, 2), world.signed(2, 1)), (7, 1_500));
    world.crash(1);
    world.nodes[1].quota = Quota::default();
    world.start(1);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(1, 0), 1_005, "nothing new was said, and it caught up");
    assert!(!status(&world).over_quota);
}

#[test]
fn a_quota_of_bytes_ends_the_fetching_and_counts_across_restarts() {
    let mut world = limited(91, Quota { bytes: 1 << 20, ..Quota::default() });
    world.author(0, 4_000, 1_000);
    world.run(60);
    let first = status(&world);
    assert!(first.over_quota);
    assert!((1..4_000).contains(&first.size), "{first:?}");
    world.crash(1);
    world.start(1);
    world.connect(0, 1);
    world.run(60);
    assert_eq!(status(&world).size, first.size, "what is held counts after a restart");
    world.crash(1);
    world.nodes[1].quota = Quota::default();
    world.start(1);
    world.connect(0, 1);
    world.run(60);
    assert_eq!(world.signed(1, 0), 4_000);
}
