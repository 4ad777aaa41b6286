//! What an operator types. One file per verb; stdout is data, stderr is everything else.

mod admin_client;
mod audit;
mod banner;
mod completions;
mod config;
mod exit;
mod group;
mod iam;
mod policy;
mod serve;
mod settings;
mod siem;
mod status;
mod table;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// An S3 server whose every decision is in a signed log and can be explained and replayed.
#[derive(Debug, Parser)]
#[command(
    name = "appliance",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        appliance serve\n  \
        appliance audit search 'decision=deny'\n  \
        appliance audit verify\n\n\
        Exit codes: 0 ok, 1 negative answer, 2 usage, 3 configuration, \
        4 not authenticated, 5 denied, 6 not found, 7 conflict, 8 records are lost, 9 unavailable; audit verify has more."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the server; the first run makes a deployment.
    Serve(serve::Serve),
    /// Search, follow and verify the audit log, offline.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Add, list and remove users of a running server.
    #[command(subcommand)]
    User(user::User),
    /// Add, list and remove groups of a running server.
    #[command(subcommand)]
    Group(group::Group),
    /// Write, attach and list policies of a running server.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Show and command the delivery of the log to SIEMs.
    #[command(subcommand)]
    Siem(siem::Siem),
    /// Export everything that decides, for a review.
    #[command(subcommand)]
    Iam(iam::Iam),
    /// Ask a running server how it is.
    Status(status::Status),
    /// Show the configuration as it resolves.
    #[command(subcommand)]
    Config(config::Config),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

impl Cli {
    /// Does what was typed. Errors are printed here, so that every verb fails alike.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Serve(verb) => verb.run(),
            Verb::Audit(verb) => verb.run(),
            Verb::User(verb) => verb.run(),
            Verb::Group(verb) => verb.run(),
            Verb::Policy(verb) => verb.run(),
            Verb::Siem(verb) => verb.run(),
            Verb::Iam(verb) => verb.run(),
            Verb::Status(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
        };
        done.unwrap_or_else(|error| exit::report(&error)).into()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_examples() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path} has no examples");
            for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
                walk(verb, &path);
            }
        }
        walk(&Cli::command(), "");
    }
}
