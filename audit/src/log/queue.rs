//! What waits for the writer, bounded by bytes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::channel::oneshot;

use crate::{
    encode::Encoded,
    segment::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
};

use super::{
    LogError, Pending,
    answers::{Answer, Messenger},
    lock,
};

/// How long records that nobody waits for stay in the queue; those that somebody waits for take them along.
const LINGER: Duration = Duration::from_millis(5);
/// A queue that is half a batch is worth a commit in any case.
const BYTES_ENOUGH: usize = BATCH_BYTES_MAX / 2;
/// Callers who must have been waiting at the last commit for the next one to give them time to come back.
const CALLERS_MANY: usize = 4;
/// That time, in commits like the last one. A caller of a server has an answer to send and a request to read before its
/// next record, and a processor that makes commits of two or three records meanwhile is one that serves nobody.
const GATHER_COMMITS: u32 = 4;
/// That time, at most.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// Records of one call, and whom to tell.
pub(super) struct Job {
    pub(super) records: Vec<Encoded>,
    bytes: usize,
    since: Instant,
    caller: Option<oneshot::Sender<Answer>>,
    /// Who takes the answer there; the writer's own thread if nobody does.
    messenger: Option<Messenger>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Job {
    pub(super) fn new(records: Vec<Encoded>, messenger: Option<Messenger>) -> (Self, Pending) {
        let (caller, pending) = Pending::new();
        (Self { caller: Some(caller), messenger, ..Self::unhurried(records) }, pending)
    }

    /// Records that nobody waits for.
    pub(super) fn unhurried(records: Vec<Encoded>) -> Self {
        let bytes = records.iter().map(Encoded::len_max).sum();
        Self { records, bytes, since: Instant::now(), caller: None, messenger: None }
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.caller.is_some()
    }

    /// Completes the caller's promise, who may be gone, on this thread.
    pub(super) fn answer(self, answer: Answer) {
        if let Some(caller) = self.caller {
            drop(caller.send(answer));
        }
    }

    /// Who waits, and who goes there.
    pub(super) fn into_caller(self) -> (Option<oneshot::Sender<Answer>>, Option<Messenger>) {
        (self.caller, self.messenger)
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
    /// Jobs that somebody waits for.
    awaited: usize,
    /// Since when one is there that nobody waits for.
    lingering: Option<Instant>,
    /// As many awaited jobs end the writer's gathering; 0 while it does not gather.
    wanted: usize,
    state: State,
    /// Free bytes, while there are too few to take records.
    full: Option<u64>,
    /// When the oldest job came that the writer has taken and not answered.
    in_work: Option<Instant>,
    /// Whom to wake when the queue gets shorter.
    want_room: Vec<oneshot::Sender<()>>,
}

impl Inner {
    fn check(&self) -> Result<(), LogError> {
        self.state.check()?;
        self.full.map_or(Ok(()), |free_bytes| Err(LogError::NoSpace { free_bytes }))
    }

    /// Whether a commit has a reason other than time.
    fn is_due(&self) -> bool {
        if self.full.is_some() {
            return !matches!(self.state, State::Open);
        }
        self.awaited > 0 || self.bytes >= BYTES_ENOUGH || !matches!(self.state, State::Open)
    }

    /// Whether the writer, who gathers, has something to wait for.
    fn is_gathering(&self) -> bool {
        self.awaited < self.wanted
            && self.bytes < BYTES_ENOUGH
            && self.full.is_none()
            && matches!(self.state, State::Open)
    }
}

/// How the last commit went.
///
/// Where many callers wait, those whom it answered come back at once with their next record. A commit that began with
/// the first of them would make all others wait for the one after; a sync costs the same for one record as for sixty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Callers that there seem to be: those it answered, and those who came meanwhile.
    callers: usize,
    /// Until when the next one may wait for them.
    until: Option<Instant>,
}

impl Pace {
    pub(super) fn after(callers: usize, began: Instant) -> Self {
        let now = Instant::now();
        let gather = (now.saturating_duration_since(began) * GATHER_COMMITS).min(GATHER_MAX);
        Self { callers, until: (callers >= CALLERS_MANY).then(|| now + gather) }
    }
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
        let inner = Inner {
            jobs: VecDeque::new(),
            bytes: 0,
            awaited: 0,
            lingering: None,
            wanted: 0,
            state: State::Open,
            full: None,
            in_work: None,
            want_room: Vec::new(),
        };
        Self { inner: Mutex::new(inner), arrived: Condvar::new(), bytes_max }
    }

