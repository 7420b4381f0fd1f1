//! Made-up authorities: keys, identity chains and entries, all derived from numbers.

use serde_bytes::ByteBuf;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::{AuthorityId, LogId, NetworkName, NodeId, RecordId};
use tallystick_protocol::identity::{
    Controllers, Event, Identity, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

/// The network that all simulated nodes are in.
#[must_use]
pub fn network() -> NetworkName {
    "made-up".parse().unwrap()
}

/// An authority with up to two nodes.
#[derive(Clone)]
pub struct Who {
    number: u16,
    /// Its identity chain as signed.
    pub events: Vec<Vec<u8>>,
    /// Its identity chain, verified.
    pub identity: Identity,
}

impl Who {
    /// The authority of this number.
    #[must_use]
    pub fn new(number: u16) -> Self {
        let profile = Profile { name: format!("Borough {number}"), ..Profile::default() };
        let controller = secret(number, 0);
        let inception = Event::inception(
            network(),
            UnixTime::from_seconds(1_700_000_000),
            Controllers { keys: vec![controller.public()], threshold: 1 },
            NextControllers {
                key_hashes: vec![commit_to_key(&secret(number, 1).public())],
                threshold: 1,
            },
            WorkingKeys {
                log: secret(number, 2).public(),
                witness: secret(number, 3).public(),
                nodes: vec![secret(number, 4).public(), secret(number, 5).public()],
                sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
            },
            profile,
        );
        let events = vec![inception.sign(&[(0, &controller)]).unwrap()];
        let identity = UnverifiedChain::new(events.clone()).verify(&network()).unwrap();
        Self { number, events, identity }
    }

    /// Its id.
    #[must_use]
    pub fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    /// Its public log.
    #[must_use]
    pub fn log(&self) -> LogId {
        LogId::public(self.authority(), 0)
    }

    /// The key that signs its heads.
    #[must_use]
    pub fn log_key(&self) -> SecretKey {
        secret(self.number, 2)
    }

    /// Key of its first or second node.
    #[must_use]
    pub fn node(&self, which: u8) -> NodeId {
        NodeId::try_from(secret(self.number, 4 + which).public().as_bytes()).unwrap()
    }
}

fn secret(number: u16, purpose: u8) -> SecretKey {
    let mut seed = [purpose; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(seed)
}

/// An entry that is unlike any other with another `serial`; its body takes about `bytes`.
#[must_use]
pub fn entry(serial: u64, bytes: usize) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &format!("Gully cleansing {serial}").into()).unwrap();
    fields.insert("status", &"active".into()).unwrap();
    fields.insert("payload", &ciborium::Value::Bytes(vec![serial as u8; bytes])).unwrap();
    let mut random = [7; 32];
    random[..8].copy_from_slice(&serial.to_be_bytes());
    let (body, commitment) = FullBody::new(&Salt::from_random(random), &fields).unwrap();
    let mut record = [0; 16];
    record[..8].copy_from_slice(&serial.to_be_bytes());
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let header = Header::new(
        Kind::CONTRACT,
        RecordId::from_bytes(record),
        Action::Put,
        UnixTime::from_seconds(1_760_000_000),
        commitment,
        size,
    );
    Entry::author(header, Body::Full(body)).unwrap()
}
