//! Records in large pieces, as they lie in the files: for who looks at all of them.
#![deny(clippy::indexing_slicing)]

use std::{
    path::{Path, PathBuf},
    vec,
};

use crate::segment::{Batches, Name, Place};

use super::{SearchError, names};

/// Bytes of one piece, at most a batch more: as much as stays in a processor's cache until it was looked at.
const PIECE_BYTES: usize = 512 << 10;

/// Consecutive records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// `seq` of the first one.
    pub first: u64,
    /// Their exact bytes, each with its newline.
    pub lines: Vec<u8>,
}

/// All records of a directory in order, in pieces.
#[derive(Debug)]
pub struct Pieces {
    dir: PathBuf,
    /// Segments that are not open yet; `None` before the first piece.
    names: Option<vec::IntoIter<Name>>,
    open: Option<(Batches, String)>,
    /// The next record to give.
    next: u64,
    failed: bool,
}

/// Reads the log in `dir` as [`super::records`] does, without a copy of each record.
pub fn pieces(dir: &Path) -> Pieces {
    Pieces { dir: dir.to_owned(), names: None, open: None, next: 0, failed: false }
}

impl Pieces {
    fn piece(&mut self) -> Result<Option<Piece>, SearchError> {
        let lines = Vec::with_capacity(2 * PIECE_BYTES);
        let mut piece = Piece { first: 0, lines };
        while piece.lines.len() < PIECE_BYTES {
            if self.open.is_none() && !self.advance()? {
                break;
            }
            let Some((batches, path)) = &mut self.open else { break };
            match batches.next().map_err(SearchError::io(path))? {
                Some(batch) if batch.first == self.next => {
                    if piece.lines.is_empty() {
                        piece.first = batch.first;
                    }
                    piece.lines.extend_from_slice(batch.leaves);
                    self.next = batch.end;
                }
                _ => self.open = None,
            }
        }
        Ok(Some(piece).filter(|piece| !piece.lines.is_empty()))
    }

    /// Opens the segment that begins with the next record, if there is one.
    fn advance(&mut self) -> Result<bool, SearchError> {
        let names = match &mut self.names {
            Some(names) => names,
            None => {
                let names = names(&self.dir)?;
                // A pruned log begins later.
                self.next = names.first().map_or(0, |oldest| oldest.first);
                self.names.insert(names.into_iter())
            }
        };
        let next = self.next;
        let Some(name) = names.find(|name| name.first == next) else { return Ok(false) };
        let batches = Batches::open(&self.dir, &name, Place::default(), next)
            .map_err(SearchError::io(&name.path))?;
        self.open = Some((batches, name.path));
        Ok(true)
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece, SearchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let piece = self.piece();
        self.failed = piece.is_err();
        piece.transpose()
    }
}
