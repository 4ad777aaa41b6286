//! Elastic Common Schema, with the record itself under `audit`, stored and not indexed field by field.
//!
//! # Source
//! ECS 8.17 field sets: base, event, user, source, user_agent, url, http, tls, cloud, error.

use serde_json::{Value, json};

use super::{About, without_nulls};
use crate::siem::record::{Outcome, Record};

pub(super) fn document(about: &About, record: &Record, leaf: &[u8]) -> Value {
    let class = record.text("/class");
    let outcome = match record.outcome() {
        Outcome::Succeeded => "success",
        Outcome::Failed | Outcome::Denied => "failure",
    };
    let (tls_version, tls_cipher) = match record.some("/net/tls").and_then(|t| t.split_once('/')) {
        Some((version, cipher)) => (Some(version), Some(cipher)),
        None => (None, None),
    };
    let path = match (record.bucket(), record.key()) {
        (Some(bucket), Some(key)) => Some(format!("/{bucket}/{key}")),
        (Some(bucket), None) => Some(format!("/{bucket}")),
        _ => record.param("path").map(ToOwned::to_owned),
    };
    without_nulls(json!({
        "@timestamp": record.text("/time"),
        "ecs": { "version": "8.17.0" },
        "event": {
            "kind": "event",
            "category": [category(class)],
            "type": types(record),
            "action": record.text("/action"),
            "outcome": outcome,
            "reason": record.some("/auth/reason"),
            "id": record.text("/event"),
            "sequence": record.seq(),
            "provider": "appliance",
            "dataset": format!("appliance.{class}"),
            "duration": record.number("/result/us").map(|us| us.saturating_mul(1000)),
            // What the log's proofs are about, to the byte.
            "original": String::from_utf8_lossy(leaf),
        },
        "user": {
            "id": record.some("/principal/access_key"),
            "name": record.some("/principal/name"),
            "roles": record.get("/principal/groups"),
        },
        "source": { "ip": record.some("/net/src") },
        "user_agent": { "original": record.some("/net/ua") },
        "url": { "path": path },
        "http": {
            "request": { "id": record.some("/request"), "method": record.param("method"),
                "body": { "bytes": record.number("/result/bytes_in") } },
            "response": { "status_code": record.number("/result/code"),
                "body": { "bytes": record.number("/result/bytes_out") } },
        },
        "tls": { "version": tls_version, "cipher": tls_cipher, "client": { "server_name": record.some("/net/sni") } },
        "cloud": { "account": { "id": about.account }, "region": about.region },
        "error": { "code": record.some("/err/code"), "message": record.some("/err/msg") },
        "trace": { "id": record.some("/trace/trace_id") },
        "observer": { "name": record.some("/node"), "product": "appliance", "version": about.version },
        "labels": { "origin": about.origin, "phase": record.some("/phase"),
            "kms_key": record.some("/kms/key"), "kms_op": record.some("/kms/op") },
    }))
}

fn category(class: &str) -> &'static str {
    match class {
        "authn" => "authentication",
        "admin" => "iam",
        "data" => "file",
        "mgmt" => "configuration",
        _ => "process",
    }
}

/// What it was, and how it was decided.
fn types(record: &Record) -> Vec<&'static str> {
    let verb = record.verb();
    let starts = |words: &[&str]| words.iter().any(|word| verb.starts_with(word));
    let what = if starts(&["Get", "Head", "List"]) {
        "access"
    } else if starts(&["Delete", "Remove", "Abort"]) {
        "deletion"
    } else if starts(&["Create", "Add"]) {
        "creation"
    } else if starts(&["Put", "Copy", "Upload", "Complete", "Set", "Update", "Attach", "Detach"]) {
        "change"
    } else {
        "info"
    };
    let how = match record.text("/auth/decision") {
        "allow" => Some("allowed"),
        "deny" | "error" => Some("denied"),
        _ => None,
    };
    [Some(what), how].into_iter().flatten().collect()
}
