//! What a run came to, kept in a file so that it can be said last: eight members
//! write much when something fails, and who looks at the end of it must find
//! which scenario failed and why.

use std::fs::File;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Names the file to the process that runs inside.
const FILE: &str = "TALLY_FAULTS_OUTCOME";
/// Panics that are kept: the first is the cause, others follow from it.
const PANICS: usize = 3;
/// Characters kept of the beginning of a message, and of its end.
const KEPT: (usize, usize) = (800, 1_200);

/// The file, seen from outside.
pub struct Outcome(tempfile::NamedTempFile);

impl Outcome {
    pub fn new() -> Self {
        Self(tempfile::NamedTempFile::new().unwrap())
    }

    /// The variable that tells the process inside.
    pub fn variable(&self) -> (&'static str, &Path) {
        (FILE, self.0.path())
    }

    /// Fails the test: with `what`, every scenario that was begun and every panic, in order.
    pub fn fail(&self, what: &str) -> ! {
        eprintln!("{what}:\n{}", std::fs::read_to_string(self.0.path()).unwrap());
        // Not by a panic of its own, whose backtrace would come after it.
        std::panic::resume_unwind(Box::new(()))
    }
}

/// Keeps what panics say from now on, besides printing it.
pub fn keep_panics() {
    let Some(file) = file() else { return };
    let print = std::panic::take_hook();
    let (begun, kept) = (Instant::now(), std::sync::atomic::AtomicUsize::new(0));
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        if kept.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < PANICS {
            let at = begun.elapsed().as_secs();
            append(&file, &format!("panicked after {at} s{}", sentence(panic)));
        }
    }));
}

/// Notes that a scenario begins.
pub fn begins(scenario: &str) {
    if let Some(file) = file() {
        append(&file, &format!("scenario {scenario}"));
    }
}

fn file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

fn append(file: &Path, line: &str) {
    // A hook must not panic; what cannot be kept was printed.
    let opened = File::options().append(true).open(file);
    let _lost = opened.and_then(|mut file| writeln!(file, "{line}"));
}

fn sentence(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    format!(" at {place}: {}", shortened(message))
}

/// A text without its middle, if it is long.
fn shortened(text: &str) -> String {
    let (count, (begin, end)) = (text.chars().count(), KEPT);
    if count <= begin + end {
        return text.to_owned();
    }
    let head: String = text.chars().take(begin).collect();
    let tail: String = text.chars().skip(count - end).collect();
    format!("{head}\n[{} characters]\n{tail}", count - begin - end)
}
