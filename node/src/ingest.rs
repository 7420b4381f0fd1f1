//! Foreign data in: files of other systems, read row by row into typed records.
//!
//! ```text
//! file ─ sniff ─┬─ JSON ─ json ── contracts_finder ─┐
//!               │                 ocds              ├─ Row { number, drafts }
//!               └─ table ─ csv ─────────────────────┘
//! ```
//!
//! [`open`] tells what a file is by its content; the [`Ingest`] it returns is an
//! iterator with bounded memory. Which row becomes which kind of record stands
//! in the tables of [`ocds`], [`contracts_finder`] and [`csv`]. All cells go through
//! [`remark::Remarks`], so the same text gives the same field in every format.
//!
//! **Invariants:** any input gives rows or one [`IngestError`], never a panic,
//! in memory bounded by one row; a damaged row is refused by itself and the
//! next one is read; what is left out of a row is said in its draft's warnings;
//! the same bytes give the same drafts with the same [`Source::key`] at any time.
//!
//! Deliberately absent: deciding whose a record is ([`buyer::Ownership`] is asked by
//! the command), storing it, and the clock.
//!
//! [`Source::key`]: tallystick_protocol::record::part::Source::key

pub mod amount;
pub mod buyer;
pub mod contracts_finder;
pub mod csv;
pub mod date;
mod json;
pub mod ocds;
pub mod remark;
mod sniff;
pub mod summary;
pub mod text;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tallystick_protocol::body::Fields;
use tallystick_protocol::record::part::Organisation;
use tallystick_protocol::record::{Date, Record};

pub use self::json::{ITEM_BYTES, LISTS};
pub use self::sniff::Input;
pub use self::summary::{Outcome, RefusedRow, Summary};

/// What a file is taken to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Told by the content.
    #[default]
    Auto,
    /// JSON: OCDS in any packaging, or Contracts Finder search notices.
    Ocds,
    /// A table with a header row: commas, semicolons, tabs or bars.
    Csv,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "ocds" | "json" | "jsonl" => Ok(Self::Ocds),
            "csv" => Ok(Self::Csv),
            _ => Err(format!("{text:?} is no format; there are auto, ocds and csv")),
        }
    }
}

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What it is.
    pub format: Format,
    /// Whose rows they are where no column says so: the authority whose contract
    /// register this is (`--register`).
    pub register: Option<Organisation>,
}

/// One record as a foreign row describes it, not yet anybody's.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The record, with its source.
    pub record: Record,
    /// All buyers the row names, the record's own first.
    pub buyers: Vec<Organisation>,
    /// What was left out or changed in reading: sentences, lower case, no full stop.
    pub warnings: Vec<String>,
}

/// Why a row was not kept: one sentence, lower case, no full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The sentence.
    pub reason: String,
}

impl Refusal {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A line, table row or release of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its line (JSON lines), its row as a spreadsheet numbers it (tables), or
    /// its place in the document, from 1. Releases of a package that stands on
    /// one line share its number.
    pub number: u64,
    /// The records it gives, or why it gives none.
    pub drafts: Result<Vec<Draft>, Refusal>,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// It cannot be opened or read.
    #[error("the file cannot be read ({0})")]
    Unreadable(#[from] io::Error),
    /// It holds nothing.
    #[error("the file is empty")]
    Empty,
    /// It is no text.
    #[error("the file is {0}, not JSON or CSV")]
    Binary(&'static str),
    /// It should be JSON and is not.
    #[error("the file is not JSON")]
    NotJson,
    /// It has no header row with known column names.
    #[error(
        "no row of the file names the columns of a contract register or notice list (it begins with {0})"
    )]
    UnknownColumns(String),
    /// Nothing in it says who the buyer is.
    #[error("the table has no column for the buyer")]
    NoBuyer,
}

impl IngestError {
    /// What to do about it, as one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check the path and that you may read it",
            Self::Empty => "export it again from the system it comes from",
            Self::Binary(_) => "unpack it, or save it as CSV, and import that",
            Self::NotJson => "leave out --format, or give --format csv if it is a table",
            Self::UnknownColumns(_) => {
                "give it a header row with at least Title and one of Supplier, Value, Start date, End date, Reference or Buyer"
            }
            Self::NoBuyer => {
                "if it is this authority's own contract register, say so with --register; else add a Buyer Name column"
            }
        }
    }
}

/// The rows of a file.
pub struct Ingest {
    rows: Box<dyn Iterator<Item = Row> + Send>,
    read: Arc<AtomicU64>,
    size: u64,
}

impl Ingest {
    /// Bytes of the file read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed).min(self.size)
    }

    /// Size of the file in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Iterator for Ingest {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        self.rows.next()
    }
}

/// Opens a file for reading row by row.
///
/// # Errors
/// [`IngestError`] if it cannot be read or is none of the formats.
pub fn open(path: &Path, options: &Options) -> Result<Ingest, IngestError> {
    let file = File::open(path)?;
    read(Box::new(file), options)
}

