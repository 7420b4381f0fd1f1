//! Witness policies from end to end: made from one node's view, used with the
//! proofs of another, on a machine without either.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod process;

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use process::{Tally, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn council(name: &str) -> Tally {
    Tally::init(&["--name", name, "--network", "test"])
}

fn publish(tally: &Tally, title: &str) -> String {
    let file = tally.dir.path().join("contract.json");
    fs::write(&file, format!(r#"{{ "title": "{title}", "cpv": "48000000" }}"#)).unwrap();
    let published = tally.ok(&["publish", "contract", file.to_str().unwrap(), "--public"]);
    published["ref"].as_str().unwrap().to_owned()
}

/// How many witnesses cosigned the newest head of the log of `authority`, and its size.
fn cosigned(tally: &Tally, authority: &str) -> (u64, u64) {
    let status = tally.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap();
    let log = logs.iter().find(|log| log["authority"] == authority);
    log.map_or((0, 0), |log| {
        (log["witnessed"]["cosigned"].as_u64().unwrap(), log["signed"].as_u64().unwrap())
    })
}

fn wait_for(tally: &Tally, authority: &str, wanted: (u64, u64)) {
    eventually(PATIENCE, "the cosigned head", || match cosigned(tally, authority) {
        found if found == wanted => Ok(()),
        found => Err(format!("{found:?} of {wanted:?}: {}", tally.log())),
    });
}

/// `tally verify` on a machine without node and directory.
fn verify(arguments: &[&str]) -> Output {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.current_dir(empty.path()).env_clear().arg("verify").args(arguments);
    command.output().unwrap()
}

fn verdict(code: i32, arguments: &[&str]) -> Value {
    let output = verify(&[&["--json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    serde_json::from_str(&said).unwrap()
}

fn shown(arguments: &[&str]) -> String {
    String::from_utf8(verify(arguments).stdout).unwrap()
}

/// Two councils that witness a third, whose contract is in a proof.
struct Witnessed {
    ash: Tally,
    oak: Tally,
    elm: Tally,
    reference: String,
}

impl Witnessed {
    fn new() -> Self {
        let (mut ash, mut oak, mut elm) =
            (council("Ash Borough Council"), council("Oak Council"), council("Elm Council"));
        ash.name_witnesses(&[&oak, &elm], "2");
        ash.start();
        oak.start();
        elm.start();
        ash.befriend(&oak);
        ash.befriend(&elm);
        oak.befriend(&elm);
        let reference = publish(&ash, "Gully cleansing");
        Self { ash, oak, elm, reference }
    }

    fn path(&self, name: &str) -> String {
        self.ash.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn proof(&self, by: &Tally, name: &str) -> String {
        let path = self.path(name);
        by.ok(&["prove", &self.reference, "-o", &path]);
        path
    }

    fn policy(&self, by: &Tally, of: &str, name: &str) -> String {
        let path = self.path(name);
        let made = by.ok(&["policy", of, "-o", &path]);
        assert_eq!(made["policy"].as_str().unwrap(), fs::read_to_string(&path).unwrap());
        path
    }
}

#[test]
fn a_proof_verifies_under_the_policy_of_its_authors_witnesses_and_under_no_other() {
    let mut all = Witnessed::new();
    let id = all.ash.authority();
    // The identity events of Ash come first in its log.
    wait_for(&all.oak, &id, (2, 3));
    let proof = all.proof(&all.oak, "both.proof");
    let policy = all.policy(&all.oak, &id, "ash.policy");

    // Without the policy the lines may stand there, and nothing is said of them.
    let plain = verdict(0, &[&proof]);
    assert_eq!((&plain["identity"], &plain["witnesses"]), (&"self-asserted".into(), &Value::Null));
    assert_eq!(plain["dating"], Value::Null);
    assert!(shown(&[&proof]).contains("not looked at: its author names 2"), "{}", shown(&[&proof]));

    let said = verdict(0, &[&proof, "--policy", &policy]);
    assert_eq!(said["identity"], "pinned", "the policy names the log, and so its author");
    let witnesses = &said["witnesses"];
    assert_eq!(witnesses["text"], "confirmed by 2 of 2", "{said}");
    assert_eq!(witnesses["standing"], "confirmed");
    assert_eq!([&witnesses["have"], &witnesses["needed"]], [2, 2]);
    assert_eq!(witnesses["missing"], Value::Array(Vec::new()));
    for signer in witnesses["cosigned"].as_array().unwrap() {
        assert!(signer["time"].as_u64() <= witnesses["confirmed"].as_u64(), "{said}");
    }
    assert_eq!(said["dating"]["verdict"], "plausible");
    assert_eq!(said["dating"]["notAfter"], witnesses["confirmed"]);
    assert_eq!(said["dating"]["notBefore"], Value::Null);
    let page = shown(&[&proof, "--policy", &policy]);
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains("confirmed by 2 of 2 that the policy names, by "), "{page}");
    assert!(page.contains("how long before that, these files cannot show"), "{page}");

    // A cosignature of which one letter was changed refuses the file, whoever else signed.
    let text = fs::read_to_string(&proof).unwrap();
    let line = text.lines().last().unwrap();
    let at = text.len() - 12;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let tampered = all.path("tampered.proof");
    fs::write(&tampered, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    assert_eq!(verdict(1, &[&tampered, "--policy", &policy])["verified"], false);
    // With the line gone altogether one witness is missing, and is named.
    let one = all.path("one.proof");
    fs::write(&one, text.replace(&format!("{line}\n"), "")).unwrap();
    let said = verdict(1, &[&one, "--policy", &policy]);
    assert_eq!(said["witnesses"]["standing"], "published", "{said}");
    let gone = if line.contains(&all.oak.authority()) { "oak-council" } else { "elm-council" };
    assert_eq!(said["witnesses"]["missing"], serde_json::json!([gone]));
    assert!(said["error"].as_str().unwrap().contains(gone), "{said}");
    assert_eq!(shown(&[&one, "--policy", &policy]).lines().count(), 3);

    // The reader's own choice of witnesses, one of two.
    let text = fs::read_to_string(&policy).unwrap();
    let choice = all.path("one.policy");
    fs::write(&choice, text.replace("group witnesses 2", "group witnesses any")).unwrap();
    let said = verdict(0, &[&one, "--policy", &choice]);
    assert_eq!(said["witnesses"]["text"], "confirmed by 1 of 2");

    // The policy of somebody else names another log; one without logs, other witnesses.
    let foreign = all.policy(&all.oak, "Oak Council", "oak.policy");
    let said = verdict(1, &[&proof, "--policy", &foreign]);
    assert_eq!(said["key"], "not in the policy", "{said}");
    let strangers = all.path("strangers.policy");
    let whoami = all.ash.ok(&["whoami"]);
    let stranger = format!("witness s {}\nquorum s\n", whoami["witnessKey"].as_str().unwrap());
    fs::write(&strangers, stranger).unwrap();
    let said = verdict(1, &[&proof, "--policy", &strangers]);
    assert_eq!(said["witnesses"]["missing"], serde_json::json!(["s"]), "{said}");
    assert_eq!(verify(&[&proof, "--policy", &proof]).status.code(), Some(2));

    // Without Elm one cosignature is not enough for the next record.
    all.elm.kill();
    all.reference = publish(&all.ash, "Hedge cutting");
    wait_for(&all.oak, &id, (1, 4));
    let late = all.proof(&all.oak, "late.proof");
    let said = verdict(1, &[&late, "--policy", &policy]);
    assert_eq!(said["witnesses"]["missing"], serde_json::json!(["elm-council"]));
    // What says so of one file says nothing of the other.
    let both = verdict(1, &[&proof, &late, "--policy", &policy]);
    assert_eq!(both["files"][0]["verified"], true, "{both}");
    assert_eq!(both["files"][1]["verified"], false, "{both}");
}

#[test]
fn a_policy_is_made_only_of_what_is_known() {
    let (mut ash, oak) = (council("Ash Borough Council"), council("Oak Council"));
    ash.name_witnesses(&[&oak], "1");
    ash.start();
    let refused = ash.run(&["policy"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("partner add"));
    assert_eq!(ash.run(&["policy", "Nobody Council"]).status.code(), Some(1));
    let card = ash.dir.path().join("oak.card");
    fs::write(&card, oak.card()).unwrap();
    ash.ok(&["partner", "add", card.to_str().unwrap()]);
    let made = ash.ok(&["policy"]);
    let policy = made["policy"].as_str().unwrap();
    let line = format!("\nwitness oak-council tallystick/test/{}/witness+", oak.authority());
    assert!(policy.contains(&line), "{policy}");
    assert!(policy.ends_with("group witnesses 1 oak-council\nquorum witnesses\n"), "{policy}");
    // Oak asks for nobody: its policy names its log, and confirms nothing.
    let oak_policy = ash.ok(&["policy", &oak.authority()]);
    assert!(oak_policy["policy"].as_str().unwrap().ends_with("quorum none\n"), "{oak_policy}");
}
