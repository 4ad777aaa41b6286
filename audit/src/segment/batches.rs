//! The records of a segment in order, as many at a time as were written or packed together.
#![deny(clippy::indexing_slicing)]

use std::{
    fs,
    io::{self, Seek as _, SeekFrom},
    path::Path,
};

use super::{Control, Lines, Name, Packed, Reader, check};

/// Consecutive records that were written or packed together; their checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// `seq` of the first record, and after the last.
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// The records with their newlines.
    pub(crate) leaves: &'a [u8],
    /// Where they begin among the lines of the segment.
    pub(crate) offset: u64,
    /// Where the next batch is, for [`Batches::open`].
    pub(crate) next: Place,
}

/// Where a batch is in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Byte of a segment as it was written. It means nothing in a packed one.
    pub(crate) offset: u64,
}

/// Reads batches of one segment.
#[derive(Debug)]
pub(crate) struct Batches {
    form: Source,
}

#[derive(Debug)]
enum Source {
    Written(Reader<fs::File>),
    Packed { packed: Packed, frame: usize, lines: Vec<u8> },
}

impl Batches {
    /// Begins at a place, or, in a packed segment, with the frame of record `seq`. The buffer is one that
    /// [`Batches::into_buffer`] gave, or a new one.
    ///
    /// # Errors
    /// As [`Lines::open`].
    pub(crate) fn open(
        dir: &Path,
        name: &Name,
        place: Place,
        seq: u64,
        buffer: Vec<u8>,
    ) -> io::Result<Self> {
        let form = match Lines::open(dir, name)? {
            Lines::Written(mut file) => {
                file.seek(SeekFrom::Start(place.offset))?;
                Source::Written(Reader::with_buffer(file, place.offset, buffer))
            }
            Lines::Packed(packed) => {
                let records = &packed.table().records;
                let frame = match seq >= records.end {
                    true => packed.table().frames.len(),
                    false => packed.table().frame_of(seq.max(records.start)).unwrap_or(0),
                };
                Source::Packed { packed, frame, lines: Vec::new() }
            }
        };
        Ok(Self { form })
    }

    /// The memory that batches were read into.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self.form {
            Source::Written(reader) => reader.into_buffer(),
            Source::Packed { lines, .. } => lines,
        }
    }

    /// The next batch; `None` where there is no whole one.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] where a packed segment is damaged.
    pub(crate) fn next(&mut self) -> io::Result<Option<Batch<'_>>> {
        match &mut self.form {
            Source::Written(reader) => {
                let Ok(frame) = reader.next()? else { return Ok(None) };
                let whole = Control::parse(frame.control)
                    .filter(|control| control.crc == check::crc(frame.leaves));
                let Some(control) = whole else { return Ok(None) };
                let end = frame.offset + (frame.leaves.len() + frame.control.len()) as u64;
                Ok(control.size.checked_sub(control.n).map(|first| Batch {
                    first,
                    end: control.size,
                    leaves: frame.leaves,
                    offset: frame.offset,
                    next: Place { offset: end },
                }))
            }
            Source::Packed { packed, frame, lines } => {
                let Some(unpacked) = packed.frame(*frame)? else { return Ok(None) };
                let records = packed.table().records_of(*frame);
                let offset = packed.table().frames.get(*frame).map_or(0, |frame| frame.start);
                *frame += 1;
                *lines = unpacked;
                let next = Place::default();
                Ok(Some(Batch {
                    first: records.start,
                    end: records.end,
                    leaves: lines,
                    offset,
                    next,
                }))
            }
        }
    }
}
