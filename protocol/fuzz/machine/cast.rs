//! Who takes part in a run of the machine: made-up authorities whose logs, heads
//! and a second history each are made once, because signing is what takes time.

use std::sync::OnceLock;

use serde_bytes::ByteBuf;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::{AuthorityId, Hash, LogId, NetworkName, NodeId, RecordId};
use tallystick_protocol::identity::{
    Controllers, Event, Identity, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::{Nodes, root_at};
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

/// Authorities: our own, partners, and the last, whom nobody introduced.
pub(crate) const AUTHORITIES: usize = 5;
/// Sizes at which their logs have a signed head.
pub(crate) const SIZES: [u64; 8] = [1, 2, 17, 255, 256, 257, 513, 600];
/// Entries that both histories of an author share.
const COMMON: u64 = 200;

pub(crate) fn network() -> NetworkName {
    "made-up".parse().expect("a plain name")
}

/// One history of a log.
pub(crate) struct Branch {
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
    /// Signed notes, one for each of [`SIZES`].
    pub(crate) heads: Vec<Vec<u8>>,
}

impl Nodes for Branch {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.leaves.get(usize::try_from(index).ok()?).copied()
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

/// One authority.
pub(crate) struct Author {
    pub(crate) identity: Identity,
    pub(crate) node: NodeId,
    pub(crate) log_key: SecretKey,
    /// What it says, and what it says to others.
    pub(crate) branches: [Branch; 2],
    /// Heads of its log signed by somebody else's key.
    pub(crate) forged: Vec<u8>,
}

impl Author {
    pub(crate) fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    pub(crate) fn log(&self) -> LogId {
        LogId::public(self.authority(), 0)
    }
}

fn secret(number: usize, purpose: u8) -> SecretKey {
    let mut seed = [purpose; 32];
    seed[0] = u8::try_from(number).expect("few authors");
    SecretKey::from_seed(seed)
}

/// All of them, made at the first call.
pub(crate) fn authors() -> &'static [Author] {
    static AUTHORS: OnceLock<Vec<Author>> = OnceLock::new();
    AUTHORS.get_or_init(|| (0..AUTHORITIES).map(author).collect())
}

fn author(number: usize) -> Author {
    let key = |purpose| secret(number, purpose).public();
    let inception = Event::inception(
        network(),
        UnixTime::from_seconds(1_700_000_000),
        Controllers { keys: vec![key(0)], threshold: 1 },
        NextControllers { key_hashes: vec![commit_to_key(&key(1))], threshold: 1 },
        WorkingKeys {
            log: key(2),
            witness: key(3),
            nodes: vec![key(4)],
            sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
        },
        Profile { name: format!("Borough {number}"), ..Profile::default() },
    );
    let event = inception.sign(&[(0, &secret(number, 0))]).expect("its own key");
    let identity = UnverifiedChain::new(vec![event]).verify(&network()).expect("just made");
    let node = NodeId::try_from(key(4).as_bytes()).expect("an Ed25519 key");
    let branches = [branch(number, &identity, 0), branch(number, &identity, 1)];
    let forged = head(&branches[0], &identity, 17, &secret(number, 9));
    Author { identity, node, log_key: secret(number, 2), branches, forged }
}

fn branch(number: usize, identity: &Identity, which: u64) -> Branch {
    let mut branch =
        Branch { headers: Vec::new(), bodies: Vec::new(), leaves: Vec::new(), heads: Vec::new() };
    for index in 0..SIZES[SIZES.len() - 1] {
        let which = if index < COMMON { 0 } else { which };
        let entry = entry((number as u64) << 32 | which << 24 | index);
        branch.leaves.push(entry.leaf());
        let (header, body) = entry.into_bytes();
        branch.headers.push(header);
        branch.bodies.push(body.expect("made with one"));
    }
    branch.heads =
        SIZES.iter().map(|size| head(&branch, identity, *size, &secret(number, 2))).collect();
    branch
}

fn head(branch: &Branch, identity: &Identity, size: u64, key: &SecretKey) -> Vec<u8> {
    let origin = Origin::public(&network(), &identity.authority(), 0);
    let root = root_at(branch, size).expect("so many were made");
    let head = Checkpoint::new(origin, size, root).expect("not empty");
    checkpoint::sign(&head, key).expect("a plain origin").to_bytes()
}

/// An entry that is unlike any other with another serial.
pub(crate) fn entry(serial: u64) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &format!("Gully cleansing {serial}").into()).expect("short");
    let mut random = [7; 32];
    random[..8].copy_from_slice(&serial.to_be_bytes());
    let (body, commitment) = FullBody::new(&Salt::from_random(random), &fields).expect("small");
    let mut record = [0; 16];
    record[..8].copy_from_slice(&serial.to_be_bytes());
    let size = u32::try_from(body.as_bytes().len()).expect("small");
    let issued = UnixTime::from_seconds(1_760_000_000);
    let record = RecordId::from_bytes(record);
    let header = Header::new(Kind::CONTRACT, record, Action::Put, issued, commitment, size);
    Entry::author(header, Body::Full(body)).expect("they belong together")
}
