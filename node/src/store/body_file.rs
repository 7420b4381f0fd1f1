//! Files with the bodies of own entries: durable before the journal names them,
//! and rewritable, because a body may have to be erased.
//!
//! One directory per log, named after space and generation; in it one file per
//! 4,096 indices. A file is made of frames (see `frame`), and a frame of
//! `index u64 | length u32 | body` for each body of one write. Of several
//! bodies with one index the last counts: an entry whose commit was lost may be
//! written again with another body.
//!
//! **Invariants:** a body is on the disk before [`BodyFiles::append`] returns;
//! after [`BodyFiles::set`] the old body is in no file any more. Deliberately
//! absent: checks that a body is the one its header commits to; whoever reads
//! it checks that.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use tallystick_protocol::id::LogId;

use super::StoreError;
use super::disk::{Disk, UNFINISHED};
use super::frame::{self, MAGIC};
use super::layout::{Fields, put_long};

const TITLE: &[u8; MAGIC] = b"tallybdy";
const BODIES: u8 = 1;
/// Indices in one file.
const SPAN: NonZeroU64 = NonZeroU64::MIN.saturating_add(4095);
/// A frame is closed once it is this long.
const FRAME_BYTES: usize = 4 << 20;

/// The body files of one authority.
pub struct BodyFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Indices in one file.
    span: NonZeroU64,
    /// Of each log the file used last.
    open: BTreeMap<LogId, Segment>,
    failed: bool,
}

struct Segment {
    number: u64,
    file: PathBuf,
    size: u64,
    /// Where the bodies are: offset in the file and length.
    places: BTreeMap<u64, (u64, u32)>,
}

impl BodyFiles {
    /// Opens the body files in `dir`, which exists; files are read when they are needed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]; [`StoreError::Fatal`] if the remains of a crash cannot be removed.
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, StoreError> {
        Self::open_with(disk, dir, SPAN)
    }

    /// [`BodyFiles::open`] with another number of indices per file, which must
    /// stay the same ever after.
    ///
    /// # Errors
    /// See [`BodyFiles::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        span: NonZeroU64,
    ) -> Result<Self, StoreError> {
        let list = |dir: &PathBuf| disk.list(dir).map_err(StoreError::unreadable(dir));
        for log in list(&dir)? {
            let log = dir.join(log);
            for name in list(&log)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
                // A rewriting that did not get to its end; the file it was for is whole.
                let file = log.join(name);
                disk.remove(&file).map_err(StoreError::fatal(&file))?;
            }
        }
        Ok(Self { disk, dir, span, open: BTreeMap::new(), failed: false })
    }

    /// Writes bodies down, ascending by index, and returns when they are on the disk.
    ///
    /// # Errors
    /// [`StoreError::Fatal`], and the files have to be opened again; otherwise as reading.
    pub fn append<'a>(
        &mut self,
        log: &LogId,
        bodies: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<(), StoreError> {
        let mut bodies = bodies.into_iter().peekable();
        while let Some((index, _)) = bodies.peek() {
            let span = self.span;
            let number = *index / span;
            let mut payload = Payload::default();
            while let Some((index, body)) = bodies
                .next_if(|(index, _)| *index / span == number && payload.bytes.len() < FRAME_BYTES)
            {
                payload.push(index, body);
            }
            self.write(log, number, &payload)?;
        }
        Ok(())
    }

    /// The body of an entry; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the place; [`StoreError::Unreadable`].
    pub fn get(&mut self, log: &LogId, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = Arc::clone(&self.disk);
        let segment = self.segment(log, index / self.span)?;
        let Some((offset, len)) = segment.places.get(&index) else { return Ok(None) };
        segment.read(&*disk, *offset, *len).map(Some)
    }

    /// Puts a body in the place of an entry's, or removes it with `None`. The
    /// old body is gone from the file when this returns.
    ///
    /// # Errors
    /// See [`BodyFiles::append`].
    pub fn set(&mut self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        self.check()?;
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.join(name_of(log)));
        let segment = self.segment(log, index / self.span)?;
        if body.is_none() && !segment.places.contains_key(&index) {
            return Ok(());
        }
        disk.create_dir(&dir).map_err(StoreError::fatal(&dir))?;
        let file = segment.file.clone();
        let kept: Vec<_> = segment
            .places
            .iter()
            .filter(|(at, _)| **at != index)
            .map(|(at, p)| (*at, *p))
            .collect();
        let mut kept = kept.into_iter().peekable();
        let mut added = body.map(|body| (index, body));
        let mut first = true;
        let mut chunks = std::iter::from_fn(|| {
            let mut payload = Payload::default();
            if let Some((index, body)) = added.take() {
                payload.push(index, body);
            }
            while payload.bytes.len() < FRAME_BYTES {
                let Some((at, (offset, len))) = kept.next() else { break };
                match segment.read(&*disk, offset, len) {
                    Ok(body) => payload.push(at, &body),
                    Err(error) => return Some(Err(io::Error::other(error))),
                }
            }
            let begins = core::mem::take(&mut first);
            if payload.bytes.is_empty() && !begins {
                return None;
            }
            Some(frame::encode(TITLE, begins, BODIES, &payload.bytes).map_err(io::Error::other))
        });
        // If we die in the next line, the old file is there as a whole or the new one is.
        let replaced = disk.replace(&file, &mut chunks).map_err(StoreError::fatal(&file));
        self.failed = replaced.is_err();
        self.open.remove(log);
        replaced
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failed {
            let error = io::Error::other("an earlier write to the body files failed");
            return Err(StoreError::fatal(&self.dir)(error));
        }
        Ok(())
    }

    fn write(&mut self, log: &LogId, number: u64, payload: &Payload) -> Result<(), StoreError> {
        self.check()?;
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.join(name_of(log)));
        disk.create_dir(&dir).map_err(StoreError::fatal(&dir))?;
        let segment = self.segment(log, number)?;
        let bytes = frame::encode(TITLE, segment.size == 0, BODIES, &payload.bytes)?;
        let start = frame::payload_offset(segment.size);
        // If we die in the next line, the frame is whole or dropped at reading;
        // either way no header names these bodies yet.
        let appended = disk.append(&segment.file, &bytes);
        if let Err(error) = appended {
            let fatal = StoreError::fatal(&segment.file)(error);
            self.failed = true;
            return Err(fatal);
        }
        segment.size += bytes.len() as u64;
        for (index, at, len) in &payload.places {
            segment.places.insert(*index, (start + *at as u64, *len));
        }
        Ok(())
    }

    /// The file with a number, read if it is not the one used last.
    fn segment(&mut self, log: &LogId, number: u64) -> Result<&mut Segment, StoreError> {
        if self.open.get(log).is_none_or(|segment| segment.number != number) {
            let file = self.dir.join(name_of(log)).join(format!("{number:010}.bodies"));
            self.open.insert(*log, Segment::read_all(&*self.disk, number, file)?);
        }
        self.open.get_mut(log).ok_or_else(|| StoreError::damaged("the body files"))
    }
}

