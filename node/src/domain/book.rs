//! What domains proved when they were asked last.
//!
//! Kept in `domains.json`, written whole like the list of partners. It is no
//! secret and no source of truth: who deletes it only has the domains asked
//! again.
//!
//! **Invariants:** at most [`DOMAINS`] authorities, of which those asked longest
//! ago give way; a proof is of one domain, and one that could not be repeated
//! for [`VALID`] seconds counts no longer; a refutation ends it at once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::time::UnixTime;

use super::DomainError;
use crate::failure::Failure;
use crate::partner::{PARTNERS, replace};

/// Name of the file.
pub const DOMAINS_FILE: &str = "domains.json";
/// Most authorities whose domains are remembered.
pub const DOMAINS: usize = 2 * PARTNERS;
/// After how many seconds a domain is asked again: a week.
pub const AGAIN: u64 = 7 * 24 * 3600;
/// After how many seconds one that proved nothing is asked again: a day.
pub const SOON: u64 = 24 * 3600;
/// For how many seconds a proof counts while the domain cannot be reached: thirty days.
pub const VALID: u64 = 30 * 24 * 3600;
/// Largest file that is read.
const FILE_BYTES: u64 = (DOMAINS as u64) * 2048;

/// What was found out about one authority's domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// Whose.
    pub authority: AuthorityId,
    /// The domain that was asked.
    pub domain: String,
    /// When it was asked last.
    pub checked: UnixTime,
    /// When it named the authority last, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<UnixTime>,
    /// Why it did not when it was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    domains: Vec<Finding>,
}

/// The findings of one node.
#[derive(Clone, Debug)]
pub struct DomainBook {
    path: PathBuf,
    findings: BTreeMap<AuthorityId, Finding>,
}

