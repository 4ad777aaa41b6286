//! Requests from a file: our own lines, or those of another server's log.

use std::path::Path;

use policy_lab::replay::{Foreign, Recorded, import, request_line};

use super::Replayed;
use super::since::Since;
use crate::cli::progress::Progress;
use crate::cli::{Failure, input};

/// Replays every line; the first one that is not a request ends it.
pub(super) fn replay<T>(
    path: &Path,
    from: Option<Foreign>,
    since: Option<Since>,
    visit: impl FnOnce(&mut dyn Iterator<Item = Recorded>) -> T,
) -> Result<Replayed<T>, Failure> {
    let (name, lines) = input::lines(path)?;
    let progress = Progress::new("replaying requests");
    let mut failure = None;
    let mut skipped = 0;
    let mut done = 0;
    let mut events = lines.enumerate().map_while(|(index, line)| {
        done += 1;
        progress.at(done, None);
        match read(&name, index + 1, line, from, &mut skipped) {
            Ok(events) => Some(events),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    let wanted =
        |event: &policy_lab::replay::Event| since.is_none_or(|since| since.includes(event.time_us));
    let value = visit(&mut events.by_ref().flatten().filter(wanted).map(|event| event.recorded));
    drop(events);
    if let Some(error) = failure {
        return Err(Failure::Invalid(error));
    }
    if skipped > 0 {
        eprintln!("warning: {skipped} entries of {name} are no requests that a policy decides");
    }
    Ok(Replayed { value, source: name, unreadable: 0 })
}

fn read(
    name: &str,
    number: usize,
    line: anyhow::Result<String>,
    from: Option<Foreign>,
    skipped: &mut usize,
) -> anyhow::Result<Vec<policy_lab::replay::Event>> {
    let line = line?;
    let place = |error: policy_lab::replay::LineError| input::of_line(name, number, &error);
    let Some(log) = from else {
        return Ok(request_line(number, &line).map_err(place)?.into_iter().collect());
    };
    let imported = import(log, &line).map_err(place)?;
    *skipped += imported.skipped.len();
    let mut events = Vec::new();
    for line in &imported.lines {
        events.extend(request_line(number, line).map_err(place)?);
    }
    Ok(events)
}
