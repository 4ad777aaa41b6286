//! `policy-lab bench`: what your own policies cost for your own requests.
//!
//! Each request is decided many times in a row, in several rounds; its cost is that of the fastest round, because
//! whatever else the machine does can only make a round slower. Percentiles are over the requests.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use policy_lab::replay::{Change, Export, Recorded};
use policy_lab::{Attached, Compiled, Guardrails, PolicySet, evaluate, report, rule};
use serde_json::json;

use super::events::Events;
use super::{Failure, Verdict, input, output, spec};

/// Requests that are timed at most; more say nothing new.
const REQUESTS_MAX: usize = 10_000;
/// Rounds per request, of which the fastest counts.
const ROUNDS: usize = 5;
/// How long a round takes, at least: much longer than reading the clock.
const ROUND: Duration = Duration::from_micros(50);

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("policies").required(true),
    after_help = "Examples:\n  \
        policy-lab bench --world world.json --audit appliance-data/audit\n  \
        policy-lab bench --policy writer.json readonly --requests month.jsonl --json\n\n\
        Exit codes: 0; 2 invalid input; 8 the log fails verification."
)]
pub(super) struct Arguments {
    /// Who has which policies, as `appliance iam export` wrote it
    #[arg(long, value_name = "FILE", group = "policies")]
    world: Option<PathBuf>,
    /// Policies that every caller has: a canned name, FILE.json, bucket:NAME=FILE.json, FILE.rego
    #[arg(long, value_name = "SPEC", num_args = 1.., group = "policies")]
    policy: Vec<String>,
    #[command(flatten)]
    events: Events,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let started = Instant::now();
    let subject = match &arguments.world {
        Some(path) => Subject::World(input::export(path)?),
        None => Subject::policies(spec::changes(&arguments.policy)?)?,
    };
    let load = started.elapsed();
    let taken = |events: &mut dyn Iterator<Item = Recorded>| events.take(REQUESTS_MAX).collect();
    let replayed = arguments.events.replay::<Vec<Recorded>>(taken)?;
    let mut costs = Costs::default();
    let mut sets = HashMap::new();
    for event in &replayed.value {
        let request = &event.request;
        let bucket = request.resource.bucket().unwrap_or_default().to_owned();
        let set = sets.entry((request.principal.clone(), bucket)).or_insert_with(|| {
            let started = Instant::now();
            let set = Compiled::new(subject.set(event));
            costs.compile += started.elapsed();
            set
        });
        let set = &*set;
        let ruled = fastest(|| {
            black_box(rule(black_box(set), black_box(request)));
        });
        let named = fastest(|| {
            black_box(evaluate(black_box(set), black_box(request)));
        });
        costs.requests.push(Cost { id: event.id.clone(), ruled, named });
    }
    if costs.requests.is_empty() {
        return Err(anyhow!("{} has no request to decide", replayed.source).into());
    }
    let title = Title { source: replayed.source, load, sets: sets.len(), compile: costs.compile };
    output::print(&if arguments.json { document(&title, &costs) } else { table(&title, &costs) })?;
    Ok(Verdict::Fine)
}

/// Whose decisions are timed.
enum Subject {
    World(Arc<Export>),
    /// The same for everybody.
    Policies {
        identity: Vec<Attached>,
        buckets: HashMap<String, Attached>,
        guardrails: Option<Arc<Guardrails>>,
    },
}

impl Subject {
    fn policies(changes: Vec<Change>) -> anyhow::Result<Self> {
        let (mut identity, mut buckets, mut rego) = (Vec::new(), HashMap::new(), Vec::new());
        for change in changes {
            match change {
                Change::Identity(policies) => identity.extend(policies),
                Change::Named(policy) => identity.push(policy),
                Change::Bucket { bucket, policy } => {
                    buckets.insert(bucket, policy);
                }
                Change::Guardrail { name, text } => rego.push((name, text)),
                Change::Guardrails(sources) => rego.extend(sources),
                Change::World(_) => bail!("a world is given with --world"),
            }
        }
        let guardrails = match rego.is_empty() {
            true => None,
            false => Some(Arc::new(input::guardrails(rego)?)),
        };
        Ok(Self::Policies { identity, buckets, guardrails })
    }

