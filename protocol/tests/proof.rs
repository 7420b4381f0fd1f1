//! Record proofs as their reader meets them: written by a node, changed by
//! somebody on the way, verified offline.
//!
//! Invariant 9 of the design: the verifier accepts nothing that differs in any
//! reported fact from what was signed. The reported facts are `RecordFacts`,
//! compared as a whole.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod proof_model;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use proof_model::{
    ASH, DALE, Log, accepted, disclosed, entry, facts, fields, identity, lines, network, read,
    seconds, secret, signed_event, with_body, witness,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tallystick_protocol::body::{Body, BodyError, Fields};
use tallystick_protocol::cbor::{CborError, Reader, Writer};
use tallystick_protocol::checkpoint::{CheckpointError, Origin, VerifiedCheckpoint, witness_key};
use tallystick_protocol::entry::{Entry, EntryError};
use tallystick_protocol::id::{AuthorityId, Hash, Version};
use tallystick_protocol::identity::{EventType, Head, Identity, IdentityError, commit_to_key};
use tallystick_protocol::log::{ProofError, consistency_proof, inclusion_proof, leaf_hash};
use tallystick_protocol::note::{Algorithm, VerifierKey, cosignature_line};
use tallystick_protocol::proof::record::{
    Disclosure, KeyState, ProvedAudience, RecordProofError, RecordProofWriteError, RetiredKeyError,
    UnverifiedRecordProof, assemble,
};
use tallystick_protocol::proof::{self, ProofFormatError, ProofVerifyError, ProofWriteError};

/// What the tests below change: two versions of one record of Ash in its log of 21 entries.
struct Example {
    first: Entry,
    second: Entry,
    log: Log,
    checkpoint: VerifiedCheckpoint,
}

impl Example {
    fn new() -> Self {
        let (first, second) = (entry(1, &fields(1)), entry(2, &fields(2)));
        let log = Log::new(21, &[(0, &first), (9, &second)]);
        let checkpoint = log.checkpoint(ASH, "made-up");
        Self { first, second, log, checkpoint }
    }

    /// The proof of the second version, with the body in the state it has in `entry`.
    fn file_of(&self, entry: &Entry) -> Vec<u8> {
        let author = identity(ASH, "made-up");
        assemble(&author, entry, 9, &self.log.proof(9), &self.checkpoint, &[]).unwrap()
    }

    fn partial(&self) -> Vec<u8> {
        self.file_of(&disclosed(&self.second, |name| name != "rating"))
    }

    /// A file whose every part may be wrong, put together by hand.
    fn forged(&self, chain: &[Vec<u8>], header: &[u8], body: Option<&[u8]>) -> Vec<u8> {
        self.with_extra(&extra(1, chain, header, body))
    }

    fn with_extra(&self, extra: &[u8]) -> Vec<u8> {
        proof::format(&self.second.leaf(), 9, &self.log.proof(9), &self.checkpoint, extra).unwrap()
    }
}

fn extra(version: u64, chain: &[Vec<u8>], header: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    let mut w = Writer::default();
    w.map(3 + usize::from(body.is_some())).unsigned(0).unsigned(version);
    w.unsigned(1).array(chain.len());
    chain.iter().for_each(|event| {
        w.bytes(event);
    });
    w.unsigned(2).bytes(header);
    if let Some(body) = body {
        w.unsigned(3).bytes(body);
    }
    w.finish()
}

#[test]
fn a_record_proof_reports_what_was_signed() {
    let example = Example::new();
    let proof = read(&example.file_of(&example.second)).unwrap();
    let ash = identity(ASH, "made-up");
    assert_eq!(proof.identity(), &ash);
    assert_eq!(proof.authority(), ash.authority());
    assert_eq!(proof.entry(), &example.second);
    assert_eq!(proof.version(), Version { generation: 0, index: 9 });
    assert_eq!(proof.checkpoint(), &example.checkpoint);
    assert_eq!(
        proof.cosignatures().into_iter().collect::<Vec<_>>(),
        [(witness(), seconds(1_790_000_000))]
    );
    let facts = proof.facts();
    assert_eq!(facts.fields, fields(2));
    assert_eq!((facts.disclosure, facts.withheld.len()), (Disclosure::Full, 0));
    assert_eq!(facts.audience, ProvedAudience::Public);
    assert_eq!(facts.profile.name, "Borough 10");
    assert_eq!(
        facts.reference.to_string(),
        format!("{}/{}@0.9", ash.authority(), example.second.header().record)
    );
}

#[test]
fn every_state_of_a_body_verifies_and_shows_no_more_than_it_has() {
    let example = Example::new();
    let full = facts(&example.file_of(&example.second));
    let partial = facts(&example.partial());
    let erased = example.second.body().unwrap().erase().unwrap();
    let erased = with_body(&example.second, Some(Body::Erased(erased).into_bytes())).unwrap();
    let erased = facts(&example.file_of(&erased));
    let absent = facts(&example.file_of(&with_body(&example.second, None).unwrap()));
    let states = [&full, &partial, &erased, &absent].map(|facts| facts.disclosure);
    use Disclosure::{Absent, Erased, Full, Partial};
    assert_eq!(states, [Full, Partial, Erased, Absent]);
    assert_eq!([&full, &partial, &erased, &absent].map(|f| f.fields.len()), [4, 3, 0, 0]);
    assert_eq!([&full, &partial, &erased, &absent].map(|f| f.withheld.len()), [0, 1, 4, 0]);
    for shown in [&partial, &erased, &absent] {
        assert_eq!((&shown.header, shown.leaf), (&full.header, full.leaf));
        for (name, value) in shown.fields.iter() {
            assert_eq!(full.fields.get(name.as_str()), Some(value));
        }
    }
}

