//! `policy-lab prove QUESTION …`

mod answer;
mod policies;

use clap::{Subcommand, ValueEnum};
use policy_lab::analyze::{
    self, Difference, Grant, StatementFinding, differences, no_more_permissive, not_granted,
    not_public,
};

use self::answer::{Answer, Outcome};
use super::reading::Reading;
use super::{Failure, Verdict, output};

/// Below the help of the verb and of each question.
const EXAMPLES: &str = "Examples:\n  \
    policy-lab prove no-more-permissive draft.json readwrite\n  \
    policy-lab prove equivalent old.json+boundary:limit.json new.json\n  \
    policy-lab prove not-granted team.json --action s3:Delete* --resource 'arn:aws:s3:::records/*'\n  \
    policy-lab prove not-public bucket:ledger=ledger.json\n  \
    policy-lab prove statements team.json --format json\n\n\
    Exit codes: 0 proved; 1 refuted, with a request that `explain` and `simulate` read; 2 usage or invalid input; \
    4 there is no sure answer, and why.";

/// A question about every request there can be, answered with a request that refutes it.
///
/// Policies are given as a canned name, FILE.json, FILE.rego, boundary:FILE.json, session:FILE.json or
/// bucket:NAME=FILE.json; several that hold together are joined by `+`. Root is never asked about.
///
/// Exit codes: 0 proved; 1 refuted, with a request that `explain` and `simulate` read; 2 usage or invalid input;
/// 4 there is no sure answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    question: Question,
    /// Which requests count
    #[arg(long, value_enum, default_value_t = World::S3, global = true)]
    world: World,
    /// How policies are read
    #[arg(long, value_enum, default_value_t = Reading::Aws, global = true)]
    profile: Reading,
    #[arg(long, value_enum, default_value_t = Format::Table, global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// NEW allows nothing that OLD does not
    #[command(after_help = EXAMPLES)]
    NoMorePermissive { new: String, old: String },
    /// Both allow the same
    #[command(after_help = EXAMPLES)]
    Equivalent { a: String, b: String },
    /// None of the actions is allowed on any of the resources
    #[command(after_help = EXAMPLES)]
    NotGranted {
        policies: String,
        /// Patterns such as `s3:Put*` [default: all]
        #[arg(long = "action", value_name = "ACTION")]
        actions: Vec<String>,
        /// Patterns such as `arn:aws:s3:::records/*` [default: all]
        #[arg(long = "resource", value_name = "ARN")]
        resources: Vec<String>,
        /// Only requests that meet this `Condition` element
        #[arg(long, value_name = "JSON")]
        condition: Option<String>,
    },
    /// No anonymous request is allowed
    #[command(after_help = EXAMPLES)]
    NotPublic { policies: String },
    /// Every statement contributes: none is dead or redundant
    #[command(after_help = EXAMPLES)]
    Statements { policies: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum World {
    /// Every request that can be written down
    Any,
    /// Actions of the catalogue on the kind of resource they are checked on; anonymous callers have no identity keys
    S3,
    /// As s3, and the keys that the server always fills are there and well-formed
    Server,
}

impl World {
    fn of_analysis(self) -> analyze::World {
        match self {
            Self::Any => analyze::World::Any,
            Self::S3 => analyze::World::S3,
            Self::Server => analyze::World::Server,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let answer = answer(arguments)?;
    output::print(&match arguments.format {
        Format::Table => answer.table(),
        Format::Json => answer.json(arguments.world.of_analysis()),
    })?;
    Ok(match answer.outcome() {
        Outcome::Proved => Verdict::Fine,
        Outcome::Refuted => Verdict::Negative,
        Outcome::Unknown => Verdict::Unknown,
    })
}

fn answer(arguments: &Arguments) -> anyhow::Result<Answer> {
    let world = arguments.world.of_analysis();
    let read = |spec: &String| policies::read(spec, arguments.profile.profile());
    Ok(match &arguments.question {
        Question::NoMorePermissive { new, old } => {
            let (new, old) = (read(new)?, read(old)?);
            Answer::one("no-more-permissive", no_more_permissive(&new, &old, world))
        }
        Question::Equivalent { a, b } => {
            let (a, b) = (read(a)?, read(b)?);
            let Difference { gained, lost } = differences(&a, &b, world);
            Answer::two("equivalent", ("b-within-a", gained), ("a-within-b", lost))
        }
        Question::NotGranted { policies, actions, resources, condition } => {
            let grant = Grant::new(actions, resources, condition.as_deref())?;
            let access = read(policies)?;
            Answer::one("not-granted", not_granted(&access, &grant, world))
        }
        Question::NotPublic { policies } => {
            Answer::one("not-public", not_public(&read(policies)?, world))
        }
        Question::Statements { policies } => {
            let findings: Vec<StatementFinding> = analyze::statements(&read(policies)?, world);
            Answer::Statements(findings)
        }
    })
}
