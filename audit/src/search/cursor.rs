//! Records in order: all there are, and those that come.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use crate::{
    segment::{Batches, Leaves, Name, Place},
    tree::{self, Hash},
};

use super::{Row, SearchError, names};

/// A reader that can be asked again and again for what is new. It gives whole batches with right checksums only.
#[derive(Debug)]
pub struct Tail {
    dir: PathBuf,
    /// The next record to give.
    next: u64,
    /// The segment being read and the place of its next batch.
    open: Option<(Name, Place)>,
}

/// Bytes of one answer of [`Tail::poll`], at most a batch more.
const POLL_BYTES_MAX: usize = 8 << 20;

/// What one batch brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) rows: Vec<Located>,
    /// Records up to the end of the last batch, and the hash of the last one.
    pub(crate) size: u64,
    pub(crate) last: Hash,
    /// Path of the segment, and where the last batch ends in it if it is as it was written.
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
        Self { dir: dir.to_owned(), next: size, open: name.map(|name| (name, Place { offset })) }
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
            let Some((name, place)) = self.segment()? else { return Ok(None) };
            let io = || SearchError::io(&name.path);
            let mut batches = match Batches::open(&self.dir, &name, place, self.next) {
                // It was pruned since it was found; what is there now begins later.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && self.is_pruned(&name)? =>
                {
                    self.open = None;
                    continue;
                }
                batches => batches.map_err(io())?,
            };
            let mut brought: Option<Brought> = None;
            let mut bytes = 0;
            // What is there beyond `size` is not looked at: behind the last batch lie megabytes of zeros.
            while self.next < size {
                let Some(batch) = batches.next().map_err(io())? else { break };
                if batch.end > size || bytes > POLL_BYTES_MAX {
                    break;
                }
                bytes += batch.leaves.len();
                let rows = brought.get_or_insert_with(|| Brought {
                    rows: Vec::new(),
                    size: 0,
                    last: [0; 32],
                    segment: name.path.clone(),
                    end: 0,
                });
                (rows.size, rows.end) = (batch.end, batch.next.offset);
                for ((at, leaf), seq) in Leaves::new(batch.leaves).zip(batch.first..) {
                    if seq >= self.next {
                        let row = Row { seq, leaf: leaf.to_vec() };
                        rows.rows.push(Located { row, offset: batch.offset + at as u64 });
                    }
                }
                self.open = Some((name.clone(), batch.next));
                self.next = self.next.max(batch.end);
            }
            if let Some(brought) = &mut brought
                && let Some(last) = brought.rows.last()
            {
                brought.last = tree::leaf_hash(&last.row.leaf);
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

    /// Whether all segments that are there begin later.
    fn is_pruned(&self, name: &Name) -> Result<bool, SearchError> {
        Ok(names(&self.dir)?.first().is_some_and(|oldest| oldest.first > name.first))
    }

    /// The segment that holds the next record.
    fn segment(&mut self) -> Result<Option<(Name, Place)>, SearchError> {
        if self.open.is_none() {
            let names = names(&self.dir)?;
            let after = names.partition_point(|name| name.first <= self.next);
            self.open =
                names.into_iter().nth(after.saturating_sub(1)).map(|name| (name, Place::default()));
        }
        Ok(self.open.clone())
    }

    /// Moves on to a segment that begins with the next record, if there is one.
    fn advance(&mut self, from: &Name) -> Result<bool, SearchError> {
        let next = names(&self.dir)?
            .into_iter()
            .find(|name| name.first == self.next && name.first != from.first);
        let found = next.is_some();
        if let Some(name) = next {
            self.open = Some((name, Place::default()));
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
