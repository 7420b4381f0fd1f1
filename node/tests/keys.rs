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

/// An authority whose two controller keys lie on sticks, under a passphrase.
struct Sticks {
    desk: Desk,
    ash: Tally,
    phrase: String,
    contract: String,
    one: String,
    two: String,
}

impl Sticks {
    fn new() -> Self {
        let desk = Desk::new();
        let (one, two) = (desk.stick("one"), desk.stick("two"));
        let phrase = desk.file("phrase", "correct horse battery\n");
        let ash = Tally::init(&[
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
        let contract = desk.file("contract.json", CONTRACT);
        Self { desk, ash, phrase, contract, one, two }
    }

    /// The arguments of a rotation by the key on `stick`, the next one going to `next`.
    fn rotate<'a>(&'a self, with: &'a str, phrase: &'a str, next: &'a str) -> [&'a str; 8] {
        ["key", "rotate", "--with", with, "--passphrase-file", phrase, "--next-controllers", next]
    }
}

#[test]
fn only_the_committed_key_rotates_and_only_while_the_node_is_stopped() {
    let mut sticks = Sticks::new();
    assert!(!contains_secret(&sticks.ash.data().join("keys")));
    let three = sticks.desk.stick("three");
    let (today, next) = (key_on(&sticks.one), key_on(&sticks.two));
    sticks.ash.start();
    let running = fails(&sticks.ash, 3, &sticks.rotate(&next, &sticks.phrase, &three));
    assert!(running.contains("the node is running"), "{running}");
    sticks.ash.kill();
    // The key of today rotates nothing, nor does the wrong passphrase.
    let refused = fails(&sticks.ash, 2, &sticks.rotate(&today, &sticks.phrase, &three));
    assert!(refused.contains("committed to as the next"), "{refused}");
    assert_eq!(fs::read_dir(&three).unwrap().count(), 0, "nothing was made yet");
    let wrong = sticks.desk.file("wrong", "wrong\n");
    let refused = fails(&sticks.ash, 2, &sticks.rotate(&next, &wrong, &three));
    assert!(refused.contains("does not open"), "{refused}");
    assert_eq!(fs::read_dir(&three).unwrap().count(), 0, "nothing was made yet");
    let shown = sticks.ash.ok(&["key", "show", &sticks.one, &sticks.two]);
    assert_eq!((&shown["sequence"], &shown["waiting"]), (&0.into(), &Value::Null));
    assert_eq!(shown["next"]["keys"][0]["found"]["encrypted"], true);
    assert_eq!(shown["controllers"]["keys"][0]["found"]["onThisMachine"], false);
    sticks.ash.start();
}

#[test]
fn a_rotation_becomes_an_entry_of_the_log_once() {
    let mut sticks = Sticks::new();
    let (three, four) = (sticks.desk.stick("three"), sticks.desk.stick("four"));
    sticks.ash.start();
    let first = publish(&sticks.ash, &sticks.contract);
    sticks.ash.kill();
    let before = sticks.ash.ok(&["key", "show"]);
    let next = key_on(&sticks.two);
    let rotated = sticks.ash.ok(&sticks.rotate(&next, &sticks.phrase, &three));
    assert_eq!((&rotated["type"], &rotated["applied"]), (&"rotation".into(), &true.into()));
    assert_eq!(rotated["pin"]["size"], 2);
    let after = sticks.ash.ok(&["key", "show"]);
    assert_ne!(after["log"], before["log"]);
    assert_ne!(after["witness"], before["witness"]);
    assert_eq!(after["nodes"], before["nodes"]);
    assert_eq!(after["events"][1]["type"], "rotation");

    // It is an entry of the log, under the new key.
    sticks.ash.start();
    signed(&sticks.ash, 0, 3);
    publish(&sticks.ash, &sticks.contract);
    let proof = sticks.desk.path("first.proof");
    sticks.ash.ok(&["prove", &first, "-o", &proof]);
    let said = sticks.ash.ok(&["verify", &proof]);
    assert_eq!((&said["verified"], &said["key"]), (&true.into(), &"current".into()));
    sticks.ash.kill();
    // Started again, nothing is appended once more.
    sticks.ash.start();
    let size = own_log(&sticks.ash, 0).unwrap().0;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(own_log(&sticks.ash, 0), Some((size, size)));
    sticks.ash.kill();
    let last = key_on(&three);
    sticks.ash.ok(&[&sticks.rotate(&last, &sticks.phrase, &four)[..], &["--node"]].concat());
    sticks.ash.start();
    signed(&sticks.ash, 0, size + 1);
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
    let disowned = publish(&ash, &forged);
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
    // What stands of the closed log is proved under its key, and nothing else is.
    let proof = desk.path("sound.proof");
    ash.ok(&["prove", &sound, "-o", &proof]);
    assert_eq!(ash.ok(&["verify", &proof])["key"], "retired, proven");
    let disowned = fails(&ash, 1, &["prove", &disowned, "-o", &proof]);
    assert!(!disowned.is_empty());
    let (sound_log, after) = (held(&ash, &ash.authority(), 0), own_log(&ash, 1));
    ash.kill();
    ash.start();
    assert_eq!((held(&ash, &ash.authority(), 0), own_log(&ash, 1)), (sound_log, after));
}

/// Six people with a controller key each, who work at machines of their own.
struct People {
    desk: Desk,
    machine: Tally,
    phrase: String,
    /// File and public key of each.
    keys: Vec<(String, String)>,
}

impl People {
    fn new() -> Self {
        let desk = Desk::new();
        let phrase = desk.file("phrase", "correct horse battery\n");
        let mut people = Self { desk, machine: Tally::bare(), phrase, keys: Vec::new() };
        people.keys = ["a", "b", "c", "d", "e", "f"].map(|name| people.key(name)).into();
        people
    }

