//! The service: everything a node does for its own people.
//!
//! ```text
//! command line ─ API ─┐                 ┌─ driver ── network, store
//! demo, examples ─────┴── [`Service`] ──┼─ projector ── register, search
//!                                       ├─ publication, witnesses, if wanted
//!                                       └─ partners.json
//! ```
//!
//! [`Service::start`] brings up a whole node from its data directory; several
//! may run in one process. **Invariants:** what [`Desk::publish`],
//! [`Desk::withdraw`] and [`Desk::import`] acknowledge is durable; one
//! writing request is carried out at a time, so that each sees what the one
//! before it said; whoever searches afterwards finds it. Deliberately absent:
//! accounts and pages, and any decision about other authorities' data.

pub mod answer;
mod domains;
mod endorse;
mod erasing;
mod evidence;
pub mod extract;
mod fairness;
mod fault;
mod group;
mod holding;
mod identity;
mod import;
mod names;
mod note;
mod partners;
mod policy;
mod record;
mod renewal;
mod response;
mod succession;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::{Multiaddr, PeerId};
use tallystick_protocol::card::{Card, UnverifiedCard, Validity, fingerprint};
use tallystick_protocol::checkpoint::{Origin, log_key, witness_key};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{AuthorityId, LogId, NodeId, Space};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::limits;
use tallystick_protocol::sync::{LogStatus, Notice, Quota};
use tallystick_protocol::time::UnixTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};

pub use self::erasing::reason;
use self::evidence::{FOUND_FILE, FoundBook};
pub use self::fault::failed_store;
use self::fault::{
    failed_author, failed_driver, failed_projector, failed_search, refused, stopping,
};
use self::group::accepted::{Accepted, GROUPS_FILE};
pub use self::import::ownership;
use self::names::names;
pub use self::record::{action_name, document, kind};
use crate::acquaintance::{Attribution, Related};
use crate::api;
use crate::author::Recent;
use crate::config::{Config, Place};
use crate::cosigner::Cosigner;
use crate::domain::Prover;
use crate::domain::book::{DOMAINS_FILE, DomainBook};
use crate::draft::{DRAFTS_DIR, Drafts};
use crate::driver::{self, AuthorError, Authored, DriverError, Handle, NodeConfig, NodeStatus};
use crate::failure::Failure;
use crate::hold::{HOLDS_FILE, HoldBook};
use crate::keys::{self, NodeKeys, Passphrase};
use crate::network;
use crate::opener::Opener;
use crate::partner::{PARTNERS_FILE, PartnerBook, dialable};
use crate::projector::{self, Projector, ProjectorError};
use crate::publication::{self, Publication};
use crate::store::{Replica, Store, StoreError};
use crate::witnesses::{self, COSIGNATURES_FILE, Witnesses};

/// Directory of the search index in the data directory.
pub(crate) const SEARCH_DIR: &str = "search";
/// How long an answer waits for the search index to catch up with own changes.
const INDEX_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer waits for a signature that partners' answers hold up.
const SIGN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a writing request waits for the register to take in the one before.
const REGISTER_PATIENCE: Duration = Duration::from_secs(60);

/// What is set on the command line instead of in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where to wait for other nodes.
    pub listen: Option<Vec<Multiaddr>>,
    /// Where to wait for commands.
    pub http: Option<SocketAddr>,
    /// Where to show the public logs.
    pub publish_http: Option<SocketAddr>,
    /// Whether nodes that are no partners may connect.
    pub accept_anyone: Option<bool>,
    /// The HTTP proxy by which other nodes are dialled.
    pub proxy: Option<network::Proxy>,
    /// Sign without waiting for any partner's answer.
    pub sign_alone: bool,
    /// Is shown all that comes from other nodes.
    pub onlooker: Option<network::Onlooker>,
    /// What opens the working keys, if they lie under a passphrase.
    pub passphrase: Option<Passphrase>,
}

impl Overrides {
    fn apply(self, mut config: Config) -> Result<Config, Failure> {
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(http) = self.http {
            config.http = http;
        }
        if self.publish_http.is_some() {
            config.publish_http = self.publish_http;
        }
        if let Some(accept_anyone) = self.accept_anyone {
            config.accept_anyone = accept_anyone;
        }
        if self.sign_alone {
            config.own_head_answers = 0;
            config.sign_alone = true;
        }
        if self.proxy.is_some() {
            config.proxy = self.proxy;
        }
        config.check()?;
        Ok(config)
    }
}

