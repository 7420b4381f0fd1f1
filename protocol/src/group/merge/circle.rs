//! What remains undecided: entries that depend on each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Merge, subject};
use crate::group::operation::{ControlEntry, Operation};

/// For each undecided entry the undecided ones that its verdict may hang on.
type Edges = BTreeMap<usize, Vec<usize>>;

impl Merge<'_> {
    /// Undecided entries that depend on each other and on nothing undecided
    /// beside themselves; empty if everything is decided. Several such circles
    /// do not concern each other, so it does not matter which comes first.
    pub(super) fn circle(&self) -> Vec<usize> {
        let open: Vec<usize> =
            (0..self.order.len()).filter(|at| self.bounds(*at).is_open()).collect();
        let hangs = |at: &usize| open.iter().filter(|o| self.hangs_on(*at, **o)).copied().collect();
        let edges: Edges = open.iter().map(|at| (*at, hangs(at))).collect();
        let Some(mut from) = open.first().copied() else { return Vec::new() };
        let mut within = reach(from, &edges);
        // Whatever does not lead back leads to a smaller set, until all do.
        while let Some((next, reached)) = within.iter().find_map(|at| {
            let reached = reach(*at, &edges);
            (!reached.contains(&from)).then_some((*at, reached))
        }) {
            (from, within) = (next, reached);
        }
        within.into_iter().collect()
    }

    /// Whether the verdict on `at` may depend on that on `other`: an opponent,
    /// who might vouch for one side, or what gave somebody concerned a role.
    fn hangs_on(&self, at: usize, other: usize) -> bool {
        let none = Vec::new();
        let against = self.against.get(at).unwrap_or(&none);
        let rivals = self.rivals.get(at).unwrap_or(&none);
        let mut opponents = against.iter().chain(rivals).filter(|by| self.bounds(**by).may);
        self.matters(at, other)
            || opponents.any(|by| {
                let vouches = self.could_vouch(other, at, *by) || self.could_vouch(other, *by, at);
                *by == other || vouches || self.matters(*by, other)
            })
    }

    /// Whether what `at` had seen of somebody's role depends on `other`.
    fn matters(&self, at: usize, other: usize) -> bool {
        let (Some(entry), Some(seen)) = (self.order.entry(at), self.order.entry(other)) else {
            return false;
        };
        if !self.order.saw(at, other) {
            return false;
        }
        let invitation = match &entry.operation {
            Operation::Continue { .. } => return true,
            Operation::Join(join) => Some(join.invitation),
            _ => None,
        };
        let issuer = invitation.map(|invitation| invitation.authority);
        let about = subject(seen);
        let concerned = [Some(entry.author()), subject(entry), issuer];
        Some(ControlEntry::place(seen)) == invitation
            || (about.is_some() && concerned.contains(&about))
    }
}

/// An entry and all that its verdict hangs on.
fn reach(from: usize, edges: &Edges) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        let fresh = edges.get(&at).into_iter().flatten().filter(|other| reached.insert(**other));
        next.extend(fresh);
    }
    reached
}
