//! What a shortened reference means: `AUTHORITY/RECORD[@VERSION]`, each part as
//! short as it is unique.
//!
//! The authority may be written with or without `tally1` and may be left out
//! with its slash; a record then has to be unique among all authorities. An
//! exact match wins over longer ones. Deliberately absent: names of
//! authorities, which are not unique.

use std::collections::BTreeSet;

use tallystick_protocol::id::{AuthorityId, RecordId, RecordRef, Version};

use super::{RecordKey, Register, key};
use crate::store::StoreError;

/// Most possible meanings that an error lists.
pub const LISTED: usize = 10;

/// Why a text does not mean one record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It has not the form of a reference.
    #[error("{0:?} is not a reference like AUTHORITY/RECORD or AUTHORITY/RECORD@VERSION")]
    Form(String),
    /// Nothing here has this reference.
    #[error("no record here has the reference {0}")]
    NotFound(String),
    /// Several records may be meant; the first [`LISTED`] of them.
    #[error("{text} may mean {}", join(.found))]
    Ambiguous {
        /// The text.
        text: String,
        /// What it may mean.
        found: Vec<RecordRef>,
    },
    /// The replica failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResolveError {
    /// One line on what to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Form(_) => "copy the reference from the result of a search",
            Self::NotFound(_) => {
                "check the reference with `tally search`; the record may not have arrived yet"
            }
            Self::Ambiguous { .. } => "give more characters of the reference",
            Self::Store(error) => error.remedy(),
        }
    }
}

fn join(found: &[RecordRef]) -> String {
    let texts: Vec<String> = found.iter().map(RecordRef::to_string).collect();
    texts.join(" or ")
}

impl Register {
    /// What a reference, shortened or in full, means here. A version is given
    /// back only if the text names one.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, text: &str) -> Result<RecordRef, ResolveError> {
        let text = text.trim();
        let not_found = || ResolveError::NotFound(text.to_owned());
        let parts = Parts::of(text).ok_or_else(|| ResolveError::Form(text.to_owned()))?;
        let mut found = Vec::new();
        for authority in self.authorities(parts.authority)? {
            self.with_prefix(&authority, parts.record, &mut found)?;
            if found.len() > LISTED {
                break;
            }
        }
        let named: Vec<RecordRef> = found
            .iter()
            .map(|(authority, record)| RecordRef {
                authority: *authority,
                record: *record,
                version: None,
            })
            .collect();
        let one = unique(text, named)?.ok_or_else(not_found)?;
        let Some(wanted) = parts.version else { return Ok(one) };
        let versions: BTreeSet<Version> = self
            .versions(&one.authority, &one.record)?
            .into_iter()
            .map(|(_, info)| info.version)
            .collect();
        let exact = versions.iter().find(|version| version.to_string() == wanted);
        let fitting: Vec<RecordRef> = match exact {
            Some(version) => vec![*version],
            None => versions.into_iter().filter(|v| v.to_string().starts_with(wanted)).collect(),
        }
        .into_iter()
        .map(|version| RecordRef { version: Some(version), ..one })
        .collect();
        unique(text, fitting)?.ok_or_else(not_found)
    }

    /// Authorities with logs here whose id starts with `prefix`.
    fn authorities(&self, prefix: &str) -> Result<BTreeSet<AuthorityId>, StoreError> {
        let bare = prefix.strip_prefix("tally1").unwrap_or(prefix);
        let fits = |authority: &AuthorityId| {
            authority.to_string().strip_prefix("tally1").is_some_and(|text| text.starts_with(bare))
        };
        let logs = self.replica.logs()?;
        let all: BTreeSet<AuthorityId> = logs.iter().map(|log| log.log.authority).collect();
        Ok(all.into_iter().filter(fits).collect())
    }

    /// Adds the records of an authority whose id starts with `prefix`, at most as many as matter.
    fn with_prefix(
        &self,
        authority: &AuthorityId,
        prefix: &str,
        found: &mut Vec<(AuthorityId, RecordId)>,
    ) -> Result<(), StoreError> {
        let rows = key::currents(Some(authority));
        // Whole bytes narrow the scan; a last odd digit is compared as text.
        let mut start = rows.clone();
        let pairs = prefix.as_bytes().chunks_exact(2);
        start.extend(pairs.filter_map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        }));
        let mut from = start.clone();
        loop {
            let rows = self.replica.scan(&start, &from, super::ROWS)?;
            for (row, _) in &rows {
                let Some(RecordKey { record, .. }) = key::read_current_key(row) else { continue };
                let known = found.last() == Some(&(*authority, record));
                if !known && record.to_string().starts_with(prefix) {
                    found.push((*authority, record));
                }
                if found.len() > LISTED {
                    return Ok(());
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == super::ROWS => from = key::behind(last),
                _ => return Ok(()),
            }
        }
    }
}

/// The parts of a reference as written.
struct Parts<'a> {
    authority: &'a str,
    record: &'a str,
    version: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `None` if a part has characters it cannot have, or there is no record.
    fn of(text: &'a str) -> Option<Self> {
        let (authority, rest) = text.split_once('/').unwrap_or(("", text));
        let (record, version) = match rest.split_once('@') {
            Some((record, version)) => (record, Some(version)),
            None => (rest, None),
        };
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let plain = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        let fits = authority.bytes().all(plain)
            && (1..=2 * RecordId::LEN).contains(&record.len())
            && record.bytes().all(hexadecimal)
            && version.is_none_or(|v| v.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        fits.then_some(Self { authority, record, version })
    }
}

fn unique(text: &str, mut found: Vec<RecordRef>) -> Result<Option<RecordRef>, ResolveError> {
    if found.len() > 1 {
        found.truncate(LISTED);
        return Err(ResolveError::Ambiguous { text: text.to_owned(), found });
    }
    Ok(found.pop())
}
