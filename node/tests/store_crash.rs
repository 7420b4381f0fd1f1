//! Invariant 5, what is acknowledged is durable: the store over a disk that
//! fails at every step it can fail at, in every way.
//!
//! The disk is in memory and counts its changes. At one of them it dies: the
//! change is lost, kept, cut short, or there with a hole of zeros. Then it is
//! opened again, everything is audited by its hashes, and the rest of the story
//! is told; at the end it must be what an undisturbed run gives.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod store_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use store_fixture::{OTHER, OWN, bare, entry, extension, head, log, stored};
use tallystick_node::store::audit::{audit, audit_branch};
use tallystick_node::store::body_file::BodyFiles;
use tallystick_node::store::disk::{Chunks, Disk, UNFINISHED};
use tallystick_node::store::journal::Journal;
use tallystick_node::store::memory::MemoryReplica;
use tallystick_node::store::{
    Branch, Change, Extension, Pair, Replica, SignedHead, Store, StoreError, StoredEntry,
};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::log::{Frontier, Nodes, empty_root};
use tallystick_protocol::sync::{StoredEvidence, StoredIdentity, StoredLog};

/// So small that the journal goes through many segments and the bodies through many files.
const SEGMENT_BYTES: u64 = 300;
const SPAN: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);

/// What becomes of the change at which the disk dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    Torn,
    Hole,
}

const FATES: [Fate; 4] = [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Hole];

/// When to die, counted over disk and replica together.
#[derive(Clone, Copy, Debug)]
struct Plan {
    step: u64,
    fate: Fate,
}

/// A machine: its disk and its replica, which survive the process.
#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
    /// The replica as of its last flush.
    flushed: Option<MemoryReplica>,
    steps: u64,
    plan: Option<Plan>,
    dead: bool,
}

impl Machine {
    /// Counts a change; `Some` says what becomes of it.
    fn step(&mut self) -> io::Result<Option<Fate>> {
        if self.dead {
            return Err(io::Error::other("the machine is dead"));
        }
        self.steps += 1;
        let now = self.plan.filter(|plan| plan.step == self.steps);
        self.dead = now.is_some();
        Ok(now.map(|plan| plan.fate))
    }
}

fn died<T>() -> io::Result<T> {
    Err(io::Error::other("the machine died"))
}

#[derive(Clone)]
struct SimDisk(Arc<Mutex<Machine>>);

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.0.lock().unwrap();
        if machine.dirs.contains(dir) {
            return Ok(());
        }
        let fate = machine.step()?;
        if !matches!(fate, Some(Fate::Lost | Fate::Torn)) {
            machine.dirs.insert(dir.to_owned());
        }
        if fate.is_some() { died() } else { Ok(()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let machine = self.0.lock().unwrap();
        let paths = machine.files.keys().chain(&machine.dirs);
        let paths = paths.filter(|path| path.parent() == Some(dir));
        let mut names: Vec<_> =
            paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().files.get(file).map_or(0, |bytes| bytes.len() as u64))
    }

    fn read(&self, file: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let machine = self.0.lock().unwrap();
        let bytes = machine.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        Ok(bytes[start..bytes.len().min(start + len)].to_vec())
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.0.lock().unwrap();
        assert!(file.parent().is_some_and(|dir| machine.dirs.contains(dir)), "no directory");
        let fate = machine.step()?;
        if fate == Some(Fate::Lost) {
            return died();
        }
        let content = machine.files.entry(file.to_owned()).or_default();
        match fate {
            Some(Fate::Torn) => content.extend(&bytes[..bytes.len() * 2 / 3]),
            Some(Fate::Hole) => {
                let start = content.len();
                content.extend(bytes);
                let (from, to) = (bytes.len() / 3, bytes.len() / 2);
                content[start + from..start + to].fill(0);
            }
            _ => content.extend(bytes),
        }
        if fate.is_some() { died() } else { Ok(()) }
    }

    fn truncate(&self, file: &Path, size: u64) -> io::Result<()> {
        let mut machine = self.0.lock().unwrap();
        let fate = machine.step()?;
        if !matches!(fate, Some(Fate::Lost | Fate::Torn)) {
            let content = machine.files.get_mut(file).unwrap();
            content.truncate(usize::try_from(size).unwrap());
        }
        if fate.is_some() { died() } else { Ok(()) }
    }

    fn replace(&self, file: &Path, chunks: Chunks<'_>) -> io::Result<()> {
        // Not under the lock: making the chunks reads this very disk.
        let content = chunks.collect::<io::Result<Vec<_>>>()?.concat();
        let mut machine = self.0.lock().unwrap();
        let fate = machine.step()?;
        match fate {
            Some(Fate::Lost) => {}
            Some(Fate::Torn | Fate::Hole) => {
                let mut name = file.as_os_str().to_owned();
                name.push(UNFINISHED);
                machine.files.insert(name.into(), content[..content.len() / 2].to_vec());
            }
            _ => {
                machine.files.insert(file.to_owned(), content);
            }
        }
        if fate.is_some() { died() } else { Ok(()) }
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut machine = self.0.lock().unwrap();
        let fate = machine.step()?;
        if fate != Some(Fate::Lost) {
            machine.files.remove(file);
        }
        if fate.is_some() { died() } else { Ok(()) }
    }
}

