//! Standings: how each peer has behaved, and how much work it may still make us.
//!
//! *Faults* cost points, by what was done; points fade. Whoever reaches
//! [`limits::BAN_POINTS`] is shown out and refused for a while, longer each
//! time, and then let back: software is mended and disks are replaced.
//!
//! *Work* is what a peer makes us do without having been asked: requests, news,
//! greetings, bytes. Nobody is blamed for it. Whoever has used up its share
//! waits: [`Standings::accepts`] says no, the frames stay in the stream, and
//! the transport slows the peer down. Answers that we asked for are free, since
//! our asking bounds them. A peer may have everything we hold twice at full
//! speed; what it asks for beyond that costs more. Gossip has no stream to slow
//! down; what is too much is ignored unread, which loses nothing for good.
//!
//! **Invariants:** at most [`limits::STANDINGS`] peers are remembered, those
//! that behaved best and longest ago forgotten first; time comes from the inputs
//! alone. Deliberately absent: any memory across restarts.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::Refusal;
use super::wire::Message;
use crate::id::{AuthorityId, NodeId};
use crate::limits;
use crate::time::Timestamp;

/// First and longest time for which a peer is refused.
const BAN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// How often a peer was refused is forgotten after so long without a fault.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// Time in which one point fades.
const FADE: Duration = Duration::from_secs(6);
/// What a request costs beyond the share of entries that a peer may have at full speed.
const DEAR: u64 = 32;
/// Entries that a peer may have at full speed, however few we hold.
const LEAST_SHARE: u64 = 1 << 16;
/// Seconds after which a used share of entries has come back.
const SHARE_SECONDS: u64 = 3600;

/// How a peer stands, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingStatus {
    /// The node.
    pub node: NodeId,
    /// The authority it works for, if its node key says so.
    pub authority: Option<AuthorityId>,
    /// Points against it that have not faded; at [`limits::BAN_POINTS`] it is refused.
    pub score: u64,
    /// Its faults since it is remembered.
    pub faults: u64,
    /// The last of them.
    pub reason: Refusal,
    /// When it is let back, if it is refused now.
    pub until: Option<Timestamp>,
}

/// A peer that has just been condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condemned {
    pub(super) peer: NodeId,
    pub(super) reason: Refusal,
    pub(super) until: Timestamp,
}

/// Something that is used up and comes back with time, in thousandths.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    spent: u64,
    as_of: Timestamp,
}

impl Bucket {
    const fn new(now: Timestamp) -> Self {
        Self { spent: 0, as_of: now }
    }

    fn settle(&mut self, now: Timestamp, per_second: u64) {
        let micros = u64::try_from(now.since(self.as_of).as_micros()).unwrap_or(u64::MAX);
        let back = micros.saturating_mul(per_second) / 1000;
        if back > 0 {
            self.spent = self.spent.saturating_sub(back);
            self.as_of = now;
        }
    }

    fn spend(&mut self, now: Timestamp, per_second: u64, amount: u64) {
        self.settle(now, per_second);
        self.spent = self.spent.saturating_add(amount.saturating_mul(1000));
    }

    const fn is_over(&self, burst: u64) -> bool {
        self.spent > burst.saturating_mul(1000)
    }

    /// When it is no longer over `burst`, rounded up to a thousandth of a second.
    fn free_at(&self, per_second: u64, burst: u64) -> Timestamp {
        let over = self.spent.saturating_sub(burst.saturating_mul(1000));
        self.as_of.after(Duration::from_millis(over / per_second.max(1) + 1))
    }
}

/// How one peer has behaved.
#[derive(Debug)]
struct Standing {
    /// Points against it at `as_of`, in thousandths.
    points: u64,
    as_of: Timestamp,
    /// The last fault and when it was.
    last: Option<(Refusal, Timestamp)>,
    faults: u64,
    bans: u32,
    until: Option<Timestamp>,
    work: Bucket,
    gossip: Bucket,
    flood: Bucket,
    served: Bucket,
    introduced: usize,
}

impl Standing {
    const fn new(now: Timestamp) -> Self {
        let fresh = Bucket::new(now);
        Self {
            points: 0,
            as_of: now,
            last: None,
            faults: 0,
            bans: 0,
            until: None,
            work: fresh,
            gossip: fresh,
            flood: fresh,
            served: fresh,
            introduced: 0,
        }
    }

