//! Faults: crashes that tear, partitions, clocks that jump, states that come back.

use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::identity::Head;
use tallystick_protocol::sync::{Input, Machine};

use super::flow::BROKEN;
use super::{Event, Happening, World, pair};
use crate::authority::Who;
use crate::clock::Clock;
use crate::hostile::{Attack, Role, attack, lie};
use crate::link::LinkModel;
use crate::node::{Node, Snapshot, Tape};
use crate::oracle::Oracle;
use crate::schedule::SECOND;
use crate::topology::Partition;

/// Within what time the ends of a connection that was cut notice, in microseconds.
const NOTICE: u64 = 15 * SECOND;

impl World {
    /// Makes two nodes partners that connect again whenever they can.
    pub fn want(&mut self, a: usize, b: usize, model: LinkModel) {
        self.wanted.insert(pair(a, b), model);
        for (node, other) in [(a, b), (b, a)] {
            self.introduce(node, self.nodes[other].who.events.clone());
        }
        self.dial_after(a, b, (0, 0));
    }

    /// Two partners try to connect after a while, unless they are about to anyway.
    pub(super) fn dial_after(&mut self, a: usize, b: usize, (least, most): (u64, u64)) {
        if self.wanted.contains_key(&pair(a, b)) && self.dialling.insert(pair(a, b)) {
            let pause = self.chance.between(least, most);
            self.schedule.after(pause, Event::Dial { a, b });
        }
    }

    pub(super) fn dial(&mut self, a: usize, b: usize) {
        self.dialling.remove(&pair(a, b));
        let Some(model) = self.wanted.get(&pair(a, b)).copied() else { return };
        if self.may_link(a, b) {
            self.link_over(a, b, model);
        } else if !self.is_linked(a, b) {
            self.dial_after(a, b, BROKEN);
        }
    }

    /// Takes a node down; each write that its disk had not confirmed is lost or kept by chance.
    pub fn tear(&mut self, node: usize) {
        self.isolate(node);
        let Self { nodes, archive, chance, .. } = self;
        nodes[node].machine = None;
        nodes[node].forget_life();
        let (kept, lost) = nodes[node].disk.tear(archive, chance);
        Oracle::kept(&nodes[node]);
        self.happened.add(Happening::Crash, 1);
        self.happened.add(Happening::WriteLost, lost);
        self.happened.add(Happening::WriteKept, kept.len());
        for append in kept {
            // It is durable now, though nobody was told.
            self.durable(node, &append, true);
        }
    }

    /// Cuts the network; whoever is on another side cannot be reached. Frames on
    /// their way are lost, and each end notices after some seconds.
    pub fn cut(&mut self, partition: Partition) {
        self.partition = partition;
        let links: Vec<_> = self.links.keys().copied().collect();
        for (a, b) in links {
            if self.partition.separates(a, b) {
                let notice = [self.chance.below(NOTICE), self.chance.below(NOTICE)];
                let cut = self.sever(a, b, notice);
                self.happened.add(Happening::Cut, usize::from(cut));
            }
        }
    }

    /// Ends the partition. Partners find each other again when they next dial.
    pub fn heal(&mut self) {
        self.partition = Partition::default();
    }

    /// Whether a cut keeps two nodes apart.
    #[must_use]
    pub fn is_cut_off(&self, a: usize, b: usize) -> bool {
        self.partition.separates(a, b)
    }

    /// The clock of a node jumps forward, as after a suspension too short for its
    /// connections to break and for the driver to notice.
    pub fn leap(&mut self, node: usize, by: u64) {
        let now = self.now();
        self.nodes[node].clock.jump(now, by);
        self.nodes[node].tick_at = None;
        self.happened.add(Happening::ClockLeap, 1);
        if self.nodes[node].is_up() {
            self.give(node, Input::Tick);
        }
    }

    /// From its next start on, everything a node is told is recorded, for [`World::snapshot`].
    pub fn record(&mut self, node: usize) {
        let stored = self.nodes[node].disk.stored();
        self.nodes[node].tape = Some(Tape { stored, inputs: Vec::new() });
    }

    /// The state of a running node, if its disk is not just being read.
    ///
    /// # Panics
    /// If it was not recorded.
    #[must_use]
    pub fn snapshot(&self, node: usize) -> Option<Snapshot> {
        let now = self.now();
        let Node { tape, disk, clock, run, started, loading, machine, .. } = &self.nodes[node];
        if *loading > 0 || machine.is_none() {
            return None;
        }
        let tape = tape.clone().expect("a node that was recorded");
        let (run, started) = (*run, *started);
        Some(Snapshot { tape, disk: disk.clone(), reads: clock.read(now), run, started })
    }

