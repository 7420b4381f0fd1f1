//! Private groups: members have what is shared, and nobody else can tell that there is one.

use std::collections::BTreeMap;

use tallystick_protocol::erasure::Scope;
use tallystick_protocol::group::{EntryRef, Operation, Role, origin};
use tallystick_protocol::id::{AuthorityId, EpochId, GroupId, LogId, Space};
use tallystick_protocol::sync::Input;
use tallystick_protocol::sync::wire::{Hello, Message};

use tallystick_simulator::authority::network;
use tallystick_simulator::club;
use tallystick_simulator::measure::Event;
use tallystick_simulator::schedule::SECOND;
use tallystick_simulator::world::World;

/// A world with a group that node 0 has created.
struct Club {
    world: World,
    group: GroupId,
    people: club::Club,
}

impl Club {
    /// So many nodes, all connected with each other. Without `founded` there is no group.
    fn new(seed: u64, nodes: usize, founded: bool) -> Self {
        let mut world = World::new(seed);
        world.add_many(nodes);
        for a in 0..nodes {
            (0..a).for_each(|b| world.connect(a, b));
        }
        world.run(20);
        let random = [7; 32];
        let people = club::Club::new(&world, 0, random);
        let mut club = Self { world, group: people.group, people };
        if founded {
            club.people.found(&mut club.world, 0, random);
            club.world.run(7);
        }
        club
    }

    fn authority(&self, node: usize) -> AuthorityId {
        self.world.nodes[node].who.authority()
    }

    fn log(&self, node: usize) -> LogId {
        self.people.log(&self.world, node)
    }

    /// A control entry by a node that knows the group. Gives its place.
    fn say(&mut self, node: usize, operation: &Operation) -> EntryRef {
        let place = self.people.say(&mut self.world, node, operation);
        self.world.run(2);
        place
    }

    /// `host` invites a node, which gets the invitation by mail.
    fn invite(&mut self, host: usize, guest: usize) {
        self.people.invite(&mut self.world, host, guest, Role::Member);
        self.world.run(2);
    }

    fn join(&mut self, host: usize, guest: usize) {
        assert!(self.people.join(&mut self.world, host, guest), "{host} knows of no invitation");
        self.world.run(2);
    }

    fn admit(&mut self, host: usize, guests: &[usize]) {
        for guest in guests {
            self.invite(host, *guest);
            self.join(host, *guest);
            self.world.run(10);
        }
    }

    fn share(&mut self, node: usize, count: usize) {
        let entries = (0..count).map(|_| self.world.entry(60)).collect();
        self.world.author_in(node, Space::Group(self.group), entries);
        self.world.run(5);
    }

    fn assign(&mut self, by: usize, whom: usize, role: Role) {
        self.people.assign(&mut self.world, by, whom, role);
        self.world.run(10);
    }

    fn remove(&mut self, by: usize, who: usize) {
        self.people.remove(&mut self.world, by, who);
        self.world.run(12);
    }

    /// Opens an epoch, and gives its id.
    fn renew(&mut self, node: usize) -> EpochId {
        assert!(self.people.renew(&mut self.world, node), "no epoch is needed");
        self.world.run(10);
        self.current_epoch(node).unwrap()
    }

    fn current_epoch(&self, node: usize) -> Option<EpochId> {
        let known = self.people.membership(&self.world, node)?;
        known.current_epoch(club::NOW).map(|epoch| epoch.id())
    }

    /// The members as a node sees them.
    fn members(&self, node: usize) -> Vec<AuthorityId> {
        let known = self.people.membership(&self.world, node);
        known.map_or_else(Vec::new, |known| known.members().keys().copied().collect())
    }

    /// Entries of the group's log of `of` that a node has.
    fn held(&self, node: usize, of: usize) -> u64 {
        self.world.nodes[node].disk.logs.get(&self.log(of)).map_or(0, |log| log.signed())
    }

    fn assert_members(&self, members: &[usize]) {
        let mut wanted: Vec<_> = members.iter().map(|node| self.authority(*node)).collect();
        wanted.sort();
        for node in members {
            assert_eq!(self.members(*node), wanted, "as node {node} sees it");
            for of in members {
                assert_eq!(self.held(*node, *of), self.held(*of, *of), "{node} of {of}");
            }
        }
    }
}

