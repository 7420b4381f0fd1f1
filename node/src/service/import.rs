//! Importing at the desk: batches of rows become entries and references.

use tallystick_protocol::id::{Space, Version};
use tallystick_protocol::identity::Profile;

use super::record::offer;
use super::{
    Desk, REGISTER_PATIENCE, answer, blocking, failed_author, failed_projector, failed_store, kind,
    now,
};
use crate::author::{
    Importer, Material, OfferedRow, Plan, Recent, Rehearsal, ReplicaLookup, random_salt,
};
use crate::failure::Failure;
use crate::ingest::buyer::Ownership;
use crate::ingest::{Outcome, Refusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What makes a row this authority's own.
#[must_use]
pub fn ownership(profile: &Profile) -> Ownership {
    let ids = profile.organisation_ids.iter().map(ToString::to_string);
    Ownership::new(&profile.name, &profile.also_known_as, &ids.collect::<Vec<_>>())
}

impl Desk {
    /// Imports a batch of rows, or only says what would become of them.
    ///
    /// Rows are acknowledged together; if this fails, some of them may be kept,
    /// and importing them again counts those as unchanged.
    ///
    /// # Errors
    /// A [`Failure`] if the batch is too large, or the node cannot write now.
    pub async fn import(&self, batch: answer::ImportBatch) -> Result<answer::Imported, Failure> {
        if batch.rows.len() > answer::BATCH_ROWS {
            return Err(Failure::usage(
                format!("a batch has at most {} rows", answer::BATCH_ROWS),
                "send the rows in several batches",
            ));
        }
        let (space, _) = self.audience(&batch.audience).await?;
        let mut recent = Arc::clone(&self.0.writing).lock_owned().await;
        let desk = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let into = Into { space, runtime };
        blocking(move || desk.import_blocking(batch, &mut recent, &into)).await?
    }

    fn import_blocking(
        &self,
        batch: answer::ImportBatch,
        recent: &mut Recent,
        into: &Into,
    ) -> Result<answer::Imported, Failure> {
        let register = self.0.projector.register().clone();
        let (space, ownership) = (into.space, ownership(self.0.identity.profile()));
        let lookup = ReplicaLookup::new(self.authority(), space, register);
        let mut importer = Importer::new(self.authority(), space, ownership);
        let mut unsalted = None;
        let mut salt = || {
            random_salt().unwrap_or_else(|error| {
                unsalted = Some(error);
                [0; 32]
            })
        };
        let mut material = Material { issued: now()?, note: batch.note, salt: &mut salt };
        let mut rows = batch.rows.into_iter().map(row);
        let mut carried = Carried { desk: self, into, rows: Vec::new(), signed: true };
        if batch.preview {
            self.settle_register()?;
            let mut rehearsal = Rehearsal::new(lookup);
            while let Some(plan) =
                importer.plan(&mut rows, &rehearsal, &mut material).map_err(failed_author)?
            {
                rehearsal.apply(&plan);
                carried.count(plan);
            }
        } else {
            loop {
                self.settle_recent(recent, space)?;
                let lookup = recent.over(lookup.clone());
                let plan = importer.plan(&mut rows, &lookup, &mut material);
                let Some(plan) = plan.map_err(failed_author)? else { break };
                carried.out(plan, recent)?;
            }
        }
        let Carried { rows, mut signed, .. } = carried;
        if !signed {
            let end = self.0.written.to(space);
            signed = into.runtime.block_on(self.settle_signature(self.log_in(space), end));
        }
        match unsalted {
            Some(error) => Err(Failure::internal(error)),
            None => Ok(answer::Imported { rows, signed }),
        }
    }

    /// Waits until all that was written is in the register or remembered, with
    /// room for one more plan. Blocks.
    fn settle_recent(&self, recent: &mut Recent, space: Space) -> Result<(), Failure> {
        let (log, written) = (self.log_in(space), self.0.written.to(space));
        if !recent.reaches(&log, written) {
            self.settle_register()?;
            *recent = Recent::after(log, written);
        }
        let projector = &self.0.projector;
        if let Some(size) = recent.wanted() {
            let waited = projector.wait_for_register(&log, size, REGISTER_PATIENCE);
            waited.map_err(failed_projector)?;
        }
        recent.forget(projector.registered(&log));
        Ok(())
    }
}

/// Where records go, and what waits for that.
struct Into {
    space: Space,
    runtime: tokio::runtime::Handle,
}

/// Carries plans out and collects what became of the rows.
struct Carried<'a> {
    desk: &'a Desk,
    into: &'a Into,
    rows: Vec<answer::ImportedRow>,
    signed: bool,
}

impl Carried<'_> {
    fn out(&mut self, mut plan: Plan, recent: &mut Recent) -> Result<(), Failure> {
        let entries = std::mem::take(&mut plan.entries);
        if !entries.is_empty() {
            let headers: Vec<_> = entries.iter().map(|entry| entry.header().clone()).collect();
            let written = self.desk.write_sealed(self.into.space, entries);
            let authored = self.into.runtime.block_on(written)?;
            let start = Version { generation: authored.log.generation, index: authored.start };
            let documents = std::mem::take(&mut plan.documents);
            let appended = headers.into_iter().zip(documents);
            let appended = appended.map(|(header, (key, fields))| (header, key, fields));
            recent.remember(start, appended.collect());
            self.signed = authored.signed;
        }
        if !plan.references.is_empty() {
            let inner = &self.desk.0;
            let kept = inner.projector.references().put(&plan.references);
            kept.and_then(|_| inner.handle.replica().flush()).map_err(failed_store)?;
            inner.referred.store(true, Ordering::SeqCst);
            inner.projector.wake();
        }
        self.count(plan);
        Ok(())
    }

    fn count(&mut self, plan: Plan) {
        self.rows.extend(plan.rows.into_iter().map(|row| answer::ImportedRow {
            number: row.row,
            outcomes: row.outcomes.into_iter().map(outcome).collect(),
        }));
    }
}

fn outcome(outcome: Outcome) -> answer::ImportOutcome {
    match outcome {
        Outcome::Stored => answer::ImportOutcome::Stored,
        Outcome::Changed => answer::ImportOutcome::Changed,
        Outcome::Unchanged => answer::ImportOutcome::Unchanged,
        Outcome::Reference => answer::ImportOutcome::Reference,
        Outcome::Refused(reason) => answer::ImportOutcome::Refused(reason),
    }
}

/// A row as the importer takes it. What it says was read from a file by the
/// command, and is judged again here: the API believes nobody.
fn row(row: answer::ImportRow) -> OfferedRow {
    let offered = |draft: answer::ImportDraft| {
        let kind = kind(&draft.kind)?;
        offer(kind, draft.document.get(), draft.warnings)
    };
    let offers: Result<Vec<_>, Failure> = row.drafts.into_iter().map(offered).collect();
    OfferedRow { number: row.number, offers: offers.map_err(|failure| Refusal::new(failure.error)) }
}
