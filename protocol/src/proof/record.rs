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
//! | 6 | for a group's log, what its origin opens to ([`OriginOpening`]); absent for a public one |
//! | 8 | for a group's log, the head at which its key retired, as the author's pin opens to it ([`PinOpening`]): salt, size, root; absent for the current key |
//!
//! A log key that was replaced signs no more; what it signed counts up to the
//! head that was pinned then, or at which its generation was closed, if key 4
//! leads there. The key is even: a reader that does not know it must not guess,
//! and could not judge a retired key anyway. The version stays 1, so that files
//! under current keys are read as before, both ways.
//!
//! A proof from a private group shows the record to whoever gets the file, and says
//! that its author said so in a group of its own. Neither the group's id or name nor a
//! member is in it, and no key of the group is needed: the header commits to the body
//! before it was sealed. What it cannot hide: two files from one log have the same
//! origin, and two from one epoch the same epoch in their headers. Cosignatures are
//! left out, since only members cosign a group's log.
//!
//! Nothing vouches for the extra data as such; every part of it is tied to the
//! author's signatures: the chain by its controllers and by the authority id in
//! the origin, or from which the origin was made, the checkpoint by the chain's log key, the header by its leaf
//! hash under the checkpoint's root, the body by the header's commitment.
//!
//! **Invariant:** (9 of the design) whatever is changed in a file, it is
//! refused, or [`RecordFacts`], which is all that is reported, reports nothing
//! that was not signed. A holder may show less of a body, leave a witness's
//! line out or put lines in another order; nobody can make a file say more or
//! anything else. Deliberately absent: whether the record is still the newest
//! version and the identity the one the reader thinks of (a proof cannot know),
//! which group it was, and policies on witnesses: their times are reported, the
//! caller decides. A line in the name of a witness that the author's own chain
//! names says who it is by; without the witness's key it is not looked at, and
//! nothing is reported of it.

mod extra;
mod facts;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use self::extra::Extra;
pub use self::facts::{Disclosure, ProvedAudience, RecordFacts};
pub use self::standing::{KeyState, RetiredKeyError};
use self::standing::{Log, judge_key, signer};
use super::{ProofFormatError, ProofVerifyError, ProofWriteError, UnverifiedProof};
use super::{VerifiedInclusion, format};
use crate::body::Body;
use crate::cbor::CborError;
use crate::checkpoint::{
    CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint, log_key, witness_name,
};
use crate::entry::{Entry, EntryError};
use crate::group::OriginOpening;
use crate::id::{AuthorityId, Generation, Hash, LogId, NetworkName, RecordRef, Version};
use crate::identity::{Identity, IdentityError, PinOpening, Relation};
use crate::key::PublicKey;
use crate::note::{Algorithm, SignatureLine, VerifierKey};
use crate::time::UnixTime;

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
    /// The log is somebody else's who does not use our names, or a group's and not
    /// opened, or a public one that there is nothing to open of.
    #[error("the proof is neither of a public log nor of a group's that it opens")]
    Origin,
    /// The body is sealed: nothing would vouch for its bytes.
    #[error("the record inside the proof is sealed")]
    Sealed,
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

/// Why a record proof cannot be written: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordProofWriteError {
    /// The checkpoint is of another log or network, or of a generation to come.
    #[error("the checkpoint is not of this authority's log")]
    Author,
    /// The body must be opened first.
    #[error("the body is sealed")]
    Sealed,
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
    let (network, authority, generation) =
        head.origin().public_log().ok_or(RecordProofWriteError::Author)?;
    let log = Log::Public(authority, generation);
    if network != *identity.network() {
        return Err(RecordProofWriteError::Author);
    }
    let key = counting_key(identity, &log, checkpoint, index, to_pin)?;
    let witnesses: Vec<_> = checkpoint.cosignatures().map(|signer| signer.key.clone()).collect();
    let checkpoint = single_lines(checkpoint, &key, &witnesses)?;
    let extra = extra::write(identity, entry, to_pin, (None, None));
    write(entry, (index, hashes), &checkpoint, &extra)
}

/// As [`assemble`], for what `identity` said in its log of a private group; `entry` is
/// opened. Under a key that was replaced, `retired` is what opens the author's pin of
/// the head at which it was, and the consistency proof from the checkpoint to there.
/// The file does not name the group, and whoever cosigned is left out.
///
/// # Errors
/// As [`assemble`]; also if the checkpoint is not of this log, and
/// [`RecordProofWriteError::Sealed`].
pub fn assemble_in_group(
    identity: &Identity,
    log: &LogId,
    entry: &Entry,
    (index, hashes): (u64, &[Hash]),
    checkpoint: &VerifiedCheckpoint,
    retired: Option<(&PinOpening, &[Hash])>,
) -> Result<Vec<u8>, RecordProofWriteError> {
    let opening = OriginOpening::of(identity.network(), log);
    let opening = opening.ok_or(RecordProofWriteError::Author)?;
    let (pin, to_pin) = retired.unzip();
    let to_pin = to_pin.unwrap_or_default();
    let claimed = Log::Group(opening, pin.cloned());
    let key = counting_key(identity, &claimed, checkpoint, index, to_pin)?;
    let checkpoint = single_lines(checkpoint, &key, &[])?;
    let extra = extra::write(identity, entry, to_pin, (Some(&opening), pin));
    write(entry, (index, hashes), &checkpoint, &extra)
}

