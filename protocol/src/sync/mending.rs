//! Fetches bodies again of which we hold less than their author gave.
//!
//! A body may come without values because its holder withholds them, or because
//! they were erased and the erasure was disowned since. Once a log is complete
//! and nothing that stands erases what is lacking, partners are asked for the
//! body, one range at a time: the author first, everybody once, then after a
//! rest that grows from a minute to an hour.
//!
//! ```text
//! idle ── our own headers ──► asking a partner ──► storing ──► idle
//! ```
//!
//! **Invariants:** what comes is checked against our own headers, which are under
//! a signed root, and taken only if it is more than we hold and none of it is
//! erased; at most one range of one subtree is on its way. Nobody is blamed for
//! giving no more: a holder may withhold lawfully. Deliberately absent: what is
//! wanted, which follows from what is erased (`ledger`).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Fill, Load, Loaded};
use super::wire::{Message, RequestId};
use super::{Context, Exchanges, Notice, Output, Refusal, Sessions, Ticket};
use crate::entry::{Entry, UnverifiedEntry};
use crate::erasure::Lack;
use crate::id::{LogId, NodeId};
use crate::limits;
use crate::time::Timestamp;

/// Requests of [`Exchanges`] count from one; these have the highest bit.
const FIRST_REQUEST: RequestId = 1 << 63;
/// How long a partner may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a range rests after everybody was asked, the first time and at most.
const REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Entries of one subtree of a log.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    log: LogId,
    start: u64,
    end: u64,
}

impl Stretch {
    const fn place(&self) -> (LogId, u64) {
        (self.log, self.start / limits::SUBTREE_ENTRIES)
    }
}

#[derive(Debug, Default)]
enum Work {
    #[default]
    Idle,
    /// Our own headers are being read.
    Loading(Ticket, Stretch, NodeId),
    /// A partner was asked.
    Asking {
        id: RequestId,
        peer: NodeId,
        stretch: Stretch,
        headers: Vec<Vec<u8>>,
        until: Timestamp,
    },
    /// What came is with storage.
    Storing(Ticket, Fill),
}

/// Who was asked for a subtree's bodies in vain.
#[derive(Debug, Default)]
struct Tried {
    peers: BTreeSet<NodeId>,
    rests: u32,
    rests_until: Option<Timestamp>,
}

/// What is wanted and being asked for.
#[derive(Debug, Default)]
pub(super) struct Mending {
    work: Work,
    tried: BTreeMap<(LogId, u64), Tried>,
    last: RequestId,
}

