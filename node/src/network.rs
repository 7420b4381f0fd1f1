//! libp2p as a pipe: authenticated frames in and out, gossip in and out.
//!
//! TCP, plain or as WebSocket and through a proxy if one is set, with Noise and
//! Yamux, and QUIC; gossipsub for the public space with
//! manual validation; a libp2p stream `/tallystick/sync/1` per partner; identify,
//! ping and connection limits. Who a peer is follows from its Noise or TLS
//! handshake; whether it may speak, from the list of allowed nodes.
//!
//! Of two connected nodes the one with the smaller key opens the sync stream,
//! whoever dialled; so a node that can only dial out works fully, and two nodes
//! that dial each other at once still share one stream. If it does not, the
//! other one does: it may have a stream with a copy of the other and not know
//! of the second connection.
//!
//! **Invariant:** a node that is not allowed gets neither stream nor gossip. It
//! may hand in its card once, so that its request can be shown, and is
//! disconnected. Commands are obeyed even while the driver is too busy to take
//! events, so that what is to be sent waits where it is counted. Deliberately absent: what frames mean; [`crate::driver`] takes
//! them to the protocol's machine.

mod behaviour;
mod door;
mod proxy;
mod stream;
mod transport;
mod websocket;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use tallystick_protocol::id::{NetworkName, NodeId};
use tallystick_protocol::sync::Refusal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::behaviour::{Behaviour, BehaviourEvent};
pub(crate) use self::door::place_of;
pub use self::proxy::{Proxy, ProxyError};
use self::stream::Sending;
pub use self::stream::{Credit, SessionId};

/// Frames that wait for the driver, over all peers.
const FRAMES_WAITING: usize = 256;
/// Connections by unknown nodes at one time.
const STRANGERS: usize = 16;
/// Those of them that come from one place.
const STRANGERS_PER_PLACE: usize = 8;
/// Streams that an unknown node may open during its stay.
const STRANGER_STREAMS: u32 = 16;
/// How long an unknown node that opened more is refused.
const STRANGER_BAN: Duration = Duration::from_secs(60);
/// A connection that lasted so long has not ended soon.
const LASTING: Duration = Duration::from_secs(10);
/// Commands that are obeyed before anything else gets its turn.
const COMMANDS_AT_ONCE: usize = 1024;
/// How long an unknown node may stay to hand in its card.
const STRANGER_TIME: Duration = Duration::from_secs(10);
/// Pause before the first and before the slowest attempt to reach a partner again.
const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a connection may be without a stream before the other side opens one.
const STREAMLESS: Duration = Duration::from_secs(1);

/// What the driver tells the network.
#[derive(Debug)]
pub enum Command {
    /// Allow a node, and keep a connection to it if it has addresses.
    Allow(NodeId, Vec<Multiaddr>),
    /// Disconnect a node and refuse it from now on.
    Forbid(NodeId),
    /// End a connection; it may be made again after a while.
    Disconnect(NodeId),
    /// End all connections and make them anew at once.
    Renew,
    /// End all connections and make none any more: another copy of this node is
    /// running, and both would drive each other off their partners' links.
    Retire,
    /// End a connection and make none with that node until then.
    Refuse(NodeId, std::time::Instant),
    /// Send a frame.
    Send(NodeId, Vec<u8>),
    /// Hand out this card of ours from now on.
    Present(String),
    /// Gossip a message.
    Publish(Vec<u8>),
    /// What to do with a gossip message.
    Verdict(MessageId, PeerId, MessageAcceptance),
}

