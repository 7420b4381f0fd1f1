//! Real `tally` processes, driven through the command line contract.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs, each of which uses a part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::panic,
    reason = "tests"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where the shared data lies; `None`, said aloud, if it is absent here.
pub fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(file);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}

/// One data directory and, at times, the node that runs on it.
pub struct Tally {
    pub dir: tempfile::TempDir,
    running: Option<Child>,
    pub listen: Vec<String>,
    /// Where it shows its public logs, if it does.
    pub publication: Option<String>,
    /// Where systemd would have put credentials.
    pub credentials: Option<PathBuf>,
}

impl Tally {
    /// A fresh authority with these arguments to `init`.
    pub fn init(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tally =
            Self { dir, running: None, listen: Vec::new(), publication: None, credentials: None };
        tally.ok(&[&["init"], arguments].concat());
        tally
    }

    /// A directory in which there is no authority, for commands that need none.
    pub fn bare() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            running: None,
            listen: Vec::new(),
            publication: None,
            credentials: None,
        }
    }

    /// A second node over a copy of this one's data directory, which is not in use.
    pub fn copy(&self) -> Self {
        assert!(self.running.is_none(), "a copy of files that are being written is none");
        let dir = tempfile::tempdir().unwrap();
        let copy =
            Self { dir, running: None, listen: Vec::new(), publication: None, credentials: None };
        copy_tree(&self.data(), &copy.data());
        copy
    }

    /// The data directory lies one level below, since `init` wants to make it.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command.arg("--data").arg(self.data()).arg("--json").args(arguments);
        // Whatever surrounds the tests is no part of them.
        command.env_remove("CREDENTIALS_DIRECTORY");
        if let Some(dir) = &self.credentials {
            command.env("CREDENTIALS_DIRECTORY", dir);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed and gives its JSON.
    pub fn ok(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(text.trim()).unwrap_or(Value::Null)
    }

    /// What a command that may fail says, as JSON; null if it fails.
    pub fn says(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let said = Some(output.stdout).filter(|_| output.status.success());
        said.and_then(|said| serde_json::from_slice(&said).ok()).unwrap_or_default()
    }

    /// Starts the node and waits until it is ready.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the node with further arguments and waits until it is ready.
    pub fn start_with(&mut self, further: &[&str]) {
        let listen = "/ip4/127.0.0.1/tcp/0";
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut child = self
            .command(&[&["run", "--listen", listen, "--http", "127.0.0.1:0"], further].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("not ready: {line}{}", self.log()));
        let listening = ready["listen"].as_array().unwrap();
        self.listen = listening.iter().map(|a| a.as_str().unwrap().to_owned()).collect();
        self.publication = ready["publication"].as_str().map(str::to_owned);
        self.running = Some(child);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends the node at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn card(&self) -> String {
        self.ok(&["whoami"])["card"].as_str().unwrap().to_owned()
    }

    pub fn authority(&self) -> String {
        self.ok(&["whoami"])["authority"].as_str().unwrap().to_owned()
    }

    /// Both sides take each other's card.
    pub fn befriend(&self, other: &Self) {
        for (one, two) in [(self, other), (other, self)] {
            let file = one.dir.path().join("partner.card");
            std::fs::write(&file, two.card()).unwrap();
            one.ok(&["partner", "add", file.to_str().unwrap()]);
        }
    }

    /// Names the witnesses of this authority, whose node is stopped, and how many confirm.
    pub fn name_witnesses(&self, witnesses: &[&Self], quorum: &str) {
        let ids: Vec<_> = witnesses.iter().map(|witness| witness.authority()).collect();
        let mut words = vec!["key", "profile", "--quorum", quorum];
        words.extend(ids.iter().flat_map(|id| ["--witness", id]));
        self.ok(&words);
    }

    /// The key of its only controller.
    pub fn controller(&self) -> String {
        self.data().join("keys/controller.key").to_str().unwrap().to_owned()
    }

    /// Publishes a contract; gives its reference without the version.
    pub fn publish(&self, document: &Value, further: &[&str]) -> String {
        let file = self.dir.path().join("contract.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let words = ["publish", "contract", file.to_str().unwrap()];
        let published = self.ok(&[&words, further].concat());
        published["ref"].as_str().unwrap().split('@').next().unwrap().to_owned()
    }

    /// Puts the data directory back as `copy` has it; neither is in use.
    pub fn restore(&mut self, copy: &Self) {
        assert!(self.running.is_none() && copy.running.is_none());
        std::fs::remove_dir_all(self.data()).unwrap();
        copy_tree(&copy.data(), &self.data());
    }

    /// (authority, size, root) of every log, sorted.
    pub fn heads(&self) -> Vec<(String, u64, String)> {
        let status = self.ok(&["status"]);
        let log = |log: &Value| {
            (
                log["authority"].as_str().unwrap().to_owned(),
                log["size"].as_u64().unwrap(),
                log["root"].as_str().unwrap_or_default().to_owned(),
            )
        };
        let mut heads: Vec<_> = status["logs"].as_array().unwrap().iter().map(log).collect();
        heads.sort();
        heads
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many records and references a search finds.
pub fn total(node: &Tally, text: &str) -> u64 {
    node.ok(&["search", text])["total"].as_u64().unwrap()
}

/// Files under `dir` that contain `text`, in the clear.
pub fn files_with(dir: &Path, text: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|w| w == text) {
            found.push(path);
        }
    }
    found
}

/// Waits until something holds, a minute at most.
pub fn comes(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Duration::from_secs(60);
    eventually(patience, what, || if holds() { Ok(()) } else { Err("not yet".to_owned()) });
}

/// Waits until `holds`, or fails with what it says instead.
pub fn eventually(patience: Duration, what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let started = Instant::now();
    loop {
        match holds() {
            Ok(()) => return,
            Err(instead) => {
                assert!(started.elapsed() < patience, "{what} after {patience:?}: {instead}");
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
