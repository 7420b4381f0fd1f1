//! Two heads of one public log that cannot both be.
//!
//! **Invariant:** a [`Fork`] exists only for two heads that one key signed, the
//! newest of its generation, and a proof that the one is not of the other's
//! history. Deliberately absent: who holds which branch, and what is done about it.

use core::ops::Range;

use super::file::{self, Contents, Heads};
use super::{Evidence, EvidenceError, LogHead, UnverifiedEvidence};
use crate::checkpoint::{UnverifiedCheckpoint, VerifiedCheckpoint};
use crate::id::{Generation, Hash, NetworkName};
use crate::identity::{Identity, KeyStanding, UnverifiedChain};
use crate::key::PublicKey;
use crate::log::{
    Nodes, ProofError, implied_old_root, shown_old_root, shown_proof, verify_consistency,
};

/// Two heads of one public log, both signed under one key, that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    pub(super) identity: Identity,
    pub(super) generation: Generation,
    pub(super) key: PublicKey,
    pub(super) heads: [VerifiedCheckpoint; 2],
    pub(super) shown: Hash,
    pub(super) common: Option<LogHead>,
}

pub(super) fn verify_fork(claim: Heads, network: &NetworkName) -> Result<Fork, EvidenceError> {
    let Heads { events, heads, proof, common } = claim;
    let [one, other] = &heads;
    let log = one.claimed_origin().public_log();
    let log = log.filter(|_| one.claimed_origin() == other.claimed_origin());
    let (of, authority, generation) = log.ok_or(EvidenceError::Log)?;
    let identity = UnverifiedChain::new(events).verify(network)?;
    if of != *network || authority != identity.authority() {
        return Err(EvidenceError::Log);
    }
    // The newest key of a generation: current while that is open, the last one after it.
    let (key, _) = identity.log_keys(generation).next().ok_or(EvidenceError::Log)?;
    let key = *key;
    let verify = |head| verify_head(head, &key, &identity, generation);
    let [one, other] = heads;
    let heads = [verify(one)?, verify(other)?];
    let [older, newer] = heads.each_ref().map(|head| LogHead::from(head.checkpoint()));
    if (older.size, older.root) > (newer.size, newer.root) {
        return Err(EvidenceError::Spelling);
    }
    let shown = match (older.size == newer.size, proof.is_empty()) {
        (true, true) => newer.root,
        (true, false) => return Err(ProofError::Length.into()),
        (false, _) => shown_old_root(older.size, newer.size, &newer.root, &proof)?,
    };
    if shown == older.root {
        return Err(EvidenceError::Consistent);
    }
    let common = match common {
        None => None,
        Some(common) => {
            let (size, root) = (common.size, common.root);
            if size == 0 || size >= older.size {
                return Err(EvidenceError::Spelling);
            }
            for (head, proof) in [older, newer].iter().zip(&common.proofs) {
                verify_consistency(size, &root, head.size, &head.root, proof)?;
            }
            Some(LogHead { size, root })
        }
    };
    Ok(Fork { identity, generation, key, heads, shown, common })
}

/// A head with the log's own line and no other.
fn verify_head(
    head: UnverifiedCheckpoint,
    key: &PublicKey,
    identity: &Identity,
    generation: Generation,
) -> Result<VerifiedCheckpoint, EvidenceError> {
    let mut keys = identity.log_keys(generation).skip(1);
    match head.clone().verify_attributed(key, &[]) {
        Ok(verified) if verified.note().lines().len() == 1 => Ok(verified),
        Ok(_) => Err(EvidenceError::Spelling),
        Err(_) if keys.any(|(old, _)| head.clone().verify(old).is_ok()) => {
            Err(EvidenceError::Retired)
        }
        Err(error) => Err(error.into()),
    }
}

