//! Every entry, every state of a log and every identity chain that ever became
//! durable anywhere, kept once however many nodes hold it.
//!
//! It is the half of the oracle that looks at bytes: what a machine hands to its
//! disk is checked here, from nothing but its bytes, when it is seen for the
//! first time, and compared with what was checked after that. So the check
//! after every step is cheap, and two nodes hold the same exactly if they hold
//! the same state of the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tallystick_protocol::body::Body;
use tallystick_protocol::entry::{Action, Entry, UnverifiedEntry};
use tallystick_protocol::erasure::{Erasures, Lack};
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::log::{Frontier, Nodes, leaf_hash, root_at};
use tallystick_protocol::sync::{Append, Fill};

/// One entry, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntry {
    /// Header bytes.
    pub header: Vec<u8>,
    /// Body bytes.
    pub body: Vec<u8>,
    /// Hash of the header as a leaf.
    pub leaf: Hash,
    /// What its body lacks.
    pub lack: Option<Lack>,
    /// Whether it erases something, now or from a date on.
    pub erases: bool,
    /// Whether it is about who is in a group.
    pub controls: bool,
}

impl KeptEntry {
    /// The entry, checked once more.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn checked(&self) -> Entry {
        let (header, body) = (self.header.clone(), self.body.clone());
        UnverifiedEntry::new(header, Some(body)).check().expect("a bad entry")
    }

    /// Header, and what is left of the body without what is erased.
    #[must_use]
    pub fn veiled(&self, log: &LogId, index: u64, erasures: &Erasures) -> (Vec<u8>, Vec<u8>) {
        let entry = self.checked();
        let left = entry.body().and_then(|b| erasures.veil(log, index, entry.header(), b));
        let body = left.map_or_else(|| self.body.clone(), Body::into_bytes);
        (self.header.clone(), body)
    }
}

/// One state of a log.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// All entries.
    pub entries: Vec<Rc<KeptEntry>>,
    /// The tree over them.
    pub tree: Frontier,
    /// Size and note of the newest signed head.
    pub head: Option<(u64, Vec<u8>)>,
    /// Which bodies lack something, and what is left of them: a sum over hashes.
    lacking: [u8; 32],
}

impl Nodes for Kept {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.entries.get(index as usize).map(|entry| entry.leaf)
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

impl Kept {
    /// Entries under the newest signed head.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.head.as_ref().map_or(0, |(size, _)| *size)
    }

    /// How many entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Puts another body in the place of an entry's.
    fn replace(&mut self, index: u64, entry: Rc<KeptEntry>) {
        let before = core::mem::replace(&mut self.entries[index as usize], entry);
        self.count_lack(index, &before);
        let now = Rc::clone(&self.entries[index as usize]);
        self.count_lack(index, &now);
    }

    /// Adds or takes back that an entry lacks something.
    fn count_lack(&mut self, index: u64, entry: &KeptEntry) {
        if entry.lack.is_some() {
            let mut hash = blake3::Hasher::new();
            hash.update(&index.to_be_bytes()).update(&entry.body);
            let hash = hash.finalize();
            self.lacking.iter_mut().zip(hash.as_bytes()).for_each(|(sum, one)| *sum ^= one);
        }
    }

    /// The first `size` entries, without a head.
    #[must_use]
    pub fn beginning(&self, size: u64) -> Self {
        let mut kept = Self::default();
        for (index, entry) in (0..).zip(self.entries.iter().take(size as usize)) {
            kept.tree.push(entry.leaf);
            kept.count_lack(index, entry);
            kept.entries.push(Rc::clone(entry));
        }
        kept
    }

    /// Leaf hashes of the first `size` entries.
    pub fn leaves(&self, size: u64) -> impl Iterator<Item = Hash> {
        self.entries.iter().take(size as usize).map(|entry| entry.leaf)
    }

    fn is_built_by(&self, before: &Self, fresh: &[Rc<KeptEntry>]) -> bool {
        let same = |(one, other): (&Rc<_>, &Rc<_>)| Rc::ptr_eq(one, other);
        self.entries.len() == before.entries.len() + fresh.len()
            && self.entries.iter().zip(before.entries.iter().chain(fresh)).all(same)
    }
}

/// States of one log by size, signed size, and the hash of tree and head.
type States = BTreeMap<(u64, u64, [u8; 32]), Rc<Kept>>;

#[derive(Debug, Default)]
struct Versions {
    /// By index: the entries known there, one unless the author forked.
    entries: Vec<Vec<Rc<KeptEntry>>>,
    states: States,
}

/// Signed events of an identity chain.
pub type Chain = Rc<Vec<Vec<u8>>>;

