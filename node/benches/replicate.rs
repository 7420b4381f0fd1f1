//! How fast a new node catches up, beside how fast bare sled stores the same bytes.
//!
//! Two full nodes in processes of their own, libp2p on loopback, disk on both
//! sides; records of about 700 bytes in 20 fields, by one author and by 32. Per
//! case: five runs, median with lowest and highest. Bare sled stores the same
//! headers and bodies, one value each, in batches of 1,000 with a flush each and
//! the same cache, in the same run. Wire bytes are what the loopback interface
//! counted, TCP and IP headers included, so nothing else should use it.
//!
//! `cargo bench -p tallystick-node --bench replicate [-- RECORDS…]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Council, entry};
use tallystick_node::store::{Replica as _, Store, StoreOptions};
use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::log::Frontier;
use tallystick_protocol::sync::{Append, StoredIdentity};

const RUNS: usize = 5;
const BATCH: u64 = 1000;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(Path::new(&arguments[1])),
        Some("receive") => receive(Path::new(&arguments[1]), &arguments[2], &arguments[3..]),
        Some("sled") => bare_sled(Path::new(&arguments[1]), Path::new(&arguments[2])),
        _ => {
            let sizes = arguments.iter().filter_map(|size| size.parse().ok()).collect::<Vec<u64>>();
            compare(if sizes.is_empty() { &[20_000, 100_000] } else { &sizes });
        }
    }
}

fn compare(sizes: &[u64]) {
    println!(
        "{:>9} {:>7}  {:>24}  {:>9} {:>10} {:>10}  {:>24} {:>7}",
        "records",
        "authors",
        "catch-up, records/s",
        "wire B/r",
        "peak MiB",
        "disk B/r",
        "bare sled, records/s",
        "ratio"
    );
    for &records in sizes {
        for authors in [1, 32] {
            let source = tempfile::tempdir().unwrap();
            let bytes = prepare(source.path(), records, authors);
            let mut runs: Vec<Run> = Vec::new();
            for _ in 0..RUNS {
                runs.push(catch_up(source.path(), records, authors));
            }
            let rate = |seconds: f64| records as f64 / seconds;
            let ours = spread(runs.iter().map(|run| rate(run.seconds)).collect());
            let sled = spread(runs.iter().map(|run| rate(run.sled_seconds)).collect());
            let ratio = spread(runs.iter().map(|run| run.sled_seconds / run.seconds).collect());
            let per_record = |value: fn(&Run) -> u64| {
                spread(runs.iter().map(|run| value(run) as f64 / records as f64).collect()).1
            };
            println!(
                "{records:>9} {authors:>7}  {:>24}  {:>9.0} {:>10.0} {:>10.0}  {:>24} {:>7.2}",
                shown(ours),
                per_record(|run| run.wire),
                spread(runs.iter().map(|run| run.peak as f64 / 1_048_576.0).collect()).1,
                per_record(|run| run.disk),
                shown(sled),
                ratio.1,
            );
            println!("{:>17}  entries have {:.0} bytes each", "", bytes as f64 / records as f64);
        }
    }
}

fn shown((low, median, high): (f64, f64, f64)) -> String {
    format!("{median:.0} ({low:.0}–{high:.0})")
}

/// Lowest, median and highest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

struct Run {
    seconds: f64,
    sled_seconds: f64,
    wire: u64,
    peak: u64,
    disk: u64,
}

/// Puts signed logs into the store of council 1; returns the bytes of their entries.
fn prepare(dir: &Path, records: u64, authors: u64) -> u64 {
    let own = Council::new(1);
    let mut store = Store::open(dir, &StoreOptions::default(), own.authority()).unwrap();
    let (mut changed, mut bytes) = (0, 0);
    for author in 0..authors {
        let council = Council::new(u8::try_from(author + 1).unwrap());
        changed += 1;
        let events = council.identity.events().to_vec();
        let identity = StoredIdentity { authority: council.authority(), events, changed };
        store.replica().put_identity(&identity).unwrap();
        let mut frontier = Frontier::new();
        let size = records / authors;
        for start in (0..size).step_by(1000) {
            let range = start..(start + BATCH).min(size);
            let entries: Vec<_> = range.map(|n| entry(author * records + n)).collect();
            for entry in &entries {
                frontier.push(entry.leaf());
                bytes += entry.size() as u64;
            }
            let origin = Origin::public(&fixture::network(), &council.authority(), 0);
            let head = Checkpoint::new(origin, frontier.size(), frontier.root()).unwrap();
            let head = checkpoint::sign(&head, &council.log_key()).unwrap();
            changed += 1;
            let append = Append {
                log: council.log(),
                start,
                entries,
                frontier: frontier.clone(),
                head: Some(head),
                changed,
            };
            store.commit(&[append]).unwrap();
        }
    }
    bytes
}

