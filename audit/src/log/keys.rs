//! The key in force, and its changes while the log is open.
//!
//! ORDER of a change: no head is published while it lasts; its note is durable; the record that carries the note is
//! durable; then heads are published again. So a crash in between leaves a note, and no head beyond the size that it
//! names: the next start is signed by the key of the note, and records it (again, if it was recorded: the first record
//! counts).

use std::{
    io,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    checkpoint::{self, Head},
    keyring::{self, Change, KeyError, Keyring},
    note::{self, KeyId, NoteError, Signer, Vkey},
    record::{Class, EventId, Record},
};

use super::{Log, LogError, lock};

/// Between two looks at whether the queue has room, or the log has stopped.
const PAUSE: Duration = Duration::from_millis(50);

/// Who signs.
#[derive(Debug)]
pub(super) struct Signing {
    keys: Keyring,
    current: Arc<dyn Signer>,
    /// The key before, which signs heads as well until the log is closed or the key revoked, for those who have not heard
    /// of the change.
    before: Option<Arc<dyn Signer>>,
    /// A change is durable and its record may not be: no head says more than the change.
    unrecorded: bool,
}

impl Signing {
    pub(super) fn new(keys: Keyring, current: Arc<dyn Signer>) -> Self {
        Self { keys, current, before: None, unrecorded: false }
    }

    pub(super) fn current(&self) -> &Arc<dyn Signer> {
        &self.current
    }

    /// A head under every key that signs now; none where nothing may be published.
    pub(super) fn sign(&self, head: &Head) -> Result<Option<String>, NoteError> {
        if self.unrecorded {
            return Ok(None);
        }
        let note = checkpoint::sign(self.keys.origin(), head, self.current.as_ref())?;
        match &self.before {
            Some(before) => note::cosign(&note, before.as_ref()).map(Some),
            None => Ok(Some(note)),
        }
    }
}

/// Why the log's key was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The change is not allowed; nothing has changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log takes nothing, or stopped meanwhile.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Log {
    /// Makes `coming` the key that signs from here on; returns the log up to which the one before does.
    ///
    /// The secret must be where the next start finds it before this is called: from then on the log opens under no other.
    /// May block for as long as the disk takes.
    ///
    /// # Errors
    /// [`ChangeError::Key`] and [`LogError::NoSpace`], and nothing has changed; any other [`ChangeError::Log`], and only the
    /// next start tells.
    pub fn rotate_key(&self, coming: Arc<dyn Signer>) -> Result<Head, ChangeError> {
        let vkey = Vkey::parse(&coming.vkey()).map_err(KeyError::from)?;
        let mut signing = lock(&self.shared.signing);
        let change = Change::Rotate { vkey, after: self.shared.to_sign.latest() };
        self.change(&mut signing, &change, Some(coming))?;
        Ok(change.after())
    }

    /// Says that heads of the earlier key `key` are not to be believed for more than `good` records. It is over for that
    /// key at once, also as a second one.
    ///
    /// # Errors
    /// As [`Log::rotate_key`]; the key in force cannot be revoked.
    pub fn revoke_key(&self, key: KeyId, good: u64) -> Result<Head, ChangeError> {
        let mut signing = self.current_has_published()?;
        let change = Change::Revoke { key, good, after: self.shared.to_sign.latest() };
        self.change(&mut signing, &change, None)?;
        Ok(change.after())
    }

    /// The log's keys.
    pub fn keys(&self) -> Keyring {
        lock(&self.shared.signing).keys.clone()
    }

    /// The key in force, for what else the log says of itself.
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(lock(&self.shared.signing).current())
    }

    /// Waits until the newest head is one of the key in force, so that a revocation never leaves a log whose newest head
    /// is one that it takes back.
    fn current_has_published(&self) -> Result<MutexGuard<'_, Signing>, LogError> {
        loop {
            let signing = lock(&self.shared.signing);
            let from = signing.keys.keys().last().map_or(0, |key| key.from);
            if self.shared.signed.size() >= from {
                return Ok(signing);
            }
            drop(signing);
            self.shared.queue.check()?;
            self.shared.signed.wait_past(from.saturating_sub(1), PAUSE);
        }
    }

    fn change(
        &self,
        signing: &mut Signing,
        change: &Change,
        coming: Option<Arc<dyn Signer>>,
    ) -> Result<(), ChangeError> {
        self.shared.queue.check()?;
        if signing.unrecorded {
            return Err(LogError::Closed.into());
        }
        let note = change
            .sign(signing.keys.origin(), signing.current.as_ref(), coming.as_deref())
            .map_err(KeyError::from)?;
        // As a stranger would; a change that is refused leaves nothing behind.
        let mut keys = signing.keys.clone();
        keys.follow(note.as_bytes())?;
        let path = keyring::path(signing.keys.changes().len());
        if let Err(error) = self.shared.files.replace(&path, note.as_bytes()) {
            if error.kind() == io::ErrorKind::StorageFull {
                return Err(LogError::NoSpace { free_bytes: 0 }.into());
            }
            // Nobody knows whether the change is there. No head may be published by either key.
            signing.unrecorded = true;
            self.shared.poison(&format!("writing `{path}`: {error}"));
            let reason = self.shared.queue.poisoned().unwrap_or_else(|| error.to_string().into());
            return Err(LogError::Poisoned { reason }.into());
        }
        // ORDER: the change counts now, whatever happens; it must be recorded before anything is signed.
        signing.unrecorded = true;
        signing.keys = keys;
        signing.before = None;
        if let Some(coming) = coming {
            signing.before = Some(std::mem::replace(&mut signing.current, coming));
        }
        self.append_surely(&self.record_of(change, &note))?;
        signing.unrecorded = false;
        Ok(())
    }

    fn record_of(&self, change: &Change, note: &str) -> Record {
        let (action, params) = change.record(note);
        let digest = Sha256::digest(note);
        let mut random = [0; 10];
        random.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let event = EventId::new(self.clock.now_us() / 1000, random);
        let mut record = Record::new(Class::Audit, action, event);
        record.params = params.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        record
    }

    /// Appends until the record is durable or the log has stopped.
    fn append_surely(&self, record: &Record) -> Result<(), LogError> {
        loop {
            match self.append(record).and_then(super::Pending::wait) {
                Ok(_) => return Ok(()),
                Err(LogError::Full { .. } | LogError::NoSpace { .. }) => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The change that may be without its record, with its note: the newest one, if no head is larger than it.
pub(super) fn unrecorded<'a>(
    keys: &'a Keyring,
    newest: Option<&Head>,
) -> Option<(&'a Change, &'a [u8])> {
    let change = keys.changes().last()?;
    let (_, note) = keys.notes().last()?;
    let recorded = newest.is_some_and(|head| head.size > change.after().size);
    (!recorded).then_some((change, note))
}

#[cfg(test)]
mod tests;
