//! The replica's twin in memory: the same answers, nothing on a disk.
//!
//! For tests, the simulator and examples. [`MemoryReplica::copy`] is what a
//! simulated crash goes back to. Deliberately absent: durability; `flush` has
//! nothing to do.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tallystick_protocol::id::{AuthorityId, Hash, LogId};
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::{Frontier, Nodes, frontier_at, root_at};
use tallystick_protocol::sync::{StoredEvidence, StoredIdentity, StoredLog};

use super::evidence::{self, Slot};
use super::growth::{LogState, Roots};
use super::layout::at;
use super::{
    Branch, Change, Extension, Pair, Refusal, Replica, SignedHead, StoreError, StoredEntry,
    check_changes, check_cursor, check_identity, take,
};

/// A replica that lives as long as the process.
#[derive(Debug)]
pub struct MemoryReplica {
    incarnation: [u8; 16],
    content: RwLock<Content>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    logs: BTreeMap<LogId, Log>,
    branches: BTreeMap<(LogId, u32), Log>,
    identities: BTreeMap<AuthorityId, StoredIdentity>,
    evidence: BTreeMap<Slot, StoredEvidence>,
    cursors: BTreeMap<AuthorityId, Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
struct Log {
    state: LogState,
    entries: Vec<StoredEntry>,
    rows: Arc<Rows>,
}

/// A log's leaves and subtree roots; shared with whoever asked for them.
#[derive(Clone, Debug, Default)]
struct Rows {
    leaves: Vec<Hash>,
    subtrees: Vec<Hash>,
}

impl Nodes for Rows {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves.get(at(index)).copied()
    }

    fn subtree(&self, index: u64) -> Option<Hash> {
        self.subtrees.get(at(index)).copied()
    }
}

struct SharedRows(Arc<Rows>);

impl Nodes for SharedRows {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.0.leaf(index)
    }

    fn subtree(&self, index: u64) -> Option<Hash> {
        self.0.subtree(index)
    }
}

impl MemoryReplica {
    /// An empty replica with the given random name.
    #[must_use]
    pub fn new(incarnation: [u8; 16]) -> Self {
        Self { incarnation, content: RwLock::default() }
    }

