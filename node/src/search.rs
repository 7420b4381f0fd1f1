//! Search: a tantivy index of what is to be shown, and questions to it.
//!
//! In the index is, once each, every record whose author stands by it, in its
//! newest version, and every reference that no such record supersedes. What is
//! searchable of a kind follows from its description's facets; nothing here
//! knows a kind.
//!
//! Questions are asked by people: any text is a question, none is an error. All
//! words must be there, in whatever field; the last one may be the beginning of
//! a word; case, accents and apostrophes do not count.
//!
//! **Invariants:** equal content gives equal answers in equal order, however
//! and in whatever order it came into the index (invariant 8 of the design). So
//! scores are made of fixed weights, never of statistics over the index, which
//! remember what was deleted; ties are broken by date, then by record id. A
//! reference is marked as one in every answer. Memory is bounded: by
//! [`WRITER_BYTES`] in writing, by [`LIMIT`] and [`OFFSET`] in answering.
//!
//! The index lives in `search/` of the data directory and may be deleted at any
//! time; damage or another version of it leads to a new one. Deliberately
//! absent: a query language, and the names of authorities, which the caller
//! knows better ([`Results::name_authorities`]).

mod document;
mod open;
mod question;
mod schema;
mod writer;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::record::{Day, Kind};
use tantivy::collector::sort_key::{SortBySimilarityScore, SortByStaticFastValue};
use tantivy::collector::{Count, TopDocs};
use tantivy::schema::Value as _;
use tantivy::{DocAddress, Index, IndexReader, Order, Searcher, TantivyDocument};

pub use self::open::Opened;
use self::schema::FieldSet;
pub(crate) use self::{document::Document, writer::Writer};
use crate::acquaintance::{Attribution, Known};
use crate::service::answer::Continuation;
use crate::store::MAKE_ROOM;
use crate::store::disk::is_full;

/// Most results in one answer.
pub const LIMIT: usize = 1000;
/// Most results skipped.
pub const OFFSET: usize = 100_000;
/// Words of a question that count; more are ignored.
pub const WORDS: usize = 32;
/// Memory for documents that are not on disk yet, in bytes.
pub const WRITER_BYTES: usize = 50 << 20;

/// A question. Everything that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Words to be found, as typed; empty for all.
    pub text: String,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With a CPV code that begins with these digits, one to eight; a check digit is ignored.
    pub cpv: Option<String>,
    /// With a supplier whose name has these words, or whose identifier (`GB-COH-01234567`) this is.
    pub supplier: Option<String>,
    /// With a buyer whose name has these words, or whose identifier this is.
    pub buyer: Option<String>,
    /// Last day before this one.
    pub ends_before: Option<Day>,
    /// Last day on or after this one.
    pub ends_after: Option<Day>,
    /// Said by this authority.
    pub authority: Option<AuthorityId>,
    /// At most so many results, up to [`LIMIT`]; zero only counts.
    pub limit: usize,
    /// Results to skip, up to [`OFFSET`].
    pub offset: usize,
    /// Whether references count.
    pub include_references: bool,
}

impl Default for Query {
    /// The first twenty of all records and references.
    fn default() -> Self {
        Self {
            text: String::new(),
            kind: None,
            cpv: None,
            supplier: None,
            buyer: None,
            ends_before: None,
            ends_after: None,
            authority: None,
            limit: 20,
            offset: 0,
            include_references: true,
        }
    }
}

impl Query {
    /// The question for these words.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// One record or reference found; serialises to the keys of the command line contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Its full reference, or the address of a reference.
    #[serde(rename = "ref")]
    pub address: String,
    /// Name of its kind.
    pub kind: String,
    /// Title; empty if it is withheld.
    pub title: String,
    /// Who says it; nobody for a reference.
    pub authority: Option<AuthorityId>,
    /// That authority's name, where the caller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// How that name is known, where the caller knows it.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// `public`, or the id of the group it was said in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The name of that group, where the caller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// First buyer's name.
    pub buyer: Option<String>,
    /// Suppliers' names.
    pub suppliers: Vec<String>,
    /// CPV codes, the main one first.
    pub cpv: Vec<String>,
    /// First day, as `YYYY-MM-DD`.
    pub starts: Option<String>,
    /// Last day.
    pub ends: Option<String>,
    /// Value in minor units of [`Hit::currency`].
    pub amount: Option<i64>,
    /// Currency of the value.
    pub currency: Option<String>,
    /// Status or stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The last day on which it may be shown or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether nobody may use it in evaluating tenders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_for_tender_evaluation: bool,
    /// Whether it is an extract of a record that fewer may see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_extract: bool,
    /// Where people can read the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The predecessor's contract from which it goes on, where the caller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continuation>,
    /// Successors' contracts that say they go on from it, where the caller knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_by: Vec<Continuation>,
    /// Whether it is a reference: imported here, vouched for by nobody on the network.
    pub reference: bool,
    /// How well it fits: the sum of the weights of the fields in which the words were found.
    #[serde(default)]
    pub score: u32,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// How many fit.
    pub total: u64,
    /// Those asked for, the best first.
    pub results: Vec<Hit>,
}

impl Results {
    /// Fills in what the groups are called in which records were said.
    pub fn name_groups(&mut self, name: impl Fn(&str) -> Option<String>) {
        for hit in &mut self.results {
            hit.group = hit.space.as_deref().and_then(&name);
        }
    }

