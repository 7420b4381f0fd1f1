//! The seeds of the fuzz targets, checked without a fuzzer.
//!
//! Every file below `fuzz/seeds/TARGET` goes through that target's oracle, and
//! so do the vectors, every prefix of them, and every single changed byte.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use ciborium::Value as Cbor;
use serde_bytes::ByteBuf;
use serde_json::Value;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::cbor;
use tallystick_protocol::checkpoint::{Checkpoint, Origin, sign};
use tallystick_protocol::entry::{Action, Header};
use tallystick_protocol::id::{AuthorityId, Hash, LogId, RecordId, Version};
use tallystick_protocol::identity::{
    Controllers, Event, EventType, Head, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::record::Kind;
use tallystick_protocol::sync::wire::{Announcement, Hello, Message, News, OutlinePage};
use tallystick_protocol::time::UnixTime;

#[path = "../fuzz/machine/mod.rs"]
mod machine;
#[path = "../fuzz/oracle.rs"]
mod oracle;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 11] = [
    ("body", oracle::body),
    ("cbor", oracle::cbor),
    ("checkpoint", oracle::checkpoint),
    ("evidence", oracle::evidence),
    ("frame", oracle::frame),
    ("header", oracle::header),
    ("identity", oracle::identity),
    ("machine", machine::machine),
    ("note", oracle::note),
    ("proof", oracle::proof),
    ("witness", oracle::witness),
];