    fn key(&self, name: &str) -> (String, String) {
        let file = self.desk.path(name);
        let made = self.machine.ok(&["key", "new", &file, "--passphrase-file", &self.phrase]);
        (file, made["public"].as_str().unwrap().to_owned())
    }

    fn public(&self, person: usize) -> &str {
        &self.keys[person].1
    }

    fn sign(&self, file: &str, person: usize) -> Value {
        let with = &self.keys[person].0;
        let phrase = ["--passphrase-file", &self.phrase, "--yes"];
        self.machine.ok(&[&["key", "sign", file, "--with", with], &phrase[..]].concat())
    }

    /// The first three control an authority, two at a time; the others come next.
    fn draft(&self, draft: &str) -> Tally {
        Tally::init(&[
            "--name",
            "Ash Council",
            "--network",
            "test",
            "--threshold",
            "2",
            "--controller",
            self.public(0),
            "--controller",
            self.public(1),
            "--controller",
            self.public(2),
            "--next-threshold",
            "2",
            "--next-controller",
            self.public(3),
            "--next-controller",
            self.public(4),
            "--next-controller",
            self.public(5),
            "-o",
            draft,
        ])
    }

    fn found(&self) -> Tally {
        let draft = self.desk.path("inception.draft");
        let ash = self.draft(&draft);
        self.sign(&draft, 0);
        self.sign(&draft, 1);
        ash.ok(&["key", "apply", &draft]);
        ash
    }
}

#[test]
fn several_people_found_an_authority() {
    let people = People::new();
    let draft = people.desk.path("inception.draft");
    let ash = people.draft(&draft);
    fails(&ash, 3, &["key", "show"]);
    let missing = fails(&ash, 1, &["key", "apply", &draft]);
    assert!(missing.contains("2 signatures missing"), "{missing}");
    // Two of them sign copies at the same time.
    let copy = people.desk.path("copy.draft");
    fs::copy(&draft, &copy).unwrap();
    assert_eq!(people.sign(&draft, 2)["missing"], 1);
    assert_eq!(people.sign(&copy, 0)["missing"], 1);
    let stranger = ["key", "sign", &draft, "--with", &people.keys[4].0, "--yes"];
    let stranger = fails(&people.machine, 2, &stranger);
    assert!(stranger.contains("not a key that can sign"), "{stranger}");
    // Nobody signs unasked.
    let unasked = ["key", "sign", &draft, "--with", &people.keys[1].0];
    let unasked = fails(&people.machine, 2, &unasked);
    assert!(unasked.contains("Ash Council") && unasked.contains("make a new authority"));
    assert_eq!(ash.ok(&["key", "apply", &draft, &copy])["applied"], true);
    let shown = ash.ok(&["key", "show"]);
    assert_eq!(shown["controllers"]["threshold"], 2);
    assert_eq!(shown["controllers"]["keys"].as_array().unwrap().len(), 3);
}

#[test]
fn several_people_rotate_while_the_node_goes_on() {
    let people = People::new();
    let mut ash = people.found();
    let contract = people.desk.file("contract.json", CONTRACT);
    ash.start();
    publish(&ash, &contract);
    ash.kill();
    // One of the three keys is lost; two are enough.
    let (g, h) = (people.key("g"), people.key("h"));
    let change = people.desk.path("rotation.draft");
    let made = ash.ok(&[
        "key",
        "rotate",
        "--controller",
        people.public(5),
        "--controller",
        people.public(3),
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
    people.sign(&change, 3);
    people.sign(&change, 5);
    let applied = ash.ok(&["key", "apply", &change]);
    assert_eq!((&applied["applied"], &applied["signedSince"]), (&true.into(), &1.into()));
    let again = fails(&ash, 2, &["key", "apply", &change]);
    assert!(again.contains("in force already"), "{again}");
    ash.start();
    signed(&ash, 0, 4);
}

#[test]
fn the_current_controllers_describe_the_authority_and_may_think_better_of_it() {
    let people = People::new();
    let ash = people.found();
    let profile = people.desk.path("profile.draft");
    let rename = [
        "key",
        "profile",
        "--name",
        "Ash City Council",
        "--with",
        &people.keys[2].0,
        "--passphrase-file",
        &people.phrase,
        "-o",
        &profile,
    ];
    assert_eq!(ash.ok(&rename)["missing"], 1);
    ash.ok(&["key", "discard"]);
    assert!(ash.ok(&["key", "show"])["waiting"].is_null());
    // Another change in its place is asked about first.
    ash.ok(&rename);
    let asked = fails(&ash, 2, &rename);
    assert!(asked.contains("waits for signatures"), "{asked}");
    people.sign(&profile, 0);
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

    // With a new node key Ash is a stranger, until Oak has seen the card it hands in.
    let four = desk.stick("four");
    ash.kill();
    ash.ok(&["key", "rotate", "--node", "--with", &key_on(&three), "--next-controllers", &four]);
    ash.start();
    publish(&ash, &contract);
    eventually(PATIENCE, "the log under the new node key", || match held(&oak, &id, 0) {
        Some((8, 8)) => Ok(()),
        found => Err(format!("{found:?}\nash: {}\noak: {}", ash.log(), oak.log())),
    });
    let partners = oak.ok(&["partner", "list"]);
    assert_eq!(partners["partners"].as_array().unwrap().len(), 1, "{partners}");
}

#[test]
fn a_partner_follows_a_recovery_and_lets_go_of_what_is_disowned() {
    let mut sticks = Sticks::new();
    let three = sticks.desk.stick("three");
    let mut oak = Tally::init(&["--name", "Oak Council", "--network", "test"]);
    let forged =
        sticks.desk.file("forged.json", r#"{ "title": "Forged paving", "cpv": "45000000" }"#);
    sticks.ash.start();
    oak.start();
    sticks.ash.befriend(&oak);
    let id = sticks.ash.authority();
    let sound = publish(&sticks.ash, &sticks.contract);
    let disowned = publish(&sticks.ash, &forged);
    replicated(&oak, &id, 0, 3);
    let stolen = sticks.desk.path("stolen.proof");
    oak.ok(&["prove", &disowned, "-o", &stolen]);

    sticks.ash.kill();
    let with = key_on(&sticks.two);
    let recovered = sticks.ash.ok(&[
        "key",
        "recover",
        "--at",
        "2",
        "--with",
        &with,
        "--passphrase-file",
        &sticks.phrase,
        "--next-controllers",
        &three,
        "--yes",
    ]);
    assert_eq!(recovered["disowned"], 1);
    sticks.ash.start();
    publish(&sticks.ash, &sticks.contract);
    // Both hold the closed log up to where it was sound, and the new one.
    replicated(&oak, &id, 1, 2);
    replicated(&oak, &id, 0, 2);
    signed(&sticks.ash, 0, 2);
    eventually(PATIENCE, "the forged record is gone", || {
        match oak.ok(&["search", "paving"])["total"].as_u64() {
            Some(0) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
    let proof = sticks.desk.path("sound.proof");
    for holder in [&sticks.ash, &oak] {
        holder.ok(&["prove", &sound, "-o", &proof]);
        assert_eq!(holder.ok(&["verify", &proof])["key"], "retired, proven");
    }
    fails(&oak, 1, &["prove", &disowned, "-o", &proof]);
    let card = sticks.desk.file("ash.card", &sticks.ash.card());
    let (said, code) = verdict(&oak, &[&stolen, "--card", &card]);
    assert_eq!((&said["key"], code), (&"retired, disowned".into(), Some(1)), "{said}");
}