/// A replica on that machine: what is not flushed may be lost, but never in part.
struct SimReplica {
    live: MemoryReplica,
    machine: Arc<Mutex<Machine>>,
}

impl SimReplica {
    fn fail() -> StoreError {
        StoreError::Fatal { path: "replica".into(), source: io::Error::other("the machine died") }
    }

    /// A change: at the moment of death it is durable if it is kept.
    fn change(
        &self,
        change: impl FnOnce(&MemoryReplica) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let fate = self.machine.lock().unwrap().step().map_err(|_| Self::fail())?;
        if matches!(fate, Some(Fate::Lost | Fate::Torn)) {
            return Err(Self::fail());
        }
        change(&self.live)?;
        if fate.is_some() {
            self.machine.lock().unwrap().flushed = Some(self.live.copy());
            return Err(Self::fail());
        }
        Ok(())
    }
}

impl Replica for SimReplica {
    fn incarnation(&self) -> [u8; 16] {
        self.live.incarnation()
    }
    fn logs(&self) -> Result<Vec<StoredLog>, StoreError> {
        self.live.logs()
    }
    fn head(&self, log: &LogId) -> Result<Option<SignedHead>, StoreError> {
        self.live.head(log)
    }
    fn identities(&self) -> Result<Vec<StoredIdentity>, StoreError> {
        self.live.identities()
    }
    fn put_identity(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        self.change(|live| live.put_identity(identity))
    }
    fn evidence(&self, of: Option<&AuthorityId>) -> Result<Vec<StoredEvidence>, StoreError> {
        self.live.evidence(of)
    }
    fn put_evidence(&self, evidence: &StoredEvidence) -> Result<bool, StoreError> {
        let mut added = false;
        self.change(|live| live.put_evidence(evidence).map(|done| added = done))?;
        Ok(added)
    }
    fn cursors(&self) -> Result<Vec<(AuthorityId, Vec<u8>)>, StoreError> {
        self.live.cursors()
    }
    fn put_cursor(&self, authority: &AuthorityId, cursor: &[u8]) -> Result<(), StoreError> {
        self.change(|live| live.put_cursor(authority, cursor))
    }
    fn extend(&self, extensions: &[Extension<'_>]) -> Result<(), StoreError> {
        self.change(|live| live.extend(extensions))
    }
    fn flush(&self) -> Result<(), StoreError> {
        let mut machine = self.machine.lock().unwrap();
        let fate = machine.step().map_err(|_| Self::fail())?;
        if !matches!(fate, Some(Fate::Lost | Fate::Torn)) {
            machine.flushed = Some(self.live.copy());
        }
        if fate.is_some() { Err(Self::fail()) } else { Ok(()) }
    }
    fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        self.live.headers(log, range)
    }
    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.live.bodies(log, range, max_bytes)
    }
    fn entries(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.live.entries(log, range, max_bytes)
    }
    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError> {
        self.live.nodes(log)
    }
    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        self.change(|live| live.set_body(log, index, body))
    }
    fn set_aside(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        let mut tree = Frontier::new();
        self.change(|live| {
            tree = live.set_aside(log, keep, head, changed)?;
            Ok(())
        })?;
        Ok(tree)
    }
    fn branches(&self) -> Result<Vec<Branch>, StoreError> {
        self.live.branches()
    }
    fn branch_entries(
        &self,
        log: &LogId,
        number: u32,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.live.branch_entries(log, number, range, max_bytes)
    }
    fn branch_nodes(&self, log: &LogId, number: u32) -> Result<Box<dyn Nodes + '_>, StoreError> {
        self.live.branch_nodes(log, number)
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.live.get(key)
    }
    fn put(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.change(|live| live.put(changes))
    }
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.live.scan(prefix, from, limit)
    }
}

