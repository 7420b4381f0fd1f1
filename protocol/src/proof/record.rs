//! Record proofs: one file from which anybody can verify a record offline.
//!
//! A record proof is a proof of [`crate::proof`] whose extra data holds all
//! that is needed to judge it, as a deterministic CBOR map:
//!
//! | key | value |
//! |---|---|
//! | 0 | format version, 1 |
//! | 1 | identity chain of the author: its signed events, in order |
//! | 2 | header, the leaf of the log |
//! | 3 | body in whatever state the sender shows it; absent if not shown |
//! | 4 | consistency proof from the checkpoint to the head at which its key retired; absent if empty |
//!
//! A log key that was replaced signs no more; what it signed counts up to the
//! head that was pinned then, or at which its generation was closed, if key 4
//! leads there. The key is even: a reader that does not know it must not guess,
//! and could not judge a retired key anyway. The version stays 1, so that files
//! under current keys are read as before, both ways.
//!
//! Nothing vouches for the extra data as such; every part of it is tied to the
//! author's signatures: the chain by its controllers and by the authority id in
//! the origin, the checkpoint by the chain's log key, the header by its leaf
//! hash under the checkpoint's root, the body by the header's commitment.
//!
//! **Invariant:** (9 of the design) whatever is changed in a file, it is
//! refused, or [`RecordFacts`], which is all that is reported, reports nothing
//! that was not signed. A holder may show less of a body, leave a witness's
//! line out or put lines in another order; nobody can make a file say more or
//! anything else. Deliberately absent: whether the record is still the newest
//! version and the identity the one the reader thinks of (a proof cannot know),
//! logs of groups, and policies on witnesses: their times are reported, the
//! caller decides. A line in the name of a witness that the author's own chain
//! names says who it is by; without the witness's key it is not looked at, and
//! nothing is reported of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ProofFormatError, ProofVerifyError, ProofWriteError, UnverifiedProof};
use super::{VerifiedInclusion, format};
use crate::body::{Body, FieldName, Fields};
use crate::cbor::{CborError, Reader, Writer};
use crate::checkpoint::{
    Checkpoint, CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint, log_key, witness_name,
};
use crate::entry::{Entry, EntryError, Header, UnverifiedEntry};
use crate::id::{AuthorityId, Generation, Hash, NetworkName, RecordRef, Version};
use crate::identity::{Identity, IdentityError, KeyStanding, Profile, Relation, UnverifiedChain};
use crate::key::PublicKey;
use crate::limits;
use crate::log::{ProofError, verify_consistency};
use crate::note::{Algorithm, SignatureLine, VerifierKey};
use crate::time::UnixTime;

/// Version of the extra data written and read here.
const FORMAT_VERSION: u64 = 1;
/// Most keys looked at before the version is known.
const MAP_KEYS: usize = 64;

/// Why a file is no proof of a record.
///
/// All of it is the fault of whoever made or changed the file, except
/// [`RecordProofError::Unsupported`], which is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordProofError {
    /// Not a proof file at all, or damaged.
    #[error(transparent)]
    File(#[from] ProofFormatError),
    /// A proof of a leaf only.
    #[error("the file is a proof, but carries no record")]
    NoRecord,
    /// The extra data is not deterministic CBOR of the expected shape.
    #[error("the record inside the proof is malformed: {0}")]
    Contents(#[from] CborError),
    /// Written by a newer version of this software.
    #[error("the proof needs a newer version of this software")]
    Unsupported,
    /// The file has another spelling than the only one.
    #[error("the proof is not written in its one standard form")]
    Spelling,
    /// The log is a group's, or somebody else's who does not use our names.
    #[error("the proof is not of a public log")]
    Origin,
    /// The identity chain does not hold.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A sound chain, but of somebody else, or of another generation of the log.
    #[error("the checkpoint is not of the log of the authority in the file")]
    Author,
    /// Header or body are not what they have to be.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The checkpoint is not signed as it must be, or does not contain the header.
    #[error(transparent)]
    Proof(#[from] ProofVerifyError),
    /// The checkpoint is under a key that was replaced.
    #[error(transparent)]
    Key(#[from] RetiredKeyError),
    /// The author's controllers have signed two chains that contradict each
    /// other, the one in the file and the one the reader knows.
    #[error("the author's controllers have signed two identities that contradict each other")]
    Disputed,
    /// One key signed on two lines, of which one says nothing.
    #[error("a signature stands in the file twice")]
    Repeated,
}

/// Why a checkpoint under a key that was replaced proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetiredKeyError {
    /// Nothing in the file leads to the head at which the key retired. The record
    /// may stand all the same: a fresh proof would show it.
    #[error(
        "the key that signed the log was replaced since, and the file does not show that what it \
         signed still counts: ask for a fresh proof"
    )]
    Refresh,
    /// The entry lies beyond the head at which the author's controllers closed
    /// the log: it is no longer said by its author.
    #[error("the author's controllers have disowned this part of the log")]
    Disowned,
    /// The file's hashes lead somewhere else.
    #[error("the file does not lead to the head at which the key that signed it was replaced: {0}")]
    Pin(ProofError),
}

