//! PUT: encrypt, code, write, publish.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::reclaim::Garbage;
use super::record::{ObjectRow, PartRow, context};
use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::blobs::{BlobId, Staged};
use crate::error::Error;
use crate::metadata::{Batch, Check, table};
use crate::name::{BucketName, ObjectKey};
use crate::object::{Headers, NULL_VERSION, ObjectInfo, Put, WriteCondition};
use crate::source::Source;
use crate::sse::envelope::Envelope;
use crate::sse::key::{DataKey, KeyContext, KeyService};
use crate::sse::stream::{PartKey, Sealer};

/// Headers and tags of one object together. S3 allows 2 KiB of user metadata and 10 tags; the rest are standard headers.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Largest object or part: AWS's limit for one upload request.
const BODY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Encrypted bytes that are handed to the blob at once.
const WRITE_BYTES: usize = 256 * 1024;

impl Store {
    /// Stores an object. It is durable, and visible to every later call, when this returns.
    ///
    /// # Errors
    /// `NoSuchBucket`; `PreconditionFailed`; `Source` and `Key` from the caller's side; `TooLarge` for a body over 5 GiB or
    /// headers and tags over 16 KiB; `Unavailable` when too few drives are in use: then the object may still appear.
    pub async fn put(
        &self,
        keys: &dyn KeyService,
        put: Put,
        source: &mut dyn Source,
    ) -> Result<ObjectInfo, Error> {
        check_headers(&put.headers, &put.tags)?;
        self.require_bucket(&put.bucket).await?;
        let row = table::object(&put.bucket, &put.key, NULL_VERSION);
        // Checked again at publication; this spares the body of a PUT that cannot succeed.
        self.check_condition(&put.precondition, self.object_row(&row).await?.as_ref())?;
        let context = context(&put.bucket, &put.key);
        let (key, envelope) = Envelope::generate(keys, &put.sse, &context).await?;
        let (size, staged) = self.write_body(&key, 0, &context, source).await?;
        let facts = source.facts();
        let part = PartRow {
            number: 0,
            size,
            etag: facts.etag.clone(),
            checksum: None,
            modified_us: put.at_us,
            blob: staged.blob.clone(),
        };
        let object = ObjectRow {
            size,
            etag: facts.etag,
            modified_us: put.at_us,
            headers: put.headers,
            tags: put.tags,
            checksum: facts.checksum,
            envelope,
            authorised_by: put.authorised_by,
            multipart: false,
            parts: vec![part],
        };
        let mut batch = Batch::default();
        self.stage(&mut batch, staged)?;
        self.publish(&put.bucket, &put.key, &put.precondition, &object, batch).await?;
        Ok(object.info(&put.bucket, &put.key))
    }

    /// Encrypts a body into a new blob.
    pub(super) async fn write_body(
        &self,
        key: &DataKey,
        part: u16,
        context: &KeyContext,
        source: &mut dyn Source,
    ) -> Result<(u64, Staged), Error> {
        let id = BlobId::random()?;
        let key = PartKey::derive(self.inner.backend, key, &id.0, part, context)?;
        let mut sealer = Sealer::new(key);
        let mut writer = self.blobs().create(id);
        let mut taken = 0u64;
        while let Some(text) = source.next().await? {
            taken += text.len() as u64;
            if taken > BODY_BYTES_MAX {
                return Err(Error::TooLarge { what: "the body", limit: BODY_BYTES_MAX });
            }
            sealer.push(&text)?;
            while sealer.ready_bytes() >= WRITE_BYTES {
                writer.write(sealer.take(WRITE_BYTES)).await?;
            }
        }
        let size = sealer.finish()?;
        writer.write(sealer.take(usize::MAX)).await?;
        Ok((size, writer.finish().await?))
    }

