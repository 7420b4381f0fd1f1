//! Two processes over copies of one data directory, connected to one partner:
//! the later one signs nothing, and says why (invariant 2).
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;

use std::time::Duration;

use process::{Tally, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

fn document(tally: &Tally, title: &str) -> String {
    let file = tally.dir.path().join("contract.json");
    let document = json!({ "title": title, "status": "active" });
    std::fs::write(&file, document.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn publish(tally: &Tally, title: &str) -> Value {
    tally.ok(&["publish", "contract", &document(tally, title), "--public"])
}

fn size_at(tally: &Tally, authority: &str) -> u64 {
    tally.heads().into_iter().find(|head| head.0 == authority).map_or(0, |head| head.1)
}

fn wait_for_size(tally: &Tally, authority: &str, size: u64) {
    eventually(PATIENCE, "the partner is not up to date", || match size_at(tally, authority) {
        at if at == size => Ok(()),
        at => Err(format!("{at} of {size}")),
    });
}

/// Waits until `status` says something about another copy under `key`.
fn wait_for(tally: &Tally, key: &str) -> String {
    let said = || tally.ok(&["status"])[key].as_str().unwrap_or_default().to_owned();
    eventually(PATIENCE, "the copies do not know of each other", || match said() {
        text if text.contains("another copy of this node is running") => Ok(()),
        text => Err(format!("{key}: {text}\n{}", tally.log())),
    });
    said()
}

#[test]
fn invariant_2_of_two_copies_of_a_node_the_later_refuses_to_publish_and_says_why() {
    let mut partner = Tally::init(&["--name", "Borough of Overby"]);
    partner.start();
    let mut node = Tally::init(&["--name", "Borough of Netherby"]);
    node.start();
    node.befriend(&partner);
    let authority = node.authority();
    assert_eq!(publish(&node, "Gully cleansing")["signed"], true);
    wait_for_size(&partner, &authority, 2);
    node.kill();
    let mut copy = node.copy();

    node.start();
    let restarted = std::time::Instant::now();
    assert_eq!(publish(&node, "Hedge cutting")["signed"], true, "a restart is not held up");
    assert!(restarted.elapsed() < Duration::from_secs(5), "{:?}", restarted.elapsed());
    wait_for_size(&partner, &authority, 3);
    // Starts are told apart by the second.
    std::thread::sleep(Duration::from_millis(1_100));
    copy.start();
    let obstacle = wait_for(&copy, "obstacle");
    assert!(obstacle.contains("was started earlier"), "{obstacle}");
    let refused = copy.run(&["publish", "contract", &document(&copy, "Forged"), "--public"]);
    assert_eq!(refused.status.code(), Some(3));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&refused.stdout),
        String::from_utf8_lossy(&refused.stderr)
    );
    assert!(said.contains("another copy of this node is running"), "{said}");
    assert!(said.contains("stop one of the two for good"), "{said}");

    let warning = wait_for(&node, "warning");
    assert!(warning.contains("stop one of the two for good"), "{warning}");
    assert_eq!(node.ok(&["status"])["obstacle"], Value::Null);
    let published = publish(&node, "Verge mowing");
    assert_eq!(published["signed"], true, "the original goes on");
    wait_for_size(&partner, &authority, 4);
    assert!(copy.ok(&["status"])["peers"].as_array().unwrap().is_empty(), "it leaves the link");
    let refusals = partner.ok(&["status"])["refusals"].clone();
    assert_eq!(refusals, json!({}), "no second history was seen");
}