    /// Adds a job at the end.
    pub(super) fn push(&self, job: Job) -> Result<(), LogError> {
        let mut inner = lock(&self.inner);
        inner.check()?;
        if inner.bytes + job.bytes > self.bytes_max {
            return Err(LogError::Full { queued_bytes: inner.bytes });
        }
        let (was_due, gathers) = (inner.is_due(), inner.is_gathering());
        inner.bytes += job.bytes;
        if job.is_awaited() {
            inner.awaited += 1;
        } else if inner.lingering.is_none() {
            inner.lingering = Some(Instant::now());
        }
        inner.jobs.push_back(job);
        // The writer sleeps until there is enough, or until something is due; for the first that is not, it must look at the
        // clock.
        let wake = match gathers {
            true => !inner.is_gathering(),
            false => inner.jobs.len() == 1 || was_due != inner.is_due(),
        };
        drop(inner);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Completes when the queue has become shorter, and at once when it is empty.
    pub(super) fn room(&self) -> oneshot::Receiver<()> {
        let (wake, room) = oneshot::channel();
        let mut inner = lock(&self.inner);
        if inner.jobs.is_empty() {
            wake_all(vec![wake]);
        } else {
            // Whoever stopped waiting left a closed channel behind.
            inner.want_room.retain(|wake| !wake.is_canceled());
            inner.want_room.push(wake);
        }
        room
    }

    /// How long the oldest record that is not durable has waited.
    pub(super) fn waiting(&self) -> Option<Duration> {
        let inner = lock(&self.inner);
        let oldest = inner.in_work.or_else(|| inner.jobs.front().map(|job| job.since));
        oldest.map(|since| since.elapsed())
    }

    /// Takes everything that fits into one batch, waiting at most `timeout` for the first job. What was taken before is
    /// answered by then.
    pub(super) fn take(&self, timeout: Duration, pace: Pace) -> Next {
        let mut inner = lock(&self.inner);
        inner.in_work = None;
        if let Some(until) = pace.until {
            inner = self.gather(inner, pace.callers, until);
        }
        inner = self.wait(inner, Instant::now() + timeout, |inner, idle| {
            let until = inner.lingering.filter(|_| inner.full.is_none());
            let until = until.map_or(idle, |since| since + LINGER);
            (!inner.is_due()).then_some(until)
        });
        match inner.state {
            State::Poisoned(_) => return Next::Stopped,
            State::Closing if inner.jobs.is_empty() || inner.full.is_some() => {
                return Next::Closing;
            }
            State::Open if inner.jobs.is_empty() || inner.full.is_some() => return Next::Idle,
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
        inner.awaited -= jobs.iter().filter(|job| job.is_awaited()).count();
        let left = inner.jobs.iter().any(|job| !job.is_awaited());
        inner.lingering = inner.lingering.filter(|_| left);
        inner.in_work = jobs.first().map(|job| job.since);
        let wake = std::mem::take(&mut inner.want_room);
        drop(inner);
        wake_all(wake);
        Next::Jobs(jobs)
    }

    /// Waits for callers until `latest`, and then steps aside once: while the processors are busy with requests, those that
    /// are ready to come cannot before this thread lets theirs run. Where nothing else wants to run, that takes no time.
    fn gather<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        callers: usize,
        latest: Instant,
    ) -> MutexGuard<'a, Inner> {
        // ORDER: before the first of them is waited for, so that the writer is woken once for all of them.
        inner.wanted = callers;
        inner = self.wait(inner, latest, |inner, until| inner.is_gathering().then_some(until));
        inner.wanted = 0;
        if inner.bytes < BYTES_ENOUGH {
            drop(inner);
            std::thread::yield_now();
            inner = lock(&self.inner);
        }
        inner
    }

