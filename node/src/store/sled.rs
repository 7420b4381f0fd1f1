//! The replica on disk: sled 0.34.7, one tree with key prefixes.
//!
//! | prefix | key after it | value |
//! |---|---|---|
//! | 0 | name | what the replica says of itself: format, incarnation |
//! | 1 | log number, page | up to sixteen entries, see `page` |
//! | 2 | log number, tile | up to 256 subtree roots, 32 bytes each |
//! | 3 | log id | log number, tree, signed head, counters |
//! | 4 | authority, event | one identity event |
//! | 5 | authority | number of events, change counter |
//! | 6 | authority | cursor |
//! | 7 | any | a projection's value |
//! | 8 | owner, piece | pieces of a body, head, value or evidence too long for its place |
//! | 9 | log id, number | a branch, as a log of which that was the number |
//! | 10 | authority, kind, place, number | change counter and length of a piece of evidence; the piece itself, if short |
//!
//! Keys are big-endian, so entries are written and read in key order. Logs have
//! a short number here; one that is set aside leaves its number to the branch
//! and goes on under a new one (see `aside`). Three things about sled 0.34.7 shape this file:
//!
//! - It keeps up to seventeen values in one node, and a node larger than a
//!   quarter of a segment goes to a *blob* file, which it never syncs. So
//!   segments are large, every value stays below `PIECE_BYTES` or a page's
//!   bound, and anything longer is cut into pieces.
//! - On Linux its `flush` writes with `sync_file_range`, which does not reach
//!   through the disk's own cache. So [`Replica::flush`] syncs the file after it.
//! - It may panic on a damaged file, and a lock it has just released may look
//!   taken for a moment. [`SledReplica::open`] turns the first into
//!   [`StoreError::Damaged`] and waits for the second.
//!
//! **Invariant:** a call that writes is one batch, and sled keeps batches whole
//! over a crash. Deliberately absent: `len()`, timers, background flushing.

mod aside;
mod copy;
mod evidence;
mod key;
mod open;
mod piece;
mod rows;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use ::sled::{Batch, Db};
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::log::{Frontier, Nodes, root_at};
use tallystick_protocol::sync::{StoredEvidence, StoredIdentity, StoredLog};

use super::growth::{LogState, Roots};
use super::layout::Fields;
use super::page::{self, PageEntry, Place};
use super::{
    Branch, Change, Extension, Pair, Refusal, Replica, SignedHead, StoreError, StoredEntry,
    check_changes, check_cursor, check_identity, take,
};
use piece::Owner;
use rows::Rows;
use writer::Writer;

/// Longest piece of what does not fit into its place, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// A quarter of it must hold seventeen of the largest values: see the module's description.
const SEGMENT_BYTES: usize = 8 << 20;

/// A replica in a directory of its own.
pub struct SledReplica {
    db: Db,
    dir: PathBuf,
    /// sled's file, opened once more to be synced.
    file: File,
    incarnation: [u8; 16],
    /// What every log looks like, as in the database.
    held: RwLock<Held>,
    /// One writer at a time.
    writing: Mutex<()>,
    /// How the first read, write or sync failed that did: the next might succeed
    /// without what was lost.
    failed: OnceLock<io::ErrorKind>,
}

/// All logs and branches.
#[derive(Debug, Default)]
struct Held {
    logs: BTreeMap<LogId, Known>,
    branches: BTreeMap<(LogId, u32), LogState>,
}

/// A log's number and state.
#[derive(Clone, Debug)]
struct Known {
    number: u32,
    state: LogState,
}

/// Where the entries of a log or branch stand: what does not change under a
/// reader when the log is set aside meanwhile.
#[derive(Clone, Copy, Debug)]
struct Strand {
    log: LogId,
    number: u32,
    size: u64,
}

impl SledReplica {
    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_mut(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, log: &LogId) -> Option<Known> {
        self.held().logs.get(log).cloned()
    }

    /// Where a log is now; an unknown one is empty.
    fn locate(&self, log: &LogId) -> Strand {
        let held = self.held();
        let known = held.logs.get(log);
        let (number, size) = known.map_or((0, 0), |k| (k.number, k.state.frontier.size()));
        Strand { log: *log, number, size }
    }

    /// Where a branch is; an unknown one is empty.
    fn locate_branch(&self, log: &LogId, number: u32) -> Strand {
        let held = self.held();
        let size = held.branches.get(&(*log, number)).map_or(0, |state| state.frontier.size());
        Strand { log: *log, number, size }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // What a writer that panicked left is one batch or none: there is nothing to repair.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &[u8]) -> Result<Option<::sled::IVec>, StoreError> {
        self.db.get(key).map_err(|error| self.failed(error))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(|error| self.failed(error))
    }

    /// What a failed read or write is. After one that is not about damage there is
    /// no other: a read may fail because sled had to write for it.
    fn failed(&self, error: ::sled::Error) -> StoreError {
        if open::damage(&error) {
            return StoreError::damaged("the replica");
        }
        let source = into_io(error);
        self.failed.get_or_init(|| source.kind());
        StoreError::fatal(&self.dir)(source)
    }

