//! Endorsements: one authority says publicly that another is who it says it is.
//!
//! An endorsement is an entry of the endorser's public log, of kind
//! [`Kind::ENDORSEMENT`](crate::record::Kind::ENDORSEMENT). Its body repeats
//! what it vouches for: `authority`, `name`, `organisationIds.0` and so on, and
//! `domain`. Its record id is the beginning of the endorsed authority's id, so
//! each authority says one thing about another at a time, and `withdraw` takes
//! it back.
//!
//! **Invariant:** an endorsement holds only as long as the endorsed authority
//! claims exactly what was endorsed ([`Endorsement::digest`]); a changed name
//! is a new claim. Deliberately absent: whose endorsements count, which is for
//! each reader to decide.

use sha2::{Digest as _, Sha256};

use crate::body::{FieldError, Fields};
use crate::id::{AuthorityId, Hash, RecordId};
use crate::identity::{Identity, OrganisationId};
use crate::limits;
use crate::organisation;

const DIGEST_DOMAIN: &[u8] = b"tallystick endorsement v1\n";

/// What is vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// The endorsed authority.
    pub authority: AuthorityId,
    /// Its name.
    pub name: String,
    /// Its identifiers in public registers, as one text each, in their one
    /// spelling and in order.
    pub organisation_ids: Vec<String>,
    /// Its domain.
    pub domain: Option<String>,
}

impl Endorsement {
    /// What an authority claims now.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let profile = identity.profile();
        let spelled = |id: &OrganisationId| {
            organisation::normalise(&id.scheme, &id.id).unwrap_or_else(|| id.clone()).to_string()
        };
        let mut organisation_ids: Vec<_> = profile.organisation_ids.iter().map(spelled).collect();
        organisation_ids.sort();
        organisation_ids.dedup();
        Self {
            authority: identity.authority(),
            name: profile.name.clone(),
            organisation_ids,
            domain: profile.domain.clone(),
        }
    }

    /// Under which record id an authority is endorsed.
    #[must_use]
    pub fn record(authority: &AuthorityId) -> RecordId {
        RecordId::from_bytes(authority.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// The body of the entry.
    ///
    /// # Errors
    /// A [`FieldError`] if a claim cannot be part of a body; those of an
    /// [`Identity`] can.
    pub fn to_fields(&self) -> Result<Fields, FieldError> {
        let mut fields = Fields::new();
        fields.insert("authority", &self.authority.to_string().into())?;
        fields.insert("name", &self.name.as_str().into())?;
        for (at, id) in self.organisation_ids.iter().enumerate() {
            fields.insert(&format!("organisationIds.{at}"), &id.as_str().into())?;
        }
        if let Some(domain) = &self.domain {
            fields.insert("domain", &domain.as_str().into())?;
        }
        Ok(fields)
    }

    /// What a body says; `None` if it is no endorsement, or not all of it is shown.
    #[must_use]
    pub fn from_fields(fields: &Fields) -> Option<Self> {
        let text = |name: &str| fields.text(name);
        let listed = (0..limits::IDENTITY_LIST).map(|at| text(&format!("organisationIds.{at}")));
        let organisation_ids: Vec<_> = listed.map_while(|id| id).collect();
        let domain = text("domain");
        let understood = 2 + organisation_ids.len() + usize::from(domain.is_some());
        let all = Self {
            authority: text("authority")?.parse().ok()?,
            name: text("name")?,
            organisation_ids,
            domain,
        };
        // A claim in a field that is not known is endorsed, too, and by itself means nothing here.
        (fields.len() == understood).then_some(all)
    }

    /// By which two endorsements are compared.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(DIGEST_DOMAIN);
        hasher.update(self.authority.as_bytes());
        let ids = self.organisation_ids.iter().map(|id| (b'i', id));
        let domain = self.domain.iter().map(|domain| (b'd', domain));
        for (mark, text) in [(b'n', &self.name)].into_iter().chain(ids).chain(domain) {
            hasher.update([mark]);
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        Hash::from_bytes(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UnverifiedChain;
    use crate::identity::tests::{event, secret};

    fn id(scheme: &str, id: &str) -> OrganisationId {
        OrganisationId { scheme: scheme.to_owned(), id: id.to_owned() }
    }

    fn identity(ids: Vec<OrganisationId>, domain: Option<&str>) -> Identity {
        let mut event = event(10);
        event.profile.organisation_ids = ids;
        event.profile.domain = domain.map(str::to_owned);
        let signed = event.sign(&[(0, &secret(10))]).unwrap();
        UnverifiedChain::new(vec![signed]).verify(&"test".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_body_says_what_was_endorsed() {
        let ids = vec![id("GB-LAE", "XAS"), id("GB-COH", "1234567")];
        let full = Endorsement::of(&identity(ids, Some("ash.gov.uk")));
        assert_eq!(full.organisation_ids, ["GB-COH-01234567", "GB-LAE-XAS"]);
        let bare = Endorsement::of(&identity(Vec::new(), None));
        for said in [full.clone(), bare] {
            let fields = said.to_fields().unwrap();
            assert_eq!(Endorsement::from_fields(&fields), Some(said));
        }
        // Not all of it is shown, or it says more than this version knows.
        let mut more = full.to_fields().unwrap();
        more.insert("organisationIds.9", &"GB-LAE-XOA".into()).unwrap();
        assert_eq!(Endorsement::from_fields(&more), None);
        assert_eq!(Endorsement::from_fields(&Fields::new()), None);
    }

    #[test]
    fn any_other_claim_is_another_endorsement() {
        let of = |ids: &[(&str, &str)], domain| {
            let ids = ids.iter().map(|(scheme, number)| id(scheme, number)).collect();
            Endorsement::of(&identity(ids, domain)).digest()
        };
        let plain = |name: &str, authority: u8| {
            let authority = AuthorityId::from_bytes([authority; 32]);
            let name = name.to_owned();
            Endorsement { authority, name, organisation_ids: Vec::new(), domain: None }.digest()
        };
        let all = [
            of(&[], None),
            of(&[], Some("ash.gov.uk")),
            of(&[("GB-LAE", "XAS")], None),
            of(&[("GB-LAE", "XAS"), ("GB-COH", "1")], None),
            plain("Ash", 1),
            plain("Ash", 2),
            plain("Oak", 1),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