    fn set(&self, event: &Recorded) -> PolicySet {
        let bucket = event.request.resource.bucket();
        match self {
            Self::World(export) => export.policies(&event.request.principal, bucket),
            Self::Policies { identity, buckets, guardrails } => PolicySet {
                identity: identity.clone(),
                bucket: bucket.and_then(|bucket| buckets.get(bucket)).cloned(),
                guardrails: guardrails.clone(),
                ..PolicySet::default()
            },
        }
    }
}

/// Nanoseconds per call, of the fastest round.
fn fastest(mut call: impl FnMut()) -> f64 {
    let mut round = |calls: u32| {
        let started = Instant::now();
        for _ in 0..calls {
            call();
        }
        started.elapsed()
    };
    let mut calls = 1;
    while calls < 1 << 20 && round(calls) < ROUND {
        calls *= 2;
    }
    let best = (0..ROUNDS).map(|_| round(calls)).min().unwrap_or_default();
    best.as_secs_f64() * 1e9 / f64::from(calls)
}

#[derive(Default)]
struct Costs {
    compile: Duration,
    requests: Vec<Cost>,
}

/// Nanoseconds for one request.
struct Cost {
    id: String,
    /// The policies alone, without names.
    ruled: f64,
    /// With the statements' names and the guardrails, as the server records it.
    named: f64,
}

struct Title {
    source: String,
    /// Reading, parsing and checking the policies.
    load: Duration,
    /// Different sets of policies that the requests met.
    sets: usize,
    /// Indexing all of these.
    compile: Duration,
}

/// Of all requests: the middle, the 99th of a hundred, and the slowest with its name.
struct Spread<'c> {
    p50: f64,
    p99: f64,
    slowest: f64,
    which: &'c str,
}

fn spread(costs: &Costs, of: impl Fn(&Cost) -> f64) -> Spread<'_> {
    let mut all: Vec<_> = costs.requests.iter().map(|cost| (of(cost), cost.id.as_str())).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rank = |percent: usize| {
        let place = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(place).map_or(f64::NAN, |cost| cost.0)
    };
    let (slowest, which) = all.last().copied().unwrap_or((f64::NAN, ""));
    Spread { p50: rank(50), p99: rank(99), slowest, which }
}

fn table(title: &Title, costs: &Costs) -> String {
    let row = |what: &str, of: fn(&Cost) -> f64| {
        let Spread { p50, p99, slowest, which } = spread(costs, of);
        let numbers = [p50, p99, slowest].map(|nanoseconds| format!("{nanoseconds:.0} ns"));
        [&[what.to_owned()][..], &numbers, &[which.to_owned()]].concat()
    };
    let rows = [row("policies alone", |cost| cost.ruled), row("as recorded", |cost| cost.named)];
    let heading = ["DECISION", "P50", "P99", "SLOWEST", "REQUEST"];
    format!(
        "{}\n{} requests of {}; policies loaded in {:.1} ms, {} sets indexed in {:.1} ms\n",
        report::columns(&heading, &rows),
        costs.requests.len(),
        title.source,
        title.load.as_secs_f64() * 1e3,
        title.sets,
        title.compile.as_secs_f64() * 1e3,
    )
}

fn document(title: &Title, costs: &Costs) -> String {
    let row = |of: fn(&Cost) -> f64| {
        let Spread { p50, p99, slowest, which } = spread(costs, of);
        json!({ "p50_ns": p50, "p99_ns": p99, "slowest_ns": slowest, "slowest": which })
    };
    let document = json!({
        "schema": "policy-lab/bench", "v": 1,
        "source": title.source, "requests": costs.requests.len(),
        "load_ms": title.load.as_secs_f64() * 1e3,
        "sets": title.sets, "compile_ms": title.compile.as_secs_f64() * 1e3,
        "policies": row(|cost| cost.ruled), "recorded": row(|cost| cost.named),
    });
    format!("{document:#}\n")
}
