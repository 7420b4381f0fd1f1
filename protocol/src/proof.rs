//! Offline proofs: C2SP tlog-proof, the textual format.
//!
//! A proof says that one leaf stands at an index of a log, under a checkpoint
//! and its cosignatures:
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra BASE64                  (left out if there is none)
//! index DECIMAL
//! BASE64                        (one line per hash, leaf's sibling first)
//!
//! the checkpoint, verbatim
//! ```
//!
//! **Invariant:** every accepted proof has one spelling. The extra data is
//! opaque here and nothing vouches for it: whoever gives it a meaning must tie
//! it to the leaf. Deliberately absent: what a leaf is (that is the caller's to
//! compute from the record, see [`record`]), which log key counts, and the
//! reading of files.

pub mod record;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{
    CheckpointError, Origin, UnverifiedCheckpoint, VerifiedCheckpoint, decimal, decode_hash,
};
use crate::id::Hash;
use crate::key::PublicKey;
use crate::limits;
use crate::log::{ProofError, verify_inclusion};
use crate::note::VerifierKey;

/// First line of every proof; the name of the format.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// Why bytes are no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFormatError {
    /// Larger than [`limits::PROOF_BYTES`], or more than [`limits::PROOF_HASHES`] hashes.
    #[error("the proof is larger than the limit")]
    TooLarge,
    /// The first line does not name the format.
    #[error("the file is not a transparency log proof")]
    Format,
    /// The lines before the checkpoint are not those of the format.
    #[error("the lines before the checkpoint are malformed")]
    Lines,
    /// The extra data is not the one base64 spelling of at least one byte.
    #[error("the extra data is not valid")]
    Extra,
    /// The index is no decimal number without leading zeros that fits 64 bits.
    #[error("the index is not a plain number")]
    Index,
    /// A line that should be a hash is none.
    #[error("a hash of the proof is not valid")]
    Hash,
    /// The checkpoint is malformed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why a well-formed proof does not prove what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofVerifyError {
    /// The checkpoint is not signed as asked.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the leaf to the checkpoint's root.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

/// A well-formed proof of which nothing is known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: UnverifiedCheckpoint,
}

impl UnverifiedProof {
    /// Takes a proof apart.
    ///
    /// # Errors
    /// The first violation of the format found.
    pub fn parse(proof: &[u8]) -> Result<Self, ProofFormatError> {
        if proof.len() > limits::PROOF_BYTES {
            return Err(ProofFormatError::TooLarge);
        }
        let rest = proof.strip_prefix(FORMAT.as_bytes()).ok_or(ProofFormatError::Format)?;
        let rest = rest.strip_prefix(b"\n").ok_or(ProofFormatError::Format)?;
        // The first empty line ends the proof's own lines; the checkpoint has another.
        let split = rest.windows(2).position(|pair| pair == b"\n\n");
        let (head, checkpoint) =
            split.and_then(|at| rest.split_at_checked(at)).ok_or(ProofFormatError::Lines)?;
        let checkpoint = checkpoint.strip_prefix(b"\n\n").ok_or(ProofFormatError::Lines)?;
        let head = core::str::from_utf8(head).map_err(|_| ProofFormatError::Lines)?;

        let mut lines = head.split('\n');
        let mut line = lines.next().ok_or(ProofFormatError::Lines)?;
        let mut extra = Vec::new();
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = STANDARD.decode(encoded).map_err(|_| ProofFormatError::Extra)?;
            if extra.is_empty() {
                return Err(ProofFormatError::Extra);
            }
            line = lines.next().ok_or(ProofFormatError::Lines)?;
        }
        let index = line.strip_prefix("index ").ok_or(ProofFormatError::Lines)?;
        let index = decimal(index).ok_or(ProofFormatError::Index)?;
        if lines.clone().count() > limits::PROOF_HASHES {
            return Err(ProofFormatError::TooLarge);
        }
        let hash = |line| decode_hash(line).ok_or(ProofFormatError::Hash);
        let hashes = lines.map(hash).collect::<Result<_, _>>()?;
        let checkpoint = UnverifiedCheckpoint::parse(checkpoint)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// The extra data as claimed; empty if there is none. Nothing here vouches for it.
    #[must_use]
    pub fn claimed_extra(&self) -> &[u8] {
        &self.extra
    }

