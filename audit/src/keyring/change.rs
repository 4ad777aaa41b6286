//! One change of a log's key, as it is signed.
#![deny(clippy::indexing_slicing)]

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::Head,
    note::{self, KeyId, NoteError, Signer, Vkey},
};

/// First line of the text; no head begins with it.
const TITLE: &str = "audit-key/v1";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a log has few changes")]
pub enum Change {
    /// From here on another key signs.
    Rotate {
        /// The new key.
        vkey: Vkey,
        /// The durable log at that moment; larger heads are the new key's.
        after: Head,
    },
    /// Heads of an earlier key that cover more than `good` records are not to be believed.
    Revoke {
        /// The key.
        key: KeyId,
        /// The last good size.
        good: u64,
        /// The durable log at that moment.
        after: Head,
    },
}

impl Change {
    /// The log at the change.
    pub fn after(&self) -> Head {
        match self {
            Self::Rotate { after, .. } | Self::Revoke { after, .. } => *after,
        }
    }

    /// The text that is signed.
    pub fn text(&self, origin: &str) -> String {
        let Head { size, root } = self.after();
        let root = STANDARD.encode(root);
        let what = match self {
            Self::Rotate { vkey, .. } => format!("rotate {vkey}"),
            Self::Revoke { key, good, .. } => format!("revoke {key} {good}"),
        };
        format!("{TITLE}\n{origin}\n{what}\nafter {size} {root}\n")
    }

    /// Reads a text; `None` unless it is exactly what [`Change::text`] writes.
    pub fn parse(text: &str, origin: &str) -> Option<Self> {
        let mut lines = text.split('\n').skip(2);
        let (verb, rest) = lines.next()?.split_once(' ')?;
        let (size, root) = lines.next()?.strip_prefix("after ")?.split_once(' ')?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let after = Head { size: size.parse().ok()?, root };
        let change = match verb {
            "rotate" => Self::Rotate { vkey: Vkey::parse(rest).ok()?, after },
            "revoke" => {
                let (key, good) = rest.split_once(' ')?;
                Self::Revoke { key: KeyId::parse(key)?, good: good.parse().ok()?, after }
            }
            _ => return None,
        };
        (change.text(origin) == text).then_some(change)
    }

    /// The note of this change; a rotation needs the coming key's signature too.
    ///
    /// # Errors
    /// [`NoteError::Vkey`] when a signer's own key text is unusable.
    pub fn sign(
        &self,
        origin: &str,
        in_force: &dyn Signer,
        coming: Option<&dyn Signer>,
    ) -> Result<String, NoteError> {
        let note = note::sign(&self.text(origin), in_force)?;
        match coming {
            Some(coming) => note::cosign(&note, coming),
            None => Ok(note),
        }
    }

    /// Action and parameters of the record that names this change. The whole note is in it: the log alone tells its keys.
    pub(crate) fn record(&self, note: &str) -> (&'static str, Vec<(&'static str, String)>) {
        let after = ("after", self.after().size.to_string());
        let note = ("note", note.to_owned());
        match self {
            Self::Rotate { vkey, .. } => {
                let key = ("key", vkey.id().to_string());
                (ROTATED, vec![after, key, note, ("vkey", vkey.to_string())])
            }
            Self::Revoke { key, good, .. } => {
                let (key, good) = (("key", key.to_string()), ("good", good.to_string()));
                (REVOKED, vec![after, good, key, note])
            }
        }
    }
}

const ROTATED: &str = "audit:key-rotate";
const REVOKED: &str = "audit:key-revoke";
/// First bytes of the records that name changes.
pub(crate) const CHANGE_RECORD: &[u8] = br#"{"action":"audit:key-r"#;
