//! Signed log heads: C2SP tlog-checkpoint, with tlog-cosignature lines.
//!
//! The text is exactly three lines: origin, size, root. The log signs under its
//! origin as key name, so a checkpoint names its log in what is signed.
//! Extension lines are refused: nobody audits them.
//!
//! **Invariant:** a [`VerifiedCheckpoint`] carries a signature of the log key it
//! was verified with, and a size of 0 has the empty root. Deliberately absent:
//! which key is the current one (the identity chain says), whether the log is
//! consistent with an older head (see [`crate::log`]), and any clock.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::id::{AuthorityId, Generation, Hash, LogId, NetworkName, Space};
use crate::key::{PublicKey, SecretKey};
use crate::limits;
use crate::log::empty_root;
use crate::note::{
    Algorithm, KeyName, Merged, NoteError, SignatureLine, Signer, UnverifiedNote, VerifiedNote,
    VerifierKey, cosignature_line, sign_note,
};
use crate::time::UnixTime;

/// First part of every origin and witness name.
const PREFIX: &str = "tallystick";

/// Why bytes are no checkpoint, or not one of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note itself is malformed, or cannot be verified with the keys given.
    #[error(transparent)]
    Note(NoteError),
    /// Not three lines: origin, size and root.
    #[error("a checkpoint has exactly three lines")]
    Lines,
    /// The first line is no valid key name.
    #[error("the origin of the checkpoint is not valid")]
    Origin,
    /// The second line is no decimal number without leading zeros that fits 64 bits.
    #[error("the size of the checkpoint is not a plain number")]
    Size,
    /// The third line is not the base64 of a hash, or the root of an empty log is not the empty root.
    #[error("the root of the checkpoint is not valid")]
    Root,
    /// No line by the log key asked for.
    #[error("the log key did not sign the checkpoint")]
    NotSigned,
    /// A line in the name of the log, or of a witness asked for, does not fit.
    #[error("the signature of {0} does not fit the checkpoint")]
    BadSignature(KeyName),
    /// A line that no key asked for accounts for, where every line must be.
    #[error("nobody known accounts for the signature of {0}")]
    UnknownSignature(KeyName),
    /// The log is larger than a node follows.
    #[error("the log is larger than the limit")]
    TooLarge,
}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Unsigned => Self::NotSigned,
            NoteError::BadSignature(name) => Self::BadSignature(name),
            NoteError::UnknownSignature(name) => Self::UnknownSignature(name),
            other => Self::Note(other),
        }
    }
}

/// What a log calls itself in its checkpoints; also the name of its key.
///
/// Public logs: `tallystick/NETWORK/AUTHORITY/GENERATION`. Group logs:
/// `tallystick/NETWORK/` and 64 hexadecimal digits that say nothing to
/// outsiders. Any other key name is an origin too, of somebody else's log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(KeyName);

impl Origin {
    /// The origin of a public log.
    #[must_use]
    pub fn public(network: &NetworkName, authority: &AuthorityId, generation: Generation) -> Self {
        Self(KeyName::from_plain(format!("{PREFIX}/{network}/{authority}/{generation}")))
    }

    /// The origin of a group log, from 32 bytes that give nothing away.
    #[must_use]
    pub fn private(network: &NetworkName, id: &Hash) -> Self {
        Self(KeyName::from_plain(format!("{PREFIX}/{network}/{id}")))
    }

    /// The origin of `log` if it is public; a group's log has one that only its members know.
    #[must_use]
    pub fn of(network: &NetworkName, log: &LogId) -> Option<Self> {
        match log.space {
            Space::Public => Some(Self::public(network, &log.authority, log.generation)),
            Space::Group(_) => None,
        }
    }

    /// The network, authority and generation, if this is the origin of a public log.
    #[must_use]
    pub fn public_log(&self) -> Option<(NetworkName, AuthorityId, Generation)> {
        let mut parts = self.as_str().split('/');
        if parts.next() != Some(PREFIX) {
            return None;
        }
        let network: NetworkName = parts.next()?.parse().ok()?;
        let authority = parts.next()?.parse().ok()?;
        let generation = parts.next()?.parse().ok()?;
        // One spelling only: no sign, no leading zeros, nothing after it.
        let same = Self::public(&network, &authority, generation) == *self;
        same.then_some((network, authority, generation))
    }

