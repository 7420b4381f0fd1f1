//! Keys of the replica's tree: see the table of [`super`].

use tallystick_protocol::equivocation::EvidenceKind;
use tallystick_protocol::id::{AuthorityId, LogId};

use crate::store::evidence::Slot;
use crate::store::layout::{Fields, put_log};

pub(super) const META: u8 = 0;
pub(super) const PAGE: u8 = 1;
pub(super) const TILE: u8 = 2;
pub(super) const LOG: u8 = 3;
pub(super) const EVENT: u8 = 4;
pub(super) const IDENTITY: u8 = 5;
pub(super) const CURSOR: u8 = 6;
pub(super) const VALUE: u8 = 7;
pub(super) const PIECE: u8 = 8;
pub(super) const BRANCH: u8 = 9;
pub(super) const EVIDENCE: u8 = 10;

/// Format of the replica, four bytes.
pub(super) const FORMAT: &[u8] = &[META, b'f'];
/// Random name of the replica, sixteen bytes.
pub(super) const INCARNATION: &[u8] = &[META, b'i'];

pub(super) fn page(number: u32, page: u64) -> [u8; 13] {
    numbered(PAGE, number, page)
}

pub(super) fn tile(number: u32, tile: u64) -> [u8; 13] {
    numbered(TILE, number, tile)
}

fn numbered(prefix: u8, number: u32, index: u64) -> [u8; 13] {
    let mut key = [prefix; 13];
    let (_, rest) = key.split_at_mut(1);
    let (first, second) = rest.split_at_mut(4);
    first.copy_from_slice(&number.to_be_bytes());
    second.copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn log(log: &LogId) -> Vec<u8> {
    let mut key = vec![LOG];
    put_log(&mut key, log);
    key
}

/// The log of a key that [`log`] made.
pub(super) fn log_of(key: &[u8]) -> Option<LogId> {
    let mut fields = Fields::new(key.get(1..)?);
    fields.log().filter(|_| fields.is_empty())
}

pub(super) fn branch(log: &LogId, number: u32) -> Vec<u8> {
    let mut key = vec![BRANCH];
    put_log(&mut key, log);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The log and the number of a key that [`branch`] made.
pub(super) fn branch_of(key: &[u8]) -> Option<(LogId, u32)> {
    let mut fields = Fields::new(key.get(1..)?);
    fields.log().zip(fields.u32()).filter(|_| fields.is_empty())
}

pub(super) fn of_authority(prefix: u8, authority: &AuthorityId) -> [u8; 33] {
    let mut key = [prefix; 33];
    let (_, rest) = key.split_at_mut(1);
    rest.copy_from_slice(authority.as_bytes());
    key
}

/// The authority of a key that [`of_authority`] made.
pub(super) fn authority(key: &[u8]) -> Option<AuthorityId> {
    AuthorityId::try_from(key.get(1..)?).ok()
}

pub(super) fn event(authority: &AuthorityId, number: u16) -> [u8; 35] {
    let mut key = [EVENT; 35];
    let (start, end) = key.split_at_mut(33);
    start.copy_from_slice(&of_authority(EVENT, authority));
    end.copy_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn evidence(slot: &Slot) -> Vec<u8> {
    let mut key = of_authority(EVIDENCE, &slot.authority).to_vec();
    key.push(slot.kind as u8);
    key.extend_from_slice(&slot.place.to_be_bytes());
    key.push(slot.number);
    key
}

/// The slot of a key that [`evidence`] made.
pub(super) fn slot(key: &[u8]) -> Option<Slot> {
    let mut fields = Fields::new(key.get(1..)?);
    let authority = AuthorityId::from_bytes(fields.array()?);
    let kind = fields.u8()?;
    let kind = EvidenceKind::ALL.into_iter().find(|known| *known as u8 == kind)?;
    let (place, number) = (fields.u32()?, fields.u8()?);
    fields.is_empty().then_some(Slot { authority, kind, place, number })
}

pub(super) fn value(key: &[u8]) -> Vec<u8> {
    [&[VALUE], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_numbers_do() {
        let numbers = [0, 1, 15, 16, 255, 256, 65_535, 1 << 32, u64::MAX];
        assert!(numbers.windows(2).all(|pair| page(7, pair[0]) < page(7, pair[1])));
        assert!(page(7, u64::MAX) < page(8, 0));
        assert!(tile(0, 0) > page(u32::MAX, u64::MAX));
    }
}
