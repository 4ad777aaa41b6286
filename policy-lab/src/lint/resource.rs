//! What a statement covers, and what it covers besides.

use super::action::{covers, is_everything, matched};
use super::draft::{Statement, texts};
use super::{Notes, rule};
use crate::action::{ActionInfo, ResourceKind};
use crate::arn::Arn;

pub(super) fn check(statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let Some(member) = statement.resource else { return };
    let entries = texts(member);
    for (at, text) in &entries {
        shape(*at, text, notes);
    }
    if member.name == "NotResource" {
        if statement.is_allow() {
            notes.add(
                &rule::ALLOW_NOT_RESOURCE,
                member.at,
                "everything but the named resources is allowed, future buckets included",
                "name what is allowed with `Resource`".to_owned(),
            );
        }
        return;
    }
    redundant(&entries, notes);
    if statement.is_allow() {
        entries.iter().for_each(|(at, text)| reach(*at, text, notes));
    }
    applicable(statement, &entries, notes);
}

fn shape(at: usize, text: &str, notes: &mut Notes<'_>) {
    if text == "*" {
        return;
    }
    let Some(arn) = Arn::parse(text) else {
        if text.starts_with("arn:") {
            let message = format!("`{text}` has not the six fields of an ARN");
            let remedy = "write arn:aws:s3:::bucket/key".to_owned();
            notes.add(&rule::MISSING_ARN_FIELD, at, message, remedy);
        } else {
            notes.add(
                &rule::INVALID_ARN_PREFIX,
                at,
                format!("`{text}` is not an ARN"),
                format!("write arn:aws:s3:::{}", text.trim_start_matches('/')),
            );
        }
        return;
    };
    if arn.service != "s3" && arn.service.eq_ignore_ascii_case("s3") {
        let message = format!("the service `{}` is written in lower case", arn.service);
        notes.add(&rule::INVALID_ARN_SERVICE_CASE, at, message, "write `s3`".to_owned());
    }
    if arn.service != "s3" {
        return;
    }
    let inert = |field: &str| !field.is_empty() && field != "*";
    if !matches!(arn.partition, "aws" | "*") {
        let message = format!("partition `{}` matches nothing here", arn.partition);
        notes.add(&rule::INVALID_PARTITION, at, message, "write `aws`".to_owned());
    }
    if inert(arn.region) {
        let message = format!("`{text}` has a region and matches nothing");
        notes.add(&rule::ARN_REGION_NOT_ALLOWED, at, message, "leave it empty".to_owned());
    }
    if inert(arn.account) {
        let message = format!("`{text}` has an account and matches nothing");
        notes.add(&rule::ARN_ACCOUNT_NOT_ALLOWED, at, message, "leave it empty".to_owned());
    }
    if arn.resource.is_empty() || arn.resource.starts_with('/') {
        let message = format!("`{text}` names no bucket");
        notes.add(&rule::INVALID_ARN_RESOURCE, at, message, None);
    }
}

fn redundant(entries: &[(usize, &str)], notes: &mut Notes<'_>) {
    for (index, (at, text)) in entries.iter().enumerate() {
        let cover = entries.iter().enumerate().find(|(other, (_, wider))| {
            *other != index && includes(wider, text) && (wider != text || *other < index)
        });
        if let Some((_, (_, wider))) = cover {
            notes.add(
                &rule::REDUNDANT_RESOURCE,
                *at,
                format!("`{text}` is covered by `{wider}`"),
                "remove it".to_owned(),
            );
        }
    }
}

/// Sure if true. A variable is compared as it is written, so it covers itself only, or falls under a `*`.
fn includes(wide: &str, narrow: &str) -> bool {
    if wide == narrow || wide == "*" {
        return true;
    }
    // `*` of an ARN's head does not cross a colon; such patterns are not compared.
    match (s3_part(wide), s3_part(narrow)) {
        (Some(wide), Some(narrow)) => !wide.contains("${") && covers(wide, narrow),
        _ => false,
    }
}

/// `bucket/key` of an ordinary ARN.
fn s3_part(text: &str) -> Option<&str> {
    text.strip_prefix("arn:aws:s3:::").filter(|part| !part.is_empty())
}

/// Patterns of an Allow that cover more than they seem to.
fn reach(at: usize, text: &str, notes: &mut Notes<'_>) {
    let Some(part) = s3_part(text).filter(|_| !is_everything(text)) else { return };
    if part.contains('*') && !part.contains('/') {
        notes.add(
            &rule::S3_BUCKET_GLOB_COVERS_OBJECTS,
            at,
            format!("`{text}` covers the matching buckets and all their objects: `*` crosses `/`"),
            "name the buckets, or put the objects into a statement of their own".to_owned(),
        );
        return;
    }
    let Some((_, key)) = part.split_once('/') else { return };
    let Some(before) = key.strip_suffix('*') else { return };
    if before.ends_with('}') {
        notes.add(
            &rule::S3_VARIABLE_WITHOUT_SLASH,
            at,
            format!("`{text}` also covers those whose name begins alike, as `bob` and `bobby`"),
            format!("write `{}/*`", text.trim_end_matches('*')),
        );
    } else if before.ends_with(|char: char| char.is_alphanumeric()) {
        notes.add(
            &rule::S3_PREFIX_WITHOUT_SLASH,
            at,
            format!("`{text}` also covers keys that go on behind `{before}`, as `{before}2/x`"),
            format!("write `{}/*` if one directory is meant", text.trim_end_matches('*')),
        );
    }
}

/// Actions that no resource of the statement can be the object of.
fn applicable(statement: &Statement<'_>, resources: &[(usize, &str)], notes: &mut Notes<'_>) {
    let is_s3 = |text: &str| text == "*" || s3_part(text).is_some();
    if resources.is_empty() || !resources.iter().all(|(_, text)| is_s3(text)) {
        return;
    }
    for (at, action) in statement.actions() {
        let ours: Vec<_> = matched(action).filter(|info| info.name.starts_with("s3:")).collect();
        let applies = |info: &&ActionInfo| resources.iter().any(|(_, r)| fits(info.resource, r));
        if ours.is_empty() || ours.iter().any(applies) {
            continue;
        }
        let kinds = |kind| ours.iter().all(|info| info.resource == kind);
        let (rule, remedy) = if kinds(ResourceKind::Bucket) {
            (&rule::S3_BUCKET_ACTION_ON_OBJECT_ARN, "name the bucket without `/`")
        } else if kinds(ResourceKind::Object) {
            (&rule::S3_OBJECT_ACTION_ON_BUCKET_ARN, "name objects, as `bucket/*`")
        } else {
            (&rule::S3_ACTION_NEEDS_STAR, "write \"Resource\": \"*\" in a statement of its own")
        };
        let message = format!("`{action}` never applies to the resources of the statement");
        notes.add(rule, at, message, remedy.to_owned());
    }
}

fn fits(kind: ResourceKind, resource: &str) -> bool {
    if resource == "*" || resource == "arn:aws:s3:::*" {
        return true;
    }
    let part = s3_part(resource).unwrap_or_default();
    match kind {
        ResourceKind::None => false,
        // A variable may hold a slash, but a bucket's name does not.
        ResourceKind::Bucket => !part.contains('/'),
        ResourceKind::Object => part.contains(['/', '*']) || part.contains("${"),
    }
}
