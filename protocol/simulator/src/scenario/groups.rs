//! Many private groups that overlap, in a network with faults: people join and are
//! removed, remove each other, change roles, leave, lose their last convenor, and
//! write all the while, those who were removed among them. Links are bad, nodes
//! crash, the network is cut. Then the faults end, and the members of each group
//! that are left must see the same members, heads and bodies.
//!
//! Invariant 3 is looked at in every frame and every write ([`crate::audience`]).
//! Each node works for an authority of its own. Those who are ever in one group are
//! partners of each other: members relay for each other, strangers do not.
//! Deliberately absent: hostile nodes and disks that fail, which [`super::Mixed`] has.

use std::collections::{BTreeMap, BTreeSet};

use tallystick_protocol::group::{ControlEntry, Membership, Operation, Role};
use tallystick_protocol::id::{EpochId, Space};

use super::attempt;
use super::ending::Endings;
use crate::authority::{Who, network};
use crate::club::{Club, NOW};
use crate::link::LinkModel;
use crate::measure::{Event, Happened, Measure};
use crate::schedule::{MILLISECOND, SECOND};
use crate::topology::{Partition, ring_and_random};
use crate::world::World;

/// Nodes of which a group's members are.
const POOL: usize = 8;
/// How many of them join at first.
const FIRST: usize = 5;
/// Partners that nodes have besides those, about.
const DEGREE: usize = 4;
/// Steps in which something is done.
const STEPS: usize = 80;
/// Seconds within which all must agree once the faults have ended.
const PATIENCE: u64 = 900;

/// A run with groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Nodes, each of an authority of its own.
    pub nodes: usize,
    /// Groups among them.
    pub groups: usize,
    /// What makes this run different from others.
    pub seed: u64,
}

/// What people did, by its name.
pub type Deeds = BTreeMap<&'static str, u64>;

/// What came of a run with groups.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Hash over everything that happened.
    pub trace: [u8; 32],
    /// What happened.
    pub happened: Happened,
    /// What it cost.
    pub measure: Measure,
    /// What people did.
    pub deeds: Deeds,
    /// Entries that were written in groups, and how many of them about membership.
    pub written: (u64, u64),
    /// Frames about groups, each of which was looked at.
    pub frames: u64,
    /// Members of all groups at the end.
    pub members: usize,
    /// Time from the end of the faults to agreement, in microseconds.
    pub settled: u64,
    /// Time that the run took in its world, in microseconds.
    pub took: u64,
}

impl Groups {
    /// Runs it.
    ///
    /// # Panics
    /// If an invariant does not hold, naming the command that repeats the run.
    #[must_use]
    pub fn run(&self) -> Shared {
        let Self { nodes, groups, seed } = self;
        let again = format!(
            "cargo run --release -p tallystick-simulator -- --groups {groups} \
             --nodes {nodes} --first-seed {seed} --seeds 1"
        );
        attempt(&again, || {
            let mut run = Run::new(*self);
            run.trouble();
            run.peace()
        })
    }
}

/// One group: its people, and the nodes they are ever at.
struct Circle {
    club: Club,
    pool: Vec<usize>,
}

#[derive(Clone, Copy)]
enum End {
    Down(usize),
    Cut,
}

struct Run {
    world: World,
    circles: Vec<Circle>,
    /// What ends when: a node comes back, a partition heals.
    ends: Endings<End>,
    is_cut: bool,
    /// Nodes that never come back.
    lost: BTreeSet<usize>,
    deeds: Deeds,
}

impl Run {
    fn new(plan: Groups) -> Self {
        let mut world = World::new(plan.seed);
        world.is_watchful = true;
        let nodes: Vec<usize> =
            (0..plan.nodes).map(|number| world.place(Who::new(number as u16), 0, true)).collect();
        let mut links: BTreeSet<_> =
            ring_and_random(&mut world.chance, &nodes, DEGREE).into_iter().collect();
        let mut circles = Vec::new();
        for number in 0..plan.groups {
            let pool = world.chance.some(&nodes, POOL);
            let pairs = pool.iter().flat_map(|a| pool.iter().map(move |b| (*a, *b)));
            links.extend(pairs.filter(|(a, b)| a < b));
            let club = Club::new(&world, pool[0], founding(number));
            circles.push(Circle { club, pool });
        }
        for (a, b) in links {
            let model = LinkModel::bad(&mut world.chance);
            world.want(a, b, model);
        }
        for node in nodes {
            world.nodes[node].disk.delay = world.chance.between(1, 40) * MILLISECOND;
            world.start(node);
        }
        let (ends, lost, deeds) = (Endings::default(), BTreeSet::new(), Deeds::new());
        let mut run = Self { world, circles, ends, is_cut: false, lost, deeds };
        run.begin();
        run
    }

