//! The keys of a log: the first one, which outsiders know, and those that followed it, each with the sizes it signs.
//!
//! `key/NNNN.note` are signed notes, one per change, in order ([`change`]). A rotation is signed by the key that goes
//! and by the one that comes; heads of more records than it names are the new key's. A revocation is signed by the key in
//! force and says up to which size heads of an earlier key may be believed. So whoever knows the first key and has these
//! few notes knows all of them, and no file that was signed once is ever rewritten.
#![deny(clippy::indexing_slicing)]

pub mod change;

use std::{io, path::Path};

use crate::{
    checkpoint::{self, CheckpointError, Head},
    durable::{self, Files},
    note::{self, KeyId, NoteError, Vkey},
    seal::Seal,
};

pub use change::Change;

/// Changes of the key, at most: one every day for eleven years. Whoever opens a log checks all of them.
pub const CHANGES_MAX: usize = 4096;

/// One key of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    /// The key.
    pub vkey: Vkey,
    /// Size of the smallest head that it signs.
    pub from: u64,
    /// Size of the largest; none while it is in force.
    pub until: Option<u64>,
    /// Size of the largest that may be believed; none unless it was revoked.
    pub good: Option<u64>,
}

impl LogKey {
    fn from(vkey: Vkey, from: u64) -> Self {
        Self { vkey, from, until: None, good: None }
    }

    fn signs(&self, size: u64) -> bool {
        size >= self.from && self.until.is_none_or(|until| size <= until)
    }

    fn is_believed(&self, size: u64) -> bool {
        self.signs(size) && self.good.is_none_or(|good| size <= good)
    }
}

/// All keys of a log. At least one; cheap to keep, as keys change seldom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    first: LogKey,
    later: Vec<LogKey>,
    changes: Vec<Change>,
    /// The notes of the changes.
    notes: Vec<Vec<u8>>,
}

/// Why a change does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not signed by the key in force, or not by the new one.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The signed text is none of ours.
    #[error("the signed text is no change of this log's key")]
    Text,
    /// The log was not longer than at the change before.
    #[error("the log had {found} records, and {before} at the change before")]
    Order {
        /// Size in this one.
        found: u64,
        /// Size in the one before.
        before: u64,
    },
    /// The new key was in use before.
    #[error("key {0} was in use before")]
    Known(KeyId),
    /// What is revoked is no earlier key.
    #[error("{0} is no earlier key of this log; the key in force is rotated before it is revoked")]
    NotEarlier(KeyId),
    /// A revocation that takes nothing away.
    #[error("key {0} signs no head of more than {1} records that could still be believed")]
    Nothing(KeyId, u64),
    /// More than [`CHANGES_MAX`].
    #[error("the log's key was changed {CHANGES_MAX} times, which is the most")]
    TooMany,
}

/// Why the keys of a log are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// Reading failed.
    #[error("reading `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A change does not follow from the ones before it.
    #[error("`{path}`: {source}")]
    Key {
        /// Which file.
        path: String,
        /// Why.
        source: KeyError,
    },
}