/// What the parts of a running node share.
struct Inner {
    config: Config,
    identity: Identity,
    node_key: SecretKey,
    peer: PeerId,
    handle: Handle,
    projector: Projector,
    partners: Mutex<PartnerBook>,
    domains: Mutex<DomainBook>,
    prover: Prover,
    witnesses: Arc<Witnesses>,
    /// When evidence was found.
    found: Mutex<FoundBook>,
    /// Held while something is written to the own log; and what an import wrote last.
    writing: Arc<Mutex<Recent>>,
    /// Entries of the own logs that were acknowledged.
    written: Written,
    /// What can be read of private groups.
    opener: Opener,
    /// Held while the opener learns who is in which group.
    learning: Mutex<()>,
    /// Invitations that were accepted and not answered yet.
    accepted: Mutex<Accepted>,
    /// Legal holds, and that they have changed.
    holds: std::sync::Mutex<HoldBook>,
    holds_changed: Notify,
    /// Notes that are not shared yet.
    drafts: Mutex<Drafts>,
    /// Whether references were kept that search may not have yet.
    referred: AtomicBool,
}

/// How far the own logs reach, as far as it was acknowledged.
#[derive(Debug, Default)]
struct Written(std::sync::Mutex<BTreeMap<Space, u64>>);

impl Written {
    fn sizes(&self) -> std::sync::MutexGuard<'_, BTreeMap<Space, u64>> {
        // A panic of another thread cannot leave a map that means something else.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, space: Space, end: u64) {
        let mut sizes = self.sizes();
        let size = sizes.entry(space).or_default();
        *size = end.max(*size);
    }

    fn to(&self, space: Space) -> u64 {
        self.sizes().get(&space).copied().unwrap_or(0)
    }

    fn all(&self) -> BTreeMap<Space, u64> {
        self.sizes().clone()
    }
}

/// A handle on a node's work; cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

/// The task of the driver.
type DriverTask = JoinHandle<Result<(), DriverError>>;

/// A running node. [`Service::stop`] it; dropping it leaves its tasks running.
pub struct Service {
    desk: Desk,
    driver: DriverTask,
    front: Front,
    place: Place,
}

/// What faces people.
struct Front {
    http: SocketAddr,
    stopping: watch::Sender<bool>,
    api: JoinHandle<()>,
    publication: Option<(SocketAddr, JoinHandle<()>)>,
    asking: JoinSet<()>,
    follower: JoinHandle<()>,
}

impl std::ops::Deref for Service {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Service {
    /// Starts the node whose files are at `place`.
    ///
    /// # Errors
    /// A [`Failure`]: no authority there, files damaged, addresses taken, or
    /// another node at work on them.
    pub async fn start(place: &Place, mut overrides: Overrides) -> Result<Self, Failure> {
        let (onlooker, passphrase) = (overrides.onlooker.take(), overrides.passphrase.take());
        let config = overrides.apply(Config::load(place.config())?)?;
        let own = keys::load_identity(place.data(), &config.network)?.authority();
        let partners = PartnerBook::open(&place.file(PARTNERS_FILE), &config.network)?;
        let domains = DomainBook::open(&place.file(DOMAINS_FILE))?;
        let accepted = Accepted::open(&place.file(GROUPS_FILE))?;
        let holds = HoldBook::open(&place.file(HOLDS_FILE))?;
        let prover = Prover::new(config.proxy.as_ref())?;
        let store = open_store(place.data(), &config, own).await?;
        // Under the lock: `tally key` may have been at work until now.
        let identity = keys::load_identity(place.data(), &config.network)?;
        keys::change::settle(place.data(), &identity)?;
        let keys = load_keys(place.data(), &identity, passphrase).await?;
        // Before anything else is set up: a second node on one address ends here.
        config.listen.iter().try_for_each(refuse_taken)?;
        let listener = api::bind(config.http).await?;
        let publishing = match config.publish_http {
            Some(address) => Some(publication::bind(address).await?),
            None => None,
        };
        let witnesses = Arc::new(open_witnesses(&config, place, &identity)?);
        let (handle, driver) =
            start_driver(&config, &identity, &keys, &partners, (store, onlooker)).await?;
        let (network, own) = (config.network.clone(), identity.authority());
        let cosigner = Cosigner::new(handle.clone(), network, own, keys.witness);
        let doors = Doors { commands: listener, public: publishing, cosigner };
        let (node_key, network) = (keys.node, config.network.clone());
        let opener = Opener::new(network, identity.authority(), keys.sealing);
        let setup = Setup {
            config,
            identity,
            node_key,
            partners,
            domains,
            prover,
            witnesses,
            opener,
            accepted,
            holds,
        };
        let opened = match Desk::open(place, setup, handle.clone()).await {
            Ok(desk) => Front::open(place, &desk, doors).await.map(|front| (desk, front)),
            Err(failure) => Err(failure),
        };
        match opened {
            Ok((desk, front)) => Ok(Self { desk, driver, front, place: place.clone() }),
            Err(failure) => {
                handle.shutdown().await;
                // What ended the driver meanwhile is why the rest could not begin.
                ended(driver.await).and(Err(failure))
            }
        }
    }

