//! The entries of one log on their way, subtree by subtree, under a verified outline.
//!
//! A subtree is asked for once, and answered by one frame: all its headers, and
//! as many bodies as fit. Bodies that did not fit are asked for again, of
//! anybody; what was checked once is not fetched twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::{Entry, UnverifiedEntry};
use crate::id::{Hash, Space};
use crate::limits;
use crate::log::{self, Frontier, VerifiedOutline};
use crate::sync::{Refusal, ledger};

/// Fetching entries under a verified outline.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) target: VerifiedCheckpoint,
    outline: VerifiedOutline,
    /// First subtree that is not on its way.
    next: u64,
    /// Subtrees on their way, asked for or not, until all of them is appended.
    arriving: BTreeMap<u64, Arriving>,
    /// Those of them that nobody is asked for and that are not complete.
    idle: BTreeSet<u64>,
}

/// One subtree on its way.
#[derive(Debug, Default)]
struct Arriving {
    /// Headers checked against the outline whose bodies have not come.
    headers: VecDeque<(Hash, Vec<u8>)>,
    /// Entries that are complete and not yet appended.
    entries: Vec<Entry>,
    /// Bytes of those.
    bytes: usize,
    /// Whether the headers have come.
    began: bool,
}

impl Arriving {
    fn is_complete(&self) -> bool {
        self.began && self.headers.is_empty()
    }
}

/// What to ask for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) subtree: u64,
    pub(super) range: Range<u64>,
    /// Whether headers are wanted too, or bodies only.
    pub(super) headers: bool,
}

/// Entries to be appended now.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) entries: Vec<Entry>,
    /// Their bytes.
    pub(super) bytes: usize,
    /// The log with them.
    pub(super) tree: Frontier,
}

impl Fetch {
    pub(super) fn new(target: VerifiedCheckpoint, outline: VerifiedOutline) -> Self {
        let next = outline.subtrees().start;
        Self { target, outline, next, arriving: BTreeMap::new(), idle: BTreeSet::new() }
    }

    /// The subtree that is most urgently missing and not asked for; `None` if
    /// enough or everything is on its way.
    pub(super) fn missing(&self) -> Option<u64> {
        let fresh = || {
            let room = self.arriving.len() < limits::SUBTREES_IN_FLIGHT;
            (room && self.next < self.outline.subtrees().end).then_some(self.next)
        };
        self.idle.first().copied().or_else(fresh)
    }

    /// What to ask for of it.
    pub(super) fn wanted(&self, staged: u64) -> Option<Wanted> {
        let subtree = self.missing()?;
        let range = self.outline.missing(subtree, staged);
        match self.arriving.get(&subtree) {
            Some(arriving) if arriving.began => {
                let start = range.end.saturating_sub(arriving.headers.len() as u64);
                Some(Wanted { subtree, range: start..range.end, headers: false })
            }
            _ => Some(Wanted { subtree, range, headers: true }),
        }
    }

    /// Somebody was asked for what was wanted.
    pub(super) fn asked(&mut self, subtree: u64) {
        if !self.idle.remove(&subtree) {
            self.arriving.insert(subtree, Arriving::default());
            self.next = self.next.max(subtree + 1);
        }
    }

    /// The answer will not come; somebody else must be asked.
    pub(super) fn unanswered(&mut self, subtree: u64) {
        if self.arriving.get(&subtree).is_some_and(|arriving| !arriving.is_complete()) {
            self.idle.insert(subtree);
        }
    }

    /// Forgets what has come of a subtree, to be fetched again when there is
    /// room; says how many bytes that frees.
    pub(super) fn shed(&mut self, subtree: u64) -> usize {
        let Some(arriving) = self.arriving.get_mut(&subtree) else { return 0 };
        self.idle.insert(subtree);
        core::mem::take(arriving).bytes
    }

    /// Takes an answer: headers first, all of them, checked against the
    /// outline; then bodies one by one against their headers. Says how many
    /// bytes wait now that did not before; after a refusal, shed the subtree.
    pub(super) fn take(
        &mut self,
        (space, subtree): (Space, u64),
        headers: Vec<Vec<u8>>,
        bodies: Vec<Option<Vec<u8>>>,
        staged: &Frontier,
    ) -> Result<usize, Refusal> {
        let Self { outline, arriving, idle, .. } = self;
        let arriving = arriving.get_mut(&subtree).ok_or(Refusal::BadEntries)?;
        if arriving.began != headers.is_empty() || (arriving.began && bodies.is_empty()) {
            return Err(Refusal::BadEntries);
        }
        if !arriving.began {
            let leaves: Vec<Hash> = headers.iter().map(|header| log::leaf_hash(header)).collect();
            outline.check(subtree, staged, &leaves).map_err(|_| Refusal::BadEntries)?;
            arriving.headers = leaves.into_iter().zip(headers).collect();
            arriving.began = true;
        }
        if bodies.len() > arriving.headers.len() {
            return Err(Refusal::BadEntries);
        }
        let mut bytes = 0;
        arriving.entries.reserve_exact(bodies.len());
        for body in bodies {
            let (leaf, header) = arriving.headers.pop_front().ok_or(Refusal::BadEntries)?;
            let entry = ledger::check(space, UnverifiedEntry::new(header, body), leaf)?;
            bytes += entry.size();
            arriving.entries.push(entry);
        }
        arriving.bytes += bytes;
        if !arriving.is_complete() {
            idle.insert(subtree);
        }
        Ok(bytes)
    }

    /// Entries that are checked and next in order. A subtree's first entries are
    /// ready before the others have come, so that large ones need no room.
    pub(super) fn ready(&mut self, staged: &Frontier) -> Option<Ready> {
        let subtree = staged.size() / limits::SUBTREE_ENTRIES;
        let arriving = self.arriving.get_mut(&subtree)?;
        let (entries, bytes) =
            (core::mem::take(&mut arriving.entries), core::mem::take(&mut arriving.bytes));
        if arriving.is_complete() {
            self.arriving.remove(&subtree);
        }
        if entries.is_empty() {
            return None;
        }
        let mut tree = staged.clone();
        let whole = entries.len() as u64 == limits::SUBTREE_ENTRIES;
        let root = self.outline.expected(subtree).filter(|_| whole);
        // A whole subtree was hashed when it was checked.
        let pushed =
            root.is_some_and(|root| tree.push_subtree(limits::SUBTREE_LEVEL, root).is_ok());
        if !pushed {
            entries.iter().for_each(|entry| tree.push(entry.leaf()));
        }
        Some(Ready { entries, bytes, tree })
    }

    /// Bytes that arrived and were not appended.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.arriving.values().map(|arriving| arriving.bytes).sum()
    }
}