    /// Points against it now, in thousandths.
    fn points(&self, now: Timestamp) -> u64 {
        let micros = u64::try_from(now.since(self.as_of).as_micros()).unwrap_or(u64::MAX);
        let fade = u64::try_from(FADE.as_millis()).unwrap_or(u64::MAX);
        self.points.saturating_sub(micros / fade)
    }

    fn is_banned(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Counts a fault; says until when the peer is refused from now on, if so.
    fn fault(&mut self, now: Timestamp, refusal: Refusal) -> Option<Timestamp> {
        if self.last.is_some_and(|(_, at)| now.since(at) > MEMORY) {
            self.bans = 0;
        }
        let full = limits::BAN_POINTS * 1000;
        self.points = (self.points(now) + cost(refusal) * 1000).min(2 * full);
        self.as_of = now;
        self.last = Some((refusal, now));
        self.faults = self.faults.saturating_add(1);
        if self.points < full || self.is_banned(now) {
            return None;
        }
        let length = BAN.0.saturating_mul(1 << (2 * self.bans).min(16)).min(BAN.1);
        self.bans = self.bans.saturating_add(1);
        self.until = Some(now.after(length));
        self.until
    }
}

/// All peers that are remembered.
#[derive(Debug, Default)]
pub(super) struct Standings {
    now: Timestamp,
    peers: BTreeMap<NodeId, Standing>,
    /// Peers that have used up their share of work.
    waiting: BTreeSet<NodeId>,
    condemned: Vec<Condemned>,
}

impl Standings {
    /// Time goes on; shares come back.
    pub(super) fn at(&mut self, now: Timestamp) {
        self.now = now;
        let Self { peers, waiting, .. } = self;
        waiting.retain(|peer| {
            let Some(standing) = peers.get_mut(peer) else { return false };
            standing.work.settle(now, limits::WORK_PER_SECOND);
            standing.work.is_over(limits::WORK_BURST)
        });
    }

    /// Whether another frame of the peer may be read now.
    pub(super) fn accepts(&self, peer: &NodeId) -> bool {
        !self.waiting.contains(peer)
    }

    /// When a peer that waits may go on.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.iter().filter_map(|peer| self.peers.get(peer));
        let free = |standing: &Standing| {
            standing.work.free_at(limits::WORK_PER_SECOND, limits::WORK_BURST)
        };
        waiting.map(free).min()
    }

    /// Whether the peer is refused now.
    pub(super) fn is_banned(&self, peer: &NodeId) -> bool {
        self.peers.get(peer).is_some_and(|standing| standing.is_banned(self.now))
    }

    /// Counts what was not taken, if it was the peer's fault.
    pub(super) fn fault(&mut self, peer: NodeId, reason: Refusal) {
        if cost(reason) == 0 {
            return;
        }
        let now = self.now;
        if let Some(until) = self.standing(peer).fault(now, reason) {
            self.condemned.push(Condemned { peer, reason, until });
        }
    }

    /// Those who reached the limit since this was asked last.
    pub(super) fn condemned(&mut self) -> Vec<Condemned> {
        core::mem::take(&mut self.condemned)
    }

    /// Charges a message that nobody asked for; `held` is how many entries we hold.
    pub(super) fn work(&mut self, peer: NodeId, message: &Message, bytes: usize, held: u64) {
        let now = self.now;
        let standing = self.standing(peer);
        let mut work = 1 + (bytes >> 10) as u64;
        match message {
            Message::News(news) => {
                work += (news.identities.len() + news.heads.len() + news.own.len()) as u64;
            }
            // Each head is a checkpoint, and its signature is checked.
            Message::GroupHeads { heads, .. } => work += heads.len() as u64,
            Message::WantLines(wanted) => work += wanted.len() as u64,
            Message::WantOutline { from, size, .. } => {
                work += size.saturating_sub(*from).min(held) / limits::SUBTREE_ENTRIES / 64;
            }
            Message::WantEntries { start, end, .. } | Message::WantBodies { start, end, .. } => {
                let count = end.saturating_sub(*start).min(limits::SUBTREE_ENTRIES);
                let share = held.saturating_mul(2).saturating_add(LEAST_SHARE);
                standing.served.spend(now, share / SHARE_SECONDS, count);
                if standing.served.is_over(share) {
                    work += DEAR;
                    // What is over the share costs now, not for hours to come.
                    standing.served.spent = share.saturating_mul(1000);
                }
            }
            _ => {}
        }
        self.charge(peer, work);
    }

