//! Things that records refer to by digest: policy-set manifests and policy documents, so that a decision can be
//! replayed from the log's directory alone.

use std::{fmt, fs, io, path::Path};

use sha2::{Digest, Sha256};

use super::{Log, LogError, lock};

/// Largest blob.
pub const BLOB_BYTES_MAX: usize = 16 << 20;

/// Names remembered as present; a policy set changes rarely, so this is never reached in practice.
const KNOWN_MAX: usize = 4096;

/// A SHA-256 digest as 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hex(String);

impl Sha256Hex {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// Reads a digest; `None` unless it has 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 64 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Sha256Hex> for String {
    fn from(digest: Sha256Hex) -> Self {
        digest.0
    }
}

/// Why a blob was not stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// Larger than [`BLOB_BYTES_MAX`].
    #[error("the blob has {bytes} bytes, more than {BLOB_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log has stopped.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Not a digest.
    #[error("`{0}` is not a SHA-256 digest in hex")]
    Name(String),
    /// The stored bytes have another digest.
    #[error("blob `{0}` is damaged")]
    Damaged(Sha256Hex),
    /// Reading or writing failed.
    #[error("blob `{digest}`: {source}")]
    Io {
        /// Which.
        digest: Sha256Hex,
        /// Why.
        source: io::Error,
    },
}

/// Where a blob is.
pub(crate) fn path(digest: &Sha256Hex) -> String {
    format!("blob/{digest}")
}

impl Log {
    /// Stores bytes under their digest, durable on return. Storing them again costs a look-up.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`], [`BlobError::Log`] when the log has stopped or its disk is full, and [`BlobError::Io`],
    /// which stops the log.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Sha256Hex, BlobError> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { bytes: bytes.len() });
        }
        self.shared.queue.check()?;
        let digest = Sha256Hex::of(bytes);
        let mut known = lock(&self.blobs_known);
        if known.contains(&digest) {
            return Ok(digest);
        }
        // The lock is kept, so that one digest is written once; blobs are rare.
        let path = path(&digest);
        let stored = self.shared.files.read(&path).is_ok_and(|found| found == bytes);
        if !stored && let Err(source) = self.shared.files.replace(&path, bytes) {
            if source.kind() == io::ErrorKind::StorageFull {
                // One copy of several may have it, and would be believed to be all of them.
                if let Err(source) = self.shared.files.remove(&path) {
                    self.shared.poison(&format!("taking blob {digest} back: {source}"));
                    return Err(BlobError::Io { digest, source });
                }
                let free_bytes = self.shared.files.free_bytes().unwrap_or(0);
                return Err(LogError::NoSpace { free_bytes }.into());
            }
            self.shared.poison(&format!("writing blob {digest}: {source}"));
            return Err(BlobError::Io { digest, source });
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest.clone());
        Ok(digest)
    }
}

/// Reads a blob of the log in `dir` and checks its digest.
///
/// # Errors
/// [`BlobError::Name`], [`BlobError::Io`], or [`BlobError::Damaged`].
pub fn read_blob(dir: &Path, digest: &str) -> Result<Vec<u8>, BlobError> {
    let digest = Sha256Hex::parse(digest).ok_or_else(|| BlobError::Name(digest.to_owned()))?;
    match fs::read(dir.join(path(&digest))) {
        Ok(bytes) if Sha256Hex::of(&bytes) == digest => Ok(bytes),
        Ok(_) => Err(BlobError::Damaged(digest)),
        Err(source) => Err(BlobError::Io { digest, source }),
    }
}
