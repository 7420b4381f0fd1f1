//! Membership: what the control entries of a group give when they are merged.
//!
//! The merge is a function of the set of entries. It knows no clock and no order
//! of arrival, so whoever has the same entries has the same membership, and who
//! has fewer gets there when the rest arrives.
//!
//! 1. **An operation counts if its author could do it at its causal point**, by
//!    what it had seen and what of that counts. The newest entries about an
//!    authority set its role; of several that had not seen each other, the one
//!    that gives least.
//! 2. **A removal names the size of the removed's log.** What the removed does
//!    beyond it without having seen the removal counts only if a third member
//!    has seen that without having seen the removal. Taking a role away
//!    works the same on what needed the role.
//! 3. **Two convenors who remove each other** are both out, unless rule 2 speaks
//!    for one of the removals only. What one of them does besides falls with it.
//!    The same goes for any circle: a restriction that is overruled stands if it
//!    overrules, directly or by way of others that count, all that overrule it.
//! 4. **Nobody comes back except by joining anew**, with an invitation that
//!    has seen the removal. An invitation lapses when its issuer is no convenor
//!    any more, and falls with a removal it had not seen, by rule 2.
//! 5. **An invitation counts once.** Of two joins that had not seen each other
//!    the one counts that rule 2 speaks for; of none or both, the one with the
//!    lowest leaf hash.
//!
//! Where removals also hit those who vouch, or those who lead by what is in dispute,
//! the rules may have several answers, or none. Entries that depend on each other so,
//! and on nothing else undecided, are settled together. Of several answers those come
//! first in which no restriction falls that would stand by rule 3; then those nearest
//! to this: a restriction falls if one that more third members vouch for speaks
//! against it, and else counts. So a removed convenor who removes its remover and all
//! who have acknowledged that achieves nothing. Without an answer they are *settled
//! against all*: each restriction counts if its author could do it, and nothing
//! else counts that something speaks against. The same if none was
//! found with [`limits::GROUP_TRIALS`] attempts.
//!
//! A *third member* is a writing member of those that the author of the removal
//! knew, and neither one of the two authors nor one whom they speak of. So
//! somebody whom the removed lets in afterwards cannot vouch for it. A removal that no third member
//! has seen yet can be answered by one that claims not to have seen it,
//! which is why members acknowledge removals at once ([`Operation::Acknowledge`],
//! [`Membership::to_acknowledge`]).
//!
//! **Invariants:** the result depends on the set of entries alone; every entry
//! has a verdict, and all of them together satisfy these rules. Deliberately absent:
//! expiry by the clock, which is asked for with a time ([`Membership::members_at`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::epoch::EpochOpening;
use super::merge::Merge;
use super::operation::{ControlEntry, EntryRef, Invite, LogEnd, Operation, Terms};
use super::{Grant, Role};
use crate::cbor::Writer;
use crate::id::{AuthorityId, EpochId, GroupId, Hash, NetworkName};
use crate::limits;
use crate::time::UnixTime;

const DIGEST_DOMAIN: &[u8] = b"tallystick group membership v1\n";

/// Why a set of entries cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// More than [`limits::GROUP_ENTRIES`].
    #[error("the group has more control entries than the limit")]
    TooMany,
    /// An entry of another group: the caller's fault.
    #[error("a control entry belongs to another group")]
    Group,
}

/// Why an entry does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Something that it had seen is not here yet.
    #[error("it refers to something that has not arrived")]
    Waiting,
    /// It has not seen the group begin, or would begin it a second time.
    #[error("it does not belong to the group's history")]
    Unknown,
    /// The author did not have this role.
    #[error("its author was no {0:?} then")]
    Role(Role),
    /// The authority it speaks of was no member.
    #[error("the authority it speaks of was no member then")]
    NotMember,
    /// The author was a member already.
    #[error("its author was a member already")]
    AlreadyMember,
    /// Nobody removes itself; it leaves.
    #[error("nobody removes itself")]
    Oneself,
    /// No such invitation, or one for somebody else.
    #[error("there is no such invitation for its author")]
    Invitation,
    /// The issuer of the invitation was no convenor any more.
    #[error("the invitation has lapsed with its issuer's role")]
    Lapsed,
    /// The join says it was made after the invitation expired.
    #[error("the invitation had expired")]
    Expired,
    /// The invitation had been used.
    #[error("the invitation had been used")]
    Used,
    /// Other terms were signed than the group's.
    #[error("it signs other terms than the group's")]
    Terms,
    /// Members and pending invitations are as many as a group may have.
    #[error("the group is full")]
    Full,
    /// The group's terms do not let it go on like this.
    #[error("the terms of the group do not allow it")]
    Continuation,
    /// The author has more control entries than [`limits::GROUP_ENTRIES_PER_AUTHORITY`].
    #[error("its author has too many control entries")]
    TooMany,
    /// Another entry stands against it, and nobody vouches for it.
    #[error("another entry stands against it")]
    Overruled(EntryRef),
    /// It depends on itself by way of others, and was settled against all of them.
    #[error("it depends on itself")]
    Circle,
}

