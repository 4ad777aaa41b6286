//! Records in large pieces, as they lie in the files: for who looks at all of them.
#![deny(clippy::indexing_slicing)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    vec,
};

use crate::segment::{Control, Frame, Name, Reader, check};

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
    open: Option<(Reader<File>, String)>,
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
        let mut piece = Piece { first: self.next, lines };
        while piece.lines.len() < PIECE_BYTES {
            if self.open.is_none() && !self.advance()? {
                break;
            }
            let Some((reader, path)) = &mut self.open else { break };
            let frame = reader.next().map_err(SearchError::io(path))?.ok();
            match frame.and_then(|frame| Some((frame, control(&frame, self.next)?))) {
                Some((frame, control)) => {
                    piece.lines.extend_from_slice(frame.leaves);
                    self.next = control.size;
                }
                None => self.open = None,
            }
        }
        Ok(Some(piece).filter(|piece| !piece.lines.is_empty()))
    }

    /// Opens the segment that begins with the next record, if there is one.
    fn advance(&mut self) -> Result<bool, SearchError> {
        let names = match &mut self.names {
            Some(names) => names,
            None => self.names.insert(names(&self.dir)?.into_iter()),
        };
        let next = self.next;
        let Some(name) = names.find(|name| name.first == next) else { return Ok(false) };
        let file = File::open(self.dir.join(&name.path)).map_err(SearchError::io(&name.path))?;
        self.open = Some((Reader::new(file, 0), name.path));
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

/// The control line of a batch that is whole and begins with the record `next`.
fn control(frame: &Frame<'_>, next: u64) -> Option<Control> {
    let control = Control::parse(frame.control)?;
    let is_next = control.size.checked_sub(control.n) == Some(next);
    (is_next && control.crc == check::crc(frame.leaves)).then_some(control)
}
