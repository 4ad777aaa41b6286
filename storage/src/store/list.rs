//! Listing: a range scan that rolls keys up at a delimiter and seeks past what it rolled up.

use super::Store;
use super::record::ObjectRow;
use crate::drive::Pair;
use crate::error::Error;
use crate::metadata::table;
use crate::name::{BucketName, ObjectKey};
use crate::object::SseInfo;

/// Most entries of one listing, prefixes included; S3's page.
pub const LIST_MAX: usize = 1000;

/// Rows of one scan.
const SCAN_ROWS: usize = 256;

/// What to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that start with this; may be empty.
    pub prefix: String,
    /// Keys that contain this after the prefix are rolled up to it.
    pub delimiter: Option<String>,
    /// Only keys after this one. When it is a prefix that was rolled up, all keys under it are passed over.
    pub start_after: Option<String>,
    /// At most this many entries, and at most [`LIST_MAX`].
    pub max: usize,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects in key order.
    pub objects: Vec<ListEntry>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// Where the next page starts, if there is more: `start_after` of the next request.
    pub next: Option<String>,
    /// Whether there is more.
    pub truncated: bool,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Its key.
    pub key: ObjectKey,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Microseconds since 1970.
    pub modified_us: u64,
    /// Its storage class, if one was given.
    pub storage_class: Option<String>,
    /// Its encryption.
    pub sse: SseInfo,
    /// The algorithm of its checksum, if it has one.
    pub checksum_algorithm: Option<String>,
}

impl Store {
    /// Lists objects in byte order of their keys.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    ///
    /// # Source
    /// Amazon S3 API, ListObjectsV2.
    pub async fn list(&self, request: ListRequest) -> Result<Listing, Error> {
        self.require_bucket(&request.bucket).await?;
        let max = request.max.min(LIST_MAX);
        let mut listing = Listing::default();
        if max == 0 {
            return Ok(listing);
        }
        let mut range = table::objects(&request.bucket, &request.prefix);
        range.start = range.start.max(request.seek());
        let mut last = None;
        loop {
            let rows = self.metadata().scan(range.clone(), SCAN_ROWS.min(max + 1)).await?;
            if rows.is_empty() {
                return Ok(listing);
            }
            for (row, sealed) in &rows {
                if row[..] < range.start[..] {
                    // Under a prefix that was rolled up a moment ago.
                    continue;
                }
                if listing.objects.len() + listing.prefixes.len() == max {
                    listing.truncated = true;
                    listing.next = last;
                    return Ok(listing);
                }
                let key = table::field(row, 1).ok_or(Error::Damaged("an object row key"))?;
                let common = common_prefix(key, &request.prefix, request.delimiter.as_deref());
                range.start = request.seek_after(key, common.as_deref());
                last = Some(common.clone().unwrap_or_else(|| key.to_owned()));
                match common {
                    Some(common) => listing.prefixes.push(common),
                    None => listing.objects.push(self.entry(key, (row.clone(), sealed.clone()))?),
                }
            }
        }
    }

    fn entry(&self, key: &str, (row, sealed): Pair) -> Result<ListEntry, Error> {
        let object: ObjectRow = self.seal().decode(&row, &sealed)?;
        Ok(ListEntry {
            key: ObjectKey::parse(key).map_err(|_| Error::Damaged("an object key"))?,
            size: object.size,
            etag: object.etag,
            modified_us: object.modified_us,
            storage_class: object.headers.storage_class,
            sse: object.envelope.info(),
            checksum_algorithm: object.checksum.map(|checksum| checksum.algorithm),
        })
    }
}

impl ListRequest {
    /// The first row that may be listed.
    fn seek(&self) -> Vec<u8> {
        let Some(start_after) = &self.start_after else { return Vec::new() };
        let common = common_prefix(start_after, &self.prefix, self.delimiter.as_deref());
        let rolled_up = common.as_deref() == Some(start_after);
        self.seek_after(start_after, rolled_up.then_some(start_after))
    }

    /// The first row after `key`, or after everything under a common prefix.
    fn seek_after(&self, key: &str, common: Option<&str>) -> Vec<u8> {
        match common {
            Some(common) => table::objects(&self.bucket, common).end,
            None => table::after_object(&self.bucket, key),
        }
    }
}

/// `key` up to and with the first delimiter after the prefix, if there is one.
pub(super) fn common_prefix(key: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.strip_prefix(prefix)?;
    let (until, _) = rest.split_once(delimiter)?;
    Some(format!("{prefix}{until}{delimiter}"))
}
