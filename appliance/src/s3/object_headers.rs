//! Object facts in headers: what a PUT says about its object, and what GET and HEAD answer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use percent_encoding::percent_decode_str;
use policy_lab::Context;
use storage::{Headers, ObjectInfo, Sse, SseInfo, SseKind};

use super::error::{Code, S3Error};
use super::request::header;

/// User metadata at most, names and values together. Source: S3 user guide, "Working with object metadata".
const USER_METADATA_BYTES_MAX: usize = 2048;
const USER_PREFIX: &str = "x-amz-meta-";

/// Tags of an object at most. Source: S3 user guide, "Categorizing your objects using tags".
const TAGS_MAX: usize = 10;
/// Of an encryption context as it is sent; it is kept in the object's row and in every record of the key's use.
const CONTEXT_BYTES_MAX: usize = 2048;
const CUSTOMER_PREFIX: &str = "x-amz-server-side-encryption-customer-";

/// The headers that a PUT stores with its object.
///
/// # Errors
/// `MetadataTooLarge`, `InvalidStorageClass`, `InvalidArgument` for metadata that is not text.
pub fn stored_headers(headers: &HeaderMap) -> Result<Headers, S3Error> {
    let text = |name: &str| header(headers, name).map(ToOwned::to_owned);
    Ok(Headers {
        content_type: text("content-type"),
        content_encoding: text("content-encoding").and_then(without_aws_chunked),
        content_disposition: text("content-disposition"),
        content_language: text("content-language"),
        cache_control: text("cache-control"),
        expires: text("expires"),
        storage_class: storage_class(headers)?,
        user: user_metadata(headers)?,
    })
}

fn without_aws_chunked(encoding: String) -> Option<String> {
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

fn storage_class(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    match header(headers, "x-amz-storage-class") {
        None | Some("STANDARD") => Ok(None),
        Some("REDUCED_REDUNDANCY") => Ok(Some("REDUCED_REDUNDANCY".to_owned())),
        Some(_) => Err(S3Error::new(
            "InvalidStorageClass",
            400,
            "The storage class you specified is not valid.",
        )),
    }
}

fn user_metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>, S3Error> {
    let mut user: BTreeMap<String, String> = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(USER_PREFIX) else { continue };
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Code::InvalidArgument.because("User metadata must be UTF-8."))?;
        bytes += key.len() + value.len();
        user.entry(key.to_owned())
            .and_modify(|known| {
                known.push(',');
                known.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(Code::MetadataTooLarge.into());
    }
    Ok(user)
}

/// The tags of an `x-amz-tagging` header.
///
/// # Errors
/// `InvalidTag` for more than ten, a repeated key or a length out of bounds.
pub fn tags_of_header(headers: &HeaderMap) -> Result<BTreeMap<String, String>, S3Error> {
    let Some(raw) = header(headers, "x-amz-tagging") else { return Ok(BTreeMap::new()) };
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| S3Error::from(Code::InvalidTag))
    };
    let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    });
    checked_tags(pairs)
}

/// Collects tags within S3's bounds.
///
/// # Errors
/// As [`tags_of_header`].
pub fn checked_tags(
    pairs: impl Iterator<Item = Result<(String, String), S3Error>>,
) -> Result<BTreeMap<String, String>, S3Error> {
    let mut tags = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair?;
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(Code::InvalidTag.into());
        }
        if tags.insert(key, value).is_some() {
            return Err(Code::InvalidTag.because("Cannot provide multiple Tags with the same key"));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(S3Error::new("BadRequest", 400, "Object tags cannot be greater than 10"));
    }
    Ok(tags)
}

