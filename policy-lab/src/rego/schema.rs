//! What a source is shown, and what its answer means.
//!
//! Guardrails of our own are in package `s3.authz` and see [`super::input`]; whatever is in `deny` denies. A source with
//! the line `# guardrail-input: minio` above its package sees what MinIO shows its policy plugin ([`super::minio`]), in a
//! package of any name, in either syntax of Rego; unless its `allow` is true, it denies. It denies only: there it
//! decided alone, here the policies must allow as well.

use regorus::Value;
use serde_json::Value as Json;

use super::input::{self, View};
use super::place::RegoError;
use super::token::{Kind, Token};
use super::{minio, verdict};
use crate::Denial;
use crate::document::line_and_column;

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
        for (line, written) in (1..).zip(text.lines()) {
            let text = written.trim();
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
                    let before = written.find(other).and_then(|at| written.get(..at));
                    let column = before.map_or(0, |before| before.chars().count()) + 1;
                    let error =
                        RegoError::at(file, (line, column), format!("there is no input `{other}`"));
                    return Err(error.hint(format!("write `# {HEADER} minio`, or no such line")));
                }
            }
        }
        Ok(Self::Own)
    }

    /// Refuses a source that cannot be in this package.
    pub(super) fn accepts(
        self,
        package: &str,
        file: &str,
        text: &str,
        tokens: &[Token],
    ) -> Result<(), RegoError> {
        if self == Self::Minio || package == PACKAGE {
            return Ok(());
        }
        let is_word = |token: &&Token| token.kind == Kind::Name("package".to_owned());
        let at = tokens.iter().find(is_word).map_or(0, |token| token.at);
        let package = package.strip_prefix("data.").unwrap_or(package);
        let message = format!("the package is `{package}`, guardrails are in `s3.authz`");
        Err(RegoError::at(file, line_and_column(text, at), message).hint(format!(
            "write `package s3.authz`; what was written for MinIO's plugin says `# {HEADER} minio` above its package"
        )))
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
