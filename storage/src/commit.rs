//! The order of publication: the only file that knows it.
//!
//! ```text
//! 1  large shards: written to staging, fsynced, renamed, directory fsynced        (blobs, before a batch is queued)
//! 2  batches that queued while the last group was syncing form a group            (storage-commit)
//! 3  the checks of each batch are evaluated in queue order, over the rows plus
//!    the writes of earlier batches of the group; failed batches leave the group
//! 4  each drive takes the group's rows, its own small shards and the new version
//!    as one database batch and syncs once                                         (storage-commit-dN, in parallel)
//! 5  a batch is acknowledged when a majority of replicas and a write quorum of
//!    its small shards are durable; drives that failed are out of use from here on
//! 6  blobs that the group made garbage are removed                                (storage-reclaim, later)
//! ```
//! ORDER: rows never name a blob that is not durable (1 before 4), and no blob is removed that a durable row names
//! (4 before 6). A crash between any two steps leaves blobs without rows, which the next open removes, and nothing else.
//!
//! A group waits for all drives that are in use, not only for a majority: a reader may ask any replica in sync right after
//! the acknowledgement. A drive that hangs therefore hangs writers; the operating system's timeout ends that.

mod answers;
mod group;
mod replica;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::drive::array::Array;
use crate::metadata::version::{PROCESS_STEP, Version};
use crate::metadata::{Batch, CommitError};
use crate::quorum;
use answers::{Answers, Caller};
use group::Group;
use replica::Replicas;

/// Batches that may wait; committers wait beyond that.
const QUEUE_MAX: usize = 1024;

/// Batches of one group.
const GROUP_MAX: usize = 256;

/// Bytes of one group, after which it is closed. One batch may be larger.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

struct Request {
    batch: Batch,
    caller: Caller,
}

/// The way to the commit thread.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the threads. `version` is what was found at open.
    pub(crate) fn start(
        array: Arc<Array>,
        version: Option<Version>,
        lineage: u64,
    ) -> std::io::Result<Self> {
        let sequence = version.map_or(0, |version| version.sequence) + PROCESS_STEP;
        let next = Version { sequence, lineage };
        let replicas = Replicas::start(&array)?;
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("storage-commit".to_owned())
            .spawn(move || Thread { array, replicas, next, requests }.run())?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Queues a batch and waits until it is durable or refused.
    ///
    /// A caller that is dropped while it waits does not take its batch back.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check_sizes()?;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or(CommitError::Closed)?;
        let (caller, outcome) = Caller::new();
        queue.send(Request { batch, caller }).await.map_err(|_| CommitError::Closed)?;
        outcome.await.map_err(|_| CommitError::Closed)?
    }

    /// Takes no more batches, and waits until those that were taken are done.
    pub(crate) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the commit thread owns: the sequence, and with it the order of everything.
struct Thread {
    array: Arc<Array>,
    replicas: Replicas,
    next: Version,
    requests: mpsc::Receiver<Request>,
}

impl Thread {
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            // While the processors are busy with requests, those that are ready to queue theirs do so before a group begins
            // that they would have to wait for. Where nothing else wants to run, this takes no time.
            std::thread::yield_now();
            let mut requests = vec![first];
            let mut bytes = 0;
            while requests.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(request) = self.requests.try_recv() else { break };
                bytes += group::batch_bytes(&request.batch);
                requests.push(request);
            }
            self.commit(requests);
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        let mut group = Group::new(self.array.lanes().len());
        let mut waiting = Vec::new();
        let mut answers = Answers::default();
        for Request { batch, caller } in requests {
            match self.admit(&mut group, batch) {
                Ok(shards) => waiting.push((caller, shards)),
                Err(error) => answers.add(caller, Err(error)),
            }
        }
        if waiting.is_empty() {
            return;
        }
        // A group without rows writes no version. Counting it would let this process run ahead of what the drives know by more
        // than the one step that `metadata::version` relies on.
        let step = u64::from(!group.rows.is_empty());
        let durable = self.replicas.apply(&self.array, group, self.next);
        self.next.sequence += step;
        let rows = |slot| durable.contains(&slot) && self.in_sync(slot);
        let rows = quorum_of_rows(&self.array, rows);
        for (caller, shards) in waiting {
            let shards = shards.iter().map(|shards| shards.quorum(|slot| durable.contains(&slot)));
            answers.add(caller, shards.fold(rows.clone(), and).result());
        }
        answers.send();
    }

    /// Takes a batch into the group if enough drives are in use and its checks hold.
    fn admit(
        &self,
        group: &mut Group,
        batch: Batch,
    ) -> Result<Vec<group::AttachedShards>, CommitError> {
        quorum_of_rows(&self.array, |slot| self.in_sync(slot)).result()?;
        let shards: Vec<_> = batch.attached.iter().map(group::AttachedShards::of).collect();
        for shards in &shards {
            shards.quorum(|slot| self.online(slot)).result()?;
        }
        group.check(self.array.replicas(), &batch.checks)?;
        group.add(batch);
        Ok(shards)
    }

    fn in_sync(&self, slot: usize) -> bool {
        self.array.lanes().get(slot).is_some_and(|lane| lane.in_sync())
    }

    fn online(&self, slot: usize) -> bool {
        self.array.lanes().get(slot).is_some_and(|lane| lane.online())
    }
}

/// How many drives there are of how many that are needed.
#[derive(Clone, Debug)]
struct Quorum {
    available: usize,
    needed: usize,
}

impl Quorum {
    fn result(self) -> Result<(), CommitError> {
        let Self { available, needed } = self;
        if available < needed {
            return Err(CommitError::Unavailable { available, needed });
        }
        Ok(())
    }
}

/// The worse of two.
fn and(a: Quorum, b: Quorum) -> Quorum {
    if a.available < a.needed { a } else { b }
}

fn quorum_of_rows(array: &Array, good: impl Fn(usize) -> bool) -> Quorum {
    let replicas = array.replicas().len();
    Quorum {
        available: (0..replicas).filter(|slot| good(*slot)).count(),
        needed: quorum::majority(replicas),
    }
}
