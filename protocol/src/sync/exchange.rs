//! Catch-up: brings logs that are behind to a head that their author signed.
//!
//! Per log: outline (consistency proof first, so that a fork shows before any
//! bytes), then the entries of each 256-entry subtree from any of the partners
//! that have the head, in parallel. Subtrees are checked against the outline,
//! bodies singly against their headers, and appended in order; what was
//! appended stays when the session ends, so catching up resumes where it was.
//!
//! **Invariants:** nothing leaves for storage that was not checked against a
//! signed root; requests in flight and bytes staged are bounded, and a slow
//! disk therefore slows the asking down. Deliberately absent: pushing. Data
//! flows only as answers to requests, which are the credits.

mod fetch;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use self::fetch::Fetch;
use self::request::Requests;
use super::ledger::{Ledger, Slot};
use super::wire::{Message, OutlinePage, RequestId};
use super::{Context, Notice, Output, Refusal, Ticket};
use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::Entry;
use crate::id::{LogId, NodeId};
use crate::limits;
use crate::log::{OutlineBuilder, ProofError};
use crate::time::Timestamp;

/// Logs that are caught up at one time; the others wait.
const ACTIVE_LOGS: usize = 64;
/// Partners from which one log is fetched at one time.
const SOURCES: usize = 8;
/// Requests that one peer serves at one time.
const REQUESTS_PER_PEER: usize = 16;
/// Assumed size of a subtree that has been asked for, until it comes.
const EXPECTED_SUBTREE: usize = 256 << 10;

/// The logs that are behind and what is being done about it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    behind: BTreeMap<LogId, Pursuit>,
    requests: Requests,
    /// Bytes checked or waiting for their turn, not yet confirmed by storage.
    staged: usize,
    appends: BTreeMap<Ticket, (LogId, usize)>,
    /// Peers that proved wrong for a log; forgotten when they disconnect.
    distrusted: BTreeSet<(NodeId, LogId)>,
    /// Peers whose announcements were given up before they were reached.
    abandoned: BTreeSet<NodeId>,
}

/// One log that is behind.
#[derive(Debug)]
struct Pursuit {
    /// Who has which head of the log.
    sources: BTreeMap<NodeId, VerifiedCheckpoint>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Waiting,
    Outlining { target: VerifiedCheckpoint, builder: Box<OutlineBuilder> },
    Fetching(Box<Fetch>),
}

impl Work {
    fn target(&self) -> Option<&VerifiedCheckpoint> {
        match self {
            Self::Waiting => None,
            Self::Outlining { target, .. } => Some(target),
            Self::Fetching(fetch) => Some(&fetch.target),
        }
    }
}

fn size_of(head: &VerifiedCheckpoint) -> u64 {
    head.checkpoint().size()
}

impl Exchanges {
    /// A peer has `head`, which was verified. Pursues it if it is ahead of us.
    pub(super) fn announced(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        log: LogId,
        head: VerifiedCheckpoint,
    ) {
        let covered = cx.ledger.log(&log).map_or(0, Slot::head_size);
        if size_of(&head) <= covered || self.distrusted.contains(&(peer, log)) {
            return;
        }
        let pursuit = self
            .behind
            .entry(log)
            .or_insert_with(|| Pursuit { sources: BTreeMap::new(), work: Work::Waiting });
        let known = pursuit.sources.get(&peer).map(size_of);
        if known.is_none() && pursuit.sources.len() >= SOURCES {
            self.abandoned.insert(peer);
        } else if known.is_none_or(|known| known < size_of(&head)) {
            pursuit.sources.insert(peer, head);
        }
        self.advance(cx);
    }

    /// Whether the log is being caught up, so that nothing else may extend it.
    pub(super) fn pursues(&self, log: &LogId) -> bool {
        self.behind.get(log).is_some_and(|pursuit| !matches!(pursuit.work, Work::Waiting))
    }

    /// Whether something that `peer` told us of is still to be fetched.
    pub(super) fn depends_on(&self, peer: &NodeId) -> bool {
        self.behind.values().any(|pursuit| pursuit.sources.contains_key(peer))
    }

