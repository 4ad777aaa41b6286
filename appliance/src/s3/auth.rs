//! Signature Version 4: who sent this request, and did anybody change it on the way.
//!
//! [`Verifier::authenticate`] reads nothing but the request head, so it runs before routing. It answers
//! [`Authenticated::Anonymous`] only for a request that carries no trace of credentials; whatever looks like an attempt
//! to authenticate and is not one that we can verify is a [`Failure`].
//!
//! The canonicaliser is ours, because a verifier has to accept every form that real clients sign and to refuse every
//! header that they did not; the arithmetic is `aws-sigv4`'s, whose whole signer is also the oracle of the tests.
//!
//! STS and other calls without `x-amz-content-sha256` but with a body: the caller hashes the body first and puts the
//! digest into that header. The header enters the canonical request by value, so it needs no place in `SignedHeaders`.
//!
//! # Source
//! AWS General Reference, "Signature Version 4"; Amazon S3 API Reference, "Authenticating Requests".

mod canonical;
mod chunk;
mod credential;
mod failure;
mod guard;
mod header;
mod keys;
mod presign;
mod scope;
mod verify;

#[cfg(test)]
mod tests;

pub use chunk::{ChunkSigner, SignatureMismatch};
pub use credential::{SecretKey, Secrets};
pub use failure::{Cause, Evidence, Failure};
pub use verify::Verifier;

/// What a listener accepts. Defaults are AWS's limits.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Regions accepted besides `us-east-1` and the empty one, which admin clients sign with.
    pub regions: Vec<String>,
    /// Services accepted in the scope: `s3`, or `sts` on the STS route only.
    pub services: &'static [&'static str],
    /// Largest difference between the clocks of client and server.
    pub skew_s: u64,
    /// Longest life of a presigned URL.
    pub presign_max_s: u64,
}

impl Policy {
    /// S3, admin and KMS requests.
    #[must_use]
    pub fn s3(regions: Vec<String>) -> Self {
        Self { regions, services: &["s3"], skew_s: 15 * 60, presign_max_s: 7 * 24 * 3600 }
    }

    /// The CloudTrail calls.
    #[must_use]
    pub fn cloudtrail(regions: Vec<String>) -> Self {
        Self { services: &["cloudtrail"], ..Self::s3(regions) }
    }

    /// The STS route.
    #[must_use]
    pub fn sts(regions: Vec<String>) -> Self {
        Self { services: &["sts"], ..Self::s3(regions) }
    }
}

/// Who a request claims to come from, proven.
#[derive(Clone, Debug)]
pub enum Authenticated {
    /// The request carries no credentials at all.
    Anonymous,
    /// Boxed, so that an anonymous request does not carry the room for it.
    Signed(Box<Signed>),
}

/// How the signature travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Header,
    Presigned,
}

/// A verified signature and what it covers.
#[derive(Clone, Debug)]
pub struct Signed {
    pub access_key: String,
    pub scheme: Scheme,
    pub region: String,
    pub service: String,
    /// Unix seconds of the signature's own timestamp.
    pub signed_at: u64,
    /// Age of a presigned URL; zero when its clock is ahead of ours.
    pub age_ms: Option<u64>,
    /// Present and covered by the signature, but not yet checked: that is the identity store's work.
    pub session_token: Option<String>,
    /// What the signature says about the body; the body layer enforces it.
    pub payload: PayloadKind,
    /// Hex SHA-256 of string-to-sign and signature: names this signature in the audit log without revealing it.
    pub sig_sha256: String,
    /// Verifies the chunks of a body signed chunk by chunk.
    pub chunk_key: Option<ChunkSigner>,
}

/// The meanings of `x-amz-content-sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// The body must have this digest.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, with or without `-TRAILER`.
    SignedChunks { trailer: bool },
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedChunksTrailer,
}

impl PayloadKind {
    /// Reads a header value. `None` for a value that names nothing we know.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"UNSIGNED-PAYLOAD" => Some(Self::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Some(Self::SignedChunks { trailer: false }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Some(Self::SignedChunks { trailer: true })
            }
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(Self::UnsignedChunksTrailer),
            digest => {
                let mut sha256 = [0; 32];
                hex::decode_to_slice(digest, &mut sha256).ok()?;
                Some(Self::Sha256(sha256))
            }
        }
    }
}
