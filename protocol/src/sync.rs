//! Replication as a state machine: no I/O, no clock, no randomness.
//!
//! ```text
//!            Input                                   Output
//! Connected ──┐                                ┌── Send, Disconnect
//! Received  ──┤   session   who, since when    ├── Append, Load, Store…
//! Heard     ──┼─► gossip    live announcements ├─► Broadcast, Verdict
//! Author    ──┤   exchange  catch-up           ├── Authored, AuthorRefused
//! Appended… ──┘   authoring our own log        └── Notify
//!                 presence  who runs twice
//!                 witnessing cosignatures
//!                 mending   bodies that lack something
//!                 closing   what was disowned
//!                 contest   smaller heads than ours
//!                 sharing   what members of groups tell each other
//!                     └──── ledger ────┘       standing: who misbehaves
//!              directory: who is who, docket: who signed two histories
//! ```
//!
//! Drive it so: [`Machine::handle`] one input, then [`Machine::poll`] until
//! `None`, and send [`Input::Tick`] when [`Machine::deadline`] has passed.
//! Before taking a frame off a stream ask [`Machine::accepts`]; while it says
//! no, leave the frame where it is, and the transport slows the peer down.
//!
//! **Invariants:** `handle` cannot fail or block; the same inputs give the same
//! outputs; nothing is acknowledged, announced or served before storage has
//! confirmed it; every queue is bounded by [`crate::limits`]. Deliberately
//! absent: the secrets of groups; bodies are passed on as they are sealed.

mod authoring;
mod closing;
mod contest;
mod directory;
mod docket;
mod doubt;
mod drive;
mod effect;
mod exchange;
mod gossip;
mod ledger;
mod mending;
mod notice;
mod outbox;
mod presence;
mod refusal;
mod session;
mod sharing;
mod standing;
mod status;
mod verified;
pub mod wire;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::authoring::Authoring;
use self::closing::Closings;
use self::contest::Contest;
pub use self::drive::{Input, Output};
pub use self::effect::{
    Append, Cosign, Fill, Load, Loaded, Quota, Revert, Stored, StoredEvidence, StoredIdentity,
    StoredLog,
};
use self::exchange::Exchanges;
use self::ledger::{HeardHead, Ledger};
use self::mending::Mending;
pub use self::notice::Notice;
use self::outbox::{Context, Outbox};
use self::presence::Presence;
pub use self::refusal::{AuthorRefusal, Refusal, Verdict};
use self::session::Sessions;
use self::sharing::Sharing;
pub use self::standing::StandingStatus;
pub use self::status::{LogStatus, PeerStatus};
pub use self::verified::Verified;
use self::wire::Message;
use self::witnessing::Witnessing;
use crate::checkpoint::VerifiedCheckpoint;
use crate::equivocation::Evidence;
use crate::group::Membership;
use crate::id::{AuthorityId, GroupId, LogId, NetworkName, NodeId};
use crate::identity::Identity;
use crate::key::SecretKey;
use crate::time::{Timestamp, UnixTime};

/// Names one effect; its completion names it again.
pub type Ticket = u64;

/// Who runs the machine and by what rules.
#[derive(Debug)]
pub struct Config {
    /// The network; nothing of another is accepted.
    pub network: NetworkName,
    /// Our authority.
    pub authority: AuthorityId,
    /// The key that signs our checkpoints.
    pub log_key: SecretKey,
    /// Generation of our log that is open.
    pub generation: u32,
    /// Our node, as peers know it.
    pub node: NodeId,
    /// Random number of this run.
    pub run: [u8; 16],
    /// When this run was started; of two copies of a node the later gives way.
    pub started: UnixTime,
    /// Partners that must have said what they know of our log before we sign.
    /// If 0, the first one is waited for a little, where any are known.
    pub own_head_answers: usize,
    /// Do not wait even a little for partners at start.
    pub sign_alone: bool,
}

