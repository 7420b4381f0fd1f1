//! Formats, proofs and the replication state machine of Tallystick.
pub mod body;
pub mod cbor;
pub mod id;
pub mod limits;
pub mod record;
pub mod log;
pub mod time;
