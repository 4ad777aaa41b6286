//! Records in order: all there are, and those that come.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::VecDeque,
    fs,
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::segment::{Control, Leaves, Name, Reader, check};

use super::{Row, SearchError, names};

/// A reader that can be asked again and again for what is new. It gives whole batches with right checksums only.
#[derive(Debug)]
pub struct Tail {
    dir: PathBuf,
    /// The next record to give.
    next: u64,
    /// The segment being read and the offset of its next batch.
    open: Option<(Name, u64)>,
}

/// Bytes of one answer of [`Tail::poll`], at most a batch more.
const POLL_BYTES_MAX: usize = 8 << 20;

/// What one batch brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) rows: Vec<Located>,
    /// The control line of the last batch.
    pub(crate) control: Control,
    /// Path of the segment, and where the last batch ends in it.
    pub(crate) segment: String,
    pub(crate) end: u64,
}

/// A record with its place.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) row: Row,
    /// Byte in its segment.
    pub(crate) offset: u64,
}

/// Follows the log in `dir` from the record after `after`, or from the first one.
pub fn tail(dir: &Path, after: Option<u64>) -> Tail {
    Tail { dir: dir.to_owned(), next: after.map_or(0, |seq| seq + 1), open: None }
}

impl Tail {
    /// A reader that continues after `size` records, at a batch boundary known from before.
    pub(crate) fn at(dir: &Path, size: u64, segment: &str, offset: u64) -> Self {
        let name = Name::of_path(segment);
        Self { dir: dir.to_owned(), next: size, open: name.map(|name| (name, offset)) }
    }

    /// The `seq` of the next record.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// New records in order; empty when there are none yet.
    ///
    /// # Errors
    /// [`SearchError::Io`].
    pub fn poll(&mut self) -> Result<Vec<Row>, SearchError> {
        self.poll_durable(u64::MAX)
    }

    /// The same, but only records that are durable when `size` of them are.
    ///
    /// # Errors
    /// [`SearchError::Io`].
    pub fn poll_durable(&mut self, size: u64) -> Result<Vec<Row>, SearchError> {
        let brought = self.poll_located(size)?;
        Ok(brought.map_or(Vec::new(), |b| b.rows.into_iter().map(|located| located.row).collect()))
    }

    /// The same with places, and only batches that end at or before `size`.
    pub(crate) fn poll_located(&mut self, size: u64) -> Result<Option<Brought>, SearchError> {
        loop {
            if self.next >= size {
                return Ok(None);
            }
            let Some((name, offset)) = self.segment()? else { return Ok(None) };
            let mut file =
                fs::File::open(self.dir.join(&name.path)).map_err(SearchError::io(&name.path))?;
            file.seek(SeekFrom::Start(offset)).map_err(SearchError::io(&name.path))?;
            let mut reader = Reader::new(file, offset);
            let mut brought: Option<Brought> = None;
            let mut bytes = 0;
            // What is there beyond `size` is not looked at: behind the last batch lie megabytes of zeros.
            while self.next < size {
                let Ok(frame) = reader.next().map_err(SearchError::io(&name.path))? else { break };
                let control = Control::parse(frame.control);
                let Some(control) = control.filter(|c| c.crc == check::crc(frame.leaves)) else {
                    break;
                };
                if control.size > size || bytes > POLL_BYTES_MAX {
                    break;
                }
                bytes += frame.leaves.len();
                let rows = brought.get_or_insert_with(|| Brought {
                    rows: Vec::new(),
                    control,
                    segment: name.path.clone(),
                    end: 0,
                });
                rows.control = control;
                rows.end = frame.offset + (frame.leaves.len() + frame.control.len()) as u64;
                for ((at, leaf), seq) in Leaves::new(frame.leaves).zip(control.size - control.n..) {
                    if seq >= self.next {
                        let row = Row { seq, leaf: leaf.to_vec() };
                        rows.rows.push(Located { row, offset: frame.offset + at as u64 });
                    }
                }
                self.open = Some((name.clone(), rows.end));
                self.next = self.next.max(control.size);
            }
            match brought {
                // A batch that holds only what was given before.
                Some(brought) if brought.rows.is_empty() => {}
                Some(brought) => return Ok(Some(brought)),
                None if self.advance(&name)? => {}
                None => return Ok(None),
            }
        }
    }

    /// The segment that holds the next record.
    fn segment(&mut self) -> Result<Option<(Name, u64)>, SearchError> {
        if self.open.is_none() {
            let names = names(&self.dir)?;
            let after = names.partition_point(|name| name.first <= self.next);
            self.open = names.into_iter().nth(after.saturating_sub(1)).map(|name| (name, 0));
        }
        Ok(self.open.clone())
    }

    /// Moves on to a segment that begins with the next record, if there is one.
    fn advance(&mut self, from: &Name) -> Result<bool, SearchError> {
        let next =
            names(&self.dir)?.into_iter().find(|name| name.first == self.next && name != from);
        let found = next.is_some();
        if let Some(name) = next {
            self.open = Some((name, 0));
        }
        Ok(found)
    }
}

/// All records of a directory in order.
#[derive(Debug)]
pub struct Records {
    tail: Tail,
    ready: VecDeque<Row>,
    failed: bool,
}

/// Reads the log in `dir` from its first record to where it ends now. Nothing but checksums is verified: run
/// [`crate::verify()`] before, where that matters.
pub fn records(dir: &Path) -> Records {
    Records { tail: tail(dir, None), ready: VecDeque::new(), failed: false }
}

impl Iterator for Records {
    type Item = Result<(u64, Vec<u8>), SearchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && !self.failed {
            match self.tail.poll() {
                Ok(rows) => self.ready.extend(rows),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(|row| Ok((row.seq, row.leaf)))
    }
}
