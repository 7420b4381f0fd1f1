//! Private sharing groups: who is a member, and what only members can read.
//!
//! A group is a space of its own ([`Space::Group`]): each member keeps a log in
//! it. Membership is what the *control entries* in those logs give when they are
//! merged; nobody keeps a list.
//!
//! - [`operation`]: control entries, what they say and what they had seen;
//! - [`membership`]: the merge and its rules, and [`Membership`], its result;
//! - [`epoch`]: periods with one secret each, and [`epoch::Keyring`], what one can read;
//! - [`seal`]: how secrets are sealed to members, and bodies under them;
//! - [`invitation`]: the note by which somebody comes in.
//!
//! Control entries are readable to all members and are not sealed. A newcomer
//! must know whose epochs to trust before it has any secret, and the recipients
//! of an epoch are chosen by the membership, so a membership under an epoch's
//! secret could never be computed by those who need it first. What protects
//! them is that they travel only between members (invariant 3 of the design)
//! over encrypted connections. They hold authority ids, roles, the group's name
//! and its terms, and no business data.
//!
//! **Invariants:** a group's id commits to its creator, so nobody else can begin
//! it; the origins of a group's logs follow from its id and say nothing to those
//! who do not have it; whose log an origin stands for can be shown without its
//! group ([`OriginOpening`]). Deliberately absent: clocks. Whoever wants to know what
//! holds at a time says the time.

pub mod epoch;
pub mod invitation;
pub mod membership;
mod merge;
pub mod operation;
pub mod seal;

use sha2::{Digest as _, Sha256};

pub use self::membership::{Membership, MergeError, Verdict};
pub use self::operation::{ControlEntry, ControlError, EntryRef, LogEnd, Operation};
use crate::checkpoint::Origin;
use crate::id::{AuthorityId, Generation, GroupId, Hash, LogId, NetworkName, RecordId, Space};
use crate::time::UnixTime;

const GROUP_DOMAIN: &[u8] = b"tallystick group v1\n";
const OPENING_DOMAIN: &[u8] = b"tallystick group opening v1\n";
const ORIGIN_DOMAIN: &[u8] = b"tallystick group origin v1\n";
const RECORD_DOMAIN: &[u8] = b"tallystick group record v1\n";

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Observer,
    /// Reads and writes.
    Member,
    /// Reads, writes and manages.
    Convenor,
}

/// A role, and for observers how long.
///
/// Ordered by how much it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    role: Role,
    until: Option<UnixTime>,
}

impl Grant {
    /// A role without end.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        Self { role, until: None }
    }

    /// An observer until a time: nothing that begins after it is shown to it.
    #[must_use]
    pub const fn observer_until(until: UnixTime) -> Self {
        Self { role: Role::Observer, until: Some(until) }
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// When it ends; never if absent.
    #[must_use]
    pub const fn until(&self) -> Option<UnixTime> {
        self.until
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds_at(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn rank(self) -> (Role, u64) {
        (self.role, self.until.map_or(u64::MAX, UnixTime::as_seconds))
    }
}

impl Ord for Grant {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Grant {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What newcomers may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Everything: each epoch links to the ones before it.
    All,
    /// What was written after they joined; earlier headers are seen, earlier bodies are not.
    FromJoin,
}

/// How a group goes on when its last convenor is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// Not at all: members read and write, and nobody manages.
    Nobody,
    /// This authority may lead once there is no convenor any more.
    Deputy(AuthorityId),
    /// Whom more than half of the writing members name, whether or not there
    /// is a convenor who keeps silent.
    Majority,
}

/// The id of the group that `creator` begins with 32 random bytes. It commits to
/// the creator and looks random to everybody else.
#[must_use]
pub fn group_id(network: &NetworkName, creator: &AuthorityId, random: &[u8; 32]) -> GroupId {
    let digest = domain_hash(GROUP_DOMAIN, network)
        .chain_update(creator.as_bytes())
        .chain_update(random)
        .finalize();
    GroupId::from_bytes(digest.into())
}

/// The origin of a group's log; `None` for a public one, whose origin is [`Origin::of`].
///
/// It follows from the group's id, which only members know.
#[must_use]
pub fn origin(network: &NetworkName, log: &LogId) -> Option<Origin> {
    let opening = OriginOpening::of(network, log)?;
    Some(opening.origin(network, &log.authority, log.generation))
}

/// Shows whose log, and of which generation, the origin of a group's log stands
/// for, and not of which group: for a stranger who is shown one record of it.
///
/// An identity names its log key without that key having a say, so a signature
/// alone does not tell whose the log is: anybody could name the key of somebody
/// else and take that one's heads for its own.
///
/// ```text
/// opening = SHA-256("tallystick group opening v1\n" ‖ network ‖ group   ‖ authority ‖ generation)
/// origin  = SHA-256("tallystick group origin v1\n"  ‖ network ‖ opening ‖ authority ‖ generation)
/// ```
///
/// The network stands behind its length in one byte, the generation in four bytes,
/// big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginOpening(Hash);

impl OriginOpening {
    /// That of a group's log; `None` for a public one, whose origin says it all.
    #[must_use]
    pub fn of(network: &NetworkName, log: &LogId) -> Option<Self> {
        let Space::Group(group) = log.space else { return None };
        let digest = domain_hash(OPENING_DOMAIN, network);
        Some(Self(of_log(digest, group.as_bytes(), &log.authority, log.generation)))
    }

    /// As it stood in a file. Nothing vouches for it before [`OriginOpening::origin`]
    /// gives what was signed.
    #[must_use]
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// Its bytes, which may be shown to whoever is shown the origin.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The origin that it opens to, if the log is this authority's.
    #[must_use]
    pub fn origin(
        &self,
        network: &NetworkName,
        authority: &AuthorityId,
        generation: Generation,
    ) -> Origin {
        let digest = domain_hash(ORIGIN_DOMAIN, network);
        Origin::private(network, &of_log(digest, self.as_bytes(), authority, generation))
    }
}

/// Ends a hash with something of 32 bytes and whose log of which generation it is about.
fn of_log(hash: Sha256, of: &[u8; 32], authority: &AuthorityId, generation: Generation) -> Hash {
    let digest = hash
        .chain_update(of)
        .chain_update(authority.as_bytes())
        .chain_update(generation.to_be_bytes())
        .finalize();
    Hash::from_bytes(digest.into())
}

/// The record id that all control entries of a group have.
#[must_use]
pub fn control_record(group: &GroupId) -> RecordId {
    let digest: [u8; 32] =
        Sha256::new().chain_update(RECORD_DOMAIN).chain_update(group.as_bytes()).finalize().into();
    RecordId::from_bytes(digest.first_chunk().copied().unwrap_or_default())
}

/// SHA-256 that has taken a domain and a network name of at most 255 bytes.
fn domain_hash(domain: &[u8], network: &NetworkName) -> Sha256 {
    let length = u8::try_from(network.as_str().len()).unwrap_or(u8::MAX);
    Sha256::new().chain_update(domain).chain_update([length]).chain_update(network.as_str())
}
