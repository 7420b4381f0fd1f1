//! Whom this node has heard of, and how it knows their names.
//!
//! [`Acquaintances`] is what a desk knows at one moment: the identities that
//! were verified, the partners (whom a person accepted, so their names are
//! *pinned*), what domains have proved, and who endorses whom. It answers for
//! one authority after the other, since few of many are ever shown.
//!
//! **Invariants:** a name is never given without its [`Confirmation`]; only
//! partners' endorsements count, and nobody's own; what a domain proved counts
//! only while the authority claims that domain; who has taken over is what the
//! predecessor's own chain says, never a claim of whoever would be the successor.
//! Deliberately absent: deciding anything by names. They are for people.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tallystick_protocol::confirmation::Confirmation;
use tallystick_protocol::endorsement::Endorsement;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::{Identity, Profile, Relation};
use tallystick_protocol::name::{Form, Resemblance, peculiarities};
use tallystick_protocol::organisation;
use tallystick_protocol::time::UnixTime;

use crate::domain::book::{DomainBook, Finding};
use crate::register::Register;
use crate::store::StoreError;

/// A name, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What the authority calls itself.
    pub name: String,
    /// What has to be said beside that.
    pub attribution: Attribution,
}

/// What stands beside a name: how it is known, and what became of its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribution {
    /// How the name is known.
    #[serde(flatten)]
    pub confirmation: Confirmation,
    /// Who has taken over from this authority, by its own identity chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeded_by: Vec<Related>,
    /// From whom it has taken over, by the identity chains of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeds: Vec<Related>,
}

impl From<Confirmation> for Attribution {
    fn from(confirmation: Confirmation) -> Self {
        Self { confirmation, ..Self::default() }
    }
}

/// A predecessor or successor, with its name where that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Who.
    pub authority: AuthorityId,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How that is known.
    #[serde(flatten)]
    pub known: Option<Confirmation>,
}

/// Somebody whose name may be taken for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookalike {
    /// Who.
    pub authority: AuthorityId,
    /// The name that is alike, be it its legal one or another.
    pub name: String,
    /// How the other is like it.
    pub resemblance: Resemblance,
}

/// Whom a node has heard of.
#[derive(Debug)]
pub struct Acquaintances {
    own: AuthorityId,
    identities: BTreeMap<AuthorityId, Identity>,
    /// Who names an authority as a successor.
    predecessors: BTreeMap<AuthorityId, Vec<AuthorityId>>,
    partners: BTreeSet<AuthorityId>,
    domains: DomainBook,
    /// The wall clock when this was put together.
    now: UnixTime,
    register: Register,
}

impl Acquaintances {
    /// What the node of `own` knows at `now`: all verified identities, which of
    /// them are partners, and what was found out about domains.
    #[must_use]
    pub fn new(
        own: AuthorityId,
        identities: Vec<Identity>,
        partners: BTreeSet<AuthorityId>,
        (domains, now): (DomainBook, UnixTime),
        register: Register,
    ) -> Self {
        let identities = identities.into_iter();
        let identities: BTreeMap<_, _> =
            identities.map(|identity| (identity.authority(), identity)).collect();
        let mut predecessors: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for identity in identities.values() {
            for successor in identity.successors() {
                predecessors.entry(*successor).or_default().push(identity.authority());
            }
        }
        Self { own, identities, predecessors, partners, domains, now, register }
    }

