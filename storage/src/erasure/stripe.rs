//! Blocks of a stripe with their hashes.
//!
//! A block is 32 bytes of keyed HighwayHash-256 and then its bytes. The hash covers the blob id, the shard index and the
//! stripe number too, so a block that was written to the wrong place or read from it is as bad as a rotten one. The key is
//! derived from the deployment id: it is no secret against someone who holds a drive (authenticity is the AEAD's part),
//! it keeps blocks of another deployment from passing as ours.

#![deny(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use highway::{HighwayHash, HighwayHasher, Key};
use hkdf::Hkdf;
use sha2::Sha256;

use super::codec::{Codec, CodecError};
use crate::blobs::BlobId;

/// Bytes of a block's hash.
pub const HASH_BYTES: usize = 32;

/// Which block of which shard of which blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockName {
    /// The blob.
    pub blob: BlobId,
    /// Data shards first, then parity.
    pub shard: u8,
    /// Counted from 0.
    pub stripe: u64,
}

/// The key of all block hashes of a deployment.
#[derive(Clone, Copy, Debug)]
pub struct HashKey([u64; 4]);

impl HashKey {
    /// Derives the key from the deployment id.
    pub fn of_deployment(deployment: &str) -> Self {
        let mut bytes = [0u8; 32];
        // 32 bytes are within what HKDF-SHA256 can expand, so this cannot fail.
        let _ = Hkdf::<Sha256>::new(None, deployment.as_bytes())
            .expand(b"appliance block hash v1", &mut bytes);
        let mut words = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte)));
        Self(std::array::from_fn(|_| words.next().unwrap_or_default()))
    }

    fn hash(&self, name: BlockName, block: &[u8]) -> [u8; HASH_BYTES] {
        let mut hasher = HighwayHasher::new(Key(self.0));
        hasher.append(block);
        // The name goes last: 25 bytes in front would misalign every vector load of the block.
        let mut suffix = [0u8; 25];
        let fields = name.blob.0.iter().chain(std::iter::once(&name.shard));
        let stripe = name.stripe.to_be_bytes();
        for (to, from) in suffix.iter_mut().zip(fields.chain(stripe.iter())) {
            *to = *from;
        }
        hasher.append(&suffix);
        let words = hasher.finalize256();
        let mut out = [0u8; HASH_BYTES];
        for (to, from) in out.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())) {
            *to = from;
        }
        out
    }

    /// The block as it is stored: hash, then bytes.
    pub fn framed(&self, name: BlockName, block: &[u8]) -> Bytes {
        let mut framed = BytesMut::with_capacity(HASH_BYTES + block.len());
        framed.extend_from_slice(&self.hash(name, block));
        framed.extend_from_slice(block);
        framed.freeze()
    }

    /// The bytes of a stored block if its length and hash are right.
    pub fn verified(&self, name: BlockName, framed: &Bytes, block_bytes: u64) -> Option<Bytes> {
        let (hash, block) = framed.split_at_checked(HASH_BYTES)?;
        let good = block.len() as u64 == block_bytes && hash == self.hash(name, block);
        good.then(|| framed.slice(HASH_BYTES..))
    }
}

/// Codes one stripe into framed blocks, one per shard.
///
/// # Errors
/// When the codec refuses its geometry, which it accepted when it was made.
pub fn encode(
    codec: &Codec,
    key: &HashKey,
    blob: BlobId,
    stripe: u64,
    bytes: &Bytes,
) -> Result<Vec<Bytes>, CodecError> {
    let block_bytes = codec.geometry().block_bytes(bytes.len() as u64) as usize;
    let mut padded = Vec::new();
    let mut data: Vec<&[u8]> = bytes.chunks_exact(block_bytes.max(1)).collect();
    let rest = bytes.chunks_exact(block_bytes.max(1)).remainder();
    if data.len() < codec.geometry().data {
        padded.extend_from_slice(rest);
        padded.resize((codec.geometry().data - data.len()) * block_bytes, 0);
        data.extend(padded.chunks_exact(block_bytes.max(1)));
    }
    let parity = codec.encode(&data)?;
    let blocks = data.into_iter().chain(parity.iter().map(Vec::as_slice));
    Ok(blocks
        .zip(0u8..)
        .map(|(block, shard)| key.framed(BlockName { blob, shard, stripe }, block))
        .collect())
}

