//! Sets a log aside, and goes on with its first entries under a new number.
//!
//! The pages stay where they are and are the branch's from then on. What stays
//! of the log is copied, in batches of bounded size, under a number that nobody
//! has; then one batch gives the old number to the branch and the new one to
//! the log. **Invariants:** until that batch the copy is invisible, and swept
//! away by the next start; a number that was given is never given again.
//! Deliberately absent: flushing after the switch, which is for the caller.

use ::sled::Batch;
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::{Frontier, frontier_at, root_at};

use super::piece::{self, Owner};
use super::rows::TILE;
use super::{Known, SledReplica, Strand, key, writer};
use crate::store::growth::LogState;
use crate::store::layout::at;
use crate::store::page::{self, Place};
use crate::store::{Refusal, Replica as _, SignedHead, StoreError};

/// Bytes in one batch of copies.
const BATCH_BYTES: usize = 1 << 20;
/// Keys removed in one batch.
const SWEPT_KEYS: usize = 1000;

impl SledReplica {
    /// Copies the first `keep` entries of a log under `number`, where nobody
    /// sees them; gives the state of a log that has these and no others.
    pub(super) fn beginning(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        number: u32,
    ) -> Result<LogState, StoreError> {
        let refused = |why| StoreError::Refused { log: *log, why };
        let strand = self.locate(log);
        if keep > strand.size {
            return Err(refused(Refusal::Absent(keep - 1)));
        }
        let nodes = self.nodes(log)?;
        let damaged = |_| StoreError::damaged(format!("the tree of log {log}"));
        let frontier = frontier_at(&*nodes, keep).map_err(damaged)?;
        let older = |size| root_at(&*nodes, size).ok();
        let mut state = LogState::begin(frontier, head, older).map_err(refused)?;
        let mut copy = Copy { replica: self, number, batch: Batch::default(), bytes: 0 };
        copy.pages(Strand { size: keep, ..strand }, &mut state)?;
        copy.tiles(Strand { size: keep, ..strand })?;
        self.apply(copy.batch)?;
        Ok(state)
    }

    /// Makes the log a branch under its number, and goes on with `state` under
    /// another; gives the tree of that.
    pub(super) fn switch(
        &self,
        log: &LogId,
        number: u32,
        mut state: LogState,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        let old = self.known(log);
        let old_head = old.as_ref().and_then(|old| old.state.head.clone());
        state.changed = old.as_ref().map_or(0, |old| old.state.changed).max(changed);
        let (tree, known) = (state.frontier.clone(), Known { number, state });
        let mut batch = Batch::default();
        writer::put_state(log, &known, old_head.as_ref(), &mut batch)?;
        let aside = old.filter(|old| old.state.frontier.size() > 0);
        if let Some(aside) = &aside {
            writer::put_branch(log, aside, &mut batch)?;
        }
        self.apply(batch)?;
        let mut held = self.held_mut();
        held.logs.insert(*log, known);
        held.branches.extend(aside.map(|aside| ((*log, aside.number), aside.state)));
        Ok(tree)
    }

    /// Removes what stands under `number` and all larger ones, which nobody has.
    pub(super) fn sweep(&self, number: u32) -> Result<(), StoreError> {
        let ranges = [
            key::page(number, 0).to_vec()..vec![key::TILE],
            key::tile(number, 0).to_vec()..vec![key::LOG],
            piece::bodies_from(number),
        ];
        for range in ranges {
            let mut keys = self.db.range(range).keys().peekable();
            while keys.peek().is_some() {
                let mut batch = Batch::default();
                for key in keys.by_ref().take(SWEPT_KEYS) {
                    batch.remove(key.map_err(|error| self.failed(error))?);
                }
                self.apply(batch)?;
            }
        }
        Ok(())
    }

    /// Where the logs and branches are.
    pub(super) fn strands(&self) -> Vec<Strand> {
        let held = self.held();
        let strand = |log: &LogId, number, state: &LogState| Strand {
            log: *log,
            number,
            size: state.frontier.size(),
        };
        let logs = held.logs.iter().map(|(log, known)| strand(log, known.number, &known.state));
        let branches = held.branches.iter();
        let branches = branches.map(|((log, number), state)| strand(log, *number, state));
        logs.chain(branches).collect()
    }

    /// The branches of a log that have the same entry at `index`.
    pub(super) fn same_in_branches(
        &self,
        log: &LogId,
        index: u64,
    ) -> Result<Vec<Known>, StoreError> {
        let branches: Vec<Known> = {
            let held = self.held();
            let branches = held.branches.range((*log, 0)..=(*log, u32::MAX));
            let known = branches.map(|((_, number), state)| (*number, state.clone()));
            known.map(|(number, state)| Known { number, state }).collect()
        };
        let mut same = Vec::new();
        for branch in branches {
            let strand = self.locate_branch(log, branch.number);
            if index < strand.size
                && self.header(strand, index)? == self.header(self.locate(log), index)?
            {
                same.push(branch);
            }
        }
        Ok(same)
    }

    fn header(&self, strand: Strand, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut header = None;
        self.walk(strand, index..index.saturating_add(1), |_, entry| {
            header = Some(entry.header.to_vec());
            Ok(true)
        })?;
        Ok(header)
    }
}

