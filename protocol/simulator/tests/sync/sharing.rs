//! Private groups: members have what is shared, and nobody else can tell that there is one.

use std::collections::BTreeMap;

use tallystick_protocol::body::Salt;
use tallystick_protocol::erasure::Scope;
use tallystick_protocol::group::operation::{Invite, Join, Terms};
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, History, LogEnd, Operation, Role, group_id, origin,
};
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, Space};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::sync::Input;
use tallystick_protocol::sync::wire::{Hello, Message};
use tallystick_protocol::time::UnixTime;

use tallystick_simulator::authority::network;
use tallystick_simulator::measure::Event;
use tallystick_simulator::schedule::SECOND;
use tallystick_simulator::world::World;

/// A world with a group that node 0 has created.
struct Club {
    world: World,
    group: GroupId,
    /// The invitations: their entries, and how many were made.
    invited: BTreeMap<usize, (EntryRef, SecretKey)>,
    salts: u8,
}

const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

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
        let group = group_id(&network(), &world.nodes[0].who.authority(), &random);
        let mut club = Self { world, group, invited: BTreeMap::new(), salts: 0 };
        if founded {
            let terms = Terms {
                random,
                name: "Wychwood purchasing".to_owned(),
                history: History::All,
                text: "What is shared here stays here.".to_owned(),
                least: 3,
                kinds: Vec::new(),
                continuation: Continuation::Majority,
            };
            club.say(0, Operation::Create(Box::new(terms)));
            club.world.run(5);
        }
        club
    }

    fn authority(&self, node: usize) -> AuthorityId {
        self.world.nodes[node].who.authority()
    }

    fn log(&self, node: usize) -> LogId {
        let generation = self.world.nodes[node].who.log().generation;
        LogId { authority: self.authority(node), space: Space::Group(self.group), generation }
    }

    /// A control entry by a node that knows the group. Gives its place.
    fn say(&mut self, node: usize, operation: Operation) -> EntryRef {
        let machine = self.world.nodes[node].machine.as_ref().unwrap();
        let membership = machine.group(&self.group);
        let seen = membership.map(|one| one.heads().to_vec()).unwrap_or_default();
        self.say_after(node, &seen, operation)
    }

    fn say_after(&mut self, node: usize, seen: &[EntryRef], operation: Operation) -> EntryRef {
        self.salts += 1;
        let salt = Salt::from_random([self.salts; 32]);
        let entry = ControlEntry::write(&self.group, seen, &operation, NOW, &salt).unwrap();
        let log = self.log(node);
        let index = self.world.nodes[node].disk.logs.get(&log).map_or(0, |log| log.size());
        let place = ControlEntry::read(&log, index, &entry).unwrap().place();
        self.world.author_in(node, Space::Group(self.group), vec![entry]);
        self.world.run(2);
        place
    }

    /// `host` invites a node, which gets the invitation by mail.
    fn invite(&mut self, host: usize, guest: usize) {
        let key = SecretKey::from_seed([100 + guest as u8; 32]);
        let invite = Invite {
            key: key.public(),
            grant: Grant::of(Role::Member),
            authority: Some(self.authority(guest)),
            expires: UnixTime::from_seconds(NOW.as_seconds() + 1000),
        };
        let place = self.say(host, Operation::Invite(Box::new(invite)));
        self.invited.insert(guest, (place, key));
    }

    fn join(&mut self, host: usize, guest: usize) {
        let (invitation, key) = self.invited[&guest].clone();
        let machine = self.world.nodes[host].machine.as_ref().unwrap();
        let membership = machine.group(&self.group).unwrap();
        let terms = membership.terms().unwrap().hash();
        let hosts = membership.members().keys().copied().collect();
        let seen = membership.heads().to_vec();
        let author = self.authority(guest);
        let join = Join::new(&self.group, invitation, &key, terms, &author);
        let group = self.group;
        self.world.give(guest, Input::Invited { group, hosts });
        self.say_after(guest, &seen, Operation::Join(Box::new(join)));
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

    fn remove(&mut self, by: usize, who: usize) {
        let log = self.log(who);
        let size = self.world.nodes[by].disk.logs.get(&log).map_or(0, |log| log.size());
        let end = LogEnd { generation: log.generation, size };
        let authority = self.authority(who);
        self.say(by, Operation::Remove { authority, end });
        self.world.run(10);
    }

    /// The members as a node sees them.
    fn members(&self, node: usize) -> Vec<AuthorityId> {
        let machine = self.world.nodes[node].machine.as_ref().unwrap();
        machine.group(&self.group).map_or_else(Vec::new, |g| g.members().keys().copied().collect())
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
    club.say(3, Operation::Leave);
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
    let (authority, log) = (club.authority(1), club.log(1));
    let size = club.held(0, 1);
    let end = LogEnd { generation: log.generation, size };
    let grant = Grant::of(Role::Convenor);
    club.say(0, Operation::Assign { authority, grant, end });
    club.world.run(10);
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
        club.say(node, Operation::Continue { authority: leader });
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
fn an_invitation_of_the_mail_admits_one_and_only_whom_it_names() {
    let mut club = Club::new(1013, 4, true);
    club.invite(0, 1);
    let stolen = club.invited[&1].clone();
    club.invited.insert(2, stolen);
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
