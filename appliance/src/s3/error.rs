//! S3 errors: code, status, message, and the XML that carries them.

use std::borrow::Cow;

use http::StatusCode;

use super::xml;
use crate::authz::Refusal;
use crate::recorder::{Unfiled, Unrecorded};

/// An error as an S3 client sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct S3Error {
    pub code: Cow<'static, str>,
    pub status: StatusCode,
    pub message: Cow<'static, str>,
    /// Further elements of the body, such as `ActualObjectSize`.
    pub details: Vec<(&'static str, String)>,
    /// The decision that refused, for `x-appliance-decision`.
    pub decision: Option<String>,
}

/// The codes that our own operations answer with. Status and text follow the AWS error list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    AccessDenied,
    BadDigest,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    EntityTooLarge,
    EntityTooSmall,
    IncompleteBody,
    InternalError,
    InvalidArgument,
    InvalidBucketName,
    InvalidPart,
    InvalidPartOrder,
    InvalidRange,
    InvalidRequest,
    InvalidTag,
    InvalidUri,
    KeyTooLong,
    KmsNotFound,
    MalformedPolicy,
    MalformedXml,
    MetadataTooLarge,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchBucketPolicy,
    NoSuchKey,
    NoSuchTagSet,
    NoSuchUpload,
    NoSuchVersion,
    NotImplemented,
    NotModified,
    PolicyTooLarge,
    PreconditionFailed,
    ServiceUnavailable,
    SlowDown,
}

impl Code {
    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::AccessDenied => ("AccessDenied", 403, "Access Denied."),
            Self::BadDigest => {
                ("BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
            }
            Self::BucketAlreadyExists => {
                ("BucketAlreadyExists", 409, "The requested bucket name is not available.")
            }
            Self::BucketAlreadyOwnedByYou => (
                "BucketAlreadyOwnedByYou",
                409,
                "Your previous request to create the named bucket succeeded and you already own it.",
            ),
            Self::BucketNotEmpty => {
                ("BucketNotEmpty", 409, "The bucket you tried to delete is not empty.")
            }
            Self::EntityTooLarge => (
                "EntityTooLarge",
                400,
                "Your proposed upload exceeds the maximum allowed object size.",
            ),
            Self::EntityTooSmall => (
                "EntityTooSmall",
                400,
                "Your proposed upload is smaller than the minimum allowed object size.",
            ),
            Self::IncompleteBody => (
                "IncompleteBody",
                400,
                "You did not provide the number of bytes specified by the Content-Length header.",
            ),
            Self::InternalError => {
                ("InternalError", 500, "We encountered an internal error, please try again.")
            }
            Self::InvalidArgument => ("InvalidArgument", 400, "Invalid argument."),
            Self::InvalidBucketName => {
                ("InvalidBucketName", 400, "The specified bucket is not valid.")
            }
            Self::InvalidPart => {
                ("InvalidPart", 400, "One or more of the specified parts could not be found.")
            }
            Self::InvalidPartOrder => {
                ("InvalidPartOrder", 400, "The list of parts was not in ascending order.")
            }
            Self::InvalidRange => ("InvalidRange", 416, "The requested range is not satisfiable."),
            Self::InvalidRequest => ("InvalidRequest", 400, "Invalid request."),
            Self::InvalidTag => ("InvalidTag", 400, "The tag provided was not a valid tag."),
            Self::InvalidUri => ("InvalidURI", 400, "Could not parse the specified URI."),
            Self::KeyTooLong => ("KeyTooLongError", 400, "Your key is too long."),
            Self::KmsNotFound => ("KMS.NotFoundException", 400, "Invalid keyId."),
            Self::MalformedPolicy => ("MalformedPolicy", 400, "Policy has invalid resource."),
            Self::MalformedXml => (
                "MalformedXML",
                400,
                "The XML you provided was not well-formed or did not validate against our published schema.",
            ),
            Self::MetadataTooLarge => (
                "MetadataTooLarge",
                400,
                "Your metadata headers exceed the maximum allowed metadata size.",
            ),
            Self::MethodNotAllowed => (
                "MethodNotAllowed",
                405,
                "The specified method is not allowed against this resource.",
            ),
            Self::NoSuchBucket => ("NoSuchBucket", 404, "The specified bucket does not exist."),
            Self::NoSuchBucketPolicy => {
                ("NoSuchBucketPolicy", 404, "The bucket policy does not exist.")
            }
            Self::NoSuchKey => ("NoSuchKey", 404, "The specified key does not exist."),
            Self::NoSuchTagSet => ("NoSuchTagSet", 404, "The TagSet does not exist."),
            Self::NoSuchUpload => (
                "NoSuchUpload",
                404,
                "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
            ),
            Self::NoSuchVersion => ("NoSuchVersion", 404, "The specified version does not exist."),
            Self::NotImplemented => (
                "NotImplemented",
                501,
                "A header or query you provided implies functionality that is not implemented.",
            ),
            Self::NotModified => ("NotModified", 304, "Not Modified"),
            Self::PolicyTooLarge => {
                ("PolicyTooLarge", 400, "The policy exceeds the maximum allowed document size.")
            }
            Self::PreconditionFailed => (
                "PreconditionFailed",
                412,
                "At least one of the preconditions you specified did not hold.",
            ),
            Self::ServiceUnavailable => {
                ("ServiceUnavailable", 503, "The service cannot answer now. Please retry.")
            }
            Self::SlowDown => ("SlowDown", 503, "Please reduce your request rate."),
        }
    }

    /// An error with this code and a message of its own.
    #[must_use]
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error { message: message.into(), ..S3Error::from(self) }
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        let (name, status, message) = code.parts();
        Self::new(name, status, message)
    }
}

