//! Control entries: what members say about the group, and what they had seen.
//!
//! A control entry is an entry of its author's log in the group's space. Its
//! header has [`Kind::GROUP`], the action that names the operation,
//! [`super::control_record`] and neither epoch nor previous version. Its body is
//! full and has three fields, whose values are deterministic CBOR. None is ever
//! withheld by itself, so they need not be flat as those of records:
//!
//! | field | value |
//! |---|---|
//! | `group` | the group's id, 32 bytes |
//! | `seen` | the latest control entries that the author had seen, ascending: [[authority, generation, index, leaf], …] |
//! | `operation` | an array, by action |
//!
//! | action | operation |
//! |---|---|
//! | 64 create | `[random, name, history, text, least, [kind, …], continuation]` |
//! | 65 invite | `[one-time key, role, until, authority or null, expires]` |
//! | 66 join | `[invitation as in `seen`, one-time key, hash of the terms, signature by the one-time key]` |
//! | 67 assign | `[authority, role, until, generation and size of its log]` |
//! | 68 remove | `[authority, generation and size of its log]` |
//! | 69 leave, 72 acknowledge | `[]` |
//! | 70 continue | `[authority that is to lead]` |
//! | 71 epoch | see [`super::epoch`] |
//!
//! `history` is 0 for all, 1 from joining; `least` the fewest authorities in a
//! statistic; `continuation` is `[0]` for nobody, `[1, deputy]` or `[2]` for a
//! majority. A role is 1 observer, 2 member, 3 convenor.
//! `until` is Unix seconds or null, and for observers only. What the author's own
//! log has at lower positions it has seen, whether it says so or not.
//!
//! An invitation is used by signing with its one-time key, so who reads a join
//! cannot use the invitation too. Joining signs the terms: the hash covers the
//! whole `create` operation, that is the text and every rule fixed with it.
//!
//! **Invariants:** a [`ControlEntry`] exists only for an entry whose body is what
//! its header committed to, and a join only with a good signature. That the
//! entry stands in the log, under a head that its author signed, is for the
//! caller to have checked. Deliberately absent: whether an operation counts,
//! which the merge decides ([`super::membership`]).

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::epoch::EpochOpening;
use super::{Continuation, Grant, History, Role, control_record};
use crate::body::{Body, Committed, FieldError, FieldName, Fields, Salt};
use crate::cbor::{CborError, Reader, Writer};
use crate::entry::{Action, Entry, EntryError, Header};
use crate::id::{AuthorityId, Commitment, Generation, GroupId, Hash, LogId, Space, Version};
use crate::key::{KeyType, PublicKey, SIGNATURE_BYTES, SecretKey, SignatureError};
use crate::limits;
use crate::record::Kind;
use crate::time::UnixTime;

const TERMS_DOMAIN: &[u8] = b"tallystick group terms v1\n";
const JOIN_DOMAIN: &[u8] = b"tallystick group join v1\n";

/// Names one control entry: where it stands, and its leaf hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryRef {
    /// Whose log it stands in.
    pub authority: AuthorityId,
    /// Generation of that log, and index.
    pub version: Version,
    /// Leaf hash of the entry.
    pub leaf: Hash,
}

impl EntryRef {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.array(4).bytes(self.authority.as_bytes());
        writer.unsigned(u64::from(self.version.generation)).unsigned(self.version.index);
        writer.bytes(self.leaf.as_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        exactly(reader, 4)?;
        let authority = AuthorityId::from_bytes(reader.array_of()?);
        let version = Version { generation: generation(reader)?, index: reader.unsigned()? };
        Ok(Self { authority, version, leaf: Hash::from_bytes(reader.array_of()?) })
    }
}

/// How far an authority's log in the group went, as somebody else knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogEnd {
    /// The newest generation.
    pub generation: Generation,
    /// Its entries.
    pub size: u64,
}

impl LogEnd {
    /// Whether the entry at `version` lies within it.
    #[must_use]
    pub const fn covers(&self, version: Version) -> bool {
        version.generation < self.generation
            || (version.generation == self.generation && version.index < self.size)
    }

    /// Just behind the entry at `version`.
    #[must_use]
    pub const fn behind(version: Version) -> Self {
        Self { generation: version.generation, size: version.index.saturating_add(1) }
    }
}

