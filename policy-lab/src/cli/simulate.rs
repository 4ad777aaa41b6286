//! `policy-lab simulate`

mod audit_log;
mod requests;
mod since;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use policy_lab::replay::{Class, Detail, Export, Outcome, Recorded, World, simulate_in_detail};
use policy_lab::report::{self, Title};

use self::since::Since;
use super::{Failure, Verdict, input, spec};

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("input").required(true),
    after_help = "Examples:\n  \
        policy-lab simulate --audit appliance-data/audit --vkey audit.vkey --draft writer=draft.json\n  \
        policy-lab simulate --world world.json --audit appliance-data/audit --draft next-world.json --format html --out review.html\n  \
        policy-lab simulate --requests month.jsonl --baseline readwrite --draft readonly --fail-on newly-denied\n\n\
        Exit codes: 0 no change that --fail-on names; 1 such a change, or a past that was not reproduced; \
        2 invalid input; 4 only --fail-on unknown was met; 8 the log fails verification."
)]
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
    /// What is in force, as `appliance iam export` wrote it, in place of what was recorded
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// What to compare with: `recorded`, and changes as for --draft on top [default: recorded;
    /// with --requests: no policies]
    #[arg(long, value_name = "SPEC", num_args = 1..)]
    baseline: Vec<String>,
    /// Proposed policies, on top of the baseline: a canned name or FILE.json (everybody but root has exactly these),
    /// NAME=FILE.json or NAME=canned, bucket:NAME=FILE.json, FILE.rego, a directory of these, or another world
    #[arg(long, value_name = "SPEC", num_args = 1.., required = true)]
    draft: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Write the report to a file; stdout has the table
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 1 if there is such a change; with 4 if all there is is `unknown`
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHANGE")]
    fail_on: Vec<FailOn>,
    /// Only later events: a time (2026-11-05T10:00:00Z), a date, or an age such as 30d, 12h, 45m
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Replay every Nth event only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
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
    Html,
    Sarif,
    Junit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    NewlyDenied,
    NewlyAllowed,
    Unknown,
    ReasonChanged,
}

impl FailOn {
    fn class(self) -> Class {
        match self {
            Self::NewlyDenied => Class::NewlyDenied,
            Self::NewlyAllowed => Class::NewlyAllowed,
            Self::Unknown => Class::Unknown,
            Self::ReasonChanged => Class::ReasonChanged,
        }
    }
}

/// An outcome, where its events come from, and how many records could not be replayed at all.
struct Replayed {
    outcome: Outcome,
    source: String,
    unreadable: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let worlds = worlds(arguments)?;
    let detail = Detail { samples_max: arguments.samples, prefix_depth: arguments.prefix_depth };
    let mut number = 0;
    let mut is_sampled = |_: &Recorded| {
        number += 1;
        number % arguments.every == 0
    };
    let replay = |events: &mut dyn Iterator<Item = Recorded>| {
        let events = events.filter(|event| is_sampled(event));
        simulate_in_detail(events, &worlds.baseline, &worlds.draft, detail)
    };
    let Replayed { outcome, source, unreadable } = match &arguments.requests {
        Some(path) => requests::replay(path, arguments.since, replay)?,
        None => audit_log::replay(arguments, replay)?,
    };
    report(arguments, &outcome, &title(arguments, source))?;
    for name in worlds.draft.unmatched() {
        eprintln!(
            "warning: no event was decided by a policy named `{name}`; the draft of it changed nothing"
        );
    }
    let failing = arguments.fail_on.iter().map(|change| change.class());
    let met: Vec<_> = failing.filter(|class| outcome.count(*class) > 0).collect();
    let reproduced = outcome.self_check.holds() && unreadable == 0;
    Ok(match met.as_slice() {
        _ if !reproduced => Verdict::Negative,
        [] => Verdict::Fine,
        classes if classes.iter().all(|class| *class == Class::Unknown) => Verdict::Unknown,
        _ => Verdict::Negative,
    })
}

fn report(arguments: &Arguments, outcome: &Outcome, title: &Title) -> anyhow::Result<()> {
    let failing: Vec<_> = arguments.fail_on.iter().map(|change| change.class()).collect();
    let format = if arguments.json { Format::Json } else { arguments.format };
    let text = match format {
        Format::Table => report::table(outcome),
        Format::Json => report::json(outcome),
        Format::Markdown => report::markdown(outcome),
        Format::Html => report::html(outcome, title),
        Format::Sarif => report::sarif(outcome, title),
        Format::Junit => report::junit(outcome, title, &failing),
    };
    match &arguments.out {
        None => print!("{text}"),
        Some(path) => {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            print!("{}", report::table(outcome));
        }
    }
    Ok(())
}

fn title(arguments: &Arguments, source: String) -> Title {
    let baseline = match &arguments.world {
        Some(path) => format!("the world of {}", path.display()),
        None if arguments.requests.is_some() => "no policies".to_owned(),
        None => "what was recorded".to_owned(),
    };
    let more: Vec<_> =
        arguments.baseline.iter().filter(|spec| *spec != "recorded").cloned().collect();
    let baseline = match more.is_empty() {
        true => baseline,
        false => format!("{baseline}, with {}", more.join(", ")),
    };
    let file = |spec: &String| {
        let path = spec.split_once('=').map_or(spec.as_str(), |(_, path)| path);
        Path::new(path).is_file().then(|| path.to_owned())
    };
    let sampled = match arguments.every {
        1 => String::new(),
        every => format!(", every {every}th of them"),
    };
    Title {
        source: source + &sampled,
        baseline,
        draft: arguments.draft.clone(),
        file: arguments.draft.iter().find_map(file),
    }
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
    if !keyword.is_empty() && arguments.world.is_some() {
        bail!("--world takes the place of what was recorded; leave out --baseline recorded");
    }
    let baseline = spec::changes(&baseline)?;
    let draft = spec::changes(&arguments.draft)?;
    let export = arguments.world.as_deref().map(export).transpose()?;
    let start = || match (&export, &arguments.audit) {
        (Some(export), Some(directory)) => {
            World::exported(Arc::clone(export)).with_blobs(audit_log::blobs(directory))
        }
        (Some(export), None) => World::exported(Arc::clone(export)),
        (None, Some(directory)) => World::recorded(audit_log::blobs(directory)),
        (None, None) => World::empty(),
    };
    let before = baseline.iter().cloned().fold(start(), World::with);
    let after = baseline.into_iter().chain(draft).fold(start(), World::with);
    Ok(Worlds { baseline: before, draft: after })
}

/// Reads a world that the appliance exported.
pub(super) fn export(path: &Path) -> anyhow::Result<Arc<Export>> {
    let text = input::text(path)?;
    let export = Export::parse(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(Arc::new(export))
}
