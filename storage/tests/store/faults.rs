//! The fault table: break one step on some drives, write, look, restart, look again.

use std::sync::Arc;

use storage::drive::memory::MemoryDrive;
use storage::drive::{Drive, ShardName};
use storage::sim::{At, Fault, FaultyDrive};
use storage::{Error, ErrorKind, Store};

use crate::support::{Bench, DEPLOYMENT, bucket, key, pattern};

const MIB: usize = 1024 * 1024;

/// Which object is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Object {
    /// Shards travel with the row.
    Small,
    /// Shards are files.
    Large,
}

struct Case {
    name: &'static str,
    object: Object,
    at: At,
    /// On how many of 4 drives.
    drives: usize,
    persisted: bool,
    /// Whether the PUT is acknowledged.
    acked: bool,
    /// Whether the object is there after a restart with all drives repaired.
    after_restart: bool,
    /// Whether the broken drives are out of use until then.
    out_of_use: bool,
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "sync fails on one drive, kept", object: Object::Small, at: At::Apply, drives: 1, persisted: true, acked: true, after_restart: true, out_of_use: true },
    Case { name: "sync fails on one drive, lost", object: Object::Small, at: At::Apply, drives: 1, persisted: false, acked: true, after_restart: true, out_of_use: true },
    Case { name: "sync fails on two drives, kept", object: Object::Small, at: At::Apply, drives: 2, persisted: true, acked: false, after_restart: true, out_of_use: true },
    Case { name: "sync fails on two drives, lost", object: Object::Small, at: At::Apply, drives: 2, persisted: false, acked: false, after_restart: true, out_of_use: true },
    Case { name: "sync fails on all drives, kept", object: Object::Small, at: At::Apply, drives: 4, persisted: true, acked: false, after_restart: true, out_of_use: true },
    Case { name: "sync fails on all drives, lost", object: Object::Small, at: At::Apply, drives: 4, persisted: false, acked: false, after_restart: false, out_of_use: true },
    Case { name: "one drive is gone", object: Object::Small, at: At::Present, drives: 1, persisted: false, acked: true, after_restart: true, out_of_use: true },
    Case { name: "row sync fails on one drive after its shard", object: Object::Large, at: At::Apply, drives: 1, persisted: false, acked: true, after_restart: true, out_of_use: true },
    Case { name: "row sync fails on all drives, lost", object: Object::Large, at: At::Apply, drives: 4, persisted: false, acked: false, after_restart: false, out_of_use: true },
    Case { name: "no shard file on one drive", object: Object::Large, at: At::Stage, drives: 1, persisted: false, acked: true, after_restart: true, out_of_use: false },
    Case { name: "no shard file on two drives", object: Object::Large, at: At::Stage, drives: 2, persisted: false, acked: false, after_restart: false, out_of_use: false },
    Case { name: "shard write fails on one drive", object: Object::Large, at: At::Append, drives: 1, persisted: true, acked: true, after_restart: true, out_of_use: false },
    Case { name: "shard write fails on two drives", object: Object::Large, at: At::Append, drives: 2, persisted: true, acked: false, after_restart: false, out_of_use: false },
    Case { name: "shard sync fails on one drive, kept", object: Object::Large, at: At::Publish, drives: 1, persisted: true, acked: true, after_restart: true, out_of_use: true },
    Case { name: "shard sync fails on one drive, lost", object: Object::Large, at: At::Publish, drives: 1, persisted: false, acked: true, after_restart: true, out_of_use: true },
    Case { name: "shard sync fails on two drives, kept", object: Object::Large, at: At::Publish, drives: 2, persisted: true, acked: false, after_restart: false, out_of_use: true },
    Case { name: "shard sync fails on two drives, lost", object: Object::Large, at: At::Publish, drives: 2, persisted: false, acked: false, after_restart: false, out_of_use: true },
    Case { name: "rows cannot be read on two drives", object: Object::Small, at: At::Get, drives: 2, persisted: false, acked: true, after_restart: true, out_of_use: false },
];

struct Disks {
    memory: Vec<MemoryDrive>,
    faulty: Vec<FaultyDrive>,
}

impl Disks {
    fn new(count: usize) -> Self {
        let memory: Vec<_> = (0..count).map(|_| MemoryDrive::new()).collect();
        let faulty = memory.iter().map(|drive| FaultyDrive::new(Arc::new(drive.clone()))).collect();
        Self { memory, faulty }
    }

    fn open(&self) -> Store {
        self.open_without(&[])
    }

    fn open_without(&self, missing: &[usize]) -> Store {
        let drive = |(slot, drive): (usize, &FaultyDrive)| {
            (!missing.contains(&slot)).then(|| Arc::new(drive.clone()) as Arc<dyn Drive>)
        };
        let drives = self.faulty.iter().enumerate().map(drive).collect();
        Store::over(drives, DEPLOYMENT, [42; 32].into(), None).unwrap()
    }

    fn break_first(&self, count: usize, fault: Option<Fault>) {
        for drive in &self.faulty[..count] {
            drive.set(fault);
        }
    }

    fn files(&self) -> usize {
        self.memory.iter().map(|drive| drive.shard_files().unwrap().len()).sum()
    }
}

#[tokio::test]
async fn put_under_every_fault() {
    for case in CASES {
        run(case).await;
    }
}

