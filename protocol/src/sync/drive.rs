//! What goes into the machine and what comes out: the whole of its contract
//! with the driver.

use super::effect::{Append, Cosign, Fill, Load, Loaded, Revert, StoredEvidence, StoredIdentity};
use super::{AuthorRefusal, Notice, Refusal, Ticket, Verdict};
use crate::entry::Entry;
use crate::erasure::Lack;
use crate::id::{AuthorityId, GroupId, LogId, NodeId, Space};
use crate::log::Frontier;

/// Everything that can happen.
#[derive(Clone, Debug)]
pub enum Input {
    /// A stream with an authenticated peer is open, in both directions. If one
    /// was open before, it takes its place: do not say `Disconnected` for that.
    Connected(NodeId),
    /// The stream is gone, and no other has taken its place.
    Disconnected(NodeId),
    /// A frame came from a peer.
    Received(NodeId, Vec<u8>),
    /// A gossip message came; `peer` passed it on, `handle` names it in the verdict.
    Heard {
        /// The driver's name for the message.
        handle: u64,
        /// Who passed it on.
        peer: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// The user wants entries in one of our logs.
    Author {
        /// The driver's name for the command.
        command: u64,
        /// In which space.
        space: Space,
        /// Entries, consistent in themselves.
        entries: Vec<Entry>,
    },
    /// Others invited us to a group: they may be told of our log in it.
    Invited {
        /// The group.
        group: GroupId,
        /// Who invited us, and whom they named as members.
        hosts: Vec<AuthorityId>,
    },
    /// An identity chain from outside the network (a partner's card).
    Introduce(Vec<Vec<u8>>),
    /// An append is durable.
    Appended(Ticket),
    /// A log is reverted, and that is durable; this is the tree over what is left of it.
    Reverted(Ticket, Frontier),
    /// Bodies are filled, and that is durable.
    Filled(Ticket),
    /// What was erased was deleted, as is durable: what bodies of a log lack now.
    Deleted(LogId, Vec<(u64, Lack)>),
    /// A head was cosigned: the line, without its line feed. `None` if it must
    /// not be, or could not.
    Cosigned(Ticket, Option<String>),
    /// An append, a reversion or a fill failed; nothing of it may be relied upon.
    StoreFailed(Ticket),
    /// A load has finished.
    Loaded(Ticket, Loaded),
    /// The driver saw a peer break a rule of the transport, below the level of messages.
    Misbehaved(NodeId, Refusal),
    /// The deadline has passed.
    Tick,
    /// The wall clock and the monotonic clock came apart, as they do when a
    /// machine was suspended or put back to an earlier state. The driver has
    /// ended all connections, whose frames are of the past, without saying
    /// `Disconnected`; from here on this is another run.
    ClockJumped {
        /// Random number of the new run.
        run: [u8; 16],
    },
}

/// Everything the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Send a frame.
    Send(NodeId, Vec<u8>),
    /// End the connection.
    Disconnect {
        /// With whom.
        peer: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// Make durable, in the order of the outputs, then say `Appended`.
    Append(Ticket, Append),
    /// Set aside what is disowned of a log, make that durable, in the order of
    /// the outputs, then say `Reverted`.
    Revert(Ticket, Revert),
    /// Put bodies in the place of such as lack something, make that durable,
    /// then say `Filled`.
    Fill(Ticket, Fill),
    /// Decide whether a head of another's log, which is durable here, may be
    /// cosigned ([`crate::witness`]), make that durable, sign with our witness
    /// key, then say `Cosigned`.
    Cosign(Ticket, Cosign),
    /// Keep an identity chain; before any later append is durable.
    StoreIdentity(StoredIdentity),
    /// Keep evidence, as far as there is room for it.
    StoreEvidence(StoredEvidence),
    /// Keep how far an authority's news were read.
    StoreCursor {
        /// Whose news.
        authority: AuthorityId,
        /// Opaque; replaces the one before.
        cursor: Vec<u8>,
    },
    /// Read, then say `Loaded`.
    Load(Ticket, Load),
    /// Gossip to everybody.
    Broadcast(Vec<u8>),
    /// What to do with a gossip message.
    Verdict {
        /// The driver's name for the message.
        handle: u64,
        /// Pass on, blame, or neither.
        verdict: Verdict,
    },
    /// Entries of an `Author` command are durable.
    Authored {
        /// The driver's name for the command.
        command: u64,
        /// The log.
        log: LogId,
        /// Index of the first.
        start: u64,
        /// How many.
        count: usize,
        /// Whether a checkpoint covers them yet.
        signed: bool,
    },
    /// An `Author` command changed nothing.
    AuthorRefused {
        /// The driver's name for the command.
        command: u64,
        /// Why.
        refusal: AuthorRefusal,
    },
    /// Something to log, count or show.
    Notify(Notice),
}