    /// Where the public logs are shown, if they are.
    #[must_use]
    pub fn publication(&self) -> Option<SocketAddr> {
        self.front.publication.as_ref().map(|(address, _)| *address)
    }

    /// Where the API waits for commands.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.front.http
    }

    /// Runs until `asked` is ready, then stops.
    ///
    /// # Errors
    /// A [`Failure`] if the node stopped by itself, because something it
    /// cannot do without failed.
    pub async fn run_until(mut self, asked: impl Future<Output = ()>) -> Result<(), Failure> {
        let desk = self.desk.clone();
        tokio::select! {
            () = asked => self.stop().await,
            result = &mut self.driver => {
                self.close().await;
                ended(result)?;
                Err(Failure::internal("the node stopped without being asked to"))
            }
            error = desk.0.projector.fatal() => self.stop().await.and(Err(failed_projector(error))),
        }
    }

    /// Stops the node; returns when everything is closed.
    ///
    /// # Errors
    /// A [`Failure`] if something failed before or while it stopped.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.desk.0.handle.shutdown().await;
        let result = (&mut self.driver).await;
        self.close().await;
        ended(result)
    }

    async fn close(&mut self) {
        // Its receivers may be gone already.
        let _unheard = self.front.stopping.send(true);
        self.front.follower.abort();
        self.front.asking.shutdown().await;
        // Requests under way end by themselves; nobody waits for a client that hangs.
        let _ended = tokio::time::timeout(Duration::from_secs(5), &mut self.front.api).await;
        if let Some((_, publication)) = &mut self.front.publication {
            let _ended = tokio::time::timeout(Duration::from_secs(5), publication).await;
        }
        api::forget(&self.place);
        let desk = self.desk.clone();
        let stopped = blocking(move || desk.0.projector.stop()).await;
        if let Ok(Err(error)) = stopped {
            tracing::error!(%error, "search index was not closed properly");
        }
    }
}

/// Where people knock, and who answers other witnesses' clients.
struct Doors {
    commands: TcpListener,
    public: Option<TcpListener>,
    cosigner: Cosigner,
}

impl Front {
    /// Puts the first entries into the log and answers commands from then on.
    async fn open(place: &Place, desk: &Desk, doors: Doors) -> Result<Self, Failure> {
        desk.open_log().await?;
        let (stopping, stopped) = watch::channel(false);
        let asking = desk.0.witnesses.follow(&desk.0.handle);
        let publication = doors
            .public
            .map(|listener| desk.open_publication(listener, doors.cosigner, stopped.clone()));
        let publication = publication.transpose()?;
        let (http, api) = api::serve(doors.commands, place, desk.clone(), stopped)?;
        let (following, own) = (desk.clone(), desk.clone());
        let follower = tokio::spawn(async move {
            let checking = domains::check_again_and_again(own.clone());
            let erasing = erasing::carrying::again_and_again(own.clone());
            let renewing = async { tokio::join!(own.renew_partners(), own.renew_card()) };
            let grouping = group::upkeep::look_after(own.clone());
            let (following, completing) = (follow(following), own.complete_log());
            tokio::join!(following, completing, renewing, checking, erasing, grouping);
        });
        Ok(Self { http, stopping, api, publication, asking, follower })
    }
}

