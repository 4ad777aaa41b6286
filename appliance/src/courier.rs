//! A thread that carries the log out for as long as the server runs: into CloudTrail's files, into the archive.
//!
//! It has a runtime of its own: nothing of it takes from the requests, and blocking on the log's growth or on a slow
//! network holds up only itself.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one look for new records may hold the thread; its end waits for it.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The running thread; dropping it ends it. Ownership: what the thread works with is its own.
#[derive(Debug)]
pub(crate) struct Courier {
    name: &'static str,
    stop: Stop,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whether a courier is to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits, but not beyond the end.
    pub(crate) async fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_set() {
            tokio::time::sleep(LOOK.min(time)).await;
        }
    }
}

impl Courier {
    /// Starts a thread of this name that does `work` until it returns, which it does soon once its [`Stop`] is set.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &'static str,
        work: impl FnOnce(Stop) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Stop::default();
        let theirs = stop.clone();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(work(theirs)),
                Err(error) => {
                    tracing::error!(%error, name, "a courier of the log could not begin")
                }
            }
        })?;
        Ok(Self { name, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and waits for it; what was under way comes again after the next start.
    pub(crate) fn stop(&self) {
        self.stop.0.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(name = self.name, "a courier of the log panicked");
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_courier_ends_when_it_is_told_to_and_not_before() {
        let (say, heard) = mpsc::channel();
        let courier = Courier::start("courier", move |stop| async move {
            let mut rounds = 0_u64;
            while !stop.is_set() {
                stop.rest(Duration::from_millis(1)).await;
                rounds += 1;
                let _ = say.send(rounds);
            }
            // Longer than any test runs.
            stop.rest(Duration::from_secs(86_400)).await;
        });
        let courier = courier.unwrap();
        while heard.recv().unwrap() < 3 {}
        courier.stop();
        // Nobody is left who could say anything.
        assert!(heard.iter().last().is_none_or(|rounds| rounds >= 3));
        courier.stop();
    }
}