/// Reads any seekable input row by row: a file, or bytes in a [`std::io::Cursor`].
///
/// # Errors
/// [`IngestError`] if it cannot be read or is none of the formats.
pub fn read(mut input: Box<dyn Input>, options: &Options) -> Result<Ingest, IngestError> {
    let size = input.seek(SeekFrom::End(0))?;
    let sample = sniff::sample(input.as_mut())?;
    if let Some(name) = sample.binary {
        return Err(IngestError::Binary(name));
    }
    if sample.bytes.trim_ascii().is_empty() {
        return Err(IngestError::Empty);
    }
    let json = json::is_json(&sample.bytes);
    match options.format {
        Format::Ocds if !json => return Err(IngestError::NotJson),
        Format::Csv => {}
        _ if json => {
            let plain = sniff::Plain::new(input, sample.encoding);
            let read = plain.counter();
            let input = BufReader::new(plain);
            let rows: Box<dyn Iterator<Item = Row> + Send> = if json::is_lines(&sample.bytes) {
                Box::new(json::Lines::new(input).map(row))
            } else {
                Box::new(json::Documents::new(input).map(row))
            };
            return Ok(Ingest { rows, read, size });
        }
        Format::Ocds | Format::Auto => {}
    }
    let table = csv::Table::find(&sample.bytes, options.register.clone())?;
    let repeated = table.repeated(sniff::Plain::new(input.as_mut(), sample.encoding));
    input.seek(SeekFrom::Start(0))?;
    let plain = sniff::Plain::new(input, sample.encoding);
    let read = plain.counter();
    let rows = Box::new(csv::Rows::new(plain, table, repeated));
    Ok(Ingest { rows, read, size })
}

/// The drafts of one JSON item.
fn row(item: json::Item) -> Row {
    let drafts = item.content.and_then(|(value, digest)| drafts(value, &digest));
    Row { number: item.number, drafts }
}

fn drafts(value: Value, digest: &str) -> Result<Vec<Draft>, Refusal> {
    let Value::Object(object) = &value else {
        return Err(Refusal::new("this is not a JSON object"));
    };
    if let Some(notice) = contracts_finder::notice(object) {
        return contracts_finder::drafts(notice, digest);
    }
    if ocds::is_item(object) {
        return ocds::drafts(value, digest);
    }
    Err(Refusal::new("this is neither an OCDS release or record nor a Contracts Finder notice"))
}

/// Whether `offered` says nothing that `stored` does not say: every field it has
/// is there with the same value, or it is an older release of the same notice.
///
/// Where the two were read from (`source`) does not count: the same notice in two
/// exports, one with fewer columns, is the same record.
#[must_use]
pub fn adds_nothing(stored: &Record, offered: &Record) -> bool {
    if stored.kind() != offered.kind() {
        return false;
    }
    if let (Some(before), Some(after)) = (published(stored), published(offered))
        && after < before
    {
        return true;
    }
    match (stored.to_fields(), offered.to_fields()) {
        (Ok(stored), Ok(offered)) => has_all(&stored, &offered),
        _ => false,
    }
}

/// Whether `stored` has every field of `offered` with the same value, apart
/// from where they were read from.
pub(crate) fn has_all(stored: &Fields, offered: &Fields) -> bool {
    offered
        .iter()
        .filter(|(name, _)| !name.as_str().starts_with("source."))
        .all(|(name, value)| stored.get(name.as_str()) == Some(value))
}

fn published(record: &Record) -> Option<i64> {
    record.source()?.published.as_ref().and_then(Date::instant)
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tallystick_protocol::record::Contract;
    use tallystick_protocol::record::part::Source;

    use super::*;

    fn contract(title: &str, description: Option<&str>, published: &str) -> Record {
        Contract {
            title: title.to_owned(),
            description: description.map(str::to_owned),
            source: Some(Source {
                system: Some("contracts-finder".to_owned()),
                notice_id: Some("n".to_owned()),
                published: Some(Date::new(published)),
                digest: Some(digest(published.as_bytes())),
                ..Source::default()
            }),
            ..Contract::default()
        }
        .into()
    }

    #[test]
    fn fewer_columns_or_an_older_release_add_nothing() {
        let stored = contract("Roads", Some("all of them"), "2026-03-01T10:00:00Z");
        let poorer = contract("Roads", None, "2026-03-01T10:00:00Z");
        let older = contract("Road", None, "2026-03-01T09:59:59Z");
        let newer = contract("Roads", Some("most of them"), "2026-03-01T10:00:01Z");
        assert!(adds_nothing(&stored, &stored));
        assert!(adds_nothing(&stored, &poorer));
        assert!(adds_nothing(&stored, &older));
        assert!(!adds_nothing(&stored, &newer));
        assert!(!adds_nothing(&poorer, &stored));
    }

    #[test]
    fn formats_are_named() {
        assert_eq!("CSV".parse(), Ok(Format::Csv));
        assert!("xlsx".parse::<Format>().is_err());
    }

    #[test]
    fn progress_reaches_the_size() {
        let text = "{\"a\":1}\n{\"a\":2}\n";
        let mut ingest = read(Box::new(Cursor::new(text)), &Options::default()).unwrap();
        assert_eq!(ingest.by_ref().filter(|row| row.drafts.is_err()).count(), 2);
        assert_eq!((ingest.bytes_read(), ingest.size()), (16, 16));
    }
}
