//! Sessions: who is connected, who they say they are, and how far each side
//! has read the other's news.
//!
//! Each side greets with the cursor at which it stopped reading, and answers
//! the other's greeting with what changed since: nothing new costs one round
//! trip. A cursor is remembered across restarts only once everything it covers
//! has been fetched, so an interruption never hides a change.
//!
//! **Invariants:** every request is answered by one frame or refused (an
//! outline by its pages), so that what a peer asked for bounds what waits to be
//! sent to it; a peer that owes news and says nothing at all is disconnected.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Load, Loaded};
use super::ledger::{Asker, HeadError, HeardHead, Ledger, Own, Teller};
use super::presence::Presence;
use super::wire::{Hello, Message, News, Offer, OutlinePage, RequestId};
use super::{Context, Exchanges, Notice, Output, PeerStatus, Refusal, Ticket};
use crate::id::{AuthorityId, LogId, NodeId};
use crate::limits;
use crate::log::Outline;
use crate::time::Timestamp;

/// How often a connected partner is asked for news, in case something was lost.
const POLL: Duration = Duration::from_secs(15);
/// How long changes are collected before a partner is told without asking. Gossip
/// is faster; this is for what it did not carry, relayed catch-up above all.
const TELL: Duration = Duration::from_secs(1);
/// The same for changes that are lines of witnesses and nothing else; they are told
/// earlier with anything that is more urgent.
const TELL_LINES: Duration = Duration::from_secs(4);
/// How long a peer that owes such an answer may say nothing at all. Long, since
/// a peer whose disk is slow does not listen meanwhile; the transport notices
/// earlier whether it is there.
const PATIENCE: Duration = Duration::from_secs(120);
/// Least time between questions that gossip gives rise to.
const PAUSE: Duration = Duration::from_secs(1);
/// Room for bodies in a frame without headers.
const FRAME_ROOM: usize = limits::FRAME_BYTES - 16 * limits::FRAME_ENTRIES;
/// Room for bodies in a frame beside the headers of a whole subtree.
const BODY_ROOM: usize =
    limits::FRAME_BYTES - limits::FRAME_ENTRIES * (limits::HEADER_BYTES + 16) - 1024;

/// Heads that came as news: of others' logs, and of the receiver's own.
pub(super) type Heads = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// One connected peer.
#[derive(Debug)]
struct Session {
    /// Known from its node key, or from its greeting until then.
    authority: Option<AuthorityId>,
    greeted: bool,
    /// Where reading its news stopped.
    seen: Option<Vec<u8>>,
    /// The last cursor before which everything has been fetched.
    safe: Option<Vec<u8>>,
    awaiting: bool,
    /// Change counter up to which it has our news.
    told: u64,
    tell_at: Option<Timestamp>,
    /// When it was asked for news last.
    asked: Timestamp,
    next_step: Timestamp,
    opened: Timestamp,
    loads: usize,
}

/// What a load from storage is for.
#[derive(Debug)]
struct Serving {
    peer: NodeId,
    request: RequestId,
    log: LogId,
    wanted: Wanted,
}

/// What a peer asked for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// An outline of so many bytes.
    Outline(u64),
    Entries {
        log: LogId,
        start: u64,
        count: u64,
        /// The peer has the headers.
        bodies_only: bool,
    },
}

impl Wanted {
    const fn outline_bytes(self) -> u64 {
        match self {
            Self::Outline(bytes) => bytes,
            Self::Entries { .. } => 0,
        }
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<NodeId, Session>,
    serving: BTreeMap<Ticket, Serving>,
    /// The newest change that everybody was or is to be told of.
    newest: u64,
    /// Peers of whose news it is not written down yet that they were heard.
    unsettled: BTreeSet<NodeId>,
    /// Whether news came since these were looked at.
    heard: bool,
    /// Persisted cursors by authority.
    cursors: BTreeMap<AuthorityId, Vec<u8>>,
}

impl Sessions {
    pub(super) fn new(cursors: Vec<(AuthorityId, Vec<u8>)>) -> Self {
        Self { cursors: cursors.into_iter().collect(), ..Self::default() }
    }

