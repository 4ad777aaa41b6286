//! The findings that need a proof: what never fires, what is covered or shadowed, where the two profiles part.
//!
//! They are made here and not in the lint library, because the server links that one and not the analysis.

use policy_lab::analyze::{
    Counterexample, Difference, Divergence, Remark, Verdict as Proof, divergence, request_line,
    review,
};
use policy_lab::lint::{Finding, RULES, Rule};
use policy_lab::{Layer, Policy, StatementRef};

/// Exact findings of a policy that is accepted, and how many questions stayed open, with the reason of the last.
pub(super) fn findings(policy: &Policy) -> (Vec<Finding>, Option<String>) {
    let reviewed = review(policy);
    let mut findings = Vec::new();
    for remarked in &reviewed.remarks {
        let (code, message, remedy) = said(&remarked.remark);
        let place = (remarked.line, remarked.column);
        findings.extend(finding(code, place, message, Some(remedy)));
    }
    findings.extend(parting(policy));
    let open = reviewed.limit.map(|limit| {
        let count = reviewed.open;
        format!(
            "{count} exact question{} without answer: {limit}",
            if count == 1 { "" } else { "s" }
        )
    });
    (findings, open)
}

fn finding(
    code: &str,
    (line, column): (usize, usize),
    message: String,
    remedy: Option<String>,
) -> Option<Finding> {
    let rule: &'static Rule = RULES.iter().find(|rule| rule.code == code)?;
    Some(Finding { rule, line, column, end_column: column + 1, message, remedy })
}

fn said(remark: &Remark) -> (&'static str, String, String) {
    match remark {
        Remark::NeverFires { allows, because } => (
            if *allows { "ALLOW-NEVER-FIRES" } else { "DENY-NEVER-FIRES" },
            match because.as_slice() {
                [one] => format!("no request meets the statement: nothing fits its {one}"),
                several => format!("no request meets {} together", several.join(" and ")),
            },
            "correct it, or remove it".to_owned(),
        ),
        Remark::Shadowed { by } => (
            "SHADOWED-BY",
            format!("everything that it allows is denied by {}", statements(by)),
            "remove it, or narrow the Deny".to_owned(),
        ),
        Remark::Covered { by } => (
            "REDUNDANT_STATEMENT",
            match by.as_slice() {
                [_] => format!("{} does everything that it does", statements(by)),
                _ => format!("{} together do everything that it does", statements(by)),
            },
            "remove it".to_owned(),
        ),
    }
}

fn statements(by: &[usize]) -> String {
    let numbers: Vec<_> = by.iter().map(|at| (at + 1).to_string()).collect();
    match numbers.as_slice() {
        [one] => format!("statement {one}"),
        [head @ .., last] => format!("statements {} and {last}", head.join(", ")),
        [] => "nothing".to_owned(),
    }
}

/// One finding for all differences between the profiles, with an example of each direction.
fn parting(policy: &Policy) -> Option<Finding> {
    let code = "PROFILE-DIVERGENCE";
    let difference = match divergence(policy) {
        Divergence::Refused(error) => {
            let place = (error.line, error.column);
            return finding(
                code,
                place,
                format!("MinIO does not read it: {}", error.message),
                None,
            );
        }
        Divergence::Read(difference) => difference,
    };
    let Difference { gained, lost } = &*difference;
    let example = |proof: &Proof| match proof {
        Proof::Refuted(found) => Some(found.clone()),
        Proof::Proved | Proof::Unknown(_) => None,
    };
    let (more, less) = (example(gained), example(lost));
    let first = more.as_ref().or(less.as_ref())?;
    let place = place(policy, first);
    let mut said = Vec::new();
    for (who, other, found) in [("MinIO", "AWS", &more), ("AWS", "MinIO", &less)] {
        if let Some(found) = found {
            let line = request_line(&found.request);
            said.push(format!("{who} allows, and {other} does not, {line}"));
        }
    }
    let remedy = "say it so that both read it alike, or know where it is enforced".to_owned();
    finding(code, place, said.join("; "), Some(remedy))
}

/// Where the statement is that one of the profiles allows the request by.
fn place(policy: &Policy, found: &Counterexample) -> (usize, usize) {
    let is_of_policy = |by: &&StatementRef| matches!(by.layer, Layer::Identity | Layer::Bucket);
    let statement = found.decision.by.iter().find(is_of_policy).map(|by| by.index);
    statement.and_then(|index| policy.place(index)).unwrap_or((1, 1))
}
