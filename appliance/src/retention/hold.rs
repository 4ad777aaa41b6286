//! A legal hold: which records must stay, whatever the retention says.

use std::collections::BTreeMap;
use std::path::Path;

use audit::search::Piece;
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::RetentionError;
use super::identity::Who;

/// Longest text of a hold; a record has room for it.
const TEXT_BYTES_MAX: usize = 512;

/// What a hold is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Records that name this bucket and, of its objects, one whose key begins so.
    Prefix { bucket: String, key: String },
    /// Records of a caller: by ARN, name, access key, or the user behind them.
    Principal(String),
    /// Records of these times, both inclusive, as the log writes them.
    Times { since: String, until: String },
    /// A hold in a form that this release does not know keeps all records.
    Everything,
}

/// One hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Event of its first record.
    pub id: String,
    /// Its newest record.
    #[serde(skip)]
    pub seq: u64,
    pub subject: Subject,
    pub reason: String,
    pub by: String,
    pub since: String,
}

impl Subject {
    /// From the parameters of a record.
    pub(super) fn read(text: &dyn Fn(&str) -> String) -> Self {
        let (prefix, principal) = (text("prefix"), text("principal"));
        let (since, until) = (text("since"), text("until"));
        if !prefix.is_empty() {
            let (bucket, key) = prefix.split_once('/').unwrap_or((&prefix, ""));
            Self::Prefix { bucket: bucket.to_owned(), key: key.to_owned() }
        } else if !principal.is_empty() {
            Self::Principal(principal)
        } else if !since.is_empty() && !until.is_empty() {
            Self::Times { since, until }
        } else {
            Self::Everything
        }
    }

    /// From what somebody asks for: exactly one of the three.
    ///
    /// # Errors
    /// None or several are given, or one cannot be used.
    pub fn parse(
        prefix: Option<&str>,
        principal: Option<&str>,
        times: (Option<&str>, Option<&str>),
    ) -> Result<Self, RetentionError> {
        let refuse = |why: &'static str| Err(RetentionError::Argument(why.into()));
        // A record has room for this, and then keeps it as it is.
        let fits = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control);
        if ![prefix, principal, times.0, times.1].into_iter().flatten().all(fits) {
            return refuse(
                "A hold is about 512 bytes of text at most, without control characters.",
            );
        }
        match (prefix, principal, times) {
            (Some(prefix), None, (None, None)) => {
                let (bucket, key) = prefix.split_once('/').unwrap_or((prefix, ""));
                if storage::BucketName::parse(bucket).is_err() {
                    return refuse("A prefix begins with the name of a bucket: BUCKET/KEY.");
                }
                Ok(Self::Prefix { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            (None, Some(principal), (None, None)) if !principal.is_empty() => {
                Ok(Self::Principal(principal.to_owned()))
            }
            (None, None, (Some(since), Some(until))) => {
                let (since, until) = (stamp(since)?, stamp(until)?);
                if since > until {
                    return refuse("A hold's first time is not after its last.");
                }
                Ok(Self::Times { since, until })
            }
            _ => refuse("A hold is about a prefix, a principal, or the time from since to until."),
        }
    }

    /// As parameters of its record.
    pub(super) fn params(&self) -> BTreeMap<String, String> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Self::Prefix { bucket, key } => {
                [("prefix".to_owned(), format!("{bucket}/{key}"))].into()
            }
            Self::Principal(principal) => [pair("principal", principal)].into(),
            Self::Times { since, until } => [pair("since", since), pair("until", until)].into(),
            Self::Everything => BTreeMap::new(),
        }
    }

    /// Text that every record that it is about contains, where there is one.
    fn needle(&self) -> Option<String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Prefix { bucket, .. } => Some(format!("\"bucket\":{}", quoted(bucket))),
            // A name may be the end of an ARN, and an ARN may be known by its name.
            Self::Principal(principal) => {
                let last = principal.rsplit(['/', ':']).next().unwrap_or_default();
                Some(quoted(last).trim_matches('"').to_owned())
            }
            Self::Times { .. } | Self::Everything => None,
        }
    }

    /// Whether a record is one of those that must stay. What cannot be read, or is cut, must.
    fn is_about(&self, leaf: &[u8]) -> bool {
        let Ok(record) = serde_json::from_slice::<Touching>(leaf) else { return true };
        match self {
            Self::Prefix { bucket, key } => {
                let named: Vec<_> = record
                    .resources
                    .iter()
                    .filter(|resource| resource.bucket.as_deref() == Some(bucket))
                    .collect();
                let is_listed = named.iter().any(|resource| match &resource.key {
                    Some(named) => named.starts_with(key.as_str()),
                    // A bucket, or a key that is no text.
                    None => true,
                });
                is_listed || record.resources_more.is_some() || !record.trunc.is_empty()
            }
            Self::Principal(principal) => {
                let Some(found) = &record.principal else { return false };
                let key = found.access_key.as_deref() == Some(principal);
                let wanted = Who { name: principal.clone(), ..Who::default() };
                key || found.who.may_be(&wanted)
            }
            Self::Times { since, until } => {
                record.time.as_str() >= since.as_str() && record.time.as_str() <= until.as_str()
            }
            Self::Everything => true,
        }
    }
}

/// A time as the log writes it.
fn stamp(text: &str) -> Result<String, RetentionError> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time: Option<jiff::Timestamp> = whole.parse().ok();
    let us = time.and_then(|time| u64::try_from(time.as_microsecond()).ok()).ok_or_else(|| {
        let why = format!("`{text}` is no date or time of the form 2026-01-31T12:00:00Z.");
        RetentionError::Argument(why.into())
    })?;
    Ok(audit::stamp::string(us))
}

