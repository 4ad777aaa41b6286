//! An explanation for people.

use std::fmt::Write as _;

use super::{Change, Element, ElementTrace, Explanation, Miss, Relevance, StatementTrace};
use crate::{Effect, Reason};

/// Bytes of a quoted value that are shown at most.
const VALUE_MAX: usize = 120;

/// Which statements are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Those that take effect, and those on this action and resource that do not.
    Relevant,
    All,
}

/// The answer first, then what would change it, then the statements layer by layer.
#[must_use]
pub fn text(explanation: &Explanation, detail: Detail) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, explanation, detail);
    out
}

fn write(out: &mut String, explanation: &Explanation, detail: Detail) -> std::fmt::Result {
    let Explanation { request, decision, statements, nearest, flip } = explanation;
    let answer = if decision.is_allowed() { "ALLOWED" } else { "DENIED" };
    writeln!(
        out,
        "{answer}: {} on {} by {}",
        request.action,
        request.resource.arn(),
        request.principal.arn
    )?;
    writeln!(out, "  {}", because(decision.reason))?;
    for denial in &decision.denials {
        writeln!(out, "  guardrail {}: {}", denial.id, denial.msg)?;
    }
    if let Some(nearest) = nearest.and_then(|position| statements.get(position)) {
        writeln!(out, "  nearest: {} would allow it, but", name(nearest))?;
        for element in nearest.failing() {
            writeln!(out, "    {}", failing(nearest, element))?;
        }
    }
    if let Some(flip) = flip {
        let changes: Vec<_> = flip.changes.iter().map(change).collect();
        let after = if flip.effect == Effect::Allow { "allowed" } else { "denied" };
        writeln!(out, "  smallest change: it is {after} with {}", changes.join(" and "))?;
    }
    let mut layer = None;
    let mut hidden = 0;
    for statement in statements {
        let relevance = statement.relevance();
        if detail == Detail::Relevant && relevance == Relevance::Irrelevant {
            hidden += 1;
            continue;
        }
        if layer != Some(statement.at.layer) {
            layer = Some(statement.at.layer);
            writeln!(out, "{}", statement.at.layer.as_str())?;
        }
        write_statement(out, statement)?;
    }
    match hidden {
        0 => Ok(()),
        1 => writeln!(out, "1 statement speaks of other actions or resources"),
        _ => writeln!(out, "{hidden} statements speak of other actions or resources"),
    }
}

fn write_statement(out: &mut String, statement: &StatementTrace) -> std::fmt::Result {
    let verb = if statement.allows { "Allow" } else { "Deny" };
    let effect = match (statement.in_effect, statement.allows) {
        (true, true) => "allows",
        (true, false) => "denies",
        (false, _) => "does not apply",
    };
    writeln!(
        out,
        "  {} {verb}, line {}:{}: {effect}",
        name(statement),
        statement.line,
        statement.column
    )?;
    for element in statement.failing() {
        writeln!(out, "    {}", failing(statement, element))?;
    }
    Ok(())
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::ExplicitDeny => "a statement denies it",
        Reason::ImplicitDeny => "no statement allows it",
        Reason::IdentityAllow => "a policy of the caller allows it",
        Reason::ResourceAllow => "the policy of the bucket allows it",
        Reason::SessionLimit => "the session policy does not allow it",
        Reason::Boundary => "the permissions boundary does not allow it",
        Reason::Guardrail => "a guardrail denies it",
        Reason::EngineError => "the guardrails could not be evaluated",
        Reason::AdminBypass => "the caller is root",
    }
}

fn name(statement: &StatementTrace) -> String {
    let sid = statement.at.sid.as_deref().map(|sid| format!(" ({sid})")).unwrap_or_default();
    format!("{}#{}{sid}", statement.at.policy, statement.at.index)
}

/// `POLICY:LINE:COLUMN: what is wanted, and what the request has`.
fn failing(statement: &StatementTrace, trace: &ElementTrace) -> String {
    let place = format!("{}:{}:{}", statement.at.policy, trace.line, trace.column);
    let wanted = short(&trace.wanted);
    let found = trace.found.as_deref().map_or("absent".to_owned(), short);
    let what = match &trace.element {
        Element::Principal => format!("principal is {found}, the statement names {wanted}"),
        Element::Action => format!("action is {found}, the statement lists {wanted}"),
        Element::Resource => format!("resource is {found}, the statement lists {wanted}"),
        Element::Condition { operator, key } => {
            format!("{key} is {found}, the condition is {operator} {wanted}")
        }
    };
    format!("{place}: {what} [{}]", trace.miss.map_or("", Miss::as_str))
}

fn change(change: &Change) -> String {
    let from = match &change.from {
        None => "it is absent".to_owned(),
        Some(values) => format!("it is {}", short(&values.join(", "))),
    };
    match &change.to {
        None => format!("{} absent ({from})", change.key),
        Some(to) => format!("{} = {to} ({from})", change.key),
    }
}

fn short(value: &str) -> String {
    match value.char_indices().find(|(at, _)| *at >= VALUE_MAX) {
        None => value.to_owned(),
        Some((cut, _)) => format!("{}…", value.get(..cut).unwrap_or_default()),
    }
}
