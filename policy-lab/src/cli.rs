//! The command line: one file per verb.
//!
//! Exit codes: 0 ok; 1 a change that `--fail-on` names, or a past that was not reproduced; 2 usage or invalid input;
//! 4 no sure answer; 8 the log fails verification. stdout is data, stderr everything else.

mod bench;
mod canned;
mod check;
mod coverage;
mod diff;
mod events;
mod explain;
mod generate;
mod import;
mod input;
mod output;
mod progress;
mod prove;
mod reading;
mod simulate;
mod spec;
mod test;
mod who_can;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Review policies of the appliance: check them, and replay recorded requests against them.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Replay requests against proposed policies: who gains, who loses
    Simulate(simulate::Arguments),
    /// Compare two policies or worlds by the requests that were recorded, and policies by all there can be
    Diff(diff::Arguments),
    /// Say why one request is allowed or denied, and what would change that
    Explain(explain::Arguments),
    /// Say what is wrong with policies and guardrails, and where
    Check(check::Arguments),
    /// Answer questions about policies for every possible request, with a request that refutes
    Prove(prove::Arguments),
    /// Run expectations and Rego unit tests
    Test(test::Arguments),
    /// Who may do this, of a whole world
    WhoCan(who_can::Arguments),
    /// Which statements recorded requests used, and which nobody needs
    Coverage(coverage::Arguments),
    /// Make the least policy that allows what was observed
    Generate(generate::Arguments),
    /// Turn logs of other servers into requests
    Import(import::Arguments),
    /// Time the decisions of your own policies on your own requests
    Bench(bench::Arguments),
    /// Print a canned policy, or list them
    Canned(canned::Arguments),
}

/// How a verb ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// The answer is no.
    Negative,
    /// There is no sure answer.
    Unknown,
}

/// Why a verb could not give an answer.
#[derive(Debug)]
enum Failure {
    /// What was asked, or a file that was given, is not valid.
    Invalid(anyhow::Error),
    /// The log is not what was written.
    Integrity(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Invalid(error)
    }
}

/// Runs a command line.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.verb {
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Diff(arguments) => diff::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Prove(arguments) => prove::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::WhoCan(arguments) => who_can::run(&arguments),
        Verb::Coverage(arguments) => coverage::run(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::Import(arguments) => import::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Canned(arguments) => canned::run(&arguments),
    };
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Negative) => ExitCode::from(1),
        Ok(Verdict::Unknown) => ExitCode::from(4),
        Err(Failure::Invalid(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
        Err(Failure::Integrity(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(8)
        }
    }
}