/// The machine. See the module's description.
#[derive(Debug)]
pub struct Machine {
    authority: AuthorityId,
    ledger: Ledger,
    presence: Presence,
    sessions: Sessions,
    exchanges: Exchanges,
    closings: Closings,
    contest: Contest,
    witnessing: Witnessing,
    mending: Mending,
    sharing: Sharing,
    started: UnixTime,
    authoring: Authoring,
    out: Outbox,
}

impl Machine {
    /// A machine over what storage has. Logs that do not verify are left out and
    /// returned; they can be fetched again. There may be something to poll at once.
    ///
    /// A store that was restored from an older copy needs a new incarnation, or
    /// peers would not hear of what changes from then on.
    #[must_use]
    pub fn new(config: Config, stored: Stored) -> (Self, Vec<LogId>) {
        let (ledger, damaged) = Ledger::open(config.network, &stored, config.started);
        let Config { authority, node, run, started, log_key, .. } = config;
        let log = LogId::public(authority, config.generation);
        let has_partners = ledger.identities().any(|identity| identity.authority() != authority);
        let asks = has_partners && !config.sign_alone;
        let mut machine = Self {
            authority,
            presence: Presence::new(node, run, started, log_key.clone()),
            witnessing: Witnessing::new(authority, &ledger),
            ledger,
            sessions: Sessions::new(stored.cursors),
            exchanges: Exchanges::default(),
            closings: Closings::default(),
            mending: Mending::default(),
            sharing: Sharing::default(),
            started,
            contest: Contest::default(),
            authoring: Authoring::new(log, log_key, config.own_head_answers, asks),
            out: Outbox::default(),
        };
        machine.ledger.limit(authority, Quota::default());
        machine.ledger.logs().for_each(|(log, _)| machine.authoring.found(log));
        // What an earlier run left unsigned is signed now, if nobody needs to be asked.
        let Self { ledger, authoring, out, .. } = &mut machine;
        authoring.resume(&mut Context { now: Timestamp::ZERO, ledger, out });
        (machine, damaged)
    }

