//! Requests from a file, one JSON object per line.
//!
//! ```json
//! {"id":"1","ts":"2026-11-05T10:00:00Z","op":"PutObject","bucket":"b","key":"team/x",
//!  "principal":{"arn":"arn:aws:iam::000000000000:user/alice","groups":["eng"]},
//!  "ctx":{"aws:SourceIp":"10.1.2.3","aws:SecureTransport":true},"recorded":{"effect":"allow"}}
//! ```
//! Only `op` or `action` must be there, and nothing twice. An `action` may be one that no server has: `prove` finds such.
//! Without a principal the caller is anonymous; a name without an ARN is a user. `ts` fills `aws:CurrentTime` and
//! `aws:EpochTime` where `ctx` does not. With `"complete":["s3:*"]` only keys of `s3:` that are not in `ctx` are known to
//! have been absent; without it, all are.

use serde_json::Value;

use super::line::{context, object, principal, text, texts, time_us};
use super::{Complete, Event, LineError, Recorded, RecordedDecision};
use crate::action::ResourceKind;
use crate::{Action, Context, Principal, PrincipalKind, Request, Resource};

const MEMBERS: [&str; 11] = [
    "id",
    "ts",
    "op",
    "action",
    "bucket",
    "key",
    "version",
    "principal",
    "ctx",
    "complete",
    "recorded",
];

/// Members of a principal.
const CALLER: [&str; 6] = ["account", "arn", "groups", "name", "parent", "type"];

/// Operations whose action has another name, and the action when a version is named.
const OPERATIONS: [(&str, &str, Option<&str>); 17] = [
    ("CompleteMultipartUpload", "s3:PutObject", None),
    ("CopyObject", "s3:PutObject", None),
    ("CreateMultipartUpload", "s3:PutObject", None),
    ("DeleteObject", "s3:DeleteObject", Some("s3:DeleteObjectVersion")),
    ("DeleteObjects", "s3:DeleteObject", Some("s3:DeleteObjectVersion")),
    ("GetObject", "s3:GetObject", Some("s3:GetObjectVersion")),
    ("GetObjectTagging", "s3:GetObjectTagging", Some("s3:GetObjectVersionTagging")),
    ("HeadBucket", "s3:ListBucket", None),
    ("HeadObject", "s3:GetObject", Some("s3:GetObjectVersion")),
    ("ListBuckets", "s3:ListAllMyBuckets", None),
    ("ListMultipartUploads", "s3:ListBucketMultipartUploads", None),
    ("ListObjectVersions", "s3:ListBucketVersions", None),
    ("ListObjects", "s3:ListBucket", None),
    ("ListObjectsV2", "s3:ListBucket", None),
    ("ListParts", "s3:ListMultipartUploadParts", None),
    ("SelectObjectContent", "s3:GetObject", None),
    ("UploadPart", "s3:PutObject", None),
];

/// Reads the request of line `number`, from one; `None` for an empty line.
///
/// # Errors
/// When the line is not such an object, or has a member we do not know.
pub fn request_line(number: usize, line: &str) -> Result<Option<Event>, LineError> {
    match line.trim().is_empty() {
        true => Ok(None),
        false => event(number, line).map(Some).map_err(|error| error.placed(line)),
    }
}

fn event(number: usize, line: &str) -> Result<Event, LineError> {
    let value = object(line.as_bytes())?;
    let unknown =
        value.as_object().into_iter().flatten().find(|(k, _)| !MEMBERS.contains(&k.as_str()));
    if let Some((name, _)) = unknown {
        return Err(no_member(name, "a request", &MEMBERS));
    }
    let time = text(&value, "ts")?;
    let time_us = time_us(time)?;
    let version = text(&value, "version")?;
    let action = action(text(&value, "action")?, text(&value, "op")?, version)?;
    let mut context = context(value.get("ctx"))?;
    fill(&mut context, time, time_us, version);
    let request = Request {
        resource: resource(&action, text(&value, "bucket")?, text(&value, "key")?)?,
        action,
        principal: caller(value.get("principal")).map_err(|error| error.of("principal"))?,
        context,
    };
    let id = text(&value, "id")?.map_or_else(|| format!("line {number}"), str::to_owned);
    let recorded = recorded(value.get("recorded")).map_err(|error| error.of("recorded"))?;
    let complete = complete(value.get("complete"))?;
    Ok(Event { time_us, recorded: Recorded { id, seq: None, request, recorded, complete } })
}

