//! Facts over bytes that we read ourselves: the source of CopyObject and UploadPartCopy.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use md5::{Digest, Md5};
use storage::{Facts, Source, SourceError};

use super::checksum::{Algorithm, Hasher};
use super::error::BodyError;
use super::payload::checksum_fact;

/// A stream that is hashed while it is read. An error of the stream ends it and keeps its type in [`SourceError`].
pub struct Hashing {
    stream: BoxStream<'static, Result<Bytes, SourceError>>,
    md5: Md5,
    checksum: Option<Hasher>,
}

impl Hashing {
    /// Hashes with MD5 for the ETag and with `algorithm`, if one is asked for.
    ///
    /// # Errors
    /// When `algorithm` is no checksum that S3 has.
    pub fn new<S, E>(stream: S, algorithm: Option<&str>) -> Result<Self, BodyError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let unsupported = BodyError::InvalidRequest("Checksum algorithm provided is unsupported.");
        let algorithm = match algorithm {
            None => None,
            Some(name) => Some(Algorithm::parse(name).ok_or(unsupported)?),
        };
        let stream =
            stream.map(|bytes| bytes.map_err(|error| SourceError(Box::new(error)))).boxed();
        Ok(Self { stream, md5: Md5::new(), checksum: algorithm.map(Hasher::new) })
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, SourceError> {
        let Some(bytes) = self.stream.next().await.transpose()? else { return Ok(None) };
        self.md5.update(&bytes);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&bytes);
        }
        Ok(Some(bytes))
    }
}

impl Source for Hashing {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        Box::pin(self.advance())
    }

    fn facts(&mut self) -> Facts {
        let md5 = std::mem::take(&mut self.md5).finalize();
        let checksum = self.checksum.take().map(|hasher| {
            let algorithm = hasher.algorithm();
            checksum_fact(algorithm, &hasher.finish())
        });
        Facts { etag: hex::encode(md5), checksum }
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hashing").field("checksum", &self.checksum).finish_non_exhaustive()
    }
}
