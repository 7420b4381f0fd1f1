//! Live announcements: a signed head and, if they are few, the newest entries.
//!
//! Gossip is at-most-once by nature, and correctness never rests on it: what it
//! loses, the next news brings. The driver's gossipsub only carries bytes; this
//! module says what to make of them. The verdict decides whether others get the
//! message too: accept what checks out and is new, reject what proves that its
//! sender is wrong, ignore the rest.

use super::ledger::{HeadError, HeardHead, Slot};
use super::wire::Announcement;
use super::{Context, Exchanges, Output, Refusal, Verdict, ledger};
use crate::checkpoint::VerifiedCheckpoint;
use crate::entry::{Entry, UnverifiedEntry};
use crate::id::{LogId, NodeId, Space};
use crate::log::Frontier;

/// What to do about an announcement besides the verdict.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing.
    Done,
    /// The author is not known: ask whoever passed it on for news.
    AskNews,
    /// The head is older than ours: compare it.
    Compare(LogId, VerifiedCheckpoint),
}

/// Judges an announcement passed on by `peer`.
pub(super) fn heard(
    cx: &mut Context<'_>,
    exchanges: &mut Exchanges,
    own: &LogId,
    peer: NodeId,
    bytes: &[u8],
) -> (Verdict, Next) {
    let Ok(announcement) = Announcement::decode(bytes) else {
        cx.out.refused(Some(peer), None, Refusal::MalformedFrame);
        return (Verdict::Reject, Next::Done);
    };
    let (log, head) = match cx.ledger.verify_head(&announcement.head) {
        // An author announces what nobody has cosigned yet.
        Ok(HeardHead { log, head, lines: _ }) => (log, head),
        Err(HeadError::Unknown) => return (Verdict::Ignore, Next::AskNews),
        Err(HeadError::Known | HeadError::Retired) => return (Verdict::Ignore, Next::Done),
        Err(HeadError::Refused(refusal)) => {
            cx.out.refused(Some(peer), None, refusal);
            return (Verdict::Reject, Next::Done);
        }
    };
    if log == *own {
        // Our own words come back to us; claims of later heads are for the session to compare.
        return (Verdict::Ignore, Next::Done);
    }
    if cx.ledger.contradicts(&log, &head, cx.out) {
        exchanges.forget(&log);
        cx.out.refused(Some(peer), Some(log), Refusal::Fork);
        return (Verdict::Ignore, Next::Done);
    }
    let slot = cx.ledger.log(&log);
    let covered = slot.map_or(0, Slot::staged_head_size);
    if slot.is_some_and(|slot| slot.disputed) {
        return (Verdict::Ignore, Next::Done);
    }
    if head.checkpoint().size() <= covered {
        return (Verdict::Ignore, Next::Compare(log, head));
    }
    let staged = cx.ledger.staged(&log);
    let over = cx.ledger.is_over_quota(&log, head.checkpoint().size());
    let usable =
        !exchanges.pursues(&log) && exchanges.has_room() && !over && !cx.ledger.is_reverting(&log);
    if !usable || !continues(&announcement, &head, &staged) {
        // Others who are further along may still want to hear that the head moved.
        let verdict =
            if announcement.entries.is_empty() { Verdict::Accept } else { Verdict::Ignore };
        exchanges.announced(cx, peer, log, head);
        return (verdict, Next::Done);
    }
    match check(announcement, &head, staged) {
        Ok((entries, tree)) => {
            exchanges.append_heard(cx, log, peer, entries, tree, head);
            (Verdict::Accept, Next::Done)
        }
        Err(refusal) => {
            cx.out.refused(Some(peer), Some(log), refusal);
            if refusal.is_peers_fault() {
                return (Verdict::Reject, Next::Done);
            }
            // The head is signed all the same; if the author forked, a proof will show it.
            exchanges.announced(cx, peer, log, head);
            (Verdict::Ignore, Next::Done)
        }
    }
}

/// Whether the entries reach from what is staged up to the head.
fn continues(announcement: &Announcement, head: &VerifiedCheckpoint, staged: &Frontier) -> bool {
    let count = announcement.entries.len() as u64;
    count > 0
        && announcement.start <= staged.size()
        && announcement.start.checked_add(count) == Some(head.checkpoint().size())
        && staged.size() < head.checkpoint().size()
}

/// Checks the entries behind `staged` against the signed root; gives them and the tree with them.
fn check(
    announcement: Announcement,
    head: &VerifiedCheckpoint,
    mut staged: Frontier,
) -> Result<(Vec<Entry>, Frontier), Refusal> {
    let known = usize::try_from(staged.size() - announcement.start).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    for (header, body) in announcement.entries.into_iter().skip(known) {
        let entry = UnverifiedEntry::new(header, body);
        let leaf = entry.claimed_leaf();
        let entry = ledger::check(Space::Public, entry, leaf)?;
        staged.push(entry.leaf());
        entries.push(entry);
    }
    if staged.root() == head.checkpoint().root() {
        Ok((entries, staged))
    } else {
        Err(Refusal::Inconsistent)
    }
}

/// Announces a new head of our own; `entries` are those it added.
pub(super) fn announce(
    cx: &mut Context<'_>,
    head: &VerifiedCheckpoint,
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
) {
    let start = head.checkpoint().size() - entries.len() as u64;
    let announcement = Announcement { head: head.to_bytes(), start, entries };
    cx.out.push(Output::Broadcast(announcement.encode()));
}
