//! The private groups that we know: who is in them, and which of their logs moved.
//!
//! The order of changes of group logs is one of its own, in memory only: had
//! they a place among the public ones, whoever reads our news could count what
//! happens in groups it must not know of.
//!
//! **Invariants:** membership is the merge of the control entries that were
//! handed to storage; a group is mentioned only to its members, to those who
//! invited us and are not out since, and never to whom the merge does not name. Deliberately absent:
//! what is said to whom ([`crate::sync::sharing`]), and secrets.

use core::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::checkpoint::{Origin, UnverifiedCheckpoint, VerifiedCheckpoint, log_key};
use crate::entry::Entry;
use crate::group::{self, ControlEntry, EntryRef, Membership};
use crate::id::{AuthorityId, GroupId, LogId, NetworkName, Space};
use crate::limits;
use crate::sync::Refusal;
use crate::time::UnixTime;

use super::{HeadError, Ledger};

/// Entries of the log of somebody who is no member yet that are fetched: enough to join.
const APPLICANT_ENTRIES: u64 = 64;

/// One group.
#[derive(Debug)]
struct Circle {
    controls: BTreeMap<EntryRef, ControlEntry>,
    membership: Arc<Membership>,
    /// Who invited us: told of our log before the merge can say who is a member.
    hosts: BTreeSet<AuthorityId>,
    /// Of whose logs members have told us, at most as many as a group may have members.
    /// Somebody's joining is in its own log, so it has to be fetched before it can
    /// be known that it is a member.
    vouched: BTreeSet<AuthorityId>,
}

impl Circle {
    /// Whether it has as many control entries as can be merged.
    fn is_full(&self) -> bool {
        self.controls.len() == limits::GROUP_ENTRIES
    }
}

#[derive(Debug, Default)]
pub(in crate::sync) struct Groups {
    known: BTreeMap<GroupId, Circle>,
    /// Group logs in the order in which they moved last.
    moves: BTreeMap<u64, LogId>,
    places: BTreeMap<LogId, u64>,
    last: u64,
    /// Groups whose membership has changed and was not told yet.
    changed: BTreeSet<GroupId>,
    /// How often that of any has changed, or we were invited.
    merges: u64,
}

impl Groups {
    /// What storage has of all groups: each is merged once, however much there is of it.
    pub(super) fn open(network: &NetworkName, stored: &[(LogId, u64, Entry)]) -> Self {
        let mut groups = Self::default();
        for (log, index, entry) in stored {
            if let Space::Group(group) = log.space
                && groups.known.get(&group).is_some_and(Circle::is_full)
            {
                // One more will be too many, and all stays as it was before it.
                groups.merge(network, group);
            }
            groups.keep(network, log, ControlEntry::read(log, *index, entry));
        }
        let known: Vec<GroupId> = groups.known.keys().copied().collect();
        known.into_iter().for_each(|group| groups.merge(network, group));
        groups
    }

    /// Entries are added to a log.
    pub(super) fn note(
        &mut self,
        network: &NetworkName,
        log: &LogId,
        start: u64,
        entries: &[Entry],
    ) {
        let mut kept = None;
        for (index, entry) in (start..).zip(entries) {
            let control = ControlEntry::read(log, index, entry);
            kept = self.keep(network, log, control).or(kept);
        }
        if let Some(group) = kept {
            self.merge(network, group);
        }
    }

    /// Keeps what was read of a log, if it is a control entry; of which group.
    fn keep<E>(
        &mut self,
        network: &NetworkName,
        log: &LogId,
        control: Result<ControlEntry, E>,
    ) -> Option<GroupId> {
        let (Space::Group(group), Ok(control)) = (log.space, control) else { return None };
        let known = &mut self.circle(network, group).controls;
        // One more than can be merged shows that there are too many; the rest
        // would only take room.
        if known.len() <= limits::GROUP_ENTRIES {
            known.insert(control.place(), control);
        }
        Some(group)
    }

    /// A log ends before the entry `from`.
    pub(super) fn forget(&mut self, network: &NetworkName, log: &LogId, from: u64) {
        let Space::Group(group) = log.space else { return };
        let Some(circle) = self.known.get_mut(&group) else { return };
        circle.controls.retain(|place, _| {
            let EntryRef { authority, version, .. } = place;
            (*authority, version.generation) != (log.authority, log.generation)
                || version.index < from
        });
        self.merge(network, group);
    }

