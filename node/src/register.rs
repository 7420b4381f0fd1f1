//! The register: which versions each record has, in which log, and from which source.
//!
//! A projection of the replica, kept in its projection namespace (see `key`).
//! It answers what is newest of a record, what its history is, which records
//! have a given source key, which go on from which, what a shortened reference means,
//! who endorses whom, and what holders answer to erasures.
//!
//! **Invariants:** a pure function of the entries of the replica: taken in in
//! whatever portions, or anew, it comes out the same (invariant 8 of the
//! design). Only what this version understands is in it. Each portion and the
//! position behind it are written together, so a crash leaves a register of
//! some earlier moment and no other. What is set aside of a log is forgotten.
//!
//! What of a private group is sealed is read with the [`Opener`]; what cannot be
//! opened has its rows and one more that says so (see `held`), and shows nothing.
//!
//! The newest version of a record is the one that stands last in its
//! authority's logs of its space, whatever its header claims to follow.
//! Deliberately absent: titles and other content, which is in the search index,
//! and references, which are nobody's records.

mod answer;
mod endorse;
mod extract;
mod forget;
mod held;
mod kept;
pub(crate) mod key;
mod resolve;
mod succession;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tallystick_protocol::body::{Body, BodyError, Fields};
use tallystick_protocol::entry::{Action, Entry, EntryError, Header, UnverifiedEntry};
use tallystick_protocol::erasure::{Erasure, Erasures, Scope};
use tallystick_protocol::id::{AuthorityId, Hash, LogId, RecordId, Space, Version};
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

pub use self::resolve::{LISTED, ResolveError};
pub use self::succession::Predecessor;
use crate::driver::unix_time;
use crate::opener::Opener;
use crate::store::erasure::{self, Standing};
use crate::store::{Change, Replica, StoreError, StoredEntry};
pub(crate) use crate::store::{ROWS, each_row};

/// One record of one authority in one space.
///
/// Authors use a record id in one space only; where one does not, these are two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    /// Who says it.
    pub authority: AuthorityId,
    /// To whom.
    pub space: Space,
    /// Which document.
    pub record: RecordId,
}

impl RecordKey {
    /// One of the logs in which it may stand: the first of its author in its space.
    pub(crate) const fn any_log(&self) -> LogId {
        LogId { authority: self.authority, space: self.space, generation: 0 }
    }
}

/// What the register knows of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Where it stands.
    pub version: Version,
    /// What kind of document it is.
    pub kind: Kind,
    /// What it does to the record.
    pub action: Action,
    /// When its author says it was issued.
    pub issued: UnixTime,
    /// Whether it erases fields of earlier versions and leaves the others.
    pub erases_fields: bool,
}

/// What the register knows of a record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its newest version that is not there only to erase fields.
    pub newest: VersionInfo,
    /// Its source key; `None` if it has none or its author no longer stands by the record.
    pub source: Option<SourceDigest>,
    /// The predecessor's record from which it goes on, under the same condition.
    pub predecessor: Option<Predecessor>,
    /// The record of its author that is its extract, under the same condition.
    pub extract: Option<RecordId>,
}

impl Current {
    /// With `newest` as its newest version, which reads so.
    fn of(author: &AuthorityId, newest: VersionInfo, reading: Option<&Reading>) -> Self {
        let (source, predecessor) =
            reading.map(|reading| (reading.source(), reading.predecessor())).unwrap_or_default();
        let extract = reading.and_then(|reading| reading.extract(author));
        Self { newest, source, predecessor, extract }
    }

    /// Whether the record is to be shown: its author stands by it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.newest.action == Action::Put
    }
}

/// SHA-256 of a [source key](tallystick_protocol::record::Record::source_key): equal
/// digests mean the same real-world document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceDigest([u8; 32]);

impl SourceDigest {
    /// The digest of a source key.
    #[must_use]
    pub fn of(source_key: &str) -> Self {
        Self(Sha256::digest(source_key).into())
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest that shows itself as `text`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        text.parse().ok().map(|hash: Hash| Self(*hash.as_bytes()))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry as projections read it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) version: Version,
    pub(crate) header: Header,
    /// What its body shows; nothing for an absent body, or one that is not to be read here.
    pub(crate) fields: Option<Fields>,
    /// Whether it is not to be read here, or not yet.
    held_back: bool,
}

