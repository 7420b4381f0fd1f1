//! Register, references and search over replicas: the same answers whatever the
//! replica, the order and the number of attempts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tallystick_node::author::{
    Importer, Lookup as _, Material, Rehearsal, ReplicaLookup, imported_record_id, prepare,
    withdraw,
};
use tallystick_node::ingest::buyer::Ownership;
use tallystick_node::ingest::{self, Options, Summary};
use tallystick_node::projector::{self, Place, Projector, ProjectorError, State};
use tallystick_node::reference::{Put, Reference};
use tallystick_node::register::{Register, ResolveError, SourceDigest};
use tallystick_node::search::{Opened, Query, Results};
use tallystick_node::store::memory::MemoryReplica;
use tallystick_node::store::sled::SledReplica;
use tallystick_node::store::{
    Branch, Change, Extension, Replica, SignedHead, StoreError, StoredEntry,
};
use tallystick_protocol::entry::{Action, Entry};
use tallystick_protocol::id::{AuthorityId, LogId, RecordId, RecordRef, Space, Version};
use tallystick_protocol::log::{Frontier, Nodes};
use tallystick_protocol::record::contract::Contract;
use tallystick_protocol::record::money::Value;
use tallystick_protocol::record::part::{Organisation, Period, Source};
use tallystick_protocol::record::{Date, Kind, Record};
use tallystick_protocol::sync::{StoredEvidence, StoredIdentity, StoredLog};
use tallystick_protocol::time::UnixTime;

const PATIENCE: Duration = Duration::from_secs(300);

fn authority(number: u8) -> AuthorityId {
    AuthorityId::from_bytes([number; 32])
}

fn log(number: u8) -> LogId {
    LogId::public(authority(number), 0)
}

fn now() -> UnixTime {
    UnixTime::from_seconds(1_760_000_000)
}

fn salt(number: u64) -> [u8; 32] {
    let mut salt = [7; 32];
    salt[..8].copy_from_slice(&number.to_be_bytes());
    salt
}

/// One made-up contract; `notice` is what its source key is made of.
struct Sketch<'a> {
    title: &'a str,
    buyer: &'a str,
    supplier: &'a str,
    cpv: &'a str,
    ends: &'a str,
    amount: i64,
    notice: &'a str,
}

impl Default for Sketch<'_> {
    fn default() -> Self {
        Self {
            title: "Housing management system",
            buyer: "Ambleford Borough Council",
            supplier: "Brook Software Ltd",
            cpv: "48000000",
            ends: "2027-03-31",
            amount: 1_000_000,
            notice: "n-1",
        }
    }
}

impl Sketch<'_> {
    fn contract(&self) -> Contract {
        Contract {
            title: self.title.to_owned(),
            buyer: Some(Organisation::named(self.buyer)),
            suppliers: vec![
                Organisation::named(self.supplier).with_identifier("GB-COH", "1234567"),
            ],
            cpv: Some(self.cpv.to_owned()),
            value: Some(Value::new(self.amount, "GBP")),
            period: Some(Period {
                start_date: Some(Date::new("2024-04-01")),
                end_date: Some(Date::new(self.ends)),
                ..Period::default()
            }),
            source: Some(Source {
                system: Some("made-up".to_owned()),
                notice_id: Some(self.notice.to_owned()),
                ..Source::default()
            }),
            ..Contract::default()
        }
    }

    fn record(&self) -> Record {
        self.contract().into()
    }

    fn key(&self) -> String {
        self.record().source_key().unwrap()
    }

    fn digest(&self) -> SourceDigest {
        SourceDigest::of(&self.key())
    }

    fn entry(&self, author: u8, previous: Option<u64>) -> Entry {
        let id = imported_record_id(&authority(author), Space::Public, &self.key());
        let previous = previous.map(|index| Version { generation: 0, index });
        let salt = salt(u64::from(author) << 32 | u64::try_from(self.amount).unwrap());
        prepare(&self.record(), id, previous, Action::Put, now(), salt).unwrap()
    }

    fn withdrawal(&self, author: u8, previous: u64) -> Entry {
        let id = imported_record_id(&authority(author), Space::Public, &self.key());
        let previous = Version { generation: 0, index: previous };
        withdraw(Kind::CONTRACT, id, previous, Some("a mistake"), now(), salt(9)).unwrap()
    }

    fn reference(&self) -> Reference {
        Reference::new(&self.record(), now(), "a file").unwrap()
    }
}

fn append(replica: &dyn Replica, log: LogId, entries: &[Entry]) -> u64 {
    let stored = replica.logs().unwrap().into_iter().find(|stored| stored.log == log);
    let mut frontier = stored.map_or_else(Frontier::default, |stored| stored.frontier);
    let start = frontier.size();
    entries.iter().for_each(|entry| frontier.push(entry.leaf()));
    let size = frontier.size();
    replica
        .extend(&[Extension { log, start, entries, frontier, head: None, changed: size }])
        .unwrap();
    size
}

fn memory() -> Arc<MemoryReplica> {
    Arc::new(MemoryReplica::new([1; 16]))
}

fn follow(replica: Arc<dyn Replica>) -> Projector {
    let projector = Projector::start(replica, &Place::Memory).unwrap();
    projector.settle(PATIENCE).unwrap();
    projector
}

fn ask(projector: &Projector, query: &Query) -> Results {
    projector.settle(PATIENCE).unwrap();
    projector.search().search(query).unwrap()
}

fn titles(projector: &Projector, query: &Query) -> Vec<String> {
    ask(projector, query).results.into_iter().map(|hit| hit.title).collect()
}

/// Questions whose answers are compared between two worlds.
fn questions() -> Vec<Query> {
    let all = Query { limit: 1000, ..Query::default() };
    vec![
        all.clone(),
        Query { text: "housing".to_owned(), ..all.clone() },
        Query { text: "roof rep".to_owned(), ..all.clone() },
        Query { cpv: Some("45".to_owned()), ..all.clone() },
        Query { supplier: Some("brook".to_owned()), ..all.clone() },
        Query { ends_before: Some("2026-06-30".parse().unwrap()), ..all.clone() },
        Query { authority: Some(authority(2)), limit: 7, offset: 3, ..all.clone() },
        Query { include_references: false, ..all },
    ]
}

