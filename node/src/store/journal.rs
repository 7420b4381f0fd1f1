//! The journal: what an authority itself said, fsynced before anything else has it.
//!
//! Append-only segment files of frames (see `frame`), three kinds of them:
//!
//! | kind | payload |
//! |---|---|
//! | 1 commit | for each log: log id, index of the first header, number of headers, the headers, signed head or none |
//! | 2 cosigned | log id, size, root: the last head of another's log we cosigned |
//! | 3 set aside | log id, number of headers that stay, signed head over them or none |
//!
//! A commit is one frame, so after a crash it is there or it is not. Headers
//! may come without a head: written down before they could be signed. What its
//! controllers disown of an own log stays in the file and is no part of the log
//! any more: the headers after that frame continue those that stay.
//!
//! **Invariants:** an own log only grows here, and its head never goes back, but
//! for what is set aside; a frame is on the disk before [`Journal::append`] returns. After a failed write the
//! journal refuses everything until it is opened again, because only then is
//! known what the disk has. Deliberately absent: bodies (they must be erasable,
//! see [`super::body_file`]) and signatures.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::log::{Frontier, leaf_hash};

use super::disk::Disk;
use super::frame::{self, Frame, MAGIC};
use super::growth::{LogState, Roots};
use super::layout::{Fields, at, put_head, put_log};
use super::{Refusal, SignedHead, StoreError};

const TITLE: &[u8; MAGIC] = b"tallyjnl";
const COMMIT: u8 = 1;
const COSIGNED: u8 = 2;
const SET_ASIDE: u8 = 3;
/// A segment that has reached this size is not written to any more.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Most bytes read at once.
const READ_BYTES: u64 = 1 << 20;

/// What is added to one own log in one commit.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The log.
    pub log: LogId,
    /// Index of the first header.
    pub start: u64,
    /// Leaf hashes and headers, in order; none when only the head is new.
    pub headers: Vec<(Hash, &'a [u8])>,
    /// The signed head after them, if there is one.
    pub head: Option<SignedHead>,
}

impl<'a> Record<'a> {
    /// Of the headers of entries.
    #[must_use]
    pub fn of(log: LogId, start: u64, entries: &'a [Entry], head: Option<SignedHead>) -> Self {
        let headers = entries.iter().map(|entry| (entry.leaf(), entry.header_bytes())).collect();
        Self { log, start, headers, head }
    }
}

/// An open journal.
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    logs: BTreeMap<LogId, Log>,
    cosigned: BTreeMap<LogId, (u64, Hash)>,
    /// The segment being written to, and its size.
    segment: u32,
    size: u64,
    failed: bool,
}

#[derive(Debug, Default)]
struct Log {
    state: LogState,
    places: Vec<Place>,
    /// The tree that was set aside last, and how many headers stayed.
    aside: Option<(Frontier, u64)>,
}

/// A checked commit that is not written yet.
#[derive(Default)]
pub(super) struct Prepared {
    payload: Vec<u8>,
    /// Each log as it will be, and where in the payload its headers stand.
    logs: BTreeMap<LogId, (LogState, Vec<(usize, u16)>)>,
}

/// Where a header is.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u32,
    offset: u64,
    len: u16,
}

impl Journal {
    /// Opens the journal in `dir`, which exists, and drops an unfinished last frame.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the place of what is not as it was written;
    /// [`StoreError::Unreadable`]; [`StoreError::Fatal`].
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, StoreError> {
        Self::open_with(disk, dir, SEGMENT_BYTES)
    }