    /// Adds a new blob to a batch: its small shards, or the row that keeps its files from being orphans.
    pub(super) fn stage(&self, batch: &mut Batch, staged: Staged) -> Result<(), Error> {
        if !staged.blob.inline {
            let row = table::file(staged.blob.id);
            batch.put(row.clone(), self.seal().seal(&row, Vec::new())?);
        }
        batch.attached.extend(staged.attached);
        Ok(())
    }

    /// Writes the row of an object and makes what it replaces garbage, together with the rest of `batch`.
    pub(super) async fn publish(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: &WriteCondition,
        object: &ObjectRow,
        batch: Batch,
    ) -> Result<(), Error> {
        let row = table::object(bucket, key, NULL_VERSION);
        let sealed = self.seal().encode(&row, object)?;
        let caller_checks = batch.checks.len();
        let _turn = self.inner.turns.at(&row).await;
        for _ in 0..ATTEMPTS_MAX {
            let old = self.row_bytes(&row).await?;
            let replaced = self.decode_object(&row, old.as_ref())?;
            if let Err(error) = self.check_condition(condition, replaced.as_ref()) {
                self.discard(object).await;
                return Err(error);
            }
            let mut batch = batch.clone();
            batch.checks.push(Check::Present(table::bucket(bucket)));
            batch.checks.push(Check::Is(row.clone(), old));
            batch.put(row.clone(), sealed.clone());
            let garbage = replaced.map(|replaced| Garbage::new(replaced.blobs()));
            self.bury(&mut batch, garbage.as_ref())?;
            match self.commit(batch).await? {
                Outcome::Done => {
                    self.reclaim(garbage);
                    return Ok(());
                }
                Outcome::Failed(check) if check < caller_checks => return Err(Error::RowChanged),
                Outcome::Failed(check) if check == caller_checks => {
                    self.discard(object).await;
                    return Err(Error::NoSuchBucket(bucket.clone()));
                }
                Outcome::Failed(_) => {}
            }
        }
        self.discard(object).await;
        Err(Error::Contended)
    }

    /// Removes the blobs of a plain PUT that will not be published. (Those of an upload still belong to the upload.)
    async fn discard(&self, object: &ObjectRow) {
        if object.multipart {
            return;
        }
        for blob in object.blobs() {
            // What stays behind is an orphan and collected at the next open.
            let _ = self.blobs().remove(&blob).await;
        }
    }

    pub(super) fn check_condition(
        &self,
        condition: &WriteCondition,
        current: Option<&ObjectRow>,
    ) -> Result<(), Error> {
        let holds = match condition {
            WriteCondition::None => true,
            WriteCondition::IfNoneMatchAny => current.is_none(),
            WriteCondition::IfMatch(etag) => current.is_some_and(|object| object.etag == *etag),
        };
        if holds { Ok(()) } else { Err(Error::PreconditionFailed) }
    }

    /// The row of an object, opened.
    pub(super) async fn object_row(&self, row: &[u8]) -> Result<Option<ObjectRow>, Error> {
        let sealed = self.row_bytes(row).await?;
        self.decode_object(row, sealed.as_ref())
    }

    pub(super) fn decode_object(
        &self,
        row: &[u8],
        sealed: Option<&Bytes>,
    ) -> Result<Option<ObjectRow>, Error> {
        sealed.map(|sealed| self.seal().decode(row, sealed)).transpose()
    }
}

pub(super) fn check_headers(
    headers: &Headers,
    tags: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let pairs = headers.user.iter().chain(tags);
    let standard = [
        &headers.content_type,
        &headers.content_encoding,
        &headers.content_disposition,
        &headers.content_language,
        &headers.cache_control,
        &headers.expires,
        &headers.storage_class,
    ];
    let bytes = pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + standard.into_iter().flatten().map(String::len).sum::<usize>();
    if bytes > HEADERS_BYTES_MAX {
        return Err(Error::TooLarge { what: "headers and tags", limit: HEADERS_BYTES_MAX as u64 });
    }
    Ok(())
}