fn answers(projector: &Projector) -> Vec<Results> {
    questions().iter().map(|query| ask(projector, query)).collect()
}

fn rows(replica: &dyn Replica, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    replica.scan(prefix, &[], usize::MAX).unwrap()
}

/// Entries of two authorities with changes and withdrawals, and references.
struct Corpus {
    entries: BTreeMap<u8, Vec<Entry>>,
    references: Vec<Reference>,
}

fn corpus(count: i64) -> Corpus {
    let titles =
        ["Housing management system", "Roof repairs", "Grounds maintenance", "School meals"];
    let suppliers = ["Brook Software Ltd", "Fell & Son Roofing", "Greenacre Services plc"];
    let cpv = ["48000000", "45261000", "77310000", "55523100"];
    let mut corpus = Corpus { entries: BTreeMap::new(), references: Vec::new() };
    for n in 0..count {
        let at = usize::try_from(n).unwrap();
        let title = format!("{} {n}", titles[at % 4]);
        let ends = format!("202{}-0{}-15", 5 + n % 4, 1 + n % 9);
        let notice = format!("n-{n}");
        let sketch = Sketch {
            title: &title,
            supplier: suppliers[at % 3],
            cpv: cpv[at % 4],
            ends: &ends,
            amount: 1000 + n,
            notice: &notice,
            ..Sketch::default()
        };
        if n % 5 == 4 {
            corpus.references.push(sketch.reference());
            if n % 10 == 9 {
                continue;
            }
        }
        let author = if n % 2 == 0 { 1 } else { 2 };
        let log = corpus.entries.entry(author).or_default();
        log.push(sketch.entry(author, None));
        let index = log.len() as u64 - 1;
        match n % 7 {
            3 => log.push(Sketch { amount: 5_000_000 + n, ..sketch }.entry(author, Some(index))),
            5 => log.push(sketch.withdrawal(author, index)),
            _ => {}
        }
    }
    corpus
}

impl Corpus {
    fn fill(&self, replica: &Arc<dyn Replica>) -> Projector {
        for (author, entries) in &self.entries {
            append(&**replica, log(*author), entries);
        }
        let projector = follow(Arc::clone(replica));
        projector.references().put(&self.references).unwrap();
        projector.settle(PATIENCE).unwrap();
        projector
    }
}

#[test]
fn a_memory_and_a_sled_replica_give_identical_answers() {
    let corpus = corpus(300);
    let dir = tempfile::tempdir().unwrap();
    let on_disk: Arc<dyn Replica> =
        Arc::new(SledReplica::open(&dir.path().join("replica"), 8 << 20).unwrap());
    let in_memory: Arc<dyn Replica> = memory();
    let first = corpus.fill(&in_memory);
    let second = corpus.fill(&on_disk);
    let answers = answers(&first);
    assert_eq!(answers, self::answers(&second));
    assert!(answers.iter().all(|answer| answer.total > 0), "every question has an answer");
    assert_eq!(rows(&*in_memory, b"reg/"), rows(&*on_disk, b"reg/"));
}

#[test]
fn invariant_8_projections_rebuilt_come_out_the_same() {
    let corpus = corpus(200);
    let replica: Arc<dyn Replica> = memory();
    // Little by little first, with references before, between and after the records.
    let projector = follow(Arc::clone(&replica));
    let mut references = corpus.references.chunks(7);
    for n in 0..40 {
        for (author, entries) in &corpus.entries {
            let portion: Vec<Entry> = entries.iter().skip(n * 5).take(5).cloned().collect();
            append(&*replica, log(*author), &portion);
        }
        if let Some(references) = references.next() {
            projector.references().put(references).unwrap();
        }
        if n % 8 == 0 {
            projector.settle(PATIENCE).unwrap();
        } else {
            projector.wake();
        }
    }
    let (answers, register) = (answers(&projector), rows(&*replica, b"reg/"));
    projector.stop().unwrap();
    assert!(!register.is_empty());

    projector::reset(&*replica).unwrap();
    assert!(rows(&*replica, b"reg/").is_empty());
    let rebuilt = follow(Arc::clone(&replica));
    assert_eq!(rows(&*replica, b"reg/"), register);
    assert_eq!(self::answers(&rebuilt), answers);
    assert_eq!(rebuilt.lag().unwrap(), 0);
}

/// Entries that a log may have in the place of what was disowned.
fn others(count: i64) -> Vec<Entry> {
    let entry = |n: i64| {
        let title = format!("Street lighting {n}");
        // Some of them are about documents that the corpus has, too.
        let notice = format!("n-{}", if n % 2 == 0 { 4 + 10 * n } else { 100_000 + n });
        let (title, notice) = (title.as_str(), notice.as_str());
        Sketch { title, notice, amount: 70_000 + n, ..Sketch::default() }.entry(1, None)
    };
    (0..count).map(entry).collect()
}

/// A copy of logs, branches and references, without what is made of them.
fn replica_without_projections(replica: &MemoryReplica) -> Arc<dyn Replica> {
    let copy: Arc<dyn Replica> = Arc::new(replica.copy());
    projector::reset(&*copy).unwrap();
    copy
}

/// Register and index, as they are and as they are when made anew.
fn compare_with_rebuilt(replica: &MemoryReplica, projector: Projector, what: &str) {
    let (answers, register) = (answers(&projector), rows(replica, b"reg/"));
    assert_eq!(projector.lag().unwrap(), 0, "{what}");
    projector.stop().unwrap();
    let copy = replica_without_projections(replica);
    let rebuilt = follow(Arc::clone(&copy));
    assert_eq!(rows(&*copy, b"reg/"), register, "{what}");
    assert_eq!(self::answers(&rebuilt), answers, "{what}");
}

