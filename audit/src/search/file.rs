//! One segment from its end to its beginning, reading no more of it than is asked for.
//!
//! The newest segment ends in zeros that were written ahead, perhaps with a batch half written before them. Where its
//! last whole batch ends is found by halving and by one checksum, so a query that wants the newest records costs the
//! same however long the segment is.
#![deny(clippy::indexing_slicing)]

use std::{io, path::Path, sync::Arc};

use memchr::{memchr, memrchr};

use crate::segment::{BLOCK_BYTES, CONTROL_PREFIX, Control, Lines, Name, check};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// First read of a walk; the newest few records are often enough.
const CHUNK_BYTES_MIN: u64 = 64 << 10;
/// Later reads double up to this.
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// A segment that was opened for reading, up to the end of its last whole batch.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    lines: Arc<Lines>,
    /// Records in the log at the end of the segment, and where its last line ends.
    end: Option<(u64, u64)>,
}

/// Where a control line stands, and what it says.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Byte at which the line begins.
    line: u64,
    /// End of the line, which is the end of the batch.
    end: u64,
    control: Control,
}

impl Opened {
    pub(super) fn open(dir: &Path, name: &Name) -> io::Result<Self> {
        let lines = Lines::open(dir, name)?;
        let end = match &lines {
            Lines::Written(_) => last_whole(&lines)?.map(|batch| (batch.control.size, batch.end)),
            Lines::Packed(packed) => Some((packed.table().records.end, packed.table().size())),
        };
        Ok(Self { lines: Arc::new(lines), end })
    }

    /// Number of records in the log at the end of this segment; `None` if it holds no batch.
    pub(super) fn size(&self) -> Option<u64> {
        self.end.map(|(size, _)| size)
    }

    /// Records from the last to the first.
    pub(super) fn backward(self) -> Backward {
        let at = self.end.map_or(0, |(_, end)| end);
        Backward { lines: self.lines, at, buffer: Vec::new(), end: 0, chunk: CHUNK_BYTES_MIN }
    }
}

/// The last batch whose checksum is right. Whatever was written before a batch was complete when that one began, so
/// this looks at one batch, or at two while one is being written.
fn last_whole(file: &Lines) -> io::Result<Option<Batch>> {
    let mut batch = batch_before(file, written_blocks(file)?)?;
    while let Some(found) = batch {
        let before = batch_before(file, found.end / BLOCK - 1)?;
        let start = before.map_or(0, |before| before.end);
        let leaves = read(file, start, found.line.saturating_sub(start))?;
        if check::crc(&leaves) == found.control.crc {
            return Ok(Some(found));
        }
        batch = before;
    }
    Ok(None)
}

/// Whole blocks before the zeros that were written ahead: no record and no padding holds a zero byte.
fn written_blocks(file: &Lines) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.len()? / BLOCK);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(file, middle * BLOCK, 1)?.first() {
            Some(0) | None => high = middle,
            Some(_) => low = middle + 1,
        }
    }
    Ok(low)
}

/// The last batch that ends at or before the block.
fn batch_before(file: &Lines, mut block: u64) -> io::Result<Option<Batch>> {
    while block > 0 {
        let end = block * BLOCK;
        // A control line has some 240 bytes and at most a block of padding.
        let from = end.saturating_sub(2 * BLOCK);
        let bytes = read(file, from, end - from)?;
        if let Some(body) = bytes.strip_suffix(b"\n") {
            let at = memrchr(b'\n', body).map_or(0, |newline| newline + 1);
            if let Some(control) = body.get(at..).and_then(Control::parse) {
                return Ok(Some(Batch { line: from + at as u64, end, control }));
            }
        }
        block -= 1;
    }
    Ok(None)
}

fn read(file: &Lines, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let filled = file.fill(&mut bytes, offset)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Lines from the end, without control lines.
#[derive(Debug)]
pub(super) struct Backward {
    lines: Arc<Lines>,
    /// Byte of the file at which the buffer begins.
    at: u64,
    /// What was read; `..end` was not given yet and ends with a newline.
    buffer: Vec<u8>,
    end: usize,
    chunk: u64,
}

impl Backward {
    /// The record before the one that was given last.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let rest = self.buffer.get(..self.end).unwrap_or_default();
            let newline = rest.strip_suffix(b"\n").map(|body| memrchr(b'\n', body));
            let start = match newline {
                Some(Some(newline)) => newline + 1,
                _ if self.at > 0 => {
                    self.fill()?;
                    continue;
                }
                Some(None) => 0,
                None => return Ok(None),
            };
            let line = start..self.end - 1;
            self.end = start;
            if !self.buffer.get(line.clone()).is_some_and(|line| line.starts_with(CONTROL_PREFIX)) {
                return Ok(self.buffer.get(line));
            }
        }
    }

    /// Reads what stands before the buffer.
    fn fill(&mut self) -> io::Result<()> {
        let len = self.chunk.min(self.at);
        self.at -= len;
        self.chunk = (self.chunk * 2).min(CHUNK_BYTES_MAX);
        let mut bytes = read(&self.lines, self.at, len)?;
        bytes.extend_from_slice(self.buffer.get(..self.end).unwrap_or_default());
        self.end = bytes.len();
        self.buffer = bytes;
        Ok(())
    }
}

/// The first record of a segment, for its time.
pub(super) fn first_leaf(dir: &Path, name: &Name) -> io::Result<Option<Vec<u8>>> {
    let file = Lines::open(dir, name)?;
    for len in [BLOCK, crate::encode::LEAF_BYTES_MAX as u64 + 1] {
        let mut start = read(&file, 0, len)?;
        if let Some(end) = memchr(b'\n', &start) {
            start.truncate(end);
            return Ok(Some(start));
        }
    }
    Ok(None)
}
