//! Storage under the machine: confirms in order, fails when told to, reads
//! rightly, and takes nothing that does not check.

use std::collections::{BTreeMap, VecDeque};

use arbitrary::{Result, Unstructured};
use tallystick_protocol::entry::UnverifiedEntry;
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::log::{Frontier, Nodes, outline, root_at, shown_proof};
use tallystick_protocol::sync::{Append, Fill, Input, Load, Loaded, Ticket};

use super::cast::authors;

#[derive(Clone, Default)]
struct Log {
    headers: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    tree: Frontier,
    head: u64,
    changed: u64,
}

impl Nodes for Log {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves.get(usize::try_from(index).ok()?).copied()
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

#[derive(Default)]
pub(crate) struct Disk {
    logs: BTreeMap<LogId, Log>,
    appends: VecDeque<(Ticket, Append)>,
    loads: VecDeque<(Ticket, Load)>,
    events: VecDeque<Input>,
}

impl Disk {
    pub(crate) fn append(&mut self, ticket: Ticket, append: Append) {
        assert!(self.appends.len() < 4096, "appends without end");
        self.appends.push_back((ticket, append));
    }

    pub(crate) fn load(&mut self, ticket: Ticket, load: Load) {
        assert!(self.loads.len() < 4096, "loads without end");
        self.loads.push_back((ticket, load));
    }

    /// Something the driver says later.
    pub(crate) fn later(&mut self, input: Input) {
        self.events.push_back(input);
    }

    /// Root of the first `size` durable entries.
    pub(crate) fn root(&self, log: &LogId, size: u64) -> Option<Hash> {
        root_at(self.logs.get(log)?, size).ok()
    }

    /// Some of what waits comes to its end.
    pub(crate) fn complete(&mut self, choices: &mut Unstructured<'_>) -> Result<Vec<Input>> {
        let mut done: Vec<_> = self.events.drain(..).collect();
        for _ in 0..choices.int_in_range(1..=8u8)? {
            if let Some((ticket, append)) = self.appends.pop_front() {
                self.logs.entry(append.log).or_default().take(&append);
                done.push(Input::Appended(ticket));
            }
        }
        if let Some((ticket, load)) = self.loads.pop_front() {
            let loaded = if choices.ratio(1, 8)? { Loaded::Unavailable } else { self.read(&load) };
            done.push(Input::Loaded(ticket, loaded));
        }
        Ok(done)
    }

    /// The next append fails, and with it what lies behind it in the same log.
    pub(crate) fn fail(&mut self) -> Option<Input> {
        let (ticket, append) = self.appends.pop_front()?;
        self.appends.retain(|(_, other)| other.log != append.log);
        Some(Input::StoreFailed(ticket))
    }

    /// Invariant 1, of bodies that take the place of others.
    pub(crate) fn fill(&mut self, fill: &Fill) {
        let log = self.logs.get_mut(&fill.log).expect("a log that is not there");
        for (index, entry) in &fill.bodies {
            let at = usize::try_from(*index).expect("small");
            let (header, body) = entry.clone().into_bytes();
            assert_eq!(header, log.headers[at], "the body of another entry");
            let body = body.expect("an absent body was stored");
            let checked = UnverifiedEntry::new(header, Some(body.clone())).check();
            checked.expect("what is stored verifies");
            log.bodies[at] = body;
        }
    }

    fn read(&self, load: &Load) -> Loaded {
        let Some(made) = self.try_read(load) else { return Loaded::Unavailable };
        made
    }

    fn try_read(&self, load: &Load) -> Option<Loaded> {
        let at = |index: &u64| usize::try_from(*index).ok();
        match load {
            Load::Outline { log, from, size } => {
                outline(self.logs.get(log)?, *from, *size).ok().map(Loaded::Outline)
            }
            Load::Entries { log, start, end, .. } | Load::Bodies { log, start, end, .. } => {
                let (kept, range) = (self.logs.get(log)?, at(start)?..at(end)?);
                let bodies = kept.bodies.get(range.clone())?.iter().cloned().map(Some).collect();
                let whole =
                    matches!(load, Load::Entries { .. } | Load::Bodies { headers: true, .. });
                let headers = if whole { kept.headers.get(range)?.to_vec() } else { Vec::new() };
                Some(Loaded::Entries { headers, bodies })
            }
            Load::Proof { log, old, new } => {
                shown_proof(self.logs.get(log)?, *old, *new).ok().map(Loaded::Proof)
            }
        }
    }
}

impl Log {
    /// Invariant 1, checked by nothing but the bytes.
    fn take(&mut self, append: &Append) {
        assert_eq!(append.start, self.leaves.len() as u64, "an append leaves a gap");
        let author = authors().iter().find(|author| author.log() == append.log);
        let author = author.expect("a log of nobody");
        let own = author.log() == authors()[0].log();
        for entry in &append.entries {
            let (header, body) = entry.clone().into_bytes();
            let body = body.expect("an absent body was stored");
            let checked = UnverifiedEntry::new(header.clone(), Some(body.clone())).check();
            let leaf = checked.expect("what is stored verifies").leaf();
            self.leaves.push(leaf);
            self.tree.push(leaf);
            self.headers.push(header);
            self.bodies.push(body);
        }
        assert_eq!(self.tree, append.frontier, "the tree is not that of the entries");
        let said = author.branches.iter().any(|branch| branch.leaves.starts_with(&self.leaves));
        assert!(own || said, "stored what its author never said");
        if let Some(head) = &append.head {
            let checkpoint = head.checkpoint();
            assert!(checkpoint.size() >= self.head, "a head went back");
            assert_eq!(root_at(self, checkpoint.size()), Ok(checkpoint.root()), "not our head");
            let note =
                tallystick_protocol::checkpoint::UnverifiedCheckpoint::parse(&head.to_bytes());
            let note = note.expect("a head is a note").verify(author.identity.log_key());
            assert!(note.is_ok(), "stored a head that its author did not sign");
            self.head = checkpoint.size();
        }
        assert!(append.changed > self.changed, "a change counter was used twice");
        self.changed = append.changed;
    }
}
