//! One suite for both replicas: whatever is done to them, they answer as a plain
//! model does, and the one on disk still does after it was closed and opened.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test may panic, and its sizes are small"
)]

mod store_fixture;

use std::collections::BTreeMap;

use proptest::prelude::*;
use store_fixture::{OTHER, OWN, bare, entry, extension, head, log, stored, tree};
use tallystick_node::store::audit::{audit, audit_branch};
use tallystick_node::store::memory::MemoryReplica;
use tallystick_node::store::sled::SledReplica;
use tallystick_node::store::{Extension, Refusal, Replica, SignedHead, StoreError, StoredEntry};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::equivocation::EvidenceKind;
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, Space};
use tallystick_protocol::limits;
use tallystick_protocol::log::{self as merkle, Frontier};
use tallystick_protocol::sync::{Load, Loaded, StoredEvidence, StoredIdentity};

const CACHE: u64 = 4 << 20;

/// Which logs operations are about.
fn logs() -> [LogId; 3] {
    let group = Space::Group(GroupId::from_bytes([9; 32]));
    [log(OWN), log(OTHER), LogId { authority: OTHER, space: group, generation: 3 }]
}

#[derive(Clone, Debug)]
enum Operation {
    /// One call with an extension per item: log, entries, length of bodies, signed.
    Extend(Vec<(usize, usize, usize, bool)>),
    /// The same, but its last extension does not fit.
    Misfit(Vec<(usize, usize, usize, bool)>, Misfit),
    SetBody(usize, u64, Option<usize>),
    /// Log, how many of how many parts stay, and whether under a head.
    SetAside(usize, usize, bool),
    Identity(u8, Vec<usize>),
    /// Authority, kind, places and lengths.
    Evidence(u8, usize, Vec<(u32, usize)>),
    Cursor(u8, usize),
    Put(Vec<(u8, Option<usize>)>),
    Reopen,
}

/// Log, entries before, entries after, and whether a head comes with them.
type Planned = (LogId, usize, Vec<Entry>, bool);

#[derive(Clone, Copy, Debug)]
enum Misfit {
    Gap,
    Tree,
    Head,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    // Inline in a page, apart from it in one piece, apart in several pieces.
    let len = || prop_oneof![6 => 0usize..900, 1 => 4000usize..9000, 1 => 60_000usize..140_000];
    let extend = || {
        let item = (0usize..3, 0usize..40, len(), any::<bool>());
        proptest::collection::vec(item, 1..4)
    };
    let misfit = prop_oneof![Just(Misfit::Gap), Just(Misfit::Tree), Just(Misfit::Head)];
    let value = (0u8..12, proptest::option::of(len()));
    let operation = prop_oneof![
        6 => extend().prop_map(Operation::Extend),
        2 => (extend(), misfit).prop_map(|(items, misfit)| Operation::Misfit(items, misfit)),
        3 => (0usize..3, 0u64..200, proptest::option::of(len()))
            .prop_map(|(log, index, body)| Operation::SetBody(log, index, body)),
        2 => (0usize..3, 0usize..=4, any::<bool>())
            .prop_map(|(log, quarters, signed)| Operation::SetAside(log, quarters, signed)),
        1 => (0u8..3, proptest::collection::vec(0usize..2000, 0..5))
            .prop_map(|(of, events)| Operation::Identity(of, events)),
        2 => (0u8..2, 0usize..2, proptest::collection::vec((0u32..9, len()), 0..12))
            .prop_map(|(of, kind, pieces)| Operation::Evidence(of, kind, pieces)),
        1 => (0u8..3, 0usize..=64).prop_map(|(of, len)| Operation::Cursor(of, len)),
        3 => proptest::collection::vec(value, 0..6).prop_map(Operation::Put),
        1 => Just(Operation::Reopen),
    ];
    proptest::collection::vec(operation, 1..14)
}

/// What a replica must answer, kept in the plainest way.
#[derive(Default)]
struct Model {
    logs: BTreeMap<LogId, ModelLog>,
    /// What was set aside, in order.
    branches: Vec<(LogId, ModelLog)>,
    identities: BTreeMap<AuthorityId, StoredIdentity>,
    evidence: Vec<StoredEvidence>,
    cursors: BTreeMap<AuthorityId, Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    seed: u64,
}

