//! Who endorses whom: the rows that endorsements make.
//!
//! One row for each entry that an endorser has put under the endorsed authority's
//! record; the newest one counts. **Invariant:** like all of the
//! register it follows from the entries alone; whose endorsements count, and
//! whether what was endorsed is still claimed, is asked when it is read.
//! An endorsement whose body is absent or not shown in full does not count.

use tallystick_protocol::endorsement::Endorsement;
use tallystick_protocol::entry::Action;
use tallystick_protocol::id::{AuthorityId, Hash, LogId, Space, Version};
use tallystick_protocol::record::Kind;

use super::key::{ENDORSEMENTS, endorsement_value, read_endorsement_value};
use super::{Draft, Reading, Register};
use crate::store::StoreError;

impl Register {
    /// Who endorses `claims` now, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn endorsers(&self, claims: &Endorsement) -> Result<Vec<AuthorityId>, StoreError> {
        let (record, digest) = (Endorsement::record(&claims.authority), claims.digest());
        let prefix = ENDORSEMENTS.about(&record);
        let public = (prefix.as_slice(), Space::Public);
        let newest = self.newest_words(ENDORSEMENTS, public, read_endorsement_value)?;
        let endorses = |(_, (_, endorsed)): &(_, (_, Option<Hash>))| *endorsed == Some(digest);
        Ok(newest.into_iter().filter(endorses).map(|(endorser, _)| endorser).collect())
    }

    /// The newest word of `endorser` about an authority: its version, and the
    /// digest of what it endorses, if it still does.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn endorsement(
        &self,
        endorser: &AuthorityId,
        endorsed: &AuthorityId,
    ) -> Result<Option<(Version, Option<Hash>)>, StoreError> {
        let prefix = ENDORSEMENTS.by(&Endorsement::record(endorsed), endorser);
        let public = (prefix.as_slice(), Space::Public);
        let newest = self.newest_words(ENDORSEMENTS, public, read_endorsement_value)?;
        Ok(newest.into_values().next())
    }
}

impl Draft<'_> {
    /// Takes in an entry of `log`, if it is an endorsement.
    pub(super) fn endorse(&mut self, log: &LogId, reading: &Reading) {
        let header = &reading.header;
        let public = log.space == Space::Public;
        if header.kind != Kind::ENDORSEMENT || !header.is_understood() || !public {
            return;
        }
        let digest = (header.action == Action::Put).then(|| endorsed(reading)).flatten();
        let row = ENDORSEMENTS.row(&header.record, log, reading.version.index);
        self.changes.insert(row, Some(endorsement_value(digest.as_ref())));
    }
}

