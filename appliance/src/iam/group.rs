//! Groups: users that share policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Iam, IamError, Status, name, row};

/// Most groups of one deployment.
const GROUPS_MAX: usize = 20_000;
/// Most members of one group: a group is one row, written whole.
const MEMBERS_MAX: usize = 20_000;

/// One group. Its name is the key of the map that holds it.
#[derive(Clone, Debug)]
pub struct Group {
    pub status: Status,
    pub members: BTreeSet<String>,
    /// Names of the policies attached to the group.
    pub policies: BTreeSet<String>,
    pub updated_us: u64,
}

impl Iam {
    /// Adds members; the group is made on first use.
    ///
    /// # Errors
    /// A bad name, [`IamError::IsRoot`], [`IamError::NoSuchUser`], [`IamError::TooMany`], [`IamError::Store`].
    pub async fn add_members(
        &self,
        group_name: &str,
        members: &[String],
        at_us: u64,
    ) -> Result<(), IamError> {
        name::check_group(group_name)?;
        let mut change = self.change().await;
        for member in members {
            change.next.refuse_root(member)?;
            change.next.require_user(member)?;
        }
        let known = change.next.groups.get(group_name);
        if known.is_none() && change.next.groups.len() >= GROUPS_MAX {
            return Err(IamError::TooMany { what: "groups", limit: GROUPS_MAX });
        }
        let mut group = known.map_or_else(|| Group::new(at_us), |group| Group::clone(group));
        group.members.extend(members.iter().cloned());
        if group.members.len() > MEMBERS_MAX {
            return Err(IamError::TooMany { what: "members of a group", limit: MEMBERS_MAX });
        }
        group.updated_us = at_us;
        row::put_group(change.store(), group_name, &group).await?;
        change.next.groups.insert(group_name.to_owned(), Arc::new(group));
        change.publish();
        Ok(())
    }

    /// Removes members; names that are not in the group are ignored.
    ///
    /// # Errors
    /// [`IamError::NoSuchGroup`], [`IamError::Store`].
    pub async fn remove_members(
        &self,
        group_name: &str,
        members: &[String],
        at_us: u64,
    ) -> Result<(), IamError> {
        self.edit_group(group_name, at_us, |group| {
            group.members.retain(|member| !members.contains(member));
        })
        .await
    }

    /// Removes a group that has no members.
    ///
    /// # Errors
    /// [`IamError::NoSuchGroup`], [`IamError::GroupNotEmpty`], [`IamError::Store`].
    pub async fn remove_group(&self, group_name: &str) -> Result<(), IamError> {
        let mut change = self.change().await;
        let members = change.next.require_group(group_name)?.members.len();
        if members > 0 {
            return Err(IamError::GroupNotEmpty { group: group_name.into(), members });
        }
        row::delete_group(change.store(), group_name).await?;
        change.next.groups.remove(group_name);
        change.publish();
        Ok(())
    }

    /// Lets the policies of a group count, or not.
    ///
    /// # Errors
    /// [`IamError::NoSuchGroup`], [`IamError::Store`].
    pub async fn set_group_status(
        &self,
        group_name: &str,
        status: Status,
        at_us: u64,
    ) -> Result<(), IamError> {
        self.edit_group(group_name, at_us, |group| group.status = status).await
    }

    async fn edit_group(
        &self,
        group_name: &str,
        at_us: u64,
        edit: impl FnOnce(&mut Group) + Send,
    ) -> Result<(), IamError> {
        let mut change = self.change().await;
        let mut group = change.next.require_group(group_name)?.clone();
        edit(&mut group);
        group.updated_us = at_us;
        row::put_group(change.store(), group_name, &group).await?;
        change.next.groups.insert(group_name.to_owned(), Arc::new(group));
        change.publish();
        Ok(())
    }
}

impl Group {
    fn new(at_us: u64) -> Self {
        Self {
            status: Status::Enabled,
            members: BTreeSet::new(),
            policies: BTreeSet::new(),
            updated_us: at_us,
        }
    }
}
