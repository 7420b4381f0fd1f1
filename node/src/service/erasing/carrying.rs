//! Carries out what is due: erasures after their delay, and retention dates.
//!
//! A minute late at most, retention dates to the second, and a moment after it came if controllers countersigned.
//! **Invariants:** nothing is deleted before the register knows the erasure, so that
//! all it covers is found; nothing is deleted of a record that is under a legal hold.
//! Deliberately absent: hiding, which needs nobody to carry it out.

use std::collections::BTreeMap;
use std::time::Duration;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::LogId;
use tallystick_protocol::time::UnixTime;
use tokio::sync::broadcast::error::RecvError;

use super::super::{Desk, blocking, failed_store};
use crate::driver::unix_time;
use crate::failure::Failure;
use crate::hold::Hold;
use crate::register::RecordKey;
use crate::store::erasure::{self, Standing, retention};

/// How often what is due is looked for, when nothing happens.
const PERIOD: Duration = Duration::from_secs(60);
/// Erasures that are carried out at a time: what is left of their records is in memory.
pub(super) const ROUND: usize = 64;
/// How long to wait after something has happened: more may follow.
const MOMENT: Duration = Duration::from_millis(500);

/// Legal holds that last.
pub(super) type Holding = BTreeMap<RecordKey, Hold>;

/// What is left of an entry.
type Left = (LogId, u64, Entry);

/// The record that an erasure is of.
pub(super) const fn erased(standing: &Standing) -> RecordKey {
    let Standing { log, erasure, .. } = standing;
    RecordKey { authority: log.authority, space: log.space, record: erasure.record }
}

impl Desk {
    /// Carries out what is due.
    async fn carry_out(&self) -> Result<(), Failure> {
        loop {
            let desk = self.clone();
            let due = blocking(move || {
                let now = unix_time();
                desk.lapse(now)?;
                desk.due_erasures(now, &desk.holds().at(now))
            });
            let due = due.await??;
            if due.is_empty() {
                return Ok(());
            }
            for (standing, left) in due {
                let (record, entries) = (standing.erasure.record, left.len());
                if !self.0.handle.delete(standing, left).await {
                    return Ok(());
                }
                tracing::info!(%record, entries, "an erasure was carried out");
                self.0.projector.wake();
            }
        }
    }

    /// How long to wait if nothing happens: until the next retention date, if it is near.
    async fn rest(&self) -> Duration {
        let replica = self.0.handle.replica();
        let next = blocking(move || retention::next(&*replica)).await;
        let next = next.ok().and_then(Result::ok).flatten();
        let until = next.map(|next| next.as_seconds().saturating_sub(unix_time().as_seconds()));
        until.map_or(PERIOD, |seconds| Duration::from_secs(seconds).min(PERIOD))
    }

    /// Has projections look at what is retained no longer.
    fn lapse(&self, now: UnixTime) -> Result<(), Failure> {
        let replica = self.0.handle.replica();
        while retention::lapse(&*replica, now, ROUND).map_err(failed_store)? > 0 {
            self.0.projector.wake();
        }
        Ok(())
    }

    /// The first that are due and not held, with what is left of what they cover.
    fn due_erasures(
        &self,
        now: UnixTime,
        held: &Holding,
    ) -> Result<Vec<(Standing, Vec<Left>)>, Failure> {
        let pending = erasure::pending(&*self.0.handle.replica()).map_err(failed_store)?;
        let projector = &self.0.projector;
        let is_due =
            |standing: &Standing| standing.due() <= now && !held.contains_key(&erased(standing));
        let mut due = Vec::new();
        for standing in pending.into_iter().filter(is_due) {
            if projector.registered(&standing.log) > standing.erasure.at.index {
                let left = projector.register().left_by(&standing).map_err(failed_store)?;
                due.push((standing, left));
            }
            if due.len() >= ROUND {
                break;
            }
        }
        Ok(due)
    }
}

/// Carries out erasures as they become due, and tells their authors.
pub(in crate::service) async fn again_and_again(desk: Desk) {
    let mut notices = desk.0.handle.notices();
    loop {
        if let Err(failure) = desk.carry_out().await {
            tracing::warn!(error = %failure, "an erasure could not be carried out; trying again");
        }
        if let Err(failure) = desk.answer_authors().await {
            tracing::info!(error = %failure, "an erasure could not be answered; trying again");
        }
        let something = async {
            tokio::select! {
                () = desk.0.holds_changed.notified() => {}
                // Whatever it was, and whatever was missed.
                () = async { while let Err(RecvError::Lagged(_)) = notices.recv().await {} } => {}
            }
        };
        let _elapsed = tokio::time::timeout(desk.rest().await, something).await;
        tokio::time::sleep(MOMENT).await;
    }
}
