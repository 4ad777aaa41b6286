//! Crashes and faults against the simulated file system, and the verifier's opinion of what is left.

use std::io;

use super::{heads::Notes, *};
use crate::{
    Class, Ed25519Signer, EventId, Signer, State, VerifyOptions,
    segment::BLOCK_BYTES,
    sim::{Fault, Op, SECTOR_BYTES, SimFiles, Unsynced},
    verify::verify,
};

const ORIGIN: &str = "audit.example.com/node1";

/// A clock that the test owns: one millisecond per look.
#[derive(Debug, Default)]
struct TestClock(std::sync::atomic::AtomicU64);

impl Clock for TestClock {
    fn now_us(&self) -> u64 {
        1_767_225_600_000_000 + self.0.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed)
    }
}

fn signer(seed: u8) -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[seed; 32]))
}

fn options() -> Options {
    Options {
        origin: ORIGIN.to_owned(),
        preallocate_bytes: 16 << 10,
        // Nothing is signed on its own but the first head of a start.
        sign_interval: Duration::from_secs(3600),
        ..Options::default()
    }
}

fn open(files: &SimFiles) -> Result<(Log, Recovery), OpenError> {
    Log::open(Arc::new(files.clone()), signer(7), Arc::new(TestClock::default()), options())
}

fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let mut record =
        Record::new(Class::Data, "s3:PutObject", EventId::new(1_767_225_600_000, random));
    record.request = Some(format!("request-{i}"));
    record
}

fn append(log: &Log, i: u64) -> Result<Committed, LogError> {
    log.append(&record(i))?.wait()
}

/// Opens, and waits until the head of the start is published, so that later heads are not.
fn open_signed(files: &SimFiles) -> Log {
    let (log, _) = open(files).unwrap();
    while !files.paths().iter().any(|path| path == "checkpoint")
        || head_size(files) < log.durable_size()
    {
        std::thread::yield_now();
    }
    log
}

