//! The event heap: what happens next, ordered by (time, sequence).
//!
//! **Invariants:** virtual time never goes back; of two events for one moment
//! the one scheduled first happens first, so a run has exactly one order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds in a second of virtual time.
pub const SECOND: u64 = 1_000_000;
/// Microseconds in a millisecond of virtual time.
pub const MILLISECOND: u64 = 1_000;

/// Events for one moment after which time is taken to stand still for ever.
const STILL: u32 = 2_000_000;

/// Everything that is going to happen.
pub struct Schedule<E> {
    now: u64,
    sequence: u64,
    still: u32,
    /// Time, sequence and place of each event, the earliest on top.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// The events stay where they are while the heap is put in order.
    places: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        let (heap, places, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { now: 0, sequence: 0, still: 0, heap, places, free }
    }
}

impl<E> Schedule<E> {
    /// Virtual time now, in microseconds since the start of the run.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Lets something happen `delay` microseconds from now.
    pub fn after(&mut self, delay: u64, event: E) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(event);
        self.heap.push(Reverse((self.now + delay, self.sequence, place)));
    }

    /// The next event not later than `end`, and time moves to it; or time moves to `end`.
    ///
    /// # Panics
    /// If time does not pass: the events of one moment beget each other.
    pub fn next(&mut self, end: u64) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            self.now = self.now.max(end);
            return None;
        }
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.still = if at == self.now { self.still + 1 } else { 0 };
        assert!(self.still < STILL, "time does not pass");
        self.now = at;
        self.free.push(place);
        self.places[place].take()
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is going to happen any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_scheduled() {
        let mut schedule = Schedule::default();
        for (delay, name) in [(5, 'd'), (1, 'a'), (5, 'e'), (2, 'c'), (1, 'b')] {
            schedule.after(delay, name);
        }
        let order: String = core::iter::from_fn(|| schedule.next(4)).collect();
        assert_eq!((order.as_str(), schedule.now()), ("abc", 4));
        schedule.after(1, 'f');
        let order: String = core::iter::from_fn(|| schedule.next(9)).collect();
        assert_eq!((order.as_str(), schedule.now()), ("def", 9));
        assert!(schedule.is_empty());
    }
}
