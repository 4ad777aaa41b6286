//! Records in order: all there are, and those that come.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    detour::Detour,
    log::Watch,
    segment::{Leaves, Name, Place},
    tree::{self, Hash},
};

use super::{Row, SearchError, follower::Follower};

/// A reader that can be asked again and again for what is new. It gives whole batches with right checksums only.
#[derive(Debug)]
pub struct Tail {
    batches: Follower,
    detour: Option<Detour>,
}

/// Bytes of one answer of [`Tail::poll`], at most a batch more.
const POLL_BYTES_MAX: usize = 8 << 20;

/// Between two looks for what is durable and not yet to be read.
const UNREADABLE_PAUSE: Duration = Duration::from_millis(2);

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

impl Brought {
    fn of(name: &Name) -> Self {
        Self { rows: Vec::new(), size: 0, last: [0; 32], segment: name.path.clone(), end: 0 }
    }
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
    Tail { batches: Follower::new(dir, after.map_or(0, |seq| seq + 1)), detour: None }
}

impl Tail {
    /// A reader that continues after `size` records, at a batch boundary known from before.
    pub(crate) fn at(dir: &Path, size: u64, segment: &str, offset: u64) -> Self {
        let at = Name::of_path(segment).map(|name| (name, Place { offset }));
        Self { batches: Follower::at(dir, size, at), detour: None }
    }

    /// The same, with a way round damage.
    #[must_use]
    pub fn with_detour(mut self, detour: Option<Detour>) -> Self {
        self.detour = detour;
        self
    }

    /// The `seq` of the next record.
    pub fn position(&self) -> u64 {
        self.batches.position()
    }

    /// New records in order; empty when there are none yet.
    ///
    /// # Errors
    /// [`SearchError::Io`]; [`SearchError::Damaged`] at a record that cannot be read while later ones are there.
    pub fn poll(&mut self) -> Result<Vec<Row>, SearchError> {
        self.poll_durable(u64::MAX)
    }

    /// The same, but only records that are durable when `size` of them are.
    ///
    /// # Errors
    /// [`SearchError::Io`]; [`SearchError::Damaged`] at a record that cannot be read while later ones are there.
    pub fn poll_durable(&mut self, size: u64) -> Result<Vec<Row>, SearchError> {
        let brought = self.poll_located(size)?;
        Ok(brought.map_or(Vec::new(), |b| b.rows.into_iter().map(|located| located.row).collect()))
    }

    /// Waits up to `timeout` for records that are durable by `watch` and gives them; empty when none came, or the log was
    /// closed. Blocks its thread.
    ///
    /// # Errors
    /// As [`Tail::poll_durable`].
    pub fn follow(&mut self, watch: &Watch, timeout: Duration) -> Result<Vec<Row>, SearchError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let size = watch.wait_past(self.position(), left);
            let rows = self.poll_durable(size)?;
            let is_over = left.is_zero() || size <= self.position() && watch.is_closed();
            if !rows.is_empty() || is_over {
                return Ok(rows);
            }
            if size > self.position() {
                // Durable on most copies, and not yet on the one that is read: nobody says when it is.
                std::thread::sleep(UNREADABLE_PAUSE.min(left));
            }
        }
    }

    /// The same with places, and only batches that end at or before `size`.
    pub(crate) fn poll_located(&mut self, size: u64) -> Result<Option<Brought>, SearchError> {
        let detour = self.detour.clone();
        Detour::round(detour.as_ref(), SearchError::damaged, || self.read(size))
    }

    fn read(&mut self, size: u64) -> Result<Option<Brought>, SearchError> {
        let (from, mut bytes) = (self.batches.position(), 0);
        let mut brought: Option<Brought> = None;
        let read = self.batches.each(size, &mut |name, batch| {
            let gathered = brought.get_or_insert_with(|| Brought::of(name));
            (gathered.size, gathered.end) = (batch.end, batch.next.offset);
            for ((at, leaf), seq) in Leaves::new(batch.leaves).zip(batch.first..) {
                if seq >= from {
                    let row = Row { seq, leaf: leaf.to_vec() };
                    gathered.rows.push(Located { row, offset: batch.offset + at as u64 });
                }
            }
            bytes += batch.leaves.len();
            bytes < POLL_BYTES_MAX
        });
        self.batches.rest();
        read?;
        if let Some(brought) = &mut brought
            && let Some(last) = brought.rows.last()
        {
            brought.last = tree::leaf_hash(&last.row.leaf);
        }
        Ok(brought)
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
