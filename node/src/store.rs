//! Where everything is kept: the replica, and the journal that comes before it.
//!
//! - [`Replica`]: all logs, own and others'; [`sled`] on disk, [`memory`] as its twin;
//! - [`journal`] and [`body_file`]: what only this node has, fsynced first;
//! - [`durable`]: [`Store`], the two together, and how they are brought back into
//!   agreement when they are opened;
//! - [`erasure`]: which values are erased or lacking; [`control`]: what is about groups;
//! - [`data_dir`]: lock, format number and layout of the data directory;
//! - [`audit`]: checks a whole log by its hashes; [`disk`]: durable file operations.
//!
//! **Invariant:** what an authority says itself is in journal and body files
//! before it is in the replica, and in the replica before anybody hears of it.
//! So the replica can always be made anew, and an own log never goes back, but
//! for what its controllers disown.
//! **Invariant:** nothing is stored that does not continue its log (`growth`).
//! **Invariant:** what was stored is never dropped: what its author's controllers
//! disown of a log is set aside as a [`Branch`].
//!
//! Everything here blocks; the driver gives it a thread of its own. Deliberately
//! absent: verification of signatures, which happened before, and projections,
//! which only find a corner of the replica to live in.

pub mod audit;
pub mod body_file;
mod branch;
pub mod control;
pub mod data_dir;
pub mod disk;
pub mod durable;
pub mod erasure;
mod error;
mod evidence;
mod frame;
mod growth;
pub mod journal;
mod layout;
pub mod memory;
mod page;
pub mod sled;

use std::ops::Range;

use tallystick_protocol::checkpoint::VerifiedCheckpoint;
use tallystick_protocol::entry::UnverifiedEntry;
use tallystick_protocol::id::{AuthorityId, Hash, LogId};
use tallystick_protocol::limits;
use tallystick_protocol::log::{Frontier, Nodes, outline, shown_proof};
use tallystick_protocol::sync::{
    Append, Load, Loaded, Stored, StoredEvidence, StoredIdentity, StoredLog,
};

pub use branch::Branch;
pub use durable::{OpenReport, Store, StoreOptions};
pub use error::{MAKE_ROOM, Refusal, StoreError};
pub use growth::Extension;

/// Rows read or written at a time.
pub(crate) const ROWS: usize = 1000;
/// Longest key of a projection, in bytes.
pub const KEY_BYTES: usize = 512;
/// Longest value of a projection, in bytes.
pub const VALUE_BYTES: usize = 8 << 20;

/// A signed log head as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// Entries under it.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
    /// The signed note (C2SP `tlog-checkpoint`), as received.
    pub note: Vec<u8>,
}

impl From<&VerifiedCheckpoint> for SignedHead {
    fn from(head: &VerifiedCheckpoint) -> Self {
        let checkpoint = head.checkpoint();
        Self { size: checkpoint.size(), root: checkpoint.root(), note: head.to_bytes() }
    }
}

/// An entry as it is stored: bytes that were verified before they got here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The header: the leaf of the log.
    pub header: Vec<u8>,
    /// The body; `None` if it is absent.
    pub body: Option<Vec<u8>>,
}

impl StoredEntry {
    /// Bytes of header and body.
    pub(crate) fn size(&self) -> usize {
        self.header.len() + self.body.as_ref().map_or(0, Vec::len)
    }

    /// For reading what it says, which checks it once more.
    #[must_use]
    pub fn into_unverified(self) -> UnverifiedEntry {
        UnverifiedEntry::new(self.header, self.body)
    }
}

/// A projection's key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A projection's change: the new value of a key, or `None` to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// The local copy of all logs, and a corner for projections.
///
/// Methods block. Any number of threads may read while one writes. What is
/// written is visible at once and durable after [`Replica::flush`]; a crash
/// before that loses whole calls, the newest first, never parts of one.
pub trait Replica: Send + Sync {
    /// Random name of this replica: a new one when it is made anew.
    fn incarnation(&self) -> [u8; 16];

    /// All logs, in order of their ids.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Fatal`] if the database fails; so for all methods.
    fn logs(&self) -> Result<Vec<StoredLog>, StoreError>;