#[test]
fn invariant_9_every_flipped_bit_is_refused_or_changes_no_reported_fact() {
    let example = Example::new();
    let mut survivors = Vec::new();
    for file in [example.file_of(&example.second), example.partial()] {
        let original = facts(&file);
        let mut changed = file.clone();
        for bit in 0..file.len() * 8 {
            changed[bit / 8] ^= 1 << (bit % 8);
            if accepted(&changed, &original, &format!("bit {bit}")) {
                survivors.push(bit);
            }
            changed[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(changed, file);
    }
    // Stronger than the invariant: in today's format no bit is without meaning.
    assert_eq!(survivors, [] as [usize; 0]);
}

#[test]
fn invariant_9_every_truncation_is_refused() {
    let example = Example::new();
    let file = example.file_of(&example.second);
    let whole = lines(&file).concat().into_bytes();
    // Without the witness's line, the last, the file is one that could have been
    // written: it says less, and nothing else.
    let last = lines(&file).pop().unwrap().len();
    for len in 0..file.len() {
        let result = read(&whole[..len]);
        if len == file.len() - last {
            let mut fewer = facts(&file);
            fewer.cosignatures.clear();
            assert_eq!(result.unwrap().facts(), fewer);
        } else {
            assert!(result.is_err(), "{len} bytes");
        }
        assert!(read(&whole[file.len() - len..]).is_err(), "the last {len} bytes");
    }
}

#[test]
fn invariant_9_swapped_doubled_and_missing_lines_change_no_reported_fact() {
    let example = Example::new();
    let file = example.file_of(&example.second);
    let original = facts(&file);
    let lines = lines(&file);
    let mut order_free = 0;
    for a in 0..lines.len() {
        for b in a + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(a, b);
            let what = format!("lines {a} and {b} swapped");
            let same = swapped == lines;
            let taken = accepted(swapped.concat().as_bytes(), &original, &what);
            order_free += usize::from(taken && !same);
        }
        for to in 0..=lines.len() {
            let mut doubled = lines.clone();
            doubled.insert(to, lines[a].clone());
            assert!(read(doubled.concat().as_bytes()).is_err(), "line {a} doubled at {to}");
        }
        let mut missing = lines.clone();
        missing.remove(a);
        let refused = read(missing.concat().as_bytes()).is_err();
        assert_eq!(refused, a + 1 < lines.len(), "line {a} missing");
    }
    // Log and witness may sign in either order; every other pair is refused.
    assert_eq!(order_free, 1);
}

#[test]
fn invariant_9_appended_lines_other_line_ends_and_spaces_are_refused() {
    let example = Example::new();
    let file = example.file_of(&example.second);
    let text = lines(&file).concat();
    let head = example.checkpoint.checkpoint().text();
    let stranger = "stranger.example/witness".parse().unwrap();
    let stranger = cosignature_line(&head, &stranger, &secret(99), seconds(1)).unwrap();
    let again = cosignature_line(&head, witness().name(), &secret(DALE + 3), seconds(2)).unwrap();
    let appended = [
        "\n".to_owned(),
        " \n".to_owned(),
        "x".to_owned(),
        "index 9\n".to_owned(),
        "\u{2014} made-up AAAAAAAA\n".to_owned(),
        format!("{stranger}\n"),
        format!("{again}\n"),
        text.clone(),
    ];
    for more in appended {
        assert!(read(format!("{text}{more}").as_bytes()).is_err(), "{more:?}");
        assert!(read(format!("{more}{text}").as_bytes()).is_err(), "{more:?}");
    }
    assert_eq!(read(format!("{text}{again}\n").as_bytes()), Err(RecordProofError::Repeated));
    assert!(read(text.replace('\n', "\r\n").as_bytes()).is_err());
    assert!(read(text.trim_end().as_bytes()).is_err());
    assert!(read(format!("\u{feff}{text}").as_bytes()).is_err());
    let lines = lines(&file);
    for at in 0..lines.len() {
        for damage in ["\r\n", " \n", "\t\n", "\n\n", "\u{a0}\n", "=\n"] {
            let mut changed = lines.clone();
            changed[at] = changed[at].replace('\n', damage);
            assert!(read(changed.concat().as_bytes()).is_err(), "line {at} {damage:?}");
        }
        for before in [" ", "\u{feff}", "\0"] {
            let mut changed = lines.clone();
            changed[at].insert_str(0, before);
            assert!(read(changed.concat().as_bytes()).is_err(), "line {at} {before:?}");
        }
    }
}

#[test]
fn a_line_counts_only_by_the_log_or_a_witness_whose_key_is_given() {
    let example = Example::new();
    let file = example.file_of(&example.second);
    let parse = || UnverifiedRecordProof::parse(&file).unwrap();
    let unknown = CheckpointError::UnknownSignature(witness().name().clone());
    let unknown = Err(RecordProofError::Proof(ProofVerifyError::Checkpoint(unknown)));
    assert_eq!(parse().verify(&[]), unknown);
    let other = witness_key(&network("made-up"), &witness_authority(), secret(98).public());
    assert_eq!(parse().verify(&[other]), unknown);
    // A plain key in the witness's name is no witness.
    let plain = VerifierKey::new(witness().name().clone(), Algorithm::Ed25519, *witness().key());
    assert_eq!(parse().verify(&[plain]), unknown);
    let stranger = "stranger.example/witness".parse().unwrap();
    let more = VerifierKey::new(stranger, Algorithm::CosignatureV1, secret(99).public());
    assert_eq!(parse().verify(&[more, witness()]).unwrap().cosignatures().len(), 1);
}

/// Ash, whose controllers have since named these as witnesses.
fn naming(witnesses: &[AuthorityId]) -> Identity {
    let ash = identity(ASH, "made-up");
    let mut event = ash.next_event(EventType::Profile, seconds(1_700_000_001));
    event.witnesses = witnesses.to_vec();
    ash.extended(event.sign(&[(0, &secret(ASH))]).unwrap()).unwrap()
}

#[test]
fn lines_of_named_witnesses_may_stand_there_unread_and_nothing_is_reported_of_them() {
    let example = Example::new();
    let write = |author: &Identity| {
        let hashes = example.log.proof(9);
        assemble(author, &example.second, 9, &hashes, &example.checkpoint, &[]).unwrap()
    };
    let parse = |file: &[u8]| UnverifiedRecordProof::parse(file).unwrap();
    let file = write(&naming(&[AuthorityId::from_bytes([8; 32]), witness_authority()]));
    let unread = parse(&file).verify(&[]).unwrap();
    assert!(unread.cosignatures().is_empty());
    assert_eq!(unread.checkpoint().note().lines().len(), 1, "what was not read is not kept");
    assert_eq!(parse(&file).verify(&[witness()]).unwrap().cosignatures().len(), 1);
    // Also of one that was named once.
    let named = naming(&[witness_authority()]);
    let mut event = named.next_event(EventType::Profile, seconds(1_700_000_002));
    event.witnesses.clear();
    let since = named.extended(event.sign(&[(0, &secret(ASH))]).unwrap()).unwrap();
    assert!(parse(&write(&since)).verify(&[]).is_ok());
    // Not of anybody else, and a line that is read has to fit.
    let other = write(&naming(&[AuthorityId::from_bytes([8; 32])]));
    assert!(parse(&other).verify(&[]).is_err());
    let (mut damaged, at) = (file.clone(), file.len() - 20);
    damaged[at] = if file[at] == b'A' { b'B' } else { b'A' };
    assert!(parse(&damaged).verify(&[]).is_ok());
    assert!(parse(&damaged).verify(&[witness()]).is_err());
}

fn witness_authority() -> AuthorityId {
    identity(DALE, "made-up").authority()
}

#[test]
fn lines_nobody_accounts_for_and_repeated_ones_are_not_written() {
    let example = Example::new();
    let head = example.checkpoint.checkpoint().text();
    let stranger = "stranger.example/witness".parse().unwrap();
    let stranger = cosignature_line(&head, &stranger, &secret(99), seconds(1)).unwrap();
    let text = String::from_utf8(example.checkpoint.to_bytes()).unwrap();
    let repeated: String = text.lines().skip(4).map(|line| format!("{line}\n")).collect();
    let noisy = format!("{text}{stranger}\n{repeated}");
    let parsed = tallystick_protocol::checkpoint::UnverifiedCheckpoint::parse(noisy.as_bytes());
    let log = secret(ASH + 2).public();
    let ash = identity(ASH, "made-up");
    let write = |checkpoint: &VerifiedCheckpoint| {
        assemble(&ash, &example.second, 9, &example.log.proof(9), checkpoint, &[]).unwrap()
    };
    let cosigned = parsed.clone().unwrap().verify_with(&log, &[witness()]).unwrap();
    assert_eq!(write(&cosigned), example.file_of(&example.second));
    let plain = write(&parsed.unwrap().verify(&log).unwrap());
    let proof = UnverifiedRecordProof::parse(&plain).unwrap().verify(&[]).unwrap();
    assert_eq!(proof.cosignatures().len(), 0);
}

#[test]
fn proofs_of_other_networks_and_foreign_chains_are_refused() {
    let example = Example::new();
    let header = example.second.header_bytes();
    let body = example.second.body().map(Body::as_bytes);
    let with_chain = |chain: &[Vec<u8>]| read(&example.forged(chain, header, body)).err();
    let own = signed_event(ASH, "made-up");
    assert_eq!(with_chain(std::slice::from_ref(&own)), None);
    // The same authority's keys, but a chain of another network.
    let elsewhere = signed_event(ASH, "elsewhere");
    assert_eq!(with_chain(&[elsewhere]), Some(IdentityError::Network.into()));
    let foreign = signed_event(DALE, "made-up");
    assert_eq!(with_chain(std::slice::from_ref(&foreign)), Some(RecordProofError::Author));
    assert_eq!(with_chain(&[]), Some(IdentityError::Size.into()));
    assert_eq!(with_chain(&[own, foreign]), Some(IdentityError::Broken.into()));
}

#[test]
fn checkpoints_under_another_key_origin_or_generation_are_refused() {
    let example = Example::new();
    let (ash, dale) = (identity(ASH, "made-up"), identity(DALE, "made-up"));
    let own = Origin::public(ash.network(), &ash.authority(), 0);
    let file = |checkpoint: &VerifiedCheckpoint| {
        let body = example.second.body().map(Body::as_bytes);
        let extra = extra(1, &[signed_event(ASH, "made-up")], example.second.header_bytes(), body);
        let leaf = example.second.leaf();
        let file = proof::format(&leaf, 9, &example.log.proof(9), checkpoint, &extra).unwrap();
        let written = assemble(&ash, &example.second, 9, &example.log.proof(9), checkpoint, &[]);
        (read(&file).err(), written.err())
    };
    let unknown = CheckpointError::UnknownSignature(own.key_name().clone());
    let other_key = file(&example.log.signed(own, DALE + 2));
    assert_eq!(
        other_key,
        (
            Some(ProofVerifyError::Checkpoint(unknown).into()),
            Some(RecordProofWriteError::Checkpoint(CheckpointError::NotSigned))
        )
    );
    let next = Origin::public(ash.network(), &ash.authority(), 1);
    let theirs = Origin::public(dale.network(), &dale.authority(), 0);
    let elsewhere = Origin::public(&network("elsewhere"), &ash.authority(), 0);
    let private = Origin::private(ash.network(), &leaf_hash(b"random"));
    let foreign: Origin = "log.example/2026".parse().unwrap();
    for (origin, error) in [
        (next, RecordProofError::Author),
        (theirs, RecordProofError::Author),
        (elsewhere, IdentityError::Network.into()),
        (private, RecordProofError::Origin),
        (foreign, RecordProofError::Origin),
    ] {
        let refused = file(&example.log.signed(origin.clone(), ASH + 2));
        assert_eq!(refused, (Some(error), Some(RecordProofWriteError::Author)), "{origin}");
    }
}

#[test]
fn bodies_and_headers_of_other_versions_are_refused() {
    let example = Example::new();
    let chain = [signed_event(ASH, "made-up")];
    let header = example.second.header_bytes();
    let commitment: RecordProofError = EntryError::Body(BodyError::Commitment).into();
    let first = example.first.body().unwrap();
    let body_of_first = example.forged(&chain, header, Some(first.as_bytes()));
    assert_eq!(read(&body_of_first), Err(commitment.clone()));
    let partial = disclosed(&example.first, |name| name == "title");
    let partial = example.forged(&chain, header, partial.body().map(Body::as_bytes));
    assert_eq!(read(&partial), Err(commitment));
    // A sound entry, but not the one at this index.
    let other = example.forged(&chain, example.first.header_bytes(), Some(first.as_bytes()));
    assert_eq!(read(&other), Err(ProofVerifyError::Inclusion(ProofError::Mismatch).into()));
    let none = example.forged(&chain, &[0xa0], None);
    assert!(matches!(read(&none), Err(RecordProofError::Entry(EntryError::Header(_)))));
}

/// The fields of a partial body as encoded (name, [salt, value]) pairs and (name, digest) pairs.
fn parts(partial: &[u8]) -> [Vec<(String, Vec<u8>)>; 2] {
    let mut reader = Reader::new(partial);
    assert_eq!(reader.map(3), Ok(3));
    reader.unsigned().unwrap();
    reader.unsigned().unwrap();
    [(); 2].map(|()| {
        reader.unsigned().unwrap();
        let count = reader.map(100).unwrap();
        let pair = |_| {
            let name = reader.text(128).unwrap().to_owned();
            (name, reader.skip().unwrap().to_vec())
        };
        (0..count).map(pair).collect()
    })
}

fn partial_body([shown, hidden]: &[Vec<(String, Vec<u8>)>; 2]) -> Vec<u8> {
    let mut w = Writer::default();
    w.map(3).unsigned(0).unsigned(2);
    for (key, pairs) in [(2, shown), (3, hidden)] {
        w.unsigned(key).map(pairs.len());
        for (name, value) in pairs {
            w.text(name).raw(value);
        }
    }
    w.finish()
}

#[test]
fn a_partial_body_with_a_hidden_duplicate_or_renamed_field_is_refused() {
    let example = Example::new();
    let chain = [signed_event(ASH, "made-up")];
    let with =
        |body: &[u8]| read(&example.forged(&chain, example.second.header_bytes(), Some(body)));
    let partial = disclosed(&example.second, |name| name != "rating");
    let bytes = partial.body().unwrap().as_bytes();
    let good = parts(bytes);
    assert_eq!(partial_body(&good), bytes);
    assert!(with(bytes).is_ok());

    let mut both = good.clone();
    both[1].insert(0, ("title".to_owned(), good[1][0].1.clone()));
    assert!(with(&partial_body(&both)).is_err(), "shown and withheld");
    let mut twice = good.clone();
    twice[0].insert(0, good[0][0].clone());
    assert!(with(&partial_body(&twice)).is_err(), "shown twice");
    let mut hidden_twice = good.clone();
    hidden_twice[1].push(good[1][0].clone());
    assert!(with(&partial_body(&hidden_twice)).is_err(), "withheld twice");
    let mut dropped = good.clone();
    dropped[1].clear();
    assert!(with(&partial_body(&dropped)).is_err(), "withheld without saying so");
    let mut swapped = good.clone();
    let (a, b) = (swapped[0][1].1.clone(), swapped[0][2].1.clone());
    (swapped[0][1].1, swapped[0][2].1) = (b, a);
    assert!(with(&partial_body(&swapped)).is_err(), "values swapped");
    let mut renamed = good;
    renamed[1][0].0 = "refund".to_owned();
    assert!(with(&partial_body(&renamed)).is_err(), "a withheld field renamed");
}

#[test]
fn other_contents_of_the_extra_data_are_refused() {
    let example = Example::new();
    let chain = [signed_event(ASH, "made-up")];
    let (header, body) = (example.second.header_bytes(), example.second.body().unwrap());
    let good = extra(1, &chain, header, Some(body.as_bytes()));
    let refused = |extra: &[u8]| read(&example.with_extra(extra)).unwrap_err();
    assert!(read(&example.with_extra(&good)).is_ok());
    assert_eq!(refused(b""), RecordProofError::NoRecord);
    let newer = extra(2, &chain, header, Some(body.as_bytes()));
    assert_eq!(refused(&newer), RecordProofError::Unsupported);
    let trailing = [&good[..], &[0xf6]].concat();
    assert_eq!(refused(&trailing), RecordProofError::Contents(CborError::Trailing));
    // One key more, one key less, an empty body, a longer head.
    let more = [&[0xa5], &good[1..], &[0x05, 0xf6]].concat();
    assert_eq!(refused(&more), RecordProofError::Contents(CborError::Unexpected));
    let fewer = [&[0xa2], &good[1..]].concat();
    assert_eq!(refused(&fewer), RecordProofError::Contents(CborError::Unexpected));
    let empty = extra(1, &chain, header, Some(b""));
    assert!(matches!(refused(&empty), RecordProofError::Entry(EntryError::Body(_))));
    let long = [&[0xb8, 0x04], &good[1..]].concat();
    assert_eq!(refused(&long), RecordProofError::Contents(CborError::NotShortest));
    let indefinite = [&[0xbf], &good[1..], &[0xff]].concat();
    assert_eq!(refused(&indefinite), RecordProofError::Contents(CborError::Forbidden));
    let good = std::str::from_utf8(b"not a proof").unwrap();
    assert_eq!(read(good.as_bytes()), Err(RecordProofError::File(ProofFormatError::Format)));
}

#[test]
fn proofs_that_would_be_refused_are_not_written() {
    let example = Example::new();
    let ash = identity(ASH, "made-up");
    let write = |entry: &Entry, index, hashes: &[Hash]| {
        assemble(&ash, entry, index, hashes, &example.checkpoint, &[]).err()
    };
    let hashes = example.log.proof(9);
    let inclusion = |error| Some(RecordProofWriteError::Proof(ProofWriteError::Inclusion(error)));
    assert_eq!(write(&example.second, 8, &hashes), inclusion(ProofError::Mismatch));
    assert_eq!(write(&example.first, 9, &hashes), inclusion(ProofError::Mismatch));
    assert_eq!(write(&example.second, 9, &hashes[1..]), inclusion(ProofError::Length));
    assert_eq!(write(&example.second, 21, &hashes), inclusion(ProofError::Range));
    assert_eq!(write(&example.first, 0, &example.log.proof(0)), None);
}

#[test]
fn the_largest_body_fits_a_proof() {
    let mut large = Fields::new();
    large.insert("text", &Cbor::Text("x".repeat((1 << 20) - 100))).unwrap();
    let entry = entry(1, &large);
    let log = Log::new(3, &[(2, &entry)]);
    let checkpoint = log.checkpoint(ASH, "made-up");
    let ash = identity(ASH, "made-up");
    let file = assemble(&ash, &entry, 2, &log.proof(2), &checkpoint, &[]).unwrap();
    assert_eq!(facts(&file).fields, large);
}

fn some_fields() -> impl Strategy<Value = Fields> {
    let value = prop_oneof![
        ".{0,20}".prop_map(Cbor::Text),
        any::<i64>().prop_map(|n| Cbor::Integer(n.into())),
        any::<bool>().prop_map(Cbor::Bool),
    ];
    proptest::collection::btree_map("[a-zA-Z][a-zA-Z0-9.]{0,30}", value, 1..12).prop_map(|map| {
        let mut fields = Fields::new();
        map.iter().for_each(|(name, value)| fields.insert(name, value).unwrap());
        fields
    })
}

/// Four states of one entry's body.
fn in_state(entry: &Entry, state: u8, mask: u32) -> Entry {
    match state % 4 {
        0 => entry.clone(),
        1 => disclosed(entry, |name| mask & (1 << (name.len() % 32)) != 0),
        2 => with_body(
            entry,
            Some(Body::Erased(entry.body().unwrap().erase().unwrap()).into_bytes()),
        )
        .unwrap(),
        _ => with_body(entry, None).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

    #[test]
    fn any_record_in_a_log_of_any_size_is_proved(
        fields in some_fields(), size in 1u64..600, at in any::<u64>(), state: u8, mask: u32,
    ) {
        let index = at % size;
        let full = entry(1, &fields);
        let log = Log::new(size, &[(index, &full)]);
        let shown = in_state(&full, state, mask);
        let ash = identity(ASH, "made-up");
        let checkpoint = log.checkpoint(ASH, "made-up");
        let file = assemble(&ash, &shown, index, &log.proof(index), &checkpoint, &[]).unwrap();
        let proof = read(&file).unwrap();
        prop_assert_eq!(proof.entry(), &shown);
        prop_assert_eq!(proof.version(), Version { generation: 0, index });
        prop_assert_eq!(proof.checkpoint(), &checkpoint);
        for (name, value) in proof.facts().fields.iter() {
            prop_assert_eq!(fields.get(name.as_str()), Some(value));
        }
    }

    #[test]
    fn invariant_9_spliced_and_overwritten_files_change_no_reported_fact(
        from in any::<prop::sample::Index>(), len in 0usize..40,
        to in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let example = Example::new();
        let file = example.partial();
        let from = from.index(file.len());
        let mut changed = file.clone();
        changed.splice(from..file.len().min(from + len), to);
        accepted(&changed, &facts(&file), "spliced");
    }

    #[test]
    fn any_extra_data_is_read_or_refused_without_a_panic(
        at in any::<prop::sample::Index>(), to: u8,
    ) {
        let example = Example::new();
        let body = example.second.body().unwrap();
        let mut changed = extra(
            1,
            &[signed_event(ASH, "made-up")],
            example.second.header_bytes(),
            Some(body.as_bytes()),
        );
        let original = facts(&example.with_extra(&changed));
        let at = at.index(changed.len());
        changed[at] = to;
        accepted(&example.with_extra(&changed), &original, "extra");
    }
}

/// The number of cases unless `PROPTEST_CASES` asks for another.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn vectors() -> Value {
    let example = Example::new();
    let text = |file: Vec<u8>| String::from_utf8(file).unwrap();
    let full = text(example.file_of(&example.second));
    let partial = text(example.partial());
    let absent = text(example.file_of(&with_body(&example.second, None).unwrap()));
    let chain = [signed_event(ASH, "made-up")];
    let (header, body) = (example.second.header_bytes(), example.second.body().unwrap());
    let forged = |chain: &[Vec<u8>], body: &[u8]| text(example.forged(chain, header, Some(body)));
    let bits = |from: &str, to: &str| {
        assert!(full.contains(from), "{from}");
        full.replacen(from, to, 1)
    };
    let last = full.lines().last().unwrap();
    let case = |what: &str, file: &str, accepted: bool| json!({"what": what, "file": file, "accepted": accepted});
    json!({
        "about": "Record proofs: tlog proofs whose extra data is the CBOR map {0: 1, 1: identity events, 2: header, 3: body}; every signature line must be by the author's log key or the witness, once",
        "witness": witness().to_string(),
        "facts": {
            "network": "made-up", "authority": identity(ASH, "made-up").authority(), "name": "Borough 10",
            "record": example.second.header().record, "version": "0.9", "issued": 1_750_000_002,
            "commitment": STANDARD.encode(example.second.header().commitment.as_bytes()),
            "size": 21, "root": example.checkpoint.checkpoint().root(), "cosigned": 1_790_000_000,
            "title": "Housing management system",
        },
        "cases": [
            case("full body", &full, true),
            case("one field withheld", &partial, true),
            case("header only", &absent, true),
            case("signature lines in another order", &{
                let mut lines = lines(full.as_bytes());
                let at = lines.len() - 2;
                lines.swap(at, at + 1);
                lines.concat()
            }, true),
            case("the witness's line twice", &format!("{full}{last}\n"), false),
            case("another index", &bits("index 9\n", "index 8\n"), false),
            case("another size", &bits("\n21\n", "\n22\n"), false),
            case("another network in the origin", &bits("/made-up/", "/made-do/"), false),
            case("carriage returns", &full.replace('\n', "\r\n"), false),
            case("no record in it", &text(example.with_extra(b"")), false),
            case("another authority's chain", &forged(&[signed_event(DALE, "made-up")], body.as_bytes()), false),
            case("a chain of another network", &forged(&[signed_event(ASH, "elsewhere")], body.as_bytes()), false),
            case("the body of an earlier version", &forged(&chain, example.first.body().unwrap().as_bytes()), false),
            case("a newer format", &text(example.with_extra(&extra(2, &chain, header, None))), false),
            case("trailing bytes in the extra data", &text(example.with_extra(&[&extra(1, &chain, header, None)[..], &[0]].concat())), false),
        ],
    })
}

fn vector_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/record-proof.json")
}

