//! Two hundred nodes, forty authorities, all kinds of faults at once, by seed.
//!
//! The invariants of the design that these runs hold to: 1 (nothing unverified
//! is stored or passed on), 2 (no author signs two histories), 5 (what is
//! acknowledged is durable) and 7 (memory is bounded) after every step, and 4
//! (honest nodes end with the same heads and bodies) at the end.

#![allow(clippy::unwrap_used, reason = "tests")]

use tallystick_protocol::sync::Refusal;
use tallystick_simulator::measure::{Event, Happened};
use tallystick_simulator::scenario::{Mixed, Outcome, in_parallel, regressions};

/// Runs on two threads; a run has one of its own.
fn run(plans: &[Mixed]) -> Vec<Outcome> {
    in_parallel(2, plans, Mixed::run)
}

fn small(seed: u64) -> Mixed {
    Mixed { nodes: 50, authorities: 12, seed }
}

#[test]
fn invariants_1_2_4_5_7_hold_with_200_nodes_40_authorities_and_all_faults() {
    let plans: Vec<_> = (0..20).map(|seed| Mixed { nodes: 200, authorities: 40, seed }).collect();
    let outcomes = run(&plans);
    let mut happened = Happened::default();
    outcomes.iter().for_each(|outcome| happened.merge(&outcome.happened));
    // Each run asserts what must happen in every one; these are rarer.
    for event in [
        Event::WriteLost,
        Event::WriteKept,
        Event::StoreFailed,
        Event::TransferCut,
        Event::Reverted,
        Event::OwnRecovered,
        Event::Oversized,
        Event::Stalled,
        Event::Described,
    ] {
        assert!(happened.times(event) > 0, "{event:?} never happened: {happened:?}");
    }
    // Nobody who follows the protocol gives rise to these.
    for refusal in [Refusal::BadEntries, Refusal::BadOutline, Refusal::AbsentBody] {
        assert!(happened.refused(refusal) > 0, "{refusal:?} was never seen: {happened:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let outcomes = run(&[small(7), small(7), small(8)]);
    assert_eq!(outcomes[0].trace, outcomes[1].trace);
    assert_ne!(outcomes[0].trace, outcomes[2].trace);
}

#[test]
fn runs_that_once_failed_do_not_fail_again() {
    run(&regressions());
}

#[test]
#[should_panic(expected = "cargo run --release -p tallystick-simulator -- --mixed --nodes 50")]
fn a_run_that_fails_says_how_to_have_it_again() {
    // More authors than honest nodes: the plan itself is at fault.
    let _ = Mixed { nodes: 50, authorities: 50, seed: 3 }.run();
}