fn head_size(files: &SimFiles) -> u64 {
    let note = String::from_utf8(files.read("checkpoint").unwrap()).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn segment_path(files: &SimFiles) -> String {
    files.paths().into_iter().rfind(|path| path.ends_with(".jsonl")).unwrap()
}

fn report(files: &SimFiles) -> crate::Report {
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let vkey = signer(7).vkey();
    verify(
        dir.path(),
        &VerifyOptions { vkey, last_seen: None, strict: false, progress: &|_, _| {} },
    )
    .unwrap()
}

#[test]
fn a_write_torn_at_any_sector_is_discarded_and_a_whole_one_kept() {
    let files = SimFiles::default();
    let log = open_signed(&files);
    append(&log, 1).unwrap();
    let before = files.read(&segment_path(&files)).unwrap();
    let records: Vec<Record> = (2..40).map(record).collect();
    log.append_all(&records).unwrap().wait().unwrap();
    let size = log.durable_size();
    let crashed = files.snapshot();
    let path = segment_path(&crashed);
    let whole = crashed.read(&path).unwrap();
    let start =
        whole.iter().zip(&before).position(|(a, b)| a != b).unwrap() / BLOCK_BYTES * BLOCK_BYTES;
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(used - start >= 2 * BLOCK_BYTES, "the batch should span blocks");
    for cut in (start..=used).step_by(SECTOR_BYTES).chain([used]) {
        let torn = crashed.snapshot();
        torn.edit(&path, |bytes| bytes[cut..].fill(0));
        // A verifier that comes before the restart calls it unfinished, not damaged.
        assert_eq!(report(&torn).state, State::TailUnproven, "cut at {cut}\n{}", report(&torn));
        let (log, recovery) = open(&torn).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let expected = if cut == used { size } else { size - 38 };
        assert_eq!(recovery.size, expected, "cut at {cut}");
        assert_eq!(recovery.discarded_bytes > 0, cut != used && cut != start, "cut at {cut}");
        append(&log, 99).unwrap();
        log.close().unwrap();
        let after = report(&torn);
        assert_eq!(after.state, State::TailUnproven, "cut at {cut}\n{after}");
        let own = 3 + u64::from(recovery.discarded_bytes > 0);
        assert_eq!(after.size, expected + own, "cut at {cut}");
    }
    log.close().unwrap();
}

#[test]
fn a_head_that_knows_more_than_the_segments_refuses_the_start() {
    let files = SimFiles::default();
    let log = open_signed(&files);
    append(&log, 1).unwrap();
    log.close().unwrap();
    let size = log.durable_size();
    let path = segment_path(&files);
    let cut = files.snapshot();
    cut.edit(&path, |bytes| bytes.truncate(bytes.len() - BLOCK_BYTES));
    let untouched: Vec<_> = cut.paths().iter().map(|p| cut.read(p).unwrap()).collect();
    match open(&cut) {
        Err(OpenError::Truncated { local, known }) => assert_eq!((local, known), (size - 1, size)),
        other => panic!("{other:?}"),
    }
    let now: Vec<_> = cut.paths().iter().map(|p| cut.read(p).unwrap()).collect();
    assert!(untouched == now, "a refused start writes nothing");
    assert_eq!(report(&cut).state, State::Truncated);
    // A checkpoint that was put back does not help, because the list of heads knows.
    cut.edit("checkpoint", |note| *note = b"old".to_vec());
    assert!(matches!(open(&cut), Err(OpenError::Key { .. })));
}

#[test]
fn damage_in_the_middle_is_no_torn_tail() {
    let files = SimFiles::default();
    let log = open_signed(&files);
    for i in 0..3 {
        append(&log, i).unwrap();
    }
    let crashed = files.snapshot();
    crashed.edit(&segment_path(&files), |bytes| bytes[BLOCK_BYTES + 20] ^= 1);
    assert!(matches!(open(&crashed), Err(OpenError::Damaged(_))), "{:?}", open(&crashed));
    assert_eq!(report(&crashed).state, State::Modified);
}

#[test]
fn another_log_key_or_format_is_refused() {
    let files = SimFiles::default();
    let log = open_signed(&files);
    assert!(matches!(open(&files), Err(OpenError::Locked)));
    log.close().unwrap();
    drop(log);
    let again = |seed, origin: &str| {
        let signer = Arc::new(Ed25519Signer::from_seed(origin, &[seed; 32]));
        let options = Options { origin: origin.to_owned(), ..options() };
        Log::open(Arc::new(files.clone()), signer, Arc::new(TestClock::default()), options)
    };
    assert!(matches!(again(8, ORIGIN), Err(OpenError::Key { .. })));
    assert!(matches!(again(7, "other.example.com"), Err(OpenError::Origin { .. })));
    files.edit("log.json", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"format\":1", "\"format\":2").into_bytes();
    });
    assert!(matches!(again(7, ORIGIN), Err(OpenError::Format { found: 2 })));
}

struct Case {
    name: &'static str,
    fault: Fault,
    /// Whether the record in flight may be found after the restart.
    may_persist: bool,
}

#[test]
fn every_fault_poisons_and_loses_nothing_acknowledged() {
    let seg = |op, after, error, kept| Fault { op, path: "seg/", after, error, kept };
    let (eio, full) = (io::ErrorKind::Other, io::ErrorKind::StorageFull);
    for case in [
        Case { name: "write fails", fault: seg(Op::Write, 0, eio, 0), may_persist: false },
        Case { name: "disk full", fault: seg(Op::Write, 0, full, 0), may_persist: false },
        Case { name: "short write", fault: seg(Op::Write, 0, eio, 700), may_persist: false },
        Case { name: "sync fails, data lost", fault: seg(Op::Sync, 0, eio, 0), may_persist: false },
        Case { name: "sync fails, data kept", fault: seg(Op::Sync, 0, eio, 1), may_persist: true },
    ] {
        let files = SimFiles::default();
        let log = open_signed(&files);
        let acknowledged = append(&log, 1).unwrap();
        files.fail(case.fault);
        let failed = append(&log, 2);
        assert!(matches!(failed, Err(LogError::Poisoned { .. })), "{}: {failed:?}", case.name);
        assert!(log.is_poisoned(), "{}", case.name);
        assert!(matches!(append(&log, 3), Err(LogError::Poisoned { .. })), "{}", case.name);
        assert!(matches!(log.put_blob(b"x"), Err(BlobError::Log(_))), "{}", case.name);
        assert!(matches!(log.close(), Err(LogError::Poisoned { .. })), "{}", case.name);
        drop(log);
        for crashed in [files.snapshot(), files.after_power_loss(0), files.after_power_loss(1)] {
            let (log, recovery) = open(&crashed).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            let kept = recovery.size - acknowledged.end;
            assert!(kept == 0 || kept == 1 && case.may_persist, "{}: {recovery:?}", case.name);
            log.close().unwrap();
            assert_eq!(report(&crashed).state, State::TailUnproven, "{}", case.name);
        }
    }
}

