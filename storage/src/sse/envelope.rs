//! What an object row keeps about its encryption.

use serde::{Deserialize, Serialize};

use super::key::{DataKey, KeyContext, KeyService, SealedKey};
use crate::error::Error;
use crate::object::{Sse, SseInfo, SseKind};

/// Longest sealed key that a row keeps.
const SEALED_BYTES_MAX: usize = 4096;

/// The sealed data key of an object and the kind of encryption that the client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    kind: SseKind,
    sealed: SealedKey,
}

impl Envelope {
    /// Asks the key service for a new data key.
    pub(crate) async fn generate(
        keys: &dyn KeyService,
        sse: &Sse,
        context: &KeyContext,
    ) -> Result<(DataKey, Self), Error> {
        let (kind, key_id) = match sse {
            Sse::S3 => (SseKind::S3, None),
            Sse::Kms { key_id } => (SseKind::Kms, key_id.as_deref()),
        };
        let generated = keys.generate(key_id, context).await?;
        if generated.sealed.blob.len() > SEALED_BYTES_MAX {
            return Err(Error::TooLarge { what: "a sealed key", limit: SEALED_BYTES_MAX as u64 });
        }
        Ok((generated.key, Self { kind, sealed: generated.sealed }))
    }

    /// Asks the key service for the data key.
    pub(crate) async fn unseal(
        &self,
        keys: &dyn KeyService,
        context: &KeyContext,
    ) -> Result<DataKey, Error> {
        Ok(keys.unseal(&self.sealed, context).await?)
    }

    pub(crate) fn info(&self) -> SseInfo {
        SseInfo { kind: self.kind, key_id: self.sealed.key_id.clone() }
    }
}
