//! The drives' ends of a commit: one thread per drive, so that all drives sync at the same time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::group::Group;
use crate::drive::DriveWrite;
use crate::drive::array::Array;
use crate::drive::lane::Lane;
use crate::metadata::version::Version;

struct Work {
    rows: Arc<Vec<DriveWrite>>,
    shards: Vec<DriveWrite>,
    version: Version,
    durable: Sender<(usize, bool)>,
}

/// One sender per slot; `None` where there is no drive.
pub(super) struct Replicas {
    queues: Vec<Option<SyncSender<Work>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Replicas {
    pub(super) fn start(array: &Array) -> std::io::Result<Self> {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for (slot, lane) in array.lanes().iter().enumerate() {
            if !lane.online() {
                queues.push(None);
                continue;
            }
            // One group is under way at a time, so one place is enough.
            let (queue, work) = sync_channel(1);
            let lane = Arc::clone(lane);
            let run = move || serve(slot, &lane, &work);
            let name = format!("storage-commit-d{slot}");
            threads.push(std::thread::Builder::new().name(name).spawn(run)?);
            queues.push(Some(queue));
        }
        Ok(Self { queues, threads })
    }

    /// Writes a group to all drives in use and returns the slots where all that they had to write is durable, be it nothing.
    pub(super) fn apply(&self, array: &Array, group: Group, version: Version) -> Vec<usize> {
        let rows = Arc::new(group.rows);
        let (durable, outcomes) = channel();
        let replicas = array.replicas().len();
        for ((slot, shards), queue) in group.shards.into_iter().enumerate().zip(&self.queues) {
            let lane = &array.lanes()[slot];
            // A stale replica may still take shards, but rows only from its next open on.
            let rows = if slot < replicas && lane.in_sync() { &rows } else { &Arc::default() };
            let work = Work { rows: Arc::clone(rows), shards, version, durable: durable.clone() };
            if let (Some(queue), true) = (queue, lane.online()) {
                // A thread that is gone answers nothing and so counts as not durable.
                let _ = queue.send(work);
            }
        }
        drop(durable);
        outcomes.iter().filter(|(_, durable)| *durable).map(|(slot, _)| slot).collect()
    }
}

fn serve(slot: usize, lane: &Lane, queue: &Receiver<Work>) {
    go_first();
    for Work { rows, shards, version, durable } in queue {
        let mut writes = shards;
        if !rows.is_empty() {
            writes.extend(rows.iter().cloned());
            writes.push(version.write());
        }
        let idle = writes.is_empty();
        let applied =
            lane.drive().and_then(|drive| if idle { Ok(()) } else { drive.apply(&writes) });
        if let Err(error) = &applied {
            lane.fail(error);
        }
        // The commit thread waits for every answer.
        let _ = durable.send((slot, applied.is_ok()));
    }
}

/// Gives the calling thread precedence over those that serve requests, which wait for its sync. Without the right to it, it
/// stays as it is.
fn go_first() {
    const NICENESS: i32 = -10;
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.queues.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
