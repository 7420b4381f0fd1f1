//! The machine under any sequence of inputs: what peers send, in any order and
//! mutated in any way, what storage answers or does not, and time.
//!
//! The bytes of a fuzzer are read as a list of choices. Peers answer what they
//! were asked, rightly or not, with pieces of two histories per author, so that
//! runs get beyond the first check. What must hold is checked after every step:
//!
//! - nothing is appended that its author did not sign, or that does not verify
//!   from its bytes, or that is not next to what is there (invariant 1);
//! - what is told to anybody is durable, signed and of one history (invariants 2, 5);
//! - what is staged, sent and remembered stays under its bound, and a deadline
//!   that has passed is dealt with (invariant 7).

mod cast;
mod disk;

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::id::{LogId, NodeId, Space};
use tallystick_protocol::limits;
use tallystick_protocol::log::outline;
use tallystick_protocol::sync::wire::{
    Announcement, Hello, Message, News, OutlinePage, UnverifiedAlive,
};
use tallystick_protocol::sync::{Config, Input, Machine, Output, Refusal, Stored};
use tallystick_protocol::time::{Timestamp, UnixTime};

use self::cast::{AUTHORITIES, Author, Branch, SIZES, authors, network};
use self::disk::Disk;

/// Steps of one run.
const STEPS: usize = 400;
/// Requests of the machine that a peer remembers.
const ASKED: usize = 64;
/// Outputs of one step.
const OUTPUTS: usize = 4096;

/// Lets a machine run through the choices that the bytes stand for.
pub(crate) fn machine(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let mut run = Run::new(&mut choices);
    for _ in 0..STEPS {
        if choices.is_empty() || run.step(&mut choices).is_err() {
            break;
        }
    }
}

struct Run {
    machine: Machine,
    now: u64,
    disk: Disk,
    /// What each peer was asked and has not answered.
    asked: BTreeMap<NodeId, Vec<Message>>,
    next: u64,
}

