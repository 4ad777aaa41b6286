//! One segment in memory, up to the end of its last whole batch.
#![deny(clippy::indexing_slicing)]

use std::{fs, io, path::Path};

use memchr::{memchr, memrchr};

use crate::segment::{CONTROL_PREFIX, Control, Name, Reader, check};

/// The records' part of a segment; a write in progress at its end is left out.
#[derive(Debug)]
pub(super) struct Loaded {
    bytes: Vec<u8>,
}

impl Loaded {
    /// Reads a segment. Only the newest one can end in a write in progress.
    pub(super) fn read(dir: &Path, name: &Name, newest: bool) -> io::Result<Self> {
        let mut bytes = fs::read(dir.join(&name.path))?;
        let end = if newest { whole_batches(&bytes)? } else { bytes.len() };
        bytes.truncate(end);
        Ok(Self { bytes })
    }

    /// Records from the last to the first.
    pub(super) fn backward(&self) -> Backward<'_> {
        Backward { rest: &self.bytes }
    }

    /// Number of records and positions of the segment, from its last control line.
    pub(super) fn end(&self) -> Option<u64> {
        let end = self.bytes.strip_suffix(b"\n")?;
        let at = memrchr(b'\n', end).map_or(0, |newline| newline + 1);
        Control::parse(end.get(at..)?).map(|control| control.size)
    }
}

/// Where the last batch with a right checksum ends.
fn whole_batches(bytes: &[u8]) -> io::Result<usize> {
    let mut reader = Reader::new(bytes, 0);
    let (mut end, mut before) = (0, 0);
    let mut last_is_right = true;
    while let Ok(frame) = reader.next()? {
        before = end;
        end = frame.offset as usize + frame.leaves.len() + frame.control.len();
        last_is_right = frame_is_right(frame.leaves, frame.control);
        // Whatever was written before the last batch was complete when that one began.
        if !last_is_right {
            break;
        }
    }
    Ok(if last_is_right { end } else { before })
}

fn frame_is_right(leaves: &[u8], control: &[u8]) -> bool {
    Control::parse(control).is_some_and(|control| control.crc == check::crc(leaves))
}

/// Lines from the end, without control lines.
#[derive(Clone, Debug)]
pub(super) struct Backward<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Backward<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let body = self.rest.strip_suffix(b"\n")?;
            let at = memrchr(b'\n', body).map_or(0, |newline| newline + 1);
            let (rest, line) = body.split_at_checked(at)?;
            self.rest = rest;
            if !line.starts_with(CONTROL_PREFIX) {
                return Some(line);
            }
        }
    }
}

/// The first record of a segment, for its time.
pub(super) fn first_leaf(dir: &Path, name: &Name) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let mut start = Vec::new();
    let file = fs::File::open(dir.join(&name.path))?;
    file.take(crate::encode::LEAF_BYTES_MAX as u64 + 1).read_to_end(&mut start)?;
    Ok(memchr(b'\n', &start).map(|end| {
        start.truncate(end);
        start
    }))
}
