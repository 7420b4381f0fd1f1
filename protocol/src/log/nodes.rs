//! What a store answers so that any node of a log's tree can be computed.
//!
//! A store keeps two rows of the tree: the leaf hashes, and the roots of the
//! complete subtrees of [`limits::SUBTREE_ENTRIES`] entries. Everything else is
//! computed on demand: for a log of a million entries a proof reads about four
//! thousand subtree roots and at most 255 leaves. Deliberately absent: caching.

use super::{Frontier, LogError};
use crate::id::Hash;
use crate::limits;

/// The two stored rows of one log's tree.
pub trait Nodes {
    /// Leaf hash of the entry at `index`; `None` if the log does not reach that far.
    fn leaf(&self, index: u64) -> Option<Hash>;

    /// Root over the entries `index * 256 .. (index + 1) * 256`.
    ///
    /// `None` if that subtree is not complete, or simply not kept: it is then
    /// computed from its leaves.
    fn subtree(&self, index: u64) -> Option<Hash>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    fn leaf(&self, index: u64) -> Option<Hash> {
        (**self).leaf(index)
    }

    fn subtree(&self, index: u64) -> Option<Hash> {
        (**self).subtree(index)
    }
}

/// The frontier of the log's first `size` entries.
///
/// # Errors
/// [`LogError::Missing`] if the log does not reach that far.
pub fn frontier_at<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Frontier, LogError> {
    frontier_of(nodes, 0, size)
}

/// Root of the log's first `size` entries.
///
/// # Errors
/// As [`frontier_at`].
pub fn root_at<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Hash, LogError> {
    frontier_at(nodes, size).map(|frontier| frontier.root())
}

/// MTH over the entries `begin .. end`, as a node of the log's tree.
///
/// # Errors
/// [`LogError::Alignment`] unless `begin` is a multiple of the smallest power
/// of two that holds the range (only then is it a node); [`LogError::Range`]
/// for an empty or reversed range; [`LogError::Missing`].
pub fn range_root<N: Nodes + ?Sized>(nodes: &N, begin: u64, end: u64) -> Result<Hash, LogError> {
    let len = end.checked_sub(begin).filter(|len| *len > 0).ok_or(LogError::Range)?;
    let span = len.checked_next_power_of_two().ok_or(LogError::Range)?;
    if !begin.is_multiple_of(span) {
        return Err(LogError::Alignment);
    }
    frontier_of(nodes, begin, end).map(|frontier| frontier.root())
}

/// The tree over `begin .. end` alone. The caller has made sure that a range of
/// a whole subtree or more starts at the start of one.
fn frontier_of<N: Nodes + ?Sized>(nodes: &N, begin: u64, end: u64) -> Result<Frontier, LogError> {
    const SPAN: u64 = limits::SUBTREE_ENTRIES;
    let mut frontier = Frontier::new();
    let mut at = begin;
    while at < end {
        let whole = at.is_multiple_of(SPAN) && end - at >= SPAN;
        match nodes.subtree(at / SPAN).filter(|_| whole) {
            Some(root) => {
                frontier.push_subtree(limits::SUBTREE_LEVEL, root)?;
                at += SPAN;
            }
            None => {
                frontier.push(nodes.leaf(at).ok_or(LogError::Missing(at))?);
                at += 1;
            }
        }
    }
    Ok(frontier)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use super::super::tests::{leaves, naive_root};
    use super::*;
    use proptest::prelude::*;

    /// A log in memory, with or without the row of subtree roots.
    pub(crate) struct Memory {
        pub(crate) leaves: Vec<Hash>,
        subtrees: Vec<Hash>,
    }

    impl Memory {
        pub(crate) fn of(size: u64) -> Self {
            Self::over(leaves(size))
        }

        pub(crate) fn over(leaves: Vec<Hash>) -> Self {
            let subtrees = leaves.chunks_exact(256).map(naive_root).collect();
            Self { leaves, subtrees }
        }
    }

    impl Nodes for Memory {
        fn leaf(&self, index: u64) -> Option<Hash> {
            self.leaves.get(usize::try_from(index).ok()?).copied()
        }

        fn subtree(&self, index: u64) -> Option<Hash> {
            self.subtrees.get(usize::try_from(index).ok()?).copied()
        }
    }

    #[test]
    fn roots_at_every_size_are_the_naive_ones() {
        let log = Memory::of(70);
        for size in 0..=70 {
            assert_eq!(root_at(&log, size), Ok(naive_root(&log.leaves[..size as usize])));
        }
        assert_eq!(root_at(&log, 71), Err(LogError::Missing(70)));
        assert_eq!(root_at(&log, u64::MAX), Err(LogError::Missing(70)));
    }

    #[test]
    fn ranges_that_are_no_node_are_refused() {
        let log = Memory::of(70);
        assert_eq!(range_root(&log, 1, 3), Err(LogError::Alignment));
        assert_eq!(range_root(&log, 4, 9), Err(LogError::Alignment));
        assert_eq!(range_root(&log, 3, 3), Err(LogError::Range));
        assert_eq!(range_root(&log, 4, 3), Err(LogError::Range));
        assert_eq!(range_root(&log, 0, u64::MAX), Err(LogError::Range));
        assert_eq!(range_root(&log, 8, 13), Ok(naive_root(&log.leaves[8..13])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn kept_subtrees_change_no_root(total in 0u64..3000, at in 0u64..3000, keeps: bool) {
            let mut log = Memory::of(total);
            if !keeps {
                log.subtrees.clear();
            }
            let size = at.min(total);
            let expected = naive_root(&log.leaves[..size as usize]);
            prop_assert_eq!(root_at(&log, size), Ok(expected));
            prop_assert_eq!(frontier_at(&log, size).unwrap().size(), size);
        }
    }
}
