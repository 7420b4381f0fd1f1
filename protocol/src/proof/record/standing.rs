//! By what right a log key signed the checkpoint of a record proof.
//!
//! **Invariant:** a key speaks for a log only if the log is of the authority whose
//! chain names the key: of a public log the origin says so, of a group's log what the
//! origin was made from. Deliberately absent: signatures, which the checkpoint checks.

use crate::checkpoint::{Checkpoint, CheckpointError, Origin, UnverifiedCheckpoint};
use crate::group::OriginOpening;
use crate::id::{AuthorityId, Generation, Hash};
use crate::identity::{GroupKeyStanding, Identity, KeyStanding, PinOpening};
use crate::key::PublicKey;
use crate::log::{ProofError, verify_consistency};

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

/// The log that a proof is of, as far as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Public(AuthorityId, Generation),
    /// With the head, if the file shows it, at which its key was replaced.
    Group(OriginOpening, Option<PinOpening>),
}

impl Log {
    /// Which generation of this authority's log it is, if it is one of its logs.
    pub(super) fn generation(&self, identity: &Identity, origin: &Origin) -> Option<Generation> {
        match self {
            Self::Public(authority, generation) => {
                let own =
                    *authority == identity.authority() && *generation <= identity.generation();
                own.then_some(*generation)
            }
            Self::Group(opening, _) => {
                let (network, authority) = (identity.network(), identity.authority());
                let opens = |at: &Generation| opening.origin(network, &authority, *at) == *origin;
                (0..=identity.generation()).rev().find(opens)
            }
        }
    }

    /// The keys of a generation, newest first, and by what right each signs heads of
    /// the log with this origin.
    pub(super) fn keys(
        &self,
        identity: &Identity,
        origin: &Origin,
        generation: Generation,
    ) -> Vec<(PublicKey, Right)> {
        let up_to = |size, root| Right::UpTo(size, root);
        match self {
            Self::Public(..) => {
                let right = |standing| match standing {
                    KeyStanding::Current => Right::Current,
                    KeyStanding::Retired(pin) => up_to(pin.size(), pin.root()),
                };
                identity.log_keys(generation).map(|(key, it)| (*key, right(it))).collect()
            }
            Self::Group(_, pin) => {
                let right = |standing| match standing {
                    GroupKeyStanding::Current => Right::Current,
                    GroupKeyStanding::Retired(pin) => up_to(pin.head().size(), pin.head().root()),
                    GroupKeyStanding::Unopened => Right::Unknown,
                };
                let keys = identity.group_log_keys(origin, generation, pin.as_slice());
                keys.map(|(key, it)| (*key, right(it))).collect()
            }
        }
    }

    /// Whether the file shows a head at which its key was replaced.
    pub(super) const fn shows_pin(&self) -> bool {
        matches!(self, Self::Group(_, Some(_)))
    }
}

/// By what right a log key signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Right {
    Current,
    /// It was replaced; what leads to a head of this size and root counts.
    UpTo(u64, Hash),
    /// It was replaced, and the file does not say at which head.
    Unknown,
}

/// The log key of a generation that signed a checkpoint, and by what right.
pub(super) fn signer(
    identity: &Identity,
    log: &Log,
    generation: Generation,
    checkpoint: &UnverifiedCheckpoint,
) -> Result<(PublicKey, Right), CheckpointError> {
    let keys = log.keys(identity, checkpoint.claimed_origin(), generation);
    let signed =
        |key: &PublicKey| checkpoint.clone().verify(key) != Err(CheckpointError::NotSigned);
    keys.into_iter().find(|(key, _)| signed(key)).ok_or(CheckpointError::NotSigned)
}

/// Whether what a log key signed counts for the entry at `index`.
pub(super) fn judge_key(
    log: &Log,
    right: Right,
    closed: bool,
    head: &Checkpoint,
    index: u64,
    to_pin: &[Hash],
) -> Result<KeyState, RetiredKeyError> {
    let (size, root) = match right {
        Right::UpTo(size, root) => (size, root),
        // A head that opens nothing and hashes that lead nowhere would be read past.
        _ if !to_pin.is_empty() || (log.shows_pin() && matches!(right, Right::Current)) => {
            return Err(RetiredKeyError::Pin(ProofError::Length));
        }
        Right::Current => return Ok(KeyState::Current),
        Right::Unknown => return Err(RetiredKeyError::Refresh),
    };
    if closed && index >= size {
        return Err(RetiredKeyError::Disowned);
    }
    if to_pin.is_empty() {
        return if (head.size(), head.root()) == (size, root) {
            Ok(KeyState::RetiredProven)
        } else {
            Err(RetiredKeyError::Refresh)
        };
    }
    verify_consistency(head.size(), &head.root(), size, &root, to_pin)
        .map_err(RetiredKeyError::Pin)?;
    Ok(KeyState::RetiredProven)
}
