//! What a verification costs: the log as it was written, and the same log packed.
//!
//! `cargo bench -p audit --bench verify` writes 2,000,000 records (`AUDIT_BENCH_RECORDS` says otherwise, and
//! `AUDIT_BENCH_DIR` keeps both logs for the next run) in each form and verifies them five times. Bytes are those of the
//! records, whatever form they are in.
#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use audit::*;

use traffic::{ORIGIN, POLICIES, record};

mod processor;
mod traffic;

const RUNS: usize = 5;

fn main() {
    let count = std::env::var("AUDIT_BENCH_RECORDS").ok().and_then(|n| n.parse().ok());
    let count = count.unwrap_or(2_000_000);
    let kept = std::env::var_os("AUDIT_BENCH_DIR").map(PathBuf::from);
    for (name, finished) in [("as written", Finished::Sealed), ("packed", Finished::Packed)] {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = kept.as_ref().map_or(scratch.path().to_owned(), |kept| kept.join(name));
        if !dir.join("seg").is_dir() {
            write(&dir, count, finished);
        }
        let bytes = records(&dir).map(|record| record.unwrap().1.len() as u64 + 1).sum();
        measure(&dir, name, bytes);
    }
}

fn write(dir: &Path, count: u64, finished: Finished) {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), finished, ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir));
    let log = Log::open(files, signer, Arc::new(SystemClock), options).unwrap().0;
    log.put_blob(POLICIES).unwrap();
    for from in (0..count).step_by(4096) {
        let batch: Vec<Record> = (from..count.min(from + 4096)).map(record).collect();
        log.append_all(&batch).unwrap().wait().unwrap();
    }
    log.close().unwrap();
}

fn measure(dir: &Path, name: &str, bytes: u64) {
    let vkey = Ed25519Signer::from_seed(ORIGIN, &[7; 32]).vkey();
    let mut times = Vec::new();
    let (mut records, mut state) = (0, String::new());
    let cpu = processor::used_us();
    for _ in 0..RUNS {
        let started = Instant::now();
        let options = VerifyOptions {
            vkey: vkey.clone(),
            last_seen: None,
            strict: false,
            progress: &|_, _| {},
        };
        let report = verify(dir, &options).unwrap();
        times.push(started.elapsed());
        (records, state) = (report.records, report.state.to_string());
    }
    let cpu = (processor::used_us() - cpu) as f64 / RUNS as f64;
    times.sort_unstable();
    let median: Duration = times[RUNS / 2];
    println!(
        "verify, {name}: {records} records of {} bytes, median of {RUNS}: {:.2} GB/s, {:.0} records/s; \
         {:.2} GB and {:.0} records per second of processor; {state}",
        bytes / records,
        bytes as f64 / median.as_secs_f64() / 1e9,
        records as f64 / median.as_secs_f64(),
        bytes as f64 / cpu / 1e3,
        records as f64 * 1e6 / cpu,
    );
}
