//! `tally import`: rows of files become this authority's records, or references.
//!
//! Files are read here and sent to the node in batches, the next of which is
//! made while the node works on the last; the node decides what is this
//! authority's own and what has changed. So a broken file never costs
//! the node anything, and an import that was interrupted is resumed by
//! repeating it: what was acknowledged counts as unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::record::Contract;
use tallystick_protocol::record::part::Organisation;

use super::Global;
use super::audience::{AudienceOptions, Offer, confirmed};
use super::client::Client;
use super::output::Answer;
use super::progress::Progress;
use super::wording::{clean, count, several};
use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::ingest::buyer::Ownership;
use crate::ingest::{self, Draft, Format, Ingest, Options, Outcome, Summary};
use crate::keys;
use crate::service::answer::{
    Audience, BATCH_ROWS, ImportDraft, ImportOutcome, ImportRow, Imported,
};
use crate::service::ownership;

/// Bytes of rows after which a batch is sent though it has room for more rows.
const BATCH_BYTES: usize = 8 << 20;
/// Batches that are made before the node asks for them.
const AHEAD: usize = 1;
/// Most remarks, and most buyers with similar names, that are kept for showing.
const REMARKS: usize = 1000;
const SHOWN: usize = 10;

/// Import contracts, pipelines and notices from OCDS or CSV files
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Rows whose buyer is this authority become its records; rows of other \
buyers are kept as references, which stay on this node. With --dry-run nothing is stored and \
no running node is needed.")]
pub struct Import {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What they are.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Format,
    #[command(flatten)]
    audience: AudienceOptions,
    /// They are this authority's own contract register: rows without a buyer are its own.
    #[arg(long)]
    register: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if a file cannot be read at all (nothing is stored then)
    /// or the node is not there or lost.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let audience = if self.dry_run && !self.audience.public && self.audience.into.is_none() {
            Audience::Public
        } else {
            self.audience.named(global, Offer::of(&Contract::default().into()))?
        };
        let place = global.place()?;
        let config = Config::load(place.config())?;
        let identity = keys::load_identity(place.data(), &config.network)?;
        let register = self.register.then(|| own_organisation(&identity));
        let options = Options { format: self.format, register };
        let files = self.open(&options)?;
        let client = match global.client() {
            Ok(client) => Some(client),
            Err(failure) if self.dry_run && failure.kind == FailureKind::Unavailable => None,
            Err(failure) => return Err(failure),
        };
        let audience = match &client {
            Some(client) if !self.dry_run => confirmed(client, audience)?,
            _ => audience,
        };
        let progress = Progress::over(files.iter().map(|(_, rows)| rows.size()).sum());
        let reader = Reader {
            audience,
            preview: self.dry_run,
            offline: client.is_none(),
            ownership: ownership(identity.profile()),
            remarks: Remarks::default(),
            rows: Vec::new(),
            bytes: 0,
            counted: Vec::new(),
            seen: BTreeMap::new(),
            file: String::new(),
            note: String::new(),
            position: 0,
        };
        let mut summary = Summary::default();
        let remarks = std::thread::scope(|scope| {
            let (sender, batches) = mpsc::sync_channel(AHEAD);
            let reader = scope.spawn(move || reader.read(files, &sender));
            let sent = send(batches, client.as_ref(), &mut summary, &progress);
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sent.and(read)
        })?;
        progress.finish();
        Ok(Tally { summary, remarks }.answer(self.dry_run, client.is_none()))
    }

    /// Opens every file before anything of the first is stored.
    fn open(&self, options: &Options) -> Result<Vec<(&Path, Ingest)>, Failure> {
        let open = |path: &'_ PathBuf| {
            let opened = ingest::open(path, options).map_err(|error| {
                Failure::usage(format!("{}: {error}", path.display()), error.hint())
            });
            opened.map(|rows| (path.clone(), rows))
        };
        let mut files = Vec::new();
        for path in &self.files {
            files.push((path.as_path(), open(path)?.1));
        }
        Ok(files)
    }
}

/// This authority as the buyer of its own register.
fn own_organisation(identity: &Identity) -> Organisation {
    let profile = identity.profile();
    let named = Organisation::named(profile.name.clone());
    let ids = profile.organisation_ids.iter();
    ids.fold(named, |named, id| named.with_identifier(&id.scheme, &id.id))
}

/// Some rows on their way to the node.
struct Batch {
    /// The request; `None` if none of the rows needs the node.
    request: Option<Vec<u8>>,
    /// Rows that are decided already; they stand before the others.
    counted: Vec<(u64, Vec<Outcome>)>,
    /// Put before refusals if there are several files.
    file: String,
    /// Bytes of all files that were read by then.
    position: u64,
}