impl DomainBook {
    /// Reads the file. One that is damaged is begun anew, since everything in
    /// it can be asked for again.
    ///
    /// # Errors
    /// A [`Failure`] if the file is there and may not be read.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut book = Self { path: path.to_owned(), findings: BTreeMap::new() };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(book),
            Ok(found) if found.len() > FILE_BYTES => String::new(),
            _ => fs::read_to_string(path).map_err(|error| {
                Failure::usage(
                    format!("{} cannot be read ({error})", path.display()),
                    "correct its rights, or delete it: the domains are asked again then",
                )
            })?,
        };
        match serde_json::from_str::<Kept>(&text) {
            Ok(kept) if kept.domains.len() <= DOMAINS => {
                let findings = kept.domains.into_iter();
                book.findings = findings.map(|found| (found.authority, found)).collect();
            }
            _ => tracing::warn!(file = %path.display(), "begun anew, since it was damaged"),
        }
        Ok(book)
    }

    /// All findings, in order of the authorities' ids.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values()
    }

    /// What was found about an authority's domain.
    #[must_use]
    pub fn finding(&self, authority: &AuthorityId) -> Option<&Finding> {
        self.findings.get(authority)
    }

    /// When `domain` named the authority last, if that counts now.
    #[must_use]
    pub fn proof(&self, authority: &AuthorityId, domain: &str, now: UnixTime) -> Option<UnixTime> {
        let found = self.findings.get(authority).filter(|found| found.domain == domain)?;
        found.proven.filter(|proven| now.as_seconds() <= proven.as_seconds().saturating_add(VALID))
    }

    /// Whether it is time to ask `domain` about an authority.
    #[must_use]
    pub fn is_due(&self, authority: &AuthorityId, domain: &str, now: UnixTime) -> bool {
        let Some(found) = self.findings.get(authority).filter(|found| found.domain == domain)
        else {
            return true;
        };
        let wait = if found.failure.is_none() { AGAIN } else { SOON };
        // A clock that was put back must not keep a proof for ever.
        let since = now.as_seconds().abs_diff(found.checked.as_seconds());
        since >= wait
    }

    /// Notes what a domain said, durably.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written; it is noted until the next start then.
    pub fn note(
        &mut self,
        authority: AuthorityId,
        domain: &str,
        said: &Result<(), DomainError>,
        now: UnixTime,
    ) -> Result<(), Failure> {
        let before = self.findings.get(&authority).filter(|found| found.domain == domain);
        let proven = match said {
            Ok(()) => Some(now),
            Err(error) if error.is_refutation() => None,
            Err(_) => before.and_then(|found| found.proven),
        };
        let failure = said.as_ref().err().map(ToString::to_string);
        let domain = domain.to_owned();
        let found = Finding { authority, domain, checked: now, proven, failure };
        self.findings.insert(authority, found);
        while self.findings.len() > DOMAINS {
            let oldest = self.findings.values().min_by_key(|found| found.checked);
            let Some(oldest) = oldest.map(|found| found.authority) else { break };
            self.findings.remove(&oldest);
        }
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let kept = Kept { domains: self.findings.values().cloned().collect() };
        let text = serde_json::to_string_pretty(&kept).map_err(Failure::internal)?;
        replace(&self.path, text.as_bytes()).map_err(|error| {
            Failure::internal(format!("{} cannot be written ({error})", self.path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASH: AuthorityId = AuthorityId::from_bytes([1; 32]);

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn book() -> (tempfile::TempDir, DomainBook) {
        let dir = tempfile::tempdir().unwrap();
        let book = DomainBook::open(&dir.path().join(DOMAINS_FILE)).unwrap();
        (dir, book)
    }

    #[test]
    fn a_proof_lasts_through_an_outage_and_ends_with_a_refutation() {
        let (_dir, mut book) = book();
        let domain = "ash.gov.uk";
        let out = Err(DomainError::TooSlow(domain.to_owned()));
        assert!(book.is_due(&ASH, domain, at(0)));
        book.note(ASH, domain, &Ok(()), at(1000)).unwrap();
        assert!(!book.is_due(&ASH, domain, at(1000 + AGAIN - 1)));
        assert!(book.is_due(&ASH, domain, at(1000 + AGAIN)));
        assert_eq!(book.proof(&ASH, domain, at(1001)), Some(at(1000)));
        assert_eq!(book.proof(&ASH, "oak.gov.uk", at(1001)), None, "another claim");
        book.note(ASH, domain, &out, at(2000)).unwrap();
        assert!(book.is_due(&ASH, domain, at(2000 + SOON)));
        assert_eq!(book.proof(&ASH, domain, at(1000 + VALID)), Some(at(1000)));
        assert_eq!(book.proof(&ASH, domain, at(1001 + VALID)), None);
        let no = Err(DomainError::Other(domain.to_owned()));
        book.note(ASH, domain, &no, at(3000)).unwrap();
        assert_eq!(book.proof(&ASH, domain, at(3000)), None);
        assert!(
            book.finding(&ASH).unwrap().failure.as_ref().unwrap().contains("other authorities")
        );
    }

    #[test]
    fn findings_are_there_after_reopening_and_damage_only_costs_asking() {
        let (dir, mut book) = book();
        book.note(ASH, "ash.gov.uk", &Ok(()), at(5)).unwrap();
        let path = dir.path().join(DOMAINS_FILE);
        let again = DomainBook::open(&path).unwrap();
        assert!(again.findings().eq(book.findings()));
        for damage in ["", "{", "[]", "{\"domains\":[{}]}"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(DomainBook::open(&path).unwrap().findings().count(), 0, "{damage}");
        }
    }

    #[test]
    fn the_oldest_findings_give_way() {
        let (_dir, mut book) = book();
        for n in 0..=DOMAINS as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let authority = AuthorityId::from_bytes(id);
            let found = Finding {
                authority,
                domain: "ash.gov.uk".to_owned(),
                checked: at(n),
                proven: None,
                failure: None,
            };
            book.findings.insert(authority, found);
        }
        book.note(ASH, "ash.gov.uk", &Ok(()), at(9999)).unwrap();
        assert_eq!(book.findings().count(), DOMAINS);
        assert!(book.finding(&ASH).is_some());
        assert!(book.finding(&AuthorityId::from_bytes([0; 32])).is_none());
    }
}
