//! How a stored log grows: the checks every append passes, whatever keeps it.
//!
//! **Invariant:** a log only grows, by entries whose leaves lead to the tree
//! that was announced; its signed head never goes back and always lies on the
//! stored history. The protocol checked all of it before; here it is checked
//! once more because what is stored wrongly is served wrongly ever after.
//! Deliberately absent: signatures.

use std::collections::BTreeMap;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::limits::{SUBTREE_ENTRIES, SUBTREE_LEVEL};
use tallystick_protocol::log::Frontier;
use tallystick_protocol::sync::{Append, StoredLog};

use super::{Refusal, SignedHead, StoreError};

/// What a replica is asked to add to a log; [`Append`] with the head taken apart.
#[derive(Clone, Debug)]
pub struct Extension<'a> {
    /// The log.
    pub log: LogId,
    /// Index of the first entry.
    pub start: u64,
    /// The entries; none when only the head changes.
    pub entries: &'a [Entry],
    /// The tree after the entries.
    pub frontier: Frontier,
    /// The newest signed head; `None` leaves it as it is.
    pub head: Option<SignedHead>,
    /// Change counter of this change.
    pub changed: u64,
}

impl<'a> From<&'a Append> for Extension<'a> {
    fn from(append: &'a Append) -> Self {
        Self {
            log: append.log,
            start: append.start,
            entries: &append.entries,
            frontier: append.frontier.clone(),
            head: append.head.as_ref().map(SignedHead::from),
            changed: append.changed,
        }
    }
}

/// What is known of a log besides its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogState {
    pub(super) frontier: Frontier,
    pub(super) head: Option<SignedHead>,
    pub(super) changed: u64,
    pub(super) absent: u64,
    /// Bytes of headers and bodies, as they came.
    pub(super) bytes: u64,
}

impl LogState {
    /// As the machine wants to see it at start.
    pub(super) fn stored(&self, log: LogId) -> StoredLog {
        StoredLog {
            log,
            frontier: self.frontier.clone(),
            head: self.head.as_ref().map(|head| head.note.clone()),
            changed: self.changed,
            absent: self.absent,
            bytes: self.bytes,
        }
    }

    /// Takes an extension, or says why not; what it left then is of no use.
    ///
    /// `older_root` gives the root of a size that the log had before `roots` was
    /// made; `subtree` hears the number and root of each 256-entry subtree that
    /// becomes complete.
    pub(super) fn extend(
        &mut self,
        extension: &Extension<'_>,
        roots: &mut Roots,
        older_root: impl FnOnce(u64) -> Option<Hash>,
        subtree: impl FnMut(u64, Hash),
    ) -> Result<(), StoreError> {
        let refused = |why| StoreError::Refused { log: extension.log, why };
        let leaves = extension.entries.iter().map(Entry::leaf);
        self.grow(extension.start, leaves, roots, subtree).map_err(refused)?;
        if let Some(head) = &extension.head {
            self.sign(head, roots, older_root).map_err(refused)?;
        }
        if self.frontier != extension.frontier {
            return Err(refused(Refusal::Tree));
        }
        self.absent +=
            extension.entries.iter().filter(|entry| entry.body().is_none()).count() as u64;
        self.bytes += extension.entries.iter().map(|entry| entry.size() as u64).sum::<u64>();
        self.changed = self.changed.max(extension.changed);
        Ok(())
    }

    /// A log that begins again with `frontier`, under `head` or none.
    pub(super) fn begin(
        frontier: Frontier,
        head: Option<&SignedHead>,
        older_root: impl FnOnce(u64) -> Option<Hash>,
    ) -> Result<Self, Refusal> {
        let mut state = Self { frontier, ..Self::default() };
        if let Some(head) = head {
            state.sign(head, &Roots::default(), older_root)?;
        }
        Ok(state)
    }

    /// Adds leaves.
    pub(super) fn grow(
        &mut self,
        start: u64,
        leaves: impl IntoIterator<Item = Hash>,
        roots: &mut Roots,
        mut subtree: impl FnMut(u64, Hash),
    ) -> Result<(), Refusal> {
        let size = self.frontier.size();
        if start != size {
            return Err(Refusal::Gap { size, start });
        }
        let mut tree = Tree::of(&self.frontier);
        roots.pass(&tree)?;
        for leaf in leaves {
            if let Some((number, root)) = tree.push(leaf)? {
                subtree(number, root);
            }
            roots.pass(&tree)?;
        }
        self.frontier = tree.frontier()?;
        Ok(())
    }

    /// Takes a signed head.
    pub(super) fn sign(
        &mut self,
        head: &SignedHead,
        roots: &Roots,
        older_root: impl FnOnce(u64) -> Option<Hash>,
    ) -> Result<(), Refusal> {
        let forward = self.head.as_ref().is_none_or(|old| old.size <= head.size);
        let root = roots.at(head.size).or_else(|| older_root(head.size));
        if !forward || head.size > self.frontier.size() || root != Some(head.root) {
            return Err(Refusal::Head);
        }
        self.head = Some(head.clone());
        Ok(())
    }
}

/// The roots a log passes through on its way, at the sizes somebody will ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots(BTreeMap<u64, Option<Hash>>);

