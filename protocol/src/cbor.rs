//! Deterministic CBOR (RFC 8949 section 4.2.1): one encoder, one strict decoder.
//!
//! Allowed: definite lengths, shortest integers, map keys unique and ascending
//! in the bytewise order of their encodings, the simple values false, true and
//! null. Refused: indefinite lengths, longer-than-needed heads, floats, tags,
//! other simple values, invalid UTF-8, nesting deeper than
//! [`limits::NESTING`], trailing bytes.
//!
//! **Invariant:** for every `bytes` that [`check`] accepts there is one item,
//! and for every item one accepted `bytes`; so received bytes can be kept and
//! hashed, and nothing is re-encoded to verify.
//!
//! `ciborium` writes and reads typed data; [`Reader`] walks the raw bytes where
//! a copy would cost too much (headers, bodies, frames). Strictness concerns
//! the encoding only, never the vocabulary.

use ciborium::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// Why bytes are not one deterministically encoded item of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// Bytes follow the item.
    #[error("extra bytes follow the value")]
    Trailing,
    /// A length or integer is written longer than needed.
    #[error("a number is not written in its shortest form")]
    NotShortest,
    /// An indefinite length, float, tag, reserved or simple value.
    #[error("a kind of value is used that the format does not allow")]
    Forbidden,
    /// Map keys out of order or repeated.
    #[error("the keys of a map are not in order or not unique")]
    KeyOrder,
    /// Text that is not UTF-8.
    #[error("a text is not valid UTF-8")]
    Utf8,
    /// Nested deeper than the limit.
    #[error("values are nested too deeply")]
    Nesting,
    /// Well-formed, but not of the expected type or out of its bounds.
    #[error("a value has an unexpected type or is out of bounds")]
    Unexpected,
}

/// Encodes `item` deterministically.
///
/// # Errors
/// [`CborError::Unexpected`] if the item cannot be expressed (a float, an
/// integer beyond 64 bits, duplicate map keys).
pub fn encode<T: Serialize + ?Sized>(item: &T) -> Result<Vec<u8>, CborError> {
    let value = Value::serialized(item).map_err(|_| CborError::Unexpected)?;
    encode_value(value)
}

/// Encodes a dynamic value deterministically, sorting the keys of its maps.
///
/// # Errors
/// As [`encode`].
pub fn encode_value(mut value: Value) -> Result<Vec<u8>, CborError> {
    canonicalise(&mut value, 0)?;
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).map_err(|_| CborError::Unexpected)?;
    Ok(bytes)
}

/// Decodes exactly one item, refusing every non-deterministic encoding.
///
/// # Errors
/// The first violation found; [`CborError::Unexpected`] if the item is not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    check(bytes)?;
    ciborium::from_reader(bytes).map_err(|_| CborError::Unexpected)
}

/// Checks that `bytes` are exactly one deterministically encoded item.
///
/// # Errors
/// The first violation found.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.end()
}