/// Joins the data blocks of a stripe of `bytes` bytes, reconstructing what is missing.
///
/// # Errors
/// When fewer than `data` blocks are there.
pub fn decode(
    codec: &Codec,
    blocks: &mut [Option<Bytes>],
    bytes: u64,
) -> Result<Bytes, CodecError> {
    codec.reconstruct_data(blocks)?;
    let mut data = blocks.iter().take(codec.geometry().data).flatten();
    if codec.geometry().data == 1 {
        return Ok(data.next().cloned().unwrap_or_default());
    }
    let mut stripe = BytesMut::with_capacity(bytes as usize);
    for block in data {
        let room = (bytes as usize).saturating_sub(stripe.len()).min(block.len());
        stripe.extend_from_slice(block.get(..room).unwrap_or_default());
    }
    Ok(stripe.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::erasure::layout::Geometry;

    const BLOB: BlobId = BlobId([3; 16]);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn any_k_blocks_restore_the_stripe(
            data in 1usize..=12,
            parity in 0usize..=4,
            bytes in proptest::collection::vec(any::<u8>(), 1..20_000),
            order in any::<[u8; 16]>(),
        ) {
            let codec = Codec::new(Geometry { data, parity }).unwrap();
            let key = HashKey::of_deployment("d");
            let bytes = Bytes::from(bytes);
            let framed = encode(&codec, &key, BLOB, 4, &bytes).unwrap();
            prop_assert_eq!(framed.len(), data + parity);
            let mut by_order: Vec<usize> = (0..framed.len()).collect();
            by_order.sort_by_key(|i| order[*i]);
            let lost = &by_order[..parity];
            let length = codec.geometry().block_bytes(bytes.len() as u64);
            let mut blocks: Vec<Option<Bytes>> = framed.iter().enumerate().map(|(i, block)| {
                let name = BlockName { blob: BLOB, shard: i as u8, stripe: 4 };
                if lost.contains(&i) { None } else { key.verified(name, block, length) }
            }).collect();
            prop_assert_eq!(blocks.iter().flatten().count(), data);
            let decoded = decode(&codec, &mut blocks, bytes.len() as u64).unwrap();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn parity_equals_that_of_another_author(
            data in 1usize..=12,
            parity in 1usize..=4,
            length in 1usize..9000,
            seed: u64,
        ) {
            let blocks: Vec<Vec<u8>> = (0..data).map(|i| (0..length)
                .map(|j| (seed.rotate_left((i * 7 + j) as u32 % 64) ^ j as u64) as u8).collect()).collect();
            let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let ours = Codec::new(Geometry { data, parity }).unwrap().encode(&blocks).unwrap();
            let matrix = rusty_erasure::compat::reed_solomon_erasure_matrix(data, parity).unwrap();
            let coder = rusty_erasure::coder(matrix).unwrap();
            let mut theirs = vec![vec![0u8; length]; parity];
            let mut out: Vec<&mut [u8]> = theirs.iter_mut().map(Vec::as_mut_slice).collect();
            coder.encode(&blocks, &mut out).unwrap();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn arbitrary_bytes_are_no_block(framed in proptest::collection::vec(any::<u8>(), 0..100)) {
            let key = HashKey::of_deployment("d");
            let name = BlockName { blob: BLOB, shard: 0, stripe: 0 };
            let length = framed.len().saturating_sub(HASH_BYTES) as u64;
            prop_assert!(key.verified(name, &Bytes::from(framed), length).is_none());
        }
    }

    #[test]
    fn a_block_is_good_only_in_its_place() {
        let key = HashKey::of_deployment("d");
        let name = BlockName { blob: BLOB, shard: 1, stripe: 2 };
        let framed = key.framed(name, b"block");
        assert_eq!(key.verified(name, &framed, 5).as_deref(), Some(&b"block"[..]));
        for other in [
            BlockName { shard: 2, ..name },
            BlockName { stripe: 3, ..name },
            BlockName { blob: BlobId([4; 16]), ..name },
        ] {
            assert!(key.verified(other, &framed, 5).is_none());
        }
        assert!(key.verified(name, &framed.slice(..36), 4).is_none(), "cut");
        assert!(key.verified(name, &framed, 6).is_none(), "another length");
        assert!(HashKey::of_deployment("e").verified(name, &framed, 5).is_none());
    }
}