    /// The founders create their groups, and the first join.
    fn begin(&mut self) {
        self.world.run(5);
        for number in 0..self.circles.len() {
            let Self { world, circles, .. } = self;
            let Circle { club, pool } = &mut circles[number];
            club.found(world, pool[0], founding(number));
            for guest in &pool[1..FIRST] {
                // The first group has one convenor, who is going to be lost.
                let leads = *guest == pool[1] && number > 0;
                let role = if leads { Role::Convenor } else { Role::Member };
                club.invite(world, pool[0], *guest, role);
                club.join(world, pool[0], *guest);
            }
            world.run_for(100 * MILLISECOND);
        }
        self.world.run(3);
    }

    fn did(&mut self, what: &'static str) {
        *self.deeds.entry(what).or_default() += 1;
    }

    fn trouble(&mut self) {
        for step in 0..STEPS {
            if step == STEPS / 4 {
                self.lose();
            }
            self.disturb(step);
            for number in 0..self.circles.len() {
                if number == 0 {
                    self.go_on();
                } else if self.world.chance.percent(40) {
                    self.act(number);
                }
            }
            self.tend();
            let pause = self.world.chance.between(100, 1_500) * MILLISECOND;
            self.pass(pause);
        }
    }

    /// Lets time pass, and ends what is over.
    fn pass(&mut self, micros: u64) {
        let until = self.world.now() + micros;
        while let Some(end) = self.ends.next(&mut self.world, until) {
            self.end(end);
        }
    }

    fn end(&mut self, end: End) {
        match end {
            End::Down(node) if !self.lost.contains(&node) => {
                let Self { world, circles, .. } = self;
                world.start(node);
                circles.iter().for_each(|circle| circle.club.remind(world, node));
            }
            End::Down(_) => {}
            End::Cut => {
                self.world.heal();
                self.is_cut = false;
            }
        }
    }

    fn end_after(&mut self, low: u64, high: u64, end: End) {
        self.ends.after(&mut self.world, low, high, end);
    }

    /// The only convenor of the first group does not come back.
    fn lose(&mut self) {
        let founder = self.circles[0].pool[0];
        if self.world.nodes[founder].is_up() {
            self.world.tear(founder);
        }
        self.lost.insert(founder);
        self.did("convenor lost");
    }

    fn disturb(&mut self, step: usize) {
        match self.world.chance.below(10) {
            0..=2 => {
                let node = self.world.chance.index(self.world.nodes.len());
                if self.world.nodes[node].is_up() {
                    self.world.tear(node);
                    self.end_after(200, 8_000, End::Down(node));
                }
            }
            3 if !self.is_cut && step > 0 => {
                let nodes: Vec<_> = (0..self.world.nodes.len()).collect();
                let share = nodes.len() * self.world.chance.between(10, 50) as usize / 100;
                let island = self.world.chance.some(&nodes, share.max(1));
                self.world.cut(Partition::island(&island));
                self.is_cut = true;
                self.end_after(4_000, 20_000, End::Cut);
            }
            4 | 5 => {
                let node = self.world.chance.index(self.world.nodes.len());
                let peers: Vec<_> = self.world.connected(node).collect();
                if !peers.is_empty() {
                    let peer = self.world.chance.pick(&peers);
                    self.world.disconnect(node, peer);
                }
            }
            _ => {}
        }
    }

    /// Somebody of a group whose role, as its own node sees it, is at least this.
    fn some_with(&mut self, number: usize, least: Role) -> Option<usize> {
        let Circle { club, pool } = &self.circles[number];
        let able = |node: &usize| club.role(&self.world, *node) >= Some(least);
        let able: Vec<_> = pool.iter().copied().filter(able).collect();
        (!able.is_empty()).then(|| self.world.chance.pick(&able))
    }

