//! What a statement lets somebody do.

use super::draft::{Statement, texts};
use super::{Notes, rule};
use crate::action::{AccessLevel, ActionInfo, ActionSet, CATALOGUE};
use crate::pattern::Glob;

/// Actions that let their holder become administrator.
const ESCALATING: [&str; 9] = [
    "admin:AddUserToGroup",
    "admin:AttachUserOrGroupPolicy",
    "admin:CreatePolicy",
    "admin:CreateServiceAccount",
    "admin:CreateUser",
    "admin:ImportIAM",
    "admin:UpdatePolicyAssociation",
    "admin:UpdateServiceAccount",
    "kms:SetPolicy",
];

pub(super) fn check(statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let Some(member) = statement.action else { return };
    let entries = texts(member);
    for (at, text) in &entries {
        exists(*at, text, notes);
    }
    if member.name == "NotAction" {
        if statement.is_allow() {
            notes.add(
                &rule::ALLOW_NOT_ACTION,
                member.at,
                "everything but the named actions is allowed, future actions included",
                "name what is allowed with `Action`".to_owned(),
            );
        }
        return;
    }
    redundant(&entries, notes);
    if statement.is_allow() {
        for (at, text) in entries {
            grants(statement, at, text, notes);
        }
    }
}

fn exists(at: usize, text: &str, notes: &mut Notes<'_>) {
    if let Err(error) = ActionSet::compile(std::iter::once(text)) {
        notes.add(&rule::INVALID_ACTION, at, error.message, error.hint);
        return;
    }
    let service = text.split_once(':').map_or("", |(service, _)| service);
    let ours = |info: &ActionInfo| {
        info.name.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(service))
    };
    if !service.is_empty() && !CATALOGUE.iter().any(ours) {
        notes.add(
            &rule::INVALID_SERVICE_IN_ACTION,
            at,
            format!("there is no service `{service}` here; `{text}` never occurs"),
            None,
        );
    }
}

fn redundant(entries: &[(usize, &str)], notes: &mut Notes<'_>) {
    for (index, (at, text)) in entries.iter().enumerate() {
        let lower = text.to_ascii_lowercase();
        let cover = entries.iter().enumerate().find(|(other, (_, wider))| {
            let wider = wider.to_ascii_lowercase();
            *other != index && covers(&wider, &lower) && (wider != lower || *other < index)
        });
        if let Some((_, (_, wider))) = cover {
            notes.add(
                &rule::REDUNDANT_ACTION,
                *at,
                format!("`{text}` is covered by `{wider}`"),
                "remove it".to_owned(),
            );
        }
    }
}

/// Every text of the pattern `narrow` is one of `wide`; sure if true.
///
/// `?` in `wide` could meet a `*` of `narrow`, which is not one character, so it is not looked at.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    !wide.contains('?') && Glob::parse(wide).matches(narrow)
}

/// Rows of the catalogue that a pattern names.
pub(super) fn matched(pattern: &str) -> impl Iterator<Item = &'static ActionInfo> {
    let glob = Glob::parse(&pattern.to_ascii_lowercase());
    CATALOGUE.iter().filter(move |info| glob.matches(&info.name.to_ascii_lowercase()))
}

fn grants(statement: &Statement<'_>, at: usize, text: &str, notes: &mut Notes<'_>) {
    let everywhere = statement.resources().iter().any(|(_, resource)| is_everything(resource));
    let unconditional = statement.conditions.is_empty();
    if matches!(text, "*" | "s3:*") && everywhere && unconditional {
        let what = if text == "*" { "every action" } else { "every action of S3" };
        notes.add(
            &rule::ALLOW_EVERYTHING,
            at,
            format!("{what} on every resource is allowed"),
            "name actions and buckets".to_owned(),
        );
        return;
    }
    let escalating: Vec<_> =
        matched(text).map(|info| info.name).filter(|name| ESCALATING.contains(name)).collect();
    if let Some(first) = escalating.first() {
        let more = match escalating.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        notes.add(
            &rule::PRIVILEGE_ESCALATION,
            at,
            format!("`{text}` grants `{first}`{more}: its holder can become administrator"),
            None,
        );
        return;
    }
    let permissions: Vec<_> = matched(text)
        .filter(|info| info.level == AccessLevel::PermissionsManagement)
        .map(|info| info.name)
        .collect();
    if let (true, Some(first)) = (text.contains(['*', '?']), permissions.first()) {
        notes.add(
            &rule::PERMISSIONS_BY_WILDCARD,
            at,
            format!(
                "`{text}` grants {} actions that change permissions, as `{first}`",
                permissions.len()
            ),
            "name the actions that are needed".to_owned(),
        );
    }
}

/// `*`, or every bucket and object.
pub(super) fn is_everything(resource: &str) -> bool {
    matches!(resource, "*" | "arn:aws:s3:::*" | "arn:aws:s3:::*/*")
}
