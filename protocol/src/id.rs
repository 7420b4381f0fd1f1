//! Identifiers: one newtype each, so that they cannot be confused.
//!
//! Text forms: [`AuthorityId`] is bech32m with the prefix `tally`; the others
//! are lower-case hexadecimal. All of them compare by their bytes. Deliberately
//! absent: public fields and conversions between the types.

use core::fmt;
use core::str::FromStr;

use bech32::{Bech32m, Hrp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::limits;

/// Why a text or byte string is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// Wrong number of bytes or characters.
    #[error("wrong length for {0}")]
    Length(&'static str),
    /// A character outside the alphabet, mixed case, or a failed checksum.
    #[error("not a valid {0}")]
    Text(&'static str),
}

/// Defines a fixed-size identifier with hexadecimal text and CBOR byte-string form.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:literal, $label:literal) => {
        id_type!(@core $(#[$doc])* $name, $len, $label);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text, $label).map(Self)
            }
        }
    };
    (@core $(#[$doc:meta])* $name:ident, $len:literal, $label:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError::Length($label))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
                    Self::try_from(bytes.as_slice()).map_err(serde::de::Error::custom)
                }
            }
        }
    };
}

id_type!(@core
    /// An authority: SHA-256 of its inception event without signatures.
    AuthorityId, 32, "authority id");
id_type!(
    /// A business document across its versions; random, or derived from an imported source.
    RecordId, 16, "record id");
id_type!(
    /// A private sharing group; random.
    GroupId, 32, "group id");
id_type!(
    /// A node of the network: the Ed25519 key of its libp2p identity.
    NodeId, 32, "node id");
id_type!(
    /// A node of an RFC 6962 tree: SHA-256 of a leaf or of two children.
    Hash, 32, "hash");
id_type!(
    /// What a header says of its body: see [`crate::body`].
    Commitment, 32, "commitment");
id_type!(
    /// A group's epoch: leaf hash of the control entry that opened it.
    EpochId, 32, "epoch id");

const AUTHORITY_HRP: Hrp = Hrp::parse_unchecked("tally");

impl AuthorityId {
    /// The id that the unsigned bytes of an inception event give.
    #[must_use]
    pub fn of_inception(event: &[u8]) -> Self {
        Self(Sha256::digest(event).into())
    }

    /// Eight characters after the prefix: enough to tell partners apart on a screen, never to decide.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(14).collect()
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, AUTHORITY_HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl FromStr for AuthorityId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        const WHAT: &str = "authority id";
        // The bech32 alphabet allows upper case; one spelling only, so that ids compare as text.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseIdError::Text(WHAT));
        }
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|_| ParseIdError::Text(WHAT))?;
        if checked.hrp() != AUTHORITY_HRP {
            return Err(ParseIdError::Text(WHAT));
        }
        let bytes: Vec<u8> = checked.byte_iter().take(Self::LEN + 1).collect();
        let id = Self::try_from(bytes.as_slice())?;
        // Refuses non-zero padding bits, which the decoder would drop.
        if id.to_string() == text { Ok(id) } else { Err(ParseIdError::Text(WHAT)) }
    }
}

/// Name of a network; different networks never exchange anything.
///
/// One to 32 lower-case ASCII letters, digits or hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let fits = (1..=limits::NETWORK_NAME_BYTES).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match (fits, plain) {
            (false, _) => Err(ParseIdError::Length("network name")),
            (_, false) => Err(ParseIdError::Text("network name")),
            (true, true) => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for NetworkName {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may see a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Space {
    /// Lawfully public: anyone may replicate it.
    Public,
    /// A private sharing group: its members only.
    Group(GroupId),
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Group(group) => write!(f, "{group}"),
        }
    }
}

/// Which reign of an authority's log: recovery closes one generation and opens the next.
pub type Generation = u32;

