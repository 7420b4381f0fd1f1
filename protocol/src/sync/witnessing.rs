//! Cosignatures inside the network: we cosign the logs whose authors name us as
//! witness, and pass on what others have cosigned.
//!
//! ```text
//! head durable here ──► Output::Cosign ──► Input::Cosigned ──► to the author, if
//!  (named as witness,    (decided and       (a line)            connected; else
//!   once a second)        journalled first)                     with our own news
//!
//! lines that come ──► gathered for a while ──► stored with the head, told as news
//! ```
//!
//! A line travels to the author directly, who tells all partners of many at
//! once; so a head is told about twice, not once for each witness.
//!
//! **Invariants:** only heads that are durable here, under a current key and not
//! in dispute are offered for cosigning; only lines that were verified under the
//! witness key of somebody the author names are kept. Deliberately absent: what
//! was cosigned before, which storage keeps and decides upon
//! ([`crate::witness`]), and witnesses outside of the network.

use core::time::Duration;
use std::collections::BTreeMap;

use super::doubt::GRACE;
use super::effect::Cosign;
use super::ledger::{Ledger, Slot};
use super::wire::Message;
use super::{Context, Output, Refusal, Sessions, Ticket};
use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::id::{AuthorityId, LogId, NodeId};
use crate::identity::Identity;
use crate::note::{SignatureLine, VerifierKey};
use crate::time::Timestamp;
use crate::witness::Seen;

/// Shortest time between two cosignatures of ours for one log.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a head that waits for partners to be heard is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long lines are gathered before they are told.
const GATHER: Duration = Duration::from_secs(2);

/// What is being done about cosignatures.
#[derive(Debug)]
pub(super) struct Witnessing {
    own: AuthorityId,
    /// Logs found at the start, until the first input tells the time.
    found: Vec<LogId>,
    /// Logs whose newest head is to be cosigned, and when.
    due: BTreeMap<LogId, Timestamp>,
    /// When those that wait for partners to be heard are looked at again.
    look: Timestamp,
    /// When each was cosigned last.
    last: BTreeMap<LogId, Timestamp>,
    asked: BTreeMap<Ticket, LogId>,
    /// The largest heads that bear a line of ours. After a return to an older
    /// state, others know more of them than we do.
    promised: BTreeMap<LogId, Seen>,
    /// Heads with lines that are not stored yet.
    gathered: BTreeMap<LogId, Gathered>,
}

#[derive(Debug)]
struct Gathered {
    head: VerifiedCheckpoint,
    until: Timestamp,
}

impl Witnessing {
    /// For the witness of authority `own`, who looks at every log it holds.
    pub(super) fn new(own: AuthorityId, ledger: &Ledger) -> Self {
        Self {
            own,
            found: ledger.logs().map(|(log, _)| *log).collect(),
            due: BTreeMap::new(),
            look: Timestamp::ZERO,
            last: BTreeMap::new(),
            asked: BTreeMap::new(),
            promised: BTreeMap::new(),
            gathered: BTreeMap::new(),
        }
    }

    /// A log has a newer durable head.
    pub(super) fn advanced(&mut self, cx: &Context<'_>, log: LogId) {
        if cx.ledger.is_witness(&self.own, &log.authority) {
            let earliest = self.last.get(&log).map_or(cx.now, |last| last.after(PAUSE));
            self.due.entry(log).or_insert(earliest.max(cx.now));
        }
    }

    /// We have met an author: what we cosigned may not have reached it.
    pub(super) fn met(&mut self, cx: &Context<'_>, author: AuthorityId) {
        if let Some(generation) = cx.ledger.identity(&author).map(Identity::generation) {
            self.advanced(cx, LogId::public(author, generation));
        }
    }

