//! How a circle is settled: by an answer that satisfies the rules, if it has one.
//!
//! The entries of a circle depend on each other and on nothing else undecided, so
//! whatever is found for them stays true. Restrictions that overrule each other for
//! certain, and that nothing else speaks against, stand. Else answers are tried
//! one after the other: an entry that something speaks against is assumed to count
//! or not to, what follows from that is found, and so on; in the end every verdict
//! must be what the rules say.
//!
//! **Invariant:** an answer that is taken satisfies the rules, and the verdicts of
//! one circle never depend on another that it does not. Deliberately absent:
//! a search without end ([`limits::GROUP_TRIALS`]).

use std::collections::{BTreeMap, BTreeSet};

use super::circle::Graph;
use super::{Bounds, Merge, View};
use crate::limits;

/// One after the other: what is assumed of an entry first, and whether that is still so.
struct Assumption {
    at: usize,
    counts: bool,
    is_first: bool,
}

/// Whether a restriction that stands in a circle has to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has.
    Always,
    /// It may fall as well.
    Mostly,
}

impl Merge<'_> {
    /// Settles a circle.
    pub(super) fn settle(&mut self, circle: &[usize]) {
        if self.stand_together(circle) {
            return;
        }
        let wishes = self.wishes(circle);
        let found = [Standing::Always, Standing::Mostly]
            .into_iter()
            .any(|standing| self.answer(circle, &wishes, standing));
        if !found {
            self.settle_against_all(circle);
        }
    }

    /// Restrictions that speak for certain against each other, by authors who
    /// certainly could, all count, if nothing else may speak against them.
    fn stand_together(&mut self, circle: &[usize]) -> bool {
        let able: Vec<usize> = self.disputed(circle);
        let able: Vec<usize> =
            able.into_iter().filter(|at| self.right(View::Sure, *at).is_ok()).collect();
        // The last node stands for whatever is not among them.
        let mut graph = Graph::new(able.len() + 1);
        for (from, at) in able.iter().enumerate() {
            for by in self.opponents(*at) {
                let certain = !self.vouched(View::May, *at, by);
                if certain || !self.vouched(View::Sure, *at, by) {
                    let to = able.binary_search(&by).ok().filter(|_| certain);
                    graph.connect(from, to.unwrap_or(able.len()));
                }
            }
        }
        let mut found = false;
        for group in graph.last_components() {
            for at in group.into_iter().filter_map(|node| able.get(node).copied()) {
                self.set(at, Bounds::of(true));
                found = true;
            }
        }
        found
    }

    /// The restrictions of a circle that something may speak against.
    fn disputed(&self, circle: &[usize]) -> Vec<usize> {
        let fresh = |at: &usize| {
            self.bounds(*at).is_open()
                && self.restriction(*at).is_some()
                && self.opponents(*at).next().is_some()
        };
        circle.iter().copied().filter(fresh).collect()
    }

    /// What is assumed first of the restrictions in dispute: that one falls if one
    /// with more witnesses, that does not fall itself, speaks against it, and that
    /// the others count. Those that fall come first, then those with more witnesses.
    fn wishes(&self, circle: &[usize]) -> Vec<(usize, bool)> {
        let disputed = self.disputed(circle).into_iter();
        let mut disputed: Vec<(usize, usize)> =
            disputed.map(|at| (self.witnesses(at), at)).collect();
        disputed.sort_by_key(|(witnesses, _)| core::cmp::Reverse(*witnesses));
        let mut firm: BTreeMap<usize, usize> = BTreeMap::new();
        let (mut fall, mut count) = (Vec::new(), Vec::new());
        for (witnesses, at) in &disputed {
            let stronger = |by: usize| firm.get(&by).is_some_and(|more| more > witnesses);
            if self.opponents(*at).any(stronger) {
                fall.push((*at, false));
            } else {
                firm.insert(*at, *witnesses);
                count.push((*at, true));
            }
        }
        fall.append(&mut count);
        fall
    }

    /// Looks for an answer, the nearest to the wishes first, and takes it.
    fn answer(&mut self, circle: &[usize], wishes: &[(usize, bool)], standing: Standing) -> bool {
        let before: Vec<_> = circle.iter().map(|at| self.state(*at)).collect();
        let held: BTreeSet<usize> = wishes.iter().map(|(at, _)| *at).collect();
        let others = circle.iter().filter(|at| !held.contains(at) && self.is_contested(**at));
        let order: Vec<(usize, bool)> =
            wishes.iter().copied().chain(others.map(|at| (*at, true))).collect();
        let mut path: Vec<Assumption> = Vec::new();
        for _ in 0..limits::GROUP_TRIALS / circle.len().max(1) {
            circle.iter().zip(&before).for_each(|(at, state)| self.restore(*at, *state));
            path.iter().for_each(|assumed| self.set(assumed.at, Bounds::of(assumed.counts)));
            self.follow(circle, &held);
            let possible = path.iter().all(|assumed| self.is_possible(assumed));
            let open = order.iter().find(|(at, _)| self.bounds(*at).is_open());
            match open {
                Some((at, counts)) if possible => {
                    path.push(Assumption { at: *at, counts: *counts, is_first: true });
                    continue;
                }
                None if possible && self.is_answer(circle, standing) => return true,
                _ => {}
            }
            while path.pop_if(|last| !last.is_first).is_some() {}
            let Some(last) = path.last_mut() else { break };
            (last.counts, last.is_first) = (!last.counts, false);
        }
        circle.iter().zip(&before).for_each(|(at, state)| self.restore(*at, *state));
        false
    }

    /// Whether something may speak against an entry.
    fn is_contested(&self, at: usize) -> bool {
        let rivals = self.rivals.get(at).into_iter().flatten();
        self.opponents(at).chain(rivals.copied()).next().is_some()
    }

    fn state(&self, at: usize) -> (Bounds, Bounds) {
        (self.bounds(at), self.carries_bounds(at))
    }

    fn restore(&mut self, at: usize, (counts, carried): (Bounds, Bounds)) {
        self.set(at, counts);
        if let Some(place) = self.carried.get_mut(at) {
            *place = carried;
        }
    }

    /// What follows for the rest of a circle from what has been assumed. Of those
    /// that are `held` nothing follows but that their authors could not do it.
    fn follow(&mut self, circle: &[usize], held: &BTreeSet<usize>) {
        let mut changed = true;
        while changed {
            changed = false;
            for &at in circle {
                if held.contains(&at) && self.bounds(at).is_open() {
                    if self.right(View::May, at).is_err() {
                        self.set(at, Bounds::default());
                        changed = true;
                    }
                } else {
                    changed |= self.narrow(at);
                }
            }
        }
    }

    /// Whether an assumption may still prove true.
    fn is_possible(&self, assumed: &Assumption) -> bool {
        let able = self.right(View::May, assumed.at).is_ok();
        if assumed.counts {
            return able;
        }
        let surely_able = self.right(View::Sure, assumed.at).is_ok();
        !surely_able || self.overruled(View::May, assumed.at).is_some()
    }

    /// Whether every verdict in a decided circle is what the rules say.
    fn is_answer(&self, circle: &[usize], standing: Standing) -> bool {
        circle.iter().all(|at| {
            let able = self.right(View::Sure, *at).is_ok();
            let overruled = self.overruled(View::Sure, *at).is_some();
            let stands = || self.stands(*at, circle);
            if self.bounds(*at).sure {
                able && (!overruled || stands())
            } else {
                !able || (overruled && (standing == Standing::Mostly || !stands()))
            }
        })
    }

    /// Whether a restriction stands, or would, though it is overruled: it overrules,
    /// by way of others that count, all that overrule it.
    fn stands(&self, at: usize, circle: &[usize]) -> bool {
        if self.restriction(at).is_none() {
            return false;
        }
        let speaks = |by: usize, at: usize| {
            let against = self.against.get(at).is_some_and(|list| list.binary_search(&by).is_ok());
            against && !self.vouched(View::Sure, at, by)
        };
        let counts = |at: usize| self.bounds(at).sure && self.restriction(at).is_some();
        let mut reached = BTreeSet::from([at]);
        let mut next = vec![at];
        while let Some(by) = next.pop() {
            for &other in circle {
                if counts(other) && !reached.contains(&other) && speaks(by, other) {
                    reached.insert(other);
                    next.push(other);
                }
            }
        }
        let mut against = self.against.get(at).into_iter().flatten();
        against.all(|by| !counts(*by) || !speaks(*by, at) || reached.contains(by))
    }

    /// There is no answer, or none was found in time: what takes counts if its author
    /// could do it, and nothing else counts that something speaks against.
    fn settle_against_all(&mut self, circle: &[usize]) {
        for &at in circle {
            let takes = self.restriction(at).is_some() || !self.is_contested(at);
            self.set(at, Bounds::of(takes && self.right(View::Sure, at).is_ok()));
            self.narrow(at);
        }
    }
}