/// What the network tells the driver.
#[derive(Debug)]
pub enum Event {
    /// An address on which we can be reached.
    Listening(Multiaddr),
    /// A sync stream with an allowed node is open; a later one replaces it.
    Up(NodeId, SessionId),
    /// The stream of that session is gone.
    Down(NodeId, SessionId),
    /// A frame. The credit goes back when more may be read.
    Frame(NodeId, SessionId, Vec<u8>, Credit),
    /// A gossip message.
    Gossip {
        /// Its name in the verdict.
        id: MessageId,
        /// Who passed it on.
        source: PeerId,
        /// The same as a node.
        node: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A node that is not allowed handed in its card.
    Card(NodeId, String),
    /// A node broke a rule of the transport.
    Misbehaved(NodeId, Refusal),
}

/// Is shown everything that comes from other nodes, decrypted, before anything is done
/// with it: for whoever wants to see what a node is told, as tests do.
#[derive(Clone)]
pub struct Onlooker(Arc<dyn Fn(&Event) + Send + Sync>);

impl Onlooker {
    /// One that calls `look`, which must not block.
    pub fn new(look: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// Shows it an event.
    pub(crate) fn show(&self, event: &Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Onlooker").finish_non_exhaustive()
    }
}

/// How the network is set up.
pub struct Setup {
    /// Names the gossip topic.
    pub network: NetworkName,
    /// Seed of the node key, 32 bytes.
    pub node_seed: zeroize::Zeroizing<[u8; 32]>,
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Own card, for nodes that do not know us yet.
    pub card: String,
    /// Accept nodes that are not partners.
    pub accept_anyone: bool,
    /// Dial through this HTTP proxy, and not without it.
    pub proxy: Option<Proxy>,
}

/// Why the network does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(Multiaddr, String),
    /// A part of libp2p refused its configuration: our bug.
    #[error("the network stack could not be set up: {0}")]
    Setup(String),
}

/// A partner we keep a connection to.
#[derive(Debug)]
struct Wanted {
    addresses: Vec<Multiaddr>,
    next_try: Instant,
    pause: Duration,
    /// Since when it is connected.
    since: Option<Instant>,
}

/// An unknown node that is connected.
#[derive(Debug)]
struct Stranger {
    peer: PeerId,
    until: Instant,
    origin: door::Origin,
    streams: u32,
    has_card: bool,
}

/// The network task.
pub struct Network {
    swarm: Swarm<Behaviour>,
    topic: gossipsub::IdentTopic,
    own: NodeId,
    card: String,
    accept_anyone: bool,
    /// Connects to nobody any more.
    retired: bool,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
    control: libp2p_stream::Control,
    incoming: libp2p_stream::IncomingStreams,
    cards: libp2p_stream::IncomingStreams,
    allowed: BTreeSet<NodeId>,
    wanted: BTreeMap<NodeId, Wanted>,
    strangers: BTreeMap<ConnectionId, Stranger>,
    streams: stream::Streams,
    /// Since when an allowed node has been connected without a stream.
    streamless: BTreeMap<NodeId, Instant>,
}

/// The driver's ends of the pipe.
pub struct Pipe {
    /// Into the network.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Out of the network.
    pub events: mpsc::Receiver<Event>,
}

/// The libp2p name of a node.
#[must_use]
pub fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

/// The node behind a libp2p name, if its key is Ed25519.
#[must_use]
pub fn node_id(peer: &PeerId) -> Option<NodeId> {
    // Ed25519 keys are so short that a peer id contains them whole (libp2p peer-id specification).
    let key = libp2p::identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

impl Network {
    /// Binds the addresses and returns the task, not yet running, with the driver's ends.
    ///
    /// # Errors
    /// A [`NetworkError`].
    pub fn new(setup: Setup) -> Result<(Self, Pipe), NetworkError> {
        let (mut swarm, topic) = behaviour::swarm(&setup)?;
        for address in &setup.listen {
            let failed = |error: libp2p::TransportError<std::io::Error>| {
                NetworkError::Listen(address.clone(), error.to_string())
            };
            swarm.listen_on(address.clone()).map_err(failed)?;
        }
        let own = node_id(swarm.local_peer_id());
        let own = own.ok_or_else(|| NetworkError::Setup("the node key is not Ed25519".into()))?;
        let mut control = swarm.behaviour().stream.new_control();
        let taken = |_| NetworkError::Setup("a stream protocol is registered twice".into());
        let incoming = control.accept(stream::SYNC).map_err(taken)?;
        let cards = control.accept(stream::CARD).map_err(taken)?;
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::channel(FRAMES_WAITING);
        let network = Self {
            swarm,
            topic,
            own,
            card: setup.card,
            accept_anyone: setup.accept_anyone,
            retired: false,
            commands,
            streams: stream::Streams::new(events.clone()),
            events,
            control,
            incoming,
            cards,
            allowed: BTreeSet::new(),
            wanted: BTreeMap::new(),
            strangers: BTreeMap::new(),
            streamless: BTreeMap::new(),
        };
        Ok((network, Pipe { commands: command_sender, events: event_receiver }))
    }

    /// Runs until the driver lets go of its ends.
    pub async fn run(mut self) {
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        loop {
            // What is to be done comes before what else might happen, or it would pile up.
            for _ in 0..COMMANDS_AT_ONCE {
                match self.commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(_) => break,
                }
            }
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.swarm_event(event).await,
                Some((peer, stream)) = self.incoming.next() => self.accept(peer, stream).await,
                Some((peer, stream)) = self.cards.next() => self.take_card(peer, stream),
                ended = self.streams.ended() => self.reopen(ended),
                _ = clock.tick() => self.tick(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Allow(node, addresses) => self.allow(node, addresses),
            Command::Forbid(node) => {
                self.allowed.remove(&node);
                self.wanted.remove(&node);
                self.disconnect(&node);
            }
            Command::Disconnect(node) => {
                if let Some(wanted) = self.wanted.get_mut(&node) {
                    wanted.pause = REDIAL.1 / 2;
                    wanted.next_try = Instant::now() + wanted.pause;
                }
                self.disconnect(&node);
            }
            Command::Renew => {
                self.disconnect_all();
                let now = Instant::now();
                for wanted in self.wanted.values_mut() {
                    (wanted.next_try, wanted.pause) = (now, REDIAL.0);
                }
            }
            Command::Retire => {
                self.wanted.clear();
                self.allowed.clear();
                self.accept_anyone = false;
                self.retired = true;
                self.disconnect_all();
            }
            Command::Refuse(node, until) => {
                if let Some(peer) = peer_id(&node) {
                    self.swarm.behaviour_mut().door.refuse(peer, until);
                }
                if let Some(wanted) = self.wanted.get_mut(&node) {
                    wanted.next_try = until.into();
                }
                self.disconnect(&node);
            }
            Command::Send(node, frame) => self.send(node, frame),
            Command::Present(card) => self.card = card,
            Command::Publish(bytes) => {
                let topic = self.topic.clone();
                match self.swarm.behaviour_mut().gossipsub.publish(topic, bytes) {
                    Ok(_) | Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {}
                    Err(error) => tracing::debug!(%error, "gossip not sent"),
                }
            }
            Command::Verdict(id, source, acceptance) => {
                let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
                gossipsub.report_message_validation_result(&id, &source, acceptance);
            }
        }
    }

    fn send(&mut self, node: NodeId, frame: Vec<u8>) {
        let sending = self.streams.send(&node, frame);
        if sending == Sending::Queued {
            return;
        }
        tracing::warn!(peer = %node, "peer reads too slowly, disconnecting");
        self.disconnect(&node);
        if sending == Sending::TooSlow {
            let events = self.events.clone();
            // Not awaited: the driver may be waiting for us.
            tokio::spawn(
                async move { events.send(Event::Misbehaved(node, Refusal::TooSlow)).await },
            );
        }
    }

    fn allow(&mut self, node: NodeId, addresses: Vec<Multiaddr>) {
        if self.retired {
            return;
        }
        let Some(peer) = peer_id(&node) else { return };
        self.allowed.insert(node);
        self.swarm.behaviour_mut().door.pardon(&peer);
        self.swarm.behaviour_mut().gossipsub.remove_blacklisted_peer(&peer);
        if !addresses.is_empty() {
            let next_try = Instant::now();
            let wanted = Wanted { addresses, next_try, pause: REDIAL.0, since: None };
            self.wanted.insert(node, wanted);
        }
        if self.swarm.is_connected(&peer) {
            self.strangers.retain(|_, stranger| stranger.peer != peer);
            self.open_stream(node, peer);
        }
        self.tick();
    }

    fn disconnect(&mut self, node: &NodeId) {
        self.streams.close(node);
        if let Some(peer) = peer_id(node) {
            // An error means that it is not connected, which is what we want.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn disconnect_all(&mut self) {
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            if let Some(node) = node_id(&peer) {
                self.streams.close(&node);
            }
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn is_allowed(&self, node: &NodeId) -> bool {
        self.accept_anyone || self.allowed.contains(node)
    }

    async fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.tell(Event::Listening(address)).await;
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let origin = door::origin(endpoint.get_remote_address());
                self.connected(peer_id, connection_id, endpoint.is_dialer(), origin).await;
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.strangers.remove(&connection_id);
                if let Some(node) = node_id(&peer_id).filter(|_| num_established == 0) {
                    self.streams.close(&node);
                    if let Some(wanted) = self.wanted.get_mut(&node) {
                        // One that shows us out at once is left alone for longer each time.
                        if wanted.since.take().is_none_or(|since| since.elapsed() >= LASTING) {
                            wanted.pause = REDIAL.0;
                        }
                        wanted.next_try = wanted.next_try.max(Instant::now() + wanted.pause);
                    }
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "cannot connect");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
                propagation_source: source,
                message_id: id,
                message,
            })) => match node_id(&source).filter(|node| self.is_allowed(node)) {
                Some(node) => {
                    self.tell(Event::Gossip { id, source, node, bytes: message.data }).await;
                }
                None => self.obey(Command::Verdict(id, source, MessageAcceptance::Ignore)),
            },
            _ => {}
        }
    }

    /// The driver is slower than the network only for moments; waiting for it is the brake.
    /// Its commands are obeyed meanwhile.
    async fn tell(&mut self, event: Event) {
        let events = self.events.clone();
        loop {
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.obey(command),
                permit = events.reserve() => {
                    // The driver is gone only when the node stops.
                    if let Ok(permit) = permit {
                        permit.send(event);
                    }
                    return;
                }
            }
        }
    }

    async fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        dialled: bool,
        origin: door::Origin,
    ) {
        let Some(node) = node_id(&peer) else {
            let _gone = self.swarm.disconnect_peer_id(peer);
            return;
        };
        let here = self.strangers.values().filter(|stranger| stranger.origin == origin).count();
        if self.retired {
            let _gone = self.swarm.disconnect_peer_id(peer);
        } else if self.is_allowed(&node) {
            if let Some(wanted) = self.wanted.get_mut(&node) {
                wanted.next_try = Instant::now();
                wanted.since.get_or_insert(wanted.next_try);
            }
            if !dialled && !self.streams.begins(node) {
                return self.tell(Event::Misbehaved(node, Refusal::TooFast)).await;
            }
            if dialled {
                stream::send_card(self.control.clone(), peer, self.card.clone());
            }
            self.open_stream(node, peer);
        } else if self.strangers.len() < STRANGERS && here < STRANGERS_PER_PLACE {
            self.swarm.behaviour_mut().gossipsub.blacklist_peer(&peer);
            let until = Instant::now() + STRANGER_TIME;
            let stranger = Stranger { peer, until, origin, streams: 0, has_card: false };
            self.strangers.insert(connection, stranger);
        } else {
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn open_stream(&mut self, node: NodeId, peer: PeerId) {
        if self.own < node && !self.streams.is_open(&node) {
            self.streams.open(self.control.clone(), node, peer);
        }
    }

    async fn accept(&mut self, peer: PeerId, stream: libp2p::Stream) {
        let Some(node) = node_id(&peer) else { return };
        if !self.is_allowed(&node) {
            let _shown_out = self.opens(&peer);
            return;
        }
        if !self.streams.begins(node) {
            return self.tell(Event::Misbehaved(node, Refusal::TooFast)).await;
        }
        self.streams.start(node, stream);
    }

    /// Counts a stream of an unknown node; one that opens many is shown out.
    fn opens(&mut self, peer: &PeerId) -> Option<&mut Stranger> {
        let stranger = self.strangers.values_mut().find(|stranger| stranger.peer == *peer)?;
        stranger.streams += 1;
        if stranger.streams > STRANGER_STREAMS {
            let until = std::time::Instant::now() + STRANGER_BAN;
            self.swarm.behaviour_mut().door.refuse(*peer, until);
            let _gone = self.swarm.disconnect_peer_id(*peer);
            return None;
        }
        Some(stranger)
    }

    fn take_card(&mut self, peer: PeerId, stream: libp2p::Stream) {
        let Some(node) = node_id(&peer).filter(|node| !self.is_allowed(node)) else { return };
        let Some(stranger) = self.opens(&peer) else { return };
        let (origin, another) = (stranger.origin, stranger.has_card);
        stranger.has_card = true;
        if !another && self.swarm.behaviour_mut().door.takes_card(origin) {
            stream::read_card(node, stream, self.events.clone());
        }
    }

    /// A sync stream ended while the connection may live on: open it again shortly.
    fn reopen(&mut self, node: NodeId) {
        let peer = peer_id(&node).filter(|peer| self.swarm.is_connected(peer));
        if let Some(peer) = peer.filter(|_| self.is_allowed(&node)) {
            self.open_stream(node, peer);
        }
    }

    /// Opens streams that the other side should have opened by now.
    fn open_missing(&mut self, now: Instant) {
        let connected = self.swarm.connected_peers();
        let nodes = connected.filter_map(|peer| Some((node_id(peer)?, *peer)));
        let missing: BTreeMap<_, _> = nodes
            .filter(|(node, _)| self.is_allowed(node) && !self.streams.is_open(node))
            .collect();
        self.streamless.retain(|node, _| missing.contains_key(node));
        for (node, peer) in missing {
            let since = *self.streamless.entry(node).or_insert(now);
            if now.duration_since(since) >= STREAMLESS {
                self.streams.open(self.control.clone(), node, peer);
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.open_missing(now);
        let late = self.strangers.values().filter(|stranger| stranger.until <= now);
        for peer in late.map(|stranger| stranger.peer).collect::<Vec<_>>() {
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        for (node, wanted) in &mut self.wanted {
            let Some(peer) = peer_id(node).filter(|peer| !self.swarm.is_connected(peer)) else {
                continue;
            };
            if wanted.next_try > now {
                continue;
            }
            wanted.next_try = now + wanted.pause;
            wanted.pause = (wanted.pause * 2).min(REDIAL.1);
            let without_peer = |address: &Multiaddr| {
                let part = address.iter().filter(|part| !matches!(part, Protocol::P2p(_)));
                part.collect::<Multiaddr>()
            };
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(wanted.addresses.iter().map(without_peer).collect())
                .build();
            // Already dialling, or the limit is reached: the next tick tries again.
            let _busy = self.swarm.dial(options);
        }
    }
}
