//! ArcSight's Common Event Format, one line per record.
//!
//! # Source
//! "Implementing ArcSight Common Event Format", version 0: the header escapes `\` and `|`, values escape `\`, `=` and
//! line ends.

use std::fmt::Write as _;

use super::About;
use crate::siem::record::{Outcome, Record};

pub(super) fn line(about: &About, record: &Record) -> String {
    let action = record.text("/action");
    let outcome = record.outcome();
    let severity = match outcome {
        Outcome::Succeeded => 3,
        Outcome::Failed => 5,
        Outcome::Denied => 7,
    };
    let mut line = format!(
        "CEF:0|appliance|appliance|{}|{}|{}|{severity}|",
        header(about.version),
        header(action),
        header(record.operation()),
    );
    let file = record.bucket().map(|bucket| match record.key() {
        Some(key) => format!("{bucket}/{key}"),
        None => bucket.to_owned(),
    });
    let number = |pointer| record.number(pointer).map(|number: u64| number.to_string());
    let labelled =
        |label: &'static str, value: &Option<String>| value.is_some().then(|| label.to_owned());
    let text = |pointer| record.some(pointer).map(ToOwned::to_owned);
    let (policy, key) = (text("/auth/by/0/id"), text("/kms/key"));
    let word = match outcome {
        Outcome::Succeeded => "success",
        Outcome::Failed | Outcome::Denied => "failure",
    };
    let pairs = [
        ("rt", Some((record.time_us() / 1000).to_string())),
        ("externalId", text("/event")),
        ("cat", text("/class")),
        ("suser", text("/principal/name")),
        ("suid", text("/principal/access_key")),
        ("src", text("/net/src")),
        ("dpt", number("/net/port")),
        ("act", text("/auth/decision")),
        ("outcome", Some(word.to_owned())),
        ("reason", text("/auth/reason").or_else(|| text("/err/code"))),
        ("request", record.param("path").map(ToOwned::to_owned)),
        ("requestMethod", record.param("method").map(ToOwned::to_owned)),
        ("requestClientApplication", text("/net/ua")),
        ("filePath", file),
        ("in", number("/result/bytes_in")),
        ("out", number("/result/bytes_out")),
        ("dvchost", text("/node")),
        ("cn1", Some(record.seq().to_string())),
        ("cn1Label", Some("seq".to_owned())),
        ("cn2", number("/result/code")),
        ("cn2Label", record.number("/result/code").map(|_| "status".to_owned())),
        ("cs1Label", labelled("policy", &policy)),
        ("cs1", policy),
        ("cs2Label", labelled("kmsKey", &key)),
        ("cs2", key),
        ("cs3", text("/request")),
        ("cs3Label", labelled("requestId", &text("/request"))),
    ];
    let present = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (index, (name, value)) in present.enumerate() {
        let blank = if index == 0 { "" } else { " " };
        // Writing to a `String` cannot fail.
        let _ = write!(line, "{blank}{name}={}", extension(&value));
    }
    line
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\r', '\n'], " ")
}

fn extension(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\r', "\\r").replace('\n', "\\n")
}
