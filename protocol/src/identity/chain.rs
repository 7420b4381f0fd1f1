//! The rules from event to event, and the identity that follows from a chain.
//!
//! | event | signed by | may change |
//! |---|---|---|
//! | inception | its own controllers | – |
//! | profile | the controllers as they are | profile, witnesses, quorum |
//! | rotation | the committed controllers, whom it reveals | keys, profile, witnesses |
//! | recovery | the same | the same; closes the generation of the log and opens the next, under a new log key |
//! | successor | the same | the same; names who takes over |
//!
//! An establishing event commits to the controllers after those it reveals.
//! Whoever retires a log key pins the last head that it signed; a head under a
//! retired key counts only if it is shown to lead up to the pinned one. In a
//! generation that is closed, what leads up to the closing head counts, whatever
//! key of that generation signed it, and nothing else does.
//!
//! **Invariants:** an [`Identity`] is only ever made by verifying every event;
//! log keys never come back. Deliberately absent: the proofs that lead up to a
//! pinned head, which need the log ([`crate::log`]).

use super::event::{EVENT_VERSION, SignedEvent, event_hash};
use super::{
    Controllers, Event, EventType, GroupPin, Head, IdentityError, NextControllers, Profile,
    SealingKey, commit_to_key,
};
use crate::cbor;
use crate::checkpoint::{CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint};
use crate::id::{AuthorityId, Generation, Hash, NetworkName};
use crate::key::PublicKey;
use crate::limits;
use crate::note::VerifierKey;
use crate::time::UnixTime;

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

    /// The signed events as they came in.
    #[must_use]
    pub fn events(&self) -> &[Vec<u8>] {
        &self.events
    }

    /// Whose chain it says it is; unverified. `None` if it does not even begin as one.
    #[must_use]
    pub fn claimed_authority(&self) -> Option<AuthorityId> {
        let first = self.events.first().filter(|e| e.len() <= limits::IDENTITY_EVENT_BYTES)?;
        SignedEvent::read(first).ok().map(|signed| AuthorityId::of_inception(&signed.0))
    }

    /// Whether these are, byte for byte, the first events of a chain that was
    /// verified, or all of them: it says nothing new.
    #[must_use]
    pub fn is_known_to(&self, identity: &Identity) -> bool {
        !self.events.is_empty() && identity.events.starts_with(&self.events)
    }

    /// Checks every event of the chain for `network`.
    ///
    /// # Errors
    /// An [`IdentityError`]; [`IdentityError::Unsupported`] is nobody's fault.
    pub fn verify(self, network: &NetworkName) -> Result<Identity, IdentityError> {
        check_size(&self.events)?;
        let mut events = self.events.into_iter();
        let first = events.next().ok_or(IdentityError::Size)?;
        let mut identity = Identity::incept(first, network)?;
        events.try_for_each(|event| identity.follow(event))?;
        Ok(identity)
    }
}

/// What remains of an event once others have followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) hash: Hash,
    pub(super) event_type: EventType,
}

/// A log key that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Retired {
    key: PublicKey,
    /// The last head that counts of those it signed.
    pin: Head,
    /// The same of group logs.
    group_pins: Vec<GroupPin>,
}

impl Retired {
    /// Whether `pin` is no older than what this key left in its generation.
    const fn precedes(&self, pin: &Head) -> bool {
        self.pin.generation() != pin.generation() || self.pin.size() <= pin.size()
    }
}

/// By what right a log key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding<'a> {
    /// It is the log key of the generation that is open.
    Current,
    /// It was: its heads count if a consistency proof leads from them to this one.
    Retired(&'a Head),
}

/// A verified chain and what it says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    authority: AuthorityId,
    current: Event,
    events: Vec<Vec<u8>>,
    pub(super) steps: Vec<Step>,
    retired: Vec<Retired>,
    /// Closing heads of the generations before the open one, by number.
    closed: Vec<Head>,
}

