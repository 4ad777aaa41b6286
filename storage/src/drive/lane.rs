//! A drive with its threads and its health: how asynchronous code reaches blocking drives.
//!
//! Each lane has [`IO_THREADS`] threads for shard files and scans. (The commit thread of a drive belongs to `commit`.)

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures::channel::oneshot;
use tokio::sync::mpsc;

use super::{Drive, DriveError, Table};

/// Two keep a drive busy while one of them waits for a sync.
const IO_THREADS: usize = 2;

/// Jobs that may wait for one thread; senders wait beyond that.
const JOBS_MAX: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

const ONLINE: u8 = 0;
const OFFLINE: u8 = 1;

/// One slot of the array. Shared by everything that reads or writes; all state is atomic.
pub(crate) struct Lane {
    path: PathBuf,
    /// `None` when the drive was not there at open, and after close.
    drive: RwLock<Option<Arc<dyn Drive>>>,
    state: AtomicU8,
    /// Its rows missed a commit: it may hold shards, it must not answer for rows.
    stale: AtomicBool,
    bad_shards: AtomicU64,
    queues: RwLock<Vec<mpsc::Sender<Job>>>,
    next: AtomicU64,
}

/// Work that was handed to a drive.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    answered: oneshot::Receiver<Result<T, DriveError>>,
}

impl<T> Pending<T> {
    /// Waits for the end of the work. Once only.
    pub(crate) async fn wait(&mut self) -> Result<T, DriveError> {
        (&mut self.answered).await.map_err(|_| DriveError::Offline)?
    }
}

/// The threads of a lane, owned by whoever closes it.
pub(crate) type Threads = Vec<JoinHandle<()>>;

impl Lane {
    /// A lane for an opened drive, with its threads started.
    pub(crate) fn start(
        slot: usize,
        path: PathBuf,
        drive: Arc<dyn Drive>,
    ) -> std::io::Result<(Arc<Self>, Threads)> {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for thread in 0..IO_THREADS {
            let (sender, mut receiver) = mpsc::channel::<Job>(JOBS_MAX);
            let work = move || {
                while let Some(job) = receiver.blocking_recv() {
                    job();
                }
            };
            let name = format!("storage-d{slot}-io{thread}");
            threads.push(std::thread::Builder::new().name(name).spawn(work)?);
            queues.push(sender);
        }
        Ok((Self::new(path, Some(drive), queues), threads))
    }

    /// A lane for a drive that is not there.
    pub(crate) fn missing(path: PathBuf) -> Arc<Self> {
        Self::new(path, None, Vec::new())
    }

    fn new(
        path: PathBuf,
        drive: Option<Arc<dyn Drive>>,
        queues: Vec<mpsc::Sender<Job>>,
    ) -> Arc<Self> {
        let state = if drive.is_some() { ONLINE } else { OFFLINE };
        Arc::new(Self {
            path,
            drive: RwLock::new(drive),
            state: AtomicU8::new(state),
            stale: AtomicBool::new(false),
            bad_shards: AtomicU64::new(0),
            queues: RwLock::new(queues),
            next: AtomicU64::new(0),
        })
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn online(&self) -> bool {
        self.state.load(Ordering::Acquire) == ONLINE
    }

    pub(crate) fn stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Whether the rows of this drive may be read.
    pub(crate) fn in_sync(&self) -> bool {
        self.online() && !self.stale()
    }

    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    pub(crate) fn bad_shards(&self) -> u64 {
        self.bad_shards.load(Ordering::Relaxed)
    }

    /// Counts a shard that was missing or did not verify.
    pub(crate) fn count_bad_shard(&self) {
        self.bad_shards.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the drive out of use until it is opened again. A failed sync must never be retried: the page cache may have
    /// dropped what it could not write.
    pub(crate) fn fail(&self, error: &DriveError) {
        if self.state.swap(OFFLINE, Ordering::AcqRel) == ONLINE {
            tracing::error!(
                drive = %self.path.display(),
                error = error as &dyn std::error::Error,
                "drive taken out of use"
            );
        }
        self.mark_stale();
    }

    /// The drive, if it is in use.
    pub(crate) fn drive(&self) -> Result<Arc<dyn Drive>, DriveError> {
        if !self.online() {
            return Err(DriveError::Offline);
        }
        let drive = self.drive.read().unwrap_or_else(PoisonError::into_inner);
        drive.clone().ok_or(DriveError::Offline)
    }

    /// Reads one value on the caller's thread: a hop to another thread costs more than a read from a warm cache.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, DriveError> {
        self.drive()?.get(table, key)
    }

    /// Runs blocking work on a thread of this drive.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Drive) -> Result<T, DriveError> + Send + 'static,
    ) -> Result<T, DriveError> {
        self.submit(work).await?.wait().await
    }

    /// Hands blocking work to a thread of this drive and does not wait for its end.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Drive) -> Result<T, DriveError> + Send + 'static,
    ) -> Result<Pending<T>, DriveError> {
        let drive = self.drive()?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more when the request was dropped; its effects are cleaned up by their owners.
            let _ = answer.send(work(&*drive));
        });
        let queue = self.queue().ok_or(DriveError::Offline)?;
        queue.send(job).await.map_err(|_| DriveError::Offline)?;
        Ok(Pending { answered })
    }

    fn queue(&self) -> Option<mpsc::Sender<Job>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        queues.get(turn % queues.len().max(1)).cloned()
    }

    /// Lets go of the drive and its queues; the threads end when their last job is done.
    pub(crate) fn close(&self) {
        self.state.store(OFFLINE, Ordering::Release);
        self.queues.write().unwrap_or_else(PoisonError::into_inner).clear();
        *self.drive.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("path", &self.path)
            .field("online", &self.online())
            .field("stale", &self.stale())
            .finish_non_exhaustive()
    }
}
