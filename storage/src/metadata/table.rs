//! The keys of rows: what is next to what in the ordered keyspace. FORMAT.md, "Rows", has the same table.
//!
//! Parts of a key are separated by NUL, which neither bucket names nor object keys contain; NUL sorts below every other
//! byte, so the rows of `a` come before those of `a!` as S3's listing order wants.

#![deny(clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::blobs::BlobId;
use crate::drive::KeyRange;
use crate::name::{BucketName, ObjectKey};

const BUCKET: u8 = b'b';
const CONFIG: u8 = b'c';
const FILE: u8 = b'f';
const GARBAGE: u8 = b'g';
const NAMESPACE: u8 = b'n';
const OBJECT: u8 = b'o';
const PART: u8 = b'p';
const UPLOAD: u8 = b'u';
const END: u8 = 0;

fn joined(tag: u8, parts: &[&[u8]]) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + parts.iter().map(|p| p.len() + 1).sum::<usize>());
    key.put_u8(tag);
    let mut rest = parts.iter().peekable();
    while let Some(part) = rest.next() {
        key.put_slice(part);
        if rest.peek().is_some() {
            key.put_u8(END);
        }
    }
    key.freeze()
}

/// The row of a bucket.
pub(crate) fn bucket(name: &BucketName) -> Bytes {
    joined(BUCKET, &[name.as_str().as_bytes()])
}

/// All buckets.
pub(crate) fn buckets() -> KeyRange {
    prefix(&[BUCKET])
}

/// The name in the key of a bucket row.
pub(crate) fn bucket_name(key: &[u8]) -> Option<BucketName> {
    let name = std::str::from_utf8(key.get(1..)?).ok()?;
    BucketName::parse(name).ok()
}

/// One configuration of a bucket.
pub(crate) fn config(name: &BucketName, kind: &str) -> Bytes {
    joined(CONFIG, &[name.as_str().as_bytes(), kind.as_bytes()])
}

/// All configurations of a bucket.
pub(crate) fn configs(name: &BucketName) -> KeyRange {
    prefix(&joined(CONFIG, &[name.as_str().as_bytes(), b""]))
}

/// The row of one version of an object.
pub(crate) fn object(bucket: &BucketName, key: &ObjectKey, version: &str) -> Bytes {
    let (bucket, key) = (bucket.as_str().as_bytes(), key.as_str().as_bytes());
    joined(OBJECT, &[bucket, key, version.as_bytes()])
}

/// All objects of a bucket whose keys start with `start`.
pub(crate) fn objects(bucket: &BucketName, start: &str) -> KeyRange {
    prefix(&joined(OBJECT, &[bucket.as_str().as_bytes(), start.as_bytes()]))
}

/// The first row key after all versions of `key`.
pub(crate) fn after_object(bucket: &BucketName, key: &str) -> Vec<u8> {
    prefix(&joined(OBJECT, &[bucket.as_str().as_bytes(), key.as_bytes(), b""])).end
}

/// The row of an upload.
pub(crate) fn upload(bucket: &BucketName, key: &ObjectKey, upload: BlobId) -> Bytes {
    let (bucket, key) = (bucket.as_str().as_bytes(), key.as_str().as_bytes());
    joined(UPLOAD, &[bucket, key, upload.to_string().as_bytes()])
}

/// All uploads of a bucket to keys that start with `start`.
pub(crate) fn uploads(bucket: &BucketName, start: &str) -> KeyRange {
    prefix(&joined(UPLOAD, &[bucket.as_str().as_bytes(), start.as_bytes()]))
}

/// The first row key after all uploads to `key`.
pub(crate) fn after_uploads(bucket: &BucketName, key: &str) -> Vec<u8> {
    prefix(&joined(UPLOAD, &[bucket.as_str().as_bytes(), key.as_bytes(), b""])).end
}

/// All uploads of all buckets.
pub(crate) fn all_uploads() -> KeyRange {
    prefix(&[UPLOAD])
}

/// The row of a part.
pub(crate) fn part(upload: BlobId, number: u16) -> Bytes {
    let mut key = BytesMut::with_capacity(19);
    key.put_u8(PART);
    key.put_slice(&upload.0);
    key.put_u16(number);
    key.freeze()
}

/// All parts of an upload from `number` on.
pub(crate) fn parts(upload: BlobId, number: u16) -> KeyRange {
    let mut all = prefix(part(upload, 0).get(..17).unwrap_or_default());
    all.start = part(upload, number).to_vec();
    all
}

/// All parts of all uploads.
pub(crate) fn all_parts() -> KeyRange {
    prefix(&[PART])
}

/// The upload in the key of a part row.
pub(crate) fn part_upload(key: &[u8]) -> Option<BlobId> {
    let (id, _) = key.get(1..)?.split_first_chunk::<16>()?;
    Some(BlobId(*id))
}

/// The row that says that the shard files of a blob are wanted.
pub(crate) fn file(blob: BlobId) -> Bytes {
    joined(FILE, &[&blob.0])
}

/// The row of blobs that nobody needs any more.
pub(crate) fn garbage(first: BlobId) -> Bytes {
    joined(GARBAGE, &[&first.0])
}

/// All rows of blobs that nobody needs any more.
pub(crate) fn all_garbage() -> KeyRange {
    prefix(&[GARBAGE])
}

/// A row of the caller.
pub(crate) fn namespaced(namespace: &str, key: &str) -> Bytes {
    joined(NAMESPACE, &[namespace.as_bytes(), key.as_bytes()])
}

/// The rows of the caller in one namespace whose keys start with `start`.
pub(crate) fn namespace(namespace: &str, start: &str) -> KeyRange {
    prefix(&namespaced(namespace, start))
}

/// What follows the `n`th NUL of a row key, up to the next NUL, as text: 1 is the object key or the namespaced key.
pub(crate) fn field(key: &[u8], n: usize) -> Option<&str> {
    std::str::from_utf8(key.split(|byte| *byte == END).nth(n)?).ok()
}

/// All keys that start with `start`. Tags are ASCII, so there is always a byte to count up.
pub(crate) fn prefix(start: &[u8]) -> KeyRange {
    let mut end = start.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    KeyRange { start: start.to_vec(), end }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_sort_as_object_keys_do(a in "[^\0]{1,20}", b in "[^\0]{1,20}") {
            let bucket = BucketName::parse("bucket").unwrap();
            let key = |k: &str| object(&bucket, &ObjectKey::parse(k).unwrap(), "null");
            prop_assert_eq!(a.cmp(&b), key(&a).cmp(&key(&b)));
            let row = key(&a);
            prop_assert_eq!(field(&row, 1), Some(a.as_str()));
            prop_assert!(key(&a)[..] < after_object(&bucket, &a)[..]);
            prop_assert_eq!(a < b, after_object(&bucket, &a)[..] <= key(&b)[..]);
        }

        #[test]
        fn foreign_keys_are_no_names(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (bucket_name(&key), part_upload(&key), field(&key, 1));
        }
    }

    #[test]
    fn a_range_has_its_own_rows_only() {
        let range = parts(BlobId([0xff; 16]), 3);
        let inside = |upload, number| {
            let key = part(upload, number);
            range.start[..] <= key[..] && key[..] < range.end[..]
        };
        assert!(inside(BlobId([0xff; 16]), 3) && inside(BlobId([0xff; 16]), u16::MAX));
        assert!(!inside(BlobId([0xff; 16]), 2) && !inside(BlobId([0xfe; 16]), 9));
    }
}