/// A node that is not our own.
fn peer(choices: &mut Unstructured<'_>) -> Result<&'static Author> {
    Ok(&authors()[choices.int_in_range(1..=AUTHORITIES - 1)?])
}

fn author(choices: &mut Unstructured<'_>) -> Result<&'static Author> {
    choices.choose(authors())
}

/// Mostly what the author says to everybody.
fn branch(choices: &mut Unstructured<'_>, author: &'static Author) -> Result<&'static Branch> {
    Ok(&author.branches[usize::from(choices.ratio(1, 4)?)])
}

impl Run {
    fn new(choices: &mut Unstructured<'_>) -> Self {
        let own = &authors()[0];
        let config = Config {
            network: network(),
            authority: own.authority(),
            log_key: own.log_key.clone(),
            generation: 0,
            node: own.node,
            run: [1; 16],
            started: UnixTime::from_seconds(1_760_000_000),
            own_head_answers: usize::from(choices.ratio(1, 3).unwrap_or(false)),
            sign_alone: choices.ratio(1, 2).unwrap_or(true),
        };
        let stored = Stored { incarnation: [3; 16], ..Stored::default() };
        let (machine, damaged) = Machine::new(config, stored);
        assert!(damaged.is_empty());
        let mut run =
            Self { machine, now: 0, disk: Disk::default(), asked: BTreeMap::new(), next: 0 };
        // The last one is known only if somebody tells of it.
        for author in &authors()[..AUTHORITIES - 1] {
            run.input(Input::Introduce(author.identity.events().to_vec()));
        }
        run
    }

    fn step(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        match choices.int_in_range(0..=15u8)? {
            0 => self.connect(peer(choices)?.node),
            1 => {
                let node = peer(choices)?.node;
                self.asked.remove(&node);
                self.input(Input::Disconnected(node));
            }
            2..=4 => {
                let from = peer(choices)?;
                let message = self.message(choices, from)?;
                let frame = mutated(choices, message.encode())?;
                self.frame(from.node, frame);
            }
            5..=8 => {
                let from = peer(choices)?.node;
                let Some(asked) = self.asked.get_mut(&from).filter(|asked| !asked.is_empty())
                else {
                    return Ok(());
                };
                let at = choices.choose_index(asked.len())?;
                let request = asked.remove(at);
                for answer in answers(choices, &request)? {
                    let frame = mutated(choices, answer.encode())?;
                    self.frame(from, frame);
                }
            }
            9 => {
                let from = peer(choices)?.node;
                let bytes = announcement(choices)?.encode();
                let bytes = mutated(choices, bytes)?;
                self.next += 1;
                self.input(Input::Heard { handle: self.next, peer: from, bytes });
            }
            10 => {
                let count = choices.int_in_range(0..=20u64)?;
                let serials = (0..count).map(|at| 0xff00_0000_0000 + self.next * 100 + at);
                let entries = serials.map(cast::entry).collect();
                self.next += 1;
                self.input(Input::Author { command: self.next, space: Space::Public, entries });
            }
            11 | 12 => {
                for input in self.disk.complete(choices)? {
                    self.input(input);
                }
            }
            13 => self.tick(),
            14 => {
                self.now += u64::from(choices.arbitrary::<u32>()?);
                self.tick();
            }
            _ => self.rare(choices)?,
        }
        Ok(())
    }

    fn rare(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let from = peer(choices)?;
        match choices.int_in_range(0..=4u8)? {
            0 => {
                if let Some(input) = self.disk.fail() {
                    self.input(input);
                }
            }
            1 => {
                let length = choices.arbitrary_len::<u8>()?;
                let frame = choices.bytes(length)?.to_vec();
                self.frame(from.node, frame);
            }
            2 => {
                let refusal = *choices.choose(&[Refusal::TooFast, Refusal::TooSlow])?;
                self.input(Input::Misbehaved(from.node, refusal));
            }
            3 => {
                self.asked.clear();
                self.input(Input::ClockJumped { run: [choices.arbitrary()?; 16] });
            }
            _ => {
                let events = from.identity.events().to_vec();
                self.input(Input::Introduce(events));
            }
        }
        Ok(())
    }

    fn connect(&mut self, node: NodeId) {
        self.asked.remove(&node);
        self.input(Input::Connected(node));
    }

    /// A frame is taken off a stream only while the machine accepts it.
    fn frame(&mut self, from: NodeId, frame: Vec<u8>) {
        if self.machine.accepts(&from) {
            self.input(Input::Received(from, frame));
        }
    }

    /// Deadlines are met; time has to get on with it.
    fn tick(&mut self) {
        for _ in 0..64 {
            let Some(due) = self.machine.deadline() else { return };
            if due.as_micros() > self.now + 1_000_000 {
                return;
            }
            self.now = self.now.max(due.as_micros());
            self.input(Input::Tick);
        }
        let due = self.machine.deadline().map(Timestamp::as_micros);
        assert!(due.is_none_or(|due| due > self.now), "a deadline is never dealt with");
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(Timestamp::from_micros(self.now), input);
        let mut outputs = 0;
        while let Some(output) = self.machine.poll() {
            outputs += 1;
            self.output(output);
        }
        assert!(outputs <= OUTPUTS, "{outputs} outputs of one input");
        assert!(self.machine.staged_bytes() <= limits::STAGED_BYTES + limits::FRAME_BYTES);
        assert!(self.machine.peers().len() < AUTHORITIES);
        assert!(self.machine.standings().len() < AUTHORITIES);
        assert!(self.machine.logs().len() <= AUTHORITIES);
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(node, frame) => self.sent(node, &frame),
            Output::Disconnect { peer, .. } => {
                self.asked.remove(&peer);
                self.disk.later(Input::Disconnected(peer));
            }
            Output::Append(ticket, append) => self.disk.append(ticket, append),
            Output::Load(ticket, load) => self.disk.load(ticket, load),
            Output::Broadcast(bytes) => {
                let announced = Announcement::decode(&bytes).expect("our own words");
                self.told(&announced.head);
            }
            Output::StoreIdentity(identity) => {
                assert!(authors().iter().any(|author| {
                    author.authority() == identity.authority
                        && author.identity.events() == identity.events
                }));
            }
            Output::Fill(ticket, fill) => {
                self.disk.fill(&fill);
                self.disk.later(Input::Filled(ticket));
            }
            // Nothing that peers say disowns entries; only controllers can, and here none do.
            Output::Revert(_, revert) => panic!("{} is reverted", revert.log),
            _ => {}
        }
    }

    fn sent(&mut self, node: NodeId, frame: &[u8]) {
        assert!(frame.len() <= limits::FRAME_BYTES);
        let message = Message::decode(frame).expect("our own words").expect("a known type");
        match &message {
            Message::News(news) => news.heads.iter().chain(&news.own).for_each(|h| self.told(h)),
            Message::WantOutline { .. }
            | Message::WantEntries { .. }
            | Message::WantBodies { .. } => {
                let asked = self.asked.entry(node).or_default();
                assert!(asked.len() < ASKED * AUTHORITIES, "too many requests to one peer");
                asked.push(message);
            }
            _ => {}
        }
    }

    /// Invariants 2 and 5: what is told lies on the one history that is durable.
    fn told(&self, head: &[u8]) {
        let head = UnverifiedCheckpoint::parse(head).expect("our own words");
        let (_, authority, generation) = head.claimed_origin().public_log().expect("a public log");
        let log = LogId::public(authority, generation);
        let root = self.disk.root(&log, head.claimed_size()).expect("told before it was durable");
        let author = authors().iter().find(|author| author.authority() == authority);
        let head = head.verify(author.expect("somebody").identity.log_key()).expect("signed");
        assert_eq!(head.checkpoint().root(), root, "a second history is told");
    }

    /// Something that a peer may say unasked, made of valid pieces.
    fn message(&self, choices: &mut Unstructured<'_>, from: &Author) -> Result<Message> {
        let log = author(choices)?.log();
        let id = choices.int_in_range(0..=40u64)?;
        let (start, end) = (choices.int_in_range(0..=700)?, choices.int_in_range(0..=700)?);
        Ok(match choices.int_in_range(0..=11u8)? {
            0 | 1 => Message::Hello(Hello {
                network: network(),
                authority: from.authority(),
                run: [9; 16],
                cursor: cursor(choices)?,
            }),
            2 => Message::Since { cursor: cursor(choices)? },
            3..=5 => Message::News(news(choices)?),
            6 => Message::WantOutline { id, log, from: start, size: end },
            7 => Message::WantEntries { id, log, start, end },
            8 => Message::WantBodies { id, log, start, end },
            9 => Message::Refused { id },
            10 => Message::Seen { node: author(choices)?.node, run: [choices.arbitrary()?; 16] },
            _ => Message::Alive(UnverifiedAlive {
                node: author(choices)?.node,
                run: [choices.arbitrary()?; 16],
                started: UnixTime::from_seconds(choices.arbitrary()?),
                probe: [choices.arbitrary()?; 16],
                signature: [choices.arbitrary()?; 64],
            }),
        })
    }
}

