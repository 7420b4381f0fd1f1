//! Checks a stored log or branch by its hashes, entry by entry.
//!
//! What `tally doctor` runs, and the oracle of the crash tests. Nothing stored
//! beside the entries is believed: leaves, tree, subtree roots and commitments
//! are computed anew and compared. Deliberately absent: signatures.

use std::ops::Range;

use tallystick_protocol::entry::EntryError;
use tallystick_protocol::id::LogId;
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::{Frontier, Nodes};

use super::{Branch, Replica, SignedHead, StoreError, StoredEntry};

const BATCH_BYTES: usize = 1 << 20;

/// What an audit counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Entries, all of them under the stored tree.
    pub entries: u64,
    /// Entries whose body is absent.
    pub absent: u64,
}

/// Checks one log; an unknown log is empty.
///
/// # Errors
/// [`StoreError::Damaged`] names the first entry or row that is not what the
/// tree says; otherwise as reading.
pub fn audit(replica: &dyn Replica, log: &LogId) -> Result<Audit, StoreError> {
    let Some(stored) = replica.logs()?.into_iter().find(|stored| stored.log == *log) else {
        return Ok(Audit::default());
    };
    let said = Said {
        what: format!("log {log}"),
        frontier: stored.frontier,
        head: replica.head(log)?,
        absent: stored.absent,
    };
    let entries = |range| replica.entries(log, range, BATCH_BYTES);
    check(&said, &*replica.nodes(log)?, entries)
}

/// Checks one branch.
///
/// # Errors
/// As [`audit`].
pub fn audit_branch(replica: &dyn Replica, branch: &Branch) -> Result<Audit, StoreError> {
    let Branch { log, number, frontier, head, absent } = branch.clone();
    let said = Said { what: format!("branch {number} of log {log}"), frontier, head, absent };
    let entries = |range| replica.branch_entries(&log, number, range, BATCH_BYTES);
    check(&said, &*replica.branch_nodes(&log, number)?, entries)
}

/// What a replica says of a log or branch.
struct Said {
    what: String,
    frontier: Frontier,
    head: Option<SignedHead>,
    absent: u64,
}

fn check(
    said: &Said,
    nodes: &dyn Nodes,
    read: impl Fn(Range<u64>) -> Result<Vec<StoredEntry>, StoreError>,
) -> Result<Audit, StoreError> {
    let wrong = |what: String| StoreError::damaged(format!("{what} of {}", said.what));
    let head = said.head.as_ref();
    let (mut tree, mut block, mut counted) = (Frontier::new(), Frontier::new(), Audit::default());
    let mut head_root = head.filter(|head| head.size == 0).map(|_| tree.root());
    while counted.entries < said.frontier.size() {
        let entries = read(counted.entries..said.frontier.size())?;
        if entries.is_empty() {
            return Err(wrong(format!("entry {}", counted.entries)));
        }
        for entry in entries {
            let index = counted.entries;
            let checked = entry.into_unverified().check();
            let entry = checked.map_err(|error| match error {
                EntryError::Body(_) => wrong(format!("the body of entry {index}")),
                _ => wrong(format!("the header of entry {index}")),
            })?;
            if nodes.leaf(index) != Some(entry.leaf()) {
                return Err(wrong(format!("the leaf hash of entry {index}")));
            }
            tree.push(entry.leaf());
            block.push(entry.leaf());
            counted.entries += 1;
            counted.absent += u64::from(entry.body().is_none());
            if block.size() == SUBTREE_ENTRIES {
                let number = index / SUBTREE_ENTRIES;
                if nodes.subtree(number) != Some(block.root()) {
                    return Err(wrong(format!("subtree {number}")));
                }
                block = Frontier::new();
            }
            if head.is_some_and(|head| head.size == counted.entries) {
                head_root = Some(tree.root());
            }
        }
    }
    if tree != said.frontier {
        return Err(wrong("the tree".to_owned()));
    }
    if head.map(|head| head.root) != head_root {
        return Err(wrong("the signed head".to_owned()));
    }
    if counted.absent != said.absent {
        return Err(wrong("the count of absent bodies".to_owned()));
    }
    Ok(counted)
}
