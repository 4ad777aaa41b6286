//! One record by position or by event.
#![deny(clippy::indexing_slicing)]

use std::{io, path::Path};

use memchr::{memchr, memmem};

use crate::{
    encode::LEAF_BYTES_MAX,
    record::EventId,
    segment::{
        self, BLOCK_BYTES, CONTROL_PREFIX, Control, Name, Reader, check,
        resync::{self, After},
    },
    stamp,
};

use super::{
    SearchError,
    file::{Opened, batch_before},
    names,
};

/// How far the time in an event's name may lie from the time of its record: requests wait for bodies and for the
/// disk, clocks step. Beyond it, everything is searched.
const SKEW_US: u64 = 600_000_000;

/// The record at `seq`, or `None` if there is none. Its batch, or its frame, has the right checksum.
///
/// # Errors
/// [`SearchError::Io`], also where it is damaged.
pub fn read_record(dir: &Path, seq: u64) -> Result<Option<Vec<u8>>, SearchError> {
    let names = names(dir)?;
    let after = names.partition_point(|name| name.first <= seq);
    let Some(name) = after.checked_sub(1).and_then(|i| names.get(i)) else { return Ok(None) };
    in_segment(dir, name, seq, after == names.len()).map_err(SearchError::io(&name.path))
}

fn in_segment(dir: &Path, name: &Name, seq: u64, newest: bool) -> io::Result<Option<Vec<u8>>> {
    let file = segment::Lines::open(dir, name)?;
    if let segment::Lines::Packed(packed) = &file {
        return packed.record(seq);
    }
    let start = match in_batch(&file, seq)? {
        Place::Whole(leaf) => return Ok(Some(leaf)),
        Place::Empty => return Ok(None),
        Place::Broken { start } => start,
    };
    if let segment::Lines::Written(written) = &file
        && newest
    {
        // A write under way, or one that a crash cut off: the record is not in the log.
        if resync::after(written, start)? == After::Cut {
            return Ok(None);
        }
        // A batch is written after the one before it was, so what was half there is whole by now.
        if let Place::Whole(leaf) = in_batch(&file, seq)? {
            return Ok(Some(leaf));
        }
    }
    let what = format!("the batch of record {seq} is damaged; run `audit verify`");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// What stands where a record belongs.
enum Place {
    Empty,
    /// The record, in a batch with the right checksum.
    Whole(Vec<u8>),
    /// The record's line, in a batch that begins here and is not whole.
    Broken {
        start: u64,
    },
}

fn in_batch(file: &segment::Lines, seq: u64) -> io::Result<Place> {
    let Some((offset, leaf)) = in_written(file, seq)? else { return Ok(Place::Empty) };
    let start = batch_before(file, offset / BLOCK_BYTES as u64)?.map_or(0, |before| before.end);
    let whole = Reader::new(file.from(start), start).next()?.is_ok_and(|frame| {
        Control::parse(frame.control).is_some_and(|control| control.crc == check::crc(frame.leaves))
            && memmem::find(frame.leaves, &leaf).is_some()
    });
    Ok(if whole { Place::Whole(leaf) } else { Place::Broken { start } })
}

/// The record in a segment that is open. Of one that is as it was written, no checksum is looked at.
pub(super) fn in_lines(file: &segment::Lines, seq: u64) -> io::Result<Option<Vec<u8>>> {
    match file {
        segment::Lines::Packed(packed) => packed.record(seq),
        segment::Lines::Written(_) => Ok(in_written(file, seq)?.map(|(_, leaf)| leaf)),
    }
}

/// The record and where it begins, by binary search over the blocks of a file whose lines are in order.
fn in_written(file: &segment::Lines, seq: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let block = BLOCK_BYTES as u64;
    let (mut low, mut high) = (0, file.len()?.div_ceil(block));
    // INVARIANT: the record begins at or after block `low` and before block `high`.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match first_position(file, middle * block)? {
            Some(found) if found <= seq => low = middle,
            _ => high = middle,
        }
    }
    // The record's line begins in block `low`, or just after the block's first whole line.
    let mut lines = Lines { file, offset: low * block, skip_partial: low > 0 };
    while let Some((at, line)) = lines.next()? {
        if line.starts_with(CONTROL_PREFIX) {
            continue;
        }
        match check::seq(&line) {
            Some(found) if found == seq => return Ok(Some((at, line))),
            Some(found) if found < seq => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The position at which the first whole line after `offset` stands.
fn first_position(file: &segment::Lines, offset: u64) -> io::Result<Option<u64>> {
    let mut lines = Lines { file, offset, skip_partial: true };
    let Some((_, line)) = lines.next()? else { return Ok(None) };
    if line.starts_with(CONTROL_PREFIX) {
        return Ok(Control::parse(&line).map(|control| control.size));
    }
    Ok(check::seq(&line))
}

/// Lines from an offset on.
struct Lines<'a> {
    file: &'a segment::Lines,
    offset: u64,
    skip_partial: bool,
}

impl Lines<'_> {
    /// The next line and where it begins.
    fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        if std::mem::take(&mut self.skip_partial) {
            // A line that begins exactly here is whole: the byte before it is a newline.
            self.offset = self.offset.saturating_sub(1);
            if self.line()?.is_none() {
                return Ok(None);
            }
        }
        let at = self.offset;
        Ok(self.line()?.map(|line| (at, line)))
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = vec![0; BLOCK_BYTES];
        loop {
            let read = self.file.fill(&mut line, self.offset)?;
            let bytes = line.get(..read).unwrap_or_default();
            if let Some(end) = memchr(b'\n', bytes) {
                self.offset += end as u64 + 1;
                line.truncate(end);
                return Ok(Some(line).filter(|line| line.first() != Some(&0)));
            }
            if read < line.len() || line.len() > LEAF_BYTES_MAX + 2 * BLOCK_BYTES {
                return Ok(None);
            }
            line.resize(line.len() * 4, 0);
        }
    }
}

