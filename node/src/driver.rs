//! The one event loop: feeds the protocol's machine and does what it says.
//!
//! ```text
//! network ── frames, gossip ──►┌────────┐── frames, gossip, verdicts ──► network
//! store   ── appended, loaded ►│ driver │── append, load ──────────────► store
//! handles ── author, status ──►│(machine)│── results, notices ──────────► handles
//! ```
//!
//! **Invariants:** the machine is the only one that decides; this file only
//! translates. A frame is taken from a peer only while the machine accepts it.
//! A failed write ends the process: what is on the disk is unknown then, and
//! going on would mean speaking of what may not be durable.

mod clock;
mod handle;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::{Multiaddr, PeerId};
use tallystick_protocol::checkpoint::witness_key;
use tallystick_protocol::id::{AuthorityId, NetworkName, NodeId};
use tallystick_protocol::identity::{Identity, IdentityError, UnverifiedChain};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::note::VerifierKey;
use tallystick_protocol::sync::{
    AuthorRefusal, Config, Input, Machine, Notice, Output, PeerStatus, Quota, Refusal,
    StandingStatus, Stored, StoredIdentity, Verdict,
};
use tallystick_protocol::time::Timestamp;
use tallystick_protocol::witness::Decision;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::clock::Clock;
pub(crate) use self::clock::unix_time;
pub use self::handle::{
    AuthorError, Authored, EvidencePiece, Handle, NodeStatus, PartnerRequest, PeerInfo,
    StandingInfo, Traffic, Witnessed,
};
use self::handle::{Command, Requests};
use self::storage::{Storage, StorageEvent};
use crate::network::{self, Credit, Network, NetworkError, SessionId};
use crate::store::{Replica, Store, StoreError};

/// Notices kept for a subscriber that lags.
const NOTICES: usize = 4096;
/// Commands by handles that wait.
const COMMANDS: usize = 256;

/// A node we talk to.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its node key.
    pub node: NodeId,
    /// Where to reach it; none if it reaches us.
    pub addresses: Vec<Multiaddr>,
}

/// Everything the driver needs to know.
pub struct NodeConfig {
    /// The network.
    pub network: NetworkName,
    /// Own identity chain: signed events.
    pub identity: Vec<Vec<u8>>,
    /// Signs our checkpoints.
    pub log_key: SecretKey,
    /// Cosigns the logs of those who name us as witness.
    pub witness_key: SecretKey,
    /// Seed of the libp2p identity, 32 bytes.
    pub node_key: zeroize::Zeroizing<[u8; 32]>,
    /// Where to listen; a port of 0 is replaced by a free one.
    pub listen: Vec<Multiaddr>,
    /// Nodes to allow and keep connected.
    pub partners: Vec<Partner>,
    /// Own card, handed to nodes that may not know us.
    pub card: String,
    /// Whether nodes that are no partners may connect.
    pub accept_anyone: bool,
    /// Partners that must have answered before anything is signed.
    pub own_head_answers: usize,
    /// How much of each other authority's log is fetched.
    pub quota: Quota,
    /// Dial through this HTTP proxy, and not without it.
    pub proxy: Option<network::Proxy>,
    /// Do not wait even a little for partners before anything is signed.
    pub sign_alone: bool,
    /// Is shown all that comes from other nodes.
    pub onlooker: Option<network::Onlooker>,
}

