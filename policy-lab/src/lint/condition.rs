//! Conditions: operators, keys, values, and what holds when a key is absent.

use ipnet::IpNet;

use super::action::matched;
use super::draft::{Clause, Draft, Statement, scalars};
use super::supply::comes_with;
use super::{Notes, Rule, rule};
use crate::condition::{self, Family, Operator, Quantifier};
use crate::context::{CATALOGUE, FAMILIES, KeyKind};
use crate::document::json::Value;

pub(super) fn check(draft: &Draft<'_>, statement: &Statement<'_>, notes: &mut Notes<'_>) {
    let member = statement.members.iter().find(|member| member.name == "Condition");
    let Some(member) = member else { return };
    let Value::Object(operators) = &member.node.value else {
        let message = "`Condition` is not a JSON object";
        notes.add(&rule::DATA_TYPE_MISMATCH, member.node.at, message, None);
        return;
    };
    if operators.is_empty() {
        let message = "the condition has no operator";
        notes.add(&rule::EMPTY_OBJECT_CONDITION, member.node.at, message, "remove it".to_owned());
    }
    for operator in operators {
        operator_name(operator.at, &operator.name, notes);
        match &operator.node.value {
            Value::Object(keys) if keys.is_empty() => notes.add(
                &rule::EMPTY_OBJECT_CONDITION,
                operator.node.at,
                format!("`{}` has no key", operator.name),
                "remove it".to_owned(),
            ),
            Value::Object(_) => {}
            _ => notes.add(
                &rule::DATA_TYPE_MISMATCH,
                operator.node.at,
                format!("`{}` is not a JSON object", operator.name),
                None,
            ),
        }
    }
    for clause in &statement.conditions {
        let kind = key_name(clause, notes);
        values(draft, clause, notes);
        if let Ok(operator) = Operator::parse(&clause.operator.name) {
            if let Some(kind) = kind {
                typed(clause, operator, kind, notes);
                quantified(statement, clause, operator, kind, notes);
            }
            supplied(statement, clause, operator, notes);
        }
    }
}

fn operator_name(at: usize, name: &str, notes: &mut Notes<'_>) {
    let Err(message) = Operator::parse(name) else { return };
    let base = name.rsplit(':').next().unwrap_or(name);
    if base.strip_suffix("IfExists").unwrap_or(base) == "Null" {
        notes.add(&rule::NULL_WITH_IF_EXISTS, at, message, "write `Null`".to_owned());
        return;
    }
    let spelling = Operator::spelling(name).map(|known| format!("did you mean `{known}`?"));
    notes.add(&rule::INVALID_CONDITION_OPERATOR, at, message, spelling);
}

/// What the values of a key are; `None` if nobody knows the key.
fn key_name(clause: &Clause<'_>, notes: &mut Notes<'_>) -> Option<KeyKind> {
    let name = clause.key.name.as_str();
    let Some((space, rest)) =
        name.split_once(':').filter(|(space, rest)| !space.is_empty() && !rest.is_empty())
    else {
        notes.add(
            &rule::INVALID_CONDITION_KEY_FORMAT,
            clause.key.at,
            format!("`{name}` is not a condition key"),
            "keys have a namespace, as in `aws:SourceIp`".to_owned(),
        );
        return None;
    };
    let in_family = |family: &str| {
        name.get(..family.len()).is_some_and(|head| head.eq_ignore_ascii_case(family))
            && name.len() > family.len()
    };
    if FAMILIES.iter().any(|family| in_family(family)) {
        return Some(KeyKind::String);
    }
    if let Some(info) = CATALOGUE.iter().find(|info| info.name.eq_ignore_ascii_case(name)) {
        return Some(info.kind);
    }
    let same_name = CATALOGUE.iter().find(|info| {
        info.name.split_once(':').is_some_and(|(_, known)| known.eq_ignore_ascii_case(rest))
    });
    let rule = if space.eq_ignore_ascii_case("aws") {
        &rule::INVALID_GLOBAL_CONDITION_KEY
    } else {
        &rule::INVALID_SERVICE_CONDITION_KEY
    };
    notes.add(
        rule,
        clause.key.at,
        format!("no request has a key `{name}`"),
        same_name.map(|info| format!("did you mean `{}`?", info.name)),
    );
    None
}