    /// [`Journal::open`] with another size of segments.
    ///
    /// # Errors
    /// See [`Journal::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let mut journal = Self {
            disk: Arc::clone(&disk),
            dir,
            segment_bytes,
            logs: BTreeMap::new(),
            cosigned: BTreeMap::new(),
            segment: 0,
            size: 0,
            failed: false,
        };
        let names = disk.list(&journal.dir).map_err(StoreError::unreadable(&journal.dir))?;
        let mut segments: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        segments.sort_unstable();
        for (expected, segment) in (0..).zip(&segments) {
            if expected != *segment {
                return Err(StoreError::damaged(format!("{} (missing)", name_of(expected))));
            }
            let last = Some(segment) == segments.last();
            journal.read_segment(*segment, last)?;
        }
        Ok(journal)
    }

    /// Logs with anything in the journal, ascending.
    pub fn logs(&self) -> impl Iterator<Item = &LogId> {
        self.logs.keys()
    }

    /// The tree over a log's headers; empty for an unknown log.
    #[must_use]
    pub fn frontier(&self, log: &LogId) -> Frontier {
        self.logs.get(log).map(|log| log.state.frontier.clone()).unwrap_or_default()
    }

    /// The tree over a log's first `size` headers, or over all if it has fewer.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]; [`StoreError::Damaged`].
    pub fn frontier_at(&self, log: &LogId, size: u64) -> Result<Frontier, StoreError> {
        let whole = self.frontier(log);
        if size >= whole.size() {
            return Ok(whole);
        }
        let mut frontier = Frontier::new();
        while frontier.size() < size {
            let headers = self.headers(log, frontier.size()..size)?;
            if headers.is_empty() {
                return Err(StoreError::damaged("the journal"));
            }
            headers.iter().for_each(|header| frontier.push(leaf_hash(header)));
        }
        Ok(frontier)
    }

    /// The tree over a log's headers as it was before a part of them was set
    /// aside the last time, and how many stayed.
    #[must_use]
    pub fn aside(&self, log: &LogId) -> Option<&(Frontier, u64)> {
        self.logs.get(log)?.aside.as_ref()
    }

    /// A log's newest signed head.
    #[must_use]
    pub fn head(&self, log: &LogId) -> Option<&SignedHead> {
        self.logs.get(log)?.state.head.as_ref()
    }

    /// Visits every signed head of a log, oldest first. They are read from the
    /// disk, a piece at a time: there may be millions.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Unreadable`].
    pub fn heads(&self, log: &LogId, mut visit: impl FnMut(SignedHead)) -> Result<(), StoreError> {
        for segment in 0..=self.segment {
            let file = self.dir.join(name_of(segment));
            let last = segment == self.segment;
            frame::scan(&*self.disk, &file, TITLE, last, |frame| {
                let read = match frame.kind {
                    COMMIT => visit_heads(frame.payload, log, &mut visit),
                    _ => Some(()),
                };
                read.ok_or_else(|| StoreError::damaged_at(&file, frame.offset))
            })?;
        }
        Ok(())
    }

    /// Size and root of another's log that we cosigned last.
    #[must_use]
    pub fn cosigned(&self, log: &LogId) -> Option<(u64, Hash)> {
        self.cosigned.get(log).copied()
    }

    /// Headers from the start of `range` on, about a megabyte of them; fewer at the end of the log.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let places = self.logs.get(log).map_or(&[][..], |log| &log.places);
        let places = places.get(at(range.start)..at(range.end).min(places.len())).unwrap_or(&[]);
        let Some(first) = places.first() else { return Ok(Vec::new()) };
        // Neighbours in one segment are read together; frame heads between them do not matter.
        let near = |place: &&Place| {
            let end = place.offset + u64::from(place.len);
            place.segment == first.segment && end - first.offset <= READ_BYTES
        };
        let near: Vec<_> = places.iter().take_while(near).collect();
        let end = near.last().map_or(0, |last| last.offset + u64::from(last.len));
        let file = self.dir.join(name_of(first.segment));
        let bytes = self.disk.read(&file, first.offset, at(end - first.offset));
        let bytes = bytes.map_err(StoreError::unreadable(&file))?;
        let header = |place: &&Place| {
            let from = at(place.offset - first.offset);
            bytes.get(from..from + usize::from(place.len)).map(<[u8]>::to_vec)
        };
        let headers: Option<Vec<_>> = near.iter().map(header).collect();
        headers.ok_or_else(|| StoreError::damaged_at(&file, first.offset))
    }

    /// Writes down what is added to own logs: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] or [`StoreError::TooLarge`], and nothing was
    /// written; [`StoreError::Fatal`], and the journal has to be opened again.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<(), StoreError> {
        let prepared = self.prepare(records)?;
        self.write(prepared)
    }

    /// The first half of [`Journal::append`]: checks everything, writes nothing.
    pub(super) fn prepare(&self, records: &[Record<'_>]) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared::default();
        for record in records {
            let known = || self.logs.get(&record.log).map(|log| log.state.clone());
            let (state, places) = prepared
                .logs
                .entry(record.log)
                .or_insert_with(|| (known().unwrap_or_default(), Vec::new()));
            let leaves = record.headers.iter().map(|(leaf, _)| *leaf);
            grow(state, record.start, leaves, record.head.as_ref())
                .map_err(|why| StoreError::Refused { log: record.log, why })?;
            put_record(&mut prepared.payload, record, places)?;
        }
        if prepared.payload.len() > frame::PAYLOAD_BYTES {
            return Err(StoreError::TooLarge("commit"));
        }
        Ok(prepared)
    }

    /// The second half: whatever was prepared last, and nothing else since.
    pub(super) fn write(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        if prepared.logs.is_empty() {
            return Ok(());
        }
        // If we die in the next line, the frame is whole or it is dropped at opening.
        let (segment, offset) = self.write_frame(COMMIT, &prepared.payload)?;
        for (id, (state, places)) in prepared.logs {
            let log = self.logs.entry(id).or_default();
            log.state = state;
            log.places.extend(places.into_iter().map(|(from, len)| Place {
                segment,
                offset: offset + from as u64,
                len,
            }));
        }
        Ok(())
    }

    /// Writes down that of an own log only the first `keep` headers, under
    /// `head` or none, are part of it any more.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there are fewer headers, or `head` is not over
    /// these, and nothing was written; otherwise as reading and [`Journal::append`].
    pub fn set_aside(
        &mut self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
    ) -> Result<(), StoreError> {
        let state = self.state_at(log, keep, head)?;
        let mut payload = Vec::new();
        put_log(&mut payload, log);
        payload.extend_from_slice(&keep.to_be_bytes());
        put_head(&mut payload, head);
        // If we die in the next line, all of it happened or nothing of it did.
        self.write_frame(SET_ASIDE, &payload)?;
        self.cut(log, state);
        Ok(())
    }

    /// A log as it is with its first `keep` headers only.
    fn state_at(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
    ) -> Result<LogState, StoreError> {
        let refused = |why| StoreError::Refused { log: *log, why };
        if keep > self.frontier(log).size() {
            return Err(refused(Refusal::Absent(keep - 1)));
        }
        let frontier = self.frontier_at(log, keep)?;
        let older = |size| self.frontier_at(log, size).ok().map(|tree| tree.root());
        LogState::begin(frontier, head, older).map_err(refused)
    }

    fn cut(&mut self, log: &LogId, state: LogState) {
        let log = self.logs.entry(*log).or_default();
        let keep = state.frontier.size();
        log.places.truncate(at(keep));
        log.aside = Some((core::mem::replace(&mut log.state, state).frontier, keep));
    }

    /// Writes down that a head of another's log is about to be cosigned.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an equal or larger head with another history
    /// was cosigned before; [`StoreError::Fatal`].
    pub fn put_cosigned(&mut self, log: &LogId, size: u64, root: Hash) -> Result<(), StoreError> {
        if let Some((old_size, old_root)) = self.cosigned(log) {
            if old_size > size || (old_size == size && old_root != root) {
                return Err(StoreError::Refused { log: *log, why: Refusal::Head });
            }
            if old_size == size {
                return Ok(());
            }
        }
        let mut payload = Vec::new();
        put_log(&mut payload, log);
        payload.extend_from_slice(&size.to_be_bytes());
        payload.extend_from_slice(root.as_bytes());
        // If we die behind this line, we may have promised what we never signed: harmless.
        self.write_frame(COSIGNED, &payload)?;
        self.cosigned.insert(*log, (size, root));
        Ok(())
    }

    /// Appends a frame and tells the segment and where the payload starts in it.
    fn write_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(u32, u64), StoreError> {
        let full = self.size >= self.segment_bytes;
        let (segment, size) = if full { (self.segment + 1, 0) } else { (self.segment, self.size) };
        let file = self.dir.join(name_of(segment));
        let bytes = frame::encode(TITLE, size == 0, kind, payload)?;
        if self.failed {
            let error = io::Error::other("an earlier write to the journal failed");
            return Err(StoreError::fatal(&file)(error));
        }
        self.failed = true;
        self.disk.append(&file, &bytes).map_err(StoreError::fatal(&file))?;
        self.failed = false;
        (self.segment, self.size) = (segment, size + bytes.len() as u64);
        Ok((segment, frame::payload_offset(size)))
    }

    fn read_segment(&mut self, segment: u32, last: bool) -> Result<(), StoreError> {
        let (disk, file) = (Arc::clone(&self.disk), self.dir.join(name_of(segment)));
        let whole = frame::scan(&*disk, &file, TITLE, last, |frame| {
            let offset = frame.offset;
            let read = match frame.kind {
                COMMIT => self.read_commit(segment, &frame),
                COSIGNED => self.read_cosigned(frame.payload),
                SET_ASIDE => self.read_set_aside(frame.payload),
                _ => None,
            };
            read.ok_or_else(|| StoreError::damaged_at(&file, offset))
        })?;
        let size = disk.size(&file).map_err(StoreError::unreadable(&file))?;
        if whole < size {
            tracing::warn!(file = %file.display(), bytes = size - whole, "unfinished write dropped");
            // If we die here, the next opening does it again.
            disk.truncate(&file, whole).map_err(StoreError::fatal(&file))?;
        }
        (self.segment, self.size) = (segment, whole);
        Ok(())
    }

    fn read_commit(&mut self, segment: u32, frame: &Frame<'_>) -> Option<()> {
        let mut fields = Fields::new(frame.payload);
        while !fields.is_empty() {
            let log = self.logs.entry(fields.log()?).or_default();
            let (start, count) = (fields.u64()?, fields.u32()?);
            let mut leaves = Vec::new();
            for _ in 0..count {
                let len = fields.u16()?;
                let offset = frame.offset + fields.consumed() as u64;
                leaves.push(leaf_hash(fields.bytes(usize::from(len))?));
                log.places.push(Place { segment, offset, len });
            }
            let head = fields.head()?;
            grow(&mut log.state, start, leaves, head.as_ref()).ok()?;
        }
        Some(())
    }

    fn read_set_aside(&mut self, payload: &[u8]) -> Option<()> {
        let mut fields = Fields::new(payload);
        let (log, keep, head) = (fields.log()?, fields.u64()?, fields.head()?);
        let state = self.state_at(&log, keep, head.as_ref()).ok()?;
        self.cut(&log, state);
        fields.is_empty().then_some(())
    }

    fn read_cosigned(&mut self, payload: &[u8]) -> Option<()> {
        let mut fields = Fields::new(payload);
        let (log, size, root) = (fields.log()?, fields.u64()?, fields.hash()?);
        self.cosigned.insert(log, (size, root));
        fields.is_empty().then_some(())
    }
}

