//! The outline of a log: the roots of its 256-entry subtrees, checked against a
//! signed root, so that each subtree can then be fetched from anybody, checked
//! alone and stored before the others have come.
//!
//! The receiver has the log's first `from` entries and a signed root over `size`.
//! The order is: consistency proof first (a fork shows before any bytes), then
//! the subtree roots in pages, then the tail. What is accepted before
//! [`OutlineBuilder::finish`] is not verified yet and cannot be read.
//!
//! **Invariant:** a [`VerifiedOutline`] leads to the signed root, so no subtree
//! that [`VerifiedOutline::check`] accepts can differ from what was signed.

use core::ops::Range;

use super::{
    Frontier, LogError, Nodes, ProofError, consistency_proof, range_root, verify_consistency,
};
use crate::id::Hash;
use crate::limits::{self, SUBTREE_ENTRIES, SUBTREE_LEVEL};

/// An outline as its sender makes it: everything a receiver with `from` entries needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Entries the receiver already has.
    pub from: u64,
    /// Entries under the signed root.
    pub size: u64,
    /// Consistency proof between the two.
    pub proof: Vec<Hash>,
    /// Roots of the complete subtrees, from the one that entry `from` belongs to.
    pub subtrees: Vec<Hash>,
    /// Root over the entries after the last complete subtree, if there are any.
    pub tail: Option<Hash>,
}

/// Makes the whole outline for a receiver that has `from` of the log's first `size` entries.
///
/// # Errors
/// [`LogError::Range`] if `from > size`; [`LogError::Missing`].
pub fn outline<N: Nodes + ?Sized>(nodes: &N, from: u64, size: u64) -> Result<Outline, LogError> {
    let proof = consistency_proof(nodes, from, size)?;
    let mut subtrees = Vec::new();
    let (mut next, end) = (from / SUBTREE_ENTRIES, size / SUBTREE_ENTRIES);
    while next < end {
        let page = outline_page(nodes, next, size)?;
        next += page.len() as u64;
        subtrees.extend(page);
    }
    Ok(Outline { from, size, proof, subtrees, tail: outline_tail(nodes, size)? })
}

/// One page of an outline: the roots of the complete subtrees of the log's first
/// `size` entries, from number `first`, at most [`limits::OUTLINE_HASHES`] of them.
///
/// Empty if no complete subtree is left.
///
/// # Errors
/// [`LogError::Missing`].
pub fn outline_page<N: Nodes + ?Sized>(
    nodes: &N,
    first: u64,
    size: u64,
) -> Result<Vec<Hash>, LogError> {
    (first..size / SUBTREE_ENTRIES)
        .take(limits::OUTLINE_HASHES)
        .map(|index| range_root(nodes, index * SUBTREE_ENTRIES, (index + 1) * SUBTREE_ENTRIES))
        .collect()
}

/// Root over the entries after the last complete subtree; `None` if there are none.
///
/// # Errors
/// [`LogError::Missing`].
pub fn outline_tail<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Option<Hash>, LogError> {
    let begin = size - size % SUBTREE_ENTRIES;
    if begin == size { Ok(None) } else { range_root(nodes, begin, size).map(Some) }
}

/// Takes an outline apart piece by piece and checks it: see the module's description.
#[derive(Clone, Debug)]
pub struct OutlineBuilder {
    from: u64,
    from_root: Hash,
    size: u64,
    root: Hash,
    proven: bool,
    /// Own complete subtrees, continued by those received.
    tree: Frontier,
    received: Vec<Hash>,
}

impl OutlineBuilder {
    /// For a receiver whose log is `own` and who has a signed `root` over `size` entries.
    ///
    /// # Errors
    /// [`ProofError::Range`] if the own log is longer than `size`;
    /// [`ProofError::TooLarge`] if `size` is beyond [`limits::LOG_ENTRIES`],
    /// which bounds the memory of the outline.
    pub fn new(own: &Frontier, size: u64, root: Hash) -> Result<Self, ProofError> {
        if size > limits::LOG_ENTRIES {
            return Err(ProofError::TooLarge);
        }
        if own.size() > size {
            return Err(ProofError::Range);
        }
        Ok(Self {
            from: own.size(),
            from_root: own.root(),
            size,
            root,
            proven: false,
            tree: own.aligned(SUBTREE_LEVEL),
            received: Vec::new(),
        })
    }

