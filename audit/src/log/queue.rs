//! What waits for the writer, bounded by bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use futures::channel::oneshot;

use crate::{
    encode::Encoded,
    segment::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
};

use super::{Committed, LogError, Pending, lock};

/// Records of one call, and whom to tell.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) records: Vec<Encoded>,
    bytes: usize,
    answer: oneshot::Sender<Result<Committed, LogError>>,
}

impl Job {
    pub(super) fn new(records: Vec<Encoded>) -> (Self, Pending) {
        let bytes = records.iter().map(Encoded::len_max).sum();
        let (answer, pending) = Pending::new();
        (Self { records, bytes, answer }, pending)
    }

    /// Completes the caller's promise, who may be gone.
    pub(super) fn answer(self, answer: Result<Committed, LogError>) {
        drop(self.answer.send(answer));
    }
}

/// What the writer should do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Commit these.
    Jobs(Vec<Job>),
    /// Nothing came in time.
    Idle,
    /// Everything is committed and the log is closing.
    Closing,
    /// A failure stopped the log.
    Stopped,
}

#[derive(Debug)]
enum State {
    Open,
    Closing,
    Poisoned(Arc<str>),
}

impl State {
    fn check(&self) -> Result<(), LogError> {
        match self {
            Self::Open => Ok(()),
            Self::Closing => Err(LogError::Closed),
            Self::Poisoned(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
        }
    }
}

#[derive(Debug)]
struct Inner {
    jobs: VecDeque<Job>,
    bytes: usize,
    state: State,
}

/// A queue of jobs with many producers and one consumer.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    arrived: Condvar,
    bytes_max: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        let inner = Inner { jobs: VecDeque::new(), bytes: 0, state: State::Open };
        Self { inner: Mutex::new(inner), arrived: Condvar::new(), bytes_max }
    }

    /// Adds a job at the end.
    pub(super) fn push(&self, job: Job) -> Result<(), LogError> {
        let mut inner = lock(&self.inner);
        inner.state.check()?;
        if inner.bytes + job.bytes > self.bytes_max {
            return Err(LogError::Full { queued_bytes: inner.bytes });
        }
        inner.bytes += job.bytes;
        inner.jobs.push_back(job);
        // The writer sleeps only on an empty queue, so only the first job has to wake it.
        let wake = inner.jobs.len() == 1;
        drop(inner);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes everything that fits into one batch, waiting at most `timeout` for the first job.
    pub(super) fn take(&self, timeout: Duration) -> Next {
        let inner = lock(&self.inner);
        let idle = |inner: &mut Inner| inner.jobs.is_empty() && matches!(inner.state, State::Open);
        let (mut inner, _) = self
            .arrived
            .wait_timeout_while(inner, timeout, idle)
            .unwrap_or_else(PoisonError::into_inner);
        match inner.state {
            State::Poisoned(_) => return Next::Stopped,
            State::Closing if inner.jobs.is_empty() => return Next::Closing,
            State::Open if inner.jobs.is_empty() => return Next::Idle,
            _ => {}
        }
        // One place is left for a record of the log's own.
        let (mut records, mut bytes) = (1, 0);
        let fits = |job: &&Job| {
            records += job.records.len();
            bytes += job.bytes;
            records <= BATCH_RECORDS_MAX && bytes <= BATCH_BYTES_MAX
        };
        // A single job is always taken: it was bounded when it was queued.
        let count = inner.jobs.iter().take_while(fits).count();
        let jobs: Vec<Job> = inner.jobs.drain(..count.max(1)).collect();
        inner.bytes -= jobs.iter().map(|job| job.bytes).sum::<usize>();
        Next::Jobs(jobs)
    }

    /// Refuses new jobs; what is queued will still be committed.
    pub(super) fn close(&self) {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Open) {
            inner.state = State::Closing;
        }
        self.arrived.notify_one();
    }

    /// Refuses everything from now on and fails what is queued. The first reason stays.
    pub(super) fn poison(&self, reason: &str) {
        let mut inner = lock(&self.inner);
        if !matches!(inner.state, State::Poisoned(_)) {
            inner.state = State::Poisoned(reason.into());
        }
        let State::Poisoned(reason) = &inner.state else { return };
        let error = LogError::Poisoned { reason: reason.clone() };
        inner.bytes = 0;
        let jobs = std::mem::take(&mut inner.jobs);
        drop(inner);
        self.arrived.notify_one();
        jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
    }

    /// Whether anything may still be written.
    pub(super) fn check(&self) -> Result<(), LogError> {
        lock(&self.inner).state.check()
    }

    /// The first failure.
    pub(super) fn poisoned(&self) -> Option<Arc<str>> {
        match &lock(&self.inner).state {
            State::Poisoned(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}
