//! The projector's thread: portions, commits and waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tallystick_protocol::id::LogId;

use super::queue::{Item, Queue};
use super::{POSITIONS, ProjectorError, Shared};
use crate::reference::References;
use crate::register::{Reading, RecordKey, Register, SourceDigest, Taken, key, remove_all};
use crate::search::{Document, Opened, Writer};
use crate::store::{Change, Replica, StoreError};

/// Entries in one portion.
const PORTION_ENTRIES: u64 = 1000;
/// Bytes of entries in one portion.
const PORTION_BYTES: usize = 1 << 20;
/// Rows of the queue in one portion.
const PORTION_ROWS: usize = 500;
/// Documents after which the index is committed, whoever waits.
const COMMIT_DOCUMENTS: usize = 50_000;
/// Longest time for which what was read cannot be found.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// How often the replica is looked at without being told.
const LOOK_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    replica: Arc<dyn Replica>,
    register: Register,
    references: References,
    queue: Queue,
    writer: Writer,
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
            indexed: BTreeMap::new(),
            read: BTreeMap::new(),
            worked: Vec::new(),
            since: None,
            references_written: false,
        }
    }

    /// Brings positions and index into agreement.
    pub(super) fn prepare(&mut self, opened: Opened) -> Result<(), ProjectorError> {
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

    pub(super) const fn indexed(&self) -> &BTreeMap<LogId, u64> {
        &self.indexed
    }

    /// Works until told to stop.
    pub(super) fn run(&mut self, shared: &Shared) -> Result<(), ProjectorError> {
        loop {
            let (woken, stopping) = {
                let board = shared.board();
                (board.woken, board.stopping)
            };
            if stopping {
                return self.commit(shared);
            }
            let progress = self.portion_of_queue()? | self.portion_of_each_log()?;
            if progress && shared.board().waiting > 0 {
                shared.board().registered.clone_from(&self.read);
                shared.done.notify_all();
            }
            let waited = self.since.map(|since| since.elapsed());
            let full = self.writer.pending() >= COMMIT_DOCUMENTS;
            let wanted = !progress && shared.board().waiting > 0;
            let dirty = waited.is_some();
            if full || (dirty && wanted) || waited.is_some_and(|waited| waited >= COMMIT_AFTER) {
                self.commit(shared)?;
            } else if !progress {
                self.pause(shared, woken, waited);
            }
        }
    }

    pub(super) fn close(self) -> Result<(), ProjectorError> {
        Ok(self.writer.close()?)
    }

    /// Waits for something to do, at most until what was read must be committed.
    fn pause(&self, shared: &Shared, woken: u64, waited: Option<Duration>) {
        let mut board = shared.board();
        if waited.is_none() {
            board.idle += 1;
            shared.done.notify_all();
        }
        let limit = waited.map_or(LOOK_AFTER, |waited| COMMIT_AFTER.saturating_sub(waited));
        if board.woken == woken && !board.stopping {
            let _guard =
                shared.wake.wait_timeout(board, limit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads at most one portion of every log; whether there was any.
    fn portion_of_each_log(&mut self) -> Result<bool, ProjectorError> {
        let mut progress = false;
        for stored in self.replica.logs()? {
            let start = self.read.get(&stored.log).copied().unwrap_or(0);
            if start < stored.frontier.size() {
                self.portion(&stored.log, start)?;
                progress = true;
            }
        }
        Ok(progress)
    }

    fn portion(&mut self, log: &LogId, start: u64) -> Result<(), ProjectorError> {
        let range = start..start.saturating_add(PORTION_ENTRIES);
        let entries = self.replica.entries(log, range, PORTION_BYTES)?;
        let readings: Vec<Reading> = (start..)
            .zip(entries)
            .map(|(index, entry)| Reading::of(log, index, entry))
            .collect::<Result<_, _>>()?;
        let end = start + readings.len() as u64;
        // What is in the register already is only indexed once more: see the module's description.
        let registered = self.register.position(log)?.clamp(start, end);
        let (old, new) = readings.split_at(usize::try_from(registered - start).unwrap_or(0));
        let taken = self.register.take(log, new, |taken| self.queue_rows(taken))?;
        let mut records = taken.records;
        records.extend(old.iter().filter(|r| r.is_record()).map(|r| r.key(log)));
        for record in records {
            self.index_record(&record, log, &readings)?;
        }
        self.read.insert(*log, end);
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
        let found = version.index.checked_sub(first).filter(|_| same_log);
        let found = found.and_then(|at| at_hand.get(usize::try_from(at).ok()?));
        let loaded = match found {
            Some(_) => None,
            None => self.register.reading(record, version)?,
        };
        let fields = found.or(loaded.as_ref()).and_then(|reading| reading.fields.as_ref());
        let document = match fields {
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
                let mut row = POSITIONS.to_vec();
                key::put_log(&mut row, log);
                changes.push((row, Some(position.to_be_bytes().to_vec())));
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
            board.registered.clone_from(&self.indexed);
        }
        shared.done.notify_all();
        Ok(())
    }

    /// How far the index is, as it was written last.
    fn positions(&self) -> Result<BTreeMap<LogId, u64>, ProjectorError> {
        let mut positions = BTreeMap::new();
        for stored in self.replica.logs()? {
            let mut row = POSITIONS.to_vec();
            key::put_log(&mut row, &stored.log);
            let value = self.replica.get(&row)?;
            if let Some(bytes) = value.and_then(|value| value.try_into().ok()) {
                // Never ahead of the register, so that it is continued without a gap.
                let position = u64::from_be_bytes(bytes).min(self.register.position(&stored.log)?);
                positions.insert(stored.log, position);
            }
        }
        Ok(positions)
    }
}
