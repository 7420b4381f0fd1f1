//! Which of two chains of one authority counts.
//!
//! Chains grow at the end, so of two chains one is usually the beginning of the
//! other and the longer one counts. Where two valid events stand at one
//! position, controllers have signed both, or somebody has who stole their keys:
//!
//! | at the position and behind it | counts |
//! |---|---|
//! | one chain has an establishing event, the other only profile events | the establishing one: only the owner has the committed keys |
//! | both have one, or neither | neither: the authority is in dispute from there on |
//!
//! A dispute of two profile events ends when an establishing event follows on
//! either; that of two establishing events does not end by itself.
//!
//! **Invariant:** the answer does not depend on which chain was seen first, so
//! that all who have seen both agree.

use super::chain::{Identity, Step};

/// How one chain stands to another of the same authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same events.
    Same,
    /// It has all events of the other, and more.
    Extends,
    /// The other has all of its events, and more.
    Behind,
    /// Both are valid from this position on, and this one counts.
    Supersedes {
        /// The first event that differs.
        position: u32,
    },
    /// Both are valid from this position on, and the other one counts.
    Superseded {
        /// The first event that differs.
        position: u32,
    },
    /// Both are valid from this position on, and neither counts from there.
    Conflict {
        /// The first event that differs.
        position: u32,
    },
}

impl Identity {
    /// How this chain stands to `other`; `None` if it is somebody else's.
    #[must_use]
    pub fn relation_to(&self, other: &Self) -> Option<Relation> {
        if self.authority() != other.authority() {
            return None;
        }
        let (ours, theirs) = (&self.steps, &other.steps);
        let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
        let position = u32::try_from(same).unwrap_or(u32::MAX);
        let establishes = |steps: &[Step]| {
            steps
                .get(same..)
                .unwrap_or_default()
                .iter()
                .any(|step| step.event_type.is_establishing())
        };
        Some(match (ours.len() == same, theirs.len() == same) {
            (true, true) => Relation::Same,
            (false, true) => Relation::Extends,
            (true, false) => Relation::Behind,
            (false, false) => match (establishes(ours), establishes(theirs)) {
                (true, false) => Relation::Supersedes { position },
                (false, true) => Relation::Superseded { position },
                _ => Relation::Conflict { position },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::EventType;
    use crate::identity::tests::{establishing, incepted, secret};
    use crate::time::UnixTime;

    fn renamed(identity: &Identity, name: &str) -> Identity {
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(1));
        event.profile.name = name.into();
        let by = if identity.sequence() > 0 && identity.controllers().keys[0] == secret(11).public()
        {
            11
        } else {
            10
        };
        identity.extended(event.sign(&[(0, &secret(by))]).unwrap()).unwrap()
    }

    fn rotated(identity: &Identity, next: u8) -> Identity {
        let event = establishing(identity, EventType::Rotation, (11, next), |_| ());
        identity.extended(event).unwrap()
    }

    /// Both ways round, which must say the same.
    fn relation(ours: &Identity, theirs: &Identity) -> Relation {
        let relation = ours.relation_to(theirs).unwrap();
        let mirrored = match theirs.relation_to(ours).unwrap() {
            Relation::Same => Relation::Same,
            Relation::Extends => Relation::Behind,
            Relation::Behind => Relation::Extends,
            Relation::Supersedes { position } => Relation::Superseded { position },
            Relation::Superseded { position } => Relation::Supersedes { position },
            Relation::Conflict { position } => Relation::Conflict { position },
        };
        assert_eq!(relation, mirrored);
        relation
    }

    #[test]
    fn the_longer_of_two_chains_counts() {
        let first = incepted(10);
        let second = renamed(&first, "Ten");
        assert_eq!(relation(&second, &first), Relation::Extends);
        assert_eq!(relation(&second, &second.clone()), Relation::Same);
        assert_eq!(first.relation_to(&incepted(20)), None);
    }

    #[test]
    fn a_rotation_beats_profile_events_however_many() {
        let first = incepted(10);
        // Somebody has the controllers' keys, but not the committed ones.
        let stolen = renamed(&renamed(&first, "Ten"), "Tenner");
        let owner = rotated(&first, 60);
        assert_eq!(relation(&owner, &stolen), Relation::Supersedes { position: 1 });
        let later = rotated(&renamed(&first, "Borough"), 60);
        assert_eq!(relation(&later, &stolen), Relation::Supersedes { position: 1 });
    }

    #[test]
    fn two_rotations_or_two_profiles_are_a_conflict() {
        let first = incepted(10);
        let conflict = Relation::Conflict { position: 1 };
        assert_eq!(relation(&rotated(&first, 60), &rotated(&first, 61)), conflict);
        assert_eq!(relation(&renamed(&first, "A"), &renamed(&first, "B")), conflict);
        // Whoever steals controller keys later cannot rewrite what they did before.
        let owner = renamed(&rotated(&renamed(&first, "A"), 60), "B");
        let thief = rotated(&first, 61);
        assert_eq!(relation(&owner, &thief), conflict);
    }
}
