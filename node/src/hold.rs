//! Legal holds: copies that this authority keeps, hidden, though their author erases them.
//!
//! Freedom of information, audit and litigation may oblige a holder to keep what it
//! has. A hold is on a record: what is erased of it is hidden here as everywhere, and
//! not deleted as long as the hold lasts. Kept in `holds.json`, mode 0600, written
//! whole: to a new file, fsynced, renamed.
//!
//! **Invariants:** a hold is this authority's own and is never sent; its author is
//! told that a copy is held and until when, and not why. Deliberately absent: holding
//! what is deleted already, which nobody can.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::{AuthorityId, RecordId, Space};
use tallystick_protocol::record::Day;
use tallystick_protocol::time::UnixTime;

use crate::failure::Failure;
use crate::partner::replace;
use crate::register::RecordKey;

/// Name of the file.
pub const HOLDS_FILE: &str = "holds.json";
/// Most holds of one node.
pub const HOLDS: usize = 10_000;
/// Largest note.
pub const NOTE_BYTES: usize = 1024;
/// Largest file that is read: every hold with the longest note.
const FILE_BYTES: u64 = (HOLDS * (NOTE_BYTES * 6 + 1024)) as u64;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Why something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Somebody asked for it under freedom-of-information or data-protection law.
    #[serde(rename = "foi")]
    FreedomOfInformation,
    /// Auditors need it.
    #[serde(rename = "audit")]
    Audit,
    /// It is evidence in a dispute.
    #[serde(rename = "litigation")]
    Litigation,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FreedomOfInformation, Self::Audit, Self::Litigation];

    /// The code in commands and JSON.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::FreedomOfInformation => "foi",
            Self::Audit => "audit",
            Self::Litigation => "litigation",
        }
    }

    /// The reason with a code.
    ///
    /// # Errors
    /// A [`Failure`] that lists the codes.
    pub fn from_code(code: &str) -> Result<Self, Failure> {
        Self::ALL.into_iter().find(|reason| reason.code() == code).ok_or_else(|| {
            let codes: Vec<_> = Self::ALL.iter().map(|reason| reason.code()).collect();
            Failure::usage(
                format!("{code:?} is no reason for a hold"),
                format!("there are {}", codes.join(", ")),
            )
        })
    }
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Why.
    pub reason: Reason,
    /// When it was placed.
    pub since: UnixTime,
    /// The last day on which it holds (UTC); without it until it is released.
    pub until: Option<Day>,
    /// What the people here want to remember of it: a case number, say.
    pub note: Option<String>,
}

impl Hold {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds_at(&self, now: UnixTime) -> bool {
        let today = i64::try_from(now.as_seconds() / DAY_SECONDS).unwrap_or(i64::MAX);
        self.until.is_none_or(|until| today <= i64::from(until.number()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptHold {
    authority: AuthorityId,
    space: Space,
    record: RecordId,
    hold: Hold,
}

/// The holds of this authority.
#[derive(Debug)]
pub struct HoldBook {
    path: PathBuf,
    holds: BTreeMap<RecordKey, Hold>,
}

impl HoldBook {
    /// Reads the file; there are none if there is none.
    ///
    /// # Errors
    /// A [`Failure`] if the file is there and cannot be read. Without it nothing is
    /// to be deleted, so the node does not start.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let damaged = |why: &dyn std::fmt::Display| {
            Failure::usage(
                format!("the list of legal holds {} cannot be read ({why})", path.display()),
                "put it back from a backup; without it, held copies would be deleted",
            )
        };
        let kept: Vec<KeptHold> = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Ok(found) if found.len() > FILE_BYTES => return Err(damaged(&"it is too large")),
            _ => {
                let text = fs::read_to_string(path).map_err(|error| damaged(&error))?;
                serde_json::from_str(&text).map_err(|error| damaged(&error))?
            }
        };
        let key = |kept: &KeptHold| RecordKey {
            authority: kept.authority,
            space: kept.space,
            record: kept.record,
        };
        let holds = kept.into_iter().map(|kept| (key(&kept), kept.hold)).collect();
        Ok(Self { path: path.to_owned(), holds })
    }

    /// Those that hold at `now`.
    #[must_use]
    pub fn at(&self, now: UnixTime) -> BTreeMap<RecordKey, Hold> {
        let holding = self.holds.iter().filter(|(_, hold)| hold.holds_at(now));
        holding.map(|(key, hold)| (*key, hold.clone())).collect()
    }

