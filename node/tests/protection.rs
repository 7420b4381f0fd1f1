//! Working keys under a passphrase, with real processes: from `tally init` or
//! `tally key protect` on, over starts, rotations and recoveries.
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
use std::process::Stdio;

use process::{Tally, comes, files_with, total};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery";
const GROUP: &str = "Seven Boroughs";
const CONTRACT: &str = r#"{ "title": "Zephyr haulage", "cpv": "60000000" }"#;

/// A file beside the data directory that only its owner may read.
fn file(tally: &Tally, name: &str, content: &str) -> String {
    let path = tally.dir.path().join(name);
    fs::write(&path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// What systemd makes of `LoadCredentialEncrypted=tallystick-passphrase`.
fn credentials(tally: &Tally, passphrase: &str) -> PathBuf {
    let dir = tally.dir.path().join("credentials");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("tallystick-passphrase");
    let _old = fs::remove_file(&path);
    fs::write(&path, passphrase).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The mask of its access control list shows as rights of the group.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    }
    dir
}

/// What a command that must fail with this exit code says.
fn fails(tally: &Tally, code: i32, arguments: &[&str]) -> String {
    let output = tally.command(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn run(tally: &Tally, further: &[&str]) -> String {
    let listen = ["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"];
    fails(tally, 2, &[&listen, further].concat())
}

/// The files of working keys and whether each is under a passphrase.
fn working(tally: &Tally) -> Vec<(String, bool)> {
    let shown = tally.ok(&["key", "show"]);
    assert_eq!(shown["workingKeys"], true);
    let file = |file: &Value| {
        let path = Path::new(file["file"].as_str().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, file["encrypted"].as_bool().unwrap())
    };
    shown["workingFiles"].as_array().unwrap().iter().map(file).collect()
}

#[track_caller]
fn all_protected(tally: &Tally, count: usize) {
    let files = working(tally);
    assert_eq!(files.len(), count, "{files:?}");
    assert!(files.iter().all(|(_, encrypted)| *encrypted), "{files:?}");
    for role in ["log", "witness", "node", "sealing"] {
        let plain = format!("tallystick-secret-v1 {role}");
        let found = files_with(&tally.data(), plain.as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }
    only_for_the_owner(&tally.data().join("keys"));
}

#[track_caller]
fn only_for_the_owner(dir: &Path) {
    #[cfg(unix)]
    for entry in fs::read_dir(dir).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let _ = dir;
}

fn share(tally: &Tally) -> String {
    let contract = file(tally, "contract.json", CONTRACT);
    let published = tally.ok(&["publish", "contract", &contract, "--into", GROUP]);
    published["ref"].as_str().unwrap().to_owned()
}

/// The node reads this record of its group.
fn reads(tally: &Tally, reference: &str, all: u64) {
    let shown = tally.ok(&["show", reference]);
    assert_eq!((&shown["title"], &shown["group"]), (&"Zephyr haulage".into(), &GROUP.into()));
    comes("the search index", || total(tally, "Zephyr") == all);
    assert_eq!(tally.ok(&["status"])["heldBack"].as_u64().unwrap_or(0), 0);
}

/// A council with a group of its own, in which one record was shared.
fn council() -> (Tally, String) {
    let mut ash = Tally::init(&["--name", "Ash Council", "--network", "test"]);
    only_for_the_owner(&ash.data().join("keys"));
    let terms = file(&ash, "terms.txt", "What is shared here stays here.\n");
    ash.start();
    ash.ok(&["group", "create", GROUP, "--terms", &terms]);
    let reference = share(&ash);
    ash.kill();
    (ash, reference)
}

#[test]
fn a_protected_node_starts_with_a_credential_and_reads_its_group_and_not_without() {
    let (mut ash, first) = council();
    let phrase = file(&ash, "phrase", &format!("{PASSPHRASE}\n"));
    assert!(working(&ash).iter().all(|(_, encrypted)| !encrypted));
    let protected = ash.ok(&["key", "protect", "--passphrase-file", &phrase]);
    assert_eq!(protected["protected"], true);
    assert_eq!(protected["changed"].as_array().unwrap().len(), 4);
    all_protected(&ash, 4);

    let said = run(&ash, &[]);
    assert!(said.contains("no passphrase is given"), "{said}");
    assert!(said.contains("--passphrase-file") && said.contains("tallystick-passphrase"), "{said}");
    let wrong = file(&ash, "wrong", "correct horse\n");
    let said = run(&ash, &["--passphrase-file", &wrong]);
    assert!(said.contains("does not open"), "{said}");
    assert!(!said.contains("correct"), "{said}");
    ash.credentials = Some(credentials(&ash, "something else"));
    let said = run(&ash, &[]);
    assert!(said.contains("does not open"), "{said}");
    ash.credentials = Some(ash.dir.path().to_owned());
    let said = run(&ash, &[]);
    assert!(said.contains("no passphrase is given"), "{said}");

    ash.credentials = Some(credentials(&ash, PASSPHRASE));
    ash.start();
    reads(&ash, &first, 1);
    let second = share(&ash);
    reads(&ash, &second, 2);
    let log = ash.log();
    assert!(!log.contains("correct") && !log.contains(PASSPHRASE), "{log}");
    assert!(files_with(&ash.data(), PASSPHRASE.as_bytes()).is_empty());
    ash.kill();

    ash.credentials = None;
    ash.start_with(&["--passphrase-file", &phrase]);
    reads(&ash, &second, 2);
    ash.kill();
    let said = fails(&ash, 2, &["key", "protect", "--remove", "--passphrase-file", &wrong]);
    assert!(said.contains("does not open"), "{said}");
    all_protected(&ash, 4);
    let removed = ash.ok(&["key", "protect", "--remove", "--passphrase-file", &phrase]);
    assert_eq!(removed["protected"], false);
    only_for_the_owner(&ash.data().join("keys"));
    ash.start();
    reads(&ash, &first, 2);
}

#[test]
fn rotation_and_recovery_keep_the_protection_and_what_was_sealed_before_is_read() {
    let (mut ash, first) = council();
    let phrase = file(&ash, "phrase", PASSPHRASE);
    ash.ok(&["key", "protect", "--passphrase-file", &phrase]);
    let sticks = ["one", "two"].map(|name| ash.dir.path().join(name));
    sticks.iter().for_each(|stick| fs::create_dir(stick).unwrap());
    let [one, two] = sticks.each_ref().map(|stick| stick.to_str().unwrap());
    let rotate = ["key", "rotate", "--sealing", "--log", "--next-controllers", one];
    let said = fails(&ash, 2, &rotate);
    assert!(said.contains("--node-passphrase-file"), "{said}");
    assert_eq!(fs::read_dir(one).unwrap().count(), 0, "nothing was made yet");
    let given = ["--node-passphrase-file", &phrase];
    ash.ok(&[&rotate, &given[..]].concat());
    all_protected(&ash, 5);
    ash.start_with(&["--passphrase-file", &phrase]);
    reads(&ash, &first, 1);
    ash.kill();

    let next = fs::read_dir(one).unwrap().next().unwrap().unwrap().path();
    let recover = ["--yes", "key", "recover", "--with", next.to_str().unwrap()];
    let further = ["--next-controllers", two];
    let said = fails(&ash, 2, &[&recover[..], &further].concat());
    assert!(said.contains("--node-passphrase-file"), "{said}");
    ash.ok(&[&recover[..], &further, &given].concat());
    all_protected(&ash, 6);
    ash.start_with(&["--passphrase-file", &phrase]);
    reads(&ash, &first, 1);
}

#[test]
fn an_authority_is_protected_from_the_start() {
    let mut ash = Tally::bare();
    let phrase = file(&ash, "phrase", PASSPHRASE);
    let init = ["init", "--name", "Ash Council", "--network", "test", "--protect"];
    let said = fails(&ash, 2, &init);
    assert!(said.contains("--node-passphrase-file"), "{said}");
    assert!(!ash.data().exists(), "nothing was made yet");
    let made = ash.ok(&[&init[..], &["--node-passphrase-file", &phrase]].concat());
    assert_eq!(made["protected"], true);
    all_protected(&ash, 4);
    let said = fails(&ash, 2, &["whoami"]);
    assert!(said.contains("--passphrase-file"), "{said}");
    let card = ash.ok(&["whoami", "--passphrase-file", &phrase]);
    assert_eq!(card["authority"], made["authority"]);
    ash.start_with(&["--passphrase-file", &phrase]);
    assert_eq!(ash.ok(&["whoami"])["authority"], made["authority"]);
}
