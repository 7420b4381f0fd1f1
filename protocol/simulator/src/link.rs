//! A link between two nodes: how long what is sent takes, and whether it comes.
//!
//! Two kinds of traffic share it. The sync stream is reliable and ordered, as
//! TCP or QUIC give it: loss there is time (a retransmission, and everything
//! behind waits), or the end of the connection if it goes on. Gossip is
//! at-most-once and unordered: loss is loss, and copies and overtaking happen.
//! Both take bandwidth.

use crate::chance::Chance;
use crate::schedule::MILLISECOND;

/// Payload of one packet, for the number of packets that a frame takes.
const PACKET_BYTES: usize = 1_300;
/// How many packets of one frame are diced for; losses in one window are mended together.
const DICED: usize = 64;
/// The first wait for an acknowledgement when a retransmission was lost, too.
const TIMEOUT: u64 = 200 * MILLISECOND;
/// Retransmissions lost in a row after which the connection is given up.
const GIVE_UP: u32 = 6;

/// What a link is like.
#[derive(Clone, Copy, Debug)]
pub struct LinkModel {
    /// One way, in microseconds.
    pub latency: u64,
    /// Up to so many microseconds more, for each message anew.
    pub jitter: u64,
    /// Packets lost, per million.
    pub loss: u32,
    /// Gossip messages that come twice, per million.
    pub duplication: u32,
    /// Gossip messages that are held up, so that later ones overtake them, per million.
    pub reordering: u32,
    /// Bytes per millisecond, each way.
    pub bandwidth: u64,
}

impl LinkModel {
    /// A good link of so many microseconds: 160 Mbit/s, nothing is lost.
    #[must_use]
    pub const fn good(latency: u64) -> Self {
        Self { latency, jitter: 0, loss: 0, duplication: 0, reordering: 0, bandwidth: 20_000 }
    }

    /// A link as between offices of one country: 3 to 40 ms, 20 to 200 Mbit/s, hardly any loss.
    pub const fn country(chance: &mut Chance) -> Self {
        Self {
            latency: chance.between(3, 40) * MILLISECOND,
            jitter: chance.between(0, 5) * MILLISECOND,
            loss: chance.below(2_000) as u32,
            duplication: 0,
            reordering: 500,
            bandwidth: chance.between(2_500, 25_000),
        }
    }

    /// A bad link: up to 150 ms, 1 to 50 Mbit/s, up to 4 % loss, copies and overtaking.
    pub const fn bad(chance: &mut Chance) -> Self {
        Self {
            latency: chance.between(1, 150) * MILLISECOND,
            jitter: chance.between(0, 30) * MILLISECOND,
            loss: chance.below(40_000) as u32,
            duplication: chance.below(20_000) as u32,
            reordering: chance.below(50_000) as u32,
            bandwidth: chance.between(125, 6_000),
        }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    /// When the last byte handed in has left.
    busy: u64,
    /// When the last stream frame arrives.
    last: u64,
    /// Bytes of stream frames sent that the receiver has not taken in.
    unread: usize,
}

/// What becomes of a stream frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It arrives so many microseconds from now, after so many retransmissions.
    After(u64, u32),
    /// It cannot be delivered: the connection breaks.
    Broken,
}

/// What became of a gossip message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// When its copies arrive, in microseconds from now; none if it was lost.
    pub delays: Vec<u64>,
    /// It was held up for later ones to overtake it.
    pub held_up: bool,
}

/// A connection between two nodes. Its ends are called 0 and 1.
#[derive(Clone, Debug)]
pub struct Link {
    /// Tells the connections that two nodes have had apart.
    pub session: u64,
    /// What it is like.
    pub model: LinkModel,
    /// Which ends have been told of it.
    pub told: [bool; 2],
    directions: [Direction; 2],
}

impl Link {
    /// A new connection.
    #[must_use]
    pub const fn new(session: u64, model: LinkModel) -> Self {
        let idle = Direction { busy: 0, last: 0, unread: 0 };
        Self { session, model, told: [false; 2], directions: [idle; 2] }
    }

