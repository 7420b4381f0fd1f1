//! The stage: bytes of entries between the frames they came in and the disk.
//!
//! **Invariant:** what is staged exceeds [`limits::STAGED_BYTES`] by at most one
//! frame. While it is full, nothing is taken in until the disk confirms
//! something; once the disk has nothing left to confirm, entries whose turn it
//! is go straight to the disk and others are shed. So a full stage always empties.

use std::collections::BTreeMap;

use crate::id::LogId;
use crate::limits;
use crate::sync::Ticket;

/// Bytes assumed for an answer before any has come, and the least assumed.
const EXPECTED: (usize, usize) = (256 << 10, 16 << 10);

#[derive(Debug)]
pub(super) struct Stage {
    /// Checked, and waiting for entries before them.
    waiting: usize,
    /// With storage.
    unconfirmed: usize,
    appends: BTreeMap<Ticket, (LogId, usize)>,
    /// What an answer brings: the most of late.
    expected: usize,
}

impl Default for Stage {
    fn default() -> Self {
        Self { waiting: 0, unconfirmed: 0, appends: BTreeMap::new(), expected: EXPECTED.0 }
    }
}

impl Stage {
    pub(super) const fn bytes(&self) -> usize {
        self.waiting + self.unconfirmed
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes() >= limits::STAGED_BYTES
    }

    /// Whether storage has something to confirm.
    pub(super) fn waits_for_storage(&self) -> bool {
        !self.appends.is_empty()
    }

    /// Whether there is room for one more answer besides those asked for.
    pub(super) const fn has_room(&self, asked: usize) -> bool {
        self.bytes() + asked * self.expected < limits::STAGED_BYTES
    }

    pub(super) fn arrived(&mut self, bytes: usize) {
        self.waiting += bytes;
        self.expected = bytes.max(self.expected - self.expected / 8).max(EXPECTED.1);
    }

    /// Bytes that waited are of no use any more.
    pub(super) const fn dropped(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes);
    }

    pub(super) fn appending(&mut self, ticket: Ticket, log: LogId, bytes: usize) {
        self.unconfirmed += bytes;
        self.appends.insert(ticket, (log, bytes));
    }

    pub(super) fn appended(&mut self, ticket: Ticket) {
        if let Some((_, bytes)) = self.appends.remove(&ticket) {
            self.unconfirmed = self.unconfirmed.saturating_sub(bytes);
        }
    }

    /// Storage will confirm nothing of a log any more.
    pub(super) fn store_failed(&mut self, log: &LogId) {
        let unconfirmed = &mut self.unconfirmed;
        self.appends.retain(|_, (failed, bytes)| {
            let keep = failed != log;
            if !keep {
                *unconfirmed = unconfirmed.saturating_sub(*bytes);
            }
            keep
        });
    }
}
