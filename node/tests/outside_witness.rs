//! Outside witnesses of a real node, as `tally.toml` names them: one that cosigns,
//! and one whose certificate nobody vouches for, of which `tally status` tells.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;
#[path = "../src/https_server.rs"]
#[allow(dead_code, reason = "what the library's own tests use besides")]
mod server;

use std::fs;
use std::process::Command;
use std::time::Duration;

use process::{Tally, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn status_tells_which_outside_witness_has_cosigned_and_why_another_has_not() {
    let mut ash = Tally::init(&["--name", "Ash Borough Council", "--network", "test"]);
    let mut oak = Tally::init(&["--name", "Oak Council", "--network", "test"]);
    oak.start_with(&["--publish-http", "127.0.0.1:0"]);
    let card = oak.dir.path().join("ash.card");
    fs::write(&card, ash.card()).unwrap();
    oak.ok(&["partner", "add", card.to_str().unwrap()]);

    // Its certificate is good for the address, and by an authority of its own.
    let root = server::Root::new();
    let (stranger, visits) = server::serve(&root.issue("127.0.0.1"), 1, |_| Vec::new());
    let whoami = |tally: &Tally| tally.ok(&["whoami"])["witnessKey"].as_str().unwrap().to_owned();
    let publication = oak.publication.clone().unwrap();
    let witnesses = format!(
        "witness_urls = [\n  {{ key = \"{}\", url = \"{publication}\" }},\n  \
         {{ key = \"{}\", url = \"https://{stranger}\" }},\n]\n",
        whoami(&oak),
        whoami(&ash),
    );
    let config = ash.data().join("tally.toml");
    let written = fs::read_to_string(&config).unwrap();
    fs::write(&config, witnesses + &written).unwrap();
    ash.start();
    eventually(PATIENCE, "what became of asking", || {
        let told = ash.ok(&["status"])["outsideWitnesses"].clone();
        let failure = told[1]["failure"].as_str().unwrap_or_default();
        let done = told[0]["cosigned"] == 1 && failure.contains("no valid certificate");
        if done { Ok(()) } else { Err(format!("{told}: {}", ash.log())) }
    });
    let told = ash.ok(&["status"])["outsideWitnesses"].clone();
    assert!(told[0]["failure"].is_null() && told[1]["cosigned"].is_null(), "{told}");
    assert_eq!(visits.join().unwrap(), [""], "nothing was sent to the stranger");
    let output = Command::new(env!("CARGO_BIN_EXE_tally"))
        .arg("--data")
        .arg(ash.data())
        .arg("status")
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains("cosigned a head of 1 entry"), "{page}");
    assert!(page.contains("no valid certificate for its name"), "{page}");
}
