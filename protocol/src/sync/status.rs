//! What there is to show of logs and sessions.

use crate::id::{AuthorityId, Hash, LogId, NodeId};

/// State of one log, for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// The log.
    pub log: LogId,
    /// Durable entries.
    pub size: u64,
    /// Entries under the newest signed head.
    pub signed: u64,
    /// Root of that head.
    pub root: Option<Hash>,
    /// Whether its author signed two histories, or its controllers two chains.
    pub disputed: bool,
    /// Whether its author's controllers closed its generation: nothing is added
    /// to it but what is still missing up to the closing head.
    pub closed: bool,
    /// The size some partner has, if it is more.
    pub behind: Option<u64>,
    /// Whether that is over the quota, so that no more than the head is kept of it.
    pub over_quota: bool,
    /// How many of the witnesses that its author names have cosigned that head.
    pub cosigned: usize,
    /// How many it names, and how many of them confirm a record.
    pub witnesses: (usize, u32),
}

/// State of one session, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The node.
    pub node: NodeId,
    /// The authority it works for, if known.
    pub authority: Option<AuthorityId>,
    /// Whether it has greeted us.
    pub greeted: bool,
    /// Whether it has told us all its news, and we do not wait for an answer.
    pub heard: bool,
}
