//! Who may read over HTTP, and how much: bounds by place.
//!
//! A place is an IPv4 address or the /64 of an IPv6 one. Loopback is where a
//! proxy in front of the node sits, so it is bounded only by what bounds all.
//!
//! **Invariant:** what is remembered is bounded, whoever comes. Deliberately
//! absent: anything that tells readers apart but where they come from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::network::place_of;

/// Connections at one time.
const CONNECTIONS: usize = 512;
/// Connections from one place at one time.
const CONNECTIONS_PER_PLACE: usize = 32;
/// Requests that one place may make at once, and per second from then on.
const REQUESTS: (u32, u32) = (2000, 200);
/// Places that are remembered.
const REMEMBERED: usize = 4096;

/// What comes from one place.
#[derive(Debug)]
struct Place {
    connections: usize,
    /// Requests that may come at once.
    requests: u32,
    /// Up to when they were given back.
    since: Instant,
}

impl Place {
    fn settle(&mut self, now: Instant) {
        let seconds = u32::try_from(now.duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            let back = seconds.saturating_mul(REQUESTS.1);
            self.requests = self.requests.saturating_add(back).min(REQUESTS.0);
            self.since = now;
        }
    }

    const fn is_fresh(&self) -> bool {
        self.connections == 0 && self.requests == REQUESTS.0
    }
}

#[derive(Debug, Default)]
struct Places {
    connections: usize,
    places: BTreeMap<IpAddr, Place>,
}

impl Places {
    fn place(&mut self, ip: IpAddr, now: Instant) -> Option<&mut Place> {
        if self.places.len() >= REMEMBERED && !self.places.contains_key(&ip) {
            self.places.retain(|_, place| {
                place.settle(now);
                !place.is_fresh()
            });
            if self.places.len() >= REMEMBERED {
                return None;
            }
        }
        let fresh = || Place { connections: 0, requests: REQUESTS.0, since: now };
        let place = self.places.entry(ip).or_insert_with(fresh);
        place.settle(now);
        Some(place)
    }
}

/// The gate; see the module's description.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Places>);

impl Gate {
    /// Lets a connection in, unless there are too many.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Guest> {
        let mut places = self.places();
        if places.connections >= CONNECTIONS {
            return None;
        }
        let bounded = (!ip.is_loopback()).then(|| place_of(ip));
        if let Some(ip) = bounded {
            let place = places.place(ip, Instant::now())?;
            if place.connections >= CONNECTIONS_PER_PLACE {
                return None;
            }
            place.connections += 1;
        }
        places.connections += 1;
        Some(Guest { gate: Arc::clone(self), place: bounded })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    gate: Arc<Gate>,
    /// Where it comes from, if that is bounded.
    place: Option<IpAddr>,
}

impl Guest {
    /// Whether it may make one more request, which costs as much as so many.
    pub(super) fn may_ask(&self, cost: u32) -> bool {
        let Some(ip) = self.place else { return true };
        let mut places = self.gate.places();
        let Some(place) = places.place(ip, Instant::now()) else { return false };
        match place.requests.checked_sub(cost) {
            Some(left) => {
                place.requests = left;
                true
            }
            None => false,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut places = self.gate.places();
        places.connections = places.connections.saturating_sub(1);
        if let Some(place) = self.place.and_then(|ip| places.places.get_mut(&ip)) {
            place.connections = place.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_place_has_so_many_connections_and_no_more() {
        let gate = Arc::new(Gate::default());
        // Addresses of one /64 are one place.
        let guests: Vec<_> = (0..CONNECTIONS_PER_PLACE)
            .map(|n| gate.enter(ip(&format!("2001:db8::{n:x}"))).unwrap())
            .collect();
        assert!(gate.enter(ip("2001:db8::ffff")).is_none());
        assert!(gate.enter(ip("2001:db8:0:1::1")).is_some());
        drop(guests);
        assert!(gate.enter(ip("2001:db8::ffff")).is_some());
    }

    #[test]
    fn all_places_together_are_bounded_loopback_too() {
        let gate = Arc::new(Gate::default());
        let guests: Vec<_> =
            (0..CONNECTIONS).map(|_| gate.enter(ip("127.0.0.1")).unwrap()).collect();
        assert!(gate.enter(ip("127.0.0.1")).is_none());
        assert!(gate.enter(ip("192.0.2.1")).is_none());
        drop(guests);
        assert!(gate.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn requests_come_back_with_time_and_are_not_won_by_reconnecting() {
        let gate = Arc::new(Gate::default());
        let spent = gate.enter(ip("192.0.2.1")).unwrap();
        assert!(spent.may_ask(REQUESTS.0));
        assert!(!spent.may_ask(1));
        drop(spent);
        let again = gate.enter(ip("192.0.2.1")).unwrap();
        assert!(!again.may_ask(REQUESTS.1 * 2), "at most a second has passed");
        assert!(gate.enter(ip("192.0.2.2")).unwrap().may_ask(REQUESTS.0));
        assert!(gate.enter(ip("::1")).unwrap().may_ask(u32::MAX));
        if let Some(place) = gate.places().places.get_mut(&ip("192.0.2.1")) {
            place.since -= std::time::Duration::from_secs(3);
        }
        assert!(again.may_ask(REQUESTS.1 * 3));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let gate = Arc::new(Gate::default());
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        for n in 0..10_000 {
            if let Some(guest) = gate.enter(address(n)) {
                guest.may_ask(1);
            }
        }
        assert!(gate.places().places.len() <= REMEMBERED);
        // Those that have spent nothing are forgotten first.
        let gate = Arc::new(Gate::default());
        for n in 0..10_000 {
            assert!(gate.enter(address(n)).is_some(), "{n}");
        }
        assert!(gate.places().places.len() <= REMEMBERED);
    }
}
