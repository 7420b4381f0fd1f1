//! Frames: checksummed, append-only records in a file, and how such a file is
//! read back after a crash.
//!
//! ```text
//! file  = magic, 8 bytes | frame…
//! frame = payload length u32 | CRC-32 of length, kind and payload | kind u8 | payload
//! ```
//!
//! **Invariant:** one frame is one write and one sync, so a crash can hurt the
//! last frame only. [`scan`] therefore tells two things apart: a last frame that
//! is not whole (it was never acknowledged, and is dropped) and a frame that is
//! not whole while whole ones follow (the file is damaged).

use std::io;
use std::path::Path;

use super::StoreError;
use super::disk::Disk;
use super::layout::at;

/// Length of a file's magic.
pub(super) const MAGIC: usize = 8;
/// Largest payload of a frame.
pub(super) const PAYLOAD_BYTES: usize = 16 << 20;

const HEAD: usize = 9;
const WINDOW: usize = 1 << 20;

/// A whole frame.
pub(super) struct Frame<'a> {
    /// What the payload is.
    pub(super) kind: u8,
    /// Where in the file the payload starts.
    pub(super) offset: u64,
    pub(super) payload: &'a [u8],
}

/// The bytes of a frame, behind the magic if it is the first of its file.
pub(super) fn encode(
    magic: &[u8; MAGIC],
    first: bool,
    kind: u8,
    payload: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let len = match u32::try_from(payload.len()) {
        Ok(len) if payload.len() <= PAYLOAD_BYTES => len.to_be_bytes(),
        _ => return Err(StoreError::TooLarge("commit")),
    };
    let mut bytes = Vec::with_capacity(MAGIC + HEAD + payload.len());
    if first {
        bytes.extend_from_slice(magic);
    }
    bytes.extend_from_slice(&len);
    bytes.extend_from_slice(&checksum(len, kind, payload).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Where the payload of a frame starts that is written at `end` of its file.
pub(super) const fn payload_offset(end: u64) -> u64 {
    (if end == 0 { MAGIC as u64 } else { end }) + HEAD as u64
}

/// Visits every frame of a file in order and gives the length up to which it is whole.
///
/// `last` says that the file is the one that was being written to.
///
/// # Errors
/// [`StoreError::Damaged`] if what follows that length cannot be an unfinished
/// write, [`StoreError::Unreadable`], or the error of `visit`.
pub(super) fn scan(
    disk: &dyn Disk,
    file: &Path,
    magic: &[u8; MAGIC],
    last: bool,
    mut visit: impl FnMut(Frame<'_>) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let unreadable = |source| StoreError::unreadable(file)(source);
    let size = disk.size(file).map_err(unreadable)?;
    let mut window = Window { disk, file, size, start: 0, bytes: Vec::new() };
    let titled = window.slice(0, MAGIC).map_err(unreadable)?.is_some_and(|start| start == magic);
    let mut end = if titled { MAGIC as u64 } else { 0 };
    while titled && end < size {
        match window.frame(end).map_err(unreadable)? {
            Some(frame) => {
                let next = frame.offset + frame.payload.len() as u64;
                visit(frame)?;
                end = next;
            }
            None => break,
        }
    }
    if end == size || (last && !window.any_frame_after(end).map_err(unreadable)?) {
        Ok(end)
    } else {
        Err(StoreError::damaged_at(file, end))
    }
}

fn checksum(len: [u8; 4], kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

/// A file read through a buffer.
struct Window<'a> {
    disk: &'a dyn Disk,
    file: &'a Path,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// `len` bytes at `offset`; `None` if the file ends before.
    fn slice(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let held = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > held {
            self.bytes = self.disk.read(self.file, offset, len.max(WINDOW))?;
            self.start = offset;
        }
        let from = at(offset - self.start);
        Ok(self.bytes.get(from..from + len))
    }

    /// The frame at `offset`, if a whole one is there.
    fn frame(&mut self, offset: u64) -> io::Result<Option<Frame<'_>>> {
        let Some(&[a, b, c, d, e, f, g, h, kind]) = self.slice(offset, HEAD)? else {
            return Ok(None);
        };
        let (len, crc) = ([a, b, c, d], u32::from_be_bytes([e, f, g, h]));
        let payload_len = at(u64::from(u32::from_be_bytes(len)));
        // No frame has kind zero: a hole that reads as zeros is no frame.
        if kind == 0 || payload_len > PAYLOAD_BYTES {
            return Ok(None);
        }
        let offset = offset + HEAD as u64;
        let payload = self.slice(offset, payload_len)?;
        Ok(payload.filter(|payload| checksum(len, kind, payload) == crc).map(|payload| Frame {
            kind,
            offset,
            payload,
        }))
    }

    /// Whether a whole frame starts anywhere after `offset`.
    fn any_frame_after(&mut self, offset: u64) -> io::Result<bool> {
        // At most one unfinished frame follows a sound file, and of two whole
        // frames one starts within the length of the longest.
        let reach = (MAGIC + HEAD + PAYLOAD_BYTES) as u64;
        let end = self.size.min(offset.saturating_add(reach).saturating_add(1));
        for at in offset + 1..end {
            if self.frame(at)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::OsDisk;
    use super::*;

    const NAME: &[u8; MAGIC] = b"testfile";

    fn file_of(payloads: &[&[u8]]) -> (tempfile::TempDir, std::path::PathBuf, Vec<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("frames");
        let mut ends = vec![0];
        for payload in payloads {
            let end = OsDisk.size(&file).unwrap();
            OsDisk.append(&file, &encode(NAME, end == 0, 7, payload).unwrap()).unwrap();
            ends.push(OsDisk.size(&file).unwrap());
        }
        (dir, file, ends)
    }

    fn read(file: &Path, last: bool) -> Result<(u64, Vec<Vec<u8>>), StoreError> {
        let mut payloads = Vec::new();
        let end = scan(&OsDisk, file, NAME, last, |frame| {
            assert_eq!(frame.kind, 7);
            let there = OsDisk.read(file, frame.offset, frame.payload.len()).unwrap();
            assert_eq!(there, frame.payload);
            payloads.push(frame.payload.to_vec());
            Ok(())
        })?;
        Ok((end, payloads))
    }

    #[test]
    fn frames_round_trip_and_every_cut_leaves_the_frames_before_it() {
        let payloads: [&[u8]; 4] = [b"first", b"", b"third one", &[0xff; 40]];
        let (_dir, file, ends) = file_of(&payloads);
        let all = std::fs::read(&file).unwrap();
        for cut in (0..=all.len()).rev() {
            OsDisk.truncate(&file, cut as u64).unwrap();
            let whole = ends.iter().rposition(|end| *end <= cut as u64).unwrap();
            let (end, read) = read(&file, true).unwrap();
            assert_eq!(read, payloads[..whole]);
            // A file of which only the magic was written is sound, too.
            let sound = if cut >= MAGIC { ends[whole].max(MAGIC as u64) } else { 0 };
            assert_eq!(end, sound, "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_byte_before_the_last_frame_is_damage_and_in_it_an_unfinished_write() {
        let (_dir, file, ends) = file_of(&[b"first", b"second", b"third"]);
        let all = std::fs::read(&file).unwrap();
        for at in 0..all.len() {
            let mut changed = all.clone();
            changed[at] ^= 0x20;
            std::fs::write(&file, &changed).unwrap();
            let frame = ends.iter().rposition(|end| *end <= at as u64).unwrap();
            let sound = if at < MAGIC { 0 } else { ends[frame].max(MAGIC as u64) };
            if frame < 2 {
                let found = read(&file, true);
                assert!(
                    matches!(&found, Err(StoreError::Damaged { offset: Some(o), .. }) if *o == sound),
                    "{at}: {found:?}"
                );
            } else {
                assert_eq!(read(&file, true).unwrap().0, sound);
                assert!(read(&file, false).is_err(), "an older file is never unfinished");
            }
        }
    }

    #[test]
    fn a_hole_of_zeros_at_the_end_is_an_unfinished_write() {
        let (_dir, file, ends) = file_of(&[b"first", &[1; 5000]]);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at(ends[1])..].fill(0);
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&file, true).unwrap().0, ends[1]);
    }

    #[test]
    fn a_payload_beyond_the_limit_is_refused() {
        let payload = vec![0; PAYLOAD_BYTES + 1];
        assert!(matches!(encode(NAME, false, 7, &payload), Err(StoreError::TooLarge(_))));
    }
}
