//! How the register's rows are laid out in the replica's projection namespace.
//!
//! | prefix | key after it | value |
//! |---|---|---|
//! | `reg/a` | answer's record, holder, space, generation, index | day until which it is held, or that it is deleted |
//! | `reg/c` | authority, record, space | newest version, digest of its source key, predecessor's record, extract |
//! | `reg/e` | endorsed record, endorser, space, generation, index | digest of what is endorsed, if anything is |
//! | `reg/h` | log, index | epoch and record of a version that is held back (see `held`) |
//! | `reg/m` | predecessor's authority, record; authority, record, space that go on from it | nothing |
//! | `reg/p` | log | entries taken into the register; how often the log had been set aside then, if ever |
//! | `reg/s` | source digest, authority, record, space | nothing |
//! | `reg/x` | authority, extract; authority, record, space of which it is one | nothing |
//! | `reg/v` | authority, record, space, generation, index | kind, action, time |
//!
//! Big-endian and of fixed width, so that rows sort as their numbers do: the
//! versions of a record stand together, the newest one last. Only this program
//! reads them.

use tallystick_protocol::entry::Action;
use tallystick_protocol::erasure::Outcome;
use tallystick_protocol::id::{AuthorityId, GroupId, Hash, LogId, RecordId, Space, Version};
use tallystick_protocol::record::{Day, Kind};
use tallystick_protocol::time::UnixTime;

use super::{Current, Predecessor, Reach, RecordKey, SourceDigest, VersionInfo};

/// Number of this layout of the rows.
pub(crate) const LAYOUT: u32 = 2;
/// All rows of the register.
pub(crate) const ALL: &[u8] = b"reg/";
const CURRENT: &[u8] = b"reg/c";
/// Ends a row of a record that has an extract.
const HAS_EXTRACT: u8 = 1;
const SUCCESSION: &[u8] = b"reg/m";
const POSITION: &[u8] = b"reg/p";
const SOURCE: &[u8] = b"reg/s";
const VERSION: &[u8] = b"reg/v";
const EXTRACT: &[u8] = b"reg/x";

pub(super) fn current(key: &RecordKey) -> Vec<u8> {
    let mut bytes = CURRENT.to_vec();
    put_record(&mut bytes, key);
    bytes
}

/// Prefix of the current rows of an authority, or of all.
pub(super) fn currents(authority: Option<&AuthorityId>) -> Vec<u8> {
    let mut bytes = CURRENT.to_vec();
    if let Some(authority) = authority {
        bytes.extend_from_slice(authority.as_bytes());
    }
    bytes
}

/// Rows of what several authorities say under one record id, each in logs of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words(&'static [u8]);

/// Who endorses whom.
pub(super) const ENDORSEMENTS: Words = Words(b"reg/e");
/// What holders answer to erasures.
pub(super) const ANSWERS: Words = Words(b"reg/a");

impl Words {
    /// Prefix of all.
    pub(super) const fn all(self) -> &'static [u8] {
        self.0
    }

    /// Prefix of those under a record id.
    pub(super) fn about(self, record: &RecordId) -> Vec<u8> {
        [self.0, record.as_bytes()].concat()
    }

    /// Prefix of those by one authority.
    pub(super) fn by(self, record: &RecordId, who: &AuthorityId) -> Vec<u8> {
        [self.0, record.as_bytes(), who.as_bytes()].concat()
    }

    /// The row of one entry in a log.
    pub(super) fn row(self, record: &RecordId, log: &LogId, index: u64) -> Vec<u8> {
        let mut bytes = self.by(record, &log.authority);
        put_space(&mut bytes, &log.space);
        put_version(&mut bytes, Version { generation: log.generation, index });
        bytes
    }

    /// The log and the entry of a row.
    pub(super) fn read(self, key: &[u8]) -> Option<(LogId, u64)> {
        let mut cursor = Cursor(key.strip_prefix(self.0)?);
        cursor.array::<{ RecordId::LEN }>()?;
        cursor.whole(|c| {
            let (authority, space) = (AuthorityId::from_bytes(c.array()?), c.space()?);
            let Version { generation, index } = c.version()?;
            Some((LogId { authority, space, generation }, index))
        })
    }
}

