//! The hashes above single records, kept as the log grows, so that a tile or a proof costs the same however long it is.
//!
//! A full tile of level 1 or more is a file of 8 KiB under `tile/`, written once and whole. Of the tile that is being
//! filled each level has up to 255 hashes in memory; they follow from the level below, at the lowest from at most 65 535
//! records, and are made again at start. Of records that are there level 0 is not kept: 256 of them are hashed when their
//! tile is asked for. Of pruned ones it is all there is, so it is never deleted. The levels above follow, may be deleted
//! while no server runs, and are checked against a signed head by whoever receives them.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    durable::{Files as _, LocalFiles},
    proof::Subtrees,
    pruned::{self, Pruned, pruned},
    tree::{Hash, leaf_hash, node_hash},
};

use super::{Kind, LEVEL_MAX, TILE_WIDTH, TilePath, leaves, root};

const WIDTH: u64 = TILE_WIDTH as u64;

/// Why a tile is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The log does not reach so far.
    #[error("the log has no such tile")]
    Absent,
    /// The log does, the hashing not yet.
    #[error("the tiles of the log are still being made")]
    Behind,
    /// The records were pruned; their hashes are still to be had.
    #[error("records of this bundle were {0}")]
    Pruned(Pruned),
    /// Reading failed, or what was read is not what was written.
    #[error("reading tiles: {0}")]
    Io(#[from] io::Error),
}

/// Hashes of levels 1 and up of the log in one directory. One process writes at a time.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    files: LocalFiles,
    /// From level 1 up.
    levels: [Level; LEVEL_MAX as usize],
}

#[derive(Debug, Default)]
struct Level {
    /// Full tiles, which are files.
    full: u64,
    /// Hashes of the tile after them; fewer than [`TILE_WIDTH`].
    open: Vec<Hash>,
}