#[test]
fn a_fault_of_the_signer_poisons_too() {
    for fault in [
        Fault { op: Op::Sync, path: "heads/", after: 0, error: io::ErrorKind::Other, kept: 0 },
        Fault { op: Op::Write, path: "heads/", after: 0, error: io::ErrorKind::Other, kept: 100 },
        Fault {
            op: Op::Replace,
            path: "checkpoint",
            after: 0,
            error: io::ErrorKind::Other,
            kept: 0,
        },
    ] {
        let files = SimFiles::default();
        let log = open_signed(&files);
        append(&log, 1).unwrap();
        files.fail(fault);
        assert!(matches!(log.close(), Err(LogError::Poisoned { .. })), "{fault:?}");
        drop(log);
        let crashed = files.after_power_loss(2);
        assert_eq!(report(&crashed).state, State::TailUnproven, "{fault:?} {}", report(&crashed));
        open(&crashed).unwrap().0.close().unwrap();
        assert_eq!(report(&crashed).state, State::TailUnproven, "{fault:?} {}", report(&crashed));
    }
}

#[test]
fn a_fault_while_rotating_poisons_and_the_restart_goes_on() {
    for (op, path, after) in
        [(Op::Truncate, "seg/", 0), (Op::Replace, "seg/", 0), (Op::Create, "seg/", 0)]
    {
        for kept in [0, 1] {
            let files = SimFiles::default();
            let small = Options { segment_bytes_max: 1, ..options() };
            let (log, _) = Log::open(
                Arc::new(files.clone()),
                signer(7),
                Arc::new(TestClock::default()),
                small,
            )
            .unwrap();
            append(&log, 1).unwrap();
            // The start and the record fill a segment each; both are sealed, and each seal is a record.
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            let packed = || files.paths().iter().filter(|path| path.ends_with(".zst")).count();
            let written = || files.paths().iter().filter(|path| path.ends_with(".jsonl")).count();
            while (log.durable_size(), packed(), written()) != (4, 2, 2) {
                assert!(std::time::Instant::now() < deadline, "{}", log.durable_size());
                std::thread::yield_now();
            }
            files.fail(Fault { op, path, after, error: io::ErrorKind::StorageFull, kept });
            assert!(append(&log, 2).is_err(), "{op:?}");
            drop(log);
            let crashed = files.after_power_loss(0);
            let (log, recovery) = open(&crashed).unwrap_or_else(|e| panic!("{op:?} {kept}: {e}"));
            assert_eq!(recovery.size, 4, "{op:?} {kept}");
            append(&log, 3).unwrap();
            log.close().unwrap();
            assert_eq!(
                report(&crashed).state,
                State::TailUnproven,
                "{op:?} {kept} {}",
                report(&crashed)
            );
        }
    }
}

#[test]
fn a_full_queue_refuses_and_nothing_was_queued() {
    let files = SimFiles::default();
    let options = Options { queue_bytes_max: 100, ..options() };
    let (log, _) =
        Log::open(Arc::new(files), signer(7), Arc::new(TestClock::default()), options).unwrap();
    let size = log.durable_size();
    assert!(matches!(log.append(&record(1)), Err(LogError::Full { queued_bytes: 0 })));
    assert_eq!(log.durable_size(), size);
    log.close().unwrap();
}

