//! A request as a line that `explain` and `simulate` read.

use serde_json::{Map, Value, json};

use crate::{PrincipalKind, Request, Resource};

/// One JSON object on one line, without the newline: what [`crate::replay::request_line`] reads as the same request.
#[must_use]
pub fn request_line(request: &Request) -> String {
    let mut line = Map::new();
    line.insert("action".to_owned(), json!(request.action.as_str()));
    match &request.resource {
        Resource::Any => {}
        Resource::Bucket(bucket) => drop(line.insert("bucket".to_owned(), json!(bucket))),
        Resource::Object { bucket, key } => {
            line.insert("bucket".to_owned(), json!(bucket));
            line.insert("key".to_owned(), json!(key));
        }
    }
    let caller = &request.principal;
    if caller.kind != PrincipalKind::Anonymous {
        let mut principal = json!({
            "account": caller.account, "arn": caller.arn, "name": caller.name, "type": caller.kind.as_str(),
        });
        if let (Some(parent), Some(members)) = (&caller.parent, principal.as_object_mut()) {
            members.insert("parent".to_owned(), json!(parent));
        }
        line.insert("principal".to_owned(), principal);
    }
    let context: Map<String, Value> = request
        .context
        .iter()
        .map(|(key, values)| match values {
            [value] => (key.to_owned(), json!(value)),
            values => (key.to_owned(), json!(values)),
        })
        .collect();
    if !context.is_empty() {
        line.insert("ctx".to_owned(), Value::Object(context));
    }
    Value::Object(line).to_string()
}