impl Mending {
    /// Begins something if there is something to be done.
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &Exchanges,
        sessions: &Sessions,
    ) {
        if let Work::Asking { until, .. } = &self.work
            && *until <= cx.now
        {
            self.in_vain();
        }
        for tried in self.tried.values_mut() {
            if tried.rests_until.is_some_and(|until| until <= cx.now) {
                tried.rests_until = None;
                tried.peers.clear();
            }
        }
        if !matches!(self.work, Work::Idle) || cx.ledger.erased.wanted().is_empty() {
            return;
        }
        if let Some((stretch, peer)) = self.choose(cx, exchanges, sessions) {
            let Stretch { log, start, end } = stretch;
            let ticket = cx.out.ticket();
            cx.out.push(Output::Load(ticket, Load::Entries { log, start, end, bytes: 0 }));
            self.work = Work::Loading(ticket, stretch, peer);
        }
    }

    /// The first stretch for which there is somebody to ask, and who.
    fn choose(
        &mut self,
        cx: &Context<'_>,
        exchanges: &Exchanges,
        sessions: &Sessions,
    ) -> Option<(Stretch, NodeId)> {
        let wanted = cx.ledger.erased.wanted();
        self.tried.retain(|(log, subtree), _| {
            let (start, end) = bounds(*subtree);
            wanted.range((*log, start)..(*log, end)).next().is_some()
        });
        let mut next = wanted.first().copied();
        while let Some((log, start)) = next {
            let end = bounds(start / limits::SUBTREE_ENTRIES).1;
            let last = wanted.range((log, start)..(log, end)).next_back();
            let stretch = Stretch { log, start, end: last.map_or(start, |(_, last)| *last) + 1 };
            if is_settled(cx, exchanges, &log)
                && let Some(peer) = self.partner(cx, sessions, &stretch)
            {
                return Some((stretch, peer));
            }
            next = wanted.range((log, end)..).next().copied();
        }
        None
    }

    /// Whom to ask: the author, then others, each once before a rest.
    fn partner(
        &mut self,
        cx: &Context<'_>,
        sessions: &Sessions,
        stretch: &Stretch,
    ) -> Option<NodeId> {
        let tried = self.tried.entry(stretch.place()).or_default();
        // Whom its node key names: what a peer says of itself says nothing.
        let works_for = |peer: &NodeId| cx.ledger.authority_of(peer);
        let author = Some(stretch.log.authority);
        let greeted = sessions.peers().filter(|peer| peer.greeted).map(|peer| peer.node);
        let untried = greeted
            .filter(|peer| !tried.peers.contains(peer))
            .filter(|peer| cx.ledger.may_see(works_for(peer).as_ref(), &stretch.log))
            .min_by_key(|peer| (works_for(peer) != author, *peer));
        if untried.is_none() && !tried.peers.is_empty() && tried.rests_until.is_none() {
            let rest = REST.0.saturating_mul(1 << tried.rests.min(8)).min(REST.1);
            tried.rests = tried.rests.saturating_add(1);
            tried.rests_until = Some(cx.now.after(rest));
        }
        untried
    }

    /// Whoever was asked gave no more than we have.
    fn in_vain(&mut self) {
        let (stretch, peer) = match core::mem::take(&mut self.work) {
            Work::Asking { stretch, peer, .. } | Work::Loading(_, stretch, peer) => (stretch, peer),
            other => {
                self.work = other;
                return;
            }
        };
        self.tried.entry(stretch.place()).or_default().peers.insert(peer);
    }

    /// Whether a load was asked for here.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        matches!(&self.work, Work::Loading(loading, ..) if *loading == ticket)
    }

    /// Our own storage gave the headers.
    pub(super) fn loaded(&mut self, cx: &mut Context<'_>, loaded: Loaded) {
        let Work::Loading(_, stretch, peer) = self.work else { return };
        let Stretch { log, start, end } = stretch;
        match loaded {
            Loaded::Entries { headers, .. } if headers.len() as u64 == end - start => {
                self.last += 1;
                let id = FIRST_REQUEST + self.last;
                let until = cx.now.after(PATIENCE);
                cx.out.send(peer, &Message::WantBodies { id, log, start, end });
                self.work = Work::Asking { id, peer, stretch, headers, until };
            }
            _ => self.in_vain(),
        }
    }

    /// Whether `peer` owes the answer to this request.
    pub(super) fn owes(&self, peer: &NodeId, id: RequestId) -> bool {
        matches!(&self.work, Work::Asking { id: asked, peer: of, .. } if *asked == id && of == peer)
    }

    /// Whether a message answers a request that `peer` owes an answer to.
    pub(super) fn asked_for(&self, peer: &NodeId, message: &Message) -> bool {
        match message {
            Message::Entries { id, .. } | Message::Refused { id } => self.owes(peer, *id),
            _ => false,
        }
    }

    /// Bodies came.
    pub(super) fn bodies(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        bodies: Vec<Option<Vec<u8>>>,
    ) {
        let Work::Asking { stretch, headers, .. } = &mut self.work else { return };
        let Stretch { log, start, .. } = *stretch;
        let headers = core::mem::take(headers);
        if bodies.len() > headers.len() {
            cx.out.refuse_peer(peer, Refusal::BadEntries);
            return self.in_vain();
        }
        let mut better = Vec::new();
        for ((index, header), body) in (start..).zip(headers).zip(bodies) {
            let Some(body) = body.filter(|_| cx.ledger.erased.wanted().contains(&(log, index)))
            else {
                continue;
            };
            let Ok(entry) = UnverifiedEntry::new(header, Some(body)).check() else {
                cx.out.refuse_peer(peer, Refusal::BadEntries);
                return self.in_vain();
            };
            better.extend(more(cx, &log, index, entry).map(|entry| (index, entry)));
        }
        if better.is_empty() {
            return self.in_vain();
        }
        let fill = Fill { log, bodies: better };
        let ticket = cx.out.ticket();
        cx.out.push(Output::Fill(ticket, fill.clone()));
        self.work = Work::Storing(ticket, fill);
    }

    /// The peer cannot serve the request.
    pub(super) fn refused(&mut self) {
        self.in_vain();
    }

    /// Bodies are durable.
    pub(super) fn filled(&mut self, cx: &mut Context<'_>, ticket: Ticket) {
        if !matches!(&self.work, Work::Storing(storing, _) if *storing == ticket) {
            return;
        }
        let Work::Storing(_, Fill { log, bodies }) = core::mem::take(&mut self.work) else {
            return;
        };
        for (index, entry) in &bodies {
            cx.ledger.erased.filled(&log, *index, entry);
            cx.out.push(Output::Notify(Notice::BodyFilled { log, index: *index }));
        }
    }

    /// Storage failed.
    pub(super) fn store_failed(&mut self, ticket: Ticket) {
        if matches!(&self.work, Work::Storing(storing, _) if *storing == ticket) {
            self.work = Work::Idle;
        }
    }

    /// A peer is gone.
    pub(super) fn disconnected(&mut self, peer: &NodeId) {
        match &self.work {
            Work::Asking { peer: asked, .. } | Work::Loading(_, _, asked) if asked == peer => {
                self.work = Work::Idle;
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.work {
            Work::Asking { until, .. } => Some(*until),
            Work::Idle => self.tried.values().filter_map(|tried| tried.rests_until).min(),
            _ => None,
        }
    }
}

/// First entry of a subtree, and the first behind it.
const fn bounds(subtree: u64) -> (u64, u64) {
    (subtree * limits::SUBTREE_ENTRIES, (subtree + 1) * limits::SUBTREE_ENTRIES)
}

/// Whether a log is complete as far as is known: until then what is lacking may
/// turn out to be erased.
fn is_settled(cx: &Context<'_>, exchanges: &Exchanges, log: &LogId) -> bool {
    !exchanges.is_behind(log)
        && !cx.ledger.is_appending(log)
        && !cx.ledger.is_reverting(log)
        && cx.ledger.log(log).is_some_and(|slot| slot.head_size() == slot.stored.size())
}

/// The entry without what is erased, if that is more than we hold of it.
fn more(cx: &Context<'_>, log: &LogId, index: u64, entry: Entry) -> Option<Entry> {
    let entry = cx.ledger.erased.veiled(log, index, entry);
    let lack = cx.ledger.erased.lack(log, index, &entry.header().record)?;
    lack.is_more_than(Lack::of(&entry).as_ref()).then_some(entry)
}
