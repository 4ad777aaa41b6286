//! What writing the log costs: encoding and durable appends. `verify`, `index` and `search` are the benches of reading it.
//!
//! `cargo bench -p audit` prints one line per figure. The disk decides the appends, so the directory matters: it is
//! beside the build's own output. A raw write + fdatasync loop runs first, as the anchor of what the disk gives.
#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::{
    collections::VecDeque,
    fs,
    hint::black_box,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use audit::*;
use futures::StreamExt as _;

use traffic::{ORIGIN, POLICIES, record};

mod processor;
mod traffic;

const RUN: Duration = Duration::from_secs(5);

fn main() {
    // `cargo test --benches` and friends pass arguments that are not for us.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    encoding();
    disk(dir.path());
    let log_dir = dir.path().join("log");
    let log = open(&log_dir, Options::default().preallocate_bytes);
    closed_loop(&log, 1);
    closed_loop(&log, 64);
    closed_loop(&log, 256);
    tasks(&log, 64);
    tasks(&log, 256);
    open_loop(&log);
    heads(&log, &log_dir);
    recovery(&log_dir, &dir.path().join("crashed"));
    log.close().unwrap();
    let growing = open(&dir.path().join("growing"), 0);
    println!("without zeros written ahead:");
    closed_loop(&growing, 64);
    growing.close().unwrap();
}

fn open(dir: &Path, preallocate_bytes: u64) -> Log {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), preallocate_bytes, ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir));
    let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options).unwrap();
    log.put_blob(POLICIES).unwrap();
    log
}

fn encoding() {
    let record = record(7);
    let n = 300_000;
    let started = Instant::now();
    let mut bytes = 0;
    for _ in 0..n {
        bytes = black_box(encode::encode(black_box(&record), "n1").unwrap()).len_max();
    }
    let each = started.elapsed().as_nanos() / n;
    println!("encode: {each} ns per record of {bytes} bytes");
}

fn disk(dir: &Path) {
    for (name, zeroed) in [("growing file", false), ("zeroed file", true)] {
        let file = fs::File::create(dir.join("anchor")).unwrap();
        let block = vec![1; 64 << 10];
        if zeroed {
            file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
            file.sync_all().unwrap();
        }
        let mut times = Vec::new();
        for i in 0..1000 {
            let started = Instant::now();
            file.write_all_at(&block, i * block.len() as u64).unwrap();
            file.sync_data().unwrap();
            times.push(started.elapsed());
        }
        print(
            &format!("disk, 64 KiB write + fdatasync, {name}"),
            1000,
            times.iter().sum(),
            &mut times,
        );
    }
}

fn print(name: &str, count: u64, wall: Duration, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000];
    println!(
        "{name}: {:.0}/s, p50 {:?}, p99 {:?}, p99.9 {:?}",
        count as f64 / wall.as_secs_f64(),
        at(500),
        at(990),
        at(999),
    );
}

/// Each thread waits for its record before it makes the next one.
fn closed_loop(log: &Log, threads: u64) {
    let started = Instant::now();
    let cpu = processor::used_us();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while started.elapsed() < RUN {
                        let record = record((times.len() as u64) * threads + t);
                        let began = Instant::now();
                        log.append(&record).unwrap().wait().unwrap();
                        times.push(began.elapsed());
                    }
                    times
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let name = format!("durable appends, closed loop of {threads}");
    print_with_cpu(&name, started.elapsed(), cpu, &mut times);
}