#[test]
fn members_have_what_is_shared_and_relay_it_for_whoever_is_away() {
    let mut club = Club::new(1000, 4, true);
    club.admit(0, &[1, 2]);
    club.share(1, 5);
    club.assert_members(&[0, 1, 2]);
    assert_eq!(club.held(2, 1), 6);
    // Node 1 goes; whoever joins then has its log from the others.
    club.world.crash(1);
    club.admit(0, &[3]);
    club.world.run(20);
    assert_eq!(club.held(3, 1), 6);
    assert_eq!(club.members(3).len(), 4);
}

#[test]
fn members_who_meet_over_a_third_only_know_of_each_other() {
    let mut club = Club::new(1018, 4, true);
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        club.world.disconnect(a, b);
    }
    club.admit(0, &[1, 2]);
    club.world.run(20);
    club.assert_members(&[0, 1, 2]);
    // Whoever comes later finds more in the log of one it never meets than it would
    // fetch of a stranger; and whoever has left, its log is needed to know who joined by it.
    club.assign(0, 2, Role::Convenor);
    club.share(1, 100);
    club.admit(2, &[3]);
    club.remove(0, 2);
    club.world.run(20);
    club.assert_members(&[0, 1, 3]);
}

/// A guest of node 0 that has joined and met nobody; it knows the chains of these.
fn newcomer(club: &mut Club, knows: &[usize]) -> usize {
    let guest = club.world.add();
    for node in knows {
        let events = club.world.nodes[*node].who.events.clone();
        club.world.introduce(guest, events);
    }
    club.invite(0, guest);
    club.join(0, guest);
    club.world.run(5);
    guest
}

#[test]
fn members_who_come_to_know_each_other_only_by_meeting_have_what_each_told() {
    let mut club = Club::new(1020, 2, true);
    club.admit(0, &[1]);
    club.share(1, 5);
    let guest = newcomer(&mut club, &[]);
    // Neither has the chain of the other, nor the guest that of node 0, whose log is
    // relayed to it: the heads are told before the chains.
    club.world.link(1, guest);
    club.world.run(20);
    club.assert_members(&[0, 1, guest]);
    assert_eq!(club.held(guest, 1), 6);
}

#[test]
fn a_head_that_is_told_before_its_authors_chain_is_fetched_when_that_comes() {
    let mut club = Club::new(1021, 3, true);
    club.admit(0, &[1, 2]);
    club.share(2, 5);
    let guest = newcomer(&mut club, &[1]);
    club.world.link(1, guest);
    club.world.run(20);
    club.assert_members(&[0, 1, 2, guest]);
}

#[test]
fn what_somebody_told_before_it_was_known_to_be_a_member_is_fetched_then() {
    let mut club = Club::new(1022, 4, true);
    club.admit(0, &[1]);
    club.invite(0, 2);
    club.world.run(10);
    // Node 1 is away while node 2 joins and hears of what node 0 shares.
    club.world.crash(1);
    club.join(0, 2);
    club.world.run(10);
    club.share(0, 5);
    club.world.crash(0);
    club.world.start(1);
    club.world.connect(1, 2);
    club.world.run(20);
    assert_eq!(club.members(1), club.members(2));
    assert_eq!((club.members(1).len(), club.held(1, 0)), (3, club.held(2, 0)));
}

#[test]
fn who_is_in_a_group_is_known_again_after_a_restart() {
    let mut club = Club::new(1001, 3, true);
    club.admit(0, &[1, 2]);
    club.share(2, 3);
    for node in 0..3 {
        club.world.crash(node);
        club.world.start(node);
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        club.world.connect(a, b);
    }
    club.world.run(20);
    club.assert_members(&[0, 1, 2]);
    club.share(0, 2);
    club.assert_members(&[0, 1, 2]);
}

#[test]
fn invariant_3_a_removed_member_gets_nothing_that_was_written_by_those_who_knew() {
    let mut club = Club::new(1002, 4, true);
    club.admit(0, &[1, 2, 3]);
    club.share(1, 4);
    club.assert_members(&[0, 1, 2, 3]);
    let before = club.held(3, 1);
    club.remove(0, 3);
    club.world.run(20);
    club.assert_members(&[0, 1, 2]);
    club.share(1, 4);
    club.share(2, 4);
    club.world.disconnect(3, 1);
    club.world.connect(3, 1);
    club.world.run(60);
    assert_eq!(club.held(3, 1), before);
    assert_eq!(club.held(0, 1), before + 4);
    // What it says afterwards is no part of the group.
    let members = club.members(0);
    club.share(3, 100);
    club.say(3, &Operation::Leave);
    club.world.run(30);
    assert_eq!(club.members(0), members);
    assert!(club.held(0, 3) < 100, "nor fetched without end");
}

