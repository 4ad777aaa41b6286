//! Headers that would change what an operation means and that we do not carry out: refused, never ignored.

use http::HeaderMap;

use super::error::{Code, S3Error};
use super::request::header;

/// Each asks for a promise (a lock, a key, an owner) that silence would break.
const UNSUPPORTED_PREFIXES: &[&str] = &[
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];

/// ACLs that say no more than that the owner owns.
const NEUTRAL_ACLS: &[&str] = &["private", "bucket-owner-full-control", "bucket-owner-read"];

/// Refuses what is not carried out.
///
/// # Errors
/// `NotImplemented`; `AccessControlListNotSupported` for an ACL that would grant; `AccessDenied` when the client
/// expects another account to own the bucket.
pub fn unsupported(headers: &HeaderMap, account: &str) -> Result<(), S3Error> {
    let asked = headers.keys().map(http::HeaderName::as_str).find(|name| {
        UNSUPPORTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && header(headers, name) != Some("false")
    });
    if let Some(name) = asked {
        return Err(Code::NotImplemented.because(format!(
            "A header you provided implies functionality that is not implemented: {name}"
        )));
    }
    if header(headers, "x-amz-acl").is_some_and(|acl| !NEUTRAL_ACLS.contains(&acl)) {
        return Err(S3Error::new(
            "AccessControlListNotSupported",
            400,
            "The bucket does not allow ACLs",
        ));
    }
    let expected = header(headers, "x-amz-expected-bucket-owner");
    let expected = expected.or_else(|| header(headers, "x-amz-source-expected-bucket-owner"));
    if expected.is_some_and(|expected| expected != account) {
        return Err(Code::AccessDenied.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn refused(name: &'static str, value: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )]);
        unsupported(&headers, "000000000001").err().map(|error| error.code.into_owned())
    }

    #[test]
    fn promises_we_do_not_keep_are_refused() {
        assert_eq!(
            refused("x-amz-object-lock-mode", "COMPLIANCE").as_deref(),
            Some("NotImplemented")
        );
        assert_eq!(refused("x-amz-mfa", "serial 123456").as_deref(), Some("NotImplemented"));
        assert_eq!(refused("x-amz-bucket-object-lock-enabled", "false"), None);
        assert_eq!(
            refused("x-amz-acl", "public-read").as_deref(),
            Some("AccessControlListNotSupported")
        );
        assert_eq!(refused("x-amz-acl", "private"), None);
        assert_eq!(
            refused("x-amz-expected-bucket-owner", "000000000002").as_deref(),
            Some("AccessDenied")
        );
        assert_eq!(refused("x-amz-expected-bucket-owner", "000000000001"), None);
    }
}
