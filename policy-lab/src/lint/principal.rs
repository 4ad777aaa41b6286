//! Who a bucket policy speaks of.

use super::draft::{Draft, Statement, text_of, texts};
use super::{Notes, rule};
use crate::DocumentKind;
use crate::arn::Arn;
use crate::document::json::Value;

pub(super) fn check(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let Some(member) = statement.principal else {
        if draft.kind == DocumentKind::Bucket {
            notes.add(
                &rule::MISSING_PRINCIPAL,
                statement.node.at,
                "the statement speaks of nobody and never matches",
                "add a `Principal`".to_owned(),
            );
        }
        return;
    };
    if draft.kind != DocumentKind::Bucket {
        notes.add(
            &rule::UNSUPPORTED_PRINCIPAL,
            member.at,
            format!("only a bucket policy has `{}`", member.name),
            "remove it; the policy speaks of whom it is attached to".to_owned(),
        );
        return;
    }
    if member.name == "NotPrincipal" && statement.is_allow() {
        notes.add(
            &rule::ALLOW_WITH_NOT_PRINCIPAL,
            member.at,
            "`NotPrincipal` with `Allow` lets everyone else in",
            "name the callers with `Principal`".to_owned(),
        );
    }
    let Value::Object(kinds) = &member.node.value else {
        if text_of(&member.node) != Some("*") {
            notes.add(
                &rule::INVALID_PRINCIPAL_FORMAT,
                member.node.at,
                "a principal is `\"*\"` or an object",
                "write {\"AWS\": \"arn:aws:iam::ACCOUNT:user/NAME\"}".to_owned(),
            );
        }
        return;
    };
    for kind in kinds {
        match kind.name.as_str() {
            "AWS" => texts(kind).into_iter().for_each(|(at, text)| aws(at, text, notes)),
            "CanonicalUser" | "Federated" | "Service" => {}
            other => notes.add(
                &rule::INVALID_PRINCIPAL_KEY,
                kind.at,
                format!("`{other}` is not a kind of principal"),
                "possible are AWS, CanonicalUser, Federated, Service".to_owned(),
            ),
        }
    }
}

fn aws(at: usize, text: &str, notes: &mut Notes<'_>) {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if text == "*" || is_account(text) {
        return;
    }
    if text.contains(['*', '?']) {
        let message = format!("principal `{text}` has a wildcard");
        let remedy = "use `*` with a condition on aws:PrincipalArn".to_owned();
        notes.add(&rule::UNSUPPORTED_WILDCARD_IN_PRINCIPAL, at, message, remedy);
    } else if Arn::parse(text).is_none_or(|arn| !matches!(arn.service, "iam" | "sts")) {
        let message = format!("principal `{text}` is neither `*`, an account nor an ARN of one");
        notes.add(
            &rule::INVALID_PRINCIPAL_FORMAT,
            at,
            message,
            "write arn:aws:iam::ACCOUNT:user/NAME".to_owned(),
        );
    }
}

/// The statement speaks of everyone, callers without credentials included.
pub(super) fn is_everyone(statement: &Statement<'_>) -> bool {
    let Some(member) = statement.principal.filter(|member| member.name == "Principal") else {
        return false;
    };
    match &member.node.value {
        Value::Object(kinds) => kinds
            .iter()
            .filter(|kind| kind.name == "AWS")
            .any(|kind| texts(kind).iter().any(|(_, text)| *text == "*")),
        _ => text_of(&member.node) == Some("*"),
    }
}
