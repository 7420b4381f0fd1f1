//! Private groups that overlap, in a network with faults, by seed.
//!
//! Invariant 3 of the design (a group is told of to its members only, and written
//! for them only) in every frame and every write, 1, 2, 5 and 7 after every step, and
//! 4 (members end with the same members, heads and bodies) at the end.

use tallystick_simulator::scenario::{Groups, in_parallel};

#[test]
fn invariant_3_and_4_hold_in_groups_that_overlap_with_faults() {
    let plans: Vec<_> = (1..5).map(|seed| Groups { nodes: 30, groups: 10, seed }).collect();
    for run in in_parallel(2, &plans, Groups::run) {
        assert!(run.frames > 1_000 && run.members > 10, "{run:?}");
    }
}