/// The members that holds look at.
#[derive(Deserialize)]
struct Touching {
    time: String,
    #[serde(default)]
    principal: Option<Caller>,
    #[serde(default)]
    resources: Vec<Named>,
    #[serde(default)]
    resources_more: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    trunc: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Caller {
    #[serde(flatten)]
    who: Who,
    #[serde(default)]
    access_key: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    bucket: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

/// The first record before `end` that a hold keeps, and which hold that is. Reads the records from the log's beginning.
///
/// # Errors
/// The log cannot be read.
pub(super) fn first_held<'a>(
    dir: &Path,
    end: u64,
    holds: impl Iterator<Item = &'a Hold>,
) -> Result<Option<(u64, &'a Hold)>, RetentionError> {
    let holds: Vec<(&Hold, Option<Finder<'static>>)> = holds
        .map(|hold| {
            let needle = hold.subject.needle();
            (hold, needle.map(|needle| Finder::new(needle.as_bytes()).into_owned()))
        })
        .collect();
    if holds.is_empty() {
        return Ok(None);
    }
    for piece in audit::pieces(dir) {
        let Piece { first, lines } = piece?;
        let leaves = lines.split(|byte| *byte == b'\n').filter(|leaf| !leaf.is_empty());
        for (leaf, seq) in leaves.zip(first..) {
            if seq >= end {
                return Ok(None);
            }
            let keeps = |(hold, needle): &&(&Hold, Option<Finder<'static>>)| {
                needle.as_ref().is_none_or(|needle| needle.find(leaf).is_some())
                    && hold.subject.is_about(leaf)
            };
            if let Some((hold, _)) = holds.iter().find(keeps) {
                return Ok(Some((seq, hold)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(extra: &serde_json::Value) -> Vec<u8> {
        let mut leaf = serde_json::json!({
            "action": "s3:GetObject", "class": "data", "event": "01A", "seq": 7,
            "principal": { "arn": "arn:aws:iam::1:user/alice", "name": "alice", "access_key": "AKIA1" },
            "resources": [{ "bucket": "ledger", "key": "2026/q1" }],
            "time": "2026-01-02T00:00:00.000000Z", "v": 1,
        });
        for (name, value) in extra.as_object().unwrap() {
            leaf[name] = value.clone();
        }
        serde_json::to_vec(&leaf).unwrap()
    }

    fn keeps(subject: &Subject, leaf: &[u8]) -> bool {
        let found = subject.needle().is_none_or(|n| Finder::new(&n).find(leaf).is_some());
        found && subject.is_about(leaf)
    }

    #[test]
    fn a_record_is_kept_by_what_it_names() {
        let plain = leaf(&serde_json::json!({}));
        let prefix = |text: &str| Subject::parse(Some(text), None, (None, None)).unwrap();
        assert!(keeps(&prefix("ledger"), &plain));
        assert!(keeps(&prefix("ledger/2026/"), &plain));
        assert!(!keeps(&prefix("ledger/2027/"), &plain));
        assert!(!keeps(&prefix("ledge"), &plain));
        let more = leaf(&serde_json::json!({ "resources_more": { "count": 900 } }));
        assert!(keeps(&prefix("ledger/2027/"), &more), "the rest is not listed");
        let odd =
            leaf(&serde_json::json!({ "resources": [{ "bucket": "ledger", "key_b64": "/w==" }] }));
        assert!(keeps(&prefix("ledger/2027/"), &odd));
        let principal = |text: &str| Subject::parse(None, Some(text), (None, None)).unwrap();
        for name in ["alice", "AKIA1", "arn:aws:iam::1:user/alice"] {
            assert!(keeps(&principal(name), &plain), "{name}");
        }
        assert!(!keeps(&principal("bob"), &plain));
        assert!(!keeps(&principal("ali"), &plain));
        let of_alice = serde_json::json!({ "principal": { "name": "AKIA9", "parent": "alice" } });
        assert!(keeps(&principal("alice"), &leaf(&of_alice)));
        let times = |since, until| Subject::parse(None, None, (Some(since), Some(until))).unwrap();
        assert!(keeps(&times("2026-01-01", "2026-01-02"), &plain));
        assert!(!keeps(&times("2026-01-03", "2026-01-04"), &plain));
        assert!(!keeps(&times("2026-01-01", "2026-01-01T23:59:59Z"), &plain));
        assert!(keeps(&Subject::Everything, &plain));
    }

    #[test]
    fn a_subject_is_read_back_as_it_was_written() {
        for subject in [
            Subject::parse(Some("ledger/a b/"), None, (None, None)).unwrap(),
            Subject::parse(Some("ledger"), None, (None, None)).unwrap(),
            Subject::parse(None, Some("alice"), (None, None)).unwrap(),
            Subject::parse(None, None, (Some("2026-01-01"), Some("2026-02-01"))).unwrap(),
        ] {
            let params = subject.params();
            let read = Subject::read(&|name| params.get(name).cloned().unwrap_or_default());
            assert_eq!(read, subject);
        }
        for (prefix, principal, since, until) in [
            (None, None, None, None),
            (Some("ledger"), Some("alice"), None, None),
            (Some("No_Bucket"), None, None, None),
            (None, Some(""), None, None),
            (None, None, Some("2026-01-01"), None),
            (None, None, Some("2026-02-01"), Some("2026-01-01")),
            (None, None, Some("soon"), Some("2026-01-01")),
        ] {
            assert!(Subject::parse(prefix, principal, (since, until)).is_err());
        }
    }
}
