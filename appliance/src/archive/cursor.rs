//! How far the archive is, in a file of its own: `cursor.json` is one line, written through [`audit::Files::replace`].

use std::io;

use audit::{Files, LocalFiles};
use serde::{Deserialize, Serialize};

const PATH: &str = "cursor.json";
const FORMAT: u64 = 1;

/// Where the next copy begins, and where copies go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    format: u64,
    origin: String,
    /// Another bucket has none of the copies, so the archive begins again for it.
    pub(super) address: String,
    /// Every record before this one has a copy.
    pub(super) next: u64,
}

impl Stored {
    pub(super) fn new(origin: &str, address: &str, next: u64) -> Self {
        Self { format: FORMAT, origin: origin.to_owned(), address: address.to_owned(), next }
    }
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CursorError {
    #[error("reading `{PATH}` of the archive")]
    Read(#[source] io::Error),
    #[error("`{PATH}` of the archive is damaged ({0}); remove it to begin again")]
    Damaged(String),
    #[error("`{PATH}` of the archive belongs to the log `{0}`; remove it to begin again")]
    Foreign(String),
}

/// What was stored; none before the first run.
pub(super) fn load(files: &LocalFiles, origin: &str) -> Result<Option<Stored>, CursorError> {
    match files.read(PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => parse(&read.map_err(CursorError::Read)?, origin).map(Some),
    }
}

fn parse(bytes: &[u8], origin: &str) -> Result<Stored, CursorError> {
    let stored: Stored =
        serde_json::from_slice(bytes).map_err(|error| CursorError::Damaged(error.to_string()))?;
    if stored.format != FORMAT {
        return Err(CursorError::Damaged(format!("format {} is not {FORMAT}", stored.format)));
    }
    match stored.origin == origin {
        true => Ok(stored),
        false => Err(CursorError::Foreign(stored.origin)),
    }
}

/// Makes a position durable.
pub(super) fn store(files: &LocalFiles, stored: &Stored) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(stored)?;
    bytes.push(b'\n');
    files.replace(PATH, &bytes)
}

#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(stored) = parse(bytes, "audit.example.com/node1") {
        let again = serde_json::to_vec(&stored).unwrap_or_default();
        assert_eq!(parse(&again, "audit.example.com/node1").ok(), Some(stored));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_and_a_foreign_or_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::new(dir.path());
        assert_eq!(load(&files, "log/a").unwrap(), None);
        let stored = Stored::new("log/a", "https://s3.example.com/b", 7);
        store(&files, &stored).unwrap();
        assert_eq!(load(&files, "log/a").unwrap(), Some(stored));
        assert!(matches!(load(&files, "log/b"), Err(CursorError::Foreign(_))));
        for bytes in ["", "{", "{\"format\":1}"] {
            files.replace(PATH, bytes.as_bytes()).unwrap();
            assert!(matches!(load(&files, "log/a"), Err(CursorError::Damaged(_))), "{bytes}");
        }
    }
}
