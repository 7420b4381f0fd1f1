//! Which records refer to which: the rows that marks of a reorganisation make,
//! and responses.
//!
//! One row for each shown record whose newest version says that it goes on from
//! a record of a predecessor, or that it answers one. **Invariant:** like all of the register it follows
//! from the entries alone. Deliberately absent: whether the predecessor's
//! identity confirms it, which is asked when it is read.

use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::Action;
use tallystick_protocol::id::{AuthorityId, RecordId};

use super::{Reading, RecordKey, Register, key, row_damaged};
use crate::store::StoreError;

/// A record to which another refers: of a predecessor from which it goes on, or
/// one that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Predecessor {
    /// Who said it.
    pub authority: AuthorityId,
    /// Which document.
    pub record: RecordId,
}

impl Register {
    /// The records, of any authority, that are shown and say that they go on
    /// from this one or answer it; at most `limit` of them.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn successors(&self, of: &Predecessor, limit: usize) -> Result<Vec<RecordKey>, StoreError> {
        let rows = self.replica.scan(&key::successions(of), &[], limit)?;
        rows.iter().map(|(row, _)| key::read_succession_key(row).ok_or_else(row_damaged)).collect()
    }

    /// What the newest version of a record shows.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn fields(&self, key: &RecordKey) -> Result<Option<Fields>, StoreError> {
        let Some(current) = self.current(key)?.filter(super::Current::is_visible) else {
            return Ok(None);
        };
        Ok(self.reading(key, current.newest.version)?.and_then(|reading| reading.fields))
    }
}

impl Reading {
    /// From which record this one goes on, or which it answers, if the entry puts
    /// one that does.
    pub(super) fn predecessor(&self) -> Option<Predecessor> {
        if self.header.action != Action::Put {
            return None;
        }
        let (kind, fields) = (self.header.kind.description()?, self.fields.as_ref()?);
        let of = kind.predecessor(fields).or_else(|| kind.answered(fields))?;
        Some(Predecessor { authority: of.authority, record: of.record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author;
    use crate::opener::Opener;
    use crate::store::memory::MemoryReplica;
    use crate::store::{Replica, StoredEntry};
    use serde_json::json;
    use std::sync::Arc;
    use tallystick_protocol::entry::Entry;
    use tallystick_protocol::id::{LogId, Space, Version};
    use tallystick_protocol::record::{Kind, Record};
    use tallystick_protocol::time::UnixTime;

    const OAK: AuthorityId = AuthorityId::from_bytes([2; 32]);
    const OWN: RecordId = RecordId::from_bytes([5; 16]);
    const ASH: [Predecessor; 2] = [
        Predecessor {
            authority: AuthorityId::from_bytes([1; 32]),
            record: RecordId::from_bytes([7; 16]),
        },
        Predecessor {
            authority: AuthorityId::from_bytes([1; 32]),
            record: RecordId::from_bytes([8; 16]),
        },
    ];

    fn log() -> LogId {
        LogId::public(OAK, 0)
    }

    fn put(of: Option<&Predecessor>) -> Entry {
        let of = of.map(|of| format!("{}/{}", of.authority, of.record));
        let mut document = json!({ "title": "Gully cleansing" });
        if let Some(of) = of {
            document["succession"] = json!({ "kind": "hosted", "of": of, "date": "2026-04-01" });
        }
        let record = Record::from_json(Kind::CONTRACT, document).unwrap();
        let (at, salt) = (UnixTime::from_seconds(1), [3; 32]);
        author::prepare(&record, OWN, None, Action::Put, at, salt).unwrap()
    }

    fn withdrawal() -> Entry {
        let before = Version { generation: 0, index: 0 };
        let at = UnixTime::from_seconds(2);
        author::withdraw(Kind::CONTRACT, OWN, before, None, at, [4; 32]).unwrap()
    }

    fn taken(entries: &[Entry], portion: usize) -> (Arc<MemoryReplica>, Register) {
        let replica = Arc::new(MemoryReplica::new([1; 16]));
        let register = Register::new(replica.clone());
        let readings: Vec<_> = (0..)
            .zip(entries.iter().cloned())
            .map(|(at, entry)| {
                let (header, body) = entry.into_bytes();
                Reading::of(&log(), at, StoredEntry { header, body }, &Opener::default()).unwrap()
            })
            .collect();
        for some in readings.chunks(portion) {
            register.take(&log(), 0, some, |_| Ok(Vec::new())).unwrap();
        }
        (replica, register)
    }

    #[test]
    fn what_the_newest_version_says_counts() {
        let own = RecordKey { authority: OAK, space: Space::Public, record: OWN };
        let marked = |entries: &[Entry]| {
            let (_, register) = taken(entries, 10);
            ASH.map(|of| register.successors(&of, 10).unwrap() == [own])
        };
        assert_eq!(marked(&[put(None)]), [false, false]);
        assert_eq!(marked(&[put(Some(&ASH[0]))]), [true, false]);
        assert_eq!(marked(&[put(Some(&ASH[0])), put(Some(&ASH[1]))]), [false, true]);
        assert_eq!(marked(&[put(Some(&ASH[0])), put(None)]), [false, false]);
        assert_eq!(marked(&[put(Some(&ASH[0])), withdrawal()]), [false, false]);
    }

    #[test]
    fn invariant_8_in_whatever_portions_the_rows_are_the_same_and_none_are_left_of_what_is_disowned()
     {
        let entries =
            [put(Some(&ASH[0])), put(Some(&ASH[1])), withdrawal(), put(Some(&ASH[0])), put(None)];
        fn rows(replica: &MemoryReplica, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
            replica.scan(prefix, &[], 1000).unwrap()
        }
        for len in 0..=entries.len() {
            let (whole, _) = taken(&entries[..len], 10);
            let (single, _) = taken(&entries[..len], 1);
            assert_eq!(rows(&whole, key::ALL), rows(&single, key::ALL), "{len}");
        }
        // What is disowned leaves nothing; what stands before it is read anew from the replica.
        let (replica, register) = taken(&entries[..2], 10);
        register.forget(&log(), 0, |_| Ok(Vec::new())).unwrap();
        assert_eq!(rows(&replica, key::all_successions()), []);
    }
}
