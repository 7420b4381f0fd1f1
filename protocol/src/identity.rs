//! Identity chains: whose keys speak for an authority.
//!
//! A chain is a list of *events*, each signed by controller keys that live off
//! the server. The first, the inception, names them and commits by hash to the
//! next ones; `AuthorityId` is the SHA-256 of its bytes without signatures. An
//! event names one log key (signs checkpoints, nothing else), one witness key,
//! the node keys (libp2p identities), a sealing key (HPKE), up to 14 witnesses
//! and a profile. Every event is also an entry of the authority's public log.
//!
//! Events are deterministic CBOR maps with text keys; a signed event is the
//! array `[event bytes, [[controller index, signature], …]]`. The signature
//! covers `"tallystick identity event v1\n"` and the event bytes.
//!
//! **Invariants:** an [`Identity`] exists only for a chain whose every
//! signature was checked strictly and whose keys are all of full strength; the
//! network name is signed, so a chain of another network is refused.
//! Deliberately absent for now: the rules of rotation, recovery and succession.
//! The format carries them (`type`, `sequence`, `previous`, `next`, `closes`);
//! a chain that has such an event is [`IdentityError::Unsupported`], which is
//! nobody's fault.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use crate::cbor::{self, CborError, Reader};
use crate::id::{AuthorityId, Generation, Hash, NetworkName};
use crate::key::{PublicKey, SecretKey};
use crate::limits;
use crate::time::UnixTime;

const SIGNATURE_DOMAIN: &[u8] = b"tallystick identity event v1\n";
const EVENT_VERSION: u32 = 1;

/// What an authority is on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Buys goods, works and services.
    #[default]
    Buyer,
    /// A centre of excellence or central buying organisation.
    Centre,
    /// Verifies; publishes no contracts.
    Auditor,
}

/// An organisation identifier: a claim until something confirms it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrganisationId {
    /// Register, as an org-id.guide prefix such as `GB-LAE`.
    pub scheme: String,
    /// Identifier within the register.
    pub id: String,
}

/// How an authority describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Legal name.
    pub name: String,
    /// Other names under which it buys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_known_as: Vec<String>,
    /// Identifiers in public registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organisation_ids: Vec<OrganisationId>,
    /// Internet domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What it is on the network.
    #[serde(default)]
    pub role: Role,
}

/// The controllers of an authority: `threshold` of `keys` must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controllers {
    /// Keys, in the order that signatures name them by.
    pub keys: Vec<PublicKey>,
    /// How many must sign.
    pub threshold: u32,
}

/// The controllers that take over next, named by hash only, so that a thief of
/// today's keys cannot rotate to keys of his own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextControllers {
    /// SHA-256 of each key's type byte and bytes.
    pub key_hashes: Vec<Hash>,
    /// How many will have to sign.
    pub threshold: u32,
}

/// The keys that work for an authority from day to day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingKeys {
    /// Signs checkpoints, nothing else.
    pub log: PublicKey,
    /// Cosigns others' checkpoints.
    pub witness: PublicKey,
    /// libp2p identities of its nodes.
    pub nodes: Vec<PublicKey>,
    /// Receives sealed group secrets: an HPKE public key, encoded as its suite says.
    pub sealing: SealingKey,
}

/// An HPKE public key with its suite (RFC 9180 KEM identifier).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKey {
    /// KEM identifier from the IANA HPKE registry.
    pub kem: u16,
    /// Encoded public key.
    pub key: ByteBuf,
}

/// Which kind of event this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventType {
    /// The first: names everything.
    Inception,
    /// Planned change of keys.
    Rotation,
    /// Closes a generation of the log after theft or loss and opens the next.
    Recovery,
    /// New profile or witnesses, same keys.
    Profile,
    /// Another authority takes over.
    Successor,
}

