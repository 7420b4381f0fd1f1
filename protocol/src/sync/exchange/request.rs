//! Requests that wait for an answer: who was asked for what, and until when.
//!
//! A peer answers over one stream, so its clock is one too: any answer shows
//! that it is at work on what it was asked, and extends them all.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{LogId, NodeId};
use crate::sync::wire::RequestId;
use crate::time::Timestamp;

/// How long a peer that owes answers may go without giving any.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) peer: NodeId,
    pub(super) log: LogId,
    /// The subtree asked for, or `None` for an outline.
    pub(super) subtree: Option<u64>,
}

/// What one peer owes.
#[derive(Debug)]
struct Debt {
    requests: usize,
    deadline: Timestamp,
}

/// All requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: BTreeMap<RequestId, Request>,
    debts: BTreeMap<NodeId, Debt>,
    last: RequestId,
}

impl Requests {
    pub(super) fn add(&mut self, now: Timestamp, request: Request) -> RequestId {
        self.last += 1;
        self.waiting.insert(self.last, request);
        let fresh = || Debt { requests: 0, deadline: now.after(PATIENCE) };
        self.debts.entry(request.peer).or_insert_with(fresh).requests += 1;
        self.last
    }

    /// Whether `peer` still owes the answer to this request.
    pub(super) fn owes(&self, peer: &NodeId, id: RequestId) -> bool {
        self.waiting.get(&id).is_some_and(|request| request.peer == *peer)
    }

    /// The request that `peer` answers; late and foreign answers find none.
    pub(super) fn progress(
        &mut self,
        now: Timestamp,
        peer: &NodeId,
        id: RequestId,
    ) -> Option<Request> {
        let request = self.waiting.get(&id).filter(|request| request.peer == *peer)?;
        if let Some(debt) = self.debts.get_mut(peer) {
            debt.deadline = now.after(PATIENCE);
        }
        Some(*request)
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = self.waiting.remove(&id)?;
        if let Some(debt) = self.debts.get_mut(&request.peer) {
            debt.requests -= 1;
            if debt.requests == 0 {
                self.debts.remove(&request.peer);
            }
        }
        Some(request)
    }

    /// Takes back the requests for a log: those of one peer, or all.
    pub(super) fn take_back(&mut self, log: &LogId, peer: Option<&NodeId>) -> Vec<Request> {
        let concerned = |r: &Request| r.log == *log && peer.is_none_or(|peer| r.peer == *peer);
        let ids: Vec<_> =
            self.waiting.iter().filter(|(_, r)| concerned(r)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    pub(super) fn of_peer(&self, peer: &NodeId) -> usize {
        self.debts.get(peer).map_or(0, |debt| debt.requests)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Who has owed answers for too long, and about which logs.
    pub(super) fn overdue(&self, now: Timestamp) -> BTreeSet<(NodeId, LogId)> {
        let is_late = |r: &&Request| self.debts.get(&r.peer).is_some_and(|d| d.deadline <= now);
        self.waiting.values().filter(is_late).map(|r| (r.peer, r.log)).collect()
    }

    /// Gives everybody new time, because it was us who did not listen.
    pub(super) fn postpone(&mut self, now: Timestamp) {
        self.debts.values_mut().for_each(|debt| debt.deadline = now.after(PATIENCE));
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.debts.values().map(|debt| debt.deadline).min()
    }
}
