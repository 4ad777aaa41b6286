//! Figures instead of records: what a stage such as `count by` makes of the records that match.
//!
//! Matches come newest first, each once, whichever way they were found; so the tables of index and scan are equal.
#![deny(clippy::indexing_slicing)]

use std::{cmp::Ordering, fmt};

use crate::{
    leaf,
    leaf::Scalar,
    query::{
        Order, Query, Tabular,
        stage::{Key, Make, Rework},
    },
};

use super::{Deadline, Policies, Row, SearchError, scan::Bounds};

pub(crate) use groups::Figure;
pub(super) use groups::Groups;
pub(super) use policies::{STATEMENT, Unused};

mod groups;
mod policies;
mod sequence;
mod series;

/// Rows that a table may have before `limit` or `where` makes it smaller.
pub const TABLE_ROWS_MAX: usize = 100_000;
/// What may be held to make a table.
pub const TABLE_BYTES_MAX: usize = 512 << 20;
/// Combinations of values that one record may have.
const COMBINATIONS_MAX: usize = 10_000;

/// Figures over the records that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// One cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// The records have no such value.
    Absent,
    /// A number.
    Integer(i128),
    /// An average.
    Real(f64),
    /// Anything else.
    Text(String),
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Absent, Self::Text)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("-"),
            Self::Integer(number) => number.fmt(f),
            Self::Real(number) => write!(f, "{number:.3}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Cell {
    /// A value of a record as it is compared with others.
    pub(crate) fn comparable(value: &str) -> Self {
        value.parse().map_or_else(|_| Self::Text(value.to_owned()), Self::Integer)
    }

    /// Numbers as numbers, before texts; nothing comes last. Different cells are never equal, so that a table has one
    /// order.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Absent, Self::Absent) => Ordering::Equal,
            (Self::Absent, _) => Ordering::Greater,
            (_, Self::Absent) => Ordering::Less,
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            _ => match (self.number(), other.number()) {
                (Some((a, exact_a)), Some((b, exact_b))) => {
                    let as_text = || self.to_string().cmp(&other.to_string());
                    a.total_cmp(&b).then(exact_a.cmp(&exact_b)).then_with(as_text)
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => self.to_string().cmp(&other.to_string()),
            },
        }
    }

    /// The number, for comparison with any other, and exactly, for comparison with whole ones.
    #[expect(clippy::cast_precision_loss, reason = "what is lost, the whole number tells apart")]
    #[expect(clippy::cast_possible_truncation, reason = "an average is compared as it is first")]
    fn number(&self) -> Option<(f64, i128)> {
        match self {
            Self::Absent => None,
            Self::Integer(number) => Some((*number as f64, *number)),
            Self::Real(number) => Some((*number, *number as i128)),
            Self::Text(text) => {
                text.parse::<i64>().ok().map(|number| (number as f64, number.into()))
            }
        }
    }
}

/// Makes a table of matches, newest first.
pub(super) trait Collect {
    /// Takes the next match.
    fn take(&mut self, row: &Row) -> Result<(), SearchError>;
    /// The table's rows, in the order in which they read best.
    fn finish(self: Box<Self>, deadline: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError>;
}

/// The groups that a table is of, where it is of groups.
pub(super) fn groups(table: &Tabular) -> Option<Groups<'_>> {
    match &table.make {
        Make::Groups { aggs, by } => Some(Groups::new(aggs, by)),
        Make::Distinct(key) => Some(Groups::distinct(key)),
        Make::Gaps { .. }
        | Make::FirstSeen { .. }
        | Make::Sequence { .. }
        | Make::Unused
        | Make::Replay { .. } => None,
    }
}

/// What collects for a query.
pub(super) fn collector<'q>(
    query: &'q Query,
    table: &'q Tabular,
    policies: &'q dyn Policies,
) -> Result<Box<dyn Collect + 'q>, SearchError> {
    Ok(match &table.make {
        Make::Groups { aggs, by } => Box::new(Groups::new(aggs, by)),
        Make::Distinct(key) => Box::new(Groups::distinct(key)),
        Make::Gaps { longer_us } => {
            Box::new(series::Gaps::new(*longer_us, &Bounds::of(&query.filter), query.now_us))
        }
        Make::FirstSeen { key, baseline_us } => Box::new(series::FirstSeen::new(key, *baseline_us)),
        Make::Sequence { by, within_us, steps } => {
            Box::new(sequence::Sequence::new(by, *within_us, steps))
        }
        Make::Unused => Box::new(Unused::new(policies)?),
        Make::Replay { policy, instead_of } => {
            let which = (policy.as_str(), instead_of.as_deref());
            Box::new(policies::Replays::new(policies, which, &table.then)?)
        }
    })
}

