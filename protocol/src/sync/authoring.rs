//! Our own log: one history, whatever happens to this node.
//!
//! Entries are journalled and signed only while nobody has shown us a head of
//! our own that is newer than what we hold. Partners tell us what they know of
//! our log with every news; a claim counts only with our own signature on it,
//! so a liar can at most stay silent.
//!
//! | partners show | we |
//! |---|---|
//! | nothing newer | author and sign, once enough have answered |
//! | a later head | fetch it back before anything new is signed |
//! | another root at the size of our head | stop; only a recovery by the controllers helps |
//! | a later head, with a proof that it does not continue what we hold | stop |
//!
//! Where partners are known, everything new waits a little for the first of them
//! to answer whenever what we hold may be old (see [`super::doubt`]): an entry
//! journalled then would stand where another one of ours stands already, and
//! nothing could be signed any more. Signing ends for good when an earlier copy of
//! this node proves that it is alive.
//!
//! A later head without a good proof of either keeps signing suspended but
//! stops nothing for good: another partner may bring the right one. Partners
//! are counted by authority, as their node keys say, so that nobody answers twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::doubt::Doubt;
use super::ledger::{HeardHead, Slot};
use super::presence::Copy;
use super::{AuthorRefusal, Context, Exchanges, Notice, Output, Refusal, Ticket, gossip};
use crate::checkpoint::{self, VerifiedCheckpoint};
use crate::entry::Entry;
use crate::id::{AuthorityId, Generation, LogId, NodeId, Space};
use crate::key::SecretKey;
use crate::limits;
use crate::time::Timestamp;

/// Commands that may wait for partners to answer.
const WAITING: usize = 16;

/// Header and body bytes of entries to be announced once they are stored.
type Announced = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What is known of one of our own logs.
#[derive(Debug, Default)]
struct Own {
    /// A later head of ours that a partner showed.
    later: Option<u64>,
    /// Two histories exist: nothing is signed any more.
    stopped: bool,
}

#[derive(Debug)]
pub(super) struct Authoring {
    authority: AuthorityId,
    generation: Generation,
    key: SecretKey,
    /// Partners that must have answered before anything is signed.
    required: usize,
    answered: BTreeSet<AuthorityId>,
    /// Whether what we hold may be old.
    doubt: Doubt,
    /// Our logs: the public one, and those in groups.
    own: BTreeMap<Space, Own>,
    /// An earlier copy of this node is alive: nothing is signed any more.
    outdone: bool,
    /// Our identity names other keys than those we have.
    outdated: bool,
    appends: BTreeMap<Ticket, Appending>,
    /// Commands that wait until there is no doubt, at most [`WAITING`].
    waiting: VecDeque<(u64, Space, Vec<Entry>)>,
}

/// Own entries on their way to storage.
#[derive(Debug)]
struct Appending {
    log: LogId,
    /// The driver's name for the command, if entries came by one.
    command: Option<(u64, u64, usize)>,
    announced: Announced,
}

