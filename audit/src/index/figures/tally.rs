//! One figure over each group, under way.
#![deny(clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};

use tantivy::{SegmentReader, columnar::StrColumn};

use crate::{
    index::{IndexError, schema::Fields},
    query::stage::Agg,
    search::{Cell, Figure, SearchError, TABLE_BYTES_MAX},
};

use super::{
    column::{Kind, Values},
    groups::Hits,
};

/// What a distinct value costs besides its text, as the table counts it.
const DISTINCT_BYTES: usize = 128;

/// What is kept of the values of each group.
pub(super) struct Tally {
    agg: Agg,
    values: Option<Values>,
    words: Words,
    kept: Kept,
}

/// What the places of a dictionary stand for, as far as a figure needs it.
#[derive(Default)]
struct Words {
    /// The number that the word is.
    numbers: Vec<Option<i64>>,
    /// The word's rank among all words, in the order of tables.
    ranks: Vec<u64>,
    /// By rank.
    cells: Vec<Cell>,
}

impl Words {
    fn new(words: &StrColumn, kept: &Kept) -> Result<Self, IndexError> {
        let mut all = Self::default();
        match kept {
            Kept::Counts | Kept::Distinct(_) => {}
            Kept::Sums(_) | Kept::Lists { .. } => {
                Values::words(words, |word| all.numbers.push(word.parse().ok()))?;
            }
            Kept::Extremes(_) => {
                let mut places = Vec::new();
                Values::words(words, |word| places.push((Cell::comparable(word), places.len())))?;
                places.sort_by(|(a, _), (b, _)| a.order(b));
                all.ranks = vec![0; places.len()];
                for (rank, (cell, place)) in places.into_iter().enumerate() {
                    if let Some(kept) = all.ranks.get_mut(place) {
                        *kept = rank as u64;
                    }
                    all.cells.push(cell);
                }
            }
        }
        Ok(all)
    }

    fn number(&self, place: u64) -> Option<i64> {
        self.numbers.get(usize::try_from(place).ok()?).copied().flatten()
    }

    fn rank(&self, place: u64) -> Option<u64> {
        self.ranks.get(usize::try_from(place).ok()?).copied()
    }

    fn cell(&self, rank: u64) -> Option<Cell> {
        self.cells.get(usize::try_from(rank).ok()?).cloned()
    }
}

enum Kept {
    /// The groups' own counts say it.
    Counts,
    /// Sums, and how many numbers they are of.
    Sums(Vec<(i128, u64)>),
    /// The lowest or the highest value, or rank of a word.
    Extremes(Vec<Option<u64>>),
    /// Pairs of a group and a value.
    Distinct(HashSet<(usize, u64)>),
    Lists {
        lists: Vec<Vec<i64>>,
        numbers: usize,
    },
}

impl Tally {
    pub(super) fn new(
        agg: &Agg,
        fields: &Fields,
        segment: &SegmentReader,
    ) -> Result<Self, IndexError> {
        let column = agg.field().and_then(|field| fields.column(field));
        let values = column.map(|column| Values::open(segment, column)).transpose()?.flatten();
        let words = match values.as_ref().map(|values| &values.kind) {
            Some(Kind::Words(words)) => Some(words),
            _ => None,
        };
        let kept = match agg {
            Agg::Count => Kept::Counts,
            Agg::Sum(_) | Agg::Avg(_) => Kept::Sums(Vec::new()),
            Agg::Min(_) | Agg::Max(_) => Kept::Extremes(Vec::new()),
            Agg::Distinct(_) => Kept::Distinct(HashSet::new()),
            Agg::Percentile(..) => Kept::Lists { lists: Vec::new(), numbers: 0 },
        };
        let words = match words {
            Some(words) => Words::new(words, &kept)?,
            None => Words::default(),
        };
        Ok(Self { agg: agg.clone(), values, words, kept })
    }

