//! Requests per second of the whole server, beside SeaweedFS in the same run on the same machine.
//!
//! `./test bench` installs `wrk` and SeaweedFS and runs this. Both servers speak TLS with the same certificate;
//! ours also encrypts at rest, codes 2+2 over four directories, syncs before it answers and records every decision.
//! The load generator shares the machine's cores with the server, so figures compare, they do not flatter.
//!
//! What the audit log costs is said twice:
//! - `audit %` is the part of the throughput that the log takes, by a server of the same sources without one, which
//!   `./test bench` makes. Where the machine is busy that is what the log does; where few clients wait for one another it
//!   is above all how long they wait for a disk.
//! - `log %` and `index %` are the parts of our processor time that the log's own threads take: writing, signing, sealing
//!   and packing it; and indexing it, which runs at a lower priority.
//!
//! A virtual machine's speed changes by half within seconds. So small objects are measured in many short rounds, one
//! server after the other; medians of the rates are said, and `ratio` and `audit %` are means of each round's own ratio,
//! the latter with its standard error. Ours and the one without a log do nothing while another is measured: what a server
//! leaves to do for later, it does in its own next round.
//!
//! `./test bench "4 KiB PUT" "16 MiB"` measures the rows that begin so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::{Credentials, Server};
use fixtures::seaweed::{Seaweed, Tls};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Size of an object, how many of them the load walks through, and over how many connections.
const OBJECTS: [(usize, usize, &[u32]); 2] =
    [(4 * KIB, 1000, &[1, 16, 64, 256]), (16 * MIB, 16, &[1, 16, 64])];
const CELL_SMALL: Duration = Duration::from_secs(1);
/// 64 uploads of 16 MiB share the bandwidth: none ends before a gigabyte has been sent.
const CELL_LARGE: Duration = Duration::from_secs(20);
const ROUNDS_SMALL: usize = 40;

/// One measured cell of the table.
#[derive(Clone, Copy, Debug)]
struct Rate {
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    failed: u64,
}

/// Who is measured.
struct Target<'a> {
    access: Access,
    /// One of ours, which waits while another is measured.
    server: Option<&'a Server>,
    directory: PathBuf,
}

const OURS: usize = 0;
const PEER: usize = 1;
const UNRECORDED: usize = 2;

fn main() -> anyhow::Result<()> {
    // `cargo bench` adds an option of its own.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let program = std::env::var_os("APPLIANCE_UNRECORDED").context(
        "`APPLIANCE_UNRECORDED` names the server without a log: `./test bench` makes it",
    )?;
    let unrecorded_scratch = tempfile::tempdir()?;
    let unrecorded_server = Server::start(program, unrecorded_scratch.path())?;
    let peer = peer(&scratch.path().join("peer"), &server)?;
    let target = |access: &Access, server, directory| Target {
        access: access.clone(),
        server,
        directory: scratch.path().join(directory),
    };
    let targets = [
        target(&Access::root(&server)?, Some(&server), "ours"),
        target(&peer.access, None, "theirs"),
        target(&Access::root(&unrecorded_server)?, Some(&unrecorded_server), "without"),
    ];
    println!(
        "| operation | connections | ours /s | ours MB/s | p50 ms | p99 ms | SeaweedFS /s | MB/s | p50 ms | p99 ms | ratio | log % | index % | without a log /s | audit % |"
    );
    println!(
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for (size, count, connections) in OBJECTS {
        let cells = ["GET", "PUT"].into_iter();
        let cells = cells.flat_map(|method| connections.iter().map(move |count| (method, *count)));
        let cells: Vec<_> = cells
            .filter(|(method, connections)| {
                is_wanted(&wanted, &format!("{} {connections}", operation(size, method)))
            })
            .collect();
        if cells.is_empty() {
            continue;
        }
        let paths = targets
            .iter()
            .map(|target| prepare(&target.access, &target.directory, size, count))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for (method, connections) in cells {
            let (rates, spent) = rounds(&targets, &paths, method, size, connections)?;
            row(method, size, connections, &rates, spent);
        }
    }
    Ok(())
}