/// By what right the log key speaks that signed a proof's checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// It is the log key of today, as far as the chains at hand say.
    Current,
    /// It was replaced, and the file shows that what it signed here still counts.
    RetiredProven,
}

/// Why a record proof cannot be written: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordProofWriteError {
    /// The checkpoint is of another authority's log or network, or of a generation to come.
    #[error("the checkpoint is not of this authority's public log")]
    Author,
    /// No log key of the authority signed the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is under a key that was replaced, and `to_pin` does not help.
    #[error(transparent)]
    Key(#[from] RetiredKeyError),
    /// The header is not in the log at this index, or the file would be too large.
    #[error(transparent)]
    Proof(#[from] ProofWriteError),
}

/// Writes the proof that `identity` said `entry` at `index` of the log under `checkpoint`.
///
/// `hashes` is the inclusion proof for the checkpoint's size. `to_pin` is the
/// consistency proof from there to the head at which the key retired that signed
/// the checkpoint, see [`Identity::log_keys`]; nothing for the current key. The
/// body is put into the file in the state it has; an entry without one gives a
/// proof of the header alone. Lines of the checkpoint that neither the log nor a
/// witness it was verified with accounts for, and all but the first of each key,
/// are left out, since the reader would refuse them.
///
/// # Errors
/// A [`RecordProofWriteError`]; no file leaves a node that its reader would refuse.
pub fn assemble(
    identity: &Identity,
    entry: &Entry,
    index: u64,
    hashes: &[Hash],
    checkpoint: &VerifiedCheckpoint,
    to_pin: &[Hash],
) -> Result<Vec<u8>, RecordProofWriteError> {
    let head = checkpoint.checkpoint();
    let log = head.origin().public_log().filter(|(network, authority, generation)| {
        network == identity.network()
            && *authority == identity.authority()
            && *generation <= identity.generation()
    });
    let (_, _, generation) = log.ok_or(RecordProofWriteError::Author)?;
    let parsed = UnverifiedCheckpoint::parse(&checkpoint.to_bytes())?;
    let (key, standing) = signer(identity, generation, &parsed)?;
    judge_key(standing, identity.closing(generation).is_some(), head, index, to_pin)?;
    let checkpoint = single_lines(checkpoint, &key)?;
    let extra = write_extra(identity, entry, to_pin);
    Ok(format(&entry.leaf(), index, hashes, &checkpoint, &extra)?)
}

/// The log key of a generation that signed a checkpoint, and by what right.
fn signer<'a>(
    identity: &'a Identity,
    generation: Generation,
    checkpoint: &UnverifiedCheckpoint,
) -> Result<(PublicKey, KeyStanding<'a>), CheckpointError> {
    let mut keys = identity.log_keys(generation);
    let signed =
        |key: &PublicKey| checkpoint.clone().verify(key) != Err(CheckpointError::NotSigned);
    keys.find(|(key, _)| signed(key))
        .map(|(key, standing)| (*key, standing))
        .ok_or(CheckpointError::NotSigned)
}

/// Whether a line is in the name of a witness that the author names or has
/// named, under a key that is not among those given.
fn others_named(
    identity: &Identity,
    given: &[VerifierKey],
) -> impl Fn(&SignatureLine) -> bool + use<> {
    let named = identity.history().flat_map(|event| event.witnesses);
    let names = named.map(|witness| witness_name(identity.network(), &witness));
    let names: BTreeSet<_> = names.collect();
    let given: BTreeSet<_> = given.iter().map(|key| (key.name().clone(), key.key_id())).collect();
    move |line| {
        names.contains(line.name()) && !given.contains(&(line.name().clone(), line.key_id()))
    }
}

