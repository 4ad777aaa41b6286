//! Admin errors: JSON, with the codes that `mc` compares.
//!
//! Statuses are chosen for the clients' retries: `mc admin` repeats 408, 429, 502 and 503 for minutes, so only a state
//! that passes is a 503.

use std::borrow::Cow;

use audit::ErrorInfo;
use http::StatusCode;
use serde::Serialize;

use super::envelope::EnvelopeError;
use crate::authz::Refusal;
use crate::iam::{IamError, IamErrorKind};
use crate::recorder::Unrecorded;
use crate::s3::body::BodyError;
use crate::s3::error::S3Error;

/// An error as an admin client sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AdminError {
    pub code: Cow<'static, str>,
    pub status: StatusCode,
    pub message: Cow<'static, str>,
    /// The decision that refused, for `x-appliance-decision`.
    pub decision: Option<String>,
}

impl AdminError {
    fn new(code: &'static str, status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), status, message: message.into(), decision: None }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, StatusCode::NOT_FOUND, message)
    }

    /// `mc` compares this text, full stop included.
    pub(crate) fn access_denied() -> Self {
        Self::new("AccessDenied", StatusCode::FORBIDDEN, "Access Denied.")
    }

    pub(crate) fn not_implemented() -> Self {
        let message = "This call of the admin API is not implemented.";
        Self::new("NotImplemented", StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "The specified method is not allowed against this resource.";
        Self::new("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(crate) fn internal() -> Self {
        let message = "We encountered an internal error, please try again.";
        Self::new("InternalError", StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn bad_json() -> Self {
        Self::bad_request(
            "XMinioAdminConfigBadJSON",
            "The body is not the JSON of this call, or was not sealed under the signer's secret key.",
        )
    }

    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("XMinioAdminInvalidArgument", message)
    }

    pub(super) fn no_such_destination(message: String) -> Self {
        Self::new("ApplianceNoSuchDestination", StatusCode::NOT_FOUND, message)
    }

    /// Not a 503: clients would repeat it for minutes.
    pub(super) fn destination_unavailable(message: String) -> Self {
        Self::new("ApplianceDestinationUnavailable", StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// `mc` reports it as success.
    pub(crate) fn already_applied() -> Self {
        Self::bad_request(
            "XMinioAdminPolicyChangeAlreadyApplied",
            "The specified policy change is already in effect.",
        )
    }

    /// What the outcome record says.
    pub(crate) fn info(&self) -> ErrorInfo {
        ErrorInfo { code: self.code.to_string(), msg: self.message.to_string() }
    }

    /// The body.
    pub(crate) fn to_json(&self, resource: &str, request_id: &str, host_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            resource: &'a str,
            request_id: &'a str,
            host_id: &'a str,
        }
        let (code, message) = (&*self.code, &*self.message);
        let body = Body { code, message, resource, request_id, host_id };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl From<S3Error> for AdminError {
    fn from(error: S3Error) -> Self {
        let S3Error { code, status, message, decision, .. } = error;
        Self { code, status, message, decision }
    }
}

impl From<BodyError> for AdminError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => EnvelopeError::TooLong.into(),
            error => S3Error::from(error).into(),
        }
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        S3Error::from(refusal).into()
    }
}

impl From<Unrecorded> for AdminError {
    fn from(error: Unrecorded) -> Self {
        S3Error::from(error).into()
    }
}

impl From<storage::Error> for AdminError {
    fn from(error: storage::Error) -> Self {
        S3Error::from(error).into()
    }
}

impl From<EnvelopeError> for AdminError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::NotOpened => Self::bad_json(),
            EnvelopeError::TooLong => {
                Self::bad_request("XMinioAdminConfigTooLarge", "The body is too large.")
            }
            EnvelopeError::Random | EnvelopeError::Derive => {
                tracing::error!(%error, "an admin body could not be sealed");
                Self::internal()
            }
        }
    }
}

impl From<IamError> for AdminError {
    fn from(error: IamError) -> Self {
        let (code, status) = match error.kind() {
            IamErrorKind::NoSuchUser => {
                let message = "The specified user does not exist.";
                return Self::new("XMinioAdminNoSuchUser", StatusCode::NOT_FOUND, message);
            }
            IamErrorKind::NoSuchGroup => {
                let message = "The specified group does not exist.";
                return Self::new("XMinioAdminNoSuchGroup", StatusCode::NOT_FOUND, message);
            }
            IamErrorKind::NoSuchPolicy => {
                let message = "The canned policy does not exist.";
                return Self::new("XMinioAdminNoSuchPolicy", StatusCode::NOT_FOUND, message);
            }
            IamErrorKind::Internal => {
                tracing::error!(error = %chain(&error), "an identity could not be stored");
                return match error {
                    IamError::Store(error) => error.into(),
                    _ => Self::internal(),
                };
            }
            IamErrorKind::PolicyInUse => ("XMinioIAMPolicyInUse", StatusCode::BAD_REQUEST),
            IamErrorKind::GroupNotEmpty => ("XMinioAdminGroupNotEmpty", StatusCode::BAD_REQUEST),
            IamErrorKind::IsRoot => ("XMinioIAMActionNotAllowed", StatusCode::FORBIDDEN),
            IamErrorKind::InvalidName => ("XMinioInvalidResource", StatusCode::BAD_REQUEST),
            IamErrorKind::InvalidSecret => ("XMinioAdminInvalidSecretKey", StatusCode::BAD_REQUEST),
            IamErrorKind::Malformed => ("XMinioMalformedIAMPolicy", StatusCode::BAD_REQUEST),
            IamErrorKind::TooMany => ("XMinioAdminInvalidArgument", StatusCode::BAD_REQUEST),
        };
        Self::new(code, status, chain(&error))
    }
}

/// An error with its causes in one line: a policy's fault with its line and column.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
