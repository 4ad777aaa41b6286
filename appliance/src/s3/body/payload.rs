//! The body of one request.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use storage::{Checksum, ChecksumKind, Facts, Source, SourceError, SseKind};
use subtle::ConstantTimeEq;

use super::checksum::{Algorithm, encode};
use super::chunked::Decoder;
use super::digests::{Computed, Digests, Wanted};
use super::error::BodyError;
use super::expected::{Declared, Expected};
use super::{Limits, OBJECT_BYTES_MAX};
use crate::s3::auth::Authenticated;

type BoxError = Box<dyn Error + Send + Sync>;

/// Plaintext of one request, verified; see the module for what that means.
///
/// Nothing is read before the first call of [`Self::next`], so `100 Continue` is sent after authorization.
pub struct Payload {
    body: BoxBody<Bytes, BoxError>,
    idle: Duration,
    length: Option<u64>,
    decoder: Option<Decoder>,
    /// Decoded, and not handed out yet.
    ready: VecDeque<Bytes>,
    counter: Counter,
    received: u64,
    expected_sha256: Option<[u8; 32]>,
    expected_md5: Option<[u8; 16]>,
    /// Judged when the body is first used: an operation whose checksum headers mean something else drops it before.
    declared: Result<Option<Declared>, BodyError>,
    wanted: Wanted,
    /// Of what the body becomes, if it becomes an object or a part.
    etag: Option<Etag>,
    /// The whole body has arrived; the checksum of its trailer is below.
    at_end: bool,
    trailing: Option<String>,
    state: State,
}

enum State {
    Fresh,
    Reading(Digests),
    Ended(Facts),
    Failed(BodyError),
}

/// What the ETag of an object or part is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etag {
    /// MD5 of the plaintext, as clients that compare it expect of SSE-S3.
    Md5,
    /// 128 random bits: under a key of the customer an ETag is not the MD5 of the data, and MD5 is what limits a PUT.
    ///
    /// Source: S3 API reference, Object, "ETag".
    Opaque,
}

impl Etag {
    /// For an object that is encrypted so.
    #[must_use]
    pub const fn of(kind: SseKind) -> Self {
        match kind {
            SseKind::S3 => Self::Md5,
            SseKind::Kms | SseKind::Customer => Self::Opaque,
        }
    }

    /// A new opaque one.
    pub(super) fn random() -> Result<String, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(hex::encode(bytes))
    }
}

