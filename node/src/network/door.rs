//! The door: who may connect at all, decided before anything is said.
//!
//! Connections from one place (an IPv4 address, or the /64 of an IPv6 one) may
//! come at a bounded rate and be in the handshake in bounded number, so that
//! nobody keeps others out or makes us do key exchanges all day. Nodes that
//! misbehaved are refused until their time is over, in either direction.
//!
//! **Invariant:** what is remembered is bounded, whoever knocks. Deliberately
//! absent: who is a partner, and any reason; the protocol's machine has them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Connections that may come from one place at once, and per second from then on.
const CONNECTIONS: (u32, u32) = (256, 32);
/// Connections from one place that may be in the handshake at one time.
const HANDSHAKES: usize = 32;
/// Cards that may come from one place at once; one more every [`CARD_PAUSE`].
const CARDS: u32 = 16;
/// Time after which one more card may come.
const CARD_PAUSE: Duration = Duration::from_secs(10);
/// Places, and nodes that are refused, that are remembered.
const REMEMBERED: usize = 4096;

/// Where connections come from; nothing for an address without IP.
pub(super) type Origin = Option<IpAddr>;

/// The place an address belongs to.
pub(super) fn origin(address: &Multiaddr) -> Origin {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(place_of(ip.into())),
        Protocol::Ip6(ip) => Some(place_of(ip.into())),
        _ => None,
    })
}

/// The place an IP address belongs to: itself, or the /64 of an IPv6 one.
pub(crate) fn place_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            match ip.to_ipv4_mapped() {
                Some(ip) => ip.into(),
                None => Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(),
            }
        }
    }
}

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("too many connections from one place")]
    TooMany,
    #[error("refused for a while, because it misbehaved")]
    Misbehaved,
}

/// What comes from one place.
#[derive(Debug)]
struct Place {
    /// Connections that may come at once.
    connections: u32,
    cards: u32,
    /// Up to when both were given back.
    since: Instant,
    cards_since: Instant,
}

impl Place {
    const fn new(now: Instant) -> Self {
        Self { connections: CONNECTIONS.0, cards: CARDS, since: now, cards_since: now }
    }

    fn settle(&mut self, now: Instant) {
        let seconds = u32::try_from(now.duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            let back = seconds.saturating_mul(CONNECTIONS.1);
            self.connections = self.connections.saturating_add(back).min(CONNECTIONS.0);
            self.since = now;
        }
        while self.cards < CARDS && now.duration_since(self.cards_since) >= CARD_PAUSE {
            self.cards += 1;
            self.cards_since += CARD_PAUSE;
        }
        if self.cards == CARDS {
            self.cards_since = now;
        }
    }

    const fn is_fresh(&self) -> bool {
        self.connections == CONNECTIONS.0 && self.cards == CARDS
    }
}

/// The behaviour; see the module's description.
#[derive(Debug, Default)]
pub(super) struct Door {
    places: BTreeMap<IpAddr, Place>,
    handshakes: BTreeMap<ConnectionId, IpAddr>,
    refused: BTreeMap<PeerId, Instant>,
}

impl Door {
    /// Refuses a node until then.
    pub(super) fn refuse(&mut self, peer: PeerId, until: Instant) {
        if self.refused.len() >= REMEMBERED {
            let now = Instant::now();
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() >= REMEMBERED {
            // Whose time ends first is let in early; the machine knows it all the same.
            let first = self.refused.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.refused.remove(&first);
            }
        }
        self.refused.insert(peer, until);
    }

    /// Lets a node in again before its time.
    pub(super) fn pardon(&mut self, peer: &PeerId) {
        self.refused.remove(peer);
    }

    /// Whether a node is refused now.
    pub(super) fn refuses(&self, peer: &PeerId) -> bool {
        self.refused.get(peer).is_some_and(|until| Instant::now() < *until)
    }

    /// Whether a card from that place is read.
    pub(super) fn takes_card(&mut self, origin: Origin) -> bool {
        let Some(place) = self.place(origin) else { return true };
        let takes = place.cards > 0;
        place.cards = place.cards.saturating_sub(1);
        takes
    }

