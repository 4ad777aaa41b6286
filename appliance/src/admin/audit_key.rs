//! The audit log's key: which ones there were, another one from here on, and one that is not to be believed any more.

use std::path::PathBuf;
use std::sync::Arc;

use audit::note::{KeyId, Vkey};
use audit::{ChangeError, Ed25519Signer, Log, Signer};
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed};
use crate::authz::{Effect, Permit};
use crate::bootstrap::{BootstrapError, Paths};
use crate::recorder::Unrecorded;

/// The log and where its secrets lie. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogKeys {
    pub log: Arc<Log>,
    pub config_dir: PathBuf,
}

/// `GET audit-key-list`.
#[derive(Debug)]
pub(super) struct AuditKeyList;

impl Operation for AuditKeyList {
    const NAME: &'static str = "audit-key-list";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:AuditKeyStatus";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let keys = call.context.log_keys.log.keys();
        let keys: Vec<Value> = keys
            .keys()
            .map(|key| {
                json!({
                    "id": key.vkey.id().to_string(), "vkey": key.vkey.to_string(), "from": key.from,
                    "until": key.until, "good": key.good,
                })
            })
            .collect();
        Answer::json(&keys)
    }
}

/// `POST audit-key-rotate`: a new key signs the log from here on.
#[derive(Debug)]
pub(super) struct AuditKeyRotate;

impl Operation for AuditKeyRotate {
    const NAME: &'static str = "audit-key-rotate";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditKeyControl";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let keys = call.context.log_keys.clone();
        let (vkey, after) = at_leisure(move || rotate(&keys)).await?;
        call.note("key", vkey.id().to_string());
        let id = vkey.id().to_string();
        Answer::json(&json!({ "id": id, "vkey": vkey.to_string(), "after": after }))
    }
}

/// `POST audit-key-revoke?key=ID&good=SIZE`: what an earlier key signed beyond that size is not to be believed.
#[derive(Debug)]
pub(super) struct AuditKeyRevoke;

impl Operation for AuditKeyRevoke {
    const NAME: &'static str = "audit-key-revoke";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditKeyControl";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (key, good) = (call.required("key")?, call.required("good")?);
        let id = KeyId::parse(key)
            .ok_or_else(|| AdminError::invalid_argument(format!("`{key}` is no id of a key.")))?;
        let good: u64 = good.parse().map_err(|_| {
            AdminError::invalid_argument(format!("`{good}` is no number of records."))
        })?;
        call.note("key", key);
        call.note("good", good.to_string());
        let log = Arc::clone(&call.context.log_keys.log);
        let after = at_leisure(move || Ok(log.revoke_key(id, good)?.size)).await?;
        Answer::json(&json!({ "id": id.to_string(), "good": good, "after": after }))
    }
}

/// ORDER: the secret is where the next start finds it before the log knows of the key. A secret without a change is
/// never used.
fn rotate(keys: &LogKeys) -> Result<(Vkey, u64), KeyChangeError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(BootstrapError::Entropy)?;
    let signer = Ed25519Signer::from_seed(keys.log.keys().origin(), &seed);
    let vkey = signer.verifier().clone();
    Paths::store_audit_key(&keys.config_dir, &vkey, &seed)?;
    let after = keys.log.rotate_key(Arc::new(signer) as Arc<dyn Signer>)?.size;
    Ok((vkey, after))
}

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
enum KeyChangeError {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Store(#[from] BootstrapError),
}

impl From<KeyChangeError> for AdminError {
    fn from(error: KeyChangeError) -> Self {
        match error {
            KeyChangeError::Change(ChangeError::Key(error)) => {
                Self::invalid_argument(format!("The key was not changed: {error}."))
            }
            KeyChangeError::Change(ChangeError::Log(error)) => Unrecorded::from(error).into(),
            error => {
                tracing::error!(%error, "the log's key was not changed");
                Self::internal()
            }
        }
    }
}

/// A change waits for the disk, on a thread where that holds nobody up.
async fn at_leisure<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyChangeError> + Send + 'static,
) -> Result<T, AdminError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a change of the log's key ended abnormally");
            Err(AdminError::internal())
        }
    }
}
