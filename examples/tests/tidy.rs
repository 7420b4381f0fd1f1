//! The layout rules of the repository, as a test.
//!
//! What a linter does not know: every module says what it is for, files stay
//! readable, the protocol stays pure, the top level holds what
//! `ARCHITECTURE.md` explains and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a file, its unit tests not counted.
const MOST_LINES: usize = 900;

/// All that may stand at the top level; `.git` and `target` are not committed.
const TOP_LEVEL: [&str; 19] = [
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "examples",
    "node",
    "protocol",
    "rustfmt.toml",
    "target",
];

/// Names that say nothing about what a module knows.
const FORBIDDEN_MODULES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "util", "utilities", "utils"];

/// What would bring input, output, time or chance into the protocol.
const IMPURE: [&str; 10] = [
    "getrandom",
    "jiff",
    "libp2p",
    "rand",
    "reqwest",
    "sled",
    "socket2",
    "tempfile",
    "tokio",
    "tracing-subscriber",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files below `dir`, without build output.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = |path: PathBuf| {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path)
        } else if path.extension().is_some_and(|end| end == "rs") {
            vec![path]
        } else {
            Vec::new()
        }
    };
    paths.into_iter().flat_map(below).collect()
}

fn all_files() -> Vec<PathBuf> {
    let packages = ["protocol", "node", "examples"];
    let files: Vec<_> =
        packages.iter().flat_map(|package| rust_files(&root().join(package))).collect();
    assert!(files.len() > 20, "the search found only {} files", files.len());
    files
}

/// Fails with all findings at once.
fn none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        (!text.starts_with("//! ")).then(|| shown(path))
    };
    let findings: Vec<_> = all_files().iter().filter_map(silent).collect();
    none(&findings, "these files do not open with `//! `");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        let source = path.components().any(|part| part.as_os_str() == "src");
        (source && lines > MOST_LINES).then(|| format!("{} has {lines} lines", shown(path)))
    };
    let findings: Vec<_> = all_files().iter().filter_map(long).collect();
    none(&findings, "split these files by the state they own");
}

#[test]
fn modules_are_named_after_what_they_know() {
    let vague = |path: &PathBuf| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let vague = |name: &str| FORBIDDEN_MODULES.contains(&name);
        (vague(name) || folder.is_some_and(vague)).then(|| shown(path))
    };
    let findings: Vec<_> = all_files().iter().filter_map(vague).collect();
    none(&findings, "these names say nothing");
}

#[test]
fn the_protocol_has_no_unordered_collections() {
    let mut findings = Vec::new();
    for path in rust_files(&root().join("protocol")) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if code.contains("HashMap") || code.contains("HashSet") {
                findings.push(format!("{}:{}", shown(&path), number + 1));
            }
        }
    }
    none(&findings, "iteration order would differ from run to run");
}

#[test]
fn the_protocol_depends_on_nothing_impure() {
    let manifest = fs::read_to_string(root().join("protocol/Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies.lines().filter(|line| !line.starts_with('#'));
    let names = names.filter_map(|line| line.split(['.', ' ', '=']).next());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.contains(&"ed25519-dalek"), "{names:?}");
    let impure: Vec<_> = names
        .iter()
        .filter(|name| IMPURE.contains(name) || **name == "tallystick-node")
        .map(|name| (*name).to_owned())
        .collect();
    none(&impure, "the protocol has no input, output, clock or chance");
    // Three of them seal what groups share: hpke, hkdf and chacha20poly1305.
    assert!(names.len() <= 14, "the protocol has {} direct dependencies, not 14", names.len());
}

#[test]
fn the_top_level_holds_only_what_is_explained() {
    let entries = fs::read_dir(root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strange: Vec<_> = names.filter(|name| !TOP_LEVEL.contains(&name.as_str())).collect();
    none(&strange, "these do not belong at the top level");
}
