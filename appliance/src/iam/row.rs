//! Identities as rows of storage, in namespace `iam`.
//!
//! | row | value (JSON) |
//! |---|---|
//! | `user/NAME` | `v`, `secret`, `status`, `policies`, `updated_us` |
//! | `group/NAME` | `v`, `status`, `members`, `policies`, `updated_us` |
//! | `policy/NAME` | `v`, `document` (the text as written), `created_us`, `updated_us` |
//!
//! `v` is 1. Unknown members are errors: a row of a newer version must not be half understood.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::Store;
use zeroize::Zeroizing;

use super::policy::{Document, Written};
use super::{Group, IamError, Snapshot, Status, User};

const NAMESPACE: &str = "iam";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRow {
    v: u32,
    secret: String,
    status: Status,
    policies: BTreeSet<String>,
    updated_us: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRow {
    v: u32,
    status: Status,
    members: BTreeSet<String>,
    policies: BTreeSet<String>,
    updated_us: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRow {
    v: u32,
    document: String,
    created_us: u64,
    updated_us: u64,
}

/// Reads every row on top of `snapshot`.
pub(super) async fn load(store: &Store, mut snapshot: Snapshot) -> Result<Snapshot, IamError> {
    for (row, value) in store.scan_rows(NAMESPACE, "").await? {
        let Some((kind, name)) = row.split_once('/') else {
            return Err(damaged(&row, "a row that is no user, group or policy"));
        };
        match kind {
            "user" => {
                let user = parse::<UserRow>(&row, &value)?;
                snapshot.users.insert(name.to_owned(), Arc::new(user.into()));
            }
            "group" => {
                let group = parse::<GroupRow>(&row, &value)?;
                snapshot.groups.insert(name.to_owned(), Arc::new(group.into()));
            }
            "policy" => {
                let policy = parse::<PolicyRow>(&row, &value)?;
                let written =
                    Written { created_us: policy.created_us, updated_us: policy.updated_us };
                let document = Document::parse(name, &policy.document, Some(written))?;
                snapshot.policies.insert(name.to_owned(), Arc::new(document));
            }
            _ => return Err(damaged(&row, "a row that is no user, group or policy")),
        }
    }
    snapshot.index();
    Ok(snapshot)
}

pub(super) async fn put_user(store: &Store, name: &str, user: &User) -> Result<(), IamError> {
    let row = UserRow {
        v: VERSION,
        secret: user.secret.as_str().to_owned(),
        status: user.status,
        policies: user.policies.clone(),
        updated_us: user.updated_us,
    };
    let written = put(store, &user_row(name), &row).await;
    drop(Zeroizing::new(row.secret));
    written
}

pub(super) async fn delete_user(store: &Store, name: &str) -> Result<(), IamError> {
    Ok(store.delete_row(NAMESPACE, &user_row(name)).await?)
}

pub(super) async fn put_group(store: &Store, name: &str, group: &Group) -> Result<(), IamError> {
    let row = GroupRow {
        v: VERSION,
        status: group.status,
        members: group.members.clone(),
        policies: group.policies.clone(),
        updated_us: group.updated_us,
    };
    put(store, &group_row(name), &row).await
}

pub(super) async fn delete_group(store: &Store, name: &str) -> Result<(), IamError> {
    Ok(store.delete_row(NAMESPACE, &group_row(name)).await?)
}

pub(super) async fn put_policy(
    store: &Store,
    name: &str,
    document: &str,
    written: Written,
) -> Result<(), IamError> {
    let row = PolicyRow {
        v: VERSION,
        document: document.to_owned(),
        created_us: written.created_us,
        updated_us: written.updated_us,
    };
    put(store, &policy_row(name), &row).await
}

pub(super) async fn delete_policy(store: &Store, name: &str) -> Result<(), IamError> {
    Ok(store.delete_row(NAMESPACE, &policy_row(name)).await?)
}

fn user_row(name: &str) -> String {
    format!("user/{name}")
}

fn group_row(name: &str) -> String {
    format!("group/{name}")
}

fn policy_row(name: &str) -> String {
    format!("policy/{name}")
}

async fn put(store: &Store, row: &str, value: &impl Serialize) -> Result<(), IamError> {
    let json = serde_json::to_vec(value).map_err(|e| damaged(row, &e.to_string()))?;
    Ok(store.put_row(NAMESPACE, row, Bytes::from(json)).await?)
}

/// Reads the version first, so that a newer row is called newer.
fn parse<T: DeserializeOwned>(row: &str, value: &[u8]) -> Result<T, IamError> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let head: Head = serde_json::from_slice(value).map_err(|e| damaged(row, &e.to_string()))?;
    if head.v != VERSION {
        return Err(damaged(row, "written by a newer version"));
    }
    serde_json::from_slice(value).map_err(|e| damaged(row, &e.to_string()))
}

fn damaged(row: &str, what: &str) -> IamError {
    IamError::Damaged { row: row.to_owned(), what: what.to_owned() }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            secret: Zeroizing::new(row.secret),
            status: row.status,
            policies: row.policies,
            updated_us: row.updated_us,
        }
    }
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        Self {
            status: row.status,
            members: row.members,
            policies: row.policies,
            updated_us: row.updated_us,
        }
    }
}
