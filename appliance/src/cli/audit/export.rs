//! `appliance audit export`: the log as a directory that other people's tools read.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use audit::note::Vkey;
use audit::tiles::ExportError;
use clap::Args;

use super::place::Place;
use super::progress;
use crate::cli::Exit;
use crate::cli::exit::failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit export /mnt/auditor/log\n  \
    aics-tlog verify-checkpoint --tiles file:///mnt/auditor/log/ --vkey-file audit.vkey --quorum 0\n\n\
    The layout is C2SP tlog-tiles: checkpoint, tile/LEVEL/…, tile/entries/…, and the key as log.vkey.\n\
    Exit codes: 0 exported, 8 the records do not match the signed head, 9 nothing signed yet or not writable.")]
pub(in crate::cli) struct Export {
    /// An empty directory, or one that does not exist yet.
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let dir = self.place.readable()?;
        let vkey = self.place.vkey(self.vkey.as_deref())?;
        let vkey = Vkey::parse(&vkey).context("reading the verifier key")?;
        let bar = progress::bar("{pos}/{len} records {wide_bar} {eta}");
        let exported = audit::tiles::export(&dir, &self.to, &vkey, &progress::onto(&bar));
        bar.finish_and_clear();
        let exported = exported.map_err(|error| failure(exit_of(&error), error.to_string()))?;
        let mut out = io::stdout().lock();
        match self.json {
            true => {
                let value = serde_json::json!({
                    "schema": "appliance/audit-export", "schema_version": 1, "directory": self.to,
                    "origin": vkey.name(), "size": exported.head.size, "files": exported.files,
                    "first": exported.pruned.map_or(0, |pruned| pruned.end),
                });
                writeln!(out, "{value}")?;
            }
            false => writeln!(
                out,
                "{} records of {} in {} files under {}",
                exported.head.size,
                vkey.name(),
                exported.files,
                self.to.display()
            )?,
        }
        if let Some(pruned) = exported.pruned {
            eprintln!(
                "note: of the records before {} there are hashes: they were {pruned}",
                pruned.end
            );
        }
        Ok(Exit::Ok)
    }
}

fn exit_of(error: &ExportError) -> Exit {
    match error {
        ExportError::Mismatch { .. } | ExportError::Head(_) => Exit::Integrity,
        ExportError::Occupied(_) => Exit::Usage,
        _ => Exit::Unavailable,
    }
}
