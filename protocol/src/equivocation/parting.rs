//! Two valid identity chains of one authority that part at a position.
//!
//! **Invariant:** a [`Parting`] exists only for chains whose every signature was
//! checked, and which share everything before that position. Deliberately absent:
//! which of the two counts ([`crate::identity::relation`] says so).

use super::file::{Chains, Contents};
use super::{Evidence, EvidenceError};
use crate::id::NetworkName;
use crate::identity::{Identity, Relation, UnverifiedChain};

/// Two valid identity chains of one authority that part at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    pub(super) chains: [Identity; 2],
    pub(super) relation: Relation,
    pub(super) position: u32,
}

pub(super) fn verify_parting(
    claim: Chains,
    network: &NetworkName,
) -> Result<Parting, EvidenceError> {
    let Chains { shared, tails: [first, second] } = claim;
    if first >= second {
        return Err(EvidenceError::Spelling);
    }
    let known = UnverifiedChain::new(shared).verify(network)?;
    let chain = |tail: Vec<Vec<u8>>| {
        let events = [known.events(), &tail].concat();
        UnverifiedChain::new(events).verify(network)
    };
    let chains = [chain(first)?, chain(second)?];
    let [first, second] = &chains;
    let parting = first.relation_to(second).and_then(parting);
    let (relation, position) = parting.ok_or(EvidenceError::Agree)?;
    if position != known.sequence() + 1 {
        return Err(EvidenceError::Agree);
    }
    Ok(Parting { chains, relation, position })
}

/// A relation of chains that part, with the position.
const fn parting(relation: Relation) -> Option<(Relation, u32)> {
    match relation {
        Relation::Conflict { position }
        | Relation::Supersedes { position }
        | Relation::Superseded { position } => Some((relation, position)),
        Relation::Same | Relation::Extends | Relation::Behind => None,
    }
}

impl Evidence {
    /// Makes evidence of two chains of one authority, in whatever order.
    ///
    /// # Errors
    /// [`EvidenceError::Agree`] if they are not of one authority or one is the
    /// beginning of the other; [`EvidenceError::TooLarge`].
    pub fn of_identities(one: &Identity, other: &Identity) -> Result<Self, EvidenceError> {
        let parting = one.relation_to(other).and_then(parting);
        let (_, position) = parting.ok_or(EvidenceError::Agree)?;
        let at = usize::try_from(position).map_err(|_| EvidenceError::Agree)?;
        let network = one.network();
        let split = |identity: &Identity| {
            let (shared, tail) = identity.events().split_at_checked(at)?;
            Some((shared.to_vec(), tail.to_vec()))
        };
        let (one, other) = split(one).zip(split(other)).ok_or(EvidenceError::Agree)?;
        // Other controllers may have signed the events they share: either set will do.
        let shared = one.0.min(other.0);
        let mut tails = [one.1, other.1];
        tails.sort();
        Self::made(network, Contents::Chains(Chains { shared, tails }))
    }
}

impl Parting {
    /// Both chains, in the order of the bytes in which they differ.
    #[must_use]
    pub const fn chains(&self) -> &[Identity; 2] {
        &self.chains
    }

    /// How the first stands to the second.
    #[must_use]
    pub const fn relation(&self) -> Relation {
        self.relation
    }

    /// Position of the first event that differs.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// Whether a chain counts whichever of the two one holds.
    pub(super) fn is_settled_by(&self, known: &Identity) -> bool {
        let counts = |relation| {
            matches!(relation, Relation::Same | Relation::Extends | Relation::Supersedes { .. })
        };
        self.chains.iter().all(|chain| known.relation_to(chain).is_some_and(counts))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::*;
    use super::super::*;
    use crate::identity::tests::incepted;

    #[test]
    fn two_chains_that_part_are_evidence_until_one_counts() {
        let first = incepted(10);
        let (ash, oak) = (renamed(&first, "Ash"), renamed(&first, "Oak"));
        let evidence = Evidence::of_identities(&ash, &oak).unwrap();
        assert_eq!(evidence, Evidence::of_identities(&oak, &ash).unwrap());
        assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
        assert_eq!((evidence.kind(), evidence.place()), (EvidenceKind::IdentityConflict, 1));
        for known in [&first, &ash, &oak] {
            assert!(evidence.is_current(known) && !evidence.ends_with(known));
        }
        assert!(!evidence.is_current(&incepted(50)));
        for settled in [recovered(&ash, 11), recovered(&oak, 11), rotated()] {
            assert!(!evidence.is_current(&settled) && evidence.ends_with(&settled));
        }
        let superseded = Evidence::of_identities(&ash, &rotated()).unwrap();
        assert_eq!(superseded.kind(), EvidenceKind::IdentitySuperseded);
        assert!(!superseded.is_current(&ash) && superseded.ends_with(&rotated()));
        let establishing = Evidence::of_identities(&recovered(&first, 11), &rotated()).unwrap();
        assert_eq!(establishing.kind(), EvidenceKind::IdentityConflict);
        assert!(establishing.is_current(&rotated()) && establishing.is_current(&ash));
        let FindingFacts::Identity(facts) = evidence.facts().finding else { panic!("chains") };
        assert_eq!((facts.position, facts.relation), (1, Relation::Conflict { position: 1 }));
        let mut names = facts.names;
        names.sort();
        assert_eq!(names, ["Ash", "Oak"]);
    }

    #[test]
    fn chains_that_do_not_part_are_no_evidence() {
        let (first, ash) = (incepted(10), renamed(&incepted(10), "Ash"));
        for (one, other) in [(&first, &first), (&first, &ash), (&ash, &incepted(50))] {
            assert_eq!(Evidence::of_identities(one, other), Err(EvidenceError::Agree));
        }
        // From files: a tail that is empty, one that is longer, and one event told twice.
        let file = text(&conflict());
        let lines: Vec<_> = file.lines().collect();
        let [heading, shared, one, other] = lines[..] else { panic!("{file}") };
        let turned = format!(
            "{heading}\n{shared}\n{}\n{}\n",
            other.replace("second", "first"),
            one.replace("first", "second")
        );
        assert_eq!(read(turned.as_bytes()), Err(EvidenceError::Spelling));
        let lone = format!("{heading}\n{shared}\n{other}\n");
        assert_eq!(read(lone.as_bytes()), Err(EvidenceError::Agree));
        let same = format!("{heading}\n{shared}\n{one}\n{}\n", one.replace("first", "second"));
        assert_eq!(read(same.as_bytes()), Err(EvidenceError::Spelling));
        let longer = renamed(&ash, "Ash Borough").events()[2].clone();
        let longer = format!("first {}\n", STANDARD.encode(&longer));
        let ash = format!("first {}\n", STANDARD.encode(&ash.events()[1]));
        let grown = format!("{heading}\n{shared}\n{ash}{}{longer}", ash.replace("first", "second"));
        let grown = grown.replace(&longer, &longer.replace("first", "second"));
        assert_eq!(read(grown.as_bytes()), Err(EvidenceError::Agree));
    }
}