/// The terms of a group: everything that is fixed when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// 32 random bytes, from which the group's id follows: see [`super::group_id`].
    pub random: [u8; 32],
    /// What people call the group, 1 to 256 bytes without control characters.
    pub name: String,
    /// What newcomers may read.
    pub history: History,
    /// What members agree to, at most [`limits::GROUP_TERMS_BYTES`].
    pub text: String,
    /// Fewest authorities that a statistic over the group's data must be drawn from to be shown.
    pub least: u32,
    /// Kinds of record for which the group is offered as audience; ascending.
    pub kinds: Vec<Kind>,
    /// How it goes on without convenors.
    pub continuation: Continuation,
}

impl Terms {
    /// What a joining authority signs.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let digest = Sha256::new().chain_update(TERMS_DOMAIN).chain_update(self.encode());
        Hash::from_bytes(digest.finalize().into())
    }

    /// The `create` operation, deterministic CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(128 + self.text.len());
        w.array(7).bytes(&self.random).text(&self.name);
        w.unsigned(u64::from(self.history == History::FromJoin)).text(&self.text);
        w.unsigned(u64::from(self.least)).array(self.kinds.len());
        for kind in &self.kinds {
            w.unsigned(u64::from(kind.number()));
        }
        match &self.continuation {
            Continuation::Nobody => w.array(1).unsigned(0),
            Continuation::Deputy(deputy) => w.array(2).unsigned(1).bytes(deputy.as_bytes()),
            Continuation::Majority => w.array(1).unsigned(2),
        };
        w.finish()
    }

    /// Reads what [`Terms::encode`] writes.
    ///
    /// # Errors
    /// [`ControlError::Encoding`] or [`ControlError::Rule`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut reader = Reader::new(bytes);
        let terms = Self::read(&mut reader)?;
        reader.end()?;
        Ok(terms)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ControlError> {
        exactly(reader, 7)?;
        let random = reader.array_of()?;
        let name = reader.text(limits::NAME_BYTES)?.to_owned();
        let history = match reader.unsigned()? {
            0 => History::All,
            1 => History::FromJoin,
            _ => return Err(CborError::Unexpected.into()),
        };
        let text = reader.text(limits::GROUP_TERMS_BYTES)?.to_owned();
        let least = narrow(reader.unsigned()?)?;
        let count = reader.array(limits::GROUP_KINDS)?;
        let kind = |_| Ok(Kind::new(narrow(reader.unsigned()?)?));
        let kinds = (0..count).map(kind).collect::<Result<Vec<_>, CborError>>()?;
        let continuation = match (reader.array(2)?, reader.unsigned()?) {
            (1, 0) => Continuation::Nobody,
            (2, 1) => Continuation::Deputy(AuthorityId::from_bytes(reader.array_of()?)),
            (1, 2) => Continuation::Majority,
            _ => return Err(CborError::Unexpected.into()),
        };
        let terms = Self { random, name, history, text, least, kinds, continuation };
        terms.check()?;
        Ok(terms)
    }

    fn check(&self) -> Result<(), ControlError> {
        let name = &self.name;
        let named = (1..=limits::NAME_BYTES).contains(&name.len()) && name.trim() == name;
        if !named || name.chars().any(char::is_control) {
            return Err(ControlError::Rule("a group has a name without control characters"));
        }
        if self.text.len() > limits::GROUP_TERMS_BYTES || self.kinds.len() > limits::GROUP_KINDS {
            return Err(ControlError::Rule("the terms are longer than the limit"));
        }
        if !self.kinds.is_sorted_by(|a, b| a < b) {
            return Err(ControlError::Rule("each kind of record is named once, in order"));
        }
        Ok(())
    }
}

/// Somebody may join: once, until a time, as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The one-time key: who holds its secret half may join.
    pub key: PublicKey,
    /// As what.
    pub grant: Grant,
    /// Who alone may use it; whoever holds the key if absent.
    pub authority: Option<AuthorityId>,
    /// Last second in which a join may say it was made. That is a claim of the
    /// joining side, so members also compare their clocks when it reaches them.
    pub expires: UnixTime,
}