    /// Hands in a frame of the sync stream at end `from`.
    pub fn frame(&mut self, from: usize, now: u64, bytes: usize, chance: &mut Chance) -> Arrival {
        let model = self.model;
        let direction = &mut self.directions[from];
        let mut again = 0;
        let mut late = 0;
        if model.loss > 0 {
            let packets = (bytes / PACKET_BYTES + 1).min(DICED);
            for _ in 0..packets {
                let mut lost = 0;
                while chance.per_million(model.loss) {
                    lost += 1;
                    if lost >= GIVE_UP {
                        return Arrival::Broken;
                    }
                }
                // The first is mended by a fast retransmission, later ones by timeouts that double.
                let wait = match lost {
                    0 => 0,
                    n => 2 * model.latency + TIMEOUT * ((1 << (n - 1)) - 1),
                };
                again += lost;
                late = late.max(wait);
            }
        }
        direction.unread += bytes;
        direction.busy = direction.busy.max(now) + bytes as u64 * MILLISECOND / model.bandwidth;
        let jitter = if model.jitter > 0 { chance.below(model.jitter) } else { 0 };
        let arrives = direction.busy + model.latency + jitter + late;
        // A stream is ordered: nothing overtakes.
        direction.last = direction.last.max(arrives);
        Arrival::After(direction.last - now, again)
    }

    /// Hands in a gossip message at end `from`; `loss` percent are lost besides.
    pub fn gossip(
        &mut self,
        from: usize,
        now: u64,
        bytes: usize,
        loss: u64,
        chance: &mut Chance,
    ) -> Copies {
        let model = self.model;
        let direction = &mut self.directions[from];
        direction.busy = direction.busy.max(now) + bytes as u64 * MILLISECOND / model.bandwidth;
        let mut copies = Copies::default();
        if chance.per_million(model.loss) || chance.percent(loss) {
            return copies;
        }
        let times = if chance.per_million(model.duplication) { 2 } else { 1 };
        for _ in 0..times {
            let mut delay = direction.busy - now + model.latency + chance.below(model.jitter + 1);
            if chance.per_million(model.reordering) {
                copies.held_up = true;
                delay += chance.below(500 * MILLISECOND);
            }
            copies.delays.push(delay);
        }
        copies
    }

    /// The receiver took a stream frame that end `from` had sent.
    pub const fn taken(&mut self, from: usize, bytes: usize) {
        let direction = &mut self.directions[from];
        direction.unread = direction.unread.saturating_sub(bytes);
    }

    /// Bytes that end `from` has sent and the receiver has not taken in.
    #[must_use]
    pub const fn unread(&self, from: usize) -> usize {
        self.directions[from].unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_stays_in_order_whatever_is_lost() {
        let mut chance = Chance::new(1);
        let model = LinkModel { jitter: 50_000, loss: 200_000, ..LinkModel::good(10_000) };
        let mut link = Link::new(1, model);
        let (mut last, mut again) = (0, 0);
        for now in (0..500_000).step_by(1_000) {
            if let Arrival::After(delay, times) = link.frame(0, now, 100, &mut chance) {
                assert!(now + delay >= last, "a frame overtook another");
                (last, again) = (now + delay, again + times);
            }
        }
        assert!(again > 50, "nothing was lost");
    }

    #[test]
    fn gossip_is_lost_copied_and_overtaken() {
        let mut chance = Chance::new(2);
        let mut link = Link::new(1, LinkModel { jitter: 10, ..LinkModel::bad(&mut chance) });
        link.model =
            LinkModel { loss: 100_000, duplication: 100_000, reordering: 100_000, ..link.model };
        let all: Vec<_> = (0..1_000).map(|n| link.gossip(0, n, 100, 0, &mut chance)).collect();
        assert!(all.iter().any(|copies| copies.delays.is_empty()));
        assert!(all.iter().any(|copies| copies.delays.len() == 2));
        assert!(all.iter().any(|copies| copies.held_up));
    }

    #[test]
    fn bandwidth_is_shared_by_everything_in_one_direction() {
        let mut chance = Chance::new(3);
        let mut link = Link::new(1, LinkModel { bandwidth: 100, ..LinkModel::good(0) });
        assert_eq!(link.frame(0, 0, 1_000, &mut chance), Arrival::After(10_000, 0));
        assert_eq!(link.frame(0, 0, 1_000, &mut chance), Arrival::After(20_000, 0));
        assert_eq!(link.gossip(0, 0, 1_000, 0, &mut chance).delays, [30_000]);
        assert_eq!(link.frame(1, 0, 1_000, &mut chance), Arrival::After(10_000, 0));
        assert_eq!(link.unread(0), 2_000);
    }
}
