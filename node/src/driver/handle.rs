//! What the rest of the node may ask of the running driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::Multiaddr;
use sha2::{Digest as _, Sha256};
use tallystick_protocol::checkpoint::VerifiedCheckpoint;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::equivocation::{Evidence, Facts};
use tallystick_protocol::group::Membership;
use tallystick_protocol::id::{AuthorityId, GroupId, Hash, LogId, NodeId, Space};
use tallystick_protocol::identity::{Identity, SealingKey};
use tallystick_protocol::sync::{AuthorRefusal, LogStatus, Notice, PeerStatus, Refusal};
use tallystick_protocol::witness::{self, Decision, Seen};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::Driver;
use super::storage::{Cosigning, Deletion};
use crate::store::Replica;
use crate::store::erasure::Standing;

/// Most pieces of evidence that are told of.
const PIECES: usize = 1000;
/// Requests by unknown nodes that are kept.
const REQUESTS: usize = 64;

/// A question answered from inside the event loop.
type Question = Box<dyn FnOnce(&Driver) + Send>;

/// What a handle sends to the loop.
pub(super) enum Command {
    Author(Space, Vec<Entry>, oneshot::Sender<Result<Authored, AuthorError>>),
    Introduce(Vec<Vec<u8>>),
    Invited(GroupId, Vec<AuthorityId>),
    Allow(NodeId, Vec<Multiaddr>),
    Forbid(NodeId),
    Present(String),
    Cosign(Cosigning),
    Delete(Deletion),
    Ask(Question),
    Shutdown(oneshot::Sender<()>),
}

/// Entries that are durable in our own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authored {
    /// The log.
    pub log: LogId,
    /// Index of the first.
    pub start: u64,
    /// How many.
    pub count: usize,
    /// Whether a checkpoint covers them yet.
    pub signed: bool,
}

/// Why entries were not authored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// The machine refused.
    #[error(transparent)]
    Refused(AuthorRefusal),
    /// The node is stopping; whether the entries were stored shows after a restart.
    #[error("the node is stopping")]
    Stopping,
}

/// What the node knows of a log that it is to witness.
#[derive(Clone, Debug)]
pub struct Witnessed {
    /// Its author.
    pub identity: Identity,
    /// Its newest durable signed head here.
    pub head: Option<VerifiedCheckpoint>,
    /// Whether its author signed two histories of it.
    pub disputed: bool,
}

/// One connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its node key.
    pub node: NodeId,
    /// The authority it works for, if known.
    pub authority: Option<AuthorityId>,
    /// Whether it has greeted us.
    pub greeted: bool,
    /// Whether it has told us all its news.
    pub heard: bool,
    /// Bytes on the sync stream since it was opened, without what transports add.
    pub traffic: Traffic,
}

/// Bytes of frames with their lengths, on one sync stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the peer.
    pub sent: u64,
    /// From the peer.
    pub received: u64,
}

impl PeerInfo {
    pub(super) const fn new(peer: &PeerStatus, traffic: Traffic) -> Self {
        Self {
            node: peer.node,
            authority: peer.authority,
            greeted: peer.greeted,
            heard: peer.heard,
            traffic,
        }
    }
}

/// A peer that has misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingInfo {
    /// Its node key.
    pub node: NodeId,
    /// The authority it works for, if known.
    pub authority: Option<AuthorityId>,
    /// Points against it; they fade.
    pub score: u64,
    /// Its faults since the start.
    pub faults: u64,
    /// The last of them.
    pub reason: Refusal,
    /// How long it is still refused, if it is.
    pub refused_for: Option<Duration>,
}

/// Evidence that an authority signed two histories.
#[derive(Clone, Debug)]
pub struct EvidencePiece {
    /// SHA-256 of its bytes.
    pub digest: Hash,
    /// Whether it disputes something now.
    pub disputes: bool,
    /// Whether what it disputed was ended since.
    pub ended: bool,
    /// What it says.
    pub facts: Facts,
}

impl EvidencePiece {
    fn of(evidence: &Evidence, known: Option<&Identity>) -> Self {
        Self {
            digest: digest(evidence),
            disputes: known.is_some_and(|known| evidence.is_current(known)),
            ended: known.is_some_and(|known| evidence.ends_with(known)),
            facts: evidence.facts(),
        }
    }
}

fn digest(evidence: &Evidence) -> Hash {
    Hash::from_bytes(Sha256::digest(evidence.to_bytes()).into())
}

