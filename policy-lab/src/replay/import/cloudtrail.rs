//! CloudTrail: a file with `Records`, as it is delivered, or one record a line.
//!
//! Source: CloudTrail user guide, "CloudTrail record contents", and S3 user guide, "CloudTrail events". Request
//! parameters are those of the call; tags of stored objects and session tags are not there.

use serde_json::{Value, json};

use super::{Draft, Imported, action, parameter, set};
use crate::Context;
use crate::replay::LineError;
use crate::replay::line::{object, text};

const COMPLETE: &[&str] = &[
    "aws:sourceip",
    "aws:useragent",
    "s3:delimiter",
    "s3:max-keys",
    "s3:prefix",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-copy-source",
    "s3:x-amz-server-side-encryption*",
    "s3:x-amz-storage-class",
];

pub(super) fn read(line: &str, imported: &mut Imported) -> Result<(), LineError> {
    let whole = object(line.as_bytes())?;
    match whole.get("Records") {
        Some(Value::Array(records)) => records.iter().try_for_each(|record| one(record, imported)),
        Some(_) => Err(LineError::new("`Records` is not a list")),
        None => one(&whole, imported),
    }
}

fn one(record: &Value, imported: &mut Imported) -> Result<(), LineError> {
    let Some(source) = text(record, "eventSource")? else {
        return Err(LineError::new("the record has no `eventSource`: it is not of CloudTrail"));
    };
    let event = text(record, "eventName")?.unwrap_or_default();
    if source != "s3.amazonaws.com" {
        imported.skipped.push(format!("{source} {event}"));
        return Ok(());
    }
    let none = Value::Null;
    let parameters = record.get("requestParameters").unwrap_or(&none);
    let version = text(parameters, "versionId")?.unwrap_or_default();
    let error = text(record, "errorCode")?;
    Draft {
        id: text(record, "eventID")?.unwrap_or_default(),
        time: text(record, "eventTime")?.map(str::to_owned),
        action: action(event, version),
        bucket: text(parameters, "bucketName")?.unwrap_or_default(),
        key: text(parameters, "key")?.unwrap_or_default(),
        version,
        principal: principal(record.get("userIdentity").unwrap_or(&none))?,
        context: context(record, parameters)?,
        complete: COMPLETE,
        allowed: Some(!matches!(error, Some("AccessDenied" | "Client.UnauthorizedOperation"))),
    }
    .push(imported);
    Ok(())
}

fn principal(identity: &Value) -> Result<Value, LineError> {
    let kind = text(identity, "type")?.unwrap_or_default();
    let arn = text(identity, "arn")?.unwrap_or_default();
    let account = text(identity, "accountId")?.unwrap_or_default();
    let name = text(identity, "userName")?.unwrap_or_default();
    if arn.is_empty() {
        // Anonymous callers and services have none.
        return Ok(Value::Null);
    }
    let kind = match kind {
        "Root" => "root",
        "IAMUser" => "user",
        _ => "sts",
    };
    let mut principal = json!({ "arn": arn, "type": kind, "account": account });
    if !name.is_empty() {
        principal["name"] = json!(name);
    }
    Ok(principal)
}

fn context(record: &Value, parameters: &Value) -> Result<Context, LineError> {
    let mut context = Context::new();
    for (name, value) in parameters.as_object().into_iter().flatten() {
        match value {
            Value::String(value) => parameter(&mut context, name, value),
            Value::Number(value) => parameter(&mut context, name, &value.to_string()),
            _ => {}
        }
    }
    let more = record.get("additionalEventData").unwrap_or(&Value::Null);
    let signature = match text(more, "SignatureVersion")? {
        Some("SigV4") => "AWS4-HMAC-SHA256",
        Some("SigV2") => "AWS",
        _ => "",
    };
    let authentication = match text(more, "AuthenticationMethod")? {
        Some("AuthHeader") => "REST-HEADER",
        Some("QueryString") => "REST-QUERY-STRING",
        _ => "",
    };
    let tls = record.pointer("/tlsDetails/tlsVersion").and_then(Value::as_str);
    let tls = tls.and_then(|tls| tls.strip_prefix("TLSv")).unwrap_or_default();
    let agent = text(record, "userAgent")?.unwrap_or_default();
    // `[agent]` is how it is written for some events.
    let agent = agent.trim_start_matches('[').trim_end_matches(']');
    let identity = record.get("userIdentity").unwrap_or(&Value::Null);
    set(
        &mut context,
        &[
            ("aws:SourceIp", text(record, "sourceIPAddress")?.unwrap_or_default()),
            ("aws:UserAgent", agent),
            ("aws:RequestedRegion", text(record, "awsRegion")?.unwrap_or_default()),
            ("aws:PrincipalArn", text(identity, "arn")?.unwrap_or_default()),
            ("aws:PrincipalAccount", text(identity, "accountId")?.unwrap_or_default()),
            ("aws:userid", text(identity, "principalId")?.unwrap_or_default()),
            ("aws:username", text(identity, "userName")?.unwrap_or_default()),
            ("aws:SecureTransport", if tls.is_empty() { "" } else { "true" }),
            ("s3:TlsVersion", tls),
            ("s3:signatureversion", signature),
            ("s3:authType", authentication),
        ],
    );
    Ok(context)
}
