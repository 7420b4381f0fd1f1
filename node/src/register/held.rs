//! What is held back: versions of records in private groups that are not to be
//! read here, because their epoch is not open to this node or their author is
//! not known to be a member.
//!
//! One row for each, so that it is looked at again when that changes, also
//! after a restart. **Invariant:** a row goes in one write with what has the
//! record looked at again. Deliberately absent: why, which changes without a row.

use tallystick_protocol::id::{EpochId, LogId, Space};

use super::{ROWS, Reading, RecordKey, Register, key, row_damaged};
use crate::store::{Change, StoreError};

/// `reg/h`, log, index: the record, and the epoch if there is one.
const HELD: &[u8] = b"reg/h";

/// The row of an entry of `log` that is held back.
pub(super) fn row(log: &LogId, reading: &Reading) -> Change {
    let mut row = prefix(log);
    row.extend_from_slice(&reading.version.index.to_be_bytes());
    let mut value = Vec::with_capacity(113);
    value.extend(reading.header.epoch.map_or([0; EpochId::LEN], |epoch| *epoch.as_bytes()));
    key::put_record(&mut value, &reading.key(log));
    (row, Some(value))
}

fn prefix(log: &LogId) -> Vec<u8> {
    let mut prefix = HELD.to_vec();
    key::put_log(&mut prefix, log);
    prefix
}

/// One row as it was written.
struct Held {
    record: RecordKey,
    log: LogId,
    index: u64,
    epoch: Option<EpochId>,
}

impl Held {
    fn read(row: &[u8], value: &[u8]) -> Option<Self> {
        let (epoch, record) = value.split_first_chunk()?;
        let record = key::read_record(record)?;
        let epoch = (*epoch != [0; EpochId::LEN]).then(|| EpochId::from_bytes(*epoch));
        // The row ends with the log's generation and the index.
        let (rest, index) = row.split_last_chunk()?;
        let (_, generation) = rest.split_last_chunk()?;
        let (authority, space) = (record.authority, record.space);
        let log = LogId { authority, space, generation: u32::from_be_bytes(*generation) };
        Some(Self { record, log, index: u64::from_be_bytes(*index), epoch })
    }
}

impl Register {
    /// Versions of records that are held back.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn held_back(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each(HELD, |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// The row of an entry in a group whose body has changed, as it is to be now.
    pub(crate) fn recheck(&self, log: &LogId, index: u64) -> Result<Option<Change>, StoreError> {
        if log.space == Space::Public {
            return Ok(None);
        }
        let stored = self.replica.entries(log, index..index.saturating_add(1), usize::MAX)?.pop();
        let Some(stored) = stored else { return Ok(None) };
        let reading = Reading::of(log, index, stored, &self.opener)?;
        let (key, value) = row(log, &reading);
        Ok(Some((key, value.filter(|_| reading.is_record() && reading.is_held_back()))))
    }

    /// Takes out the rows of what can be read now, each in one write with the
    /// row that `again` gives for its record; whether there were any.
    pub(crate) fn release(&self, again: impl Fn(RecordKey) -> Change) -> Result<bool, StoreError> {
        let (mut start, mut any) = (Vec::new(), false);
        loop {
            let rows = self.replica.scan(HELD, &start, ROWS)?;
            let mut changes = Vec::new();
            for (row, value) in &rows {
                let held = Held::read(row, value).ok_or_else(row_damaged)?;
                if self.opener.reads(&held.log, held.index, held.epoch.as_ref()) {
                    changes.extend([(row.clone(), None), again(held.record)]);
                }
            }
            if !changes.is_empty() {
                any = true;
                self.replica.put(&changes)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS => start = key::behind(last),
                _ => return Ok(any),
            }
        }
    }

    /// Forgets what is held back of a log from the entry `from` on.
    pub(super) fn forget_held(&self, log: &LogId, from: u64) -> Result<(), StoreError> {
        let mut changes: Vec<Change> = Vec::new();
        self.each(&prefix(log), |row, value| {
            if Held::read(row, value).ok_or_else(row_damaged)?.index >= from {
                changes.push((row.to_vec(), None));
            }
            Ok(())
        })?;
        changes.chunks(ROWS).try_for_each(|changes| self.replica.put(changes))
    }
}
