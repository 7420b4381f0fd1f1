//! Formats, proofs and the replication state machine of Tallystick.
//!
//! Pure: no I/O, no clock, no randomness, no async, and only ordered
//! collections, so that everything here can be simulated and verified anywhere.
//!
//! From the ground up:
//!
//! - bounds and names: [`limits`], [`time`], [`id`]; bytes: [`cbor`]; keys: [`key`];
//! - what is said: [`record`] (typed documents) becomes a [`body`] (named, salted
//!   fields), which the header of an [`entry`] commits to;
//! - what vouches for it: [`log`] (the RFC 6962 tree over headers), [`checkpoint`]
//!   (its signed head, a C2SP [`note`]), [`witness`] (who else saw it, and when),
//!   [`proof`] (a record to be verified offline);
//! - who says it: [`identity`] (the chain of key events), [`card`] (its visiting card), what it
//!   claims ([`organisation`]: identifiers in public registers; [`name`]) and what stands
//!   behind that ([`confirmation`], [`endorsement`]);
//! - what is taken back: [`erasure`] (values that every holder deletes);
//! - who shares in private: [`group`] (membership, epochs, sealing, invitations);
//! - what convicts: [`equivocation`] (evidence that somebody signed two histories);
//! - how it spreads: [`sync`], the state machine that the node drives.
//!
//! Data goes one way: bytes → `Unverified…` → verified → machine → outputs. The
//! types on both sides of a check differ, and the check is the only way across.

mod armour;
pub mod body;
pub mod card;
pub mod cbor;
pub mod checkpoint;
pub mod confirmation;
pub mod endorsement;
pub mod entry;
pub mod equivocation;
pub mod erasure;
pub mod group;
pub mod id;
pub mod identity;
pub mod key;
pub mod limits;
pub mod log;
pub mod name;
pub mod note;
pub mod organisation;
pub mod proof;
pub mod record;
#[cfg(test)]
mod secrecy;
pub mod sync;
pub mod time;
pub mod witness;
