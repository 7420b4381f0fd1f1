//! Pages: sixteen neighbouring entries of a log under one key of the replica.
//!
//! One key per entry would cost four times as much in the database. An entry in
//! a page is
//!
//! ```text
//! header length u16 | body u32 | header | body, if it stands here
//! ```
//!
//! where `body` is the length of a body in the page, the length of a body kept
//! apart with the top bit set, or all ones for an absent body. Appending to a
//! page is appending bytes.
//!
//! **Invariant:** a page stays below 128 KiB, because only bodies of up to
//! [`INLINE_BYTES`] stand in it (see [`super::sled`] why that matters).
//! Deliberately absent: checksums; the entries are hashed.

use super::StoreError;
use super::layout::Fields;

/// Entries in a full page.
pub(super) const ENTRIES: u64 = 16;
/// Longest body that stands in the page itself.
pub(super) const INLINE_BYTES: usize = 4096;

const ABSENT: u32 = u32::MAX;
const APART: u32 = 1 << 31;

/// Where the body of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Nowhere: erased, withheld or not yet fetched.
    Absent,
    /// In the page.
    Here(&'a [u8]),
    /// Under keys of its own, with this length.
    Apart(u32),
}

impl<'a> Place<'a> {
    /// Where a body belongs.
    pub(super) fn of(body: Option<&'a [u8]>) -> Result<Self, StoreError> {
        match body {
            None => Ok(Self::Absent),
            Some(body) if body.len() <= INLINE_BYTES => Ok(Self::Here(body)),
            Some(body) => match u32::try_from(body.len()) {
                Ok(len) if len < APART => Ok(Self::Apart(len)),
                _ => Err(StoreError::TooLarge("body")),
            },
        }
    }

    /// Length of the body; zero if it is absent.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Here(body) => body.len(),
            Self::Apart(len) => len as usize,
        }
    }
}

/// One entry of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageEntry<'a> {
    pub(super) header: &'a [u8],
    pub(super) body: Place<'a>,
}

/// Adds an entry to the end of a page.
pub(super) fn push(page: &mut Vec<u8>, header: &[u8], body: Place<'_>) -> Result<(), StoreError> {
    let header_len = u16::try_from(header.len()).map_err(|_| StoreError::TooLarge("header"))?;
    let (code, inline): (u32, &[u8]) = match body {
        Place::Absent => (ABSENT, &[]),
        // At most INLINE_BYTES, so the fallback never applies.
        Place::Here(body) => (u32::try_from(body.len()).unwrap_or(ABSENT), body),
        Place::Apart(len) => (APART | len, &[]),
    };
    page.reserve(6 + header.len() + inline.len());
    page.extend_from_slice(&header_len.to_be_bytes());
    page.extend_from_slice(&code.to_be_bytes());
    page.extend_from_slice(header);
    page.extend_from_slice(inline);
    Ok(())
}

/// The entries of a page in order; the last item is `None` if the page is damaged.
pub(super) fn entries(page: &[u8]) -> impl Iterator<Item = Option<PageEntry<'_>>> {
    let mut fields = Fields::new(page);
    let mut sound = true;
    std::iter::from_fn(move || {
        if fields.is_empty() || !sound {
            return None;
        }
        let entry = read(&mut fields);
        sound = entry.is_some();
        Some(entry)
    })
}

fn read<'a>(fields: &mut Fields<'a>) -> Option<PageEntry<'a>> {
    let header_len = usize::from(fields.u16()?);
    let code = fields.u32()?;
    let header = fields.bytes(header_len)?;
    let body = match code {
        ABSENT => Place::Absent,
        apart if apart & APART != 0 => Place::Apart(apart & !APART),
        here => Place::Here(fields.bytes(usize::try_from(here).ok()?)?),
    };
    Some(PageEntry { header, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        (bytes(200), proptest::option::of(bytes(2 * INLINE_BYTES)))
    }

    proptest! {
        #[test]
        fn pages_round_trip_and_a_cut_page_is_noticed(
            items in proptest::collection::vec(entry(), 1..16),
            cut in any::<usize>(),
        ) {
            let mut page = Vec::new();
            let mut ends = vec![0];
            for (header, body) in &items {
                push(&mut page, header, Place::of(body.as_deref()).unwrap()).unwrap();
                ends.push(page.len());
            }
            let read: Vec<_> = entries(&page).map(Option::unwrap).collect();
            prop_assert_eq!(read.len(), items.len());
            for (entry, (header, body)) in read.iter().zip(&items) {
                prop_assert_eq!(entry.header, header.as_slice());
                prop_assert_eq!(entry.body, Place::of(body.as_deref()).unwrap());
                prop_assert_eq!(entry.body.len(), body.as_ref().map_or(0, Vec::len));
            }
            let cut = cut % page.len();
            let whole = entries(&page[..cut]).all(|entry| entry.is_some());
            prop_assert_eq!(whole, ends.contains(&cut));
        }

        #[test]
        fn arbitrary_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert!(entries(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn a_full_page_stays_below_its_bound() {
        let mut page = Vec::new();
        for _ in 0..ENTRIES {
            let header = [0; tallystick_protocol::limits::HEADER_BYTES];
            push(&mut page, &header, Place::Here(&[0; INLINE_BYTES])).unwrap();
        }
        assert!(page.len() < 128 << 10);
    }
}
