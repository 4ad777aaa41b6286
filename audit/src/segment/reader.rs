//! Streams a segment batch by batch, with one buffer and without believing anything in it.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use memchr::memchr;

use super::{BATCH_RECORDS_MAX, BLOCK_BYTES, CONTROL_PREFIX, FRAME_BYTES_MAX};

const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of the first read: who follows a log mostly finds a few new records.
const FIRST_CHUNK_BYTES: usize = 1 << 16;

/// Where a [`Reader`] gets its bytes.
pub(crate) trait Source {
    /// Puts more bytes behind those of the buffer, about as many as are wanted; none only at the end. A buffer without
    /// bytes may be replaced.
    ///
    /// # Errors
    /// Reading failed.
    fn more(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<usize>;
}

impl<R: Read> Source for R {
    fn more(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
        buffer.reserve(wanted);
        self.take(wanted as u64).read_to_end(buffer)
    }
}

/// The bytes of one batch as they lie in the file; nothing about them is verified but the framing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Where the batch begins in its file.
    pub(crate) offset: u64,
    /// Records with their newlines.
    pub(crate) leaves: &'a [u8],
    /// The control line with padding and newline.
    pub(crate) control: &'a [u8],
}

/// What follows the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing, or only the zeros that were written ahead, from this offset.
    Clean(u64),
    /// Bytes that are no batch: where the batch would begin, and the first byte that cannot be right if known.
    Broken { batch: u64, at: u64 },
}

/// The lines of a batch without their newlines, each with its distance from the batch's start.
#[derive(Clone, Debug)]
pub(crate) struct Leaves<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Leaves<'a> {
    pub(crate) fn new(leaves: &'a [u8]) -> Self {
        Self { rest: leaves, at: 0 }
    }
}

impl<'a> Iterator for Leaves<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr(b'\n', self.rest)?;
        let (leaf, rest) = self.rest.split_at_checked(end)?;
        let at = self.at;
        self.at += end + 1;
        self.rest = rest.get(1..).unwrap_or_default();
        Some((at, leaf))
    }
}

/// Reads batches from the start of a segment, or from the start of any batch in it.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    source: R,
    /// Bytes read; the current batch begins at `start` in it and at `offset` in the file.
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    /// Length of the batch that was handed out last.
    handed_out: usize,
    /// Bytes of the next read; it grows up to [`CHUNK_BYTES`].
    chunk: usize,
}

impl<R: Source> Reader<R> {
    /// A reader whose source stands at `offset` of the file.
    pub(crate) fn new(source: R, offset: u64) -> Self {
        Self::with_buffer(source, offset, Vec::new())
    }

    /// The same, with a buffer that another reader is done with: a fresh one costs more than what is read into it.
    pub(crate) fn with_buffer(source: R, offset: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { source, buffer, start: 0, offset, handed_out: 0, chunk: FIRST_CHUNK_BYTES }
    }

    /// The buffer, for the next one.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next batch, or what is there instead.
    ///
    /// # Errors
    /// Reading failed; contents never cause one.
    pub(crate) fn next(&mut self) -> io::Result<Result<Frame<'_>, Tail>> {
        self.start += self.handed_out;
        self.offset += self.handed_out as u64;
        self.handed_out = 0;
        match self.scan()? {
            Ok((leaves, end)) => {
                self.handed_out = end;
                let batch = self.buffer.get(self.start..self.start + end).unwrap_or_default();
                let (leaves, control) = batch.split_at_checked(leaves).unwrap_or_default();
                Ok(Ok(Frame { offset: self.offset, leaves, control }))
            }
            Err(tail) => Ok(Err(tail)),
        }
    }

    /// Finds the control line: lengths of the records' part and of the whole batch.
    fn scan(&mut self) -> io::Result<Result<(usize, usize), Tail>> {
        let (mut at, mut line_at) = (0, 0);
        for _ in 0..=BATCH_RECORDS_MAX {
            let Some(end) = self.line_end(at)? else {
                return self.unfinished(line_at, at).map(Err);
            };
            let line = self.pending().get(at..end).unwrap_or_default();
            if line.starts_with(CONTROL_PREFIX) {
                let aligned = (end + 1).is_multiple_of(BLOCK_BYTES) && at > 0;
                return Ok(if aligned { Ok((at, end + 1)) } else { Err(self.broken(end)) });
            }
            if line.first() == Some(&0) {
                return self.unfinished(line_at, at).map(Err);
            }
            (line_at, at) = (at, end + 1);
        }
        Ok(Err(self.broken(at)))
    }

    /// Offset of the newline that ends the line at `at`, relative to the batch.
    fn line_end(&mut self, at: usize) -> io::Result<Option<usize>> {
        let mut searched = at;
        loop {
            let unread = self.pending().get(searched..).unwrap_or_default();
            if let Some(found) = memchr(b'\n', unread) {
                return Ok(Some(searched + found));
            }
            searched += unread.len();
            if searched > FRAME_BYTES_MAX || !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Nothing more of a batch at `at`, after the line at `line_at`. Where the lines end at a boundary, that one stands in the
    /// place of the control line.
    fn unfinished(&mut self, line_at: usize, at: usize) -> io::Result<Tail> {
        match at {
            0 => self.tail(),
            _ if at.is_multiple_of(BLOCK_BYTES) => Ok(self.broken(line_at)),
            _ => Ok(self.broken(at)),
        }
    }

    /// Everything after the last batch: clean only if it is all zeros.
    fn tail(&mut self) -> io::Result<Tail> {
        let mut passed = 0u64;
        loop {
            let pending = self.pending();
            if let Some(odd) = pending.iter().position(|byte| *byte != 0) {
                return Ok(Tail::Broken {
                    batch: self.offset,
                    at: self.offset + passed + odd as u64,
                });
            }
            passed += pending.len() as u64;
            self.buffer.clear();
            self.start = 0;
            if !self.fill()? {
                return Ok(Tail::Clean(self.offset));
            }
        }
    }

    fn broken(&self, at: usize) -> Tail {
        Tail::Broken { batch: self.offset, at: self.offset + at as u64 }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads one more chunk; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        let read = self.source.more(&mut self.buffer, self.chunk)?;
        self.chunk = (self.chunk * 4).min(CHUNK_BYTES);
        Ok(read > 0)
    }
}