/// The digest of what an entry endorses, if it is shown and is where it belongs.
fn endorsed(reading: &Reading) -> Option<Hash> {
    let said = Endorsement::from_fields(reading.fields.as_ref()?)?;
    (Endorsement::record(&said.authority) == reading.header.record).then(|| said.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author;
    use crate::opener::Opener;
    use crate::store::StoredEntry;
    use crate::store::memory::MemoryReplica;
    use std::sync::Arc;
    use tallystick_protocol::entry::Entry;
    use tallystick_protocol::time::UnixTime;

    const OAK: AuthorityId = AuthorityId::from_bytes([2; 32]);

    fn claims(name: &str) -> Endorsement {
        let name = name.to_owned();
        Endorsement { authority: OAK, name, organisation_ids: Vec::new(), domain: None }
    }

    fn put(name: &str) -> Entry {
        author::endorse(&claims(name), None, UnixTime::from_seconds(1), [3; 32]).unwrap()
    }

    fn withdrawal() -> Entry {
        let (record, before) = (Endorsement::record(&OAK), Version { generation: 0, index: 0 });
        let at = UnixTime::from_seconds(2);
        author::withdraw(Kind::ENDORSEMENT, record, before, None, at, [4; 32]).unwrap()
    }

    fn readings(log: &LogId, start: u64, entries: &[Entry]) -> Vec<Reading> {
        let stored = entries.iter().cloned().map(|entry| {
            let (header, body) = entry.into_bytes();
            StoredEntry { header, body }
        });
        let readings = (start..)
            .zip(stored)
            .map(|(at, entry)| Reading::of(log, at, entry, &Opener::default()));
        readings.collect::<Result<_, _>>().unwrap()
    }

    fn taken(logs: &[(LogId, &[Entry])], portion: usize) -> (Arc<MemoryReplica>, Register) {
        let replica = Arc::new(MemoryReplica::new([1; 16]));
        let register = Register::new(replica.clone());
        for (log, entries) in logs {
            for (at, some) in entries.chunks(portion).enumerate() {
                let start = (at * portion) as u64;
                register.take(log, 0, &readings(log, start, some), |_| Ok(Vec::new())).unwrap();
            }
        }
        (replica, register)
    }

    fn log(author: u8, generation: u32) -> LogId {
        LogId::public(AuthorityId::from_bytes([author; 32]), generation)
    }

    #[test]
    fn the_newest_word_of_each_endorser_counts() {
        let one = |entries: &[Entry]| {
            let (_, register) = taken(&[(log(7, 0), entries)], 1);
            (register.endorsers(&claims("Oak")).unwrap().len(), register)
        };
        assert_eq!(one(&[put("Oak")]).0, 1);
        assert_eq!(one(&[put("Oak"), withdrawal()]).0, 0);
        assert_eq!(one(&[put("Oak"), withdrawal(), put("Oak")]).0, 1);
        let (found, register) = one(&[put("Oak"), put("Oak Forest")]);
        assert_eq!(found, 0, "another name is another claim");
        assert_eq!(register.endorsers(&claims("Oak Forest")).unwrap().len(), 1);
        let endorser = AuthorityId::from_bytes([7; 32]);
        let (version, digest) = register.endorsement(&endorser, &OAK).unwrap().unwrap();
        assert_eq!((version.index, digest), (1, Some(claims("Oak Forest").digest())));
    }

    #[test]
    fn an_endorsement_under_another_record_or_without_its_body_does_not_count() {
        let mut elsewhere = claims("Oak");
        elsewhere.authority = AuthorityId::from_bytes([9; 32]);
        let at = UnixTime::from_seconds(1);
        let (header, _) = author::endorse(&elsewhere, None, at, [3; 32]).unwrap().into_bytes();
        let absent = StoredEntry { header, body: None };
        let log = log(7, 0);
        let (_, register) = taken(&[], 1);
        let reading = Reading::of(&log, 0, absent, &Opener::default()).unwrap();
        register.take(&log, 0, &[reading], |_| Ok(Vec::new())).unwrap();
        assert_eq!(register.endorsers(&elsewhere).unwrap(), []);
    }

    #[test]
    fn invariant_8_what_is_disowned_leaves_the_rows_as_if_it_had_never_been() {
        let first = [put("Oak"), withdrawal(), put("Oak Forest")];
        let other = [put("Oak")];
        let rows = |replica: &MemoryReplica| {
            let rows = crate::store::Replica::scan(replica, ENDORSEMENTS.all(), &[], 1000);
            rows.unwrap()
        };
        for from in 0..=3 {
            let (replica, register) = taken(&[(log(7, 0), &first), (log(8, 0), &other)], 10);
            register.forget(&log(7, 0), from as u64, |_| Ok(Vec::new())).unwrap();
            let (anew, _) = taken(&[(log(7, 0), &first[..from]), (log(8, 0), &other)], 10);
            assert_eq!(rows(&replica), rows(&anew), "from {from}");
        }
    }

    #[test]
    fn invariant_8_in_whatever_portions_and_order_the_rows_are_the_same() {
        let first = [put("Oak"), withdrawal(), put("Oak Forest")];
        let (second, other) = ([put("Oak")], [put("Oak"), put("Oak")]);
        let logs: [(LogId, &[Entry]); 3] =
            [(log(7, 0), &first), (log(7, 1), &second), (log(8, 0), &other)];
        let rows = |logs: &[(LogId, &[Entry])], portion| {
            let (replica, register) = taken(logs, portion);
            assert_eq!(register.endorsers(&claims("Oak")).unwrap().len(), 2);
            crate::store::Replica::scan(&*replica, super::super::key::ALL, &[], 1000).unwrap()
        };
        let whole = rows(&logs, 10);
        assert_eq!(rows(&logs, 1), whole);
        assert_eq!(rows(&logs, 2), whole);
        let mut turned = logs;
        turned.reverse();
        assert_eq!(rows(&turned, 1), whole);
    }
}
