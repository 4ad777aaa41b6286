//! The store: objects, uploads, buckets and rows over [`Metadata`] and [`Blobs`].
//!
//! One file per verb. All of them read rows, prepare blobs, and publish with one [`Batch`] whose checks say which rows it was
//! prepared from; when another writer came first, the batch is prepared again from the new rows.

mod bucket;
mod delete;
mod get;
mod list;
mod multipart;
mod open;
mod put;
mod reclaim;
mod record;
mod rows;
mod tags;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::blobs::Blobs;
use crate::drive::array::Array;
use crate::error::Error;
use crate::metadata::codec::{RowKey, Seal};
use crate::metadata::{Batch, CommitError, Metadata, ReadError};
use crate::name::BucketName;
use crate::quorum;
use crate::sse::stream::Backend;
use reclaim::{Readers, Reclaimer};
use turns::Turns;

pub use bucket::BucketInfo;
pub use delete::Deleted;
pub use get::Opened;
pub use list::{LIST_MAX, ListEntry, ListRequest, Listing};
pub use multipart::{
    CompleteUpload, CompletedPart, CreateUpload, ListUploads, PART_BYTES_MIN, PART_NUMBER_MAX,
    PartListing, UploadEntry, UploadId, UploadInfo, UploadListing,
};

/// How often a batch is prepared again because another writer came first.
const ATTEMPTS_MAX: usize = 128;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// 1 to 16 directories, in any order; their `format.json` knows the slots.
    pub drives: Vec<PathBuf>,
    /// The id of the deployment. Drives of another one are refused.
    pub deployment: String,
    /// Seals all rows. Lost, it takes the store with it.
    pub row_key: RowKey,
    /// Parity shards of new blobs; by default as the number of drives suggests, or as the drives were formatted.
    pub parity: Option<u8>,
}

/// The health of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// All drives by slot.
    pub drives: Vec<DriveHealth>,
    /// Data shards of new blobs.
    pub data: usize,
    /// Parity shards of new blobs.
    pub parity: usize,
    /// Whether enough drives are in use to write.
    pub write_ok: bool,
}

/// The health of one drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveHealth {
    /// Where it is, or should be.
    pub path: PathBuf,
    /// Whether it is in use.
    pub online: bool,
    /// Whether its rows missed a commit; it serves no rows until it is opened again.
    pub stale: bool,
    /// Shards that were missing or did not verify when they were read, since the store was opened.
    pub bad_shards: u64,
}

/// The store. Clones share it; it closes with the last of them, or by [`Store::close`].
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metadata: Arc<dyn Metadata>,
    blobs: Arc<dyn Blobs>,
    seal: Seal,
    backend: Backend,
    readers: Arc<Readers>,
    reclaimer: Reclaimer,
    turns: Turns,
    array: Arc<Array>,
    /// Closes the commit thread; see [`open`].
    committer: Arc<crate::metadata::replicated::ReplicatedRows>,
    closed: AtomicBool,
}

impl Store {
    /// The state of the drives now.
    pub fn health(&self) -> Health {
        let array = &self.inner.array;
        let drives = array
            .lanes()
            .iter()
            .map(|lane| DriveHealth {
                path: lane.path().clone(),
                online: lane.online(),
                stale: lane.stale(),
                bad_shards: lane.bad_shards(),
            })
            .collect::<Vec<_>>();
        let geometry = array.geometry();
        let online = drives.iter().filter(|drive| drive.online).count();
        let replicas = array.replicas();
        let in_sync = replicas.iter().filter(|lane| lane.in_sync()).count();
        let write_ok = online >= quorum::write_shards(geometry.data, geometry.parity)
            && in_sync >= quorum::majority(replicas.len());
        Health { drives, data: geometry.data, parity: geometry.parity, write_ok }
    }

    /// Takes no more writes, waits until those under way are durable, and lets go of the drives. Later calls fail with
    /// [`Error::Closed`] or [`Error::Unavailable`]; a second close does nothing.
    ///
    /// Blocks; call it from a thread that may.
    pub fn close(&self) {
        self.inner.close();
    }

    fn metadata(&self) -> &dyn Metadata {
        &*self.inner.metadata
    }

    fn blobs(&self) -> &dyn Blobs {
        &*self.inner.blobs
    }

    fn seal(&self) -> &Seal {
        &self.inner.seal
    }

    async fn row_bytes(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.metadata().get(key).await?)
    }

    /// Commits a batch. Says `Ok(false)` when check `n` failed and `n` is at or past `retry_from`: the rows it was prepared
    /// from have changed.
    async fn commit(&self, batch: Batch) -> Result<Outcome, Error> {
        match self.metadata().commit(batch).await {
            Ok(()) => Ok(Outcome::Done),
            Err(CommitError::Check(number)) => Ok(Outcome::Failed(number)),
            Err(CommitError::Unavailable { available, needed }) => {
                Err(Error::Unavailable { doing: "making rows durable", available, needed })
            }
            Err(CommitError::Read(error)) => Err(error.into()),
            Err(CommitError::TooLarge { bytes }) => {
                Err(Error::TooLarge { what: "a row", limit: bytes as u64 })
            }
            Err(CommitError::Attachment) => Err(Error::InvalidArgument("rows without attachments")),
            Err(CommitError::Closed) => Err(Error::Closed),
        }
    }

    async fn require_bucket(&self, bucket: &BucketName) -> Result<(), Error> {
        match self.row_bytes(&crate::metadata::table::bucket(bucket)).await? {
            Some(_) => Ok(()),
            None => Err(Error::NoSuchBucket(bucket.clone())),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is durable.
    Done,
    /// This check did not hold, and nothing was changed.
    Failed(usize),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoReplica(Some(source)) => Self::Drive(source),
            ReadError::NoReplica(None) => {
                Self::Unavailable { doing: "reading rows", available: 0, needed: 1 }
            }
        }
    }
}

impl Inner {
    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // ORDER: no new garbage work, then the commits that it needed, then the drives.
        self.reclaimer.close();
        self.committer.committer().close();
        self.array.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The texts of rows; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_rows(bytes: &[u8]) {
    use crate::fuzz::row_text;
    row_text::<bucket::BucketRow>(bytes);
    row_text::<multipart::UploadRow>(bytes);
    row_text::<record::ObjectRow>(bytes);
    row_text::<record::PartRow>(bytes);
}
