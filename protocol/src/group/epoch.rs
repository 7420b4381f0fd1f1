//! Epochs: periods of a group's life with one secret each.
//!
//! The `epoch` operation of a control entry is deterministic CBOR:
//!
//! ```text
//! [nonce, commitment to the secret, [[earlier epoch, its sealed secret], …],
//!  [[authority, suite, key id, sealed secret], …]]
//! ```
//!
//! Links ascend by epoch, recipients by authority. A suite is the KEM, KDF and
//! AEAD identifiers of RFC 9180, two bytes each; a key id is the first eight
//! bytes of SHA-256 over the recipient's KEM identifier and public key.
//!
//! **Invariant:** an [`EpochOpening`] names each recipient and each earlier epoch
//! once.

use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorityId, EpochId};
use crate::limits;

use super::operation::{ControlError, exactly};

/// Bytes of an earlier epoch's secret under the new one: the secret and a tag.
pub(super) const LINK_BYTES: usize = 48;

/// The secret of an earlier epoch, sealed under the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which epoch.
    pub epoch: EpochId,
    /// Its secret and a tag.
    pub(super) sealed: [u8; LINK_BYTES],
}

/// One copy of an epoch's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whose it is.
    pub authority: AuthorityId,
    /// How it is sealed: KEM, KDF and AEAD of RFC 9180, two bytes each.
    pub suite: [u8; 6],
    /// To which of the recipient's keys.
    pub key_id: [u8; 8],
    /// Encapsulated key and ciphertext.
    pub(super) sealed: Vec<u8>,
}

/// What opens an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOpening {
    pub(super) nonce: [u8; 32],
    pub(super) commitment: [u8; 32],
    pub(super) links: Vec<Link>,
    pub(super) copies: Vec<Copy>,
}

impl EpochOpening {
    /// Who can open it, ascending.
    pub fn recipients(&self) -> impl Iterator<Item = AuthorityId> {
        self.copies.iter().map(|copy| copy.authority)
    }

    /// The copies, ascending by recipient.
    #[must_use]
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// Earlier epochs whose secrets it gives to its recipients, ascending.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let room = self.copies.iter().map(|copy| copy.sealed.len() + 64).sum::<usize>();
        let mut w = Writer::with_capacity(room + 96 * self.links.len() + 128);
        w.array(4).bytes(&self.nonce).bytes(&self.commitment).array(self.links.len());
        for link in &self.links {
            w.array(2).bytes(link.epoch.as_bytes()).bytes(&link.sealed);
        }
        w.array(self.copies.len());
        for copy in &self.copies {
            w.array(4).bytes(copy.authority.as_bytes()).bytes(&copy.suite);
            w.bytes(&copy.key_id).bytes(&copy.sealed);
        }
        w.finish()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ControlError> {
        exactly(reader, 4)?;
        let (nonce, commitment) = (reader.array_of()?, reader.array_of()?);
        let count = reader.array(limits::EPOCH_LINKS)?;
        let links = (0..count).map(|_| read_link(reader)).collect::<Result<Vec<_>, _>>()?;
        if !links.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(ControlError::Rule("an epoch links to each earlier one once, in order"));
        }
        let count = reader.array(limits::GROUP_MEMBERS)?;
        let copies = (0..count).map(|_| read_copy(reader)).collect::<Result<Vec<_>, _>>()?;
        if copies.is_empty() || !copies.is_sorted_by(|a, b| a.authority < b.authority) {
            return Err(ControlError::Rule("an epoch names each recipient once, in order"));
        }
        Ok(Self { nonce, commitment, links, copies })
    }
}

fn read_link(reader: &mut Reader<'_>) -> Result<Link, CborError> {
    exactly(reader, 2)?;
    Ok(Link { epoch: EpochId::from_bytes(reader.array_of()?), sealed: reader.array_of()? })
}

fn read_copy(reader: &mut Reader<'_>) -> Result<Copy, CborError> {
    exactly(reader, 4)?;
    let authority = AuthorityId::from_bytes(reader.array_of()?);
    let (suite, key_id) = (reader.array_of()?, reader.array_of()?);
    let sealed = reader.bytes(limits::SEALED_SECRET_BYTES)?.to_vec();
    Ok(Copy { authority, suite, key_id, sealed })
}
