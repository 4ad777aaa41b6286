//! Drives that are away, come back, or belong elsewhere.

use std::fs;
use std::path::Path;

use storage::{ErrorKind, OpenError, StoreConfig};

use crate::support::{Bench, bucket, files, key, pattern};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_drive_deleted_before_start_is_read_around() {
    for lost in 0..4 {
        let bench = Bench::new(4);
        let store = bench.with_bucket().await;
        let (small, large) = (pattern(4096), pattern(3 * MIB));
        bench.put(&store, "small", &small).await.unwrap();
        bench.put(&store, "large", &large).await.unwrap();
        store.close();
        fs::remove_dir_all(&bench.drives[lost]).unwrap();
        // An empty directory, like a mount point without its disk, is no drive either.
        if lost % 2 == 1 {
            fs::create_dir(&bench.drives[lost]).unwrap();
        }

        let store = bench.open();
        let health = store.health();
        assert!(health.write_ok);
        for (slot, drive) in health.drives.iter().enumerate() {
            assert_eq!((drive.online, &drive.path), (slot != lost, &bench.drives[slot]));
        }
        assert!(bench.get(&store, "small").await.unwrap() == small);
        assert!(bench.get(&store, "large").await.unwrap() == large);
        bench.put(&store, "small", &large).await.unwrap();
        bench.put(&store, "large", &small).await.unwrap();
        assert!(bench.get(&store, "small").await.unwrap() == large);
        assert!(bench.get(&store, "large").await.unwrap() == small);
        assert!(!bench.drives[lost].join("format.json").exists(), "not formatted anew");
    }
}

#[tokio::test]
async fn two_of_four_drives_are_enough_to_read_and_too_few_to_write() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let bytes = pattern(3 * MIB);
    bench.put(&store, "k", &bytes).await.unwrap();
    store.close();
    for lost in [0, 2] {
        fs::remove_dir_all(&bench.drives[lost]).unwrap();
    }
    let store = bench.open();
    assert!(bench.get(&store, "k").await.unwrap() == bytes);
    assert!(!store.health().write_ok);
    for size in [10, 2 * MIB] {
        let refused = bench.put(&store, "l", &pattern(size)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    }
    store.close();
    fs::remove_dir_all(&bench.drives[1]).unwrap();
    assert!(matches!(bench.try_open(), Err(OpenError::TooFewDrives { available: 1, needed: 2 })));
}

#[tokio::test]
async fn a_drive_deleted_while_running_is_read_around() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let (small, large) = (pattern(4096), pattern(3 * MIB));
    bench.put(&store, "small", &small).await.unwrap();
    bench.put(&store, "large", &large).await.unwrap();
    fs::remove_dir_all(&bench.drives[1]).unwrap();
    assert!(bench.get(&store, "small").await.unwrap() == small);
    assert!(bench.get(&store, "large").await.unwrap() == large);
    bench.put(&store, "more", &large).await.unwrap();
    bench.put(&store, "less", &small).await.unwrap();
    assert!(!store.health().drives[1].online && store.health().write_ok);
    assert!(bench.get(&store, "more").await.unwrap() == large);

    fs::remove_dir_all(&bench.drives[3]).unwrap();
    assert!(bench.get(&store, "large").await.unwrap() == large);
    assert!(bench.get(&store, "small").await.unwrap() == small);
    assert!(bench.put(&store, "small", &small).await.is_err());
    assert!(!store.health().write_ok);
    assert!(bench.get(&store, "small").await.unwrap() == small);
    assert!(bench.get(&store, "large").await.unwrap() == large);
}

#[tokio::test]
async fn a_drive_that_was_away_catches_up_before_it_answers() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    for n in 0..50 {
        bench.put(&store, &format!("old/{n}"), b"old").await.unwrap();
    }
    store.close();
    let away = bench.drives[0].with_extension("away");
    fs::rename(&bench.drives[0], &away).unwrap();
    let store = bench.open();
    for n in 0..50 {
        store.delete(&bucket(), &key(&format!("old/{n}")), None, "1", 1).await.unwrap();
    }
    bench.put(&store, "new", b"new").await.unwrap();
    store.close();
    fs::rename(&away, &bench.drives[0]).unwrap();
    let store = bench.open();
    assert!(store.health().drives.iter().all(|drive| drive.online && !drive.stale));
    store.close();

    // Without two others, drive 0 answers for the rows.
    for lost in [1, 2] {
        fs::remove_dir_all(&bench.drives[lost]).unwrap();
    }
    let store = bench.open();
    assert_eq!(store.head(&bucket(), &key("new")).await.unwrap().size, 3);
    let gone = store.head(&bucket(), &key("old/7")).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NoSuchKey);
}

