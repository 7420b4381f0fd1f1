//! An HTTP proxy as councils have them: CONNECT only, to one port only, and it
//! looks whether HTTP is spoken inside.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it did so far.
#[derive(Default)]
struct Record {
    tunnels: AtomicUsize,
    refused: AtomicUsize,
    bytes: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// A running proxy; it ends with the process.
pub struct Proxy(Arc<Record>);

impl Proxy {
    /// Listens on `address` and connects to `port` of anybody, nothing else.
    pub fn start(address: &str, port: u16) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let record = Arc::new(Record::default());
        let kept = Arc::clone(&record);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = Arc::clone(&record);
                std::thread::spawn(move || serve(stream, port, &record));
            }
        });
        Self(kept)
    }

    /// Tunnels made so far.
    pub fn tunnels(&self) -> usize {
        self.0.tunnels.load(Ordering::SeqCst)
    }

    /// Requests refused so far.
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::SeqCst)
    }

    /// Bytes that went through, both ways.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }

    /// Cuts everything that is open now.
    pub fn cut(&self) {
        for stream in self.0.open.lock().unwrap().drain(..) {
            // It may be gone already.
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut client: TcpStream, port: u16, record: &Arc<Record>) {
    let Some(head) = read_head(&mut client) else { return };
    let line = head.lines().next().unwrap_or_default().to_owned();
    let target = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let allowed = target.filter(|target| target.ends_with(&format!(":{port}")));
    let server = allowed.and_then(|target| TcpStream::connect(target).ok());
    let Some(mut server) = server else {
        record.refused.fetch_add(1, Ordering::SeqCst);
        let _gone = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    if client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 made-up\r\n\r\n").is_err()
    {
        return;
    }
    // What is inside must look like HTTP, or it goes no further.
    let Some(inside) = read_head(&mut client) else { return };
    if !inside.to_ascii_lowercase().contains("upgrade: websocket") {
        record.refused.fetch_add(1, Ordering::SeqCst);
        return;
    }
    if server.write_all(inside.as_bytes()).is_err() {
        return;
    }
    record.tunnels.fetch_add(1, Ordering::SeqCst);
    let both = [(&client, &server), (&server, &client)].map(|(from, to)| {
        record.open.lock().unwrap().push(from.try_clone().unwrap());
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let record = Arc::clone(record);
        std::thread::spawn(move || pass(from, to, &record.bytes))
    });
    both.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Passes bytes on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, counted: &AtomicUsize) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        counted.fetch_add(count, Ordering::SeqCst);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Reads a head byte by byte, so that nothing after it is taken.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if head.len() > 8 << 10 {
            return None;
        }
    }
    stream.set_read_timeout(None).ok()?;
    String::from_utf8(head).ok()
}
