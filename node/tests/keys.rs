//! Keys of an authority from `tally init` on: kept off the machine, replaced,
//! recovered, and signed for by several people, with real processes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Tally, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const CONTRACT: &str = r#"{ "title": "Housing management system", "cpv": "48000000" }"#;

/// Sticks, passphrases and files that lie beside data directories.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn stick(&self, name: &str) -> String {
        fs::create_dir(self.dir.path().join(name)).unwrap();
        self.path(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        path
    }
}

/// The one key file on a stick.
fn key_on(stick: &str) -> String {
    let files: Vec<PathBuf> = fs::read_dir(stick).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].to_str().unwrap().to_owned()
}

fn fails(tally: &Tally, code: i32, arguments: &[&str]) -> String {
    let output = tally.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn publish(tally: &Tally, file: &str) -> String {
    let published = tally.ok(&["publish", "contract", file, "--public"]);
    published["ref"].as_str().unwrap().to_owned()
}

/// The log of the authority that is open: generation, entries, signed entries.
fn own_log(tally: &Tally, generation: u64) -> Option<(u64, u64)> {
    let status = tally.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap();
    let own = logs
        .iter()
        .find(|log| log["authority"] == status["authority"] && log["generation"] == generation)?;
    Some((own["size"].as_u64().unwrap(), own["signed"].as_u64().unwrap()))
}

fn signed(tally: &Tally, generation: u64, size: u64) {
    eventually(PATIENCE, "a signed log", || match own_log(tally, generation) {
        Some(found) if found == (size, size) => Ok(()),
        found => Err(format!("{found:?} of {size}")),
    });
}

fn contains_secret(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path.is_file() && fs::read(&path).unwrap().starts_with(b"tallystick-secret-v1 controller")
    })
}

#[test]
fn keys_off_the_machine_rotate_what_is_on_it() {
    let desk = Desk::new();
    let (one, two, three) = (desk.stick("one"), desk.stick("two"), desk.stick("three"));
    let phrase = desk.file("phrase", "correct horse battery\n");
    let mut ash = Tally::init(&[
        "--name",
        "Ash Council",
        "--network",
        "test",
        "--controllers",
        &one,
        "--next-controllers",
        &two,
        "--passphrase-file",
        &phrase,
    ]);
    assert!(!contains_secret(&ash.data().join("keys")));
    let contract = desk.file("contract.json", CONTRACT);
    ash.start();
    let first = publish(&ash, &contract);
    let next = key_on(&two);
    let rotate = [
        "key",
        "rotate",
        "--with",
        &next,
        "--passphrase-file",
        &phrase,
        "--next-controllers",
        &three,
    ];
    let running = fails(&ash, 3, &rotate);
    assert!(running.contains("the node is running"), "{running}");
    assert_eq!(fs::read_dir(&three).unwrap().count(), 0);
    ash.kill();

    // The keys of today rotate nothing, nor does the wrong passphrase.
    let today = key_on(&one);
    let refused = fails(
        &ash,
        2,
        &[
            "key",
            "rotate",
            "--with",
            &today,
            "--passphrase-file",
            &phrase,
            "--next-controllers",
            &three,
        ],
    );
    assert!(refused.contains("committed to as the next"), "{refused}");
    let wrong = desk.file("wrong", "wrong\n");
    let spare = desk.stick("spare");
    fails(
        &ash,
        2,
        &[
            "key",
            "rotate",
            "--with",
            &next,
            "--passphrase-file",
            &wrong,
            "--next-controllers",
            &spare,
        ],
    );
    assert_eq!(ash.ok(&["key", "show"])["sequence"], 0);

    let before = ash.ok(&["key", "show", &one, &two]);
    assert_eq!(before["next"]["keys"][0]["found"]["encrypted"], true);
    assert_eq!(before["controllers"]["keys"][0]["found"]["onThisMachine"], false);
    let rotated = ash.ok(&rotate);
    assert_eq!((&rotated["type"], &rotated["applied"]), (&"rotation".into(), &true.into()));
    assert_eq!(rotated["pin"]["size"], 2);
    let after = ash.ok(&["key", "show"]);
    assert_ne!(after["log"], before["log"]);
    assert_ne!(after["witness"], before["witness"]);
    assert_eq!(after["nodes"], before["nodes"]);
    assert_eq!(after["events"][1]["type"], "rotation");

    // The rotation is an entry of the log, under the new key.
    ash.start();
    signed(&ash, 0, 3);
    publish(&ash, &contract.replace("contract.json", "contract.json"));
    let proof = desk.path("first.proof");
    ash.ok(&["prove", &first, "-o", &proof]);
    assert_eq!(ash.ok(&["verify", &proof])["verified"], true);
    ash.kill();
    // Started again, nothing is appended once more.
    ash.start();
    let size = own_log(&ash, 0).unwrap().0;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(own_log(&ash, 0).unwrap(), (size, size));
    ash.kill();
    let last = key_on(&three);
    let four = desk.stick("four");
    ash.ok(&[
        "key",
        "rotate",
        "--node",
        "--with",
        &last,
        "--passphrase-file",
        &phrase,
        "--next-controllers",
        &four,
    ]);
    ash.start();
    signed(&ash, 0, size + 1);
}

