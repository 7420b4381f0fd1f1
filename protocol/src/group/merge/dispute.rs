//! Who overrules whom: restrictions against what their subjects say behind them,
//! and joins that use one invitation.

use super::{Merge, View, subject};
use crate::group::Role;
use crate::group::operation::{ControlEntry, LogEnd, Operation};
use crate::id::AuthorityId;

/// What a removal, or the assignment of a role, leaves to its subject.
pub(super) struct Restriction {
    subject: AuthorityId,
    leaves: Option<Role>,
    end: LogEnd,
}

impl Merge<'_> {
    /// What entry `at` restricts, if it does.
    pub(super) fn restriction(&self, at: usize) -> Option<Restriction> {
        match &self.order.entry(at)?.operation {
            Operation::Remove { authority, end } => {
                Some(Restriction { subject: *authority, leaves: None, end: *end })
            }
            Operation::Assign { authority, grant, end } if grant.role() < Role::Convenor => {
                let leaves = Some(grant.role());
                Some(Restriction { subject: *authority, leaves, end: *end })
            }
            _ => None,
        }
    }

    pub(super) fn find_disputes(&mut self) {
        let mut against = vec![Vec::new(); self.order.len()];
        let mut rivals = vec![Vec::new(); self.order.len()];
        for by in 0..self.order.len() {
            let Some(restriction) = self.restriction(by) else { continue };
            for at in self.restricted(by, &restriction) {
                if let Some(list) = against.get_mut(at) {
                    list.push(by);
                }
            }
        }
        for joins in self.joins.values() {
            for &at in joins {
                let Some(list) = rivals.get_mut(at) else { continue };
                list.extend(joins.iter().filter(|other| self.order.concurrent(at, **other)));
            }
        }
        (self.against, self.rivals) = (against, rivals);
    }

    /// What a restriction overrules, unless somebody vouches: entries beyond the
    /// named end of its subject's log that need more than is left, and joins by
    /// its invitations, if they and the restriction had not seen each other.
    fn restricted(&self, by: usize, restriction: &Restriction) -> Vec<usize> {
        let Restriction { subject, leaves, end } = restriction;
        let beyond = |entry: &ControlEntry| {
            needs(&entry.operation) > *leaves && !end.covers(entry.place.version)
        };
        let own = self.authors.get(subject).into_iter().flatten();
        let own = own.filter(|at| self.order.entry(**at).is_some_and(beyond));
        let invites = self.invites.iter().filter(|at| {
            let issued = self.order.entry(**at).is_some_and(|entry| entry.author() == *subject);
            issued && *leaves < Some(Role::Convenor)
        });
        let joins = invites.filter_map(|at| self.joins.get(at)).flatten();
        let mut found: Vec<usize> = own.chain(joins).copied().collect();
        found.retain(|at| self.order.concurrent(*at, by));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What overrules entry `at`, if what speaks against it is taken as `view` says.
    pub(super) fn overruled(&self, view: View, at: usize) -> Option<usize> {
        let restrictions = self.against.get(at).into_iter().flatten();
        let mut active = restrictions.filter(|by| self.bounds(**by).get(view)).peekable();
        if active.peek().is_some() {
            let thirds = self.thirds(view.other(), at);
            let vouched =
                |by| thirds.iter().any(|third| self.vouches(view.other(), *third, at, by));
            if let Some(by) = active.find(|by| !vouched(**by)) {
                return Some(*by);
            }
        }
        let mut rivals = self.rivals.get(at).into_iter().flatten();
        rivals.find(|by| self.bounds(**by).get(view) && self.prevails(view, **by, at)).copied()
    }

    /// The restrictions that may overrule entry `at`.
    pub(super) fn opponents(&self, at: usize) -> impl Iterator<Item = usize> {
        let against = self.against.get(at).into_iter().flatten().copied();
        against.filter(|by| self.bounds(*by).may)
    }

    /// How many may vouch for entry `at` against any of its opponents.
    pub(super) fn witnesses(&self, at: usize) -> usize {
        let thirds = self.thirds(View::May, at);
        let vouches =
            |third: &&usize| self.opponents(at).any(|by| self.vouches(View::May, **third, at, by));
        thirds.iter().filter(vouches).count()
    }

    fn about(&self, at: usize) -> Option<AuthorityId> {
        self.order.entry(at).and_then(subject)
    }

    /// For each authority that entry `at` is neither by nor about, its first
    /// entry that counts and has seen `at`. Later ones have seen all
    /// that this has, so they can vouch against nothing that it cannot.
    fn thirds(&self, view: View, at: usize) -> Vec<usize> {
        let author = self.order.entry(at).map(ControlEntry::author);
        let third = |who: &AuthorityId| Some(*who) != author && Some(*who) != self.about(at);
        let first = |own: &Vec<usize>| {
            let known = |one: &&usize| self.order.saw(**one, at) && self.bounds(**one).get(view);
            own.iter().find(known).copied()
        };
        let authors = self.authors.iter().filter(|(who, _)| third(who));
        authors.filter_map(|(_, own)| first(own)).collect()
    }

    /// Whether somebody vouches for entry `at` against `by`: a writing member of
    /// those that the author of `by` knew, and no party to the matter, has seen
    /// the one without having seen the other.
    pub(super) fn vouched(&self, view: View, at: usize, by: usize) -> bool {
        self.thirds(view, at).iter().any(|third| self.vouches(view, *third, at, by))
    }

    fn vouches(&self, view: View, third: usize, at: usize, by: usize) -> bool {
        let Some(entry) = self.order.entry(third) else { return false };
        self.could_vouch(third, at, by)
            && self.holds(view, &entry.author(), Some(self.known_at(by)), Role::Member)
    }

    /// Whether `witness` is by no party to the matter and has seen the one
    /// without the other.
    pub(super) fn could_vouch(&self, witness: usize, at: usize, by: usize) -> bool {
        self.order.saw(witness, at)
            && !self.order.saw(witness, by)
            && witness != by
            && !self.parties(at, by).contains(&self.order.entry(witness).map(ControlEntry::author))
    }

    /// Where it is settled who may vouch in the matter of `by`: at a restriction
    /// itself, at the invitation that a join uses.
    pub(super) fn known_at(&self, by: usize) -> usize {
        match self.order.entry(by).map(|entry| &entry.operation) {
            Some(Operation::Join(join)) => self.order.find(&join.invitation).unwrap_or(by),
            _ => by,
        }
    }

    /// Those who speak, and those who are spoken of.
    fn parties(&self, at: usize, by: usize) -> [Option<AuthorityId>; 4] {
        let author = |at| self.order.entry(at).map(ControlEntry::author);
        [author(at), author(by), self.about(at), self.about(by)]
    }

    /// Whether join `by` prevails over join `at` on the same invitation: the one
    /// that somebody vouches for; of none or both, the one with the lowest leaf.
    fn prevails(&self, view: View, by: usize, at: usize) -> bool {
        let key = |at: usize| self.order.entry(at).map(|e| (e.place.leaf, e.place));
        let ours = self.vouched(view, by, at);
        let theirs = self.vouched(view.other(), at, by);
        if key(by) < key(at) { ours || !theirs } else { ours && !theirs }
    }
}

/// The least role that an operation needs; none for what is open to everybody.
fn needs(operation: &Operation) -> Option<Role> {
    match operation {
        Operation::Invite(_) | Operation::Assign { .. } | Operation::Remove { .. } => {
            Some(Role::Convenor)
        }
        Operation::Epoch(_) | Operation::Continue { .. } => Some(Role::Member),
        Operation::Acknowledge => Some(Role::Observer),
        Operation::Create(_) | Operation::Join(_) | Operation::Leave => None,
    }
}
