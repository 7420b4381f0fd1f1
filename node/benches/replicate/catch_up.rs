//! How fast a new node catches up, beside how fast bare sled stores the same bytes.
//!
//! Bare sled stores the same headers and bodies, one value each, in batches of
//! 1,000 with a flush each and the same cache, in the same run; "packed" is the
//! same with sixteen to a value, as the replica stores them.

use std::path::Path;
use std::time::{Duration, Instant};

use tallystick_node::store::{Replica as _, Store, StoreOptions};
use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::log::Frontier;
use tallystick_protocol::sync::{Append, StoredIdentity};

use crate::fixture::{self, Council, entry};
use crate::measure::{
    child, end, line, loopback_bytes, peak_memory, runtime, say, shown, size_of, spread,
};

const RUNS: usize = 5;
const BATCH: u64 = 1000;

pub(crate) fn run(sizes: &[u64]) {
    println!("cold catch-up: median of {RUNS} runs (lowest–highest)");
    for &records in sizes {
        for authors in [1, 32] {
            let source = tempfile::tempdir().unwrap();
            let bytes = prepare(source.path(), records, authors);
            let runs: Vec<Run> =
                (0..RUNS).map(|_| catch_up(source.path(), records, authors)).collect();
            let rates = |seconds: fn(&Run) -> f64| {
                shown(runs.iter().map(|run| records as f64 / seconds(run)).collect())
            };
            let per_byte = |value: fn(&Run) -> u64| {
                spread(runs.iter().map(|run| value(run) as f64 / bytes as f64).collect()).1
            };
            let memory = |value: fn(&Run) -> u64| {
                spread(runs.iter().map(|run| value(run) as f64 / 1_048_576.0).collect()).1
            };
            let ratio = |of: fn(&Run) -> f64| {
                spread(runs.iter().map(|run| of(run) / run.seconds).collect()).1
            };
            println!(
                "{records} records of {:.0} bytes, {authors} authors",
                bytes as f64 / records as f64
            );
            println!("  records/s            {}", rates(|run| run.seconds));
            println!("  bare sled            {}", rates(|run| run.sled.0));
            println!("  bare sled, packed    {}", rates(|run| run.sled.1));
            println!(
                "  ratio to bare sled   {:.2}, packed {:.2}",
                ratio(|run| run.sled.0),
                ratio(|run| run.sled.1)
            );
            println!("  wire/entry bytes     {:.3}", per_byte(|run| run.wire));
            println!("  disk/entry bytes     {:.2}", per_byte(|run| run.disk));
            println!("  …after compaction    {:.2}", per_byte(|run| run.compact));
            println!(
                "  peak memory, MiB     receiving {:.0}, serving {:.0}",
                memory(|run| run.peak.0),
                memory(|run| run.peak.1)
            );
        }
    }
}

struct Run {
    seconds: f64,
    /// One entry to a value, and sixteen.
    sled: (f64, f64),
    wire: u64,
    /// Of the receiving side, and of the serving side.
    peak: (u64, u64),
    disk: u64,
    compact: u64,
}

/// Puts signed logs into the store of council 1; returns the bytes of their entries.
pub(crate) fn prepare(dir: &Path, records: u64, authors: u64) -> u64 {
    let mut source = Source::open(dir);
    (0..authors).map(|author| source.extend(author, authors, records / authors)).sum()
}

/// The store of council 1, to be filled with logs of made-up authors.
pub(crate) struct Source {
    store: Store,
    changed: u64,
}

impl Source {
    pub(crate) fn open(dir: &Path) -> Self {
        let own = Council::new(1);
        let store = Store::open(dir, &StoreOptions::default(), own.authority()).unwrap();
        let stored = store.replica().stored().unwrap();
        let changes = stored.logs.iter().map(|log| log.changed);
        let changed = changes.chain(stored.identities.iter().map(|i| i.changed)).max().unwrap_or(0);
        Self { store, changed }
    }

    /// Lets an author's log reach a size; returns the bytes of what is new.
    pub(crate) fn extend(&mut self, author: u64, authors: u64, size: u64) -> u64 {
        let council = Council::new(u8::try_from(author + 1).unwrap());
        let stored = self.store.replica().logs().unwrap();
        let stored = stored.into_iter().find(|stored| stored.log == council.log());
        let mut frontier = stored.map_or_else(Frontier::new, |stored| stored.frontier);
        let authority = council.authority();
        let events = council.identity.events().to_vec();
        self.changed += 1;
        let identity = StoredIdentity { authority, events, changed: self.changed };
        self.store.replica().put_identity(&identity).unwrap();
        let mut bytes = 0;
        while frontier.size() < size {
            let start = frontier.size();
            let range = start..(start + BATCH).min(size);
            let entries: Vec<_> = range.map(|n| entry(n * authors + author)).collect();
            for entry in &entries {
                frontier.push(entry.leaf());
                bytes += entry.size() as u64;
            }
            let origin = Origin::public(&fixture::network(), &authority, 0);
            let head = Checkpoint::new(origin, frontier.size(), frontier.root()).unwrap();
            let head = Some(checkpoint::sign(&head, &council.log_key()).unwrap());
            self.changed += 1;
            let (log, changed) = (council.log(), self.changed);
            let frontier = frontier.clone();
            let (countersigned, witnessed) = (Vec::new(), None);
            let append =
                Append { log, start, entries, frontier, head, changed, countersigned, witnessed };
            self.store.commit(&[append]).unwrap();
        }
        bytes
    }
}

