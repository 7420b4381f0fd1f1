//! Foreign files read as they are: every notice of nine councils, every weekly
//! export, and files that are damaged in every way we could think of.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests stand outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use tallystick_node::ingest::buyer::Ownership;
use tallystick_node::ingest::{
    Draft, Format, IngestError, Options, Outcome, Row, Summary, adds_nothing, open, read,
};
use tallystick_protocol::record::part::Organisation;
use tallystick_protocol::record::{Kind, Record};

/// The shared data, or `None` with a word on stderr where it is missing.
fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is missing", path.display());
    assert!(std::env::var_os("CI").is_none(), "{} is missing in CI", path.display());
    None
}

fn rows(path: &Path) -> Vec<Row> {
    open(path, &Options::default()).unwrap().collect()
}

fn key(draft: &Draft) -> (Kind, String) {
    (draft.record.kind(), draft.record.source_key().expect("every draft has a source key"))
}

/// What an import does with a row, on a store in memory.
#[derive(Default)]
struct Import {
    stored: BTreeMap<(Kind, String), Record>,
    summary: Summary,
    own_rows: Vec<u64>,
}

impl Import {
    fn row(&mut self, own: &Ownership, row: Row) {
        let outcomes: Vec<Outcome> = match row.drafts {
            Err(refusal) => vec![Outcome::Refused(refusal.reason)],
            Ok(drafts) => drafts.into_iter().map(|draft| self.draft(own, draft)).collect(),
        };
        if outcomes.contains(&Outcome::Stored) {
            self.own_rows.push(row.number);
        }
        self.summary.count(row.number, outcomes);
    }

    fn draft(&mut self, own: &Ownership, draft: Draft) -> Outcome {
        draft.record.validate().unwrap_or_else(|e| panic!("{e}: {draft:?}"));
        if !draft.buyers.iter().any(|buyer| own.owns(buyer)) {
            return Outcome::Reference;
        }
        let before = self.stored.get(&key(&draft));
        if before.is_some_and(|before| adds_nothing(before, &draft.record)) {
            return Outcome::Unchanged;
        }
        match self.stored.insert(key(&draft), draft.record) {
            None => Outcome::Stored,
            Some(_) => Outcome::Changed,
        }
    }
}

fn named(name: &str, others: &[&str]) -> Ownership {
    let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    Ownership::new(name, &others, &[])
}

#[test]
fn nine_councils_share_the_lancashire_file_between_them() {
    let Some(path) = data("cf_notices_lancashire_2026.jsonl") else { return };
    let blackburn = ["Blackburn with Darwen Council"];
    let councils = [
        (named("Blackburn with Darwen Borough Council", &blackburn), 69, "blackburn"),
        (named("Blackpool Council", &["Blackpool Borough Council"]), 146, "blackpool"),
        (named("Burnley Borough Council", &[]), 94, "burnley"),
        (named("Chorley Council", &["Chorley Borough Council"]), 149, "chorley"),
        (named("Lancashire County Council", &[]), 91, "lancashire"),
        (named("Pendle Borough Council", &[]), 14, "pendle"),
        (named("Preston City Council", &[]), 86, "preston"),
        (named("Ribble Valley Borough Council", &[]), 21, "ribble"),
        (named("Wyre Council", &["Wyre Borough Council"]), 90, "wyre"),
    ];
    let mut owners: BTreeMap<u64, &str> = BTreeMap::new();
    for (own, expected, name) in &councils {
        let mut import = Import::default();
        rows(&path).into_iter().for_each(|row| import.row(own, row));
        let summary = &import.summary;
        assert!(summary.adds_up(), "{name}");
        assert_eq!((summary.rows, summary.refused_total), (770, 0), "{name}");
        assert_eq!(summary.stored, *expected, "{name}");
        assert_eq!(summary.reference, 770 - expected, "{name}");
        for row in std::mem::take(&mut import.own_rows) {
            assert_eq!(owners.insert(row, name), None, "row {row} has one owner");
        }
        rows(&path).into_iter().for_each(|row| import.row(own, row));
        assert!(import.summary.adds_up());
        assert_eq!(import.summary.unchanged, *expected, "{name}: importing again adds nothing");
        assert_eq!((import.summary.stored, import.summary.changed), (*expected, 0), "{name}");
    }
    // Ten rows name two councils, a department or somebody on a council's behalf.
    assert_eq!(owners.len(), 770 - 10);
    for row in rows(&path).iter().filter(|row| !owners.contains_key(&row.number)) {
        let buyer = &row.drafts.as_ref().unwrap()[0].buyers[0];
        assert!(councils.iter().any(|(own, ..)| own.near(buyer)), "{} is offered", buyer.name);
    }
}