fn operation(size: usize, method: &str) -> String {
    match size < MIB {
        true => format!("{} KiB {method}", size / KIB),
        false => format!("{} MiB {method}", size / MIB),
    }
}

/// Whether the row begins with the words of any that is wanted; all are where none is named.
fn is_wanted(wanted: &[String], row: &str) -> bool {
    let begins = |wanted: &String| {
        let mut words = row.split(' ');
        wanted.split_whitespace().all(|word| words.next() == Some(word))
    };
    wanted.is_empty() || wanted.iter().any(begins)
}

/// Rates of all rounds by target, and the processor time of ours.
fn rounds(
    targets: &[Target<'_>; 3],
    paths: &[PathBuf],
    method: &str,
    size: usize,
    connections: u32,
) -> anyhow::Result<([Vec<Rate>; 3], Spent)> {
    let mut spent = Spent::default();
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..if size < MIB { ROUNDS_SMALL } else { 1 } {
        let mut turns = [OURS, PEER, UNRECORDED];
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let others = targets.iter().enumerate().filter(|(target, _)| *target != turn);
            let _held = others
                .filter_map(|(_, target)| target.server)
                .map(Server::hold)
                .collect::<anyhow::Result<Vec<_>>>()?;
            let by_ours =
                || targets[OURS].server.map_or(Ok(Spent::default()), |s| Spent::by(s.pid()));
            let before = by_ours()?;
            rates[turn].push(load(&targets[turn].access, &paths[turn], method, size, connections)?);
            spent = spent.and(by_ours()?.since(before));
        }
    }
    Ok((rates, spent))
}

/// How one server's rate compares with another's: the mean of the rounds' ratios, as factors are averaged, and its
/// standard error.
fn compare(one: &[Rate], other: &[Rate]) -> (f64, f64) {
    let logarithms: Vec<f64> = one
        .iter()
        .zip(other)
        .map(|(one, other)| (one.requests_per_s / other.requests_per_s).ln())
        .collect();
    let count = logarithms.len() as f64;
    let mean = logarithms.iter().sum::<f64>() / count;
    let squares = logarithms.iter().map(|logarithm| (logarithm - mean).powi(2)).sum::<f64>();
    (mean.exp(), mean.exp() * (squares / (count - 1.0) / count).sqrt())
}

/// The median of each figure; of what failed, all.
fn median(rounds: &[Rate]) -> Rate {
    let of = |figure: fn(&Rate) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    Rate {
        requests_per_s: of(|rate| rate.requests_per_s),
        p50_ms: of(|rate| rate.p50_ms),
        p99_ms: of(|rate| rate.p99_ms),
        failed: rounds.iter().map(|rate| rate.failed).sum(),
    }
}

fn row(method: &str, size: usize, connections: u32, rates: &[Vec<Rate>; 3], spent: Spent) {
    let [ours, theirs, unrecorded] = [OURS, PEER, UNRECORDED].map(|target| median(&rates[target]));
    let mb = |rate: Rate| rate.requests_per_s * size as f64 / 1e6;
    let (ratio, _) = compare(&rates[OURS], &rates[PEER]);
    let (left, error) = compare(&rates[OURS], &rates[UNRECORDED]);
    // A single round has none.
    let error = if error.is_nan() { String::new() } else { format!(" ± {:.1}", 100.0 * error) };
    let operation = operation(size, method);
    println!(
        "| {operation} | {connections} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} | {ratio:.2} | {:.1} | {:.1} | {:.0} | {:.1}{error} |{}",
        ours.requests_per_s,
        mb(ours),
        ours.p50_ms,
        ours.p99_ms,
        theirs.requests_per_s,
        mb(theirs),
        theirs.p50_ms,
        theirs.p99_ms,
        spent.percent(spent.log),
        spent.percent(spent.index),
        unrecorded.requests_per_s,
        100.0 * (1.0 - left),
        if ours.failed + theirs.failed + unrecorded.failed == 0 {
            String::new()
        } else {
            let (ours, unrecorded) = (ours.failed, unrecorded.failed);
            format!(" failed: ours {ours} and {unrecorded}, theirs {}", theirs.failed)
        }
    );
}

