//! Why a body was refused.

use std::error::Error;
use std::sync::Arc;

use super::checksum::Algorithm;
use super::chunked::ChunkError;
use crate::s3::error::S3Error;

/// A body that is not what its head announced. Clonable, because a failed body fails again when it is read again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the checksum {} does not match the body", .0.name())]
    Checksum(Algorithm),
    #[error("the chunks of the body are refused")]
    Chunk(#[from] ChunkError),
    #[error("no bytes arrived for too long")]
    Idle,
    #[error("the body ended before or after its declared length")]
    Incomplete,
    #[error("Content-MD5 is not base64 of 16 bytes")]
    InvalidMd5,
    #[error("the head of the request contradicts itself: {0}")]
    InvalidRequest(&'static str),
    #[error("Content-MD5 does not match the body")]
    Md5,
    #[error("the length of the body is not declared")]
    MissingLength,
    #[error("the digest of the payload does not match the body")]
    Sha256,
    #[error("the body is larger than an object may be")]
    TooLarge,
    #[error("the body is longer than the {bytes_max} bytes that this request may have")]
    TooLong { bytes_max: usize },
    #[error("receiving the body")]
    Transport(#[source] Arc<dyn Error + Send + Sync>),
}

impl BodyError {
    /// AWS error code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Checksum(_) | Self::Md5 => "BadDigest",
            Self::Chunk(error) => error.code(),
            Self::Idle => "RequestTimeout",
            Self::Incomplete | Self::Transport(_) => "IncompleteBody",
            Self::InvalidMd5 => "InvalidDigest",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::MissingLength => "MissingContentLength",
            Self::Sha256 => "XAmzContentSHA256Mismatch",
            Self::TooLarge => "EntityTooLarge",
            Self::TooLong { .. } => "MaxMessageLengthExceeded",
        }
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Chunk(error) => error.status(),
            Self::MissingLength => 411,
            Self::Checksum(_)
            | Self::Idle
            | Self::Incomplete
            | Self::InvalidMd5
            | Self::InvalidRequest(_)
            | Self::Md5
            | Self::Sha256
            | Self::TooLarge
            | Self::TooLong { .. }
            | Self::Transport(_) => 400,
        }
    }

    /// Text for the client.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Checksum(algorithm) => {
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                )
            }
            Self::Chunk(error) => error.message().to_owned(),
            Self::Idle => {
                "Your socket connection to the server was not read from or written to within \
                           the timeout period."
                    .to_owned()
            }
            Self::Incomplete | Self::Transport(_) => {
                "You did not provide the number of bytes specified \
                                                      by the Content-Length HTTP header."
                    .to_owned()
            }
            Self::InvalidMd5 => "The Content-MD5 you specified is not valid.".to_owned(),
            Self::InvalidRequest(what) => (*what).to_owned(),
            Self::Md5 => "The Content-MD5 you specified did not match what we received.".to_owned(),
            Self::MissingLength => "You must provide the Content-Length HTTP header.".to_owned(),
            Self::Sha256 => {
                "The provided 'x-amz-content-sha256' header does not match what was computed."
                    .to_owned()
            }
            Self::TooLarge => "Your proposed upload exceeds the maximum allowed size.".to_owned(),
            Self::TooLong { .. } => "Your request was too big.".to_owned(),
        }
    }
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        Self::new(error.code(), error.status(), error.message())
    }
}
