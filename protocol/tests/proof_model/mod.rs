//! Made-up authorities, records and logs for the tests of record proofs.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "shared by test programs, each of which uses a part"
)]

use ciborium::Value as Cbor;
use serde_bytes::ByteBuf;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::checkpoint::{Checkpoint, Origin, VerifiedCheckpoint, sign, witness_key};
use tallystick_protocol::entry::{Action, Entry, EntryError, Header, UnverifiedEntry};
use tallystick_protocol::id::{Hash, NetworkName, RecordId, Version};
use tallystick_protocol::identity::{
    Controllers, Event, Identity, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::{Frontier, Nodes, inclusion_proof, leaf_hash};
use tallystick_protocol::note::VerifierKey;
use tallystick_protocol::proof::record::{
    RecordFacts, RecordProofError, UnverifiedRecordProof, VerifiedRecordProof,
};
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

pub const ASH: u8 = 10;
pub const DALE: u8 = 30;

pub fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

pub fn seconds(n: u64) -> UnixTime {
    UnixTime::from_seconds(n)
}

/// Seeds: n controller, n + 1 next controller, n + 2 log, n + 3 witness, n + 4 node.
pub fn signed_event(n: u8, network_name: &str) -> Vec<u8> {
    let event = Event::inception(
        network(network_name),
        seconds(1_700_000_000),
        Controllers { keys: vec![secret(n).public()], threshold: 1 },
        NextControllers { key_hashes: vec![commit_to_key(&secret(n + 1).public())], threshold: 1 },
        WorkingKeys {
            log: secret(n + 2).public(),
            witness: secret(n + 3).public(),
            nodes: vec![secret(n + 4).public()],
            sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
        },
        Profile { name: format!("Borough {n}"), ..Profile::default() },
    );
    event.sign(&[(0, &secret(n))]).unwrap()
}

pub fn identity(n: u8, network_name: &str) -> Identity {
    let chain = UnverifiedChain::new(vec![signed_event(n, network_name)]);
    chain.verify(&network(network_name)).unwrap()
}

pub fn witness() -> VerifierKey {
    let dale = identity(DALE, "made-up");
    witness_key(dale.network(), &dale.authority(), secret(DALE + 3).public())
}

pub fn fields(version: u64) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in [
        ("title", Cbor::from("Housing management system")),
        ("value.amount", Cbor::from(1_250_000 + version)),
        ("value.currency", Cbor::from("GBP")),
        ("rating", Cbor::from("good")),
    ] {
        fields.insert(name, &value).unwrap();
    }
    fields
}

/// Version `n` of one record, as its author writes it.
pub fn entry(n: u8, fields: &Fields) -> Entry {
    let (body, commitment) = FullBody::new(&Salt::from_random([n; 32]), fields).unwrap();
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let record = RecordId::from_bytes([3; 16]);
    let issued = seconds(1_750_000_000 + u64::from(n));
    let mut header = Header::new(Kind::CONTRACT, record, Action::Put, issued, commitment, size);
    header.previous = (n > 1).then_some(Version { generation: 0, index: 0 });
    header.retain_until = Some(seconds(2_000_000_000));
    Entry::author(header, Body::Full(body)).unwrap()
}

/// The same entry with only the fields named shown.
pub fn disclosed(entry: &Entry, shown: impl Fn(&str) -> bool) -> Entry {
    let Some(Body::Full(body)) = entry.body() else { panic!("a full body") };
    with_body(entry, Some(Body::Partial(body.disclose(shown).unwrap()).into_bytes())).unwrap()
}

pub fn with_body(entry: &Entry, body: Option<Vec<u8>>) -> Result<Entry, EntryError> {
    UnverifiedEntry::new(entry.header_bytes().to_vec(), body).check()
}

/// A log in which the entries given stand at their indices among others.
pub struct Log {
    pub leaves: Vec<Hash>,
}

impl Nodes for Log {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves.get(usize::try_from(index).ok()?).copied()
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

impl Log {
    pub fn new(size: u64, entries: &[(u64, &Entry)]) -> Self {
        let mut leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        for (index, entry) in entries {
            leaves[usize::try_from(*index).unwrap()] = entry.leaf();
        }
        Self { leaves }
    }

    /// The log when it had fewer entries.
    pub fn first(&self, size: u64) -> Self {
        Self { leaves: self.leaves[..usize::try_from(size).unwrap()].to_vec() }
    }

    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn proof(&self, index: u64) -> Vec<Hash> {
        inclusion_proof(self, index, self.size()).unwrap()
    }

    /// Signed by the log key of authority `n` and cosigned by Dale.
    pub fn checkpoint(&self, n: u8, network_name: &str) -> VerifiedCheckpoint {
        let author = identity(n, network_name);
        let origin = Origin::public(author.network(), &author.authority(), 0);
        self.signed(origin, n + 2)
    }

    pub fn signed(&self, origin: Origin, key: u8) -> VerifiedCheckpoint {
        let mut frontier = Frontier::new();
        self.leaves.iter().for_each(|leaf| frontier.push(*leaf));
        let head = Checkpoint::new(origin, self.size(), frontier.root()).unwrap();
        let mut signed = sign(&head, &secret(key)).unwrap();
        let time = seconds(1_790_000_000);
        let line = signed.cosign(witness().name(), &secret(DALE + 3), time).unwrap();
        signed.add(line, &witness()).unwrap();
        signed
    }
}

pub fn read(file: &[u8]) -> Result<VerifiedRecordProof, RecordProofError> {
    UnverifiedRecordProof::parse(file)?.verify(&[witness()])
}

pub fn facts(file: &[u8]) -> RecordFacts {
    read(file).unwrap().facts()
}

/// Whether a changed file is accepted; if so, it must report the same facts.
pub fn accepted(changed: &[u8], facts: &RecordFacts, what: &str) -> bool {
    match read(changed) {
        Ok(proof) => {
            assert_eq!(&proof.facts(), facts, "{what}");
            true
        }
        Err(_) => false,
    }
}

pub fn lines(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8(file.to_vec()).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}
