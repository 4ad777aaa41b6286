//! Segments as they lie in their files: written, packed, damaged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use audit::*;

mod damage;
mod packed;

const ORIGIN: &str = "audit.example.com/node1";

fn open(dir: &Path, finished: Finished) -> Log {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 80 << 10,
        finished,
        ..Options::default()
    };
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    Log::open(Arc::new(LocalFiles::new(dir)), signer, Arc::new(SystemClock), options).unwrap().0
}

fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let mut record =
        Record::new(Class::Data, "s3:GetObject", EventId::new(1_767_225_600_000 + i, random));
    record.request = Some(format!("r{i}"));
    record.resources = vec![Resource {
        bucket: Some(format!("b{}", i % 7)),
        key: Some(format!("k/{i}")),
        ..Default::default()
    }];
    record
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A log of several segments, closed; and how many records it has.
fn written(dir: &Path) -> u64 {
    let log = open(dir, Finished::Sealed);
    for batch in 0..30 {
        let records: Vec<Record> = (0..50).map(|i| record(batch * 50 + i)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
    }
    wait("no seals", || files(&dir.join("seg"), ".seal").len() >= 3);
    log.close().unwrap();
    log.durable_size()
}

/// Opens the log once, so that its finished segments are packed.
fn pack(dir: &Path) {
    let log = open(dir, Finished::Packed);
    let seals = || files(&dir.join("seg"), ".seal").len();
    let packed = || files(&dir.join("seg"), ".zst").len();
    wait("not packed", || packed() == seals() && files(&dir.join("seg"), ".jsonl").len() <= 2);
    log.close().unwrap();
    assert!(packed() >= 3);
}
