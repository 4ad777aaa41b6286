//! Adds records to the partition of their segment's day.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use tantivy::{IndexWriter, TantivyDocument, merge_policy::LogMergePolicy};

use crate::{
    detour::Detour,
    durable::led,
    search::{self, Brought, Tail},
    segment::check,
};

use super::{
    IndexError,
    gathered::Gathered,
    partition::{self, Position},
};

/// What one partition may hold in memory; the library wants at least 15 MB.
const MEMORY_BYTES: usize = 48 << 20;

/// Segments of like size that become one. Each merge writes its records again, and each segment costs a search little:
/// with twice as many as the library's own number, ten million records are written twice, not three times.
const MERGED_TOGETHER: usize = 16;

/// The partition being written and how far it got.
pub(super) struct Writer {
    /// The log's directory as it was given, and where that led then: the way may lead to another copy later.
    given: PathBuf,
    dir: PathBuf,
    detour: Option<Detour>,
    open: Option<Open>,
    /// Position of what was added, and whether it is committed.
    added: Option<Position>,
    committed: u64,
    uncommitted: u64,
    /// Brings days that are over into one segment each.
    merging: Option<JoinHandle<()>>,
}

/// One partition under way.
struct Open {
    day: String,
    /// Its thread for documents has nothing to do: segments are written here, and it commits and merges them.
    writer: IndexWriter<TantivyDocument>,
    gathered: Gathered,
}

impl Open {
    /// Gives what was gathered to the library as a segment.
    fn flush(&mut self) -> Result<(), IndexError> {
        // INVARIANT: segments hold disjoint ranges of `seq`, so merging them keeps their order for free.
        match self.gathered.write(self.writer.new_segment())? {
            Some(segment) => Ok(self.writer.add_segment(segment)?),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("committed", &self.committed).finish_non_exhaustive()
    }
}

impl Writer {
    /// Finds the newest partition that fits the log, throws away what does not, and returns a reader that continues
    /// there.
    pub(super) fn open(given: &Path, detour: Option<Detour>) -> Result<(Self, Tail), IndexError> {
        let dir = &led(given);
        remove_pruned(dir)?;
        remove_after_hole(dir)?;
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
            Some(at) => (Tail::at(given, at.size, &at.segment, at.offset), at.size),
            None => (search::tail(given, None), 0),
        };
        let tail = tail.with_detour(detour.clone());
        let mut writer = Self {
            given: given.to_owned(),
            dir: dir.to_owned(),
            detour,
            open: None,
            added: None,
            committed,
            uncommitted: 0,
            merging: None,
        };
        // Those that a crash kept from it.
        let mut days = partition::days(dir)?;
        days.pop();
        writer.merge(days);
        Ok((writer, tail))
    }

    /// Whether the log's directory leads somewhere else now.
    pub(super) fn has_moved(&self) -> bool {
        led(&self.given) != self.dir
    }

