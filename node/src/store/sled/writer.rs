//! Turns what is added to a log into one batch.
//!
//! The last page and the last tile of a log are read, continued and written
//! again; all others are written once. **Invariant:** nothing is visible or
//! stored before the caller applies the batch.

use ::sled::Batch;
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::Frontier;

use super::piece::{self, Owner};
use super::rows::TILE;
use super::{Known, PIECE_BYTES, SledReplica, Strand, key};
use crate::store::growth::{LogState, Roots};
use crate::store::layout::{Fields, at, put_head};
use crate::store::page::{self, Place};
use crate::store::{Extension, SignedHead, StoreError};

/// A log while it is being added to.
pub(super) struct Writer {
    known: Known,
    roots: Roots,
    old_head: Option<SignedHead>,
    page: Vec<u8>,
    tile: Tile,
}

/// The last tile of a log.
struct Tile {
    bytes: Vec<u8>,
    changed: bool,
}

impl SledReplica {
    /// A number that no log has and no branch, now or ever before.
    pub(super) fn next_number(&self) -> u32 {
        let held = self.held();
        let branches = held.branches.keys().map(|(_, number)| *number);
        let numbers = held.logs.values().map(|known| known.number).chain(branches);
        numbers.max().map_or(0, |last| last + 1)
    }
}

impl SledReplica {
    /// The page and the tile at the end of a log or branch that are not full,
    /// with as much in them as there must be.
    pub(super) fn end(&self, strand: Strand) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let Strand { log, number, size } = strand;
        let damaged = || StoreError::damaged(format!("the end of log {log}"));
        let mut page = Vec::new();
        if !size.is_multiple_of(page::ENTRIES) {
            let stored = self.read(&key::page(number, size / page::ENTRIES))?;
            page.extend_from_slice(&stored.ok_or_else(damaged)?);
        }
        let subtrees = size / SUBTREE_ENTRIES;
        let mut bytes = Vec::new();
        if !subtrees.is_multiple_of(TILE) {
            let stored = self.read(&key::tile(number, subtrees / TILE))?;
            bytes.extend_from_slice(&stored.ok_or_else(damaged)?);
        }
        let whole = page::entries(&page).filter(Option::is_some).count();
        if whole as u64 != size % page::ENTRIES || bytes.len() != at(subtrees % TILE) * Hash::LEN {
            return Err(damaged());
        }
        Ok((page, bytes))
    }
}

impl Writer {
    /// Continues a log, or starts one under the number `next`.
    pub(super) fn resume(
        replica: &SledReplica,
        log: &LogId,
        roots: Roots,
        next: &mut u32,
    ) -> Result<Self, StoreError> {
        let Some(known) = replica.known(log) else {
            let known = Known { number: *next, state: LogState::default() };
            *next += 1;
            let tile = Tile { bytes: Vec::new(), changed: false };
            return Ok(Self { known, roots, old_head: None, page: Vec::new(), tile });
        };
        let (page, bytes) = replica.end(replica.locate(log))?;
        let old_head = known.state.head.clone();
        Ok(Self { known, roots, old_head, page, tile: Tile { bytes, changed: false } })
    }

    /// Adds entries and head.
    pub(super) fn extend(
        &mut self,
        extension: &Extension<'_>,
        older_root: impl FnOnce(u64) -> Option<Hash>,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let Self { known: Known { number, state }, roots, tile, page, .. } = self;
        state.extend(extension, roots, older_root, |subtree, root| {
            tile.push(*number, subtree, root, batch);
        })?;
        for (index, entry) in (extension.start..).zip(extension.entries) {
            let body = entry.body().map(|body| body.as_bytes());
            let place = Place::of(body)?;
            if let (Place::Apart(_), Some(body)) = (place, body) {
                piece::split(&Owner::Body(*number, index), body, batch);
            }
            page::push(page, entry.header_bytes(), place)?;
            if (index + 1).is_multiple_of(page::ENTRIES) {
                let full = core::mem::take(page);
                // The next page will be about as long.
                page.reserve(full.len());
                batch.insert(&key::page(*number, index / page::ENTRIES)[..], full);
            }
        }
        Ok(())
    }

    /// Adds what is not full yet, and the state.
    pub(super) fn finish(self, log: &LogId, batch: &mut Batch) -> Result<Known, StoreError> {
        let size = self.known.state.frontier.size();
        if !self.page.is_empty() {
            batch.insert(&key::page(self.known.number, size / page::ENTRIES)[..], self.page);
        }
        if self.tile.changed {
            let tile = size / SUBTREE_ENTRIES / TILE;
            batch.insert(&key::tile(self.known.number, tile)[..], self.tile.bytes);
        }
        put_state(log, &self.known, self.old_head.as_ref(), batch)?;
        Ok(self.known)
    }
}