fn action(
    action: Option<&str>,
    operation: Option<&str>,
    version: Option<&str>,
) -> Result<Action, LineError> {
    let name = match (action, operation) {
        (Some(action), _) => action.to_owned(),
        (None, Some(operation)) => action_of_operation(operation, version),
        (None, None) => {
            let error = LineError::new("the request has neither `action` nor `op`");
            return Err(error.hint("write \"op\":\"GetObject\""));
        }
    };
    let member = if action.is_some() { "action" } else { "op" };
    let action = Action::parse(&name).map_err(|error| {
        LineError::new(error.to_string()).hint("write \"action\":\"s3:GetObject\"").of(member)
    })?;
    if operation.is_some() && action.info().is_none() {
        let error = LineError::new(format!("`{name}` is not an operation we know"));
        return Err(error.hint("operations have the names of the S3 API").of(member));
    }
    Ok(action)
}

fn no_member(name: &str, of: &str, members: &[&str]) -> LineError {
    let error = LineError::new(format!("`{name}` is not a member of {of}"));
    error.hint(format!("there are {}", members.join(", "))).of(name)
}

/// The action that an S3 operation is decided by.
pub(super) fn action_of_operation(operation: &str, version: Option<&str>) -> String {
    match OPERATIONS.iter().find(|(known, ..)| *known == operation) {
        Some((_, plain, versioned)) => version.and(*versioned).unwrap_or(plain).to_owned(),
        None => format!("s3:{operation}"),
    }
}

fn resource(
    action: &Action,
    bucket: Option<&str>,
    key: Option<&str>,
) -> Result<Resource, LineError> {
    match (bucket, key) {
        (None, Some(_)) => {
            let error = LineError::new("there is a `key` but no `bucket`");
            Err(error.hint("write \"bucket\":\"name\"").of("key"))
        }
        (None, None) => match action.info().map(|info| info.resource) {
            Some(ResourceKind::Bucket | ResourceKind::Object) => {
                let error = LineError::new(format!("`{action}` needs a `bucket`"));
                Err(error.hint("write \"bucket\":\"name\""))
            }
            _ => Ok(Resource::Any),
        },
        (Some(bucket), None) => Ok(Resource::Bucket(bucket.to_owned())),
        (Some(bucket), Some(key)) => {
            Ok(Resource::Object { bucket: bucket.to_owned(), key: key.to_owned() })
        }
    }
}

fn caller(value: Option<&Value>) -> Result<Principal, LineError> {
    match value {
        None | Some(Value::Null) => Ok(Principal::anonymous("000000000000")),
        Some(Value::String(name)) if !name.contains(':') => {
            Ok(Principal::user("000000000000", name))
        }
        Some(Value::String(arn)) => principal(&serde_json::json!({ "arn": arn })),
        Some(object) => described(object),
    }
}

/// A caller with several members. One that has a name and no ARN is a user, as a name alone is; a caller that would be
/// taken for somebody else, or for nobody, is an error.
fn described(object: &Value) -> Result<Principal, LineError> {
    let Some(members) = object.as_object() else {
        let error = LineError::new("`principal` is neither a name, an ARN nor an object");
        return Err(error.hint("write \"principal\":\"alice\""));
    };
    if let Some(name) = members.keys().find(|name| !CALLER.contains(&name.as_str())) {
        return Err(no_member(name, "a principal", &CALLER));
    }
    let read = principal(object)?;
    let (name, kind) = (text(object, "name")?, text(object, "type")?);
    match (text(object, "arn")?.filter(|arn| !arn.is_empty()), name) {
        (None, Some(name)) if matches!(kind, None | Some("user" | "IAMUser")) => {
            let account = text(object, "account")?.unwrap_or("000000000000");
            Ok(Principal { groups: read.groups, ..Principal::user(account, name) })
        }
        (None, _) if read.kind != PrincipalKind::Anonymous || members.contains_key("parent") => {
            let error = LineError::new("`principal` has no `arn`");
            Err(error.hint("of users alone the name is enough"))
        }
        _ => Ok(read),
    }
}

fn fill(context: &mut Context, time: Option<&str>, time_us: Option<i64>, version: Option<&str>) {
    let facts = [
        ("aws:CurrentTime", time.map(str::to_owned)),
        ("aws:EpochTime", time_us.map(|us| us.div_euclid(1_000_000).to_string())),
        ("s3:versionid", version.map(str::to_owned)),
    ];
    for (key, value) in facts {
        if let Some(value) = value.filter(|_| context.get(key).is_none()) {
            context.set(key, value);
        }
    }
}

fn complete(value: Option<&Value>) -> Result<Complete, LineError> {
    match value.filter(|value| !value.is_null()) {
        None => Ok(Complete::everything()),
        Some(patterns) => Ok(Complete::only(texts(patterns, "complete")?)),
    }
}

