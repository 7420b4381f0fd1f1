//! A node that does whatever hurts: built on libp2p itself, without any of our limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::gossipsub::{self, MessageAuthenticity, ValidationMode};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Hello, Message, News};

use super::fixture::{Council, network};

const SYNC: StreamProtocol = StreamProtocol::new("/tallystick/sync/1");
const CARD: StreamProtocol = StreamProtocol::new("/tallystick/card/1");

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossipsub: gossipsub::Behaviour,
    stream: libp2p_stream::Behaviour,
}

/// What it does, one after the other, with the share of the time each takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attack {
    /// Valid requests as fast as they can be written; the answers are read.
    Requests,
    /// The same, and the answers are not read.
    SlowReading,
    /// News without end, of made-up authorities and stale heads.
    News,
    /// Streams of every protocol, opened and left.
    Streams,
    /// Gossip that is none.
    Gossip,
    /// Frames that are none, and lengths over the limit.
    Garbage,
    /// Connections, one after the other.
    Reconnecting,
}

const PARTNER: [(Attack, u32); 7] = [
    (Attack::Requests, 30),
    (Attack::SlowReading, 10),
    (Attack::News, 10),
    (Attack::Gossip, 15),
    (Attack::Garbage, 15),
    (Attack::Streams, 10),
    (Attack::Reconnecting, 10),
];
const STRANGER: [(Attack, u32); 4] = [
    (Attack::Streams, 30),
    (Attack::Gossip, 20),
    (Attack::Requests, 10),
    (Attack::Reconnecting, 40),
];

type Counts = Arc<BTreeMap<Attack, AtomicU64>>;

/// Attacks until the time is over, and says how much it sent.
pub(crate) fn run(council: &Council, target: Multiaddr, is_partner: bool, time: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let plan: &[_] = if is_partner { &PARTNER } else { &STRANGER };
    let counts: Counts =
        Arc::new(plan.iter().map(|(attack, _)| (*attack, AtomicU64::new(0))).collect());
    runtime.block_on(async {
        let mut swarm = swarm(council);
        let topic = gossipsub::IdentTopic::new(format!("/tallystick/{}/public/1", network()));
        swarm.behaviour_mut().gossipsub.subscribe(&topic).unwrap();
        let mut incoming = swarm.behaviour().stream.new_control().accept(SYNC).unwrap();
        let hello = Message::Hello(Hello {
            network: network(),
            authority: council.authority(),
            run: [7; 16],
            cursor: None,
        });
        for (attack, share) in plan {
            let end = Instant::now() + time * *share / 100;
            let mut peer: Option<PeerId> = None;
            let mut dialling = false;
            let mut tasks = tokio::task::JoinSet::new();
            let mut payload = 0u64;
            while Instant::now() < end {
                if peer.is_none() && !dialling {
                    let options = DialOpts::unknown_peer_id().address(target.clone());
                    dialling = swarm.dial(options.build()).is_ok();
                }
                if *attack == Attack::Gossip && peer.is_some() {
                    for _ in 0..64 {
                        payload += 1;
                        let mut bytes = vec![0xa5; 2_000];
                        bytes[..8].copy_from_slice(&payload.to_be_bytes());
                        if swarm.behaviour_mut().gossipsub.publish(topic.clone(), bytes).is_ok() {
                            counts[attack].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                let pause = tokio::time::sleep(Duration::from_millis(2));
                tokio::select! {
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                            (peer, dialling) = (Some(peer_id), false);
                            if *attack == Attack::Reconnecting {
                                counts[attack].fetch_add(1, Ordering::Relaxed);
                                let _gone = swarm.disconnect_peer_id(peer_id);
                            } else {
                                let control = swarm.behaviour().stream.new_control();
                                tasks.spawn(open(control, peer_id, *attack, hello.clone(), counts.clone()));
                            }
                        }
                        SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                            peer = None;
                            tasks.abort_all();
                        }
                        SwarmEvent::OutgoingConnectionError { .. } => dialling = false,
                        _ => {}
                    },
                    Some((_, stream)) = incoming.next() => {
                        tasks.spawn(use_stream(stream, *attack, hello.clone(), counts.clone()));
                    }
                    () = pause => {}
                }
            }
            tasks.abort_all();
            if let Some(peer) = peer {
                let _gone = swarm.disconnect_peer_id(peer);
            }
        }
    });
    println!("sent as {}: {counts:?}", if is_partner { "partner" } else { "stranger" });
}

fn swarm(council: &Council) -> Swarm<Behaviour> {
    let seed = council.config(Vec::new()).node_key;
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(seed.to_vec()).unwrap();
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .flood_publish(true)
        .build()
        .unwrap();
    let gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Behaviour { gossipsub, stream: libp2p_stream::Behaviour::new() })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

/// Opens streams as the attack wants them.
async fn open(
    mut control: libp2p_stream::Control,
    peer: PeerId,
    attack: Attack,
    hello: Message,
    counts: Counts,
) {
    let many = attack == Attack::Streams;
    let mut kept = Vec::new();
    for number in 0u64.. {
        let protocol = if number % 2 == 0 || !many { SYNC } else { CARD };
        match control.open_stream(peer, protocol).await {
            Ok(stream) if many => {
                counts[&attack].fetch_add(1, Ordering::Relaxed);
                kept.push(stream);
                kept.truncate(200);
            }
            Ok(stream) => use_stream(stream, attack, hello.clone(), counts.clone()).await,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn frame(
    stream: &mut (impl futures::AsyncWrite + Unpin),
    bytes: &[u8],
) -> std::io::Result<()> {
    stream.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).await?;
    stream.write_all(bytes).await
}

/// Misuses one sync stream until it ends.
async fn use_stream(stream: libp2p::Stream, attack: Attack, hello: Message, counts: Counts) {
    let (mut reader, mut writer) = stream.split();
    let reading = async {
        let mut sink = vec![0; 1 << 16];
        if attack == Attack::SlowReading {
            std::future::pending::<()>().await;
        }
        while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    let writing = async {
        frame(&mut writer, &hello.encode()).await?;
        let log = Council::new(41).log();
        let made_up = if attack == Attack::News { 100..=250 } else { 100..=100 };
        let chains: Vec<_> =
            made_up.map(|number| Council::new(number).identity.events().to_vec()).collect();
        for number in 0u64.. {
            let bytes = match attack {
                Attack::Requests | Attack::SlowReading => {
                    let start = number % 7 * 256;
                    Message::WantEntries { id: number, log, start, end: start + 256 }.encode()
                }
                Attack::News => Message::News(News {
                    cursor: number.to_be_bytes().to_vec(),
                    more: true,
                    identities: chains.clone(),
                    ..News::default()
                })
                .encode(),
                Attack::Garbage if number % 2 == 0 => {
                    writer.write_all(&[0xff; 64]).await?;
                    vec![0xff; 1000]
                }
                _ => vec![0xff; limits::FRAME_BYTES],
            };
            frame(&mut writer, &bytes).await?;
            counts[&attack].fetch_add(1, Ordering::Relaxed);
        }
        std::io::Result::Ok(())
    };
    futures::pin_mut!(reading, writing);
    if attack == Attack::SlowReading {
        let _ended = writing.await;
    } else {
        let _ended = futures::future::select(reading, writing).await;
    }
}
