//! What several authorities say under one record id: the rows of endorsements and of
//! answers to erasures.
//!
//! One row for each entry; of each authority the newest one counts. **Invariant:** like
//! all of the register the rows follow from the entries alone. Deliberately absent:
//! what they mean, which their values say.

use std::collections::BTreeMap;

use tallystick_protocol::id::{AuthorityId, LogId, Space, Version};

use super::key::Words;
use super::{Register, row_damaged};
use crate::store::StoreError;

impl Register {
    /// The newest of `words` under `prefix` by each authority in a space, with its place.
    pub(super) fn newest_words<T>(
        &self,
        words: Words,
        (prefix, space): (&[u8], Space),
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<BTreeMap<AuthorityId, (Version, T)>, StoreError> {
        let mut newest = BTreeMap::new();
        // In the order of their versions, so that the newest comes last.
        self.each(prefix, |row, value| {
            let (log, index) = words.read(row).ok_or_else(row_damaged)?;
            let version = Version { generation: log.generation, index };
            if log.space == space {
                newest.insert(log.authority, (version, read(value).ok_or_else(row_damaged)?));
            }
            Ok(())
        })?;
        Ok(newest)
    }

    /// Forgets those that stand in `log` from the entry `from` on.
    pub(super) fn forget_words(
        &self,
        words: Words,
        log: &LogId,
        from: u64,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        self.each(words.all(), |row, _| {
            let (of, index) = words.read(row).ok_or_else(row_damaged)?;
            if of == *log && index >= from {
                rows.push((row.to_vec(), None));
            }
            Ok(())
        })?;
        self.replica.put(&rows)
    }
}