    /// The network, if this has the shape of the origin of a group's log; whose it is
    /// and of which group it does not say.
    #[must_use]
    pub fn private_log(&self) -> Option<NetworkName> {
        let rest = self.as_str().strip_prefix(PREFIX)?.strip_prefix('/')?;
        let (network, id) = rest.split_once('/')?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_hash = id.len() == 2 * Hash::LEN && id.bytes().all(digit);
        network.parse().ok().filter(|_| is_hash)
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name of the log's key.
    #[must_use]
    pub const fn key_name(&self) -> &KeyName {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        text.parse().map(Self).map_err(|_| CheckpointError::Origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The verifier key of an authority as witness: `tallystick/NETWORK/AUTHORITY/witness`.
#[must_use]
pub fn witness_key(network: &NetworkName, authority: &AuthorityId, key: PublicKey) -> VerifierKey {
    VerifierKey::new(witness_name(network, authority), Algorithm::CosignatureV1, key)
}

/// The key name of an authority's witness, whatever its key is.
#[must_use]
pub fn witness_name(network: &NetworkName, authority: &AuthorityId) -> KeyName {
    KeyName::from_plain(format!("{PREFIX}/{network}/{authority}/witness"))
}

/// The authority in whose name as witness lines of this key name are.
#[must_use]
pub fn witness_of(network: &NetworkName, name: &KeyName) -> Option<AuthorityId> {
    let rest = name.as_str().strip_prefix(PREFIX)?.strip_prefix('/')?;
    let rest = rest.strip_prefix(network.as_str())?.strip_prefix('/')?;
    let text = rest.strip_suffix("/witness")?;
    let authority: AuthorityId = text.parse().ok()?;
    // One spelling only.
    (authority.to_string() == text).then_some(authority)
}

/// The verifier key of a log: its origin and log key.
#[must_use]
pub fn log_key(origin: &Origin, key: PublicKey) -> VerifierKey {
    VerifierKey::new(origin.0.clone(), Algorithm::Ed25519, key)
}

/// A log head: what a checkpoint signs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    origin: Origin,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// The head of the log `origin` with `size` entries under `root`.
    ///
    /// # Errors
    /// [`CheckpointError::Root`] if the log is empty and the root is not the empty one.
    pub fn new(origin: Origin, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::Root);
        }
        Ok(Self { origin, size, root })
    }

    /// Which log.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root over them.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The three lines that are signed, each with its line feed.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Refuses a log that is larger than a node follows.
    ///
    /// # Errors
    /// [`CheckpointError::TooLarge`] beyond [`limits::LOG_ENTRIES`].
    pub const fn followable(&self) -> Result<(), CheckpointError> {
        if self.size > limits::LOG_ENTRIES { Err(CheckpointError::TooLarge) } else { Ok(()) }
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = text.split('\n');
        let lines = (lines.next(), lines.next(), lines.next(), lines.next());
        let (Some(origin), Some(size), Some(root), None) = lines else {
            return Err(CheckpointError::Lines);
        };
        let root = decode_hash(root).ok_or(CheckpointError::Root)?;
        Self::new(origin.parse()?, decimal(size).ok_or(CheckpointError::Size)?, root)
    }
}

/// A well-formed checkpoint of which nothing is known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedCheckpoint {
    claimed: Checkpoint,
    note: UnverifiedNote,
}

