//! Entries: one leaf of a log each, a *header* with a *body* stored beside it.
//!
//! The leaf is the header; the header commits to the body. Headers are
//! deterministic CBOR maps with integer keys:
//!
//! | key | value |
//! |---|---|
//! | 0 | format version, 1 |
//! | 2 | kind, see [`crate::record`] |
//! | 4 | record id, 16 bytes |
//! | 6 | action: 0 put, 1 withdraw, 2 erase, from 64 control |
//! | 8 | previous version, [generation, index], absent for the first |
//! | 10 | issued at, Unix seconds, a claim |
//! | 12 | body commitment, 32 bytes |
//! | 14 | body size in its full state, bytes |
//! | 16 | epoch id, 32 bytes, groups only |
//! | 18 | retain until, Unix seconds |
//!
//! **Invariant:** strictness concerns the encoding, never the vocabulary. A
//! header with unknown odd keys is read without them; with unknown even keys,
//! a newer version or an unknown action it replicates and verifies, and
//! [`Header::is_understood`] says that it must not be interpreted.
//! Deliberately absent: signatures; the checkpoint vouches for all headers.

use crate::body::{Body, BodyError, Committed, SealedBody};
use crate::cbor::{CborError, KeyOrder, Reader, Writer};
use crate::id::{Commitment, EpochId, Hash, RecordId, Version};
use crate::limits;
use crate::log;
use crate::record::Kind;
use crate::time::UnixTime;

/// The header version written by this implementation.
pub const HEADER_VERSION: u64 = 1;

/// What an entry does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A new version of the record.
    Put,
    /// The author no longer stands by the record; earlier versions stay.
    Withdraw,
    /// Values of the record are to be deleted.
    Erase,
    /// A control action of a group, from 64 on, or anything newer than this implementation.
    Other(u64),
}

/// The control actions of groups: see [`crate::group::operation`].
impl Action {
    /// A group begins.
    pub const CREATE: Self = Self::Other(64);
    /// Somebody may join.
    pub const INVITE: Self = Self::Other(65);
    /// The author joins.
    pub const JOIN: Self = Self::Other(66);
    /// A member gets another role.
    pub const ASSIGN: Self = Self::Other(67);
    /// A member is removed.
    pub const REMOVE: Self = Self::Other(68);
    /// The author leaves.
    pub const LEAVE: Self = Self::Other(69);
    /// A member is to lead a group whose convenors are lost.
    pub const CONTINUE: Self = Self::Other(70);
    /// An epoch begins.
    pub const EPOCH: Self = Self::Other(71);
    /// The author has seen what it names, and says nothing else.
    pub const ACKNOWLEDGE: Self = Self::Other(72);

    /// Whether it is one of the control actions of groups that this version knows.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Other(64..=72))
    }
}

impl Action {
    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Put,
            1 => Self::Withdraw,
            2 => Self::Erase,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Put => 0,
            Self::Withdraw => 1,
            Self::Erase => 2,
            Self::Other(number) => number,
        }
    }
}

/// What an author says about one version of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What kind of document it is.
    pub kind: Kind,
    /// Which document.
    pub record: RecordId,
    /// What happens to it.
    pub action: Action,
    /// The version this one follows.
    pub previous: Option<Version>,
    /// When the author says it was issued.
    pub issued: UnixTime,
    /// What the body must give.
    pub commitment: Commitment,
    /// Size of the full body, in bytes.
    pub body_size: u32,
    /// The epoch under which the body is sealed; none in the public space.
    pub epoch: Option<EpochId>,
    /// When the author wants the values gone.
    pub retain_until: Option<UnixTime>,
    understood: bool,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Larger than [`limits::HEADER_BYTES`].
    #[error("the header is larger than {} bytes", limits::HEADER_BYTES)]
    TooLarge,
    /// Not deterministic CBOR of the expected shape.
    #[error("malformed header: {0}")]
    Encoding(#[from] CborError),
    /// A field without which no entry can be checked is absent.
    #[error("the header lacks a required field")]
    Missing,
    /// The body is said to be larger than bodies may be.
    #[error("the header announces a body over the limit")]
    BodyTooLarge,
}

impl Header {
    /// A header for the first version of a record.
    #[must_use]
    pub const fn new(
        kind: Kind,
        record: RecordId,
        action: Action,
        issued: UnixTime,
        commitment: Commitment,
        body_size: u32,
    ) -> Self {
        Self {
            kind,
            record,
            action,
            previous: None,
            issued,
            commitment,
            body_size,
            epoch: None,
            retain_until: None,
            understood: true,
        }
    }