/// An entry that endorses nothing, or not any more, has no digest.
pub(super) fn endorsement_value(digest: Option<&Hash>) -> Vec<u8> {
    digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default()
}

pub(super) fn read_endorsement_value(value: &[u8]) -> Option<Option<Hash>> {
    match value.is_empty() {
        true => Some(None),
        false => Hash::try_from(value).ok().map(Some),
    }
}

/// The days from 1970 until which values are held; what is deleted has none.
pub(super) fn answer_value(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Deleted => Vec::new(),
        Outcome::Held(None) => vec![1],
        Outcome::Held(Some(day)) => [&[2], &day.number().to_be_bytes()[..]].concat(),
    }
}

pub(super) fn read_answer_value(value: &[u8]) -> Option<Outcome> {
    match *value {
        [] => Some(Outcome::Deleted),
        [1] => Some(Outcome::Held(None)),
        [2, ref day @ ..] => {
            let day = i32::from_be_bytes(day.try_into().ok()?);
            Some(Outcome::Held(Some(Day::from_number(day))))
        }
        _ => None,
    }
}

/// Prefix of the rows that say which records go on from one.
pub(super) fn successions(of: &Predecessor) -> Vec<u8> {
    let mut bytes = SUCCESSION.to_vec();
    put_predecessor(&mut bytes, of);
    bytes
}

/// Prefix of all rows that say which records go on from others.
#[cfg(test)]
pub(super) const fn all_successions() -> &'static [u8] {
    SUCCESSION
}

pub(super) fn succession(of: &Predecessor, key: &RecordKey) -> Vec<u8> {
    let mut bytes = successions(of);
    put_record(&mut bytes, key);
    bytes
}

/// Which record goes on, of a succession row.
pub(super) fn read_succession_key(key: &[u8]) -> Option<RecordKey> {
    let mut cursor = Cursor(key.strip_prefix(SUCCESSION)?);
    cursor.predecessor()?;
    cursor.whole(Cursor::record)
}

/// Prefix of the rows that say of which records one is an extract.
pub(super) fn extracts(authority: &AuthorityId, extract: &RecordId) -> Vec<u8> {
    let mut bytes = EXTRACT.to_vec();
    bytes.extend_from_slice(authority.as_bytes());
    bytes.extend_from_slice(extract.as_bytes());
    bytes
}

pub(super) fn extract(extract: &RecordId, key: &RecordKey) -> Vec<u8> {
    let mut bytes = extracts(&key.authority, extract);
    put_record(&mut bytes, key);
    bytes
}

/// Which record has an extract, of an extract row.
pub(super) fn read_extract_key(key: &[u8]) -> Option<RecordKey> {
    let mut cursor = Cursor(key.strip_prefix(EXTRACT)?);
    cursor.predecessor()?;
    cursor.whole(Cursor::record)
}

pub(super) fn position(log: &LogId) -> Vec<u8> {
    let mut bytes = POSITION.to_vec();
    put_log(&mut bytes, log);
    bytes
}

/// Prefix of the rows that say which records have a source key.
pub(super) fn sources(source: &SourceDigest) -> Vec<u8> {
    let mut bytes = SOURCE.to_vec();
    bytes.extend_from_slice(source.as_bytes());
    bytes
}

pub(super) fn source(source: &SourceDigest, key: &RecordKey) -> Vec<u8> {
    let mut bytes = sources(source);
    put_record(&mut bytes, key);
    bytes
}

pub(super) fn version(key: &RecordKey, version: Version) -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    put_record(&mut bytes, key);
    put_version(&mut bytes, version);
    bytes
}