    /// Charges a frame of a type that this version does not know.
    pub(super) fn unknown(&mut self, peer: NodeId, bytes: usize) {
        self.charge(peer, 1 + (bytes >> 10) as u64);
    }

    fn charge(&mut self, peer: NodeId, work: u64) {
        let now = self.now;
        let standing = self.standing(peer);
        standing.work.spend(now, limits::WORK_PER_SECOND, work);
        if standing.work.is_over(limits::WORK_BURST) {
            self.waiting.insert(peer);
        }
    }

    /// Whether a gossip message of so many bytes is looked at.
    pub(super) fn hears(&mut self, peer: NodeId, bytes: usize) -> bool {
        let now = self.now;
        let standing = self.standing(peer);
        if standing.is_banned(now) {
            return false;
        }
        let work = 1 + (bytes >> 13) as u64;
        standing.gossip.spend(now, limits::GOSSIP_PER_SECOND, work);
        let heard = !standing.gossip.is_over(limits::GOSSIP_BURST);
        if !heard {
            // Unread ones do not delay the time at which it is heard again.
            standing.gossip.spent = limits::GOSSIP_BURST * 1000;
        }
        standing.flood.spend(now, limits::FLOOD_PER_SECOND, 1);
        if standing.flood.is_over(limits::FLOOD_BURST) {
            standing.flood = Bucket::new(now);
            self.fault(peer, Refusal::TooFast);
        }
        heard
    }

    /// Whether the peer may make another authority known. It has, if so.
    pub(super) fn introduces(&mut self, peer: NodeId) -> bool {
        let standing = self.standing(peer);
        let may = standing.introduced < limits::INTRODUCTIONS;
        standing.introduced += usize::from(may);
        may
    }

    /// Those against whom something stands.
    pub(super) fn list(&self) -> impl Iterator<Item = StandingStatus> {
        self.peers.iter().filter_map(|(node, standing)| {
            let (reason, _) = standing.last?;
            let score = standing.points(self.now).div_ceil(1000);
            let until = standing.until.filter(|until| self.now < *until);
            let shown = score > 0 || until.is_some();
            let faults = standing.faults;
            shown.then_some(StandingStatus {
                node: *node,
                authority: None,
                score,
                faults,
                reason,
                until,
            })
        })
    }

    fn standing(&mut self, peer: NodeId) -> &mut Standing {
        let now = self.now;
        if self.peers.len() >= limits::STANDINGS && !self.peers.contains_key(&peer) {
            let worth = |standing: &Standing| {
                let used = standing.work.as_of.max(standing.gossip.as_of);
                (standing.is_banned(now), standing.points(now), used)
            };
            let least = self.peers.iter().min_by_key(|(_, standing)| worth(standing));
            if let Some(least) = least.map(|(peer, _)| *peer) {
                self.peers.remove(&least);
            }
        }
        self.peers.entry(peer).or_insert_with(|| Standing::new(now))
    }
}

