//! What was verified of late, by the hash of its bytes.
//!
//! The same head comes by gossip and from every partner; its signature is checked
//! once. What does not verify is not remembered, so a look-up that finds
//! something is worth as much as the check that put it there.
//!
//! **Invariants:** values are made by checks, here, and nowhere else; a head counts
//! only for the key it was verified under; room is bounded. Deliberately absent:
//! what a head or a chain is good for (the ledger judges that, every time).

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::checkpoint::{CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint, witness_of};
use crate::id::{Hash, LogId, NetworkName};
use crate::identity::{Identity, IdentityError, KeyStanding, UnverifiedChain};
use crate::key::PublicKey;
use crate::limits;
use crate::note::{SignatureLine, VerifierKey};
use crate::witness::Seen;

/// What a machine remembers of earlier checks; see [`super::Machine::swap_verified`].
#[derive(Debug)]
pub struct Verified {
    heads: Recent<Arc<Head>>,
    chains: Recent<Arc<Identity>>,
}

/// A verified head of a public log.
#[derive(Debug)]
struct Head {
    network: NetworkName,
    log: LogId,
    /// The key it was verified under.
    key: PublicKey,
    /// The witnesses whose lines were verified.
    witnesses: Vec<VerifierKey>,
    checkpoint: VerifiedCheckpoint,
    lines: Vec<SignatureLine>,
}

/// A head that was verified, and by what right its key signed it.
pub(super) struct Judged<'a> {
    pub(super) checkpoint: VerifiedCheckpoint,
    pub(super) standing: KeyStanding<'a>,
    /// Lines that stood on it and that nobody asked for accounts for: unverified.
    pub(super) lines: Vec<SignatureLine>,
    /// Whether it was checked now, and not remembered.
    pub(super) fresh: bool,
}

/// A head of a public log as it came in: what it claims.
pub(super) struct Claim<'a> {
    pub(super) network: NetworkName,
    pub(super) log: LogId,
    pub(super) size: u64,
    pub(super) root: Hash,
    note: &'a [u8],
    hash: Hash,
    source: Source,
}

enum Source {
    New(UnverifiedCheckpoint),
    Known(Arc<Head>),
}

impl Default for Verified {
    /// Room for heads. Chains need none: a ledger holds those it has accepted.
    fn default() -> Self {
        Self::with_room(limits::VERIFIED_HEADS, 0)
    }
}

impl Verified {
    /// Remembers nothing yet, and in time so many heads and identity chains.
    #[must_use]
    pub const fn with_room(heads: usize, chains: usize) -> Self {
        Self { heads: Recent::new(heads), chains: Recent::new(chains) }
    }

