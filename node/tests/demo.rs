//! `tally demo` as anybody starts it: everything it tells is checked by itself.
// clippy.toml exempts test functions, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn tally(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tally"))
        .args(arguments)
        .env_remove("TALLY_DATA")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_whole_story_holds_and_leaves_what_it_promised() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("federation");
    let ran = tally(&["--data", data.to_str().unwrap(), "--json", "demo", "--headless", "--exit"]);
    let (told, result) = (text(&ran.stderr), text(&ran.stdout));
    assert_eq!(ran.status.code(), Some(0), "{told}\n{result}");
    let result: Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["nodes"].as_array().unwrap().len(), 6);
    assert_eq!(result["offers"].as_array().unwrap().len(), 3);
    assert_eq!(result["spreadPercent"], 46);
    assert_eq!(result["kept"], true);
    for heading in ["Who is who", "What arrived where", "One comes late", "Proof", "In short"] {
        assert!(told.contains(heading), "{heading} is missing in\n{told}");
    }
    assert!(told.lines().all(|line| line.chars().count() <= 80 || line.starts_with("  /")));

    // The proof outlives the nodes, and says what the demo said of it.
    let proof = &result["proof"];
    let (file, authority) = (proof["file"].as_str().unwrap(), proof["authority"].as_str().unwrap());
    let verified = tally(&["--json", "verify", file, "--authority", authority]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    let verified: Value = serde_json::from_str(&text(&verified.stdout)).unwrap();
    assert_eq!(verified["identity"], "pinned");
    assert_eq!(verified["ref"], proof["ref"]);

    // A directory with something in it is never touched again.
    let again = tally(&["demo", "--headless", "--exit", "--data", data.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is not empty"));
    assert!(Path::new(file).exists());
}
