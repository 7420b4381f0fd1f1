//! Catch-up: brings logs that are behind to a head that their author signed.
//!
//! Per log: outline (consistency proof first, so that a fork shows before any
//! bytes), then the entries of each 256-entry subtree from any of the partners
//! that have them, in parallel. Subtrees are checked against the outline,
//! bodies singly against their headers, and appended in order; what was
//! appended stays when the session ends, so catching up resumes where it was.
//!
//! A source that refuses, stalls or fails rests for a while, longer each time,
//! and is asked again then: a partner that has heard of a head may still be
//! fetching it itself.
//!
//! **Invariants:** nothing leaves for storage that was not checked against a
//! signed root; requests in flight and bytes staged are bounded, and a slow
//! disk therefore slows the asking down; what a peer told of stays owed to it
//! until the log has it, so that no cursor runs past it. Deliberately absent:
//! pushing. Data flows only as answers to requests, one frame each (outlines
//! excepted), which are the credits.

mod fetch;
mod pursuit;
mod request;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use self::fetch::Fetch;
use self::pursuit::{Announced, Pursuit, Work, outline_bytes, size_of};
use self::request::{Request, Requests};
use self::stage::Stage;
use super::effect::{Load, Loaded};
use super::ledger::{Slot, Teller};
use super::wire::{Message, OutlinePage, RequestId};
use super::{Context, Notice, Output, Refusal, Ticket};
use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::Entry;
use crate::id::{LogId, NodeId, Space};
use crate::limits;
use crate::log::{
    Frontier, Outline, OutlineBuilder, ProofError, VerifiedOutline, implied_old_root,
};
use crate::time::Timestamp;

/// Logs that are caught up at one time; the others wait.
const ACTIVE_LOGS: usize = 64;
/// Bytes that the outlines of these may take together, unless one alone takes more.
const OUTLINE_BYTES: u64 = 64 << 20;

/// The logs that are behind and what is being done about it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    behind: BTreeMap<LogId, Pursuit>,
    /// Those on which work is under way.
    active: BTreeSet<LogId>,
    /// Those that wait for it and have somebody to ask, in the order of their places.
    queue: BTreeMap<u64, LogId>,
    last_place: u64,
    requests: Requests,
    stage: Stage,
    /// When sources have rested enough.
    resting: BTreeSet<(Timestamp, LogId, NodeId)>,
    /// What our own storage is asked for.
    comparing: BTreeMap<Ticket, LogId>,
    /// Peers whose announcements were given up before they were reached.
    abandoned: BTreeSet<NodeId>,
    /// Closed logs of which we hold another branch than their authors stand by.
    strayed: BTreeSet<LogId>,
    /// Those among them, now or before, of which that is not proven.
    suspected: BTreeSet<LogId>,
    /// Whether anything happened that lets work go on.
    stirred: bool,
    /// Whether the pursuit of a log has ended.
    ended: bool,
}

/// What became of the attempt to begin work on a log.
enum Start {
    Begun,
    /// Whom to ask, or the room, is taken by others: try again.
    Busy,
    /// There is nothing to be done until something happens to this log.
    Idle,
}

impl Exchanges {
    /// A peer has `head`, which was verified. Pursued if it is ahead of us.
    pub(super) fn announced(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        log: LogId,
        head: VerifiedCheckpoint,
    ) {
        let slot = cx.ledger.log(&log);
        if cx.ledger.is_reverting(&log)
            || slot.is_some_and(|slot| slot.disputed || size_of(&head) <= slot.head_size())
        {
            return;
        }
        if size_of(&head) == 0 {
            return;
        }
        match self.behind.entry(log).or_default().announced(peer, head) {
            Announced::Taken => {}
            Announced::TooMany(other) => {
                self.abandoned.insert(other);
                self.take_back(&log, &other);
            }
            Announced::Fork => {
                cx.out.refused(Some(peer), Some(log), Refusal::Fork);
                return self.dispute(cx, &log);
            }
        }
        self.enqueue(&log);
    }

    /// Whether the log is being caught up, so that nothing else may extend it.
    pub(super) fn pursues(&self, log: &LogId) -> bool {
        self.active.contains(log)
    }

    /// Whether somebody has told of more of the log than we hold.
    pub(super) fn is_behind(&self, log: &LogId) -> bool {
        self.behind.contains_key(log)
    }

