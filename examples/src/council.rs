//! A council made of nothing but the protocol crate: keys, a log, a signed head.
//!
//! A node keeps all this on disk and takes its randomness from the system. Here
//! keys and salts come from fixed numbers, so that each run gives the same
//! bytes. **Never do that outside an example:** whoever knows the numbers has
//! the keys.

use serde_bytes::ByteBuf;
use tallystick_protocol::body::{Body, FullBody, Salt};
use tallystick_protocol::checkpoint::{Checkpoint, Origin, VerifiedCheckpoint, sign};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::{AuthorityId, Hash, RecordId};
use tallystick_protocol::identity::{
    Controllers, Event, Identity, NextControllers, Profile, SealingKey, UnverifiedChain,
    WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::{Frontier, Nodes, inclusion_proof};
use tallystick_protocol::proof::record::assemble;
use tallystick_protocol::record::contract::{Contract, Item};
use tallystick_protocol::record::money::{Money, Value};
use tallystick_protocol::record::part::Organisation;
use tallystick_protocol::record::{Kind, Record};
use tallystick_protocol::time::UnixTime;

use crate::Outcome;

/// An authority with its log in memory.
pub struct Council {
    identity: Identity,
    log_key: SecretKey,
    entries: Vec<Entry>,
}

/// The log's tree as proofs are computed from it.
struct Leaves<'a>(&'a [Entry]);

impl Nodes for Leaves<'_> {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.0.get(usize::try_from(index).ok()?).map(Entry::leaf)
    }

    fn subtree(&self, _index: u64) -> Option<Hash> {
        // Not kept: computed from the leaves.
        None
    }
}

impl Council {
    /// A council called `name`, with keys that grow from `number`.
    ///
    /// # Errors
    /// If the name cannot stand in a profile.
    pub fn new(name: &str, number: u8) -> Outcome<Self> {
        let key = |purpose: u8| {
            let mut seed = [number; 32];
            seed[0] = purpose;
            SecretKey::from_seed(seed)
        };
        let (controller, next, log) = (key(1), key(2), key(3));
        let network = "example".parse()?;
        let event = Event::inception(
            network,
            UnixTime::from_seconds(1_790_000_000),
            Controllers { keys: vec![controller.public()], threshold: 1 },
            NextControllers { key_hashes: vec![commit_to_key(&next.public())], threshold: 1 },
            WorkingKeys {
                log: log.public(),
                witness: key(4).public(),
                nodes: vec![key(5).public()],
                sealing: SealingKey { kem: 0x0020, key: ByteBuf::from(vec![7; 32]) },
            },
            Profile { name: name.to_owned(), ..Profile::default() },
        );
        let signed = event.sign(&[(0, &controller)])?;
        let identity = UnverifiedChain::new(vec![signed]).verify(&"example".parse()?)?;
        Ok(Self { identity, log_key: log, entries: Vec::new() })
    }

    /// Its id, which a reader should know from elsewhere.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Appends a contract to the log; gives its index.
    ///
    /// # Errors
    /// If the contract breaks a rule of its kind or is too large.
    pub fn say(&mut self, contract: Contract) -> Outcome<u64> {
        let record = Record::from(contract);
        record.validate()?;
        let number = u8::try_from(self.entries.len())?;
        let (body, commitment) =
            FullBody::new(&Salt::from_random([number; 32]), &record.to_fields()?)?;
        let header = Header::new(
            Kind::CONTRACT,
            RecordId::from_bytes([number; 16]),
            Action::Put,
            UnixTime::from_seconds(1_790_000_000 + u64::from(number)),
            commitment,
            u32::try_from(body.as_bytes().len())?,
        );
        self.entries.push(Entry::author(header, Body::Full(body))?);
        Ok(u64::from(number))
    }

    /// The log's head, signed: it vouches for every entry at once.
    ///
    /// # Errors
    /// None for a log of these sizes.
    pub fn head(&self) -> Outcome<VerifiedCheckpoint> {
        let mut tree = Frontier::new();
        self.entries.iter().for_each(|entry| tree.push(entry.leaf()));
        let origin =
            Origin::public(self.identity.network(), &self.authority(), self.identity.generation());
        Ok(sign(&Checkpoint::new(origin, tree.size(), tree.root())?, &self.log_key)?)
    }

    /// The file that proves that this council said `entry` at `index` of its
    /// log; the body is shown in the state it has in `entry`.
    ///
    /// # Errors
    /// If the entry does not stand there.
    pub fn prove(&self, index: u64, entry: &Entry) -> Outcome<Vec<u8>> {
        let head = self.head()?;
        let size = head.checkpoint().size();
        let hashes = inclusion_proof(&Leaves(&self.entries), index, size)?;
        Ok(assemble(&self.identity, entry, index, &hashes, &head, &[])?)
    }
}

/// A contract with one line, priced per dwelling and year.
#[must_use]
pub fn contract(title: &str, buyer: &str, supplier: &str, pence: i64, dwellings: i64) -> Contract {
    Contract {
        title: title.to_owned(),
        buyer: Some(Organisation::named(buyer)),
        suppliers: vec![Organisation::named(supplier)],
        cpv: Some("48000000".to_owned()),
        value: Some(Value::new(pence * dwellings, "GBP")),
        items: vec![Item {
            quantity: Some(dwellings.to_string()),
            unit: Some("dwelling".to_owned()),
            unit_price: Some(Money::new(pence, "GBP")),
            price_basis: Some("dwelling per year".to_owned()),
            ..Item::default()
        }],
        ..Contract::default()
    }
}