fn write(
    entry: &Entry,
    (index, hashes): (u64, &[Hash]),
    checkpoint: &VerifiedCheckpoint,
    extra: &[u8],
) -> Result<Vec<u8>, RecordProofWriteError> {
    if matches!(entry.body(), Some(Body::Sealed(_))) {
        return Err(RecordProofWriteError::Sealed);
    }
    Ok(format(&entry.leaf(), index, hashes, checkpoint, extra)?)
}

/// The log key that signed a checkpoint, if what it signed counts.
fn counting_key(
    identity: &Identity,
    log: &Log,
    checkpoint: &VerifiedCheckpoint,
    index: u64,
    to_pin: &[Hash],
) -> Result<PublicKey, RecordProofWriteError> {
    let head = checkpoint.checkpoint();
    let generation = log.generation(identity, head.origin());
    let generation = generation.ok_or(RecordProofWriteError::Author)?;
    let parsed = UnverifiedCheckpoint::parse(&checkpoint.to_bytes())?;
    let (key, right) = signer(identity, log, generation, &parsed)?;
    judge_key(log, right, identity.closing(generation).is_some(), head, index, to_pin)?;
    Ok(key)
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

/// The checkpoint with one line of the log and one of each witness given.
fn single_lines(
    checkpoint: &VerifiedCheckpoint,
    key: &PublicKey,
    witnesses: &[VerifierKey],
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let note = checkpoint.note();
    let log = log_key(checkpoint.checkpoint().origin(), *key);
    let mut text = format!("{}\n", note.text());
    for key in core::iter::once(&log).chain(witnesses) {
        let by_key =
            |line: &&SignatureLine| line.name() == key.name() && line.key_id() == key.key_id();
        let line = note.lines().iter().find(by_key).ok_or(CheckpointError::NotSigned)?;
        text.push_str(&format!("{line}\n"));
    }
    let parsed = UnverifiedCheckpoint::parse(text.as_bytes())?;
    parsed.verify_attributed(key, witnesses)
}

/// A well-formed record proof of which nothing is known to be true.
#[derive(Clone, Debug)]
pub struct UnverifiedRecordProof {
    proof: UnverifiedProof,
    extra: Extra,
    network: NetworkName,
    log: Log,
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
        let mut extra = Extra::read(&core::mem::take(&mut proof.extra))?;
        let origin = proof.claimed_origin();
        let (network, log) = match (origin.public_log(), extra.opening) {
            (Some((network, authority, generation)), None) if extra.pin.is_none() => {
                (network, Log::Public(authority, generation))
            }
            (None, Some(opening)) => {
                let network = origin.private_log().ok_or(RecordProofError::Origin)?;
                let pin = extra.pin.take().map(|pin| pin.of(origin)).transpose()?;
                (network, Log::Group(opening, pin))
            }
            _ => return Err(RecordProofError::Origin),
        };
        Ok(Self { proof, extra, network, log })
    }

    /// The network it claims to belong to.
    #[must_use]
    pub const fn claimed_network(&self) -> &NetworkName {
        &self.network
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
        if matches!(entry.body(), Some(Body::Sealed(_))) {
            return Err(RecordProofError::Sealed);
        }
        let identity = self.extra.chain.verify(&self.network)?;
        let generation = self.log.generation(&identity, self.proof.claimed_origin());
        let generation = generation.ok_or(RecordProofError::Author)?;
        let cosigns = |key: &&VerifierKey| key.algorithm() == Algorithm::CosignatureV1;
        let witnesses: Vec<_> = witnesses.iter().filter(cosigns).cloned().collect();
        let others = others_named(&identity, &witnesses);
        self.proof.checkpoint = self.proof.checkpoint.without(others);
        let signer = signer(&identity, &self.log, generation, &self.proof.checkpoint);
        let (key, right) = match signer {
            Ok((key, right)) => (key, Some(right)),
            // What is wrong with the lines is said best by looking for the newest key.
            Err(_) => (*identity.log_key(), None),
        };
        let inclusion = self.proof.verify_leaf_attributed(&entry.leaf(), &key, &witnesses)?;
        let note = inclusion.checkpoint().note();
        if note.lines().len() != note.signers().len() {
            return Err(RecordProofError::Repeated);
        }
        let right = right.ok_or(RecordProofError::Author)?;
        let closed = identity.closing(generation).is_some();
        let head = inclusion.checkpoint().checkpoint();
        let (log, to_pin) = (self.log, self.extra.to_pin);
        let key_state = judge_key(&log, right, closed, head, inclusion.index(), &to_pin)?;
        Ok(VerifiedRecordProof {
            identity,
            entry,
            inclusion,
            log,
            generation,
            key,
            key_state,
            to_pin,
        })
    }
}

/// A record that its author's log contains, under a checkpoint the author signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecordProof {
    identity: Identity,
    entry: Entry,
    inclusion: VerifiedInclusion,
    log: Log,
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
        let (head, index) = (self.inclusion.checkpoint().checkpoint(), self.inclusion.index());
        let mut keys = self.log.keys(known, head.origin(), self.generation).into_iter();
        let (_, right) = keys.find(|(key, _)| *key == self.key).ok_or(RecordProofError::Author)?;
        let closed = known.closing(self.generation).is_some();
        let state = match judge_key(&self.log, right, closed, head, index, &self.to_pin) {
            // It led to what was pinned when the file was made.
            Err(RetiredKeyError::Pin(_)) => return Err(RetiredKeyError::Refresh.into()),
            judged => judged?,
        };
        self.key_state = state;
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

    /// To whom the author said it.
    #[must_use]
    pub const fn audience(&self) -> ProvedAudience {
        match self.log {
            Log::Public(..) => ProvedAudience::Public,
            Log::Group(..) => ProvedAudience::Group,
        }
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
            audience: self.audience(),
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
