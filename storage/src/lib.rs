//! Encrypted, erasure-coded objects on local drives, acknowledged only when durable.
//!
//! A tour, in reading order:
//! - [`BucketName`] and [`ObjectKey`] are what clients choose; [`Put`], [`ObjectInfo`] and friends what is known about objects;
//! - [`Store`] has the operations, one file per verb, over two seams: [`metadata::Metadata`] (ordered rows, conditional
//!   batches) and [`blobs::Blobs`] (encrypted bytes, put once);
//! - `commit` knows the order of publication, and nothing else does;
//! - [`sse`] encrypts, with data keys of the caller's [`KeyService`];
//! - [`erasure`] makes shards of stripes, and stripes of what is left of the shards;
//! - [`drive::Drive`] is the seam below which faults happen.
//!
//! FORMAT.md has every byte that reaches a drive, the order in which they get there, and the faults that this survives.

pub mod blobs;
mod commit;
#[cfg(feature = "sim")]
pub mod conformance;
pub mod drive;
pub mod erasure;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod metadata;
mod name;
mod object;
mod quorum;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
pub mod sse;
mod store;

pub use error::{Error, ErrorKind, OpenError};
pub use metadata::codec::RowKey;
pub use name::{BucketName, NameError, OBJECT_KEY_BYTES_MAX, ObjectKey};
pub use object::{
    Body, ByteRange, Checksum, ChecksumKind, Facts, GetObject, Headers, NULL_VERSION, ObjectInfo,
    PartInfo, Put, Sse, SseInfo, SseKind, WriteCondition,
};
pub use quorum::DRIVES_MAX;
pub use source::{Source, SourceError};
pub use sse::key::{DataKey, GeneratedKey, KeyContext, KeyError, KeyService, SealedKey};
pub use store::{
    BucketInfo, CompleteUpload, CompletedPart, CreateUpload, Deleted, DriveHealth, Health,
    LIST_MAX, ListEntry, ListRequest, ListUploads, Listing, Opened, PART_BYTES_MIN,
    PART_NUMBER_MAX, PartListing, Store, StoreConfig, UploadEntry, UploadId, UploadInfo,
    UploadListing,
};
