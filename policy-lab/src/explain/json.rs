//! An explanation as JSON, for other programs.

use serde_json::{Value, json};

use super::{Element, ElementTrace, Explanation, StatementTrace};

/// One JSON object, with a line break behind it. Members are only ever added.
#[must_use]
pub fn json(explanation: &Explanation) -> String {
    let Explanation { request, decision, statements, nearest, flip } = explanation;
    let denials: Vec<_> =
        decision.denials.iter().map(|denial| json!({"id": denial.id, "msg": denial.msg})).collect();
    let flip = flip.as_ref().map(|flip| {
        let changes: Vec<_> = flip
            .changes
            .iter()
            .map(|change| json!({"key": change.key, "from": change.from, "to": change.to}))
            .collect();
        json!({"changes": changes, "effect": flip.effect.as_str()})
    });
    let value = json!({
        "v": 1,
        "action": request.action.as_str(),
        "resource": request.resource.arn(),
        "principal": request.principal.arn,
        "effect": decision.effect.as_str(),
        "reason": decision.reason.as_str(),
        "denials": denials,
        "statements": statements.iter().map(statement).collect::<Vec<_>>(),
        "nearest": nearest,
        "flip": flip,
    });
    format!("{value}\n")
}

fn statement(trace: &StatementTrace) -> Value {
    json!({
        "layer": trace.at.layer.as_str(),
        "policy": &*trace.at.policy,
        "index": trace.at.index,
        "sid": trace.at.sid.as_deref(),
        "effect": if trace.allows { "Allow" } else { "Deny" },
        "in_effect": trace.in_effect,
        "line": trace.line,
        "column": trace.column,
        "elements": trace.elements.iter().map(element).collect::<Vec<_>>(),
    })
}

fn element(trace: &ElementTrace) -> Value {
    let (name, operator, key) = match &trace.element {
        Element::Principal => ("principal", None, None),
        Element::Action => ("action", None, None),
        Element::Resource => ("resource", None, None),
        Element::Condition { operator, key } => ("condition", Some(operator), Some(key)),
    };
    json!({
        "element": name,
        "operator": operator,
        "key": key,
        "suffices": trace.suffices,
        "miss": trace.miss.map(super::Miss::as_str),
        "wanted": trace.wanted,
        "found": trace.found.as_deref(),
        "line": trace.line,
        "column": trace.column,
    })
}
