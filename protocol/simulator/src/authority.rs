//! Made-up authorities: keys, identity chains and entries, all derived from numbers.

use serde_bytes::ByteBuf;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::{AuthorityId, LogId, NetworkName, NodeId, RecordId};
use tallystick_protocol::identity::{
    Controllers, Event, EventType, Head, Identity, NextControllers, Profile, SealingKey,
    UnverifiedChain, WorkingKeys, commit_to_key,
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
    /// How many log keys it has had before this one.
    log_keys: u8,
}

impl Who {
    /// The authority of this number.
    #[must_use]
    pub fn new(number: u16) -> Self {
        let profile = Profile { name: format!("Borough {number}"), ..Profile::default() };
        let controller = controller(number, 0);
        let inception = Event::inception(
            network(),
            UnixTime::from_seconds(1_700_000_000),
            Controllers { keys: vec![controller.public()], threshold: 1 },
            NextControllers {
                key_hashes: vec![commit_to_key(&self::controller(number, 1).public())],
                threshold: 1,
            },
            WorkingKeys {
                log: log_key(number, 0).public(),
                witness: secret(number, 3).public(),
                nodes: vec![secret(number, 4).public(), secret(number, 5).public()],
                sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
            },
            profile,
        );
        let events = vec![inception.sign(&[(0, &controller)]).unwrap()];
        let identity = UnverifiedChain::new(events.clone()).verify(&network()).unwrap();
        Self { number, events, identity, log_keys: 0 }
    }

    /// The same authority after a planned change of its log key, which leaves `pin`.
    #[must_use]
    pub fn rotated(&self, pin: Head) -> Self {
        self.rekeyed(EventType::Rotation, |event| event.pin = Some(pin))
    }

    /// The same authority after its controllers closed the generation at `closes`.
    #[must_use]
    pub fn recovered(&self, closes: Head) -> Self {
        self.rekeyed(EventType::Recovery, |event| {
            event.generation += 1;
            event.closes = Some(closes);
        })
    }

    /// The same authority, which names witnesses of whom `quorum` confirm a record.
    ///
    /// # Panics
    /// If that breaks a rule of identities.
    #[must_use]
    pub fn witnessed_by(&self, witnesses: &[AuthorityId], quorum: u32) -> Self {
        self.described(|event| {
            event.witnesses = witnesses.to_vec();
            event.quorum = quorum;
        })
    }

    /// The same authority under another name, by its controllers as they are.
    ///
    /// # Panics
    /// If that is no name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        self.described(|event| event.profile.name = name.into())
    }

    fn described(&self, change: impl FnOnce(&mut Event)) -> Self {
        let mut event = self.identity.next_event(EventType::Profile, ISSUED);
        change(&mut event);
        let by = controller(self.number, self.established());
        self.extended(event.sign(&[(0, &by)]).unwrap(), self.log_keys)
    }

    fn rekeyed(&self, event_type: EventType, change: impl FnOnce(&mut Event)) -> Self {
        let (established, log_keys) = (self.established() + 1, self.log_keys + 1);
        let by = controller(self.number, established);
        let mut event = self.identity.next_event(event_type, ISSUED);
        event.controllers.keys = vec![by.public()];
        let next = controller(self.number, established + 1);
        event.next.key_hashes = vec![commit_to_key(&next.public())];
        event.keys.log = log_key(self.number, log_keys).public();
        change(&mut event);
        self.extended(event.sign(&[(0, &by)]).unwrap(), log_keys)
    }

    fn extended(&self, event: Vec<u8>, log_keys: u8) -> Self {
        let identity = self.identity.extended(event).unwrap();
        let events = identity.events().to_vec();
        Self { number: self.number, events, identity, log_keys }
    }

    /// How often its controllers have changed.
    fn established(&self) -> u8 {
        // In this world every such change comes with a new log key.
        self.log_keys
    }

    /// Its id.
    #[must_use]
    pub fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    /// Its public log, in the generation that is open.
    #[must_use]
    pub fn log(&self) -> LogId {
        LogId::public(self.authority(), self.identity.generation())
    }

    /// The key that signs its heads.
    #[must_use]
    pub fn log_key(&self) -> SecretKey {
        log_key(self.number, self.log_keys)
    }

    /// The key that cosigns others' heads.
    #[must_use]
    pub fn witness_key(&self) -> SecretKey {
        secret(self.number, 3)
    }

    /// Key of its first or second node.
    #[must_use]
    pub fn node(&self, which: u8) -> NodeId {
        NodeId::try_from(secret(self.number, 4 + which).public().as_bytes()).unwrap()
    }
}

const ISSUED: UnixTime = UnixTime::from_seconds(1_750_000_000);

/// The controller behind so many changes of controllers.
fn controller(number: u16, changes: u8) -> SecretKey {
    secret(number, if changes < 2 { changes } else { 100 + changes })
}

/// The log key behind so many others.
fn log_key(number: u16, others: u8) -> SecretKey {
    secret(number, if others == 0 { 2 } else { 150 + others })
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
