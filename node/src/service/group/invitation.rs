//! Inviting and joining.
//!
//! **Invariants:** an invitation leaves this node only after its entry is durable;
//! a one-time key is made here, put into the note and forgotten; nobody joins
//! without having been shown the terms, which is the command's to ask. Deliberately
//! absent: sending invitations. People do that, over a channel they trust.

use std::time::Duration;

use tallystick_protocol::group::invitation::{Invitation, InvitationError, UnverifiedInvitation};
use tallystick_protocol::group::operation::Invite;
use tallystick_protocol::group::{ControlEntry, Operation, Role};
use tallystick_protocol::id::{AuthorityId, Space};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::time::UnixTime;

use super::super::partners::{is_meant, only};
use super::super::{Desk, answer, blocking, failed_store, now};
use super::{control_entry, grant, not_here_yet};
use crate::author::random_salt;
use crate::failure::Failure;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Desk {
    /// Makes an invitation into a group; returns once its entry is durable.
    ///
    /// # Errors
    /// A [`Failure`] if this authority is no convenor, or the node cannot write now.
    pub async fn invite(&self, invite: answer::Invite) -> Result<answer::Invited, Failure> {
        let identity = self.0.handle.identity(self.authority()).await;
        let identity = identity.unwrap_or_else(|| self.0.identity.clone());
        let _writing = self.0.writing.lock().await;
        let membership = self.group_named(&invite.group).await?;
        self.require(&membership, Role::Convenor)?;
        let terms = membership.terms().ok_or_else(not_here_yet)?;
        let authority = match &invite.authority {
            Some(name) => Some(self.invitee(name).await?),
            None => None,
        };
        let (issued, lasting) = (now()?, DAY.as_secs() * u64::from(invite.expires_days));
        let expires = UnixTime::from_seconds(issued.as_seconds() + lasting);
        let one_time = SecretKey::from_seed(random_salt().map_err(Failure::internal)?);
        let grant = grant(invite.role.into(), invite.until)?;
        let operation = Invite { key: one_time.public(), grant, authority, expires };
        let operation = Operation::Invite(Box::new(operation));
        let entry = control_entry(&membership.group(), membership.heads(), &operation)?;
        let space = Space::Group(membership.group());
        let authored = self.write_in(space, vec![entry.clone()]).await?;
        let control = ControlEntry::read(&authored.log, authored.start, &entry);
        let control = control.map_err(Failure::internal)?;
        let key = &self.0.node_key;
        let made = Invitation::issue(&identity, key, &control, &one_time, terms, issued);
        let made = made.map_err(Failure::internal)?;
        Ok(answer::Invited {
            group: membership.group(),
            name: terms.name.clone(),
            invitation: made.to_line(),
            armoured: made.to_armour(),
            role: invite.role,
            authority,
            expires: expires.as_seconds(),
        })
    }

    async fn invitee(&self, name: &str) -> Result<AuthorityId, Failure> {
        let identities = self.0.handle.identities().await;
        let found = only(identities.iter().filter(|one| is_meant(one, name)), name)?;
        let id = found.map(|one| one.authority()).or_else(|| name.parse().ok());
        id.ok_or_else(|| {
            Failure::usage(
                format!("no authority called {name:?} is known here"),
                "give its id, or add it as a partner first; `tally partner list` shows partners",
            )
        })
    }

    /// Reads an invitation.
    ///
    /// # Errors
    /// A [`Failure`] if it is none, out of date, for somebody else, or by somebody unknown.
    pub async fn look_at_invitation(
        &self,
        accept: &answer::Accept,
    ) -> Result<answer::InvitationView, Failure> {
        let invitation = self.read_invitation(&accept.invitation).await?;
        self.view_invitation(&invitation, false).await
    }

    /// Accepts an invitation; returns once that is durable. Members take this
    /// authority in when they hear of it.
    ///
    /// # Errors
    /// As [`Desk::look_at_invitation`], or if the node cannot write now.
    pub async fn join_group(
        &self,
        accept: &answer::Accept,
    ) -> Result<answer::InvitationView, Failure> {
        let invitation = self.read_invitation(&accept.invitation).await?;
        let (group, host, me) = (invitation.group(), invitation.authority(), self.authority());
        let operation = invitation.accept(&me, now()?).map_err(of_no_use)?;
        let _writing = self.0.writing.lock().await;
        let (member, leaf) = (self.0.handle.group(group).await, invitation.entry().leaf);
        if member.is_some_and(|group| super::has_joined(&group, &me, &leaf)) {
            return Err(Failure::usage(
                "this authority is a member of the group already",
                "`tally group members GROUP` shows as what",
            ));
        }
        let name = invitation.terms().name.clone();
        self.0.accepted.lock().await.add(group, name, (host, leaf))?;
        self.0.handle.invited(group, vec![host]).await;
        let entry = control_entry(&group, &[invitation.entry()], &operation)?;
        self.write_control(group, entry).await?;
        self.view_invitation(&invitation, true).await
    }

    async fn read_invitation(&self, text: &str) -> Result<Invitation, Failure> {
        let unverified = UnverifiedInvitation::parse(text, &self.0.config.network);
        let unverified = unverified.map_err(of_no_use)?;
        let host = unverified.claimed_authority();
        let Some(identity) = self.0.handle.identity(host).await else {
            return Err(Failure::usage(
                format!("the invitation is by {host}, who is not known here"),
                "add them as a partner first, with `tally partner add` and their card",
            ));
        };
        let invitation = unverified.verify(&identity).map_err(of_no_use)?;
        invitation.accept(&self.authority(), now()?).map_err(of_no_use)?;
        Ok(invitation)
    }

    async fn view_invitation(
        &self,
        invitation: &Invitation,
        accepted: bool,
    ) -> Result<answer::InvitationView, Failure> {
        let (met, host) = (self.acquaintances().await, invitation.authority());
        let known = blocking(move || met.known(&host)).await?.map_err(failed_store)?;
        let (authority_name, known) = known.map(|known| (known.name, known.attribution)).unzip();
        let (grant, terms) = (invitation.grant(), invitation.terms());
        Ok(answer::InvitationView {
            group: invitation.group(),
            name: terms.name.clone(),
            authority: host,
            authority_name,
            known,
            role: grant.role().into(),
            until: grant.until().map(UnixTime::as_seconds),
            expires: invitation.expires().as_seconds(),
            history: terms.history.into(),
            least: terms.least,
            continuation: super::continuation_name(&terms.continuation),
            terms: terms.text.clone(),
            accepted,
        })
    }
}

fn of_no_use(error: InvitationError) -> Failure {
    let remedy = match error {
        InvitationError::Expired | InvitationError::SomebodyElse => {
            "ask whoever invites for another one, the output of `tally group invite`"
        }
        _ => "give the whole invitation, as the output of `tally group invite`, or a file with it",
    };
    Failure::usage(error, remedy)
}
