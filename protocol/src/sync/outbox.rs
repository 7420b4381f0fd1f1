//! Outputs that wait to be polled, and what every step may use.

use std::collections::{BTreeSet, VecDeque};

use super::ledger::Ledger;
use super::standing::Standings;
use super::wire::Message;
use super::{Notice, Output, Refusal, Ticket};
use crate::id::{LogId, NodeId};
use crate::time::Timestamp;

/// Outputs that wait to be polled.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) outputs: VecDeque<Output>,
    pub(super) last_ticket: Ticket,
    /// Peers to be disconnected, until they are: nothing more is taken from them.
    pub(super) closing: BTreeSet<NodeId>,
    /// How peers behave; faults are counted where they are reported.
    pub(super) standings: Standings,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    pub(super) fn send(&mut self, peer: NodeId, message: &Message) {
        self.push(Output::Send(peer, message.encode()));
    }

    pub(super) fn refused(&mut self, peer: Option<NodeId>, log: Option<LogId>, refusal: Refusal) {
        self.push(Output::Notify(Notice::Refused { peer, log, refusal }));
        if let Some(peer) = peer {
            self.standings.fault(peer, refusal);
        }
    }

    pub(super) fn refuse_peer(&mut self, peer: NodeId, refusal: Refusal) {
        self.refused(Some(peer), None, refusal);
        self.disconnect(peer, refusal);
    }

    pub(super) fn disconnect(&mut self, peer: NodeId, refusal: Refusal) {
        if self.closing.insert(peer) {
            self.push(Output::Disconnect { peer, refusal });
        }
    }
}

/// What a step of any part may use.
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) ledger: &'a mut Ledger,
    pub(super) out: &'a mut Outbox,
}
