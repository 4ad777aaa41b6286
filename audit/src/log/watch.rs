//! The durable size, for those who follow it.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::lock;

/// A handle on the number of durable records; it only grows.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    size: AtomicU64,
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    pub(super) fn new(size: u64) -> Self {
        let watch = Self::default();
        watch.inner.size.store(size, Ordering::Release);
        watch
    }

    /// Records that survive a power loss now.
    pub fn size(&self) -> u64 {
        self.inner.size.load(Ordering::Acquire)
    }

    /// Whether nothing more will come.
    pub fn is_closed(&self) -> bool {
        *lock(&self.inner.closed)
    }

    /// Waits until there are more than `size` records, the log ends, or `timeout` passed; returns the size then.
    pub fn wait_past(&self, size: u64, timeout: Duration) -> u64 {
        let closed = lock(&self.inner.closed);
        let waiting = |closed: &mut bool| !*closed && self.size() <= size;
        let guard = self
            .inner
            .changed
            .wait_timeout_while(closed, timeout, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        self.size()
    }

    /// The same, but returns at once when `stop` is set and [`Watch::wake`] was called.
    pub(crate) fn wait_past_unless(&self, size: u64, timeout: Duration, stop: &AtomicBool) {
        let closed = lock(&self.inner.closed);
        let waiting =
            |closed: &mut bool| !*closed && self.size() <= size && !stop.load(Ordering::Acquire);
        drop(self.inner.changed.wait_timeout_while(closed, timeout, waiting));
    }

    /// Makes everybody who waits look again.
    pub(crate) fn wake(&self) {
        drop(lock(&self.inner.closed));
        self.inner.changed.notify_all();
    }

    pub(super) fn advance(&self, size: u64) {
        // The lock makes sure that nobody checks before and sleeps after.
        let guard = lock(&self.inner.closed);
        self.inner.size.store(size, Ordering::Release);
        drop(guard);
        self.inner.changed.notify_all();
    }

    pub(super) fn close(&self) {
        *lock(&self.inner.closed) = true;
        self.inner.changed.notify_all();
    }
}