    /// Another one whom that node takes for a member.
    fn some_other(&mut self, number: usize, node: usize) -> Option<usize> {
        let Circle { club, pool } = &self.circles[number];
        let known = club.membership(&self.world, node)?;
        let others: Vec<_> = pool
            .iter()
            .copied()
            .filter(|other| known.role(&self.world.nodes[*other].who.authority()).is_some())
            .filter(|other| *other != node)
            .collect();
        (others.len() > 1).then(|| self.world.chance.pick(&others))
    }

    fn act(&mut self, number: usize) {
        match self.world.chance.below(100) {
            0..50 => self.share(number),
            50..68 => self.welcome(number),
            68..78 => self.restrict(number),
            78..82 => self.quarrel(number),
            82..90 => self.promote(number),
            90..94 => self.leave(number),
            _ => self.replay(number),
        }
    }

    /// Somebody writes for the members it knows; first it opens an epoch if one is needed.
    fn share(&mut self, number: usize) {
        let Some(node) = self.some_with(number, Role::Member) else { return };
        let Self { world, circles, .. } = self;
        let club = &mut circles[number].club;
        let count = 1 + world.chance.index(4);
        if club.renew(world, node) {
            self.did("epoch");
        } else if club.share(world, node, count) {
            self.did("share");
        }
    }

    /// Who is not there is invited, and joins now or later, over whoever knows of it.
    fn welcome(&mut self, number: usize) {
        let Some(host) = self.some_with(number, Role::Convenor) else { return };
        let Some(via) = self.some_with(number, Role::Observer) else { return };
        let Self { world, circles, .. } = self;
        let Circle { club, pool } = &mut circles[number];
        let Some(known) = club.membership(world, host) else { return };
        let absent = |node: &usize| {
            let who = world.nodes[*node].who.authority();
            world.nodes[*node].is_up() && known.role(&who).is_none()
        };
        let absent: Vec<_> = pool.iter().copied().filter(absent).collect();
        if absent.is_empty() {
            return;
        }
        let guest = world.chance.pick(&absent);
        if club.join(world, via, guest) {
            return self.did("join");
        }
        let role = world.chance.pick(&[Role::Observer, Role::Member, Role::Convenor]);
        club.invite(world, host, guest, role);
        let joined = world.chance.percent(50) && club.join(world, host, guest);
        self.did("invite");
        if joined {
            self.did("join");
        }
    }

    fn restrict(&mut self, number: usize) {
        let Some(by) = self.some_with(number, Role::Convenor) else { return };
        let Some(whom) = self.some_other(number, by) else { return };
        self.circles[number].club.remove(&mut self.world, by, whom);
        self.did("remove");
    }

    /// Two convenors remove each other, and neither has heard of it.
    fn quarrel(&mut self, number: usize) {
        let (Some(one), Some(other)) =
            (self.some_with(number, Role::Convenor), self.some_with(number, Role::Convenor))
        else {
            return;
        };
        if one != other {
            let club = &mut self.circles[number].club;
            club.remove(&mut self.world, one, other);
            club.remove(&mut self.world, other, one);
            self.did("quarrel");
        }
    }

    fn promote(&mut self, number: usize) {
        let Some(by) = self.some_with(number, Role::Convenor) else { return };
        let Some(whom) = self.some_other(number, by) else { return };
        let role = self.world.chance.pick(&[Role::Observer, Role::Member, Role::Convenor]);
        self.circles[number].club.assign(&mut self.world, by, whom, role);
        self.did("role");
    }

    fn leave(&mut self, number: usize) {
        let Some(node) = self.some_with(number, Role::Observer) else { return };
        if self.some_other(number, node).is_some() {
            self.circles[number].club.say(&mut self.world, node, &Operation::Leave);
            self.did("leave");
        }
    }

    /// An epoch of old is opened once more, with the words of whoever opened it.
    fn replay(&mut self, number: usize) {
        let Some(node) = self.some_with(number, Role::Member) else { return };
        let Self { world, circles, .. } = self;
        let club = &mut circles[number].club;
        let Some(known) = club.membership(world, node) else { return };
        if !known.epochs().is_empty() {
            let old = &known.epochs()[world.chance.index(known.epochs().len())];
            club.replay(world, node, &old.opening);
            self.did("replay");
        }
    }