impl UnverifiedCheckpoint {
    /// Takes a checkpoint apart.
    ///
    /// # Errors
    /// [`CheckpointError::Note`], [`CheckpointError::Lines`],
    /// [`CheckpointError::Origin`], [`CheckpointError::Size`] or [`CheckpointError::Root`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = UnverifiedNote::parse(bytes)?;
        Ok(Self { claimed: Checkpoint::parse(note.claimed_text())?, note })
    }

    /// The log it claims to be of, for finding the key.
    #[must_use]
    pub const fn claimed_origin(&self) -> &Origin {
        &self.claimed.origin
    }

    /// The size it claims.
    #[must_use]
    pub const fn claimed_size(&self) -> u64 {
        self.claimed.size
    }

    /// The root it claims.
    #[must_use]
    pub const fn claimed_root(&self) -> Hash {
        self.claimed.root
    }

    /// Its bytes, as received.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// The checkpoint without the lines for which `left_out` holds.
    #[must_use]
    pub fn without(self, left_out: impl Fn(&SignatureLine) -> bool) -> Self {
        Self { claimed: self.claimed, note: self.note.without(left_out) }
    }

    /// Verifies that the log signed under `key`; cosignatures stay unread.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`] if there is no line by this key;
    /// [`CheckpointError::BadSignature`] if there is one that does not fit.
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        self.verify_with(key, &[])
    }

    /// Verifies that the log signed under `key`, and the lines of the given witnesses.
    ///
    /// Lines by others are ignored; a witness without a line is no error.
    ///
    /// # Errors
    /// As [`UnverifiedCheckpoint::verify`], also for a witness's bad line.
    pub fn verify_with(
        self,
        key: &PublicKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        self.finish(key, witnesses, UnverifiedNote::verify)
    }

    /// As [`UnverifiedCheckpoint::verify_with`], but every line must be
    /// accounted for: the mode for files.
    ///
    /// # Errors
    /// In addition [`CheckpointError::UnknownSignature`].
    pub fn verify_attributed(
        self,
        key: &PublicKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        self.finish(key, witnesses, UnverifiedNote::verify_attributed)
    }

    fn finish(
        self,
        key: &PublicKey,
        witnesses: &[VerifierKey],
        verify: fn(UnverifiedNote, &[VerifierKey]) -> Result<VerifiedNote, NoteError>,
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let log = log_key(&self.claimed.origin, *key);
        let mut keys = witnesses.to_vec();
        keys.push(log.clone());
        let note = verify(self.note, &keys)?;
        if note.signers().iter().all(|signer| signer.key != log) {
            return Err(CheckpointError::NotSigned);
        }
        Ok(VerifiedCheckpoint::new(self.claimed, note))
    }
}

/// A checkpoint that its log's key signed. A clone shares it, as a node keeps
/// and passes on each head many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint(Arc<Signed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    checkpoint: Checkpoint,
    note: VerifiedNote,
    /// The note's.
    bytes: Vec<u8>,
}

impl VerifiedCheckpoint {
    fn new(checkpoint: Checkpoint, note: VerifiedNote) -> Self {
        let bytes = note.to_bytes();
        Self(Arc::new(Signed { checkpoint, note, bytes }))
    }

