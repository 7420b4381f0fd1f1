//! The projector's thread: portions, commits and waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tallystick_protocol::group::operation::LogEnd;
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, Space};

use super::queue::{Item, Queue};
use super::{POSITIONS, ProjectorError, Shared};
use crate::reference::References;
use crate::register::{Reach, Reading, RecordKey, Register, SourceDigest, Taken, key, remove_all};
use crate::search::{Document, Opened, Writer};
use crate::store::{Branch, Change, Replica, StoreError, erasure};

/// Entries in one portion.
const PORTION_ENTRIES: u64 = 1000;
/// Bytes of entries in one portion.
const PORTION_BYTES: usize = 1 << 20;
/// Entries indexed in one portion: nobody waits for the register longer than that takes.
const INDEXED_ENTRIES: u64 = 250;
/// Rows of the queue in one portion.
const PORTION_ROWS: usize = 500;
/// Documents after which the index is committed, whoever waits.
const COMMIT_DOCUMENTS: usize = 50_000;
/// Longest time for which what was read cannot be found.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// How long nothing must have come in before the index goes on.
const INDEX_AFTER: Duration = Duration::from_millis(200);
/// How far behind the index falls before it goes on while things come in.
const INDEX_LAG: Duration = Duration::from_secs(5);
/// How often the replica is looked at without being told.
const LOOK_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    replica: Arc<dyn Replica>,
    register: Register,
    references: References,
    queue: Queue,
    writer: Writer,
    /// Entries of each log that are in the register.
    registered: BTreeMap<LogId, u64>,
    /// How often each log had been set aside when these were taken in.
    lineages: BTreeMap<LogId, u64>,
    /// Entries of each log that can be found.
    indexed: BTreeMap<LogId, u64>,
    /// Entries of each log that were given to the writer.
    read: BTreeMap<LogId, u64>,
    /// Rows of the queue that were worked on since the last commit.
    worked: Vec<Vec<u8>>,
    /// When the oldest document that is not committed was written.
    since: Option<Instant>,
    /// References were put in the index since the last commit.
    references_written: bool,
    /// What could be read of groups when that was looked at last.
    opened: Option<Readable>,
    pace: Pace,
}

/// How far what is in groups can be read.
struct Readable {
    /// Value of [`Opener::changes`](crate::opener::Opener::changes).
    changes: u64,
    /// Where the logs of those who departed end.
    departed: BTreeMap<(GroupId, AuthorityId), LogEnd>,
}

/// When the index goes on, so that it does not take the machine from what comes in.
#[derive(Default)]
struct Pace {
    /// Value of `woken` when it was looked at last.
    woken: u64,
    /// When something came in last.
    news: Option<Instant>,
    /// Since when the index has something to do.
    behind: Option<Instant>,
    /// Until when others have the machine to themselves.
    rest: Option<Instant>,
}

impl Pace {
    /// Notes what was found in one round.
    fn note(&mut self, now: Instant, woken: u64, news: bool, behind: bool) {
        if news || woken != self.woken {
            self.news = Some(now);
        }
        self.woken = woken;
        self.behind = behind.then(|| self.behind.unwrap_or(now));
    }

    /// How long the index still has to wait, if nothing more comes in and nobody wants it.
    fn left(&self, now: Instant) -> Duration {
        let since = |moment: Instant| now.saturating_duration_since(moment);
        let quiet = self.news.map_or(Duration::ZERO, |at| INDEX_AFTER.saturating_sub(since(at)));
        let lag = self.behind.map_or(INDEX_LAG, |at| INDEX_LAG.saturating_sub(since(at)));
        let rest = self.rest.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        quiet.min(lag.max(rest))
    }

    /// After a portion that took `spent`: three times as long for the others.
    fn spent(&mut self, now: Instant, spent: Duration) {
        self.rest = now.checked_add(spent.saturating_mul(3));
    }
}

