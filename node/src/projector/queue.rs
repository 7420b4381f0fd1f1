//! What is to be looked at again, besides new entries of logs.
//!
//! Rows of the projection namespace, written in one step with what made them
//! necessary and removed only after the search index is on disk: so nothing is
//! forgotten over a crash. Rows are numbered, so one that comes in while an
//! earlier one for the same thing is worked on stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::register::{RecordKey, SourceDigest, damaged, each_row, key};
use crate::store::{Change, Replica, StoreError};

const PREFIX: &[u8] = b"prj/q";

/// One thing to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// The reference with this source key, and whether it is superseded.
    Source(SourceDigest),
    /// A record whose body came or went.
    Record(RecordKey),
}

/// The queue; clones number their rows together.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    next: Arc<AtomicU64>,
}

impl Queue {
    /// Continues the numbers of the rows in `replica`.
    pub(crate) fn open(replica: &dyn Replica) -> Result<Self, StoreError> {
        let mut next = 0;
        each_row(replica, PREFIX, |row, _| {
            next = number(row)? + 1;
            Ok(())
        })?;
        Ok(Self { next: Arc::new(AtomicU64::new(next)) })
    }

    /// A row for `item`, to be written by the caller.
    pub(crate) fn row(&self, item: &Item) -> Change {
        let mut row = PREFIX.to_vec();
        row.extend_from_slice(&self.next.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let mut value = Vec::with_capacity(82);
        match item {
            Item::Source(source) => {
                value.push(0);
                value.extend_from_slice(source.as_bytes());
            }
            Item::Record(record) => {
                value.push(1);
                key::put_record(&mut value, record);
            }
        }
        (row, Some(value))
    }

    /// At most `limit` rows, from behind `after` on.
    pub(crate) fn read(
        replica: &dyn Replica,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Item)>, StoreError> {
        let from = after.map(key::behind).unwrap_or_default();
        let rows = replica.scan(PREFIX, &from, limit)?;
        rows.into_iter().map(|(row, value)| Ok((row, item(&value).ok_or_else(broken)?))).collect()
    }
}

fn item(value: &[u8]) -> Option<Item> {
    match value.split_first()? {
        (0, digest) => Some(Item::Source(SourceDigest::from_bytes(digest.try_into().ok()?))),
        (1, record) => Some(Item::Record(key::read_record(record)?)),
        _ => None,
    }
}

fn number(row: &[u8]) -> Result<u64, StoreError> {
    let digits = row.strip_prefix(PREFIX).and_then(|digits| digits.try_into().ok());
    digits.map(u64::from_be_bytes).ok_or_else(broken)
}

fn broken() -> StoreError {
    damaged("the queue of the projections".to_owned())
}
