//! A pair of identity policies as SMT-LIB: is there a request that the first allows and the second does not?
//!
//! Straight from the JSON. Strings are strings, patterns are regular expressions, a number is a real; a key is a state
//! (absent, empty, one value, several) with values. Several values are as many as there could be demands: one for each
//! clause of the question.

use std::fmt::Write as _;

use policy_lab::action::{CATALOGUE, ResourceKind};
use serde_json::Value;

const TEXTS: [(&str, &str); 3] =
    [("aws:username", "user"), ("aws:TagKeys", "tags"), ("s3:prefix", "prefix")];

pub(crate) fn question(a: &[Value], b: &[Value]) -> String {
    let count: usize = a.iter().chain(b).map(clauses).sum();
    let values = count.max(2);
    let mut text = String::from(
        "(declare-const action Int)\n(declare-const kind Int)\n(declare-const path String)\n",
    );
    for (_, name) in TEXTS {
        let _ = writeln!(text, "(declare-const {name}-state Int)\n(assert (<= 0 {name}-state 3))");
        for value in 0..values {
            let _ = writeln!(text, "(declare-const {name}-{value} String)");
        }
    }
    // A key that is a list by nature never has one value only.
    text += "(assert (not (= tags-state 2)))\n";
    text += "(declare-const keys-state Int)\n(assert (<= 0 keys-state 3))\n";
    for value in 0..values {
        let _ = writeln!(
            text,
            "(declare-const keys-{value} Real)\n(declare-const keys-{value}-valid Bool)"
        );
    }
    let _ = writeln!(text, "(assert (<= 0 action {}))", CATALOGUE.len() - 1);
    text += "(define-fun slashless () RegLan (re.comp (re.++ re.all (str.to_re \"/\") re.all)))\n";
    text += "(define-fun name () RegLan (re.inter slashless (re.+ re.allchar)))\n";
    text += "(assert (=> (= kind 1) (str.in_re path name)))\n";
    text += "(assert (=> (= kind 2) (str.in_re path (re.++ name (str.to_re \"/\") (re.+ re.allchar)))))\n";
    for (kind, wanted) in
        [(0, ResourceKind::None), (1, ResourceKind::Bucket), (2, ResourceKind::Object)]
    {
        let _ = writeln!(
            text,
            "(assert (= (= kind {kind}) {}))",
            actions(|info| info.resource == wanted)
        );
    }
    text += "(assert (<= 0 kind 2))\n";
    let (new, old) = (allowed(a, values), allowed(b, values));
    let _ = writeln!(text, "(assert {new})\n(assert (not {old}))");
    text
}

/// Keys under operators of a statement.
fn clauses(statement: &Value) -> usize {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.map(|(_, keys)| keys.as_object().map_or(0, serde_json::Map::len)).sum()
}

fn any(parts: impl IntoIterator<Item = String>) -> String {
    format!("(or false {})", parts.into_iter().collect::<Vec<_>>().join(" "))
}

fn all(parts: impl IntoIterator<Item = String>) -> String {
    format!("(and true {})", parts.into_iter().collect::<Vec<_>>().join(" "))
}

fn not(part: &str) -> String {
    format!("(not {part})")
}

fn actions(wanted: impl Fn(&policy_lab::action::ActionInfo) -> bool) -> String {
    let found = CATALOGUE.iter().enumerate().filter(|(_, info)| wanted(info));
    any(found.map(|(at, _)| format!("(= action {at})")))
}

fn allowed(statements: &[Value], values: usize) -> String {
    let of = |effect: &str, sure: bool| {
        let effect = Value::from(effect);
        let parts = statements.iter().filter(|statement| statement["Effect"] == effect);
        any(parts.map(|statement| applies(statement, sure, values)).collect::<Vec<_>>())
    };
    all([of("Allow", true), not(&of("Deny", false))])
}

fn list(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

fn applies(statement: &Value, sure: bool, count: usize) -> String {
    let action = |patterns: &Value| {
        let patterns = list(patterns);
        actions(|info| patterns.iter().any(|p| covers(p.as_bytes(), info.name.as_bytes())))
    };
    let action = match statement.get("Action") {
        Some(patterns) => action(patterns),
        None => not(&action(&statement["NotAction"])),
    };
    // Admin statements have no resource to speak of.
    let is_admin =
        statement.get("Action").is_some_and(|p| list(p).iter().all(|p| p.starts_with("admin:")));
    let resource = match statement.get("Resource") {
        _ if is_admin => "true".to_owned(),
        Some(patterns) => resource(patterns),
        None => all([
            not(&resource(&statement["NotResource"])),
            // Without a value for its variable an exception lets nobody in.
            match sure {
                true => resolved(&statement["NotResource"]),
                false => "true".to_owned(),
            },
        ]),
    };
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let clauses = operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().expect("an object");
        keys.iter().map(move |(key, values)| clause(operator, key, &list(values), sure, count))
    });
    all([action, resource].into_iter().chain(clauses))
}

