//! Rows replicated on the first drives of the array: written through the commit thread, read from one replica in sync.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Batch, CommitError, Metadata, ReadError};
use crate::commit::Committer;
use crate::drive::array::Array;
use crate::drive::lane::Lane;
use crate::drive::{DriveError, KeyRange, Pair, Table};

/// Rows on drives.
#[derive(Debug)]
pub(crate) struct ReplicatedRows {
    array: Arc<Array>,
    committer: Committer,
}

impl ReplicatedRows {
    pub(crate) fn new(array: Arc<Array>, committer: Committer) -> Self {
        Self { array, committer }
    }

    pub(crate) fn committer(&self) -> &Committer {
        &self.committer
    }
}

/// Asks the replicas in slot order until one that is in sync answers.
pub(crate) fn get(replicas: &[Arc<Lane>], key: &[u8]) -> Result<Option<Bytes>, ReadError> {
    let mut failed = None;
    for lane in replicas.iter().filter(|lane| lane.in_sync()) {
        match lane.get(Table::Rows, key) {
            Ok(value) => return Ok(value),
            Err(error) => failed = Some(note(lane, error)),
        }
    }
    Err(ReadError::NoReplica(failed))
}

/// As [`get`], for a scan on the caller's thread.
pub(crate) fn scan(
    replicas: &[Arc<Lane>],
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Pair>, ReadError> {
    let mut failed = None;
    for lane in replicas.iter().filter(|lane| lane.in_sync()) {
        match lane.drive().and_then(|drive| drive.scan(Table::Rows, range, limit)) {
            Ok(pairs) => return Ok(pairs),
            Err(error) => failed = Some(note(lane, error)),
        }
    }
    Err(ReadError::NoReplica(failed))
}

/// A replica that cannot be read is passed over, not taken out of use: its next commit decides.
fn note(lane: &Lane, error: DriveError) -> DriveError {
    tracing::warn!(
        drive = %lane.path().display(),
        error = &error as &dyn std::error::Error,
        "reading rows from another replica"
    );
    error
}

impl Metadata for ReplicatedRows {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        async move { get(self.array.replicas(), key) }.boxed()
    }

    fn scan(&self, range: KeyRange, limit: usize) -> BoxFuture<'_, Result<Vec<Pair>, ReadError>> {
        async move {
            let mut failed = None;
            for lane in self.array.replicas().iter().filter(|lane| lane.in_sync()) {
                let range = range.clone();
                let scanned = lane.run(move |drive| drive.scan(Table::Rows, &range, limit)).await;
                match scanned {
                    Ok(pairs) => return Ok(pairs),
                    Err(error) => failed = Some(note(lane, error)),
                }
            }
            Err(ReadError::NoReplica(failed))
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        self.committer.commit(batch).boxed()
    }
}
