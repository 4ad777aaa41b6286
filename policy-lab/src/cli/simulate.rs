//! `policy-lab simulate`

mod audit_log;
mod requests;
mod since;

use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use policy_lab::replay::{Class, Detail, Outcome, World, simulate_in_detail};
use policy_lab::report;

use self::since::Since;
use super::{Failure, Verdict, spec};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(super) struct Arguments {
    /// Directory of an audit log; it is verified first
    #[arg(long, value_name = "DIR", group = "input")]
    audit: Option<PathBuf>,
    /// Requests, one JSON object per line; `-` is stdin
    #[arg(long, value_name = "FILE", group = "input")]
    requests: Option<PathBuf>,
    /// The log's verifier key or the file that holds it, from a place you trust; by default what the log says of itself
    #[arg(long, value_name = "KEY", conflicts_with = "requests")]
    vkey: Option<String>,
    /// Replay a log that fails verification
    #[arg(long, conflicts_with = "requests")]
    unverified: bool,
    /// What to compare with: `recorded`, and changes as for --draft on top [default: recorded;
    /// with --requests: no policies]
    #[arg(long, value_name = "SPEC", num_args = 1..)]
    baseline: Vec<String>,
    /// Proposed policies, on top of the baseline: a canned name or FILE.json (everybody but root has exactly these),
    /// NAME=FILE.json or NAME=canned, bucket:NAME=FILE.json, FILE.rego, or a directory of these
    #[arg(long, value_name = "SPEC", num_args = 1.., required = true)]
    draft: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Exit with 1 if there is such a change
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHANGE")]
    fail_on: Vec<FailOn>,
    /// Only later events: a time (2026-11-05T10:00:00Z), a date, or an age such as 30d, 12h, 45m
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Events named per group
    #[arg(long, value_name = "N", default_value_t = 3)]
    samples: usize,
    /// Directories of a key that make a group of their own
    #[arg(long, value_name = "N", default_value_t = 1)]
    prefix_depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    NewlyDenied,
    NewlyAllowed,
    ReasonChanged,
}

impl FailOn {
    fn class(self) -> Class {
        match self {
            Self::NewlyDenied => Class::NewlyDenied,
            Self::NewlyAllowed => Class::NewlyAllowed,
            Self::ReasonChanged => Class::ReasonChanged,
        }
    }
}

/// An outcome, and how many records could not be replayed at all.
struct Replayed {
    outcome: Outcome,
    unreadable: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let worlds = worlds(arguments)?;
    let detail = Detail { samples_max: arguments.samples, prefix_depth: arguments.prefix_depth };
    let replay = |events: &mut dyn Iterator<Item = _>| {
        simulate_in_detail(events, &worlds.baseline, &worlds.draft, detail)
    };
    let Replayed { outcome, unreadable } = match &arguments.requests {
        Some(path) => requests::replay(path, arguments.since, replay)?,
        None => audit_log::replay(arguments, replay)?,
    };
    print!(
        "{}",
        match arguments.format {
            Format::Table => report::table(&outcome),
            Format::Json => report::json(&outcome),
            Format::Markdown => report::markdown(&outcome),
        }
    );
    for name in worlds.draft.unmatched() {
        eprintln!(
            "warning: no event was decided by a policy named `{name}`; the draft of it changed nothing"
        );
    }
    let failed = arguments.fail_on.iter().any(|change| count(&outcome, change.class()) > 0);
    let reproduced = outcome.self_check.holds() && unreadable == 0;
    Ok(if failed || !reproduced { Verdict::Negative } else { Verdict::Fine })
}

struct Worlds {
    baseline: World,
    draft: World,
}

fn worlds(arguments: &Arguments) -> anyhow::Result<Worlds> {
    let (keyword, baseline): (Vec<_>, Vec<_>) =
        arguments.baseline.iter().cloned().partition(|spec| spec == "recorded");
    if !keyword.is_empty() && arguments.requests.is_some() {
        bail!(
            "a file of requests has no recorded policies; give --baseline a policy, or use --audit"
        );
    }
    let baseline = spec::changes(&baseline)?;
    let draft = spec::changes(&arguments.draft)?;
    let start = || match &arguments.audit {
        Some(directory) => audit_log::world(directory),
        None => World::empty(),
    };
    let before = baseline.iter().cloned().fold(start(), World::with);
    let after = baseline.into_iter().chain(draft).fold(start(), World::with);
    Ok(Worlds { baseline: before, draft: after })
}

fn count(outcome: &Outcome, class: Class) -> u64 {
    match class {
        Class::NewlyDenied => outcome.totals.newly_denied,
        Class::NewlyAllowed => outcome.totals.newly_allowed,
        Class::ReasonChanged => outcome.totals.reason_changed,
    }
}