    /// Visits the entries of `range` in order until `visit` says `false`.
    fn walk(
        &self,
        strand: Strand,
        range: Range<u64>,
        mut visit: impl FnMut(u64, PageEntry<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let range = range.start..range.end.min(strand.size);
        if range.is_empty() {
            return Ok(());
        }
        let damaged = || StoreError::damaged(format!("a page of log {}", strand.log));
        for page in range.start / page::ENTRIES..=(range.end - 1) / page::ENTRIES {
            let bytes = self.read(&key::page(strand.number, page))?.ok_or_else(damaged)?;
            let first = page * page::ENTRIES;
            let mut next = first;
            for entry in page::entries(&bytes) {
                let entry = entry.ok_or_else(damaged)?;
                if range.contains(&next) && !visit(next, entry)? {
                    return Ok(());
                }
                next += 1;
            }
            if next < range.end.min(first + page::ENTRIES) {
                return Err(damaged());
            }
        }
        Ok(())
    }

    /// The entries of `range` that fit, at least one.
    fn fitting(
        &self,
        strand: Strand,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let (mut entries, mut room) = (Vec::new(), max_bytes);
        self.walk(strand, range, |index, entry| {
            let fits = take(&mut room, entry.header.len() + entry.body.len());
            if fits || entries.is_empty() {
                let body = self.body(strand.number, index, entry.body)?;
                entries.push(StoredEntry { header: entry.header.to_vec(), body });
            }
            Ok(fits)
        })?;
        Ok(entries)
    }

    fn body(
        &self,
        number: u32,
        index: u64,
        place: Place<'_>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match place {
            Place::Absent => Ok(None),
            Place::Here(body) => Ok(Some(body.to_vec())),
            Place::Apart(len) => self.join(&Owner::Body(number, index), len).map(Some),
        }
    }
}

impl Replica for SledReplica {
    fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    fn logs(&self) -> Result<Vec<StoredLog>, StoreError> {
        Ok(self.held().logs.iter().map(|(id, known)| known.state.stored(*id)).collect())
    }

    fn head(&self, log: &LogId) -> Result<Option<SignedHead>, StoreError> {
        Ok(self.known(log).and_then(|known| known.state.head))
    }

    fn identities(&self) -> Result<Vec<StoredIdentity>, StoreError> {
        let mut identities = Vec::new();
        for item in self.db.scan_prefix([key::IDENTITY]) {
            let (key, value) = item.map_err(|error| self.failed(error))?;
            let damaged = || StoreError::damaged("an identity in the replica");
            let authority = key::authority(&key).ok_or_else(damaged)?;
            let mut fields = Fields::new(&value);
            let (changed, count) = (fields.u64(), fields.u16());
            let (changed, count) = changed.zip(count).ok_or_else(damaged)?;
            let mut events = Vec::with_capacity(usize::from(count));
            for number in 0..count {
                let event = self.read(&key::event(&authority, number))?.ok_or_else(damaged)?;
                events.push(event.to_vec());
            }
            identities.push(StoredIdentity { authority, events, changed });
        }
        Ok(identities)
    }

    fn put_identity(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        check_identity(identity)?;
        let _writing = self.lock();
        let mut batch = Batch::default();
        let mut count = 0u16;
        for event in &identity.events {
            let key = key::event(&identity.authority, count);
            // Chains grow at the end: rewriting what stands would be most of the work.
            if self.read(&key)?.as_deref() != Some(event) {
                batch.insert(&key[..], event.as_slice());
            }
            count += 1;
        }
        let value = [&identity.changed.to_be_bytes()[..], &count.to_be_bytes()].concat();
        batch.insert(&key::of_authority(key::IDENTITY, &identity.authority)[..], value);
        self.apply(batch)
    }

    fn evidence(&self, of: Option<&AuthorityId>) -> Result<Vec<StoredEvidence>, StoreError> {
        Ok(self.kept_evidence(of)?.into_iter().map(|(_, evidence)| evidence).collect())
    }

    fn put_evidence(&self, evidence: &StoredEvidence) -> Result<bool, StoreError> {
        self.keep_evidence(evidence)
    }

    fn cursors(&self) -> Result<Vec<(AuthorityId, Vec<u8>)>, StoreError> {
        let mut cursors = Vec::new();
        for item in self.db.scan_prefix([key::CURSOR]) {
            let (key, value) = item.map_err(|error| self.failed(error))?;
            let authority = key::authority(&key);
            let authority = authority.ok_or_else(|| StoreError::damaged("a cursor in the replica"));
            cursors.push((authority?, value.to_vec()));
        }
        Ok(cursors)
    }

