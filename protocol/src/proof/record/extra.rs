//! The extra data of a record proof: all that is needed to judge it, as one CBOR map.
//!
//! **Invariant:** one spelling: keys ascend, and what has nothing to say is left out.
//! Deliberately absent: whether any of it is true, which [`super`] finds out.

use super::RecordProofError;
use crate::cbor::{CborError, Reader, Writer};
use crate::entry::{Entry, UnverifiedEntry};
use crate::group::OriginOpening;
use crate::id::Hash;
use crate::identity::{Identity, UnverifiedChain};
use crate::limits;

/// Version of the extra data written and read here.
const FORMAT_VERSION: u64 = 1;
/// Most keys looked at before the version is known.
const MAP_KEYS: usize = 64;
/// Fewest and most keys of this version.
const KEYS: core::ops::RangeInclusive<usize> = 3..=6;

/// The map for an entry.
pub(super) fn write(
    identity: &Identity,
    entry: &Entry,
    to_pin: &[Hash],
    opening: Option<&OriginOpening>,
) -> Vec<u8> {
    let events = identity.events();
    let chain: usize = events.iter().map(Vec::len).sum();
    let mut writer = Writer::with_capacity(entry.size() + chain + 40 * to_pin.len() + 128);
    let optional = [entry.body().is_some(), !to_pin.is_empty(), opening.is_some()];
    writer.map(3 + optional.iter().filter(|present| **present).count());
    writer.unsigned(0).unsigned(FORMAT_VERSION);
    writer.unsigned(1).array(events.len());
    for event in events {
        writer.bytes(event);
    }
    writer.unsigned(2).bytes(entry.header_bytes());
    if let Some(body) = entry.body() {
        writer.unsigned(3).bytes(body.as_bytes());
    }
    if !to_pin.is_empty() {
        writer.unsigned(4).array(to_pin.len());
        for hash in to_pin {
            writer.bytes(hash.as_bytes());
        }
    }
    if let Some(opening) = opening {
        writer.unsigned(6).bytes(opening.as_bytes());
    }
    writer.finish()
}

/// The map, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Extra {
    pub(super) chain: UnverifiedChain,
    pub(super) entry: UnverifiedEntry,
    pub(super) to_pin: Vec<Hash>,
    pub(super) opening: Option<OriginOpening>,
}

impl Extra {
    /// Takes the map apart.
    ///
    /// # Errors
    /// [`RecordProofError::NoRecord`], [`RecordProofError::Contents`] or
    /// [`RecordProofError::Unsupported`].
    pub(super) fn read(extra: &[u8]) -> Result<Self, RecordProofError> {
        if extra.is_empty() {
            return Err(RecordProofError::NoRecord);
        }
        let mut reader = Reader::new(extra);
        let keys = reader.map(MAP_KEYS)?;
        expect_key(&mut reader, 0)?;
        if reader.unsigned()? != FORMAT_VERSION {
            return Err(RecordProofError::Unsupported);
        }
        if !KEYS.contains(&keys) {
            return Err(CborError::Unexpected.into());
        }
        expect_key(&mut reader, 1)?;
        let mut events = Vec::new();
        for _ in 0..reader.array(limits::IDENTITY_EVENTS)? {
            events.push(reader.bytes(limits::IDENTITY_EVENT_BYTES)?.to_vec());
        }
        expect_key(&mut reader, 2)?;
        let header = reader.bytes(limits::HEADER_BYTES)?.to_vec();
        let (mut body, mut to_pin, mut opening) = (None, Vec::new(), None);
        let mut before = 2;
        for _ in 3..keys {
            let key = reader.unsigned()?;
            match key {
                _ if key <= before => return Err(CborError::Unexpected.into()),
                3 => body = Some(reader.bytes(limits::BODY_STATE_BYTES)?.to_vec()),
                4 => to_pin = read_hashes(&mut reader)?,
                6 => opening = Some(OriginOpening::from_hash(read_hash(&mut reader)?)),
                _ => return Err(CborError::Unexpected.into()),
            }
            before = key;
        }
        reader.end()?;
        let (chain, entry) = (UnverifiedChain::new(events), UnverifiedEntry::new(header, body));
        Ok(Self { chain, entry, to_pin, opening })
    }
}

/// At least one hash: a list that says nothing has no place in the file.
fn read_hashes(reader: &mut Reader<'_>) -> Result<Vec<Hash>, CborError> {
    let count = reader.array(limits::PROOF_HASHES)?;
    let mut hashes = Vec::new();
    for _ in 0..count {
        hashes.push(read_hash(reader)?);
    }
    if hashes.is_empty() { Err(CborError::Unexpected) } else { Ok(hashes) }
}

fn read_hash(reader: &mut Reader<'_>) -> Result<Hash, CborError> {
    Hash::try_from(reader.bytes(Hash::LEN)?).map_err(|_| CborError::Unexpected)
}

fn expect_key(reader: &mut Reader<'_>, key: u64) -> Result<(), CborError> {
    if reader.unsigned()? == key { Ok(()) } else { Err(CborError::Unexpected) }
}
