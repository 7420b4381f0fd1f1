//! Bodies: named fields under one commitment, each of which can be withheld.
//!
//! A header commits to its body by one hash over the ascending list of
//! (name, digest). A digest hides its value behind a salt of its own, derived
//! one way from the body's random 32-byte *record salt*:
//!
//! ```text
//! field salt = BLAKE3-keyed(record salt, 0x01 || name)
//! digest     = BLAKE3-keyed(field salt,  0x02 || len(name) || name || value)
//! commitment = BLAKE3-derive("tallystick 2026 body commitment v1",
//!                            count || for each (len(name) || name || digest))
//! ```
//!
//! `len` is one byte, `count` four bytes big-endian, `value` the deterministic
//! CBOR of the value. Names are always visible; only values can be withheld.
//!
//! Four states, told apart by key 0 of the encoded map:
//!
//! | state | 0 | 1 | 2 | 3 |
//! |---|---|---|---|---|
//! | full | 1 | record salt | {name: value} | |
//! | partial | 2 | | {name: [field salt, value]} | {name: digest} |
//! | sealed | 3 | nonce, 24 bytes | ciphertext | |
//! | erased | 4 | | | {name: digest} |
//!
//! A sealed body ([`SealedBody`]) is one of the other states as only members of
//! a group can read it ([`crate::group::seal`]). It is no [`Body`], since who
//! cannot open it cannot tell whether it is what the header committed to.
//!
//! **Invariants:** names ascend strictly within a body, over shown and withheld
//! fields together, so no field hides behind another; a body that is no longer
//! full has no record salt, so a withheld value of few possibilities cannot be
//! found by trying them; there is at least one field, so that the commitment
//! binds the salt. Deliberately absent: lists and maps as values; kinds
//! flatten them, so that every leaf can be withheld by itself.

use ciborium::Value;
use core::fmt;
use zeroize::Zeroize as _;

use crate::cbor::{self, CborError, Reader, Writer};
use crate::id::Commitment;
use crate::limits;

const STATE_FULL: u64 = 1;
const STATE_PARTIAL: u64 = 2;
const STATE_SEALED: u64 = 3;
const STATE_ERASED: u64 = 4;
/// Bytes of the nonce and of the tag of a sealed body.
const SEALED_NONCE: usize = 24;
const SEALED_TAG: usize = 16;
/// Input of a commitment that is collected before it is hashed, in bytes.
const PENDING: usize = 4096;
const COMMITMENT_CONTEXT: &str = "tallystick 2026 body commitment v1";

/// Name of a field: a dotted path such as `items.3.unitPrice.amount`.
///
/// One to 128 bytes of `A-Z a-z 0-9 _ . : @ -`. Ordered by length, then bytes,
/// which is the order of the encoded keys in deterministic CBOR.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FieldName(String);

