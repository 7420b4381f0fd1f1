//! What must hold for any bytes, one function per fuzz target.
//!
//! Shared by the targets, which feed it with what the fuzzer finds, and by
//! `tests/corpus.rs`, which feeds it with the committed seeds on a stable
//! toolchain. None of them may panic, and whatever is accepted must hold up.
#![allow(dead_code, reason = "each target uses one function")]

use ciborium::Value;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::card::UnverifiedCard;
use tallystick_protocol::cbor;
use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::entry::Header;
use tallystick_protocol::equivocation::{FindingFacts, UnverifiedEvidence};
use tallystick_protocol::id::{Commitment, NetworkName};
use tallystick_protocol::identity::{Identity, Relation, UnverifiedChain};
use tallystick_protocol::limits;
use tallystick_protocol::log::Tile;
use tallystick_protocol::note::UnverifiedNote;
use tallystick_protocol::proof::UnverifiedProof;
use tallystick_protocol::proof::record::UnverifiedRecordProof;
use tallystick_protocol::sync::wire::{Announcement, Message};
use tallystick_protocol::witness::policy::Policy;
use tallystick_protocol::witness::{UnverifiedRequest, parse_cosignatures};

fn network() -> NetworkName {
    "made-up".parse().expect("a plain name")
}

/// Accepted bytes are the one spelling of their item.
pub(crate) fn cbor(data: &[u8]) {
    if cbor::check(data).is_err() {
        return;
    }
    let value: Value = cbor::decode(data).expect("checked items decode");
    assert_eq!(cbor::encode_value(value).as_deref(), Ok(data));
}

