//! The log while it is written: one writer thread, group commit, heads signed behind it.
//!
//! [`Log::append`] encodes on the caller's thread and queues; the order of calls is the order of `seq`. The writer
//! thread takes everything queued, stamps, hashes, writes and syncs it as one batch, and only then completes the
//! callers' [`Pending`]s. The signer thread signs sizes that are already durable, so that no crash can take back what
//! a signed head covers; the sealer thread seals segments that are finished. Any I/O error poisons the log: every waiter and every later call gets
//! [`LogError::Poisoned`], nothing is retried, and only opening it again tells what is on disk.

use std::{
    collections::HashSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use futures::FutureExt as _;

use crate::{
    checkpoint::Head,
    detour::Detour,
    durable::{Copies, Files},
    encode::{self, Encoded, TooLarge},
    memory::{Acceptance, Gap, Memory, Unfinished},
    record::Record,
    segment::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
    tree::Hash,
};

pub use answers::{Answers, Messenger};
pub use blob::{BLOB_BYTES_MAX, BlobError, Sha256Hex, read_blob};
pub use clock::{Clock, HandClock, SystemClock};
pub use keys::ChangeError;
pub use open::OpenError;
pub use pending::Pending;
pub use prune::{PruneBounds, PruneError, PrunePlan, plan_prune};
pub(crate) use tile_roots::TileRoots;
pub use watch::Watch;

mod answers;
pub(crate) mod blob;
mod clock;
pub(crate) mod heads;
pub(crate) mod identity;
mod keys;
pub(crate) mod open;
mod own;
mod pending;
pub(crate) mod prune;
mod queue;
pub(crate) mod sealer;
mod signer;
mod tile_roots;
mod watch;
mod writer;

use queue::{Job, Queue};

/// What becomes of a segment once another one follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing: for a log that must hold no record but its callers' and those of its start, end and heartbeat.
    Left,
    /// It is sealed, and the seal is recorded.
    Sealed,
    /// It is sealed, and then compressed.
    Packed,
}

/// How a log behaves. The defaults are what a server wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The log's name for life, and its key's name: a URL without scheme. Required.
    pub origin: String,
    /// Name of this writer, at most 32 bytes.
    pub node: String,
    /// A segment that reached this size is followed by a new one. 64 MiB hash in well under a second at restart.
    pub segment_bytes_max: u64,
    /// A segment that was begun, or opened again, this long ago is followed by a new one, so that what is finished can be
    /// copied away while it is young. A new UTC day begins a new segment in any case.
    pub segment_age_max: Duration,
    /// What becomes of segments that another one follows.
    pub finished: Finished,
    /// Zeros written ahead of the records at a time; they halve the time of each sync. 0 turns it off.
    pub preallocate_bytes: u64,
    /// Encoded bytes that may wait for the writer before callers get [`LogError::Full`].
    pub queue_bytes_max: usize,
    /// Time without a heartbeat record, at most: silence of the log must mean something.
    pub heartbeat: Duration,
    /// Time from one signed head to the next while busy, at least, from beginning to beginning. A record is covered after
    /// this and the time that publishing a head takes, at most: at 90 ms, 100 ms leave ten for that.
    pub sign_interval: Duration,
    /// With less room on the file system than this the log takes no records. It must hold what is written between two
    /// looks, and more: whoever fills the disk is not asked.
    pub free_bytes_min: u64,
    /// Time between two looks at the file system, at least: is there room, and is the file still in its place?
    pub look_interval: Duration,
    /// What others remember of the log. It is opened only if it has what they know of, or if somebody accepts that it has
    /// not.
    pub memories: Vec<Memory>,
    /// See `memories`.
    pub accepted: Option<Acceptance>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: String::new(),
            node: "n1".to_owned(),
            segment_bytes_max: 64 << 20,
            segment_age_max: Duration::from_secs(3600),
            finished: Finished::Packed,
            preallocate_bytes: 512 << 10,
            queue_bytes_max: 64 << 20,
            heartbeat: Duration::from_secs(60),
            sign_interval: Duration::from_millis(90),
            free_bytes_min: 64 << 20,
            look_interval: Duration::from_secs(1),
            memories: Vec::new(),
            accepted: None,
        }
    }
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records before this start.
    pub size: u64,
    /// Bytes of torn, unacknowledged writes that were moved to `quarantine/`.
    pub discarded_bytes: u64,
    /// Whether the log was closed properly before.
    pub clean: bool,
    /// Whether the log was created just now.
    pub created: bool,
    /// What others knew and the log does not, where somebody accepted it. The first record of this start says so.
    pub gap: Option<Gap>,
    /// A gap that was accepted before, and those who have not gone back since: who accepted it was interrupted.
    pub unfinished: Option<Unfinished>,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Too much is waiting for the disk; the caller answers 503 and may try again.
    #[error("the audit log cannot keep up: {queued_bytes} bytes are waiting")]
    Full {
        /// Bytes in the queue.
        queued_bytes: usize,
    },
    /// The disk is full, or nearly; the log goes on by itself once there is room.
    #[error("the audit log takes no records: {free_bytes} bytes are free on its disk")]
    NoSpace {
        /// Bytes that were free at the last look.
        free_bytes: u64,
    },
    /// An earlier write failed and the log stopped.
    #[error("the audit log stopped after a failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
    /// The record, or the batch, cannot be held.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Where records ended up: `first..end` are theirs, and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// `seq` of the first record.
    pub first: u64,
    /// `seq` after the last one.
    pub end: u64,
}