fn package(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(package("fuzz/seeds").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

#[test]
fn there_is_a_target_with_seeds_for_every_oracle() {
    let manifest = fs::read_to_string(package("fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        assert!(package("fuzz/targets").join(name).with_extension("rs").is_file(), "{name}");
        assert!(!seeds(name).is_empty(), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

#[test]
fn invariant_7_seeds_and_everything_one_byte_away_from_them_hold_up() {
    for (target, oracle) in TARGETS {
        for (name, seed) in seeds(target) {
            oracle(&seed);
            // Enough of the larger ones to touch every part, few enough to stay quick.
            let positions = if target == "machine" { 10 } else { 400 };
            let step = seed.len() / positions + 1;
            for at in (0..seed.len()).step_by(step) {
                oracle(seed.get(..at).unwrap());
                for flip in [0x01, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    *changed.get_mut(at).unwrap() ^= flip;
                    oracle(&changed);
                }
            }
            assert!(name.is_ascii(), "{target}/{name}");
        }
    }
}

/// All texts in a JSON file that have more than one line: notes, checkpoints, proofs.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('\n') => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(items) => items.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

#[test]
fn the_vectors_hold_up_under_every_oracle() {
    let mut found = Vec::new();
    for name in ["note", "checkpoint", "proof", "record-proof", "evidence"] {
        let file = fs::read(package("vectors").join(name).with_extension("json")).unwrap();
        texts(&serde_json::from_slice(&file).unwrap(), &mut found);
    }
    assert!(found.len() > 30, "only {} texts", found.len());
    for (_, oracle) in TARGETS {
        found.iter().for_each(|text| oracle(text.as_bytes()));
    }
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn signed_event() -> Vec<u8> {
    let event = Event::inception(
        "made-up".parse().unwrap(),
        UnixTime::from_seconds(1_700_000_000),
        Controllers { keys: vec![secret(10).public()], threshold: 1 },
        NextControllers { key_hashes: vec![commit_to_key(&secret(11).public())], threshold: 1 },
        WorkingKeys {
            log: secret(12).public(),
            witness: secret(13).public(),
            nodes: vec![secret(14).public()],
            sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
        },
        Profile { name: "Ash Borough Council".to_owned(), ..Profile::default() },
    );
    event.sign(&[(0, &secret(10))]).unwrap()
}

/// Chains of several events, each event behind its length in two bytes: with a
/// new profile, a rotation, a recovery and a successor; and one with an event left out.
fn chains() -> Vec<Vec<u8>> {
    let first = UnverifiedChain::new(vec![signed_event()]);
    let mut identity = first.verify(&"made-up".parse().unwrap()).unwrap();
    let mut chains = Vec::new();
    let origin = Origin::public(identity.network(), &identity.authority(), 0);
    let signed = Checkpoint::new(origin, 5, Hash::from_bytes([6; 32])).unwrap();
    let signed = sign(&signed, &secret(12)).unwrap();
    let types =
        [EventType::Profile, EventType::Rotation, EventType::Recovery, EventType::Successor];
    for (event_type, by) in types.into_iter().zip([10, 11, 20, 21]) {
        let mut event = identity.next_event(event_type, UnixTime::from_seconds(1_800_000_000));
        if event_type.is_establishing() {
            event.controllers.keys = vec![secret(by).public()];
            // 11 after 10, then 20, 21 and 22.
            let next = if by == 11 { 20 } else { by + 1 };
            event.next.key_hashes = vec![commit_to_key(&secret(next).public())];
        }
        let head = Head::of(&signed);
        match event_type {
            EventType::Rotation => {
                event.keys.log = secret(40).public();
                event.pin = head;
            }
            EventType::Recovery => {
                event.keys.log = secret(41).public();
                event.closes = head;
                event.generation = 1;
            }
            EventType::Successor => event.successors = vec![AuthorityId::from_bytes([9; 32])],
            _ => event.profile.name = "Ash and Oak Council".to_owned(),
        }
        identity = identity.extended(event.sign(&[(0, &secret(by))]).unwrap()).unwrap();
        chains.push(chain_seed(identity.events()));
    }
    let mut gap = identity.events().to_vec();
    gap.remove(2);
    chains.push(chain_seed(&gap));
    chains
}

fn chain_seed(events: &[Vec<u8>]) -> Vec<u8> {
    let len = |event: &Vec<u8>| u16::try_from(event.len()).unwrap().to_be_bytes();
    events.iter().flat_map(|event| [&len(event)[..], event].concat()).collect()
}

fn frames(header: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
    let authority = AuthorityId::from_bytes([5; 32]);
    let log = LogId::public(authority, 0);
    let hash = Hash::from_bytes([6; 32]);
    let hello = Hello {
        network: "made-up".parse().unwrap(),
        authority,
        run: [1; 16],
        cursor: Some(vec![2; 16]),
    };
    let news = News {
        cursor: vec![3; 16],
        more: true,
        identities: vec![vec![signed_event()]],
        heads: vec![b"head".to_vec()],
        own: Vec::new(),
        evidence: vec![b"evidence".to_vec()],
    };
    let page = OutlinePage {
        id: 7,
        proof: Some(vec![hash; 3]),
        subtrees: vec![hash; 4],
        last: true,
        tail: Some(hash),
    };
    let headers = vec![header.to_vec(); 2];
    let entries = Message::Entries { id: 9, headers, bodies: vec![Some(body.to_vec()), None] };
    let head = b"head".to_vec();
    let announced = vec![(header.to_vec(), Some(body.to_vec()))];
    vec![
        Message::Hello(hello).encode(),
        Message::Since { cursor: None }.encode(),
        Message::News(news).encode(),
        Message::WantOutline { id: 7, log, from: 256, size: 1000 }.encode(),
        Message::OutlinePage(page).encode(),
        Message::WantEntries { id: 8, log, start: 256, end: 512 }.encode(),
        entries.encode(),
        Message::Refused { id: 9 }.encode(),
        Announcement { head, start: 4, entries: announced }.encode(),
    ]
}

/// What this version makes: the first seeds of each target. Findings of a
/// fuzzer may stand beside them under names of their own.
fn made() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut fields = Fields::new();
    fields.insert("title", &"Housing management system".into()).unwrap();
    fields.insert("value.amount", &1_250_000.into()).unwrap();
    fields.insert("rating", &"good".into()).unwrap();
    let (full, commitment) = FullBody::new(&Salt::from_random([9; 32]), &fields).unwrap();
    let partial = full.disclose(|name| name != "rating").unwrap();
    let size = u32::try_from(full.as_bytes().len()).unwrap();
    let record = RecordId::from_bytes([3; 16]);
    let issued = UnixTime::from_seconds(1_750_000_000);
    let mut header = Header::new(Kind::CONTRACT, record, Action::Put, issued, commitment, size);
    let first = header.encode();
    header.previous = Some(Version { generation: 0, index: 1 });
    header.retain_until = Some(issued);
    let full = Body::Full(full);
    let states = vec![
        full.as_bytes().to_vec(),
        Body::Partial(partial).into_bytes(),
        Body::Erased(full.erase().unwrap()).into_bytes(),
    ];
    let pair = |name: &str, value: Cbor| (Cbor::from(name), value);
    let map = Cbor::Map(vec![
        pair("a", Cbor::Null),
        pair("bc", (-70_000).into()),
        pair("list", Cbor::Array(vec![true.into(), Cbor::Bytes(vec![1, 2, 3])])),
    ]);
    let map = cbor::encode(&map).unwrap();
    let mut seeds = vec![
        ("body", [states.clone(), vec![map.clone()]].concat()),
        ("cbor", vec![map]),
        ("frame", frames(&first, full.as_bytes())),
        ("header", vec![first, header.encode()]),
        ("identity", [vec![signed_event()], chains()].concat()),
    ];
    for (target, file) in [
        ("note", "note"),
        ("checkpoint", "checkpoint"),
        ("proof", "record-proof"),
        ("evidence", "evidence"),
    ] {
        let file = fs::read(package("vectors").join(file).with_extension("json")).unwrap();
        let mut found = Vec::new();
        texts(&serde_json::from_slice(&file).unwrap(), &mut found);
        let most = if target == "evidence" { 9 } else { 4 };
        seeds.push((target, found.into_iter().take(most).map(String::into_bytes).collect()));
    }
    seeds
}

#[test]
fn the_seeds_are_what_this_version_writes() {
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeds");
    let mut differing = Vec::new();
    for (target, files) in made() {
        for (number, bytes) in files.iter().enumerate() {
            let name = format!("{target}/{number:02}");
            if fs::read(package("fuzz/seeds").join(&name)).ok().as_ref() != Some(bytes) {
                fs::create_dir_all(new.join(target)).unwrap();
                fs::write(new.join(&name), bytes).unwrap();
                differing.push(name);
            }
        }
    }
    assert!(
        differing.is_empty(),
        "if the formats were meant to change, copy these from {} to protocol/fuzz/seeds: {differing:?}",
        new.display()
    );
}
