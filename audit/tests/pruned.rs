//! A pruned log says the same about what is left, and says clearly what is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use audit::{
    note::Vkey,
    tiles::{TileError, TilePath},
    *,
};

const ORIGIN: &str = "audit.example.com/node1";
const BEGIN_US: u64 = 1_767_225_600_000_000;
const DAY_US: u64 = 86_400_000_000;

fn clock(day: u64) -> Arc<HandClock> {
    Arc::new(HandClock::at(BEGIN_US + day * DAY_US))
}

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn vkey() -> Vkey {
    Vkey::parse(&signer().vkey()).unwrap()
}

fn open(dir: &Path, clock: Arc<HandClock>) -> Log {
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    Log::open(Arc::new(LocalFiles::new(dir)), signer(), clock, options).unwrap().0
}

fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let mut record =
        Record::new(Class::Data, "s3:GetObject", EventId::new(BEGIN_US / 1000, random));
    record.request = Some(format!("r{i}"));
    record.resources = vec![Resource { bucket: Some("b".to_owned()), ..Default::default() }];
    record
}

fn why(i: u64) -> Record {
    let mut random = [9; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    Record::new(Class::Audit, "audit:prune", EventId::new(BEGIN_US / 1000, random))
}

fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Four days of 700 records and the beginning of a fifth, indexed.
fn written(dir: &Path) -> Log {
    let clock = clock(0);
    let log = open(dir, clock.clone());
    let indexer = Indexer::start(dir, &log).unwrap();
    for day in 0..5 {
        for batch in 0..7 {
            let records: Vec<Record> =
                (0..100).map(|i| record(day * 700 + batch * 100 + i)).collect();
            log.append_all(&records).unwrap().wait().unwrap();
        }
        clock.pass(DAY_US);
    }
    wait("the days are not sealed", || {
        plan_prune(dir, before(u64::MAX)).unwrap().filter(|plan| plan.days.len() == 4)
    });
    indexer.stop();
    log
}

fn check(dir: &Path) -> Report {
    let options = VerifyOptions {
        vkey: signer().vkey(),
        last_seen: None,
        strict: false,
        progress: &|_, _| {},
    };
    verify(dir, &options).unwrap()
}

/// Proofs, found again by position, of what is there.
fn rows(dir: &Path, text: &str, method: Method) -> (Vec<u64>, Coverage) {
    let query = Query::parse(text, 0).unwrap();
    let options = SearchOptions { limit: 10_000, method, ..Default::default() };
    let answer = search(dir, &query, options).unwrap();
    (answer.rows.iter().map(|row| row.seq).collect(), answer.coverage)
}

#[test]
fn every_reader_works_on_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = written(dir);
    let plan = plan_prune(dir, before(BEGIN_US + 2 * DAY_US)).unwrap().unwrap();
    assert_eq!(plan.days, ["2026-01-01", "2026-01-02"]);
    let pruned_record = read_record(dir, 700).unwrap().unwrap();
    let tiles = Tiles::start(dir, vkey(), &log).unwrap();
    wait("no tiles", || (tiles.covered() + 256 > log.durable_size()).then_some(()));
    let size = log.durable_size();
    let hashes: Vec<Vec<u8>> = (0..size / 256)
        .map(|n| {
            let path = TilePath::parse(&format!("tile/0/{n:03}")).unwrap();
            tiles.tile(path, size).unwrap()
        })
        .collect();
    let mut following = tail(dir, Some(99));
    assert!(!following.poll_durable(600).unwrap().is_empty());

    let pruned = log.prune(&plan, why(1)).unwrap();
    for day in &plan.days {
        assert!(index::remove_day(dir, day).unwrap(), "{day}");
    }
    assert_eq!(audit::pruned(dir).unwrap(), Some(pruned));
    assert_eq!(pruned.to_string(), format!("pruned by record {} on 2026-01-06", pruned.record));

    // Tiles of the running log: the same hashes, no bundle of what is gone, a proof of its hash.
    wait("no head", || tiles.head().ok().filter(|(head, _)| head.size > pruned.record));
    for (n, before) in hashes.iter().enumerate() {
        let path = TilePath::parse(&format!("tile/0/{n:03}")).unwrap();
        assert_eq!(tiles.tile(path, size).unwrap(), *before, "{n}");
        let path = TilePath::parse(&format!("tile/entries/{n:03}")).unwrap();
        let entries = tiles.tile(path, size);
        match (n as u64 * 256) < plan.end {
            true => assert!(matches!(entries, Err(TileError::Pruned(p)) if p == pruned), "{n}"),
            false => assert!(entries.is_ok(), "{n}"),
        }
    }
    let proof = tiles.prove(700).unwrap();
    assert_eq!(proof.extra, None);
    assert!(proof.verify(Some(&pruned_record), &vkey()).is_ok());
    assert!(proof.verify(Some(b"{}"), &vkey()).is_err());
    assert!(tiles.prove(plan.end).unwrap().verify(None, &vkey()).is_ok());

    // Readers in order go on, or begin where the log begins.
    let rest = following.poll().unwrap();
    assert_eq!(rest.first().map(|row| row.seq), Some(plan.end));
    let size = log.durable_size();
    let all: Vec<u64> = records(dir).map(|record| record.unwrap().0).collect();
    assert_eq!(all, (plan.end..size).collect::<Vec<_>>());
    let piece = pieces(dir).next().unwrap().unwrap();
    assert_eq!(piece.first, plan.end);
    let lines: usize =
        pieces(dir).map(|piece| piece.unwrap().lines.split(|b| *b == b'\n').count() - 1).sum();
    assert_eq!(lines as u64, size - plan.end);

    // Searches say what they are complete for.
    for method in [Method::Scan, Method::Index, Method::Auto] {
        let (seqs, coverage) = rows(dir, "bucket=b", method);
        assert_eq!(seqs.len(), 3 * 700, "{method:?}");
        assert_eq!(coverage.from, plan.end, "{method:?}");
        let (_, coverage) = rows(dir, "bucket=b | count by action", method);
        assert_eq!((coverage.from, coverage.matches), (plan.end, 3 * 700), "{method:?}");
        assert_eq!(rows(dir, "request=r10", method).0, [0; 0], "{method:?}");
    }
    assert_eq!(read_record(dir, 700).unwrap(), None);
    assert_eq!(find_event(dir, &record(10).event.to_string()).unwrap(), None);
    assert_eq!(index::check(dir, 100).unwrap().mismatches, []);
    tiles.stop();
    log.close().unwrap();
    drop(log);

    // The same for a log that nobody writes, from its directory alone.
    let report = check(dir);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!(report.pruned, Some(pruned));
    index::rebuild(dir, &|_| {}).unwrap();
    assert_eq!(index::check(dir, 100).unwrap().mismatches, []);
    assert_eq!(rows(dir, "bucket=b", Method::Index).0.len(), 3 * 700);
    let proof = tiles::prove(dir, 700, &vkey(), &|_, _| {}).unwrap();
    assert!(proof.verify(Some(&pruned_record), &vkey()).is_ok());
    let proof = tiles::prove(dir, plan.end + 5, &vkey(), &|_, _| {}).unwrap();
    assert!(proof.verify(None, &vkey()).is_ok());
    let to = tempfile::tempdir().unwrap();
    let exported = tiles::export(dir, to.path(), &vkey(), &|_, _| {}).unwrap();
    assert_eq!(exported.pruned, Some(pruned));
    for (n, before) in hashes.iter().enumerate() {
        assert_eq!(fs::read(to.path().join(format!("tile/0/{n:03}"))).unwrap(), *before);
        let bundle = to.path().join(format!("tile/entries/{n:03}")).is_file();
        assert_eq!(bundle, n as u64 * 256 >= plan.end, "{n}");
    }
}

