//! Which values are erased or lacking, in rows beside the logs.
//!
//! | key | value |
//! |---|---|
//! | `era/e`, author, space, record, position | a [`Standing`] erasure |
//! | `era/d`, log, index | record: the erasure there is still to be carried out |
//! | `era/r`, date, log, index | record: the retention date there has still to come, see [`retention`] |
//! | `era/a`, log, index | record: what became of the erasure there is to be told its author |
//! | `era/l`, log, index | a [`Lack`] |
//! | `era/c`, log, index | record: the body there has changed, and projections have not seen it |
//!
//! Rows are written before the entries they come from, and those of entries that
//! a crash took are dropped at open; so there is a row for every entry, and the
//! next start finds what is hidden before it serves anything. Deliberately
//! absent: what is to be hidden or due, which the protocol says.

use std::collections::BTreeSet;

use tallystick_protocol::body::FieldName;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::erasure::{Erasure, Erasures, Lack, Reason, Scope};
use tallystick_protocol::id::{LogId, RecordId, Version};
use tallystick_protocol::time::UnixTime;

use super::layout::{Fields, put_log};
use super::{Change, Replica, StoreError, each_row};

pub mod retention;

const ERASURES: &[u8] = b"era/e";
const DUE: &[u8] = b"era/d";
const LACKS: &[u8] = b"era/l";
const TO_ANSWER: &[u8] = b"era/a";
/// In the place of a reason, before the date.
const RETENTION: u8 = u8::MAX - 1;
const CHANGED: &[u8] = b"era/c";

/// An erasure, and how far it is carried out here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The log in which it stands.
    pub log: LogId,
    /// What it says.
    pub erasure: Erasure,
    /// When it was stored here, by this machine's clock.
    pub seen: UnixTime,
    /// The time by which enough of its author's witnesses had cosigned it.
    pub witnessed: Option<UnixTime>,
    /// Whether the author's controllers countersigned it.
    pub countersigned: bool,
    /// When its values were deleted here.
    pub deleted: Option<UnixTime>,
}

impl Standing {
    /// When it is to be carried out.
    #[must_use]
    pub fn due(&self) -> UnixTime {
        match self.countersigned {
            true => self.seen,
            false => self.erasure.due(self.seen, self.witnessed),
        }
    }

    /// The row because of which it is not forgotten.
    fn waits(&self) -> Change {
        let (Erasure { at, record, from, .. }, log) = (&self.erasure, &self.log);
        let key = match from {
            Some(from) => retention::key(*from, log, at.index),
            None => entry_key(DUE, log, at.index),
        };
        (key, Some(record.as_bytes().to_vec()))
    }

    fn row(&self) -> Change {
        (erasure_key(&self.log, &self.erasure.record, self.erasure.at), Some(self.value()))
    }

    fn value(&self) -> Vec<u8> {
        let upto = self.erasure.upto;
        let mut value = upto.generation.to_be_bytes().to_vec();
        let times = [Some(self.seen), self.witnessed, self.deleted];
        let times = times.map(|time| time.map_or(0, UnixTime::as_seconds));
        for number in [upto.index].into_iter().chain(times) {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.push(u8::from(self.countersigned));
        put_reason(&mut value, &self.erasure);
        put_scope(&mut value, &self.erasure.scope);
        value
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(key.strip_prefix(ERASURES)?);
        let (log, record) = fields.log().zip(fields.array().map(RecordId::from_bytes))?;
        let at = Version { generation: fields.u32()?, index: fields.u64()? };
        let log = LogId { generation: at.generation, ..log };
        let mut fields = Fields::new(value);
        let upto = Version { generation: fields.u32()?, index: fields.u64()? };
        let seen = UnixTime::from_seconds(fields.u64()?);
        let witnessed = time(fields.u64()?);
        let deleted = time(fields.u64()?);
        let countersigned = fields.u8()? == 1;
        let (reason, from) = read_reason(&mut fields)?;
        let scope = read_scope(&mut fields)?;
        let erasure = Erasure { at, record, upto, scope, reason, from };
        Some(Self { log, erasure, seen, witnessed, countersigned, deleted })
    }
}

const fn time(seconds: u64) -> Option<UnixTime> {
    if seconds == 0 { None } else { Some(UnixTime::from_seconds(seconds)) }
}

/// What is added to a log, as far as erasure is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// The log.
    pub log: &'a LogId,
    /// Index of the first entry.
    pub start: u64,
    /// The entries.
    pub entries: &'a [Entry],
    /// Those among them that are countersigned erasures.
    pub countersigned: &'a [u64],
    /// Entries under the head that was added, and when enough had cosigned it.
    pub witnessed: Option<(u64, UnixTime)>,
}

