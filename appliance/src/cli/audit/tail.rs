//! `appliance audit tail`: the newest records in order, and new ones while somebody watches.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use audit::SearchOptions;
use clap::Args;

use super::place::Place;
use super::rows::{self, Form};
use crate::cli::Exit;
use crate::cli::exit::failure;

/// How often the directory is looked at: quick for a person, nothing for the disk.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit tail\n  \
    appliance audit tail --follow 'decision=deny'")]
pub(in crate::cli) struct Tail {
    /// Only records that match.
    #[arg(default_value = "")]
    query: String,
    #[command(flatten)]
    place: Place,
    /// How many of the newest records to begin with.
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    lines: usize,
    /// Go on until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// The records themselves, one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let query = rows::parse(&self.query)?;
        if !query.is_filter() {
            let message =
                "`tail` follows records one by one; figures and `expand` are for `search`";
            return Err(failure(Exit::Usage, message));
        }
        let dir = self.place.readable()?;
        let form = if self.json { Form::Json } else { Form::Table };
        let mut out = io::stdout().lock();
        let options = SearchOptions { limit: self.lines, ..SearchOptions::default() };
        let mut answer = audit::search(&dir, &query, options)
            .with_context(|| format!("searching `{}`", dir.display()))?;
        answer.rows.sort_by_key(|row| row.seq);
        let found = !answer.rows.is_empty();
        if found {
            rows::write(&mut out, &answer.rows, &query, form)?;
        }
        if !self.follow {
            return Ok(if found { Exit::Ok } else { Exit::Negative });
        }
        let form = if found && form == Form::Table { Form::More } else { form };
        let mut tail = audit::tail(&dir, answer.coverage.to.checked_sub(1));
        loop {
            let mut new = tail.poll().with_context(|| format!("following `{}`", dir.display()))?;
            if new.is_empty() {
                std::thread::sleep(POLL_INTERVAL);
            }
            new.retain(|row| query.matches(&row.leaf));
            if !new.is_empty() {
                rows::write(&mut out, &new, &query, form)?;
            }
        }
    }
}