async fn run(case: &Case) {
    let bench = Bench::new(0);
    let disks = Disks::new(4);
    let store = disks.open();
    store.create_bucket(&bucket(), "owner", 1).await.unwrap();
    let before = pattern(if case.object == Object::Small { 999 } else { 3 * MIB });
    let after = pattern(if case.object == Object::Small { 5000 } else { 2 * MIB });
    bench.put(&store, "before", &before).await.unwrap();

    disks.break_first(case.drives, Some(Fault { at: case.at, persisted: case.persisted }));
    let put = bench.put(&store, "k", &after).await;
    let name = case.name;
    match &put {
        Ok(_) => assert!(case.acked, "{name}: acknowledged"),
        Err(error) => {
            assert!(!case.acked, "{name}: {error:?}");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error:?}");
        }
    }
    let online = |slot: usize| store.health().drives[slot].online;
    assert!((0..case.drives).all(|slot| online(slot) != case.out_of_use), "{name}: health");
    assert!((case.drives..4).all(online), "{name}: the others");
    if case.acked {
        assert!(bench.get(&store, "k").await.unwrap() == after, "{name}: read while broken");
    }

    store.close();
    disks.break_first(4, None);
    let store = disks.open();
    assert!(bench.get(&store, "before").await.unwrap() == before, "{name}: what was there before");
    let read = bench.get(&store, "k").await;
    match read {
        Ok(read) => assert!(case.after_restart && read == after, "{name}: there after restart"),
        Err(error) => {
            assert!(!case.after_restart, "{name}: gone after restart: {error:?}");
            assert_eq!(error.kind(), ErrorKind::NoSuchKey, "{name}");
            let wanted = if case.object == Object::Small { 0 } else { 4 };
            assert_eq!(disks.files(), wanted, "{name}: orphans were collected");
        }
    }
    let health = store.health();
    assert!(health.drives.iter().all(|drive| drive.online && !drive.stale), "{name}: in sync");
    assert!(bench.put(&store, "later", b"x").await.is_ok(), "{name}: writable");
}

/// A process without drive 0 and one with it must agree, whatever drive 0 missed or had alone.
#[tokio::test]
async fn a_drive_that_had_its_own_future_is_brought_back() {
    let bench = Bench::new(0);
    let disks = Disks::new(4);
    let store = disks.open();
    store.create_bucket(&bucket(), "owner", 1).await.unwrap();
    bench.put(&store, "deleted", b"old").await.unwrap();
    // Only drive 0 keeps this commit.
    for drive in &disks.faulty[1..] {
        drive.set(Some(Fault { at: At::Apply, persisted: false }));
    }
    assert!(bench.put(&store, "alone", b"never acknowledged").await.is_err());
    store.close();
    disks.break_first(4, None);

    let store = disks.open_without(&[0]);
    assert!(!store.health().drives[0].online && store.health().write_ok);
    assert!(bench.get(&store, "alone").await.is_err());
    bench.put(&store, "new", b"acknowledged").await.unwrap();
    store.delete(&bucket(), &key("deleted"), None, "1", 1).await.unwrap();
    store.close();

    let store = disks.open();
    assert!(!store.health().drives[0].stale, "caught up");
    assert!(bench.get(&store, "alone").await.is_err());
    store.close();
    // Drive 0 answers for the rows now.
    let store = disks.open_without(&[1, 2]);
    assert_eq!(bench.get(&store, "alone").await.unwrap_err().kind(), ErrorKind::NoSuchKey);
    assert_eq!(bench.get(&store, "deleted").await.unwrap_err().kind(), ErrorKind::NoSuchKey);
    assert_eq!(store.head(&bucket(), &key("new")).await.unwrap().size, 12);
    assert!(!store.health().write_ok);
    let refused = bench.put(&store, "more", b"x").await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { available: 2, needed: 3, .. }));
}

#[tokio::test]
async fn rot_is_found_counted_and_read_around() {
    let bench = Bench::new(0);
    for (size, files) in [(5000, 0), (2 * MIB, 4)] {
        let disks = Disks::new(4);
        let store = disks.open();
        store.create_bucket(&bucket(), "owner", 1).await.unwrap();
        let bytes = pattern(size);
        bench.put(&store, "k", &bytes).await.unwrap();
        assert_eq!(disks.files(), files);
        let flip = |bytes: &mut Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        };
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
        assert_eq!(rot_all(&disks.memory[0], flip), 1);
        assert!(bench.get(&store, "k").await.unwrap() == bytes, "one rotten shard");
        assert_eq!(rot_all(&disks.memory[1], cut), 1);
        assert!(bench.get(&store, "k").await.unwrap() == bytes, "and one that was cut");
        assert_eq!(rot_all(&disks.memory[2], flip), 1);
        let lost = bench.get(&store, "k").await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Unavailable, "never other bytes");
        let bad: Vec<u64> = store.health().drives.iter().map(|drive| drive.bad_shards).collect();
        assert!(bad[..3].iter().all(|bad| *bad > 0) && bad[3] == 0, "{bad:?}");
    }
}

/// Rots every shard on a drive; the objects above have one there.
fn rot_all(drive: &MemoryDrive, change: impl Fn(&mut Vec<u8>)) -> usize {
    let names: Vec<ShardName> = drive.shards();
    names.into_iter().filter(|name| drive.rot(*name, &change)).count()
}
