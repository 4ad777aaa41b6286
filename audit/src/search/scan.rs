//! The search that needs no index: every record, newest first, past a filter on raw bytes.

use std::{ops::Range, path::Path};

use memchr::memmem;

use crate::{
    query::{Filter, Test},
    segment::{Name, check},
    stamp,
};

use super::{Deadline, Row, SearchError, file, file::Opened, names};

/// The clock is looked at once in so many records.
const DEADLINE_RECORDS: u64 = 1024;

/// What the scan can rule out without reading a record's members.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Text that every match contains, as it is written.
    needle: Option<memmem::Finder<'static>>,
    /// Earliest and latest time of a match.
    pub(super) since: Option<[u8; stamp::LEN]>,
    pub(super) until: Option<[u8; stamp::LEN]>,
}

impl Bounds {
    pub(super) fn of(filter: &Filter) -> Self {
        let mut bounds = Self { needle: None, since: None, until: None };
        let mut longest = Vec::new();
        for pred in filter.conjuncts() {
            match &pred.test {
                Test::OneOf(values) if values.len() == 1 && pred.field != "seq" => {
                    let needle = written(&values[0]);
                    if needle.len() > longest.len() {
                        longest = needle;
                    }
                }
                Test::Time(op, at) if pred.field == "time" => {
                    if op.is_lower_bound() {
                        bounds.since = bounds.since.max(Some(*at));
                    }
                    if op.is_upper_bound() {
                        bounds.until = Some(bounds.until.map_or(*at, |until| until.min(*at)));
                    }
                }
                _ => {}
            }
        }
        if !longest.is_empty() {
            bounds.needle = Some(memmem::Finder::new(&longest).into_owned());
        }
        bounds
    }

    fn may_match(&self, leaf: &[u8]) -> bool {
        self.needle.as_ref().is_none_or(|needle| needle.find(leaf).is_some())
    }

    /// Whether this record, and so everything before it, is too old.
    fn is_past(&self, leaf: &[u8]) -> bool {
        let Some(since) = &self.since else { return false };
        check::time_text(leaf).is_some_and(|time| time < since)
    }
}

/// A value without its quotes, as the canonical writer would put it: numbers and words look the same.
fn written(value: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.trim_matches('"').as_bytes().to_vec()
}

/// Scans records of `range`, newest first, until `take` refuses or nothing older can match; true if so.
///
/// # Errors
/// Those of reading, and of `take`.
pub(super) fn newest_first(
    segments: &Segments<'_>,
    filter: &Filter,
    deadline: &Deadline,
    range: Range<u64>,
    take: &mut dyn FnMut(Row) -> Result<bool, SearchError>,
) -> Result<bool, SearchError> {
    let Range { start: from, end: to } = range;
    if from >= to {
        return Ok(false);
    }
    let bounds = Bounds::of(filter);
    let mut looked_at = 0_u64;
    for (i, name) in segments.names.iter().enumerate().rev() {
        let end = segments.names.get(i + 1).map_or(u64::MAX, |next| next.first);
        if name.first >= to {
            continue;
        }
        if end <= from {
            return Ok(false);
        }
        if is_too_new(segments.dir, name, &bounds)? {
            continue;
        }
        let mut records = segments.open(i, name)?.backward();
        while let Some(leaf) = records.next().map_err(SearchError::io(&name.path))? {
            looked_at += 1;
            if looked_at.is_multiple_of(DEADLINE_RECORDS) {
                deadline.check()?;
            }
            if bounds.is_past(leaf) {
                return Ok(true);
            }
            if !bounds.may_match(leaf) {
                continue;
            }
            let Some(seq) = check::seq(leaf).filter(|seq| *seq < to) else { continue };
            if seq < from {
                return Ok(false);
            }
            if filter.matches(leaf) && !take(Row { seq, leaf: leaf.to_vec() })? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the whole segment lies after the latest time asked for.
fn is_too_new(dir: &Path, name: &Name, bounds: &Bounds) -> Result<bool, SearchError> {
    let Some(until) = &bounds.until else { return Ok(false) };
    let first = file::first_leaf(dir, name).map_err(SearchError::io(&name.path))?;
    Ok(first.is_some_and(|leaf| check::time_text(&leaf).is_some_and(|time| time > until)))
}

/// The segments as they were when a search began. They are listed once, and where the newest one ends is found once:
/// both grow with the log and with its batches, and the newest rows cost little else.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    pub(super) dir: &'a Path,
    pub(super) names: Vec<Name>,
    newest: Option<Opened>,
}

impl<'a> Segments<'a> {
    pub(super) fn of(dir: &'a Path) -> Result<Self, SearchError> {
        let names = names(dir)?;
        let open = |name: &Name| Opened::open(dir, name).map_err(SearchError::io(&name.path));
        let newest = names.last().map(open).transpose()?;
        Ok(Self { dir, names, newest })
    }

    /// The first record that is there; those before it were pruned.
    pub(super) fn first(&self) -> u64 {
        self.names.first().map_or(0, |oldest| oldest.first)
    }

    /// Number of records.
    pub(super) fn size(&self) -> u64 {
        let first = self.names.last().map_or(0, |newest| newest.first);
        self.newest.as_ref().and_then(Opened::size).unwrap_or(first)
    }

    fn open(&self, at: usize, name: &Name) -> Result<Opened, SearchError> {
        if let Some(newest) = self.newest.as_ref().filter(|_| at + 1 == self.names.len()) {
            return Ok(newest.clone());
        }
        let opened = Opened::open(self.dir, name).map_err(SearchError::io(&name.path))?;
        let end = opened.size().unwrap_or(name.first);
        match self.names.get(at + 1) {
            Some(next) if next.first != end => {
                Err(SearchError::Damaged { path: name.path.clone(), seq: end })
            }
            _ => Ok(opened),
        }
    }
}