/// Where a recovery closes the previous generation of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Generation that ends.
    pub generation: Generation,
    /// Entries that stand.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// One event, without its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Format version, 1.
    pub version: u32,
    /// Kind of event.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Network the authority belongs to.
    pub network: NetworkName,
    /// Position in the chain, from 0.
    pub sequence: u32,
    /// SHA-256 of the event before, absent in an inception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// When it was made, a claim.
    pub issued: UnixTime,
    /// Current controllers.
    pub controllers: Controllers,
    /// Committed next controllers.
    pub next: NextControllers,
    /// Working keys.
    pub keys: WorkingKeys,
    /// Public self-description.
    pub profile: Profile,
    /// Authorities whose cosignatures count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<AuthorityId>,
    /// How many of them confirm a record.
    #[serde(default)]
    pub quorum: u32,
    /// Generation of the log that this event speaks for.
    #[serde(default)]
    pub generation: Generation,
    /// What a recovery closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<Closing>,
}

/// Why a chain is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not deterministic CBOR of the expected shape, or a weak key in it.
    #[error("malformed identity: {0}")]
    Encoding(#[from] CborError),
    /// No events, too many, or one too large.
    #[error("the identity has no events or is over its limits")]
    Size,
    /// A chain for another network.
    #[error("the identity belongs to another network")]
    Network,
    /// Too few valid controller signatures.
    #[error("the identity is not signed by enough of its controllers")]
    Signatures,
    /// A rule about names, thresholds, keys or lists is broken.
    #[error("the identity breaks a rule: {0}")]
    Rule(&'static str),
    /// A later event or newer version that this implementation cannot judge.
    #[error("the identity has events that need a newer version of this software")]
    Unsupported,
}

impl Event {
    /// A first event.
    #[must_use]
    pub const fn inception(
        network: NetworkName,
        issued: UnixTime,
        controllers: Controllers,
        next: NextControllers,
        keys: WorkingKeys,
        profile: Profile,
    ) -> Self {
        Self {
            version: EVENT_VERSION,
            event_type: EventType::Inception,
            network,
            sequence: 0,
            previous: None,
            issued,
            controllers,
            next,
            keys,
            profile,
            witnesses: Vec::new(),
            quorum: 0,
            generation: 0,
            closes: None,
        }
    }

    /// Encodes and signs the event with `signers`, each by its index among the controllers.
    ///
    /// # Errors
    /// [`IdentityError::Encoding`] if the event cannot be encoded.
    pub fn sign(&self, signers: &[(u32, &SecretKey)]) -> Result<Vec<u8>, IdentityError> {
        let event = cbor::encode(self)?;
        let message = signed_message(&event);
        let signatures =
            signers.iter().map(|(index, key)| (*index, ByteBuf::from(key.sign(&message))));
        let signatures = signatures.collect();
        Ok(cbor::encode(&SignedEvent(ByteBuf::from(event), signatures))?)
    }

    fn check_rules(&self) -> Result<(), IdentityError> {
        use IdentityError::Rule;
        let listed = |len: usize| (1..=limits::IDENTITY_LIST).contains(&len);
        let reachable = |threshold: u32, keys: usize| threshold >= 1 && threshold as usize <= keys;
        let controllers = &self.controllers;
        let profile = &self.profile;
        if !listed(controllers.keys.len()) || !listed(self.next.key_hashes.len()) {
            return Err(Rule("one to sixteen controllers, now and next"));
        }
        if !reachable(controllers.threshold, controllers.keys.len())
            || !reachable(self.next.threshold, self.next.key_hashes.len())
        {
            return Err(Rule("the threshold must be between one and the number of controllers"));
        }
        if !listed(self.keys.nodes.len()) || self.keys.sealing.key.len() > 4096 {
            return Err(Rule("one to sixteen node keys and a sealing key of ordinary size"));
        }
        if self.witnesses.len() > limits::WITNESSES || self.quorum as usize > self.witnesses.len() {
            return Err(Rule("at most fourteen witnesses, and no more required than named"));
        }
        if profile.also_known_as.len() > limits::IDENTITY_LIST
            || profile.organisation_ids.len() > limits::IDENTITY_LIST
        {
            return Err(Rule("at most sixteen other names and sixteen identifiers"));
        }
        let identifiers = profile.organisation_ids.iter().flat_map(|id| [&id.scheme, &id.id]);
        let mut names = [&profile.name].into_iter().chain(&profile.also_known_as);
        if !names.all(|name| is_name(name))
            || !identifiers.chain(&profile.domain).all(|name| is_name(name))
        {
            return Err(Rule("names must have 1 to 256 bytes and no control characters"));
        }
        self.check_distinct_keys()
    }

    /// One key for two purposes would let a signature for one be used for the other.
    fn check_distinct_keys(&self) -> Result<(), IdentityError> {
        let working = [&self.keys.log, &self.keys.witness].into_iter().chain(&self.keys.nodes);
        let all: Vec<_> = self.controllers.keys.iter().chain(working).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        if distinct.len() == all.len() {
            Ok(())
        } else {
            Err(IdentityError::Rule("every key must be used for one purpose only"))
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&name.len())
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

fn signed_message(event: &[u8]) -> Vec<u8> {
    [SIGNATURE_DOMAIN, event].concat()
}

/// Event bytes and `[controller index, signature]` pairs, as stored and sent.
#[derive(Serialize)]
struct SignedEvent(ByteBuf, Vec<(u32, ByteBuf)>);

impl SignedEvent {
    /// Reads the one spelling. No signature covers this envelope, so a decoder
    /// that reads past what it does not expect would give one event many.
    fn read(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        pair(&mut reader)?;
        let event = ByteBuf::from(reader.bytes(limits::IDENTITY_EVENT_BYTES)?);
        let mut signatures = Vec::new();
        for _ in 0..reader.array(limits::IDENTITY_LIST)? {
            pair(&mut reader)?;
            let index = u32::try_from(reader.unsigned()?).map_err(|_| CborError::Unexpected)?;
            signatures.push((index, ByteBuf::from(reader.bytes(limits::IDENTITY_EVENT_BYTES)?)));
        }
        reader.end()?;
        Ok(Self(event, signatures))
    }
}

fn pair(reader: &mut Reader<'_>) -> Result<(), CborError> {
    if reader.array(2)? == 2 { Ok(()) } else { Err(CborError::Unexpected) }
}

/// A chain as it came in. Nothing can be read from it but its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedChain {
    events: Vec<Vec<u8>>,
}

impl UnverifiedChain {
    /// From signed events, in order.
    #[must_use]
    pub const fn new(events: Vec<Vec<u8>>) -> Self {
        Self { events }
    }

    /// Whose chain it says it is; unverified. `None` if it does not even begin as one.
    #[must_use]
    pub fn claimed_authority(&self) -> Option<AuthorityId> {
        let first = self.events.first().filter(|e| e.len() <= limits::IDENTITY_EVENT_BYTES)?;
        SignedEvent::read(first).ok().map(|signed| AuthorityId::of_inception(&signed.0))
    }

    /// Whether these are, byte for byte, the events of a chain that was verified.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        self.events == identity.events
    }

    /// Checks every event of the chain for `network`.
    ///
    /// # Errors
    /// An [`IdentityError`]; [`IdentityError::Unsupported`] is nobody's fault.
    pub fn verify(self, network: &NetworkName) -> Result<Identity, IdentityError> {
        let fits = |event: &Vec<u8>| event.len() <= limits::IDENTITY_EVENT_BYTES;
        if self.events.len() > limits::IDENTITY_EVENTS || !self.events.iter().all(fits) {
            return Err(IdentityError::Size);
        }
        let first = self.events.first().ok_or(IdentityError::Size)?;
        let signed = SignedEvent::read(first)?;
        let event: Event = cbor::decode(&signed.0)?;
        if event.version != EVENT_VERSION {
            return Err(IdentityError::Unsupported);
        }
        if event.event_type != EventType::Inception
            || event.sequence != 0
            || event.previous.is_some()
            || event.closes.is_some()
            || event.generation != 0
        {
            return Err(IdentityError::Rule("a chain begins with an inception"));
        }
        if event.network != *network {
            return Err(IdentityError::Network);
        }
        event.check_rules()?;
        check_signatures(&signed, &event.controllers)?;
        let authority = AuthorityId::of_inception(&signed.0);
        if self.events.len() > 1 {
            return Err(IdentityError::Unsupported);
        }
        Ok(Identity { authority, current: event, events: self.events })
    }
}

fn check_signatures(signed: &SignedEvent, controllers: &Controllers) -> Result<(), IdentityError> {
    let message = signed_message(&signed.0);
    let mut signers = BTreeSet::new();
    for (index, signature) in &signed.1 {
        let key = usize::try_from(*index).ok().and_then(|index| controllers.keys.get(index));
        let key = key.ok_or(IdentityError::Signatures)?;
        key.verify(&message, signature).map_err(|_| IdentityError::Signatures)?;
        // Ascending and unique, so that one event has one encoding per set of signers.
        if signers.last().is_some_and(|last| last >= index) {
            return Err(IdentityError::Signatures);
        }
        signers.insert(*index);
    }
    let enough = signers.len() >= controllers.threshold as usize;
    if enough { Ok(()) } else { Err(IdentityError::Signatures) }
}

/// A verified chain and what it says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    authority: AuthorityId,
    current: Event,
    events: Vec<Vec<u8>>,
}

