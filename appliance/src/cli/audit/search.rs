//! `appliance audit search`: a query over the log's directory, with or without a server beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use audit::{Method, Query, SearchOptions, Searcher};
use clap::{Args, ValueEnum};
use policy_lab::replay::Export;

use super::place::Place;
use super::rows::{self, Form};
use super::{found, histogram};
use crate::auditor::policies::Policies;
use crate::cli::Exit;
use crate::cli::exit::failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit search 'decision=deny time>=-24h'\n  \
    appliance audit search 'bucket=invoices and not action=s3:GetObject | limit 20'\n  \
    appliance audit search 'user=alice | fields time, action, resources.key' --json\n  \
    appliance audit search 'denied | count by principal.arn, reason | top 10'\n  \
    appliance audit search 'bucket=invoices | sum(bytes_out) by user, bin(time,1h)'\n  \
    appliance audit search 'sequence by user within 10m [denied]>=5 then [allowed]'\n  \
    appliance audit search 'action~\"s3:*\" time>-7d' --histogram\n  \
    appliance audit search 'policies() minus (time>-90d | distinct auth.by)' --world world.json\n  \
    appliance audit search 'replay policy=v3 over time>-7d | where decision!=replay.decision' --world world.json\n\n\
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
    /// For `policies()` and `replay`: what is in force, as `appliance iam export` wrote it.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Which way to search; the answer is the same.
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    method: Way,
    /// The records themselves, or the rows of a table, one JSON object per line.
    #[arg(long)]
    json: bool,
    /// How many match over time, drawn with bars.
    #[arg(long)]
    histogram: bool,
    /// The same as a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
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
        let dir = self.place.readable()?;
        let method = match self.method {
            Way::Auto => Method::Auto,
            Way::Index => Method::Index,
            Way::Scan => Method::Scan,
        };
        let options = SearchOptions { limit: self.limit, after: self.after, method, within: None };
        if self.histogram || self.svg.is_some() {
            return self.draw(&dir, &query, options);
        }
        let searcher = Searcher::new(&dir);
        let answer = match &self.world {
            None => searcher.search(&query, options),
            Some(world) => searcher.search_with(&query, options, &policies(world, &dir)?),
        };
        let answer = found(answer).with_context(|| format!("searching `{}`", dir.display()))?;
        let form = if self.json { Form::Json } else { Form::Table };
        let mut out = io::stdout().lock();
        let nothing = match &answer.table {
            Some(table) => {
                rows::write_table(&mut out, table, form)?;
                table.rows.is_empty()
            }
            None if answer.rows.is_empty() => true,
            None => {
                rows::write(&mut out, &answer.rows, &query, form)?;
                false
            }
        };
        rows::write_coverage(&answer.coverage)?;
        Ok(if nothing { Exit::Negative } else { Exit::Ok })
    }

    fn draw(&self, dir: &Path, query: &Query, options: SearchOptions) -> anyhow::Result<Exit> {
        if query.makes_table() {
            let message = "a histogram is over records; leave out the stages that make a table";
            return Err(failure(Exit::Usage, message));
        }
        let bars =
            if self.svg.is_some() { histogram::PICTURE_BARS_MAX } else { histogram::BARS_MAX };
        let answer = found(Searcher::new(dir).histogram(query, options, bars))
            .with_context(|| format!("searching `{}`", dir.display()))?;
        if let Some(path) = &self.svg {
            std::fs::write(path, histogram::svg(&answer, &self.query))
                .with_context(|| format!("writing `{}`", path.display()))?;
        }
        let mut out = io::stdout().lock();
        match (self.json, self.histogram) {
            (true, _) => histogram::write_json(&mut out, &answer)?,
            (false, true) => histogram::write(&mut out, &answer)?,
            (false, false) => {}
        }
        rows::write_coverage(&answer.coverage)?;
        Ok(if answer.bars.is_empty() { Exit::Negative } else { Exit::Ok })
    }
}

/// The policies of an exported world.
fn policies(world: &Path, log: &Path) -> anyhow::Result<Policies> {
    let invalid = |why: String| failure(Exit::Usage, format!("`{}`: {why}", world.display()));
    let text = std::fs::read_to_string(world).map_err(|error| invalid(error.to_string()))?;
    let export = Export::parse(&text).map_err(|error| invalid(error.to_string()))?;
    Ok(Policies::new(Arc::new(export), log))
}
