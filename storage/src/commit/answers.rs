//! The answers of one group on their way to those who wait for them.

use futures::channel::oneshot;
use tokio::runtime::Handle;

use crate::metadata::CommitError;

/// What a caller hears.
pub(super) type Answer = Result<(), CommitError>;

/// Answers that were not given yet. Dropping them gives them: a runtime that ends leaves nobody waiting.
#[derive(Default)]
pub(super) struct Answers(Vec<(oneshot::Sender<Answer>, Answer)>);

impl Answers {
    pub(super) fn add(&mut self, caller: oneshot::Sender<Answer>, answer: Answer) {
        self.0.push((caller, answer));
    }

    /// Gives them, by a task where there are several: a thread that wakes tasks one by one is preempted by each, and the
    /// worker that serves it is idle again before the next one is woken.
    pub(super) fn send(self, runtime: Option<&Handle>) {
        match runtime {
            Some(runtime) if self.0.len() > 1 => drop(runtime.spawn(async move { drop(self) })),
            _ => drop(self),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (caller, answer) in self.0.drain(..) {
            // Nobody waits any more when the request was dropped.
            let _ = caller.send(answer);
        }
    }
}
