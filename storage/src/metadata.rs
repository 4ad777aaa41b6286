//! Ordered rows with atomic, conditional batches: the seam that a database of another kind could fill.

pub(crate) mod codec;
pub mod memory;
pub(crate) mod replicated;
pub(crate) mod table;
pub(crate) mod version;

use std::fmt::Debug;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::blobs::{Attachment, Detachment};
use crate::drive::{DriveError, KeyRange, Pair};

/// Longest row key: bucket, object key, upload id and separators stay below it.
pub const KEY_BYTES_MAX: usize = 1280;

/// Longest row value. A multipart object of 10 000 parts has about 3 MiB.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Ordered rows.
///
/// Contract:
/// - `commit` is atomic and serialisable: the checks of a batch see exactly the batches before it, and all of its writes
///   happen together or none;
/// - after `commit` returned `Ok` the batch is durable and every later `get` and `scan`, from any task, sees it;
/// - after [`CommitError::Check`] nothing of the batch exists; after any other error it may or may not exist;
/// - `scan` returns pairs in byte order of their keys; it need not be a snapshot across several calls;
/// - a batch carries attachments only to the rows of the store whose blobs made them; rows that cannot carry them answer
///   [`CommitError::Attachment`].
pub trait Metadata: Debug + Send + Sync + 'static {
    /// The value of a row.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>>;

    /// The first `limit` rows of a range.
    fn scan(&self, range: KeyRange, limit: usize) -> BoxFuture<'_, Result<Vec<Pair>, ReadError>>;

    /// Applies a batch if all its checks hold.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>>;
}

/// Changes that happen together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What must hold, in the order of evaluation.
    pub checks: Vec<Check>,
    /// What changes then.
    pub writes: Vec<Write>,
    /// Small shards that become durable with the rows.
    pub attached: Vec<Attachment>,
    /// Small shards that go with the rows.
    pub detached: Vec<Detachment>,
}

/// A condition on the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The row has exactly this value, or is absent.
    Is(Bytes, Option<Bytes>),
    /// The row is there.
    Present(Bytes),
    /// No row is in the range.
    Empty(KeyRange),
}

/// A change of one row: a value, or `None` to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The row.
    pub key: Bytes,
    /// Its new value.
    pub value: Option<Bytes>,
}

/// Rows could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No replica that is in sync answers.
    #[error("no replica of the metadata answers")]
    NoReplica(#[source] Option<DriveError>),
}

/// A batch was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A check did not hold; nothing was changed.
    #[error("check {0} of the batch does not hold")]
    Check(usize),
    /// Too few drives made it durable; it may come back after a restart.
    #[error("{available} of {needed} drives are durable")]
    Unavailable {
        /// How many are.
        available: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The rows of the checks could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// These rows cannot carry attachments.
    #[error("these rows carry no attachments")]
    Attachment,
    /// A key or value is over its limit.
    #[error("a row of {bytes} bytes is over the limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The store is closing.
    #[error("closed")]
    Closed,
}

impl Batch {
    /// Adds a write.
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.push(Write { key, value: Some(value) });
    }

    /// Adds a removal.
    pub(crate) fn delete(&mut self, key: Bytes) {
        self.writes.push(Write { key, value: None });
    }

    /// Refuses rows over the limits.
    pub(crate) fn check_sizes(&self) -> Result<(), CommitError> {
        for write in &self.writes {
            let value_bytes = write.value.as_ref().map_or(0, Bytes::len);
            if write.key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
                return Err(CommitError::TooLarge { bytes: write.key.len().max(value_bytes) });
            }
        }
        Ok(())
    }
}
