//! Prunes that are stopped at every point, over a disk that fails and loses.

use std::{sync::Arc, time::Instant};

use super::*;
use crate::{
    Ed25519Signer, EventId, HandClock, Log, Mirrored, OpenError, Options, Report, Signer as _,
    State, VerifyOptions,
    note::Vkey,
    sim::{Fault, Op, SimFiles, Unsynced},
    verify,
};

const ORIGIN: &str = "audit.example.com/node1";
const DAY_US: u64 = 86_400_000_000;

fn clock(day: u64) -> Arc<HandClock> {
    Arc::new(HandClock::at(1_767_225_600_000_000 + day * DAY_US))
}

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn try_open(files: Arc<dyn Files>, clock: Arc<HandClock>) -> Result<Log, OpenError> {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 48 << 10,
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        ..Options::default()
    };
    Log::open(files, signer(), clock, options).map(|(log, _)| log)
}

fn open(files: &SimFiles, day: u64) -> Log {
    try_open(Arc::new(files.clone()), clock(day)).unwrap()
}

fn append(log: &Log, records: u64) {
    let record = Record::new(Class::Data, "s3:PutObject", EventId::new(1, [1; 10]));
    for _ in 0..records / 100 {
        log.append_all(&vec![record.clone(); 100]).unwrap().wait().unwrap();
    }
}

fn plan_of(files: &SimFiles) -> Option<PrunePlan> {
    plan(&|path| files.read(path), &|path| files.list(path), &|_| true).unwrap()
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A log of so many days that are over, with a day of 400 records each; still open.
fn log_of(files: &SimFiles, days: u64) -> Log {
    let clock = clock(0);
    let log = try_open(Arc::new(files.clone()), clock.clone()).unwrap();
    for _ in 0..days {
        append(&log, 400);
        clock.pass(DAY_US);
    }
    append(&log, 100);
    let all = || plan_of(files).is_some_and(|plan| plan.days.len() as u64 == days);
    wait("the days are not sealed", all);
    log
}

fn why() -> Record {
    let mut record = Record::new(Class::Admin, "x", EventId::new(2, [2; 10]));
    record.params.insert("reason".to_owned(), "400 days are over".to_owned());
    record
}

fn check(files: &SimFiles) -> Report {
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: false, progress: &|_, _| {} };
    verify(dir.path(), &options).unwrap()
}

/// A later key signs seals, so verify misses it anyway; that a key was revoked shows nowhere else.
#[test]
fn a_change_of_the_key_is_missed_though_its_record_was_pruned() {
    let files = SimFiles::default();
    let clock = clock(0);
    let log = try_open(Arc::new(files.clone()), clock.clone()).unwrap();
    let first_key = Vkey::parse(&signer().vkey()).unwrap().id();
    append(&log, 400);
    log.rotate_key(Arc::new(Ed25519Signer::from_seed(ORIGIN, &[8; 32]))).unwrap();
    log.revoke_key(first_key, 300).unwrap();
    for _ in 0..2 {
        append(&log, 400);
        clock.pass(DAY_US);
    }
    append(&log, 100);
    wait("the days are not sealed", || plan_of(&files).is_some_and(|plan| plan.days.len() == 2));
    let carried = |files: &SimFiles| {
        let report = check(files);
        report.findings.into_iter().find(|found| found.file.starts_with("key/"))
    };
    let missed = |files: &SimFiles, note: &str| {
        let without = files.snapshot();
        without.take_away(note);
        let found = carried(&without).unwrap_or_else(|| panic!("{note}: {}", check(&without)));
        assert_eq!((found.state, found.file.as_str()), (State::Missing, note), "{found:?}");
        found.what
    };
    assert!(missed(&files, "key/0002.note").contains("carries a change"));
    let plan = plan_of(&files).unwrap();
    log.prune(&plan, why()).unwrap();
    log.close().unwrap();
    assert_eq!(check(&files).state, State::TailUnproven, "{}", check(&files));
    assert!(missed(&files, "key/0002.note").contains("changed 2 times"));
    missed(&files, "key/0001.note");
}

