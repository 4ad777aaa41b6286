//! Every parser of bytes from a drive or a client in this crate, as functions of bytes.
//!
//! A target must not panic, and asserts whatever else holds for all inputs. `cargo test` walks around the committed
//! seeds; `./test fuzz` lets libFuzzer search.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blobs::BlobId;
use crate::drive::format;
use crate::erasure::codec::Codec;
use crate::erasure::layout::{Geometry, STRIPE_BYTES};
use crate::erasure::stripe::{self, BlockName, HASH_BYTES, HashKey};
use crate::metadata::codec::{RowKey, Seal};
use crate::metadata::table;
use crate::sse::stream::{Backend, Opener, PartKey, sealed_size};
use crate::store::fuzz_rows;
use crate::{BucketName, DataKey, KeyContext, NULL_VERSION, ObjectKey};

/// Name and function; the name is also that of the seeds' directory.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("storage/block", block),
    ("storage/format", format::fuzz),
    ("storage/name", name),
    ("storage/package", package),
    ("storage/row", row),
    ("storage/row-text", fuzz_rows),
];

/// A row value as it lies on a drive: it opens under its own key and under no other.
fn row(bytes: &[u8]) {
    let seal = Seal::new(RowKey::new([1; 32]));
    if seal.open(b"obucket\0key\0null", bytes).is_ok() {
        assert!(seal.open(b"obucket\0key2\0null", bytes).is_err());
    }
}

/// What a row holds once it is open, read twice the same.
pub(crate) fn row_text<T: DeserializeOwned + Serialize + Debug>(bytes: &[u8]) {
    let Ok(row) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&row).unwrap_or_default();
    let again = serde_json::from_slice::<T>(&written);
    assert!(again.is_ok_and(|again| format!("{again:?}") == format!("{row:?}")));
}

/// Names from clients, and row keys that are made of them.
fn name(bytes: &[u8]) {
    let _ = table::field(bytes, 1);
    let _ = table::bucket_name(bytes);
    let _ = table::part_upload(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (bucket, key) = text.split_once('/').unwrap_or((text, "key"));
    let Ok(bucket) = BucketName::parse(bucket) else { return };
    assert_eq!(table::bucket_name(&table::bucket(&bucket)).as_ref(), Some(&bucket));
    let Ok(key) = ObjectKey::parse(key) else { return };
    let row = table::object(&bucket, &key, NULL_VERSION);
    assert_eq!(table::field(&row, 1), Some(key.as_str()));
    let range = table::objects(&bucket, "");
    assert!(range.start.as_slice() <= &*row && &*row < range.end.as_slice());
}

/// `data, parity, which blocks are there, blocks`: good blocks give the stripe back, others nothing.
fn block(bytes: &[u8]) {
    let Some(([data, parity, there, stripe_kib], rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let geometry = Geometry { data: usize::from(data % 8) + 1, parity: usize::from(parity % 4) };
    let Ok(codec) = Codec::new(geometry) else { return };
    let size = (u64::from(*stripe_kib) + 1).min(STRIPE_BYTES);
    let block_bytes = geometry.block_bytes(size);
    let hashes = HashKey::of_deployment("fuzzed");
    let framed_bytes = HASH_BYTES + block_bytes as usize;
    let mut rest = Bytes::copy_from_slice(rest);
    let mut blocks: Vec<Option<Bytes>> = (0..geometry.total())
        .zip(0u8..)
        .map(|(at, shard)| {
            let framed = rest.split_to(framed_bytes.min(rest.len()));
            let name = BlockName { blob: BlobId([3; 16]), shard, stripe: 0 };
            let good = hashes.verified(name, &framed, block_bytes);
            // Some unverified ones too: the codec must bear any bytes of the right length.
            let any = (framed.len() == framed_bytes).then(|| framed.slice(HASH_BYTES..));
            if there >> (at % 8) & 1 == 1 { good } else { any }
        })
        .collect();
    let present = blocks.iter().flatten().count();
    let decoded = stripe::decode(&codec, &mut blocks, size);
    assert_eq!(decoded.is_ok(), present >= geometry.data);
    if let Ok(decoded) = decoded {
        assert!(geometry.data == 1 || decoded.len() as u64 == size);
    }
}

/// `size, from, sealed bytes`: packages that do not authenticate give nothing.
fn package(bytes: &[u8]) {
    let Some(([size, from], sealed)) = bytes.split_first_chunk::<2>() else { return };
    let size = u64::from(*size);
    let from = u64::from(*from).min(size);
    let (Ok(bucket), Ok(key)) = (BucketName::parse("bucket"), ObjectKey::parse("key")) else {
        return;
    };
    let context = KeyContext { bucket, key, version: NULL_VERSION.to_owned(), client: [].into() };
    let open = |backend| {
        let key = PartKey::derive(backend, &DataKey::new([7; 32]), &[9; 16], 0, &context).ok()?;
        Opener::new(key, size, from..size).push(sealed).ok()
    };
    let (one, other) = (open(Backend::AwsLc), open(Backend::AesGcm));
    assert_eq!(one, other, "both implementations agree");
    let opened = one.unwrap_or_default().len() as u64;
    assert!(opened == 0 || (opened == size - from && sealed.len() as u64 >= sealed_size(size)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_neighbour_of_a_seed_breaks_a_parser() {
        for (target, run) in TARGETS {
            fixtures::corpus::replay(target, *run, 2000);
        }
    }
}