/// A start after a crash between the segments and their index.
#[test]
fn the_index_of_pruned_days_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = written(dir);
    let plan = plan_prune(dir, before(BEGIN_US + 2 * DAY_US)).unwrap().unwrap();
    log.prune(&plan, why(1)).unwrap();
    log.close().unwrap();
    drop(log);
    assert!(dir.join("idx/2026-01-01").is_dir());
    let log = open(dir, clock(9));
    Indexer::start(dir, &log).unwrap().stop();
    log.close().unwrap();
    assert!(!dir.join("idx/2026-01-01").exists() && !dir.join("idx/2026-01-02").exists());
    assert!(dir.join("idx/2026-01-03").is_dir());
    assert_eq!(index::check(dir, 100).unwrap().mismatches, []);
    assert_eq!(rows(dir, "bucket=b", Method::Index).0.len(), 3 * 700);
}

/// Records that come back from an archive are the records of this log, and nothing is pruned.
#[test]
fn restored_segments_make_the_log_whole() {
    let (whole, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    // Of a log that is open, a segment may be packed just now.
    written(dir).close().unwrap();
    copy(&dir.join("seg"), &whole.path().join("seg"));
    let log = open(dir, clock(5));
    let plan = plan_prune(dir, before(BEGIN_US + 2 * DAY_US)).unwrap().unwrap();
    log.prune(&plan, why(1)).unwrap();
    log.close().unwrap();
    drop(log);
    let restored = tempfile::tempdir().unwrap();
    copy(dir, restored.path());
    let segments = |day: &str| format!("seg/2026/01/{day}");
    for day in ["01", "02"] {
        copy(&whole.path().join(segments(day)), &restored.path().join(segments(day)));
    }
    let report = check(restored.path());
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!((report.pruned, report.records), (None, report.size), "{report}");
    // Half of it is a hole that no record explains.
    copy(dir, &restored.path().join("half"));
    let half = restored.path().join("half");
    copy(&whole.path().join(segments("01")), &half.join(segments("01")));
    assert_eq!(check(&half).state, State::Missing, "{}", check(&half));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn before(before_us: u64) -> PruneBounds {
    PruneBounds { before_us, below: u64::MAX }
}