    /// The size that a log is being caught up to.
    pub(super) fn reach(&self, log: &LogId) -> Option<u64> {
        self.behind.get(log).map(Pursuit::reach)
    }

    /// The closed logs found to be on another branch than their authors stand by.
    pub(super) fn take_strayed(&mut self) -> BTreeSet<LogId> {
        core::mem::take(&mut self.strayed)
    }

    /// Whether something that `peer` told us of is still to be fetched.
    pub(super) fn depends_on(&self, peer: &NodeId) -> bool {
        self.behind.values().any(|pursuit| pursuit.has_source(peer))
    }

    /// Whether something that `peer` told us of was given up.
    pub(super) fn has_abandoned(&self, peer: &NodeId) -> bool {
        self.abandoned.contains(peer)
    }

    /// Whether a log was caught up, or given up, since this was asked last.
    pub(super) const fn take_ended(&mut self) -> bool {
        core::mem::replace(&mut self.ended, false)
    }

    /// The same, forgotten by asking.
    pub(super) fn take_abandoned(&mut self, peer: &NodeId) -> bool {
        self.abandoned.remove(peer)
    }

    /// Whether a message answers a request that `peer` still owes an answer to.
    pub(super) fn asked_for(&self, peer: &NodeId, message: &Message) -> bool {
        match message {
            Message::Entries { id, .. } | Message::Refused { id } => self.requests.owes(peer, *id),
            Message::OutlinePage(page) => self.requests.owes(peer, page.id),
            _ => false,
        }
    }

