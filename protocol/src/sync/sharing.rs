//! What members of private groups tell each other: signed heads of the group's
//! logs, on the sync stream, to members only.
//!
//! ```text
//! a head moved, somebody joined, a session began ──► a moment later, to each member
//! connected: the heads that it was not told yet ──► it fetches what it lacks
//! ```
//!
//! Everything else is as with public logs: entries are asked for by whoever
//! lacks them, and checked against the signed head. Members tell of each
//! other's logs, so they relay for whoever is away. Nobody tells a head twice, so
//! one that means nothing yet waits ([`waiting`]), and whom we come to know late is
//! told then.
//!
//! **Invariants** (3 of the design): no frame that mentions a group goes to whom
//! the group's membership does not name, but for our own log to those who
//! invited us; nothing that happens in a group changes what others are sent, or
//! when, or what their cursors say; whoever asks for a log of a group that is
//! not its business is answered as for one that does not exist. Deliberately
//! absent: gossip, cosignatures and evidence for group logs.

mod waiting;

use core::time::Duration;
use std::collections::BTreeMap;

use self::waiting::Waiting;
use super::authoring::Authoring;
use super::ledger::HeadError;
use super::wire::{GroupHead, Message};
use super::{Context, Exchanges, Notice, Output, Refusal, Sessions};
use crate::id::{GroupId, LogId, NodeId, Space};
use crate::limits;
use crate::time::Timestamp;

/// How long after a change members are told: more may follow.
const TELL: Duration = Duration::from_millis(250);
/// Bytes of heads in one frame.
const ROOM: usize = limits::FRAME_BYTES / 2;

/// Whom we have told what.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// The newest move that each connected peer was told of, if it was its business.
    told: BTreeMap<NodeId, u64>,
    /// The newest move that everybody was or is to be told of.
    newest: u64,
    tell_at: Option<Timestamp>,
    /// Heads that we were told and could not judge yet.
    waiting: Waiting,
    /// How often chains, and memberships, had changed when those were looked at.
    known: (u64, u64),
}

impl Sharing {
    /// A peer is gone: it will be told everything anew.
    pub(super) fn disconnected(&mut self, peer: &NodeId) {
        self.told.remove(peer);
        self.waiting.forget(peer);
    }

    /// A peer greets: it is told at once, before the news that would let it go on
    /// signing, in case we know more of its own logs than it does.
    pub(super) fn greeted(&mut self, cx: &mut Context<'_>, peer: NodeId) {
        self.told.remove(&peer);
        self.tell(cx, peer);
    }

    /// Tells a peer what it was not told yet and is its business.
    fn tell(&mut self, cx: &mut Context<'_>, peer: NodeId) {
        // Whom its node key names, or a stranger could pass for a member.
        let Some(authority) = cx.ledger.authority_of(&peer) else { return };
        let newest = cx.ledger.groups.newest();
        let since = self.told.insert(peer, newest).unwrap_or(0);
        let moved = cx.ledger.groups.moves(since).map(|(_, log)| log);
        let logs: Vec<LogId> =
            moved.filter(|log| cx.ledger.may_see(Some(&authority), log)).collect();
        send(cx, peer, &logs);
    }

    /// Tells what is due, and notes what has changed.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>, sessions: &Sessions) {
        for group in cx.ledger.groups.take_changed() {
            cx.out.push(Output::Notify(Notice::GroupChanged { group }));
        }
        if cx.ledger.groups.newest() > self.newest {
            self.newest = cx.ledger.groups.newest();
            self.tell_at.get_or_insert(cx.now.after(TELL));
        }
        if self.tell_at.is_some_and(|at| at <= cx.now) {
            self.tell_at = None;
            for peer in sessions.peers().filter(|peer| peer.greeted) {
                self.tell(cx, peer.node);
            }
        }
    }

    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        self.tell_at
    }

    /// Judges once more what waited, if anybody is known now who was not; and whom we
    /// have come to know may be a member, and was told nothing.
    pub(super) fn recall(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        authoring: &mut Authoring,
    ) {
        let known = (cx.ledger.stirs(), cx.ledger.groups.merges());
        let before = core::mem::replace(&mut self.known, known);
        if known.0 != before.0 {
            self.tell_at.get_or_insert(cx.now.after(TELL));
        }
        if known != before {
            for (peer, log, note) in self.waiting.take() {
                self.judge(cx, exchanges, authoring, peer, (log, note));
            }
        }
    }

    /// A peer told of heads of a group's logs.
    pub(super) fn heard(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        authoring: &mut Authoring,
        peer: NodeId,
        (group, heads): (GroupId, Vec<GroupHead>),
    ) {
        if !cx.ledger.groups.knows(&group) {
            // As a message of a type that we do not know.
            if cx.ledger.authority_of(&peer).is_some() {
                cx.out.standings.unknown(peer, 0);
            }
            return;
        }
        for GroupHead { authority, generation, note } in heads {
            let log = LogId { authority, space: Space::Group(group), generation };
            self.judge(cx, exchanges, authoring, peer, (log, note));
        }
    }

    /// A peer told of a head of a group's log, now or before.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        authoring: &mut Authoring,
        peer: NodeId,
        (log, note): (LogId, Vec<u8>),
    ) {
        if cx.out.closing.contains(&peer) {
            return;
        }
        let teller = cx.ledger.authority_of(&peer);
        let Some(teller) = teller.filter(|teller| cx.ledger.may_tell(teller, &log)) else {
            return self.waiting.keep(peer, log, note);
        };
        cx.ledger.vouch(&teller, &log);
        match cx.ledger.verify_group_head(&log, &note) {
            Ok(head) if log.authority == authoring.authority() => {
                authoring.claimed_in_group(cx, exchanges, peer, (log, head));
            }
            Ok(head) if cx.ledger.contradicts(&log, &head, cx.out) => {
                cx.out.refused(Some(peer), Some(log), Refusal::Fork);
                exchanges.forget(&log);
            }
            Ok(head) => exchanges.announced(cx, peer, log, head),
            Err(HeadError::Refused(refusal)) => cx.out.refuse_peer(peer, refusal),
            Err(HeadError::Unknown) => self.waiting.keep(peer, log, note),
            Err(HeadError::Known | HeadError::Retired) => {}
        }
    }
}

/// Sends the heads of logs, those of one group in a frame.
fn send(cx: &mut Context<'_>, peer: NodeId, logs: &[LogId]) {
    let mut groups: BTreeMap<GroupId, Vec<GroupHead>> = BTreeMap::new();
    for log in logs {
        let (Space::Group(group), Some(slot)) = (log.space, cx.ledger.log(log)) else { continue };
        if let Some(head) = &slot.head {
            let (authority, generation, note) = (log.authority, log.generation, head.to_bytes());
            groups.entry(group).or_default().push(GroupHead { authority, generation, note });
        }
    }
    for (group, heads) in groups {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for head in heads {
            if bytes > ROOM || frame.len() >= limits::NEWS_ITEMS {
                let heads = core::mem::take(&mut frame);
                cx.out.send(peer, &Message::GroupHeads { group, heads });
                bytes = 0;
            }
            bytes += head.note.len();
            frame.push(head);
        }
        cx.out.send(peer, &Message::GroupHeads { group, heads: frame });
    }
}
