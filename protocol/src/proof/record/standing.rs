//! By what right a log key signed the checkpoint of a record proof.
//!
//! **Invariant:** a key speaks for a log only if the log is of the authority whose
//! chain names the key: of a public log the origin says so, of a group's log what the
//! origin was made from. Deliberately absent: signatures, which the checkpoint checks.

use crate::checkpoint::{Checkpoint, CheckpointError, Origin, UnverifiedCheckpoint};
use crate::group::OriginOpening;
use crate::id::{AuthorityId, Generation, Hash};
use crate::identity::{Identity, KeyStanding};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Public(AuthorityId, Generation),
    Group(OriginOpening),
}

impl Log {
    /// Which generation of this authority's log it is, if it is one of its logs.
    pub(super) fn generation(self, identity: &Identity, origin: &Origin) -> Option<Generation> {
        match self {
            Self::Public(authority, generation) => {
                let own = authority == identity.authority() && generation <= identity.generation();
                own.then_some(generation)
            }
            Self::Group(opening) => {
                let (network, authority) = (identity.network(), identity.authority());
                let opens = |at: &Generation| opening.origin(network, &authority, *at) == *origin;
                (0..=identity.generation()).rev().find(opens)
            }
        }
    }

    /// The keys of a generation, newest first, and by what right each signs.
    pub(super) fn keys(
        self,
        identity: &Identity,
        generation: Generation,
    ) -> impl Iterator<Item = (&PublicKey, Right)> {
        identity.log_keys(generation).map(move |(key, standing)| {
            let right = match (standing, self) {
                (KeyStanding::Current, _) => Right::Current,
                (KeyStanding::Retired(pin), Self::Public(..)) => {
                    Right::UpTo(pin.size(), pin.root())
                }
                // The head that is pinned as it is, is one of another log.
                (KeyStanding::Retired(_), Self::Group(_)) => Right::Unknown,
            };
            (key, right)
        })
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
    log: Log,
    generation: Generation,
    checkpoint: &UnverifiedCheckpoint,
) -> Result<(PublicKey, Right), CheckpointError> {
    let mut keys = log.keys(identity, generation);
    let signed =
        |key: &PublicKey| checkpoint.clone().verify(key) != Err(CheckpointError::NotSigned);
    keys.find(|(key, _)| signed(key))
        .map(|(key, right)| (*key, right))
        .ok_or(CheckpointError::NotSigned)
}

/// Whether what a log key signed counts for the entry at `index`.
pub(super) fn judge_key(
    right: Right,
    closed: bool,
    head: &Checkpoint,
    index: u64,
    to_pin: &[Hash],
) -> Result<KeyState, RetiredKeyError> {
    let (size, root) = match right {
        Right::UpTo(size, root) => (size, root),
        // Hashes that lead nowhere would be read past.
        _ if !to_pin.is_empty() => return Err(RetiredKeyError::Pin(ProofError::Length)),
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
