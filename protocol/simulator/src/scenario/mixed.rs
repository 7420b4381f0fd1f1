//! Everything at once: a network with bad links, bad disks, bad clocks and bad
//! people, in which authors go on publishing; then the faults end, the people
//! stay, and all honest nodes must come to hold the same.
//!
//! Each node works for an authority of its own. So many of these publish as the
//! scenario says; the others follow. A few nodes are hostile, one of each kind
//! at least, and two more are one equivocating author. Honest nodes are
//! connected among themselves whatever the hostile ones do.
//!
//! Two limits of the machine shape the plan. An author that is put back waits for
//! the answers it was told to wait for, and takes the first; a partner that had
//! not seen its newest head may be the one. So an author is put back only when
//! all its partners have seen that. And what an author wrote, unsigned, after it
//! was put back may contradict what it had signed: it signs nothing any more,
//! which is right, and is not asked to agree about its own log. (If it then
//! holds a power of two of entries, a consistency proof does not contain its
//! old root; it goes on saying that it fetches instead of that it stopped.)

use std::collections::BTreeMap;

use super::attempt;
use super::ending::Endings;
use crate::authority::Who;
use crate::clock::Clock;
use crate::hostile::{ROLES, Role};
use crate::link::LinkModel;
use crate::measure::{Event, Happened, Measure};
use crate::node::Snapshot;
use crate::oracle::Oracle;
use crate::schedule::{MILLISECOND, SECOND};
use crate::topology::{Partition, ring_and_random};
use crate::world::World;

/// Partners that honest nodes have among themselves, about.
const DEGREE: usize = 6;
/// Partners of a hostile node.
const VICTIMS: usize = 3;
/// Steps in which something is done to the network.
const STEPS: usize = 40;
/// Seconds within which all must agree once the faults have ended.
const PATIENCE: u64 = 900;
/// What is done once in every run, in this order, before chance decides.
const ONCE: [u64; 13] = [0, 1, 2, 10, 11, 12, 3, 4, 5, 6, 7, 8, 9];
/// How long a node that was put back needs its partners within reach.
const CALM: u64 = 20 * SECOND;

/// A run with mixed faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixed {
    /// Nodes, the hostile ones among them.
    pub nodes: usize,
    /// Authorities that publish, the equivocating one among them.
    pub authorities: usize,
    /// What makes this run different from others.
    pub seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash over everything that happened.
    pub trace: [u8; 32],
    /// What happened.
    pub happened: Happened,
    /// What it cost.
    pub measure: Measure,
    /// Time from the end of the faults to agreement, in microseconds.
    pub settled: u64,
}

impl Mixed {
    /// Runs it.
    ///
    /// # Panics
    /// If an invariant does not hold, naming the command that repeats the run.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let Self { nodes, authorities, seed } = self;
        let again = format!(
            "cargo run --release -p tallystick-simulator -- --mixed \
             --nodes {nodes} --authorities {authorities} --first-seed {seed} --seeds 1"
        );
        attempt(&again, || {
            let mut run = Run::new(*self);
            run.trouble();
            run.peace()
        })
    }
}

struct Run {
    world: World,
    /// Honest nodes; those that publish come first.
    honest: Vec<usize>,
    authors: Vec<usize>,
    /// The two nodes of the equivocating author.
    twins: [usize; 2],
    /// Authors that are recorded and have honest partners only, so that they can be put back.
    recorded: Vec<usize>,
    snapshots: BTreeMap<usize, Snapshot>,
    /// What ends when: a node comes back, its disk is mended, a partition heals.
    ends: Endings<End>,
    is_cut: bool,
    calm_until: u64,
}

#[derive(Clone, Copy)]
enum End {
    Down(usize),
    BadDisk(usize),
    Deaf(usize),
    Cut,
}

