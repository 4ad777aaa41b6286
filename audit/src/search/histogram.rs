//! How many records match over time, for somebody who looks for a spike.
#![deny(clippy::indexing_slicing)]

use std::path::Path;

use crate::{leaf, query::Query, segment::check};

use super::{Coverage, Row, SearchError, SearchOptions, plan::Walk};

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
    /// All of them.
    pub fn total(&self) -> u64 {
        self.allowed + self.denied + self.other
    }
}

/// Counts the matches of a query over time, in at most `bars_max` bars. What the query says about rows (`fields`,
/// `sort`, `limit`) does not matter here.
///
/// # Errors
/// [`SearchError`], also when more than 20 million records match.
pub fn histogram(
    dir: &Path,
    query: &Query,
    options: SearchOptions,
    bars_max: usize,
) -> Result<Histogram, SearchError> {
    let walk = Walk::of(dir, query, options)?;
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
        return Ok(Histogram { from_us: 0, width_us: 0, bars: Vec::new(), coverage });
    };
    let width_us = width(*oldest, *newest, bars_max.max(1) as u64);
    let first = oldest / width_us;
    let mut bars = vec![Bar::default(); (newest / width_us - first + 1) as usize];
    for (at, one) in &matches {
        let place = (at / width_us).saturating_sub(first) as usize;
        if let Some(bar) = bars.get_mut(place) {
            bar.allowed += one.allowed;
            bar.denied += one.denied;
            bar.other += one.other;
        }
    }
    Ok(Histogram { from_us: first * width_us, width_us, bars, coverage })
}

/// The narrowest readable width with which the bars suffice.
fn width(oldest: u64, newest: u64, bars_max: u64) -> u64 {
    let suffices = |width: u64| newest / width - oldest / width < bars_max;
    let readable = WIDTHS_US.iter().copied().find(|width| suffices(*width));
    // A log of centuries gets one bar after all.
    readable.unwrap_or_else(|| newest + 1)
}

fn kind(row: &Row) -> Bar {
    let decision = leaf::values(&row.leaf, "auth.decision");
    match decision.first().map(String::as_str) {
        Some("allow") => Bar { allowed: 1, ..Bar::default() },
        Some(_) => Bar { denied: 1, ..Bar::default() },
        None => Bar { other: 1, ..Bar::default() },
    }
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