impl FieldName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`FieldError::Name`].
    pub fn new(name: &str) -> Result<Self, FieldError> {
        if is_field_name(name) { Ok(Self(name.to_owned())) } else { Err(FieldError::Name) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_field_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'@' | b'-');
    (1..=limits::FIELD_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

/// Why a field cannot be part of a body: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// Empty, too long, or with a character outside the alphabet.
    #[error("a field name is empty, too long or has characters that are not allowed")]
    Name,
    /// A value that deterministic CBOR cannot express.
    #[error("a field has a value that cannot be written")]
    Value,
    /// More fields than a body may have.
    #[error("too many fields")]
    TooMany,
    /// No field at all: nothing would bind the salt.
    #[error("a record needs at least one field")]
    Empty,
    /// The encoded body is over its limit.
    #[error("the record is larger than one mebibyte")]
    TooLarge,
}

/// Named values of a body, in the order of their names.
///
/// A sorted list: bodies are read and written in that order, and a map would
/// cost an allocation to look up each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldName, Vec<u8>)>);

impl Fields {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `name` to `value`.
    ///
    /// # Errors
    /// A [`FieldError`]; nothing has changed then.
    pub fn insert(&mut self, name: &str, value: &Value) -> Result<(), FieldError> {
        let name = FieldName::new(name)?;
        let bytes = cbor::encode_value(value.clone()).map_err(|_| FieldError::Value)?;
        self.insert_encoded(name, bytes)
    }

    /// As [`Fields::insert`], with a value that is deterministic CBOR already.
    pub(crate) fn insert_encoded(
        &mut self,
        name: FieldName,
        bytes: Vec<u8>,
    ) -> Result<(), FieldError> {
        // Bodies are read in order, so most names come behind all the others.
        let place = match self.0.last() {
            Some((last, _)) if *last >= name => self.place(name.as_str()),
            _ => Err(self.0.len()),
        };
        match place {
            Ok(at) => {
                if let Some((_, value)) = self.0.get_mut(at) {
                    *value = bytes;
                }
            }
            Err(_) if self.0.len() >= limits::BODY_FIELDS => return Err(FieldError::TooMany),
            Err(at) => self.0.insert(at, (name, bytes)),
        }
        Ok(())
    }

    /// Where `name` stands, or would.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| {
            (known.as_str().len(), known.as_str()).cmp(&(name.len(), name))
        })
    }

    /// The encoded value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.get(self.place(name).ok()?)?;
        Some(value)
    }

    /// The decoded value of `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name).and_then(|bytes| cbor::decode(bytes).ok())
    }

    /// The value of `name` if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(|value| value.into_text().ok())
    }

    /// Takes out the fields for which `keep` does not say so.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name.as_str()));
    }

    /// All fields in ascending order of their names, values encoded.
    pub fn iter(&self) -> impl Iterator<Item = (&FieldName, &[u8])> {
        self.0.iter().map(|(name, value)| (name, value.as_slice()))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A salt: 32 random bytes of a body, or what one field derives from them.
///
/// Wiped from memory when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// From 32 bytes of a cryptographic random source. Never use the same bytes twice.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn field(&self, name: &str) -> Self {
        Self(keyed_hash(&self.0, [&[0x01], name.as_bytes(), &[]]))
    }

    fn digest(&self, name: &str, value: &[u8]) -> [u8; 32] {
        keyed_hash(&self.0, [&[0x02, len_byte(name)], name.as_bytes(), value])
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// BLAKE3-keyed over the parts, one after the other. Two of these per field are
/// most of what checking a body costs; short input is hashed from one piece,
/// which spares the hasher's bookkeeping.
fn keyed_hash(key: &[u8; 32], parts: [&[u8]; 3]) -> [u8; 32] {
    let mut buffer = [0; 192];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if let Some(joined) = buffer.get_mut(..length) {
        let mut rest = &mut *joined;
        for part in parts {
            let Some((place, after)) = rest.split_at_mut_checked(part.len()) else { break };
            place.copy_from_slice(part);
            rest = after;
        }
        return *blake3::keyed_hash(key, joined).as_bytes();
    }
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn len_byte(name: &str) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

/// Accumulates (name, digest) in ascending order.
struct CommitmentHasher<'a> {
    hasher: blake3::Hasher,
    last: Option<&'a str>,
    /// Input that the hasher has not seen: it is faster with long pieces.
    pending: Vec<u8>,
}

impl<'a> CommitmentHasher<'a> {
    fn new(count: usize) -> Result<Self, BodyError> {
        if count == 0 {
            return Err(BodyError::NoFields);
        }
        let mut hasher = blake3::Hasher::new_derive_key(COMMITMENT_CONTEXT);
        hasher.update(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        let room = count.saturating_mul(64).min(PENDING + 256);
        Ok(Self { hasher, last: None, pending: Vec::with_capacity(room) })
    }

    fn push(&mut self, name: &'a str, digest: &[u8; 32]) -> Result<(), BodyError> {
        if self.last.is_some_and(|last| (last.len(), last) >= (name.len(), name)) {
            return Err(BodyError::Encoding(CborError::KeyOrder));
        }
        if !is_field_name(name) {
            return Err(BodyError::Name);
        }
        self.last = Some(name);
        self.pending.push(len_byte(name));
        self.pending.extend_from_slice(name.as_bytes());
        self.pending.extend_from_slice(digest);
        if self.pending.len() > PENDING {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Commitment {
        self.hasher.update(&self.pending);
        Commitment::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

/// Why bytes are not the body that a header committed to: the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not deterministic CBOR of the expected shape.
    #[error("malformed body: {0}")]
    Encoding(#[from] CborError),
    /// A field name outside the alphabet.
    #[error("a field name has characters that are not allowed")]
    Name,
    /// No field at all: nothing would bind the salt.
    #[error("the body has no fields")]
    NoFields,
    /// Larger than the limit, or a full body not of the size its header says.
    #[error("the body is not of the size its header says")]
    Size,
    /// A sealed body, which only members of its group can check.
    #[error("the body is sealed for a group")]
    Sealed,
    /// A state this version does not know.
    #[error("the body is in an unknown state")]
    UnknownState,
    /// The fields do not give the commitment.
    #[error("the body does not match the commitment of its header")]
    Commitment,
}

/// A body whose fields give the commitment of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Every field is shown.
    Full(FullBody),
    /// Some fields are shown.
    Partial(PartialBody),
    /// No field is shown.
    Erased(ErasedBody),
    /// Only members of a group can read it, and check it against its commitment.
    Sealed(SealedBody),
}

/// A body that was made here, with what its header commits to: nothing is left to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    body: FullBody,
    commitment: Commitment,
}

/// Every field, and the record salt from which all field salts derive.
#[derive(Clone, PartialEq, Eq)]
pub struct FullBody(Vec<u8>);

/// Some fields with their salts, the digests of the rest, and no record salt.
#[derive(Clone, PartialEq, Eq)]
pub struct PartialBody(Vec<u8>);

/// Names and digests only.
#[derive(Clone, PartialEq, Eq)]
pub struct ErasedBody(Vec<u8>);

/// A body that only members of its group can read and check.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBody {
    bytes: Vec<u8>,
    nonce: [u8; SEALED_NONCE],
    ciphertext: usize,
}

impl SealedBody {
    /// Of a nonce and a ciphertext with its tag.
    pub(crate) fn new(nonce: &[u8; SEALED_NONCE], ciphertext: &[u8]) -> Self {
        let mut writer = Writer::with_capacity(ciphertext.len() + 40);
        writer.map(3).unsigned(0).unsigned(STATE_SEALED).unsigned(1).bytes(nonce);
        writer.unsigned(2).bytes(ciphertext);
        let bytes = writer.finish();
        let start = bytes.len() - ciphertext.len();
        Self { bytes, nonce: *nonce, ciphertext: start }
    }

    /// Reads a sealed body: its form and size only.
    ///
    /// # Errors
    /// [`BodyError::Size`] beyond [`limits::SEALED_BODY_BYTES`];
    /// [`BodyError::Encoding`], also for a body in another state.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BodyError> {
        if bytes.len() > limits::SEALED_BODY_BYTES {
            return Err(BodyError::Size);
        }
        let mut reader = Reader::new(&bytes);
        expect_state(&mut reader, 3, STATE_SEALED)?;
        expect_key(&mut reader, 1)?;
        let nonce = reader.array_of()?;
        expect_key(&mut reader, 2)?;
        let ciphertext = reader.bytes(limits::BODY_STATE_BYTES + SEALED_TAG)?.len();
        reader.end()?;
        if ciphertext <= SEALED_TAG {
            return Err(BodyError::Size);
        }
        let ciphertext = bytes.len() - ciphertext;
        Ok(Self { bytes, nonce, ciphertext })
    }

    pub(crate) const fn nonce(&self) -> &[u8; SEALED_NONCE] {
        &self.nonce
    }

    pub(crate) fn ciphertext(&self) -> &[u8] {
        self.bytes.get(self.ciphertext..).unwrap_or_default()
    }

    /// The encoded bytes, for storing or sending.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded bytes, for storing or sending.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBody({} bytes)", self.bytes.len())
    }
}

/// Bodies are personal or confidential at times: only their size is printed.
macro_rules! redacted_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    )*};
}
redacted_debug!(FullBody, PartialBody, ErasedBody);