    /// What is signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0.checkpoint
    }

    /// The note, as received, with the cosignatures added since.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The same, to be kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.bytes.clone()
    }

    /// The note with its signers and lines.
    #[must_use]
    pub fn note(&self) -> &VerifiedNote {
        &self.0.note
    }

    /// The witnesses asked for that cosigned, each with its time.
    pub fn cosignatures(&self) -> impl Iterator<Item = &Signer> {
        let cosigned = |signer: &&Signer| signer.key.algorithm() == Algorithm::CosignatureV1;
        self.0.note.signers().iter().filter(cosigned)
    }

    /// The checkpoint without the lines that no key asked for accounts for: what a node keeps.
    #[must_use]
    pub fn attributed(self) -> Self {
        if self.0.note.unknown().is_empty() {
            return self;
        }
        let Signed { checkpoint, note, .. } = Arc::unwrap_or_clone(self.0);
        Self::new(checkpoint, note.attributed())
    }

    /// The checkpoint with its log's line first and the witnesses' in the order of
    /// their names, one for each, so that all who have the same lines have the same bytes.
    #[must_use]
    pub fn sorted(self) -> Self {
        if self.0.note.lines().len() < 2 {
            return self;
        }
        let Signed { checkpoint, note, .. } = Arc::unwrap_or_clone(self.0);
        let note = note.sorted(checkpoint.origin.key_name());
        Self::new(checkpoint, note)
    }

    /// The line of a witness that was verified.
    #[must_use]
    pub fn line_of(&self, witness: &VerifierKey) -> Option<&SignatureLine> {
        let signed = self.cosignatures().any(|signer| signer.key == *witness);
        let by = |line: &&SignatureLine| {
            signed && line.name() == witness.name() && line.key_id() == witness.key_id()
        };
        self.0.note.lines().iter().find(by)
    }

    /// The checkpoint without the lines of witnesses, but for that of `but`.
    #[must_use]
    pub fn uncosigned(&self, but: Option<&VerifierKey>) -> Self {
        let stays = |key: &VerifierKey| key.algorithm() == Algorithm::Ed25519 || Some(key) == but;
        if self.cosignatures().all(|signer| stays(&signer.key)) {
            return self.clone();
        }
        Self::new(self.0.checkpoint.clone(), self.0.note.clone().by(stays))
    }

    /// The checkpoint with the one line of its log under `key`, and no other; `None`
    /// if it was not verified with that key.
    #[must_use]
    pub fn bare(self, key: &PublicKey) -> Option<Self> {
        let Signed { checkpoint, note, .. } = Arc::unwrap_or_clone(self.0);
        let log = log_key(&checkpoint.origin, *key);
        Some(Self::new(checkpoint, note.only(&log)?))
    }

    /// Makes a witness's line for this checkpoint. That it is consistent with
    /// everything cosigned before is the caller's to make sure.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] for a time beyond 2^63 - 1.
    pub fn cosign(
        &self,
        name: &KeyName,
        key: &SecretKey,
        time: UnixTime,
    ) -> Result<SignatureLine, CheckpointError> {
        Ok(cosignature_line(self.0.note.text(), name, key, time)?)
    }

    /// Checks a witness's line and adds it; of several by one witness the earliest stays.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownSignature`] if the line is not the witness's;
    /// [`CheckpointError::BadSignature`]; [`CheckpointError::Note`] if the note is full.
    pub fn add(
        &mut self,
        line: SignatureLine,
        witness: &VerifierKey,
    ) -> Result<Signer, CheckpointError> {
        let signed = Arc::make_mut(&mut self.0);
        let signer = signed.note.add(line, witness)?;
        signed.bytes = signed.note.to_bytes();
        Ok(signer)
    }

    /// Takes over the lines that another copy of the same head was verified with;
    /// see [`VerifiedNote::merge`].
    pub fn merge(&mut self, other: &Self, replaces: bool) -> Merged {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Merged::default();
        }
        let mut note = self.0.note.clone();
        let merged = note.merge(&other.0.note, replaces);
        if merged != Merged::default() {
            *self = Self::new(self.0.checkpoint.clone(), note);
        }
        merged
    }
}

/// Signs a log head. That the log key never signs two histories is the caller's
/// to make sure.
///
/// # Errors
/// None for any origin that fits a note; [`CheckpointError::Note`] otherwise.
pub fn sign(
    checkpoint: &Checkpoint,
    key: &SecretKey,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let note = sign_note(&checkpoint.text(), checkpoint.origin.key_name(), key)?;
    UnverifiedCheckpoint::parse(&note)?.verify(&key.public())
}

