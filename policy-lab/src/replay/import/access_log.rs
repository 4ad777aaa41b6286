//! S3 server access log: fields between spaces, some in quotes, the time in brackets.
//!
//! Source: S3 user guide, "Amazon S3 server access log format". Headers but two are not there; what the query held is.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{ANOTHER_LOG, Draft, Imported, action, parameter, set};
use crate::Context;
use crate::replay::LineError;

const COMPLETE: &[&str] = &[
    "aws:referer",
    "aws:securetransport",
    "aws:sourceip",
    "aws:useragent",
    "s3:authtype",
    "s3:delimiter",
    "s3:max-keys",
    "s3:prefix",
    "s3:signatureversion",
    "s3:tlsversion",
    "s3:versionid",
];

/// Fields up to the request's URI, status and error, which every line has.
const FIELDS_MIN: usize = 11;

/// `METHOD.RESOURCE` of an operation, and the operation.
const OPERATIONS: [(&str, &str); 24] = [
    ("COPY.OBJECT", "CopyObject"),
    ("COPY.OBJECT_GET", "GetObject"),
    ("DELETE.BUCKET", "DeleteBucket"),
    ("DELETE.BUCKETPOLICY", "DeleteBucketPolicy"),
    ("DELETE.OBJECT", "DeleteObject"),
    ("DELETE.OBJECT_TAGGING", "DeleteObjectTagging"),
    ("DELETE.UPLOAD", "AbortMultipartUpload"),
    ("GET.ACL", "GetBucketAcl"),
    ("GET.BUCKET", "ListObjectsV2"),
    ("GET.BUCKETPOLICY", "GetBucketPolicy"),
    ("GET.BUCKETVERSIONS", "ListObjectVersions"),
    ("GET.LOCATION", "GetBucketLocation"),
    ("GET.OBJECT", "GetObject"),
    ("GET.OBJECT_TAGGING", "GetObjectTagging"),
    ("GET.UPLOAD", "ListParts"),
    ("GET.VERSIONING", "GetBucketVersioning"),
    ("HEAD.BUCKET", "HeadBucket"),
    ("HEAD.OBJECT", "HeadObject"),
    ("POST.UPLOAD", "CompleteMultipartUpload"),
    ("POST.UPLOADS", "CreateMultipartUpload"),
    ("PUT.BUCKETPOLICY", "PutBucketPolicy"),
    ("PUT.OBJECT", "PutObject"),
    ("PUT.OBJECT_TAGGING", "PutObjectTagging"),
    ("PUT.PART", "UploadPart"),
];

pub(super) fn read(line: &str, imported: &mut Imported) -> Result<(), LineError> {
    let fields = fields(line)?;
    if fields.len() < FIELDS_MIN {
        let message = format!("{} fields; a line of an access log has more", fields.len());
        let error = LineError::new(message).at(line.trim_end().chars().count() + 1);
        return Err(error.hint(ANOTHER_LOG));
    }
    let field =
        |index: usize| fields.get(index).map(|(_, field)| *field).filter(|field| *field != "-");
    let name = field(6).unwrap_or_default();
    let (_, what) = name.split_once('.').unwrap_or_default();
    let operation = OPERATIONS.iter().find(|(known, _)| *known == what).map(|(_, name)| *name);
    let Some(operation) = operation else {
        imported.skipped.push(name.to_owned());
        return Ok(());
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let key = decode(field(7).unwrap_or_default());
    let version = field(17).unwrap_or_default();
    let (column, at) = fields.get(2).copied().unwrap_or_default();
    Draft {
        id: field(5).unwrap_or_default(),
        time: Some(time(at).map_err(|error| error.at(column))?),
        action: action(operation, version),
        bucket: field(1).unwrap_or_default(),
        key: &key,
        version,
        principal: principal(field(4)),
        context: context(&field, &decode),
        complete: COMPLETE,
        allowed: Some(field(10) != Some("AccessDenied")),
    }
    .push(imported);
    Ok(())
}

/// Cuts a line into fields with their columns; quotes and brackets fall away.
fn fields(line: &str) -> Result<Vec<(usize, &str)>, LineError> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end();
    let mut column = 1;
    while !rest.is_empty() {
        let (close, inside) = match rest.chars().next() {
            Some('"') => ('"', rest.get(1..).unwrap_or_default()),
            Some('[') => (']', rest.get(1..).unwrap_or_default()),
            _ => (' ', rest),
        };
        let end = match inside.find(close) {
            Some(end) => end,
            None if close == ' ' => inside.len(),
            None => {
                let error = LineError::new(format!("a field has no closing `{close}`"));
                return Err(error.at(column).hint("the line was cut; take it whole"));
            }
        };
        fields.push((column, inside.get(..end).unwrap_or_default()));
        let behind = inside.get(end..).unwrap_or_default();
        let next = behind.strip_prefix(close).unwrap_or(behind).trim_start_matches(' ');
        let taken = rest.len() - next.len();
        column += rest.get(..taken).unwrap_or_default().chars().count();
        rest = next;
    }
    Ok(fields)
}

/// `06/Feb/2019:00:00:38 +0000` as RFC 3339.
fn time(text: &str) -> Result<String, LineError> {
    let time = jiff::Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", text).map_err(|_| {
        LineError::new(format!("`{text}` is not the time of an access log"))
            .hint("it is written [06/Feb/2026:00:00:38 +0000]")
    })?;
    Ok(time.to_string())
}

/// An ARN, or the canonical id of an account.
fn principal(requester: Option<&str>) -> Value {
    match requester {
        None => Value::Null,
        Some(arn) if arn.starts_with("arn:") => json!({ "arn": arn }),
        Some(id) => json!({ "arn": format!("canonical:{id}"), "type": "user", "name": id }),
    }
}

fn context<'a>(
    field: &impl Fn(usize) -> Option<&'a str>,
    decode: &impl Fn(&str) -> String,
) -> Context {
    let mut context = Context::new();
    let uri = field(8).unwrap_or_default();
    let path = uri.split(' ').nth(1).unwrap_or_default();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        parameter(&mut context, &decode(name), &decode(value));
    }
    let signature = match field(19) {
        Some("SigV4") => "AWS4-HMAC-SHA256",
        Some("SigV2") => "AWS",
        _ => "",
    };
    let authentication = match field(21) {
        Some("AuthHeader") => "REST-HEADER",
        Some("QueryString") => "REST-QUERY-STRING",
        _ => "",
    };
    let secure = if field(20).is_some() { "true" } else { "false" };
    let tls = field(23).and_then(|tls| tls.strip_prefix("TLSv")).unwrap_or_default();
    set(
        &mut context,
        &[
            ("aws:SourceIp", field(3).unwrap_or_default()),
            ("aws:Referer", field(15).unwrap_or_default()),
            ("aws:UserAgent", field(16).unwrap_or_default()),
            ("aws:SecureTransport", secure),
            ("s3:TlsVersion", tls),
            ("s3:signatureversion", signature),
            ("s3:authType", authentication),
        ],
    );
    context
}