fn catch_up(source: &Path, records: u64, authors: u64) -> Run {
    let target = tempfile::tempdir().unwrap();
    let mut server = child(&["serve", source.to_str().unwrap()]);
    let address = line(&mut server);
    let before = loopback_bytes();
    let size = (records / authors).to_string();
    let target_path = target.path().to_str().unwrap();
    let mut receiver = child(&["receive", target_path, &address, &authors.to_string(), &size]);
    let result = line(&mut receiver);
    let wire = loopback_bytes() - before;
    assert!(receiver.wait().unwrap().success());
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    let mut parts = result.split(' ');
    let seconds = parts.next().unwrap().parse().unwrap();
    let peak = parts.next().unwrap().parse().unwrap();
    let disk = size_of(&target.path().join("replica"));
    let bare = tempfile::tempdir().unwrap();
    let mut sled = child(&["sled", source.to_str().unwrap(), bare.path().to_str().unwrap()]);
    let sled_seconds = line(&mut sled).parse().unwrap();
    assert!(sled.wait().unwrap().success());
    Run { seconds, sled_seconds, wire, peak, disk }
}

fn child(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Serves council 1's store to council 200 until the input is closed.
fn serve(dir: &Path) {
    runtime().block_on(async {
        let node = Council::new(1).start(dir, vec![Council::new(200).partner(vec![])]).await;
        println!("{}", node.address);
        std::io::stdout().flush().unwrap();
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        ended.await.unwrap().unwrap();
        node.stop().await;
    });
}

/// Catches up from nothing and prints seconds and peak memory.
fn receive(dir: &Path, address: &str, expected: &[String]) {
    let (authors, size): (usize, u64) =
        (expected[0].parse().unwrap(), expected[1].parse().unwrap());
    runtime().block_on(async {
        let partners = vec![Council::new(1).partner(vec![address.parse().unwrap()])];
        let started = Instant::now();
        let node = Council::new(200).start(dir, partners).await;
        loop {
            let logs = node.handle.status().await.unwrap().logs;
            if logs.iter().filter(|log| log.signed >= size).count() >= authors {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(300), "no end in sight");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        println!("{seconds} {}", peak_memory());
        std::io::stdout().flush().unwrap();
        node.stop().await;
    });
}

/// Stores the same bytes with nothing but sled and prints seconds.
fn bare_sled(source: &Path, target: &Path) {
    let own = Council::new(1).authority();
    let store = Store::open(source, &StoreOptions::default(), own).unwrap();
    let mut values = Vec::new();
    for log in store.replica().logs().unwrap() {
        for start in (0..log.frontier.size()).step_by(1000) {
            let entries = store.replica().entries(&log.log, start..start + BATCH, usize::MAX);
            values.extend(
                entries
                    .unwrap()
                    .into_iter()
                    .map(|entry| [entry.header, entry.body.unwrap_or_default()].concat()),
            );
        }
    }
    drop(store);
    let cache = StoreOptions::default().cache_bytes;
    let config = sled::Config::new().path(target).cache_capacity(cache).flush_every_ms(None);
    let started = Instant::now();
    let db = config.open().unwrap();
    for (number, chunk) in values.chunks(1000).enumerate() {
        let mut batch = sled::Batch::default();
        for (n, value) in chunk.iter().enumerate() {
            let key = (number * 1000 + n) as u64;
            batch.insert(&key.to_be_bytes(), value.as_slice());
        }
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
    }
    println!("{}", started.elapsed().as_secs_f64());
    std::io::stdout().flush().unwrap();
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn loopback_bytes() -> u64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = devices.lines().find(|line| line.trim_start().starts_with("lo:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn size_of(dir: &Path) -> u64 {
    let mut total = 0;
    for item in std::fs::read_dir(dir).unwrap() {
        let item = item.unwrap();
        let metadata = item.metadata().unwrap();
        total += if metadata.is_dir() { size_of(&item.path()) } else { metadata.len() };
    }
    total
}