impl Committed {
    /// Makes a body of `fields` under a fresh `salt`.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] beyond [`limits::BODY_BYTES`], [`FieldError::Empty`] without fields.
    pub fn new(salt: &Salt, fields: &Fields) -> Result<Self, FieldError> {
        let room: usize = fields.iter().map(|(n, v)| n.as_str().len() + v.len() + 3).sum();
        let mut writer = Writer::with_capacity(room + 64);
        writer.map(3).unsigned(0).unsigned(STATE_FULL).unsigned(1).bytes(&salt.0);
        writer.unsigned(2).map(fields.len());
        let mut hasher = CommitmentHasher::new(fields.len()).map_err(|_| FieldError::Empty)?;
        for (name, value) in fields.iter() {
            writer.text(name.as_str()).raw(value);
            let digest = salt.field(name.as_str()).digest(name.as_str(), value);
            hasher.push(name.as_str(), &digest).map_err(|_| FieldError::Name)?;
        }
        if writer.len() > limits::BODY_BYTES {
            return Err(FieldError::TooLarge);
        }
        Ok(Self { body: FullBody(writer.finish()), commitment: hasher.finish() })
    }

    /// What the header commits to, and the size it gives in bytes.
    #[must_use]
    pub fn header_parts(&self) -> (Commitment, u32) {
        // No body is larger than its limit.
        (self.commitment, u32::try_from(self.body.0.len()).unwrap_or(u32::MAX))
    }