#[test]
fn a_recovery_closes_the_log_where_it_was_sound() {
    let desk = Desk::new();
    let (one, two, three) = (desk.stick("one"), desk.stick("two"), desk.stick("three"));
    let mut ash = Tally::init(&[
        "--name",
        "Ash Council",
        "--network",
        "test",
        "--controllers",
        &one,
        "--next-controllers",
        &two,
    ]);
    let contract = desk.file("contract.json", CONTRACT);
    let forged = desk.file("forged.json", r#"{ "title": "Forged", "cpv": "48000000" }"#);
    ash.start();
    let sound = publish(&ash, &contract);
    publish(&ash, &forged);
    ash.kill();
    let next = key_on(&two);
    let recover = ["key", "recover", "--at", "2", "--with", &next, "--next-controllers", &three];
    let asked = fails(&ash, 2, &recover);
    assert!(asked.contains("DISOWNED") && asked.contains("Forged"), "{asked}");
    assert_eq!(fs::read_dir(&three).unwrap().count(), 0, "nothing was made yet");
    let recovered = ash.ok(&[&recover[..], &["--yes"]].concat());
    assert_eq!((&recovered["closes"]["size"], &recovered["disowned"]), (&2.into(), &1.into()));
    assert_eq!(recovered["entries"][0]["title"], "Forged");
    assert_eq!(recovered["generation"], 1);

    ash.start();
    signed(&ash, 1, 1);
    let reference = publish(&ash, &contract);
    assert!(reference.ends_with("@1.1"), "{reference}");
    signed(&ash, 1, 2);
    let _closed = sound;
}

#[test]
fn several_people_found_rotate_and_describe_an_authority() {
    let desk = Desk::new();
    let nobody = Tally::bare();
    let phrase = desk.file("phrase", "correct horse battery\n");
    let key = |name: &str| -> (String, String) {
        let file = desk.path(name);
        let made = nobody.ok(&["key", "new", &file, "--passphrase-file", &phrase]);
        (file, made["public"].as_str().unwrap().to_owned())
    };
    let people: Vec<_> = ["a", "b", "c", "d", "e", "f"].iter().map(|name| key(name)).collect();
    let draft = desk.path("inception.draft");
    let mut ash = Tally::init(&[
        "--name",
        "Ash Council",
        "--network",
        "test",
        "--threshold",
        "2",
        "--controller",
        &people[0].1,
        "--controller",
        &people[1].1,
        "--controller",
        &people[2].1,
        "--next-threshold",
        "2",
        "--next-controller",
        &people[3].1,
        "--next-controller",
        &people[4].1,
        "--next-controller",
        &people[5].1,
        "-o",
        &draft,
    ]);
    fails(&ash, 3, &["key", "show"]);
    let missing = fails(&ash, 1, &["key", "apply", &draft]);
    assert!(missing.contains("2 signatures missing"), "{missing}");
    let sign = |file: &str, by: usize| -> Value {
        nobody.ok(&[
            "key",
            "sign",
            file,
            "--with",
            &people[by].0,
            "--passphrase-file",
            &phrase,
            "--yes",
        ])
    };
    // Two of them sign copies at the same time.
    let copy = desk.path("copy.draft");
    fs::copy(&draft, &copy).unwrap();
    assert_eq!(sign(&draft, 2)["missing"], 1);
    assert_eq!(sign(&copy, 0)["missing"], 1);
    let stranger = fails(&nobody, 2, &["key", "sign", &draft, "--with", &people[4].0, "--yes"]);
    assert!(stranger.contains("not a key that can sign"), "{stranger}");
    let unasked = fails(&nobody, 2, &["key", "sign", &draft, "--with", &people[1].0]);
    assert!(
        unasked.contains("Ash Council") && unasked.contains("make a new authority"),
        "{unasked}"
    );
    let applied = ash.ok(&["key", "apply", &draft, &copy]);
    assert_eq!(applied["applied"], true);
    assert_eq!(ash.ok(&["key", "show"])["controllers"]["threshold"], 2);

    // A rotation with one lost key, made while the node goes on afterwards.
    ash.start();
    let contract = desk.file("contract.json", CONTRACT);
    publish(&ash, &contract);
    ash.kill();
    let (g, h) = (key("g"), key("h"));
    let change = desk.path("rotation.draft");
    let made = ash.ok(&[
        "key",
        "rotate",
        "--controller",
        &people[5].1,
        "--controller",
        &people[3].1,
        "--next-controller",
        &g.1,
        "--next-controller",
        &h.1,
        "--next-threshold",
        "1",
        "-o",
        &change,
    ]);
    assert_eq!((&made["applied"], &made["missing"]), (&false.into(), &2.into()));
    assert_eq!(ash.ok(&["key", "show"])["waiting"], "rotation");
    ash.start();
    publish(&ash, &contract);
    ash.kill();
    sign(&change, 3);
    sign(&change, 5);
    let applied = ash.ok(&["key", "apply", &change]);
    assert_eq!((&applied["applied"], &applied["signedSince"]), (&true.into(), &1.into()));
    fails(&ash, 2, &["key", "apply", &change]);
    ash.start();
    signed(&ash, 0, 4);
    ash.kill();

    // The current controllers change the name; a change that waits can be thrown away.
    let profile = desk.path("profile.draft");
    ash.ok(&[
        "key",
        "profile",
        "--name",
        "Ash City Council",
        "--with",
        &people[3].0,
        "--passphrase-file",
        &phrase,
        "-o",
        &profile,
    ]);
    ash.ok(&["key", "discard"]);
    assert!(ash.ok(&["key", "show"])["waiting"].is_null());
    sign(&profile, 5);
    ash.ok(&["key", "apply", &profile]);
    assert_eq!(ash.ok(&["whoami"])["name"], "Ash City Council");
    let refused = fails(&ash, 2, &["key", "profile", "--name", "Ash City Council"]);
    assert!(refused.contains("already"), "{refused}");
}

/// What a node holds of an authority's log: entries, signed entries.
fn held(tally: &Tally, authority: &str, generation: u64) -> Option<(u64, u64)> {
    let status = tally.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap();
    let log =
        logs.iter().find(|log| log["authority"] == authority && log["generation"] == generation)?;
    Some((log["size"].as_u64().unwrap(), log["signed"].as_u64().unwrap()))
}

fn replicated(tally: &Tally, authority: &str, generation: u64, size: u64) {
    eventually(PATIENCE, "the partner's log", || match held(tally, authority, generation) {
        Some(found) if found == (size, size) => Ok(()),
        found => Err(format!("{found:?} of {size}: {}", tally.log())),
    });
}

/// What `verify` says of a file, and its exit code.
fn verdict(tally: &Tally, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = tally.run(&[&["verify"], arguments].concat());
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_partner_follows_a_rotation_and_proofs_say_which_key_signed_them() {
    let desk = Desk::new();
    let (one, two, three) = (desk.stick("one"), desk.stick("two"), desk.stick("three"));
    let mut ash = Tally::init(&[
        "--name",
        "Ash Council",
        "--network",
        "test",
        "--controllers",
        &one,
        "--next-controllers",
        &two,
    ]);
    let mut oak = Tally::init(&["--name", "Oak Council", "--network", "test"]);
    let contract = desk.file("contract.json", CONTRACT);
    ash.start();
    oak.start();
    ash.befriend(&oak);
    let id = ash.authority();
    let reference = publish(&ash, &contract);
    replicated(&oak, &id, 0, 2);
    let old = desk.path("old.proof");
    oak.ok(&["prove", &reference, "-o", &old]);
    publish(&ash, &contract);
    replicated(&oak, &id, 0, 3);
    let newest = desk.path("newest.proof");
    oak.ok(&["prove", &reference, "-o", &newest]);

    ash.kill();
    ash.ok(&["key", "rotate", "--with", &key_on(&two), "--next-controllers", &three]);
    ash.start();
    publish(&ash, &contract);
    // The rotation and what came after it, under the new key.
    replicated(&oak, &id, 0, 5);
    assert_eq!(ash.heads(), oak.heads());
    let fresh = desk.path("fresh.proof");
    oak.ok(&["prove", &reference, "-o", &fresh]);
    let card = desk.file("ash.card", &ash.card());
    for (file, verified, key) in [
        (&fresh, true, "current"),
        // Made under the very head that was pinned.
        (&newest, true, "retired, proven"),
        (&old, false, "retired, refresh needed"),
    ] {
        let (said, code) = verdict(&oak, &[file, "--card", &card]);
        assert_eq!((&said["verified"], &said["key"]), (&verified.into(), &key.into()), "{said}");
        assert_eq!(code, Some(i32::from(!verified)), "{said}");
    }
    // Whoever knows of no rotation cannot tell.
    assert_eq!(verdict(&oak, &[&old]).0["key"], "current");
    let (other, code) = verdict(&oak, &[&fresh, "--card", &desk.file("oak.card", &oak.card())]);
    assert_eq!((&other["verified"], code), (&false.into(), Some(1)), "{other}");

    // Both go on after a restart.
    oak.kill();
    oak.start();
    ash.kill();
    ash.start();
    // On new ports, of which their new cards tell; Ash's has the rotation in it.
    ash.befriend(&oak);
    publish(&oak, &contract);
    let _reference = publish(&ash, &contract);
    replicated(&oak, &id, 0, 6);
    replicated(&ash, &oak.authority(), 0, 2);
}