/// The author joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The `invite` entry.
    pub invitation: EntryRef,
    /// Its one-time key.
    pub key: PublicKey,
    /// [`Terms::hash`] of the group.
    pub terms: Hash,
    /// By the one-time key, over group, invitation, terms and author.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Join {
    /// Uses an invitation on behalf of `author`.
    #[must_use]
    pub fn new(
        group: &GroupId,
        invitation: EntryRef,
        one_time: &SecretKey,
        terms: Hash,
        author: &AuthorityId,
    ) -> Self {
        let signature = one_time.sign(&join_message(group, &invitation, &terms, author));
        Self { invitation, key: one_time.public(), terms, signature }
    }

    fn verify(&self, group: &GroupId, author: &AuthorityId) -> Result<(), SignatureError> {
        let message = join_message(group, &self.invitation, &self.terms, author);
        self.key.verify(&message, &self.signature)
    }
}

fn join_message(
    group: &GroupId,
    invitation: &EntryRef,
    terms: &Hash,
    author: &AuthorityId,
) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(JOIN_DOMAIN).array(4).bytes(group.as_bytes());
    invitation.write(&mut w);
    w.bytes(terms.as_bytes()).bytes(author.as_bytes());
    w.finish()
}

/// What a control entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The group begins; the author is its first convenor.
    Create(Box<Terms>),
    /// Somebody may join.
    Invite(Box<Invite>),
    /// The author joins.
    Join(Box<Join>),
    /// A member gets another role.
    Assign {
        /// Which member.
        authority: AuthorityId,
        /// Which role.
        grant: Grant,
        /// The member's log, as far as the author knew it.
        end: LogEnd,
    },
    /// A member is removed.
    Remove {
        /// Which member.
        authority: AuthorityId,
        /// The member's log, as far as the author knew it.
        end: LogEnd,
    },
    /// The author leaves.
    Leave,
    /// A member is to lead, as the group's continuation allows.
    Continue {
        /// Which member.
        authority: AuthorityId,
    },
    /// An epoch begins.
    Epoch(Arc<EpochOpening>),
    /// The author has seen what it names, and says nothing else. It lets a
    /// removal stand against what the removed says later.
    Acknowledge,
}

impl Operation {
    /// The action that names it in a header.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::CREATE,
            Self::Invite(_) => Action::INVITE,
            Self::Join(_) => Action::JOIN,
            Self::Assign { .. } => Action::ASSIGN,
            Self::Remove { .. } => Action::REMOVE,
            Self::Leave => Action::LEAVE,
            Self::Continue { .. } => Action::CONTINUE,
            Self::Epoch(_) => Action::EPOCH,
            Self::Acknowledge => Action::ACKNOWLEDGE,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Create(terms) => return terms.encode(),
            Self::Epoch(epoch) => return epoch.encode(),
            Self::Invite(invite) => {
                w.array(5);
                write_key(&mut w, &invite.key);
                write_grant(&mut w, &invite.grant);
                match &invite.authority {
                    Some(authority) => w.bytes(authority.as_bytes()),
                    None => w.null(),
                };
                w.unsigned(invite.expires.as_seconds());
            }
            Self::Join(join) => {
                w.array(4);
                join.invitation.write(&mut w);
                write_key(&mut w, &join.key);
                w.bytes(join.terms.as_bytes()).bytes(&join.signature);
            }
            Self::Assign { authority, grant, end } => {
                w.array(5).bytes(authority.as_bytes());
                write_grant(&mut w, grant);
                w.unsigned(u64::from(end.generation)).unsigned(end.size);
            }
            Self::Remove { authority, end } => {
                w.array(3).bytes(authority.as_bytes());
                w.unsigned(u64::from(end.generation)).unsigned(end.size);
            }
            Self::Continue { authority } => {
                w.array(1).bytes(authority.as_bytes());
            }
            Self::Leave | Self::Acknowledge => {
                w.array(0);
            }
        }
        w.finish()
    }

    fn decode(action: Action, bytes: &[u8]) -> Result<Self, ControlError> {
        let mut reader = Reader::new(bytes);
        let operation = match action {
            Action::CREATE => Self::Create(Box::new(Terms::read(&mut reader)?)),
            Action::INVITE => Self::Invite(Box::new(read_invite(&mut reader)?)),
            Action::JOIN => Self::Join(Box::new(read_join(&mut reader)?)),
            Action::ASSIGN => {
                exactly(&mut reader, 5)?;
                let authority = AuthorityId::from_bytes(reader.array_of()?);
                let grant = read_grant(&mut reader)?;
                Self::Assign { authority, grant, end: read_end(&mut reader)? }
            }
            Action::REMOVE => {
                exactly(&mut reader, 3)?;
                let authority = AuthorityId::from_bytes(reader.array_of()?);
                Self::Remove { authority, end: read_end(&mut reader)? }
            }
            Action::CONTINUE => {
                exactly(&mut reader, 1)?;
                Self::Continue { authority: AuthorityId::from_bytes(reader.array_of()?) }
            }
            Action::EPOCH => Self::Epoch(Arc::new(EpochOpening::read(&mut reader)?)),
            Action::LEAVE | Action::ACKNOWLEDGE => {
                exactly(&mut reader, 0)?;
                if action == Action::LEAVE { Self::Leave } else { Self::Acknowledge }
            }
            _ => return Err(ControlError::NotControl),
        };
        reader.end()?;
        Ok(operation)
    }
}