/// Prefix of the versions of all records of an authority.
pub(super) fn versions_of(authority: &AuthorityId) -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    bytes.extend_from_slice(authority.as_bytes());
    bytes
}

/// Prefix of the versions of a record in whatever space.
pub(super) fn versions(authority: &AuthorityId, record: &RecordId) -> Vec<u8> {
    let mut bytes = versions_of(authority);
    bytes.extend_from_slice(record.as_bytes());
    bytes
}

/// Prefix of the current rows of a record in whatever space.
pub(super) fn spaces(authority: &AuthorityId, record: &RecordId) -> Vec<u8> {
    let mut bytes = currents(Some(authority));
    bytes.extend_from_slice(record.as_bytes());
    bytes
}

/// The first key behind all that start with `prefix`.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    bytes.push(0);
    bytes
}

/// Which record a current row is about.
pub(super) fn read_current_key(key: &[u8]) -> Option<RecordKey> {
    Cursor(key.strip_prefix(CURRENT)?).whole(Cursor::record)
}

/// Which record a source row is about.
pub(super) fn read_source_key(key: &[u8]) -> Option<RecordKey> {
    let mut cursor = Cursor(key.strip_prefix(SOURCE)?);
    cursor.array::<32>()?;
    cursor.whole(Cursor::record)
}

/// Which version a version row is about.
pub(super) fn read_version_key(key: &[u8]) -> Option<(RecordKey, Version)> {
    Cursor(key.strip_prefix(VERSION)?).whole(|c| Some((c.record()?, c.version()?)))
}

pub(super) fn version_value(info: &VersionInfo) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(11);
    put_info(&mut bytes, info);
    bytes
}

pub(super) fn read_version_value(version: Version, value: &[u8]) -> Option<VersionInfo> {
    Cursor(value).whole(|c| c.info(version))
}

pub(super) fn current_value(current: &Current) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(56);
    put_version(&mut bytes, current.newest.version);
    put_info(&mut bytes, &current.newest);
    if let Some(source) = &current.source {
        bytes.extend_from_slice(source.as_bytes());
    }
    if let Some(predecessor) = &current.predecessor {
        put_predecessor(&mut bytes, predecessor);
    }
    if let Some(extract) = &current.extract {
        bytes.extend_from_slice(extract.as_bytes());
        bytes.push(HAS_EXTRACT);
    }
    bytes
}

pub(super) fn read_current_value(value: &[u8]) -> Option<Current> {
    let mut cursor = Cursor(value);
    let version = cursor.version()?;
    let newest = cursor.info(version)?;
    // An extract makes the length odd, which it is not without.
    let mut extract = None;
    if cursor.0.len() % 2 == 1 {
        let (_, rest) = cursor.0.split_last()?;
        let (rest, last) = rest.split_last_chunk()?;
        (cursor.0, extract) = (rest, Some(RecordId::from_bytes(*last)));
    }
    // What else is there shows by its length: 32 bytes, 48, or both.
    let (has_source, has_predecessor) = match cursor.0.len() {
        0 => (false, false),
        32 => (true, false),
        48 => (false, true),
        _ => (true, true),
    };
    let source = has_source.then(|| cursor.array()).map(|it| it.map(SourceDigest));
    let source = source.map_or(Some(None), |read| read.map(Some))?;
    let predecessor = has_predecessor.then(|| cursor.predecessor());
    let predecessor = predecessor.map_or(Some(None), |read| read.map(Some))?;
    cursor.0.is_empty().then_some(Current { newest, source, predecessor, extract })
}

pub(super) fn reach_value(reach: Reach) -> Vec<u8> {
    let mut bytes = reach.entries.to_be_bytes().to_vec();
    if reach.lineage > 0 {
        bytes.extend_from_slice(&reach.lineage.to_be_bytes());
    }
    bytes
}