    /// The body by itself.
    #[must_use]
    pub fn into_body(self) -> FullBody {
        self.body
    }
}

impl FullBody {
    /// Makes a body of `fields` under a fresh `salt` and says what its header commits to.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] beyond [`limits::BODY_BYTES`], [`FieldError::Empty`] without fields.
    pub fn new(salt: &Salt, fields: &Fields) -> Result<(Self, Commitment), FieldError> {
        Committed::new(salt, fields).map(|Committed { body, commitment }| (body, commitment))
    }

    /// The encoded bytes; their number is the body size of the header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Shows only the fields for which `shown` says so. The record salt is gone
    /// from the result even if all of them are.
    ///
    /// # Errors
    /// None for a body made here or verified.
    pub fn disclose(&self, shown: impl Fn(&str) -> bool) -> Result<PartialBody, BodyError> {
        let mut open = Vec::new();
        let mut closed = Vec::new();
        walk_full(&self.0, |salt, name, value| {
            let salt = salt.field(name);
            if shown(name) {
                open.push((name, salt.0, value));
            } else {
                closed.push((name, salt.digest(name, value)));
            }
            Ok(())
        })?;
        Ok(PartialBody::write(&open, &closed))
    }
}

impl PartialBody {
    fn write(open: &[(&str, [u8; 32], &[u8])], closed: &[(&str, [u8; 32])]) -> Self {
        let mut writer = Writer::default();
        writer.map(3).unsigned(0).unsigned(STATE_PARTIAL).unsigned(2).map(open.len());
        for (name, salt, value) in open {
            writer.text(name).array(2).bytes(salt).raw(value);
        }
        write_digests(&mut writer, closed);
        Self(writer.finish())
    }

    /// Withholds further fields.
    ///
    /// # Errors
    /// None for a body made here or verified.
    pub fn disclose(&self, shown: impl Fn(&str) -> bool) -> Result<Self, BodyError> {
        let parts = PartialParts::read(&self.0)?;
        let mut closed: Vec<_> =
            parts.closed.iter().map(|(name, digest)| (*name, *digest)).collect();
        let (open, hidden): (Vec<_>, Vec<_>) =
            parts.open.into_iter().partition(|(name, ..)| shown(name));
        closed.extend(
            hidden.iter().map(|(name, salt, value)| (*name, Salt(*salt).digest(name, value))),
        );
        closed.sort_by_key(|(name, _)| (name.len(), *name));
        Ok(Self::write(&open, &closed))
    }
}

impl Body {
    /// Parses `bytes` and checks them against the commitment and size of a header.
    ///
    /// # Errors
    /// A [`BodyError`]: the bytes are not of use to anybody.
    pub fn verify(bytes: Vec<u8>, commitment: &Commitment, size: u32) -> Result<Self, BodyError> {
        if state_of(&bytes) == Some(STATE_SEALED) {
            return SealedBody::parse(bytes).map(Self::Sealed);
        }
        let (state, found) = commitment_of(&bytes)?;
        let fits = usize::try_from(size).is_ok_and(|size| size <= limits::BODY_BYTES);
        if !fits || (state == STATE_FULL && bytes.len() as u64 != u64::from(size)) {
            return Err(BodyError::Size);
        }
        if found != *commitment {
            return Err(BodyError::Commitment);
        }
        Ok(match state {
            STATE_FULL => Self::Full(FullBody(bytes)),
            STATE_PARTIAL => Self::Partial(PartialBody(bytes)),
            _ => Self::Erased(ErasedBody(bytes)),
        })
    }

