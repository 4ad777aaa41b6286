//! CloudTrail: a file with `Records`, as it is delivered, or one record a line.
//!
//! Source: CloudTrail user guide, "CloudTrail record contents", and S3 user guide, "CloudTrail events". Request
//! parameters are those of the call; tags of stored objects and session tags are not there.

use serde_json::{Value, json};

use super::{ANOTHER_LOG, Draft, Imported, action, parameter, set};
use crate::Context;
use crate::replay::LineError;
use crate::replay::line::{object, text, text_in};

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
        Some(Value::Array(records)) => records.iter().enumerate().try_for_each(|(n, record)| {
            one(record, imported).map_err(|error| error.of(&n.to_string()).of("Records"))
        }),
        Some(_) => {
            let error = LineError::new("`Records` is not a list").of("Records");
            Err(error.hint("take a file as CloudTrail delivers it, or one record a line"))
        }
        None => one(&whole, imported),
    }
}

fn one(record: &Value, imported: &mut Imported) -> Result<(), LineError> {
    let Some(source) = text(record, "eventSource")? else {
        let error = LineError::new("the record has no `eventSource`: it is not of CloudTrail");
        return Err(error.hint(ANOTHER_LOG));
    };
    let event = text(record, "eventName")?.unwrap_or_default();
    if source != "s3.amazonaws.com" {
        imported.skipped.push(format!("{source} {event}"));
        return Ok(());
    }
    let given = |name| text_in(record, "requestParameters", name);
    let version = given("versionId")?;
    let error = text(record, "errorCode")?;
    Draft {
        id: text(record, "eventID")?.unwrap_or_default(),
        time: text(record, "eventTime")?.map(str::to_owned),
        action: action(event, version),
        bucket: given("bucketName")?,
        key: given("key")?,
        version,
        principal: principal(record)?,
        context: context(record)?,
        complete: COMPLETE,
        allowed: Some(!matches!(error, Some("AccessDenied" | "Client.UnauthorizedOperation"))),
    }
    .push(imported);
    Ok(())
}

fn principal(record: &Value) -> Result<Value, LineError> {
    let identity = |name| text_in(record, "userIdentity", name);
    let (kind, arn) = (identity("type")?, identity("arn")?);
    let (account, name) = (identity("accountId")?, identity("userName")?);
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

fn context(record: &Value) -> Result<Context, LineError> {
    let mut context = Context::new();
    let parameters = record.get("requestParameters").and_then(Value::as_object);
    for (name, value) in parameters.into_iter().flatten() {
        match value {
            Value::String(value) => parameter(&mut context, name, value),
            Value::Number(value) => parameter(&mut context, name, &value.to_string()),
            _ => {}
        }
    }
    let more = |name| text_in(record, "additionalEventData", name);
    let signature = match more("SignatureVersion")? {
        "SigV4" => "AWS4-HMAC-SHA256",
        "SigV2" => "AWS",
        _ => "",
    };
    let authentication = match more("AuthenticationMethod")? {
        "AuthHeader" => "REST-HEADER",
        "QueryString" => "REST-QUERY-STRING",
        _ => "",
    };
    let tls = record.pointer("/tlsDetails/tlsVersion").and_then(Value::as_str);
    let tls = tls.and_then(|tls| tls.strip_prefix("TLSv")).unwrap_or_default();
    let agent = text(record, "userAgent")?.unwrap_or_default();
    // `[agent]` is how it is written for some events.
    let agent = agent.trim_start_matches('[').trim_end_matches(']');
    let identity = |name| text_in(record, "userIdentity", name);
    set(
        &mut context,
        &[
            ("aws:SourceIp", text(record, "sourceIPAddress")?.unwrap_or_default()),
            ("aws:UserAgent", agent),
            ("aws:RequestedRegion", text(record, "awsRegion")?.unwrap_or_default()),
            ("aws:PrincipalArn", identity("arn")?),
            ("aws:PrincipalAccount", identity("accountId")?),
            ("aws:userid", identity("principalId")?),
            ("aws:username", identity("userName")?),
            ("aws:SecureTransport", if tls.is_empty() { "" } else { "true" }),
            ("s3:TlsVersion", tls),
            ("s3:signatureversion", signature),
            ("s3:authType", authentication),
        ],
    );
    Ok(context)
}
