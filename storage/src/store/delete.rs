//! DELETE.

use super::reclaim::Garbage;
use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::error::Error;
use crate::metadata::{Batch, Check, table};
use crate::name::{BucketName, ObjectKey};
use crate::object::{NULL_VERSION, WriteCondition};

/// What a DELETE found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether there was an object.
    pub existed: bool,
}

impl Store {
    /// Deletes an object; deleting one that is not there succeeds, as on S3.
    ///
    /// `precondition` is an ETag that the object must have. `authorised_by` and `at_us` will be kept by delete markers once
    /// there are versions; an object without versions leaves nothing that could keep them.
    ///
    /// # Errors
    /// `NoSuchBucket`; `PreconditionFailed` when a precondition names an ETag that the object, if any, does not have.
    pub async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        precondition: Option<&str>,
        _authorised_by: &str,
        _at_us: u64,
    ) -> Result<Deleted, Error> {
        let condition = precondition
            .map_or(WriteCondition::None, |etag| WriteCondition::IfMatch(etag.to_owned()));
        let row = table::object(bucket, key, NULL_VERSION);
        let _turn = self.inner.turns.at(&row).await;
        for _ in 0..ATTEMPTS_MAX {
            let old = self.row_bytes(&row).await?;
            let object = self.decode_object(&row, old.as_ref())?;
            if object.is_none() {
                self.require_bucket(bucket).await?;
            }
            self.check_condition(&condition, object.as_ref())?;
            let Some(object) = object else { return Ok(Deleted { existed: false }) };
            let garbage = Garbage::new(object.blobs());
            let mut batch = Batch::default();
            batch.checks.push(Check::Is(row.clone(), old));
            batch.delete(row.clone());
            self.bury(&mut batch, Some(&garbage))?;
            if self.commit(batch).await? == Outcome::Done {
                self.reclaim(Some(garbage));
                return Ok(Deleted { existed: true });
            }
        }
        Err(Error::Contended)
    }
}
