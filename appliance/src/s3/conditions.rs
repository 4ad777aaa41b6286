//! Conditional requests (RFC 9110 §13, and S3's extension of it to PUT and DELETE).

use http::HeaderMap;
use storage::{ObjectInfo, WriteCondition};

use super::error::{Code, S3Error};
use super::object_headers::parse_http_date;
use super::request::header;

/// The names of one set of conditions; copies use their own.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    matches: &'static str,
    none_match: &'static str,
    modified: &'static str,
    unmodified: &'static str,
}

/// Conditions of GET and HEAD.
pub const READ: Names = Names {
    matches: "if-match",
    none_match: "if-none-match",
    modified: "if-modified-since",
    unmodified: "if-unmodified-since",
};

/// Conditions of a copy on its source.
pub const COPY_SOURCE: Names = Names {
    matches: "x-amz-copy-source-if-match",
    none_match: "x-amz-copy-source-if-none-match",
    modified: "x-amz-copy-source-if-modified-since",
    unmodified: "x-amz-copy-source-if-unmodified-since",
};

/// Checks a read against the stored object, in the order of RFC 9110 §13.2.2.
///
/// # Errors
/// `PreconditionFailed` (412), or `NotModified` (304).
pub fn check_read(names: Names, headers: &HeaderMap, info: &ObjectInfo) -> Result<(), S3Error> {
    let modified_s = info.modified_us / 1_000_000;
    match header(headers, names.matches) {
        Some(list) if !etag_in(list, &info.etag) => return Err(failed("If-Match")),
        Some(_) => {}
        None => {
            if date(headers, names.unmodified).is_some_and(|limit_s| modified_s > limit_s) {
                return Err(failed("If-Unmodified-Since"));
            }
        }
    }
    match header(headers, names.none_match) {
        Some(list) if etag_in(list, &info.etag) => Err(Code::NotModified.into()),
        Some(_) => Ok(()),
        None => match date(headers, names.modified) {
            Some(since_s) if modified_s <= since_s => Err(Code::NotModified.into()),
            _ => Ok(()),
        },
    }
}

/// The condition of a write: `If-None-Match: *` or `If-Match: ETAG`.
///
/// # Errors
/// `NotImplemented` for `If-None-Match` with an ETag, as on AWS; `InvalidRequest` for both.
pub fn write_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
    match (header(headers, "if-none-match"), header(headers, "if-match")) {
        (None, None) => Ok(WriteCondition::None),
        (Some("*" | "\"*\""), None) => Ok(WriteCondition::IfNoneMatchAny),
        (Some(_), None) => Err(Code::NotImplemented.into()),
        (None, Some(etag)) => Ok(WriteCondition::IfMatch(unquoted(etag).to_owned())),
        (Some(_), Some(_)) => {
            Err(Code::InvalidRequest.because("If-Match and If-None-Match exclude each other."))
        }
    }
}

/// An ETag without its quotes and weakness mark.
#[must_use]
pub fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

fn etag_in(list: &str, etag: &str) -> bool {
    list.split(',').map(unquoted).any(|listed| listed == "*" || listed == etag)
}

fn date(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name).and_then(parse_http_date)
}

fn failed(condition: &'static str) -> S3Error {
    S3Error::from(Code::PreconditionFailed).with("Condition", condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etag_lists_quoted_unquoted_and_star() {
        assert!(etag_in("\"abc\"", "abc"));
        assert!(etag_in("abc", "abc"));
        assert!(etag_in("\"x\", W/\"abc\"", "abc"));
        assert!(etag_in("*", "abc"));
        assert!(!etag_in("\"abcd\"", "abc"));
    }

    #[test]
    fn write_conditions() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )])
        };
        assert_eq!(write_condition(&HeaderMap::new()).unwrap(), WriteCondition::None);
        assert_eq!(
            write_condition(&headers("if-none-match", "*")).unwrap(),
            WriteCondition::IfNoneMatchAny
        );
        assert_eq!(
            write_condition(&headers("if-match", "\"e\"")).unwrap(),
            WriteCondition::IfMatch("e".to_owned())
        );
        assert_eq!(
            write_condition(&headers("if-none-match", "\"e\"")).unwrap_err().code,
            "NotImplemented"
        );
    }
}
