//! What a node says of itself: its card, its logs, its peers, and what is wrong.
//!
//! Deliberately absent: judging any of it.

use std::collections::BTreeMap;

use libp2p::Multiaddr;
use tallystick_protocol::card::{Card, Validity, fingerprint};
use tallystick_protocol::checkpoint::{Origin, log_key, witness_key};
use tallystick_protocol::id::{AuthorityId, LogId, Space};
use tallystick_protocol::limits;
use tallystick_protocol::sync::LogStatus;

use super::{Desk, answer, blocking, failed_store, fault, names, now, stopping};
use crate::acquaintance::{Attribution, Related};
use crate::config::Config;
use crate::driver::{self, NodeStatus};
use crate::failure::Failure;
use crate::network;
use crate::opener::EpochFault;
use crate::projector;
use crate::store::{Replica, StoreError};
use crate::witnesses;

impl Desk {
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
    pub(super) async fn card(&self, days: u16) -> Result<Card, Failure> {
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
            epoch_faults: self.0.opener.faults().into_iter().map(epoch_fault_view).collect(),
            obstacle: status.obstacle.map(|obstacle| obstacle.to_string()),
            warning: status
                .another_copy
                .then(|| format!("another copy of this node is running: {}", fault::ANOTHER_COPY)),
            index_failure,
        })
    }

    pub(super) async fn node_status(&self) -> Result<NodeStatus, Failure> {
        self.0.handle.status().await.ok_or_else(stopping)
    }
}

/// What a card says of the node that made it.
///
/// # Errors
/// A [`Failure`] if the card's node key is none, which is a fault.
pub(crate) fn whoami(card: &Card) -> Result<answer::Whoami, Failure> {
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
pub(crate) fn card_addresses(config: &Config, listening: &[Multiaddr]) -> Vec<String> {
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

fn epoch_fault_view(fault: EpochFault) -> answer::EpochFaultView {
    let EpochFault { group, author: authority, why } = fault;
    answer::EpochFaultView { group, authority, why }
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

pub(super) fn witnessed(log: &LogStatus) -> answer::Witnessed {
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
}
