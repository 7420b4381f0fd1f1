//! What remains undecided: entries that depend on each other in a circle.

use super::{Merge, subject};
use crate::group::operation::{ControlEntry, Operation};

impl Merge<'_> {
    /// The circles among the undecided entries that depend on nothing undecided
    /// beside themselves; none if everything is decided. They do not concern
    /// each other.
    pub(super) fn circles(&self) -> Vec<Vec<usize>> {
        let open: Vec<usize> =
            (0..self.order.len()).filter(|at| self.bounds(*at).is_open()).collect();
        let mut graph = Graph::new(open.len());
        for (from, at) in open.iter().enumerate() {
            for (to, other) in open.iter().enumerate() {
                if from != to && self.hangs_on(*at, *other) {
                    graph.connect(from, to);
                }
            }
        }
        let entries = |circle: Vec<usize>| {
            circle.into_iter().filter_map(|node| open.get(node).copied()).collect()
        };
        graph.last_components().into_iter().map(entries).collect()
    }

    /// Whether the verdict on `at` may depend on that on `other`: an opponent,
    /// who might vouch for one side, or what gave somebody concerned a role.
    fn hangs_on(&self, at: usize, other: usize) -> bool {
        let none = Vec::new();
        let against = self.against.get(at).unwrap_or(&none);
        let rivals = self.rivals.get(at).unwrap_or(&none);
        let opposes = |list: &[usize]| list.binary_search(&other).is_ok();
        if self.matters(at, other) || opposes(against) || opposes(rivals) {
            return true;
        }
        let mut opponents = against.iter().chain(rivals).filter(|by| self.bounds(**by).may);
        opponents.any(|by| self.may_speak(other, at, *by) || self.may_speak(other, *by, at))
    }

    /// Whether it may depend on `other` who vouches for `at` against `by`: by its
    /// own word, or because it sets the role of somebody who has one.
    fn may_speak(&self, other: usize, at: usize, by: usize) -> bool {
        let sets_role = self.order.entry(other).and_then(subject).is_some();
        self.could_vouch(other, at, by) || (sets_role && self.order.saw(self.known_at(by), other))
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
            // Whether there is room for one more is a question of all that it had seen.
            Operation::Invite(_) if self.may_be_full() => return true,
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

/// Which node leads to which, as rows of bits.
pub(super) struct Graph {
    nodes: usize,
    words: usize,
    rows: Vec<u64>,
}

/// What the search for components knows of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// When it was found, from 1; 0 as long as it was not.
    found: usize,
    /// The earliest that it leads back to.
    low: usize,
    /// Whether its component is complete.
    done: bool,
}

impl Graph {
    pub(super) fn new(nodes: usize) -> Self {
        let words = nodes.div_ceil(64);
        Self { nodes, words, rows: vec![0; nodes * words] }
    }

    pub(super) fn connect(&mut self, from: usize, to: usize) {
        if let Some(bits) = self.rows.get_mut(from * self.words + to / 64) {
            *bits |= 1 << (to % 64);
        }
    }

    /// The first node from `start` on that `from` leads to.
    fn next(&self, from: usize, start: usize) -> Option<usize> {
        let row = self.rows.get(from * self.words..(from + 1) * self.words)?;
        let mut word = start / 64;
        let mut bits = row.get(word)? & (u64::MAX << (start % 64));
        while bits == 0 {
            word += 1;
            bits = *row.get(word)?;
        }
        usize::try_from(bits.trailing_zeros()).ok().map(|bit| word * 64 + bit)
    }

    /// The strongly connected components that lead nowhere else: Tarjan's
    /// algorithm, with a list of its own for what is being visited.
    pub(super) fn last_components(&self) -> Vec<Vec<usize>> {
        let mut search = Search { graph: self, marks: vec![Mark::default(); self.nodes], count: 0 };
        let mut last = Vec::new();
        for root in 0..self.nodes {
            if search.mark(root).found == 0 {
                search.visit(root, &mut last);
            }
        }
        last
    }
}

/// Tarjan's search on its way.
struct Search<'a> {
    graph: &'a Graph,
    marks: Vec<Mark>,
    count: usize,
}

impl Search<'_> {
    fn mark(&self, node: usize) -> Mark {
        self.marks.get(node).copied().unwrap_or_default()
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Mark)) {
        if let Some(mark) = self.marks.get_mut(node) {
            change(mark);
        }
    }

    fn find(&mut self, node: usize) {
        self.count += 1;
        let count = self.count;
        self.change(node, |mark| (mark.found, mark.low) = (count, count));
    }

    fn visit(&mut self, root: usize, last: &mut Vec<Vec<usize>>) {
        let mut path = vec![(root, 0)];
        let mut pending = vec![root];
        self.find(root);
        while let Some((node, start)) = path.pop() {
            let Some(to) = self.graph.next(node, start) else {
                self.leave(node, path.last().map(|(above, _)| *above), &mut pending, last);
                continue;
            };
            path.push((node, to + 1));
            let mark = self.mark(to);
            if mark.found == 0 {
                self.find(to);
                pending.push(to);
                path.push((to, 0));
            } else if !mark.done {
                self.change(node, |own| own.low = own.low.min(mark.found));
            }
        }
    }

    /// All that `node` leads to has been seen.
    fn leave(
        &mut self,
        node: usize,
        above: Option<usize>,
        pending: &mut Vec<usize>,
        last: &mut Vec<Vec<usize>>,
    ) {
        let Mark { found, low, .. } = self.mark(node);
        if let Some(above) = above {
            self.change(above, |mark| mark.low = mark.low.min(low));
        }
        if low != found {
            return;
        }
        let start = pending.iter().rposition(|one| *one == node).unwrap_or(0);
        let mut component = pending.split_off(start);
        component.sort_unstable();
        component.iter().for_each(|one| self.change(*one, |mark| mark.done = true));
        let leads_out = component.iter().any(|from| {
            let mut next = self.graph.next(*from, 0);
            while let Some(to) = next {
                if component.binary_search(&to).is_err() {
                    return true;
                }
                next = self.graph.next(*from, to + 1);
            }
            false
        });
        if !leads_out {
            last.push(component);
        }
    }
}