    /// The first group goes on without its convenor, as its terms say.
    fn go_on(&mut self) {
        let [founder, leader, ..] = self.circles[0].pool[..] else { return };
        let authority = self.world.nodes[leader].who.authority();
        let Some(voter) = self.some_with(0, Role::Member) else { return };
        let Self { world, circles, lost, .. } = self;
        let club = &mut circles[0].club;
        let led = club.role(world, voter).is_some_and(|_| {
            let known = club.membership(world, voter);
            known.is_some_and(|known| known.role(&authority) == Some(Role::Convenor))
        });
        if led || !lost.contains(&founder) || world.chance.percent(50) {
            self.share(0);
        } else {
            club.say(world, voter, &Operation::Continue { authority });
            self.did("vote");
        }
    }

    /// What drivers do by themselves: members acknowledge removals.
    fn tend(&mut self) {
        for number in 0..self.circles.len() {
            for node in self.circles[number].pool.clone() {
                if self.circles[number].club.acknowledge(&mut self.world, node) {
                    self.did("acknowledge");
                }
            }
        }
    }

    /// The faults end. The members of each group must agree, then write once more.
    fn peace(mut self) -> Shared {
        while let Some(end) = self.ends.pop() {
            self.end(end);
        }
        let begin = self.world.now();
        self.settle();
        let settled = self.world.now() - begin;
        let epochs = self.write_once_more();
        self.settle();
        self.assert_read(&epochs);
        self.assert_it_happened();
        let of = |number: usize| self.truth(number).map_or(0, |truth| truth.members().len());
        let members = (0..self.circles.len()).map(of).sum();
        let Self { world, deeds, .. } = self;
        Shared {
            trace: world.trace(),
            happened: world.happened.clone(),
            measure: world.measure.clone(),
            deeds,
            written: world.audience.written,
            frames: world.audience.frames,
            members,
            settled,
            took: world.now(),
        }
    }

    /// Until the members of each group agree. Invariant 4.
    fn settle(&mut self) {
        let end = self.world.now() + PATIENCE * SECOND;
        loop {
            self.world.run_for(500 * MILLISECOND);
            self.tend();
            let left = (0..self.circles.len()).find_map(|number| self.disagreement(number));
            let Some(left) = left else { return };
            assert!(self.world.now() < end, "no agreement after {PATIENCE} seconds: {left}");
        }
    }

    /// Who is in a group by all that its members have, who are those that run.
    fn truth(&self, number: usize) -> Option<Membership> {
        let Circle { club, pool } = &self.circles[number];
        let up = |node: &&usize| self.world.nodes[**node].is_up();
        let merged = |nodes: &[usize]| {
            let held = nodes.iter().flat_map(|node| &self.world.nodes[*node].disk.logs);
            let held = held.filter(|(log, _)| log.space == Space::Group(club.group));
            let read = |(log, index, entry)| ControlEntry::read(&log, index, &entry).ok();
            let entries = held.flat_map(|(log, held)| held.controls(*log)).filter_map(read);
            Membership::merge(&network(), &club.group, &entries.collect::<Vec<_>>()).ok()
        };
        let all: Vec<usize> = pool.iter().filter(up).copied().collect();
        let members = self.members(number, &merged(&all)?);
        merged(&members)
    }

    /// The nodes that run, of the members.
    fn members(&self, number: usize, truth: &Membership) -> Vec<usize> {
        let is_member = |node: &usize| {
            let node = &self.world.nodes[*node];
            node.is_up() && truth.role(&node.who.authority()).is_some()
        };
        self.circles[number].pool.iter().copied().filter(is_member).collect()
    }