/// An [`ImportBatch`](crate::service::answer::ImportBatch) whose rows are written already.
#[derive(Serialize)]
struct Request<'a> {
    rows: &'a [Box<RawValue>],
    audience: Audience,
    preview: bool,
    note: &'a str,
}

/// Reads files and makes batches of them, while the node works on earlier ones.
struct Reader {
    audience: Audience,
    preview: bool,
    /// There is no node to ask, so every row is decided here.
    offline: bool,
    ownership: Ownership,
    remarks: Remarks,
    rows: Vec<Box<RawValue>>,
    bytes: usize,
    counted: Vec<(u64, Vec<Outcome>)>,
    /// In a preview: what the file itself has said before, by source.
    seen: BTreeMap<String, [u8; 32]>,
    file: String,
    /// Written beside references: the name of the file.
    note: String,
    position: u64,
}

/// Nobody takes batches any more: sending failed, and says so itself.
struct Abandoned;

impl Reader {
    fn read(
        mut self,
        files: Vec<(&Path, Ingest)>,
        batches: &SyncSender<Batch>,
    ) -> Result<Remarks, Failure> {
        let several_files = files.len() > 1;
        for (path, rows) in files {
            self.note = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.file = if several_files { format!("{}: ", path.display()) } else { String::new() };
            if let Err(Abandoned) = self.file(rows, batches)? {
                break;
            }
        }
        Ok(self.remarks)
    }

    fn file(
        &mut self,
        mut rows: Ingest,
        batches: &SyncSender<Batch>,
    ) -> Result<Result<(), Abandoned>, Failure> {
        let before = self.position;
        while let Some(row) = rows.next() {
            let (written, outcomes) = match row.drafts {
                Err(refusal) => (None, vec![Outcome::Refused(format!("{}{refusal}", self.file))]),
                Ok(drafts) => self.row(row.number, drafts)?,
            };
            let size = written.as_ref().map_or(0, |row| row.get().len());
            if self.bytes + size > BATCH_BYTES && self.pass_on(batches)?.is_err() {
                return Ok(Err(Abandoned));
            }
            match written {
                Some(row) => self.rows.push(row),
                None => self.counted.push((row.number, outcomes)),
            }
            self.bytes += size;
            self.position = before + rows.bytes_read();
            let full = self.rows.len() >= BATCH_ROWS || self.counted.len() >= BATCH_ROWS;
            if full && self.pass_on(batches)?.is_err() {
                return Ok(Err(Abandoned));
            }
        }
        self.position = before + rows.size();
        self.pass_on(batches)
    }

    /// A row as it goes to the node, or what becomes of it.
    fn row(
        &mut self,
        number: u64,
        drafts: Vec<Draft>,
    ) -> Result<(Option<Box<RawValue>>, Vec<Outcome>), Failure> {
        for draft in &drafts {
            self.remarks.note(number, draft, &self.ownership);
        }
        if self.preview
            && let Some(outcomes) = self.repeated(&drafts)?
        {
            return Ok((None, outcomes));
        }
        let drafts = drafts.into_iter().map(wire).collect::<Result<Vec<_>, _>>()?;
        let row = to_raw_value(&ImportRow { number, drafts }).map_err(Failure::internal)?;
        Ok((Some(row), Vec::new()))
    }

    /// In a preview: what becomes of a row whose documents the file had before,
    /// or, without a node, of any row.
    fn repeated(&mut self, drafts: &[Draft]) -> Result<Option<Vec<Outcome>>, Failure> {
        let mut outcomes = Vec::new();
        let mut all_seen = !drafts.is_empty();
        for draft in drafts {
            let document = serde_json::to_vec(&draft.record).map_err(Failure::internal)?;
            let digest: [u8; 32] = Sha256::digest(&document).into();
            let before = match draft.record.source_key() {
                Some(key) => self.seen.insert(key, digest),
                None => None,
            };
            all_seen &= before.is_some();
            let own = draft.buyers.first().is_some_and(|buyer| self.ownership.owns(buyer));
            outcomes.push(match before {
                _ if !own => Outcome::Reference,
                None => Outcome::Stored,
                Some(before) if before == digest => Outcome::Unchanged,
                Some(_) => Outcome::Changed,
            });
        }
        Ok((all_seen || self.offline).then_some(outcomes))
    }