impl Identity {
    fn incept(bytes: Vec<u8>, network: &NetworkName) -> Result<Self, IdentityError> {
        let (signed, event) = read(&bytes)?;
        if event.event_type != EventType::Inception
            || event.sequence != 0
            || event.previous.is_some()
            || event.generation != 0
            || event.closes.is_some()
            || event.pin.is_some()
            || !event.successors.is_empty()
            || !event.group_pins.is_empty()
        {
            return Err(IdentityError::Rule("a chain begins with an inception"));
        }
        if event.network != *network {
            return Err(IdentityError::Network);
        }
        event.check_rules()?;
        signed.check_signatures(&event.controllers)?;
        let authority = AuthorityId::of_inception(&signed.0);
        let step = Step { hash: event_hash(&signed.0), event_type: event.event_type };
        Ok(Self {
            authority,
            current: event,
            events: vec![bytes],
            steps: vec![step],
            retired: Vec::new(),
            closed: Vec::new(),
        })
    }

    /// Takes the next event, if it may follow.
    fn follow(&mut self, bytes: Vec<u8>) -> Result<(), IdentityError> {
        let (signed, event) = read(&bytes)?;
        if event.network != self.current.network {
            return Err(IdentityError::Network);
        }
        if event.sequence != self.current.sequence + 1 || event.previous != Some(self.newest()) {
            return Err(IdentityError::Broken);
        }
        event.check_rules()?;
        self.check_transition(&event)?;
        signed.check_signatures(&event.controllers)?;
        if event.keys.log != self.current.keys.log
            && let Some(pin) = event.closes.as_ref().or(event.pin.as_ref())
        {
            let (pin, group_pins) = (pin.clone(), event.group_pins.clone());
            self.retired.push(Retired { key: self.current.keys.log, pin, group_pins });
        }
        self.closed.extend(event.closes.clone());
        self.steps.push(Step { hash: event_hash(&signed.0), event_type: event.event_type });
        self.events.push(bytes);
        self.current = event;
        Ok(())
    }

    fn check_transition(&self, event: &Event) -> Result<(), IdentityError> {
        use IdentityError::Rule;
        let now = &self.current;
        let same_controllers = event.controllers == now.controllers && event.next == now.next;
        match event.event_type {
            EventType::Inception => return Err(Rule("only the first event is an inception")),
            EventType::Profile if !same_controllers => return Err(IdentityError::Controllers),
            EventType::Profile if event.keys != now.keys => {
                return Err(Rule("a profile event changes no keys"));
            }
            EventType::Profile => {}
            _ => check_revealed(&now.next, &event.controllers)?,
        }
        let succeeds = event.event_type == EventType::Successor;
        if succeeds && (event.successors.is_empty() || event.successors.contains(&self.authority)) {
            return Err(Rule("a successor event names other authorities"));
        }
        if !succeeds && event.successors != now.successors {
            return Err(Rule("only a successor event changes who takes over"));
        }
        if event.keys.log != now.keys.log && self.has_retired(&event.keys.log) {
            return Err(Rule("a log key that was replaced never comes back"));
        }
        self.check_generation(event)
    }

    /// Generations go on one by one, and a log key goes with the head it leaves.
    fn check_generation(&self, event: &Event) -> Result<(), IdentityError> {
        use IdentityError::Rule;
        let now = &self.current;
        let new_key = event.keys.log != now.keys.log;
        if !new_key && !event.group_pins.is_empty() {
            return Err(Rule("group pins go with a log key that is replaced"));
        }
        if event.event_type == EventType::Recovery {
            let closes = event.closes.as_ref();
            let closes = closes.ok_or(Rule("a recovery closes the log's generation"))?;
            let next = now.generation.checked_add(1) == Some(event.generation);
            if !next || !new_key || event.pin.is_some() {
                return Err(Rule("a recovery opens the next generation under a new log key"));
            }
            return self.check_head(closes);
        }
        if event.generation != now.generation || event.closes.is_some() {
            return Err(Rule("only a recovery closes a generation"));
        }
        match &event.pin {
            Some(pin) if new_key && self.retired.iter().all(|old| old.precedes(pin)) => {
                self.check_head(pin)
            }
            None if !new_key => Ok(()),
            _ => Err(Rule("a log key that is replaced leaves its newest head, and no other does")),
        }
    }

