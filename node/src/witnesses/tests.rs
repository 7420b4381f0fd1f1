//! What is kept of cosignatures; asking for them over TLS is in `https`.

mod https;

use super::*;
use tallystick_protocol::checkpoint::{Checkpoint, Origin, sign, witness_key};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::leaf_hash;
use tallystick_protocol::time::UnixTime;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn witness(seed: u8) -> VerifierKey {
    let network = "made-up".parse().unwrap();
    witness_key(&network, &AuthorityId::from_bytes([seed; 32]), secret(seed).public())
}

fn log() -> LogId {
    LogId::public(AuthorityId::from_bytes([5; 32]), 0)
}

fn head(size: u64) -> VerifiedCheckpoint {
    let origin = Origin::of(&"made-up".parse().unwrap(), &log()).unwrap();
    sign(&Checkpoint::new(origin, size, leaf_hash(b"root")).unwrap(), &secret(1)).unwrap()
}

fn open(dir: &tempfile::TempDir, seeds: &[u8]) -> Witnesses {
    let outside = |seed: &u8| OutsideWitness { key: witness(*seed), url: "http://x".into() };
    let witnesses = seeds.iter().map(outside).collect();
    let file = dir.path().join(COSIGNATURES_FILE);
    Witnesses::open(log(), secret(1).public(), witnesses, None, file).unwrap()
}

fn cosign(witnesses: &Witnesses, head: &VerifiedCheckpoint, seed: u8) -> Result<(), AskError> {
    let time = UnixTime::from_seconds(9);
    let line = head.cosign(witness(seed).name(), &secret(seed), time).unwrap();
    witnesses.keep(head, line, &witness(seed))
}

#[test]
fn cosignatures_are_added_to_the_head_they_are_for_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let witnesses = open(&dir, &[2, 3]);
    let plain = head(7).to_bytes();
    assert_eq!(witnesses.add_to(&log(), plain.clone()), plain);
    cosign(&witnesses, &head(7), 2).unwrap();
    cosign(&witnesses, &head(7), 3).unwrap();
    for witnesses in [witnesses, open(&dir, &[2, 3])] {
        let note = witnesses.verify(&witnesses.add_to(&log(), plain.clone())).unwrap();
        assert_eq!(note.cosignatures().count(), 2);
        assert!(witnesses.is_cosigned_by(&head(7), &witness(3)));
        assert!(!witnesses.is_cosigned_by(&head(8), &witness(3)));
        // Not to another head, nor to another log.
        assert_eq!(witnesses.add_to(&log(), head(8).to_bytes()), head(8).to_bytes());
        let other = LogId::public(AuthorityId::from_bytes([6; 32]), 0);
        assert_eq!(witnesses.add_to(&other, plain.clone()), plain);
    }
    // A witness that is no longer configured does not count.
    let fewer = open(&dir, &[3]);
    let note = fewer.verify(&fewer.add_to(&log(), plain)).unwrap();
    assert_eq!(note.cosignatures().count(), 1);
}

#[test]
fn an_older_head_does_not_take_the_place_of_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let witnesses = open(&dir, &[2, 3]);
    cosign(&witnesses, &head(8), 2).unwrap();
    cosign(&witnesses, &head(7), 3).unwrap();
    assert!(witnesses.is_cosigned_by(&head(8), &witness(2)));
    assert!(!witnesses.is_cosigned_by(&head(7), &witness(3)));
}

#[test]
fn a_line_that_does_not_fit_and_a_damaged_file_count_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let witnesses = open(&dir, &[2]);
    let line = head(8).cosign(witness(2).name(), &secret(2), UnixTime::from_seconds(9));
    assert!(witnesses.keep(&head(7), line.unwrap(), &witness(2)).is_err());
    assert!(!witnesses.is_cosigned_by(&head(7), &witness(2)));
    std::fs::write(dir.path().join(COSIGNATURES_FILE), b"damaged").unwrap();
    let plain = head(7).to_bytes();
    assert_eq!(open(&dir, &[2]).add_to(&log(), plain.clone()), plain);
}

#[test]
fn witnesses_are_asked_less_and_less_often() {
    let seconds = [0, 1, 2, 8, 9, 99].map(|n| pause_after(n).as_secs());
    assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
}

#[test]
fn a_written_witness_is_checked() {
    let read = |key: &str, url: &str| {
        let (key, url) = (key.to_owned(), url.to_owned());
        OutsideWitness::try_from(WrittenWitness { key, url })
    };
    let key = witness(2).to_string();
    assert_eq!(read(&key, "https://w.example/a/").unwrap().url, "https://w.example/a");
    assert!(read(&key, "http://[::1]:8080").is_ok());
    for url in ["", "https://", "http:///x", "ftp://w", "w.example", "https://w x", "http://w?x"] {
        assert!(read(&key, url).is_err(), "{url}");
    }
    let log = VerifierKey::new("a".parse().unwrap(), Algorithm::Ed25519, secret(2).public());
    assert!(read(&log.to_string(), "https://w").is_err());
    assert!(read("nonsense", "https://w").is_err());
}
