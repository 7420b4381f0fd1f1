//! Two honest nodes replicate while a third floods one of them: a partner that
//! turned hostile, and a node that nobody knows.
//!
//! The hostile node is a process of its own, this test program once more, so
//! that the memory measured is that of the honest ones alone. It runs at a lower
//! priority, as if it had a machine of its own. `FLOOD_SECONDS` sets how long
//! the long form lasts (600); figures go to the test's output.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "../fixture/mod.rs"]
mod fixture;
mod hostile;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Council, Node, entry};

/// Records in one burst, whose time until they are durable at both ends is measured.
const BURST: u64 = 2_000;
/// Time between bursts, in the long form.
const PAUSE: Duration = Duration::from_secs(2);
/// How much memory the flood may cost, in mebibytes: what one peer may take by
/// the bounds in SECURITY.md, and what two histories of gossip need.
const MEMORY_MIB: u64 = 256;

/// Records per second of each burst.
struct Rates(Vec<f64>);

impl Rates {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn worst(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// The honest side: an author and its partner.
struct Honest {
    author: Node,
    partner: Node,
    log: tallystick_protocol::id::LogId,
    size: u64,
}

impl Honest {
    /// One burst at full speed; records per second until they are durable at the partner.
    async fn burst(&mut self) -> f64 {
        let started = Instant::now();
        for _ in 0..BURST / 100 {
            let entries = (self.size..self.size + 100).map(entry).collect();
            self.author.handle.author(entries).await.unwrap();
            self.size += 100;
        }
        let signed = |head: Option<_>| {
            head.map_or(0, |head: tallystick_protocol::checkpoint::VerifiedCheckpoint| {
                head.checkpoint().size()
            })
        };
        while signed(self.partner.handle.head(self.log).await) < self.size {
            assert!(started.elapsed() < Duration::from_secs(60), "honest replication stopped");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        BURST as f64 / started.elapsed().as_secs_f64()
    }

    async fn bursts(&mut self, time: Duration, pause: Duration) -> Rates {
        let started = Instant::now();
        let mut rates = Vec::new();
        while started.elapsed() < time || rates.len() < 3 {
            let begun = Instant::now();
            rates.push(self.burst().await);
            tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
        }
        Rates(rates)
    }
}

/// Memory of this process in mebibytes: now, and at most so far.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
}

/// Starts this program once more, as the hostile node.
fn flood(target: &Node, role: &str, number: u8, seconds: u64) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new("nice")
        .args(["-n", "10"])
        .arg(program)
        .args(["--exact", "the_hostile_node_itself", "--ignored", "--nocapture"])
        .env("FLOOD_TARGET", target.address.to_string())
        .env("FLOOD_ROLE", role)
        .env("FLOOD_NUMBER", number.to_string())
        .env("FLOOD_SECONDS", seconds.to_string())
        .env("RUST_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

struct Outcome {
    before: Rates,
    during: Rates,
    after: Rates,
    grown: u64,
}

async fn flooded(seconds: u64, pause: Duration) -> Outcome {
    let (a, b, enemy, stranger) =
        (Council::new(41), Council::new(42), Council::new(43), Council::new(44));
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let partners = vec![b.partner(vec![]), enemy.partner(vec![])];
    let author = a.start(dir_a.path(), partners).await;
    author.handle.introduce(b.identity.events().to_vec()).await;
    author.handle.introduce(enemy.identity.events().to_vec()).await;
    let to_author = vec![a.partner(vec![author.address.clone()])];
    let partner = b.start(dir_b.path(), to_author).await;
    partner.handle.introduce(a.identity.events().to_vec()).await;
    let mut honest = Honest { author, partner, log: a.log(), size: 0 };
    // The first burst waits for the connection.
    honest.burst().await;
    let quiet = Duration::from_secs((seconds / 6).max(2));
    let before = honest.bursts(quiet, pause).await;
    let (_, peak) = memory();
    let enemies = [
        flood(&honest.author, "partner", enemy.number, seconds),
        flood(&honest.author, "stranger", stranger.number, seconds),
    ];
    let during = honest.bursts(Duration::from_secs(seconds), pause).await;
    let (_, peak_after) = memory();
    for enemy in enemies {
        let output = enemy.wait_with_output().unwrap();
        println!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success());
    }
    let status = honest.author.handle.status().await.unwrap();
    let after = honest.bursts(quiet, pause).await;
    println!("standings: {:#?}\nrefusals: {:#?}", status.standings, status.refusals);
    let of_enemy = status.standings.iter().find(|standing| standing.node == enemy.node());
    let of_enemy = of_enemy.expect("the hostile partner is listed");
    assert!(of_enemy.refused_for.is_some(), "it is refused: {of_enemy:?}");
    assert_eq!(of_enemy.authority, Some(enemy.authority()));
    assert!(status.standings.iter().all(|standing| standing.node != b.node()), "b is honest");
    assert!(status.peers.iter().any(|peer| peer.node == b.node() && peer.greeted));
    honest.author.stop().await;
    honest.partner.stop().await;
    Outcome { before, during, after, grown: peak_after.saturating_sub(peak) }
}

fn report(outcome: &Outcome) -> f64 {
    let Outcome { before, during, after, grown } = outcome;
    let undisturbed = f64::midpoint(before.median(), after.median());
    let share = during.median() / undisturbed;
    println!(
        "records/s, median: {:.0} before, {:.0} under flood (worst burst {:.0} of {}), {:.0} after: \
         {:.0} % of undisturbed; memory grew by {grown} MiB, is {} MiB",
        before.median(),
        during.median(),
        during.worst(),
        during.0.len(),
        after.median(),
        share * 100.0,
        memory().0,
    );
    share
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_flood_by_a_partner_and_a_stranger_does_not_stop_honest_nodes() {
    let outcome = flooded(8, Duration::ZERO).await;
    let share = report(&outcome);
    // A short run on a busy machine varies; the long form holds the real bound.
    assert!(share > 0.2, "{share}");
    assert!(outcome.grown < MEMORY_MIB, "{} MiB", outcome.grown);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes FLOOD_SECONDS (600)"]
async fn honest_replication_keeps_half_its_rate_under_a_long_flood() {
    let seconds = std::env::var("FLOOD_SECONDS").ok().and_then(|text| text.parse().ok());
    let outcome = flooded(seconds.unwrap_or(600), PAUSE).await;
    let share = report(&outcome);
    assert!(share > 0.5, "{share}");
    assert!(outcome.grown < MEMORY_MIB, "{} MiB", outcome.grown);
}

#[test]
#[ignore = "run by the other tests, as the hostile process"]
fn the_hostile_node_itself() {
    let Ok(target) = std::env::var("FLOOD_TARGET") else { return };
    let read = |name| std::env::var(name).unwrap();
    let (role, number) = (read("FLOOD_ROLE"), read("FLOOD_NUMBER").parse().unwrap());
    let seconds = Duration::from_secs(read("FLOOD_SECONDS").parse().unwrap());
    hostile::run(&Council::new(number), target.parse().unwrap(), role == "partner", seconds);
}