    /// Whether something that `peer` told us of was given up; forgotten by asking.
    pub(super) fn take_abandoned(&mut self, peer: &NodeId) -> bool {
        self.abandoned.remove(peer)
    }

    /// Logs known to be behind, with the size they are to reach.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&LogId, u64)> {
        self.behind.iter().map(|(log, pursuit)| {
            (log, pursuit.sources.values().map(size_of).max().unwrap_or_default())
        })
    }

    /// Whether a frame of `peer` may be taken in now. A peer whose turn it is may
    /// always speak, or a full stage would never empty.
    pub(super) fn accepts(&self, peer: &NodeId, ledger: &Ledger) -> bool {
        let turn = |log| ledger.staged_size(log) / limits::SUBTREE_ENTRIES;
        self.staged < limits::STAGED_BYTES
            || self.requests.iter().any(|request| {
                request.peer == *peer
                    && request.subtree.is_none_or(|subtree| subtree == turn(&request.log))
            })
    }

    /// A page of an outline came.
    pub(super) fn outline_page(&mut self, cx: &mut Context<'_>, peer: NodeId, page: &OutlinePage) {
        let Some(request) = self.requests.progress(cx.now, &peer, page.id) else { return };
        let Some(pursuit) = self.behind.get_mut(&request.log) else { return };
        let Work::Outlining { builder, .. } = &mut pursuit.work else { return };
        match take_page(builder, page) {
            Ok(()) if !page.last => return,
            Ok(()) => {}
            Err(error) => return self.outline_failed(cx, peer, request.log, error),
        }
        self.requests.remove(page.id);
        let work = core::mem::replace(&mut pursuit.work, Work::Waiting);
        let Work::Outlining { target, builder } = work else { return };
        match builder.finish(page.tail) {
            Ok(outline) => {
                pursuit.work = Work::Fetching(Box::new(Fetch::new(target, outline)));
                self.append_head_if_covered(cx, request.log);
                self.advance(cx);
            }
            Err(error) => self.outline_failed(cx, peer, request.log, error),
        }
    }

    /// Entries that were stored without a head get the one that now proves to cover them.
    fn append_head_if_covered(&mut self, cx: &mut Context<'_>, log: LogId) {
        let Some(target) = self.behind.get(&log).and_then(|p| p.work.target()).cloned() else {
            return;
        };
        if cx.ledger.staged_size(&log) == size_of(&target) {
            let ticket = cx.ledger.append(log, Vec::new(), Some(target), cx.out);
            self.appends.insert(ticket, (log, 0));
        }
    }

    /// An outline that does not check is the peer's fault, except that a log
    /// which does not continue ours may be a fork by its author: not proven, no penalty.
    fn outline_failed(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        log: LogId,
        error: ProofError,
    ) {
        let refusal = match error {
            ProofError::Inconsistent => Refusal::Inconsistent,
            _ => Refusal::BadOutline,
        };
        self.fault(cx, peer, log, refusal);
    }

    /// A frame of entries came.
    pub(super) fn entries(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        id: RequestId,
        headers: Vec<Vec<u8>>,
        bodies: Vec<Option<Vec<u8>>>,
    ) {
        let Some(request) = self.requests.progress(cx.now, &peer, id) else { return };
        let (log, Some(subtree)) = (request.log, request.subtree) else { return };
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let Work::Fetching(fetch) = &mut pursuit.work else { return };
        match fetch.take(subtree, headers, bodies, &cx.ledger.staged(&log)) {
            Ok(taken) => {
                self.staged += taken.bytes;
                if taken.complete {
                    self.requests.remove(id);
                }
                self.append_ready(cx, log);
                self.advance(cx);
            }
            Err(refusal) => self.fault(cx, peer, log, refusal),
        }
    }

    /// The peer cannot serve a request: somebody else may, or itself later. Who
    /// passes on an announcement need not have fetched the entries yet, so this
    /// is no reason for distrust; its own news will name the head again.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>, peer: NodeId, id: RequestId) {
        if let Some(request) = self.requests.progress(cx.now, &peer, id) {
            self.abandoned.insert(peer);
            self.drop_source(peer, request.log);
            self.advance(cx);
        }
    }

    fn fault(&mut self, cx: &mut Context<'_>, peer: NodeId, log: LogId, refusal: Refusal) {
        cx.out.refused(Some(peer), Some(log), refusal);
        self.distrust(cx, peer, log);
        if refusal.is_peers_fault() {
            cx.out.push(Output::Disconnect { peer, refusal });
        }
    }

    /// Appends what is complete and next in order.
    fn append_ready(&mut self, cx: &mut Context<'_>, log: LogId) {
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let Work::Fetching(fetch) = &mut pursuit.work else { return };
        let mut more = true;
        while more {
            let staged = cx.ledger.staged_size(&log);
            let Some((entries, complete)) = fetch.ready(staged) else { return };
            let size = staged + entries.len() as u64;
            let head = (size == size_of(&fetch.target)).then(|| fetch.target.clone());
            let bytes = entries.iter().map(Entry::size).sum();
            let ticket = cx.ledger.append(log, entries, head, cx.out);
            self.appends.insert(ticket, (log, bytes));
            more = complete;
        }
    }

    /// Storage confirmed an append.
    pub(super) fn appended(&mut self, cx: &mut Context<'_>, ticket: Ticket) {
        if let Some((log, bytes)) = self.appends.remove(&ticket) {
            self.staged = self.staged.saturating_sub(bytes);
            self.settle(log, cx.ledger);
            self.advance(cx);
        }
    }

    /// Ends work that has reached its target and forgets sources that have no more than we.
    pub(super) fn settle(&mut self, log: LogId, ledger: &Ledger) {
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let covered = ledger.log(&log).map_or(0, Slot::head_size);
        pursuit.sources.retain(|_, head| size_of(head) > covered);
        if pursuit.work.target().is_some_and(|target| size_of(target) <= covered) {
            pursuit.work = Work::Waiting;
            self.requests.take_back(&log, None);
        }
        if pursuit.sources.is_empty() {
            self.end_pursuit(&log);
        }
    }

    fn end_pursuit(&mut self, log: &LogId) {
        if let Some(Pursuit { work: Work::Fetching(fetch), .. }) = self.behind.remove(log) {
            self.staged = self.staged.saturating_sub(fetch.waiting_bytes());
        }
        self.requests.take_back(log, None);
    }

    /// Storage failed: everything in flight for the log is given up, to be heard of again.
    pub(super) fn store_failed(&mut self, log: &LogId) {
        if let Some(pursuit) = self.behind.get(log) {
            self.abandoned.extend(pursuit.sources.keys());
        }
        self.end_pursuit(log);
        self.appends.retain(|_, (failed, bytes)| {
            let keep = failed != log;
            if !keep {
                self.staged = self.staged.saturating_sub(*bytes);
            }
            keep
        });
    }

    /// A peer is gone: what was asked of it is asked of others.
    pub(super) fn disconnected(&mut self, cx: &mut Context<'_>, peer: NodeId) {
        let from_peer = |(log, pursuit): (&LogId, &Pursuit)| {
            pursuit.sources.contains_key(&peer).then_some(*log)
        };
        let logs: Vec<_> = self.behind.iter().filter_map(from_peer).collect();
        logs.into_iter().for_each(|log| self.drop_source(peer, log));
        self.distrusted.retain(|(node, _)| *node != peer);
        self.abandoned.remove(&peer);
        self.advance(cx);
    }

    fn distrust(&mut self, cx: &mut Context<'_>, peer: NodeId, log: LogId) {
        self.distrusted.insert((peer, log));
        self.abandoned.insert(peer);
        self.drop_source(peer, log);
        self.advance(cx);
    }

    /// Takes back what was asked of `peer` for `log`, so that others can be asked.
    fn drop_source(&mut self, peer: NodeId, log: LogId) {
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        pursuit.sources.remove(&peer);
        for request in self.requests.take_back(&log, Some(&peer)) {
            match (request.subtree, &mut pursuit.work) {
                (Some(subtree), Work::Fetching(fetch)) => {
                    self.staged = self.staged.saturating_sub(fetch.ask_again(subtree));
                }
                _ => pursuit.work = Work::Waiting,
            }
        }
        let target = pursuit.work.target().map(size_of);
        let reachable = |target| pursuit.sources.values().any(|head| size_of(head) >= target);
        if pursuit.sources.is_empty() {
            self.end_pursuit(&log);
        } else if target.is_some_and(|target| !reachable(target)) {
            // Nobody left has the target; start again towards what they do have.
            let work = core::mem::replace(&mut pursuit.work, Work::Waiting);
            if let Work::Fetching(fetch) = work {
                self.staged = self.staged.saturating_sub(fetch.waiting_bytes());
            }
            self.requests.take_back(&log, None);
        }
    }

    /// Peers that made no progress lose their requests.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        for (peer, log) in self.requests.overdue(cx.now) {
            cx.out.push(Output::Notify(Notice::Stalled { peer, log }));
            self.distrust(cx, peer, log);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.requests.deadline()
    }

    /// Starts and feeds pursuits within the bounds.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let Self { behind, requests, staged, .. } = self;
        for (log, pursuit) in behind.iter_mut().take(ACTIVE_LOGS) {
            pursuit.start(cx, log, requests);
            pursuit.feed(cx, log, requests, *staged);
        }
    }
}

