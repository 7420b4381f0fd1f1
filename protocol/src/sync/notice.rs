//! What the machine has to tell: logged, counted or shown by the driver, and
//! nothing that it has to act upon.

use super::Refusal;
use crate::equivocation::EvidenceKind;
use crate::id::{AuthorityId, GroupId, LogId, NodeId};
use crate::time::Timestamp;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A log has more durable entries than before, or a newer head.
    LogAdvanced {
        /// The log.
        log: LogId,
        /// Entries before.
        from: u64,
        /// Entries now.
        to: u64,
    },
    /// A new authority is known.
    IdentityAccepted {
        /// Which.
        authority: AuthorityId,
    },
    /// What its author has disowned of a log was set aside.
    LogReverted {
        /// The log.
        log: LogId,
        /// Entries before.
        from: u64,
        /// Entries left. What is missing of what stands is fetched.
        to: u64,
    },
    /// The body of an entry has come that lacked something.
    BodyFilled {
        /// The log.
        log: LogId,
        /// Which entry.
        index: u64,
    },
    /// Who is in a group has changed, or what was decided in it.
    GroupChanged {
        /// Which.
        group: GroupId,
    },
    /// An authority has newer keys or describes itself anew.
    IdentityChanged {
        /// Which.
        authority: AuthorityId,
        /// Position of its newest event.
        sequence: u32,
    },
    /// An authority's controllers signed two events for one position, of which
    /// neither counts.
    IdentityDisputed {
        /// Which.
        authority: AuthorityId,
        /// The position.
        position: u32,
    },
    /// There is evidence that an authority signed two histories.
    Convicted {
        /// Which.
        authority: AuthorityId,
        /// Two histories of a log, or two chains of events.
        kind: EvidenceKind,
    },
    /// Something was not taken.
    Refused {
        /// Who sent it.
        peer: Option<NodeId>,
        /// Which log it concerned.
        log: Option<LogId>,
        /// Why.
        refusal: Refusal,
    },
    /// A peer has misbehaved so often that it is refused for a while.
    Banned {
        /// Which.
        peer: NodeId,
        /// For what, the last time.
        reason: Refusal,
        /// When it is let back.
        until: Timestamp,
    },
    /// A peer did not answer a request in time.
    Stalled {
        /// Which.
        peer: NodeId,
        /// The log it concerned.
        log: LogId,
    },
    /// Storage could not read what a peer asked for.
    ReadFailed {
        /// Who asked.
        peer: NodeId,
    },
    /// A partner holds later entries of our own log; they are fetched first.
    OwnLogBehind {
        /// The size to reach.
        size: u64,
    },
    /// Our own later entries are back.
    OwnLogRecovered {
        /// The size reached.
        size: u64,
    },
    /// Two histories of our own log exist: nothing is signed any more.
    OwnLogForked,
    /// Another copy of this node is alive. The one started later signs nothing
    /// any more.
    AnotherCopy {
        /// Whether that is this one.
        stopped: bool,
    },
}
