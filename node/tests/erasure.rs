//! Erasure over real processes: hidden at once, deleted when it is due, gone from
//! every file afterwards, and everything still verifies (invariant 6 of the design).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod process;

use std::path::PathBuf;

use process::{Tally, comes, files_with, total};
use serde_json::{Value, json};

/// Nothing else in a data directory reads like this.
const SECRET: &str = "Quagmire Zephyr Haulage";

/// Ash with the key of its controller beside its data, and Oak.
fn councils() -> (Tally, Tally) {
    let mut ash = Tally::init(&["--name", "Ash Borough Council"]);
    let mut oak = Tally::init(&["--name", "Oak Borough Council"]);
    ash.start();
    oak.start();
    ash.befriend(&oak);
    (ash, oak)
}

fn publish(ash: &Tally, title: &str) -> String {
    let document = json!({
        "title": title,
        "description": format!("Hauled by {SECRET} every night"),
        "suppliers": [{ "name": SECRET, "identifiers": [{ "scheme": "GB-COH", "id": "01234567" }] }],
    });
    ash.publish(&document, &["--public"])
}

fn status_of(node: &Tally, reference: &str) -> Value {
    node.ok(&["erase", "--status", reference])["erasures"].clone()
}

#[test]
fn invariant_6_what_is_erased_is_gone_from_every_file_of_every_holder_and_proofs_verify() {
    let (mut ash, mut oak) = councils();
    let hauled = publish(&ash, "Night haulage");
    let kept = publish(&ash, "Day haulage");
    comes("Oak finds both", || total(&oak, "haulage") == 2);
    let proof = oak.dir.path().join("proof").to_str().unwrap().to_owned();
    oak.ok(&["prove", &hauled, "-o", &proof]);
    let size = |node: &Tally| files_with(&node.data(), SECRET.as_bytes()).len();
    assert!(size(&ash) > 0 && size(&oak) > 0, "else nothing is tested");

    // One is erased as a whole, of the other the fields that name the supplier.
    let key = ash.controller();
    let erased = ash.ok(&["--yes", "erase", &hauled, "--reason", "mistake", "--with", &key]);
    assert_eq!(erased["countersigned"], true);
    let fields = ["--field", "suppliers", "--field", "description"];
    let arguments = ["--yes", "erase", &kept, "--reason", "commercial-confidence", "--with", &key];
    ash.ok(&[&arguments[..], &fields].concat());
    for node in [&ash, &oak] {
        comes("it is found no more", || total(node, "Night") == 0 && total(node, SECRET) == 0);
        comes("and deleted", || {
            [&hauled, &kept].iter().all(|of| !status_of(node, of)[0]["deleted"].is_null())
        });
        assert_eq!(total(node, "Day"), 1, "what is left of the other is found");
        let shown = node.ok(&["show", &kept]);
        assert_eq!(shown["title"], "Day haulage");
        assert!(shown["withheld"].as_array().unwrap().len() >= 3, "{shown}");
        assert_eq!(node.ok(&["show", &hauled])["state"], "erased");
        // It can be proved that something was there, and not what.
        let again = node.dir.path().join("again").to_str().unwrap().to_owned();
        node.ok(&["prove", &format!("{hauled}@0.1"), "-o", &again]);
        let verified = node.ok(&["verify", &again]);
        assert_eq!(verified["verified"], true);
        assert!(!verified.to_string().contains(SECRET));
    }
    // A proof that was handed out before still says what it said.
    assert!(oak.ok(&["verify", &proof]).to_string().contains(SECRET));
    std::fs::remove_file(proof).unwrap();

    // A partner that comes later gets nothing of it, and the rest.
    let mut elm = Tally::init(&["--name", "Elm District Council"]);
    elm.start();
    elm.befriend(&oak);
    comes("Elm has the rest", || total(&elm, "Day") == 1);
    assert_eq!(total(&elm, SECRET), 0);

    for node in [&mut ash, &mut oak, &mut elm] {
        node.kill();
        node.ok(&["compact"]);
        assert_eq!(files_with(&node.data(), SECRET.as_bytes()), Vec::<PathBuf>::new());
        // And everything can be opened and found again.
        node.start();
        assert_eq!((total(node, "Day"), total(node, SECRET)), (1, 0));
    }
}

#[test]
fn without_the_controllers_it_is_hidden_at_once_and_deleted_later() {
    let (ash, oak) = councils();
    let hauled = publish(&ash, "Night haulage");
    comes("Oak finds it", || total(&oak, "Night") == 1);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    ash.ok(&["--yes", "erase", &hauled, "--reason", "personal-data"]);
    for node in [&ash, &oak] {
        comes("it is found no more", || total(node, SECRET) == 0);
        let status = status_of(node, &hauled);
        let due = status[0]["due"].as_u64().unwrap();
        assert!(due >= before.as_secs() + 72 * 3600, "{status}");
        assert!(status[0]["deleted"].is_null());
        assert_eq!(status[0]["reason"], "personal-data");
        assert!(!node.ok(&["show", &hauled]).to_string().contains(SECRET));
    }
    // Whoever erased it may say it anew.
    ash.ok(&["--yes", "erase", "--status"]);
    let again = publish(&ash, "Night haulage");
    comes("Oak finds it again", || total(&oak, "Night") == 1);
    assert_ne!(again, hauled);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let (ash, oak) = councils();
    let hauled = publish(&ash, "Night haulage");
    comes("Oak finds it", || total(&oak, "Night") == 1);
    let stranger = oak.data().join("keys/controller.key").to_str().unwrap().to_owned();
    let refused = |node: &Tally, arguments: &[&str], words: &str| {
        let output = node.run(&[&["--yes", "erase"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    refused(&oak, &[&hauled, "--reason", "mistake"], "another authority");
    refused(&ash, &[&hauled, "--reason", "boredom"], "personal-data");
    refused(&ash, &[&hauled, "--reason", "mistake", "--field", "colour"], "no version of this");
    refused(&ash, &[&hauled, "--reason", "mistake", "--with", &stranger], "no key of a current");
    ash.ok(&["--yes", "erase", &hauled, "--reason", "mistake"]);
    refused(&ash, &[&hauled, "--reason", "mistake"], "erased already");
    let unasked = ash.run(&["erase", &hauled, "--reason", "mistake"]);
    assert_eq!(unasked.status.code(), Some(2), "nobody said yes");
}