    /// Connected peers, for showing.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.open.iter().map(|(node, session)| PeerStatus {
            node: *node,
            authority: session.authority,
            greeted: session.greeted,
            heard: session.greeted && !session.awaiting,
        })
    }

    pub(super) fn connected(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        own: AuthorityId,
        run: [u8; 16],
    ) {
        if self.open.len() >= limits::PEERS {
            cx.out.refuse_peer(peer, Refusal::TooManyPeers);
            return;
        }
        let authority = cx.ledger.authority_of(&peer);
        let safe = authority.and_then(|authority| self.cursors.get(&authority)).cloned();
        let hello = Hello {
            network: cx.ledger.network().clone(),
            authority: own,
            run,
            cursor: safe.clone(),
        };
        let session = Session {
            authority,
            greeted: false,
            seen: safe.clone(),
            safe,
            awaiting: true,
            told: 0,
            tell_at: None,
            asked: cx.now,
            next_step: cx.now.after(PATIENCE),
            opened: cx.now,
            loads: 0,
        };
        self.open.insert(peer, session);
        cx.out.send(peer, &Message::Hello(hello));
    }

    pub(super) fn disconnected(&mut self, peer: &NodeId) {
        self.open.remove(peer);
        self.serving.retain(|_, serving| serving.peer != *peer);
    }

    /// Forgets all sessions; the driver has ended the connections.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.unsettled.clear();
        self.serving.clear();
    }

    pub(super) fn is_open(&self, peer: &NodeId) -> bool {
        self.open.contains_key(peer)
    }

    /// A greeting: answered with the news since the cursor it names.
    pub(super) fn hello(
        &mut self,
        cx: &mut Context<'_>,
        presence: &mut Presence,
        peer: NodeId,
        hello: &Hello,
    ) {
        let Some(session) = self.open.get_mut(&peer) else { return };
        if hello.network != *cx.ledger.network() {
            return cx.out.refuse_peer(peer, Refusal::WrongNetwork);
        }
        if session.greeted {
            return cx.out.refuse_peer(peer, Refusal::Protocol);
        }
        let known = cx.ledger.authority_of(&peer);
        if known.is_some_and(|known| known != hello.authority) {
            return cx.out.refuse_peer(peer, Refusal::WrongIdentity);
        }
        session.greeted = true;
        session.authority = Some(hello.authority);
        // It may have what is missing of logs that were closed.
        cx.ledger.unsettle_closed();
        // Another run of it comes before the news, which would let it sign.
        let is_new = presence.greeted(cx, peer, hello.run);
        session.tell(cx, peer, hello.cursor.as_deref(), Own::All);
        if is_new {
            let seen = Message::Seen { node: peer, run: hello.run };
            let others = self.open.iter().filter(|(node, other)| other.greeted && **node != peer);
            for (node, _) in others.take(limits::RUN_HINTS) {
                cx.out.send(*node, &seen);
            }
        }
    }

    pub(super) fn since(&mut self, cx: &mut Context<'_>, peer: NodeId, cursor: Option<&[u8]>) {
        match self.open.get_mut(&peer).filter(|session| session.greeted) {
            Some(session) => session.tell(cx, peer, cursor, Own::Bare),
            None => cx.out.refuse_peer(peer, Refusal::Protocol),
        }
    }

    /// There may be changes that can be told: partners hear of them soon.
    pub(super) fn changed(&mut self, cx: &Context<'_>) {
        let newest = cx.ledger.newest_change();
        if newest <= self.newest {
            return;
        }
        let urgent = cx.ledger.is_urgent_since(self.newest);
        let at = cx.now.after(if urgent { TELL } else { TELL_LINES });
        self.newest = newest;
        for session in self.open.values_mut().filter(|session| session.greeted) {
            if session.told < newest {
                session.tell_at = Some(session.tell_at.map_or(at, |known| known.min(at)));
            }
        }
    }

    fn tell_changes(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = |session: &Session| session.tell_at.is_some_and(|at| at <= now);
        for (peer, session) in self.open.iter_mut().filter(|(_, session)| due(session)) {
            session.tell_at = None;
            let (news, offers) = cx.ledger.news(session.told, session.asker(*peer), Own::IfMoved);
            let told =
                core::mem::replace(&mut session.told, cx.ledger.read_cursor(Some(&news.cursor)));
            if news.more {
                session.tell_at = Some(now.after(TELL));
            }
            let nothing = news.heads.is_empty()
                && news.identities.is_empty()
                && news.evidence.is_empty()
                && news.own.is_empty();
            // Even if it told us all of it: its cursor moves past what it need not hear.
            // With offers that has time until there is news; till then it hears them twice.
            if session.told > told && (!nothing || offers.is_empty()) {
                cx.out.send(*peer, &Message::News(News { more: false, ..news }));
            }
            offer(cx, *peer, offers);
        }
    }

    /// A frame came: a peer that owes an answer is at work, and may have more
    /// before it in the same stream.
    pub(super) fn alive(&mut self, now: Timestamp, peer: &NodeId) {
        if let Some(session) = self.open.get_mut(peer).filter(|session| session.awaiting) {
            session.next_step = now.after(PATIENCE);
        }
    }

    /// News: chains are verified and kept; heads are returned, of others' logs
    /// first, then of the receiver's own. `None` if nothing may be made of it.
    pub(super) fn news(&mut self, cx: &mut Context<'_>, peer: NodeId, news: News) -> Option<Heads> {
        let session = self.open.get_mut(&peer)?;
        let mut refused = false;
        for events in news.identities {
            use crate::identity::IdentityError::{Size, Unsupported};
            let teller = Some(Teller { peer, at: cx.now });
            match cx.ledger.accept_identity(teller, events, cx.out) {
                Ok(true) | Err(Unsupported | Size) => {}
                Ok(false) => {
                    if !core::mem::replace(&mut refused, true) {
                        cx.out.refused(Some(peer), None, Refusal::TooManyAuthorities);
                    }
                }
                Err(_) => {
                    cx.out.refuse_peer(peer, Refusal::BadIdentity);
                    return None;
                }
            }
        }
        let known = cx.ledger.authority_of(&peer);
        if session.greeted && known.is_some() && known != session.authority {
            cx.out.refuse_peer(peer, Refusal::WrongIdentity);
            return None;
        }
        session.seen = Some(news.cursor);
        session.awaiting = news.more;
        if session.seen != session.safe {
            self.unsettled.insert(peer);
            self.heard = true;
        }
        session.next_step = cx.now.after(if news.more { PATIENCE } else { POLL });
        if news.more {
            cx.out.send(peer, &Message::Since { cursor: session.seen.clone() });
        }
        Some((news.heads, news.own))
    }

    /// Asks for news soon, because a head by an unknown author was heard.
    pub(super) fn hurry(&mut self, cx: &mut Context<'_>, peer: NodeId) {
        let Some(session) = self.open.get_mut(&peer) else { return };
        if session.greeted && !session.awaiting {
            session.next_step = session.next_step.min(session.asked.after(PAUSE));
            session.ask(cx, peer);
        }
    }

    /// Polls whose time has come, and disconnects peers that do not answer.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>, exchanges: &mut Exchanges) {
        self.tell_changes(cx);
        let now = cx.now;
        for (peer, session) in self.open.iter_mut().filter(|(_, s)| s.next_step <= now) {
            let peer = *peer;
            if session.awaiting || !session.greeted {
                session.next_step = cx.now.after(PATIENCE);
                // While we take nothing in, the answer may be there unread.
                if exchanges.accepts() {
                    cx.out.refuse_peer(peer, Refusal::Silent);
                }
                continue;
            }
            if exchanges.take_abandoned(&peer) {
                // Something it told us was not fetched: hear it all again.
                session.seen = session.safe.clone();
            }
            session.ask(cx, peer);
        }
    }

    /// Writes down how far a peer's news were heard, as soon as everything they
    /// told of is here; so that even after a short visit only what is new is told.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>, exchanges: &mut Exchanges) {
        if !exchanges.take_ended() && !core::mem::replace(&mut self.heard, false) {
            return;
        }
        let Self { open, unsettled, cursors, .. } = self;
        unsettled.retain(|peer| {
            let Some(session) = open.get_mut(peer) else { return false };
            if session.awaiting || exchanges.depends_on(peer) || exchanges.has_abandoned(peer) {
                return true;
            }
            session.safe.clone_from(&session.seen);
            // Only for whom its node key says it is, or a stranger could
            // make us skip the news of somebody else.
            let authority = cx.ledger.authority_of(peer);
            if let (Some(authority), Some(cursor)) = (authority, &session.safe)
                && cursors.get(&authority) != Some(cursor)
            {
                cursors.insert(authority, cursor.clone());
                cx.out.push(Output::StoreCursor { authority, cursor: cursor.clone() });
            }
            false
        });
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let steps = self.open.values().map(|session| session.next_step);
        let tellings = self.open.values().filter_map(|session| session.tell_at);
        steps.chain(tellings).min()
    }

    pub(super) fn want_outline(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        id: RequestId,
        (log, from, size): (LogId, u64, u64),
    ) {
        let stored = cx.ledger.log(&log).map_or(0, |slot| slot.stored.size());
        let outline = size.saturating_sub(from) / limits::SUBTREE_ENTRIES * 32;
        let large = |bytes: u64| bytes > limits::OUTLINE_LOAD_BYTES;
        // Large ones are read one after the other.
        let busy = large(outline)
            && self
                .serving
                .values()
                .any(|other| other.peer == peer && large(other.wanted.outline_bytes()));
        let load = Load::Outline { log, from, size };
        self.load(
            cx,
            Serving { peer, request: id, log, wanted: Wanted::Outline(outline) },
            load,
            from <= size && size <= stored && !busy && self.may_see(cx.ledger, &peer, &log),
        );
    }

    pub(super) fn want_entries(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        id: RequestId,
        (log, start, end): (LogId, u64, u64),
    ) {
        let load = Load::Entries { log, start, end, bytes: BODY_ROOM };
        let count = end.saturating_sub(start);
        let wanted = Wanted::Entries { log, start, count, bodies_only: false };
        let servable = self.is_servable(cx.ledger, &peer, &log, start, end);
        self.load(cx, Serving { peer, request: id, log, wanted }, load, servable);
    }

    pub(super) fn want_bodies(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        id: RequestId,
        (log, start, end): (LogId, u64, u64),
    ) {
        // What must be hidden is found by the headers.
        let headers = cx.ledger.erased.concerns(&log);
        let load = Load::Bodies { log, start, end, bytes: FRAME_ROOM, headers };
        let count = end.saturating_sub(start);
        let wanted = Wanted::Entries { log, start, count, bodies_only: true };
        let servable = self.is_servable(cx.ledger, &peer, &log, start, end);
        self.load(cx, Serving { peer, request: id, log, wanted }, load, servable);
    }

    /// Whether entries are in one subtree and may be served.
    fn is_servable(
        &self,
        ledger: &Ledger,
        peer: &NodeId,
        log: &LogId,
        start: u64,
        end: u64,
    ) -> bool {
        let stored = ledger.log(log).map_or(0, |slot| slot.stored.size());
        let last = end.saturating_sub(1) / limits::SUBTREE_ENTRIES;
        start < end
            && end <= stored
            && start / limits::SUBTREE_ENTRIES == last
            && self.may_see(ledger, peer, log)
    }

    /// Whether a log is the business of a peer: of whom its node key says it is.
    fn may_see(&self, ledger: &Ledger, peer: &NodeId, log: &LogId) -> bool {
        let authority = ledger.authority_of(peer);
        ledger.may_see(authority.as_ref(), log)
    }

    fn load(&mut self, cx: &mut Context<'_>, serving: Serving, load: Load, servable: bool) {
        let Some(session) = self.open.get_mut(&serving.peer) else { return };
        if !servable || !session.greeted || session.loads >= limits::LOADS_PER_PEER {
            cx.out.send(serving.peer, &Message::Refused { id: serving.request });
            return;
        }
        session.loads += 1;
        let ticket = cx.out.ticket();
        self.serving.insert(ticket, serving);
        cx.out.push(Output::Load(ticket, load));
    }

    /// Storage answered: the peer gets its outline or entries.
    pub(super) fn loaded(&mut self, cx: &mut Context<'_>, ticket: Ticket, loaded: Loaded) {
        let Some(serving) = self.serving.remove(&ticket) else { return };
        let (peer, id) = (serving.peer, serving.request);
        if let Some(session) = self.open.get_mut(&peer) {
            session.loads = session.loads.saturating_sub(1);
        }
        if !self.may_see(cx.ledger, &peer, &serving.log) {
            // It was removed from the group while we read for it.
            return cx.out.send(peer, &Message::Refused { id });
        }
        let answer = match (serving.wanted, loaded) {
            (Wanted::Outline(_), Loaded::Outline(outline)) => {
                return send_outline(cx, peer, id, &outline);
            }
            (wanted, Loaded::Entries { headers, bodies }) => {
                answer(cx.ledger, wanted, headers, bodies)
            }
            _ => None,
        };
        if let Some((headers, bodies)) = answer {
            cx.out.send(peer, &Message::Entries { id, headers, bodies });
        } else {
            cx.out.push(Output::Notify(Notice::ReadFailed { peer }));
            cx.out.send(peer, &Message::Refused { id });
        }
    }

    /// Heads that came as news, verified; the others are reported.
    pub(super) fn verify_heads(
        cx: &mut Context<'_>,
        peer: NodeId,
        notes: &[Vec<u8>],
    ) -> Vec<HeardHead> {
        let mut heads = Vec::new();
        for note in notes {
            match cx.ledger.verify_head(note) {
                Ok(head) => heads.push(head),
                Err(HeadError::Known | HeadError::Retired) => {}
                Err(HeadError::Unknown) => cx.out.refused(Some(peer), None, Refusal::UnknownAuthor),
                Err(HeadError::Refused(refusal)) => {
                    cx.out.refuse_peer(peer, refusal);
                    break;
                }
            }
        }
        heads
    }
}