/// Whether what a log key signed counts for the entry at `index`.
fn judge_key(
    standing: KeyStanding<'_>,
    closed: bool,
    head: &Checkpoint,
    index: u64,
    to_pin: &[Hash],
) -> Result<KeyState, RetiredKeyError> {
    let KeyStanding::Retired(pin) = standing else {
        // Hashes that lead nowhere would be read past.
        return match to_pin {
            [] => Ok(KeyState::Current),
            _ => Err(RetiredKeyError::Pin(ProofError::Length)),
        };
    };
    if closed && index >= pin.size() {
        return Err(RetiredKeyError::Disowned);
    }
    if to_pin.is_empty() {
        return if pin.is(head) {
            Ok(KeyState::RetiredProven)
        } else {
            Err(RetiredKeyError::Refresh)
        };
    }
    verify_consistency(head.size(), &head.root(), pin.size(), &pin.root(), to_pin)
        .map_err(RetiredKeyError::Pin)?;
    Ok(KeyState::RetiredProven)
}

/// The checkpoint with one line of the log and one of each witness.
fn single_lines(
    checkpoint: &VerifiedCheckpoint,
    key: &PublicKey,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let note = checkpoint.note();
    let log = log_key(checkpoint.checkpoint().origin(), *key);
    let witnesses: Vec<_> = checkpoint.cosignatures().map(|signer| signer.key.clone()).collect();
    let mut text = format!("{}\n", note.text());
    for key in core::iter::once(&log).chain(&witnesses) {
        let by_key =
            |line: &&SignatureLine| line.name() == key.name() && line.key_id() == key.key_id();
        let line = note.lines().iter().find(by_key).ok_or(CheckpointError::NotSigned)?;
        text.push_str(&format!("{line}\n"));
    }
    let parsed = UnverifiedCheckpoint::parse(text.as_bytes())?;
    parsed.verify_attributed(key, &witnesses)
}

fn write_extra(identity: &Identity, entry: &Entry, to_pin: &[Hash]) -> Vec<u8> {
    let events = identity.events();
    let chain: usize = events.iter().map(Vec::len).sum();
    let mut writer = Writer::with_capacity(entry.size() + chain + 40 * to_pin.len() + 64);
    let optional = [entry.body().is_some(), !to_pin.is_empty()];
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
    writer.finish()
}

/// The extra data of a proof, taken apart.
#[derive(Clone, Debug)]
struct Extra {
    chain: UnverifiedChain,
    entry: UnverifiedEntry,
    to_pin: Vec<Hash>,
}

fn read_extra(extra: &[u8]) -> Result<Extra, RecordProofError> {
    if extra.is_empty() {
        return Err(RecordProofError::NoRecord);
    }
    let mut reader = Reader::new(extra);
    let keys = reader.map(MAP_KEYS)?;
    expect_key(&mut reader, 0)?;
    if reader.unsigned()? != FORMAT_VERSION {
        return Err(RecordProofError::Unsupported);
    }
    if !(3..=5).contains(&keys) {
        return Err(CborError::Unexpected.into());
    }
    expect_key(&mut reader, 1)?;
    let mut events = Vec::new();
    for _ in 0..reader.array(limits::IDENTITY_EVENTS)? {
        events.push(reader.bytes(limits::IDENTITY_EVENT_BYTES)?.to_vec());
    }
    expect_key(&mut reader, 2)?;
    let header = reader.bytes(limits::HEADER_BYTES)?.to_vec();
    let (mut body, mut to_pin) = (None, Vec::new());
    let mut before = 2;
    for _ in 3..keys {
        before = match reader.unsigned()? {
            3 if before == 2 => {
                body = Some(reader.bytes(limits::BODY_STATE_BYTES)?.to_vec());
                3
            }
            4 if before < 4 => {
                to_pin = read_hashes(&mut reader)?;
                4
            }
            _ => return Err(CborError::Unexpected.into()),
        };
    }
    reader.end()?;
    let (chain, entry) = (UnverifiedChain::new(events), UnverifiedEntry::new(header, body));
    Ok(Extra { chain, entry, to_pin })
}

/// At least one hash: a list that says nothing has no place in the file.
fn read_hashes(reader: &mut Reader<'_>) -> Result<Vec<Hash>, CborError> {
    let count = reader.array(limits::PROOF_HASHES)?;
    let mut hashes = Vec::new();
    for _ in 0..count {
        let bytes = reader.bytes(Hash::LEN)?;
        hashes.push(Hash::try_from(bytes).map_err(|_| CborError::Unexpected)?);
    }
    if hashes.is_empty() { Err(CborError::Unexpected) } else { Ok(hashes) }
}

fn expect_key(reader: &mut Reader<'_>, key: u64) -> Result<(), CborError> {
    if reader.unsigned()? == key { Ok(()) } else { Err(CborError::Unexpected) }
}

