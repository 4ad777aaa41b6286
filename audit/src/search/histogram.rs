//! How many records match over time, for somebody who looks for a spike.
#![deny(clippy::indexing_slicing)]

use crate::{
    leaf,
    query::{
        Query,
        stage::{Agg, Key},
    },
    segment::check,
    stamp,
};

use super::{Cell, Coverage, Row, SearchError, SearchOptions, Searcher, plan::Walk, table::Groups};

/// Matches that a histogram may have.
const MATCHES_MAX: usize = 20_000_000;
/// Widths that people can read, in microseconds: 1 ms to 1 s by tens, seconds and minutes by parts of a minute and an
/// hour, hours by parts of a day, days, weeks, and so on.
const WIDTHS_US: &[u64] = &[
    1_000,
    10_000,
    100_000,
    SECOND_US,
    5 * SECOND_US,
    15 * SECOND_US,
    60 * SECOND_US,
    300 * SECOND_US,
    900 * SECOND_US,
    3600 * SECOND_US,
    3 * 3600 * SECOND_US,
    12 * 3600 * SECOND_US,
    DAY_US,
    7 * DAY_US,
    30 * DAY_US,
    365 * DAY_US,
];
const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

/// Matches over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Start of the first bar, in microseconds; a multiple of the width.
    pub from_us: u64,
    /// Width of each bar in microseconds.
    pub width_us: u64,
    /// Bars, oldest first; none when nothing matches.
    pub bars: Vec<Bar>,
    /// What was looked at.
    pub coverage: Coverage,
}

/// Matches in one interval, by what was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied, or failed, which denies.
    pub denied: u64,
    /// Outcomes, key operations, and whatever else is no decision.
    pub other: u64,
}

impl Bar {
    /// So many records with this decision.
    fn of(decision: Option<&str>, count: u64) -> Self {
        match decision {
            Some("allow") => Self { allowed: count, ..Self::default() },
            Some(_) => Self { denied: count, ..Self::default() },
            None => Self { other: count, ..Self::default() },
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.allowed + self.denied + self.other
    }
}

/// As [`Searcher::histogram`].
pub(super) fn histogram(
    searcher: &Searcher,
    query: &Query,
    options: SearchOptions,
    bars_max: usize,
) -> Result<Histogram, SearchError> {
    let walk = Walk::of(searcher, query, options)?;
    if let Some(counted) = from_columns(&walk, bars_max)? {
        return Ok(counted);
    }
    let mut matches: Vec<(u64, Bar)> = Vec::new();
    let walked = walk.newest_first(&mut |row| {
        if matches.len() == MATCHES_MAX {
            return Err(SearchError::TooMuch("more than 20 million records match"));
        }
        matches.push((check::time(&row.leaf).unwrap_or(0), kind(&row)));
        Ok(true)
    })?;
    let coverage = walk.coverage(walked, 0, matches.len() as u64);
    let (Some((newest, _)), Some((oldest, _))) = (matches.first(), matches.last()) else {
        return Ok(Histogram::empty(coverage));
    };
    let mut histogram = Histogram::over(*oldest, *newest, bars_max, coverage);
    matches.iter().for_each(|(at_us, one)| histogram.add(*at_us, *one));
    Ok(histogram)
}

/// The same from the index's columns, in two passes: the first finds from when to when.
fn from_columns(walk: &Walk<'_>, bars_max: usize) -> Result<Option<Histogram>, SearchError> {
    let time = || "time".to_owned();
    let ends = [Agg::Min(time()), Agg::Max(time())];
    let mut groups = Groups::new(&ends, &[]);
    let Some((matches, walked)) = walk.group(&mut groups)? else { return Ok(None) };
    let coverage = walk.coverage(walked, 0, matches);
    let ends: Vec<u64> = groups.rows().iter().flatten().filter_map(microseconds).collect();
    let [oldest, newest] = ends.as_slice() else { return Ok(Some(Histogram::empty(coverage))) };
    let mut histogram = Histogram::over(*oldest, *newest, bars_max, coverage);
    let bin = Key::Bin { width_us: histogram.width_us, text: String::new() };
    let by = [bin, Key::Field("auth.decision".to_owned())];
    let mut groups = Groups::new(&[Agg::Count], &by);
    if walk.group(&mut groups)?.is_none() {
        return Ok(None);
    }
    for row in groups.rows() {
        if let [at, decision, Cell::Integer(count)] = row.as_slice() {
            let decision = if let Cell::Text(text) = decision { Some(text.as_str()) } else { None };
            let count = u64::try_from(*count).unwrap_or(0);
            histogram.add(microseconds(at).unwrap_or(0), Bar::of(decision, count));
        }
    }
    Ok(Some(histogram))
}

fn microseconds(cell: &Cell) -> Option<u64> {
    match cell {
        Cell::Text(text) => stamp::parse(text.as_bytes()),
        _ => None,
    }
}

impl Histogram {
    fn empty(coverage: Coverage) -> Self {
        Self { from_us: 0, width_us: 0, bars: Vec::new(), coverage }
    }

    /// Empty bars from the oldest match to the newest.
    fn over(oldest: u64, newest: u64, bars_max: usize, coverage: Coverage) -> Self {
        let width_us = width(oldest, newest, bars_max.max(1) as u64);
        let first = oldest / width_us;
        let bars = vec![Bar::default(); (newest / width_us - first + 1) as usize];
        Self { from_us: first * width_us, width_us, bars, coverage }
    }

    fn add(&mut self, at_us: u64, more: Bar) {
        let place = at_us.saturating_sub(self.from_us) / self.width_us;
        if let Some(bar) = usize::try_from(place).ok().and_then(|at| self.bars.get_mut(at)) {
            bar.allowed += more.allowed;
            bar.denied += more.denied;
            bar.other += more.other;
        }
    }
}

/// The narrowest readable width with which the bars suffice.
fn width(oldest: u64, newest: u64, bars_max: u64) -> u64 {
    let suffices = |width: u64| newest / width - oldest / width < bars_max;
    let readable = WIDTHS_US.iter().copied().find(|width| suffices(*width));
    // A log of centuries gets one bar after all.
    readable.unwrap_or_else(|| newest + 1)
}

fn kind(row: &Row) -> Bar {
    Bar::of(leaf::values(&row.leaf, "auth.decision").first().map(String::as_str), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_suffice_and_are_as_narrow_as_they_can_be() {
        let minute = 60 * SECOND_US;
        assert_eq!(width(0, 0, 1), 1_000);
        assert_eq!(width(100 * minute, 109 * minute, 10), minute);
        assert_eq!(width(100 * minute, 110 * minute, 10), 5 * minute);
        assert_eq!(width(0, 364 * DAY_US, 20), 30 * DAY_US);
        assert!(width(0, u64::MAX - 1, 1) > 365 * DAY_US);
        assert!(WIDTHS_US.is_sorted());
    }
}