#[test]
fn the_vectors_are_what_this_version_writes() {
    let made = format!("{}\n", serde_json::to_string_pretty(&vectors()).unwrap());
    if std::fs::read_to_string(vector_file()).ok().as_ref() != Some(&made) {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("record-proof.json");
        std::fs::write(&new, made).unwrap();
        panic!("if the format was meant to change, copy {} to protocol/vectors", new.display());
    }
}

#[test]
fn the_vectors_hold_for_a_stranger() {
    let file: Value = serde_json::from_slice(&std::fs::read(vector_file()).unwrap()).unwrap();
    let witness: VerifierKey = file["witness"].as_str().unwrap().parse().unwrap();
    let expected = &file["facts"];
    for case in file["cases"].as_array().unwrap() {
        let bytes = case["file"].as_str().unwrap().as_bytes();
        let verdict = UnverifiedRecordProof::parse(bytes)
            .and_then(|proof| proof.verify(std::slice::from_ref(&witness)));
        assert_eq!(verdict.is_ok(), case["accepted"], "{}: {verdict:?}", case["what"]);
        let Ok(proof) = verdict else { continue };
        let facts = proof.facts();
        let said = json!({
            "network": facts.network, "authority": facts.reference.authority, "name": facts.profile.name,
            "record": facts.reference.record, "version": facts.reference.version.unwrap().to_string(),
            "issued": facts.header.issued, "commitment": STANDARD.encode(facts.header.commitment.as_bytes()),
            "size": facts.checkpoint.size(), "root": facts.checkpoint.root(),
            "cosigned": facts.cosignatures.values().next(), "title": facts.fields.text("title").or(expected["title"].as_str().map(str::to_owned)),
        });
        assert_eq!(&said, expected, "{}", case["what"]);
    }
}