/// What is being copied under a number.
struct Copy<'a> {
    replica: &'a SledReplica,
    number: u32,
    batch: Batch,
    /// Bytes in the batch.
    bytes: usize,
}

impl Copy<'_> {
    /// The entries of `strand`, of which `state` takes the counts.
    fn pages(&mut self, strand: Strand, state: &mut LogState) -> Result<(), StoreError> {
        let (replica, number) = (self.replica, self.number);
        let mut copied = Vec::new();
        replica.walk(strand, 0..strand.size, |index, entry| {
            state.absent += u64::from(entry.body == Place::Absent);
            state.bytes += (entry.header.len() + entry.body.len()) as u64;
            if let Place::Apart(len) = entry.body {
                let body = replica.join(&Owner::Body(strand.number, index), len)?;
                piece::split(&Owner::Body(number, index), &body, &mut self.batch);
                self.bytes += body.len();
            }
            page::push(&mut copied, entry.header, entry.body)?;
            if (index + 1).is_multiple_of(page::ENTRIES) || index + 1 == strand.size {
                let page = core::mem::take(&mut copied);
                self.put(&key::page(number, index / page::ENTRIES), page)?;
            }
            Ok(true)
        })
    }

    /// The roots of the whole subtrees of `strand`.
    fn tiles(&mut self, strand: Strand) -> Result<(), StoreError> {
        let damaged = || StoreError::damaged(format!("the tree of log {}", strand.log));
        let subtrees = strand.size / SUBTREE_ENTRIES;
        for tile in 0..subtrees.div_ceil(TILE) {
            let stored = self.replica.read(&key::tile(strand.number, tile))?.ok_or_else(damaged)?;
            let len = at((subtrees - tile * TILE).min(TILE)) * Hash::LEN;
            let roots = stored.get(..len).ok_or_else(damaged)?;
            self.put(&key::tile(self.number, tile), roots.to_vec())?;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        self.bytes += key.len() + value.len();
        self.batch.insert(key, value);
        if self.bytes >= BATCH_BYTES {
            self.bytes = 0;
            self.replica.apply(core::mem::take(&mut self.batch))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
    use tallystick_protocol::entry::{Action, Entry, Header};
    use tallystick_protocol::id::{AuthorityId, RecordId};
    use tallystick_protocol::record::Kind;
    use tallystick_protocol::time::UnixTime;

    use super::*;
    use crate::store::Extension;
    use crate::store::audit::{audit, audit_branch};

    const CACHE: u64 = 4 << 20;

    fn entry(number: u64) -> Entry {
        let mut fields = Fields::new();
        // Too long for the page, so that there are pieces, too.
        fields.insert("title", &"x".repeat(5000).into()).unwrap();
        let (body, commitment) = FullBody::new(&Salt::from_random([7; 32]), &fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        let (record, at) = (RecordId::from_bytes([1; 16]), UnixTime::from_seconds(number));
        let header = Header::new(Kind::new(1), record, Action::Put, at, commitment, size);
        Entry::author(header, Body::Full(body)).unwrap()
    }

    fn keys(replica: &SledReplica) -> usize {
        replica.db.iter().count()
    }

    #[test]
    fn a_copy_that_was_not_finished_is_swept_away_and_its_number_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogId::public(AuthorityId::from_bytes([2; 32]), 0);
        let entries: Vec<Entry> = (0..600).map(entry).collect();
        let mut frontier = Frontier::new();
        entries.iter().for_each(|entry| frontier.push(entry.leaf()));
        let replica = SledReplica::open(dir.path(), CACHE).unwrap();
        let (size, entries) = (frontier.size(), entries.as_slice());
        let extension = Extension { log, start: 0, entries, frontier, head: None, changed: 1 };
        replica.extend(&[extension]).unwrap();
        let (before, number) = (keys(&replica), replica.next_number());
        // All that comes before the switch.
        replica.beginning(&log, 550, None, number).unwrap();
        replica.flush().unwrap();
        assert!(keys(&replica) > before + 550);
        assert_eq!(audit(&replica, &log).unwrap().entries, size, "nobody sees it");
        drop(replica);

        let replica = SledReplica::open(dir.path(), CACHE).unwrap();
        assert_eq!(keys(&replica), before);
        assert_eq!(audit(&replica, &log).unwrap().entries, size);
        assert!(replica.branches().unwrap().is_empty());
        // The next attempt does not take over what another left, even without a start between.
        replica.beginning(&log, 599, None, number).unwrap();
        replica.set_aside(&log, 3, None, 2).unwrap();
        assert_eq!(replica.known(&log).unwrap().number, number);
        // Three bodies and a page more, and the branch's state.
        assert_eq!(keys(&replica), before + 5);
        drop(replica);

        let replica = SledReplica::open(dir.path(), CACHE).unwrap();
        assert_eq!(audit(&replica, &log).unwrap().entries, 3);
        let branches = replica.branches().unwrap();
        assert_eq!(audit_branch(&replica, &branches[0]).unwrap().entries, size);
        replica.set_aside(&log, 0, None, 3).unwrap();
        assert!(replica.next_number() > number + 1, "no number is given twice");
    }
}
