//! The keys that work from day to day, which a node reads when it starts.

use std::path::Path;

use tallystick_protocol::identity::Identity;
use tallystick_protocol::key::SecretKey;

use super::KEYS_DIR;
use super::file::{Purpose, read_key};
use crate::failure::Failure;

/// The secrets that a running node works with.
#[derive(Debug)]
pub struct NodeKeys {
    /// Signs checkpoints.
    pub log: SecretKey,
    /// Cosigns others' checkpoints.
    pub witness: SecretKey,
    /// The libp2p identity; signs cards.
    pub node: SecretKey,
}

impl NodeKeys {
    /// Reads the keys and checks that they belong to `identity`.
    ///
    /// # Errors
    /// A [`Failure`]: missing, damaged, readable for others, or somebody else's.
    pub fn load(data: &Path, identity: &Identity) -> Result<Self, Failure> {
        let key = |purpose| read_key(&data.join(KEYS_DIR), purpose);
        let keys = Self {
            log: key(Purpose::Log)?,
            witness: key(Purpose::Witness)?,
            node: key(Purpose::Node)?,
        };
        let ours = keys.log.public() == *identity.log_key()
            && identity.node_keys().contains(&keys.node.public());
        if ours {
            return Ok(keys);
        }
        Err(Failure::usage(
            format!("the keys in {} are not those of this identity", data.join(KEYS_DIR).display()),
            "put keys and identity.cbor back from the same backup",
        ))
    }
}
