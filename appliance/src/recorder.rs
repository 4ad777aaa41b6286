//! The log as requests use it: appends that wait for room, waits that end, and an alarm while it takes nothing.
//!
//! A request never goes on without its record, and never waits for ever: when the log has not made a record durable
//! within the limit, the request is refused. The record may become durable later; it then stands there with an outcome
//! that says so. While the oldest record has waited for longer than the limit, nobody waits any more: requests are refused
//! as soon as they would have to.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use audit::{
    BlobError, Class, Clock, Committed, EventId, Log, LogError, Messenger, Pending, Record,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::AuditRules;
use crate::entropy::{self, Entropy};
use crate::telemetry::Metrics;

/// Between two looks whether a full disk has room again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Why a request is not on record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unrecorded {
    /// The log does not take it.
    #[error(transparent)]
    Refused(#[from] LogError),
    /// The log took it, and it is not durable; nobody knows whether it will be.
    #[error("the audit log has not made a record durable within {within:?}")]
    Late { within: Duration },
}

/// The log, and how long requests wait for it.
///
/// Ownership: one per server, shared by every request; `refusing` is the state of the alarm and nothing else.
pub struct Recorder {
    log: Arc<Log>,
    /// To the runtime that requests are tasks of.
    messenger: OnceLock<Messenger>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    rules: AuditRules,
    within: Duration,
    entropy: Entropy,
    refusing: AtomicBool,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Recorder {
    #[must_use]
    pub const fn new(
        log: Arc<Log>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        rules: AuditRules,
        within: Duration,
    ) -> Self {
        let (entropy, refusing) = (Entropy::new(), AtomicBool::new(false));
        Self { log, messenger: OnceLock::new(), clock, metrics, rules, within, entropy, refusing }
    }

    /// How far reads may be ahead of their records.
    #[must_use]
    pub const fn rules(&self) -> AuditRules {
        self.rules
    }

    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// What tells names of the same moment apart.
    #[must_use]
    pub(crate) const fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// A record with nothing filled in but its name.
    #[must_use]
    pub fn record(&self, class: Class, action: &str) -> Record {
        Record::new(class, action, EventId::new(self.now_us() / 1000, self.entropy.take()))
    }

    /// Queues records as one contiguous run; a full queue is waited for.
    ///
    /// # Errors
    /// [`Unrecorded::Refused`]; nothing was queued.
    pub async fn append(&self, records: &[Record]) -> Result<Pending, Unrecorded> {
        let deadline = Instant::now() + self.within;
        let messenger = self.messenger();
        loop {
            let appended = match messenger {
                Some(messenger) => self.log.append_for_task(records, messenger),
                None => self.log.append_all(records),
            };
            let full = match appended {
                Ok(pending) => return Ok(pending),
                Err(full @ LogError::Full { .. }) => full,
                Err(error) => return Err(self.refused(error)),
            };
            if timeout_at(deadline, self.log.room()).await.is_err() {
                return Err(self.refused(full));
            }
        }
    }

    /// The way to the tasks of the server's runtime. Whoever has a runtime of one thread may hold it up, and is told by the
    /// log itself.
    fn messenger(&self) -> Option<&Messenger> {
        let runtime = Handle::current();
        let is_shared = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        is_shared.then(|| self.messenger.get_or_init(|| messenger(runtime)))
    }

    /// Queues a record that nobody will wait for. A full queue makes a task of its own wait, for as long as it takes: the
    /// requests that can have such a record are bounded, and what they did is not forgotten.
    pub fn append_last(self: &Arc<Self>, record: Record) {
        match (self.log.append_unhurried(std::slice::from_ref(&record)), Handle::try_current()) {
            (Ok(()), _) => {}
            (Err(error @ (LogError::Full { .. } | LogError::NoSpace { .. })), Ok(runtime)) => {
                let recorder = Arc::clone(self);
                runtime.spawn(async move {
                    match error {
                        LogError::NoSpace { .. } => sleep(DISK_PAUSE).await,
                        _ => recorder.log.room().await,
                    }
                    recorder.append_last(record);
                });
            }
            (Err(error), _) => {
                tracing::error!(%error, "the outcome of a read could not be recorded");
            }
        }
    }

    /// Waits until records are durable.
    ///
    /// # Errors
    /// They are not, within the limit or for good.
    pub async fn durable(&self, pending: Pending) -> Result<Committed, Unrecorded> {
        match timeout_at(Instant::now() + self.patience(), pending).await {
            Ok(Ok(committed)) => {
                if self.refusing.load(Ordering::Relaxed) {
                    self.is_accepting();
                }
                Ok(committed)
            }
            Ok(Err(error)) => Err(self.refused(error)),
            Err(_) => {
                self.metrics.audit_refused();
                self.is_accepting();
                Err(Unrecorded::Late { within: self.within })
            }
        }
    }

    /// Puts what records refer to beside the log. The disk is waited for on a thread where that holds nobody up.
    ///
    /// # Errors
    /// It is not durable, within the limit or for good.
    pub async fn put_blobs(&self, blobs: Vec<String>) -> Result<(), Unfiled> {
        let within = self.patience();
        let log = Arc::clone(&self.log);
        let file =
            move || blobs.iter().try_for_each(|blob| log.put_blob(blob.as_bytes()).map(drop));
        let filed = tokio::task::spawn_blocking(file);
        match timeout_at(Instant::now() + within, filed).await {
            Ok(Ok(filed)) => Ok(filed?),
            // The task does not panic in a release; in a debug build it shows as this.
            Ok(Err(_)) => Err(Unfiled::Recorder(LogError::Closed.into())),
            Err(_) => {
                self.metrics.audit_refused();
                Err(Unfiled::Recorder(Unrecorded::Late { within: self.within }))
            }
        }
    }

    /// Whether requests can be recorded now; raises the alarm, or ends it.
    pub fn is_accepting(&self) -> bool {
        let accepting = !self.log.is_poisoned() && !self.log.is_full() && !self.is_stalled();
        self.metrics.audit_refusing(!accepting);
        let was_refusing = self.refusing.swap(!accepting, Ordering::Relaxed);
        match (was_refusing, accepting) {
            (false, false) => {
                let (waiting, full) = (self.log.waiting(), self.log.is_full());
                tracing::error!(
                    ?waiting,
                    full,
                    "the audit log takes no records; requests are refused"
                );
            }
            (true, true) => tracing::warn!("the audit log takes records again"),
            _ => {}
        }
        accepting
    }

    /// How long it is worth to wait now.
    fn patience(&self) -> Duration {
        if self.is_stalled() { Duration::ZERO } else { self.within }
    }

    fn is_stalled(&self) -> bool {
        self.log.waiting().is_some_and(|waiting| waiting >= self.within)
    }

    fn refused(&self, error: LogError) -> Unrecorded {
        self.metrics.audit_refused();
        self.is_accepting();
        error.into()
    }
}

/// Why policies could not be put beside the log.
#[derive(Debug, thiserror::Error)]
pub enum Unfiled {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Recorder(#[from] Unrecorded),
}

/// A new name of a record that no request makes.
pub(crate) fn event_id(now_us: u64) -> EventId {
    EventId::new(now_us / 1000, entropy::once())
}

/// Has a task of the runtime tell those who wait, so that they are woken from within it.
fn messenger(runtime: Handle) -> Messenger {
    Arc::new(move |answers| drop(runtime.spawn(async move { answers.give() })))
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::runtime::Builder;

    use super::*;
    use crate::kms::tests::audited::{log_in, recorder_on};

    #[test]
    fn nobody_waits_for_a_runtime_that_is_held_up() {
        let scratch = tempfile::tempdir().unwrap();
        let log = log_in(scratch.path());
        let recorder = recorder_on(&log);
        let append = async || {
            let record = recorder.record(Class::Audit, "audit:test");
            let pending = recorder.append(&[record]).await.unwrap();
            recorder.durable(pending).await.unwrap()
        };
        // A courier has a runtime of its own, and does other things in its thread afterwards.
        let held_up = Builder::new_current_thread().enable_time().build().unwrap();
        held_up.block_on(append());
        let server = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        for _ in 0..10 {
            server.block_on(join_all((0..20).map(|_| append())));
        }
        drop(held_up);
    }
}