    /// The index of the leaf as claimed.
    #[must_use]
    pub const fn claimed_index(&self) -> u64 {
        self.index
    }

    /// The log it claims to be of, for finding the key.
    #[must_use]
    pub const fn claimed_origin(&self) -> &Origin {
        self.checkpoint.claimed_origin()
    }

    /// The size of the log it claims.
    #[must_use]
    pub const fn claimed_size(&self) -> u64 {
        self.checkpoint.claimed_size()
    }

    /// The proof's bytes, as received.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assemble(&self.extra, self.index, &self.hashes, &self.checkpoint.to_bytes())
    }

    /// Verifies that the log signed under `log_key` and contains `leaf` at the claimed index.
    ///
    /// # Errors
    /// [`ProofVerifyError::Checkpoint`] or [`ProofVerifyError::Inclusion`].
    pub fn verify_leaf(
        self,
        leaf: &Hash,
        log_key: &PublicKey,
    ) -> Result<VerifiedInclusion, ProofVerifyError> {
        self.verify_leaf_with(leaf, log_key, &[])
    }

    /// As [`UnverifiedProof::verify_leaf`], with the cosignatures of the given witnesses.
    ///
    /// # Errors
    /// As [`UnverifiedProof::verify_leaf`], also for a witness's bad line.
    pub fn verify_leaf_with(
        self,
        leaf: &Hash,
        log_key: &PublicKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedInclusion, ProofVerifyError> {
        let checkpoint = self.checkpoint.verify_with(log_key, witnesses)?;
        finish(self.extra, self.index, &self.hashes, *leaf, checkpoint)
    }

    /// The mode for files that somebody is asked to believe: in addition, every
    /// signature line must be by the log or one of the given witnesses.
    ///
    /// # Errors
    /// In addition [`CheckpointError::UnknownSignature`].
    pub fn verify_leaf_attributed(
        self,
        leaf: &Hash,
        log_key: &PublicKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedInclusion, ProofVerifyError> {
        let checkpoint = self.checkpoint.verify_attributed(log_key, witnesses)?;
        finish(self.extra, self.index, &self.hashes, *leaf, checkpoint)
    }
}

fn finish(
    extra: Vec<u8>,
    index: u64,
    hashes: &[Hash],
    leaf: Hash,
    checkpoint: VerifiedCheckpoint,
) -> Result<VerifiedInclusion, ProofVerifyError> {
    let head = checkpoint.checkpoint();
    verify_inclusion(&leaf, index, head.size(), hashes, &head.root())?;
    Ok(VerifiedInclusion { extra, index, leaf, checkpoint })
}

/// A leaf that stands at an index of a log, under a checkpoint the log signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedInclusion {
    extra: Vec<u8>,
    index: u64,
    leaf: Hash,
    checkpoint: VerifiedCheckpoint,
}

impl VerifiedInclusion {
    /// Where the leaf stands.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The leaf.
    #[must_use]
    pub const fn leaf(&self) -> Hash {
        self.leaf
    }

    /// The checkpoint, with the cosignatures asked for.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The extra data: still only a claim, unless it gives the leaf.
    #[must_use]
    pub fn claimed_extra(&self) -> &[u8] {
        &self.extra
    }
}

