//! The answers of one group on their way to those who wait for them.

use futures::channel::oneshot::{Receiver, Sender, channel};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::metadata::CommitError;

/// What a caller hears.
type Answer = Result<(), CommitError>;

/// Who waits for a batch.
pub(super) struct Caller {
    answer: Sender<Answer>,
    /// Where it is a task. Who has no runtime, or one of a single thread, which may be held up, is told by the commit thread.
    runtime: Option<Handle>,
}

impl Caller {
    pub(super) fn new() -> (Self, Receiver<Answer>) {
        let (answer, outcome) = channel();
        let runtime = Handle::try_current().ok();
        let is_shared = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        (Self { answer, runtime: runtime.filter(is_shared) }, outcome)
    }
}

/// Answers that were not given yet. Dropping them gives them: a runtime that ends leaves nobody waiting.
#[derive(Default)]
pub(super) struct Answers {
    callers: Vec<(Sender<Answer>, Answer)>,
    runtime: Option<Handle>,
}

impl Answers {
    /// Takes an answer along, or gives it now to who is no task.
    pub(super) fn add(&mut self, caller: Caller, answer: Answer) {
        match caller.runtime {
            Some(runtime) => {
                self.runtime = Some(runtime);
                self.callers.push((caller.answer, answer));
            }
            None => tell(caller.answer, answer),
        }
    }

    /// Gives them, by a task where there are several: a thread that wakes tasks one by one is preempted by each, and the
    /// worker that serves it is idle again before the next one is woken.
    pub(super) fn send(mut self) {
        match self.runtime.take() {
            Some(runtime) if self.callers.len() > 1 => drop(runtime.spawn(async { drop(self) })),
            _ => drop(self),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.callers.drain(..).for_each(|(caller, answer)| tell(caller, answer));
    }
}

fn tell(caller: Sender<Answer>, answer: Answer) {
    // Nobody waits any more when the request was dropped.
    let _ = caller.send(answer);
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn add(runtime: &Runtime, answers: &mut Answers) -> Vec<Receiver<Answer>> {
        let _inside = runtime.enter();
        let one = |_| {
            let (caller, outcome) = Caller::new();
            answers.add(caller, Ok(()));
            outcome
        };
        (0..3).map(one).collect()
    }

    fn is_told(mut outcome: Receiver<Answer>) -> bool {
        matches!(outcome.try_recv(), Ok(Some(Ok(()))))
    }

    #[test]
    fn tasks_are_told_by_their_runtime_or_by_its_end() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let mut answers = Answers::default();
        let waiting = add(&runtime, &mut answers);
        assert!(waiting.into_iter().all(|outcome| !is_told(outcome)));

        let waiting = add(&runtime, &mut answers);
        answers.send();
        let told = runtime.block_on(futures::future::join_all(waiting));
        assert!(told.iter().all(|told| matches!(told, Ok(Ok(())))));

        let mut answers = Answers::default();
        let waiting = add(&runtime, &mut answers);
        drop(runtime);
        answers.send();
        assert!(waiting.into_iter().all(is_told));
    }

    #[test]
    fn who_may_hold_up_a_runtime_is_told_at_once() {
        let mut answers = Answers::default();
        let runtime = Builder::new_current_thread().build().unwrap();
        assert!(add(&runtime, &mut answers).into_iter().all(is_told));
        let (thread, outcome) = Caller::new();
        answers.add(thread, Ok(()));
        assert!(is_told(outcome));
    }
}
