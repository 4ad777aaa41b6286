//! Names that clients choose, parsed once at the edge.
//!
//! Nothing from a name ever reaches a path on disk: names are database keys, and files are called
//! after random blob ids.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest object key, in bytes of UTF-8.
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;

/// The name of a bucket: 3 to 63 of `a-z 0-9 . -`, as the S3 naming rules have it.
///
/// # Source
/// Amazon S3 User Guide, "General purpose bucket naming rules".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// The key of an object: 1 to 1024 bytes of UTF-8 without NUL.
///
/// NUL is refused because it ends the key inside a database row key (see FORMAT.md, "Rows").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The bucket name breaks a naming rule.
    #[error("invalid bucket name `{name}`: {rule}")]
    Bucket {
        /// What was written.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The object key breaks a rule; keys may be long, so the text is left out.
    #[error("invalid object key: {rule}")]
    Key {
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl BucketName {
    /// Parses a bucket name.
    ///
    /// # Errors
    /// [`NameError::Bucket`] names the first rule that is broken.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match broken_bucket_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(rule) => Err(NameError::Bucket { name: name.chars().take(80).collect(), rule }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectKey {
    /// Parses an object key.
    ///
    /// # Errors
    /// [`NameError::Key`] when it is empty, longer than 1024 bytes or has a NUL.
    pub fn parse(key: &str) -> Result<Self, NameError> {
        let rule = if key.is_empty() {
            "a key has at least one byte"
        } else if key.len() > OBJECT_KEY_BYTES_MAX {
            "a key has at most 1024 bytes"
        } else if key.contains('\0') {
            "a key has no NUL"
        } else {
            return Ok(Self(key.to_owned()));
        };
        Err(NameError::Key { rule })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_bucket_rule(name: &str) -> Option<&'static str> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !(3..=63).contains(&name.len()) {
        Some("3 to 63 characters")
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
    {
        Some("only lower-case letters, digits, dots and hyphens")
    } else if !edge(name.chars().next()) || !edge(name.chars().next_back()) {
        Some("begins and ends with a letter or digit")
    } else if name.contains("..") {
        Some("no two dots in a row")
    } else if name.parse::<std::net::Ipv4Addr>().is_ok() {
        Some("not formatted as an IP address")
    } else if ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|p| name.starts_with(p)) {
        Some("the prefix is reserved")
    } else if ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]
        .iter()
        .any(|s| name.ends_with(s))
    {
        Some("the suffix is reserved")
    } else {
        None
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BucketName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = NameError;

    fn try_from(key: String) -> Result<Self, NameError> {
        Self::parse(&key)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a-b.c", "123", &"x".repeat(63), "1.2.3"] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "192.168.5.4",
            "xn--abc",
            "abc-s3alias",
            "ab\u{e9}",
            "a/b",
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_keys_are_bounded_and_without_nul() {
        for good in ["a", "../../etc/passwd", "\u{1}", "日本", &"k".repeat(1024)] {
            assert!(ObjectKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", &"k".repeat(1025)] {
            assert!(ObjectKey::parse(bad).is_err(), "{bad}");
        }
    }
}