fn cursor(choices: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    if choices.ratio(1, 2)? {
        return Ok(None);
    }
    let counter = u64::from(choices.arbitrary::<u32>()?);
    Ok(Some([[3; 16].as_slice(), &counter.to_be_bytes()].concat()))
}

fn head(choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let author = author(choices)?;
    if choices.ratio(1, 16)? {
        return Ok(author.forged.clone());
    }
    let heads = &branch(choices, author)?.heads;
    Ok(choices.choose(heads)?.clone())
}

fn news(choices: &mut Unstructured<'_>) -> Result<News> {
    let mut news = News { cursor: vec![5; 24], more: choices.ratio(1, 4)?, ..News::default() };
    for _ in 0..choices.int_in_range(0..=4u8)? {
        news.heads.push(head(choices)?);
    }
    if choices.ratio(1, 4)? {
        news.identities.push(author(choices)?.identity.events().to_vec());
    }
    if choices.ratio(1, 6)? {
        let own = &authors()[0];
        let heads = &branch(choices, own)?.heads;
        news.own.push(choices.choose(heads)?.clone());
    }
    Ok(news)
}

fn announcement(choices: &mut Unstructured<'_>) -> Result<Announcement> {
    let author = author(choices)?;
    let branch = branch(choices, author)?;
    let at = choices.choose_index(SIZES.len())?;
    let end = usize::try_from(SIZES[at]).expect("small");
    let count = choices.int_in_range(0..=end.min(limits::GOSSIP_ENTRIES))?;
    let range = end - count..end;
    let bodies = branch.bodies[range.clone()].iter().map(|body| Some(body.clone()));
    let entries = branch.headers[range].iter().cloned().zip(bodies).collect();
    let start = (end - count) as u64;
    Ok(Announcement { head: branch.heads[at].clone(), start, entries })
}

