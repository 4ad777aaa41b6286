//! Calls about groups.

use http::Method;
use serde::{Deserialize, Serialize};

use super::operation::{Answer, Call, Operation, Sealed, rfc3339};
use super::user::parse_status;
use super::{AdminError, attachment};
use crate::authz::{Effect, Permit};
use crate::iam::IamError;

/// `PUT update-group-members`: adds or removes members; a group is made on first use, and removed by name when empty.
#[derive(Debug)]
pub(super) struct UpdateGroupMembers;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    group: String,
    /// Go clients write `null` for an empty list.
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(default)]
    is_remove: bool,
}

impl Operation for UpdateGroupMembers {
    const NAME: &'static str = "update-group-members";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:AddUserToGroup";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let Membership { group, members, is_remove } = call.json()?;
        let members = members.unwrap_or_default();
        call.note("group", group.clone());
        call.note("members", members.join(","));
        call.note("isRemove", is_remove.to_string());
        let iam = call.iam();
        let changed = match (is_remove, members.is_empty()) {
            (false, _) => iam.add_members(&group, &members, call.now_us()).await,
            (true, false) => iam.remove_members(&group, &members, call.now_us()).await,
            (true, true) => iam.remove_group(&group).await,
        };
        call.identities_changed();
        Ok(changed.map(|()| Answer::default())?)
    }
}

/// `GET group?group=G`.
#[derive(Debug)]
pub(super) struct GroupInfo;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    name: &'a str,
    status: &'static str,
    members: Vec<&'a str>,
    policy: String,
    updated_at: String,
}

impl Operation for GroupInfo {
    const NAME: &'static str = "group";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:GetGroup";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("group")?;
        let snapshot = call.snapshot();
        let group = snapshot.group(name).ok_or_else(|| IamError::NoSuchGroup(name.to_owned()))?;
        Answer::json(&Described {
            name,
            status: group.status.as_str(),
            members: group.members.iter().map(String::as_str).collect(),
            policy: attachment::join_names(&group.policies),
            updated_at: rfc3339(group.updated_us),
        })
    }
}

/// `GET groups`: names only.
#[derive(Debug)]
pub(super) struct ListGroups;

impl Operation for ListGroups {
    const NAME: &'static str = "groups";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ListGroups";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let snapshot = call.snapshot();
        let names: Vec<_> = snapshot.groups().map(|(name, _)| name).collect();
        Answer::json(&names)
    }
}

/// `PUT set-group-status?group=G&status=enabled|disabled`.
#[derive(Debug)]
pub(super) struct SetGroupStatus;

impl Operation for SetGroupStatus {
    const NAME: &'static str = "set-group-status";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:EnableGroup";
    const ACTION_DISABLING: Option<&'static str> = Some("admin:DisableGroup");
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let status = parse_status(call.required("status")?)?;
        let group = call.required("group")?;
        let changed = call.iam().set_group_status(group, status, call.now_us()).await;
        call.identities_changed();
        Ok(changed.map(|()| Answer::default())?)
    }
}
