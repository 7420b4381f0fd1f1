//! Group pins: heads of group logs in a public chain, of which outsiders learn nothing.
//!
//! Whoever retires a log key pins the last heads that it signed. That of the
//! public log stands in the event as it is; the heads of group logs stand there
//! as salted hashes, since a group's existence is its members' business alone.
//! Whoever gets the head with its salt, a [`PinOpening`], judges by it
//! ([`Identity::group_log_keys`]); as it names the log by its origin only, it may stand
//! in a proof that a stranger reads.
//!
//! ```text
//! pin = SHA-256("tallystick group pin v1\n" ‖ salt ‖ the three lines of the checkpoint)
//! ```
//!
//! **Invariants:** a salt is 32 random bytes, made for one pin and never used
//! again, so without it no guess at log, size or root can be tried, and pins
//! of one head are not alike; the pins of an event are in ascending order, so
//! their order says nothing of groups; they may be filled up with random hashes
//! ([`GroupPin::decoy`]), so their number need not say how many groups there
//! are. Deliberately absent: randomness, which comes in as an argument; whose log an
//! origin stands for; and how openings travel.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use super::chain::Identity;
use crate::checkpoint::{Checkpoint, Origin};
use crate::id::{Generation, Hash};
use crate::key::PublicKey;

const DOMAIN: &[u8] = b"tallystick group pin v1\n";

/// What an identity event says of one head of one group's log, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupPin(Hash);

impl GroupPin {
    /// A pin of nothing, from random bytes: nobody can tell it from the others.
    #[must_use]
    pub const fn decoy(random: [u8; 32]) -> Self {
        Self(Hash::from_bytes(random))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// The secret without which a pin says nothing: random, and for one pin only.
#[derive(Clone, PartialEq, Eq)]
pub struct PinSalt([u8; 32]);

impl PinSalt {
    /// From fresh random bytes, or from where they were kept.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Its bytes, to be handed on with the head and to nobody else.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PinSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinSalt(…)")
    }
}

impl Drop for PinSalt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A head of a group's log with the salt of its pin: what shows which pin in the
/// chain is the one of this head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinOpening {
    salt: PinSalt,
    head: Checkpoint,
}

impl PinOpening {
    /// For a head; `None` if it is one of a public log, whose heads are pinned as they are.
    #[must_use]
    pub fn new(salt: PinSalt, head: Checkpoint) -> Option<Self> {
        head.origin().private_log().map(|_| Self { salt, head })
    }

    /// The head: what counts of the log under the keys that were replaced then.
    #[must_use]
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The salt, to be handed on with the head.
    #[must_use]
    pub const fn salt(&self) -> &PinSalt {
        &self.salt
    }

    /// The pin for an identity event.
    #[must_use]
    pub fn pin(&self) -> GroupPin {
        let digest = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update(self.salt.0)
            .chain_update(self.head.text())
            .finalize();
        GroupPin(Hash::from_bytes(digest.into()))
    }

    /// Whether `pin` is the one of this head under this salt.
    #[must_use]
    pub fn opens(&self, pin: &GroupPin) -> bool {
        self.pin() == *pin
    }
}

/// By what right a log key signs heads of a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKeyStanding<'a> {
    /// It is the log key of the generation that is open.
    Current,
    /// It was: its heads count if a consistency proof leads from them to this one.
    Retired(&'a PinOpening),
    /// It was, and no opening fits a pin of the event that decides: nothing it
    /// signed counts until one comes.
    Unopened,
}

