//! C2SP signed-note: text signed by one or more keys.
//!
//! A note is text, an empty line, and signature lines `— NAME BASE64`. The key's
//! name and a four-byte id say which key should have signed; the id is no
//! security, the configured key is. Two kinds of signature are known here:
//! plain Ed25519 and the timestamped `cosignature/v1` of C2SP tlog-cosignature.
//!
//! As C2SP says, lines by unknown keys are ignored, and one bad line by a known
//! key refuses the whole note. Several good lines by one key count once, with
//! the earliest time: what survives is that the text existed by then.
//! [`UnverifiedNote::verify_attributed`] is for files somebody is asked to
//! believe: it refuses lines that nobody accounts for.
//!
//! **Invariant:** every accepted note has one spelling, so a note taken apart
//! and put together again is the same bytes. Deliberately absent: notes without
//! a signature, and any meaning of the text (see [`crate::checkpoint`]).

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::key::{PublicKey, SIGNATURE_BYTES, SecretKey};
use crate::limits;
use crate::time::UnixTime;

/// Em dash and space, the start of every signature line.
const LINE_START: &str = "\u{2014} ";
/// Bytes of a key id.
const KEY_ID_BYTES: usize = 4;
/// Latest time a cosignature can state (C2SP tlog-cosignature).
const LATEST: u64 = u64::MAX >> 1;

/// Why bytes are no signed note, or not one to believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Larger than [`limits::NOTE_BYTES`] or with more than [`limits::NOTE_SIGNATURES`] lines.
    #[error("the note is larger than the limit")]
    TooLarge,
    /// Not UTF-8, or with control characters other than line feed.
    #[error("the note is not plain text")]
    Text,
    /// No empty line, no signature line, or no line feed at the end.
    #[error("the note has no signatures after its text")]
    Structure,
    /// A line among the signatures that is none.
    #[error("a signature line is malformed")]
    Line,
    /// A name that is empty, too long, or has spaces or plus signs.
    #[error("not a valid key name")]
    KeyName,
    /// A verifier key text that is malformed or of an unknown type.
    #[error("not a valid verifier key")]
    VerifierKey,
    /// Two different keys share name and id, so lines cannot be attributed.
    #[error("two of the given keys cannot be told apart")]
    AmbiguousKeys,
    /// A line in the name of a given key does not fit the text.
    #[error("the signature of {0} does not fit the note")]
    BadSignature(KeyName),
    /// None of the given keys signed.
    #[error("none of the known keys signed the note")]
    Unsigned,
    /// A line that none of the given keys accounts for, where every line must be.
    #[error("nobody known accounts for the signature of {0}")]
    UnknownSignature(KeyName),
    /// A cosignature time beyond what the format can state.
    #[error("the time of a cosignature is out of range")]
    Time,
}

/// Name of a key: not empty, at most [`limits::KEY_NAME_BYTES`], without
/// white space, control characters or plus signs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name put together from parts that are known to be plain and short.
    pub(crate) const fn from_plain(name: String) -> Self {
        Self(name)
    }
}

impl FromStr for KeyName {
    type Err = NoteError;

    fn from_str(name: &str) -> Result<Self, NoteError> {
        let fits = (1..=limits::KEY_NAME_BYTES).contains(&name.len());
        let banned = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if fits && !name.contains(banned) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NoteError::KeyName)
        }
    }
}

impl TryFrom<String> for KeyName {
    type Error = NoteError;

    fn try_from(name: String) -> Result<Self, NoteError> {
        name.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a signature signs, by its C2SP type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Algorithm {
    /// Ed25519 over the text.
    Ed25519 = 0x01,
    /// Ed25519 over `cosignature/v1`, a time, and the text.
    CosignatureV1 = 0x04,
}

/// A key that notes are checked with: name, algorithm and key.
///
/// Text form, C2SP's `vkey`: `NAME+ID+BASE64`, id in lower-case hexadecimal,
/// base64 of the type byte and the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: Algorithm,
    key: PublicKey,
    id: u32,
}

impl VerifierKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(name: KeyName, algorithm: Algorithm, key: PublicKey) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', algorithm as u8])
            .chain_update(key.as_bytes())
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        Self { name, algorithm, key, id: u32::from_be_bytes([a, b, c, d]) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The first four bytes of SHA-256 over name, line feed, type byte and key.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.id
    }

