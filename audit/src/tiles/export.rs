//! A copy of the log as a directory of tiles.
#![deny(clippy::indexing_slicing)]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    checkpoint::{CheckpointError, Head},
    keyring::{FollowError, Keyring},
    note::Vkey,
    pruned::{self, Pruned},
    tree::{Frontier, Hash},
};

use super::{Kind, TILE_WIDTH, TilePath, root};

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The signed head that covers all of it.
    pub head: Head,
    /// Files written.
    pub files: u64,
    /// Records of which only hashes were there; no bundle holds one of them.
    pub pruned: Option<Pruned>,
}

/// Why a log was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Reading or writing failed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The destination holds something else.
    #[error("`{}` is not empty", .0.display())]
    Occupied(PathBuf),
    /// There is nothing that is signed.
    #[error("the log has no signed head yet")]
    NoHead,
    /// The head was refused.
    #[error("the signed head: {0}")]
    Head(#[from] CheckpointError),
    /// The log's keys are not known.
    #[error("the log's keys: {0}")]
    Keys(#[from] FollowError),
    /// The records do not lead to the signed root; what was written has no checkpoint.
    #[error("the records do not match the signed head of {size} records; run `audit verify`")]
    Mismatch {
        /// Size of the head.
        size: u64,
    },
}

/// Writes the log in `dir`, as far as its checkpoint reaches, to the directory `to`, which must be empty or absent.
/// `progress` is called with records done and records in all.
///
/// # Errors
/// See [`ExportError`]. The checkpoint is written last, and only over records that lead to its root.
pub fn export(
    dir: &Path,
    to: &Path,
    vkey: &Vkey,
    progress: &dyn Fn(u64, u64),
) -> Result<Exported, ExportError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { path, source }
    };
    let path = dir.join("checkpoint");
    let note = fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ExportError::NoHead,
        _ => ExportError::Io { path, source },
    })?;
    // ORDER: after the head, so that they are at least as new.
    let keys = Keyring::of_directory(vkey, dir)?;
    let head = keys.head(&note)?;
    fs::create_dir_all(to).map_err(io(to))?;
    if fs::read_dir(to).map_err(io(to))?.next().is_some() {
        return Err(ExportError::Occupied(to.to_owned()));
    }
    let mut builder = Builder { to, levels: Vec::new(), entries: Some(Vec::new()), files: 0 };
    let mut frontier = Frontier::default();
    let read = pruned::leaf_hashes(dir, 0..head.size, &mut |seq, hash, leaf| {
        frontier.push(hash);
        if seq.is_multiple_of(4096) {
            progress(seq, head.size);
        }
        builder.record(leaf, hash)
    });
    let read = read.map_err(io(dir))?;
    if read != head.size || frontier.root() != head.root {
        return Err(ExportError::Mismatch { size: head.size });
    }
    builder.finish().map_err(io(to))?;
    for (path, note) in keys.notes() {
        fs::create_dir_all(to.join("key")).map_err(io(to))?;
        fs::write(to.join(path), note).map_err(io(to))?;
        builder.files += 1;
    }
    // The key that the tools of others check this checkpoint with; the changes lead to it from the one that was given.
    fs::write(to.join("log.vkey"), format!("{}\n", keys.current())).map_err(io(to))?;
    // ORDER: readers begin with the checkpoint, so it comes when everything that it covers is there.
    fs::write(to.join("checkpoint"), &note).map_err(io(to))?;
    progress(head.size, head.size);
    let pruned = pruned::pruned(dir).map_err(io(dir))?;
    Ok(Exported { head, files: builder.files + 2, pruned })
}

/// One level of the tree: the hashes of the tile being filled, and how many are full.
#[derive(Debug, Default)]
struct Level {
    hashes: Vec<Hash>,
    full: u64,
}

/// Fills tiles in order; holds one tile per level.
struct Builder<'a> {
    to: &'a Path,
    levels: Vec<Level>,
    /// None where a record of the bundle was pruned.
    entries: Option<Vec<u8>>,
    files: u64,
}

impl Builder<'_> {
    fn record(&mut self, leaf: Option<&[u8]>, hash: Hash) -> io::Result<()> {
        match (leaf, &mut self.entries) {
            (Some(leaf), Some(entries)) => {
                let len = u16::try_from(leaf.len()).map_err(io::Error::other)?;
                entries.extend_from_slice(&len.to_be_bytes());
                entries.extend_from_slice(leaf);
            }
            _ => self.entries = None,
        }
        self.hash(0, hash)
    }

    fn hash(&mut self, level: usize, hash: Hash) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        let Some(open) = self.levels.get_mut(level) else { return Ok(()) };
        open.hashes.push(hash);
        if open.hashes.len() < usize::from(TILE_WIDTH) {
            return Ok(());
        }
        let hashes = std::mem::take(&mut open.hashes);
        let index = open.full;
        open.full += 1;
        self.tile(level, index, &hashes)?;
        self.hash(level + 1, root(&hashes))
    }

    /// Writes the tiles that are not full.
    fn finish(&mut self) -> io::Result<()> {
        let levels = std::mem::take(&mut self.levels);
        for (level, open) in levels.iter().enumerate().filter(|(_, open)| !open.hashes.is_empty()) {
            self.tile(level, open.full, &open.hashes)?;
        }
        Ok(())
    }

    /// Writes a tile, and with one of level 0 its records.
    fn tile(&mut self, level: usize, index: u64, hashes: &[Hash]) -> io::Result<()> {
        let width = u16::try_from(hashes.len()).map_err(io::Error::other)?;
        let kind = Kind::Hashes(u8::try_from(level).map_err(io::Error::other)?);
        self.write(TilePath { kind, index, width }, &hashes.concat())?;
        if level == 0
            && let Some(entries) = self.entries.replace(Vec::new())
        {
            self.write(TilePath { kind: Kind::Entries, index, width }, &entries)?;
        }
        Ok(())
    }

    fn write(&mut self, tile: TilePath, bytes: &[u8]) -> io::Result<()> {
        let path = self.to.join(tile.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        self.files += 1;
        fs::write(path, bytes)
    }
}