fn canonicalise(value: &mut Value, depth: usize) -> Result<(), CborError> {
    if depth > limits::NESTING {
        return Err(CborError::Nesting);
    }
    match value {
        Value::Float(_) | Value::Tag(..) => Err(CborError::Unexpected),
        Value::Array(items) => items.iter_mut().try_for_each(|item| canonicalise(item, depth + 1)),
        Value::Map(pairs) => {
            let mut keyed = Vec::with_capacity(pairs.len());
            for (mut key, mut item) in core::mem::take(pairs) {
                canonicalise(&mut item, depth + 1)?;
                canonicalise(&mut key, depth + 1)?;
                let mut encoded = Vec::new();
                ciborium::into_writer(&key, &mut encoded).map_err(|_| CborError::Unexpected)?;
                keyed.push((encoded, key, item));
            }
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            if keyed.iter().zip(keyed.iter().skip(1)).any(|(a, b)| a.0 == b.0) {
                return Err(CborError::KeyOrder);
            }
            *pairs = keyed.into_iter().map(|(_, key, item)| (key, item)).collect();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Major types of RFC 8949 section 3.1 that the format uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// Unsigned integer.
    Unsigned,
    /// Negative integer, -1 - n.
    Negative,
    /// Byte string.
    Bytes,
    /// UTF-8 text.
    Text,
    /// Array.
    Array,
    /// Map.
    Map,
    /// False, true or null.
    Simple,
}

const FALSE: u64 = 20;
const TRUE: u64 = 21;
const NULL: u64 = 22;

/// A strict cursor over encoded bytes that borrows what it reads.
///
/// Every method either returns a well-formed item or an error; after an error
/// the reader is of no further use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Refuses bytes after the last item read.
    ///
    /// # Errors
    /// [`CborError::Trailing`].
    pub const fn end(&self) -> Result<(), CborError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type.
    pub fn unsigned(&mut self) -> Result<u64, CborError> {
        self.expect(Major::Unsigned)
    }

    /// Reads a byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type or a longer string.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], CborError> {
        let len = self.expect(Major::Bytes)?;
        self.take(len, limit)
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type or length.
    pub fn array_of<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.bytes(N)?.try_into().map_err(|_| CborError::Unexpected)
    }

    /// Reads a text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type or a longer text, [`CborError::Utf8`].
    pub fn text(&mut self, limit: usize) -> Result<&'a str, CborError> {
        let len = self.expect(Major::Text)?;
        core::str::from_utf8(self.take(len, limit)?).map_err(|_| CborError::Utf8)
    }

    /// Reads the head of an array of at most `limit` items.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type or a longer array.
    pub fn array(&mut self, limit: usize) -> Result<usize, CborError> {
        let len = self.expect(Major::Array)?;
        bounded(len, limit)
    }

    /// Reads the head of a map of at most `limit` pairs. The order of the keys
    /// is the caller's to check: see [`Reader::skip`] and [`KeyOrder`].
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type or a longer map.
    pub fn map(&mut self, limit: usize) -> Result<usize, CborError> {
        let len = self.expect(Major::Map)?;
        bounded(len, limit)
    }

    /// Reads a truth value.
    ///
    /// # Errors
    /// [`CborError::Unexpected`] for another type.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        match self.head()? {
            (Major::Simple, FALSE) => Ok(false),
            (Major::Simple, TRUE) => Ok(true),
            _ => Err(CborError::Unexpected),
        }
    }

    /// Reads null if it comes next and says whether it did.
    ///
    /// # Errors
    /// [`CborError::Truncated`] at the end of the data.
    pub fn null(&mut self) -> Result<bool, CborError> {
        let mut ahead = self.clone();
        if ahead.head()? == (Major::Simple, NULL) {
            *self = ahead;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads one whole item of any type, checks all of it, and returns its bytes.
    ///
    /// # Errors
    /// The first violation found.
    pub fn skip(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.rest;
        self.skip_nested(0)?;
        let len = start.len() - self.rest.len();
        start.get(..len).ok_or(CborError::Truncated)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), CborError> {
        if depth > limits::NESTING {
            return Err(CborError::Nesting);
        }
        let (major, argument) = self.head()?;
        match major {
            Major::Unsigned | Major::Negative | Major::Simple => Ok(()),
            Major::Bytes => self.take(argument, usize::MAX).map(|_| ()),
            Major::Text => {
                let text = self.take(argument, usize::MAX)?;
                core::str::from_utf8(text).map(|_| ()).map_err(|_| CborError::Utf8)
            }
            Major::Array => (0..argument).try_for_each(|_| self.skip_nested(depth + 1)),
            Major::Map => {
                let mut order = KeyOrder::default();
                (0..argument).try_for_each(|_| {
                    let start = self.rest;
                    self.skip_nested(depth + 1)?;
                    let len = start.len() - self.rest.len();
                    order.next(start.get(..len).ok_or(CborError::Truncated)?)?;
                    self.skip_nested(depth + 1)
                })
            }
        }
    }

    fn expect(&mut self, wanted: Major) -> Result<u64, CborError> {
        match self.head()? {
            (major, argument) if major == wanted => Ok(argument),
            _ => Err(CborError::Unexpected),
        }
    }

    fn take(&mut self, len: u64, limit: usize) -> Result<&'a [u8], CborError> {
        let len = usize::try_from(len).map_err(|_| CborError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CborError::Truncated)?;
        if len > limit {
            return Err(CborError::Unexpected);
        }
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a head: RFC 8949 section 3, shortest form enforced.
    fn head(&mut self) -> Result<(Major, u64), CborError> {
        let (&initial, rest) = self.rest.split_first().ok_or(CborError::Truncated)?;
        self.rest = rest;
        let (argument, least) = match initial & 0x1f {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.fixed()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.fixed()?), 1 << 32),
            _ => return Err(CborError::Forbidden),
        };
        let major = match initial >> 5 {
            0 => Major::Unsigned,
            1 => Major::Negative,
            2 => Major::Bytes,
            3 => Major::Text,
            4 => Major::Array,
            5 => Major::Map,
            7 if (FALSE..=NULL).contains(&argument) && least == 0 => {
                return Ok((Major::Simple, argument));
            }
            _ => return Err(CborError::Forbidden),
        };
        if argument < least {
            return Err(CborError::NotShortest);
        }
        Ok((major, argument))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Checks that the keys of one map come in strictly ascending encoded order.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOrder<'a> {
    last: Option<&'a [u8]>,
}

impl<'a> KeyOrder<'a> {
    /// Takes the encoding of the next key.
    ///
    /// # Errors
    /// [`CborError::KeyOrder`] unless it is greater than the one before.
    pub fn next(&mut self, key: &'a [u8]) -> Result<(), CborError> {
        if self.last.is_some_and(|last| last >= key) {
            return Err(CborError::KeyOrder);
        }
        self.last = Some(key);
        Ok(())
    }
}

