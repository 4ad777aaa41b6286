//! SARIF 2.1.0, the subset that code review tools read: rules, results, places, fingerprints.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place on one line of a file.
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_column: usize,
}

/// A log in the making. The same results are always the same text.
pub(super) struct Log {
    rules: Vec<Value>,
    results: Vec<Value>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { rules: Vec::new(), results: Vec::new() }
    }

    pub(super) fn rule(&mut self, id: &str, about: &str, level: Level) {
        self.rules.push(json!({
            "id": id,
            "shortDescription": { "text": about },
            "defaultConfiguration": { "level": level.as_str() },
        }));
    }

    pub(super) fn result(
        &mut self,
        rule: &str,
        level: Level,
        message: &str,
        place: Option<Place<'_>>,
    ) {
        let file = place.as_ref().map_or("", |place| place.file);
        // The line is no part of it: a finding that moves is the same finding.
        let print = Sha256::digest(format!("{rule}\n{file}\n{message}"));
        let locations: Vec<_> = place.iter().map(location).collect();
        self.results.push(json!({
            "ruleId": rule,
            "level": level.as_str(),
            "message": { "text": message },
            "locations": locations,
            "partialFingerprints": { "policyLab/v1": hex::encode(print) },
        }));
    }

    pub(super) fn finish(self) -> String {
        let log = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "policy-lab",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": self.rules,
                }},
                "columnKind": "unicodeCodePoints",
                "results": self.results,
            }],
        });
        format!("{log:#}\n")
    }
}

fn location(place: &Place<'_>) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(place.file) },
        "region": {
            "startLine": place.line,
            "startColumn": place.column,
            "endColumn": place.end_column,
        },
    }})
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
