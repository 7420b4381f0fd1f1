//! Evidence from end to end: a stolen key signs a second history, a partner sees
//! both, and what it writes out convinces a machine without a node.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;

use std::fs;
use std::process::Command;
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

fn log_of(tally: &Tally, authority: &str, generation: u64) -> Value {
    let status = tally.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap();
    let wanted = |log: &&Value| log["authority"] == authority && log["generation"] == generation;
    logs.iter().find(wanted).cloned().unwrap_or_default()
}

fn wait_for(tally: &Tally, authority: &str, generation: u64, key: &str, value: Value) {
    eventually(PATIENCE, "the log is not as expected", || {
        match log_of(tally, authority, generation) {
            log if log[key] == value => Ok(()),
            log => Err(format!("{key} of {value}: {log}\n{}", tally.log())),
        }
    });
}

fn said(tally: &Tally, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    let output = command.arg("--data").arg(tally.data()).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Ash, whose disk was copied, and Oak, which has seen what both copies signed.
struct Forked {
    sticks: tempfile::TempDir,
    ash: Tally,
    oak: Tally,
    id: String,
    /// What the original published while the copy did, too.
    honest: String,
}

impl Forked {
    fn new() -> Self {
        let sticks = tempfile::tempdir().unwrap();
        let stick = |name: &str| {
            let path = sticks.path().join(name);
            fs::create_dir(&path).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (one, two) = (stick("one"), stick("two"));
        stick("three");
        let keys = ["--controllers", &one, "--next-controllers", &two];
        let name = ["--name", "Ash Borough Council", "--network", "test"];
        let mut ash = Tally::init(&[name, keys].concat());
        let mut oak = Tally::init(&["--name", "Oak Council", "--network", "test"]);
        ash.start();
        oak.start();
        ash.befriend(&oak);
        let id = ash.authority();
        publish(&ash, "Gully cleansing");
        wait_for(&oak, &id, 0, "signed", 2.into());
        assert_eq!(oak.ok(&["evidence"])["evidence"], Value::Array(Vec::new()));
        assert!(said(&oak, &["evidence"]).starts_with("No authority"));
        assert_eq!(oak.run(&["evidence", "export", "1", "-o", "x"]).status.code(), Some(1));

        // A copy of the disk publishes where nobody hears it; the original goes on.
        ash.kill();
        oak.kill();
        let mut thief = ash.copy();
        thief.start_with(&["--sign-alone"]);
        publish(&thief, "Consultancy without a tender");
        thief.kill();
        oak.start();
        ash.start();
        ash.befriend(&oak);
        let honest = publish(&ash, "Winter gritting");
        wait_for(&oak, &id, 0, "signed", 3.into());
        ash.kill();
        thief.start_with(&["--sign-alone"]);
        let card = thief.dir.path().join("oak.card");
        fs::write(&card, oak.card()).unwrap();
        thief.ok(&["partner", "add", card.to_str().unwrap()]);
        wait_for(&oak, &id, 0, "state", "disputed".into());
        thief.kill();
        Self { sticks, ash, oak, id, honest }
    }

    fn path(&self, name: &str) -> String {
        self.sticks.path().join(name).to_str().unwrap().to_owned()
    }

    /// `tally verify` of a file, where there is no node.
    fn verdict(&self, file: &str) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_tally"))
            .current_dir(self.sticks.path())
            .env_clear()
            .args(["verify", "--json", "--authority", &self.id, file])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn evidence_of_a_fork_is_listed_written_out_verified_elsewhere_and_ended_by_a_recovery() {
    let mut all = Forked::new();
    let (oak, id) = (&all.oak, all.id.clone());
    let list = oak.ok(&["evidence"]);
    let piece = &list["evidence"][0];
    assert_eq!(list["evidence"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&piece["number"], &piece["authority"]), (&1.into(), &id.clone().into()));
    assert_eq!((&piece["evidence"], &piece["generation"]), (&"fork".into(), &0.into()));
    assert_eq!(
        (&piece["state"], &piece["name"]),
        (&"disputed".into(), &"Ash Borough Council".into())
    );
    let found = piece["found"].as_u64().unwrap();
    assert!(found > 1_700_000_000, "{piece}");
    assert!(said(oak, &["evidence"]).contains("DISPUTED"));
    assert!(said(oak, &["status"]).contains("`tally evidence`"), "{}", said(oak, &["status"]));
    assert_eq!(oak.ok(&["show", &all.honest])["disputed"], true);
    assert!(said(oak, &["show", &all.honest]).contains("see `tally evidence`"));

    // Written out by number or by name, and verified where there is no node.
    let path = all.path("ash.evidence");
    for which in ["1", "Ash Borough Council", id.as_str()] {
        let written = oak.ok(&["evidence", "export", which, "-o", &path]);
        assert_eq!(written["authority"], id.as_str(), "{written}");
        let verdict = all.verdict(&path);
        assert_eq!((&verdict["verified"], &verdict["evidence"]), (&true.into(), &"fork".into()));
        assert_eq!(verdict["identity"], "pinned");
        fs::remove_file(&path).unwrap();
    }
    for nothing in ["0", "2", "Oak Council"] {
        let refused = oak.run(&["evidence", "export", nothing, "-o", &path]);
        assert_eq!(refused.status.code(), Some(1));
    }
    assert!(!std::path::Path::new(&path).exists());

    // A recovery ends it; the evidence stays, and so does when it was found.
    let key = fs::read_dir(all.path("two")).unwrap().next().unwrap().unwrap().path();
    let (key, next) = (key.to_str().unwrap(), all.path("three"));
    all.ash.ok(&["key", "recover", "--with", key, "--next-controllers", &next, "--yes"]);
    all.ash.start();
    all.ash.befriend(&all.oak);
    wait_for(&all.oak, &id, 0, "state", "closed".into());
    all.oak.kill();
    all.oak.start();
    let list = all.oak.ok(&["evidence"]);
    assert_eq!(list["evidence"][0]["state"], "ended", "{list}");
    assert_eq!(list["evidence"][0]["found"], found, "{list}");
    assert_eq!(all.oak.ok(&["show", &all.honest])["disputed"], Value::Null);
    all.oak.ok(&["evidence", "export", "1", "-o", &path]);
    assert_eq!(all.verdict(&path)["verified"], true);
}