impl Run {
    fn new(plan: Mixed) -> Self {
        let mut world = World::new(plan.seed);
        world.is_watchful = true;
        let hostile = ROLES.len().max(plan.nodes * 6 / 100);
        let honest: Vec<usize> = (0..plan.nodes - hostile - 2)
            .map(|number| world.place(Who::new(number as u16), 0, true))
            .collect();
        let authors = honest[..plan.authorities - 1].to_vec();
        let liar = Who::new(60_000);
        let twins = [0, 1].map(|which| world.place(liar.clone(), which, false));
        let villains: Vec<_> = (0..hostile)
            .map(|number| world.place(Who::new(50_000 + number as u16), 0, true))
            .collect();
        let mut run = Self {
            world,
            honest,
            authors,
            twins,
            recorded: Vec::new(),
            snapshots: BTreeMap::new(),
            ends: Endings::default(),
            is_cut: false,
            calm_until: 0,
        };
        let victims = run.connect(&villains);
        run.recorded = run.authors.iter().copied().filter(|a| !victims.contains(a)).collect();
        run.recorded.truncate(4);
        run.equip();
        run
    }

    /// Clocks, disks and first records.
    fn equip(&mut self) {
        let Self { world, recorded, .. } = self;
        for node in 0..world.nodes.len() {
            let drift = if world.chance.percent(10) { 20_000 } else { 200 };
            let drift = world.chance.below(2 * drift + 1) as i64 - drift as i64;
            let reads = world.chance.below(1 << 40);
            let delay = match world.chance.below(20) {
                0 => world.chance.between(500, 3_000),
                _ => world.chance.between(1, 40),
            };
            let now = world.now();
            let equipped = &mut world.nodes[node];
            equipped.clock = Clock::new(now, reads, drift);
            equipped.disk.delay = delay * MILLISECOND;
            equipped.own_head_answers = usize::from(recorded.contains(&node));
        }
        for node in recorded.clone() {
            world.record(node);
        }
        for node in 0..world.nodes.len() {
            world.start(node);
            world.run_for(5 * MILLISECOND);
        }
        for (number, author) in self.authors.clone().into_iter().enumerate() {
            let count = if number == 0 { 300 } else { 1 + number % 5 };
            self.world.author(author, count, 60);
        }
        self.world.author(self.twins[0], 4, 60);
    }

    /// Makes partners of honest nodes, and of hostile ones with some of them, who are returned.
    fn connect(&mut self, villains: &[usize]) -> Vec<usize> {
        let Self { world, honest, .. } = self;
        for (a, b) in ring_and_random(&mut world.chance, honest, DEGREE) {
            let model = LinkModel::bad(&mut world.chance);
            world.want(a, b, model);
        }
        let mut victims = Vec::new();
        for (number, villain) in villains.iter().enumerate() {
            let role = match ROLES.get(number) {
                Some(role) => *role,
                None => world.chance.pick(&ROLES),
            };
            world.corrupt(*villain, role);
            for victim in world.chance.some(honest, VICTIMS) {
                let model = LinkModel::bad(&mut world.chance);
                world.want(*villain, victim, model);
                victims.push(victim);
            }
        }
        for twin in self.twins {
            world.nodes[twin].role = Some(Role::Equivocator);
            for victim in world.chance.some(honest, VICTIMS) {
                let model = LinkModel::bad(&mut world.chance);
                world.want(twin, victim, model);
                victims.push(victim);
            }
        }
        victims
    }

    fn trouble(&mut self) {
        self.world.run(3);
        for step in 0..STEPS {
            match step {
                // The second twin wakes up with the first one's log, and goes its own way.
                10 => self.split(),
                16 => self.both_publish(),
                _ => {}
            }
            self.disturb(step);
            let pause = self.world.chance.between(100, 1_200) * MILLISECOND;
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
            End::Down(node) => self.world.start(node),
            End::BadDisk(node) => {
                self.world.nodes[node].disk.failing = 0;
                self.world.nodes[node].disk.delay = 5 * MILLISECOND;
            }
            End::Deaf(node) => self.world.nodes[node].hears_gossip = true,
            End::Cut => {
                self.world.heal();
                self.is_cut = false;
            }
        }
    }

    fn end_after(&mut self, low: u64, high: u64, end: End) {
        self.ends.after(&mut self.world, low, high, end);
    }

    fn some_up(&mut self) -> usize {
        loop {
            let node = self.world.chance.pick(&self.honest);
            if self.world.nodes[node].is_up() {
                return node;
            }
        }
    }