/// How the driver ended.
fn ended(result: Result<Result<(), DriverError>, JoinError>) -> Result<(), Failure> {
    result.map_err(Failure::internal)?.map_err(failed_driver)
}

/// Refuses a TCP address on which another program listens. libp2p would share
/// the port with it, and each would get some of the connections.
fn refuse_taken(address: &Multiaddr) -> Result<(), Failure> {
    use libp2p::multiaddr::Protocol;
    let mut parts = address.iter();
    let ip: std::net::IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    let Some(Protocol::Tcp(port)) = parts.next() else { return Ok(()) };
    match std::net::TcpListener::bind((ip, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Failure::usage(
            format!("another program listens on {address} already"),
            "give another port with --listen or `listen` in tally.toml",
        )),
        // Whatever else is wrong with it, the network says better.
        _ => Ok(()),
    }
}

/// Wakes the projector whenever the replica has changed, and notes when evidence came.
async fn follow(desk: Desk) {
    let mut notices = desk.0.handle.notices();
    desk.note_evidence().await;
    loop {
        match notices.recv().await {
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            Ok(Notice::Convicted { .. }) => _ = desk.note_evidence().await,
            // Whatever it was, and whatever was missed: there is something to look at.
            _ => desk.0.projector.wake(),
        }
    }
}

/// The outside witnesses of the log in which `identity` speaks now.
fn open_witnesses(
    config: &Config,
    place: &Place,
    identity: &Identity,
) -> Result<Witnesses, Failure> {
    let log = LogId::public(identity.authority(), identity.generation());
    let (outside, proxy) = (config.witness_urls.clone(), config.proxy.as_ref());
    Witnesses::open(log, *identity.log_key(), outside, proxy, place.file(COSIGNATURES_FILE))
}

/// Off the threads that serve others, as a passphrase takes its time.
async fn load_keys(
    data: &Path,
    identity: &Identity,
    passphrase: Option<Passphrase>,
) -> Result<NodeKeys, Failure> {
    let (data, identity) = (data.to_owned(), identity.clone());
    blocking(move || NodeKeys::load(&data, &identity, passphrase.as_ref())).await?
}

async fn open_store(data: &Path, config: &Config, own: AuthorityId) -> Result<Store, Failure> {
    let options = config.store_options();
    let data = data.to_owned();
    let store = blocking(move || Store::open(&data, &options, own)).await?;
    store.map_err(failed_store)
}

async fn start_driver(
    config: &Config,
    identity: &Identity,
    keys: &NodeKeys,
    partners: &PartnerBook,
    (store, onlooker): (Store, Option<network::Onlooker>),
) -> Result<(Handle, DriverTask), Failure> {
    let validity = Validity::days(now()?, Validity::USUAL_DAYS);
    let card = Card::issue(identity, &keys.node, &card_addresses(config, &[]), validity);
    let known = partners.partners();
    let node = NodeConfig {
        network: config.network.clone(),
        identity: identity.events().to_vec(),
        log_key: keys.log.clone(),
        witness_key: keys.witness.clone(),
        node_key: keys.node.to_seed(),
        listen: config.listen.clone(),
        partners: known
            .map(|card| driver::Partner { node: card.node(), addresses: dialable(card) })
            .collect(),
        card: card.map_err(Failure::internal)?.to_line(),
        accept_anyone: config.accept_anyone,
        own_head_answers: config.own_head_answers,
        quota: Quota { entries: config.quota_entries, bytes: u64::from(config.quota_mib) << 20 },
        proxy: config.proxy.clone(),
        sign_alone: config.sign_alone,
        onlooker,
    };
    let started = driver::start(node, store).await;
    let (handle, mut task) = started.map_err(failed_driver)?;
    if task.is_finished() {
        // An address that cannot be listened on ends the task before it begins.
        ended((&mut task).await)?;
    }
    Ok((handle, task))
}

/// What a desk is made of, besides the driver.
struct Setup {
    config: Config,
    identity: Identity,
    node_key: SecretKey,
    partners: PartnerBook,
    domains: DomainBook,
    prover: Prover,
    witnesses: Arc<Witnesses>,
    opener: Opener,
    accepted: Accepted,
    holds: HoldBook,
}

