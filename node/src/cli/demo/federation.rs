//! The nodes of the demo: real ones, each with a directory of its own, in one process.
//!
//! They are partners of each other through their cards, and meet on the
//! loopback interface at ports that the system chooses. Deliberately absent:
//! what they say (`story`) and what is made of it (`tale`).

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{join_all, try_join_all};
use tallystick_protocol::id::LogId;
use tallystick_protocol::sync::LogStatus;
use tallystick_protocol::time::UnixTime;

use super::story::Member;
use crate::config::Place;
use crate::failure::Failure;
use crate::keys;
use crate::partner::replace;
use crate::service::{Overrides, Service};

/// The network of the demo; nodes of another never talk to it.
const NETWORK: &str = "demo";
/// The configuration of its nodes: this machine only, ports chosen by the system.
const CONFIG: &str = r#"# A node of `tally demo`: for this machine only, and for nothing real.
network = "demo"
listen = ["/ip4/127.0.0.1/tcp/0"]
http = "127.0.0.1:0"
replica_cache_mib = 16
log_level = "error"
"#;
/// How long nodes may need until they have what the others have.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often they are asked.
const BEAT: Duration = Duration::from_millis(2);

/// One node and whose it is.
pub(super) struct Node {
    /// Its authority.
    pub(super) member: Member,
    /// Its files.
    pub(super) place: Place,
    /// The node itself.
    pub(super) service: Service,
}

/// How far each node has each authority's log: one row per node, in the order
/// of the nodes, one cell per authority, in the same order.
pub(super) type Grid = Vec<Vec<u64>>;

/// All nodes have the same.
pub(super) struct Settled {
    /// What they have.
    pub(super) grid: Grid,
    /// When it was checked and on the last disk.
    pub(super) stored: Instant,
    /// When the last node could find all of it.
    pub(super) found: Instant,
}

/// All nodes, in the order in which they came.
pub(super) struct Federation(Vec<Node>);

impl Federation {
    /// Makes the authorities below `dir`, starts their nodes and makes each the
    /// partner of all others.
    ///
    /// # Errors
    /// A [`Failure`] by the first node that does not start.
    pub(super) async fn start(dir: &Path, members: &[Member]) -> Result<Self, Failure> {
        let mut federation = Self(Vec::new());
        for node in try_join_all(members.iter().map(|member| begin(dir, *member))).await? {
            federation.welcome(node).await?;
        }
        Ok(federation)
    }

    /// Starts one node more and makes it everybody's partner; gives how long
    /// ago it met the first.
    ///
    /// # Errors
    /// As [`Federation::start`].
    pub(super) async fn join(&mut self, dir: &Path, member: Member) -> Result<Instant, Failure> {
        let node = begin(dir, member).await?;
        let met = Instant::now();
        self.welcome(node).await?;
        Ok(met)
    }

    /// Exchanges cards, both ways, as people do by mail.
    async fn welcome(&mut self, node: Node) -> Result<(), Failure> {
        let card = node.service.whoami().await?.card;
        for other in &self.0 {
            other.service.add_partner(&card).await?;
            node.service.add_partner(&other.service.whoami().await?.card).await?;
        }
        self.0.push(node);
        Ok(())
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// The node of one member.
    ///
    /// # Errors
    /// A [`Failure`] if it has not joined, which is a fault of the demo.
    pub(super) fn node(&self, member: &Member) -> Result<&Node, Failure> {
        let found = self.0.iter().find(|node| node.member == *member);
        found.ok_or_else(|| Failure::internal(format!("{} has not joined", member.short)))
    }

    /// Waits until every node has every log as its author has it, and has put
    /// all of it into its search index.
    ///
    /// # Errors
    /// A [`Failure`] that names what is missing if that takes too long.
    pub(super) async fn settle(&self) -> Result<Settled, Failure> {
        let end = Instant::now() + PATIENCE;
        let grid = loop {
            match self.compare().await? {
                Ok(grid) => break grid,
                Err(missing) if Instant::now() > end => {
                    return Err(Failure::no(
                        format!("after {} seconds {missing}", PATIENCE.as_secs()),
                        "try again on a machine with less to do; TALLY_LOG=info shows what the nodes do",
                    ));
                }
                Err(_) => tokio::time::sleep(BEAT).await,
            }
        };
        let stored = Instant::now();
        for node in &self.0 {
            while node.service.status().await?.index_lag > 0 {
                if Instant::now() > end {
                    return Err(Failure::no(
                        format!("the search index of {} does not keep up", node.member.short),
                        "try again on a machine with less to do",
                    ));
                }
                tokio::time::sleep(BEAT).await;
            }
        }
        Ok(Settled { grid, stored, found: Instant::now() })
    }

    /// The grid if all agree, else the first difference.
    async fn compare(&self) -> Result<Result<Grid, String>, Failure> {
        let mut all = Vec::new();
        for node in &self.0 {
            let status = node.service.driver().status().await;
            all.push(status.ok_or_else(|| stopped(&node.member))?.logs);
        }
        let find = |logs: &[LogStatus], of: &Node| {
            let log = LogId::public(of.service.authority(), 0);
            logs.iter().find(|status| status.log == log).cloned()
        };
        let mut grid = Grid::new();
        for (node, logs) in self.0.iter().zip(&all) {
            let mut row = Vec::new();
            for (author, own) in self.0.iter().zip(&all) {
                let said = find(own, author).filter(|said| said.size == said.signed);
                let has = find(logs, author);
                let same = |(said, has): (&LogStatus, &LogStatus)| {
                    (said.size, said.root) == (has.size, has.root) && !has.disputed
                };
                if !said.as_ref().zip(has.as_ref()).is_some_and(same) {
                    return Ok(Err(format!(
                        "{} still has {} of {} entries of {}",
                        node.member.short,
                        has.map_or(0, |has| has.size),
                        said.map_or(0, |said| said.size),
                        author.member.short,
                    )));
                }
                row.push(has.map_or(0, |has| has.size));
            }
            grid.push(row);
        }
        Ok(Ok(grid))
    }

    /// Stops all nodes; returns when their files are closed.
    ///
    /// # Errors
    /// The first [`Failure`] of one that did not stop properly.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let stopped = join_all(self.0.into_iter().map(|node| node.service.stop())).await;
        stopped.into_iter().collect()
    }
}

/// Makes an authority and starts its node.
async fn begin(dir: &Path, member: Member) -> Result<Node, Failure> {
    let place = Place::at(&dir.join(member.folder()));
    make(&place, &member)?;
    // Boxed, because starting a node is a large future and several are made at once.
    let service = Box::pin(Service::start(&place, Overrides::default())).await?;
    Ok(Node { member, place, service })
}

fn make(place: &Place, member: &Member) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(place.data())
        .and_then(|()| replace(place.config(), CONFIG.as_bytes()));
    written.map_err(|error| {
        let remedy = "name a directory that you may write to with --data DIR";
        Failure::unwritten(place.config(), &error, remedy)
    })?;
    let network = NETWORK.parse().map_err(Failure::internal)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::internal)?;
    keys::create(place, &network, member.profile(), UnixTime::from_seconds(now.as_secs()))?;
    Ok(())
}

fn stopped(member: &Member) -> Failure {
    Failure::no(
        format!("the node of {} has stopped", member.short),
        "run the demo again with TALLY_LOG=info to see why",
    )
}
