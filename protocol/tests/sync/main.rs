//! The replication machine among others of its kind: a small deterministic
//! network with virtual time, lossy gossip, disks that are slow, fail and crash,
//! peers that lie, and an oracle that checks every append by itself.
//!
//! The tests name the invariants of the design that they hold to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]
#![allow(clippy::large_enum_variant, reason = "few of them, and short-lived")]

mod author;
mod catch_up;
mod copies;
mod disk;
mod hostile;
mod live;
mod own_log;
mod random;
mod session;
mod standing;
mod storage;
mod world;
