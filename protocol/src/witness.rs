//! What a witness signs: one history of each log, and no other.
//!
//! C2SP tlog-witness and tlog-cosignature, without the HTTP:
//!
//! - `request`: the body of `add-checkpoint` and of its answers;
//! - here: [`decide`], whether a head may be cosigned after what was seen before;
//! - [`policy`]: the file in which a verifier says whose cosignatures it wants;
//! - [`confirmation`]: what the cosignatures of a head amount to, and whether the
//!   time that a record states fits them.
//!
//! A cosignature says that its head is the largest of the log that the witness
//! has seen, and continues all those before. So what a witness has seen is more
//! than what it has cosigned: [`newest_seen`] counts the log's own head in the
//! witness's copy, too.
//!
//! **Invariant:** whoever writes down each [`Decision`]'s head before the next
//! one is made never cosigns a smaller size, another root of an equal size, or
//! two heads of which one does not continue the other. Deliberately absent: the
//! clock, storage, and which logs are witnessed under which key.

pub mod confirmation;
pub mod policy;
mod request;

pub use request::{
    RequestError, UnverifiedRequest, VerifiedRequest, encode_request, parse_cosignatures,
    parse_recorded,
};

use core::time::Duration;

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::id::Hash;
use crate::key::SecretKey;
use crate::log::{Nodes, root_at, verify_consistency};
use crate::note::{KeyName, SignatureLine};
use crate::time::UnixTime;

/// Shortest time between two cosignatures of one log by one witness, whichever way
/// it was asked: so nobody can fill its journal with heads, and there is no use in
/// asking it more often.
pub const COSIGN_PAUSE: Duration = Duration::from_secs(1);

/// A head of a log as a witness remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Entries under it.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl From<&VerifiedCheckpoint> for Seen {
    fn from(head: &VerifiedCheckpoint) -> Self {
        let checkpoint = head.checkpoint();
        Self { size: checkpoint.size(), root: checkpoint.root() }
    }
}

/// Why a witness does not cosign; each with its HTTP status in tlog-witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a request, or its old size is larger than its head: 400.
    #[error("the request is malformed")]
    Malformed,
    /// None of the lines is the log's own signature: 403.
    #[error("the log did not sign the checkpoint")]
    Unsigned,
    /// A log that this witness does not know: 404.
    #[error("this log is not witnessed here")]
    UnknownLog,
    /// The old size is not that of the newest head seen: 409.
    #[error("the newest head seen here has {0} entries")]
    Recorded(u64),
    /// The head has another root than the one seen at its size, or the log has
    /// two histories already: 409.
    #[error("another history of this log was seen here")]
    Contradicts(u64),
    /// The proof does not show that the head continues the one seen: 422.
    #[error("the head is not shown to continue the one seen here")]
    Unproven,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned => 403,
            Self::UnknownLog => 404,
            Self::Recorded(_) | Self::Contradicts(_) => 409,
            Self::Unproven => 422,
        }
    }

    /// The size that an answer of status 409 names.
    #[must_use]
    pub const fn recorded(&self) -> Option<u64> {
        match self {
            Self::Recorded(size) | Self::Contradicts(size) => Some(*size),
            _ => None,
        }
    }
}

/// The largest head of a log that a witness has seen: the one it `cosigned`
/// last, or the signed head of its own copy of the log.
///
/// `copy` answers for the copy, which reaches at least up to `held`.
///
/// # Errors
/// [`Refusal::Contradicts`] if the two are not of one history.
pub fn newest_seen<N: Nodes + ?Sized>(
    cosigned: Option<Seen>,
    held: Option<Seen>,
    copy: &N,
) -> Result<Option<Seen>, Refusal> {
    let (Some(cosigned), Some(held)) = (cosigned, held) else { return Ok(cosigned.or(held)) };
    if cosigned.size > held.size {
        // What was cosigned was shown to continue what was held then.
        return Ok(Some(cosigned));
    }
    let same = match cosigned.size == held.size {
        true => cosigned.root == held.root,
        false => root_at(copy, cosigned.size) == Ok(cosigned.root),
    };
    if same { Ok(Some(held)) } else { Err(Refusal::Contradicts(cosigned.size)) }
}

