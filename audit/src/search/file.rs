//! One segment from its end to its beginning, reading no more of it than is asked for.
//!
//! The newest segment ends in zeros that were written ahead, perhaps with a batch half written before them. Where its
//! last whole batch ends is found by halving and by one checksum, so a query that wants the newest records costs the
//! same however long the segment is.
#![deny(clippy::indexing_slicing)]

use std::{io, path::Path, sync::Arc};

use memchr::{memchr, memrchr};

use crate::segment::{BLOCK_BYTES, CONTROL_PREFIX, Control, FRAME_BYTES_MAX, Lines, Name, check};

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
pub(super) struct Batch {
    /// Byte at which the line begins.
    line: u64,
    /// End of the line, which is the end of the batch.
    pub(super) end: u64,
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
        Backward {
            lines: self.lines,
            at,
            buffer: Vec::new(),
            run: 0,
            end: 0,
            chunk: CHUNK_BYTES_MIN,
        }
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
pub(super) fn batch_before(file: &Lines, mut block: u64) -> io::Result<Option<Batch>> {
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

/// Records from the end, a checked run of them at a time: a batch, or as many as a read of a packed segment brought.
#[derive(Debug)]
pub(super) struct Backward {
    lines: Arc<Lines>,
    /// Byte of the lines at which the buffer begins.
    at: u64,
    /// What was read; `run..end` was checked and not given yet, and ends with a newline unless it is empty.
    buffer: Vec<u8>,
    run: usize,
    end: usize,
    chunk: u64,
}

impl Backward {
    /// The record before the one that was given last.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] where a batch is damaged.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.run == self.end && !self.step()? {
            return Ok(None);
        }
        let run = self.buffer.get(self.run..self.end).unwrap_or_default();
        let body = run.strip_suffix(b"\n").unwrap_or(run);
        let start = self.run + memrchr(b'\n', body).map_or(0, |newline| newline + 1);
        let line = start..self.run + body.len();
        self.end = start;
        Ok(self.buffer.get(line))
    }

    /// Makes the run before this one the one to give; false at the beginning.
    fn step(&mut self) -> io::Result<bool> {
        if self.at == 0 && self.run == 0 {
            return Ok(false);
        }
        self.end = self.run;
        match *self.lines {
            Lines::Written(_) => self.batch()?,
            Lines::Packed(_) => self.whole_lines()?,
        }
        Ok(true)
    }

    /// The batch whose control line ends here.
    fn batch(&mut self) -> io::Result<()> {
        let offset = self.at + self.end as u64;
        let damaged = || {
            let what =
                format!("the batch that ends at byte {offset} is damaged; run `audit verify`");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let before = loop {
            match self.batch_end_before() {
                Some(end) => break end,
                None if self.at == 0 => break 0,
                None if self.end > FRAME_BYTES_MAX => return Err(damaged()),
                None => self.fill()?,
            }
        };
        let batch = self.buffer.get(before..self.end).unwrap_or_default();
        let body = batch.strip_suffix(b"\n").ok_or_else(damaged)?;
        let line = memrchr(b'\n', body).ok_or_else(damaged)? + 1;
        let (leaves, control) = batch.split_at_checked(line).ok_or_else(damaged)?;
        let control = Control::parse(control).ok_or_else(damaged)?;
        if control.crc != check::crc(leaves) {
            return Err(damaged());
        }
        (self.run, self.end) = (before, before + line);
        Ok(())
    }

    /// Where the batch before the one that ends here ends, if that is in the buffer: batches end on boundaries.
    fn batch_end_before(&self) -> Option<usize> {
        let mut offset = (self.at + self.end as u64).checked_sub(BLOCK)?;
        while offset > self.at {
            let end = usize::try_from(offset - self.at).ok()?;
            let body = self.buffer.get(..end)?.strip_suffix(b"\n");
            // Where the line begins before the buffer does, it is not known which one it is.
            let line = body.and_then(|body| body.get(memrchr(b'\n', body)? + 1..));
            if line.is_some_and(|line| line.starts_with(CONTROL_PREFIX)) {
                return Some(end);
            }
            offset = offset.checked_sub(BLOCK)?;
        }
        None
    }

    /// Whole lines that end here; what is packed was checked when it was unpacked.
    fn whole_lines(&mut self) -> io::Result<()> {
        loop {
            self.fill()?;
            if self.at == 0 {
                self.run = 0;
                return Ok(());
            }
            let run = self.buffer.get(..self.end).unwrap_or_default();
            let first = memchr(b'\n', run).map(|newline| newline + 1);
            if let Some(first) = first.filter(|first| *first < self.end) {
                self.run = first;
                return Ok(());
            }
        }
    }

    /// Reads what stands before the buffer, and lets go of what was given.
    fn fill(&mut self) -> io::Result<()> {
        let len = self.chunk.min(self.at);
        self.at -= len;
        self.chunk = (self.chunk * 2).min(CHUNK_BYTES_MAX);
        let mut bytes = read(&self.lines, self.at, len)?;
        if bytes.len() as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
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
