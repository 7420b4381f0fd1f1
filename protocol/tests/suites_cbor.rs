//! The strict decoder against all examples of RFC 8949 Appendix A.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod shared_data;

use shared_data::{hex, json, suite};
use tallystick_protocol::cbor;

/// Positions of the examples that the format allows. The others are floats (18 to
/// 39), tags (11, 13, 47 to 52), undefined and other simple values (43 to 46),
/// and indefinite lengths (71 to 81).
const ACCEPTED: [core::ops::RangeInclusive<usize>; 5] =
    [0..=10, 12..=12, 14..=17, 40..=42, 53..=70];

#[test]
fn exactly_the_deterministic_plain_examples_are_accepted() {
    let Some(dir) = suite("cbor-appendix-a") else { return };
    let examples = json(&dir.join("appendix_a.json"));
    let examples = examples.as_array().unwrap();
    assert_eq!(examples.len(), 82);
    let mut accepted = 0;
    for (at, example) in examples.iter().enumerate() {
        let bytes = hex(&example["hex"]);
        let expected = ACCEPTED.iter().any(|range| range.contains(&at));
        let verdict = cbor::check(&bytes);
        assert_eq!(verdict.is_ok(), expected, "{at}: {} gives {verdict:?}", example["hex"]);
        let value = cbor::decode::<ciborium::Value>(&bytes);
        assert_eq!(value.is_ok(), expected, "{at}: {}", example["hex"]);
        if let Ok(value) = value {
            accepted += 1;
            assert_eq!(cbor::encode_value(value).unwrap(), bytes, "{at}");
            // A generic encoder would write the same bytes: nothing odd is let through.
            assert_eq!(example["roundtrip"], true, "{at}");
        }
    }
    assert_eq!(accepted, 37);
}