impl Reading {
    /// Checks a stored entry once more and reads it.
    pub(crate) fn of(
        log: &LogId,
        index: u64,
        stored: StoredEntry,
        opener: &Opener,
    ) -> Result<Self, StoreError> {
        let version = Version { generation: log.generation, index };
        let bare = UnverifiedEntry::new(stored.header.clone(), None);
        let checked = match stored.into_unverified().check() {
            Err(EntryError::Body(BodyError::Sealed | BodyError::UnknownState)) => bare.check(),
            checked => checked,
        };
        let entry = checked.map_err(|_| damaged(format!("entry {index} of log {log}")))?;
        let entry = opener.open(log, entry);
        let held_back = !opener.admits(log, index) || matches!(entry.body(), Some(Body::Sealed(_)));
        let fields = entry.body().filter(|_| !held_back).map(Body::fields);
        Ok(Self { version, header: entry.header().clone(), fields, held_back })
    }

    /// Whether it is not to be read here, or not yet.
    pub(crate) const fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Whether it is a version of a record that this version of the program understands.
    pub(crate) const fn is_record(&self) -> bool {
        self.header.is_understood() && self.header.kind.is_record()
    }

    pub(crate) const fn key(&self, log: &LogId) -> RecordKey {
        RecordKey { authority: log.authority, space: log.space, record: self.header.record }
    }

    fn info(&self) -> VersionInfo {
        let Header { kind, action, issued, .. } = self.header;
        let erases_fields = self.erasure().is_some_and(|erasure| erasure.scope != Scope::Whole);
        VersionInfo { version: self.version, kind, action, issued, erases_fields }
    }

    /// What it erases.
    fn erasure(&self) -> Option<Erasure> {
        Erasure::read(self.version, &self.header, self.fields.as_ref()?)
    }

    /// Without what is erased.
    fn veiled(mut self, log: &LogId, erasures: &Erasures) -> Self {
        for erasure in erasures.covering(log, self.version.index, &self.header) {
            if let Some(fields) = &mut self.fields {
                fields.retain(|name| !erasure.scope.covers(name));
            }
        }
        self
    }

    /// Digest of the source key, if the entry puts a record that has one.
    fn source(&self) -> Option<SourceDigest> {
        if self.header.action != Action::Put {
            return None;
        }
        let description = self.header.kind.description()?;
        description.source_key(self.fields.as_ref()?).as_deref().map(SourceDigest::of)
    }
}

/// How far the register is with a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Entries that are in it.
    pub(crate) entries: u64,
    /// How often a part of the log had been set aside when they were taken in.
    pub(crate) lineage: u64,
}

/// What taking in a portion of entries did.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Records that have a new version.
    pub(crate) records: BTreeSet<RecordKey>,
    /// Source keys that a record got or lost.
    pub(crate) sources: BTreeSet<SourceDigest>,
}

/// The register over a replica. Cloning gives a second handle on the same one.
#[derive(Clone)]
pub struct Register {
    replica: Arc<dyn Replica>,
    opener: Opener,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").finish_non_exhaustive()
    }
}

impl Register {
    /// The register in the projection namespace of `replica`, for public logs only.
    #[must_use]
    pub fn new(replica: Arc<dyn Replica>) -> Self {
        Self::with_opener(replica, Opener::default())
    }

    /// The same, with what `opener` can read of private groups.
    #[must_use]
    pub const fn with_opener(replica: Arc<dyn Replica>, opener: Opener) -> Self {
        Self { replica, opener }
    }

    /// What can be read of private groups.
    #[must_use]
    pub const fn opener(&self) -> &Opener {
        &self.opener
    }

    /// What is known of a record; `None` if it was never heard of.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails; so for all methods.
    pub fn current(&self, key: &RecordKey) -> Result<Option<Current>, StoreError> {
        let row = self.replica.get(&key::current(key))?;
        row.map(|value| key::read_current_value(&value).ok_or_else(row_damaged)).transpose()
    }

