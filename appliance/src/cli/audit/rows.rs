//! Records as people and programs read them: a table of the fields that matter, or the records' own JSON.

use std::io::{self, Write};
use std::time::SystemTime;

use audit::{Cell, Coverage, Query, Row, Table};

use crate::auditor::ndjson;
use crate::cli::exit::failure;
use crate::cli::{Exit, table};

/// The columns of a table when the query names none.
const COLUMNS: [&str; 9] = [
    "time",
    "principal.name",
    "action",
    "resources.bucket",
    "resources.key",
    "auth.decision",
    "auth.reason",
    "event",
    "result.code",
];
/// Their headings.
const HEADING: [&str; 7] =
    ["time", "principal", "action", "resource", "decision", "reason", "event"];
/// Values of one field in a cell; a record of a thousand deleted keys must not fill the screen.
const VALUES_MAX: usize = 4;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    /// A table that goes on: no heading.
    More,
    /// One JSON object per record.
    Json,
}

/// Parses a query; what is wrong with it is a usage error that shows the place.
pub(super) fn parse(text: &str) -> anyhow::Result<Query> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    Query::parse(text, now_us).map_err(|error| {
        let before = text.get(..error.offset).unwrap_or(text).chars().count();
        let place = format!("{}^", " ".repeat(before));
        failure(Exit::Usage, format!("{}\n  {text}\n  {place}", error.message))
    })
}

/// Writes rows in the given form; `query` may have chosen its own fields.
pub(super) fn write(
    out: &mut impl Write,
    rows: &[Row],
    query: &Query,
    form: Form,
) -> anyhow::Result<()> {
    match (form, query.fields()) {
        (Form::Json, _) => {
            for row in rows {
                let mut line = Vec::new();
                ndjson::record(&mut line, query, row);
                out.write_all(&line)?;
            }
        }
        (Form::Table | Form::More, Some(fields)) => {
            let heading: Vec<&str> = fields.iter().map(String::as_str).collect();
            let heading = if form == Form::Table { heading.as_slice() } else { &[] };
            let cells = rows.iter().map(|row| {
                query.project(&row.leaf).into_iter().map(|values| joined(&values)).collect()
            });
            table::write(out, heading, &cells.collect::<Vec<_>>())?;
        }
        (Form::Table | Form::More, None) => {
            let heading: &[&str] = if form == Form::Table { &HEADING } else { &[] };
            let columns = parse(&format!("| fields {}", COLUMNS.join(", ")))?;
            let cells = rows.iter().map(|row| usual(columns.project(&row.leaf)));
            table::write(out, heading, &cells.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// The usual cells: bucket and key become one resource, and a record that decided nothing shows how the call ended.
fn usual(values: Vec<Vec<String>>) -> Vec<String> {
    let mut cells: Vec<String> = values.iter().map(|values| joined(values)).collect();
    let code = cells.pop().unwrap_or_default();
    if let Some(decision) = cells.get_mut(5).filter(|decision| decision.is_empty()) {
        *decision = code;
    }
    if let (Some(buckets), Some(keys)) = (values.get(3), values.get(4)) {
        let resource = match (buckets.as_slice(), keys.as_slice()) {
            ([bucket], [key]) => format!("{bucket}/{key}"),
            ([bucket], []) => bucket.clone(),
            (buckets, keys) => {
                let names: Vec<String> = buckets.iter().chain(keys).cloned().collect();
                joined(&names)
            }
        };
        cells.splice(3..5, [resource]);
    }
    cells
}

fn joined(values: &[String]) -> String {
    let mut text = values.iter().take(VALUES_MAX).cloned().collect::<Vec<_>>().join(" ");
    if values.len() > VALUES_MAX {
        text.push_str(&format!(" (+{})", values.len() - VALUES_MAX));
    }
    text
}

/// Writes figures: a table, or one JSON object per row.
pub(super) fn write_table(out: &mut impl Write, figures: &Table, form: Form) -> io::Result<()> {
    if form == Form::Json {
        for row in &figures.rows {
            let mut line = Vec::new();
            ndjson::figures(&mut line, figures, row);
            out.write_all(&line)?;
        }
        return Ok(());
    }
    let heading: Vec<&str> = figures.columns.iter().map(String::as_str).collect();
    let cells = |row: &Vec<Cell>| row.iter().map(readable).collect();
    table::write(out, &heading, &figures.rows.iter().map(cells).collect::<Vec<_>>())
}

/// The start of an interval needs no microseconds.
fn readable(cell: &Cell) -> String {
    let text = cell.to_string();
    match text.strip_suffix(".000000Z") {
        Some(second) => format!("{second}Z"),
        None => text,
    }
}

/// Says on stderr what an answer covers, so that stdout stays data.
pub(super) fn write_coverage(coverage: &Coverage) -> io::Result<()> {
    let method = match (coverage.method, coverage.source) {
        (audit::Method::Scan, _) => "scan",
        (_, audit::Source::Records) => "index",
        (_, audit::Source::Columns) => "index, from its columns",
    };
    writeln!(
        io::stderr(),
        "{} of the records {}..{} match ({method})",
        coverage.matches,
        coverage.from,
        coverage.to
    )
}
