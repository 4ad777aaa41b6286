//! Heads: the size and root of the log, signed.
//!
//! # Source
//! C2SP tlog-checkpoint v1.0.0: origin, decimal size, base64 root, one per line; we write no extension lines and
//! accept none, because nobody could audit them.
#![deny(clippy::indexing_slicing)]

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    note::{self, KeyId, NoteError, Signer, Vkey},
    tree::Hash,
};

/// Size and root of a log at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of records.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, STANDARD.encode(self.root))
    }
}

/// Why bytes are not a head of our log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note was refused.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Signed, but not a checkpoint of this origin.
    #[error("the signed text is not a checkpoint of this log")]
    Text,
    /// Signed by a key of the log that signs other sizes, or was revoked.
    #[error("key {key} is not in force for {size} records")]
    Window {
        /// The key.
        key: KeyId,
        /// Records that the signed text speaks of.
        size: u64,
    },
}

/// The text that is signed.
pub fn text(origin: &str, head: &Head) -> String {
    format!("{origin}\n{}\n{}\n", head.size, STANDARD.encode(head.root))
}

/// A signed checkpoint note.
///
/// # Errors
/// [`NoteError::Vkey`] when the signer's own key text is unusable.
pub fn sign(origin: &str, head: &Head, signer: &dyn Signer) -> Result<String, NoteError> {
    note::sign(&text(origin, head), signer)
}

/// Checks a checkpoint note under one key, whose name is the origin; [`crate::Keyring::head`] knows several.
///
/// # Errors
/// [`CheckpointError::Note`] when the note does not verify, [`CheckpointError::Text`] when its text is not ours.
pub fn open(bytes: &[u8], vkey: &Vkey) -> Result<Head, CheckpointError> {
    let signed = note::open(bytes, vkey)?;
    parse(signed, vkey.name()).ok_or(CheckpointError::Text)
}

/// Reads a head from unsigned text, such as a line that an auditor kept.
pub fn parse(signed: &str, origin: &str) -> Option<Head> {
    let mut lines = signed.split('\n');
    let ours = lines.next()? == origin;
    let size: u64 = lines.next()?.parse().ok()?;
    let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
    let head = Head { size, root };
    // Rendering again refuses signs, leading zeros, extension lines and a missing last newline at once.
    (ours && text(origin, &head) == signed).then_some(head)
}
