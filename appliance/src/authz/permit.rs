//! Evidence that the policies allowed an operation and that the log knows it.

use std::marker::PhantomData;
use std::sync::Arc;

use storage::{KeyService, Store};

use crate::kms::{Audited, CustomerKey, Keys};
use crate::scope::Scope;

/// Evidence that operation `O` was allowed for this request.
///
/// Every handler takes one by value and only [`super::Gate`] makes one. It is also the way to storage and to keys:
/// there is no other.
#[derive(Debug)]
pub struct Permit<O> {
    capability: Capability,
    _operation: PhantomData<fn() -> O>,
}

/// What a permit opens: storage, and keys whose every use is recorded under the request.
#[derive(Clone, Debug)]
pub struct Capability {
    store: Store,
    keys: Arc<Audited>,
}

impl<O> Permit<O> {
    pub(super) fn granted(store: Store, keys: Arc<dyn Keys>, scope: Arc<Scope>) -> Self {
        Self {
            capability: Capability { store, keys: Arc::new(Audited::new(keys, scope)) },
            _operation: PhantomData,
        }
    }

    /// The object store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.capability.store
    }

    /// The customer's key in the place of ours, if there is one; each call is a record.
    #[must_use]
    pub fn keys_under(&self, customer: Option<Arc<CustomerKey>>) -> Arc<Audited> {
        let ours = &self.capability.keys;
        customer.map_or_else(|| Arc::clone(ours), |key| Arc::new(ours.under(key)))
    }

    /// Keys for this request; each call is a record.
    #[must_use]
    pub fn keys(&self) -> &dyn KeyService {
        &*self.capability.keys
    }
}