fn first(files: &SimFiles) -> u64 {
    segment::names(&|path| files.list(path)).unwrap().first().unwrap().first
}

#[test]
fn what_was_planned_goes_and_the_log_says_so() {
    let files = SimFiles::default();
    let log = log_of(&files, 3);
    let whole = plan_of(&files).unwrap();
    assert_eq!((whole.first, whole.days.len()), (0, 3));
    let text = whole.text(ORIGIN);
    assert!(text.contains("\ndays 3 2026-01-01 2026-01-03\n"), "{text}");
    let two = plan(&|path| files.read(path), &|path| files.list(path), &|seal| {
        seal.times_us.1 < 1_767_225_600_000_000 + 2 * DAY_US
    });
    let two = two.unwrap().unwrap();
    assert_eq!(two.days, ["2026-01-01", "2026-01-02"]);
    assert!(!two.end.is_multiple_of(256), "the last tile should be partial: {}", two.end);
    let root = {
        let log_root = check(&files);
        (log_root.root, log_root.size)
    };
    let pruned = log.prune(&two, why()).unwrap();
    assert_eq!((pruned.end, first(&files)), (two.end, two.end));
    assert!(!files.paths().iter().any(|path| path == INTENT_PATH));
    let report = check(&files);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!(report.pruned, Some(pruned));
    assert!(report.size > root.1);
    assert_eq!(report.records, report.size - two.end);
    // The same again is no plan any more, and the next one begins where this one ended.
    assert!(matches!(log.prune(&two, why()), Err(PruneError::Changed(_))));
    let third = plan_of(&files).unwrap();
    assert_eq!((third.first, third.end), (two.end, whole.end));
    log.prune(&third, why()).unwrap();
    log.close().unwrap();
    drop(log);
    let stale = |path: &String| path.starts_with("tile/0") && path.contains(".p/");
    assert!(files.paths().iter().filter(|path| stale(path)).count() <= 1, "{:?}", files.paths());
    let log = open(&files, 5);
    append(&log, 100);
    log.close().unwrap();
    let report = check(&files);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!(report.pruned.map(|pruned| pruned.end), Some(whole.end));
}

#[test]
fn a_crash_at_any_moment_leaves_everything_or_nothing() {
    let files = SimFiles::recording();
    let log = log_of(&files, 2);
    let plan = plan_of(&files).unwrap();
    let from = files.changes();
    log.prune(&plan, why()).unwrap();
    log.close().unwrap();
    drop(log);
    let mut outcomes = [0, 0];
    for change in from..=files.changes() {
        for unsynced in [Unsynced::Kept, Unsynced::Lost] {
            let crashed = files.crash(change, 0, unsynced);
            let log = open(&crashed, 4);
            wait("the prune is not finished", || {
                !crashed.paths().iter().any(|path| path == INTENT_PATH)
            });
            append(&log, 100);
            log.close().unwrap();
            let report = check(&crashed);
            assert_eq!(report.state, State::TailUnproven, "after change {change}: {report}");
            let is_whole = first(&crashed) == 0;
            assert_eq!(report.pruned.is_none(), is_whole, "after change {change}: {report}");
            assert!(is_whole || first(&crashed) == plan.end, "after change {change}");
            outcomes[usize::from(is_whole)] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 3), "{outcomes:?}");
}

#[test]
fn a_disk_without_room_prunes_nothing_and_the_log_goes_on() {
    for (path, after) in [("tile/0", 0), ("tile/0", 1), (INTENT_PATH, 0)] {
        for kept in [0, 1] {
            let files = SimFiles::default();
            let log = log_of(&files, 2);
            let plan = plan_of(&files).unwrap();
            let error = io::ErrorKind::StorageFull;
            files.fail(Fault { op: Op::Replace, path, after, error, kept });
            let failed = log.prune(&plan, why());
            let no_space = matches!(failed, Err(PruneError::Log(LogError::NoSpace { .. })));
            assert!(no_space && !log.is_poisoned(), "{path}: {failed:?}");
            log.prune(&plan, why()).unwrap();
            log.close().unwrap();
        }
    }
}