    /// A replica of its own with the content of now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let content = self.read().clone();
        Self { incarnation: self.incarnation, content: RwLock::new(content) }
    }

    // A panic of another thread cannot leave the content half changed: every
    // change is prepared first and then moved in.
    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica for MemoryReplica {
    fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    fn logs(&self) -> Result<Vec<StoredLog>, StoreError> {
        Ok(self.read().logs.iter().map(|(id, log)| log.state.stored(*id)).collect())
    }

    fn head(&self, log: &LogId) -> Result<Option<SignedHead>, StoreError> {
        Ok(self.read().logs.get(log).and_then(|log| log.state.head.clone()))
    }

    fn identities(&self) -> Result<Vec<StoredIdentity>, StoreError> {
        Ok(self.read().identities.values().cloned().collect())
    }

    fn put_identity(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        check_identity(identity)?;
        self.write().identities.insert(identity.authority, identity.clone());
        Ok(())
    }

    fn evidence(&self, of: Option<&AuthorityId>) -> Result<Vec<StoredEvidence>, StoreError> {
        let content = self.read();
        let all = content.evidence.values();
        let wanted = all.filter(|evidence| of.is_none_or(|of| evidence.authority == *of));
        Ok(wanted.cloned().collect())
    }

    fn put_evidence(&self, new: &StoredEvidence) -> Result<bool, StoreError> {
        evidence::check(new)?;
        let mut content = self.write();
        let kept = content.evidence.iter().map(|(slot, known)| (*slot, known));
        let kept = kept.filter(|(slot, _)| slot.authority == new.authority);
        let Some(room) = evidence::room(kept, new) else { return Ok(false) };
        room.evicted.and_then(|slot| content.evidence.remove(&slot));
        content.evidence.insert(room.slot, new.clone());
        Ok(true)
    }

    fn cursors(&self) -> Result<Vec<(AuthorityId, Vec<u8>)>, StoreError> {
        Ok(self.read().cursors.iter().map(|(id, cursor)| (*id, cursor.clone())).collect())
    }

    fn put_cursor(&self, authority: &AuthorityId, cursor: &[u8]) -> Result<(), StoreError> {
        check_cursor(cursor)?;
        self.write().cursors.insert(*authority, cursor.to_vec());
        Ok(())
    }

    fn extend(&self, extensions: &[Extension<'_>]) -> Result<(), StoreError> {
        let mut content = self.write();
        // Changed copies first, so that a refusal leaves everything as it was.
        let mut changed: BTreeMap<LogId, (LogState, Roots, Vec<Hash>)> = BTreeMap::new();
        for extension in extensions {
            let log = content.logs.get(&extension.log);
            let (state, roots, subtrees) = changed.entry(extension.log).or_insert_with(|| {
                let state = log.map(|log| log.state.clone()).unwrap_or_default();
                (state, Roots::wanted(&extension.log, extensions), Vec::new())
            });
            let older = |size| root_at(&*log?.rows, size).ok();
            state.extend(extension, roots, older, |_, root| subtrees.push(root))?;
        }
        for (id, (state, _, subtrees)) in changed {
            let log = content.logs.entry(id).or_default();
            log.state = state;
            Arc::make_mut(&mut log.rows).subtrees.extend(subtrees);
        }
        for extension in extensions {
            let log = content.logs.entry(extension.log).or_default();
            for entry in extension.entries {
                Arc::make_mut(&mut log.rows).leaves.push(entry.leaf());
                let body = entry.body().map(|body| body.as_bytes().to_vec());
                log.entries.push(StoredEntry { header: entry.header_bytes().to_vec(), body });
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let content = self.read();
        let stretch = stretch(content.logs.get(log), range);
        Ok(stretch.iter().map(|entry| entry.header.clone()).collect())
    }

    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let content = self.read();
        let mut room = max_bytes;
        let stretch = stretch(content.logs.get(log), range).iter().map(|entry| &entry.body);
        let fits = |body: &&Option<Vec<u8>>| take(&mut room, body.as_ref().map_or(0, Vec::len));
        Ok(stretch.take_while(fits).cloned().collect())
    }

    fn entries(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        Ok(fitting(stretch(self.read().logs.get(log), range), max_bytes))
    }

    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError> {
        let rows = self.read().logs.get(log).map(|log| Arc::clone(&log.rows));
        Ok(Box::new(SharedRows(rows.unwrap_or_default())))
    }

    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        let mut content = self.write();
        let absent = || StoreError::Refused { log: *log, why: Refusal::Absent(index) };
        let found = content.logs.get_mut(log).ok_or_else(absent)?;
        let header = found.entries.get(at(index)).ok_or_else(absent)?.header.clone();
        found.set_body(index, &header, body);
        for (_, branch) in content.branches.range_mut((*log, 0)..=(*log, u32::MAX)) {
            branch.set_body(index, &header, body);
        }
        Ok(())
    }

    fn set_aside(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        let mut content = self.write();
        let refused = |why| StoreError::Refused { log: *log, why };
        let (held, nothing) = (content.logs.get(log), Log::default());
        let kept = held.unwrap_or(&nothing).beginning(keep, head, changed).map_err(refused)?;
        let tree = kept.state.frontier.clone();
        if let Some(aside) = content.logs.insert(*log, kept)
            && !aside.entries.is_empty()
        {
            let last = content.branches.keys().map(|(_, number)| *number).max();
            let number = last.map_or(0, |last| last + 1);
            content.branches.insert((*log, number), aside);
        }
        Ok(tree)
    }

    fn branches(&self) -> Result<Vec<Branch>, StoreError> {
        let content = self.read();
        let branches = content.branches.iter();
        Ok(branches.map(|((log, number), held)| Branch::new(*log, *number, &held.state)).collect())
    }

    fn branch_entries(
        &self,
        log: &LogId,
        number: u32,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        Ok(fitting(stretch(self.read().branches.get(&(*log, number)), range), max_bytes))
    }

    fn branch_nodes(&self, log: &LogId, number: u32) -> Result<Box<dyn Nodes + '_>, StoreError> {
        let content = self.read();
        let rows = content.branches.get(&(*log, number)).map(|held| Arc::clone(&held.rows));
        Ok(Box::new(SharedRows(rows.unwrap_or_default())))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().values.get(key).cloned())
    }

    fn put(&self, changes: &[Change]) -> Result<(), StoreError> {
        check_changes(changes)?;
        let mut content = self.write();
        for (key, value) in changes {
            match value {
                Some(value) => content.values.insert(key.clone(), value.clone()),
                None => content.values.remove(key),
            };
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let content = self.read();
        let start = Bound::Included(prefix.max(from).to_vec());
        let values = content.values.range((start, Bound::Unbounded));
        let values = values.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(values.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Log {
    /// Its first `keep` entries under `head`.
    fn beginning(
        &self,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Self, Refusal> {
        let entries =
            self.entries.get(..at(keep)).ok_or(Refusal::Absent(keep.saturating_sub(1)))?;
        let frontier = frontier_at(&*self.rows, keep).map_err(|_| Refusal::Tree)?;
        let older = |size| root_at(&*self.rows, size).ok();
        let mut state = LogState::begin(frontier, head, older)?;
        state.changed = self.state.changed.max(changed);
        state.absent = entries.iter().filter(|entry| entry.body.is_none()).count() as u64;
        state.bytes = entries.iter().map(|entry| entry.size() as u64).sum();
        let first = |hashes: &[Hash], count: u64| hashes.iter().take(at(count)).copied().collect();
        let rows = Rows {
            leaves: first(&self.rows.leaves, keep),
            subtrees: first(&self.rows.subtrees, keep / SUBTREE_ENTRIES),
        };
        Ok(Self { state, entries: entries.to_vec(), rows: Arc::new(rows) })
    }

    /// Puts a body in the place of that of an entry with this header.
    fn set_body(&mut self, index: u64, header: &[u8], body: Option<&[u8]>) {
        let entry = self.entries.get_mut(at(index));
        let Some(entry) = entry.filter(|entry| entry.header == header) else { return };
        self.state.absent += u64::from(body.is_none());
        self.state.absent -= u64::from(entry.body.is_none());
        entry.body = body.map(<[u8]>::to_vec);
    }
}

/// The entries of `range`, as far as the log reaches.
fn stretch(log: Option<&Log>, range: Range<u64>) -> &[StoredEntry] {
    let entries = log.map_or(&[][..], |log| &log.entries);
    let end = at(range.end).min(entries.len());
    entries.get(at(range.start)..end).unwrap_or(&[])
}

/// The first of some entries that fit, at least one.
fn fitting(entries: &[StoredEntry], max_bytes: usize) -> Vec<StoredEntry> {
    let mut room = max_bytes;
    let mut found = Vec::new();
    for entry in entries {
        if !take(&mut room, entry.size()) && !found.is_empty() {
            break;
        }
        found.push(entry.clone());
    }
    found
}
