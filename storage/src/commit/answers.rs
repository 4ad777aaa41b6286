//! The answers of one group on their way to those who wait for them.

use futures::channel::oneshot::{Receiver, Sender, channel};
use tokio::runtime::Handle;

use crate::metadata::CommitError;

/// What a caller hears.
type Answer = Result<(), CommitError>;

/// Who waits for a batch.
pub(super) struct Caller {
    answer: Sender<Answer>,
    /// Where it is a task; a thread outside of any runtime is told by the commit thread.
    runtime: Option<Handle>,
}

impl Caller {
    pub(super) fn new() -> (Self, Receiver<Answer>) {
        let (answer, outcome) = channel();
        (Self { answer, runtime: Handle::try_current().ok() }, outcome)
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
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn tasks_are_told_by_their_runtime_and_by_one_that_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let callers = |answers: &mut Answers| {
            let _inside = runtime.enter();
            let one = |_| {
                let (caller, outcome) = Caller::new();
                answers.add(caller, Ok(()));
                outcome
            };
            (0..3).map(one).collect::<Vec<_>>()
        };
        let mut answers = Answers::default();
        let mut waiting = callers(&mut answers);
        let (thread, outcome) = Caller::new();
        answers.add(thread, Ok(()));
        assert!(outcome.now_or_never().is_some(), "a thread is told at once");
        answers.send();
        assert!(waiting.iter_mut().all(|outcome| outcome.now_or_never().is_none()));
        runtime.block_on(futures::future::join_all(waiting));

        let mut answers = Answers::default();
        let waiting = callers(&mut answers);
        drop(runtime);
        answers.send();
        let told = waiting.into_iter().map(|outcome| outcome.now_or_never());
        assert!(told.into_iter().all(|told| matches!(told, Some(Ok(Ok(()))))));
    }
}