impl FollowError {
    fn io(path: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl From<Vkey> for Keyring {
    /// A key that nothing has followed yet.
    fn from(vkey: Vkey) -> Self {
        let first = LogKey::from(vkey, 0);
        Self { first, later: Vec::new(), changes: Vec::new(), notes: Vec::new() }
    }
}

impl Keyring {
    /// The keys of the log in the local directory `dir`, whose first one is `first`.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn of_directory(first: &Vkey, dir: &Path) -> Result<Self, FollowError> {
        let list = |path: &str| durable::list(&dir.join(path));
        Self::of_notes(first, &list, &|path| std::fs::read(dir.join(path)))
    }

    pub(crate) fn of_files(first: &Vkey, files: &dyn Files) -> Result<Self, FollowError> {
        Self::of_notes(first, &|path| files.list(path), &|path| files.read(path))
    }

    fn of_notes(
        first: &Vkey,
        list: &dyn Fn(&str) -> io::Result<Vec<String>>,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, FollowError> {
        let mut keys = Self::from(first.clone());
        let count = paths(list).map_err(FollowError::io("key"))?.len();
        for n in 0..count {
            // By number, not by name: one that is not there must not be passed over.
            let path = path(n);
            let note = read(&path).map_err(FollowError::io(&path))?;
            keys.follow(&note).map_err(|source| FollowError::Key { path, source })?;
        }
        Ok(keys)
    }

    /// Takes in the next change.
    ///
    /// # Errors
    /// See [`KeyError`]; what is known stays as it is.
    pub fn follow(&mut self, note: &[u8]) -> Result<&Change, KeyError> {
        if self.changes.len() >= CHANGES_MAX {
            return Err(KeyError::TooMany);
        }
        let text = note::open(note, self.current())?;
        let change = Change::parse(text, self.origin()).ok_or(KeyError::Text)?;
        let found = change.after().size;
        if let Some(before) = self.changes.last().map(|change| change.after().size)
            && found <= before
        {
            return Err(KeyError::Order { found, before });
        }
        match &change {
            Change::Rotate { vkey, .. } => self.rotate(vkey, found, note)?,
            Change::Revoke { key, good, .. } => self.revoke(*key, *good)?,
        }
        self.notes.push(note.to_vec());
        self.changes.push(change);
        self.changes.last().ok_or(KeyError::Text)
    }

    fn rotate(&mut self, vkey: &Vkey, after: u64, note: &[u8]) -> Result<(), KeyError> {
        if vkey.name() != self.origin() {
            return Err(KeyError::Text);
        }
        if self.keys().any(|known| known.vkey.id() == vkey.id()) {
            return Err(KeyError::Known(vkey.id()));
        }
        note::open(note, vkey)?;
        self.later.last_mut().unwrap_or(&mut self.first).until = Some(after);
        self.later.push(LogKey::from(vkey.clone(), after.saturating_add(1)));
        Ok(())
    }

    fn revoke(&mut self, id: KeyId, good: u64) -> Result<(), KeyError> {
        if self.current().id() == id {
            return Err(KeyError::NotEarlier(id));
        }
        let mut keys = std::iter::once(&mut self.first).chain(&mut self.later);
        let key = keys.find(|key| key.vkey.id() == id).ok_or(KeyError::NotEarlier(id))?;
        // A later revocation may take more away, and never gives back.
        if key.until.is_some_and(|until| good >= until) || key.good.is_some_and(|now| good >= now) {
            return Err(KeyError::Nothing(id, good));
        }
        key.good = Some(good);
        Ok(())
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.first.vkey.name()
    }

    /// The key that outsiders know.
    pub fn first(&self) -> &Vkey {
        &self.first.vkey
    }

    /// The key in force.
    pub fn current(&self) -> &Vkey {
        &self.later.last().unwrap_or(&self.first).vkey
    }

    /// The keys in order; the last one is in force.
    pub fn keys(&self) -> impl Iterator<Item = &LogKey> + Clone {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// The changes in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Their notes with the paths that they have in a log's directory.
    pub fn notes(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.notes.iter().enumerate().map(|(n, note)| (path(n), note.as_slice()))
    }

    /// Reads a note that any of the keys signed, for a text that names no size of the log.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn open<'a>(&self, note: &'a [u8]) -> Result<&'a str, NoteError> {
        note::open_any(note, self.keys().map(|key| &key.vkey)).map(|(text, _)| text)
    }

    /// Checks a checkpoint note under the key of its size.
    ///
    /// # Errors
    /// As [`checkpoint::open`]; [`CheckpointError::Window`] when another key should have signed it, or the one that did
    /// was revoked for that size.
    pub fn head(&self, note: &[u8]) -> Result<Head, CheckpointError> {
        self.head_if(note, LogKey::is_believed)
    }

    /// The same for a head that is compared with what a later head covers, where a revoked key may be right.
    ///
    /// # Errors
    /// As [`Self::head`], without revocations.
    pub fn head_to_compare(&self, note: &[u8]) -> Result<Head, CheckpointError> {
        self.head_if(note, LogKey::signs)
    }

    fn head_if(
        &self,
        note: &[u8],
        may: impl Fn(&LogKey, u64) -> bool,
    ) -> Result<Head, CheckpointError> {
        let (text, signed) = note::open_any(note, self.keys().map(|key| &key.vkey))?;
        let head = checkpoint::parse(text, self.origin()).ok_or(CheckpointError::Text)?;
        self.require(&signed, head.size, may).map(|()| head)
    }

    /// Checks a seal. A later key may seal what is older, an earlier one nothing that came after it.
    ///
    /// # Errors
    /// As [`Seal::open`]; [`CheckpointError::Window`] when the key was not in force any more.
    pub(crate) fn seal(&self, note: &[u8]) -> Result<Seal, CheckpointError> {
        let (text, signed) = note::open_any(note, self.keys().map(|key| &key.vkey))?;
        let seal = Seal::parse(text, self.origin()).ok_or(CheckpointError::Text)?;
        let may = |key: &LogKey, size| key.until.is_none_or(|until| size <= until);
        self.require(&signed, seal.end, may).map(|()| seal)
    }

    fn require(
        &self,
        signed: &[&Vkey],
        size: u64,
        may: impl Fn(&LogKey, u64) -> bool,
    ) -> Result<(), CheckpointError> {
        let in_force = self.keys().any(|key| signed.contains(&&key.vkey) && may(key, size));
        match signed.last() {
            Some(last) if !in_force => Err(CheckpointError::Window { key: last.id(), size }),
            _ => Ok(()),
        }
    }
}

/// Paths of all changes, in order.
pub(crate) fn paths(list: &dyn Fn(&str) -> io::Result<Vec<String>>) -> io::Result<Vec<String>> {
    let notes = list("key")?.into_iter().filter(|name| name.ends_with(".note"));
    let mut paths: Vec<String> = notes.map(|name| format!("key/{name}")).collect();
    paths.sort();
    Ok(paths)
}

/// Path of the change after `count` others.
pub(crate) fn path(count: usize) -> String {
    format!("key/{:04}.note", count + 1)
}

#[cfg(test)]
mod tests;
