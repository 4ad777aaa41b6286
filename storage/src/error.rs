//! The errors of the store: one type, with kinds for the distinctions that callers branch on.

use std::path::PathBuf;

use crate::drive::DriveError;
use crate::name::{BucketName, ObjectKey};
use crate::source::SourceError;
use crate::sse::key::KeyError;

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bucket is not there.
    #[error("no bucket `{0}`")]
    NoSuchBucket(BucketName),
    /// The bucket is already there.
    #[error("bucket `{bucket}` exists")]
    BucketExists {
        /// Its name.
        bucket: BucketName,
        /// Who owns it, so that the caller can tell "yours" from "taken".
        owner: String,
    },
    /// The bucket still holds objects.
    #[error("bucket `{0}` is not empty")]
    BucketNotEmpty(BucketName),
    /// The object is not there.
    #[error("no object `{key}` in bucket `{bucket}`")]
    NoSuchKey {
        /// Where it was looked for.
        bucket: BucketName,
        /// What was looked for.
        key: ObjectKey,
    },
    /// The range does not touch the object.
    #[error("the range is not within {size} bytes")]
    InvalidRange {
        /// The size of the object.
        size: u64,
    },
    /// `If-Match` or `If-None-Match` did not hold.
    #[error("the precondition does not hold")]
    PreconditionFailed,
    /// The upload is not there, or belongs to another key.
    #[error("no upload `{0}`")]
    NoSuchUpload(String),
    /// A part that was named is missing or has another ETag or checksum.
    #[error("part {number} is missing or differs")]
    InvalidPart {
        /// The part.
        number: u16,
    },
    /// The parts are not in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is below 5 MiB.
    #[error("part {number} has {size} bytes, below the 5 MiB minimum")]
    EntityTooSmall {
        /// The part.
        number: u16,
        /// Its size in bytes.
        size: u64,
    },
    /// A limit of this store was exceeded.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What has the limit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An argument makes no sense.
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),
    /// A compare-and-set found another value.
    #[error("the row has changed")]
    RowChanged,
    /// The body could not be read to its verified end.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The key service refused or failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Too few drives answer. After a failed commit it is not known whether the write will survive a restart.
    #[error("{doing}: {available} of {needed} drives")]
    Unavailable {
        /// What needed them.
        doing: &'static str,
        /// How many answered.
        available: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Others kept changing the same row.
    #[error("too many writers of the same row")]
    Contended,
    /// Stored bytes do not authenticate or do not parse.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
    /// A drive failed and no other could answer.
    #[error("drive failure")]
    Drive(#[from] DriveError),
    /// The random generator of the operating system failed.
    #[error("no randomness from the operating system")]
    Random,
    /// [`crate::Store::close`] was called.
    #[error("the store is closed")]
    Closed,
}

/// The few distinctions that callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// See [`Error::NoSuchBucket`].
    NoSuchBucket,
    /// See [`Error::BucketExists`].
    BucketExists,
    /// See [`Error::BucketNotEmpty`].
    BucketNotEmpty,
    /// See [`Error::NoSuchKey`].
    NoSuchKey,
    /// See [`Error::InvalidRange`].
    InvalidRange,
    /// See [`Error::PreconditionFailed`].
    PreconditionFailed,
    /// See [`Error::NoSuchUpload`].
    NoSuchUpload,
    /// See [`Error::InvalidPart`].
    InvalidPart,
    /// See [`Error::InvalidPartOrder`].
    InvalidPartOrder,
    /// See [`Error::EntityTooSmall`].
    EntityTooSmall,
    /// See [`Error::TooLarge`].
    TooLarge,
    /// See [`Error::InvalidArgument`].
    InvalidArgument,
    /// See [`Error::RowChanged`].
    RowChanged,
    /// The body failed; see [`Error::Source`].
    Source,
    /// The key service failed; see [`Error::Key`].
    Key,
    /// Try later: too few drives, too much contention, or closing.
    Unavailable,
    /// Stored data is damaged beyond what redundancy repairs.
    Damaged,
    /// Anything else went wrong inside.
    Internal,
}

impl Error {
    /// What a caller may branch on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchBucket(_) => ErrorKind::NoSuchBucket,
            Self::BucketExists { .. } => ErrorKind::BucketExists,
            Self::BucketNotEmpty(_) => ErrorKind::BucketNotEmpty,
            Self::NoSuchKey { .. } => ErrorKind::NoSuchKey,
            Self::InvalidRange { .. } => ErrorKind::InvalidRange,
            Self::PreconditionFailed => ErrorKind::PreconditionFailed,
            Self::NoSuchUpload(_) => ErrorKind::NoSuchUpload,
            Self::InvalidPart { .. } => ErrorKind::InvalidPart,
            Self::InvalidPartOrder => ErrorKind::InvalidPartOrder,
            Self::EntityTooSmall { .. } => ErrorKind::EntityTooSmall,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::InvalidArgument(_) => ErrorKind::InvalidArgument,
            Self::RowChanged => ErrorKind::RowChanged,
            Self::Source(_) => ErrorKind::Source,
            Self::Key(_) => ErrorKind::Key,
            Self::Unavailable { .. } | Self::Contended | Self::Closed => ErrorKind::Unavailable,
            Self::Damaged(_) => ErrorKind::Damaged,
            Self::Drive(_) | Self::Random => ErrorKind::Internal,
        }
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Between 1 and 16 drives make a store.
    #[error("{count} drives given, 1 to 16 are supported")]
    DriveCount {
        /// How many were given.
        count: usize,
    },
    /// The parity does not fit the number of drives.
    #[error("parity {parity} does not fit {drives} drives; at most half of them may be parity")]
    Parity {
        /// What was asked for, or what the drives were formatted with.
        parity: u8,
        /// The number of drives.
        drives: usize,
    },
    /// The same directory was given twice.
    #[error("drive `{}` is given twice", .path.display())]
    Duplicate {
        /// The directory.
        path: PathBuf,
    },
    /// The drive was written by a newer version.
    #[error("drive `{}` has format {found}, this version knows {known}", .path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The drive belongs to another deployment, or to another set of drives.
    #[error("drive `{}` belongs to another deployment or set of drives", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The drive's own description cannot be read.
    #[error("drive `{}` has a damaged format.json", .path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Too few drives are there to read everything.
    #[error("{available} of {needed} drives needed; check that all drives are mounted")]
    TooFewDrives {
        /// How many are usable.
        available: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Two drives hold different histories of the same length and no majority decides.
    #[error("drives hold diverging metadata; attach the missing drives so that a majority decides")]
    Diverged,
    /// A drive failed while the store was opened.
    #[error("opening drive `{}`", .path.display())]
    Drive {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: DriveError,
    },
    /// A thread could not be started.
    #[error("starting a thread")]
    Thread(#[source] std::io::Error),
    /// Rows could not be read; most likely the row key is not the one of this deployment.
    #[error("reading rows while opening")]
    Rows(#[source] Error),
}
