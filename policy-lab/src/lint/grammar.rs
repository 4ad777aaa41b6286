//! Which elements there are.

use super::draft::{Draft, Statement, one_or_many, text_of};
use super::{Notes, rule};
use crate::DocumentKind;
use crate::document::ELEMENTS;
use crate::document::json::Value;

/// Characters without white space that AWS takes in a managed policy, and in a session policy.
const IDENTITY_CHARS_MAX: usize = 6_144;
const SESSION_CHARS_MAX: usize = 2_048;

pub(super) fn document(draft: &Draft<'_>, notes: &mut Notes<'_>) {
    let mut has_version = false;
    let mut has_statement = false;
    for member in draft.members {
        match member.name.as_str() {
            "Version" => {
                has_version = true;
                let version = text_of(&member.node);
                if !matches!(version, Some("2012-10-17" | "2008-10-17")) {
                    notes.add(
                        &rule::INVALID_VERSION,
                        member.node.at,
                        "there is no such version of the language",
                        "write \"2012-10-17\"".to_owned(),
                    );
                }
            }
            "Statement" => {
                has_statement = true;
                if one_or_many(&member.node).is_empty() {
                    notes.add(
                        &rule::MISSING_STATEMENT,
                        member.node.at,
                        "the policy has no statements and decides nothing",
                        None,
                    );
                }
            }
            "Id" if draft.kind == DocumentKind::Bucket => {}
            other => notes.add(
                &rule::INVALID_POLICY_ELEMENT,
                member.at,
                format!("`{other}` is not an element of this kind of policy"),
                spelling(other, &["Version", "Id", "Statement"]),
            ),
        }
    }
    if draft.members.is_empty() {
        return;
    }
    if !has_statement {
        notes.add(&rule::MISSING_STATEMENT, draft.root.at, "the policy has no `Statement`", None);
    }
    if !has_version {
        notes.add(
            &rule::MISSING_VERSION,
            draft.root.at,
            "the policy has no `Version` and is read as of 2008",
            "add \"Version\": \"2012-10-17\"".to_owned(),
        );
    }
}

pub(super) fn statement(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    for member in statement.members {
        let name = member.name.as_str();
        if !ELEMENTS.contains(&name) {
            notes.add(
                &rule::INVALID_POLICY_ELEMENT,
                member.at,
                format!("`{name}` is not an element of a statement"),
                spelling(name, &ELEMENTS),
            );
        } else if name != "Condition" && one_or_many(&member.node).is_empty() {
            notes.add(&rule::EMPTY_ARRAY, member.node.at, format!("`{name}` is empty"), None);
        }
    }
    for (element, negation) in
        [("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")]
    {
        if statement.has(element) && statement.has(negation) {
            notes.add(
                &rule::UNSUPPORTED_ELEMENT_COMBINATION,
                statement.node.at,
                format!("the statement has `{element}` and `{negation}`"),
                "make two statements of it".to_owned(),
            );
        }
    }
    effect(statement, notes);
    missing(draft, statement, notes);
    sid(draft, statement, notes);
}

fn effect(statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let effect = statement.members.iter().find(|member| member.name == "Effect");
    match effect {
        None => {
            notes.add(
                &rule::MISSING_EFFECT,
                statement.node.at,
                "the statement has no `Effect`",
                None,
            );
        }
        Some(member) if statement.allows.is_none() => notes.add(
            &rule::INVALID_EFFECT,
            member.node.at,
            match text_of(&member.node) {
                Some(text) => format!("effect `{text}` does not exist"),
                None => "the effect is not a string".to_owned(),
            },
            "write \"Allow\" or \"Deny\"".to_owned(),
        ),
        Some(_) => {}
    }
}

fn missing(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    if statement.action.is_none() {
        notes.add(&rule::MISSING_ACTION, statement.node.at, "the statement has no `Action`", None);
    }
    let actions = statement.actions();
    let without_resource = |action: &str| {
        let service = action.split_once(':').map_or("", |(service, _)| service);
        ["admin", "kms", "sts"].iter().any(|known| known.eq_ignore_ascii_case(service))
    };
    let needs_resource = draft.kind == DocumentKind::Bucket
        || actions.is_empty()
        || !actions.iter().all(|(_, action)| without_resource(action));
    if statement.resource.is_none() && needs_resource {
        notes.add(
            &rule::MISSING_RESOURCE,
            statement.node.at,
            "the statement has no `Resource`",
            "name buckets and objects, or write \"Resource\": \"*\"".to_owned(),
        );
    }
}

fn sid(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let Some(member) = statement.members.iter().find(|member| member.name == "Sid") else { return };
    match text_of(&member.node) {
        Some("") => notes.add(
            &rule::EMPTY_SID_VALUE,
            member.node.at,
            "the `Sid` is empty",
            "leave it out".to_owned(),
        ),
        Some(sid)
            if draft.kind != DocumentKind::Bucket
                && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            notes.add(
                &rule::SID_CHARACTERS,
                member.node.at,
                format!("`Sid` `{sid}` has other characters than letters and digits"),
                None,
            );
        }
        Some(_) => {}
        None => {
            let text = matches!(member.node.value, Value::Array(_) | Value::Object(_));
            let what = if text { "a list or an object" } else { "not a string" };
            notes.add(
                &rule::DATA_TYPE_MISMATCH,
                member.node.at,
                format!("the `Sid` is {what}"),
                None,
            );
        }
    }
}

/// Limits that AWS has and we do not, and the one that we share.
pub(super) fn size(text: &str, kind: DocumentKind, notes: &mut Notes<'_>) {
    if text.len() > kind.bytes_max() {
        let message =
            format!("the policy has {} bytes, at most {} are taken", text.len(), kind.bytes_max());
        notes.add(&rule::POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA, 0, message, None);
        return;
    }
    let chars_max = match kind {
        DocumentKind::Bucket => return,
        DocumentKind::Identity | DocumentKind::Boundary => IDENTITY_CHARS_MAX,
        DocumentKind::Session => SESSION_CHARS_MAX,
    };
    let chars = text.chars().filter(|char| !char.is_whitespace()).count();
    if chars > chars_max {
        let message =
            format!("the policy has {chars} characters without white space; AWS takes {chars_max}");
        notes.add(&rule::POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA, 0, message, None);
    }
}

fn spelling(name: &str, known: &[&str]) -> String {
    match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => format!("write `{known}`"),
        None => format!("possible are {}", known.join(", ")),
    }
}
