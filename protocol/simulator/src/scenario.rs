//! Whole runs by seed.
//!
//! [`Mixed`] puts all kinds of faults into one network and checks that it comes
//! to rest in agreement, [`Groups`] does so with private groups; [`Growth`] measures a healthy network, and [`Witnessed`]
//! what cosigning costs in one. A run that fails
//! says how to have it again: [`attempt`].

mod ending;
mod groups;
mod growth;
mod mixed;
mod witnessed;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use self::groups::{Deeds, Groups, Shared};
pub use self::growth::{Growth, Phase, Row};
pub use self::mixed::{Mixed, Outcome};
pub use self::witnessed::{Cost, Witnessed};

/// Seeds that once failed, each with the scenario's size: `nodes authorities seed`.
/// They are run again by a test, for ever.
pub const REGRESSIONS: &str = include_str!("../seeds/mixed.txt");

/// The runs that [`REGRESSIONS`] lists.
///
/// # Panics
/// If a line is not three numbers.
#[must_use]
pub fn regressions() -> Vec<Mixed> {
    let lines = REGRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let numbers = line.split_whitespace().take(3).map(|word| word.parse().unwrap());
            let numbers: Vec<u64> = numbers.collect();
            Mixed { nodes: numbers[0] as usize, authorities: numbers[1] as usize, seed: numbers[2] }
        })
        .collect()
}

/// Runs something; if it panics, the panic goes on with `again`, the command to have it again.
///
/// # Panics
/// If it does.
pub fn attempt<T>(again: &str, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        resume_unwind(Box::new(format!(
            "{}\n  to have it again: {again}",
            text.unwrap_or_default()
        )))
    })
}

/// Does `work` for each of `things` on `threads` threads; the results in order.
///
/// # Panics
/// If any of it does, with what it said.
pub fn in_parallel<A: Sync, B: Send>(
    threads: usize,
    things: &[A],
    work: impl Fn(&A) -> B + Sync,
) -> Vec<B> {
    let next = core::sync::atomic::AtomicUsize::new(0);
    let mut results: Vec<(usize, B)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                let Some(thing) = things.get(at) else { return done };
                done.push((at, work(thing)));
            }
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.flat_map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
