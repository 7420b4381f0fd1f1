//! Extracts: a second record that says less than a confidential one, to more people.
//!
//! The extract bears a *mark*, a hash of the confidential record's reference and
//! a random salt. The confidential record, which only members of its group can
//! read, names the extract and has the salt. So members find each from the other
//! and check it, an author can show later what an extract was made from, and
//! everybody else sees a hash: no reference, no group, and nothing by which two
//! extracts of one record could be told to be that.
//!
//! **Invariant:** the reference of a confidential record never stands in its
//! extract. Deliberately absent: randomness, and who may see which end.

use core::str::FromStr as _;

use sha2::{Digest as _, Sha256};

use super::Record;
use super::description::Requirement;
use super::text::document;
use crate::id::{Hash, RecordRef};

/// Separates the hash of [`mark`] from all others.
const MARK_DOMAIN: &[u8] = b"tallystick extract v1";

document! {
    /// What a confidential record says of its extract.
    pub struct Extract {
        /// The extract: a full REF.
        pub record: Option<String>,
        /// The salt of its mark: 32 bytes in lower-case hexadecimal.
        pub salt: Option<String>,
    }
}

impl Extract {
    /// The extract of a record, if `mark` is what it has to bear as one of `of`.
    #[must_use]
    pub fn opens(&self, of: &RecordRef, mark_found: &str) -> bool {
        let salt = self.salt.as_deref().and_then(|salt| Hash::from_str(salt).ok());
        salt.is_some_and(|salt| mark(of, salt.as_bytes()).to_string() == mark_found)
    }
}

/// Whoever names an extract gives the salt of its mark.
pub(super) const REQUIREMENT: Requirement =
    Requirement { path: "extract.*", code: None, needs: &["extract.record", "extract.salt"] };

/// The mark of an extract of the record `of`, whose version does not count. `salt`
/// comes from a cryptographic random source and is used for one extract.
#[must_use]
pub fn mark(of: &RecordRef, salt: &[u8; 32]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(MARK_DOMAIN);
    hasher.update(salt);
    hasher.update(of.authority.as_bytes());
    hasher.update(of.record.as_bytes());
    Hash::from_bytes(hasher.finalize().into())
}

impl Record {
    /// What it says of its extract, and the mark of what it is an extract of, to
    /// be changed; `None` for a kind that has no extracts.
    pub fn extract_mut(&mut self) -> Option<(&mut Option<Extract>, &mut Option<String>)> {
        match self {
            Self::Contract(it) => Some((&mut it.extract, &mut it.extract_of)),
            Self::Performance(it) => Some((&mut it.extract, &mut it.extract_of)),
            Self::Pipeline(it) => Some((&mut it.extract, &mut it.extract_of)),
            Self::Response(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AuthorityId, RecordId, Version};

    fn of(record: u8) -> RecordRef {
        let authority = AuthorityId::from_bytes([1; 32]);
        RecordRef { authority, record: RecordId::from_bytes([record; 16]), version: None }
    }

    #[test]
    fn a_mark_opens_with_its_salt_and_record_and_no_other() {
        let salt = Hash::from_bytes([9; 32]);
        let link = Extract { record: None, salt: Some(salt.to_string()) };
        let found = mark(&of(7), salt.as_bytes()).to_string();
        assert_eq!(found, "bf50d48f7762b80b159964772965830b5b3e264a4e7f543c596593fce214b3fa");
        assert!(link.opens(&of(7), &found));
        let version = Some(Version { generation: 1, index: 2 });
        assert!(link.opens(&RecordRef { version, ..of(7) }, &found), "whatever the version");
        assert!(!link.opens(&of(8), &found));
        let other = Extract { salt: Some(Hash::from_bytes([8; 32]).to_string()), ..link.clone() };
        assert!(!other.opens(&of(7), &found));
        assert!(!Extract::default().opens(&of(7), &found));
        assert!(!link.opens(&of(7), &found.to_uppercase()));
    }
}