    /// All identities, in the order of their ids.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.values()
    }

    /// What was found out about the domain that an identity claims now.
    #[must_use]
    pub fn finding(&self, identity: &Identity) -> Option<&Finding> {
        let domain = identity.profile().domain.as_ref()?;
        self.domains.finding(&identity.authority()).filter(|found| found.domain == *domain)
    }

    /// What an authority is called, and how that is known; `None` if its
    /// identity has not been heard of.
    ///
    /// # Errors
    /// [`StoreError`] if the register cannot be read.
    pub fn known(&self, authority: &AuthorityId) -> Result<Option<Known>, StoreError> {
        let Some(identity) = self.identities.get(authority) else { return Ok(None) };
        let attribution = self.attribution(identity)?;
        Ok(Some(Known { name: identity.profile().name.clone(), attribution }))
    }

    /// What has to be said beside the name of an identity, be it one of these
    /// or on a card, which may be older than what has been heard since, or newer.
    ///
    /// # Errors
    /// See [`Acquaintances::known`].
    pub fn attribution(&self, identity: &Identity) -> Result<Attribution, StoreError> {
        let related = |others: &[AuthorityId]| {
            others.iter().map(|other| self.related(other)).collect::<Result<_, _>>()
        };
        let before = self.predecessors.get(&identity.authority());
        let newest = self.identities.get(&identity.authority()).filter(|known| {
            let relation = known.relation_to(identity);
            matches!(relation, Some(Relation::Extends | Relation::Supersedes { .. }))
        });
        Ok(Attribution {
            confirmation: self.confirmation(identity)?,
            succeeded_by: related(newest.unwrap_or(identity).successors())?,
            succeeds: related(before.map(Vec::as_slice).unwrap_or_default())?,
        })
    }

    /// An authority by its name only.
    ///
    /// # Errors
    /// See [`Acquaintances::known`].
    pub fn related(&self, authority: &AuthorityId) -> Result<Related, StoreError> {
        let found = self.identities.get(authority);
        Ok(Related {
            authority: *authority,
            name: found.map(|identity| identity.profile().name.clone()),
            known: found.map(|identity| self.confirmation(identity)).transpose()?,
        })
    }

    /// Whether `predecessor`, by its own identity chain as far as it is known
    /// here, has named `successor` to take over from it.
    #[must_use]
    pub fn is_successor(&self, successor: &AuthorityId, predecessor: &AuthorityId) -> bool {
        let named = self.identities.get(predecessor).map(Identity::successors);
        named.is_some_and(|successors| successors.contains(successor))
    }

    /// How the claims of an identity are known, be it one of these or on a card
    /// that was just handed in.
    ///
    /// # Errors
    /// See [`Acquaintances::known`].
    pub fn confirmation(&self, identity: &Identity) -> Result<Confirmation, StoreError> {
        let authority = identity.authority();
        if authority == self.own || self.partners.contains(&authority) {
            return Ok(Confirmation::Pinned);
        }
        if let Some(domain) = &identity.profile().domain
            && let Some(at) = self.domains.proof(&authority, domain, self.now)
        {
            return Ok(Confirmation::DomainProven { at, domain: domain.clone() });
        }
        let endorsers = self.endorsers(identity)?.len();
        Ok(match u32::try_from(endorsers).unwrap_or(u32::MAX) {
            0 => Confirmation::SelfAsserted,
            by => Confirmation::Endorsed { by },
        })
    }

    /// The partners that endorse what an identity claims.
    ///
    /// # Errors
    /// See [`Acquaintances::known`].
    pub fn endorsers(&self, identity: &Identity) -> Result<Vec<AuthorityId>, StoreError> {
        let mut endorsers = self.register.endorsers(&Endorsement::of(identity))?;
        let own = identity.authority();
        endorsers.retain(|endorser| *endorser != own && self.partners.contains(endorser));
        Ok(endorsers)
    }

    /// All names of all authorities, ready to be compared.
    #[must_use]
    pub fn forms(&self) -> Vec<(AuthorityId, String, Form)> {
        let names = self.identities.values().flat_map(|identity| {
            names(identity.profile()).map(move |name| (identity.authority(), name))
        });
        names.map(|(authority, name)| (authority, name.clone(), Form::of(name))).collect()
    }
}

/// The authorities among `forms` whose names are like those of `identity`, the closest first.
#[must_use]
pub fn lookalikes(
    forms: &[(AuthorityId, String, Form)],
    authority: &AuthorityId,
    profile: &Profile,
) -> Vec<Lookalike> {
    let own: Vec<Form> = names(profile).map(|name| Form::of(name)).collect();
    let mut closest: BTreeMap<AuthorityId, (Resemblance, &String)> = BTreeMap::new();
    for (other, name, form) in forms.iter().filter(|(other, ..)| other != authority) {
        let Some(found) = own.iter().filter_map(|own| own.resemblance(form)).min() else {
            continue;
        };
        let entry = closest.entry(*other).or_insert((found, name));
        *entry = (*entry).min((found, name));
    }
    let mut found: Vec<_> = closest
        .into_iter()
        .map(|(authority, (resemblance, name))| Lookalike {
            authority,
            name: name.clone(),
            resemblance,
        })
        .collect();
    found.sort_by_key(|lookalike| lookalike.resemblance);
    found
}

/// What is odd about what an authority says of itself, one sentence each.
#[must_use]
pub fn oddities(profile: &Profile) -> Vec<String> {
    let odd_names = names(profile).flat_map(|name| {
        let found = peculiarities(name).into_iter();
        found.map(move |peculiarity| format!("the name {name:?} {}", peculiarity.explanation()))
    });
    let odd_ids = profile.organisation_ids.iter().filter_map(|id| {
        let checked =
            organisation::normalise(&id.scheme, &id.id).map(|id| organisation::check(&id));
        match checked {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(format!("it claims to be {:?}: {error}", id.to_string())),
            None => Some(format!("it claims to be {:?}, which means nothing", id.to_string())),
        }
    });
    odd_names.chain(odd_ids).collect()
}

