//! Calls about users.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::operation::{Answer, Call, Operation, Sealed, rfc3339};
use super::{AdminError, attachment};
use crate::authz::{Effect, Permit};
use crate::iam::{Entity, IamError, Snapshot, Status, User};

/// `PUT add-user?accessKey=U`: adds a user or replaces its secret.
#[derive(Debug)]
pub(super) struct AddUser;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    secret_key: String,
    #[serde(default)]
    status: String,
    /// Old clients attach policies in the same call.
    #[serde(default)]
    policy: Option<String>,
}

impl Operation for AddUser {
    const NAME: &'static str = "add-user";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:CreateUser";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Request;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("accessKey")?;
        let NewUser { secret_key, status, policy } = call.json()?;
        let secret = Zeroizing::new(secret_key);
        let status = if status.is_empty() { Status::Enabled } else { parse_status(&status)? };
        call.note("status", status.as_str());
        let added = call.iam().add_user(name, &secret, status, call.now_us()).await;
        call.identities_changed();
        added.map_err(|error| match error {
            IamError::IsRoot(_) => {
                AdminError { code: "XMinioInvalidIAMCredentials".into(), ..AdminError::from(error) }
            }
            other => other.into(),
        })?;
        if let Some(policy) = policy.filter(|policy| !policy.is_empty()) {
            let names = attachment::split_names(&policy);
            call.note("policies", names.join(","));
            let entity = Entity::User(name.to_owned());
            let attached = call.iam().set_policy(&names, &entity, call.now_us()).await;
            call.identities_changed();
            attached?;
        }
        Ok(Answer::default())
    }
}

/// `GET list-users`.
#[derive(Debug)]
pub(super) struct ListUsers;

impl Operation for ListUsers {
    const NAME: &'static str = "list-users";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ListUsers";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Response;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let snapshot = call.snapshot();
        let users: BTreeMap<_, _> = snapshot
            .users()
            .map(|(name, user)| (name, Described::new(&snapshot, name, user)))
            .collect();
        Answer::json(&users)
    }
}

/// `GET user-info?accessKey=U`.
#[derive(Debug)]
pub(super) struct UserInfo;

impl Operation for UserInfo {
    const NAME: &'static str = "user-info";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:GetUser";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("accessKey")?;
        let snapshot = call.snapshot();
        let user = snapshot.user(name).ok_or_else(|| IamError::NoSuchUser(name.to_owned()))?;
        Answer::json(&Described::new(&snapshot, name, user))
    }
}

/// `DELETE remove-user?accessKey=U`.
#[derive(Debug)]
pub(super) struct RemoveUser;

impl Operation for RemoveUser {
    const NAME: &'static str = "remove-user";
    const METHOD: Method = Method::DELETE;
    const ACTION: &'static str = "admin:DeleteUser";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let removed = call.iam().remove_user(call.required("accessKey")?, call.now_us()).await;
        call.identities_changed();
        Ok(removed.map(|()| Answer::default())?)
    }
}

/// `PUT set-user-status?accessKey=U&status=enabled|disabled`.
#[derive(Debug)]
pub(super) struct SetUserStatus;

impl Operation for SetUserStatus {
    const NAME: &'static str = "set-user-status";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:EnableUser";
    const ACTION_DISABLING: Option<&'static str> = Some("admin:DisableUser");
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let status = parse_status(call.required("status")?)?;
        let name = call.required("accessKey")?;
        let changed = call.iam().set_user_status(name, status, call.now_us()).await;
        call.identities_changed();
        Ok(changed.map(|()| Answer::default())?)
    }
}

pub(super) fn parse_status(word: &str) -> Result<Status, AdminError> {
    let unknown = || AdminError::invalid_argument("The status is neither enabled nor disabled.");
    Status::parse(word).ok_or_else(unknown)
}

/// A user as clients read it; the secret is never told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(skip_serializing_if = "String::is_empty")]
    policy_name: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    member_of: Vec<String>,
    updated_at: String,
}

impl Described {
    fn new(snapshot: &Snapshot, name: &str, user: &User) -> Self {
        Self {
            policy_name: attachment::join_names(&user.policies),
            status: user.status.as_str(),
            member_of: snapshot.groups_of(name).into_iter().collect(),
            updated_at: rfc3339(user.updated_us),
        }
    }
}
