//! Data keys and the service that seals them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::name::{BucketName, ObjectKey};

/// The key of one object: 256 random bits that encrypt nothing else, ever.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// Takes key material over.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key material; do not copy it to where it is not wiped.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

/// A data key that only the key service can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// The name of the sealing key.
    pub key_id: String,
    /// The version of the sealing key.
    pub version: u64,
    /// What the key service returned; opaque to the store, at most 4 KiB.
    #[serde(with = "crate::metadata::codec::base16")]
    pub blob: Vec<u8>,
}

/// A new data key in both forms.
#[derive(Clone, Debug)]
pub struct GeneratedKey {
    /// To encrypt with, now.
    pub key: DataKey,
    /// To keep.
    pub sealed: SealedKey,
}

/// What a data key is bound to. Unsealing under another context must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyContext {
    /// The bucket of the object.
    pub bucket: BucketName,
    /// The key of the object.
    pub key: ObjectKey,
    /// The version of the object.
    pub version: String,
    /// What the client binds the key to besides: the encryption context of SSE-KMS.
    pub client: BTreeMap<String, String>,
}

impl KeyContext {
    /// The context as the pairs that key services authenticate and audit records carry, in this order. Names of the
    /// client's own pairs begin with `client:`, so they cannot pass for ours.
    pub fn as_pairs(&self) -> Vec<(Cow<'static, str>, &str)> {
        let ours = [
            ("bucket", self.bucket.as_str()),
            ("key", self.key.as_str()),
            ("version", self.version.as_str()),
        ];
        let ours = ours.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
        let client = self.client.iter();
        let client = client.map(|(name, value)| (format!("client:{name}").into(), value.as_str()));
        ours.chain(client).collect()
    }
}

/// Makes and unseals data keys.
///
/// The store owns this trait and is handed an implementation per call, so that a caller can record each use under the
/// request that caused it. Contract:
/// - `generate` returns 256 fresh random bits at each call and seals them bound to `context`;
/// - `unseal` fails unless `context` equals the one at generation, byte for byte;
/// - neither retries without bound; a slow service answers [`KeyError::Unavailable`];
/// - calls may run concurrently.
///
/// For its part the store changes nothing before the first key call of a put, an upload, or a part has answered: whoever
/// makes that call wait for something makes the change wait for it.
pub trait KeyService: Send + Sync {
    /// A new data key, sealed under `key_id` or the default key.
    fn generate<'a>(
        &'a self,
        key_id: Option<&'a str>,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>>;

    /// The data key in `sealed`.
    fn unseal<'a>(
        &'a self,
        sealed: &'a SealedKey,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>>;
}

/// Why a key service gave no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key of this name.
    #[error("no key `{key_id}`")]
    NotFound {
        /// The name.
        key_id: String,
    },
    /// The key exists and may not be used: disabled, or denied by policy.
    #[error("key `{key_id}` may not be used")]
    Denied {
        /// The name.
        key_id: String,
    },
    /// The sealed key does not open under this context: damaged or moved.
    #[error("the sealed data key does not open under its context")]
    Invalid,
    /// The service cannot be reached or is sealed itself.
    #[error("the key service is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Any other failure.
    #[error("the key service failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}