    /// Checks a signature in this key's name; gives the time if it states one.
    fn check(&self, text: &str, signature: &[u8]) -> Result<Option<UnixTime>, NoteError> {
        let bad = || NoteError::BadSignature(self.name.clone());
        match self.algorithm {
            Algorithm::Ed25519 => {
                self.key.verify(text.as_bytes(), signature).map_err(|_| bad())?;
                Ok(None)
            }
            Algorithm::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or_else(bad)?;
                let time = UnixTime::from_seconds(u64::from_be_bytes(*time));
                let message = cosigned_message(text, time).map_err(|_| bad())?;
                self.key.verify(message.as_bytes(), signature).map_err(|_| bad())?;
                Ok(Some(time))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm as u8];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        const BAD: NoteError = NoteError::VerifierKey;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BAD);
        };
        let mut buffer = [0; 1 + 32 + 3];
        let len = STANDARD.decode_slice(key, &mut buffer).map_err(|_| BAD)?;
        let (algorithm, key) = match buffer.get(..len).and_then(<[u8]>::split_first) {
            Some((0x01, key)) => (Algorithm::Ed25519, key),
            Some((0x04, key)) => (Algorithm::CosignatureV1, key),
            _ => return Err(BAD),
        };
        let key = PublicKey::ed25519(key.try_into().map_err(|_| BAD)?).map_err(|_| BAD)?;
        let parsed = Self::new(name.parse()?, algorithm, key);
        // The id must be the right one, in its one spelling.
        if parsed.to_string() == text { Ok(parsed) } else { Err(BAD) }
    }
}

/// One signature line, well-formed and not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: KeyName,
    key_id: u32,
    signature: Vec<u8>,
}

impl SignatureLine {
    /// In whose name it is.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Which of that name's keys it claims.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The line by a key, from the key id and signature that it has; `None` if they
    /// are of another key.
    pub(crate) fn from_parts(key: &VerifierKey, bytes: &[u8]) -> Option<Self> {
        let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        let key_id = Some(u32::from_be_bytes(*id)).filter(|id| *id == key.id)?;
        (!signature.is_empty()).then(|| Self {
            name: key.name.clone(),
            key_id,
            signature: signature.to_vec(),
        })
    }

    /// Key id and signature: what [`SignatureLine::from_parts`] takes.
    pub(crate) fn parts(&self) -> Vec<u8> {
        [self.key_id.to_be_bytes().as_slice(), &self.signature].concat()
    }

    /// Whether this line stays, of two by one key; see [`VerifiedNote::add`].
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.signature < other.signature
    }

    /// The last two bytes of the signature.
    pub(crate) fn tail(&self) -> u16 {
        self.signature.last_chunk().map_or(0, |tail| u16::from_be_bytes(*tail))
    }

    /// Bytes that it takes, about.
    pub(crate) const fn size(&self) -> usize {
        self.name.0.len() + self.signature.len()
    }

    fn by(&self, key: &VerifierKey) -> bool {
        (&self.name, self.key_id) == (&key.name, key.id)
    }
}

impl fmt::Display for SignatureLine {
    /// The line without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for SignatureLine {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        if line.len() > limits::NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let line = line.strip_prefix(LINE_START).ok_or(NoteError::Line)?;
        let (name, encoded) = line.split_once(' ').ok_or(NoteError::Line)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Line)?;
        let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>().ok_or(NoteError::Line)?;
        if signature.is_empty() {
            return Err(NoteError::Line);
        }
        let (key_id, signature) = (u32::from_be_bytes(*id), signature.to_vec());
        Ok(Self { name: name.parse()?, key_id, signature })
    }
}

/// A well-formed note of which nothing is known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedNote {
    text: String,
    lines: Vec<SignatureLine>,
}