/// Opens the store, as after a restart: the replica is what was flushed last.
fn open(machine: &Arc<Mutex<Machine>>) -> Result<Store<SimReplica>, StoreError> {
    let disk = Arc::new(SimDisk(Arc::clone(machine)));
    let flushed = machine.lock().unwrap().flushed.as_ref().map(MemoryReplica::copy);
    let live = flushed.unwrap_or_else(|| MemoryReplica::new([4; 16]));
    let replica = SimReplica { live, machine: Arc::clone(machine) };
    let journal = Journal::open_with(disk.clone(), "/journal".into(), SEGMENT_BYTES)?;
    let bodies = BodyFiles::open_with(disk, "/bodies".into(), SPAN)?;
    Store::assemble(journal, bodies, replica, OWN)
}

fn machine(plan: Option<Plan>) -> Arc<Mutex<Machine>> {
    let dirs = ["/journal", "/bodies"].map(PathBuf::from).into();
    Arc::new(Mutex::new(Machine { dirs, plan, ..Machine::default() }))
}

/// Ends the process and starts the machine again.
fn restart(machine: &Arc<Mutex<Machine>>, plan: Option<Plan>) {
    let mut machine = machine.lock().unwrap();
    (machine.dead, machine.steps, machine.plan) = (false, 0, plan);
}

/// One thing that is asked of the store.
#[derive(Clone, Debug)]
enum Act {
    /// Entries for own and other's log, and whether a head comes with them.
    Commit {
        own: usize,
        other: usize,
        signed: bool,
    },
    Erase(u64),
    Cosign(u64),
    /// Sets aside all but the first entries, which may be under a head.
    Revert {
        whose: AuthorityId,
        keep: usize,
        signed: bool,
    },
}

fn acts() -> Vec<Act> {
    vec![
        Act::Commit { own: 3, other: 0, signed: true },
        Act::Commit { own: 2, other: 0, signed: false },
        Act::Commit { own: 0, other: 4, signed: true },
        Act::Cosign(4),
        Act::Commit { own: 4, other: 3, signed: true },
        Act::Erase(1),
        Act::Commit { own: 0, other: 0, signed: true },
        Act::Cosign(7),
        Act::Commit { own: 6, other: 1, signed: false },
        Act::Erase(10),
        Act::Commit { own: 1, other: 0, signed: true },
        Act::Commit { own: 0, other: 2, signed: true },
        Act::Revert { whose: OWN, keep: 12, signed: true },
        Act::Revert { whose: OTHER, keep: 0, signed: false },
        Act::Commit { own: 0, other: 5, signed: true },
        Act::Revert { whose: OTHER, keep: 3, signed: true },
        Act::Revert { whose: OWN, keep: 0, signed: false },
        Act::Commit { own: 14, other: 0, signed: true },
        Act::Erase(13),
    ]
}

/// What is asked, and what an undisturbed store has after each number of acts.
struct Story {
    acts: Vec<Act>,
    twins: Vec<Twin>,
}

fn story() -> Story {
    let acts = acts();
    let twins = (0..=acts.len()).map(|number| Twin::after(&acts[..number])).collect();
    Story { acts, twins }
}

impl Story {
    fn len(&self) -> usize {
        self.acts.len()
    }

    fn end(&self) -> &Twin {
        &self.twins[self.len()]
    }
}

