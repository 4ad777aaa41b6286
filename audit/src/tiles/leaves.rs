//! Records of a range, from the segments, in order.
#![deny(clippy::indexing_slicing)]

use std::{
    io::{self, BufRead as _, BufReader},
    ops::Range,
    path::Path,
};

use memchr::memchr;

use crate::{
    durable,
    encode::LEAF_BYTES_MAX,
    segment::{self, BLOCK_BYTES, CONTROL_PREFIX, Control, Lines, Name, check},
};

/// A whole line is in any window of this size that begins inside the line before it.
const WINDOW_BYTES: usize = 2 * LEAF_BYTES_MAX + 2 * BLOCK_BYTES;

/// Nearly always there is a whole line in as little as this.
const WINDOW_BYTES_FIRST: usize = 2 * BLOCK_BYTES;

/// Gives every record of `range` to `take`, in order, and returns how many there were: fewer than asked for when the log
/// ends or a record is not in its place.
///
/// # Errors
/// Reading failed, or `take` did.
pub(crate) fn read(
    dir: &Path,
    range: Range<u64>,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let names = segment::names(&|path| durable::list(&dir.join(path)))?;
    let after = names.partition_point(|name| name.first <= range.start);
    let mut next = range.start;
    for name in names.get(after.saturating_sub(1)..).unwrap_or_default() {
        if next >= range.end || name.first > next {
            break;
        }
        next = read_segment(dir, name, next..range.end, take)?;
    }
    Ok(next - range.start)
}

/// The same within one segment; returns the record to go on with.
fn read_segment(
    dir: &Path,
    name: &Name,
    range: Range<u64>,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let file = Lines::open(dir, name)?;
    let offset = match &file {
        _ if range.start == name.first => 0,
        Lines::Packed(packed) => packed.start_of(range.start),
        Lines::Written(_) => before(&file, range.start)?,
    };
    let mut lines = BufReader::with_capacity(1 << 20, file.from(offset));
    let mut next = range.start;
    let mut line = Vec::new();
    while next < range.end {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        let Some(leaf) = line.strip_suffix(b"\n").filter(|leaf| leaf.first() != Some(&0)) else {
            break;
        };
        if leaf.starts_with(CONTROL_PREFIX) {
            continue;
        }
        match check::seq(leaf) {
            Some(seq) if seq < next => {}
            Some(seq) if seq == next => {
                take(seq, leaf)?;
                next += 1;
            }
            _ => break,
        }
    }
    Ok(next)
}

/// A place where a line begins, at or before record `seq`, found by halving the file's blocks.
fn before(file: &Lines, seq: u64) -> io::Result<u64> {
    let block = BLOCK_BYTES as u64;
    let (mut low, mut high) = (0, file.len()?.div_ceil(block));
    let mut place = 0;
    let mut window = vec![0; WINDOW_BYTES];
    // INVARIANT: a line begins at `place`, which is no later than the record.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match first_line(file, middle * block, &mut window)? {
            Some((at, first)) if first <= seq => {
                low = middle;
                place = at;
            }
            _ => high = middle,
        }
    }
    Ok(place)
}

/// The first whole line after `offset`: where it begins, and the record that it is or, for a control line, that follows.
fn first_line(file: &Lines, offset: u64, window: &mut [u8]) -> io::Result<Option<(u64, u64)>> {
    let short = window.get_mut(..WINDOW_BYTES_FIRST).unwrap_or_default();
    match first_line_in(file, offset, short)? {
        None => first_line_in(file, offset, window),
        found => Ok(found),
    }
}

fn first_line_in(file: &Lines, offset: u64, window: &mut [u8]) -> io::Result<Option<(u64, u64)>> {
    let start = offset.saturating_sub(1);
    let filled = file.fill(window, start)?;
    let bytes = window.get(..filled).unwrap_or_default();
    let Some(newline) = memchr(b'\n', bytes) else { return Ok(None) };
    let rest = bytes.get(newline + 1..).unwrap_or_default();
    let Some(end) = memchr(b'\n', rest) else { return Ok(None) };
    let line = rest.get(..end).unwrap_or_default();
    let first = match line.starts_with(CONTROL_PREFIX) {
        true => Control::parse(line).map(|control| control.size),
        false => check::seq(line),
    };
    Ok(first.map(|first| (start + newline as u64 + 1, first)))
}
