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
        by: (0..i % 4)
            .map(|n| Matched { id: format!("pol-{}", (i + n * n) % 3), ..Default::default() })
            .collect(),
        digest: String::new(),
        ctx: [("aws:Referer".to_owned(), vec![format!("10.0.0.{}", i % 7)])].into(),
        implied: true,
        us: i,
    });
    record.net =
        Some(Arc::new(Net { src: format!("10.0.{}.{}", i % 3, i % 7), ..Default::default() }));
    record.principal = (!i.is_multiple_of(13)).then(|| {
        Arc::new(Principal {
            arn: Some(format!("arn:aws:iam::1:user/u{}", i % 6)),
            // Numbers as texts, some of them beyond what a float can tell apart.
            account: Some((9_007_199_254_740_990 + i % 5).to_string()),
            name: Some(["7", "007", "x", "+8", "9"][(i % 5) as usize].into()),
            ..Default::default()
        })
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
    let bytes_out = i * i % 1000;
    record.outcome = Some(Outcome { code: 200 + (i % 3) as u16, bytes_out, ..Default::default() });
    record
}

fn predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..5u32).prop_map(|n| format!("bucket=b{n}")),
        (0..7u32).prop_map(|n| format!("principal=arn:aws:iam::1:user/u{n}")),
        (0..4u32).prop_map(|n| format!("result.code=20{n}")),
        (0..4u32).prop_map(|n| format!("net.src in 10.0.{n}.0/24")),
        (0..3u32).prop_map(|n| format!("policy in (pol-{n}, pol-9)")),
        (0..7u32).prop_map(|n| format!("auth.ctx.aws:Referer=10.0.0.{n}")),
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
        Just("hour(time) in (0..11)".to_owned()),
        Just("auth.us in (3..40)".to_owned()),
        Just("principal.arn exists".to_owned()),
        Just("principal.arn=auth.digest".to_owned()),
        Just("bytes_out=~\"[0-9]7.*\"".to_owned()),
        (0..230u32).prop_map(|n| format!("seq<={n}")),
        (0..3u32).prop_map(|n| format!("status in (20{n}, 0200, x)")),
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

/// Fields with columns of every kind, and some without.
fn field() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "action",
            "decision",
            "principal.arn",
            "principal.name",
            "account",
            "policy",
            "bucket",
            "key",
            "net.src",
            "auth.us",
            "status",
            "bytes_out",
            "seq",
            "time",
            "kms.key",
            "auth.digest",
            "auth.ctx.aws:Referer",
        ][..],
    )
}

fn agg() -> impl Strategy<Value = String> {
    let of = |name: &'static str| field().prop_map(move |field| format!("{name}({field})"));
    prop_oneof![
        Just("count".to_owned()),
        of("sum"),
        of("min"),
        of("max"),
        of("avg"),
        of("dcount"),
        of("p50"),
        of("p99"),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => field().prop_map(str::to_owned),
        1 => Just("hour(time)".to_owned()),
        1 => proptest::sample::select(&["1us", "3ms", "1s", "1d"][..])
            .prop_map(|width| format!("bin(time,{width})")),
        1 => (0..=32u32).prop_map(|bits| format!("net.src/{bits}")),
    ]
}

/// Any table that columns can make, and many that they cannot.
fn table() -> impl Strategy<Value = String> {
    let many = |all: Vec<String>| {
        let mut seen = std::collections::BTreeSet::new();
        all.into_iter().filter(|one| seen.insert(one.clone())).collect::<Vec<_>>().join(", ")
    };
    prop_oneof![
        4 => (proptest::collection::vec(agg(), 1..4), proptest::collection::vec(key(), 1..4))
            .prop_map(move |(aggs, by)| format!("{} by {}", many(aggs), many(by))),
        1 => proptest::collection::vec(agg(), 1..4).prop_map(many),
        1 => key().prop_map(|key| format!("distinct {key}")),
    ]
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
    assert_eq!(every.coverage.matches, 230);
    // Seals of finished segments are recorded meanwhile.
    assert!((indexed..every.coverage.to - 30).contains(&every.coverage.indexed_to), "{every:?}");
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
fn columns_and_records_give_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for from in [0, 100, 150] {
        let indexer = Indexer::start(dir.path(), &log).unwrap();
        let records: Vec<Record> = (from..from + 50).map(record).collect();
        log.append_all(&records).unwrap().wait().unwrap();
        indexer.stop();
    }
    log.append_all(&(200..210).map(record).collect::<Vec<_>>()).unwrap().wait().unwrap();
    log.close().unwrap();
    let now_us = SystemClock.now_us();
    let mut from_columns = 0_u32;
    let config =
        ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let asked = (proptest::option::of(filter()), proptest::option::of(0u64..300), table());
    let from_columns = std::cell::RefCell::new(&mut from_columns);
    let ran = runner.run(&asked, |(filter, after, table)| {
        let text = format!("{} | {table}", filter.clone().unwrap_or_default());
        let index = ask_at(dir.path(), &text, now_us, after, Method::Index);
        let scan = ask_at(dir.path(), &text, now_us, after, Method::Scan);
        prop_assert_eq!(&index.table, &scan.table, "{}", &text);
        prop_assert_eq!(index.coverage.matches, scan.coverage.matches, "{}", &text);
        **from_columns.borrow_mut() += u32::from(index.coverage.source == Source::Columns);
        let query = Query::parse(&filter.unwrap_or_default(), now_us).unwrap();
        let bars = |method| {
            let options = SearchOptions { limit: 1000, after, method, within: None };
            Searcher::new(dir.path()).histogram(&query, options, 7).unwrap()
        };
        let (index, scan) = (bars(Method::Index), bars(Method::Scan));
        prop_assert_eq!(index.bars, scan.bars, "{}", &text);
        prop_assert_eq!((index.from_us, index.width_us), (scan.from_us, scan.width_us));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    let from_columns = from_columns.into_inner();
    assert!(*from_columns > 60, "only {from_columns} of 200 were made from columns");
}

#[test]
fn the_common_figures_come_from_columns() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let indexer = Indexer::start(dir.path(), &log).unwrap();
    log.append_all(&(0..50).map(record).collect::<Vec<_>>()).unwrap().wait().unwrap();
    log.close().unwrap();
    indexer.stop();
    let columns = [
        "count",
        "count by action",
        "denied | count by principal.arn | top 20",
        "bucket=b1 key=\"plain/key\" | p50(auth.us), p99(auth.us) by action",
        "time>-1h | count by bin(time,1m), decision",
        "not ip in 10.0.0.0/8 or action~\"s3:*\" | dcount(ip) by bucket, status",
        "sum(bytes_out), min(time), max(time) by principal.arn, hour(time)",
        "distinct reason",
    ];
    let records = ["count by key", "auth.ctx.aws:Referer=10.0.0.1 | count", "quoted | count"];
    for text in columns {
        assert_eq!(
            ask(dir.path(), text, None, Method::Auto).coverage.source,
            Source::Columns,
            "{text}"
        );
    }
    for text in records {
        assert_eq!(
            ask(dir.path(), text, None, Method::Auto).coverage.source,
            Source::Records,
            "{text}"
        );
    }
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
