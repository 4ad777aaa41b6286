//! One drive: the seam below which faults happen.

pub(crate) mod array;
pub(crate) mod format;
pub(crate) mod lane;
pub mod local;
pub mod memory;

use std::fmt::Debug;

use bytes::Bytes;

use crate::blobs::BlobId;

/// The ordered tables of a drive's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Metadata rows; on replicas only.
    Rows,
    /// Small shards; values of up to 128 KiB.
    Shards,
    /// What the drive knows about itself: the version of its rows.
    State,
}

/// One change of a batch: a value, or `None` to remove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveWrite {
    /// In which table.
    pub table: Table,
    /// Under which key.
    pub key: Bytes,
    /// The value, or `None` for none.
    pub value: Option<Bytes>,
}

/// Keys from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The key after the last.
    pub end: Vec<u8>,
}

/// One shard of one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName {
    /// The blob.
    pub blob: BlobId,
    /// Which shard: data first, then parity.
    pub shard: u8,
}

/// A row of a scan: key and value.
pub type Pair = (Bytes, Bytes);

/// One physical drive. Calls block; the store makes them on the drive's own threads, except for `get`, which is expected to
/// be answered from memory most of the time.
///
/// Durability: when [`Drive::apply`] or [`StagedShard::publish`] returns `Ok`, the change survives a power loss. After an
/// `Err` it is there wholly or not at all, and which of the two may only be known after a restart: the store stops using
/// the drive until it is opened again.
///
/// Concurrency: all calls may run at the same time; an `apply` is visible to every `get` and `scan` that starts after it
/// returned.
///
/// A drive may lie by losing or changing bytes: shards carry hashes for that. Rows are authenticated by their seal.
pub trait Drive: Debug + Send + Sync + 'static {
    /// Whether the drive is still where it was opened. Cheap enough for every commit.
    ///
    /// # Errors
    /// When it is not.
    fn present(&self) -> Result<(), DriveError>;

    /// The value of a key.
    ///
    /// # Errors
    /// When the drive cannot tell.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, DriveError>;

    /// The first `limit` pairs of a range in key order.
    ///
    /// # Errors
    /// When the drive cannot tell.
    fn scan(&self, table: Table, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, DriveError>;

    /// Makes all changes together, durably, in order.
    ///
    /// # Errors
    /// See the trait: the drive is out of use then.
    fn apply(&self, writes: &[DriveWrite]) -> Result<(), DriveError>;

    /// Starts a shard file that no reader can see yet.
    ///
    /// # Errors
    /// When it cannot be created.
    fn stage(&self, name: ShardName) -> Result<Box<dyn StagedShard>, DriveError>;

    /// Up to `bytes` bytes of a published shard file; fewer mean the end of the file, `None` that there is no such file.
    ///
    /// # Errors
    /// When the drive cannot tell.
    fn read(&self, name: ShardName, offset: u64, bytes: usize)
    -> Result<Option<Bytes>, DriveError>;

    /// Removes a published shard file; it is no error if there is none. Durable at leisure: a file that comes back after a
    /// power loss is an orphan and collected at open.
    ///
    /// # Errors
    /// When the drive refuses.
    fn remove(&self, name: ShardName) -> Result<(), DriveError>;

    /// All published shard files.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn shard_files(&self) -> Result<Vec<ShardName>, DriveError>;
}

/// A shard file on its way. Dropping it removes it.
pub trait StagedShard: Debug + Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError>;

    /// Makes the file durable and visible: fsync file, rename, fsync directory, in this order.
    ///
    /// # Errors
    /// See [`Drive`]: the drive is out of use then.
    fn publish(self: Box<Self>) -> Result<(), DriveError>;
}

/// What a drive could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The operating system refused.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The database of the drive refused.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The drive is no longer where it was opened.
    #[error("the drive is gone")]
    Gone,
    /// The drive is out of use since an earlier failure, or was not there at open.
    #[error("the drive is offline")]
    Offline,
    /// A fault of the simulator.
    #[error("injected fault at {0}")]
    Injected(&'static str),
}

impl DriveError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