/// What an undisturbed store has at some moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Twin {
    own: Vec<Entry>,
    other: Vec<Entry>,
    own_head: Option<SignedHead>,
    other_head: Option<SignedHead>,
    cosigned: Option<u64>,
    /// Entries that are made up differ from those that were set aside.
    reverts: u64,
    own_branches: Vec<Aside>,
    other_branches: Vec<Aside>,
}

/// Entries that were set aside, and the head over them.
type Aside = (Vec<Entry>, Option<SignedHead>);

impl Twin {
    fn after(acts: &[Act]) -> Self {
        let mut twin = Self::default();
        for act in acts {
            match act {
                Act::Commit { own, other, signed } => {
                    let seed = twin.reverts * 10_000 + 1000 + twin.own.len() as u64;
                    twin.own.extend((0..*own as u64).map(|at| entry(seed + at, 90)));
                    let seed = twin.reverts * 10_000 + 5000 + twin.other.len() as u64;
                    twin.other.extend((0..*other as u64).map(|at| entry(seed + at, 40)));
                    if *signed {
                        twin.own_head = Some(head(&twin.own));
                        twin.other_head = Some(head(&twin.other));
                    }
                }
                Act::Erase(index) => {
                    let entry = &mut twin.own[usize::try_from(*index).unwrap()];
                    *entry = bare(entry);
                }
                Act::Cosign(size) => twin.cosigned = Some(*size),
                Act::Revert { whose, keep, signed } => twin.revert(*whose, *keep, *signed),
            }
        }
        twin
    }

    fn revert(&mut self, whose: AuthorityId, keep: usize, signed: bool) {
        self.reverts += 1;
        let (entries, last, branches) = match whose {
            OWN => (&mut self.own, &mut self.own_head, &mut self.own_branches),
            _ => (&mut self.other, &mut self.other_head, &mut self.other_branches),
        };
        let kept = entries[..keep].to_vec();
        let kept_head = signed.then(|| head(&kept));
        branches.push((std::mem::replace(entries, kept), std::mem::replace(last, kept_head)));
    }

    /// What a replica has that was made anew from journal and bodies.
    fn own_only(&self) -> Self {
        let (own, own_head, cosigned) = (self.own.clone(), self.own_head.clone(), self.cosigned);
        Self { own, own_head, cosigned, ..Self::default() }
    }

    fn of(store: &Store<SimReplica>) -> (Vec<StoredEntry>, Vec<StoredEntry>, Self) {
        let entries = |id| store.replica().entries(&log(id), 0..u64::MAX, usize::MAX).unwrap();
        let twin = Self {
            own_head: store.replica().head(&log(OWN)).unwrap(),
            other_head: store.replica().head(&log(OTHER)).unwrap(),
            cosigned: store.cosigned(&log(OTHER)).map(|(size, _)| size),
            ..Self::default()
        };
        (entries(OWN), entries(OTHER), twin)
    }

    fn matches(&self, store: &Store<SimReplica>) -> bool {
        let (own, other, rest) = Self::of(store);
        let stored = |entries: &[Entry]| entries.iter().map(stored).collect::<Vec<_>>();
        let heads = |twin: &Self| (twin.own_head.clone(), twin.other_head.clone(), twin.cosigned);
        let branches = |id, twins: &[Aside]| {
            let branches = store.replica().branches().unwrap();
            let branches = branches.iter().filter(|branch| branch.log == log(id)).map(|branch| {
                let (log, number) = (&branch.log, branch.number);
                let entries = store.replica().branch_entries(log, number, 0..u64::MAX, usize::MAX);
                (entries.unwrap(), branch.head.clone())
            });
            branches.eq(twins.iter().map(|(entries, head)| (stored(entries), head.clone())))
        };
        branches(OWN, &self.own_branches)
            && branches(OTHER, &self.other_branches)
            && own == stored(&self.own)
            && other == stored(&self.other)
            && heads(self) == heads(&rest)
    }
}