/// The signed heads of one log in a commit.
fn visit_heads(payload: &[u8], log: &LogId, visit: &mut impl FnMut(SignedHead)) -> Option<()> {
    let mut fields = Fields::new(payload);
    while !fields.is_empty() {
        let of_log = fields.log()? == *log;
        let (_start, count) = (fields.u64()?, fields.u32()?);
        for _ in 0..count {
            let len = fields.u16()?;
            fields.bytes(usize::from(len))?;
        }
        fields.head()?.filter(|_| of_log).into_iter().for_each(&mut *visit);
    }
    Some(())
}

/// Adds leaves and head to a log.
fn grow(
    state: &mut LogState,
    start: u64,
    leaves: impl IntoIterator<Item = Hash>,
    head: Option<&SignedHead>,
) -> Result<(), Refusal> {
    let mut roots = Roots::of(head);
    state.grow(start, leaves, &mut roots, |_, _| ())?;
    // The journal keeps no rows: a head older than these leaves is compared with
    // the replica's when the two are brought together.
    head.map_or(Ok(()), |head| state.sign(head, &roots, |_| Some(head.root)))
}

/// Writes a record, and where in `payload` each header stands to `places`.
fn put_record(
    payload: &mut Vec<u8>,
    record: &Record<'_>,
    places: &mut Vec<(usize, u16)>,
) -> Result<(), StoreError> {
    put_log(payload, &record.log);
    payload.extend_from_slice(&record.start.to_be_bytes());
    let count = u32::try_from(record.headers.len()).map_err(|_| StoreError::TooLarge("commit"))?;
    payload.extend_from_slice(&count.to_be_bytes());
    for (_, header) in &record.headers {
        let len = u16::try_from(header.len()).map_err(|_| StoreError::TooLarge("header"))?;
        payload.extend_from_slice(&len.to_be_bytes());
        places.push((payload.len(), len));
        payload.extend_from_slice(header);
    }
    put_head(payload, record.head.as_ref());
    Ok(())
}

fn name_of(segment: u32) -> String {
    format!("{segment:08}.journal")
}

fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".journal")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