    fn disturb(&mut self, step: usize) {
        let calm = self.world.now() < self.calm_until;
        // Everything happens once, by turns; after that by chance.
        let by_turns = ONCE.get(step).copied();
        let what = by_turns.unwrap_or_else(|| self.world.chance.below(19));
        match what {
            0 | 13 => self.crash(calm),
            1 if !calm && !self.is_cut => self.cut(),
            2 => {
                let node = self.some_up();
                self.world.nodes[node].disk.failing = 60;
                self.end_after(2_000, 10_000, End::BadDisk(node));
                self.publish_at(node);
            }
            3 => {
                let node = self.some_up();
                self.world.nodes[node].disk.delay = self.world.chance.between(1, 6) * SECOND;
                self.end_after(5_000, 15_000, End::BadDisk(node));
            }
            4 => {
                let node = self.some_up();
                let by = self.world.chance.between(1, 400) * SECOND;
                self.world.leap(node, by);
            }
            5 | 14 => {
                let node = self.some_up();
                let peers: Vec<_> = self.world.connected(node).collect();
                if !peers.is_empty() {
                    let peer = self.world.chance.pick(&peers);
                    self.world.disconnect(node, peer);
                }
            }
            6 => {
                let node = self.some_up();
                self.world.nodes[node].hears_gossip = false;
                self.end_after(1_000, 10_000, End::Deaf(node));
            }
            7 => self.remember(),
            8 if !self.is_cut => self.put_back(),
            9 => {
                let node = self.some_up();
                self.world.jump(node);
            }
            10 if !calm => self.rotate(),
            11 if !calm => self.recover(),
            12 => self.describe(),
            _ => {
                let author = self.world.chance.pick(&self.authors);
                self.publish_at(author);
            }
        }
    }

    /// An author that runs, has signed something, and is not going to be put back to
    /// a time before its keys changed; nor were they changed before, so that it has
    /// signed under them what the next ones are to leave.
    fn some_to_rekey(&mut self) -> Option<usize> {
        let able = |node: &usize| {
            let who = &self.world.nodes[*node].who;
            let is_first = who.identity.log_keys(0).count() == 1 && who.identity.generation() == 0;
            is_first
                && self.world.nodes[*node].is_up()
                && self.world.signed(*node, *node) > 0
                && !self.recorded.contains(node)
        };
        let able: Vec<_> = self.authors.iter().copied().filter(able).collect();
        (!able.is_empty()).then(|| self.world.chance.pick(&able))
    }

    fn rotate(&mut self) {
        let Some(node) = self.some_to_rekey() else { return };
        // What it had just said may be lost with the power, or be on the disk.
        self.publish_at(node);
        self.world.tear(node);
        let rotated = self.world.nodes[node].who.rotated(self.world.head(node));
        self.begin_as(node, rotated, Event::Rotated);
    }

    fn recover(&mut self) {
        let Some(node) = self.some_to_rekey() else { return };
        self.publish_at(node);
        self.world.tear(node);
        let recovered = self.world.nodes[node].who.recovered(self.world.head(node));
        self.begin_as(node, recovered, Event::Recovered);
    }

    /// Another name, of anybody who is not going to be put back.
    fn describe(&mut self) {
        let node = self.some_up();
        if !self.recorded.contains(&node) {
            let name = format!("Borough {node}, renamed at {}", self.world.now());
            let who = self.world.nodes[node].who.renamed(&name);
            self.world.tear(node);
            self.begin_as(node, who, Event::Described);
        }
    }

    /// A node that is down begins again under another identity, and says so in its log.
    fn begin_as(&mut self, node: usize, who: Who, event: Event) {
        self.world.assume(node, who);
        self.world.start(node);
        self.world.happened.add(event, 1);
        self.publish_at(node);
    }

    fn publish_at(&mut self, node: usize) {
        if self.authors.contains(&node) && self.world.nodes[node].is_up() {
            let count = 1 + self.world.chance.index(6);
            let bytes = self.world.chance.index(300);
            self.world.author(node, count, bytes);
        }
    }

    fn crash(&mut self, calm: bool) {
        if calm {
            return;
        }
        // Something is to be on its way to the disk, mostly of its own.
        let mut node = self.some_up();
        let author = self.world.chance.pick(&self.authors);
        if self.world.nodes[author].is_up() && self.world.chance.percent(75) {
            node = author;
        }
        (0..4).for_each(|_| self.publish_at(node));
        self.world.tear(node);
        self.end_after(200, 6_000, End::Down(node));
    }

