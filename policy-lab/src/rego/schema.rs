//! What a source is shown, and what its answer means.
//!
//! Guardrails of our own are in package `s3.authz` and see [`super::input`]; whatever is in `deny` denies. A source with
//! the line `# guardrail-input: minio` above its package sees what MinIO shows its policy plugin ([`super::minio`]), in a
//! package of any name, in either syntax of Rego; unless its `allow` is true, it denies. It denies only: there it
//! decided alone, here the policies must allow as well.

use regorus::Value;
use serde_json::Value as Json;

use super::input::{self, View};
use super::{RegoError, minio, verdict};
use crate::Denial;

/// The word of the header.
const HEADER: &str = "guardrail-input:";

const PACKAGE: &str = "data.s3.authz";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Schema {
    Own,
    Minio,
}

impl Schema {
    /// What a source says of itself in the comments above its package.
    pub(super) fn declared(file: &str, text: &str) -> Result<Self, RegoError> {
        for (line, text) in text.lines().map(str::trim).enumerate() {
            let Some(comment) = text.strip_prefix('#') else {
                match text {
                    "" => continue,
                    _ => break,
                }
            };
            match comment.trim().strip_prefix(HEADER).map(str::trim) {
                None => {}
                Some("minio") => return Ok(Self::Minio),
                Some(other) => {
                    let message = format!("there is no input `{other}`; `minio` is one");
                    return Err(RegoError { file: file.to_owned(), line: line + 1, message });
                }
            }
        }
        Ok(Self::Own)
    }

    /// Why a source cannot be in this package.
    pub(super) fn refuses(self, package: &str) -> Option<String> {
        (self == Self::Own && package != PACKAGE).then(|| {
            format!(
                "the package is `{package}`, guardrails are in `s3.authz`; one that was written for MinIO's plugin says \
                 `# {HEADER} minio` above its package"
            )
        })
    }

    /// The rule that answers.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Own => "deny",
            Self::Minio => "allow",
        }
    }

    pub(super) fn document(self, view: &View<'_>) -> Value {
        match self {
            Self::Own => input::document(view),
            Self::Minio => minio::document(view),
        }
    }

    /// The value that the document has under `first`, or under `first.second`.
    pub(super) fn part(self, view: &View<'_>, first: &str, second: Option<&str>) -> Option<Json> {
        match self {
            Self::Own => input::part(view, first, second),
            Self::Minio => minio::part(view, first, second),
        }
    }

    pub(super) fn denials(self, package: &str, result: &Value) -> Result<Vec<Denial>, String> {
        match (self, result) {
            (Self::Own, _) => verdict::denials(result),
            (Self::Minio, Value::Bool(true)) => Ok(Vec::new()),
            (Self::Minio, _) => Ok(vec![Denial {
                id: package.strip_prefix("data.").unwrap_or(package).to_owned(),
                msg: "`allow` is not true".to_owned(),
            }]),
        }
    }
}
