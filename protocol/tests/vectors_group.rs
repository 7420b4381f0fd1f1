//! The project's own test vectors for groups: control entries and what they
//! give, an epoch, a sealed body.
//!
//! `protocol/vectors/group.json` is for other implementations. One test writes
//! it anew and compares; the other reads it as a stranger would.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod group_model;

use std::collections::BTreeMap;
use std::path::Path;

use group_model::{Act, World, network, who};
use serde_json::{Value, json};
use tallystick_protocol::body::{Committed, Fields, Salt, SealedBody};
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::entry::{Action, Entry, Header, UnverifiedEntry};
use tallystick_protocol::group::epoch::{EpochOpening, EpochPlace};
use tallystick_protocol::group::seal::{EpochSecret, SealingSecret, Suite, key_id};
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Membership, Role, group_id, origin,
};
use tallystick_protocol::id::{
    AuthorityId, Commitment, EpochId, GroupId, LogId, NetworkName, RecordId, Space,
};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    let pairs = text.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// Entries of a story with what becomes of each.
fn story(what: &str, world: &World) -> Value {
    let membership = world.membership();
    let entries = world.entries.iter().map(|entry| {
        let place = entry.place();
        let (header, body) = world.written[&place].clone().into_bytes();
        json!({
            "authority": place.authority, "generation": place.version.generation,
            "index": place.version.index, "leaf": place.leaf,
            "header": hex(&header), "body": hex(&body.unwrap()),
            "counts": membership.verdicts()[&place].is_ok(),
        })
    });
    let members = membership.members().iter().map(
        |(who, member)| json!({"authority": who, "role": format!("{:?}", member.grant.role())}),
    );
    json!({
        "what": what, "group": world.group, "entries": entries.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(), "digest": membership.digest(),
    })
}

fn base() -> World {
    World::new(Continuation::Majority).with(&[
        (1, Role::Convenor),
        (2, Role::Member),
        (3, Role::Observer),
    ])
}

/// Both remove each other; `acknowledged` by a third member.
fn quarrel(acknowledged: &[usize]) -> World {
    let mut world = base();
    let before = world.heads.clone();
    let removals: Vec<EntryRef> = [(0, 1), (1, 0)]
        .map(|(by, whom)| world.say_having_seen(by, &before, Act::Remove(whom)))
        .to_vec();
    for at in acknowledged {
        world.say_having_seen(2, &removals[*at..=*at], Act::Acknowledge);
    }
    world
}

fn revenge() -> World {
    let mut world = base();
    let before = world.heads.clone();
    world.say(0, Act::Remove(1));
    world.say(2, Act::Acknowledge);
    for victim in [0, 2] {
        world.say_having_seen(1, &before, Act::Remove(victim));
    }
    world
}

fn stories() -> Vec<Value> {
    vec![
        story("three join", &base()),
        story("two convenors remove each other", &quarrel(&[])),
        story("a third member has seen the first removal", &quarrel(&[0])),
        story("a removed convenor strikes back at all who know of it", &revenge()),
    ]
}

fn secret(suite: Suite, n: u8) -> SealingSecret {
    SealingSecret::from_seed(suite, [n; 32])
}

fn suite(kem: u64) -> Suite {
    Suite::of_kem(u16::try_from(kem).unwrap()).unwrap()
}

fn epoch() -> Value {
    let group = group_id(&network(), &who(0), &[9; 32]);
    let suites = [Suite::X25519, Suite::XWing];
    let recipients: BTreeMap<AuthorityId, SealingKey> = (0u8..2)
        .map(|n| (who(n.into()), secret(suites[usize::from(n)], n + 60).public().unwrap()))
        .collect();
    let earlier = (EpochId::from_bytes([3; 32]), EpochSecret::from_bytes([4; 32]));
    let links = BTreeMap::from([(earlier.0, &earlier.1)]);
    let author = who(0);
    let place = EpochPlace { network: &network(), group: &group, author: &author };
    let (opening, epoch_secret) = EpochOpening::new(place, &recipients, &links, [5; 32]).unwrap();
    let listed = recipients.iter().zip(0u8..).map(|((who, key), n)| {
        json!({
            "authority": who, "kem": key.kem, "seed": hex(&[n + 60; 32]), "publicKey": hex(&key.key),
            "keyId": hex(&key_id(key)),
        })
    });
    json!({
        "network": network(), "group": group, "author": author, "random": hex(&[5; 32]),
        "recipients": listed.collect::<Vec<_>>(),
        "earlier": {"epoch": earlier.0, "secret": hex(&*earlier.1.to_bytes())},
        "secret": hex(&*epoch_secret.to_bytes()), "operation": hex(&opening.encode()),
    })
}

fn record(epoch: EpochId) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &"Street lighting".into()).unwrap();
    let body = Committed::new(&Salt::from_random([2; 32]), &fields).unwrap();
    let (at, id) = (UnixTime::from_seconds(1_790_000_000), RecordId::from_bytes([3; 16]));
    let unknown = Commitment::from_bytes([0; 32]);
    let mut header = Header::new(Kind::CONTRACT, id, Action::Put, at, unknown, 0);
    header.epoch = Some(epoch);
    Entry::of_committed(header, body).unwrap()
}