#[test]
fn invariant_8_holds_when_a_part_of_a_log_is_disowned() {
    let corpus = corpus(240);
    let (old, new) = (&corpus.entries[&1], others(160));
    let cases = [
        ("a part", old.len() / 2, 0),
        ("a part, and a little follows", old.len() / 2, 5),
        ("a part, and more follows than there was", old.len() / 2, 160),
        ("everything", 0, 0),
        ("everything, and the same comes again in part", 0, 30),
    ];
    for (case, keep, more) in cases {
        for down in [false, true] {
            let what = format!("{case}; down meanwhile: {down}");
            let dir = tempfile::tempdir().unwrap();
            let place = Place::Directory(dir.path().join("search"));
            let memory = memory();
            let replica: Arc<dyn Replica> = memory.clone();
            for (author, entries) in &corpus.entries {
                append(&*replica, log(*author), entries);
            }
            // A later generation continues some of its records.
            let open = LogId::public(authority(1), 1);
            append(&*replica, open, &others(60)[30..]);
            let mut projector = Projector::start(Arc::clone(&replica), &place).unwrap();
            projector.references().put(&corpus.references).unwrap();
            projector.settle(PATIENCE).unwrap();
            let before = ask(&projector, &Query::default()).total;
            if down {
                projector.stop().unwrap();
            }
            memory.set_aside(&log(1), keep as u64, None, 1000).unwrap();
            if case.contains("again") {
                append(&*replica, log(1), &old[..20]);
            }
            append(&*replica, log(1), &new[..more]);
            if down {
                drop(projector);
                projector = Projector::start(Arc::clone(&replica), &place).unwrap();
                assert_eq!(projector.opened(), Opened::Kept, "{what}");
            }
            projector.wake();
            assert_ne!(ask(&projector, &Query::default()).total, before, "{what}");
            let register = rows(&*replica, b"reg/");
            assert!(projector.register().position(&log(1)).unwrap() < 1000, "{what}");
            assert!(!register.is_empty(), "{what}");
            compare_with_rebuilt(&memory, projector, &what);
        }
    }
}

#[test]
fn a_log_that_is_set_aside_again_and_again_is_followed() {
    let replica = memory();
    let (old, new) = (corpus(60).entries.remove(&1).unwrap(), others(90));
    let projector = follow(replica.clone());
    // The projector sees some of these states, and which is a matter of chance.
    for round in 0..40usize {
        let keep = (round * 7) % 20;
        let held = replica.logs().unwrap().first().map_or(0, |log| log.frontier.size());
        replica.set_aside(&log(1), held.min(keep as u64), None, round as u64).unwrap();
        let source = if round % 3 == 0 { &old } else { &new };
        append(&*replica, log(1), &source[round % 10..round % 10 + 20]);
        if round % 8 == 0 {
            projector.settle(PATIENCE).unwrap();
        } else {
            projector.wake();
        }
    }
    compare_with_rebuilt(&replica, projector, "at the end");
}

#[test]
fn a_record_that_was_disowned_is_as_it_was_before_and_its_reference_is_back() {
    let replica = memory();
    let (kept, stolen) = (Sketch::default(), Sketch { notice: "n-2", ..Sketch::default() });
    let defaced = Sketch { title: "Nothing of the kind", amount: 1, ..Sketch::default() };
    let entries = [
        kept.entry(1, None),
        defaced.entry(1, Some(0)),
        stolen.entry(1, None),
        kept.withdrawal(1, 1),
    ];
    append(&*replica, log(1), &entries);
    let projector = follow(replica.clone());
    projector.references().put(&[stolen.reference()]).unwrap();
    assert_eq!(titles(&projector, &Query::default()), ["Housing management system"], "the record");
    assert_eq!(projector.register().by_source(&kept.digest()).unwrap().len(), 0);
    replica.set_aside(&log(1), 1, None, 2).unwrap();
    projector.wake();
    let found = ask(&projector, &Query::default());
    assert_eq!(found.total, 2, "the first version, and the reference");
    let id = imported_record_id(&authority(1), Space::Public, &kept.key());
    let versions = projector.register().versions(&authority(1), &id).unwrap();
    assert_eq!(versions.len(), 1);
    let current = projector.register().newest(&authority(1), &id).unwrap().unwrap().1;
    assert_eq!((current.newest.version.index, current.source), (0, Some(kept.digest())));
    let id = imported_record_id(&authority(1), Space::Public, &stolen.key());
    assert!(projector.register().newest(&authority(1), &id).unwrap().is_none());
}

#[test]
fn an_index_ahead_of_its_positions_is_caught_up_with() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Directory(dir.path().join("search"));
    let corpus = corpus(120);
    let replica = memory();
    let half = |entries: &Vec<Entry>, second: bool| {
        let (first, rest) = entries.split_at(entries.len() / 2);
        if second { rest.to_vec() } else { first.to_vec() }
    };
    for (author, entries) in &corpus.entries {
        append(&*replica, log(*author), &half(entries, false));
    }
    let projector = Projector::start(Arc::clone(&replica) as Arc<dyn Replica>, &place).unwrap();
    projector.references().put(&corpus.references).unwrap();
    projector.settle(PATIENCE).unwrap();
    projector.stop().unwrap();
    let before = Arc::new(replica.copy());

    for (author, entries) in &corpus.entries {
        append(&*replica, log(*author), &half(entries, true));
    }
    drop(projector);
    let projector = Projector::start(replica, &place).unwrap();
    let wanted = answers(&projector);
    assert_eq!(projector.opened(), Opened::Kept);
    drop(projector);

    // As after a crash that kept the index and lost the end of the replica.
    let projector = Projector::start(Arc::clone(&before) as Arc<dyn Replica>, &place).unwrap();
    assert_eq!(projector.opened(), Opened::Kept);
    for (author, entries) in &corpus.entries {
        append(&*before, log(*author), &half(entries, true));
    }
    projector.wake();
    assert_eq!(answers(&projector), wanted);
}