    /// Begins again where the log's directory leads now.
    pub(super) fn open_again(&self) -> Result<(Self, Tail), IndexError> {
        // A log that was opened has segments. Where its drive is gone there are none, and an index that takes that for its
        // log's beginning would have every record twice once the drive is back.
        if search::names(&self.given)?.is_empty() {
            let source = io::ErrorKind::NotFound.into();
            return Err(IndexError::Io { path: "seg".to_owned(), source });
        }
        Self::open(&self.given, self.detour.clone())
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
        if self.open.as_ref().is_some_and(|open| open.day != day) {
            // ORDER: a day is complete and committed before the next one begins.
            self.commit()?;
            if let Some(open) = self.open.take() {
                open.writer.wait_merging_threads()?;
                self.merge(vec![open.day]);
            }
        }
        if self.open.is_none() {
            let (index, fields) = partition::open_or_create(&self.dir, &day)?;
            let writer: IndexWriter<TantivyDocument> =
                index.writer_with_num_threads(1, MEMORY_BYTES)?;
            let mut policy = LogMergePolicy::default();
            policy.set_min_num_segments(MERGED_TOGETHER);
            writer.set_merge_policy(Box::new(policy));
            self.open = Some(Open { day, writer, gathered: Gathered::new(fields) });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        for located in &brought.rows {
            open.gathered.add(located, check::crc(&located.row.leaf));
        }
        if open.gathered.bytes() > MEMORY_BYTES {
            open.flush()?;
        }
        self.uncommitted += brought.rows.len() as u64;
        self.added = Some(Position::new(brought));
        Ok(())
    }

    /// Commits documents and position together.
    pub(super) fn commit(&mut self) -> Result<(), IndexError> {
        let (Some(open), Some(position)) = (&mut self.open, self.added.take()) else {
            return Ok(());
        };
        open.flush()?;
        let payload = serde_json::to_string(&position)
            .map_err(|error| IndexError::Library(error.to_string()))?;
        let mut prepared = open.writer.prepare_commit()?;
        prepared.set_payload(&payload);
        prepared.commit()?;
        self.committed = position.size;
        self.uncommitted = 0;
        Ok(())
    }

    /// Ends the open partition and what else runs; dropping a writer would kill its merges.
    pub(super) fn finish(&mut self) -> Result<(), IndexError> {
        if let Some(open) = self.open.take() {
            open.writer.wait_merging_threads()?;
        }
        if let Some(merging) = self.merging.take()
            && merging.join().is_err()
        {
            tracing::error!("the merging thread of the index panicked");
        }
        Ok(())
    }

    /// Brings each of these days, which are over, into one segment, beside what else is indexed: newest-first walks and
    /// figures then open one dictionary instead of twenty.
    fn merge(&mut self, days: Vec<String>) {
        let (dir, before) = (self.dir.clone(), self.merging.take());
        let run = move || {
            // One day after the other: each holds what it merges in memory.
            if let Some(before) = before
                && before.join().is_err()
            {
                tracing::error!("the merging thread of the index panicked");
            }
            for day in days {
                if let Err(error) = merge_day(&dir, &day) {
                    tracing::warn!(%error, day, "the index of a day stays in several segments");
                }
            }
        };
        match thread::Builder::new().name("audit-index-merge".to_owned()).spawn(run) {
            Ok(thread) => self.merging = Some(thread),
            Err(error) => tracing::warn!(%error, "the index is not merged"),
        }
    }
}

fn merge_day(dir: &Path, day: &str) -> Result<(), IndexError> {
    let Some((index, _)) = partition::open(dir, day)? else { return Ok(()) };
    let segments = index.searchable_segment_ids()?;
    if segments.len() > 1 {
        let mut writer: IndexWriter<TantivyDocument> =
            index.writer_with_num_threads(1, MEMORY_BYTES)?;
        writer.merge(&segments).wait()?;
        writer.wait_merging_threads()?;
    }
    Ok(())
}

/// Removes the days before the log's first one: their records were pruned, and a crash came before their index was.
fn remove_pruned(dir: &Path) -> Result<(), IndexError> {
    let Some(first) = search::names(dir)?.first().map(|name| day_of(&name.path)) else {
        return Ok(());
    };
    let days = partition::days(dir)?;
    days.iter().filter(|day| **day < first).try_for_each(|day| partition::remove(dir, day))
}

/// Removes what comes after a day that has records and no partition, so that it is made again: what is indexed must be
/// one range.
fn remove_after_hole(dir: &Path) -> Result<(), IndexError> {
    let days: BTreeSet<String> = partition::days(dir)?.into_iter().collect();
    let names = search::names(dir)?;
    // A segment without records needs no partition.
    let full =
        names.iter().zip(names.iter().skip(1)).filter(|(name, next)| name.first < next.first);
    let hole = full.map(|(name, _)| day_of(&name.path)).find(|day| !days.contains(day));
    let Some(hole) = hole else { return Ok(()) };
    days.range(hole..).try_for_each(|day| partition::remove(dir, day))
}

/// `seg/2026/01/31/….jsonl` belongs to `2026-01-31`: whole batches belong to one day, even if one was written across
/// midnight.
pub(super) fn day_of(segment: &str) -> String {
    segment.split('/').skip(1).take(3).collect::<Vec<_>>().join("-")
}
