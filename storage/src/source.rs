//! Where the bytes of a PUT come from.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::object::Facts;

/// A body on its way in, with what its reader learns about it.
///
/// The protocol layer owns the body: it hashes the plaintext, verifies lengths, signatures and checksums, and answers an
/// error from `next` when one of them is wrong. Storage publishes nothing unless `next` has returned `Ok(None)`.
pub trait Source: Send {
    /// The next bytes, in any sizes; `None` at the verified end. Not called again after an end or an error.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>>;

    /// What is known about the whole body. Called once, after `next` returned `Ok(None)`.
    fn facts(&mut self) -> Facts;
}

/// The body could not be read to its verified end; the cause belongs to the protocol layer, which can downcast it.
#[derive(Debug, thiserror::Error)]
#[error("reading the body")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
