//! The replica's twin in memory: the same answers, nothing on a disk.
//!
//! For tests, the simulator and examples. [`MemoryReplica::copy`] is what a
//! simulated crash goes back to. Deliberately absent: durability; `flush` has
//! nothing to do.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tallystick_protocol::id::{AuthorityId, Hash, LogId};
use tallystick_protocol::log::{Nodes, root_at};
use tallystick_protocol::sync::{StoredEvidence, StoredIdentity, StoredLog};

use super::evidence::{self, Slot};
use super::growth::{LogState, Roots};
use super::layout::at;
use super::{
    Change, Extension, Pair, Refusal, Replica, SignedHead, StoreError, StoredEntry, check_changes,
    check_cursor, check_identity, take,
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
        Ok(stretch(&content, log, range).iter().map(|entry| entry.header.clone()).collect())
    }

    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let content = self.read();
        let mut room = max_bytes;
        let stretch = stretch(&content, log, range).iter().map(|entry| &entry.body);
        let fits = |body: &&Option<Vec<u8>>| take(&mut room, body.as_ref().map_or(0, Vec::len));
        Ok(stretch.take_while(fits).cloned().collect())
    }

    fn entries(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let content = self.read();
        let mut room = max_bytes;
        let mut found = Vec::new();
        for entry in stretch(&content, log, range) {
            let size = entry.header.len() + entry.body.as_ref().map_or(0, Vec::len);
            if !take(&mut room, size) && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError> {
        let rows = self.read().logs.get(log).map(|log| Arc::clone(&log.rows));
        Ok(Box::new(SharedRows(rows.unwrap_or_default())))
    }

    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        let mut content = self.write();
        let absent = || StoreError::Refused { log: *log, why: Refusal::Absent(index) };
        let found = content.logs.get_mut(log).ok_or_else(absent)?;
        let entry = found.entries.get_mut(at(index)).ok_or_else(absent)?;
        found.state.absent += u64::from(body.is_none());
        found.state.absent -= u64::from(entry.body.is_none());
        entry.body = body.map(<[u8]>::to_vec);
        Ok(())
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

/// The entries of `range`, as far as the log reaches.
fn stretch<'a>(content: &'a Content, log: &LogId, range: Range<u64>) -> &'a [StoredEntry] {
    let entries = content.logs.get(log).map_or(&[][..], |log| &log.entries);
    let end = at(range.end).min(entries.len());
    entries.get(at(range.start)..end).unwrap_or(&[])
}