    /// We were invited to a group by these.
    pub(in crate::sync) fn invited(
        &mut self,
        network: &NetworkName,
        group: GroupId,
        hosts: impl IntoIterator<Item = AuthorityId>,
    ) {
        self.circle(network, group).hosts.extend(hosts);
        self.merges += 1;
        self.tell_again(group);
    }

    fn circle(&mut self, network: &NetworkName, group: GroupId) -> &mut Circle {
        self.known.entry(group).or_insert_with(|| {
            let nobody = Membership::merge(network, &group, []);
            let membership = Arc::new(nobody.expect("no entries are within every bound"));
            let (hosts, vouched) = (BTreeSet::new(), BTreeSet::new());
            Circle { controls: BTreeMap::new(), membership, hosts, vouched }
        })
    }

    fn merge(&mut self, network: &NetworkName, group: GroupId) {
        let Some(circle) = self.known.get_mut(&group) else { return };
        // Beyond the limit the group stays as it was.
        let merged = Membership::merge(network, &group, circle.controls.values());
        let Ok(merged) = merged else { return };
        if merged == *circle.membership {
            return;
        }
        let same = merged.members() == circle.membership.members();
        circle.membership = Arc::new(merged);
        self.changed.insert(group);
        self.merges += 1;
        if !same {
            // Whoever came has heard of nothing yet.
            self.tell_again(group);
        }
    }

    /// All logs of a group are told to its members once more.
    fn tell_again(&mut self, group: GroupId) {
        let of_group = |log: &&LogId| log.space == Space::Group(group);
        let logs: Vec<_> = self.places.keys().filter(of_group).copied().collect();
        logs.into_iter().for_each(|log| self.moved(log));
    }

    /// A group log has a new head.
    pub(super) fn moved(&mut self, log: LogId) {
        self.last += 1;
        if let Some(old) = self.places.insert(log, self.last) {
            self.moves.remove(&old);
        }
        self.moves.insert(self.last, log);
    }

    /// The newest move.
    pub(in crate::sync) const fn newest(&self) -> u64 {
        self.last
    }

    /// The logs that moved after `since`, the earliest first.
    pub(in crate::sync) fn moves(&self, since: u64) -> impl Iterator<Item = (u64, LogId)> {
        self.moves.range(since.saturating_add(1)..).map(|(at, log)| (*at, *log))
    }

    /// The groups whose membership has changed since this was asked last.
    pub(in crate::sync) fn take_changed(&mut self) -> BTreeSet<GroupId> {
        core::mem::take(&mut self.changed)
    }

    /// Whether that of any has changed since then.
    pub(in crate::sync) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// How often it has changed who may tell us what.
    pub(in crate::sync) const fn merges(&self) -> u64 {
        self.merges
    }

    /// Whether a group is known here.
    pub(in crate::sync) fn knows(&self, group: &GroupId) -> bool {
        self.known.contains_key(group)
    }

    /// Who is in a group.
    pub(in crate::sync) fn membership(&self, group: &GroupId) -> Option<&Arc<Membership>> {
        self.known.get(group).map(|circle| &circle.membership)
    }

    /// All groups.
    pub(in crate::sync) fn all(&self) -> impl Iterator<Item = &Arc<Membership>> {
        self.known.values().map(|circle| &circle.membership)
    }
}

impl Ledger {
    /// The origin of a log: that of a group's log is known to members only.
    pub(in crate::sync) fn origin(&self, log: &LogId) -> Option<Origin> {
        Origin::of(&self.network, log).or_else(|| group::origin(&self.network, log))
    }

    /// Whether a log may be mentioned to an authority, and its entries given to it.
    pub(in crate::sync) fn may_see(&self, asker: Option<&AuthorityId>, log: &LogId) -> bool {
        let Space::Group(group) = log.space else { return true };
        let (Some(asker), Some(circle)) = (asker, self.groups.known.get(&group)) else {
            return false;
        };
        let membership = &circle.membership;
        // Who has left or was removed since it invited us is told no more than anybody.
        let hosts_us = Some(log.authority) == self.own()
            && circle.hosts.contains(asker)
            && !membership.departed().contains_key(asker);
        // Our clock counts whole seconds from a whole one, and may be one behind: whoever
        // is a member for a time is told nothing after it.
        let soon = UnixTime::from_seconds(self.wall.as_seconds().saturating_add(1));
        hosts_us || membership.is_member(asker, soon)
    }