/// Writes down what entries erase and lack, before they are added.
///
/// # Errors
/// [`StoreError`] if the replica fails; so for all functions here.
pub fn note(
    replica: &(impl Replica + ?Sized),
    added: Added<'_>,
    seen: UnixTime,
) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    for (index, entry) in (added.start..).zip(added.entries) {
        if let Some(lack) = Lack::of(entry) {
            changes.push(lack_row(added.log, index, Some(&lack)));
        }
        if let Some(erasure) = Erasure::of(added.log, index, entry) {
            if is_known(replica, added.log, &erasure)? {
                continue;
            }
            let countersigned = added.countersigned.contains(&index);
            let (log, witnessed, deleted) = (*added.log, None, None);
            let standing = Standing { log, erasure, seen, witnessed, countersigned, deleted };
            changes.extend([standing.row(), standing.waits()]);
        }
    }
    if !changes.is_empty() {
        replica.put(&changes)?;
    }
    match added.witnessed {
        Some((size, at)) => note_witnessed(replica, added.log, size, at),
        None => Ok(()),
    }
}

/// Whether it was written down before a crash took the entry.
fn is_known(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    erasure: &Erasure,
) -> Result<bool, StoreError> {
    let key = erasure_key(log, &erasure.record, erasure.at);
    let known = replica.get(&key)?.and_then(|value| Standing::read(&key, &value));
    Ok(known.is_some_and(|known| known.erasure == *erasure))
}

/// Enough witnesses have cosigned a head over `size` entries. That shows that all its
/// author's retention dates up to then have passed, also in logs that nobody cosigns.
fn note_witnessed(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    size: u64,
    at: UnixTime,
) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    let by_author = [DUE, log.authority.as_bytes()].concat();
    for standing in due_in(replica, &by_author)? {
        let erasure = &standing.erasure;
        let covered = standing.log == *log && erasure.at.index < size;
        let shown = erasure.is_dated_by(at) && (covered || erasure.from.is_some());
        if standing.witnessed.is_none() && shown {
            changes.push(Standing { witnessed: Some(at), ..standing }.row());
        }
    }
    if changes.is_empty() { Ok(()) } else { replica.put(&changes) }
}

/// Forgets what entries of a log from `from` on erase and lack.
///
/// # Errors
/// See [`note`].
pub fn forget(replica: &(impl Replica + ?Sized), log: &LogId, from: u64) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    each_row(replica, &author_key(log), |key, value| {
        let standing = Standing::read(key, value).ok_or_else(damaged)?;
        if standing.log == *log && standing.erasure.at.index >= from {
            let index = standing.erasure.at.index;
            let waiting = [DUE, TO_ANSWER].map(|rows| (entry_key(rows, log, index), None));
            changes.extend([(key.to_vec(), None), (standing.waits().0, None)]);
            changes.extend(waiting);
        }
        Ok(())
    })?;
    each_row(replica, &log_key(LACKS, log), |key, _| {
        let index = read_entry_key(LACKS, key).ok_or_else(damaged)?.1;
        if index >= from {
            changes.push((key.to_vec(), None));
        }
        Ok(())
    })?;
    changes.chunks(super::ROWS).try_for_each(|changes| replica.put(changes))
}

/// Drops the rows of entries that are not there.
///
/// # Errors
/// See [`note`].
pub fn prune(replica: &(impl Replica + ?Sized)) -> Result<(), StoreError> {
    let sizes = |log: &LogId| {
        let logs = replica.logs()?;
        Ok::<_, StoreError>(logs.iter().find(|l| l.log == *log).map_or(0, |l| l.frontier.size()))
    };
    let mut beyond = BTreeSet::new();
    each_row(replica, ERASURES, |key, value| {
        let standing = Standing::read(key, value).ok_or_else(damaged)?;
        if standing.erasure.at.index >= sizes(&standing.log)? {
            beyond.insert(standing.log);
        }
        Ok(())
    })?;
    each_row(replica, LACKS, |key, _| {
        let (log, index) = read_entry_key(LACKS, key).ok_or_else(damaged)?;
        if index >= sizes(&log)? {
            beyond.insert(log);
        }
        Ok(())
    })?;
    beyond.iter().try_for_each(|log| forget(replica, log, sizes(log)?))
}