/// What a peer answers to a request: the truth of one of the histories, or a refusal.
fn answers(choices: &mut Unstructured<'_>, request: &Message) -> Result<Vec<Message>> {
    let find = |log: &LogId| authors().iter().find(|author| author.log() == *log);
    let refused = |id: &u64| Ok(vec![Message::Refused { id: *id }]);
    match request {
        Message::WantOutline { id, log, from, size } => {
            let Some(author) = find(log) else { return refused(id) };
            let made = outline(branch(choices, author)?, *from, *size);
            let Ok(made) = made.map_err(drop) else { return refused(id) };
            let (proof, tail) = (Some(made.proof), made.tail);
            let (id, subtrees) = (*id, made.subtrees);
            if choices.ratio(1, 8)? && subtrees.len() > 1 {
                let (first, rest) = subtrees.split_at(1);
                let (first, rest) = (first.to_vec(), rest.to_vec());
                return Ok(vec![
                    Message::OutlinePage(OutlinePage {
                        id,
                        proof,
                        subtrees: first,
                        last: false,
                        tail: None,
                    }),
                    Message::OutlinePage(OutlinePage {
                        id,
                        proof: None,
                        subtrees: rest,
                        last: true,
                        tail,
                    }),
                ]);
            }
            Ok(vec![Message::OutlinePage(OutlinePage { id, proof, subtrees, last: true, tail })])
        }
        Message::WantEntries { id, log, start, end }
        | Message::WantBodies { id, log, start, end } => {
            let Some(author) = find(log) else { return refused(id) };
            let branch = branch(choices, author)?;
            let index = |at: &u64| usize::try_from(*at).unwrap_or(usize::MAX);
            let range = index(start)..index(end);
            if range.end > branch.leaves.len() || range.start >= range.end {
                return refused(id);
            }
            let mut bodies: Vec<_> =
                branch.bodies[range.clone()].iter().map(|body| Some(body.clone())).collect();
            if choices.ratio(1, 8)? {
                bodies.truncate(choices.int_in_range(0..=bodies.len())?);
            }
            if choices.ratio(1, 16)?
                && let Some(body) = bodies.first_mut()
            {
                *body = None;
            }
            let whole = matches!(request, Message::WantEntries { .. });
            let headers = if whole { branch.headers[range].to_vec() } else { Vec::new() };
            Ok(vec![Message::Entries { id: *id, headers, bodies }])
        }
        _ => Ok(Vec::new()),
    }
}

/// Mostly the bytes as they are; else cut, with changed bytes, or with more behind them.
fn mutated(choices: &mut Unstructured<'_>, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !choices.ratio(1, 8)? || bytes.is_empty() {
        return Ok(bytes);
    }
    match choices.int_in_range(0..=2u8)? {
        0 => bytes.truncate(choices.choose_index(bytes.len())?),
        1 => bytes.push(choices.arbitrary()?),
        _ => {
            for _ in 0..choices.int_in_range(1..=4u8)? {
                let at = choices.choose_index(bytes.len())?;
                bytes[at] = choices.arbitrary()?;
            }
        }
    }
    Ok(bytes)
}
