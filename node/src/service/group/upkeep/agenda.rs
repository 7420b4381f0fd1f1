//! Which groups have to be looked at, and when.
//!
//! Whoever is in a thousand groups looks at those of which something has changed, so
//! this notes what has: by notices of the driver, and by the clock. **Invariants:** a
//! group that was not looked at stays noted; nothing grows beyond the groups and
//! authorities that are known. Deliberately absent: what is done about a group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tallystick_protocol::group::Membership;
use tallystick_protocol::id::{AuthorityId, GroupId};
use tallystick_protocol::sync::Notice;
use tallystick_protocol::time::UnixTime;
use tokio::time::Instant;

/// Longest time until the clock is looked at: it may have been set.
const PERIOD: Duration = Duration::from_secs(60);

/// What has changed since the groups were looked at, and what comes up.
#[derive(Debug)]
pub(super) struct Agenda {
    /// Nothing is known of any: at the start, and when notices were missed.
    all: bool,
    groups: BTreeSet<GroupId>,
    authorities: BTreeSet<AuthorityId>,
    /// When it is our turn to do what is needed.
    due: BTreeMap<GroupId, Instant>,
    /// When the next member's time is over.
    ends: BTreeMap<GroupId, UnixTime>,
}

impl Default for Agenda {
    fn default() -> Self {
        let (groups, authorities) = (BTreeSet::new(), BTreeSet::new());
        Self { all: true, groups, authorities, due: BTreeMap::new(), ends: BTreeMap::new() }
    }
}

/// What is to be looked at, at one moment.
pub(super) struct Look<'a> {
    agenda: &'a Agenda,
    at: Instant,
    now: UnixTime,
}

impl Agenda {
    /// Takes note of what has happened.
    pub(super) fn heard(&mut self, notice: &Notice) {
        match notice {
            Notice::GroupChanged { group } => _ = self.groups.insert(*group),
            Notice::IdentityAccepted { authority } | Notice::IdentityChanged { authority, .. } => {
                self.authorities.insert(*authority);
            }
            _ => {}
        }
    }

    /// Something has happened that nobody knows of.
    pub(super) const fn missed(&mut self) {
        self.all = true;
    }

    /// Whether something has changed.
    pub(super) fn is_stirred(&self) -> bool {
        self.all || !self.groups.is_empty() || !self.authorities.is_empty()
    }

    /// How long there is nothing to look at, if nothing changes.
    pub(super) fn wait(&self, at: Instant, now: UnixTime) -> Duration {
        let due = self.due.values().map(|due| due.saturating_duration_since(at));
        let left = |end: &UnixTime| end.as_seconds().saturating_sub(now.as_seconds());
        let ends = self.ends.values().map(|end| Duration::from_secs(left(end)));
        due.chain(ends).min().unwrap_or(PERIOD).min(PERIOD)
    }

    /// What is to be looked at.
    pub(super) const fn look(&self, at: Instant, now: UnixTime) -> Look<'_> {
        Look { agenda: self, at, now }
    }

    /// All that has changed is being looked at.
    pub(super) fn looked(&mut self) {
        self.all = false;
        self.groups.clear();
        self.authorities.clear();
    }

    /// A group was looked at, in which something is needed of us after `turn`, or
    /// nothing; gives when.
    pub(super) fn note(
        &mut self,
        membership: &Membership,
        (at, now): (Instant, UnixTime),
        turn: Option<Duration>,
    ) -> Option<Instant> {
        let group = membership.group();
        let members = membership.members_at(now);
        match members.filter_map(|(_, member)| member.grant.until()).min() {
            Some(end) => _ = self.ends.insert(group, end),
            None => _ = self.ends.remove(&group),
        }
        match turn {
            Some(turn) => Some(*self.due.entry(group).or_insert(at + turn)),
            None => {
                self.due.remove(&group);
                None
            }
        }
    }

    /// What is needed in a group is tried, and otherwise once more after `wait`.
    pub(super) fn put_off(&mut self, group: GroupId, until: Instant) {
        self.due.insert(group, until);
    }
}

