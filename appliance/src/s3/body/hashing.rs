//! Facts over bytes that we read ourselves: the source of CopyObject and UploadPartCopy.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use storage::{Facts, Source, SourceError};
use tokio::task::JoinError;

use super::checksum::Algorithm;
use super::digests::{Digests, Wanted};
use super::error::BodyError;
use super::payload::{Etag, checksum_fact};

/// A stream that is hashed while it is read. An error of the stream ends it and keeps its type in [`SourceError`].
pub struct Hashing {
    stream: BoxStream<'static, Result<Bytes, SourceError>>,
    digests: Digests,
    etag: Etag,
    facts: Facts,
}

impl Hashing {
    /// Hashes for such an ETag and with `algorithm`, if one is asked for.
    ///
    /// # Errors
    /// When `algorithm` is no checksum that S3 has.
    pub fn new<S, E>(stream: S, etag: Etag, algorithm: Option<&str>) -> Result<Self, BodyError>
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
        let digests =
            Digests::new(Wanted { sha256: false, md5: etag == Etag::Md5, checksum: algorithm });
        Ok(Self { stream, digests, etag, facts: Facts { etag: String::new(), checksum: None } })
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, SourceError> {
        let interrupted = |error: JoinError| SourceError(Box::new(error));
        self.digests.make_room().await.map_err(interrupted)?;
        let Some(bytes) = self.stream.next().await.transpose()? else {
            let computed = self.digests.finish().await.map_err(interrupted)?;
            let etag = match self.etag {
                Etag::Md5 => computed.md5.map(hex::encode).unwrap_or_default(),
                Etag::Opaque => Etag::random().map_err(|error| SourceError(Box::new(error)))?,
            };
            let checksum =
                computed.checksum.map(|(algorithm, digest)| checksum_fact(algorithm, &digest));
            self.facts = Facts { etag, checksum };
            return Ok(None);
        };
        self.digests.push(&bytes);
        Ok(Some(bytes))
    }
}

impl Source for Hashing {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        Box::pin(self.advance())
    }

    fn facts(&mut self) -> Facts {
        self.facts.clone()
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hashing").field("digests", &self.digests).finish_non_exhaustive()
    }
}
