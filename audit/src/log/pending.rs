//! The promise that an append returns.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::channel::oneshot;

use super::{Committed, LogError, answers::Answer};

/// Completes once the records are durable. Dropping it does not take the records back.
#[derive(Debug)]
#[must_use = "a record is only durable once its promise completed"]
pub struct Pending {
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    pub(super) fn new() -> (oneshot::Sender<Answer>, Self) {
        let (sender, answer) = oneshot::channel();
        (sender, Self { answer })
    }

    /// Blocks until the records are durable. For threads; tasks await instead.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] when the write failed, [`LogError::Closed`] when the log ended first.
    pub fn wait(self) -> Result<Committed, LogError> {
        futures::executor::block_on(self)
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(LogError::Closed)))
    }
}
