//! Importing at the desk: batches of rows become entries and references.

use tallystick_protocol::id::Space;
use tallystick_protocol::identity::Profile;

use super::{Desk, answer, blocking, document, failed_author, failed_store, kind, now};
use crate::author::{Importer, Lookup, Material, Plan, Rehearsal, ReplicaLookup, random_salt};
use crate::failure::Failure;
use crate::ingest::buyer::Ownership;
use crate::ingest::{Draft, Outcome, Refusal, Row};
use std::sync::atomic::Ordering;

/// What makes a row this authority's own.
#[must_use]
pub fn ownership(profile: &Profile) -> Ownership {
    let ids = profile.organisation_ids.iter().map(|id| format!("{}-{}", id.scheme, id.id));
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
        let writing = self.0.writing.lock().await;
        let desk = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let imported = blocking(move || desk.import_blocking(batch, &runtime)).await?;
        drop(writing);
        imported
    }

    fn import_blocking(
        &self,
        batch: answer::ImportBatch,
        runtime: &tokio::runtime::Handle,
    ) -> Result<answer::Imported, Failure> {
        let register = self.0.projector.register().clone();
        let lookup = ReplicaLookup::new(self.authority(), Space::Public, register);
        let mut importer = Importer::new(self.authority(), ownership(self.0.identity.profile()));
        let mut unsalted = None;
        let mut salt = || {
            random_salt().unwrap_or_else(|error| {
                unsalted = Some(error);
                [0; 32]
            })
        };
        let mut material = Material { issued: now()?, note: batch.note, salt: &mut salt };
        let mut rows = batch.rows.into_iter().map(row);
        let mut carried = Carried { desk: self, runtime, rows: Vec::new(), signed: true };
        if batch.preview {
            let mut rehearsal = Rehearsal::new(lookup);
            while let Some(plan) = self.plan(&mut importer, &mut rows, &rehearsal, &mut material)? {
                rehearsal.apply(&plan);
                carried.count(plan);
            }
        } else {
            while let Some(plan) = self.plan(&mut importer, &mut rows, &lookup, &mut material)? {
                carried.out(plan)?;
            }
        }
        let Carried { rows, mut signed, .. } = carried;
        if !signed {
            let end = self.0.written.load(Ordering::SeqCst);
            signed = runtime.block_on(self.settle_signature(end));
        }
        match unsalted {
            Some(error) => Err(Failure::internal(error)),
            None => Ok(answer::Imported { rows, signed }),
        }
    }

    fn plan(
        &self,
        importer: &mut Importer,
        rows: &mut dyn Iterator<Item = Row>,
        lookup: &dyn Lookup,
        material: &mut Material<'_>,
    ) -> Result<Option<Plan>, Failure> {
        self.settle_register()?;
        importer.plan(rows, lookup, material).map_err(failed_author)
    }
}

/// Carries plans out and collects what became of the rows.
struct Carried<'a> {
    desk: &'a Desk,
    runtime: &'a tokio::runtime::Handle,
    rows: Vec<answer::ImportedRow>,
    signed: bool,
}

impl Carried<'_> {
    fn out(&mut self, mut plan: Plan) -> Result<(), Failure> {
        let entries = std::mem::take(&mut plan.entries);
        if !entries.is_empty() {
            self.signed = self.runtime.block_on(self.desk.write(entries))?.signed;
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
fn row(row: answer::ImportRow) -> Row {
    let drafts: Result<Vec<Draft>, Refusal> = row.drafts.into_iter().map(draft).collect();
    Row { number: row.number, drafts }
}

fn draft(draft: answer::ImportDraft) -> Result<Draft, Refusal> {
    let refused = |failure: Failure| Refusal::new(failure.error);
    let kind = kind(&draft.kind).map_err(refused)?;
    let record = document(kind, &draft.document).map_err(refused)?;
    Ok(Draft { record, buyers: draft.buyers, warnings: draft.warnings })
}
