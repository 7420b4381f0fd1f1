//! Sync streams: frames with a four-byte big-endian length, read only while
//! there is credit, written in order.
//!
//! **Invariants:** a length over the limit ends the stream before anything is
//! allocated; a peer has at most [`CREDITS`] frames with the driver; a peer that
//! lets more than [`UNSENT_BYTES`] pile up is disconnected, and so are the
//! slowest when all together do; streams that soon end are opened again ever
//! less often, and whoever begins too many is reported.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use tallystick_protocol::id::NodeId;
use tallystick_protocol::limits;
use tallystick_protocol::sync::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::Event;

/// Catch-up and news.
pub(super) const SYNC: StreamProtocol = StreamProtocol::new("/tallystick/sync/1");
/// One card, from a node that wants to become a partner.
pub(super) const CARD: StreamProtocol = StreamProtocol::new("/tallystick/card/1");
/// Frames of one peer that the driver may hold.
const CREDITS: usize = 4;
/// Bytes that may wait to be sent to one peer.
const UNSENT_BYTES: usize = 64 << 20;
/// Bytes that may wait to be sent over all peers, before those with more than a frame's worth go.
const ALL_UNSENT_BYTES: usize = 256 << 20;
/// Streams and connections that one node may begin within [`BEGINNINGS_TIME`].
const BEGINNINGS: u32 = 120;
/// Time over which beginnings are counted.
const BEGINNINGS_TIME: Duration = Duration::from_secs(60);
/// How long a card may take.
const CARD_TIME: Duration = Duration::from_secs(10);
/// First and longest rest before a stream that soon ended is opened again: a
/// node that has not accepted us yet ends every stream at once.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(8));
/// A stream that lasted so long has not ended soon.
const SOON: Duration = Duration::from_secs(5);

/// Tells the streams that one node has had apart.
pub type SessionId = u64;

/// The right to have one more frame with the driver; dropping it lets the next be read.
#[derive(Debug)]
pub struct Credit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// One open stream.
struct Session {
    id: SessionId,
    frames: mpsc::UnboundedSender<Vec<u8>>,
    unsent: Arc<AtomicUsize>,
    since: Instant,
    task: JoinHandle<()>,
}

/// Both ends of a channel from the streams' tasks to their owner.
struct Queue<T> {
    sender: mpsc::Sender<T>,
    receiver: mpsc::Receiver<T>,
}

impl<T> Queue<T> {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(64);
        Self { sender, receiver }
    }
}

/// All open streams, at most one per node.
pub(super) struct Streams {
    open: BTreeMap<NodeId, Session>,
    events: mpsc::Sender<Event>,
    last: SessionId,
    opened: Queue<(NodeId, Option<Stream>)>,
    ended: Queue<(NodeId, SessionId)>,
    opening: BTreeMap<NodeId, JoinHandle<()>>,
    /// Nodes whose streams end soon, and how long the next one waits.
    rests: BTreeMap<NodeId, Duration>,
    /// What nodes began since when.
    beginnings: BTreeMap<NodeId, (Instant, u32)>,
}

/// What became of a frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It is on its way, or its stream is gone.
    Queued,
    /// The peer lets too much pile up.
    TooSlow,
    /// All peers together do, and this one is among the worst.
    NoRoom,
}

