//! The network: nodes, links and virtual time.
//!
//! Each event goes to one machine as inputs; what the machine says is carried
//! out at once, or scheduled. After every input the oracle has looked at what
//! was stored, sent and acknowledged, and at the bounds.

mod fault;
mod flow;
mod step;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{NodeId, Space};
use tallystick_protocol::limits;
use tallystick_protocol::sync::{Input, Load, Machine, Ticket, Verified};
use tallystick_protocol::time::UnixTime;

use crate::archive::Archive;
use crate::audience::Audience;
use crate::authority::{self, Who};
use crate::chance::Chance;
use crate::gossip::{Mesh, Messages};
use crate::link::{Link, LinkModel};
use crate::measure::{Event as Happening, Happened, Measure};
use crate::node::{Node, Tape};
use crate::oracle::Oracle;
use crate::schedule::{SECOND, Schedule};
use crate::topology::Partition;

/// Something that is going to happen.
enum Event {
    Up {
        node: usize,
        peer: usize,
        session: u64,
    },
    Down {
        node: usize,
        peer: usize,
        session: u64,
    },
    Frame {
        from: usize,
        to: usize,
        session: u64,
        bytes: Vec<u8>,
    },
    Gossip {
        from: usize,
        to: usize,
        number: usize,
    },
    Flushed {
        node: usize,
        life: u64,
    },
    Loaded {
        node: usize,
        life: u64,
        ticket: Ticket,
        load: Load,
    },
    Tick {
        node: usize,
        life: u64,
        at: u64,
    },
    /// A slow reader takes in one frame.
    Read {
        node: usize,
        life: u64,
    },
    /// Two partners try to connect.
    Dial {
        a: usize,
        b: usize,
    },
    /// A hostile node does something of its own accord.
    Act {
        node: usize,
    },
}

/// Heads and identity chains that need no second check anywhere in the world: all.
const VERIFIED: usize = 1 << 22;

/// Numbers of frames and bytes.
pub type Count = (usize, usize);

/// The network.
pub struct World {
    /// All nodes, by number.
    pub nodes: Vec<Node>,
    /// The one source of chance.
    pub chance: Chance,
    /// Whether it is a failure that an honest node blames another for something.
    pub is_watchful: bool,
    /// Gossip messages lost on every link besides its own losses, in percent.
    pub loss: u64,
    /// How much the latencies of links differ that are made by [`World::link`], in microseconds.
    pub spread: u64,
    /// Bytes that may wait to be read by a peer before it is disconnected.
    pub unread_bytes: usize,
    /// Bytes and frames sent, by sender and receiver.
    pub traffic: BTreeMap<(usize, usize), Count>,
    /// Entries whose bodies were sent, by sender and receiver.
    pub bodies: BTreeMap<(usize, usize), usize>,
    /// What was sent in all.
    pub measure: Measure,
    /// What happened.
    pub happened: Happened,
    /// What must hold.
    pub oracle: Oracle,
    /// What must hold of groups.
    pub audience: Audience,
    /// What any machine has verified, so that no other checks the same bytes again
    /// with the same result. Without room each machine checks everything itself.
    pub verified: Verified,
    /// Whether machines share that. If not, what a run takes is what its nodes would.
    pub shares_checks: bool,
    archive: Archive,
    /// A node whose mail is read.
    pub watched: Option<usize>,
    /// Every frame and message sent to it.
    pub mail: Vec<Vec<u8>>,
    schedule: Schedule<Event>,
    links: BTreeMap<(usize, usize), Link>,
    /// With whom each node is connected.
    connected: Vec<BTreeSet<usize>>,
    /// Partners that connect again whenever they can.
    wanted: BTreeMap<(usize, usize), LinkModel>,
    /// Those of them that have an attempt before them.
    dialling: BTreeSet<(usize, usize)>,
    /// Those of them of which one refused the other the last time.
    refused: BTreeSet<(usize, usize)>,
    partition: Partition,
    mesh: Mesh,
    messages: Messages,
    numbers: BTreeMap<NodeId, Vec<usize>>,
    /// When commands were given, by node and command.
    commanded: BTreeMap<(usize, u64), u64>,
    last_session: u64,
    last_serial: u64,
    last_command: u64,
    trace: blake3::Hasher,
}