/// Points a refusal costs whoever it blames.
const fn cost(refusal: Refusal) -> u64 {
    match refusal {
        // Not meant: a misconfigured node, an overloaded one, a slow line.
        Refusal::Silent => 10,
        Refusal::WrongNetwork | Refusal::TooLarge | Refusal::TooSlow => 25,
        Refusal::TooFast => limits::BAN_POINTS,
        Refusal::TooManyPeers | Refusal::Banned | Refusal::TooManyAuthorities => 0,
        // Correct software does not do this, whatever it is fed with.
        other if other.is_peers_fault() => 40,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LogId;

    fn node(number: u64) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn second(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn entries(end: u64) -> Message {
        let log = LogId::public(AuthorityId::from_bytes([1; 32]), 0);
        Message::WantEntries { id: 1, log, start: 0, end }
    }

    #[test]
    fn faults_add_up_to_a_ban_that_ends_and_grows() {
        let mut standings = Standings::default();
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            standings.at(second(now));
            let until = loop {
                standings.fault(node(1), Refusal::BadEntries);
                if let Some(condemned) = standings.condemned().pop() {
                    assert_eq!(condemned.reason, Refusal::BadEntries);
                    break condemned.until;
                }
                assert!(!standings.is_banned(&node(1)));
            };
            assert!(standings.is_banned(&node(1)) && !standings.is_banned(&node(2)));
            assert_eq!(standings.list().next().unwrap().until, Some(until));
            lengths.push(until.since(second(now)).as_secs());
            now = until.as_micros() / 1_000_000;
            standings.at(second(now));
            assert!(!standings.is_banned(&node(1)), "let back");
        }
        assert_eq!(lengths, [60, 240, 960, 3600, 3600, 3600]);
    }

    #[test]
    fn rare_faults_fade_and_are_forgotten() {
        let mut standings = Standings::default();
        for day in 0..20 {
            standings.at(second(day * 600));
            standings.fault(node(1), Refusal::BadSignature);
            standings.fault(node(1), Refusal::Silent);
        }
        assert_eq!(standings.condemned(), []);
        assert_eq!(standings.list().next().unwrap().faults, 40);
        standings.at(second(20 * 600));
        assert_eq!(standings.list().count(), 0);
    }

    #[test]
    fn what_is_nobodys_fault_costs_nothing() {
        let mut standings = Standings::default();
        for refusal in [Refusal::Fork, Refusal::UnknownAuthor, Refusal::TooManyPeers] {
            (0..1000).for_each(|_| standings.fault(node(1), refusal));
        }
        assert_eq!((standings.condemned(), standings.list().count()), (Vec::new(), 0));
    }

    #[test]
    fn honest_catch_up_of_a_hundred_thousand_records_a_second_never_waits() {
        let mut standings = Standings::default();
        // 30 seconds; a request of 256 entries every 2.56 ms, from a node that holds it all.
        for request in 0..11_718u64 {
            standings.at(Timestamp::from_micros(request * 2_560));
            standings.work(node(1), &entries(256), 60, 3_000_000);
            assert!(standings.accepts(&node(1)), "request {request}");
        }
    }

    #[test]
    fn requests_at_full_speed_wait_and_go_on() {
        let mut standings = Standings::default();
        let (mut now, mut taken) = (0u64, 0u64);
        // A minute of a peer that asks for the same again and again, 20 us apart.
        while now < 60_000_000 {
            standings.at(Timestamp::from_micros(now));
            if standings.accepts(&node(1)) {
                standings.work(node(1), &entries(256), 60, 10_000);
                taken += 1;
                now += 20;
            } else {
                let due = standings.deadline().unwrap().as_micros();
                assert!(due > now);
                now = due;
            }
        }
        let dear = (limits::WORK_BURST + 60 * limits::WORK_PER_SECOND) / (DEAR + 1);
        let share = (LEAST_SHARE + 20_000) / 256;
        assert!(taken < 2 * (dear + share), "{taken}");
        assert!(taken > dear, "{taken}: it is slowed down, not stopped");
        assert_eq!(standings.list().count(), 0, "nobody is blamed");
    }

    #[test]
    fn gossip_over_the_rate_is_ignored_and_a_flood_is_a_fault() {
        let mut standings = Standings::default();
        let heard = (0..50_000).filter(|_| standings.hears(node(1), 500)).count() as u64;
        assert_eq!(heard, limits::GOSSIP_BURST);
        standings.at(second(1));
        assert!(standings.hears(node(1), 500), "it comes back at once");
        assert_eq!(standings.condemned(), []);
        (0..limits::FLOOD_BURST).for_each(|_| _ = standings.hears(node(1), 500));
        assert_eq!(standings.condemned().first().unwrap().reason, Refusal::TooFast);
        assert!(!standings.hears(node(1), 500));
    }

    #[test]
    fn the_worst_are_remembered() {
        let mut standings = Standings::default();
        (0..10).for_each(|_| standings.fault(node(7), Refusal::Protocol));
        standings.fault(node(8), Refusal::Protocol);
        for number in 100..100 + 3 * limits::STANDINGS as u64 {
            standings.at(Timestamp::from_micros(number));
            standings.work(node(number), &Message::Since { cursor: None }, 10, 0);
        }
        assert_eq!(standings.peers.len(), limits::STANDINGS);
        assert!(standings.is_banned(&node(7)));
        assert_eq!(standings.list().count(), 2);
    }
}
