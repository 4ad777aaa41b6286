//! `policy-lab simulate`

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use policy_lab::replay::{Change, Class, Detail, Export, Outcome, World};
use policy_lab::report::{self, Title};

use super::events::{Events, Replayed, Simulated};
use super::reading::Reading;
use super::{Failure, Verdict, input, output, spec};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        policy-lab simulate --audit appliance-data/audit --vkey audit.vkey --draft writer=draft.json\n  \
        policy-lab simulate --world world.json --audit appliance-data/audit --draft next-world.json --format html --out review.html\n  \
        policy-lab simulate --requests month.jsonl --baseline readwrite --draft readonly --fail-on newly-denied\n\n\
        Exit codes: 0 no change that --fail-on names; 1 such a change, or a past that was not reproduced; \
        2 invalid input; 4 only --fail-on unknown was met; 8 the log fails verification.")]
pub(super) struct Arguments {
    #[command(flatten)]
    events: Events,
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
    /// How the given policies and worlds are read
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    #[command(flatten)]
    review: Review,
}

/// What becomes of the outcome.
#[derive(Debug, clap::Args)]
pub(super) struct Review {
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
    /// Events named per group
    #[arg(long, value_name = "N", default_value_t = 3)]
    samples: usize,
    /// Directories of a key that make a group of their own
    #[arg(long, value_name = "N", default_value_t = 1)]
    prefix_depth: usize,
}

impl Review {
    /// `--fail-on` names this change.
    pub(super) fn fails_on(&self, class: Class) -> bool {
        self.fail_on.iter().any(|change| change.class() == class)
    }

    /// Nothing but the table goes to stdout.
    pub(super) fn is_table(&self) -> bool {
        self.out.is_some() || self.format == Format::Table && !self.json
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
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

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let sides = sides(arguments)?;
    let worlds = || sides.worlds(&arguments.events);
    let baseline = match &arguments.world {
        Some(path) => format!("the world of {}", path.display()),
        None if arguments.events.is_audit() => "what was recorded".to_owned(),
        None => "no policies".to_owned(),
    };
    let more: Vec<_> = arguments.baseline.iter().filter(|spec| *spec != "recorded").collect();
    let baseline = match more.is_empty() {
        true => baseline,
        false => {
            let more: Vec<_> = more.into_iter().map(String::as_str).collect();
            format!("{baseline}, with {}", more.join(", "))
        }
    };
    review(&arguments.events, &arguments.review, &worlds, title(baseline, arguments.draft.clone()))
}

/// Replays the events in the two worlds that `worlds` makes, and reports what changes.
pub(super) fn review(
    events: &Events,
    arguments: &Review,
    worlds: &(dyn Fn() -> (World, World) + Sync),
    title: Title,
) -> Result<Verdict, Failure> {
    let detail = Detail { samples_max: arguments.samples, prefix_depth: arguments.prefix_depth };
    let Replayed { value: simulated, source, unreadable } = events.simulate(worlds, detail)?;
    let Simulated { outcome, unmatched } = simulated;
    report(arguments, &outcome, &Title { source, ..title })?;
    for name in unmatched {
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

fn report(arguments: &Review, outcome: &Outcome, title: &Title) -> anyhow::Result<()> {
    let failing: Vec<_> = arguments.fail_on.iter().map(|change| change.class()).collect();
    let format = if arguments.json { Format::Json } else { arguments.format };
    let text = match format {
        Format::Table => report::table(outcome),
        Format::Json => report::json(outcome),
        Format::Csv => report::csv(outcome),
        Format::Markdown => report::markdown(outcome),
        Format::Html => report::html(outcome, title),
        Format::Sarif => report::sarif(outcome, title),
        Format::Junit => report::junit(outcome, title, &failing),
    };
    match &arguments.out {
        None => output::print(&text)?,
        Some(path) => {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            output::print(&report::table(outcome))?;
        }
    }
    Ok(())
}

/// What the reports say of both sides; where the events come from is said later.
pub(super) fn title(baseline: String, draft: Vec<String>) -> Title {
    let file = |spec: &String| {
        let path = spec.split_once('=').map_or(spec.as_str(), |(_, path)| path);
        Path::new(path).is_file().then(|| path.to_owned())
    };
    let file = draft.iter().find_map(file);
    Title { source: String::new(), baseline, draft, file }
}

/// What both worlds are made from.
struct Sides {
    export: Option<Arc<Export>>,
    baseline: Vec<Change>,
    /// On top of the baseline.
    draft: Vec<Change>,
}

impl Sides {
    fn worlds(&self, events: &Events) -> (World, World) {
        let start = || match &self.export {
            Some(export) => events.beside(World::exported(Arc::clone(export))),
            None => events.world(),
        };
        let before = self.baseline.iter().cloned();
        let after = before.clone().chain(self.draft.iter().cloned());
        (before.fold(start(), World::with), after.fold(start(), World::with))
    }
}

fn sides(arguments: &Arguments) -> anyhow::Result<Sides> {
    let (keyword, baseline): (Vec<_>, Vec<_>) =
        arguments.baseline.iter().cloned().partition(|spec| spec == "recorded");
    if !keyword.is_empty() && !arguments.events.is_audit() {
        bail!(
            "a file of requests has no recorded policies; give --baseline a policy, or use --audit"
        );
    }
    if !keyword.is_empty() && arguments.world.is_some() {
        bail!("--world takes the place of what was recorded; leave out --baseline recorded");
    }
    let reading = arguments.profile;
    let baseline = reading.changes(spec::changes(&baseline)?)?;
    let draft = reading.changes(spec::changes(&arguments.draft)?)?;
    let export = arguments.world.as_deref().map(input::export).transpose()?;
    let export = export.map(|export| reading.export(export)).transpose()?;
    Ok(Sides { export, baseline, draft })
}
