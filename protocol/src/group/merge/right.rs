//! Whether an author could do what an entry does, at its causal point.

use super::{Merge, View};
use crate::group::membership::Refusal;
use crate::group::operation::{ControlEntry, Invite, Join, Operation};
use crate::group::{Continuation, Role};
use crate::id::AuthorityId;
use crate::limits;

impl Merge<'_> {
    /// Whether the author of entry `at` could do it, as far as it had seen.
    pub(super) fn right(&self, view: View, at: usize) -> Result<(), Refusal> {
        let Some(entry) = self.order.entry(at) else { return Err(Refusal::Unknown) };
        let (root, ..) = self.root.ok_or(Refusal::Unknown)?;
        if at == root {
            return Ok(());
        }
        if !self.order.saw(at, root) {
            return Err(Refusal::Unknown);
        }
        if self.ordinal(entry, at) >= limits::GROUP_ENTRIES_PER_AUTHORITY {
            return Err(Refusal::TooMany);
        }
        let author = entry.author();
        match &entry.operation {
            Operation::Create(_) => Err(Refusal::Unknown),
            Operation::Invite(_) => {
                self.must_hold(view, &author, at, Role::Convenor)?;
                self.has_room(view, at, entry)
            }
            Operation::Join(join) => self.may_join(view, at, entry, join),
            Operation::Assign { authority, .. } => {
                self.must_hold(view, &author, at, Role::Convenor)?;
                self.must_be_member(view, authority, at)
            }
            Operation::Remove { authority, .. } => {
                self.must_hold(view, &author, at, Role::Convenor)?;
                self.must_be_member(view, authority, at)?;
                if *authority == author { Err(Refusal::Oneself) } else { Ok(()) }
            }
            Operation::Leave | Operation::Acknowledge => {
                self.must_hold(view, &author, at, Role::Observer)
            }
            Operation::Continue { authority } => self.may_continue(view, at, entry, authority),
            Operation::Epoch(_) => self.must_hold(view, &author, at, Role::Member),
        }
    }

    /// How many entries its author's log has before it.
    fn ordinal(&self, entry: &ControlEntry, at: usize) -> usize {
        let own = self.authors.get(&entry.author());
        own.map_or(0, |own| own.partition_point(|other| *other < at))
    }

    fn must_hold(
        &self,
        view: View,
        who: &AuthorityId,
        at: usize,
        role: Role,
    ) -> Result<(), Refusal> {
        if self.holds(view, who, Some(at), role) { Ok(()) } else { Err(Refusal::Role(role)) }
    }

    fn must_be_member(&self, view: View, who: &AuthorityId, at: usize) -> Result<(), Refusal> {
        let member = self.holds(view, who, Some(at), Role::Observer);
        if member { Ok(()) } else { Err(Refusal::NotMember) }
    }

    /// Members and those who may still join are no more than a group may have.
    fn has_room(&self, view: View, at: usize, entry: &ControlEntry) -> Result<(), Refusal> {
        let worst = view.other();
        let members = self.holders(worst, at, Role::Observer);
        let joined = |invitation: usize| {
            let joins = self.joins.get(&invitation).into_iter().flatten();
            joins.into_iter().any(|join| self.order.saw(at, *join) && self.bounds(*join).get(view))
        };
        let pending = self.invites.iter().filter(|invitation| {
            let unexpired = self.invite(**invitation).is_some_and(|i| i.expires >= entry.issued);
            let known = self.order.saw(at, **invitation);
            known && unexpired && self.bounds(**invitation).get(worst) && !joined(**invitation)
        });
        if members + pending.count() < limits::GROUP_MEMBERS { Ok(()) } else { Err(Refusal::Full) }
    }

    /// Whether those who ever joined or were invited are as many as a group may have.
    pub(super) fn may_be_full(&self) -> bool {
        self.ruling.len() + self.invites.len() >= limits::GROUP_MEMBERS
    }

    fn may_join(
        &self,
        view: View,
        at: usize,
        entry: &ControlEntry,
        join: &Join,
    ) -> Result<(), Refusal> {
        let invitation = self.fits(at)?;
        // Even if the other join does not count: whose turn it is must not hang on that.
        let mut others = self.joins.get(&invitation).into_iter().flatten();
        if others.any(|other| self.order.saw(at, *other) && self.fits(*other).is_ok()) {
            return Err(Refusal::Used);
        }
        if !self.bounds(invitation).get(view) {
            return Err(Refusal::Invitation);
        }
        let issuer = join.invitation.authority;
        if !self.holds(view, &issuer, Some(at), Role::Convenor) {
            return Err(Refusal::Lapsed);
        }
        if self.holds(view.other(), &entry.author(), Some(at), Role::Observer) {
            return Err(Refusal::AlreadyMember);
        }
        Ok(())
    }

    /// The invitation that a join uses, if the join is by itself what the
    /// invitation and the group ask for.
    fn fits(&self, at: usize) -> Result<usize, Refusal> {
        let entry = self.order.entry(at).ok_or(Refusal::Unknown)?;
        let Operation::Join(join) = &entry.operation else { return Err(Refusal::Unknown) };
        let invitation = self.order.find(&join.invitation).ok_or(Refusal::Invitation)?;
        let invite = self.invite(invitation).ok_or(Refusal::Invitation)?;
        let meant = invite.authority.is_none_or(|bound| bound == entry.author());
        if !self.order.saw(at, invitation) || invite.key != join.key || !meant {
            return Err(Refusal::Invitation);
        }
        if entry.issued > invite.expires {
            return Err(Refusal::Expired);
        }
        if self.root.is_none_or(|(_, _, terms)| terms != join.terms) {
            return Err(Refusal::Terms);
        }
        Ok(invitation)
    }

    /// The invitation that an entry issues.
    pub(super) fn invite(&self, at: usize) -> Option<&Invite> {
        match &self.order.entry(at)?.operation {
            Operation::Invite(invite) => Some(invite),
            _ => None,
        }
    }

    fn may_continue(
        &self,
        view: View,
        at: usize,
        entry: &ControlEntry,
        candidate: &AuthorityId,
    ) -> Result<(), Refusal> {
        let author = entry.author();
        self.must_hold(view, &author, at, Role::Member)?;
        self.must_be_member(view, candidate, at)?;
        match self.terms().map(|terms| terms.continuation) {
            Some(Continuation::Majority) => Ok(()),
            Some(Continuation::Deputy(deputy)) if author == deputy && *candidate == deputy => {
                let led = self.holders(view.other(), at, Role::Convenor) > 0;
                if led { Err(Refusal::Continuation) } else { Ok(()) }
            }
            _ => Err(Refusal::Continuation),
        }
    }

    /// Whether a vote to continue makes its candidate a convenor: a deputy's at
    /// once, else if more than half of the writing members have voted the same.
    /// Votes from before the candidate's present standing was set are spent.
    pub(super) fn carries(&self, view: View, at: usize) -> bool {
        let Some(Operation::Continue { authority }) = self.order.entry(at).map(|e| &e.operation)
        else {
            return false;
        };
        if self.terms().is_none_or(|terms| terms.continuation != Continuation::Majority) {
            return true;
        }
        let rulings = || self.ruling.get(authority).into_iter().flatten();
        let fresh = |vote: usize| {
            !rulings().any(|set| {
                let known = *set != vote && self.order.saw(at, *set);
                known && !self.order.saw(vote, *set) && self.rules(view.other(), *set)
            })
        };
        let mut voters: Vec<AuthorityId> = Vec::new();
        for &vote in &self.votes {
            let Some(other) = self.order.entry(vote) else { continue };
            let same = other.operation == Operation::Continue { authority: *authority };
            let known = vote == at || self.order.saw(at, vote);
            let voter = other.author();
            if same && known && self.bounds(vote).get(view) && fresh(vote) {
                let writes = self.holds(view, &voter, Some(at), Role::Member);
                if writes && !voters.contains(&voter) {
                    voters.push(voter);
                }
            }
        }
        voters.len() * 2 > self.holders(view.other(), at, Role::Member)
    }
}
