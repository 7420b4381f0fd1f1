//! Scenarios with a few nodes, each about one thing: catch-up, live news, lies,
//! disks, our own log, sessions, and small random schedules.
//!
//! The tests name the invariants of the design that they hold to. The world
//! checks every append, every message and every acknowledgement besides.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

mod catch_up;
mod copies;
mod erasure;
mod hostile;
mod identity;
mod live;
mod own_log;
mod quota;
mod random;
mod session;
mod sharing;
mod standing;
mod storage;
mod witnessing;
