//! Where the bytes of a blob lie in its shards: arithmetic only.

use std::ops::Range;

use super::stripe::HASH_BYTES;

/// Bytes of a blob that are coded together; larger ones fall out of the L2 cache and gain nothing.
pub const STRIPE_BYTES: u64 = 1024 * 1024;

/// Data and parity shards of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Shards that hold the bytes; at least 1.
    pub data: usize,
    /// Shards that can replace lost ones.
    pub parity: usize,
}

impl Geometry {
    /// All shards.
    pub fn total(self) -> usize {
        self.data + self.parity
    }

    /// Bytes of one block of a stripe of `stripe_bytes`; the last data block is padded with zeros.
    pub fn block_bytes(self, stripe_bytes: u64) -> u64 {
        stripe_bytes.div_ceil(self.data as u64)
    }

    /// Where block `stripe` of a shard starts in the shard, hash included.
    pub fn block_offset(self, stripe: u64) -> u64 {
        stripe * (HASH_BYTES as u64 + self.block_bytes(STRIPE_BYTES))
    }
}

/// How many stripes a blob of `size` bytes has.
pub fn stripes(size: u64) -> u64 {
    size.div_ceil(STRIPE_BYTES)
}

/// Bytes of stripe `stripe` of a blob of `size` bytes.
pub fn stripe_bytes(size: u64, stripe: u64) -> u64 {
    size.saturating_sub(stripe * STRIPE_BYTES).min(STRIPE_BYTES)
}

/// The stripes that hold `range`.
pub fn stripes_of(range: &Range<u64>) -> Range<u64> {
    range.start / STRIPE_BYTES..range.end.div_ceil(STRIPE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_stripes() {
        for data in 1..=16 {
            let geometry = Geometry { data, parity: 0 };
            for bytes in [1, 15, 16, 17, STRIPE_BYTES - 1, STRIPE_BYTES] {
                let block = geometry.block_bytes(bytes);
                assert!(block * data as u64 >= bytes);
                assert!((block - 1) * (data as u64) < bytes);
            }
        }
        assert_eq!((stripes(0), stripes(1), stripes(STRIPE_BYTES + 1)), (0, 1, 2));
        assert_eq!(stripe_bytes(STRIPE_BYTES + 5, 1), 5);
        assert_eq!(stripes_of(&(STRIPE_BYTES - 1..STRIPE_BYTES + 1)), 0..2);
    }
}
