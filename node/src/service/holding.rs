//! Legal holds at the desk: placing, releasing and listing them.
//!
//! **Invariants:** a hold is acknowledged once it is durable, and from then on nothing
//! of the record is deleted here; a record of which everything is deleted cannot be
//! held. Deliberately absent: telling authors, see [`super::erasing`].

use std::sync::{MutexGuard, PoisonError};

use tallystick_protocol::id::RecordRef;
use tallystick_protocol::record::Day;

use super::{Desk, answer, blocking, failed_store, now};
use crate::acquaintance::Acquaintances;
use crate::failure::Failure;
use crate::hold::{Hold, HoldBook, Reason};
use crate::register::RecordKey;
use crate::store::erasure;

impl Desk {
    /// The holds of this authority.
    pub(super) fn holds(&self) -> MutexGuard<'_, HoldBook> {
        // A panic of another thread leaves a book that agrees with its file, or has more holds.
        self.0.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places a hold on a record of any authority, or releases it; returns once that is durable.
    ///
    /// # Errors
    /// A [`Failure`] if the text means no record, everything of it is deleted here, the
    /// date has passed or is none, or there is no hold to be released.
    pub async fn hold(&self, asked: answer::Hold) -> Result<answer::HoldView, Failure> {
        let (desk, met, now) = (self.clone(), self.acquaintances().await, now()?);
        let view = blocking(move || {
            desk.settle_register()?;
            let key = desk.find(&asked.reference)?.key;
            if asked.release {
                let hold = desk.holds().release(&key)?.ok_or_else(|| {
                    Failure::no("this record is not held", "`tally hold --list` shows what is")
                })?;
                let view = desk.hold_view(&met, &key, &hold)?;
                return Ok(answer::HoldView { state: "released".to_owned(), ..view });
            }
            desk.refuse_deleted(&key)?;
            let reason = Reason::from_code(&asked.reason)?;
            let until = asked.until.as_deref().map(last_day).transpose()?;
            let note = asked.note.filter(|note| !note.trim().is_empty());
            let hold = Hold { reason, since: now, until, note };
            if !hold.holds_at(now) {
                return Err(Failure::usage("this day has passed", "give a day to come"));
            }
            desk.holds().place(key, hold.clone())?;
            desk.hold_view(&met, &key, &hold)
        })
        .await??;
        self.0.holds_changed.notify_one();
        Ok(view)
    }

    /// All holds that were placed and not released.
    ///
    /// # Errors
    /// A [`Failure`] if the replica fails.
    pub async fn held(&self) -> Result<answer::Holds, Failure> {
        let (desk, met) = (self.clone(), self.acquaintances().await);
        blocking(move || {
            desk.settle_register()?;
            let placed: Vec<_> =
                desk.holds().iter().map(|(key, hold)| (*key, hold.clone())).collect();
            let holds = placed.iter().map(|(key, hold)| desk.hold_view(&met, key, hold));
            Ok(answer::Holds { holds: holds.collect::<Result<_, _>>()? })
        })
        .await?
    }

    /// Refuses a record of which nothing is kept here any more.
    fn refuse_deleted(&self, key: &RecordKey) -> Result<(), Failure> {
        let register = self.0.projector.register();
        let versions = register.versions(&key.authority, &key.record).map_err(failed_store)?;
        for (_, info) in versions.iter().filter(|(of, _)| of == key) {
            if register.kept(key, info.version).map_err(failed_store)?.is_some() {
                return Ok(());
            }
        }
        Err(Failure::no(
            "nothing of this record is kept here any more",
            "other holders may have it: `tally erase --status REF` lists what they answered",
        ))
    }

    fn hold_view(
        &self,
        met: &Acquaintances,
        key: &RecordKey,
        hold: &Hold,
    ) -> Result<answer::HoldView, Failure> {
        let register = self.0.projector.register();
        let RecordKey { authority, record, space } = *key;
        let known = met.known(&authority).map_err(failed_store)?;
        let at = now()?;
        let replica = self.0.handle.replica();
        let erasures = erasure::of_record(&*replica, &key.any_log(), &record);
        let mut erasures = erasures.map_err(failed_store)?.into_iter();
        let hidden = erasures.any(|one| one.deleted.is_none() && one.erasure.is_in_force(at));
        Ok(answer::HoldView {
            reference: RecordRef { authority, record, version: None }.to_string(),
            authority_name: known.map(|known| known.name),
            group: self.0.opener.name(&space),
            title: register.kept_title(key).map_err(failed_store)?,
            reason: hold.reason.code().to_owned(),
            since: hold.since.as_seconds(),
            until: hold.until.map(|day| day.to_string()),
            note: hold.note.clone(),
            state: if hold.holds_at(at) { "holds" } else { "lapsed" }.to_owned(),
            hidden,
        })
    }
}

fn last_day(text: &str) -> Result<Day, Failure> {
    text.parse()
        .map_err(|_| Failure::usage(format!("{text:?} is no day"), "write it as 2027-03-31"))
}