impl Identity {
    /// Whose identity it is.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        self.authority
    }

    /// The network it belongs to.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.current.network
    }

    /// The key that signs its checkpoints.
    #[must_use]
    pub const fn log_key(&self) -> &PublicKey {
        &self.current.keys.log
    }

    /// The key that cosigns others' checkpoints.
    #[must_use]
    pub const fn witness_key(&self) -> &PublicKey {
        &self.current.keys.witness
    }

    /// The libp2p identities of its nodes.
    #[must_use]
    pub fn node_keys(&self) -> &[PublicKey] {
        &self.current.keys.nodes
    }

    /// How it describes itself.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.current.profile
    }

    /// When its newest event was made, a claim.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.current.issued
    }

    /// The generation of its logs that is open.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.current.generation
    }

    /// The authorities whose cosignatures count.
    #[must_use]
    pub fn witnesses(&self) -> &[AuthorityId] {
        &self.current.witnesses
    }

    /// The signed events as received.
    #[must_use]
    pub fn events(&self) -> &[Vec<u8>] {
        &self.events
    }
}

/// Hash by which an inception commits to a next controller key.
#[must_use]
pub fn commit_to_key(key: &PublicKey) -> Hash {
    let digest = Sha256::new().chain_update([key.kind() as u8]).chain_update(key.as_bytes());
    Hash::from_bytes(digest.finalize().into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn secret(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    pub(crate) fn event(n: u8) -> Event {
        Event::inception(
            "test".parse().unwrap(),
            UnixTime::from_seconds(1_700_000_000),
            Controllers { keys: vec![secret(n).public()], threshold: 1 },
            NextControllers {
                key_hashes: vec![commit_to_key(&secret(n + 1).public())],
                threshold: 1,
            },
            WorkingKeys {
                log: secret(n + 2).public(),
                witness: secret(n + 3).public(),
                nodes: vec![secret(n + 4).public()],
                sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
            },
            Profile { name: format!("Borough {n}"), ..Profile::default() },
        )
    }

    fn verify(bytes: Vec<u8>) -> Result<Identity, IdentityError> {
        UnverifiedChain::new(vec![bytes]).verify(&"test".parse().unwrap())
    }

    #[test]
    fn an_inception_gives_an_identity() {
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        let identity = verify(signed.clone()).unwrap();
        assert_eq!(identity.profile().name, "Borough 10");
        assert_eq!(identity.log_key(), &secret(12).public());
        assert_eq!(identity.events(), &[signed]);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        for at in 0..signed.len() * 8 {
            let mut changed = signed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(verify(changed).is_err(), "bit {at}");
        }
    }

    #[test]
    fn the_envelope_that_no_signature_covers_has_one_spelling() {
        use crate::cbor::Writer;
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        let SignedEvent(event, signatures) = SignedEvent::read(&signed).unwrap();
        let signature = &signatures[0].1;
        let envelope = |outer: usize, inner: usize, as_list: bool| {
            let mut w = Writer::default();
            w.array(outer);
            if as_list {
                w.array(event.len());
                event.iter().for_each(|byte| {
                    w.unsigned(u64::from(*byte));
                });
            } else {
                w.bytes(&event);
            }
            w.array(1).array(inner).unsigned(0).bytes(signature);
            (4..outer + inner).for_each(|_| {
                w.null();
            });
            w.finish()
        };
        assert_eq!(envelope(2, 2, false), signed);
        for (outer, inner, as_list) in [(3, 2, false), (2, 3, false), (2, 2, true)] {
            let other = envelope(outer, inner, as_list);
            assert!(cbor::check(&other).is_ok());
            let unexpected = Err(IdentityError::Encoding(CborError::Unexpected));
            assert_eq!(verify(other), unexpected, "{outer} {inner} {as_list}");
        }
    }

    #[test]
    fn another_network_is_refused() {
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        let other = UnverifiedChain::new(vec![signed]).verify(&"other".parse().unwrap());
        assert_eq!(other, Err(IdentityError::Network));
    }

    #[test]
    fn the_threshold_of_distinct_controllers_must_sign() {
        let mut two = event(10);
        two.controllers.keys.push(secret(20).public());
        two.controllers.threshold = 2;
        assert!(verify(two.sign(&[(0, &secret(10)), (1, &secret(20))]).unwrap()).is_ok());
        for signers in [vec![(0, secret(10))], vec![(0, secret(10)), (0, secret(10))], vec![]] {
            let signers: Vec<_> = signers.iter().map(|(index, key)| (*index, key)).collect();
            assert_eq!(verify(two.sign(&signers).unwrap()), Err(IdentityError::Signatures));
        }
        let stranger = two.sign(&[(0, &secret(10)), (1, &secret(99))]).unwrap();
        assert_eq!(verify(stranger), Err(IdentityError::Signatures));
    }

    #[test]
    fn a_key_with_two_purposes_is_refused() {
        let mut reused = event(10);
        reused.keys.witness = reused.keys.log;
        let signed = reused.sign(&[(0, &secret(10))]).unwrap();
        assert!(matches!(verify(signed), Err(IdentityError::Rule(_))));
    }

    #[test]
    fn rules_on_names_thresholds_and_lists_hold() {
        let breaks: [fn(&mut Event); 7] = [
            |e| e.profile.name = String::new(),
            |e| e.profile.name = "two\nlines".into(),
            |e| e.profile.name = "x".repeat(257),
            |e| e.controllers.threshold = 0,
            |e| e.next.threshold = 2,
            |e| e.keys.nodes.clear(),
            |e| e.quorum = 1,
        ];
        for (case, break_rule) in breaks.iter().enumerate() {
            let mut broken = event(10);
            break_rule(&mut broken);
            let signed = broken.sign(&[(0, &secret(10))]).unwrap();
            assert!(matches!(verify(signed), Err(IdentityError::Rule(_))), "case {case}");
        }
    }

    #[test]
    fn a_longer_chain_is_left_to_newer_versions() {
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        let chain = UnverifiedChain::new(vec![signed.clone(), signed]);
        assert_eq!(chain.verify(&"test".parse().unwrap()), Err(IdentityError::Unsupported));
        assert_eq!(
            UnverifiedChain::new(vec![]).verify(&"test".parse().unwrap()),
            Err(IdentityError::Size)
        );
    }
}
