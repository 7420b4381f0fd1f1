//! `tally demo`: a made-up federation of five councils and an auditor.
//!
//! ```text
//! story       who they are and what they say; the same at every run
//! federation  their nodes: real ones, in this process, on loopback
//! tale        what happens, told as it happens, and checked
//! ```
//!
//! Everything lies below one directory, which is removed at the end unless it
//! was named with `--data`. **Invariant:** exit code 0 means that everything
//! the demo told was true; what did not hold is exit code 1 and one sentence.
//! Deliberately absent: anything that a node outside the demo would do
//! differently, and pages in a browser, which this version does not have.

mod federation;
mod story;
mod tale;

use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};

use serde_json::json;

use self::federation::Federation;
use self::tale::{ProofFacts, Summary};
use super::Global;
use super::output::{Answer, write_note, write_out};
use super::run::stopped;
use super::wording::{COLUMNS, count, wrap};
use crate::config::LogFormat;
use crate::failure::Failure;
use crate::telemetry;

/// What to do if the demo itself is wrong.
const REPORT: &str = "this is a fault in tally: please report it with the sentence above";

/// Show what this is with five made-up councils and an auditor on this machine
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Everything is removed at the end, unless --data names a new directory for it.\n\
    Exit code 0: everything that was told is true. Exit code 1: something is not."
)]
pub struct Demo {
    /// Open no pages in a browser; this version has none to open.
    #[arg(long)]
    headless: bool,
    /// End with a summary instead of waiting for Ctrl-C.
    #[arg(long)]
    exit: bool,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: what did not hold, or what a node could not do.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        telemetry::start(LogFormat::Human, "error");
        let folder = Folder::open(global.data.as_deref())?;
        let voice = if global.json { Voice::Error } else { Voice::Out };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::internal)?;
        runtime.block_on(Box::pin(self.play(&folder, voice, global.json)))
    }

    async fn play(&self, folder: &Folder, voice: Voice, json: bool) -> Result<Answer, Failure> {
        voice.say(
            "A made-up federation on this machine: five councils and an auditor, a real node \
             each. Every name and number in their records is invented; every time and count \
             told here is measured.",
        );
        let mut stage = None;
        let told = tokio::select! {
            told = Box::pin(tale::tell(&folder.path, voice, &mut stage)) => told.map(Some),
            () = stopped() => Ok(None),
        };
        let told = match (told, &stage) {
            (Ok(Some(summary)), Some(federation)) => {
                self.end(folder, voice, &summary, federation, json).await;
                Ok(Some(summary))
            }
            (told, _) => told,
        };
        let closed = match stage {
            Some(federation) => federation.stop().await,
            None => Ok(()),
        };
        let Some(summary) = told? else {
            return Ok(Answer::silent());
        };
        closed?;
        // Whoever waited has read the summary already.
        if !self.exit {
            return Ok(Answer::silent());
        }
        Ok(Answer::done(String::new(), machine_readable(&summary, folder)))
    }

    /// The summary and what to try; without `--exit` waits until asked to stop.
    async fn end(
        &self,
        folder: &Folder,
        voice: Voice,
        summary: &Summary,
        federation: &Federation,
        json: bool,
    ) {
        voice.title("In short");
        voice.say(&format!(
            "{} nodes hold the same {} entries and find the same records. The late one took {} \
             ms to catch up, a change {} ms to reach everybody, and one search showed a price \
             spread of {} %. All of it was checked, in {}.{} seconds altogether.",
            summary.nodes.len(),
            count(summary.entries),
            count(summary.late.spans.stored_millis),
            count(summary.live.stored_millis),
            summary.spread_percent,
            summary.elapsed_millis / 1000,
            summary.elapsed_millis / 100 % 10,
        ));
        voice.say(&leftovers(folder));
        if self.exit {
            return;
        }
        voice.say(
            "The nodes keep running. Try these in another terminal, then end the demo with Ctrl-C:",
        );
        voice.show(&suggestions(summary, federation));
        if json {
            write_out(&format!("{}\n", machine_readable(summary, folder)));
        }
        stopped().await;
    }
}

