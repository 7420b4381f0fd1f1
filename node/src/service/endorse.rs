//! Endorsing at the desk: saying publicly that a partner is who it says it is.

use tallystick_protocol::endorsement::Endorsement;
use tallystick_protocol::id::{Hash, RecordRef, Version};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::record::Kind;

use super::partners::find;
use super::{Desk, answer, blocking, failed_author, failed_store, now};
use crate::author::{endorse, random_salt, withdraw};
use crate::failure::Failure;

impl Desk {
    /// Endorses what a partner claims now, or takes that back; or only says
    /// what would be said. Returns once it is durable.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such partner, its claims are not those that
    /// were previewed, or the node cannot write now.
    pub async fn endorse(&self, asked: answer::Endorse) -> Result<answer::Endorsed, Failure> {
        let partner = self.partner(&asked.authority).await?;
        let claims = Endorsement::of(&partner);
        if asked.digest.is_some_and(|digest| digest != claims.digest()) {
            return Err(Failure::no(
                format!("{} has changed what it claims in the meantime", claims.name),
                "look at its claims with `tally partner list` and repeat the command",
            ));
        }
        let writing = self.0.writing.lock().await;
        let said = self.said_of(&claims).await?;
        let stands = said.is_some_and(|(_, digest)| digest == Some(claims.digest()));
        // Of an endorsement of earlier claims there is something to take back, too.
        let changed = match asked.withdraw {
            true => said.is_some_and(|(_, digest)| digest.is_some()),
            false => !stands,
        };
        let mut answer = answer::Endorsed {
            authority: claims.authority,
            name: claims.name.clone(),
            organisation_ids: claims.organisation_ids.clone(),
            domain: claims.domain.clone(),
            digest: claims.digest(),
            endorsed: !asked.withdraw,
            changed,
            reference: None,
            signed: None,
        };
        if asked.preview || !changed {
            return Ok(answer);
        }
        let (record, issued) = (Endorsement::record(&claims.authority), now()?);
        let (salt, previous) = (random_salt().map_err(Failure::internal)?, said.map(|(v, _)| v));
        let entry = match previous.filter(|_| asked.withdraw) {
            Some(previous) => withdraw(Kind::ENDORSEMENT, record, previous, None, issued, salt),
            None => endorse(&claims, previous, issued, salt),
        };
        let authored = self.write(vec![entry.map_err(failed_author)?]).await?;
        let version = Version { generation: authored.log.generation, index: authored.start };
        drop(writing);
        let place = RecordRef { authority: self.authority(), record, version: Some(version) };
        answer.reference = Some(place.to_string());
        answer.signed = Some(self.is_signed(authored).await);
        Ok(answer)
    }

    /// The newest identity of the partner with this name, or an id that begins so.
    async fn partner(&self, name: &str) -> Result<Identity, Failure> {
        let cards: Vec<_> = self.0.partners.lock().await.partners().cloned().collect();
        let Some(card) = find(&cards, name)? else {
            return Err(Failure::no(
                format!("there is no partner called {name:?}"),
                "only a partner can be endorsed: compare its fingerprint and accept it first",
            ));
        };
        let newest = self.0.handle.identity(card.authority()).await;
        Ok(newest.unwrap_or_else(|| card.identity().clone()))
    }

    /// What this authority has said of the claims' authority last.
    async fn said_of(
        &self,
        claims: &Endorsement,
    ) -> Result<Option<(Version, Option<Hash>)>, Failure> {
        let (desk, endorsed) = (self.clone(), claims.authority);
        blocking(move || {
            desk.settle_register()?;
            let register = desk.0.projector.register();
            register.endorsement(&desk.authority(), &endorsed).map_err(failed_store)
        })
        .await?
    }
}