    /// Takes the consistency proof, before anything else.
    ///
    /// # Errors
    /// [`ProofError::Inconsistent`] for a bad proof or a fork: see
    /// [`super::implied_old_root`]; [`ProofError::Length`].
    pub fn proof(&mut self, proof: &[Hash]) -> Result<(), ProofError> {
        verify_consistency(self.from, &self.from_root, self.size, &self.root, proof)?;
        self.proven = true;
        Ok(())
    }

    /// Number of the first subtree whose root is still wanted; `None` when all have come.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let next = self.tree.size() / SUBTREE_ENTRIES;
        (next < self.size / SUBTREE_ENTRIES).then_some(next)
    }

    /// Takes the next subtree roots, in order and in pages of any size up to
    /// [`limits::OUTLINE_HASHES`].
    ///
    /// # Errors
    /// [`ProofError::Unproven`] before the consistency proof;
    /// [`ProofError::Length`] for a page that is empty, too long or goes beyond
    /// the log. The builder is unchanged then.
    pub fn page(&mut self, hashes: &[Hash]) -> Result<(), ProofError> {
        if !self.proven {
            return Err(ProofError::Unproven);
        }
        let missing = self.size / SUBTREE_ENTRIES - self.tree.size() / SUBTREE_ENTRIES;
        let count = hashes.len() as u64;
        if hashes.is_empty() || hashes.len() > limits::OUTLINE_HASHES || count > missing {
            return Err(ProofError::Length);
        }
        for hash in hashes {
            // Both sizes are multiples of a subtree and far below the largest tree.
            self.tree.push_subtree(SUBTREE_LEVEL, *hash).map_err(|_| ProofError::Range)?;
        }
        self.received.extend_from_slice(hashes);
        Ok(())
    }

    /// Takes the root of the tail and compares the whole with the signed root.
    ///
    /// # Errors
    /// [`ProofError::Unproven`] before the consistency proof;
    /// [`ProofError::Length`] if subtree roots are missing, or there is a tail
    /// where none belongs or the reverse; [`ProofError::Mismatch`] if any hash
    /// is not what was signed.
    pub fn finish(self, tail: Option<Hash>) -> Result<VerifiedOutline, ProofError> {
        if !self.proven {
            return Err(ProofError::Unproven);
        }
        let has_tail = !self.size.is_multiple_of(SUBTREE_ENTRIES);
        if self.next().is_some() || tail.is_some() != has_tail {
            return Err(ProofError::Length);
        }
        let root = self.tree.root_with(tail).unwrap_or_else(super::empty_root);
        if root != self.root {
            return Err(ProofError::Mismatch);
        }
        let first = self.from / SUBTREE_ENTRIES;
        Ok(VerifiedOutline {
            from: self.from,
            size: self.size,
            root,
            first,
            roots: self.received,
            tail,
        })
    }
}

/// Subtree roots that lead to the signed root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOutline {
    from: u64,
    size: u64,
    root: Hash,
    first: u64,
    roots: Vec<Hash>,
    tail: Option<Hash>,
}

impl VerifiedOutline {
    /// Entries under the signed root.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The signed root.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Numbers of the subtrees with entries the receiver did not have, tail included.
    #[must_use]
    pub const fn subtrees(&self) -> Range<u64> {
        if self.from == self.size {
            return self.first..self.first;
        }
        self.first..self.size.div_ceil(SUBTREE_ENTRIES)
    }

    /// The root expected for a subtree; for the last, if it is not complete, the
    /// root over the entries it has. `None` outside of the outline.
    #[must_use]
    pub fn expected(&self, subtree: u64) -> Option<Hash> {
        let at = usize::try_from(subtree.checked_sub(self.first)?).ok()?;
        match self.roots.get(at) {
            Some(root) => Some(*root),
            None if at == self.roots.len() => self.tail,
            None => None,
        }
    }

    /// Indices of the entries of a subtree that a receiver with `own` entries lacks.
    #[must_use]
    pub fn missing(&self, subtree: u64, own: u64) -> Range<u64> {
        let begin = subtree.saturating_mul(SUBTREE_ENTRIES);
        let end = begin.saturating_add(SUBTREE_ENTRIES).min(self.size);
        begin.max(own).min(end)..end
    }

