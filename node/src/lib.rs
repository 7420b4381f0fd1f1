//! The Tallystick node: storage, network, import, search and the `tally` command.
pub mod ingest;
pub mod network;
pub mod store;