/// Decides whether the head of a request may be cosigned, `seen` being the
/// largest head of its log seen so far.
///
/// # Errors
/// [`Refusal::Malformed`], [`Refusal::Recorded`], [`Refusal::Contradicts`] or
/// [`Refusal::Unproven`], checked in this order.
pub fn decide(seen: Option<Seen>, request: VerifiedRequest) -> Result<Decision, Refusal> {
    let head = Seen::from(&request.head);
    if request.old > head.size {
        return Err(Refusal::Malformed);
    }
    let recorded = seen.map_or(0, |seen| seen.size);
    if request.old != recorded {
        return Err(Refusal::Recorded(recorded));
    }
    // Of an empty log every other one is a continuation.
    if let Some(seen) = seen.filter(|seen| seen.size > 0) {
        if seen.size == head.size && seen.root != head.root {
            return Err(Refusal::Contradicts(seen.size));
        }
        let shown =
            verify_consistency(seen.size, &seen.root, head.size, &head.root, &request.proof);
        shown.map_err(|_| Refusal::Unproven)?;
    } else if !request.proof.is_empty() {
        return Err(Refusal::Unproven);
    }
    Ok(Decision { head: request.head })
}

/// Decides whether the head of the witness's own copy of a log may be cosigned.
/// `cosigned` is what it cosigned last, as written down; `promised` a head that
/// bears a cosignature of its own, whether that is written down or not: a witness
/// put back to an older state learns from others what it has signed.
///
/// # Errors
/// [`Refusal::Recorded`] if a larger head was cosigned; [`Refusal::Contradicts`]
/// if one of another history was.
pub fn decide_held<N: Nodes + ?Sized>(
    cosigned: Option<Seen>,
    promised: Option<Seen>,
    head: VerifiedCheckpoint,
    copy: &N,
) -> Result<Decision, Refusal> {
    let held = Seen::from(&head);
    for seen in [cosigned, promised].into_iter().flatten() {
        let newest = newest_seen(Some(seen), Some(held), copy)?.unwrap_or(held);
        if newest.size > held.size {
            return Err(Refusal::Recorded(newest.size));
        }
    }
    Ok(Decision { head })
}

/// A head that may be cosigned, once it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    head: VerifiedCheckpoint,
}

impl Decision {
    /// What is to be written down before anything is signed.
    #[must_use]
    pub fn head(&self) -> Seen {
        Seen::from(&self.head)
    }

    /// Makes the cosignature. That [`Decision::head`] is durable is the caller's
    /// to make sure, and that nothing else was written down since it was decided.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] for a time beyond 2^63 - 1.
    pub fn cosign(
        &self,
        name: &KeyName,
        key: &SecretKey,
        time: UnixTime,
    ) -> Result<SignatureLine, CheckpointError> {
        self.head.cosign(name, key, time)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, Origin, sign};
    use crate::id::AuthorityId;
    use crate::log::{consistency_proof, empty_root, leaf_hash};
    use proptest::prelude::*;

    /// A log whose entries from `fork` on are another's.
    pub(crate) struct Branch {
        leaves: Vec<Hash>,
    }

    impl Branch {
        pub(crate) fn new(size: u64, fork: u64) -> Self {
            let leaf = |i: u64| match i < fork {
                true => leaf_hash(&i.to_be_bytes()),
                false => leaf_hash(format!("other {i}").as_bytes()),
            };
            Self { leaves: (0..size).map(leaf).collect() }
        }

        fn honest(size: u64) -> Self {
            Self::new(size, size)
        }

        fn seen(&self, size: u64) -> Seen {
            Seen { size, root: root_at(self, size).unwrap() }
        }

        fn head(&self, size: u64) -> VerifiedCheckpoint {
            let network = "made-up".parse().unwrap();
            let origin = Origin::public(&network, &AuthorityId::from_bytes([5; 32]), 0);
            let checkpoint = Checkpoint::new(origin, size, self.seen(size).root).unwrap();
            sign(&checkpoint, &log_key()).unwrap()
        }

        fn request(&self, old: u64, size: u64) -> VerifiedRequest {
            let proof = consistency_proof(self, old, size).unwrap_or_default();
            VerifiedRequest { old, proof, head: self.head(size) }
        }
    }

    impl Nodes for Branch {
        fn leaf(&self, index: u64) -> Option<Hash> {
            self.leaves.get(usize::try_from(index).ok()?).copied()
        }

        fn subtree(&self, _: u64) -> Option<Hash> {
            None
        }
    }

    pub(crate) fn log_key() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    #[test]
    fn a_first_head_and_what_continues_it_are_cosigned() {
        let log = Branch::honest(40);
        for first in 0..=40 {
            let decision = decide(None, log.request(0, first)).unwrap();
            assert_eq!(decision.head(), log.seen(first));
            for next in first..=40 {
                let next = decide(Some(log.seen(first)), log.request(first, next));
                assert!(next.is_ok(), "{first}");
            }
        }
    }