impl World {
    /// An empty world; the same seed and the same calls give the same run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            chance: Chance::new(seed),
            is_watchful: false,
            loss: 0,
            spread: 30_000,
            unread_bytes: 64 << 20,
            traffic: BTreeMap::new(),
            bodies: BTreeMap::new(),
            measure: Measure::default(),
            happened: Happened::default(),
            oracle: Oracle::default(),
            audience: Audience::default(),
            verified: Verified::with_room(VERIFIED, VERIFIED),
            shares_checks: true,
            archive: Archive::default(),
            watched: None,
            mail: Vec::new(),
            schedule: Schedule::default(),
            links: BTreeMap::new(),
            connected: Vec::new(),
            wanted: BTreeMap::new(),
            dialling: BTreeSet::new(),
            refused: BTreeSet::new(),
            partition: Partition::default(),
            mesh: Mesh::default(),
            messages: Messages::default(),
            numbers: BTreeMap::new(),
            commanded: BTreeMap::new(),
            last_session: 0,
            last_serial: seed << 32,
            last_command: 0,
            trace: blake3::Hasher::new(),
        }
    }

    /// Virtual time, in microseconds since the start of the run.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.schedule.now()
    }

    /// Adds an honest authority with one node, which starts at once.
    pub fn add(&mut self) -> usize {
        let node = self.place(Who::new(self.nodes.len() as u16), 0, true);
        self.start(node);
        node
    }

    /// Adds so many of them.
    pub fn add_many(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.add()).collect()
    }

    /// Adds node `which` of an authority, and starts it.
    pub fn add_node(&mut self, who: Who, which: u8, is_honest: bool) -> usize {
        let node = self.place(who, which, is_honest);
        self.start(node);
        node
    }

    /// Adds a node that does not run yet.
    pub fn place(&mut self, who: Who, which: u8, is_honest: bool) -> usize {
        let number = self.nodes.len();
        self.oracle.register(&who, is_honest);
        let node = Node::new(who, which, number, is_honest);
        self.numbers.entry(node.id).or_default().push(number);
        self.nodes.push(node);
        self.connected.push(BTreeSet::new());
        number
    }

    /// Starts a node over what its disk has.
    ///
    /// # Panics
    /// If what is on the disk does not verify.
    pub fn start(&mut self, node: usize) {
        let seconds = self.now() / SECOND;
        let started = &mut self.nodes[node];
        started.run += 1;
        started.started = UnixTime::from_seconds(seconds);
        started.tick_at = None;
        let stored = started.disk.stored();
        if let Some(tape) = &mut started.tape {
            *tape = Tape { stored: stored.clone(), inputs: Vec::new() };
        }
        // A node may be started over an older copy of its disk: it begins with what that has.
        let own = started.disk.logs.get(&started.who.log()).map_or(0, |log| log.size());
        started.acknowledged = started.acknowledged.min(own);
        let config = started.config(started.run, started.started);
        let (machine, damaged) = Machine::new(config, stored);
        assert_eq!(damaged, [], "a log did not verify at start");
        started.machine = Some(machine.with_quota(started.quota));
        let mut cards = vec![started.who.events.clone()];
        let wanted = self.wanted.keys().filter(|(a, b)| *a == node || *b == node);
        cards.extend(wanted.map(|(a, b)| self.nodes[a + b - node].who.events.clone()));
        for card in cards {
            self.introduce(node, card);
        }
    }

    /// Puts the logs of so many absent authors, of one entry each, on the disk of a node.
    pub fn fill(&mut self, node: usize, authors: u16, bytes: usize) {
        self.crash(node);
        for number in 1_000..1_000 + authors {
            let who = Who::new(number);
            self.oracle.register(&who, false);
            let entry = self.entry(bytes);
            let disk = &mut self.nodes[node].disk;
            disk.fill(&who, entry, u64::from(number) * 2, &mut self.archive);
        }
        self.start(node);
    }

    /// Takes a node down; what its disk had not confirmed is lost.
    ///
    /// # Panics
    /// If something acknowledged is lost with it.
    pub fn crash(&mut self, node: usize) {
        self.isolate(node);
        let stopped = &mut self.nodes[node];
        stopped.machine = None;
        stopped.forget_life();
        let lost = stopped.disk.crash();
        Oracle::kept(stopped);
        self.happened.add(Happening::Crash, 1);
        self.happened.add(Happening::WriteLost, lost);
    }

    /// Hands a node an identity chain, as a partner's card would.
    pub fn introduce(&mut self, node: usize, events: Vec<Vec<u8>>) {
        self.give(node, Input::Introduce(events));
    }

    /// Lets a node author `count` entries with bodies of about `bytes`.
    pub fn author(&mut self, node: usize, count: usize, bytes: usize) {
        let mut left = count;
        while left > 0 {
            let batch = left.min(limits::AUTHOR_ENTRIES);
            let entries = (0..batch).map(|_| self.entry(bytes)).collect();
            self.author_entries(node, entries);
            left -= batch;
        }
    }

    /// An entry unlike any other, with a body of about `bytes`.
    pub fn entry(&mut self, bytes: usize) -> Entry {
        self.last_serial += 1;
        authority::entry(self.last_serial, bytes)
    }

    /// Lets a node author these entries.
    pub fn author_entries(&mut self, node: usize, entries: Vec<Entry>) {
        self.author_in(node, Space::Public, entries);
    }

    /// Lets a node author these entries in a space.
    pub fn author_in(&mut self, node: usize, space: Space, entries: Vec<Entry>) {
        if let Space::Group(group) = space {
            self.audience.authored(&self.nodes, node, group, &entries);
        }
        self.last_command += 1;
        let command = self.last_command;
        self.commanded.insert((node, command), self.now());
        self.give(node, Input::Author { command, space, entries });
    }

    /// Runs for so many seconds of virtual time.
    pub fn run(&mut self, seconds: u64) {
        self.run_for(seconds * SECOND);
    }

    /// Runs for so many microseconds of virtual time.
    pub fn run_for(&mut self, micros: u64) {
        let end = self.now() + micros;
        while let Some(event) = self.schedule.next(end) {
            self.happen(event);
        }
    }

    /// Runs until `done`, asked after every event, or, failing that, for so
    /// many seconds. Says how many it took.
    pub fn run_up_to(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now();
        while !done(self) {
            let Some(event) = self.schedule.next(begin + seconds * SECOND) else { break };
            self.happen(event);
        }
        (self.now() - begin) / SECOND
    }

    /// Runs until `done`, asked every `pace` microseconds; `false` if that took
    /// longer than so many seconds.
    pub fn run_until(
        &mut self,
        seconds: u64,
        pace: u64,
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now() + seconds * SECOND;
        loop {
            if done(self) {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            self.run_for(pace);
        }
    }

    fn note(&mut self, what: u8, node: usize, peer: usize, bytes: &[u8]) {
        let mut head = [0; 21];
        head[0] = what;
        head[1..9].copy_from_slice(&self.now().to_be_bytes());
        head[9..13].copy_from_slice(&(node as u32).to_be_bytes());
        head[13..17].copy_from_slice(&(peer as u32).to_be_bytes());
        head[17..].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.trace.update(&head).update(bytes);
    }

    /// A hash over everything that happened.
    #[must_use]
    pub fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    fn happen(&mut self, event: Event) {
        let alive = |node: usize, life: u64| self.nodes[node].life == life;
        match event {
            Event::Up { node, peer, session } => self.up(node, peer, session),
            Event::Down { node, peer, session } => self.down(node, peer, session),
            Event::Frame { from, to, session, bytes } => self.arrive(from, to, session, bytes),
            Event::Gossip { from, to, number } => self.hear(from, to, number),
            Event::Flushed { node, life } if alive(node, life) => self.flushed(node),
            Event::Loaded { node, life, ticket, load } if alive(node, life) => {
                let loaded = self.nodes[node].disk.load(&load);
                self.nodes[node].loading -= 1;
                self.give(node, Input::Loaded(ticket, loaded));
            }
            Event::Tick { node, life, at } if alive(node, life) => self.tick(node, at),
            Event::Read { node, life } if alive(node, life) => self.read_one(node),
            Event::Dial { a, b } => self.dial(a, b),
            Event::Act { node } => self.act(node),
            Event::Flushed { .. }
            | Event::Loaded { .. }
            | Event::Tick { .. }
            | Event::Read { .. } => {}
        }
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// Which end of their link `from` is.
const fn end(from: usize, to: usize) -> usize {
    if from < to { 0 } else { 1 }
}