    /// All that were placed and not released, also those that have lapsed.
    pub fn iter(&self) -> impl Iterator<Item = (&RecordKey, &Hold)> {
        self.holds.iter()
    }

    /// Places a hold, durably; it takes the place of an earlier one on the record.
    ///
    /// # Errors
    /// A [`Failure`] if there are [`HOLDS`] already, the note is longer than
    /// [`NOTE_BYTES`], or the file cannot be written.
    pub fn place(&mut self, key: RecordKey, hold: Hold) -> Result<(), Failure> {
        if hold.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES) {
            return Err(Failure::usage("the note is too long", "write at most 1,024 bytes"));
        }
        if self.holds.len() >= HOLDS && !self.holds.contains_key(&key) {
            return Err(Failure::usage(
                format!("{HOLDS} records are held already"),
                "release those that are needed no more: `tally hold --list`",
            ));
        }
        let before = self.holds.insert(key, hold);
        self.save_or(|holds| match before {
            Some(before) => _ = holds.insert(key, before),
            None => _ = holds.remove(&key),
        })
    }

    /// Ends a hold, durably; gives it if there was one.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn release(&mut self, key: &RecordKey) -> Result<Option<Hold>, Failure> {
        let Some(hold) = self.holds.remove(key) else { return Ok(None) };
        let again = hold.clone();
        self.save_or(|holds| _ = holds.insert(*key, again))?;
        Ok(Some(hold))
    }

    /// Writes the file; what is not durable has not happened.
    fn save_or(
        &mut self,
        undo: impl FnOnce(&mut BTreeMap<RecordKey, Hold>),
    ) -> Result<(), Failure> {
        let kept = |(key, hold): (&RecordKey, &Hold)| KeptHold {
            authority: key.authority,
            space: key.space,
            record: key.record,
            hold: hold.clone(),
        };
        let kept: Vec<_> = self.holds.iter().map(kept).collect();
        let text = serde_json::to_vec_pretty(&kept).map_err(Failure::internal)?;
        replace(&self.path, &text).map_err(|error| {
            undo(&mut self.holds);
            Failure::unwritten(&self.path, &error, "check the rights of the data directory")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(record: u8) -> RecordKey {
        let authority = AuthorityId::from_bytes([1; 32]);
        RecordKey { authority, space: Space::Public, record: RecordId::from_bytes([record; 16]) }
    }

    fn hold(until: Option<Day>) -> Hold {
        let since = UnixTime::from_seconds(5);
        Hold { reason: Reason::Audit, since, until, note: Some("case 7".to_owned()) }
    }

    #[test]
    fn holds_outlive_a_restart_and_are_for_the_nodes_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HOLDS_FILE);
        let mut book = HoldBook::open(&path).unwrap();
        book.place(key(1), hold(None)).unwrap();
        book.place(key(2), hold(Day::new(2027, 3, 31))).unwrap();
        assert_eq!(book.release(&key(3)).unwrap(), None);
        let again = HoldBook::open(&path).unwrap();
        assert!(again.iter().eq(book.iter()) && again.iter().count() == 2);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &fs::metadata(&path).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(book.release(&key(1)).unwrap(), Some(hold(None)));
        assert_eq!(HoldBook::open(&path).unwrap().iter().count(), 1);
    }

    #[test]
    fn a_hold_lasts_through_its_last_day() {
        let day = Day::new(2027, 3, 31).unwrap();
        let midnight = u64::try_from(day.number()).unwrap() * DAY_SECONDS;
        let held = |at| hold(Some(day)).holds_at(UnixTime::from_seconds(at));
        assert!(held(0) && held(midnight) && held(midnight + DAY_SECONDS - 1));
        assert!(!held(midnight + DAY_SECONDS));
        assert!(hold(None).holds_at(UnixTime::from_seconds(u64::MAX)));
    }

    #[test]
    fn what_cannot_be_read_or_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HOLDS_FILE);
        fs::write(&path, "[{").unwrap();
        assert_eq!(HoldBook::open(&path).unwrap_err().kind.exit_code(), 2);
        fs::remove_file(&path).unwrap();
        let mut book = HoldBook::open(&path).unwrap();
        let long = Hold { note: Some("x".repeat(NOTE_BYTES + 1)), ..hold(None) };
        assert!(book.place(key(1), long).is_err());
        drop(dir);
        assert!(book.place(key(1), hold(None)).is_err(), "the directory is gone");
        assert_eq!(book.iter().count(), 0);
    }
}