    /// A pinned head is one that a log key of the open generation signed.
    fn check_head(&self, head: &Head) -> Result<(), IdentityError> {
        let rule = IdentityError::Rule("a pinned head is a signed one of the open generation");
        let parsed = UnverifiedCheckpoint::parse(head.note()).map_err(|_| rule)?;
        let verified = self.verify_head(&parsed).map_err(|_| rule)?;
        let open = head.generation() == self.generation();
        if open && head.is(verified.0.checkpoint()) { Ok(()) } else { Err(rule) }
    }

    fn has_retired(&self, key: &PublicKey) -> bool {
        self.retired.iter().any(|retired| retired.key == *key)
    }

    /// SHA-256 of the newest event, which the next one has to name.
    #[must_use]
    pub fn newest(&self) -> Hash {
        // There is always an inception.
        self.steps.last().map_or(Hash::from_bytes([0; 32]), |step| step.hash)
    }

    /// The next event, as yet the same as the newest in all that it may keep;
    /// an establishing one needs its controllers and the ones after them.
    #[must_use]
    pub fn next_event(&self, event_type: EventType, issued: UnixTime) -> Event {
        let mut event = self.current.clone();
        event.version = EVENT_VERSION;
        event.event_type = event_type;
        event.sequence += 1;
        event.previous = Some(self.newest());
        event.issued = issued;
        (event.pin, event.closes) = (None, None);
        event.group_pins.clear();
        event
    }

    /// The chain with one more signed event.
    ///
    /// # Errors
    /// An [`IdentityError`] if it may not follow; [`IdentityError::Size`] if the chain is full.
    pub fn extended(&self, event: Vec<u8>) -> Result<Self, IdentityError> {
        let mut longer = self.clone();
        longer.follow(event)?;
        check_size(&longer.events)?;
        Ok(longer)
    }

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

    /// Position of its newest event.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.current.sequence
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

    /// The key to which group secrets are sealed.
    #[must_use]
    pub const fn sealing_key(&self) -> &SealingKey {
        &self.current.keys.sealing
    }

    /// Who may sign a profile event now.
    #[must_use]
    pub const fn controllers(&self) -> &Controllers {
        &self.current.controllers
    }

    /// Who may sign any other event, by hash.
    #[must_use]
    pub const fn next_controllers(&self) -> &NextControllers {
        &self.current.next
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

    /// How many of the witnesses confirm a record; 0 if none are asked for.
    #[must_use]
    pub const fn quorum(&self) -> u32 {
        self.current.quorum
    }

    /// The authorities that took over, if it has ended.
    #[must_use]
    pub fn successors(&self) -> &[AuthorityId] {
        &self.current.successors
    }

    /// The head at which a generation was closed; `None` for the open one.
    #[must_use]
    pub fn closing(&self, generation: Generation) -> Option<&Head> {
        self.closed.get(usize::try_from(generation).ok()?)
    }

    /// The signed events as received.
    #[must_use]
    pub fn events(&self) -> &[Vec<u8>] {
        &self.events
    }

    /// What each event says, in order.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        // All of them were read once, when they were verified.
        self.events.iter().filter_map(|bytes| read(bytes).ok()).map(|(_, event)| event)
    }

    /// The log keys of a generation, newest first, and by what right each signs.
    pub fn log_keys(
        &self,
        generation: Generation,
    ) -> impl Iterator<Item = (&PublicKey, KeyStanding<'_>)> {
        let open = generation == self.generation();
        let current = open.then_some((self.log_key(), KeyStanding::Current));
        let retired = self.retired.iter().rev();
        let retired = retired.filter(move |retired| retired.pin.generation() == generation);
        current.into_iter().chain(retired.map(move |retired| {
            let pin = self.closing(generation).unwrap_or(&retired.pin);
            (&retired.key, KeyStanding::Retired(pin))
        }))
    }

