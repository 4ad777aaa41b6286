//! PUT, GET, HEAD and DELETE on real drives.

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use storage::{
    ByteRange, DataKey, ErrorKind, GeneratedKey, KeyContext, KeyError, KeyService, SealedKey,
    WriteCondition,
};

use crate::support::{Bench, Body, bucket, etag, files, key, pattern, put};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[tokio::test]
async fn objects_of_all_shapes_come_back_and_survive_a_restart() {
    let sizes = [
        0,
        1,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 1,
        256 * KIB,
        300 * KIB,
        MIB - 1,
        MIB,
        MIB + 1,
        5 * MIB,
    ];
    for drives in [1, 2, 4] {
        let bench = Bench::new(drives);
        let store = bench.with_bucket().await;
        for size in sizes {
            let name = format!("size/{size}");
            let info = bench.put(&store, &name, &pattern(size)).await.unwrap();
            assert_eq!((info.size, &info.etag), (size as u64, &etag(&pattern(size))));
        }
        let store = {
            store.close();
            bench.open()
        };
        for size in sizes {
            let name = format!("size/{size}");
            let read = bench.get(&store, &name).await.unwrap();
            assert!(read == pattern(size), "{size} bytes on {drives} drives");
            let head = store.head(&bucket(), &key(&name)).await.unwrap();
            assert_eq!(head.size, size as u64);
            assert_eq!(head.headers.content_type.as_deref(), Some("text/plain"));
            assert_eq!(head.authorised_by, "17");
        }
        assert!(store.health().drives.iter().all(|drive| drive.online && !drive.stale));
        assert!(store.health().write_ok);
    }
}

#[tokio::test]
async fn ranges_open_only_what_they_touch() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let bytes = pattern(3 * MIB + 77);
    bench.put(&store, "k", &bytes).await.unwrap();
    for (range, expected) in [
        (ByteRange::From(0, Some(0)), 0..1),
        (ByteRange::From(65_535, Some(65_536)), 65_535..65_537),
        (ByteRange::From(MIB as u64 - 10, Some(MIB as u64 + 900)), MIB - 10..MIB + 901),
        (ByteRange::From(2 * MIB as u64, None), 2 * MIB..bytes.len()),
        (ByteRange::Suffix(100), bytes.len() - 100..bytes.len()),
    ] {
        let read = bench.range(&store, "k", Some(range)).await.unwrap();
        assert!(read == bytes[expected], "{range:?}");
    }
    let beyond = bench.range(&store, "k", Some(ByteRange::From(4 * MIB as u64, None))).await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::InvalidRange);
}

#[tokio::test]
async fn conditions_are_checked_when_the_write_is_published() {
    let bench = Bench::new(1);
    let store = bench.with_bucket().await;
    let write = |condition: WriteCondition, bytes: &'static [u8]| {
        let (bench, store) = (&bench, &store);
        async move {
            let put = storage::Put { precondition: condition, ..put("k") };
            store.put(&bench.keys, put, &mut Body::new(bytes)).await.map_err(|e| e.kind())
        }
    };
    let matching = |bytes: &[u8]| WriteCondition::IfMatch(etag(bytes));
    let failed = Err(ErrorKind::PreconditionFailed);
    assert_eq!(write(matching(b"a"), b"b").await.map(drop), failed);
    assert!(write(WriteCondition::IfNoneMatchAny, b"a").await.is_ok());
    assert_eq!(write(WriteCondition::IfNoneMatchAny, b"b").await.map(drop), failed);
    assert!(write(matching(b"a"), b"b").await.is_ok());
    assert_eq!(write(matching(b"a"), b"c").await.map(drop), failed);
    assert_eq!(bench.get(&store, "k").await.unwrap(), b"b");

    // Of many writers that all want to be first, one is.
    let create = |n: u8| {
        let put = storage::Put { precondition: WriteCondition::IfNoneMatchAny, ..put("race") };
        let (bench, store) = (&bench, &store);
        async move { store.put(&bench.keys, put, &mut Body::new(&[n])).await.is_ok() }
    };
    let created = join_all((0..20).map(create)).await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
}

#[tokio::test]
async fn a_body_that_fails_publishes_nothing_and_leaves_nothing() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let mut body = Body::new(&pattern(3 * MIB));
    body.fails = true;
    let failed = store.put(&bench.keys, put("k"), &mut body).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Source);
    let head = store.head(&bucket(), &key("k")).await.unwrap_err();
    assert_eq!(head.kind(), ErrorKind::NoSuchKey);
    store.close();
    for drive in &bench.drives {
        assert!(
            files(&drive.join("shards")).is_empty() && files(&drive.join("staging")).is_empty()
        );
    }
}

