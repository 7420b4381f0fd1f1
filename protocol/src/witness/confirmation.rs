//! What cosignatures amount to: *published* or *confirmed by 4 of 6*, and
//! whether the time that a record states fits them.
//!
//! A record is published once the log's head covers it, and confirmed once
//! enough of the witnesses cosigned that head: those that its author names in
//! its profile, or those that the reader's own [`Policy`] asks for.
//!
//! The time a record was `issued` is its author's word. Cosignatures bound it: a
//! record cannot be younger than a head that covers it, and its author had not
//! yet put it into a head that does not. One witness's clock may be wrong, or
//! its owner a friend of the author, so what counts is the time by which enough
//! of them had cosigned. Deliberately absent: any clock of our own.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use super::policy::Policy;
use crate::checkpoint::VerifiedCheckpoint;
use crate::note::{Signer, VerifierKey};
use crate::time::UnixTime;

/// By how much a record's time may lie outside its bounds before it is reported.
///
/// Clocks of servers are minutes apart at worst, and a record may wait for its
/// head while the node asks its partners. Whoever dates a record falsely wants
/// days: deadlines of procurement are counted in days.
pub const TOLERANCE: Duration = Duration::from_secs(3600);

/// Whose cosignatures count, and how many of them are needed.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// So many of the witnesses that the author names.
    Named {
        /// Their keys.
        witnesses: &'a [VerifierKey],
        /// How many must have cosigned; 0: the author asks for none.
        quorum: usize,
    },
    /// What the reader's policy says.
    Policy(&'a Policy),
}

impl Rule<'_> {
    /// The keys to verify checkpoints with.
    #[must_use]
    pub fn keys(&self) -> Vec<VerifierKey> {
        match self {
            Self::Named { witnesses, .. } => witnesses.to_vec(),
            Self::Policy(policy) => policy.witness_keys(),
        }
    }

    fn counts(&self, key: &VerifierKey) -> bool {
        match self {
            Self::Named { witnesses, .. } => witnesses.contains(key),
            Self::Policy(policy) => policy.witnesses().iter().any(|witness| witness.key == *key),
        }
    }

    fn named(&self) -> usize {
        match self {
            Self::Named { witnesses, .. } => witnesses.iter().collect::<BTreeSet<_>>().len(),
            Self::Policy(policy) => policy.witnesses().len(),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::Named { quorum, .. } => *quorum,
            Self::Policy(policy) => policy.needed(),
        }
    }

    /// Whether these are enough. Nobody is never enough to confirm anything.
    fn confirmed_by(&self, signers: &[&Signer]) -> bool {
        let enough = match self {
            Self::Named { quorum, .. } => *quorum > 0 && signers.len() >= *quorum,
            Self::Policy(policy) => {
                policy.asks_for_witnesses()
                    && policy.satisfied(signers.iter().map(|signer| &signer.key))
            }
        };
        enough && !signers.is_empty()
    }
}

/// How far a record is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its author signed a head that covers it.
    Published,
    /// Enough witnesses cosigned that head.
    Confirmed,
}

/// What the cosignatures of a head amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// How far what the head covers is confirmed.
    pub standing: Standing,
    /// Witnesses that cosigned it.
    pub have: usize,
    /// Witnesses whose cosignatures count.
    pub named: usize,
    /// Fewest of them that confirm.
    pub needed: usize,
    /// The earliest time that one of them states.
    pub earliest: Option<UnixTime>,
    /// The time by which enough had cosigned, once they have.
    pub confirmed: Option<UnixTime>,
}

impl Confirmation {
    /// Of a head that was verified with [`Rule::keys`].
    #[must_use]
    pub fn of(head: &VerifiedCheckpoint, rule: Rule<'_>) -> Self {
        let mut signers: Vec<_> =
            head.cosignatures().filter(|signer| rule.counts(&signer.key)).collect();
        signers.sort_by_key(|signer| signer.time);
        let enough = |count: &usize| {
            rule.confirmed_by(&signers.iter().take(*count).copied().collect::<Vec<_>>())
        };
        let confirming = (1..=signers.len()).find(enough);
        let last = confirming.and_then(|count| signers.get(count.saturating_sub(1)));
        Self {
            standing: if confirming.is_some() { Standing::Confirmed } else { Standing::Published },
            have: signers.len(),
            named: rule.named(),
            needed: rule.needed(),
            earliest: signers.first().and_then(|signer| signer.time),
            confirmed: last.and_then(|signer| signer.time),
        }
    }
}

