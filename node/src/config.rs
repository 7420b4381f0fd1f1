//! Where a node lives and how it is set up.
//!
//! [`Place`] says which directory holds the data and which file the
//! configuration: what `--data` or `TALLY_DATA` names; else `/var/lib/tally` if
//! there is one, with `/etc/tally/tally.toml` if there is `/etc/tally`; else the
//! platform's directory for user data. [`Config`] is that file, `tally.toml`:
//! every key has a default, and an unknown key is refused, because it is a
//! misspelling. Deliberately absent: secrets, and anything a command decides.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::Deserialize;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::limits;

use crate::failure::Failure;
use crate::network::Proxy;
use crate::store::StoreOptions;
use crate::witnesses::OutsideWitness;

/// Name of the configuration file.
pub const CONFIG_FILE: &str = "tally.toml";
/// Largest configuration file that is read, in bytes.
const CONFIG_BYTES: u64 = 1 << 20;
const SERVICE_DATA: &str = "/var/lib/tally";
const SERVICE_CONFIG: &str = "/etc/tally";

/// Where a node's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    data: PathBuf,
    config: PathBuf,
}

impl Place {
    /// The place that `--data` or `TALLY_DATA` names, or the default one.
    ///
    /// # Errors
    /// A [`Failure`] if nothing is named and the platform has no place for user data.
    pub fn find(data: Option<&Path>) -> Result<Self, Failure> {
        if let Some(data) = data {
            return Ok(Self::at(data));
        }
        if Path::new(SERVICE_DATA).is_dir() {
            return Ok(Self::at(Path::new(SERVICE_DATA)));
        }
        let dirs = directories::ProjectDirs::from("", "", "tally").ok_or_else(|| {
            Failure::usage(
                "this user has no home directory to keep the node's data in",
                "name a directory with --data DIR or TALLY_DATA",
            )
        })?;
        Ok(Self::at(dirs.data_dir()))
    }

    /// The place with this data directory. The configuration is in it, except
    /// for a service whose package has made a directory for configurations.
    #[must_use]
    pub fn at(data: &Path) -> Self {
        let service = data == Path::new(SERVICE_DATA) && Path::new(SERVICE_CONFIG).is_dir();
        let config = if service { Path::new(SERVICE_CONFIG) } else { data };
        Self { data: data.to_owned(), config: config.join(CONFIG_FILE) }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A file or directory in the data directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// The configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The network it belongs to.
    pub network: NetworkName,
    /// Where it waits for other nodes.
    pub listen: Vec<Multiaddr>,
    /// The addresses it puts on its card; if none, those it listens on.
    pub announce: Vec<Multiaddr>,
    /// The HTTP proxy by which it reaches other nodes; none: it dials them itself.
    pub proxy: Option<Proxy>,
    /// Where it waits for commands on this machine; port 0 lets the system choose.
    pub http: SocketAddr,
    /// Where it shows its public logs to everybody and cosigns others'; none: nowhere.
    pub publish_http: Option<SocketAddr>,
    /// Outside witnesses that are asked to cosign our own log.
    pub witness_urls: Vec<OutsideWitness>,
    /// Whether nodes that are not partners may connect.
    pub accept_anyone: bool,
    /// Whether partners' domains are asked for their proofs, and asked again every week.
    pub check_domains: bool,
    /// How many partners must have said what they know of our own log before
    /// anything is signed. If it is 0, the first one is waited for, where there
    /// are partners, but not for long.
    pub own_head_answers: usize,
    /// Whether nobody is waited for; only the command line can say so.
    #[serde(skip)]
    pub sign_alone: bool,
    /// Entries of each other authority's log that are fetched; of what lies
    /// beyond only heads are kept.
    pub quota_entries: u64,
    /// The same in mebibytes of headers and bodies.
    pub quota_mib: u32,
    /// Memory for the replica, in mebibytes.
    pub replica_cache_mib: u32,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, or a
    /// filter of `tracing`; the variable `TALLY_LOG` comes first.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        let known = "the default has been checked by a test";
        Self {
            network: "tallystick".parse().expect(known),
            listen: vec!["/ip4/0.0.0.0/tcp/4817".parse().expect(known)],
            announce: Vec::new(),
            proxy: None,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            publish_http: None,
            witness_urls: Vec::new(),
            accept_anyone: false,
            check_domains: true,
            own_head_answers: 0,
            sign_alone: false,
            quota_entries: limits::QUOTA_ENTRIES,
            quota_mib: u32::try_from(limits::QUOTA_BYTES >> 20).unwrap_or(u32::MAX),
            replica_cache_mib: 64,
            log_format: LogFormat::Human,
            log_level: "info".to_owned(),
        }
    }
}

impl Config {
    /// How the store is opened.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions { cache_bytes: u64::from(self.replica_cache_mib.max(1)) << 20 }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read or says something that cannot be.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
        if size > CONFIG_BYTES {
            return Err(Failure::usage(
                format!("{} is too large to be a configuration file", path.display()),
                "put the file that `tally init` wrote back in its place",
            ));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_of(&text, span.start));
            Failure::usage(
                format!("{} line {line}: {}", path.display(), first_line(error.message())),
                "correct the line; the comments in the file say what may stand there",
            )
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types alone do not say.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn check(&self) -> Result<(), Failure> {
        if let Some(address) = self.shared_port() {
            return Err(Failure::usage(
                format!("{address} has the TCP port of another address to listen on"),
                "give each address a port of its own; a WebSocket needs one, too",
            ));
        }
        if self.http.ip().is_loopback() {
            return Ok(());
        }
        Err(Failure::usage(
            format!("the command interface cannot listen on {}", self.http),
            "give a loopback address such as 127.0.0.1:0; it is for commands on this machine only",
        ))
    }

