//! Requests from an audit log, after it proved itself.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, anyhow};
use policy_lab::replay::{
    Chunk, Detail, Event, LogOptions, Recorded, World, audit_line, simulate_log,
};

use super::since::Since;
use super::{Events, Replayed, Simulated};
use crate::cli::progress::Progress;
use crate::cli::{Failure, input};

/// Complaints about single records that are printed at most.
const COMPLAINTS_MAX: u64 = 5;

/// Finds the documents that the log's records name among the log's own blobs.
pub(in crate::cli) fn blobs(directory: &Path) -> impl Fn([u8; 32]) -> Option<String> + 'static {
    let directory = directory.to_owned();
    move |digest| {
        let bytes = audit::read_blob(&directory, &hex::encode(digest)).ok()?;
        String::from_utf8(bytes).ok()
    }
}

/// Verifies the log and lets `visit` see its decisions, one at a time.
pub(super) fn replay<T>(
    arguments: &Events,
    visit: impl FnOnce(&mut dyn Iterator<Item = Recorded>) -> T,
) -> Result<Replayed<T>, Failure> {
    let directory = arguments.audit.as_deref().ok_or_else(|| anyhow!("no log was given"))?;
    let (size, state) = verify(directory, arguments)?;
    let progress = Progress::new("replaying the log");
    let mut failure = None;
    let mut unreadable = 0;
    let mut events = audit::records(directory).map_while(|record| {
        let (seq, leaf) = match record {
            Ok(record) => record,
            Err(error) => {
                failure = Some(error);
                return None;
            }
        };
        progress.at(seq, Some(size));
        Some(audit_line(seq, &leaf).unwrap_or_else(|error| {
            unreadable += 1;
            complain(seq, &error.message, unreadable);
            None
        }))
    });
    let wanted = |event: &Event| arguments.since.is_none_or(|since| since.includes(event.time_us));
    let value = visit(&mut events.by_ref().flatten().filter(wanted).map(|event| event.recorded));
    drop(events);
    drop(progress);
    if let Some(error) = failure {
        return Err(Failure::Integrity(anyhow!(error).context("reading the log")));
    }
    if unreadable > 0 {
        eprintln!("warning: {unreadable} decisions could not be replayed");
    }
    let source = format!("audit log {}, {size} records, {state}", directory.display());
    Ok(Replayed { value, source, unreadable })
}

/// Verifies the log and replays its decisions in two worlds, on all processors.
pub(super) fn simulate(
    arguments: &Events,
    worlds: &(dyn Fn() -> (World, World) + Sync),
    detail: Detail,
) -> Result<Replayed<Simulated>, Failure> {
    let directory = arguments.audit.as_deref().ok_or_else(|| anyhow!("no log was given"))?;
    let (size, state) = verify(directory, arguments)?;
    let options = LogOptions {
        detail,
        threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        since_us: arguments.since.map(Since::as_us),
        every: arguments.every,
    };
    let chunks = audit::pieces(directory)
        .map(|piece| piece.map(|piece| Chunk { first: piece.first, lines: piece.lines }));
    let progress = Mutex::new(Progress::new("replaying the log"));
    let told = |seq| progress.lock().unwrap_or_else(PoisonError::into_inner).at(seq, Some(size));
    let replayed = simulate_log(chunks, worlds, options, &told)
        .map_err(|error| Failure::Integrity(anyhow!(error).context("reading the log")))?;
    drop(progress);
    for (number, line) in (1..).zip(&replayed.complaints) {
        complain(line.seq, &line.error.message, number);
    }
    if replayed.unreadable > 0 {
        eprintln!("warning: {} decisions could not be replayed", replayed.unreadable);
    }
    Ok(Replayed {
        value: Simulated { outcome: replayed.outcome, unmatched: replayed.unmatched },
        source: format!("audit log {}, {size} records, {state}", directory.display()),
        unreadable: replayed.unreadable,
    })
}

fn complain(seq: u64, message: &str, number: u64) {
    if number <= COMPLAINTS_MAX {
        eprintln!("warning: record {seq}: {message}");
    }
}

/// Checks signatures, hashes and order; answers the number of records, and what the check said.
fn verify(directory: &Path, arguments: &Events) -> Result<(u64, String), Failure> {
    let vkey = match &arguments.vkey {
        Some(given) => key_text(given)?,
        None => {
            eprintln!("warning: the log is verified with the key it declares itself; give --vkey");
            declared_key(directory)?
        }
    };
    let progress = Progress::new("verifying the log");
    let options = audit::VerifyOptions {
        vkey,
        last_seen: None,
        strict: false,
        progress: &|done, total| progress.at(done, Some(total)),
    };
    let report = audit::verify(directory, &options)
        .map_err(|error| anyhow!(error).context("verifying the log"))?;
    drop(progress);
    if matches!(report.state, audit::State::Valid | audit::State::TailUnproven) {
        return Ok((report.size, report.state.to_string()));
    }
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    let state = report.state;
    if arguments.unverified {
        eprintln!("warning: the log is {state}; replaying it as you asked");
        return Ok((report.size, state.to_string()));
    }
    Err(Failure::Integrity(anyhow!("the log is {state}; --unverified replays it nevertheless")))
}

/// The first key in `log.json`, whose first line is a JSON object.
fn declared_key(directory: &Path) -> anyhow::Result<String> {
    let path = directory.join("log.json");
    let text = input::text(&path)?;
    let line = text.lines().next().unwrap_or_default();
    let identity: serde_json::Value =
        serde_json::from_str(line).with_context(|| format!("{} is not a log's", path.display()))?;
    identity
        .pointer("/vkeys/0")
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("{} declares no key; give --vkey", path.display()))
}

/// A verifier key as it was given: its text, or the name of the file that holds it.
fn key_text(given: &str) -> anyhow::Result<String> {
    let path = Path::new(given);
    if !path.is_file() {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {given}"))?;
    Ok(text.trim().to_owned())
}
