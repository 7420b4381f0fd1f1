//! A disk without room: whoever needs some says so and ends, and goes on as if
//! nothing had been when there is room again (invariant 5).
//!
//! How far a node gets depends on how much is left, to the page. So besides one
//! scenario among the others there are two tables: a store, and a whole node,
//! over many amounts of room.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tallystick_node::store::audit::audit;
use tallystick_node::store::{Extension, Store, StoreError, StoreOptions};
use tallystick_protocol::entry::Entry;

use crate::federation::Federation;
use crate::member::Member;
use crate::store_fixture::{OTHER, OWN, entry, extension, log};
use crate::{ALL, PATIENCE};

/// How long a node may take to end when its disk is full.
const ENDING: Duration = Duration::from_secs(60);
const PAGE: u64 = 4 << 10;

/// A disk that is full but for some bytes.
struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk of a directory but for `left` bytes; a disk counts in pages.
    fn fill(dir: &Path, left: u64) -> Self {
        use std::io::Write as _;
        let ballast = Self(dir.join("ballast"));
        let mut file = std::fs::File::create(&ballast.0).unwrap();
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(left)).unwrap();
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Whether a text is the word about a full disk.
fn says_why(text: &str) -> bool {
    text.contains("the disk is full") && text.contains("make room")
}

/// The last thing a node said that a program can read.
fn last_words(log: &str) -> Value {
    let mut lines = log.lines().rev();
    lines.find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

/// No replica was put aside as damaged.
fn nothing_put_aside(data: &Path) {
    let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name());
    let aside: Vec<_> =
        names.filter(|name| name.to_string_lossy().starts_with("replica.damaged")).collect();
    assert!(aside.is_empty(), "a full disk was taken for damage: {aside:?}");
}

/// Imports until the disk is full and the node has ended; gives its last words.
fn run_out(federation: &Federation, member: &Member) -> Value {
    let mut said = String::new();
    for _ in 0..10 {
        if let Err(error) = member.import(&federation.titles("full disk row", 1_500)) {
            said = error;
            break;
        }
    }
    assert!(!said.is_empty(), "the disk does not get full");
    let status = member.ended(ENDING);
    let status = status.unwrap_or_else(|| panic!("still running on a full disk: {said}"));
    let last = last_words(&member.log());
    assert_eq!(status.code(), Some(4), "{last}; the import: {said}");
    assert!(says_why(&last.to_string()), "no explanation: {last}");
    last
}

/// Starts a member without room: it does not come up, or comes up and says no;
/// it never says yes and forgets.
fn start_without_room(federation: &Federation, member: &Member) -> String {
    match member.start() {
        Err(refusal) => {
            assert!(refusal.contains("exit status: 4") && says_why(&refusal), "{refusal}");
            "refused to start".to_owned()
        }
        Ok(()) => {
            let answer = member.publish(&federation.titles("on a full disk", 1)[0]);
            member.kill();
            format!("started, and publishing gave {answer:?}")
        }
    }
}

/// The disk of a member fills up: it says so and ends, and goes on when there is room.
pub fn full_disk(federation: &Federation) {
    let since = Instant::now();
    let member = &federation.members[5];
    let ballast = Ballast::fill(member.dir(), 3 << 20);
    let last = run_out(federation, member);
    // The others go on.
    let others: Vec<usize> = ALL.into_iter().filter(|other| *other != 5).collect();
    federation.publish(&others, "while a disk is full");
    let again = start_without_room(federation, member);
    drop(ballast);
    member.start().unwrap();
    nothing_put_aside(&member.data());
    federation.publish(&[5], "after the disk was full");
    let took = federation.converge(&ALL, PATIENCE, "there was room again");
    eprintln!("faults: on the full disk: {}; then {again}", last["error"]);
    federation.report(&format!("full disk (agreed after {took:.1?})"), since);
}

/// A node over many amounts of room: started without it, and running out of it.
pub fn node(federation: &Federation, number: usize) {
    let since = Instant::now();
    let member = &federation.members[number];
    let rooms = rooms("TALLY_FAULTS_NODE_ROOMS", &[0, 1, 3, 64, 700, 2000]);
    for pages in &rooms {
        member.kill();
        let ballast = Ballast::fill(member.dir(), pages * PAGE);
        let again = start_without_room(federation, member);
        drop(ballast);
        eprintln!("faults: {pages} pages left: {again}");
        member.start().unwrap();
        let ballast = Ballast::fill(member.dir(), pages * PAGE);
        let last = run_out(federation, member);
        let again = start_without_room(federation, member);
        drop(ballast);
        eprintln!("faults: {pages} pages left, running: {}; then {again}", last["error"]);
        member.start().unwrap();
        nothing_put_aside(&member.data());
        federation.publish(&[number], "after the disk was full");
    }
    let took = federation.converge(&[0, 1], PATIENCE, "there was room again");
    let what = format!("a node with {} amounts of room (agreed after {took:.1?})", rooms.len());
    federation.report(&what, since);
}