    /// Gives away what was collected, once there is room for it.
    fn pass_on(&mut self, batches: &SyncSender<Batch>) -> Result<Result<(), Abandoned>, Failure> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let (audience, preview, note) = (self.audience.clone(), self.preview, self.note.as_str());
        let request = Request { rows: &rows, audience, preview, note };
        let request = (!rows.is_empty()).then(|| serde_json::to_vec(&request)).transpose();
        let batch = Batch {
            request: request.map_err(Failure::internal)?,
            counted: std::mem::take(&mut self.counted),
            file: self.file.clone(),
            position: self.position,
        };
        Ok(batches.send(batch).map_err(|_| Abandoned))
    }
}

/// Sends batches to the node one after the other and counts what becomes of their rows.
fn send(
    batches: Receiver<Batch>,
    client: Option<&Client>,
    summary: &mut Summary,
    progress: &Progress,
) -> Result<(), Failure> {
    for batch in batches {
        for (number, outcomes) in batch.counted {
            summary.count(number, outcomes);
        }
        if let (Some(client), Some(request)) = (client, batch.request) {
            let imported = client.post_json("import", &request);
            let imported: Imported = imported.map_err(|failure| lost(failure, summary.rows))?;
            for row in imported.rows {
                let outcomes = row.outcomes.into_iter().map(|outcome| match outcome {
                    ImportOutcome::Stored => Outcome::Stored,
                    ImportOutcome::Changed => Outcome::Changed,
                    ImportOutcome::Unchanged => Outcome::Unchanged,
                    ImportOutcome::Reference => Outcome::Reference,
                    ImportOutcome::Refused(reason) => {
                        Outcome::Refused(format!("{}{reason}", batch.file))
                    }
                });
                summary.count(row.number, outcomes.collect());
            }
        }
        progress.reach(batch.position);
    }
    Ok(())
}

/// The failure of an import of which `rows` rows were acknowledged.
fn lost(failure: Failure, rows: u64) -> Failure {
    let error = format!("{}; {} rows were acknowledged before", failure.error, count(rows));
    match failure.kind {
        FailureKind::Unavailable => Failure::unavailable(
            error,
            "start the node and import the same files again: what is stored already counts as unchanged",
        ),
        _ => Failure { error, ..failure },
    }
}

fn wire(draft: Draft) -> Result<ImportDraft, Failure> {
    Ok(ImportDraft {
        kind: draft.record.description().name.to_owned(),
        document: to_raw_value(&draft.record).map_err(Failure::internal)?,
        buyers: draft.buyers,
        warnings: draft.warnings,
    })
}

/// What a person should look at.
#[derive(Debug, Default)]
struct Remarks {
    list: Vec<(u64, String)>,
    total: u64,
    /// Buyers that may be this authority under another name, with their rows.
    near: BTreeMap<String, u64>,
}

impl Remarks {
    fn note(&mut self, row: u64, draft: &Draft, ownership: &Ownership) {
        self.total += draft.warnings.len() as u64;
        let room = REMARKS.saturating_sub(self.list.len());
        let remarks = draft.warnings.iter().take(room);
        self.list.extend(remarks.map(|text| (row, text.clone())));
        let owned = draft.buyers.iter().any(|buyer| ownership.owns(buyer));
        for buyer in draft.buyers.iter().filter(|buyer| !owned && ownership.near(buyer)) {
            if self.near.len() < REMARKS || self.near.contains_key(&buyer.name) {
                *self.near.entry(buyer.name.clone()).or_default() += 1;
            }
        }
    }
}

/// Counts and remarks.
#[derive(Debug, Default)]
struct Tally {
    summary: Summary,
    remarks: Remarks,
}

impl Tally {
    fn answer(self, dry_run: bool, offline: bool) -> Answer {
        let kept = self.summary.rows > self.summary.refused_total;
        let nothing = self.summary.rows > 0 && !kept;
        let text = self.text(dry_run, offline);
        let mut json = serde_json::to_value(&self.summary).unwrap_or(Value::Null);
        if let Some(json) = json.as_object_mut() {
            let remarks: Vec<_> = self
                .remarks
                .list
                .iter()
                .map(|(row, text)| json!({ "row": row, "text": text }))
                .collect();
            json.insert("remarks".to_owned(), json!(remarks));
            json.insert("maybeOwn".to_owned(), json!(self.remarks.near));
            json.insert("dryRun".to_owned(), json!(dry_run));
        }
        let answer = Answer::done(text, json);
        if nothing { answer.with_exit(FailureKind::Usage) } else { answer }
    }