/// Writes a proof that `leaf` stands at `index` under `checkpoint`; `extra` may be empty.
///
/// The proof is verified before it is written, so that no file leaves a node
/// that its receiver would refuse.
///
/// # Errors
/// [`ProofWriteError::Inclusion`] if the hashes do not lead to the root;
/// [`ProofWriteError::TooLarge`] beyond [`limits::PROOF_BYTES`].
pub fn format(
    leaf: &Hash,
    index: u64,
    hashes: &[Hash],
    checkpoint: &VerifiedCheckpoint,
    extra: &[u8],
) -> Result<Vec<u8>, ProofWriteError> {
    // Base64 makes four bytes of three; checked before they are made.
    if extra.len() > limits::PROOF_BYTES / 4 * 3 {
        return Err(ProofWriteError::TooLarge);
    }
    let head = checkpoint.checkpoint();
    verify_inclusion(leaf, index, head.size(), hashes, &head.root())?;
    let proof = assemble(extra, index, hashes, &checkpoint.to_bytes());
    if proof.len() > limits::PROOF_BYTES { Err(ProofWriteError::TooLarge) } else { Ok(proof) }
}

/// Why a proof cannot be written: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofWriteError {
    /// Larger than [`limits::PROOF_BYTES`].
    #[error("the proof is larger than the limit")]
    TooLarge,
    /// The hashes do not lead from the leaf to the checkpoint's root.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

