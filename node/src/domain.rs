//! Domain proofs: a web site that names the authority it belongs to.
//!
//! An authority that claims a domain puts a text at
//! `https://DOMAIN/.well-known/tallystick`: one authority id on a line, more if
//! several authorities share the domain; empty lines and lines that begin with
//! `#` do not count.
//!
//! ```text
//! # The procurement log of Ash Borough Council; tell it@ash.gov.uk before you change this.
//! tally1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqsw4lr2v
//! ```
//!
//! Whoever holds the domain's certificate thereby says that the authority is
//! theirs. [`Prover`] reads the text; [`book`] remembers what was found.
//!
//! **Invariants:** TLS by rustls with the public roots that were built in, so
//! what a domain proves does not depend on what certificates a machine has;
//! at most [`FILE_BYTES`] and [`PATIENCE`]; no redirect is followed; only public
//! addresses are connected to, so that a claim cannot make a node knock at its
//! own network; with a proxy nothing goes past it, and it decides about
//! addresses. Each way to fail has its own sentence. Deliberately absent:
//! DNS records, which without DNSSEC prove little, and caching: a web page
//! that changes is asked anew.

mod address;
pub mod book;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::limits;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy as HttpProxy};

use self::address::Gate;
use crate::failure::Failure;
use crate::keys::check_domain;
use crate::network::Proxy;

/// Where the text lies.
pub const PATH: &str = "/.well-known/tallystick";
/// Longest text that is read, in bytes.
pub const FILE_BYTES: u64 = 64 << 10;
/// How long a site has to answer in all.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why a domain does not prove an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// The claim is no domain.
    #[error("{0:?} is not an internet domain")]
    NoDomain(String),
    /// Nothing has that name.
    #[error("there is no server called {0}")]
    NoServer(String),
    /// It leads into a private network.
    #[error("{0} has no public address")]
    NotPublic(String),
    /// Nobody answers, or breaks off.
    #[error("{0} cannot be reached")]
    Unreachable(String),
    /// It takes too long.
    #[error("{0} did not answer within {time} seconds", time = PATIENCE.as_secs())]
    TooSlow(String),
    /// The certificate is not valid for the domain, or TLS fails otherwise.
    #[error("{0} has no valid certificate for this name")]
    Certificate(String),
    /// It sends us somewhere else.
    #[error("{0} sends readers of the file somewhere else, which is not followed")]
    Redirect(String),
    /// There is no such file, or the server does not give it.
    #[error("{domain} answers with status {status} where the file should be")]
    Status {
        /// Who.
        domain: String,
        /// HTTP status.
        status: u16,
    },
    /// The file is too long.
    #[error("the file at {0} has more than {size} KiB", size = FILE_BYTES >> 10)]
    TooLarge(String),
    /// A line is neither an id nor a comment.
    #[error("line {line} of the file at {domain} is no authority id")]
    Line {
        /// Who.
        domain: String,
        /// Which, from 1.
        line: usize,
    },
    /// It names others.
    #[error("{0} names other authorities, and not this one")]
    Other(String),
}

impl DomainError {
    /// Whether the domain itself says no, so that an earlier proof counts no
    /// longer; else it may only be out of reach for a while.
    #[must_use]
    pub const fn is_refutation(&self) -> bool {
        match self {
            Self::NoServer(_) | Self::Unreachable(_) | Self::TooSlow(_) => false,
            // A server that is being repaired says nothing about anybody.
            Self::Status { status, .. } => *status < 500,
            _ => true,
        }
    }

    /// One line on what to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoDomain(_) => "the authority has to claim a domain such as ash.gov.uk",
            Self::NoServer(_) | Self::Unreachable(_) | Self::TooSlow(_) => {
                "try again later; if this node needs a proxy, name it in tally.toml"
            }
            Self::NotPublic(_) => "the site must be reachable from everywhere",
            Self::Certificate(_) => {
                "ask them to renew it; a firewall that reads encrypted traffic has this effect, too"
            }
            Self::Redirect(_) => {
                "the file must lie at exactly this address, or the authority claim the other domain"
            }
            Self::Status { .. } | Self::TooLarge(_) | Self::Line { .. } => {
                "ask them to put the file there that their `tally whoami` shows"
            }
            Self::Other(_) => {
                "do not believe the name before you have asked them over a telephone number you know"
            }
        }
    }
}

/// The line of text that an authority puts at its domain.
#[must_use]
pub fn file(authority: &AuthorityId) -> String {
    format!("{authority}\n")
}

