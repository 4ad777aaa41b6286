//! Records in large pieces, as they lie in the files: for who looks at all of them.
#![deny(clippy::indexing_slicing)]

use std::path::Path;

use super::{SearchError, follower::Follower};

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
    batches: Follower,
    failed: bool,
}

/// Reads the log in `dir` as [`super::records`] does, without a copy of each record.
pub fn pieces(dir: &Path) -> Pieces {
    Pieces { batches: Follower::new(dir, 0), failed: false }
}

impl Pieces {
    fn piece(&mut self) -> Result<Option<Piece>, SearchError> {
        let mut piece = Piece { first: 0, lines: Vec::with_capacity(2 * PIECE_BYTES) };
        self.batches.each(u64::MAX, &mut |_, batch| {
            if piece.lines.is_empty() {
                piece.first = batch.first;
            }
            piece.lines.extend_from_slice(batch.leaves);
            piece.lines.len() < PIECE_BYTES
        })?;
        Ok(Some(piece).filter(|piece| !piece.lines.is_empty()))
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