impl Desk {
    /// Opens the projections over the driver's replica and introduces the partners.
    async fn open(place: &Place, setup: Setup, handle: Handle) -> Result<Self, Failure> {
        for (group, hosts) in setup.accepted.hosts() {
            handle.invited(group, hosts).await;
        }
        let groups = handle.groups().await;
        let projector = {
            let (replica, dir) = (handle.replica(), place.file(SEARCH_DIR));
            let opener = setup.opener.clone();
            let start = move || {
                groups.iter().for_each(|group| _ = opener.learn(group));
                Projector::start_with(replica, &projector::Place::Directory(dir), opener)
            };
            blocking(start).await?.map_err(failed_projector)?
        };
        for partner in setup.partners.partners() {
            handle.introduce(partner.identity().events().to_vec()).await;
        }
        let node = NodeId::try_from(setup.node_key.public().as_bytes());
        let peer = network::peer_id(&node.map_err(Failure::internal)?);
        Ok(Self(Arc::new(Inner {
            config: setup.config,
            identity: setup.identity,
            node_key: setup.node_key,
            peer: peer.ok_or_else(|| Failure::internal("no libp2p id"))?,
            handle,
            projector,
            partners: Mutex::new(setup.partners),
            domains: Mutex::new(setup.domains),
            prover: setup.prover,
            witnesses: setup.witnesses,
            found: Mutex::new(FoundBook::open(&place.file(FOUND_FILE))),
            writing: Arc::default(),
            written: Written::default(),
            opener: setup.opener,
            learning: Mutex::default(),
            accepted: Mutex::new(setup.accepted),
            holds: std::sync::Mutex::new(setup.holds),
            holds_changed: Notify::new(),
            drafts: Mutex::new(Drafts::new(place.file(DRAFTS_DIR))),
            referred: AtomicBool::new(false),
        })))
    }

    /// The authority this node works for.
    #[must_use]
    pub fn authority(&self) -> AuthorityId {
        self.0.identity.authority()
    }

    /// Its libp2p id.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// Shows the public logs to everybody who comes to `listener`.
    fn open_publication(
        &self,
        listener: TcpListener,
        cosigner: Cosigner,
        stopped: watch::Receiver<bool>,
    ) -> Result<(SocketAddr, JoinHandle<()>), Failure> {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let (replica, network) = (self.0.handle.replica(), self.0.config.network.clone());
        let (own, witnesses) = (self.authority(), Arc::clone(&self.0.witnesses));
        let publication = Publication::new(replica, network, own, cosigner, witnesses);
        Ok((address, publication::serve(listener, publication, stopped)))
    }

    /// The driver, for tests and examples that look behind the desk.
    #[must_use]
    pub fn driver(&self) -> &Handle {
        &self.0.handle
    }

    /// The addresses on which other nodes can reach it.
    pub async fn listen(&self) -> Vec<String> {
        let status = self.0.handle.status().await;
        let listen = status.map(|status| status.listen).unwrap_or_default();
        listen.iter().map(ToString::to_string).collect()
    }

    /// Who this node is, with a card made now and valid for the usual time.
    ///
    /// # Errors
    /// A [`Failure`] if the node is stopping.
    pub async fn whoami(&self) -> Result<answer::Whoami, Failure> {
        self.whoami_for(Validity::USUAL_DAYS).await
    }

    /// Who this node is, with a card made now and valid for so many days.
    ///
    /// # Errors
    /// A [`Failure`] if the node is stopping.
    pub async fn whoami_for(&self, days: u16) -> Result<answer::Whoami, Failure> {
        let found = whoami(&self.card(days).await?)?;
        let (met, identity) = (self.acquaintances().await, self.0.identity.clone());
        let known = blocking(move || met.attribution(&identity)).await?.map_err(failed_store)?;
        let Attribution { succeeded_by, succeeds, .. } = known;
        Ok(answer::Whoami { succeeded_by, succeeds, ..found })
    }