fn catch_up(source: &Path, records: u64, authors: u64) -> Run {
    let target = tempfile::tempdir().unwrap();
    let mut server = child(&["serve", source.to_str().unwrap()]);
    let address = line(&mut server);
    let before = loopback_bytes();
    let (seconds, received_peak) = received(target.path(), &address, authors, records / authors);
    let wire = loopback_bytes() - before;
    drop(server.stdin.take());
    let served_peak = line(&mut server).parse().unwrap();
    end(server);
    let replica = target.path().join("replica");
    let disk = size_of(&replica);
    let options = StoreOptions::default();
    let store = Store::open(target.path(), &options, Council::new(200).authority()).unwrap();
    store.compact(&options, |_| {}).unwrap();
    let compact = size_of(&replica);
    let bare = tempfile::tempdir().unwrap();
    let mut sled = child(&["sled", source.to_str().unwrap(), bare.path().to_str().unwrap()]);
    let sled_seconds = line(&mut sled);
    let (single, packed) = sled_seconds.split_once(' ').unwrap();
    let sled_seconds = (single.parse().unwrap(), packed.parse().unwrap());
    end(sled);
    let peak = (received_peak, served_peak);
    Run { seconds, sled: sled_seconds, wire, peak, disk, compact }
}

/// Lets another process catch up into `target`; gives seconds and peak memory.
pub(crate) fn received(target: &Path, address: &str, authors: u64, size: u64) -> (f64, u64) {
    let (authors, size) = (authors.to_string(), size.to_string());
    let mut receiver = child(&["receive", target.to_str().unwrap(), address, &authors, &size]);
    let result = line(&mut receiver);
    end(receiver);
    let (seconds, peak) = result.split_once(' ').unwrap();
    (seconds.parse().unwrap(), peak.parse().unwrap())
}

/// Serves council 1's store to council 200 until the input is closed.
pub(crate) fn serve(dir: &Path) {
    runtime().block_on(async {
        let node = Council::new(1).start(dir, vec![Council::new(200).partner(vec![])]).await;
        say(&node.address.to_string());
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        ended.await.unwrap().unwrap();
        say(&peak_memory().to_string());
        node.stop().await;
    });
}

/// Catches up and prints seconds and peak memory.
pub(crate) fn receive(dir: &Path, address: &str, expected: &[String]) {
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
            assert!(started.elapsed() < Duration::from_secs(600), "no end in sight");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("{seconds} {}", peak_memory()));
        node.stop().await;
    });
}

/// Stores the same bytes with nothing but sled and prints seconds.
pub(crate) fn bare_sled(source: &Path, target: &Path) {
    let own = Council::new(1).authority();
    let store = Store::open(source, &StoreOptions::default(), own).unwrap();
    let mut values = Vec::new();
    for log in store.replica().logs().unwrap() {
        for start in (0..log.frontier.size()).step_by(1000) {
            let entries = store.replica().entries(&log.log, start..start + BATCH, usize::MAX);
            let entries = entries.unwrap().into_iter();
            values.extend(entries.map(|e| [e.header, e.body.unwrap_or_default()].concat()));
        }
    }
    drop(store);
    let single = store_with_sled(&target.join("single"), &values, 1000);
    let packed: Vec<_> = values.chunks(16).map(<[_]>::concat).collect();
    let packed = store_with_sled(&target.join("packed"), &packed, 1000 / 16);
    say(&format!("{single} {packed}"));
}

fn store_with_sled(dir: &Path, values: &[Vec<u8>], batch_values: usize) -> f64 {
    let cache = StoreOptions::default().cache_bytes;
    let config = sled::Config::new().path(dir).cache_capacity(cache).flush_every_ms(None);
    let started = Instant::now();
    let db = config.open().unwrap();
    for (number, chunk) in values.chunks(batch_values).enumerate() {
        let mut batch = sled::Batch::default();
        for (n, value) in chunk.iter().enumerate() {
            let key = (number * batch_values + n) as u64;
            batch.insert(&key.to_be_bytes(), value.as_slice());
        }
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
    }
    started.elapsed().as_secs_f64()
}
