//! Catch-up over a long, narrow link: a proxy that delays and throttles stands
//! between the two nodes, so that no kernel support is needed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::catch_up::{prepare, received};
use crate::measure::{child, end, line, shown};

const RUNS: usize = 5;
const RECORDS: u64 = 100_000;
const ONE_WAY: Duration = Duration::from_millis(30);
/// 100 Mbit/s.
const BYTES_PER_SECOND: f64 = 12_500_000.0;
const CHUNK: usize = 16 << 10;
/// What the narrowest router on the way holds back: one round trip's worth.
const QUEUE_CHUNKS: usize = 46;

pub(crate) fn run() {
    let source = tempfile::tempdir().unwrap();
    prepare(source.path(), RECORDS, 1);
    let (mut used, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let target = tempfile::tempdir().unwrap();
        let mut server = child(&["serve", source.path().to_str().unwrap()]);
        let address = line(&mut server);
        let (proxied, carried) = proxy(&address);
        let (seconds, _) = received(target.path(), &proxied, 1, RECORDS);
        used.push(carried.load(Ordering::Relaxed) as f64 / BYTES_PER_SECOND / seconds);
        rates.push(RECORDS as f64 / seconds);
        end(server);
    }
    println!(
        "60 ms round trip, 100 Mbit/s, {RECORDS} records from nothing: link used {}, records/s {}",
        shown(used),
        shown(rates)
    );
}

/// Listens in front of `target`, a `/ip4/…/tcp/…` address; gives its own address
/// and the count of bytes carried towards whoever connects.
fn proxy(target: &str) -> (String, Arc<AtomicU64>) {
    let mut parts = target.split('/');
    let port: u16 = parts.nth(4).unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let carried = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&carried);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let (clients, servers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || carry(clients, servers, &AtomicU64::new(0)));
            std::thread::spawn(move || carry(server, client, &counter));
        }
    });
    (format!("/ip4/127.0.0.1/tcp/{own}"), carried)
}

/// Carries bytes one way: as fast as the link is wide, each after the delay.
fn carry(mut from: TcpStream, mut to: TcpStream, carried: &AtomicU64) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(QUEUE_CHUNKS);
    let mut sent = to.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sent.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    let mut free = Instant::now();
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        let wire = Duration::from_secs_f64(read as f64 / BYTES_PER_SECOND);
        free = free.max(Instant::now()) + wire;
        // Not before the last bit has left.
        std::thread::sleep(free.saturating_duration_since(Instant::now()));
        carried.fetch_add(read as u64, Ordering::Relaxed);
        if sender.send((free + ONE_WAY, buffer[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ended = writer.join();
    let _closed = to.flush().and_then(|()| to.shutdown(Shutdown::Both));
}
