//! The one error that people see, shared by command line and API.
//!
//! A failure is one sentence (lower case, no full stop) and one line on what
//! to do. Its [`FailureKind`] decides exit code and HTTP status; the cause, if
//! there is one, is logged and never shown. Deliberately absent: anything that
//! a peer did wrong, which the machine answers by itself.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::store::disk::is_full;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The question was understood and the answer is no. Exit code 1.
    No,
    /// Wrong usage or bad input. Exit code 2.
    Usage,
    /// The node is not running, not initialised, or cannot do it now. Exit code 3.
    Unavailable,
    /// A fault of this program or of the machine it runs on. Exit code 4.
    Internal,
}

impl FailureKind {
    /// The exit code of the command line contract.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Internal => 4,
        }
    }

    /// The status of an HTTP answer.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::No => 404,
            Self::Usage => 400,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// Why something was not done, for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose turn it is.
    pub kind: FailureKind,
    /// What is wrong: one sentence, lower case, no full stop.
    pub error: String,
    /// What to do about it: one line.
    pub remedy: String,
}

impl Failure {
    /// A failure of `kind`.
    #[must_use]
    pub fn new(kind: FailureKind, error: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { kind, error: error.to_string(), remedy: remedy.to_string() }
    }

    /// The answer is no.
    #[must_use]
    pub fn no(error: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(FailureKind::No, error, remedy)
    }

    /// Wrong usage or bad input.
    #[must_use]
    pub fn usage(error: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, error, remedy)
    }

    /// Nothing is wrong with the question; the node cannot answer it now.
    #[must_use]
    pub fn unavailable(error: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(FailureKind::Unavailable, error, remedy)
    }

    /// A file could not be written. A full disk is the machine's fault; for
    /// anything else `remedy` says where to write instead.
    #[must_use]
    pub fn unwritten(path: &Path, error: &io::Error, remedy: &str) -> Self {
        let path = path.display();
        match is_full(error) {
            true => Self::new(
                FailureKind::Internal,
                format!("the disk is full: there is no room for {path}"),
                "make room on the disk and try again",
            ),
            false => Self::usage(format!("{path} cannot be written ({error})"), remedy),
        }
    }

    /// A fault of this program or its machine.
    #[must_use]
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new(
            FailureKind::Internal,
            error,
            "the node's log says more; if it comes again, report it with that log",
        )
    }

    /// The exit code as the process returns it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_of_the_contract() {
        use FailureKind::{Internal, No, Unavailable, Usage};
        let codes = [No, Usage, Unavailable, Internal].map(FailureKind::exit_code);
        assert_eq!(codes, [1, 2, 3, 4]);
    }

    #[test]
    fn a_full_disk_is_called_one_and_is_nobodys_mistake() {
        let unwritten = |kind: io::ErrorKind| {
            Failure::unwritten(Path::new("/srv/tally/api.token"), &kind.into(), "name another file")
        };
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let failure = unwritten(kind);
            assert_eq!(failure.kind.exit_code(), 4);
            assert!(failure.error.starts_with("the disk is full"), "{failure}");
            assert!(failure.remedy.starts_with("make room on the disk"), "{}", failure.remedy);
        }
        let failure = unwritten(io::ErrorKind::PermissionDenied);
        assert_eq!((failure.kind.exit_code(), &*failure.remedy), (2, "name another file"));
    }

    #[test]
    fn a_failure_keeps_its_kind_through_json() {
        let failure = Failure::usage("no such kind", "there are contract and pipeline");
        let json = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
        insta::assert_snapshot!(json, @r#"{"kind":"usage","error":"no such kind","remedy":"there are contract and pipeline"}"#);
    }
}
