//! The entries of one log on their way, subtree by subtree, under a verified outline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::{Entry, UnverifiedEntry};
use crate::id::Hash;
use crate::limits;
use crate::log::{self, Frontier, VerifiedOutline};
use crate::sync::Refusal;

/// Fetching entries under a verified outline.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) target: VerifiedCheckpoint,
    outline: VerifiedOutline,
    /// First subtree that was never asked for.
    next: u64,
    /// Subtrees to be asked for again.
    again: BTreeSet<u64>,
    /// Subtrees asked for or arrived and not yet appended.
    arriving: BTreeMap<u64, Arriving>,
}

/// One subtree on its way.
#[derive(Debug, Default)]
struct Arriving {
    /// Headers checked against the outline whose bodies have not come.
    headers: VecDeque<(Hash, Vec<u8>)>,
    /// Entries that are complete and not yet appended.
    entries: Vec<Entry>,
    began: bool,
}

impl Arriving {
    fn is_complete(&self) -> bool {
        self.began && self.headers.is_empty()
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::size).sum()
    }
}

/// What one frame of entries brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that wait to be appended now.
    pub(super) bytes: usize,
    /// Whether the subtree is complete.
    pub(super) complete: bool,
}

impl Fetch {
    pub(super) fn new(target: VerifiedCheckpoint, outline: VerifiedOutline) -> Self {
        let next = outline.subtrees().start;
        Self { target, outline, next, again: BTreeSet::new(), arriving: BTreeMap::new() }
    }

    /// Chooses the next subtree to ask for and says which of its entries are
    /// missing; `None` if enough or everything is on its way.
    pub(super) fn ask_next(&mut self, staged: u64) -> Option<(u64, core::ops::Range<u64>)> {
        if self.arriving.len() >= limits::SUBTREES_IN_FLIGHT {
            return None;
        }
        let subtree = match self.again.pop_first() {
            Some(subtree) => subtree,
            None if self.next < self.outline.subtrees().end => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.arriving.insert(subtree, Arriving::default());
        Some((subtree, self.outline.missing(subtree, staged)))
    }

    /// A subtree will not come from where it was asked for; frees what had come of it.
    pub(super) fn ask_again(&mut self, subtree: u64) -> usize {
        let freed = self.arriving.remove(&subtree).map_or(0, |arriving| arriving.bytes());
        self.again.insert(subtree);
        freed
    }

    /// Takes one frame: all headers first, checked against the outline, then
    /// the bodies one by one against their headers.
    pub(super) fn take(
        &mut self,
        subtree: u64,
        headers: Vec<Vec<u8>>,
        bodies: Vec<Option<Vec<u8>>>,
        staged: &Frontier,
    ) -> Result<Taken, Refusal> {
        let arriving = self.arriving.get_mut(&subtree).ok_or(Refusal::BadEntries)?;
        if arriving.began != headers.is_empty() {
            return Err(Refusal::BadEntries);
        }
        let first = !arriving.began;
        if first {
            let leaves: Vec<Hash> = headers.iter().map(|header| log::leaf_hash(header)).collect();
            self.outline.check(subtree, staged, &leaves).map_err(|_| Refusal::BadEntries)?;
            arriving.headers = leaves.into_iter().zip(headers).collect();
            arriving.began = true;
        }
        if (bodies.is_empty() && !first) || bodies.len() > arriving.headers.len() {
            return Err(Refusal::BadEntries);
        }
        let mut bytes = 0;
        for body in bodies {
            let Some((leaf, header)) = arriving.headers.pop_front() else {
                return Err(Refusal::BadEntries);
            };
            // Nothing erases bodies yet, so an absent one is one its holder will not give.
            let body = body.ok_or(Refusal::AbsentBody)?;
            let entry = UnverifiedEntry::new(header, Some(body)).check_under(leaf);
            let entry = entry.map_err(|_| Refusal::BadEntries)?;
            bytes += entry.size();
            arriving.entries.push(entry);
        }
        Ok(Taken { bytes, complete: arriving.is_complete() })
    }

    /// Entries that are complete and next in order, and whether more may be ready behind them.
    pub(super) fn ready(&mut self, staged: u64) -> Option<(Vec<Entry>, bool)> {
        let next = staged / limits::SUBTREE_ENTRIES;
        let arriving = self.arriving.get_mut(&next)?;
        let complete = arriving.is_complete();
        let entries = core::mem::take(&mut arriving.entries);
        if complete {
            self.arriving.remove(&next);
        }
        (!entries.is_empty()).then_some((entries, complete))
    }

    /// Bytes that arrived and were not appended.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.arriving.values().map(Arriving::bytes).sum()
    }
}