    /// Puts a node back to an earlier state of memory and disk, as a hypervisor
    /// does. Its connections do not survive it, and its driver notices.
    pub fn revert(&mut self, node: usize, snapshot: &Snapshot) {
        self.vanish(node);
        let now = self.now();
        let reverted = &mut self.nodes[node];
        reverted.forget_life();
        let config = reverted.config(snapshot.run, snapshot.started);
        let (mut machine, _) = Machine::new(config, snapshot.tape.stored.clone());
        while machine.poll().is_some() {}
        for (at, input) in &snapshot.tape.inputs {
            machine.handle(*at, input.clone());
            // All of this was done when it was said for the first time.
            while machine.poll().is_some() {}
        }
        reverted.machine = Some(machine);
        reverted.disk = snapshot.disk.clone();
        reverted.disk.flushing = 0;
        reverted.tape = Some(snapshot.tape.clone());
        reverted.clock = Clock::new(now, snapshot.reads.as_micros(), 0);
        // What it acknowledged after that moment is with its partners, if anywhere.
        reverted.acknowledged = 0;
        self.happened.add(Happening::Reverted, 1);
        self.flush_on(node);
        self.jump(node);
    }

    /// The clocks of a node come apart: its driver ends all connections, and begins another run.
    pub fn jump(&mut self, node: usize) {
        self.vanish(node);
        self.happened.add(Happening::ClockJump, 1);
        self.nodes[node].run += 1;
        let run = self.nodes[node].run_number(self.nodes[node].run);
        self.give(node, Input::ClockJumped { run });
    }

    /// The newest signed head of a node's log.
    ///
    /// # Panics
    /// If it has signed nothing.
    #[must_use]
    pub fn head(&self, node: usize) -> Head {
        let who = &self.nodes[node].who;
        let (_, note) = self.nodes[node].disk.logs[&who.log()].head.clone().unwrap();
        let head = UnverifiedCheckpoint::parse(&note).unwrap();
        Head::of(&who.identity.verify_head(&head).unwrap().0).unwrap()
    }

    /// Gives a node that does not run another identity.
    pub fn assume(&mut self, node: usize, who: Who) {
        self.oracle.register(&who, true);
        self.nodes[node].who = who;
    }

    /// Gives a node new keys, or a new profile, as `tally key` does while it is down.
    pub fn rekey(&mut self, node: usize, who: Who) {
        self.crash(node);
        self.assume(node, who);
        self.start(node);
    }

    /// The connections of a node end, and only the others are told.
    fn vanish(&mut self, node: usize) {
        for peer in self.connected[node].clone() {
            let Some(link) = self.unlink(node, peer) else { continue };
            self.nodes[node].inbox.remove(&peer);
            let session = link.session;
            self.schedule.after(0, Event::Down { node: peer, peer: node, session });
        }
    }

    /// Lets a copy of a node take its place on its link with `peer`.
    ///
    /// # Panics
    /// If it is no copy.
    pub fn replace(&mut self, node: usize, copy: usize, peer: usize) {
        assert_eq!(self.nodes[node].id, self.nodes[copy].id);
        if let Some(link) = self.unlink(node, peer) {
            self.nodes[peer].inbox.remove(&node);
            self.schedule.after(0, Event::Down { node, peer, session: link.session });
        }
        self.link(copy, peer);
    }

    /// Makes a node hostile.
    pub fn corrupt(&mut self, node: usize, role: Role) {
        let seed = self.chance.next();
        let hostile = &mut self.nodes[node];
        hostile.is_honest = false;
        hostile.role = Some(role);
        hostile.lie = lie(role, &hostile.who, seed);
        if role == Role::SlowReader {
            hostile.reads_every = Some(5 * SECOND);
        }
        self.oracle.register(&hostile.who, false);
        if let Some(pause) = role.pause() {
            self.schedule.after(pause, Event::Act { node });
        }
    }

    /// A hostile node attacks one of its partners.
    pub(super) fn act(&mut self, node: usize) {
        let Some((role, pause)) = self.nodes[node].role.and_then(|r| Some((r, r.pause()?))) else {
            return;
        };
        let pause = self.chance.between(pause / 2, pause * 3 / 2);
        self.schedule.after(pause, Event::Act { node });
        let peers: Vec<_> = self.connected(node).collect();
        if peers.is_empty() || !self.nodes[node].is_up() {
            return;
        }
        let peer = self.chance.pick(&peers);
        let logs = &self.nodes[node].disk.logs;
        let heads: Vec<_> =
            logs.iter().filter_map(|(id, log)| Some((*id, log.head.clone()?.1))).collect();
        let known = (!heads.is_empty()).then(|| heads[self.chance.index(heads.len())].clone());
        self.happened.add(Happening::Attack, 1);
        for attack in attack(role, &mut self.chance, known) {
            match attack {
                Attack::Frame(bytes) => self.carry(node, peer, bytes),
                Attack::Gossip(bytes) => self.gossip(node, peer, &bytes),
            }
        }
    }
}
