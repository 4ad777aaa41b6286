//! The index and the scan give one answer, whatever is asked and however far the index got.
use std::{path::Path, sync::Arc};

use audit::*;
use proptest::prelude::*;

const ORIGIN: &str = "audit.example.com/node1";

fn open(dir: &Path) -> Log {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options =
        Options { origin: ORIGIN.to_owned(), segment_bytes_max: 40 << 10, ..Options::default() };
    Log::open(Arc::new(LocalFiles::new(dir)), signer, Arc::new(SystemClock), options).unwrap().0
}

/// Records with few distinct values, so that every predicate meets some.
fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "kms:Decrypt"];
    let mut record = Record::new(
        Class::Data,
        actions[(i % 4) as usize],
        EventId::new(1_767_225_600_000 + i, random),
    );
    record.request = Some(format!("request-{i}"));
    record.auth = Some(Auth {
        decision: if i.is_multiple_of(5) { Verdict::Deny } else { Verdict::Allow },
        reason: "identity-allow".into(),
        by: vec![Matched { id: format!("pol-{}", i % 3), ..Default::default() }],
        digest: String::new(),
        ctx: [("aws:SourceIp".to_owned(), vec![format!("10.0.0.{}", i % 7)])].into(),
        us: i,
    });
    record.net = Some(Net { src: format!("10.0.{}.{}", i % 3, i % 7), ..Default::default() });
    record.principal = Some(Principal {
        arn: Some(format!("arn:aws:iam::1:user/u{}", i % 6)),
        ..Default::default()
    });
    let key = if i.is_multiple_of(11) { "line\nbreak \"quoted\" \\ é" } else { "plain/key" };
    record.resources = vec![
        Resource {
            bucket: Some(format!("b{}", i % 4)),
            key: Some(key.into()),
            ..Default::default()
        },
        Resource { bucket: Some("shared".into()), ..Default::default() },
    ];
    record.outcome = Some(Outcome { code: 200 + (i % 3) as u16, ..Default::default() });
    record
}

fn predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..5u32).prop_map(|n| format!("bucket=b{n}")),
        (0..7u32).prop_map(|n| format!("principal=arn:aws:iam::1:user/u{n}")),
        (0..4u32).prop_map(|n| format!("result.code=20{n}")),
        (0..4u32).prop_map(|n| format!("net.src in 10.0.{n}.0/24")),
        (0..3u32).prop_map(|n| format!("policy in (pol-{n}, pol-9)")),
        (0..7u32).prop_map(|n| format!("auth.ctx.aws:SourceIp=10.0.0.{n}")),
        (0..200u32).prop_map(|n| format!("auth.us>{n}")),
        (0..200u32).prop_map(|n| format!("request=request-{n}")),
        Just("action~\"s3:*\"".to_owned()),
        Just("key~\"line?break*é\"".to_owned()),
        Just("key=~\"p[a-m]*/.*\"".to_owned()),
        Just("key=~\"\\\\bplain.*\"".to_owned()),
        Just("action=~\".*Get.*|kms:.*\"".to_owned()),
        Just("denied".to_owned()),
        Just("readonly".to_owned()),
        Just("time>-1h".to_owned()),
        Just("time<-1h".to_owned()),
        Just("quoted".to_owned()),
        Just("kms exists".to_owned()),
        Just("class=audit".to_owned()),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    predicate().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

const STAGES: &[&str] = &[
    "count by action, policy | top 3",
    "sum(auth.us), p90(auth.us), avg(auth.us), dcount(principal.arn) by net.src/24",
    "min(time), max(key) by hour(time)",
    "distinct bucket",
    "gaps(1us) | limit 5",
    "firstseen principal.arn baseline 1us",
    "sequence by bucket within 1h [denied] >= 2 then [readonly]",
    "where denied | expand request | where action~\"s3:*\"",
];

