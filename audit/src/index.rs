//! The index: derived data that proposes candidates, and columns that figures are made of.
//!
//! One tantivy index per UTC day under `idx/`, no stored fields: a row is read back from its segment by offset and
//! matched again, so a query may ask the index for too much but never for too little. Figures over many records come
//! from columns without reading a record; [`check`] compares these with the log. The position of the index is committed
//! with its documents; on start it is compared with the segments, and what does not fit, or was made by another version,
//! is built again. A day that is over is brought into one segment.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    log::{Log, Watch},
    search::{self, SearchError, Tail},
    upkeep::{Trouble, Upkeep},
};

pub use check::{Checked, Mismatch, check};
pub(crate) use days::Days;
pub(crate) use figures::Asked;
pub(crate) use read::{Candidates, Found, Wanted};

mod check;
mod days;
mod figures;
mod gathered;
mod partition;
mod read;
mod schema;
mod shapes;
mod translate;
mod writer;

use writer::Writer;

/// A commit costs tens of milliseconds whatever it holds, and lag costs a scan of what is not indexed: one that holds
/// enough comes after the shorter time, any other after the longer one. With the pause before it and the commit itself,
/// nothing waits longer than two seconds.
const COMMIT_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(1500)];
/// Documents that are enough.
const COMMIT_DOCS_MIN: u64 = 20_000;
/// Documents after which a commit comes early, as many as are gathered within the memory of a partition.
const COMMIT_DOCS: u64 = 60_000;
/// A pause of whoever has caught up, so that the next look finds many records at once. Searches read what is not indexed
/// from the log itself, so it delays nobody.
const GATHER_INTERVAL: Duration = Duration::from_millis(100);
/// Requests go first where the processors are busy: indexing a record costs several times what writing it does.
const NICENESS: i32 = 10;

/// Why the index does not work. The log and its searches go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The index library failed.
    #[error("the index: {0}")]
    Library(String),
    /// Reading the log failed.
    #[error(transparent)]
    Log(#[from] SearchError),
    /// The file system failed.
    #[error("the index, `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl From<tantivy::TantivyError> for IndexError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Library(error.to_string())
    }
}

/// Follows a log and indexes what is durable, on a thread of its own. What fails is tried again until it succeeds.
pub struct Indexer {
    position: Arc<AtomicU64>,
    trouble: Trouble,
    stop: Arc<AtomicBool>,
    watch: Watch,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Indexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indexer").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Indexer {
    /// Starts to index the log that was opened over the local directory `dir`.
    ///
    /// # Errors
    /// [`IndexError`] when the index cannot be opened; the server runs on without one.
    pub fn start(dir: &Path, log: &Log) -> Result<Self, IndexError> {
        let (writer, tail) = Writer::open(dir, Some(log.detour(dir)))?;
        let position = Arc::new(AtomicU64::new(writer.committed()));
        let stop = Arc::new(AtomicBool::new(false));
        let watch = log.subscribe();
        let upkeep = Upkeep::new("indexing", watch.clone(), stop.clone());
        let trouble = upkeep.trouble().clone();
        let indexing = Indexing {
            writer,
            tail,
            watch: watch.clone(),
            stop: stop.clone(),
            position: position.clone(),
            committed_at: Instant::now(),
            upkeep,
            failed: false,
        };
        let thread = thread::Builder::new()
            .name("audit-indexer".to_owned())
            .spawn(move || indexing.run())
            .map_err(|source| IndexError::Io { path: "thread".to_owned(), source })?;
        Ok(Self { position, trouble, stop, watch, thread: Some(thread) })
    }

    /// Number of records that are indexed and committed.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// False while an error keeps it from indexing; what is not indexed is scanned by searches.
    pub fn is_running(&self) -> bool {
        let is_there = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        is_there && !self.trouble.is_there()
    }

    /// Indexes what is durable now, commits, and waits for running merges.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.watch.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the indexing thread panicked");
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the indexing thread owns.
struct Indexing {
    writer: Writer,
    tail: Tail,
    watch: Watch,
    stop: Arc<AtomicBool>,
    position: Arc<AtomicU64>,
    committed_at: Instant,
    upkeep: Upkeep,
    /// Whether the last attempt failed, so that the index has to be opened again.
    failed: bool,
}

impl Indexing {
    fn run(mut self) {
        // This thread only, and the threads of the library that it starts.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "indexing at the priority of requests");
        }
        while let Err(error) = self.follow() {
            // Searches scan from the last commit on; nothing is lost but speed.
            self.failed = true;
            let writer = &self.writer;
            // A drive that fails takes the index along; the log may be read from another one soon.
            if !self.upkeep.failed(&error, || writer.has_moved()) {
                break;
            }
        }
        if let Err(error) = self.writer.finish() {
            tracing::error!(%error, "closing the index");
        }
    }

