//! One segment open for reading, in whichever form it is: as it was written, or packed.
//!
//! To those who read lines both are a file of lines. In the first there are control lines between the records and zeros
//! behind them; a packed segment unpacks to records alone.
#![deny(clippy::indexing_slicing)]

use std::{fs, io, os::unix::fs::FileExt as _, path::Path};

use super::{Form, Name, Packed};

/// A segment as lines.
#[derive(Debug)]
pub(crate) enum Lines {
    /// As it was written.
    Written(fs::File),
    /// Packed.
    Packed(Packed),
}

impl Lines {
    /// Opens a segment. It may have been packed since it was listed, or be still there in its first form.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] when the tables of a packed one are damaged.
    pub(crate) fn open(dir: &Path, name: &Name) -> io::Result<Self> {
        match Self::open_as(dir, name, name.form) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::open_as(dir, name, name.form.other()).map_err(|_| error)
            }
            opened => opened,
        }
    }

    fn open_as(dir: &Path, name: &Name, form: Form) -> io::Result<Self> {
        let file = fs::File::open(dir.join(name.path_as(form)))?;
        Ok(match form {
            Form::Written => Self::Written(file),
            Form::Packed => Self::Packed(Packed::open(file, name.first)?),
        })
    }

    /// Length of the lines, with zeros written ahead.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Written(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => Ok(packed.table().size()),
        }
    }

    /// Reads some bytes from an offset of the lines on; none at their end.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] where a packed segment is damaged.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Written(file) => file.read_at(buffer, offset),
            Self::Packed(packed) => packed.read_at(buffer, offset),
        }
    }

    /// As much as there is, up to the length of the buffer.
    ///
    /// # Errors
    /// As [`Lines::read_at`].
    pub(crate) fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// The lines from an offset on, as a stream.
    pub(crate) fn from(&self, offset: u64) -> From<'_> {
        From { lines: self, offset }
    }
}

/// A stream of lines.
#[derive(Debug)]
pub(crate) struct From<'a> {
    lines: &'a Lines,
    offset: u64,
}

impl io::Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.lines.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
