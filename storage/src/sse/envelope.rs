//! What an object row keeps about its encryption.

use std::collections::BTreeMap;

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
    /// The client's part of the key's context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    context: BTreeMap<String, String>,
}

impl Envelope {
    /// Asks the key service for a new data key.
    pub(crate) async fn generate(
        keys: &dyn KeyService,
        sse: &Sse,
        context: &KeyContext,
    ) -> Result<(DataKey, Self), Error> {
        let (key_id, client) = match sse {
            Sse::Kms { key_id, context } => (key_id.as_deref(), context.clone()),
            Sse::S3 | Sse::Customer => (None, BTreeMap::new()),
        };
        let context = KeyContext { client, ..context.clone() };
        let generated = keys.generate(key_id, &context).await?;
        if generated.sealed.blob.len() > SEALED_BYTES_MAX {
            return Err(Error::TooLarge { what: "a sealed key", limit: SEALED_BYTES_MAX as u64 });
        }
        let kind = sse.kind();
        Ok((generated.key, Self { kind, sealed: generated.sealed, context: context.client }))
    }

    /// Asks the key service for the data key.
    pub(crate) async fn unseal(
        &self,
        keys: &dyn KeyService,
        context: &KeyContext,
    ) -> Result<DataKey, Error> {
        let context = KeyContext { client: self.context.clone(), ..context.clone() };
        Ok(keys.unseal(&self.sealed, &context).await?)
    }

    pub(crate) fn info(&self) -> SseInfo {
        SseInfo { kind: self.kind, key_id: self.sealed.key_id.clone() }
    }
}
