//! Request bodies: plaintext that has been checked against everything the client said about it.
//!
//! [`Payload`] takes the framing off (`aws-chunked`), counts, hashes, and ends with `None` only when length, payload
//! digest, chunk and trailer signatures, `Content-MD5` and checksum have all been verified. What it yields before that
//! end is not proven yet (except the chunks of a body signed chunk by chunk, which are proven one by one), so a reader
//! publishes nothing before the end. [`Hashing`] computes the same facts over bytes that we read ourselves.
//!
//! # Source
//! Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
//! Chunks", with and without trailing headers; Amazon S3 User Guide, "Checking object integrity".

pub mod checksum;

mod chunked;
mod digests;
mod error;
mod expected;
mod hashing;
mod payload;

#[cfg(test)]
mod tests;

pub use chunked::ChunkError;
pub use error::BodyError;
pub use hashing::Hashing;
pub use payload::{Counter, Etag, Payload};

use std::time::Duration;

/// Largest object of one PUT and largest part, as on AWS.
pub const OBJECT_BYTES_MAX: u64 = 5 << 30;

/// What a client may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest wait for the next bytes of a body.
    pub idle: Duration,
}
