//! Records in the shapes that other people's tools read. Each is a pure function of the record's bytes, so that a
//! record that is sent again is the same bytes again.

mod cef;
mod cloudtrail;
mod ecs;
mod minio;
mod ocsf;

use bytes::Bytes;
use serde_json::{Value, json};

use super::delivery::Item;
use super::record::Record;

/// A shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The exact bytes of the record: what the log's proofs are about.
    Native,
    /// MinIO's audit entry, version 1.
    Minio,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
    /// Elastic Common Schema.
    Ecs,
    /// ArcSight's Common Event Format.
    Cef,
    /// AWS CloudTrail's record.
    CloudTrail,
}

/// What a format says of the server.
#[derive(Clone, Debug)]
pub struct About {
    /// The log's name.
    pub origin: String,
    pub account: String,
    pub region: String,
    pub deployment: String,
    pub version: &'static str,
}

/// A whole batch as one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Framed {
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Format {
    pub const ALL: [(&'static str, Self); 6] = [
        ("native", Self::Native),
        ("minio", Self::Minio),
        ("ocsf", Self::Ocsf),
        ("ecs", Self::Ecs),
        ("cef", Self::Cef),
        ("cloudtrail", Self::CloudTrail),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// Whether a record becomes one JSON object.
    #[must_use]
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::Cef)
    }

    /// One record without a newline.
    ///
    /// # Errors
    /// The bytes are no record.
    pub fn encode(self, about: &About, leaf: &Bytes) -> Result<Bytes, serde_json::Error> {
        let record = || Record::parse(leaf);
        let value = match self {
            Self::Native => return Ok(leaf.clone()),
            Self::Cef => return Ok(cef::line(about, &record()?).into()),
            Self::Minio => minio::entry(about, &record()?),
            Self::Ocsf => ocsf::event(about, &record()?, leaf),
            Self::Ecs => ecs::document(about, &record()?, leaf),
            Self::CloudTrail => cloudtrail::record(about, &record()?),
        };
        Ok(serde_json::to_vec(&value)?.into())
    }

    /// A batch as the body of one webhook.
    pub(super) fn frame(self, about: &About, items: &[Item]) -> Framed {
        let bodies = || items.iter().map(|item| item.body.as_ref());
        match self {
            Self::Native => Framed {
                content_type: "application/json",
                body: joined(&envelope(about, items), bodies(), b",", b"]}}"),
            },
            Self::CloudTrail => Framed {
                content_type: "application/json",
                body: joined(b"{\"Records\":[", bodies(), b",", b"]}"),
            },
            Self::Ocsf | Self::Ecs => Framed {
                content_type: "application/json",
                body: joined(b"[", bodies(), b",", b"]"),
            },
            Self::Minio if items.len() == 1 => Framed {
                content_type: "application/json",
                body: joined(b"", bodies(), b"\n", b"\n"),
            },
            Self::Minio => Framed {
                content_type: "application/x-ndjson",
                body: joined(b"", bodies(), b"\n", b"\n"),
            },
            Self::Cef => Framed {
                content_type: "text/plain; charset=utf-8",
                body: joined(b"", bodies(), b"\n", b"\n"),
            },
        }
    }
}

/// The head of a native batch, up to its records. Its time is the last record's, so that it is equal on redelivery.
///
/// # Source
/// Standard Webhooks, "Payload structure": `type`, `timestamp`, `data`.
fn envelope(about: &About, items: &[Item]) -> Vec<u8> {
    let seq = |item: Option<&Item>| item.map_or(0, |item| item.seq);
    let time = items.last().map_or(0, |item| item.time_us);
    let text = |value: Value| value.to_string();
    format!(
        "{{\"type\":\"audit.records\",\"timestamp\":{},\"data\":{{\"origin\":{},\"first\":{},\"last\":{},\"count\":{},\"records\":[",
        text(json!(time_text(time))),
        text(json!(about.origin)),
        seq(items.first()),
        seq(items.last()),
        items.len(),
    )
    .into_bytes()
}

/// A time with six digits of a second, as the log writes it.
pub(super) fn time_text(time_us: u64) -> String {
    let time =
        i64::try_from(time_us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    format!("{:.6}", time.unwrap_or_default())
}

fn joined<'a>(
    head: &[u8],
    bodies: impl Iterator<Item = &'a [u8]>,
    between: &[u8],
    tail: &[u8],
) -> Bytes {
    let mut whole = head.to_vec();
    for (index, body) in bodies.enumerate() {
        if index > 0 {
            whole.extend_from_slice(between);
        }
        whole.extend_from_slice(body);
    }
    whole.extend_from_slice(tail);
    whole.into()
}

/// Leaves out what is not there.
fn without_nulls(mut value: Value) -> Value {
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => members.retain(|_, value| {
            prune(value);
            !is_nothing(value)
        }),
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Whatever a record holds, it stays one line, and JSON stays JSON.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(leaf: &[u8]) {
    let about = About {
        origin: "appliance.local/fuzzed".into(),
        account: "123456789012".into(),
        region: "us-east-1".into(),
        deployment: "00000000-0000-4000-8000-000000000000".into(),
        version: "0.1.0",
    };
    for (name, format) in Format::ALL.into_iter().filter(|(_, format)| *format != Format::Native) {
        let Ok(body) = format.encode(&about, &Bytes::copy_from_slice(leaf)) else { return };
        assert!(!body.contains(&b'\n') && !body.contains(&b'\r'), "{name} is one line");
        let value: Result<Value, _> = serde_json::from_slice(&body);
        assert_eq!(value.is_ok_and(|value| value.is_object()), format.is_json(), "{name}");
    }
}

#[cfg(test)]
mod tests;