#[test]
fn words_are_found_as_people_type_them() {
    let replica = memory();
    let sketches = [
        Sketch { title: "Café catering for St Mary's school", notice: "a", ..Sketch::default() },
        Sketch {
            title: "Housing repairs",
            supplier: "Fell Roofing",
            notice: "b",
            ..Sketch::default()
        },
        Sketch {
            title: "Roofing",
            supplier: "Housing Partners",
            notice: "c",
            ends: "2026-01-01",
            ..Sketch::default()
        },
    ];
    append(&*replica, log(1), &sketches.iter().map(|s| s.entry(1, None)).collect::<Vec<_>>());
    let projector = follow(replica);
    let found = |text: &str| titles(&projector, &Query::text(text));
    let cafe = vec!["Café catering for St Mary's school".to_owned()];
    for text in ["cafe", "CAFÉ CATER", "st marys", "school café", "St. Mary’s sch"] {
        assert_eq!(found(text), cafe, "{text}");
    }
    assert_eq!(found("housing"), ["Housing repairs", "Roofing"], "the title counts for more");
    assert_eq!(found("roofing"), ["Roofing", "Housing repairs"]);
    assert_eq!(found("house"), Vec::<String>::new());
    assert_eq!(found("housing cafe"), Vec::<String>::new(), "all words must be there");
    assert_eq!(found("hous roofing"), Vec::<String>::new(), "only the last may be cut short");
    assert_eq!(found("").len(), 3);
    for text in ["\"", "title:", "a AND (", "[* TO", "+-!(){}[]^\"~*?:\\/", "\u{0}", "&&", "'"] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
    let long = "word ".repeat(100_000);
    assert_eq!(found(&long), Vec::<String>::new());
}

#[test]
fn filters_narrow_and_combine() {
    let replica = memory();
    let sketches = [
        Sketch {
            title: "A",
            cpv: "48000000",
            notice: "a",
            ends: "2026-03-31",
            ..Sketch::default()
        },
        Sketch {
            title: "B",
            cpv: "48211000-0",
            notice: "b",
            ends: "2026-04-01",
            ..Sketch::default()
        },
        Sketch {
            title: "C",
            cpv: "45261000",
            notice: "c",
            ends: "2026-04-02",
            supplier: "CIVIL WORKS UK LIMITED",
            buyer: "London Borough of Westmoor",
            ..Sketch::default()
        },
    ];
    append(&*replica, log(1), &[sketches[0].entry(1, None), sketches[1].entry(1, None)]);
    append(&*replica, log(2), &[sketches[2].entry(2, None)]);
    let projector = follow(replica);
    let found = |query: Query| {
        let titles = titles(&projector, &query);
        titles.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<String>()
    };
    let cpv = |prefix: &str| Query { cpv: Some(prefix.to_owned()), ..Query::default() };
    assert_eq!(found(cpv("48")), "AB");
    assert_eq!(found(cpv("4")), "ABC");
    assert_eq!(found(cpv("482")), "B");
    assert_eq!(found(cpv("48211000-0")), "B");
    assert_eq!(found(cpv("45261000")), "C");
    assert!(projector.search().search(&cpv("48x")).is_err());
    assert!(projector.search().search(&cpv("")).is_err());

    let supplier = |name: &str| Query { supplier: Some(name.to_owned()), ..Query::default() };
    assert_eq!(found(supplier("Civil Works")), "C");
    assert_eq!(found(supplier("civil works uk ltd")), "C");
    assert_eq!(found(supplier("Civil Works plc")), "C", "the legal form does not tell firms apart");
    assert_eq!(found(supplier("GB-COH-01234567")), "ABC", "by identifier");
    assert_eq!(found(supplier("civ")), "", "a filter wants whole words");

    let buyer = |name: &str| Query { buyer: Some(name.to_owned()), ..Query::default() };
    assert_eq!(found(buyer("westmoor")), "C");
    let before = |day: &str| Query { ends_before: Some(day.parse().unwrap()), ..Query::default() };
    assert_eq!(found(before("2026-04-01")), "A", "not the day itself");
    let after = |day: &str| Query { ends_after: Some(day.parse().unwrap()), ..Query::default() };
    assert_eq!(found(after("2026-04-01")), "BC", "the day itself");
    let kind = |kind| Query { kind: Some(kind), ..Query::default() };
    assert_eq!(found(kind(Kind::CONTRACT)), "ABC");
    assert_eq!(found(kind(Kind::PIPELINE)), "");
    assert_eq!(found(Query { authority: Some(authority(2)), ..Query::default() }), "C");
    let both = Query { ends_after: Some("2026-04-01".parse().unwrap()), ..cpv("48") };
    assert_eq!(found(both), "B");

    let page = |offset, limit| ask(&projector, &Query { offset, limit, ..Query::default() });
    assert_eq!(page(0, 0).total, 3);
    assert!(page(0, 0).results.is_empty());
    assert_eq!(page(1, 1).results, page(0, 3).results[1..2]);
    assert_eq!(page(usize::MAX, usize::MAX), Results { total: 3, results: Vec::new() });
}

#[test]
fn the_newest_version_counts_and_a_withdrawn_record_is_hidden() {
    let replica = memory();
    let first = Sketch::default();
    let second = Sketch { title: "Housing platform", amount: 2_000_000, ..Sketch::default() };
    append(&*replica, log(1), &[first.entry(1, None)]);
    let projector = follow(Arc::clone(&replica) as Arc<dyn Replica>);
    assert_eq!(titles(&projector, &Query::text("management")), ["Housing management system"]);

    append(&*replica, log(1), &[second.entry(1, Some(0))]);
    assert!(titles(&projector, &Query::text("management")).is_empty());
    let found = ask(&projector, &Query::text("housing"));
    assert_eq!((found.total, found.results[0].amount), (1, Some(2_000_000)));
    assert_eq!(found.results[0].version.as_deref(), Some("0.1"));
    assert_eq!(found.results[0].authority, Some(authority(1)));

    append(&*replica, log(1), &[second.withdrawal(1, 1)]);
    assert_eq!(ask(&projector, &Query::default()).total, 0);
    let id = imported_record_id(&authority(1), Space::Public, &first.key());
    let (_, newest) = projector.register().newest(&authority(1), &id).unwrap().unwrap();
    assert_eq!(newest.newest.action, Action::Withdraw);
    let versions = projector.register().versions(&authority(1), &id).unwrap();
    assert_eq!(versions.len(), 3, "history stays");

    append(&*replica, log(1), &[first.entry(1, Some(2))]);
    assert_eq!(ask(&projector, &Query::default()).total, 1, "and published again it is back");
}

