//! What ends when, in a run with faults: a node comes back, a partition heals.
//!
//! **Invariant:** what was begun later of two that end at one time ends later.
//! Deliberately absent: what an end does, which each scenario knows.

use std::collections::BTreeMap;

use crate::schedule::MILLISECOND;
use crate::world::World;

/// Faults that are under way, by when they end.
pub(super) struct Endings<E> {
    ends: BTreeMap<(u64, usize), E>,
    last: usize,
}

impl<E> Default for Endings<E> {
    fn default() -> Self {
        Self { ends: BTreeMap::new(), last: 0 }
    }
}

impl<E> Endings<E> {
    /// Something ends after `low` to `high` milliseconds, by chance.
    pub(super) fn after(&mut self, world: &mut World, low: u64, high: u64, end: E) {
        let at = world.now() + world.chance.between(low, high) * MILLISECOND;
        self.last += 1;
        self.ends.insert((at, self.last), end);
    }

    /// Lets time pass until something ends, `until` at most; what it is.
    pub(super) fn next(&mut self, world: &mut World, until: u64) -> Option<E> {
        let first = self.ends.first_entry().filter(|first| first.key().0 <= until);
        let at = first.as_ref().map_or(until, |first| first.key().0);
        let end = first.map(|first| first.remove());
        world.run_for(at.saturating_sub(world.now()));
        end
    }

    /// The first that has not ended, to be ended now.
    pub(super) fn pop(&mut self) -> Option<E> {
        self.ends.pop_first().map(|(_, end)| end)
    }
}