#[derive(Clone, Default)]
struct ModelLog {
    entries: Vec<Entry>,
    stored: Vec<StoredEntry>,
    head: Option<SignedHead>,
    changed: u64,
}

impl Model {
    /// The entries a call will add, per item, and each log's entries after it.
    fn plan(&mut self, items: &[(usize, usize, usize, bool)]) -> Vec<Planned> {
        let mut all: BTreeMap<LogId, Vec<Entry>> =
            self.logs.iter().map(|(log, known)| (*log, known.entries.clone())).collect();
        let mut plan = Vec::new();
        for (which, count, len, signed) in items {
            let entries = all.entry(logs()[*which]).or_default();
            let start = entries.len();
            // Long bodies are few, or the test would take all day.
            let count = if *len > 1000 { count % 3 } else { *count };
            for _ in 0..count {
                self.seed += 1;
                let full = entry(self.seed, *len);
                entries.push(if self.seed.is_multiple_of(5) { bare(&full) } else { full });
            }
            plan.push((logs()[*which], start, entries.clone(), *signed));
        }
        plan
    }

    /// Keeps evidence as the limits say; says whether it did.
    fn keep(&mut self, new: &StoredEvidence) -> bool {
        let alike =
            |known: &&StoredEvidence| (known.authority, known.kind) == (new.authority, new.kind);
        let kind: Vec<_> = self.evidence.iter().filter(alike).collect();
        let place: Vec<_> = kind.iter().filter(|known| known.place == new.place).collect();
        if place.len() == limits::EVIDENCE_PER_PLACE
            || place.iter().any(|known| known.bytes == new.bytes)
        {
            return false;
        }
        if kind.len() == limits::EVIDENCE_PER_AUTHORITY {
            let oldest = kind.iter().map(|known| known.place).min().unwrap();
            if oldest >= new.place {
                return false;
            }
            let last = kind.iter().rfind(|known| known.place == oldest).unwrap();
            let last = self.evidence.iter().position(|known| known == *last).unwrap();
            self.evidence.remove(last);
        }
        self.evidence.push(new.clone());
        self.evidence.sort_by_key(|known| (known.authority, known.kind, known.place));
        true
    }

    fn extend(&mut self, plan: Vec<Planned>) {
        for (number, (log, start, entries, signed)) in plan.into_iter().enumerate() {
            let known = self.logs.entry(log).or_default();
            known.stored.extend(entries[start..].iter().map(stored));
            if signed {
                known.head = Some(head(&entries));
            }
            known.entries = entries;
            known.changed = known.changed.max(self.seed + number as u64);
        }
    }

    /// Gives the head under which the log goes on.
    fn set_aside(&mut self, log: LogId, keep: usize, signed: bool) -> Option<SignedHead> {
        let known = self.logs.entry(log).or_default();
        let mut kept = known.clone();
        kept.entries.truncate(keep);
        kept.stored.truncate(keep);
        kept.head = signed.then(|| head(&kept.entries));
        kept.changed = kept.changed.max(self.seed);
        let (head, aside) = (kept.head.clone(), std::mem::replace(known, kept));
        if !aside.entries.is_empty() {
            self.branches.push((log, aside));
        }
        head
    }
}

fn extensions(plan: &[Planned], seed: u64) -> Vec<Extension<'_>> {
    let mut extensions = Vec::new();
    for (number, (log, start, entries, signed)) in (0..).zip(plan) {
        extensions.push(extension(*log, entries, *start, *signed, seed + number));
    }
    extensions
}