impl Streams {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            open: BTreeMap::new(),
            events,
            last: 0,
            opened: Queue::new(),
            ended: Queue::new(),
            opening: BTreeMap::new(),
            rests: BTreeMap::new(),
            beginnings: BTreeMap::new(),
        }
    }

    /// Counts a stream or connection begun by a node. `false` if those are too many.
    pub(super) fn begins(&mut self, node: NodeId) -> bool {
        let now = Instant::now();
        if self.beginnings.len() >= 2 * limits::PEERS && !self.beginnings.contains_key(&node) {
            self.beginnings.retain(|_, (since, _)| since.elapsed() < BEGINNINGS_TIME);
        }
        if self.beginnings.len() >= 4 * limits::PEERS {
            // With a count each they would take more memory than what they begin.
            self.beginnings.clear();
        }
        let (since, count) = self.beginnings.entry(node).or_insert((now, 0));
        if since.elapsed() >= BEGINNINGS_TIME {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= BEGINNINGS
    }

    pub(super) fn is_open(&self, node: &NodeId) -> bool {
        self.open.contains_key(node) || self.opening.contains_key(node)
    }

    /// Opens a stream to a connected node in the background, at once unless the
    /// streams before it ended soon.
    pub(super) fn open(&mut self, mut control: libp2p_stream::Control, node: NodeId, peer: PeerId) {
        let opened = self.opened.sender.clone();
        let rest = self.rests.get(&node).copied().unwrap_or_default();
        let task = tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            let stream = control.open_stream(peer, SYNC).await;
            // The network task is gone only when the node stops.
            let _stopping = opened.send((node, stream.ok())).await;
        });
        self.opening.insert(node, task);
    }

    /// Takes a stream into use, in the place of the one before. That one is not
    /// said to be down: the driver wants to know that it was open until now.
    pub(super) fn start(&mut self, node: NodeId, stream: Stream) {
        if let Some(task) = self.opening.remove(&node) {
            task.abort();
        }
        if let Some(before) = self.open.remove(&node) {
            before.task.abort();
        }
        self.last += 1;
        let id = self.last;
        let (frames, queue) = mpsc::unbounded_channel();
        let unsent = Arc::new(AtomicUsize::new(0));
        let (events, ended) = (self.events.clone(), self.ended.sender.clone());
        let counter = Arc::clone(&unsent);
        let task = tokio::spawn(async move {
            if events.send(Event::Up(node, id)).await.is_ok() {
                let (reader, writer) = stream.split();
                let result = tokio::select! {
                    result = read(reader, node, id, &events) => result,
                    result = write(writer, queue, &counter) => result,
                };
                tracing::debug!(peer = %node, ?result, "sync stream ended");
                if result.is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
                    let refusal = Refusal::MalformedFrame;
                    let _stopping = events.send(Event::Misbehaved(node, refusal)).await;
                }
            }
            let _stopping = ended.send((node, id)).await;
        });
        self.open.insert(node, Session { id, frames, unsent, since: Instant::now(), task });
    }

    /// Queues a frame, unless too much waits already.
    pub(super) fn send(&self, node: &NodeId, frame: Vec<u8>) -> Sending {
        let Some(session) = self.open.get(node) else { return Sending::Queued };
        let size = frame.len();
        let unsent = session.unsent.fetch_add(size, Ordering::Relaxed) + size;
        if unsent > UNSENT_BYTES {
            return Sending::TooSlow;
        }
        if unsent > limits::FRAME_BYTES && self.unsent() > ALL_UNSENT_BYTES {
            return Sending::NoRoom;
        }
        // A closed queue is a stream that has ended; its end is on the way to us.
        let _ended = session.frames.send(frame);
        Sending::Queued
    }

    /// Bytes that wait to be sent, over all peers.
    fn unsent(&self) -> usize {
        self.open.values().map(|session| session.unsent.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn close(&mut self, node: &NodeId) {
        if let Some(task) = self.opening.remove(node) {
            task.abort();
        }
        if let Some(session) = self.open.remove(node) {
            session.task.abort();
            let (events, node) = (self.events.clone(), *node);
            tokio::spawn(async move { events.send(Event::Down(node, session.id)).await });
        }
    }

    /// Waits until a stream ended, or could not be opened, and says whose.
    /// Streams that were opened meanwhile are taken into use.
    pub(super) async fn ended(&mut self) -> NodeId {
        loop {
            tokio::select! {
                Some((node, stream)) = self.opened.receiver.recv() => {
                    if self.opening.remove(&node).is_none() {
                        continue;
                    }
                    match stream {
                        Some(stream) => self.start(node, stream),
                        None => {
                            self.rest(node);
                            return node;
                        }
                    }
                }
                Some((node, id)) = self.ended.receiver.recv() => {
                    let session = self.open.get(&node).filter(|session| session.id == id);
                    if let Some(soon) = session.map(|session| session.since.elapsed() < SOON) {
                        self.close(&node);
                        if soon {
                            self.rest(node);
                        } else {
                            self.rests.remove(&node);
                        }
                        return node;
                    }
                }
            }
        }
    }

    /// Lets the next stream to a node wait, each time twice as long.
    fn rest(&mut self, node: NodeId) {
        if self.rests.len() >= limits::PEERS && !self.rests.contains_key(&node) {
            // Strangers may be many; forgetting costs them one early attempt.
            self.rests.clear();
        }
        let rest = self.rests.entry(node).or_default();
        *rest = (*rest * 2).clamp(REST.0, REST.1);
    }
}

/// Reads frames while there is credit.
async fn read(
    mut stream: futures::io::ReadHalf<Stream>,
    node: NodeId,
    id: SessionId,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let credits = Arc::new(Semaphore::new(CREDITS));
    loop {
        let credit = Arc::clone(&credits).acquire_owned().await.map_err(io::Error::other)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > limits::FRAME_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame over the limit"));
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await?;
        let event = Event::Frame(node, id, frame, Credit(credit));
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes queued frames, flushing when none waits.
async fn write(
    mut stream: futures::io::WriteHalf<Stream>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    unsent: &AtomicUsize,
) -> io::Result<()> {
    while let Some(frame) = queue.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&frame).await?;
            unsent.fetch_sub(frame.len(), Ordering::Relaxed);
            next = queue.try_recv().ok();
        }
        stream.flush().await?;
    }
    stream.close().await
}

/// Hands our card to a node that may not know us yet.
pub(super) fn send_card(mut control: libp2p_stream::Control, peer: PeerId, card: String) {
    tokio::spawn(async move {
        let handed = tokio::time::timeout(CARD_TIME, async {
            let mut stream = control.open_stream(peer, CARD).await.map_err(io::Error::other)?;
            stream.write_all(card.as_bytes()).await?;
            stream.close().await
        });
        if !matches!(handed.await, Ok(Ok(()))) {
            tracing::debug!(%peer, "card not taken");
        }
    });
}

/// Reads the card of a node that is not allowed.
pub(super) fn read_card(node: NodeId, stream: Stream, events: mpsc::Sender<Event>) {
    tokio::spawn(async move {
        let mut card = Vec::new();
        let limit = limits::NOTE_BYTES as u64;
        let mut stream = stream.take(limit);
        let reading = tokio::time::timeout(CARD_TIME, stream.read_to_end(&mut card)).await;
        if matches!(reading, Ok(Ok(_)))
            && let Ok(card) = String::from_utf8(card)
        {
            let _stopping = events.send(Event::Card(node, card)).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_soon_end_are_opened_ever_less_often() {
        let mut streams = Streams::new(mpsc::channel(1).0);
        let node = NodeId::from_bytes([1; 32]);
        let mut before = Duration::ZERO;
        for _ in 0..20 {
            streams.rest(node);
            let rest = streams.rests[&node];
            assert!(rest > before || rest == REST.1);
            before = rest;
        }
        assert_eq!(before, REST.1);
        for number in 0..limits::PEERS as u64 * 2 {
            let mut bytes = [2; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            streams.rest(NodeId::from_bytes(bytes));
            assert!(streams.rests.len() <= limits::PEERS);
        }
    }
}
