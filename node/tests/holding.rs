//! Legal holds, holders' answers, retention dates and restored copies over real
//! processes (invariant 6 of the design).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod process;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use process::{Tally, comes, files_with, total};
use serde_json::{Value, json};

/// Nothing else in a data directory reads like this.
const SECRET: &str = "Quagmire Zephyr Haulage";

fn council(name: &str) -> Tally {
    Tally::init(&["--name", &format!("{name} Borough Council")])
}

fn haulage(title: &str) -> Value {
    json!({ "title": title, "description": format!("Hauled by {SECRET} every night") })
}

fn erasure(node: &Tally, reference: &str) -> Value {
    node.ok(&["erase", "--status", reference])["erasures"][0].clone()
}

/// What the holders answered, as a node knows it: name, outcome, until.
fn answers(node: &Tally, reference: &str) -> Vec<(String, String, Value)> {
    let status = erasure(node, reference);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status["answers"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<_> = all
        .iter()
        .map(|one| (text(&one["authorityName"]), text(&one["outcome"]), one["until"].clone()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn is_deleted(node: &Tally, reference: &str) -> bool {
    !erasure(node, reference)["deleted"].is_null()
}

fn refused(node: &Tally, code: i32, arguments: &[&str], words: &str) {
    let output = node.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

fn clean_after_compacting(node: &mut Tally) {
    node.kill();
    node.ok(&["compact"]);
    assert_eq!(files_with(&node.data(), SECRET.as_bytes()), Vec::<PathBuf>::new());
    node.start();
}

#[test]
fn invariant_6_a_held_copy_stays_hidden_its_author_is_told_and_release_deletes_it() {
    let (mut ash, mut oak, mut elm) = (council("Ash"), council("Oak"), council("Elm"));
    for node in [&mut ash, &mut oak, &mut elm] {
        node.start();
    }
    ash.befriend(&oak);
    ash.befriend(&elm);
    let hauled = ash.publish(&haulage("Night haulage"), &["--public"]);
    let other = ash.publish(&haulage("Day haulage"), &["--public"]);
    for node in [&oak, &elm] {
        comes("partners have both", || total(node, "haulage") == 2);
    }
    // A copy of Elm as it is now, as a backup would have it.
    elm.kill();
    let backup = elm.copy();
    elm.start();

    refused(&oak, 2, &["hold", &hauled, "--reason", "boredom"], "foi, audit, litigation");
    refused(&oak, 2, &["hold", &hauled, "--reason", "foi", "--until", "2020-01-31"], "has passed");
    refused(&oak, 1, &["hold", &hauled, "--release"], "is not held");
    let note = ["--note", "request 2026/117", "--until", "2099-12-31"];
    let held = oak.ok(&[&["hold", &hauled, "--reason", "foi"][..], &note].concat());
    assert_eq!((&held["state"], &held["hidden"]), (&json!("holds"), &json!(false)));

    let key = ash.controller();
    for record in [&hauled, &other] {
        ash.ok(&["--yes", "erase", record, "--reason", "personal-data", "--with", &key]);
    }
    // Elm deletes and says so; Oak hides, keeps and says until when, and not why.
    let expected = [
        ("Elm Borough Council".to_owned(), "deleted".to_owned(), Value::Null),
        ("Oak Borough Council".to_owned(), "held".to_owned(), json!("2099-12-31")),
    ];
    comes("the author hears of both", || answers(&ash, &hauled) == expected);
    comes("each holder of the other deleted it", || {
        let deleted = |(_, outcome, _): &(String, String, Value)| outcome == "deleted";
        answers(&ash, &other).len() == 2 && answers(&ash, &other).iter().all(deleted)
    });
    assert!(!is_deleted(&oak, &hauled) && erasure(&oak, &hauled)["held"] == true);
    assert_eq!((total(&oak, "Night"), total(&oak, SECRET)), (0, 0), "hidden");
    assert!(!oak.ok(&["show", &hauled]).to_string().contains(SECRET));
    assert!(!files_with(&oak.data(), SECRET.as_bytes()).is_empty(), "kept");
    let listed = oak.ok(&["hold", "--list"]);
    let one = &listed["holds"][0];
    assert_eq!((&one["hidden"], &one["title"]), (&json!(true), &json!("Night haulage")));
    assert!(files_with(&ash.data(), b"request 2026/117").is_empty(), "never sent");
    refused(&oak, 1, &["hold", &other, "--reason", "audit"], "nothing of this record is kept");

    // Nobody gets the held copy, however late they come and whomever they ask.
    let mut fir = council("Fir");
    fir.start();
    fir.befriend(&oak);
    comes("Fir has the log", || fir.says(&["show", &hauled])["state"] == "erased");
    assert_eq!(files_with(&fir.data(), SECRET.as_bytes()), Vec::<PathBuf>::new());
    // The logs of those who answered come each in its time.
    comes("Fir knows both answers, and gives none", || answers(&fir, &hauled) == expected);

    // The hold outlives a restart, and its end deletes.
    oak.kill();
    oak.start();
    assert_eq!(oak.ok(&["hold", "--list"])["holds"].as_array().unwrap().len(), 1);
    assert!(!files_with(&oak.data(), SECRET.as_bytes()).is_empty(), "kept");
    oak.ok(&["hold", &hauled, "--release"]);
    comes("Oak deletes it", || is_deleted(&oak, &hauled));
    clean_after_compacting(&mut oak);
    clean_after_compacting(&mut ash);

    // What a backup still had is erased again before anybody finds it.
    elm.kill();
    elm.restore(&backup);
    assert!(!files_with(&elm.data(), SECRET.as_bytes()).is_empty(), "else nothing is tested");
    elm.start();
    ash.befriend(&elm);
    comes("the restored node erases both", || {
        [&hauled, &other].iter().all(|record| {
            !elm.says(&["erase", "--status", record])["erasures"][0]["deleted"].is_null()
        })
    });
    clean_after_compacting(&mut elm);
    assert_eq!((total(&elm, "haulage"), total(&elm, SECRET)), (0, 0));
    let by_fir = |(name, ..): &(String, String, Value)| name.starts_with("Fir");
    assert!(!answers(&ash, &hauled).iter().any(by_fir), "it had nothing to delete");
}

fn seconds_from_now(seconds: u64) -> String {
    let since =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(seconds);
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let day = tallystick_protocol::record::Day::from_number(i32::try_from(days).unwrap());
    format!("{day}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[test]
fn invariant_6_a_retention_date_hides_at_once_and_deletes_when_it_was_cosigned() {
    let (mut ash, mut oak, mut elm) = (council("Ash"), council("Oak"), council("Elm"));
    ash.name_witnesses(&[&oak, &elm], "2");
    for node in [&mut ash, &mut oak, &mut elm] {
        node.start();
    }
    ash.befriend(&oak);
    ash.befriend(&elm);
    oak.befriend(&elm);
    let first = ash.publish(&haulage("Night haulage"), &["--public"]);
    let version = ash.ok(&["show", &first])["ref"].as_str().unwrap().to_owned();
    let until = seconds_from_now(15);
    let further = ["--public", "--replaces", &first, "--retain-until", &until];
    assert_eq!(ash.publish(&haulage("Night haulage, late"), &further), first);
    let kept = ["--public", "--retain-until", "2099-12-31"];
    let kept = ash.publish(&json!({ "title": "Day haulage" }), &kept);
    let refuse = |date: &str, words| {
        let file = ash.dir.path().join("contract.json");
        let arguments = ["publish", "contract", file.to_str().unwrap(), "--public"];
        refused(&ash, 2, &[&arguments[..], &["--retain-until", date]].concat(), words);
    };
    refuse("2020-01-31", "has passed");
    refuse("soon", "is no date");
    for node in [&oak, &elm] {
        comes("partners have both", || total(node, "haulage") == 2);
    }
    // From the date on nobody shows it, neither this version nor earlier ones.
    for node in [&ash, &oak, &elm] {
        comes("it is hidden", || node.ok(&["show", &first])["state"] == "erased");
        assert!(!node.ok(&["show", &first, "--history"]).to_string().contains(SECRET));
        assert!(!node.ok(&["show", &version]).to_string().contains(SECRET));
        comes("and found no more", || total(node, SECRET) == 0);
        assert!(erasure(node, &first)["reason"] == "retention");
    }
    // Once witnesses have cosigned a later head, the date has passed for everybody.
    ash.publish(&json!({ "title": "Gritting" }), &["--public"]);
    for node in [&mut ash, &mut oak, &mut elm] {
        comes("it is deleted", || is_deleted(node, &first));
        clean_after_compacting(node);
        assert_eq!(node.ok(&["show", &kept])["title"], "Day haulage");
        comes("the index, made anew, has the other", || total(node, "Day haulage") == 1);
    }
    assert_eq!(answers(&ash, &first), [], "its author knows the date");
    // Whoever comes later gets the rest, and everything verifies.
    let mut fir = council("Fir");
    fir.start();
    fir.befriend(&oak);
    comes("Fir has the rest", || total(&fir, "Gritting") == 1);
    assert_eq!(files_with(&fir.data(), SECRET.as_bytes()), Vec::<PathBuf>::new());
    let proof = fir.dir.path().join("proof").to_str().unwrap().to_owned();
    fir.ok(&["prove", &version, "-o", &proof]);
    assert_eq!(fir.ok(&["verify", &proof])["verified"], true);
}

/// Reference without version, state and title of all that a node holds on a term.
fn held_on(node: &Tally, text: &str) -> Vec<(String, String, String)> {
    let said = node.ok(&["search", "--held", text]);
    assert!(said["scanned"].as_u64().unwrap() > 0);
    let text = |value: &Value| value.as_str().unwrap().split('@').next().unwrap().to_owned();
    let all = said["held"].as_array().unwrap().iter();
    let mut all: Vec<_> =
        all.map(|one| (text(&one["ref"]), text(&one["state"]), text(&one["title"]))).collect();
    all.sort_by(|a, b| a.2.cmp(&b.2));
    all
}

#[test]
fn a_request_finds_all_that_is_held_hidden_withdrawn_and_drafted_and_whom_to_consult() {
    let (mut ash, mut oak) = (council("Ash"), council("Oak"));
    ash.start();
    oak.start();
    ash.befriend(&oak);
    ash.ok(&["group", "create", "Seven Boroughs"]);
    let invited = ash.ok(&["group", "invite", "Seven Boroughs"]);
    let invitation = invited["invitation"].as_str().unwrap();
    comes("Oak joins", || oak.run(&["--yes", "group", "join", invitation]).status.success());
    let mut shared = haulage("A current one");
    shared["disclosure"] = json!({
        "consult": "foi@ash.example",
        "exemptions": [{ "provision": "FOIA 2000 s.43(2)", "until": "2027-03-31" }],
    });
    let current = ash.publish(&shared, &["--into", "Seven Boroughs"]);
    let erased = ash.publish(&haulage("B erased"), &["--public"]);
    let withdrawn = ash.publish(&haulage("C withdrawn"), &["--public"]);
    let superseded = ash.publish(&haulage("D superseded"), &["--public"]);
    ash.publish(&json!({ "title": "D gritting" }), &["--public", "--replaces", &superseded]);
    ash.publish(&json!({ "title": "Unrelated" }), &["--public"]);
    comes("Oak has all", || total(&oak, "gritting") == 1 && total(&oak, "one") == 1);
    ash.ok(&["withdraw", &withdrawn]);
    ash.ok(&["--yes", "erase", &erased, "--reason", "personal-data"]);
    comes("Oak has heard of it", || total(&oak, "haulage") == 1);
    let rows =
        "Reference,Title,Buyer,Supplier\nX-1,F reference,Elm Council,Quagmire Zephyr Haulage\n";
    let file = oak.dir.path().join("register.csv");
    std::fs::write(&file, rows).unwrap();
    oak.ok(&["import", file.to_str().unwrap(), "--public"]);
    let file = oak.dir.path().join("note.json");
    let note = json!({ "title": "E draft", "supplier": { "name": SECRET } });
    std::fs::write(&file, note.to_string()).unwrap();
    oak.ok(&["note", "draft", file.to_str().unwrap()]);

    let said = |reference: &str, state: &str, title: &str| {
        (reference.to_owned(), state.to_owned(), title.to_owned())
    };
    let found = held_on(&oak, "zephyr QUAGMIRE");
    let reference = found.last().unwrap().0.clone();
    let expected = [
        said(&current, "current", "A current one"),
        said(&erased, "erased", "B erased"),
        said(&withdrawn, "withdrawn", "C withdrawn"),
        said(&superseded, "superseded", "D superseded"),
        said("draft 1", "draft", "E draft"),
        said(&reference, "reference", "F reference"),
    ];
    assert_eq!(found, expected);
    let all = oak.ok(&["search", "--held", "quagmire"]);
    let one = |of: &str| {
        let all = all["held"].as_array().unwrap();
        all.iter().find(|one| one["ref"].as_str().unwrap().starts_with(of)).unwrap().clone()
    };
    assert_eq!(one(&current)["group"], "Seven Boroughs");
    assert_eq!(one(&current)["consult"], "foi@ash.example");
    assert_eq!(one(&current)["exemptions"][0]["provision"], "FOIA 2000 s.43(2)");
    assert_eq!(one(&current)["authorityName"], "Ash Borough Council");
    // What is erased is deleted unless it is held now that somebody asked for it.
    assert!(one(&erased)["due"].as_u64().is_some());
    oak.ok(&["hold", &erased, "--reason", "foi"]);
    let again = oak.ok(&["search", "--held", "B erased"]);
    assert_eq!(
        (&again["held"][0]["hold"], &again["held"][0]["due"]),
        (&json!("foi"), &Value::Null)
    );
    assert_eq!(total(&oak, "B erased"), 0, "nobody else finds it");
    assert_eq!(oak.run(&["search", "--held", "nowhere", "--fail-empty"]).status.code(), Some(1));
    refused(&oak, 2, &["search", "--held", "x", "--kind", "contract"], "cannot be used with");
}

#[test]
fn what_is_held_of_a_group_that_was_left_is_kept_and_nothing_is_said_there() {
    let (mut ash, mut oak) = (council("Ash"), council("Oak"));
    ash.start();
    oak.start();
    ash.befriend(&oak);
    ash.ok(&["group", "create", "Seven Boroughs"]);
    let invited = ash.ok(&["group", "invite", "Seven Boroughs"]);
    let invitation = invited["invitation"].as_str().unwrap();
    comes("Oak joins", || oak.run(&["--yes", "group", "join", invitation]).status.success());
    let shared = ash.publish(&haulage("Night haulage"), &["--into", "Seven Boroughs"]);
    comes("Oak reads it", || total(&oak, "Night") == 1);
    ash.ok(&["--yes", "erase", &shared, "--reason", "mistake"]);
    comes("Oak has heard that it is erased", || total(&oak, "Night") == 0);
    oak.ok(&["--yes", "group", "leave", "Seven Boroughs"]);
    let said = |node: &Tally| {
        let logs = node.ok(&["status"])["logs"].as_array().unwrap().clone();
        let own = |log: &&Value| log["authority"] == node.authority() && log["space"] != "public";
        logs.iter().find(own).unwrap()["size"].as_u64().unwrap()
    };
    let before = said(&oak);
    assert_eq!(oak.ok(&["hold", &shared, "--reason", "litigation"])["hidden"], true);
    // The answers that are due are written in front of what is published next.
    oak.publish(&json!({ "title": "Gritting" }), &["--public"]);
    comes("Ash has it", || total(&ash, "Gritting") == 1);
    oak.publish(&json!({ "title": "Paving" }), &["--public"]);
    assert_eq!(said(&oak), before, "whoever has left says nothing in the group");
    assert_eq!(answers(&ash, &shared), []);
    assert_eq!(held_on(&oak, SECRET).len(), 1, "and keeps what it holds");
}
