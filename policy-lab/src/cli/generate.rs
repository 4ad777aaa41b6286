//! `policy-lab generate`

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use policy_lab::action::CATALOGUE;
use policy_lab::analyze::{
    Access, Asker, Others, Verdict as Proof, Within, World, no_more_permissive, no_more_than,
    request_line,
};
use policy_lab::replay::{Coverage, Generator, Recorded, caller_context};
use policy_lab::{
    Attached, Context, DocumentKind, Policy, PolicySet, Principal, PrincipalKind, Request,
    Resource, evaluate,
};

use super::events::Events;
use super::{Failure, Verdict, output, spec};

/// Different requests that are asked again.
const OBSERVED_MAX: usize = 100_000;

/// Dropped actions that are named.
const SHOWN_MAX: usize = 12;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab generate --principal svc-ingest --audit appliance-data/audit --since 90d > ingest.json\n  \
    policy-lab generate --principal alice --requests month.jsonl --current readwrite\n\n\
    The policy is on stdout; on stderr is what it drops of --current, and whether it is proved to\n\
    allow nothing that --current does not. Exit codes: 0; 1 it allows what --current does not; 2 invalid input, or no\n\
    request to make one of; 8 the log fails verification.")]
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
    let mut observed = Observed::default();
    let mut coverage = Coverage::of_policies(&current);
    let wanted = |event: &Recorded| {
        let allowed = event.recorded.as_ref().is_none_or(|recorded| recorded.allowed);
        let name = &event.request.principal.name;
        // No policy that is attached to somebody speaks of callers without credentials.
        let is_somebody = event.request.principal.kind != PrincipalKind::Anonymous;
        allowed
            && is_somebody
            && arguments.principal.as_ref().is_none_or(|principal| principal == name)
    };
    let replayed = arguments.events.replay(|events| {
        events.filter(wanted).for_each(|event| {
            generator.add(&event.request);
            observed.add(&event.request);
            coverage.add(&event);
        });
    })?;
    if generator.requests() == 0 {
        let who = arguments.principal.as_deref().unwrap_or("anybody");
        return Err(anyhow!("{} has no allowed request of {who}", replayed.source).into());
    }
    let text = generator.finish();
    let made = policy(&text)?;
    let asked = observed.check(&made)?;
    output::print(&text)?;
    eprintln!(
        "allows all {} requests that were allowed in {} ({asked} different ones were asked again)",
        generator.requests(),
        replayed.source
    );
    let is_within = arguments.current.is_empty() || within(&made, &current, arguments);
    for statement in coverage.finish().iter().filter(|statement| statement.hits == 0) {
        let name = statement.sid.clone().unwrap_or_else(|| format!("#{}", statement.index));
        eprintln!("drops {}: {} {name}, which nothing used", statement.policy, statement.effect);
    }
    dropped_actions(&current, &generator.actions());
    Ok(if is_within { Verdict::Fine } else { Verdict::Negative })
}

/// The generated policy, as it would be attached.
fn policy(text: &str) -> anyhow::Result<PolicySet> {
    let policy = Policy::parse(text, DocumentKind::Identity);
    let policy = policy.map_err(|error| anyhow!("the generated policy is refused: {error}"))?;
    let identity = vec![Attached { name: Arc::from("generated"), policy: Arc::new(policy) }];
    Ok(PolicySet { identity, ..PolicySet::default() })
}

/// Different requests that were observed, up to a bound.
#[derive(Default)]
struct Observed {
    seen: HashSet<(String, String, String)>,
    requests: Vec<Request>,
}

impl Observed {
    fn add(&mut self, request: &Request) {
        let what = (
            request.principal.name.clone(),
            request.action.as_str().to_owned(),
            request.resource.arn(),
        );
        if self.seen.len() < OBSERVED_MAX && self.seen.insert(what) {
            self.requests.push(request.clone());
        }
    }

    /// Asks the evaluator again; answers how many there were.
    fn check(&self, made: &PolicySet) -> anyhow::Result<usize> {
        let denied = self.requests.iter().find(|request| !evaluate(made, request).is_allowed());
        match denied {
            None => Ok(self.requests.len()),
            Some(request) => Err(anyhow!(
                "the generated policy does not allow {}; please report this",
                request_line(request)
            )),
        }
    }
}

/// Whether the new policy is proved to allow nothing that the current ones do not; says so, or what it allows.
fn within(made: &PolicySet, current: &[Attached], arguments: &Arguments) -> bool {
    let access = |policies: PolicySet| Access { policies, bucket: None };
    let current = PolicySet { identity: current.to_vec(), ..PolicySet::default() };
    let (made, current) = (access(made.clone()), access(current));
    let proof = match &arguments.principal {
        // Whose name is known, variables stand for something.
        Some(name) => {
            let principal = Principal::user("000000000000", name);
            let asker = Asker {
                context: caller_context(&Context::new(), &principal),
                principal,
                others: Others::OpenBut(Vec::new()),
            };
            no_more_than(&made, &current, &asker, &Within::Outside(Vec::new()))
        }
        None => no_more_permissive(&made, &current, World::S3),
    };
    match proof {
        Proof::Proved => eprintln!("proved: it allows nothing that the current policies do not"),
        Proof::Unknown(limit) => {
            eprintln!("not proved that it allows nothing new: {limit}");
        }
        Proof::Refuted(found) => {
            let line = request_line(&found.request);
            eprintln!("allows what the current policies do not, for example\n{line}");
            return false;
        }
    }
    true
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
            context: Context::new(),
        };
        evaluate(&set, &request).is_allowed()
    })
}
