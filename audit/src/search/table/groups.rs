//! `count by` and the other figures: one row per combination of values.
#![deny(clippy::indexing_slicing)]

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use crate::query::stage::{Agg, Key};

use super::{
    Cell, Collect, Deadline, Held, Row, SearchError, TABLE_ROWS_MAX, combinations, values_of,
};

/// What a group costs besides its texts.
const GROUP_BYTES: usize = 128;

pub(super) struct Groups<'q> {
    aggs: &'q [Agg],
    by: &'q [Key],
    /// The fields of `by`, then those of `aggs`.
    fields: Vec<&'q str>,
    groups: HashMap<Vec<Option<String>>, Vec<Figure>>,
    held: Held,
}

impl<'q> Groups<'q> {
    pub(super) fn new(aggs: &'q [Agg], by: &'q [Key]) -> Self {
        let fields =
            by.iter().map(Key::field).chain(aggs.iter().map(|agg| agg.field().unwrap_or("")));
        let mut groups = HashMap::new();
        if by.is_empty() {
            // A figure over nothing is still a figure.
            groups.insert(Vec::new(), aggs.iter().map(Figure::new).collect());
        }
        Self { aggs, by, fields: fields.collect(), groups, held: Held::default() }
    }

    fn order(&self, a: &[Cell], b: &[Cell]) -> Ordering {
        let keys = |row: &[Cell]| row.iter().take(self.by.len()).cloned().collect::<Vec<_>>();
        let by_keys = || {
            let pairs = keys(a).into_iter().zip(keys(b));
            pairs.map(|(a, b)| a.order(&b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        if self.by.iter().any(Key::is_time) {
            return by_keys();
        }
        super::sorted(a, b, self.by.len(), crate::query::Order::Descending).then_with(by_keys)
    }
}

impl Collect for Groups<'_> {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let found = values_of(&row.leaf, &self.fields);
        let (keys, values) = found.split_at_checked(self.by.len()).unwrap_or_default();
        for group in combinations(self.by, keys)? {
            if !self.groups.contains_key(&group) {
                if self.groups.len() == TABLE_ROWS_MAX {
                    return Err(SearchError::TooMuch("the table has more than 100000 rows"));
                }
                let texts: usize = group.iter().flatten().map(String::len).sum();
                self.held.add(texts + GROUP_BYTES * (1 + self.aggs.len()))?;
            }
            let figures = self.groups.entry(group);
            let figures = figures.or_insert_with(|| self.aggs.iter().map(Figure::new).collect());
            for (figure, values) in figures.iter_mut().zip(values) {
                self.held.add(figure.add(values))?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        let groups = std::mem::take(&mut self.groups);
        let mut rows: Vec<Vec<Cell>> = groups
            .into_iter()
            .map(|(group, figures)| {
                let keys = group.into_iter().map(Cell::from);
                keys.chain(figures.into_iter().map(Figure::cell)).collect()
            })
            .collect();
        rows.sort_by(|a, b| self.order(a, b));
        Ok(rows)
    }
}

/// One figure under way.
enum Figure {
    Count(i128),
    Sum(Option<i128>),
    Min(Cell),
    Max(Cell),
    Avg(i128, u64),
    Distinct(HashSet<String>),
    Percentile(u8, Vec<i64>),
}

impl Figure {
    fn new(agg: &Agg) -> Self {
        match agg {
            Agg::Count => Self::Count(0),
            Agg::Sum(_) => Self::Sum(None),
            Agg::Min(_) => Self::Min(Cell::Absent),
            Agg::Max(_) => Self::Max(Cell::Absent),
            Agg::Avg(_) => Self::Avg(0, 0),
            Agg::Distinct(_) => Self::Distinct(HashSet::new()),
            Agg::Percentile(percent, _) => Self::Percentile(*percent, Vec::new()),
        }
    }

    /// Adds a record's values; says how many bytes it holds more.
    fn add(&mut self, values: &[String]) -> usize {
        let numbers = || values.iter().filter_map(|value| value.parse::<i64>().ok());
        match self {
            Self::Count(count) => *count += 1,
            Self::Sum(sum) => {
                for number in numbers() {
                    *sum = Some(sum.unwrap_or(0) + i128::from(number));
                }
            }
            Self::Avg(sum, count) => {
                for number in numbers() {
                    *sum += i128::from(number);
                    *count += 1;
                }
            }
            Self::Min(least) => extreme(least, values, Ordering::Less),
            Self::Max(most) => extreme(most, values, Ordering::Greater),
            Self::Distinct(seen) => {
                let new = values.iter().filter(|value| seen.insert((*value).clone()));
                return new.map(|value| value.len() + GROUP_BYTES).sum();
            }
            Self::Percentile(_, all) => {
                let before = all.len();
                all.extend(numbers());
                return (all.len() - before) * size_of::<i64>();
            }
        }
        0
    }

    fn cell(self) -> Cell {
        match self {
            Self::Count(count) => Cell::Integer(count),
            Self::Sum(sum) => sum.map_or(Cell::Absent, Cell::Integer),
            Self::Min(cell) | Self::Max(cell) => cell,
            Self::Avg(_, 0) => Cell::Absent,
            #[expect(clippy::cast_precision_loss, reason = "an average has decimals")]
            Self::Avg(sum, count) => Cell::Real(sum as f64 / count as f64),
            Self::Distinct(seen) => Cell::Integer(seen.len() as i128),
            Self::Percentile(percent, all) => percentile(percent, all),
        }
    }
}

/// Keeps a value that is further out than the one before.
fn extreme(kept: &mut Cell, values: &[String], direction: Ordering) {
    for value in values {
        let cell = match value.parse() {
            Ok(number) => Cell::Integer(number),
            Err(_) => Cell::Text(value.clone()),
        };
        if *kept == Cell::Absent || cell.order(kept) == direction {
            *kept = cell;
        }
    }
}

/// Nearest rank: the smallest value that so many percent do not exceed.
fn percentile(percent: u8, mut all: Vec<i64>) -> Cell {
    let rank = (all.len() * usize::from(percent)).div_ceil(100).max(1);
    if all.is_empty() {
        return Cell::Absent;
    }
    let (_, value, _) = all.select_nth_unstable(rank - 1);
    Cell::Integer(i128::from(*value))
}

/// `distinct`: the values themselves.
pub(super) struct Distinct<'q> {
    key: &'q Key,
    seen: HashSet<String>,
    held: Held,
}

impl<'q> Distinct<'q> {
    pub(super) fn new(key: &'q Key) -> Self {
        Self { key, seen: HashSet::new(), held: Held::default() }
    }
}

impl Collect for Distinct<'_> {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let found = values_of(&row.leaf, &[self.key.field()]);
        for value in found.iter().flatten().filter_map(|value| self.key.of(value)) {
            let bytes = value.len() + GROUP_BYTES;
            if self.seen.insert(value) {
                self.held.add(bytes)?;
                if self.seen.len() > TABLE_ROWS_MAX {
                    return Err(SearchError::TooMuch("the table has more than 100000 rows"));
                }
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        let mut rows: Vec<_> = self.seen.into_iter().map(|value| vec![Cell::Text(value)]).collect();
        rows.sort_by(|a, b| super::sorted(a, b, 0, crate::query::Order::Ascending));
        Ok(rows)
    }
}
