//! Who has lines that we lack, and who was asked for them.
//!
//! **Invariants:** one partner is asked for the lines of a head at a time, and none
//! twice while we have the same; what is kept is about one head of each log
//! and bounded for each head. A partner that promises more than it has delays the
//! lines by [`PATIENCE`]. Deliberately absent: the lines; and durability, as what is
//! offered and not fetched when we crash is lost until the next head.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::VerifiedCheckpoint;
use crate::id::{LogId, NodeId};
use crate::limits;
use crate::note::SignatureLine;
use crate::time::Timestamp;

/// How long a partner may take to answer before another is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// What partners offer.
#[derive(Debug, Default)]
pub(super) struct Offers {
    heads: BTreeMap<LogId, Offered>,
    /// Heads of which somebody may be asked for lines now.
    open: BTreeSet<LogId>,
    /// Who was asked, and until when an answer is waited for.
    asked: BTreeMap<LogId, (NodeId, Timestamp)>,
}

/// Who has lines on one head, in the order in which they said so.
#[derive(Debug)]
struct Offered {
    size: u64,
    peers: Vec<Holder>,
}

#[derive(Debug)]
struct Holder {
    peer: NodeId,
    has: Have,
    /// What we had when it was asked; it need not be asked again as long as we have that.
    asked_at: Option<Have>,
}

/// What somebody has of a head: its size, how many lines, and which ([`mark`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Have {
    pub(super) size: u64,
    pub(super) count: u64,
    pub(super) mark: u16,
}

/// Somebody is to be asked about the newest head of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) peer: NodeId,
    pub(super) log: LogId,
    /// For all lines, and not for missing ones: it has others of the same witnesses.
    pub(super) all: bool,
}

impl Offers {
    /// A partner has so many lines on a head.
    pub(super) fn heard(&mut self, log: LogId, peer: NodeId, has: Have) {
        let size = has.size;
        let offered = self.heads.entry(log).or_insert_with(|| Offered { size, peers: Vec::new() });
        if size < offered.size {
            return;
        }
        if size > offered.size {
            *offered = Offered { size, peers: Vec::new() };
            self.asked.remove(&log);
        }
        let full = offered.peers.len() >= limits::LINE_HOLDERS;
        match offered.peers.iter_mut().find(|holder| holder.peer == peer) {
            Some(holder) if holder.has == has => return,
            Some(holder) => holder.has = has,
            None if full => return,
            None => offered.peers.push(Holder { peer, has, asked_at: None }),
        }
        self.open.insert(log);
    }

    /// Something has happened to a log, so that lines may be asked for, or asked for again.
    pub(super) fn reopen(&mut self, log: LogId) {
        if self.heads.contains_key(&log) {
            self.open.insert(log);
        }
    }

    /// As [`Offers::reopen`], and those who gave what could not be used may be asked again.
    pub(super) fn renew(&mut self, of: impl Fn(&LogId) -> bool) {
        for (log, offered) in self.heads.iter_mut().filter(|(log, _)| of(log)) {
            offered.peers.iter_mut().for_each(|holder| holder.asked_at = None);
            self.open.insert(*log);
        }
    }

    /// Whom to ask about which heads now. `have` says what we have of a log, if that
    /// is settled, and `is_here` whether a partner is connected.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        have: impl Fn(&LogId) -> Option<Have>,
        is_here: impl Fn(&NodeId) -> bool,
    ) -> Vec<Question> {
        self.give_up(now);
        let mut questions = Vec::new();
        for log in core::mem::take(&mut self.open) {
            let Some((offered, ours)) = self.heads.get_mut(&log).zip(have(&log)) else { continue };
            if ours.size > offered.size {
                self.heads.remove(&log);
                self.asked.remove(&log);
            } else if ours.size == offered.size && !self.asked.contains_key(&log) {
                let able = |holder: &&mut Holder| holder.can_give(ours) && is_here(&holder.peer);
                let Some(holder) = offered.peers.iter_mut().find(able) else { continue };
                holder.asked_at = Some(ours);
                self.asked.insert(log, (holder.peer, now.after(PATIENCE)));
                let all = holder.has.count == ours.count;
                questions.push(Question { peer: holder.peer, log, all });
            }
        }
        questions
    }

    fn give_up(&mut self, now: Timestamp) {
        let Self { asked, open, .. } = self;
        asked.retain(|log, (_, until)| {
            let waits = *until > now;
            if !waits {
                open.insert(*log);
            }
            waits
        });
    }

    /// Whether `peer` was asked about a log and has not answered; it has now.
    pub(super) fn answered(&mut self, log: LogId, peer: NodeId) -> bool {
        let was_asked = self.asked.get(&log).is_some_and(|(asked, _)| *asked == peer);
        if was_asked {
            self.asked.remove(&log);
            self.open.insert(log);
        }
        was_asked
    }

    /// A partner is gone, or is back. It does not say again what it has said.
    pub(super) fn met(&mut self, peer: &NodeId) {
        for (log, offered) in &mut self.heads {
            let holder = offered.peers.iter_mut().find(|holder| holder.peer == *peer);
            let Some(holder) = holder else { continue };
            if self.asked.get(log).is_some_and(|(asked, _)| asked == peer) {
                self.asked.remove(log);
                holder.asked_at = None;
            }
            self.open.insert(*log);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.asked.values().map(|(_, until)| *until).min()
    }
}