    #[test]
    fn the_same_head_may_be_cosigned_again() {
        let log = Branch::honest(9);
        let decision = decide(Some(log.seen(9)), log.request(9, 9)).unwrap();
        let (name, key) = ("witness.example".parse().unwrap(), SecretKey::from_seed([2; 32]));
        let at = |seconds| decision.cosign(&name, &key, UnixTime::from_seconds(seconds)).unwrap();
        assert_ne!(at(5), at(6));
        assert_eq!(at(5), at(5));
    }

    #[test]
    fn every_other_old_size_is_told_the_recorded_one() {
        let log = Branch::honest(40);
        for old in (0..=40).filter(|old| *old != 20) {
            let refusal = decide(Some(log.seen(20)), log.request(old, 40)).unwrap_err();
            assert_eq!(refusal, Refusal::Recorded(20));
            assert_eq!((refusal.http_status(), refusal.recorded()), (409, Some(20)));
        }
        assert_eq!(decide(None, log.request(1, 40)), Err(Refusal::Recorded(0)));
        // A smaller head is never cosigned, whatever the client says of the old one.
        for old in 0..=10 {
            assert_eq!(
                decide(Some(log.seen(20)), log.request(old, 10)),
                Err(Refusal::Recorded(20))
            );
        }
        let beyond = decide(Some(log.seen(20)), log.request(20, 10)).unwrap_err();
        assert_eq!((beyond, beyond.http_status()), (Refusal::Malformed, 400));
    }

    #[test]
    fn another_root_of_the_same_size_contradicts() {
        let (log, other) = (Branch::honest(20), Branch::new(20, 7));
        let refusal = decide(Some(log.seen(20)), other.request(20, 20)).unwrap_err();
        assert_eq!(refusal, Refusal::Contradicts(20));
        assert_eq!((refusal.http_status(), refusal.recorded()), (409, Some(20)));
    }

    #[test]
    fn a_head_of_another_branch_and_a_bad_proof_are_unproven() {
        let (log, other) = (Branch::honest(40), Branch::new(40, 7));
        for size in 21..=40 {
            let refusal = decide(Some(log.seen(20)), other.request(20, size)).unwrap_err();
            assert_eq!((refusal, refusal.http_status()), (Refusal::Unproven, 422));
            let mut longer = log.request(20, size);
            longer.proof.push(empty_root());
            assert_eq!(decide(Some(log.seen(20)), longer), Err(Refusal::Unproven));
            let mut shorter = log.request(20, size);
            shorter.proof.pop();
            assert_eq!(decide(Some(log.seen(20)), shorter), Err(Refusal::Unproven));
        }
        let mut padded = log.request(0, 5);
        padded.proof.push(empty_root());
        assert_eq!(decide(None, padded.clone()), Err(Refusal::Unproven));
        let empty = Seen { size: 0, root: empty_root() };
        assert_eq!(decide(Some(empty), padded), Err(Refusal::Unproven));
        assert!(decide(Some(empty), log.request(0, 5)).is_ok());
    }

    #[test]
    fn a_held_head_is_cosigned_if_it_continues_all_that_was() {
        let (log, other) = (Branch::honest(40), Branch::new(40, 7));
        let decide = |cosigned, promised, size| {
            decide_held(cosigned, promised, log.head(size), &log).map(|decision| decision.head())
        };
        assert_eq!(decide(None, None, 9), Ok(log.seen(9)));
        assert_eq!(decide(Some(log.seen(9)), None, 20), Ok(log.seen(20)));
        assert_eq!(decide(Some(log.seen(9)), Some(log.seen(15)), 20), Ok(log.seen(20)));
        assert_eq!(decide(Some(log.seen(9)), Some(log.seen(25)), 20), Err(Refusal::Recorded(25)));
        assert_eq!(decide(None, Some(other.seen(15)), 20), Err(Refusal::Contradicts(15)));
        assert_eq!(decide(Some(other.seen(20)), None, 20), Err(Refusal::Contradicts(20)));
        assert_eq!(decide(Some(other.seen(5)), Some(other.seen(7)), 20), Ok(log.seen(20)));
    }

