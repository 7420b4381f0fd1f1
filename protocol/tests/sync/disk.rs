//! A disk: what is durable, and what waits to become so. Checks what it is
//! handed as a real store would.

use std::collections::{BTreeMap, VecDeque};

use tallystick_protocol::checkpoint::{self, Checkpoint, Origin, UnverifiedCheckpoint};
use tallystick_protocol::entry::{Entry, UnverifiedEntry};
use tallystick_protocol::id::{AuthorityId, Hash, LogId};
use tallystick_protocol::limits::SUBTREE_ENTRIES;
use tallystick_protocol::log::{Frontier, Nodes, leaf_hash, outline, root_at};
use tallystick_protocol::sync::{Append, Load, Loaded, Stored, StoredIdentity, StoredLog, Ticket};

use super::author::Who;

/// One log as it is kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) tree: Frontier,
    /// Size and note of the newest signed head.
    pub(crate) head: Option<(u64, Vec<u8>)>,
    changed: u64,
}

impl Nodes for Log {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves.get(index as usize).copied()
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

impl Log {
    pub(crate) fn signed(&self) -> u64 {
        self.head.as_ref().map_or(0, |(size, _)| *size)
    }

    fn take(&mut self, append: &Append) {
        assert_eq!(append.start, self.leaves.len() as u64, "an append leaves a gap");
        for entry in &append.entries {
            let body = entry.body().expect("an absent body was stored").as_bytes().to_vec();
            let header = entry.header_bytes().to_vec();
            // Invariant 1: checked again, by nothing but its bytes.
            UnverifiedEntry::new(header.clone(), Some(body.clone())).check().unwrap();
            self.leaves.push(leaf_hash(&header));
            self.tree.push(leaf_hash(&header));
            self.headers.push(header);
            self.bodies.push(body);
        }
        assert_eq!(self.tree, append.frontier, "the tree is not that of the entries");
        if let Some(head) = &append.head {
            let checkpoint = head.checkpoint();
            assert!(checkpoint.size() >= self.signed(), "a head went back");
            assert_eq!(root_at(self, checkpoint.size()), Ok(checkpoint.root()), "not our head");
            self.head = Some((checkpoint.size(), head.to_bytes()));
        }
        assert!(append.changed > self.changed, "a change counter was used twice");
        self.changed = append.changed;
    }
}

#[derive(Clone)]
pub(crate) enum Write {
    Append(Ticket, Append),
    Identity(StoredIdentity),
    Cursor(AuthorityId, Vec<u8>),
}

#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) incarnation: [u8; 16],
    pub(crate) logs: BTreeMap<LogId, Log>,
    pub(crate) identities: BTreeMap<AuthorityId, StoredIdentity>,
    pub(crate) cursors: BTreeMap<AuthorityId, Vec<u8>>,
    pub(crate) pending: VecDeque<Write>,
    /// Writes that the flush under way covers.
    pub(crate) flushing: usize,
    pub(crate) delay: u64,
    pub(crate) fails: bool,
}

/// What a flush ended with.
pub(crate) enum Done {
    Appended(Ticket, Append),
    Failed(Ticket),
}

impl Disk {
    pub(crate) fn stored(&self) -> Stored {
        let log = |(log, kept): (&LogId, &Log)| StoredLog {
            log: *log,
            frontier: kept.tree.clone(),
            head: kept.head.as_ref().map(|(_, note)| note.clone()),
            changed: kept.changed,
            absent: 0,
        };
        Stored {
            incarnation: self.incarnation,
            logs: self.logs.iter().map(log).collect(),
            identities: self.identities.values().cloned().collect(),
            cursors: self.cursors.iter().map(|(a, c)| (*a, c.clone())).collect(),
        }
    }

    /// What the flush covered becomes durable, in order.
    pub(crate) fn flush(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        for write in self.pending.drain(..self.flushing) {
            match write {
                Write::Append(ticket, _) if self.fails => done.push(Done::Failed(ticket)),
                Write::Append(ticket, append) => {
                    self.logs.entry(append.log).or_default().take(&append);
                    done.push(Done::Appended(ticket, append));
                }
                Write::Identity(identity) => {
                    self.identities.insert(identity.authority, identity);
                }
                Write::Cursor(authority, cursor) => {
                    self.cursors.insert(authority, cursor);
                }
            }
        }
        self.flushing = 0;
        done
    }

    /// Puts an authority and its log of one entry on the disk.
    pub(crate) fn fill(&mut self, who: &Who, entry: Entry, changed: u64) {
        let (authority, events) = (who.authority(), who.events.clone());
        self.identities.insert(authority, StoredIdentity { authority, events, changed });
        let mut frontier = Frontier::new();
        frontier.push(entry.leaf());
        let origin = Origin::public(&super::author::network(), &authority, 0);
        let head = Checkpoint::new(origin, 1, frontier.root()).unwrap();
        let head = Some(checkpoint::sign(&head, &who.log_key()).unwrap());
        let log = who.log();
        let entries = vec![entry];
        let append = Append { log, start: 0, entries, frontier, head, changed: changed + 1 };
        self.logs.entry(log).or_default().take(&append);
    }

    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.flushing = 0;
    }

    pub(crate) fn load(&self, load: &Load) -> Loaded {
        let log = |id: &LogId| self.logs.get(id);
        match load {
            Load::Outline { log: id, from, size } => {
                let made = log(id).and_then(|log| outline(log, *from, *size).ok());
                made.map_or(Loaded::Unavailable, Loaded::Outline)
            }
            Load::Entries { log: id, start, end, bytes } => {
                let range = *start as usize..*end as usize;
                let Some(kept) = log(id).filter(|log| range.end <= log.headers.len()) else {
                    return Loaded::Unavailable;
                };
                let bodies = fitting(&kept.bodies[range.clone()], *bytes, 0);
                Loaded::Entries { headers: kept.headers[range].to_vec(), bodies }
            }
            Load::Bodies { log: id, start, end, bytes } => {
                let range = *start as usize..*end as usize;
                let Some(kept) = log(id).filter(|log| range.end <= log.headers.len()) else {
                    return Loaded::Unavailable;
                };
                Loaded::Entries {
                    headers: Vec::new(),
                    bodies: fitting(&kept.bodies[range], *bytes, 1),
                }
            }
        }
    }
}

fn fitting(bodies: &[Vec<u8>], mut room: usize, least: usize) -> Vec<Option<Vec<u8>>> {
    let mut taken = Vec::new();
    for body in bodies {
        if body.len() > room && taken.len() >= least {
            break;
        }
        room = room.saturating_sub(body.len());
        taken.push(Some(body.clone()));
    }
    taken
}

/// What a note claims, for the oracle.
pub(crate) fn claimed(note: &[u8]) -> (LogId, u64) {
    let head = UnverifiedCheckpoint::parse(note).unwrap();
    let (_, authority, generation) = head.claimed_origin().public_log().unwrap();
    (LogId::public(authority, generation), head.claimed_size())
}

const _: () = assert!(SUBTREE_ENTRIES == 256, "sizes in these tests lie around 256");