/// What the body of an entry lacks now, which projections are to look at.
///
/// # Errors
/// See [`note`].
pub fn put_lack(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    index: u64,
    entry: &Entry,
) -> Result<(), StoreError> {
    let record = entry.header().record.as_bytes().to_vec();
    let changed = (entry_key(CHANGED, log, index), Some(record));
    replica.put(&[lack_row(log, index, Lack::of(entry).as_ref()), changed])
}

/// A body that has changed, for projections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedBody {
    /// The row that says so, to be removed then.
    pub row: Vec<u8>,
    /// The log.
    pub log: LogId,
    /// Which entry.
    pub index: u64,
    /// The record.
    pub record: RecordId,
}

/// At most so many bodies that have changed.
///
/// # Errors
/// See [`note`].
pub fn changed(
    replica: &(impl Replica + ?Sized),
    limit: usize,
) -> Result<Vec<ChangedBody>, StoreError> {
    let rows = replica.scan(CHANGED, &[], limit)?;
    let read = |(row, value): (Vec<u8>, Vec<u8>)| {
        let (log, index) = read_entry_key(CHANGED, &row)?;
        let record = RecordId::from_bytes(value.try_into().ok()?);
        Some(ChangedBody { row, log, index, record })
    };
    rows.into_iter().map(|row| read(row).ok_or_else(damaged)).collect()
}

/// An erasure is carried out, and its author to be told so if there was anything to be deleted.
///
/// # Errors
/// See [`note`].
pub fn put_deleted(
    replica: &(impl Replica + ?Sized),
    standing: Standing,
    now: UnixTime,
    any: bool,
) -> Result<(), StoreError> {
    let Erasure { at, record, .. } = standing.erasure;
    let done = (entry_key(DUE, &standing.log, at.index), None);
    let answer = (entry_key(TO_ANSWER, &standing.log, at.index), Some(record.as_bytes().to_vec()));
    let standing = Standing { deleted: Some(now), ..standing };
    let rows = [standing.row(), done].into_iter().chain(any.then_some(answer));
    replica.put(&rows.collect::<Vec<_>>())
}

/// The first that are carried out and whose authors are to be told, at most `limit`.
///
/// # Errors
/// See [`note`].
pub fn to_answer(
    replica: &(impl Replica + ?Sized),
    limit: usize,
) -> Result<Vec<Standing>, StoreError> {
    standing_at(replica, TO_ANSWER, replica.scan(TO_ANSWER, &[], limit)?)
}

/// The author of an erasure is told what became of it.
///
/// # Errors
/// See [`note`].
pub fn put_answered(
    replica: &(impl Replica + ?Sized),
    standing: &Standing,
) -> Result<(), StoreError> {
    replica.put(&[(entry_key(TO_ANSWER, &standing.log, standing.erasure.at.index), None)])
}

/// All erasures that stand, also those of retention dates that have still to come.
///
/// # Errors
/// See [`note`].
pub fn all(replica: &(impl Replica + ?Sized)) -> Result<Vec<Standing>, StoreError> {
    under(replica, ERASURES)
}

/// The erasures of one record, the oldest first.
///
/// # Errors
/// See [`note`].
pub fn of_record(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    record: &RecordId,
) -> Result<Vec<Standing>, StoreError> {
    let key = [author_key(log), record.as_bytes().to_vec()].concat();
    under(replica, &key)
}

/// The same, as what decides on what is hidden at `now`.
///
/// # Errors
/// See [`note`].
pub fn of_record_at(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    record: &RecordId,
    now: UnixTime,
) -> Result<Erasures, StoreError> {
    let mut erasures = Erasures::at(now);
    for standing in of_record(replica, log, record)? {
        erasures.insert(&standing.log, standing.erasure);
    }
    Ok(erasures)
}