#[test]
fn a_reference_steps_back_for_the_own_record_and_returns_when_that_is_withdrawn() {
    let replica = memory();
    let projector = follow(Arc::clone(&replica) as Arc<dyn Replica>);
    let sketch = Sketch::default();
    let references = projector.references();
    assert_eq!(references.put(&[sketch.reference()]).unwrap(), [Put::Stored]);
    let found = ask(&projector, &Query::text("housing"));
    assert_eq!(found.total, 1);
    let hit = &found.results[0];
    assert!(hit.reference, "it is marked");
    assert_eq!(hit.authority, None);
    assert!(hit.address.starts_with("reference/"), "{}", hit.address);
    assert_eq!(references.resolve(&hit.address).unwrap(), [sketch.reference()]);
    assert_eq!(references.resolve(&hit.address[..15]).unwrap(), [sketch.reference()]);
    assert_eq!(references.resolve("reference/").unwrap(), []);

    append(&*replica, log(3), &[sketch.entry(3, None)]);
    let found = ask(&projector, &Query::text("housing"));
    assert_eq!(found.total, 1, "each contract once");
    assert!(!found.results[0].reference);
    assert!(references.is_superseded(&sketch.digest()).unwrap());
    assert!(references.exists(&sketch.digest()).unwrap(), "hidden and kept");

    append(&*replica, log(3), &[sketch.withdrawal(3, 0)]);
    let found = ask(&projector, &Query::text("housing"));
    assert!(found.total == 1 && found.results[0].reference, "back again");

    // The own record comes again under another source: the reference stays.
    let other = Sketch { notice: "n-2", ..Sketch::default() };
    append(&*replica, log(3), &[other.entry(3, None)]);
    assert_eq!(ask(&projector, &Query::default()).total, 2);
    let only_records = Query { include_references: false, ..Query::default() };
    assert_eq!(ask(&projector, &only_records).total, 1);

    let changed = Sketch { amount: 7, ..Sketch::default() };
    let puts = references.put(&[sketch.reference(), changed.reference(), changed.reference()]);
    assert_eq!(puts.unwrap(), [Put::Unchanged, Put::Changed, Put::Unchanged]);
    let found = ask(&projector, &Query { authority: None, ..Query::text("housing") });
    let amounts: BTreeSet<_> =
        found.results.iter().map(|hit| (hit.reference, hit.amount)).collect();
    assert!(amounts.contains(&(true, Some(7))), "{amounts:?}");

    references.remove(&sketch.digest()).unwrap();
    assert_eq!(ask(&projector, &Query::default()).total, 1);
}

#[test]
fn a_body_that_goes_is_hidden_and_one_that_comes_is_shown() {
    let replica = memory();
    let sketch = Sketch::default();
    let entry = sketch.entry(1, None);
    append(&*replica, log(1), std::slice::from_ref(&entry));
    let projector = follow(Arc::clone(&replica) as Arc<dyn Replica>);
    projector.references().put(&[sketch.reference()]).unwrap();
    assert!(!ask(&projector, &Query::default()).results[0].reference);

    replica.set_body(&log(1), 0, None).unwrap();
    projector.body_changed(&log(1), 0).unwrap();
    assert!(ask(&projector, &Query::default()).results[0].reference);

    replica.set_body(&log(1), 0, Some(entry.body().unwrap().as_bytes())).unwrap();
    projector.body_changed(&log(1), 0).unwrap();
    assert!(!ask(&projector, &Query::default()).results[0].reference);
}

#[test]
fn shortened_references_are_resolved_while_unique() {
    let replica = memory();
    let entry = |author: u8, id: [u8; 16], amount: i64| {
        let sketch = Sketch { amount, ..Sketch::default() };
        let salt = salt(u64::from(author) + u64::try_from(amount).unwrap());
        let id = RecordId::from_bytes(id);
        prepare(&sketch.record(), id, None, Action::Put, now(), salt).unwrap()
    };
    append(&*replica, log(1), &[entry(1, [0xab; 16], 1), entry(1, [0xac; 16], 2)]);
    append(&*replica, log(2), &[entry(2, [0xab; 16], 3), entry(2, [0xab; 16], 4)]);
    let projector = follow(replica);
    let resolve = |text: &str| projector.register().resolve(text);
    let (one, two) = (authority(1).to_string(), authority(2).to_string());
    let whole = |authority: u8, id: u8, version: Option<u64>| RecordRef {
        authority: self::authority(authority),
        record: RecordId::from_bytes([id; 16]),
        version: version.map(|index| Version { generation: 0, index }),
    };
    for text in [
        whole(1, 0xac, None).to_string(),
        "ac".to_owned(),
        "acaca".to_owned(),
        format!("{}/ac", &one[..12]),
        format!("{}/aca", &one[6..12]),
    ] {
        assert_eq!(resolve(&text).unwrap(), whole(1, 0xac, None), "{text}");
    }
    assert_eq!(resolve(&format!("{two}/ab@0.1")).unwrap(), whole(2, 0xab, Some(1)));
    assert!(
        matches!(resolve("ab"), Err(ResolveError::Ambiguous { found, .. }) if found.len() == 2)
    );
    assert!(matches!(resolve("a"), Err(ResolveError::Ambiguous { found, .. }) if found.len() == 3));
    assert!(
        matches!(resolve(&format!("{two}/ab@0.")), Err(ResolveError::Ambiguous { found, .. }) if found.len() == 2)
    );
    for text in ["ad", "ac@0.7", "tally1zzzz/ac"] {
        assert!(matches!(resolve(text), Err(ResolveError::NotFound(_))), "{text}");
    }
    for text in ["", "/", "x y", "ab/", "AB", "ab@x", "🙂/ab", &"a".repeat(33)] {
        assert!(matches!(resolve(text), Err(ResolveError::Form(_))), "{text}");
    }
}

