//! Identity chains: whose keys speak for an authority.
//!
//! A chain is a list of *events*, each signed by controller keys that live off
//! the server. The first, the inception, names them and commits by hash to the
//! next ones; `AuthorityId` is the SHA-256 of its bytes without signatures. An
//! event names one log key (signs checkpoints, nothing else), one witness key,
//! the node keys (libp2p identities), a sealing key (HPKE), up to 14 witnesses
//! and a profile. Every event is also an entry of the authority's public log.
//!
//! ```text
//! inception ──► profile ──► rotation ──► recovery ──► successor
//!  commits to    signed by   reveals the committed controllers, who sign it,
//!  controllers   controllers and commits to the ones after them
//!  by hash
//! ```
//!
//! - [`event`]: one event, what it says, how several people sign it;
//! - [`chain`]: the rules from event to event, and [`Identity`], a verified chain;
//! - [`pin`]: heads of group logs, which only the group's members recognise;
//! - [`relation`]: which of two chains of one authority counts.
//!
//! **Invariants:** an [`Identity`] exists only for a chain whose every
//! signature was checked strictly and whose keys are all of full strength; the
//! network name is signed, so a chain of another network is refused; who holds
//! the working keys, or the controller keys of today, can name no new keys.
//! Deliberately absent: clocks. `issued` is a claim and decides nothing.

pub mod chain;
pub mod event;
pub mod pin;
pub mod relation;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

pub use self::chain::{Identity, KeyStanding, UnverifiedChain};
pub use self::event::{Draft, Event, EventType, Head};
pub use self::pin::{GroupKeyStanding, GroupPin, PinOpening, PinSalt};
pub use self::relation::Relation;
use crate::cbor::CborError;
use crate::id::Hash;
use crate::key::PublicKey;

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

/// Why an event or a chain is not accepted.
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
    /// A signer is not among the controllers that the event before committed to.
    #[error("the controllers are not those that the event before committed to")]
    Controllers,
    /// An event that does not continue the one before it.
    #[error("an event of the identity does not continue the one before it")]
    Broken,
    /// A rule about names, thresholds, keys or lists is broken.
    #[error("the identity breaks a rule: {0}")]
    Rule(&'static str),
    /// A newer version that this implementation cannot judge.
    #[error("the identity has events that need a newer version of this software")]
    Unsupported,
}

/// Hash by which an event commits to a next controller key.
#[must_use]
pub fn commit_to_key(key: &PublicKey) -> Hash {
    let digest = Sha256::new().chain_update([key.kind() as u8]).chain_update(key.as_bytes());
    Hash::from_bytes(digest.finalize().into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::NetworkName;
    use crate::key::SecretKey;
    use crate::time::UnixTime;

    pub(crate) fn network() -> NetworkName {
        "test".parse().unwrap()
    }

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

    /// The identity of [`event`].
    pub(crate) fn incepted(n: u8) -> Identity {
        verify(event(n).sign(&[(0, &secret(n))]).unwrap()).unwrap()
    }

    /// The next event, which reveals the controller `by` and commits to `next`.
    pub(crate) fn establishing(
        identity: &Identity,
        event_type: EventType,
        (by, next): (u8, u8),
        change: impl FnOnce(&mut Event),
    ) -> Vec<u8> {
        let mut event = identity.next_event(event_type, UnixTime::from_seconds(1_800_000_000));
        event.controllers.keys = vec![secret(by).public()];
        event.next.key_hashes = vec![commit_to_key(&secret(next).public())];
        change(&mut event);
        event.sign(&[(0, &secret(by))]).unwrap()
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
    fn a_chain_has_at_least_one_event() {
        let none = UnverifiedChain::new(vec![]).verify(&"test".parse().unwrap());
        assert_eq!(none, Err(IdentityError::Size));
    }
}
