//! Listing, buckets and rows.

use bytes::Bytes;
use storage::{ErrorKind, ListRequest, Listing, Store};

use crate::support::{Bench, bucket, key};

fn request(prefix: &str, delimiter: Option<&str>) -> ListRequest {
    ListRequest {
        bucket: bucket(),
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        start_after: None,
        max: 1000,
    }
}

fn keys(listing: &Listing) -> Vec<&str> {
    listing.objects.iter().map(|entry| entry.key.as_str()).collect()
}

/// All pages of a listing, `max` entries each.
async fn pages(store: &Store, mut request: ListRequest, max: usize) -> (Vec<String>, Vec<String>) {
    request.max = max;
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    loop {
        let page = store.list(request.clone()).await.unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= max);
        objects.extend(keys(&page).into_iter().map(str::to_owned));
        prefixes.extend(page.prefixes);
        assert_eq!(page.truncated, page.next.is_some());
        match page.next {
            Some(next) => request.start_after = Some(next),
            None => return (objects, prefixes),
        }
    }
}

#[tokio::test]
async fn prefixes_delimiters_and_pages() {
    let bench = Bench::new(1);
    let store = bench.with_bucket().await;
    let names = ["a", "a/", "a/1", "a/2", "a/b/3", "a0", "b/1", "b\u{1}", "c", "日本/1", "日本/2"];
    for name in names {
        bench.put(&store, name, name.as_bytes()).await.unwrap();
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let all = store.list(request("", None)).await.unwrap();
    assert_eq!(keys(&all), sorted);
    assert_eq!(all.objects[2].size, 3);
    let root = store.list(request("", Some("/"))).await.unwrap();
    assert_eq!(keys(&root), ["a", "a0", "b\u{1}", "c"]);
    assert_eq!(root.prefixes, ["a/", "b/", "日本/"]);
    let under = store.list(request("a/", Some("/"))).await.unwrap();
    assert_eq!(
        (keys(&under), &under.prefixes[..]),
        (vec!["a/", "a/1", "a/2"], &["a/b/".into()][..])
    );
    let long = store.list(request("", Some("1"))).await.unwrap();
    assert_eq!(long.prefixes, ["a/1", "b/1", "日本/1"]);
    assert!(keys(&store.list(request("x", None)).await.unwrap()).is_empty());

    for max in 1..12 {
        let (objects, prefixes) = pages(&store, request("", Some("/")), max).await;
        assert_eq!(objects, keys(&root), "{max}");
        assert_eq!(prefixes, root.prefixes, "{max}");
        assert_eq!(pages(&store, request("", None), max).await.0, sorted, "{max}");
    }
    let after = ListRequest { start_after: Some("a/1".into()), ..request("", Some("/")) };
    let after = store.list(after).await.unwrap();
    assert_eq!(after.prefixes, ["a/", "b/", "日本/"], "there is more under the prefix");
    let none = ListRequest { max: 0, ..request("", None) };
    assert_eq!(store.list(none).await.unwrap(), Listing::default());
    let other = storage::BucketName::parse("other").unwrap();
    let missing = store.list(ListRequest { bucket: other, ..request("", None) }).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NoSuchBucket);
}

#[tokio::test]
async fn buckets_come_and_go_with_their_configurations() {
    let bench = Bench::new(2);
    let store = bench.with_bucket().await;
    let again = store.create_bucket(&bucket(), "other", 2).await.unwrap_err();
    assert!(matches!(again, storage::Error::BucketExists { owner, .. } if owner == "owner"));
    assert_eq!(store.bucket(&bucket()).await.unwrap().created_us, 1);
    assert_eq!(store.buckets().await.unwrap().len(), 1);

    let policy = Bytes::from_static(b"{}");
    store.put_bucket_config(&bucket(), "policy", Some(policy.clone())).await.unwrap();
    assert_eq!(store.bucket_config(&bucket(), "policy").await.unwrap(), Some(policy));
    assert_eq!(store.bucket_config(&bucket(), "cors").await.unwrap(), None);
    bench.put(&store, "k", b"x").await.unwrap();
    let full = store.delete_bucket(&bucket()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::BucketNotEmpty);
    store.delete(&bucket(), &key("k"), None, "1", 1).await.unwrap();
    store.delete_bucket(&bucket()).await.unwrap();

    for missing in [
        store.bucket(&bucket()).await.map(drop),
        store.bucket_config(&bucket(), "policy").await.map(drop),
        store.put_bucket_config(&bucket(), "policy", None).await,
        store.delete_bucket(&bucket()).await,
        store.delete(&bucket(), &key("k"), None, "1", 1).await.map(drop),
        bench.get(&store, "k").await.map(drop),
        bench.put(&store, "k", b"x").await.map(drop),
    ] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NoSuchBucket);
    }
    store.create_bucket(&bucket(), "owner", 3).await.unwrap();
    assert_eq!(store.bucket_config(&bucket(), "policy").await.unwrap(), None, "a new bucket");
}

#[tokio::test]
async fn tags_change_without_the_object() {
    let bench = Bench::new(1);
    let store = bench.with_bucket().await;
    let before = bench.put(&store, "k", b"x").await.unwrap();
    let tags: std::collections::BTreeMap<_, _> = [("team".to_owned(), "a b".to_owned())].into();
    store.set_tags(&bucket(), &key("k"), tags.clone()).await.unwrap();
    let after = store.head(&bucket(), &key("k")).await.unwrap();
    assert_eq!(after, storage::ObjectInfo { tags, ..before });
    assert_eq!(bench.get(&store, "k").await.unwrap(), b"x");
    let missing = store.set_tags(&bucket(), &key("l"), Default::default()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoSuchKey);
}

#[tokio::test]
async fn rows_are_durable_ordered_and_swapped() {
    let bench = Bench::new(3);
    let store = bench.open();
    let put = |n: usize| {
        let value = Bytes::from(format!("value {n}"));
        let store = &store;
        async move { store.put_row("users", &format!("u{n:04}"), value).await }
    };
    // More than one page of a scan, in few groups.
    for put in futures::future::join_all((0..2100).map(put)).await {
        put.unwrap();
    }
    store.delete_row("users", "u0061").await.unwrap();
    store.delete_row("users", "u0061").await.unwrap();
    store.put_row("user", "s", Bytes::from_static(b"another namespace")).await.unwrap();
    store.close();
    let store = bench.open();
    let rows = store.scan_rows("users", "u00").await.unwrap();
    assert_eq!(rows.len(), 99);
    assert!(rows.is_sorted() && rows[7].0 == "u0007" && rows[7].1 == "value 7");
    assert_eq!(store.row("users", "u0061").await.unwrap(), None);
    assert_eq!(store.scan_rows("users", "").await.unwrap().len(), 2099);

    let swap = |expected: Option<&'static [u8]>, value: Option<&'static [u8]>| {
        let store = &store;
        async move {
            let value = value.map(Bytes::from_static);
            store.swap_row("ns", "k", expected, value).await.map_err(|error| error.kind())
        }
    };
    let changed = Err(ErrorKind::RowChanged);
    assert_eq!(swap(Some(b"a"), Some(b"b")).await, changed);
    assert_eq!(swap(None, Some(b"a")).await, Ok(()));
    assert_eq!(swap(None, Some(b"b")).await, changed);
    assert_eq!(swap(Some(b"a"), None).await, Ok(()));
    assert_eq!(store.row("ns", "k").await.unwrap(), None);
    for bad in ["", "a\0b"] {
        assert!(store.put_row(bad, "k", Bytes::new()).await.is_err());
    }
}
