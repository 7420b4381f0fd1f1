//! The replication machine among others of its kind, in virtual time.
//!
//! ```text
//!  schedule   what happens next, by (time, sequence)    chance   the one source of it
//!  world      nodes and links; hands events to machines and carries out what they say
//!  ├ node     machine, disk, clock        ├ link       latency, jitter, loss, bandwidth
//!  ├ disk     what survives a crash       ├ topology   who is connected, partitions
//!  ├ clock    drift and jumps             ├ gossip     mesh, copies
//!  └ hostile  what liars say and do       └ archive    every state of a log, kept once
//!  oracle     invariants of the design, after every step        └ audience  the third
//!  club       what people do about a private group
//!  measure    what it cost, and what happened
//!  scenario   mixed faults by seed; groups; growth of a healthy network   report   its table
//! ```
//!
//! It drives [`tallystick_protocol::sync::Machine`] itself, not a model of it:
//! everything around the machine is simulated, and the machine cannot tell.
//!
//! **Invariants:** the same seed gives the same run, to the byte; nothing here is
//! part of a node. A fault of the machine ends the run with a panic, and
//! [`scenario`] says with which seed it comes again. Deliberately absent: real
//! time, threads within a run, and what libp2p does inside a connection.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulator is a test: it ends at the first fault, loudly"
)]
#![allow(clippy::cast_possible_truncation, reason = "sizes and counts here are small")]
#![allow(clippy::large_enum_variant, reason = "few of them, and short-lived")]

pub mod archive;
pub mod audience;
pub mod authority;
pub mod chance;
pub mod clock;
pub mod club;
pub mod disk;
pub mod gossip;
pub mod hostile;
pub mod link;
pub mod measure;
pub mod node;
pub mod oracle;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod topology;
pub mod world;
