//! What a run costs: messages, bytes, copies, latencies; and what happened in it.

use std::collections::BTreeMap;

use tallystick_protocol::sync::Refusal;
use tallystick_protocol::sync::wire::Message;

/// Counts by size class: exact below 64, within 3.2 % above.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

/// Bits of a number that are kept.
const PRECISION: u32 = 6;

impl Histogram {
    /// Counts a number.
    pub fn add(&mut self, number: u64) {
        let shift = (u64::BITS - number.leading_zeros()).saturating_sub(PRECISION);
        *self.counts.entry(number >> shift << shift).or_default() += 1;
        self.total += 1;
    }

    /// How many numbers were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The number that `percent` of those counted do not exceed; 0 if there is none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut sum = 0;
        let found = self.counts.iter().find(|(_, count)| {
            sum += **count;
            sum >= wanted
        });
        found.or(self.counts.last_key_value()).map_or(0, |(number, _)| *number)
    }

    /// Takes over what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (number, count) in &other.counts {
            *self.counts.entry(*number).or_default() += count;
        }
        self.total += other.total;
    }
}

/// Kinds of messages that are told apart in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// Greetings and news: who has what.
    News,
    /// Lines of witnesses: sent to authors, offered, asked for and given.
    Lines,
    /// Requests, outlines and refusals: agreeing on what is missing.
    Exchange,
    /// Entries that were asked for.
    Entries,
    /// Gossip.
    Gossip,
}

impl Traffic {
    /// The kind of a stream message.
    #[must_use]
    pub const fn of(message: &Message) -> Self {
        match message {
            Message::Hello(_) | Message::Since { .. } | Message::News(_) => Self::News,
            Message::Entries { .. } => Self::Entries,
            Message::Cosigned { .. }
            | Message::Offers(_)
            | Message::WantLines(_)
            | Message::Lines(_) => Self::Lines,
            _ => Self::Exchange,
        }
    }
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages sent.
    pub messages: u64,
    /// Bytes sent, without the transport's own.
    pub bytes: u64,
}

impl Volume {
    /// One message more.
    pub const fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// What was sent, and what of it was in vain.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// By kind.
    pub sent: BTreeMap<Traffic, Volume>,
    /// Gossip messages that a node heard for the first time.
    pub gossip_new: u64,
    /// Gossip messages that a node had heard before.
    pub gossip_again: u64,
    /// Entries that were sent over streams, with their bodies.
    pub entries: u64,
    /// Entries in gossip messages that were taken.
    pub gossip_entries: u64,
    /// Entries of others that became durable.
    pub stored: u64,
}

impl Measure {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Volume {
        let add = |sum: Volume, volume: &Volume| Volume {
            messages: sum.messages + volume.messages,
            bytes: sum.bytes + volume.bytes,
        };
        self.sent.values().fold(Volume::default(), add)
    }

    /// Entries that came in vain, since they were there already.
    #[must_use]
    pub const fn entries_again(&self) -> u64 {
        (self.entries + self.gossip_entries).saturating_sub(self.stored)
    }

    /// One kind.
    #[must_use]
    pub fn of(&self, traffic: Traffic) -> Volume {
        self.sent.get(&traffic).copied().unwrap_or_default()
    }
}

/// Things that scenarios are about, so that they can say whether these did happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A node crashed.
    Crash,
    /// A write that waited was lost in a crash.
    WriteLost,
    /// An append that waited, unconfirmed, was kept in a crash.
    WriteKept,
    /// An append failed.
    StoreFailed,
    /// A node was partitioned from a partner it was connected to.
    Cut,
    /// Entries were on their way when their link was cut.
    TransferCut,
    /// A packet of a stream was sent again.
    Retransmission,
    /// A connection broke because too much was lost.
    Broken,
    /// A gossip message was lost.
    GossipLost,
    /// A gossip message was delivered twice by its link.
    GossipCopied,
    /// A gossip message was held up so that others could overtake it.
    GossipHeldUp,
    /// A clock leapt forward, and the driver did not notice.
    ClockLeap,
    /// The clocks of a node came apart, and its driver began another run.
    ClockJump,
    /// A running node was put back to an older state of memory and disk.
    Reverted,
    /// A witness cosigned a head.
    Cosigned,
    /// An author has another log key.
    Rotated,
    /// The controllers of an author closed its log and opened the next.
    Recovered,
    /// An authority describes itself anew.
    Described,
    /// A smaller head than what a node holds was compared with that.
    Compared,
    /// What its controllers had disowned of a log was set aside.
    SetAside,
    /// A body was replaced that lacked something.
    BodyFilled,
    /// A node was restarted over an older copy of its disk.
    Restored,
    /// A peer that read too slowly was disconnected.
    TooSlow,
    /// A frame over the limit was stopped by the transport.
    Oversized,
    /// A hostile node did something of its own accord.
    Attack,
    /// A machine did not take a frame because its disk was behind.
    Held,
    /// An honest node fetched later entries of its own back.
    OwnRecovered,
    /// A peer did not answer in time.
    Stalled,
}

/// How often each thing happened, at honest nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Things.
    pub events: BTreeMap<Event, u64>,
    /// Refusals by their reason.
    pub refusals: BTreeMap<Refusal, u64>,
}

impl Happened {
    /// Something happened.
    pub fn add(&mut self, event: Event, times: usize) {
        if times > 0 {
            *self.events.entry(event).or_default() += times as u64;
        }
    }

    /// How often something happened.
    #[must_use]
    pub fn times(&self, event: Event) -> u64 {
        self.events.get(&event).copied().unwrap_or(0)
    }

    /// How often something was refused for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals.get(&refusal).copied().unwrap_or(0)
    }

    /// Takes over what happened in another run.
    pub fn merge(&mut self, other: &Self) {
        for (event, times) in &other.events {
            *self.events.entry(*event).or_default() += times;
        }
        for (refusal, times) in &other.refusals {
            *self.refusals.entry(*refusal).or_default() += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_for_small_and_close_for_large_numbers() {
        let mut histogram = Histogram::default();
        (1..=50).for_each(|n| histogram.add(n));
        assert_eq!(histogram.percentile(50), 25);
        assert_eq!(histogram.percentile(100), 50);
        assert_eq!(Histogram::default().percentile(99), 0);
        let mut large = Histogram::default();
        large.add(1_000_003);
        let found = large.percentile(50);
        assert!((967_000..=1_000_003).contains(&found), "{found}");
        histogram.merge(&large);
        assert_eq!(histogram.count(), 51);
        assert_eq!(histogram.percentile(100), found);
    }
}
