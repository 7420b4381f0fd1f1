//! Retention dates that have still to come, in the order in which they come.
//!
//! A version with a retention date has a [`Standing`](super::Standing) erasure from the
//! moment it is stored. Until the date it waits here and not among those that are due,
//! so that a million of them cost nothing. **Invariant:** a date that has passed leaves
//! in one write: the row here goes, the erasure is due, and projections are told to look.

use tallystick_protocol::id::LogId;
use tallystick_protocol::time::UnixTime;

use super::{CHANGED, DUE, damaged, entry_key};
use crate::store::layout::{Fields, put_log};
use crate::store::{Change, Replica, StoreError};

const DATES: &[u8] = b"era/r";

pub(super) fn key(date: UnixTime, log: &LogId, index: u64) -> Vec<u8> {
    let mut key = DATES.to_vec();
    key.extend_from_slice(&date.as_seconds().to_be_bytes());
    put_log(&mut key, log);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn read_key(key: &[u8]) -> Option<(UnixTime, LogId, u64)> {
    let mut fields = Fields::new(key.strip_prefix(DATES)?);
    Some((UnixTime::from_seconds(fields.u64()?), fields.log()?, fields.u64()?))
}

/// Makes what is retained until `now` or less due, at most `limit` versions; how
/// many. What is hidden by it is hidden already, by whoever reads with a clock.
///
/// # Errors
/// [`StoreError`] if the replica fails.
pub fn lapse(
    replica: &(impl Replica + ?Sized),
    now: UnixTime,
    limit: usize,
) -> Result<usize, StoreError> {
    let mut changes: Vec<Change> = Vec::new();
    let mut lapsed = 0;
    for (row, record) in replica.scan(DATES, &[], limit)? {
        let (date, log, index) = read_key(&row).ok_or_else(damaged)?;
        if date > now {
            break;
        }
        lapsed += 1;
        let rows = [DUE, CHANGED].map(|rows| (entry_key(rows, &log, index), Some(record.clone())));
        changes.extend(rows);
        changes.push((row, None));
    }
    if lapsed > 0 {
        replica.put(&changes)?;
    }
    Ok(lapsed)
}

/// The first retention date that has still to come.
///
/// # Errors
/// [`StoreError`] if the replica fails.
pub fn next(replica: &(impl Replica + ?Sized)) -> Result<Option<UnixTime>, StoreError> {
    let first = replica.scan(DATES, &[], 1)?;
    let date = |(row, _): &(Vec<u8>, Vec<u8>)| read_key(row).map(|(date, ..)| date);
    first.first().map(|row| date(row).ok_or_else(damaged)).transpose()
}
