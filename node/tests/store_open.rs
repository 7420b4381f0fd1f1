//! The store on a real disk: what is made there, who may read it, and what
//! happens when parts of it are lost, damaged, newer or in use.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod store_fixture;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use store_fixture::{OTHER, OWN, bare, entry, extension, head, log, stored};
use tallystick_node::store::audit::{audit, audit_branch};
use tallystick_node::store::disk::OsDisk;
use tallystick_node::store::journal::{Journal, Record};
use tallystick_node::store::memory::MemoryReplica;
use tallystick_node::store::{Replica, Store, StoreError, StoreOptions};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::equivocation::EvidenceKind;
use tallystick_protocol::id::LogId;
use tallystick_protocol::limits;
use tallystick_protocol::sync::StoredEvidence;

const OPTIONS: StoreOptions = StoreOptions { cache_bytes: 4 << 20 };

fn open(path: &Path) -> Store {
    Store::open(path, &OPTIONS, OWN).unwrap()
}

fn entries(seed: u64, count: u64) -> Vec<Entry> {
    (seed..seed + count).map(|seed| entry(seed, 200)).collect()
}

/// A closed store with 40 own and 70 other entries.
fn filled(path: &Path) -> (Vec<Entry>, Vec<Entry>) {
    let (own, other) = (entries(0, 40), entries(500, 70));
    let mut store = open(path);
    let appends =
        [extension(log(OWN), &own, 0, true, 1), extension(log(OTHER), &other, 0, true, 2)];
    store.commit_extensions(&appends).unwrap();
    (own, other)
}

fn same(store: &Store, authority: tallystick_protocol::id::AuthorityId, entries: &[Entry]) {
    let found = store.replica().entries(&log(authority), 0..u64::MAX, usize::MAX).unwrap();
    assert!(found.into_iter().eq(entries.iter().map(stored)));
    assert_eq!(audit(&**store.replica(), &log(authority)).unwrap().entries, entries.len() as u64);
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = filled(dir.path());
    let store = open(dir.path());
    assert_eq!(*store.report(), tallystick_node::store::OpenReport::default());
    same(&store, OWN, &own);
    same(&store, OTHER, &other);
}

#[test]
fn compaction_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let all = entries(0, 1600);
    let mut store = open(dir.path());
    for (at, few) in (0..).step_by(16).zip(all.chunks(16)) {
        let append = extension(log(OTHER), &all[..at + few.len()], at, true, at as u64 + 1);
        store.commit_extensions(&[append]).unwrap();
    }
    store.replica().put(&[(b"projection".to_vec(), Some(vec![7; 200_000]))]).unwrap();
    for (place, len) in [(0, 3_000), (1, limits::EVIDENCE_BYTES)] {
        let (kind, bytes) = (EvidenceKind::Fork, vec![7; len]);
        let found = StoredEvidence { authority: OTHER, kind, place, bytes, changed: 5 };
        assert!(store.replica().put_evidence(&found).unwrap());
    }
    let before = store.replica().stored().unwrap();
    assert_eq!(before.evidence.len(), 2);
    let mut heard = Vec::new();
    store.compact(&OPTIONS, |entries| heard.push(entries)).unwrap();
    assert_eq!(heard.last(), Some(&1600));
    let mut store = open(dir.path());
    assert_eq!(store.replica().stored().unwrap(), before, "partners' cursors stay good");
    assert_eq!(store.replica().get(b"projection").unwrap(), Some(vec![7; 200_000]));
    same(&store, OTHER, &all);
    let more = entries(0, 1700);
    let append = extension(log(OTHER), &more, 1600, true, 9_999);
    store.commit_extensions(&[append]).unwrap();
    same(&store, OTHER, &more);
    assert!(!dir.path().join("replica.old").exists());
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = Store::open(dir.path(), &OPTIONS, OWN).err().unwrap();
    assert!(matches!(second, StoreError::Locked(_)), "{second}");
    assert!(second.remedy().contains("--data"));
    drop(first);
    open(dir.path());
}

#[test]
fn a_newer_format_is_refused_and_nothing_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (own, _) = filled(dir.path());
    fs::write(dir.path().join("format"), "7\n").unwrap();
    let refused = Store::open(dir.path(), &OPTIONS, OWN).err().unwrap();
    assert!(matches!(refused, StoreError::Newer { found: 7, .. }), "{refused}");
    fs::write(dir.path().join("format"), "1\n").unwrap();
    same(&open(dir.path()), OWN, &own);
}

#[test]
fn a_lost_replica_is_made_anew_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let (own, _) = filled(dir.path());
    let before = open(dir.path()).replica().incarnation();
    fs::remove_dir_all(dir.path().join("replica")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.report().replayed, 40);
    assert_ne!(store.replica().incarnation(), before);
    same(&store, OWN, &own);
    assert_eq!(store.replica().head(&log(OWN)).unwrap(), Some(head(&own)));
    same(&store, OTHER, &[]);
}

