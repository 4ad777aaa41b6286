//! Garbage: blobs that no row needs any more, removed once nobody reads them.
//!
//! The batch that forgets blobs writes a garbage row in the same commit. A thread removes the blobs and then the row; what
//! it did not get to is found at the next open.
//!
//! Readers hold an epoch from before they read a row until their body ends. Garbage is tagged with the epoch at its commit,
//! and waits until no reader of that epoch or an earlier one is left. One slow reader therefore delays all removals
//! behind it: space, never correctness. The protocol layer's body timeout bounds the delay.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Store;
use crate::blobs::{BlobRef, Blobs, Detachment};
use crate::error::Error;
use crate::metadata::{Batch, Metadata, table};

/// Nobody waits for removals, and each commit costs every drive a sync: they are gathered for so long.
const GATHER_INTERVAL: Duration = Duration::from_millis(50);

/// Blobs after which a commit is full; the last garbage of it may have more, as many as an object has parts.
const GATHER_BLOBS: usize = 256;

/// Blobs that a commit made garbage.
#[derive(Clone, Debug)]
pub(super) struct Garbage {
    pub(super) blobs: Vec<BlobRef>,
}

impl Garbage {
    pub(super) fn new(blobs: Vec<BlobRef>) -> Self {
        Self { blobs }
    }

    /// The row is called after the first blob: ids are unique, so the rows are.
    pub(super) fn row(&self) -> Option<Bytes> {
        self.blobs.first().map(|blob| table::garbage(blob.id))
    }
}

impl Store {
    /// Adds garbage to the batch that makes it so.
    pub(super) fn bury(&self, batch: &mut Batch, garbage: Option<&Garbage>) -> Result<(), Error> {
        let Some((garbage, row)) = garbage.and_then(|garbage| Some((garbage, garbage.row()?)))
        else {
            return Ok(());
        };
        batch.put(row.clone(), self.seal().encode(&row, &garbage.blobs)?);
        Ok(())
    }

    /// Has garbage removed whose batch was acknowledged.
    pub(super) fn reclaim(&self, garbage: Option<Garbage>) {
        if let Some(garbage) = garbage.filter(|garbage| !garbage.blobs.is_empty()) {
            self.inner.reclaimer.send(self.inner.readers.next_epoch(), garbage);
        }
    }
}

/// Who reads since when.
#[derive(Debug, Default)]
pub(super) struct Readers {
    state: Mutex<ReaderState>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct ReaderState {
    epoch: u64,
    /// How many readers each epoch has.
    active: BTreeMap<u64, usize>,
    closed: bool,
}

/// Keeps the blobs of every row that its holder reads.
#[derive(Debug)]
pub(super) struct ReaderGuard {
    readers: Arc<Readers>,
    epoch: u64,
}

impl Readers {
    pub(super) fn enter(self: &Arc<Self>) -> ReaderGuard {
        let mut state = self.lock();
        let epoch = state.epoch;
        *state.active.entry(epoch).or_default() += 1;
        ReaderGuard { readers: Arc::clone(self), epoch }
    }

    /// Ends the current epoch and returns its number.
    fn next_epoch(&self) -> u64 {
        let mut state = self.lock();
        let ended = state.epoch;
        state.epoch += 1;
        ended
    }

    /// Waits until no reader of `epoch` or before is left. Says `false` when the store closes before.
    fn wait_for(&self, epoch: u64) -> bool {
        let mut state = self.lock();
        while state.active.first_key_value().is_some_and(|(first, _)| *first <= epoch) {
            if state.closed {
                return false;
            }
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    fn close(&self) {
        self.lock().closed = true;
        self.left.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        if let Some(count) = state.active.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                state.active.remove(&self.epoch);
                self.readers.left.notify_all();
            }
        }
    }
}

/// The thread that removes garbage. Its queue is as long as what was deleted since it last found time; each entry is the
/// size of a row.
#[derive(Debug)]
pub(super) struct Reclaimer {
    queue: Mutex<Option<Sender<(u64, Garbage)>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Readers>,
}

impl Reclaimer {
    pub(super) fn start(
        readers: Arc<Readers>,
        metadata: Weak<dyn Metadata>,
        blobs: Weak<dyn Blobs>,
    ) -> std::io::Result<Self> {
        let (queue, garbage) = channel();
        let waiting = Arc::clone(&readers);
        let thread = std::thread::Builder::new()
            .name("storage-reclaim".to_owned())
            .spawn(move || run(&garbage, &waiting, &metadata, &blobs))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), readers })
    }

    pub(super) fn send(&self, epoch: u64, garbage: Garbage) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*queue {
            // The thread only ends with the queue.
            let _ = queue.send((epoch, garbage));
        }
    }

    /// Ends the thread when it has removed what nobody reads; the rest stays for the next open.
    pub(super) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.readers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run(
    queue: &Receiver<(u64, Garbage)>,
    readers: &Readers,
    metadata: &Weak<dyn Metadata>,
    blobs: &Weak<dyn Blobs>,
) {
    while let Some((epoch, garbage)) = gather(queue) {
        if !readers.wait_for(epoch) {
            return;
        }
        let (Some(metadata), Some(blobs)) = (metadata.upgrade(), blobs.upgrade()) else { return };
        futures::executor::block_on(remove(&*metadata, &*blobs, &garbage));
    }
}

/// What came within [`GATHER_INTERVAL`], and the newest epoch of it; `None` when the queue has ended.
fn gather(queue: &Receiver<(u64, Garbage)>) -> Option<(u64, Vec<Garbage>)> {
    let (mut newest, first) = queue.recv().ok()?;
    let mut blobs = first.blobs.len();
    let mut gathered = vec![first];
    let deadline = Instant::now() + GATHER_INTERVAL;
    while blobs < GATHER_BLOBS {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((epoch, garbage)) = queue.recv_timeout(left) else { break };
        newest = newest.max(epoch);
        blobs += garbage.blobs.len();
        gathered.push(garbage);
    }
    Some((newest, gathered))
}

/// Removes blobs, then the rows that remember them, all rows in one commit.
async fn remove(metadata: &dyn Metadata, blobs: &dyn Blobs, gathered: &[Garbage]) {
    let mut batch = Batch::default();
    for garbage in gathered {
        match detach(blobs, garbage).await {
            Ok(detached) => batch.detached.extend(detached),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "garbage stays until the next open");
                continue;
            }
        }
        for blob in garbage.blobs.iter().filter(|blob| !blob.inline) {
            batch.delete(table::file(blob.id));
        }
        if let Some(row) = garbage.row() {
            batch.delete(row);
        }
    }
    if let Err(error) = metadata.commit(batch).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "garbage rows stay until the next open");
    }
}

/// Removes the files of blobs; small shards are removed by the commit.
async fn detach(blobs: &dyn Blobs, garbage: &Garbage) -> Result<Vec<Detachment>, Error> {
    let mut detached = Vec::new();
    for blob in &garbage.blobs {
        detached.extend(blobs.remove(blob).await?);
    }
    Ok(detached)
}
