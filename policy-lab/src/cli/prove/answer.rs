//! An answer as text and as JSON.

use std::fmt::Write as _;

use policy_lab::analyze::{Counterexample, Role, StatementFinding, Verdict, World, request_line};
use policy_lab::{Decision, StatementRef};
use serde_json::{Value, json};

pub(super) enum Answer {
    /// A name and a verdict for each direction that was asked.
    Verdicts {
        question: &'static str,
        verdicts: Vec<(&'static str, Verdict)>,
    },
    Statements(Vec<StatementFinding>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Proved,
    Unknown,
    Refuted,
}

impl Outcome {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Proved => Self::Proved,
            Verdict::Refuted(_) => Self::Refuted,
            Verdict::Unknown(_) => Self::Unknown,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Unknown => "unknown",
            Self::Refuted => "refuted",
        }
    }
}

impl Answer {
    pub(super) fn one(question: &'static str, verdict: Verdict) -> Self {
        Self::Verdicts { question, verdicts: vec![(question, verdict)] }
    }

    pub(super) fn two(
        question: &'static str,
        first: (&'static str, Verdict),
        second: (&'static str, Verdict),
    ) -> Self {
        Self::Verdicts { question, verdicts: vec![first, second] }
    }

    /// One refutation refutes; without one, one doubt leaves all in doubt.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Verdicts { verdicts, .. } => verdicts
                .iter()
                .map(|(_, verdict)| Outcome::of(verdict))
                .max()
                .unwrap_or(Outcome::Proved),
            Self::Statements(findings) => {
                let outcome = |finding: &StatementFinding| match finding.role {
                    Role::Needed(_) => Outcome::Proved,
                    Role::Redundant | Role::Dead => Outcome::Refuted,
                    Role::Unknown(_) => Outcome::Unknown,
                };
                findings.iter().map(outcome).max().unwrap_or(Outcome::Proved)
            }
        }
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Verdicts { question, verdicts } => {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{question}: {}", self.outcome().as_str());
                for (name, verdict) in verdicts {
                    if verdicts.len() > 1 {
                        let _ = writeln!(text, "{name}: {}", Outcome::of(verdict).as_str());
                    }
                    explain(&mut text, verdict);
                }
            }
            Self::Statements(findings) => {
                for finding in findings {
                    let _ = writeln!(
                        text,
                        "{:<9}  {}",
                        role(&finding.role),
                        reference(&finding.statement)
                    );
                    if let Role::Unknown(limit) = finding.role {
                        let _ = writeln!(text, "  {limit}");
                    }
                }
            }
        }
        text
    }

    pub(super) fn json(&self, world: World) -> String {
        let world = match world {
            World::Any => "any",
            World::S3 => "s3",
            World::Server => "server",
        };
        let answer = match self {
            Self::Verdicts { question, verdicts } => json!({
                "question": question,
                "verdict": self.outcome().as_str(),
                "world": world,
                "parts": verdicts.iter().map(|(name, verdict)| part(name, verdict)).collect::<Vec<_>>(),
            }),
            Self::Statements(findings) => json!({
                "question": "statements",
                "verdict": self.outcome().as_str(),
                "world": world,
                "statements": findings.iter().map(finding).collect::<Vec<_>>(),
            }),
        };
        format!("{answer:#}\n")
    }
}

fn explain(text: &mut String, verdict: &Verdict) {
    match verdict {
        Verdict::Proved => {}
        Verdict::Unknown(limit) => {
            let _ = writeln!(text, "  {limit}");
        }
        Verdict::Refuted(found) => {
            let _ = writeln!(text, "  allowed: {}", decision(&found.decision));
            if let Some(other) = &found.other {
                let _ = writeln!(text, "  not allowed: {}", decision(other));
            }
            // A line of its own, so that it can be cut out and replayed.
            let _ = writeln!(text, "{}", request_line(&found.request));
        }
    }
}

fn decision(decision: &Decision) -> String {
    let by: Vec<_> = decision.by.iter().map(reference).collect();
    match by.as_slice() {
        [] => decision.reason.as_str().to_owned(),
        by => format!("{} by {}", decision.reason.as_str(), by.join(", ")),
    }
}

fn reference(statement: &StatementRef) -> String {
    let StatementRef { layer, policy, sid, index } = statement;
    match sid {
        Some(sid) => format!("{}:{policy}#{index} ({sid})", layer.as_str()),
        None => format!("{}:{policy}#{index}", layer.as_str()),
    }
}

fn role(role: &Role) -> &'static str {
    match role {
        Role::Needed(_) => "needed",
        Role::Redundant => "redundant",
        Role::Dead => "dead",
        Role::Unknown(_) => "unknown",
    }
}

fn part(name: &str, verdict: &Verdict) -> Value {
    let (counterexample, reason) = match verdict {
        Verdict::Proved => (Value::Null, Value::Null),
        Verdict::Refuted(found) => (example(found), Value::Null),
        Verdict::Unknown(limit) => (Value::Null, json!(limit.to_string())),
    };
    json!({
        "name": name,
        "verdict": Outcome::of(verdict).as_str(),
        "counterexample": counterexample,
        "reason": reason,
    })
}

fn example(found: &Counterexample) -> Value {
    // The line is JSON already; it goes in as an object.
    let request: Value = serde_json::from_str(&request_line(&found.request)).unwrap_or_default();
    json!({
        "request": request,
        "decision": decided(&found.decision),
        "other": found.other.as_ref().map(decided),
    })
}

fn decided(decision: &Decision) -> Value {
    json!({
        "effect": decision.effect.as_str(),
        "reason": decision.reason.as_str(),
        "by": decision.by.iter().map(statement).collect::<Vec<_>>(),
    })
}

fn statement(statement: &StatementRef) -> Value {
    json!({
        "layer": statement.layer.as_str(),
        "policy": &*statement.policy,
        "sid": statement.sid.as_deref(),
        "index": statement.index,
    })
}

fn finding(finding: &StatementFinding) -> Value {
    let (example, reason) = match &finding.role {
        Role::Needed(found) => (example(found), Value::Null),
        Role::Unknown(limit) => (Value::Null, json!(limit.to_string())),
        Role::Redundant | Role::Dead => (Value::Null, Value::Null),
    };
    json!({
        "statement": statement(&finding.statement),
        "role": role(&finding.role),
        "decides": example,
        "reason": reason,
    })
}
