//! One `tally` in its place of the arena: its files, its process, what it
//! acknowledged.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arena::within;

/// (authority, entries under the newest signed head, its root) of a log.
pub type Head = (String, u64, String);

/// Lines of its log that a member leaves behind when a test fails.
const LINES: usize = 10;

/// A member of the federation.
pub struct Member {
    pub name: String,
    pub place: usize,
    pub authority: String,
    dir: PathBuf,
    /// Arguments of `tally run`.
    run: Vec<String>,
    running: Mutex<Option<Child>>,
    /// Titles of records whose publication was acknowledged.
    pub acknowledged: Mutex<BTreeSet<String>>,
}

impl Member {
    /// A fresh authority with its files below `dir`, at a place of the arena.
    pub fn init(name: &str, place: usize, dir: &Path, run: &[&str]) -> Self {
        let mut member = Self {
            name: name.to_owned(),
            place,
            authority: String::new(),
            dir: dir.to_owned(),
            run: run.iter().map(|argument| (*argument).to_owned()).collect(),
            running: Mutex::new(None),
            acknowledged: Mutex::new(BTreeSet::new()),
        };
        std::fs::create_dir_all(dir).unwrap();
        member.authority =
            member.ok(&["init", "--name", name])["authority"].as_str().unwrap().into();
        member
    }

    /// The same files, or a copy of them, at another place.
    pub fn twin(&self, place: usize, dir: &Path, run: &[&str]) -> Self {
        Self {
            name: format!("{} (twin)", self.name),
            place,
            authority: self.authority.clone(),
            dir: dir.to_owned(),
            run: run.iter().map(|argument| (*argument).to_owned()).collect(),
            running: Mutex::new(None),
            acknowledged: Mutex::new(BTreeSet::new()),
        }
    }

    /// With these arguments to `tally run`.
    pub fn run_with(mut self, run: &[&str]) -> Self {
        self.run = run.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = within(self.place, env!("CARGO_BIN_EXE_tally"));
        command.arg("--data").arg(self.data()).arg("--json").args(arguments);
        command.env_remove("TALLY_DATA").env_remove("CI").stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed and gives its JSON.
    pub fn ok(&self, arguments: &[&str]) -> Value {
        self.ask(arguments).unwrap_or_else(|error| panic!("{}: {arguments:?}: {error}", self.name))
    }

    /// Runs a command and gives its JSON, or what it says against it.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value, String> {
        answer(&self.command(arguments).output().unwrap())
    }

    /// Starts the node and waits until it is ready, or gives what it says instead.
    pub fn start(&self) -> Result<(), String> {
        let log = std::fs::File::options().append(true).create(true).open(self.log_file()).unwrap();
        let run: Vec<&str> = ["run", "--http", "127.0.0.1:0"]
            .into_iter()
            .chain(self.run.iter().map(String::as_str))
            .collect();
        let before = log.metadata().unwrap().len();
        let mut child = self.command(&run).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if serde_json::from_str::<Value>(&line).is_ok_and(|ready| ready["http"].is_string()) {
            *self.process() = Some(child);
            return Ok(());
        }
        let status = child.wait().unwrap();
        let log = std::fs::read(self.log_file()).unwrap();
        let said = String::from_utf8_lossy(&log[usize::try_from(before).unwrap()..]).into_owned();
        Err(format!("{status}: {said}"))
    }

    fn log_file(&self) -> PathBuf {
        // Beside the files of the node, which may lie on a full disk.
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        let log = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines of the log but for peers that come and go, which fill the
    /// logs of all and explain little.
    fn last_lines(&self, count: usize) -> String {
        let log = self.log();
        let coming = |line: &&str| line.contains("INFO") && line.contains("connected peer=");
        let lines: Vec<_> = log.lines().filter(|line| !coming(line)).collect();
        let last = lines[lines.len().saturating_sub(count)..].iter();
        last.map(|line| format!("{line:.300}\n")).collect()
    }

    /// What it said against a request, and what it said before in its log.
    pub fn explain(&self, refusal: &str) -> String {
        format!("{}: {refusal}\n{}", self.name, self.last_lines(5))
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the node at once, as a power cut would.
    pub fn kill(&self) {
        if let Some(mut child) = self.process().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until the node has ended by itself.
    pub fn ended(&self, patience: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < patience {
            let mut running = self.process();
            match running.as_mut().map(|child| child.try_wait().unwrap()) {
                None => return None,
                Some(Some(status)) => {
                    *running = None;
                    return Some(status);
                }
                Some(None) => {}
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Publishes a record; what is acknowledged is remembered.
    pub fn publish(&self, title: &str) -> Result<(), String> {
        let mut command = self.command(&["publish", "contract", "-", "--public"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let document = json!({ "title": title }).to_string();
        // It may have given up before it read all.
        let _gone = child.stdin.take().unwrap().write_all(document.as_bytes());
        let published = answer(&child.wait_with_output().unwrap())?;
        assert!(published["ref"].is_string(), "{published}");
        self.acknowledged.lock().unwrap().insert(title.to_owned());
        Ok(())
    }

    /// Imports rows with these titles; what is acknowledged is remembered.
    pub fn import(&self, titles: &[String]) -> Result<(), String> {
        let first = titles.first().unwrap().replace(' ', "-");
        let file = self.dir.with_file_name(format!("{first}.jsonl"));
        let mut text = String::new();
        for title in titles {
            let row = json!({
                "council": "made-up", "id": format!("id {title}"), "title": title,
                "description": "Grounds maintenance, made up ".repeat(12),
                "organisation": self.name, "status": "awarded", "notice_type": "Contract",
                "published_date": "2026-02-26", "awarded_date": "2026-02-25",
                "awarded_value": 1000, "awarded_supplier": "Greenacre Works Ltd",
                "cpv_codes": "77314000", "url": "https://example.org/notice",
            });
            text.push_str(&format!("{row}\n"));
        }
        std::fs::write(&file, text).unwrap();
        let output =
            self.command(&["import", file.to_str().unwrap(), "--public"]).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        let lines = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = lines.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let result = answer(&output);
        let acknowledged = match (&result, said) {
            (Ok(summary), _) => {
                let counts = ["stored", "unchanged"].map(|key| summary[key].as_u64().unwrap());
                assert_eq!(counts.iter().sum::<u64>(), titles.len() as u64, "{summary}");
                titles.len()
            }
            (Err(_), Some(said)) => {
                usize::try_from(said["acknowledged"].as_u64().unwrap_or(0)).unwrap()
            }
            (Err(_), None) => 0,
        };
        let kept = titles[..acknowledged].iter().cloned();
        self.acknowledged.lock().unwrap().extend(kept);
        result.map(drop)
    }

    pub fn status(&self) -> Result<Value, String> {
        self.ask(&["status"])
    }

    /// All logs with entries under a signed head, sorted.
    pub fn heads(&self) -> Result<Vec<Head>, String> {
        let status = self.status()?;
        let logs = status["logs"].as_array().unwrap().iter();
        let mut heads: Vec<Head> = logs
            .filter(|log| log["root"].is_string())
            .map(|log| {
                let text = |key: &str| log[key].as_str().unwrap().to_owned();
                (text("authority"), log["signed"].as_u64().unwrap(), text("root"))
            })
            .collect();
        heads.sort();
        Ok(heads)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the last from {} ---\n{}", self.name, self.last_lines(LINES));
        }
    }
}

/// What a command gave, if it succeeded.
fn answer(output: &Output) -> Result<Value, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(serde_json::from_str(text.trim()).unwrap_or(Value::Null));
    }
    Err(format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