/// Why an entry is no control entry of a group, or why one cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// An entry of another kind or action, or of a log outside groups: nothing to merge.
    #[error("the entry is no control entry of a group")]
    NotControl,
    /// The body is absent, or not all of it is there.
    #[error("the body of a control entry is missing")]
    BodyMissing,
    /// Not deterministic CBOR of the expected shape.
    #[error("malformed control entry: {0}")]
    Encoding(#[from] CborError),
    /// The entry speaks of another group than the log it stands in.
    #[error("the control entry belongs to another group")]
    Group,
    /// A rule that the entry breaks by itself.
    #[error("a control entry breaks a rule: {0}")]
    Rule(&'static str),
    /// The one-time key of the invitation did not sign the join.
    #[error("the invitation did not sign this join")]
    Signature,
    /// The operation does not fit into an entry: the caller's fault.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The entry cannot be written: the caller's fault.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// A control entry that is consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlEntry {
    pub(super) group: GroupId,
    pub(super) place: EntryRef,
    pub(super) issued: UnixTime,
    pub(super) seen: Vec<EntryRef>,
    pub(super) operation: Operation,
}

impl ControlEntry {
    /// Reads the entry at `index` of `log`.
    ///
    /// # Errors
    /// A [`ControlError`]; [`ControlError::NotControl`] for an entry to pass over.
    pub fn read(log: &LogId, index: u64, entry: &Entry) -> Result<Self, ControlError> {
        let Space::Group(group) = log.space else { return Err(ControlError::NotControl) };
        let header = entry.header();
        if header.kind != Kind::GROUP || !header.action.is_control() || !header.is_understood() {
            return Err(ControlError::NotControl);
        }
        if header.record != control_record(&group) {
            return Err(ControlError::Group);
        }
        if header.previous.is_some() || header.epoch.is_some() {
            return Err(ControlError::Rule("a control entry is not sealed and follows no other"));
        }
        let Some(body @ Body::Full(_)) = entry.body() else {
            return Err(ControlError::BodyMissing);
        };
        let fields = body.fields();
        let field = |name| fields.get(name).ok_or(CborError::Unexpected);
        let mut named = Reader::new(field("group")?);
        if named.array_of()? != *group.as_bytes() {
            return Err(ControlError::Group);
        }
        let version = Version { generation: log.generation, index };
        let place = EntryRef { authority: log.authority, version, leaf: entry.leaf() };
        let seen = read_seen(field("seen")?)?;
        let operation = Operation::decode(header.action, field("operation")?)?;
        if let Operation::Join(join) = &operation {
            join.verify(&group, &log.authority).map_err(|_| ControlError::Signature)?;
        }
        Ok(Self { group, place, issued: header.issued, seen, operation })
    }

    /// Writes an entry for the author's log in `group`. `seen` are the heads that
    /// its membership gives ([`super::Membership::heads`]), `salt` is fresh.
    ///
    /// # Errors
    /// [`ControlError::Rule`], [`ControlError::Field`] or [`ControlError::Entry`].
    pub fn write(
        group: &GroupId,
        seen: &[EntryRef],
        operation: &Operation,
        issued: UnixTime,
        salt: &Salt,
    ) -> Result<Entry, ControlError> {
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        seen.dedup();
        let mut listed = Writer::with_capacity(80 * seen.len() + 4);
        listed.array(seen.len());
        seen.iter().for_each(|one| one.write(&mut listed));
        let (listed, operation_bytes) = (listed.finish(), operation.encode());
        // What could not be read back must not be written.
        read_seen(&listed)?;
        Operation::decode(operation.action(), &operation_bytes)?;
        let mut named = Writer::with_capacity(34);
        named.bytes(group.as_bytes());
        let mut fields = Fields::new();
        for (name, value) in
            [("group", named.finish()), ("seen", listed), ("operation", operation_bytes)]
        {
            fields.insert_encoded(FieldName::new(name)?, value)?;
        }
        let unknown = Commitment::from_bytes([0; 32]);
        let record = control_record(group);
        let header = Header::new(Kind::GROUP, record, operation.action(), issued, unknown, 0);
        Ok(Entry::of_committed(header, Committed::new(salt, &fields)?)?)
    }

    /// The group it belongs to.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Whose entry it is.
    #[must_use]
    pub const fn author(&self) -> AuthorityId {
        self.place.authority
    }

    /// How others name it.
    #[must_use]
    pub const fn place(&self) -> EntryRef {
        self.place
    }

    /// When the author says it was made.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// What the author names as seen, ascending.
    #[must_use]
    pub fn seen(&self) -> &[EntryRef] {
        &self.seen
    }

    /// What it does.
    #[must_use]
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }
}