fn names(profile: &Profile) -> impl Iterator<Item = &String> {
    std::iter::once(&profile.name).chain(&profile.also_known_as)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainError;
    use crate::domain::book::VALID;
    use crate::keys::tests::card;
    use crate::store::memory::MemoryReplica;
    use std::sync::Arc;
    use tallystick_protocol::card::Card;
    use tallystick_protocol::identity::OrganisationId;

    fn met(own: &Card, others: &[&Card], partners: &[&Card]) -> Acquaintances {
        let identities = others.iter().chain([&own]).map(|card| card.identity().clone());
        let partners = partners.iter().map(|card| card.authority()).collect();
        let register = Register::new(Arc::new(MemoryReplica::new([1; 16])));
        let domains = DomainBook::open(std::path::Path::new("/nonexistent/x")).unwrap();
        let domains = (domains, UnixTime::from_seconds(9));
        Acquaintances::new(own.authority(), identities.collect(), partners, domains, register)
    }

    #[test]
    fn who_was_accepted_is_pinned_and_nobody_else() {
        let (ash, oak, elm) = (card("Ash", 1), card("Oak", 1), card("Elm", 1));
        let met = met(&ash, &[&oak], &[&oak]);
        let how =
            |card: &Card| met.known(&card.authority()).unwrap().map(|k| k.attribution.confirmation);
        assert_eq!(how(&ash), Some(Confirmation::Pinned));
        assert_eq!(how(&oak), Some(Confirmation::Pinned));
        assert_eq!(how(&elm), None);
        assert_eq!(met.confirmation(elm.identity()).unwrap(), Confirmation::SelfAsserted);
    }

    #[test]
    fn a_domain_confirms_only_who_claims_it_now() {
        let dir = tempfile::tempdir().unwrap();
        let place = crate::config::Place::at(&dir.path().join("oak"));
        let domain = Some("oak.gov.uk".to_owned());
        let profile = Profile { name: "Oak".to_owned(), domain, ..Profile::default() };
        let (network, at) = ("test".parse().unwrap(), UnixTime::from_seconds(5));
        let oak = crate::keys::create(&place, &network, profile, at).unwrap();
        let ash = card("Ash", 1);
        let how = |domain: &str, said: &Result<(), DomainError>, now: u64| {
            let mut book = DomainBook::open(&dir.path().join("domains.json")).unwrap();
            book.note(oak.authority(), domain, said, at).unwrap();
            let mut met = met(&ash, &[], &[]);
            (met.domains, met.now) = (book, UnixTime::from_seconds(now));
            met.confirmation(&oak).unwrap()
        };
        let domain = "oak.gov.uk".to_owned();
        let proven = Confirmation::DomainProven { at, domain: domain.clone() };
        assert_eq!(how(&domain, &Ok(()), 6), proven);
        assert_eq!(how(&domain, &Ok(()), 6 + VALID), Confirmation::SelfAsserted);
        assert_eq!(how("elm.gov.uk", &Ok(()), 6), Confirmation::SelfAsserted);
        let other = Err(DomainError::Other(domain.clone()));
        assert_eq!(how(&domain, &other, 6), Confirmation::SelfAsserted);
    }

    #[test]
    fn look_alikes_are_found_among_all_names_but_ones_own() {
        let (ash, oak) = (card("Ash Council", 1), card("Oakley Council", 1));
        let forms = met(&ash, &[&oak], &[]).forms();
        let new = card("0akley Council", 1);
        let find = |profile: &Profile| lookalikes(&forms, &new.authority(), profile);
        let found = find(new.identity().profile());
        let (authority, name) = (oak.authority(), "Oakley Council".to_owned());
        let expected = Lookalike { authority, name, resemblance: Resemblance::LooksSame };
        assert_eq!(found, [expected]);
        let mut other = Profile { name: "Elm Council".to_owned(), ..Profile::default() };
        assert!(find(&other).is_empty());
        other.also_known_as = vec!["Ash City Council".to_owned(), "Oakly Council".to_owned()];
        let found: Vec<_> = find(&other).into_iter().map(|other| other.resemblance).collect();
        assert_eq!(found, [Resemblance::SameWords, Resemblance::OneLetter]);
        assert!(lookalikes(&forms, &oak.authority(), oak.identity().profile()).is_empty());
    }

    #[test]
    fn odd_names_and_identifiers_are_said_so() {
        let id = |scheme: &str, id: &str| OrganisationId { scheme: scheme.into(), id: id.into() };
        let profile = Profile {
            name: "Ash\u{200b} Council".to_owned(),
            organisation_ids: vec![id("GB-LAE", "ASH"), id("GB-COH", "12"), id("GB-COH", "x1")],
            ..Profile::default()
        };
        let found = oddities(&profile);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("\\u{200b}") && found[1].contains("GB-COH-x1"), "{found:?}");
    }
}
