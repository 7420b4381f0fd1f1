//! Runnable programs against Tallystick's public API.
//!
//! | program | shows | needs |
//! |---|---|---|
//! | [`verify_offline`] | an auditor judges a proof file, and changed ones | protocol |
//! | [`withhold_a_price`] | a record is proved, its price is not shown | protocol |
//! | [`two_councils`] | two nodes become partners, one finds what the other publishes | node |
//!
//! Run one with `cargo run -p tallystick-examples --example NAME`. What each
//! does is a function here, so that tests run the same. Every authority,
//! supplier and number is made up. Deliberately absent: everything that only
//! the examples would need; [`council`] is what they share.

pub mod council;
pub mod two_councils;
pub mod verify_offline;
pub mod withhold_a_price;

/// What an example ends with.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
