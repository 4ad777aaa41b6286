//! A world as the appliance exports it: who there is, what is attached to whom, and every document.
//!
//! ```json
//! {"schema":"appliance/world","v":1,"account":"000000000000",
//!  "users":{"alice":{"enabled":true,"policies":["readonly"]}},
//!  "groups":{"eng":{"enabled":true,"members":["alice"],"policies":["team"]}},
//!  "policies":{"team":"{\"Version\":…}"},"buckets":{"ledger":"{…}"},
//!  "guardrails":[{"name":"frozen.rego","text":"package s3.authz…"}]}
//! ```
//! Documents are text, so that their digests are those of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::decision::statement_id;
use crate::document::place_of;
use crate::rego::REVIEW_TIME_MAX;
use crate::{
    Attached, DocumentError, DocumentKind, Guardrails, Layer, Policy, PolicySet, Principal,
    PrincipalKind, Profile, RegoError,
};

/// The word in `schema`.
pub const SCHEMA: &str = "appliance/world";

/// A world as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a world")]
pub struct ExportedWorld {
    pub schema: String,
    pub v: u32,
    #[serde(default)]
    pub account: String,
    #[serde(default)]
    pub users: BTreeMap<String, ExportedUser>,
    #[serde(default)]
    pub groups: BTreeMap<String, ExportedGroup>,
    /// Documents by the name under which they are attached.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Documents by bucket.
    #[serde(default)]
    pub buckets: BTreeMap<String, String>,
    #[serde(default)]
    pub guardrails: Vec<ExportedGuardrail>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a user")]
pub struct ExportedUser {
    pub enabled: bool,
    #[serde(default)]
    pub policies: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a group")]
pub struct ExportedGroup {
    pub enabled: bool,
    #[serde(default)]
    pub members: BTreeSet<String>,
    #[serde(default)]
    pub policies: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a guardrail")]
pub struct ExportedGuardrail {
    pub name: String,
    pub text: String,
}

/// Why an export is not a world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Line and column are from one.
    #[error("{message}")]
    Malformed { line: usize, column: usize, message: String },
    #[error("policy `{name}`: {source}")]
    Policy { name: String, source: DocumentError },
    #[error("{owner} has the policy `{name}`, which is not in the export")]
    Missing { owner: String, name: String },
    #[error("the guardrails do not load: {0}")]
    Guardrails(#[from] RegoError),
}

impl ExportError {
    fn malformed(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let end = message.rfind(" at line ").unwrap_or(message.len());
        Self::Malformed {
            line: error.line().max(1),
            column: error.column().max(1),
            message: message.get(..end).unwrap_or_default().to_owned(),
        }
    }

    /// Line and column, from one, in the text of the export. Where a document in it is wrong they are those of the document's
    /// text; the message has the place inside.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        match self {
            Self::Malformed { line, column, .. } => (*line, *column),
            Self::Policy { name, .. } => {
                let of = |section: &str| place_of(text, &[section, name]);
                let whole = |section: &str| place_of(text, &[section]);
                if of("policies") == whole("policies") { of("buckets") } else { of("policies") }
            }
            Self::Missing { owner, .. } => {
                let (kind, name) = owner.split_once(' ').unwrap_or_default();
                place_of(text, &[&format!("{kind}s"), name.trim_matches('`'), "policies"])
            }
            Self::Guardrails(_) => place_of(text, &["guardrails"]),
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Malformed { .. } => Some("write it anew with `appliance iam export`"),
            Self::Missing { .. } => Some("add it to `policies`, or leave the name out"),
            // Their own messages have it.
            Self::Policy { .. } | Self::Guardrails(_) => None,
        }
    }
}

/// An export, read whole and compiled.
#[derive(Clone, Debug)]
pub struct Export {
    text: ExportedWorld,
    policies: BTreeMap<String, Attached>,
    buckets: BTreeMap<String, Attached>,
    guardrails: Option<Arc<Guardrails>>,
    /// Policy names of each user, those of its enabled groups included.
    effective: BTreeMap<String, BTreeSet<String>>,
    groups_of: BTreeMap<String, Vec<String>>,
}

impl Export {
    /// Reads an export.
    ///
    /// # Errors
    /// When it is not one, names a policy that it does not hold, or holds a document that the server would refuse.
    pub fn parse(text: &str) -> Result<Self, ExportError> {
        let world: ExportedWorld =
            serde_json::from_str(text).map_err(|error| ExportError::malformed(&error))?;
        if world.schema != SCHEMA || world.v != 1 {
            let found = format!("schema `{}` version {} is not known", world.schema, world.v);
            let member = if world.schema == SCHEMA { "v" } else { "schema" };
            let (line, column) = place_of(text, &[member]);
            return Err(ExportError::Malformed { line, column, message: found });
        }
        Self::new(world)
    }