impl Evidence {
    /// Makes evidence of two heads, in whatever order. `proof` is the consistency
    /// proof that leads from the smaller size to the larger head, as a peer sends
    /// it; empty for equal sizes.
    ///
    /// # Errors
    /// [`EvidenceError::Unproven`] if the smaller size is a power of two, where
    /// such a proof leaves out the root it starts from, and
    /// [`EvidenceError::Consistent`] if they are of one history; otherwise the
    /// first [`EvidenceError`] found.
    pub fn of_fork(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: &[Hash],
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = sorted(heads);
        let (old, new) = (older.checkpoint(), newer.checkpoint());
        if old.size() < new.size()
            && implied_old_root(old.size(), new.size(), &new.root(), proof)?.is_none()
        {
            return Err(EvidenceError::Unproven);
        }
        Self::of_heads(identity, [older, newer], proof.to_vec())
    }

    /// As [`Evidence::of_fork`], by somebody who has the log of the larger head:
    /// that shows every fork.
    ///
    /// # Errors
    /// As [`Evidence::of_fork`]; [`EvidenceError::Tree`] if the log does not
    /// reach as far, and [`EvidenceError::Proof`] if it is not the one of the larger head.
    pub fn of_fork_in<N: Nodes + ?Sized>(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        log: &N,
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = sorted(heads);
        let (old, new) = (older.checkpoint().size(), newer.checkpoint().size());
        let shows = old > 0 && old < new;
        let proof = if shows { shown_proof(log, old, new)? } else { Vec::new() };
        Self::of_heads(identity, [older, newer], proof)
    }

    /// As [`Evidence::of_fork_in`], of two sizes, with the proof that somebody made of
    /// the log of the larger head ([`crate::log::shown_proof`]).
    ///
    /// # Errors
    /// As [`Evidence::of_fork`], but never [`EvidenceError::Unproven`].
    pub fn of_shown_fork(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: &[Hash],
    ) -> Result<Self, EvidenceError> {
        Self::of_heads(identity, sorted(heads), proof.to_vec())
    }

    fn of_heads(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: Vec<Hash>,
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = heads;
        let log = older.checkpoint().origin().public_log();
        let (_, _, generation) = log.ok_or(EvidenceError::Log)?;
        let (key, _) = identity.log_keys(generation).next().ok_or(EvidenceError::Log)?;
        // Cosignatures would need their witnesses' chains to be judged.
        let bare = |head: &VerifiedCheckpoint| {
            let bare = head.clone().bare(key).ok_or(EvidenceError::Retired)?;
            Ok::<_, EvidenceError>(UnverifiedCheckpoint::parse(&bare.to_bytes())?)
        };
        let heads = [bare(older)?, bare(newer)?];
        let events = identity.events().to_vec();
        let heads = Heads { events, heads, proof, common: None };
        Self::made(identity.network(), Contents::Heads(Box::new(heads)))
    }

    /// The same evidence, which also shows that both histories begin with the
    /// same `size` entries under `root`: `proofs` are the consistency proofs from
    /// there to each head, in the order of [`Fork::heads`].
    ///
    /// # Errors
    /// [`EvidenceError::Spelling`] if that is no fork, or `size` is 0 or not below both
    /// heads; [`EvidenceError::Proof`].
    pub fn with_common(
        &self,
        size: u64,
        root: Hash,
        proofs: [Vec<Hash>; 2],
    ) -> Result<Self, EvidenceError> {
        let unverified = UnverifiedEvidence::parse(&self.bytes)?;
        match unverified.into_contents() {
            Contents::Heads(heads) => {
                let common = Some(file::Common { size, root, proofs });
                Self::made(&self.network, Contents::Heads(Box::new(Heads { common, ..*heads })))
            }
            Contents::Chains(_) => Err(EvidenceError::Spelling),
        }
    }
}

impl Fork {
    /// The identity chain in the file, whose newest log key signed both heads.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Generation of the log.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Both heads, the smaller size first, at equal sizes the lower root.
    #[must_use]
    pub const fn heads(&self) -> &[VerifiedCheckpoint; 2] {
        &self.heads
    }

    /// The most entries that are shown to be the same in both histories, if any
    /// are. There may be more.
    #[must_use]
    pub const fn common(&self) -> Option<&LogHead> {
        self.common.as_ref()
    }

