//! The document a guardrail sees as `input`, version 1.
//!
//! Every field is always there, `null` where we do not know, so that `not input.x.y` never rests on a missing parent.
//! Everything comes from the [`Request`]. What its context does not hold is `null` or empty: `request.id`,
//! `request.method`, `request.query`, `resource.size`, `resource.exists`, `principal.tags` beyond
//! `aws:PrincipalTag/*`. `request.headers` holds the headers that are condition keys, under their header names.

use std::collections::BTreeMap;

use regorus::Value;
use serde_json::{Map, Value as Json, json};

use crate::{Context, Decision, Effect, Request};

/// Headers that the context holds, and the key they stand under.
const HEADERS: [(&str, &str); 14] = [
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

/// Makes the input document.
pub(super) fn document(request: &Request, policies: &Decision) -> Value {
    let context = &request.context;
    let all: BTreeMap<&str, &[String]> = context.iter().collect();
    let action = request.action.as_str();
    let name = action.split_once(':').map_or(action, |(_, name)| name);
    Value::from(json!({
        "v": 1,
        "action": action,
        "actions": [action],
        "api": name,
        "principal": principal(request, policies, &all),
        "resource": resource(request, &all),
        "request": http(context, &all),
        "env": environment(context),
        "context": all,
        "iam": iam(policies),
    }))
}

fn principal(request: &Request, policies: &Decision, all: &BTreeMap<&str, &[String]>) -> Json {
    let principal = &request.principal;
    let mut names: Vec<_> = policies.by.iter().map(|statement| &*statement.policy).collect();
    names.dedup();
    let claims: Map<String, Json> = all
        .iter()
        .filter_map(|(key, values)| Some((key.strip_prefix("jwt:")?.to_owned(), json!(values))))
        .collect();
    json!({
        "arn": principal.arn,
        "type": principal.kind.as_str(),
        "id": principal.name,
        "parent": principal.parent,
        "groups": principal.groups,
        "tags": tags(all, "aws:PrincipalTag/"),
        "policies": names,
        "claims": claims,
    })
}

fn resource(request: &Request, all: &BTreeMap<&str, &[String]>) -> Json {
    let context = &request.context;
    json!({
        "arn": request.resource.arn(),
        "bucket": request.resource.bucket(),
        "key": request.resource.key(),
        "version_id": first(context, "s3:versionid"),
        "tags": tags(all, "s3:ExistingObjectTag/"),
        "bucket_tags": tags(all, "s3:BucketTag/"),
        "lock": lock(context),
        "size": null,
        "exists": null,
    })
}

fn http(context: &Context, all: &BTreeMap<&str, &[String]>) -> Json {
    let mut headers = Map::new();
    let mut headers_all = Map::new();
    for (header, key) in HEADERS {
        if let Some(values) = context.get(key) {
            headers.insert(header.to_owned(), json!(values.first()));
            headers_all.insert(header.to_owned(), json!(values));
        }
    }
    json!({
        "id": null,
        "method": null,
        "headers": headers,
        "headers_all": headers_all,
        "query": {},
        "tags": tags(all, "s3:RequestObjectTag/"),
        "object_lock": lock(context),
        "copy_source": copy_source(context),
        "content_sha256": first(context, "s3:x-amz-content-sha256"),
        "auth_type": first(context, "s3:authType"),
        "signature_version": first(context, "s3:signatureversion"),
        "signature_age_ms": integer(context, "s3:signatureAge"),
    })
}

fn environment(context: &Context) -> Json {
    let seconds = integer(context, "aws:EpochTime");
    json!({
        "time": first(context, "aws:CurrentTime"),
        "time_ns": time_ns(context).or(seconds.and_then(|s| s.checked_mul(1_000_000_000))),
        "source_ip": first(context, "aws:SourceIp"),
        "tls": first(context, "aws:SecureTransport").map(|tls| tls.eq_ignore_ascii_case("true")),
        "tls_version": first(context, "s3:TlsVersion"),
        "user_agent": first(context, "aws:UserAgent"),
        "referer": first(context, "aws:Referer"),
    })
}

fn iam(policies: &Decision) -> Json {
    let effect = match policies.effect {
        Effect::Allow => "allow",
        Effect::ExplicitDeny => "deny",
        Effect::ImplicitDeny => "none",
    };
    let statements: Vec<_> = policies
        .by
        .iter()
        .map(|statement| {
            json!({
                "policy": &*statement.policy,
                "sid": statement.sid.as_deref(),
                "index": statement.index,
                "effect": effect,
            })
        })
        .collect();
    json!({ "effect": effect, "statements": statements })
}

fn lock(context: &Context) -> Json {
    json!({
        "mode": first(context, "s3:object-lock-mode"),
        "retain_until": first(context, "s3:object-lock-retain-until-date"),
        "legal_hold": first(context, "s3:object-lock-legal-hold"),
    })
}

/// `/bucket/key?versionId=v`, the slash in front optional.
fn copy_source(context: &Context) -> Json {
    let Some(source) = first(context, "s3:x-amz-copy-source") else { return Json::Null };
    let (path, version) = match source.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (source, None),
    };
    match path.strip_prefix('/').unwrap_or(path).split_once('/') {
        Some((bucket, key)) => json!({ "bucket": bucket, "key": key, "version_id": version }),
        None => Json::Null,
    }
}

fn tags(all: &BTreeMap<&str, &[String]>, family: &str) -> Map<String, Json> {
    all.iter()
        .filter_map(|(key, values)| {
            Some((key.strip_prefix(family)?.to_owned(), json!(values.first())))
        })
        .collect()
}

fn first<'a>(context: &'a Context, key: &str) -> Option<&'a str> {
    context.get(key)?.first().map(String::as_str)
}

fn integer(context: &Context, key: &str) -> Option<i64> {
    first(context, key)?.parse().ok()
}

fn time_ns(context: &Context) -> Option<i64> {
    let time: jiff::Timestamp = first(context, "aws:CurrentTime")?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}