impl Holder {
    fn can_give(&self, ours: Have) -> bool {
        let others = self.has.count == ours.count && self.has.mark != ours.mark;
        (self.has.count > ours.count || others) && self.asked_at != Some(ours)
    }
}

/// Tells apart different lines by the same witnesses, all but always.
pub(in crate::sync) fn mark(head: &VerifiedCheckpoint) -> u16 {
    let lines = head.cosignatures().filter_map(|signer| head.line_of(&signer.key));
    lines.map(SignatureLine::tail).fold(0, u16::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AuthorityId;

    fn have(size: u64, count: u64) -> Have {
        Have { size, count, mark: 0 }
    }

    fn asks(offers: &mut Offers, seconds: u64, ours: Have) -> Vec<NodeId> {
        offers
            .ask(at(seconds), |_| Some(ours), |_| true)
            .into_iter()
            .map(|question| question.peer)
            .collect()
    }

    fn log(n: u8) -> LogId {
        LogId::public(AuthorityId::from_bytes([n; 32]), 0)
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn one_partner_is_asked_at_a_time_and_the_next_if_it_does_not_answer() {
        let mut offers = Offers::default();
        offers.heard(log(1), node(1), have(5, 14));
        offers.heard(log(1), node(2), have(5, 14));
        let question = Question { peer: node(1), log: log(1), all: false };
        assert_eq!(offers.ask(at(0), |_| Some(have(5, 0)), |_| true), [question]);
        assert_eq!(asks(&mut offers, 1, have(5, 0)), []);
        assert_eq!(offers.deadline(), Some(at(5)));
        assert_eq!(asks(&mut offers, 5, have(5, 0)), [node(2)]);
        assert!(!offers.answered(log(1), node(1)), "too late");
        assert!(offers.answered(log(1), node(2)) && !offers.answered(log(1), node(2)));
        assert_eq!(asks(&mut offers, 6, have(5, 0)), [], "both were asked for all they had");
        // What one of them gave was not all there is.
        offers.reopen(log(1));
        assert_eq!(asks(&mut offers, 7, have(5, 9)), [node(1)]);
    }

    #[test]
    fn who_has_no_more_than_we_is_not_asked_and_what_is_not_here_waits() {
        let mut offers = Offers::default();
        offers.heard(log(1), node(1), have(5, 3));
        assert_eq!(asks(&mut offers, 0, have(5, 3)), []);
        offers.heard(log(1), node(1), have(6, 3));
        assert_eq!(asks(&mut offers, 1, have(5, 3)), [], "the head is still to come");
        assert_eq!(asks(&mut offers, 2, have(6, 0)), [], "nothing has happened");
        offers.reopen(log(1));
        assert_eq!(asks(&mut offers, 3, have(6, 0)), [node(1)]);
        offers.reopen(log(1));
        assert_eq!(asks(&mut offers, 4, have(7, 0)), [], "it has gone on");
        assert!(offers.heads.is_empty() && offers.asked.is_empty());
    }

    #[test]
    fn other_lines_of_the_same_witnesses_are_asked_for_once() {
        let mut offers = Offers::default();
        offers.heard(log(1), node(1), Have { mark: 7, ..have(5, 3) });
        let question = Question { peer: node(1), log: log(1), all: true };
        assert_eq!(offers.ask(at(0), |_| Some(have(5, 3)), |_| true), [question]);
        assert!(offers.answered(log(1), node(1)));
        assert_eq!(asks(&mut offers, 1, have(5, 3)), [], "ours were the earlier ones");
    }

    #[test]
    fn who_is_gone_is_not_waited_for_and_holders_are_bounded() {
        let mut offers = Offers::default();
        for n in 0..100 {
            offers.heard(log(1), node(n), have(5, 3));
        }
        assert_eq!(offers.heads[&log(1)].peers.len(), limits::LINE_HOLDERS);
        assert_eq!(asks(&mut offers, 0, have(5, 0)), [node(0)]);
        offers.met(&node(0));
        let first_is_gone = |offers: &mut Offers| {
            let asked = offers.ask(at(0), |_| Some(have(5, 0)), |peer| *peer != node(0));
            asked.into_iter().map(|question| question.peer).collect::<Vec<_>>()
        };
        assert_eq!(first_is_gone(&mut offers), [node(1)]);
        assert!(offers.answered(log(1), node(1)));
        // What it gave could not be used, and now it can.
        offers.renew(|_| true);
        assert_eq!(first_is_gone(&mut offers), [node(1)]);
        assert!(offers.answered(log(1), node(1)));
        // Who was gone is back, and has what it had.
        offers.met(&node(0));
        assert_eq!(asks(&mut offers, 1, have(5, 0)), [node(0)]);
    }
}
