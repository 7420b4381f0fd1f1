//! Formats, proofs and the replication state machine of Tallystick.
pub mod cbor;
pub mod id;
pub mod limits;
pub mod time;