#[tokio::test]
async fn delete_removes_the_object_and_in_the_end_its_shards() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    for (name, size) in [("small", 10), ("large", 3 * MIB)] {
        bench.put(&store, name, &pattern(size)).await.unwrap();
        let wrong = store.delete(&bucket(), &key(name), Some("other"), "1", 1).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::PreconditionFailed);
        assert!(store.delete(&bucket(), &key(name), None, "1", 1).await.unwrap().existed);
        assert!(!store.delete(&bucket(), &key(name), None, "1", 1).await.unwrap().existed);
        assert_eq!(bench.get(&store, name).await.unwrap_err().kind(), ErrorKind::NoSuchKey);
    }
    // Closing may leave garbage; opening again and closing finds it.
    store.close();
    let store = bench.open();
    bench.put(&store, "after", b"x").await.unwrap();
    store.close();
    bench.open().close();
    for drive in &bench.drives {
        assert!(files(&drive.join("shards")).is_empty());
    }
}

#[tokio::test]
async fn a_reader_keeps_what_it_opened() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    for size in [100, 3 * MIB] {
        let old = pattern(size);
        bench.put(&store, "k", &old).await.unwrap();
        let opened = store.open_object(&bucket(), &key("k")).await.unwrap();
        bench.put(&store, "k", b"new").await.unwrap();
        bench.put(&store, "k", b"newer").await.unwrap();
        store.delete(&bucket(), &key("k"), None, "1", 1).await.unwrap();
        let read = store.read(&bench.keys, opened, None).await.unwrap();
        assert!(crate::support::collect(read.body).await.unwrap() == old);
    }
}

#[tokio::test]
async fn nothing_readable_reaches_a_drive() {
    const MARKER: &[u8] = b"plaintext-marker-0123456789";
    let bench = Bench::new(2);
    let store = bench.with_bucket().await;
    for (name, copies) in [("small", 10), ("large", 100_000)] {
        let mut put = put(name);
        let marker = String::from_utf8(MARKER.to_vec()).unwrap();
        put.headers.user.insert("note".into(), marker.clone());
        put.headers.content_type = Some(marker.clone());
        put.tags.insert("tag".into(), marker);
        let mut body = Body::new(&MARKER.repeat(copies));
        store.put(&bench.keys, put, &mut body).await.unwrap();
        let value = bytes::Bytes::from_static(MARKER);
        store.put_row("iam", name, value.clone()).await.unwrap();
        store.put_bucket_config(&bucket(), "policy", Some(value)).await.unwrap();
    }
    store.close();
    let mut looked_at = 0;
    for file in bench.drives.iter().flat_map(|drive| files(drive)) {
        let bytes = std::fs::read(&file).unwrap();
        looked_at += bytes.len();
        let found = bytes.windows(MARKER.len()).any(|window| window == MARKER);
        assert!(!found, "the marker is in {}", file.display());
    }
    assert!(looked_at > 2 * MIB, "the files with the data were looked at");
}

/// More writers than a write has attempts: without turns most of them never win against the others.
#[tokio::test]
async fn writers_of_one_key_all_succeed_and_one_of_them_is_last() {
    let bench = Bench::new(1);
    let store = bench.with_bucket().await;
    let bodies: Vec<_> = (0..300).map(|n| pattern(1000 + n)).collect();
    for info in join_all(bodies.iter().map(|body| bench.put(&store, "hot", body))).await {
        info.unwrap();
    }
    assert!(bodies.contains(&bench.get(&store, "hot").await.unwrap()));
}

/// The server relies on this: the record of a key call waits for the decision, and the change for the key call.
#[tokio::test]
async fn nothing_is_written_before_the_key_service_has_answered() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let before: Vec<_> = bench.drives.iter().map(|drive| shards(drive)).collect();
    for size in [10, 3 * MIB] {
        let refused = store.put(&Refusing, put("k"), &mut Body::new(&pattern(size))).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Key);
        assert_eq!(
            store.head(&bucket(), &key("k")).await.unwrap_err().kind(),
            ErrorKind::NoSuchKey
        );
        let after: Vec<_> = bench.drives.iter().map(|drive| shards(drive)).collect();
        assert_eq!(after, before);
    }
}

fn shards(drive: &std::path::Path) -> Vec<std::path::PathBuf> {
    ["shards", "staging"].iter().flat_map(|name| files(&drive.join(name))).collect()
}

/// Answers no call.
struct Refusing;

impl KeyService for Refusing {
    fn generate<'a>(
        &'a self,
        _: Option<&'a str>,
        _: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        async { Err(KeyError::Denied { key_id: "default".into() }) }.boxed()
    }

    fn unseal<'a>(
        &'a self,
        _: &'a SealedKey,
        _: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        async { Err(KeyError::Invalid) }.boxed()
    }
}
