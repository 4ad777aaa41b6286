//! The life of a log with seals, stopped at every point of it.

use std::{path::Path, time::Instant};

use super::*;
use crate::{
    Ed25519Signer, Log, Options, Report, State, SystemClock, VerifyOptions,
    durable::Files,
    sim::{Fault, Op, SimFiles, Unsynced},
    verify,
};

const ORIGIN: &str = "audit.example.com/node1";

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn open(files: &SimFiles) -> Log {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 12 << 10,
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        ..Options::default()
    };
    Log::open(Arc::new(files.clone()), signer(), Arc::new(SystemClock), options).unwrap().0
}

fn append(log: &Log, batches: u64) {
    for i in 0..batches {
        let record = Record::new(Class::Data, "s3:PutObject", EventId::new(i, [i as u8; 10]));
        log.append_all(&vec![record; 9]).unwrap().wait().unwrap();
    }
}

/// Seals on disk, seals that records name, and finished segments that hold more than such records.
fn count(files: &SimFiles) -> (usize, usize, usize) {
    let read = |path: &String| files.read(path).unwrap_or_default();
    let paths = files.paths();
    let segments: Vec<_> = paths.iter().filter(|path| path.ends_with(".jsonl")).map(read).collect();
    let is_seal = |line: &[u8]| line.starts_with(SEAL_RECORD);
    let lines = segments.iter().flat_map(|bytes| Leaves::new(bytes).map(|(_, line)| line));
    let mut recorded: Vec<_> =
        lines.filter(|line| is_seal(line)).flat_map(|l| leaf_values(l, "params.first")).collect();
    recorded.sort();
    recorded.dedup();
    let other = |bytes: &&Vec<u8>| {
        Leaves::new(bytes).any(|(_, l)| !is_seal(l) && !l.starts_with(segment::CONTROL_PREFIX))
    };
    let finished =
        segments.split_last().map_or(0, |(_, before)| before.iter().filter(other).count());
    (paths.iter().filter(|path| path.ends_with(".seal")).count(), recorded.len(), finished)
}

fn leaf_values(leaf: &[u8], field: &str) -> Vec<String> {
    crate::leaf::values(leaf, field)
}

fn wait_until_sealed(files: &SimFiles) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (sealed, recorded, finished) = count(files);
        if sealed >= finished && recorded == sealed {
            return;
        }
        assert!(Instant::now() < deadline, "{sealed} sealed, {recorded} recorded of {finished}");
        std::thread::yield_now();
    }
}

fn check(files: &SimFiles, dir: &Path) -> Report {
    files.dump(dir).unwrap();
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: true, progress: &|_, _| {} };
    verify(dir, &options).unwrap()
}

#[test]
fn every_finished_segment_is_sealed_and_named() {
    let files = SimFiles::default();
    let log = open(&files);
    append(&log, 12);
    wait_until_sealed(&files);
    log.close().unwrap();
    let (sealed, recorded, finished) = count(&files);
    assert!(finished >= 3 && sealed == recorded, "{:?}", (sealed, recorded, finished));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        check(&files, dir.path()).state,
        State::TailUnproven,
        "{}",
        check(&files, dir.path())
    );
    // Each names the one before it, and begins where that ends.
    let (mut prev, mut end) = (None, 0);
    for path in files.paths().iter().filter(|path| path.ends_with(".seal")) {
        let note = files.read(path).unwrap();
        let seal = Seal::peek(&note).unwrap();
        assert_eq!((seal.prev, seal.first), (prev, end), "{path}");
        (prev, end) = (Some(seal::digest(&note)), seal.end);
    }
}

#[test]
fn a_crash_at_any_moment_leaves_nothing_unsealed() {
    let files = SimFiles::recording();
    let log = open(&files);
    append(&log, 8);
    wait_until_sealed(&files);
    log.close().unwrap();
    for change in 0..files.changes() {
        for unsynced in [Unsynced::Kept, Unsynced::Lost] {
            let crashed = files.crash(change, 0, unsynced);
            let log = open(&crashed);
            append(&log, 1);
            wait_until_sealed(&crashed);
            log.close().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let report = check(&crashed, dir.path());
            assert_eq!(report.state, State::TailUnproven, "after change {change}: {report}");
        }
    }
}

/// Full with every batch, a segment is followed by another for each record; that must come to an end.
#[test]
fn sealing_does_not_feed_itself() {
    let files = SimFiles::default();
    let options = Options { origin: ORIGIN.to_owned(), segment_bytes_max: 1, ..Options::default() };
    let (log, _) =
        Log::open(Arc::new(files.clone()), signer(), Arc::new(SystemClock), options).unwrap();
    append(&log, 3);
    wait_until_sealed(&files);
    // Four batches in four segments, of which the last is finished by the first record of a seal.
    assert_eq!(count(&files).2, 4);
    assert!(log.durable_size() <= 1 + 3 * 9 + 2 * 4, "{}", log.durable_size());
    log.close().unwrap();
}

#[test]
fn a_damaged_segment_is_not_sealed_and_the_log_goes_on() {
    let files = SimFiles::default();
    let log = open(&files);
    append(&log, 8);
    wait_until_sealed(&files);
    log.close().unwrap();
    drop(log);
    let paths = files.paths();
    let newest = paths.iter().rfind(|path| path.ends_with(".seal")).unwrap();
    // As if the crash had come before the newest seal, and a bit had rotted meanwhile.
    let segment = newest.replace(".seal", ".jsonl");
    let kept = files.snapshot();
    kept.take_away(newest);
    kept.edit(&segment, |bytes| bytes[20] ^= 1);
    let log = open(&kept);
    append(&log, 1);
    let deadline = Instant::now() + Duration::from_secs(30);
    let said = |files: &SimFiles| {
        let active = files.paths().into_iter().rfind(|path| path.ends_with(".jsonl")).unwrap();
        String::from_utf8(files.read(&active).unwrap()).unwrap().contains("audit:unsealed")
    };
    while !said(&kept) {
        assert!(Instant::now() < deadline, "nothing was recorded");
        std::thread::yield_now();
    }
    append(&log, 1);
    log.close().unwrap();
    assert!(!kept.paths().contains(newest));
}

#[test]
fn a_seal_that_cannot_be_written_stops_the_log() {
    let files = SimFiles::default();
    let log = open(&files);
    // The first replacement below seg/ is the file beside the next segment, the second one the seal.
    let error = io::ErrorKind::StorageFull;
    files.fail(Fault { op: Op::Replace, path: "seg/", after: 1, error, kept: 0 });
    let deadline = Instant::now() + Duration::from_secs(30);
    let record = Record::new(Class::Data, "s3:PutObject", EventId::new(1, [1; 10]));
    while log.append(&record).is_ok_and(|pending| pending.wait().is_ok()) {
        assert!(Instant::now() < deadline, "the log goes on");
    }
    assert!(log.is_poisoned());
}
