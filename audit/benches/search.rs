//! What a question costs: the newest rows of a filter, figures over everything, and one record by name.
//!
//! `cargo bench -p audit --bench search` makes a log of 1,000,000 records (`AUDIT_BENCH_RECORDS` says otherwise, and
//! `AUDIT_BENCH_DIR` keeps the log for the next run), indexes it and prints one line per question. Questions after `--`
//! are asked instead of those below.
#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use audit::*;

mod processor;

const ORIGIN: &str = "audit.example.com/bench";
const ACTIONS: [&str; 5] =
    ["s3:GetObject", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"];

fn main() {
    let count = std::env::var("AUDIT_BENCH_RECORDS").ok().and_then(|n| n.parse().ok());
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kept = std::env::var_os("AUDIT_BENCH_DIR").map(PathBuf::from);
    let dir = kept.unwrap_or_else(|| scratch.path().to_owned());
    if !dir.join("seg").is_dir() {
        write(&dir, count.unwrap_or(1_000_000));
    }
    if !dir.join("idx").is_dir() {
        rebuild(&dir);
    }
    let searcher = Searcher::new(&dir);
    let own: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if !own.is_empty() {
        own.iter().for_each(|text| ask(&searcher, &format!("`{text}`"), text, Method::Auto, 200));
        return;
    }
    let newest = [
        "",
        "denied",
        "principal=arn:aws:iam::123456789012:user/u7",
        "bucket=bucket-10 and denied",
        "ip in 10.1.3.0/24",
        "action=s3:DeleteObject or action=s3:PutObject",
        "key~\"year=2026/month=01/part-000000*\"",
        "principal=nobody",
    ];
    for text in newest {
        for method in [Method::Index, Method::Scan] {
            ask(&searcher, &format!("newest 100 of `{text}` by {method:?}"), text, method, 200);
        }
    }
    for text in [
        "count",
        "count by action",
        "count by principal.arn | top 20",
        "count by bin(time,1m), decision",
        "denied | count by principal.arn | top 20",
        "bucket=bucket-3 | p50(auth.us), p99(auth.us) by action",
        "dcount(principal.arn), avg(auth.us) by bucket",
        "not ip in 10.1.3.0/24 | count by hour(time)",
    ] {
        ask(&searcher, &format!("`{text}`"), text, Method::Auto, 50);
    }
    ask(
        &searcher,
        "`denied | count by bucket`, every record read",
        "denied | count by bucket",
        Method::Scan,
        1,
    );
    by_name(&dir);
}

/// Records of many users, buckets and addresses, in the members that a server fills.
fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let event = EventId::new(SystemClock.now_us() / 1000, random);
    let action = ACTIONS[(i % 5) as usize];
    let mut record = Record::new(Class::Data, action, event);
    record.phase = Phase::Decision;
    record.request = Some(format!("{:016X}{:08X}", SystemClock.now_us(), i as u32));
    record.sig_sha256 =
        Some("0f343b0931126a20f133d67c2b018a3b0f343b0931126a20f133d67c2b018a3b".into());
    record.principal = Some(Arc::new(Principal {
        kind: "IAMUser".into(),
        arn: Some(format!("arn:aws:iam::123456789012:user/u{}", i % 2000)),
        account: Some("123456789012".into()),
        name: Some(format!("u{}", i % 2000)),
        access_key: Some(format!("AKIA{:016}", i % 2000)),
        sig: "v4".into(),
        ..Default::default()
    }));
    record.auth = Some(Auth {
        decision: if i.is_multiple_of(50) { Verdict::Deny } else { Verdict::Allow },
        reason: "identity-allow".into(),
        by: vec![Matched { id: "identity:readonly#0".into(), sid: None, ver: None }],
        digest: "8f3b2c1d9e0a4b5c8f3b2c1d9e0a4b5c8f3b2c1d9e0a4b5c8f3b2c1d9e0a4b5c".into(),
        ctx: [("s3:prefix".to_owned(), vec!["10.1.2.3".to_owned()])].into(),
        implied: true,
        us: i % 97,
    });
    record.net = Some(Arc::new(Net {
        src: format!("10.1.{}.{}", i % 64, i % 251),
        tls: Some("1.3/TLS_AES_128_GCM_SHA256".into()),
        ua: Some("aws-cli/2.17.1".into()),
        ..Default::default()
    }));
    record.resources = vec![Resource {
        bucket: Some(format!("bucket-{}", i % 20)),
        key: Some(format!("year=2026/month=01/part-{i:08}.parquet")),
        ..Default::default()
    }];
    record
}

fn write(dir: &Path, count: u64) {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir));
    let log = Log::open(files, signer, Arc::new(SystemClock), options).unwrap().0;
    let mut i = 0;
    while i < count {
        let batch: Vec<Record> = (i..count.min(i + 4096)).map(record).collect();
        i += batch.len() as u64;
        log.append_all(&batch).unwrap().wait().unwrap();
    }
    log.close().unwrap();
}

fn rebuild(dir: &Path) {
    let started = Instant::now();
    let cpu = processor::used_us();
    let indexed = index::rebuild(dir, &|_| {}).unwrap();
    let wall = started.elapsed().as_secs_f64();
    println!(
        "index: {indexed} records, {:.0}/s, {:.1} us of processor and {:.1} bytes each",
        indexed as f64 / wall,
        (processor::used_us() - cpu) as f64 / indexed as f64,
        bytes_below(&dir.join("idx")) as f64 / indexed as f64,
    );
}

fn bytes_below(dir: &Path) -> u64 {
    let bytes = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().unwrap().len(),
        }
    };
    fs::read_dir(dir).unwrap().map(bytes).sum()
}

fn ask(searcher: &Searcher, name: &str, text: &str, method: Method, most: usize) {
    let query = Query::parse(text, SystemClock.now_us()).unwrap();
    let options = SearchOptions { limit: 100, method, ..SearchOptions::default() };
    let mut times = Vec::new();
    let mut matches = 0;
    let started = Instant::now();
    let cpu = processor::used_us();
    while times.len() < most && (times.len() < 3 || started.elapsed() < Duration::from_secs(5)) {
        let began = Instant::now();
        let answer = black_box(searcher.search(&query, options).unwrap());
        times.push(began.elapsed());
        matches = answer.coverage.matches;
    }
    let each = (processor::used_us() - cpu) as f64 / times.len() as f64 / 1000.0;
    print(name, &mut times, matches);
    println!("  {each:.2} ms of processor each");
}

fn by_name(dir: &Path) {
    let last = search(dir, &Query::parse("", 0).unwrap(), SearchOptions::default()).unwrap();
    let size = last.coverage.to;
    let mut times = Vec::new();
    for i in 0..200 {
        let began = Instant::now();
        black_box(read_record(dir, i * 7919 % size).unwrap().unwrap());
        times.push(began.elapsed());
    }
    print("one record by seq", &mut times, 1);
}

fn print(name: &str, times: &mut [Duration], matches: u64) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{name}: p50 {:?}, p99 {:?}, {matches} matches", at(50), at(99));
}
