//! Calls about which policies are attached to whom.

use std::collections::BTreeSet;

use http::Method;
use serde::{Deserialize, Serialize};

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed, rfc3339};
use crate::authz::{Effect, Permit};
use crate::iam::{Entity, Snapshot};

/// Names as old calls write them in one parameter.
pub(super) fn split_names(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// Names as listings show them.
pub(super) fn join_names(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// `PUT set-user-or-group-policy?policyName=A,B&userOrGroup=X&isGroup=true|false`: makes exactly these attached.
#[derive(Debug)]
pub(super) struct SetUserOrGroupPolicy;

impl Operation for SetUserOrGroupPolicy {
    const NAME: &'static str = "set-user-or-group-policy";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:AttachUserOrGroupPolicy";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("userOrGroup")?.to_owned();
        let entity = match call.query.get("isGroup") {
            Some("true") => Entity::Group(name),
            _ => Entity::User(name),
        };
        let names = split_names(call.query.get("policyName").unwrap_or_default());
        let set = call.iam().set_policy(&names, &entity, call.now_us()).await;
        call.identities_changed();
        Ok(set.map(|()| Answer::default())?)
    }
}

/// `POST idp/builtin/policy/attach`.
#[derive(Debug)]
pub(super) struct AttachPolicy;

/// `POST idp/builtin/policy/detach`.
#[derive(Debug)]
pub(super) struct DetachPolicy;

#[derive(Deserialize)]
struct Association {
    policies: Vec<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    group: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies_attached: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies_detached: Vec<String>,
    updated_at: String,
}

impl Association {
    /// Parses the body and notes it.
    fn of(call: &Call) -> Result<(Vec<String>, Entity), AdminError> {
        let Self { policies, user, group } = call.json()?;
        call.note("policies", policies.join(","));
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        let entity = match (named(user), named(group)) {
            (Some(user), None) => Entity::User(user),
            (None, Some(group)) => Entity::Group(group),
            _ => return Err(AdminError::invalid_argument("Name either a user or a group.")),
        };
        match &entity {
            Entity::User(name) => call.note("user", name.clone()),
            Entity::Group(name) => call.note("group", name.clone()),
        }
        if policies.is_empty() {
            return Err(AdminError::invalid_argument("Name at least one policy."));
        }
        Ok((policies, entity))
    }
}

impl Operation for AttachPolicy {
    const NAME: &'static str = "idp/builtin/policy/attach";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AttachUserOrGroupPolicy";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Both;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (policies, entity) = Association::of(&call)?;
        let at_us = call.now_us();
        let attached = call.iam().attach(&policies, &entity, at_us).await;
        call.identities_changed();
        let policies_attached = changed(attached?)?;
        let updated_at = rfc3339(at_us);
        Answer::json(&Applied { policies_attached, updated_at, ..Applied::default() })
    }
}

impl Operation for DetachPolicy {
    const NAME: &'static str = "idp/builtin/policy/detach";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:UpdatePolicyAssociation";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Both;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (policies, entity) = Association::of(&call)?;
        let at_us = call.now_us();
        let detached = call.iam().detach(&policies, &entity, at_us).await;
        call.identities_changed();
        let policies_detached = changed(detached?)?;
        let updated_at = rfc3339(at_us);
        Answer::json(&Applied { policies_detached, updated_at, ..Applied::default() })
    }
}

fn changed(names: Vec<String>) -> Result<Vec<String>, AdminError> {
    if names.is_empty() { Err(AdminError::already_applied()) } else { Ok(names) }
}

/// `GET idp/builtin/policy-entities[?user=…&group=…&policy=…]`; without a filter, all policies and who has them.
#[derive(Debug)]
pub(super) struct PolicyEntities;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entities {
    timestamp: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_mappings: Vec<UserMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group_mappings: Vec<GroupMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policy_mappings: Vec<PolicyMapping>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserMapping {
    user: String,
    policies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    member_of_mappings: Vec<GroupMapping>,
}

#[derive(Serialize)]
struct GroupMapping {
    group: String,
    policies: Vec<String>,
}

#[derive(Serialize)]
struct PolicyMapping {
    policy: String,
    users: Vec<String>,
    groups: Vec<String>,
}

impl Operation for PolicyEntities {
    const NAME: &'static str = "idp/builtin/policy-entities";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ListUserPolicies";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Response;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let snapshot = call.snapshot();
        let (users, groups) = (call.repeated("user"), call.repeated("group"));
        let mut policies = call.repeated("policy");
        if users.is_empty() && groups.is_empty() && policies.is_empty() {
            policies = snapshot.policies().map(|(name, _)| name.to_owned()).collect();
        }
        Answer::json(&Entities {
            timestamp: rfc3339(call.now_us()),
            user_mappings: users.iter().filter_map(|user| of_user(&snapshot, user)).collect(),
            group_mappings: groups.iter().filter_map(|group| of_group(&snapshot, group)).collect(),
            policy_mappings: policies.into_iter().map(|name| of_policy(&snapshot, name)).collect(),
        })
    }
}

/// A name that is not known is left out, as MinIO does.
fn of_user(snapshot: &Snapshot, name: &str) -> Option<UserMapping> {
    let user = snapshot.user(name)?;
    let groups = snapshot.groups_of(name);
    Some(UserMapping {
        user: name.to_owned(),
        policies: user.policies.iter().cloned().collect(),
        member_of_mappings: groups.iter().filter_map(|group| of_group(snapshot, group)).collect(),
    })
}

fn of_group(snapshot: &Snapshot, name: &str) -> Option<GroupMapping> {
    let group = snapshot.group(name)?;
    Some(GroupMapping {
        group: name.to_owned(),
        policies: group.policies.iter().cloned().collect(),
    })
}

fn of_policy(snapshot: &Snapshot, policy: String) -> PolicyMapping {
    let users = snapshot.users().filter(|(_, user)| user.policies.contains(&policy));
    let groups = snapshot.groups().filter(|(_, group)| group.policies.contains(&policy));
    PolicyMapping {
        users: users.map(|(name, _)| name.to_owned()).collect(),
        groups: groups.map(|(name, _)| name.to_owned()).collect(),
        policy,
    }
}