    fn follow(&mut self) -> Result<(), IndexError> {
        if self.failed {
            self.begin_again()?;
        }
        loop {
            self.move_on()?;
            // ORDER: read before the batch is looked for, so that a stop never misses what was durable before it.
            let stopping = self.upkeep.is_over();
            let durable = self.watch.size();
            let brought = match self.tail.poll_located(durable) {
                Err(error) => {
                    // What was read before it is as good as ever.
                    self.commit()?;
                    return Err(error.into());
                }
                brought => brought?,
            };
            match brought {
                Some(brought) => {
                    self.writer.add(&brought)?;
                    if brought.size == durable && !stopping {
                        self.watch.wait_past_unless(u64::MAX, GATHER_INTERVAL, &self.stop);
                    }
                }
                None if stopping => {
                    self.commit()?;
                    return Ok(());
                }
                None => {
                    if !self.writer.is_dirty() {
                        self.upkeep.goes_well();
                    }
                    let timeout =
                        self.commit_interval().saturating_sub(self.committed_at.elapsed());
                    let timeout =
                        if self.writer.is_dirty() { timeout } else { Duration::from_secs(60) };
                    self.watch.wait_past_unless(durable, timeout, &self.stop);
                }
            }
            let due = self.committed_at.elapsed() >= self.commit_interval();
            if self.writer.uncommitted() >= COMMIT_DOCS || due && self.writer.is_dirty() {
                self.commit()?;
            }
        }
    }

    /// Indexes another copy of the log, once that is the one that is read; false while it is not.
    fn move_on(&mut self) -> Result<bool, IndexError> {
        if !self.writer.has_moved() {
            return Ok(false);
        }
        self.open_again()?;
        tracing::warn!("the audit log is read from another copy, which is indexed now");
        Ok(true)
    }

    /// After a failure: what the index and the reader had open may be of no use any more.
    fn begin_again(&mut self) -> Result<(), IndexError> {
        if !self.move_on()? {
            // What is not committed is indexed again. A writer that is open holds the lock of its day.
            if let Err(error) = self.writer.finish() {
                tracing::debug!(%error, "closing the index after a failure");
            }
            self.open_again()?;
        }
        self.failed = false;
        Ok(())
    }

    fn open_again(&mut self) -> Result<(), IndexError> {
        (self.writer, self.tail) = self.writer.open_again()?;
        self.position.store(self.writer.committed(), Ordering::Release);
        Ok(())
    }

    /// Time from one commit to the next, as things are.
    fn commit_interval(&self) -> Duration {
        let [enough, any] = COMMIT_INTERVALS;
        if self.writer.uncommitted() >= COMMIT_DOCS_MIN { enough } else { any }
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        self.writer.commit()?;
        self.committed_at = Instant::now();
        self.position.store(self.writer.committed(), Ordering::Release);
        Ok(())
    }
}

/// Throws the index of the log in `dir` away and builds it again; no server may run. `progress` gets the records
/// done. Returns the number of records indexed.
///
/// # Errors
/// [`IndexError`].
pub fn rebuild(dir: &Path, progress: &dyn Fn(u64)) -> Result<u64, IndexError> {
    partition::remove_all(dir)?;
    let (mut writer, mut tail) = Writer::open(dir, None)?;
    while let Some(brought) = tail.poll_located(u64::MAX)? {
        writer.add(&brought)?;
        if writer.uncommitted() >= COMMIT_DOCS {
            writer.commit()?;
        }
        progress(tail.position());
    }
    writer.commit()?;
    writer.finish()?;
    Ok(writer.committed())
}

/// Deletes the index of a UTC day, `YYYY-MM-DD`, whose records were deleted; true if there was one. A day that still has
/// records keeps its index, because searches would miss them, and so does the newest one, which is written to.
///
/// # Errors
/// [`IndexError`].
pub fn remove_day(dir: &Path, day: &str) -> Result<bool, IndexError> {
    let days = partition::days(dir)?;
    let over = days.split_last().is_some_and(|(_, over)| over.iter().any(|over| over == day));
    if !over || search::names(dir)?.iter().any(|name| writer::day_of(&name.path) == day) {
        return Ok(false);
    }
    partition::remove(dir, day)?;
    Ok(true)
}

/// Where the partitions are.
fn root(dir: &Path) -> PathBuf {
    dir.join("idx")
}