/// Values that the operator cannot read, and values that say the same twice.
fn values(draft: &Draft<'_>, clause: &Clause<'_>, notes: &mut Notes<'_>) {
    let values = scalars(clause.key);
    if values.is_empty() {
        let message = format!("`{}` has no value", clause.key.name);
        notes.add(&rule::EMPTY_ARRAY, clause.key.node.at, message, None);
        return;
    }
    let Ok(operator) = Operator::parse(&clause.operator.name) else { return };
    for (index, (at, value)) in values.iter().enumerate() {
        let one = std::slice::from_ref(value);
        let typed = condition::Clause::compile(operator, &clause.key.name, one, draft.variables);
        if let (Err((_, message)), Some(rule)) = (typed, mismatch(operator.family)) {
            notes.add(rule, *at, message, None);
        }
        if values.iter().take(index).any(|(_, before)| before == value) {
            let message = format!("`{value}` is there twice");
            let remedy = "remove it".to_owned();
            notes.add(&rule::REDUNDANT_CONDITION_VALUE_NUM, *at, message, remedy);
        }
        if operator.family == Family::Ip {
            range(*at, value, notes);
        }
    }
    let has = |wanted: &str| values.iter().any(|(_, value)| value.eq_ignore_ascii_case(wanted));
    if matches!(operator.family, Family::Bool | Family::Null) && has("true") && has("false") {
        let message = format!("`{}` of `true` and `false` always holds", clause.operator.name);
        notes.add(&rule::INVALID_CONDITION_MULTIPLE_BOOLEAN, clause.key.node.at, message, None);
    }
}

fn mismatch(family: Family) -> Option<&'static Rule> {
    match family {
        Family::Numeric(_) => Some(&rule::TYPE_MISMATCH_NUMBER),
        Family::Date(_) => Some(&rule::TYPE_MISMATCH_DATE),
        Family::Bool | Family::Null => Some(&rule::TYPE_MISMATCH_BOOLEAN),
        Family::Ip => Some(&rule::TYPE_MISMATCH_IP_RANGE),
        // What is wrong with a text or an ARN is a variable, which has a family of its own.
        _ => None,
    }
}

fn range(at: usize, value: &str, notes: &mut Notes<'_>) {
    let Ok(net) = value.parse::<IpNet>() else { return };
    if net.addr() != net.network() {
        notes.add(
            &rule::IMPROVE_IP_RANGE,
            at,
            format!("`{value}` is read as `{}`", net.trunc()),
            format!("write `{}`", net.trunc()),
        );
    }
}

/// Whether the operator compares what the key has.
fn typed(clause: &Clause<'_>, operator: Operator, kind: KeyKind, notes: &mut Notes<'_>) {
    let fits = match operator.family {
        Family::Null => true,
        Family::StringEquals | Family::StringEqualsIgnoreCase | Family::StringLike => {
            !matches!(kind, KeyKind::Ip | KeyKind::Date | KeyKind::Numeric)
        }
        Family::Arn => matches!(kind, KeyKind::Arn | KeyKind::String),
        Family::Numeric(_) => {
            kind == KeyKind::Numeric || clause.key.name.eq_ignore_ascii_case("aws:EpochTime")
        }
        Family::Date(_) => kind == KeyKind::Date,
        Family::Bool => kind == KeyKind::Bool,
        Family::Binary => kind == KeyKind::String,
        Family::Ip => kind == KeyKind::Ip,
    };
    if !fits {
        let what = format!("{kind:?}").to_lowercase();
        notes.add(
            &rule::TYPE_MISMATCH,
            clause.operator.at,
            format!(
                "`{}` on `{}`, whose values are of type {what}",
                clause.operator.name, clause.key.name
            ),
            None,
        );
    }
    let literal = matches!(operator.family, Family::StringEquals | Family::StringEqualsIgnoreCase);
    for (at, value) in scalars(clause.key) {
        let plain = value.replace("${*}", "").replace("${?}", "");
        if literal && plain.contains(['*', '?']) {
            notes.add(
                &rule::WILDCARD_WITHOUT_LIKE_OPERATOR,
                at,
                format!(
                    "`{}` takes the wildcards of `{value}` as plain characters",
                    clause.operator.name
                ),
                "use StringLike or StringNotLike".to_owned(),
            );
        }
        if operator.family == Family::StringLike && !operator.negated && value == "*" {
            notes.add(
                &rule::EQUIVALENT_TO_NULL_FALSE,
                at,
                format!("the condition only asks that `{}` is there", clause.key.name),
                format!("write \"Null\": {{\"{}\": \"false\"}}", clause.key.name),
            );
        }
    }
}