    /// The encoded bytes in their present state.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Full(FullBody(bytes))
            | Self::Partial(PartialBody(bytes))
            | Self::Erased(ErasedBody(bytes)) => bytes,
            Self::Sealed(sealed) => sealed.as_bytes(),
        }
    }

    /// The encoded bytes in their present state.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Full(FullBody(bytes))
            | Self::Partial(PartialBody(bytes))
            | Self::Erased(ErasedBody(bytes)) => bytes,
            Self::Sealed(sealed) => sealed.into_bytes(),
        }
    }

    /// The fields that are shown.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let mut add = |name: &str, value: &[u8]| {
            let name = FieldName::new(name).map_err(|_| BodyError::Name)?;
            fields.insert_encoded(name, value.to_vec()).map_err(|_| BodyError::Size)
        };
        // A verified body has been read once already, so reading it again cannot fail.
        let _read = match self {
            Self::Full(FullBody(bytes)) => walk_full(bytes, |_, name, value| add(name, value)),
            Self::Partial(PartialBody(bytes)) => PartialParts::read(bytes).and_then(|parts| {
                parts.open.iter().try_for_each(|(name, _, value)| add(name, value))
            }),
            Self::Erased(_) | Self::Sealed(_) => Ok(()),
        };
        fields
    }

    /// Names of the fields that are withheld, in ascending order.
    #[must_use]
    pub fn withheld(&self) -> Vec<FieldName> {
        let closed = match self {
            Self::Full(_) | Self::Sealed(_) => return Vec::new(),
            Self::Partial(PartialBody(bytes)) => PartialParts::read(bytes).map(|p| p.closed),
            Self::Erased(ErasedBody(bytes)) => read_erased(bytes),
        };
        let names = closed.unwrap_or_default();
        names.iter().filter_map(|(name, _)| FieldName::new(name).ok()).collect()
    }

    /// Removes every value; names and digests stay, so that proofs still verify.
    /// `None` of a sealed body, whose names and digests cannot be seen.
    #[must_use]
    pub fn erase(&self) -> Option<ErasedBody> {
        let mut digests: Vec<(&str, [u8; 32])> = Vec::new();
        let _read = match self {
            Self::Full(FullBody(bytes)) => walk_full(bytes, |salt, name, value| {
                digests.push((name, salt.field(name).digest(name, value)));
                Ok(())
            }),
            Self::Partial(PartialBody(bytes)) => PartialParts::read(bytes).map(|parts| {
                digests.extend(parts.closed);
                let open = parts.open.iter();
                digests.extend(
                    open.map(|(name, salt, value)| (*name, Salt(*salt).digest(name, value))),
                );
                digests.sort_by_key(|(name, _)| (name.len(), *name));
            }),
            Self::Erased(erased) => return Some(erased.clone()),
            Self::Sealed(_) => return None,
        };
        let mut writer = Writer::default();
        writer.map(2).unsigned(0).unsigned(STATE_ERASED);
        write_digests(&mut writer, &digests);
        Some(ErasedBody(writer.finish()))
    }
}

/// The state that bytes claim.
fn state_of(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(bytes);
    reader.map(3).ok()?;
    expect_key(&mut reader, 0).ok()?;
    reader.unsigned().ok()
}

/// Reads the state and computes the commitment in one pass, without copying.
fn commitment_of(bytes: &[u8]) -> Result<(u64, Commitment), BodyError> {
    if bytes.len() > limits::BODY_STATE_BYTES {
        return Err(BodyError::Size);
    }
    let mut reader = Reader::new(bytes);
    reader.map(3)?;
    expect_key(&mut reader, 0)?;
    let state = reader.unsigned()?;
    let commitment = match state {
        STATE_FULL => {
            let (_, _, count) = full_head(bytes)?;
            let mut hasher = CommitmentHasher::new(count)?;
            walk_full(bytes, |salt, name, value| {
                hasher.push(name, &salt.field(name).digest(name, value))
            })?;
            hasher.finish()
        }
        STATE_PARTIAL => PartialParts::read(bytes)?.commitment()?,
        STATE_ERASED => {
            let digests = read_erased(bytes)?;
            let mut hasher = CommitmentHasher::new(digests.len())?;
            digests.iter().try_for_each(|(name, digest)| hasher.push(name, digest))?;
            hasher.finish()
        }
        STATE_SEALED => return Err(BodyError::Sealed),
        _ => return Err(BodyError::UnknownState),
    };
    Ok((state, commitment))
}

fn expect_key(reader: &mut Reader<'_>, key: u64) -> Result<(), BodyError> {
    if reader.unsigned()? == key { Ok(()) } else { Err(BodyError::Encoding(CborError::Unexpected)) }
}

