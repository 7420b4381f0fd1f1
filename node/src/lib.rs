//! The Tallystick node: storage, network, import, search and the `tally` command.
//!
//! A thin driver around `tallystick_protocol`: it decides nothing about what is
//! valid or who said it. From the wire to the screen:
//!
//! - [`network`] (libp2p as a pipe) and [`store`] (replica, journal) are moved by
//!   [`driver`], the one event loop around the protocol's machine;
//! - [`projector`] follows the replica and keeps [`register`] and [`search`];
//!   [`opener`] opens for them what is sealed for groups of which this node is a member;
//!   [`mod@reference`] holds public notices of others, which never leave this node;
//! - [`cosigner`] is the witness at work, [`publication`] shows it and the own
//!   public logs to everybody, [`witnesses`] asks others to cosign our own;
//! - [`ingest`] reads foreign files, [`author`] makes entries of them;
//! - [`service`] is everything a node does for its own people, [`api`] offers it on
//!   loopback, [`cli`] is the command; [`config`], [`keys`], [`partner`],
//!   [`telemetry`] and [`failure`] serve them all.
//!
//! **Invariant:** what reads for people reads projections; what writes submits
//! commands. Nothing else writes.

pub mod acquaintance;
pub mod api;
pub mod author;
pub mod cli;
pub mod config;
pub mod cosigner;
pub mod domain;
pub mod draft;
pub mod driver;
pub mod failure;
pub mod hold;
#[cfg(test)]
mod https_server;
pub mod ingest;
pub mod keys;
pub mod network;
pub mod opener;
pub mod partner;
pub mod projector;
pub mod publication;
pub mod reference;
pub mod register;
pub mod search;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod witnesses;