/// Whether an entry counts, and if not, why.
pub type Verdict = Result<(), Refusal>;

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub grant: Grant,
    /// The terms it signed when it joined or created the group.
    pub terms: Hash,
    /// The entry by which it did.
    pub joined: EntryRef,
}

/// An invitation and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteState {
    /// What it says.
    pub invite: Invite,
    /// Who joined by it.
    pub used_by: Option<AuthorityId>,
    /// Whether its issuer is still a convenor.
    pub stands: bool,
}

impl InviteState {
    /// Whether somebody may still join by it at `now`.
    #[must_use]
    pub fn is_open(&self, now: UnixTime) -> bool {
        self.stands && self.used_by.is_none() && now <= self.invite.expires
    }
}

/// An epoch whose entry counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedEpoch {
    /// The entry that opened it; its leaf hash is the epoch's id.
    pub place: EntryRef,
    /// What it says.
    pub opening: Arc<EpochOpening>,
    /// The epochs that its author had seen, of those whose entries count.
    pub seen: Vec<EpochId>,
}

impl OpenedEpoch {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> EpochId {
        EpochId::from_bytes(*self.place.leaf.as_bytes())
    }
}

/// Who is in a group, and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    group: GroupId,
    terms: Option<Terms>,
    members: BTreeMap<AuthorityId, Member>,
    departed: BTreeMap<AuthorityId, LogEnd>,
    invitations: BTreeMap<EntryRef, InviteState>,
    verdicts: BTreeMap<EntryRef, Verdict>,
    heads: Vec<EntryRef>,
    unacknowledged: BTreeMap<EntryRef, Vec<AuthorityId>>,
    epochs: Vec<OpenedEpoch>,
    strays: Vec<OpenedEpoch>,
}

