//! The Merkle tree of a log: RFC 6962 section 2.1 and RFC 9162 section 2.1, SHA-256.
//!
//! - here: node hashes and [`Frontier`], the tree that grows;
//! - `nodes`: what a store must answer so that any node can be computed;
//! - `path`: inclusion and consistency proofs, made and verified;
//! - `outline`: the hashes of 256-entry subtrees, so that a receiver can check
//!   what it is sent piece by piece against a signed root;
//! - `tile`: the same hashes as pieces with addresses, for readers over HTTP.
//!
//! **Invariant:** nothing here panics or overflows for any `u64`, and the work
//! of every verification is bounded by the hashes handed in. Deliberately
//! absent: signatures (see `checkpoint`) and storage.

mod nodes;
mod outline;
mod path;
mod tile;

use sha2::{Digest as _, Sha256};

use crate::id::Hash;

pub use nodes::{Nodes, frontier_at, range_root, root_at};
pub use outline::{Outline, OutlineBuilder, VerifiedOutline, outline, outline_page, outline_tail};
pub use path::{
    consistency_proof, implied_old_root, inclusion_proof, shown_old_root, shown_proof,
    verify_consistency, verify_inclusion,
};
pub use tile::{TILE_WIDTH, Tile, TileError, TileSpan};

/// Largest tree a [`Frontier`] holds; pushing leaf by leaf never gets near it.
const MAX_SIZE: u64 = 1 << 62;

/// Why a tree or a proof cannot be made: the caller asked for what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An index or size lies beyond the log, or sizes are in the wrong order.
    #[error("the log has no such entry or size")]
    Range,
    /// The number of peaks does not fit the size.
    #[error("the number of peaks does not fit the size")]
    Peaks,
    /// A subtree does not start where the log ends, or a range is no node of the tree.
    #[error("the range is not aligned to the tree")]
    Alignment,
    /// The store has no hash for the entry with this index.
    #[error("the store has no hash for entry {0}")]
    Missing(u64),
}

/// Why a proof or an outline is refused: its sender is wrong or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// An index or size lies beyond the log, or sizes are in the wrong order.
    #[error("the log has no such entry or size")]
    Range,
    /// There are more or fewer hashes than the sizes call for.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the expected root.
    #[error("the hashes do not lead to the signed root")]
    Mismatch,
    /// The older log is not shown to be a prefix of the newer one: a bad proof, or a fork.
    #[error("the newer log is not shown to contain the older one")]
    Inconsistent,
    /// The log is larger than this node follows.
    #[error("the log is larger than the limit")]
    TooLarge,
    /// The consistency proof has not been checked yet.
    #[error("the consistency proof comes before the subtree hashes")]
    Unproven,
}

/// Hash of a leaf: SHA-256 of `0x00` and the entry's bytes (RFC 6962 section 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::from_bytes(Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into())
}

/// Hash of an inner node: SHA-256 of `0x01`, the left child and the right child.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let hasher = Sha256::new().chain_update([0x01]);
    let hasher = hasher.chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Hash::from_bytes(hasher.finalize().into())
}

/// Root of the tree without entries: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::from_bytes(Sha256::digest([]).into())
}

/// An append-only tree, kept as the roots of its complete subtrees.
///
/// The peaks stand from the largest (oldest) to the smallest (newest), one for
/// each bit that is set in the size. Appending is one hash, amortised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// A tree of `size` entries from its peaks, largest first, as [`Frontier::peaks`] gives them.
    ///
    /// # Errors
    /// [`LogError::Peaks`] unless there is one peak for each bit set in `size`;
    /// [`LogError::Range`] for a size beyond 2^62.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self, LogError> {
        if size > MAX_SIZE {
            return Err(LogError::Range);
        }
        if peaks.len() != bits(size) {
            return Err(LogError::Peaks);
        }
        Ok(Self { size, peaks })
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Root of the tree: RFC 6962 MTH over all entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root_with(None).unwrap_or_else(empty_root)
    }

    /// Appends an entry, given its [`leaf_hash`].
    pub fn push(&mut self, leaf: Hash) {
        self.merge(0, leaf);
    }

    /// Appends a complete subtree of 2^`level` entries, given its root.
    ///
    /// # Errors
    /// [`LogError::Alignment`] unless the size is a multiple of 2^`level`;
    /// [`LogError::Range`] if the tree would grow beyond 2^62 entries.
    pub fn push_subtree(&mut self, level: u32, root: Hash) -> Result<(), LogError> {
        let span = 1u64.checked_shl(level).ok_or(LogError::Range)?;
        if self.size.checked_add(span).is_none_or(|size| size > MAX_SIZE) {
            return Err(LogError::Range);
        }
        if !self.size.is_multiple_of(span) {
            return Err(LogError::Alignment);
        }
        self.merge(level, root);
        Ok(())
    }

    /// The tree of the first entries only, its size rounded down to a multiple of 2^`level`.
    #[must_use]
    pub fn aligned(&self, level: u32) -> Self {
        let size = self.size - self.size_below(level);
        let peaks = self.peaks.iter().take(bits(size)).copied().collect();
        Self { size, peaks }
    }

    /// The entries that [`Frontier::aligned`] leaves out, as a tree of their own.
    #[must_use]
    pub fn remainder(&self, level: u32) -> Self {
        let size = self.size_below(level);
        let peaks = self.peaks.iter().skip(bits(self.size - size)).copied().collect();
        Self { size, peaks }
    }

    /// Root of this tree continued by a last node to its right, whose span is
    /// smaller than the smallest peak; `None` if both are empty.
    pub(crate) fn root_with(&self, tail: Option<Hash>) -> Option<Hash> {
        self.peaks.iter().rev().fold(tail, |right, left| match right {
            Some(right) => Some(node_hash(left, &right)),
            None => Some(*left),
        })
    }

    fn size_below(&self, level: u32) -> u64 {
        // A shift by 64 or more would leave every entry below the level.
        1u64.checked_shl(level).map_or(self.size, |span| self.size & (span - 1))
    }

    /// Adds a node of 2^level entries: like a carry in binary addition, it joins
    /// every neighbour of its own size on the way up.
    fn merge(&mut self, level: u32, node: Hash) {
        let joins = (self.size >> level).trailing_ones() as usize;
        let keep = self.peaks.len().saturating_sub(joins);
        let joined =
            self.peaks.drain(keep..).rev().fold(node, |right, left| node_hash(&left, &right));
        self.peaks.push(joined);
        self.size += 1 << level;
    }
}