/// The state of a node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Whose node it is.
    pub authority: AuthorityId,
    /// All logs.
    pub logs: Vec<LogStatus>,
    /// Connected peers.
    pub peers: Vec<PeerInfo>,
    /// Peers that have misbehaved, until it fades.
    pub standings: Vec<StandingInfo>,
    /// What was refused since the start, by label.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Addresses on which it can be reached.
    pub listen: Vec<Multiaddr>,
    /// Why nothing can be signed now, if so.
    pub obstacle: Option<AuthorRefusal>,
    /// Whether another copy of this node has proved that it is running.
    pub another_copy: bool,
}

/// A node that is not a partner handed in its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerRequest {
    /// The node, as authenticated by its connection.
    pub node: NodeId,
    /// The card, unverified.
    pub card: String,
}

/// Cards of nodes that are not partners; the oldest give way.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Vec<PartnerRequest>>>);

impl Requests {
    pub(super) fn add(&self, node: NodeId, card: String) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.retain(|request| request.node != node);
        if requests.len() >= REQUESTS {
            requests.remove(0);
        }
        requests.push(PartnerRequest { node, card });
    }

    pub(super) fn remove(&self, node: &NodeId) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.retain(|request| request.node != *node);
    }

    fn list(&self) -> Vec<PartnerRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A way to talk to a running driver; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<Notice>,
    requests: Requests,
    replica: Arc<dyn Replica>,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        notices: broadcast::Sender<Notice>,
        requests: Requests,
        replica: Arc<dyn Replica>,
    ) -> Self {
        Self { commands, notices, requests, replica }
    }

    /// Puts entries into our public log and returns once they are durable.
    ///
    /// # Errors
    /// [`AuthorError::Refused`]: nothing was stored. [`AuthorError::Stopping`]: unknown.
    pub async fn author(&self, entries: Vec<Entry>) -> Result<Authored, AuthorError> {
        self.author_in(Space::Public, entries).await
    }

    /// As [`Handle::author`], in our log of any space.
    ///
    /// # Errors
    /// As [`Handle::author`].
    pub async fn author_in(
        &self,
        space: Space,
        entries: Vec<Entry>,
    ) -> Result<Authored, AuthorError> {
        let (reply, result) = oneshot::channel();
        let sent = self.commands.send(Command::Author(space, entries, reply)).await;
        sent.map_err(|_| AuthorError::Stopping)?;
        result.await.map_err(|_| AuthorError::Stopping)?
    }

    /// Makes an identity known, as from a partner's card.
    pub async fn introduce(&self, events: Vec<Vec<u8>>) {
        self.command(Command::Introduce(events)).await;
    }

    /// Others invited us to a group: `hosts` may be told of our log in it.
    pub async fn invited(&self, group: GroupId, hosts: Vec<AuthorityId>) {
        self.command(Command::Invited(group, hosts)).await;
    }

    /// Who is in each of the groups that are known here.
    pub async fn groups(&self) -> Vec<Arc<Membership>> {
        self.ask(|driver| driver.machine.groups().cloned().collect()).await.unwrap_or_default()
    }

    /// Who is in those of these groups that are known here.
    pub async fn groups_among(&self, groups: BTreeSet<GroupId>) -> Vec<Arc<Membership>> {
        let among = move |driver: &Driver| {
            groups.iter().filter_map(|group| driver.machine.group(group).cloned()).collect()
        };
        self.ask(among).await.unwrap_or_default()
    }

    /// The keys to which secrets for these authorities are sealed, of those known here.
    pub async fn sealing_keys(
        &self,
        authorities: BTreeSet<AuthorityId>,
    ) -> BTreeMap<AuthorityId, SealingKey> {
        let keys = move |driver: &Driver| {
            let known = authorities.iter().filter_map(|who| driver.machine.identity(who));
            known.map(|one| (one.authority(), one.sealing_key().clone())).collect()
        };
        self.ask(keys).await.unwrap_or_default()
    }

    /// Who is in a group, if it is known here.
    pub async fn group(&self, group: GroupId) -> Option<Arc<Membership>> {
        self.ask(move |driver| driver.machine.group(&group).cloned()).await.flatten()
    }

    /// Allows a node, and keeps a connection to it if it has addresses.
    pub async fn allow(&self, node: NodeId, addresses: Vec<Multiaddr>) {
        self.command(Command::Allow(node, addresses)).await;
    }

    /// Disconnects a node and refuses it from now on.
    pub async fn forbid(&self, node: NodeId) {
        self.command(Command::Forbid(node)).await;
    }

    /// Hands out this card to nodes that may not know us, from now on.
    pub async fn present(&self, card: String) {
        self.command(Command::Present(card)).await;
    }

    /// The state of the node; `None` if it is stopping.
    pub async fn status(&self) -> Option<NodeStatus> {
        self.ask(Driver::status).await
    }

    /// An authority's identity, if its chain is known.
    pub async fn identity(&self, authority: AuthorityId) -> Option<Identity> {
        self.ask(move |driver| driver.machine.identity(&authority).cloned()).await.flatten()
    }

    /// The identities of all authorities known.
    pub async fn identities(&self) -> Vec<Identity> {
        let all = self.ask(|driver| driver.machine.authorities().cloned().collect()).await;
        all.unwrap_or_default()
    }

    /// The newest durable signed head of a log.
    pub async fn head(&self, log: LogId) -> Option<VerifiedCheckpoint> {
        self.ask(move |driver| driver.machine.head(&log).cloned()).await.flatten()
    }

    /// Evidence that is known, at most 1,000 pieces, in order of authority, kind and place.
    pub async fn evidence(&self) -> Vec<EvidencePiece> {
        let all = self.ask(|driver| {
            let machine = &driver.machine;
            let piece = |evidence: &Evidence| {
                EvidencePiece::of(evidence, machine.identity(&evidence.authority()))
            };
            let mut all: Vec<&Evidence> = machine.evidence().collect();
            all.sort_by_key(|one| (one.authority(), one.kind(), one.place()));
            all.into_iter().take(PIECES).map(piece).collect()
        });
        all.await.unwrap_or_default()
    }

    /// The file of the evidence whose bytes have this SHA-256.
    pub async fn evidence_file(&self, wanted: Hash) -> Option<String> {
        let file = move |driver: &Driver| {
            let mut all = driver.machine.evidence();
            all.find(|evidence| digest(evidence) == wanted).map(Evidence::to_armour)
        };
        self.ask(file).await.flatten()
    }

    /// What is known of a log and its author; `None` if the author is not known.
    pub async fn witnessed(&self, log: LogId) -> Option<Witnessed> {
        let question = move |driver: &Driver| {
            let machine = &driver.machine;
            let identity = machine.identity(&log.authority).cloned()?;
            let (head, disputed) = (machine.head(&log).cloned(), machine.is_disputed(&log));
            Some(Witnessed { identity, head, disputed })
        };
        self.ask(question).await.flatten()
    }

    /// Lets `decide` say, told what was cosigned last of `log`, whether a head
    /// may be cosigned, and makes that durable. Nothing else is cosigned
    /// meanwhile: `decide` holds up all other writing. `None` if the node is stopping.
    pub async fn cosign(
        &self,
        log: LogId,
        decide: impl FnOnce(Option<Seen>) -> Result<Decision, witness::Refusal> + Send + 'static,
    ) -> Option<Result<Decision, witness::Refusal>> {
        let (reply, decided) = oneshot::channel();
        self.command(Command::Cosign(Cosigning { log, decide: Box::new(decide), reply })).await;
        decided.await.ok()
    }

    /// Carries out an erasure: `left` is what is left of the entries it covers.
    /// Returns once that is durable; `false` if the node is stopping.
    pub async fn delete(&self, standing: Standing, left: Vec<(LogId, u64, Entry)>) -> bool {
        let (reply, done) = oneshot::channel();
        self.command(Command::Delete(Deletion { standing, left, reply })).await;
        done.await.is_ok()
    }

    /// What happens from now on. A receiver that lags loses the oldest.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Cards handed in by nodes that are not partners.
    #[must_use]
    pub fn requests(&self) -> Vec<PartnerRequest> {
        self.requests.list()
    }

    /// The replica, for reading and for projections.
    #[must_use]
    pub fn replica(&self) -> Arc<dyn Replica> {
        Arc::clone(&self.replica)
    }

    /// Stops the node; returns when the loop has ended its work.
    pub async fn shutdown(&self) {
        let (done, stopped) = oneshot::channel();
        self.command(Command::Shutdown(done)).await;
        // An error means that it has stopped already.
        let _stopped = stopped.await;
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |driver| {
            // Whoever asked may have gone.
            let _gone = reply.send(question(driver));
        });
        self.command(Command::Ask(question)).await;
        answer.await.ok()
    }

    async fn command(&self, command: Command) {
        // An error means that the node has stopped: there is nobody to command.
        let _stopped = self.commands.send(command).await;
    }
}