/// Processor time of a process, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    all: u64,
    log: u64,
    index: u64,
}

impl Spent {
    /// What its living threads have spent so far.
    fn by(pid: u32) -> anyhow::Result<Self> {
        let mut spent = Self::default();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the look.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
            let (head, fields) = stat.rsplit_once(')').context("a thread without a name")?;
            let name = head.split_once('(').map_or("", |(_, name)| name);
            // After the name: state, then `utime` and `stime` are the 12th and 13th.
            let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
            let ticks: u64 = ticks.sum::<Result<_, _>>()?;
            spent.all += ticks;
            match name {
                name if name.starts_with("audit-index") => spent.index += ticks,
                name if name.starts_with("audit-") => spent.log += ticks,
                name if ["thrd-tantivy", "segment_updat", "merge_thread"]
                    .iter()
                    .any(|own| name.starts_with(own)) =>
                {
                    spent.index += ticks;
                }
                _ => {}
            }
        }
        Ok(spent)
    }

    /// Threads that have ended meanwhile took their time with them, which is none of note here.
    fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            log: self.log.saturating_sub(before.log),
            index: self.index.saturating_sub(before.index),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            log: self.log + other.log,
            index: self.index + other.index,
        }
    }

    fn percent(self, part: u64) -> f64 {
        100.0 * part as f64 / self.all.max(1) as f64
    }
}

/// Stores the objects and writes the presigned paths into `directory`.
fn prepare(
    access: &Access,
    directory: &Path,
    size: usize,
    count: usize,
) -> anyhow::Result<PathBuf> {
    let directory = directory.join(size.to_string());
    std::fs::create_dir_all(&directory)?;
    let mut command = clients::command("python", &directory)?;
    access.export(&mut command);
    let output = command
        .arg("-B")
        .arg(data::checkout().join("fixtures/clients/presign.py"))
        .args(["bench", &size.to_string(), &count.to_string()])
        .arg(&directory)
        .output()?;
    ensure!(output.status.success(), "preparation failed:\n{}", clients::text(&output));
    Ok(directory)
}

fn load(
    access: &Access,
    paths: &Path,
    method: &str,
    size: usize,
    connections: u32,
) -> anyhow::Result<Rate> {
    let duration = if size < MIB { CELL_SMALL } else { CELL_LARGE };
    let output = Command::new("wrk")
        .args(["--threads", if connections == 1 { "1" } else { "2" }])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs()), "--timeout", "60s"])
        .arg("--script")
        .arg(data::checkout().join("fixtures/load/presigned.lua"))
        .arg(&access.endpoint)
        .env("METHOD", method)
        .env("PATHS", paths.join(method.to_lowercase()))
        .env("BODY_BYTES", if method == "PUT" { size.to_string() } else { "0".to_owned() })
        .stdin(Stdio::null())
        .output()
        .context("cannot run `wrk`: `./test bench` installs it")?;
    let said = clients::text(&output);
    let result = said
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .with_context(|| format!("no result of wrk:\n{said}"))?;
    let figures: Vec<f64> = result.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, duration_us, failed, p50_us, p99_us] = figures[..] else {
        bail!("wrk said {result}");
    };
    Ok(Rate {
        requests_per_s: (requests - failed).max(0.0) / (duration_us / 1e6),
        p50_ms: p50_us / 1e3,
        p99_ms: p99_us / 1e3,
        failed: failed as u64,
    })
}

/// SeaweedFS with our certificate.
fn peer(directory: &Path, server: &Server) -> anyhow::Result<Seaweed> {
    let credentials =
        Credentials { access_key: "bench".to_owned(), secret_key: "bench-secret".to_owned() };
    let certs = server.launch().data_dir().join("config/certs");
    let tls = Tls {
        certificate: certs.join("public.crt"),
        key: certs.join("private.key"),
        ca: server.ready()?.ca.clone().context("no CA")?,
    };
    let peer = Seaweed::start(directory, credentials, 300, Some(tls))?;
    peer.wait(|access| prepare(access, &directory.join("probe"), 16, 1).map(drop))?;
    Ok(peer)
}