    /// One log's newest signed head.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn head(&self, log: &LogId) -> Result<Option<SignedHead>, StoreError>;

    /// All identity chains, in order of their authorities.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn identities(&self) -> Result<Vec<StoredIdentity>, StoreError>;

    /// Puts an identity chain in the place of the stored one.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::TooLarge`] beyond the protocol's limits.
    fn put_identity(&self, identity: &StoredIdentity) -> Result<(), StoreError>;

    /// Evidence that is kept, of one authority or of all, in order of authority,
    /// kind and place.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn evidence(&self, of: Option<&AuthorityId>) -> Result<Vec<StoredEvidence>, StoreError>;

    /// Keeps evidence; `false` if it adds nothing to what is kept: the same
    /// bytes, [`limits::EVIDENCE_PER_PLACE`] pieces about the same place, or
    /// [`limits::EVIDENCE_PER_AUTHORITY`] about none that is older, which would
    /// give way.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::TooLarge`] beyond the protocol's limit.
    fn put_evidence(&self, evidence: &StoredEvidence) -> Result<bool, StoreError>;

    /// Where reading of each partner's news stopped.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn cursors(&self) -> Result<Vec<(AuthorityId, Vec<u8>)>, StoreError>;

    /// Puts a cursor in the place of the stored one.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::TooLarge`] beyond the protocol's limit.
    fn put_cursor(&self, authority: &AuthorityId, cursor: &[u8]) -> Result<(), StoreError>;

