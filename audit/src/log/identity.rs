//! `log.json`: who this log is, signed once and never written again.
#![deny(clippy::indexing_slicing)]

use serde::Deserialize;

use crate::{
    note::{self, NoteError, Signer, Vkey},
    stamp,
};

/// The format that this crate reads and writes.
pub(crate) const FORMAT: u64 = 1;
/// Where it is.
pub(crate) const PATH: &str = "log.json";

/// The first line of the file, read before anything is verified: another format may be signed in another way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Identity {
    /// When the log was created.
    pub(crate) created: String,
    /// On-disk format.
    pub(crate) format: u64,
    /// Name for life.
    pub(crate) origin: String,
    /// Tells apart two logs that were given one name.
    pub(crate) uuid: String,
    /// Keys that may sign heads.
    pub(crate) vkeys: Vec<String>,
}

/// The bytes of a new log's file.
///
/// # Errors
/// [`NoteError::Vkey`] when the signer's own key text is unusable.
pub(crate) fn create(
    origin: &str,
    signer: &dyn Signer,
    now_us: u64,
    random: &[u8; 16],
) -> Result<String, NoteError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let text = format!(
        "{{\"created\":\"{}\",\"format\":{FORMAT},\"origin\":{},\"uuid\":\"{}\",\"vkeys\":[{}]}}\n",
        stamp::string(now_us),
        quoted(origin),
        uuid(random),
        quoted(&signer.vkey()),
    );
    note::sign(&text, signer)
}

/// Reads the first line, believing nothing.
pub(crate) fn peek(bytes: &[u8]) -> Option<Identity> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

/// Reads the file under the log's key.
///
/// # Errors
/// [`NoteError`] when it is not signed by the key, [`NoteError::Malformed`] also when the text is not ours.
pub(crate) fn open(bytes: &[u8], vkey: &Vkey) -> Result<Identity, NoteError> {
    let text = note::open(bytes, vkey)?;
    peek(text.as_bytes()).ok_or(NoteError::Malformed)
}

/// RFC 9562 version 4.
fn uuid(random: &[u8; 16]) -> String {
    let mut value = u128::from_be_bytes(*random);
    value = value & !(0xf << 76) | (0x4 << 76);
    value = value & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{value:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