impl UnverifiedNote {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`], [`NoteError::Text`], [`NoteError::Structure`],
    /// [`NoteError::Line`] or [`NoteError::KeyName`].
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > limits::NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let note = core::str::from_utf8(note).map_err(|_| NoteError::Text)?;
        plain(note)?;
        let split = note.rfind("\n\n").ok_or(NoteError::Structure)?;
        let (text, rest) = note.split_at_checked(split + 1).ok_or(NoteError::Structure)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::Structure)?;
        if lines.split('\n').count() > limits::NOTE_SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        let lines = lines.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), lines })
    }

    /// The text as claimed, for finding the keys to verify with; nothing else may rest on it.
    #[must_use]
    pub fn claimed_text(&self) -> &str {
        &self.text
    }

    /// The signature lines as claimed.
    #[must_use]
    pub fn claimed_signatures(&self) -> &[SignatureLine] {
        &self.lines
    }

    /// The note's bytes, as received.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assemble(&self.text, &self.lines)
    }

    /// The note without the lines for which `left_out` holds.
    #[must_use]
    pub fn without(mut self, left_out: impl Fn(&SignatureLine) -> bool) -> Self {
        self.lines.retain(|line| !left_out(line));
        self
    }

    /// Verifies with the keys given; lines by others are ignored.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a line in the name of a given key does
    /// not fit; [`NoteError::Unsigned`] if none of the keys signed;
    /// [`NoteError::AmbiguousKeys`].
    pub fn verify(self, keys: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
        let mut known = BTreeMap::new();
        for key in keys {
            if known.insert((&key.name, key.id), key).is_some_and(|other| other != key) {
                return Err(NoteError::AmbiguousKeys);
            }
        }
        let mut signers: Vec<Signer> = Vec::new();
        let mut unknown = Vec::new();
        for line in &self.lines {
            let Some(key) = known.get(&(&line.name, line.key_id)) else {
                unknown.push(line.name.clone());
                continue;
            };
            let time = key.check(&self.text, &line.signature)?;
            match signers.iter_mut().find(|signer| signer.key == **key) {
                Some(signer) => signer.time = signer.time.min(time),
                None => signers.push(Signer { key: (*key).clone(), time }),
            }
        }
        if signers.is_empty() {
            return Err(NoteError::Unsigned);
        }
        Ok(VerifiedNote { text: self.text, lines: self.lines, signers, unknown })
    }

    /// As [`UnverifiedNote::verify`], but every line must be by one of the keys given.
    ///
    /// # Errors
    /// In addition [`NoteError::UnknownSignature`].
    pub fn verify_attributed(self, keys: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
        let note = self.verify(keys)?;
        match note.unknown.first() {
            Some(name) => Err(NoteError::UnknownSignature(name.clone())),
            None => Ok(note),
        }
    }
}

/// A key that signed a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: VerifierKey,
    /// The time its cosignature states; the earliest, if it signed more than once.
    pub time: Option<UnixTime>,
}

/// A note signed by at least one key that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote {
    text: String,
    lines: Vec<SignatureLine>,
    signers: Vec<Signer>,
    unknown: Vec<KeyName>,
}

impl VerifiedNote {
    /// The signed text, with its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who signed, once per key, in the order of their first lines.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Names on lines that no given key accounts for.
    #[must_use]
    pub fn unknown(&self) -> &[KeyName] {
        &self.unknown
    }

    /// All signature lines, as received.
    #[must_use]
    pub fn lines(&self) -> &[SignatureLine] {
        &self.lines
    }

    /// The note's bytes, as received, with the lines appended since.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assemble(&self.text, &self.lines)
    }

    /// The note without the lines that no given key accounts for: what a node
    /// keeps and passes on, so that nobody can fill it with lines of their own.
    #[must_use]
    pub fn attributed(mut self) -> Self {
        let signers = &self.signers;
        self.lines.retain(|line| signers.iter().any(|signer| line.by(&signer.key)));
        self.unknown.clear();
        self
    }

    /// The note with its lines in one order: those in the name `first`, then by
    /// name; and of each signer the one that [`VerifiedNote::add`] would keep. So
    /// whoever has the same lines has the same bytes.
    #[must_use]
    pub fn sorted(mut self, first: &KeyName) -> Self {
        let place = |name: &KeyName, id: u32| (name != first, name.clone(), id);
        self.lines.sort_by_key(|line| (place(line.name(), line.key_id()), line.signature.clone()));
        let signers = &self.signers;
        self.lines.dedup_by(|line, kept| {
            let same = (line.name(), line.key_id()) == (kept.name(), kept.key_id());
            same && signers.iter().any(|signer| kept.by(&signer.key))
        });
        self.signers.sort_by_key(|signer| place(signer.key.name(), signer.key.key_id()));
        self
    }

    /// The lines that no given key accounts for, unverified.
    pub fn unattributed(&self) -> impl Iterator<Item = &SignatureLine> {
        let known = |line: &&SignatureLine| self.signers.iter().any(|signer| line.by(&signer.key));
        self.lines.iter().filter(move |line| !known(line))
    }

    /// The note with the lines of those signers only whose keys are to stay.
    #[must_use]
    pub(crate) fn by(mut self, stays: impl Fn(&VerifierKey) -> bool) -> Self {
        self.signers.retain(|signer| stays(&signer.key));
        self.attributed()
    }

    /// The note with one line by `key` and no other; `None` if it has none that was verified.
    #[must_use]
    pub fn only(mut self, key: &VerifierKey) -> Option<Self> {
        self.signers.retain(|signer| signer.key == *key);
        let line = self.lines.into_iter().find(|line| line.by(key))?;
        (self.lines, self.unknown) = (vec![line], Vec::new());
        (!self.signers.is_empty()).then_some(self)
    }

    /// Adds a line by a further key after checking it. Of several lines by one
    /// key the one whose signature has the lowest bytes stays: the earliest, if it
    /// states a time. So whoever has seen the same lines keeps the same one.
    ///
    /// # Errors
    /// [`NoteError::UnknownSignature`] if the line is not in the name of `key`;
    /// [`NoteError::BadSignature`]; [`NoteError::TooLarge`] if the note is full.
    /// The note is unchanged then.
    pub fn add(&mut self, line: SignatureLine, key: &VerifierKey) -> Result<Signer, NoteError> {
        if !line.by(key) {
            return Err(NoteError::UnknownSignature(line.name));
        }
        let time = key.check(&self.text, &line.signature)?;
        let signer = Signer { key: key.clone(), time };
        self.put(line, signer)?;
        let stays = self.signers.iter().find(|signer| signer.key == *key);
        Ok(stays.cloned().unwrap_or(Signer { key: key.clone(), time }))
    }

    /// Takes over the lines that another note of the same text was verified with,
    /// as [`VerifiedNote::add`] would, without checking them once more. Those by
    /// keys that signed already replace the ones that are here only if `replaces`.
    pub fn merge(&mut self, other: &Self, replaces: bool) -> Merged {
        let mut merged = Merged::default();
        if self.text != other.text {
            return merged;
        }
        for signer in &other.signers {
            let known = self.signers.iter().any(|known| known.key == signer.key);
            let lines = other.lines.iter().filter(|line| line.by(&signer.key));
            let lowest = lines.min_by(|one, two| one.signature.cmp(&two.signature));
            let Some(lowest) = lowest.filter(|_| !known || replaces) else { continue };
            if self.put(lowest.clone(), signer.clone()) == Ok(true) {
                *(if known { &mut merged.replaced } else { &mut merged.added }) += 1;
            }
        }
        merged
    }

    /// A line that was checked; says whether it changes anything.
    fn put(&mut self, line: SignatureLine, signer: Signer) -> Result<bool, NoteError> {
        // A line in its name that nobody has checked does not count.
        let signed = self.signers.iter().any(|held| held.key == signer.key);
        let held = self.lines.iter().filter(|held| signed && held.by(&signer.key));
        let lowest = held.map(|held| &held.signature).min();
        match lowest {
            Some(lowest) if *lowest <= line.signature => return Ok(false),
            Some(_) => {
                self.lines.retain(|held| !held.by(&signer.key));
                self.signers.retain(|held| held.key != signer.key);
            }
            None => {
                let len = self.to_bytes().len() + line.to_string().len() + 1;
                if self.lines.len() >= limits::NOTE_SIGNATURES || len > limits::NOTE_BYTES {
                    return Err(NoteError::TooLarge);
                }
            }
        }
        self.signers.push(signer);
        self.lines.push(line);
        Ok(true)
    }
}

/// What one note gained from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Keys that had not signed.
    pub added: usize,
    /// Keys that had, and of which the other note had an earlier line.
    pub replaced: usize,
}

/// Signs `text` as a note under the key's `name`.
///
/// # Errors
/// [`NoteError::Text`] for control characters or a missing line feed at the
/// end; [`NoteError::TooLarge`].
pub fn sign_note(text: &str, name: &KeyName, key: &SecretKey) -> Result<Vec<u8>, NoteError> {
    plain(text)?;
    if !text.ends_with('\n') {
        return Err(NoteError::Text);
    }
    let note = assemble(text, &[signature_line(text, name, key)]);
    if note.len() > limits::NOTE_BYTES { Err(NoteError::TooLarge) } else { Ok(note) }
}

/// The line that signs `text` plainly.
pub(crate) fn signature_line(text: &str, name: &KeyName, key: &SecretKey) -> SignatureLine {
    let verifier = VerifierKey::new(name.clone(), Algorithm::Ed25519, key.public());
    let signature = key.sign(text.as_bytes()).to_vec();
    SignatureLine { name: verifier.name, key_id: verifier.id, signature }
}

/// The `cosignature/v1` line that states that `text`, a checkpoint's, was seen at `time`.
///
/// # Errors
/// [`NoteError::Time`] for a time beyond 2^63 - 1.
pub fn cosignature_line(
    text: &str,
    name: &KeyName,
    key: &SecretKey,
    time: UnixTime,
) -> Result<SignatureLine, NoteError> {
    let verifier = VerifierKey::new(name.clone(), Algorithm::CosignatureV1, key.public());
    let mut signature = Vec::with_capacity(8 + SIGNATURE_BYTES);
    signature.extend_from_slice(&time.as_seconds().to_be_bytes());
    signature.extend_from_slice(&key.sign(cosigned_message(text, time)?.as_bytes()));
    Ok(SignatureLine { name: verifier.name, key_id: verifier.id, signature })
}

/// What a cosigner signs: C2SP tlog-cosignature, "Ed25519 signed message".
fn cosigned_message(text: &str, time: UnixTime) -> Result<String, NoteError> {
    let seconds = time.as_seconds();
    if seconds > LATEST {
        return Err(NoteError::Time);
    }
    Ok(format!("cosignature/v1\ntime {seconds}\n{text}"))
}

/// Refuses ASCII control characters other than line feed.
fn plain(text: &str) -> Result<(), NoteError> {
    let control = |byte: u8| byte < 0x20 && byte != b'\n';
    if text.bytes().any(control) { Err(NoteError::Text) } else { Ok(()) }
}

fn assemble(text: &str, lines: &[SignatureLine]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{text}\n{lines}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn plain_key(who: &str, seed: u8) -> VerifierKey {
        VerifierKey::new(name(who), Algorithm::Ed25519, key(seed).public())
    }

    fn witness(who: &str, seed: u8) -> VerifierKey {
        VerifierKey::new(name(who), Algorithm::CosignatureV1, key(seed).public())
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn signed(text: &str) -> Vec<u8> {
        sign_note(text, &name("clay.example/log"), &key(1)).unwrap()
    }

    fn with(note: &[u8], lines: &[SignatureLine]) -> Vec<u8> {
        let mut note = note.to_vec();
        lines.iter().for_each(|line| note.extend_from_slice(format!("{line}\n").as_bytes()));
        note
    }

    fn parsed(note: &[u8]) -> UnverifiedNote {
        UnverifiedNote::parse(note).unwrap()
    }

    #[test]
    fn a_signed_note_verifies_and_names_its_signer() {
        let note = signed("first\n\nthird\n");
        let unverified = parsed(&note);
        assert_eq!(unverified.claimed_text(), "first\n\nthird\n");
        assert_eq!(unverified.to_bytes(), note);
        let log = plain_key("clay.example/log", 1);
        let verified = unverified.verify(std::slice::from_ref(&log)).unwrap();
        assert_eq!(verified.text(), "first\n\nthird\n");
        assert_eq!(verified.signers(), [Signer { key: log, time: None }]);
        assert_eq!(verified.to_bytes(), note);
    }

    #[test]
    fn lines_are_attributed_by_name_and_id_together() {
        let note = signed("text\n");
        for stranger in [
            plain_key("clay.example/other", 1),
            plain_key("clay.example/log", 2),
            witness("clay.example/log", 1),
        ] {
            assert_eq!(parsed(&note).verify(&[stranger]), Err(NoteError::Unsigned));
        }
        assert_eq!(parsed(&note).verify(&[]), Err(NoteError::Unsigned));
    }

    #[test]
    fn unknown_lines_are_ignored_in_notes_and_refused_in_files() {
        let log = plain_key("clay.example/log", 1);
        let stranger = signature_line("text\n", &name("elsewhere.example"), &key(7));
        let note = with(&signed("text\n"), &[stranger]);
        let verified = parsed(&note).verify(std::slice::from_ref(&log)).unwrap();
        assert_eq!(verified.unknown(), [name("elsewhere.example")]);
        assert_eq!(verified.to_bytes(), note);
        assert_eq!(verified.attributed().to_bytes(), signed("text\n"));
        let refused = parsed(&note).verify_attributed(std::slice::from_ref(&log));
        assert_eq!(refused, Err(NoteError::UnknownSignature(name("elsewhere.example"))));
        assert!(parsed(&signed("text\n")).verify_attributed(&[log]).is_ok());
    }

    #[test]
    fn one_bad_line_by_a_known_key_refuses_the_note() {
        let log = plain_key("clay.example/log", 1);
        let other = plain_key("dale.example", 2);
        let bad = signature_line("another text\n", &name("dale.example"), &key(2));
        let note = with(&signed("text\n"), std::slice::from_ref(&bad));
        let refused = Err(NoteError::BadSignature(name("dale.example")));
        assert_eq!(parsed(&note).verify(&[log.clone(), other.clone()]), refused);
        assert!(parsed(&note).verify(std::slice::from_ref(&log)).is_ok());
        // Also behind a good line by the same key.
        let good = signature_line("text\n", &name("dale.example"), &key(2));
        let note = with(&signed("text\n"), &[good, bad]);
        assert_eq!(parsed(&note).verify(&[log, other]), refused);
    }

    #[test]
    fn cosignatures_state_a_time_that_is_signed() {
        let log = plain_key("clay.example/log", 1);
        let dale = witness("dale.example/witness", 3);
        let line = cosignature_line("text\n", dale.name(), &key(3), at(1_700_000_000)).unwrap();
        let note = with(&signed("text\n"), std::slice::from_ref(&line));
        let verified = parsed(&note).verify(&[log.clone(), dale.clone()]).unwrap();
        assert_eq!(
            verified.signers()[1],
            Signer { key: dale.clone(), time: Some(at(1_700_000_000)) }
        );
        for byte in 0..line.signature.len() {
            let mut bad = line.clone();
            bad.signature[byte] ^= 1;
            let note = with(&signed("text\n"), &[bad]);
            let refused = Err(NoteError::BadSignature(dale.name().clone()));
            assert_eq!(parsed(&note).verify(&[log.clone(), dale.clone()]), refused);
        }
        let late = cosignature_line("text\n", dale.name(), &key(3), at(1 << 63));
        assert_eq!(late, Err(NoteError::Time));
        assert!(cosignature_line("text\n", dale.name(), &key(3), at(LATEST)).is_ok());
    }

    #[test]
    fn a_plain_signature_is_no_cosignature_and_the_reverse() {
        let (log, dale) = (plain_key("a.example", 1), witness("a.example", 1));
        assert_ne!(log.key_id(), dale.key_id());
        let mut line = cosignature_line("text\n", log.name(), &key(1), at(5)).unwrap();
        line.key_id = log.key_id();
        let note = assemble("text\n", &[line]);
        assert_eq!(parsed(&note).verify(&[log]), Err(NoteError::BadSignature(name("a.example"))));
        let mut line = signature_line("cosignature/v1\ntime 5\ntext\n", dale.name(), &key(1));
        line.key_id = dale.key_id();
        let note = assemble("text\n", &[line]);
        assert_eq!(parsed(&note).verify(&[dale]), Err(NoteError::BadSignature(name("a.example"))));
    }

    #[test]
    fn repeated_lines_count_once_with_the_earliest_time() {
        let dale = witness("dale.example/witness", 3);
        let line = |seconds| cosignature_line("text\n", dale.name(), &key(3), at(seconds)).unwrap();
        let note = assemble("text\n", &[line(30), line(10), line(30), line(20)]);
        let verified = parsed(&note).verify_attributed(&[dale.clone(), dale.clone()]).unwrap();
        assert_eq!(verified.signers(), [Signer { key: dale, time: Some(at(10)) }]);
        assert_eq!(verified.to_bytes(), note);
    }

    #[test]
    fn adding_checks_the_line_and_adds_a_key_once() {
        let log = plain_key("clay.example/log", 1);
        let dale = witness("dale.example/witness", 3);
        let line = cosignature_line("text\n", dale.name(), &key(3), at(10)).unwrap();
        let mut note = parsed(&signed("text\n")).verify(std::slice::from_ref(&log)).unwrap();
        let before = note.clone();
        assert_eq!(
            note.add(line.clone(), &log),
            Err(NoteError::UnknownSignature(dale.name().clone()))
        );
        let mut bad = line.clone();
        bad.signature[20] ^= 1;
        assert_eq!(note.add(bad, &dale), Err(NoteError::BadSignature(dale.name().clone())));
        assert_eq!(note, before);
        let signer = Signer { key: dale.clone(), time: Some(at(10)) };
        assert_eq!(note.add(line.clone(), &dale), Ok(signer.clone()));
        let later = cosignature_line("text\n", dale.name(), &key(3), at(99)).unwrap();
        assert_eq!(note.add(later, &dale), Ok(signer));
        assert_eq!(note.to_bytes(), with(&signed("text\n"), &[line]));
        assert_eq!(parsed(&note.to_bytes()).verify(&[log, dale]), Ok(note));
    }

    #[test]
    fn a_full_note_takes_no_more_lines() {
        let line = |seed| signature_line("text\n", &name("a.example"), &key(seed));
        let count = u8::try_from(limits::NOTE_SIGNATURES).unwrap();
        let full = assemble("text\n", &(0..count).map(line).collect::<Vec<_>>());
        let over = assemble("text\n", &(0..=count).map(line).collect::<Vec<_>>());
        assert_eq!(UnverifiedNote::parse(&over), Err(NoteError::TooLarge));
        let mut note = parsed(&full).verify(&[plain_key("a.example", 0)]).unwrap();
        let extra = plain_key("a.example", count);
        assert_eq!(note.add(line(count), &extra), Err(NoteError::TooLarge));
        let mut own = note.attributed();
        assert!(own.add(line(count), &extra).is_ok());
    }

    #[test]
    fn malformed_notes_are_refused() {
        let good = String::from_utf8(signed("text\n")).unwrap();
        let signature = good.strip_prefix("text\n\n").unwrap();
        let (start, encoded) = signature.trim_end().rsplit_once(' ').unwrap();
        let cases: Vec<(String, NoteError)> = vec![
            (String::new(), NoteError::Structure),
            ("text\n".into(), NoteError::Structure),
            ("text\n\n".into(), NoteError::Structure),
            ("text\n\n\n".into(), NoteError::Structure),
            (format!("text\n{signature}"), NoteError::Structure),
            (good.trim_end().into(), NoteError::Structure),
            (format!("{good}\n"), NoteError::Structure),
            (format!("{good}trailing\n"), NoteError::Line),
            (good.replace('\n', "\r\n"), NoteError::Text),
            (good.replace("text", "te\txt"), NoteError::Text),
            (good.replace("text", "te\0xt"), NoteError::Text),
            (good.replace('\u{2014}', "-"), NoteError::Line),
            (good.replace("\u{2014} ", "\u{2014}"), NoteError::Line),
            (good.replace("\u{2014} ", "\u{2014}  "), NoteError::Line),
            (format!("text\n\n{start} {}\n", encoded.trim_end_matches('=')), NoteError::Line),
            (format!("text\n\n{start} {encoded} \n"), NoteError::Line),
            (format!("text\n\n{start} {encoded} x\n"), NoteError::Line),
            (format!("text\n\n{start} {}\n", STANDARD.encode([1, 2, 3, 4])), NoteError::Line),
            (format!("text\n\n{start} \n"), NoteError::Line),
            (good.replace("clay.example/log", "clay+log"), NoteError::KeyName),
            (good.replace("clay.example/log", "clay\u{a0}log"), NoteError::KeyName),
            (good.replace("clay.example/log", &"x".repeat(257)), NoteError::KeyName),
            (good.replace("text", &"x".repeat(limits::NOTE_BYTES)), NoteError::TooLarge),
        ];
        for (note, error) in cases {
            assert_eq!(UnverifiedNote::parse(note.as_bytes()), Err(error), "{note:?}");
        }
        assert_eq!(UnverifiedNote::parse(b"te\xffxt\n\n"), Err(NoteError::Text));
    }

    #[test]
    fn base64_has_one_spelling() {
        let good = String::from_utf8(signed("text\n")).unwrap();
        // 68 bytes leave four unused bits before the padding; each must be zero.
        let stem = good.strip_suffix("=\n").unwrap();
        let last = stem.chars().last().unwrap();
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars() {
            let changed = format!("{}{other}=\n", &stem[..stem.len() - 1]);
            if let Ok(note) = UnverifiedNote::parse(changed.as_bytes()) {
                assert_eq!(note.to_bytes(), changed.as_bytes());
                let verified = note.verify(&[plain_key("clay.example/log", 1)]);
                assert_eq!(verified.is_ok(), other == last);
            }
        }
    }

    #[test]
    fn texts_that_are_no_note_are_not_signed() {
        let sign = |text: &str| sign_note(text, &name("a.example"), &key(1));
        assert_eq!(sign("no line feed"), Err(NoteError::Text));
        assert_eq!(sign(""), Err(NoteError::Text));
        assert_eq!(sign("tab\t\n"), Err(NoteError::Text));
        assert_eq!(
            sign(&format!("{}\n", "x".repeat(limits::NOTE_BYTES))),
            Err(NoteError::TooLarge)
        );
        assert!(sign("\n").is_ok());
    }

    #[test]
    fn verifier_keys_have_one_text() {
        for key in [plain_key("clay.example/log", 1), witness("dale.example/w", 2)] {
            let text = key.to_string();
            assert_eq!(text.parse(), Ok(key));
            let (name, rest) = text.split_once('+').unwrap();
            let (id, encoded) = rest.split_once('+').unwrap();
            for bad in [
                format!("{name}+{id}"),
                format!("{name}+{}+{encoded}", id.to_uppercase().replace(char::is_numeric, "A")),
                format!("{name}+00000000+{encoded}"),
                format!("other+{id}+{encoded}"),
                format!("{name}+{id}+{}", &encoded[4..]),
                format!("{name}+{id}+{encoded}AAAA"),
                format!("{name}+{id}+C{}", &encoded[1..]),
                format!("+{id}+{encoded}"),
            ] {
                assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_round_trips(text in "([^\\x00-\\x1f]{0,20}\n){1,6}") {
            let note = signed(&text);
            let verified = parsed(&note).verify(&[plain_key("clay.example/log", 1)]).unwrap();
            prop_assert_eq!(verified.text(), text);
            prop_assert_eq!(verified.to_bytes(), note);
        }

        #[test]
        fn changed_notes_never_verify_to_another_text(at in any::<prop::sample::Index>(), to: u8) {
            let mut note = signed("clay.example/log\n12\nabc\n");
            let at = at.index(note.len());
            note[at] = to;
            if let Ok(unverified) = UnverifiedNote::parse(&note) {
                prop_assert_eq!(unverified.to_bytes(), note);
                if let Ok(verified) = unverified.verify(&[plain_key("clay.example/log", 1)]) {
                    prop_assert_eq!(verified.text(), "clay.example/log\n12\nabc\n");
                }
            }
        }

        #[test]
        fn parsing_never_fails_badly(note in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(unverified) = UnverifiedNote::parse(&note) {
                prop_assert_eq!(unverified.to_bytes(), note);
            }
        }
    }
}
