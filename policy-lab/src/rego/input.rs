//! The document a guardrail sees as `input`, version 1.
//!
//! Every field is always there, `null` where we do not know, so that `not input.x.y` never rests on a missing parent.
//! Everything comes from the [`Request`]. What its context does not hold is `null` or empty: `request.id`,
//! `request.method`, `request.query`, `resource.size`, `resource.exists`, `principal.tags` beyond
//! `aws:PrincipalTag/*`. `request.headers` holds the headers that are condition keys, under their header names.

use std::collections::BTreeMap;

use regorus::Value;
use serde_json::{Value as Json, json};

use crate::{Decision, Effect, Request, StatementRef};

/// Headers that the context holds, and the key they stand under.
pub(super) const HEADERS: [(&str, &str); 14] = [
    ("user-agent", "aws:UserAgent"),
    ("referer", "aws:Referer"),
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("x-amz-acl", "s3:x-amz-acl"),
    ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
    ("x-amz-copy-source", "s3:x-amz-copy-source"),
    ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
    ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
    ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    ("x-amz-object-lock-retain-until-date", "s3:object-lock-retain-until-date"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    (
        "x-amz-server-side-encryption-aws-kms-key-id",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    ),
    ("x-amz-storage-class", "s3:x-amz-storage-class"),
];

/// What the document is made from.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) request: &'a Request,
    /// What the policies say.
    pub(super) policies: &'a Decision,
}

/// A member of the document.
type Member = (&'static str, fn(&View<'_>) -> Json);

const TOP: [Member; 5] = [
    ("v", |_| json!(1)),
    ("action", |view| json!(view.request.action.as_str())),
    ("actions", |view| json!([view.request.action.as_str()])),
    ("api", |view| {
        let action = view.request.action.as_str();
        json!(action.split_once(':').map_or(action, |(_, name)| name))
    }),
    ("context", |view| json!(all(view))),
];

const SECTIONS: [(&str, &[Member]); 5] = [
    ("principal", &PRINCIPAL),
    ("resource", &RESOURCE),
    ("request", &REQUEST),
    ("env", &ENVIRONMENT),
    ("iam", &IAM),
];

const PRINCIPAL: [Member; 8] = [
    ("arn", |view| json!(view.request.principal.arn)),
    ("type", |view| json!(view.request.principal.kind.as_str())),
    ("id", |view| json!(view.request.principal.name)),
    ("parent", |view| json!(view.request.principal.parent)),
    ("groups", |view| json!(view.request.principal.groups)),
    ("tags", |view| tags(view, "aws:PrincipalTag/")),
    ("policies", |view| {
        let mut names: Vec<_> = view.policies.by.iter().map(|by| &*by.policy).collect();
        names.dedup();
        json!(names)
    }),
    ("claims", |view| {
        let claim = |(key, values): (&str, &[String])| {
            Some((key.strip_prefix("jwt:")?.to_owned(), json!(values)))
        };
        Json::Object(view.request.context.iter().filter_map(claim).collect())
    }),
];

const RESOURCE: [Member; 9] = [
    ("arn", |view| json!(view.request.resource.arn())),
    ("bucket", |view| json!(view.request.resource.bucket())),
    ("key", |view| json!(view.request.resource.key())),
    ("version_id", |view| text(view, "s3:versionid")),
    ("tags", |view| tags(view, "s3:ExistingObjectTag/")),
    ("bucket_tags", |view| tags(view, "s3:BucketTag/")),
    ("lock", lock),
    ("size", |_| Json::Null),
    ("exists", |_| Json::Null),
];

const REQUEST: [Member; 12] = [
    ("id", |_| Json::Null),
    ("method", |_| Json::Null),
    ("headers", |view| headers(view, |values| json!(values.first()))),
    ("headers_all", |view| headers(view, |values| json!(values))),
    ("query", |_| json!({})),
    ("tags", |view| tags(view, "s3:RequestObjectTag/")),
    ("object_lock", lock),
    ("copy_source", copy_source),
    ("content_sha256", |view| text(view, "s3:x-amz-content-sha256")),
    ("auth_type", |view| text(view, "s3:authType")),
    ("signature_version", |view| text(view, "s3:signatureversion")),
    ("signature_age_ms", |view| json!(integer(view, "s3:signatureAge"))),
];

