//! Variables as MinIO reads them: the first value, put in as it is; without one the text stays as it stands.
//!
//! Source: MinIO's list of common keys; see [`crate::Profile::variables_are_raw`].

use crate::context::Context;

/// Keys that are substituted; those of a token all are.
const KEYS: [&str; 15] = [
    "aws:CurrentTime",
    "aws:EpochTime",
    "aws:Referer",
    "aws:SecureTransport",
    "aws:SourceIp",
    "aws:UserAgent",
    "aws:groups",
    "aws:principaltype",
    "aws:userid",
    "aws:username",
    "s3:LocationConstraint",
    "s3:authType",
    "s3:signatureAge",
    "s3:signatureversion",
    "s3:x-amz-content-sha256",
];

/// Puts values in, one pass only.
pub(super) fn fill(text: &str, context: &Context) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        match after.split_once('}').and_then(|(key, behind)| Some((value(key, context)?, behind))) {
            Some((value, behind)) => {
                filled.push_str(value);
                rest = behind;
            }
            None => {
                filled.push_str("${");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Whether a value is put in for a key.
pub(crate) fn is_variable(key: &str) -> bool {
    key.starts_with("jwt:") || key.starts_with("ldap:") || KEYS.contains(&key)
}

fn value<'a>(key: &str, context: &'a Context) -> Option<&'a str> {
    let value = context.get(key).filter(|_| is_variable(key))?.first()?;
    (!value.is_empty()).then_some(value.as_str())
}
