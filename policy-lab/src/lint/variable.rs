//! Policy variables: `${key}` and `${key, 'default'}`.

use super::draft::{Draft, Statement, scalars, texts};
use super::{Notes, rule};
use crate::context::{CATALOGUE, KeyKind};
use crate::document::json::Value;

pub(super) fn check(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    if let Some(action) = statement.action {
        texts(action).into_iter().for_each(|(at, text)| elsewhere(at, text, "an action", notes));
    }
    if let Some(Value::Object(kinds)) = statement.principal.map(|member| &member.node.value) {
        for (at, text) in kinds.iter().flat_map(texts) {
            elsewhere(at, text, "a principal", notes);
        }
    }
    let resources = statement.resource.map_or(Vec::new(), texts);
    for (at, text) in resources {
        variables(draft, at, text, notes);
    }
    for clause in &statement.conditions {
        for (at, text) in scalars(clause.key) {
            variables(draft, at, &text, notes);
        }
    }
}

fn elsewhere(at: usize, text: &str, what: &str, notes: &mut Notes<'_>) {
    if text.contains("${") {
        let message = format!("{what} has no variables: `{text}` is plain text");
        notes.add(&rule::VARIABLE_UNSUPPORTED_IN_ELEMENT, at, message, None);
    }
}

fn variables(draft: &Draft<'_>, at: usize, text: &str, notes: &mut Notes<'_>) {
    if !text.contains("${") {
        return;
    }
    if !draft.variables {
        notes.add(
            &rule::VARIABLE_UNSUPPORTED_IN_VERSION,
            at,
            format!("`{text}` is plain text in this version"),
            "add \"Version\": \"2012-10-17\"".to_owned(),
        );
        return;
    }
    for piece in text.split("${").skip(1) {
        match piece.split_once('}') {
            None => notes.add(
                &rule::MISSING_BRACE_IN_VARIABLE,
                at,
                format!("a variable of `{text}` has no closing brace"),
                "add `}`".to_owned(),
            ),
            Some((inside, _)) => variable(at, inside, notes),
        }
    }
}

fn variable(at: usize, inside: &str, notes: &mut Notes<'_>) {
    if matches!(inside, "*" | "?" | "$") {
        return;
    }
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => (key, Some(default.trim())),
        None => (inside, None),
    };
    if key.trim().is_empty() {
        notes.add(&rule::EMPTY_VARIABLE, at, "a variable has no key", None);
    } else if key.contains(' ') {
        let message = format!("the key of `${{{inside}}}` has a space");
        notes.add(&rule::UNSUPPORTED_SPACE_IN_VARIABLE, at, message, "remove it".to_owned());
    }
    let quoted = |text: &str| text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'');
    if default.is_some_and(|default| !quoted(default)) {
        let message = format!("the default of `${{{inside}}}` is not quoted");
        let remedy = "write `${key, 'default'}`".to_owned();
        notes.add(&rule::MISSING_QUOTE_IN_VARIABLE, at, message, remedy);
    }
    let info = CATALOGUE.iter().find(|info| info.name.eq_ignore_ascii_case(key.trim()));
    if info.is_some_and(|info| info.kind == KeyKind::Array) {
        let message = format!("`{key}` has several values and never stands for one");
        notes.add(&rule::VARIABLE_OF_SEVERAL_VALUES, at, message, None);
    } else if info.is_none() && key.to_ascii_lowercase().starts_with("aws:") && !key.contains('/') {
        let message = format!("no request has a key `{key}`; the variable never has a value");
        notes.add(&rule::INVALID_GLOBAL_CONDITION_KEY, at, message, None);
    }
}