/// Ash after its log of 21 entries got a new key, or was closed.
struct Retired {
    example: Example,
    before: Identity,
    after: Identity,
}

impl Retired {
    /// Seeds of the next controllers, the log key and the controllers after that.
    const AFTER: [u8; 3] = [ASH + 1, 60, 61];

    fn new(event_type: EventType, pinned: u64) -> Self {
        let (example, before) = (Example::new(), identity(ASH, "made-up"));
        let origin = Origin::public(before.network(), &before.authority(), 0);
        let pin = Head::of(&example.log.first(pinned).signed(origin, ASH + 2)).unwrap();
        let after = Self::follow(&before, event_type, Self::AFTER, pin);
        Self { example, before, after }
    }

    fn follow(
        before: &Identity,
        event_type: EventType,
        [controller, log, next]: [u8; 3],
        pin: Head,
    ) -> Identity {
        let mut event = before.next_event(event_type, seconds(1_800_000_000));
        event.controllers.keys = vec![secret(controller).public()];
        event.next.key_hashes = vec![commit_to_key(&secret(next).public())];
        event.keys.log = secret(log).public();
        match event_type {
            EventType::Recovery => {
                event.generation += 1;
                event.closes = Some(pin);
            }
            _ => event.pin = Some(pin),
        }
        before.extended(event.sign(&[(0, &secret(controller))]).unwrap()).unwrap()
    }

