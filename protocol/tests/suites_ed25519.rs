//! Every verdict of key and signature checks on three published suites, pinned.
//!
//! A key must load ([`PublicKey::ed25519`]) and the signature must pass
//! `verify_strict`. If an upgrade changes one verdict, one of these fails: two
//! nodes that disagree on a signature would disagree on a log.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod shared_data;

use serde_json::Value;
use shared_data::{hex, json, suite};
use tallystick_protocol::key::PublicKey;

fn accepts(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = key.try_into().ok().and_then(|key| PublicKey::ed25519(key).ok());
    key.is_some_and(|key| key.verify(message, signature).is_ok())
}

#[test]
fn wycheproof_verdicts_are_the_suites_own() {
    let Some(dir) = suite("wycheproof") else { return };
    let file = json(&dir.join("ed25519_test.json"));
    let (mut valid, mut invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = hex(&group["publicKey"]["pk"]);
        for test in group["tests"].as_array().unwrap() {
            let accepted = accepts(&key, &hex(&test["msg"]), &hex(&test["sig"]));
            assert_eq!(accepted, test["result"] == "valid", "case {}", test["tcId"]);
            if accepted { valid += 1 } else { invalid += 1 }
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// The only case of twelve with a sound key, a canonical signature, and an
/// equation that holds without the cofactor.
const SPECCHECK_ACCEPTED: [usize; 1] = [3];

#[test]
fn speccheck_verdicts_are_pinned() {
    let Some(dir) = suite("ed25519-speccheck") else { return };
    let cases = json(&dir.join("cases.json"));
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 12);
    let accepted: Vec<usize> = (0..cases.len())
        .filter(|at| {
            let case = &cases[*at];
            accepts(&hex(&case["pub_key"]), &hex(&case["message"]), &hex(&case["signature"]))
        })
        .collect();
    assert_eq!(accepted, SPECCHECK_ACCEPTED);
}

/// Numbers of the CCTV vectors that are accepted.
const CCTV_ACCEPTED: [u64; 43] = [
    7, 29, 50, 117, 139, 161, 182, 249, 305, 411, 425, 438, 465, 473, 481, 489, 497, 511, 525, 538,
    565, 573, 581, 589, 597, 611, 625, 638, 665, 673, 681, 689, 697, 711, 725, 738, 765, 773, 781,
    789, 797, 832, 899,
];

/// What is refused whatever else holds: points of small order, second
/// spellings, and equations that hold with the cofactor only.
const CCTV_REFUSED_FLAGS: [&str; 5] =
    ["low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"];

#[test]
fn cctv_verdicts_are_pinned_and_follow_from_the_flags() {
    let Some(dir) = suite("cctv-ed25519") else { return };
    let cases = json(&dir.join("ed25519vectors.json"));
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 914);
    let mut accepted = Vec::new();
    for case in cases {
        let message = case["msg"].as_str().unwrap().as_bytes();
        let verdict = accepts(&hex(&case["key"]), message, &hex(&case["sig"]));
        let flags: Vec<&str> =
            case["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let refused = flags.iter().any(|flag| CCTV_REFUSED_FLAGS.contains(flag));
        assert_eq!(verdict, !refused, "case {}: {flags:?}", case["number"]);
        if verdict {
            accepted.push(case["number"].as_u64().unwrap());
        }
    }
    assert_eq!(accepted, CCTV_ACCEPTED);
}
