//! The rows of a log's tree, read on demand.
//!
//! Leaf hashes are computed from the stored headers, a subtree of 256 at a time,
//! and the last subtree is remembered: a proof asks for neighbours. Subtree
//! roots are stored. Deliberately absent: errors; a row that cannot be read is
//! missing, and whoever asked cannot make the proof.

use std::cell::RefCell;

use tallystick_protocol::id::Hash;
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::{Nodes, leaf_hash};

use super::{SledReplica, Strand, key};
use crate::store::layout::at;

/// Subtree roots in a tile.
pub(super) const TILE: u64 = 256;

pub(super) struct Rows<'a> {
    replica: &'a SledReplica,
    /// The log as it was when the rows were asked for.
    strand: Strand,
    leaves: RefCell<(u64, Vec<Hash>)>,
    tile: RefCell<Option<(u64, ::sled::IVec)>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(replica: &'a SledReplica, strand: Strand) -> Self {
        Self { replica, strand, leaves: RefCell::default(), tile: RefCell::default() }
    }
}

impl Nodes for Rows<'_> {
    fn leaf(&self, index: u64) -> Option<Hash> {
        let Strand { log, size, .. } = self.strand;
        if index >= size {
            return None;
        }
        let (block, place) = (index / SUBTREE_ENTRIES, at(index % SUBTREE_ENTRIES));
        let mut held = self.leaves.borrow_mut();
        if held.0 != block || held.1.is_empty() {
            let start = block * SUBTREE_ENTRIES;
            let range = start..size.min(start + SUBTREE_ENTRIES);
            let mut leaves = Vec::with_capacity(at(SUBTREE_ENTRIES));
            let read = self.replica.walk(self.strand, range, |_, entry| {
                leaves.push(leaf_hash(entry.header));
                Ok(true)
            });
            if let Err(error) = read {
                tracing::warn!(%log, %error, "headers cannot be read");
                return None;
            }
            *held = (block, leaves);
        }
        held.1.get(place).copied()
    }

    fn subtree(&self, index: u64) -> Option<Hash> {
        let Strand { number, size, .. } = self.strand;
        if index >= size / SUBTREE_ENTRIES {
            return None;
        }
        let (tile, place) = (index / TILE, at(index % TILE));
        let mut held = self.tile.borrow_mut();
        if held.as_ref().is_none_or(|held| held.0 != tile) {
            *held = self.replica.read(&key::tile(number, tile)).ok()?.map(|bytes| (tile, bytes));
        }
        let (_, bytes) = held.as_ref()?;
        Hash::try_from(bytes.get(place * Hash::LEN..(place + 1) * Hash::LEN)?).ok()
    }
}