/// The address at which a domain's text lies.
#[must_use]
pub fn url(domain: &str) -> String {
    format!("https://{domain}{PATH}")
}

/// The authorities that a text names, or the first line that is wrong, from 1.
///
/// # Errors
/// The number of that line.
pub fn parse(text: &str) -> Result<BTreeSet<AuthorityId>, usize> {
    let mut found = BTreeSet::new();
    for (number, line) in (1_usize..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            found.insert(line.parse().map_err(|_| number)?);
        }
    }
    Ok(found)
}

/// Reads what domains say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Prover {
    agent: Agent,
    /// Put behind the domain in addresses; tests have servers on other ports.
    port: Option<u16>,
}

impl Prover {
    /// One that reaches the world by `proxy`, or by itself.
    ///
    /// # Errors
    /// A [`Failure`] if the proxy cannot be used for web addresses.
    pub fn new(proxy: Option<&Proxy>) -> Result<Self, Failure> {
        let proxy = proxy.map(Proxy::for_http).transpose()?;
        // Behind a proxy names are resolved by it, and only its own is by us.
        let gate = if proxy.is_some() { Gate::Open } else { Gate::Public };
        Ok(Self::with(proxy, gate, RootCerts::WebPki, None, PATIENCE))
    }

    fn with(
        proxy: Option<HttpProxy>,
        gate: Gate,
        roots: RootCerts,
        port: Option<u16>,
        patience: Duration,
    ) -> Self {
        let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(roots).build();
        let config = Agent::config_builder()
            .https_only(true)
            .tls_config(tls)
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .max_idle_connections(0)
            .accept_encoding("identity")
            .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), gate);
        Self { agent, port }
    }

    /// Whether `domain` says that `authority` is its own. Blocks, for [`PATIENCE`] at most.
    ///
    /// # Errors
    /// Why not: a [`DomainError`].
    pub fn check(&self, domain: &str, authority: &AuthorityId) -> Result<(), DomainError> {
        let named = self.fetch(domain)?;
        let names =
            parse(&named).map_err(|line| DomainError::Line { domain: domain.to_owned(), line })?;
        match names.contains(authority) {
            true => Ok(()),
            false => Err(DomainError::Other(domain.to_owned())),
        }
    }

    fn fetch(&self, domain: &str) -> Result<String, DomainError> {
        let address = domain.parse::<std::net::IpAddr>().is_ok();
        if address || domain.len() > limits::NAME_BYTES || check_domain(domain).is_err() {
            return Err(DomainError::NoDomain(domain.to_owned()));
        }
        let place = match self.port {
            Some(port) => url(&format!("{domain}:{port}")),
            None => url(domain),
        };
        let failed = |error: ureq::Error| failed(domain, &error);
        let mut response = self.agent.get(place).call().map_err(failed)?;
        match response.status().as_u16() {
            200 => {}
            300..=399 => return Err(DomainError::Redirect(domain.to_owned())),
            status => return Err(DomainError::Status { domain: domain.to_owned(), status }),
        }
        let body = response.body_mut().with_config().limit(FILE_BYTES).read_to_vec();
        let body = body.map_err(failed)?;
        String::from_utf8(body).map_err(|error| {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let lines = valid.unwrap_or_default().iter().filter(|byte| **byte == b'\n');
            DomainError::Line { domain: domain.to_owned(), line: lines.count() + 1 }
        })
    }
}

/// What an error of the HTTP client says about the domain.
fn failed(domain: &str, error: &ureq::Error) -> DomainError {
    let domain = domain.to_owned();
    match error {
        ureq::Error::Timeout(_) => DomainError::TooSlow(domain),
        ureq::Error::HostNotFound => DomainError::NoServer(domain),
        ureq::Error::BodyExceedsLimit(_) => DomainError::TooLarge(domain),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => DomainError::Certificate(domain),
        ureq::Error::Other(other) if other.is::<address::NotPublic>() => {
            DomainError::NotPublic(domain)
        }
        ureq::Error::Io(error) => match error.kind() {
            // What rustls finds wrong comes out of the stream as invalid data.
            io::ErrorKind::InvalidData => DomainError::Certificate(domain),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => DomainError::TooSlow(domain),
            _ => DomainError::Unreachable(domain),
        },
        _ => DomainError::Unreachable(domain),
    }
}

#[cfg(test)]
mod tests;
