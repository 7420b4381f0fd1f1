//! Heads that are smaller than ours: whether they are of the history we hold.
//!
//! Most of them are, and are told by partners who are a little behind. One that is
//! not proves that its author signed two histories, and only whoever holds the
//! larger one can show it: our own storage gives the consistency proof from that
//! size to our head, which contains the root that our history has there.
//!
//! ```text
//! smaller head, verified ──► one of those we had ──► nothing
//!                       └──► waits ──► Load::Proof ──► our root there ──► nothing
//!                           (so many a second)    └──► another one ──► evidence
//! ```
//!
//! What a fork says of where the histories part, see [`crate::equivocation::Fork`].
//!
//! **Invariants:** evidence rests on nothing but two heads under the key of now and a
//! proof of our own; one head is read for at a time, so many a second whoever asks,
//! and what waits is bounded for each peer, so that none can keep another's from
//! being looked at. Deliberately absent: heads of our own size, which the ledger
//! compares at once, larger ones, which are fetched (`exchange`), and closed logs,
//! of which it is settled what stands.

use core::time::Duration;
use std::collections::BTreeMap;

use super::effect::{Load, Loaded};
use super::{Context, Exchanges, Output, Refusal, Ticket};
use crate::checkpoint::VerifiedCheckpoint;
use crate::equivocation::Evidence;
use crate::id::{AuthorityId, LogId, NodeId};
use crate::limits;
use crate::log::shown_old_root;
use crate::time::Timestamp;
use crate::witness::Seen;

/// Time between two reads.
const PAUSE: Duration = Duration::from_millis(1000 / limits::COMPARISONS_PER_SECOND);

/// What waits to be compared, and what is being.
#[derive(Debug, Default)]
pub(super) struct Contest {
    waiting: BTreeMap<(NodeId, LogId), VerifiedCheckpoint>,
    /// Whose turn it was last.
    last: Option<(NodeId, LogId)>,
    /// When the next may be read.
    next: Timestamp,
    reading: Option<(Ticket, Comparison)>,
}

#[derive(Debug)]
struct Comparison {
    peer: NodeId,
    log: LogId,
    ours: VerifiedCheckpoint,
    other: VerifiedCheckpoint,
}

impl Contest {
    /// A verified head that a peer told of. Smaller ones than ours are compared.
    pub(super) fn heard(
        &mut self,
        cx: &Context<'_>,
        peer: NodeId,
        log: LogId,
        head: &VerifiedCheckpoint,
    ) {
        let known = self.waiting.contains_key(&(peer, log));
        let of_peer = || {
            let begin = (peer, LogId::public(AuthorityId::from_bytes([0; 32]), 0));
            self.waiting.range(begin..).take_while(|((other, _), _)| *other == peer).count()
        };
        if is_open(cx, &log, head) && !known && of_peer() < limits::COMPARISONS_PER_PEER {
            self.waiting.insert((peer, log), head.clone());
        }
    }

    /// Reads for the next that waits, if it is time.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>) {
        while self.reading.is_none() && self.next <= cx.now {
            let after = self.last.and_then(|last| {
                use core::ops::Bound::{Excluded, Unbounded};
                self.waiting.range((Excluded(last), Unbounded)).next()
            });
            let turn = after.or_else(|| self.waiting.first_key_value()).map(|(key, _)| *key);
            let Some((peer, log)) = turn else { return };
            self.last = turn;
            let Some(other) = self.waiting.remove(&(peer, log)) else { return };
            let ours = cx.ledger.log(&log).and_then(|slot| slot.head.clone());
            // Much may have happened while it waited.
            let Some(ours) = ours.filter(|_| is_open(cx, &log, &other)) else { continue };
            self.next = cx.now.after(PAUSE);
            let (old, new) = (other.checkpoint().size(), ours.checkpoint().size());
            let ticket = cx.out.ticket();
            self.reading = Some((ticket, Comparison { peer, log, ours, other }));
            cx.out.push(Output::Load(ticket, Load::Proof { log, old, new }));
        }
    }

    /// Whether a load was asked for here.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.reading.as_ref().is_some_and(|(asked, _)| *asked == ticket)
    }

    /// Our own storage gave the proof that leads from the one head to the other.
    pub(super) fn loaded(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        loaded: &Loaded,
    ) {
        let Some((_, Comparison { peer, log, ours, other })) = self.reading.take() else { return };
        // If it could not be read, the next such head tries again.
        let Loaded::Proof(proof) = loaded else { return };
        let (old, new) = (Seen::from(&other), Seen::from(&ours));
        match shown_old_root(old.size, new.size, &new.root, proof) {
            // Not the history under our head: it was set aside meanwhile.
            Err(_) => {}
            Ok(root) if root == old.root => cx.ledger.is_of_ours(&log, old),
            Ok(_) => {
                let evidence = cx
                    .ledger
                    .identity(&log.authority)
                    .map(|author| Evidence::of_shown_fork(author, [&ours, &other], proof));
                if let Some(Ok(evidence)) = evidence {
                    cx.ledger.convict(evidence, None, cx.out);
                    exchanges.forget(&log);
                    cx.out.refused(Some(peer), Some(log), Refusal::Fork);
                } else {
                    // Of two keys, say; that proves nothing, and freezes nothing.
                    cx.out.refused(Some(peer), Some(log), Refusal::Inconsistent);
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        (self.reading.is_none() && !self.waiting.is_empty()).then_some(self.next)
    }
}

/// Whether it is an open question if a head is of the history that we hold.
fn is_open(cx: &Context<'_>, log: &LogId, head: &VerifiedCheckpoint) -> bool {
    let seen = Seen::from(head);
    let smaller = cx.ledger.log(log).is_some_and(|slot| {
        !slot.disputed && seen.size > 0 && seen.size < slot.head_size() && !slot.had(seen)
    });
    smaller
        && cx.ledger.closing(log).is_none()
        && !cx.ledger.is_reverting(log)
        && cx.ledger.is_current(head, log)
}
