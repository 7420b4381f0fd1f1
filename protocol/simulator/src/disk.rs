//! A disk: what is durable, and what waits to become so.
//!
//! Writes become durable in the order they were handed over, a flush later. A
//! crash takes what waits: all of it, or each write by chance. What a real store
//! promises is kept even then: no log has a gap, and nothing is durable that was
//! handed over after an identity chain which is not.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::rc::Rc;

use tallystick_protocol::checkpoint::{self, Checkpoint, Origin, UnverifiedCheckpoint};
use tallystick_protocol::entry::{Entry, UnverifiedEntry};
use tallystick_protocol::erasure::{Erasure, Erasures, Lack, Scope};
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::log::{Frontier, outline, shown_proof};
use tallystick_protocol::sync::{
    Append, Cosign, Fill, Load, Loaded, Revert, Stored, StoredEvidence, StoredIdentity, StoredLog,
    Ticket,
};
use tallystick_protocol::time::UnixTime;
use tallystick_protocol::witness::{Decision, Seen, decide_held};

use crate::archive::{Archive, Chain, Kept, KeptEntry};
use crate::authority::{Who, network};
use crate::chance::Chance;

/// One log as one node keeps it.
#[derive(Clone, Default, Debug)]
pub struct Log {
    kept: Rc<Kept>,
    /// Change counter of its newest change.
    changed: u64,
}

impl Deref for Log {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.kept
    }
}

impl Log {
    /// Takes an append; says whether this state of the log was not seen before, anywhere.
    ///
    /// # Panics
    /// If it is not what it says, or its change counter was used before.
    pub fn take(&mut self, append: &Append, archive: &mut Archive) -> bool {
        let (kept, fresh) = archive.apply(&self.kept, append);
        self.kept = kept;
        assert!(append.changed > self.changed, "a change counter was used twice");
        self.changed = append.changed;
        fresh
    }

    /// Whether both hold the same entries of log `id` under the same head, to the
    /// byte, but for what is erased on `disk`.
    #[must_use]
    pub fn same(&self, other: &Self, id: &LogId, disk: &Disk) -> bool {
        let erasures = OnceCell::new();
        let same = |(index, (one, other)): (u64, (&Rc<KeptEntry>, &Rc<KeptEntry>))| {
            if Rc::ptr_eq(one, other) {
                return true;
            }
            let erasures = erasures.get_or_init(|| disk.erasures());
            one.veiled(id, index, erasures) == other.veiled(id, index, erasures)
        };
        Rc::ptr_eq(&self.kept, &other.kept)
            || (self.head == other.head
                && self.entries.len() == other.entries.len()
                && (0..).zip(self.entries.iter().zip(&other.entries)).all(same))
    }

    /// Keeps the first entries only, under another head, and gives the tree over them.
    fn revert(&mut self, revert: &Revert) -> Frontier {
        let mut kept = self.kept.beginning(revert.keep);
        kept.head = revert.head.as_ref().map(|head| (head.checkpoint().size(), head.to_bytes()));
        assert!(revert.changed > self.changed, "a change counter was used twice");
        self.changed = revert.changed;
        let tree = kept.tree.clone();
        self.kept = Rc::new(kept);
        tree
    }

    /// The erasures in it.
    fn erasures(&self, log: LogId) -> impl Iterator<Item = (LogId, Erasure)> {
        let erasing = (0..).zip(&self.kept.entries).filter(|(_, entry)| entry.erases);
        erasing.filter_map(move |(index, entry)| {
            Some((log, Erasure::of(&log, index, &entry.checked())?))
        })
    }

    /// What its bodies lack.
    fn lacks(&self, log: LogId) -> impl Iterator<Item = (LogId, u64, Lack)> {
        let entries = (0..).zip(&self.kept.entries);
        entries.filter_map(move |(index, entry)| Some((log, index, entry.lack.clone()?)))
    }

    /// The control entries of a group's log.
    pub(crate) fn controls(&self, log: LogId) -> impl Iterator<Item = (LogId, u64, Entry)> {
        let entries = (0..).zip(&self.kept.entries).filter(|(_, entry)| entry.controls);
        entries.map(move |(index, entry)| (log, index, entry.checked()))
    }

