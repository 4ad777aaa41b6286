//! `appliance audit`: the log as its directory has it, with or without a running server; only `bundle` asks one.

mod bundle;
mod export;
mod histogram;
mod place;
mod progress;
mod prove;
mod rebuild_index;
mod rows;
mod search;
mod show;
mod tail;
mod verify;

use audit::SearchError;
use clap::Subcommand;

use super::Exit;
use super::exit::failure;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance audit search 'user=alice decision=deny'\n  \
    appliance audit verify --since yesterday.checkpoint")]
pub(super) enum Audit {
    /// Find records, newest first.
    Search(search::Search),
    /// Print the newest records, and new ones as they come.
    Tail(tail::Tail),
    /// Print one record.
    Show(show::Show),
    /// Check every byte of the log against its signed heads.
    Verify(verify::Verify),
    /// Write a record and the proof that it is in the log, for somebody else to check.
    Prove(prove::Prove),
    /// Ask a running server for records and the proof of each, as one archive.
    Bundle(bundle::Bundle),
    /// Write the whole log as C2SP tiles, which other people's tools read.
    Export(export::Export),
    /// Make the index again from the records.
    RebuildIndex(rebuild_index::RebuildIndex),
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Search(verb) => verb.run(),
            Self::Tail(verb) => verb.run(),
            Self::Show(verb) => verb.run(),
            Self::Verify(verb) => verb.run(),
            Self::Prove(verb) => verb.run(),
            Self::Bundle(verb) => verb.run(),
            Self::Export(verb) => verb.run(),
            Self::RebuildIndex(verb) => verb.run(),
        }
    }
}

/// An answer; a query that asks for too much is a usage error.
fn found<T>(answer: Result<T, SearchError>) -> anyhow::Result<T> {
    answer.map_err(|error| match error {
        SearchError::TooMuch(_) | SearchError::TooManyToSort | SearchError::TooLong(_) => {
            failure(Exit::Usage, error.to_string())
        }
        error => error.into(),
    })
}