/// Once the record stands, a full disk only delays what it says.
#[test]
fn a_disk_without_room_at_the_end_delays_a_prune() {
    let full = |files: &SimFiles, kept| {
        let error = io::ErrorKind::StorageFull;
        files.fail(Fault { op: Op::Replace, path: pruned::PATH, after: 0, error, kept });
    };
    for kept in [0, 1] {
        let files = SimFiles::default();
        let log = log_of(&files, 2);
        let plan = plan_of(&files).unwrap();
        full(&files, kept);
        log.prune(&plan, why()).unwrap();
        assert_eq!((files.faults_left(), log.is_poisoned()), (0, false));
        log.close().unwrap();
        assert_eq!(check(&files).state, State::TailUnproven, "{}", check(&files));
    }
    // There is never room, and the log ends: the next start finishes it.
    let files = SimFiles::default();
    let log = log_of(&files, 2);
    let plan = plan_of(&files).unwrap();
    (0..10_000).for_each(|_| full(&files, 0));
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| log.prune(&plan, why()));
        wait("the prune does not come so far", || files.faults_left() < 9_999);
        log.close().unwrap();
        let ended = pruning.join().unwrap();
        assert!(matches!(ended, Err(PruneError::NoRoom { .. })), "{ended:?}");
    });
    drop(log);
    assert_eq!(first(&files), 0);
    let files = files.snapshot();
    open(&files, 4).close().unwrap();
    assert_eq!(first(&files), plan.end);
    assert_eq!(check(&files).state, State::TailUnproven, "{}", check(&files));
}

#[test]
fn a_disk_that_fails_in_the_middle_stops_the_log() {
    for (op, path, after) in [
        (Op::Replace, "tile/0", 1),
        (Op::Replace, INTENT_PATH, 0),
        (Op::Replace, pruned::PATH, 0),
        (Op::Remove, "seg/", 1),
        (Op::Remove, INTENT_PATH, 0),
    ] {
        for kept in [0, 1] {
            let files = SimFiles::default();
            let log = log_of(&files, 2);
            let plan = plan_of(&files).unwrap();
            files.fail(Fault { op, path, after, error: io::ErrorKind::Other, kept });
            let failed = log.prune(&plan, why());
            assert!(matches!(failed, Err(PruneError::Io { .. })), "{path}: {failed:?}");
            assert!(log.is_poisoned(), "{path}");
            drop(log);
            let log = open(&files.after_power_loss(0), 4);
            log.close().unwrap();
            let log = open(&files, 4);
            wait("not finished", || !files.paths().iter().any(|path| path == INTENT_PATH));
            log.close().unwrap();
            let report = check(&files);
            assert_eq!(report.state, State::TailUnproven, "{path}: {report}");
        }
    }
}

#[test]
fn records_that_do_not_lead_to_their_seal_are_not_pruned() {
    let files = SimFiles::default();
    let log = log_of(&files, 2);
    let plan = plan_of(&files).unwrap();
    let path = files.paths().into_iter().find(|path| path.ends_with(".zst")).unwrap();
    files.edit(&path, |bytes| bytes[40] ^= 1);
    assert!(log.prune(&plan, why()).is_err());
    assert_eq!(first(&files), 0);
    assert!(!log.is_poisoned());
    log.close().unwrap();
    assert_eq!(check(&files).state, State::Modified);
}

/// Without the file beside the first segment a start makes the tree's edge from the kept hashes.
#[test]
fn the_kept_hashes_carry_a_start() {
    let files = SimFiles::default();
    let log = log_of(&files, 2);
    let plan = plan_of(&files).unwrap();
    log.prune(&plan, why()).unwrap();
    log.close().unwrap();
    drop(log);
    let start = format!("/{:016}.start", plan.end);
    let start = files.paths().into_iter().find(|path| path.ends_with(&start)).unwrap();
    files.take_away(&start);
    let log = open(&files, 4);
    append(&log, 100);
    log.close().unwrap();
    drop(log);
    assert_eq!(check(&files).state, State::TailUnproven, "{}", check(&files));
    let tile = files.paths().into_iter().find(|path| path.starts_with("tile/0")).unwrap();
    files.take_away(&tile);
    let refused = try_open(Arc::new(files.clone()), clock(5));
    // The newest segment may begin late enough not to need it; what it proves is the verifier's to say.
    if let Err(error) = refused {
        assert!(error.to_string().contains("tile/0"), "{error}");
    }
    assert_eq!(check(&files).state, State::Missing);
}

