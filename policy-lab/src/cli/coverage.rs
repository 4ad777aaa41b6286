//! `policy-lab coverage`

use std::path::PathBuf;

use policy_lab::replay::{Coverage, StatementUse};
use policy_lab::report;
use serde_json::json;

use super::events::Events;
use super::{Failure, Verdict, input, output, spec};

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("policies").required(true),
    after_help = "Examples:\n  \
        policy-lab coverage --world world.json --audit appliance-data/audit --since 90d\n  \
        policy-lab coverage --policy team.json --requests month.jsonl --fail-on-unused\n\n\
        Exit codes: 0; 1 a statement that nothing used, with --fail-on-unused; 2 invalid input; 8 the log fails verification."
)]
pub(super) struct Arguments {
    /// Who has which policies, as `appliance iam export` wrote it
    #[arg(long, value_name = "FILE", group = "policies")]
    world: Option<PathBuf>,
    /// Policies that are held against every request: a canned name, FILE.json, bucket:NAME=FILE.json
    #[arg(long, value_name = "SPEC", num_args = 1.., group = "policies")]
    policy: Vec<String>,
    #[command(flatten)]
    events: Events,
    /// Exit with 1 if a statement was never used
    #[arg(long)]
    fail_on_unused: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let mut coverage = match &arguments.world {
        Some(path) => Coverage::of_world(&input::export(path)?),
        None => Coverage::of_policies(&spec::policies(&arguments.policy)?),
    };
    let replayed =
        arguments.events.replay(|events| events.for_each(|event| coverage.add(&event)))?;
    let statements = coverage.finish();
    if arguments.json {
        let document = json!({
            "schema": "policy-lab/coverage", "v": 1,
            "source": replayed.source, "statements": statements,
        });
        output::print(&format!("{document:#}\n"))?;
    } else {
        output::print(&table(&statements))?;
    }
    let unused = statements.iter().filter(|statement| statement.hits == 0).count();
    eprintln!("{unused} of {} statements were not used by {}", statements.len(), replayed.source);
    let failed = arguments.fail_on_unused && unused > 0;
    Ok(if failed { Verdict::Negative } else { Verdict::Fine })
}

pub(super) fn table(statements: &[StatementUse]) -> String {
    let rows: Vec<_> = statements
        .iter()
        .map(|statement| {
            vec![
                if statement.hits == 0 { "unused".to_owned() } else { "used".to_owned() },
                statement.policy.clone(),
                statement.sid.clone().unwrap_or_else(|| format!("#{}", statement.index)),
                statement.effect.clone(),
                statement.hits.to_string(),
                statement.unknown.to_string(),
                statement.last.clone().unwrap_or_default(),
            ]
        })
        .collect();
    report::columns(&["USE", "POLICY", "STATEMENT", "EFFECT", "HITS", "UNKNOWN", "LAST"], &rows)
}