/// Commands that work while the demo runs.
fn suggestions(summary: &Summary, federation: &Federation) -> String {
    let tally = program();
    let data = |member: &story::Member| {
        let node = federation.nodes().iter().find(|node| node.member == *member);
        node.map(|node| quoted(node.place.data())).unwrap_or_default()
    };
    let (asker, author) = (data(&story::DUNMARSH), data(&story::ALDERWICK));
    let offer = summary.offers.first();
    let show =
        offer.map(|offer| format!("  {tally} --data {asker} show {} --history\n", offer.reference));
    format!(
        "  {tally} --data {asker} search lift servicing\n  \
           {tally} --data {asker} search --cpv 48 --ends-before 2028-01-01\n\
         {}  {tally} --data {author} status\n{}",
        show.unwrap_or_default(),
        verify_command(&summary.proof),
    )
}

fn verify_command(proof: &ProofFacts) -> String {
    let file = quoted(Path::new(&proof.file));
    format!("  {} verify {file} --authority {}\n", program(), proof.authority)
}

/// How this program is called from where the user is.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "tally".to_owned(), |path| quoted(&path))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn leftovers(folder: &Folder) -> String {
    let path = folder.path.display();
    if folder.keep {
        format!("All files, the proof among them, stay in {path}.")
    } else {
        format!(
            "All files are in {path} and are removed when the demo ends; \
             `tally demo --data DIR` keeps them."
        )
    }
}

fn machine_readable(summary: &Summary, folder: &Folder) -> serde_json::Value {
    let mut json = json!(summary);
    if let Some(object) = json.as_object_mut() {
        object.insert("kept".to_owned(), folder.keep.into());
    }
    json
}

/// Where the tale is told: results of `--json` have standard output for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
    /// Nowhere.
    #[cfg(test)]
    Silent,
}

impl Voice {
    /// A heading.
    fn title(self, text: &str) {
        self.block(&format!("{text}\n{}", "-".repeat(text.chars().count())));
    }

    /// Sentences, wrapped to the screen.
    fn say(self, text: &str) {
        self.block(&wrap(text, COLUMNS).join("\n"));
    }

    /// A table or commands.
    fn show(self, text: &str) {
        self.block(text.trim_end_matches('\n'));
    }

    /// Every block has a line of air before it.
    fn block(self, text: &str) {
        match self {
            Self::Out => write_out(&format!("\n{text}\n")),
            Self::Error => write_note(&format!("\n{text}")),
            #[cfg(test)]
            Self::Silent => {}
        }
    }
}

/// Ends the demo with a sentence unless something holds.
fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::no(otherwise(), REPORT)) }
}

/// The directory of the whole demo.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// The directory named, which must be new or empty, or one for this run only.
    fn open(named: Option<&Path>) -> Result<Self, Failure> {
        let keep = named.is_some();
        let path = match named {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("tally-demo-{}", random_name()?)),
        };
        let failed = |error: std::io::Error| {
            Failure::usage(
                format!("{} cannot be used for the demo ({error})", path.display()),
                "name a new directory with --data DIR",
            )
        };
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::usage(
                format!("{} is not empty", path.display()),
                "the demo wants a directory for itself: name a new one with --data DIR, or none",
            ));
        }
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(keep).create(&path).map_err(failed)?;
        // Commands that the demo suggests are given from anywhere.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now, the system's own cleaning removes later.
            let _left = fs::remove_dir_all(&self.path);
        }
    }
}

fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::internal(format!("the system gives no random numbers ({error})"))
    })?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("identity.cbor"), b"x").unwrap();
        let refused = Folder::open(Some(dir.path())).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind.exit_code(), 2);
        assert!(refused.error.contains("is not empty"), "{refused}");
        let new = dir.path().join("a/b");
        drop(Folder::open(Some(&new)).unwrap());
        assert!(new.is_dir(), "a directory that was named is kept");
    }

    #[test]
    fn a_directory_that_was_not_named_is_removed() {
        let folder = Folder::open(None).unwrap();
        let path = folder.path.clone();
        fs::write(path.join("x"), b"x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn paths_are_quoted_for_a_shell_where_they_must_be() {
        assert_eq!(quoted(Path::new("/tmp/a-b.proof")), "/tmp/a-b.proof");
        assert_eq!(quoted(Path::new("/tmp/it's here")), "'/tmp/it'\\''s here'");
    }

    #[test]
    fn what_does_not_hold_is_exit_code_one() {
        assert_eq!(expect(true, String::new), Ok(()));
        let failure = expect(false, || "the sky is green".to_owned()).unwrap_err();
        assert_eq!((failure.kind.exit_code(), failure.error.as_str()), (1, "the sky is green"));
    }
}