    fn cut(&mut self) {
        let share = self.honest.len() * self.world.chance.between(5, 40) as usize / 100;
        let island = self.world.chance.some(&self.honest, share.max(1));
        // Somebody is in the middle of something.
        let author = self.world.chance.pick(&self.authors);
        self.publish_at(author);
        self.world.cut(Partition::island(&island));
        self.is_cut = true;
        self.end_after(2_000, 20_000, End::Cut);
    }

    fn remember(&mut self) {
        for node in self.recorded.clone() {
            if let Some(snapshot) = self.world.snapshot(node) {
                self.snapshots.insert(node, snapshot);
                self.publish_at(node);
            }
        }
    }

    /// Puts an author back to an earlier state, if its partners have seen all it signed.
    fn put_back(&mut self) {
        let Some(node) = self.snapshots.keys().copied().find(|node| self.is_seen(*node)) else {
            return;
        };
        let Some(snapshot) = self.snapshots.remove(&node) else { return };
        self.world.revert(node, &snapshot);
        self.calm_until = self.world.now() + CALM;
        // Half of the time its people do not wait until it has caught up with itself.
        if self.world.chance.percent(50) {
            self.publish_at(node);
        }
    }

    /// Whether all its partners have what it signed. One that has not may be the
    /// first to answer, and the machine takes the answers it was told to wait for.
    fn is_seen(&self, node: usize) -> bool {
        let signed = self.world.signed(node, node);
        let mut partners = self.world.wanted_partners(node);
        let connected = self.world.connected(node).next().is_some();
        self.world.nodes[node].is_up()
            && connected
            && partners.all(|partner| self.world.signed(partner, node) == signed)
    }

    fn split(&mut self) {
        let [one, other] = self.twins;
        self.world.crash(other);
        let mut copy = self.world.nodes[one].disk.clone();
        copy.incarnation = [77; 16];
        copy.pending.clear();
        copy.flushing = 0;
        self.world.nodes[other].disk = copy;
        self.world.nodes[other].signs_alone = true;
        self.world.start(other);
        self.both_publish();
    }

    fn both_publish(&mut self) {
        for twin in self.twins {
            self.world.author(twin, 3, 40);
        }
    }

    /// The faults end. All that is honest must agree, and stay so.
    fn peace(mut self) -> Outcome {
        while let Some(end) = self.ends.pop() {
            self.end(end);
        }
        let begin = self.world.now();
        let mut from = 0;
        let settled = self.world.run_until(PATIENCE, 500 * MILLISECOND, |world| {
            let found = world.disagreement(from);
            from = found.map_or(0, |found| found.node);
            found.is_none()
        });
        // Invariant 4.
        let left = || self.world.disagreement(from).map(|left| self.world.describe(&left));
        assert!(settled, "no agreement after {PATIENCE} seconds: {}", left().unwrap_or_default());
        let settled = self.world.now() - begin;
        // Nothing is left that goes on and undoes it.
        self.world.run(20);
        assert_eq!(self.world.disagreement(0), None, "they agreed, and then did not");
        // Invariant 5, once more, at the end.
        self.honest.iter().for_each(|node| Oracle::kept(&self.world.nodes[*node]));
        self.assert_it_happened();
        let World { happened, measure, .. } = &self.world;
        let (happened, measure) = (happened.clone(), measure.clone());
        Outcome { trace: self.world.trace(), happened, measure, settled }
    }

    /// A scenario that does not do what it is about proves nothing.
    fn assert_it_happened(&self) {
        use tallystick_protocol::sync::Refusal;
        let happened = &self.world.happened;
        for event in [
            Event::Crash,
            Event::Cut,
            Event::Retransmission,
            Event::GossipLost,
            Event::GossipCopied,
            Event::GossipHeldUp,
            Event::ClockLeap,
            Event::ClockJump,
            Event::Attack,
            Event::Rotated,
            Event::Recovered,
        ] {
            assert!(happened.times(event) > 0, "{event:?} did not happen: {happened:?}");
        }
        for refusal in [Refusal::Fork, Refusal::MalformedFrame] {
            assert!(happened.refused(refusal) > 0, "{refusal:?} was not seen: {happened:?}");
        }
    }
}
