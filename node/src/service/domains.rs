//! Domains at the desk: asked when a person wants it, and again every week.
//!
//! By itself a node asks the domains of its partners, and those that a person
//! had it ask before; never those of strangers, who could make it knock
//! anywhere. One at a time, beside all other work.

use std::collections::BTreeMap;
use std::time::Duration;

use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::Identity;

use super::partners::{is_meant, only};
use super::{Desk, answer, blocking, failed_store, now};
use crate::domain::DomainError;
use crate::failure::Failure;

/// How long after its start a node first looks whether domains are to be asked.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(3600);

impl Desk {
    /// Asks the domain that an authority claims, now.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such authority, or several, or it claims no
    /// domain; that the domain does not prove it is an answer.
    pub async fn check_domain(&self, name: &str) -> Result<answer::DomainChecked, Failure> {
        let met = self.acquaintances().await;
        let requests = self.requests().await;
        let requests = requests.iter().map(|card| card.identity());
        // Who asks to be a partner may be known already.
        let all = met.identities().chain(requests).filter(|known| is_meant(known, name));
        let all: BTreeMap<AuthorityId, &Identity> =
            all.map(|known| (known.authority(), known)).collect();
        let Some(found) = only(all.into_values(), name)?.cloned() else {
            return Err(Failure::no(
                format!("no authority called {name:?} is known here"),
                "`tally partner list` shows partners and requests",
            ));
        };
        let Some(domain) = found.profile().domain.clone() else {
            return Err(Failure::no(
                format!("{} claims no domain", found.profile().name),
                "compare its fingerprint over the telephone, or ask partners to endorse it",
            ));
        };
        let said = self.ask(found.authority(), &domain).await?;
        let (met, identity) = (self.acquaintances().await, found.clone());
        let known = blocking(move || met.attribution(&identity)).await?.map_err(failed_store)?;
        Ok(answer::DomainChecked {
            authority: found.authority(),
            name: found.profile().name.clone(),
            known,
            domain,
            proven: said.is_ok(),
            failure: said.as_ref().err().map(ToString::to_string),
            remedy: said.as_ref().err().map(|error| error.remedy().to_owned()),
        })
    }

    /// Asks a domain about an authority and notes what it says.
    async fn ask(
        &self,
        authority: AuthorityId,
        domain: &str,
    ) -> Result<Result<(), DomainError>, Failure> {
        let (prover, asked) = (self.0.prover.clone(), domain.to_owned());
        let said = blocking(move || prover.check(&asked, &authority)).await?;
        self.0.domains.lock().await.note(authority, domain, &said, now()?)?;
        Ok(said)
    }

    /// Asks a domain because it is time, and logs what it says.
    async fn ask_again(&self, authority: AuthorityId, domain: &str) {
        match self.ask(authority, domain).await {
            Ok(Ok(())) => tracing::debug!(%authority, domain, "domain names its authority"),
            Ok(Err(error)) => tracing::info!(%authority, %error, "domain proves nothing"),
            Err(failure) => tracing::warn!(%failure, "what a domain said was not noted"),
        }
    }

    /// The authorities whose domains are to be asked again now.
    async fn due(&self) -> Result<Vec<(AuthorityId, String)>, Failure> {
        let (met, now) = (self.acquaintances().await, now()?);
        let domains = self.0.domains.lock().await;
        let book = self.0.partners.lock().await;
        let due = met.identities().filter_map(|identity| {
            let (authority, domain) = (identity.authority(), identity.profile().domain.clone()?);
            let wanted = book.is_partner(&authority) || domains.finding(&authority).is_some();
            (wanted && domains.is_due(&authority, &domain, now)).then_some((authority, domain))
        });
        Ok(due.collect())
    }
}

/// Asks domains again whenever it is time, for as long as the node runs.
pub(super) async fn check_again_and_again(desk: Desk) {
    if !desk.0.config.check_domains {
        return;
    }
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        match desk.due().await {
            Ok(due) => {
                for (authority, domain) in due {
                    desk.ask_again(authority, &domain).await;
                }
            }
            Err(failure) => tracing::warn!(%failure, "domains were not asked"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
