//! Rows in memory: the obvious implementation, against which the others are understood.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Batch, Check, CommitError, Metadata, ReadError};
use crate::drive::{KeyRange, Pair};

/// Rows that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryRows {
    rows: Mutex<BTreeMap<Bytes, Bytes>>,
}

impl MemoryRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Bytes, Bytes>) -> T) -> T {
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn holds(rows: &BTreeMap<Bytes, Bytes>, check: &Check) -> bool {
    match check {
        Check::Is(key, value) => rows.get(key) == value.as_ref(),
        Check::Present(key) => rows.contains_key(key),
        Check::Empty(range) => pairs(rows, range, 1).is_empty(),
    }
}

fn pairs(rows: &BTreeMap<Bytes, Bytes>, range: &KeyRange, limit: usize) -> Vec<Pair> {
    if range.start >= range.end {
        return Vec::new();
    }
    let bounds = (Bound::Included(&range.start[..]), Bound::Excluded(&range.end[..]));
    let found = rows.range::<[u8], _>(bounds).take(limit);
    found.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn commit(rows: &mut BTreeMap<Bytes, Bytes>, batch: Batch) -> Result<(), CommitError> {
    batch.check_sizes()?;
    if !batch.attached.is_empty() || !batch.detached.is_empty() {
        return Err(CommitError::Attachment);
    }
    if let Some(failed) = batch.checks.iter().position(|check| !holds(rows, check)) {
        return Err(CommitError::Check(failed));
    }
    for write in batch.writes {
        match write.value {
            Some(value) => rows.insert(write.key, value),
            None => rows.remove(&write.key),
        };
    }
    Ok(())
}

impl Metadata for MemoryRows {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        async move { Ok(self.with(|rows| rows.get(key).cloned())) }.boxed()
    }

    fn scan(&self, range: KeyRange, limit: usize) -> BoxFuture<'_, Result<Vec<Pair>, ReadError>> {
        async move { Ok(self.with(|rows| pairs(rows, &range, limit))) }.boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        async move { self.with(|rows| commit(rows, batch)) }.boxed()
    }
}