    /// Newest version of a record, withdrawn or not. Of a record id in several
    /// spaces the public one counts.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn newest(
        &self,
        authority: &AuthorityId,
        record: &RecordId,
    ) -> Result<Option<(RecordKey, Current)>, StoreError> {
        let rows = self.replica.scan(&key::spaces(authority, record), &[], 1)?;
        rows.first().map(|(key, value)| current_row(key, value)).transpose()
    }

    /// All versions of a record, the oldest first; those of one space together.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn versions(
        &self,
        authority: &AuthorityId,
        record: &RecordId,
    ) -> Result<Vec<(RecordKey, VersionInfo)>, StoreError> {
        let prefix = key::versions(authority, record);
        let mut versions = Vec::new();
        self.each(&prefix, |key, value| {
            let (key, version) = key::read_version_key(key).ok_or_else(row_damaged)?;
            let info = key::read_version_value(version, value).ok_or_else(row_damaged)?;
            versions.push((key, info));
            Ok(())
        })?;
        Ok(versions)
    }

    /// At most `limit` records in the order of their keys, from `from` on, withdrawn ones too.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn records(
        &self,
        from: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Current)>, StoreError> {
        let start = from.map(key::current).unwrap_or_default();
        let rows = self.replica.scan(&key::currents(None), &start, limit)?;
        rows.iter().map(|(key, value)| current_row(key, value)).collect()
    }

    /// The records that an authority has in a space, withdrawn ones too.
    pub(crate) fn said_in(
        &self,
        authority: &AuthorityId,
        space: &Space,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let mut records = Vec::new();
        self.each(&key::currents(Some(authority)), |row, _| {
            let record = key::read_current_key(row).ok_or_else(row_damaged)?;
            if record.space == *space {
                records.push(record);
            }
            Ok(())
        })?;
        Ok(records)
    }

    /// The records, of any authority, that are shown and have this source key.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn by_source(&self, source: &SourceDigest) -> Result<Vec<RecordKey>, StoreError> {
        let mut records = Vec::new();
        self.each(&key::sources(source), |key, _| {
            records.push(key::read_source_key(key).ok_or_else(row_damaged)?);
            Ok(())
        })?;
        Ok(records)
    }

    /// Whether any record that is shown has this source key.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn has_source(&self, source: &SourceDigest) -> Result<bool, StoreError> {
        Ok(!self.replica.scan(&key::sources(source), &[], 1)?.is_empty())
    }

    /// What of a record is erased now.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn erasures(&self, key: &RecordKey) -> Result<Erasures, StoreError> {
        erasure::of_record_at(&*self.replica, &key.any_log(), &key.record, unix_time())
    }

    /// The entry that a version of a record is, checked once more, opened if it
    /// is sealed and can be, without what is erased. None that is not admitted.
    ///
    /// # Errors
    /// See [`Register::current`]; [`StoreError::Damaged`] if it does not hold.
    pub fn entry(&self, key: &RecordKey, version: Version) -> Result<Option<Entry>, StoreError> {
        if !self.opener.admits(&log_of(key, version), version.index) {
            return Ok(None);
        }
        self.load(key, version)
    }

    /// As [`Register::entry`], also of one that is not admitted.
    fn load(&self, key: &RecordKey, version: Version) -> Result<Option<Entry>, StoreError> {
        let Some(entry) = self.stored(key, version)? else { return Ok(None) };
        let (log, erasures) = (log_of(key, version), self.erasures(key)?);
        Ok(Some(erasures.veiled(&log, version.index, entry)))
    }

    /// The entry as it is stored, with what is hidden, checked once more and opened.
    fn stored(&self, key: &RecordKey, version: Version) -> Result<Option<Entry>, StoreError> {
        let log = log_of(key, version);
        let range = version.index..version.index.saturating_add(1);
        let Some(stored) = self.replica.entries(&log, range, usize::MAX)?.pop() else {
            return Ok(None);
        };
        let checked = stored.into_unverified().check();
        let damaged = |_| damaged(format!("entry {} of log {log}", version.index));
        let entry = checked.map_err(damaged)?;
        // Another one, if the log was set aside and the register does not know it yet.
        if entry.header().record != key.record {
            return Ok(None);
        }
        Ok(Some(self.opener.open(&log, entry)))
    }

    /// What is left of the versions that an erasure covers, to be put in their places.
    pub(crate) fn left_by(
        &self,
        standing: &Standing,
    ) -> Result<Vec<(LogId, u64, Entry)>, StoreError> {
        let Standing { log: LogId { authority, space, .. }, erasure, .. } = standing;
        let mut left = Vec::new();
        for (key, info) in self.versions(authority, &erasure.record)? {
            let is_covered = info.action != Action::Erase && info.version <= erasure.upto;
            if key.space == *space && is_covered {
                let log = log_of(&key, info.version);
                let entry = self.load(&key, info.version)?.and_then(without_sealed);
                left.extend(entry.map(|entry| (log, info.version.index, entry)));
            }
        }
        Ok(left)
    }

    /// Entries of a log that are in the register.
    ///
    /// # Errors
    /// See [`Register::current`].
    pub fn position(&self, log: &LogId) -> Result<u64, StoreError> {
        self.reach(log).map(|reach| reach.entries)
    }

    /// How far it is with a log.
    pub(crate) fn reach(&self, log: &LogId) -> Result<Reach, StoreError> {
        let row = self.replica.get(&key::position(log))?;
        let reach = row.map(|value| key::read_reach(&value).ok_or_else(row_damaged));
        reach.unwrap_or_else(|| Ok(Reach::default()))
    }

    /// A row that says how far it is with a log, to be written by the caller.
    pub(crate) fn reach_row(log: &LogId, reach: Reach) -> Change {
        (key::position(log), Some(key::reach_value(reach)))
    }

    /// As [`Register::entry`], for projections: header and what is shown.
    pub(crate) fn reading(
        &self,
        key: &RecordKey,
        version: Version,
    ) -> Result<Option<Reading>, StoreError> {
        let log = log_of(key, version);
        let range = version.index..version.index.saturating_add(1);
        let stored = self.replica.entries(&log, range, usize::MAX)?.pop();
        let read = |stored| Reading::of(&log, version.index, stored, &self.opener);
        let reading = stored.map(read).transpose()?;
        let reading = reading.filter(|reading| reading.header.record == key.record);
        let Some(reading) = reading else { return Ok(None) };
        Ok(Some(reading.veiled(&log, &self.erasures(key)?)))
    }

    /// Takes in the entries of `log` that follow its position, in one write with
    /// the changes that `extra` makes of the outcome. `lineage` is that of [`Reach`].
    pub(crate) fn take(
        &self,
        log: &LogId,
        lineage: u64,
        readings: &[Reading],
        extra: impl FnOnce(&Taken) -> Result<Vec<Change>, StoreError>,
    ) -> Result<Taken, StoreError> {
        let mut draft = Draft::over(&*self.replica);
        let mut taken = Taken::default();
        let mut position = None;
        for reading in readings {
            position = Some(reading.version.index + 1);
            draft.endorse(log, reading);
            draft.answer(log, reading);
            if !reading.is_record() {
                continue;
            }
            let (key, info) = (reading.key(log), reading.info());
            let row = key::version(&key, reading.version);
            draft.changes.insert(row, Some(key::version_value(&info)));
            if reading.is_held_back() {
                draft.changes.extend([held::row(log, reading)]);
            }
            taken.records.insert(key);
            let current = draft.current(&key)?;
            if current.is_some_and(|current| current.newest.version > info.version) {
                continue;
            }
            let next = match (current, reading.erasure()) {
                (Some(current), Some(erasure)) if info.erases_fields => {
                    draft.without(&key, current, &erasure, self)?
                }
                (None, Some(_)) if info.erases_fields => continue,
                _ => Current::of(&log.authority, info, Some(reading)),
            };
            draft.replace(&key, current, Some(next), &mut taken.sources);
        }
        if let Some(entries) = position {
            draft.changes.extend([Self::reach_row(log, Reach { entries, lineage })]);
            let mut changes: Vec<Change> = draft.changes.into_iter().collect();
            changes.extend(extra(&taken)?);
            self.replica.put(&changes)?;
        }
        Ok(taken)
    }

    /// Looks at the body of a record's newest version once more, because it came or went.
    pub(crate) fn refresh(
        &self,
        key: &RecordKey,
        extra: impl FnOnce(&Taken) -> Result<Vec<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(current) = self.current(key)? else { return Ok(()) };
        let reading = self.reading(key, current.newest.version)?;
        let next = Current::of(&key.authority, current.newest, reading.as_ref());
        if next != current {
            let mut draft = Draft::over(&*self.replica);
            let mut taken = Taken::default();
            draft.replace(key, Some(current), Some(next), &mut taken.sources);
            let mut changes: Vec<Change> = draft.changes.into_iter().collect();
            changes.extend(extra(&taken)?);
            self.replica.put(&changes)?;
        }
        Ok(())
    }

    /// Visits all rows that start with `prefix`, in order.
    fn each(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        each_row(&*self.replica, prefix, visit)
    }
}

