//! `count by` and the other figures: one row per combination of values.
#![deny(clippy::indexing_slicing)]

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use foldhash::fast::RandomState;

use crate::query::stage::{Agg, Key};

use super::{
    Cell, Collect, Deadline, Held, Row, SearchError, TABLE_ROWS_MAX, combinations, parts_of,
    values_of,
};

/// What a group costs besides its texts.
const GROUP_BYTES: usize = 128;

/// The groups under way.
pub(crate) struct Groups<'q> {
    pub(crate) aggs: &'q [Agg],
    pub(crate) by: &'q [Key],
    /// The fields of `by`, then those of `aggs`.
    fields: Vec<&'q str>,
    /// Whether only the values are wanted, in their order.
    distinct: bool,
    /// Seeded, so that nobody who names objects can aim at it.
    groups: HashMap<Vec<Option<String>>, Vec<Figure>, RandomState>,
    held: Held,
}

impl<'q> Groups<'q> {
    pub(crate) fn new(aggs: &'q [Agg], by: &'q [Key]) -> Self {
        let fields =
            by.iter().map(Key::field).chain(aggs.iter().map(|agg| agg.field().unwrap_or("")));
        let mut groups = HashMap::default();
        if by.is_empty() {
            // A figure over nothing is still a figure.
            groups.insert(Vec::new(), aggs.iter().map(Figure::new).collect());
        }
        let fields = fields.collect();
        Self { aggs, by, fields, distinct: false, groups, held: Held::default() }
    }

    /// `distinct`: the values themselves.
    pub(crate) fn distinct(key: &'q Key) -> Self {
        Self { distinct: true, ..Self::new(&[], std::slice::from_ref(key)) }
    }

    /// Adds what was found of a group elsewhere.
    pub(crate) fn absorb(
        &mut self,
        group: Vec<Option<String>>,
        found: Vec<Figure>,
    ) -> Result<(), SearchError> {
        let mut bytes = 0;
        for (figure, found) in self.figures(group)?.iter_mut().zip(found) {
            bytes += figure.absorb(found);
        }
        self.held.add(bytes)
    }

    /// The figures of a group, which may be a new one.
    fn figures(&mut self, group: Vec<Option<String>>) -> Result<&mut Vec<Figure>, SearchError> {
        let rows = self.groups.len();
        match self.groups.entry(group) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(_) if rows == TABLE_ROWS_MAX => Err(SearchError::too_many_rows()),
            Entry::Vacant(place) => {
                let texts: usize = place.key().iter().flatten().map(String::len).sum();
                self.held.add(texts + GROUP_BYTES * (1 + self.aggs.len()))?;
                Ok(place.insert(self.aggs.iter().map(Figure::new).collect()))
            }
        }
    }

    /// The table's rows, in the order in which they read best.
    pub(crate) fn rows(mut self) -> Vec<Vec<Cell>> {
        let mut groups = std::mem::take(&mut self.groups);
        if self.distinct {
            // Records without a value are no value.
            groups.remove([None::<String>].as_slice());
        }
        let mut rows: Vec<Vec<Cell>> = groups
            .into_iter()
            .map(|(group, figures)| {
                let keys = group.into_iter().map(Cell::from);
                keys.chain(figures.into_iter().map(Figure::cell)).collect()
            })
            .collect();
        rows.sort_by(|a, b| self.order(a, b));
        rows
    }

    fn order(&self, a: &[Cell], b: &[Cell]) -> Ordering {
        if self.distinct {
            return super::sorted(a, b, 0, crate::query::Order::Ascending);
        }
        let by_keys = || {
            let pairs = a.iter().zip(b).take(self.by.len());
            pairs.map(|(a, b)| a.order(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
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
        for group in combinations(self.by, parts_of(self.by, keys))? {
            let mut bytes = 0;
            for (figure, values) in self.figures(group)?.iter_mut().zip(values) {
                bytes += figure.add(values);
            }
            self.held.add(bytes)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        Ok(self.rows())
    }
}

/// One figure under way.
#[derive(Debug)]
pub(crate) enum Figure {
    Count(i128),
    Sum(Option<i128>),
    Min(Cell),
    Max(Cell),
    Avg(i128, u64),
    Distinct(HashSet<String>),
    Percentile(u8, Vec<i64>),
}

impl Figure {
    pub(crate) fn new(agg: &Agg) -> Self {
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
    pub(crate) fn add(&mut self, values: &[String]) -> usize {
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
            Self::Min(_) | Self::Max(_) => {
                values.iter().for_each(|value| self.extreme(Cell::comparable(value)));
            }
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

    /// Adds what was found of the same group elsewhere; says how many bytes it holds more.
    fn absorb(&mut self, found: Self) -> usize {
        match (self, found) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Sum(sum), Self::Sum(Some(more))) => *sum = Some(sum.unwrap_or(0) + more),
            (Self::Avg(sum, count), Self::Avg(more, numbers)) => {
                *sum += more;
                *count += numbers;
            }
            (kept @ (Self::Min(_) | Self::Max(_)), Self::Min(cell) | Self::Max(cell)) => {
                kept.extreme(cell);
            }
            (Self::Distinct(seen), Self::Distinct(more)) => {
                let before = seen.len();
                let bytes = more.iter().filter(|value| !seen.contains(*value)).map(String::len);
                let bytes: usize = bytes.sum();
                seen.extend(more);
                return bytes + (seen.len() - before) * GROUP_BYTES;
            }
            (Self::Percentile(_, all), Self::Percentile(_, mut more)) => {
                let bytes = more.len() * size_of::<i64>();
                all.append(&mut more);
                return bytes;
            }
            // Both are of one kind, because both are of one query.
            _ => {}
        }
        0
    }

    /// Keeps a value that is further out than the one before.
    fn extreme(&mut self, cell: Cell) {
        let (kept, direction) = match self {
            Self::Min(kept) => (kept, Ordering::Less),
            Self::Max(kept) => (kept, Ordering::Greater),
            _ => return,
        };
        if cell != Cell::Absent && (*kept == Cell::Absent || cell.order(kept) == direction) {
            *kept = cell;
        }
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

/// Nearest rank: the smallest value that so many percent do not exceed.
fn percentile(percent: u8, mut all: Vec<i64>) -> Cell {
    let rank = (all.len() * usize::from(percent)).div_ceil(100).max(1);
    if all.is_empty() {
        return Cell::Absent;
    }
    let (_, value, _) = all.select_nth_unstable(rank - 1);
    Cell::Integer(i128::from(*value))
}
