//! Third-party test suites, read from where they lie; none of them is copied here.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "support of tests; each test binary uses a part"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The directory of a suite; `None`, said on stderr, where the data is not
/// installed. Continuous integration has it, so there its absence is a failure.
pub(crate) fn suite(name: &str) -> Option<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/suites");
    let path = Path::new(root).join(name);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "no test data at {}", path.display());
    eprintln!("skipped: no test data at {}", path.display());
    None
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Bytes from hexadecimal text.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(byte).collect()
}

/// All JSON files below a directory, in a fixed order.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let all = entries.into_iter().flat_map(below);
    all.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}