    /// Limits how much of each log of other authorities is fetched; without it
    /// the quota is [`Quota::default`]. What is held already stays.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.ledger.limit(self.authority, quota);
        self
    }

    /// Swaps what this machine remembers of earlier checks for `other`. So machines
    /// that take turns in one process, as in a simulation, can share one memory. It
    /// changes what a check costs, never what it says.
    pub const fn swap_verified(&mut self, other: &mut Verified) {
        core::mem::swap(&mut self.ledger.verified, other);
    }

    /// Takes one input. Drain [`Machine::poll`] before the next.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.out.standings.at(now);
        let passed = now.as_micros() / 1_000_000;
        self.ledger.pass(UnixTime::from_seconds(self.started.as_seconds() + passed));
        let Self { ledger, authoring, out, .. } = self;
        authoring.pass(&mut Context { now, ledger, out });
        self.take(now, input);
        self.show_out();
        let Self {
            ledger,
            sessions,
            exchanges,
            closings,
            contest,
            witnessing,
            mending,
            sharing,
            authoring,
            out,
            ..
        } = self;
        let mut cx = Context { now, ledger, out };
        witnessing.pass(&mut cx, sessions, authoring.doubts());
        closings.settle(&mut cx, exchanges, sessions);
        contest.pass(&mut cx);
        authoring.heed(&mut cx);
        sharing.recall(&mut cx, exchanges, authoring);
        exchanges.shut_out(&cx);
        exchanges.advance(&mut cx);
        // And once more, by what has just been handed to storage.
        sharing.recall(&mut cx, exchanges, authoring);
        exchanges.shut_out(&cx);
        for log in exchanges.take_strayed() {
            closings.strays(&mut cx, log);
        }
        mending.pass(&mut cx, exchanges, sessions);
        sharing.pass(&mut cx, sessions);
        sessions.settle(&mut cx, exchanges);
        sessions.changed(&cx);
    }

    fn take(&mut self, now: Timestamp, input: Input) {
        let Self {
            ledger, sessions, exchanges, closings, contest, witnessing, authoring, out, ..
        } = self;
        let mut cx = Context { now, ledger, out };
        match input {
            Input::Connected(peer) => self.connected(now, peer),
            Input::Disconnected(peer) => {
                self.presence.closed(&peer);
                self.disconnected(now, &peer);
            }
            Input::ClockJumped { run } => self.clock_jumped(now, run),
            Input::Received(peer, frame) => self.received(now, peer, &frame),
            Input::Heard { handle, peer, bytes } => {
                if !cx.out.standings.hears(peer, bytes.len()) {
                    return cx.out.push(Output::Verdict { handle, verdict: Verdict::Ignore });
                }
                let own = authoring.log();
                let (verdict, next) = gossip::heard(&mut cx, exchanges, &own, peer, &bytes);
                match next {
                    gossip::Next::Done => {}
                    gossip::Next::AskNews => sessions.hurry(&mut cx, peer),
                    gossip::Next::Compare(log, head) => contest.heard(&cx, peer, log, &head),
                }
                cx.out.push(Output::Verdict { handle, verdict });
            }
            Input::Author { command, space, entries } => {
                authoring.author(&mut cx, command, space, entries);
            }
            Input::Invited { group, hosts } => {
                let network = cx.ledger.network().clone();
                cx.ledger.groups.invited(&network, group, hosts);
            }
            Input::Introduce(events) => {
                let refusal = match cx.ledger.accept_identity(None, events, cx.out) {
                    Ok(true) => return,
                    Ok(false) => Refusal::TooManyAuthorities,
                    Err(_) => Refusal::BadIdentity,
                };
                cx.out.refused(None, None, refusal);
            }
            Input::Appended(ticket) => {
                if let Some(done) = cx.ledger.appended(ticket, cx.out) {
                    if done.head.is_some() {
                        witnessing.advanced(&cx, done.log);
                    }
                    authoring.appended(&mut cx, ticket, done.head.as_ref());
                    exchanges.appended(&mut cx, ticket, done.log);
                    authoring.resume(&mut cx);
                }
            }
            Input::Cosigned(ticket, line) => {
                witnessing.cosigned(&mut cx, sessions, ticket, line.as_deref());
            }
            Input::Reverted(ticket, tree) => closings.reverted(&mut cx, ticket, tree),
            Input::Filled(ticket) => self.mending.filled(&mut cx, ticket),
            Input::Deleted(log, lacks) => {
                for (index, lack) in lacks {
                    cx.ledger.erased.lacking(&log, index, lack);
                }
            }
            Input::StoreFailed(ticket) => {
                self.mending.store_failed(ticket);
                closings.store_failed(&mut cx, ticket);
                if let Some(log) = cx.ledger.store_failed(ticket) {
                    exchanges.store_failed(&log);
                    authoring.store_failed(&mut cx, &log);
                }
            }
            Input::Loaded(ticket, loaded) if closings.awaits(ticket) => {
                closings.loaded(&mut cx, ticket, &loaded);
            }
            Input::Loaded(ticket, loaded) if contest.awaits(ticket) => {
                contest.loaded(&mut cx, exchanges, &loaded);
            }
            Input::Loaded(ticket, loaded) if exchanges.awaits(ticket) => {
                exchanges.loaded(&mut cx, ticket, &loaded);
            }
            Input::Loaded(ticket, loaded) if self.mending.awaits(ticket) => {
                self.mending.loaded(&mut cx, loaded);
            }
            Input::Loaded(ticket, loaded) => sessions.loaded(&mut cx, ticket, loaded),
            Input::Misbehaved(peer, refusal) => cx.out.refused(Some(peer), None, refusal),
            Input::Tick => {
                exchanges.tick(&mut cx);
                sessions.tick(&mut cx, exchanges);
            }
        }
    }

    /// Disconnects those who have misbehaved too often.
    fn show_out(&mut self) {
        for standing::Condemned { peer, reason, until } in self.out.standings.condemned() {
            self.out.push(Output::Notify(Notice::Banned { peer, reason, until }));
            if self.sessions.is_open(&peer) {
                self.out.disconnect(peer, reason);
            } else if !self.out.closing.contains(&peer) {
                // It only gossips; no session will end.
                self.out.push(Output::Disconnect { peer, refusal: reason });
            }
        }
    }

    fn connected(&mut self, now: Timestamp, peer: NodeId) {
        self.disconnected(now, &peer);
        if self.out.standings.is_banned(&peer) {
            return self.out.disconnect(peer, Refusal::Banned);
        }
        let Self { ledger, sessions, authoring, presence, out, .. } = self;
        if authoring.is_outdone() {
            // Greeting would end the session of the copy that goes on.
            return out.disconnect(peer, Refusal::AnotherCopy);
        }
        let mut cx = Context { now, ledger, out };
        authoring.connected(&cx, &peer);
        sessions.connected(&mut cx, peer, self.authority, presence.run());
    }

    fn disconnected(&mut self, now: Timestamp, peer: &NodeId) {
        self.out.closing.remove(peer);
        self.authoring.disconnected(now, peer);
        self.sessions.disconnected(peer);
        self.witnessing.came_or_went(peer);
        self.exchanges.disconnected(peer);
        self.mending.disconnected(peer);
        self.sharing.disconnected(peer);
    }

    fn clock_jumped(&mut self, now: Timestamp, run: [u8; 16]) {
        let peers: Vec<NodeId> = self.sessions.peers().map(|peer| peer.node).collect();
        for peer in &peers {
            self.presence.closed(peer);
            self.exchanges.disconnected(peer);
            self.mending.disconnected(peer);
            self.sharing.disconnected(peer);
            self.witnessing.came_or_went(peer);
        }
        self.out.closing.clear();
        self.sessions.clear();
        self.presence.renew(run);
        let Self { ledger, authoring, out, .. } = self;
        authoring.clock_jumped(&Context { now, ledger, out });
    }

    /// A statement that a run of some node is alive.
    fn alive(&mut self, now: Timestamp, peer: NodeId, alive: wire::UnverifiedAlive) {
        let Self { ledger, sessions, authoring, presence, out, .. } = self;
        let mut cx = Context { now, ledger, out };
        let Some(copy) = presence.alive(&mut cx, peer, alive) else { return };
        authoring.rivalled(&mut cx, copy);
        if authoring.is_outdone() {
            sessions.peers().for_each(|peer| out.disconnect(peer.node, Refusal::AnotherCopy));
        }
    }

    /// The next thing to do; `None` when there is nothing more.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let shares = self.out.standings.deadline();
        let (sessions, exchanges) = (self.sessions.deadline(), self.exchanges.deadline());
        let (authoring, witnessing) =
            (self.authoring.deadline(), self.witnessing.deadline(self.authoring.doubts()));
        let (mending, sharing) = (self.mending.deadline(), self.sharing.deadline());
        let contest = self.contest.deadline();
        let deadlines =
            [sessions, exchanges, authoring, witnessing, contest, mending, sharing, shares];
        deadlines.into_iter().flatten().min()
    }

    /// Whether a frame of `peer` may be taken off its stream now. It becomes so
    /// again when storage has confirmed every append and the deadline has passed,
    /// or earlier.
    #[must_use]
    pub fn accepts(&self, peer: &NodeId) -> bool {
        self.out.closing.contains(peer)
            || (self.exchanges.accepts() && self.out.standings.accepts(peer))
    }

    /// Bytes of entries that were checked, or are with storage, and are not
    /// confirmed: at most [`crate::limits::STAGED_BYTES`] and a frame.
    #[must_use]
    pub const fn staged_bytes(&self) -> usize {
        self.exchanges.staged_bytes()
    }

    fn received(&mut self, now: Timestamp, peer: NodeId, frame: &[u8]) {
        let Self { ledger, sessions, exchanges, authoring, presence, out, .. } = self;
        let mut cx = Context { now, ledger, out };
        if !sessions.is_open(&peer) || cx.out.closing.contains(&peer) {
            return;
        }
        sessions.alive(now, &peer);
        let message = match Message::decode(frame) {
            Ok(Some(message)) => message,
            Ok(None) => return cx.out.standings.unknown(peer, frame.len()),
            Err(_) => return cx.out.refuse_peer(peer, Refusal::MalformedFrame),
        };
        if !exchanges.asked_for(&peer, &message) && !self.mending.asked_for(&peer, &message) {
            cx.out.standings.work(peer, &message, frame.len(), cx.ledger.entries());
        }
        match message {
            Message::Hello(hello) => {
                self.sharing.greeted(&mut cx, peer);
                sessions.hello(&mut cx, presence, peer, &hello);
                self.witnessing.came_or_went(&peer);
                if let Some(author) = cx.ledger.authority_of(&peer) {
                    self.witnessing.met(&cx, author);
                }
            }
            Message::Seen { node, run } => {
                if presence.saw(&mut cx, peer, (node, run)) {
                    authoring.suspect(&cx, &peer);
                }
            }
            Message::Alive(alive) => self.alive(now, peer, alive),
            Message::GroupHeads { group, heads } => {
                self.sharing.heard(&mut cx, exchanges, authoring, peer, (group, heads));
            }
            Message::Cosigned { log, size, line } => {
                self.witnessing.heard(&mut cx, peer, (log, size), &line);
            }
            Message::Offers(offers) => self.witnessing.offered(&cx, peer, &offers),
            Message::WantLines(wanted) => Witnessing::wanted(&mut cx, peer, &wanted),
            Message::Lines(held) => self.witnessing.told(&mut cx, peer, held),
            Message::Since { cursor } => sessions.since(&mut cx, peer, cursor.as_deref()),
            Message::News(mut news) => {
                let evidence = core::mem::take(&mut news.evidence);
                let Some((heads, own)) = sessions.news(&mut cx, peer, news) else { return };
                docket::heard(&mut cx, exchanges, peer, evidence);
                let own = Sessions::verify_heads(&mut cx, peer, &own);
                let heads = Sessions::verify_heads(&mut cx, peer, &heads);
                if cx.out.closing.contains(&peer) {
                    // Whoever passes on bad heads has not answered.
                    return;
                }
                for heard in &own {
                    self.witnessing.collect(&cx, heard);
                    self.contest.heard(&cx, peer, heard.log, &heard.head);
                }
                authoring.claimed(&mut cx, exchanges, peer, own);
                heads.into_iter().for_each(|heard| self.head_seen(now, peer, heard));
            }
            Message::WantOutline { id, log, from, size } => {
                sessions.want_outline(&mut cx, peer, id, (log, from, size));
            }
            Message::OutlinePage(page) => exchanges.outline_page(&mut cx, peer, &page),
            Message::WantEntries { id, log, start, end } => {
                sessions.want_entries(&mut cx, peer, id, (log, start, end));
            }
            Message::WantBodies { id, log, start, end } => {
                sessions.want_bodies(&mut cx, peer, id, (log, start, end));
            }
            Message::Entries { id, headers: _, bodies } if self.mending.owes(&peer, id) => {
                self.mending.bodies(&mut cx, peer, bodies);
            }
            Message::Refused { id } if self.mending.owes(&peer, id) => self.mending.refused(),
            Message::Entries { id, headers, bodies } => {
                exchanges.entries(&mut cx, peer, id, headers, bodies);
            }
            Message::Refused { id } => exchanges.refused(&mut cx, peer, id),
        }
    }

    /// A verified head of somebody's log: pursue it, unless its author equivocated.
    fn head_seen(&mut self, now: Timestamp, peer: NodeId, heard: HeardHead) {
        let Self { ledger, exchanges, contest, witnessing, authoring, out, .. } = self;
        let mut cx = Context { now, ledger, out };
        if heard.log == authoring.log() {
            return;
        }
        witnessing.collect(&cx, &heard);
        let HeardHead { log, head, .. } = heard;
        if cx.ledger.contradicts(&log, &head, cx.out) {
            cx.out.refused(Some(peer), Some(log), Refusal::Fork);
            exchanges.forget(&log);
        } else {
            contest.heard(&cx, peer, log, &head);
            exchanges.announced(&mut cx, peer, log, head);
        }
    }

    /// Our own log.
    #[must_use]
    pub const fn own_log(&self) -> LogId {
        self.authoring.log()
    }

    /// Why nothing can be signed now, if so.
    #[must_use]
    pub fn author_obstacle(&self) -> Option<AuthorRefusal> {
        self.authoring.obstacle()
    }

    /// Whether another copy of this node has proved that it is alive. If it was
    /// started earlier, that is an obstacle, too.
    #[must_use]
    pub const fn another_copy(&self) -> bool {
        self.presence.has_rival()
    }

    /// All logs, those among them of which nothing has come yet.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStatus> {
        let behind: BTreeMap<_, _> = self.exchanges.behind().collect();
        let unknown = behind.keys().filter(|log| self.ledger.log(log).is_none());
        let logs: BTreeSet<_> =
            self.ledger.logs().map(|(log, _)| log).chain(unknown.copied()).collect();
        let status = logs.into_iter().map(|log| {
            let slot = self.ledger.log(log);
            LogStatus {
                log: *log,
                size: slot.map_or(0, |slot| slot.stored.size()),
                signed: slot.map_or(0, ledger::Slot::head_size),
                root: self.head(log).map(|head| head.checkpoint().root()),
                disputed: slot.is_some_and(|slot| slot.disputed)
                    || self.ledger.is_disputed(&log.authority),
                closed: self.ledger.closing(log).is_some(),
                behind: behind.get(log).copied(),
                witnesses: self
                    .identity(&log.authority)
                    .map_or((0, 0), |author| (author.witnesses().len(), author.quorum())),
                cosigned: self.head(log).map_or(0, |head| head.cosignatures().count()),
                over_quota: behind
                    .get(log)
                    .is_some_and(|size| self.ledger.is_over_quota(log, *size)),
            }
        });
        status.collect()
    }

    /// The newest durable signed head of a log.
    #[must_use]
    pub fn head(&self, log: &LogId) -> Option<&VerifiedCheckpoint> {
        self.ledger.log(log).and_then(|slot| slot.head.as_ref())
    }

    /// The private groups that are known here.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Membership>> {
        self.ledger.groups.all()
    }

    /// Who is in a group.
    #[must_use]
    pub fn group(&self, group: &GroupId) -> Option<&Arc<Membership>> {
        self.ledger.groups.membership(group)
    }

    /// How many lines of witnesses this machine has checked: what cosigning costs it.
    #[must_use]
    pub const fn cosignatures_checked(&self) -> u64 {
        self.witnessing.checked() + self.ledger.cosignatures_checked()
    }

    /// All evidence that is known of authorities that signed two histories.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.ledger.evidence()
    }

    /// Whether the author of a log is known to have signed two histories of it.
    #[must_use]
    pub fn is_disputed(&self, log: &LogId) -> bool {
        self.ledger.log(log).is_some_and(|slot| slot.disputed)
    }

    /// The identity of an authority, if its chain is known.
    #[must_use]
    pub fn identity(&self, authority: &AuthorityId) -> Option<&Identity> {
        self.ledger.identity(authority)
    }

    /// All authorities whose chains are known.
    pub fn authorities(&self) -> impl Iterator<Item = &Identity> {
        self.ledger.identities()
    }

    /// Peers that have misbehaved, until it fades.
    #[must_use]
    pub fn standings(&self) -> Vec<StandingStatus> {
        let standings = self.out.standings.list();
        standings
            .map(|standing| {
                let authority = self.ledger.authority_of(&standing.node);
                StandingStatus { authority, ..standing }
            })
            .collect()
    }

    /// All sessions.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.sessions.peers().collect()
    }
}