    /// Loses the head and keeps the entries, as if they had not been signed yet.
    pub fn forget_head(&mut self) {
        let mut kept = Kept::clone(&self.kept);
        kept.head = None;
        self.kept = Rc::new(kept);
    }
}

/// Something to be made durable.
#[derive(Clone, Debug)]
pub enum Write {
    /// Entries or a head.
    Append(Ticket, Append),
    /// What is disowned is set aside.
    Revert(Ticket, Revert),
    /// Bodies in the place of others.
    Fill(Ticket, Fill),
    /// What is about to be cosigned.
    Cosign(Ticket, Cosign),
    /// Evidence.
    Evidence(StoredEvidence),
    /// An identity chain.
    Identity(StoredIdentity),
    /// How far an authority's news were read.
    Cursor(AuthorityId, Vec<u8>),
}

/// What became of an append.
#[derive(Debug)]
pub enum Done {
    /// It is durable.
    Appended {
        /// Its name.
        ticket: Ticket,
        /// What was appended.
        append: Append,
        /// Whether this state of the log was not seen before, anywhere.
        fresh: bool,
        /// Entries under a signed head, before and after.
        signed: (u64, u64),
    },
    /// A head may be cosigned now; or it may not.
    Cosigned(Ticket, Option<Decision>),
    /// A log was reverted to this tree.
    Reverted(Ticket, Frontier),
    /// Bodies were filled.
    Filled(Ticket),
    /// It failed.
    Failed(Ticket),
}

/// A disk.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    /// Name of the store.
    pub incarnation: [u8; 16],
    /// Durable logs.
    pub logs: BTreeMap<LogId, Log>,
    /// Durable identity chains, with their change counters.
    pub identities: BTreeMap<AuthorityId, (Chain, u64)>,
    /// Durable cursors.
    pub cursors: BTreeMap<AuthorityId, Vec<u8>>,
    /// The heads that were cosigned last.
    pub cosigned: BTreeMap<LogId, Seen>,
    /// Durable evidence.
    pub evidence: Vec<StoredEvidence>,
    /// What waits.
    pub pending: VecDeque<Write>,
    /// Writes that the flush under way covers.
    pub flushing: usize,
    /// How long a flush takes, in microseconds.
    pub delay: u64,
    /// Appends that fail, in percent.
    pub failing: u64,
}