impl Identity {
    /// The log keys of a generation, newest first, and by what right each signs heads of
    /// a group's log with this origin, judged by the `openings` at hand. Those that fit no
    /// pin are passed over: whoever made them up pins nothing. That the origin is one of
    /// this authority and generation is the caller's to know (`group::OriginOpening`).
    pub fn group_log_keys<'a>(
        &'a self,
        origin: &Origin,
        generation: Generation,
        openings: &'a [PinOpening],
    ) -> impl Iterator<Item = (&'a PublicKey, GroupKeyStanding<'a>)> + use<'a> {
        let origin = origin.clone();
        let open = generation == self.generation();
        let current = open.then_some((self.log_key(), GroupKeyStanding::Current));
        let retired = self.retired_pins(generation);
        current.into_iter().chain(retired.map(move |(key, pins)| {
            let fits = |it: &&PinOpening| *it.head.origin() == origin && pins.contains(&it.pin());
            let standing = openings.iter().find(fits);
            (key, standing.map_or(GroupKeyStanding::Unopened, GroupKeyStanding::Retired))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint;
    use crate::group;
    use crate::id::{AuthorityId, GroupId, LogId, Space};
    use crate::identity::tests::{establishing, incepted, network, secret};
    use crate::identity::{Event, EventType, Head, IdentityError};
    use proptest::prelude::*;

    const GROUP: GroupId = GroupId::from_bytes([4; 32]);

    fn log(generation: Generation) -> LogId {
        LogId { authority: incepted(10).authority(), space: Space::Group(GROUP), generation }
    }

    fn opening(salt: u8, log: &LogId, size: u64) -> PinOpening {
        let root = crate::log::leaf_hash(&size.to_be_bytes());
        let head = Checkpoint::new(group::origin(&network(), log).unwrap(), size, root).unwrap();
        PinOpening::new(PinSalt::new([salt; 32]), head).unwrap()
    }

    /// The head of the public log that goes with a retired key.
    fn head(generation: Generation, key: u8) -> Option<Head> {
        let origin = Origin::public(&network(), &incepted(10).authority(), generation);
        let head = Checkpoint::new(origin, 5, crate::log::leaf_hash(b"5")).unwrap();
        let signed = checkpoint::sign(&head, &secret(key)).unwrap();
        Head::of(&signed)
    }

    /// A rotation to log key 40, which pins what the openings say.
    fn rotated(pins: &[GroupPin]) -> Result<Identity, IdentityError> {
        let before = incepted(10);
        before.extended(establishing(&before, EventType::Rotation, (11, 112), |event| {
            event.keys.log = secret(40).public();
            event.pin = head(0, 12);
            event.group_pins = pins.to_vec();
        }))
    }

    /// The standing of each key, newest first, with the size of the head that was opened.
    fn sizes(identity: &Identity, log: &LogId, openings: &[PinOpening]) -> Vec<Option<u64>> {
        let origin = group::origin(&network(), log).unwrap();
        let keys = identity.group_log_keys(&origin, log.generation, openings);
        keys.map(|(_, standing)| match standing {
            GroupKeyStanding::Current => Some(u64::MAX),
            GroupKeyStanding::Retired(opening) => Some(opening.head().size()),
            GroupKeyStanding::Unopened => None,
        })
        .collect()
    }

    const CURRENT: Option<u64> = Some(u64::MAX);

    #[test]
    fn a_retired_key_is_judged_by_the_pin_that_a_member_can_open() {
        let known = opening(7, &log(0), 5);
        let known = [known];
        let mut pins = vec![known[0].pin(), GroupPin::decoy([1; 32])];
        pins.sort_unstable();
        let identity = rotated(&pins).unwrap();
        assert_eq!(sizes(&identity, &log(0), &known), [CURRENT, Some(5)]);
        // Whoever has no opening, or one that was made up, has nothing to judge by.
        assert_eq!(sizes(&identity, &log(0), &[]), [CURRENT, None]);
        let made_up = [opening(7, &log(0), 6), opening(8, &log(0), 5)];
        assert_eq!(sizes(&identity, &log(0), &made_up), [CURRENT, None]);
        // It says nothing of another group's or another authority's log.
        let group = Space::Group(GroupId::from_bytes([5; 32]));
        let other = LogId { space: group, ..log(0) };
        assert_eq!(sizes(&identity, &other, &known), [CURRENT, None]);
        let foreign = LogId { authority: incepted(20).authority(), ..log(0) };
        assert_eq!(sizes(&identity, &foreign, &known), [CURRENT, None]);
    }

    #[test]
    fn in_a_closed_generation_only_what_the_recovery_pins_counts() {
        let (first, closing) = (opening(7, &log(0), 5), opening(8, &log(0), 3));
        let before = rotated(&[first.pin()]).unwrap();
        let event = establishing(&before, EventType::Recovery, (112, 60), |event| {
            event.keys.log = secret(41).public();
            event.closes = head(0, 40);
            event.generation = 1;
            event.group_pins = vec![closing.pin()];
        });
        let after = before.extended(event).unwrap();
        let openings = [first, closing];
        assert_eq!(sizes(&after, &log(0), &openings), [Some(3), Some(3)], "both of its keys");
        assert_eq!(sizes(&after, &log(0), &openings[..1]), [None, None], "the older pin is void");
        assert_eq!(sizes(&after, &log(1), &openings), [CURRENT]);
    }

    #[test]
    fn pins_stand_in_order_once_each_and_only_where_a_log_key_is_replaced() {
        let (low, high) = (GroupPin::decoy([1; 32]), GroupPin::decoy([2; 32]));
        assert!(rotated(&[low, high]).is_ok());
        for pins in [[high, low], [low, low]] {
            assert!(matches!(rotated(&pins), Err(IdentityError::Rule(_))), "{pins:?}");
        }
        let before = incepted(10);
        let keeps_its_key = |event: &mut Event| event.group_pins = vec![low];
        for event_type in [EventType::Rotation, EventType::Successor] {
            let event = establishing(&before, event_type, (11, 60), |event| {
                keeps_its_key(event);
                if event_type == EventType::Successor {
                    event.successors = vec![AuthorityId::from_bytes([9; 32])];
                }
            });
            assert!(matches!(before.extended(event), Err(IdentityError::Rule(_))));
        }
        let mut first = crate::identity::tests::event(10);
        keeps_its_key(&mut first);
        let signed = first.sign(&[(0, &secret(10))]).unwrap();
        let chain = crate::identity::UnverifiedChain::new(vec![signed]).verify(&network());
        assert!(matches!(chain, Err(IdentityError::Rule(_))), "{chain:?}");
    }

    #[test]
    fn a_public_log_has_no_group_pin_and_a_salt_is_not_printed() {
        let public = Origin::public(&network(), &incepted(10).authority(), 0);
        let head = Checkpoint::new(public, 5, Hash::from_bytes([1; 32])).unwrap();
        assert_eq!(PinOpening::new(PinSalt::new([7; 32]), head), None);
        let printed = format!("{:?}", opening(7, &log(0), 5));
        assert!(printed.contains("PinSalt(…)"), "{printed}");
    }

    #[test]
    fn nothing_of_a_group_stands_in_the_chain() {
        let known = opening(77, &log(0), 5);
        let identity = rotated(&[known.pin()]).unwrap();
        let holds = |bytes: &[u8]| {
            let events = identity.events().iter();
            events.flat_map(|event| event.windows(bytes.len())).any(|window| window == bytes)
        };
        assert!(holds(known.pin().as_bytes()));
        for secret in [GROUP.as_bytes(), known.head().root().as_bytes(), known.salt().as_bytes()] {
            assert!(!holds(secret));
        }
    }

    proptest! {
        /// Whoever has the pin and guesses everything right but the salt learns
        /// nothing from trying: the right guess does not fit, and under any salt
        /// of his own it fits no better than a wrong one.
        #[test]
        fn without_the_salt_a_pin_cannot_be_tested_against_guesses(
            salt: [u8; 32], guessed: [u8; 32], group: [u8; 32],
            size in 1u64.., root: [u8; 32], other in 1u64..,
        ) {
            prop_assume!(salt != guessed);
            let origin = Origin::private(&network(), &Hash::from_bytes(group));
            let at = |salt, size: u64| {
                let head = Checkpoint::new(origin.clone(), size, Hash::from_bytes(root)).unwrap();
                PinOpening::new(PinSalt::new(salt), head).unwrap()
            };
            let pin = at(salt, size).pin();
            prop_assert!(at(salt, size).opens(&pin));
            prop_assert!(!at(guessed, size).opens(&pin));
            prop_assert!(!at(guessed, other).opens(&pin));
            // With the salt, it fits that head only.
            prop_assert_eq!(at(salt, other).opens(&pin), other == size);
            // Two pins of one head are not alike, so that they cannot be matched either.
            prop_assert_ne!(at(guessed, size).pin(), pin);
        }
    }
}
