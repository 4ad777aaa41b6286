//! `gaps` and `firstseen`: what time says about the matches.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use crate::{query::stage::Key, segment::check, stamp};

use super::{Cell, Collect, Deadline, Row, SearchError, TABLE_ROWS_MAX, values_of};
use crate::search::scan::Bounds;

/// Silences, newest first. The time between the last match and the end of what was asked for is one too, and so is the
/// time before the first match where the query says when it begins.
pub(super) struct Gaps {
    longer_us: u64,
    since_us: Option<u64>,
    /// Time of the match after the next one, or the end.
    newer_us: u64,
    rows: Vec<Vec<Cell>>,
}

impl Gaps {
    pub(super) fn new(longer_us: u64, bounds: &Bounds, now_us: u64) -> Self {
        let until = bounds.until.and_then(|until| stamp::parse(&until));
        let since_us = bounds.since.and_then(|since| stamp::parse(&since));
        let newer_us = until.map_or(now_us, |until| until.min(now_us));
        Self { longer_us, since_us, newer_us, rows: Vec::new() }
    }

    fn look(&mut self, at_us: u64, after: Cell) -> Result<(), SearchError> {
        let silent = self.newer_us.saturating_sub(at_us);
        if silent > self.longer_us {
            if self.rows.len() == TABLE_ROWS_MAX {
                return Err(SearchError::too_many_rows());
            }
            let time = |us| Cell::Text(stamp::string(us));
            let seconds = Cell::Integer(i128::from(silent / 1_000_000));
            self.rows.push(vec![time(at_us), time(self.newer_us), seconds, after]);
        }
        self.newer_us = at_us;
        Ok(())
    }
}

impl Collect for Gaps {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let Some(at_us) = check::time(&row.leaf) else { return Ok(()) };
        self.look(at_us, Cell::Integer(i128::from(row.seq)))
    }

    fn finish(mut self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        if let Some(since_us) = self.since_us {
            self.look(since_us, Cell::Absent)?;
        }
        Ok(self.rows)
    }
}

/// Values that come after they were not there for the baseline, newest first.
pub(super) struct FirstSeen<'q> {
    key: &'q Key,
    baseline_us: u64,
    /// The oldest match so far with each value: the first one, unless an older one comes soon enough.
    oldest: HashMap<String, Seen>,
    found: Vec<(String, Seen)>,
}

#[derive(Clone)]
struct Seen {
    at_us: u64,
    seq: u64,
    event: String,
}

impl<'q> FirstSeen<'q> {
    pub(super) fn new(key: &'q Key, baseline_us: u64) -> Self {
        Self { key, baseline_us, oldest: HashMap::new(), found: Vec::new() }
    }
}

impl Collect for FirstSeen<'_> {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let Some(at_us) = check::time(&row.leaf) else { return Ok(()) };
        let found = values_of(&row.leaf, &[self.key.field(), "event"]);
        let [values, event] = found.as_slice() else { return Ok(()) };
        let event = event.first().cloned().unwrap_or_default();
        for value in values.iter().filter_map(|value| self.key.of(value)) {
            let seen = Seen { at_us, seq: row.seq, event: event.clone() };
            if let Some(newer) = self.oldest.insert(value.clone(), seen)
                && newer.at_us.saturating_sub(at_us) > self.baseline_us
            {
                self.found.push((value, newer));
            }
        }
        if self.oldest.len() + self.found.len() > TABLE_ROWS_MAX {
            return Err(SearchError::too_many_rows());
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        self.found.extend(self.oldest);
        self.found.sort_by(|(a, x), (b, y)| y.seq.cmp(&x.seq).then_with(|| a.cmp(b)));
        let row = |(value, seen): (String, Seen)| {
            let time = Cell::Text(stamp::string(seen.at_us));
            let seq = Cell::Integer(i128::from(seen.seq));
            vec![time, Cell::Text(value), seq, Cell::Text(seen.event)]
        };
        Ok(self.found.into_iter().map(row).collect())
    }
}