/// Such a batch had 4097 records when a heartbeat was due, and nobody could read the log from there on.
#[test]
fn a_full_batch_gets_no_record_of_the_logs_own() {
    let files = SimFiles::default();
    // Always due.
    let options = Options { heartbeat: Duration::from_nanos(1), ..options() };
    let (log, _) =
        Log::open(Arc::new(files.clone()), signer(7), Arc::new(TestClock::default()), options)
            .unwrap();
    let full: Vec<Record> = (0..BATCH_RECORDS_MAX as u64).map(record).collect();
    let committed = log.append_all(&full).unwrap().wait().unwrap();
    log.close().unwrap();
    let report = report(&files);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.records >= committed.end);
    open(&files).unwrap();
}

#[test]
fn a_clock_that_steps_back_is_recorded_and_time_goes_on() {
    #[derive(Debug)]
    struct Back(std::sync::atomic::AtomicU64);
    impl Clock for Back {
        fn now_us(&self) -> u64 {
            self.0.fetch_sub(5_000_000, std::sync::atomic::Ordering::Relaxed)
        }
    }
    let files = SimFiles::default();
    let clock = Arc::new(Back(1_767_225_600_000_000.into()));
    let (log, _) = Log::open(Arc::new(files.clone()), signer(7), clock, options()).unwrap();
    for i in 0..5 {
        append(&log, i).unwrap();
    }
    log.close().unwrap();
    let text = String::from_utf8(files.read(&segment_path(&files)).unwrap()).unwrap();
    assert_eq!(text.matches("audit:clock").count(), 1, "{text}");
    assert_eq!(report(&files).state, State::TailUnproven, "{}", report(&files));
}

