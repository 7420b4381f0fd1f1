//! Copies a replica into a new directory, which leaves behind what sled keeps
//! of values that were replaced.
//!
//! Pairs go over as they are, in key order and large batches: the order in
//! which sled packs them best. **Invariant:** the copy has the name and the
//! change counters of the original, so cursors that partners hold stay good.
//! Deliberately absent: putting the copy in the original's place; see
//! [`crate::store::Store::compact`].

use std::path::Path;

use ::sled::Batch;

use super::{SledReplica, key, open};
use crate::store::disk::sync_dir;
use crate::store::{Replica as _, StoreError, page};

/// Bytes of keys and values in one batch. Small, because each is flushed: only
/// then does sled use the room again that rewriting a node has freed.
const BATCH_BYTES: usize = 1 << 20;

impl SledReplica {
    /// Writes everything into a new replica at `dir`, which must be empty or
    /// absent; durable when this returns. `progress` hears how many
    /// entries are copied.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if something cannot be read; [`StoreError::Unreadable`]
    /// or [`StoreError::Fatal`] if `dir` cannot be written, and the original is as it was.
    pub fn copy_to(
        &self,
        dir: &Path,
        cache_bytes: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let _writing = self.lock();
        let copy = open::database(dir, cache_bytes)?;
        let fatal = |error| StoreError::fatal(dir)(super::into_io(error));
        let total = self.logs()?.iter().map(|log| log.frontier.size()).sum::<u64>();
        let (mut batch, mut bytes, mut copied) = (Batch::default(), 0, 0);
        for item in self.db.iter() {
            let (key, value) = item.map_err(|error| self.failed(error))?;
            bytes += key.len() + value.len();
            if key.first() == Some(&key::PAGE) {
                copied += page::ENTRIES;
            }
            batch.insert(key, value);
            if bytes >= BATCH_BYTES {
                bytes = 0;
                copy.apply_batch(core::mem::take(&mut batch)).map_err(fatal)?;
                copy.flush().map_err(fatal)?;
                progress(total.min(copied));
            }
        }
        copy.apply_batch(batch).map_err(fatal)?;
        copy.flush().map_err(fatal)?;
        drop(copy);
        std::fs::File::open(dir.join("db"))
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_dir(dir))
            .map_err(StoreError::fatal(dir))?;
        progress(total);
        Ok(())
    }
}
