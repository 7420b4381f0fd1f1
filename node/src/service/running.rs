//! A whole node in one process: starting it from its data directory, and stopping it.
//!
//! **Invariants:** the data directory is locked before keys are read; no command is
//! answered before the first entries are in the log; when [`Service::stop`] returns
//! everything is closed. Deliberately absent: what a running node does for people,
//! see [`Desk`].

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use tallystick_protocol::card::{Card, Validity};
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::sync::{Notice, Quota};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::group::accepted::{Accepted, GROUPS_FILE};
use super::status::card_addresses;
use super::{
    Desk, Setup, blocking, domains, erasing, failed_driver, failed_projector, failed_store, group,
    now,
};
use crate::api;
use crate::config::{Config, Place};
use crate::cosigner::Cosigner;
use crate::domain::Prover;
use crate::domain::book::{DOMAINS_FILE, DomainBook};
use crate::driver::{self, DriverError, Handle, NodeConfig};
use crate::failure::Failure;
use crate::hold::{HOLDS_FILE, HoldBook};
use crate::keys::{self, NodeKeys, Passphrase};
use crate::network;
use crate::opener::Opener;
use crate::partner::{PARTNERS_FILE, PartnerBook, dialable};
use crate::publication;
use crate::store::Store;
use crate::witnesses::{COSIGNATURES_FILE, Witnesses};

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

#[cfg(test)]
mod tests {
    use super::*;

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