#[test]
fn a_damaged_foreign_or_deleted_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let search = dir.path().join("search");
    let place = Place::Directory(search.clone());
    let replica = memory();
    let corpus = corpus(60);
    for (author, entries) in &corpus.entries {
        append(&*replica, log(*author), entries);
    }
    let start = |replica: &Arc<MemoryReplica>| {
        Projector::start(Arc::clone(replica) as Arc<dyn Replica>, &place).unwrap()
    };
    let projector = start(&replica);
    assert_eq!(projector.opened(), Opened::New);
    projector.references().put(&corpus.references).unwrap();
    let wanted = answers(&projector);
    drop(projector);

    let files = || -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&search).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        files
    };
    for extension in ["term", "store", "fast", "idx", "meta.json"] {
        let victim = files().into_iter().find(|f| f.to_string_lossy().ends_with(extension));
        let victim = victim.unwrap_or_else(|| panic!("a file that ends with {extension}"));
        let mut bytes = fs::read(&victim).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&victim, bytes).unwrap();
        let projector = start(&replica);
        assert!(matches!(projector.opened(), Opened::Replaced(_)), "{extension}");
        assert_eq!(answers(&projector), wanted, "{extension}");
    }
    for victim in files() {
        if victim.extension().is_some_and(|e| e == "idx") {
            fs::write(&victim, b"").unwrap();
        }
    }
    let projector = start(&replica);
    assert!(matches!(projector.opened(), Opened::Replaced(_)));
    assert_eq!(answers(&projector), wanted);
    drop(projector);

    fs::remove_dir_all(&search).unwrap();
    let projector = start(&replica);
    assert_eq!(projector.opened(), Opened::New);
    assert_eq!(answers(&projector), wanted);
    drop(projector);

    // Another replica: nothing of the former one may be found.
    let other = Arc::new(MemoryReplica::new([2; 16]));
    let projector = start(&other);
    assert!(matches!(projector.opened(), Opened::Replaced(_)));
    assert_eq!(ask(&projector, &Query::default()).total, 0);
}

#[test]
fn a_failure_is_reported_to_whoever_waits() {
    let replica = memory();
    append(&*replica, log(1), &[Sketch::default().entry(1, None)]);
    replica.set_body(&log(1), 0, Some(b"not a body")).unwrap();
    let projector = Projector::start(replica, &Place::Memory).unwrap();
    let outcome = projector.wait_until(&log(1), 1, PATIENCE);
    assert!(matches!(outcome, Err(ProjectorError::Failed { why, .. }) if why.contains("damaged")));
    assert!(matches!(projector.state(), State::Failed { .. }));
    assert!(projector.stop().is_err());
    assert_eq!(projector.lag().unwrap(), 1);
}

/// A replica that panics when its entries are read.
struct Panicking(MemoryReplica);

impl Replica for Panicking {
    fn incarnation(&self) -> [u8; 16] {
        self.0.incarnation()
    }

    fn logs(&self) -> Result<Vec<StoredLog>, StoreError> {
        self.0.logs()
    }

    fn head(&self, log: &LogId) -> Result<Option<SignedHead>, StoreError> {
        self.0.head(log)
    }

    fn identities(&self) -> Result<Vec<StoredIdentity>, StoreError> {
        self.0.identities()
    }

    fn put_identity(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        self.0.put_identity(identity)
    }

    fn evidence(&self, of: Option<&AuthorityId>) -> Result<Vec<StoredEvidence>, StoreError> {
        self.0.evidence(of)
    }

    fn put_evidence(&self, evidence: &StoredEvidence) -> Result<bool, StoreError> {
        self.0.put_evidence(evidence)
    }

    fn cursors(&self) -> Result<Vec<(AuthorityId, Vec<u8>)>, StoreError> {
        self.0.cursors()
    }

    fn put_cursor(&self, authority: &AuthorityId, cursor: &[u8]) -> Result<(), StoreError> {
        self.0.put_cursor(authority, cursor)
    }

