//! Identities: who may sign, which groups they are in, which policies are attached.
//!
//! Everything is one immutable [`Snapshot`] that requests read without waiting. A change is a durable row in storage
//! first and a new snapshot second, so what a request sees is never ahead of the drives. Rows hold secrets in
//! recoverable form, because SigV4 and the madmin body encryption need them; storage seals row values at rest.
//!
//! Each change is one row, and a change that needs several is ordered so that a crash between them leaves less access,
//! never more.

mod change;
mod error;
mod group;
mod name;
mod policy;
mod row;
mod snapshot;
mod user;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use policy_lab::Principal;
use storage::Store;
use tokio::sync::Mutex;

pub use self::change::{Entity, Status};
pub use self::error::{IamError, IamErrorKind};
pub use self::group::Group;
pub use self::policy::{Document, POLICY_BYTES_MAX};
pub use self::snapshot::{Credential, Snapshot};
pub use self::user::User;
use crate::bootstrap::RootCredentials;

/// The caller that shows no credentials.
#[must_use]
pub fn anonymous() -> Principal {
    Principal::anonymous("")
}

/// The identities of one deployment.
///
/// Ownership: `writing` orders the changes; it is held from reading the current snapshot until the next one is in
/// place. If a row may or may not have become durable, the change is reported as failed and a restart decides.
pub struct Iam {
    store: Store,
    snapshot: ArcSwap<Snapshot>,
    writing: Mutex<()>,
}

impl Iam {
    /// Reads all identities. `account` is the account part of every ARN.
    ///
    /// # Errors
    /// Storage, or a row that does not parse: a policy that cannot be read must not silently grant or deny nothing.
    pub async fn load(
        store: Store,
        root: RootCredentials,
        account: &str,
    ) -> Result<Arc<Self>, IamError> {
        let snapshot = row::load(&store, Snapshot::empty(root, account)).await?;
        Ok(Arc::new(Self {
            store,
            snapshot: ArcSwap::from_pointee(snapshot),
            writing: Mutex::new(()),
        }))
    }

    /// The identities as they are now; later changes make new snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}

impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
