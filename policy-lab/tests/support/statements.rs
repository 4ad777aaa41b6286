//! Random statements: what all comparisons have in common. Each brings its own words.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// One or two of these words, one without a list.
pub(crate) fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(words), 1..3).prop_map(|mut words| {
        match words.len() {
            1 => json!(words.remove(0)),
            _ => json!(words),
        }
    })
}

/// An operator without its prefix and suffix, a key, and values.
pub(crate) fn test(
    operators: &'static [&'static str],
    keys: &'static [&'static str],
    values: &'static [&'static str],
) -> impl Strategy<Value = (&'static str, &'static str, Value)> {
    (prop::sample::select(operators), prop::sample::select(keys), some_of(values))
}

/// An element of `Condition`. Keys for which `has_sets` says no are compared without a set operator.
pub(crate) fn clause(
    test: impl Strategy<Value = (&'static str, &'static str, Value)>,
    has_sets: fn(&str) -> bool,
) -> impl Strategy<Value = (String, Value)> {
    let set = prop::sample::select(&["", "", "ForAllValues:", "ForAnyValue:"]);
    let exists = prop::sample::select(&["", "", "IfExists"]);
    (set, exists, test).prop_map(move |(set, exists, (base, key, values))| {
        let set = if has_sets(key) { set } else { "" };
        (format!("{set}{base}{exists}"), json!({ key: values }))
    })
}

/// `Null` of one of these keys, with one value or, where `lists`, with both.
pub(crate) fn null(
    keys: &'static [&'static str],
    lists: bool,
) -> impl Strategy<Value = (String, Value)> {
    (prop::sample::select(keys), some_of(&["true", "false"])).prop_map(move |(key, values)| {
        let value = match values {
            Value::Array(both) if !lists => both.first().cloned().unwrap_or_default(),
            other => other,
        };
        ("Null".to_owned(), json!({ key: value }))
    })
}

/// A statement with at most two clauses; how often it allows, and how often an element is a `Not…`.
pub(crate) fn statement(
    (allows, negates): (f64, f64),
    actions: impl Strategy<Value = Value>,
    resources: impl Strategy<Value = Value>,
    clauses: impl Strategy<Value = (String, Value)>,
) -> impl Strategy<Value = Value> {
    (
        prop::bool::weighted(allows),
        (prop::bool::weighted(negates), actions),
        (prop::bool::weighted(negates), resources),
        prop::collection::vec(clauses, 0..3),
    )
        .prop_map(|(allows, (not_action, actions), (not_resource, resources), clauses)| {
            let mut statement = json!({
                "Effect": if allows { "Allow" } else { "Deny" },
                if not_action { "NotAction" } else { "Action" }: actions,
                if not_resource { "NotResource" } else { "Resource" }: resources,
            });
            if !clauses.is_empty() {
                statement["Condition"] = Value::Object(clauses.into_iter().collect::<Map<_, _>>());
            }
            statement
        })
}