#[test]
fn a_damaged_replica_is_put_aside_and_own_entries_replayed() {
    // sled says so itself, panics, or opens what is no longer there: never is it used.
    for (from, byte) in [(0usize, 0u8), (0, 0xff), (64, 0xa5)] {
        let dir = tempfile::tempdir().unwrap();
        let (own, _) = filled(dir.path());
        let db = dir.path().join("replica/db");
        let mut bytes = fs::read(&db).unwrap();
        bytes[from..].fill(byte);
        fs::write(&db, bytes).unwrap();
        let store = open(dir.path());
        same(&store, OWN, &own);
        match &store.report().quarantined {
            Some((aside, why)) => {
                assert_eq!(*aside, dir.path().join("replica.damaged-1"));
                assert!(aside.join("db").exists() && !why.is_empty());
                assert_eq!(store.report().replayed, 40);
            }
            // Zeros are an empty database to sled.
            None => assert_eq!(store.report().replayed, 40),
        }
        drop(store);
        let store = open(dir.path());
        assert_eq!(store.report().quarantined, None, "once is enough");
        same(&store, OWN, &own);
    }
}

#[test]
fn what_a_full_disk_left_unfinished_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let replica = dir.path().join("replica");
    // A new database of which not even the description was written.
    fs::create_dir_all(&replica).unwrap();
    fs::write(replica.join("conf"), "half").unwrap();
    fs::write(dir.path().join("format"), "1\n").unwrap();
    assert_eq!(open(dir.path()).report().quarantined, None);
    // A snapshot that would be the newest of all.
    let (own, other) = filled(dir.path());
    fs::write(replica.join("snap.7FFFFFFFFFFFFFFF.generating"), "").unwrap();
    let store = open(dir.path());
    assert_eq!(*store.report(), tallystick_node::store::OpenReport::default());
    same(&store, OWN, &own);
    same(&store, OTHER, &other);
}

#[test]
fn a_lost_journal_is_copied_back_and_with_it_the_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = filled(dir.path());
    for part in ["journal", "bodies"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.report().recovered, 40);
    same(&store, OTHER, &other);
    drop(store);
    fs::remove_dir_all(dir.path().join("replica")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.report().replayed, 40);
    same(&store, OWN, &own);
}

#[test]
fn a_journal_that_contradicts_the_replica_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(one.path());
    let forked = entries(900, 50);
    open(two.path()).commit_extensions(&[extension(log(OWN), &forked, 0, true, 1)]).unwrap();
    fs::remove_dir_all(one.path().join("journal")).unwrap();
    fs::rename(two.path().join("journal"), one.path().join("journal")).unwrap();
    let refused = Store::open(one.path(), &OPTIONS, OWN).err().unwrap();
    assert!(matches!(refused, StoreError::Contradiction { index: 0, .. }), "{refused}");
    assert!(!one.path().join("replica.damaged-1").exists(), "this is no damage");
}

#[cfg(unix)]
#[test]
fn other_users_of_the_machine_are_kept_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    filled(&data);
    let mut waiting = vec![data.clone()];
    let mut files = 0;
    while let Some(path) = waiting.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            // sled makes its own files and directories, inside of one nobody else can enter.
            let of_sled = path.starts_with(data.join("replica")) && path != data.join("replica");
            assert!(of_sled || mode == 0o700, "{} {mode:o}", path.display());
        } else if !path.starts_with(data.join("replica")) {
            files += 1;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    assert!(files >= 4, "lock, format, journal and bodies");
}