    /// Where the last size lies that both histories share: not below what is shown
    /// to be common, and below the smaller head, at whose size they differ. Two
    /// signed heads alone say no more; somebody who has the entries of both can
    /// narrow it down ([`Evidence::with_common`]).
    #[must_use]
    pub fn last_common(&self) -> Range<u64> {
        let [smaller, _] = self.signed();
        self.common.map_or(0, |common| common.size)..smaller.size
    }

    pub(super) fn signed(&self) -> [LogHead; 2] {
        self.heads.each_ref().map(|head| LogHead::from(head.checkpoint()))
    }

    /// By what right the key that signed both signs now.
    pub(super) fn standing<'a>(&self, known: &'a Identity) -> Option<KeyStanding<'a>> {
        let mut keys = known.log_keys(self.generation);
        let (_, standing) = keys.find(|(key, _)| **key == self.key)?;
        (known.authority() == self.identity.authority()).then_some(standing)
    }
}

/// Two heads in the order of the file: by size, at equal sizes by root.
fn sorted(heads: [&VerifiedCheckpoint; 2]) -> [&VerifiedCheckpoint; 2] {
    let [one, other] = heads;
    let order = |head: &VerifiedCheckpoint| (head.checkpoint().size(), head.checkpoint().root());
    if order(one) <= order(other) { [one, other] } else { [other, one] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::*;
    use super::super::*;
    use super::*;
    use crate::checkpoint::witness_key;
    use crate::identity::tests::{incepted, network, secret};
    use crate::log::{consistency_proof, leaf_hash, root_at};
    use crate::time::UnixTime;
    use proptest::prelude::*;

    #[test]
    fn two_heads_of_one_size_are_evidence() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let heads = [&head(&ours, 9), &head(&theirs, 9)];
        let evidence = Evidence::of_fork(&incepted(10), heads, &[]).unwrap();
        let turned = Evidence::of_fork(&incepted(10), [heads[1], heads[0]], &[]).unwrap();
        assert_eq!(evidence, turned, "the order of finding does not show");
        assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
        assert_eq!((evidence.kind(), evidence.place()), (EvidenceKind::Fork, 0));
        assert_eq!(evidence.authority(), incepted(10).authority());
        let FindingFacts::Fork(facts) = evidence.facts().finding else { panic!("a fork") };
        assert_eq!(facts.name, "Borough 10");
        assert_eq!(facts.heads.map(|head| head.size), [9, 9]);
        assert!(facts.heads[0].root < facts.heads[1].root);
        assert_eq!((facts.shown, facts.common, facts.closed), (facts.heads[1].root, None, None));
        let extra = Evidence::of_heads(&incepted(10), sorted(heads), vec![leaf_hash(b"x")]);
        assert_eq!(extra, Err(ProofError::Length.into()));
    }

    #[test]
    fn what_both_histories_share_is_shown() {
        let FindingFacts::Fork(facts) = fork().facts().finding else { panic!("a fork") };
        let ours = branch(20, 7, 1);
        assert_eq!(facts.heads.map(|head| head.size), [11, 14]);
        assert_eq!(facts.heads[0].root, root_at(&ours, 11).unwrap());
        assert_eq!(facts.shown, root_at(&branch(20, 7, 2), 11).unwrap());
        let common = facts.common.unwrap();
        assert_eq!((common.size, common.root), (7, root_at(&ours, 7).unwrap()));
        let last_common = |evidence: &Evidence| match evidence.finding() {
            Finding::Fork(fork) => fork.last_common(),
            Finding::Identity(_) => panic!("a fork"),
        };
        assert_eq!(last_common(&fork()), 7..11);
        let heads = [&head(&ours, 11), &head(&branch(20, 7, 2), 14)];
        let bare = Evidence::of_fork_in(&incepted(10), heads, &branch(20, 7, 2)).unwrap();
        assert_eq!(last_common(&bare), 0..11);
        let proofs = |size| {
            [(&ours, 11), (&branch(20, 7, 2), 14)]
                .map(|(tree, head)| consistency_proof(tree, size, head).unwrap())
        };
        let beyond = fork().with_common(8, root_at(&ours, 8).unwrap(), proofs(8));
        assert_eq!(beyond, Err(ProofError::Inconsistent.into()));
        for size in [0, 11] {
            let nothing = fork().with_common(size, root_at(&ours, size).unwrap(), proofs(size));
            assert_eq!(nothing, Err(EvidenceError::Spelling), "{size}");
        }
    }

    #[test]
    fn retired_keys_convict_nobody() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let [old, new, _] = KEYS;
        let evidence = |identity: &Identity, keys: [u8; 2]| {
            let heads = [&head_of(&ours, 9, 0, keys[0]), &head_of(&theirs, 9, 0, keys[1])];
            Evidence::of_fork(identity, heads, &[])
        };
        let before = evidence(&incepted(10), [old, old]).unwrap();
        assert!(before.is_current(&incepted(10)) && !before.ends_with(&incepted(10)));
        assert!(!before.is_current(&rotated()) && before.ends_with(&rotated()));
        for keys in [[old, old], [old, new], [new, old]] {
            assert_eq!(evidence(&rotated(), keys), Err(EvidenceError::Retired));
        }
        let after = evidence(&rotated(), [new, new]).unwrap();
        assert_eq!((before.place(), after.place()), (0, 1));
        assert!(after.is_current(&rotated()));
        // Who does not know the newer key yet can say neither.
        assert!(!after.is_current(&incepted(10)) && !after.ends_with(&incepted(10)));
        assert!(!after.is_current(&incepted(50)) && !after.ends_with(&incepted(50)));
        // The same from a file, in which nobody has looked for the key.
        let events = |identity: &Identity| {
            let line = |event: &Vec<u8>| format!("event {}\n", STANDARD.encode(event));
            identity.events().iter().map(line).collect::<String>()
        };
        let file = text(&before).replace(&events(&incepted(10)), &events(&rotated()));
        assert_eq!(read(file.as_bytes()), Err(EvidenceError::Retired));
    }

    #[test]
    fn a_new_generation_ends_a_dispute_and_makes_it_history() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let evidence = |identity: &Identity, generation, key| {
            let heads = [&ours, &theirs].map(|tree| head_of(tree, 9, generation, key));
            Evidence::of_fork(identity, [&heads[0], &heads[1]], &[])
        };
        let after = recovered(&rotated(), 112);
        let disputed = evidence(&rotated(), 0, KEYS[1]).unwrap();
        assert!(disputed.is_current(&rotated()) && !disputed.ends_with(&rotated()));
        assert!(!disputed.is_current(&after) && disputed.ends_with(&after));
        let history = evidence(&after, 0, KEYS[1]).unwrap();
        assert!(!history.is_current(&after) && history.ends_with(&after));
        assert_eq!((disputed.place(), history.place()), (1, 1));
        let FindingFacts::Fork(facts) = history.facts().finding else { panic!("a fork") };
        assert_eq!(facts.closed.map(|head| head.size), Some(9));
        assert_eq!(evidence(&after, 0, KEYS[0]), Err(EvidenceError::Retired));
        assert_eq!(evidence(&after, 0, KEYS[2]), Err(EvidenceError::Retired));
        let again = evidence(&after, 1, KEYS[2]).unwrap();
        assert_eq!(again.place(), 2);
        assert!(again.is_current(&after));
        assert_eq!(evidence(&rotated(), 1, KEYS[2]), Err(EvidenceError::Log));
    }

    #[test]
    fn lines_of_others_and_repeated_ones_are_left_out_and_refused() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let mut one = head(&ours, 9);
        let witness = witness_key(&network(), &incepted(50).authority(), secret(53).public());
        let line = one.cosign(witness.name(), &secret(53), UnixTime::from_seconds(7)).unwrap();
        let plain = Evidence::of_fork(&incepted(10), [&one, &head(&theirs, 9)], &[]).unwrap();
        let bare = STANDARD.encode(one.to_bytes());
        let own = one.note().lines()[0].clone();
        one.add(line, &witness).unwrap();
        let cosigned = Evidence::of_fork(&incepted(10), [&one, &head(&theirs, 9)], &[]).unwrap();
        assert_eq!(cosigned, plain);
        let with_stranger = text(&plain).replace(&bare, &STANDARD.encode(one.to_bytes()));
        assert!(matches!(read(with_stranger.as_bytes()), Err(EvidenceError::Head(_))));
        let twice = [head(&ours, 9).to_bytes(), format!("{own}\n").into_bytes()].concat();
        let repeated = text(&plain).replace(&bare, &STANDARD.encode(twice));
        assert_eq!(read(repeated.as_bytes()), Err(EvidenceError::Spelling));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_fork_is_evidence(fork in 0u64..60, old in 1u64..60, more in 0u64..60, turned: bool) {
            let (ours, theirs) = if turned {
                (branch(200, fork, 2), branch(200, fork, 1))
            } else {
                (branch(200, fork, 1), branch(200, fork, 2))
            };
            let old = fork + old;
            let heads = [head(&ours, old), head(&theirs, old + more)];
            let heads = [&heads[0], &heads[1]];
            let identity = incepted(10);
            let evidence = Evidence::of_fork_in(&identity, heads, &theirs).unwrap();
            prop_assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
            prop_assert!(evidence.is_current(&identity));
            // With a proof as a peer sends it: not where that leaves the old root out.
            let proof = consistency_proof(&theirs, old, old + more).unwrap();
            let received = Evidence::of_fork(&identity, heads, &proof);
            if more > 0 && old.is_power_of_two() {
                prop_assert_eq!(received, Err(EvidenceError::Unproven));
            } else {
                prop_assert_eq!(received, Ok(evidence.clone()));
            }
            if fork > 0 {
                let proofs = [(&ours, old), (&theirs, old + more)]
                    .map(|(tree, size)| consistency_proof(tree, fork, size).unwrap());
                let root = root_at(&ours, fork).unwrap();
                let fork_heads = sorted(heads);
                let proofs = if fork_heads[0] == heads[0] {
                    proofs
                } else {
                    let [one, other] = proofs;
                    [other, one]
                };
                prop_assert!(evidence.with_common(fork, root, proofs).is_ok());
            }
        }

        #[test]
        fn no_heads_of_one_history_are_evidence(
            old in 0u64..100,
            more in 0u64..100,
            from in 0u64..200,
            at: prop::sample::Index,
            extra: bool,
        ) {
            let log = branch(200, 200, 0);
            let new = (old + more).min(200);
            let heads = [head(&log, old), head(&log, new)];
            let heads = [&heads[0], &heads[1]];
            let identity = incepted(10);
            let honest = Evidence::of_fork_in(&identity, heads, &log);
            let expected = if old == 0 && new > 0 {
                EvidenceError::Proof(ProofError::Range)
            } else {
                EvidenceError::Consistent
            };
            prop_assert_eq!(honest, Err(expected));
            // Nor with any proof: of a made-up branch, damaged, too long, or of other sizes.
            let made_up = branch(200, from, 1);
            prop_assert!(Evidence::of_fork_in(&identity, heads, &made_up).is_err());
            let mut proofs = vec![
                consistency_proof(&made_up, old, new).unwrap(),
                consistency_proof(&log, from.min(new), new).unwrap(),
            ];
            let mut damaged = consistency_proof(&log, old, new).unwrap();
            if old.is_power_of_two() {
                damaged.insert(0, root_at(&made_up, old).unwrap());
            }
            if extra {
                damaged.insert(at.index(damaged.len() + 1), leaf_hash(b"extra"));
            } else if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = leaf_hash(b"damaged");
            }
            proofs.push(damaged);
            for proof in proofs {
                prop_assert!(Evidence::of_heads(&identity, heads, proof.clone()).is_err());
                prop_assert!(Evidence::of_fork(&identity, heads, &proof).is_err());
            }
        }
    }
}
