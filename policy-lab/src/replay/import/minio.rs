//! MinIO's audit webhook: one JSON object a line.
//!
//! Source: `logger/message/audit` of `minio/pkg`, `Entry` version 1. Headers and query are whole; TLS, groups and
//! tags of stored objects are not there.

use serde_json::{Value, json};

use super::{ANOTHER_LOG, Draft, Imported, action, parameter, set};
use crate::Context;
use crate::replay::LineError;
use crate::replay::line::{object, text, text_in};

const COMPLETE: &[&str] = &[
    "aws:referer",
    "aws:useragent",
    "s3:delimiter",
    "s3:if-match",
    "s3:if-none-match",
    "s3:max-keys",
    "s3:prefix",
    "s3:versionid",
    "s3:x-amz-*",
];

/// Names of calls that differ from the operation's.
const CALLS: [(&str, &str); 11] = [
    ("CopyObjectPart", "UploadPart"),
    ("DeleteBucketEncryption", "PutEncryptionConfiguration"),
    ("DeleteMultipleObjects", "DeleteObject"),
    ("ListObjectParts", "ListParts"),
    ("ListObjectsV1", "ListObjects"),
    ("ListObjectsV2M", "ListObjectsV2"),
    ("NewMultipartUpload", "CreateMultipartUpload"),
    ("PutBucket", "CreateBucket"),
    ("PutObjectPart", "UploadPart"),
    ("GetBucketObjectLockConfig", "GetBucketObjectLockConfiguration"),
    ("PutBucketObjectLockConfig", "PutBucketObjectLockConfiguration"),
];

pub(super) fn read(line: &str, imported: &mut Imported) -> Result<(), LineError> {
    let entry = object(line.as_bytes())?;
    let Some(api) = entry.get("api").filter(|api| api.is_object()) else {
        let error = LineError::new("the line has no `api`: it is not of MinIO's audit log");
        return Err(error.hint(ANOTHER_LOG).of("api"));
    };
    let call = text_in(&entry, "api", "name")?;
    let operation = CALLS.iter().find(|(name, _)| *name == call).map_or(call, |(_, name)| name);
    let query =
        |name: &str| entry.pointer(&format!("/requestQuery/{name}")).and_then(Value::as_str);
    let version = query("versionId").unwrap_or_default();
    let status = api.get("statusCode").and_then(Value::as_u64);
    let mut keys: Vec<&str> = Vec::new();
    let deleted = api.get("objects").and_then(Value::as_array);
    for (n, deleted) in deleted.into_iter().flatten().enumerate() {
        let name = text(deleted, "objectName");
        keys.extend(name.map_err(|error| error.of(&n.to_string()).of("objects").of("api"))?);
    }
    if keys.is_empty() {
        keys.push(text_in(&entry, "api", "object")?);
    }
    for key in keys {
        Draft {
            id: text(&entry, "requestID")?.unwrap_or_default(),
            time: text(&entry, "time")?.map(str::to_owned),
            action: action(operation, version),
            bucket: text_in(&entry, "api", "bucket")?,
            key,
            version,
            principal: principal(&entry)?,
            context: context(&entry)?,
            complete: COMPLETE,
            // Whatever else went wrong, it was let in.
            allowed: status.map(|status| status != 403 && status != 401),
        }
        .push(imported);
    }
    Ok(())
}

fn principal(entry: &Value) -> Result<Value, LineError> {
    let key = text(entry, "accessKey")?.unwrap_or_default();
    let parent = text(entry, "parentUser")?.filter(|parent| !parent.is_empty());
    let arn = |name: &str| format!("arn:aws:iam::000000000000:user/{name}");
    Ok(match (key, parent) {
        ("", _) => Value::Null,
        (key, None) => json!({ "arn": arn(key), "type": "user", "name": key }),
        (key, Some(parent)) => {
            json!({ "arn": arn(parent), "type": "service_account", "name": key, "parent": parent })
        }
    })
}

fn context(entry: &Value) -> Result<Context, LineError> {
    let mut context = Context::new();
    for part in ["requestHeader", "requestQuery"] {
        for (name, value) in entry.get(part).and_then(Value::as_object).into_iter().flatten() {
            if let Some(value) = value.as_str() {
                parameter(&mut context, name, value);
            }
        }
    }
    // The address may have a port.
    let host = text(entry, "remotehost")?.unwrap_or_default();
    let address = match host.parse::<std::net::SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => host.to_owned(),
    };
    let key = text(entry, "accessKey")?.unwrap_or_default();
    let name = text(entry, "parentUser")?.filter(|parent| !parent.is_empty()).unwrap_or(key);
    let agent = text(entry, "userAgent")?.unwrap_or_default();
    set(
        &mut context,
        &[
            ("aws:SourceIp", &address),
            ("aws:UserAgent", agent),
            ("aws:username", name),
            ("aws:userid", name),
        ],
    );
    Ok(context)
}
