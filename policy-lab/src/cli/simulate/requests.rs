//! Requests from a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use policy_lab::replay::{Outcome, Recorded, request_line};

use super::Replayed;
use super::since::Since;
use crate::cli::Failure;
use crate::cli::progress::Progress;

/// Replays every line; the first one that is not a request ends it.
pub(super) fn replay(
    path: &Path,
    since: Option<Since>,
    simulate: impl FnOnce(&mut dyn Iterator<Item = Recorded>) -> Outcome,
) -> Result<Replayed, Failure> {
    let (name, reader): (_, Box<dyn BufRead>) = if path == Path::new("-") {
        ("stdin".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        (path.display().to_string(), Box::new(BufReader::new(file)))
    };
    let progress = Progress::new("replaying requests");
    let mut failure = None;
    let mut done = 0;
    let mut events = reader.lines().enumerate().map_while(|(index, line)| {
        done += 1;
        progress.at(done, None);
        match read(&name, index + 1, line, since) {
            Ok(event) => Some(event),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    let outcome = simulate(&mut events.by_ref().flatten());
    drop(events);
    match failure {
        Some(error) => Err(Failure::Invalid(error)),
        None => Ok(Replayed { outcome, source: name, unreadable: 0 }),
    }
}

fn read(
    name: &str,
    number: usize,
    line: io::Result<String>,
    since: Option<Since>,
) -> anyhow::Result<Option<Recorded>> {
    let line = line.with_context(|| format!("reading {name}"))?;
    let event = request_line(number, &line)
        .map_err(|error| anyhow!("{name}:{number}:{}: {}", error.column, error.message))?;
    Ok(event
        .filter(|event| since.is_none_or(|since| since.includes(event.time_us)))
        .map(|event| event.recorded))
}
