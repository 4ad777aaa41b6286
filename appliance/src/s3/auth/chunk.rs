//! Signatures over the chunks of a body, each bound to the one before it.
//!
//! # Source
//! Amazon S3 API Reference, "Transferring Payload in Multiple Chunks", with and without trailing headers.

use std::fmt;

use aws_sigv4::sign::v4::calculate_signature;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::keys::SigningKey;

/// SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A chunk or trailer whose signature is not the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of a chunk does not match")]
pub struct SignatureMismatch;

/// Verifies one chunk after the other. Starts from the signature of the request head.
#[derive(Clone)]
pub struct ChunkSigner {
    key: SigningKey,
    timestamp: String,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    pub(super) fn new(key: SigningKey, timestamp: &str, scope: &str, seed: &str) -> Self {
        Self {
            key,
            timestamp: timestamp.to_owned(),
            scope: scope.to_owned(),
            previous: seed.to_owned(),
        }
    }

    /// Accepts the next chunk, given the digest of its bytes and the signature that came with it.
    ///
    /// # Errors
    /// When the signature is not the client's; the signer must not be used afterwards.
    pub fn chunk(&mut self, sha256: [u8; 32], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let lines = format!("{EMPTY_SHA256}\n{}", hex::encode(sha256));
        self.accept("AWS4-HMAC-SHA256-PAYLOAD", &lines, signature)
    }

    /// Accepts the trailing headers, given as `name:value` lines that each end with a line feed.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn trailer(&mut self, canonical: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let lines = hex::encode(Sha256::digest(canonical));
        self.accept("AWS4-HMAC-SHA256-TRAILER", &lines, signature)
    }

    fn accept(
        &mut self,
        algorithm: &str,
        lines: &str,
        signature: &[u8],
    ) -> Result<(), SignatureMismatch> {
        let Self { timestamp, scope, previous, .. } = self;
        let text = format!("{algorithm}\n{timestamp}\n{scope}\n{previous}\n{lines}");
        let expected = calculate_signature(&self.key, text.as_bytes());
        if !bool::from(expected.as_bytes().ct_eq(signature)) {
            return Err(SignatureMismatch);
        }
        self.previous = expected;
        Ok(())
    }
}

impl fmt::Debug for ChunkSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}