/// The same with tasks on two threads, as a server's callers are: a batch that is durable then wakes two threads and
/// not each caller's own.
fn tasks(log: &Log, callers: u64) {
    let started = Instant::now();
    let cpu = processor::used_us();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|t| {
                scope.spawn(move || {
                    let callers = (t..callers).step_by(2).map(|caller| async move {
                        let mut times = Vec::new();
                        while started.elapsed() < RUN {
                            let record = record(times.len() as u64 * callers + caller);
                            let began = Instant::now();
                            log.append(&record).unwrap().await.unwrap();
                            times.push(began.elapsed());
                        }
                        times
                    });
                    let all: futures::stream::FuturesUnordered<_> = callers.collect();
                    futures::executor::block_on(all.collect::<Vec<_>>()).concat()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let name = format!("durable appends, closed loop of {callers} tasks on 2 threads");
    print_with_cpu(&name, started.elapsed(), cpu, &mut times);
}

fn print_with_cpu(name: &str, wall: Duration, cpu_before: u64, times: &mut [Duration]) {
    let count = times.len() as u64;
    print(name, count, wall, times);
    println!(
        "  {:.1} us of processor per record",
        (processor::used_us() - cpu_before) as f64 / count as f64
    );
}

/// From the moment that a record is acknowledged to the moment that a signed head in the directory covers it, while 64
/// tasks append.
fn heads(log: &Log, dir: &Path) {
    let started = Instant::now();
    let ended = AtomicBool::new(false);
    let (acked, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen: Vec<(u64, Instant)> = Vec::new();
            let newest = |seen: &[(u64, Instant)]| seen.last().map_or(0, |(size, _)| *size);
            while !ended.load(Ordering::Acquire) || newest(&seen) < log.durable_size() {
                let checkpoint = fs::read_to_string(dir.join("checkpoint")).unwrap();
                let size = checkpoint.lines().nth(1).unwrap().parse().unwrap();
                if size > newest(&seen) {
                    seen.push((size, Instant::now()));
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            seen
        });
        let callers = (0..64).map(|caller| async move {
            let mut acked = Vec::new();
            while started.elapsed() < RUN {
                let committed = log.append(&record(caller)).unwrap().await.unwrap();
                acked.push((committed.end, Instant::now()));
            }
            acked
        });
        let all: futures::stream::FuturesUnordered<_> = callers.collect();
        let acked = futures::executor::block_on(all.collect::<Vec<_>>()).concat();
        ended.store(true, Ordering::Release);
        (acked, watcher.join().unwrap())
    });
    let covered = |(end, at): &(u64, Instant)| {
        let first = seen.partition_point(|(size, _)| size < end);
        seen[first].1.saturating_duration_since(*at)
    };
    let mut times: Vec<Duration> = acked.iter().map(covered).collect();
    let name = format!("acknowledged to signed, {} heads", seen.len());
    print(&name, acked.len() as u64, started.elapsed(), &mut times);
}

/// The start after a crash: of a copy of a log that was being written.
fn recovery(dir: &Path, crashed: &Path) {
    copy(dir, crashed);
    let started = Instant::now();
    let log = open(crashed, 4 << 20);
    let took = started.elapsed();
    println!("recovery of {} records: ready after {took:?}", log.durable_size());
    log.close().unwrap();
}

/// By name, so that heads are copied before the segments that they are about.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            // A segment that is packed meanwhile is there in the other form.
            false => drop(fs::copy(entry.path(), to)),
        }
    }
}

/// One thread appends as fast as the queue takes it and looks at the answers as they come.
fn open_loop(log: &Log) {
    let ready: Vec<Record> = (0..4096).map(record).collect();
    let started = Instant::now();
    let cpu = processor::used_us();
    let mut times = Vec::new();
    let mut waiting = VecDeque::new();
    let mut i = 0;
    while started.elapsed() < RUN {
        let began = Instant::now();
        waiting.push_back((began, log.append(&ready[i % ready.len()]).unwrap()));
        i += 1;
        if waiting.len() >= 8192 {
            for (began, pending) in waiting.drain(..4096) {
                pending.wait().unwrap();
                times.push(began.elapsed());
            }
        }
    }
    for (began, pending) in waiting {
        pending.wait().unwrap();
        times.push(began.elapsed());
    }
    let name = "durable appends, open loop, 8192 in flight";
    print_with_cpu(name, started.elapsed(), cpu, &mut times);
}
