//! Tiles: the tree as fixed pieces that can be fetched and cached (C2SP tlog-tiles).
//!
//! A tile at level *l* holds up to 256 hashes side by side, each over 256^*l*
//! entries. Its address is `LEVEL/INDEX[.p/WIDTH]`, the index in elements of
//! three digits: 1234067 is `x001/x234/067`. Bundles of entries have the same
//! addresses without the level. **Invariant:** every address has one spelling.
//! Deliberately absent: what is signed; the caller names the size to go by.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use super::{LogError, Nodes, range_root};
use crate::checkpoint::decimal;
use crate::id::Hash;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Binary levels of the tree in one level of tiles.
const TILE_HEIGHT: u32 = 8;
/// Highest level that an address can name.
const MOST_LEVEL: u64 = 63;
/// Longest address without its level: seven elements and a width.
const ADDRESS_BYTES: usize = 39;

/// An address that is none of a tile or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a tile")]
pub struct TileError;

/// Which of the pieces side by side, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileSpan {
    index: u64,
    width: u64,
}

impl TileSpan {
    /// The first `width` items of piece `index`; `None` unless `width` is 1 to 256.
    #[must_use]
    pub const fn new(index: u64, width: u64) -> Option<Self> {
        if width == 0 || width > TILE_WIDTH { None } else { Some(Self { index, width }) }
    }

    /// Which of the pieces.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Whether it is all of it.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The items, counted from the start of their row.
    ///
    /// # Errors
    /// [`LogError::Range`] beyond 2^64.
    pub fn items(&self) -> Result<Range<u64>, LogError> {
        let start = self.index.checked_mul(TILE_WIDTH).ok_or(LogError::Range)?;
        Ok(start..start.checked_add(self.width).ok_or(LogError::Range)?)
    }
}

impl fmt::Display for TileSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut elements = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            elements.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        elements.reverse();
        f.write_str(&elements.join("/"))?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TileSpan {
    type Err = TileError;

    fn from_str(text: &str) -> Result<Self, TileError> {
        if text.len() > ADDRESS_BYTES {
            return Err(TileError);
        }
        let (path, width) = match text.split_once(".p/") {
            Some((path, width)) => (path, decimal(width).ok_or(TileError)?),
            None => (text, TILE_WIDTH),
        };
        let mut index = 0u64;
        for element in path.split('/') {
            let digits = element.strip_prefix('x').unwrap_or(element);
            let value: u16 = digits.parse().map_err(|_| TileError)?;
            let grown = index.checked_mul(1000).and_then(|index| index.checked_add(value.into()));
            index = grown.ok_or(TileError)?;
        }
        let span = Self::new(index, width).ok_or(TileError)?;
        // One spelling: three digits each, marks where they belong, no empty start.
        if span.to_string() == text { Ok(span) } else { Err(TileError) }
    }
}

/// The address of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    level: u32,
    span: TileSpan,
}

impl Tile {
    /// The tile of this level; `None` above level 63.
    #[must_use]
    pub fn new(level: u32, span: TileSpan) -> Option<Self> {
        (u64::from(level) <= MOST_LEVEL).then_some(Self { level, span })
    }

