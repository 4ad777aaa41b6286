//! HEAD and GET: find the row, then stream the very version that was found.

use std::ops::Range;

use bytes::Bytes;
use futures::stream;
use futures::{StreamExt, TryStreamExt};

use super::Store;
use super::reclaim::ReaderGuard;
use super::record::{ObjectRow, PartRow, context};
use crate::error::Error;
use crate::metadata::table;
use crate::name::{BucketName, ObjectKey};
use crate::object::{Body, ByteRange, GetObject, NULL_VERSION, ObjectInfo};
use crate::sse::key::{DataKey, KeyService};
use crate::sse::stream::{Opener, PartKey};

/// One version of an object, held open: its bytes stay readable even if it is replaced or deleted meanwhile.
///
/// INVARIANT: the guard was taken before the row was read; see `reclaim`.
#[derive(Debug)]
pub struct Opened {
    /// What was found.
    pub info: ObjectInfo,
    row: ObjectRow,
    guard: ReaderGuard,
}

impl Store {
    /// What is known about an object.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`.
    pub async fn head(&self, bucket: &BucketName, key: &ObjectKey) -> Result<ObjectInfo, Error> {
        Ok(self.find(bucket, key).await?.info(bucket, key))
    }

    /// Finds an object and holds it for [`Store::read`], so that conditions and body are about the same version.
    ///
    /// # Errors
    /// As [`Store::head`].
    pub async fn open_object(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Opened, Error> {
        let guard = self.inner.readers.enter();
        let row = self.find(bucket, key).await?;
        Ok(Opened { info: row.info(bucket, key), row, guard })
    }

    /// Reads an opened object. The key service is asked before this returns; bytes follow as the body is polled.
    ///
    /// # Errors
    /// `InvalidRange`, `Key`. The body ends with `Unavailable` or `Damaged` when too few shards are good.
    pub async fn read(
        &self,
        keys: &dyn KeyService,
        opened: Opened,
        range: Option<ByteRange>,
    ) -> Result<GetObject, Error> {
        let Opened { info, row, guard } = opened;
        let size = row.size;
        let resolve = |range: ByteRange| range.resolve(size).ok_or(Error::InvalidRange { size });
        let range = range.map(resolve).transpose()?;
        let key = row.envelope.unseal(keys, &context(&info.bucket, &info.key)).await?;
        let (start, end) = range.unwrap_or((0, size));
        let body = self.body(key, &info, row.parts, start..end, guard);
        Ok(GetObject { info, range, body })
    }

    /// [`Store::open_object`] and [`Store::read`] in one.
    ///
    /// # Errors
    /// As those two.
    pub async fn get(
        &self,
        keys: &dyn KeyService,
        bucket: &BucketName,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<GetObject, Error> {
        let opened = self.open_object(bucket, key).await?;
        self.read(keys, opened, range).await
    }

    pub(super) async fn find(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<ObjectRow, Error> {
        let row = table::object(bucket, key, NULL_VERSION);
        if let Some(object) = self.object_row(&row).await? {
            return Ok(object);
        }
        self.require_bucket(bucket).await?;
        Err(Error::NoSuchKey { bucket: bucket.clone(), key: key.clone() })
    }

    /// The plaintext of the parts that `range` touches, one after the other.
    fn body(
        &self,
        key: DataKey,
        info: &ObjectInfo,
        parts: Vec<PartRow>,
        range: Range<u64>,
        guard: ReaderGuard,
    ) -> Body {
        let store = self.clone();
        let context = context(&info.bucket, &info.key);
        let wanted = wanted_parts(parts, range);
        stream::iter(wanted)
            .map(move |(part, range)| {
                // The guard lives as long as the body.
                let _held = &guard;
                let id = &part.blob.id.0;
                let part_key =
                    PartKey::derive(store.inner.backend, &key, id, part.number, &context)?;
                Ok::<_, Error>(store.part_body(part_key, &part, range))
            })
            .try_flatten()
            .boxed()
    }

    fn part_body(
        &self,
        key: PartKey,
        part: &PartRow,
        range: Range<u64>,
    ) -> impl futures::Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let wanted_bytes = range.end - range.start;
        let mut opener = Opener::new(key, part.size, range);
        let sealed = self.blobs().read(&part.blob, opener.sealed_range());
        let mut opened_bytes = 0;
        let opened = sealed.map(move |sealed| {
            let text = opener.push(&sealed?)?;
            opened_bytes += text.len() as u64;
            Ok((text, opened_bytes))
        });
        // A stream that ends early must not look like a short object.
        let mut last_bytes = 0;
        opened.map(Some).chain(stream::once(async { None })).filter_map(move |item| {
            let out = match item {
                Some(Ok((text, total))) => {
                    last_bytes = total;
                    (!text.is_empty()).then_some(Ok(text))
                }
                Some(Err(error)) => Some(Err(error)),
                None if last_bytes == wanted_bytes => None,
                None => Some(Err(Error::Damaged("a blob ended early"))),
            };
            async move { out }
        })
    }
}

/// The parts that `range` touches, each with its own range. An empty range touches none, but the last package of an empty
/// object is still opened, so that its emptiness is authenticated.
fn wanted_parts(parts: Vec<PartRow>, range: Range<u64>) -> Vec<(PartRow, Range<u64>)> {
    let whole_empty = parts.iter().all(|part| part.size == 0);
    let mut wanted = Vec::new();
    let mut offset = 0u64;
    for part in parts {
        let start = range.start.saturating_sub(offset).min(part.size);
        let end = range.end.saturating_sub(offset).min(part.size);
        offset += part.size;
        if start < end || whole_empty {
            wanted.push((part, start..end));
        }
    }
    wanted
}