    fn extend(&self, extensions: &[Extension<'_>]) -> Result<(), StoreError> {
        self.0.extend(extensions)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    fn headers(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        self.0.headers(log, range)
    }

    fn bodies(
        &self,
        log: &LogId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.bodies(log, range, max_bytes)
    }

    fn entries(
        &self,
        _log: &LogId,
        _range: Range<u64>,
        _max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        panic!("as the test wants it")
    }

    fn nodes(&self, log: &LogId) -> Result<Box<dyn Nodes + '_>, StoreError> {
        self.0.nodes(log)
    }

    fn set_body(&self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        self.0.set_body(log, index, body)
    }

    fn set_aside(
        &self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        self.0.set_aside(log, keep, head, changed)
    }

    fn branches(&self) -> Result<Vec<Branch>, StoreError> {
        self.0.branches()
    }

    fn branch_entries(
        &self,
        log: &LogId,
        number: u32,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.0.branch_entries(log, number, range, max_bytes)
    }

    fn branch_nodes(&self, log: &LogId, number: u32) -> Result<Box<dyn Nodes + '_>, StoreError> {
        self.0.branch_nodes(log, number)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn put(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.put(changes)
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}

#[test]
fn a_panic_is_reported_to_whoever_waits() {
    let replica = Panicking(MemoryReplica::new([1; 16]));
    append(&replica, log(1), &[Sketch::default().entry(1, None)]);
    let projector = Projector::start(Arc::new(replica), &Place::Memory).unwrap();
    let outcome = projector.wait_until(&log(1), 1, PATIENCE);
    let reported = |why: &str| why.contains("as the test wants it");
    assert!(matches!(outcome, Err(ProjectorError::Failed { why, .. }) if reported(&why)));
    assert!(projector.stop().is_err());
}

#[test]
fn waiting_ends_in_time_and_by_stopping() {
    let replica = memory();
    let projector = follow(replica);
    let outcome = projector.wait_until(&log(1), 1, Duration::from_millis(50));
    assert!(matches!(outcome, Err(ProjectorError::Timeout)));
    projector.stop().unwrap();
    assert_eq!(projector.state(), State::Stopped);
    let outcome = projector.wait_until(&log(1), 1, PATIENCE);
    assert!(matches!(outcome, Err(ProjectorError::Stopped)));
}

#[test]
fn what_is_written_is_found_within_a_second_or_two_without_being_asked_for() {
    let replica = memory();
    let projector = follow(Arc::clone(&replica) as Arc<dyn Replica>);
    append(&*replica, log(1), &[Sketch::default().entry(1, None)]);
    projector.wake();
    let start = Instant::now();
    while projector.search().search(&Query::default()).unwrap().total == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody committed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ten_thousand_records_are_indexed_in_reasonable_time() {
    let replica = memory();
    let mut entries = Vec::new();
    for n in 0..10_000_i64 {
        let (title, notice) = (format!("Contract number {n} for roof repairs"), format!("n-{n}"));
        entries.push(
            Sketch { title: &title, notice: &notice, amount: n, ..Sketch::default() }
                .entry(1, None),
        );
    }
    append(&*replica, log(1), &entries);
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Directory(dir.path().join("search"));
    let start = Instant::now();
    let projector = Projector::start(replica, &place).unwrap();
    projector.wait_until(&log(1), 10_000, PATIENCE).unwrap();
    // Generous, for an unoptimised build on a busy machine; `wait_until` has its own limit.
    eprintln!("10,000 records indexed in {:?}", start.elapsed());
    assert_eq!(projector.search().search(&Query::text("roof number 77")).unwrap().total, 111);
    let start = Instant::now();
    assert_eq!(ask(&projector, &Query::text("roof rep")).total, 10_000);
    eprintln!("10,000 found in {:?}", start.elapsed());
}

// Imports.

/// A council with its own replica; entries of others are handed over by the test.
struct Council {
    names: Vec<String>,
    number: u8,
    replica: Arc<MemoryReplica>,
    projector: Projector,
    salts: u64,
}

impl Council {
    fn new(name: &str, number: u8) -> Self {
        Self::known_as(vec![name.to_owned()], number)
    }

    fn known_as(names: Vec<String>, number: u8) -> Self {
        let replica = memory();
        let projector = follow(Arc::clone(&replica) as Arc<dyn Replica>);
        Self { names, number, replica, projector, salts: 0 }
    }

    fn register(&self) -> Register {
        self.projector.register().clone()
    }

    fn importer(&self) -> Importer {
        Importer::new(
            authority(self.number),
            Space::Public,
            Ownership::new(&self.names[0], &self.names[1..], &[]),
        )
    }

    /// Imports a file as the driver does; gives the counts and what became of the references.
    fn import(&mut self, path: &Path) -> (Summary, Vec<Put>) {
        let mut rows = ingest::open(path, &Options::default()).unwrap();
        let space = Space::Public;
        let lookup = ReplicaLookup::new(authority(self.number), space, self.register());
        let (mut importer, mut summary, mut puts) =
            (self.importer(), Summary::default(), Vec::new());
        let first = u64::from(self.number) << 40 | self.salts;
        let mut drawn = 0;
        let mut draw = || {
            drawn += 1;
            salt(first + drawn)
        };
        let mut material = Material { issued: now(), note: String::new(), salt: &mut draw };
        while let Some(plan) = importer.plan(&mut rows, &lookup, &mut material).unwrap() {
            if !plan.entries.is_empty() {
                let size = append(&*self.replica, log(self.number), &plan.entries);
                self.projector.wait_for_register(&log(self.number), size, PATIENCE).unwrap();
            }
            puts.extend(self.projector.references().put(&plan.references).unwrap());
            plan.rows.into_iter().for_each(|row| summary.count(row.row, row.outcomes));
        }
        self.salts += drawn;
        (summary, puts)
    }

    /// What the import would do.
    fn rehearse(&self, path: &Path) -> (Summary, Vec<Put>) {
        let mut rows = ingest::open(path, &Options::default()).unwrap();
        let space = Space::Public;
        let inner = ReplicaLookup::new(authority(self.number), space, self.register());
        let mut rehearsal = Rehearsal::new(inner);
        let (mut importer, mut summary, mut puts) =
            (self.importer(), Summary::default(), Vec::new());
        let mut draw = || [0; 32];
        let mut material = Material { issued: now(), note: String::new(), salt: &mut draw };
        while let Some(plan) = importer.plan(&mut rows, &rehearsal, &mut material).unwrap() {
            rehearsal.apply(&plan);
            puts.extend(rehearsal.references(&plan, self.projector.references()).unwrap());
            plan.rows.into_iter().for_each(|row| summary.count(row.row, row.outcomes));
        }
        (summary, puts)
    }

    fn size(&self) -> u64 {
        self.register().position(&log(self.number)).unwrap()
    }
}

fn sum(summary: &Summary) -> u64 {
    summary.stored + summary.changed + summary.unchanged + summary.reference + summary.refused_total
}

/// A file of shared data, or nothing where there is none.
fn shared(name: &str) -> Option<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let path = Path::new(dir).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    assert!(std::env::var_os("CI").is_none(), "shared data is missing");
    None
}

fn write_lines(dir: &Path, lines: &[serde_json::Value]) -> PathBuf {
    let path = dir.join("notices.jsonl");
    let lines: Vec<String> = lines.iter().map(serde_json::Value::to_string).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn notice(number: u32, buyer: &str, amount: u32) -> serde_json::Value {
    serde_json::json!({
        "id": format!("{number:08x}-0000-4000-8000-000000000000"),
        "title": format!("Contract {number}"), "organisation": buyer, "status": "Awarded",
        "awarded_supplier": "Brook Software Ltd", "awarded_value": amount,
        "published_date": "2026-01-02T10:00:00Z", "cpv_codes": "48000000"
    })
}

#[test]
fn importing_twice_changes_nothing_and_a_changed_amount_gives_a_new_version() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = ("Ambleford Borough Council", "Westmoor Council");
    let lines = [notice(1, own, 5000), notice(2, other, 6000), notice(3, own, 7000)];
    let path = write_lines(dir.path(), &lines);
    let mut council = Council::new(own, 1);
    let rehearsed = council.rehearse(&path);
    assert_eq!(council.size(), 0, "a rehearsal changes nothing");
    let (first, puts) = council.import(&path);
    assert_eq!(rehearsed, (first.clone(), puts.clone()));
    assert_eq!((first.rows, first.stored, first.reference), (3, 2, 1), "{first:?}");
    assert_eq!((sum(&first), puts), (3, vec![Put::Stored]));

    let before = rows(&*council.replica, b"");
    let (second, puts) = council.import(&path);
    assert_eq!((second.unchanged, second.reference), (2, 1), "{second:?}");
    assert_eq!((council.size(), puts), (2, vec![Put::Unchanged]));
    council.projector.settle(PATIENCE).unwrap();
    assert_eq!(rows(&*council.replica, b"reg/"), {
        before.into_iter().filter(|(key, _)| key.starts_with(b"reg/")).collect::<Vec<_>>()
    });

    let lines = [notice(1, own, 5000), notice(2, other, 6500), notice(3, own, 7500)];
    let path = write_lines(dir.path(), &lines);
    let (third, puts) = council.import(&path);
    assert_eq!((third.changed, third.unchanged, third.reference), (1, 1, 1), "{third:?}");
    assert_eq!((council.size(), puts), (3, vec![Put::Changed]));
    let key = "contracts-finder|00000003-0000-4000-8000-000000000000|";
    let space = Space::Public;
    let lookup = ReplicaLookup::new(authority(1), space, council.register());
    let kept = lookup.own(key).unwrap().unwrap();
    assert_eq!(kept.version.index, 2);
    let entry = council.register().entry(
        &tallystick_node::register::RecordKey { authority: authority(1), space, record: kept.id },
        kept.version,
    );
    let previous = entry.unwrap().unwrap().header().previous;
    assert_eq!(previous, Some(Version { generation: 0, index: 1 }));
}

#[test]
fn rows_that_repeat_one_another_are_decided_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let own = "Ambleford Borough Council";
    let lines = [
        notice(1, own, 5000),
        notice(1, own, 5000),
        notice(1, own, 6000),
        notice(2, own, 1000),
        notice(1, own, 7000),
        serde_json::json!({"id": "x"}),
    ];
    let path = write_lines(dir.path(), &lines);
    let mut council = Council::new(own, 1);
    let rehearsed = council.rehearse(&path);
    let (summary, _) = council.import(&path);
    assert_eq!(rehearsed.0, summary);
    assert_eq!((summary.stored, summary.changed, summary.unchanged), (2, 2, 1), "{summary:?}");
    assert_eq!((summary.refused_total, sum(&summary)), (1, 6));
    assert_eq!(council.size(), 4);
    let found = ask(&council.projector, &Query::text("contract 1"));
    assert_eq!((found.total, found.results[0].amount), (1, Some(700_000)));
}

#[test]
fn a_withdrawn_record_does_not_come_back_by_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let own = "Ambleford Borough Council";
    let path = write_lines(dir.path(), &[notice(1, own, 5000)]);
    let mut council = Council::new(own, 1);
    council.import(&path);
    let id = imported_record_id(
        &authority(1),
        Space::Public,
        "contracts-finder|00000001-0000-4000-8000-000000000000|",
    );
    let version = Version { generation: 0, index: 0 };
    let entry = withdraw(Kind::CONTRACT, id, version, None, now(), salt(99)).unwrap();
    append(&*council.replica, log(1), &[entry]);
    council.projector.wait_until(&log(1), 2, PATIENCE).unwrap();
    let (summary, _) = council.import(&path);
    assert_eq!(summary.refused_total, 1);
    assert!(summary.refused[0].reason.contains("withdrew"), "{summary:?}");
    assert_eq!(council.size(), 2);
}

