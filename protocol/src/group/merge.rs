//! How a set of control entries becomes one verdict on each of them.
//!
//! The rules are those of [`super::membership`]; here is how they are decided.
//! They refer to each other: whether a removal counts may depend on another
//! removal, whether that one counts on who vouched for what, and so on. So each
//! entry is held between two bounds: it *surely* counts, or it *may* count.
//! Everything may at first, and nothing surely does. A round narrows both: what
//! speaks for an entry is taken at its best for the upper bound and at its
//! worst for the lower one. What remains between them when nothing changes any
//! more is a circle: convenors who remove each other, and perhaps each other's
//! witnesses. A circle that depends on nothing undecided outside is settled by
//! itself ([`answer`]), and the rounds go on.
//!
//! **Invariant:** the verdicts depend on the set alone. Each round moves at least
//! one entry, so there are at most twice as many rounds as entries.
//! Deliberately absent: recursion, and the order in which entries came.

mod answer;
mod causality;
mod circle;
mod dispute;
mod right;

use std::collections::BTreeMap;

use self::causality::Causality;
use super::membership::Refusal;
use super::operation::{ControlEntry, EntryRef, Operation, Terms};
use super::{Grant, Role, group_id};
use crate::id::{AuthorityId, GroupId, Hash, NetworkName};

/// Which bound is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// What certainly counts.
    Sure,
    /// What may count.
    May,
}

impl View {
    const fn other(self) -> Self {
        match self {
            Self::Sure => Self::May,
            Self::May => Self::Sure,
        }
    }
}

/// One truth for each bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    sure: bool,
    may: bool,
}

impl Bounds {
    /// What is decided.
    const fn of(counts: bool) -> Self {
        Self { sure: counts, may: counts }
    }

    const fn get(self, view: View) -> bool {
        match view {
            View::Sure => self.sure,
            View::May => self.may,
        }
    }

    const fn is_open(self) -> bool {
        self.may && !self.sure
    }
}

/// Control entries of one group, with what has been decided of them.
pub(super) struct Merge<'a> {
    order: Causality<'a>,
    /// The entry that began the group, what it says, and the hash of that.
    root: Option<(usize, &'a Terms, Hash)>,
    /// Entries by author, in causal order.
    authors: BTreeMap<AuthorityId, Vec<usize>>,
    /// Entries that set an authority's role if they count, in causal order.
    ruling: BTreeMap<AuthorityId, Vec<usize>>,
    invites: Vec<usize>,
    votes: Vec<usize>,
    /// Joins by the invitation they use.
    joins: BTreeMap<usize, Vec<usize>>,
    /// Entries that would overrule an entry.
    against: Vec<Vec<usize>>,
    /// Other joins on the same invitation that neither saw.
    rivals: Vec<Vec<usize>>,
    counts: Vec<Bounds>,
    /// Whether a vote to continue makes its candidate a convenor.
    carried: Vec<Bounds>,
}

impl<'a> Merge<'a> {
    /// Merges `set`, all of it entries of `group`.
    pub(super) fn of(
        network: &NetworkName,
        group: &GroupId,
        set: &BTreeMap<EntryRef, &'a ControlEntry>,
    ) -> Self {
        let order = Causality::of(set);
        let root = root(&order, network, group);
        let len = order.len();
        let open = Bounds { sure: false, may: true };
        let mut merge = Self {
            order,
            root,
            authors: BTreeMap::new(),
            ruling: BTreeMap::new(),
            invites: Vec::new(),
            votes: Vec::new(),
            joins: BTreeMap::new(),
            against: Vec::new(),
            rivals: Vec::new(),
            counts: vec![open; len],
            carried: vec![open; len],
        };
        merge.index();
        merge.find_disputes();
        merge.decide();
        merge
    }

