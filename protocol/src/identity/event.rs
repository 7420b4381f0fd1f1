//! One event of an identity chain: what it says, and who has signed it.
//!
//! Events are deterministic CBOR maps with text keys; a signed event is the
//! array `[event bytes, [[controller index, signature], …]]`, the indices
//! ascending. A signature covers `"tallystick identity event v1\n"` and the
//! event bytes. A [`Draft`] is a signed event that may lack signatures: it is
//! what several people pass around until enough of them have signed.
//!
//! **Invariant:** a [`Draft`] carries only signatures that fit. Deliberately
//! absent: whether the event may stand where it says it stands, which the chain
//! decides ([`super::chain`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use super::{Controllers, GroupPin, IdentityError, NextControllers, Profile, WorkingKeys};
use crate::cbor::{self, CborError, Reader};
use crate::checkpoint::{Checkpoint, UnverifiedCheckpoint, VerifiedCheckpoint};
use crate::id::{AuthorityId, Generation, Hash, NetworkName};
use crate::key::SecretKey;
use crate::limits;
use crate::time::UnixTime;

const SIGNATURE_DOMAIN: &[u8] = b"tallystick identity event v1\n";
pub(super) const EVENT_VERSION: u32 = 1;

/// Which kind of event this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Other authorities take over.
    Successor,
}

impl EventType {
    /// Whether it reveals the controllers that the event before committed to.
    /// Only such an event can change keys.
    #[must_use]
    pub const fn is_establishing(self) -> bool {
        !matches!(self, Self::Profile)
    }
}

/// A signed head of the authority's public log, as an event pins it: with its
/// whole note, so that whoever has the chain has the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    generation: Generation,
    size: u64,
    root: Hash,
    note: Vec<u8>,
}

impl Head {
    /// Of a signed head; `None` if it is not of a public log.
    #[must_use]
    pub fn of(head: &VerifiedCheckpoint) -> Option<Self> {
        let (size, root) = (head.checkpoint().size(), head.checkpoint().root());
        let (_, _, generation) = head.checkpoint().origin().public_log()?;
        Some(Self { generation, size, root, note: head.to_bytes() })
    }

    /// Generation of the log.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Entries that stand.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root over them.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The signed note.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// Whether a head says the same.
    #[must_use]
    pub fn is(&self, head: &Checkpoint) -> bool {
        self.size == head.size() && self.root == head.root()
    }
}

impl Serialize for Head {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.note)
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let note = ByteBuf::deserialize(deserializer)?.into_vec();
        let head = UnverifiedCheckpoint::parse(&note).map_err(serde::de::Error::custom)?;
        let log = head.claimed_origin().public_log();
        let (_, _, generation) =
            log.ok_or_else(|| serde::de::Error::custom("not a head of a public log"))?;
        Ok(Self { generation, size: head.claimed_size(), root: head.claimed_root(), note })
    }
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
    /// Current controllers; in an establishing event, those it reveals.
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
    /// The last head that a log key signed which this event retires. Heads
    /// under that key count only if they are shown to lead up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Head>,
    /// Where a recovery closes the previous generation: what lies beyond, or on
    /// another branch, is disowned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<Head>,
    /// The same for group logs, in ascending order; see [`super::pin`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_pins: Vec<GroupPin>,
    /// Who takes over, in a successor event and after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successors: Vec<AuthorityId>,
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
            pin: None,
            closes: None,
            group_pins: Vec::new(),
            successors: Vec::new(),
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

    /// The rules that an event keeps by itself, wherever it stands.
    pub(super) fn check_rules(&self) -> Result<(), IdentityError> {
        use IdentityError::Rule;
        let listed = |len: usize| (1..=limits::IDENTITY_LIST).contains(&len);
        let reachable = |threshold: u32, keys: usize| threshold >= 1 && threshold as usize <= keys;
        let controllers = &self.controllers;
        if !listed(controllers.keys.len()) || !listed(self.next.key_hashes.len()) {
            return Err(Rule("one to sixteen controllers, now and next"));
        }
        if !reachable(controllers.threshold, controllers.keys.len())
            || !reachable(self.next.threshold, self.next.key_hashes.len())
        {
            return Err(Rule("the threshold must be between one and the number of controllers"));
        }
        if !listed(self.keys.nodes.len()) || self.keys.sealing.key.len() > limits::SEALING_KEY_BYTES
        {
            return Err(Rule("one to sixteen node keys and a sealing key of ordinary size"));
        }
        if self.witnesses.len() > limits::WITNESSES || self.quorum as usize > self.witnesses.len() {
            return Err(Rule("at most fourteen witnesses, and no more required than named"));
        }
        if !is_distinct(&self.witnesses) || !is_distinct(&self.successors) {
            return Err(Rule("each witness and successor must be named once"));
        }
        if self.successors.len() > limits::IDENTITY_LIST
            || self.group_pins.len() > limits::GROUP_PINS
        {
            return Err(Rule("at most sixteen successors and 1,024 group pins"));
        }
        if !self.group_pins.is_sorted_by(|first, second| first < second) {
            return Err(Rule("group pins stand in ascending order, each once"));
        }
        check_profile(&self.profile)?;
        self.check_distinct_keys()
    }

    /// One key for two purposes would let a signature for one be used for the
    /// other; a controller that is also the next one makes its theft final.
    fn check_distinct_keys(&self) -> Result<(), IdentityError> {
        let working = [&self.keys.log, &self.keys.witness].into_iter().chain(&self.keys.nodes);
        let all: Vec<_> = self.controllers.keys.iter().chain(working).collect();
        let hashes: BTreeSet<_> = all.iter().map(|key| super::commit_to_key(key)).collect();
        if hashes.len() != all.len() {
            return Err(IdentityError::Rule("every key must be used for one purpose only"));
        }
        let next = &self.next.key_hashes;
        if !is_distinct(next) || next.iter().any(|hash| hashes.contains(hash)) {
            return Err(IdentityError::Rule("the next controllers must be keys of their own"));
        }
        Ok(())
    }
}

