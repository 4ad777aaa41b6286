//! SSE-C: a key of the customer, which is here for one request and is never kept.
//!
//! A data key is sealed under it as under a named key, so a wrong key, a moved and a damaged one all fail to open.
//! Nothing of the customer's key is stored, recorded or shown; records name it [`CUSTOMER_KEY`].

use std::fmt;

use futures::future::BoxFuture;
use storage::{DataKey, GeneratedKey, KeyContext, KeyError, KeyService, SealedKey};

use super::Keys;
use super::seal::{self, Material};

/// How rows and records name whatever key a customer brought.
pub const CUSTOMER_KEY: &str = "customer-provided";
/// The customer keeps the versions, if there are any.
const VERSION: u64 = 1;

/// The key of one request.
pub struct CustomerKey {
    material: Material,
}

impl CustomerKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { material: Material::new(bytes) }
    }
}

impl Keys for CustomerKey {
    fn default_key(&self) -> String {
        CUSTOMER_KEY.to_owned()
    }
}

impl KeyService for CustomerKey {
    fn generate<'a>(
        &'a self,
        _key_id: Option<&'a str>,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        Box::pin(async move { seal::generate(&self.material, CUSTOMER_KEY, VERSION, context) })
    }

    fn unseal<'a>(
        &'a self,
        sealed: &'a SealedKey,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        Box::pin(async move {
            // Most likely another key than the one at writing; the caller may not learn which.
            let denied = |_| KeyError::Denied { key_id: CUSTOMER_KEY.to_owned() };
            seal::unseal(&self.material, sealed, context).map_err(denied)
        })
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(redacted)")
    }
}
