//! What a record proof reports, and nothing else.
//!
//! Deliberately absent: how any of it is known, which [`super`] sees to.

use std::collections::BTreeMap;

use super::KeyState;
use crate::body::{Body, FieldName, Fields};
use crate::checkpoint::Checkpoint;
use crate::entry::Header;
use crate::id::{AuthorityId, Hash, NetworkName, RecordRef};
use crate::identity::Profile;
use crate::note::VerifierKey;
use crate::time::UnixTime;

/// To whom a record was said, as far as a proof tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProvedAudience {
    /// Everybody.
    Public,
    /// The members of a private group, which is not named.
    Group,
}

/// How much of a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disclosure {
    /// Every field.
    Full,
    /// Some fields; the names of the others.
    Partial,
    /// Names only.
    Erased,
    /// Nothing but the header.
    Absent,
}

impl Disclosure {
    /// How much of `body` is shown; `None` if there is none at hand.
    #[must_use]
    pub const fn of(body: Option<&Body>) -> Self {
        match body {
            Some(Body::Full(_)) => Self::Full,
            Some(Body::Partial(_)) => Self::Partial,
            Some(Body::Erased(_)) => Self::Erased,
            Some(Body::Sealed(_)) => Self::Absent,
            None => Self::Absent,
        }
    }
}

/// The reported facts: all that a reader learns from a record proof.
///
/// Two proofs that compare equal here say the same. What is not in here (the
/// order of lines, which of several sufficient controllers signed) is nothing
/// a reader may rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Network of the author's identity.
    pub network: NetworkName,
    /// How the author describes itself.
    pub profile: Profile,
    /// Who has taken over from the author, if anybody has.
    pub successors: Vec<AuthorityId>,
    /// To whom the author said it.
    pub audience: ProvedAudience,
    /// Author, record and version.
    pub reference: RecordRef,
    /// Leaf hash of the header.
    pub leaf: Hash,
    /// What the author said about the record.
    pub header: Header,
    /// How much of the body is shown.
    pub disclosure: Disclosure,
    /// The fields that are shown.
    pub fields: Fields,
    /// Names of those that are not; unknown if the body is absent.
    pub withheld: Vec<FieldName>,
    /// The signed log head: origin, size and root.
    pub checkpoint: Checkpoint,
    /// By what right the key speaks that signed it.
    pub key: KeyState,
    /// The witnesses asked for that cosigned, and when.
    pub cosignatures: BTreeMap<VerifierKey, UnixTime>,
}