/// The encryption that a write asks for; every object is encrypted, so absent means SSE-S3.
///
/// # Errors
/// `InvalidArgument` for unknown values and for KMS headers without `aws:kms`.
pub fn encryption(headers: &HeaderMap) -> Result<Sse, S3Error> {
    let key_id = header(headers, "x-amz-server-side-encryption-aws-kms-key-id");
    let context = header(headers, "x-amz-server-side-encryption-context");
    let is_customer = headers.keys().any(|name| name.as_str().starts_with(CUSTOMER_PREFIX));
    if is_customer {
        return match header(headers, "x-amz-server-side-encryption") {
            // The key itself is read where the connection is known: see `customer`.
            None if key_id.is_none() && context.is_none() => Ok(Sse::Customer),
            _ => Err(Code::InvalidArgument.because(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            )),
        };
    }
    match header(headers, "x-amz-server-side-encryption") {
        Some("aws:kms") => Ok(Sse::Kms {
            key_id: key_id.and_then(bare_key_id),
            context: context.map_or_else(|| Ok(BTreeMap::new()), client_context)?,
        }),
        None | Some("AES256") if key_id.is_some() || context.is_some() => {
            Err(Code::InvalidArgument.because(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ))
        }
        None | Some("AES256") => Ok(Sse::S3),
        Some(_) => {
            Err(Code::InvalidArgument.because("The encryption method specified is not supported"))
        }
    }
}

/// The encryption context of the client. Source: S3 API reference, PutObject.
fn client_context(header: &str) -> Result<BTreeMap<String, String>, S3Error> {
    let json = STANDARD.decode(header).ok().filter(|_| header.len() <= CONTEXT_BYTES_MAX);
    json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(|| {
        Code::InvalidArgument.because(
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map",
        )
    })
}

/// The key name without the `arn:aws:kms:` prefix; an empty name is the default key.
fn bare_key_id(key_id: &str) -> Option<String> {
    let name = key_id.strip_prefix("arn:aws:kms:").unwrap_or(key_id);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Condition keys of a write. Source: service authorization reference, PutObject.
pub fn write_context(context: &mut Context, headers: &HeaderMap, tags: &BTreeMap<String, String>) {
    const COPIED: &[&str] = &[
        "x-amz-acl",
        "x-amz-copy-source",
        "x-amz-metadata-directive",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-storage-class",
        "if-match",
        "if-none-match",
    ];
    for name in COPIED {
        if let Some(value) = header(headers, name) {
            context.set(&format!("s3:{name}"), value.to_owned());
        }
    }
    for (key, value) in tags {
        context.set(&format!("s3:RequestObjectTag/{key}"), value.clone());
    }
    if !tags.is_empty() {
        context.set_many("s3:RequestObjectTagKeys", tags.keys().cloned().collect());
    }
}

/// Answers what GET and HEAD say of an object, without its length and range.
pub fn answer_object(headers: &mut HeaderMap, info: &ObjectInfo) {
    put(headers, "etag", &format!("\"{}\"", info.etag));
    put(headers, "last-modified", &http_date(info.modified_us));
    put(headers, "accept-ranges", "bytes");
    let stored = &info.headers;
    put(headers, "content-type", stored.content_type.as_deref().unwrap_or("binary/octet-stream"));
    for (name, value) in [
        ("content-encoding", &stored.content_encoding),
        ("content-disposition", &stored.content_disposition),
        ("content-language", &stored.content_language),
        ("cache-control", &stored.cache_control),
        ("expires", &stored.expires),
        ("x-amz-storage-class", &stored.storage_class),
    ] {
        if let Some(value) = value {
            put(headers, name, value);
        }
    }
    for (key, value) in &stored.user {
        put(headers, &format!("{USER_PREFIX}{key}"), value);
    }
    if !info.tags.is_empty() {
        put(headers, "x-amz-tagging-count", &info.tags.len().to_string());
    }
    answer_encryption(headers, &info.sse);
}

/// Says how the object is encrypted.
pub fn answer_encryption(headers: &mut HeaderMap, sse: &SseInfo) {
    match sse.kind {
        SseKind::S3 => put(headers, "x-amz-server-side-encryption", "AES256"),
        SseKind::Kms => {
            put(headers, "x-amz-server-side-encryption", "aws:kms");
            let key_id = format!("arn:aws:kms:{}", sse.key_id);
            put(headers, "x-amz-server-side-encryption-aws-kms-key-id", &key_id);
        }
        SseKind::Customer => {
            put(headers, "x-amz-server-side-encryption-customer-algorithm", "AES256");
        }
    }
}

/// Says the stored checksum.
pub fn answer_checksum(headers: &mut HeaderMap, info: &ObjectInfo) {
    let Some(checksum) = &info.checksum else { return };
    put(
        headers,
        &format!("x-amz-checksum-{}", checksum.algorithm.to_ascii_lowercase()),
        &checksum.value,
    );
    put(headers, "x-amz-checksum-type", checksum_kind(checksum.kind));
}

/// The AWS name of a checksum's kind.
#[must_use]
pub const fn checksum_kind(kind: storage::ChecksumKind) -> &'static str {
    match kind {
        storage::ChecksumKind::Full => "FULL_OBJECT",
        storage::ChecksumKind::Composite => "COMPOSITE",
    }
}

