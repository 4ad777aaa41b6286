//! How a destination stands, for those who ask while its worker works.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::destination::Destination;

/// One destination now.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub name: String,
    pub kind: &'static str,
    pub format: &'static str,
    /// What a confirmation of it means: `indexed`, `stored`, `accepted` or `sent`.
    pub guarantee: &'static str,
    pub endpoint: String,
    pub filter: String,
    pub state: State,
    /// The first record that is not done with.
    pub next: u64,
    /// End of the durable log.
    pub log_size: u64,
    pub lag_records: u64,
    /// Age of the oldest record that waits; 0 when none does.
    pub lag_seconds: u64,
    /// Since the start of the server.
    pub delivered: u64,
    pub rejected: u64,
    pub failed_attempts: u64,
    /// RFC 3339.
    pub last_confirmed: Option<String>,
    pub last_error: Option<String>,
    pub last_error_time: Option<String>,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing stands in its way.
    Delivering,
    /// The last attempt failed; it waits for the next.
    Retrying,
    /// It waits for `siem resume` or `siem replay`.
    Paused,
    /// It has ended, with the reason as its last error.
    Stopped,
}

/// What worker and askers share.
#[derive(Debug)]
pub(super) struct Shared {
    status: Mutex<Status>,
    stopping: std::sync::atomic::AtomicBool,
    stop: Notify,
}

impl Shared {
    pub(super) fn new(destination: &Destination) -> Self {
        let status = Status {
            name: destination.name.clone(),
            kind: destination.kind.as_str(),
            format: destination.format.as_str(),
            guarantee: destination.guarantee().as_str(),
            endpoint: destination.endpoint.url.clone(),
            filter: destination.filter.clone(),
            state: State::Delivering,
            next: 0,
            log_size: 0,
            lag_records: 0,
            lag_seconds: 0,
            delivered: 0,
            rejected: 0,
            failed_attempts: 0,
            last_confirmed: None,
            last_error: None,
            last_error_time: None,
        };
        Self { status: Mutex::new(status), stopping: false.into(), stop: Notify::new() }
    }

    pub(super) fn status(&self) -> Status {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock());
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Release);
        // The one worker is waiting, or will find the permit that this leaves.
        self.stop.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(super) async fn stopped(&self) {
        if !self.is_stopping() {
            self.stop.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