/// Why the driver does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Our own identity chain does not verify.
    #[error("the identity of this node does not verify: {0}")]
    Identity(#[from] IdentityError),
    /// The network cannot be set up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The store failed; what is on the disk is unknown until it is opened again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the node stopped without being asked: our bug.
    #[error("the {0} stopped unexpectedly")]
    Stopped(&'static str),
}

/// Starts a node over `store`: network, storage thread and event loop.
///
/// # Errors
/// A [`DriverError`] if something cannot be set up; later failures end the
/// returned task.
pub async fn start(
    config: NodeConfig,
    store: Store,
) -> Result<(Handle, JoinHandle<Result<(), DriverError>>), DriverError> {
    let identity = UnverifiedChain::new(config.identity.clone()).verify(&config.network)?;
    let stored = with_own_identity(&store, &identity)?;
    let node = SecretKey::from_seed(*config.node_key).public();
    let machine_config = Config {
        network: config.network.clone(),
        authority: identity.authority(),
        log_key: config.log_key,
        generation: identity.generation(),
        node: NodeId::try_from(node.as_bytes()).map_err(|_| DriverError::Stopped("node key"))?,
        run: random_run()?,
        started: unix_time(),
        own_head_answers: config.own_head_answers,
        sign_alone: config.sign_alone,
    };
    let (machine, damaged) = Machine::new(machine_config, stored);
    let machine = machine.with_quota(config.quota);
    for log in &damaged {
        tracing::error!(%log, "stored log does not verify and is left out; it is fetched again");
    }
    let witness = witness_key(&config.network, &identity.authority(), config.witness_key.public());
    let expected_addresses = config.listen.len();
    let (network, pipe) = Network::new(network::Setup {
        network: config.network,
        node_seed: config.node_key,
        listen: config.listen,
        card: config.card,
        accept_anyone: config.accept_anyone,
        proxy: config.proxy,
    })?;
    let network = tokio::spawn(network.run());
    let replica: Arc<dyn Replica> = store.replica().clone();
    let (storage, stored) = Storage::start(store)?;
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (notices, _) = broadcast::channel(NOTICES);
    let requests = Requests::default();
    let handle = Handle::new(commands, notices.clone(), requests.clone(), Arc::clone(&replica));
    let mut driver = Driver {
        authority: identity.authority(),
        witness,
        witness_key: config.witness_key,
        machine,
        storage,
        network: pipe.commands,
        started: Instant::now(),
        clock: Clock::new(),
        sessions: BTreeMap::new(),
        owed: Vec::new(),
        verdicts: BTreeMap::new(),
        next: 0,
        authoring: BTreeMap::new(),
        refusals: BTreeMap::new(),
        listening: Vec::new(),
        notices,
        requests,
        failed: None,
    };
    driver.input(Input::Introduce(config.identity));
    for partner in config.partners {
        driver.tell(network::Command::Allow(partner.node, partner.addresses));
    }
    let onlooker = config.onlooker;
    let loops = Loops { events: pipe.events, onlooker, stored, commands: command_queue };
    let (ready, listening) = oneshot::channel();
    let task = tokio::spawn(async move {
        let result = driver.run(loops, (expected_addresses, ready)).await;
        driver.storage.stop();
        drop(driver);
        // The network ends when the driver's end of the pipe is gone.
        let _ended = network.await;
        result
    });
    // The addresses are known when the listeners have said so; an error ends the task instead.
    let _listening = listening.await;
    Ok((handle, task))
}

/// What the store has, and in it who we are. A replica that was made anew has
/// our own log from the journal but not our identity, without which no head of
/// that log would verify.
fn with_own_identity(store: &Store, own: &Identity) -> Result<Stored, StoreError> {
    let mut stored = store.replica().stored()?;
    let authority = own.authority();
    if stored.identities.iter().all(|known| known.authority != authority) {
        let logs = stored.logs.iter().map(|log| log.changed);
        let changes = logs.chain(stored.identities.iter().map(|known| known.changed));
        let changed = changes.max().unwrap_or(0).saturating_add(1);
        let events = own.events().to_vec();
        let identity = StoredIdentity { authority, events, changed };
        store.replica().put_identity(&identity)?;
        store.replica().flush()?;
        stored.identities.push(identity);
    }
    Ok(stored)
}

/// What the loop waits for.
struct Loops {
    events: mpsc::Receiver<network::Event>,
    onlooker: Option<network::Onlooker>,
    stored: mpsc::UnboundedReceiver<StorageEvent>,
    commands: mpsc::Receiver<Command>,
}

/// How a result goes back to whoever asked for entries to be authored.
type AuthorReply = oneshot::Sender<Result<Authored, AuthorError>>;

/// The sync stream that counts for a node.
struct Stream {
    session: SessionId,
    traffic: Traffic,
}

/// Bytes that a frame takes on a stream: its length comes before it.
fn frame_bytes(frame: &[u8]) -> u64 {
    frame.len() as u64 + 4
}

struct Driver {
    authority: AuthorityId,
    /// By what name and key this node cosigns.
    witness: VerifierKey,
    witness_key: SecretKey,
    machine: Machine,
    storage: Storage,
    network: mpsc::UnboundedSender<network::Command>,
    started: Instant,
    clock: Clock,
    /// The stream that counts for each connected node.
    sessions: BTreeMap<NodeId, Stream>,
    /// Credits kept back while the machine accepts no more from a peer.
    owed: Vec<(NodeId, Credit)>,
    /// Gossip messages that wait for a verdict within one step.
    verdicts: BTreeMap<u64, (MessageId, PeerId)>,
    next: u64,
    authoring: BTreeMap<u64, AuthorReply>,
    refusals: BTreeMap<&'static str, u64>,
    listening: Vec<Multiaddr>,
    notices: broadcast::Sender<Notice>,
    requests: Requests,
    failed: Option<DriverError>,
}

impl Driver {
    async fn run(
        &mut self,
        mut loops: Loops,
        (addresses, ready): (usize, oneshot::Sender<()>),
    ) -> Result<(), DriverError> {
        let mut ready = Some(ready);
        let mut second = tokio::time::interval(clock::PERIOD);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Some listeners have several addresses; the first of each is enough to begin.
            if self.listening.len() >= addresses
                && let Some(ready) = ready.take()
            {
                // Nobody waits any more if the starting task was dropped.
                let _dropped = ready.send(());
            }
            let deadline = self.machine.deadline().map(|at| self.instant(at));
            tokio::select! {
                biased;
                event = loops.stored.recv() => match event {
                    Some(event) => self.stored(event),
                    None => return Err(DriverError::Stopped("storage thread")),
                },
                command = loops.commands.recv() => match command {
                    Some(Command::Shutdown(done)) => {
                        let _dropped = done.send(());
                        return Ok(());
                    }
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                event = loops.events.recv() => match event {
                    Some(event) => {
                        loops.onlooker.iter().for_each(|onlooker| onlooker.show(&event));
                        self.network_event(event);
                    }
                    None => return Err(DriverError::Stopped("network")),
                },
                _ = second.tick() => {
                    self.storage.check()?;
                    self.look_at_clock();
                }
                () = sleep_until(deadline) => {
                    self.input(Input::Tick);
                    self.release();
                }
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(
            u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        )
    }

    /// After a suspension or a return to an earlier state of this machine, what
    /// is known and connected is of the past.
    fn look_at_clock(&mut self) {
        let Some(jump) = self.clock.jump() else { return };
        tracing::warn!(seconds = jump.as_secs(), "the clock jumped; asking the partners anew");
        match random_run() {
            Ok(run) => {
                self.sessions.clear();
                self.owed.clear();
                self.tell(network::Command::Renew);
                self.input(Input::ClockJumped { run });
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn instant(&self, at: Timestamp) -> tokio::time::Instant {
        (self.started + std::time::Duration::from_micros(at.as_micros())).into()
    }

    fn tell(&self, command: network::Command) {
        // The network task is gone only when the node stops, which the loop notices.
        let _stopping = self.network.send(command);
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.now(), input);
        while let Some(output) = self.machine.poll() {
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Send(node, frame) => {
                if let Some(stream) = self.sessions.get_mut(&node) {
                    stream.traffic.sent += frame_bytes(&frame);
                }
                self.tell(network::Command::Send(node, frame));
            }
            Output::Disconnect { peer, refusal } => {
                tracing::warn!(%peer, reason = refusal.label(), "disconnecting");
                self.tell(network::Command::Disconnect(peer));
            }
            Output::Append(ticket, append) => self.storage.append(ticket, append),
            Output::Cosign(ticket, head) => self.storage.cosign_held(ticket, head),
            Output::Revert(ticket, revert) => self.storage.revert(ticket, revert),
            Output::Fill(ticket, fill) => self.storage.fill(ticket, fill),
            Output::StoreIdentity(identity) => self.storage.identity(identity),
            Output::StoreEvidence(evidence) => self.storage.evidence(evidence),
            Output::StoreCursor { authority, cursor } => self.storage.cursor(authority, cursor),
            Output::Load(ticket, load) => self.storage.load(ticket, load),
            Output::Broadcast(bytes) => self.tell(network::Command::Publish(bytes)),
            Output::Verdict { handle, verdict } => self.verdict(handle, verdict),
            Output::Authored { command, log, start, count, signed } => {
                self.reply(command, Ok(Authored { log, start, count, signed }));
            }
            Output::AuthorRefused { command, refusal } => {
                self.reply(command, Err(AuthorError::Refused(refusal)));
            }
            Output::Notify(notice) => self.notify(notice),
        }
    }

    fn verdict(&mut self, handle: u64, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        if let Some((id, source)) = self.verdicts.remove(&handle) {
            self.tell(network::Command::Verdict(id, source, acceptance));
        }
    }

    fn reply(&mut self, command: u64, result: Result<Authored, AuthorError>) {
        if let Some(reply) = self.authoring.remove(&command) {
            // Whoever asked may have gone; the entries stay.
            let _gone = reply.send(result);
        }
    }

    fn notify(&mut self, notice: Notice) {
        match notice {
            Notice::Refused { peer, log, refusal } => {
                *self.refusals.entry(refusal.label()).or_insert(0) += 1;
                tracing::warn!(?peer, ?log, reason = refusal.label(), "refused");
            }
            Notice::Banned { peer, reason, until } => {
                tracing::warn!(%peer, reason = reason.label(), "refused for a while");
                let until = self.instant(until).into_std();
                self.tell(network::Command::Refuse(peer, until));
            }
            Notice::OwnLogForked => {
                tracing::error!("two histories of our own log exist; nothing more is signed");
            }
            Notice::OwnLogBehind { size } => {
                tracing::warn!(
                    size,
                    "a partner holds later entries of our own; fetching them first"
                );
            }
            Notice::AnotherCopy { stopped: true } => {
                tracing::error!("an earlier copy of this node is running; signing nothing");
                self.tell(network::Command::Retire);
            }
            Notice::AnotherCopy { stopped: false } => {
                tracing::error!("a later copy of this node is running; stop it");
            }
            Notice::IdentityAccepted { authority } => tracing::info!(%authority, "new authority"),
            Notice::IdentityChanged { authority, sequence } => {
                tracing::info!(%authority, sequence, "an authority changed its keys or its profile");
            }
            Notice::IdentityDisputed { authority, position } => {
                tracing::error!(
                    %authority,
                    position,
                    "an authority's controllers signed two events for one position; neither counts"
                );
            }
            Notice::Convicted { authority, kind } => {
                let kind = kind.name();
                tracing::error!(%authority, kind, "evidence that an authority signed two histories");
            }
            Notice::LogReverted { log, from, to } => {
                tracing::warn!(
                    %log,
                    from,
                    to,
                    "its author's controllers disowned a part of a log; it was set aside"
                );
            }
            other => tracing::debug!(notice = ?other, "notice"),
        }
        // Nobody may be listening.
        let _unheard = self.notices.send(notice);
    }

    /// Signs what is written down as about to be cosigned.
    fn cosign(&self, decision: &Decision) -> Option<String> {
        let (name, key) = (self.witness.name(), &self.witness_key);
        match decision.cosign(name, key, unix_time()) {
            Ok(line) => Some(line.to_string()),
            Err(error) => {
                tracing::error!(%error, "cannot cosign at the time this clock shows");
                None
            }
        }
    }

    fn stored(&mut self, event: StorageEvent) {
        match event {
            StorageEvent::Appended(tickets) => {
                for ticket in tickets {
                    self.input(Input::Appended(ticket));
                }
            }
            StorageEvent::Cosigned(ticket, decision) => {
                let line = decision.and_then(|decision| self.cosign(&decision));
                self.input(Input::Cosigned(ticket, line));
            }
            StorageEvent::Reverted(ticket, tree) => self.input(Input::Reverted(ticket, tree)),
            StorageEvent::Filled(ticket) => self.input(Input::Filled(ticket)),
            StorageEvent::Deleted(lacks) => {
                for (log, index, lack) in lacks {
                    self.input(Input::Deleted(log, vec![(index, lack)]));
                }
            }
            StorageEvent::Loaded(ticket, loaded) => self.input(Input::Loaded(ticket, loaded)),
            StorageEvent::Failed(tickets, error) => {
                tracing::error!(%error, "cannot store; stopping");
                for ticket in tickets {
                    self.input(Input::StoreFailed(ticket));
                }
                self.failed = Some(error.into());
            }
        }
        self.release();
    }

    /// Lets peers go on from whom the machine accepts frames again.
    fn release(&mut self) {
        let machine = &self.machine;
        self.owed.retain(|(node, _)| !machine.accepts(node));
    }

    fn network_event(&mut self, event: network::Event) {
        match event {
            network::Event::Listening(address) => self.listening.push(address),
            network::Event::Up(node, session) => {
                self.sessions.insert(node, Stream { session, traffic: Traffic::default() });
                self.owed.retain(|(owed, _)| *owed != node);
                tracing::info!(peer = %node, "connected");
                self.input(Input::Connected(node));
            }
            network::Event::Down(node, session) => {
                // A stream that was replaced and ended before it was told as open counts, too.
                if self.sessions.get(&node).is_some_and(|open| open.session <= session) {
                    self.sessions.remove(&node);
                    self.owed.retain(|(owed, _)| *owed != node);
                    tracing::info!(peer = %node, "disconnected");
                    self.input(Input::Disconnected(node));
                }
            }
            network::Event::Frame(node, session, frame, credit) => {
                if self.is_current(&node, session) {
                    if let Some(stream) = self.sessions.get_mut(&node) {
                        stream.traffic.received += frame_bytes(&frame);
                    }
                    self.input(Input::Received(node, frame));
                    if !self.machine.accepts(&node) {
                        self.owed.push((node, credit));
                    }
                }
            }
            network::Event::Gossip { id, source, node, bytes } => {
                self.next += 1;
                let handle = self.next;
                self.verdicts.insert(handle, (id, source));
                self.input(Input::Heard { handle, peer: node, bytes });
            }
            network::Event::Card(node, card) => self.requests.add(node, card),
            network::Event::Misbehaved(node, refusal) => {
                self.input(Input::Misbehaved(node, refusal));
            }
        }
    }

    fn is_current(&self, node: &NodeId, session: SessionId) -> bool {
        self.sessions.get(node).is_some_and(|stream| stream.session == session)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Author(space, entries, reply) => {
                self.look_at_clock();
                self.next += 1;
                self.authoring.insert(self.next, reply);
                self.input(Input::Author { command: self.next, space, entries });
            }
            Command::Introduce(events) => self.input(Input::Introduce(events)),
            Command::Invited(group, hosts) => self.input(Input::Invited { group, hosts }),
            Command::Allow(node, addresses) => {
                self.requests.remove(&node);
                self.tell(network::Command::Allow(node, addresses));
            }
            Command::Forbid(node) => {
                self.requests.remove(&node);
                self.tell(network::Command::Forbid(node));
            }
            Command::Present(card) => self.tell(network::Command::Present(card)),
            Command::Cosign(cosigning) => self.storage.cosign(cosigning),
            Command::Delete(deletion) => self.storage.delete(deletion),
            Command::Ask(question) => question(self),
            // Answered by the loop before it gets here.
            Command::Shutdown(_) => {}
        }
    }

    fn peer_info(&self, peer: &PeerStatus) -> PeerInfo {
        let session = self.sessions.get(&peer.node);
        PeerInfo::new(peer, session.map(|session| session.traffic).unwrap_or_default())
    }

    fn standing(&self, standing: StandingStatus) -> StandingInfo {
        let StandingStatus { node, authority, score, faults, reason, until } = standing;
        let refused_for = until.map(|until| until.since(self.now()));
        StandingInfo { node, authority, score, faults, reason, refused_for }
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            authority: self.authority,
            logs: self.machine.logs(),
            peers: self.machine.peers().iter().map(|peer| self.peer_info(peer)).collect(),
            standings: self.machine.standings().into_iter().map(|s| self.standing(s)).collect(),
            refusals: self.refusals.clone(),
            listen: self.listening.clone(),
            obstacle: self.machine.author_obstacle(),
            another_copy: self.machine.another_copy(),
        }
    }
}

impl From<AuthorRefusal> for AuthorError {
    fn from(refusal: AuthorRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Names a refusal for people: what it means for whoever reads `status`.
#[must_use]
pub const fn explain(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::WrongNetwork => "a node of another network connected",
        Refusal::WrongIdentity => "a node claimed an authority it does not work for",
        Refusal::BadIdentity => "an identity did not verify",
        Refusal::BadSignature => "a log head has a signature that does not fit",
        Refusal::BadEvidence => "evidence against an authority proved nothing",
        Refusal::Fork => "an authority signed two histories",
        Refusal::Inconsistent => "a log was not shown to continue the one held here",
        Refusal::BadEntries => "entries or bodies were not those that were signed",
        Refusal::AbsentBody => "a partner did not hand out a record it holds",
        Refusal::TooLarge => "a log is over the limit",
        Refusal::Silent => "a partner did not answer in time",
        Refusal::TooFast => {
            "a node opened more connections, streams or messages than anybody needs"
        }
        Refusal::TooSlow => "a node asked for much and did not read it",
        Refusal::TooManyAuthorities => "a partner told of more authorities than it may",
        Refusal::TooManyPeers => "more nodes connected than the limit",
        Refusal::UnknownAuthor => "a log head came whose author is not known here",
        Refusal::Banned => "a node came back before its time",
        _ => "a partner broke the protocol",
    }
}

/// A fresh number for a run of this process.
fn random_run() -> Result<[u8; 16], DriverError> {
    let mut run = [0; 16];
    getrandom::fill(&mut run).map_err(|_| DriverError::Stopped("random number generator"))?;
    Ok(run)
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
