//! Where the control entries of groups stand: what the machine wants to know of
//! groups at start, without reading their logs.
//!
//! One row, `ctl/` and log and index, for each. Rows are written before the
//! entries they name, and those of entries that a crash took are dropped when
//! they are read. Deliberately absent: what the entries say, which stands in the log.

use tallystick_protocol::entry::{Entry, Header};
use tallystick_protocol::id::{LogId, Space};

use super::layout::{Fields, put_log};
use super::{Change, ROWS, Replica, StoreError, each_row};

const CONTROLS: &[u8] = b"ctl/";

/// Writes down which entries are about a group, before they are added.
///
/// # Errors
/// [`StoreError`] if the replica fails; so for all functions here.
pub fn note(
    replica: &(impl Replica + ?Sized),
    log: &LogId,
    start: u64,
    entries: &[Entry],
) -> Result<(), StoreError> {
    if log.space == Space::Public {
        return Ok(());
    }
    let controls = (start..).zip(entries).filter(|(_, entry)| is_control(entry.header()));
    let changes: Vec<Change> =
        controls.map(|(index, _)| (row(log, index), Some(Vec::new()))).collect();
    if changes.is_empty() { Ok(()) } else { replica.put(&changes) }
}

const fn is_control(header: &Header) -> bool {
    header.is_understood() && header.action.is_control()
}

/// Forgets those of a log from the entry `from` on.
///
/// # Errors
/// See [`note`].
pub fn forget(replica: &(impl Replica + ?Sized), log: &LogId, from: u64) -> Result<(), StoreError> {
    let mut changes: Vec<Change> = Vec::new();
    let mut prefix = CONTROLS.to_vec();
    put_log(&mut prefix, log);
    each_row(replica, &prefix, |row, _| {
        if read(row)?.1 >= from {
            changes.push((row.to_vec(), None));
        }
        Ok(())
    })?;
    changes.chunks(ROWS).try_for_each(|changes| replica.put(changes))
}

/// All of them that are there.
///
/// # Errors
/// See [`note`]; [`StoreError::Damaged`] for an entry that does not hold.
pub fn all(replica: &(impl Replica + ?Sized)) -> Result<Vec<(LogId, u64, Entry)>, StoreError> {
    let mut found = Vec::new();
    each_row(replica, CONTROLS, |row, _| {
        let (log, index) = read(row)?;
        let stored = replica.entries(&log, index..index.saturating_add(1), usize::MAX)?.pop();
        if let Some(stored) = stored {
            let entry = stored.into_unverified().check().map_err(|_| damaged())?;
            if is_control(entry.header()) {
                found.push((log, index, entry));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn row(log: &LogId, index: u64) -> Vec<u8> {
    let mut row = CONTROLS.to_vec();
    put_log(&mut row, log);
    row.extend_from_slice(&index.to_be_bytes());
    row
}

fn read(row: &[u8]) -> Result<(LogId, u64), StoreError> {
    let mut fields = Fields::new(row.strip_prefix(CONTROLS).ok_or_else(damaged)?);
    fields.log().zip(fields.u64()).ok_or_else(damaged)
}

fn damaged() -> StoreError {
    StoreError::damaged("the list of what is about groups")
}
