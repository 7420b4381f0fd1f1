//! What authors have erased, and what the bodies lack that we hold.
//!
//! A body that lacks something is stored like any other, since it verifies. If
//! nothing that stands erases what it lacks, it is *wanted*: whoever gave it had
//! less than the author gave, or the author's controllers have disowned the
//! erasure since. Wanted bodies are asked for again ([`crate::sync::mending`]).
//!
//! **Invariants:** nothing that is erased is served, from the moment its erasure
//! is handed to storage, or from its retention date on; what is wanted follows from the
//! erasures that stand and from what is lacking, whatever came first. Deliberately
//! absent: when erased values are deleted, which is for whoever has a clock of days.

use std::collections::{BTreeMap, BTreeSet};

use crate::body::Body;
use crate::entry::{Action, Entry, Header, UnverifiedEntry};
use crate::erasure::{Erasure, Erasures, Lack};
use crate::id::{AuthorityId, LogId, RecordId, Space, Version};
use crate::limits;
use crate::sync::Refusal;
use crate::time::UnixTime;

/// Which record of which author in which space.
type Place = (AuthorityId, Space, RecordId);

#[derive(Debug)]
pub(in crate::sync) struct Erased {
    erasures: Erasures,
    lacks: BTreeMap<Place, BTreeMap<Version, Lack>>,
    /// Bodies that lack what nobody erased.
    wanted: BTreeSet<(LogId, u64)>,
    /// Retention dates that have not passed, and the record of each.
    dates: BTreeSet<(UnixTime, Place)>,
    now: UnixTime,
}

impl Erased {
    /// What is known at start, at `now`.
    pub(super) fn open(
        erasures: &[(LogId, Erasure)],
        lacks: &[(LogId, u64, Lack)],
        now: UnixTime,
    ) -> Self {
        let mut erased = Self {
            erasures: Erasures::at(now),
            lacks: BTreeMap::new(),
            wanted: BTreeSet::new(),
            dates: BTreeSet::new(),
            now,
        };
        for (log, erasure) in erasures {
            erased.insert(log, erasure.clone());
        }
        for (log, index, lack) in lacks {
            erased.lacking(log, *index, lack.clone());
        }
        erased
    }

    fn insert(&mut self, log: &LogId, erasure: Erasure) {
        let place = (log.authority, log.space, erasure.record);
        if let Some(from) = erasure.from.filter(|_| !erasure.is_in_force(self.now)) {
            self.dates.insert((from, place));
        }
        self.erasures.insert(log, erasure);
    }

    /// From now on it is `now`: what is retained no longer is hidden, and not wanted.
    pub(in crate::sync) fn pass(&mut self, now: UnixTime) {
        self.now = now;
        self.erasures.pass(now);
        while let Some(&(from, place)) = self.dates.first().filter(|(from, _)| *from <= now) {
            self.dates.remove(&(from, place));
            self.weigh(&place);
        }
    }

    /// Entries are added to a log.
    pub(super) fn note(&mut self, log: &LogId, start: u64, entries: &[Entry]) {
        for (index, entry) in (start..).zip(entries) {
            if let Some(lack) = Lack::of(entry) {
                self.lacking(log, index, lack);
            }
            if let Some(erasure) = Erasure::of(log, index, entry) {
                let place = (log.authority, log.space, erasure.record);
                self.insert(log, erasure);
                self.weigh(&place);
            }
        }
    }

    /// What the body of an entry lacks.
    pub(in crate::sync) fn lacking(&mut self, log: &LogId, index: u64, lack: Lack) {
        let place = (log.authority, log.space, lack.record);
        let version = Version { generation: log.generation, index };
        self.lacks.entry(place).or_default().insert(version, lack);
        self.weigh(&place);
    }

    /// The body of an entry is as it should be, or lacks less than before.
    pub(in crate::sync) fn filled(&mut self, log: &LogId, index: u64, entry: &Entry) {
        let place = (log.authority, log.space, entry.header().record);
        if let Some(lacks) = self.lacks.get_mut(&place) {
            lacks.remove(&Version { generation: log.generation, index });
        }
        self.wanted.remove(&(*log, index));
        if let Some(lack) = Lack::of(entry) {
            self.lacking(log, index, lack);
        }
    }

    /// A log ends before the entry `from`.
    pub(super) fn forget(&mut self, log: &LogId, from: u64) {
        let gone =
            |version: &Version| version.generation == log.generation && version.index >= from;
        let beyond = (*log, from)..=(*log, u64::MAX);
        let forgotten = self.erasures.forget(log, from);
        self.wanted.retain(|place| !beyond.contains(place));
        self.lacks.retain(|(authority, space, _), lacks| {
            if (*authority, *space) == (log.authority, log.space) {
                lacks.retain(|version, _| !gone(version));
            }
            !lacks.is_empty()
        });
        for erasure in forgotten {
            self.weigh(&(log.authority, log.space, erasure.record));
        }
    }

