//! Object tags after the PUT.

use std::collections::BTreeMap;

use super::put::check_headers;
use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::error::Error;
use crate::metadata::{Batch, Check, table};
use crate::name::{BucketName, ObjectKey};
use crate::object::NULL_VERSION;

impl Store {
    /// Replaces the tags of an object; ETag and modification time stay. Tags are read by [`Store::head`].
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, `TooLarge`.
    pub async fn set_tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        tags: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let row = table::object(bucket, key, NULL_VERSION);
        let _turn = self.inner.turns.at(&row).await;
        for _ in 0..ATTEMPTS_MAX {
            let Some(old) = self.row_bytes(&row).await? else {
                self.require_bucket(bucket).await?;
                return Err(Error::NoSuchKey { bucket: bucket.clone(), key: key.clone() });
            };
            let Some(mut object) = self.decode_object(&row, Some(&old))? else { continue };
            check_headers(&object.headers, &tags)?;
            object.tags = tags.clone();
            let mut batch = Batch::default();
            batch.checks.push(Check::Is(row.clone(), Some(old)));
            batch.put(row.clone(), self.seal().encode(&row, &object)?);
            if self.commit(batch).await? == Outcome::Done {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }
}
