//! Where evidence is kept, the same in both replicas.
//!
//! How much of it is the protocol's to say ([`tallystick_protocol::equivocation::room`]).
//! **Invariant:** each piece has a slot of its own. Deliberately absent: verification,
//! which came before.

use tallystick_protocol::equivocation::EvidenceKind;
use tallystick_protocol::equivocation::room::{self as rule, Piece};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::limits;
use tallystick_protocol::sync::StoredEvidence;

use super::StoreError;

/// Where a piece of evidence stands: in this order they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) authority: AuthorityId,
    pub(super) kind: EvidenceKind,
    /// [`StoredEvidence::place`].
    pub(super) place: u32,
    /// Among those of one place, from 0.
    pub(super) number: u8,
}

/// Where a new piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) slot: Slot,
    /// What gives way.
    pub(super) evicted: Option<Slot>,
}

/// Finds room for `new` among all that is `kept` about the authority, in order;
/// `None` if it adds nothing.
pub(super) fn room<'a>(
    kept: impl IntoIterator<Item = (Slot, &'a StoredEvidence)>,
    new: &StoredEvidence,
) -> Option<Room> {
    let kept = kept.into_iter().filter(|(slot, _)| slot.kind == new.kind);
    let (slots, pieces): (Vec<Slot>, Vec<Piece<'_>>) =
        kept.map(|(slot, known)| (slot, Piece { place: slot.place, bytes: &known.bytes })).unzip();
    let found = rule::room(&pieces, Piece { place: new.place, bytes: &new.bytes })?;
    let beside = slots.iter().filter(|slot| slot.place == new.place);
    let free = |number: &u8| beside.clone().all(|slot| slot.number != *number);
    let number = (0..u8::MAX).find(free)?;
    let slot = Slot { authority: new.authority, kind: new.kind, place: new.place, number };
    let evicted = found.evicted.and_then(|at| slots.get(at).copied());
    Some(Room { slot, evicted })
}

/// Refuses evidence beyond the protocol's limit.
pub(super) const fn check(evidence: &StoredEvidence) -> Result<(), StoreError> {
    if evidence.bytes.len() > limits::EVIDENCE_BYTES {
        return Err(StoreError::TooLarge("evidence"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn piece(place: u32, content: u8) -> StoredEvidence {
        let (authority, kind) = (AuthorityId::from_bytes([1; 32]), EvidenceKind::Fork);
        StoredEvidence { authority, kind, place, bytes: vec![content], changed: 1 }
    }

    fn put(kept: &mut BTreeMap<Slot, StoredEvidence>, new: StoredEvidence) -> bool {
        let Some(found) = room(kept.iter().map(|(slot, known)| (*slot, known)), &new) else {
            return false;
        };
        found.evicted.and_then(|slot| kept.remove(&slot));
        kept.insert(found.slot, new);
        true
    }

    #[test]
    fn the_first_few_stay_and_the_rest_adds_nothing() {
        let mut kept = BTreeMap::new();
        assert!(put(&mut kept, piece(3, 0)) && !put(&mut kept, piece(3, 0)));
        assert!(put(&mut kept, piece(3, 1)) && !put(&mut kept, piece(3, 2)));
        assert!(put(&mut kept, piece(4, 0)));
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn old_forks_give_way_to_new_ones_and_never_the_reverse() {
        let mut kept = BTreeMap::new();
        for place in 0..100 {
            assert!(put(&mut kept, piece(place, 0)) && put(&mut kept, piece(place, 1)), "{place}");
            assert!(kept.len() <= limits::EVIDENCE_PER_AUTHORITY);
        }
        let places: Vec<_> = kept.keys().map(|slot| slot.place).collect();
        assert_eq!(places, [96, 96, 97, 97, 98, 98, 99, 99]);
        assert!(!put(&mut kept, piece(95, 0)));
        assert!(put(&mut kept, piece(u32::MAX, 0)));
    }
}
