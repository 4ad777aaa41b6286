//! Why a request was not authenticated.

use std::borrow::Cow;
use std::fmt;

/// A refused signature, with the key that the client claimed where one could be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}", .cause.code(), .cause.message())]
pub struct Failure {
    pub cause: Cause,
    /// Not proven; for the audit record only.
    pub claimed_access_key: Option<String>,
}

/// The cases. Exhaustive, so that a new one has to be given a code, a status and an audit reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A header that must be unique occurs twice, or a query parameter does.
    Duplicate(Cow<'static, str>),
    /// `Authorization` beside query authentication, or two hosts that differ.
    Ambiguous(&'static str),
    /// An `Authorization` of another kind.
    UnsupportedType,
    /// Signature Version 2.
    VersionTwo,
    /// Signature Version 4A.
    VersionFourA,
    HeaderMalformed(Cow<'static, str>),
    QueryMalformed(Cow<'static, str>),
    /// The scope names a region that is not ours.
    WrongRegion {
        place: &'static str,
        region: String,
        expected: String,
    },
    MissingDate,
    /// A presigned URL from the future.
    NotYetValid,
    /// A presigned URL after its time.
    Expired,
    Skewed,
    UnknownKey,
    /// A header that must be covered by the signature is not.
    Unsigned(String),
    /// A header that the signature covers did not arrive.
    SignedHeaderMissing(String),
    /// `x-amz-content-sha256` is neither a digest nor a known word.
    InvalidContentSha256,
    Mismatch(Box<Evidence>),
}

/// What we signed, so that a client's author can compare. Holds header values: never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    pub string_to_sign: String,
    pub canonical_request: Vec<u8>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Evidence(..)")
    }
}

impl Cause {
    pub(super) fn claimed(self, access_key: &str) -> Failure {
        Failure { cause: self, claimed_access_key: Some(access_key.to_owned()) }
    }

    /// AWS error code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous(_) | Self::Duplicate(_) | Self::UnsupportedType => "InvalidArgument",
            Self::VersionTwo => "InvalidRequest",
            Self::VersionFourA => "NotImplemented",
            Self::HeaderMalformed(_) => "AuthorizationHeaderMalformed",
            Self::QueryMalformed(_) => "AuthorizationQueryParametersError",
            Self::WrongRegion { place, .. } => place,
            Self::MissingDate | Self::NotYetValid | Self::Expired | Self::Unsigned(_) => {
                "AccessDenied"
            }
            Self::Skewed => "RequestTimeTooSkewed",
            Self::UnknownKey => "InvalidAccessKeyId",
            Self::InvalidContentSha256 => "InvalidArgument",
            Self::SignedHeaderMissing(_) | Self::Mismatch(_) => "SignatureDoesNotMatch",
        }
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Ambiguous(_)
            | Self::Duplicate(_)
            | Self::UnsupportedType
            | Self::VersionTwo
            | Self::HeaderMalformed(_)
            | Self::QueryMalformed(_)
            | Self::WrongRegion { .. }
            | Self::MissingDate
            | Self::InvalidContentSha256 => 400,
            Self::NotYetValid
            | Self::Expired
            | Self::Skewed
            | Self::UnknownKey
            | Self::Unsigned(_)
            | Self::SignedHeaderMissing(_)
            | Self::Mismatch(_) => 403,
            Self::VersionFourA => 501,
        }
    }

    /// Text for the client.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Duplicate(name) => format!("`{name}` must be given exactly once."),
            Self::Ambiguous(what) => (*what).to_owned(),
            Self::UnsupportedType => "Unsupported Authorization Type.".to_owned(),
            Self::VersionTwo => "The authorization mechanism you have provided is not supported. \
                                 Please use AWS4-HMAC-SHA256."
                .to_owned(),
            Self::VersionFourA => {
                "AWS4-ECDSA-P256-SHA256 is not implemented. Please use AWS4-HMAC-SHA256.".to_owned()
            }
            Self::HeaderMalformed(what) => {
                format!("The authorization header is malformed; {what}.")
            }
            Self::QueryMalformed(what) => {
                format!("Error parsing the authorization query parameters; {what}.")
            }
            Self::WrongRegion { region, expected, .. } => format!(
                "The authorization is malformed; the region '{region}' is wrong; expecting '{expected}'."
            ),
            Self::MissingDate => {
                "AWS authentication requires a valid Date or x-amz-date header.".to_owned()
            }
            Self::NotYetValid => "Request is not valid yet.".to_owned(),
            Self::Expired => "Request has expired.".to_owned(),
            Self::Skewed => {
                "The difference between the request time and the server's time is too large."
                    .to_owned()
            }
            Self::UnknownKey => {
                "The Access Key Id you provided does not exist in our records.".to_owned()
            }
            Self::Unsigned(name) => {
                format!(
                    "There were headers present in the request which were not signed: `{name}`."
                )
            }
            Self::SignedHeaderMissing(name) => {
                format!("The signature covers the header `{name}`, which did not arrive.")
            }
            Self::InvalidContentSha256 => {
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING \
                                           value or a valid sha256 value."
                    .to_owned()
            }
            Self::Mismatch(_) => {
                "The request signature we calculated does not match the signature you \
                                  provided. Check your key and signing method."
                    .to_owned()
            }
        }
    }

    /// The audit record's word for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Skewed | Self::NotYetValid => "clock-skew",
            Self::UnknownKey => "unknown-key",
            Self::Ambiguous(_)
            | Self::Duplicate(_)
            | Self::UnsupportedType
            | Self::VersionTwo
            | Self::VersionFourA
            | Self::HeaderMalformed(_)
            | Self::QueryMalformed(_)
            | Self::WrongRegion { .. }
            | Self::MissingDate
            | Self::InvalidContentSha256
            | Self::Unsigned(_)
            | Self::SignedHeaderMissing(_)
            | Self::Mismatch(_) => "bad-signature",
        }
    }
}

impl Failure {
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.cause.code()
    }

    #[must_use]
    pub const fn status(&self) -> u16 {
        self.cause.status()
    }

    #[must_use]
    pub fn message(&self) -> String {
        self.cause.message()
    }

    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.cause.reason()
    }

    /// Further elements of the error body. The signature that arrived is not repeated.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let key = self.claimed_access_key.clone().map(|key| ("AWSAccessKeyId", key));
        match &self.cause {
            Cause::Mismatch(evidence) => {
                let canonical = String::from_utf8_lossy(&evidence.canonical_request).into_owned();
                key.into_iter()
                    .chain([
                        ("StringToSign", evidence.string_to_sign.clone()),
                        ("CanonicalRequest", canonical),
                    ])
                    .collect()
            }
            Cause::UnknownKey => key.into_iter().collect(),
            Cause::WrongRegion { expected, .. } => vec![("Region", expected.clone())],
            _ => Vec::new(),
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, claimed_access_key: None }
    }
}