    fn index(&mut self) {
        for (at, entry) in self.order.entries().iter().enumerate() {
            self.authors.entry(entry.author()).or_default().push(at);
            if let Some(subject) = subject(entry) {
                self.ruling.entry(subject).or_default().push(at);
            }
            match &entry.operation {
                Operation::Invite(_) => self.invites.push(at),
                Operation::Continue { .. } => self.votes.push(at),
                Operation::Join(join) => {
                    if let Some(invitation) = self.order.find(&join.invitation) {
                        self.joins.entry(invitation).or_default().push(at);
                    }
                }
                _ => {}
            }
        }
    }

    fn decide(&mut self) {
        loop {
            while self.round() {}
            let circles = self.circles();
            if circles.is_empty() {
                return;
            }
            circles.iter().for_each(|circle| self.settle(circle));
        }
    }

    /// Narrows the bounds there and back; says whether anything changed. What an
    /// entry needs stands before it, and who vouches for it behind it.
    fn round(&mut self) -> bool {
        let len = self.order.len();
        let forth = (0..len).fold(false, |changed, at| self.narrow(at) | changed);
        let back = (0..len).rev().fold(false, |changed, at| self.narrow(at) | changed);
        forth | back
    }

    fn narrow(&mut self, at: usize) -> bool {
        let (counts, carried) = (self.bounds(at), self.carries_bounds(at));
        let mut next = counts;
        if counts.is_open() {
            let may = self.overruled(View::Sure, at).is_none();
            next.may = may && self.right(View::May, at).is_ok();
            let sure = next.may && self.overruled(View::May, at).is_none();
            next.sure = sure && self.right(View::Sure, at).is_ok();
            self.set(at, next);
        }
        let mut carries = carried;
        if carried.is_open() && self.is_vote(at) {
            carries.may = next.may && self.carries(View::May, at);
            carries.sure = next.sure && self.carries(View::Sure, at);
            if let Some(place) = self.carried.get_mut(at) {
                *place = carries;
            }
        }
        next != counts || carries != carried
    }

    fn set(&mut self, at: usize, bounds: Bounds) {
        if let Some(place) = self.counts.get_mut(at) {
            *place = bounds;
        }
    }

    fn bounds(&self, at: usize) -> Bounds {
        self.counts.get(at).copied().unwrap_or_default()
    }

    fn carries_bounds(&self, at: usize) -> Bounds {
        self.carried.get(at).copied().unwrap_or_default()
    }

    fn is_vote(&self, at: usize) -> bool {
        matches!(self.order.entry(at).map(|e| &e.operation), Some(Operation::Continue { .. }))
    }

    /// Whether the entry sets the role of its subject: a vote only if it carries.
    fn rules(&self, view: View, at: usize) -> bool {
        let bounds = if self.is_vote(at) { self.carries_bounds(at) } else { self.bounds(at) };
        bounds.get(view)
    }

