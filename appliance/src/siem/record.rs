//! A record of the log as the formats read it.

use serde_json::Value;

/// Members by name; a missing one is nothing, never an error.
#[derive(Debug)]
pub(super) struct Record {
    value: Value,
}

impl Record {
    /// Parses the exact bytes of a record.
    pub(super) fn parse(leaf: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self { value: serde_json::from_slice(leaf)? })
    }

    /// By JSON pointer (RFC 6901) of names that need no escapes; serde_json's own copies each name to look for them.
    pub(super) fn get(&self, pointer: &str) -> Option<&Value> {
        pointer.split('/').skip(1).try_fold(&self.value, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            value => value.get(name),
        })
    }

    /// A string by JSON pointer; empty when it is not there.
    pub(super) fn text(&self, pointer: &str) -> &str {
        self.some(pointer).unwrap_or_default()
    }

    /// A string by JSON pointer.
    pub(super) fn some(&self, pointer: &str) -> Option<&str> {
        self.get(pointer).and_then(Value::as_str)
    }

    pub(super) fn number(&self, pointer: &str) -> Option<u64> {
        self.get(pointer).and_then(Value::as_u64)
    }

    pub(super) fn array(&self, pointer: &str) -> &[Value] {
        self.get(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// A request parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let pair = self.array("/params").iter().find(|pair| pair["k"] == name)?;
        pair["v"].as_str()
    }

    pub(super) fn seq(&self) -> u64 {
        self.number("/seq").unwrap_or_default()
    }

    /// Microseconds since 1970.
    pub(super) fn time_us(&self) -> i64 {
        let time: Option<jiff::Timestamp> = self.text("/time").parse().ok();
        time.unwrap_or_default().as_microsecond()
    }

    /// The action without its service: `PutObject` of `s3:PutObject`.
    pub(super) fn verb(&self) -> &str {
        let action = self.text("/action");
        action.split_once(':').map_or(action, |(_, verb)| verb)
    }

    /// The operation that was called, which may decide several actions.
    pub(super) fn operation(&self) -> &str {
        self.param("operation").unwrap_or_else(|| self.verb())
    }

    /// The first resource's bucket and key.
    pub(super) fn bucket(&self) -> Option<&str> {
        self.some("/resources/0/bucket")
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.some("/resources/0/key")
    }

    /// What became of it.
    pub(super) fn outcome(&self) -> Outcome {
        match (self.text("/auth/decision"), self.number("/result/code")) {
            ("deny" | "error", _) => Outcome::Denied,
            (_, Some(401 | 403)) => Outcome::Denied,
            (_, Some(400..)) => Outcome::Failed,
            _ if self.some("/err/code").is_some() => Outcome::Failed,
            _ => Outcome::Succeeded,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    Denied,
}
