//! The author's side: from documents to entries of an own log.
//!
//! [`prepare`] and [`withdraw`] make one entry each; [`Importer`] decides what
//! becomes of the rows of a foreign file. Nothing here signs, stores or sends:
//! entries go to the machine, which appends them in the order they are given.
//!
//! **Invariants:** only documents that keep their kind's rules become entries;
//! every entry gets a salt of its own; an imported record has the same id
//! whenever and wherever its authority imports it, so importing again finds it.
//! Deliberately absent: clock and randomness, which come as arguments (except
//! [`random_record_id`]), and the choice of an audience.

mod importer;
mod lookup;
mod recent;

use sha2::{Digest as _, Sha256};
use tallystick_protocol::body::{BodyError, Committed, FieldError, Fields, Salt};
use tallystick_protocol::endorsement::Endorsement;
use tallystick_protocol::entry::{Action, Entry, EntryError, Header};
use tallystick_protocol::erasure::{Answer, Erasure, Reason, Scope};
use tallystick_protocol::id::{AuthorityId, Commitment, RecordId, Space, Version};
use tallystick_protocol::record::{Day, Kind, Record, RecordError};
use tallystick_protocol::time::UnixTime;

pub use self::importer::{Importer, Material, Offer, OfferedRow, Plan, PlannedRow};
pub use self::lookup::{Lookup, Own, Rehearsal, ReplicaLookup};
pub use self::recent::Recent;
use crate::store::StoreError;

/// Separates the hash of [`imported_record_id`] from all others.
const RECORD_ID_DOMAIN: &[u8] = b"tallystick record id v1";
const GROUP_RECORD_ID_DOMAIN: &[u8] = b"tallystick imported record in a group v1\n";

/// Why a document does not become an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// The document breaks a rule of its kind: its author's fault.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It cannot be written as a body: its author's fault.
    #[error(transparent)]
    Body(#[from] FieldError),
    /// The entry does not hold together: a fault in the program.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// What is there already cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorError {
    /// One line on what to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Record(_) => "correct the field and try again",
            Self::Body(_) => "shorten the record and try again",
            Self::Entry(_) => "this is a fault in tally: please report it with the log of the node",
            Self::Store(error) => error.remedy(),
        }
    }
}

/// The id of the record that `authority` makes in a space of the document with
/// `source_key`. In a group it follows from the group's id, too: so one document may be
/// shared with several audiences, and none can find out the ids of the others.
#[must_use]
pub fn imported_record_id(authority: &AuthorityId, space: Space, source_key: &str) -> RecordId {
    let mut hasher = Sha256::new();
    match space {
        Space::Public => hasher.update(RECORD_ID_DOMAIN),
        Space::Group(group) => {
            hasher.update(GROUP_RECORD_ID_DOMAIN);
            hasher.update(group.as_bytes());
        }
    }
    hasher.update(authority.as_bytes());
    hasher.update(source_key);
    let digest: [u8; 32] = hasher.finalize().into();
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    RecordId::from_bytes(bytes)
}

/// A new record id for a document that came from no other system.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn random_record_id() -> Result<RecordId, getrandom::Error> {
    let mut bytes = [0; RecordId::LEN];
    getrandom::fill(&mut bytes)?;
    Ok(RecordId::from_bytes(bytes))
}

/// A 32-byte salt for one entry.
///
/// # Errors
/// As [`random_record_id`].
pub fn random_salt() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The entry that says `record`, as the version that follows `previous`.
///
/// `salt` comes from a cryptographic random source and is never used twice. A
/// record that expires has its values deleted from the day after: see
/// [`Header::retain_until`].
///
/// # Errors
/// [`AuthorError::Record`] and [`AuthorError::Body`] if the document is not fit to be signed.
pub fn prepare(
    record: &Record,
    id: RecordId,
    previous: Option<Version>,
    action: Action,
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    let fields = record.valid_fields()?;
    let (kind, expires) = (record.kind(), record.description().expires(&fields));
    let mut header = header(kind, id, previous, action, issued);
    header.retain_until = expires.and_then(end_of);
    committed(header, &fields, salt)
}

/// The first second after a day, in UTC; `None` before 1970.
fn end_of(day: Day) -> Option<UnixTime> {
    let days = u64::try_from(day.number()).ok()?.saturating_add(1);
    Some(UnixTime::from_seconds(days * 86_400))
}

/// The same entry, whose values are to be gone from `until` on, or from its own
/// retention date if that is earlier.
///
/// # Errors
/// [`AuthorError::Entry`] for an entry without a body.
pub fn retain(entry: Entry, until: UnixTime) -> Result<Entry, AuthorError> {
    let mut header = entry.header().clone();
    header.retain_until = Some(header.retain_until.map_or(until, |own| own.min(until)));
    let body = entry.body().cloned().ok_or(EntryError::Body(BodyError::Sealed))?;
    Ok(Entry::author(header, body)?)
}

/// The entry by which the author no longer stands by a record, and why; the
/// reason is public wherever the record was.
///
/// # Errors
/// [`AuthorError::Body`] if the reason is too long.
pub fn withdraw(
    kind: Kind,
    id: RecordId,
    previous: Version,
    reason: Option<&str>,
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    let mut fields = Fields::new();
    fields.insert("withdrawn", &true.into())?;
    if let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        fields.insert("reason", &reason.into())?;
    }
    entry(kind, &fields, id, Some(previous), Action::Withdraw, issued, salt)
}

/// The entry by which the author has values of a record deleted, up to the
/// version `previous`.
///
/// # Errors
/// [`AuthorError::Body`] for no fields, or too many.
pub fn erase(
    (kind, id, previous): (Kind, RecordId, Version),
    reason: Reason,
    scope: &Scope,
    countersignatures: &[(u32, Vec<u8>)],
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    let fields = Erasure::to_fields(reason, scope, countersignatures)?;
    entry(kind, &fields, id, Some(previous), Action::Erase, issued, salt)
}

/// The entry by which a holder answers an erasure.
///
/// # Errors
/// [`AuthorError::Body`], which cannot happen.
pub fn answer_erasure(
    answer: &Answer,
    previous: Option<Version>,
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    let id = Answer::id(&answer.author, &answer.record, answer.at);
    let (kind, fields) = (Kind::ERASURE_ANSWER, answer.to_fields()?);
    entry(kind, &fields, id, previous, Action::Put, issued, salt)
}

/// The entry by which the author endorses what another authority claims.
///
/// # Errors
/// [`AuthorError::Body`] if a claim is fit for no body.
pub fn endorse(
    claims: &Endorsement,
    previous: Option<Version>,
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    let (kind, id) = (Kind::ENDORSEMENT, Endorsement::record(&claims.authority));
    entry(kind, &claims.to_fields()?, id, previous, Action::Put, issued, salt)
}

fn entry(
    kind: Kind,
    fields: &Fields,
    id: RecordId,
    previous: Option<Version>,
    action: Action,
    issued: UnixTime,
    salt: [u8; 32],
) -> Result<Entry, AuthorError> {
    committed(header(kind, id, previous, action, issued), fields, salt)
}

/// A header that does not say yet what its body is.
fn header(
    kind: Kind,
    id: RecordId,
    previous: Option<Version>,
    action: Action,
    issued: UnixTime,
) -> Header {
    let mut header = Header::new(kind, id, action, issued, Commitment::from_bytes([0; 32]), 0);
    header.previous = previous;
    header
}

fn committed(header: Header, fields: &Fields, salt: [u8; 32]) -> Result<Entry, AuthorError> {
    Ok(Entry::of_committed(header, Committed::new(&Salt::from_random(salt), fields)?)?)
}
