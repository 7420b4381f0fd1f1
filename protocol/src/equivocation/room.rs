//! How much evidence is kept, the same in memory and on disk.
//!
//! A forger can sign any number of heads. The first few pieces about a log key, or a
//! position of an identity chain, show all there is to show; the rest adds nothing.
//! Where an authority forks again and again, what is newest in its life stays: a new
//! generation ends what was before.
//!
//! **Invariant:** evidence about the newest place is never refused for want of room,
//! so that nobody can fill the room with old forks and then fork unseen. Deliberately
//! absent: verification, which came before, and where pieces are kept.

use super::Evidence;
use crate::limits;

/// A piece of evidence of one kind about one authority, as far as room depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// [`super::Evidence::place`].
    pub place: u32,
    /// [`super::Evidence::to_bytes`].
    pub bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Of verified evidence.
    #[must_use]
    pub fn of(evidence: &'a Evidence) -> Self {
        Self { place: evidence.place(), bytes: evidence.to_bytes() }
    }
}

/// That there is room for a new piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which of those that are kept gives way, by its number among them.
    pub evicted: Option<usize>,
}

/// Finds room for `new` among all pieces of its kind that are `kept` about its
/// authority; `None` if it adds nothing. Of those about the oldest place the last one
/// gives way, so in whatever order they are given the first about each place stays.
#[must_use]
pub fn room(kept: &[Piece<'_>], new: Piece<'_>) -> Option<Room> {
    let beside = kept.iter().filter(|piece| piece.place == new.place).count();
    if beside >= limits::EVIDENCE_PER_PLACE || kept.contains(&new) {
        return None;
    }
    if kept.len() < limits::EVIDENCE_PER_AUTHORITY {
        return Some(Room { evicted: None });
    }
    let oldest = kept.iter().map(|piece| piece.place).min().filter(|place| *place < new.place)?;
    Some(Room { evicted: kept.iter().rposition(|piece| piece.place == oldest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(kept: &mut Vec<(u32, u8)>, (place, content): (u32, u8)) -> bool {
        let bytes: Vec<[u8; 1]> = kept.iter().map(|(_, content)| [*content]).collect();
        let pieces = kept.iter().zip(&bytes);
        let pieces: Vec<_> =
            pieces.map(|((place, _), bytes)| Piece { place: *place, bytes }).collect();
        let Some(room) = room(&pieces, Piece { place, bytes: &[content] }) else { return false };
        room.evicted.map(|at| kept.remove(at));
        kept.push((place, content));
        true
    }

    #[test]
    fn the_first_few_stay_and_the_rest_adds_nothing() {
        let mut kept = Vec::new();
        assert!(put(&mut kept, (3, 0)) && !put(&mut kept, (3, 0)), "the same once more");
        assert!(put(&mut kept, (3, 1)) && !put(&mut kept, (3, 2)), "a third about one place");
        assert!(put(&mut kept, (4, 3)));
        assert_eq!(kept, [(3, 0), (3, 1), (4, 3)]);
    }

    #[test]
    fn old_forks_give_way_to_new_ones_and_never_the_reverse() {
        let mut kept = Vec::new();
        for place in 0..100u8 {
            let pieces = [2 * place, 2 * place + 1].map(|content| (u32::from(place), content));
            assert!(pieces.into_iter().all(|piece| put(&mut kept, piece)), "{place}");
            assert!(kept.len() <= limits::EVIDENCE_PER_AUTHORITY);
        }
        let places: Vec<_> = kept.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [96, 96, 97, 97, 98, 98, 99, 99]);
        assert!(!put(&mut kept, (95, 201)));
        // Half of a place at a time, the last first.
        assert!(put(&mut kept, (u32::MAX, 202)));
        assert_eq!(kept[0], (96, 192));
        assert!(!kept.contains(&(96, 193)));
    }
}
