//! What each control entry had seen: the causal order of a set of them.
//!
//! An entry has seen what it names, what its author's log has at lower positions,
//! and what those have seen. An entry that has seen one that is not there, or
//! itself by way of others, *waits*; so does everything that has seen it.
//!
//! **Invariant:** the entries stand in an order in which each comes behind all
//! that it has seen, and which depends on the set alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::operation::{ControlEntry, EntryRef};

/// Entries that wait for nothing, in causal order.
pub(super) struct Causality<'a> {
    entries: Vec<&'a ControlEntry>,
    places: BTreeMap<EntryRef, usize>,
    waiting: Vec<EntryRef>,
    /// One row of bits for each entry: what it has seen.
    seen: Vec<u64>,
    words: usize,
}

impl<'a> Causality<'a> {
    pub(super) fn of(set: &BTreeMap<EntryRef, &'a ControlEntry>) -> Self {
        let before = direct(set);
        let order = sorted(&before);
        let places: BTreeMap<EntryRef, usize> =
            order.iter().enumerate().map(|(at, place)| (*place, at)).collect();
        let waiting = set.keys().filter(|place| !places.contains_key(place)).copied().collect();
        let entries: Vec<_> = order.iter().filter_map(|place| set.get(place).copied()).collect();
        let words = entries.len().div_ceil(64);
        let mut seen = vec![0u64; words * entries.len()];
        for (at, place) in order.iter().enumerate() {
            let (earlier, rest) = seen.split_at_mut(at * words);
            let Some(row) = rest.get_mut(..words) else { break };
            for parent in before.get(place).into_iter().flatten() {
                let Some(parent) = places.get(parent) else { continue };
                let known = earlier.get(parent * words..(parent + 1) * words).unwrap_or_default();
                row.iter_mut().zip(known).for_each(|(bits, more)| *bits |= more);
                if let Some(bits) = row.get_mut(parent / 64) {
                    *bits |= 1 << (parent % 64);
                }
            }
        }
        Self { entries, places, waiting, seen, words }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[&'a ControlEntry] {
        &self.entries
    }

    pub(super) fn entry(&self, at: usize) -> Option<&'a ControlEntry> {
        self.entries.get(at).copied()
    }

    pub(super) fn find(&self, place: &EntryRef) -> Option<usize> {
        self.places.get(place).copied()
    }

    pub(super) fn waiting(&self) -> &[EntryRef] {
        &self.waiting
    }

    /// Whether entry `later` had seen entry `earlier`.
    pub(super) fn saw(&self, later: usize, earlier: usize) -> bool {
        let bits = self.seen.get(later * self.words + earlier / 64);
        earlier / 64 < self.words && bits.is_some_and(|bits| bits >> (earlier % 64) & 1 == 1)
    }

    /// Whether neither had seen the other.
    pub(super) fn concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !self.saw(a, b) && !self.saw(b, a)
    }

    /// The entries that no other has seen.
    pub(super) fn heads(&self) -> Vec<EntryRef> {
        let mut known = vec![0u64; self.words];
        for row in self.seen.chunks(self.words.max(1)) {
            known.iter_mut().zip(row).for_each(|(bits, more)| *bits |= more);
        }
        let is_head = |at: &usize| known.get(at / 64).is_none_or(|bits| bits >> (at % 64) & 1 == 0);
        let mut heads: Vec<_> = (0..self.len())
            .filter(is_head)
            .filter_map(|at| self.entry(at).map(ControlEntry::place))
            .collect();
        heads.sort_unstable();
        heads
    }
}

type Direct = BTreeMap<EntryRef, BTreeSet<EntryRef>>;

/// What each entry has seen directly: what it names, and what stands at the
/// nearest lower position in its author's log.
fn direct(set: &BTreeMap<EntryRef, &ControlEntry>) -> Direct {
    let mut before: Direct =
        set.iter().map(|(place, entry)| (*place, entry.seen.iter().copied().collect())).collect();
    // The set is ordered by authority, then position.
    let mut lower: Vec<EntryRef> = Vec::new();
    let mut same: Vec<EntryRef> = Vec::new();
    for place in set.keys() {
        match same.last() {
            Some(last) if last.authority != place.authority => {
                lower.clear();
                same.clear();
            }
            Some(last) if last.version != place.version => lower = core::mem::take(&mut same),
            _ => {}
        }
        same.push(*place);
        if let Some(seen) = before.get_mut(place) {
            seen.extend(lower.iter().copied());
        }
    }
    before
}

/// Kahn's algorithm; of those that may come next, the lowest comes.
fn sorted(before: &Direct) -> Vec<EntryRef> {
    let mut open: BTreeMap<EntryRef, usize> =
        before.iter().map(|(place, seen)| (*place, seen.len())).collect();
    let mut behind: BTreeMap<EntryRef, Vec<EntryRef>> = BTreeMap::new();
    for (place, seen) in before {
        seen.iter().for_each(|earlier| behind.entry(*earlier).or_default().push(*place));
    }
    let free = |(place, open): (&EntryRef, &usize)| (*open == 0).then_some(*place);
    let mut ready: BTreeSet<EntryRef> = open.iter().filter_map(free).collect();
    let mut order = Vec::with_capacity(before.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for later in behind.get(&next).into_iter().flatten() {
            let Some(count) = open.get_mut(later) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.insert(*later);
            }
        }
    }
    order
}
