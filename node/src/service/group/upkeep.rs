//! What a member does for its groups without being asked: it lets newcomers
//! read, shuts out who has gone, and says that it has seen a removal.
//!
//! Any writing member may do it, so they take turns: each waits by its place
//! among them, and looks again before it writes. A group is looked at when something
//! of it has changed: its entries, a member's keys, or that a member's time is over
//! ([`agenda`]). **Invariant:** nothing is written that is not needed by what is known at
//! that moment. Deliberately absent: who may join, which a convenor decided when it
//! invited.

mod agenda;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tallystick_protocol::group::{Membership, Operation, Role};
use tallystick_protocol::id::{AuthorityId, GroupId, Hash};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::sync::Notice;
use tallystick_protocol::time::UnixTime;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use self::agenda::Agenda;
use super::super::{Desk, now};
use super::has_joined;
use crate::driver::unix_time;
use crate::failure::Failure;

/// How long the first in line waits: more may follow.
const MOMENT: Duration = Duration::from_millis(300);
/// How much longer each one after it.
const TURN: Duration = Duration::from_secs(2);
/// Longest wait, however many members there are.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks after the groups for as long as the node runs.
pub(in crate::service) async fn look_after(desk: Desk) {
    let mut notices = desk.0.handle.notices();
    let mut agenda = Agenda::default();
    loop {
        if let Err(failure) = desk.look_after_groups(&mut agenda).await {
            tracing::warn!(%failure, "a private group could not be looked after; trying again");
        }
        let wait = agenda.wait(Instant::now(), unix_time());
        tokio::select! {
            gone = changed(&mut notices, &mut agenda) => if gone { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Waits until something of a group may have changed; whether the node is stopping.
async fn changed(notices: &mut Receiver<Notice>, agenda: &mut Agenda) -> bool {
    loop {
        match notices.recv().await {
            Err(RecvError::Closed) => return true,
            Err(RecvError::Lagged(_)) => agenda.missed(),
            Ok(notice) => agenda.heard(&notice),
        }
        if agenda.is_stirred() && notices.is_empty() {
            return false;
        }
    }
}

/// What members' identities name to seal to.
type Keys = BTreeMap<AuthorityId, SealingKey>;

impl Desk {
    /// Takes in what has changed and does what is due.
    async fn look_after_groups(&self, agenda: &mut Agenda) -> Result<(), Failure> {
        let (me, now) = (self.authority(), now()?);
        let looking = agenda.look(Instant::now(), now);
        let mut groups = self.learn_groups(looking.among()).await?;
        groups.retain(|group| looking.concerns(group));
        let joined = |group: &GroupId, by: &Hash| {
            let mut known = groups.iter().filter(|known| known.group() == *group);
            known.any(|known| has_joined(known, &me, by))
        };
        self.0.accepted.lock().await.forget(joined)?;
        let keys = self.sealing_keys(&groups).await;
        agenda.looked();
        let mut result = Ok(());
        for membership in groups {
            let (group, at) = (membership.group(), Instant::now());
            let turn = self.is_needed(&membership, &keys, now).then(|| self.turn(&membership));
            if agenda.note(&membership, (at, now), turn).is_some_and(|due| due <= at) {
                // What fails is tried again after a while.
                agenda.put_off(group, at + LONGEST);
                result = result.and(self.do_needed(group).await);
            }
        }
        result
    }

    /// How long this member waits before it does what all could do.
    ///
    /// Who cannot read what the others can comes last: the epoch it opens would
    /// not lead back to the earlier ones.
    fn turn(&self, membership: &Membership) -> Duration {
        let ring = self.0.opener.ring(&membership.group());
        let newest = membership.epochs().last();
        if newest.is_some_and(|epoch| ring.secret(&epoch.id()).is_none()) {
            return LONGEST;
        }
        let writers = membership.members().iter();
        let writers = writers.filter(|(_, member)| member.grant.role() >= Role::Member);
        let place = writers.take_while(|(who, _)| **who != self.authority()).count();
        let turns = u32::try_from(place).unwrap_or(u32::MAX);
        MOMENT.saturating_add(TURN.saturating_mul(turns)).min(LONGEST)
    }

    fn is_needed(&self, membership: &Membership, keys: &Keys, now: UnixTime) -> bool {
        let me = self.authority();
        let writes = membership.role(&me) >= Some(Role::Member) && membership.is_member(&me, now);
        writes
            && (!membership.to_acknowledge(&me).is_empty()
                || membership.epoch_needed(now, keys).is_some())
    }

    /// Opens an epoch, or says that a removal was seen, if that is still needed.
    async fn do_needed(&self, group: GroupId) -> Result<(), Failure> {
        let _writing = self.0.writing.lock().await;
        let Some(membership) = self.0.handle.group(group).await else { return Ok(()) };
        let (keys, now) = (self.sealing_keys(core::slice::from_ref(&membership)).await, now()?);
        if !self.is_needed(&membership, &keys, now) {
            return Ok(());
        }
        // Whoever opens an epoch has seen what it names, too.
        if membership.epoch_needed(now, &keys).is_some() {
            let opened = self.open_epoch(&membership).await;
            if opened.is_ok() || membership.to_acknowledge(&self.authority()).is_empty() {
                return opened;
            }
        }
        let current: Arc<Membership> = self.0.handle.group(group).await.unwrap_or(membership);
        self.say(&current, Operation::Acknowledge).await
    }
}
