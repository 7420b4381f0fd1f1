//! One log that is behind: who has more of it, and what is being done.

use core::time::Duration;
use std::collections::BTreeMap;

use super::fetch::Fetch;
use super::request::Requests;
use crate::checkpoint::VerifiedCheckpoint;
use crate::id::NodeId;
use crate::limits;
use crate::log::OutlineBuilder;
use crate::sync::Ticket;
use crate::time::Timestamp;

/// Partners from which one log is fetched at one time.
const SOURCES: usize = 16;
/// Requests that one peer serves at one time.
pub(super) const REQUESTS_PER_PEER: usize = 16;
/// How long a source that failed is left alone, the first time and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// One log that is behind.
#[derive(Debug, Default)]
pub(super) struct Pursuit {
    sources: BTreeMap<NodeId, Source>,
    /// The heads that the sources have, by size.
    heads: BTreeMap<u64, VerifiedCheckpoint>,
    pub(super) work: Work,
    /// Its place in the queue of logs that wait to be worked on.
    pub(super) place: Option<u64>,
}

/// A peer that has more of the log than we.
#[derive(Debug)]
struct Source {
    size: u64,
    /// It refused or failed, and is left alone until then.
    rests_until: Option<Timestamp>,
    failures: u32,
}

#[derive(Debug, Default)]
pub(super) enum Work {
    #[default]
    Waiting,
    /// We hold more than the head covers, and ask our own storage whether it fits.
    Comparing { target: VerifiedCheckpoint, ticket: Ticket },
    /// The outline is on its way.
    Outlining { target: VerifiedCheckpoint, builder: Box<OutlineBuilder> },
    /// The entries are on their way.
    Fetching(Box<Fetch>),
}

impl Work {
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    pub(super) fn target(&self) -> Option<&VerifiedCheckpoint> {
        match self {
            Self::Waiting => None,
            Self::Comparing { target, .. } | Self::Outlining { target, .. } => Some(target),
            Self::Fetching(fetch) => Some(&fetch.target),
        }
    }

    /// Bytes that arrived and were not appended.
    pub(super) fn waiting_bytes(&self) -> usize {
        match self {
            Self::Fetching(fetch) => fetch.waiting_bytes(),
            _ => 0,
        }
    }

    /// Bytes an outline takes.
    pub(super) fn outline_bytes(&self) -> u64 {
        self.target().map_or(0, outline_bytes)
    }
}

/// Bytes that the outline of a head takes at most.
pub(super) fn outline_bytes(head: &VerifiedCheckpoint) -> u64 {
    size_of(head) / limits::SUBTREE_ENTRIES * 32
}

pub(super) fn size_of(head: &VerifiedCheckpoint) -> u64 {
    head.checkpoint().size()
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Taken,
    /// Another peer has a signed head of this size and another root.
    Fork,
    /// There are sources enough; this one must be heard again later.
    TooMany(NodeId),
}

impl Pursuit {
    /// A peer has a head.
    pub(super) fn announced(&mut self, peer: NodeId, head: VerifiedCheckpoint) -> Announced {
        let (size, root) = (size_of(&head), head.checkpoint().root());
        if self.heads.get(&size).is_some_and(|other| other.checkpoint().root() != root) {
            return Announced::Fork;
        }
        let mut result = Announced::Taken;
        match self.sources.get_mut(&peer) {
            Some(source) if source.size >= size => return result,
            Some(source) => source.size = size,
            None => {
                if self.sources.len() >= SOURCES {
                    let least = self.sources.iter().min_by_key(|(_, source)| source.size);
                    let Some(least) = least.filter(|(_, s)| s.size < size).map(|(p, _)| *p) else {
                        return Announced::TooMany(peer);
                    };
                    self.sources.remove(&least);
                    result = Announced::TooMany(least);
                }
                self.sources.insert(peer, Source { size, rests_until: None, failures: 0 });
            }
        }
        self.heads.insert(size, head);
        self.forget_heads();
        result
    }

    fn forget_heads(&mut self) {
        let Self { sources, heads, .. } = self;
        heads.retain(|size, _| sources.values().any(|source| source.size == *size));
    }

    /// A source is gone, or has no more than we.
    pub(super) fn retain_sources(&mut self, mut keep: impl FnMut(&NodeId, u64) -> bool) {
        self.sources.retain(|peer, source| keep(peer, source.size));
        self.forget_heads();
    }

    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    pub(super) fn has_source(&self, peer: &NodeId) -> bool {
        self.sources.contains_key(peer)
    }

    /// Some peer that has what is being fetched.
    pub(super) fn holder(&self) -> Option<NodeId> {
        let size = self.work.target().map(size_of)?;
        self.sources.iter().find(|(_, source)| source.size >= size).map(|(peer, _)| *peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &NodeId> {
        self.sources.keys()
    }

    /// Size of the newest head that any source has.
    pub(super) fn reach(&self) -> u64 {
        self.heads.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// A source failed: it is left alone for a while, longer each time. Says until when.
    pub(super) fn rest(&mut self, now: Timestamp, peer: &NodeId) -> Option<Timestamp> {
        let source = self.sources.get_mut(peer)?;
        let rest = REST.0.saturating_mul(1 << source.failures.min(16)).min(REST.1);
        source.failures = source.failures.saturating_add(1);
        source.rests_until = Some(now.after(rest));
        source.rests_until
    }

    /// A rest may be over.
    pub(super) fn wake(&mut self, now: Timestamp, peer: &NodeId) {
        if let Some(source) = self.sources.get_mut(peer)
            && source.rests_until.is_some_and(|until| until <= now)
        {
            source.rests_until = None;
        }
    }

    /// A source answered as it should.
    pub(super) fn served(&mut self, peer: &NodeId) {
        if let Some(source) = self.sources.get_mut(peer) {
            source.failures = 0;
        }
    }

    /// Whether any source may be asked, now or when it has answered something else.
    pub(super) fn is_able(&self) -> bool {
        self.sources.values().any(|source| source.rests_until.is_none())
    }

    /// Who may be asked now for entries up to `end`: the least busy.
    pub(super) fn helper(&self, requests: &Requests, end: u64) -> Option<NodeId> {
        let able = self.sources.iter().filter(|(_, s)| s.rests_until.is_none() && s.size >= end);
        let load = able.map(|(peer, _)| (requests.of_peer(peer), *peer));
        load.filter(|(load, _)| *load < REQUESTS_PER_PEER).min().map(|(_, peer)| peer)
    }

    /// Who may be asked now for the newest head that anybody free has.
    pub(super) fn leader(&self, requests: &Requests) -> Option<(NodeId, &VerifiedCheckpoint)> {
        let free = |(peer, source): &(&NodeId, &Source)| {
            source.rests_until.is_none() && requests.of_peer(peer) < REQUESTS_PER_PEER
        };
        let size = self.sources.iter().filter(free).map(|(_, source)| source.size).max()?;
        Some((self.helper(requests, size)?, self.heads.get(&size)?))
    }
}
