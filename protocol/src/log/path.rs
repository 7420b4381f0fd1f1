//! Inclusion and consistency proofs: RFC 6962 section 2.1, RFC 9162 sections
//! 2.1.3 and 2.1.4.
//!
//! Verification is strict: a proof has exactly the hashes its sizes call for,
//! and a tree of size 0 has exactly one root.

use super::{LogError, Nodes, ProofError, empty_root, node_hash, range_root};
use crate::id::Hash;

/// The audit path of the entry at `index` in the log of `size` entries, leaf's sibling first.
///
/// # Errors
/// [`LogError::Range`] unless `index < size`; [`LogError::Missing`] if the
/// store does not reach that far.
pub fn inclusion_proof<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, LogError> {
    if index >= size {
        return Err(LogError::Range);
    }
    let (mut begin, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the log of `old` entries is a prefix of the log of `new` entries.
///
/// It is empty if `old` is 0 or equal to `new`.
///
/// # Errors
/// [`LogError::Range`] unless `old <= new`; [`LogError::Missing`] if the store
/// does not reach that far.
pub fn consistency_proof<N: Nodes + ?Sized>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LogError> {
    if old > new {
        return Err(LogError::Range);
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    // The verifier has the old root itself; any other last node it must be told.
    if begin > 0 {
        proof.push(range_root(nodes, begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// As [`consistency_proof`], but the proof begins with a node of its own also where
/// that is the old root: for [`shown_old_root`].
///
/// # Errors
/// As [`consistency_proof`]; [`LogError::Range`] also if `old` is 0 or equal to
/// `new`, where there is nothing to show.
pub fn shown_proof<N: Nodes + ?Sized>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LogError> {
    if old == 0 || old >= new {
        return Err(LogError::Range);
    }
    let mut proof = consistency_proof(nodes, old, new)?;
    if old.is_power_of_two() {
        proof.insert(0, range_root(nodes, 0, old)?);
    }
    Ok(proof)
}

/// Verifies that `leaf` is the hash of the entry at `index` under `root` over `size` entries.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Length`] or [`ProofError::Mismatch`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            node = node_hash(sibling, &node);
            (at, last) = climb_while_left(at, last);
        } else {
            node = node_hash(&node, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, node == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Mismatch),
        _ => Err(ProofError::Length),
    }
}

/// Verifies that the log with `old_root` is a prefix of the log with `new_root`.
///
/// # Errors
/// [`ProofError::Range`] or [`ProofError::Length`] for a malformed proof;
/// [`ProofError::Inconsistent`] if the hashes do not lead to both roots, which
/// is either a bad proof or a fork.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range);
    }
    if old == 0 || old == new {
        let same = old == 0 || old_root == new_root;
        let empty = |size: u64, root: &Hash| size > 0 || *root == empty_root();
        return match (proof.is_empty(), same && empty(old, old_root) && empty(new, new_root)) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Inconsistent),
            (true, true) => Ok(()),
        };
    }
    // For a power of two the old root is itself a node of the new tree.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    if roots_of(old, new, first, rest)? == (*old_root, *new_root) {
        Ok(())
    } else {
        Err(ProofError::Inconsistent)
    }
}

