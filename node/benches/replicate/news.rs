//! What it costs to hear of little, and of nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::catch_up::{Source, prepare, received};
use crate::fixture::Council;
use crate::measure::{child, end, line, loopback_bytes, runtime, shown};

const RUNS: usize = 5;

pub(crate) fn run(sizes: &[u64]) {
    println!("news: median of {RUNS} runs (lowest–highest)");
    for &records in sizes {
        for authors in [1, 32] {
            let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            prepare(source.path(), records, authors);
            let mut size = records / authors;
            let serve = || {
                let mut server = child(&["serve", source.path().to_str().unwrap()]);
                let address = line(&mut server);
                (server, address)
            };
            let (server, address) = serve();
            received(target.path(), &address, authors, size);
            end(server);
            let mut ratios = Vec::new();
            for _ in 0..RUNS {
                size += (records / authors / 100).max(1);
                let mut store = Source::open(source.path());
                let bytes: u64 = (0..authors).map(|a| store.extend(a, authors, size)).sum();
                drop(store);
                let (server, address) = serve();
                let before = loopback_bytes();
                received(target.path(), &address, authors, size);
                ratios.push((loopback_bytes() - before) as f64 / bytes as f64);
                end(server);
            }
            println!("{records} records, {authors} authors");
            println!("  1 % new, wire/entry bytes, connection set up  {}", shown(ratios));
            let (server, address) = serve();
            nothing(target.path(), &address);
            end(server);
        }
    }
}

/// Connects again and again to a partner that has nothing new.
fn nothing(dir: &Path, address: &str) {
    let (mut stream, mut wire, mut millis) = (Vec::new(), Vec::new(), Vec::new());
    runtime().block_on(async {
        for run in 0..=RUNS {
            let before = loopback_bytes();
            let partner = Council::new(1).partner(vec![address.parse().unwrap()]);
            let node = Council::new(200).start(dir, vec![partner]).await;
            let peer = loop {
                if let Some(peer) = node.handle.status().await.unwrap().peers.first().copied() {
                    break peer;
                }
                tokio::task::yield_now().await;
            };
            let connected = Instant::now();
            let mut peer = peer;
            while !peer.heard {
                peer = node.handle.status().await.unwrap().peers[0];
            }
            let elapsed = connected.elapsed();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let peer = node.handle.status().await.unwrap().peers[0];
            // The first writes down how far it has heard.
            if run > 0 {
                millis.push(elapsed.as_secs_f64() * 1e3);
                stream.push((peer.traffic.sent + peer.traffic.received) as f64);
                wire.push((loopback_bytes() - before) as f64);
            }
            node.stop().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    println!("  nothing new: bytes on the sync stream, both ways  {}", shown(stream));
    println!("  …and milliseconds from greeting to last answer    {}", shown(millis));
    println!("  …and bytes with TCP, handshakes and identify       {}", shown(wire));
}
