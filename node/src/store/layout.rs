//! How numbers, log ids and heads are laid out in the store's own files.
//!
//! Big-endian and fixed-width, so that keys sort as the numbers do. Nothing
//! here is signed, hashed or sent: only this program reads it, under the format
//! number of the data directory. Deliberately absent: anything self-describing.

use tallystick_protocol::id::{AuthorityId, GroupId, Hash, LogId, Space};

use super::SignedHead;

/// A cursor over bytes; every method is `None` once the bytes do not fit.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    consumed: usize,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, consumed: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes read so far.
    pub(super) const fn consumed(&self) -> usize {
        self.consumed
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.consumed += len;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn hash(&mut self) -> Option<Hash> {
        self.array().map(Hash::from_bytes)
    }

    /// Bytes behind their length in four bytes.
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.bytes(len)
    }

    pub(super) fn log(&mut self) -> Option<LogId> {
        let authority = AuthorityId::from_bytes(self.array()?);
        let space = match self.u8()? {
            0 => Space::Public,
            1 => Space::Group(GroupId::from_bytes(self.array()?)),
            _ => return None,
        };
        Some(LogId { authority, space, generation: self.u32()? })
    }

    /// What [`put_head`] wrote.
    pub(super) fn head(&mut self) -> Option<Option<SignedHead>> {
        match self.u8()? {
            0 => Some(None),
            1 => {
                let (size, root) = (self.u64()?, self.hash()?);
                Some(Some(SignedHead { size, root, note: self.long()?.to_vec() }))
            }
            _ => None,
        }
    }
}

pub(super) fn put_log(out: &mut Vec<u8>, log: &LogId) {
    out.extend_from_slice(log.authority.as_bytes());
    match log.space {
        Space::Public => out.push(0),
        Space::Group(group) => {
            out.push(1);
            out.extend_from_slice(group.as_bytes());
        }
    }
    out.extend_from_slice(&log.generation.to_be_bytes());
}

/// Writes `bytes` behind their length; longer than four bytes can say is cut,
/// which every bound of the callers excludes by far.
pub(super) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend(bytes.iter().take(at(u64::from(len))));
}

pub(super) fn put_head(out: &mut Vec<u8>, head: Option<&SignedHead>) {
    let Some(head) = head else {
        out.push(0);
        return;
    };
    out.push(1);
    out.extend_from_slice(&head.size.to_be_bytes());
    out.extend_from_slice(head.root.as_bytes());
    put_long(out, &head.note);
}

/// An index into memory; beyond the address space nothing is there to be found.
pub(super) fn at(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> impl Strategy<Value = Option<SignedHead>> {
        let some = (any::<u64>(), any::<[u8; 32]>(), proptest::collection::vec(any::<u8>(), 0..40));
        proptest::option::of(some).prop_map(|head| {
            head.map(|(size, root, note)| SignedHead { size, root: Hash::from_bytes(root), note })
        })
    }

    proptest! {
        #[test]
        fn log_ids_and_heads_round_trip_and_do_not_survive_a_cut(
            authority in any::<[u8; 32]>(),
            group in proptest::option::of(any::<[u8; 32]>()),
            generation in any::<u32>(),
            head in head(),
            cut in any::<usize>(),
        ) {
            let space = group.map_or(Space::Public, |id| Space::Group(GroupId::from_bytes(id)));
            let authority = AuthorityId::from_bytes(authority);
            let log = LogId { authority, space, generation };
            let mut bytes = Vec::new();
            put_log(&mut bytes, &log);
            put_head(&mut bytes, head.as_ref());
            let mut fields = Fields::new(&bytes);
            prop_assert_eq!((fields.log(), fields.head()), (Some(log), Some(head)));
            prop_assert!(fields.is_empty());
            prop_assert_eq!(fields.consumed(), bytes.len());
            let mut short = Fields::new(&bytes[..cut % bytes.len()]);
            prop_assert!(short.log().and_then(|_| short.head()).is_none());
        }
    }
}