impl Worker {
    pub(super) fn new(
        replica: Arc<dyn Replica>,
        register: Register,
        references: References,
        queue: Queue,
        writer: Writer,
    ) -> Self {
        Self {
            replica,
            register,
            references,
            queue,
            writer,
            registered: BTreeMap::new(),
            lineages: BTreeMap::new(),
            indexed: BTreeMap::new(),
            read: BTreeMap::new(),
            worked: Vec::new(),
            since: None,
            references_written: false,
            opened: None,
            pace: Pace::default(),
        }
    }

    /// Brings positions and index into agreement.
    pub(super) fn prepare(&mut self, opened: Opened) -> Result<(), ProjectorError> {
        for stored in self.replica.logs()? {
            // No further than the log, whose end a crash may have taken.
            let reach = self.register.reach(&stored.log)?;
            self.registered.insert(stored.log, reach.entries.min(stored.frontier.size()));
            self.lineages.insert(stored.log, reach.lineage);
        }
        let mut positions = self.positions()?;
        // Without positions the index may hold what is no longer there.
        if opened != Opened::Kept || positions.is_empty() {
            remove_all(&*self.replica, POSITIONS)?;
            positions.clear();
            self.references.queue_all()?;
            self.replica.flush()?;
            self.writer.clear()?;
            self.writer.commit()?;
        }
        self.indexed.clone_from(&positions);
        self.read = positions;
        Ok(())
    }

    pub(super) const fn registered(&self) -> &BTreeMap<LogId, u64> {
        &self.registered
    }

    pub(super) const fn indexed(&self) -> &BTreeMap<LogId, u64> {
        &self.indexed
    }

    /// Works until told to stop.
    pub(super) fn run(&mut self, shared: &Shared) -> Result<(), ProjectorError> {
        loop {
            let (woken, searching, stopping) = {
                let board = shared.board();
                (board.woken, board.searching > 0, board.stopping)
            };
            if stopping {
                return self.commit(shared);
            }
            let news = self.register_each_log(shared)?;
            let behind = self.is_behind()?;
            self.pace.note(Instant::now(), woken, news, behind);
            let left = self.pace.left(Instant::now());
            let progress = behind && (searching || left.is_zero()) && self.index_portions()?;
            let waited = self.since.map(|since| since.elapsed());
            let full = self.writer.pending() >= COMMIT_DOCUMENTS;
            let wanted = searching && waited.is_some() && !news && !progress;
            if full || wanted || waited.is_some_and(|waited| waited >= COMMIT_AFTER) {
                self.commit(shared)?;
            } else if !news && !progress {
                self.pause(shared, woken, behind.then_some(left), waited);
            }
        }
    }

    pub(super) fn close(self) -> Result<(), ProjectorError> {
        Ok(self.writer.close()?)
    }

