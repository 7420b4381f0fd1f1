//! What an import asks of what is there already.

use std::collections::BTreeMap;

use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::Action;
use tallystick_protocol::id::{AuthorityId, RecordId, Space, Version};
use tallystick_protocol::record::{Kind, Record};

use super::{Plan, imported_record_id};
use crate::reference::{Put, Reference, References};
use crate::register::{RecordKey, Register, SourceDigest};
use crate::store::StoreError;

/// An own record as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// Which record.
    pub id: RecordId,
    /// Its newest version.
    pub version: Version,
    /// What that version does.
    pub action: Action,
    /// What kind of document it is.
    pub kind: Kind,
    /// What it shows; `None` if it shows nothing.
    pub fields: Option<Fields>,
}

impl Own {
    /// What it says; `None` if it says nothing, or nothing readable any more.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        let fields = self.fields.as_ref().filter(|_| self.action == Action::Put)?;
        Record::from_fields(self.kind, fields).ok()
    }
}

/// What an import asks of what is there already.
pub trait Lookup {
    /// The importing authority's own record with this source key, withdrawn or not.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be read.
    fn own(&self, source_key: &str) -> Result<Option<Own>, StoreError>;
}

/// Answers from register and replica.
#[derive(Clone, Debug)]
pub struct ReplicaLookup {
    authority: AuthorityId,
    space: Space,
    register: Register,
}

impl ReplicaLookup {
    /// Looks up what `authority` said in `space`. The register must have taken
    /// in everything the authority has appended: see
    /// [`Projector::wait_for_register`](crate::projector::Projector::wait_for_register).
    #[must_use]
    pub const fn new(authority: AuthorityId, space: Space, register: Register) -> Self {
        Self { authority, space, register }
    }

    /// The own record with this source key: an imported one, else one that was
    /// published by hand and names its source.
    fn key(&self, source_key: &str) -> Result<Option<RecordKey>, StoreError> {
        let record = imported_record_id(&self.authority, self.space, source_key);
        let imported = RecordKey { authority: self.authority, space: self.space, record };
        if self.register.current(&imported)?.is_some() {
            return Ok(Some(imported));
        }
        let all = self.register.by_source(&SourceDigest::of(source_key))?;
        let own = |key: &RecordKey| key.authority == self.authority && key.space == self.space;
        Ok(all.into_iter().find(own))
    }
}

impl Lookup for ReplicaLookup {
    fn own(&self, source_key: &str) -> Result<Option<Own>, StoreError> {
        let Some(key) = self.key(source_key)? else { return Ok(None) };
        let Some(current) = self.register.current(&key)? else { return Ok(None) };
        let newest = current.newest;
        let reading = self.register.reading(&key, newest.version)?;
        let fields = reading.and_then(|reading| reading.fields);
        let (id, version) = (key.record, newest.version);
        Ok(Some(Own { id, version, action: newest.action, kind: newest.kind, fields }))
    }
}

/// A lookup that remembers plans that are not carried out: for `--dry-run`.
///
/// Documents are remembered up to [`Rehearsal::BYTES`]; a row that repeats one
/// further down a larger file is taken to say nothing new.
#[derive(Debug)]
pub struct Rehearsal<L> {
    inner: L,
    planned: BTreeMap<SourceDigest, Option<Own>>,
    references: BTreeMap<SourceDigest, Put>,
    room: usize,
}

impl<L: Lookup> Rehearsal<L> {
    /// Bytes of documents remembered.
    pub const BYTES: usize = 64 << 20;

    /// Nothing is planned yet.
    #[must_use]
    pub const fn new(inner: L) -> Self {
        Self { inner, planned: BTreeMap::new(), references: BTreeMap::new(), room: Self::BYTES }
    }

    /// Remembers a plan as if it had been carried out.
    pub fn apply(&mut self, plan: &Plan) {
        for (entry, (source_key, fields)) in plan.entries.iter().zip(&plan.documents) {
            let header = entry.header();
            let left = self.room.checked_sub(entry.size());
            self.room = left.unwrap_or(0);
            let own = left.map(|_| Own {
                id: header.record,
                // Nobody sees it: a rehearsed entry is thrown away.
                version: header.previous.unwrap_or(Version { generation: 0, index: 0 }),
                action: header.action,
                kind: header.kind,
                fields: Some(fields.clone()),
            });
            self.planned.insert(SourceDigest::of(source_key), own);
        }
    }

    /// What keeping a plan's references would come to. Repetitions within the
    /// file count as unchanged.
    ///
    /// # Errors
    /// [`StoreError`] if the kept references cannot be read.
    pub fn references(&mut self, plan: &Plan, kept: &References) -> Result<Vec<Put>, StoreError> {
        let mut outcomes = Vec::with_capacity(plan.references.len());
        for reference in &plan.references {
            let digest = reference.digest();
            let outcome = match self.references.get(&digest) {
                Some(_) => Put::Unchanged,
                None => compare(kept.of(&digest)?, reference),
            };
            self.references.insert(digest, outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl<L: Lookup> Lookup for Rehearsal<L> {
    fn own(&self, source_key: &str) -> Result<Option<Own>, StoreError> {
        match self.planned.get(&SourceDigest::of(source_key)) {
            Some(Some(own)) => Ok(Some(own.clone())),
            Some(None) => {
                let (version, action) = (Version { generation: 0, index: 0 }, Action::Put);
                let id = RecordId::from_bytes([0; RecordId::LEN]);
                Ok(Some(Own { id, version, action, kind: Kind::CONTRACT, fields: None }))
            }
            None => self.inner.own(source_key),
        }
    }
}

fn compare(kept: Option<Reference>, offered: &Reference) -> Put {
    let Some(kept) = kept else { return Put::Stored };
    match (kept.record(), offered.record()) {
        (Ok(kept), Ok(offered)) if crate::ingest::adds_nothing(&kept, &offered) => Put::Unchanged,
        _ => Put::Changed,
    }
}