    /// Whether every part of the header is known to this implementation. If
    /// not, the entry is kept and passed on, but not shown as anything.
    #[must_use]
    pub const fn is_understood(&self) -> bool {
        self.understood
    }

    /// Encodes the header; the result is the leaf of the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let optional = [self.previous.is_some(), self.epoch.is_some(), self.retain_until.is_some()];
        let mut w = Writer::with_capacity(128);
        w.map(7 + optional.iter().filter(|present| **present).count());
        w.unsigned(0).unsigned(HEADER_VERSION);
        w.unsigned(2).unsigned(u64::from(self.kind.number()));
        w.unsigned(4).bytes(self.record.as_bytes());
        w.unsigned(6).unsigned(self.action.number());
        if let Some(Version { generation, index }) = self.previous {
            w.unsigned(8).array(2).unsigned(u64::from(generation)).unsigned(index);
        }
        w.unsigned(10).unsigned(self.issued.as_seconds());
        w.unsigned(12).bytes(self.commitment.as_bytes());
        w.unsigned(14).unsigned(u64::from(self.body_size));
        if let Some(epoch) = self.epoch {
            w.unsigned(16).bytes(epoch.as_bytes());
        }
        if let Some(until) = self.retain_until {
            w.unsigned(18).unsigned(until.as_seconds());
        }
        w.finish()
    }

    /// Reads a header, refusing every encoding but the deterministic one.
    ///
    /// # Errors
    /// A [`HeaderError`]: the entry is of no use to anybody.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > limits::HEADER_BYTES {
            return Err(HeaderError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let mut draft = HeaderDraft { understood: true, ..HeaderDraft::default() };
        let mut order = KeyOrder::default();
        for _ in 0..reader.map(limits::HEADER_BYTES)? {
            let key_bytes = reader.skip()?;
            order.next(key_bytes)?;
            // Keys of another type belong to a vocabulary we do not know.
            let key = Reader::new(key_bytes).unsigned().unwrap_or(u64::MAX - 1);
            draft.read(key, &mut reader)?;
        }
        reader.end()?;
        draft.finish()
    }
}

/// Header fields as they are read, before it is known that none is missing.
#[derive(Default)]
struct HeaderDraft {
    understood: bool,
    version: Option<u64>,
    kind: Option<Kind>,
    record: Option<RecordId>,
    action: Option<Action>,
    previous: Option<Version>,
    issued: Option<UnixTime>,
    commitment: Option<Commitment>,
    body_size: Option<u32>,
    epoch: Option<EpochId>,
    retain_until: Option<UnixTime>,
}

