//! Takes what was set aside of a log out of the register again.
//!
//! **Invariants:** afterwards the register is as if it had never seen what is
//! forgotten (invariant 8 of the design); each portion leaves a register of
//! which every record is either as before or as afterwards, so what was
//! interrupted is done again from the beginning. Deliberately absent: what is
//! to be forgotten, which whoever follows the replica finds out.

use tallystick_protocol::id::{LogId, Version};

use super::{Current, Draft, ROWS, RecordKey, Register, Taken, key, row_damaged};
use crate::store::{Change, StoreError};

/// The entries of a log from one on.
#[derive(Clone, Copy, Debug)]
struct Disowned<'a> {
    log: &'a LogId,
    from: u64,
}

impl Disowned<'_> {
    fn contains(self, key: &RecordKey, version: Version) -> bool {
        (key.authority, key.space) == (self.log.authority, self.log.space)
            && version.generation == self.log.generation
            && version.index >= self.from
    }
}

impl Register {
    /// Forgets all versions in `log` from the entry `from` on, each portion in
    /// one write with the changes that `extra` makes of it. The position is left as it is.
    pub(crate) fn forget(
        &self,
        log: &LogId,
        from: u64,
        extra: impl Fn(&Taken) -> Result<Vec<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let (disowned, prefix) = (Disowned { log, from }, key::versions_of(&log.authority));
        self.forget_held(log, from)?;
        self.forget_words(key::ENDORSEMENTS, log, from)?;
        self.forget_words(key::ANSWERS, log, from)?;
        let mut start = Vec::new();
        loop {
            let rows = self.replica.scan(&prefix, &start, ROWS)?;
            let (mut draft, mut taken) = (Draft::over(&*self.replica), Taken::default());
            for (row, _) in &rows {
                let (key, version) = key::read_version_key(row).ok_or_else(row_damaged)?;
                if disowned.contains(&key, version) {
                    draft.changes.insert(row.clone(), None);
                    taken.records.insert(key);
                }
            }
            for key in &taken.records {
                let current = draft.current(key)?;
                if current.is_some_and(|current| disowned.contains(key, current.newest.version)) {
                    let next = self.newest_beside(key, disowned)?;
                    draft.replace(key, current, next, &mut taken.sources);
                }
            }
            if !taken.records.is_empty() {
                let mut changes: Vec<Change> = draft.changes.into_iter().collect();
                changes.extend(extra(&taken)?);
                self.replica.put(&changes)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS => start = key::behind(last),
                _ => return Ok(()),
            }
        }
    }

    /// What a record is without the versions that are disowned.
    fn newest_beside(
        &self,
        key: &RecordKey,
        disowned: Disowned<'_>,
    ) -> Result<Option<Current>, StoreError> {
        let versions = self.versions(&key.authority, &key.record)?.into_iter();
        let others = versions
            .filter(|(of, info)| of == key && !disowned.contains(key, info.version))
            .filter(|(_, info)| !info.erases_fields)
            .map(|(_, info)| info);
        let Some(newest) = others.max_by_key(|info| info.version) else { return Ok(None) };
        let reading = self.reading(key, newest.version)?;
        Ok(Some(Current::of(&key.authority, newest, reading.as_ref())))
    }
}
