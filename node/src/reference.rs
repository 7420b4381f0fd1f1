//! References: public notices of other buyers, imported for context.
//!
//! A reference is local. It is unsigned, nobody on the network vouches for it,
//! it never leaves this node, and whatever shows one must say so: its address
//! begins with `reference/` where a record's begins with an authority, and a
//! search result marks it. It makes an empty network useful on the first
//! morning, and steps back for the real thing: while any authority's own record
//! with the same source key is shown, the reference is *superseded*, which
//! means kept and hidden; when that record is withdrawn it is shown again.
//!
//! **Invariants:** one reference per source key; whether it is superseded is
//! decided by the register at the time of asking and stored nowhere. References
//! stand in the projection namespace but are no projection: rebuilding
//! projections leaves them alone. Deliberately absent: versions; an import puts
//! a newer notice in the place of the older one.

use std::fmt;
use std::sync::Arc;

use ciborium::Value;
use tallystick_protocol::body::Fields;
use tallystick_protocol::record::{Kind, Record, RecordError};
use tallystick_protocol::time::UnixTime;
use tallystick_protocol::{cbor, limits};

use crate::ingest;
use crate::projector::queue::{Item, Queue};
use crate::register::{Register, SourceDigest, damaged, key};
use crate::store::{Change, Replica, StoreError};

/// What stands in a reference's address where a record's has its authority.
pub const PREFIX: &str = "reference/";

/// Prefix of the rows.
const ROWS: &[u8] = b"ref/";
/// References written at a time.
const BATCH: usize = 500;

/// One imported notice of another buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    kind: Kind,
    fields: Fields,
    source_key: String,
    /// When it was imported.
    pub imported: UnixTime,
    /// What was remarked on when it was imported; may be empty.
    pub note: String,
}

/// Why a document cannot be kept as a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It does not say which notice it is.
    #[error("nothing tells this notice from others")]
    NoSource,
    /// It is larger than a record may be.
    #[error("the notice is larger than one mebibyte")]
    TooLarge,
    /// It cannot be written as named fields.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Reference {
    /// A reference to what `record` says.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn new(
        record: &Record,
        imported: UnixTime,
        note: impl Into<String>,
    ) -> Result<Self, ReferenceError> {
        let source_key = record.source_key().ok_or(ReferenceError::NoSource)?;
        let fields = record.to_fields()?;
        let note = note.into();
        let size: usize =
            fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size + note.len() > limits::BODY_BYTES {
            return Err(ReferenceError::TooLarge);
        }
        Ok(Self { kind: record.kind(), fields, source_key, imported, note })
    }

    /// What kind of document it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What makes it the same document as another.
    #[must_use]
    pub fn source_key(&self) -> &str {
        &self.source_key
    }

    /// Digest of [`Reference::source_key`].
    #[must_use]
    pub fn digest(&self) -> SourceDigest {
        SourceDigest::of(&self.source_key)
    }

    /// Its address: [`PREFIX`] and 32 hexadecimal digits.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.digest())
    }

    /// The document.
    ///
    /// # Errors
    /// [`RecordError`] if an earlier version of the program wrote what this one cannot read.
    pub fn record(&self) -> Result<Record, RecordError> {
        Record::from_fields(self.kind, &self.fields)
    }

    /// Bytes it takes, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 8).sum()
    }

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for (name, bytes) in self.fields.iter() {
            let value: Value = cbor::decode(bytes).map_err(|_| row_damaged())?;
            fields.push((Value::Text(name.as_str().to_owned()), value));
        }
        let number = |n: u64| Value::Integer(n.into());
        let value = Value::Map(vec![
            (number(1), number(u64::from(self.kind.number()))),
            (number(2), number(self.imported.as_seconds())),
            (number(3), Value::Text(self.note.clone())),
            (number(4), Value::Text(self.source_key.clone())),
            (number(5), Value::Map(fields)),
        ]);
        cbor::encode_value(value).map_err(|_| row_damaged())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let Value::Map(pairs) = cbor::decode(bytes).ok()? else { return None };
        let mut parts = pairs.into_iter().map(|(_, value)| value);
        let kind = Kind::new(u16::try_from(parts.next()?.into_integer().ok()?).ok()?);
        let imported = u64::try_from(parts.next()?.into_integer().ok()?).ok()?;
        let note = parts.next()?.into_text().ok()?;
        let source_key = parts.next()?.into_text().ok()?;
        let mut fields = Fields::new();
        for (name, value) in parts.next()?.into_map().ok()? {
            fields.insert(name.as_text()?, &value).ok()?;
        }
        let imported = UnixTime::from_seconds(imported);
        Some(Self { kind, fields, source_key, imported, note })
    }
}

/// What became of a reference that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There was none with its source key.
    Stored,
    /// It replaced an older notice.
    Changed,
    /// It says nothing that the kept one does not say; the kept one stays.
    Unchanged,
}

/// All references of this node. Cloning gives a second handle on the same ones.
#[derive(Clone)]
pub struct References {
    replica: Arc<dyn Replica>,
    register: Register,
    queue: Queue,
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").finish_non_exhaustive()
    }
}

impl References {
    pub(crate) fn new(replica: Arc<dyn Replica>, queue: Queue) -> Self {
        Self { register: Register::new(Arc::clone(&replica)), replica, queue }
    }