/// A header that is understood says the same after being written anew.
pub(crate) fn header(data: &[u8]) {
    let Ok(header) = Header::decode(data) else { return };
    if header.is_understood() {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}

/// No bytes give a commitment that nobody made; any fields give a body that verifies in every state.
pub(crate) fn body(data: &[u8]) {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    assert!(Body::verify(data.to_vec(), &Commitment::from_bytes([0; 32]), size).is_err());
    let Ok(Value::Map(pairs)) = cbor::decode(data) else { return };
    let mut fields = Fields::new();
    for (name, value) in pairs {
        let Value::Text(name) = name else { continue };
        // A name or value that cannot be in a body leaves the fields as they are.
        let _refused = fields.insert(&name, &value);
    }
    let Ok((full, commitment)) = FullBody::new(&Salt::from_random([9; 32]), &fields) else {
        return;
    };
    let size = u32::try_from(full.as_bytes().len()).expect("bodies are small");
    let verify = |body: Body| Body::verify(body.into_bytes(), &commitment, size);
    let partial = full.disclose(|name| name.len() % 2 == 0).expect("a body made here");
    let full = verify(Body::Full(full)).expect("a full body verifies");
    assert_eq!(full.fields(), fields);
    let erased = verify(Body::Erased(full.erase().unwrap())).expect("an erased body verifies");
    assert_eq!((erased.fields().len(), erased.withheld().len()), (0, fields.len()));
    let partial = verify(Body::Partial(partial)).expect("a partial body verifies");
    assert_eq!(partial.fields().len() + partial.withheld().len(), fields.len());
    for (name, value) in partial.fields().iter() {
        assert_eq!(fields.get(name.as_str()), Some(value));
    }
}

/// Accepted notes have one spelling; nobody's key signed any of them.
pub(crate) fn note(data: &[u8]) {
    let Ok(note) = UnverifiedNote::parse(data) else { return };
    assert_eq!(note.to_bytes(), data);
    assert!(note.claimed_signatures().len() <= limits::NOTE_SIGNATURES);
    assert!(note.verify(&[]).is_err());
}

/// Accepted checkpoints have one spelling and are notes.
pub(crate) fn checkpoint(data: &[u8]) {
    let Ok(checkpoint) = UnverifiedCheckpoint::parse(data) else { return };
    assert_eq!(checkpoint.to_bytes(), data);
    assert!(UnverifiedNote::parse(data).is_ok());
}

/// Accepted requests to witnesses and addresses of tiles have one spelling; a
/// policy that is read is satisfied by all its witnesses together.
pub(crate) fn witness(data: &[u8]) {
    if let Ok(request) = UnverifiedRequest::parse(data) {
        assert_eq!(request.to_bytes(), data);
    }
    if let Ok(lines) = parse_cosignatures(data) {
        let again: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(again.as_bytes(), data);
    }
    if let Ok(policy) = Policy::parse(data) {
        assert!(policy.satisfied(&policy.witness_keys()));
        assert!(policy.needed() <= policy.witnesses().len());
        assert_eq!(policy.satisfied([]), !policy.asks_for_witnesses());
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(tile) = text.parse::<Tile>() {
        assert_eq!(tile.to_string(), text);
    }
}

/// Accepted proofs have one spelling; what a record proof reports is in its own checkpoint.
pub(crate) fn proof(data: &[u8]) {
    let parsed = UnverifiedProof::parse(data);
    if let Ok(proof) = &parsed {
        assert_eq!(proof.to_bytes(), data);
    }
    let Ok(record) = UnverifiedRecordProof::parse(data) else { return };
    let proof = parsed.expect("a record proof is a proof");
    if let Ok(verified) = record.verify(&[]) {
        let facts = verified.facts();
        assert_eq!(facts.checkpoint.origin(), proof.claimed_origin());
        assert_eq!(facts.checkpoint.size(), proof.claimed_size());
        assert_eq!(verified.version().index, proof.claimed_index());
        assert!(facts.cosignatures.is_empty());
    }
}

/// A frame or gossip message that is read is the one that would be written.
pub(crate) fn frame(data: &[u8]) {
    if let Ok(Some(message)) = Message::decode(data) {
        assert_eq!(message.encode(), data);
    }
    if let Ok(announcement) = Announcement::decode(data) {
        assert_eq!(announcement.encode(), data);
    }
}

/// Chains that verify are kept as they came, one event after the other; cards are read or refused.
pub(crate) fn identity(data: &[u8]) {
    let events = events(data);
    let mut longer: Option<Identity> = None;
    for count in 1..=events.len() {
        let chain = UnverifiedChain::new(events.iter().take(count).cloned().collect());
        let Ok(identity) = chain.verify(&network()) else { break };
        assert_eq!(identity.network(), &network());
        assert!(identity.events() == events.get(..count).unwrap_or_default());
        assert_eq!(identity.sequence() as usize + 1, count);
        assert_eq!(identity.relation_to(&identity), Some(Relation::Same));
        if let (Some(before), Some(event)) = (&longer, events.get(count - 1)) {
            // One by one gives the same as all at once.
            assert_eq!(before.extended(event.clone()).as_ref(), Ok(&identity));
            assert_eq!(identity.relation_to(before), Some(Relation::Extends));
            assert_eq!(identity.authority(), before.authority());
            assert!(identity.generation() >= before.generation());
        }
        longer = Some(identity);
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(card) = UnverifiedCard::parse(text)
    {
        // Cards of other networks and unsigned ones are refused here.
        let _refused = card.verify(&network());
    }
}

/// The events of a seed: each behind its length in two bytes, or else all of it is one.
fn events(data: &[u8]) -> Vec<Vec<u8>> {
    let (mut events, mut rest) = (Vec::new(), data);
    while let Some((len, tail)) = rest.split_first_chunk::<2>()
        && let Some((event, tail)) = tail.split_at_checked(u16::from_be_bytes(*len).into())
    {
        events.push(event.to_vec());
        rest = tail;
    }
    if rest.is_empty() && !events.is_empty() { events } else { vec![data.to_vec()] }
}

/// Accepted evidence has one spelling and convicts its own authority.
pub(crate) fn evidence(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(evidence) = UnverifiedEvidence::parse_armour(text)
    {
        evidence_in(&evidence.to_bytes());
    }
    evidence_in(data);
}

fn evidence_in(data: &[u8]) {
    let Ok(evidence) = UnverifiedEvidence::parse(data) else { return };
    assert_eq!(evidence.to_bytes(), data);
    let Ok(evidence) = evidence.verify(&network()) else { return };
    assert_eq!(evidence.to_bytes(), data);
    for chain in evidence.chains() {
        assert_eq!(chain.authority(), evidence.authority());
        assert!(!(evidence.is_current(chain) && evidence.ends_with(chain)));
    }
    if let FindingFacts::Fork(fork) = evidence.facts().finding {
        let [older, newer] = fork.heads;
        assert!(older.size <= newer.size && fork.shown != older.root);
        assert!(fork.common.is_none_or(|common| common.size < older.size));
    }
}
