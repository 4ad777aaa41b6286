//! The smallest change of condition keys that turns the answer round. Each candidate is tried on the evaluator, so what
//! is reported is true and not guessed.

use crate::context::Key;
use crate::{Decision, Effect, PolicySet, Request, evaluate, rule};

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

/// The request is changed on the way, and is again what it was at the end.
pub(super) fn find(set: &PolicySet, request: &mut Request, decision: &Decision) -> Option<Flip> {
    let mut trial = Trial(request);
    let candidates = candidates(set, &mut trial);
    let mut try_changes = |changes: &[&Candidate]| {
        let effect = trial.with(changes, |changed| {
            // The policies first: guardrails can only take away, and cost a thousand times more.
            if !decision.is_allowed() && rule(set, changed).effect != Effect::Allow {
                return None;
            }
            Some(match &set.guardrails {
                None => rule(set, changed).effect,
                Some(_) => evaluate(set, changed).effect,
            })
        })?;
        let is_round = (effect == Effect::Allow) != decision.is_allowed();
        is_round.then(|| Flip { changes: trial.described(changes), effect })
    };
    candidates.iter().find_map(|change| try_changes(&[change])).or_else(|| {
        candidates.iter().enumerate().find_map(|(position, first)| {
            let rest = candidates.iter().skip(position + 1);
            rest.filter(|second| second.change.key != first.change.key)
                .find_map(|second| try_changes(&[first, second]))
        })
    })
}

/// A change, with its key resolved; what the key has now is said once it is known to matter.
struct Candidate {
    key: Key,
    change: Change,
}

/// The request, changed for a moment and put right again: a copy for each change would cost more than its trial.
struct Trial<'a>(&'a mut Request);

impl Trial<'_> {
    fn with<T>(&mut self, changes: &[&Candidate], ask: impl FnOnce(&Request) -> T) -> T {
        let mut before = Vec::with_capacity(changes.len());
        for Candidate { key, change } in changes {
            let values = change.to.clone().map(|value| vec![value]);
            before.push((key, self.0.context.replace(key, &change.key, values)));
        }
        let answer = ask(self.0);
        // In reverse, so that a key that was changed twice gets back what it had at first.
        for (key, there) in before.into_iter().rev() {
            self.0.context.restore(key, there);
        }
        answer
    }

    /// The changes, with what the keys have now.
    fn described(&self, changes: &[&Candidate]) -> Vec<Change> {
        let described = |candidate: &&Candidate| {
            let from = self.0.context.get(&candidate.change.key).map(<[String]>::to_vec);
            Change { from, ..candidate.change.clone() }
        };
        changes.iter().map(described).collect()
    }
}

/// Changes of the keys that statements on this action and resource ask for.
fn candidates(set: &PolicySet, trial: &mut Trial<'_>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for (_, _, attached) in set.attachments() {
        let source = attached.policy.source();
        for statement in &attached.policy.statements {
            let resource = statement.covers_resource(trial.0);
            if !statement.covers_action(trial.0) || !statement.suffices(resource) {
                continue;
            }
            for (clause, span) in statement.clauses().iter().zip(&statement.spans().clauses) {
                let holds = statement.suffices(clause.holds(&trial.0.context));
                let name = span.key.name(source);
                for to in clause.alternatives(&trial.0.context) {
                    let change = Change { key: name.to_owned(), from: None, to };
                    let candidate = Candidate { key: clause.key().clone(), change };
                    let holds_then = trial.with(&[&candidate], |changed| {
                        statement.suffices(clause.holds(&changed.context))
                    });
                    let Change { key, to, .. } = &candidate.change;
                    let is_new =
                        || candidates.iter().all(|c| (&c.change.key, &c.change.to) != (key, to));
                    if holds_then != holds && is_new() {
                        candidates.push(candidate);
                    }
                    if candidates.len() == CANDIDATES_MAX {
                        return candidates;
                    }
                }
            }
        }
    }
    // To add or replace a value is more natural than to leave one out.
    candidates.sort_by_key(|candidate| candidate.change.to.is_none());
    candidates
}
