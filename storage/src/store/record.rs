//! The rows of objects, as they are sealed. FORMAT.md, "Rows", has the fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::blobs::BlobRef;
use crate::name::{BucketName, ObjectKey};
use crate::object::{Checksum, Headers, NULL_VERSION, ObjectInfo, PartInfo};
use crate::sse::envelope::Envelope;
use crate::sse::key::KeyContext;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRow {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified_us: u64,
    pub(super) headers: Headers,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<Checksum>,
    pub(super) envelope: Envelope,
    pub(super) authorised_by: String,
    /// Whether the parts came by an upload. A plain PUT has one part, of number 0.
    #[serde(default)]
    pub(super) multipart: bool,
    pub(super) parts: Vec<PartRow>,
}

/// One part of an object or of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRow {
    pub(super) number: u16,
    pub(super) size: u64,
    pub(super) etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<Checksum>,
    pub(super) modified_us: u64,
    pub(super) blob: BlobRef,
}

impl ObjectRow {
    pub(super) fn info(&self, bucket: &BucketName, key: &ObjectKey) -> ObjectInfo {
        let parts = if self.multipart { &self.parts[..] } else { &[] };
        ObjectInfo {
            bucket: bucket.clone(),
            key: key.clone(),
            version: NULL_VERSION.to_owned(),
            size: self.size,
            etag: self.etag.clone(),
            modified_us: self.modified_us,
            headers: self.headers.clone(),
            tags: self.tags.clone(),
            checksum: self.checksum.clone(),
            sse: self.envelope.info(),
            parts: parts.iter().map(PartRow::info).collect(),
            authorised_by: self.authorised_by.clone(),
        }
    }

    pub(super) fn blobs(&self) -> Vec<BlobRef> {
        self.parts.iter().map(|part| part.blob.clone()).collect()
    }
}

impl PartRow {
    pub(super) fn info(&self) -> PartInfo {
        PartInfo {
            number: self.number,
            size: self.size,
            etag: self.etag.clone(),
            checksum: self.checksum.clone(),
            modified_us: self.modified_us,
        }
    }
}

/// The context of the only version there is.
pub(super) fn context(bucket: &BucketName, key: &ObjectKey) -> KeyContext {
    KeyContext {
        bucket: bucket.clone(),
        key: key.clone(),
        version: NULL_VERSION.to_owned(),
        client: BTreeMap::new(),
    }
}
