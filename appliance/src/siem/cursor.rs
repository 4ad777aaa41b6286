//! How far a destination has confirmed; the file is a [`crate::cursor`].
//!
//! `siem/NAME/cursor.json` has `destination`, `encoding` (`kind/format`), `filter`, `next` and `until`: every record
//! before `next` is done with, and `next..until` may be under way.

use std::io;
use std::path::Path;

use audit::Marks;
use serde::{Deserialize, Serialize};

use crate::cursor::{self, CursorError, Place};

const REMEDY: &str = "remove it to begin where `start` says, then replay from the last record that the destination has";

/// Where a destination stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Every record before this one is done with.
    pub next: u64,
    /// End of the batch that may be under way.
    pub until: Option<u64>,
}

/// What must be equal for a noted batch to mean the same bytes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub destination: String,
    pub encoding: String,
    pub filter: String,
}

/// What is in the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    #[serde(flatten)]
    identity: Identity,
    next: u64,
    until: Option<u64>,
}

impl Place for Stored {
    /// A batch is only noted when all of it was read, and only what is durable is read.
    fn known(&self) -> u64 {
        self.next.max(self.until.unwrap_or(0))
    }

    fn put_back(&mut self, next: u64) {
        (self.next, self.until) = (next, None);
    }
}

/// The cursor file in the directory of one destination.
pub(crate) fn file(dir: &Path, origin: &str) -> cursor::Cursor {
    cursor::Cursor::new(dir, origin, REMEDY)
}

/// The cursor of one destination.
#[derive(Debug)]
pub(super) struct Cursor {
    file: cursor::Cursor,
    identity: Identity,
}

impl Cursor {
    #[must_use]
    pub(super) fn new(siem_dir: &Path, origin: &str, identity: Identity) -> Self {
        Self { file: file(&siem_dir.join(&identity.destination), origin), identity }
    }

    /// The position of the last run, or `None` for a new destination. A batch noted under another filter or format is
    /// forgotten: the same range would be other bytes.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub(super) fn load(&self) -> Result<Option<(Position, Marks)>, CursorError> {
        let loaded = self.file.load::<Stored>()?;
        Ok(loaded.map(|(stored, marks)| {
            let until = stored.until.filter(|_| stored.identity == self.identity);
            (Position { next: stored.next, until }, marks)
        }))
    }

    /// Makes a position durable.
    ///
    /// # Errors
    /// Nothing may be written after one.
    pub(super) fn store(&self, position: Position, marks: &Marks) -> io::Result<()> {
        let Position { next, until } = position;
        self.file.store(&Stored { identity: self.identity.clone(), next, until }, marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(filter: &str) -> Identity {
        let (destination, encoding) = ("soc".into(), "native".into());
        Identity { destination, encoding, filter: filter.into() }
    }

    #[test]
    fn a_position_survives_and_a_batch_only_under_the_same_filter() {
        let dir = tempfile::tempdir().unwrap();
        let cursor = Cursor::new(dir.path(), "log/a", identity("class=data"));
        assert_eq!(cursor.load().unwrap(), None);
        let position = Position { next: 7, until: Some(12) };
        cursor.store(position, &Marks::default()).unwrap();
        assert_eq!(cursor.load().unwrap(), Some((position, Marks::default())));
        let other = Cursor::new(dir.path(), "log/a", identity("class=kms"));
        let without = Position { next: 7, until: None };
        assert_eq!(other.load().unwrap(), Some((without, Marks::default())));
        let known = file(&dir.path().join("soc"), "log/a").memory::<Stored>("soc").unwrap();
        assert_eq!(known.unwrap().size, 12);
    }
}
