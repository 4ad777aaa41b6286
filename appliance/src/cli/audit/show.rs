//! `appliance audit show`: one record, by its event or its place in the log.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;

use super::place::Place;
use crate::cli::Exit;
use crate::cli::exit::failure;

/// Longest number that is a place and not an event; events have 26 characters.
const SEQ_DIGITS_MAX: usize = 20;

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
        let by_seq = self.which.len() <= SEQ_DIGITS_MAX;
        let found = match self.which.parse::<u64>() {
            Ok(seq) if by_seq => audit::read_record(&dir, seq),
            _ => audit::find_event(&dir, &self.which),
        };
        let leaf =
            found.with_context(|| format!("searching `{}`", dir.display()))?.ok_or_else(|| {
                failure(Exit::NotFound, format!("there is no record `{}`", self.which))
            })?;
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
