//! Completing an upload.

use super::{Found, PART_BYTES_MIN, UploadId};
use crate::error::Error;
use crate::metadata::{Batch, Check};
use crate::name::{BucketName, ObjectKey};
use crate::object::{Facts, ObjectInfo, PartInfo, WriteCondition};
use crate::source::SourceError;
use crate::store::reclaim::Garbage;
use crate::store::record::{ObjectRow, PartRow};
use crate::store::{ATTEMPTS_MAX, Store};

/// What a client lists when it completes an upload.
#[derive(Clone, Debug)]
pub struct CompleteUpload {
    /// The bucket of the upload.
    pub bucket: BucketName,
    /// The key of the upload.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// Its parts in ascending order.
    pub parts: Vec<CompletedPart>,
    /// What must hold at the moment of publication.
    pub precondition: WriteCondition,
    /// Event id of the decision that allowed this.
    pub authorised_by: String,
    /// The moment of the request, in microseconds since 1970.
    pub at_us: u64,
}

/// One part as the client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: u16,
    /// Its ETag without quotes.
    pub etag: String,
    /// The base64 value of its checksum, if the client sent one.
    pub checksum: Option<String>,
}

impl Store {
    /// Makes an object of the parts of an upload. Parts that are not named are removed.
    ///
    /// `facts` is asked for ETag and checksum once the parts are found, in their order; its error ends the call.
    ///
    /// # Errors
    /// `NoSuchUpload`, `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, `PreconditionFailed`, `NoSuchBucket`;
    /// `InvalidArgument` without any part; `Source` from `facts`.
    pub async fn complete_upload(
        &self,
        complete: CompleteUpload,
        facts: impl Fn(&[PartInfo]) -> Result<Facts, SourceError> + Send,
    ) -> Result<ObjectInfo, Error> {
        let CompleteUpload { bucket, key, upload, parts, precondition, .. } = &complete;
        if parts.is_empty() {
            return Err(Error::InvalidArgument("an upload without parts"));
        }
        if parts.is_sorted_by(|a, b| a.number < b.number) {
            for _ in 0..ATTEMPTS_MAX {
                let found = self.find_upload(bucket, key, upload).await?;
                let (object, batch, unused) =
                    self.assemble_upload(&complete, found, &facts).await?;
                match self.publish(bucket, key, precondition, &object, batch).await {
                    Ok(()) => {
                        self.reclaim(unused);
                        return Ok(object.info(bucket, key));
                    }
                    // A part was replaced meanwhile, or the upload ended.
                    Err(Error::RowChanged) => {}
                    Err(error) => return Err(error),
                }
            }
            return Err(Error::Contended);
        }
        Err(Error::InvalidPartOrder)
    }

    /// The object, and the batch that turns the upload into it but for the object's own row.
    async fn assemble_upload(
        &self,
        complete: &CompleteUpload,
        found: Found,
        facts: &(impl Fn(&[PartInfo]) -> Result<Facts, SourceError> + Send),
    ) -> Result<(ObjectRow, Batch, Option<Garbage>), Error> {
        let stored = self.part_rows(found.id).await?;
        let mut batch = Batch::default();
        batch.checks.push(Check::Is(found.row.clone(), Some(found.sealed)));
        batch.delete(found.row);
        let mut unused = Vec::new();
        let mut chosen = Vec::new();
        let mut named = complete.parts.iter().peekable();
        for (row, sealed, part) in stored {
            match named.peek() {
                Some(next) if next.number < part.number => break,
                Some(next) if next.number == part.number => {
                    if part.etag != next.etag || !same_checksum(&part, next.checksum.as_deref()) {
                        return Err(Error::InvalidPart { number: next.number });
                    }
                    named.next();
                    chosen.push(part);
                }
                _ => unused.push(part.blob),
            }
            // Used or not, a part that is replaced after this look must make the batch fail.
            batch.checks.push(Check::Is(row.clone(), Some(sealed)));
            batch.delete(row);
        }
        if let Some(missing) = named.next() {
            return Err(Error::InvalidPart { number: missing.number });
        }
        check_sizes(&chosen)?;
        let facts = facts(&chosen.iter().map(PartRow::info).collect::<Vec<_>>())?;
        let unused = Some(Garbage::new(unused));
        self.bury(&mut batch, unused.as_ref())?;
        let object = ObjectRow {
            size: chosen.iter().map(|part| part.size).sum(),
            etag: facts.etag,
            modified_us: complete.at_us,
            headers: found.upload.headers,
            tags: found.upload.tags,
            checksum: facts.checksum,
            envelope: found.upload.envelope,
            authorised_by: complete.authorised_by.clone(),
            multipart: true,
            parts: chosen,
        };
        Ok((object, batch, unused))
    }
}

fn same_checksum(part: &PartRow, named: Option<&str>) -> bool {
    named.is_none_or(|named| part.checksum.as_ref().is_some_and(|stored| stored.value == named))
}

fn check_sizes(parts: &[PartRow]) -> Result<(), Error> {
    let but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    match but_last.iter().find(|part| part.size < PART_BYTES_MIN) {
        Some(part) => Err(Error::EntityTooSmall { number: part.number, size: part.size }),
        None => Ok(()),
    }
}