    /// What a note claims, if it is a head of a public log at all.
    pub(super) fn claim<'a>(&mut self, note: &'a [u8]) -> Option<Claim<'a>> {
        let hash = Hash::from_bytes(Sha256::digest(note).into());
        if let Some(head) = self.heads.get(&hash) {
            let (network, log) = (head.network.clone(), head.log);
            let Seen { size, root } = Seen::from(&head.checkpoint);
            let source = Source::Known(head);
            return Some(Claim { network, log, size, root, note, hash, source });
        }
        let head = UnverifiedCheckpoint::parse(note).ok()?;
        let (network, authority, generation) = head.claimed_origin().public_log()?;
        let log = LogId::public(authority, generation);
        let (size, root) = (head.claimed_size(), head.claimed_root());
        Some(Claim { network, log, size, root, note, hash, source: Source::New(head) })
    }

    /// Verifies that the log signed what it is said to claim, under a key that
    /// `identity` names, and says by what right that key does; and the lines of
    /// `witnesses`.
    pub(super) fn head<'a>(
        &mut self,
        claim: Claim<'_>,
        identity: &'a Identity,
        witnesses: &[VerifierKey],
    ) -> Result<Judged<'a>, CheckpointError> {
        let Claim { network, log, note, hash, source, .. } = claim;
        let head = match source {
            Source::New(head) => head,
            Source::Known(head) if head.witnesses != witnesses => {
                UnverifiedCheckpoint::parse(note)?
            }
            Source::Known(head) => {
                let mut keys = identity.log_keys(log.generation);
                if let Some((_, standing)) = keys.find(|(key, _)| **key == head.key) {
                    let (checkpoint, lines) = (head.checkpoint.clone(), head.lines.clone());
                    return Ok(Judged { checkpoint, standing, lines, fresh: false });
                }
                UnverifiedCheckpoint::parse(note)?
            }
        };
        let (checkpoint, standing) = identity.verify_head_with(&head, witnesses)?;
        // Of lines by others only those stay, apart, that may be of a witness that is
        // not known yet; or anybody could fill our memory with them.
        let others = checkpoint.note().unattributed();
        let others = others.filter(|line| witness_of(&network, line.name()).is_some());
        let lines: Vec<_> = others.take(limits::WITNESSES).cloned().collect();
        let checkpoint = checkpoint.attributed().sorted();
        let signed = |(key, _): &(&PublicKey, KeyStanding<'_>)| {
            checkpoint.note().signers().iter().any(|signer| signer.key.key() == *key)
        };
        if let Some((key, _)) = identity.log_keys(log.generation).find(signed) {
            let (key, witnesses) = (*key, witnesses.to_vec());
            let (checkpoint, lines) = (checkpoint.clone(), lines.clone());
            let head = Head { network, log, key, witnesses, checkpoint, lines };
            self.heads.insert(hash, Arc::new(head));
        }
        Ok(Judged { checkpoint, standing, lines, fresh: true })
    }

    /// Verifies an identity chain for a network.
    pub(super) fn chain(
        &mut self,
        chain: UnverifiedChain,
        network: &NetworkName,
    ) -> Result<Arc<Identity>, IdentityError> {
        if self.chains.room == 0 {
            return Ok(Arc::new(chain.verify(network)?));
        }
        let hash = hash_of(chain.events());
        match self.chains.get(&hash).filter(|known| known.network() == network) {
            Some(known) => Ok(known),
            None => {
                let identity = Arc::new(chain.verify(network)?);
                self.chains.insert(hash, Arc::clone(&identity));
                Ok(identity)
            }
        }
    }
}

fn hash_of(events: &[Vec<u8>]) -> Hash {
    let mut hasher = Sha256::new();
    for event in events {
        hasher.update((event.len() as u64).to_be_bytes());
        hasher.update(event);
    }
    Hash::from_bytes(hasher.finalize().into())
}

/// At most `room` values, those used of late. Once the younger half is full it
/// becomes the older, and what was the older is forgotten.
#[derive(Debug)]
struct Recent<V> {
    room: usize,
    young: BTreeMap<Hash, V>,
    old: BTreeMap<Hash, V>,
}

impl<V: Clone> Recent<V> {
    const fn new(room: usize) -> Self {
        Self { room, young: BTreeMap::new(), old: BTreeMap::new() }
    }