impl fmt::Display for Confirmation {
    /// `published`, or `confirmed by 4 of 6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.standing {
            Standing::Published => f.write_str("published"),
            Standing::Confirmed => write!(f, "confirmed by {} of {}", self.have, self.named),
        }
    }
}

/// What is known of the time at which a record came into its log.
///
/// Which time of a head goes in is the caller's choice: [`Confirmation::confirmed`]
/// for a verdict that no single witness can bring about, or
/// [`Confirmation::earliest`] for a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeBounds {
    /// When a head without the record was the newest: the latest such time.
    not_yet: Option<UnixTime>,
    /// When a head with the record existed: the earliest such time.
    by_then: Option<UnixTime>,
}

/// How the time a record states lies to its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dating {
    /// Within the bounds or [`TOLERANCE`], or nothing bounds it on that side.
    Plausible,
    /// Later than it was seen, by so much.
    PostDated(Duration),
    /// Earlier than a time at which it was not there, by so much.
    BackDated(Duration),
}

impl TimeBounds {
    /// Takes in that a head of `size` entries was cosigned at `time`, the
    /// record being the entry at `index` of that log.
    pub fn add(&mut self, index: u64, size: u64, time: UnixTime) {
        if index < size {
            self.by_then = self.by_then.into_iter().chain([time]).min();
        } else {
            self.not_yet = self.not_yet.max(Some(time));
        }
    }

    /// The latest time at which a head without the record was the newest.
    #[must_use]
    pub const fn not_yet(&self) -> Option<UnixTime> {
        self.not_yet
    }

    /// The earliest time by which a head with the record was there.
    #[must_use]
    pub const fn by_then(&self) -> Option<UnixTime> {
        self.by_then
    }