fn assemble(extra: &[u8], index: u64, hashes: &[Hash], checkpoint: &[u8]) -> Vec<u8> {
    let mut text = format!("{FORMAT}\n");
    if !extra.is_empty() {
        text.push_str("extra ");
        STANDARD.encode_string(extra, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("index {index}\n"));
    for hash in hashes {
        STANDARD.encode_string(hash.as_bytes(), &mut text);
        text.push('\n');
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(checkpoint);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, sign, witness_key};
    use crate::id::AuthorityId;
    use crate::key::SecretKey;
    use crate::log::{Frontier, Nodes, inclusion_proof, leaf_hash};
    use crate::time::UnixTime;
    use proptest::prelude::*;

    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        fn leaf(&self, index: u64) -> Option<Hash> {
            self.0.get(usize::try_from(index).ok()?).copied()
        }

        fn subtree(&self, _: u64) -> Option<Hash> {
            None
        }
    }

    struct Example {
        leaf: Hash,
        index: u64,
        hashes: Vec<Hash>,
        checkpoint: VerifiedCheckpoint,
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn witness() -> VerifierKey {
        let authority = AuthorityId::from_bytes([6; 32]);
        witness_key(&"made-up".parse().unwrap(), &authority, key(2).public())
    }

    fn example(index: u64, size: u64) -> Example {
        let log = Leaves((0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect());
        let mut frontier = Frontier::new();
        log.0.iter().for_each(|leaf| frontier.push(*leaf));
        let authority = AuthorityId::from_bytes([5; 32]);
        let origin = Origin::public(&"made-up".parse().unwrap(), &authority, 0);
        let head = Checkpoint::new(origin, size, frontier.root()).unwrap();
        let mut checkpoint = sign(&head, &key(1)).unwrap();
        let time = UnixTime::from_seconds(1_790_000_000);
        let line = checkpoint.cosign(witness().name(), &key(2), time).unwrap();
        checkpoint.add(line, &witness()).unwrap();
        Example {
            leaf: log.leaf(index).unwrap(),
            index,
            hashes: inclusion_proof(&log, index, size).unwrap(),
            checkpoint,
        }
    }

    fn written(example: &Example, extra: &[u8]) -> Vec<u8> {
        format(&example.leaf, example.index, &example.hashes, &example.checkpoint, extra).unwrap()
    }

    fn parse(proof: &[u8]) -> UnverifiedProof {
        UnverifiedProof::parse(proof).unwrap()
    }

    #[test]
    fn a_proof_verifies_offline_with_the_log_key() {
        let example = example(9, 21);
        let proof = written(&example, b"context");
        let unverified = parse(&proof);
        assert_eq!(unverified.to_bytes(), proof);
        assert_eq!(unverified.claimed_extra(), b"context");
        assert_eq!((unverified.claimed_index(), unverified.claimed_size()), (9, 21));
        assert_eq!(unverified.claimed_origin(), example.checkpoint.checkpoint().origin());
        let verified = unverified.verify_leaf(&example.leaf, &key(1).public()).unwrap();
        assert_eq!((verified.index(), verified.leaf()), (9, example.leaf));
        assert_eq!(verified.checkpoint().checkpoint(), example.checkpoint.checkpoint());
        assert_eq!(verified.checkpoint().cosignatures().count(), 0);
        let confirmed =
            parse(&proof).verify_leaf_with(&example.leaf, &key(1).public(), &[witness()]).unwrap();
        assert_eq!(confirmed.checkpoint(), &example.checkpoint);
    }

    #[test]
    fn wrong_leaf_index_key_or_hash_is_refused() {
        let example = example(9, 21);
        let proof = written(&example, b"");
        let text = String::from_utf8(proof.clone()).unwrap();
        let log = key(1).public();
        let mismatch = ProofVerifyError::Inclusion(ProofError::Mismatch);
        let other_leaf = parse(&proof).verify_leaf(&leaf_hash(b"other"), &log);
        assert_eq!(other_leaf.err(), Some(mismatch.clone()));
        let other_key = parse(&proof).verify_leaf(&example.leaf, &key(3).public());
        assert_eq!(other_key.err(), Some(CheckpointError::NotSigned.into()));
        let moved = text.replace("index 9\n", "index 8\n");
        let moved = parse(moved.as_bytes()).verify_leaf(&example.leaf, &log);
        assert_eq!(moved.err(), Some(mismatch.clone()));
        let beyond = text.replace("index 9\n", "index 21\n");
        let beyond = parse(beyond.as_bytes()).verify_leaf(&example.leaf, &log);
        assert_eq!(beyond.err(), Some(ProofError::Range.into()));
        for at in 0..example.hashes.len() {
            let hash = STANDARD.encode(example.hashes[at].as_bytes());
            let changed = text.replace(&hash, &STANDARD.encode(leaf_hash(b"x").as_bytes()));
            let changed = parse(changed.as_bytes()).verify_leaf(&example.leaf, &log);
            assert_eq!(changed.err(), Some(mismatch.clone()));
            let missing = text.replace(&format!("{hash}\n"), "");
            let missing = parse(missing.as_bytes()).verify_leaf(&example.leaf, &log);
            assert!(missing.is_err());
        }
    }

    #[test]
    fn files_with_lines_nobody_accounts_for_are_refused() {
        let example = example(0, 3);
        let proof = written(&example, b"");
        let log = key(1).public();
        let strict = |witnesses: &[VerifierKey]| {
            parse(&proof).verify_leaf_attributed(&example.leaf, &log, witnesses)
        };
        assert!(strict(&[witness()]).is_ok());
        let unknown = CheckpointError::UnknownSignature(witness().name().clone());
        assert_eq!(strict(&[]).err(), Some(unknown.into()));
        assert!(parse(&proof).verify_leaf(&example.leaf, &log).is_ok());
    }

    #[test]
    fn other_spellings_are_refused() {
        let example = example(9, 21);
        let text = String::from_utf8(written(&example, b"four")).unwrap();
        let first = STANDARD.encode(example.hashes[0].as_bytes());
        let cases: Vec<(String, ProofFormatError)> = vec![
            (String::new(), ProofFormatError::Format),
            (text.replace("@v1", "@v2"), ProofFormatError::Format),
            (format!("\u{feff}{text}"), ProofFormatError::Format),
            (text.replacen('\n', "\r\n", 1), ProofFormatError::Format),
            (text.replace("extra Zm91cg==\n", "extra \n"), ProofFormatError::Extra),
            (text.replace("extra Zm91cg==\n", "extra Zm91cg\n"), ProofFormatError::Extra),
            (text.replace("extra Zm91cg==\n", "extra Zm91ch==\n"), ProofFormatError::Extra),
            (text.replace("extra Zm91cg==\n", "extra  Zm91cg==\n"), ProofFormatError::Extra),
            (text.replace("extra Zm91cg==\n", "extra Zm91cg==\r\n"), ProofFormatError::Extra),
            (text.replace("extra Zm91cg==\n", "Extra Zm91cg==\n"), ProofFormatError::Lines),
            (
                text.replace("extra Zm91cg==\n", "extra Zm91cg==\nextra Zm91cg==\n"),
                ProofFormatError::Lines,
            ),
            (text.replace("index 9\n", ""), ProofFormatError::Lines),
            (text.replace("index 9\n", "index 09\n"), ProofFormatError::Index),
            (text.replace("index 9\n", "index +9\n"), ProofFormatError::Index),
            (text.replace("index 9\n", "index 9 \n"), ProofFormatError::Index),
            (text.replace("index 9\n", "index 18446744073709551616\n"), ProofFormatError::Index),
            (text.replace("index 9\n", "index 9\nindex 9\n"), ProofFormatError::Hash),
            (text.replace(&first, first.trim_end_matches('=')), ProofFormatError::Hash),
            (text.replace(&first, &first[4..]), ProofFormatError::Hash),
            (text.replace(&first, &format!("{first} ")), ProofFormatError::Hash),
            (
                text.replace(&first, &vec![first.as_str(); limits::PROOF_HASHES + 1].join("\n")),
                ProofFormatError::TooLarge,
            ),
            ("x".repeat(limits::PROOF_BYTES + 1), ProofFormatError::TooLarge),
            (text.split_inclusive('\n').take(3).collect(), ProofFormatError::Lines),
        ];
        for (proof, error) in cases {
            let refused = UnverifiedProof::parse(proof.as_bytes());
            assert_eq!(refused, Err(error), "{}", proof.chars().take(300).collect::<String>());
        }
        for damaged in
            [text.replacen("\n\n", "\n\n\n", 1), format!("{text}\n"), text.trim_end().to_owned()]
        {
            let refused = UnverifiedProof::parse(damaged.as_bytes());
            assert!(matches!(refused, Err(ProofFormatError::Checkpoint(_))), "{damaged}");
        }
    }

    #[test]
    fn proofs_that_would_be_refused_are_not_written() {
        let example = example(9, 21);
        let write = |index, hashes: &[Hash], extra: &[u8]| {
            format(&example.leaf, index, hashes, &example.checkpoint, extra)
        };
        let mismatch = Err(ProofWriteError::Inclusion(ProofError::Mismatch));
        assert_eq!(write(8, &example.hashes, b""), mismatch);
        assert_eq!(
            write(9, &example.hashes[1..], b""),
            Err(ProofWriteError::Inclusion(ProofError::Length))
        );
        let huge = vec![0; limits::PROOF_BYTES];
        assert_eq!(write(9, &example.hashes, &huge), Err(ProofWriteError::TooLarge));
        let edge = &huge[..limits::PROOF_BYTES / 4 * 3];
        assert_eq!(write(9, &example.hashes, edge), Err(ProofWriteError::TooLarge));
        let body = &huge[..limits::BODY_STATE_BYTES];
        let proof = write(9, &example.hashes, body).unwrap();
        assert_eq!(parse(&proof).claimed_extra(), body);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn proofs_round_trip(size in 1u64..40, index in 0u64..40, extra in proptest::collection::vec(any::<u8>(), 0..60)) {
            let example = example(index % size, size);
            let proof = written(&example, &extra);
            let unverified = parse(&proof);
            prop_assert_eq!(unverified.to_bytes(), proof);
            prop_assert_eq!(unverified.claimed_extra(), extra);
            let verified = unverified.verify_leaf_attributed(&example.leaf, &key(1).public(), &[witness()]);
            prop_assert!(verified.is_ok());
        }

        #[test]
        fn no_changed_byte_changes_a_reported_fact(at in any::<prop::sample::Index>(), to: u8) {
            let example = example(9, 21);
            let mut proof = written(&example, b"");
            let at = at.index(proof.len());
            proof[at] = to;
            if let Ok(unverified) = UnverifiedProof::parse(&proof) {
                prop_assert_eq!(unverified.to_bytes(), proof);
                let verified = unverified.verify_leaf_attributed(&example.leaf, &key(1).public(), &[witness()]);
                if let Ok(verified) = verified {
                    prop_assert_eq!(verified.index(), 9);
                    prop_assert_eq!(verified.checkpoint(), &example.checkpoint);
                }
            }
        }
    }
}
