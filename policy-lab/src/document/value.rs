//! A document as plain JSON, for readers that need the patterns as they are written.

use serde_json::Value;

use super::json::{self, Node};

/// The document; a number is its text, as conditions read it.
pub(super) fn value(text: &str) -> Option<Value> {
    json::parse(text).ok().map(plain)
}

fn plain(node: Node) -> Value {
    match node.value {
        json::Value::Object(members) => {
            members.into_iter().map(|member| (member.name, plain(member.node))).collect()
        }
        json::Value::Array(nodes) => nodes.into_iter().map(plain).collect(),
        json::Value::String(text) | json::Value::Number(text) => Value::String(text),
        json::Value::Bool(value) => Value::Bool(value),
        json::Value::Null => Value::Null,
    }
}