impl Session {
    const fn asker(&self, peer: NodeId) -> Asker {
        Asker { peer, authority: self.authority, since: self.opened }
    }

    /// Answers with what changed since a cursor of ours.
    fn tell(&mut self, cx: &mut Context<'_>, peer: NodeId, cursor: Option<&[u8]>, own: Own) {
        let since = cx.ledger.read_cursor(cursor);
        let (news, offers) = cx.ledger.news(since, self.asker(peer), own);
        self.told = cx.ledger.read_cursor(Some(&news.cursor));
        cx.out.send(peer, &Message::News(news));
        offer(cx, peer, offers);
    }

    /// Asks for news, if it is time.
    fn ask(&mut self, cx: &mut Context<'_>, peer: NodeId) {
        if self.next_step <= cx.now {
            self.awaiting = true;
            self.asked = cx.now;
            self.next_step = cx.now.after(PATIENCE);
            cx.out.send(peer, &Message::Since { cursor: self.seen.clone() });
        }
    }
}

fn offer(cx: &mut Context<'_>, peer: NodeId, offers: Vec<Offer>) {
    if !offers.is_empty() {
        cx.out.send(peer, &Message::Offers(offers));
    }
}

/// Headers and bodies of entries.
type Entries = (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>);

/// What a peer gets of what storage gave, if that is what was asked for and fits
/// into a frame: nothing that is erased.
fn answer(
    ledger: &Ledger,
    wanted: Wanted,
    mut headers: Vec<Vec<u8>>,
    mut bodies: Vec<Option<Vec<u8>>>,
) -> Option<Entries> {
    let Wanted::Entries { log, start, count, bodies_only } = wanted else { return None };
    let known = headers.len();
    let veils = ledger.erased.concerns(&log);
    let whole = if bodies_only { !veils || known == bodies.len() } else { known as u64 == count };
    if !whole || bodies.len() as u64 > count {
        return None;
    }
    let header_bytes: usize = headers.iter().map(|header| header.len() + 3).sum();
    let taken = if bodies_only { 0 } else { header_bytes } + 64;
    let room = limits::FRAME_BYTES.checked_sub(taken)?;
    if veils {
        ledger.erased.veil(&log, start, &headers, &mut bodies, room);
    }
    if bodies_only {
        headers.clear();
    }
    let body_bytes: usize =
        bodies.iter().map(|body| body.as_ref().map_or(1, |b| b.len() + 5)).sum();
    let something = !headers.is_empty() || !bodies.is_empty();
    (something && body_bytes <= room).then_some((headers, bodies))
}

fn send_outline(cx: &mut Context<'_>, peer: NodeId, id: RequestId, outline: &Outline) {
    let mut pages = outline.subtrees.chunks(limits::OUTLINE_HASHES).peekable();
    let mut proof = Some(outline.proof.clone());
    loop {
        let subtrees = pages.next().unwrap_or_default().to_vec();
        let last = pages.peek().is_none();
        let tail = outline.tail.filter(|_| last);
        let page = OutlinePage { id, proof: proof.take(), subtrees, last, tail };
        cx.out.send(peer, &Message::OutlinePage(page));
        if last {
            break;
        }
    }
}
