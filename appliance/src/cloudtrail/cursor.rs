//! How far the log has been exported, in a file that a crash leaves whole: `cloudtrail/cursor.json`.
//!
//! It is written after a digest is stored. What a crash loses of it is written again with the same bytes.

use std::io;

use audit::{Files, LocalFiles};
use serde::{Deserialize, Serialize};

use super::chain::Link;

const PATH: &str = "cursor.json";
const FORMAT: u64 = 1;

/// Where the next period begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Every record before this one is in a digest.
    pub(super) next: u64,
    /// Second at which the period of that record begins, or an empty one before it.
    pub(super) from_s: u64,
    /// Second of the first period of all.
    pub(super) since_s: u64,
    /// The newest digest.
    pub(super) previous: Option<Link>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u64,
    origin: String,
    #[serde(flatten)]
    position: Position,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CursorError {
    #[error("reading `{PATH}`")]
    Read(#[source] io::Error),
    #[error("`{PATH}` is damaged ({0}); remove it to begin a new chain with this hour")]
    Damaged(String),
    #[error("`{PATH}` belongs to the log `{0}`; remove it to begin a new chain")]
    Foreign(String),
}

/// The position of the last run; none where there was none.
pub(super) fn load(files: &LocalFiles, origin: &str) -> Result<Option<Position>, CursorError> {
    let bytes = match files.read(PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(CursorError::Read)?,
    };
    let stored: Stored =
        serde_json::from_slice(&bytes).map_err(|error| CursorError::Damaged(error.to_string()))?;
    if stored.format != FORMAT {
        return Err(CursorError::Damaged(format!("format {} is not {FORMAT}", stored.format)));
    }
    match stored.origin == origin {
        true => Ok(Some(stored.position)),
        false => Err(CursorError::Foreign(stored.origin)),
    }
}

/// Makes a position durable.
pub(super) fn store(files: &LocalFiles, origin: &str, position: &Position) -> io::Result<()> {
    let stored = Stored { format: FORMAT, origin: origin.to_owned(), position: position.clone() };
    let mut bytes = serde_json::to_vec(&stored)?;
    bytes.push(b'\n');
    files.replace(PATH, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_and_a_foreign_or_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::new(dir.path());
        assert_eq!(load(&files, "log/a").unwrap(), None);
        let previous = Link {
            bucket: "b".into(),
            key: "k".into(),
            sha256: "aa".into(),
            signature: "bb".into(),
        };
        let position = Position { next: 7, from_s: 3600, since_s: 0, previous: Some(previous) };
        store(&files, "log/a", &position).unwrap();
        assert_eq!(load(&files, "log/a").unwrap(), Some(position));
        assert!(matches!(load(&files, "log/b"), Err(CursorError::Foreign(_))));
        for bytes in ["", "{", "{\"format\":1}", "{\"format\":2,\"origin\":\"log/a\",\"next\":1}"] {
            files.replace(PATH, bytes.as_bytes()).unwrap();
            assert!(matches!(load(&files, "log/a"), Err(CursorError::Damaged(_))), "{bytes}");
        }
    }
}