    /// Its hashes, for a log of `size` entries: each the root of a full subtree.
    ///
    /// # Errors
    /// [`LogError::Range`] if a log of that size has no such tile, or not so
    /// much of it; [`LogError::Missing`].
    pub fn hashes<N: Nodes + ?Sized>(&self, nodes: &N, size: u64) -> Result<Vec<Hash>, LogError> {
        let entries = 1u64.checked_shl(self.level * TILE_HEIGHT).ok_or(LogError::Range)?;
        let items = self.span.items()?;
        if items.end > size / entries {
            return Err(LogError::Range);
        }
        items.map(|item| range_root(nodes, item * entries, (item + 1) * entries)).collect()
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level, self.span)
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(text: &str) -> Result<Self, TileError> {
        let (level, span) = text.split_once('/').ok_or(TileError)?;
        let level = decimal(level).and_then(|level| u32::try_from(level).ok()).ok_or(TileError)?;
        Self::new(level, span.parse()?).ok_or(TileError)
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::tests::Memory;
    use super::super::tests::{leaves, naive_root};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_those_of_the_specification() {
        let at = |index, width| TileSpan::new(index, width).unwrap().to_string();
        assert_eq!(at(1_234_067, 256), "x001/x234/067");
        assert_eq!(at(67, 256), "067");
        assert_eq!(at(1000, 112), "x001/000.p/112");
        assert_eq!("2/x001/000.p/1".parse::<Tile>().unwrap().to_string(), "2/x001/000.p/1");
        assert_eq!(at(u64::MAX, 255).len(), ADDRESS_BYTES);
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for bad in [
            "",
            "0",
            "0/",
            "/000",
            "00/000",
            "+0/000",
            "64/000",
            "0/0",
            "0/00",
            "0/0000",
            "0/x000",
            "0/x000/000",
            "0/000/000",
            "0/x001",
            "0/x001/",
            "0/x01/000",
            "0/X001/000",
            "0/-01",
            "0/+01",
            "0/00a",
            "0/000/",
            "0/000.p",
            "0/000.p/",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/+1",
            "0/000.p/1.p/1",
            "0/000.p/1/",
            "0/ 000",
            "-1/000",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "4294967296/000",
            "entries/000",
        ] {
            assert!(bad.parse::<Tile>().is_err(), "{bad:?}");
        }
        assert!(TileSpan::new(0, 0).is_none());
        assert!(TileSpan::new(0, 257).is_none());
    }

    /// The example of the specification: 70,000 entries.
    #[test]
    fn a_log_has_exactly_the_tiles_it_should() {
        let log = Memory::of(70_000);
        let has = |tile: &str| tile.parse::<Tile>().unwrap().hashes(&log, 70_000);
        for tile in ["0/000", "0/272", "0/273.p/112", "1/000", "1/001.p/17", "2/000.p/1"] {
            assert!(has(tile).is_ok(), "{tile}");
        }
        for tile in
            ["0/273", "0/273.p/113", "1/001", "1/001.p/18", "2/000", "2/000.p/2", "3/000.p/1"]
        {
            assert_eq!(has(tile), Err(LogError::Range), "{tile}");
        }
        assert_eq!(has("8/000.p/1"), Err(LogError::Range));
        assert_eq!(has("63/000.p/1"), Err(LogError::Range));
        let far = Tile::new(7, TileSpan::new(u64::MAX, 256).unwrap()).unwrap();
        assert_eq!(far.hashes(&log, u64::MAX), Err(LogError::Range));
        // Smaller heads have narrower tiles, and they are the same from the left.
        assert_eq!(has("0/272.p/9").unwrap(), has("0/272").unwrap()[..9]);
        let narrow = "0/272.p/9".parse::<Tile>().unwrap();
        assert!(narrow.hashes(&log, 272 * 256 + 9).is_ok());
        assert!(narrow.hashes(&log, 272 * 256 + 8).is_err());
        assert_eq!(has("2/000.p/1").unwrap(), [naive_root(&log.leaves[..65_536])]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn tiles_are_the_roots_of_their_entries(
            size in 1u64..3000, level in 0u32..2, index in 0u64..12, width in 1u64..=256,
        ) {
            let (log, all) = (Memory::of(size), leaves(size));
            let entries = if level == 0 { 1 } else { 256 };
            let tile = Tile::new(level, TileSpan::new(index, width).unwrap()).unwrap();
            prop_assert_eq!(tile.to_string().parse::<Tile>(), Ok(tile));
            let first = usize::try_from(index * 256).unwrap();
            let expected: Vec<_> = all.chunks_exact(entries).skip(first).map(naive_root).collect();
            let width = usize::try_from(width).unwrap();
            match tile.hashes(&log, size) {
                Ok(hashes) => prop_assert_eq!(&hashes[..], &expected[..width]),
                Err(error) => {
                    prop_assert_eq!(error, LogError::Range);
                    prop_assert!(expected.len() < width);
                }
            }
        }

        #[test]
        fn arbitrary_addresses_have_one_spelling(text in "[0-9x/.p]{0,24}", index: u64, width in 1u64..=256) {
            if let Ok(tile) = text.parse::<Tile>() {
                prop_assert_eq!(tile.to_string(), text);
            }
            let span = TileSpan::new(index, width).unwrap();
            prop_assert_eq!(span.to_string().parse::<TileSpan>(), Ok(span));
        }
    }
}
