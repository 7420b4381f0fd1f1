//! Dialling through an HTTP proxy: the CONNECT method (RFC 9110 §9.3.6).
//!
//! Many councils let nothing out but a proxy, and that only by CONNECT to few
//! TCP ports. A [`Tunnel`] asks the proxy for the partner's address and is a TCP
//! connection from then on; what runs inside is authenticated and encrypted by
//! Noise as always, so the proxy learns addresses and amounts, nothing else.
//! Names are resolved by the proxy, since those behind it often cannot.
//!
//! **Invariants:** nothing is dialled past the proxy; its answer has at most
//! [`HEAD_BYTES`] and [`ANSWER_TIME`] to come. Deliberately absent: proxies that
//! want NTLM or Kerberos, and the variables `HTTPS_PROXY` and the like: how a
//! service reaches its partners is not to change by what it inherits.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::failure::Failure;
use base64::Engine as _;
use futures::future::{BoxFuture, Pending};
use libp2p::Multiaddr;
use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::tcp::tokio::TcpStream;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest head of an answer that is read, in bytes.
const HEAD_BYTES: usize = 8 << 10;
/// How long the proxy may take to connect us; less than libp2p gives a whole dial.
const ANSWER_TIME: Duration = Duration::from_secs(8);
/// Longest URL of a proxy, in bytes.
const URL_BYTES: usize = 1 << 10;

/// The HTTP proxy by which other nodes are dialled: `http://[USER:PASSWORD@]HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Proxy {
    /// A name or an IP address, IPv6 without brackets.
    host: String,
    port: u16,
    /// Name and password as they stand in the request, if there are any.
    credentials: Option<String>,
}

/// Why a text does not name a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP proxy of the form http://[USER:PASSWORD@]HOST:PORT")]
pub struct ProxyError;

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let rest = text.strip_prefix("http://").filter(|_| text.len() <= URL_BYTES);
        let rest = rest.ok_or(ProxyError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = address.rsplit_once(':').ok_or(ProxyError)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ProxyError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().map_err(|_| ProxyError)?.to_string(),
            None => host.to_owned(),
        };
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || (bare.is_none() && !host.chars().all(letter)) {
            return Err(ProxyError);
        }
        let credentials = user.map(|user| {
            let user = percent_decoded(user).filter(|user| user.contains(&b':'));
            user.map(|user| base64::engine::general_purpose::STANDARD.encode(user))
        });
        let credentials = match credentials {
            Some(None) => return Err(ProxyError),
            Some(credentials) => credentials,
            None => None,
        };
        Ok(Self { host, port, credentials })
    }
}

impl TryFrom<String> for Proxy {
    type Error = ProxyError;

    fn try_from(text: String) -> Result<Self, ProxyError> {
        text.parse()
    }
}

/// Without name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", authority(&self.host, self.port))
    }
}

/// Without name and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Host and port as URLs and requests have them.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// RFC 3986 §2.1; `None` if a percent sign is not followed by two hexadecimal digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// Host and port of a TCP address; `None` for anything else.
fn target(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => ip.to_string(),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    // A name goes into the request as it is, so it must not end a line there.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let Some(Protocol::Tcp(port)) = parts.next().filter(|_| host.chars().all(plain)) else {
        return None;
    };
    match (parts.next(), parts.next()) {
        (None, _) | (Some(Protocol::P2p(_)), None) => Some(authority(&host, port)),
        _ => None,
    }
}

impl Proxy {
    /// The same proxy for requests over HTTP.
    ///
    /// # Errors
    /// A [`Failure`] if its name cannot stand in a URL.
    pub(crate) fn for_http(&self) -> Result<ureq::Proxy, Failure> {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let proxy = ureq::Proxy::builder(ureq::ProxyProtocol::Http).host(&host).port(self.port);
        let credentials = self.credentials.as_ref().and_then(|text| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
        });
        let proxy = match credentials {
            Some((user, password)) => proxy.username(&user).password(&password),
            None => proxy,
        };
        proxy
            .build()
            .map_err(|_| Failure::usage(ProxyError, "correct `proxy` in tally.toml, or --proxy"))
    }

    fn request(&self, target: &str) -> String {
        let credentials = self.credentials.as_ref();
        let credentials = credentials.map(|text| format!("Proxy-Authorization: Basic {text}\r\n"));
        let credentials = credentials.unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n")
    }

    async fn connect(&self, target: &str) -> io::Result<tokio::net::TcpStream> {
        let mut stream = tokio::net::TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(self.request(target).as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        match status(line) {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(io::Error::other("the proxy wants a name and a password")),
            Some(status) => {
                Err(io::Error::other(format!("the proxy refuses, with status {status}")))
            }
            None => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy does not speak HTTP"))
            }
        }
    }
}

/// The status code of an answer's first line.
fn status(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line).ok()?;
    let mut parts = text.strip_prefix("HTTP/1.")?.split(' ');
    let _minor = parts.next()?;
    parts.next().filter(|code| code.len() == 3)?.parse().ok()
}