fn expect_state(reader: &mut Reader<'_>, keys: usize, state: u64) -> Result<(), BodyError> {
    if reader.map(3)? != keys {
        return Err(BodyError::Encoding(CborError::Unexpected));
    }
    expect_key(reader, 0)?;
    expect_key(reader, state)
}

fn full_head<'a>(bytes: &'a [u8]) -> Result<(Reader<'a>, Salt, usize), BodyError> {
    let mut reader = Reader::new(bytes);
    expect_state(&mut reader, 3, STATE_FULL)?;
    expect_key(&mut reader, 1)?;
    let salt = Salt(reader.array_of::<32>()?);
    expect_key(&mut reader, 2)?;
    let count = reader.map(limits::BODY_FIELDS)?;
    Ok((reader, salt, count))
}

/// Calls `take` with the record salt and each (name, encoded value) of a full body.
fn walk_full<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(&Salt, &'a str, &'a [u8]) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    let (mut reader, salt, count) = full_head(bytes)?;
    for _ in 0..count {
        let name = reader.text(limits::FIELD_NAME_BYTES)?;
        take(&salt, name, reader.skip()?)?;
    }
    Ok(reader.end()?)
}

/// A partial body taken apart, borrowing from its bytes.
struct PartialParts<'a> {
    open: Vec<(&'a str, [u8; 32], &'a [u8])>,
    closed: Vec<(&'a str, [u8; 32])>,
}

impl<'a> PartialParts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        expect_state(&mut reader, 3, STATE_PARTIAL)?;
        expect_key(&mut reader, 2)?;
        let count = reader.map(limits::BODY_FIELDS)?;
        let mut open = Vec::with_capacity(count.min(reader.remaining() / 36));
        for _ in 0..count {
            let name = reader.text(limits::FIELD_NAME_BYTES)?;
            if reader.array(2)? != 2 {
                return Err(BodyError::Encoding(CborError::Unexpected));
            }
            open.push((name, reader.array_of::<32>()?, reader.skip()?));
        }
        let closed = read_digests(&mut reader)?;
        reader.end()?;
        Ok(Self { open, closed })
    }

    fn commitment(&self) -> Result<Commitment, BodyError> {
        // Each list must ascend by itself, or two encodings would mean the same body.
        ascending(self.open.iter().map(|(name, ..)| *name))?;
        ascending(self.closed.iter().map(|(name, _)| *name))?;
        let shown =
            self.open.iter().map(|(name, salt, value)| (*name, Salt(*salt).digest(name, value)));
        let mut all: Vec<(&str, [u8; 32])> = shown.chain(self.closed.iter().copied()).collect();
        if all.len() > limits::BODY_FIELDS {
            return Err(BodyError::Size);
        }
        all.sort_by_key(|(name, _)| (name.len(), *name));
        let mut hasher = CommitmentHasher::new(all.len())?;
        all.iter().try_for_each(|(name, digest)| hasher.push(name, digest))?;
        Ok(hasher.finish())
    }
}

fn ascending<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), BodyError> {
    let mut last: Option<(usize, &str)> = None;
    for name in names {
        let next = (name.len(), name);
        if last.is_some_and(|last| last >= next) {
            return Err(BodyError::Encoding(CborError::KeyOrder));
        }
        last = Some(next);
    }
    Ok(())
}

fn read_erased(bytes: &[u8]) -> Result<Vec<(&str, [u8; 32])>, BodyError> {
    let mut reader = Reader::new(bytes);
    expect_state(&mut reader, 2, STATE_ERASED)?;
    let digests = read_digests(&mut reader)?;
    reader.end()?;
    Ok(digests)
}

fn read_digests<'a>(reader: &mut Reader<'a>) -> Result<Vec<(&'a str, [u8; 32])>, BodyError> {
    expect_key(reader, 3)?;
    let count = reader.map(limits::BODY_FIELDS)?;
    let mut digests = Vec::with_capacity(count.min(reader.remaining() / 35));
    for _ in 0..count {
        digests.push((reader.text(limits::FIELD_NAME_BYTES)?, reader.array_of::<32>()?));
    }
    Ok(digests)
}