impl Pursuit {
    /// Asks the source with the newest head for an outline, unless work is under way.
    fn start(&mut self, cx: &mut Context<'_>, log: &LogId, requests: &mut Requests) {
        if !matches!(self.work, Work::Waiting) {
            return;
        }
        let free = self.sources.iter().filter(|(p, _)| requests.of_peer(p) < REQUESTS_PER_PEER);
        let Some((peer, head)) = free.max_by_key(|(_, head)| size_of(head)) else { return };
        let (peer, target) = (*peer, head.clone());
        let (own, size) = (cx.ledger.staged(log), size_of(&target));
        let Ok(builder) = OutlineBuilder::new(&own, size, target.checkpoint().root()) else {
            return;
        };
        self.work = Work::Outlining { target, builder: Box::new(builder) };
        let id = requests.add(cx.now, peer, *log, None);
        cx.out.send(peer, &Message::WantOutline { id, log: *log, from: own.size(), size });
    }

    /// Asks for further subtrees while there is room for them.
    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        log: &LogId,
        requests: &mut Requests,
        staged_bytes: usize,
    ) {
        let Work::Fetching(fetch) = &mut self.work else { return };
        let size = size_of(&fetch.target);
        let able = || self.sources.iter().filter(|(_, head)| size_of(head) >= size);
        while staged_bytes + requests.len() * EXPECTED_SUBTREE < limits::STAGED_BYTES {
            let Some(peer) = able().map(|(peer, _)| *peer).min_by_key(|p| requests.of_peer(p))
            else {
                return;
            };
            if requests.of_peer(&peer) >= REQUESTS_PER_PEER {
                return;
            }
            let Some((subtree, missing)) = fetch.ask_next(cx.ledger.staged_size(log)) else {
                return;
            };
            let id = requests.add(cx.now, peer, *log, Some(subtree));
            let (start, end) = (missing.start, missing.end);
            cx.out.send(peer, &Message::WantEntries { id, log: *log, start, end });
        }
    }
}

fn take_page(builder: &mut OutlineBuilder, page: &OutlinePage) -> Result<(), ProofError> {
    if let Some(proof) = &page.proof {
        builder.proof(proof)?;
    }
    match page.subtrees.as_slice() {
        // An outline may consist of a tail only; a page in the middle may not be empty.
        [] if page.last => Ok(()),
        subtrees => builder.page(subtrees),
    }
}