fn bodies() -> Value {
    let group = group_id(&network(), &who(0), &[9; 32]);
    let epoch = EpochId::from_bytes([6; 32]);
    let key = EpochSecret::from_bytes([7; 32]).body_key(&network(), &group, epoch);
    let log = LogId { authority: who(0), space: Space::Group(group), generation: 0 };
    let origin = origin(&network(), &log).unwrap();
    let entry = record(epoch);
    let sealed = key.seal(&origin, &entry, [8; 24]).unwrap().into_bytes();
    let (header, plain) = entry.into_bytes();
    let case = |what: &str, header: &[u8], sealed: &[u8], accepted: bool| json!({"what": what, "header": hex(header), "sealed": hex(sealed), "accepted": accepted});
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let other = record(EpochId::from_bytes([5; 32]));
    json!({
        "network": network(), "group": group, "authority": who(0), "generation": 0,
        "origin": origin.as_str(), "epoch": epoch, "secret": hex(&[7; 32]), "nonce": hex(&[8; 24]),
        "body": hex(&plain.unwrap()),
        "cases": [
            case("sealed", &header, &sealed, true),
            case("a flipped bit", &header, &flipped, false),
            case("cut off", &header, &sealed[..sealed.len() - 1], false),
            case("a header of another epoch", other.header_bytes(), &sealed, false),
        ],
    })
}

fn made() -> Value {
    json!({
        "about": "Groups: CBOR and secrets in hexadecimal. Stories: all entries of a group, in an order in which each stands behind what it had seen; any other order gives the same. Epoch: from random follow, with BLAKE3 in derive-key and extendable mode, secret, nonce and what HPKE asks for, in this order",
        "stories": stories(), "epoch": epoch(), "bodies": bodies(),
    })
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/group.json")
}

#[test]
fn the_file_is_what_this_version_writes() {
    let made = format!("{}\n", serde_json::to_string_pretty(&made()).unwrap());
    if std::fs::read_to_string(path()).ok().as_ref() != Some(&made) {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("group.json");
        std::fs::write(&new, made).unwrap();
        panic!("if the formats were meant to change, copy {} to protocol/vectors", new.display());
    }
}

fn file() -> Value {
    serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap()
}

fn id<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn the_stories_hold_from_back_to_front() {
    for story in file()["stories"].as_array().unwrap() {
        let group: GroupId = id(&story["group"]);
        let read = |case: &Value| {
            let (header, body) = (bytes(&case["header"]), bytes(&case["body"]));
            let entry = UnverifiedEntry::new(header, Some(body)).check().unwrap();
            let authority = id(&case["authority"]);
            let generation = id(&case["generation"]);
            let log = LogId { authority, space: Space::Group(group), generation };
            ControlEntry::read(&log, case["index"].as_u64().unwrap(), &entry).unwrap()
        };
        let cases = story["entries"].as_array().unwrap();
        let entries: Vec<ControlEntry> = cases.iter().rev().map(read).collect();
        let membership = Membership::merge(&network(), &group, &entries).unwrap();
        assert_eq!(json!(membership.digest()), story["digest"], "{}", story["what"]);
        for (case, entry) in cases.iter().rev().zip(&entries) {
            let counts = membership.verdicts()[&entry.place()].is_ok();
            assert_eq!(json!(counts), case["counts"], "{case}");
        }
        let members = story["members"].as_array().unwrap();
        assert_eq!(members.len(), membership.members().len());
        for member in members {
            let role = membership.role(&id(&member["authority"])).unwrap();
            assert_eq!(format!("{role:?}"), member["role"], "{member}");
        }
    }
}

#[test]
fn the_epoch_opens_for_its_recipients() {
    let epoch = &file()["epoch"];
    let opening = EpochOpening::decode(&bytes(&epoch["operation"])).unwrap();
    let (network, group): (NetworkName, GroupId) = (id(&epoch["network"]), id(&epoch["group"]));
    let author: AuthorityId = id(&epoch["author"]);
    let place = EpochPlace { network: &network, group: &group, author: &author };
    for recipient in epoch["recipients"].as_array().unwrap() {
        let secret = SealingSecret::from_seed(
            suite(recipient["kem"].as_u64().unwrap()),
            array(&recipient["seed"]),
        );
        assert_eq!(hex(&secret.public().unwrap().key), recipient["publicKey"]);
        let opened = opening.open(place, &id(&recipient["authority"]), &[secret]).unwrap();
        assert_eq!(hex(&*opened.to_bytes()), epoch["secret"]);
    }
    assert_eq!(json!(opening.links()[0].epoch), epoch["earlier"]["epoch"]);
}

#[test]
fn the_sealed_bodies_hold() {
    let bodies = &file()["bodies"];
    let (network, group): (NetworkName, GroupId) = (id(&bodies["network"]), id(&bodies["group"]));
    let key = EpochSecret::from_bytes(array(&bodies["secret"]));
    let key = key.body_key(&network, &group, id(&bodies["epoch"]));
    let generation = id(&bodies["generation"]);
    let log = LogId { authority: id(&bodies["authority"]), space: Space::Group(group), generation };
    let origin: Origin = origin(&network, &log).unwrap();
    assert_eq!(origin.as_str(), bodies["origin"]);
    for case in bodies["cases"].as_array().unwrap() {
        let bare = UnverifiedEntry::new(bytes(&case["header"]), None).check().unwrap();
        let opened = SealedBody::parse(bytes(&case["sealed"]))
            .ok()
            .and_then(|sealed| key.open(&origin, &bare, &sealed).ok());
        assert_eq!(json!(opened.is_some()), case["accepted"], "{}", case["what"]);
        if let Some(opened) = opened {
            assert_eq!(hex(opened.body().unwrap().as_bytes()), bodies["body"]);
        }
    }
}
