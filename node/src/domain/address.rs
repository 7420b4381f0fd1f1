//! Which addresses may be connected to because of what somebody claims.
//!
//! **Invariant:** through [`Gate::Public`] only addresses come that the whole
//! internet can reach, whatever a name resolves to, and the connection goes to
//! exactly those. Deliberately absent: lists of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A name has only addresses that are not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name has no public address")]
pub(super) struct NotPublic;

/// What is let through of what a name resolves to.
#[derive(Debug)]
pub(super) enum Gate {
    /// Public addresses.
    Public,
    /// All: the name is the proxy's, which the operator gave.
    Open,
    /// This one address, whatever the name.
    #[cfg(test)]
    Only(std::net::SocketAddr),
}

impl Resolver for Gate {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = || {
            let found = DefaultResolver::default().resolve(uri, config, timeout);
            // The system says only in words that there is no such name.
            found.map_err(|error| match error {
                ureq::Error::Io(_) => ureq::Error::HostNotFound,
                error => error,
            })
        };
        match self {
            Self::Open => found(),
            Self::Public => {
                let mut public = self.empty();
                let found = found()?;
                let addresses = found.iter().filter(|address| is_public(address.ip()));
                addresses.for_each(|address| public.push(*address));
                if public.is_empty() {
                    Err(ureq::Error::Other(Box::new(NotPublic)))
                } else {
                    Ok(public)
                }
            }
            #[cfg(test)]
            Self::Only(address) => {
                let mut only = self.empty();
                only.push(*address);
                Ok(only)
            }
        }
    }
}

/// Whether an address is one of the whole internet (IANA special-purpose registries).
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        // This network, shared with carriers, protocol assignments, benchmarks, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // An IPv4 address behind a translator.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && v4(g, h),
        // 6to4 has one in it; Teredo, benchmarks, ORCHID and documentation are no hosts.
        (0x2002, high) => v4(high, c),
        (0x2001, ..0x200) | (0x2001, 0xdb8) | (0x3fff, ..0x1000) => false,
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_whole_internet_are_public() {
        for public in
            ["9.9.9.9", "151.101.0.1", "2606:4700::1111", "64:ff9b::909:909", "2002:909:909::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:9.9.9.9",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::909:909",
            "2002:a00:1::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_name_that_leads_into_a_private_network_is_not_followed() {
        let connector = ureq::unversioned::transport::DefaultConnector::default();
        let agent = ureq::Agent::with_parts(Config::default(), connector, Gate::Public);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let said = agent.get(format!("http://{host}:{port}/")).call().unwrap_err();
            let private = matches!(&said, ureq::Error::Other(other) if other.is::<NotPublic>());
            assert!(private, "{host}: {said:?}");
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody knocked");
    }
}
