//! How a thread that makes something of the log goes on after a failure.
//!
//! The index and the tiles are made of what is read from one copy of the log. A drive may fail, a disk be full, a record
//! be damaged. Each of it may pass, or another copy is read by then, so nothing is given up: what went wrong is said once,
//! and the work is tried again after a pause, or as soon as the log is read from somewhere else.
#![deny(clippy::indexing_slicing)]

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::log::Watch;

/// Pause after the first failure. Each one doubles it: what stays broken costs little.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// How often it is looked, during a pause, whether the log is read from somewhere else.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What keeps a thread from its work now; nothing while it goes well. Ownership: the thread writes it, anybody reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Whether there is any.
    pub(crate) fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns what was there before.
    fn replace(&self, what: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), what)
    }
}

/// The thread's side of it.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// What the thread does, as an operator knows it.
    work: &'static str,
    trouble: Trouble,
    watch: Watch,
    stop: Arc<AtomicBool>,
    pause: Duration,
}

impl Upkeep {
    /// Nothing is wrong yet. A pause ends with `stop`, or when the log does.
    pub(crate) fn new(work: &'static str, watch: Watch, stop: Arc<AtomicBool>) -> Self {
        Self { work, trouble: Trouble::default(), watch, stop, pause: PAUSE_MIN }
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Whether the thread is to end.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.watch.is_closed()
    }

    /// The work came to a good end for now.
    pub(crate) fn goes_well(&mut self) {
        if self.trouble.replace(None).is_some() {
            tracing::info!("{} goes on", self.work);
        }
        self.pause = PAUSE_MIN;
    }

    /// Says what went wrong, unless it is what went wrong before, and waits before the next attempt; not for long once the
    /// log `has_moved`. False where there is to be none.
    pub(crate) fn failed(
        &mut self,
        error: &dyn fmt::Display,
        has_moved: impl Fn() -> bool,
    ) -> bool {
        let what = error.to_string();
        if self.trouble.replace(Some(what.clone())).as_ref() != Some(&what) {
            tracing::error!(error = what, "{} stopped; it is tried again", self.work);
        }
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        while !self.is_over() && !has_moved() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.watch.wait_past_unless(u64::MAX, left.min(LOOK_INTERVAL), &self.stop);
        }
        !self.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_the_work_goes_well_and_a_stop_ends_the_pause() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut upkeep = Upkeep::new("the work", Watch::default(), Arc::clone(&stop));
        let trouble = upkeep.trouble().clone();
        assert!(!trouble.is_there());
        // Somewhere else there is nothing to wait for.
        assert!(upkeep.failed(&"no disk", || true));
        assert!(upkeep.failed(&"no disk", || true) && trouble.is_there());
        assert_eq!(upkeep.pause, PAUSE_MIN * 4);
        upkeep.goes_well();
        assert!(!trouble.is_there() && upkeep.pause == PAUSE_MIN);
        // Longer than any test runs.
        upkeep.pause = Duration::from_secs(86_400);
        stop.store(true, Ordering::Release);
        assert!(!upkeep.failed(&"no disk", || false) && trouble.is_there());
    }
}
