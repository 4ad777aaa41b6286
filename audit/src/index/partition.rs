//! One day of the index on disk.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tantivy::Index;

use crate::{
    durable,
    segment::{BLOCK_BYTES, Control},
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
    /// Root of the tree over them.
    pub(super) root: String,
    /// Segment of the last one.
    pub(super) segment: String,
    /// End of its batch in that segment.
    pub(super) offset: u64,
}

impl Position {
    pub(super) fn new(control: &Control, segment: &str, offset: u64) -> Self {
        let root = STANDARD.encode(control.root);
        Self {
            version: schema::VERSION,
            size: control.size,
            root,
            segment: segment.to_owned(),
            offset,
        }
    }

    /// Whether the log still has the batch that this position was read from.
    pub(super) fn fits(&self, dir: &Path) -> bool {
        let control = last_control(&dir.join(&self.segment), self.offset).ok().flatten();
        control.is_some_and(|c| c.size == self.size && STANDARD.encode(c.root) == self.root)
    }
}

/// The control line that ends at `end`.
fn last_control(path: &Path, end: u64) -> io::Result<Option<Control>> {
    // The line has some 240 bytes and at most a block of padding.
    let from = end.saturating_sub(2 * BLOCK_BYTES as u64);
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(end - from).read_to_end(&mut bytes)?;
    let line = bytes.strip_suffix(b"\n").and_then(|bytes| bytes.rsplit(|b| *b == b'\n').next());
    Ok(line.and_then(Control::parse))
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
