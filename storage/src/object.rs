//! What is known about an object, and what a caller says when it stores one.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::name::{BucketName, ObjectKey};

/// The version id of an object in a bucket without versioning.
pub const NULL_VERSION: &str = "null";

/// What the protocol layer computed over a whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The ETag without quotes; which digest it is was the protocol layer's choice.
    pub etag: String,
    /// The checksum that the client asked for, if any.
    pub checksum: Option<Checksum>,
}

/// An additional checksum of S3, kept as it was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub algorithm: String,
    /// Base64 of the digest; a composite one ends with `-N`.
    pub value: String,
    /// Over the whole object or over the checksums of its parts.
    pub kind: ChecksumKind,
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All bytes of the object.
    Full,
    /// The checksums of the parts.
    Composite,
}

/// Headers that come back as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Expires`, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `x-amz-storage-class`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// `x-amz-meta-*` without the prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// How the data key of an object is to be sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sse {
    /// SSE-S3: the default key of the key service.
    #[default]
    S3,
    /// SSE-KMS: a named key, or the default one.
    Kms {
        /// The key that the client named.
        key_id: Option<String>,
        /// The encryption context that the client gave: part of what the data key is bound to.
        context: BTreeMap<String, String>,
    },
    /// SSE-C: the key service of the call seals under the customer's key, whichever it is.
    Customer,
}

impl Sse {
    /// The kind that an object stored so has.
    pub fn kind(&self) -> SseKind {
        match self {
            Self::S3 => SseKind::S3,
            Self::Kms { .. } => SseKind::Kms,
            Self::Customer => SseKind::Customer,
        }
    }
}

/// Which kind of server-side encryption an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SseKind {
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms,
    /// SSE-C: who reads it must hand in a key service with the customer's key.
    Customer,
}

/// The encryption of a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseInfo {
    /// SSE-S3 or SSE-KMS.
    pub kind: SseKind,
    /// The key that sealed the data key.
    pub key_id: String,
}

/// What must be true of the key that is about to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: there is no object yet.
    IfNoneMatchAny,
    /// `If-Match`: the object has this ETag (without quotes).
    IfMatch(String),
}

/// Everything about one PUT but its bytes.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where to.
    pub bucket: BucketName,
    /// Under which key.
    pub key: ObjectKey,
    /// Headers to keep; at most 16 KiB in all, as [`crate::Store::put`] checks.
    pub headers: Headers,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// What must hold at the moment of publication.
    pub precondition: WriteCondition,
    /// How to seal the data key.
    pub sse: Sse,
    /// Event id of the decision that allowed this.
    pub authorised_by: String,
    /// The moment of the request, in microseconds since 1970.
    pub at_us: u64,
    /// The length of the body if it is known.
    pub size_hint: Option<u64>,
}

/// A stored object, without its bytes and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Its version id; `null` without versioning.
    pub version: String,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Microseconds since 1970.
    pub modified_us: u64,
    /// The headers it was stored with.
    pub headers: Headers,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its checksum, if one was asked for.
    pub checksum: Option<Checksum>,
    /// Its encryption.
    pub sse: SseInfo,
    /// The parts of a multipart object in order; empty for a plain PUT.
    pub parts: Vec<PartInfo>,
    /// Event id of the decision that allowed the write.
    pub authorised_by: String,
}

/// One part of an upload or of a multipart object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10 000.
    pub number: u16,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Its checksum, if one was asked for.
    pub checksum: Option<Checksum>,
    /// Microseconds since 1970.
    pub modified_us: u64,
}

/// A single byte range of a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From an offset to an inclusive end, or to the end of the object.
    From(u64, Option<u64>),
    /// The last bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes `start..end` of an object of `size` bytes; `None` when the range cannot be satisfied.
    ///
    /// # Source
    /// RFC 9110 §14.1.2: an end past the object is clipped, a suffix longer than the object is the whole of it.
    pub fn resolve(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Self::From(start, _) if start >= size => None,
            Self::From(start, None) => Some((start, size)),
            Self::From(start, Some(last)) if last < start => None,
            Self::From(start, Some(last)) => Some((start, last.saturating_add(1).min(size))),
            Self::Suffix(0) => None,
            Self::Suffix(_) if size == 0 => None,
            Self::Suffix(bytes) => Some((size.saturating_sub(bytes), size)),
        }
    }
}

/// Plaintext on its way out.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// The answer of a GET.
pub struct GetObject {
    /// The object.
    pub info: ObjectInfo,
    /// `start..end` of the bytes in `body` if a range was asked for.
    pub range: Option<(u64, u64)>,
    /// The bytes; an error ends the stream.
    pub body: Body,
}

impl std::fmt::Debug for GetObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetObject")
            .field("info", &self.info)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_rfc_9110_says() {
        use ByteRange::{From, Suffix};
        for (range, size, expected) in [
            (From(0, None), 10, Some((0, 10))),
            (From(3, Some(3)), 10, Some((3, 4))),
            (From(3, Some(99)), 10, Some((3, 10))),
            (From(9, Some(u64::MAX)), 10, Some((9, 10))),
            (From(10, None), 10, None),
            (From(5, Some(4)), 10, None),
            (From(0, None), 0, None),
            (Suffix(4), 10, Some((6, 10))),
            (Suffix(40), 10, Some((0, 10))),
            (Suffix(0), 10, None),
            (Suffix(1), 0, None),
        ] {
            assert_eq!(range.resolve(size), expected, "{range:?} of {size}");
        }
    }
}