    /// The log keys that were replaced in a generation, newest first, with the
    /// pins by which heads of group logs under each are judged: those of the event
    /// that closed the generation, once it is closed.
    pub(super) fn retired_pins(
        &self,
        generation: Generation,
    ) -> impl Iterator<Item = (&PublicKey, &[GroupPin])> {
        let in_it = move |old: &&Retired| old.pin.generation() == generation;
        // A recovery replaces the log key, so it is the last to retire one.
        let last = self.retired.iter().rfind(in_it).filter(|_| self.closing(generation).is_some());
        let retired = self.retired.iter().rev().filter(in_it);
        retired.map(move |old| (&old.key, last.unwrap_or(old).group_pins.as_slice()))
    }

    /// Verifies a head of one of its public logs under whichever of its keys
    /// signed it, and says by what right that key does.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`] if none of its keys did, or the log is
    /// none of its; [`CheckpointError::BadSignature`].
    pub fn verify_head(
        &self,
        head: &UnverifiedCheckpoint,
    ) -> Result<(VerifiedCheckpoint, KeyStanding<'_>), CheckpointError> {
        self.verify_head_with(head, &[])
    }

    /// As [`Identity::verify_head`], with the cosignatures of the given witnesses.
    ///
    /// # Errors
    /// As [`Identity::verify_head`], also for a witness's bad line.
    pub fn verify_head_with(
        &self,
        head: &UnverifiedCheckpoint,
        witnesses: &[VerifierKey],
    ) -> Result<(VerifiedCheckpoint, KeyStanding<'_>), CheckpointError> {
        let log = head.claimed_origin().public_log();
        let log = log.filter(|(network, authority, _)| {
            network == self.network() && *authority == self.authority
        });
        let (_, _, generation) = log.ok_or(CheckpointError::NotSigned)?;
        for (key, standing) in self.log_keys(generation) {
            match head.clone().verify_with(key, witnesses) {
                Err(CheckpointError::NotSigned) => {}
                verified => return Ok((verified?, standing)),
            }
        }
        Err(CheckpointError::NotSigned)
    }
}

fn read(bytes: &[u8]) -> Result<(SignedEvent, Event), IdentityError> {
    if bytes.len() > limits::IDENTITY_EVENT_BYTES {
        return Err(IdentityError::Size);
    }
    let signed = SignedEvent::read(bytes)?;
    let event: Event = cbor::decode(&signed.0)?;
    if event.version == EVENT_VERSION {
        Ok((signed, event))
    } else {
        Err(IdentityError::Unsupported)
    }
}

fn check_size(events: &[Vec<u8>]) -> Result<(), IdentityError> {
    let bytes: usize = events.iter().map(Vec::len).sum();
    let fits = events.len() <= limits::IDENTITY_EVENTS && bytes <= limits::IDENTITY_CHAIN_BYTES;
    if fits { Ok(()) } else { Err(IdentityError::Size) }
}

