//! Whether what we hold of our own log may be old: the reasons for doubt, and
//! how long signing waits for them.
//!
//! | reason | ends with |
//! |---|---|
//! | start, a clock jump, the last partner gone, the first one back | what a partner says of our log, or [`GRACE`] |
//! | a partner saw another run of this node, still connected | proof that we are the earlier one, or [`GRACE`] |
//!
//! **Invariant:** every wait is bounded, whatever partners say or do, and a
//! partner can cause the second only once in [`CREDIT`]. Deliberately absent:
//! what partners said, which [`super::authoring`] compares.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AuthorityId, NodeId};
use crate::time::Timestamp;

/// How long signing waits for the first partner, or for another run to prove itself.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long it waits at most where partners come and go and say nothing.
const LONGEST: Duration = Duration::from_secs(30);
/// How often one partner may make us wait for another run that does not prove itself.
const CREDIT: Duration = Duration::from_secs(3600);

/// A wait for what some partner knows of our log.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Timestamp,
    until: Timestamp,
}

impl Wait {
    fn new(now: Timestamp) -> Self {
        Self { since: now, until: now.after(GRACE) }
    }
}

#[derive(Debug)]
enum Hearing {
    /// Some partner has answered since the last reason for doubt, or none could.
    Done,
    /// The next input tells when the wait begins.
    Due,
    Waiting(Wait),
}

/// The reasons for doubt there are now.
#[derive(Debug)]
pub(super) struct Doubt {
    hearing: Hearing,
    /// Partners that have answered in the session that is open with them.
    heard: BTreeSet<NodeId>,
    /// Another run of this node was seen; wait so long for it to prove itself.
    copy: Option<Timestamp>,
    /// Who said so last, and when.
    suspected: BTreeMap<AuthorityId, Timestamp>,
}

impl Doubt {
    /// At start; `asks` if there is a partner who could know more than we do.
    pub(super) const fn new(asks: bool) -> Self {
        Self {
            hearing: if asks { Hearing::Due } else { Hearing::Done },
            heard: BTreeSet::new(),
            copy: None,
            suspected: BTreeMap::new(),
        }
    }

    /// Whether signing waits.
    pub(super) const fn holds(&self) -> bool {
        !matches!(self.hearing, Hearing::Done) || self.copy.is_some()
    }

    /// A partner is connected; if it is the only one, signing waits for what it says.
    pub(super) fn connected(&mut self, now: Timestamp) {
        if !self.heard.is_empty() {
            return;
        }
        self.hearing = match self.hearing {
            // It has just come: give it the time to answer, but not again and again.
            Hearing::Waiting(Wait { since, .. }) => {
                Hearing::Waiting(Wait { since, until: now.after(GRACE).min(since.after(LONGEST)) })
            }
            Hearing::Done | Hearing::Due => Hearing::Waiting(Wait::new(now)),
        };
    }

    /// A partner said what it knows of our log.
    pub(super) fn heard(&mut self, partner: NodeId) {
        self.heard.insert(partner);
        self.hearing = Hearing::Done;
    }

    /// A session is gone.
    pub(super) fn lost(&mut self, now: Timestamp, peer: &NodeId) {
        if self.heard.remove(peer) && self.heard.is_empty() {
            self.hearing = Hearing::Waiting(Wait::new(now));
        }
    }

    /// The clock jumped: this may be an older state of the machine.
    pub(super) fn jumped(&mut self, now: Timestamp, asks: bool) {
        self.heard.clear();
        if asks {
            self.hearing = Hearing::Waiting(Wait::new(now));
        }
    }

    /// A partner saw another run of this node and holds it for live.
    pub(super) fn suspect(&mut self, now: Timestamp, partner: AuthorityId) {
        let spent = self.suspected.get(&partner).is_some_and(|at| now.since(*at) < CREDIT);
        if !spent {
            self.suspected.insert(partner, now);
            self.copy.get_or_insert_with(|| now.after(GRACE));
        }
    }

    /// The other run is known for what it is.
    pub(super) fn settled(&mut self) {
        self.copy = None;
    }

    /// Begins waits that are due, and ends those that are over.
    pub(super) fn pass(&mut self, now: Timestamp) {
        match self.hearing {
            Hearing::Due => self.hearing = Hearing::Waiting(Wait::new(now)),
            Hearing::Waiting(wait) if wait.until <= now => self.hearing = Hearing::Done,
            Hearing::Waiting(_) | Hearing::Done => {}
        }
        self.copy = self.copy.filter(|until| *until > now);
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let hearing = match self.hearing {
            Hearing::Waiting(wait) => Some(wait.until),
            Hearing::Due | Hearing::Done => None,
        };
        hearing.into_iter().chain(self.copy).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn holds_at(doubt: &mut Doubt, seconds: u64) -> bool {
        doubt.pass(at(seconds));
        doubt.holds()
    }

    #[test]
    fn without_partners_nothing_waits() {
        assert!(!Doubt::new(false).holds());
    }

    #[test]
    fn a_start_waits_for_the_first_answer_or_the_grace() {
        let mut doubt = Doubt::new(true);
        assert!(holds_at(&mut doubt, 5) && holds_at(&mut doubt, 14));
        assert_eq!(doubt.deadline(), Some(at(15)));
        assert!(!holds_at(&mut doubt, 15));
        let mut doubt = Doubt::new(true);
        doubt.pass(at(5));
        doubt.heard(node(1));
        assert!(!doubt.holds());
        assert_eq!(doubt.deadline(), None);
    }

    #[test]
    fn the_last_partner_gone_and_the_first_one_back_are_doubts() {
        let mut doubt = Doubt::new(false);
        doubt.heard(node(1));
        doubt.heard(node(2));
        doubt.lost(at(10), &node(1));
        assert!(!doubt.holds());
        doubt.connected(at(10));
        assert!(!doubt.holds(), "another partner is there");
        doubt.lost(at(10), &node(2));
        assert!(holds_at(&mut doubt, 19) && !holds_at(&mut doubt, 20));
        doubt.connected(at(50));
        assert!(holds_at(&mut doubt, 59) && !holds_at(&mut doubt, 60));
    }

    #[test]
    fn partners_that_come_and_go_and_say_nothing_cannot_prolong_the_wait_for_ever() {
        let mut doubt = Doubt::new(true);
        doubt.pass(at(0));
        for second in 0..30 {
            assert!(holds_at(&mut doubt, second));
            doubt.connected(at(second));
            doubt.lost(at(second), &node(1));
        }
        assert!(!holds_at(&mut doubt, 30));
    }

    #[test]
    fn one_partner_can_raise_a_suspicion_once_in_a_while_only() {
        let mut doubt = Doubt::new(false);
        let liar = AuthorityId::from_bytes([1; 32]);
        for second in 0..3_600 {
            doubt.suspect(at(second), liar);
            assert_eq!(holds_at(&mut doubt, second), second < 10);
        }
        doubt.suspect(at(3_600), liar);
        assert!(doubt.holds());
        doubt.settled();
        assert!(!doubt.holds());
    }
}
