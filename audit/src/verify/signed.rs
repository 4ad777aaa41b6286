//! The two files that are one signed note each.

use std::path::Path;

use crate::{
    checkpoint::{CheckpointError, Head},
    keyring::Keyring,
    log::identity,
    note::{NoteError, Vkey},
};

use super::{Findings, State, VerifyError, read_optional};

/// The checkpoint with its bytes, which must be in the list of heads too.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) head: Head,
    pub(super) note: Vec<u8>,
}

/// Checks `log.json`.
pub(super) fn identity(
    dir: &Path,
    vkey: &Vkey,
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    let path = identity::PATH;
    let nowhere = (Some(0), None);
    match read_optional(dir, path)? {
        None => findings.add(State::Missing, path, (None, None), "the file is not there"),
        Some(bytes) => match identity::open(&bytes, vkey) {
            Err(error) => findings.add(note_state(error), path, nowhere, error.to_string()),
            Ok(found) if found.origin != vkey.name() => {
                findings.add(State::BadSignature, path, nowhere, "it names another origin");
            }
            Ok(_) => {}
        },
    }
    Ok(())
}

/// Checks the newest signed head.
pub(super) fn checkpoint(
    note: Option<Vec<u8>>,
    keys: &Keyring,
    findings: &mut Findings,
) -> Option<Checkpoint> {
    let note = note?;
    match keys.head(&note) {
        Ok(head) => Some(Checkpoint { head, note }),
        Err(error) => {
            findings.add(head_state(error), "checkpoint", (Some(0), None), error.to_string());
            None
        }
    }
}

/// What a refused note means.
pub(super) fn note_state(error: NoteError) -> State {
    match error {
        NoteError::Malformed => State::Modified,
        NoteError::UnknownKey => State::UnknownKey,
        NoteError::Vkey | NoteError::BadSignature => State::BadSignature,
    }
}

/// What a refused head means.
pub(super) fn head_state(error: CheckpointError) -> State {
    match error {
        CheckpointError::Note(error) => note_state(error),
        CheckpointError::Text => State::BadSignature,
        CheckpointError::Window { .. } => State::KeyWindow,
    }
}
