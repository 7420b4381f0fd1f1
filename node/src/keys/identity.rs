//! The file with the signed identity events: public, and the one thing that
//! says which of the keys beside it count.

use std::io;
use std::path::Path;

use serde_bytes::ByteBuf;
use tallystick_protocol::cbor;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{Identity, IdentityError, UnverifiedChain};
use tallystick_protocol::limits;

use super::IDENTITY_FILE;
use super::file::read_bounded;
use crate::config::forbidden;
use crate::failure::Failure;
use crate::partner::replace;

/// What to do where only the node's user may write.
pub(super) const AS_THE_NODE: &str =
    "use the command as the user that runs the node, for instance with `sudo -u tally`";

/// Reads and verifies the identity in a data directory.
///
/// # Errors
/// A [`Failure`]: not initialised, damaged, or of another network than configured.
pub fn load_identity(data: &Path, network: &NetworkName) -> Result<Identity, Failure> {
    let path = data.join(IDENTITY_FILE);
    let most = (limits::IDENTITY_EVENT_BYTES * limits::IDENTITY_EVENTS) as u64;
    let bytes = read_bounded(&path, most).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::unavailable(
            format!("there is no authority in {}", data.display()),
            "make one with `tally init --name NAME`, or name its directory with --data DIR",
        ),
        _ => forbidden(&path, &error),
    })?;
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{} is damaged ({why})", path.display()),
            "put the file back from a backup; it is public and also on the card partners have",
        )
    };
    let events: Vec<ByteBuf> = cbor::decode(&bytes).map_err(|error| damaged(&error))?;
    let events = events.into_iter().map(ByteBuf::into_vec).collect();
    UnverifiedChain::new(events).verify(network).map_err(|error| match error {
        IdentityError::Network => Failure::usage(
            format!(
                "the authority in {} belongs to another network than {network}",
                data.display()
            ),
            "put the network that was given to `tally init` back into tally.toml",
        ),
        error => damaged(&error),
    })
}

/// Puts an identity in the place of the one in a data directory, durably and whole.
///
/// # Errors
/// A [`Failure`] if the file cannot be written.
pub fn save_identity(data: &Path, identity: &Identity) -> Result<(), Failure> {
    let path = data.join(IDENTITY_FILE);
    let events: Vec<_> = identity.events().iter().cloned().map(ByteBuf::from).collect();
    let bytes = cbor::encode(&events).map_err(Failure::internal)?;
    replace(&path, &bytes).map_err(|error| Failure::unwritten(&path, &error, AS_THE_NODE))
}