fn read_seen(bytes: &[u8]) -> Result<Vec<EntryRef>, ControlError> {
    let mut reader = Reader::new(bytes);
    let count = reader.array(limits::GROUP_SEEN)?;
    let mut seen: Vec<EntryRef> = Vec::with_capacity(count.min(reader.remaining() / 70));
    for _ in 0..count {
        let next = EntryRef::read(&mut reader)?;
        if seen.last().is_some_and(|last| *last >= next) {
            return Err(ControlError::Rule("what was seen is named once, in order"));
        }
        seen.push(next);
    }
    reader.end()?;
    Ok(seen)
}

fn read_invite(reader: &mut Reader<'_>) -> Result<Invite, ControlError> {
    exactly(reader, 5)?;
    let key = read_key(reader)?;
    let grant = read_grant(reader)?;
    let bound = !reader.null()?;
    let authority = bound.then(|| reader.array_of().map(AuthorityId::from_bytes)).transpose()?;
    Ok(Invite { key, grant, authority, expires: UnixTime::from_seconds(reader.unsigned()?) })
}

fn read_join(reader: &mut Reader<'_>) -> Result<Join, ControlError> {
    exactly(reader, 4)?;
    let invitation = EntryRef::read(reader)?;
    let key = read_key(reader)?;
    let terms = Hash::from_bytes(reader.array_of()?);
    Ok(Join { invitation, key, terms, signature: reader.array_of()? })
}

fn read_end(reader: &mut Reader<'_>) -> Result<LogEnd, CborError> {
    Ok(LogEnd { generation: generation(reader)?, size: reader.unsigned()? })
}

/// A role and its end: two items.
fn write_grant(writer: &mut Writer, grant: &Grant) {
    writer.unsigned(match grant.role() {
        Role::Observer => 1,
        Role::Member => 2,
        Role::Convenor => 3,
    });
    match grant.until() {
        Some(until) => writer.unsigned(until.as_seconds()),
        None => writer.null(),
    };
}

/// Reads a role and its end as [`Operation`]s carry them.
pub(super) fn read_grant(reader: &mut Reader<'_>) -> Result<Grant, ControlError> {
    let role = match reader.unsigned()? {
        1 => Role::Observer,
        2 => Role::Member,
        3 => Role::Convenor,
        _ => return Err(CborError::Unexpected.into()),
    };
    if reader.null()? {
        return Ok(Grant::of(role));
    }
    let until = UnixTime::from_seconds(reader.unsigned()?);
    if role != Role::Observer {
        return Err(ControlError::Rule("only observers are members until a time"));
    }
    Ok(Grant::observer_until(until))
}

/// A key with its type in one byte string.
fn write_key(writer: &mut Writer, key: &PublicKey) {
    writer.bytes(&[&[key.kind() as u8], key.as_bytes()].concat());
}

