//! Formats, proofs and the replication state machine of Tallystick.
pub mod body;
pub mod card;
pub mod cbor;
pub mod checkpoint;
pub mod entry;
pub mod id;
pub mod identity;
pub mod key;
pub mod limits;
pub mod log;
pub mod note;
pub mod proof;
pub mod record;
pub mod sync;
pub mod time;