    /// Logs known to be behind, with the size they are to reach.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&LogId, u64)> {
        self.behind.iter().map(|(log, pursuit)| (log, pursuit.reach()))
    }

    /// Whether frames may be taken in now; see [`Stage`].
    pub(super) fn accepts(&self) -> bool {
        !self.stage.is_full() || !self.stage.waits_for_storage()
    }

    pub(super) const fn staged_bytes(&self) -> usize {
        self.stage.bytes()
    }

    /// Whether there is room for entries that nobody asked for.
    pub(super) const fn has_room(&self) -> bool {
        !self.stage.is_full()
    }

    /// A page of an outline came.
    pub(super) fn outline_page(&mut self, cx: &mut Context<'_>, peer: NodeId, page: &OutlinePage) {
        let Some(request) = self.requests.progress(cx.now, &peer, page.id) else { return };
        let log = request.log;
        if request.subtree.is_some() {
            return self.fault(cx, peer, &log, Refusal::Protocol);
        }
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let Work::Outlining { builder, .. } = &mut pursuit.work else { return };
        match take_page(builder, page) {
            Ok(()) if !page.last => return,
            Ok(()) => {}
            Err(error) => return self.outline_failed(cx, peer, &log, page, error),
        }
        self.requests.remove(page.id);
        let Work::Outlining { target, builder } = core::mem::take(&mut pursuit.work) else {
            return;
        };
        match builder.finish(page.tail) {
            Ok(outline) => {
                pursuit.work = Work::Fetching(Box::new(Fetch::new(target, outline)));
                pursuit.served(&peer);
                self.stirred = true;
            }
            Err(error) => {
                self.abandon_work(&log);
                self.outline_failed(cx, peer, &log, page, error);
            }
        }
    }

    /// An outline that does not check is the peer's fault, unless its proof is
    /// good and shows another history: then the author signed two.
    fn outline_failed(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        log: &LogId,
        page: &OutlinePage,
        error: ProofError,
    ) {
        let target = self.behind.get(log).and_then(|pursuit| pursuit.work.target());
        let closed = cx.ledger.closing(log).is_some();
        // Whoever does not know yet that a branch is disowned is not to blame for it.
        let bad = if closed { Refusal::Inconsistent } else { Refusal::BadOutline };
        let (ProofError::Inconsistent, Some(target)) = (error, target) else {
            return self.fault(cx, peer, log, bad);
        };
        let (own, root) = (cx.ledger.staged_size(log), target.checkpoint().root());
        let proof = page.proof.as_deref().unwrap_or_default();
        match implied_old_root(own, size_of(target), &root, proof) {
            // What we hold was under a signed root, or is our own: this is another history.
            Ok(Some(_)) if closed => {
                self.forget(log);
                self.strayed.insert(*log);
            }
            Ok(Some(_)) => {
                let target = target.clone();
                if let Some(ours) = cx.ledger.log(log).and_then(|slot| slot.head.clone())
                    && size_of(&ours) == own
                {
                    cx.ledger.accuse(log, [&ours, &target], proof, cx.out);
                }
                cx.out.refused(Some(peer), Some(*log), Refusal::Fork);
                self.dispute(cx, log);
            }
            // The sizes allow no proof. What stands can be fetched again, but not at
            // the word of a liar again and again.
            Ok(None) if closed && self.suspected.insert(*log) => {
                self.forget(log);
                self.strayed.insert(*log);
            }
            // A fork or a bad proof: not proven, no penalty.
            Ok(None) => self.fault(cx, peer, log, Refusal::Inconsistent),
            Err(_) => self.fault(cx, peer, log, bad),
        }
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
        let (log, Some(subtree)) = (request.log, request.subtree) else {
            return self.fault(cx, peer, &request.log, Refusal::Protocol);
        };
        self.requests.remove(id);
        self.stirred = true;
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let Work::Fetching(fetch) = &mut pursuit.work else { return };
        let staged = cx.ledger.staged(&log);
        if self.stage.is_full() && subtree != staged.size() / limits::SUBTREE_ENTRIES {
            self.stage.dropped(fetch.shed(subtree));
            return;
        }
        match fetch.take((log.space, subtree), headers, bodies, &staged) {
            Ok(bytes) => {
                self.stage.arrived(bytes);
                pursuit.served(&peer);
                self.append_ready(cx, log);
            }
            Err(refusal) => {
                self.stage.dropped(fetch.shed(subtree));
                let closed = cx.ledger.closing(&log).is_some();
                let refusal = if closed { Refusal::Inconsistent } else { refusal };
                self.fault(cx, peer, &log, refusal);
            }
        }
    }

    /// The peer cannot serve a request (yet): somebody else may.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>, peer: NodeId, id: RequestId) {
        if let Some(request) = self.requests.progress(cx.now, &peer, id) {
            self.rest(cx.now, peer, &request.log);
        }
    }

    fn fault(&mut self, cx: &mut Context<'_>, peer: NodeId, log: &LogId, refusal: Refusal) {
        cx.out.refused(Some(peer), Some(*log), refusal);
        if refusal.is_peers_fault() {
            cx.out.disconnect(peer, refusal);
        }
        self.rest(cx.now, peer, log);
    }

    /// Leaves a source alone for a while.
    fn rest(&mut self, now: Timestamp, peer: NodeId, log: &LogId) {
        let until = self.behind.get_mut(log).and_then(|pursuit| pursuit.rest(now, &peer));
        if let Some(until) = until {
            self.resting.insert((until, *log, peer));
        }
        self.take_back(log, &peer);
    }

    /// The author of the log signed two histories: it is not pursued any further.
    fn dispute(&mut self, cx: &mut Context<'_>, log: &LogId) {
        cx.ledger.dispute(*log);
        self.forget(log);
    }

    /// Appends what is complete and next in order.
    fn append_ready(&mut self, cx: &mut Context<'_>, log: LogId) {
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let teller = pursuit.holder().map(|peer| Teller { peer, at: cx.now });
        let Work::Fetching(fetch) = &mut pursuit.work else { return };
        let target = size_of(&fetch.target);
        while let Some(ready) = fetch.ready(&cx.ledger.staged(&log)) {
            let reached = ready.tree.size() == size_of(&fetch.target);
            let head = reached.then(|| fetch.target.clone());
            self.stage.dropped(ready.bytes);
            let ticket = cx.ledger.append(log, ready.entries, ready.tree, head, teller, cx.out);
            self.stage.appending(ticket, log, ready.bytes);
        }
        if cx.ledger.staged_size(&log) < target && cx.ledger.is_over_quota(&log, target) {
            self.abandon_work(&log);
        }
    }

    /// Hands entries to storage that were heard and checked outside of any pursuit.
    pub(super) fn append_heard(
        &mut self,
        cx: &mut Context<'_>,
        log: LogId,
        peer: NodeId,
        entries: Vec<Entry>,
        tree: Frontier,
        head: VerifiedCheckpoint,
    ) {
        let bytes = entries.iter().map(Entry::size).sum();
        let teller = Some(Teller { peer, at: cx.now });
        let ticket = cx.ledger.append(log, entries, tree, Some(head), teller, cx.out);
        self.stage.appending(ticket, log, bytes);
    }

    /// Storage confirmed an append to a log: ends work that has reached its
    /// target and forgets sources that have no more than we.
    pub(super) fn appended(&mut self, cx: &mut Context<'_>, ticket: Ticket, log: LogId) {
        self.stage.appended(ticket);
        self.stirred = true;
        let Some(pursuit) = self.behind.get_mut(&log) else { return };
        let covered = cx.ledger.log(&log).map_or(0, Slot::head_size);
        pursuit.retain_sources(|_, size| size > covered);
        if !pursuit.has_sources() {
            self.forget(&log);
        } else if pursuit.work.target().is_some_and(|target| size_of(target) <= covered) {
            self.abandon_work(&log);
        } else {
            self.enqueue(&log);
        }
    }

    /// Ends the pursuit of a log.
    pub(super) fn forget(&mut self, log: &LogId) {
        self.ended = true;
        self.abandon_work(log);
        if let Some(place) = self.behind.remove(log).and_then(|pursuit| pursuit.place) {
            self.queue.remove(&place);
        }
    }

    /// Gives up what is being done for a log, to begin anew.
    fn abandon_work(&mut self, log: &LogId) {
        if let Some(pursuit) = self.behind.get_mut(log) {
            let work = core::mem::take(&mut pursuit.work);
            self.stage.dropped(work.waiting_bytes());
            if let Work::Comparing { ticket, .. } = work {
                self.comparing.remove(&ticket);
            }
        }
        self.active.remove(log);
        self.requests.take_back(log, None);
        self.enqueue(log);
    }

    /// Storage failed: everything in flight for the log is given up, to be heard of again.
    pub(super) fn store_failed(&mut self, log: &LogId) {
        if let Some(pursuit) = self.behind.get(log) {
            self.abandoned.extend(pursuit.peers());
        }
        self.forget(log);
        self.stage.store_failed(log);
        self.stirred = true;
    }

    /// A peer is gone: what was asked of it is asked of others.
    pub(super) fn disconnected(&mut self, peer: &NodeId) {
        let concerned = self.behind.iter().filter(|(_, pursuit)| pursuit.has_source(peer));
        let logs: Vec<_> = concerned.map(|(log, _)| *log).collect();
        logs.iter().for_each(|log| self.lost(log, peer));
        self.abandoned.remove(peer);
    }

    /// A source of a log is one no more.
    fn lost(&mut self, log: &LogId, peer: &NodeId) {
        let Some(pursuit) = self.behind.get_mut(log) else { return };
        pursuit.retain_sources(|source, _| source != peer);
        let reach = pursuit.reach();
        if !pursuit.has_sources() {
            self.forget(log);
        } else if pursuit.work.target().is_some_and(|target| size_of(target) > reach) {
            // Nobody left has the target; start again towards what they do have.
            self.abandon_work(log);
        }
        self.take_back(log, peer);
    }

    /// Whoever is no member of a group any more is asked for none of its logs.
    pub(super) fn shut_out(&mut self, cx: &Context<'_>) {
        if !cx.ledger.groups.has_changed() {
            return;
        }
        let out = |(log, pursuit): (&LogId, &Pursuit)| {
            let tells = |peer: &NodeId| {
                cx.ledger.authority_of(peer).is_some_and(|teller| cx.ledger.may_tell(&teller, log))
            };
            let out = pursuit.peers().filter(|peer| !tells(peer));
            out.map(|peer| (*log, *peer)).collect::<Vec<_>>()
        };
        let of_groups = self.behind.iter().filter(|(log, _)| log.space != Space::Public);
        let out: Vec<_> = of_groups.flat_map(out).collect();
        out.iter().for_each(|(log, peer)| self.lost(log, peer));
    }

    /// Takes back what was asked of `peer` for `log`, so that others can be asked.
    fn take_back(&mut self, log: &LogId, peer: &NodeId) {
        self.stirred = true;
        for request in self.requests.take_back(log, Some(peer)) {
            match (request.subtree, self.behind.get_mut(log).map(|pursuit| &mut pursuit.work)) {
                (Some(subtree), Some(Work::Fetching(fetch))) => fetch.unanswered(subtree),
                (None, Some(Work::Outlining { .. })) => self.abandon_work(log),
                _ => {}
            }
        }
    }

    /// Wakes sources that have rested enough; peers that gave no answer lose their requests.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        while let Some((until, log, peer)) = self.resting.pop_first() {
            if until > cx.now {
                self.resting.insert((until, log, peer));
                break;
            }
            if let Some(pursuit) = self.behind.get_mut(&log) {
                pursuit.wake(cx.now, &peer);
                self.enqueue(&log);
            }
        }
        if !self.accepts() {
            // Their answers may be there; it is we who do not listen.
            return self.requests.postpone(cx.now);
        }
        for (peer, log) in self.requests.overdue(cx.now) {
            cx.out.push(Output::Notify(Notice::Stalled { peer, log }));
            self.rest(cx.now, peer, &log);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let rested = self.resting.first().map(|(until, ..)| *until);
        self.requests.deadline().into_iter().chain(rested).min()
    }

    /// Puts a log that waits at the end of the queue, if there is anybody to ask.
    fn enqueue(&mut self, log: &LogId) {
        self.stirred = true;
        let Some(pursuit) = self.behind.get_mut(log) else { return };
        if pursuit.work.is_waiting() && pursuit.place.is_none() && pursuit.is_able() {
            self.last_place += 1;
            pursuit.place = Some(self.last_place);
            self.queue.insert(self.last_place, *log);
        }
    }

    /// Begins and feeds pursuits within the bounds, if anything has happened since the last time.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        if !core::mem::take(&mut self.stirred) {
            return;
        }
        for _ in 0..self.queue.len().min(ACTIVE_LOGS) {
            if self.active.len() >= ACTIVE_LOGS {
                break;
            }
            let Some((_, log)) = self.queue.pop_first() else { break };
            let Some(mut pursuit) = self.behind.remove(&log) else { continue };
            pursuit.place = None;
            let start = self.start(cx, log, &mut pursuit);
            self.behind.insert(log, pursuit);
            match start {
                Start::Begun => _ = self.active.insert(log),
                Start::Busy => self.enqueue(&log),
                Start::Idle => {}
            }
            self.forget_disputed(cx, &log);
        }
        let Self { behind, active, requests, stage, .. } = self;
        for log in active.iter() {
            if let Some(pursuit) = behind.get_mut(log) {
                feed(cx, log, pursuit, requests, stage);
            }
        }
        // Logs that could not begin now can only when something else has happened.
        self.stirred = false;
    }

    /// Asks the source with the newest head for an outline.
    fn start(&mut self, cx: &mut Context<'_>, log: LogId, pursuit: &mut Pursuit) -> Start {
        let Some((peer, target)) = pursuit.leader(&self.requests) else {
            return if pursuit.is_able() { Start::Busy } else { Start::Idle };
        };
        let (target, size) = (target.clone(), size_of(target));
        let slot = cx.ledger.log(&log).cloned().unwrap_or_default();
        let own = slot.staged.size();
        if slot.disputed || slot.staged_head_size() >= size {
            // It is with storage already.
            return Start::Idle;
        }
        if own >= size {
            return self.compare(cx, log, pursuit, &slot, target);
        }
        if cx.ledger.is_over_quota(&log, size) {
            // The head is kept, and owed, so that a raised quota finds it again.
            return Start::Idle;
        }
        let taken = self.active.iter().filter_map(|log| self.behind.get(log));
        let taken: u64 = taken.map(|pursuit| pursuit.work.outline_bytes()).sum();
        if taken > 0 && taken + outline_bytes(&target) > OUTLINE_BYTES {
            return Start::Busy;
        }
        let Ok(builder) = OutlineBuilder::new(&slot.staged, size, target.checkpoint().root())
        else {
            return Start::Idle;
        };
        pursuit.work = Work::Outlining { target, builder: Box::new(builder) };
        let id = self.requests.add(cx.now, Request { peer, log, subtree: None });
        cx.out.send(peer, &Message::WantOutline { id, log, from: own, size });
        Start::Begun
    }

    /// The head covers no more than we hold without one: entries of a newer head
    /// that nobody has any more, or own ones that were not signed.
    fn compare(
        &mut self,
        cx: &mut Context<'_>,
        log: LogId,
        pursuit: &mut Pursuit,
        slot: &Slot,
        target: VerifiedCheckpoint,
    ) -> Start {
        let size = size_of(&target);
        if slot.staged.size() == size {
            self.compared(cx, log, &target, slot.staged.root() == target.checkpoint().root());
            return Start::Idle;
        }
        if slot.stored.size() < size {
            return Start::Idle;
        }
        let ticket = cx.out.ticket();
        self.comparing.insert(ticket, log);
        pursuit.work = Work::Comparing { target, ticket };
        cx.out.push(Output::Load(ticket, Load::Outline { log, from: 0, size }));
        Start::Begun
    }

    /// Whether a load was asked for here.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.comparing.contains_key(&ticket)
    }

    /// Our own storage gave the outline of what we hold.
    pub(super) fn loaded(&mut self, cx: &mut Context<'_>, ticket: Ticket, loaded: &Loaded) {
        let Some(log) = self.comparing.remove(&ticket) else { return };
        let work = self.behind.get_mut(&log).map(|pursuit| core::mem::take(&mut pursuit.work));
        self.active.remove(&log);
        if let (Some(Work::Comparing { target, .. }), Loaded::Outline(outline)) = (work, loaded) {
            let fits = rebuild(&target, outline).is_ok();
            self.compared(cx, log, &target, fits);
            self.forget_disputed(cx, &log);
        }
    }

    fn forget_disputed(&mut self, cx: &Context<'_>, log: &LogId) {
        if cx.ledger.log(log).is_some_and(|slot| slot.disputed) {
            self.forget(log);
        }
    }

    fn compared(
        &mut self,
        cx: &mut Context<'_>,
        log: LogId,
        target: &VerifiedCheckpoint,
        fits: bool,
    ) {
        if fits {
            let tree = cx.ledger.staged(&log);
            let head = Some(target.clone());
            let ticket = cx.ledger.append(log, Vec::new(), tree, head, None, cx.out);
            self.stage.appending(ticket, log, 0);
        } else {
            cx.out.refused(None, Some(log), Refusal::Fork);
            cx.ledger.dispute(log);
        }
    }
}

