//! The durable size, for those who follow it.

use std::{
    sync::{
        Arc, Condvar, Mutex,
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
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    /// The least size that anybody waits to see passed. Those who wait for more, or only for time to pass, are not woken
    /// by each of a thousand batches a second.
    past: Option<u64>,
}

impl Waiting {
    /// Notes that somebody goes on waiting.
    fn wait_past(&mut self, size: u64) {
        self.past = Some(self.past.map_or(size, |past| past.min(size)));
    }
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
        lock(&self.inner.waiting).closed
    }

    /// Waits until there are more than `size` records, the log ends, or `timeout` passed; returns the size then.
    pub fn wait_past(&self, size: u64, timeout: Duration) -> u64 {
        self.wait(size, timeout, &|| false);
        self.size()
    }

    /// The same, but returns at once when `stop` is set and [`Watch::wake`] was called.
    pub(crate) fn wait_past_unless(&self, size: u64, timeout: Duration, stop: &AtomicBool) {
        self.wait(size, timeout, &|| stop.load(Ordering::Acquire));
    }

    fn wait(&self, size: u64, timeout: Duration, stopped: &dyn Fn() -> bool) {
        let goes_on = |waiting: &mut Waiting| {
            let goes_on = !waiting.closed && self.size() <= size && !stopped();
            if goes_on {
                waiting.wait_past(size);
            }
            goes_on
        };
        let waiting = lock(&self.inner.waiting);
        drop(self.inner.changed.wait_timeout_while(waiting, timeout, goes_on));
    }

    /// Makes everybody who waits look again.
    pub(crate) fn wake(&self) {
        drop(lock(&self.inner.waiting));
        self.inner.changed.notify_all();
    }

    pub(super) fn advance(&self, size: u64) {
        // The lock makes sure that nobody checks before and sleeps after.
        let mut waiting = lock(&self.inner.waiting);
        self.inner.size.store(size, Ordering::Release);
        // Who is woken and has to wait on says so again.
        let wake = waiting.past.take_if(|past| *past < size).is_some();
        drop(waiting);
        if wake {
            self.inner.changed.notify_all();
        }
    }

    pub(super) fn close(&self) {
        lock(&self.inner.waiting).closed = true;
        self.inner.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn until_waiting(watch: &Watch, past: u64) {
        let deadline = Instant::now() + LONG;
        while lock(&watch.inner.waiting).past != Some(past) {
            assert!(Instant::now() < deadline, "nobody waits for {past}");
            thread::yield_now();
        }
    }

    #[test]
    fn who_waits_is_woken_when_it_concerns_him() {
        let watch = Watch::new(3);
        assert_eq!(watch.wait_past(2, LONG), 3);
        assert_eq!(watch.wait_past(3, Duration::ZERO), 3);
        let watch = Watch::new(3);
        thread::scope(|scope| {
            let far = scope.spawn(|| watch.wait_past(20, LONG));
            until_waiting(&watch, 20);
            let near = scope.spawn(|| watch.wait_past(10, LONG));
            until_waiting(&watch, 10);
            watch.advance(10);
            assert_eq!(lock(&watch.inner.waiting).past, Some(10), "nobody was woken");
            watch.advance(11);
            assert_eq!(near.join().unwrap(), 11);
            // The other one was woken with it, and waits on.
            until_waiting(&watch, 20);
            watch.advance(21);
            assert_eq!(far.join().unwrap(), 21);
        });
    }

    #[test]
    fn the_end_and_a_stop_wake_everybody() {
        let (watch, stop) = (Watch::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let stopped = scope.spawn(|| watch.wait_past_unless(u64::MAX, LONG, &stop));
            until_waiting(&watch, u64::MAX);
            stop.store(true, Ordering::Release);
            watch.wake();
            stopped.join().unwrap();
            let ended = scope.spawn(|| watch.wait_past(5, LONG));
            until_waiting(&watch, 5);
            watch.close();
            assert_eq!(ended.join().unwrap(), 0);
        });
    }
}