/// Does what the later stages say.
pub(super) fn rework(table: &Tabular, mut rows: Vec<Vec<Cell>>) -> Table {
    let mut columns = table.make.columns();
    for step in &table.then {
        match step {
            Rework::Where(filter) => rows.retain(|row| {
                filter.holds(&|visit| {
                    show(&columns, row, visit);
                    Some(())
                })
            }),
            Rework::Sort { column, order } => rows.sort_by(|a, b| sorted(a, b, *column, *order)),
            Rework::Limit(limit) => rows.truncate(*limit),
            Rework::Fields(places) => {
                let chosen = |row: &Vec<Cell>| -> Vec<Cell> {
                    places.iter().filter_map(|place| row.get(*place).cloned()).collect()
                };
                rows = rows.iter().map(chosen).collect();
                columns = places.iter().filter_map(|place| columns.get(*place).cloned()).collect();
            }
        }
    }
    Table { columns, rows }
}

fn show(columns: &[String], row: &[Cell], visit: &mut dyn FnMut(&str, &Scalar<'_>)) {
    for (column, cell) in columns.iter().zip(row) {
        if *cell != Cell::Absent {
            visit(column, &Scalar::Text(cell.to_string().into()));
        }
    }
}

/// Rows without the value come last either way.
fn sorted(a: &[Cell], b: &[Cell], column: usize, order: Order) -> Ordering {
    let (a, b) = (a.get(column).unwrap_or(&Cell::Absent), b.get(column).unwrap_or(&Cell::Absent));
    match order {
        Order::Descending if *a != Cell::Absent && *b != Cell::Absent => b.order(a),
        _ => a.order(b),
    }
}

/// The values of each field in a record, in one pass.
fn values_of(leaf: &[u8], fields: &[&str]) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new(); fields.len()];
    leaf::visit(leaf, &mut |path, value| {
        for (field, values) in fields.iter().zip(&mut found) {
            if path == *field {
                values.push(value.as_text().to_owned());
            }
        }
    });
    found
}

/// What a record's values become under each key; none where it has no value.
fn parts_of(keys: &[Key], found: &[Vec<String>]) -> Vec<Vec<Option<String>>> {
    let parts = keys.iter().zip(found).map(|(key, values)| {
        let values: Vec<_> = values.iter().map(|value| key.of(value)).collect();
        if values.is_empty() { vec![None] } else { values }
    });
    parts.collect()
}

/// The combinations of a record's values, one list for each key, each combination once. Values of one array belong
/// together: the bucket and the key of a resource are one pair, not a row and a column.
pub(crate) fn combinations<T: Clone + Ord>(
    keys: &[Key],
    parts: Vec<Vec<Option<T>>>,
) -> Result<Vec<Vec<Option<T>>>, SearchError> {
    let many = || keys.iter().zip(&parts).filter(|(_, values)| values.len() > 1);
    let parent = |key: &Key| key.field().rsplit_once('.').map(|(parent, _)| parent.to_owned());
    let first = many().next().map(|(key, values)| (parent(key), values.len()));
    let paired = many().all(|(key, values)| Some((parent(key), values.len())) == first);
    let mut all = match (paired, &first) {
        (true, Some((_, len))) => (0..*len)
            .map(|at| {
                let pick = |values: &Vec<Option<T>>| {
                    values.get(at).or_else(|| values.first()).cloned().flatten()
                };
                parts.iter().map(pick).collect()
            })
            .collect(),
        _ => product(&parts)?,
    };
    all.sort();
    all.dedup();
    Ok(all)
}

fn product<T: Clone>(parts: &[Vec<Option<T>>]) -> Result<Vec<Vec<Option<T>>>, SearchError> {
    let count = parts.iter().try_fold(1_usize, |count, part| count.checked_mul(part.len()));
    if count.is_none_or(|count| count > COMBINATIONS_MAX) {
        return Err(SearchError::TooMuch("a record has more than 10000 combinations of values"));
    }
    let start = vec![Vec::new()];
    Ok(parts.iter().fold(start, |all, part| {
        let longer = all.iter().flat_map(|row: &Vec<Option<T>>| {
            part.iter().map(|value| row.iter().chain([value]).cloned().collect())
        });
        longer.collect()
    }))
}

/// Counts what is held, and says when it is too much.
#[derive(Debug, Default)]
struct Held(usize);

impl Held {
    fn add(&mut self, bytes: usize) -> Result<(), SearchError> {
        self.0 += bytes;
        match self.0 > TABLE_BYTES_MAX {
            true => Err(SearchError::too_much_held()),
            false => Ok(()),
        }
    }
}
