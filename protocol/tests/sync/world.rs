//! The network: nodes, links, virtual time and the oracle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{Hash, LogId, NodeId};
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Announcement, Message};
use tallystick_protocol::sync::{
    Append, AuthorRefusal, Config, Input, Load, LogStatus, Machine, Notice, Output, Refusal,
    Ticket, Verdict,
};
use tallystick_protocol::time::{Timestamp, UnixTime};

use super::author::{self, Who};
use super::disk::{self, Disk, Done, Write};

pub(crate) const SECOND: u64 = 1_000_000;
const BYTES_PER_MICROSECOND: u64 = 20;

/// Xorshift: the same seed, the same run.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Changes what a liar sends: gets whom to and what, gives what goes out instead.
pub(crate) type Lie = Box<dyn FnMut(usize, Message) -> Vec<Vec<u8>>>;

pub(crate) struct Node {
    pub(crate) who: Who,
    pub(crate) id: NodeId,
    pub(crate) machine: Option<Machine>,
    pub(crate) disk: Disk,
    pub(crate) own_head_answers: usize,
    pub(crate) lie: Option<Lie>,
    /// Its author signs one history only.
    pub(crate) is_honest: bool,
    pub(crate) hears_gossip: bool,
    pub(crate) notices: Vec<Notice>,
    pub(crate) refusals: BTreeMap<Refusal, usize>,
    pub(crate) authored: Vec<(u64, u64, usize, bool)>,
    pub(crate) author_refused: Vec<(u64, AuthorRefusal)>,
    pub(crate) most_staged: usize,
    life: u64,
    run: u64,
    inbox: BTreeMap<usize, VecDeque<(u64, Vec<u8>)>>,
    heard: BTreeMap<u64, (usize, Vec<u8>)>,
    seen: BTreeSet<[u8; 32]>,
    last_handle: u64,
    tick_at: Option<u64>,
}