/// All that is durable anywhere.
#[derive(Debug, Default)]
pub struct Archive {
    logs: BTreeMap<LogId, Versions>,
    chains: BTreeSet<Chain>,
}

impl Archive {
    /// An identity chain, kept once.
    pub fn chain(&mut self, events: Vec<Vec<u8>>) -> Chain {
        if let Some(known) = self.chains.get(&events) {
            return Rc::clone(known);
        }
        let kept = Rc::new(events);
        self.chains.insert(Rc::clone(&kept));
        kept
    }

    /// The state of a log after an append that follows `before`, and whether it
    /// is seen for the first time.
    ///
    /// # Panics
    /// If the append is not what it says (invariant 1 of the design).
    pub fn apply(&mut self, before: &Kept, append: &Append) -> (Rc<Kept>, bool) {
        assert_eq!(append.start, before.size(), "an append leaves a gap");
        let versions = self.logs.entry(append.log).or_default();
        let fresh: Vec<_> = append
            .entries
            .iter()
            .zip(append.start..)
            .map(|(entry, index)| versions.entry(index as usize, entry))
            .collect();
        let note = append.head.as_ref().map(|head| (head.checkpoint().size(), head.to_bytes()));
        let head = note.or_else(|| before.head.clone());
        let mut bodies = Kept { lacking: before.lacking, ..Kept::default() };
        (append.start..).zip(&fresh).for_each(|(index, entry)| bodies.count_lack(index, entry));
        let mut hash = blake3::Hasher::new();
        hash.update(append.frontier.root().as_bytes()).update(&bodies.lacking);
        if let Some((size, note)) = &head {
            assert!(*size >= before.signed(), "a head went back");
            hash.update(note);
        }
        let size = append.start + fresh.len() as u64;
        let signed = head.as_ref().map_or(0, |(size, _)| *size);
        let key = (size, signed, *hash.finalize().as_bytes());
        if let Some(known) = versions.states.get(&key) {
            assert!(known.is_built_by(before, &fresh), "other entries under the same root");
            return (Rc::clone(known), false);
        }
        let lacking = bodies.lacking;
        let kept = Rc::new(Kept { lacking, ..build(before, fresh, append, head) });
        versions.states.insert(key, Rc::clone(&kept));
        (kept, true)
    }

    /// The state of a log with bodies in the place of others.
    ///
    /// # Panics
    /// If these are not the bodies of its entries (invariant 1 of the design).
    pub fn fill(&mut self, before: &Kept, fill: &Fill) -> Rc<Kept> {
        let versions = self.logs.entry(fill.log).or_default();
        let mut kept = before.clone();
        for (index, entry) in &fill.bodies {
            let entry = versions.entry(*index as usize, entry);
            assert_eq!(entry.leaf, kept.entries[*index as usize].leaf, "another entry's body");
            kept.replace(*index, entry);
        }
        Rc::new(kept)
    }
}

impl Versions {
    /// The entry of these bytes at `index`; checked if it is new.
    fn entry(&mut self, index: usize, entry: &Entry) -> Rc<KeptEntry> {
        let header = entry.header_bytes();
        let body = entry.body().expect("an absent body was stored").as_bytes();
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, Vec::new);
        }
        let known = &mut self.entries[index];
        if let Some(known) = known.iter().find(|e| e.header == header && e.body == body) {
            return Rc::clone(known);
        }
        // Invariant 1: checked again, by nothing but its bytes.
        let (header, body) = (header.to_vec(), body.to_vec());
        UnverifiedEntry::new(header.clone(), Some(body.clone())).check().expect("a bad entry");
        let leaf = leaf_hash(&header);
        let (lack, header_of) = (Lack::of(entry), entry.header());
        let erases = header_of.action == Action::Erase || header_of.retain_until.is_some();
        let controls = header_of.action.is_control();
        known.push(Rc::new(KeptEntry { header, body, leaf, lack, erases, controls }));
        Rc::clone(&known[known.len() - 1])
    }
}

fn build(
    before: &Kept,
    fresh: Vec<Rc<KeptEntry>>,
    append: &Append,
    head: Option<(u64, Vec<u8>)>,
) -> Kept {
    let mut kept = Kept { head, ..before.clone() };
    fresh.iter().for_each(|entry| kept.tree.push(entry.leaf));
    kept.entries.extend(fresh);
    assert_eq!(kept.tree, append.frontier, "the tree is not that of the entries");
    if let Some(head) = &append.head {
        let checkpoint = head.checkpoint();
        assert_eq!(root_at(&kept, checkpoint.size()), Ok(checkpoint.root()), "not our head");
    }
    kept
}