#[test]
fn a_removal_during_a_partition_reaches_the_other_side_when_it_heals() {
    let mut club = Club::new(1003, 4, true);
    club.admit(0, &[1, 2, 3]);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        club.world.disconnect(a, b);
    }
    club.world.run(5);
    club.remove(0, 3);
    club.share(2, 3);
    assert!(club.members(2).contains(&club.authority(3)), "it cannot know yet");
    club.world.connect(1, 2);
    club.world.run(60);
    assert!(!club.members(2).contains(&club.authority(3)));
    assert_eq!(club.held(0, 2), club.held(2, 2));
}

/// Everything that is told to node 4, which is a partner of all and no member.
fn mail(seed: u64, founded: bool) -> (Vec<Vec<u8>>, Club) {
    let mut club = Club::new(seed, 5, founded);
    club.world.watched = Some(4);
    club.world.mail.clear();
    if founded {
        club.admit(0, &[1, 2, 3]);
        club.share(1, 20);
        club.remove(0, 3);
        club.share(2, 20);
    }
    let noon = 300 * SECOND;
    club.world.run_for(noon - club.world.now());
    club.world.author(0, 3, 50);
    club.world.run(60);
    club.world.disconnect(4, 0);
    club.world.connect(4, 0);
    club.world.run(60);
    (core::mem::take(&mut club.world.mail), club)
}

#[test]
fn invariant_3_no_frame_to_an_outsider_says_anything_of_a_group() {
    let (mail, club) = mail(1004, true);
    assert!(mail.len() > 5, "else nothing is tested");
    let mut secrets = vec![club.group.as_bytes().to_vec(), b"Wychwood".to_vec()];
    for node in 0..4 {
        let origin = origin(&network(), &club.log(node)).unwrap();
        secrets.push(origin.to_string().into_bytes());
        for entry in &club.world.nodes[node].disk.logs[&club.log(node)].entries {
            secrets.push(entry.header.clone());
            secrets.push(entry.leaf.as_bytes().to_vec());
        }
    }
    for frame in &mail {
        for secret in &secrets {
            let found = frame.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a frame of {} bytes tells of the group", frame.len());
        }
    }
    let outsider = &club.world.nodes[4];
    assert!(outsider.disk.logs.keys().all(|log| log.space == Space::Public));
    assert_eq!(outsider.machine.as_ref().unwrap().groups().count(), 0);
}

#[test]
fn invariant_3_an_outsider_is_told_the_same_whether_or_not_there_is_a_group() {
    let (with, _) = mail(1005, true);
    let (without, _) = mail(1005, false);
    let kinds = |mail: &[Vec<u8>]| {
        let mut kinds: BTreeMap<(usize, u8), usize> = BTreeMap::new();
        for frame in mail {
            *kinds.entry((frame.len(), frame.get(1).copied().unwrap_or(0))).or_default() += 1;
        }
        kinds
    };
    let (with, without) = (kinds(&with), kinds(&without));
    // Polls come by a clock: a few more or less are no word of a group.
    let differing: Vec<_> = with
        .iter()
        .filter(|(kind, count)| without.get(*kind).unwrap_or(&0).abs_diff(**count) > 4)
        .collect();
    assert!(differing.is_empty(), "{differing:?} are not in {without:?}");
}

