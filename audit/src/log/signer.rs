//! The signer thread: durable sizes become signed heads.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{checkpoint::Head, tip::Tip};

use super::{Clock, Shared, heads::Heads, lock};

/// Between two attempts to write a head while the disk is full.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// The newest durable head; older ones that were not signed in time are skipped.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    head: Option<Head>,
    /// The newest durable head, signed or not.
    latest: Option<Head>,
    /// The signer sleeps until there is a head. While it lets heads pile up it is left alone: a batch comes a thousand
    /// times a second, and each waking costs both threads more than hashing a record.
    idle: bool,
    closed: bool,
}

impl Mailbox {
    pub(super) fn put(&self, head: Head) {
        let mut inner = lock(&self.inner);
        (inner.head, inner.latest) = (Some(head), Some(head));
        let wake = std::mem::take(&mut inner.idle);
        drop(inner);
        if wake {
            self.changed.notify_one();
        }
    }

    /// The newest durable head; that of an empty log before there is one.
    pub(super) fn latest(&self) -> Head {
        lock(&self.inner).latest.unwrap_or_else(|| Tip::default().head())
    }

    /// For later, unless there is a newer one by now.
    fn put_back(&self, head: Head) {
        lock(&self.inner).head.get_or_insert(head);
    }

    fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.changed.notify_one();
    }

    /// The next head; `None` once closed and empty.
    fn take(&self) -> Option<Head> {
        let empty = |inner: &mut Inner| {
            inner.idle = inner.head.is_none() && !inner.closed;
            inner.idle
        };
        let mut inner = self
            .changed
            .wait_while(lock(&self.inner), empty)
            .unwrap_or_else(PoisonError::into_inner);
        inner.head.take()
    }

    /// Lets heads pile up for a while, unless the end came.
    fn pause(&self, interval: Duration) {
        let open = |inner: &mut Inner| !inner.closed;
        drop(self.changed.wait_timeout_while(lock(&self.inner), interval, open));
    }
}

/// Everything that only the signer thread touches.
#[derive(Debug)]
pub(super) struct SignerThread {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) heads: Heads,
    pub(super) interval: Duration,
}

impl SignerThread {
    /// Signs until the log is closed or fails.
    pub(super) fn run(mut self) {
        self.sign_all();
        self.shared.signed.close();
    }

    fn sign_all(&mut self) {
        while let Some(head) = self.shared.to_sign.take() {
            if self.shared.queue.poisoned().is_some() {
                return;
            }
            let closing = self.shared.to_sign.is_closed();
            let begun = Instant::now();
            match self.publish(&head) {
                // The end of the log gives room back, so a full disk is final only after that.
                Err(error) if error.kind() == io::ErrorKind::StorageFull && !closing => {
                    self.shared.to_sign.put_back(head);
                    self.shared.to_sign.pause(self.interval.max(FULL_PAUSE));
                }
                Err(error) => {
                    let size = head.size;
                    self.shared.poison(&format!("publishing the head of size {size}: {error}"));
                    return;
                }
                // From the beginning of one to the beginning of the next: what is acknowledged just after a head was taken
                // then waits for one interval and one publication, and not for two.
                Ok(()) => {
                    self.shared.to_sign.pause(self.interval.saturating_sub(begun.elapsed()));
                }
            }
        }
    }

    fn publish(&mut self, head: &Head) -> io::Result<()> {
        // ORDER: held until the head is published, so that a change of the key comes before or after it.
        let signing = lock(&self.shared.signing);
        let Some(note) = signing.sign(head).map_err(io::Error::other)? else { return Ok(()) };
        // ORDER: the head is in the list before it is the checkpoint; so every checkpoint is in the list.
        self.heads.append(note.as_bytes(), self.clock.now_us())?;
        self.shared.files.replace("checkpoint", note.as_bytes())?;
        drop(signing);
        self.shared.signed.advance(head.size);
        Ok(())
    }
}