    fn get(&mut self, key: &Hash) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    fn insert(&mut self, key: Hash, value: V) {
        if self.young.len() >= self.room / 2 {
            self.old = core::mem::take(&mut self.young);
        }
        if self.room > 1 {
            self.young.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, Origin, sign};
    use crate::identity::tests::{establishing, incepted, network, secret};
    use crate::identity::{EventType, Head as Pin};
    use crate::log::leaf_hash;

    /// The log key of authority 10, and the one that replaces it in [`rotated`].
    const KEYS: [u8; 2] = [12, 40];

    fn head(size: u64, key: u8) -> Vec<u8> {
        let origin = Origin::public(&network(), &incepted(10).authority(), 0);
        let head = Checkpoint::new(origin, size, leaf_hash(b"x")).unwrap();
        sign(&head, &secret(key)).unwrap().to_bytes()
    }

    fn rotated() -> Identity {
        let identity = incepted(10);
        let pin = UnverifiedCheckpoint::parse(&head(5, KEYS[0])).unwrap();
        let event = establishing(&identity, EventType::Rotation, (11, 60), |event| {
            event.keys.log = secret(KEYS[1]).public();
            event.pin = Pin::of(&pin.verify(&secret(KEYS[0]).public()).unwrap());
        });
        identity.extended(event).unwrap()
    }

    fn is_remembered(verified: &mut Verified, note: &[u8]) -> bool {
        matches!(verified.claim(note).unwrap().source, Source::Known(_))
    }

    #[test]
    fn what_is_remembered_is_what_a_check_gave() {
        let mut verified = Verified::default();
        let (note, identity) = (head(7, KEYS[0]), incepted(10));
        let check = |verified: &mut Verified| {
            let claim = verified.claim(&note).unwrap();
            assert_eq!((claim.network.as_str(), claim.size), ("test", 7));
            verified.head(claim, &identity, &[]).unwrap().checkpoint
        };
        let first = check(&mut verified);
        assert!(is_remembered(&mut verified, &note));
        assert_eq!(check(&mut verified), first);
        assert_eq!(first.as_bytes(), note);
    }

    #[test]
    fn a_head_counts_for_whoever_names_the_key_only_and_by_the_right_of_now() {
        let mut verified = Verified::default();
        let (before, after) = (incepted(10), rotated());
        let [old, new] = KEYS.map(|key| head(7, key));
        let mut standing = |note: &[u8], identity: &Identity| {
            let claim = verified.claim(note).unwrap();
            let judged = verified.head(claim, identity, &[]).ok()?;
            Some(judged.standing == KeyStanding::Current)
        };
        for _ in 0..2 {
            assert_eq!(standing(&new, &before), None);
            assert_eq!(standing(&new, &after), Some(true));
            assert_eq!(standing(&old, &before), Some(true));
            assert_eq!(standing(&old, &after), Some(false));
        }
    }

    #[test]
    fn lines_of_witnesses_are_verified_for_whoever_asks_for_them() {
        let mut verified = Verified::default();
        let identity = incepted(10);
        let witness = incepted(20);
        let key =
            crate::checkpoint::witness_key(&network(), &witness.authority(), secret(23).public());
        let plain = UnverifiedCheckpoint::parse(&head(7, KEYS[0])).unwrap();
        let mut signed = plain.verify(&secret(KEYS[0]).public()).unwrap();
        let time = crate::time::UnixTime::from_seconds(1);
        let line = signed.cosign(key.name(), &secret(23), time).unwrap();
        signed.add(line, &key).unwrap();
        let note = signed.to_bytes();
        // Those of others are apart, whoever asks, also if they are remembered.
        for (witnesses, lines) in [(vec![], 0), (vec![], 0), (vec![key.clone()], 1), (vec![], 0)] {
            let claim = verified.claim(&note).unwrap();
            let found = verified.head(claim, &identity, &witnesses).unwrap();
            assert_eq!(found.checkpoint.cosignatures().count(), lines);
            assert_eq!(found.lines.len(), 1 - lines);
        }
    }

    #[test]
    fn what_does_not_verify_is_not_remembered() {
        let mut verified = Verified::default();
        let mut note = head(7, KEYS[0]);
        let at = note.len() - 10;
        note[at] = if note[at] == b'A' { b'B' } else { b'A' };
        for _ in 0..2 {
            let claim = verified.claim(&note).unwrap();
            let refused = verified.head(claim, &incepted(10), &[]).map(|_| ());
            assert!(matches!(refused, Err(CheckpointError::BadSignature(_))));
            assert!(!is_remembered(&mut verified, &note));
        }
        assert!(verified.claim(b"no head").is_none());
    }

    #[test]
    fn room_is_bounded_and_what_is_used_stays() {
        let mut verified = Verified::with_room(8, 0);
        let (often, identity) = (head(1, KEYS[0]), incepted(10));
        for size in 1..100 {
            let note = head(size, KEYS[0]);
            for note in [&often, &note] {
                let claim = verified.claim(note).unwrap();
                verified.head(claim, &identity, &[]).unwrap();
            }
            assert!(is_remembered(&mut verified, &often) && is_remembered(&mut verified, &note));
            assert!(verified.heads.young.len() + verified.heads.old.len() <= 8);
        }
        assert!(!is_remembered(&mut verified, &head(90, KEYS[0])));
        let mut none = Verified::with_room(0, 0);
        let claim = none.claim(&often).unwrap();
        none.head(claim, &identity, &[]).unwrap();
        assert!(!is_remembered(&mut none, &often));
    }
}
