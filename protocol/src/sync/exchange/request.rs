//! Requests that wait for an answer: who was asked for what, and until when.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{LogId, NodeId};
use crate::sync::wire::RequestId;
use crate::time::Timestamp;

/// How long a request may go without any progress.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) peer: NodeId,
    pub(super) log: LogId,
    /// The subtree asked for, or `None` for an outline.
    pub(super) subtree: Option<u64>,
    deadline: Timestamp,
}

/// All requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: BTreeMap<RequestId, Request>,
    per_peer: BTreeMap<NodeId, usize>,
    last: RequestId,
}

impl Requests {
    pub(super) fn add(
        &mut self,
        now: Timestamp,
        peer: NodeId,
        log: LogId,
        subtree: Option<u64>,
    ) -> RequestId {
        self.last += 1;
        let deadline = now.after(PATIENCE);
        self.waiting.insert(self.last, Request { peer, log, subtree, deadline });
        *self.per_peer.entry(peer).or_insert(0) += 1;
        self.last
    }

    /// The request that `peer` answers; late and foreign answers find none.
    pub(super) fn progress(
        &mut self,
        now: Timestamp,
        peer: &NodeId,
        id: RequestId,
    ) -> Option<Request> {
        let request = self.waiting.get_mut(&id).filter(|request| request.peer == *peer)?;
        request.deadline = now.after(PATIENCE);
        Some(*request)
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = self.waiting.remove(&id)?;
        if let Some(count) = self.per_peer.get_mut(&request.peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&request.peer);
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
        self.per_peer.get(peer).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.waiting.values()
    }

    pub(super) fn overdue(&self, now: Timestamp) -> BTreeSet<(NodeId, LogId)> {
        let late = self.waiting.values().filter(|request| request.deadline <= now);
        late.map(|request| (request.peer, request.log)).collect()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.waiting.values().map(|request| request.deadline).min()
    }
}