impl Membership {
    /// Merges control entries of `group`, in any order; the same one may come twice.
    ///
    /// # Errors
    /// A [`MergeError`].
    pub fn merge<'a>(
        network: &NetworkName,
        group: &GroupId,
        entries: impl IntoIterator<Item = &'a ControlEntry>,
    ) -> Result<Self, MergeError> {
        let mut set = BTreeMap::new();
        for entry in entries {
            if entry.group() != *group {
                return Err(MergeError::Group);
            }
            set.insert(entry.place(), entry);
            if set.len() > limits::GROUP_ENTRIES {
                return Err(MergeError::TooMany);
            }
        }
        Ok(Self::of(*group, &Merge::of(network, group, &set)))
    }

    fn of(group: GroupId, merge: &Merge<'_>) -> Self {
        let waiting = merge.waiting().iter().map(|place| (*place, Err(Refusal::Waiting)));
        let decided = merge.entries().map(|(at, entry)| (entry.place(), merge.verdict(at)));
        let verdicts: BTreeMap<EntryRef, Verdict> = waiting.chain(decided).collect();
        let counts = |place: &EntryRef| verdicts.get(place).is_some_and(Result::is_ok);
        let terms = merge.terms().cloned();
        let members = members(merge);
        let departed = departed(merge, &members);
        let invitations = invitations(merge, &members, counts);
        let unacknowledged = unacknowledged(merge, &members, counts);
        let (heads, epochs, strays) =
            (merge.heads(), epochs(merge, counts), epochs(merge, |place| !counts(place)));
        Self {
            group,
            terms,
            members,
            departed,
            invitations,
            verdicts,
            heads,
            unacknowledged,
            epochs,
            strays,
        }
    }

    /// Which group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// What was fixed when the group was created; absent until that entry is here.
    #[must_use]
    pub const fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Every member, observers whose time is over among them.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<AuthorityId, Member> {
        &self.members
    }

    /// The members at `now`.
    pub fn members_at(&self, now: UnixTime) -> impl Iterator<Item = (&AuthorityId, &Member)> {
        self.members.iter().filter(move |(_, member)| member.grant.holds_at(now))
    }

    /// Whether the group may be mentioned to an authority at `now`.
    #[must_use]
    pub fn is_member(&self, who: &AuthorityId, now: UnixTime) -> bool {
        self.members.get(who).is_some_and(|member| member.grant.holds_at(now))
    }

    /// An authority's role, whatever the time.
    #[must_use]
    pub fn role(&self, who: &AuthorityId) -> Option<Role> {
        self.members.get(who).map(|member| member.grant.role())
    }

    /// Those who manage the group.
    pub fn convenors(&self) -> impl Iterator<Item = &AuthorityId> {
        let leads = |(_, member): &(_, &Member)| member.grant.role() == Role::Convenor;
        self.members.iter().filter(leads).map(|(who, _)| who)
    }

    /// How far the logs of those who are no members any more belong to the group:
    /// what lies beyond is neither fetched nor shown.
    #[must_use]
    pub const fn departed(&self) -> &BTreeMap<AuthorityId, LogEnd> {
        &self.departed
    }

    /// The invitations that count, by their entries.
    #[must_use]
    pub const fn invitations(&self) -> &BTreeMap<EntryRef, InviteState> {
        &self.invitations
    }

    /// The verdict on each entry that was merged.
    #[must_use]
    pub const fn verdicts(&self) -> &BTreeMap<EntryRef, Verdict> {
        &self.verdicts
    }

    /// Whether something is not here that an authority had seen. After a crash that may
    /// be true of one's own log: then one knows less than one did, and writes nothing.
    #[must_use]
    pub fn is_behind(&self, who: &AuthorityId) -> bool {
        let own = self.verdicts.iter().filter(|(place, _)| place.authority == *who);
        own.map(|(_, verdict)| verdict).any(|verdict| *verdict == Err(Refusal::Waiting))
    }

    /// What the next control entry names as seen: the entries that no other has
    /// seen, less those that wait; at most [`limits::GROUP_SEEN`].
    #[must_use]
    pub fn heads(&self) -> &[EntryRef] {
        self.heads.get(..limits::GROUP_SEEN).unwrap_or(&self.heads)
    }

    /// Restrictions that no third member has seen yet, if `who` is one that can
    /// vouch for them. Until somebody has, the restricted authority can answer
    /// with one of its own that claims not to have seen it.
    #[must_use]
    pub fn to_acknowledge(&self, who: &AuthorityId) -> Vec<EntryRef> {
        let mine = |(_, thirds): &(_, &Vec<AuthorityId>)| thirds.contains(who);
        self.unacknowledged.iter().filter(mine).map(|(place, _)| *place).collect()
    }

    /// The epochs, each behind all that its author had seen.
    #[must_use]
    pub fn epochs(&self) -> &[OpenedEpoch] {
        &self.epochs
    }

    /// The epochs whose entries do not count. Whoever can read one is led by its links to others.
    pub(super) fn strays(&self) -> &[OpenedEpoch] {
        &self.strays
    }

    /// SHA-256 over members, roles and the entries that count: equal exactly if
    /// two sides agree on all of them.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut w = Writer::default();
        w.raw(DIGEST_DOMAIN).bytes(self.group.as_bytes()).array(self.members.len());
        for (who, member) in &self.members {
            let until = member.grant.until().map_or(0, UnixTime::as_seconds);
            w.bytes(who.as_bytes()).unsigned(member.grant.role() as u64).unsigned(until);
            w.bytes(member.terms.as_bytes());
        }
        let counted = || self.verdicts.iter().filter(|(_, verdict)| verdict.is_ok());
        w.array(counted().count());
        counted().for_each(|(place, _)| place.write(&mut w));
        Hash::from_bytes(Sha256::digest(w.finish()).into())
    }
}

