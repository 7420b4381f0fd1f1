//! Councils that are merged or split, with real processes: who takes over is what
//! the predecessor's own identity says, and everybody sees it beside its name.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod process;

use std::fs;
use std::process::Command;
use std::time::Duration;

use process::{Tally, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn council(name: &str) -> Tally {
    let mut tally = Tally::init(&["--name", name, "--network", "test"]);
    tally.start();
    tally
}

/// What a person sees.
fn text(tally: &Tally, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    let output = command.arg("--data").arg(tally.data()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    // Lines are broken to fit the screen.
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn publish(tally: &Tally, document: &Value) -> Value {
    let file = tally.dir.path().join("contract.json");
    fs::write(&file, document.to_string()).unwrap();
    tally.ok(&["publish", "contract", file.to_str().unwrap(), "--public"])
}

/// The record, without its version.
fn record(published: &Value) -> String {
    published["ref"].as_str().unwrap().split('@').next().unwrap().to_owned()
}

/// Signs the successor event with the committed controller key.
fn succeed(tally: &mut Tally, by: &[&str]) {
    tally.kill();
    let with = tally.data().join("keys").join("controller.next");
    let next = tally.dir.path().join("next");
    fs::create_dir(&next).unwrap();
    let (with, next) = (with.to_str().unwrap(), next.to_str().unwrap());
    let signing = ["--with", with, "--next-controllers", next, "--yes"];
    let made = tally.ok(&[&["key", "succeed"], by, &signing].concat());
    assert_eq!((&made["type"], &made["applied"]), (&"successor".into(), &true.into()));
    assert_eq!(made["successors"].as_array().unwrap().len(), by.len());
    tally.start();
}

/// Waits until `tally` finds one record for these words that fits.
fn found(tally: &Tally, words: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut hit = Value::Null;
    eventually(PATIENCE, words, || {
        let results = tally.ok(&["search", words])["results"].clone();
        hit = results[0].clone();
        match fits(&hit) {
            true => Ok(()),
            false => Err(format!("{results}\n{}", tally.log())),
        }
    });
    hit
}

#[test]
fn a_merged_council_is_shown_with_its_successor_wherever_its_name_stands() {
    let (mut ash, oak, elm) =
        (council("Ash Council"), council("Oak Council"), council("Elm Council"));
    ash.befriend(&oak);
    ash.befriend(&elm);
    oak.befriend(&elm);
    publish(&ash, &json!({ "title": "Gully cleansing" }));
    let hit = found(&elm, "Gully", |hit| hit["authorityName"] == "Ash Council");
    assert!(hit["succeededBy"].is_null(), "{hit}");
    let (ash_id, oak_id) = (ash.authority(), oak.authority());

    succeed(&mut ash, &[&oak_id]);
    let by_oak = json!([{ "authority": oak_id, "name": "Oak Council", "identity": "pinned" }]);
    let hit = found(&elm, "Gully", |hit| hit["succeededBy"] == by_oak);
    // Its records stand, and its name is known as before.
    assert_eq!(
        (&hit["authorityName"], &hit["identity"]),
        (&"Ash Council".into(), &"pinned".into())
    );
    let said = "succeeded by Oak Council (pinned)";
    assert!(text(&elm, &["search", "gully"]).contains(&format!("its author was {said}")));
    let reference = hit["ref"].as_str().unwrap();
    assert_eq!(elm.ok(&["show", reference])["succeededBy"], by_oak);
    assert!(text(&elm, &["show", reference]).contains(&format!("Ash Council (pinned), {said}")));

    let status = elm.ok(&["status"]);
    let of_ash = |list: &Value| {
        let list = list.as_array().unwrap();
        list.iter().find(|one| one["authority"] == ash_id.as_str()).unwrap().clone()
    };
    assert_eq!(of_ash(&status["logs"])["succeededBy"], by_oak);
    assert!(text(&elm, &["status"]).contains("Ash Council (pinned) by Oak Council (pinned)"));
    let partners = elm.ok(&["partner", "list"]);
    assert_eq!(of_ash(&partners["partners"])["succeededBy"], by_oak);
    assert!(text(&elm, &["partner", "list"]).contains(said));

    // Its own people see it, running or not, and so do the successor's.
    assert_eq!(ash.ok(&["whoami"])["succeededBy"], by_oak);
    assert!(text(&ash, &["whoami"]).contains(said));
    let from_ash = json!([{ "authority": ash_id, "name": "Ash Council", "identity": "pinned" }]);
    eventually(PATIENCE, "Oak knows of it", || match &oak.ok(&["whoami"])["succeeds"] {
        succeeds if *succeeds == from_ash => Ok(()),
        other => Err(other.to_string()),
    });
    assert!(text(&oak, &["whoami"]).contains("succeeds Ash Council (pinned)"));
    assert!(elm.ok(&["whoami"])["succeeds"].is_null(), "nobody named Elm");

    // A proof says so as well, since it carries the author's identity.
    let proof = elm.dir.path().join("gully.proof");
    let proof = proof.to_str().unwrap();
    elm.ok(&["prove", reference, "-o", proof]);
    assert_eq!(elm.ok(&["verify", proof])["succeededBy"], json!([oak_id]));
    ash.kill();
    assert_eq!(ash.ok(&["whoami"])["succeededBy"], json!([{ "authority": oak_id }]));
}

#[test]
fn a_split_council_names_several_successors_and_never_itself() {
    let (mut fir, oak, elm) =
        (council("Fir Council"), council("Oak Council"), council("Elm Council"));
    fir.befriend(&oak);
    let own = fir.authority();
    fir.kill();
    let with = fir.data().join("keys").join("controller.next");
    let stick = tempfile::tempdir().unwrap();
    let next = stick.path().to_str().unwrap();
    let signing = ["--with", with.to_str().unwrap(), "--next-controllers", next, "--yes"];
    let refused = fir.run(&[&["key", "succeed", &own], &signing[..]].concat());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(fs::read_dir(next).unwrap().count(), 0, "no key was made for it");
    let ids = [oak.authority(), elm.authority()];
    succeed(&mut fir, &[&ids[0], &ids[1]]);
    eventually(PATIENCE, "Oak hears of both", || {
        let partners = oak.ok(&["partner", "list"])["partners"].clone();
        let successors = partners[0]["succeededBy"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = successors.iter().map(|one| one["authority"].as_str()).collect();
        match named == [Some(&*ids[0]), Some(&*ids[1])] {
            true => Ok(()),
            false => Err(partners.to_string()),
        }
    });
    assert_eq!(fir.ok(&["key", "show"])["successors"], json!(ids));
}

#[test]
fn contracts_go_on_with_the_successor_and_a_claim_by_anybody_else_is_called_one() {
    let [mut ash, oak, elm] = ["Ash Council", "Oak Council", "Elm Council"].map(council);
    ash.befriend(&oak);
    ash.befriend(&elm);
    oak.befriend(&elm);
    let old = record(&publish(&ash, &json!({ "title": "Gully cleansing" })));
    found(&oak, "Gully", |hit| hit["authorityName"] == "Ash Council");
    let mark = |title: &str, kind: &str| {
        let mut document = json!({
            "title": title, "succession": { "kind": kind, "of": old, "date": "2026-04-01" },
        });
        if kind == "novated" {
            document["succession"]["supplierAgreementDate"] = json!("2026-03-02");
        }
        document
    };
    // Said too early, it is a claim, and its author is told so.
    let early = publish(&oak, &mark("Gullies of Oak and Ash", "novated"));
    assert!(early["warnings"].to_string().contains("unconfirmed claim"), "{early}");
    let new = record(&early);
    let claim = |hit: &Value| hit["continuedBy"][0]["confirmed"].as_bool();
    let hit = found(&elm, "cleansing", |hit| claim(hit) == Some(false));
    assert_eq!(hit["continuedBy"][0]["ref"], new.as_str());
    let text_of_old = text(&elm, &["show", &old]);
    assert!(text_of_old.contains("succession UNCONFIRMED CLAIM: novated to Oak"), "{text_of_old}");

    // Ash's own word confirms it; nothing that Oak could add would.
    let oak_id = oak.authority();
    succeed(&mut ash, &[&oak_id]);
    let hit = found(&elm, "cleansing", |hit| claim(hit) == Some(true));
    let end = &hit["continuedBy"][0];
    assert_eq!((&end["kind"], &end["authorityName"]), (&"novated".into(), &"Oak Council".into()));
    assert_eq!(end["supplierAgreementDate"], "2026-03-02");
    let told = "novated to Oak Council (pinned) on 1 April 2026";
    assert!(text(&elm, &["search", "cleansing"]).contains(told));

    // Elm is none of its successors.
    let third = publish(&elm, &mark("Gullies of Elm", "transferred"));
    assert!(third["warnings"].to_string().contains("unconfirmed claim"), "{third}");
    let shown = elm.ok(&["show", &old]);
    assert_eq!(shown["title"], "Gully cleansing", "its record is as it was");
    let ends: Vec<_> = shown["continuedBy"].as_array().unwrap().iter().collect();
    let confirmed: Vec<_> = ends.iter().map(|end| (&end["title"], &end["confirmed"])).collect();
    let expected = [("Gullies of Oak and Ash", true), ("Gullies of Elm", false)];
    assert_eq!(
        confirmed,
        expected.map(|(t, c)| (json!(t), json!(c))).each_ref().map(|(t, c)| (t, c))
    );
    let text_of_old = text(&elm, &["show", &old]);
    assert!(text_of_old.contains(told), "{text_of_old}");
    assert!(text_of_old.contains("UNCONFIRMED CLAIM: transferred to Elm Council"), "{text_of_old}");

    // The other way round, and when the mark is taken back.
    let shown = elm.ok(&["show", &new]);
    assert_eq!(
        (&shown["continues"]["ref"], &shown["continues"]["confirmed"]),
        (&json!(old), &json!(true))
    );
    assert!(text(&elm, &["show", &new]).contains("succession novated from Ash Council (pinned)"));
    let claim = elm.ok(&["show", &record(&third)]);
    assert_eq!(claim["continues"]["confirmed"], false);
    elm.ok(&["withdraw", &record(&third)]);
    assert_eq!(elm.ok(&["show", &old])["continuedBy"].as_array().unwrap().len(), 1);

    // Nobody succeeds itself, and what is missing is said.
    let file = ash.dir.path().join("own.json");
    fs::write(&file, mark("Mine", "hosted").to_string()).unwrap();
    let own = ash.run(&["publish", "contract", file.to_str().unwrap(), "--public"]);
    assert_eq!(own.status.code(), Some(2), "{own:?}");
    fs::write(&file, json!({ "title": "t", "succession": { "kind": "hosted" } }).to_string())
        .unwrap();
    let bare = oak.run(&["publish", "contract", file.to_str().unwrap(), "--public"]);
    assert!(String::from_utf8_lossy(&bare.stderr).contains("succession.of: missing"), "{bare:?}");
}