    /// Adds the values of documents; `groups` is one more than the highest group.
    pub(super) fn add(&mut self, hits: &Hits<'_>, groups: usize) -> Result<(), IndexError> {
        let Some(values) = &self.values else { return Ok(()) };
        let group_of = |at: usize| hits.groups.get(at).map_or(usize::MAX, |group| *group as usize);
        let words = &self.words;
        let number = |value: u64| match &values.kind {
            Kind::Numbers => i64::try_from(value).ok(),
            Kind::Times => None,
            Kind::Words(_) => words.number(value),
        };
        match &mut self.kept {
            Kept::Counts => {}
            Kept::Sums(sums) => {
                sums.resize(groups, (0, 0));
                values.each(&hits.docs, |at, value| {
                    if let (Some(sum), Some(number)) = (sums.get_mut(group_of(at)), number(value)) {
                        *sum = (sum.0 + i128::from(number), sum.1 + 1);
                    }
                });
            }
            Kept::Extremes(extremes) => {
                extremes.resize(groups, None);
                let lower = matches!(self.agg, Agg::Min(_));
                values.each(&hits.docs, |at, value| {
                    let value = words.rank(value).unwrap_or(value);
                    if let Some(kept) = extremes.get_mut(group_of(at)) {
                        let further = |kept: u64| if lower { value < kept } else { value > kept };
                        *kept = Some(kept.filter(|kept| !further(*kept)).unwrap_or(value));
                    }
                });
            }
            Kept::Distinct(seen) => {
                values.each(&hits.docs, |at, value| {
                    seen.insert((group_of(at), value));
                });
                within(seen.len(), DISTINCT_BYTES)?;
            }
            Kept::Lists { lists, numbers } => {
                lists.resize(groups, Vec::new());
                values.each(&hits.docs, |at, value| {
                    if let (Some(list), Some(number)) = (lists.get_mut(group_of(at)), number(value))
                    {
                        list.push(number);
                        *numbers += 1;
                    }
                });
                within(*numbers, size_of::<i64>())?;
            }
        }
        Ok(())
    }

    /// The figures of the groups in `present`, which ascend.
    pub(super) fn figures(
        &mut self,
        present: &[usize],
        counts: &[u64],
    ) -> Result<Vec<Figure>, IndexError> {
        if let Kept::Distinct(seen) = &mut self.kept {
            let seen = std::mem::take(seen);
            return self.distinct(seen, present);
        }
        let figure = |group: &usize| match (&mut self.kept, &self.agg) {
            (Kept::Counts, _) => {
                Figure::Count(counts.get(*group).copied().unwrap_or_default().into())
            }
            (Kept::Sums(sums), agg) => {
                let (sum, count) = sums.get(*group).copied().unwrap_or_default();
                match agg {
                    Agg::Avg(_) => Figure::Avg(sum, count),
                    _ => Figure::Sum((count > 0).then_some(sum)),
                }
            }
            (Kept::Extremes(extremes), agg) => {
                let extreme = extremes.get(*group).copied().flatten();
                let cell = extreme.and_then(|value| match &self.values.as_ref()?.kind {
                    Kind::Times => Some(Cell::Text(crate::stamp::string(value))),
                    Kind::Numbers => Some(Cell::Integer(value.into())),
                    Kind::Words(_) => self.words.cell(value),
                });
                let cell = cell.unwrap_or(Cell::Absent);
                if let Agg::Min(_) = agg { Figure::Min(cell) } else { Figure::Max(cell) }
            }
            (Kept::Lists { lists, .. }, agg) => {
                let list = lists.get_mut(*group).map(std::mem::take).unwrap_or_default();
                let percent = if let Agg::Percentile(percent, _) = agg { *percent } else { 0 };
                Figure::Percentile(percent, list)
            }
            (Kept::Distinct(_), agg) => Figure::new(agg),
        };
        Ok(present.iter().map(figure).collect())
    }

    /// Figures that are made of the values' texts.
    fn distinct(
        &self,
        seen: HashSet<(usize, u64)>,
        present: &[usize],
    ) -> Result<Vec<Figure>, IndexError> {
        let mut values: Vec<u64> = seen.iter().map(|(_, value)| *value).collect();
        values.sort_unstable();
        values.dedup();
        let texts = match &self.values {
            Some(column) => column.texts(&values)?,
            None => Vec::new(),
        };
        let texts: HashMap<u64, String> = values.into_iter().zip(texts).collect();
        let mut figures: Vec<Figure> = present.iter().map(|_| Figure::new(&self.agg)).collect();
        for (group, value) in seen {
            let figure = present.binary_search(&group).ok().and_then(|at| figures.get_mut(at));
            if let (Some(figure), Some(text)) = (figure, texts.get(&value)) {
                figure.add(std::slice::from_ref(text));
            }
        }
        Ok(figures)
    }
}

/// What is kept here is kept in the table, too, where it would be too much.
fn within(count: usize, bytes: usize) -> Result<(), IndexError> {
    match count.saturating_mul(bytes) > TABLE_BYTES_MAX {
        true => Err(SearchError::too_much_held().into()),
        false => Ok(()),
    }
}
