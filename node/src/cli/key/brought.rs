//! What people bring to a recovery from elsewhere, because this machine has lost
//! it: a signed head of the log, and the identity itself.
//!
//! A proof of any record of the authority, made by a partner, has both. Nothing
//! in these files is believed: the chain is verified and must be this authority's,
//! and the head must be signed under one of the chain's log keys. **Invariant:** of
//! two chains the longer one counts if it continues the other, and none if they
//! contradict each other. Deliberately absent: records, which partners give back
//! by themselves.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tallystick_protocol::card::UnverifiedCard;
use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{Head, Identity, Relation};
use tallystick_protocol::limits;
use tallystick_protocol::proof::record::UnverifiedRecordProof;

use crate::config::{Config, Place};
use crate::failure::Failure;

/// Where a head comes from, said where there is none.
pub(super) const GET_A_HEAD: &str = "give one with --head FILE: a partner makes such a file with \
    `tally prove REF -o FILE`, REF being the newest record of this authority that it has; only if \
    nothing was ever published, say --at 0";

/// Files with what was brought, taken apart.
#[derive(Default)]
pub(super) struct Brought {
    card: Option<UnverifiedCard>,
    proof: Option<UnverifiedRecordProof>,
    head: Option<UnverifiedCheckpoint>,
}

impl Brought {
    /// Reads the card, and the head: a proof of a record, or a signed note.
    pub(super) fn read(card: Option<&Path>, head: Option<&Path>) -> Result<Self, Failure> {
        let mut brought = Self::default();
        if let Some(path) = card {
            let text = read(path)?;
            let card = UnverifiedCard::parse(&String::from_utf8_lossy(&text));
            brought.card = Some(card.map_err(|error| {
                let remedy = "give the newest card of this authority, as a partner got it";
                Failure::usage(format!("{}: {error}", path.display()), remedy)
            })?);
        }
        if let Some(path) = head {
            let bytes = read(path)?;
            match UnverifiedRecordProof::parse(&bytes) {
                Ok(proof) => brought.proof = Some(proof),
                Err(_) => brought.head = Some(note(path, &bytes)?),
            }
        }
        Ok(brought)
    }

    /// The network that the files claim, for a directory that does not say.
    fn network(&self) -> Option<NetworkName> {
        let proof = self.proof.as_ref().map(|proof| proof.claimed_network().clone());
        proof.or_else(|| self.card.as_ref()?.claimed_network())
    }

    /// Verifies all of it.
    pub(super) fn verify(self, network: &NetworkName) -> Result<Verified, Failure> {
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::usage(
                format!("what was given proves nothing: {error}"),
                "ask a partner for another file; `tally verify FILE` says what is wrong with a proof",
            )
        };
        let card = self.card.map(|card| card.verify(network)).transpose();
        let card = card.map_err(|error| wrong(&error))?;
        let proof = self.proof.map(|proof| proof.verify(&[])).transpose();
        let proof = proof.map_err(|error| wrong(&error))?;
        let mut verified = Verified { identity: None, head: self.head };
        if let Some(proof) = proof {
            let note = proof.checkpoint().to_bytes();
            verified.head = UnverifiedCheckpoint::parse(&note).ok();
            verified.take(proof.identity().clone())?;
        }
        if let Some(card) = card {
            verified.take(card.identity().clone())?;
        }
        Ok(verified)
    }

    /// The network of the directory, or else that of the files.
    pub(super) fn network_for(&self, place: &Place) -> Result<NetworkName, Failure> {
        match (place.config().exists(), self.network()) {
            (false, Some(network)) => Ok(network),
            _ => Ok(Config::load(place.config())?.network),
        }
    }
}

/// What was brought, each part of it true by itself.
pub(super) struct Verified {
    identity: Option<Identity>,
    head: Option<UnverifiedCheckpoint>,
}

impl Verified {
    fn take(&mut self, identity: Identity) -> Result<(), Failure> {
        self.identity = Some(match self.identity.take() {
            Some(known) => newer(known, identity)?,
            None => identity,
        });
        Ok(())
    }

    /// Puts the identity that was brought into a directory that has none.
    ///
    /// # Errors
    /// A [`Failure`] if something else is there, or no identity was brought.
    pub(super) fn settle(&self, place: &Place) -> Result<(), Failure> {
        match &self.identity {
            Some(identity) => crate::keys::adopt(place, identity),
            None => Err(Failure::unavailable(
                format!("there is no authority in {}", place.data().display()),
                "name its directory with --data DIR; if that is lost, give this authority's newest \
                 card with --card FILE, or a proof by a partner with --head FILE",
            )),
        }
    }

    /// The newest identity: the one known here, or what was brought.
    pub(super) fn identity(&self, known: &Identity) -> Result<Identity, Failure> {
        match &self.identity {
            Some(brought) => newer(known.clone(), brought.clone()),
            None => Ok(known.clone()),
        }
    }

    /// The head that was brought, if it is one of the open log of `identity`.
    pub(super) fn head(&self, identity: &Identity) -> Result<Option<Head>, Failure> {
        let Some(head) = &self.head else { return Ok(None) };
        let (verified, _) = identity.verify_head(head).map_err(|_| {
            Failure::usage(
                "the head that was given is not one that a log key of this authority signed",
                "give one of its own public log; `tally key show` says which authority this is",
            )
        })?;
        let head = Head::of(&verified.attributed());
        match head.filter(|head| head.generation() == identity.generation()) {
            Some(head) => Ok(Some(head)),
            None => Err(Failure::usage(
                "the head that was given is of a log that was closed before",
                format!("give one of generation {}, which is open", identity.generation()),
            )),
        }
    }
}

fn newer(one: Identity, other: Identity) -> Result<Identity, Failure> {
    match one.relation_to(&other) {
        Some(Relation::Same | Relation::Extends | Relation::Supersedes { .. }) => Ok(one),
        Some(Relation::Behind | Relation::Superseded { .. }) => Ok(other),
        Some(Relation::Conflict { .. }) => Err(Failure::usage(
            "the identities that are known here contradict each other",
            "find out which one the controllers mean, and give the card with that one only",
        )),
        None => Err(Failure::usage(
            format!("what was given is by {}, and not by {}", other.authority(), one.authority()),
            "give files of this authority's own; `tally key show` says which one this is",
        )),
    }
}

fn note(path: &Path, bytes: &[u8]) -> Result<UnverifiedCheckpoint, Failure> {
    UnverifiedCheckpoint::parse(bytes).map_err(|_| {
        Failure::usage(
            format!("{} is neither a proof of a record nor a signed log head", path.display()),
            "let a partner make one with `tally prove REF -o FILE`",
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = limits::PROOF_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| {
        let remedy = "check the path and that you may read it";
        Failure::usage(format!("{} cannot be read ({error})", path.display()), remedy)
    })
}
