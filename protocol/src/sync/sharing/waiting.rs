//! Heads of group logs that cannot be judged yet, since whoever told or wrote them is
//! not known, or not known to be a member.
//!
//! Where two members meet for the first time, each tells its heads before the other has
//! its chain; and of somebody's log others may tell before its chain has come. Nobody
//! would tell them a second time.
//!
//! **Invariants:** nothing in here was verified, and nothing in here is stored, shown,
//! told or asked for; of each log a peer has one head here, the one it told last; all of
//! them together are bounded in bytes, those of one peer, too, and end with its session.
//! What has no room is as if it had not been heard. Deliberately absent: when they are
//! looked at again.

use std::collections::BTreeMap;

use crate::id::{LogId, NodeId};
use crate::limits;

/// What a head takes besides its note.
const OVERHEAD: usize = 192;

/// All heads that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    peers: BTreeMap<NodeId, Heads>,
    bytes: usize,
}

/// What one peer told.
#[derive(Debug, Default)]
struct Heads {
    notes: BTreeMap<LogId, Vec<u8>>,
    bytes: usize,
}

impl Waiting {
    /// Lets a head wait, in place of another of the log by the same peer.
    pub(super) fn keep(&mut self, peer: NodeId, log: LogId, note: Vec<u8>) {
        let (all, size) = (self.bytes, note.len() + OVERHEAD);
        let heads = self.peers.entry(peer).or_default();
        let old = heads.notes.get(&log).map_or(0, |old| old.len() + OVERHEAD);
        let (all, own) = (all - old + size, heads.bytes - old + size);
        if all <= limits::WAITING_HEAD_BYTES && own <= limits::WAITING_HEAD_BYTES_PER_PEER {
            (self.bytes, heads.bytes) = (all, own);
            heads.notes.insert(log, note);
        } else if heads.notes.is_empty() {
            self.peers.remove(&peer);
        }
    }

    /// What a peer told matters no more: it will tell everything anew.
    pub(super) fn forget(&mut self, peer: &NodeId) {
        self.bytes -= self.peers.remove(peer).map_or(0, |heads| heads.bytes);
    }

    /// Everything, to be judged once more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (NodeId, LogId, Vec<u8>)> + use<> {
        let Self { peers, .. } = core::mem::take(self);
        peers.into_iter().flat_map(|(peer, heads)| {
            heads.notes.into_iter().map(move |(log, note)| (peer, log, note))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AuthorityId;

    fn log(n: u32) -> LogId {
        LogId::public(AuthorityId::from_bytes([1; 32]), n)
    }

    #[test]
    fn each_peer_has_one_head_of_a_log_and_its_share_of_the_room() {
        let (greedy, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut waiting = Waiting::default();
        waiting.keep(other, log(0), vec![1; 100]);
        waiting.keep(other, log(0), vec![2; 300]);
        for n in 0..100_000 {
            waiting.keep(greedy, log(n), vec![3; 100]);
        }
        assert!(waiting.peers[&greedy].bytes <= limits::WAITING_HEAD_BYTES_PER_PEER);
        let all = waiting.peers.values().map(|heads| heads.bytes).sum::<usize>();
        assert_eq!(waiting.bytes, all);
        waiting.forget(&greedy);
        assert_eq!(waiting.bytes, 300 + OVERHEAD);
        let left: Vec<_> = waiting.take().collect();
        assert_eq!(left, [(other, log(0), vec![2; 300])]);
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn all_of_them_are_bounded_together() {
        let mut waiting = Waiting::default();
        for n in 0..64 {
            waiting.keep(
                NodeId::from_bytes([n; 32]),
                log(0),
                vec![0; limits::WAITING_HEAD_BYTES / 16],
            );
        }
        assert!(waiting.bytes <= limits::WAITING_HEAD_BYTES);
        assert!(waiting.peers.len() < 16, "nothing is kept of whom there is no room for");
    }
}