/// Those that are still to be carried out.
///
/// # Errors
/// See [`note`].
pub fn pending(replica: &(impl Replica + ?Sized)) -> Result<Vec<Standing>, StoreError> {
    due_in(replica, DUE)
}

/// What bodies lack.
///
/// # Errors
/// See [`note`].
pub fn lacks(replica: &(impl Replica + ?Sized)) -> Result<Vec<(LogId, u64, Lack)>, StoreError> {
    let mut lacks = Vec::new();
    each_row(replica, LACKS, |key, value| {
        let (log, index) = read_entry_key(LACKS, key).ok_or_else(damaged)?;
        lacks.push((log, index, read_lack(value).ok_or_else(damaged)?));
        Ok(())
    })?;
    Ok(lacks)
}

/// What the body of one entry lacks.
///
/// # Errors
/// See [`note`].
pub fn lack(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    index: u64,
) -> Result<Option<Lack>, StoreError> {
    let row = replica.get(&entry_key(LACKS, log, index))?;
    row.map(|value| read_lack(&value).ok_or_else(damaged)).transpose()
}

fn read_lack(value: &[u8]) -> Option<Lack> {
    let mut fields = Fields::new(value);
    let record = fields.array().map(RecordId::from_bytes)?;
    Some(Lack { record, fields: read_scope(&mut fields)? })
}

fn under(replica: &(impl Replica + ?Sized), prefix: &[u8]) -> Result<Vec<Standing>, StoreError> {
    let mut found = Vec::new();
    each_row(replica, prefix, |key, value| {
        found.push(Standing::read(key, value).ok_or_else(damaged)?);
        Ok(())
    })?;
    Ok(found)
}

