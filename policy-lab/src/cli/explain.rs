//! `policy-lab explain`: why a request was, or would be, allowed or denied.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use policy_lab::explain::{Detail, json, text};
use policy_lab::replay::{Event, Recorded, World, audit_line, request_line};

use super::events::audit_log;
use super::reading::Reading;
use super::{Failure, Verdict, input, output, spec};

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("input").required(true),
    after_help = "Examples:\n  \
        policy-lab explain --audit appliance-data/audit 01M85E83VDVPRGR00C38VTJ0TF\n  \
        policy-lab explain --requests requests.jsonl r2 --draft writer.json\n\n\
        Exit codes: 0 allowed, 1 denied, 2 usage or invalid input."
)]
pub(super) struct Arguments {
    /// Directory of an audit log; it is not verified
    #[arg(long, value_name = "DIR", group = "input")]
    audit: Option<PathBuf>,
    /// Requests, one JSON object per line; `-` is stdin
    #[arg(long, value_name = "FILE", group = "input")]
    requests: Option<PathBuf>,
    /// Which one: an event of the log or its seq, or the `id` of a request; by default the only request there is
    #[arg(value_name = "EVENT", required_unless_present = "requests")]
    which: Option<String>,
    /// Proposed policies, as for `simulate`, on top of what was recorded; without a log there is nothing else
    #[arg(long, value_name = "SPEC", num_args = 1..)]
    draft: Vec<String>,
    /// How policies are read
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    /// Show also the statements on other actions and resources
    #[arg(long)]
    all: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let which = arguments.which.as_deref();
    let (start, event) = match (&arguments.audit, &arguments.requests) {
        (Some(directory), _) => {
            (World::recorded(audit_log::blobs(directory)), recorded(directory, which)?)
        }
        (None, Some(path)) => (World::empty(), request(path, which)?),
        (None, None) => return Err(Failure::Invalid(anyhow!("give --audit or --requests"))),
    };
    let world = spec::changes(&arguments.draft)?.into_iter().fold(start, World::with);
    let explanation = world
        .explain_as(&event, arguments.profile.profile())
        .with_context(|| format!("finding the policies of `{}`", event.id))?;
    let detail = if arguments.all { Detail::All } else { Detail::Relevant };
    output::print(&if arguments.json { json(&explanation) } else { text(&explanation, detail) })?;
    let is_allowed = explanation.decision.is_allowed();
    Ok(if is_allowed { Verdict::Fine } else { Verdict::Negative })
}

/// The decision with this event id or seq.
fn recorded(directory: &Path, which: Option<&str>) -> anyhow::Result<Recorded> {
    let which = which.unwrap_or_default();
    let found = match which.parse::<u64>() {
        // An event has 26 characters, a seq at most 20.
        Ok(seq) if which.len() <= 20 => audit::read_record(directory, seq),
        _ => audit::find_event(directory, which),
    };
    let leaf = found
        .with_context(|| format!("searching {}", directory.display()))?
        .ok_or_else(|| anyhow!("{} has no record `{which}`", directory.display()))?;
    let event =
        audit_line(0, &leaf).map_err(|error| anyhow!("record `{which}`: {}", error.message))?;
    event
        .map(|event| event.recorded)
        .ok_or_else(|| anyhow!("record `{which}` is not a decision; its `ref` names the decision"))
}

/// The request with this id, or the only one.
fn request(path: &Path, which: Option<&str>) -> anyhow::Result<Recorded> {
    let text = match path == Path::new("-") {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading stdin")?;
            text
        }
        false => input::text(path)?,
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let event = request_line(index + 1, line)
            .map_err(|error| input::of_line(&path.display().to_string(), index + 1, &error))?;
        let is_wanted = |event: &Event| which.is_none_or(|which| event.recorded.id == which);
        found.extend(event.filter(is_wanted).map(|event| event.recorded));
    }
    match (found.pop(), found.is_empty()) {
        (Some(event), true) => Ok(event),
        (None, _) => bail!("{} has no request `{}`", path.display(), which.unwrap_or_default()),
        (Some(_), false) => bail!("{} has several requests; name one by its id", path.display()),
    }
}