    fn text(&self, dry_run: bool, offline: bool) -> String {
        let summary = &self.summary;
        let mut text = format!(
            "{}{}: {} stored, {} changed, {} unchanged, {} kept as references, {} refused\n",
            if dry_run { "Nothing was stored. This would happen:\n" } else { "" },
            several(summary.rows, "row"),
            count(summary.stored),
            count(summary.changed),
            count(summary.unchanged),
            count(summary.reference),
            count(summary.refused_total),
        );
        if dry_run && offline {
            text.push_str("(No node is running, so everything counts as new.)\n");
        }
        let (refused, more) = summary.shown();
        let lines = refused.iter().map(|refused| (refused.row, refused.reason.as_str()));
        list(&mut text, "Refused", lines, more);
        let shown = self.remarks.list.iter().take(SHOWN).map(|(row, text)| (*row, text.as_str()));
        let more = self.remarks.total.saturating_sub(SHOWN as u64);
        list(&mut text, "Remarks", shown, more);
        if !self.remarks.near.is_empty() {
            text.push_str("\nThese buyers may be this authority under another name:\n");
            for (name, rows) in self.remarks.near.iter().take(SHOWN) {
                text.push_str(&format!("  {} ({})\n", clean(name), several(*rows, "row")));
            }
            text.push_str("If so, say it at `tally init` with --also-known-as.\n");
        }
        text
    }
}

fn list<'a>(
    text: &mut String,
    heading: &str,
    lines: impl Iterator<Item = (u64, &'a str)>,
    more: u64,
) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        text.push_str(&format!("\n{heading}:\n"));
    }
    for (row, line) in lines {
        text.push_str(&format!("  row {row}: {}\n", clean(line)));
    }
    if more > 0 {
        text.push_str(&format!("  and {} more (--json lists them)\n", count(more)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use tallystick_protocol::identity::Profile;
    use tallystick_protocol::time::UnixTime;

    const REGISTER: &str = "Reference,Title,Supplier,Value,Start date,End date\n\
        A1,Grounds maintenance,Larch Gardens Ltd,1200.50,2025-04-01,2026-03-31\n\
        A2,Housing management system,Softworks Ltd,90000,2024-04-01,2029-03-31\n\
        A2,Housing management system,Softworks Ltd,90000,2024-04-01,2029-03-31\n";

    fn node() -> (tempfile::TempDir, Global) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("ash");
        let profile = Profile { name: "Ash Council".to_owned(), ..Profile::default() };
        let network = Config::default().network;
        keys::create(&Place::at(&data), &network, profile, UnixTime::from_seconds(1)).unwrap();
        (dir, Global { data: Some(data), ..Global::default() })
    }

    fn import(files: Vec<PathBuf>, dry_run: bool) -> Import {
        Import {
            files,
            format: Format::Auto,
            audience: AudienceOptions::default(),
            register: true,
            dry_run,
        }
    }

    #[test]
    fn a_dry_run_needs_no_node_and_no_audience() {
        let (dir, global) = node();
        let file = dir.path().join("register.csv");
        std::fs::write(&file, REGISTER).unwrap();
        let answer = import(vec![file], true).run(&global).unwrap();
        assert_eq!(answer.json["rows"], 3);
        assert_eq!(answer.json["stored"], 2, "{}", answer.text);
        assert_eq!(answer.json["unchanged"], 1);
        assert_eq!(answer.exit, 0);
        assert!(answer.text.starts_with("Nothing was stored."), "{}", answer.text);
    }

    #[test]
    fn nothing_is_imported_without_an_audience_or_a_node() {
        let (dir, global) = node();
        let file = dir.path().join("register.csv");
        std::fs::write(&file, REGISTER).unwrap();
        let failure = import(vec![file.clone()], false).run(&global).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert!(failure.remedy.contains("--public") && failure.remedy.contains("--into"));
        let audience = AudienceOptions { public: true, into: None };
        let failure = Import { audience, ..import(vec![file], false) }.run(&global).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 3);
    }

    #[test]
    fn one_unreadable_file_stops_everything_beforehand() {
        let (dir, global) = node();
        let good = dir.path().join("register.csv");
        std::fs::write(&good, REGISTER).unwrap();
        let bad = dir.path().join("empty.csv");
        std::fs::write(&bad, "").unwrap();
        let failure = import(vec![good, bad], true).run(&global).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert!(failure.error.ends_with("the file is empty"), "{failure}");
    }

    #[test]
    fn the_counts_are_told_in_one_line() {
        let mut tally = Tally::default();
        tally.summary.count(1, vec![Outcome::Stored]);
        tally.summary.count(2, vec![Outcome::Reference]);
        tally.summary.count(3, vec![Outcome::Refused("there is no title".to_owned())]);
        tally.remarks.list.push((1, "the value 1 was left out".to_owned()));
        tally.remarks.total = 1;
        tally.remarks.near.insert("Ash Borough Council".to_owned(), 12);
        insta::assert_snapshot!(tally.text(false, false));
    }
}