fn perform(store: &mut Store<SimReplica>, story: &Story, number: usize) -> Result<(), StoreError> {
    let (before, after) = (&story.twins[number], &story.twins[number + 1]);
    match &story.acts[number] {
        Act::Commit { signed, .. } => {
            let (at, changed) = (before.own.len(), number as u64 + 1);
            let own = extension(log(OWN), &after.own, at, *signed, changed);
            let at = before.other.len();
            let other = extension(log(OTHER), &after.other, at, *signed, changed);
            store.commit_extensions(&[own, other])
        }
        Act::Erase(index) => store.set_body(&log(OWN), *index, None),
        Act::Cosign(size) => store.put_cosigned(&log(OTHER), *size, empty_root()),
        Act::Revert { whose, keep, .. } => {
            let head = if *whose == OWN { &after.own_head } else { &after.other_head };
            let (keep, changed) = (*keep as u64, number as u64 + 1);
            let tree = store.set_aside(&log(*whose), keep, head.as_ref(), changed)?;
            assert_eq!(tree.size(), keep);
            Ok(())
        }
    }
}

/// Acts until the end or the machine's death; gives the number of acts acknowledged.
fn tell(store: &mut Store<SimReplica>, story: &Story, from: usize) -> usize {
    for number in from..story.len() {
        match perform(store, story, number) {
            Ok(()) => {}
            Err(error) if error.is_fatal() => return number,
            Err(error) => panic!("act {number}: {error}"),
        }
    }
    story.len()
}

