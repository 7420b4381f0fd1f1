//! Generations of logs that their authors' controllers have closed: what lies
//! up to the closing head stands, whatever lies beyond or on another branch is
//! disowned and set aside.
//!
//! ```text
//! what we hold                        then
//! less than the closing head          it is fetched, as any log
//! the closing head's entries          the closing head becomes its head
//! more, and it continues them         what lies beyond is set aside
//! another branch                      all of it is set aside, and fetched anew
//! ```
//!
//! **Invariants:** a closed log is never disputed and never goes beyond its
//! closing head once this is done; nothing is decided while an append to the
//! log is on its way. Deliberately absent: where what was set aside is kept,
//! which is storage's business, and who may close (see [`crate::identity`]).

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Load, Loaded, Revert};
use super::exchange::rebuild;
use super::ledger::Slot;
use super::{Context, Exchanges, Notice, Output, Sessions, Ticket};
use crate::checkpoint::VerifiedCheckpoint;
use crate::id::LogId;
use crate::log::Frontier;

/// What remains to be done about a log.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing, or it is under way.
    Done,
    /// It lacks entries that stand.
    Fetch,
}

/// The closed logs that need to be looked at, and what is being done about them.
#[derive(Debug, Default)]
pub(super) struct Closings {
    comparing: BTreeMap<Ticket, (LogId, VerifiedCheckpoint)>,
    reverting: BTreeMap<Ticket, Revert>,
    busy: BTreeSet<LogId>,
}

impl Closings {
    /// Looks at the closed logs to which something has happened.
    pub(super) fn settle(
        &mut self,
        cx: &mut Context<'_>,
        exchanges: &mut Exchanges,
        sessions: &Sessions,
    ) {
        while let Some(log) = cx.ledger.take_unsettled() {
            if !self.busy.contains(&log) && self.examine(cx, exchanges, log) == Next::Fetch {
                pursue(cx, exchanges, sessions, log);
            }
        }
    }

    fn examine(&mut self, cx: &mut Context<'_>, exchanges: &mut Exchanges, log: LogId) -> Next {
        let Some(closing) = cx.ledger.closing_head(&log) else { return Next::Done };
        let (size, root) = (closing.checkpoint().size(), closing.checkpoint().root());
        if exchanges.reach(&log).is_some_and(|reach| reach != size) {
            // What was to be fetched is disowned.
            exchanges.forget(&log);
        }
        if cx.ledger.is_appending(&log) {
            return Next::Done;
        }
        let Some(slot) = cx.ledger.log(&log).filter(|slot| slot.stored.size() >= size) else {
            return Next::Fetch;
        };
        if slot.stored.size() > size {
            let ticket = cx.out.ticket();
            self.busy.insert(log);
            self.comparing.insert(ticket, (log, closing));
            cx.out.push(Output::Load(ticket, Load::Outline { log, from: 0, size }));
        } else if slot.stored.root() != root {
            self.revert(cx, log, 0, None);
        } else if slot.head_size() < size {
            let tree = slot.stored.clone();
            cx.ledger.append(log, Vec::new(), tree, Some(closing), None, cx.out);
        }
        Next::Done
    }

    /// What we hold of a closed log is another branch than its author stands by.
    pub(super) fn strays(&mut self, cx: &mut Context<'_>, log: LogId) {
        if !self.busy.contains(&log) {
            self.revert(cx, log, 0, None);
        }
    }

    fn revert(
        &mut self,
        cx: &mut Context<'_>,
        log: LogId,
        keep: u64,
        head: Option<VerifiedCheckpoint>,
    ) {
        self.busy.insert(log);
        let ticket = cx.out.ticket();
        let revert = Revert { log, keep, head, changed: cx.ledger.revert(log) };
        self.reverting.insert(ticket, revert.clone());
        cx.out.push(Output::Revert(ticket, revert));
    }

    /// Whether a load was asked for here.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.comparing.contains_key(&ticket)
    }

    /// Our own storage gave the outline of what we hold.
    pub(super) fn loaded(&mut self, cx: &mut Context<'_>, ticket: Ticket, loaded: &Loaded) {
        let Some((log, closing)) = self.comparing.remove(&ticket) else { return };
        self.busy.remove(&log);
        // If it could not be read, the next start tries again.
        let Loaded::Outline(outline) = loaded else { return };
        if rebuild(&closing, outline).is_ok() {
            let size = closing.checkpoint().size();
            self.revert(cx, log, size, Some(closing));
        } else {
            self.revert(cx, log, 0, None);
        }
    }

    /// What was disowned is set aside, and that is durable; `tree` is what is left.
    pub(super) fn reverted(&mut self, cx: &mut Context<'_>, ticket: Ticket, tree: Frontier) {
        let Some(revert) = self.reverting.remove(&ticket) else { return };
        self.busy.remove(&revert.log);
        let from = cx.ledger.log(&revert.log).map_or(0, |slot: &Slot| slot.stored.size());
        let (log, to) = (revert.log, tree.size());
        cx.ledger.reverted(revert, tree);
        cx.out.push(Output::Notify(Notice::LogReverted { log, from, to }));
    }

    /// Storage failed; the next start tries again.
    pub(super) fn store_failed(&mut self, cx: &mut Context<'_>, ticket: Ticket) {
        if let Some(revert) = self.reverting.remove(&ticket) {
            cx.ledger.revert_failed(&revert.log);
            self.busy.remove(&revert.log);
        }
    }
}

/// Asks everybody for what stands: whoever has the identity chain has the
/// closing head, so nobody needs to have told us of it.
fn pursue(cx: &mut Context<'_>, exchanges: &mut Exchanges, sessions: &Sessions, log: LogId) {
    let Some(closing) = cx.ledger.closing_head(&log) else { return };
    let greeted = sessions.peers().filter(|peer| peer.greeted);
    let peers: Vec<_> = greeted.map(|peer| peer.node).collect();
    for peer in peers {
        exchanges.announced(cx, peer, log, closing.clone());
    }
}
