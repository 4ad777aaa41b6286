//! Changes of the log's key: each follows from the one before, was made over this log's records, and is in a record.
#![deny(clippy::indexing_slicing)]

use crate::{
    checkpoint::Head,
    keyring::{self, CHANGES_MAX, KeyError, Keyring, change::CHANGE_RECORD},
    leaf,
    log::prune::{KEY_CHANGES, PRUNE_RECORD},
    note::{NoteError, Vkey},
};

use super::{Findings, State, VerifyError, signed};

/// Reads a note that may be absent.
type Read<'a> = &'a dyn Fn(&str) -> Result<Option<Vec<u8>>, VerifyError>;

/// The keys that follow from the notes, and the notes that the walk has met in records.
pub(super) struct Changes {
    keys: Keyring,
    /// A note was refused, so later ones are not known.
    broken: bool,
    /// Where each note is carried first.
    recorded: Vec<(u64, String)>,
    /// How many there are at least, by a record of a prune, and which one.
    told: Option<(usize, u64)>,
}

impl Changes {
    /// Reads the changes that follow the first key: `count` of them, or as many as there are where nobody knows.
    pub(super) fn open(
        read: Read<'_>,
        count: Option<usize>,
        first: &Vkey,
        findings: &mut Findings,
    ) -> Result<Self, VerifyError> {
        let keys = Keyring::from(first.clone());
        let mut changes = Self { keys, broken: false, recorded: Vec::new(), told: None };
        for n in 0..count.unwrap_or(CHANGES_MAX) {
            let path = keyring::path(n);
            let Some(note) = read(&path)? else {
                if count.is_none() {
                    break;
                }
                findings.add(State::Missing, &path, (None, None), "the file is not there");
                changes.broken = true;
                break;
            };
            if let Err(error) = changes.keys.follow(&note) {
                findings.add(state(&error), &path, (Some(0), None), error.to_string());
                changes.broken = true;
                break;
            }
        }
        Ok(changes)
    }

    pub(super) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Every change names the log's size and root: a head, too.
    pub(super) fn heads(&self) -> Vec<(String, Head)> {
        let heads = self.keys.changes().iter().enumerate();
        heads.map(|(n, change)| (keyring::path(n), change.after())).collect()
    }

    /// Looks for a record that carries a change, or that says how many there were.
    pub(super) fn record(&mut self, seq: u64, leaf: &[u8]) {
        if leaf.starts_with(PRUNE_RECORD) {
            let count = leaf::values(leaf, &format!("params.{KEY_CHANGES}")).into_iter().next();
            let told = count.and_then(|count| Some((count.parse().ok()?, seq)));
            // Where two say the same, the first one.
            if told > self.told.map(|(count, _)| (count, u64::MAX)) {
                self.told = told;
            }
            return;
        }
        if !leaf.starts_with(CHANGE_RECORD) {
            return;
        }
        if let Some(note) = leaf::values(leaf, "params.note").into_iter().next()
            && self.recorded.iter().all(|(_, known)| *known != note)
        {
            self.recorded.push((seq, note));
        }
    }

    /// What is left once the walk is over. Records before `begin` were pruned, and with them those of older changes.
    pub(super) fn finish(
        &self,
        begin: u64,
        read: Read<'_>,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let notes: Vec<_> = self.keys.notes().collect();
        for ((path, note), change) in notes.iter().zip(self.keys.changes()) {
            let seq = self.recorded.iter().find(|(_, known)| known.as_bytes() == *note);
            match seq {
                Some((seq, _)) if *seq < change.after().size => {
                    let what = "the record of this change is older than the change";
                    findings.add(State::Modified, path, (None, Some(*seq)), what);
                }
                Some(_) => {}
                None if change.after().size < begin => {}
                // The note is durable first, so a crash, or a moment, may lie between the two.
                None if notes.last().is_some_and(|(last, _)| last == path) => {
                    findings.remark(format!("no record carries `{path}` yet"));
                }
                None => {
                    let what = "no record carries this change";
                    findings.add(State::Modified, path, (None, None), what);
                }
            }
        }
        if self.broken {
            return Ok(());
        }
        let (mut next, mut missing) = (notes.len(), 0);
        for (seq, note) in &self.recorded {
            if notes.iter().any(|(_, known)| *known == note.as_bytes()) {
                continue;
            }
            // The key may have been changed since the notes were read.
            let path = keyring::path(next);
            if read(&path)?.is_some_and(|late| late == note.as_bytes()) {
                next += 1;
                continue;
            }
            missing += 1;
            let what = "this record carries a change of the key that is not there as a file";
            findings.add(State::Missing, &path, (None, Some(*seq)), what);
        }
        if let Some((count, seq)) = self.told.filter(|(count, _)| *count > next + missing) {
            let what = format!("this record says that the log's key was changed {count} times");
            findings.add(State::Missing, &keyring::path(next), (None, Some(seq)), what);
        }
        Ok(())
    }
}

fn state(error: &KeyError) -> State {
    match error {
        KeyError::Note(NoteError::Malformed) => State::Modified,
        KeyError::Note(error) => signed::note_state(*error),
        KeyError::Text
        | KeyError::Order { .. }
        | KeyError::Known(_)
        | KeyError::NotEarlier(_)
        | KeyError::Nothing(..)
        | KeyError::TooMany => State::BadSignature,
    }
}
