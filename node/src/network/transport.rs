//! How bytes get from node to node: TCP, WebSocket over TCP, and QUIC.
//!
//! ```text
//!   /tcp/N ──────── TCP ─┬───────────────── Noise ── Yamux ─┐
//!   /tcp/N/ws ────── TCP ─┴─ guard ─ WebSocket ── Noise ── Yamux ─┼─► connection
//!   /udp/N/quic-v1 ─ QUIC (TLS with the node's key) ──────────────┘
//! ```
//!
//! With a proxy TCP connections that we make go through it, names included, and
//! QUIC is not dialled; listening stays as it is. Deliberately absent: `/wss`.
//! Noise encrypts and authenticates already, and TLS would hide the frames'
//! lengths from the guard.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, dns, noise, quic, tcp, websocket, yamux};

use super::proxy::{Proxy, Tunnel};
use super::websocket::Guarded;

/// What a transport gives: who it is, and streams to it.
type Connection = (PeerId, StreamMuxerBox);
type Error = Box<dyn std::error::Error + Send + Sync>;

/// The transport of a node.
pub(super) fn transport(
    keypair: &Keypair,
    proxy: Option<&Proxy>,
) -> Result<Boxed<Connection>, Error> {
    let direct = direct(keypair)?;
    let Some(proxy) = proxy else { return Ok(direct) };
    let framed = secure(WithoutTls(websocket(Tunnel::new(proxy))), keypair)?;
    let dial = framed.or_transport(secure(Tunnel::new(proxy), keypair)?);
    let dial = dial.map(|either, _| either.into_inner()).boxed();
    Ok(ListenAndDial { listen: direct, dial }.boxed())
}

fn direct(keypair: &Keypair) -> Result<Boxed<Connection>, Error> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let framed = WithoutTls(websocket(dns::tokio::Transport::system(tcp())?));
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair));
    let quic = quic.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let plain = secure(tcp(), keypair)?.or_transport(quic).map(|either, _| either.into_inner());
    let all = secure(framed, keypair)?.or_transport(dns::tokio::Transport::system(plain)?);
    Ok(all.map(|either, _| either.into_inner()).boxed())
}

/// Who is at the other end, and many streams in one.
fn secure<T>(transport: T, keypair: &Keypair) -> Result<Boxed<Connection>, Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let secure = transport.upgrade(Version::V1Lazy).authenticate(noise::Config::new(keypair)?);
    let many = secure.multiplex(yamux::Config::default());
    Ok(many.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// WebSocket over `transport`, with bounded messages.
fn websocket<T>(transport: T) -> websocket::Config<Boxed<Guarded<T::Output>>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    websocket::Config::new(transport.map(|stream, _| Guarded::new(stream)).boxed())
}

/// Refuses addresses with TLS, which the library would dial.
struct WithoutTls<T>(T);

impl<T: Transport + Unpin> Transport for WithoutTls<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<T::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<T::Dial, TransportError<T::Error>> {
        if address.iter().any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_))) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.0.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Listens by one transport and dials by another.
struct ListenAndDial {
    listen: Boxed<Connection>,
    dial: Boxed<Connection>,
}

impl Transport for ListenAndDial {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Connection> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Connection> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.listen.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listen.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.dial.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        // What only dials has nothing to say between dials.
        Pin::new(&mut self.listen).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::transport::PortUse;

    const OPTIONS: DialOpts =
        DialOpts { role: libp2p::core::Endpoint::Dialer, port_use: PortUse::New };

    fn dials(transport: &mut Boxed<Connection>, address: &str) -> bool {
        !matches!(
            transport.dial(address.parse().unwrap(), OPTIONS),
            Err(TransportError::MultiaddrNotSupported(_))
        )
    }

    #[tokio::test]
    async fn a_proxy_leaves_nothing_that_could_pass_it_by() {
        let proxy: Proxy = "http://192.0.2.1:3128".parse().unwrap();
        let keypair = Keypair::generate_ed25519();
        let mut through = transport(&keypair, Some(&proxy)).unwrap();
        for address in
            ["/ip4/192.0.2.7/tcp/443/ws", "/dns4/a.example/tcp/1", "/ip4/192.0.2.7/tcp/1"]
        {
            assert!(dials(&mut through, address), "{address}");
        }
        assert!(!dials(&mut through, "/ip4/192.0.2.7/udp/4817/quic-v1"));
        let listen = |address: &str| address.parse::<Multiaddr>().unwrap();
        for address in ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
            through.listen_on(ListenerId::next(), listen(address)).unwrap();
        }
    }

    #[tokio::test]
    async fn websockets_with_tls_are_not_dialled() {
        let mut transport = transport(&Keypair::generate_ed25519(), None).unwrap();
        let mut refused = |address: &str| {
            let dial = transport.dial(address.parse().unwrap(), OPTIONS);
            match dial {
                Err(_) => true,
                // Name resolution takes any address and finds out later.
                Ok(dial) => futures::executor::block_on(dial).is_err(),
            }
        };
        assert!(refused("/ip4/127.0.0.1/tcp/1/wss"));
        assert!(refused("/ip4/127.0.0.1/tcp/1/tls/ws"));
    }
}
