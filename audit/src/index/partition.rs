//! One day of the index on disk.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use tantivy::Index;

use crate::{
    durable,
    search::{Brought, read_record},
    tree,
};

use super::{IndexError, root, schema};

/// How far a partition goes, committed with its documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Version of the fields.
    #[serde(default)]
    version: u32,
    /// Records indexed from the beginning of the log.
    pub(super) size: u64,
    /// Hash of the last one, in hex.
    pub(super) last: String,
    /// Segment of the last one.
    pub(super) segment: String,
    /// End of its batch in that segment, as long as it is not packed.
    pub(super) offset: u64,
}

impl Position {
    pub(super) fn new(brought: &Brought) -> Self {
        let (last, segment) = (hex::encode(brought.last), brought.segment.clone());
        Self { version: schema::VERSION, size: brought.size, last, segment, offset: brought.end }
    }

    /// Whether the log still has the record that this position ends with. It names its position and its time, so no
    /// other log has it.
    pub(super) fn fits(&self, dir: &Path) -> bool {
        let last = self.size.checked_sub(1).map(|seq| read_record(dir, seq));
        let Some(Ok(Some(leaf))) = last else { return false };
        hex::encode(tree::leaf_hash(&leaf)) == self.last
    }
}

/// Days that have a partition, oldest first.
pub(super) fn days(dir: &Path) -> Result<Vec<String>, IndexError> {
    let entries = durable::list(&root(dir))
        .map_err(|source| IndexError::Io { path: "idx".to_owned(), source })?;
    let mut days: Vec<String> =
        entries.iter().filter_map(|entry| entry.strip_suffix('/').map(str::to_owned)).collect();
    days.sort();
    Ok(days)
}

/// Opens a partition for reading, with its position; `None` before its first commit, and where another version of this
/// program made it.
pub(super) fn open(dir: &Path, day: &str) -> Result<Option<(Index, Position)>, IndexError> {
    let index = Index::open_in_dir(root(dir).join(day))?;
    let Some(payload) = index.load_metas()?.payload else { return Ok(None) };
    let position: Position = serde_json::from_str(&payload)
        .map_err(|error| IndexError::Library(format!("position of `{day}`: {error}")))?;
    Ok((position.version == schema::VERSION).then_some((index, position)))
}

/// Opens a partition for writing, or makes it.
pub(super) fn open_or_create(dir: &Path, day: &str) -> Result<(Index, schema::Fields), IndexError> {
    let path = root(dir).join(day);
    let io_error = |source| IndexError::Io { path: format!("idx/{day}"), source };
    fs::create_dir_all(&path).map_err(io_error)?;
    let (builder, fields) = schema::builder();
    let directory = tantivy::directory::MmapDirectory::open(&path)
        .map_err(|error| IndexError::Library(error.to_string()))?;
    Ok((builder.open_or_create(directory)?, fields))
}

/// Deletes one day.
pub(super) fn remove(dir: &Path, day: &str) -> Result<(), IndexError> {
    fs::remove_dir_all(root(dir).join(day))
        .map_err(|source| IndexError::Io { path: format!("idx/{day}"), source })
}

/// Deletes all days.
pub(super) fn remove_all(dir: &Path) -> Result<(), IndexError> {
    days(dir)?.iter().try_for_each(|day| remove(dir, day))
}