    /// Offers heads whose time has come, unless what we hold may be old, and
    /// stores what was gathered.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>, sessions: &Sessions, is_old: bool) {
        for log in core::mem::take(&mut self.found) {
            self.advanced(cx, log);
        }
        if !is_old {
            self.offer(cx, sessions);
        }
        let now = cx.now;
        let full: Vec<LogId> =
            self.gathered.iter().filter(|(_, g)| g.until <= now).map(|(log, _)| *log).collect();
        for log in full {
            if let Some(gathered) = self.gathered.remove(&log) {
                store(cx, log, gathered.head);
            }
        }
    }

    fn offer(&mut self, cx: &mut Context<'_>, sessions: &Sessions) {
        let now = cx.now;
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<(LogId, Timestamp)> = due.map(|(log, at)| (*log, *at)).collect();
        if due.is_empty() {
            return;
        }
        // Somebody who has just come may know what we have cosigned.
        let all_heard = sessions.peers().all(|peer| peer.heard);
        for (log, at) in due {
            if !all_heard && now.since(at) < GRACE {
                self.look = now.after(LOOK);
                continue;
            }
            self.due.remove(&log);
            if let Some(head) = self.uncosigned(cx.ledger, &log) {
                let ticket = cx.out.ticket();
                self.asked.insert(ticket, log);
                self.last.insert(log, now);
                let promised = self.promised.get(&log).copied();
                cx.out.push(Output::Cosign(ticket, Cosign { log, head, promised }));
            }
        }
    }

    /// The head of a log that we are to cosign and have not.
    fn uncosigned(&self, ledger: &Ledger, log: &LogId) -> Option<VerifiedCheckpoint> {
        let slot = ledger.log(log).filter(|slot| !slot.disputed)?;
        let head = slot.head.as_ref()?;
        let key = ledger.witness_key_of(&self.own)?;
        let open = ledger.is_current(head, log);
        let named = ledger.is_witness(&self.own, &log.authority);
        let done = head.cosignatures().any(|signer| signer.key == key);
        (named && open && !done).then(|| head.clone())
    }

    /// Storage has decided, and we have signed; `None` if it must not be.
    pub(super) fn cosigned(
        &mut self,
        cx: &mut Context<'_>,
        sessions: &Sessions,
        ticket: Ticket,
        line: Option<&str>,
    ) {
        let Some(log) = self.asked.remove(&ticket) else { return };
        let Some(line) = line else { return };
        let Some(size) = cx.ledger.log(&log).map(Slot::head_size) else { return };
        let author = sessions
            .peers()
            .find(|peer| peer.greeted && cx.ledger.authority_of(&peer.node) == Some(log.authority));
        match author {
            Some(author) => {
                cx.out.send(author.node, &Message::Cosigned { log, size, line: line.to_owned() });
            }
            None => _ = self.take(cx, log, size, line),
        }
    }

    /// A witness says that it has cosigned a head of ours.
    pub(super) fn heard(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        (log, size): (LogId, u64),
        line: &str,
    ) {
        if log.authority == self.own && self.take(cx, log, size, line).is_err() {
            cx.out.refuse_peer(peer, Refusal::BadSignature);
        }
    }

    /// Adds a line to the head of this size, if it is the newest and the line is
    /// that of a witness; an error if it says so and is not.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        log: LogId,
        size: u64,
        line: &str,
    ) -> Result<(), CheckpointError> {
        let Ok(line) = line.parse::<SignatureLine>() else { return Ok(()) };
        let Some(newest) = cx.ledger.log(&log).and_then(|slot| slot.head.clone()) else {
            return Ok(());
        };
        let keys = cx.ledger.witness_keys(&log.authority);
        let by = |key: &&VerifierKey| key.name() == line.name() && key.key_id() == line.key_id();
        let Some(key) = keys.iter().find(by).filter(|_| newest.checkpoint().size() == size) else {
            return Ok(());
        };
        let mut head = self.gathering(&log, newest);
        if head.cosignatures().all(|signer| signer.key != *key) {
            head.add(line, key)?;
            self.gather(cx, log, head);
        }
        Ok(())
    }

    /// A verified head that somebody told of: perhaps one we have, with lines that
    /// ours lacks, perhaps one that we have cosigned and know nothing of.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>, log: LogId, copy: &VerifiedCheckpoint) {
        let key = cx.ledger.witness_key_of(&self.own);
        if copy.cosignatures().any(|signer| Some(&signer.key) == key.as_ref()) {
            let seen = Seen::from(copy);
            let known = self.promised.entry(log).or_insert(seen);
            if known.size < seen.size {
                *known = seen;
            }
        }
        let Some(ours) = cx.ledger.log(&log).and_then(|slot| slot.head.clone()) else { return };
        if ours.checkpoint() != copy.checkpoint() {
            return;
        }
        let mut head = self.gathering(&log, ours);
        let before = head.cosignatures().count();
        for signer in copy.cosignatures() {
            let by = |line: &&SignatureLine| {
                line.name() == signer.key.name() && line.key_id() == signer.key.key_id()
            };
            let line = copy.note().lines().iter().find(by);
            if let Some(line) = line
                && head.cosignatures().all(|known| known.key != signer.key)
            {
                // It was verified with the copy; a full note takes no more.
                let _full = head.add(line.clone(), &signer.key);
            }
        }
        if head.cosignatures().count() > before {
            self.gather(cx, log, head);
        }
    }

    /// The newest head with what was gathered for it.
    fn gathering(&self, log: &LogId, newest: VerifiedCheckpoint) -> VerifiedCheckpoint {
        let gathered = self.gathered.get(log).map(|gathered| &gathered.head);
        let same = gathered.filter(|head| head.checkpoint() == newest.checkpoint());
        same.cloned().unwrap_or(newest)
    }

    fn gather(&mut self, cx: &mut Context<'_>, log: LogId, head: VerifiedCheckpoint) {
        let quorum = cx.ledger.identity(&log.authority).map_or(0, |author| author.quorum());
        let lines = head.cosignatures().count();
        // The author tells at once that it is confirmed.
        let enough = log.authority == self.own && quorum > 0 && lines == quorum as usize;
        let known = self.gathered.get(&log).map(|gathered| gathered.until);
        let until = if enough { cx.now } else { known.unwrap_or_else(|| cx.now.after(GATHER)) };
        self.gathered.insert(log, Gathered { head, until });
    }

    /// `is_old`: what we hold may be old, so that nothing is cosigned until that is known.
    pub(super) fn deadline(&self, is_old: bool) -> Option<Timestamp> {
        let due = self.due.values().filter(|_| !is_old).map(|at| (*at).max(self.look));
        let gathered = self.gathered.values().map(|gathered| gathered.until);
        due.chain(gathered).min()
    }
}

/// Stores a head with more lines than before, unless a newer one is there or coming.
fn store(cx: &mut Context<'_>, log: LogId, head: VerifiedCheckpoint) {
    let size = head.checkpoint().size();
    let newest = cx.ledger.log(&log).map_or(0, Slot::staged_head_size);
    if newest == size && !cx.ledger.is_appending(&log) {
        let tree = cx.ledger.staged(&log);
        cx.ledger.append(log, Vec::new(), tree, Some(head.sorted()), None, cx.out);
    }
}
