//! Which confidential record has which extract: the rows that lead back.
//!
//! A confidential record names its extract, which is of the same author. One row
//! for each such record that can be read here and is shown, so that whoever
//! looks at the extract finds it, if he may. **Invariant:** like all of the
//! register it follows from the entries alone, and from what can be opened.
//! Deliberately absent: whether the mark of the extract fits, which is looked at
//! when it is read.

use tallystick_protocol::entry::Action;
use tallystick_protocol::id::{AuthorityId, RecordId};

use super::{Reading, RecordKey, Register, key, row_damaged};
use crate::store::StoreError;

/// Most records that may say they have one and the same extract.
const SOURCES: usize = 16;

impl Register {
    /// The records of an authority that can be read here and say that this one
    /// is their extract.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn extracted_from(
        &self,
        authority: &AuthorityId,
        extract: &RecordId,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let rows = self.replica.scan(&key::extracts(authority, extract), &[], SOURCES)?;
        rows.iter().map(|(row, _)| key::read_extract_key(row).ok_or_else(row_damaged)).collect()
    }
}

impl Reading {
    /// The extract that the record has, if the entry puts one that says so.
    pub(super) fn extract(&self, author: &AuthorityId) -> Option<RecordId> {
        if self.header.action != Action::Put {
            return None;
        }
        let (kind, fields) = (self.header.kind.description()?, self.fields.as_ref()?);
        let (of, _) = kind.extract(fields)?;
        (of.authority == *author).then_some(of.record)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tallystick_protocol::entry::Entry;
    use tallystick_protocol::id::{LogId, RecordRef, Space, Version};
    use tallystick_protocol::record::{Kind, Record};
    use tallystick_protocol::time::UnixTime;

    use super::*;
    use crate::author;
    use crate::opener::Opener;
    use crate::register::{Current, Predecessor, SourceDigest, VersionInfo};
    use crate::store::memory::MemoryReplica;
    use crate::store::{Replica as _, StoredEntry};

    const ASH: AuthorityId = AuthorityId::from_bytes([1; 32]);
    const OTHER: AuthorityId = AuthorityId::from_bytes([2; 32]);
    const WHOLE: RecordId = RecordId::from_bytes([5; 16]);

    fn put(extract: Option<(AuthorityId, u8)>) -> Entry {
        let mut document = json!({ "title": "Gully cleansing" });
        if let Some((authority, record)) = extract {
            let record = RecordId::from_bytes([record; 16]);
            let named = RecordRef { authority, record, version: None };
            document["extract"] = json!({ "record": named.to_string(), "salt": "0a".repeat(32) });
        }
        let record = Record::from_json(Kind::CONTRACT, document).unwrap();
        let at = UnixTime::from_seconds(1);
        author::prepare(&record, WHOLE, None, Action::Put, at, [3; 32]).unwrap()
    }

    fn taken(entries: &[Entry], portion: usize) -> (Arc<MemoryReplica>, Register) {
        let replica = Arc::new(MemoryReplica::new([1; 16]));
        let (register, log) = (Register::new(replica.clone()), LogId::public(ASH, 0));
        let read = |(at, entry): (u64, &Entry)| {
            let (header, body) = entry.clone().into_bytes();
            Reading::of(&log, at, StoredEntry { header, body }, &Opener::default()).unwrap()
        };
        let readings: Vec<_> = (0..).zip(entries).map(read).collect();
        for some in readings.chunks(portion) {
            register.take(&log, 0, some, |_| Ok(Vec::new())).unwrap();
        }
        (replica, register)
    }

    #[test]
    fn invariant_8_the_newest_version_leads_back_from_the_extract_in_whatever_portions() {
        let withdrawn = author::withdraw(
            Kind::CONTRACT,
            WHOLE,
            Version { generation: 0, index: 0 },
            None,
            UnixTime::from_seconds(2),
            [4; 32],
        );
        let withdrawn = withdrawn.unwrap();
        let whole = RecordKey { authority: ASH, space: Space::Public, record: WHOLE };
        for (entries, leads) in [
            (vec![put(None)], [false, false]),
            (vec![put(Some((ASH, 7)))], [true, false]),
            (vec![put(Some((ASH, 7))), put(Some((ASH, 8)))], [false, true]),
            (vec![put(Some((ASH, 7))), put(None)], [false, false]),
            (vec![put(Some((ASH, 7))), withdrawn], [false, false]),
            // What somebody else has said is nobody's extract.
            (vec![put(Some((OTHER, 7)))], [false, false]),
        ] {
            let (one, register) = taken(&entries, 1);
            let found = |record| register.extracted_from(&ASH, &RecordId::from_bytes([record; 16]));
            let found = [7, 8].map(|record| found(record).unwrap() == [whole]);
            assert_eq!(found, leads);
            let (all, register) = taken(&entries, 10);
            let rows = |replica: &MemoryReplica| replica.scan(key::ALL, &[], 1000).unwrap();
            assert_eq!(rows(&one), rows(&all));
            register.forget(&LogId::public(ASH, 0), 0, |_| Ok(Vec::new())).unwrap();
            assert_eq!(
                all.scan(&key::extracts(&ASH, &RecordId::from_bytes([7; 16])), &[], 9).unwrap(),
                []
            );
        }
    }

    #[test]
    fn whatever_is_known_of_a_record_is_read_back() {
        let (version, issued) = (Version { generation: 1, index: 2 }, UnixTime::from_seconds(3));
        let (kind, action) = (Kind::CONTRACT, Action::Put);
        let newest = VersionInfo { version, kind, action, issued, erases_fields: false };
        for bits in 0..8_u8 {
            let has = |bit: u8| bits & bit != 0;
            let predecessor = Predecessor { authority: OTHER, record: WHOLE };
            let current = Current {
                newest,
                source: has(1).then(|| SourceDigest::of("s")),
                predecessor: has(2).then_some(predecessor),
                extract: has(4).then_some(WHOLE),
            };
            let row = key::current_value(&current);
            assert_eq!(key::read_current_value(&row), Some(current), "{bits}");
            assert_eq!(key::read_current_value(&[&row[..], &[9, 9]].concat()), None);
        }
    }
}