/// What a power loss may keep of so many sectors: every set if they are few, some sets if not.
fn sets(sectors: usize, seed: u64) -> Vec<u64> {
    match sectors {
        0..=4 => (0..1 << sectors).collect(),
        _ => (1..=8).map(|i| (seed * 8 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
    }
}

/// The life of a log with rotations, cut off after every change and inside every write: at every sector, and with any
/// sectors of it there and the others not.
#[test]
fn power_may_fail_at_any_moment() {
    let files = SimFiles::recording();
    let options =
        Options { segment_bytes_max: 16 << 10, sign_interval: Duration::ZERO, ..options() };
    let open = |files: &SimFiles| {
        let clock = Arc::new(TestClock::default());
        Log::open(Arc::new(files.clone()), signer(7), clock, options.clone())
    };
    let (log, _) = open(&files).unwrap();
    // After this many changes, so many records were acknowledged.
    let mut acknowledged = vec![(files.changes(), log.durable_size())];
    for i in 0..8 {
        let records: Vec<Record> = (i * 10..i * 10 + 9).map(record).collect();
        let committed = log.append_all(&records).unwrap().wait().unwrap();
        acknowledged.push((files.changes(), committed.end));
    }
    log.close().unwrap();
    assert!(files.paths().iter().filter(|path| path.ends_with(".jsonl")).count() >= 3);
    let (mut cases, mut torn_heads) = (0, 0);
    for change in 0..files.changes() {
        let promised =
            acknowledged.iter().rfind(|(after, _)| *after <= change).map_or(0, |(_, size)| *size);
        let bytes = files.change_bytes(change);
        let cuts = (0..=bytes).step_by(SECTOR_BYTES);
        let cuts = cuts.flat_map(|cut| [(cut, Unsynced::Kept), (cut, Unsynced::Lost)]);
        let sets = sets(files.unsynced(change + 1), change as u64);
        let sets = sets.into_iter().map(|set| (bytes, Unsynced::Some(set)));
        for (cut, unsynced) in cuts.chain(sets) {
            let crashed = files.crash(change, cut, unsynced);
            let place = format!("change {change} byte {cut} {unsynced:?}");
            // A verifier that comes before the restart calls it unfinished, not damaged.
            let before = report(&crashed);
            assert!(before.findings.is_empty() || change == 0, "{place}: {before}");
            let (log, recovery) = open(&crashed).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(recovery.size >= promised, "{place}: {recovery:?} of {promised}");
            log.close().unwrap();
            let after = report(&crashed);
            assert_eq!(after.state, State::TailUnproven, "{place}: {after}");
            torn_heads += usize::from(recovered_heads(&crashed));
            cases += 1;
        }
    }
    assert!(cases > 400 && torn_heads > 2, "{cases} {torn_heads}");
}

/// Whether a start cut a torn head off, and said so.
fn recovered_heads(files: &SimFiles) -> bool {
    let segments = files.paths().into_iter().filter(|path| path.ends_with(".jsonl"));
    segments.map(|path| String::from_utf8(files.read(&path).unwrap()).unwrap()).any(|text| {
        text.lines().any(|line| line.contains("audit:recovery") && line.contains("heads/"))
    })
}

/// The signer died in the middle of a head, and the disk kept the end of it only.
#[test]
fn a_torn_head_is_set_aside_unless_the_checkpoint_names_it() {
    let files = SimFiles::default();
    let log = open_signed(&files);
    append(&log, 1).unwrap();
    log.close().unwrap();
    let list = files.paths().into_iter().find(|path| path.starts_with("heads/")).unwrap();
    let bytes = files.read(&list).unwrap();
    let last = Notes::new(&bytes).last().map(|(at, _)| at).unwrap();
    let damaged = |edit: &dyn Fn(&mut Vec<u8>)| {
        let damaged = files.snapshot();
        damaged.edit(&list, |bytes| edit(bytes));
        damaged
    };
    let hole = |bytes: &mut Vec<u8>| bytes[last..last + 60].fill(0);
    // The checkpoint is this head, so it was durable.
    let refused = damaged(&hole);
    assert!(matches!(open(&refused), Err(OpenError::Damaged(_))), "{:?}", open(&refused));
    assert!(!report(&refused).findings.is_empty());
    // As if the crash had come before the checkpoint was written.
    let before = Notes::new(&bytes).nth(Notes::new(&bytes).count() - 2).unwrap().1.to_vec();
    let torn = damaged(&hole);
    torn.edit("checkpoint", |note| note.clone_from(&before));
    assert!(report(&torn).findings.is_empty(), "{}", report(&torn));
    let (log, recovery) = open(&torn).unwrap();
    assert_eq!(recovery.discarded_bytes as usize, bytes.len() - last);
    assert!(!recovery.clean);
    log.close().unwrap();
    assert!(recovered_heads(&torn));
    assert!(torn.paths().iter().any(|path| path.starts_with("quarantine/")));
    assert_eq!(report(&torn).state, State::TailUnproven, "{}", report(&torn));
    // A good head after the hole: no crash did that.
    let middle = damaged(&|bytes| {
        let copy = bytes.clone();
        hole(bytes);
        bytes.extend_from_slice(&copy[last..]);
    });
    assert!(matches!(open(&middle), Err(OpenError::Key { .. })), "{:?}", open(&middle));
    assert_eq!(report(&middle).state, State::Modified);
}

#[test]
fn a_segment_that_is_old_enough_is_followed_by_a_new_one() {
    let files = SimFiles::default();
    let clock = Arc::new(TestClock::default());
    let options = Options { segment_age_max: Duration::from_secs(60), ..options() };
    let (log, _) = Log::open(Arc::new(files.clone()), signer(7), clock.clone(), options).unwrap();
    for i in 0..5 {
        append(&log, i).unwrap();
    }
    let segments = || files.paths().iter().filter(|path| path.ends_with(".jsonl")).count();
    assert_eq!(segments(), 1);
    clock.0.fetch_add(60_000_000, std::sync::atomic::Ordering::Relaxed);
    append(&log, 6).unwrap();
    append(&log, 7).unwrap();
    assert_eq!(segments(), 2);
    log.close().unwrap();
    assert_eq!(report(&files).state, State::TailUnproven);
}