/// Changes to be written, and what the register looks like with them.
struct Draft<'r> {
    replica: &'r dyn Replica,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'r> Draft<'r> {
    fn over(replica: &'r dyn Replica) -> Self {
        Self { replica, changes: BTreeMap::new() }
    }

    fn current(&self, key: &RecordKey) -> Result<Option<Current>, StoreError> {
        let row = key::current(key);
        let value = match self.changes.get(&row) {
            Some(value) => value.clone(),
            None => self.replica.get(&row)?,
        };
        value.map(|value| key::read_current_value(&value).ok_or_else(row_damaged)).transpose()
    }

    /// The record as it is without the fields that were erased.
    fn without(
        &self,
        key: &RecordKey,
        current: Current,
        erasure: &Erasure,
        register: &Register,
    ) -> Result<Current, StoreError> {
        let reading = register.reading(key, current.newest.version)?;
        let reading = reading.map(|mut reading| {
            if let Some(fields) = &mut reading.fields {
                fields.retain(|name| !erasure.scope.covers(name));
            }
            reading
        });
        Ok(Current::of(&key.authority, current.newest, reading.as_ref()))
    }

    fn replace(
        &mut self,
        key: &RecordKey,
        old: Option<Current>,
        new: Option<Current>,
        sources: &mut BTreeSet<SourceDigest>,
    ) {
        let predecessor = |current: Option<Current>| current.and_then(|it| it.predecessor);
        if let Some(old) = predecessor(old) {
            self.changes.insert(key::succession(&old, key), None);
        }
        if let Some(new) = predecessor(new) {
            self.changes.insert(key::succession(&new, key), Some(Vec::new()));
        }
        let extract = |current: Option<Current>| current.and_then(|current| current.extract);
        if let Some(old) = extract(old) {
            self.changes.insert(key::extract(&old, key), None);
        }
        if let Some(new) = extract(new) {
            self.changes.insert(key::extract(&new, key), Some(Vec::new()));
        }
        let source = |current: Option<Current>| current.and_then(|current| current.source);
        let (old, source) = (source(old), source(new));
        if old != source {
            if let Some(old) = old {
                self.changes.insert(key::source(&old, key), None);
            }
            if let Some(source) = source {
                self.changes.insert(key::source(&source, key), Some(Vec::new()));
            }
            sources.extend(old.into_iter().chain(source));
        }
        self.changes.insert(key::current(key), new.as_ref().map(key::current_value));
    }
}

