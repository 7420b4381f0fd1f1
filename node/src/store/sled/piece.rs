//! What is too long for its place, cut into pieces under keys of its own.
//!
//! **Invariant:** pieces come and go in the same batch as what refers to them.

use std::ops::Range;

use ::sled::Batch;

use super::{PIECE_BYTES, SledReplica, key};
use crate::store::StoreError;
use crate::store::evidence::Slot;
use crate::store::layout::{Fields, put_log};
use tallystick_protocol::id::LogId;

const INLINE: u8 = 0;
const APART: u8 = 1;

// Owners, in the order of their keys.
const BODY: u8 = 0;
const HEAD: u8 = 1;
const VALUE: u8 = 2;
const BRANCH_HEAD: u8 = 3;

/// Whose pieces they are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// The body of an entry: number of the log and index.
    Body(u32, u64),
    /// The signed head of a log.
    Head(&'a LogId),
    /// The signed head of a branch of a log.
    BranchHead(&'a LogId, u32),
    /// A projection's value.
    Value(&'a [u8]),
    /// A piece of evidence.
    Evidence(&'a Slot),
}

impl Owner<'_> {
    fn key(&self, piece: u32) -> Vec<u8> {
        let mut key = vec![key::PIECE];
        match self {
            Self::Body(number, index) => {
                key.push(BODY);
                key.extend_from_slice(&number.to_be_bytes());
                key.extend_from_slice(&index.to_be_bytes());
            }
            Self::Head(log) => {
                key.push(HEAD);
                put_log(&mut key, log);
            }
            Self::BranchHead(log, number) => {
                key.push(BRANCH_HEAD);
                put_log(&mut key, log);
                key.extend_from_slice(&number.to_be_bytes());
            }
            Self::Value(name) => {
                key.push(VALUE);
                // Its length, so that no key with its pieces is the start of another's.
                key.extend_from_slice(&(name.len() as u64).to_be_bytes());
                key.extend_from_slice(name);
            }
            Self::Evidence(slot) => {
                key.push(4);
                key.extend_from_slice(&key::evidence(slot));
            }
        }
        key.extend_from_slice(&piece.to_be_bytes());
        key
    }
}

/// The keys of all pieces of bodies in logs from `number` on.
pub(super) fn bodies_from(number: u32) -> Range<Vec<u8>> {
    let first = [&[key::PIECE, BODY][..], &number.to_be_bytes()].concat();
    first..vec![key::PIECE, HEAD]
}

/// Adds the pieces of `bytes` to a batch.
pub(super) fn split(owner: &Owner<'_>, bytes: &[u8], batch: &mut Batch) {
    for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
        batch.insert(owner.key(number), piece);
    }
}

/// Removes the pieces of `len` bytes.
pub(super) fn discard(owner: &Owner<'_>, len: usize, batch: &mut Batch) {
    for (number, _) in (0..).zip(0..len.div_ceil(PIECE_BYTES)) {
        batch.remove(owner.key(number));
    }
}

impl SledReplica {
    /// The `len` bytes that were split.
    pub(super) fn join(&self, owner: &Owner<'_>, len: u32) -> Result<Vec<u8>, StoreError> {
        let damaged = || StoreError::damaged("a long value in the replica");
        let len = len as usize;
        let mut bytes = Vec::new();
        for (number, _) in (0..).zip(0..len.div_ceil(PIECE_BYTES)) {
            let piece = self.read(&owner.key(number))?.ok_or_else(damaged)?;
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() == len { Ok(bytes) } else { Err(damaged()) }
    }

    /// A projection's value from what stands under its key.
    pub(super) fn value(&self, name: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
        match (stored.split_first(), apart(stored)) {
            (_, Some(len)) => self.join(&Owner::Value(name), len),
            (Some((&INLINE, value)), None) => Ok(value.to_vec()),
            _ => Err(StoreError::damaged("a projection in the replica")),
        }
    }

    /// Changes a projection's value.
    pub(super) fn put_value(
        &self,
        name: &[u8],
        value: Option<&[u8]>,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let (key, owner) = (key::value(name), Owner::Value(name));
        if let Some(len) = self.read(&key)?.as_deref().and_then(apart) {
            discard(&owner, len as usize, batch);
        }
        match value {
            None => batch.remove(key),
            Some(value) if value.len() <= PIECE_BYTES => {
                batch.insert(key, [&[INLINE], value].concat());
            }
            Some(value) => {
                let len = u32::try_from(value.len()).map_err(|_| StoreError::TooLarge("value"))?;
                split(&owner, value, batch);
                batch.insert(key, [&[APART][..], &len.to_be_bytes()].concat());
            }
        }
        Ok(())
    }
}

/// Length of a value that stands apart.
fn apart(stored: &[u8]) -> Option<u32> {
    let mut fields = Fields::new(stored);
    (fields.u8()? == APART).then(|| fields.u32())?.filter(|_| fields.is_empty())
}