fn check_profile(profile: &Profile) -> Result<(), IdentityError> {
    if profile.also_known_as.len() > limits::IDENTITY_LIST
        || profile.organisation_ids.len() > limits::IDENTITY_LIST
    {
        return Err(IdentityError::Rule("at most sixteen other names and sixteen identifiers"));
    }
    let identifiers = profile.organisation_ids.iter().flat_map(|id| [&id.scheme, &id.id]);
    let mut names = [&profile.name].into_iter().chain(&profile.also_known_as);
    if !names.all(|name| is_name(name))
        || !identifiers.chain(&profile.domain).all(|name| is_name(name))
    {
        return Err(IdentityError::Rule(
            "names must have 1 to 256 bytes and no control characters",
        ));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&name.len())
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

fn is_distinct<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

/// SHA-256 of an event's bytes, by which the next event names it.
pub(super) fn event_hash(event: &[u8]) -> Hash {
    Hash::from_bytes(Sha256::digest(event).into())
}

fn signed_message(event: &[u8]) -> Vec<u8> {
    [SIGNATURE_DOMAIN, event].concat()
}

/// Event bytes and `[controller index, signature]` pairs, as stored and sent.
#[derive(Clone, Serialize)]
pub(super) struct SignedEvent(pub(super) ByteBuf, Vec<(u32, ByteBuf)>);

impl SignedEvent {
    /// Reads the one spelling. No signature covers this envelope, so a decoder
    /// that reads past what it does not expect would give one event many.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CborError> {
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

    /// The indices of those who signed; every signature is checked. They ascend,
    /// so that one event has one encoding per set of signers.
    pub(super) fn signers(&self, controllers: &Controllers) -> Result<Vec<u32>, IdentityError> {
        let message = signed_message(&self.0);
        let mut signers = Vec::with_capacity(self.1.len());
        for (index, signature) in &self.1 {
            let key = usize::try_from(*index).ok().and_then(|index| controllers.keys.get(index));
            let key = key.ok_or(IdentityError::Signatures)?;
            if signers.last().is_some_and(|last| last >= index) {
                return Err(IdentityError::Signatures);
            }
            key.verify(&message, signature).map_err(|_| IdentityError::Signatures)?;
            signers.push(*index);
        }
        Ok(signers)
    }

    /// Checks that the threshold of `controllers` has signed.
    pub(super) fn check_signatures(&self, controllers: &Controllers) -> Result<(), IdentityError> {
        let enough = self.signers(controllers)?.len() >= controllers.threshold as usize;
        if enough { Ok(()) } else { Err(IdentityError::Signatures) }
    }
}

fn pair(reader: &mut Reader<'_>) -> Result<(), CborError> {
    if reader.array(2)? == 2 { Ok(()) } else { Err(CborError::Unexpected) }
}

/// An event on its way from one controller to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    event: Event,
    bytes: Vec<u8>,
    signatures: BTreeMap<u32, ByteBuf>,
}