    /// Finds out anew what is wanted of a record.
    fn weigh(&mut self, place: &Place) {
        let (authority, space, _) = *place;
        for (version, lack) in self.lacks.get(place).into_iter().flatten() {
            let log = LogId { authority, space, generation: version.generation };
            let covering = self.erasures.of_version(&log, version.index, &lack.record);
            if lack.is_covered(covering) {
                self.wanted.remove(&(log, version.index));
            } else {
                self.wanted.insert((log, version.index));
            }
        }
    }

    /// Whether anything of a log may have to be hidden.
    pub(in crate::sync) fn concerns(&self, log: &LogId) -> bool {
        self.erasures.concern(log)
    }

    /// Bodies of which more is wanted, of a log from an entry on.
    pub(in crate::sync) fn wanted(&self) -> &BTreeSet<(LogId, u64)> {
        &self.wanted
    }

    /// What the body of an entry lacks.
    pub(in crate::sync) fn lack(&self, log: &LogId, index: u64, of: &RecordId) -> Option<&Lack> {
        let version = Version { generation: log.generation, index };
        self.lacks.get(&(log.authority, log.space, *of))?.get(&version)
    }

    /// The entry without what is erased.
    pub(in crate::sync) fn veiled(&self, log: &LogId, index: u64, entry: Entry) -> Entry {
        self.erasures.veiled(log, index, entry)
    }

    /// The entries, from `start` on, without what is erased already: whoever gave
    /// it does not know yet.
    pub(super) fn without_erased(
        &self,
        log: &LogId,
        start: u64,
        entries: Vec<Entry>,
    ) -> Vec<Entry> {
        if !self.concerns(log) {
            return entries;
        }
        let veiled = |(index, entry)| self.veiled(log, index, entry);
        (start..).zip(entries).map(veiled).collect()
    }

    /// Takes what is erased out of `bodies`, of the entries with these headers
    /// from `start` on; then as many as fit into `room`.
    pub(in crate::sync) fn veil(
        &self,
        log: &LogId,
        start: u64,
        headers: &[Vec<u8>],
        bodies: &mut Vec<Option<Vec<u8>>>,
        mut room: usize,
    ) {
        for ((index, header), body) in (start..).zip(headers).zip(bodies.iter_mut()) {
            if let Some(less) = body.as_ref().and_then(|b| self.less(log, index, header, b)) {
                *body = less;
            }
        }
        let fitting = bodies.iter().take_while(|body| {
            let size = body.as_ref().map_or(1, |body| body.len() + 5);
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let fitting = fitting.count();
        bodies.truncate(fitting);
    }

    /// What a peer gets of a body that is covered by an erasure.
    fn less(&self, log: &LogId, index: u64, header: &[u8], body: &[u8]) -> Option<Option<Vec<u8>>> {
        let header = Header::decode(header).ok()?;
        self.erasures.covering(log, index, &header).next()?;
        let body = Body::verify(body.to_vec(), &header.commitment, header.body_size).ok()?;
        if matches!(body, Body::Sealed(_)) {
            // What is left of it cannot be seen here.
            return Some(None);
        }
        let left = self.erasures.veil(log, index, &header, &body)?;
        let fits = left.as_bytes().len() + limits::HEADER_BYTES <= limits::FRAME_BYTES;
        // With its salts a body may be larger than before.
        let left = if fits { left } else { left.erase().map_or(left, Body::Erased) };
        Some(Some(left.into_bytes()))
    }
}

/// An entry as a peer gave it, checked in itself. Its body may lack something,
/// unless it is one that says what is erased; it may be absent only if it is a
/// sealed one, of which nothing can be shown without showing all; and sealed only
/// under an epoch, which no public log has.
pub(in crate::sync) fn check(
    space: Space,
    entry: UnverifiedEntry,
    leaf: crate::id::Hash,
) -> Result<Entry, Refusal> {
    let entry = entry.check_under(leaf).map_err(|_| Refusal::BadEntries)?;
    let (is_sealed, header) = (entry.header().epoch.is_some(), entry.header());
    match entry.body() {
        Some(Body::Sealed(_)) if !is_sealed || space == Space::Public => Err(Refusal::BadEntries),
        Some(Body::Full(_) | Body::Sealed(_)) => Ok(entry),
        None if is_sealed && space != Space::Public && header.action != Action::Erase => Ok(entry),
        Some(_) if entry.header().action != Action::Erase => Ok(entry),
        _ => Err(Refusal::AbsentBody),
    }
}
