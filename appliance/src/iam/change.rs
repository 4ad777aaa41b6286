//! What the changes of users and groups have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use storage::Store;
use tokio::sync::MutexGuard;

use super::{Iam, IamError, Snapshot, row};

/// Most policies on one user or group.
pub(super) const ATTACHED_MAX: usize = 64;

/// Whether a user may sign, or a group's policies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Enabled,
    Disabled,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// Parses the word on the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "enabled" => Some(Self::Enabled),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// What a policy can be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entity {
    User(String),
    Group(String),
}

/// A change under way: no other begins before this one is dropped.
pub(super) struct Change<'a> {
    iam: &'a Iam,
    /// The state to be; edited by the change, then published.
    pub(super) next: Snapshot,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Iam {
    pub(super) async fn change(&self) -> Change<'_> {
        let one_at_a_time = self.writing.lock().await;
        let next = Snapshot::clone(&self.snapshot.load());
        Change { iam: self, next, _one_at_a_time: one_at_a_time }
    }

    /// Adds policies. The answer lists those that were not attached before.
    ///
    /// # Errors
    /// [`IamError::NoSuchPolicy`], the entity unknown, [`IamError::TooMany`], [`IamError::Store`].
    pub async fn attach(
        &self,
        names: &[String],
        entity: &Entity,
        at_us: u64,
    ) -> Result<Vec<String>, IamError> {
        let change = self.change().await;
        change.require_policies(names)?;
        let current = change.next.attached_names(entity)?;
        let added: BTreeSet<_> = names.iter().filter(|n| !current.contains(*n)).cloned().collect();
        change.set_policies(entity, current.union(&added).cloned().collect(), at_us).await?;
        Ok(added.into_iter().collect())
    }

    /// Removes policies. The answer lists those that were attached before.
    ///
    /// # Errors
    /// The entity unknown, [`IamError::Store`].
    pub async fn detach(
        &self,
        names: &[String],
        entity: &Entity,
        at_us: u64,
    ) -> Result<Vec<String>, IamError> {
        let change = self.change().await;
        let current = change.next.attached_names(entity)?;
        let removed: BTreeSet<_> = names.iter().filter(|n| current.contains(*n)).cloned().collect();
        change.set_policies(entity, current.difference(&removed).cloned().collect(), at_us).await?;
        Ok(removed.into_iter().collect())
    }

    /// Makes exactly these policies attached.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub async fn set_policy(
        &self,
        names: &[String],
        entity: &Entity,
        at_us: u64,
    ) -> Result<(), IamError> {
        let change = self.change().await;
        change.require_policies(names)?;
        change.set_policies(entity, names.iter().cloned().collect(), at_us).await
    }
}

impl Change<'_> {
    pub(super) fn store(&self) -> &Store {
        &self.iam.store
    }

    /// Makes the edited state the current one. ORDER: its rows are durable.
    pub(super) fn publish(self) {
        let mut next = self.next;
        next.index();
        self.iam.snapshot.store(Arc::new(next));
    }

    fn require_policies(&self, names: &[String]) -> Result<(), IamError> {
        match names.iter().find(|name| self.next.policy(name).is_none()) {
            Some(name) => Err(IamError::NoSuchPolicy(name.clone())),
            None => Ok(()),
        }
    }

    async fn set_policies(
        mut self,
        entity: &Entity,
        names: BTreeSet<String>,
        at_us: u64,
    ) -> Result<(), IamError> {
        if names.len() > ATTACHED_MAX {
            return Err(IamError::TooMany { what: "attached policies", limit: ATTACHED_MAX });
        }
        if names == self.next.attached_names(entity)? {
            return Ok(());
        }
        match entity {
            Entity::User(name) => {
                let mut user = self.next.require_user(name)?.clone();
                user.policies = names;
                user.updated_us = at_us;
                row::put_user(self.store(), name, &user).await?;
                self.next.users.insert(name.clone(), Arc::new(user));
            }
            Entity::Group(name) => {
                let mut group = self.next.require_group(name)?.clone();
                group.policies = names;
                group.updated_us = at_us;
                row::put_group(self.store(), name, &group).await?;
                self.next.groups.insert(name.clone(), Arc::new(group));
            }
        }
        self.publish();
        Ok(())
    }
}