const ENVIRONMENT: [Member; 7] = [
    ("time", |view| text(view, "aws:CurrentTime")),
    ("time_ns", |view| {
        let seconds = || integer(view, "aws:EpochTime")?.checked_mul(1_000_000_000);
        json!(time_ns(view).or_else(seconds))
    }),
    ("source_ip", |view| text(view, "aws:SourceIp")),
    ("tls", |view| {
        json!(first(view, "aws:SecureTransport").map(|tls| tls.eq_ignore_ascii_case("true")))
    }),
    ("tls_version", |view| text(view, "s3:TlsVersion")),
    ("user_agent", |view| text(view, "aws:UserAgent")),
    ("referer", |view| text(view, "aws:Referer")),
];

const IAM: [Member; 2] = [("effect", |view| json!(effect(view.policies))), ("statements", by)];

/// Makes the input document.
pub(super) fn document(view: &View<'_>) -> Value {
    let top = TOP.iter().map(|(name, member)| ((*name).to_owned(), member(view)));
    let sections =
        SECTIONS.iter().map(|(name, members)| ((*name).to_owned(), section(view, members)));
    Value::from(Json::Object(top.chain(sections).collect()))
}

/// The value that the document has under `first`, or under `first.second`.
pub(super) fn part(view: &View<'_>, first: &str, second: Option<&str>) -> Option<Json> {
    let find = |members: &[Member], name: &str| {
        let found = members.iter().find(|(there, _)| *there == name);
        found.map(|(_, member)| member(view))
    };
    match (SECTIONS.iter().find(|(name, _)| *name == first), second) {
        (Some((_, members)), Some(second)) => find(members, second),
        (Some((_, members)), None) => Some(section(view, members)),
        (None, Some(key)) if first == "context" => {
            let mut keys = view.request.context.iter();
            keys.find(|(name, _)| *name == key).map(|(_, values)| json!(values))
        }
        (None, None) => find(&TOP, first),
        (None, Some(name)) => find(&TOP, first)?.get(name).cloned(),
    }
}

fn section(view: &View<'_>, members: &[Member]) -> Json {
    let member = |(name, member): &Member| ((*name).to_owned(), member(view));
    Json::Object(members.iter().map(member).collect())
}

fn all<'a>(view: &View<'a>) -> BTreeMap<&'a str, &'a [String]> {
    view.request.context.iter().collect()
}

fn headers(view: &View<'_>, read: fn(&[String]) -> Json) -> Json {
    let header = |(header, key): &(&str, &str)| {
        Some(((*header).to_owned(), read(view.request.context.get(key)?)))
    };
    Json::Object(HEADERS.iter().filter_map(header).collect())
}

fn effect(policies: &Decision) -> &'static str {
    match policies.effect {
        Effect::Allow => "allow",
        Effect::ExplicitDeny => "deny",
        Effect::ImplicitDeny => "none",
    }
}

/// The statements that decided.
fn by(view: &View<'_>) -> Json {
    let effect = effect(view.policies);
    let statement = |statement: &StatementRef| {
        json!({
            "policy": &*statement.policy,
            "sid": statement.sid.as_deref(),
            "index": statement.index,
            "effect": effect,
        })
    };
    Json::Array(view.policies.by.iter().map(statement).collect())
}

fn lock(view: &View<'_>) -> Json {
    json!({
        "mode": first(view, "s3:object-lock-mode"),
        "retain_until": first(view, "s3:object-lock-retain-until-date"),
        "legal_hold": first(view, "s3:object-lock-legal-hold"),
    })
}

/// `/bucket/key?versionId=v`, the slash in front optional.
fn copy_source(view: &View<'_>) -> Json {
    let Some(source) = first(view, "s3:x-amz-copy-source") else { return Json::Null };
    let (path, version) = match source.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (source, None),
    };
    match path.strip_prefix('/').unwrap_or(path).split_once('/') {
        Some((bucket, key)) => json!({ "bucket": bucket, "key": key, "version_id": version }),
        None => Json::Null,
    }
}

fn tags(view: &View<'_>, family: &str) -> Json {
    let tag = |(key, values): (&str, &[String])| {
        Some((key.strip_prefix(family)?.to_owned(), json!(values.first())))
    };
    Json::Object(view.request.context.iter().filter_map(tag).collect())
}

fn text(view: &View<'_>, key: &str) -> Json {
    json!(first(view, key))
}

fn first<'a>(view: &View<'a>, key: &str) -> Option<&'a str> {
    view.request.context.get(key)?.first().map(String::as_str)
}

fn integer(view: &View<'_>, key: &str) -> Option<i64> {
    first(view, key)?.parse().ok()
}

fn time_ns(view: &View<'_>) -> Option<i64> {
    let time: jiff::Timestamp = first(view, "aws:CurrentTime")?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}
