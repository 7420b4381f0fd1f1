//! Drafts: performance notes that are not shared yet, on this node only.
//!
//! One file each, `drafts/NUMBER.json` in the data directory, written whole and
//! fsynced, mode 0600. A draft is never signed, sent or indexed; when it is
//! shared, the record takes its place. The record's id is chosen with the draft,
//! so that a draft whose sharing was interrupted is not shared twice.
//! Deliberately absent: any judgement of a draft, and other kinds of record.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::RecordId;
use tallystick_protocol::limits;
use tallystick_protocol::record::Performance;

use crate::failure::Failure;
use crate::partner::replace;

/// Directory of the drafts in the data directory.
pub const DRAFTS_DIR: &str = "drafts";
/// Most drafts of one node.
pub const DRAFTS: usize = 1000;
/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = limits::BODY_BYTES as u64 * 4;

/// One draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// By which people name it.
    pub number: u32,
    /// The id of the record that it becomes.
    pub record: RecordId,
    /// What it says.
    pub note: Performance,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    record: String,
    document: Performance,
}

/// The drafts of one node.
#[derive(Debug)]
pub struct Drafts(PathBuf);

impl Drafts {
    /// The drafts in this directory, which is made with the first of them.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// All drafts, in the order of their numbers.
    ///
    /// # Errors
    /// A [`Failure`] if one of them cannot be read.
    pub fn all(&self) -> Result<Vec<Draft>, Failure> {
        self.numbers()?.into_iter().map(|number| self.get(number)).collect()
    }

    /// One draft.
    ///
    /// # Errors
    /// A [`Failure`] if there is none with this number, or it cannot be read.
    pub fn get(&self, number: u32) -> Result<Draft, Failure> {
        let path = self.path(number);
        let text = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(number)),
            Ok(found) if found.len() > FILE_BYTES => return Err(damaged(&path, "it is too large")),
            _ => fs::read_to_string(&path).map_err(|error| damaged(&path, &error.to_string()))?,
        };
        let kept: Kept =
            serde_json::from_str(&text).map_err(|error| damaged(&path, &error.to_string()))?;
        let record = kept.record.parse();
        let record = record.map_err(|_| damaged(&path, "its record has no valid id"))?;
        Ok(Draft { number, record, note: kept.document })
    }

    /// Keeps a new draft, durably.
    ///
    /// # Errors
    /// A [`Failure`] if there are [`DRAFTS`] already, or it cannot be written.
    pub fn add(&self, record: RecordId, note: Performance) -> Result<Draft, Failure> {
        let numbers = self.numbers()?;
        if numbers.len() >= DRAFTS {
            return Err(Failure::usage(
                format!("there are {DRAFTS} drafts already"),
                "share or discard some; `tally note list` lists them",
            ));
        }
        let number = numbers.last().copied().unwrap_or(0).saturating_add(1);
        let draft = Draft { number, record, note };
        self.put(&draft)?;
        Ok(draft)
    }

    /// Puts a draft in the place of the one with its number, durably.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be written.
    pub fn put(&self, draft: &Draft) -> Result<(), Failure> {
        let kept = Kept { record: draft.record.to_string(), document: draft.note.clone() };
        let text = serde_json::to_string_pretty(&kept).map_err(Failure::internal)?;
        let path = self.path(draft.number);
        let written = make_private(&self.0).and_then(|()| replace(&path, text.as_bytes()));
        written.map_err(|error| {
            Failure::unwritten(&path, &error, "check the rights of the data directory")
        })
    }

    /// Removes a draft.
    ///
    /// # Errors
    /// A [`Failure`] if there is none with this number, or it cannot be removed.
    pub fn remove(&self, number: u32) -> Result<(), Failure> {
        let path = self.path(number);
        fs::remove_file(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(number),
            _ => Failure::unwritten(&path, &error, "check the rights of the data directory"),
        })
    }

    fn path(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number}.json"))
    }

    fn numbers(&self) -> Result<Vec<u32>, Failure> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| damaged(&self.0, &error.to_string()))?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| damaged(&self.0, &error.to_string()))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Makes a directory that is nobody else's business, if it is not there.
fn make_private(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn missing(number: u32) -> Failure {
    Failure::no(format!("there is no draft {number}"), "`tally note list` lists the drafts")
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::usage(
        format!("the draft {} cannot be read ({why})", path.display()),
        "put it back from a backup, or move it away",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(title: &str) -> Performance {
        Performance { title: Some(title.to_owned()), ..Performance::default() }
    }

    #[test]
    fn drafts_are_kept_changed_and_removed_and_nobody_else_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let drafts = Drafts::new(dir.path().join(DRAFTS_DIR));
        assert_eq!(drafts.all(), Ok(Vec::new()));
        let id = |n| RecordId::from_bytes([n; 16]);
        let one = drafts.add(id(1), note("One")).unwrap();
        let two = drafts.add(id(2), note("Two")).unwrap();
        assert_eq!((one.number, two.number), (1, 2));
        let changed = Draft { note: note("Another"), ..one };
        drafts.put(&changed).unwrap();
        let again = Drafts::new(dir.path().join(DRAFTS_DIR));
        assert_eq!(again.all(), Ok(vec![changed, two.clone()]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&drafts.0), mode(&drafts.path(1))), (0o700, 0o600));
        }
        again.remove(1).unwrap();
        assert_eq!(again.all(), Ok(vec![two]));
        assert_eq!(again.remove(1).unwrap_err().kind.exit_code(), 1);
        assert_eq!(again.get(7).unwrap_err().kind.exit_code(), 1);
    }

    #[test]
    fn damaged_drafts_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let drafts = Drafts::new(dir.path().to_owned());
        for bad in ["", "{}", "{\"record\":\"zz\",\"document\":{}}"] {
            fs::write(drafts.path(3), bad).unwrap();
            assert_eq!(drafts.get(3).unwrap_err().kind.exit_code(), 2, "{bad}");
            assert_eq!(fs::read_to_string(drafts.path(3)).unwrap(), bad);
        }
    }
}