    /// Judges the time that the record states.
    ///
    /// Should the bounds contradict each other, because witnesses' clocks do,
    /// being seen too early comes first.
    #[must_use]
    pub fn judge(&self, issued: UnixTime) -> Dating {
        let apart = |later: UnixTime, earlier: UnixTime| {
            let apart = later.as_seconds().saturating_sub(earlier.as_seconds());
            Some(Duration::from_secs(apart)).filter(|apart| *apart > TOLERANCE)
        };
        let after = self.by_then.and_then(|time| apart(issued, time));
        let before = self.not_yet.and_then(|time| apart(time, issued));
        match (after, before) {
            (Some(by), _) => Dating::PostDated(by),
            (None, Some(by)) => Dating::BackDated(by),
            (None, None) => Dating::Plausible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::log_key;
    use super::*;
    use crate::checkpoint::{Checkpoint, sign, witness_key};
    use crate::id::AuthorityId;
    use crate::key::SecretKey;
    use crate::log::leaf_hash;

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn witness(seed: u8) -> VerifierKey {
        let network = "made-up".parse().unwrap();
        witness_key(&network, &AuthorityId::from_bytes([seed; 32]), secret(seed).public())
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    /// A head that these witnesses cosigned, each at its time.
    fn head(cosigned: &[(u8, u64)]) -> VerifiedCheckpoint {
        let checkpoint = Checkpoint::new("a.example".parse().unwrap(), 9, leaf_hash(b"root"));
        let mut head = sign(&checkpoint.unwrap(), &log_key()).unwrap();
        for (seed, time) in cosigned {
            let line = head.cosign(witness(*seed).name(), &secret(*seed), at(*time)).unwrap();
            head.add(line, &witness(*seed)).unwrap();
        }
        head
    }

    fn named(head: &VerifiedCheckpoint, witnesses: usize, quorum: usize) -> Confirmation {
        let witnesses: Vec<_> = (1..).take(witnesses).map(witness).collect();
        Confirmation::of(head, Rule::Named { witnesses: &witnesses, quorum })
    }

    #[test]
    fn enough_named_witnesses_confirm() {
        let head = head(&[(1, 50), (2, 20), (3, 40), (4, 30)]);
        let confirmation = named(&head, 6, 3);
        assert_eq!(confirmation.to_string(), "confirmed by 4 of 6");
        assert_eq!((confirmation.have, confirmation.needed), (4, 3));
        assert_eq!(confirmation.earliest, Some(at(20)));
        // The third cosignature in time, whatever the order of the lines.
        assert_eq!(confirmation.confirmed, Some(at(40)));
        let five = named(&head, 6, 5);
        assert_eq!((five.standing, five.have, five.confirmed), (Standing::Published, 4, None));
        assert_eq!(five.to_string(), "published");
        assert_eq!(five.earliest, Some(at(20)));
    }

    #[test]
    fn cosignatures_of_others_do_not_count() {
        let confirmation = named(&head(&[(1, 50), (8, 10), (9, 20)]), 6, 2);
        assert_eq!((confirmation.standing, confirmation.have), (Standing::Published, 1));
        assert_eq!(confirmation.earliest, Some(at(50)));
    }

    #[test]
    fn without_witnesses_or_quorum_nothing_is_confirmed() {
        let cosigned = head(&[(1, 50)]);
        assert_eq!(named(&cosigned, 6, 0).standing, Standing::Published);
        assert_eq!(named(&cosigned, 0, 0).standing, Standing::Published);
        assert_eq!(named(&head(&[]), 6, 1).standing, Standing::Published);
        let nobody = Policy::parse(b"quorum none\n").unwrap();
        let confirmation = Confirmation::of(&cosigned, Rule::Policy(&nobody));
        assert_eq!(confirmation.to_string(), "published");
    }

    #[test]
    fn a_witness_named_twice_counts_once() {
        let witnesses = [witness(1), witness(1), witness(2)];
        let rule = Rule::Named { witnesses: &witnesses, quorum: 2 };
        let confirmation = Confirmation::of(&head(&[(1, 50)]), rule);
        assert_eq!((confirmation.have, confirmation.named), (1, 2));
        assert_eq!(confirmation.standing, Standing::Published);
    }

    #[test]
    fn a_policy_confirms_when_its_last_part_is_there() {
        let text = format!(
            "witness a {}\nwitness b {}\nwitness c {}\ngroup ab any a b\ngroup all all ab c\nquorum all\n",
            witness(1),
            witness(2),
            witness(3)
        );
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let rule = Rule::Policy(&policy);
        assert_eq!(rule.keys().len(), 3);
        let confirmation = Confirmation::of(&head(&[(1, 10), (2, 20), (3, 30)]), rule);
        assert_eq!(confirmation.to_string(), "confirmed by 3 of 3");
        assert_eq!((confirmation.needed, confirmation.confirmed), (2, Some(at(30))));
        let confirmation = Confirmation::of(&head(&[(1, 10), (2, 20)]), rule);
        assert_eq!(confirmation.standing, Standing::Published);
    }

    /// An entry at index 7: heads of 7 entries do not cover it, heads of 8 do.
    fn bounds(not_yet: &[u64], by_then: &[u64]) -> TimeBounds {
        let mut bounds = TimeBounds::default();
        not_yet.iter().for_each(|time| bounds.add(7, 7, at(*time)));
        by_then.iter().for_each(|time| bounds.add(7, 8, at(*time)));
        bounds
    }

    #[test]
    fn back_and_post_dating_beyond_the_tolerance_is_told() {
        let (day, hour) = (86_400, TOLERANCE.as_secs());
        let bounds = bounds(&[10 * day, 8 * day], &[12 * day, 11 * day]);
        assert_eq!((bounds.not_yet(), bounds.by_then()), (Some(at(10 * day)), Some(at(11 * day))));
        let seconds = Duration::from_secs;
        for (issued, dating) in [
            (10 * day, Dating::Plausible),
            (11 * day, Dating::Plausible),
            (10 * day - hour, Dating::Plausible),
            (11 * day + hour, Dating::Plausible),
            (10 * day - hour - 1, Dating::BackDated(seconds(hour + 1))),
            (11 * day + hour + 1, Dating::PostDated(seconds(hour + 1))),
            (3 * day, Dating::BackDated(seconds(7 * day))),
            (0, Dating::BackDated(seconds(10 * day))),
            (u64::MAX, Dating::PostDated(seconds(u64::MAX - 11 * day))),
        ] {
            assert_eq!(bounds.judge(at(issued)), dating, "{issued}");
        }
    }

    #[test]
    fn what_is_not_bounded_is_plausible() {
        for issued in [0, 1_800_000_000, u64::MAX] {
            assert_eq!(bounds(&[], &[]).judge(at(issued)), Dating::Plausible);
        }
        assert_eq!(bounds(&[1_000_000], &[]).judge(at(u64::MAX)), Dating::Plausible);
        assert_eq!(bounds(&[], &[1_000_000]).judge(at(0)), Dating::Plausible);
    }
}