fn recorded(value: Option<&Value>) -> Result<Option<RecordedDecision>, LineError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let digest = text(value, "policy_set")?;
    Ok(Some(RecordedDecision {
        allowed: match text(value, "effect")? {
            Some("allow") => true,
            Some("deny" | "explicit-deny" | "implicit-deny" | "error") => false,
            _ => {
                let error = LineError::new("`recorded` has no `effect` of `allow` or `deny`");
                return Err(error.hint("write \"recorded\":{\"effect\":\"allow\"}"));
            }
        },
        reason: text(value, "reason")?.map(str::to_owned),
        digest: digest.map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest).to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::{OPERATIONS, request_line};
    use crate::action::{Action, CATALOGUE};

    #[test]
    fn operations_are_of_the_catalogue() {
        for (_, plain, versioned) in OPERATIONS {
            for name in std::iter::once(plain).chain(versioned) {
                assert!(CATALOGUE.iter().any(|info| info.name == name), "{name}");
            }
        }
        assert!(Action::parse("s3:CopyObject").expect("well-formed").info().is_none());
    }

    #[test]
    fn a_name_is_a_user_in_an_object_too() {
        let caller = |principal: &str| {
            let line = format!(r#"{{"op":"ListBuckets","principal":{principal}}}"#);
            request_line(1, &line)
                .expect("a request")
                .expect("not empty")
                .recorded
                .request
                .principal
        };
        assert_eq!(caller(r#"{"name":"alice"}"#), caller(r#""alice""#));
        let grouped = caller(r#"{"name":"alice","groups":["eng"],"type":"user","account":"1"}"#);
        assert_eq!((grouped.arn.as_str(), grouped.groups.len()), ("arn:aws:iam::1:user/alice", 1));
    }

    #[test]
    fn a_complaint_is_about_a_member_and_says_what_to_do() {
        for (members, column) in [
            (r#""op":"GetObject","ts":"noon""#, 24),
            (r#""op":"Getobject","bucket":"é","op2":7"#, 38),
            (r#""op":"CopyObjects","bucket":"b""#, 7),
            (r#""action":"GetObject""#, 11),
            (r#""bucket":"b""#, 1),
            (r#""op":"GetObject","bucket":7"#, 28),
            (r#""op":"GetObject","key":"k""#, 25),
            (r#""op":"ListBuckets","principal":7"#, 33),
            (r#""op":"ListBuckets","principal":{"type":"king","arn":"x"}"#, 41),
            (r#""op":"ListBuckets","principal":{"name":7}"#, 41),
            (r#""op":"ListBuckets","principal":{"name":"x","groups":7}"#, 54),
            (r#""op":"ListBuckets","ctx":7"#, 27),
            (r#""op":"ListBuckets","ctx":{},"op":"GetObject""#, 33),
            (r#""op":"ListBuckets","ctx":{"aws:SourceIp":[[1]]}"#, 43),
            (r#""op":"ListBuckets","complete":7"#, 32),
            (r#""op":"ListBuckets","recorded":{"effect":"maybe"}"#, 32),
        ] {
            let error = request_line(1, &format!("{{{members}}}")).expect_err(members);
            assert_eq!(error.column, column, "{members}: {error}");
            assert!(error.hint.is_some(), "{members}: {error}");
        }
    }

    #[test]
    fn lines_that_are_no_requests() {
        for (line, message) in [
            ("{", "EOF while parsing an object"),
            ("[]", "the line is not a JSON object"),
            ("{}", "the request has neither `action` nor `op`"),
            (r#"{"op":"GetObjcet"}"#, "`s3:GetObjcet` is not an operation we know"),
            (r#"{"op":"GetObject"}"#, "`s3:GetObject` needs a `bucket`"),
            (r#"{"op":"GetObject","key":"k"}"#, "there is a `key` but no `bucket`"),
            (r#"{"op":"GetObject","bucket":7}"#, "`bucket` is not a string"),
            (r#"{"op":"ListBuckets","tx":1}"#, "`tx` is not a member of a request"),
            (
                r#"{"op":"ListBuckets","principal":{"group":"eng"}}"#,
                "`group` is not a member of a principal",
            ),
            (
                r#"{"op":"ListBuckets","principal":7}"#,
                "`principal` is neither a name, an ARN nor an object",
            ),
            (
                r#"{"op":"ListBuckets","principal":{"name":"s","type":"service_account"}}"#,
                "`principal` has no `arn`",
            ),
            (r#"{"op":"ListBuckets","ts":"noon"}"#, "`noon` is not a time"),
        ] {
            assert_eq!(request_line(1, line).expect_err(line).message, message);
        }
        assert_eq!(request_line(1, "  "), Ok(None));
    }
}