enum Event {
    Up { node: usize, peer: usize, session: u64 },
    Down { node: usize, peer: usize },
    Frame { from: usize, to: usize, session: u64, bytes: Vec<u8> },
    Gossip { from: usize, to: usize, bytes: Vec<u8> },
    Flushed { node: usize, life: u64 },
    Loaded { node: usize, life: u64, ticket: Ticket, load: Load },
    Tick { node: usize, life: u64, at: u64 },
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rng: Rng,
    /// Gossip messages lost, in percent.
    pub(crate) loss: u64,
    /// How much the delays of links differ, in microseconds.
    pub(crate) spread: u64,
    /// Bytes and frames sent, by sender and receiver.
    pub(crate) traffic: BTreeMap<(usize, usize), (usize, usize)>,
    /// Entries whose bodies were sent, by sender and receiver.
    pub(crate) bodies: BTreeMap<(usize, usize), usize>,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    links: BTreeMap<(usize, usize), (u64, u64)>,
    /// When the last frame in a direction has left.
    busy: BTreeMap<(usize, usize), u64>,
    last_session: u64,
    last_serial: u64,
    last_command: u64,
    trace: blake3::Hasher,
    /// Everything that honest authors signed.
    history: BTreeMap<LogId, Vec<Hash>>,
    /// Authors without a node here.
    absent: BTreeMap<LogId, Who>,
    honest: BTreeSet<LogId>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            nodes: Vec::new(),
            rng: Rng::new(seed),
            loss: 0,
            spread: 30_000,
            traffic: BTreeMap::new(),
            bodies: BTreeMap::new(),
            sequence: 0,
            queue: BTreeMap::new(),
            links: BTreeMap::new(),
            busy: BTreeMap::new(),
            last_session: 0,
            last_serial: seed << 32,
            last_command: 0,
            trace: blake3::Hasher::new(),
            history: BTreeMap::new(),
            absent: BTreeMap::new(),
            honest: BTreeSet::new(),
        }
    }

    /// Adds an honest authority with one node, which starts at once.
    pub(crate) fn add(&mut self) -> usize {
        let number = u16::try_from(self.nodes.len()).unwrap();
        self.add_node(Who::new(number), 0, true)
    }

    pub(crate) fn add_many(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.add()).collect()
    }

    pub(crate) fn add_node(&mut self, who: Who, which: u8, is_honest: bool) -> usize {
        let node = self.nodes.len();
        let mut incarnation = [0; 16];
        incarnation[0] = u8::try_from(node).unwrap();
        if is_honest {
            self.honest.insert(who.log());
        }
        self.nodes.push(Node {
            id: who.node(which),
            who,
            machine: None,
            disk: Disk { incarnation, delay: 3_000, ..Disk::default() },
            own_head_answers: 0,
            lie: None,
            is_honest,
            hears_gossip: true,
            notices: Vec::new(),
            refusals: BTreeMap::new(),
            authored: Vec::new(),
            author_refused: Vec::new(),
            most_staged: 0,
            life: 0,
            run: 0,
            inbox: BTreeMap::new(),
            heard: BTreeMap::new(),
            seen: BTreeSet::new(),
            last_handle: 0,
            tick_at: None,
        });
        self.start(node);
        node
    }

    /// Starts a node over what its disk has.
    pub(crate) fn start(&mut self, node: usize) {
        let events = {
            let mut run = [node as u8; 16];
            let node = &mut self.nodes[node];
            node.run += 1;
            run[0] = node.run as u8;
            node.tick_at = None;
            let config = Config {
                network: author::network(),
                authority: node.who.authority(),
                log_key: node.who.log_key(),
                generation: 0,
                node: node.id,
                run,
                started: UnixTime::from_seconds(self.now / SECOND),
                own_head_answers: node.own_head_answers,
                sign_alone: false,
            };
            let (machine, damaged) = Machine::new(config, node.disk.stored());
            assert_eq!(damaged, [], "a log did not verify at start");
            node.machine = Some(machine);
            node.who.events.clone()
        };
        self.give(node, Input::Introduce(events));
    }

    /// Puts the logs of so many absent authors, of one entry each, on the disk of a node.
    pub(crate) fn fill(&mut self, node: usize, authors: u16, bytes: usize) {
        self.crash(node);
        for number in 1_000..1_000 + authors {
            let who = Who::new(number);
            let entry = self.entry(bytes);
            let disk = &mut self.nodes[node].disk;
            disk.fill(&who, entry, u64::from(number) * 2);
            self.absent.insert(who.log(), who);
        }
        self.start(node);
    }

    /// Takes a node down; what its disk had not confirmed is lost.
    pub(crate) fn crash(&mut self, node: usize) {
        self.isolate(node);
        let node = &mut self.nodes[node];
        node.machine = None;
        node.life += 1;
        node.inbox.clear();
        node.heard.clear();
        node.disk.crash();
    }

    pub(crate) fn isolate(&mut self, node: usize) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for (a, b) in links.into_iter().filter(|(a, b)| *a == node || *b == node) {
            self.disconnect(a, b);
        }
    }

    /// Makes two nodes partners, as their cards would, and connects them.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            let events = self.nodes[other].who.events.clone();
            self.give(node, Input::Introduce(events));
        }
        self.link(a, b);
    }

    /// Hands a node an identity, as a partner's card would.
    pub(crate) fn introduce(&mut self, node: usize, events: Vec<Vec<u8>>) {
        self.give(node, Input::Introduce(events));
    }

    /// Connects two nodes that need not know each other.
    pub(crate) fn link(&mut self, a: usize, b: usize) {
        let running = |node: usize| self.nodes[node].machine.is_some();
        if self.links.contains_key(&pair(a, b)) || !running(a) || !running(b) {
            return;
        }
        self.last_session += 1;
        let (session, delay) = (self.last_session, 2_000 + self.rng.below(self.spread));
        self.links.insert(pair(a, b), (session, delay));
        self.push(0, Event::Up { node: a, peer: b, session });
        self.push(0, Event::Up { node: b, peer: a, session });
    }

    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.links.contains_key(&pair(a, b))
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&pair(a, b)).is_some() {
            self.push(0, Event::Down { node: a, peer: b });
            self.push(0, Event::Down { node: b, peer: a });
        }
    }

    /// Lets a node author `count` entries with bodies of about `bytes`.
    pub(crate) fn author(&mut self, node: usize, count: usize, bytes: usize) {
        let mut left = count;
        while left > 0 {
            let batch = left.min(limits::AUTHOR_ENTRIES);
            let entries = (0..batch).map(|_| self.entry(bytes)).collect();
            self.author_entries(node, entries);
            left -= batch;
        }
    }

    pub(crate) fn entry(&mut self, bytes: usize) -> Entry {
        self.last_serial += 1;
        author::entry(self.last_serial, bytes)
    }

    pub(crate) fn author_entries(&mut self, node: usize, entries: Vec<Entry>) {
        self.last_command += 1;
        self.give(node, Input::Author { command: self.last_command, entries });
    }

    /// Runs for so many seconds of virtual time.
    pub(crate) fn run(&mut self, seconds: u64) {
        self.run_until(self.now + seconds * SECOND, |_| false);
    }

    /// Runs until `done` or, failing that, for so many seconds. Says how many it took.
    pub(crate) fn run_up_to(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now;
        self.run_until(begin + seconds * SECOND, done);
        (self.now - begin) / SECOND
    }

    fn run_until(&mut self, end: u64, done: impl Fn(&Self) -> bool) {
        let mut still = 0;
        while !done(self) {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) else {
                self.now = end;
                return;
            };
            let ((at, _), event) = entry.remove_entry();
            still = if at == self.now { still + 1 } else { 0 };
            assert!(still < 200_000, "time does not pass");
            self.now = at;
            self.happen(event);
        }
    }

    fn push(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    fn note(&mut self, what: &str, numbers: &[usize], bytes: &[u8]) {
        let mut line = String::new();
        write!(line, "{} {what} {numbers:?} ", self.now).unwrap();
        self.trace.update(line.as_bytes()).update(bytes);
    }

    /// A hash over everything that happened.
    pub(crate) fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Up { node, peer, session } => {
                if self.links.get(&pair(node, peer)).is_some_and(|link| link.0 == session) {
                    let id = self.nodes[peer].id;
                    self.give(node, Input::Connected(id));
                }
            }
            Event::Down { node, peer } => {
                let id = self.nodes[peer].id;
                self.nodes[node].inbox.remove(&peer);
                self.give(node, Input::Disconnected(id));
            }
            Event::Frame { from, to, session, bytes } => {
                if self.links.get(&pair(from, to)).is_some_and(|link| link.0 == session) {
                    let inbox = self.nodes[to].inbox.entry(from).or_default();
                    inbox.push_back((session, bytes));
                    self.read(to);
                }
            }
            Event::Gossip { from, to, bytes } => self.hear(from, to, bytes),
            Event::Flushed { node, life } if self.nodes[node].life == life => self.flushed(node),
            Event::Loaded { node, life, ticket, load } if self.nodes[node].life == life => {
                let loaded = self.nodes[node].disk.load(&load);
                self.give(node, Input::Loaded(ticket, loaded));
            }
            Event::Tick { node, life, at } if self.nodes[node].life == life => {
                let node_ref = &mut self.nodes[node];
                if node_ref.tick_at == Some(at) {
                    node_ref.tick_at = None;
                    self.give(node, Input::Tick);
                }
            }
            Event::Flushed { .. } | Event::Loaded { .. } | Event::Tick { .. } => {}
        }
    }

    fn hear(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let (linked, id) = (self.is_linked(from, to), self.nodes[from].id);
        let node = &mut self.nodes[to];
        let fresh = node.seen.insert(*blake3::hash(&bytes).as_bytes());
        if !linked || !fresh || !node.hears_gossip || node.machine.is_none() {
            return;
        }
        node.last_handle += 1;
        let handle = node.last_handle;
        node.heard.insert(handle, (from, bytes.clone()));
        self.give(to, Input::Heard { handle, peer: id, bytes });
    }

    /// Takes frames in as long as the machine wants them.
    fn read(&mut self, node: usize) {
        loop {
            let ids: Vec<usize> = self.nodes[node].inbox.keys().copied().collect();
            let peer = ids.into_iter().find(|peer| {
                !self.nodes[node].inbox[peer].is_empty()
                    && machine_accepts(&self.nodes, node, *peer)
            });
            let Some(peer) = peer else { return };
            let Some((_, bytes)) = self.nodes[node].inbox.get_mut(&peer).unwrap().pop_front()
            else {
                return;
            };
            self.note("frame", &[peer, node], &bytes);
            let id = self.nodes[peer].id;
            self.handle(node, Input::Received(id, bytes));
        }
    }

    fn flushed(&mut self, node: usize) {
        for done in self.nodes[node].disk.flush() {
            match done {
                Done::Appended(ticket, append) => {
                    self.check_signing(node, &append);
                    self.check_append(node, &append);
                    self.handle(node, Input::Appended(ticket));
                }
                Done::Failed(ticket) => self.handle(node, Input::StoreFailed(ticket)),
            }
        }
        self.flush_on(node);
        self.read(node);
    }

    fn flush_on(&mut self, node: usize) {
        let Node { disk, life, .. } = &mut self.nodes[node];
        if disk.flushing == 0 && !disk.pending.is_empty() {
            disk.flushing = disk.pending.len();
            let (delay, life) = (disk.delay, *life);
            self.push(delay, Event::Flushed { node, life });
        }
    }

    fn give(&mut self, node: usize, input: Input) {
        self.handle(node, input);
        self.read(node);
    }

    fn handle(&mut self, node: usize, input: Input) {
        let now = Timestamp::from_micros(self.now);
        let Some(machine) = self.nodes[node].machine.as_mut() else { return };
        machine.handle(now, input);
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(Machine::poll) {
            self.perform(node, output);
        }
        let Node { machine: Some(machine), tick_at, life, most_staged, .. } = &mut self.nodes[node]
        else {
            return;
        };
        *most_staged = (*most_staged).max(machine.staged_bytes());
        // Invariant 7.
        assert!(machine.staged_bytes() <= limits::STAGED_BYTES + limits::FRAME_BYTES);
        let due = machine.deadline().map(|due| due.as_micros().max(self.now));
        if let Some(at) = due.filter(|at| Some(*at) != *tick_at) {
            *tick_at = due;
            let life = *life;
            self.push(at - self.now, Event::Tick { node, life, at });
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send(peer, frame) => self.send(node, peer, frame),
            Output::Disconnect { peer, refusal } => {
                let peer = self.index(node, peer);
                self.note("disconnect", &[node, peer], refusal.label().as_bytes());
                self.disconnect(node, peer);
            }
            Output::Append(ticket, append) => {
                self.nodes[node].disk.pending.push_back(Write::Append(ticket, append));
                self.flush_on(node);
            }
            Output::StoreIdentity(identity) => {
                self.nodes[node].disk.pending.push_back(Write::Identity(identity));
                self.flush_on(node);
            }
            Output::StoreCursor { authority, cursor } => {
                self.nodes[node].disk.pending.push_back(Write::Cursor(authority, cursor));
                self.flush_on(node);
            }
            Output::Load(ticket, load) => {
                let life = self.nodes[node].life;
                self.push(300, Event::Loaded { node, life, ticket, load });
            }
            Output::Broadcast(bytes) => {
                let head = Announcement::decode(&bytes).unwrap().head;
                self.check_durable(node, &head);
                self.nodes[node].seen.insert(*blake3::hash(&bytes).as_bytes());
                self.flood(node, None, &bytes);
            }
            Output::Verdict { handle, verdict } => {
                let (from, bytes) = self.nodes[node].heard.remove(&handle).unwrap();
                if verdict == Verdict::Accept {
                    self.flood(node, Some(from), &bytes);
                }
            }
            Output::Authored { command, log, start, count, signed } => {
                // Invariant 5: what is acknowledged is durable.
                let kept = &self.nodes[node].disk.logs[&log];
                assert!(kept.leaves.len() as u64 >= start + count as u64);
                assert!(!signed || kept.signed() >= start + count as u64);
                self.nodes[node].authored.push((command, start, count, signed));
            }
            Output::AuthorRefused { command, refusal } => {
                self.nodes[node].author_refused.push((command, refusal));
            }
            Output::Notify(notice) => {
                self.note("notice", &[node], format!("{notice:?}").as_bytes());
                if let Notice::Refused { refusal, .. } = notice {
                    *self.nodes[node].refusals.entry(refusal).or_default() += 1;
                }
                self.nodes[node].notices.push(notice);
            }
        }
    }

    fn send(&mut self, node: usize, peer: NodeId, frame: Vec<u8>) {
        assert!(frame.len() <= limits::FRAME_BYTES, "a frame over the limit");
        let to = self.index(node, peer);
        let Some((session, delay)) = self.links.get(&pair(node, to)).copied() else { return };
        let mut frames = vec![frame];
        let message = Message::decode(&frames[0]).unwrap().unwrap();
        match &message {
            Message::News(news) => {
                news.heads.iter().chain(&news.own).for_each(|head| self.check_durable(node, head));
            }
            Message::Entries { bodies, .. } => {
                *self.bodies.entry((node, to)).or_default() += bodies.len();
            }
            _ => {}
        }
        if let Some(lie) = &mut self.nodes[node].lie {
            frames = lie(to, message);
        }
        for bytes in frames {
            let traffic = self.traffic.entry((node, to)).or_default();
            *traffic = (traffic.0 + bytes.len(), traffic.1 + 1);
            let busy = self.busy.entry((node, to)).or_default();
            *busy = self.now.max(*busy) + bytes.len() as u64 / BYTES_PER_MICROSECOND;
            let delay = *busy - self.now + delay;
            self.push(delay, Event::Frame { from: node, to, session, bytes });
        }
    }

    fn flood(&mut self, node: usize, except: Option<usize>, bytes: &[u8]) {
        for to in 0..self.nodes.len() {
            let Some((_, delay)) = self.links.get(&pair(node, to)).copied() else { continue };
            if Some(to) != except && !self.rng.chance(self.loss) {
                let jitter = self.rng.below(5_000);
                self.push(delay + jitter, Event::Gossip { from: node, to, bytes: bytes.to_vec() });
            }
        }
    }

    /// Lets the driver of a node see a fault of a peer.
    pub(crate) fn misbehaved(&mut self, node: usize, peer: NodeId, refusal: Refusal) {
        self.give(node, Input::Misbehaved(peer, refusal));
    }

    /// Passes a gossip message to a node as if `from` had.
    pub(crate) fn gossip(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        self.push(0, Event::Gossip { from, to, bytes });
    }

    /// Sends a frame that the machine of `from` knows nothing of.
    pub(crate) fn inject(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let (session, delay) = self.links[&pair(from, to)];
        self.push(delay, Event::Frame { from, to, session, bytes });
    }

    /// The node of that key; of copies the one that `from` has its newest link with.
    fn index(&self, from: usize, id: NodeId) -> usize {
        let copies = (0..self.nodes.len()).filter(|node| self.nodes[*node].id == id);
        let session = |node: &usize| self.links.get(&pair(from, *node)).map(|link| link.0);
        // Without any link the first, which comes last.
        copies.rev().max_by_key(session).unwrap()
    }

    /// Lets a copy of a node take its place on its link with `peer`.
    pub(crate) fn replace(&mut self, node: usize, copy: usize, peer: usize) {
        assert_eq!(self.nodes[node].id, self.nodes[copy].id);
        self.links.remove(&pair(node, peer));
        self.nodes[peer].inbox.remove(&node);
        self.push(0, Event::Down { node, peer });
        self.link(copy, peer);
    }

    /// The clocks of a node come apart; its links end.
    pub(crate) fn jump(&mut self, node: usize) {
        let peers: Vec<_> =
            (0..self.nodes.len()).filter(|peer| self.is_linked(node, *peer)).collect();
        for peer in &peers {
            self.links.remove(&pair(node, *peer));
            self.nodes[node].inbox.remove(peer);
            self.push(0, Event::Down { node: *peer, peer: node });
        }
        let mut run = [node as u8; 16];
        self.nodes[node].run += 1;
        run[0] = self.nodes[node].run as u8;
        self.give(node, Input::ClockJumped { run });
    }

    /// Invariant 2: an honest author never signs two histories. What a crash
    /// took before it was durable was seen by nobody and does not count.
    fn check_signing(&mut self, node: usize, append: &Append) {
        let node = &self.nodes[node];
        let Some(head) = append.head.as_ref().filter(|_| append.log == node.who.log()) else {
            return;
        };
        if !node.is_honest {
            return;
        }
        let leaves = &node.disk.logs[&append.log].leaves[..head.checkpoint().size() as usize];
        let signed = self.history.entry(append.log).or_default();
        let common = signed.len().min(leaves.len());
        assert!(signed[..common] == leaves[..common], "an author signed two histories");
        signed.extend_from_slice(&leaves[common..]);
    }

    /// Invariant 1: what is stored of others was signed, and is what was signed.
    fn check_append(&self, node: usize, append: &Append) {
        let node = &self.nodes[node];
        if append.log == node.who.log() {
            return;
        }
        let known = self.nodes.iter().map(|node| &node.who).find(|who| who.log() == append.log);
        let author = known.or(self.absent.get(&append.log)).unwrap();
        if let Some(head) = &append.head {
            let note =
                tallystick_protocol::checkpoint::UnverifiedCheckpoint::parse(&head.to_bytes());
            note.unwrap().verify(author.identity.log_key()).unwrap();
        }
        if self.honest.contains(&append.log) {
            let signed = &self.history[&append.log];
            for (at, entry) in append.entries.iter().enumerate() {
                assert_eq!(signed[append.start as usize + at], entry.leaf(), "never signed");
            }
        }
    }

    /// Invariant 5: what is announced can be served.
    fn check_durable(&self, node: usize, head: &[u8]) {
        let (log, size) = disk::claimed(head);
        assert!(self.nodes[node].disk.logs[&log].signed() >= size, "told before it was durable");
    }

    pub(crate) fn status(&self, node: usize, of: usize) -> Option<LogStatus> {
        let log = self.nodes[of].who.log();
        let machine = self.nodes[node].machine.as_ref().unwrap();
        machine.logs().into_iter().find(|status| status.log == log)
    }

    /// Entries of `of` under a signed head that `node` has.
    pub(crate) fn signed(&self, node: usize, of: usize) -> u64 {
        let log = self.nodes[of].who.log();
        self.nodes[node].disk.logs.get(&log).map_or(0, disk::Log::signed)
    }

    /// Whether all these nodes have the same heads, entries and bodies.
    pub(crate) fn agree(&self, nodes: &[usize]) -> bool {
        let content = |node: usize| {
            let logs = self.nodes[node].disk.logs.iter().filter(|(_, log)| !log.leaves.is_empty());
            logs.map(|(id, log)| (*id, &log.head, &log.headers, &log.bodies)).collect::<Vec<_>>()
        };
        let first = content(nodes[0]);
        let mut heads = nodes.iter().flat_map(|node| content(*node)).zip(first.iter().cycle());
        // Heads first, which is cheap.
        heads.all(|(one, other)| one.1 == other.1)
            && nodes.iter().all(|node| content(*node) == first)
    }

    pub(crate) fn bodies_sent(&self, from: usize, to: usize) -> usize {
        self.bodies.get(&(from, to)).copied().unwrap_or(0)
    }

    pub(crate) fn refusals(&self, node: usize, refusal: Refusal) -> usize {
        self.nodes[node].refusals.get(&refusal).copied().unwrap_or(0)
    }

    /// Nobody was refused anything.
    pub(crate) fn assert_no_refusals(&self) {
        for node in &self.nodes {
            assert_eq!(node.refusals, BTreeMap::new());
        }
    }
}

fn machine_accepts(nodes: &[Node], node: usize, peer: usize) -> bool {
    nodes[node].machine.as_ref().is_some_and(|machine| machine.accepts(&nodes[peer].id))
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