impl Shelf {
    /// Finds what is there already.
    ///
    /// # Errors
    /// A tile cannot be read, or has another length than it was written with.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut shelf =
            Self { dir: dir.to_owned(), files: LocalFiles::new(dir), levels: Default::default() };
        let mut below = u64::MAX;
        for level in 1..=LEVEL_MAX {
            let full = shelf.count(level).min(below / WIDTH);
            if level > 1 {
                shelf.level_mut(level)?.full = full;
                for index in full * WIDTH..below {
                    let hashes = shelf.read(level - 1, index)?;
                    // A tile that a crash left unwritten is written now.
                    shelf.append(level, root(&hashes))?;
                }
            } else {
                shelf.level_mut(level)?.full = full;
            }
            below = shelf.level(level)?.full;
        }
        Ok(shelf)
    }

    /// Removes all files, so that [`Self::open`] finds nothing. Level 0 is not derived: it is what stays of pruned records.
    pub(super) fn discard(dir: &Path) -> io::Result<()> {
        for level in 1..=LEVEL_MAX {
            match std::fs::remove_dir_all(dir.join(format!("tile/{level}"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Records whose hashes are here: a multiple of 256.
    pub(super) fn covered(&self) -> u64 {
        let [first, ..] = &self.levels;
        (first.full * WIDTH + first.open.len() as u64) * WIDTH
    }

    /// Takes in hashes of level 1, each over the next 256 records.
    ///
    /// # Errors
    /// A full tile could not be written; what was taken in before it is there, the rest is not.
    pub(super) fn extend(&mut self, hashes: &[Hash]) -> io::Result<()> {
        for hash in hashes {
            let (mut level, mut hash) = (1, *hash);
            while let Some(above) = self.append(level, hash)? {
                (level, hash) = (level + 1, above);
            }
        }
        Ok(())
    }

    /// Appends to one level; when that fills a tile, its root is the next hash of the level above.
    fn append(&mut self, level: u8, hash: Hash) -> io::Result<Option<Hash>> {
        let at = self.level_mut(level)?;
        if at.open.len() + 1 < usize::from(TILE_WIDTH) {
            at.open.push(hash);
            return Ok(None);
        }
        let tile = TilePath { kind: Kind::Hashes(level), index: at.full, width: TILE_WIDTH };
        let mut hashes = at.open.clone();
        hashes.push(hash);
        self.files.replace(&tile.to_string(), &hashes.concat())?;
        // ORDER: the file before what says that it is there.
        let at = self.level_mut(level)?;
        at.open.clear();
        at.full += 1;
        Ok((level < LEVEL_MAX).then(|| root(&hashes)))
    }

    /// One tile of a log of `size` records.
    ///
    /// # Errors
    /// See [`TileError`].
    pub(super) fn tile(&self, tile: TilePath, size: u64) -> Result<Vec<u8>, TileError> {
        if !tile.exists_at(size) {
            return Err(TileError::Absent);
        }
        match tile.kind {
            Kind::Entries => match pruned(&self.dir)? {
                Some(pruned) if tile.index * WIDTH < pruned.end => Err(TileError::Pruned(pruned)),
                _ => Ok(self.entries(tile)?),
            },
            Kind::Hashes(level) => Ok(self.hashes(level, tile.index, tile.width)?.concat()),
        }
    }

    /// Whether a tile of level 0, or a bundle, leads to the hash above it, as far as that is known.
    pub(super) fn agrees_with(&self, tile: TilePath, bytes: &[u8]) -> bool {
        let hashes: Option<Vec<Hash>> = match tile.kind {
            Kind::Hashes(0) => Some(bytes.as_chunks().0.to_vec()),
            Kind::Hashes(_) => return true,
            Kind::Entries => hashes_of(bytes),
        };
        if tile.width != TILE_WIDTH {
            return true;
        }
        let above = (tile.index / WIDTH, (tile.index % WIDTH) as usize);
        let [first, ..] = &self.levels;
        let known = match above.0 < first.full {
            true => self.read(1, above.0).ok().and_then(|hashes| hashes.get(above.1).copied()),
            false => first.open.get(above.1).copied(),
        };
        known.is_none_or(|known| hashes.is_some_and(|hashes| root(&hashes) == known))
    }

    fn entries(&self, tile: TilePath) -> io::Result<Vec<u8>> {
        let first = tile.index * WIDTH;
        let mut bytes = Vec::new();
        read_all(&self.dir, first..first + u64::from(tile.width), &mut |leaf| {
            let len = u16::try_from(leaf.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(leaf);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn hashes(&self, level: u8, index: u64, width: u16) -> Result<Vec<Hash>, TileError> {
        let width = usize::from(width);
        if level == 0 {
            let first = index * WIDTH;
            let mut hashes = Vec::with_capacity(width);
            hash_all(&self.dir, first..first + width as u64, &mut |hash| hashes.push(hash))?;
            return Ok(hashes);
        }
        let at = self.level(level)?;
        let mut hashes = match index.cmp(&at.full) {
            std::cmp::Ordering::Less => match self.read_checked(level, index) {
                // The log is read from another copy by now, whose tiles are being made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                hashes => hashes?,
            },
            std::cmp::Ordering::Equal => at.open.clone(),
            std::cmp::Ordering::Greater => Vec::new(),
        };
        if hashes.len() < width {
            return Err(TileError::Behind);
        }
        hashes.truncate(width);
        Ok(hashes)
    }

    /// A full tile, as the level above knows it.
    fn read_checked(&self, level: u8, index: u64) -> io::Result<Vec<Hash>> {
        let hashes = self.read(level, index)?;
        if level < LEVEL_MAX {
            let above = self.level(level + 1)?;
            let (parent, place) = (index / WIDTH, (index % WIDTH) as usize);
            let known = match parent < above.full {
                true => self.read(level + 1, parent)?.get(place).copied(),
                false => above.open.get(place).copied(),
            };
            if known != Some(root(&hashes)) {
                return Err(damaged(level, index));
            }
        }
        Ok(hashes)
    }

    /// A full tile from its file.
    fn read(&self, level: u8, index: u64) -> io::Result<Vec<Hash>> {
        let tile = TilePath { kind: Kind::Hashes(level), index, width: TILE_WIDTH };
        let bytes = self.files.read(&tile.to_string())?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        match hashes.len() == usize::from(TILE_WIDTH) && rest.is_empty() {
            true => Ok(hashes.to_vec()),
            false => Err(damaged(level, index)),
        }
    }

    /// Full tiles of a level: they were written in order, so the last one is found by doubling and halving.
    fn count(&self, level: u8) -> u64 {
        let is_there = |index: u64| {
            let tile = TilePath { kind: Kind::Hashes(level), index, width: TILE_WIDTH };
            self.dir.join(tile.to_string()).is_file()
        };
        let (mut low, mut high) = (0, 1);
        while is_there(high - 1) {
            (low, high) = (high, high * 2);
        }
        // INVARIANT: `low` tiles are there, `high` are not.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match is_there(middle - 1) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    }

    fn level(&self, level: u8) -> io::Result<&Level> {
        let at = usize::from(level).checked_sub(1).and_then(|i| self.levels.get(i));
        at.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn level_mut(&mut self, level: u8) -> io::Result<&mut Level> {
        let at = usize::from(level).checked_sub(1).and_then(|i| self.levels.get_mut(i));
        at.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// The leaf hashes of a bundle; none if it is not one.
fn hashes_of(mut bundle: &[u8]) -> Option<Vec<Hash>> {
    let mut hashes = Vec::with_capacity(usize::from(TILE_WIDTH));
    while !bundle.is_empty() {
        let (len, rest) = bundle.split_first_chunk()?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        hashes.push(leaf_hash(leaf));
        bundle = rest;
    }
    Some(hashes)
}

fn damaged(level: u8, index: u64) -> io::Error {
    let tile = TilePath { kind: Kind::Hashes(level), index, width: TILE_WIDTH };
    let what = format!(
        "`{tile}` is damaged; stop the server and delete the directories `tile/1` and up, but not `tile/0`"
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Every record of the range, which the log must have.
fn read_all(
    dir: &Path,
    range: Range<u64>,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let read = leaves::read(dir, range.clone(), &mut |_, leaf| take(leaf))?;
    whole(&range, read)
}

/// The hash of every record of the range, which the log must have or have had.
fn hash_all(dir: &Path, range: Range<u64>, take: &mut dyn FnMut(Hash)) -> io::Result<()> {
    let read = pruned::leaf_hashes(dir, range.clone(), &mut |_, hash, _| {
        take(hash);
        Ok(())
    })?;
    whole(&range, read)
}

fn whole(range: &Range<u64>, read: u64) -> io::Result<()> {
    if read < range.end - range.start {
        let what = format!("record {} is not in its place; run `audit verify`", range.start + read);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(())
}

/// Hashes of level 1 over the records of the range, which begins and ends with a full tile of level 0.
///
/// # Errors
/// A record cannot be read.
pub(super) fn roots(dir: &Path, range: Range<u64>) -> io::Result<Vec<Hash>> {
    let mut roots = Vec::with_capacity(((range.end - range.start) / WIDTH) as usize);
    let mut hashes = Vec::with_capacity(usize::from(TILE_WIDTH));
    hash_all(dir, range, &mut |hash| {
        hashes.push(hash);
        if hashes.len() == usize::from(TILE_WIDTH) {
            roots.push(root(&hashes));
            hashes.clear();
        }
    })?;
    Ok(roots)
}

/// Hashes of any subtree of the log at one size. Each tile is fetched once.
#[derive(Debug)]
pub(super) struct Hashes<'a> {
    shelf: &'a Shelf,
    size: u64,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl<'a> Hashes<'a> {
    pub(super) fn new(shelf: &'a Shelf, size: u64) -> Self {
        Self { shelf, size, tiles: HashMap::new() }
    }

    /// The hash over `256^level` records.
    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, TileError> {
        let (tile, place) = (index / WIDTH, (index % WIDTH) as usize);
        if let Some(hashes) = self.tiles.get(&(level, tile)) {
            return hashes.get(place).copied().ok_or(TileError::Absent);
        }
        let there = (self.size >> (8 * u32::from(level))).saturating_sub(tile * WIDTH);
        let width = u16::try_from(there.min(WIDTH)).unwrap_or(TILE_WIDTH);
        let hashes = self.shelf.hashes(level, tile, width)?;
        let hash = hashes.get(place).copied().ok_or(TileError::Absent);
        self.tiles.insert((level, tile), hashes);
        hash
    }
}

impl Subtrees for Hashes<'_> {
    type Error = TileError;

    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, TileError> {
        let len = range.end - range.start;
        let level = len.ilog2() / 8;
        if len == 1 << (8 * level) {
            let level = u8::try_from(level).map_err(io::Error::other)?;
            return self.hash(level, range.start >> (8 * u32::from(level)));
        }
        let middle = range.start + len.next_power_of_two() / 2;
        let left = self.subtree(range.start..middle)?;
        let right = self.subtree(middle..range.end)?;
        Ok(node_hash(&left, &right))
    }
}