    /// The head of the first `size` entries, under the key that retired.
    fn head(&self, size: u64) -> VerifiedCheckpoint {
        let origin = Origin::public(self.before.network(), &self.before.authority(), 0);
        self.example.log.first(size).signed(origin, ASH + 2)
    }

    /// The proof of the second version under that head, leading to `pinned`.
    fn file(
        &self,
        identity: &Identity,
        size: u64,
        pinned: Option<u64>,
    ) -> Result<Vec<u8>, RecordProofWriteError> {
        let log = &self.example.log;
        let hashes = inclusion_proof(log, 9, size).unwrap();
        let to_pin = pinned.map_or(Vec::new(), |to| consistency_proof(log, size, to).unwrap());
        assemble(identity, &self.example.second, 9, &hashes, &self.head(size), &to_pin)
    }
}

#[test]
fn a_retired_key_counts_up_to_the_head_that_was_pinned() {
    for event_type in [EventType::Rotation, EventType::Recovery] {
        let ash = Retired::new(event_type, 20);
        for (size, pinned) in [(13, Some(20)), (16, Some(20)), (20, None)] {
            let file = ash.file(&ash.after, size, pinned).unwrap();
            let proof = read(&file).unwrap();
            assert_eq!(proof.key_state(), KeyState::RetiredProven, "{event_type:?} {size}");
            assert_eq!(proof.version(), Version { generation: 0, index: 9 });
            assert_eq!(proof.facts().checkpoint.size(), size);
        }
        let refresh = RecordProofWriteError::Key(RetiredKeyError::Refresh);
        assert_eq!(ash.file(&ash.after, 13, None), Err(refresh.clone()));
        assert_eq!(ash.file(&ash.after, 21, None), Err(refresh), "signed after the pinned head");
        let elsewhere = ash.file(&ash.after, 13, Some(19)).unwrap_err();
        assert!(matches!(elsewhere, RecordProofWriteError::Key(RetiredKeyError::Pin(_))));
    }
    let current = Example::new();
    assert_eq!(read(&current.file_of(&current.second)).unwrap().key_state(), KeyState::Current);
}

