//! Blobs as erasure-coded shards on the drives of one machine.

mod read;
mod write;

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use super::{BlobId, BlobRef, BlobWriter, Blobs, Detachment};
use crate::drive::ShardName;
use crate::drive::array::Array;
use crate::erasure::codec::Codec;
use crate::erasure::layout::{Geometry, STRIPE_BYTES};
use crate::erasure::stripe::HashKey;
use crate::error::Error;

/// Largest shard that is a value of the drive's database. Beyond that a file costs less than rewriting the value in
/// flushes (`performance` §6, table B).
pub const INLINE_SHARD_BYTES_MAX: u64 = 128 * 1024;

/// Stripes that a reader fetches ahead of the one it hands out.
const READ_AHEAD: usize = 2;

/// Shards on drives.
#[derive(Clone, Debug)]
pub struct LocalBlobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    array: Arc<Array>,
    codec: Arc<Codec>,
    hash: HashKey,
    /// Blobs up to this size are inline.
    inline_bytes_max: u64,
}

impl LocalBlobs {
    /// Blobs on the drives of `array`. Without `inline` all shards are files, for rows that carry no attachments.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the geometry of the array is impossible, which [`Array`] rules out.
    pub fn new(array: Arc<Array>, deployment: &str, inline: bool) -> Result<Self, Error> {
        let geometry = array.geometry();
        let codec = Codec::new(geometry).map_err(|_| Error::InvalidArgument("erasure geometry"))?;
        // One stripe at most: the code for a single block per shard is all that inline blobs need.
        let limit = (geometry.data as u64 * INLINE_SHARD_BYTES_MAX).min(STRIPE_BYTES);
        let inline_bytes_max = if inline { limit } else { 0 };
        let codec = Arc::new(codec);
        let hash = HashKey::of_deployment(deployment);
        Ok(Self { shared: Arc::new(Shared { array, codec, hash, inline_bytes_max }) })
    }
}

/// The key of a small shard in the drive's database.
pub(crate) fn inline_key(name: ShardName) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_slice(&name.blob.0);
    key.put_u8(name.shard);
    key.freeze()
}

/// The shard that a key of the drive's database stands for.
pub(crate) fn parse_inline_key(key: &[u8]) -> Option<ShardName> {
    match key.split_first_chunk::<16>()? {
        (blob, [shard]) => Some(ShardName { blob: BlobId(*blob), shard: *shard }),
        _ => None,
    }
}

/// The slot of each shard: the drives in order, beginning at one that the id chooses, so that parity and load spread.
fn placement(id: BlobId, geometry: Geometry) -> Vec<u8> {
    let drives = geometry.total();
    let start = usize::from(id.0[0]) % drives;
    // Slots are below 16.
    (0..drives).map(|shard| ((start + shard) % drives) as u8).collect()
}

impl Blobs for LocalBlobs {
    fn create(&self, id: BlobId) -> Box<dyn BlobWriter> {
        Box::new(write::Writer::new(Arc::clone(&self.shared), id))
    }

    fn read(&self, blob: &BlobRef, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        match read::Reader::new(Arc::clone(&self.shared), blob, range) {
            Ok(reader) => stream::iter(reader.stripes())
                .map(move |stripe| reader.clone().stripe(stripe))
                .buffered(READ_AHEAD)
                .boxed(),
            Err(error) => stream::once(async move { Err(error) }).boxed(),
        }
    }

    fn remove<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<Option<Detachment>, Error>> {
        async move {
            let shards: Vec<_> = blob
                .slots
                .iter()
                .zip(0u8..)
                .map(|(slot, shard)| (usize::from(*slot), ShardName { blob: blob.id, shard }))
                .collect();
            if blob.inline {
                return Ok(Some(Detachment { shards }));
            }
            join_all(shards.into_iter().map(|(slot, name)| self.shared.remove(slot, name))).await;
            Ok(None)
        }
        .boxed()
    }
}

impl Shared {
    /// Removes one shard file. A drive that is away keeps it as an orphan until its next open.
    async fn remove(&self, slot: usize, name: ShardName) {
        let Some(lane) = self.array.lanes().get(slot) else { return };
        if let Err(error) = lane.run(move |drive| drive.remove(name)).await {
            tracing::debug!(slot, error = &error as &dyn std::error::Error, "shard left behind");
        }
    }
}
