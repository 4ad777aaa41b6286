//! Roots over the newest full tiles, which the writer has made on its way to the root of the log.
//!
//! Whoever keeps tiles takes them from here and need not read and hash the records. Nothing waits for that: the oldest
//! roots go when there are too many, and are then made of the records.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use crate::tree::{Hash, TILE_LEVEL};

use super::lock;

/// Roots that are kept: 128 KiB, of a million records, for a keeper who is seconds behind.
const ROOTS_MAX: usize = 4096;

/// A handle on them. Ownership: the log's writer puts them in, anybody reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct TileRoots(Arc<Mutex<Newest>>);

#[derive(Debug, Default)]
struct Newest {
    /// Full tiles of the log, the last of which the last root is over.
    full: u64,
    roots: VecDeque<Hash>,
}

impl TileRoots {
    /// Adds the roots over the last full tiles of a log that has `size` records now.
    pub(super) fn put(&self, size: u64, roots: &[Hash]) {
        if roots.is_empty() {
            return;
        }
        let mut newest = lock(&self.0);
        let full = size >> TILE_LEVEL;
        debug_assert!(
            newest.roots.is_empty() || newest.full + roots.len() as u64 == full,
            "each tile is completed once"
        );
        newest.full = full;
        newest.roots.extend(roots);
        let over = newest.roots.len().saturating_sub(ROOTS_MAX);
        newest.roots.drain(..over);
    }

    /// At most `count` roots from tile `from` on; none where that one is not there, or not there any more.
    pub(crate) fn from(&self, from: u64, count: usize) -> Vec<Hash> {
        let newest = lock(&self.0);
        let first = newest.full - newest.roots.len() as u64;
        let Some(skip) = from.checked_sub(first) else { return Vec::new() };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        newest.roots.iter().skip(skip).take(count).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(tile: u64) -> Hash {
        let mut root = Hash::default();
        root[..8].copy_from_slice(&tile.to_be_bytes());
        root
    }

    #[test]
    fn the_newest_are_found_by_their_tile_and_the_oldest_go() {
        let roots = TileRoots::default();
        assert!(roots.from(0, 9).is_empty());
        // A log that was opened with 1000 records completes its fourth tile first.
        roots.put(1000, &[]);
        roots.put(1030, &[root(3)]);
        roots.put(1030 + 512, &[root(4), root(5)]);
        assert_eq!(roots.from(3, 9), [root(3), root(4), root(5)]);
        assert_eq!(roots.from(4, 1), [root(4)]);
        for elsewhere in [0, 2, 6, u64::MAX] {
            assert!(roots.from(elsewhere, 9).is_empty(), "{elsewhere}");
        }
        for tile in 6..6 + ROOTS_MAX as u64 {
            roots.put((tile + 1) << TILE_LEVEL, &[root(tile)]);
        }
        assert!(roots.from(5, 9).is_empty());
        assert_eq!(roots.from(6, 2), [root(6), root(7)]);
        assert_eq!(roots.from(6, usize::MAX).len(), ROOTS_MAX);
    }
}