fn read_key(reader: &mut Reader<'_>) -> Result<PublicKey, ControlError> {
    let bytes: [u8; 33] = reader.array_of()?;
    let [kind, key @ ..] = bytes;
    if kind != KeyType::Ed25519 as u8 {
        return Err(CborError::Unexpected.into());
    }
    PublicKey::ed25519(&key).map_err(|_| ControlError::Rule("a one-time key is a good key"))
}

/// Reads the head of an array that has `len` items.
pub(super) fn exactly(reader: &mut Reader<'_>, len: usize) -> Result<(), CborError> {
    if reader.array(len)? == len { Ok(()) } else { Err(CborError::Unexpected) }
}

fn generation(reader: &mut Reader<'_>) -> Result<Generation, CborError> {
    narrow(reader.unsigned()?)
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, CborError> {
    T::try_from(value).map_err(|_| CborError::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::FullBody;
    use crate::group::epoch::{Copy, Link};
    use crate::id::{EpochId, RecordId};
    use proptest::prelude::*;

    fn who(n: u8) -> AuthorityId {
        AuthorityId::from_bytes([n; 32])
    }

    fn place(n: u8) -> EntryRef {
        let version = Version { generation: 0, index: u64::from(n) };
        EntryRef { authority: who(n), version, leaf: Hash::from_bytes([n; 32]) }
    }

    fn group() -> GroupId {
        GroupId::from_bytes([5; 32])
    }

    fn log(n: u8) -> LogId {
        LogId { authority: who(n), space: Space::Group(group()), generation: 0 }
    }

    fn terms() -> Terms {
        Terms {
            random: [1; 32],
            name: "Seven boroughs".into(),
            history: History::FromJoin,
            text: "Be kind.".into(),
            least: 3,
            kinds: vec![Kind::CONTRACT, Kind::PERFORMANCE],
            continuation: Continuation::Deputy(who(3)),
        }
    }

    fn operations() -> Vec<Operation> {
        let key = SecretKey::from_seed([7; 32]);
        let until = UnixTime::from_seconds(99);
        let invite = |grant, authority| {
            let key = key.public();
            Operation::Invite(Box::new(Invite { key, grant, authority, expires: until }))
        };
        let end = LogEnd { generation: 1, size: 2 };
        let copy = |n| Copy {
            authority: who(n),
            suite: [0, 0x20, 0, 1, 0, 3],
            key_id: [n; 8],
            sealed: vec![n; 80],
        };
        let link = Link { epoch: EpochId::from_bytes([8; 32]), sealed: [9; 48] };
        vec![
            Operation::Create(Box::new(terms())),
            Operation::Create(Box::new(Terms {
                continuation: Continuation::Majority,
                kinds: Vec::new(),
                ..terms()
            })),
            invite(Grant::of(Role::Convenor), None),
            invite(Grant::observer_until(until), Some(who(4))),
            Operation::Join(Box::new(Join::new(&group(), place(2), &key, terms().hash(), &who(1)))),
            Operation::Assign { authority: who(2), grant: Grant::of(Role::Observer), end },
            Operation::Remove { authority: who(2), end },
            Operation::Leave,
            Operation::Continue { authority: who(2) },
            Operation::Epoch(Arc::new(EpochOpening {
                nonce: [1; 32],
                commitment: [2; 32],
                links: vec![link],
                copies: vec![copy(1), copy(2)],
            })),
            Operation::Acknowledge,
        ]
    }

    fn written(operation: &Operation) -> Entry {
        let issued = UnixTime::from_seconds(5);
        let salt = Salt::from_random([6; 32]);
        ControlEntry::write(&group(), &[place(9), place(2)], operation, issued, &salt).unwrap()
    }

    #[test]
    fn every_operation_is_read_back() {
        for operation in operations() {
            let entry = written(&operation);
            assert!(entry.header().is_understood() && entry.header_bytes().len() < 160);
            let read = ControlEntry::read(&log(1), 3, &entry).unwrap();
            assert_eq!(read.operation(), &operation);
            assert_eq!(read.seen(), [place(2), place(9)]);
            assert_eq!((read.place().leaf, read.place().version.index), (entry.leaf(), 3));
            crate::cbor::check(&operation.encode()).unwrap();
        }
    }

    #[test]
    fn a_shorter_or_longer_operation_is_refused() {
        for operation in operations() {
            let bytes = operation.encode();
            for end in 0..bytes.len() {
                let short = Operation::decode(operation.action(), &bytes[..end]);
                assert!(short.is_err(), "{operation:?} {end}");
            }
            let long = [bytes.as_slice(), &[0]].concat();
            assert!(Operation::decode(operation.action(), &long).is_err(), "{operation:?}");
        }
    }

    #[test]
    fn an_entry_counts_only_where_it_belongs() {
        let operations = operations();
        let leave = written(&Operation::Leave);
        let other = LogId { space: Space::Group(GroupId::from_bytes([6; 32])), ..log(1) };
        assert_eq!(ControlEntry::read(&other, 0, &leave), Err(ControlError::Group));
        let public = LogId::public(who(1), 0);
        assert_eq!(ControlEntry::read(&public, 0, &leave), Err(ControlError::NotControl));
        let (header, _) = leave.clone().into_bytes();
        let bare = crate::entry::UnverifiedEntry::new(header, None).check().unwrap();
        assert_eq!(ControlEntry::read(&log(1), 0, &bare), Err(ControlError::BodyMissing));
        // Nobody joins by what somebody else has signed.
        let join = operations.iter().find(|o| matches!(o, Operation::Join(_))).unwrap();
        assert_eq!(ControlEntry::read(&log(2), 0, &written(join)), Err(ControlError::Signature));
    }

    #[test]
    fn a_control_entry_is_neither_sealed_nor_a_later_version() {
        let plain = written(&Operation::Leave);
        let body = || {
            let (_, bytes) = plain.clone().into_bytes();
            let header = plain.header();
            Body::verify(bytes.unwrap(), &header.commitment, header.body_size).unwrap()
        };
        let changed = |change: &dyn Fn(&mut Header)| {
            let mut header = plain.header().clone();
            change(&mut header);
            ControlEntry::read(&log(1), 0, &Entry::author(header, body()).unwrap())
        };
        let refused = |verdict| matches!(verdict, Err(ControlError::Rule(_)));
        assert!(refused(changed(&|h| h.epoch = Some(EpochId::from_bytes([1; 32])))));
        assert!(refused(changed(&|h| h.previous = Some(Version { generation: 0, index: 1 }))));
        let other = changed(&|h| h.record = RecordId::from_bytes([1; 16]));
        assert_eq!(other, Err(ControlError::Group));
        assert_eq!(changed(&|h| h.action = Action::Put), Err(ControlError::NotControl));
        assert_eq!(changed(&|h| h.kind = Kind::CONTRACT), Err(ControlError::NotControl));
        assert!(changed(&|h| h.action = Action::JOIN).is_err());
    }

    #[test]
    fn withheld_fields_make_no_control_entry() {
        let plain = written(&Operation::Leave);
        let header = plain.header();
        let (_, bytes) = plain.clone().into_bytes();
        let body = Body::verify(bytes.unwrap(), &header.commitment, header.body_size).unwrap();
        let Body::Full(full) = body else { panic!("a control body is full") };
        let partial = Body::Partial(FullBody::disclose(&full, |_| true).unwrap());
        let entry = Entry::author(header.clone(), partial).unwrap();
        assert_eq!(ControlEntry::read(&log(1), 0, &entry), Err(ControlError::BodyMissing));
    }

    #[test]
    fn what_breaks_a_rule_is_not_written() {
        let refused = |change: &dyn Fn(&mut Terms)| {
            let mut terms = terms();
            change(&mut terms);
            let create = Operation::Create(Box::new(terms));
            let salt = Salt::from_random([6; 32]);
            ControlEntry::write(&group(), &[], &create, UnixTime::default(), &salt).is_err()
        };
        assert!(refused(&|terms| terms.name = String::new()));
        assert!(refused(&|terms| terms.name = " x".into()));
        assert!(refused(&|terms| terms.name = "a\nb".into()));
        assert!(refused(&|terms| terms.text = "x".repeat(limits::GROUP_TERMS_BYTES + 1)));
        assert!(refused(&|terms| terms.kinds.reverse()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            action in 64u64..74, bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = Operation::decode(Action::Other(action), &bytes);
            let _ = read_seen(&bytes);
        }
    }
}