/// Letter case aside, as action names are compared.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            covers(rest, name)
                || !name.is_empty() && covers(pattern, name.get(1..).unwrap_or_default())
        }
        ([a, rest @ ..], [b, more @ ..]) => a.eq_ignore_ascii_case(b) && covers(rest, more),
        _ => false,
    }
}

fn resource(patterns: &Value) -> String {
    any(list(patterns).into_iter().map(|pattern| match pattern.strip_prefix("arn:aws:s3:::") {
        None | Some("*") => "true".to_owned(),
        Some(path) => format!("(and (not (= kind 0)) {})", matches("path", path)),
    }))
}

/// Every variable of these patterns has a value.
fn resolved(patterns: &Value) -> String {
    let parts = list(patterns).into_iter().filter_map(split).map(|(_, name, _)| has_value(name));
    all(parts)
}

fn has_value(name: &str) -> String {
    format!("(= {name}-state 2)")
}

/// What stands before the variable of a pattern, the variable, and what stands behind it.
fn split(pattern: &str) -> Option<(&str, &'static str, &str)> {
    let (before, rest) = pattern.split_once("${")?;
    let (key, behind) = rest.split_once('}').expect("closed");
    let (_, name) = TEXTS.iter().find(|(known, _)| *known == key).expect("a key with one value");
    Some((before, name, behind))
}

/// A pattern with one variable has no other wildcard than a star at its end, so that it needs no quantifier.
fn matches(text: &str, pattern: &str) -> String {
    let Some((before, name, behind)) = split(pattern) else {
        return format!("(str.in_re {text} {})", regex(pattern));
    };
    let whole = |behind: &str| format!("(str.++ \"{before}\" {name}-0 \"{behind}\")");
    let fits = match behind.strip_suffix('*') {
        Some(behind) => format!("(str.prefixof {} {text})", whole(behind)),
        None => format!("(= {text} {})", whole(behind)),
    };
    all([has_value(name), fits])
}

fn regex(pattern: &str) -> String {
    let signs = pattern.chars().map(|char| match char {
        '*' => "re.all".to_owned(),
        '?' => "re.allchar".to_owned(),
        char => format!("(str.to_re \"{char}\")"),
    });
    format!("(re.++ (str.to_re \"\") {})", signs.collect::<Vec<_>>().join(" "))
}

fn clause(operator: &str, key: &str, values: &[&str], sure: bool, count: usize) -> String {
    let name = TEXTS.iter().find(|(known, _)| *known == key).map_or("keys", |(_, name)| name);
    let state = |number: u8| format!("(= {name}-state {number})");
    let (absent, empty, one, many) = (state(0), state(1), state(2), state(3));
    if operator == "Null" {
        let missing = any([absent, empty]);
        return any(values
            .iter()
            .map(|value| if *value == "true" { missing.clone() } else { not(&missing) }));
    }
    let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
    let (base, if_exists) =
        rest.strip_suffix("IfExists").map_or((rest, false), |base| (base, true));
    let negated = base.contains("Not");
    let fits = |at: usize| {
        let matched =
            any(values.iter().map(|value| fit(&base.replace("Not", ""), name, at, value)));
        if negated { not(&matched) } else { matched }
    };
    let each = || (0..count).map(fits);
    let doubt = if sure { "false" } else { "true" }.to_owned();
    let on_absent = |holds: bool| if holds { absent.clone() } else { "false".to_owned() };
    match set {
        "ForAllValues" => any([absent, empty, all([one, fits(0)]), all([many, all(each())])]),
        "ForAnyValue" => {
            any([all([on_absent(if_exists), doubt]), all([one, fits(0)]), all([many, any(each())])])
        }
        _ => any([
            on_absent(if_exists || negated),
            all([one, fits(0)]),
            all([doubt, any([empty, many])]),
        ]),
    }
}

fn fit(base: &str, name: &str, at: usize, value: &str) -> String {
    let number = || match value.strip_prefix('-') {
        Some(positive) => format!("(- {positive})"),
        None => value.to_owned(),
    };
    let compare = |by: &str| format!("(and {name}-{at}-valid ({by} {name}-{at} {}))", number());
    match base {
        "StringEquals" if split(value).is_none() => format!("(= {name}-{at} \"{value}\")"),
        "StringEquals" | "StringLike" => matches(&format!("{name}-{at}"), value),
        "NumericLessThan" => compare("<"),
        "NumericEquals" => compare("="),
        "NumericGreaterThanEquals" => compare(">="),
        other => panic!("not generated: {other}"),
    }
}
