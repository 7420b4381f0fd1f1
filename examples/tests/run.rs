//! Every example runs and says what its description promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use tallystick_examples::{two_councils, verify_offline, withhold_a_price};

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap()
}

#[test]
fn verify_offline_believes_what_was_signed_and_nothing_else() {
    let mut out = Vec::new();
    verify_offline::run(&mut out).unwrap();
    let text = text(out);
    assert!(text.contains("what   Housing system"), "{text}");
    assert!(text.contains("it is by Oak Borough Council"), "{text}");
}

#[test]
fn withhold_a_price_shows_the_rest() {
    let mut out = Vec::new();
    withhold_a_price::run(&mut out).unwrap();
    let text = text(out);
    assert!(text.contains("Quillfield Systems Ltd"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with(" withheld")).count(), 4, "{text}");
    assert!(!text.contains("1375"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_councils_find_each_others_contracts() {
    let dir = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    two_councils::run(dir.path(), &mut out).await.unwrap();
    let text = text(out);
    assert!(text.contains("Housing system, said by Ash Borough Council"), "{text}");
}
