//! Encrypted bytes, put once: the seam that another store of blobs could fill.

pub mod local;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::drive::ShardName;
use crate::error::Error;

/// 128 random bits that name a blob, and nothing else ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId(pub [u8; 16]);

impl BlobId {
    /// A new id.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(bytes))
    }

    /// Reads 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0u8; 16];
        let canonical = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex::decode_to_slice(text, &mut bytes).ok().filter(|()| canonical)?;
        Some(Self(bytes))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl From<BlobId> for String {
    fn from(id: BlobId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BlobId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a blob id has 32 lower-case hex digits")
    }
}

/// What a row keeps to find a blob again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its name.
    pub id: BlobId,
    /// Its bytes, encrypted as they are.
    pub size: u64,
    /// Data shards; at least 1.
    pub data: u8,
    /// The slot of each shard, data first, then parity.
    pub slots: Vec<u8>,
    /// Whether its shards are values of the drives' databases instead of files.
    pub inline: bool,
}

/// Blobs: put once, read in ranges, removed.
///
/// Contract:
/// - an id is written once; a blob never changes;
/// - once [`BlobWriter::finish`] returned, the blob is durable, but for its attachment, which becomes durable with the batch
///   that carries it; a writer that is dropped leaves nothing, or an orphan that the next open removes;
/// - `read` gives exactly the bytes that were written or an error, never others;
/// - `remove` may be called again and for blobs that are partly gone.
///
/// The bytes are encrypted: nothing below this trait needs to be confidential.
pub trait Blobs: fmt::Debug + Send + Sync + 'static {
    /// Starts a blob.
    fn create(&self, id: BlobId) -> Box<dyn BlobWriter>;

    /// The bytes `range` of a blob, in pieces of any size.
    fn read(&self, blob: &BlobRef, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>>;

    /// Removes a blob. What is returned must go with the batch that forgets it.
    fn remove<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<Option<Detachment>, Error>>;
}

/// A blob on its way.
pub trait BlobWriter: fmt::Debug + Send {
    /// Takes more bytes.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes the blob durable; see [`Blobs`] for the attachment.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Staged, Error>>;
}

/// A blob that is durable as soon as its attachment is.
#[derive(Clone, Debug)]
pub struct Staged {
    /// For the row.
    pub blob: BlobRef,
    /// For the batch that writes the row.
    pub attached: Option<Attachment>,
}

/// Small shards that become durable in the same sync as the row that names their blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Slot, name and framed bytes of each shard.
    pub shards: Vec<(usize, ShardName, Bytes)>,
    /// How many of them must be durable.
    pub needed: usize,
}

/// Small shards that go in the same sync as the row that named their blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detachment {
    /// Slot and name of each shard.
    pub shards: Vec<(usize, ShardName)>,
}
