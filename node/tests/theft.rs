//! `examples/rehearse-a-theft.sh`, run as a council runs it: a theft of the keys
//! with real processes, from the copied disk to the new generation. The script
//! checks what it claims; here it is only started, and bounded in time.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than it takes; what it waits for is bounded in the script, too.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn a_theft_is_detected_recovered_from_and_leaves_nothing_of_the_thief() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let file = File::create(&told).unwrap();
    let mut rehearsal = Command::new("sh")
        .arg(root.join("examples/rehearse-a-theft.sh"))
        .env("TALLY", env!("CARGO_BIN_EXE_tally"))
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = rehearsal.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            // Asked to end, it ends the nodes that it started; killed, it could not.
            let pid = rehearsal.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().unwrap();
            rehearsal.wait().unwrap();
            panic!("not over after {PATIENCE:?}:\n{}", std::fs::read_to_string(&told).unwrap());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let told = std::fs::read_to_string(&told).unwrap();
    assert!(status.success(), "{status}:\n{told}");
    assert!(told.contains("What the thief did is undone"), "it ended early:\n{told}");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 1, "it leaves nothing behind");
}