impl Authoring {
    /// `asks`: whether there is a partner to be heard before the first signature.
    pub(super) fn new(log: LogId, key: SecretKey, required: usize, asks: bool) -> Self {
        Self {
            authority: log.authority,
            generation: log.generation,
            key,
            required,
            answered: BTreeSet::new(),
            doubt: Doubt::new(asks),
            own: BTreeMap::from([(Space::Public, Own::default())]),
            outdone: false,
            outdated: false,
            appends: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Our public log.
    pub(super) const fn log(&self) -> LogId {
        self.log_in(Space::Public)
    }

    const fn log_in(&self, space: Space) -> LogId {
        LogId { authority: self.authority, space, generation: self.generation }
    }

    /// Who we are.
    pub(super) const fn authority(&self) -> AuthorityId {
        self.authority
    }

    /// Why nothing can be signed in the public log now, if so.
    pub(super) fn obstacle(&self) -> Option<AuthorRefusal> {
        self.obstacle_in(Space::Public)
    }

    fn obstacle_in(&self, space: Space) -> Option<AuthorRefusal> {
        let own = self.own.get(&space);
        match own.and_then(|own| own.later) {
            _ if own.is_some_and(|own| own.stopped) => Some(AuthorRefusal::TwoHistories),
            _ if self.outdone => Some(AuthorRefusal::AnotherCopy),
            _ if self.outdated => Some(AuthorRefusal::OldKeys),
            Some(size) => Some(AuthorRefusal::FetchingOwn { size }),
            None => None,
        }
    }

    fn may_sign(&self, space: Space) -> bool {
        self.obstacle_in(space).is_none()
            && self.answered.len() >= self.required
            && !self.doubt.holds()
    }

    /// Whether what we hold may be old.
    pub(super) const fn doubts(&self) -> bool {
        self.doubt.holds()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.doubt.deadline()
    }

    /// Whether a node works for a partner: not for us, and not a stranger.
    fn partner(&self, cx: &Context<'_>, peer: &NodeId) -> Option<AuthorityId> {
        cx.ledger.authority_of(peer).filter(|authority| *authority != self.authority)
    }

    pub(super) fn connected(&mut self, cx: &Context<'_>, peer: &NodeId) {
        if self.partner(cx, peer).is_some() {
            self.doubt.connected(cx.now);
        }
    }

    pub(super) fn disconnected(&mut self, now: Timestamp, peer: &NodeId) {
        self.doubt.lost(now, peer);
    }

    /// This may be an older state of the machine: all must be heard again.
    pub(super) fn clock_jumped(&mut self, cx: &Context<'_>) {
        self.answered.clear();
        let others = cx.ledger.identities().any(|one| one.authority() != self.authority);
        self.doubt.jumped(cx.now, others);
    }

    /// A partner saw another run of this node, alive.
    pub(super) fn suspect(&mut self, cx: &Context<'_>, peer: &NodeId) {
        if let Some(authority) = self.partner(cx, peer) {
            self.doubt.suspect(cx.now, authority);
        }
    }

    /// Another copy of this node has proved that it is alive.
    pub(super) fn rivalled(&mut self, cx: &mut Context<'_>, copy: Copy) {
        self.doubt.settled();
        let stopped = copy == Copy::Earlier;
        if !self.outdone {
            self.outdone = stopped;
            cx.out.push(Output::Notify(Notice::AnotherCopy { stopped }));
        }
        self.resume(cx);
    }

    pub(super) const fn is_outdone(&self) -> bool {
        self.outdone
    }

    /// Time has passed: what waited long enough is signed.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>) {
        let held = self.doubt.holds();
        self.doubt.pass(cx.now);
        if held && !self.doubt.holds() {
            self.resume(cx);
        }
    }

    /// Entries by the user: appended, once what we hold is known not to be old,
    /// and signed if that is allowed.
    pub(super) fn author(
        &mut self,
        cx: &mut Context<'_>,
        command: u64,
        space: Space,
        entries: Vec<Entry>,
    ) {
        let log = self.log_in(space);
        let refusal = match self.obstacle_in(space) {
            None if entries.is_empty() || entries.len() > limits::AUTHOR_ENTRIES => {
                Some(AuthorRefusal::BatchSize)
            }
            None if cx.ledger.staged_size(&log) + entries.len() as u64 > limits::LOG_ENTRIES => {
                Some(AuthorRefusal::LogFull)
            }
            None if self.doubt.holds() && self.waiting.len() >= WAITING => {
                Some(AuthorRefusal::Asking)
            }
            obstacle => obstacle,
        };
        if let Some(refusal) = refusal {
            cx.out.push(Output::AuthorRefused { command, refusal });
            return;
        }
        if self.doubt.holds() {
            self.waiting.push_back((command, space, entries));
            return;
        }
        self.own.entry(space).or_default();
        let start = cx.ledger.staged_size(&log);
        let few = entries.len() <= limits::GOSSIP_ENTRIES;
        let small = entries.iter().map(Entry::size).sum::<usize>() <= limits::GOSSIP_BYTES;
        let announced = if few && small && space == Space::Public {
            entries.iter().map(|entry| entry.clone().into_bytes()).collect()
        } else {
            Vec::new()
        };
        let count = entries.len();
        self.append(
            cx,
            entries,
            Appending { log, command: Some((command, start, count)), announced },
        );
    }

    fn append(&mut self, cx: &mut Context<'_>, entries: Vec<Entry>, appending: Appending) {
        let log = appending.log;
        let mut tree = cx.ledger.staged(&log);
        entries.iter().for_each(|entry| tree.push(entry.leaf()));
        let head = cx.ledger.checkpoint(&log, &tree).filter(|_| self.may_sign(log.space));
        let head = head.and_then(|head| checkpoint::sign(&head, &self.key).ok());
        let ticket = cx.ledger.append(log, entries, tree, head, None, cx.out);
        self.appends.insert(ticket, appending);
    }

    /// Storage confirmed: now, and only now, it is acknowledged and announced.
    pub(super) fn appended(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        head: Option<&VerifiedCheckpoint>,
    ) {
        let Some(done) = self.appends.remove(&ticket) else { return };
        if let Some((command, start, count)) = done.command {
            let signed = head.is_some();
            let log = done.log;
            cx.out.push(Output::Authored { command, log, start, count, signed });
        }
        if let Some(head) = head.filter(|_| done.log.space == Space::Public) {
            gossip::announce(cx, head, done.announced);
        }
    }

    pub(super) fn store_failed(&mut self, cx: &mut Context<'_>, log: &LogId) {
        let failed = self.appends.extract_if(.., |_, appending| appending.log == *log);
        for (_, appending) in failed {
            if let Some((command, ..)) = appending.command {
                let refusal = AuthorRefusal::Storage;
                cx.out.push(Output::AuthorRefused { command, refusal });
            }
        }
    }

    /// A partner said what it knows of our logs; an empty list is an answer too.
    pub(super) fn claimed(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        peer: NodeId,
        heads: Vec<HeardHead>,
    ) {
        let own = self.log();
        for HeardHead { log, head, .. } in heads.into_iter().filter(|heard| heard.log == own) {
            self.compare(cx, exchanges, peer, (log, head));
        }
        if let Some(authority) = self.partner(cx, &peer) {
            self.answered.insert(authority);
            self.doubt.heard(peer);
        }
        self.resume(cx);
    }

    /// A member of a group showed a head of our log in it.
    pub(super) fn claimed_in_group(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        peer: NodeId,
        claimed: (LogId, VerifiedCheckpoint),
    ) {
        if claimed.0.generation == self.generation {
            self.compare(cx, exchanges, peer, claimed);
            self.resume(cx);
        }
    }

    /// Compares a head of ours that was shown to us with what we hold.
    fn compare(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        peer: NodeId,
        (log, head): (LogId, VerifiedCheckpoint),
    ) {
        let size = head.checkpoint().size();
        let own = self.own.entry(log.space).or_default();
        if cx.ledger.contradicts(&log, &head, cx.out) {
            cx.out.refused(Some(peer), Some(log), Refusal::Fork);
            exchanges.forget(&log);
        } else if size > cx.ledger.log(&log).map_or(0, Slot::head_size) && !own.stopped {
            if own.later.is_none() {
                cx.out.push(Output::Notify(Notice::OwnLogBehind { size }));
            }
            own.later = Some(own.later.map_or(size, |later| later.max(size)));
            exchanges.announced(cx, peer, log, head);
        }
    }

    /// Stops for good if two histories of our log have shown up, and for as
    /// long as our own identity names other keys or another generation.
    pub(super) fn heed(&mut self, cx: &mut Context<'_>) {
        self.outdated = cx.ledger.identity(&self.authority).is_some_and(|own| {
            *own.log_key() != self.key.public() || own.generation() != self.generation
        });
        let (authority, generation) = (self.authority, self.generation);
        for (space, own) in self.own.iter_mut().filter(|(_, own)| !own.stopped) {
            let log = LogId { authority, space: *space, generation };
            if cx.ledger.log(&log).is_some_and(|slot| slot.disputed) {
                own.stopped = true;
                cx.out.push(Output::Notify(Notice::OwnLogForked));
            }
        }
    }

    /// Goes on once our own later entries have come back, and signs what waits for it.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>) {
        self.heed(cx);
        let spaces: Vec<Space> = self.own.keys().copied().collect();
        spaces.into_iter().for_each(|space| self.resume_in(cx, space));
        while !self.doubt.holds()
            && let Some((command, space, entries)) = self.waiting.pop_front()
        {
            self.author(cx, command, space, entries);
        }
    }

    fn resume_in(&mut self, cx: &mut Context<'_>, space: Space) {
        let log = self.log_in(space);
        let slot = cx.ledger.log(&log);
        let (head, staged) = slot.map_or((0, 0), |slot| (slot.head_size(), slot.staged.size()));
        if let Some(own) = self.own.get_mut(&space)
            && own.later.is_some_and(|later| head >= later)
        {
            own.later = None;
            cx.out.push(Output::Notify(Notice::OwnLogRecovered { size: head }));
        }
        let busy = self.appends.values().any(|appending| appending.log == log);
        // What a key signed that was replaced since counts in a group for those only who
        // had it before.
        let renews = space != Space::Public && head > 0 && cx.ledger.is_under_old_key(&log);
        if (staged > head || renews) && !busy && self.may_sign(space) {
            self.append(cx, Vec::new(), Appending { log, command: None, announced: Vec::new() });
        }
    }

    /// Our logs in groups, as they are found at start.
    pub(super) fn found(&mut self, log: &LogId) {
        if log.authority == self.authority && log.generation == self.generation {
            self.own.entry(log.space).or_default();
        }
    }
}