/// Removes all rows that start with `prefix`.
pub(crate) fn remove_all(replica: &dyn Replica, prefix: &[u8]) -> Result<(), StoreError> {
    loop {
        let rows = replica.scan(prefix, &[], ROWS)?;
        if rows.is_empty() {
            return Ok(());
        }
        let changes: Vec<Change> = rows.into_iter().map(|(key, _)| (key, None)).collect();
        replica.put(&changes)?;
    }
}

/// An entry whose body could not be opened to be reduced: without any of it.
fn without_sealed(entry: Entry) -> Option<Entry> {
    if !matches!(entry.body(), Some(Body::Sealed(_))) {
        return Some(entry);
    }
    UnverifiedEntry::new(entry.header_bytes().to_vec(), None).check().ok()
}

/// The log in which a version of a record stands.
pub(crate) const fn log_of(key: &RecordKey, version: Version) -> LogId {
    LogId { authority: key.authority, space: key.space, generation: version.generation }
}

pub(crate) fn damaged(what: String) -> StoreError {
    StoreError::Damaged { what, offset: None }
}

fn row_damaged() -> StoreError {
    damaged("the register of records".to_owned())
}

fn current_row(key: &[u8], value: &[u8]) -> Result<(RecordKey, Current), StoreError> {
    let key = key::read_current_key(key).ok_or_else(row_damaged)?;
    Ok((key, key::read_current_value(value).ok_or_else(row_damaged)?))
}