#[test]
fn every_lancashire_row_gives_one_record_of_the_right_kind() {
    let Some(path) = data("cf_notices_lancashire_2026.jsonl") else { return };
    let rows = rows(&path);
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    let (mut signed, mut valued, mut apart, mut warned) = (0, 0, 0, 0);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.number, at as u64 + 1, "rows are lines");
        let [draft] = row.drafts.as_ref().unwrap().as_slice() else { panic!("{row:?}") };
        *kinds.entry(draft.record.kind()).or_default() += 1;
        assert!(keys.insert(key(draft)), "each contract once: {:?}", key(draft));
        warned += usize::from(!draft.warnings.is_empty());
        if let Record::Contract(contract) = &draft.record {
            signed += usize::from(contract.date_signed.is_some());
            valued += usize::from(contract.value.is_some());
            apart += usize::from(contract.suppliers.iter().any(|s| s.withheld.is_some()));
            // The search cuts descriptions at 500 bytes, in the middle of an entity if need be.
            let text = contract.description.as_deref().unwrap_or_default();
            let text = text.get(..text.floor_char_boundary(text.len().saturating_sub(12))).unwrap();
            for damage in ["&amp;", "&#", "\\r", "â€", "â\u{80}"] {
                assert!(!contract.title.contains(damage), "{}", contract.title);
                assert!(!text.contains(damage), "{text}");
            }
        }
    }
    assert_eq!(kinds, BTreeMap::from([(Kind::CONTRACT, 545), (Kind::PIPELINE, 225)]));
    assert_eq!((signed, valued, apart, warned), (545, 507, 36, 47));
}

#[test]
fn every_weekly_export_is_read_and_the_totals_hold() {
    let Some(folder) = data("cf_2020_csv") else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 92);
    let leeds = named("Leeds City Council", &[]);
    let mut import = Import::default();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    let (mut starts, mut ends, mut deadlines, mut identified) = (0, 0, 0, 0);
    for file in &files {
        for row in rows(file) {
            for draft in row.drafts.as_ref().unwrap() {
                *kinds.entry(draft.record.kind()).or_default() += 1;
                keys.insert(key(draft));
                match &draft.record {
                    Record::Contract(contract) => {
                        let period = contract.period.clone().unwrap_or_default();
                        starts += usize::from(period.start_date.is_some());
                        ends += usize::from(period.end_date.is_some());
                        identified +=
                            contract.suppliers.iter().filter(|s| !s.identifiers.is_empty()).count();
                    }
                    Record::Pipeline(plan) => {
                        deadlines += usize::from(plan.tender_end_date.is_some());
                        assert_eq!(plan.period, None, "a tender period is no contract period");
                    }
                    other => panic!("{other:?}"),
                }
            }
            import.row(&leeds, row);
        }
    }
    assert_eq!(kinds, BTreeMap::from([(Kind::CONTRACT, 220), (Kind::PIPELINE, 63)]));
    assert_eq!((starts, ends, deadlines, identified), (195, 195, 63, 26));
    // 25 awards stand in two exports of one week, one of them with fewer columns;
    // one tender stands in two files.
    assert_eq!(keys.len(), 257);
    let first = import.summary.clone();
    assert!(first.adds_up());
    assert_eq!((first.rows, first.refused_total, first.reference), (283, 0, 130));
    assert_eq!((first.stored, first.changed, first.unchanged), (141, 12, 0));
    let before = import.stored.clone();
    for file in &files {
        rows(file).into_iter().for_each(|row| import.row(&leeds, row));
    }
    assert!(import.summary.adds_up());
    assert_eq!((import.summary.stored, import.summary.changed), (first.stored, first.changed));
    assert_eq!(import.stored, before, "importing again adds nothing");
}

