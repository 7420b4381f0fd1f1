//! Cards that make no acquaintance with a real node: expired, of the future, of
//! another network, and such as carry an older identity than the one known.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod fixture;
mod process;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fixture::Council;
use process::{Tally, eventually};
use serde_json::Value;
use tallystick_node::driver::{self, Partner};
use tallystick_node::keys::{NodeKeys, load_identity};
use tallystick_node::store::{Store, StoreOptions};
use tallystick_protocol::card::{Card, UnverifiedCard, Validity};
use tallystick_protocol::time::UnixTime;

const PATIENCE: Duration = Duration::from_secs(30);

/// A point in time so many days from now.
fn days_from_now(days: i64) -> UnixTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UnixTime::from_seconds(now.checked_add_signed(days * 86_400).unwrap())
}

/// A card such as the authority's node made so many days ago.
fn made(tally: &Tally, days_ago: i64) -> String {
    let identity = load_identity(&tally.data(), &fixture::network()).unwrap();
    let keys = NodeKeys::load(&tally.data(), &identity, None).unwrap();
    let validity = Validity::days(days_from_now(-days_ago), Validity::USUAL_DAYS);
    Card::issue(&identity, &keys.node, &[], validity).unwrap().to_line()
}

fn council(name: &str) -> Tally {
    Tally::init(&["--name", name, "--network", "test"])
}

fn add(tally: &Tally, card: &str) -> (Option<i32>, String) {
    let output = tally.run(&["partner", "add", card]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn refused(tally: &Tally, card: &str, why: &str) {
    let (code, said) = add(tally, card);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(why), "{said}");
}

fn partners(tally: &Tally) -> Vec<Value> {
    tally.ok(&["partner", "list"])["partners"].as_array().unwrap().clone()
}

#[test]
fn rule_a_card_adds_nobody_after_it_expired_or_before_it_was_made_or_in_another_network() {
    let (mut ash, oak) = (council("Ash Council"), council("Oak Council"));
    let elm = Tally::init(&["--name", "Elm Council", "--network", "elsewhere"]);
    ash.start();
    let expired = made(&oak, 95);
    refused(&ash, &expired, "the card expired on ");
    refused(&ash, &expired, "ask them for a fresh one");
    refused(&ash, &made(&oak, -3), "lies in the future");
    refused(&ash, &elm.card(), "belongs to another network");
    assert_eq!(partners(&ash).len(), 0);
    // Clocks may differ by a day.
    assert_eq!(add(&ash, &made(&oak, 90)).0, Some(0));
    // Once it is a partner, an expired card neither changes nor ends that.
    refused(&ash, &expired, "the card expired on ");
    ash.kill();
    ash.start();
    assert_eq!(partners(&ash).len(), 1);
}

#[test]
fn a_card_is_valid_as_long_as_its_maker_says() {
    let mut oak = council("Oak Council");
    let lasts = |oak: &Tally, arguments: &[&str]| {
        let said = oak.ok(&[&["whoami"], arguments].concat());
        let card = UnverifiedCard::parse(said["card"].as_str().unwrap()).unwrap();
        let card = card.verify(&fixture::network()).unwrap();
        assert_eq!(said["validUntil"], card.valid_until().as_seconds());
        (card.valid_until().as_seconds() - card.issued().as_seconds()) / 86_400
    };
    for running in [false, true] {
        if running {
            oak.start();
        }
        assert_eq!(lasts(&oak, &[]), 90);
        assert_eq!(lasts(&oak, &["--valid-days", "7"]), 7);
    }
    for days in ["0", "367", "-1", "ever"] {
        let output = oak.run(&["whoami", "--valid-days", days]);
        assert_eq!(output.status.code(), Some(2), "{days}");
    }
}

#[test]
fn rule_a_replayed_card_with_an_older_identity_rolls_nothing_back() {
    let mut ash = council("Ash Council");
    let mut oak = council("Oak Council");
    ash.start();
    oak.start();
    ash.befriend(&oak);
    let stale = ash.card();
    ash.kill();
    let next = ash.data().join("keys").join("controller.next");
    let to = ash.dir.path().join("three");
    fs::create_dir(&to).unwrap();
    let to = to.to_str().unwrap();
    let with = next.to_str().unwrap();
    ash.ok(&["key", "rotate", "--node", "--with", with, "--next-controllers", to]);
    ash.start();
    let node = |tally: &Tally| tally.ok(&["whoami"])["peer"].clone();
    let (new, fresh) = (node(&ash), ash.card());
    assert_eq!(add(&oak, &fresh).0, Some(0));
    let known = partners(&oak)[0]["node"].clone();
    refused(&oak, &stale, "an older identity of this authority than the one known here");
    assert_eq!(partners(&oak)[0]["node"], known, "the node of the old card is not back");
    assert_eq!(node(&ash), new);
    // Nor when it is no partner any more: the newer identity is known all the same.
    oak.ok(&["partner", "remove", "Ash Council"]);
    refused(&oak, &stale, "an older identity");
    assert_eq!(partners(&oak).len(), 0);
    assert_eq!(add(&oak, &fresh).0, Some(0));
    assert_eq!(partners(&oak)[0]["node"], known);
}

/// A node in this process that knocks at `at` and hands in `card`.
async fn knocks(
    council: &Council,
    at: &Tally,
    card: String,
) -> (driver::Handle, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let host = UnverifiedCard::parse(&at.card()).unwrap().verify(&fixture::network()).unwrap();
    let addresses = at.listen.iter().map(|address| address.parse().unwrap()).collect();
    let mut config = council.config(vec![Partner { node: host.node(), addresses }]);
    config.card = card;
    let store = Store::open(dir.path(), &StoreOptions::default(), council.authority()).unwrap();
    let (handle, _task) = driver::start(config, store).await.unwrap();
    (handle, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_a_request_by_an_expired_card_is_shown_as_such_and_not_accepted() {
    let mut ash = council("Ash Council");
    ash.start();
    let borough = Council::new(7);
    let card = |days_ago: i64| {
        let validity = Validity::days(days_from_now(-days_ago), Validity::USUAL_DAYS);
        Card::issue(&borough.identity, &borough.node_key(), &[], validity).unwrap().to_line()
    };
    let (handle, _dir) = knocks(&borough, &ash, card(95)).await;
    let request = |stale: bool| {
        eventually(PATIENCE, "a request", || {
            let requests = ash.ok(&["partner", "list"])["requests"].clone();
            match requests[0]["name"] == "Borough 7"
                && requests[0]["outOfDate"].is_string() == stale
            {
                true => Ok(()),
                false => Err(format!("{requests}\n{}", ash.log())),
            }
        });
    };
    request(true);
    let output = ash.run(&["partner", "accept", "Borough 7"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the card expired on "), "{said}");
    assert_eq!(partners(&ash).len(), 0);
    // Its node makes a fresh one by itself, and hands that in from then on.
    handle.present(card(0)).await;
    request(false);
    ash.ok(&["partner", "accept", "Borough 7"]);
    assert_eq!(partners(&ash).len(), 1);
    handle.shutdown().await;
}
