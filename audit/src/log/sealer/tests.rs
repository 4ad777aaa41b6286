//! The life of a log with seals, stopped at every point of it.

use std::{path::Path, time::Instant};

use super::*;
use crate::{
    Ed25519Signer, Log, Options, Report, Signer, State, SystemClock, VerifyOptions,
    durable::Files,
    sim::{Fault, Op, SimFiles, Unsynced},
    verify,
};

const ORIGIN: &str = "audit.example.com/node1";

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn open(files: &SimFiles) -> Log {
    open_as(files, Finished::Packed)
}

fn open_as(files: &SimFiles, finished: Finished) -> Log {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 12 << 10,
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        finished,
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

/// The lines of every segment, in whichever form it is.
fn segments(files: &SimFiles) -> Vec<Vec<u8>> {
    let names = segment::names(&|path| files.list(path)).unwrap();
    let read = |name: &Name| {
        // It may be packed while this looks at it.
        let written = files.read(&name.path_as(Form::Written));
        written.unwrap_or_else(|_| {
            let packed = files.read(&name.path_as(Form::Packed)).unwrap();
            zstd::stream::decode_all(packed.as_slice()).unwrap()
        })
    };
    names.iter().map(read).collect()
}

/// Seals on disk, seals that records name, and finished segments that hold more than such records.
fn count(files: &SimFiles) -> (usize, usize, usize) {
    let segments = segments(files);
    let paths = files.paths();
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

/// Segments that are there in the packed form and in no other.
fn packed(files: &SimFiles) -> usize {
    let paths = files.paths();
    let alone = |path: &&String| {
        path.strip_suffix(".zst").is_some_and(|written| !paths.iter().any(|path| path == written))
    };
    paths.iter().filter(alone).count()
}

fn wait_until_sealed(files: &SimFiles) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (sealed, recorded, finished) = count(files);
        if sealed >= finished && recorded == sealed && packed(files) == sealed {
            return;
        }
        assert!(Instant::now() < deadline, "{sealed} sealed, {recorded} recorded of {finished}");
        std::thread::yield_now();
    }
}

fn check(files: &SimFiles, dir: &Path) -> Report {
    files.dump(dir).unwrap();
    let vkey = Signer::vkey(signer().as_ref());
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
fn what_cannot_be_read_for_a_moment_is_sealed_later() {
    let files = SimFiles::default();
    let log = open(&files);
    for (path, after) in [("seg/", 0), ("seg/", 1)] {
        files.fail(Fault { op: Op::Stream, path, after, error: io::ErrorKind::Other, kept: 0 });
    }
    append(&log, 12);
    wait_until_sealed(&files);
    assert_eq!(files.faults_left(), 0);
    log.close().unwrap();
    let (sealed, _, finished) = count(&files);
    assert!(finished >= 3 && sealed == finished, "{:?}", (sealed, finished));
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
    // Segments follow it, and a head is signed over them: a start looks at none before the last but one.
    let log = open_as(&files, Finished::Left);
    append(&log, 8);
    log.close().unwrap();
    drop(log);
    let paths = files.paths();
    let newest = paths.iter().rfind(|path| path.ends_with(".seal")).unwrap();
    // As if the crash had come before the newest seal, and a bit had rotted meanwhile.
    let kept = files.snapshot();
    kept.take_away(newest);
    kept.edit(&newest.replace(".seal", ".jsonl.zst"), |bytes| bytes[20] ^= 1);
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

/// Every state that a crash or a bad disk can leave of a sealed segment: the right records are what stays.
#[test]
fn of_two_forms_the_one_that_was_sealed_stays() {
    let written = SimFiles::default();
    let (log, _) = Log::open(
        Arc::new(written.clone()),
        signer(),
        Arc::new(SystemClock),
        Options {
            origin: ORIGIN.to_owned(),
            segment_bytes_max: 12 << 10,
            finished: Finished::Sealed,
            ..Options::default()
        },
    )
    .unwrap();
    append(&log, 8);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !written.paths().iter().any(|path| path.ends_with(".seal")) {
        assert!(Instant::now() < deadline, "nothing was sealed");
        std::thread::yield_now();
    }
    log.close().unwrap();
    drop(log);
    let done = written.snapshot();
    open(&done).close().unwrap();
    let log = open(&done);
    wait_until_sealed(&done);
    log.close().unwrap();
    let path = done.paths().into_iter().find(|path| path.ends_with(".zst")).unwrap();
    let good = done.read(&path).unwrap();
    let mut bad = good.clone();
    bad[10] ^= 1;
    let other = done.paths().into_iter().rfind(|path| path.ends_with(".zst")).unwrap();
    let swapped = done.read(&other).unwrap();
    for (name, bytes) in
        [("good", &good), ("rotten", &bad), ("torn", &good[..100].to_vec()), ("another", &swapped)]
    {
        let both = written.snapshot();
        both.replace(&path, bytes).unwrap();
        let log = open(&both);
        append(&log, 1);
        wait_until_sealed(&both);
        log.close().unwrap();
        assert_eq!(both.read(&path).unwrap(), good, "{name}");
        let dir = tempfile::tempdir().unwrap();
        let report = check(&both, dir.path());
        assert_eq!(report.state, State::TailUnproven, "{name}: {report}");
        let aside = both.paths().iter().any(|path| path.starts_with("quarantine/"));
        assert_eq!(aside, name != "good" && *bytes != good, "{name}");
    }
}

#[test]
fn a_seal_that_cannot_be_written_stops_the_log() {
    let files = SimFiles::default();
    let log = open(&files);
    // The first replacement below seg/ is the file beside the next segment, the second one the seal.
    let error = io::ErrorKind::Other;
    files.fail(Fault { op: Op::Replace, path: "seg/", after: 1, error, kept: 0 });
    let deadline = Instant::now() + Duration::from_secs(30);
    let record = Record::new(Class::Data, "s3:PutObject", EventId::new(1, [1; 10]));
    while log.append(&record).is_ok_and(|pending| pending.wait().is_ok()) {
        assert!(Instant::now() < deadline, "the log goes on");
    }
    assert!(log.is_poisoned());
}