    /// A card of this node with the addresses it has now.
    async fn card(&self, days: u16) -> Result<Card, Failure> {
        let status = self.node_status().await?;
        let addresses = card_addresses(&self.0.config, &status.listen);
        let validity = Validity::days(now()?, days);
        let card = Card::issue(&self.0.identity, &self.0.node_key, &addresses, validity);
        card.map_err(Failure::internal)
    }

    /// How the node is.
    ///
    /// # Errors
    /// A [`Failure`] if the node is stopping or its store fails.
    pub async fn status(&self) -> Result<answer::Status, Failure> {
        let status = self.node_status().await?;
        let met = self.acquaintances().await;
        let desk = self.clone();
        let read = move || {
            let (projector, replica) = (&desk.0.projector, desk.0.handle.replica());
            Ok((projector.lag()?, projector.register().held_back()?, branch_views(&*replica)?))
        };
        let (lag, held_back, mut branches) = blocking(read).await?.map_err(failed_store)?;
        let index_failure = match self.0.projector.state() {
            projector::State::Failed { why, .. } => Some(why),
            _ => None,
        };
        let partners = self.partners().await?;
        let authorities = status.logs.iter().map(|log| log.log.authority);
        let authorities = authorities
            .chain(status.peers.iter().filter_map(|peer| peer.authority))
            .chain(status.standings.iter().filter_map(|standing| standing.authority));
        let names = names(met, authorities.collect()).await?;
        let named = |authority: Option<AuthorityId>| {
            let known = authority.and_then(|authority| names.get(&authority).cloned());
            known.map(|known| (known.name, known.attribution)).unzip()
        };
        let mut log = |log: &LogStatus| {
            let branches = branches.remove(&log.log).unwrap_or_default();
            let group = self.0.opener.name(&log.log.space);
            log_view(log, named(Some(log.log.authority)), group, branches)
        };
        let peer = |peer: &driver::PeerInfo| answer::PeerView {
            node: peer.node,
            authority: peer.authority,
            name: named(peer.authority).0,
            known: named(peer.authority).1,
            greeted: peer.greeted,
            heard: peer.heard,
            sent: peer.traffic.sent,
            received: peer.traffic.received,
        };
        let now = now()?.as_seconds();
        let refused = |standing: &driver::StandingInfo| answer::RefusedView {
            node: standing.node,
            authority: standing.authority,
            name: named(standing.authority).0,
            known: named(standing.authority).1,
            score: standing.score,
            faults: standing.faults,
            reason: standing.reason.label().to_owned(),
            explanation: driver::explain(standing.reason).to_owned(),
            until: standing.refused_for.map(|time| now + time.as_secs().max(1)),
        };
        let refusals = status.refusals.iter();
        Ok(answer::Status {
            authority: self.authority(),
            name: self.0.identity.profile().name.clone(),
            network: self.0.config.network.to_string(),
            listen: status.listen.iter().map(ToString::to_string).collect(),
            logs: status.logs.iter().map(&mut log).collect(),
            peers: status.peers.iter().map(peer).collect(),
            outside_witnesses: self.0.witnesses.reports().into_iter().map(outside_view).collect(),
            refused: status.standings.iter().map(refused).collect(),
            partners: partners.partners.len(),
            requests: partners.requests.len(),
            refusals: refusals.map(|(label, n)| ((*label).to_owned(), *n)).collect(),
            searchable: self.0.projector.search().documents(),
            index_lag: lag,
            held_back,
            obstacle: status.obstacle.map(|obstacle| obstacle.to_string()),
            warning: status
                .another_copy
                .then(|| format!("another copy of this node is running: {}", fault::ANOTHER_COPY)),
            index_failure,
        })
    }

    async fn node_status(&self) -> Result<NodeStatus, Failure> {
        self.0.handle.status().await.ok_or_else(stopping)
    }

    /// The public log in which this authority speaks now.
    fn own_log(&self) -> LogId {
        self.log_in(Space::Public)
    }

    /// The log in which this authority speaks now to those who see a space.
    fn log_in(&self, space: Space) -> LogId {
        let generation = self.0.identity.generation();
        LogId { authority: self.authority(), space, generation }
    }

    /// Makes entries durable in the own public log and remembers how far it reaches.
    async fn write(&self, entries: Vec<Entry>) -> Result<Authored, Failure> {
        self.write_in(Space::Public, entries).await
    }