fn run<R: Replica>(mut replica: R, operations: Vec<Operation>, reopen: impl Fn(R) -> R) {
    let (incarnation, mut model) = (replica.incarnation(), Model::default());
    for operation in operations {
        match operation {
            Operation::Extend(items) => {
                let plan = model.plan(&items);
                replica.extend(&extensions(&plan, model.seed)).unwrap();
                model.extend(plan);
            }
            Operation::Misfit(items, misfit) => {
                let plan = model.plan(&items);
                let mut call = extensions(&plan, model.seed);
                let last = call.last_mut().unwrap();
                let expected = match misfit {
                    Misfit::Gap => {
                        last.start += 1;
                        Refusal::Gap { size: last.start - 1, start: last.start }
                    }
                    Misfit::Tree => {
                        last.frontier.push(merkle::empty_root());
                        Refusal::Tree
                    }
                    Misfit::Head => {
                        let wrong = SignedHead { size: last.frontier.size() + 1, ..head(&[]) };
                        last.head = Some(wrong);
                        Refusal::Head
                    }
                };
                let refused = replica.extend(&call);
                assert!(
                    matches!(&refused, Err(StoreError::Refused { why, .. }) if *why == expected),
                    "{refused:?}"
                );
            }
            Operation::SetBody(which, index, len) => {
                let body = len.map(|len| vec![3; len]);
                let done = replica.set_body(&logs()[which], index, body.as_deref());
                let known = model.logs.get_mut(&logs()[which]);
                match known.and_then(|known| known.stored.get_mut(index as usize)) {
                    Some(stored) => {
                        done.unwrap();
                        stored.body.clone_from(&body);
                        let header = stored.header.clone();
                        for (log, branch) in &mut model.branches {
                            let stored = branch.stored.get_mut(index as usize);
                            let same = stored.filter(|stored| stored.header == header);
                            if let Some(stored) = same.filter(|_| *log == logs()[which]) {
                                stored.body.clone_from(&body);
                            }
                        }
                    }
                    None => assert!(matches!(
                        done,
                        Err(StoreError::Refused { why: Refusal::Absent(at), .. }) if at == index
                    )),
                }
            }
            Operation::SetAside(which, quarters, signed) => {
                let log = logs()[which];
                let held = model.logs.get(&log).map_or(0, |known| known.entries.len());
                let kept = held * quarters / 4;
                model.seed += 1;
                let head = model.set_aside(log, kept, signed);
                let tree = replica.set_aside(&log, kept as u64, head.as_ref(), model.seed);
                assert_eq!(tree.unwrap(), self::tree(&model.logs[&log].entries));
                let beyond = replica.set_aside(&log, kept as u64 + 1, None, model.seed);
                assert!(matches!(
                    beyond,
                    Err(StoreError::Refused { why: Refusal::Absent(at), .. }) if at == kept as u64
                ));
            }
            Operation::Identity(of, events) => {
                let authority = AuthorityId::from_bytes([of; 32]);
                let events = events.into_iter().map(|len| vec![of; len]).collect();
                let identity = StoredIdentity { authority, events, changed: model.seed };
                replica.put_identity(&identity).unwrap();
                model.identities.insert(authority, identity);
            }
            Operation::Evidence(of, kind, pieces) => {
                let (authority, kind) =
                    (AuthorityId::from_bytes([of; 32]), EvidenceKind::ALL[kind]);
                for (changed, (place, len)) in (0..).zip(pieces) {
                    let bytes = vec![of; len];
                    let new = StoredEvidence { authority, kind, place, bytes, changed };
                    assert_eq!(replica.put_evidence(&new).unwrap(), model.keep(&new));
                }
            }
            Operation::Cursor(of, len) => {
                let authority = AuthorityId::from_bytes([of; 32]);
                replica.put_cursor(&authority, &vec![of; len]).unwrap();
                model.cursors.insert(authority, vec![of; len]);
            }
            Operation::Put(changes) => {
                let key = |name: u8| vec![b'a' + name % 3; 1 + usize::from(name / 3)];
                let changes: Vec<_> = changes
                    .into_iter()
                    .map(|(name, len)| (key(name), len.map(|len| vec![name; len])))
                    .collect();
                replica.put(&changes).unwrap();
                for (key, value) in changes {
                    match value {
                        Some(value) => model.values.insert(key, value),
                        None => model.values.remove(&key),
                    };
                }
            }
            Operation::Reopen => {
                replica.flush().unwrap();
                replica = reopen(replica);
            }
        }
        assert_eq!(replica.incarnation(), incarnation);
        check(&replica, &model);
    }
    replica.flush().unwrap();
    check(&reopen(replica), &model);
}