#[test]
fn what_lies_beyond_the_closing_head_is_disowned() {
    let ash = Retired::new(EventType::Recovery, 9);
    let disowned = RecordProofWriteError::Key(RetiredKeyError::Disowned);
    assert_eq!(ash.file(&ash.after, 21, None), Err(disowned));
    // Made before the recovery, the file is sound in itself, but not for whoever knows better.
    let old = read(&ash.file(&ash.before, 21, None).unwrap()).unwrap();
    assert_eq!(old.key_state(), KeyState::Current);
    let judged = old.judged_by(&ash.after);
    assert_eq!(judged, Err(RecordProofError::Key(RetiredKeyError::Disowned)));
}

#[test]
fn an_old_file_is_judged_by_the_newer_chain_that_its_reader_knows() {
    let ash = Retired::new(EventType::Rotation, 20);
    let file = |size, pinned| read(&ash.file(&ash.before, size, pinned).unwrap()).unwrap();
    let refresh = RecordProofError::Key(RetiredKeyError::Refresh);
    assert_eq!(file(13, None).judged_by(&ash.after), Err(refresh.clone()));
    assert_eq!(file(21, None).judged_by(&ash.after), Err(refresh.clone()));
    let proven = file(20, None).judged_by(&ash.after).unwrap();
    assert_eq!(proven.key_state(), KeyState::RetiredProven);
    assert_eq!(proven.identity(), &ash.after);
    for same in [&ash.before, &identity(DALE, "made-up")] {
        assert_eq!(file(13, None).judged_by(same), Ok(file(13, None)), "older, or somebody else");
    }
    // A file that leads to the pinned head, and then the log is closed elsewhere.
    let led = read(&ash.file(&ash.after, 13, Some(20)).unwrap()).unwrap();
    assert_eq!(led.clone().judged_by(&ash.before).unwrap(), led);
    let closing = Head::of(&ash.head(19)).unwrap();
    let closed = Retired::follow(&ash.after, EventType::Recovery, [61, 70, 71], closing);
    assert_eq!(led.judged_by(&closed), Err(refresh));
    // Controllers who contradict themselves prove nothing.
    let other = Retired::follow(
        &ash.before,
        EventType::Rotation,
        [ASH + 1, 80, 81],
        Head::of(&ash.head(20)).unwrap(),
    );
    let conflict = read(&ash.file(&ash.after, 20, None).unwrap()).unwrap().judged_by(&other);
    assert_eq!(conflict, Err(RecordProofError::Disputed));
}