    /// The same in the own log of any space.
    async fn write_in(&self, space: Space, entries: Vec<Entry>) -> Result<Authored, Failure> {
        let authored = self.0.handle.author_in(space, entries).await;
        let authored = authored.map_err(|error| match error {
            AuthorError::Refused(refusal) => refused(refusal),
            _ => stopping(),
        })?;
        self.0.written.note(space, authored.start + authored.count as u64);
        self.0.projector.wake();
        Ok(authored)
    }

    /// Waits, within reason, until a signed head covers an own log up to `end`:
    /// right after a start or reconnect a partner is heard first.
    async fn settle_signature(&self, log: LogId, end: u64) -> bool {
        let handle = &self.0.handle;
        let mut notices = handle.notices();
        let signed = tokio::time::timeout(SIGN_PATIENCE, async {
            loop {
                let head = handle.head(log).await;
                if head.is_some_and(|head| head.checkpoint().size() >= end) {
                    return true;
                }
                if let Err(tokio::sync::broadcast::error::RecvError::Closed) = notices.recv().await
                {
                    return false;
                }
            }
        });
        signed.await.unwrap_or(false)
    }

    /// Waits until the register has everything that was written. Blocks.
    fn settle_register(&self) -> Result<(), Failure> {
        for (space, written) in self.0.written.all() {
            let log = self.log_in(space);
            let waited = self.0.projector.wait_for_register(&log, written, REGISTER_PATIENCE);
            waited.map_err(failed_projector)?;
        }
        Ok(())
    }

    /// Waits, within reason, until own changes can be found. Blocks.
    fn settle_search(&self) -> Result<(), Failure> {
        let projector = &self.0.projector;
        let reached = self.0.written.all().into_iter().try_for_each(|(space, written)| {
            projector.wait_until(&self.log_in(space), written, INDEX_PATIENCE)
        });
        let reached = match (reached, self.0.referred.swap(false, Ordering::SeqCst)) {
            (Ok(()), true) => projector.settle(INDEX_PATIENCE),
            (reached, _) => reached,
        };
        match reached {
            // What there is can be shown; status says how much is missing.
            Ok(()) | Err(ProjectorError::Timeout) => Ok(()),
            Err(error) => Err(failed_projector(error)),
        }
    }
}

/// What a card says of the node that made it.
///
/// # Errors
/// A [`Failure`] if the card's node key is none, which is a fault.
pub fn whoami(card: &Card) -> Result<answer::Whoami, Failure> {
    let peer = network::peer_id(&card.node()).ok_or_else(|| Failure::internal("no libp2p id"))?;
    let identity = card.identity();
    let (network, authority) = (identity.network(), identity.authority());
    let origin = Origin::public(network, &authority, identity.generation());
    Ok(answer::Whoami {
        authority: card.authority(),
        name: card.identity().profile().name.clone(),
        domain: card.identity().profile().domain.clone(),
        network: card.identity().network().to_string(),
        fingerprint: fingerprint(&card.authority()),
        card: card.to_line(),
        valid_until: card.valid_until().as_seconds(),
        peer: peer.to_string(),
        addresses: card.addresses().to_vec(),
        succeeded_by: identity.successors().iter().map(nameless).collect(),
        succeeds: Vec::new(),
        log_key: log_key(&origin, *identity.log_key()).to_string(),
        witness_key: witness_key(network, &authority, *identity.witness_key()).to_string(),
    })
}

/// An authority of which nobody was asked.
const fn nameless(authority: &AuthorityId) -> Related {
    Related { authority: *authority, name: None, known: None }
}

/// The addresses for a card: those to announce; else those listened on, known
/// or configured, by which somebody else can reach the node.
#[must_use]
pub fn card_addresses(config: &Config, listening: &[Multiaddr]) -> Vec<String> {
    use libp2p::multiaddr::Protocol;
    let candidates = match (config.announce.as_slice(), listening) {
        ([], []) => config.listen.as_slice(),
        ([], listening) => listening,
        (announce, _) => announce,
    };
    let usable = |address: &&Multiaddr| {
        !address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_unspecified(),
            Protocol::Ip6(ip) => ip.is_unspecified(),
            Protocol::Tcp(port) | Protocol::Udp(port) => port == 0,
            _ => false,
        })
    };
    let local = |address: &&Multiaddr| {
        address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_loopback(),
            Protocol::Ip6(ip) => ip.is_loopback(),
            _ => false,
        })
    };
    let usable: Vec<_> = candidates.iter().filter(usable).collect();
    // Loopback addresses are of use only where there are no others: several nodes on one machine.
    let all_local = usable.iter().all(local);
    let kept = usable.iter().filter(|address| all_local || !local(address));
    let short = kept.map(ToString::to_string).filter(|text| text.len() <= limits::ADDRESS_BYTES);
    short.take(limits::CARD_ADDRESSES).collect()
}

