//! Signing keys: what is signed, by whom, is decided here and nowhere else.
//!
//! A public key is a type byte and bytes; today there is Ed25519 only.
//! **Invariant:** a [`PublicKey`] is the canonical encoding of a point of large
//! order, and a signature counts only by `verify_strict`. So a signature, once
//! accepted, is accepted by every implementation that follows RFC 8032 with or
//! without the cofactor. Deliberately absent: batch verification, which accepts
//! at random what strict verification refuses, and the making of seeds.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::id::{parse_hex, write_hex};

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why bytes or a text are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A type byte this version does not know.
    #[error("unknown key type {0}")]
    Kind(u8),
    /// Wrong number of bytes for the type.
    #[error("wrong length for a key")]
    Length,
    /// The bytes are no point of the curve, or not its only spelling.
    #[error("not the canonical encoding of a key")]
    Encoding,
    /// A key of small order, under which one signature fits many messages.
    #[error("a weak key, under which anybody could sign")]
    Weak,
    /// The text is not `ed25519:` and 64 lower-case hexadecimal digits.
    #[error("not a valid key text")]
    Text,
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Wrong number of bytes for the key's type.
    #[error("wrong length for a signature")]
    Length,
    /// The key did not sign this message.
    #[error("the signature does not fit the message and key")]
    Invalid,
}

/// Type byte of a key, as in C2SP signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyType {
    /// Ed25519 (RFC 8032), 32 bytes.
    Ed25519 = 0x01,
}

/// A public signing key that has passed every check.
#[derive(Clone, Copy)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// An Ed25519 key from its RFC 8032 encoding.
    ///
    /// # Errors
    /// [`KeyError::Encoding`] for bytes that are no point or a non-canonical
    /// spelling of one; [`KeyError::Weak`] for the points of small order.
    pub fn ed25519(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_reduced(bytes) {
            return Err(KeyError::Encoding);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Encoding)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// A key from its type byte and bytes, as identity events and notes carry it.
    ///
    /// # Errors
    /// [`KeyError::Kind`] for a type not known here, [`KeyError::Length`], and
    /// those of [`PublicKey::ed25519`].
    pub fn from_parts(kind: u8, bytes: &[u8]) -> Result<Self, KeyError> {
        if kind != KeyType::Ed25519 as u8 {
            return Err(KeyError::Kind(kind));
        }
        Self::ed25519(bytes.try_into().map_err(|_| KeyError::Length)?)
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> KeyType {
        KeyType::Ed25519
    }

    /// Its bytes, without the type.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Verifies a signature over exactly `message`.
    ///
    /// # Errors
    /// [`SignatureError::Length`] or [`SignatureError::Invalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let bytes: &[u8; SIGNATURE_BYTES] =
            signature.try_into().map_err(|_| SignatureError::Length)?;
        self.0
            .verify_strict(message, &Signature::from_bytes(bytes))
            .map_err(|_| SignatureError::Invalid)
    }
}

/// Whether the y coordinate is below the field's prime, 2^255 - 19 (RFC 8032
/// section 5.1.3). The 19 values that are not have a second spelling.
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let [least, middle @ .., most] = bytes;
    *least < 0xed || most & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.kind(), self.as_bytes()).cmp(&(other.kind(), other.as_bytes()))
    }
}

impl core::hash::Hash for PublicKey {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.kind(), self.as_bytes()).hash(state);
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        write_hex(f, self.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let hex = text.strip_prefix("ed25519:").ok_or(KeyError::Text)?;
        Self::ed25519(&parse_hex(hex, "key").map_err(|_| KeyError::Text)?)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.kind() as u8, serde_bytes::Bytes::new(self.as_bytes())).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let (kind, bytes) = <(u8, serde_bytes::ByteBuf)>::deserialize(deserializer)?;
            Self::from_parts(kind, &bytes).map_err(serde::de::Error::custom)
        }
    }
}

/// A secret signing key; wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The Ed25519 key that grows from a seed of 32 random bytes (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, for a key file.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        // A key grown from a seed is a multiple of the base point, never weak.
        PublicKey(self.0.verifying_key())
    }

    /// Signs exactly `message`; deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use proptest::prelude::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let secret = key(0xa7);
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "SecretKey(..) Some(SecretKey(..))");
        assert_eq!(format!("{secret:#?}"), "SecretKey(..)");
    }

    #[test]
    fn a_seed_gives_its_key_back() {
        let secret = key(3);
        assert_eq!(SecretKey::from_seed(*secret.to_seed()).public(), secret.public());
        assert_ne!(key(4).public(), secret.public());
    }

    #[test]
    fn keys_with_a_second_spelling_are_refused() {
        // y = p + 3 .. p + 18 spell the points with y = 3 .. 18 a second time.
        for low in 0xed..=0xffu8 {
            for sign in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, sign);
                assert_eq!(PublicKey::ed25519(&bytes), Err(KeyError::Encoding), "{low:x} {sign:x}");
            }
        }
    }

    #[test]
    fn weak_keys_are_refused() {
        let one = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        assert_eq!(PublicKey::ed25519(&one), Err(KeyError::Weak));
        assert_eq!(PublicKey::ed25519(&[0; 32]), Err(KeyError::Weak));
        assert_eq!(
            PublicKey::ed25519(&{
                let mut minus_one = [0xff; 32];
                (minus_one[0], minus_one[31]) = (0xec, 0x7f);
                minus_one
            }),
            Err(KeyError::Weak)
        );
    }

    #[test]
    fn the_encodings_have_one_spelling_each() {
        let public = key(9).public();
        let text = public.to_string();
        assert_eq!(text.len(), "ed25519:".len() + 64);
        assert_eq!(text.parse(), Ok(public));
        for bad in [text.to_uppercase(), text.replace("ed25519:", ""), format!("{text}0")] {
            assert_eq!(bad.parse::<PublicKey>(), Err(KeyError::Text), "{bad}");
        }
        assert_eq!(serde_json::to_string(&public).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<PublicKey>(&format!("\"{text}\"")).unwrap(), public);

        let encoded = cbor::encode(&public).unwrap();
        assert_eq!(encoded[..4], [0x82, 0x01, 0x58, 0x20]);
        assert_eq!(cbor::decode(&encoded), Ok(public));
        let mut other_type = encoded.clone();
        other_type[1] = 2;
        assert!(cbor::decode::<PublicKey>(&other_type).is_err());
        assert_eq!(PublicKey::from_parts(2, public.as_bytes()), Err(KeyError::Kind(2)));
        assert_eq!(PublicKey::from_parts(1, &public.as_bytes()[1..]), Err(KeyError::Length));
    }

    proptest! {
        #[test]
        fn a_signature_fits_its_message_and_key_only(
            seed: u8, message in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..64, bit in 0u8..8,
        ) {
            let secret = key(seed);
            let signature = secret.sign(&message);
            let public = secret.public();
            prop_assert_eq!(public.verify(&message, &signature), Ok(()));
            prop_assert_eq!(secret.sign(&message), signature);
            let mut bad = signature;
            bad[at] ^= 1 << bit;
            prop_assert_eq!(public.verify(&message, &bad), Err(SignatureError::Invalid));
            let mut longer = message.clone();
            longer.push(0);
            prop_assert_eq!(public.verify(&longer, &signature), Err(SignatureError::Invalid));
            prop_assert_eq!(public.verify(&message, &signature[1..]), Err(SignatureError::Length));
            let other = key(seed.wrapping_add(1)).public();
            prop_assert_eq!(other.verify(&message, &signature), Err(SignatureError::Invalid));
        }
    }
}