#[test]
fn a_look_alike_is_offered_and_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_lines(dir.path(), &[notice(1, "Ambleford Council", 5000)]);
    let council = Council::new("Ambleford Borough Council", 1);
    let mut rows = ingest::open(&path, &Options::default()).unwrap();
    let space = Space::Public;
    let lookup = ReplicaLookup::new(authority(1), space, council.register());
    let mut importer = council.importer();
    let mut draw = || [0; 32];
    let mut material = Material { issued: now(), note: String::new(), salt: &mut draw };
    let plan = importer.plan(&mut rows, &lookup, &mut material).unwrap().unwrap();
    assert!(plan.entries.is_empty() && plan.references.len() == 1);
    assert_eq!(importer.near().iter().collect::<Vec<_>>(), ["Ambleford Council"]);
    assert!(importer.plan(&mut rows, &lookup, &mut material).unwrap().is_none());
}

#[test]
fn nine_councils_import_one_file_and_see_each_contract_once() {
    let Some(path) = shared("cf_notices_lancashire_2026.jsonl") else { return };
    // The file says which council each notice is of; 22 spellings stand for nine of them.
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        names.entry(text("council")).or_default().insert(text("organisation"));
    }
    assert_eq!(names.len(), 9);
    let mut keys = BTreeSet::new();
    for row in ingest::open(&path, &Options::default()).unwrap() {
        keys.extend(row.drafts.unwrap_or_default().iter().map(|d| d.record.source_key().unwrap()));
    }
    let mut councils: Vec<Council> = (1..)
        .zip(names.into_values())
        .map(|(number, names)| Council::known_as(names.into_iter().collect(), number))
        .collect();
    let mut stored = 0;
    for council in &mut councils {
        let (summary, _) = council.import(&path);
        assert_eq!(summary.rows, 770);
        assert_eq!(sum(&summary), 770, "{summary:?}");
        assert!(summary.stored > 0, "{:?}", council.names);
        stored += summary.stored;
        let found = ask(&council.projector, &Query { limit: 0, ..Query::default() });
        assert_eq!(found.total, keys.len() as u64, "own records and references");

        let size = council.size();
        let (again, puts) = council.import(&path);
        assert_eq!((again.stored, again.changed, council.size()), (0, 0, size), "{again:?}");
        assert!(puts.iter().all(|put| *put == Put::Unchanged));
    }
    assert_eq!(stored, keys.len() as u64, "every contract is one council's own");
    // Everybody gets everybody's log.
    let logs: Vec<(LogId, Vec<Entry>)> = councils
        .iter()
        .map(|council| {
            let log = log(council.number);
            let entries = council.replica.entries(&log, 0..u64::MAX, usize::MAX).unwrap();
            let entries = entries.into_iter().map(|e| e.into_unverified().check().unwrap());
            (log, entries.collect())
        })
        .collect();
    let wanted = ask_everything(&councils[0], &logs);
    assert_eq!(wanted.total, keys.len() as u64, "each contract once");
    assert!(wanted.results.iter().all(|hit| !hit.reference), "all by their own authorities");
    for council in &councils[1..] {
        assert_eq!(ask_everything(council, &logs), wanted, "{:?}", council.names);
    }
}

fn ask_everything(council: &Council, logs: &[(LogId, Vec<Entry>)]) -> Results {
    for (log, entries) in logs.iter().filter(|(log, _)| log.authority != authority(council.number))
    {
        append(&*council.replica, *log, entries);
    }
    ask(&council.projector, &Query { limit: 1000, ..Query::default() })
}
