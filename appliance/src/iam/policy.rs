//! Named policies: the canned ones, and those of the operator, which may replace a canned one.

use std::sync::Arc;

use policy_lab::Attached;
use policy_lab::document::{DocumentKind, Policy};

use super::{Iam, IamError, name, row};

/// Longest policy document, as MinIO limits it.
pub const POLICY_BYTES_MAX: usize = 20 << 10;
/// Most named policies of one deployment.
const POLICIES_MAX: usize = 10_000;

/// One named policy.
#[derive(Clone, Debug)]
pub struct Document {
    pub attached: Attached,
    /// Absent for a canned policy, which has no history.
    pub written: Option<Written>,
}

/// When a policy of the operator was first and last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub created_us: u64,
    pub updated_us: u64,
}

impl Document {
    /// Parses a document under its name.
    pub(super) fn parse(
        name: &str,
        json: &str,
        written: Option<Written>,
    ) -> Result<Self, IamError> {
        let policy = Policy::parse(json, DocumentKind::Identity).map_err(IamError::Malformed)?;
        Ok(Self { attached: Attached { name: name.into(), policy: Arc::new(policy) }, written })
    }

    /// The JSON text as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        self.attached.policy.source()
    }
}

impl Iam {
    /// Writes a policy; wherever it is attached the new text counts at once.
    ///
    /// # Errors
    /// A bad name, [`IamError::Malformed`], [`IamError::TooMany`], [`IamError::Store`].
    pub async fn put_policy(&self, name: &str, json: &str, at_us: u64) -> Result<(), IamError> {
        name::check_policy(name)?;
        if json.len() > POLICY_BYTES_MAX {
            let what = "bytes of a policy document";
            return Err(IamError::TooMany { what, limit: POLICY_BYTES_MAX });
        }
        let mut change = self.change().await;
        let known = change.next.policy(name);
        if known.is_none() && change.next.policies.len() >= POLICIES_MAX {
            return Err(IamError::TooMany { what: "policies", limit: POLICIES_MAX });
        }
        let created_us =
            known.and_then(|known| known.written).map_or(at_us, |written| written.created_us);
        let written = Written { created_us, updated_us: at_us };
        let document = Document::parse(name, json, Some(written))?;
        row::put_policy(change.store(), name, json, written).await?;
        change.next.policies.insert(name.to_owned(), Arc::new(document));
        change.publish();
        Ok(())
    }

    /// Removes a policy. A canned policy that was replaced comes back as it was; one that was not stays.
    ///
    /// # Errors
    /// [`IamError::NoSuchPolicy`], [`IamError::PolicyInUse`] while it is attached, [`IamError::Store`].
    pub async fn delete_policy(&self, name: &str) -> Result<(), IamError> {
        let mut change = self.change().await;
        let known = change.next.policy(name);
        let known = known.ok_or_else(|| IamError::NoSuchPolicy(name.to_owned()))?;
        if let Some(entity) = change.next.entity_with(name) {
            return Err(IamError::PolicyInUse { policy: name.to_owned(), entity });
        }
        if known.written.is_none() {
            return Ok(());
        }
        row::delete_policy(change.store(), name).await?;
        change.next.forget_policy(name);
        change.publish();
        Ok(())
    }
}