/// Checks that controllers are those committed to: all of them or, where some
/// keys were lost, as many as are needed, in the same order.
fn check_revealed(next: &NextControllers, revealed: &Controllers) -> Result<(), IdentityError> {
    let mut hashes = next.key_hashes.iter();
    let mut committed = |key: &PublicKey| {
        let hash = commit_to_key(key);
        hashes.any(|known| *known == hash)
    };
    if revealed.threshold == next.threshold && revealed.keys.iter().all(&mut committed) {
        Ok(())
    } else {
        Err(IdentityError::Controllers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{self, Checkpoint, Origin};
    use crate::identity::tests::{establishing, event, incepted, network, secret};
    use crate::log::leaf_hash;

    /// Keys of events after the inception of authority 10, whose keys end at 14.
    const LOG: u8 = 40;

    /// A head of authority 10, signed with the log key of its inception.
    fn head(generation: Generation, size: u64) -> Head {
        Head::of(&signed(generation, size, 12).verify(&secret(12).public()).unwrap()).unwrap()
    }

    fn rotate(identity: &Identity) -> Vec<u8> {
        establishing(identity, EventType::Rotation, (11, 12 + 100), |event| {
            event.keys.log = secret(LOG).public();
            event.pin = Some(head(0, 5));
        })
    }

    fn recover(event: &mut Event) {
        event.keys.log = secret(LOG).public();
        event.closes = Some(head(0, 5));
        event.generation = 1;
    }

    fn signed(generation: Generation, size: u64, key: u8) -> UnverifiedCheckpoint {
        let origin = Origin::public(&network(), &incepted(10).authority(), generation);
        let head = Checkpoint::new(origin, size, leaf_hash(&size.to_be_bytes())).unwrap();
        let note = checkpoint::sign(&head, &secret(key)).unwrap().to_bytes();
        UnverifiedCheckpoint::parse(&note).unwrap()
    }

    /// The size of the head at which the key has retired; `None` if it is current.
    fn standing(identity: &Identity, generation: Generation, key: u8) -> Option<Option<u64>> {
        match identity.verify_head(&signed(generation, 7, key)).ok()?.1 {
            KeyStanding::Current => Some(None),
            KeyStanding::Retired(head) => Some(Some(head.size())),
        }
    }

    #[test]
    fn a_rotation_retires_the_log_key_at_the_pinned_head() {
        let before = incepted(10);
        let after = before.extended(rotate(&before)).unwrap();
        assert_eq!(after.log_key(), &secret(LOG).public());
        assert_eq!((after.sequence(), after.generation()), (1, 0));
        let history: Vec<_> = after.history().map(|event| event.event_type).collect();
        assert_eq!(history, [EventType::Inception, EventType::Rotation]);
        assert_eq!(standing(&before, 0, 12), Some(None));
        assert_eq!(standing(&before, 0, LOG), None);
        assert_eq!(standing(&after, 0, LOG), Some(None));
        assert_eq!(standing(&after, 0, 12), Some(Some(5)));
        assert_eq!(standing(&after, 1, LOG), None);
    }

    #[test]
    fn a_recovery_closes_the_generation_and_opens_the_next_under_a_new_key() {
        let before = incepted(10);
        let event = establishing(&before, EventType::Recovery, (11, 60), recover);
        let after = before.extended(event).unwrap();
        assert_eq!(after.generation(), 1);
        assert_eq!(after.closing(0), Some(&head(0, 5)));
        assert_eq!(after.closing(1), None);
        assert_eq!(standing(&after, 1, LOG), Some(None));
        assert_eq!(standing(&after, 0, 12), Some(Some(5)));
        assert_eq!(standing(&after, 0, LOG), None, "the new key says nothing of the old log");
        assert_eq!(standing(&after, 1, 12), None, "nor the old key of the new log");
    }

    #[test]
    fn in_a_closed_generation_only_the_closing_head_counts() {
        let first = incepted(10);
        let second = first.extended(rotate(&first)).unwrap();
        let event = establishing(&second, EventType::Recovery, (112, 60), |event| {
            event.keys.log = secret(41).public();
            event.closes = Some(head(0, 3));
            event.generation = 1;
        });
        let third = second.extended(event).unwrap();
        for key in [12, LOG] {
            assert_eq!(standing(&third, 0, key), Some(Some(3)));
        }
    }

    #[test]
    fn a_profile_event_needs_the_controllers_as_they_are_and_changes_no_keys() {
        let identity = incepted(10);
        let mut renamed = identity.next_event(EventType::Profile, UnixTime::from_seconds(1));
        renamed.profile.name = "Borough Ten".into();
        renamed.witnesses = vec![incepted(50).authority()];
        renamed.quorum = 1;
        let after = identity.extended(renamed.sign(&[(0, &secret(10))]).unwrap()).unwrap();
        assert_eq!((after.profile().name.as_str(), after.quorum()), ("Borough Ten", 1));
        let mut rekeyed = renamed.clone();
        rekeyed.keys.witness = secret(99).public();
        let rekeyed = identity.extended(rekeyed.sign(&[(0, &secret(10))]).unwrap());
        assert!(matches!(rekeyed, Err(IdentityError::Rule(_))));
        let by_next = establishing(&identity, EventType::Profile, (11, 60), |_| ());
        assert_eq!(identity.extended(by_next), Err(IdentityError::Controllers));
    }

    #[test]
    fn whoever_has_the_keys_of_today_cannot_rotate_them() {
        let identity = incepted(10);
        // The thief has the controller key and all working keys, but not the committed one.
        for by in [10, 12, 13, 14, 99] {
            let event = establishing(&identity, EventType::Rotation, (by, 60), |event| {
                event.keys.witness = secret(98).public();
                event.keys.nodes = vec![secret(97).public()];
                event.keys.log = secret(96).public();
                event.pin = Some(head(0, 5));
            });
            assert_eq!(identity.extended(event), Err(IdentityError::Controllers), "{by}");
        }
    }

    #[test]
    fn lost_controllers_may_be_left_out_while_enough_are_there() {
        let mut first = event(10);
        let committed = [11, 12 + 100, 13 + 100].map(|n| commit_to_key(&secret(n).public()));
        first.next = NextControllers { key_hashes: committed.to_vec(), threshold: 2 };
        let identity = first.sign(&[(0, &secret(10))]).unwrap();
        let identity = UnverifiedChain::new(vec![identity]).verify(&network()).unwrap();
        let rotation = |keys: &[u8], threshold: u32, signers: &[u32]| {
            let mut event = identity.next_event(EventType::Rotation, UnixTime::from_seconds(1));
            event.controllers.keys = keys.iter().map(|n| secret(*n).public()).collect();
            event.controllers.threshold = threshold;
            event.next.key_hashes = vec![commit_to_key(&secret(60).public())];
            event.next.threshold = 1;
            let secrets: Vec<_> = keys.iter().map(|n| secret(*n)).collect();
            let signers: Vec<_> = signers.iter().map(|n| (*n, &secrets[*n as usize])).collect();
            identity.extended(event.sign(&signers).unwrap()).map(|_| ())
        };
        assert_eq!(rotation(&[11, 113], 2, &[0, 1]), Ok(()));
        assert_eq!(rotation(&[11, 112, 113], 2, &[0, 2]), Ok(()));
        assert_eq!(rotation(&[11, 112, 113], 2, &[1]), Err(IdentityError::Signatures));
        assert_eq!(rotation(&[11, 113], 1, &[0]), Err(IdentityError::Controllers));
        assert_eq!(rotation(&[113, 11], 2, &[0, 1]), Err(IdentityError::Controllers));
        assert_eq!(rotation(&[11, 99], 2, &[0, 1]), Err(IdentityError::Controllers));
        assert!(rotation(&[11], 2, &[0]).is_err());
    }

    #[test]
    fn the_rules_on_generations_pins_and_successors_hold() {
        use EventType::{Inception, Recovery, Rotation, Successor};
        type Case = (&'static str, EventType, fn(&mut Event));
        let other = |event: &mut Event| event.successors = vec![AuthorityId::from_bytes([9; 32])];
        let cases: [Case; 14] = [
            ("a second inception", Inception, |_| ()),
            ("a new log key without a pin", Rotation, |e| e.keys.log = secret(LOG).public()),
            ("a pin for the key that stays", Rotation, |e| e.pin = Some(head(0, 5))),
            ("a pin of another generation", Rotation, |e| {
                e.keys.log = secret(LOG).public();
                e.pin = Some(head(1, 5));
            }),
            ("a rotation that opens a generation", Rotation, |e| e.generation = 1),
            ("a rotation that closes one", Rotation, |e| e.closes = Some(head(0, 5))),
            ("a recovery that closes nothing", Recovery, |e| {
                e.keys.log = secret(LOG).public();
                e.generation = 1;
            }),
            ("a recovery under the old key", Recovery, |e| {
                recover(e);
                e.keys.log = secret(12).public();
            }),
            ("a recovery that leaves out a generation", Recovery, |e| {
                recover(e);
                e.generation = 2;
            }),
            ("a recovery of another generation", Recovery, |e| {
                recover(e);
                e.closes = Some(head(1, 5));
            }),
            ("a recovery with a pin", Recovery, |e| {
                recover(e);
                e.pin = Some(head(0, 5));
            }),
            ("a pin that the log never signed", Rotation, |e| {
                e.keys.log = secret(LOG).public();
                let forged = signed(0, 5, LOG).verify(&secret(LOG).public()).unwrap();
                e.pin = Head::of(&forged);
            }),
            ("a successor event without one", Successor, |_| ()),
            ("next controllers that are these", Rotation, |e| {
                e.next.key_hashes = vec![commit_to_key(&e.controllers.keys[0])];
            }),
        ];
        let identity = incepted(10);
        for (name, event_type, change) in cases {
            let event = establishing(&identity, event_type, (11, 60), change);
            let refused = identity.extended(event);
            assert!(matches!(refused, Err(IdentityError::Rule(_))), "{name}: {refused:?}");
        }
        let rotation = establishing(&identity, Rotation, (11, 60), other);
        assert!(matches!(identity.extended(rotation), Err(IdentityError::Rule(_))));
        let own = establishing(&identity, Successor, (11, 60), |e| {
            e.successors = vec![incepted(10).authority()];
        });
        assert!(matches!(identity.extended(own), Err(IdentityError::Rule(_))));
        let ended = identity.extended(establishing(&identity, Successor, (11, 60), other)).unwrap();
        assert_eq!(ended.successors(), [AuthorityId::from_bytes([9; 32])]);
    }

    #[test]
    fn a_retired_log_key_never_comes_back() {
        let first = incepted(10);
        let second = first.extended(rotate(&first)).unwrap();
        let back = establishing(&second, EventType::Rotation, (112, 60), |event| {
            event.keys.log = secret(12).public();
            event.pin = Some(head(0, 9));
        });
        assert!(matches!(second.extended(back), Err(IdentityError::Rule(_))));
        let older = establishing(&second, EventType::Rotation, (112, 60), |event| {
            event.keys.log = secret(41).public();
            event.pin = Some(head(0, 4));
        });
        assert!(matches!(second.extended(older), Err(IdentityError::Rule(_))));
    }

    #[test]
    fn events_follow_each_other_in_their_one_order_and_network() {
        let first = incepted(10);
        let second = first.extended(rotate(&first)).unwrap();
        let events = second.events().to_vec();
        let verify = |events: Vec<Vec<u8>>| UnverifiedChain::new(events).verify(&network());
        assert_eq!(verify(events.clone()).unwrap(), second);
        let swapped = vec![events[1].clone(), events[0].clone()];
        assert!(verify(swapped).is_err());
        let twice = vec![events[0].clone(), events[1].clone(), events[1].clone()];
        assert_eq!(verify(twice), Err(IdentityError::Broken));
        // The rotation of another authority.
        let foreign = incepted(20);
        let of_another = establishing(&foreign, EventType::Rotation, (21, 60), |_| ());
        assert_eq!(first.extended(of_another), Err(IdentityError::Broken));
        let elsewhere = establishing(&first, EventType::Rotation, (11, 60), |event| {
            event.network = "other".parse().unwrap();
        });
        assert_eq!(first.extended(elsewhere), Err(IdentityError::Network));
        let newer = establishing(&first, EventType::Rotation, (11, 60), |event| event.version = 2);
        assert_eq!(first.extended(newer), Err(IdentityError::Unsupported));
    }

    #[test]
    fn every_flipped_bit_of_a_later_event_is_refused() {
        let first = incepted(10);
        let event = rotate(&first);
        for at in 0..event.len() * 8 {
            let mut changed = event.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(first.extended(changed).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_chain_that_says_nothing_new_is_known() {
        let first = incepted(10);
        let second = first.extended(rotate(&first)).unwrap();
        let chain = |events: &[Vec<u8>]| UnverifiedChain::new(events.to_vec());
        assert!(chain(first.events()).is_known_to(&second));
        assert!(!chain(second.events()).is_known_to(&first));
        assert!(!chain(&[]).is_known_to(&first));
    }
}
