//! The batches of a log in order, from segment to segment.
//!
//! What is not there yet and what cannot be read look alike: both end in bytes that are no batch. The difference is what
//! follows. A batch is written after the one before it was, so where a later one stands, this one is damaged or gone.
#![deny(clippy::indexing_slicing)]

use std::{
    io, mem,
    path::{Path, PathBuf},
};

use crate::segment::{Batches, Lines, Name, Place, batches::Batch, resync};

use super::{SearchError, names};

/// Memory that a reader keeps from one look to the next: about what a busy log gives at a time.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Reads on from where it stands, as often as it is asked to.
#[derive(Debug)]
pub(super) struct Follower {
    dir: PathBuf,
    /// The next record.
    next: u64,
    /// The segment that has it, and the place of the next batch there.
    at: Option<(Name, Place)>,
    open: Option<Batches>,
    /// What the one that was closed last read into.
    buffer: Vec<u8>,
}

impl Follower {
    /// A reader of the log in `dir` from record `next` on, or from the first one that was not pruned.
    pub(super) fn new(dir: &Path, next: u64) -> Self {
        Self::at(dir, next, None)
    }

    /// The same, where the batch that begins with `next` is known to be.
    pub(super) fn at(dir: &Path, next: u64, at: Option<(Name, Place)>) -> Self {
        Self { dir: dir.to_owned(), next, at, open: None, buffer: Vec::new() }
    }

    /// The `seq` of the next record.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// Closes what is open. The next batch is looked for by path again, on the copy of the log that is in use then.
    pub(super) fn rest(&mut self) {
        if let Some(open) = self.open.take() {
            self.buffer = open.into_buffer();
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// Gives whole batches of one segment that end at or before `size`, until `take` says stop or there are none yet.
    /// The first one may begin before the position.
    ///
    /// # Errors
    /// Reading failed; [`SearchError::Damaged`] where later records are there and the next one is not. Nothing was given
    /// then.
    pub(super) fn each(
        &mut self,
        size: u64,
        take: &mut dyn FnMut(&Name, &Batch<'_>) -> bool,
    ) -> Result<(), SearchError> {
        let (mut given, mut again) = (false, false);
        // What is there beyond `size` is not looked at: behind the last batch lie megabytes of zeros.
        while self.next < size {
            let Some((name, place)) = self.segment()? else { return Ok(()) };
            let Some(mut batches) = self.batches(&name, place)? else { continue };
            let more = match batches.next() {
                Ok(Some(batch)) if batch.end > size => return Ok(()),
                Ok(Some(batch)) if batch.first <= self.next => {
                    let new = batch.end > self.next;
                    self.next = self.next.max(batch.end);
                    self.at = Some((name.clone(), batch.next));
                    given |= new;
                    again = false;
                    !new || take(&name, &batch)
                }
                _ if given => return Ok(()),
                Err(error) => return Err(SearchError::io(&name.path)(error)),
                Ok(Some(_)) => return Err(self.damaged(&name)),
                Ok(None) if self.advance(&name)? => continue,
                Ok(None) if !self.goes_on(&name, place)? => return Ok(()),
                // It was written between one look and the other, unless it still is not there.
                Ok(None) if again => return Err(self.damaged(&name)),
                Ok(None) => {
                    again = true;
                    continue;
                }
            };
            self.open = Some(batches);
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    fn damaged(&self, name: &Name) -> SearchError {
        SearchError::Damaged { path: name.path.clone(), seq: self.next }
    }

    /// The segment that holds the next record.
    fn segment(&mut self) -> Result<Option<(Name, Place)>, SearchError> {
        if self.at.is_none() {
            let names = names(&self.dir)?;
            let after = names.partition_point(|name| name.first <= self.next);
            if let Some(name) = names.into_iter().nth(after.saturating_sub(1)) {
                // What comes before the oldest one was pruned.
                self.next = self.next.max(name.first);
                self.at = Some((name, Place::default()));
            }
        }
        Ok(self.at.clone())
    }

    /// What is open, or the segment from a place on; none where it was pruned since it was found.
    fn batches(&mut self, name: &Name, place: Place) -> Result<Option<Batches>, SearchError> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        match Batches::open(&self.dir, name, place, self.next, mem::take(&mut self.buffer)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_pruned(name)? => {
                self.at = None;
                Ok(None)
            }
            batches => batches.map(Some).map_err(SearchError::io(&name.path)),
        }
    }

    /// Whether all segments that are there begin later.
    fn is_pruned(&self, name: &Name) -> Result<bool, SearchError> {
        Ok(names(&self.dir)?.first().is_some_and(|oldest| oldest.first > name.first))
    }

    /// Moves on to a segment that begins with the next record, if there is one.
    fn advance(&mut self, from: &Name) -> Result<bool, SearchError> {
        let next = names(&self.dir)?
            .into_iter()
            .find(|name| name.first == self.next && name.first != from.first);
        let found = next.is_some();
        if let Some(name) = next {
            self.at = Some((name, Place::default()));
        }
        Ok(found)
    }

    /// Whether there are records after a place at which there is no batch.
    fn goes_on(&self, name: &Name, place: Place) -> Result<bool, SearchError> {
        if names(&self.dir)?.last().is_some_and(|newest| newest.first > self.next) {
            return Ok(true);
        }
        let after = match Lines::open(&self.dir, name).map_err(SearchError::io(&name.path))? {
            Lines::Packed(_) => return Ok(false),
            Lines::Written(file) => resync::after(&file, place.offset),
        };
        let after = after.map_err(SearchError::io(&name.path))?;
        Ok(matches!(after, resync::After::Batch(_)))
    }
}