#[derive(Clone, Debug)]
enum Step {
    Commit {
        own: usize,
        other: usize,
        signed: bool,
    },
    Erase(usize),
    /// Whether of the own log, how many of how many parts stay, and whether under a head.
    SetAside(bool, usize, bool),
    Compact,
    Reopen,
    LoseReplica,
    LoseJournal,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..30, 0usize..30, any::<bool>())
            .prop_map(|(own, other, signed)| Step::Commit { own, other, signed }),
        2 => (0usize..60).prop_map(Step::Erase),
        2 => (any::<bool>(), 0usize..=4, any::<bool>())
            .prop_map(|(own, quarters, signed)| Step::SetAside(own, quarters, signed)),
        1 => Just(Step::Compact),
        2 => Just(Step::Reopen),
        1 => Just(Step::LoseReplica),
        1 => Just(Step::LoseJournal),
    ];
    proptest::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_sequence_of_commits_losses_and_openings_equals_the_twin_in_memory(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Some(open(dir.path()));
        let mut twin = MemoryReplica::new([0; 16]);
        let (mut own, mut other) = (Vec::<Entry>::new(), Vec::<Entry>::new());
        for (changed, step) in (1..).zip(steps) {
            match step {
                Step::Commit { own: more, other: others, signed } => {
                    let (at, at_other) = (own.len(), other.len());
                    // Not what was there before something was set aside.
                    let seed = changed * 100;
                    own.extend(entries(seed, more as u64));
                    other.extend(entries(9000 + seed, others as u64));
                    let extensions = [
                        extension(log(OWN), &own, at, signed, changed),
                        extension(log(OTHER), &other, at_other, signed, changed + 1000),
                    ];
                    store.as_mut().unwrap().commit_extensions(&extensions).unwrap();
                    twin.extend(&extensions).unwrap();
                }
                Step::Erase(index) => if let Some(erased) = own.get_mut(index) {
                    *erased = bare(erased);
                    store.as_mut().unwrap().set_body(&log(OWN), index as u64, None).unwrap();
                    twin.set_body(&log(OWN), index as u64, None).unwrap();
                },
                Step::SetAside(is_own, quarters, signed) => {
                    let (id, entries) = if is_own { (OWN, &mut own) } else { (OTHER, &mut other) };
                    entries.truncate(entries.len() * quarters / 4);
                    let head = signed.then(|| head(entries));
                    let (keep, head) = (entries.len() as u64, head.as_ref());
                    store.as_mut().unwrap().set_aside(&log(id), keep, head, changed).unwrap();
                    twin.set_aside(&log(id), keep, head, changed).unwrap();
                }
                Step::Compact => {
                    store.take().unwrap().compact(&OPTIONS, |_| ()).unwrap();
                    store = Some(open(dir.path()));
                }
                Step::Reopen => {
                    drop(store.take());
                    store = Some(open(dir.path()));
                }
                Step::LoseReplica => {
                    drop(store.take());
                    fs::remove_dir_all(dir.path().join("replica")).unwrap();
                    store = Some(open(dir.path()));
                    other.clear();
                    let fresh = MemoryReplica::new([0; 16]);
                    let head = twin.head(&log(OWN)).unwrap();
                    if !twin.logs().unwrap().is_empty() {
                        let replayed = extension(log(OWN), &own, 0, false, 1);
                        fresh.extend(&[tallystick_node::store::Extension { head, ..replayed }]).unwrap();
                    }
                    twin = fresh;
                }
                Step::LoseJournal => {
                    drop(store.take());
                    fs::remove_dir_all(dir.path().join("journal")).unwrap();
                    store = Some(open(dir.path()));
                }
            }
            let store = store.as_ref().unwrap();
            for id in [OWN, OTHER] {
                let read = |replica: &dyn Replica| (
                    replica.entries(&log(id), 0..u64::MAX, usize::MAX).unwrap(),
                    replica.head(&log(id)).unwrap(),
                    audit(replica, &log(id)).unwrap(),
                    replica.branches().unwrap().into_iter().filter(|branch| branch.log == log(id))
                        .map(|branch| {
                            let (log, number) = (branch.log, branch.number);
                            audit_branch(replica, &branch).unwrap();
                            let read = replica.branch_entries(&log, number, 0..999, usize::MAX);
                            (read.unwrap(), branch.head)
                        })
                        .collect::<Vec<_>>(),
                );
                prop_assert_eq!(read(&**store.replica()), read(&twin));
            }
        }
    }
}

#[test]
fn every_signed_head_of_an_own_log_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let disk = std::sync::Arc::new(OsDisk);
    let own = entries(0, 30);
    let later = LogId { generation: 1, ..log(OWN) };
    // Small segments, so that heads lie in several files.
    let open = || Journal::open_with(disk.clone(), dir.path().to_owned(), 1 << 10).unwrap();
    let mut journal = open();
    for at in 0..30 {
        let head = (at % 3 == 2).then(|| head(&own[..=at]));
        let record = Record::of(log(OWN), at as u64, &own[at..=at], head);
        journal.append(&[record]).unwrap();
    }
    let other = Record::of(later, 0, &own[..2], Some(head(&own[..2])));
    journal.append(&[other]).unwrap();
    for journal in [journal, open()] {
        let mut found = Vec::new();
        journal.heads(&log(OWN), |head| found.push(head)).unwrap();
        let expected: Vec<_> = (1..=10).map(|n| head(&own[..3 * n])).collect();
        assert_eq!(found, expected);
        let mut found = Vec::new();
        journal.heads(&later, |head| found.push(head.size)).unwrap();
        assert_eq!(found, [2]);
        let mut nothing = 0;
        journal.heads(&log(OTHER), |_| nothing += 1).unwrap();
        assert_eq!(nothing, 0);
    }
    assert!(fs::read_dir(dir.path()).unwrap().count() > 3, "several segments");
}