    /// An address whose TCP port stands before, be it as WebSocket or plain. The
    /// system would let both have it, and each get some of the connections.
    fn shared_port(&self) -> Option<&Multiaddr> {
        let start = |address: &Multiaddr| {
            let mut parts = address.iter();
            match (parts.next(), parts.next()) {
                (Some(ip), Some(Protocol::Tcp(port))) if port != 0 => Some((ip.acquire(), port)),
                _ => None,
            }
        };
        let mut seen = Vec::new();
        self.listen.iter().find(|address| {
            start(address).is_some_and(|start| {
                let taken = seen.contains(&start);
                seen.push(start);
                taken
            })
        })
    }

    /// A configuration file with comments, for a new node.
    #[must_use]
    pub fn template(network: &NetworkName) -> String {
        TEMPLATE.replace("{network}", network.as_str())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::unavailable(
            format!("there is no node in {}", path.parent().unwrap_or(path).display()),
            "make one with `tally init --name NAME`, or name its directory with --data DIR",
        ),
        _ => forbidden(path, error),
    }
}

/// A file of the node that cannot be read by whoever asks.
pub(crate) fn forbidden(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("{} cannot be read ({error})", path.display()),
        "use the command as the user that runs the node, for instance with `sudo -u tally`",
    )
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

const TEMPLATE: &str = r#"# A Tallystick node. Changes count from the next start of `tally run`.

# The network this node belongs to. It is part of the identity: do not change it.
network = "{network}"

# Where this node waits for other nodes. Open this port in the firewall, or
# leave the list empty: a node that only dials out works fully as long as its
# partners accept connections.
listen = ["/ip4/0.0.0.0/tcp/4817"]
# listen = ["/ip4/0.0.0.0/tcp/4817", "/ip4/0.0.0.0/udp/4817/quic-v1"]
# As WebSocket, for partners whose firewalls let nothing else through:
# listen = ["/ip4/0.0.0.0/tcp/443/ws"]

# What stands on this node's card, if others reach it by another address.
# announce = ["/dns4/tally.example.gov.uk/tcp/4817"]

# The HTTP proxy by which this node reaches others, if it may not do so itself:
# by the method CONNECT, over TCP only. Nothing is dialled past it.
# proxy = "http://proxy.example.gov.uk:3128"
# proxy = "http://USER:PASSWORD@proxy.example.gov.uk:3128"

# Where commands such as `tally publish` reach the node: loopback only. Port 0
# lets the system choose; the commands find it by the file api.addr.
http = "127.0.0.1:0"

# Where everybody may read this authority's public logs over HTTP (C2SP
# tlog-tiles) and have logs of known authorities cosigned (tlog-witness). Nothing
# else is shown there. Without this line there is no such place. Put a proxy that
# adds TLS in front of it.
# publish_http = "127.0.0.1:4818"

# Witnesses outside this network (C2SP tlog-witness) that are asked to cosign
# every new head of the public log, by the proxy if there is one. The key is what
# they publish as their verifier key; they must have been told the log's key first
# (`logKey` in `tally whoami --json`).
# witness_urls = [
#   { key = "witness.example+1a2b3c4d+BASE64", url = "https://witness.example/" },
# ]

# Whether nodes that are not partners may connect and read the public records.
accept_anyone = false

# Whether this node reads https://DOMAIN/.well-known/tallystick of partners that
# claim a domain, and again every week, by the proxy above if there is one.
# `tally partner check` does so at any time.
check_domains = true

# How many partners must have answered what they know of this authority's own
# log before anything is signed. With 0 the first one is waited for after a start,
# at most ten seconds. Set it to 1 or 2 once there are partners that are always on:
# it protects against signing a second history after a restore.
own_head_answers = 0

# How much of each other authority's log is fetched. Of what lies beyond, only
# the signed head is kept, and `tally status` says so. Raise it, and start the
# node again, to fetch the rest.
quota_entries = 2000000
quota_mib = 4096

# Memory for the replica, in mebibytes.
replica_cache_mib = 64

# "human" or "json", on standard error.
log_format = "human"
# error, warn, info, debug or trace; the variable TALLY_LOG comes first.
log_level = "info"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONFIG_FILE);
        fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn the_template_says_the_defaults() {
        let network = Config::default().network;
        assert_eq!(load(&Config::template(&network)), Ok(Config::default()));
        assert_eq!(load(""), Ok(Config::default()));
    }

    #[test]
    fn mistakes_are_one_sentence_with_their_line() {
        let cases = [
            ("network = \"tallystick\"\nlisten = \"/ip4/0.0.0.0/tcp/1\"\n", "line 2"),
            ("\n\nacept_anyone = true\n", "line 3: unknown field `acept_anyone`"),
            ("listen = [\"0.0.0.0:4817\"]\n", "line 1"),
            ("network = \"Two Words\"\n", "line 1: not a valid network name"),
            ("proxy = \"proxy.example:3128\"\n", "line 1: not an HTTP proxy"),
            (
                "listen = [\"/ip4/0.0.0.0/tcp/4817\", \"/ip4/0.0.0.0/tcp/4817/ws\"]\n",
                "/ip4/0.0.0.0/tcp/4817/ws has the TCP port of another",
            ),
            ("http = \"0.0.0.0:80\"\n", "cannot listen on 0.0.0.0:80"),
            ("= 3\n", "line 1"),
        ];
        for (text, part) in cases {
            let failure = load(text).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(failure.error.contains(part), "{text:?}: {}", failure.error);
            assert!(!failure.error.contains('\n'), "{}", failure.error);
        }
    }

    #[test]
    fn a_directory_without_a_node_is_not_initialised() {
        let failure = Config::load(Path::new("/nonexistent/tally.toml")).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 3);
    }
}
