//! Listing parts and uploads.

use super::{UploadId, UploadRow};
use crate::error::Error;
use crate::metadata::table;
use crate::name::{BucketName, ObjectKey};
use crate::object::PartInfo;
use crate::store::Store;
use crate::store::list::{LIST_MAX, common_prefix};
use crate::store::record::PartRow;

/// One page of the parts of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartListing {
    /// Parts by number.
    pub parts: Vec<PartInfo>,
    /// The last part of this page if there is more: `after` of the next call.
    pub next: Option<u16>,
}

/// Which uploads to list.
#[derive(Clone, Debug)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that start with this; may be empty.
    pub prefix: String,
    /// Keys that contain this after the prefix are rolled up to it.
    pub delimiter: Option<String>,
    /// Only uploads to keys after this one, or to this one after `upload_marker`.
    pub key_marker: Option<String>,
    /// Only uploads after this one to the key of `key_marker`.
    pub upload_marker: Option<String>,
    /// At most this many entries, and at most 1000.
    pub max: usize,
}

/// One upload of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadEntry {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub upload: UploadId,
    /// Microseconds since 1970.
    pub created_us: u64,
    /// The storage class that the object will have, if one was given.
    pub storage_class: Option<String>,
}

/// One page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadListing {
    /// Uploads by key, then by id.
    pub uploads: Vec<UploadEntry>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// Whether there is more.
    pub truncated: bool,
    /// `key_marker` of the next page.
    pub next_key: Option<String>,
    /// `upload_marker` of the next page; none after a common prefix.
    pub next_upload: Option<String>,
}

impl Store {
    /// The parts of an upload with numbers above `after`, at most `max` and at most 1000.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn list_parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &UploadId,
        after: u16,
        max: usize,
    ) -> Result<PartListing, Error> {
        let found = self.find_upload(bucket, key, upload).await?;
        let max = max.min(LIST_MAX);
        let range = table::parts(found.id, after.saturating_add(1));
        let rows = self.metadata().scan(range, max + 1).await?;
        let more = rows.len() > max;
        let mut parts = Vec::with_capacity(rows.len());
        for (row, sealed) in rows.iter().take(max) {
            parts.push(self.seal().decode::<PartRow>(row, sealed)?.info());
        }
        let next = parts.last().map(|part| part.number).filter(|_| more);
        Ok(PartListing { parts, next })
    }

    /// Lists uploads under way by key, then by id.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    ///
    /// # Source
    /// Amazon S3 API, ListMultipartUploads; there uploads to one key are ordered by time, here by id.
    pub async fn list_uploads(&self, request: ListUploads) -> Result<UploadListing, Error> {
        self.require_bucket(&request.bucket).await?;
        let mut listing = UploadListing::default();
        let max = request.max.min(LIST_MAX);
        let mut range = table::uploads(&request.bucket, &request.prefix);
        range.start = range.start.max(request.seek());
        loop {
            let rows = self.metadata().scan(range.clone(), max + 1).await?;
            if rows.is_empty() || max == 0 {
                break;
            }
            for (row, sealed) in &rows {
                if row[..] < range.start[..] {
                    continue;
                }
                if listing.uploads.len() + listing.prefixes.len() == max {
                    listing.truncated = true;
                    return Ok(listing);
                }
                let (key, id) = table::field(row, 1)
                    .zip(table::field(row, 2))
                    .ok_or(Error::Damaged("an upload row key"))?;
                match common_prefix(key, &request.prefix, request.delimiter.as_deref()) {
                    Some(common) => {
                        range.start = table::uploads(&request.bucket, &common).end;
                        listing.next_key = Some(common.clone());
                        listing.next_upload = None;
                        listing.prefixes.push(common);
                    }
                    None => {
                        range.start = [&row[..], b"\0"].concat();
                        listing.next_key = Some(key.to_owned());
                        listing.next_upload = Some(id.to_owned());
                        let upload: UploadRow = self.seal().decode(row, sealed)?;
                        listing.uploads.push(upload.entry(key, id)?);
                    }
                }
            }
        }
        listing.next_key = None;
        listing.next_upload = None;
        Ok(listing)
    }
}

impl UploadRow {
    fn entry(self, key: &str, id: &str) -> Result<UploadEntry, Error> {
        Ok(UploadEntry {
            key: ObjectKey::parse(key).map_err(|_| Error::Damaged("an object key"))?,
            upload: UploadId(id.to_owned()),
            created_us: self.created_us,
            storage_class: self.headers.storage_class,
        })
    }
}

impl ListUploads {
    fn seek(&self) -> Vec<u8> {
        let Some(marker) = &self.key_marker else { return Vec::new() };
        if let Some(upload) = self.upload_marker.as_ref().filter(|upload| !upload.is_empty()) {
            let row = table::uploads(&self.bucket, &format!("{marker}\0{upload}"));
            return [&row.start[..], b"\0"].concat();
        }
        let common = common_prefix(marker, &self.prefix, self.delimiter.as_deref());
        if common.as_ref() == Some(marker) {
            return table::uploads(&self.bucket, marker).end;
        }
        table::after_uploads(&self.bucket, marker)
    }
}
