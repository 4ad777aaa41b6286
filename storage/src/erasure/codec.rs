//! Reed-Solomon over one stripe: parity from data, lost data from what is left.

use std::fmt;

use bytes::Bytes;
use reed_solomon_erasure::ReedSolomon;

use super::field::Fast;
use super::layout::Geometry;

/// Columns are coded 4 KiB at a time: the parity stays in the L1 cache, which is worth a third of the throughput.
const COLUMN_BYTES: usize = 4096;

/// The coder of one geometry.
pub struct Codec {
    geometry: Geometry,
    /// Absent without parity: the crate refuses zero parity shards.
    coder: Option<ReedSolomon<Fast>>,
}

/// The geometry is impossible or too few blocks are left.
#[derive(Debug, thiserror::Error)]
#[error("erasure coding")]
pub struct CodecError(#[from] reed_solomon_erasure::Error);

impl Codec {
    /// A coder for `geometry`.
    ///
    /// # Errors
    /// When there is no data shard or more than 256 shards.
    pub fn new(geometry: Geometry) -> Result<Self, CodecError> {
        let coder = match geometry.parity {
            0 => None,
            parity => Some(ReedSolomon::new(geometry.data, parity)?),
        };
        Ok(Self { geometry, coder })
    }

    /// What it was made for.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Computes the parity blocks of data blocks of one length.
    ///
    /// # Errors
    /// When the number or the lengths of the blocks do not fit the geometry.
    pub fn encode(&self, data: &[&[u8]]) -> Result<Vec<Vec<u8>>, CodecError> {
        let Some(coder) = &self.coder else { return Ok(Vec::new()) };
        let bytes = data.first().map_or(0, |block| block.len());
        let mut parity = vec![vec![0u8; bytes]; self.geometry.parity];
        for start in (0..bytes).step_by(COLUMN_BYTES) {
            let end = bytes.min(start + COLUMN_BYTES);
            let columns: Vec<&[u8]> =
                data.iter().map(|block| block.get(start..end).unwrap_or_default()).collect();
            let mut out: Vec<&mut [u8]> = parity
                .iter_mut()
                .map(|block| block.get_mut(start..end).unwrap_or_default())
                .collect();
            coder.encode_sep(&columns, &mut out)?;
        }
        Ok(parity)
    }

    /// Fills in the data blocks that are missing from `blocks` (data first, then parity).
    ///
    /// # Errors
    /// When fewer than `data` blocks are there.
    pub fn reconstruct_data(&self, blocks: &mut [Option<Bytes>]) -> Result<(), CodecError> {
        if blocks.iter().take(self.geometry.data).all(Option::is_some) {
            return Ok(());
        }
        let Some(coder) = &self.coder else {
            return Err(reed_solomon_erasure::Error::TooFewShardsPresent.into());
        };
        let mut work: Vec<Option<Vec<u8>>> =
            blocks.iter().map(|block| block.as_ref().map(|block| block.to_vec())).collect();
        coder.reconstruct_data(&mut work)?;
        for (block, work) in blocks.iter_mut().zip(work).take(self.geometry.data) {
            if block.is_none() {
                *block = work.map(Bytes::from);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.geometry).finish()
    }
}