/// The newest record with this event, or `None` if there is none.
///
/// # Errors
/// [`SearchError::Io`].
pub fn find_event(dir: &Path, event: &str) -> Result<Option<Vec<u8>>, SearchError> {
    let names = names(dir)?;
    let needle = format!("\"event\":{}", serde_json::Value::from(event));
    let finder = memmem::Finder::new(needle.as_bytes());
    let near = event.parse::<EventId>().ok().map(|event| near(dir, &names, event)).transpose()?;
    let near = near.unwrap_or(0..0);
    let order =
        near.clone().rev().chain((near.end..names.len()).rev()).chain((0..near.start).rev());
    for i in order {
        let Some(name) = names.get(i) else { continue };
        let mut records = Opened::open(dir, name).map_err(SearchError::io(&name.path))?.backward();
        while let Some(leaf) = records.next().map_err(SearchError::io(&name.path))? {
            if finder.find(leaf).is_some() {
                return Ok(Some(leaf.to_vec()));
            }
        }
    }
    Ok(None)
}

/// The segments in which an event of this time should be.
fn near(dir: &Path, names: &[Name], event: EventId) -> Result<std::ops::Range<usize>, SearchError> {
    let at = event.unix_ms().saturating_mul(1000);
    let (early, late) = (stamp::text(at.saturating_sub(SKEW_US)), stamp::text(at + SKEW_US));
    let begins_before = |bound: &[u8; stamp::LEN]| -> Result<usize, SearchError> {
        let (mut low, mut high) = (0, names.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(name) = names.get(middle) else { break };
            let first = super::file::first_leaf(dir, name).map_err(SearchError::io(&name.path))?;
            match first.as_deref().and_then(check::time_text) {
                Some(time) if time <= bound => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    };
    Ok(begins_before(&early)?.saturating_sub(1)..begins_before(&late)?)
}
