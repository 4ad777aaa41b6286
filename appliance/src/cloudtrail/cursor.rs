//! How far the log has been exported: `cloudtrail/cursor.json`, a [`crate::cursor`].
//!
//! It is written after a digest is stored. What a crash loses of it is written again with the same bytes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::Link;
use crate::cursor::{Cursor, Place};

/// Where the next period begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Every record before this one is in a digest.
    pub(super) next: u64,
    /// Second at which the period of that record begins, or an empty one before it.
    pub(super) from_s: u64,
    /// Second of the first period of all.
    pub(super) since_s: u64,
    /// The newest digest.
    pub(super) previous: Option<Link>,
}

impl Place for Position {
    fn known(&self) -> u64 {
        self.next
    }

    /// The chain of digests goes on: what comes again is in the period that is under way.
    fn put_back(&mut self, next: u64) {
        self.next = next;
    }
}

/// The cursor file in the export's directory.
pub(crate) fn file(state_dir: &Path, origin: &str) -> Cursor {
    Cursor::new(state_dir, origin, "remove it to begin a new chain with this hour")
}