/// Peaks of a tree of `size` entries.
const fn bits(size: u64) -> usize {
    size.count_ones() as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6962 section 2.1, word for word: the oracle for everything in this module.
    pub(crate) fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    pub(crate) fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    pub(crate) fn grown(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        frontier
    }

    #[test]
    fn hashes_are_those_of_rfc_6962() {
        let hex = |hash: Hash| hash.to_string();
        // SHA-256 of the empty string and of a single zero byte.
        assert_eq!(
            hex(empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(leaf_hash(&[])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_ne!(
            leaf_hash(&[0; 64]),
            node_hash(&Hash::from_bytes([0; 32]), &Hash::from_bytes([0; 32]))
        );
    }

    #[test]
    fn the_frontier_has_the_naive_root_at_every_size() {
        let all = leaves(600);
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), empty_root());
        for (n, leaf) in all.iter().enumerate() {
            frontier.push(*leaf);
            assert_eq!(frontier.size(), n as u64 + 1);
            assert_eq!(frontier.peaks().len(), bits(n as u64 + 1));
            assert_eq!(frontier.root(), naive_root(&all[..=n]), "size {}", n + 1);
            let again = Frontier::from_peaks(frontier.size(), frontier.peaks().to_vec());
            assert_eq!(again.as_ref(), Ok(&frontier));
        }
    }

    #[test]
    fn pushing_a_subtree_equals_pushing_its_leaves() {
        let all = leaves(80);
        for level in 0..6u32 {
            let span = 1usize << level;
            for start in (0..=48 - span % 48).step_by(span).filter(|start| start + span <= 80) {
                let mut by_subtree = grown(&all[..start]);
                by_subtree.push_subtree(level, naive_root(&all[start..start + span])).unwrap();
                assert_eq!(by_subtree, grown(&all[..start + span]));
            }
        }
    }

    #[test]
    fn misplaced_subtrees_and_wrong_peaks_are_refused() {
        let hash = leaf_hash(b"x");
        let mut three = grown(&leaves(3));
        assert_eq!(three.push_subtree(1, hash), Err(LogError::Alignment));
        assert_eq!(three.push_subtree(64, hash), Err(LogError::Range));
        assert_eq!(three.push_subtree(63, hash), Err(LogError::Range));
        assert_eq!(three, grown(&leaves(3)));
        assert_eq!(Frontier::new().push_subtree(62, hash), Ok(()));
        assert_eq!(Frontier::from_peaks(3, vec![hash]), Err(LogError::Peaks));
        assert_eq!(Frontier::from_peaks(0, vec![hash]), Err(LogError::Peaks));
        assert_eq!(Frontier::from_peaks(u64::MAX, vec![hash; 64]), Err(LogError::Range));
    }

    #[test]
    fn the_largest_frontier_still_takes_a_leaf() {
        let mut frontier = Frontier::from_peaks(MAX_SIZE, vec![leaf_hash(b"peak")]).unwrap();
        frontier.push(leaf_hash(b"leaf"));
        assert_eq!(frontier.size(), MAX_SIZE + 1);
        assert_eq!(frontier.root(), node_hash(&leaf_hash(b"peak"), &leaf_hash(b"leaf")));
    }

    proptest! {
        #[test]
        fn aligned_and_remainder_split_the_entries(size in 0u64..1200, level in 0u32..70) {
            let all = leaves(size);
            let frontier = grown(&all);
            let cut = if level < 11 { size >> level << level } else { 0 };
            let (head, rest) = all.split_at(usize::try_from(cut).unwrap());
            prop_assert_eq!(frontier.aligned(level), grown(head));
            prop_assert_eq!(frontier.remainder(level), grown(rest));
        }
    }
}
