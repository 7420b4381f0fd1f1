//! The extra data of a record proof: all that is needed to judge it, as one CBOR map.
//!
//! **Invariant:** one spelling: keys ascend, and what has nothing to say is left out.
//! Deliberately absent: whether any of it is true, which [`super`] finds out.

use super::RecordProofError;
use crate::cbor::{CborError, Reader, Writer};
use crate::checkpoint::{Checkpoint, Origin};
use crate::entry::{Entry, UnverifiedEntry};
use crate::group::OriginOpening;
use crate::id::Hash;
use crate::identity::{Identity, PinOpening, PinSalt, UnverifiedChain};
use crate::limits;

/// Version of the extra data written and read here.
const FORMAT_VERSION: u64 = 1;
/// Most keys looked at before the version is known.
const MAP_KEYS: usize = 64;
/// Fewest and most keys of this version.
const KEYS: core::ops::RangeInclusive<usize> = 3..=7;

/// The map for an entry.
pub(super) fn write(
    identity: &Identity,
    entry: &Entry,
    to_pin: &[Hash],
    (opening, pin): (Option<&OriginOpening>, Option<&PinOpening>),
) -> Vec<u8> {
    let events = identity.events();
    let chain: usize = events.iter().map(Vec::len).sum();
    let mut writer = Writer::with_capacity(entry.size() + chain + 40 * to_pin.len() + 256);
    let optional = [entry.body().is_some(), !to_pin.is_empty(), opening.is_some(), pin.is_some()];
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
    if let Some(pin) = pin {
        let head = pin.head();
        writer.unsigned(8).array(3).bytes(pin.salt().as_bytes());
        writer.unsigned(head.size()).bytes(head.root().as_bytes());
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
    pub(super) pin: Option<ClaimedPin>,
}

/// The head at which a key is said to have been replaced: the log is that of the proof.
#[derive(Clone, Debug)]
pub(super) struct ClaimedPin {
    salt: PinSalt,
    size: u64,
    root: Hash,
}

impl ClaimedPin {
    /// As the head of a log with this origin.
    pub(super) fn of(self, origin: &Origin) -> Result<PinOpening, RecordProofError> {
        let head = Checkpoint::new(origin.clone(), self.size, self.root);
        let opening = head.ok().and_then(|head| PinOpening::new(self.salt, head));
        opening.ok_or(CborError::Unexpected.into())
    }
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
        let (mut body, mut to_pin, mut opening, mut pin) = (None, Vec::new(), None, None);
        let mut before = 2;
        for _ in 3..keys {
            let key = reader.unsigned()?;
            match key {
                _ if key <= before => return Err(CborError::Unexpected.into()),
                3 => body = Some(reader.bytes(limits::BODY_STATE_BYTES)?.to_vec()),
                4 => to_pin = read_hashes(&mut reader)?,
                6 => opening = Some(OriginOpening::from_hash(read_hash(&mut reader)?)),
                8 => pin = Some(read_pin(&mut reader)?),
                _ => return Err(CborError::Unexpected.into()),
            }
            before = key;
        }
        reader.end()?;
        let (chain, entry) = (UnverifiedChain::new(events), UnverifiedEntry::new(header, body));
        Ok(Self { chain, entry, to_pin, opening, pin })
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

fn read_pin(reader: &mut Reader<'_>) -> Result<ClaimedPin, CborError> {
    if reader.array(3)? != 3 {
        return Err(CborError::Unexpected);
    }
    let salt = PinSalt::new(*read_hash(reader)?.as_bytes());
    Ok(ClaimedPin { salt, size: reader.unsigned()?, root: read_hash(reader)? })
}

fn read_hash(reader: &mut Reader<'_>) -> Result<Hash, CborError> {
    Hash::try_from(reader.bytes(Hash::LEN)?).map_err(|_| CborError::Unexpected)
}

fn expect_key(reader: &mut Reader<'_>, key: u64) -> Result<(), CborError> {
    if reader.unsigned()? == key { Ok(()) } else { Err(CborError::Unexpected) }
}