#[test]
fn invariant_3_whoever_asks_for_a_log_of_a_group_that_is_not_its_own_is_told_there_is_none() {
    let mut club = Club::new(1006, 3, true);
    club.admit(0, &[1]);
    club.share(0, 5);
    club.world.watched = Some(2);
    club.world.mail.clear();
    let unknown = LogId { space: Space::Group(GroupId::from_bytes([9; 32])), ..club.log(0) };
    for (id, log) in [(1, club.log(0)), (2, unknown)] {
        let asked = [
            Message::WantOutline { id, log, from: 0, size: 1 },
            Message::WantEntries { id, log, start: 0, end: 1 },
            Message::WantBodies { id, log, start: 0, end: 1 },
        ];
        let outsider = club.world.nodes[2].id;
        for message in asked {
            club.world.give(0, Input::Received(outsider, message.encode()));
        }
    }
    club.world.run(1);
    let answers: Vec<_> =
        club.world.mail.iter().filter_map(|frame| Message::decode(frame).unwrap()).collect();
    let refused = |id| answers.iter().filter(|m| **m == Message::Refused { id }).count();
    assert_eq!((refused(1), refused(2)), (3, 3), "{answers:?}");
    assert!(
        !answers.iter().any(|m| matches!(m, Message::Entries { .. } | Message::OutlinePage(_)))
    );
}

/// Separates these nodes from all others, and only as far as the links go.
fn split(club: &mut Club, side: &[usize]) {
    let nodes = club.world.nodes.len();
    for a in 0..nodes {
        for b in (0..nodes).filter(|b| side.contains(&a) != side.contains(b)) {
            club.world.disconnect(a, b);
        }
    }
    club.world.run(5);
}

fn heal(club: &mut Club) {
    let nodes = club.world.nodes.len();
    for a in 0..nodes {
        (0..a).for_each(|b| club.world.connect(a, b));
    }
    club.world.run(60);
}

#[test]
fn two_convenors_who_remove_each_other_on_both_sides_of_a_partition_are_both_out() {
    let mut club = Club::new(1010, 5, true);
    club.admit(0, &[1, 2, 3, 4]);
    club.assign(0, 1, Role::Convenor);
    split(&mut club, &[0]);
    club.remove(0, 1);
    club.remove(1, 0);
    // Those on the side of node 1 have heard of one removal only.
    assert!(!club.members(2).contains(&club.authority(0)));
    heal(&mut club);
    // Nobody vouched for either before they met: both are out, as everybody sees it.
    let left: Vec<_> = [2, 3, 4].iter().map(|node| club.authority(*node)).collect();
    for node in 2..5 {
        let members = club.members(node);
        assert_eq!(members.len(), 3, "as node {node} sees it");
        assert!(left.iter().all(|one| members.contains(one)));
    }
}

#[test]
fn who_joins_during_a_partition_is_a_member_on_both_sides_when_it_heals() {
    let mut club = Club::new(1011, 4, true);
    club.admit(0, &[1, 2]);
    club.invite(0, 3);
    club.world.run(10);
    split(&mut club, &[1, 3]);
    // Node 1 is no convenor, and lets in whom one invited.
    club.join(1, 3);
    club.world.run(20);
    assert!(club.members(1).contains(&club.authority(3)));
    assert!(!club.members(0).contains(&club.authority(3)));
    club.share(3, 4);
    heal(&mut club);
    club.assert_members(&[0, 1, 2, 3]);
}

#[test]
fn a_group_whose_last_convenor_is_lost_goes_on_as_its_terms_say() {
    let mut club = Club::new(1012, 4, true);
    club.admit(0, &[1, 2, 3]);
    club.world.crash(0);
    let leader = club.authority(1);
    for node in [2, 3, 1] {
        club.say(node, &Operation::Continue { authority: leader });
        club.world.run(5);
    }
    for node in 1..4 {
        let machine = club.world.nodes[node].machine.as_ref().unwrap();
        let membership = machine.group(&club.group).unwrap();
        assert_eq!(membership.role(&leader), Some(Role::Convenor), "as node {node} sees it");
    }
    club.remove(1, 0);
    assert!(!club.members(2).contains(&club.authority(0)));
}

#[test]
fn invariant_3_a_host_that_was_removed_is_told_nothing_by_whom_it_invited() {
    let mut club = Club::new(1015, 4, true);
    club.admit(0, &[1]);
    club.assign(0, 1, Role::Convenor);
    // Node 1 lets node 2 in, and is removed itself.
    club.admit(1, &[2, 3]);
    club.remove(0, 1);
    club.assert_members(&[0, 2, 3]);
    let before = club.held(1, 2);
    club.share(2, 5);
    club.world.disconnect(1, 2);
    club.world.connect(1, 2);
    club.world.run(30);
    assert_eq!(club.held(0, 2), before + 5);
    assert_eq!(club.held(1, 2), before);
}

