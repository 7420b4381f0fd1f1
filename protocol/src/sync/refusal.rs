//! What is said no to, and why: to peers, and to our own people.
//!
//! **Invariant:** each reason has a stable name, under which it is counted and
//! shown. Deliberately absent: what a refusal costs a peer (`standing`).

/// Gossipsub's three answers to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new: pass it on.
    Accept,
    /// Whoever sent it is wrong: do not pass it on, and count it against them.
    Reject,
    /// Not of use here: do not pass it on.
    Ignore,
}
/// Why something that came in was not taken. Counted, and shown by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// Bytes that are not a message.
    MalformedFrame,
    /// Messages in an order that cannot be.
    Protocol,
    /// No answer in time.
    Silent,
    /// More peers than the limit.
    TooManyPeers,
    /// Of another network.
    WrongNetwork,
    /// The peer's node key is not one of the authority it named.
    WrongIdentity,
    /// An identity chain that does not verify.
    BadIdentity,
    /// A head that is no checkpoint of a public log.
    MalformedHead,
    /// A head whose signature is wrong.
    BadSignature,
    /// A head by an author or key that no identity known here names.
    UnknownAuthor,
    /// A log over the limit.
    TooLarge,
    /// An outline that does not lead to the signed root.
    BadOutline,
    /// A log that is not shown to continue ours: a fork, or a bad proof.
    Inconsistent,
    /// Two signed heads of one size: the author equivocated.
    Fork,
    /// Entries that are not those signed, or bodies that are not those committed to.
    BadEntries,
    /// Evidence that proves nothing.
    BadEvidence,
    /// A body its holder would not give.
    AbsentBody,
    /// More messages or streams than anybody has a use for.
    TooFast,
    /// Asked for much and did not read it.
    TooSlow,
    /// More authorities than one peer may make known.
    TooManyAuthorities,
    /// Refused for a while, for what it did before.
    Banned,
    /// An earlier copy of our own node is alive: this one keeps off its links.
    AnotherCopy,
}

impl Refusal {
    /// A stable name for metrics and JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed-frame",
            Self::Protocol => "protocol",
            Self::Silent => "silent",
            Self::TooManyPeers => "too-many-peers",
            Self::WrongNetwork => "wrong-network",
            Self::WrongIdentity => "wrong-identity",
            Self::BadIdentity => "bad-identity",
            Self::MalformedHead => "malformed-head",
            Self::BadSignature => "bad-signature",
            Self::UnknownAuthor => "unknown-author",
            Self::TooLarge => "too-large",
            Self::BadOutline => "bad-outline",
            Self::Inconsistent => "inconsistent",
            Self::Fork => "fork",
            Self::BadEntries => "bad-entries",
            Self::BadEvidence => "bad-evidence",
            Self::AbsentBody => "absent-body",
            Self::TooFast => "too-fast",
            Self::TooSlow => "too-slow",
            Self::TooManyAuthorities => "too-many-authorities",
            Self::Banned => "banned",
            Self::AnotherCopy => "another-copy",
        }
    }

    /// Whether the peer that sent it broke the protocol, rather than passed on
    /// what somebody else did wrong.
    #[must_use]
    pub const fn is_peers_fault(self) -> bool {
        !matches!(
            self,
            Self::UnknownAuthor
                | Self::Inconsistent
                | Self::Fork
                | Self::AbsentBody
                | Self::TooManyAuthorities
                | Self::Banned
                | Self::AnotherCopy
        )
    }
}

/// Why entries were not authored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorRefusal {
    /// No entries, or more than one command may have.
    #[error("a batch needs between 1 and {} entries", crate::limits::AUTHOR_ENTRIES)]
    BatchSize,
    /// The log is as long as logs may be.
    #[error("the log is full")]
    LogFull,
    /// A partner holds later entries of our own, which come first.
    #[error(
        "a partner holds later entries of this authority, up to {size}; they are being fetched"
    )]
    FetchingOwn {
        /// Size of our log as the partner knows it.
        size: u64,
    },
    /// Too much waits for partners to say what they know of our log.
    #[error("partners are being asked what they know of this authority's log")]
    Asking,
    /// The authority has newer keys or a newer generation than this node was started with.
    #[error("this authority has newer keys than those this node was started with")]
    OldKeys,
    /// Two histories of our log exist.
    #[error("two histories of this authority's log exist; nothing more can be signed")]
    TwoHistories,
    /// An earlier copy of this node is alive.
    #[error("another copy of this node is running and was started earlier; this one signs nothing")]
    AnotherCopy,
    /// The disk failed.
    #[error("the entries could not be stored")]
    Storage,
}