impl Segment {
    fn read_all(disk: &dyn Disk, number: u64, file: PathBuf) -> Result<Self, StoreError> {
        let mut places = BTreeMap::new();
        // Any of them may have been the last one written to when we died.
        let whole = frame::scan(disk, &file, TITLE, true, |frame| {
            let mut fields = Fields::new(frame.payload);
            while !fields.is_empty() {
                let damaged = || StoreError::damaged_at(&file, frame.offset);
                let (index, body) = fields.u64().zip(fields.long()).ok_or_else(damaged)?;
                let end = frame.offset + fields.consumed() as u64;
                let len = u32::try_from(body.len()).map_err(|_| damaged())?;
                places.insert(index, (end - u64::from(len), len));
            }
            Ok(())
        })?;
        let size = disk.size(&file).map_err(StoreError::unreadable(&file))?;
        if whole < size {
            tracing::warn!(file = %file.display(), bytes = size - whole, "unfinished write dropped");
            // If we die here, the next reading does it again.
            disk.truncate(&file, whole).map_err(StoreError::fatal(&file))?;
        }
        Ok(Self { number, file, size: whole, places })
    }

    fn read(&self, disk: &dyn Disk, offset: u64, len: u32) -> Result<Vec<u8>, StoreError> {
        let body = disk.read(&self.file, offset, len as usize);
        let body = body.map_err(StoreError::unreadable(&self.file))?;
        if body.len() == len as usize {
            Ok(body)
        } else {
            Err(StoreError::damaged_at(&self.file, offset))
        }
    }
}

/// The bodies of one frame.
#[derive(Default)]
struct Payload {
    bytes: Vec<u8>,
    /// Index, where the body starts, its length.
    places: Vec<(u64, usize, u32)>,
}

impl Payload {
    fn push(&mut self, index: u64, body: &[u8]) {
        self.bytes.extend_from_slice(&index.to_be_bytes());
        let at = self.bytes.len() + 4;
        put_long(&mut self.bytes, body);
        self.places.push((index, at, u32::try_from(body.len()).unwrap_or(u32::MAX)));
    }
}

fn name_of(log: &LogId) -> String {
    format!("{}-{}", log.space, log.generation)
}