/// A well-formed record proof of which nothing is known to be true.
#[derive(Clone, Debug)]
pub struct UnverifiedRecordProof {
    proof: UnverifiedProof,
    extra: Extra,
    network: NetworkName,
    authority: AuthorityId,
    generation: Generation,
}

impl UnverifiedRecordProof {
    /// Takes a file apart.
    ///
    /// # Errors
    /// [`RecordProofError::File`], [`RecordProofError::Spelling`],
    /// [`RecordProofError::NoRecord`], [`RecordProofError::Contents`],
    /// [`RecordProofError::Unsupported`] or [`RecordProofError::Origin`].
    pub fn parse(file: &[u8]) -> Result<Self, RecordProofError> {
        let mut proof = UnverifiedProof::parse(file)?;
        // Every accepted proof has one spelling; checked over the whole file all
        // the same, so that nothing in it can go unaccounted for.
        if proof.to_bytes() != file {
            return Err(RecordProofError::Spelling);
        }
        let extra = read_extra(&core::mem::take(&mut proof.extra))?;
        let log = proof.claimed_origin().public_log().ok_or(RecordProofError::Origin)?;
        let (network, authority, generation) = log;
        Ok(Self { proof, extra, network, authority, generation })
    }

    /// The network it claims to belong to.
    #[must_use]
    pub const fn claimed_network(&self) -> &NetworkName {
        &self.network
    }

    /// The authority it claims to be by, for finding what is known about it.
    #[must_use]
    pub const fn claimed_authority(&self) -> AuthorityId {
        self.authority
    }

    /// Verifies everything that the file says.
    ///
    /// `witnesses` are the keys whose cosignatures are known; a line that
    /// neither the log nor one of them accounts for refuses the file, unless it is
    /// in the name of a witness that the author names: that is left out. Keys of
    /// another type than `cosignature/v1` are no witnesses and count as unknown.
    ///
    /// # Errors
    /// The first [`RecordProofError`] found.
    pub fn verify(
        mut self,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedRecordProof, RecordProofError> {
        // Hashing before signatures: what is damaged is refused at little cost.
        let entry = self.extra.entry.check()?;
        let identity = self.extra.chain.verify(&self.network)?;
        if identity.authority() != self.authority || self.generation > identity.generation() {
            return Err(RecordProofError::Author);
        }
        let cosigns = |key: &&VerifierKey| key.algorithm() == Algorithm::CosignatureV1;
        let witnesses: Vec<_> = witnesses.iter().filter(cosigns).cloned().collect();
        let others = others_named(&identity, &witnesses);
        self.proof.checkpoint = self.proof.checkpoint.without(others);
        let (key, standing) = match signer(&identity, self.generation, &self.proof.checkpoint) {
            Ok((key, standing)) => (key, Some(standing)),
            // What is wrong with the lines is said best by looking for the newest key.
            Err(_) => (*identity.log_key(), None),
        };
        let inclusion = self.proof.verify_leaf_attributed(&entry.leaf(), &key, &witnesses)?;
        let note = inclusion.checkpoint().note();
        if note.lines().len() != note.signers().len() {
            return Err(RecordProofError::Repeated);
        }
        let standing = standing.ok_or(RecordProofError::Author)?;
        let closed = identity.closing(self.generation).is_some();
        let head = inclusion.checkpoint().checkpoint();
        let key_state = judge_key(standing, closed, head, inclusion.index(), &self.extra.to_pin)?;
        let (generation, to_pin) = (self.generation, self.extra.to_pin);
        Ok(VerifiedRecordProof { identity, entry, inclusion, generation, key, key_state, to_pin })
    }
}

/// A record that its author's log contains, under a checkpoint the author signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecordProof {
    identity: Identity,
    entry: Entry,
    inclusion: VerifiedInclusion,
    generation: Generation,
    /// The log key that signed, and whether that counts.
    key: PublicKey,
    key_state: KeyState,
    to_pin: Vec<Hash>,
}