fn check(replica: &impl Replica, model: &Model) {
    let known = replica.stored().unwrap();
    assert!(known.logs.iter().map(|log| log.log).eq(model.logs.keys().copied()));
    for log in &known.logs {
        let model = &model.logs[&log.log];
        assert_eq!(log.frontier, tree(&model.entries));
        assert_eq!(log.head, model.head.as_ref().map(|head| head.note.clone()));
        assert_eq!(replica.head(&log.log).unwrap(), model.head);
        assert_eq!(log.changed, model.changed);
        let absent = model.stored.iter().filter(|entry| entry.body.is_none()).count();
        assert_eq!(log.absent, absent as u64);
        check_reads(replica, &log.log, model);
    }
    check_branches(replica, model);
    assert_eq!(known.identities.len(), model.identities.len());
    for (identity, model) in known.identities.iter().zip(model.identities.values()) {
        assert_eq!(identity.authority, model.authority);
        assert_eq!((&identity.events, identity.changed), (&model.events, model.changed));
    }
    assert_eq!(known.evidence, model.evidence);
    for of in [0, 1, 7].map(|of| AuthorityId::from_bytes([of; 32])) {
        let expected = model.evidence.iter().filter(|known| known.authority == of);
        assert!(replica.evidence(Some(&of)).unwrap().iter().eq(expected));
    }
    assert!(known.cursors.into_iter().eq(model.cursors.clone()));
    for prefix in [&b""[..], b"a", b"bb", b"d"] {
        for (from, limit) in [(&b""[..], 100), (b"aa", 2), (b"bb", 100)] {
            let expected = model.values.iter().filter(|(key, _)| key.starts_with(prefix));
            let expected = expected.filter(|(key, _)| key.as_slice() >= from).take(limit);
            let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
            let found = replica.scan(prefix, from, limit).unwrap();
            assert!(found.into_iter().eq(expected));
        }
    }
    for key in [&b"a"[..], b"bb", b"cccc", b"none"] {
        assert_eq!(replica.get(key).unwrap().as_ref(), model.values.get(key));
    }
}

fn check_branches(replica: &impl Replica, model: &Model) {
    let branches = replica.branches().unwrap();
    assert_eq!(branches.len(), model.branches.len());
    for log in logs() {
        let ours = branches.iter().filter(|branch| branch.log == log);
        let theirs = model.branches.iter().filter(|(of, _)| *of == log);
        for (branch, (_, model_branch)) in ours.zip(theirs) {
            assert_eq!(branch.frontier, tree(&model_branch.entries));
            assert_eq!(branch.head, model_branch.head);
            let absent = model_branch.stored.iter().filter(|entry| entry.body.is_none()).count();
            assert_eq!(branch.absent, absent as u64);
            let read = |range, room| replica.branch_entries(&log, branch.number, range, room);
            assert_eq!(read(0..u64::MAX, usize::MAX).unwrap(), model_branch.stored);
            assert_eq!(read(1..9, 0).unwrap().len(), usize::from(model_branch.stored.len() > 1));
            let now = model.logs[&log].entries.iter().zip(&model_branch.entries);
            let shared = now.take_while(|(now, then)| now.leaf() == then.leaf()).count();
            assert_eq!(branch.shared(replica).unwrap(), shared as u64);
            assert_eq!(replica.branch_entries(&log, 1000, 0..9, 100).unwrap(), []);
        }
    }
}