impl Roots {
    /// Those of the heads that one log gets in one call.
    pub(super) fn wanted(log: &LogId, extensions: &[Extension<'_>]) -> Self {
        let of_log = extensions.iter().filter(|extension| extension.log == *log);
        let heads = of_log.filter_map(|extension| extension.head.as_ref());
        Self(heads.map(|head| (head.size, None)).collect())
    }

    /// That of one head.
    pub(super) fn of(head: Option<&SignedHead>) -> Self {
        Self(head.map(|head| (head.size, None)).into_iter().collect())
    }

    fn pass(&mut self, tree: &Tree) -> Result<(), Refusal> {
        if let Some(root) = self.0.get_mut(&tree.size()) {
            *root = Some(tree.frontier()?.root());
        }
        Ok(())
    }

    fn at(&self, size: u64) -> Option<Hash> {
        self.0.get(&size).copied().flatten()
    }
}

/// A frontier in two parts, so that the roots of complete subtrees show.
struct Tree {
    /// Whole subtrees.
    whole: Frontier,
    /// Leaves after them; fewer than a subtree has.
    rest: Frontier,
}

impl Tree {
    fn of(frontier: &Frontier) -> Self {
        let (whole, rest) = (frontier.aligned(SUBTREE_LEVEL), frontier.remainder(SUBTREE_LEVEL));
        Self { whole, rest }
    }

    const fn size(&self) -> u64 {
        self.whole.size() + self.rest.size()
    }

    fn push(&mut self, leaf: Hash) -> Result<Option<(u64, Hash)>, Refusal> {
        self.rest.push(leaf);
        if self.rest.size() < SUBTREE_ENTRIES {
            return Ok(None);
        }
        let (number, root) = (self.whole.size() / SUBTREE_ENTRIES, self.rest.root());
        self.whole.push_subtree(SUBTREE_LEVEL, root).map_err(|_| Refusal::Tree)?;
        self.rest = Frontier::new();
        Ok(Some((number, root)))
    }

    fn frontier(&self) -> Result<Frontier, Refusal> {
        let peaks = [self.whole.peaks(), self.rest.peaks()].concat();
        Frontier::from_peaks(self.size(), peaks).map_err(|_| Refusal::Tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tallystick_protocol::log::leaf_hash;

    fn leaves(range: core::ops::Range<u64>) -> Vec<Hash> {
        range.map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn frontier(size: u64) -> Frontier {
        let mut frontier = Frontier::new();
        leaves(0..size).into_iter().for_each(|leaf| frontier.push(leaf));
        frontier
    }

    fn head(size: u64) -> SignedHead {
        SignedHead { size, root: frontier(size).root(), note: vec![1] }
    }

    fn state(size: u64) -> LogState {
        LogState { frontier: frontier(size), ..LogState::default() }
    }

    /// Adds leaves and then a head, as one call does.
    fn grow(
        state: &mut LogState,
        start: u64,
        end: u64,
        head: &SignedHead,
    ) -> Result<Vec<(u64, Hash)>, Refusal> {
        let (mut subtrees, mut roots) = (Vec::new(), Roots::of(Some(head)));
        let subtree = |number, root| subtrees.push((number, root));
        state.grow(start, leaves(start..end), &mut roots, subtree)?;
        state.sign(head, &roots, |size| Some(frontier(size).root()))?;
        Ok(subtrees)
    }

    proptest! {
        #[test]
        fn growing_gives_the_same_tree_and_every_subtree_once(
            size in 0u64..700,
            more in 0u64..700,
            at in 0u64..1400,
        ) {
            let mut state = state(size);
            let head = head(at.min(size + more));
            let subtrees = grow(&mut state, size, size + more, &head).unwrap();
            prop_assert_eq!(&state.frontier, &frontier(size + more));
            let expected: Vec<_> = (size / 256..(size + more) / 256)
                .map(|number| {
                    let mut block = Frontier::new();
                    let leaves = leaves(number * 256..(number + 1) * 256);
                    leaves.into_iter().for_each(|leaf| block.push(leaf));
                    (number, block.root())
                })
                .collect();
            prop_assert_eq!(subtrees, expected);
            prop_assert_eq!(state.head, Some(head));
        }

        #[test]
        fn a_head_off_the_history_is_refused_at_every_size(
            size in 0u64..40,
            more in 0u64..40,
            at in 0u64..80,
        ) {
            let wrong = SignedHead { root: leaf_hash(b"other"), ..head(at) };
            prop_assert_eq!(grow(&mut state(size), size, size + more, &wrong), Err(Refusal::Head));
        }
    }

    #[test]
    fn gaps_and_heads_that_go_back_or_beyond_are_refused() {
        let mut state = state(10);
        let gap = Err(Refusal::Gap { size: 10, start: 11 });
        assert_eq!(grow(&mut state, 11, 12, &head(11)), gap);
        grow(&mut state, 10, 10, &head(10)).unwrap();
        assert_eq!(grow(&mut state, 10, 10, &head(9)), Err(Refusal::Head));
        assert_eq!(grow(&mut state, 10, 10, &head(11)), Err(Refusal::Head));
        grow(&mut state, 10, 10, &head(10)).unwrap();
    }
}
