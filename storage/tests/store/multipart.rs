//! Multipart uploads.

use std::fs;

use storage::{
    ByteRange, Checksum, ChecksumKind, CompleteUpload, CompletedPart, CreateUpload, Error,
    ErrorKind, Facts, ListUploads, ObjectInfo, PartInfo, SourceError, Sse, SseKind, Store,
    UploadId, WriteCondition,
};

use crate::support::{Bench, Body, bucket, etag, files, key, pattern};

const MIB: usize = 1024 * 1024;

async fn create(bench: &Bench, store: &Store, name: &str) -> UploadId {
    let create = CreateUpload {
        bucket: bucket(),
        key: key(name),
        headers: Default::default(),
        tags: [("t".to_owned(), "v".to_owned())].into(),
        sse: Sse::Kms {
            key_id: Some("named".into()),
            context: [("team".to_owned(), "audit".to_owned())].into(),
        },
        checksum: Some(("CRC64NVME".into(), ChecksumKind::Full)),
        authorised_by: "3".into(),
        at_us: 9,
    };
    store.create_upload(&bench.keys, create).await.unwrap()
}

async fn part(
    bench: &Bench,
    store: &Store,
    name: &str,
    upload: &UploadId,
    number: u16,
    bytes: &[u8],
) -> Result<PartInfo, Error> {
    let mut body = Body::new(bytes);
    store.put_part(&bench.keys, &bucket(), &key(name), upload, number, &mut body, 10).await
}

fn named(parts: &[(u16, &[u8])]) -> Vec<CompletedPart> {
    let named = |(number, bytes): &(u16, &[u8])| CompletedPart {
        number: *number,
        etag: etag(bytes),
        checksum: None,
    };
    parts.iter().map(named).collect()
}

async fn complete(
    store: &Store,
    name: &str,
    upload: &UploadId,
    parts: Vec<CompletedPart>,
) -> Result<ObjectInfo, Error> {
    let complete = CompleteUpload {
        bucket: bucket(),
        key: key(name),
        upload: upload.clone(),
        parts,
        precondition: WriteCondition::None,
        authorised_by: "4".into(),
        at_us: 11,
    };
    let facts = |parts: &[PartInfo]| {
        let etags: Vec<&str> = parts.iter().map(|part| part.etag.as_str()).collect();
        let value = format!("sum-{}", parts.len());
        let kind = ChecksumKind::Composite;
        let checksum = Checksum { algorithm: "CRC32".into(), value, kind };
        Ok(Facts { etag: etags.join("+"), checksum: Some(checksum) })
    };
    store.complete_upload(complete, facts).await
}

#[tokio::test]
async fn parts_become_one_object_without_moving() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    bench.put(&store, "k", &pattern(3 * MIB)).await.unwrap();
    let upload = create(&bench, &store, "k").await;
    let (one, two, three) = (pattern(5 * MIB), pattern(6 * MIB + 1), pattern(99));
    part(&bench, &store, "k", &upload, 7, &pattern(5 * MIB + 9)).await.unwrap();
    part(&bench, &store, "k", &upload, 2, &two).await.unwrap();
    part(&bench, &store, "k", &upload, 1, b"replaced").await.unwrap();
    part(&bench, &store, "k", &upload, 1, &one).await.unwrap();
    let info = part(&bench, &store, "k", &upload, 10_000, &three).await.unwrap();
    assert_eq!((info.size, info.etag), (99, etag(&three)));
    let listed = store.list_parts(&bucket(), &key("k"), &upload, 1, 2).await.unwrap();
    assert_eq!(listed.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(listed.next, Some(7));
    let listed = store.list_parts(&bucket(), &key("k"), &upload, 7, 1000).await.unwrap();
    assert_eq!((listed.parts.len(), listed.next), (1, None));

    let parts: [(u16, &[u8]); 3] = [(1, &one), (2, &two), (10_000, &three)];
    let info = complete(&store, "k", &upload, named(&parts)).await.unwrap();
    let whole = [&one[..], &two, &three].concat();
    assert_eq!(info.size, whole.len() as u64);
    assert_eq!(info.etag, [etag(&one), etag(&two), etag(&three)].join("+"));
    assert_eq!(info.checksum.as_ref().unwrap().value, "sum-3");
    assert_eq!((info.sse.kind, info.sse.key_id.as_str()), (SseKind::Kms, "named"));
    assert_eq!(info, store.head(&bucket(), &key("k")).await.unwrap());
    assert!(bench.get(&store, "k").await.unwrap() == whole);
    let across = ByteRange::From(5 * MIB as u64 - 3, Some(11 * MIB as u64 + 20));
    let read = bench.range(&store, "k", Some(across)).await.unwrap();
    assert!(read == whole[5 * MIB - 3..11 * MIB + 21]);
    let again = complete(&store, "k", &upload, named(&parts)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NoSuchUpload);

    // Two restarts later only the two large parts have files, one shard on each drive.
    for _ in 0..2 {
        store.close();
        bench.open().close();
    }
    let store = bench.open();
    assert!(bench.get(&store, "k").await.unwrap() == whole);
    assert_eq!(files(&bench.drives[0].join("shards")).len(), 2);
}

