//! How far a destination has confirmed, in a file of its own that a crash leaves whole.
//!
//! It is written through [`audit::Files::replace`]: bytes, their fsync, the rename, the directory's fsync. A failed
//! write stops the destination; what is on disk then is an older position, which only repeats records.
//!
//! `siem/NAME/cursor.json` is one line: `{"format":1,"origin":…,"destination":…,"encoding":"kind/format","filter":…,
//! "next":SEQ,"until":SEQ|null}`; every record before `next` is done with, and `next..until` may be under way.

use std::io;

use audit::Files;
use serde::{Deserialize, Serialize};

/// The newest format that this release reads and writes.
const FORMAT: u64 = 1;

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
    pub origin: String,
    pub destination: String,
    pub encoding: String,
    pub filter: String,
}

/// The cursor file of one destination.
#[derive(Debug)]
pub(super) struct Cursor {
    path: String,
    identity: Identity,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u64,
    #[serde(flatten)]
    identity: Identity,
    next: u64,
    until: Option<u64>,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    #[error("reading the SIEM cursor `{path}`")]
    Read { path: String, source: io::Error },
    #[error(
        "the SIEM cursor `{path}` is damaged ({problem}); remove it to begin where `start` says, \
         then replay from the last record that the destination has"
    )]
    Damaged { path: String, problem: String },
    #[error("the SIEM cursor `{path}` belongs to the log `{found}`, and this one is `{ours}`")]
    Foreign { path: String, found: String, ours: String },
}

impl Cursor {
    #[must_use]
    pub(super) fn new(identity: Identity) -> Self {
        Self { path: format!("{}/cursor.json", identity.destination), identity }
    }

    /// The position of the last run, or `None` for a new destination. A batch noted under another filter or format is
    /// forgotten: the same range would be other bytes.
    ///
    /// # Errors
    /// The file cannot be read, is no cursor, or is the cursor of another log.
    pub(super) fn load(&self, files: &dyn Files) -> Result<Option<Position>, CursorError> {
        let bytes = match files.read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CursorError::Read { path: self.path.clone(), source }),
        };
        let damaged = |problem: String| CursorError::Damaged { path: self.path.clone(), problem };
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format > FORMAT {
            return Err(damaged(format!("format {} is newer than {FORMAT}", stored.format)));
        }
        if stored.identity.origin != self.identity.origin {
            return Err(CursorError::Foreign {
                path: self.path.clone(),
                found: stored.identity.origin,
                ours: self.identity.origin.clone(),
            });
        }
        let until = stored.until.filter(|_| stored.identity == self.identity);
        Ok(Some(Position { next: stored.next, until }))
    }

    /// Makes a position durable.
    ///
    /// # Errors
    /// Those of [`Files::replace`]; nothing may be written after one.
    pub(super) fn store(&self, files: &dyn Files, position: Position) -> io::Result<()> {
        let Position { next, until } = position;
        let stored = Stored { format: FORMAT, identity: self.identity.clone(), next, until };
        let mut bytes = serde_json::to_vec(&stored)?;
        bytes.push(b'\n');
        files.replace(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use audit::LocalFiles;

    use super::*;

    fn identity(origin: &str, filter: &str) -> Identity {
        Identity {
            origin: origin.into(),
            destination: "soc".into(),
            encoding: "native".into(),
            filter: filter.into(),
        }
    }

    #[test]
    fn a_position_survives_and_a_batch_only_under_the_same_filter() {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::new(dir.path());
        let cursor = Cursor::new(identity("log/a", "class=data"));
        assert_eq!(cursor.load(&files).unwrap(), None);
        let position = Position { next: 7, until: Some(12) };
        cursor.store(&files, position).unwrap();
        assert_eq!(cursor.load(&files).unwrap(), Some(position));
        let other = Cursor::new(identity("log/a", "class=kms"));
        assert_eq!(other.load(&files).unwrap(), Some(Position { next: 7, until: None }));
    }

    #[test]
    fn foreign_and_damaged_cursors_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::new(dir.path());
        let cursor = Cursor::new(identity("log/a", ""));
        cursor.store(&files, Position { next: 7, until: None }).unwrap();
        let foreign = Cursor::new(identity("log/b", "")).load(&files);
        assert!(matches!(foreign, Err(CursorError::Foreign { .. })), "{foreign:?}");
        for bytes in ["", "{", "{\"format\":1}", "{\"format\":2,\"next\":1}"] {
            files.replace("soc/cursor.json", bytes.as_bytes()).unwrap();
            let damaged = cursor.load(&files);
            assert!(matches!(damaged, Err(CursorError::Damaged { .. })), "{bytes}: {damaged:?}");
        }
    }
}