    fn put_cursor(&self, authority: &AuthorityId, cursor: &[u8]) -> Result<(), StoreError> {
        check_cursor(cursor)?;
        let _writing = self.lock();
        let key = key::of_authority(key::CURSOR, authority);
        self.db.insert(key, cursor).map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn extend(&self, extensions: &[Extension<'_>]) -> Result<(), StoreError> {
        let _writing = self.lock();
        let mut batch = Batch::default();
        let mut writers: BTreeMap<LogId, Writer> = BTreeMap::new();
        let mut next = self.next_number();
        for extension in extensions {
            let log = extension.log;
            let mut writer = match writers.remove(&log) {
                Some(writer) => writer,
                None => Writer::resume(self, &log, Roots::wanted(&log, extensions), &mut next)?,
            };
            let older = |size| root_at(&*self.nodes(&log).ok()?, size).ok();
            writer.extend(extension, older, &mut batch)?;
            writers.insert(log, writer);
        }
        let mut changed = Vec::with_capacity(writers.len());
        for (log, writer) in writers {
            changed.push((log, writer.finish(&log, &mut batch)?));
        }
        self.apply(batch)?;
        self.held_mut().logs.extend(changed);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.check()?;
        self.db.flush().map_err(|error| self.failed(error))?;
        // If we die before this line, sled has handed everything to the disk,
        // but the disk may still hold it in its own cache.
        self.file.sync_data().map_err(|error| self.failed(::sled::Error::Io(error)))
    }

    fn check(&self) -> Result<(), StoreError> {
        let failed = self.failed.get().map(|kind| io::Error::from(*kind));
        failed.map_or(Ok(()), |error| Err(StoreError::fatal(&self.dir)(error)))
    }

    fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut headers = Vec::new();
        self.walk(self.locate(log), range, |_, entry| {
            headers.push(entry.header.to_vec());
            Ok(true)
        })?;
        Ok(headers)
    }

    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (strand, mut bodies, mut room) = (self.locate(log), Vec::new(), max_bytes);
        self.walk(strand, range, |index, entry| {
            let fits = take(&mut room, entry.body.len());
            if fits {
                bodies.push(self.body(strand.number, index, entry.body)?);
            }
            Ok(fits)
        })?;
        Ok(bodies)
    }

    fn entries(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.fitting(self.locate(log), range, max_bytes)
    }

    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError> {
        Ok(Box::new(Rows::new(self, self.locate(log))))
    }

    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        let _writing = self.lock();
        let refused = || StoreError::Refused { log: *log, why: Refusal::Absent(index) };
        let known = self.known(log).filter(|known| index < known.state.frontier.size());
        let mut known = known.ok_or_else(refused)?;
        let mut batch = Batch::default();
        let mut branches = self.same_in_branches(log, index)?;
        writer::set_body(self, log, &mut known, index, body, &mut batch)?;
        writer::put_state(log, &known, known.state.head.as_ref(), &mut batch)?;
        for branch in &mut branches {
            writer::set_body(self, log, branch, index, body, &mut batch)?;
            writer::put_branch(log, branch, &mut batch)?;
        }
        self.apply(batch)?;
        let mut held = self.held_mut();
        held.logs.insert(*log, known);
        held.branches.extend(branches.into_iter().map(|b| ((*log, b.number), b.state)));
        Ok(())
    }

    fn set_aside(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        let _writing = self.lock();
        let number = self.next_number();
        // An attempt that failed may have left something under it.
        self.sweep(number)?;
        let state = self.beginning(log, keep, head, number)?;
        // If we die before the switch, what was copied belongs to nobody, and the
        // next start removes it. It must be on the disk before the switch is.
        self.flush()?;
        self.switch(log, number, state, changed)
    }

    fn branches(&self) -> Result<Vec<Branch>, StoreError> {
        let held = self.held();
        let branches = held.branches.iter();
        Ok(branches.map(|((log, number), state)| Branch::new(*log, *number, state)).collect())
    }

    fn branch_entries(
        &self,
        log: &LogId,
        number: u32,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.fitting(self.locate_branch(log, number), range, max_bytes)
    }

    fn branch_nodes(&self, log: &LogId, number: u32) -> Result<Box<dyn Nodes + '_>, StoreError> {
        Ok(Box::new(Rows::new(self, self.locate_branch(log, number))))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read(&key::value(key))? {
            Some(stored) => self.value(key, &stored).map(Some),
            None => Ok(None),
        }
    }

    fn put(&self, changes: &[Change]) -> Result<(), StoreError> {
        check_changes(changes)?;
        let _writing = self.lock();
        // Only the last change of a key may leave pieces behind.
        let last: BTreeMap<&[u8], Option<&[u8]>> =
            changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        let mut batch = Batch::default();
        for (key, value) in last {
            self.put_value(key, value, &mut batch)?;
        }
        self.apply(batch)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut found = Vec::new();
        for item in self.db.range(key::value(prefix.max(from))..).take(limit) {
            let (key, stored) = item.map_err(|error| self.failed(error))?;
            let Some((&key::VALUE, key)) = key.split_first() else { break };
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key.to_vec(), self.value(key, &stored)?));
        }
        Ok(found)
    }
}

fn into_io(error: ::sled::Error) -> io::Error {
    match error {
        ::sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