    /// Waits as long as `until` says, which is asked again whenever something arrived.
    fn wait<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        latest: Instant,
        until: impl Fn(&Inner, Instant) -> Option<Instant>,
    ) -> MutexGuard<'a, Inner> {
        while let Some(until) = until(&inner, latest) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.arrived.wait_timeout(inner, left);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        inner
    }

    /// Jobs that somebody waits for.
    pub(super) fn awaited(&self) -> usize {
        lock(&self.inner).awaited
    }

    /// Records that are queued.
    pub(super) fn records(&self) -> usize {
        lock(&self.inner).jobs.iter().map(|job| job.records.len()).sum()
    }

    /// Refuses jobs until [`Queue::accept`], because the disk is full; those that somebody waits for at once, those that
    /// nobody waits for stay.
    pub(super) fn refuse(&self, free_bytes: u64) {
        let mut inner = lock(&self.inner);
        inner.full = Some(free_bytes);
        let jobs = std::mem::take(&mut inner.jobs);
        (inner.bytes, inner.awaited, inner.lingering, inner.in_work) = (0, 0, None, None);
        let wake = std::mem::take(&mut inner.want_room);
        drop(inner);
        wake_all(wake);
        self.give_up(jobs, free_bytes);
    }

    /// Answers jobs that the disk has no room for. What nobody waits for is kept until it has.
    pub(super) fn give_up(&self, jobs: impl IntoIterator<Item = Job>, free_bytes: u64) {
        let (awaited, kept): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_awaited);
        let mut inner = lock(&self.inner);
        for job in kept.into_iter().rev() {
            inner.bytes += job.bytes;
            inner.lingering.get_or_insert_with(Instant::now);
            inner.jobs.push_front(job);
        }
        drop(inner);
        awaited.into_iter().for_each(|job| job.answer(Err(LogError::NoSpace { free_bytes })));
    }

    /// Takes jobs again.
    pub(super) fn accept(&self) {
        lock(&self.inner).full = None;
    }

    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.inner).full.is_some()
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
        (inner.bytes, inner.awaited, inner.lingering) = (0, 0, None);
        inner.in_work = None;
        let jobs = std::mem::take(&mut inner.jobs);
        let wake = std::mem::take(&mut inner.want_room);
        drop(inner);
        self.arrived.notify_one();
        wake_all(wake);
        jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
    }

    /// Whether anything may still be written.
    pub(super) fn check(&self) -> Result<(), LogError> {
        lock(&self.inner).check()
    }

    /// The first failure.
    pub(super) fn poisoned(&self) -> Option<Arc<str>> {
        match &lock(&self.inner).state {
            State::Poisoned(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Who has stopped waiting is not there to hear it.
fn wake_all(wake: Vec<oneshot::Sender<()>>) {
    for wake in wake {
        let _ = wake.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encode::encode,
        record::{Class, EventId, Record},
    };

    const LONG: Duration = Duration::from_secs(60);

    fn records() -> Vec<Encoded> {
        let record = Record::new(Class::Audit, "audit:test", EventId::new(0, [0; 10]));
        vec![encode(&record, "n").unwrap()]
    }

    fn taken(next: Next) -> usize {
        match next {
            Next::Jobs(jobs) => jobs.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_waits_for_lingers_and_goes_along() {
        let queue = Queue::new(1 << 20);
        let began = Instant::now();
        queue.push(Job::unhurried(records())).unwrap();
        queue.push(Job::unhurried(records())).unwrap();
        assert_eq!(taken(queue.take(LONG, Pace::default())), 2);
        assert!(began.elapsed() >= LINGER);
        queue.push(Job::unhurried(records())).unwrap();
        let (job, _pending) = Job::new(records(), None);
        queue.push(job).unwrap();
        assert_eq!(queue.awaited(), 1);
        assert_eq!(taken(queue.take(LONG, Pace::default())), 2);
        assert_eq!(queue.awaited(), 0);
        assert!(matches!(queue.take(Duration::ZERO, Pace::default()), Next::Idle));
        queue.push(Job::unhurried(records())).unwrap();
        queue.close();
        assert_eq!(taken(queue.take(LONG, Pace::default())), 1);
        assert!(matches!(queue.take(LONG, Pace::default()), Next::Closing));
    }

    #[test]
    fn a_full_disk_answers_who_waits_and_keeps_the_rest() {
        let queue = Queue::new(1 << 20);
        queue.push(Job::unhurried(records())).unwrap();
        let (job, pending) = Job::new(records(), None);
        queue.push(job).unwrap();
        queue.refuse(7);
        assert_eq!(pending.wait(), Err(LogError::NoSpace { free_bytes: 7 }));
        assert_eq!(queue.check(), Err(LogError::NoSpace { free_bytes: 7 }));
        assert!(matches!(queue.take(Duration::ZERO, Pace::default()), Next::Idle));
        assert!(matches!(queue.push(Job::unhurried(records())), Err(LogError::NoSpace { .. })));
        queue.accept();
        queue.push(Job::unhurried(records())).unwrap();
        assert_eq!(taken(queue.take(LONG, Pace::default())), 2);
        queue.refuse(7);
        queue.close();
        assert!(matches!(queue.take(LONG, Pace::default()), Next::Closing));
    }

    #[test]
    fn callers_who_were_answered_are_given_time_to_come_back() {
        let queue = Queue::new(1 << 20);
        let push = |count: usize| -> Vec<Pending> {
            let jobs = (0..count).map(|_| Job::new(records(), None));
            jobs.map(|(job, pending)| queue.push(job).map(|()| pending).unwrap()).collect()
        };
        // As long as it takes: the deadline does not come, the callers do.
        let pace = Pace { callers: 10, until: Some(Instant::now() + LONG) };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| taken(queue.take(LONG, pace)));
            let pending = push(10);
            assert_eq!(writer.join().unwrap(), 10);
            drop(pending);
        });
        // They do not come back: the deadline does.
        let late = Pace { callers: 10, until: Some(Instant::now()) };
        let _pending = push(3);
        assert_eq!(taken(queue.take(LONG, late)), 3);
        // A few callers are not waited for.
        assert!(Pace::after(CALLERS_MANY - 1, Instant::now()).until.is_none());
        assert!(Pace::after(CALLERS_MANY, Instant::now()).until.is_some());
    }
}
