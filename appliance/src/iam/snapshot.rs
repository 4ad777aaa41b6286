//! All identities at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use policy_lab::{Attached, Principal, PrincipalKind, canned};

use super::policy::Document;
use super::{Entity, Group, IamError, Status, User};
use crate::bootstrap::RootCredentials;
use crate::s3::auth::{SecretKey, Secrets};

/// Names that always list a policy, written by the operator or not.
const CANNED: [&str; 7] = [
    "auditor",
    "consoleAdmin",
    "diagnostics",
    "readonly",
    "readwrite",
    "recordsOfficer",
    "writeonly",
];

/// The identities of one moment. Cheap to clone: the entries are shared.
///
/// A policy name that is attached and does not exist contributes nothing; the writing side prevents it.
#[derive(Clone)]
pub struct Snapshot {
    root: RootCredentials,
    account: String,
    pub(super) users: BTreeMap<String, Arc<User>>,
    pub(super) groups: BTreeMap<String, Arc<Group>>,
    pub(super) policies: BTreeMap<String, Arc<Document>>,
    /// User to the groups that it is in, disabled ones too. INVARIANT: made from `groups` by [`Self::index`].
    memberships: HashMap<String, BTreeSet<String>>,
}

/// What an access key stands for.
#[derive(Clone, Debug)]
pub struct Credential {
    pub principal: Principal,
    pub secret: SecretKey,
    /// A disabled credential exists but must not sign.
    pub enabled: bool,
}

impl Snapshot {
    /// Only root and the canned policies.
    pub(super) fn empty(root: RootCredentials, account: &str) -> Self {
        let mut snapshot = Self {
            root,
            account: account.to_owned(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            policies: BTreeMap::new(),
            memberships: HashMap::new(),
        };
        for name in CANNED {
            snapshot.forget_policy(name);
        }
        snapshot
    }

    /// Who signs with this access key. Root cannot be shadowed by a user.
    #[must_use]
    pub fn credential(&self, access_key: &str) -> Option<Credential> {
        if access_key == self.root.access_key {
            return Some(Credential {
                principal: self.root_principal(),
                secret: SecretKey::new(self.root.secret_key.as_str()),
                enabled: true,
            });
        }
        let user = self.users.get(access_key)?;
        Some(Credential {
            principal: self.user_principal(access_key),
            secret: SecretKey::new(user.secret.as_str()),
            enabled: user.status == Status::Enabled,
        })
    }

    /// Policies of the principal itself and of its enabled groups, each once, by name. Root needs none.
    #[must_use]
    pub fn identity_policies(&self, principal: &Principal) -> Vec<Attached> {
        if principal.kind != PrincipalKind::User {
            return Vec::new();
        }
        let Some(user) = self.users.get(&principal.name) else { return Vec::new() };
        let enabled = self.enabled_groups(&principal.name);
        let of_groups = enabled.filter_map(|name| self.groups.get(name)).flat_map(|g| &g.policies);
        let names: BTreeSet<_> = user.policies.iter().chain(of_groups).collect();
        names
            .into_iter()
            .filter_map(|name| self.policies.get(name))
            .map(|document| document.attached.clone())
            .collect()
    }

    /// The policy that limits a session; there are no sessions yet.
    #[must_use]
    pub fn session_policy(&self, _principal: &Principal) -> Option<Attached> {
        None
    }

    /// The account that all identities are of.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), &**user))
    }

    /// All groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), &**group))
    }

    /// All policies by name, canned ones too.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.policies.iter().map(|(name, document)| (name.as_str(), &**document))
    }

    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Document> {
        self.policies.get(name).map(|document| &**document)
    }

    /// Groups that list this user, disabled ones too.
    #[must_use]
    pub fn groups_of(&self, user: &str) -> BTreeSet<String> {
        self.memberships.get(user).cloned().unwrap_or_default()
    }

    #[must_use]
    pub fn is_root(&self, access_key: &str) -> bool {
        access_key == self.root.access_key
    }

    /// Remakes what is derived from the entries; called after every change.
    pub(super) fn index(&mut self) {
        self.memberships.clear();
        for (name, group) in &self.groups {
            for member in &group.members {
                self.memberships.entry(member.clone()).or_default().insert(name.clone());
            }
        }
    }

    /// Takes a policy of the operator away; a canned one of the name takes its place.
    pub(super) fn forget_policy(&mut self, name: &str) {
        let canned = CANNED.contains(&name).then(|| canned::attached(name)).flatten();
        match canned {
            Some(attached) => {
                let document = Document { attached, written: None };
                self.policies.insert(name.to_owned(), Arc::new(document));
            }
            None => {
                self.policies.remove(name);
            }
        }
    }

    /// The first user or group that has the policy.
    pub(super) fn entity_with(&self, policy: &str) -> Option<String> {
        let user = self.users.iter().find(|(_, user)| user.policies.contains(policy));
        let group = || self.groups.iter().find(|(_, group)| group.policies.contains(policy));
        user.map(|(name, _)| name.clone()).or_else(|| group().map(|(name, _)| name.clone()))
    }

    /// Names of the policies attached to the entity itself.
    ///
    /// # Errors
    /// The entity is unknown, or root, to which nothing can be attached.
    pub fn attached_names(&self, entity: &Entity) -> Result<BTreeSet<String>, IamError> {
        match entity {
            Entity::User(name) => {
                self.refuse_root(name)?;
                Ok(self.require_user(name)?.policies.clone())
            }
            Entity::Group(name) => Ok(self.require_group(name)?.policies.clone()),
        }
    }

    pub(super) fn refuse_root(&self, name: &str) -> Result<(), IamError> {
        if self.is_root(name) { Err(IamError::IsRoot(name.to_owned())) } else { Ok(()) }
    }

    pub(super) fn require_user(&self, name: &str) -> Result<&User, IamError> {
        self.user(name).ok_or_else(|| IamError::NoSuchUser(name.to_owned()))
    }

    pub(super) fn require_group(&self, name: &str) -> Result<&Group, IamError> {
        self.group(name).ok_or_else(|| IamError::NoSuchGroup(name.to_owned()))
    }

    fn enabled_groups<'a>(&'a self, user: &str) -> impl Iterator<Item = &'a String> {
        let groups = self.memberships.get(user).into_iter().flatten();
        groups.filter(|name| self.group(name).is_some_and(|g| g.status == Status::Enabled))
    }

    /// The owner, as whom the server itself acts.
    #[must_use]
    pub fn root_principal(&self) -> Principal {
        Principal {
            kind: PrincipalKind::Root,
            name: self.root.access_key.clone(),
            arn: format!("arn:aws:iam::{}:root", self.account),
            account: self.account.clone(),
            groups: Vec::new(),
            parent: None,
        }
    }

    fn user_principal(&self, name: &str) -> Principal {
        Principal {
            kind: PrincipalKind::User,
            name: name.to_owned(),
            arn: format!("arn:aws:iam::{}:user/{name}", self.account),
            account: self.account.clone(),
            groups: self.enabled_groups(name).cloned().collect(),
            parent: None,
        }
    }
}

/// A disabled user's key is unknown to the verifier, as the trait asks.
impl Secrets for Snapshot {
    fn secret(&self, access_key: &str) -> Option<SecretKey> {
        self.credential(access_key)
            .filter(|credential| credential.enabled)
            .map(|credential| credential.secret)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("users", &self.users.len())
            .field("groups", &self.groups.len())
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}