    /// Where the members of a group differ, in words.
    fn disagreement(&self, number: usize) -> Option<String> {
        let club = &self.circles[number].club;
        let truth = self.truth(number)?;
        let members = self.members(number, &truth);
        let differs = |node: usize| {
            let known = club.membership(&self.world, node);
            if known.as_ref().is_none_or(|known| known.digest() != truth.digest()) {
                let verdicts = known.map(|known| known.verdicts().clone()).unwrap_or_default();
                let other = truth.verdicts().iter().find(|(place, verdict)| {
                    verdict.is_ok() && verdicts.get(place).is_none_or(|seen| seen.is_err())
                });
                let other = other.map(|(place, _)| (place, verdicts.get(place)));
                return Some(format!("{node} sees other members of group {number}: {other:?}"));
            }
            let logs = |node: usize| &self.world.nodes[node].disk.logs;
            let of = members.iter().find(|of| {
                let log = club.log(&self.world, **of);
                let (own, held) = (logs(**of).get(&log), logs(node).get(&log));
                let disk = &self.world.nodes[node].disk;
                own.is_some_and(|own| held.is_none_or(|held| !held.same(own, &log, disk)))
            });
            if let Some(of) = of {
                return Some(format!("{node} has not the log of {of} in group {number}"));
            }
            let short = truth.departed().iter().find(|(who, end)| {
                let log = |log: &&tallystick_protocol::id::LogId| {
                    log.authority == **who && log.space == Space::Group(club.group)
                };
                let held = logs(node).iter().find(|(id, _)| log(id));
                held.map_or(0, |(_, held)| held.signed()) < end.size
            });
            short.map(|(who, _)| format!("{node} lacks of {who} in group {number}, who is out"))
        };
        members.iter().find_map(|node| differs(*node))
    }

    /// In each group all who may write do, under an epoch for the members there are.
    fn write_once_more(&mut self) -> BTreeMap<usize, EpochId> {
        for number in 0..self.circles.len() {
            let Some(node) = self.some_member(number) else { continue };
            self.circles[number].club.renew(&mut self.world, node);
        }
        self.settle();
        let mut epochs = BTreeMap::new();
        for number in 0..self.circles.len() {
            let Some(truth) = self.truth(number) else { continue };
            let Some(epoch) = truth.current_epoch(NOW) else { continue };
            epochs.insert(number, epoch.id());
            for node in self.members(number, &truth) {
                let Self { world, circles, .. } = &mut *self;
                let club = &mut circles[number].club;
                // What one saw of somebody who is lost for good may be lost in a crash, too.
                let known = club.membership(world, node);
                let behind = known.is_some_and(|k| k.is_behind(&world.nodes[node].who.authority()));
                if club.role(world, node) >= Some(Role::Member) && !behind {
                    assert!(club.share(world, node, 1), "{node} finds no epoch to write under");
                }
            }
        }
        epochs
    }

    /// A node whose authority may write in a group.
    fn some_member(&self, number: usize) -> Option<usize> {
        let truth = self.truth(number)?;
        let members = self.members(number, &truth);
        let club = &self.circles[number].club;
        members.into_iter().find(|node| club.role(&self.world, *node) >= Some(Role::Member))
    }

    /// What was written last can be read by all members, and by nobody else. Invariant 3.
    fn assert_read(&mut self, epochs: &BTreeMap<usize, EpochId>) {
        for (number, epoch) in epochs {
            let Some(truth) = self.truth(*number) else { continue };
            // An acknowledgement may have decided a quarrel since.
            if truth.current_epoch(NOW).is_none_or(|current| current.id() != *epoch) {
                continue;
            }
            let members = self.members(*number, &truth);
            let Self { world, circles, .. } = &mut *self;
            let Circle { club, pool } = &mut circles[*number];
            for node in pool.iter().filter(|node| world.nodes[**node].is_up()) {
                let reads = club.reads(world, *node, epoch);
                assert_eq!(reads, members.contains(node), "{node} in group {number}");
            }
        }
    }

    /// A scenario that does not do what it is about proves nothing.
    fn assert_it_happened(&self) {
        for deed in ["share", "epoch", "invite", "join", "remove", "role", "vote", "acknowledge"] {
            assert!(self.deeds.contains_key(deed), "no {deed}: {:?}", self.deeds);
        }
        let happened = &self.world.happened;
        for event in [Event::Crash, Event::Cut, Event::Retransmission] {
            assert!(happened.times(event) > 0, "{event:?} did not happen: {happened:?}");
        }
    }
}

/// What the id of a group is made of.
fn founding(number: usize) -> [u8; 32] {
    let mut random = [7; 32];
    random[..8].copy_from_slice(&(number as u64).to_be_bytes());
    random
}
