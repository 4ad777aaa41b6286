//! The smallest change of condition keys that turns the answer round. Each candidate is tried on the evaluator, so what
//! is reported is true and not guessed.

use crate::{Context, Decision, Effect, PolicySet, Request, evaluate, rule};

/// Candidates tried at most, one at a time; pairs of them are tried when no single one does.
const CANDIDATES_MAX: usize = 48;

/// A change of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    pub changes: Vec<Change>,
    /// The answer after it.
    pub effect: Effect,
}

/// One key that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub from: Option<Vec<String>>,
    /// `None`: the key is absent.
    pub to: Option<String>,
}

pub(super) fn find(set: &PolicySet, request: &Request, decision: &Decision) -> Option<Flip> {
    let candidates = candidates(set, request);
    let try_changes = |changes: &[&Change]| {
        let changed = changed(request, changes);
        // The policies first: guardrails can only take away, and cost a thousand times more.
        if !decision.is_allowed() && rule(set, &changed).effect != Effect::Allow {
            return None;
        }
        let effect = evaluate(set, &changed).effect;
        let is_round = (effect == Effect::Allow) != decision.is_allowed();
        let changes = changes.iter().map(|change| (*change).clone()).collect();
        is_round.then_some(Flip { changes, effect })
    };
    candidates.iter().find_map(|change| try_changes(&[change])).or_else(|| {
        candidates.iter().enumerate().find_map(|(position, first)| {
            let rest = candidates.iter().skip(position + 1);
            rest.filter(|second| second.key != first.key)
                .find_map(|second| try_changes(&[first, second]))
        })
    })
}

/// Changes of the keys that statements on this action and resource ask for.
fn candidates(set: &PolicySet, request: &Request) -> Vec<Change> {
    let mut candidates: Vec<Change> = Vec::new();
    for (_, _, attached) in set.attachments() {
        let source = attached.policy.source();
        for statement in &attached.policy.statements {
            let resource = statement.covers_resource(request);
            if !statement.covers_action(request) || !statement.suffices(resource) {
                continue;
            }
            for (clause, span) in statement.clauses().iter().zip(&statement.spans().clauses) {
                let holds = statement.suffices(clause.holds(&request.context));
                let key = span.key.name(source);
                let from = request.context.get(key).map(<[String]>::to_vec);
                for to in clause.alternatives(&request.context) {
                    let change = Change { key: key.to_owned(), from: from.clone(), to };
                    let after = changed(request, &[&change]);
                    let matters = statement.suffices(clause.holds(&after.context)) != holds;
                    if matters && !candidates.contains(&change) {
                        candidates.push(change);
                    }
                    if candidates.len() == CANDIDATES_MAX {
                        return candidates;
                    }
                }
            }
        }
    }
    // To add or replace a value is more natural than to leave one out.
    candidates.sort_by_key(|change| change.to.is_none());
    candidates
}

fn changed(request: &Request, changes: &[&Change]) -> Request {
    let is_changed = |key: &str| changes.iter().any(|change| change.key.eq_ignore_ascii_case(key));
    let kept = request.context.iter().filter(|(key, _)| !is_changed(key));
    let mut context = Context::from_pairs(kept.map(|(key, values)| (key, values.to_vec())));
    for change in changes {
        if let Some(value) = &change.to {
            context.set(&change.key, value.clone());
        }
    }
    Request { context, ..request.clone() }
}
