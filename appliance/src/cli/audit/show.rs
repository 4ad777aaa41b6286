//! `appliance audit show`: one record, by its event or its place in the log.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use policy_lab::explain::{Detail, text};
use policy_lab::replay::World;

use super::place::{self, Place};
use crate::cli::Exit;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit show 01M85E83VDVPRGR00C38VTJ0TF\n  \
    appliance audit show 4711 --json\n\n\
    A decision is explained as well: by which statements, and what would change it.\n\n\
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
        let dir = self.place.readable()?;
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
        if !self.json {
            explain(&dir, &leaf, &mut out)?;
        }
        Ok(Exit::Ok)
    }
}

/// Why a decision was made, from the policies that the log kept. A record that is none has nothing to explain.
fn explain(dir: &std::path::Path, leaf: &[u8], out: &mut impl io::Write) -> anyhow::Result<()> {
    let Ok(Some(event)) = policy_lab::replay::audit_line(0, leaf) else { return Ok(()) };
    let blobs = dir.to_owned();
    let world = World::recorded(move |digest| {
        String::from_utf8(audit::read_blob(&blobs, &hex::encode(digest)).ok()?).ok()
    });
    match world.explain(&event.recorded) {
        Ok(explanation) => write!(out, "\n{}", text(&explanation, Detail::Relevant))?,
        // The record stands for itself; its policies may have been removed with old segments.
        Err(error) => eprintln!("warning: the decision cannot be explained: {error}"),
    }
    Ok(())
}
