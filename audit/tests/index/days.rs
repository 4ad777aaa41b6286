//! One index per day: a finished day becomes one segment, goes when its records went, and comes back when it is missing.

use std::{fs, path::Path, sync::Arc};

use audit::*;

const ORIGIN: &str = "audit.example.com/node1";
const DAY_US: u64 = 86_400_000_000;
const DAYS: [&str; 3] = ["2026-01-01", "2026-01-02", "2026-01-03"];

/// Three days of some records, indexed in several commits each. A searcher that is kept open finds them after each one.
fn three_days(dir: &Path) {
    let searcher = Searcher::new(dir);
    let clock = Arc::new(HandClock::at(1_767_225_600_000_000));
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    let (log, _) =
        Log::open(Arc::new(LocalFiles::new(dir)), signer, clock.clone(), options).unwrap();
    for _ in DAYS {
        for _ in 0..3 {
            let indexer = Indexer::start(dir, &log).unwrap();
            for i in 0..5 {
                let event = EventId::new(1_767_225_600_000, [i; 10]);
                let record = Record::new(Class::Data, format!("s3:Action{i}"), event);
                log.append(&record).unwrap().wait().unwrap();
            }
            indexer.stop();
            let (found, there) = counted(&searcher);
            assert_eq!(found, there);
        }
        clock.pass(DAY_US);
    }
    log.close().unwrap();
}

fn segments(dir: &Path, day: &str) -> usize {
    let meta = fs::read(dir.join("idx").join(day).join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    meta["segments"].as_array().unwrap().len()
}

fn counts(dir: &Path) -> (u64, u64) {
    counted(&Searcher::new(dir))
}

/// How many records are found by the index, and what there are.
fn counted(searcher: &Searcher) -> (u64, u64) {
    let count = |text, method| {
        let options = SearchOptions { limit: usize::MAX, method, ..SearchOptions::default() };
        let query = Query::parse(text, 0).unwrap();
        searcher.search(&query, options).unwrap().coverage.matches
    };
    let rows = count("action~\"s3:*\"", Method::Index);
    assert_eq!(count("action~\"s3:*\" | count", Method::Index), rows);
    (rows, count("action~\"s3:*\"", Method::Scan))
}

#[test]
fn a_finished_day_is_one_segment() {
    let dir = tempfile::tempdir().unwrap();
    three_days(dir.path());
    assert_eq!(counts(dir.path()), (45, 45));
    assert_eq!(segments(dir.path(), DAYS[0]), 1);
    assert_eq!(segments(dir.path(), DAYS[1]), 1);
    assert!(segments(dir.path(), DAYS[2]) > 1, "the day that is written to is left alone");
    index::rebuild(dir.path(), &|_| {}).unwrap();
    assert_eq!(counts(dir.path()), (45, 45));
}

#[test]
fn a_day_goes_when_its_records_went_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    three_days(dir.path());
    for day in [DAYS[0], DAYS[2], "2026-01-09", "../seg", "."] {
        assert!(!index::remove_day(dir.path(), day).unwrap(), "{day}");
    }
    for day in [DAYS[0], DAYS[2]] {
        fs::remove_dir_all(dir.path().join("seg").join(day.replace('-', "/"))).unwrap();
    }
    assert!(index::remove_day(dir.path(), DAYS[0]).unwrap());
    assert!(!index::remove_day(dir.path(), DAYS[0]).unwrap(), "it is gone");
    assert!(!index::remove_day(dir.path(), DAYS[2]).unwrap(), "the newest one may be written to");
    assert!(dir.path().join("idx").join(DAYS[2]).is_dir());
}

#[test]
fn what_is_checked_begins_where_the_records_begin() {
    let dir = tempfile::tempdir().unwrap();
    three_days(dir.path());
    let whole = index::check(dir.path(), u64::MAX).unwrap();
    assert_eq!(whole.mismatches, []);
    fs::remove_dir_all(dir.path().join("seg/2026/01/01")).unwrap();
    assert!(index::remove_day(dir.path(), DAYS[0]).unwrap());
    let rest = index::check(dir.path(), u64::MAX).unwrap();
    assert_eq!(rest.mismatches, []);
    assert!(rest.looked_up > 0 && rest.looked_up < whole.looked_up);
}

#[test]
fn a_day_that_is_missing_or_of_another_version_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    three_days(dir.path());
    let reindex = || {
        let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
        let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
        let files = Arc::new(LocalFiles::new(dir.path()));
        let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options).unwrap();
        let indexer = Indexer::start(dir.path(), &log).unwrap();
        log.close().unwrap();
        indexer.stop();
    };
    fs::remove_dir_all(dir.path().join("idx").join(DAYS[1])).unwrap();
    reindex();
    assert_eq!(counts(dir.path()), (45, 45));
    for day in fs::read_dir(dir.path().join("idx")).unwrap() {
        let meta = day.unwrap().path().join("meta.json");
        let text = fs::read_to_string(&meta).unwrap();
        let older = text.replace(r#"\"version\":4"#, r#"\"version\":1"#);
        assert_ne!(text, older);
        fs::write(&meta, older).unwrap();
    }
    let query = Query::parse("count by action", 0).unwrap();
    let searcher = Searcher::new(dir.path());
    let options = SearchOptions { method: Method::Index, ..SearchOptions::default() };
    assert_eq!(searcher.search(&query, options).unwrap().coverage.indexed_to, 0);
    reindex();
    assert_eq!(counts(dir.path()), (45, 45));
    assert!(searcher.search(&query, options).unwrap().coverage.indexed_to > 45);
}
