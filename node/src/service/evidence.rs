//! Evidence at the desk: which authorities signed two histories, and the files
//! that show it.
//!
//! The evidence itself is the replica's. When this node first had a piece is
//! written down beside it, in `evidence.json`, which is no source of truth: who
//! deletes it only loses these times. **Invariant:** what is handed out is to the
//! byte what was verified. Deliberately absent: any verdict of our own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallystick_protocol::equivocation::{EvidenceKind, FindingFacts};
use tallystick_protocol::id::Hash;
use tallystick_protocol::time::UnixTime;

use super::partners::is_meant;
use super::{Desk, answer, names, now};
use crate::driver::EvidencePiece;
use crate::failure::Failure;
use crate::partner::replace;

/// Name of the file.
pub(super) const FOUND_FILE: &str = "evidence.json";
/// Largest file that is read.
const FILE_BYTES: u64 = 1 << 20;

/// When each piece of evidence was first seen here, by the hash of its bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    found: BTreeMap<Hash, UnixTime>,
}

/// The times at which evidence was found.
#[derive(Debug)]
pub(super) struct FoundBook {
    path: PathBuf,
    kept: Kept,
}

impl FoundBook {
    /// Reads the file; one that is missing or damaged is begun anew.
    pub(super) fn open(path: &Path) -> Self {
        let small = fs::metadata(path).is_ok_and(|found| found.len() <= FILE_BYTES);
        let text = small.then(|| fs::read(path).ok()).flatten().unwrap_or_default();
        let kept = serde_json::from_slice(&text).unwrap_or_default();
        Self { path: path.to_owned(), kept }
    }

    /// Takes note of what is there, and forgets what is not.
    fn note(&mut self, pieces: &[EvidencePiece], now: UnixTime) {
        let known = |digest: &Hash| self.kept.found.get(digest).copied();
        let found: BTreeMap<_, _> = pieces
            .iter()
            .map(|piece| (piece.digest, known(&piece.digest).unwrap_or(now)))
            .collect();
        if found == self.kept.found {
            return;
        }
        self.kept = Kept { found };
        let written = serde_json::to_vec(&self.kept).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|text| replace(&self.path, &text)) {
            tracing::warn!(%error, "when evidence was found cannot be kept");
        }
    }

    fn when(&self, digest: &Hash) -> Option<UnixTime> {
        self.kept.found.get(digest).copied()
    }
}

impl Desk {
    /// Writes down when evidence was found, of what has come since the last time.
    pub(super) async fn note_evidence(&self) -> Vec<EvidencePiece> {
        let pieces = self.0.handle.evidence().await;
        let mut found = self.0.found.lock().await;
        found.note(&pieces, now().unwrap_or_default());
        pieces
    }

    /// The evidence that is known here.
    ///
    /// # Errors
    /// A [`Failure`] if the store fails.
    pub async fn evidence(&self) -> Result<answer::EvidenceList, Failure> {
        let pieces = self.note_evidence().await;
        let met = self.acquaintances().await;
        let names = names(met, pieces.iter().map(|piece| piece.facts.authority).collect()).await?;
        let found = self.0.found.lock().await;
        let view = |(at, piece): (usize, &EvidencePiece)| {
            let known = names.get(&piece.facts.authority).cloned();
            let (name, known) = known.map(|known| (known.name, known.attribution)).unzip();
            let found = found.when(&piece.digest).map(UnixTime::as_seconds);
            answer::EvidenceView { name, known, found, ..view(at + 1, piece) }
        };
        Ok(answer::EvidenceList { evidence: pieces.iter().enumerate().map(view).collect() })
    }

    /// The file of one piece: by its number in the list, or its authority if there
    /// is one piece about it only.
    ///
    /// # Errors
    /// A [`Failure`] if there is none, or several.
    pub async fn evidence_file(&self, which: &str) -> Result<String, Failure> {
        let pieces = self.0.handle.evidence().await;
        let identities = self.0.handle.identities().await;
        let meant = |piece: &EvidencePiece| {
            let authority = piece.facts.authority;
            let known = identities.iter().find(|known| known.authority() == authority);
            known.is_some_and(|known| is_meant(known, which)) || authority.to_string() == which
        };
        let found: Vec<&EvidencePiece> = match which.parse::<usize>() {
            Ok(number) => pieces.get(number.wrapping_sub(1)).into_iter().collect(),
            Err(_) => pieces.iter().filter(|piece| meant(piece)).collect(),
        };
        let piece = match found.as_slice() {
            [piece] => *piece,
            [] => {
                return Err(Failure::no(
                    format!("there is no evidence {which:?} here"),
                    "`tally evidence` lists what there is; give its number or the authority",
                ));
            }
            several => {
                return Err(Failure::usage(
                    format!("there are {} pieces of evidence about {which:?}", several.len()),
                    "give the number of one, as `tally evidence` lists them",
                ));
            }
        };
        let file = self.0.handle.evidence_file(piece.digest).await;
        file.ok_or_else(|| Failure::no("this evidence has given way to newer", "list it again"))
    }
}

/// What evidence says; without names and times.
fn view(number: usize, piece: &EvidencePiece) -> answer::EvidenceView {
    let EvidencePiece { digest, disputes, ended, facts } = piece;
    let state = match (facts.kind, disputes, ended) {
        (EvidenceKind::IdentitySuperseded, ..) => answer::EvidenceState::Settled,
        (_, true, _) => answer::EvidenceState::Disputed,
        (_, _, true) => answer::EvidenceState::Ended,
        _ => answer::EvidenceState::Open,
    };
    let (generation, position) = match &facts.finding {
        FindingFacts::Fork(fork) => (Some(fork.generation), None),
        FindingFacts::Identity(parting) => (None, Some(parting.position)),
    };
    answer::EvidenceView {
        number,
        authority: facts.authority,
        name: None,
        known: None,
        evidence: facts.kind.name().to_owned(),
        generation,
        position,
        state,
        found: None,
        digest: *digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_noted_stays_and_a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FOUND_FILE);
        let digest = Hash::from_bytes([1; 32]);
        let mut book = FoundBook::open(&path);
        book.kept.found.insert(digest, UnixTime::from_seconds(7));
        replace(&path, &serde_json::to_vec(&book.kept).unwrap()).unwrap();
        let mut again = FoundBook::open(&path);
        assert_eq!(again.when(&digest), Some(UnixTime::from_seconds(7)));
        again.note(&[], UnixTime::from_seconds(9));
        assert_eq!(FoundBook::open(&path).when(&digest), None, "what is gone is forgotten");
        for damaged in [&b"{"[..], b"", &[0xff; 9]] {
            fs::write(&path, damaged).unwrap();
            assert!(FoundBook::open(&path).kept.found.is_empty());
        }
    }
}
