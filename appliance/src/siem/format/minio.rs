//! MinIO's audit entry, so that receivers written for it keep working.
//!
//! Our log has a record per decision and per outcome, or one of both; an entry per request is what `filter = "result.code
//! exists or class=authn"` gives, which is the default of this kind. Headers of the request are not in our records and so not
//! here: MinIO's own entries carry the whole `Authorization` header.
//!
//! # Source
//! The JSON of MinIO's `audit.Entry`, version "1".

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{About, without_nulls};
use crate::siem::record::Record;

pub(super) fn entry(about: &About, record: &Record) -> Value {
    let code = record.number("/result/code").or_else(|| refused(record));
    let path = match (record.bucket(), record.key()) {
        (Some(bucket), Some(key)) => Some(format!("/{bucket}/{key}")),
        (Some(bucket), None) => Some(format!("/{bucket}")),
        _ => record.param("path").map(ToOwned::to_owned),
    };
    let ns = |pointer| record.number(pointer).map(|us| us.saturating_mul(1000));
    let suffixed = |value: Option<u64>| value.map(|ns| format!("{ns}ns"));
    let plain = |value: Option<u64>| value.map(|ns| ns.to_string());
    let (whole, first) = (ns("/result/us"), ns("/result/ttfb_us"));
    let mut entry = without_nulls(json!({
        "version": "1",
        "deploymentid": about.deployment,
        "time": record.text("/time"),
        "trigger": "incoming",
        "api": {
            "name": record.operation(),
            "bucket": record.bucket(),
            "object": record.key(),
            "status": code.and_then(reason),
            "statusCode": code,
            "rx": record.number("/result/bytes_in").unwrap_or_default(),
            "tx": record.number("/result/bytes_out").unwrap_or_default(),
            "timeToFirstByte": suffixed(first),
            "timeToFirstByteInNS": plain(first),
            "timeToResponse": suffixed(whole),
            "timeToResponseInNS": plain(whole),
        },
        "remotehost": record.some("/net/src"),
        "requestID": record.some("/request"),
        "userAgent": record.some("/net/ua"),
        "requestPath": path,
        "requestHost": record.some("/net/sni"),
        "requestNode": record.some("/node"),
        "requestQuery": parameters(record),
        "tags": tags(record),
        "accessKey": record.some("/principal/access_key"),
        "parentUser": record.some("/principal/parent"),
        "error": record.some("/err/msg").filter(|text| !text.is_empty()),
    }));
    // The member is there for requests too, and empty.
    entry["event"] = json!("");
    entry
}

/// A refusal has no result of its own.
fn refused(record: &Record) -> Option<u64> {
    matches!(record.text("/auth/decision"), "deny" | "error").then_some(403)
}

fn reason(code: u64) -> Option<&'static str> {
    StatusCode::from_u16(u16::try_from(code).ok()?).ok()?.canonical_reason()
}

fn parameters(record: &Record) -> Map<String, Value> {
    let pairs = record.array("/params").iter();
    let named = pairs.filter_map(|pair| Some((pair["k"].as_str()?, pair["v"].clone())));
    named
        .filter(|(name, _)| !matches!(*name, "operation" | "path" | "method"))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What MinIO's entry has no place for: the record's ids, equal on redelivery, and the decision.
fn tags(record: &Record) -> Value {
    json!({
        "event": record.some("/event"),
        "seq": record.seq(),
        "class": record.some("/class"),
        "phase": record.some("/phase"),
        "decision": record.some("/auth/decision"),
        "reason": record.some("/auth/reason"),
        "policyName": record.some("/auth/by/0/id"),
        "errorCode": record.some("/err/code"),
    })
}
