//! Recovery of an authority whose machine has lost its log, or everything: what a
//! partner and the controllers' sticks give back.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;

use std::fs;
use std::path::Path;
use std::time::Duration;

use process::{Tally, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn publish(tally: &Tally, title: &str) -> String {
    let file = tally.dir.path().join("contract.json");
    fs::write(&file, format!(r#"{{ "title": "{title}", "cpv": "48000000" }}"#)).unwrap();
    let published = tally.ok(&["publish", "contract", file.to_str().unwrap(), "--public"]);
    published["ref"].as_str().unwrap().to_owned()
}

/// Entries, signed entries and state of one log.
fn log_of(tally: &Tally, authority: &str, generation: u64) -> (u64, u64, String) {
    let status = tally.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap();
    let wanted = |log: &&Value| log["authority"] == authority && log["generation"] == generation;
    let log = logs.iter().find(wanted).cloned().unwrap_or_default();
    let number = |key: &str| log[key].as_u64().unwrap_or_default();
    (number("size"), number("signed"), log["state"].as_str().unwrap_or_default().to_owned())
}

fn wait_for(tally: &Tally, authority: &str, generation: u64, wanted: (u64, u64, &str)) {
    let wanted = (wanted.0, wanted.1, wanted.2.to_owned());
    eventually(PATIENCE, "the log is not as expected", || {
        match log_of(tally, authority, generation) {
            found if found == wanted => Ok(()),
            found => Err(format!("{found:?}, not {wanted:?}: {}", tally.log())),
        }
    });
}

fn refused(tally: &Tally, code: i32, arguments: &[&str]) -> String {
    let output = tally.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// Ash, which has published two contracts, and Oak, which holds and can prove them.
struct Lost {
    sticks: tempfile::TempDir,
    ash: Tally,
    oak: Tally,
    id: String,
    first: String,
    second: String,
}

impl Lost {
    fn new() -> Self {
        let sticks = tempfile::tempdir().unwrap();
        for name in ["one", "two", "three", "four"] {
            fs::create_dir(sticks.path().join(name)).unwrap();
        }
        let path = |name: &str| sticks.path().join(name).to_str().unwrap().to_owned();
        let keys = ["--controllers", &path("one"), "--next-controllers", &path("two")];
        let name = ["--name", "Ash Borough Council", "--network", "test"];
        let mut ash = Tally::init(&[name, keys].concat());
        let mut oak = Tally::init(&["--name", "Oak Council", "--network", "test"]);
        ash.start();
        oak.start();
        ash.befriend(&oak);
        let id = ash.authority();
        let (first, second) = (publish(&ash, "Gully cleansing"), publish(&ash, "Hedge cutting"));
        wait_for(&oak, &id, 0, (3, 3, "current"));
        ash.kill();
        Self { sticks, ash, oak, id, first, second }
    }

    fn path(&self, name: &str) -> String {
        self.sticks.path().join(name).to_str().unwrap().to_owned()
    }

    /// A proof by Oak of the newest record of Ash that it has.
    fn proof(&self, name: &str) -> String {
        let path = self.path(name);
        self.oak.ok(&["prove", &self.second, "-o", &path]);
        path
    }

    /// The signed head that a proof bears, in a file of its own.
    fn head_in(&self, proof: &str, name: &str) -> String {
        let text = fs::read_to_string(proof).unwrap();
        let path = self.path(name);
        fs::write(&path, text.split_once("\n\n").unwrap().1).unwrap();
        path
    }

    fn key_on(&self, stick: &str) -> String {
        let mut files = fs::read_dir(self.path(stick)).unwrap();
        files.next().unwrap().unwrap().path().to_str().unwrap().to_owned()
    }

    /// What `tally key recover` says with the key on stick two, and these arguments.
    fn recover<'a>(&self, further: &[&'a str]) -> Vec<String> {
        let words = ["key", "recover", "--yes", "--with"].map(str::to_owned).into_iter();
        let keys = [self.key_on("two"), "--next-controllers".to_owned(), self.path("three")];
        words.chain(keys).chain(further.iter().map(|word: &&'a str| (*word).to_owned())).collect()
    }

    /// Ash begins generation 1 on this machine, has its old log back, and goes on.
    fn goes_on(&mut self, mut ash: Tally) {
        ash.start();
        ash.befriend(&self.oak);
        for node in [&ash, &self.oak] {
            wait_for(node, &self.id, 0, (3, 3, "closed"));
            wait_for(node, &self.id, 1, (1, 1, "current"));
        }
        publish(&ash, "Winter gritting");
        wait_for(&self.oak, &self.id, 1, (2, 2, "current"));
        // What was said before the loss stands, and its author can prove it again.
        let proof = self.path("again.proof");
        for (node, reference) in [(&ash, &self.first), (&self.oak, &self.second)] {
            node.ok(&["prove", reference, "-o", &proof]);
            let said = node.ok(&["verify", &proof, "--authority", &self.id]);
            assert_eq!(said["key"], "retired, proven", "{said}");
        }
        assert_eq!(ash.ok(&["search", "hedge"])["total"], 1);
        self.ash = ash;
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn lose_log(tally: &Tally) {
    let kept = ["keys", "identity.cbor", "tally.toml", "partners.json"];
    for entry in fs::read_dir(tally.data()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match kept.contains(&name.as_str()) {
            true => {}
            false if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
}

#[test]
fn with_a_partners_proof_and_the_stick_an_authority_recovers_that_lost_everything() {
    let mut lost = Lost::new();
    let proof = lost.proof("newest.proof");
    let bare = Tally::bare();
    let nothing = refused(&bare, 3, &words(&lost.recover(&[])));
    assert!(nothing.contains("there is no node") || nothing.contains("no authority"), "{nothing}");
    assert!(!bare.data().exists(), "nothing was made");
    let recovered = bare.ok(&words(&lost.recover(&["--head", &proof])));
    assert_eq!((&recovered["closes"]["size"], &recovered["disowned"]), (&3.into(), &0.into()));
    assert_eq!((&recovered["generation"], &recovered["applied"]), (&1.into(), &true.into()));
    lost.goes_on(bare);
}

#[test]
fn with_a_card_and_a_signed_head_it_recovers_too() {
    let mut lost = Lost::new();
    let head = lost.head_in(&lost.proof("newest.proof"), "newest.head");
    let card = lost.path("ash.card");
    fs::write(&card, lost.ash.card()).unwrap();
    let bare = Tally::bare();
    let alone = refused(&bare, 3, &words(&lost.recover(&["--head", &head])));
    assert!(alone.contains("tally") && !bare.data().exists(), "{alone}");
    // The card alone says who it is, and not how far its log went.
    let unclosed = refused(&bare, 3, &words(&lost.recover(&["--card", &card])));
    assert!(unclosed.contains("--head FILE") && unclosed.contains("disowned"), "{unclosed}");
    assert_eq!(fs::read_dir(lost.path("three")).unwrap().count(), 0, "no key was made for it");
    bare.ok(&words(&lost.recover(&["--head", &head])));
    lost.goes_on(bare);
}

#[test]
fn without_a_head_nothing_is_closed_and_with_one_a_lost_journal_is_no_loss() {
    let mut lost = Lost::new();
    let head = lost.head_in(&lost.proof("newest.proof"), "newest.head");
    lose_log(&lost.ash);
    let unclosed = refused(&lost.ash, 3, &words(&lost.recover(&[])));
    assert!(unclosed.contains("no signed head") && unclosed.contains("tally prove"), "{unclosed}");
    for at in ["1", "3"] {
        refused(&lost.ash, 3, &words(&lost.recover(&["--at", at])));
    }
    refused(&lost.ash, 2, &words(&lost.recover(&["--at", "0", "--head", &head])));
    lost.ash.ok(&words(&lost.recover(&["--head", &head])));
    let ash = std::mem::replace(&mut lost.ash, Tally::bare());
    lost.goes_on(ash);
}

#[test]
fn a_head_of_another_history_is_said_to_be_one_before_it_is_used() {
    let mut lost = Lost::new();
    let mut copy = lost.ash.copy();
    copy.start_with(&["--sign-alone"]);
    let forged = publish(&copy, "Consultancy without a tender");
    let proof = lost.path("forged.proof");
    copy.ok(&["prove", &forged, "-o", &proof]);
    copy.kill();
    lost.oak.kill();
    lost.ash.start_with(&["--sign-alone"]);
    publish(&lost.ash, "Winter gritting");
    lost.ash.kill();
    let ask = |head: &[&str]| {
        let words = lost.recover(head);
        let asked: Vec<&str> = words.iter().map(String::as_str).filter(|w| *w != "--yes").collect();
        refused(&lost.ash, 2, &asked)
    };
    assert!(ask(&["--head", &proof]).contains("NOT of the history that this node holds"));
    assert!(!ask(&[]).contains("NOT of the history"));
    assert!(!ask(&["--at", "2"]).contains("NOT of the history"));
}

#[test]
fn a_head_that_this_authority_did_not_sign_or_has_closed_is_not_used() {
    let mut lost = Lost::new();
    let proof = lost.proof("newest.proof");
    let head = lost.head_in(&proof, "newest.head");
    let foreign = publish(&lost.oak, "Street lighting");
    let other = lost.path("oak.proof");
    lost.oak.ok(&["prove", &foreign, "-o", &other]);
    let other_head = lost.head_in(&other, "oak.head");
    let text = fs::read_to_string(&head).unwrap();
    let forged = lost.path("forged.head");
    fs::write(&forged, text.replacen("\n3\n", "\n2\n", 1)).unwrap();
    let empty = lost.path("empty");
    fs::write(&empty, "").unwrap();
    for bad in [&other, &other_head, &forged, &empty, &lost.path("nowhere")] {
        let said = refused(&lost.ash, 2, &words(&lost.recover(&["--head", bad])));
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let card = lost.path("oak.card");
    fs::write(&card, lost.oak.card()).unwrap();
    refused(&lost.ash, 2, &words(&lost.recover(&["--card", &card])));
    assert_eq!(fs::read_dir(lost.path("three")).unwrap().count(), 0, "nothing was made");

    // The head at hand is used as well as one that was brought; then it is closed.
    lost.ash.ok(&words(&lost.recover(&["--head", &proof])));
    let key = lost.key_on("three");
    let next = lost.path("four");
    let again = ["key", "recover", "--yes", "--with", &key, "--next-controllers", &next];
    let said = refused(&lost.ash, 2, &[&again[..], &["--head", &head]].concat());
    assert!(said.contains("closed before"), "{said}");
    assert!(Path::new(&head).exists());
    let ash = std::mem::replace(&mut lost.ash, Tally::bare());
    lost.goes_on(ash);
}