fn members(merge: &Merge<'_>) -> BTreeMap<AuthorityId, Member> {
    let Some(terms) = merge.terms().map(Terms::hash) else { return BTreeMap::new() };
    let member = |who: AuthorityId| {
        let newest = merge.newest(&who);
        let grant = newest.iter().map(|(_, grant)| *grant).min().flatten()?;
        // Whoever has a role has joined or created the group; the last time counts.
        let joins = merge.entries().filter(|(at, entry)| {
            let enters = matches!(entry.operation, Operation::Join(_) | Operation::Create(_));
            entry.author() == who && enters && merge.counts(*at)
        });
        let joined = joins.last().map(|(_, entry)| entry.place())?;
        Some((who, Member { grant, terms, joined }))
    };
    merge.authorities().filter_map(member).collect()
}

/// Where the logs of those who left or were removed end: at the lowest end that
/// a removal names, but not before the last entry that counts.
fn departed(
    merge: &Merge<'_>,
    members: &BTreeMap<AuthorityId, Member>,
) -> BTreeMap<AuthorityId, LogEnd> {
    let end = |who: AuthorityId| {
        let newest = merge.newest(&who);
        let named = newest.iter().filter_map(|(entry, _)| match &entry.operation {
            Operation::Remove { end, .. } => Some(*end),
            _ => None,
        });
        let counted =
            merge.entries().filter(|(at, entry)| entry.author() == who && merge.counts(*at));
        let last = counted.map(|(_, entry)| LogEnd::behind(entry.place().version)).max();
        named.min().max(last).map(|end| (who, end))
    };
    merge.authorities().filter(|who| !members.contains_key(who)).filter_map(end).collect()
}

fn invitations(
    merge: &Merge<'_>,
    members: &BTreeMap<AuthorityId, Member>,
    counts: impl Fn(&EntryRef) -> bool,
) -> BTreeMap<EntryRef, InviteState> {
    let leads = |who| members.get(&who).is_some_and(|m: &Member| m.grant.role() == Role::Convenor);
    let state = |(at, entry): (usize, &ControlEntry)| {
        let Operation::Invite(invite) = &entry.operation else { return None };
        let used_by = merge.used(at).map(ControlEntry::author);
        let state =
            InviteState { invite: (**invite).clone(), used_by, stands: leads(entry.author()) };
        counts(&entry.place()).then_some((entry.place(), state))
    };
    merge.entries().filter_map(state).collect()
}

/// Restrictions that count and that no third member has seen, with those who could.
fn unacknowledged(
    merge: &Merge<'_>,
    members: &BTreeMap<AuthorityId, Member>,
    counts: impl Fn(&EntryRef) -> bool,
) -> BTreeMap<EntryRef, Vec<AuthorityId>> {
    let open = |(at, entry): (usize, &ControlEntry)| {
        let subject = match &entry.operation {
            Operation::Remove { authority, .. } => *authority,
            Operation::Assign { authority, grant, .. } if grant.role() < Role::Convenor => {
                *authority
            }
            _ => return None,
        };
        let third = |who: &AuthorityId| {
            let writes = members.get(who).is_some_and(|m| m.grant.role() >= Role::Member);
            *who != entry.author() && *who != subject && writes
        };
        let seen = merge.entries().any(|(later, other)| {
            merge.saw(later, at) && third(&other.author()) && merge.counts(later)
        });
        let thirds = members.keys().filter(|who| third(who)).copied().collect();
        (counts(&entry.place()) && !seen).then_some((entry.place(), thirds))
    };
    merge.entries().filter_map(open).collect()
}

/// The epochs of whose entries `counts` is true.
fn epochs(merge: &Merge<'_>, counts: impl Fn(&EntryRef) -> bool) -> Vec<OpenedEpoch> {
    let mut known: Vec<(usize, EpochId)> = Vec::new();
    let mut epochs = Vec::new();
    for (at, entry) in merge.entries() {
        let Operation::Epoch(opening) = &entry.operation else { continue };
        let place = entry.place();
        if !counts(&place) {
            continue;
        }
        let seen = known.iter().filter(|(earlier, _)| merge.saw(at, *earlier));
        let seen = seen.map(|(_, id)| *id).collect();
        let epoch = OpenedEpoch { place, opening: Arc::clone(opening), seen };
        known.push((at, epoch.id()));
        epochs.push(epoch);
    }
    epochs
}
