//! What indexing costs: processor time and bytes for each record of a server's traffic.
//!
//! `cargo bench -p audit --bench index` makes a log of 500,000 records (`AUDIT_BENCH_RECORDS` says otherwise, and
//! `AUDIT_BENCH_DIR` keeps the log for the next run), indexes it five times and prints the median. Indexing competes with
//! requests for processors, so its processor time is the figure, not the clock on the wall. Then a log is written at a
//! steady rate and indexed meanwhile: how far the index is behind what is durable, in time.
#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use audit::*;

use traffic::{ORIGIN, record};

mod processor;
mod traffic;

const RUNS: usize = 5;
/// Records for each tick of the steady log.
const TICK_RECORDS: u64 = 300;
const TICK: Duration = Duration::from_millis(10);
const TICKS: u32 = 1000;

fn main() {
    let count = std::env::var("AUDIT_BENCH_RECORDS").ok().and_then(|n| n.parse().ok());
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kept = std::env::var_os("AUDIT_BENCH_DIR").map(PathBuf::from);
    let dir = kept.unwrap_or_else(|| scratch.path().to_owned());
    if !dir.join("seg").is_dir() {
        write(&dir, count.unwrap_or(500_000));
    }
    let mut costs: Vec<f64> = (0..RUNS).map(|_| index(&dir)).collect();
    costs.sort_by(f64::total_cmp);
    println!("median: {:.2} us of processor each", costs[RUNS / 2]);
    lag(&scratch.path().join("steady"));
}

/// Writes 30,000 records each second for ten seconds.
fn lag(dir: &Path) {
    let log = open(dir);
    let indexer = Indexer::start(dir, &log).unwrap();
    let mut waiting = VecDeque::new();
    let mut lags = Vec::new();
    let started = Instant::now();
    let mut ticks = 0;
    while ticks < TICKS || !waiting.is_empty() {
        if ticks < TICKS && started.elapsed() >= TICK * ticks {
            let from = u64::from(ticks) * TICK_RECORDS;
            let batch: Vec<Record> = (from..from + TICK_RECORDS).map(record).collect();
            log.append_all(&batch).unwrap().wait().unwrap();
            waiting.push_back((log.subscribe().size(), Instant::now()));
            ticks += 1;
        } else {
            std::thread::sleep(TICK / 10);
        }
        let position = indexer.position();
        while waiting.front().is_some_and(|(size, _)| *size <= position) {
            lags.extend(waiting.pop_front().map(|(_, since)| since.elapsed()));
        }
    }
    let records = u64::from(TICKS) * TICK_RECORDS;
    let rate = records as f64 / started.elapsed().as_secs_f64();
    lags.sort_unstable();
    let at = |part: usize| lags[(lags.len() - 1) * part / 100];
    println!("lag at {rate:.0} records/s: p50 {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100));
    indexer.stop();
    log.close().unwrap();
}

/// Makes the index again; gives microseconds of processor for each record.
fn index(dir: &Path) -> f64 {
    let (started, before) = (Instant::now(), processor::used_us());
    let indexed = index::rebuild(dir, &|_| {}).unwrap() as f64;
    let (wall, used) = (started.elapsed().as_secs_f64(), processor::used_us() - before);
    let each = used as f64 / indexed;
    println!(
        "{indexed} records: {:.0}/s, {each:.2} us of processor and {:.1} bytes each, in {} files",
        indexed / wall,
        files_below(&dir.join("idx")).iter().sum::<u64>() as f64 / indexed,
        files_below(&dir.join("idx")).len(),
    );
    each
}

fn open(dir: &Path) -> Log {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir));
    let log = Log::open(files, signer, Arc::new(SystemClock), options).unwrap().0;
    log.put_blob(traffic::POLICIES).unwrap();
    log
}

fn write(dir: &Path, count: u64) {
    let log = open(dir);
    // Batches are as large as those of a busy server.
    for from in (0..count).step_by(256) {
        let batch: Vec<Record> = (from..count.min(from + 256)).map(record).collect();
        log.append_all(&batch).unwrap().wait().unwrap();
    }
    log.close().unwrap();
}

fn files_below(dir: &Path) -> Vec<u64> {
    let bytes = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => files_below(&entry.path()),
            false => vec![entry.metadata().unwrap().len()],
        }
    };
    fs::read_dir(dir).unwrap().flat_map(bytes).collect()
}
