//! What is refused before any signature is looked at: requests that two readers could understand differently.

#![deny(clippy::indexing_slicing)]

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};

use super::canonical::Query;
use super::failure::Cause;

/// Headers whose second occurrence could mean something else to another reader.
const UNIQUE: [&str; 9] = [
    "authorization",
    "content-length",
    "content-md5",
    "date",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
];

/// Query parameters that make a request a presigned one, each at most once.
pub(super) const PRESIGN: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Where the claim of a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Query,
}

impl Place {
    pub(super) fn malformed(self, what: &'static str) -> Cause {
        match self {
            Self::Header => Cause::HeaderMalformed(what.into()),
            Self::Query => Cause::QueryMalformed(what.into()),
        }
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Header => "AuthorizationHeaderMalformed",
            Self::Query => "AuthorizationQueryParametersError",
        }
    }
}

/// Refuses what is ambiguous and says where the signature is; `None` for an anonymous request.
pub(super) fn place(headers: &HeaderMap, query: &Query<'_>) -> Result<Option<Place>, Cause> {
    for name in UNIQUE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Cause::Duplicate(name.into()));
        }
    }
    for name in PRESIGN {
        if query.named(name).nth(1).is_some() {
            return Err(Cause::Duplicate(name.into()));
        }
    }
    let in_header = headers.contains_key(AUTHORIZATION);
    // Any spelling: a request that tries to authenticate must not pass as an anonymous one. The token alone is no claim.
    let in_query = PRESIGN
        .iter()
        .filter(|name| **name != "X-Amz-Security-Token")
        .any(|name| query.named_in_any_case(name));
    let version_two =
        ["AWSAccessKeyId", "Signature"].iter().any(|name| query.named(name).next().is_some());
    match (in_header, in_query, version_two) {
        (true, true, _) | (true, _, true) | (_, true, true) => Err(Cause::Ambiguous(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified.",
        )),
        (true, false, false) => Ok(Some(Place::Header)),
        (false, true, false) => Ok(Some(Place::Query)),
        (false, false, true) => Err(Cause::VersionTwo),
        (false, false, false) => Ok(None),
    }
}

/// The host that the client addressed: HTTP/2 carries it in the target, HTTP/1.1 in a header, a proxy request in both.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Cause> {
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let header = headers.get(HOST).map(http::HeaderValue::as_bytes);
    match (authority, header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => {
            Err(Cause::Ambiguous("The request target and the Host header name different hosts."))
        }
        (authority, header) => Ok(header.or(authority)),
    }
}

/// Refuses a signature that does not cover the host and every `x-amz-*` header that arrived.
///
/// `x-amz-content-sha256` is exempt: its value is a line of the canonical request itself, see `verify`.
pub(super) fn covered(headers: &HeaderMap, signed: &[&str]) -> Result<(), Cause> {
    if !signed.contains(&"host") {
        return Err(Cause::Unsigned("host".to_owned()));
    }
    let unsigned = headers.keys().map(http::HeaderName::as_str).find(|name| {
        name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !signed.contains(name)
    });
    match unsigned {
        Some(name) => Err(Cause::Unsigned(name.to_owned())),
        None => Ok(()),
    }
}
