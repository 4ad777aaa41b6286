//! Policy documents: strict parse, compiled form.
//!
//! A document is refused, with line and column, rather than read in one of two possible ways: repeated members,
//! misspelt actions and operators, values of the wrong type, principals where none belong.
//!
//! Source: IAM user guide, "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy language".

mod error;
pub(crate) mod json;
mod principals;
mod read;
mod resources;
mod span;
mod statement;
#[cfg(feature = "analyze")]
mod value;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use self::error::DocumentError;
pub(crate) use self::error::line_and_column;
pub(crate) use self::principals::Named;
pub(crate) use self::read::ELEMENTS;
pub(crate) use self::resources::path;
pub(crate) use self::span::{Lines, Span};
pub(crate) use self::statement::{Statement, Verb};

/// Line and column of a value in JSON, by the names of the members (and the numbers of the items, from zero) that it is in:
/// of the innermost that is there.
pub(crate) fn place_of(text: &str, path: &[impl AsRef<str>]) -> (usize, usize) {
    let Ok(root) = json::parse(text) else { return (1, 1) };
    let mut node = &root;
    for name in path {
        let name = name.as_ref();
        let found = match &node.value {
            json::Value::Object(members) => {
                members.iter().find(|member| member.name == name).map(|member| &member.node)
            }
            json::Value::Array(items) => name.parse().ok().and_then(|n: usize| items.get(n)),
            _ => None,
        };
        let Some(found) = found else { break };
        node = found;
    }
    line_and_column(text, node.at)
}
use crate::Profile;

/// Where a document is meant to be attached; that decides which elements it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    Identity,
    Bucket,
    Session,
    Boundary,
}

impl DocumentKind {
    /// Bytes at most. 20 KiB is S3's limit for bucket policies; the other one is ours.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Bucket => 20 * 1024,
            Self::Identity | Self::Session | Self::Boundary => 64 * 1024,
        }
    }
}

/// Statements in one document at most.
pub const STATEMENTS_MAX: usize = 1000;

/// A parsed and compiled policy.
#[derive(Clone)]
pub struct Policy {
    source: Box<str>,
    digest: [u8; 32],
    kind: DocumentKind,
    profile: Profile,
    pub(crate) statements: Box<[Arc<Statement>]>,
    resources: Box<[Box<str>]>,
}

impl Policy {
    /// Parses and compiles a document.
    ///
    /// # Errors
    /// With the place of the first fault: invalid JSON, nested more than 16 deep, a repeated member, an element that
    /// does not belong into this kind of document, an unknown action or operator, a value of the wrong type, or a
    /// document beyond [`DocumentKind::bytes_max`] or [`STATEMENTS_MAX`].
    pub fn parse(text: &str, kind: DocumentKind) -> Result<Self, DocumentError> {
        Self::parse_as(text, kind, Profile::AWS)
    }

    /// Parses and compiles a document as a profile reads it.
    ///
    /// # Errors
    /// As [`Policy::parse`], and when the profile does not have an operator or value.
    pub fn parse_as(
        text: &str,
        kind: DocumentKind,
        profile: Profile,
    ) -> Result<Self, DocumentError> {
        let parsed = read::document(text, kind, profile)
            .map_err(|fault| DocumentError::locate(fault, text))?;
        Ok(Self {
            source: text.into(),
            digest: Sha256::digest(text.as_bytes()).into(),
            kind,
            profile,
            statements: parsed.statements.into_iter().map(Arc::new).collect(),
            resources: parsed.resources.into(),
        })
    }

    /// The text it was parsed from, unchanged.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// SHA-256 of the source text.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The document as plain JSON; a number is its text.
    #[cfg(feature = "analyze")]
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        value::value(&self.source)
    }

    #[must_use]
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// How it was read.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Line and column of a statement, from one, the column in characters.
    #[must_use]
    pub fn place(&self, statement: u32) -> Option<(usize, usize)> {
        let statement = self.statements.get(usize::try_from(statement).ok()?)?;
        Some(statement.spans().statement.place(&self.source))
    }

    /// Every entry of `Resource` and `NotResource`, as written.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|resource| &**resource)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Policy")
            .field("kind", &self.kind)
            .field("sha256", &hex::encode(self.digest))
            .field("statements", &self.statements.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