/// One append-only log: an authority, the space it speaks in, and the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Whose log it is.
    pub authority: AuthorityId,
    /// Who may see it.
    pub space: Space,
    /// Its generation, counted from zero.
    pub generation: Generation,
}

impl LogId {
    /// The public log of `authority` in `generation`.
    #[must_use]
    pub const fn public(authority: AuthorityId, generation: Generation) -> Self {
        Self { authority, space: Space::Public, generation }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.authority, self.space, self.generation)
    }
}

/// Where in an authority's logs of one space a version of a record stands.
///
/// Text form: `generation.index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Generation of the log.
    pub generation: Generation,
    /// Index of the entry.
    pub index: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.index)
    }
}

impl FromStr for Version {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        const BAD: ParseIdError = ParseIdError::Text("version");
        let (generation, index) = text.split_once('.').ok_or(BAD)?;
        let version = Self {
            generation: generation.parse().map_err(|_| BAD)?,
            index: index.parse().map_err(|_| BAD)?,
        };
        if version.to_string() == text { Ok(version) } else { Err(BAD) }
    }
}

/// A full reference to a record or to one version of it: `AUTHORITY/RECORD[@VERSION]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef {
    /// Who says it.
    pub authority: AuthorityId,
    /// Which document.
    pub record: RecordId,
    /// Which version; the newest if absent.
    pub version: Option<Version>,
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.authority, self.record)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

impl FromStr for RecordRef {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (authority, rest) = text.split_once('/').ok_or(ParseIdError::Text("reference"))?;
        let (record, version) = match rest.split_once('@') {
            Some((record, version)) => (record, Some(version.parse()?)),
            None => (rest, None),
        };
        Ok(Self { authority: authority.parse()?, record: record.parse()?, version })
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn parse_hex<const N: usize>(
    text: &str,
    what: &'static str,
) -> Result<[u8; N], ParseIdError> {
    if text.len() != 2 * N {
        return Err(ParseIdError::Length(what));
    }
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |d: &u8| match d {
            b'0'..=b'9' => Ok(d - b'0'),
            b'a'..=b'f' => Ok(d - b'a' + 10),
            _ => Err(ParseIdError::Text(what)),
        };
        *byte = pair.iter().try_fold(0u8, |acc, d| Ok((acc << 4) | digit(d)?))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_id_has_one_spelling() {
        let id = AuthorityId::from_bytes([7; 32]);
        let text = id.to_string();
        assert!(text.starts_with("tally1"));
        assert_eq!(text.parse(), Ok(id));
        assert!(text.to_uppercase().parse::<AuthorityId>().is_err());
        assert!(text.replacen("tally1", "tallz1", 1).parse::<AuthorityId>().is_err());
    }

    #[test]
    fn every_changed_character_of_an_authority_id_is_refused() {
        let text = AuthorityId::from_bytes([42; 32]).to_string();
        for at in 0..text.len() {
            for to in "qpzry9x8gf2tvdw0s3jn54khce6mua7l1".chars() {
                let mut changed: Vec<char> = text.chars().collect();
                changed[at] = to;
                let changed: String = changed.into_iter().collect();
                assert_eq!(changed.parse::<AuthorityId>().is_ok(), changed == text, "{changed}");
            }
        }
    }

    #[test]
    fn references_round_trip() {
        let version = Some(Version { generation: 0, index: 17 });
        let full = RecordRef {
            authority: AuthorityId::from_bytes([1; 32]),
            record: RecordId::from_bytes([0xab; 16]),
            version,
        };
        assert_eq!(full.to_string().parse(), Ok(full));
        assert!("0.017".parse::<Version>().is_err());
        assert!("nonsense".parse::<RecordRef>().is_err());
    }

    #[test]
    fn network_names_are_plain() {
        assert!("uk-councils".parse::<NetworkName>().is_ok());
        for bad in ["", "UK", "a/b", "a b", &"x".repeat(33)] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad}");
        }
    }
}
