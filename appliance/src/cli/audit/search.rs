//! `appliance audit search`: a query over the log's directory, with or without a server beside it.

use std::io;

use anyhow::Context as _;
use audit::{Method, SearchOptions};
use clap::{Args, ValueEnum};

use super::place::Place;
use super::rows::{self, Form};
use crate::cli::Exit;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit search 'decision=deny time>=-24h'\n  \
    appliance audit search 'bucket=invoices and not action=s3:GetObject | limit 20'\n  \
    appliance audit search 'user=alice | fields time, action, resources.key' --json\n\n\
    Exit codes: 0 found, 1 nothing found, 2 usage.")]
pub(in crate::cli) struct Search {
    /// Filter and stages; everything when empty.
    #[arg(default_value = "")]
    query: String,
    #[command(flatten)]
    place: Place,
    /// Rows at most; a smaller `| limit` in the query wins.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Only records before this one: the last `seq` of the page before.
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Which way to search; the answer is the same.
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    method: Way,
    /// The records themselves, one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Auto,
    Index,
    Scan,
}

impl Search {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let query = rows::parse(&self.query)?;
        let dir = self.place.dir()?;
        let method = match self.method {
            Way::Auto => Method::Auto,
            Way::Index => Method::Index,
            Way::Scan => Method::Scan,
        };
        let options = SearchOptions { limit: self.limit, after: self.after, method };
        let answer = audit::search(&dir, &query, options)
            .with_context(|| format!("searching `{}`", dir.display()))?;
        let form = if self.json { Form::Json } else { Form::Table };
        if !answer.rows.is_empty() {
            rows::write(&mut io::stdout().lock(), &answer.rows, &query, form)?;
        }
        rows::write_coverage(&answer)?;
        Ok(if answer.rows.is_empty() { Exit::Negative } else { Exit::Ok })
    }
}
