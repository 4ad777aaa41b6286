//! `appliance completions`: from the same declarations as the parser.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  appliance completions bash > /etc/bash_completion.d/appliance")]
pub(super) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "appliance", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Exit::Ok)
    }
}
