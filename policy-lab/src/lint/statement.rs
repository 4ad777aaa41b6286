//! What only shows when a statement, or all of them, is looked at as a whole.

use std::collections::HashMap;

use super::action::{is_everything, matched};
use super::draft::{Draft, Statement, scalars, text_of};
use super::principal::is_everyone;
use super::{Notes, rule};
use crate::DocumentKind;
use crate::document::json::{Node, Value};

/// One statement.
pub(super) fn alone(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    if statement.is_allow() {
        retention(statement, notes);
        let is_bucket = draft.kind == DocumentKind::Bucket;
        if is_bucket && is_everyone(statement) && statement.conditions.is_empty() {
            let at = statement.principal.map_or(statement.node.at, |member| member.at);
            notes.add(
                &rule::PUBLIC_ACCESS,
                at,
                "everyone is allowed, without credentials and from everywhere",
                "name the callers, or add a condition".to_owned(),
            );
        }
    }
    let denies_everyone = statement.allows == Some(false) && is_everyone(statement);
    if draft.kind == DocumentKind::Bucket && denies_everyone && statement.conditions.is_empty() {
        let locks = |(_, action): &(usize, &str)| {
            matched(action).any(|info| info.name == "s3:PutBucketPolicy")
        };
        if let Some((at, action)) = statement.actions().iter().find(|action| locks(action)) {
            notes.add(
                &rule::LOCKOUT_RISK,
                *at,
                format!("`{action}` is denied to everyone, the change of this policy included"),
                "except s3:PutBucketPolicy, or the administrators".to_owned(),
            );
        }
    }
}

/// Grants that undo write-once storage.
fn retention(statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let everywhere = statement.resources().iter().any(|(_, resource)| is_everything(resource));
    for (at, action) in statement.actions() {
        let names = |wanted: &str| matched(action).any(|info| info.name == wanted);
        if names("s3:BypassGovernanceRetention") {
            notes.add(
                &rule::WORM_BYPASS_GRANTED,
                at,
                format!("`{action}` lets retention under GOVERNANCE be bypassed"),
                "deny s3:BypassGovernanceRetention, or name the actions that are needed".to_owned(),
            );
        }
        if everywhere && action.contains("Version") && names("s3:DeleteObjectVersion") {
            notes.add(
                &rule::WORM_DELETE_VERSION_STAR,
                at,
                format!("`{action}` deletes old versions of every object"),
                "name the buckets".to_owned(),
            );
        }
    }
}

/// All statements.
pub(super) fn among(draft: &Draft<'_>, notes: &mut Notes<'_>) {
    unique_sids(draft, notes);
    repeated(draft, notes);
    tls(draft, notes);
}

fn unique_sids(draft: &Draft<'_>, notes: &mut Notes<'_>) {
    let mut seen = HashMap::new();
    for member in draft.statements.iter().flat_map(|s| s.members).filter(|m| m.name == "Sid") {
        let Some(sid) = text_of(&member.node).filter(|sid| !sid.is_empty()) else { continue };
        if seen.insert(sid, member.at).is_some() {
            let message = format!("`Sid` `{sid}` is there twice");
            notes.add(&rule::UNIQUE_SIDS_REQUIRED, member.node.at, message, None);
        }
    }
}

/// Statements that are the same but for their Sid.
fn repeated(draft: &Draft<'_>, notes: &mut Notes<'_>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (number, statement) in draft.statements.iter().enumerate() {
        let mut elements: Vec<_> = statement
            .members
            .iter()
            .filter(|member| member.name != "Sid")
            .map(|member| format!("{}={}", member.name, meaning(&member.node)))
            .collect();
        elements.sort();
        if let Some(before) = seen.insert(elements.join("\n"), number) {
            let message = format!("the statement says the same as statement {}", before + 1);
            let remedy = "remove it".to_owned();
            notes.add(&rule::REDUNDANT_STATEMENT, statement.node.at, message, remedy);
        }
    }
}

/// A value without its places; a list of one is its member.
fn meaning(node: &Node) -> String {
    match &node.value {
        Value::Array(nodes) => match nodes.as_slice() {
            [one] => meaning(one),
            many => format!("[{}]", many.iter().map(meaning).collect::<Vec<_>>().join(",")),
        },
        Value::Object(members) => {
            let mut parts: Vec<_> =
                members.iter().map(|m| format!("{:?}:{}", m.name, meaning(&m.node))).collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        other => format!("{other:?}"),
    }
}

/// A policy for everyone that does not ask for TLS.
fn tls(draft: &Draft<'_>, notes: &mut Notes<'_>) {
    let is_public = |statement: &Statement<'_>| statement.is_allow() && is_everyone(statement);
    let asks = draft.statements.iter().flat_map(|statement| &statement.conditions).any(|clause| {
        let key = &clause.key.name;
        (key.eq_ignore_ascii_case("aws:SecureTransport")
            || key.eq_ignore_ascii_case("s3:TlsVersion"))
            && !scalars(clause.key).is_empty()
    });
    if draft.kind == DocumentKind::Bucket && !asks && draft.statements.iter().any(is_public) {
        notes.add(
            &rule::DENY_TLS_MISSING,
            draft.root.at,
            "the bucket is public and no statement asks for TLS",
            "deny s3:* where aws:SecureTransport is false".to_owned(),
        );
    }
}