    /// Checks the leaf hashes of one subtree, exactly those that `own` lacks
    /// ([`VerifiedOutline::missing`]), in order.
    ///
    /// `own` is the receiver's log now; where it ends inside this subtree, the
    /// entries it has are part of the check.
    ///
    /// # Errors
    /// [`ProofError::Range`] if the subtree is outside of the outline or nothing
    /// of it is missing; [`ProofError::Length`] for too many or too few leaves;
    /// [`ProofError::Mismatch`] if they are not what was signed.
    pub fn check(&self, subtree: u64, own: &Frontier, leaves: &[Hash]) -> Result<(), ProofError> {
        let expected = self.expected(subtree).ok_or(ProofError::Range)?;
        let missing = self.missing(subtree, own.size());
        if missing.is_empty() {
            return Err(ProofError::Range);
        }
        if leaves.len() as u64 != missing.end - missing.start {
            return Err(ProofError::Length);
        }
        let held = !missing.start.is_multiple_of(SUBTREE_ENTRIES);
        let mut tree = if held { own.remainder(SUBTREE_LEVEL) } else { Frontier::new() };
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        if tree.root() == expected { Ok(()) } else { Err(ProofError::Mismatch) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use super::super::nodes::tests::Memory;
    use super::super::tests::{grown, naive_root};
    use super::super::{leaf_hash, root_at};
    use super::*;
    use proptest::prelude::*;

    fn flipped(hash: Hash) -> Hash {
        let mut bytes = *hash.as_bytes();
        bytes[31] ^= 1;
        Hash::from_bytes(bytes)
    }

    fn at(log: &Memory, size: u64) -> Frontier {
        grown(&log.leaves[..size as usize])
    }

    fn receive(
        own: &Frontier,
        sent: &Outline,
        root: Hash,
        page: usize,
    ) -> Result<VerifiedOutline, ProofError> {
        let mut builder = OutlineBuilder::new(own, sent.size, root)?;
        builder.proof(&sent.proof)?;
        for hashes in sent.subtrees.chunks(page) {
            builder.page(hashes)?;
        }
        builder.finish(sent.tail)
    }

    fn holds(log: &Memory, from: u64, size: u64, page: usize) -> VerifiedOutline {
        let sent = outline(log, from, size).unwrap();
        let root = root_at(log, size).unwrap();
        let own = at(log, from);
        let verified = receive(&own, &sent, root, page).unwrap();
        assert_eq!((verified.size(), verified.root()), (size, root));
        let mut next = from;
        for subtree in verified.subtrees() {
            let missing = verified.missing(subtree, from);
            assert_eq!(missing.start, next);
            next = missing.end;
            let leaves = &log.leaves[missing.start as usize..missing.end as usize];
            let whole = &log.leaves[(subtree * 256) as usize..missing.end as usize];
            assert_eq!(verified.expected(subtree), Some(naive_root(whole)));
            assert_eq!(verified.check(subtree, &own, leaves), Ok(()));
        }
        assert_eq!(next, size);
        verified
    }

    #[test]
    fn outlines_at_the_edges_of_subtrees_hold() {
        let log = Memory::of(1030);
        for from in [0, 1, 255, 256, 257, 511, 512, 700, 768, 1023, 1024, 1030] {
            for size in [0, 1, 255, 256, 257, 512, 700, 768, 1023, 1024, 1025, 1030] {
                if from <= size {
                    holds(&log, from, size, 2);
                }
            }
        }
    }

    #[test]
    fn any_changed_hash_of_an_outline_is_refused() {
        let log = Memory::of(1500);
        for (from, size) in
            [(0, 1500), (0, 1024), (300, 1500), (512, 1500), (300, 1280), (1300, 1500)]
        {
            let (root, own) = (root_at(&log, size).unwrap(), at(&log, from));
            let sent = outline(&log, from, size).unwrap();
            for at in 0..sent.subtrees.len() {
                let mut bad = sent.clone();
                bad.subtrees[at] = flipped(bad.subtrees[at]);
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Mismatch));
            }
            for at in 0..sent.proof.len() {
                let mut bad = sent.clone();
                bad.proof[at] = flipped(bad.proof[at]);
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Inconsistent));
            }
            if let Some(tail) = sent.tail {
                let bad = Outline { tail: Some(flipped(tail)), ..sent.clone() };
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Mismatch));
                let bad = Outline { tail: None, ..sent.clone() };
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Length));
            } else {
                let bad = Outline { tail: Some(root), ..sent.clone() };
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Length));
            }
            if !sent.subtrees.is_empty() {
                let mut bad = sent.clone();
                bad.subtrees.pop();
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Length));
                let mut bad = sent.clone();
                bad.subtrees.push(root);
                assert_eq!(receive(&own, &bad, root, 3), Err(ProofError::Length));
            }
            assert!(receive(&own, &sent, flipped(root), 3).is_err());
        }
    }

    #[test]
    fn a_fork_shows_before_any_subtree_is_taken() {
        let log = Memory::of(900);
        let mut entries = Memory::of(900).leaves;
        entries[3] = leaf_hash(b"another history");
        let forked = Memory::over(entries);
        let sent = outline(&forked, 600, 900).unwrap();
        let root = root_at(&forked, 900).unwrap();
        let mut builder = OutlineBuilder::new(&at(&log, 600), 900, root).unwrap();
        assert_eq!(builder.proof(&sent.proof), Err(ProofError::Inconsistent));
        assert_eq!(builder.page(&sent.subtrees), Err(ProofError::Unproven));
        assert_eq!(builder.finish(sent.tail).err(), Some(ProofError::Unproven));
    }

    #[test]
    fn sizes_out_of_range_are_refused_before_anything_is_held() {
        let log = Memory::of(10);
        let root = root_at(&log, 10).unwrap();
        let error = |size| OutlineBuilder::new(&at(&log, 10), size, root).err();
        assert_eq!(error(9), Some(ProofError::Range));
        assert_eq!(error(limits::LOG_ENTRIES), None);
        assert_eq!(error(limits::LOG_ENTRIES + 1), Some(ProofError::TooLarge));
        assert_eq!(error(u64::MAX), Some(ProofError::TooLarge));
        assert_eq!(outline(&log, 10, 9), Err(LogError::Range));
    }

    #[test]
    fn pages_are_bounded() {
        let root = leaf_hash(b"root");
        let mut builder = OutlineBuilder::new(&Frontier::new(), limits::LOG_ENTRIES, root).unwrap();
        builder.proof(&[]).unwrap();
        assert_eq!(builder.page(&[]), Err(ProofError::Length));
        let page = vec![root; limits::OUTLINE_HASHES + 1];
        assert_eq!(builder.page(&page), Err(ProofError::Length));
        assert_eq!(builder.next(), Some(0));
        assert_eq!(builder.page(&page[1..]), Ok(()));
        assert_eq!(builder.next(), Some(limits::OUTLINE_HASHES as u64));
    }

    #[test]
    fn a_subtree_takes_exactly_the_leaves_that_are_missing() {
        let log = Memory::of(700);
        let verified = holds(&log, 300, 700, 1);
        let own = at(&log, 300);
        let first = &log.leaves[300..512];
        assert_eq!(verified.subtrees(), 1..3);
        assert_eq!(verified.check(1, &own, &first[1..]), Err(ProofError::Length));
        assert_eq!(verified.check(1, &own, &log.leaves[256..512]), Err(ProofError::Length));
        assert_eq!(verified.check(0, &own, &log.leaves[..256]), Err(ProofError::Range));
        assert_eq!(verified.check(3, &own, first), Err(ProofError::Range));
        assert_eq!(verified.check(u64::MAX, &own, first), Err(ProofError::Range));
        let mut swapped = first.to_vec();
        swapped.swap(4, 5);
        assert_eq!(verified.check(1, &own, &swapped), Err(ProofError::Mismatch));
        // What was held must fit too: another history below entry 300 is found out.
        let mut others = log.leaves[..300].to_vec();
        others[299] = flipped(others[299]);
        assert_eq!(verified.check(1, &grown(&others), first), Err(ProofError::Mismatch));
        // The receiver may have grown in the meantime.
        let grown_since = at(&log, 400);
        assert_eq!(verified.check(1, &grown_since, &log.leaves[400..512]), Ok(()));
        let past = at(&log, 512);
        assert_eq!(verified.check(1, &past, &[]), Err(ProofError::Range));
        assert_eq!(verified.check(2, &past, &log.leaves[512..700]), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn outlines_of_any_size_hold(size in 0u64..3000, from in 0u64..3000, page in 1usize..5) {
            let log = Memory::of(size);
            holds(&log, from % (size + 1), size, page);
        }
    }
}
