//! What every implementation of blobs does.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;

use crate::blobs::{BlobId, BlobRef, Blobs};
use crate::error::Error;
use crate::metadata::{Batch, Metadata};

const MIB: usize = 1024 * 1024;

/// Runs the suite. `rows` carry the attachments of the blobs, if they make any.
///
/// # Errors
/// When the blobs fail; where they break the contract, this panics.
pub async fn blobs(blobs: &dyn Blobs, rows: &dyn Metadata) -> Result<(), Error> {
    for size in [1, 17, 65_536, 262_143, MIB - 1, MIB, MIB + 1, 3 * MIB + 5] {
        let bytes = pattern(size);
        let blob = write(blobs, rows, &bytes, 70_000).await?;
        assert_eq!(blob.size, size as u64);
        for range in [0..size, 0..1, size / 2..size, size - 1..size, size / 3..size / 3] {
            let read = read(blobs, &blob, range.clone()).await?;
            assert!(read == bytes.slice(range.clone()), "{range:?} of {size}");
        }
        let beyond = read(blobs, &blob, 0..size + 1).await;
        assert!(beyond.is_err(), "bytes that are not there");
        remove(blobs, rows, &blob).await?;
        assert!(read(blobs, &blob, 0..size).await.is_err(), "a removed blob");
        remove(blobs, rows, &blob).await?;
    }
    dropped_writers_leave_nothing(blobs).await
}

async fn dropped_writers_leave_nothing(blobs: &dyn Blobs) -> Result<(), Error> {
    let id = BlobId::random()?;
    let mut writer = blobs.create(id);
    writer.write(pattern(2 * MIB)).await?;
    drop(writer);
    let blob = BlobRef { id, size: 2 * MIB as u64, data: 1, slots: vec![0], inline: false };
    assert!(read(blobs, &blob, 0..1).await.is_err());
    Ok(())
}

async fn write(
    blobs: &dyn Blobs,
    rows: &dyn Metadata,
    bytes: &Bytes,
    piece: usize,
) -> Result<BlobRef, Error> {
    let mut writer = blobs.create(BlobId::random()?);
    for start in (0..bytes.len()).step_by(piece) {
        writer.write(bytes.slice(start..bytes.len().min(start + piece))).await?;
    }
    let staged = writer.finish().await?;
    let batch = Batch { attached: staged.attached.into_iter().collect(), ..Batch::default() };
    let carried = rows.commit(batch).await;
    assert!(carried.is_ok(), "{carried:?}");
    Ok(staged.blob)
}

async fn read(blobs: &dyn Blobs, blob: &BlobRef, range: Range<usize>) -> Result<Bytes, Error> {
    let pieces: Vec<Bytes> =
        blobs.read(blob, range.start as u64..range.end as u64).try_collect().await?;
    Ok(pieces.concat().into())
}

async fn remove(blobs: &dyn Blobs, rows: &dyn Metadata, blob: &BlobRef) -> Result<(), Error> {
    let detached = blobs.remove(blob).await?.into_iter().collect();
    let carried = rows.commit(Batch { detached, ..Batch::default() }).await;
    assert!(carried.is_ok(), "{carried:?}");
    Ok(())
}

fn pattern(size: usize) -> Bytes {
    (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}
