//! AWS CloudTrail's record, so that detections written for it keep working.
//!
//! # Source
//! "CloudTrail record contents", event version 1.11.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{About, without_nulls};
use crate::siem::record::Record;

pub(super) fn record(about: &About, record: &Record) -> Value {
    let class = record.text("/class");
    let is_management = class != "data";
    let seconds: jiff::Timestamp =
        jiff::Timestamp::from_second(record.time_us().div_euclid(1_000_000)).unwrap_or_default();
    let mut whole = without_nulls(json!({
        "eventVersion": "1.11",
        "userIdentity": identity(about, record),
        "eventTime": seconds.to_string(),
        "eventSource": format!("{}.amazonaws.com", source(record)),
        "eventName": record.operation(),
        "awsRegion": about.region,
        "sourceIPAddress": record.some("/net/src"),
        "userAgent": record.some("/net/ua"),
        "errorCode": error_code(record),
        "errorMessage": record.some("/err/msg").filter(|text| !text.is_empty()),
        "requestParameters": parameters(record),
        "additionalEventData": {
            "SignatureVersion": signature(record.text("/principal/sig")),
            "CipherSuite": tls(record).map(|(_, suite)| suite),
            "AuthenticationMethod": method(record.text("/principal/sig")),
            "SSEApplied": record.some("/sse/type"),
            "bytesTransferredIn": record.number("/result/bytes_in"),
            "bytesTransferredOut": record.number("/result/bytes_out"),
            "sequence": record.seq(),
            "decision": record.some("/auth/decision"),
            "decisionReason": record.some("/auth/reason"),
            "decidingPolicy": record.some("/auth/by/0/id"),
            "decidingStatement": record.some("/auth/by/0/sid"),
            "keyUse": (class != "kms" && record.some("/kms/op").is_some()).then(|| key_use(record)),
            "policySetDigest": record.some("/auth/digest").filter(|digest| !digest.is_empty()),
        },
        "requestID": record.some("/request"),
        "eventID": event_id(record.text("/event")),
        "readOnly": is_read_only(record.operation()),
        "resources": resources(about, record),
        "eventType": if matches!(class, "audit" | "delivery") { "AwsServiceEvent" } else { "AwsApiCall" },
        "managementEvent": is_management,
        "recipientAccountId": about.account,
        "eventCategory": if is_management { "Management" } else { "Data" },
        "tlsDetails": {
            "tlsVersion": tls(record).map(|(version, _)| format!("TLSv{version}")),
            "cipherSuite": tls(record).map(|(_, suite)| suite),
            "clientProvidedHostHeader": record.some("/net/sni"),
        },
    }));
    // These two are members also when they are null.
    if let Some(members) = whole.as_object_mut() {
        members.entry("requestParameters").or_insert(Value::Null);
        members.insert("responseElements".into(), Value::Null);
    }
    whole
}

fn identity(about: &About, record: &Record) -> Value {
    let kind = match record.text("/principal/type") {
        "Root" => "Root",
        "IAMUser" | "Service" => "IAMUser",
        "AssumedRole" => "AssumedRole",
        "Federated" => "FederatedUser",
        "Anonymous" => "AWSAccount",
        _ => "AWSService",
    };
    let principal = match kind {
        "AWSAccount" => Some("ANONYMOUS_PRINCIPAL"),
        _ => record.some("/principal/id").or_else(|| record.some("/principal/name")),
    };
    json!({
        "type": kind,
        "principalId": principal,
        "arn": record.some("/principal/arn"),
        "accountId": record.some("/principal/account").unwrap_or(&about.account),
        "accessKeyId": record.some("/principal/access_key"),
        "userName": record.some("/principal/name"),
        "invokedBy": (kind == "AWSService").then_some("appliance"),
    })
}

fn source(record: &Record) -> &'static str {
    match record.text("/class") {
        "kms" => "kms",
        "admin" => "iam",
        "audit" | "delivery" | "query" => "cloudtrail",
        _ => "s3",
    }
}

fn error_code(record: &Record) -> Option<&str> {
    let denied = matches!(record.text("/auth/decision"), "deny" | "error");
    record.some("/err/code").or(denied.then_some("AccessDenied"))
}

fn parameters(record: &Record) -> Map<String, Value> {
    let mut members = Map::new();
    let named = [("bucketName", record.bucket()), ("key", record.key())];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    members.extend(named.map(|(name, value)| (name.to_owned(), json!(value))));
    for pair in record.array("/params") {
        if let Some(name) = pair["k"].as_str().filter(|name| *name != "operation") {
            members.insert(name.to_owned(), pair["v"].clone());
        }
    }
    if record.text("/class") == "kms" {
        members.insert("keyId".into(), json!(record.some("/kms/key")));
        members.insert("encryptionContext".into(), encryption_context(record));
    }
    members
}

fn encryption_context(record: &Record) -> Value {
    let pairs = record.array("/kms/ec").iter();
    let pairs = pairs.filter_map(|pair| Some((pair["k"].as_str()?.to_owned(), pair["v"].clone())));
    Value::Object(pairs.collect())
}

/// What a call did with a key; AWS has an event of its service KMS for it, and the members are named as there.
fn key_use(record: &Record) -> Value {
    json!({
        "eventName": record.some("/kms/op"),
        "keyId": record.some("/kms/key"),
        "encryptionContext": encryption_context(record),
    })
}

fn signature(sig: &str) -> Option<&'static str> {
    match sig {
        "v4" | "presigned" => Some("SigV4"),
        "v4a" => Some("SigV4A"),
        "v2" => Some("SigV2"),
        _ => None,
    }
}

fn method(sig: &str) -> Option<&'static str> {
    match sig {
        "v4" | "v4a" | "v2" => Some("AuthHeader"),
        "presigned" => Some("QueryString"),
        _ => None,
    }
}

/// Version and suite of `1.3/TLS_AES_128_GCM_SHA256`.
fn tls(record: &Record) -> Option<(&str, &str)> {
    record.some("/net/tls")?.split_once('/')
}

/// CloudTrail's event ids are UUIDs: a version 8 one (RFC 9562 §5.8), of our event id's digest.
fn event_id(event: &str) -> String {
    let digest = Sha256::digest(event.as_bytes());
    let number = digest.iter().take(16).fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let number = (number & !(0xF << 76) & !(0b11 << 62)) | (8 << 76) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        (number >> 80) & 0xFFFF,
        (number >> 64) & 0xFFFF,
        (number >> 48) & 0xFFFF,
        number & 0xFFFF_FFFF_FFFF
    )
}

fn is_read_only(operation: &str) -> bool {
    ["Get", "Head", "List", "Describe", "info", "list"]
        .iter()
        .any(|prefix| operation.starts_with(prefix))
}

fn resources(about: &About, record: &Record) -> Vec<Value> {
    let Some(bucket) = record.bucket() else { return Vec::new() };
    let object = record.key().map(
        |key| json!({ "type": "AWS::S3::Object", "ARN": format!("arn:aws:s3:::{bucket}/{key}") }),
    );
    let bucket = json!({
        "type": "AWS::S3::Bucket",
        "ARN": format!("arn:aws:s3:::{bucket}"),
        "accountId": about.account,
    });
    object.into_iter().chain([bucket]).collect()
}
