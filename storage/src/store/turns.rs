//! Turns at one row: writers of the same row go one after the other, in the order in which they came.
//!
//! Every write reads its row, prepares a batch and commits it under the check that the row is still the one that was
//! read. Without turns, of all writers of one key in a group only the first one's check holds; the others prepare their
//! batches again, and with enough of them some never win. The check stays what makes a write right (another process may
//! write the same rows); turns only make it hold at the first attempt.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

/// Two different rows wait for each other once in so many.
const STRIPES: usize = 4096;

/// The turns of all rows.
#[derive(Debug)]
pub(super) struct Turns {
    stripes: Box<[Mutex<()>]>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect() }
    }

    /// Waits for the turn at a row; it lasts as long as the guard. A task takes one turn at a time.
    pub(super) async fn at(&self, row: &[u8]) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        self.stripes[hasher.finish() as usize % STRIPES].lock().await
    }
}