impl Disk {
    /// What a machine is started over.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let log = |(log, kept): (&LogId, &Log)| StoredLog {
            log: *log,
            frontier: kept.tree.clone(),
            head: kept.head.as_ref().map(|(_, note)| note.clone()),
            changed: kept.changed,
            absent: 0,
            bytes: kept
                .entries
                .iter()
                .map(|entry| (entry.header.len() + entry.body.len()) as u64)
                .sum(),
        };
        let identity = |(authority, (chain, changed)): (&AuthorityId, &(Chain, u64))| {
            let (authority, events, changed) = (*authority, chain.to_vec(), *changed);
            StoredIdentity { authority, events, changed }
        };
        Stored {
            incarnation: self.incarnation,
            logs: self.logs.iter().map(log).collect(),
            identities: self.identities.iter().map(identity).collect(),
            evidence: self.evidence.clone(),
            cursors: self.cursors.iter().map(|(a, c)| (*a, c.clone())).collect(),
            erasures: self.logs.iter().flat_map(|(id, log)| log.erasures(*id)).collect(),
            lacks: self.logs.iter().flat_map(|(id, log)| log.lacks(*id)).collect(),
            controls: self.logs.iter().flat_map(|(id, log)| log.controls(*id)).collect(),
        }
    }

    /// The erasures in all its logs, as of the end of time: between two clocks a
    /// retention date may have passed for one node and not for another.
    #[must_use]
    pub fn erasures(&self) -> Erasures {
        let mut erasures = Erasures::at(UnixTime::from_seconds(u64::MAX));
        for (id, log) in &self.logs {
            log.erasures(*id).for_each(|(log, erasure)| erasures.insert(&log, erasure));
        }
        erasures
    }

    /// Takes values out of the body of an entry, as whoever withholds or deletes them does.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn reduce(&mut self, log: &LogId, index: u64, scope: &Scope, archive: &mut Archive) {
        let kept = self.logs.get_mut(log).expect("no such log");
        let entry = kept.entries[index as usize].checked();
        let less = scope.apply(entry.body().expect("an absent body")).unwrap().into_bytes();
        let entry = UnverifiedEntry::new(entry.header_bytes().to_vec(), Some(less));
        let fill = Fill { log: *log, bodies: vec![(index, entry.check().unwrap())] };
        kept.kept = archive.fill(&kept.kept, &fill);
    }

    fn fill_bodies(&mut self, fill: &Fill, archive: &mut Archive) {
        if let Some(log) = self.logs.get_mut(&fill.log) {
            log.kept = archive.fill(&log.kept, fill);
        }
    }

    /// What the flush covered becomes durable, in order, or fails. Behind a failed
    /// append nothing of the same log is taken that was handed over before it was known.
    pub fn flush(&mut self, archive: &mut Archive, chance: &mut Chance) -> Vec<Done> {
        let (mut done, mut failed) = (Vec::new(), BTreeSet::new());
        for write in self.pending.drain(..self.flushing).collect::<Vec<_>>() {
            match write {
                Write::Append(ticket, append) => {
                    let fails = self.failing > 0 && chance.percent(self.failing);
                    if fails || failed.contains(&append.log) {
                        failed.insert(append.log);
                        done.push(Done::Failed(ticket));
                        continue;
                    }
                    let signed = |disk: &Self| disk.logs.get(&append.log).map_or(0, |l| l.signed());
                    let before = signed(self);
                    let fresh = self.append(&append, archive);
                    let signed = (before, signed(self));
                    done.push(Done::Appended { ticket, append, fresh, signed });
                }
                Write::Revert(ticket, revert) => {
                    let tree = self.logs.entry(revert.log).or_default().revert(&revert);
                    done.push(Done::Reverted(ticket, tree));
                }
                Write::Fill(ticket, fill) => {
                    self.fill_bodies(&fill, archive);
                    done.push(Done::Filled(ticket));
                }
                Write::Cosign(ticket, cosign) => {
                    done.push(Done::Cosigned(ticket, self.cosign(cosign)));
                }
                Write::Evidence(evidence) => self.evidence.push(evidence),
                Write::Identity(identity) => self.keep(identity, archive),
                Write::Cursor(authority, cursor) => {
                    self.cursors.insert(authority, cursor);
                }
            }
        }
        self.flushing = 0;
        self.pending.retain(|write| match write {
            Write::Append(ticket, append) if failed.contains(&append.log) => {
                done.push(Done::Failed(*ticket));
                false
            }
            _ => true,
        });
        done
    }

    /// What may be cosigned is written down before anybody signs it.
    fn cosign(&mut self, cosign: Cosign) -> Option<Decision> {
        let Cosign { log, head, promised } = cosign;
        let cosigned = self.cosigned.get(&log).copied();
        let decision = decide_held(cosigned, promised, head, &**self.logs.get(&log)?).ok()?;
        self.cosigned.insert(log, decision.head());
        Some(decision)
    }

    fn keep(&mut self, identity: StoredIdentity, archive: &mut Archive) {
        let StoredIdentity { authority, events, changed } = identity;
        self.identities.insert(authority, (archive.chain(events), changed));
    }

    fn append(&mut self, append: &Append, archive: &mut Archive) -> bool {
        self.logs.entry(append.log).or_default().take(append, archive)
    }

    /// The power goes and everything that waits is lost. Says how much that was.
    pub fn crash(&mut self) -> usize {
        self.flushing = 0;
        let lost = self.pending.len();
        self.pending.clear();
        lost
    }

    /// The power goes and each write that waits is lost or kept by chance.
    /// Gives the appends that were kept, and how many writes were lost.
    pub fn tear(&mut self, archive: &mut Archive, chance: &mut Chance) -> (Vec<Append>, usize) {
        self.flushing = 0;
        let (mut kept, mut lost, mut broken) = (Vec::new(), 0, BTreeSet::new());
        let mut pending = core::mem::take(&mut self.pending);
        while let Some(write) = pending.pop_front() {
            let keeps = chance.percent(50);
            match write {
                Write::Append(_, append) if keeps && !broken.contains(&append.log) => {
                    let stored = self.logs.get(&append.log).map_or(0, |log| log.size());
                    if append.start == stored {
                        self.append(&append, archive);
                        kept.push(append);
                    }
                }
                Write::Append(_, append) => {
                    broken.insert(append.log);
                    lost += 1;
                }
                Write::Revert(_, revert) if keeps => {
                    self.logs.entry(revert.log).or_default().revert(&revert);
                }
                Write::Revert(_, revert) => {
                    broken.insert(revert.log);
                    lost += 1;
                }
                Write::Fill(_, fill) if keeps && !broken.contains(&fill.log) => {
                    self.fill_bodies(&fill, archive);
                }
                Write::Fill(..) => lost += 1,
                // Written down or not, nobody has signed it.
                Write::Cosign(_, cosign) if keeps && !broken.contains(&cosign.log) => {
                    let _decided = self.cosign(cosign);
                }
                Write::Cosign(..) => lost += 1,
                Write::Evidence(evidence) if keeps => self.evidence.push(evidence),
                Write::Evidence(_) => lost += 1,
                Write::Identity(identity) if keeps => self.keep(identity, archive),
                Write::Identity(_) => {
                    lost += 1 + pending.len();
                    break;
                }
                Write::Cursor(authority, cursor) if keeps => {
                    self.cursors.insert(authority, cursor);
                }
                Write::Cursor(..) => lost += 1,
            }
        }
        (kept, lost)
    }

    /// Puts an authority and its log of one entry on the disk.
    ///
    /// # Panics
    /// If there is such a log already.
    pub fn fill(&mut self, who: &Who, entry: Entry, changed: u64, archive: &mut Archive) {
        let (authority, events) = (who.authority(), who.events.clone());
        self.keep(StoredIdentity { authority, events, changed }, archive);
        let mut frontier = Frontier::new();
        frontier.push(entry.leaf());
        let origin = Origin::public(&network(), &authority, 0);
        let head = Checkpoint::new(origin, 1, frontier.root()).unwrap();
        let head = Some(checkpoint::sign(&head, &who.log_key()).unwrap());
        let (log, entries) = (who.log(), vec![entry]);
        let changed = changed + 1;
        let (countersigned, witnessed) = (Vec::new(), None);
        let append =
            Append { log, start: 0, entries, frontier, head, changed, countersigned, witnessed };
        self.append(&append, archive);
    }

    /// Reads for a peer.
    #[must_use]
    pub fn load(&self, load: &Load) -> Loaded {
        let range = |id: &LogId, start: u64, end: u64| {
            let log = self.logs.get(id)?;
            log.entries.get(start as usize..end as usize)
        };
        match load {
            Load::Outline { log, from, size } => {
                let made = self.logs.get(log).and_then(|log| outline(&**log, *from, *size).ok());
                made.map_or(Loaded::Unavailable, Loaded::Outline)
            }
            Load::Entries { log, start, end, bytes } => match range(log, *start, *end) {
                None => Loaded::Unavailable,
                Some(kept) => Loaded::Entries {
                    headers: kept.iter().map(|entry| entry.header.clone()).collect(),
                    bodies: fitting(kept, *bytes, 0),
                },
            },
            Load::Bodies { log, start, end, bytes, headers } => {
                let Some(kept) = range(log, *start, *end) else { return Loaded::Unavailable };
                let bodies = fitting(kept, *bytes, 1);
                let known = if *headers { &kept[..bodies.len()] } else { &[] };
                let headers = known.iter().map(|entry| entry.header.clone()).collect();
                Loaded::Entries { headers, bodies }
            }
            Load::Proof { log, old, new } => {
                let made = self.logs.get(log).and_then(|log| shown_proof(&**log, *old, *new).ok());
                made.map_or(Loaded::Unavailable, Loaded::Proof)
            }
        }
    }
}

fn fitting(entries: &[Rc<KeptEntry>], mut room: usize, least: usize) -> Vec<Option<Vec<u8>>> {
    let mut taken = Vec::new();
    for entry in entries {
        if entry.body.len() > room && taken.len() >= least {
            break;
        }
        room = room.saturating_sub(entry.body.len());
        taken.push(Some(entry.body.clone()));
    }
    taken
}

/// What a note claims.
///
/// # Panics
/// If it is no head of a public log.
#[must_use]
pub fn claimed(note: &[u8]) -> (LogId, u64) {
    let head = UnverifiedCheckpoint::parse(note).unwrap();
    let (_, authority, generation) = head.claimed_origin().public_log().unwrap();
    (LogId::public(authority, generation), head.claimed_size())
}
