//! Adds records to the partition of their segment's day.

use std::{fmt, path::Path, path::PathBuf};

use tantivy::{IndexWriter, TantivyDocument};

use crate::search::{Brought, Tail};

use super::{
    IndexError,
    partition::{self, Position},
    schema::Fields,
};

/// What one partition may hold in memory; the library wants at least 15 MB.
const MEMORY_BYTES: usize = 48 << 20;

/// The partition being written and how far it got.
pub(super) struct Writer {
    dir: PathBuf,
    open: Option<(String, IndexWriter<TantivyDocument>, Fields)>,
    /// Position of what was added, and whether it is committed.
    added: Option<Position>,
    committed: u64,
    uncommitted: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("committed", &self.committed).finish_non_exhaustive()
    }
}

impl Writer {
    /// Finds the newest partition that fits the log, throws away what does not, and returns a reader that continues
    /// there.
    pub(super) fn open(dir: &Path) -> Result<(Self, Tail), IndexError> {
        let mut start = None;
        for day in partition::days(dir)?.iter().rev() {
            match partition::open(dir, day) {
                Ok(Some((_, position))) if position.fits(dir) => {
                    start = Some(position);
                    break;
                }
                // Derived data: whatever is wrong with it, building it again is right.
                Ok(_) | Err(_) => partition::remove(dir, day)?,
            }
        }
        let (tail, committed) = match start {
            Some(at) => (Tail::at(dir, at.size, &at.segment, at.offset), at.size),
            None => (crate::search::tail(dir, None), 0),
        };
        let writer =
            Self { dir: dir.to_owned(), open: None, added: None, committed, uncommitted: 0 };
        Ok((writer, tail))
    }

    /// Records that are committed.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// Documents that are not.
    pub(super) fn uncommitted(&self) -> u64 {
        self.uncommitted
    }

    /// Whether there is something to commit.
    pub(super) fn is_dirty(&self) -> bool {
        self.added.is_some()
    }

    /// Adds batches of one segment.
    pub(super) fn add(&mut self, brought: &Brought) -> Result<(), IndexError> {
        let day = day_of(&brought.segment);
        if self.open.as_ref().is_some_and(|(open, ..)| *open != day) {
            // ORDER: a day is complete and committed before the next one begins.
            self.commit()?;
            self.finish()?;
        }
        if self.open.is_none() {
            let (index, fields) = partition::open_or_create(&self.dir, &day)?;
            // One thread: then segments hold disjoint ranges of `seq`, and merging them keeps their order for free.
            let writer = index.writer_with_num_threads(1, MEMORY_BYTES)?;
            self.open = Some((day, writer, fields));
        }
        let Some((_, writer, fields)) = &self.open else { return Ok(()) };
        for located in &brought.rows {
            writer.add_document(fields.document(located))?;
        }
        self.uncommitted += brought.rows.len() as u64;
        self.added = Some(Position::new(&brought.control, &brought.segment, brought.end));
        Ok(())
    }

    /// Commits documents and position together.
    pub(super) fn commit(&mut self) -> Result<(), IndexError> {
        let (Some((_, writer, _)), Some(position)) = (&mut self.open, self.added.take()) else {
            return Ok(());
        };
        let payload = serde_json::to_string(&position)
            .map_err(|error| IndexError::Library(error.to_string()))?;
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&payload);
        prepared.commit()?;
        self.committed = position.size;
        self.uncommitted = 0;
        Ok(())
    }

    /// Ends the open partition; dropping a writer would kill its merges.
    pub(super) fn finish(&mut self) -> Result<(), IndexError> {
        if let Some((_, writer, _)) = self.open.take() {
            writer.wait_merging_threads()?;
        }
        Ok(())
    }
}

/// `seg/2026/01/31/….jsonl` belongs to `2026-01-31`: whole batches belong to one day, even if one was written across
/// midnight.
fn day_of(segment: &str) -> String {
    segment.split('/').skip(1).take(3).collect::<Vec<_>>().join("-")
}
