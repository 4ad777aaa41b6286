//! Logs of other servers, as lines of requests.
//!
//! What a foreign log does not hold is said to be unknown (`complete`), so that a replay answers "unknown" rather than
//! taking a missing key for an absent one. The lines are those that [`super::request_line`] reads.

mod access_log;
mod cloudtrail;
mod minio;

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::LineError;
use crate::{Action, Context};

/// A log that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Lines of MinIO's audit webhook, version 1.
    MinioAudit,
    /// CloudTrail: a file with `Records`, or one record a line.
    CloudTrail,
    /// S3 server access log.
    AccessLog,
}

impl Foreign {
    pub const ALL: [(&'static str, Self); 3] = [
        ("cloudtrail", Self::CloudTrail),
        ("minio", Self::MinioAudit),
        ("s3-access-log", Self::AccessLog),
    ];
}

impl FromStr for Foreign {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, log)| *log).ok_or_else(|| format!("`{text}` is not one of {}", names()))
    }
}

/// What to do about a line that another log may have.
const ANOTHER_LOG: &str = "name the log that it is of: cloudtrail, minio or s3-access-log";

/// What one line of a foreign log gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Requests, as lines.
    pub lines: Vec<String>,
    /// What was there and is no request that a policy of ours decides, by name.
    pub skipped: Vec<String>,
}

/// Reads one line of a foreign log.
///
/// # Errors
/// When the line is not of that log.
pub fn import(log: Foreign, line: &str) -> Result<Imported, LineError> {
    let mut imported = Imported::default();
    if line.trim().is_empty() {
        return Ok(imported);
    }
    let read = match log {
        Foreign::MinioAudit => minio::read(line, &mut imported),
        Foreign::CloudTrail => cloudtrail::read(line, &mut imported),
        Foreign::AccessLog => access_log::read(line, &mut imported),
    };
    read.map(|()| imported).map_err(|error| error.placed(line))
}

/// A request in the making.
#[derive(Debug, Default)]
struct Draft<'a> {
    id: &'a str,
    time: Option<String>,
    /// `s3:Name`.
    action: String,
    bucket: &'a str,
    key: &'a str,
    version: &'a str,
    principal: Value,
    context: Context,
    /// Keys whose absence the log would show.
    complete: &'static [&'static str],
    allowed: Option<bool>,
}

impl Draft<'_> {
    fn push(self, imported: &mut Imported) {
        let known = Action::parse(&self.action).is_ok_and(|action| action.info().is_some());
        if !known {
            imported.skipped.push(self.action);
            return;
        }
        let mut line = Map::new();
        let mut text = |name: &str, value: &str| {
            if !value.is_empty() {
                line.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        };
        text("id", self.id);
        text("ts", self.time.as_deref().unwrap_or_default());
        text("action", &self.action);
        text("bucket", self.bucket);
        text("key", self.key);
        text("version", self.version);
        line.insert("principal".to_owned(), self.principal);
        let context: Map<String, Value> =
            self.context.iter().map(|(key, values)| (key.to_owned(), json!(values))).collect();
        line.insert("ctx".to_owned(), Value::Object(context));
        line.insert("complete".to_owned(), json!(self.complete));
        if let Some(allowed) = self.allowed {
            let effect = if allowed { "allow" } else { "deny" };
            line.insert("recorded".to_owned(), json!({ "effect": effect }));
        }
        imported.lines.push(Value::Object(line).to_string());
    }
}

/// Sets keys that have a value.
fn set(context: &mut Context, pairs: &[(&str, &str)]) {
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        context.set(key, *value);
    }
}

/// A header or query parameter as condition key, in lower case.
const PARAMETERS: [(&str, &str); 14] = [
    ("delimiter", "s3:delimiter"),
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("max-keys", "s3:max-keys"),
    ("prefix", "s3:prefix"),
    ("referer", "aws:Referer"),
    ("user-agent", "aws:UserAgent"),
    ("x-amz-acl", "s3:x-amz-acl"),
    ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
    ("x-amz-copy-source", "s3:x-amz-copy-source"),
    ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    (
        "x-amz-server-side-encryption-aws-kms-key-id",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    ),
    ("x-amz-storage-class", "s3:x-amz-storage-class"),
];

fn parameter(context: &mut Context, name: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    if let Some((_, key)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
        context.set(key, value);
    }
}

/// The action of an operation's name; a version makes another one of some.
fn action(operation: &str, version: &str) -> String {
    let version = Some(version).filter(|version| !version.is_empty());
    super::request_line::action_of_operation(operation, version)
}

#[cfg(test)]
mod tests;
