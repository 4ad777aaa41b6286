//! Multipart uploads: parts are blobs of their own, and completing an upload moves none of their bytes.

mod complete;
mod listing;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::put::check_headers;
use super::reclaim::Garbage;
use super::record::{PartRow, context};
use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::blobs::BlobId;
use crate::drive::KeyRange;
use crate::error::Error;
use crate::metadata::{Batch, Check, table};
use crate::name::{BucketName, ObjectKey};
use crate::object::{ChecksumKind, Headers, PartInfo, Sse, SseInfo};
use crate::source::Source;
use crate::sse::envelope::Envelope;
use crate::sse::key::KeyService;

pub use complete::{CompleteUpload, CompletedPart};
pub use listing::{ListUploads, PartListing, UploadEntry, UploadListing};

/// Highest part number.
pub const PART_NUMBER_MAX: u16 = 10_000;

/// Smallest part but the last.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// Names an upload; opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub String);

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything about an upload but its parts.
#[derive(Clone, Debug)]
pub struct CreateUpload {
    /// Where to.
    pub bucket: BucketName,
    /// Under which key.
    pub key: ObjectKey,
    /// Headers to keep.
    pub headers: Headers,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// How to seal the data key.
    pub sse: Sse,
    /// The checksum algorithm and kind that the client announced; kept for the protocol layer.
    pub checksum: Option<(String, ChecksumKind)>,
    /// Event id of the decision that allowed this.
    pub authorised_by: String,
    /// The moment of the request, in microseconds since 1970.
    pub at_us: u64,
}

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub id: UploadId,
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The headers that the object will have.
    pub headers: Headers,
    /// The encryption that the object will have.
    pub sse: SseInfo,
    /// The checksum algorithm and kind that the client announced.
    pub checksum: Option<(String, ChecksumKind)>,
    /// Microseconds since 1970.
    pub created_us: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UploadRow {
    headers: Headers,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    envelope: Envelope,
    #[serde(default)]
    checksum: Option<(String, ChecksumKind)>,
    created_us: u64,
    authorised_by: String,
}

/// An upload that was found: where its row is, what the row has.
struct Found {
    id: BlobId,
    row: Bytes,
    sealed: Bytes,
    upload: UploadRow,
}

impl Store {
    /// Starts an upload: the data key of the object is made now.
    ///
    /// # Errors
    /// `NoSuchBucket`, `Key`, `TooLarge`.
    pub async fn create_upload(
        &self,
        keys: &dyn KeyService,
        create: CreateUpload,
    ) -> Result<UploadId, Error> {
        check_headers(&create.headers, &create.tags)?;
        self.require_bucket(&create.bucket).await?;
        let context = context(&create.bucket, &create.key);
        let (_, envelope) = Envelope::generate(keys, &create.sse, &context).await?;
        let id = BlobId::random()?;
        let upload = UploadRow {
            headers: create.headers,
            tags: create.tags,
            envelope,
            checksum: create.checksum,
            created_us: create.at_us,
            authorised_by: create.authorised_by,
        };
        let row = table::upload(&create.bucket, &create.key, id);
        let mut batch = Batch::default();
        batch.checks.push(Check::Present(table::bucket(&create.bucket)));
        batch.put(row.clone(), self.seal().encode(&row, &upload)?);
        match self.commit(batch).await? {
            Outcome::Done => Ok(UploadId(id.to_string())),
            Outcome::Failed(_) => Err(Error::NoSuchBucket(create.bucket)),
        }
    }