#[test]
fn damaged_files_get_one_clear_sentence() {
    const NO_COLUMNS: &str = "no row of the file names the columns of a contract register or notice list (it begins with ";
    let fail = |bytes: &[u8], format: Format| -> IngestError {
        let options = Options { format, register: Some(Organisation::named("Ashby Council")) };
        read(Box::new(Cursor::new(bytes.to_vec())), &options).expect_err("cannot be read at all")
    };
    for (bytes, format, sentence) in [
        (&b""[..], Format::Auto, "the file is empty".to_owned()),
        (b" \r\n\t ", Format::Auto, "the file is empty".to_owned()),
        (b"\xEF\xBB\xBF", Format::Auto, "the file is empty".to_owned()),
        (
            b"PK\x03\x04\x14\x00",
            Format::Auto,
            "the file is a spreadsheet or zip archive, not JSON or CSV".to_owned(),
        ),
        (
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0",
            Format::Auto,
            "the file is a binary file, not JSON or CSV".to_owned(),
        ),
        (
            b"<!DOCTYPE html><p>503",
            Format::Auto,
            "the file is a web page or XML document, not JSON or CSV".to_owned(),
        ),
        (b"a,b\n1,2\n", Format::Ocds, "the file is not JSON".to_owned()),
        (b"name,colour\nx,red\n", Format::Auto, format!("{NO_COLUMNS}“name,colour”)")),
        (b"Dear all,\nplease see\n", Format::Csv, format!("{NO_COLUMNS}“Dear all,”)")),
    ] {
        let error = fail(bytes, format);
        assert_eq!(error.to_string(), sentence);
        assert!(!error.hint().is_empty() && !error.hint().ends_with('.'));
    }
    let missing = open(Path::new("/nonexistent.csv"), &Options::default()).unwrap_err();
    assert!(missing.to_string().starts_with("the file cannot be read ("));
}

#[test]
fn damaged_rows_are_refused_by_themselves() {
    const NEITHER: &str = "this is neither an OCDS release or record nor a Contracts Finder notice";
    const HEAD: &str = "Title,Supplier\n";
    let huge = format!("{HEAD}Roads,Brook\n{}\nParks,Brook\n", "x".repeat(2 << 20));
    let open_quote = format!("{HEAD}Roads,\"Brook\nParks,Hythe\nBins,Coldwell\n");
    let wide = format!("{HEAD}{}\nParks,Brook\n", ",".repeat(2000));
    let untitled = format!("{HEAD},Brook\nRoads,Brook\n");
    let long_line = format!("{{\"a\":1}}\n{{\"b\":\"{}\"}}\n{{\"a\":1}}\n", "x".repeat(9 << 20));
    let deep = format!("{}1{}", "[{\"a\":".repeat(300), "}]".repeat(300));
    let table: [(&str, &[(u64, &str)]); 8] = [
        (&huge, &[(3, "this row is larger than 1024 KiB")]),
        (&open_quote, &[(2, "a quotation mark in this row is never closed")]),
        (&wide, &[(2, "this row has more than 1024 columns")]),
        (&untitled, &[(2, "the row has no title and no description")]),
        (
            "{\"releases\":[{\"x\":",
            &[(1, "the file ends in the middle of a JSON value; it may be cut short")],
        ),
        (
            "{\"x\":1}\n{\"x\":\n",
            &[
                (1, NEITHER),
                (2, "the JSON ends in the middle of a value; the line may be cut short"),
            ],
        ),
        (&long_line, &[(1, NEITHER), (2, "this item is larger than 8 MiB"), (3, NEITHER)]),
        (&deep, &[(1, "the JSON is nested too deeply")]),
    ];
    for (text, expected) in table {
        let register = Some(Organisation::named("Ashby Council"));
        let options = Options { register, ..Options::default() };
        let rows = read(Box::new(Cursor::new(text.as_bytes().to_vec())), &options).unwrap();
        let refused: Vec<(u64, String)> =
            rows.filter_map(|row| row.drafts.err().map(|e| (row.number, e.reason))).collect();
        let expected: Vec<(u64, String)> =
            expected.iter().map(|(row, reason)| (*row, (*reason).to_owned())).collect();
        assert_eq!(refused, expected, "{}", text.get(..60).unwrap_or(text));
    }
}

#[test]
fn every_prefix_of_a_real_file_is_read_and_adds_up() {
    let Some(folder) = data("cf_2020_csv") else { return };
    let table = folder.join("leeds-city-council-award_20200615-20200622.csv");
    let Some(path) = data("cf_notices_lancashire_2026.jsonl") else { return };
    for bytes in [std::fs::read(table).unwrap(), std::fs::read(path).unwrap()] {
        for length in (0..bytes.len().min(4000)).step_by(37) {
            let input = Cursor::new(bytes[..length].to_vec());
            let Ok(rows) = read(Box::new(input), &Options::default()) else { continue };
            let mut summary = Summary::default();
            for row in rows {
                let outcome = row.drafts.map_or_else(
                    |refusal| Outcome::Refused(refusal.reason),
                    |_| Outcome::Reference,
                );
                summary.count(row.number, vec![outcome]);
            }
            assert!(summary.adds_up());
        }
    }
}
