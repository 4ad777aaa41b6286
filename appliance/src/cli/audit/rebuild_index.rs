//! `appliance audit rebuild-index`: the index again, from the records alone.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::Place;
use crate::cli::Exit;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    appliance audit rebuild-index --data-dir /srv/appliance\n\n\
    Stop the server first. The records are not touched; searches scan until the index is back.")]
pub(in crate::cli) struct RebuildIndex {
    #[command(flatten)]
    place: Place,
    /// One JSON object when done.
    #[arg(long)]
    json: bool,
}

impl RebuildIndex {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let dir = self.place.readable()?;
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} records, {per_sec}") {
            bar.set_style(style);
        }
        let records = audit::index::rebuild(&dir, &|done| bar.set_position(done))
            .with_context(|| format!("rebuilding the index of `{}`", dir.display()))?;
        bar.finish_and_clear();
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::json!({ "records": records }))?,
            false => writeln!(out, "{records} records indexed")?,
        }
        Ok(Exit::Ok)
    }
}