    /// Compiles a world.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn new(world: ExportedWorld) -> Result<Self, ExportError> {
        let policies = compiled(&world.policies, DocumentKind::Identity)?;
        let buckets = compiled(&world.buckets, DocumentKind::Bucket)?;
        let owners = world
            .users
            .iter()
            .map(|(name, user)| (format!("user `{name}`"), &user.policies))
            .chain(world.groups.iter().map(|(n, group)| (format!("group `{n}`"), &group.policies)));
        for (owner, names) in owners {
            if let Some(name) = names.iter().find(|name| !policies.contains_key(*name)) {
                return Err(ExportError::Missing { owner, name: name.clone() });
            }
        }
        let sources: Vec<_> =
            world.guardrails.iter().map(|g| (g.name.clone(), g.text.clone())).collect();
        let guardrails = match sources.is_empty() {
            true => None,
            false => Some(Arc::new(Guardrails::load(sources)?.with_time_limit(REVIEW_TIME_MAX))),
        };
        let mut effective: BTreeMap<_, _> =
            world.users.iter().map(|(name, user)| (name.clone(), user.policies.clone())).collect();
        let mut groups_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, group) in world.groups.iter().filter(|(_, group)| group.enabled) {
            for member in &group.members {
                if let Some(names) = effective.get_mut(member) {
                    names.extend(group.policies.iter().cloned());
                }
                groups_of.entry(member.clone()).or_default().push(name.clone());
            }
        }
        Ok(Self { text: world, policies, buckets, guardrails, effective, groups_of })
    }

    /// The same world with changes on top; documents are read as a profile does.
    ///
    /// # Errors
    /// As for [`Self::parse`] and [`Self::read_as`].
    pub fn changed(&self, changes: &[Change], profile: Profile) -> Result<Self, ExportError> {
        let mut world = self.text.clone();
        let source = |attached: &Attached| attached.policy.source().to_owned();
        for change in changes {
            match change {
                Change::World(other) => world = other.text.clone(),
                Change::Named(policy) => {
                    world.policies.insert(policy.name.to_string(), source(policy));
                }
                Change::Identity(policies) => {
                    let mut names = BTreeSet::new();
                    for (at, policy) in policies.iter().enumerate() {
                        let name = format!("{} ({})", policy.name, at + 1);
                        world.policies.insert(name.clone(), source(policy));
                        names.insert(name);
                    }
                    world.users.values_mut().for_each(|user| user.policies.clone_from(&names));
                    world.groups.values_mut().for_each(|group| group.policies.clear());
                }
                Change::Bucket { bucket, policy } => {
                    world.buckets.insert(bucket.clone(), source(policy));
                }
                Change::Guardrail { name, text } => {
                    world.guardrails.retain(|there| there.name != *name);
                    let (name, text) = (name.clone(), text.clone());
                    world.guardrails.push(ExportedGuardrail { name, text });
                }
                Change::Guardrails(all) => {
                    let exported = |(name, text): &(String, String)| ExportedGuardrail {
                        name: name.clone(),
                        text: text.clone(),
                    };
                    world.guardrails = all.iter().map(exported).collect();
                }
            }
        }
        Self::new(world)?.read_as(profile)
    }

    /// The same world, its documents read as a profile does.
    ///
    /// # Errors
    /// [`ExportError::Policy`] when the profile does not have what a document says.
    pub fn read_as(&self, profile: Profile) -> Result<Self, ExportError> {
        let again = |documents: &BTreeMap<String, Attached>| {
            let one = |(name, attached): (&String, &Attached)| {
                let (source, kind) = (attached.policy.source(), attached.policy.kind());
                let policy = Policy::parse_as(source, kind, profile)
                    .map_err(|source| ExportError::Policy { name: name.clone(), source })?;
                let policy = Arc::new(policy);
                Ok((name.clone(), Attached { name: Arc::clone(&attached.name), policy }))
            };
            documents.iter().map(one).collect::<Result<_, ExportError>>()
        };
        let (policies, buckets) = (again(&self.policies)?, again(&self.buckets)?);
        Ok(Self { policies, buckets, ..self.clone() })
    }

    /// The text it was made from.
    #[must_use]
    pub fn text(&self) -> &ExportedWorld {
        &self.text
    }

    /// Everybody who can call: users that are enabled.
    pub fn principals(&self) -> impl Iterator<Item = Principal> {
        let account = match self.text.account.as_str() {
            "" => "000000000000",
            account => account,
        };
        self.text.users.iter().filter(|(_, user)| user.enabled).map(move |(name, _)| Principal {
            groups: self.groups_of.get(name).cloned().unwrap_or_default(),
            ..Principal::user(account, name)
        })
    }

    /// The bucket has a policy.
    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.buckets.contains_key(bucket)
    }

    /// A policy by its name, attached or not.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Attached> {
        self.policies.get(name)
    }

    /// Every policy that somebody has, and every bucket policy.
    pub fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.held().chain(self.buckets.values())
    }

    /// Every policy that somebody has.
    fn held(&self) -> impl Iterator<Item = &Attached> {
        let groups = self.text.groups.values().flat_map(|group| &group.policies);
        let users = self.text.users.values().flat_map(|user| &user.policies);
        let held: BTreeSet<&String> = groups.chain(users).collect();
        let policies = self.policies.iter().filter(move |(name, _)| held.contains(name));
        policies.map(|(_, attached)| attached)
    }

    /// Every statement of [`Self::attached`], under its name in the log.
    #[must_use]
    pub fn statement_ids(&self) -> Vec<String> {
        let identity = self.held().map(|attached| (Layer::Identity, attached));
        let buckets = self.buckets.values().map(|attached| (Layer::Bucket, attached));
        let of = |(layer, attached): (Layer, &Attached)| {
            let count = u32::try_from(attached.policy.statements.len()).unwrap_or(u32::MAX);
            let name = Arc::clone(&attached.name);
            (0..count).map(move |index| statement_id(layer, &name, index))
        };
        identity.chain(buckets).flat_map(of).collect()
    }

    /// The policies in force for a caller on a bucket.
    ///
    /// A service account or session has those of its parent. A caller who is not in the world has none.
    #[must_use]
    pub fn policies(&self, principal: &Principal, bucket: Option<&str>) -> PolicySet {
        let name = match principal.kind {
            PrincipalKind::User => Some(principal.name.as_str()),
            PrincipalKind::ServiceAccount | PrincipalKind::Session => principal
                .parent
                .as_deref()
                .map(|parent| parent.rsplit_once(":user/").map_or(parent, |(_, name)| name)),
            PrincipalKind::Root | PrincipalKind::Anonymous => None,
        };
        let names = name.and_then(|name| self.effective.get(name)).into_iter().flatten();
        PolicySet {
            identity: names.filter_map(|name| self.policies.get(name)).cloned().collect(),
            bucket: bucket.and_then(|bucket| self.buckets.get(bucket)).cloned(),
            guardrails: self.guardrails.clone(),
            ..PolicySet::default()
        }
    }
}

