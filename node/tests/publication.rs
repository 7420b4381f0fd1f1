//! The public logs over HTTP: what is said to whom, byte for byte.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::net::SocketAddr;
use std::time::Duration;

use fixture::{Council, Node, entry, network};
use tallystick_node::cosigner::Cosigner;
use tallystick_node::publication::{Publication, bind, serve};
use tallystick_node::witnesses::Witnesses;
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A node that shows its log of ten entries.
struct Shown {
    node: Node,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    origin: Origin,
    _dir: tempfile::TempDir,
}

impl Shown {
    async fn start() -> Self {
        let (council, dir) = (Council::new(1), tempfile::tempdir().unwrap());
        let node = council.start(dir.path(), Vec::new()).await;
        node.handle.author((0..10).map(entry).collect()).await.unwrap();
        node.wait_for(&council.log(), 10, Duration::from_secs(10)).await;
        let own = council.authority();
        let key = SecretKey::from_seed([1; 32]);
        let cosigner = Cosigner::new(node.handle.clone(), network(), own, key);
        let (log, log_key) = (council.log(), council.log_key().public());
        let file = dir.path().join("cosignatures");
        let witnesses = Witnesses::open(log, log_key, Vec::new(), None, file).unwrap();
        let publication =
            Publication::new(node.replica(), network(), own, cosigner, witnesses.into());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = serve(listener, publication, stopped);
        let origin = Origin::of(&network(), &council.log()).unwrap();
        Self { node, address, stop, task, origin, _dir: dir }
    }

    /// What comes back until the connection ends, the date left out.
    async fn say(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date:")).collect();
        // Only the status stands where it must.
        if let Some((_, headers)) = lines.split_first_mut() {
            headers.sort_unstable();
        }
        format!("{}\n\n{body}", lines.join("\n"))
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.say(request.as_bytes()).await
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.node.stop().await;
    }
}

const NOTHING: &str = "HTTP/1.1 404 Not Found\nconnection: close\ncontent-length: 0\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_comes_with_its_type_and_time_to_keep_it() {
    let shown = Shown::start().await;
    let path = |rest: &str| format!("/{}/{rest}", shown.origin);
    let checkpoint = shown.ask("GET", &path("checkpoint")).await;
    let (head, note) = checkpoint.split_once("\n\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\ncache-control: max-age=2\n"), "{head}");
    assert!(head.contains("\ncontent-type: text/plain; charset=utf-8"), "{head}");
    assert!(note.starts_with(&format!("{}\n10\n", shown.origin)), "{note}");
    for (rest, length) in [("tile/0/000.p/10", 320), ("tile/0/000.p/3", 96)] {
        let expected = format!(
            "HTTP/1.1 200 OK\ncache-control: public, max-age=31536000, immutable\n\
             connection: close\ncontent-length: {length}\ncontent-type: application/octet-stream\n\
             x-content-type-options: nosniff\n\n"
        );
        assert_eq!(shown.ask("HEAD", &path(rest)).await, expected);
    }
    let body = shown.ask("GET", &path("body/009")).await;
    assert!(body.contains("\ncache-control: no-store\n"), "{body}");
    assert!(body.contains("Made-up contract number 9"), "{body}");
    shown.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_nothing_whatever_the_method() {
    let shown = Shown::start().await;
    let own = format!("/{}/checkpoint", shown.origin);
    let stranger = Council::new(2);
    let other = Origin::of(&network(), &stranger.log()).unwrap();
    let group = Origin::private(&network(), &tallystick_protocol::log::empty_root());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "MADEUP"] {
        assert_eq!(shown.ask(method, &own).await, NOTHING, "{method}");
    }
    for path in [
        "/".to_owned(),
        "*".to_owned(),
        "/v1/status".to_owned(),
        "/add-checkpoint".to_owned(),
        "/add-checkpoint/".to_owned(),
        format!("/{other}/checkpoint"),
        format!("/{group}/checkpoint"),
        format!("/{}/tile/0/000.p/11", shown.origin),
        format!("{own}?"),
        format!("{own}?size=3"),
        format!("{own}/../checkpoint"),
    ] {
        assert_eq!(shown.ask("GET", &path).await, NOTHING, "{path}");
        assert_eq!(shown.ask("OPTIONS", &path).await, NOTHING, "{path}");
    }
    shown.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_before_they_are_read() {
    let shown = Shown::start().await;
    let post = |length: usize, body: &str| {
        format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let bad = "HTTP/1.1 400 Bad Request\nconnection: close\ncontent-length: 0\n\n";
    assert_eq!(shown.say(post(4, "old ").as_bytes()).await, bad);
    // Announced to be too large: refused without waiting for it.
    let large = limits::ADD_CHECKPOINT_BYTES + 1;
    assert_eq!(shown.say(post(large, "").as_bytes()).await, bad);
    // Too large without announcing it.
    let chunk = "0".repeat(large);
    let chunked = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{large:x}\r\n{chunk}\r\n"
    );
    assert!(shown.say(chunked.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    // A head that does not end.
    let head = format!("GET /{} HTTP/1.1\r\n", "x".repeat(64 << 10));
    let answer = shown.say(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    shown.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_no_client() {
    let shown = Shown::start().await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(shown.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
        idle.push(stream);
    }
    tokio::time::timeout(Duration::from_secs(5), shown.stop()).await.unwrap();
}