fn due_in(replica: &(impl Replica + ?Sized), prefix: &[u8]) -> Result<Vec<Standing>, StoreError> {
    let mut rows = Vec::new();
    each_row(replica, prefix, |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    standing_at(replica, DUE, rows)
}

/// What stands where `rows` say, whose keys are a prefix, a log and an index.
fn standing_at(
    replica: &(impl Replica + ?Sized),
    prefix: &[u8],
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Vec<Standing>, StoreError> {
    let mut found = Vec::new();
    for (key, value) in rows {
        let place = read_entry_key(prefix, &key).ok_or_else(damaged)?;
        found.extend(standing(replica, place, &value)?);
    }
    Ok(found)
}

/// The erasure at a place of a log, of the record whose id is `record`.
fn standing(
    replica: &(impl Replica + ?Sized),
    (log, index): (LogId, u64),
    record: &[u8],
) -> Result<Option<Standing>, StoreError> {
    let record = record.try_into().map(RecordId::from_bytes).map_err(|_| damaged())?;
    let at = Version { generation: log.generation, index };
    let key = erasure_key(&log, &record, at);
    let value = replica.get(&key)?;
    value.map(|value| Standing::read(&key, &value).ok_or_else(damaged)).transpose()
}

/// Erasures of all generations of a log lie together.
fn author_key(log: &LogId) -> Vec<u8> {
    let mut key = ERASURES.to_vec();
    put_log(&mut key, &LogId { generation: 0, ..*log });
    key
}

fn erasure_key(log: &LogId, record: &RecordId, at: Version) -> Vec<u8> {
    let mut key = author_key(log);
    key.extend_from_slice(record.as_bytes());
    key.extend_from_slice(&at.generation.to_be_bytes());
    key.extend_from_slice(&at.index.to_be_bytes());
    key
}

fn log_key(prefix: &[u8], log: &LogId) -> Vec<u8> {
    let mut key = prefix.to_vec();
    put_log(&mut key, log);
    key
}

fn entry_key(prefix: &[u8], log: &LogId, index: u64) -> Vec<u8> {
    let mut key = log_key(prefix, log);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn read_entry_key(prefix: &[u8], key: &[u8]) -> Option<(LogId, u64)> {
    let mut fields = Fields::new(key.strip_prefix(prefix)?);
    Some((fields.log()?, fields.u64()?))
}

fn lack_row(log: &LogId, index: u64, lack: Option<&Lack>) -> Change {
    let value = lack.map(|lack| {
        let mut value = lack.record.as_bytes().to_vec();
        put_scope(&mut value, &lack.fields);
        value
    });
    (entry_key(LACKS, log, index), value)
}

fn put_reason(out: &mut Vec<u8>, erasure: &Erasure) {
    if let Some(from) = erasure.from {
        out.push(RETENTION);
        return out.extend_from_slice(&from.as_seconds().to_be_bytes());
    }
    let reason = Reason::ALL.iter().position(|reason| *reason == erasure.reason);
    out.push(reason.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX));
}

fn read_reason(fields: &mut Fields<'_>) -> Option<(Reason, Option<UnixTime>)> {
    match fields.u8()? {
        RETENTION => Some((Reason::Retention, Some(UnixTime::from_seconds(fields.u64()?)))),
        at => Some((Reason::ALL.get(usize::from(at)).copied().unwrap_or(Reason::Other), None)),
    }
}

fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    let Scope::Fields(names) = scope else { return out.push(0) };
    out.push(1);
    for name in names {
        // A name has at most 128 bytes.
        out.push(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_str().as_bytes());
    }
}

fn read_scope(fields: &mut Fields<'_>) -> Option<Scope> {
    if fields.u8()? == 0 {
        return Some(Scope::Whole);
    }
    let mut names = BTreeSet::new();
    while !fields.is_empty() {
        let length = usize::from(fields.u8()?);
        let name = core::str::from_utf8(fields.bytes(length)?).ok()?;
        names.insert(FieldName::new(name).ok()?);
    }
    Some(Scope::Fields(names))
}

fn damaged() -> StoreError {
    StoreError::damaged("the list of erasures")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryReplica;
    use tallystick_protocol::body::{Body, Fields as BodyFields, FullBody, Salt};
    use tallystick_protocol::entry::{Action, Header};
    use tallystick_protocol::id::AuthorityId;
    use tallystick_protocol::record::Kind;

    fn log() -> LogId {
        LogId::public(AuthorityId::from_bytes([1; 32]), 2)
    }

    fn entry(action: Action, upto: Option<u64>, fields: &BodyFields) -> Entry {
        let (body, commitment) = FullBody::new(&Salt::from_random([9; 32]), fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        let (record, issued) = (RecordId::from_bytes([2; 16]), UnixTime::from_seconds(5));
        let mut header = Header::new(Kind::CONTRACT, record, action, issued, commitment, size);
        header.previous = upto.map(|index| Version { generation: 2, index });
        Entry::author(header, Body::Full(body)).unwrap()
    }

    fn erasing(scope: &Scope, upto: u64) -> Entry {
        let fields = Erasure::to_fields(Reason::CourtOrder, scope, &[]).unwrap();
        entry(Action::Erase, Some(upto), &fields)
    }

    fn reduced() -> Entry {
        let mut fields = BodyFields::new();
        fields.insert("title", &"Made up".into()).unwrap();
        let whole = entry(Action::Put, None, &fields);
        let left = Scope::Whole.apply(whole.body().unwrap()).unwrap();
        Entry::author(whole.header().clone(), left).unwrap()
    }

    fn add(replica: &MemoryReplica, start: u64, entries: &[Entry], seen: u64) {
        let added = Added { log: &log(), start, entries, countersigned: &[31], witnessed: None };
        note(replica, added, UnixTime::from_seconds(seen)).unwrap();
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let replica = MemoryReplica::new([0; 16]);
        let title = Scope::Fields(BTreeSet::from([FieldName::new("title").unwrap()]));
        add(&replica, 30, &[erasing(&title, 4), erasing(&Scope::Whole, 30), reduced()], 1000);
        let all = all(&replica).unwrap();
        assert_eq!(all.iter().map(|one| one.erasure.at.index).collect::<Vec<_>>(), [30, 31]);
        assert_eq!(all[0].erasure.scope, title);
        assert_eq!((all[0].countersigned, all[1].countersigned), (false, true));
        assert_eq!(all[1].due(), UnixTime::from_seconds(1000), "countersigned: at once");
        assert_eq!(all[1].erasure.reason, Reason::CourtOrder);
        assert_eq!(pending(&replica).unwrap(), all);
        assert_eq!(of_record(&replica, &log(), &RecordId::from_bytes([2; 16])).unwrap(), all);
        assert!(of_record(&replica, &log(), &RecordId::from_bytes([3; 16])).unwrap().is_empty());
        let lacks = lacks(&replica).unwrap();
        assert_eq!(lacks.iter().map(|(_, index, _)| *index).collect::<Vec<_>>(), [32]);
    }

    #[test]
    fn the_first_cosigned_head_that_covers_it_counts_and_a_replay_starts_no_new_delay() {
        let replica = MemoryReplica::new([0; 16]);
        let entries = [erasing(&Scope::Whole, 4)];
        add(&replica, 30, &entries, 1000);
        add(&replica, 30, &entries, 9000);
        let witnessed = |size, at| {
            let witnessed = Some((size, UnixTime::from_seconds(at)));
            let countersigned = &[][..];
            let added = Added { log: &log(), start: 31, entries: &[], countersigned, witnessed };
            note(&replica, added, UnixTime::from_seconds(9000)).unwrap();
            pending(&replica).unwrap()[0].clone()
        };
        let delay = tallystick_protocol::erasure::DELAY_SECONDS;
        assert_eq!(witnessed(30, 1500).due().as_seconds(), 1000 + delay, "does not cover it");
        assert_eq!(witnessed(31, 2000).due().as_seconds(), 2000 + delay);
        assert_eq!(witnessed(32, 3000).due().as_seconds(), 2000 + delay);
        put_deleted(&replica, witnessed(32, 3000), UnixTime::from_seconds(5), true).unwrap();
        assert!(pending(&replica).unwrap().is_empty());
        assert_eq!(all(&replica).unwrap()[0].deleted, Some(UnixTime::from_seconds(5)));
    }

    #[test]
    fn a_cosigned_public_head_dates_what_its_author_retained_in_a_group() {
        let space = tallystick_protocol::id::Space::Group(
            tallystick_protocol::id::GroupId::from_bytes([7; 32]),
        );
        let (private, time) = (LogId { space, ..log() }, UnixTime::from_seconds);
        let dated = |until| {
            let (mut header, body) = (reduced().header().clone(), reduced().body().cloned());
            (header.action, header.retain_until) = (Action::Put, Some(time(until)));
            Entry::author(header, body.unwrap()).unwrap()
        };
        let replica = MemoryReplica::new([0; 16]);
        let add = |log: &LogId, start, entries: &[Entry], witnessed| {
            note(&replica, Added { log, start, entries, countersigned: &[], witnessed }, time(1))
        };
        add(&private, 3, &[dated(1000), dated(2000), erasing(&Scope::Whole, 1)], None).unwrap();
        assert_eq!(retention::next(&replica).unwrap(), Some(time(1000)));
        assert_eq!(retention::lapse(&replica, time(2500), 10).unwrap(), 2);
        assert_eq!(retention::next(&replica).unwrap(), None);
        assert_eq!(changed(&replica, 10).unwrap().len(), 2, "projections are to look");
        add(&log(), 30, &[], Some((30, time(1500)))).unwrap();
        let witnessed: Vec<_> =
            pending(&replica).unwrap().iter().map(|one| one.witnessed).collect();
        assert_eq!(witnessed, [Some(time(1500)), None, None], "the first date has passed, no more");
        let due: Vec<_> = pending(&replica).unwrap().iter().map(Standing::due).collect();
        assert_eq!(due[0], time(1000));
        assert!(due[1] > time(2000 + 1));
    }

    #[test]
    fn rows_of_entries_that_are_gone_or_disowned_go_too() {
        let replica = MemoryReplica::new([0; 16]);
        let put = reduced();
        add(&replica, 30, &[erasing(&Scope::Whole, 4), put.clone(), erasing(&Scope::Whole, 5)], 1);
        add(&replica, 33, &[put], 1);
        forget(&replica, &log(), 32).unwrap();
        assert_eq!(all(&replica).unwrap().len(), 1);
        assert_eq!(pending(&replica).unwrap().len(), 1);
        assert_eq!(lacks(&replica).unwrap().len(), 1);
        // The log is not there at all.
        prune(&replica).unwrap();
        assert!(all(&replica).unwrap().is_empty() && lacks(&replica).unwrap().is_empty());
        assert!(pending(&replica).unwrap().is_empty());
    }
}