/// The root that a consistency proof to a known `new_root` implies for the log's first `old` entries.
///
/// What turns [`ProofError::Inconsistent`] into evidence: if the implied root
/// differs from one signed for the same size, the signer told two histories.
/// `None` if `old` is 0 or a power of two, where the proof itself leaves the old
/// root out; [`shown_old_root`] has it.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Length`]; [`ProofError::Mismatch`] if
/// the hashes do not lead to `new_root`, so that they prove nothing.
pub fn implied_old_root(
    old: u64,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<Option<Hash>, ProofError> {
    if old >= new {
        return Err(ProofError::Range);
    }
    if old == 0 || old.is_power_of_two() {
        return Ok(None);
    }
    shown_old_root(old, new, new_root, proof).map(Some)
}

/// As [`implied_old_root`], from a proof that always begins with a node of its
/// own: for a power of two that is the old root, which the log with `new_root`
/// then cannot have another of.
///
/// # Errors
/// As [`implied_old_root`]; [`ProofError::Range`] also if `old` is 0, which has one root only.
pub fn shown_old_root(
    old: u64,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if old == 0 || old >= new {
        return Err(ProofError::Range);
    }
    let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
    let (old_root, root) = roots_of(old, new, first, rest)?;
    if root == *new_root { Ok(old_root) } else { Err(ProofError::Mismatch) }
}

/// Both roots that a proof leads to: RFC 9162 section 2.1.4.2. `0 < old < new`.
fn roots_of(old: u64, new: u64, first: &Hash, rest: &[Hash]) -> Result<(Hash, Hash), ProofError> {
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old_root, mut new_root) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
            (at, last) = climb_while_left(at, last);
        } else {
            new_root = node_hash(&new_root, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 { Ok((old_root, new_root)) } else { Err(ProofError::Length) }
}

/// Skips the levels at which the node on the right edge has no sibling.
const fn climb_while_left(mut at: u64, mut last: u64) -> (u64, u64) {
    while at & 1 == 0 && at != 0 {
        (at, last) = (at >> 1, last >> 1);
    }
    (at, last)
}

/// The largest power of two below `len`, which is at least 2.
const fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use super::super::nodes::tests::Memory;
    use super::super::tests::naive_root;
    use super::*;
    use proptest::prelude::*;

    /// RFC 6962 section 2.1.1, word for word.
    fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) = if index < k {
            (naive_path(index, left), naive_root(right))
        } else {
            (naive_path(index - k, right), naive_root(left))
        };
        path.push(sibling);
        path
    }

    /// RFC 6962 section 2.1.2, word for word.
    fn naive_subproof(old: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if complete { Vec::new() } else { vec![naive_root(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut proof, sibling) = if old <= k {
            (naive_subproof(old, left, complete), naive_root(right))
        } else {
            (naive_subproof(old - k, right, false), naive_root(left))
        };
        proof.push(sibling);
        proof
    }

    fn flipped(hash: &Hash) -> Hash {
        let mut bytes = *hash.as_bytes();
        bytes[17] ^= 4;
        Hash::from_bytes(bytes)
    }

    /// Every way to damage the list of hashes: one changed, one missing, one more.
    fn damaged(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut all = Vec::new();
        for at in 0..proof.len() {
            let mut changed = proof.to_vec();
            changed[at] = flipped(&changed[at]);
            all.push(changed);
            let mut shorter = proof.to_vec();
            shorter.remove(at);
            all.push(shorter);
        }
        for at in [0, proof.len() / 2, proof.len()] {
            let mut longer = proof.to_vec();
            longer.insert(at, proof.first().copied().unwrap_or_else(empty_root));
            all.push(longer);
        }
        all.retain(|candidate| candidate != proof);
        all
    }

    /// All of 0..=size for a small tree; neighbours and a spread for a large one.
    fn others(near: u64, size: u64) -> impl Iterator<Item = u64> {
        let step = size.div_ceil(8).max(1) as usize;
        (0..=size).step_by(step).chain(near.saturating_sub(2)..=(near + 2).min(size))
    }

    fn inclusion_holds_and_nothing_else(log: &Memory, index: u64, size: u64) {
        let entries = &log.leaves[..size as usize];
        let (leaf, root) = (entries[index as usize], naive_root(entries));
        let proof = inclusion_proof(log, index, size).unwrap();
        assert_eq!(proof, naive_path(index as usize, entries), "{index} of {size}");
        assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        for bad in damaged(&proof) {
            assert!(verify_inclusion(&leaf, index, size, &bad, &root).is_err());
        }
        assert!(verify_inclusion(&flipped(&leaf), index, size, &proof, &root).is_err());
        assert!(verify_inclusion(&leaf, index, size, &proof, &flipped(&root)).is_err());
        for other in others(index, size) {
            let wrong = verify_inclusion(&leaf, other, size, &proof, &root);
            assert_eq!(wrong.is_ok(), other == index, "{other} for {index} of {size}");
        }
    }

    fn consistency_holds_and_nothing_else(log: &Memory, old: u64, new: u64) {
        let root = |size: u64| naive_root(&log.leaves[..size as usize]);
        let (old_root, new_root) = (root(old), root(new));
        let proof = consistency_proof(log, old, new).unwrap();
        if old > 0 {
            let entries = &log.leaves[..new as usize];
            assert_eq!(proof, naive_subproof(old as usize, entries, true), "{old} to {new}");
        }
        assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        for bad in damaged(&proof) {
            assert!(verify_consistency(old, &old_root, new, &new_root, &bad).is_err());
        }
        let inconsistent = Err(ProofError::Inconsistent);
        assert_eq!(
            verify_consistency(old, &flipped(&old_root), new, &new_root, &proof),
            inconsistent
        );
        if old > 0 {
            let other = flipped(&new_root);
            assert_eq!(verify_consistency(old, &old_root, new, &other, &proof), inconsistent);
            for size in others(old, new).filter(|size| *size != old) {
                assert!(verify_consistency(size, &old_root, new, &new_root, &proof).is_err());
            }
        }
        assert_eq!(shown_proof(log, old, new).is_ok(), old > 0 && old < new);
        if old > 0 && old < new {
            let implied = implied_old_root(old, new, &new_root, &proof);
            assert_eq!(implied, Ok((!old.is_power_of_two()).then_some(old_root)));
            let shown = shown_proof(log, old, new).unwrap();
            assert_eq!(shown_old_root(old, new, &new_root, &shown), Ok(old_root));
            for bad in damaged(&shown) {
                assert!(shown_old_root(old, new, &new_root, &bad).is_err());
            }
        }
    }

    #[test]
    fn every_small_proof_is_exact_and_every_damage_refused() {
        let log = Memory::of(70);
        for size in 1..=70 {
            for index in 0..size {
                inclusion_holds_and_nothing_else(&log, index, size);
            }
            for old in 0..=size {
                consistency_holds_and_nothing_else(&log, old, size);
            }
        }
    }

    #[test]
    fn proofs_beyond_the_log_are_not_made() {
        let log = Memory::of(5);
        assert_eq!(inclusion_proof(&log, 5, 5), Err(LogError::Range));
        assert_eq!(inclusion_proof(&log, 0, 0), Err(LogError::Range));
        assert_eq!(inclusion_proof(&log, 1, 6), Err(LogError::Missing(5)));
        assert_eq!(consistency_proof(&log, 3, 2), Err(LogError::Range));
        assert_eq!(consistency_proof(&log, 3, 6), Err(LogError::Missing(5)));
        assert_eq!(consistency_proof(&log, 6, 6), Ok(vec![]));
    }

    #[test]
    fn the_empty_log_has_one_root() {
        let (empty, other) = (empty_root(), flipped(&empty_root()));
        assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &empty, 9, &other, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &other, 0, &other, &[]), Err(ProofError::Inconsistent));
        assert_eq!(verify_consistency(0, &other, 9, &empty, &[]), Err(ProofError::Inconsistent));
        assert_eq!(verify_consistency(0, &empty, 0, &empty, &[other]), Err(ProofError::Length));
        assert_eq!(verify_consistency(0, &empty, 9, &other, &[other]), Err(ProofError::Length));
    }

    #[test]
    fn extreme_sizes_neither_overflow_nor_pass() {
        let hash = empty_root();
        let sizes =
            [0, 1, 2, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
        for a in sizes {
            for b in sizes {
                for count in [0, 1, 63, 64, 65, 128, 200] {
                    let proof = vec![hash; count];
                    assert_eq!(
                        verify_inclusion(&hash, a, b, &proof, &hash).is_ok(),
                        a == 0 && b == 1 && count == 0
                    );
                    let trivial = count == 0 && a <= b && (a == 0 || a == b);
                    assert_eq!(verify_consistency(a, &hash, b, &hash, &proof).is_ok(), trivial);
                }
            }
        }
    }

    #[test]
    fn a_fork_shows_the_other_root() {
        let mut entries = Memory::of(90).leaves;
        entries[30] = empty_root();
        let forked = Memory::over(entries);
        let (honest_root, forked_root) =
            (naive_root(&Memory::of(41).leaves), naive_root(&forked.leaves));
        let proof = consistency_proof(&forked, 41, 90).unwrap();
        assert_eq!(
            verify_consistency(41, &honest_root, 90, &forked_root, &proof),
            Err(ProofError::Inconsistent)
        );
        let implied = implied_old_root(41, 90, &forked_root, &proof).unwrap().unwrap();
        assert_eq!(implied, naive_root(&forked.leaves[..41]));
        assert_eq!(verify_consistency(41, &implied, 90, &forked_root, &proof), Ok(()));
        assert_eq!(implied_old_root(41, 90, &honest_root, &proof), Err(ProofError::Mismatch));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn proofs_across_subtrees_are_exact(size in 1u64..3000, index in 0u64..3000, old in 0u64..3000) {
            let log = Memory::of(size);
            inclusion_holds_and_nothing_else(&log, index % size, size);
            consistency_holds_and_nothing_else(&log, old % (size + 1), size);
        }
    }
}
