//! What a holder has not of a body, and whether that is as it should be.
//!
//! **Invariant:** what a body lacks is read from the body itself, which verifies;
//! nobody's word counts for it. Deliberately absent: fetching what is lacking.

use super::{Erasure, Scope};
use crate::body::Body;
use crate::entry::Entry;
use crate::id::RecordId;

/// What a holder has not of a body: its author erased it, or whoever gave it did not have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// The record.
    pub record: RecordId,
    /// The fields whose values are absent.
    pub fields: Scope,
}

impl Lack {
    /// What an entry's body lacks; `None` if it is whole.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let record = entry.header().record;
        let fields = match entry.body() {
            Some(Body::Full(_) | Body::Sealed(_)) => return None,
            Some(body @ Body::Partial(_)) => Scope::Fields(body.withheld().into_iter().collect()),
            Some(Body::Erased(_)) | None => Scope::Whole,
        };
        Some(Self { record, fields })
    }

    /// Whether all of it is what `erasures`, which cover this version, erased.
    pub fn is_covered<'a>(&self, erasures: impl Iterator<Item = &'a Erasure>) -> bool {
        let scopes: Vec<&Scope> = erasures.map(|erasure| &erasure.scope).collect();
        match &self.fields {
            Scope::Whole => scopes.contains(&&Scope::Whole),
            Scope::Fields(names) => {
                names.iter().all(|name| scopes.iter().any(|scope| scope.covers(name.as_str())))
            }
        }
    }

    /// Whether a body that lacks `other` (nothing, if `None`) is more than this one.
    #[must_use]
    pub fn is_more_than(&self, other: Option<&Self>) -> bool {
        match (&self.fields, other.map(|other| &other.fields)) {
            (_, None) => true,
            (_, Some(Scope::Whole)) => false,
            (Scope::Whole, Some(Scope::Fields(_))) => true,
            (Scope::Fields(ours), Some(Scope::Fields(theirs))) => {
                theirs.is_subset(ours) && theirs != ours
            }
        }
    }
}
