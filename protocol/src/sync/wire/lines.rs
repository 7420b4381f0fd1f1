//! Messages about the lines of witnesses: who has how many, and the lines
//! themselves for whoever asks.
//!
//! Everybody has many partners, and the lines of a head are larger than the head.
//! So partners that have it are told only how many lines there are, in about
//! seventeen bytes, and each fetches them once, from one of them.
//!
//! Deliberately absent: names. Whoever asks knows the author's witnesses and their
//! keys; a line is told by the key id it states.

use super::{exactly, read_list, read_log, write_list, write_log};
use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorityId, LogId};
use crate::limits;

/// Bytes of an authority's id by which an offer names it. If they fit another one,
/// too, whoever hears it asks for nothing.
pub const PREFIX_BYTES: usize = 8;

/// The sender has so many lines on a head of the open log of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How the authority's id begins.
    pub author: [u8; PREFIX_BYTES],
    /// Entries under the head.
    pub size: u64,
    /// How many lines of witnesses there are.
    pub count: u64,
    /// Tells apart different lines by as many witnesses, all but always.
    pub mark: u16,
}

/// Asks for lines on a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLines {
    /// The log.
    pub log: LogId,
    /// Entries under the head.
    pub size: u64,
    /// Ids of the keys whose lines are not needed.
    pub have: Vec<u32>,
}

/// Lines on a head, unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLines {
    /// The log.
    pub log: LogId,
    /// Entries under the head.
    pub size: u64,
    /// Key id and signature of each, as its line in a note has them.
    pub lines: Vec<Vec<u8>>,
}

impl Offer {
    /// Of a log of `author`.
    #[must_use]
    pub fn new(author: &AuthorityId, size: u64, count: u64, mark: u16) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        prefix.iter_mut().zip(author.as_bytes()).for_each(|(to, from)| *to = *from);
        Self { author: prefix, size, count, mark }
    }
}

pub(super) fn write_offers(w: &mut Writer, offers: &[Offer]) {
    w.array(offers.len());
    for Offer { author, size, count, mark } in offers {
        w.array(4).bytes(author).unsigned(*size).unsigned(*count).unsigned(u64::from(*mark));
    }
}

pub(super) fn read_offers(r: &mut Reader<'_>) -> Result<Vec<Offer>, CborError> {
    let count = r.array(limits::NEWS_ITEMS)?;
    let mut offers = Vec::with_capacity(count.min(r.remaining()));
    for _ in 0..count {
        exactly(r.array(4)?, 4)?;
        let (author, size, count) = (r.array_of()?, r.unsigned()?, r.unsigned()?);
        let mark = u16::try_from(r.unsigned()?).map_err(|_| CborError::Unexpected)?;
        offers.push(Offer { author, size, count, mark });
    }
    Ok(offers)
}

pub(super) fn write_wanted(w: &mut Writer, wanted: &[WantedLines]) {
    w.array(wanted.len());
    for WantedLines { log, size, have } in wanted {
        w.array(3);
        write_log(w, log);
        w.unsigned(*size).array(have.len());
        have.iter().for_each(|id| _ = w.unsigned(u64::from(*id)));
    }
}

pub(super) fn read_wanted(r: &mut Reader<'_>) -> Result<Vec<WantedLines>, CborError> {
    let count = r.array(limits::LINE_REQUESTS)?;
    let mut wanted = Vec::with_capacity(count.min(r.remaining()));
    for _ in 0..count {
        exactly(r.array(3)?, 3)?;
        let (log, size) = (read_log(r)?, r.unsigned()?);
        let ids = r.array(limits::NOTE_SIGNATURES)?;
        let id = |_| u32::try_from(r.unsigned()?).map_err(|_| CborError::Unexpected);
        let have = (0..ids).map(id).collect::<Result<_, _>>()?;
        wanted.push(WantedLines { log, size, have });
    }
    Ok(wanted)
}

pub(super) fn write_held(w: &mut Writer, held: &[HeldLines]) {
    w.array(held.len());
    for HeldLines { log, size, lines } in held {
        w.array(3);
        write_log(w, log);
        w.unsigned(*size);
        write_list(w, lines);
    }
}

pub(super) fn read_held(r: &mut Reader<'_>) -> Result<Vec<HeldLines>, CborError> {
    let count = r.array(limits::LINE_REQUESTS)?;
    let mut held = Vec::with_capacity(count.min(r.remaining()));
    for _ in 0..count {
        exactly(r.array(3)?, 3)?;
        let (log, size) = (read_log(r)?, r.unsigned()?);
        let lines = read_list(r, limits::NOTE_SIGNATURES, limits::COSIGNATURE_BYTES)?;
        held.push(HeldLines { log, size, lines });
    }
    Ok(held)
}
