//! What can go wrong with stored data, in one sentence each and with a remedy.
//!
//! Four kinds, kept apart by what must happen next: the operator acts
//! ([`StoreError::Locked`] to [`StoreError::Contradiction`]), the program ends
//! ([`StoreError::Fatal`]), the caller has a bug ([`StoreError::Refused`],
//! [`StoreError::TooLarge`]), or one read failed ([`StoreError::Unreadable`]).

use std::io;
use std::path::{Path, PathBuf};

use tallystick_protocol::id::LogId;

use super::disk::is_full;

/// What to do when the disk is full.
pub const MAKE_ROOM: &str =
    "make room on the disk, then start the node again; what it acknowledged is there";

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("another process is using the data directory {}", .0.display())]
    Locked(PathBuf),
    /// The data was written by a newer program.
    #[error("the data has format {found}, newer than the {known} this program knows")]
    Newer {
        /// Format found.
        found: u32,
        /// Newest format this program reads.
        known: u32,
    },
    /// Stored data is not what was written.
    #[error("{what} is damaged{}", at(*.offset))]
    Damaged {
        /// The file, or the part of the replica.
        what: String,
        /// Where in the file, in bytes from its start, if that is known.
        offset: Option<u64>,
    },
    /// Journal and replica hold different histories of one of our own logs.
    #[error("journal and replica disagree about entry {index} of log {log}")]
    Contradiction {
        /// The log.
        log: LogId,
        /// First entry that differs; the size of the log if only the signed heads do.
        index: u64,
    },
    /// A write or sync failed: what is on the disk is unknown until the data is opened again.
    #[error("{}", not_stored(.path, .source))]
    Fatal {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system or the database said.
        source: io::Error,
    },
    /// A file could not be read or opened; nothing was changed.
    #[error("{} cannot be read ({source})", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system or the database said.
        source: io::Error,
    },
    /// An append does not continue its log: the caller's fault; nothing was stored.
    #[error("cannot append to log {log}: {why}")]
    Refused {
        /// The log.
        log: LogId,
        /// What does not fit.
        why: Refusal,
    },
    /// A key, value or commit beyond its bound: the caller's fault; nothing was stored.
    #[error("the {0} is too large to be stored")]
    TooLarge(&'static str),
}

/// In which way an append does not continue its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The entries do not start where the log ends.
    #[error("its {size} entries are not followed by entry {start}")]
    Gap {
        /// Entries in the log.
        size: u64,
        /// Index the append starts with.
        start: u64,
    },
    /// The tree over the entries is not the one announced.
    #[error("the entries do not hash to the announced tree")]
    Tree,
    /// The head is older than the stored one, beyond the log, or over another history.
    #[error("the signed head does not fit the log")]
    Head,
    /// There is no entry with this index.
    #[error("it has no entry {0}")]
    Absent(u64),
}

impl StoreError {
    /// One line on what to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Locked(_) => "stop the other node, or name another directory with --data",
            Self::Newer { .. } => "install the newer version of tally again, or restore a backup",
            Self::Damaged { .. } => {
                "restore a backup; entries of other authorities are fetched again by themselves"
            }
            Self::Contradiction { .. } => {
                "do not run this node; restore its newest backup, because one of the two is older or foreign"
            }
            Self::Fatal { source, .. } if is_full(source) => MAKE_ROOM,
            Self::Fatal { .. } => {
                "check free space and health of the disk, then start the node again"
            }
            Self::Unreadable { .. } => "check that the file exists and that tally may read it",
            Self::Refused { .. } | Self::TooLarge(_) => {
                "this is a fault in tally: please report it with the log of the node"
            }
        }
    }

    /// Whether the program must end because the state of the disk is unknown.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// Whether the replica has to be made anew.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), offset: None }
    }

    pub(super) fn damaged_at(file: &Path, offset: u64) -> Self {
        Self::Damaged { what: file.display().to_string(), offset: Some(offset) }
    }

    pub(super) fn fatal(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Fatal { path, source }
    }

    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        // A database may have to write when it is opened; what is missing then is room.
        move |source| match is_full(&source) {
            true => Self::Fatal { path, source },
            false => Self::Unreadable { path, source },
        }
    }
}

fn not_stored(path: &Path, error: &io::Error) -> String {
    match is_full(error) {
        true => format!("the disk is full: there is no room for data in {}", path.display()),
        false => format!("the disk failed to store data in {} ({error})", path.display()),
    }
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default()
}