    fn place(&mut self, origin: Origin) -> Option<&mut Place> {
        let (origin, now) = (origin?, Instant::now());
        if self.places.len() >= REMEMBERED && !self.places.contains_key(&origin) {
            self.places.retain(|_, place| {
                place.settle(now);
                !place.is_fresh()
            });
            if self.places.len() >= REMEMBERED {
                // So many places at once are an attack that no count by place stops.
                self.places.clear();
            }
        }
        let place = self.places.entry(origin).or_insert_with(|| Place::new(now));
        place.settle(now);
        Some(place)
    }

    /// Somebody knocks.
    fn knock(&mut self, connection: ConnectionId, origin: Origin) -> Result<(), Closed> {
        let Some(ip) = origin else { return Ok(()) };
        let waiting = self.handshakes.values().filter(|other| **other == ip).count();
        let Some(place) = self.place(origin) else { return Ok(()) };
        if place.connections == 0 || waiting >= HANDSHAKES {
            return Err(Closed::TooMany);
        }
        place.connections -= 1;
        self.handshakes.insert(connection, ip);
        Ok(())
    }

    fn admit(&mut self, connection: ConnectionId, peer: &PeerId) -> Result<(), ConnectionDenied> {
        self.handshakes.remove(&connection);
        if self.refuses(peer) {
            return Err(ConnectionDenied::new(Closed::Misbehaved));
        }
        Ok(())
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(connection, origin(remote)).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(connection, &peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(connection, &peer).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.handshakes.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _peer: PeerId,
        _connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Origin {
        origin(&address.parse().unwrap())
    }

    #[test]
    fn one_place_is_slowed_down_and_others_are_not() {
        let mut door = Door::default();
        let here = at("/ip4/192.0.2.1/tcp/1");
        let mut let_in = 0;
        for number in 0..1_000 {
            let connection = ConnectionId::new_unchecked(number);
            if door.knock(connection, here).is_ok() {
                let_in += 1;
                door.admit(connection, &PeerId::random()).unwrap();
            }
        }
        assert!((256..=300).contains(&let_in), "{let_in}");
        assert!(door.knock(ConnectionId::new_unchecked(5_000), at("/ip4/192.0.2.2/tcp/1")).is_ok());
        assert_eq!(at("/ip6/2001:db8::1/tcp/1"), at("/ip6/2001:db8::2/udp/9/quic-v1"));
        assert_ne!(at("/ip6/2001:db8::1/tcp/1"), at("/ip6/2001:db8:0:1::1/tcp/1"));
        assert_eq!(at("/ip6/::ffff:192.0.2.1/tcp/1"), here);
    }

    #[test]
    fn handshakes_that_never_end_do_not_take_all_the_room() {
        let mut door = Door::default();
        let here = at("/ip4/192.0.2.1/tcp/1");
        let knock = |door: &mut Door, n| door.knock(ConnectionId::new_unchecked(n), here).is_ok();
        assert_eq!((0..100).filter(|n| knock(&mut door, *n)).count(), HANDSHAKES);
    }

    #[test]
    fn refused_nodes_are_bounded_and_let_back() {
        let mut door = Door::default();
        let (peer, later) = (PeerId::random(), Instant::now() + Duration::from_secs(60));
        door.refuse(peer, later);
        assert!(door.refuses(&peer) && !door.refuses(&PeerId::random()));
        assert!(door.admit(ConnectionId::new_unchecked(1), &peer).is_err());
        door.refuse(peer, Instant::now());
        assert!(!door.refuses(&peer));
        for _ in 0..REMEMBERED + 10 {
            door.refuse(PeerId::random(), later);
        }
        assert_eq!(door.refused.len(), REMEMBERED);
    }

    #[test]
    fn cards_from_one_place_are_few() {
        let mut door = Door::default();
        let here = at("/ip4/192.0.2.1/tcp/1");
        assert_eq!((0..100).filter(|_| door.takes_card(here)).count(), CARDS as usize);
        assert!(door.takes_card(at("/ip4/192.0.2.2/tcp/1")));
        for n in (0u32..).take(REMEMBERED + 10) {
            door.takes_card(Some(IpAddr::V4(n.into())));
        }
        assert!(door.places.len() <= REMEMBERED);
    }
}