pub(super) fn read_reach(value: &[u8]) -> Option<Reach> {
    let mut cursor = Cursor(value);
    let entries = u64::from_be_bytes(cursor.array()?);
    let lineage = match cursor.0.is_empty() {
        true => 0,
        false => u64::from_be_bytes(cursor.whole(Cursor::array)?),
    };
    Some(Reach { entries, lineage })
}

/// Writes a record's key: 49 bytes, or 81 in a group.
pub(crate) fn put_record(bytes: &mut Vec<u8>, key: &RecordKey) {
    bytes.extend_from_slice(key.authority.as_bytes());
    bytes.extend_from_slice(key.record.as_bytes());
    put_space(bytes, &key.space);
}

/// Reads what [`put_record`] wrote.
pub(crate) fn read_record(bytes: &[u8]) -> Option<RecordKey> {
    Cursor(bytes).whole(Cursor::record)
}

/// Writes a log's id.
pub(crate) fn put_log(bytes: &mut Vec<u8>, log: &LogId) {
    bytes.extend_from_slice(log.authority.as_bytes());
    put_space(bytes, &log.space);
    bytes.extend_from_slice(&log.generation.to_be_bytes());
}

fn put_predecessor(bytes: &mut Vec<u8>, of: &Predecessor) {
    bytes.extend_from_slice(of.authority.as_bytes());
    bytes.extend_from_slice(of.record.as_bytes());
}

fn put_space(bytes: &mut Vec<u8>, space: &Space) {
    match space {
        Space::Public => bytes.push(0),
        Space::Group(group) => {
            bytes.push(1);
            bytes.extend_from_slice(group.as_bytes());
        }
    }
}

fn put_version(bytes: &mut Vec<u8>, version: Version) {
    bytes.extend_from_slice(&version.generation.to_be_bytes());
    bytes.extend_from_slice(&version.index.to_be_bytes());
}

fn put_info(bytes: &mut Vec<u8>, info: &VersionInfo) {
    bytes.extend_from_slice(&info.kind.number().to_be_bytes());
    bytes.push(match info.action {
        Action::Put => 0,
        Action::Withdraw => 1,
        Action::Erase if info.erases_fields => 3,
        Action::Erase => 2,
        // The register takes understood headers only, which have none of these.
        Action::Other(_) => 255,
    });
    bytes.extend_from_slice(&info.issued.as_seconds().to_be_bytes());
}

/// A cursor over a row; every method is `None` once the bytes do not fit.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// What `read` finds, if it leaves nothing over.
    fn whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        read(self).filter(|_| self.0.is_empty())
    }

    fn record(&mut self) -> Option<RecordKey> {
        let authority = AuthorityId::from_bytes(self.array()?);
        let record = RecordId::from_bytes(self.array()?);
        Some(RecordKey { authority, space: self.space()?, record })
    }

    fn space(&mut self) -> Option<Space> {
        match self.array()? {
            [0] => Some(Space::Public),
            [1] => Some(Space::Group(GroupId::from_bytes(self.array()?))),
            _ => None,
        }
    }

    fn predecessor(&mut self) -> Option<Predecessor> {
        let authority = AuthorityId::from_bytes(self.array()?);
        Some(Predecessor { authority, record: RecordId::from_bytes(self.array()?) })
    }

    fn version(&mut self) -> Option<Version> {
        let generation = u32::from_be_bytes(self.array()?);
        Some(Version { generation, index: u64::from_be_bytes(self.array()?) })
    }

    fn info(&mut self, version: Version) -> Option<VersionInfo> {
        let kind = Kind::new(u16::from_be_bytes(self.array()?));
        let (action, erases_fields) = match self.array()? {
            [0] => (Action::Put, false),
            [1] => (Action::Withdraw, false),
            [2] => (Action::Erase, false),
            [3] => (Action::Erase, true),
            _ => return None,
        };
        let issued = UnixTime::from_seconds(u64::from_be_bytes(self.array()?));
        Some(VersionInfo { version, kind, action, issued, erases_fields })
    }
}