/// Sets a header; a value that HTTP cannot carry is left out rather than breaking the answer.
pub fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_bytes(value.as_bytes());
    if let (Ok(name), Ok(value)) = (name, value) {
        headers.insert(name, value);
    }
}

/// RFC 9110 date of microseconds since the epoch.
#[must_use]
pub fn http_date(at_us: u64) -> String {
    let seconds = i64::try_from(at_us / 1_000_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .ok()
        .and_then(|at| rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok())
        .unwrap_or_default()
}

/// RFC 3339 date with milliseconds, as S3 XML has it.
#[must_use]
pub fn xml_date(at_us: u64) -> String {
    let millis = i64::try_from(at_us / 1000).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// Seconds since the epoch of an RFC 9110 or RFC 3339 date.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<u64> {
    let parsed =
        rfc2822::DateTimeParser::new().parse_timestamp(text).or_else(|_| text.parse::<Timestamp>());
    parsed.ok().and_then(|at| u64::try_from(at.as_second()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn dates_in_their_three_forms() {
        assert_eq!(http_date(1_445_412_480_000_000), "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(xml_date(1_445_412_480_123_456), "2015-10-21T07:28:00.123Z");
        assert_eq!(parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(parse_http_date("junk"), None);
    }

    #[test]
    fn aws_chunked_is_not_stored() {
        let stored = stored_headers(&headers(&[("content-encoding", "aws-chunked,gzip")])).unwrap();
        assert_eq!(stored.content_encoding.as_deref(), Some("gzip"));
        let stored = stored_headers(&headers(&[("content-encoding", "aws-chunked")])).unwrap();
        assert_eq!(stored.content_encoding, None);
    }

    #[test]
    fn tags_within_bounds() {
        let tags = tags_of_header(&headers(&[("x-amz-tagging", "a=1&b%20c=d+e")])).unwrap();
        assert_eq!(tags.get("b c").map(String::as_str), Some("d e"));
        let twice = tags_of_header(&headers(&[("x-amz-tagging", "a=1&a=2")]));
        assert_eq!(twice.unwrap_err().code, "InvalidTag");
        let many = "a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=";
        assert_eq!(
            tags_of_header(&headers(&[("x-amz-tagging", many)])).unwrap_err().code,
            "BadRequest"
        );
    }

    #[test]
    fn encryption_headers() {
        assert_eq!(encryption(&headers(&[])).unwrap(), Sse::S3);
        let kms = headers(&[
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:k1"),
        ]);
        assert_eq!(
            encryption(&kms).unwrap(),
            Sse::Kms { key_id: Some("k1".to_owned()), context: BTreeMap::new() }
        );
        let bound = |context: &'static str| {
            encryption(&headers(&[
                ("x-amz-server-side-encryption", "aws:kms"),
                ("x-amz-server-side-encryption-context", context),
            ]))
        };
        let context = [("team".to_owned(), "audit".to_owned())].into();
        // {"team":"audit"}
        assert_eq!(bound("eyJ0ZWFtIjoiYXVkaXQifQ==").unwrap(), Sse::Kms { key_id: None, context });
        // {"team":1}, no JSON, no base64.
        for junk in ["eyJ0ZWFtIjoxfQ==", "dGVhbQ==", "{}"] {
            assert_eq!(bound(junk).unwrap_err().code, "InvalidArgument", "{junk}");
        }
        let stray = headers(&[("x-amz-server-side-encryption-aws-kms-key-id", "k1")]);
        assert_eq!(encryption(&stray).unwrap_err().code, "InvalidArgument");
        let unknown = headers(&[("x-amz-server-side-encryption", "ROT13")]);
        assert_eq!(encryption(&unknown).unwrap_err().code, "InvalidArgument");
    }
}