    /// Keeps references, each unless it says nothing new, and says what became
    /// of them. They are durable after the replica's flush.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails; those up to the failure may be kept.
    pub fn put(&self, references: &[Reference]) -> Result<Vec<Put>, StoreError> {
        let mut outcomes = Vec::with_capacity(references.len());
        for batch in references.chunks(BATCH) {
            let mut changes: Vec<Change> = Vec::new();
            for reference in batch {
                let digest = reference.digest();
                let row = row(&digest);
                let earlier = changes.iter().rev().find(|(key, _)| *key == row);
                let kept = match earlier {
                    Some((_, value)) => value.clone(),
                    None => self.replica.get(&row)?,
                };
                let outcome = compare(kept.as_deref(), reference)?;
                if outcome != Put::Unchanged {
                    changes.push((row, Some(reference.encode()?)));
                    changes.push(self.queue.row(&Item::Source(digest)));
                }
                outcomes.push(outcome);
            }
            if !changes.is_empty() {
                self.replica.put(&changes)?;
            }
        }
        Ok(outcomes)
    }

    /// The reference with this source key, superseded or not.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails; so for all methods.
    pub fn of(&self, source: &SourceDigest) -> Result<Option<Reference>, StoreError> {
        let value = self.replica.get(&row(source))?;
        value.map(|value| Reference::decode(&value).ok_or_else(row_damaged)).transpose()
    }

    /// Whether there is a reference with this source key.
    ///
    /// # Errors
    /// See [`References::of`].
    pub fn exists(&self, source: &SourceDigest) -> Result<bool, StoreError> {
        Ok(self.replica.get(&row(source))?.is_some())
    }

    /// Whether a reference with this source key is hidden behind an authority's own record.
    ///
    /// # Errors
    /// See [`References::of`].
    pub fn is_superseded(&self, source: &SourceDigest) -> Result<bool, StoreError> {
        self.register.has_source(source)
    }

    /// The references an address means: `reference/` and a prefix of its digits;
    /// at most two, for the caller to see that it is not unique.
    ///
    /// # Errors
    /// See [`References::of`].
    pub fn resolve(&self, address: &str) -> Result<Vec<Reference>, StoreError> {
        let digits = address.trim().strip_prefix(PREFIX).unwrap_or_default();
        let mut start = ROWS.to_vec();
        let pairs = digits.as_bytes().chunks_exact(2);
        let bytes = pairs.map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        });
        let Some(bytes) = bytes.collect::<Option<Vec<u8>>>() else { return Ok(Vec::new()) };
        start.extend(bytes);
        let mut found = Vec::new();
        let mut from = start.clone();
        while found.len() < 2 && !digits.is_empty() {
            let rows = self.replica.scan(&start, &from, 16)?;
            for (_, value) in &rows {
                let reference = Reference::decode(value).ok_or_else(row_damaged)?;
                if reference.digest().to_string().starts_with(digits) && found.len() < 2 {
                    found.push(reference);
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == 16 => from = key::behind(last),
                _ => break,
            }
        }
        Ok(found)
    }

    /// At most `limit` references in the order of their digests, behind the one with
    /// this digest, or from the first on.
    ///
    /// # Errors
    /// See [`References::of`].
    pub fn behind(
        &self,
        digest: Option<&SourceDigest>,
        limit: usize,
    ) -> Result<Vec<Reference>, StoreError> {
        let from = digest.map(|digest| key::behind(&row(digest)));
        let rows = self.replica.scan(ROWS, &from.unwrap_or_default(), limit)?;
        let read =
            |(_, value): &(Vec<u8>, Vec<u8>)| Reference::decode(value).ok_or_else(row_damaged);
        rows.iter().map(read).collect()
    }

    /// Removes the reference with this source key, if there is one.
    ///
    /// # Errors
    /// See [`References::of`].
    pub fn remove(&self, source: &SourceDigest) -> Result<(), StoreError> {
        self.replica.put(&[(row(source), None), self.queue.row(&Item::Source(*source))])
    }

    /// Puts all references into the queue, because the search index begins anew.
    pub(crate) fn queue_all(&self) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let rows = self.replica.scan(ROWS, &from, BATCH)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = key::behind(last);
            let digests = rows.iter().filter_map(|(row, _)| {
                let digest = row.strip_prefix(ROWS)?.try_into().ok()?;
                Some(SourceDigest::from_bytes(digest))
            });
            let changes: Vec<Change> =
                digests.map(|digest| self.queue.row(&Item::Source(digest))).collect();
            self.replica.put(&changes)?;
        }
    }
}

/// The address of the reference with this source key.
#[must_use]
pub fn address(source: &SourceDigest) -> String {
    let digits = source.to_string();
    format!("{PREFIX}{}", digits.get(..32).unwrap_or(&digits))
}

fn row(source: &SourceDigest) -> Vec<u8> {
    let mut row = ROWS.to_vec();
    row.extend_from_slice(source.as_bytes());
    row
}

fn compare(kept: Option<&[u8]>, offered: &Reference) -> Result<Put, StoreError> {
    let Some(kept) = kept else { return Ok(Put::Stored) };
    let kept = Reference::decode(kept).ok_or_else(row_damaged)?;
    // What cannot be read any more is worth less than what was just read.
    let nothing_new = match (kept.record(), offered.record()) {
        (Ok(kept), Ok(offered)) => ingest::adds_nothing(&kept, &offered),
        _ => false,
    };
    Ok(if nothing_new { Put::Unchanged } else { Put::Changed })
}

fn row_damaged() -> StoreError {
    damaged("a reference".to_owned())
}
