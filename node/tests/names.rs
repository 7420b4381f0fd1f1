//! How names are known, between real nodes: pinned, endorsed by a partner, self-asserted.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;

use std::time::Duration;

use process::{Tally, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

fn council(arguments: &[&str]) -> Tally {
    let mut tally = Tally::init(arguments);
    tally.start();
    tally
}

fn publish(tally: &Tally, title: &str) {
    let file = tally.dir.path().join("contract.json");
    std::fs::write(&file, json!({ "title": title, "status": "active" }).to_string()).unwrap();
    tally.ok(&["publish", "contract", file.to_str().unwrap(), "--public"]);
}

/// What `search` says of the one record with this title.
fn found(tally: &Tally, title: &str) -> Value {
    tally.ok(&["search", title])["results"][0].clone()
}

fn wait_for(tally: &Tally, title: &str, identity: &str, by: &Value) {
    eventually(PATIENCE, "the name is not known as it should be", || {
        let hit = found(tally, title);
        match hit["identity"] == identity && hit["confirmedBy"] == *by {
            true => Ok(()),
            false => Err(format!("{hit}\n{}", tally.log())),
        }
    });
}

#[test]
fn a_name_is_pinned_for_partners_confirmed_by_endorsement_and_else_self_asserted() {
    let ash = council(&["--name", "Ashlow Council"]);
    let oak = council(&["--name", "Oakrise Council"]);
    let elm = council(&["--name", "Elmstead Council", "--org-id", "GB-LAE-XEL"]);
    ash.befriend(&oak);
    oak.befriend(&elm);
    publish(&elm, "Gully cleansing");
    publish(&oak, "Hedge cutting");

    // Oak passes on what Elm said; Ash knows Oak, and not Elm.
    wait_for(&ash, "Hedge", "pinned", &Value::Null);
    wait_for(&ash, "Gully", "self-asserted", &Value::Null);
    assert_eq!(found(&oak, "Gully")["identity"], "pinned");

    // It is public, so it is asked for; nothing is said without an answer.
    let unasked = oak.run(&["partner", "endorse", "Elmstead Council"]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    let said = oak.ok(&["partner", "endorse", "Elmstead Council", "--yes"]);
    assert_eq!(
        (&said["changed"], &said["organisationIds"][0]),
        (&json!(true), &json!("GB-LAE-XEL"))
    );
    let again = oak.ok(&["partner", "endorse", &elm.authority(), "--yes"]);
    assert_eq!(again["changed"], false);
    wait_for(&ash, "Gully", "confirmed", &json!({ "endorsements": 1 }));
    let reference = found(&ash, "Gully")["ref"].as_str().unwrap().to_owned();
    assert_eq!(ash.ok(&["show", &reference])["identity"], "confirmed");
    let logs = ash.ok(&["status"])["logs"].clone();
    let log = logs.as_array().unwrap().iter().find(|log| log["name"] == "Elmstead Council");
    assert_eq!(log.unwrap()["identity"], "confirmed");
    // Who is not a partner is not endorsed.
    let stranger = ash.run(&["partner", "endorse", "Elmstead Council", "--yes"]);
    assert_eq!(stranger.status.code(), Some(1));

    let withdrawn = oak.ok(&["partner", "endorse", "Elmstead Council", "--withdraw", "--yes"]);
    assert_eq!(withdrawn["changed"], true);
    wait_for(&ash, "Gully", "self-asserted", &Value::Null);
}

#[test]
fn a_domain_that_does_not_exist_proves_nothing_and_says_why() {
    let ash = council(&["--name", "Ashlow Council"]);
    // No domain ends so, by RFC 6761.
    let oak = council(&["--name", "Oakrise Council", "--domain", "oakrise.invalid"]);
    ash.befriend(&oak);
    let list = ash.ok(&["partner", "list"]);
    assert_eq!(list["partners"][0]["domain"], "oakrise.invalid");
    assert_eq!(list["partners"][0]["domainProof"], Value::Null);
    let asked = ash.run(&["partner", "check", "Oakrise Council"]);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    let said: Value = serde_json::from_slice(&asked.stdout).unwrap();
    // A partner is pinned whatever its domain says.
    assert_eq!((&said["proven"], &said["identity"]), (&json!(false), &json!("pinned")));
    let failure = said["failure"].as_str().unwrap();
    assert!(failure.contains("oakrise.invalid"), "{failure}");
    let list = ash.ok(&["partner", "list"]);
    assert_eq!(list["partners"][0]["domainProof"]["failure"], failure);
    let none = ash.run(&["partner", "check", "Ashlow Council"]);
    assert_eq!(none.status.code(), Some(1), "it claims no domain");
    let none = ash.run(&["partner", "check", "Elmstead Council"]);
    assert_eq!(none.status.code(), Some(1), "nobody has heard of it");
}

#[test]
fn a_look_alike_is_pointed_out_when_it_asks_and_when_it_is_added() {
    let ash = council(&["--name", "Ashlow Council"]);
    let oak = council(&["--name", "Oakrise Council"]);
    // A Cyrillic letter for the o.
    let other = council(&["--name", "Oakrise C\u{43e}uncil", "--org-id", "GB-COH-1234567"]);
    ash.befriend(&oak);
    let card = other.dir.path().join("ash.card");
    std::fs::write(&card, ash.card()).unwrap();
    other.ok(&["partner", "add", card.to_str().unwrap()]);
    let mut request = Value::Null;
    eventually(PATIENCE, "there is no request", || {
        request = ash.ok(&["partner", "list"])["requests"][0].clone();
        if request.is_null() { Err(ash.log()) } else { Ok(()) }
    });
    assert_eq!(request["identity"], "self-asserted");
    assert_eq!(request["organisationIds"][0], "GB-COH-01234567");
    let alike = &request["lookalikes"][0];
    assert_eq!(alike["authority"], oak.authority().as_str());
    assert_eq!((&alike["name"], &alike["identity"]), (&json!("Oakrise Council"), &json!("pinned")));
    assert_eq!(alike["resemblance"], "looks the same as");
    assert!(request["oddities"][0].as_str().unwrap().contains("several scripts"), "{request}");
    let added = ash.ok(&["partner", "accept", &other.authority()]);
    assert_eq!(added["partner"]["identity"], "pinned");
    assert_eq!(added["partner"]["lookalikes"][0]["authority"], oak.authority().as_str());
}
