//! What the errors of a node's parts mean to the people who use it.
//!
//! Each part has its own error; here it becomes a [`Failure`] with an exit code
//! and a line on what to do. What points to a fault of the node or its machine
//! is logged as well. Deliberately absent: errors of peers, which never get here.

use tallystick_protocol::sync::AuthorRefusal;

use crate::author;
use crate::driver::DriverError;
use crate::failure::Failure;
use crate::projector::ProjectorError;
use crate::search::SearchError;
use crate::store::StoreError;

/// What to do about two copies of one node.
pub(super) const ANOTHER_COPY: &str = "find the other machine or data directory, stop one of the \
     two for good, and start the other again";

pub(super) fn stopping() -> Failure {
    Failure::unavailable("the node is stopping", "start it again with `tally run`")
}

pub(super) fn refused(refusal: AuthorRefusal) -> Failure {
    match refusal {
        AuthorRefusal::FetchingOwn { .. } => {
            Failure::unavailable(refusal, "wait until they are here; `tally status` shows it")
        }
        AuthorRefusal::Asking => Failure::unavailable(refusal, "try again in a few seconds"),
        AuthorRefusal::TwoHistories => Failure::unavailable(
            refusal,
            "find out which other machine has this authority's keys, and keep both logs as evidence",
        ),
        AuthorRefusal::OldKeys => Failure::unavailable(
            refusal,
            "put the newest backup of keys and identity.cbor in place, or let the controllers \
             recover with `tally key recover`",
        ),
        AuthorRefusal::AnotherCopy => Failure::unavailable(refusal, ANOTHER_COPY),
        AuthorRefusal::LogFull => Failure::unavailable(refusal, "open a new generation of the log"),
        refusal => Failure::internal(refusal),
    }
}

/// What a store's error means to people.
#[must_use]
pub fn failed_store(error: StoreError) -> Failure {
    let remedy = error.remedy();
    match error {
        StoreError::Locked(_) | StoreError::Newer { .. } => Failure::unavailable(error, remedy),
        StoreError::Unreadable { .. } => Failure::usage(error, remedy),
        error => {
            tracing::error!(%error, "store");
            Failure { remedy: remedy.to_owned(), ..Failure::internal(error) }
        }
    }
}

pub(super) fn failed_driver(error: DriverError) -> Failure {
    match error {
        DriverError::Store(error) => failed_store(error),
        DriverError::Network(error) => Failure::usage(
            error,
            "correct `listen` in tally.toml or --listen; another program may use the port already",
        ),
        error => Failure::internal(error),
    }
}

pub(super) fn failed_projector(error: ProjectorError) -> Failure {
    let error = match error {
        ProjectorError::Store(error) => return failed_store(error),
        error => error,
    };
    tracing::error!(%error, "search index");
    Failure { remedy: error.remedy().to_owned(), ..Failure::internal(error) }
}

pub(super) fn failed_search(error: SearchError) -> Failure {
    let remedy = error.remedy();
    match error {
        SearchError::Cpv(_) => Failure::usage(error, remedy),
        error => Failure { remedy: remedy.to_owned(), ..Failure::internal(error) },
    }
}

pub(super) fn failed_author(error: author::AuthorError) -> Failure {
    let remedy = error.remedy();
    match error {
        author::AuthorError::Record(_) | author::AuthorError::Body(_) => {
            Failure::usage(error, remedy)
        }
        author::AuthorError::Store(error) => failed_store(error),
        error => Failure { remedy: remedy.to_owned(), ..Failure::internal(error) },
    }
}

/// A record or a version that is not here.
pub(super) fn gone() -> Failure {
    Failure::no(
        "this version of the record is not here",
        "`tally show REF --history` lists the versions; it may not have arrived yet",
    )
}