    #[test]
    fn what_the_witness_holds_itself_counts_as_seen() {
        let (log, other) = (Branch::honest(40), Branch::new(40, 7));
        let seen = |cosigned: Option<Seen>, held: Option<Seen>| newest_seen(cosigned, held, &log);
        assert_eq!(seen(None, None), Ok(None));
        assert_eq!(seen(None, Some(log.seen(9))), Ok(Some(log.seen(9))));
        assert_eq!(seen(Some(log.seen(9)), None), Ok(Some(log.seen(9))));
        for cosigned in 0..=40 {
            for held in 0..=40 {
                let larger = log.seen(cosigned.max(held));
                let both = (Some(log.seen(cosigned)), Some(log.seen(held)));
                assert_eq!(seen(both.0, both.1), Ok(Some(larger)));
            }
        }
        for held in 20..=40 {
            let refusal = seen(Some(other.seen(20)), Some(log.seen(held))).unwrap_err();
            assert_eq!(refusal, Refusal::Contradicts(20), "held {held}");
        }
        // Up to the fork both branches are one history.
        assert_eq!(seen(Some(other.seen(7)), Some(log.seen(30))), Ok(Some(log.seen(30))));
    }

    #[test]
    fn each_refusal_has_the_status_of_the_protocol() {
        let statuses = [
            (Refusal::Malformed, 400),
            (Refusal::Unsigned, 403),
            (Refusal::UnknownLog, 404),
            (Refusal::Recorded(3), 409),
            (Refusal::Contradicts(3), 409),
            (Refusal::Unproven, 422),
        ];
        for (refusal, status) in statuses {
            assert_eq!(refusal.http_status(), status);
            assert_eq!(refusal.recorded().is_some(), status == 409);
        }
    }

    /// What a client does next: which branch it shows, and with which sizes.
    #[derive(Clone, Copy, Debug)]
    struct Attempt {
        forked: bool,
        old: Option<u64>,
        size: u64,
        /// The witness's own copy reaches this far by then.
        held: Option<u64>,
        damage: Option<u8>,
    }

    fn attempt() -> impl Strategy<Value = Attempt> {
        let old = proptest::option::of(0u64..=60);
        let held = proptest::option::weighted(0.3, 0u64..=60);
        let damage = proptest::option::weighted(0.1, any::<u8>());
        (any::<bool>(), old, 0u64..=60, held, damage).prop_map(
            |(forked, old, size, held, damage)| Attempt { forked, old, size, held, damage },
        )
    }

    proptest! {
        /// From any sequence of requests a witness cosigns one history only.
        #[test]
        fn no_two_cosigned_heads_are_of_different_histories(
            fork in 0u64..60,
            copy_forked: bool,
            attempts in proptest::collection::vec(attempt(), 1..60),
        ) {
            let branches = [Branch::honest(60), Branch::new(60, fork)];
            let of = |forked: bool| &branches[usize::from(forked)];
            let copy = of(copy_forked);
            let (mut cosigned, mut held): (Option<Seen>, Option<Seen>) = (None, None);
            let mut all: Vec<(bool, Seen)> = Vec::new();
            for attempt in attempts {
                // A replica's copy is of one branch and only grows.
                if let Some(size) = attempt.held {
                    held = held.into_iter().chain([copy.seen(size)]).max_by_key(|seen| seen.size);
                }
                let Ok(seen) = newest_seen(cosigned, held, copy) else { continue };
                let branch = of(attempt.forked);
                let recorded = seen.map_or(0, |seen| seen.size);
                let mut request = branch.request(attempt.old.unwrap_or(recorded), attempt.size);
                if let (Some(at), false) = (attempt.damage, request.proof.is_empty()) {
                    let at = usize::from(at) % request.proof.len();
                    request.proof[at] = leaf_hash(b"damage");
                }
                if let Ok(decision) = decide(seen, request) {
                    cosigned = Some(decision.head());
                    all.push((attempt.forked, decision.head()));
                }
            }
            prop_assert!(all.is_sorted_by_key(|(_, head)| head.size));
            let beyond = |forked: bool| {
                all.iter().any(|(of, head)| *of == forked && head.size > fork)
            };
            prop_assert!(!(beyond(true) && beyond(false)), "two histories: {all:?}");
        }

        /// A client that asks as the protocol says is never refused.
        #[test]
        fn an_honest_log_is_always_cosigned(
            sizes in proptest::collection::vec(0u64..=60, 1..12),
        ) {
            let (log, mut seen) = (Branch::honest(60), None);
            let mut sizes = sizes;
            sizes.sort_unstable();
            for size in sizes {
                let old = seen.map_or(0, |seen: Seen| seen.size);
                let decision = decide(seen, log.request(old, size));
                prop_assert!(decision.is_ok());
                seen = decision.ok().map(|decision| decision.head());
            }
        }
    }
}
