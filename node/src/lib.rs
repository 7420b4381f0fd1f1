//! The Tallystick node: storage, network, import, search and the `tally` command.
pub mod network;