    /// Whether `teller` may tell us of a log: a member of any, and whoever would
    /// like to join of its own.
    pub(in crate::sync) fn may_tell(&self, teller: &AuthorityId, log: &LogId) -> bool {
        let Space::Group(group) = log.space else { return true };
        let Some(circle) = self.groups.known.get(&group) else { return false };
        let membership = &circle.membership;
        let is_host = circle.hosts.contains(teller) && !membership.departed().contains_key(teller);
        *teller == log.authority || is_host || membership.is_member(teller, self.wall)
    }

    /// Takes note that `teller`, who may, has told of a log.
    pub(in crate::sync) fn vouch(&mut self, teller: &AuthorityId, log: &LogId) {
        let Space::Group(group) = log.space else { return };
        let Some(circle) = self.groups.known.get_mut(&group) else { return };
        if *teller != log.authority && circle.vouched.len() < limits::GROUP_MEMBERS {
            circle.vouched.insert(log.authority);
        }
    }

    /// Whether the newest head of our log is under a key that was replaced.
    pub(in crate::sync) fn is_under_old_key(&self, log: &LogId) -> bool {
        let head = self.logs.get(log).and_then(|slot| slot.head.as_ref());
        let own = self.identity(&log.authority);
        head.zip(own).is_some_and(|(head, own)| {
            head.note().signers().iter().all(|signer| signer.key.key() != own.log_key())
        })
    }

    fn own(&self) -> Option<AuthorityId> {
        self.quota.map(|(own, _)| own)
    }

    /// How many entries of a group log are fetched at most; `None`: as of any log.
    pub(super) fn group_quota(&self, log: &LogId) -> Option<u64> {
        let Space::Group(group) = log.space else { return None };
        let Circle { membership, vouched, .. } = self.groups.known.get(&group)?;
        let is_member = membership.members().contains_key(&log.authority);
        match membership.departed().get(&log.authority) {
            _ if is_member || membership.members().is_empty() => None,
            // What lies beyond its departure is no part of the group.
            Some(end) if end.generation == log.generation => Some(end.size + APPLICANT_ENTRIES),
            None if vouched.contains(&log.authority) => None,
            _ => Some(APPLICANT_ENTRIES),
        }
    }

    /// Verifies a signed head of a group log that a member told of.
    pub(in crate::sync) fn verify_group_head(
        &mut self,
        log: &LogId,
        note: &[u8],
    ) -> Result<VerifiedCheckpoint, HeadError> {
        let refused = |refusal| Err(HeadError::Refused(refusal));
        let Ok(head) = UnverifiedCheckpoint::parse(note) else {
            return refused(Refusal::MalformedHead);
        };
        if self.origin(log).as_ref() != Some(head.claimed_origin()) {
            return refused(Refusal::MalformedHead);
        }
        if head.claimed_size() > limits::LOG_ENTRIES {
            return refused(Refusal::TooLarge);
        }
        if let Some(ours) = self.logs.get(log).and_then(|slot| slot.head.as_ref()) {
            let size = ours.checkpoint().size();
            if head.claimed_size() < size || ours.as_bytes() == note {
                return Err(HeadError::Known);
            }
        }
        let Some(author) = self.identity(&log.authority) else { return Err(HeadError::Unknown) };
        match log.generation.cmp(&author.generation()) {
            // The event that opened it has still to come.
            Ordering::Greater => return Err(HeadError::Unknown),
            Ordering::Less => return Err(HeadError::Retired),
            Ordering::Equal => {}
        }
        let witnesses = self.witness_keys(&log.authority);
        match head.verify_with(author.log_key(), &witnesses) {
            Ok(head) => Ok(head.attributed()),
            Err(crate::checkpoint::CheckpointError::NotSigned) => Err(HeadError::Unknown),
            Err(_) => refused(Refusal::BadSignature),
        }
    }

    /// Verifies a head of a group log that we hold: under any key its author ever had.
    pub(super) fn verify_held_in_group(
        &self,
        log: &LogId,
        note: &[u8],
    ) -> Option<VerifiedCheckpoint> {
        let head = UnverifiedCheckpoint::parse(note).ok()?;
        let origin = self.origin(log).filter(|origin| origin == head.claimed_origin())?;
        let author = self.identity(&log.authority)?;
        let keys = author.group_log_keys(&origin, log.generation, &[]).map(|(key, _)| *key);
        let keys: Vec<_> = keys.map(|key| log_key(&origin, key)).collect();
        keys.into_iter().find_map(|key| head.clone().verify(key.key()).ok())
    }
}