impl Draft {
    /// An event that nobody has signed yet.
    ///
    /// # Errors
    /// [`IdentityError::Encoding`], [`IdentityError::Size`] or [`IdentityError::Rule`].
    pub fn new(event: Event) -> Result<Self, IdentityError> {
        event.check_rules()?;
        let bytes = cbor::encode(&event)?;
        if bytes.len() > limits::IDENTITY_EVENT_BYTES {
            return Err(IdentityError::Size);
        }
        Ok(Self { event, bytes, signatures: BTreeMap::new() })
    }

    /// Reads what [`Draft::to_bytes`] wrote, and checks the signatures on it.
    ///
    /// # Errors
    /// An [`IdentityError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() > limits::IDENTITY_EVENT_BYTES {
            return Err(IdentityError::Size);
        }
        let signed = SignedEvent::read(bytes)?;
        let mut draft = Self::new(cbor::decode(&signed.0)?)?;
        signed.signers(&draft.event.controllers)?;
        if draft.bytes != *signed.0 {
            // Fields that this version does not know would be lost.
            return Err(IdentityError::Unsupported);
        }
        draft.signatures = signed.1.into_iter().collect();
        Ok(draft)
    }

    /// What is to be signed.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// Indices, among the event's controllers, of those who have signed.
    pub fn signers(&self) -> impl Iterator<Item = u32> {
        self.signatures.keys().copied()
    }

    /// How many signatures are still missing.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let have = u32::try_from(self.signatures.len()).unwrap_or(u32::MAX);
        self.event.controllers.threshold.saturating_sub(have)
    }

    /// Signs with a controller's key; gives its index, `None` if it is nobody's here.
    pub fn sign(&mut self, key: &SecretKey) -> Option<u32> {
        let public = key.public();
        let index = self.event.controllers.keys.iter().position(|known| *known == public)?;
        let index = u32::try_from(index).ok()?;
        let signature = key.sign(&signed_message(&self.bytes));
        self.signatures.insert(index, ByteBuf::from(signature));
        Some(index)
    }

    /// Takes over the signatures of another copy of the same event.
    ///
    /// # Errors
    /// [`IdentityError::Broken`] if it is another event.
    pub fn merge(&mut self, other: Self) -> Result<(), IdentityError> {
        if self.bytes != other.bytes {
            return Err(IdentityError::Broken);
        }
        self.signatures.extend(other.signatures);
        Ok(())
    }

    /// The signed event as chains carry it; complete once nothing is missing.
    ///
    /// # Errors
    /// [`IdentityError::Encoding`], which is a fault of ours.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IdentityError> {
        let signatures = self.signatures.clone().into_iter().collect();
        Ok(cbor::encode(&SignedEvent(ByteBuf::from(self.bytes.clone()), signatures))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UnverifiedChain;
    use crate::identity::tests::{event, network, secret};

    fn verify(bytes: Vec<u8>) -> Result<crate::identity::Identity, IdentityError> {
        UnverifiedChain::new(vec![bytes]).verify(&network())
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

    /// Two of three controllers must sign.
    fn shared() -> Event {
        let mut shared = event(10);
        shared.controllers.keys.extend([secret(20).public(), secret(30).public()]);
        shared.controllers.threshold = 2;
        shared
    }

    #[test]
    fn people_who_sign_one_after_the_other_make_a_complete_event() {
        let mut first = Draft::new(shared()).unwrap();
        assert_eq!((first.missing(), first.signers().count()), (2, 0));
        assert_eq!(first.sign(&secret(99)), None);
        assert_eq!(first.sign(&secret(30)), Some(2));
        let file = first.to_bytes().unwrap();
        assert_eq!(verify(file.clone()), Err(IdentityError::Signatures));
        let mut second = Draft::parse(&file).unwrap();
        assert_eq!((second.missing(), second.event()), (1, &shared()));
        assert_eq!(second.sign(&secret(10)), Some(0));
        assert_eq!(second.missing(), 0);
        assert!(verify(second.to_bytes().unwrap()).is_ok());
    }

    #[test]
    fn people_who_sign_copies_can_put_them_together() {
        let [mut left, mut right] = [Draft::new(shared()).unwrap(), Draft::new(shared()).unwrap()];
        left.sign(&secret(10));
        right.sign(&secret(20));
        left.merge(right).unwrap();
        assert_eq!(left.missing(), 0);
        let other = Draft::new(event(50)).unwrap();
        assert_eq!(left.merge(other), Err(IdentityError::Broken));
    }

    #[test]
    fn a_draft_with_a_signature_that_does_not_fit_is_refused() {
        let mut draft = Draft::new(shared()).unwrap();
        draft.sign(&secret(10));
        let mut file = draft.to_bytes().unwrap();
        let last = file.len() - 1;
        file[last] ^= 1;
        assert_eq!(Draft::parse(&file), Err(IdentityError::Signatures));
    }
}