    /// What an entry gives its subject; nothing if it takes the membership.
    fn given(&self, at: usize) -> Option<Grant> {
        match &self.order.entry(at)?.operation {
            Operation::Create(_) | Operation::Continue { .. } => Some(Grant::of(Role::Convenor)),
            Operation::Assign { grant, .. } => Some(*grant),
            Operation::Join(join) => {
                let invitation = self.order.find(&join.invitation)?;
                match &self.order.entry(invitation)?.operation {
                    Operation::Invite(invite) => Some(invite.grant),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether `authority` has at least `role`, as far as entry `at` had seen; at
    /// the end of everything if absent. The newest entries about an authority
    /// rule; of those that had not seen each other, the one that gives least.
    ///
    /// For the upper bound all that would help is taken to count, for the lower
    /// one all that would hurt.
    fn holds(&self, view: View, authority: &AuthorityId, at: Option<usize>, role: Role) -> bool {
        let mut newest: Vec<usize> = Vec::new();
        for &entry in self.ruling.get(authority).into_iter().flatten().rev() {
            if at.is_some_and(|at| !self.order.saw(at, entry)) || !self.rules(View::May, entry) {
                continue;
            }
            let enough = self.given(entry).is_some_and(|grant| grant.role() >= role);
            let taken = self.rules(View::Sure, entry) || enough == (view == View::May);
            if !taken || newest.iter().any(|newer| self.order.saw(*newer, entry)) {
                continue;
            }
            if !enough {
                return false;
            }
            newest.push(entry);
        }
        !newest.is_empty()
    }

    /// How many authorities have at least `role`, as far as entry `at` had seen.
    fn holders(&self, view: View, at: usize, role: Role) -> usize {
        self.ruling.keys().filter(|who| self.holds(view, who, Some(at), role)).count()
    }

    /// The entries, in causal order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, &'a ControlEntry)> {
        self.order.entries().iter().copied().enumerate()
    }

    /// What the group's creator fixed.
    pub(super) fn terms(&self) -> Option<&'a Terms> {
        self.root.map(|(_, terms, _)| terms)
    }

    pub(super) fn heads(&self) -> Vec<EntryRef> {
        self.order.heads()
    }

    pub(super) fn waiting(&self) -> &[EntryRef] {
        self.order.waiting()
    }

    /// Whether entry `later` had seen entry `earlier`.
    pub(super) fn saw(&self, later: usize, earlier: usize) -> bool {
        self.order.saw(later, earlier)
    }

    /// Whether an entry counts, once all is decided.
    pub(super) fn counts(&self, at: usize) -> bool {
        self.bounds(at).sure
    }

    /// The verdict on an entry, once all is decided.
    pub(super) fn verdict(&self, at: usize) -> Result<(), Refusal> {
        if self.counts(at) {
            return Ok(());
        }
        self.right(View::Sure, at)?;
        let by = self.overruled(View::Sure, at).and_then(|by| self.order.entry(by));
        Err(by.map_or(Refusal::Circle, |by| Refusal::Overruled(by.place())))
    }

    /// Everybody who ever had a role.
    pub(super) fn authorities(&self) -> impl Iterator<Item = AuthorityId> {
        self.ruling.keys().copied()
    }

    /// The newest entries that count about an authority, and what each gives.
    pub(super) fn newest(&self, who: &AuthorityId) -> Vec<(&'a ControlEntry, Option<Grant>)> {
        let mut newest: Vec<usize> = Vec::new();
        for &entry in self.ruling.get(who).into_iter().flatten().rev() {
            let older = newest.iter().any(|newer| self.order.saw(*newer, entry));
            if self.rules(View::Sure, entry) && !older {
                newest.push(entry);
            }
        }
        let entry = |at: usize| Some((self.order.entry(at)?, self.given(at)));
        newest.into_iter().filter_map(entry).collect()
    }

    /// The join that used an invitation.
    pub(super) fn used(&self, invitation: usize) -> Option<&'a ControlEntry> {
        let joins = self.joins.get(&invitation)?;
        joins.iter().find(|at| self.counts(**at)).and_then(|at| self.order.entry(*at))
    }
}

/// Whose role an entry sets.
fn subject(entry: &ControlEntry) -> Option<AuthorityId> {
    match &entry.operation {
        Operation::Create(_) | Operation::Join(_) | Operation::Leave => Some(entry.author()),
        Operation::Assign { authority, .. }
        | Operation::Remove { authority, .. }
        | Operation::Continue { authority } => Some(*authority),
        Operation::Invite(_) | Operation::Epoch(_) | Operation::Acknowledge => None,
    }
}

/// The first `create` of the authority that the group's id commits to.
fn root<'a>(
    order: &Causality<'a>,
    network: &NetworkName,
    group: &GroupId,
) -> Option<(usize, &'a Terms, Hash)> {
    let creates = order.entries().iter().enumerate().filter_map(|(at, entry)| {
        let Operation::Create(terms) = &entry.operation else { return None };
        let fits = group_id(network, &entry.author(), &terms.random) == *group;
        fits.then_some((entry.place(), at, &**terms))
    });
    creates.min_by_key(|(place, ..)| *place).map(|(_, at, terms)| (at, terms, terms.hash()))
}