#[test]
fn invariant_3_a_removed_member_that_keeps_writing_gets_and_gives_nothing() {
    let mut club = Club::new(1016, 4, true);
    club.admit(0, &[1, 2, 3]);
    let old = club.renew(0);
    assert!(club.people.share(&mut club.world, 3, 2));
    club.world.run(5);
    split(&mut club, &[3]);
    club.remove(0, 3);
    let new = club.renew(0);
    // It has not heard of it, and goes on as a member would.
    assert!(club.people.share(&mut club.world, 3, 3));
    club.world.run(5);
    club.say(3, &Operation::Acknowledge);
    heal(&mut club);
    for _ in 0..3 {
        assert!(club.people.share(&mut club.world, 3, 1));
        assert!(club.people.share(&mut club.world, 1, 1));
        club.world.run(20);
    }
    club.assert_members(&[0, 1, 2]);
    let epoch = |node| club.current_epoch(node);
    assert_eq!(
        (epoch(0), epoch(1), epoch(2), epoch(3)),
        (Some(new), Some(new), Some(new), Some(old))
    );
    assert!(!club.people.reads(&club.world, 3, &new));
    assert!(club.people.reads(&club.world, 2, &new) && club.people.reads(&club.world, 3, &old));
    assert_eq!(club.held(3, 1), 1, "it has the join of node 1, and nothing since");
}

#[test]
fn an_epoch_that_is_replayed_brings_nobody_back_and_is_not_written_under() {
    let mut club = Club::new(1017, 4, true);
    club.admit(0, &[1, 2, 3]);
    let old = club.renew(0);
    let known = club.people.membership(&club.world, 1).unwrap();
    let opening = known.epoch(&old).unwrap().opening.clone();
    club.remove(0, 3);
    let new = club.renew(0);
    // By who opened it, by another member, and by the one who would gain by it.
    for node in [0, 1, 3] {
        club.people.replay(&mut club.world, node, &opening);
        club.world.run(20);
        for member in 0..3 {
            assert_eq!(club.current_epoch(member), Some(new), "{member}, replayed by {node}");
        }
    }
    assert!(club.people.share(&mut club.world, 2, 2));
    club.world.run(20);
    club.assert_members(&[0, 1, 2]);
    assert!(!club.people.reads(&club.world, 3, &new));
    for member in 0..3 {
        assert!(club.people.reads(&club.world, member, &new));
        assert!(!club.people.renew(&mut club.world, member), "and no other is needed");
    }
}

#[test]
fn an_invitation_of_the_mail_admits_one_and_only_whom_it_names() {
    let mut club = Club::new(1013, 4, true);
    club.invite(0, 1);
    club.people.steal(1, 2);
    club.join(0, 2);
    club.world.run(20);
    assert!(!club.members(0).contains(&club.authority(2)), "it names another authority");
    assert_eq!(club.members(2).len(), 0, "and so it is told nothing");
    assert_eq!(club.held(2, 0), 0);
    club.join(0, 1);
    club.world.run(20);
    club.assert_members(&[0, 1]);
}

#[test]
fn invariant_3_whoever_only_says_that_it_is_a_member_is_asked_for_nothing() {
    let mut club = Club::new(1014, 2, true);
    club.admit(0, &[1]);
    club.share(1, 3);
    let (member, log) = (club.authority(1), club.log(1));
    // Node 0 lacks something of the group, and only a stranger is there to be asked.
    club.world.crash(0);
    club.world.reduce(0, &log, 1, &Scope::Whole);
    club.world.start(0);
    let stranger = club.world.add();
    club.world.nodes[stranger].lie = Some(Box::new(move |_, message| match message {
        Message::Hello(hello) => {
            vec![Message::Hello(Hello { authority: member, ..hello }).encode()]
        }
        other => vec![other.encode()],
    }));
    club.world.watched = Some(stranger);
    club.world.link(0, stranger);
    club.world.run(60);
    assert!(!club.world.mail.is_empty(), "else nothing is tested");
    let group = club.group;
    let tells = |frame: &&Vec<u8>| frame.windows(32).any(|window| window == group.as_bytes());
    assert_eq!(club.world.mail.iter().filter(tells).count(), 0);
    // A member is asked, and gives it.
    club.world.connect(0, 1);
    club.world.run(60);
    assert!(club.world.happened.events.contains_key(&Event::BodyFilled));
}