/// Reads up to the empty line, and not a byte of what comes after it.
async fn read_head(stream: &mut tokio::net::TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let seen = stream.peek(&mut chunk).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend(chunk.iter().take(seen));
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|start| start + 4);
        head.truncate(end.unwrap_or(head.len()));
        if head.len() > HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the proxy's answer is too long",
            ));
        }
        let taken = chunk.get_mut(..head.len() - before).unwrap_or_default();
        stream.read_exact(taken).await?;
        if end.is_some() {
            return Ok(head);
        }
    }
}

/// A transport that dials TCP addresses through a proxy, and does not listen.
pub(super) struct Tunnel(Arc<Proxy>);

impl Tunnel {
    pub(super) fn new(proxy: &Proxy) -> Self {
        Self(Arc::new(proxy.clone()))
    }
}

impl Transport for Tunnel {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Pending<io::Result<TcpStream>>;
    type Dial = BoxFuture<'static, io::Result<TcpStream>>;

    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let target = target(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        let proxy = Arc::clone(&self.0);
        Ok(Box::pin(async move {
            let connected = tokio::time::timeout(ANSWER_TIME, proxy.connect(&target)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "the proxy does not answer");
            match connected.unwrap_or_else(|_| Err(late())) {
                Ok(stream) => Ok(TcpStream(stream)),
                Err(error) => {
                    // Without it nothing works, so whoever reads the log is to see why.
                    tracing::warn!(%proxy, %target, %error, "cannot connect through the proxy");
                    Err(error)
                }
            }
        }))
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn proxy(text: &str) -> Result<Proxy, ProxyError> {
        text.parse()
    }

    #[test]
    fn proxies_are_http_urls_with_a_port() {
        let plain = proxy("http://proxy.example:3128").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("proxy.example", 3128));
        assert_eq!(proxy("http://proxy.example:3128/").unwrap(), plain);
        assert_eq!(proxy("http://[::1]:8080").unwrap().to_string(), "http://[::1]:8080");
        for bad in [
            "proxy.example:3128",
            "https://proxy.example:3128",
            "socks5://proxy.example:3128",
            "http://proxy.example",
            "http://proxy.example:0",
            "http://proxy.example:99999",
            "http://:3128",
            "http://proxy.example:3128/path",
            "http://one\r\ntwo:3128",
            "http://user@proxy.example:3128",
            "http://user:%zz@proxy.example:3128",
            "http://[::1:8080",
        ] {
            assert_eq!(proxy(bad), Err(ProxyError), "{bad}");
        }
        assert_eq!(proxy(&format!("http://{}:1", "a".repeat(URL_BYTES))), Err(ProxyError));
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        // RFC 7617 §2 has this user and password and their encoding.
        let proxy = proxy("http://Aladdin:open%20sesame@proxy.example:3128").unwrap();
        let request = proxy.request("192.0.2.7:443");
        assert!(
            request.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n")
        );
        assert!(request.starts_with("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
        assert_eq!(format!("{proxy} {proxy:?}").matches("Aladdin").count(), 0);
    }

    #[test]
    fn only_tcp_addresses_have_a_target() {
        let of = |text: &str| target(&text.parse().unwrap());
        assert_eq!(of("/ip4/192.0.2.7/tcp/443"), Some("192.0.2.7:443".to_owned()));
        assert_eq!(of("/ip6/2001:db8::7/tcp/443"), Some("[2001:db8::7]:443".to_owned()));
        assert_eq!(of("/dns4/tally.example/tcp/443"), Some("tally.example:443".to_owned()));
        assert_eq!(of("/ip4/192.0.2.7/udp/443/quic-v1"), None);
        assert_eq!(of("/ip4/192.0.2.7/tcp/443/ws"), None);
        assert_eq!(of("/dnsaddr/tally.example"), None);
    }

    /// Dials through a proxy that answers with `answer`; gives what follows the answer.
    async fn through(answer: Vec<u8>) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with(b"CONNECT 192.0.2.7:443 HTTP/1.1\r\n"));
            // The other end may have read enough before all is written.
            let _closed = stream.write_all(&answer).await;
        });
        let mut tunnel = Tunnel::new(&url.parse().unwrap());
        let options = DialOpts {
            role: libp2p::core::Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::New,
        };
        let address = "/ip4/192.0.2.7/tcp/443".parse().unwrap();
        let Ok(dial) = tunnel.dial(address, options) else { panic!("not dialled") };
        let TcpStream(mut stream) = dial.await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        served.await.unwrap();
        Ok(rest)
    }

    #[tokio::test]
    async fn what_follows_the_answer_is_left_in_the_stream() {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200\r\nVia: x\r\n\r\n"] {
            let answer = [head.as_bytes(), b"and the partner"].concat();
            assert_eq!(through(answer).await.unwrap(), b"and the partner");
        }
        // Longer than one look into the stream.
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nrest", "a".repeat(5000));
        assert_eq!(through(long.into_bytes()).await.unwrap(), b"rest");
    }

    #[tokio::test]
    async fn refusals_and_nonsense_are_errors() {
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
        for (answer, part) in [
            (b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec(), "status 403"),
            (b"HTTP/1.1 407 No\r\n\r\n".to_vec(), "a name and a password"),
            (b"SSH-2.0-x\r\n\r\n".to_vec(), "does not speak HTTP"),
            (b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(), "does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\n".to_vec(), ""),
            (endless, "too long"),
        ] {
            let error = through(answer).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}, not {part}");
        }
    }
}
