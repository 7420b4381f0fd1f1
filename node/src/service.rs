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
mod disclosure;
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
mod moment;
mod names;
mod note;
mod partners;
mod policy;
mod proving;
mod record;
mod renewal;
mod response;
mod running;
mod status;
mod succession;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use tallystick_protocol::card::{Card, UnverifiedCard};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::id::{AuthorityId, LogId, NodeId, Space};
use tallystick_protocol::identity::{Identity, PinOpening};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::time::UnixTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

pub use self::erasing::reason;
use self::evidence::{FOUND_FILE, FoundBook};
pub use self::fault::failed_store;
use self::fault::{
    failed_author, failed_driver, failed_projector, failed_search, refused, stopping,
};
use self::group::accepted::Accepted;
pub use self::import::ownership;
pub use self::moment::last_moment;
use self::names::names;
pub use self::record::{action_name, document, kind};
pub use self::running::{Overrides, Service};
use self::status::witnessed;
pub(crate) use self::status::{card_addresses, whoami};
use crate::author::Recent;
use crate::config::{Config, Place};
use crate::cosigner::Cosigner;
use crate::domain::Prover;
use crate::domain::book::DomainBook;
use crate::draft::{DRAFTS_DIR, Drafts};
use crate::driver::{AuthorError, Authored, Handle};
use crate::failure::Failure;
use crate::hold::HoldBook;
use crate::keys;
use crate::network;
use crate::opener::Opener;
use crate::partner::PartnerBook;
use crate::projector::{self, Projector, ProjectorError};
use crate::publication::{self, Publication};
use crate::witnesses::Witnesses;

/// Directory of the search index in the data directory.
pub(crate) const SEARCH_DIR: &str = "search";
/// How long an answer waits for the search index to catch up with own changes.
const INDEX_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer waits for a signature that partners' answers hold up.
const SIGN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a writing request waits for the register to take in the one before.
const REGISTER_PATIENCE: Duration = Duration::from_secs(60);

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
    /// What opens the pins of own group logs under keys that were replaced.
    pins: Vec<PinOpening>,
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
            pins: keys::pins::load(place.data())?,
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