fn compiled(
    documents: &BTreeMap<String, String>,
    kind: DocumentKind,
) -> Result<BTreeMap<String, Attached>, ExportError> {
    documents
        .iter()
        .map(|(name, text)| {
            let policy = Policy::parse(text, kind)
                .map_err(|source| ExportError::Policy { name: name.clone(), source })?;
            let attached = Attached { name: Arc::from(name.as_str()), policy: Arc::new(policy) };
            Ok((name.clone(), attached))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Export, ExportError};
    use crate::{Principal, PrincipalKind};

    const WORLD: &str = r#"{"schema":"appliance/world","v":1,"account":"000000000000",
        "users":{"ann":{"enabled":true,"policies":["read"]},"bob":{"enabled":false,"policies":[]}},
        "groups":{"eng":{"enabled":true,"members":["ann"],"policies":["write"]},
                  "old":{"enabled":false,"members":["ann"],"policies":["all"]}},
        "policies":{"read":"{\"Statement\":[]}","write":"{\"Statement\":[]}","all":"{\"Statement\":[]}"},
        "buckets":{"b":"{\"Statement\":[]}"},"guardrails":[]}"#;

    fn names(export: &Export, principal: &Principal, bucket: Option<&str>) -> String {
        let set = export.policies(principal, bucket);
        set.identity.iter().chain(&set.bucket).map(|a| &*a.name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_user_has_its_own_policies_and_those_of_enabled_groups() {
        let export = Export::parse(WORLD).expect("a world");
        let ann = Principal::user("000000000000", "ann");
        assert_eq!(names(&export, &ann, Some("b")), "read write b");
        assert_eq!(names(&export, &ann, Some("c")), "read write");
        let derived = Principal {
            kind: PrincipalKind::ServiceAccount,
            name: "key".to_owned(),
            parent: Some("arn:aws:iam::000000000000:user/ann".to_owned()),
            ..ann
        };
        assert_eq!(names(&export, &derived, None), "read write");
        assert_eq!(names(&export, &Principal::user("000000000000", "eve"), None), "");
        assert_eq!(names(&export, &Principal::anonymous("000000000000"), Some("b")), "b");
        let callers: Vec<_> = export.principals().map(|p| (p.name, p.groups)).collect();
        assert_eq!(callers, [("ann".to_owned(), vec!["eng".to_owned()])]);
    }

    #[test]
    fn half_a_world_is_none() {
        for (from, to, wanted, place) in [
            ("\"v\":1", "\"v\":2", "version 2 is not known", (1, 33)),
            ("\"account\"", "\"acount\"", "unknown field `acount`", (1, 42)),
            ("[\"read\"]", "[\"raed\"]", "user `ann` has the policy `raed`", (2, 51)),
            ("\"all\":\"{", "\"all\":\"", "policy `all`", (5, 84)),
            ("\"b\":\"{", "\"b\":\"", "policy `b`", (6, 24)),
            (
                "\"guardrails\":[]",
                "\"guardrails\":[{\"name\":\"g\",\"text\":\"\"}]",
                "load",
                (6, 59),
            ),
        ] {
            let text = WORLD.replacen(from, to, 1);
            let error: ExportError = Export::parse(&text).expect_err(from);
            assert!(error.to_string().contains(wanted), "{error}");
            assert_eq!(error.place(&text), place, "{error}");
        }
    }
}
