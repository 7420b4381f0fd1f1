//! Evidence as a stranger reads it, and its test vectors.
//!
//! `protocol/vectors/evidence.json` is for other implementations. One test writes
//! it anew and compares; where it differs, the new file is left in the target
//! directory. The other reads it as a stranger would and checks every verdict.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

use std::path::{Path, PathBuf};

use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use tallystick_protocol::checkpoint::{Checkpoint, Origin, VerifiedCheckpoint, sign};
use tallystick_protocol::equivocation::{
    Evidence, FindingFacts, LogHead, PartingFacts, UnverifiedEvidence,
};
use tallystick_protocol::id::Hash;
use tallystick_protocol::identity::{
    Controllers, Event, EventType, Head, Identity, NextControllers, Profile, Relation, SealingKey,
    UnverifiedChain, WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::{Nodes, consistency_proof, leaf_hash, root_at};
use tallystick_protocol::time::UnixTime;

const NETWORK: &str = "made-up";
/// Entries that both histories have.
const COMMON: u64 = 300;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// Entry `n` is `n` as eight bytes, big-endian; from the 300th on, with the branch's letter behind it.
struct Branch(u8);

impl Nodes for Branch {
    fn leaf(&self, index: u64) -> Option<Hash> {
        let mut entry = index.to_be_bytes().to_vec();
        if index >= COMMON {
            entry.push(self.0);
        }
        Some(leaf_hash(&entry))
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

fn identity() -> Identity {
    let event = Event::inception(
        NETWORK.parse().unwrap(),
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
    let chain = UnverifiedChain::new(vec![event.sign(&[(0, &secret(10))]).unwrap()]);
    chain.verify(&NETWORK.parse().unwrap()).unwrap()
}

/// The next event, signed by the controller `by`; establishing ones commit to `by + 10`.
fn extended(
    identity: &Identity,
    event_type: EventType,
    by: u8,
    change: impl FnOnce(&mut Event),
) -> Identity {
    let mut event = identity.next_event(event_type, UnixTime::from_seconds(1_800_000_000));
    if event_type.is_establishing() {
        event.controllers.keys = vec![secret(by).public()];
        event.next.key_hashes = vec![commit_to_key(&secret(by + 10).public())];
    }
    change(&mut event);
    identity.extended(event.sign(&[(0, &secret(by))]).unwrap()).unwrap()
}

fn rotated() -> Identity {
    extended(&identity(), EventType::Rotation, 11, |event| {
        event.keys.log = secret(40).public();
        event.pin = Head::of(&head(b'a', 200, 12));
    })
}

fn recovered(identity: &Identity) -> Identity {
    extended(identity, EventType::Recovery, 21, |event| {
        event.keys.log = secret(41).public();
        event.closes = Head::of(&head(b'a', COMMON, 40));
        event.generation = 1;
    })
}

fn renamed(name: &str) -> Identity {
    extended(&identity(), EventType::Profile, 10, |event| event.profile.name = name.to_owned())
}

fn head(branch: u8, size: u64, key: u8) -> VerifiedCheckpoint {
    let origin = Origin::public(&NETWORK.parse().unwrap(), &identity().authority(), 0);
    let root = root_at(&Branch(branch), size).unwrap();
    sign(&Checkpoint::new(origin, size, root).unwrap(), &secret(key)).unwrap()
}

fn fork(identity: &Identity, sizes: [u64; 2], key: u8) -> Evidence {
    let heads = [&head(b'a', sizes[0], key), &head(b'b', sizes[1], key)];
    Evidence::of_fork_in(identity, heads, &Branch(b'b')).unwrap()
}

fn with_common(sizes: [u64; 2]) -> Evidence {
    let proof = |(branch, size)| consistency_proof(&Branch(branch), COMMON, size).unwrap();
    let proofs = [(b'a', sizes[0]), (b'b', sizes[1])].map(proof);
    let root = root_at(&Branch(b'a'), COMMON).unwrap();
    fork(&identity(), sizes, 12).with_common(COMMON, root, proofs).unwrap()
}

fn text(evidence: &Evidence) -> String {
    String::from_utf8(evidence.to_bytes().to_vec()).unwrap()
}

fn shown(head: &LogHead) -> Value {
    json!({"size": head.size, "root": head.root})
}

/// Everything a reader is told.
fn facts(evidence: &Evidence) -> Value {
    let facts = evidence.facts();
    let finding = match facts.finding {
        FindingFacts::Fork(fork) => json!({
            "name": fork.name, "generation": fork.generation, "logKey": fork.key, "heads": fork.heads.each_ref().map(shown),
            "otherRoot": fork.shown, "common": fork.common.as_ref().map(shown),
            "closed": fork.closed.as_ref().map(shown),
        }),
        FindingFacts::Identity(PartingFacts { names, newest, relation, position }) => json!({
            "names": names, "newest": newest, "position": position,
            "counts": match relation {
                Relation::Supersedes { .. } => "first",
                Relation::Superseded { .. } => "second",
                _ => "neither",
            },
        }),
    };
    json!({
        "network": facts.network, "authority": facts.authority, "kind": facts.kind.name(),
        "finding": finding,
    })
}

fn vectors() -> Value {
    let good = |what: &str, evidence: &Evidence| json!({"what": what, "text": text(evidence), "accepted": true, "facts": facts(evidence)});
    let bad = |what: &str, text: String| json!({"what": what, "text": text, "accepted": false});
    let apart = text(&fork(&identity(), [500, 700], 12));
    let proof: Vec<_> = apart.lines().filter(|line| line.starts_with("proof ")).collect();
    let heads: Vec<_> = apart.lines().filter(|line| line.starts_with("head ")).collect();
    let common = text(&with_common([500, 700]));
    let replaced = text(&fork(&rotated(), [400, 400], 40));
    let old = text(&fork(&identity(), [400, 400], 12));
    let events = |text: &str| {
        text.lines().filter(|line| line.starts_with("event ")).collect::<Vec<_>>().join("\n")
    };
    let conflict = text(&Evidence::of_identities(&renamed("Ash"), &renamed("Oak")).unwrap());
    let one_history = {
        let proof = consistency_proof(&Branch(b'a'), 500, 700).unwrap();
        let lines = proof.iter().map(|hash| format!("proof {}\n", base64(hash.as_bytes())));
        let head = |size| format!("head {}\n", base64(&head(b'a', size, 12).to_bytes()));
        let start = format!("tallystick evidence v1 {NETWORK}\n{}\n", events(&apart));
        format!("{start}{}{}{}", head(500), head(700), lines.collect::<String>())
    };
    json!({
        "about": "Evidence of two histories in its text form; armour adds base64 in lines of 64 between two marks. In the logs entry n is n as eight bytes, big-endian; from entry 300 on with the letter a or b behind it",
        "armour": fork(&identity(), [400, 400], 12).to_armour(),
        "cases": [
            good("two heads of one size", &fork(&identity(), [400, 400], 12)),
            good("two sizes", &fork(&identity(), [500, 700], 12)),
            good("two sizes, the smaller a power of two, whose root begins the proof", &fork(&identity(), [512, 700], 12)),
            good("two sizes, with the entries that both have", &with_common([500, 700])),
            good("under the key after a rotation", &fork(&rotated(), [400, 400], 40)),
            good("in a generation that is closed: history", &fork(&recovered(&rotated()), [400, 400], 40)),
            good("two profile events at one position", &Evidence::of_identities(&renamed("Ash"), &renamed("Oak")).unwrap()),
            good("a profile event and a rotation at one position, which counts", &Evidence::of_identities(&renamed("Ash"), &rotated()).unwrap()),
            bad("two heads of one history", one_history),
            bad("under a retired key", old.replace(&events(&old), &events(&replaced))),
            bad("the larger head first", apart.replace(heads[0], "@").replace(heads[1], heads[0]).replace('@', heads[1])),
            bad("one head twice", apart.replace(heads[1], heads[0])),
            bad("without the proof's first hash", apart.replace(&format!("{}\n", proof[0]), "")),
            bad("with a hash too many", apart.replace(proof[0], &format!("{}\n{}", proof[0], proof[0]))),
            bad("with another common size", common.replace("common 300 ", "common 301 ")),
            bad("common size with a leading zero", common.replace("common 300 ", "common 0300 ")),
            bad("another network", apart.replace("v1 made-up\n", "v1 other\n")),
            bad("another version", apart.replace("evidence v1 ", "evidence v2 ")),
            bad("an unknown line", format!("{apart}more\n")),
            bad("carriage returns", apart.replace('\n', "\r\n")),
            bad("the same chain twice", conflict.lines().filter(|line| !line.starts_with("second ")).map(|line| {
                match line.strip_prefix("first ") {
                    Some(event) => format!("{line}\nsecond {event}\n"),
                    None => format!("{line}\n"),
                }
            }).collect()),
        ],
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/evidence.json")
}

#[test]
fn the_vectors_are_what_this_version_writes() {
    let made = format!("{}\n", serde_json::to_string_pretty(&vectors()).unwrap());
    if std::fs::read_to_string(path()).ok().as_ref() != Some(&made) {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("evidence.json");
        std::fs::write(&new, made).unwrap();
        panic!("if the format was meant to change, copy {} to protocol/vectors", new.display());
    }
}

#[test]
fn the_vectors_hold_for_a_stranger() {
    let file: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let verify = |evidence: UnverifiedEvidence| evidence.verify(&NETWORK.parse().unwrap());
    for case in file["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let verdict = UnverifiedEvidence::parse(text.as_bytes()).and_then(verify);
        assert_eq!(verdict.is_ok(), case["accepted"], "{}: {verdict:?}", case["what"]);
        if let Ok(evidence) = verdict {
            assert_eq!(facts(&evidence), case["facts"], "{}", case["what"]);
        }
    }
    let armour = file["armour"].as_str().unwrap();
    let evidence = UnverifiedEvidence::parse_armour(armour).and_then(verify).unwrap();
    assert_eq!(text(&evidence), file["cases"][0]["text"]);
    assert_eq!(evidence.to_armour(), armour);
}