    /// An upload under way.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<UploadInfo, Error> {
        let Found { upload: row, .. } = self.find_upload(bucket, key, upload).await?;
        Ok(UploadInfo {
            id: upload.clone(),
            bucket: bucket.clone(),
            key: key.clone(),
            headers: row.headers,
            sse: row.envelope.info(),
            checksum: row.checksum,
            created_us: row.created_us,
        })
    }

    /// Stores a part, replacing one of the same number. Durable on return.
    ///
    /// # Errors
    /// `NoSuchUpload`; `InvalidArgument` for a number outside 1 to 10 000; and as [`Store::put`].
    #[expect(clippy::too_many_arguments, reason = "each is one field of the S3 request")]
    pub async fn put_part(
        &self,
        keys: &dyn KeyService,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &UploadId,
        number: u16,
        source: &mut dyn Source,
        at_us: u64,
    ) -> Result<PartInfo, Error> {
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(Error::InvalidArgument("a part number outside 1 to 10000"));
        }
        let found = self.find_upload(bucket, key, upload).await?;
        let context = context(bucket, key);
        let data_key = found.upload.envelope.unseal(keys, &context).await?;
        let (size, staged) = self.write_body(&data_key, number, &context, source).await?;
        let facts = source.facts();
        let blob = staged.blob.clone();
        let checksum = facts.checksum;
        let part = PartRow { number, size, etag: facts.etag, checksum, modified_us: at_us, blob };
        let mut batch = Batch::default();
        self.stage(&mut batch, staged)?;
        let row = table::part(found.id, number);
        batch.put(row.clone(), self.seal().encode(&row, &part)?);
        batch.checks.push(Check::Present(found.row));
        self.publish_part(upload, &row, batch, &part).await?;
        Ok(part.info())
    }

    async fn publish_part(
        &self,
        upload: &UploadId,
        row: &Bytes,
        batch: Batch,
        part: &PartRow,
    ) -> Result<(), Error> {
        let _turn = self.inner.turns.at(row).await;
        for _ in 0..ATTEMPTS_MAX {
            let old = self.row_bytes(row).await?;
            let replaced = old.as_ref().map(|old| self.seal().decode::<PartRow>(row, old));
            let garbage = replaced.transpose()?.map(|replaced| Garbage::new(vec![replaced.blob]));
            let mut batch = batch.clone();
            batch.checks.push(Check::Is(row.clone(), old));
            self.bury(&mut batch, garbage.as_ref())?;
            match self.commit(batch).await? {
                Outcome::Done => {
                    self.reclaim(garbage);
                    return Ok(());
                }
                Outcome::Failed(0) => {
                    let _ = self.blobs().remove(&part.blob).await;
                    return Err(Error::NoSuchUpload(upload.0.clone()));
                }
                Outcome::Failed(_) => {}
            }
        }
        let _ = self.blobs().remove(&part.blob).await;
        Err(Error::Contended)
    }

    /// Ends an upload and removes its parts.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn abort_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<(), Error> {
        let found = self.find_upload(bucket, key, upload).await?;
        // ORDER: the upload first. No part can join after it is gone, so the parts can then be removed in peace; a crash
        // between the two leaves stranded parts, which the next open removes.
        let mut batch = Batch::default();
        batch.checks.push(Check::Is(found.row.clone(), Some(found.sealed)));
        batch.delete(found.row);
        if self.commit(batch).await? != Outcome::Done {
            return Err(Error::NoSuchUpload(upload.0.clone()));
        }
        self.remove_parts(found.id).await
    }

    /// Removes the parts of an upload that is gone.
    async fn remove_parts(&self, upload: BlobId) -> Result<(), Error> {
        let parts = self.part_rows(upload).await?;
        let garbage = Garbage::new(parts.iter().map(|(_, _, part)| part.blob.clone()).collect());
        let mut batch = Batch::default();
        for (row, _, _) in parts {
            batch.delete(row);
        }
        self.bury(&mut batch, Some(&garbage))?;
        self.commit(batch).await?;
        self.reclaim(Some(garbage));
        Ok(())
    }

    /// Aborts all uploads of a bucket.
    pub(super) async fn abort_uploads(&self, bucket: &BucketName) -> Result<(), Error> {
        for (row, _) in self.scan_all(table::uploads(bucket, "")).await? {
            let (Some(key), Some(id)) = (table::field(&row, 1), table::field(&row, 2)) else {
                continue;
            };
            let key = ObjectKey::parse(key).map_err(|_| Error::Damaged("an upload row key"))?;
            match self.abort_upload(bucket, &key, &UploadId(id.to_owned())).await {
                Ok(()) | Err(Error::NoSuchUpload(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes parts that a crash left without their upload.
    pub(super) async fn abort_stranded(&self) -> Result<(), Error> {
        let rows = self.scan_all(table::all_uploads()).await?;
        let id = |row: &Bytes| table::field(row, 2).and_then(BlobId::parse);
        let uploads: Vec<BlobId> = rows.iter().filter_map(|(row, _)| id(row)).collect();
        let mut range = table::all_parts();
        while let Some((row, _)) = self.metadata().scan(range.clone(), 1).await?.first() {
            let upload = table::part_upload(row).ok_or(Error::Damaged("a part row key"))?;
            if !uploads.contains(&upload) {
                self.remove_parts(upload).await?;
            }
            range.start = table::parts(upload, 0).end;
        }
        Ok(())
    }

    async fn find_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<Found, Error> {
        let missing = || Error::NoSuchUpload(upload.0.clone());
        let id = BlobId::parse(&upload.0).ok_or_else(missing)?;
        let row = table::upload(bucket, key, id);
        let sealed = self.row_bytes(&row).await?.ok_or_else(missing)?;
        let decoded = self.seal().decode(&row, &sealed)?;
        Ok(Found { id, row, sealed, upload: decoded })
    }

    /// All parts of an upload: row key, sealed row, opened row.
    async fn part_rows(&self, upload: BlobId) -> Result<Vec<(Bytes, Bytes, PartRow)>, Error> {
        let rows = self.scan_all(table::parts(upload, 0)).await?;
        rows.into_iter()
            .map(|(row, sealed)| {
                let part = self.seal().decode(&row, &sealed)?;
                Ok((row, sealed, part))
            })
            .collect()
    }

    /// All rows of a range, in pages.
    async fn scan_all(&self, mut range: KeyRange) -> Result<Vec<(Bytes, Bytes)>, Error> {
        const PAGE_ROWS: usize = 1000;
        let mut rows = Vec::new();
        loop {
            let page = self.metadata().scan(range.clone(), PAGE_ROWS).await?;
            let more = page.len() == PAGE_ROWS;
            rows.extend(page);
            match rows.last() {
                Some((last, _)) if more => range.start = [last, &b"\0"[..]].concat(),
                _ => return Ok(rows),
            }
        }
    }
}
