//! The project's own test vectors for logs, notes, checkpoints and proofs.
//!
//! `protocol/vectors/*.json` is for other implementations. One test writes the
//! vectors anew and compares them with the files; where they differ, it leaves
//! the new file in the target directory and says so. The others read the files
//! as a stranger would and check every verdict in them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

use std::path::Path;

use serde_json::{Value, json};
use tallystick_protocol::checkpoint::{
    Checkpoint, Origin, UnverifiedCheckpoint, VerifiedCheckpoint, log_key, sign, witness_key,
};
use tallystick_protocol::id::{AuthorityId, Hash, NetworkName};
use tallystick_protocol::key::{PublicKey, SecretKey};
use tallystick_protocol::log::{
    Frontier, Nodes, OutlineBuilder, consistency_proof, inclusion_proof, leaf_hash, outline,
    root_at, verify_consistency, verify_inclusion,
};
use tallystick_protocol::note::{UnverifiedNote, VerifierKey, cosignature_line, sign_note};
use tallystick_protocol::proof::{self, UnverifiedProof};
use tallystick_protocol::time::UnixTime;

/// Entry `n` of the example log: `n` as eight bytes, big-endian.
struct ExampleLog(u64);

impl Nodes for ExampleLog {
    fn leaf(&self, index: u64) -> Option<Hash> {
        (index < self.0).then(|| leaf_hash(&index.to_be_bytes()))
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

const LOG: ExampleLog = ExampleLog(1000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn network() -> NetworkName {
    "made-up".parse().unwrap()
}

fn authority(byte: u8) -> AuthorityId {
    AuthorityId::from_bytes([byte; 32])
}

fn origin() -> Origin {
    Origin::public(&network(), &authority(5), 0)
}

fn witness() -> VerifierKey {
    witness_key(&network(), &authority(6), key(2).public())
}

fn checkpoint(size: u64) -> VerifiedCheckpoint {
    let head = Checkpoint::new(origin(), size, root_at(&LOG, size).unwrap()).unwrap();
    sign(&head, &key(1)).unwrap()
}

fn cosigned(size: u64) -> VerifiedCheckpoint {
    let mut checkpoint = checkpoint(size);
    let time = UnixTime::from_seconds(1_790_000_000);
    let line = checkpoint.cosign(witness().name(), &key(2), time).unwrap();
    checkpoint.add(line, &witness()).unwrap();
    checkpoint
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_string).collect()
}

fn flipped(hash: &Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[0] ^= 0x80;
    Hash::from_bytes(bytes)
}

fn log_vectors() -> Value {
    let sizes = [0, 1, 2, 3, 7, 8, 255, 256, 257, 600, 1000];
    let roots = sizes.map(|size| json!({"size": size, "root": root_at(&LOG, size).unwrap()}));
    let inclusion = [(0, 1), (0, 2), (2, 3), (6, 7), (5, 8), (255, 256), (256, 257), (599, 1000)]
        .map(|(index, size)| {
            json!({
                "index": index, "size": size, "leaf": LOG.leaf(index),
                "root": root_at(&LOG, size).unwrap(),
                "proof": texts(&inclusion_proof(&LOG, index, size).unwrap()), "accepted": true,
            })
        });
    let consistency = [(0, 7), (1, 2), (3, 7), (4, 8), (6, 8), (7, 7), (256, 600), (300, 1000)]
        .map(|(old, new)| {
            json!({
                "old": old, "new": new, "oldRoot": root_at(&LOG, old).unwrap(),
                "newRoot": root_at(&LOG, new).unwrap(),
                "proof": texts(&consistency_proof(&LOG, old, new).unwrap()), "accepted": true,
            })
        });
    let outlines = [(0, 600), (300, 1000), (512, 768), (600, 600)].map(|(from, size)| {
        let made = outline(&LOG, from, size).unwrap();
        json!({
            "from": from, "size": size, "root": root_at(&LOG, size).unwrap(),
            "proof": texts(&made.proof), "subtrees": texts(&made.subtrees), "tail": made.tail,
        })
    });
    json!({
        "about": "RFC 6962 trees over SHA-256; entry n is n as eight bytes, big-endian; hashes in hexadecimal",
        "roots": roots, "inclusion": damaged(&inclusion), "consistency": damaged(&consistency),
        "outlines": outlines,
    })
}

/// The good cases, each followed by one with its last hash changed and one with it left out.
fn damaged(good: &[Value]) -> Vec<Value> {
    let with = |case: &Value, proof: &[Hash]| {
        let mut case = case.clone();
        case["proof"] = json!(texts(proof));
        case["accepted"] = json!(false);
        case
    };
    let bad = |case: &Value| {
        let proof = hashes(&case["proof"]);
        let Some((last, rest)) = proof.split_last() else { return vec![case.clone()] };
        vec![case.clone(), with(case, &[rest, &[flipped(last)]].concat()), with(case, rest)]
    };
    good.iter().flat_map(bad).collect()
}

fn note_vectors() -> Value {
    let body = "made-up.example/list\nsecond line\n\nafter an empty line\n";
    let name = "made-up.example/list".parse().unwrap();
    let dale = "dale.example/witness".parse().unwrap();
    let plain = text(sign_note(body, &name, &key(1)).unwrap());
    let line = cosignature_line(body, &dale, &key(2), UnixTime::from_seconds(1_790_000_000));
    let line = line.unwrap();
    let both = format!("{plain}{line}\n");
    let signer =
        VerifierKey::new(name, tallystick_protocol::note::Algorithm::Ed25519, key(1).public());
    let cosigner = VerifierKey::new(
        dale,
        tallystick_protocol::note::Algorithm::CosignatureV1,
        key(2).public(),
    );
    let (signer, cosigner) = (signer.to_string(), cosigner.to_string());
    let case = |what: &str, note: &str, keys: &[&String], accepted: bool, attributed: bool| json!({"what": what, "note": note, "keys": keys, "accepted": accepted, "acceptedAsFile": attributed});
    json!({
        "about": "C2SP signed notes; a key of seed n grows from 32 bytes n; acceptedAsFile: every line must be by one of the keys",
        "seeds": [{"seed": 1, "key": signer}, {"seed": 2, "key": cosigner}],
        "cases": [
            case("signed", &plain, &[&signer], true, true),
            case("signed and cosigned, both keys known", &both, &[&signer, &cosigner], true, true),
            case("signed and cosigned, one key known", &both, &[&signer], true, false),
            case("only the cosigner known", &both, &[&cosigner], true, false),
            case("no key known", &both, &[], false, false),
            case("changed text", &both.replace("second", "Second"), &[&signer], false, false),
            case("changed text, bad line by the second key", &format!("{}{line}\n", plain.replace("second", "Second")), &[&signer, &cosigner], false, false),
            case("carriage returns", &plain.replace('\n', "\r\n"), &[&signer], false, false),
            case("no line feed at the end", plain.trim_end(), &[&signer], false, false),
            case("no signature", body, &[&signer], false, false),
            case("hyphen for the dash", &plain.replace('\u{2014}', "-"), &[&signer], false, false),
            case("base64 without padding", &plain.replace("=\n", "\n"), &[&signer], false, false),
            case("the same line twice", &format!("{both}{line}\n"), &[&signer, &cosigner], true, true),
            case("line by nobody known, malformed", &format!("{plain}\u{2014} x AAAA\n"), &[&signer], false, false),
        ],
    })
}

fn checkpoint_vectors() -> Value {
    let good = text(cosigned(600).to_bytes());
    let log = log_key(&origin(), key(1).public());
    let other = log_key(&origin(), key(3).public());
    let case = |what: &str, checkpoint: &str, key: &VerifierKey, accepted: bool| {
        json!({
            "what": what, "checkpoint": checkpoint, "logKey": key.key(), "accepted": accepted,
            "witness": witness().to_string(),
        })
    };
    let resigned = |body: String| text(sign_note(&body, origin().key_name(), &key(1)).unwrap());
    let head = checkpoint(600).checkpoint().text();
    let empty = checkpoint(0);
    json!({
        "about": "C2SP checkpoints of a public log, cosigned by one witness; the logs are those of log.json",
        "origin": origin().as_str(), "network": network().as_str(), "authority": authority(5), "generation": 0,
        "cases": [
            case("cosigned", &good, &log, true),
            case("not cosigned", &text(checkpoint(600).to_bytes()), &log, true),
            case("an empty log", &text(empty.to_bytes()), &log, true),
            case("another log key", &good, &other, false),
            case("another size", &good.replace("\n600\n", "\n601\n"), &log, false),
            case("signed extension line", &resigned(format!("{head}extension\n")), &log, false),
            case("signed leading zero", &resigned(head.replace("\n600\n", "\n0600\n")), &log, false),
            case("signed empty log with another root", &resigned(head.replace("\n600\n", "\n0\n")), &log, false),
            case("signed under another name", &text(sign_note(&head, &"made-up.example".parse().unwrap(), &key(1)).unwrap()), &log, false),
        ],
    })
}

fn proof_vectors() -> Value {
    let (index, checkpoint) = (300, cosigned(600));
    let leaf = LOG.leaf(index).unwrap();
    let hashes = inclusion_proof(&LOG, index, 600).unwrap();
    let write =
        |extra: &[u8]| text(proof::format(&leaf, index, &hashes, &checkpoint, extra).unwrap());
    let (plain, extra) = (write(b""), write(b"context"));
    let stranger = cosignature_line(
        &checkpoint.checkpoint().text(),
        &"x.example".parse().unwrap(),
        &key(9),
        UnixTime::from_seconds(1),
    );
    let stranger = stranger.unwrap();
    let case = |what: &str, proof: &str, accepted: bool| json!({"what": what, "proof": proof, "accepted": accepted});
    json!({
        "about": "C2SP tlog proofs in the strict mode for files: every line must be by the log or the witness",
        "leaf": leaf, "logKey": key(1).public(), "witness": witness().to_string(),
        "cases": [
            case("plain", &plain, true),
            case("with extra data", &extra, true),
            case("a line by a stranger", &format!("{plain}{stranger}\n"), false),
            case("another index", &plain.replace("index 300\n", "index 301\n"), false),
            case("index beyond the log", &plain.replace("index 300\n", "index 600\n"), false),
            case("index with a leading zero", &plain.replace("index 300\n", "index 0300\n"), false),
            case("empty extra line", &plain.replace("index 300\n", "extra \nindex 300\n"), false),
            case("two extra lines", &extra.replace("index 300\n", "extra AAAA\nindex 300\n"), false),
            case("another version", &plain.replace("@v1", "@v2"), false),
            case("carriage returns", &plain.replace('\n', "\r\n"), false),
            case("no hashes", &format!("c2sp.org/tlog-proof@v1\nindex 300\n\n{}", text(checkpoint.to_bytes())), false),
        ],
    })
}

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hash(value: &Value) -> Hash {
    value.as_str().unwrap().parse().unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

fn public(value: &Value) -> PublicKey {
    value.as_str().unwrap().parse().unwrap()
}

fn cases(file: &Value, key: &str) -> Vec<Value> {
    let cases = file[key].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{key}");
    cases
}

#[test]
fn the_files_are_what_this_version_writes() {
    let mut differing = Vec::new();
    for (name, made) in [
        ("log.json", log_vectors()),
        ("note.json", note_vectors()),
        ("checkpoint.json", checkpoint_vectors()),
        ("proof.json", proof_vectors()),
    ] {
        let made = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
        if std::fs::read_to_string(path).ok().as_ref() != Some(&made) {
            let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&new, made).unwrap();
            differing.push(new.display().to_string());
        }
    }
    assert!(
        differing.is_empty(),
        "if the formats were meant to change, copy these to protocol/vectors: {differing:?}"
    );
}

#[test]
fn log_vectors_hold() {
    let file = read("log.json");
    for case in cases(&file, "roots") {
        let mut log = Frontier::new();
        (0..case["size"].as_u64().unwrap()).for_each(|n| log.push(leaf_hash(&n.to_be_bytes())));
        assert_eq!(log.root(), hash(&case["root"]), "{case}");
    }
    for case in cases(&file, "inclusion") {
        let (index, size) = (case["index"].as_u64().unwrap(), case["size"].as_u64().unwrap());
        let (leaf, root) = (hash(&case["leaf"]), hash(&case["root"]));
        let verdict = verify_inclusion(&leaf, index, size, &hashes(&case["proof"]), &root);
        assert_eq!(verdict.is_ok(), case["accepted"], "{case}");
    }
    for case in cases(&file, "consistency") {
        let (old, new) = (case["old"].as_u64().unwrap(), case["new"].as_u64().unwrap());
        let (old_root, new_root) = (hash(&case["oldRoot"]), hash(&case["newRoot"]));
        let verdict = verify_consistency(old, &old_root, new, &new_root, &hashes(&case["proof"]));
        assert_eq!(verdict.is_ok(), case["accepted"], "{case}");
    }
    for case in cases(&file, "outlines") {
        let mut own = Frontier::new();
        (0..case["from"].as_u64().unwrap()).for_each(|n| own.push(leaf_hash(&n.to_be_bytes())));
        let size = case["size"].as_u64().unwrap();
        let mut builder = OutlineBuilder::new(&own, size, hash(&case["root"])).unwrap();
        builder.proof(&hashes(&case["proof"])).unwrap();
        let subtrees = hashes(&case["subtrees"]);
        if !subtrees.is_empty() {
            builder.page(&subtrees).unwrap();
        }
        let tail = (!case["tail"].is_null()).then(|| hash(&case["tail"]));
        assert!(builder.finish(tail).is_ok(), "{case}");
    }
}

#[test]
fn note_vectors_hold() {
    let file = read("note.json");
    for case in cases(&file, "cases") {
        let note = case["note"].as_str().unwrap().as_bytes();
        let keys = case["keys"].as_array().unwrap().iter();
        let keys: Vec<VerifierKey> =
            keys.map(|key| key.as_str().unwrap().parse().unwrap()).collect();
        let parsed = UnverifiedNote::parse(note);
        let verdict = parsed.clone().and_then(|note| note.verify(&keys));
        assert_eq!(verdict.is_ok(), case["accepted"], "{}", case["what"]);
        let as_file = parsed.and_then(|note| note.verify_attributed(&keys));
        assert_eq!(as_file.is_ok(), case["acceptedAsFile"], "{}", case["what"]);
    }
}

#[test]
fn checkpoint_vectors_hold() {
    let file = read("checkpoint.json");
    let origin: Origin = file["origin"].as_str().unwrap().parse().unwrap();
    let (network, authority, generation) = origin.public_log().unwrap();
    assert_eq!(network.as_str(), file["network"]);
    assert_eq!(authority.to_string(), file["authority"]);
    assert_eq!(generation, file["generation"]);
    for case in cases(&file, "cases") {
        let bytes = case["checkpoint"].as_str().unwrap().as_bytes();
        let witness = case["witness"].as_str().unwrap().parse().unwrap();
        let verdict = UnverifiedCheckpoint::parse(bytes).and_then(|checkpoint| {
            checkpoint.verify_attributed(&public(&case["logKey"]), &[witness])
        });
        assert_eq!(verdict.is_ok(), case["accepted"], "{}: {verdict:?}", case["what"]);
    }
}

#[test]
fn proof_vectors_hold() {
    let file = read("proof.json");
    let (leaf, log) = (hash(&file["leaf"]), public(&file["logKey"]));
    let witness: VerifierKey = file["witness"].as_str().unwrap().parse().unwrap();
    for case in cases(&file, "cases") {
        let bytes = case["proof"].as_str().unwrap().as_bytes();
        let verdict = UnverifiedProof::parse(bytes).is_ok_and(|proof| {
            proof.verify_leaf_attributed(&leaf, &log, std::slice::from_ref(&witness)).is_ok()
        });
        assert_eq!(verdict, case["accepted"], "{}", case["what"]);
    }
}