fn check_reads(replica: &impl Replica, log: &LogId, model: &ModelLog) {
    let size = model.entries.len() as u64;
    assert_eq!(replica.entries(log, 0..u64::MAX, usize::MAX).unwrap(), model.stored);
    let headers: Vec<_> = model.stored.iter().map(|entry| entry.header.clone()).collect();
    assert_eq!(replica.headers(log, 0..size + 9).unwrap(), headers);
    for (start, end, room) in [(0, size, 0), (size / 3, size, 3000), (size / 2, size / 2 + 5, 200)]
    {
        let stretch = &model.stored[start as usize..(end.min(size)) as usize];
        let bodies = stretch.iter().map(|entry| entry.body.clone());
        let mut left = room;
        let fit: Vec<_> = bodies
            .take_while(|body| {
                let size = body.as_ref().map_or(0, Vec::len);
                let fits = size <= left;
                left -= size.min(left);
                fits
            })
            .collect();
        assert_eq!(replica.bodies(log, start..end, room).unwrap(), fit);
        let some = replica.entries(log, start..end, room).unwrap();
        assert_eq!(some.is_empty(), stretch.is_empty(), "at least one");
        assert_eq!(some, stretch[..some.len()]);
        let bytes = |entries: &[StoredEntry]| -> usize {
            let body = |entry: &StoredEntry| entry.body.as_ref().map_or(0, Vec::len);
            entries.iter().map(|entry| entry.header.len() + body(entry)).sum()
        };
        assert!(some.len() <= 1 || bytes(&some) <= room);
        assert!(some.len() == stretch.len() || bytes(&stretch[..=some.len()]) > room);
    }
    let nodes = replica.nodes(log).unwrap();
    for size in [0, 1, size / 2, size] {
        let entries = &model.entries[..(size.min(model.entries.len() as u64)) as usize];
        let root = merkle::root_at(&*nodes, entries.len() as u64).unwrap();
        assert_eq!(root, tree(entries).root());
    }
    assert_eq!(nodes.leaf(size), None);
    assert_eq!(nodes.subtree(size / 256), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn the_replica_in_memory_answers_as_the_model_does(operations in operations()) {
        run(MemoryReplica::new([5; 16]), operations, |replica| replica.copy());
    }

    #[test]
    fn the_replica_on_disk_answers_as_the_model_does(operations in operations()) {
        let dir = tempfile::tempdir().unwrap();
        let open = || SledReplica::open(dir.path(), CACHE).unwrap();
        run(open(), operations, |replica| {
            drop(replica);
            open()
        });
    }
}

/// Calls `test` with both kinds.
fn with_both(test: impl Fn(&dyn Replica)) {
    test(&MemoryReplica::new([5; 16]));
    let dir = tempfile::tempdir().unwrap();
    test(&SledReplica::open(dir.path(), CACHE).unwrap());
}

#[test]
fn what_is_set_aside_stays_whole_and_the_log_goes_on_without_it() {
    with_both(|replica| {
        // Across the ends of pages, subtrees and pieces of bodies; some bodies are absent.
        let make = |seed: u64| match seed {
            7 | 300 => bare(&entry(seed, 30)),
            9 | 290 | 305 => entry(seed, 150_000),
            seed => entry(seed, 30),
        };
        let old: Vec<_> = (0..700).map(make).collect();
        let log = log(OTHER);
        replica.extend(&[extension(log, &old, 0, true, 5)]).unwrap();
        let wrong = replica.set_aside(&log, 300, Some(&head(&old[..301])), 6);
        assert!(matches!(wrong, Err(StoreError::Refused { why: Refusal::Head, .. })), "{wrong:?}");
        assert!(replica.branches().unwrap().is_empty(), "a refusal changes nothing");
        let (mut start, mut changed) = (0, 6);
        for kept in [531, 304, 256, 16, 0] {
            replica.set_aside(&log, kept, Some(&head(&old[..kept as usize])), changed).unwrap();
            assert_eq!(audit(replica, &log).unwrap().entries, kept);
            let mut new = old[..kept as usize].to_vec();
            new.extend((0..600).map(|at| entry(10_000 + start + at, 30)));
            replica.extend(&[extension(log, &new, kept as usize, true, changed + 1)]).unwrap();
            assert_eq!(audit(replica, &log).unwrap().entries, kept + 600);
            assert_eq!(
                replica.entries(&log, kept..kept + 1, 1).unwrap(),
                [stored(&new[kept as usize])]
            );
            (start, changed) = (start + 600, changed + 2);
        }
        let branches = replica.branches().unwrap();
        assert_eq!(branches.len(), 5);
        let read = |from| replica.branch_entries(&log, branches[0].number, from..700, usize::MAX);
        assert!(read(0).unwrap().into_iter().eq(old.iter().map(stored)));
        for branch in &branches {
            audit_branch(replica, branch).unwrap();
        }
        let sizes = branches.iter().map(|branch| branch.frontier.size()).collect::<Vec<_>>();
        assert_eq!(sizes, [700, 1131, 904, 856, 616]);
    });
}

#[test]
fn what_is_erased_of_a_log_is_erased_of_its_branches() {
    with_both(|replica| {
        let old: Vec<_> = (0..40).map(|seed| entry(seed, 5000)).collect();
        let log = log(OTHER);
        replica.extend(&[extension(log, &old, 0, true, 1)]).unwrap();
        replica.set_aside(&log, 20, None, 2).unwrap();
        let mut new = old[..20].to_vec();
        new.extend((0..20).map(|seed| entry(100 + seed, 5000)));
        replica.extend(&[extension(log, &new, 20, true, 3)]).unwrap();
        for index in [3, 30] {
            replica.set_body(&log, index, None).unwrap();
        }
        let branch = &replica.branches().unwrap()[0];
        let entries = replica.branch_entries(&log, branch.number, 0..40, usize::MAX).unwrap();
        assert_eq!(entries[3].body, None, "the same entry");
        assert_eq!(entries[30], stored(&old[30]), "another entry at the same index");
        assert_eq!(audit_branch(replica, branch).unwrap().absent, 1);
        assert_eq!(audit(replica, &log).unwrap().absent, 2);
    });
}

#[test]
fn loads_are_answered_from_what_is_stored() {
    with_both(|replica| {
        let entries: Vec<_> = (0..600).map(|seed| entry(seed, 50)).collect();
        let log = log(OTHER);
        replica.extend(&[extension(log, &entries, 0, true, 1)]).unwrap();
        let Loaded::Outline(outline) =
            replica.load(&Load::Outline { log, from: 100, size: 600 }).unwrap()
        else {
            panic!("no outline");
        };
        assert_eq!(outline, merkle::outline(&*replica.nodes(&log).unwrap(), 100, 600).unwrap());
        let Loaded::Proof(proof) = replica.load(&Load::Proof { log, old: 256, new: 600 }).unwrap()
        else {
            panic!("no proof");
        };
        let nodes = replica.nodes(&log).unwrap();
        let [old, new] = [256, 600].map(|size| merkle::root_at(&*nodes, size).unwrap());
        assert_eq!(merkle::shown_old_root(256, 600, &new, &proof), Ok(old));
        let size = entries[300].body().unwrap().as_bytes().len();
        let load = Load::Entries { log, start: 300, end: 310, bytes: 3 * size };
        let Loaded::Entries { headers, bodies } = replica.load(&load).unwrap() else {
            panic!("no entries");
        };
        assert_eq!((headers.len(), bodies.len()), (10, 3));
        assert_eq!(headers[9], entries[309].header_bytes());
        assert_eq!(bodies[2].as_deref(), entries[302].body().map(|body| body.as_bytes()));
        let load = Load::Bodies { log, start: 300, end: 310, bytes: 1, headers: false };
        let Loaded::Entries { headers, bodies } = replica.load(&load).unwrap() else {
            panic!("no bodies");
        };
        assert_eq!((headers.len(), bodies.len()), (0, 1), "at least one body");
        for beyond in [
            Load::Outline { log, from: 0, size: 601 },
            Load::Entries { log, start: 599, end: 601, bytes: 100 },
            Load::Bodies { log, start: 600, end: 601, bytes: 100, headers: true },
            Load::Proof { log, old: 600, new: 601 },
        ] {
            assert!(matches!(replica.load(&beyond).unwrap(), Loaded::Unavailable), "{beyond:?}");
        }
    });
}

#[test]
fn subtree_roots_are_kept_across_the_end_of_a_tile() {
    with_both(|replica| {
        // 256 subtrees of 256 entries fill a tile.
        let like = entry(1, 10);
        let all: Vec<_> = (0..66_200u64)
            .map(|seed| {
                let mut header = like.header().clone();
                header.retain_until = Some(tallystick_protocol::time::UnixTime::from_seconds(seed));
                let bare = tallystick_protocol::entry::UnverifiedEntry::new(header.encode(), None);
                bare.check().unwrap()
            })
            .collect();
        let (mut frontier, mut done) = (Frontier::new(), 0);
        for step in [3000usize, 60_000, 2_400, 200, 300, 300] {
            let entries = &all[done..done + step];
            entries.iter().for_each(|entry| frontier.push(entry.leaf()));
            let (log, start) = (log(OTHER), done as u64);
            let (frontier, head) = (frontier.clone(), None);
            replica
                .extend(&[Extension { log, start, entries, frontier, head, changed: 1 }])
                .unwrap();
            done += step;
        }
        let audited = audit(replica, &log(OTHER)).unwrap();
        assert_eq!((audited.entries, audited.absent), (66_200, 66_200));
        for kept in [65_900, 65_536, 5_000] {
            replica.set_aside(&log(OTHER), kept, None, 2).unwrap();
            assert_eq!(audit(replica, &log(OTHER)).unwrap().entries, kept);
        }
        let branches = replica.branches().unwrap();
        assert_eq!(branches.len(), 3);
        for branch in branches {
            audit_branch(replica, &branch).unwrap();
            assert_eq!(branch.shared(replica).unwrap(), 5_000);
        }
    });
}

#[test]
fn a_head_in_the_middle_of_what_comes_with_it_is_taken() {
    with_both(|replica| {
        let entries: Vec<_> = (0..20).map(|seed| entry(seed, 20)).collect();
        let log = log(OWN);
        let early =
            Extension { head: Some(head(&entries[..7])), ..extension(log, &entries, 0, false, 1) };
        replica.extend(&[early]).unwrap();
        assert_eq!(replica.head(&log).unwrap(), Some(head(&entries[..7])));
        let late =
            Extension { head: Some(head(&entries[..9])), ..extension(log, &entries, 20, false, 2) };
        replica.extend(&[late]).unwrap();
        assert_eq!(replica.head(&log).unwrap(), Some(head(&entries[..9])));
        assert_eq!(audit(replica, &log).unwrap().entries, 20);
    });
}

#[test]
fn an_audit_finds_a_body_that_is_not_the_committed_one() {
    with_both(|replica| {
        let entries: Vec<_> = (0..300).map(|seed| entry(seed, 20)).collect();
        let log = log(OTHER);
        replica.extend(&[extension(log, &entries, 0, true, 1)]).unwrap();
        audit(replica, &log).unwrap();
        let wrong = entries[4].body().unwrap().as_bytes();
        replica.set_body(&log, 270, Some(wrong)).unwrap();
        let error = audit(replica, &log).unwrap_err().to_string();
        assert!(error.contains("the body of entry 270"), "{error}");
    });
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    use tallystick_node::store::{KEY_BYTES, VALUE_BYTES};
    with_both(|replica| {
        let good = (b"good".to_vec(), Some(vec![1]));
        for bad in [(vec![0; KEY_BYTES + 1], None), (vec![1], Some(vec![0; VALUE_BYTES + 1]))] {
            let refused = replica.put(&[good.clone(), bad]);
            assert!(matches!(refused, Err(StoreError::TooLarge(_))));
        }
        assert_eq!(replica.get(b"good").unwrap(), None);
        assert!(replica.put_cursor(&OTHER, &[0; 65]).is_err());
        let events = vec![vec![0; (64 << 10) + 1]];
        let identity = StoredIdentity { authority: OTHER, events, changed: 1 };
        assert!(replica.put_identity(&identity).is_err());
        let (kind, bytes) = (EvidenceKind::Fork, vec![0; limits::EVIDENCE_BYTES + 1]);
        let evidence = StoredEvidence { authority: OTHER, kind, place: 0, bytes, changed: 1 };
        assert!(replica.put_evidence(&evidence).is_err());
        assert!(replica.identities().unwrap().is_empty() && replica.cursors().unwrap().is_empty());
        assert!(replica.evidence(None).unwrap().is_empty());
    });
}

#[test]
fn sled_writes_no_blob_files_since_it_never_syncs_them() {
    let dir = tempfile::tempdir().unwrap();
    let replica = SledReplica::open(dir.path(), CACHE).unwrap();
    let mut entries = Vec::new();
    // Full pages of the longest inline bodies, and bodies of the largest size.
    for round in 0..40u64 {
        let start = entries.len();
        let len = if round % 10 == 9 { 900_000 } else { 3_900 };
        let count = if round % 10 == 9 { 3 } else { 64 };
        entries.extend((0..count).map(|at| entry(round * 100 + at, len)));
        replica.extend(&[extension(log(OTHER), &entries, start, true, 1)]).unwrap();
        let key = format!("{round}").into_bytes();
        replica.put(&[(key, Some(vec![1; 100_000]))]).unwrap();
        replica.flush().unwrap();
    }
    audit(&replica, &log(OTHER)).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
}
