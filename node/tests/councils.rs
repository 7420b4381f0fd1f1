//! Nine nodes, one for each council of Lancashire in a real file of notices.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use process::{Tally, eventually, shared};
use serde_json::Value;

const FILE: &str = "cf_notices_lancashire_2026.jsonl";

/// The names under which each council buys in the file, and how many rows are its own.
const COUNCILS: [(&str, &[&str], u64); 9] = [
    ("Blackburn with Darwen Borough Council", &["Blackburn with Darwen Council"], 69),
    ("Blackpool Council", &["Blackpool Borough Council"], 146),
    ("Burnley Borough Council", &[], 94),
    ("Chorley Council", &["Chorley Borough Council"], 149),
    ("Lancashire County Council", &[], 91),
    ("Pendle Borough Council", &[], 14),
    ("Preston City Council", &[], 86),
    ("Ribble Valley Borough Council", &[], 21),
    ("Wyre Council", &["Wyre Borough Council"], 90),
];
const ROWS: u64 = 770;

fn council(name: &str, others: &[&str]) -> Tally {
    let mut arguments = vec!["--name", name];
    for other in others {
        arguments.extend(["--also-known-as", other]);
    }
    let mut tally = Tally::init(&arguments);
    tally.start();
    tally
}

fn import(tally: &Tally, file: &Path) -> Value {
    tally.ok(&["import", file.to_str().unwrap(), "--public"])
}

fn counts(summary: &Value) -> [u64; 4] {
    ["stored", "changed", "unchanged", "reference"].map(|key| summary[key].as_u64().unwrap())
}

fn refused(summary: &Value) -> u64 {
    summary["refused"].as_array().unwrap().len() as u64
}

/// Every result of a search for everything, by source: (reference?, reference text).
fn everything(tally: &Tally) -> (u64, Vec<Value>) {
    let mut all = Vec::new();
    loop {
        let offset = all.len().to_string();
        let page = tally.ok(&["search", "", "--limit", "200", "--offset", &offset]);
        let results = page["results"].as_array().unwrap().clone();
        if results.is_empty() {
            return (page["total"].as_u64().unwrap(), all);
        }
        all.extend(results);
    }
}

/// Each notice of the file once, however many nodes imported it.
fn distinct_notices(file: &Path) -> usize {
    let text = std::fs::read_to_string(file).unwrap();
    let id = |line: &str| {
        let notice: Value = serde_json::from_str(line).unwrap();
        notice["id"].as_str().unwrap().to_owned()
    };
    text.lines().map(id).collect::<BTreeSet<_>>().len()
}

#[test]
fn nine_councils_share_their_contracts_and_each_sees_each_contract_once() {
    let Some(file) = shared(FILE) else { return };
    let nodes: Vec<Tally> =
        COUNCILS[..8].iter().map(|(name, others, _)| council(name, others)).collect();
    for (n, node) in nodes.iter().enumerate() {
        nodes[..n].iter().for_each(|other| node.befriend(other));
    }
    for (node, (name, _, own)) in nodes.iter().zip(&COUNCILS) {
        let summary = import(node, &file);
        assert_eq!(summary["rows"], ROWS, "{name}");
        assert_eq!(counts(&summary).iter().sum::<u64>() + refused(&summary), ROWS, "{name}");
        assert_eq!(summary["stored"], *own, "{name}");
        assert_eq!(summary["reference"], ROWS - own - refused(&summary), "{name}");
    }
    // The ninth joins only now, knowing one of them by card and being known to all.
    let (name, others, own) = COUNCILS[8];
    let ninth = council(name, others);
    nodes.iter().for_each(|node| node.befriend(&ninth));
    assert_eq!(import(&ninth, &file)["stored"], own);
    let all: Vec<&Tally> = nodes.iter().chain([&ninth]).collect();

    eventually(Duration::from_secs(120), "not all heads are equal", || {
        let heads = all.iter().map(|node| node.heads()).collect::<Vec<_>>();
        // Every log holds the identity event and the council's own rows.
        let expected: u64 = COUNCILS.iter().map(|(_, _, own)| own + 1).sum();
        let complete = heads[0].iter().map(|(_, size, _)| size).sum::<u64>() == expected;
        let equal = heads.iter().all(|head| *head == heads[0]);
        if complete && equal { Ok(()) } else { Err(format!("{heads:#?}")) }
    });

    let contracts = distinct_notices(&file) as u64;
    for node in &all {
        eventually(Duration::from_secs(60), "search does not show each contract once", || {
            let (total, results) = everything(node);
            let refs: BTreeSet<_> = results.iter().map(|r| r["ref"].to_string()).collect();
            let once = refs.len() == results.len();
            if total == contracts && results.len() as u64 == total && once {
                Ok(())
            } else {
                Err(format!("{total} found, {} listed, {contracts} wanted", results.len()))
            }
        });
    }
    // The same record reads the same everywhere.
    let (_, results) = everything(all[0]);
    let foreign = results.iter().find(|result| {
        result["reference"] == false && result["authority"] != all[0].authority().as_str()
    });
    let reference = foreign.unwrap()["ref"].as_str().unwrap().to_owned();
    let shown: Vec<Value> = all.iter().map(|node| node.ok(&["show", &reference])).collect();
    assert!(shown.iter().all(|record| record["fields"] == shown[0]["fields"]));

    // Importing again adds nothing, anywhere.
    let before = all[0].heads();
    for (node, (name, _, own)) in all.iter().zip(&COUNCILS) {
        let again = import(node, &file);
        assert_eq!(
            (&again["stored"], &again["changed"]),
            (&Value::from(0), &Value::from(0)),
            "{name}"
        );
        assert_eq!(counts(&again).iter().sum::<u64>() + refused(&again), ROWS, "{name}");
        assert!(again["unchanged"].as_u64().unwrap() >= *own, "{name}: {again}");
        assert_eq!(node.heads(), before, "{name}");
    }
    prove_and_verify_elsewhere(&ninth, &all[0].authority());
}

/// A record of another council, proven on one node, is verified without any.
fn prove_and_verify_elsewhere(node: &Tally, author: &str) {
    let (_, results) = everything(node);
    let theirs = results.iter().find(|result| result["authority"] == author).unwrap();
    let reference = theirs["ref"].as_str().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let proof = empty.path().join("record.tlog-proof");
    node.ok(&["prove", reference, "-o", proof.to_str().unwrap()]);
    let verify = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tally"));
        command.current_dir(empty.path()).env_clear().env("HOME", empty.path());
        command.args(["--json", "verify", "record.tlog-proof"]).args(arguments).output().unwrap()
    };
    let json = |output: &std::process::Output| -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    };
    let alone = verify(&[]);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    assert_eq!(
        (&json(&alone)["verified"], &json(&alone)["identity"]),
        (&true.into(), &"self-asserted".into())
    );
    let pinned = verify(&["--authority", author]);
    assert_eq!(pinned.status.code(), Some(0));
    assert_eq!(json(&pinned)["identity"], "pinned");
    let other = verify(&["--authority", &node.authority()]);
    assert_eq!(other.status.code(), Some(1), "a proof by somebody else passed as theirs");
}

#[test]
fn own_rows_of_the_nine_add_up_to_the_file_less_those_of_others() {
    let Some(file) = shared(FILE) else { return };
    let mut names = BTreeMap::new();
    for (name, _, own) in COUNCILS {
        names.insert(name, own);
    }
    // Ten rows name two councils, a trading name or a developer: nobody's own, never merged silently.
    assert_eq!(names.values().sum::<u64>() + 10, ROWS);
    assert!(distinct_notices(&file) as u64 <= ROWS);
}