/// Asks for what is missing of a log while there is room for it.
fn feed(
    cx: &mut Context<'_>,
    log: &LogId,
    pursuit: &mut Pursuit,
    requests: &mut Requests,
    stage: &Stage,
) {
    // Most of the time everything is on its way.
    if !matches!(&pursuit.work, Work::Fetching(fetch) if fetch.missing().is_some()) {
        return;
    }
    let staged = cx.ledger.staged_size(log);
    loop {
        let Work::Fetching(fetch) = &pursuit.work else { return };
        let Some(wanted) = fetch.wanted(staged) else { return };
        // What is next in order may always come, or a full stage would never empty.
        let is_next = wanted.subtree == staged / limits::SUBTREE_ENTRIES;
        let must = is_next && !stage.waits_for_storage();
        if !must && !stage.has_room(requests.len()) {
            return;
        }
        let Some(peer) = pursuit.helper(requests, wanted.range.end) else { return };
        let Work::Fetching(fetch) = &mut pursuit.work else { return };
        fetch.asked(wanted.subtree);
        let id = requests.add(cx.now, Request { peer, log: *log, subtree: Some(wanted.subtree) });
        let (log, start, end) = (*log, wanted.range.start, wanted.range.end);
        let message = if wanted.headers {
            Message::WantEntries { id, log, start, end }
        } else {
            Message::WantBodies { id, log, start, end }
        };
        cx.out.send(peer, &message);
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

/// Checks an outline from the start of a log against a signed head.
pub(super) fn rebuild(
    head: &VerifiedCheckpoint,
    outline: &Outline,
) -> Result<VerifiedOutline, ProofError> {
    let root = head.checkpoint().root();
    let mut builder = OutlineBuilder::new(&Frontier::new(), size_of(head), root)?;
    builder.proof(&outline.proof)?;
    let mut pages = outline.subtrees.chunks(limits::OUTLINE_HASHES);
    pages.try_for_each(|page| builder.page(page))?;
    builder.finish(outline.tail)
}
