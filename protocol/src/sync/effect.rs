//! What the machine asks of storage, and what storage gives back.
//!
//! Storage is an effect like sending: the machine emits an [`Append`] and goes
//! on; nothing is acknowledged, announced or served before `Appended` comes
//! back. So a slow, failing or crashing disk can be simulated.

use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::Entry;
use crate::equivocation::{Evidence, EvidenceKind};
use crate::erasure::{Erasure, Lack};
use crate::id::{AuthorityId, Hash, LogId};
use crate::limits;
use crate::log::{Frontier, Outline};
use crate::time::UnixTime;
use crate::witness::Seen;

/// Entries that belong to a log, to be stored behind the ones it has.
///
/// **Invariant:** the entries were checked against a signed root, or are our
/// own; `frontier` is the tree over everything up to and including them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The log.
    pub log: LogId,
    /// Index of the first entry.
    pub start: u64,
    /// The entries; may be none when only the head changes.
    pub entries: Vec<Entry>,
    /// The tree after the entries.
    pub frontier: Frontier,
    /// The newest signed head that the tree covers; `None` leaves it as it is.
    pub head: Option<VerifiedCheckpoint>,
    /// Change counter of this change.
    pub changed: u64,
    /// Those of the entries that are erasures which the author's controllers
    /// countersigned, so that they are due at once.
    pub countersigned: Vec<u64>,
    /// The time by which enough of the author's witnesses had cosigned `head`.
    pub witnessed: Option<UnixTime>,
}

/// Bodies in the place of such as lack something, checked against their headers.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The log.
    pub log: LogId,
    /// Indices, and the entries with their new bodies.
    pub bodies: Vec<(u64, Entry)>,
}

/// What its author's controllers have disowned of a log: everything from `keep`
/// on is set aside, where it can be looked at, but is no part of the log any more.
#[derive(Clone, Debug)]
pub struct Revert {
    /// The log.
    pub log: LogId,
    /// How many entries stay.
    pub keep: u64,
    /// The signed head over these; `None` if there is none any more.
    pub head: Option<VerifiedCheckpoint>,
    /// Change counter of this change.
    pub changed: u64,
}

/// A head of another's log, durable here, that its author wants cosigned.
#[derive(Clone, Debug)]
pub struct Cosign {
    /// The log.
    pub log: LogId,
    /// The head.
    pub head: VerifiedCheckpoint,
    /// The largest head seen that bears a cosignature of ours.
    pub promised: Option<Seen>,
}

/// A log as storage knows it at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// The log.
    pub log: LogId,
    /// The tree over all stored entries.
    pub frontier: Frontier,
    /// The newest signed head, as the bytes of its note.
    pub head: Option<Vec<u8>>,
    /// Change counter of its newest change.
    pub changed: u64,
    /// Entries whose body is absent.
    pub absent: u64,
    /// Bytes of its headers and bodies.
    pub bytes: u64,
}

/// How much of one log of another authority is fetched. Beyond it only heads are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Entries.
    pub entries: u64,
    /// Bytes of headers and bodies. What is on its way when they are reached still comes.
    pub bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { entries: limits::QUOTA_ENTRIES, bytes: limits::QUOTA_BYTES }
    }
}

/// An identity chain as storage knows it at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Whose it is.
    pub authority: AuthorityId,
    /// Its signed events.
    pub events: Vec<Vec<u8>>,
    /// Change counter of its newest change.
    pub changed: u64,
}

/// Evidence of two histories as storage knows it at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvidence {
    /// Who signed two histories.
    pub authority: AuthorityId,
    /// What it is about.
    pub kind: EvidenceKind,
    /// [`Evidence::place`]: newer is higher.
    pub place: u32,
    /// [`Evidence::to_bytes`].
    pub bytes: Vec<u8>,
    /// Change counter of when it was found.
    pub changed: u64,
}

impl StoredEvidence {
    /// Verified evidence, as it is to be stored.
    #[must_use]
    pub fn of(evidence: &Evidence, changed: u64) -> Self {
        Self {
            authority: evidence.authority(),
            kind: evidence.kind(),
            place: evidence.place(),
            bytes: evidence.to_bytes().to_vec(),
            changed,
        }
    }
}

/// Everything storage knows at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Random name of this store, 16 bytes; a new one when it is made anew.
    pub incarnation: [u8; 16],
    /// All logs.
    pub logs: Vec<StoredLog>,
    /// All identity chains.
    pub identities: Vec<StoredIdentity>,
    /// All evidence that is kept, in order of authority, kind and place.
    pub evidence: Vec<StoredEvidence>,
    /// Where reading of each partner's news stopped.
    pub cursors: Vec<(AuthorityId, Vec<u8>)>,
    /// All erasures that stand, carried out or not.
    pub erasures: Vec<(LogId, Erasure)>,
    /// What the bodies of entries lack, erased or not.
    pub lacks: Vec<(LogId, u64, Lack)>,
    /// The control entries of groups, with their places.
    pub controls: Vec<(LogId, u64, Entry)>,
}

/// Something to be read from storage for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// What lets a peer that has `from` entries check the rest, up to `size`.
    Outline {
        /// The log.
        log: LogId,
        /// Entries the peer has.
        from: u64,
        /// Size of the checkpoint it checks against.
        size: u64,
    },
    /// All headers in `start..end`, and bodies from `start` on while they fit into `bytes`.
    Entries {
        /// The log.
        log: LogId,
        /// First entry.
        start: u64,
        /// One past the last entry.
        end: u64,
        /// Room for bodies.
        bytes: usize,
    },
    /// Bodies from `start` on, at least one, while they fit into `bytes`.
    Bodies {
        /// The log.
        log: LogId,
        /// First entry.
        start: u64,
        /// One past the last entry.
        end: u64,
        /// Room for bodies.
        bytes: usize,
        /// Whether their headers are wanted, too.
        headers: bool,
    },
    /// The consistency proof between two sizes of a log that begins with a node of
    /// its own ([`crate::log::shown_proof`]).
    Proof {
        /// The log.
        log: LogId,
        /// The smaller size.
        old: u64,
        /// The larger size.
        new: u64,
    },
}

/// The answer to a [`Load`].
#[derive(Clone, Debug)]
pub enum Loaded {
    /// To [`Load::Outline`].
    Outline(Outline),
    /// To [`Load::Entries`] (`headers` complete) and [`Load::Bodies`] (`headers`
    /// of these bodies, or empty, as asked for).
    Entries {
        /// Headers as stored.
        headers: Vec<Vec<u8>>,
        /// Bodies as stored; `None` where the body is absent.
        bodies: Vec<Option<Vec<u8>>>,
    },
    /// To [`Load::Proof`].
    Proof(Vec<Hash>),
    /// Storage does not have it, or failed to read it.
    Unavailable,
}