#[tokio::test]
async fn what_cannot_be_completed_stays_an_upload() {
    let bench = Bench::new(1);
    let store = bench.with_bucket().await;
    let upload = create(&bench, &store, "k").await;
    for (number, bytes) in [(1, b"small"), (2, b"parts")] {
        part(&bench, &store, "k", &upload, number, bytes).await.unwrap();
    }
    let wrong = |parts: Vec<CompletedPart>| complete(&store, "k", &upload, parts);
    let kind = |result: Result<ObjectInfo, Error>| result.unwrap_err().kind();
    let both: [(u16, &[u8]); 2] = [(1, b"small"), (2, b"parts")];
    assert_eq!(kind(wrong(named(&both)).await), ErrorKind::EntityTooSmall);
    assert_eq!(kind(wrong(named(&[both[1], both[0]])).await), ErrorKind::InvalidPartOrder);
    assert_eq!(kind(wrong(named(&[both[0], both[0]])).await), ErrorKind::InvalidPartOrder);
    assert_eq!(kind(wrong(named(&[(1, b"other")])).await), ErrorKind::InvalidPart);
    assert_eq!(kind(wrong(named(&[(3, b"none")])).await), ErrorKind::InvalidPart);
    assert_eq!(kind(wrong(Vec::new()).await), ErrorKind::InvalidArgument);
    let checksum = vec![CompletedPart { checksum: Some("x".into()), ..named(&both).remove(0) }];
    assert_eq!(kind(wrong(checksum).await), ErrorKind::InvalidPart);
    let bad = part(&bench, &store, "k", &upload, 0, b"x").await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidArgument);
    let elsewhere = part(&bench, &store, "other", &upload, 1, b"x").await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::NoSuchUpload);
    let refused = CompleteUpload {
        bucket: bucket(),
        key: key("k"),
        upload: upload.clone(),
        parts: named(&both[1..]),
        precondition: WriteCondition::None,
        authorised_by: "4".into(),
        at_us: 11,
    };
    let refused = store.complete_upload(refused, |_: &[PartInfo]| Err(SourceError("no".into())));
    assert_eq!(kind(refused.await), ErrorKind::Source);
    let upload_info = store.upload(&bucket(), &key("k"), &upload).await.unwrap();
    assert_eq!(upload_info.checksum, Some(("CRC64NVME".into(), ChecksumKind::Full)));
    // The last part alone may be small.
    let done = complete(&store, "k", &upload, named(&both[1..])).await.unwrap();
    assert_eq!((done.size, done.parts.len()), (5, 1));
    assert_eq!(bench.get(&store, "k").await.unwrap(), b"parts");
}

#[tokio::test]
async fn uploads_are_listed_and_end_with_their_bucket() {
    let bench = Bench::new(2);
    let store = bench.with_bucket().await;
    let mut all = Vec::new();
    for name in ["a/1", "a/2", "b", "b", "c"] {
        let upload = create(&bench, &store, name).await;
        part(&bench, &store, name, &upload, 1, &pattern(2 * MIB)).await.unwrap();
        all.push((name.to_owned(), upload));
    }
    all.sort();
    let request = ListUploads {
        bucket: bucket(),
        prefix: String::new(),
        delimiter: None,
        key_marker: None,
        upload_marker: None,
        max: 2,
    };
    for (delimiter, prefixes) in [(None, 0), (Some("/".to_owned()), 1)] {
        let mut next = ListUploads { delimiter, ..request.clone() };
        let mut found = Vec::new();
        let mut rolled_up = 0;
        loop {
            let page = store.list_uploads(next.clone()).await.unwrap();
            found.extend(page.uploads.into_iter().map(|u| (u.key.to_string(), u.upload)));
            rolled_up += page.prefixes.len();
            next.key_marker = page.next_key;
            next.upload_marker = page.next_upload;
            if !page.truncated {
                break;
            }
        }
        assert_eq!(rolled_up, prefixes);
        assert_eq!(found, all[all.len() - found.len()..], "in order, none twice");
        assert_eq!(found.len(), 5 - 2 * prefixes);
    }

    let (name, upload) = &all[4];
    store.abort_upload(&bucket(), &key(name), upload).await.unwrap();
    let late = part(&bench, &store, name, upload, 2, b"late").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NoSuchUpload);
    store.delete_bucket(&bucket()).await.unwrap();
    store.close();
    bench.open().close();
    bench.open().close();
    assert!(bench.drives.iter().all(|drive| files(&drive.join("shards")).is_empty()));
    assert!(fs::read_dir(bench.drives[0].join("staging")).unwrap().next().is_none());
}
