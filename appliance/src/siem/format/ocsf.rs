//! Open Cybersecurity Schema Framework: one class per kind of record.
//!
//! # Source
//! OCSF at 1.9.0-dev: classes 6005 Datastore Activity, 6003 API Activity, 3002 Authentication, 1008 Event Log Activity; profiles
//! `cloud` and `security_control`.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{About, without_nulls};
use crate::siem::record::{Outcome, Record};

/// A class with its category and its activities.
struct Class {
    uid: u64,
    category: u64,
    activity: (u64, &'static str),
}

pub(super) fn event(about: &About, record: &Record, leaf: &[u8]) -> Value {
    let class = class_of(record);
    let (status_id, status) = match record.outcome() {
        Outcome::Succeeded => (1, "Success"),
        Outcome::Failed | Outcome::Denied => (2, "Failure"),
    };
    let (severity_id, severity) = match record.outcome() {
        Outcome::Succeeded => (1, "Informational"),
        Outcome::Failed => (2, "Low"),
        Outcome::Denied => (3, "Medium"),
    };
    without_nulls(json!({
        "activity_id": class.activity.0,
        "activity_name": class.activity.1,
        "category_uid": class.category,
        "class_uid": class.uid,
        "type_uid": class.uid * 100 + class.activity.0,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": record.some("/err/code"),
        "status_detail": record.some("/auth/reason"),
        "time": record.time_us().div_euclid(1000),
        "message": message(record),
        "duration": record.number("/result/us").map(|us| us / 1000),
        "metadata": {
            "version": "1.9.0-dev",
            "uid": record.text("/event"),
            "sequence": record.seq(),
            "log_name": about.origin,
            "event_code": record.text("/action"),
            "correlation_uid": record.some("/request"),
            "profiles": ["cloud", "security_control"],
            "product": { "name": "appliance", "vendor_name": "appliance", "version": about.version },
        },
        "cloud": { "provider": "appliance", "region": about.region, "account": { "uid": about.account } },
        "actor": { "user": user(record), "invoked_by": record.some("/kms/parent"),
            "app_name": record.some("/principal/type").is_none().then_some("appliance") },
        "user": (class.uid == 3002).then(|| user(record)),
        "src_endpoint": endpoint(record),
        "http_request": { "user_agent": record.some("/net/ua"), "uid": record.some("/request"),
            "http_method": record.param("method") },
        "http_response": { "code": record.number("/result/code"), "length": record.number("/result/bytes_out") },
        "tls": { "version": record.some("/net/tls").and_then(|tls| tls.split('/').next()),
            "cipher": record.some("/net/tls").and_then(|tls| tls.split('/').nth(1)), "sni": record.some("/net/sni") },
        "api": (class.uid == 6003).then(|| json!({
            "operation": record.operation(),
            "service": { "name": record.text("/class") },
            "request": { "uid": record.some("/request") },
            "response": { "code": record.number("/result/code"), "error": record.some("/err/code") },
        })),
        "type_id": (class.uid == 6005).then_some(2),
        "databucket": (class.uid == 6005).then(|| databucket(record)),
        "resources": (class.uid == 6003).then(|| resources(record)),
        "log_name": (class.uid == 1008).then_some(&about.origin),
        "action_id": action_id(record),
        "authorizations": authorizations(record),
        "unmapped": { "kms": record.get("/kms") },
        "raw_data": String::from_utf8_lossy(leaf),
        "raw_data_hash": {
            "algorithm_id": 3,
            "algorithm": "SHA-256",
            "value": hex::encode(Sha256::digest(leaf)),
        },
    }))
}

fn class_of(record: &Record) -> Class {
    let class = record.text("/class");
    match class {
        "data" => {
            Class { uid: 6005, category: 6, activity: datastore_activity(record.operation()) }
        }
        "kms" if record.bucket().is_some() => {
            Class { uid: 6005, category: 6, activity: key_activity(record.verb()) }
        }
        "authn" => Class { uid: 3002, category: 3, activity: (1, "Logon") },
        "audit" | "delivery" => Class { uid: 1008, category: 1, activity: log_activity(record) },
        _ => Class { uid: 6003, category: 6, activity: api_activity(record.operation()) },
    }
}

fn datastore_activity(operation: &str) -> (u64, &'static str) {
    let starts = |words: &[&str]| words.iter().any(|word| operation.starts_with(word));
    match () {
        () if starts(&["List"]) => (8, "List"),
        () if starts(&["Get", "Head"]) => (1, "Read"),
        () if starts(&["Delete", "Abort"]) => (7, "Delete"),
        () if starts(&["Put", "Copy", "Upload", "Complete", "Create"]) => (5, "Write"),
        () => (99, "Other"),
    }
}

fn key_activity(verb: &str) -> (u64, &'static str) {
    match verb {
        "Decrypt" => (10, "Decrypt"),
        _ => (9, "Encrypt"),
    }
}

fn log_activity(record: &Record) -> (u64, &'static str) {
    match record.text("/action") {
        "audit:start" => (6, "Start"),
        "audit:stop" => (7, "Stop"),
        _ => (99, "Other"),
    }
}

fn api_activity(operation: &str) -> (u64, &'static str) {
    let name = operation.to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    match () {
        () if starts(&["get", "head", "list", "info", "user-info", "groups", "siem-status"]) => {
            (2, "Read")
        }
        () if starts(&["create", "add"]) => (1, "Create"),
        () if starts(&["delete", "remove"]) => (4, "Delete"),
        () if starts(&["put", "set", "update", "idp", "siem"]) => (3, "Update"),
        () => (99, "Other"),
    }
}

fn message(record: &Record) -> String {
    let who = record.some("/principal/name").unwrap_or("appliance");
    let what = record.text("/action");
    match (record.bucket(), record.key()) {
        (Some(bucket), Some(key)) => format!("{who}: {what} on {bucket}/{key}"),
        (Some(bucket), None) => format!("{who}: {what} on {bucket}"),
        _ => format!("{who}: {what}"),
    }
}

fn user(record: &Record) -> Value {
    let type_id = match record.text("/principal/type") {
        "Root" => 2,
        "IAMUser" => 1,
        "Service" => 4,
        "" => 3,
        _ => 99,
    };
    json!({
        "name": record.some("/principal/name").unwrap_or("appliance"),
        "uid": record.some("/principal/arn"),
        "credential_uid": record.some("/principal/access_key"),
        "type": record.some("/principal/type").unwrap_or("System"),
        "type_id": type_id,
        "account": { "uid": record.some("/principal/account") },
        "groups": record.array("/principal/groups").iter()
            .map(|name| json!({ "name": name })).collect::<Vec<_>>(),
    })
}

/// Required where a request is told; what the server did of itself came from itself.
fn endpoint(record: &Record) -> Value {
    match record.some("/net/src") {
        Some(address) => json!({ "ip": address }),
        None => json!({ "hostname": record.text("/node") }),
    }
}

fn databucket(record: &Record) -> Value {
    json!({
        "type_id": 1,
        "type": "S3",
        "name": record.bucket(),
        "uid": record.bucket().map(|bucket| format!("arn:aws:s3:::{bucket}")),
        "file": record.key().map(|key| json!({
            "name": key,
            "path": key,
            "type_id": 1,
            "size": record.number("/resources/0/size"),
            "version": record.some("/resources/0/version"),
        })),
    })
}

fn resources(record: &Record) -> Vec<Value> {
    let named = |resource: &Value| {
        let bucket = resource["bucket"].as_str();
        let uid = resource["arn"].as_str().map(ToOwned::to_owned);
        let uid = uid.or_else(|| bucket.map(|bucket| format!("arn:aws:s3:::{bucket}")))?;
        Some(json!({ "uid": uid, "name": bucket }))
    };
    record.array("/resources").iter().filter_map(named).collect()
}

fn action_id(record: &Record) -> Option<u64> {
    match record.text("/auth/decision") {
        "allow" => Some(1),
        "deny" | "error" => Some(2),
        _ => None,
    }
}

fn authorizations(record: &Record) -> Vec<Value> {
    let Some(decision) = record.some("/auth/decision") else { return Vec::new() };
    let by = record.array("/auth/by");
    if by.is_empty() {
        return vec![json!({ "decision": decision })];
    }
    by.iter()
        .map(|statement| {
            json!({
                "decision": decision,
                "policy": { "uid": statement["id"], "name": statement["id"],
                    "desc": statement["sid"], "version": statement["ver"] },
            })
        })
        .collect()
}
