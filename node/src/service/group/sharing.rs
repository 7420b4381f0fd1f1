//! Audiences: who would see what is shared, and the seal under which they do.
//!
//! **Invariants:** nothing goes into a group's log but sealed under an epoch whose
//! recipients are members now, save erasures, which hold no content; before that
//! a new epoch is opened if somebody came or went. Deliberately absent: choosing an
//! audience, which people do.

use std::sync::Arc;

use tallystick_protocol::body::Body;
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::seal::BodyKey;
use tallystick_protocol::group::{self, Membership, Role};
use tallystick_protocol::id::{GroupId, Space};

use super::super::answer::{Audience, AudienceView, Audiences};
use super::super::names::names;
use super::super::{Desk, now};
use super::selling::Selling;
use crate::failure::Failure;

/// Seals bodies for the members of a group.
pub(in crate::service) struct Seal {
    key: BodyKey,
    origin: Origin,
}

impl Seal {
    /// The same entry, to be read by members only.
    pub(in crate::service) fn apply(&self, entry: &Entry) -> Result<Entry, Failure> {
        let body = || Failure::internal("an entry without a body");
        let mut header = entry.header().clone();
        header.epoch = Some(self.key.epoch());
        let whole: Body = entry.body().cloned().ok_or_else(body)?;
        let entry = Entry::author(header, whole).map_err(Failure::internal)?;
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(Failure::internal)?;
        let sealed = self.key.seal(&self.origin, &entry, nonce).map_err(Failure::internal)?;
        Ok(entry.sealed(sealed))
    }
}

impl Desk {
    /// The groups into which this authority may share, each with its members.
    ///
    /// # Errors
    /// A [`Failure`] if the clock is wrong or the node is stopping.
    pub async fn audiences(&self) -> Result<Audiences, Failure> {
        let groups = self.0.handle.groups().await.into_iter();
        let groups: Vec<_> =
            groups.filter(|group| self.require(group, Role::Member).is_ok()).collect();
        let now = now()?;
        let members = groups.iter().flat_map(|group| group.members_at(now).map(|(who, _)| *who));
        let selling = self.selling(members.collect()).await?;
        let mut audiences = Vec::new();
        for group in groups {
            audiences.push(self.audience_of(&group, &selling).await?);
        }
        Ok(Audiences { audiences })
    }

    /// Who would see what is shared with an audience.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such group, or this authority only reads in it.
    pub async fn audience(&self, audience: &Audience) -> Result<(Space, AudienceView), Failure> {
        let Audience::Group(name) = audience else {
            return Ok((Space::Public, AudienceView::public()));
        };
        let membership = self.group_named(name).await?;
        self.require(&membership, Role::Member)?;
        let view = self.members_of(&membership).await?;
        Ok((Space::Group(membership.group()), view))
    }

    /// Who sees what is in a space.
    pub(in crate::service) async fn audience_in(
        &self,
        space: Space,
    ) -> Result<AudienceView, Failure> {
        match space {
            Space::Public => Ok(AudienceView::public()),
            Space::Group(group) => self.members_of(&*self.membership(group).await?).await,
        }
    }

    async fn members_of(&self, membership: &Membership) -> Result<AudienceView, Failure> {
        let members = membership.members_at(now()?).map(|(who, _)| *who);
        let selling = self.selling(members.collect()).await?;
        self.audience_of(membership, &selling).await
    }

    async fn audience_of(
        &self,
        membership: &Membership,
        selling: &Selling,
    ) -> Result<AudienceView, Failure> {
        let (now, met) = (now()?, self.acquaintances().await);
        let members: Vec<_> = membership.members_at(now).map(|(who, _)| *who).collect();
        let known = names(met, members.iter().copied().collect()).await?;
        let called = members.iter().map(|who| match known.get(who) {
            Some(known) => known.name.clone(),
            None => who.to_string(),
        });
        Ok(AudienceView {
            space: membership.group().to_string(),
            name: membership.terms().map(|terms| terms.name.clone()),
            members: Some(members.len()),
            authorities: called.collect(),
            sellers: selling.among(&members),
            not_looked_up: selling.left_out,
            kinds: membership
                .terms()
                .map_or(Vec::new(), |terms| terms.kinds.iter().map(ToString::to_string).collect()),
        })
    }

    async fn membership(&self, group: GroupId) -> Result<Arc<Membership>, Failure> {
        self.0.handle.group(group).await.ok_or_else(super::not_here_yet)
    }

    /// The seal for what is written in a space now; none for what is public. The
    /// caller holds the desk's lock.
    pub(in crate::service) async fn seal_for(&self, space: Space) -> Result<Option<Seal>, Failure> {
        let Space::Group(group) = space else { return Ok(None) };
        let membership = self.membership(group).await?;
        self.require(&membership, Role::Member)?;
        self.refuse_behind(&membership)?;
        let keys = self.sealing_keys(core::slice::from_ref(&membership)).await;
        if membership.epoch_needed(now()?, &keys).is_some()
            && let Err(failure) = self.open_epoch(&membership).await
        {
            // An older one will do, if only members can read it.
            self.current_key(group).await?.ok_or(failure)?;
        }
        if self.current_key(group).await?.is_none() {
            // The one that counts was sealed to us in a way that does not open.
            let membership = self.membership(group).await?;
            self.open_epoch(&membership).await?;
        }
        let key = self.current_key(group).await?.ok_or_else(|| {
            Failure::unavailable(
                "there is no secret that only members of the group have",
                "try again when other members are connected",
            )
        })?;
        let origin = group::origin(&self.0.config.network, &self.log_in(space));
        let origin = origin.ok_or_else(|| Failure::internal("a group log without an origin"))?;
        Ok(Some(Seal { key, origin }))
    }

    async fn current_key(&self, group: GroupId) -> Result<Option<BodyKey>, Failure> {
        let (membership, now) = (self.membership(group).await?, now()?);
        let ring = self.0.opener.ring(&group);
        let epoch = membership.current_epoch(now).map(|epoch| epoch.id());
        Ok(epoch.and_then(|epoch| ring.body_key(&self.0.config.network, &group, &epoch)))
    }
}
