//! The Tallystick node: storage, network, import, search and the `tally` command.

pub mod api;
pub mod author;
pub mod cli;
pub mod config;
pub mod driver;
pub mod failure;
pub mod ingest;
pub mod keys;
pub mod network;
pub mod partner;
pub mod projector;
pub mod reference;
pub mod register;
pub mod search;
pub mod service;
pub mod store;
pub mod telemetry;
