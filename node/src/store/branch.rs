//! Branches: what was set aside of a log when its author's controllers disowned
//! a part of it.
//!
//! A branch is the whole log as it was held then, so that it can be looked at
//! and shown as evidence. **Invariants:** nothing is added to a branch, and it is
//! never deleted; its number is never given to another. What is erased of the
//! log is erased of its branches. Deliberately absent: what is to be disowned,
//! which the protocol decides, and signatures.

use tallystick_protocol::id::LogId;
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::Frontier;

use super::growth::LogState;
use super::{Replica, SignedHead, StoreError};

/// A branch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The log.
    pub log: LogId,
    /// Tells it from the log's other branches; later ones have larger numbers.
    /// With the log it is the branch's name, for as long as there is the replica.
    pub number: u32,
    /// The tree over its entries.
    pub frontier: Frontier,
    /// Its newest signed head.
    pub head: Option<SignedHead>,
    /// Entries whose body is absent.
    pub absent: u64,
}

impl Branch {
    pub(super) fn new(log: LogId, number: u32, state: &LogState) -> Self {
        let LogState { frontier, head, absent, .. } = state.clone();
        Self { log, number, frontier, head, absent }
    }

    /// How many of its first entries are in its log, too. All others are disowned,
    /// or the log lacks them still. What cannot be read counts as another entry.
    ///
    /// # Errors
    /// As reading.
    pub fn shared(&self, replica: &dyn Replica) -> Result<u64, StoreError> {
        let ours = replica.branch_nodes(&self.log, self.number)?;
        let theirs = replica.nodes(&self.log)?;
        let subtree = |number: &u64| {
            let root = ours.subtree(*number);
            root.is_some() && root == theirs.subtree(*number)
        };
        let whole = (0..).take_while(subtree).count() as u64 * SUBTREE_ENTRIES;
        let leaf = |index: &u64| {
            let leaf = ours.leaf(*index);
            leaf.is_some() && leaf == theirs.leaf(*index)
        };
        Ok(whole + (whole..).take_while(leaf).count() as u64)
    }
}
