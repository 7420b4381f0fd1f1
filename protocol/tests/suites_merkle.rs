//! Log proofs against the published RFC 6962 suite: 518 good and damaged proofs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod shared_data;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use shared_data::{files, json, suite};
use tallystick_protocol::id::Hash;
use tallystick_protocol::log::{verify_consistency, verify_inclusion};

/// Cases whose roots are not hashes at all (12 bytes). The suite compares them
/// as strings; here they do not even become a [`Hash`], so they are refused.
const NO_HASHES: [&str; 2] = [
    "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json",
    "subtreeconsistency/additional/sizes-are-equal-one-and-proof-is-empty.json",
];

fn hash(value: &Value) -> Option<Hash> {
    let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    Hash::try_from(bytes.as_slice()).ok()
}

fn proof(case: &Value) -> Option<Vec<Hash>> {
    case["proof"].as_array().into_iter().flatten().map(hash).collect()
}

fn number(case: &Value, key: &str) -> u64 {
    case[key].as_u64().unwrap()
}

fn inclusion(case: &Value, index: u64, size: u64) -> Option<()> {
    let (leaf, root) = (hash(&case["leafHash"])?, hash(&case["root"])?);
    verify_inclusion(&leaf, index, size, &proof(case)?, &root).ok()
}

fn consistency(case: &Value, old: u64, new: u64) -> Option<()> {
    let (old_root, new_root) = (hash(&case["root1"])?, hash(&case["root2"])?);
    verify_consistency(old, &old_root, new, &new_root, &proof(case)?).ok()
}

/// Whether `start..end` is a node of a tree: only then is it a log of its own.
fn is_node(start: u64, end: u64) -> bool {
    let span = end.checked_sub(start).and_then(u64::checked_next_power_of_two);
    span.is_some_and(|span| start.is_multiple_of(span))
}

/// Runs the cases of one directory; gives how many agreed with a good and a bad verdict.
fn run(name: &str, verify: impl Fn(&Value) -> Option<bool>) -> Option<(usize, usize, usize)> {
    let root = suite("merkle-rfc6962")?;
    let (mut good, mut bad, mut skipped) = (0, 0, 0);
    for file in files(&root.join(name)) {
        let case = json(&file);
        let expected = !case["wantErr"].as_bool().unwrap();
        let label = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let Some(accepted) = verify(&case) else {
            skipped += 1;
            continue;
        };
        let expected = expected && !NO_HASHES.contains(&label.as_str());
        assert_eq!(accepted, expected, "{label}");
        if accepted { good += 1 } else { bad += 1 }
    }
    Some((good, bad, skipped))
}

#[test]
fn inclusion_verdicts_are_those_of_the_suite() {
    let verify = |case: &Value| {
        Some(inclusion(case, number(case, "leafIdx"), number(case, "treeSize")).is_some())
    };
    if let Some(counts) = run("inclusion", verify) {
        assert_eq!(counts, (6, 92, 0));
    }
}

#[test]
fn consistency_verdicts_are_those_of_the_suite() {
    let verify = |case: &Value| {
        Some(consistency(case, number(case, "size1"), number(case, "size2")).is_some())
    };
    if let Some(counts) = run("consistency", verify) {
        assert_eq!(counts, (5, 93, 0));
    }
}

#[test]
fn inclusion_in_a_subtree_is_inclusion_in_a_log_of_its_own() {
    let verify = |case: &Value| {
        let (index, start, end) =
            (number(case, "leafIdx"), number(case, "start"), number(case, "end"));
        let accepted = is_node(start, end)
            && index >= start
            && inclusion(case, index - start, end - start).is_some();
        Some(accepted)
    };
    if let Some(counts) = run("subtreeinclusion", verify) {
        assert_eq!(counts, (12, 192, 0));
    }
}

#[test]
fn consistency_of_a_subtree_from_the_start_is_consistency_of_a_log() {
    // Subtrees elsewhere and empty subtrees have no counterpart here.
    let verify = |case: &Value| {
        let (start, end) = (number(case, "start"), number(case, "end"));
        (start == 0 && end > 0).then(|| consistency(case, end, number(case, "size")).is_some())
    };
    if let Some(counts) = run("subtreeconsistency", verify) {
        assert_eq!(counts, (5, 86, 27));
    }
}