impl Look<'_> {
    /// All groups that may have to be looked at; `None`: any may.
    pub(super) fn among(&self) -> Option<BTreeSet<GroupId>> {
        let Agenda { all, groups, authorities, due, ends } = self.agenda;
        if *all || !authorities.is_empty() {
            return None;
        }
        let due = due.iter().filter(|(_, due)| **due <= self.at).map(|(group, _)| *group);
        let over = ends.iter().filter(|(_, end)| **end <= self.now).map(|(group, _)| *group);
        Some(groups.iter().copied().chain(due).chain(over).collect())
    }

    /// Whether one has to be.
    pub(super) fn concerns(&self, membership: &Membership) -> bool {
        let (group, members) = (membership.group(), membership.members());
        self.agenda.all
            || self.agenda.groups.contains(&group)
            || self.agenda.due.get(&group).is_some_and(|due| *due <= self.at)
            || self.agenda.ends.get(&group).is_some_and(|end| *end <= self.now)
            || self.agenda.authorities.iter().any(|who| members.contains_key(who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::body::Salt;
    use tallystick_protocol::group::operation::{Invite, Join, Terms};
    use tallystick_protocol::group::{
        Continuation, ControlEntry, EntryRef, Grant, History, Operation, group_id,
    };
    use tallystick_protocol::id::{LogId, Space};
    use tallystick_protocol::key::SecretKey;

    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    fn authority(n: u8) -> AuthorityId {
        AuthorityId::from_bytes([n; 32])
    }

    /// So many groups, each of one authority by turns of ten.
    fn circles(count: u16) -> Vec<Membership> {
        (0..count).map(|n| circle(n, authority((n % 10) as u8))).collect()
    }

    fn circle(number: u16, founder: AuthorityId) -> Membership {
        controls(number, founder, None)
    }

    /// A group with an observer until then.
    fn watched(until: UnixTime) -> Membership {
        controls(0, authority(1), Some(until))
    }

    fn controls(number: u16, founder: AuthorityId, watched: Option<UnixTime>) -> Membership {
        let network = "test".parse().unwrap();
        let mut random = [3; 32];
        random[..2].copy_from_slice(&number.to_be_bytes());
        let terms = Terms {
            random,
            name: format!("Made-up circle {number}"),
            history: History::All,
            text: String::new(),
            least: 1,
            kinds: Vec::new(),
            continuation: Continuation::Nobody,
        };
        let group = group_id(&network, &founder, &random);
        let say = |who, index, seen: &[EntryRef], operation| {
            let log = LogId { authority: who, space: Space::Group(group), generation: 0 };
            let salt = Salt::from_random([1; 32]);
            let entry = ControlEntry::write(&group, seen, &operation, NOW, &salt).unwrap();
            ControlEntry::read(&log, index, &entry).unwrap()
        };
        let hash = terms.hash();
        let mut said = vec![say(founder, 0, &[], Operation::Create(Box::new(terms)))];
        if let Some(until) = watched {
            let (key, guest) = (SecretKey::from_seed([5; 32]), authority(50));
            let grant = Grant::observer_until(until);
            let invite = Invite { key: key.public(), grant, authority: None, expires: until };
            let seen = [said[0].place()];
            said.push(say(founder, 1, &seen, Operation::Invite(Box::new(invite))));
            let seen = said[1].place();
            let join = Join::new(&group, seen, &key, hash, &guest);
            said.push(say(guest, 0, &[seen], Operation::Join(Box::new(join))));
        }
        Membership::merge(&network, &group, &said).unwrap()
    }

    /// Looks as the node does; gives how many groups were asked for, and looked at.
    fn pass(agenda: &mut Agenda, all: &[Membership], at: Instant, now: UnixTime) -> [usize; 2] {
        let look = agenda.look(at, now);
        let among = look.among();
        let asked = all
            .iter()
            .filter(|one| among.as_ref().is_none_or(|among| among.contains(&one.group())));
        let asked: Vec<_> = asked.collect();
        let looked: Vec<_> = asked.iter().copied().filter(|one| look.concerns(one)).collect();
        agenda.looked();
        looked.iter().for_each(|one| _ = agenda.note(one, (at, now), None));
        [asked.len(), looked.len()]
    }

    #[test]
    fn of_a_thousand_groups_those_are_looked_at_of_which_something_changed() {
        let (all, at) = (circles(1000), Instant::now());
        let mut agenda = Agenda::default();
        assert_eq!(pass(&mut agenda, &all, at, NOW), [1000, 1000], "all at the start");
        assert!(!agenda.is_stirred());
        assert_eq!(pass(&mut agenda, &all, at, NOW), [0, 0]);
        assert_eq!(agenda.wait(at, NOW), PERIOD);
        agenda.heard(&Notice::GroupChanged { group: all[7].group() });
        assert!(agenda.is_stirred());
        assert_eq!(pass(&mut agenda, &all, at, NOW), [1, 1]);
        // Of whom nothing is to be seen in any, and who is in a tenth of them.
        agenda.heard(&Notice::IdentityAccepted { authority: authority(99) });
        assert_eq!(pass(&mut agenda, &all, at, NOW), [1000, 0]);
        agenda.heard(&Notice::IdentityChanged { authority: authority(3), sequence: 1 });
        assert_eq!(pass(&mut agenda, &all, at, NOW), [1000, 100]);
        let log = LogId::public(authority(3), 0);
        agenda.heard(&Notice::LogAdvanced { log, from: 0, to: 9 });
        assert!(!agenda.is_stirred(), "records are no matter of membership");
        agenda.missed();
        assert_eq!(pass(&mut agenda, &all, at, NOW), [1000, 1000]);
    }

    #[test]
    fn a_group_is_looked_at_when_it_is_our_turn_and_again_if_that_failed() {
        let (all, at) = (circles(3), Instant::now());
        let mut agenda = Agenda::default();
        pass(&mut agenda, &all, at, NOW);
        let turn = Duration::from_secs(2);
        assert_eq!(agenda.note(&all[1], (at, NOW), Some(turn)), Some(at + turn));
        assert_eq!(agenda.note(&all[1], (at + turn / 2, NOW), Some(turn)), Some(at + turn));
        assert_eq!(agenda.wait(at, NOW), turn);
        let before = agenda.look(at, NOW).among();
        assert_eq!(before, Some(BTreeSet::new()));
        agenda.put_off(all[1].group(), at + PERIOD * 2);
        assert_eq!(agenda.look(at + PERIOD, NOW).among(), Some(BTreeSet::new()));
        assert_eq!(pass(&mut agenda, &all, at + PERIOD * 2, NOW), [1, 1]);
        assert_eq!(agenda.wait(at, NOW), PERIOD, "it was needed no more");
    }

    #[test]
    fn a_group_is_looked_at_when_an_observers_time_is_over() {
        let (end, at) = (UnixTime::from_seconds(1_030), Instant::now());
        let mut all = circles(3);
        all.push(watched(end));
        assert_eq!(all[3].members().len(), 2);
        let mut agenda = Agenda::default();
        pass(&mut agenda, &all, at, NOW);
        assert_eq!(agenda.wait(at, NOW), Duration::from_secs(30));
        assert_eq!(pass(&mut agenda, &all, at, UnixTime::from_seconds(1_029)), [0, 0]);
        assert_eq!(pass(&mut agenda, &all, at, end), [1, 1]);
        assert_eq!(pass(&mut agenda, &all, at, end), [0, 0], "once");
        assert_eq!(agenda.wait(at, end), PERIOD);
    }
}
