//! The answers of one commit on their way to those who wait for them.
//!
//! A commit answers many callers at once. The thread that wakes tasks one by one is preempted by each: a worker that was
//! idle takes the processor, serves that one, and is idle again before the next is woken. Handed over together, they are
//! woken by a task among them.

use std::{fmt, sync::Arc};

use futures::channel::oneshot;

use super::{Committed, LogError, queue::Job};

/// What a caller hears.
pub(super) type Answer = Result<Committed, LogError>;

/// Takes the answers of a commit to the executor whose tasks wait for them, where [`Answers::give`] is called. That must
/// be one that goes on while a caller holds up a thread: the answers are those of other callers, too.
pub type Messenger = Arc<dyn Fn(Answers) + Send + Sync>;

/// Answers that were not given yet. Dropping them gives them: an executor that ends leaves nobody waiting.
#[derive(Default)]
#[must_use]
pub struct Answers {
    callers: Vec<(oneshot::Sender<Answer>, Answer)>,
    messenger: Option<Messenger>,
}

impl Answers {
    /// Takes an answer along, or gives it now if nobody comes for it.
    pub(super) fn add(&mut self, job: Job, answer: Answer) {
        match job.into_caller() {
            (Some(caller), Some(messenger)) => {
                self.messenger = Some(messenger);
                self.callers.push((caller, answer));
            }
            (caller, _) => tell(caller, answer),
        }
    }

    /// Sends the messenger, if there is more than one to tell.
    pub(super) fn send(mut self) {
        match self.messenger.take() {
            Some(messenger) if self.callers.len() > 1 => messenger(self),
            _ => self.give(),
        }
    }

    /// Tells all callers, on this thread.
    pub fn give(self) {
        drop(self);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (caller, answer) in self.callers.drain(..) {
            tell(Some(caller), answer);
        }
    }
}

fn tell(caller: Option<oneshot::Sender<Answer>>, answer: Answer) {
    if let Some(caller) = caller {
        // Who has stopped waiting is not there to hear it.
        let _ = caller.send(answer);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("callers", &self.callers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::log::Pending;

    fn committed(first: u64) -> Answer {
        Ok(Committed { first, end: first + 1 })
    }

    fn is_told(pending: &mut Pending) -> bool {
        futures::FutureExt::now_or_never(pending).is_some()
    }

    #[test]
    fn a_messenger_takes_all_answers_of_a_commit() {
        let taken: Arc<Mutex<Vec<Answers>>> = Arc::default();
        let messenger: Messenger = Arc::new({
            let taken = Arc::clone(&taken);
            move |answers| taken.lock().unwrap().push(answers)
        });
        let job = |messenger: &Messenger| Job::new(Vec::new(), Some(Arc::clone(messenger)));
        let (mut answers, mut waiting) = (Answers::default(), Vec::new());
        for first in 0..3 {
            let (job, pending) = job(&messenger);
            answers.add(job, committed(first));
            waiting.push(pending);
        }
        // A thread that waits is told at once.
        let (direct, mut thread) = Job::new(Vec::new(), None);
        answers.add(direct, committed(3));
        assert!(is_told(&mut thread));
        answers.send();
        assert!(!waiting.iter_mut().any(is_told));
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        assert_eq!(taken.len(), 1);
        // An executor that ends drops them.
        drop(taken);
        let told = waiting.into_iter().map(Pending::wait).collect::<Vec<_>>();
        assert_eq!(told, (0..3).map(committed).collect::<Vec<_>>());

        let (single, mut pending) = job(&messenger);
        let mut answers = Answers::default();
        answers.add(single, committed(4));
        answers.send();
        assert!(is_told(&mut pending), "one caller needs no messenger");
    }
}
