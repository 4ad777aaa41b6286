//! The search that lets the index propose.

use std::io;

use memchr::memchr;

use crate::{
    encode::LEAF_BYTES_MAX,
    index::{Asked, Candidates, Days, Found, Wanted},
    query::Filter,
    segment::{Lines, check},
    stamp,
};

use super::{
    Deadline, Method, Row, SearchError, locate,
    scan::{Bounds, Segments},
    table::{Collect as _, Groups},
};

/// Most records are shorter, so one read is enough.
const READ_BYTES: usize = 4096;

/// The index, if it exists, may be used, and helps.
pub(super) fn choose<'a>(
    days: &'a Days,
    filter: &Filter,
    method: Method,
) -> Result<Option<Candidates<'a>>, SearchError> {
    match method {
        // A query that the index cannot narrow down, such as one for an event, is faster over raw bytes.
        Method::Auto if !Candidates::helps(filter) => Ok(None),
        method => open(days, method),
    }
}

/// The index, if it exists and may be used.
pub(super) fn open(days: &Days, method: Method) -> Result<Option<Candidates<'_>>, SearchError> {
    match method {
        Method::Scan => Ok(None),
        Method::Index => Ok(days.candidates()?),
        // A broken index is no reason not to answer.
        Method::Auto => Ok(days.candidates().unwrap_or_else(|error| {
            tracing::warn!(%error, "searching without the index");
            None
        })),
    }
}

/// Reads candidates back, newest first, and gives those that match to `take`.
pub(super) fn newest_first(
    segments: &Segments<'_>,
    index: &Candidates<'_>,
    filter: &Filter,
    deadline: &Deadline,
    to: u64,
    take: &mut dyn FnMut(Row) -> Result<bool, SearchError>,
) -> Result<(), SearchError> {
    let mut rows = Rows { segments, open: None };
    index.newest_first(filter, &wanted(segments, index, filter, to), &mut |found: Found| {
        deadline.check()?;
        match rows.matching(found, filter)? {
            Some(row) => take(row),
            None => Ok(true),
        }
    })
}

/// Adds what the index knows of the matches to groups; gives the number of matches.
pub(super) fn group(
    segments: &Segments<'_>,
    index: &Candidates<'_>,
    asked: Asked<'_>,
    deadline: &Deadline,
    to: u64,
    groups: &mut Groups<'_>,
) -> Result<u64, SearchError> {
    let mut rows = Rows { segments, open: None };
    let mut matches = 0;
    let wanted = wanted(segments, index, asked.filter, to);
    index.figures(asked, &wanted, &|| deadline.check(), &mut |part| {
        matches += part.matches;
        for (group, figures) in part.groups {
            groups.absorb(group, figures)?;
        }
        for found in part.odd {
            if let Some(row) = rows.matching(found, asked.filter)? {
                matches += 1;
                groups.take(&row)?;
            }
        }
        Ok(())
    })?;
    Ok(matches)
}

/// What the index is asked for. What was indexed since it was opened was scanned; what was pruned since it was made is
/// not asked for.
fn wanted(segments: &Segments<'_>, index: &Candidates<'_>, filter: &Filter, to: u64) -> Wanted {
    let bounds = Bounds::of(filter);
    let since_us = bounds.since.and_then(|since| stamp::parse(&since)).unwrap_or(0);
    let until_us = bounds.until.and_then(|until| stamp::parse(&until)).unwrap_or(u64::MAX);
    let to = to.min(index.size);
    Wanted { seqs: segments.first().min(to)..to, times: since_us..=until_us }
}

/// Reads records by place; keeps the segment open that it read last.
struct Rows<'a> {
    segments: &'a Segments<'a>,
    open: Option<(u64, Lines)>,
}

impl Rows<'_> {
    /// The record in this place, if it matches. It is read without the checksum of what it was written or packed with.
    fn matching(&mut self, found: Found, filter: &Filter) -> Result<Option<Row>, SearchError> {
        let leaf = self.read(found)?;
        if u64::from(check::crc(&leaf)) != found.sum {
            return Err(SearchError::Misplaced { seq: found.seq });
        }
        Ok(filter.matches(&leaf).then_some(Row { seq: found.seq, leaf }))
    }

    fn read(&mut self, found: Found) -> Result<Vec<u8>, SearchError> {
        let after = self.segments.names.partition_point(|name| name.first <= found.seq);
        let Some(name) = after.checked_sub(1).and_then(|i| self.segments.names.get(i)) else {
            return Err(SearchError::Index(format!("record {} has no segment", found.seq)));
        };
        if self.open.as_ref().is_none_or(|(first, _)| *first != name.first) {
            let lines =
                Lines::open(self.segments.dir, name).map_err(SearchError::io(&name.path))?;
            self.open = Some((name.first, lines));
        }
        let Some((_, lines)) = &self.open else { return Ok(Vec::new()) };
        read(lines, found).map_err(SearchError::io(&name.path))
    }
}

/// The record at the place that the index knows. The index may have been made before the segment was packed, or from the
/// packed one while the other is there again, from a copy: then the record is looked for.
fn read(lines: &Lines, found: Found) -> io::Result<Vec<u8>> {
    let mut leaf = Vec::new();
    if matches!(lines, Lines::Written(_)) {
        leaf.resize(READ_BYTES, 0);
        let read = lines.read_at(&mut leaf, found.offset)?;
        leaf.truncate(read);
        if memchr(b'\n', &leaf).is_none() {
            leaf.resize(LEAF_BYTES_MAX + 1, 0);
            let read = lines.fill(&mut leaf, found.offset)?;
            leaf.truncate(read);
        }
        leaf.truncate(memchr(b'\n', &leaf).unwrap_or(leaf.len()));
    }
    if check::seq(&leaf) != Some(found.seq) {
        leaf = locate::in_lines(lines, found.seq)?.unwrap_or_default();
    }
    Ok(leaf)
}