/// What was set aside of each log.
fn branch_views(
    replica: &dyn Replica,
) -> Result<BTreeMap<LogId, Vec<answer::BranchView>>, StoreError> {
    let mut views: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for branch in replica.branches()? {
        let (number, size) = (branch.number, branch.frontier.size());
        let disowned = size - branch.shared(replica)?;
        let view = answer::BranchView { number, size, disowned };
        views.entry(branch.log).or_default().push(view);
    }
    Ok(views)
}

fn witnessed(log: &LogStatus) -> answer::Witnessed {
    if log.log.space != Space::Public {
        // Nobody cosigns what only members know of.
        return answer::Witnessed::default();
    }
    let (witnesses, quorum) = log.witnesses;
    answer::Witnessed { cosigned: log.cosigned, witnesses, quorum }
}

fn log_view(
    log: &LogStatus,
    (name, known): (Option<String>, Option<Attribution>),
    group: Option<String>,
    branches: Vec<answer::BranchView>,
) -> answer::LogView {
    let state = match log {
        LogStatus { disputed: true, .. } => answer::LogState::Disputed,
        LogStatus { closed: true, .. } => answer::LogState::Closed,
        LogStatus { over_quota: true, .. } => answer::LogState::OverQuota,
        LogStatus { behind: Some(_), .. } => answer::LogState::Behind,
        LogStatus { size, signed, .. } if signed < size => answer::LogState::Unsigned,
        _ => answer::LogState::Current,
    };
    answer::LogView {
        authority: log.log.authority,
        name,
        known,
        space: log.log.space.to_string(),
        group,
        generation: log.log.generation,
        size: log.size,
        root: log.root,
        state,
        signed: log.signed,
        behind: log.behind,
        witnessed: witnessed(log),
        branches,
    }
}

fn outside_view(report: witnesses::Report) -> answer::OutsideWitnessView {
    let witnesses::Report { key, url, cosigned, failure } = report;
    answer::OutsideWitnessView { name: key.name().to_string(), url, cosigned, failure }
}

/// The wall clock.
fn now() -> Result<UnixTime, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::internal)?;
    Ok(UnixTime::from_seconds(now.as_secs()))
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
}

fn read_card(text: &str, config: &Config) -> Result<Card, Failure> {
    let card = UnverifiedCard::parse(text).and_then(|card| card.verify(&config.network));
    card.map_err(|error| {
        Failure::usage(error, "ask the partner for the output of `tally whoami`, as a file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(announce: &[&str], listening: &[&str]) -> Vec<String> {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let config = Config { announce: parse(announce), ..Config::default() };
        let listening: Vec<Multiaddr> = parse(listening);
        card_addresses(&config, &listening)
    }

    #[test]
    fn cards_carry_addresses_by_which_others_can_reach_the_node() {
        let (public, local) = ("/ip4/192.0.2.7/tcp/4817", "/ip4/127.0.0.1/tcp/4817");
        assert_eq!(addresses(&[], &[local, public]), [public]);
        assert_eq!(addresses(&[], &[local]), [local]);
        assert_eq!(
            addresses(&["/dns4/tally.example/tcp/1"], &[public]),
            ["/dns4/tally.example/tcp/1"]
        );
        // The configured address says every interface, which is nobody's address.
        assert!(addresses(&[], &[]).is_empty());
        assert!(addresses(&[], &["/ip4/192.0.2.7/tcp/0"]).is_empty());
    }

    #[test]
    fn an_address_is_for_one_node_only() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        assert_eq!(refuse_taken(&address).unwrap_err().kind.exit_code(), 2);
        drop(other);
        assert!(refuse_taken(&address).is_ok());
    }
}