impl Tile {
    fn push(&mut self, number: u32, subtree: u64, root: Hash, batch: &mut Batch) {
        self.bytes.extend_from_slice(root.as_bytes());
        self.changed = true;
        if (subtree + 1).is_multiple_of(TILE) {
            let full = core::mem::take(&mut self.bytes);
            batch.insert(&key::tile(number, subtree / TILE)[..], full);
            self.changed = false;
        }
    }
}

/// Writes a log's state; `old_head` is the head that stands in the database.
pub(super) fn put_state(
    log: &LogId,
    known: &Known,
    old_head: Option<&SignedHead>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let value = state_value(&Owner::Head(log), known, old_head, batch)?;
    batch.insert(key::log(log), value);
    Ok(())
}

/// Writes a branch's state, of which the head never changes.
pub(super) fn put_branch(log: &LogId, known: &Known, batch: &mut Batch) -> Result<(), StoreError> {
    let owner = Owner::BranchHead(log, known.number);
    let value = state_value(&owner, known, None, batch)?;
    batch.insert(key::branch(log, known.number), value);
    Ok(())
}

fn state_value(
    owner: &Owner<'_>,
    known: &Known,
    old_head: Option<&SignedHead>,
    batch: &mut Batch,
) -> Result<Vec<u8>, StoreError> {
    let LogState { frontier, head, changed, absent, bytes } = &known.state;
    let long = |head: &&SignedHead| head.note.len() > PIECE_BYTES;
    if let Some(old) = old_head.filter(long) {
        piece::discard(owner, old.note.len(), batch);
    }
    let mut value = known.number.to_be_bytes().to_vec();
    for number in [frontier.size(), *changed, *absent] {
        value.extend_from_slice(&number.to_be_bytes());
    }
    let mut apart = 0u32;
    match head.as_ref().filter(long) {
        Some(long) => {
            apart = u32::try_from(long.note.len()).map_err(|_| StoreError::TooLarge("head"))?;
            piece::split(owner, &long.note, batch);
            put_head(&mut value, Some(&SignedHead { note: Vec::new(), ..long.clone() }));
        }
        None => put_head(&mut value, head.as_ref()),
    }
    value.extend_from_slice(&apart.to_be_bytes());
    for peak in frontier.peaks() {
        value.extend_from_slice(peak.as_bytes());
    }
    value.extend_from_slice(&bytes.to_be_bytes());
    Ok(value)
}

/// Reads what [`put_state`] or [`put_branch`] wrote; `None` if it is damaged. The number tells how
/// long a note is that stands apart.
pub(super) fn read_state(value: &[u8]) -> Option<(Known, u32)> {
    let mut fields = Fields::new(value);
    let number = fields.u32()?;
    let (size, changed, absent) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let head = fields.head()?;
    let apart = fields.u32()?;
    let mut peaks = Vec::new();
    for _ in 0..size.count_ones() {
        peaks.push(fields.hash()?);
    }
    // Not there if an earlier version wrote it, which did not count them.
    let bytes = if fields.is_empty() { 0 } else { fields.u64()? };
    if !fields.is_empty() {
        return None;
    }
    let frontier = Frontier::from_peaks(size, peaks).ok()?;
    Some((Known { number, state: LogState { frontier, head, changed, absent, bytes } }, apart))
}

/// Puts a body in the place of an entry's, and counts it.
pub(super) fn set_body(
    replica: &SledReplica,
    log: &LogId,
    known: &mut Known,
    index: u64,
    body: Option<&[u8]>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let was = replace_body(replica, log, known.number, index, body, batch)?;
    known.state.absent = match (was, body.is_some()) {
        (true, false) => known.state.absent + 1,
        (false, true) => known.state.absent.saturating_sub(1),
        _ => known.state.absent,
    };
    Ok(())
}

/// Rewrites the page of an entry with another body; tells whether it had one before.
fn replace_body(
    replica: &SledReplica,
    log: &LogId,
    number: u32,
    index: u64,
    body: Option<&[u8]>,
    batch: &mut Batch,
) -> Result<bool, StoreError> {
    let damaged = || StoreError::damaged(format!("a page of log {log}"));
    let (key, owner) = (key::page(number, index / page::ENTRIES), Owner::Body(number, index));
    let stored = replica.read(&key)?.ok_or_else(damaged)?;
    let mut page = Vec::with_capacity(stored.len());
    let mut before = None;
    for (at, entry) in (0..).zip(page::entries(&stored)) {
        let entry = entry.ok_or_else(damaged)?;
        let mut place = entry.body;
        if at == index % page::ENTRIES {
            before = Some(core::mem::replace(&mut place, Place::of(body)?));
            if let Some(Place::Apart(len)) = before {
                piece::discard(&owner, len as usize, batch);
            }
            if let (Place::Apart(_), Some(body)) = (place, body) {
                piece::split(&owner, body, batch);
            }
        }
        page::push(&mut page, entry.header, place)?;
    }
    batch.insert(&key[..], page);
    before.map(|before| before != Place::Absent).ok_or_else(damaged)
}
