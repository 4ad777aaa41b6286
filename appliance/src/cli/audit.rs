//! `appliance audit`: the log as its directory has it, with or without a running server. `bundle`, `key`, and what is about
//! retention, ask one.

mod accept_gap;
mod bundle;
mod export;
mod histogram;
mod key;
mod place;
mod progress;
mod prove;
mod rebuild_index;
mod retention;
mod rows;
mod search;
mod show;
mod tail;
mod timestamp;
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
    /// Show how long records stay, and what is proposed.
    Retention(retention::Retention),
    /// Keep records, whatever the retention says.
    Hold(retention::Hold),
    /// Lift a hold.
    Release(retention::Release),
    /// Show the holds in force.
    Holds(retention::Holds),
    /// Let the oldest records go: one proposes, somebody else confirms.
    #[command(subcommand)]
    Prune(retention::Prune),
    /// Have an authority say when the log had its newest head.
    Timestamp(timestamp::Timestamp),
    /// Show and change the key that signs the log of a running server.
    #[command(subcommand)]
    Key(key::Key),
    /// Say in the log that records of it are lost, so that the server starts again.
    AcceptGap(accept_gap::AcceptGap),
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
            Self::Timestamp(verb) => verb.run(),
            Self::Bundle(verb) => verb.run(),
            Self::Export(verb) => verb.run(),
            Self::Retention(verb) => verb.run(),
            Self::Hold(verb) => verb.run(),
            Self::Release(verb) => verb.run(),
            Self::Holds(verb) => verb.run(),
            Self::Prune(verb) => verb.run(),
            Self::Key(verb) => verb.run(),
            Self::AcceptGap(verb) => verb.run(),
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
