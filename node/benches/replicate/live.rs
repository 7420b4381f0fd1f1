//! How soon a new record is everywhere: from the author's call to the moment it
//! is durable at the others, each in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tallystick_protocol::sync::Notice;

use crate::fixture::{Council, entry};
use crate::measure::{child, end, line, percentile, runtime, say};

const RECORDS: u64 = 500;
/// Council 1 is the author; the others are numbered from here.
const FIRST: u8 = 2;
/// Partners to which each node connects.
const PARTNERS: usize = 5;

pub(crate) fn run() {
    for others in [1, 19] {
        let mut millis = latencies(others);
        println!(
            "one new record, {} nodes: p50 {:.2} ms, p99 {:.2} ms to all of them ({RECORDS} records)",
            others + 1,
            percentile(&mut millis, 50),
            percentile(&mut millis, 99),
        );
    }
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn latencies(others: u8) -> Vec<f64> {
    runtime().block_on(async {
        let dirs: Vec<_> = (0..=others).map(|_| tempfile::tempdir().unwrap()).collect();
        let last = FIRST + others;
        let known = (FIRST..last).map(|number| Council::new(number).partner(vec![])).collect();
        let node = Council::new(1).start(dirs[0].path(), known).await;
        let mut addresses = vec![(1, node.address.to_string())];
        let mut children = Vec::new();
        for (number, dir) in (FIRST..last).zip(&dirs[1..]) {
            // Some of those before it, spread over them.
            let step = addresses.len().div_ceil(PARTNERS);
            let partners: Vec<String> = addresses
                .iter()
                .rev()
                .step_by(step)
                .map(|(number, address)| format!("{number}={address}"))
                .collect();
            let dir = dir.path().to_str().unwrap();
            let mut listener =
                child(&["hear", &format!("{number} {last} {dir} {}", partners.join(" "))]);
            addresses.push((number, line(&mut listener)));
            children.push(Listener::new(listener));
        }
        let log = Council::new(1).log();
        let mut millis = Vec::new();
        // The first ones let the mesh form.
        for n in 0..RECORDS + 20 {
            tokio::time::sleep(Duration::from_millis(if n < 20 { 300 } else { 5 })).await;
            let entry = entry(n);
            let begun = micros();
            let authored = node.handle.author(vec![entry]).await.unwrap();
            let size = authored.start + 1;
            let reached = children.iter().map(|listener| listener.reached(size)).max().unwrap();
            if n >= 20 {
                millis.push(reached.saturating_sub(begun) as f64 / 1e3);
            }
        }
        assert!(node.size(&log).await >= RECORDS);
        for listener in children {
            end(listener.child);
        }
        node.stop().await;
        millis
    })
}

/// A process that hears of records, and what it said of them.
struct Listener {
    child: Child,
    heard: Receiver<(u64, u64)>,
}

impl Listener {
    fn new(mut child: Child) -> Self {
        let (sender, heard) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let (size, at) = line.split_once(' ').unwrap();
                if sender.send((size.parse().unwrap(), at.parse().unwrap())).is_err() {
                    return;
                }
            }
        });
        Self { child, heard }
    }

    /// When the log had so many entries here.
    fn reached(&self, size: u64) -> u64 {
        loop {
            let (heard, at) = self.heard.recv_timeout(Duration::from_secs(30)).unwrap();
            if heard >= size {
                return at;
            }
        }
    }
}

/// A node that prints when the log of council 1 advances.
pub(crate) fn hear(what: &str) {
    let mut words = what.split(' ');
    let number: u8 = words.next().unwrap().parse().unwrap();
    let last: u8 = words.next().unwrap().parse().unwrap();
    let dir = PathBuf::from(words.next().unwrap());
    let dialled: Vec<(u8, &str)> = words
        .map(|word| word.split_once('=').unwrap())
        .map(|(number, address)| (number.parse().unwrap(), address))
        .collect();
    runtime().block_on(async {
        let partners = (1..last).filter(|other| *other != number).map(|other| {
            let address = dialled.iter().find(|(dialled, _)| *dialled == other);
            let addresses = address.map(|(_, address)| address.parse().unwrap());
            Council::new(other).partner(addresses.into_iter().collect())
        });
        let node = Council::new(number).start(&dir, partners.collect()).await;
        let log = Council::new(1).log();
        let mut notices = node.handle.notices();
        say(&node.address.to_string());
        let mut ended =
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::LogAdvanced { log: advanced, to, .. }) if advanced == log => {
                        say(&format!("{to} {}", micros()));
                    }
                    _ => {}
                },
                _ = &mut ended => break,
            }
        }
        node.stop().await;
    });
}
