//! Reading a blob: any `data` good shards of each stripe.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures::future::join_all;

use super::{Shared, inline_key};
use crate::blobs::BlobRef;
use crate::drive::lane::Lane;
use crate::drive::{DriveError, ShardName, Table};
use crate::erasure::codec::Codec;
use crate::erasure::layout::{self, Geometry, STRIPE_BYTES};
use crate::erasure::stripe::{self, BlockName, HASH_BYTES};
use crate::error::Error;

/// Reads a range of one blob.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    blob: Arc<BlobRef>,
    /// The array's codec has today's geometry, a blob has that of its day.
    codec: Arc<Codec>,
    range: Range<u64>,
    /// Bit `n`: shard `n` failed before; it is asked last.
    bad: Arc<AtomicU32>,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        blob: &BlobRef,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let data = usize::from(blob.data);
        let impossible = Error::Damaged("a blob reference is impossible");
        let Some(parity) = blob.slots.len().checked_sub(data).filter(|_| data > 0) else {
            return Err(impossible);
        };
        if range.end > blob.size || blob.slots.len() > 32 {
            return Err(impossible);
        }
        let geometry = Geometry { data, parity };
        let codec = if shared.codec.geometry() == geometry {
            Arc::clone(&shared.codec)
        } else {
            Arc::new(Codec::new(geometry).map_err(|_| impossible)?)
        };
        let blob = Arc::new(blob.clone());
        Ok(Self { shared, blob, codec, range, bad: Arc::default() })
    }

    pub(super) fn stripes(&self) -> Range<u64> {
        layout::stripes_of(&self.range)
    }

    /// The part of a stripe that the range wants.
    pub(super) async fn stripe(self, stripe: u64) -> Result<Bytes, Error> {
        let bytes = layout::stripe_bytes(self.blob.size, stripe);
        let mut blocks = self.blocks(stripe, bytes).await?;
        let decoded = stripe::decode(&self.codec, &mut blocks, bytes)
            .map_err(|_| Error::Damaged("too few good shards"))?;
        let start = self.range.start.saturating_sub(stripe * STRIPE_BYTES);
        let end = (self.range.end - stripe * STRIPE_BYTES).min(bytes);
        // A block of one data shard may be longer than its stripe only by padding, of which there is none with one.
        let inside = end as usize <= decoded.len() && start <= end;
        if !inside {
            return Err(Error::Damaged("a stripe is short"));
        }
        Ok(decoded.slice(start as usize..end as usize))
    }

    /// Fetches `data` good blocks, first those that need no arithmetic, then whatever is left.
    async fn blocks(&self, stripe: u64, bytes: u64) -> Result<Vec<Option<Bytes>>, Error> {
        let data = usize::from(self.blob.data);
        let mut blocks = vec![None; self.blob.slots.len()];
        let mut candidates = self.candidates();
        loop {
            let good = blocks.iter().flatten().count();
            if good >= data {
                return Ok(blocks);
            }
            let ask: Vec<u8> = candidates.by_ref().take(data - good).collect();
            if ask.is_empty() {
                let doing = "reading shards";
                return Err(Error::Unavailable { doing, available: good, needed: data });
            }
            let asked = ask.iter().map(|shard| self.block(*shard, stripe, bytes));
            for (shard, block) in ask.iter().zip(join_all(asked).await) {
                blocks[usize::from(*shard)] = block;
            }
        }
    }

    /// Shards on drives in use, those that failed before last.
    fn candidates(&self) -> std::vec::IntoIter<u8> {
        let bad = self.bad.load(Ordering::Relaxed);
        let shards = (0u8..).take(self.blob.slots.len());
        let online = |shard: &u8| self.lane(*shard).is_some_and(|lane| lane.online());
        let mut shards: Vec<u8> = shards.filter(online).collect();
        shards.sort_by_key(|shard| bad >> shard & 1);
        shards.into_iter()
    }

    fn lane(&self, shard: u8) -> Option<&Arc<Lane>> {
        let slot = self.blob.slots.get(usize::from(shard))?;
        self.shared.array.lanes().get(usize::from(*slot))
    }

    /// One verified block, or `None` after its failure was counted.
    async fn block(&self, shard: u8, stripe: u64, bytes: u64) -> Option<Bytes> {
        let lane = self.lane(shard)?;
        let verified = if self.blob.inline {
            self.inline_block(lane, shard, stripe, bytes)
        } else {
            self.file_block(lane, shard, stripe, bytes).await
        };
        match verified {
            Ok(Some(block)) => return Some(block),
            Ok(None) => self.count(lane, shard, stripe, None),
            Err(error) => self.count(lane, shard, stripe, Some(&error)),
        }
        None
    }

    fn inline_block(
        &self,
        lane: &Lane,
        shard: u8,
        stripe: u64,
        bytes: u64,
    ) -> Result<Option<Bytes>, DriveError> {
        let name = ShardName { blob: self.blob.id, shard };
        let framed = lane.get(Table::Shards, &inline_key(name))?;
        let block_bytes = self.codec.geometry().block_bytes(bytes);
        let name = BlockName { blob: self.blob.id, shard, stripe };
        Ok(framed.and_then(|framed| self.shared.hash.verified(name, &framed, block_bytes)))
    }

    async fn file_block(
        &self,
        lane: &Lane,
        shard: u8,
        stripe: u64,
        bytes: u64,
    ) -> Result<Option<Bytes>, DriveError> {
        let geometry = self.codec.geometry();
        let block_bytes = geometry.block_bytes(bytes);
        let offset = geometry.block_offset(stripe);
        let (hash, blob) = (self.shared.hash, self.blob.id);
        // Verified on the drive's thread: the hash of a block is a third of the work of reading it.
        lane.run(move |drive| {
            let name = ShardName { blob, shard };
            let framed = drive.read(name, offset, HASH_BYTES + block_bytes as usize)?;
            let name = BlockName { blob, shard, stripe };
            Ok(framed.and_then(|framed| hash.verified(name, &framed, block_bytes)))
        })
        .await
    }

    /// Counts a shard once per reader, however many of its blocks are bad.
    fn count(&self, lane: &Lane, shard: u8, stripe: u64, error: Option<&DriveError>) {
        if self.bad.fetch_or(1 << shard, Ordering::Relaxed) >> shard & 1 == 1 {
            return;
        }
        lane.count_bad_shard();
        tracing::warn!(
            drive = %lane.path().display(),
            blob = %self.blob.id,
            shard,
            stripe,
            error = error.map(|error| error as &dyn std::error::Error),
            "a shard is missing or damaged; reading others"
        );
    }
}
