//! What a member does for its groups without being asked: it lets newcomers
//! read, shuts out who has gone, and says that it has seen a removal.
//!
//! Any writing member may do it, so they take turns: each waits by its place
//! among them, and looks again before it writes. **Invariant:** nothing is
//! written that is not needed by what is known at that moment. Deliberately
//! absent: who may join, which a convenor decided when it invited.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tallystick_protocol::group::{Membership, Operation, Role};
use tallystick_protocol::id::{GroupId, Hash};
use tallystick_protocol::sync::Notice;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::super::{Desk, now};
use super::has_joined;
use crate::failure::Failure;

/// How often it looks when nothing happens: an observer's time may have ended.
const PERIOD: Duration = Duration::from_secs(60);
/// How long the first in line waits: more may follow.
const MOMENT: Duration = Duration::from_millis(300);
/// How much longer each one after it.
const TURN: Duration = Duration::from_secs(2);
/// Longest wait, however many members there are.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks after the groups for as long as the node runs.
pub(in crate::service) async fn look_after(desk: Desk) {
    let mut notices = desk.0.handle.notices();
    let mut due: BTreeMap<GroupId, Instant> = BTreeMap::new();
    loop {
        if let Err(failure) = desk.look_after_groups(&mut due).await {
            tracing::warn!(%failure, "a private group could not be looked after; trying again");
        }
        let next = due.values().min().copied().unwrap_or_else(|| Instant::now() + PERIOD);
        tokio::select! {
            gone = changed(&mut notices) => if gone { return },
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Waits until something of a group may have changed; whether the node is stopping.
async fn changed(notices: &mut Receiver<Notice>) -> bool {
    loop {
        match notices.recv().await {
            Err(RecvError::Closed) => return true,
            Err(RecvError::Lagged(_))
            | Ok(
                Notice::GroupChanged { .. }
                | Notice::IdentityAccepted { .. }
                | Notice::IdentityChanged { .. },
            ) => return false,
            Ok(_) => {}
        }
    }
}

impl Desk {
    /// Takes in what has changed and does what is due; `due` are the times of what is next.
    async fn look_after_groups(&self, due: &mut BTreeMap<GroupId, Instant>) -> Result<(), Failure> {
        self.learn_groups().await?;
        let (groups, me) = (self.0.handle.groups().await, self.authority());
        let joined = |group: &GroupId, by: &Hash| {
            let mut known = groups.iter().filter(|known| known.group() == *group);
            known.any(|known| has_joined(known, &me, by))
        };
        self.0.accepted.lock().await.forget(joined)?;
        for membership in groups {
            let group = membership.group();
            if !self.is_needed(&membership).await? {
                due.remove(&group);
                continue;
            }
            let turn = self.turn(&membership);
            let at = *due.entry(group).or_insert_with(|| Instant::now() + turn);
            if at <= Instant::now() {
                // What fails is tried again after a while.
                due.insert(group, Instant::now() + LONGEST);
                self.do_needed(group).await?;
            }
        }
        Ok(())
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

    async fn is_needed(&self, membership: &Membership) -> Result<bool, Failure> {
        let (me, now) = (self.authority(), now()?);
        let writes = membership.role(&me) >= Some(Role::Member) && membership.is_member(&me, now);
        Ok(writes
            && (!membership.to_acknowledge(&me).is_empty()
                || membership.epoch_needed(now, &self.sealing_keys().await).is_some()))
    }

    /// Opens an epoch, or says that a removal was seen, if that is still needed.
    async fn do_needed(&self, group: GroupId) -> Result<(), Failure> {
        let _writing = self.0.writing.lock().await;
        let Some(membership) = self.0.handle.group(group).await else { return Ok(()) };
        if !self.is_needed(&membership).await? {
            return Ok(());
        }
        // Whoever opens an epoch has seen what it names, too.
        if membership.epoch_needed(now()?, &self.sealing_keys().await).is_some() {
            let opened = self.open_epoch(&membership).await;
            if opened.is_ok() || membership.to_acknowledge(&self.authority()).is_empty() {
                return opened;
            }
        }
        let current: Arc<Membership> = self.0.handle.group(group).await.unwrap_or(membership);
        self.say(&current, Operation::Acknowledge).await
    }
}
