//! Which group a document belongs to, as a number, and back to the texts of the group.
//!
//! Each key makes a code of a value; a document without a value has code 0. Where the combinations of codes are few, a
//! group's number is computed from its codes; else pairs of a number so far and a code are numbered as they come, key
//! by key.
#![deny(clippy::indexing_slicing)]

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::RandomState;
use tantivy::{DocId, SegmentReader};

use crate::{
    index::{IndexError, schema::Fields},
    query::stage::Key,
    search::{SearchError, TABLE_ROWS_MAX, combinations},
};

use super::{
    Asked, Group,
    column::{Kind, Values},
    tally::Tally,
};
use crate::search::Figure;

const HOUR_US: u64 = 3_600_000_000;
/// Combinations of codes that get a place each.
const PLACES_MAX: u64 = 1 << 16;

/// The groups of one part, under way.
pub(super) struct Groups<'q> {
    by: &'q [Key],
    coders: Vec<Coder>,
    numbering: Numbering,
    /// Documents of each group; all that there can be have their place, if they are few.
    counts: Vec<u64>,
    tallies: Vec<Tally>,
}

impl<'q> Groups<'q> {
    pub(super) fn new(
        asked: &Asked<'q>,
        fields: &Fields,
        segment: &SegmentReader,
    ) -> Result<Self, IndexError> {
        let coders = asked.by.iter().map(|key| Coder::new(key, fields, segment));
        let coders = coders.collect::<Result<Vec<_>, _>>()?;
        let tallies = asked.aggs.iter().map(|agg| Tally::new(agg, fields, segment));
        let tallies = tallies.collect::<Result<_, _>>()?;
        let numbering = Numbering::new(&coders);
        let counts = vec![0; numbering.places()];
        Ok(Self { by: asked.by, coders, numbering, counts, tallies })
    }

    /// Adds a block of matching documents.
    pub(super) fn add(&mut self, docs: &[DocId]) -> Result<(), IndexError> {
        let mut codes: Vec<Vec<u64>> = Vec::with_capacity(self.coders.len());
        let mut several = vec![false; docs.len()];
        for coder in &mut self.coders {
            codes.push(coder.codes(docs, &mut several));
        }
        let groups = self.numbering.number(codes, docs.len())?;
        let mut hits = Hits { docs: Cow::Borrowed(docs), groups };
        if several.contains(&true) {
            hits = self.spread(&hits, &several)?;
        }
        self.counts.resize(self.numbering.len(), 0);
        for group in &hits.groups {
            if let Some(count) = self.counts.get_mut(*group as usize) {
                *count += 1;
            }
        }
        self.tallies.iter_mut().try_for_each(|tally| tally.add(&hits, self.counts.len()))?;
        Ok(())
    }

    /// Puts documents with several values into each of their groups.
    fn spread(&mut self, hits: &Hits<'_>, several: &[bool]) -> Result<Hits<'static>, IndexError> {
        let (mut docs, mut groups) = (Vec::new(), Vec::new());
        for ((doc, group), several) in hits.docs.iter().zip(&hits.groups).zip(several) {
            if !several {
                docs.push(*doc);
                groups.push(*group);
                continue;
            }
            let found: Vec<Vec<Option<u64>>> =
                self.coders.iter_mut().map(|coder| coder.all_codes(*doc)).collect();
            for codes in combinations(self.by, found)? {
                let codes: Vec<Vec<u64>> =
                    codes.into_iter().map(|code| vec![code.unwrap_or(0)]).collect();
                docs.push(*doc);
                groups.extend(self.numbering.number(codes, 1)?);
            }
        }
        Ok(Hits { docs: Cow::Owned(docs), groups })
    }

    /// The groups that have documents, and their figures.
    pub(super) fn finish(mut self) -> Result<Vec<(Group, Vec<Figure>)>, IndexError> {
        let present: Vec<usize> = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(group, _)| group)
            .collect();
        let mut rows: Vec<(Group, Vec<Figure>)> =
            present.iter().map(|_| Default::default()).collect();
        for (at, coder) in self.coders.iter().enumerate() {
            let codes: Vec<u64> =
                present.iter().map(|group| self.numbering.code(*group, at)).collect();
            for ((group, _), text) in rows.iter_mut().zip(coder.texts(&codes)?) {
                group.push(text);
            }
        }
        for tally in &mut self.tallies {
            let figures = tally.figures(&present, &self.counts)?;
            for ((_, row), figure) in rows.iter_mut().zip(figures) {
                row.push(figure);
            }
        }
        Ok(rows)
    }
}

/// Documents and their groups, side by side; a document may come more than once.
#[derive(Debug)]
pub(super) struct Hits<'a> {
    pub(super) docs: Cow<'a, [DocId]>,
    pub(super) groups: Vec<u64>,
}