impl HeaderDraft {
    fn read(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<(), HeaderError> {
        match key {
            0 => self.version = Some(reader.unsigned()?),
            2 => self.kind = Some(Kind::new(narrow(reader.unsigned()?)?)),
            4 => self.record = Some(RecordId::from_bytes(reader.array_of()?)),
            6 => self.action = Some(Action::from_number(reader.unsigned()?)),
            8 => {
                if reader.array(2)? != 2 {
                    return Err(CborError::Unexpected.into());
                }
                let generation = narrow(reader.unsigned()?)?;
                self.previous = Some(Version { generation, index: reader.unsigned()? });
            }
            10 => self.issued = Some(UnixTime::from_seconds(reader.unsigned()?)),
            12 => self.commitment = Some(Commitment::from_bytes(reader.array_of()?)),
            14 => self.body_size = Some(narrow(reader.unsigned()?)?),
            16 => self.epoch = Some(EpochId::from_bytes(reader.array_of()?)),
            18 => self.retain_until = Some(UnixTime::from_seconds(reader.unsigned()?)),
            unknown => {
                reader.skip()?;
                self.understood &= unknown % 2 == 1;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Header, HeaderError> {
        const MISSING: HeaderError = HeaderError::Missing;
        let version = self.version.ok_or(MISSING)?;
        let action = self.action.ok_or(MISSING)?;
        let body_size = self.body_size.ok_or(MISSING)?;
        if body_size as usize > limits::BODY_BYTES {
            return Err(HeaderError::BodyTooLarge);
        }
        let kind = self.kind.ok_or(MISSING)?;
        // A control action means something to groups only.
        let known_action = match action {
            Action::Other(_) => action.is_control() && kind.number() == Kind::GROUP.number(),
            _ => true,
        };
        Ok(Header {
            kind,
            record: self.record.ok_or(MISSING)?,
            action,
            previous: self.previous,
            issued: self.issued.ok_or(MISSING)?,
            commitment: self.commitment.ok_or(MISSING)?,
            body_size,
            epoch: self.epoch,
            retain_until: self.retain_until,
            understood: self.understood && version == HEADER_VERSION && known_action,
        })
    }
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, CborError> {
    T::try_from(value).map_err(|_| CborError::Unexpected)
}

/// Why an entry is not consistent in itself: the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The body is not the one the header committed to.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Header and body bytes as they came in. Nothing can be read from it.
#[derive(Clone, Debug)]
pub struct UnverifiedEntry {
    header: Vec<u8>,
    body: Option<Vec<u8>>,
}

impl UnverifiedEntry {
    /// From received bytes; the body may be absent.
    #[must_use]
    pub const fn new(header: Vec<u8>, body: Option<Vec<u8>>) -> Self {
        Self { header, body }
    }

    /// Bytes held, for bounding queues.
    #[must_use]
    pub fn size(&self) -> usize {
        self.header.len() + self.body.as_ref().map_or(0, Vec::len)
    }

    /// The leaf hash of the header as it came in: an input to a check, not the result of one.
    #[must_use]
    pub fn claimed_leaf(&self) -> Hash {
        log::leaf_hash(&self.header)
    }

    /// Checks the entry in itself: header readable, body as committed. That it
    /// belongs to a log is for the caller to check by its leaf hash.
    ///
    /// # Errors
    /// An [`EntryError`].
    pub fn check(self) -> Result<Entry, EntryError> {
        let leaf = self.claimed_leaf();
        self.check_under(leaf)
    }

    /// As [`UnverifiedEntry::check`], with the leaf hash that the caller has
    /// computed from the same header already.
    pub(crate) fn check_under(self, leaf: Hash) -> Result<Entry, EntryError> {
        let header = Header::decode(&self.header)?;
        let body = self.body.map(|bytes| Body::verify(bytes, &header.commitment, header.body_size));
        Ok(Entry { header, header_bytes: self.header, leaf, body: body.transpose()? })
    }
}

/// An entry that is consistent in itself: the body is the one its header commits to.
///
/// Whether it belongs to a log is a matter of its [`leaf`](Entry::leaf): see
/// [`crate::sync`] and [`crate::proof`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    header: Header,
    header_bytes: Vec<u8>,
    leaf: Hash,
    body: Option<Body>,
}

impl Entry {
    /// A new entry of our own: `header` must commit to `body`.
    ///
    /// # Errors
    /// [`EntryError::Body`] if it does not.
    pub fn author(header: Header, body: Body) -> Result<Self, EntryError> {
        UnverifiedEntry::new(header.encode(), Some(body.into_bytes())).check()
    }

    /// As [`Entry::author`], of a body that was just made: `header` gets its
    /// commitment and size, so there is nothing to verify.
    ///
    /// # Errors
    /// [`EntryError::Header`] if the header cannot be written.
    pub fn of_committed(header: Header, body: Committed) -> Result<Self, EntryError> {
        let (commitment, body_size) = body.header_parts();
        let header_bytes = Header { commitment, body_size, ..header }.encode();
        let header = Header::decode(&header_bytes)?;
        let leaf = log::leaf_hash(&header_bytes);
        let body = Some(Body::Full(body.into_body()));
        Ok(Self { header, header_bytes, leaf, body })
    }

    /// What the author said about the record.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header as received: the leaf of the log.
    #[must_use]
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// RFC 6962 leaf hash of the header.
    #[must_use]
    pub const fn leaf(&self) -> Hash {
        self.leaf
    }

    /// The body, unless it is absent.
    #[must_use]
    pub const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The same entry with a body that was verified against its header.
    pub(crate) fn with_body(&self, body: Body) -> Self {
        let (header, header_bytes) = (self.header.clone(), self.header_bytes.clone());
        Self { header, header_bytes, leaf: self.leaf, body: Some(body) }
    }

    /// The entry with less of its body: one that was made from it.
    pub(crate) fn with_less(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The entry with its body sealed, for the log of a group.
    #[must_use]
    pub fn sealed(self, body: SealedBody) -> Self {
        self.with_less(Body::Sealed(body))
    }

    /// Header and body bytes, for storing or sending.
    #[must_use]
    pub fn into_bytes(self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.header_bytes, self.body.map(Body::into_bytes))
    }

    /// Bytes of header and body.
    #[must_use]
    pub fn size(&self) -> usize {
        self.header_bytes.len() + self.body.as_ref().map_or(0, |body| body.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Fields, FullBody, Salt};
    use crate::cbor;
    use ciborium::Value;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = Header> {
        let required = (any::<u16>(), any::<[u8; 16]>(), 0u64..3, any::<u32>(), any::<[u8; 32]>());
        let optional = (
            proptest::option::of((any::<u32>(), any::<u64>())),
            proptest::option::of(any::<[u8; 32]>()),
            proptest::option::of(any::<u64>()),
            0u32..(1 << 20),
        );
        (required, optional).prop_map(
            |((kind, record, action, at, commitment), (previous, epoch, until, size))| {
                let mut header = Header::new(
                    Kind::new(kind),
                    RecordId::from_bytes(record),
                    Action::from_number(action),
                    UnixTime::from_seconds(u64::from(at)),
                    Commitment::from_bytes(commitment),
                    size,
                );
                header.previous = previous.map(|(generation, index)| Version { generation, index });
                header.epoch = epoch.map(EpochId::from_bytes);
                header.retain_until = until.map(UnixTime::from_seconds);
                header
            },
        )
    }

    fn with_extra(header: &Header, key: i64) -> Vec<u8> {
        let mut value: Value = cbor::decode(&header.encode()).unwrap();
        value.as_map_mut().unwrap().push((Value::Integer(key.into()), "x".into()));
        cbor::encode_value(value).unwrap()
    }

    proptest! {
        #[test]
        fn headers_round_trip_deterministically(header in header()) {
            let bytes = header.encode();
            cbor::check(&bytes).unwrap();
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
        }

        #[test]
        fn every_changed_bit_is_refused_or_changes_the_leaf(header in header(), at in any::<usize>(), bit in 0u8..8) {
            let bytes = header.encode();
            let mut changed = bytes.clone();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            if let Ok(other) = Header::decode(&changed) {
                prop_assert!(log::leaf_hash(&changed) != log::leaf_hash(&bytes));
                prop_assert!(other != header);
            }
        }

        #[test]
        fn unknown_odd_keys_are_ignored_and_unknown_even_keys_not_interpreted(header in header()) {
            let odd = Header::decode(&with_extra(&header, 19)).unwrap();
            prop_assert_eq!(&odd, &header);
            let even = Header::decode(&with_extra(&header, 20)).unwrap();
            prop_assert!(!even.is_understood());
            let negative = Header::decode(&with_extra(&header, -1)).unwrap();
            prop_assert!(!negative.is_understood());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::decode(&bytes);
        }
    }

    #[test]
    fn a_header_needs_every_required_field() {
        let header = Header::new(
            Kind::new(1),
            RecordId::from_bytes([1; 16]),
            Action::Put,
            UnixTime::from_seconds(1),
            Commitment::from_bytes([2; 32]),
            3,
        );
        let value: Value = cbor::decode(&header.encode()).unwrap();
        for left_out in 0..7 {
            let mut pairs = value.as_map().unwrap().clone();
            pairs.remove(left_out);
            let bytes = cbor::encode_value(Value::Map(pairs)).unwrap();
            assert_eq!(Header::decode(&bytes), Err(HeaderError::Missing));
        }
    }

    #[test]
    fn an_entry_with_the_body_of_another_is_refused() {
        let body_of = |title: &str| {
            let mut fields = Fields::new();
            fields.insert("title", &title.into()).unwrap();
            FullBody::new(&Salt::from_random([3; 32]), &fields).unwrap()
        };
        let ((one, commitment), (other, _)) = (body_of("one"), body_of("two"));
        let size = u32::try_from(one.as_bytes().len()).unwrap();
        let header = Header::new(
            Kind::new(1),
            RecordId::from_bytes([1; 16]),
            Action::Put,
            UnixTime::from_seconds(1),
            commitment,
            size,
        );
        assert!(Entry::author(header.clone(), Body::Full(one)).is_ok());
        assert_eq!(
            Entry::author(header, Body::Full(other)),
            Err(EntryError::Body(BodyError::Commitment))
        );
    }

    #[test]
    fn oversized_headers_are_refused_unread() {
        assert_eq!(Header::decode(&[0; limits::HEADER_BYTES + 1]), Err(HeaderError::TooLarge));
    }
}
