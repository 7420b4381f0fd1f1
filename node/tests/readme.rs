//! The README's commands, run as they stand there.
//!
//! All `sh` blocks of one section make one script. Around `tally` is a wrapper
//! that has the patience of a person: it asks again while a node is starting
//! (exit code 3) or something has not arrived yet, and lets the system choose
//! the ports, so that tests can run beside each other.
#![cfg(unix)]
// clippy.toml exempts test functions, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::Command;

const SECTION: &str = "## A real node with a partner";

const WRAPPER: &str = r#"
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT
unset TALLY_DATA
tally() {
    case " $* " in
        *" run "*)
            # In place of the subshell, so that stopping it stops the node.
            exec "$TALLY" "${@//\/tcp\/48[0-9][0-9]//tcp/0}" >>nodes.out 2>>nodes.err ;;
    esac
    if [ "$1" = --data ] && [ "$3" != init ]; then
        # A person types slower than a node starts.
        for _ in $(seq 300); do [ -e "$2/api.addr" ] || sleep 0.1; done
    fi
    local status tries=0
    while true; do
        status=0
        "$TALLY" "$@" >answer.out 2>answer.err || status=$?
        if [ "$status" = 0 ] && ! grep -q '^Nothing found' answer.out; then break; fi
        tries=$((tries + 1))
        # What was typed wrongly stays wrong.
        if [ "$status" = 2 ] || [ "$tries" -gt 300 ]; then
            echo "failed ($status): tally $*" >&2
            cat answer.out answer.err >&2
            return 1
        fi
        sleep 0.1
    done
    printf '$ tally %s\n' "$*" >>transcript
    cat answer.out >>transcript
    cat answer.out
}
"#;

/// The lines of all fenced `sh` blocks of the section.
fn commands(readme: &str) -> String {
    let section = readme.split(SECTION).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn a_real_node_with_a_partner_works_as_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let script = commands(&readme);
    assert!(script.lines().count() > 15, "{script}");
    let dir = tempfile::tempdir().unwrap();
    let ran = Command::new("bash")
        .args(["-c", &format!("{WRAPPER}\n{script}")])
        .env("TALLY", env!("CARGO_BIN_EXE_tally"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let transcript = read("transcript");
    assert!(
        ran.status.success(),
        "{}\n{transcript}\n{}\n{}",
        String::from_utf8_lossy(&ran.stderr),
        read("nodes.out"),
        read("nodes.err"),
    );
    for promised in [
        "2 rows: 2 stored, 0 changed, 0 unchanged, 0 kept as references, 0 refused",
        "Ash Borough Council is a partner now",
        "1 record found",
        "Quillfield Systems Ltd",
        "Identity self-asserted",
        "VERIFIED: housing.proof",
    ] {
        assert!(transcript.contains(promised), "{promised:?} is not in\n{transcript}");
    }
    assert!(!transcript.contains("NOT VERIFIED"), "{transcript}");
}

#[test]
fn the_readme_begins_with_exactly_two_commands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let beginning = readme.split(SECTION).next().unwrap();
    let blocks = beginning.split("```sh\n").skip(1);
    let commands: Vec<_> = blocks.map(|block| block.split("\n```").next().unwrap()).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "cargo test --workspace"]);
}