#[test]
fn a_copy_that_missed_a_prune_is_pruned_at_the_next_start() {
    let copies: [SimFiles; 3] = Default::default();
    let mirrored = |copies: &[SimFiles]| -> Arc<dyn Files> {
        let named = |(i, files): (usize, &SimFiles)| {
            let files: Arc<dyn Files> = Arc::new(files.clone());
            (format!("copy{i}"), files)
        };
        Arc::new(Mirrored::new(copies.iter().enumerate().map(named).collect(), None).unwrap())
    };
    let clock = clock(0);
    let log = try_open(mirrored(&copies), clock.clone()).unwrap();
    append(&log, 400);
    clock.pass(DAY_US);
    append(&log, 100);
    wait("not sealed", || plan_of(&copies[0]).is_some());
    let plan = plan_of(&copies[0]).unwrap();
    // The third copy fails as the prune begins, and hears nothing more.
    let error = io::ErrorKind::Other;
    copies[2].fail(Fault { op: Op::Replace, path: "tile/0", after: 0, error, kept: 0 });
    log.prune(&plan, why()).unwrap();
    log.close().unwrap();
    drop(log);
    assert_eq!([first(&copies[0]), first(&copies[2])], [plan.end, 0]);
    let log = try_open(mirrored(&copies), clock.clone()).unwrap();
    append(&log, 100);
    log.close().unwrap();
    drop(log);
    for copy in &copies {
        assert_eq!(first(copy), plan.end);
        let report = check(copy);
        assert_eq!(report.state, State::TailUnproven, "{report}");
        // Its old head is evidence, its pruned records are not.
        for path in copy.paths().iter().filter(|path| path.starts_with("quarantine/")) {
            let bytes = copy.read(path).unwrap();
            assert!(bytes.starts_with(ORIGIN.as_bytes()), "{path}");
        }
    }
    // A copy with other records of that time is still no copy.
    let other = SimFiles::default();
    let log = try_open(Arc::new(other.clone()), self::clock(9)).unwrap();
    append(&log, 100);
    log.close().unwrap();
    drop(log);
    other.replace("log.json", &copies[0].read("log.json").unwrap()).unwrap();
    let refused = try_open(mirrored(&[copies[0].clone(), copies[1].clone(), other]), clock);
    assert!(matches!(refused, Err(OpenError::Copies(_))), "{refused:?}");
}

/// The record of a change may go with its day: the note beside the log is signed, and fits the kept hashes.
#[test]
fn the_record_of_a_key_that_changed_is_pruned_like_any_other() {
    let files = SimFiles::default();
    let clock = clock(0);
    let log = try_open(Arc::new(files.clone()), clock.clone()).unwrap();
    append(&log, 200);
    log.rotate_key(Arc::new(Ed25519Signer::from_seed(ORIGIN, &[8; 32]))).unwrap();
    append(&log, 200);
    clock.pass(DAY_US);
    append(&log, 100);
    wait("the day is not sealed", || plan_of(&files).is_some());
    let plan = plan_of(&files).unwrap();
    let after = log.keys().changes()[0].after().size;
    assert!(after < plan.end, "{after} {}", plan.end);
    log.prune(&plan, why()).unwrap();
    log.close().unwrap();
    let report = check(&files);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!(report.pruned.map(|pruned| pruned.end), Some(plan.end));
    let changed = files.snapshot();
    changed.edit("key/0001.note", |bytes| bytes[40] ^= 1);
    assert_eq!(check(&changed).state, State::BadSignature);
}