fn ask(dir: &Path, text: &str, after: Option<u64>, method: Method) -> Answer {
    ask_at(dir, text, SystemClock.now_us(), after, method)
}

fn ask_at(dir: &Path, text: &str, now_us: u64, after: Option<u64>, method: Method) -> Answer {
    let query = Query::parse(text, now_us).unwrap_or_else(|e| panic!("{text}: {e}"));
    search(dir, &query, SearchOptions { limit: 1000, after, method, within: None }).unwrap()
}

#[test]
fn index_and_scan_give_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let indexer = Indexer::start(dir.path(), &log).unwrap();
    for i in 0..20 {
        let records: Vec<Record> = (0..10).map(|j| record(i * 10 + j)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
    }
    let indexed = log.durable_size();
    indexer.stop();
    // Some records come after the index stopped: they are found by scanning.
    for i in 200..230 {
        log.append(&record(i)).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    let every = ask(dir.path(), "bucket=shared", None, Method::Index);
    assert_eq!((every.coverage.matches, every.coverage.indexed_to), (230, indexed));
    // A silence lasts until now.
    let now_us = SystemClock.now_us();
    let config = ProptestConfig { cases: 100, ..ProptestConfig::default() };
    proptest!(config, |(filter in filter(), after in proptest::option::of(0u64..300), limit in 1usize..20, stage in proptest::sample::select(STAGES))| {
        for text in [filter.clone(), format!("{filter} | limit {limit}"), format!("{filter} | sort auth.us asc | limit {limit}")] {
            let index = ask(dir.path(), &text, after, Method::Index);
            let scan = ask(dir.path(), &text, after, Method::Scan);
            let auto = ask(dir.path(), &text, after, Method::Auto);
            prop_assert_eq!(&index.rows, &scan.rows, "{}", text);
            prop_assert_eq!(&auto.rows, &scan.rows, "{}", text);
            prop_assert_eq!((index.coverage.from, index.coverage.to), (scan.coverage.from, scan.coverage.to));
        }
        let text = format!("{filter} | {stage}");
        let index = ask_at(dir.path(), &text, now_us, after, Method::Index);
        let scan = ask_at(dir.path(), &text, now_us, after, Method::Scan);
        prop_assert_eq!(&index.table, &scan.table, "{}", text);
        prop_assert_eq!(&index.rows, &scan.rows, "{}", text);
        prop_assert_eq!(index.coverage.matches, scan.coverage.matches);
    });
}

#[test]
fn the_index_continues_where_it_stopped_and_distrusts_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let indexer = Indexer::start(dir.path(), &log).unwrap();
    log.append(&record(1)).unwrap().wait().unwrap();
    indexer.stop();
    log.append(&record(2)).unwrap().wait().unwrap();
    let indexer = Indexer::start(dir.path(), &log).unwrap();
    assert_eq!(indexer.position(), 2);
    log.close().unwrap();
    indexer.stop();
    let answer = ask(dir.path(), "bucket=shared", None, Method::Index);
    assert_eq!((answer.coverage.matches, answer.coverage.indexed_to), (2, 4));
    assert_eq!(index::rebuild(dir.path(), &|_| {}).unwrap(), 4);
    assert_eq!(ask(dir.path(), "bucket=shared", None, Method::Index), answer);
    // The same directory with the records of another log: the index does not fit and is built again.
    std::fs::remove_dir_all(dir.path().join("seg")).unwrap();
    for file in ["log.json", "checkpoint"] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("heads")).unwrap();
    let log = open(dir.path());
    let indexer = Indexer::start(dir.path(), &log).unwrap();
    log.append_all(&[record(5), record(6), record(7)]).unwrap().wait().unwrap();
    log.close().unwrap();
    indexer.stop();
    let answer = ask(dir.path(), "bucket=shared", None, Method::Index);
    assert_eq!((answer.coverage.matches, answer.coverage.indexed_to), (3, 5));
}