/// Numbers for groups.
enum Numbering {
    /// How many codes each key has.
    Places(Vec<u64>),
    /// For each key: numbers of pairs, and the pairs in order of their numbers.
    Pairs(Vec<Pairs>),
}

#[derive(Default)]
struct Pairs {
    numbers: HashMap<(u64, u64), u64, RandomState>,
    pairs: Vec<(u64, u64)>,
}

impl Numbering {
    fn new(coders: &[Coder]) -> Self {
        let codes: Vec<u64> = coders.iter().map(Coder::count).collect();
        let places = codes.iter().try_fold(1_u64, |places, count| places.checked_mul(*count));
        match places {
            Some(places) if places <= PLACES_MAX => Self::Places(codes),
            _ => Self::Pairs(coders.iter().map(|_| Pairs::default()).collect()),
        }
    }

    /// How many places there are before any group was met.
    fn places(&self) -> usize {
        match self {
            // At most PLACES_MAX.
            Self::Places(codes) => codes.iter().product::<u64>() as usize,
            Self::Pairs(_) => 0,
        }
    }

    /// One more than the highest number so far.
    fn len(&self) -> usize {
        match self {
            Self::Places(_) => self.places(),
            Self::Pairs(keys) => keys.last().map_or(0, |key| key.pairs.len()),
        }
    }

    /// The group of each of `docs` documents, whose codes are given key by key.
    fn number(&mut self, codes: Vec<Vec<u64>>, docs: usize) -> Result<Vec<u64>, IndexError> {
        let mut codes = codes.into_iter();
        match self {
            Self::Places(counts) => {
                // What the only key says is the group already, and so it mostly is.
                let mut groups = codes.next().unwrap_or_else(|| vec![0; docs]);
                for (count, codes) in counts.iter().skip(1).zip(codes) {
                    for (group, code) in groups.iter_mut().zip(codes) {
                        *group = *group * *count + code;
                    }
                }
                Ok(groups)
            }
            Self::Pairs(keys) => {
                let mut groups = vec![0; docs];
                for (key, codes) in keys.iter_mut().zip(codes) {
                    for (group, code) in groups.iter_mut().zip(codes) {
                        *group = key.number((*group, code))?;
                    }
                }
                Ok(groups)
            }
        }
    }

    /// The code that a group has for the key at this place.
    fn code(&self, group: usize, at: usize) -> u64 {
        match self {
            Self::Places(counts) => {
                let after: u64 = counts.iter().skip(at + 1).product();
                let count = counts.get(at).copied().unwrap_or(1);
                group as u64 / after.max(1) % count.max(1)
            }
            Self::Pairs(keys) => {
                let mut group = group as u64;
                let mut code = 0;
                for key in keys.iter().skip(at).rev() {
                    let pair = usize::try_from(group).ok().and_then(|group| key.pairs.get(group));
                    (group, code) = pair.copied().unwrap_or_default();
                }
                code
            }
        }
    }
}

impl Pairs {
    fn number(&mut self, pair: (u64, u64)) -> Result<u64, IndexError> {
        if let Some(number) = self.numbers.get(&pair) {
            return Ok(*number);
        }
        // Every beginning of a group is in some group of the table, so the table has at least as many rows.
        if self.pairs.len() == TABLE_ROWS_MAX {
            return Err(SearchError::too_many_rows().into());
        }
        let number = self.pairs.len() as u64;
        self.pairs.push(pair);
        self.numbers.insert(pair, number);
        Ok(number)
    }
}

/// Makes codes of a key's values.
enum Coder {
    /// No document has a value that the key can use.
    Nothing,
    /// The value's distance from the least one.
    Offset {
        values: Values,
        least: u64,
    },
    /// By the word's place in the dictionary: what the key makes of the word, from 1.
    Made {
        values: Values,
        codes: Vec<u64>,
        texts: Vec<String>,
    },
    /// Intervals of time, from the first one.
    Bins {
        values: Values,
        width_us: u64,
        first: u64,
        last_seen: (u64, u64),
    },
    Hours(Values),
}

impl Coder {
    fn new(key: &Key, fields: &Fields, segment: &SegmentReader) -> Result<Self, IndexError> {
        let column = fields.column(key.field());
        let Some(values) = column.map(|c| Values::open(segment, c)).transpose()?.flatten() else {
            return Ok(Self::Nothing);
        };
        let least = values.column.min_value();
        Ok(match (key, &values.kind) {
            (Key::Field(_), _) => Self::Offset { values, least },
            (Key::Bin { width_us, .. }, Kind::Times) if *width_us > 0 => {
                let first = least / width_us;
                Self::Bins { values, width_us: *width_us, first, last_seen: (u64::MAX, 0) }
            }
            (Key::Hour, Kind::Times) => Self::Hours(values),
            (key, Kind::Words(words)) => {
                let mut known: HashMap<String, u64> = HashMap::new();
                let (mut codes, mut texts) = (Vec::new(), Vec::new());
                Values::words(words, |word| {
                    codes.push(key.of(word).map_or(0, |made| {
                        *known.entry(made).or_insert_with_key(|made| {
                            texts.push(made.clone());
                            texts.len() as u64
                        })
                    }));
                })?;
                Self::Made { values, codes, texts }
            }
            _ => Self::Nothing,
        })
    }