impl S3Error {
    /// An error with a code from another part of the protocol layer.
    #[must_use]
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            message: message.into(),
            details: Vec::new(),
            decision: None,
        }
    }

    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.details.push((element, value.into()));
        self
    }

    /// The XML body.
    #[must_use]
    pub fn to_xml(&self, resource: &Named<'_>) -> String {
        let mut xml = xml::Writer::document();
        xml.open("Error");
        xml.text("Code", &self.code);
        xml.text("Message", &self.message);
        xml.optional("Key", resource.key);
        xml.optional("BucketName", resource.bucket);
        xml.text("Resource", resource.path);
        for (element, value) in &self.details {
            xml.text(element, value);
        }
        xml.text("RequestId", resource.request_id);
        xml.text("HostId", resource.host_id);
        xml.close("Error");
        xml.finish()
    }
}

/// What an error body names besides the error.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub path: &'a str,
    pub request_id: &'a str,
    pub host_id: &'a str,
}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { event, .. } => {
                Self { decision: Some(event), ..Self::from(Code::AccessDenied) }
            }
            Refusal::Unasked => {
                tracing::error!("an operation reached the gate without a check");
                Code::InternalError.into()
            }
            Refusal::Unrecorded(error) => Self::from(error),
            Refusal::Unfiled(error) => Self::from(error),
        }
    }
}

impl From<Unfiled> for S3Error {
    fn from(error: Unfiled) -> Self {
        match error {
            Unfiled::Recorder(error) => error.into(),
            Unfiled::Blob(audit::BlobError::Log(error)) => Unrecorded::from(error).into(),
            Unfiled::Blob(error) => {
                tracing::error!(%error, "the audit log does not take the policies in force");
                Code::ServiceUnavailable.because("The audit log does not accept records.")
            }
        }
    }
}

impl From<Unrecorded> for S3Error {
    /// A state that passes is `SlowDown`, which clients repeat; a log that stopped needs somebody. Neither says whether
    /// anything was done: the outcome of a change that was carried out may be what could not be recorded.
    fn from(error: Unrecorded) -> Self {
        tracing::debug!(%error, "a request is not on record");
        match error {
            Unrecorded::Late { .. }
            | Unrecorded::Refused(audit::LogError::Full { .. } | audit::LogError::NoSpace { .. }) => {
                Code::SlowDown.because("The audit log does not take records now; retry.")
            }
            Unrecorded::Refused(_) => {
                Code::ServiceUnavailable.because("The audit log does not accept records.")
            }
        }
    }
}

impl From<storage::Error> for S3Error {
    fn from(error: storage::Error) -> Self {
        use storage::ErrorKind;
        match error.kind() {
            ErrorKind::NoSuchBucket => Code::NoSuchBucket.into(),
            ErrorKind::BucketExists => Code::BucketAlreadyExists.into(),
            ErrorKind::BucketNotEmpty => Code::BucketNotEmpty.into(),
            ErrorKind::NoSuchKey => Code::NoSuchKey.into(),
            ErrorKind::InvalidRange => Code::InvalidRange.into(),
            ErrorKind::PreconditionFailed => Code::PreconditionFailed.into(),
            ErrorKind::NoSuchUpload => Code::NoSuchUpload.into(),
            ErrorKind::InvalidPart => Code::InvalidPart.into(),
            ErrorKind::InvalidPartOrder => Code::InvalidPartOrder.into(),
            ErrorKind::EntityTooSmall => Code::EntityTooSmall.into(),
            ErrorKind::TooLarge => Code::EntityTooLarge.because(error.to_string()),
            ErrorKind::InvalidArgument => Code::InvalidArgument.because(error.to_string()),
            ErrorKind::RowChanged => {
                Self::new("OperationAborted", 409, "A conflicting operation is in progress.")
            }
            ErrorKind::Source => of_source(error),
            ErrorKind::Key => of_key(&error),
            ErrorKind::Unavailable => {
                tracing::warn!(%error, "storage cannot answer now");
                Code::SlowDown.into()
            }
            _ => {
                tracing::error!(error = %Chain(&error), "storage failed");
                Code::InternalError.into()
            }
        }
    }
}

/// The body layer's own error, which storage carried through.
fn of_source(error: storage::Error) -> S3Error {
    let storage::Error::Source(storage::SourceError(cause)) = error else {
        return Code::InternalError.into();
    };
    match cause.downcast::<super::body::BodyError>() {
        Ok(body) => S3Error::from(*body),
        Err(other) => match other.downcast::<storage::Error>() {
            // The source of a copy is itself a stored object.
            Ok(stored) => S3Error::from(*stored),
            Err(other) => match other.downcast::<S3Error>() {
                Ok(error) => *error,
                Err(other) => {
                    tracing::error!(error = %other, "a request body failed");
                    Code::InternalError.into()
                }
            },
        },
    }
}

fn of_key(error: &storage::Error) -> S3Error {
    let storage::Error::Key(key) = error else { return Code::InternalError.into() };
    if let storage::KeyError::Unavailable(cause) = key
        && let Some(unrecorded) = cause.downcast_ref::<Unrecorded>()
    {
        return unrecorded.clone().into();
    }
    tracing::warn!(error = %Chain(key), "the key service refused");
    match key {
        storage::KeyError::NotFound { .. } => Code::KmsNotFound.into(),
        storage::KeyError::Denied { .. } => Code::AccessDenied.into(),
        _ => Code::ServiceUnavailable.because("The key service cannot answer now."),
    }
}

/// An error with its causes, for one log line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
