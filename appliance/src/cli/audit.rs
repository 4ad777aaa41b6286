//! `appliance audit`: everything about the log that needs no running server.

mod place;
mod verify;

use clap::Subcommand;

use super::Exit;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance audit search 'principal=alice decision=Deny'\n  \
    appliance audit verify --since yesterday.checkpoint")]
pub(super) enum Audit {
    /// Check every byte of the log against its signed heads.
    Verify(verify::Verify),
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Verify(verb) => verb.run(),
        }
    }
}