/// What is on the drives the moment after an acknowledgement is what a killed process leaves.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let put = |n: usize| {
        let (bench, store) = (&bench, &store);
        let size = if n.is_multiple_of(8) { 600_000 } else { n * 37 };
        async move { bench.put(store, &format!("k{n}"), &pattern(size)).await.unwrap() }
    };
    futures::future::join_all((0..64).map(put)).await;
    let image = bench.snapshot();
    store.close();
    for (from, to) in image.iter().zip(&bench.drives) {
        fs::remove_dir_all(to).unwrap();
        fs::rename(from, to).unwrap();
    }
    let store = bench.open();
    for n in 0..64usize {
        let size = if n.is_multiple_of(8) { 600_000 } else { n * 37 };
        assert!(bench.get(&store, &format!("k{n}")).await.unwrap() == pattern(size), "{n}");
    }
}

#[tokio::test]
async fn rot_in_a_shard_file_is_read_around() {
    let bench = Bench::new(4);
    let store = bench.with_bucket().await;
    let bytes = pattern(5 * MIB);
    bench.put(&store, "k", &bytes).await.unwrap();
    for drive in &bench.drives[..2] {
        let shard = files(&drive.join("shards")).remove(0);
        let mut rotten = fs::read(&shard).unwrap();
        let middle = rotten.len() / 2;
        rotten[middle] ^= 1;
        fs::write(&shard, rotten).unwrap();
    }
    assert!(bench.get(&store, "k").await.unwrap() == bytes);
}

#[tokio::test]
async fn drives_are_known_by_their_ids() {
    let bench = Bench::new(3);
    let store = bench.with_bucket().await;
    bench.put(&store, "k", b"bytes").await.unwrap();
    store.close();
    let mut config = bench.config();
    config.drives.reverse();
    let store = storage::Store::open(config.clone()).unwrap();
    assert_eq!(bench.get(&store, "k").await.unwrap(), b"bytes");
    assert_eq!(store.health().drives[0].path, bench.drives[0], "in the order of slots");
    store.close();

    config.drives[1] = config.drives[0].clone();
    assert!(matches!(open_error(config), OpenError::Duplicate { .. }));
    let other = StoreConfig { deployment: "other".into(), ..bench.config() };
    assert!(matches!(open_error(other), OpenError::Foreign { .. }));
    let mut fewer = bench.config();
    fewer.drives.pop();
    assert!(matches!(open_error(fewer), OpenError::Foreign { .. }));
    let wrong_key = StoreConfig { row_key: [1; 32].into(), ..bench.config() };
    assert!(matches!(open_error(wrong_key), OpenError::Rows(_)));

    let other = Bench::new(3);
    other.open().close();
    let mixed = StoreConfig {
        drives: vec![bench.drives[0].clone(), bench.drives[1].clone(), other.drives[2].clone()],
        ..bench.config()
    };
    assert!(matches!(open_error(mixed), OpenError::Foreign { .. }));
    let none = StoreConfig { drives: Vec::new(), ..bench.config() };
    assert!(matches!(open_error(none), OpenError::DriveCount { count: 0 }));
    let copy = StoreConfig { drives: vec![bench.drives[0].clone(); 17], ..bench.config() };
    assert!(matches!(open_error(copy), OpenError::DriveCount { count: 17 }));
    let parity = StoreConfig { parity: Some(2), ..bench.config() };
    assert!(matches!(open_error(parity), OpenError::Parity { parity: 2, drives: 3 }));
    newer(&bench.drives[2]);
    assert!(matches!(open_error(bench.config()), OpenError::NewerFormat { found: 99, .. }));
}

fn open_error(config: StoreConfig) -> OpenError {
    storage::Store::open(config).unwrap_err()
}

fn newer(drive: &Path) {
    let format = drive.join("format.json");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replacen("\"format\": 1", "\"format\": 99", 1)).unwrap();
}

#[tokio::test]
async fn a_formatting_that_was_interrupted_is_finished() {
    let bench = Bench::new(4);
    bench.open().close();
    fs::remove_file(bench.drives[2].join("format.json")).unwrap();
    let store = bench.with_bucket().await;
    assert!(store.health().drives.iter().all(|drive| drive.online));
}