fn write_digests(writer: &mut Writer, digests: &[(&str, [u8; 32])]) {
    writer.unsigned(3).map(digests.len());
    for (name, digest) in digests {
        writer.text(name).bytes(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields() -> impl Strategy<Value = Fields> {
        let value = prop_oneof![
            ".{0,20}".prop_map(Value::Text),
            any::<i64>().prop_map(|n| Value::Integer(n.into())),
            any::<bool>().prop_map(Value::Bool),
        ];
        proptest::collection::btree_map("[a-zA-Z][a-zA-Z0-9.]{0,30}", value, 1..24).prop_map(
            |map| {
                let mut fields = Fields::new();
                for (name, value) in map {
                    fields.insert(&name, &value).unwrap();
                }
                fields
            },
        )
    }

    fn full(fields: &Fields) -> (FullBody, Commitment, u32) {
        let (body, commitment) = FullBody::new(&Salt::from_random([9; 32]), fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        (body, commitment, size)
    }

    proptest! {
        #[test]
        fn full_partial_and_erased_give_the_same_commitment(fields in fields(), mask in any::<u32>()) {
            let (body, commitment, size) = full(&fields);
            cbor::check(body.as_bytes()).unwrap();
            let verified = Body::verify(body.as_bytes().to_vec(), &commitment, size).unwrap();
            prop_assert_eq!(&verified.fields(), &fields);
            let shown = |name: &str| mask & (1 << (name.len() % 32)) != 0;
            let partial = body.disclose(shown).unwrap();
            cbor::check(&partial.0).unwrap();
            let partial = Body::verify(partial.0, &commitment, size).unwrap();
            let shown_fields = partial.fields();
            for (name, value) in fields.iter() {
                let expected = shown(name.as_str()).then_some(value);
                prop_assert_eq!(shown_fields.get(name.as_str()), expected);
                prop_assert_eq!(partial.withheld().contains(name), expected.is_none());
            }
            for state in [&verified, &partial] {
                let erased = Body::verify(state.erase().unwrap().0, &commitment, size).unwrap();
                prop_assert!(erased.fields().is_empty());
                prop_assert_eq!(erased.withheld().len(), fields.len());
            }
        }

        #[test]
        fn disclosing_in_two_steps_is_disclosing_in_one(fields in fields()) {
            let (body, ..) = full(&fields);
            let odd = |name: &str| name.len() % 2 == 1;
            let long = |name: &str| name.len() > 4;
            let once = body.disclose(|name| odd(name) && long(name)).unwrap();
            let twice = body.disclose(odd).unwrap().disclose(long).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn every_changed_bit_of_any_state_is_refused(fields in fields(), at in any::<usize>(), bit in 0u8..8) {
            let (body, commitment, size) = full(&fields);
            let full = Body::Full(body.clone());
            let partial = Body::Partial(body.disclose(|name| name.len() % 2 == 0).unwrap());
            for state in [&full, &partial, &Body::Erased(full.erase().unwrap())] {
                let mut bytes = state.as_bytes().to_vec();
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
                prop_assert!(Body::verify(bytes, &commitment, size).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Body::verify(bytes, &Commitment::from_bytes([0; 32]), 10);
        }
    }

    fn sample() -> Fields {
        let mut fields = Fields::new();
        fields.insert("title", &"Housing management system".into()).unwrap();
        fields.insert("rating", &"good".into()).unwrap();
        fields
    }

    /// The description at the head of this file, word for word.
    fn described(salt: &[u8; 32], fields: &Fields) -> Commitment {
        let mut list = u32::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for (name, value) in fields.iter() {
            let (name, len) =
                (name.as_str().as_bytes(), u8::try_from(name.as_str().len()).unwrap());
            let key = *blake3::keyed_hash(salt, &[&[1], name].concat()).as_bytes();
            let digest = blake3::keyed_hash(&key, &[&[2, len], name, value].concat());
            list.extend([&[len], name, digest.as_bytes()].concat());
        }
        Commitment::from_bytes(blake3::derive_key(COMMITMENT_CONTEXT, &list))
    }

    #[test]
    fn commitments_are_as_described_for_values_of_any_size_and_number() {
        let mut fields = Fields::new();
        for size in [0, 1, 60, 100, 150, 160, 170, 175, 180, 190, 200, 1_000, 1_024, 3_000, 70_000]
        {
            for name in [format!("v{size}"), "n".repeat(128 - size % 50)] {
                fields.insert(&name, &Value::Bytes(vec![7; size])).unwrap();
            }
            let (_, commitment) = FullBody::new(&Salt::from_random([9; 32]), &fields).unwrap();
            assert_eq!(commitment, described(&[9; 32], &fields));
        }
        for n in 0..200 {
            fields.insert(&format!("many.{n}"), &Value::Null).unwrap();
        }
        let (body, commitment) = FullBody::new(&Salt::from_random([9; 32]), &fields).unwrap();
        assert_eq!(commitment, described(&[9; 32], &fields));
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        assert!(Body::verify(body.as_bytes().to_vec(), &commitment, size).is_ok());
    }

    #[test]
    fn a_hidden_duplicate_field_is_refused() {
        let (body, commitment, size) = full(&sample());
        let parts = PartialBody(body.disclose(|_| true).unwrap().0);
        let open = PartialParts::read(&parts.0).unwrap().open;
        // `rating` once shown and once withheld under the same name.
        let digest = Salt(open[1].1).digest(open[1].0, open[1].2);
        let forged = PartialBody::write(&open, &[(open[1].0, digest)]);
        assert!(Body::verify(forged.0, &commitment, size).is_err());
        let twice = PartialBody::write(&[open[0], open[0], open[1]], &[]);
        assert!(Body::verify(twice.0, &commitment, size).is_err());
    }

    #[test]
    fn swapped_names_are_refused() {
        let mut fields = Fields::new();
        fields.insert("rating", &"good".into()).unwrap();
        fields.insert("status", &"poor".into()).unwrap();
        let (body, commitment, size) = full(&fields);
        let partial = body.disclose(|_| true).unwrap();
        let open = PartialParts::read(&partial.0).unwrap().open;
        let (a, b) = (open[0], open[1]);
        let swapped = PartialBody::write(&[(a.0, b.1, b.2), (b.0, a.1, a.2)], &[]);
        assert_eq!(Body::verify(swapped.0, &commitment, size), Err(BodyError::Commitment));
    }

    #[test]
    fn an_erased_value_of_few_possibilities_cannot_be_found_by_trying() {
        let (body, _, _) = full(&sample());
        let partial = body.disclose(|name| name != "rating").unwrap();
        let parts = PartialParts::read(&partial.0).unwrap();
        let (_, digest) = parts.closed[0];
        // All the attacker has: shown salts, and guesses at the value.
        let guesses = ["good", "approachingTarget", "requiresImprovement", "inadequate", "other"];
        let mut salts: Vec<Salt> = parts.open.iter().map(|(_, salt, _)| Salt(*salt)).collect();
        salts.push(Salt([0; 32]));
        for guess in guesses {
            let value = cbor::encode(guess).unwrap();
            for salt in &salts {
                assert_ne!(salt.digest("rating", &value), digest);
                assert_ne!(salt.field("rating").digest("rating", &value), digest);
            }
        }
        // And the record salt is not in the bytes.
        assert!(!partial.0.windows(32).any(|w| w == [9; 32]));
        // With the salt the guess would succeed: the test can fail.
        let value = cbor::encode("good").unwrap();
        assert_eq!(Salt([9; 32]).field("rating").digest("rating", &value), digest);
    }

    #[test]
    fn a_body_over_its_limit_is_refused_before_it_is_made() {
        let mut fields = Fields::new();
        fields.insert("a", &Value::Text("x".repeat(limits::BODY_BYTES))).unwrap();
        assert_eq!(
            FullBody::new(&Salt::from_random([0; 32]), &fields).map(|_| ()),
            Err(FieldError::TooLarge)
        );
        let mut fields = Fields::new();
        for n in 0..limits::BODY_FIELDS {
            fields.insert(&format!("f{n}"), &Value::Null).unwrap();
        }
        assert_eq!(fields.insert("more", &Value::Null), Err(FieldError::TooMany));
    }

    #[test]
    fn a_wrong_size_in_the_header_is_refused() {
        let (body, commitment, size) = full(&sample());
        let bytes = body.as_bytes().to_vec();
        assert_eq!(Body::verify(bytes, &commitment, size + 1), Err(BodyError::Size));
    }

    #[test]
    fn salts_and_bodies_are_never_printed() {
        let (body, ..) = full(&sample());
        let printed = format!("{body:?} {:?}", Salt::from_random([9; 32]));
        assert!(!printed.contains("Housing") && !printed.contains('9'), "{printed}");
    }
}