    /// Fills in what the authorities are called, and how that is known.
    ///
    /// # Errors
    /// Whatever `known` gives.
    pub fn name_authorities<E>(
        &mut self,
        known: impl Fn(&AuthorityId) -> Result<Option<Known>, E>,
    ) -> Result<(), E> {
        let mut met: BTreeMap<AuthorityId, Option<Known>> = BTreeMap::new();
        for hit in &mut self.results {
            let Some(authority) = hit.authority else { continue };
            let known = match met.entry(authority) {
                Entry::Occupied(found) => found.get().clone(),
                Entry::Vacant(vacant) => vacant.insert(known(&authority)?).clone(),
            };
            (hit.authority_name, hit.known) =
                known.map(|Known { name, attribution }| (name, attribution)).unzip();
        }
        Ok(())
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The CPV prefix is none: the caller's fault.
    #[error("{0:?} is no beginning of a CPV code")]
    Cpv(String),
    /// There is no room for it.
    #[error("the disk is full: there is no room for the search index")]
    Full,
    /// The index failed.
    #[error("the search index cannot be read")]
    Index(#[source] tantivy::TantivyError),
    /// The index holds what this program did not write.
    #[error("the search index is damaged")]
    Damaged,
    /// The index cannot be opened or made.
    #[error("the search index cannot be written")]
    Unwritable(#[source] std::io::Error),
}

impl SearchError {
    /// One line on what to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Cpv(_) => "give one to eight digits, such as 48 or 72260000",
            Self::Full => MAKE_ROOM,
            Self::Unwritable(_) => {
                "check free space and rights of the folder `search` in the data directory"
            }
            Self::Index(_) | Self::Damaged => {
                "stop the node and run `tally rebuild`; no record is lost"
            }
        }
    }
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        if lacks_room(&error) { Self::Full } else { Self::Index(error) }
    }
}

/// Whether the operating system's word behind an error is that the disk is full.
fn lacks_room(error: &tantivy::TantivyError) -> bool {
    use tantivy::TantivyError as Error;
    use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};
    match error {
        Error::IoError(error)
        | Error::OpenWriteError(OpenWriteError::IoError { io_error: error, .. })
        | Error::OpenReadError(OpenReadError::IoError { io_error: error, .. })
        | Error::OpenDirectoryError(OpenDirectoryError::IoError { io_error: error, .. })
        | Error::LockFailure(LockError::IoError(error), _) => is_full(error),
        _ => false,
    }
}

/// The index, for questions. Cloning gives a second handle on the same one.
#[derive(Clone)]
pub struct Search {
    index: Index,
    reader: IndexReader,
    fields: FieldSet,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").finish_non_exhaustive()
    }
}

impl Search {
    /// Answers a question from what is in the index now.
    ///
    /// # Errors
    /// [`SearchError::Cpv`] for a wrong CPV prefix; the others if the index fails.
    pub fn search(&self, query: &Query) -> Result<Results, SearchError> {
        let Some(question) = question::build(query, &self.fields)? else {
            return Ok(Results::default());
        };
        let searcher = self.reader.searcher();
        let limit = query.limit.min(LIMIT);
        if limit == 0 {
            let total = searcher.search(&*question, &Count)? as u64;
            return Ok(Results { total, results: Vec::new() });
        }
        let range = query.offset.min(OFFSET)..query.offset.min(OFFSET) + limit;
        let best = TopDocs::for_doc_range(range).order_by((
            SortBySimilarityScore,
            SortByStaticFastValue::<i64>::for_field(schema::DATE),
            (SortByStaticFastValue::<u64>::for_field(schema::TIE), Order::Asc),
        ));
        let (total, found) = searcher.search(&*question, &(Count, best))?;
        let hits = found.into_iter().map(|((score, ..), at)| self.hit(&searcher, at, score));
        Ok(Results { total: total as u64, results: hits.collect::<Result<_, _>>()? })
    }

    /// How many contracts, records and references, name one of these identifiers
    /// (`GB-COH-01234567`) as that of a supplier.
    ///
    /// # Errors
    /// [`SearchError`] if the index fails.
    pub fn supplied_by(&self, ids: &[String]) -> Result<u64, SearchError> {
        let question = question::supplied_by(ids, &self.fields);
        Ok(self.reader.searcher().search(&*question, &Count)? as u64)
    }

    /// Records and references in the index.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    fn hit(&self, searcher: &Searcher, at: DocAddress, score: f32) -> Result<Hit, SearchError> {
        let document: TantivyDocument = searcher.doc(at)?;
        let stored = document.get_first(self.fields.hit).and_then(|value| value.as_bytes());
        let hit: Option<Hit> = stored.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let hit = hit.ok_or(SearchError::Damaged)?;
        Ok(Hit { score: question::whole(score), ..hit })
    }

    /// Shows what was committed.
    fn reload(&self) -> Result<(), SearchError> {
        Ok(self.reader.reload()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, ErrorKind};
    use std::sync::Arc;
    use tantivy::TantivyError;
    use tantivy::directory::error::{LockError, OpenWriteError};

    #[test]
    fn a_full_disk_is_told_from_an_index_that_cannot_be_read() {
        let errors = |kind: ErrorKind| {
            let io = || Arc::new(io::Error::from(kind));
            let (io_error, filepath) = (io(), "search/x".into());
            [
                TantivyError::IoError(io()),
                TantivyError::LockFailure(LockError::IoError(io()), None),
                OpenWriteError::IoError { io_error, filepath }.into(),
            ]
        };
        for error in errors(ErrorKind::StorageFull) {
            let error = SearchError::from(error);
            assert!(matches!(error, SearchError::Full), "{error}");
            assert!(error.remedy().contains("make room"));
        }
        for error in errors(ErrorKind::PermissionDenied) {
            assert!(matches!(SearchError::from(error), SearchError::Index(_)));
        }
    }
}