/// A decimal number without sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in standard base64, in its one spelling.
pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    // The decoder asks for room in whole groups of three bytes.
    let mut bytes = [0; Hash::LEN + 1];
    let len = STANDARD.decode_slice(text, &mut bytes).ok()?;
    Hash::try_from(bytes.get(..len)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf_hash;
    use proptest::prelude::*;

    fn network() -> NetworkName {
        "made-up".parse().unwrap()
    }

    fn authority() -> AuthorityId {
        AuthorityId::from_bytes([5; 32])
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn head(size: u64) -> Checkpoint {
        let root = if size == 0 { empty_root() } else { leaf_hash(&size.to_be_bytes()) };
        Checkpoint::new(Origin::public(&network(), &authority(), 0), size, root).unwrap()
    }

    fn signed_text(text: &str) -> Vec<u8> {
        let origin = text.lines().next().unwrap();
        sign_note(text, &origin.parse().unwrap(), &key(1)).unwrap()
    }

    #[test]
    fn origins_of_public_logs_are_read_back() {
        let log = LogId::public(authority(), 3);
        let origin = Origin::of(&network(), &log).unwrap();
        assert_eq!(origin.to_string(), format!("tallystick/made-up/{}/3", authority()));
        assert_eq!(origin.public_log(), Some((network(), authority(), 3)));
        let group = LogId { space: Space::Group(crate::id::GroupId::from_bytes([1; 32])), ..log };
        assert_eq!(Origin::of(&network(), &group), None);
        let private = Origin::private(&network(), &leaf_hash(b"random"));
        assert_eq!(private.public_log(), None);
        assert_eq!(private.private_log(), Some(network()));
        assert_eq!(origin.private_log(), None);
        for odd in [
            private.as_str().to_uppercase(),
            format!("{private}/0"),
            format!("{private}0"),
            private.as_str().replace("tallystick", "log.example"),
        ] {
            assert_eq!(odd.parse::<Origin>().unwrap().private_log(), None, "{odd}");
        }
        assert_eq!(private.as_str().parse(), Ok(private));
    }

    #[test]
    fn other_spellings_of_a_public_origin_are_none() {
        let good = Origin::public(&network(), &authority(), 3).to_string();
        for bad in [
            format!("{good}/"),
            format!("/{good}"),
            good.replace("/3", "/03"),
            good.replace("/3", "/4294967296"),
            good.replace("/3", ""),
            good.replace("tallystick", "Tallystick"),
            good.replace("made-up", "Made-up"),
            good.replace("tally1", "TALLY1"),
        ] {
            assert_eq!(bad.parse::<Origin>().unwrap().public_log(), None, "{bad}");
        }
        assert_eq!("a b".parse::<Origin>(), Err(CheckpointError::Origin));
        assert_eq!("tallystick/made-up/x/+3".parse::<Origin>(), Err(CheckpointError::Origin));
    }

    #[test]
    fn a_signed_head_verifies_with_its_key_only() {
        let signed = sign(&head(12), &key(1)).unwrap();
        let bytes = signed.to_bytes();
        let parse = || UnverifiedCheckpoint::parse(&bytes).unwrap();
        assert_eq!(parse().claimed_origin(), head(12).origin());
        assert_eq!(parse().claimed_size(), 12);
        assert_eq!(parse().to_bytes(), bytes);
        assert_eq!(parse().verify(&key(1).public()), Ok(signed.clone()));
        assert_eq!(parse().verify(&key(2).public()), Err(CheckpointError::NotSigned));
        assert_eq!(signed.checkpoint(), &head(12));
    }

    #[test]
    fn a_signature_under_another_origin_does_not_count() {
        // The same key, the same text, another key name.
        let note = sign_note(&head(3).text(), &"other.example".parse().unwrap(), &key(1)).unwrap();
        let parsed = UnverifiedCheckpoint::parse(&note).unwrap();
        assert_eq!(parsed.verify(&key(1).public()), Err(CheckpointError::NotSigned));
    }

    #[test]
    fn every_changed_text_is_a_bad_signature() {
        let bytes = sign(&head(12), &key(1)).unwrap().to_bytes();
        let changed = String::from_utf8(bytes).unwrap().replace("\n12\n", "\n13\n");
        let parsed = UnverifiedCheckpoint::parse(changed.as_bytes()).unwrap();
        let origin = head(12).origin().key_name().clone();
        assert_eq!(parsed.verify(&key(1).public()), Err(CheckpointError::BadSignature(origin)));
    }

    #[test]
    fn texts_that_are_no_checkpoint_are_refused_though_signed() {
        let root = STANDARD.encode(leaf_hash(b"x").as_bytes());
        let cases = [
            (format!("a\n1\n{root}\nextension\n"), CheckpointError::Lines),
            (format!("a\n1\n{root}\n\n"), CheckpointError::Lines),
            ("a\n1\n".to_owned(), CheckpointError::Lines),
            (format!("a\n01\n{root}\n"), CheckpointError::Size),
            (format!("a\n+1\n{root}\n"), CheckpointError::Size),
            (format!("a\n-1\n{root}\n"), CheckpointError::Size),
            (format!("a\n 1\n{root}\n"), CheckpointError::Size),
            (format!("a\n0x1\n{root}\n"), CheckpointError::Size),
            (format!("a\n\n{root}\n"), CheckpointError::Size),
            (format!("a\n18446744073709551616\n{root}\n"), CheckpointError::Size),
            (format!("a\n1\n{}\n", root.trim_end_matches('=')), CheckpointError::Root),
            (format!("a\n1\n{root} \n"), CheckpointError::Root),
            (format!("a\n1\n{}\n", &root[4..]), CheckpointError::Root),
            (format!("a\n1\nAAAA{root}\n"), CheckpointError::Root),
            (format!("a\n0\n{root}\n"), CheckpointError::Root),
        ];
        for (text, error) in cases {
            let parsed = UnverifiedCheckpoint::parse(&signed_text(&text));
            assert_eq!(parsed, Err(error), "{text:?}");
        }
        let largest = signed_text(&format!("a\n18446744073709551615\n{root}\n"));
        let largest =
            UnverifiedCheckpoint::parse(&largest).unwrap().verify(&key(1).public()).unwrap();
        assert_eq!(largest.checkpoint().size(), u64::MAX);
        assert_eq!(largest.checkpoint().followable(), Err(CheckpointError::TooLarge));
        let note = sign_note("a b\n1\nx\n", &"a".parse().unwrap(), &key(1)).unwrap();
        assert_eq!(UnverifiedCheckpoint::parse(&note), Err(CheckpointError::Root));
        let note = sign_note(&format!("a b\n1\n{root}\n"), &"a".parse().unwrap(), &key(1)).unwrap();
        assert_eq!(UnverifiedCheckpoint::parse(&note), Err(CheckpointError::Origin));
    }

    #[test]
    fn the_name_of_a_witness_leads_back_to_it_in_one_spelling() {
        let name = witness_key(&network(), &authority(), key(1).public()).name().clone();
        assert_eq!(witness_of(&network(), &name), Some(authority()));
        assert_eq!(witness_of(&"other".parse().unwrap(), &name), None);
        for bad in [
            name.as_str().replace("/witness", "/witnesses"),
            name.as_str().replace("/witness", ""),
            name.as_str().replace("tally1", "TALLY1"),
            format!("{name}/witness"),
        ] {
            assert_eq!(witness_of(&network(), &bad.parse().unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn copies_that_are_merged_in_whatever_order_have_the_same_bytes() {
        let plain = sign(&head(7), &key(1)).unwrap();
        let witness = witness_key(&network(), &AuthorityId::from_bytes([6; 32]), key(2).public());
        let other = witness_key(&network(), &AuthorityId::from_bytes([7; 32]), key(3).public());
        let with = |witness: &VerifierKey, seed: u8, time: u64| {
            let mut copy = plain.clone();
            let time = UnixTime::from_seconds(time);
            let line = plain.cosign(witness.name(), &key(seed), time).unwrap();
            copy.add(line, witness).unwrap();
            copy
        };
        // One witness signed twice, at two times.
        let copies = [with(&witness, 2, 9), with(&witness, 2, 5), with(&other, 3, 7)];
        let merged = |order: [usize; 3]| {
            let mut all = plain.clone();
            order.iter().for_each(|at| _ = all.merge(&copies[*at], true));
            all.sorted()
        };
        let first = merged([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(merged(order), first);
        }
        let times: Vec<_> = first.cosignatures().map(|signer| signer.time).collect();
        assert_eq!(times, [5, 7].map(|time| Some(UnixTime::from_seconds(time))));
        assert_eq!(first.clone().merge(&copies[0], true), Merged::default());
        // Where nothing may be replaced only what is missing comes.
        let mut late = copies[0].clone();
        assert_eq!(late.merge(&first, false), Merged { added: 1, replaced: 0 });
        assert_eq!(late.merge(&first, true), Merged { added: 0, replaced: 1 });
        let mut elsewhere = sign(&head(8), &key(1)).unwrap();
        assert_eq!(elsewhere.merge(&first, true), Merged::default(), "of another head");
    }

    #[test]
    fn an_empty_log_has_the_empty_root() {
        assert!(sign(&head(0), &key(1)).is_ok());
        assert!(head(limits::LOG_ENTRIES).followable().is_ok());
        let origin = head(0).origin().clone();
        let wrong = Checkpoint::new(origin, 0, leaf_hash(b"x"));
        assert_eq!(wrong, Err(CheckpointError::Root));
    }

    #[test]
    fn cosignatures_are_collected_and_read_back() {
        let mut signed = sign(&head(7), &key(1)).unwrap();
        let other = AuthorityId::from_bytes([6; 32]);
        let witness = witness_key(&network(), &other, key(2).public());
        let time = UnixTime::from_seconds(1_800_000_000);
        let line = signed.cosign(witness.name(), &key(2), time).unwrap();
        let signer = Signer { key: witness.clone(), time: Some(time) };
        assert_eq!(signed.add(line.clone(), &witness), Ok(signer.clone()));
        assert_eq!(signed.cosignatures().collect::<Vec<_>>(), [&signer]);

        let parse = || UnverifiedCheckpoint::parse(&signed.to_bytes()).unwrap();
        let witnesses = std::slice::from_ref(&witness);
        let log = key(1).public();
        assert_eq!(parse().verify_with(&log, witnesses), Ok(signed.clone()));
        assert_eq!(parse().verify_attributed(&log, witnesses), Ok(signed.clone()));
        assert_eq!(
            parse().verify_attributed(&log, &[]),
            Err(CheckpointError::UnknownSignature(witness.name().clone()))
        );
        let plain = parse().verify(&log).unwrap();
        assert_eq!(plain.cosignatures().count(), 0);
        assert_eq!(plain.to_bytes(), signed.to_bytes());
        assert_eq!(plain.attributed(), sign(&head(7), &key(1)).unwrap());
        assert_eq!(signed.clone().bare(&log), sign(&head(7), &key(1)).ok());
        assert_eq!(signed.uncosigned(None), sign(&head(7), &key(1)).unwrap());
        assert_eq!(signed.uncosigned(Some(&witness)), signed);
        assert_eq!(signed.clone().bare(&key(2).public()), None);
        let twice = [signed.to_bytes(), format!("{}\n", signed.note().lines()[0]).into()].concat();
        let twice = UnverifiedCheckpoint::parse(&twice).unwrap().verify(&log).unwrap();
        assert_eq!(twice.bare(&log), sign(&head(7), &key(1)).ok());
        // A witness alone does not make a checkpoint.
        let alone = parse().verify_with(&key(9).public(), witnesses);
        assert_eq!(alone, Err(CheckpointError::NotSigned));

        // A line for one head does not fit another.
        let mut next = sign(&head(8), &key(1)).unwrap();
        assert_eq!(
            next.add(line, &witness),
            Err(CheckpointError::BadSignature(witness.name().clone()))
        );
    }

    proptest! {
        #[test]
        fn heads_round_trip(size: u64, root in any::<[u8; 32]>(), generation: u32) {
            let origin = Origin::public(&network(), &authority(), generation);
            let root = if size == 0 { empty_root() } else { Hash::from_bytes(root) };
            let head = Checkpoint::new(origin, size, root).unwrap();
            let signed = sign(&head, &key(1)).unwrap();
            let again = UnverifiedCheckpoint::parse(&signed.to_bytes()).unwrap();
            let verified = again.verify(&key(1).public()).unwrap();
            prop_assert_eq!(verified.checkpoint(), &head);
        }
    }
}