    /// Adds to logs: all of it or, on an error, nothing.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::Refused`] for what does not continue its log.
    fn extend(&self, extensions: &[Extension<'_>]) -> Result<(), StoreError>;

    /// [`Replica::extend`] with what the machine emits.
    ///
    /// # Errors
    /// See [`Replica::extend`].
    fn append(&self, appends: &[Append]) -> Result<(), StoreError> {
        let extensions: Vec<_> = appends.iter().map(Extension::from).collect();
        self.extend(&extensions)
    }

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    /// [`StoreError::Fatal`].
    fn flush(&self) -> Result<(), StoreError>;

    /// Whether it can still be written: not after a write or sync has failed,
    /// whoever's it was.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] with the kind of that failure; the process must end.
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Headers of the entries in `range`, as far as the log reaches.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Bodies of the entries from the start of `range` on, while they fit into `max_bytes`.
    ///
    /// An absent body takes no room.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Entries from the start of `range` on: as many as fit into `max_bytes`,
    /// at least one if the log reaches that far.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn entries(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// The stored rows of a log's tree, as of now; without rows for an unknown log.
    ///
    /// # Errors
    /// See [`Replica::logs`]. Rows that cannot be read later are answered as missing.
    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError>;

    /// Puts a body in the place of an entry's, or removes it with `None`; in the
    /// log's branches too, where they have the same entry.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::Refused`] if there is no such entry.
    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError>;

    /// Sets a log aside as it is, as a new [`Branch`], and goes on with its first
    /// `keep` entries, their bodies as they are, under `head`; gives their tree.
    /// An empty log leaves no branch. What is lost in a crash is all of it or
    /// nothing, though it may take a while.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::Refused`] if the log has fewer
    /// entries, or `head` is not over these.
    fn set_aside(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError>;

    /// All branches, in order of their logs and numbers.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn branches(&self) -> Result<Vec<Branch>, StoreError>;

    /// As [`Replica::entries`], of a branch; none of an unknown one.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn branch_entries(
        &self,
        log: &LogId,
        number: u32,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// As [`Replica::nodes`], of a branch; without rows for an unknown one.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn branch_nodes(&self, log: &LogId, number: u32) -> Result<Box<dyn Nodes + '_>, StoreError>;

    /// A projection's value.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Changes values of projections: all of them or, on an error, none. The
    /// last change of a key counts.
    ///
    /// # Errors
    /// See [`Replica::logs`]; [`StoreError::TooLarge`] beyond [`KEY_BYTES`] or [`VALUE_BYTES`].
    fn put(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// At most `limit` keys that start with `prefix` and are not below `from`,
    /// ascending, with their values.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Everything the machine needs at start.
    ///
    /// # Errors
    /// See [`Replica::logs`].
    fn stored(&self) -> Result<Stored, StoreError> {
        Ok(Stored {
            incarnation: self.incarnation(),
            logs: self.logs()?,
            identities: self.identities()?,
            evidence: self.evidence(None)?,
            cursors: self.cursors()?,
            erasures: erasure::all(self)?.into_iter().map(|s| (s.log, s.erasure)).collect(),
            lacks: erasure::lacks(self)?,
            controls: control::all(self)?,
        })
    }

    /// Answers what the machine wants read for a peer.
    ///
    /// # Errors
    /// See [`Replica::logs`]; what the log does not have is [`Loaded::Unavailable`].
    fn load(&self, load: &Load) -> Result<Loaded, StoreError> {
        match load {
            Load::Outline { log, from, size } => {
                let outline = outline(&*self.nodes(log)?, *from, *size);
                Ok(outline.map_or(Loaded::Unavailable, Loaded::Outline))
            }
            Load::Entries { log, start, end, bytes } => {
                let headers = self.headers(log, *start..*end)?;
                if headers.len() as u64 != end.saturating_sub(*start) {
                    return Ok(Loaded::Unavailable);
                }
                let bodies = self.bodies(log, *start..*end, *bytes)?;
                Ok(Loaded::Entries { headers, bodies })
            }
            Load::Bodies { log, start, end, bytes, headers } => {
                let mut bodies = self.bodies(log, *start..*end, *bytes)?;
                if bodies.is_empty() && start < end {
                    bodies = self.bodies(log, *start..start.saturating_add(1), usize::MAX)?;
                }
                let nothing = bodies.is_empty() && start < end;
                let known = start.saturating_add(if *headers { bodies.len() as u64 } else { 0 });
                let headers = self.headers(log, *start..known)?;
                let loaded = Loaded::Entries { headers, bodies };
                Ok(if nothing { Loaded::Unavailable } else { loaded })
            }
            Load::Proof { log, old, new } => {
                let proof = shown_proof(&*self.nodes(log)?, *old, *new);
                Ok(proof.map_or(Loaded::Unavailable, Loaded::Proof))
            }
        }
    }
}

/// Visits all rows that start with `prefix`, in order, in bounded portions.
pub(crate) fn each_row(
    replica: &(impl Replica + ?Sized),
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = Vec::new();
    loop {
        let rows = replica.scan(prefix, &from, ROWS)?;
        for (key, value) in &rows {
            visit(key, value)?;
        }
        match rows.last() {
            // The next key there can be.
            Some((last, _)) if rows.len() == ROWS => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// Refuses what no projection may store.
fn check_changes(changes: &[Change]) -> Result<(), StoreError> {
    for (key, value) in changes {
        if key.len() > KEY_BYTES {
            return Err(StoreError::TooLarge("key"));
        }
        if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES) {
            return Err(StoreError::TooLarge("value"));
        }
    }
    Ok(())
}

/// Takes `size` from `room`, or leaves no room and says that it was not enough.
const fn take(room: &mut usize, size: usize) -> bool {
    match room.checked_sub(size) {
        Some(left) => {
            *room = left;
            true
        }
        None => {
            *room = 0;
            false
        }
    }
}

/// Refuses an identity chain beyond the protocol's limits.
fn check_identity(identity: &StoredIdentity) -> Result<(), StoreError> {
    let long = |event: &Vec<u8>| event.len() > limits::IDENTITY_EVENT_BYTES;
    if identity.events.len() > limits::IDENTITY_EVENTS || identity.events.iter().any(long) {
        return Err(StoreError::TooLarge("identity chain"));
    }
    Ok(())
}

/// Refuses a cursor beyond the protocol's limit.
fn check_cursor(cursor: &[u8]) -> Result<(), StoreError> {
    if cursor.len() > limits::CURSOR_BYTES {
        return Err(StoreError::TooLarge("cursor"));
    }
    Ok(())
}
