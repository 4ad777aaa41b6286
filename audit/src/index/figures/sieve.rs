//! A filter over columns: exact where the index's query only proposes.
//!
//! A test of words is made once for each word of a segment's dictionary, by the code that tests records; what is left
//! per document is a look at a table.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use tantivy::{DocId, SegmentReader};

use crate::{
    index::{IndexError, schema::Fields},
    leaf::Scalar,
    query::{Filter, Op, Pred, Test},
    stamp,
};

use super::column::{Kind, Values};

const HOUR_US: u64 = 3_600_000_000;
/// Values whose outcome is remembered.
const KNOWN_MAX: usize = 1 << 16;

/// The filter as far as the index's query does not settle it.
pub(super) enum Sieve<'f> {
    /// Every document.
    All,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    /// A value of the document must pass; without a value, none does.
    Value(Option<Values>, Check<'f>),
}

/// What a value must be.
pub(super) enum Check<'f> {
    /// Any.
    Exists,
    /// True at the places of the words that pass.
    Words(Vec<bool>),
    /// Like these hours of the day.
    Hours(Vec<bool>),
    Number(Op, i128),
    Between(i128, i128),
    Time(Op, u64),
    /// Whatever the test says, which is remembered for some values.
    Tried(&'f Test, HashMap<u64, bool>),
}

impl<'f> Sieve<'f> {
    /// Whether columns and the index's query decide this filter.
    pub(super) fn suffices(filter: &Filter, fields: &Fields) -> bool {
        match filter {
            Filter::And(all) => all.iter().all(|filter| Self::suffices(filter, fields)),
            Filter::Pred(pred) => is_settled(pred, fields) || has_columns(filter, fields),
            other => has_columns(other, fields),
        }
    }

    /// The filter for the candidates of one segment.
    pub(super) fn new(
        filter: &'f Filter,
        fields: &Fields,
        segment: &SegmentReader,
    ) -> Result<Self, IndexError> {
        match filter {
            Filter::And(all) => {
                let all = all.iter().map(|filter| Self::new(filter, fields, segment));
                Ok(Self::And(all.collect::<Result<_, _>>()?))
            }
            Filter::Pred(pred) if is_settled(pred, fields) => Ok(Self::All),
            other => Self::unsettled(other, fields, segment),
        }
    }

    fn unsettled(
        filter: &'f Filter,
        fields: &Fields,
        segment: &SegmentReader,
    ) -> Result<Self, IndexError> {
        let many = |filters: &'f [Filter]| -> Result<Vec<Self>, IndexError> {
            filters.iter().map(|filter| Self::unsettled(filter, fields, segment)).collect()
        };
        Ok(match filter {
            Filter::All => Self::All,
            Filter::And(all) => Self::And(many(all)?),
            Filter::Or(any) => Self::Or(many(any)?),
            Filter::Not(inner) => Self::Not(Box::new(Self::unsettled(inner, fields, segment)?)),
            Filter::Pred(pred) => {
                let column = fields.column(&pred.field);
                let values =
                    column.map(|column| Values::open(segment, column)).transpose()?.flatten();
                let check = match &values {
                    Some(values) => Check::new(&pred.test, values)?,
                    None => Check::Exists,
                };
                Self::Value(values, check)
            }
        })
    }

    /// Takes out the documents that do not match.
    pub(super) fn retain(&mut self, docs: &mut Vec<DocId>) {
        match self {
            Self::All => {}
            Self::And(all) => all.iter_mut().for_each(|sieve| sieve.retain(docs)),
            other => {
                let passed = other.passed(docs);
                let mut passed = passed.into_iter();
                docs.retain(|_| passed.next().unwrap_or(false));
            }
        }
    }

    /// Which of the documents match.
    fn passed(&mut self, docs: &[DocId]) -> Vec<bool> {
        let both = |parts: &mut Vec<Self>, start: bool, join: fn(&mut bool, bool)| {
            let mut passed = vec![start; docs.len()];
            for part in parts {
                passed
                    .iter_mut()
                    .zip(part.passed(docs))
                    .for_each(|(so_far, one)| join(so_far, one));
            }
            passed
        };
        match self {
            Self::All => vec![true; docs.len()],
            Self::And(all) => both(all, true, |so_far, one| *so_far &= one),
            Self::Or(any) => both(any, false, |so_far, one| *so_far |= one),
            Self::Not(inner) => inner.passed(docs).into_iter().map(|passed| !passed).collect(),
            Self::Value(None, _) => vec![false; docs.len()],
            Self::Value(Some(values), check) => {
                let mut passed = vec![false; docs.len()];
                let kind = &values.kind;
                values.each(docs, |at, value| {
                    if let Some(passed) = passed.get_mut(at) {
                        *passed = *passed || check.passes(kind, value);
                    }
                });
                passed
            }
        }
    }
}

/// Whether the index's query finds exactly the documents for which this holds, where it must hold for every match.
fn is_settled(pred: &Pred, fields: &Fields) -> bool {
    matches!(pred.test, Test::OneOf(_)) && fields.word(&pred.field).is_some()
}

fn has_columns(filter: &Filter, fields: &Fields) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(all) | Filter::Or(all) => all.iter().all(|filter| has_columns(filter, fields)),
        Filter::Not(inner) => has_columns(inner, fields),
        Filter::Pred(pred) => match pred.test {
            // These compare the values of two fields.
            Test::SameAs(_) | Test::Differs(_) => false,
            _ => fields.column(&pred.field).is_some(),
        },
    }
}

impl<'f> Check<'f> {
    fn new(test: &'f Test, values: &Values) -> Result<Self, IndexError> {
        Ok(match (test, &values.kind) {
            (Test::Exists, _) => Self::Exists,
            (test, Kind::Words(words)) => {
                let mut passing = Vec::with_capacity(words.num_terms());
                Values::words(words, |word| passing.push(test.hit(&Scalar::Text(word.into()))))?;
                Self::Words(passing)
            }
            (Test::Hour(inner), Kind::Times) => {
                let hour = |hour: u8| inner.hit(&Scalar::Number(&hour.to_string()));
                Self::Hours((0..24).map(hour).collect())
            }
            (Test::Number(op, wanted), Kind::Numbers) => Self::Number(*op, *wanted),
            (Test::Between(low, high), Kind::Numbers) => Self::Between(*low, *high),
            // Times of a fixed width compare as numbers do.
            (Test::Time(op, wanted), Kind::Times) => match stamp::parse(wanted) {
                Some(wanted) => Self::Time(*op, wanted),
                None => Self::Tried(test, HashMap::new()),
            },
            (test, _) => Self::Tried(test, HashMap::new()),
        })
    }

    fn passes(&mut self, kind: &Kind, value: u64) -> bool {
        let at = |table: &[bool], place: u64| {
            usize::try_from(place).ok().and_then(|place| table.get(place).copied()).unwrap_or(false)
        };
        match self {
            Self::Exists => true,
            Self::Words(passing) => at(passing, value),
            Self::Hours(passing) => at(passing, value / HOUR_US % 24),
            Self::Number(op, wanted) => op.holds(&i128::from(value), wanted),
            Self::Between(low, high) => (*low..=*high).contains(&i128::from(value)),
            Self::Time(op, wanted) => op.holds(&value, wanted),
            Self::Tried(test, known) => {
                if known.len() == KNOWN_MAX {
                    known.clear();
                }
                *known.entry(value).or_insert_with(|| match kind {
                    Kind::Times => test.hit(&Scalar::Text(stamp::string(value).into())),
                    _ => test.hit(&Scalar::Number(&value.to_string())),
                })
            }
        }
    }
}