impl VerifiedRecordProof {
    /// Judges the proof by what the reader knows of the author from elsewhere:
    /// the key that signed it may have been replaced since the file was made.
    /// An identity of somebody else, and an older one, change nothing.
    ///
    /// # Errors
    /// [`RecordProofError::Disputed`]; [`RecordProofError::Key`] if the file does
    /// not show what is needed now; [`RecordProofError::Author`] if the key never
    /// was one of the author's.
    pub fn judged_by(mut self, known: &Identity) -> Result<Self, RecordProofError> {
        match self.identity.relation_to(known) {
            Some(Relation::Behind | Relation::Superseded { .. }) => {}
            Some(Relation::Conflict { .. }) => return Err(RecordProofError::Disputed),
            _ => return Ok(self),
        }
        let standing = known.log_keys(self.generation).find(|(key, _)| **key == self.key);
        let (_, standing) = standing.ok_or(RecordProofError::Author)?;
        let closed = known.closing(self.generation).is_some();
        let (head, index) = (self.inclusion.checkpoint().checkpoint(), self.inclusion.index());
        self.key_state = match judge_key(standing, closed, head, index, &self.to_pin) {
            // It led to what was pinned when the file was made.
            Err(RetiredKeyError::Pin(_)) => return Err(RetiredKeyError::Refresh.into()),
            judged => judged?,
        };
        self.identity = known.clone();
        Ok(self)
    }

    /// By what right the log key speaks that signed the checkpoint.
    #[must_use]
    pub const fn key_state(&self) -> KeyState {
        self.key_state
    }

    /// The author's identity as its own chain states it: self-asserted, until
    /// the reader compares the authority id with one known from elsewhere.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whose record it is.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    /// Header and, if shown, body.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The log and the key under which its checkpoint was signed, as a policy names them.
    #[must_use]
    pub fn log_key(&self) -> VerifierKey {
        log_key(self.checkpoint().checkpoint().origin(), self.key)
    }

    /// Where the entry stands in the author's log.
    #[must_use]
    pub const fn version(&self) -> Version {
        Version { generation: self.generation, index: self.inclusion.index() }
    }

    /// The full reference to this version of the record.
    #[must_use]
    pub const fn reference(&self) -> RecordRef {
        RecordRef {
            authority: self.authority(),
            record: self.entry.header().record,
            version: Some(self.version()),
        }
    }

    /// The signed log head.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        self.inclusion.checkpoint()
    }

    /// The witnesses asked for that cosigned, each with the time it states.
    #[must_use]
    pub fn cosignatures(&self) -> BTreeMap<VerifierKey, UnixTime> {
        let signers = self.checkpoint().cosignatures();
        signers.filter_map(|signer| Some((signer.key.clone(), signer.time?))).collect()
    }

    /// Everything the proof says.
    #[must_use]
    pub fn facts(&self) -> RecordFacts {
        let body = self.entry.body();
        RecordFacts {
            network: self.identity.network().clone(),
            profile: self.identity.profile().clone(),
            successors: self.identity.successors().to_vec(),
            reference: self.reference(),
            leaf: self.entry.leaf(),
            header: self.entry.header().clone(),
            disclosure: Disclosure::of(body),
            fields: body.map(Body::fields).unwrap_or_default(),
            withheld: body.map(Body::withheld).unwrap_or_default(),
            checkpoint: self.checkpoint().checkpoint().clone(),
            key: self.key_state,
            cosignatures: self.cosignatures(),
        }
    }
}

/// How much of a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disclosure {
    /// Every field.
    Full,
    /// Some fields; the names of the others.
    Partial,
    /// Names only.
    Erased,
    /// Nothing but the header.
    Absent,
}

impl Disclosure {
    /// How much of `body` is shown; `None` if there is none at hand.
    #[must_use]
    pub const fn of(body: Option<&Body>) -> Self {
        match body {
            Some(Body::Full(_)) => Self::Full,
            Some(Body::Partial(_)) => Self::Partial,
            Some(Body::Erased(_)) => Self::Erased,
            Some(Body::Sealed(_)) => Self::Absent,
            None => Self::Absent,
        }
    }
}

/// The reported facts: all that a reader learns from a record proof.
///
/// Two proofs that compare equal here say the same. What is not in here (the
/// order of lines, which of several sufficient controllers signed) is nothing
/// a reader may rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Network of the author's identity.
    pub network: NetworkName,
    /// How the author describes itself.
    pub profile: Profile,
    /// Who has taken over from the author, if anybody has.
    pub successors: Vec<AuthorityId>,
    /// Author, record and version.
    pub reference: RecordRef,
    /// Leaf hash of the header.
    pub leaf: Hash,
    /// What the author said about the record.
    pub header: Header,
    /// How much of the body is shown.
    pub disclosure: Disclosure,
    /// The fields that are shown.
    pub fields: Fields,
    /// Names of those that are not; unknown if the body is absent.
    pub withheld: Vec<FieldName>,
    /// The signed log head: origin, size and root.
    pub checkpoint: Checkpoint,
    /// By what right the key speaks that signed it.
    pub key: KeyState,
    /// The witnesses asked for that cosigned, and when.
    pub cosignatures: BTreeMap<VerifierKey, UnixTime>,
}