/// Audits everything, and gives the number of acts of which all is there.
///
/// Nothing acknowledged may be missing; of the act that was under way there may
/// be all, nothing, or all that is own.
fn examine(store: &Store<SimReplica>, story: &Story, acknowledged: usize, what: &str) -> usize {
    for id in [OWN, OTHER] {
        audit(&**store.replica(), &log(id)).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for branch in store.replica().branches().unwrap() {
        let audited = audit_branch(&**store.replica(), &branch);
        audited.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let before = &story.twins[acknowledged];
    if before.matches(store) {
        return acknowledged;
    }
    let after = story.twins.get(acknowledged + 1);
    let after = after.unwrap_or_else(|| panic!("{what}: an act too many"));
    if after.matches(store) {
        return acknowledged + 1;
    }
    // Own part in the journal and replayed, other's part lost with the replica.
    let (other, other_head) = (before.other.clone(), before.other_head.clone());
    let own_only = Twin { other, other_head, ..after.clone() };
    assert!(own_only.matches(store), "{what}: half of an act is visible");
    acknowledged
}

/// Finishes the story from wherever a crash left it.
fn finish(store: &mut Store<SimReplica>, story: &Story, done: usize, what: &str) {
    let mut from = done;
    if done < story.len() && !story.twins[done].matches(store) {
        // The own part of the next act is there: bring what is missing, as replication does.
        let (before, after) = (&story.twins[done], &story.twins[done + 1]);
        let missing = Extension {
            head: after.other_head.clone(),
            ..extension(log(OTHER), &after.other, before.other.len(), false, 50)
        };
        store.commit_extensions(&[missing]).unwrap_or_else(|error| panic!("{what}: {error}"));
        from += 1;
    }
    assert_eq!(tell(store, story, from), story.len(), "{what}");
    assert!(story.end().matches(store), "{what}: another end");
    assert_eq!(examine(store, story, story.len(), what), story.len());
}

#[test]
fn invariant_5_what_is_acknowledged_survives_a_crash_at_every_step_in_every_way() {
    let story = story();
    let undisturbed = machine(None);
    let mut store = open(&undisturbed).unwrap();
    finish(&mut store, &story, 0, "undisturbed");
    let steps = undisturbed.lock().unwrap().steps;
    assert!(steps > 40, "the story is too short to mean anything: {steps} steps");
    let (mut outcomes, mut followed) = (BTreeSet::new(), 0);
    for step in 1..=steps {
        for fate in FATES {
            let what = format!("step {step}, {fate:?}");
            let machine = machine(Some(Plan { step, fate }));
            let acknowledged = open(&machine).map_or(0, |mut store| tell(&mut store, &story, 0));
            assert!(machine.lock().unwrap().dead, "{what}: the disk did not fail");
            restart(&machine, None);
            let mut store = open(&machine).unwrap_or_else(|error| panic!("{what}: {error}"));
            let done = examine(&store, &story, acknowledged, &what);
            outcomes.insert((done > acknowledged, store.report().replayed > 0));
            followed += store.report().set_aside;
            finish(&mut store, &story, done, &what);
            // Nothing of it depends on the process that wrote it.
            drop(store);
            restart(&machine, None);
            let store = open(&machine).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(story.end().matches(&store), "{what}: another end after a restart");
        }
    }
    // The matrix reached what it is for: acts lost, acts kept, acts replayed.
    for outcome in [(false, false), (true, false), (true, true)] {
        assert!(outcomes.contains(&outcome), "{outcome:?} never happened: {outcomes:?}");
    }
    assert!(followed > 0, "no replica had to set aside what the journal had set aside");
}

#[test]
fn invariant_5_holds_when_the_recovery_itself_is_interrupted() {
    let story = story();
    let undisturbed = machine(None);
    tell(&mut open(&undisturbed).unwrap(), &story, 0);
    let steps = undisturbed.lock().unwrap().steps;
    for step in 1..=steps {
        for fate in [Fate::Lost, Fate::Torn, Fate::Hole] {
            for (second, again) in (1..4).flat_map(|at| FATES.map(|fate| (at, fate))) {
                let what = format!("step {step}, {fate:?}, then {second}, {again:?}");
                let machine = machine(Some(Plan { step, fate }));
                let acknowledged =
                    open(&machine).map_or(0, |mut store| tell(&mut store, &story, 0));
                restart(&machine, Some(Plan { step: second, fate: again }));
                drop(open(&machine));
                restart(&machine, None);
                let mut store = open(&machine).unwrap_or_else(|error| panic!("{what}: {error}"));
                let done = examine(&store, &story, acknowledged, &what);
                finish(&mut store, &story, done, &what);
            }
        }
    }
}

#[test]
fn a_store_that_failed_refuses_everything_until_it_is_opened_again() {
    let story = story();
    let machine = machine(Some(Plan { step: 7, fate: Fate::Lost }));
    let mut store = open(&machine).unwrap();
    let acknowledged = tell(&mut store, &story, 0);
    restart(&machine, None);
    let mut alive = 0;
    for _ in 0..3 {
        alive += usize::from(perform(&mut store, &story, acknowledged).is_ok());
    }
    assert_eq!(alive, 0, "what the disk has is not known");
}

fn whole_story() -> (Arc<Mutex<Machine>>, Story) {
    let (machine, story) = (machine(None), story());
    assert_eq!(tell(&mut open(&machine).unwrap(), &story, 0), story.len());
    (machine, story)
}

#[test]
fn a_lost_replica_is_replayed_from_journal_and_bodies() {
    let (machine, story) = whole_story();
    machine.lock().unwrap().flushed = None;
    let store = open(&machine).unwrap();
    let twin = story.end().clone();
    assert_eq!(store.report().replayed, twin.own.len() as u64);
    assert!(twin.own_only().matches(&store));
}

#[test]
fn a_lost_or_older_journal_is_copied_back_from_the_replica() {
    let (machine, story) = whole_story();
    let twin = story.end().clone();
    let all = machine.lock().unwrap().files.clone();
    let segments: Vec<_> = all.keys().filter(|path| path.starts_with("/journal")).collect();
    assert!(segments.len() > 3, "one segment would prove little");
    for kept in 0..=segments.len() {
        // Bodies of a restored backup are older, too.
        for without_bodies in [false, true] {
            let mut files = all.clone();
            segments[kept..].iter().for_each(|path| drop(files.remove(*path)));
            if without_bodies && kept == 0 {
                files.clear();
            }
            machine.lock().unwrap().files = files;
            let store = open(&machine).unwrap();
            let lost = store.report().recovered;
            assert_eq!(lost > 0, kept < segments.len(), "kept {kept}, recovered {lost}");
            drop(store);
            // What was copied back is enough to make the replica anew, if the bodies are.
            let flushed = machine.lock().unwrap().flushed.take();
            let store = open(&machine).unwrap();
            let cosigned = store.cosigned(&log(OTHER)).map(|(size, _)| size);
            let expected = Twin { cosigned, ..twin.own_only() };
            assert!(expected.matches(&store), "kept {kept}, without bodies: {without_bodies}");
            machine.lock().unwrap().flushed = flushed;
        }
    }
}

#[test]
fn two_histories_of_one_log_are_refused_with_the_place_they_part() {
    let (one, other) = (machine(None), machine(None));
    let entries: Vec<_> = (0..9).map(|seed| entry(seed, 30)).collect();
    let mut forked = entries.clone();
    forked[5] = entry(77, 30);
    for (machine, entries) in [(&one, &entries), (&other, &forked[..7].to_vec())] {
        let mut store = open(machine).unwrap();
        store.commit_extensions(&[extension(log(OWN), entries, 0, true, 1)]).unwrap();
    }
    let replica = other.lock().unwrap().flushed.take();
    let replica = std::mem::replace(&mut one.lock().unwrap().flushed, replica);
    other.lock().unwrap().flushed = replica;
    for machine in [&one, &other] {
        let before = machine.lock().unwrap().files.clone();
        let refused = open(machine).err().unwrap();
        assert!(matches!(refused, StoreError::Contradiction { index: 5, .. }), "{refused}");
        assert!(refused.remedy().contains("do not run"));
        assert_eq!(machine.lock().unwrap().files, before, "nothing was changed");
    }
}

#[test]
fn damage_in_the_middle_of_the_journal_is_reported_with_its_place() {
    let (machine, _) = whole_story();
    let all = machine.lock().unwrap().files.clone();
    let first = all.keys().find(|path| path.starts_with("/journal")).unwrap().clone();
    for at in [0, 8, 12, 60, all[&first].len() - 1] {
        let mut files = all.clone();
        files.get_mut(&first).unwrap()[at] ^= 1;
        machine.lock().unwrap().files = files;
        let refused = open(&machine).err().unwrap();
        assert!(
            matches!(&refused, StoreError::Damaged { what, offset: Some(_) } if what.contains("00000000.journal")),
            "{refused}"
        );
    }
    let mut files = all.clone();
    files.remove(&first);
    machine.lock().unwrap().files = files;
    assert!(open(&machine).err().unwrap().is_damage(), "a missing segment");
}

#[test]
fn an_erased_body_is_in_no_file_any_more() {
    let (machine, story) = whole_story();
    let full = story.twins[5].own[1].clone();
    let body = full.body().unwrap().as_bytes();
    let machine = machine.lock().unwrap();
    let found = machine.files.values().any(|file| file.windows(body.len()).any(|at| at == body));
    assert!(!found);
    let kept = story.end().own[2].clone();
    let body = kept.body().unwrap().as_bytes();
    assert!(machine.files.values().any(|file| file.windows(body.len()).any(|at| at == body)));
}

#[test]
fn a_cosigned_head_is_never_contradicted() {
    let machine = machine(None);
    let mut store = open(&machine).unwrap();
    let (one, two) = (empty_root(), head(&[entry(1, 1)]).root);
    store.put_cosigned(&log(OTHER), 5, one).unwrap();
    store.put_cosigned(&log(OTHER), 5, one).unwrap();
    drop(store);
    let mut store = open(&machine).unwrap();
    assert_eq!(store.cosigned(&log(OTHER)), Some((5, one)));
    for (size, root) in [(5, two), (4, one)] {
        let refused = store.put_cosigned(&log(OTHER), size, root);
        assert!(matches!(refused, Err(StoreError::Refused { .. })));
    }
    store.put_cosigned(&log(OTHER), 6, two).unwrap();
    assert_eq!(open(&machine).unwrap().cosigned(&log(OTHER)), Some((6, two)));
}

#[test]
fn a_refused_commit_leaves_no_trace() {
    let (machine, story) = whole_story();
    let before = machine.lock().unwrap().files.clone();
    let mut store = open(&machine).unwrap();
    let entries = story.end().own.clone();
    let mut again = extension(log(OWN), &entries, 3, false, 99);
    again.start = 4;
    assert!(matches!(store.commit_extensions(&[again]), Err(StoreError::Refused { .. })));
    assert_eq!(machine.lock().unwrap().files, before);
    assert!(story.end().matches(&store));
}