/// An open log. Dropping it closes it.
///
/// Ownership: the writer thread alone has the tip, the segment file and the batch buffer; the signer thread alone
/// has the heads file; finished segments belong to who holds `Shared::segments`: the sealer thread, or a prune. What they
/// share is the queue, the durable size, the signed size and the newest durable head.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    node: String,
    threads: Mutex<Vec<JoinHandle<()>>>,
    blobs_known: Mutex<HashSet<Sha256Hex>>,
}

/// What the threads and the callers share.
#[derive(Debug)]
struct Shared {
    files: Arc<dyn Files>,
    queue: Queue,
    durable: Watch,
    to_sign: signer::Mailbox,
    /// Held while a head is published and while the key changes, so that each head is under the key of its size.
    signing: Mutex<keys::Signing>,
    to_seal: sealer::Bell,
    tiles: TileRoots,
    /// Records that a signed head covers.
    signed: Watch,
    /// Held by whoever changes finished segments: the sealer, and a prune.
    segments: Mutex<()>,
    /// Held until all threads are gone.
    lock: Mutex<Option<LockGuard>>,
}

struct LockGuard(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

impl Shared {
    /// Stops everything after a failure.
    fn poison(&self, reason: &str) {
        tracing::error!(reason, "the audit log stopped");
        self.queue.poison(reason);
        self.to_sign.close();
        self.to_seal.close();
        self.durable.close();
        self.signed.close();
    }

    /// A durable batch, and the roots over the tiles that it completes: wakes readers and the signer.
    fn publish(&self, head: Head, tiles: &[Hash]) {
        // ORDER: whoever sees the size finds the roots.
        self.tiles.put(head.size, tiles);
        self.durable.advance(head.size);
        self.to_sign.put(head);
    }
}

impl Log {
    /// Queues one record; encodes it here, on the caller's thread.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Poisoned`], [`LogError::Closed`], or [`LogError::TooLarge`]. After any of
    /// them nothing was queued.
    pub fn append(&self, record: &Record) -> Result<Pending, LogError> {
        self.enqueue(vec![encode::encode(record, &self.node)?], None)
    }

    /// Queues several records that get contiguous positions and one commit.
    ///
    /// # Errors
    /// As [`Log::append`]; [`LogError::TooLarge`] also when they do not fit into one batch of 4096 records and 4 MiB.
    pub fn append_all(&self, records: &[Record]) -> Result<Pending, LogError> {
        self.enqueue(self.encode_all(records)?, None)
    }

    /// Queues several records as [`Log::append_all`] does, for a task: a messenger takes the answer to its executor,
    /// together with the others of the same commit.
    ///
    /// # Errors
    /// As [`Log::append_all`].
    pub fn append_for_task(
        &self,
        records: &[Record],
        messenger: &Messenger,
    ) -> Result<Pending, LogError> {
        self.enqueue(self.encode_all(records)?, Some(Arc::clone(messenger)))
    }

    /// Queues several records as [`Log::append_all`] does, for a caller who does not wait for them: they are committed
    /// with the next ones that somebody waits for, or some milliseconds later, and save a commit of their own.
    ///
    /// # Errors
    /// As [`Log::append_all`]. That a later commit failed is not told here; the log is poisoned then.
    pub fn append_unhurried(&self, records: &[Record]) -> Result<(), LogError> {
        self.shared.queue.push(Job::unhurried(self.encode_all(records)?))
    }

    fn encode_all(&self, records: &[Record]) -> Result<Vec<Encoded>, LogError> {
        let encoded: Result<Vec<_>, _> =
            records.iter().map(|record| encode::encode(record, &self.node)).collect();
        let encoded = encoded?;
        let bytes = encoded.iter().map(Encoded::len_max).sum();
        if encoded.len() > BATCH_RECORDS_MAX || bytes > BATCH_BYTES_MAX {
            return Err(TooLarge { bytes }.into());
        }
        Ok(encoded)
    }

    fn enqueue(
        &self,
        records: Vec<Encoded>,
        messenger: Option<Messenger>,
    ) -> Result<Pending, LogError> {
        let (job, pending) = Job::new(records, messenger);
        self.shared.queue.push(job)?;
        Ok(pending)
    }

    /// Number of records that survive a power loss now.
    pub fn durable_size(&self) -> u64 {
        self.shared.durable.size()
    }

    /// Follows the durable size.
    pub fn subscribe(&self) -> Watch {
        self.shared.durable.clone()
    }

    /// Roots over the newest full tiles, for whoever keeps tiles.
    pub(crate) fn tile_roots(&self) -> TileRoots {
        self.shared.tiles.clone()
    }

    /// For those who read the log through `dir`, which leads to a copy of it: how they get round damage in that copy.
    pub fn detour(&self, dir: &Path) -> Detour {
        Detour::new(dir, Arc::clone(&self.shared.files), self.shared.durable.clone())
    }

    /// The copies of a log on several drives; one that is whole of any other.
    pub fn copies(&self) -> Copies {
        self.shared.files.copies()
    }

    /// How long the oldest record that is not durable has waited; none waits while the log keeps up.
    pub fn waiting(&self) -> Option<Duration> {
        self.shared.queue.waiting()
    }

    /// After [`LogError::Full`]: completes when the queue has become shorter, so that another call may succeed. A log
    /// that stopped completes it too.
    pub fn room(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.queue.room().map(drop)
    }

    /// Whether the disk is too full to take records. Nothing failed; it ends when there is room.
    pub fn is_full(&self) -> bool {
        self.shared.queue.is_full()
    }

    /// Whether a failure stopped the log.
    pub fn is_poisoned(&self) -> bool {
        self.shared.queue.poisoned().is_some()
    }

    /// Commits what is queued, writes `audit:stop`, signs the final head, ends all threads and gives the directory free.
    /// Records of [`Log::append_unhurried`] that a full disk has no room for are lost; `audit:stop` says how many. Calling
    /// it again changes nothing.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] when something failed before or during the close.
    pub fn close(&self) -> Result<(), LogError> {
        // What is not sealed now will be after the next start.
        self.shared.to_seal.close();
        self.shared.queue.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panicking thread aborts the process in our profiles; in a test it shows as poison.
            if thread.join().is_err() {
                self.shared.poison("an audit thread panicked");
            }
        }
        // A prune that goes on has its head by now, or gets none.
        let _segments = lock(&self.shared.segments);
        // Nobody writes any more, so the directory may be opened again.
        drop(lock(&self.shared.lock).take());
        match self.shared.queue.poisoned() {
            Some(reason) => Err(LogError::Poisoned { reason }),
            None => Ok(()),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the audit log");
        }
    }
}

/// A mutex guard; a panic elsewhere does not make our plain data wrong.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
