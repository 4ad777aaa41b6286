//! A key service whose every call is a durable record before it happens.

use std::fmt;
use std::sync::Arc;

use audit::{ErrorInfo, Kms, Phase};
use futures::future::BoxFuture;
use storage::{DataKey, GeneratedKey, KeyContext, KeyError, KeyService, SealedKey};
use tracing::Instrument as _;

use super::Keys;
use crate::recorder::Unrecorded;
use crate::scope::Scope;

/// Records each key operation of one request, then passes it on.
///
/// ORDER: the record, which may be that of the decision, is durable before the inner service is called. A failure of the
/// call is a second record, durable before the caller learns of it. If a record cannot be made durable the call does not
/// happen.
pub struct Audited {
    inner: Arc<dyn Keys>,
    scope: Arc<Scope>,
}

impl Audited {
    /// Wraps the key service for the request of `scope`.
    #[must_use]
    pub fn new(inner: Arc<dyn Keys>, scope: Arc<Scope>) -> Self {
        Self { inner, scope }
    }

    /// The same, for a key that the customer brought: its use is recorded, the key is not.
    #[must_use]
    pub fn under(&self, keys: Arc<dyn Keys>) -> Self {
        Self { inner: keys, scope: Arc::clone(&self.scope) }
    }

    /// Passes a success through; a failure gets its record first.
    async fn conclude<T>(
        &self,
        kms: impl FnOnce() -> Kms,
        answer: Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let Err(error) = &answer else { return answer };
        let mut record = self.scope.kms_record(kms());
        record.phase = Phase::Outcome;
        record.reference = self.scope.decided();
        record.err = Some(ErrorInfo { code: code(error).into(), msg: error.to_string() });
        self.scope.append(vec![record]).await.map_err(unrecorded)?;
        self.scope.settle().await.map_err(unrecorded)?;
        answer
    }
}

impl fmt::Debug for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audited").field("request", &self.scope.request_id).finish_non_exhaustive()
    }
}

impl KeyService for Audited {
    fn generate<'a>(
        &'a self,
        key_id: Option<&'a str>,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        let span = tracing::info_span!("kms", operation = "GenerateDataKey");
        let call = async move {
            // Chosen here, so that the record names the key that is used even if the default changes meanwhile.
            let key = key_id.map_or_else(|| self.inner.default_key(), ToOwned::to_owned);
            let kms = || facts("GenerateDataKey", &key, None, context);
            self.scope.use_key(kms()).await.map_err(unrecorded)?;
            let answer = self.inner.generate(Some(&key), context).await;
            self.scope.metrics.kms_request("GenerateDataKey", answer.is_ok());
            self.conclude(kms, answer).await
        };
        Box::pin(call.instrument(span))
    }

    fn unseal<'a>(
        &'a self,
        sealed: &'a SealedKey,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        let span = tracing::info_span!("kms", operation = "Decrypt");
        let call = async move {
            let kms = || facts("Decrypt", &sealed.key_id, Some(sealed.version), context);
            self.scope.use_key(kms()).await.map_err(unrecorded)?;
            let answer = self.inner.unseal(sealed, context).await;
            self.scope.metrics.kms_request("Decrypt", answer.is_ok());
            self.conclude(kms, answer).await
        };
        Box::pin(call.instrument(span))
    }
}

fn facts(operation: &str, key: &str, version: Option<u64>, context: &KeyContext) -> Kms {
    let pairs = context.as_pairs().into_iter();
    Kms {
        op: operation.into(),
        key: key.into(),
        ver: version,
        ec: pairs.map(|(name, value)| (name.into_owned(), value.to_owned())).collect(),
        parent: None,
    }
}

fn unrecorded(error: Unrecorded) -> KeyError {
    KeyError::Unavailable(Box::new(error))
}

/// The word of the record's `err.code`.
fn code(error: &KeyError) -> &'static str {
    match error {
        KeyError::NotFound { .. } => "KeyNotFound",
        KeyError::Denied { .. } => "KeyDenied",
        KeyError::Invalid => "InvalidCiphertext",
        KeyError::Unavailable(_) => "KeyServiceUnavailable",
        _ => "KeyServiceError",
    }
}
