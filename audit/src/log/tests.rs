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

/// One millisecond per look.
fn clock() -> Arc<HandClock> {
    Arc::new(HandClock::at(1_767_225_600_000_000).stepping(1_000))
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
    Log::open(Arc::new(files.clone()), signer(7), clock(), options())
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
        Log::open(Arc::new(files.clone()), signer, clock(), options)
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
        Case { name: "sync finds no room", fault: seg(Op::Sync, 0, full, 0), may_persist: false },
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
            let (log, _) = Log::open(Arc::new(files.clone()), signer(7), clock(), small).unwrap();
            append(&log, 1).unwrap();
            // The start and the record fill a segment each; both are sealed, and each seal is a record.
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            let packed = || files.paths().iter().filter(|path| path.ends_with(".zst")).count();
            let written = || files.paths().iter().filter(|path| path.ends_with(".jsonl")).count();
            while (log.durable_size(), packed(), written()) != (4, 2, 2) {
                assert!(std::time::Instant::now() < deadline, "{}", log.durable_size());
                std::thread::yield_now();
            }
            files.fail(Fault { op, path, after, error: io::ErrorKind::Other, kept });
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

/// The next segment is begun again once there is room for it; until then there is the old one for the log's own records.
#[test]
fn a_rotation_that_finds_no_room_is_taken_back() {
    for op in [Op::Replace, Op::Create] {
        for kept in [0, 1] {
            let files = SimFiles::default();
            let options = Options {
                segment_bytes_max: 1,
                finished: Finished::Left,
                look_interval: Duration::ZERO,
                ..options()
            };
            let open = |options| {
                let clock = clock();
                Log::open(Arc::new(files.clone()), signer(7), clock, options).unwrap().0
            };
            let log = open(options.clone());
            let acknowledged = append(&log, 1).unwrap();
            let error = io::ErrorKind::StorageFull;
            files.fail(Fault { op, path: "seg/", after: 0, error, kept });
            let failed = append(&log, 2);
            assert!(matches!(failed, Err(LogError::NoSpace { .. })), "{op:?}: {failed:?}");
            let crashed = files.snapshot();
            assert!(append_when_there_is_room(&log, 3).first > acknowledged.first);
            log.close().unwrap();
            let records: u64 = log.durable_size();
            assert_eq!(report(&files).records, records, "{op:?} {kept} {}", report(&files));
            assert_eq!(report(&files).state, State::TailUnproven, "{op:?} {kept}");
            survives(&crashed, &[(acknowledged.first, 1)], &format!("{op:?} {kept}"));
        }
    }
}

/// A disk that fills up: looked at before each batch.
fn on_small_disk(files: &SimFiles) -> Log {
    let options = Options {
        free_bytes_min: 64 << 10,
        look_interval: Duration::ZERO,
        sign_interval: Duration::ZERO,
        preallocate_bytes: 512 << 10,
        ..options()
    };
    let clock = clock();
    Log::open(Arc::new(files.clone()), signer(7), clock, options).unwrap().0
}

fn actions(files: &SimFiles, action: &str) -> usize {
    let text = String::from_utf8(files.read(&segment_path(files)).unwrap()).unwrap();
    text.matches(&format!("\"action\":\"{action}\"")).count()
}

/// Asks until the log takes records again.
fn append_when_there_is_room(log: &Log, i: u64) -> Committed {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match append(log, i) {
            Ok(committed) => return committed,
            Err(LogError::NoSpace { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(std::time::Instant::now() < deadline, "the log did not come back");
    }
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_records_and_loses_none() {
    let files = SimFiles::default();
    let log = on_small_disk(&files);
    append(&log, 1).unwrap();
    files.set_room(files.used() + (64 << 10) - 1);
    assert!(matches!(append(&log, 2), Err(LogError::NoSpace { .. })));
    assert!(log.is_full() && !log.is_poisoned());
    assert!(matches!(append(&log, 3), Err(LogError::NoSpace { .. })));
    assert!(matches!(log.put_blob(b"x"), Err(BlobError::Log(LogError::NoSpace { .. }))));
    // Just enough is not enough to begin again.
    files.set_room(files.used() + (64 << 10) + 4096);
    assert!(matches!(append(&log, 4), Err(LogError::NoSpace { .. })));
    files.set_room(usize::MAX);
    append_when_there_is_room(&log, 5);
    let size = log.durable_size();
    log.close().unwrap();
    assert_eq!((actions(&files, "audit:full"), actions(&files, "audit:room")), (1, 1));
    // Start, 1, full, room, 5, stop; nothing that was refused.
    assert_eq!((size, log.durable_size()), (5, 6));
    assert_eq!(report(&files).state, State::TailUnproven, "{}", report(&files));
}

/// Somebody else takes the last byte between two looks: found by a write, said in what was kept for it, and no reason to
/// stop for good.
#[test]
fn a_disk_that_is_full_to_the_last_byte_is_survived() {
    for kept in [0, 100, 5000] {
        let files = SimFiles::default();
        let log = on_small_disk(&files);
        append(&log, 1).unwrap();
        let fault = Fault {
            op: Op::Write,
            path: "seg/",
            after: 0,
            error: io::ErrorKind::StorageFull,
            kept,
        };
        files.fail(fault);
        let failed = append(&log, 2);
        assert!(matches!(failed, Err(LogError::NoSpace { .. })), "{kept}: {failed:?}");
        assert!(!log.is_poisoned(), "{kept}");
        append_when_there_is_room(&log, 3);
        for crashed in [files.snapshot(), files.after_power_loss(0), files.after_power_loss(3)] {
            let (log, recovery) = open(&crashed).unwrap_or_else(|e| panic!("{kept}: {e}"));
            assert!(recovery.size >= 4, "{kept}: {recovery:?}");
            drop(log);
        }
        log.close().unwrap();
        assert_eq!(actions(&files, "audit:full"), 1, "{kept}");
        assert_eq!(report(&files).state, State::TailUnproven, "{kept} {}", report(&files));
    }
}

/// Nothing at all may be written: what was zeroed ahead holds the last words.
#[test]
fn a_full_log_can_still_stop() {
    let files = SimFiles::default();
    let log = on_small_disk(&files);
    append(&log, 1).unwrap();
    files.set_room(0);
    log.append_unhurried(&[record(2), record(3)]).unwrap();
    assert!(matches!(append(&log, 4), Err(LogError::NoSpace { .. })));
    // The cut of the zeros gives room for the last head.
    files.set_room(files.used() - (256 << 10));
    log.close().unwrap();
    assert_eq!((actions(&files, "audit:full"), actions(&files, "audit:stop")), (1, 1));
    // Those that nobody waited for are counted.
    let newest = segment_path(&files);
    let text = String::from_utf8(files.read(&newest).unwrap()).unwrap();
    assert!(text.contains(r#"{"k":"unwritten","v":"2"}"#), "{text}");
    files.set_room(usize::MAX);
    let (_, recovery) = open(&files).unwrap();
    assert!(recovery.clean, "{recovery:?}");
}

#[test]
fn a_segment_that_is_taken_away_stops_the_log() {
    let files = SimFiles::default();
    let log = on_small_disk(&files);
    append(&log, 1).unwrap();
    files.take_away(&segment_path(&files));
    assert!(matches!(append(&log, 2), Err(LogError::Poisoned { .. })));
    assert!(log.is_poisoned());
}

#[test]
fn a_segment_that_is_replaced_on_a_real_disk_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { look_interval: Duration::ZERO, free_bytes_min: 0, ..options() };
    let open = || {
        let files = Arc::new(crate::LocalFiles::new(dir.path()));
        Log::open(files, signer(7), clock(), options.clone()).unwrap().0
    };
    let log = open();
    append(&log, 1).unwrap();
    let list = |path: &str| crate::durable::list(&dir.path().join(path));
    let path = dir.path().join(&crate::segment::names(&list).unwrap().last().unwrap().path);
    let copy = path.with_extension("copy");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let failed = append(&log, 2);
    assert!(
        matches!(&failed, Err(LogError::Poisoned { reason }) if reason.contains("replaced")),
        "{failed:?}"
    );
    drop(log);
    // What was acknowledged is in the copy as well; the next start goes on from there.
    append(&open(), 3).unwrap();
}

/// What a fixed piece of life acknowledged: position and request of each record.
fn live(files: &SimFiles) -> Vec<(u64, u64)> {
    let options = Options {
        segment_bytes_max: 12 << 10,
        sign_interval: Duration::ZERO,
        look_interval: Duration::ZERO,
        free_bytes_min: 0,
        ..options()
    };
    let clock = clock();
    let Ok((log, _)) = Log::open(Arc::new(files.clone()), signer(7), clock, options) else {
        return Vec::new();
    };
    let mut acknowledged = Vec::new();
    for i in 0..8 {
        let _ = log.put_blob(&[i as u8]);
        if let Ok(committed) = append(&log, i) {
            acknowledged.push((committed.first, i));
        }
    }
    let _ = log.close();
    acknowledged
}

/// Every call of every kind, each failing in each way: nothing acknowledged is lost, the log opens, and verify has
/// nothing to say.
#[test]
fn any_single_fault_loses_nothing_acknowledged() {
    let mut cases = 0;
    for op in [Op::Write, Op::Sync, Op::Truncate, Op::Create, Op::Replace, Op::Remove] {
        for error in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            for kept in [0, 1, 700] {
                for after in 0.. {
                    let files = SimFiles::default();
                    files.fail(Fault { op, path: "", after, error, kept });
                    let acknowledged = live(&files);
                    if files.faults_left() > 0 {
                        break;
                    }
                    let place = format!("{op:?} {after} {error:?} {kept}");
                    for crashed in [files.snapshot(), files.after_power_loss(0)] {
                        survives(&crashed, &acknowledged, &place);
                        cases += 1;
                        if kept == 0 && after % 4 == 0 {
                            let found = report(&crashed);
                            assert_eq!(found.state, State::TailUnproven, "{place}: {found}");
                        }
                    }
                }
            }
        }
    }
    assert!(cases > 300, "{cases}");
}

fn survives(crashed: &SimFiles, acknowledged: &[(u64, u64)], place: &str) {
    // A log that could not be made is made now; one that could, opens.
    let (log, _) = open(crashed).unwrap_or_else(|error| panic!("{place}: {error}"));
    log.close().unwrap();
    drop(log);
    let dir = tempfile::tempdir().unwrap();
    crashed.dump(dir.path()).unwrap();
    let records: Vec<(u64, String)> = crate::records(dir.path())
        .map(|record| record.unwrap())
        .map(|(seq, leaf)| (seq, String::from_utf8(leaf).unwrap()))
        .collect();
    for (seq, i) in acknowledged {
        let request = format!("\"request-{i}\"");
        let found = records.iter().any(|(at, leaf)| at == seq && leaf.contains(&request));
        assert!(found, "{place}: record {seq} of request {i}");
    }
}

#[test]
fn a_full_queue_refuses_and_nothing_was_queued() {
    let files = SimFiles::default();
    let options = Options { queue_bytes_max: 100, ..options() };
    let (log, _) = Log::open(Arc::new(files), signer(7), clock(), options).unwrap();
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
    let (log, _) = Log::open(Arc::new(files.clone()), signer(7), clock(), options).unwrap();
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
    let files = SimFiles::default();
    let clock = Arc::new(HandClock::at(1_767_225_600_000_000).stepping(-5_000_000));
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
        _ => (1..=3).map(|i| (seed * 8 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
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
        let clock = clock();
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
    // Some of them are packed by now.
    assert!(files.paths().iter().filter(|path| path.contains(".jsonl")).count() >= 3);
    let (mut cases, mut torn_heads) = (0, 0);
    for change in 0..files.changes() {
        let promised =
            acknowledged.iter().rfind(|(after, _)| *after <= change).map_or(0, |(_, size)| *size);
        let bytes = files.change_bytes(change);
        let cuts = (0..=bytes).step_by(SECTOR_BYTES);
        let cuts = cuts.flat_map(|cut| [(cut, Unsynced::Kept), (cut, Unsynced::Lost)]);
        let sectors = files.unsynced(change + 1);
        let sets = sets(sectors, change as u64);
        let sets = sets.into_iter().map(|set| (bytes, Unsynced::Some(set)));
        for (cut, unsynced) in cuts.chain(sets) {
            let crashed = files.crash(change, cut, unsynced);
            let place = format!("change {change} byte {cut} {unsynced:?}");
            // A verifier that comes before the restart calls it unfinished, not damaged. It takes longer than all the rest.
            let verified = change > 0 && (cases % 16 == 0 || (1..=2).contains(&sectors));
            let before = verified.then(|| report(&crashed));
            assert!(before.iter().all(|report| report.findings.is_empty()), "{place}: {before:?}");
            let (log, recovery) = open(&crashed).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(recovery.size >= promised, "{place}: {recovery:?} of {promised}");
            log.close().unwrap();
            let after = verified.then(|| report(&crashed));
            assert!(after.iter().all(|r| r.state == State::TailUnproven), "{place}: {after:?}");
            torn_heads += usize::from(recovered_heads(&crashed));
            cases += 1;
        }
    }
    assert!(cases > 300 && torn_heads > 2, "{cases} {torn_heads}");
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
    let clock = clock();
    let options = Options { segment_age_max: Duration::from_secs(60), ..options() };
    let (log, _) = Log::open(Arc::new(files.clone()), signer(7), clock.clone(), options).unwrap();
    for i in 0..5 {
        append(&log, i).unwrap();
    }
    let is_segment = |path: &&String| path.ends_with(".jsonl") || path.ends_with(".zst");
    let segments = || files.paths().iter().filter(is_segment).count();
    assert_eq!(segments(), 1);
    clock.pass(60_000_000);
    append(&log, 6).unwrap();
    append(&log, 7).unwrap();
    assert_eq!(segments(), 2);
    log.close().unwrap();
    assert_eq!(report(&files).state, State::TailUnproven);
}
