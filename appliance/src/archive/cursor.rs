//! How far the archive is, and where: `archive/cursor.json`, a [`crate::cursor`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, Place};

/// Where the next copy begins, and where copies go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Another bucket has none of the copies, so the archive begins again for it.
    pub(super) address: String,
    /// Every record before this one has a copy.
    pub(super) next: u64,
}

impl Place for Stored {
    fn known(&self) -> u64 {
        self.next
    }

    fn put_back(&mut self, next: u64) {
        self.next = next;
    }
}

/// The cursor file in the archive's directory.
pub(crate) fn file(state_dir: &Path, origin: &str) -> Cursor {
    Cursor::new(state_dir, origin, "remove it to begin again")
}
