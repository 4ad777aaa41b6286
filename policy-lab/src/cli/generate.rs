//! `policy-lab generate`

use std::collections::BTreeSet;

use anyhow::anyhow;
use policy_lab::action::CATALOGUE;
use policy_lab::replay::{Coverage, Generator, Recorded};
use policy_lab::{Attached, PolicySet, Principal, Request, Resource, evaluate};

use super::events::Events;
use super::{Failure, Verdict, spec};

/// Dropped actions that are named.
const SHOWN_MAX: usize = 12;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab generate --principal svc-ingest --audit appliance-data/audit --since 90d > ingest.json\n  \
    policy-lab generate --principal alice --requests month.jsonl --current readwrite\n\n\
    The policy is on stdout; what it drops of --current is on stderr. Exit codes: 0; 1 no request to make one of;\n\
    2 invalid input; 8 the log fails verification.")]
pub(super) struct Arguments {
    /// Only requests of this caller, by name
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    #[command(flatten)]
    events: Events,
    /// Directories of a key that stay as they are
    #[arg(long, value_name = "N", default_value_t = 1)]
    prefix_depth: usize,
    /// Policies in force, to say what the new one drops: a canned name or FILE.json
    #[arg(long, value_name = "SPEC", num_args = 1..)]
    current: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let current = spec::policies(&arguments.current)?;
    let mut generator = Generator::new(arguments.prefix_depth);
    let mut coverage = Coverage::of_policies(&current);
    let wanted = |event: &Recorded| {
        let allowed = event.recorded.as_ref().is_none_or(|recorded| recorded.allowed);
        let name = &event.request.principal.name;
        allowed && arguments.principal.as_ref().is_none_or(|principal| principal == name)
    };
    let replayed = arguments.events.replay(|events| {
        events.filter(wanted).for_each(|event| {
            generator.add(&event.request);
            coverage.add(&event);
        });
    })?;
    if generator.requests() == 0 {
        let who = arguments.principal.as_deref().unwrap_or("anybody");
        return Err(anyhow!("{} has no allowed request of {who}", replayed.source).into());
    }
    print!("{}", generator.finish());
    eprintln!(
        "allows all {} requests that were allowed in {}",
        generator.requests(),
        replayed.source
    );
    for statement in coverage.finish().iter().filter(|statement| statement.hits == 0) {
        let name = statement.sid.clone().unwrap_or_else(|| format!("#{}", statement.index));
        eprintln!("drops {}: {} {name}, which nothing used", statement.policy, statement.effect);
    }
    dropped_actions(&current, &generator.actions());
    Ok(Verdict::Fine)
}

/// Actions that the current policies allow somewhere and nobody asked for.
fn dropped_actions(current: &[Attached], used: &BTreeSet<&str>) {
    let dropped: Vec<_> = CATALOGUE
        .iter()
        .map(|info| info.name)
        .filter(|action| !used.contains(action) && allows_everywhere(current, action))
        .collect();
    if dropped.is_empty() {
        return;
    }
    let shown = dropped.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>().join(" ");
    let more = match dropped.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    eprintln!("drops actions: {shown}{more}");
}

/// Whether an action is allowed on a bucket that nobody names: then it is allowed everywhere.
fn allows_everywhere(current: &[Attached], action: &str) -> bool {
    let Ok(action) = policy_lab::Action::parse(action) else { return false };
    let set = PolicySet { identity: current.to_vec(), ..PolicySet::default() };
    let resources = [
        Resource::Any,
        Resource::Bucket("any-bucket".to_owned()),
        Resource::Object { bucket: "any-bucket".to_owned(), key: "any/key".to_owned() },
    ];
    resources.into_iter().any(|resource| {
        let request = Request {
            action: action.clone(),
            resource,
            principal: Principal::user("000000000000", "anybody"),
            context: policy_lab::Context::new(),
        };
        evaluate(&set, &request).is_allowed()
    })
}
