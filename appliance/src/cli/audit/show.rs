//! `appliance audit show`: one record, by its event or its place in the log.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;

use super::place::{self, Place};
use crate::cli::Exit;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit show 01M85E83VDVPRGR00C38VTJ0TF\n  \
    appliance audit show 4711 --json\n\n\
    Exit codes: 0 found, 6 no such record.")]
pub(in crate::cli) struct Show {
    /// The event's id, or the record's seq.
    #[arg(value_name = "EVENT|SEQ")]
    which: String,
    #[command(flatten)]
    place: Place,
    /// The record's exact bytes on one line, as they were hashed.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let dir = self.place.dir()?;
        let leaf = place::record(&dir, &self.which)?;
        let mut out = io::stdout().lock();
        if self.json {
            out.write_all(&leaf)?;
        } else {
            let value: serde_json::Value =
                serde_json::from_slice(&leaf).context("reading the record")?;
            serde_json::to_writer_pretty(&mut out, &value)?;
        }
        writeln!(out)?;
        Ok(Exit::Ok)
    }
}