    /// Waits for something to do, at most until the index goes on or what was
    /// read must be committed.
    fn pause(
        &self,
        shared: &Shared,
        woken: u64,
        behind: Option<Duration>,
        waited: Option<Duration>,
    ) {
        let mut board = shared.board();
        if behind.is_none() && waited.is_none() {
            board.idle += 1;
            shared.done.notify_all();
        }
        let commit = waited.map_or(LOOK_AFTER, |waited| COMMIT_AFTER.saturating_sub(waited));
        let limit = commit.min(behind.unwrap_or(LOOK_AFTER));
        if board.woken == woken && !board.stopping {
            let _guard =
                shared.wake.wait_timeout(board, limit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes at most one portion of every log into the register; whether there was any.
    fn register_each_log(&mut self, shared: &Shared) -> Result<bool, ProjectorError> {
        let mut progress = self.queue_readable()?;
        self.queue_changed()?;
        let branches = self.replica.branches()?;
        for stored in self.replica.logs()? {
            let log = stored.log;
            let lineage = lineage(&branches, &log);
            progress |= self.forget_disowned(&log, lineage, &branches, shared)?;
            let start = self.registered.get(&log).copied().unwrap_or(0);
            if start < stored.frontier.size() {
                let readings = self.readings(&log, start, PORTION_ENTRIES)?;
                progress = true;
                if self::lineage(&self.replica.branches()?, &log) != lineage {
                    // It was set aside meanwhile: what was read may be of before or after.
                    continue;
                }
                self.register.take(&log, lineage, &readings, |taken| self.queue_rows(taken))?;
                let end = start + readings.len() as u64;
                self.registered.insert(log, end);
                shared.board().registered.insert(log, end);
            }
        }
        if progress {
            shared.done.notify_all();
        }
        Ok(progress)
    }

    /// Puts records of groups into the queue that can be read now, or are not to be
    /// shown any more; whether there were any.
    fn queue_readable(&mut self) -> Result<bool, ProjectorError> {
        let opener = self.register.opener();
        let changes = opener.changes();
        if self.opened.as_ref().is_some_and(|opened| opened.changes == changes) {
            return Ok(false);
        }
        let departed = opener.departed();
        let mut any = self.register.release(|record| self.queue.row(&Item::Record(record)))?;
        let before = self.opened.take().map(|opened| opened.departed).unwrap_or_default();
        let mut moved: BTreeSet<_> = before.keys().chain(departed.keys()).copied().collect();
        moved.retain(|who| before.get(who) != departed.get(who));
        for (group, authority) in moved {
            let records = self.register.said_in(&authority, &Space::Group(group))?;
            let rows: Vec<Change> =
                records.into_iter().map(|record| self.queue.row(&Item::Record(record))).collect();
            any |= !rows.is_empty();
            rows.chunks(crate::register::ROWS).try_for_each(|rows| self.replica.put(rows))?;
        }
        self.opened = Some(Readable { changes, departed });
        Ok(any)
    }

    /// Puts records into the queue whose bodies were deleted or came back.
    fn queue_changed(&self) -> Result<(), ProjectorError> {
        let changed = erasure::changed(&*self.replica, PORTION_ROWS)?;
        let mut rows = Vec::with_capacity(changed.len() * 2);
        for erasure::ChangedBody { row, log, index, record } in changed {
            let LogId { authority, space, .. } = log;
            rows.extend(self.register.recheck(&log, index)?);
            rows.push(self.queue.row(&Item::Record(RecordKey { authority, space, record })));
            rows.push((row, None));
        }
        if !rows.is_empty() {
            self.replica.put(&rows)?;
        }
        Ok(())
    }

    /// Takes out of the register what was set aside of a log since it was taken
    /// in, and has the records looked at again; whether there was any.
    fn forget_disowned(
        &mut self,
        log: &LogId,
        lineage: u64,
        branches: &[Branch],
        shared: &Shared,
    ) -> Result<bool, ProjectorError> {
        let known = self.lineages.get(log).copied().unwrap_or(0);
        if known == lineage {
            return Ok(false);
        }
        // What the register has is of the branch that the log became next.
        let mut next = branches.iter().filter(|branch| branch.log == *log);
        let next = next.nth(usize::try_from(known).unwrap_or(usize::MAX));
        let kept = next.map_or(Ok(0), |branch| branch.shared(&*self.replica))?;
        self.register.forget(log, kept, |taken| {
            let mut rows = self.queue_rows(taken)?;
            rows.extend(taken.records.iter().map(|record| self.queue.row(&Item::Record(*record))));
            Ok(rows)
        })?;
        let entries = self.registered.get(log).copied().unwrap_or(0).min(kept);
        let indexed = self.indexed.get(log).copied().unwrap_or(0).min(kept);
        // If we die before this line, all of it is done again.
        let reach = Register::reach_row(log, Reach { entries, lineage });
        self.replica.put(&[reach, position_row(log, indexed)])?;
        self.lineages.insert(*log, lineage);
        self.registered.insert(*log, entries);
        self.indexed.insert(*log, indexed);
        self.read.entry(*log).and_modify(|read| *read = kept.min(*read));
        let mut board = shared.board();
        board.registered.insert(*log, entries);
        board.indexed.insert(*log, indexed);
        Ok(true)
    }

    /// At most `limit` entries of `log` from `start` on.
    fn readings(
        &self,
        log: &LogId,
        start: u64,
        limit: u64,
    ) -> Result<Vec<Reading>, ProjectorError> {
        let range = start..start.saturating_add(limit);
        let entries = self.replica.entries(log, range, PORTION_BYTES)?;
        let opener = self.register.opener();
        let readings = (start..).zip(entries);
        let readings = readings.map(|(index, entry)| Reading::of(log, index, entry, opener));
        Ok(readings.collect::<Result<_, _>>()?)
    }

    /// Whether there is something that the index has not got.
    fn is_behind(&self) -> Result<bool, ProjectorError> {
        let behind = |(log, end): (&LogId, &u64)| self.read.get(log).unwrap_or(&0) < end;
        if self.registered.iter().any(behind) {
            return Ok(true);
        }
        let after = self.worked.last().map(Vec::as_slice);
        Ok(!Queue::read(&*self.replica, after, 1)?.is_empty())
    }

    /// Indexes at most one portion of the queue and of every log; whether there was any.
    fn index_portions(&mut self) -> Result<bool, ProjectorError> {
        let started = Instant::now();
        let mut progress = self.portion_of_queue()?;
        let behind = |(log, end): (&LogId, &u64)| {
            let start = self.read.get(log).copied().unwrap_or(0);
            (start < *end).then_some((*log, start, *end))
        };
        let behind: Vec<(LogId, u64, u64)> = self.registered.iter().filter_map(behind).collect();
        for (log, start, end) in behind {
            self.portion(&log, start, end)?;
            progress = true;
        }
        self.pace.spent(Instant::now(), started.elapsed());
        Ok(progress)
    }

    /// Indexes a portion of what the register has of a log, `start` to `end`.
    fn portion(&mut self, log: &LogId, start: u64, end: u64) -> Result<(), ProjectorError> {
        let limit = INDEXED_ENTRIES.min(end.saturating_sub(start));
        let readings = self.readings(log, start, limit)?;
        let records = readings.iter().filter(|reading| reading.is_record());
        let records: BTreeSet<RecordKey> = records.map(|reading| reading.key(log)).collect();
        for record in records {
            self.index_record(&record, log, &readings)?;
        }
        self.read.insert(*log, start + readings.len() as u64);
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Rows for the references whose source keys a record got or lost.
    fn queue_rows(&self, taken: &Taken) -> Result<Vec<Change>, StoreError> {
        let mut rows = Vec::new();
        for source in &taken.sources {
            if self.references.exists(source)? {
                rows.push(self.queue.row(&Item::Source(*source)));
            }
        }
        Ok(rows)
    }

    /// Works on at most one portion of the queue; whether there was any.
    fn portion_of_queue(&mut self) -> Result<bool, ProjectorError> {
        let after = self.worked.last().map(Vec::as_slice);
        let rows = Queue::read(&*self.replica, after, PORTION_ROWS)?;
        let mut seen = BTreeSet::new();
        for (row, item) in &rows {
            self.worked.push(row.clone());
            if !seen.insert(*item) {
                continue;
            }
            match item {
                Item::Source(source) => self.index_reference(source)?,
                Item::Record(record) => {
                    self.register.refresh(record, |taken| self.queue_rows(taken))?;
                    let log = LogId::public(record.authority, 0);
                    self.index_record(record, &log, &[])?;
                }
            }
        }
        if !rows.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(!rows.is_empty())
    }

    /// Puts a record into the index as the register has it, or takes it out.
    /// `at_hand` are entries of `log` that were read already.
    fn index_record(
        &mut self,
        record: &RecordKey,
        log: &LogId,
        at_hand: &[Reading],
    ) -> Result<(), ProjectorError> {
        let current = self.register.current(record)?.filter(|current| current.is_visible());
        let Some(current) = current else {
            return Ok(self.writer.put(Document::no_record(record))?);
        };
        let version = current.newest.version;
        let same_log = log.generation == version.generation && record.space == log.space;
        let first = at_hand.first().map_or(0, |reading| reading.version.index);
        // What is read from the register is without what is erased.
        let same_log = same_log && self.register.erasures(record)?.is_empty();
        let found = version.index.checked_sub(first).filter(|_| same_log);
        let found = found.and_then(|at| at_hand.get(usize::try_from(at).ok()?));
        let found = found.filter(|reading| reading.key(log) == *record);
        let loaded = match found {
            Some(_) => None,
            None => self.register.reading(record, version)?,
        };
        let fields = found.or(loaded.as_ref()).and_then(|reading| reading.fields.as_ref());
        let document = match fields {
            // Its retention date has passed: there is nothing to be found.
            Some(fields) if fields.is_empty() => Document::no_record(record),
            Some(fields) => Document::of_record(record, version, current.newest.kind, fields),
            None => Document::no_record(record),
        };
        Ok(self.writer.put(document)?)
    }

    /// Puts a reference into the index, or takes it out if it is gone or superseded.
    fn index_reference(&mut self, source: &SourceDigest) -> Result<(), ProjectorError> {
        let superseded = self.references.is_superseded(source)?;
        let reference = if superseded { None } else { self.references.of(source)? };
        let document = match reference {
            Some(reference) => Document::of_reference(&reference),
            None => Document::no_reference(source),
        };
        self.references_written = true;
        Ok(self.writer.put(document)?)
    }

    /// Makes what was written durable and found, then says so.
    fn commit(&mut self, shared: &Shared) -> Result<(), ProjectorError> {
        if self.since.is_none() {
            return Ok(());
        }
        if std::mem::take(&mut self.references_written) {
            // An entry that a crash takes from the replica comes again; a reference may not.
            self.replica.flush()?;
        }
        self.writer.commit()?;
        let mut changes: Vec<Change> = Vec::new();
        for (log, position) in &self.read {
            if self.indexed.get(log) != Some(position) {
                changes.push(position_row(log, *position));
            }
        }
        changes.extend(self.worked.drain(..).map(|row| (row, None)));
        for batch in changes.chunks(crate::register::ROWS) {
            self.replica.put(batch)?;
        }
        self.indexed.clone_from(&self.read);
        self.since = None;
        {
            let mut board = shared.board();
            board.indexed.clone_from(&self.indexed);
        }
        shared.done.notify_all();
        Ok(())
    }

    /// How far the index is, as it was written last.
    fn positions(&self) -> Result<BTreeMap<LogId, u64>, ProjectorError> {
        let mut positions = BTreeMap::new();
        for stored in self.replica.logs()? {
            let value = self.replica.get(&position_key(&stored.log))?;
            if let Some(bytes) = value.and_then(|value| value.try_into().ok()) {
                // Never ahead of the register, so that it is continued without a gap.
                let registered = self.registered.get(&stored.log).copied().unwrap_or(0);
                let position = u64::from_be_bytes(bytes).min(registered);
                positions.insert(stored.log, position);
            }
        }
        Ok(positions)
    }
}

/// How often a log has been set aside.
fn lineage(branches: &[Branch], log: &LogId) -> u64 {
    branches.iter().filter(|branch| branch.log == *log).count() as u64
}

fn position_key(log: &LogId) -> Vec<u8> {
    let mut key = POSITIONS.to_vec();
    key::put_log(&mut key, log);
    key
}

/// A row that says how far the index is.
fn position_row(log: &LogId, position: u64) -> Change {
    (position_key(log), Some(position.to_be_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_waits_for_a_pause_but_not_for_ever() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        pace.note(at(0), 1, true, true);
        assert_eq!(pace.left(at(0)), INDEX_AFTER);
        pace.note(at(100), 1, false, true);
        assert_eq!(pace.left(at(200)), Duration::ZERO, "nothing came in for a moment");
        pace.note(at(200), 2, false, true);
        assert_eq!(pace.left(at(200)), INDEX_AFTER, "somebody wrote something");
        for now in (300..=5000).step_by(100) {
            pace.note(at(now), 2, true, true);
        }
        assert_eq!(pace.left(at(5000)), Duration::ZERO, "it is seconds behind");
        pace.spent(at(5000), Duration::from_millis(50));
        assert_eq!(pace.left(at(5000)), Duration::from_millis(150), "a quarter of the time");
        pace.note(at(5150), 2, true, false);
        pace.note(at(5160), 2, true, true);
        assert_eq!(pace.left(at(5160)), INDEX_AFTER, "it had caught up in between");
    }
}