/// Writes deterministic heads and strings without building a value first.
///
/// The caller writes map keys in order; [`check`] finds it out in tests.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Writes an unsigned integer.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// Writes an integer of either sign.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        // The argument of a negative integer n is -1 - n, which is all its bits turned over.
        let major = u8::from(value < 0);
        let argument = if value < 0 { !value } else { value };
        self.head(major, argument.unsigned_abs())
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(2, value.len() as u64).raw(value)
    }

    /// Writes a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(3, value.len() as u64).raw(value.as_bytes())
    }

    /// Writes the head of an array of `len` items.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(4, len as u64)
    }

    /// Writes the head of a map of `len` pairs.
    pub fn map(&mut self, len: usize) -> &mut Self {
        self.head(5, len as u64)
    }

    /// Writes null.
    pub fn null(&mut self) -> &mut Self {
        self.head(7, NULL)
    }

    /// Writes a truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.head(7, if value { TRUE } else { FALSE })
    }

    /// Appends an item that is already encoded.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(encoded);
        self
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let major = major << 5;
        let be = argument.to_be_bytes();
        let [.., b4, b5, b6, b7] = be;
        match argument {
            0..=23 => self.bytes.push(major | b7),
            24..=0xff => self.bytes.extend_from_slice(&[major | 24, b7]),
            0x100..=0xffff => self.bytes.extend_from_slice(&[major | 25, b6, b7]),
            0x1_0000..=0xffff_ffff => {
                self.bytes.extend_from_slice(&[major | 26, b4, b5, b6, b7]);
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&be);
            }
        }
        self
    }
}

fn bounded(len: u64, limit: usize) -> Result<usize, CborError> {
    usize::try_from(len).ok().filter(|len| *len <= limit).ok_or(CborError::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_each_forbidden_form() {
        let cases: [(&[u8], CborError); 12] = [
            (&[], CborError::Truncated),
            (&[0x00, 0x00], CborError::Trailing),
            (&[0x18, 0x17], CborError::NotShortest),
            (&[0x19, 0x00, 0xff], CborError::NotShortest),
            (&[0x5f, 0xff], CborError::Forbidden),
            (&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0], CborError::Forbidden),
            (&[0xc0, 0x00], CborError::Forbidden),
            (&[0xf7], CborError::Forbidden),
            (&[0xf8, 0x15], CborError::Forbidden),
            (&[0xa2, 0x01, 0x00, 0x01, 0x00], CborError::KeyOrder),
            (&[0xa2, 0x02, 0x00, 0x01, 0x00], CborError::KeyOrder),
            (&[0x62, 0xff, 0xff], CborError::Utf8),
        ];
        for (bytes, error) in cases {
            assert_eq!(check(bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_longer_than_the_data_allocates_nothing() {
        assert_eq!(
            check(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(CborError::Truncated)
        );
        assert_eq!(
            check(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(CborError::Truncated)
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| {
            let mut bytes = vec![0x81; n];
            bytes.push(0x00);
            bytes
        };
        assert_eq!(check(&nested(limits::NESTING)), Ok(()));
        assert_eq!(check(&nested(limits::NESTING + 1)), Err(CborError::Nesting));
        assert_eq!(check(&nested(100_000)), Err(CborError::Nesting));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| Value::Integer(n.into())),
            any::<u64>().prop_map(|n| Value::Integer(n.into())),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
            ".{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map("[a-z]{0,6}", inner, 0..6).prop_map(|map| {
                    Value::Map(map.into_iter().map(|(k, v)| (Value::Text(k), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same_and_is_accepted(value in value()) {
            let bytes = encode_value(value.clone()).unwrap();
            prop_assert_eq!(check(&bytes), Ok(()));
            let again: Value = decode(&bytes).unwrap();
            prop_assert_eq!(encode_value(again).unwrap(), bytes);
        }

        #[test]
        fn accepted_bytes_are_the_only_encoding_of_their_value(
            bytes in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            if check(&bytes).is_ok() {
                let value: Value = decode(&bytes).unwrap();
                prop_assert_eq!(encode_value(value).unwrap(), bytes);
            }
        }

        #[test]
        fn changed_encodings_are_refused_or_stay_canonical(value in value(), at in any::<usize>(), bit in 0u8..8) {
            let mut bytes = encode_value(value).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(value) = decode::<Value>(&bytes) {
                prop_assert_eq!(encode_value(value).unwrap(), bytes);
            }
        }

        #[test]
        fn writer_and_encoder_agree(n in any::<u64>(), text in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut writer = Writer::default();
            writer.array(5).unsigned(n).text(&text).bytes(&bytes).null().bool(true);
            let value = Value::Array(vec![
                Value::Integer(n.into()), Value::Text(text), Value::Bytes(bytes), Value::Null, Value::Bool(true),
            ]);
            prop_assert_eq!(writer.finish(), encode_value(value).unwrap());
        }
    }
}