fn quantified(
    statement: &Statement<'_>,
    clause: &Clause<'_>,
    operator: Operator,
    kind: KeyKind,
    notes: &mut Notes<'_>,
) {
    let key = &clause.key.name;
    let at = clause.operator.at;
    match operator.quantifier {
        Quantifier::None if kind == KeyKind::Array && operator.family != Family::Null => notes.add(
            &rule::MISSING_QUALIFIER,
            at,
            format!("`{key}` has several values and never fits without a set operator"),
            format!("write `ForAnyValue:{}`", clause.operator.name),
        ),
        Quantifier::Any if operator.if_exists => notes.add(
            &rule::FORANY_IF_EXISTS,
            at,
            format!("what `{}` means when `{key}` is absent is not agreed", clause.operator.name),
            "use two statements, one with Null".to_owned(),
        ),
        Quantifier::All if kind != KeyKind::Array => notes.add(
            &rule::FORALLVALUES_WITH_SINGLE_VALUED_KEY,
            at,
            format!("`ForAllValues` on `{key}` also holds when the key is absent"),
            "remove `ForAllValues:`".to_owned(),
        ),
        Quantifier::All if statement.is_allow() && !requires(statement, key) => notes.add(
            &rule::FORALL_ALLOW,
            at,
            format!("the statement allows requests without `{key}`"),
            format!("add \"Null\": {{\"{key}\": \"false\"}}"),
        ),
        _ => {}
    }
}

/// A `Null` of the statement asks that the key is there.
fn requires(statement: &Statement<'_>, key: &str) -> bool {
    statement.conditions.iter().any(|clause| {
        clause.operator.name == "Null"
            && clause.key.name.eq_ignore_ascii_case(key)
            && scalars(clause.key).iter().all(|(_, value)| value.eq_ignore_ascii_case("false"))
    })
}

/// Keys that no action of the statement comes with.
fn supplied(
    statement: &Statement<'_>,
    clause: &Clause<'_>,
    operator: Operator,
    notes: &mut Notes<'_>,
) {
    let key = &clause.key.name;
    let actions = statement.actions();
    let rows: Vec<_> = actions.iter().flat_map(|(_, action)| matched(action)).collect();
    if rows.is_empty() {
        return;
    }
    let without: Vec<_> = rows.iter().filter(|info| !comes_with(info, key)).collect();
    let Some(first) = without.first() else { return };
    let is_tag = key.to_ascii_lowercase().starts_with("s3:existingobjecttag/");
    let named = |info: &&&&crate::action::ActionInfo| {
        actions.iter().any(|(_, action)| action.eq_ignore_ascii_case(info.name))
    };
    let named_without = without.iter().find(named);
    if let (true, false, Some(action)) = (is_tag, statement.is_allow(), named_without) {
        let does = if operator.negated || operator.if_exists { "always" } else { "never" };
        notes.add(
            &rule::S3_TAG_KEY_NOT_SUPPLIED,
            clause.key.at,
            format!(
                "`{}` is decided before the tag is known: the Deny {does} applies to it",
                action.name
            ),
            None,
        );
    } else if without.len() == rows.len() || named_without.is_some() {
        let action = named_without.map_or(first.name, |info| info.name);
        notes.add(
            &rule::UNSUPPORTED_ACTION_FOR_CONDITION_KEY,
            clause.key.at,
            format!("`{action}` never comes with `{key}`"),
            "put the action into a statement of its own".to_owned(),
        );
    }
}
