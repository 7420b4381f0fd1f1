//! Opening the index, or making a new one.
//!
//! An index is taken as it is only if its last commit says that it was written
//! by this version for this very replica, its files have the checksums in
//! their footers, and nothing goes wrong in reading it. Else it is deleted: the
//! replica has everything that was in it. A new index carries nobody's word
//! until its first commit, so one that was left half made is not trusted.

use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use tantivy::{Index, ReloadPolicy, TantivyError};

use super::schema::{self, FieldSet};
use super::{Search, SearchError, Writer, lacks_room};
use crate::store::disk::is_full;

/// What was found where the index should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// An index of this version for this replica.
    Kept,
    /// None.
    New,
    /// One that had to be deleted, and why: a sentence, lower case, no full stop.
    Replaced(&'static str),
}

impl Search {
    /// Opens the index in `dir` for the replica with the given random name, or
    /// makes one.
    pub(crate) fn open(
        dir: &Path,
        incarnation: &[u8; 16],
    ) -> Result<(Self, Writer, Opened), SearchError> {
        let payload = payload(incarnation);
        let absent = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        let opened = if absent {
            Opened::New
        } else {
            // tantivy may panic on damaged files; nothing of ours is shared with it yet.
            let kept = panic::catch_unwind(AssertUnwindSafe(|| keep(dir, &payload)));
            match kept.unwrap_or(Err(Doubt::Bad(DAMAGED))) {
                Ok(index) => {
                    let (search, writer) = handles(index, payload)?;
                    return Ok((search, writer, Opened::Kept));
                }
                Err(Doubt::NoRoom) => return Err(SearchError::Full),
                Err(Doubt::Bad(why)) => {
                    fs::remove_dir_all(dir).map_err(unwritable)?;
                    Opened::Replaced(why)
                }
            }
        };
        create_private(dir).map_err(unwritable)?;
        let index = Index::create_in_dir(dir, schema::schema().0)?;
        let (search, writer) = handles(index, payload)?;
        Ok((search, writer, opened))
    }

    /// An index that lives as long as the process.
    pub(crate) fn in_memory(incarnation: &[u8; 16]) -> Result<(Self, Writer, Opened), SearchError> {
        let index = Index::create_in_ram(schema::schema().0);
        let (search, writer) = handles(index, payload(incarnation))?;
        Ok((search, writer, Opened::New))
    }
}

const DAMAGED: &str = "the search index was damaged";

/// Why an index is not taken as it is.
enum Doubt {
    /// It cannot be trusted: it is made anew.
    Bad(&'static str),
    /// It cannot be opened on a full disk, and may be as good as ever.
    NoRoom,
}

impl From<TantivyError> for Doubt {
    fn from(error: TantivyError) -> Self {
        if lacks_room(&error) { Self::NoRoom } else { Self::Bad(DAMAGED) }
    }
}

/// The index in `dir`, if it can be trusted.
fn keep(dir: &Path, payload: &str) -> Result<Index, Doubt> {
    let index = Index::open_in_dir(dir)?;
    let metas = index.load_metas()?;
    if metas.payload.as_deref() != Some(payload) || index.schema() != schema::schema().0 {
        let other = "the search index was of another version or replica, or not finished";
        return Err(Doubt::Bad(other));
    }
    if !index.validate_checksum()?.is_empty() {
        return Err(Doubt::Bad(DAMAGED));
    }
    schema::register(&index);
    let reader = index.reader()?;
    let (known, counted) = (metas.segments.len(), reader.searcher().segment_readers().len());
    if known == counted { Ok(index) } else { Err(Doubt::Bad(DAMAGED)) }
}

fn unwritable(error: io::Error) -> SearchError {
    if is_full(&error) { SearchError::Full } else { SearchError::Unwritable(error) }
}

fn handles(index: Index, payload: String) -> Result<(Search, Writer), SearchError> {
    schema::register(&index);
    let fields: FieldSet = schema::schema().1;
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let search = Search { index, reader, fields: fields.clone() };
    let writer = Writer::new(&search.index, search.clone(), fields, payload)?;
    Ok((search, writer))
}

/// What a commit says of the index.
fn payload(incarnation: &[u8; 16]) -> String {
    let name: String = incarnation.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("tallystick {} {name}", schema::VERSION)
}

/// Makes a directory that only this user can read.
fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}