/// A store over many amounts of room, in a directory that is a small disk.
pub fn store(disk: &Path) {
    let since = Instant::now();
    let trial = Trial::new(disk);
    let usual = [0, 1, 2, 3, 4, 6, 8, 12, 16, 64, 512, 2048];
    let rooms = rooms("TALLY_FAULTS_STORE_ROOMS", &usual);
    rooms.iter().for_each(|pages| trial.with_room(*pages));
    trial.damaged_without_room();
    eprintln!("faults: a store with {} amounts of room: {:.1?}", rooms.len(), since.elapsed());
}

/// Stores that are tried, one after the other, on one small disk.
struct Trial {
    disk: PathBuf,
    /// What each begins with; lies elsewhere.
    pristine: PathBuf,
    own: Vec<Entry>,
    other: Vec<Entry>,
}

impl Trial {
    fn new(disk: &Path) -> Self {
        let entries = |seeds: Range<u64>| seeds.map(|seed| entry(seed, 900)).collect();
        let trial = Self {
            disk: disk.to_owned(),
            pristine: disk.with_file_name("pristine"),
            own: entries(0..2_400),
            other: entries(5_000..7_400),
        };
        // Opening takes the rest of the segment that is written to, and a snapshot if
        // anything was written since: the first has it done with here, not the second.
        for (from, to) in [(0, 20), (20, 40)] {
            open(&trial.pristine).unwrap().commit_extensions(&trial.extensions(from, to)).unwrap();
        }
        trial
    }

    /// Adds as much to both logs.
    fn extensions(&self, from: usize, to: usize) -> [Extension<'_>; 2] {
        let changed = 2 * to as u64;
        [
            extension(log(OWN), &self.own[..to], from, true, changed),
            extension(log(OTHER), &self.other[..to], from, true, changed + 1),
        ]
    }

    fn copy(&self) -> PathBuf {
        let data = self.disk.join("data");
        // What the one before has left.
        let _none = std::fs::remove_dir_all(&data);
        let copied = Command::new("cp").arg("-a").args([&self.pristine, &data]).status().unwrap();
        assert!(copied.success());
        data
    }

    /// Opens and fills a store with so many pages left, then again with room.
    fn with_room(&self, pages: u64) {
        let data = self.copy();
        let ballast = Ballast::fill(&self.disk, pages * PAGE);
        let mut kept = 40;
        let said = match open(&data) {
            Err(error) => format!("at opening: {}", full(&error)),
            Ok(mut store) => loop {
                assert!(kept < self.own.len(), "the disk does not get full");
                match store.commit_extensions(&self.extensions(kept, kept + 20)) {
                    Ok(()) => kept += 20,
                    Err(error) => break format!("with {kept} entries: {}", full(&error)),
                }
            },
        };
        drop(ballast);
        eprintln!("faults: a store with {pages} pages left: {said}");
        let mut store = open(&data).unwrap_or_else(|error| panic!("{pages} pages left: {error}"));
        nothing_put_aside(&data);
        let sizes = [OWN, OTHER].map(|id| {
            let there = audit(&**store.replica(), &log(id)).unwrap();
            assert!(there.entries >= kept as u64 && there.absent == 0, "{pages} pages left");
            there.entries
        });
        // Of the call that failed the own half may be there alone; its head is older then.
        if sizes[0] == sizes[1] {
            let size = usize::try_from(sizes[0]).unwrap();
            store.commit_extensions(&self.extensions(size, size + 20)).unwrap();
        }
    }

    /// A replica that does not open is not put aside where no other can be made.
    fn damaged_without_room(&self) {
        let data = self.copy();
        crate::copies::damage(&data);
        let ballast = Ballast::fill(&self.disk, 0);
        full(&open(&data).err().unwrap());
        nothing_put_aside(&data);
        drop(ballast);
        let store = open(&data).unwrap();
        assert!(store.report().quarantined.is_some());
        assert_eq!(store.report().replayed, 40);
    }
}

/// Makes sure that an error is that of a full disk; what it says.
fn full(error: &StoreError) -> String {
    let text = format!("{error}; {}", error.remedy());
    assert!(error.is_fatal() && says_why(&text), "{text}");
    error.to_string()
}

/// Amounts of room, in pages; others can be asked for as `FIRST-LAST/STEP`.
fn rooms(name: &str, usual: &[u64]) -> Vec<u64> {
    let Ok(text) = std::env::var(name) else { return usual.to_vec() };
    let numbers: Vec<u64> = text.split(['-', '/']).map(|number| number.parse().unwrap()).collect();
    (numbers[0]..=numbers[1]).step_by(usize::try_from(numbers[2]).unwrap()).collect()
}

fn open(data: &Path) -> Result<Store, StoreError> {
    Store::open(data, &StoreOptions { cache_bytes: 4 << 20 }, OWN)
}