    fn values(&self) -> Option<&Values> {
        match self {
            Self::Nothing => None,
            Self::Offset { values, .. }
            | Self::Made { values, .. }
            | Self::Bins { values, .. }
            | Self::Hours(values) => Some(values),
        }
    }

    /// Codes that there can be, with that for no value.
    fn count(&self) -> u64 {
        let span = match self {
            Self::Nothing => 0,
            Self::Offset { values, least } => values.column.max_value() - least + 1,
            Self::Made { texts, .. } => texts.len() as u64,
            Self::Bins { values, width_us, first, .. } => {
                values.column.max_value() / width_us - first + 1
            }
            Self::Hours(_) => 24,
        };
        span.saturating_add(1)
    }

    /// The code of each document's first value; says where there are more.
    fn codes(&mut self, docs: &[DocId], several: &mut [bool]) -> Vec<u64> {
        let mut codes = vec![0; docs.len()];
        let Some(values) = self.values().cloned() else { return codes };
        if let Some(values) = values.one_each(docs) {
            return self.codes_of(values);
        }
        if values.is_multiple() {
            // A value without a code still counts as one of several.
            let mut met = vec![false; docs.len()];
            values.each(docs, |at, value| {
                let code = self.code(value);
                if let (Some(kept), Some(met), Some(several)) =
                    (codes.get_mut(at), met.get_mut(at), several.get_mut(at))
                {
                    *several |= *met;
                    *kept = if *met { *kept } else { code };
                    *met = true;
                }
            });
        } else {
            values.each(docs, |at, value| {
                if let Some(kept) = codes.get_mut(at) {
                    *kept = self.code(value);
                }
            });
        }
        codes
    }

    fn codes_of(&mut self, values: Vec<u64>) -> Vec<u64> {
        match self {
            // The one that most questions ask for, as a loop without a branch.
            Self::Offset { least, .. } => {
                // INVARIANT: no value is below the least one, and `count` is one more than the highest code.
                values.into_iter().map(|value| value.wrapping_sub(*least).wrapping_add(1)).collect()
            }
            _ => values.into_iter().map(|value| self.code(value)).collect(),
        }
    }

    /// What there is to combine of one document; never empty.
    fn all_codes(&mut self, doc: DocId) -> Vec<Option<u64>> {
        let Some(values) = self.values().cloned() else { return vec![None] };
        let mut codes = Vec::new();
        values.each(&[doc], |_, value| codes.push(Some(self.code(value)).filter(|code| *code > 0)));
        if codes.is_empty() { vec![None] } else { codes }
    }

    fn code(&mut self, value: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Offset { least, .. } => value - *least + 1,
            Self::Made { codes, .. } => {
                usize::try_from(value).ok().and_then(|at| codes.get(at).copied()).unwrap_or(0)
            }
            Self::Bins { width_us, first, last_seen: (from, code), .. } => {
                // Documents come in order of time, so most are in the same interval as the one before.
                if value < *from || value - *from >= *width_us {
                    let bin = value / *width_us;
                    (*from, *code) = (bin * *width_us, bin - *first + 1);
                }
                *code
            }
            Self::Hours(_) => value / HOUR_US % 24 + 1,
        }
    }

    /// The texts of codes.
    fn texts(&self, codes: &[u64]) -> Result<Vec<Option<String>>, IndexError> {
        let by = |text: &dyn Fn(u64) -> Option<String>| {
            codes.iter().map(|code| code.checked_sub(1).and_then(text)).collect()
        };
        Ok(match self {
            Self::Nothing => vec![None; codes.len()],
            Self::Offset { values, least } => {
                let mut wanted: Vec<u64> =
                    codes.iter().filter(|code| **code > 0).map(|code| code - 1 + least).collect();
                wanted.sort_unstable();
                wanted.dedup();
                let mut texts = values.texts(&wanted)?;
                if codes.is_sorted_by(|before, after| before < after) {
                    // The only key: each value is one group's.
                    let mut texts = texts.drain(..);
                    let text = |code: &u64| if *code > 0 { texts.next() } else { None };
                    return Ok(codes.iter().map(text).collect());
                }
                by(&|code| texts.get(wanted.binary_search(&(code + least)).ok()?).cloned())
            }
            Self::Made { texts, .. } => by(&|code| texts.get(usize::try_from(code).ok()?).cloned()),
            Self::Bins { width_us, first, .. } => {
                by(&|code| Some(crate::stamp::string((code + first) * width_us)))
            }
            Self::Hours(_) => by(&|code| Some(format!("{code:02}"))),
        })
    }
}
