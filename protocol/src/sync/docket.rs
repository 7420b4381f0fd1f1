//! The evidence that is known: who signed two histories, in order of finding.
//!
//! **What freezing means.** A log in dispute keeps every entry that is held of it,
//! and its head; nothing is added to it any more. That is not the last size that both
//! histories share: of that no more is known than a range
//! ([`crate::equivocation::Fork::last_common`]), since each node holds one branch, the
//! one that reached it first, and of the other no more than the signed head that the
//! evidence holds. So both branches are kept, each by those who had it first, and each
//! node marks the whole log as disputed. Nothing rests on the exact size: what stands
//! is named by the head at which the author's controllers close the generation, and
//! whoever holds another branch then sets it aside (`closing`).
//!
//! **Invariants:** everything in here was verified; how much is kept is decided as
//! on disk ([`crate::equivocation::room`]). Deliberately absent: what evidence
//! does to a log, which the ledger decides whenever keys change.

use std::collections::BTreeMap;

use super::ledger::Teller;
use super::{Context, Exchanges, Refusal};
use crate::equivocation::{Evidence, EvidenceError, Finding, UnverifiedEvidence, room};
use crate::id::{AuthorityId, LogId, NodeId};

/// A piece of evidence, and its place in the order of changes.
#[derive(Debug)]
struct Piece {
    evidence: Evidence,
    changed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Docket {
    known: BTreeMap<AuthorityId, Vec<Piece>>,
}

impl Docket {
    /// Whether a piece would say anything new.
    pub(super) fn admits(&self, new: &Evidence) -> bool {
        self.room(new).is_some()
    }

    /// Keeps a piece, if there is room for it; what gives way is forgotten.
    pub(super) fn keep(&mut self, evidence: Evidence, changed: u64) {
        let Some(evicted) = self.room(&evidence) else { return };
        let known = self.known.entry(evidence.authority()).or_default();
        evicted.map(|at| known.remove(at));
        known.push(Piece { evidence, changed });
    }

    /// Room for a piece: which of those about its authority gives way, if any must.
    fn room(&self, new: &Evidence) -> Option<Option<usize>> {
        let known = self.of(&new.authority()).iter().enumerate();
        let alike = known.filter(|(_, piece)| piece.evidence.kind() == new.kind());
        let (places, pieces): (Vec<_>, Vec<_>) =
            alike.map(|(at, piece)| (at, room::Piece::of(&piece.evidence))).unzip();
        let found = room::room(&pieces, room::Piece::of(new))?;
        Some(found.evicted.and_then(|at| places.get(at).copied()))
    }

    /// The piece at this place in the order of changes, if it is still kept.
    pub(super) fn at(&self, authority: &AuthorityId, changed: u64) -> Option<&Evidence> {
        let piece = self.of(authority).iter().find(|piece| piece.changed == changed);
        piece.map(|piece| &piece.evidence)
    }

    /// All that is known of an authority.
    pub(super) fn about(&self, authority: &AuthorityId) -> impl Iterator<Item = &Evidence> {
        self.of(authority).iter().map(|piece| &piece.evidence)
    }

    /// All that is known.
    pub(super) fn all(&self) -> impl Iterator<Item = &Evidence> {
        self.known.values().flatten().map(|piece| &piece.evidence)
    }

    fn of(&self, authority: &AuthorityId) -> &[Piece] {
        self.known.get(authority).map_or(&[], Vec::as_slice)
    }
}

/// Evidence that a peer told of: what it disputes is not pursued any further.
pub(super) fn heard(
    cx: &mut Context<'_>,
    exchanges: &mut Exchanges,
    peer: NodeId,
    evidence: Vec<Vec<u8>>,
) {
    use crate::identity::IdentityError::{Size, Unsupported};
    let teller = Some(Teller { peer, at: cx.now });
    for bytes in evidence {
        let read = UnverifiedEvidence::parse(&bytes);
        let evidence = match read.and_then(|evidence| evidence.verify(cx.ledger.network())) {
            Ok(evidence) => evidence,
            Err(EvidenceError::Unsupported | EvidenceError::Identity(Unsupported | Size)) => {
                continue;
            }
            Err(_) => return cx.out.refuse_peer(peer, Refusal::BadEvidence),
        };
        for chain in evidence.chains() {
            // It was verified with the evidence; there may be no room for it.
            let _full = cx.ledger.accept_identity(teller, chain.events().to_vec(), cx.out);
        }
        let log = match evidence.finding() {
            Finding::Fork(fork) => LogId::public(evidence.authority(), fork.generation()),
            Finding::Identity(_) => LogId::public(evidence.authority(), 0),
        };
        if cx.ledger.convict(evidence, teller, cx.out)
            && cx.ledger.log(&log).is_some_and(|slot| slot.disputed)
        {
            exchanges.forget(&log);
        }
    }
}
