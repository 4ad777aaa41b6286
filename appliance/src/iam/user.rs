//! Users: a name that signs with a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Iam, IamError, Status, name, row};

/// Most users of one deployment: all of them are in memory.
const USERS_MAX: usize = 200_000;

/// One user. Its name, which is also its access key, is the key of the map that holds it.
#[derive(Clone)]
pub struct User {
    pub(super) secret: Zeroizing<String>,
    pub status: Status,
    /// Names of the policies attached to the user itself.
    pub policies: BTreeSet<String>,
    pub updated_us: u64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("status", &self.status)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

impl Iam {
    /// Adds a user, or gives a known one a new secret and status; its policies and groups stay.
    ///
    /// # Errors
    /// A bad name or secret, [`IamError::IsRoot`], [`IamError::TooMany`], [`IamError::Store`].
    pub async fn add_user(
        &self,
        name: &str,
        secret: &str,
        status: Status,
        at_us: u64,
    ) -> Result<(), IamError> {
        name::check_user(name)?;
        name::check_secret(secret)?;
        let mut change = self.change().await;
        change.next.refuse_root(name)?;
        let known = change.next.users.get(name);
        if known.is_none() && change.next.users.len() >= USERS_MAX {
            return Err(IamError::TooMany { what: "users", limit: USERS_MAX });
        }
        let user = User {
            secret: Zeroizing::new(secret.to_owned()),
            status,
            policies: known.map(|user| user.policies.clone()).unwrap_or_default(),
            updated_us: at_us,
        };
        row::put_user(change.store(), name, &user).await?;
        change.next.users.insert(name.to_owned(), Arc::new(user));
        change.publish();
        Ok(())
    }

    /// Removes a user and its group memberships.
    ///
    /// # Errors
    /// [`IamError::IsRoot`], [`IamError::NoSuchUser`], [`IamError::Store`].
    pub async fn remove_user(&self, name: &str, at_us: u64) -> Result<(), IamError> {
        let mut change = self.change().await;
        change.next.refuse_root(name)?;
        change.next.require_user(name)?;
        // ORDER: memberships first. A crash in between leaves a user in fewer groups; the other order would leave
        // memberships that a later user of the same name inherits.
        for group_name in change.next.groups_of(name) {
            let mut group = change.next.require_group(&group_name)?.clone();
            group.members.remove(name);
            group.updated_us = at_us;
            row::put_group(change.store(), &group_name, &group).await?;
            change.next.groups.insert(group_name, Arc::new(group));
        }
        row::delete_user(change.store(), name).await?;
        change.next.users.remove(name);
        change.publish();
        Ok(())
    }

    /// Lets a user sign, or not.
    ///
    /// # Errors
    /// [`IamError::IsRoot`], [`IamError::NoSuchUser`], [`IamError::Store`].
    pub async fn set_user_status(
        &self,
        name: &str,
        status: Status,
        at_us: u64,
    ) -> Result<(), IamError> {
        let mut change = self.change().await;
        change.next.refuse_root(name)?;
        let mut user = change.next.require_user(name)?.clone();
        user.status = status;
        user.updated_us = at_us;
        row::put_user(change.store(), name, &user).await?;
        change.next.users.insert(name.to_owned(), Arc::new(user));
        change.publish();
        Ok(())
    }
}
