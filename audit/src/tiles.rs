//! The log in the layout that other people's tools read: C2SP tlog-tiles.
//!
//! Tiles are derived from the records: a tile of level 0 is the leaf hashes of 256 records, a tile of a higher level the
//! roots of 256 tiles below it, an entry bundle the records themselves. [`Tiles`] serves those of a running log.
//!
//! # Source
//! C2SP tlog-tiles, "Parameters" and "Merkle tree": paths, widths, and the length prefix of entries.
#![deny(clippy::indexing_slicing)]

use std::{fmt, ops::Range};

use crate::tree::{Frontier, Hash};

pub use export::{ExportError, Exported, export};
pub use prove::{ProveError, prove};
pub use served::Tiles;
pub use shelf::TileError;

mod export;
pub(crate) mod leaves;
mod prove;
mod served;
mod shelf;

/// Hashes in a full tile, and records in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels that a tree of 2^64 leaves has.
const LEVEL_MAX: u8 = 7;

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Hashes of this level.
    Hashes(u8),
    /// Records, each after its length in two bytes, big-endian.
    Entries,
}

/// Name of one tile: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TilePath {
    /// What is in it.
    pub kind: Kind,
    /// Its place in its level.
    pub index: u64,
    /// Hashes or records in it, 1 to [`TILE_WIDTH`]; fewer than that make it a partial tile.
    pub width: u16,
}

impl TilePath {
    /// Reads a path; `None` unless it is exactly what [`fmt::Display`] writes.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(level.parse().ok().filter(|level| *level <= LEVEL_MAX)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE_WIDTH),
        };
        let digits: String = number.split('/').map(|part| part.trim_start_matches('x')).collect();
        let tile = Self { kind, index: digits.parse().ok()?, width };
        // Writing it again refuses signs, wrong groups and other spellings of one name.
        (tile.to_string() == path && (1..=TILE_WIDTH).contains(&width)).then_some(tile)
    }

    /// The records that it is made of, if it is made of records and not of other tiles.
    pub(crate) fn records(&self) -> Option<Range<u64>> {
        let first = self.index.checked_mul(u64::from(TILE_WIDTH))?;
        let end = first.checked_add(u64::from(self.width))?;
        matches!(self.kind, Kind::Hashes(0) | Kind::Entries).then_some(first..end)
    }

    /// Whether a log of `size` records has this tile: a full one that is complete, or a partial one up to what there is.
    pub fn exists_at(&self, size: u64) -> bool {
        let level = match self.kind {
            Kind::Hashes(level) => level,
            Kind::Entries => 0,
        };
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let first = self.index.checked_mul(u64::from(TILE_WIDTH));
        let end = first.and_then(|first| first.checked_add(u64::from(self.width)));
        end.is_some_and(|end| end <= hashes)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => write!(f, "tile/entries/")?,
        }
        // Groups of three digits, all but the last marked with an x, so that no directory grows beyond 1000 names.
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{:0>width$}", digits, width = groups * 3);
        for group in 0..groups {
            let mark = if group + 1 < groups { "x" } else { "" };
            let end = if group + 1 < groups { "/" } else { "" };
            write!(f, "{mark}{}{end}", padded.get(group * 3..group * 3 + 3).unwrap_or_default())?;
        }
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Root over the hashes of a full tile, which is one hash of the level above.
pub(crate) fn root(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let path = |kind, index, width| TilePath { kind, index, width };
        for (tile, text) in [
            (path(Kind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
            (path(Kind::Hashes(3), 0, 256), "tile/3/000"),
            (path(Kind::Entries, 273, 112), "tile/entries/273.p/112"),
            (path(Kind::Hashes(1), 1000, 1), "tile/1/x001/000.p/1"),
        ] {
            assert_eq!(tile.to_string(), text);
            assert_eq!(TilePath::parse(text), Some(tile));
        }
        for text in [
            "tile/0/67",
            "tile/8/000",
            "tile/0/x000/067",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/257",
            "tile/00/000",
            "tile/0/0xx",
            "tile/data/000",
            "tile/0/../000",
            "checkpoint",
        ] {
            assert_eq!(TilePath::parse(text), None, "{text}");
        }
    }

    /// The check value of the specification: 70000 records.
    #[test]
    fn tiles_exist_as_far_as_the_log_reaches() {
        let exists = |text: &str| TilePath::parse(text).is_some_and(|tile| tile.exists_at(70_000));
        for text in [
            "tile/0/272",
            "tile/0/273.p/112",
            "tile/entries/273.p/112",
            "tile/1/000",
            "tile/1/001.p/17",
            "tile/2/000.p/1",
        ] {
            assert!(exists(text), "{text}");
        }
        for text in ["tile/0/273", "tile/0/273.p/113", "tile/1/001", "tile/2/000", "tile/3/000.p/1"]
        {
            assert!(!exists(text), "{text}");
        }
    }
}