/// Plaintext bytes handed out so far; outlives the payload, for the audit record.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Payload {
    /// The body of a request whose head has been authenticated.
    ///
    /// # Errors
    /// When the head contradicts itself, lacks the decoded length of a chunked body, or holds an unreadable digest.
    pub fn new<B>(
        body: B,
        authenticated: &Authenticated,
        headers: &HeaderMap,
        limits: &Limits,
    ) -> Result<Self, BodyError>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BoxError>,
    {
        let expected = Expected::of(authenticated, headers)?;
        Ok(Self {
            body: body.map_err(Into::into).boxed(),
            idle: limits.idle,
            length: expected.length,
            decoder: expected.framing.map(Decoder::new),
            ready: VecDeque::new(),
            counter: Counter::default(),
            received: 0,
            expected_sha256: expected.sha256,
            expected_md5: expected.md5,
            declared: Declared::of(headers),
            wanted: Wanted::default(),
            etag: None,
            at_end: false,
            trailing: None,
            state: State::Fresh,
        })
    }

    /// Counts what is handed out.
    #[must_use]
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// Plaintext bytes to come, as far as the client said.
    #[must_use]
    pub const fn size_hint(&self) -> Option<u64> {
        self.length
    }

    /// Whether the end of this body will be proven by a digest that the client sent. DeleteObjects insists on one.
    #[must_use]
    pub const fn is_integrity_checked(&self) -> bool {
        self.expected_sha256.is_some()
            || self.expected_md5.is_some()
            || matches!(self.declared, Ok(Some(_)))
    }

    /// Says that this body becomes an object or a part with such an ETag.
    ///
    /// # Errors
    /// Without a declared length, above 5 GiB, or when the checksum headers are refused.
    pub fn begin(&mut self, etag: Etag) -> Result<(), BodyError> {
        match self.length {
            None => return Err(BodyError::MissingLength),
            Some(length) if length > OBJECT_BYTES_MAX => return Err(BodyError::TooLarge),
            Some(_) => {}
        }
        self.wanted.md5 = etag == Etag::Md5;
        self.etag = Some(etag);
        self.declared.clone().map(drop)
    }

    /// Computes this checksum even if the client declared none, because its multipart upload asks for it.
    ///
    /// # Errors
    /// When the client declared another one, or the name is no algorithm.
    pub fn want_checksum(&mut self, algorithm: &str) -> Result<(), BodyError> {
        let unsupported = BodyError::InvalidRequest("Checksum algorithm provided is unsupported.");
        let algorithm = Algorithm::parse(algorithm).ok_or(unsupported)?;
        let declared = self.declared.clone()?;
        if declared.is_some_and(|declared| declared.algorithm() != algorithm) {
            return Err(BodyError::InvalidRequest(
                "Checksum Type mismatch occurred: the part and its upload use different checksums.",
            ));
        }
        self.wanted.checksum = Some(algorithm);
        Ok(())
    }

    /// Leaves the checksum headers alone: in CompleteMultipartUpload they speak of the object, not of this body.
    pub fn disregard_checksum(&mut self) {
        self.declared = Ok(None);
    }

    /// The next plaintext; `None` at the verified end.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// As soon as the body is known not to be what its head says; every later call fails again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let next = self.advance().await;
        if let Err(error) = &next {
            self.ready.clear();
            self.state = State::Failed(error.clone());
        }
        next
    }

    /// The whole body of a small request.
    ///
    /// # Errors
    /// As [`Self::next`], and above `bytes_max`.
    pub async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let too_long = BodyError::TooLong { bytes_max };
        let announced = self.length.unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > bytes_max) {
            return Err(too_long);
        }
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > bytes_max {
                return Err(too_long);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match &mut self.state {
                State::Fresh => self.state = State::Reading(self.start()?),
                State::Failed(error) => return Err(error.clone()),
                State::Ended(_) => return Ok(None),
                State::Reading(digests) if !self.ready.is_empty() => {
                    digests.make_room().await.map_err(interrupted)?;
                    if let Some(bytes) = self.ready.pop_front() {
                        digests.push(&bytes);
                        self.account(&bytes)?;
                        return Ok(Some(bytes));
                    }
                }
                State::Reading(digests) if self.at_end => {
                    let computed = digests.finish().await.map_err(interrupted)?;
                    self.state = State::Ended(self.verify(&computed)?);
                }
                State::Reading(_) => self.receive().await?,
            }
        }
    }

    /// Sets up what the head asks to verify.
    fn start(&self) -> Result<Digests, BodyError> {
        let declared = self.declared.clone()?.map(|declared| declared.algorithm());
        Ok(Digests::new(Wanted {
            sha256: self.expected_sha256.is_some(),
            md5: self.wanted.md5 || self.expected_md5.is_some(),
            checksum: self.wanted.checksum.or(declared),
        }))
    }

    /// Receives one frame and takes its framing off.
    async fn receive(&mut self) -> Result<(), BodyError> {
        match (self.frame().await?, &mut self.decoder) {
            (Some(bytes), Some(decoder)) => decoder.push(bytes, &mut self.ready)?,
            (Some(bytes), None) if bytes.is_empty() => {}
            (Some(bytes), None) => self.ready.push_back(bytes),
            (None, decoder) => {
                self.trailing = decoder.as_mut().map(Decoder::finish).transpose()?.flatten();
                self.at_end = true;
            }
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            match frame.map_err(|_| BodyError::Idle)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(BodyError::Transport(error.into())),
                // HTTP trailers carry nothing that S3 defines.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    fn account(&mut self, bytes: &Bytes) -> Result<(), BodyError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(length);
        self.counter.0.store(self.received, Ordering::Relaxed);
        if self.length.is_some_and(|declared| self.received > declared) {
            return Err(BodyError::Incomplete);
        }
        if self.received > OBJECT_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }

    /// Holds what was computed against everything that the head promised.
    fn verify(&self, computed: &Computed) -> Result<Facts, BodyError> {
        let Computed { sha256, md5, checksum } = computed;
        if self.length.is_some_and(|declared| self.received != declared) {
            return Err(BodyError::Incomplete);
        }
        if let (Some(expected), Some(sha256)) = (self.expected_sha256, sha256)
            && !equal(sha256, &expected)
        {
            return Err(BodyError::Sha256);
        }
        if let (Some(expected), Some(md5)) = (self.expected_md5, md5)
            && !equal(md5, &expected)
        {
            return Err(BodyError::Md5);
        }
        let checksum = match checksum {
            None => None,
            Some((algorithm, digest)) => {
                self.verify_checksum(*algorithm, digest)?;
                Some(checksum_fact(*algorithm, digest))
            }
        };
        let etag = match self.etag {
            Some(Etag::Opaque) => {
                Etag::random().map_err(|error| BodyError::Transport(Arc::new(error)))?
            }
            Some(Etag::Md5) | None => md5.map(hex::encode).unwrap_or_default(),
        };
        Ok(Facts { etag, checksum })
    }

    fn verify_checksum(&self, algorithm: Algorithm, digest: &[u8]) -> Result<(), BodyError> {
        let mismatch = BodyError::Checksum(algorithm);
        let expected = match self.declared.clone()? {
            None => return Ok(()),
            Some(Declared::Header { digest, .. }) => digest,
            Some(Declared::Trailer { algorithm }) => {
                let value = self.trailing.as_deref();
                value.and_then(|value| algorithm.decode(value)).ok_or(mismatch.clone())?
            }
        };
        if equal(digest, &expected) { Ok(()) } else { Err(mismatch) }
    }
}

/// The pool gives a batch back unless the process is going down.
fn interrupted(error: tokio::task::JoinError) -> BodyError {
    BodyError::Transport(Arc::new(error))
}

/// A checksum over all bytes, as storage keeps it.
pub(super) fn checksum_fact(algorithm: Algorithm, digest: &[u8]) -> Checksum {
    Checksum {
        algorithm: algorithm.name().to_owned(),
        value: encode(digest),
        kind: ChecksumKind::Full,
    }
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

impl Source for Payload {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        Box::pin(async { Self::next(self).await.map_err(|error| SourceError(Box::new(error))) })
    }

    /// The ETag is empty unless [`Payload::begin`] asked for it; everything is empty before the verified end.
    fn facts(&mut self) -> Facts {
        match &self.state {
            State::Ended(facts) => facts.clone(),
            State::Fresh | State::Reading(_) | State::Failed(_) => {
                Facts { etag: String::new(), checksum: None }
            }
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Payload")
            .field("length", &self.length)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
