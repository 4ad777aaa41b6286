//! Buckets and their configurations.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::error::Error;
use crate::metadata::{Batch, Check, table};
use crate::name::BucketName;

/// Buckets of one store; a listing of all of them is one scan.
const BUCKETS_MAX: usize = 100_000;

/// A configuration document: AWS's largest is a lifecycle of 1 000 rules.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// Longest name of a kind of configuration.
const KIND_BYTES_MAX: usize = 64;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// Microseconds since 1970.
    pub created_us: u64,
    /// Who made it, as the caller names principals.
    pub owner: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BucketRow {
    created_us: u64,
    owner: String,
}

impl BucketRow {
    fn info(self, name: BucketName) -> BucketInfo {
        BucketInfo { name, created_us: self.created_us, owner: self.owner }
    }
}

impl Store {
    /// Makes a bucket.
    ///
    /// # Errors
    /// `BucketExists` with its owner.
    pub async fn create_bucket(
        &self,
        name: &BucketName,
        owner: &str,
        at_us: u64,
    ) -> Result<BucketInfo, Error> {
        let row = table::bucket(name);
        let bucket = BucketRow { created_us: at_us, owner: owner.to_owned() };
        let mut batch = Batch::default();
        batch.checks.push(Check::Is(row.clone(), None));
        batch.put(row.clone(), self.seal().encode(&row, &bucket)?);
        match self.commit(batch).await? {
            Outcome::Done => Ok(bucket.info(name.clone())),
            Outcome::Failed(_) => {
                // Deleted again meanwhile: as good as taken at the moment of the check.
                let owner = self.bucket(name).await.map_or_else(|_| String::new(), |b| b.owner);
                Err(Error::BucketExists { bucket: name.clone(), owner })
            }
        }
    }

    /// A bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn bucket(&self, name: &BucketName) -> Result<BucketInfo, Error> {
        let row = table::bucket(name);
        let sealed = self.row_bytes(&row).await?;
        let sealed = sealed.ok_or_else(|| Error::NoSuchBucket(name.clone()))?;
        let bucket: BucketRow = self.seal().decode(&row, &sealed)?;
        Ok(bucket.info(name.clone()))
    }

    /// All buckets by name.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        let rows = self.metadata().scan(table::buckets(), BUCKETS_MAX).await?;
        rows.into_iter()
            .map(|(row, sealed)| {
                let name = table::bucket_name(&row).ok_or(Error::Damaged("a bucket row key"))?;
                Ok(self.seal().decode::<BucketRow>(&row, &sealed)?.info(name))
            })
            .collect()
    }

    /// Removes an empty bucket with its configurations. Uploads under way do not keep it; they are aborted.
    ///
    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        let objects = table::objects(name, "");
        for _ in 0..ATTEMPTS_MAX {
            self.require_bucket(name).await?;
            if !self.metadata().scan(objects.clone(), 1).await?.is_empty() {
                return Err(Error::BucketNotEmpty(name.clone()));
            }
            self.abort_uploads(name).await?;
            let mut batch = Batch::default();
            batch.checks.push(Check::Present(table::bucket(name)));
            batch.checks.push(Check::Empty(objects.clone()));
            batch.checks.push(Check::Empty(table::uploads(name, "")));
            batch.delete(table::bucket(name));
            for (row, _) in self.metadata().scan(table::configs(name), BUCKETS_MAX).await? {
                batch.delete(row);
            }
            match self.commit(batch).await? {
                Outcome::Done => return Ok(()),
                Outcome::Failed(0) => return Err(Error::NoSuchBucket(name.clone())),
                Outcome::Failed(1) => return Err(Error::BucketNotEmpty(name.clone())),
                // Another upload was created meanwhile.
                Outcome::Failed(_) => {}
            }
        }
        Err(Error::Contended)
    }

    /// One configuration of a bucket, as it was put.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn bucket_config(
        &self,
        name: &BucketName,
        kind: &str,
    ) -> Result<Option<Bytes>, Error> {
        check_kind(kind)?;
        let row = table::config(name, kind);
        match self.row_bytes(&row).await? {
            Some(sealed) => Ok(Some(self.seal().open(&row, &sealed)?.into())),
            None => self.require_bucket(name).await.map(|()| None),
        }
    }

    /// Sets or removes one configuration of a bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`; `TooLarge` over 1 MiB; `InvalidArgument` for a kind that is no short word.
    pub async fn put_bucket_config(
        &self,
        name: &BucketName,
        kind: &str,
        config: Option<Bytes>,
    ) -> Result<(), Error> {
        check_kind(kind)?;
        if config.as_ref().is_some_and(|config| config.len() > CONFIG_BYTES_MAX) {
            let limit = CONFIG_BYTES_MAX as u64;
            return Err(Error::TooLarge { what: "a bucket configuration", limit });
        }
        let row = table::config(name, kind);
        let mut batch = Batch::default();
        batch.checks.push(Check::Present(table::bucket(name)));
        match config {
            Some(config) => batch.put(row.clone(), self.seal().seal(&row, config.into())?),
            None => batch.delete(row),
        }
        match self.commit(batch).await? {
            Outcome::Done => Ok(()),
            Outcome::Failed(_) => Err(Error::NoSuchBucket(name.clone())),
        }
    }
}

fn check_kind(kind: &str) -> Result<(), Error> {
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX || kind.contains('\0') {
        return Err(Error::InvalidArgument("the kind of a bucket configuration"));
    }
    Ok(())
}
