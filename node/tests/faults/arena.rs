//! A network of namespaces on this machine, with links that can be cut and a
//! firewall in front of every member.
//!
//! ```text
//!   arena (this process) ── br0 10.77.0.1 ──┬── p0 ═ eth0 10.77.0.10 in n0
//!                                           ├── p1 ═ eth0 10.77.0.11 in n1 …
//! ```
//!
//! The test starts itself once more inside namespaces of its own for mounts,
//! network and processes (`unshare`). So names collide with nobody's, and when
//! that process ends, in whatever way, the kernel takes everything with it:
//! members, links, rules, mounts. Commands enter a member's namespace by `nsenter`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::outcome::{self, Outcome};

/// Set in the process that runs inside.
const INSIDE: &str = "TALLY_FAULTS_INSIDE";
/// Longer than any run takes; then everything inside is killed.
const PATIENCE: Duration = Duration::from_secs(900);
/// The arena's own address, where the proxy listens.
pub const CENTRE: &str = "10.77.0.1";

/// The network. There is one in the process that runs inside.
pub struct Arena {
    places: usize,
}

impl Arena {
    /// Runs `test` inside namespaces. `Some` there; `None` outside, when that
    /// has passed, or where namespaces are not permitted.
    pub fn enter(test: &str, places: usize) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            return Some(Self::build(places));
        }
        let flags = match permitted() {
            Ok(flags) => flags,
            Err(why) => {
                eprintln!("skipped {test}: network namespaces are not permitted here ({why})");
                assert!(std::env::var_os("CI").is_none(), "faults must be tested in CI: {why}");
                return None;
            }
        };
        let outcome = Outcome::new();
        let (variable, file) = outcome.variable();
        let mut inside = Command::new("unshare");
        inside.args(flags).arg("--").arg(std::env::current_exe().unwrap());
        inside.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
        inside.env(variable, file).stdin(Stdio::null());
        let mut inside = inside.spawn().unwrap();
        let started = Instant::now();
        let status = loop {
            match inside.try_wait().unwrap() {
                Some(status) => break status,
                None if started.elapsed() > PATIENCE => {
                    // What it started dies with it.
                    inside.kill().unwrap();
                    outcome.fail(&format!("{test} did not end within {PATIENCE:?}"));
                }
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        if !status.success() {
            outcome.fail(&format!("{test} failed inside its namespaces ({status})"));
        }
        None
    }

    fn build(places: usize) -> Self {
        outcome::keep_panics();
        own_run_directory();
        let mut centre = format!(
            "link set lo up\nlink add br0 type bridge\naddr add {CENTRE}/24 dev br0\nlink set br0 up\n"
        );
        for place in 0..places {
            must(Command::new("ip").args(["netns", "add", &name(place)]));
            centre.push_str(&format!(
                "link add p{place} type veth peer name eth0 netns {}\n\
                 link set p{place} master br0\nlink set p{place} up\n",
                name(place)
            ));
        }
        batch(&[], &centre);
        for place in 0..places {
            let address = address(place);
            let lines =
                format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n");
            batch(&["-n", &name(place)], &lines);
        }
        Self { places }
    }

    /// Replaces the firewall of a place: rules for what arrives and what leaves.
    pub fn firewall(&self, place: usize, arriving: &[String], leaving: &[String]) {
        let chain = |hook: &str, rules: &[String]| {
            let head = format!("chain {hook} {{ type filter hook {hook} priority 0;");
            format!("{head} policy accept; {}; }}\n", rules.join("; "))
        };
        let chains = chain("input", arriving) + &chain("output", leaving);
        let script =
            format!("table inet f {{}}\ndelete table inet f\ntable inet f {{\n{chains}}}\n");
        let mut nft = within(place, "nft");
        feed(nft.args(["-f", "-"]), &script);
    }

    /// Lets everything through again, everywhere.
    pub fn heal(&self) {
        (0..self.places).for_each(|place| self.firewall(place, &[], &[]));
    }

    /// Two sides between which nothing passes.
    pub fn partition(&self, left: &[usize], right: &[usize]) {
        for (side, other) in [(left, right), (right, left)] {
            let others = other.iter().map(|place| address(*place)).collect::<Vec<_>>().join(", ");
            for place in side {
                self.firewall(*place, &[format!("ip saddr {{ {others} }} drop")], &[]);
            }
        }
    }

    /// Every tenth packet is lost, everywhere.
    pub fn lose_a_tenth(&self) {
        let rule = "iifname eth0 numgen random mod 10 == 0 counter drop".to_owned();
        (0..self.places).for_each(|place| self.firewall(place, std::slice::from_ref(&rule), &[]));
    }

    /// Packets and bytes that the first rule with a counter has seen at a place.
    pub fn counted(&self, place: usize) -> [u64; 2] {
        let output = within(place, "nft").args(["list", "table", "inet", "f"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let counter = text.split("counter packets ").nth(1).unwrap_or_default();
        let mut words = counter.split_whitespace();
        // "counter packets 12 bytes 345"
        let mut number = |skipped| words.nth(skipped).map_or(0, |word| word.parse().unwrap());
        [number(0), number(1)]
    }

    /// Cuts or mends the cable of a place.
    pub fn link(&self, place: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        must(Command::new("ip").args(["link", "set", &format!("p{place}"), state]));
    }

    /// A disk of its own for a directory, of some mebibytes.
    pub fn small_disk(dir: &Path, mebibytes: u32) {
        std::fs::create_dir_all(dir).unwrap();
        let size = format!("size={mebibytes}m");
        must(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir));
    }
}

/// The namespace of a place.
fn name(place: usize) -> String {
    format!("n{place}")
}

/// The address of a place.
pub fn address(place: usize) -> String {
    format!("10.77.0.{}", 10 + place)
}

/// A command inside a place; its process id is the program's own.
pub fn within(place: usize, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", name(place))).arg(program);
    command
}

/// How `unshare` is to be called, or why it cannot be.
fn permitted() -> Result<Vec<&'static str>, String> {
    for tool in [["ip", "-V"], ["nft", "--version"], ["nsenter", "--version"]] {
        let ran = Command::new(tool[0]).arg(tool[1]).output();
        ran.map_err(|error| format!("{}: {error}", tool[0]))?;
    }
    let base = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let user = ["--user", "--map-root-user"];
    let mut why = String::new();
    for flags in [base.to_vec(), [&user[..], &base].concat()] {
        // Not only made, but usable: a bridge and a firewall in it.
        let probe = "ip link add br0 type bridge && nft add table inet f";
        let tried = Command::new("unshare").args(&flags).args(["--", "sh", "-c", probe]).output();
        match tried {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// `ip netns` keeps its names in /run/netns, which is to be ours alone.
fn own_run_directory() {
    let resolver = std::fs::canonicalize("/etc/resolv.conf");
    must(Command::new("mount").args(["-t", "tmpfs", "none", "/run"]));
    std::fs::create_dir("/run/netns").unwrap();
    // Where it is a link into /run, programs would miss it.
    if let Ok(path) = resolver
        && !path.exists()
    {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "nameserver 127.0.0.1\n").unwrap();
    }
}

fn batch(arguments: &[&str], lines: &str) {
    feed(Command::new("ip").args(arguments).args(["-batch", "-"]), lines);
}

/// Runs a command that must succeed, with `text` as its input.
fn feed(command: &mut Command, text: &str) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    succeeded(&child.wait_with_output().unwrap(), text);
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    succeeded(&output, &format!("{command:?}"));
}

fn succeeded(output: &Output, what: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}: {complaint}", output.status);
}