#[test]
fn invariant_9_holds_for_what_leads_to_a_pinned_head() {
    let ash = Retired::new(EventType::Rotation, 20);
    let file = ash.file(&ash.after, 13, Some(20)).unwrap();
    let original = facts(&file);
    // Of the chain, which has a test of its own for each bit, one bit of each byte will do.
    let start = lines(&file)[0].len() + "extra ".len();
    let chain: usize = ash.after.events().iter().map(Vec::len).sum();
    let chain = start..start + chain / 3 * 4;
    let mut changed = file.clone();
    for bit in 0..file.len() * 8 {
        if chain.contains(&(bit / 8)) && bit % 8 != bit / 8 % 8 {
            continue;
        }
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&changed, &original, &format!("bit {bit}")), "bit {bit}");
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(changed, file);
}

#[test]
fn the_part_that_leads_to_a_pinned_head_has_one_spelling() {
    let ash = Retired::new(EventType::Rotation, 20);
    let good = consistency_proof(&ash.example.log, 13, 20).unwrap();
    let (entry, head) = (&ash.example.second, ash.head(13));
    let hashes = inclusion_proof(&ash.example.log, 9, 13).unwrap();
    let chain = ash.after.events();
    // Keys beyond the header in the order given, each with its hashes or the body.
    let written = |keys: &[u64], count: usize, to_pin: &[Hash]| {
        let mut w = Writer::default();
        w.map(count).unsigned(0).unsigned(1).unsigned(1).array(chain.len());
        chain.iter().for_each(|event| {
            w.bytes(event);
        });
        w.unsigned(2).bytes(entry.header_bytes());
        for key in keys {
            w.unsigned(*key);
            if *key == 3 {
                w.bytes(entry.body().unwrap().as_bytes());
            } else {
                w.array(to_pin.len());
                to_pin.iter().for_each(|hash| {
                    w.bytes(hash.as_bytes());
                });
            }
        }
        read(&proof::format(&entry.leaf(), 9, &hashes, &head, &w.finish()).unwrap())
    };
    assert_eq!(written(&[3, 4], 5, &good).unwrap().key_state(), KeyState::RetiredProven);
    assert_eq!(written(&[4], 4, &good).unwrap().facts().disclosure, Disclosure::Absent);
    for (keys, count) in [
        (&[4, 3][..], 5),
        (&[4, 4], 5),
        (&[3, 3], 5),
        (&[3, 4, 4], 6),
        (&[3, 4], 4),
        (&[3, 4], 6),
        (&[3, 5], 5),
        (&[], 2),
    ] {
        assert!(written(keys, count, &good).is_err(), "{keys:?} {count}");
    }
    let unexpected = Err(RecordProofError::Contents(CborError::Unexpected));
    assert_eq!(written(&[3, 4], 5, &[]), unexpected, "an empty list says nothing");
    let short = written(&[3, 4], 5, &good[1..]);
    assert!(matches!(short, Err(RecordProofError::Key(RetiredKeyError::Pin(_)))), "{short:?}");
    let refresh = Err(RecordProofError::Key(RetiredKeyError::Refresh));
    assert_eq!(written(&[3], 4, &[]), refresh);
    // Under the current key, hashes that lead nowhere are refused as well.
    let current = Example::new();
    let body = current.second.body().unwrap().as_bytes();
    let mut w = Writer::default();
    w.map(5).unsigned(0).unsigned(1).unsigned(1).array(1).bytes(&signed_event(ASH, "made-up"));
    w.unsigned(2).bytes(current.second.header_bytes()).unsigned(3).bytes(body);
    w.unsigned(4).array(1).bytes(good[0].as_bytes());
    assert!(read(&current.with_extra(&w.finish())).is_err());
}
