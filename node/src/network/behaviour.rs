//! The libp2p protocols a node speaks, and their limits.

use std::time::Duration;

use libp2p::gossipsub::{self, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Swarm, SwarmBuilder, identify, identity, ping};
use libp2p_connection_limits::ConnectionLimits;
use sha2::{Digest as _, Sha256};
use tallystick_protocol::limits;

use super::door::Door;
use super::{NetworkError, Setup, transport};

/// Streams of one connection whose protocol is being agreed on.
const NEGOTIATING: usize = 16;
/// Gossip messages that wait for one peer; more are not sent to it.
const GOSSIP_WAITING: usize = 1024;
/// How long the name of a message is remembered, so that it is heard once.
const GOSSIP_MEMORY: Duration = Duration::from_secs(30);

/// Every protocol of a node.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) door: Door,
    limits: libp2p_connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) gossipsub: gossipsub::Behaviour,
    pub(super) stream: libp2p_stream::Behaviour,
}

/// A swarm with all transports and protocols, and the topic of the public space.
pub(super) fn swarm(
    setup: &Setup,
) -> Result<(Swarm<Behaviour>, gossipsub::IdentTopic), NetworkError> {
    let failed = |error: &dyn std::fmt::Display| NetworkError::Setup(error.to_string());
    let mut seed = setup.node_seed.clone();
    let keypair = identity::Keypair::ed25519_from_bytes(&mut *seed).map_err(|e| failed(&e))?;
    let topic = gossipsub::IdentTopic::new(format!("/tallystick/{}/public/1", setup.network));
    let mut gossipsub = gossip().map_err(|e| failed(&e))?;
    gossipsub.subscribe(&topic).map_err(|e| failed(&e))?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_other_transport(|keypair| transport::transport(keypair, setup.proxy.as_ref()))
        .map_err(|e| failed(&e))?
        .with_behaviour(|key| Behaviour {
            door: Door::default(),
            limits: libp2p_connection_limits::Behaviour::new(connection_limits()),
            identify: identify::Behaviour::new(
                identify::Config::new("/tallystick/1".into(), key.public())
                    .with_agent_version(concat!("tallystick/", env!("CARGO_PKG_VERSION")).into()),
            ),
            ping: ping::Behaviour::default(),
            gossipsub,
            stream: libp2p_stream::Behaviour::new(),
        })
        .map_err(|e| failed(&e))?
        .with_swarm_config(|config| {
            // Partners stay connected; strangers are shown out by the network task.
            config
                .with_idle_connection_timeout(Duration::from_secs(u64::MAX / 1_000))
                .with_max_negotiating_inbound_streams(NEGOTIATING)
        })
        .build();
    Ok((swarm, topic))
}

fn connection_limits() -> ConnectionLimits {
    let peers = u32::try_from(limits::PEERS).unwrap_or(u32::MAX);
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(64))
        .with_max_established(Some(2 * peers))
        .with_max_established_per_peer(Some(3))
}

/// Messages are anonymous to gossipsub (the checkpoint inside is signed) and
/// named by their content, so that the same announcement travels once.
fn gossip() -> Result<gossipsub::Behaviour, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .max_transmit_size(limits::GOSSIP_BYTES + 1024)
        .flood_publish(true)
        .connection_handler_queue_len(GOSSIP_WAITING)
        .duplicate_cache_time(GOSSIP_MEMORY)
        .message_id_fn(|message| {
            MessageId::from(<[u8; 32]>::from(Sha256::digest(&message.data)).to_vec())
        })
        .build()
        .map_err(|error| error.to_string())?;
    gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(Into::into)
}
