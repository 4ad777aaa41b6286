//! Writing a blob: stripes to shards to drives.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use super::{Shared, placement};
use crate::blobs::{Attachment, BlobId, BlobRef, BlobWriter, Staged};
use crate::drive::lane::{Lane, Pending};
use crate::drive::{DriveError, ShardName, StagedShard};
use crate::erasure::layout::STRIPE_BYTES;
use crate::erasure::stripe;
use crate::error::Error;
use crate::quorum;

/// Collects a stripe, codes it, and hands its blocks to the drives while the next one is collected.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    id: BlobId,
    slots: Vec<u8>,
    buffer: BytesMut,
    size: u64,
    stripes: u64,
    /// Empty until the blob is known to be too large to be inline.
    shards: Vec<Shard>,
}

/// One shard file on its way.
#[derive(Debug)]
enum Shard {
    /// Between two blocks.
    Idle(Box<dyn StagedShard>),
    /// A block is being written.
    Busy(Pending<Box<dyn StagedShard>>),
    /// The drive was away or failed; the blob does without it.
    Lost,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, id: BlobId) -> Self {
        let slots = placement(id, shared.codec.geometry());
        Self { shared, id, slots, buffer: BytesMut::new(), size: 0, stripes: 0, shards: Vec::new() }
    }

    fn lane(&self, shard: usize) -> Option<&Arc<Lane>> {
        self.shared.array.lanes().get(usize::from(*self.slots.get(shard)?))
    }

    fn needed(&self) -> usize {
        let geometry = self.shared.codec.geometry();
        quorum::write_shards(geometry.data, geometry.parity)
    }

    /// Codes the first `bytes` of the buffer.
    fn encode(&mut self, bytes: usize) -> Result<Vec<Bytes>, Error> {
        let bytes = self.buffer.split_to(bytes).freeze();
        let Shared { codec, hash, .. } = &*self.shared;
        let blocks = stripe::encode(codec, hash, self.id, self.stripes, &bytes);
        self.stripes += 1;
        blocks.map_err(|_| Error::InvalidArgument("erasure geometry"))
    }

    async fn write_stripe(&mut self, bytes: usize) -> Result<(), Error> {
        let blocks = self.encode(bytes)?;
        if self.shards.is_empty() {
            self.stage().await;
        }
        self.settle().await?;
        for (shard, block) in blocks.into_iter().enumerate() {
            let staged = match std::mem::replace(&mut self.shards[shard], Shard::Lost) {
                Shard::Idle(staged) => staged,
                other => {
                    self.shards[shard] = other;
                    continue;
                }
            };
            let write = move |mut staged: Box<dyn StagedShard>| {
                staged.append(&block)?;
                Ok(staged)
            };
            if let Some(lane) = self.lane(shard) {
                match lane.submit(move |_| write(staged)).await {
                    Ok(pending) => self.shards[shard] = Shard::Busy(pending),
                    Err(error) => report(lane, &error),
                }
            }
        }
        Ok(())
    }

    /// Creates a file on each drive that is there.
    async fn stage(&mut self) {
        let stage = |(shard, slot): (u8, &u8)| {
            let lane = self.shared.array.lanes().get(usize::from(*slot)).cloned();
            let name = ShardName { blob: self.id, shard };
            async move {
                let Some(lane) = lane.filter(|lane| lane.online()) else { return Shard::Lost };
                match lane.run(move |drive| drive.stage(name)).await {
                    Ok(staged) => Shard::Idle(staged),
                    Err(error) => {
                        report(&lane, &error);
                        Shard::Lost
                    }
                }
            }
        };
        self.shards = join_all((0u8..).zip(&self.slots).map(stage)).await;
    }

    /// Waits for the blocks under way and gives up if too few shards are left.
    async fn settle(&mut self) -> Result<(), Error> {
        for shard in 0..self.shards.len() {
            let Shard::Busy(pending) = &mut self.shards[shard] else { continue };
            let settled = match pending.wait().await {
                Ok(staged) => Shard::Idle(staged),
                Err(error) => {
                    if let Some(lane) = self.lane(shard) {
                        report(lane, &error);
                    }
                    Shard::Lost
                }
            };
            self.shards[shard] = settled;
        }
        let available = self.shards.iter().filter(|s| !matches!(s, Shard::Lost)).count();
        quorum_of(available, self.needed())
    }

    async fn finish(mut self) -> Result<Staged, Error> {
        let inline = self.shards.is_empty() && self.size <= self.shared.inline_bytes_max;
        let attached = if inline { Some(self.attach()?) } else { None };
        if !inline {
            if !self.buffer.is_empty() {
                self.write_stripe(self.buffer.len()).await?;
            }
            self.settle().await?;
            self.publish().await?;
        }
        // At most 16 data shards.
        let data = self.shared.codec.geometry().data as u8;
        let blob = BlobRef { id: self.id, size: self.size, data, slots: self.slots, inline };
        Ok(Staged { blob, attached })
    }

    fn attach(&mut self) -> Result<Attachment, Error> {
        let blocks = self.encode(self.buffer.len())?;
        let shards = blocks
            .into_iter()
            .zip(0u8..)
            .zip(&self.slots)
            .map(|((bytes, shard), slot)| {
                (usize::from(*slot), ShardName { blob: self.id, shard }, bytes)
            })
            .collect();
        Ok(Attachment { shards, needed: self.needed() })
    }

    async fn publish(&mut self) -> Result<(), Error> {
        let shards = std::mem::take(&mut self.shards);
        let publish = shards.into_iter().enumerate().filter_map(|(shard, staged)| {
            let lane = self.lane(shard)?;
            let Shard::Idle(staged) = staged else { return None };
            Some(async move {
                let published = lane.run(move |_| staged.publish()).await;
                // A failed sync is never tried again: the drive is out of use.
                published.inspect_err(|error| lane.fail(error)).is_ok()
            })
        });
        let published = join_all(publish).await.into_iter().filter(|published| *published).count();
        quorum_of(published, self.needed())
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.size += bytes.len() as u64;
            self.buffer.extend_from_slice(&bytes);
            // A blob that still fits inline stays in memory until it ends.
            while self.size > self.shared.inline_bytes_max
                && self.buffer.len() as u64 >= STRIPE_BYTES
            {
                self.write_stripe(STRIPE_BYTES as usize).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Staged, Error>> {
        Self::finish(*self).boxed()
    }
}

fn quorum_of(available: usize, needed: usize) -> Result<(), Error> {
    if available < needed {
        return Err(Error::Unavailable { doing: "writing shards", available, needed });
    }
    Ok(())
}

fn report(lane: &Lane, error: &DriveError) {
    tracing::warn!(
        drive = %lane.path().display(),
        error = error as &dyn std::error::Error,
        "writing a shard failed; the blob does without it"
    );
}
