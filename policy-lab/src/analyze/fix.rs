//! Rewrites that change nothing but the text.
//!
//! A candidate is one piece of text taken out: what the review says is of no use, an entry that another one covers, an
//! empty element. It is kept only if the prover says of the document before and after, in both profiles, that they
//! allow the same and deny the same, so that nothing changes beside any other policy either. What is left of the text
//! is as it was, down to the spacing.

use super::review::{Remark, access, review};
use super::{Access, World, differences};
use crate::document::json::{self, Member, Node, Value};
use crate::{Attached, DocumentKind, Policy, Profile};

/// Pieces that are taken out of one document at most.
const STEPS_MAX: usize = 500;

/// Candidates that are tried at most, kept or not.
const TRIES_MAX: usize = 2_000;

/// A document after its rewrites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    pub text: String,
    /// What was taken out, in order, each with the line where it stood then.
    pub changes: Vec<Change>,
}

/// One piece that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub line: usize,
    pub what: String,
}

/// Takes out what has no effect. A document that is refused stays as it is.
#[must_use]
pub fn fix(text: &str, kind: DocumentKind) -> Fixed {
    let mut fixed = Fixed { text: text.to_owned(), changes: Vec::new() };
    let mut refused = Vec::new();
    for _ in 0..STEPS_MAX {
        let Some((change, text)) = step(&fixed.text, kind, &mut refused) else { break };
        fixed.text = text;
        fixed.changes.push(change);
    }
    fixed
}

/// The first candidate that changes nothing. What was tried in vain is in `refused`.
fn step(text: &str, kind: DocumentKind, refused: &mut Vec<String>) -> Option<(Change, String)> {
    let policy = Policy::parse(text, kind).ok()?;
    let root = json::parse(text).ok()?;
    for cut in candidates(&root, &policy) {
        if refused.len() >= TRIES_MAX {
            return None;
        }
        let Some(changed) = cut.out_of(text) else { continue };
        if refused.contains(&changed) {
            continue;
        }
        if is_same(text, &changed, kind) {
            let line = text.get(..cut.at).unwrap_or_default().matches('\n').count() + 1;
            return Some((Change { line, what: cut.what }, changed));
        }
        refused.push(changed);
    }
    None
}

/// The two documents allow the same and deny the same, in both profiles.
fn is_same(before: &str, after: &str, kind: DocumentKind) -> bool {
    [(Profile::AWS, World::Any), (Profile::MINIO, World::S3)].into_iter().all(|(profile, world)| {
        let read = |text| Policy::parse_as(text, kind, profile).map(access);
        match (read(before), read(after)) {
            (Ok(before), Ok(after)) => {
                differences(&before, &after, world).is_none()
                    && differences(&beside_all(before), &beside_all(after), world).is_none()
            }
            // What the other profile does not have means nothing there, before and after.
            (Err(_), Err(_)) => profile == Profile::MINIO,
            _ => false,
        }
    })
}

/// Beside a policy that allows everything only what is denied counts.
fn beside_all(mut access: Access) -> Access {
    let all =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    if let Ok(policy) = Policy::parse(all, DocumentKind::Identity) {
        let policy = std::sync::Arc::new(policy);
        access.policies.identity.push(Attached { name: std::sync::Arc::from("all"), policy });
    }
    access
}

/// A piece of text that may go.
struct Cut {
    at: usize,
    end: usize,
    what: String,
}

impl Cut {
    /// The text without the piece, and without the comma that held it.
    fn out_of(&self, text: &str) -> Option<String> {
        let (before, behind) = (text.get(..self.at)?, text.get(self.end..)?);
        let rest = behind.trim_start();
        let before_it = before.trim_end();
        // The last one goes with the comma in front of it, any other with the one behind.
        let (head, tail) = match rest.strip_prefix(',') {
            Some(tail) => (before, tail.trim_start()),
            None => (before_it.strip_suffix(',')?, behind),
        };
        Some(format!("{head}{tail}"))
    }
}

fn candidates(root: &Node, policy: &Policy) -> Vec<Cut> {
    let Value::Object(members) = &root.value else { return Vec::new() };
    let statements = members.iter().find(|member| member.name == "Statement");
    let nodes = statements.map_or(&[][..], |member| entries(&member.node));
    let mut cuts = Vec::new();
    // Of two things that say the same the later one goes, so everything is looked at from its end.
    for remarked in review(policy).remarks.iter().rev() {
        // What never fires was meant to: that is for somebody to correct.
        if matches!(remarked.remark, Remark::NeverFires { .. }) {
            continue;
        }
        if let (Some(node), true) = (nodes.get(remarked.statement), nodes.len() > 1) {
            let what = format!("statement {}, which has no effect", remarked.statement + 1);
            cuts.push(Cut { at: node.at, end: node.end, what });
        }
    }
    for (number, node) in nodes.iter().enumerate().rev() {
        let Value::Object(elements) = &node.value else { continue };
        for element in elements {
            element_cuts(element, number + 1, &mut cuts);
        }
    }
    cuts
}

fn element_cuts(element: &Member, statement: usize, cuts: &mut Vec<Cut>) {
    let whole = |what: &str| Cut {
        at: element.at,
        end: element.node.end,
        what: format!("{what} of statement {statement}"),
    };
    match (element.name.as_str(), &element.node.value) {
        ("Sid", Value::String(sid)) if sid.is_empty() => cuts.push(whole("the empty Sid")),
        ("Condition", Value::Object(operators)) if operators.is_empty() => {
            cuts.push(whole("the empty Condition"));
        }
        ("Action" | "NotAction" | "Resource" | "NotResource", _) => {
            list_cuts(&element.name, &element.node, statement, cuts);
        }
        ("Condition", Value::Object(operators)) => {
            for operator in operators {
                let Value::Object(keys) = &operator.node.value else { continue };
                for key in keys {
                    let name = format!("{} {}", operator.name, key.name);
                    list_cuts(&name, &key.node, statement, cuts);
                }
            }
        }
        _ => {}
    }
}

/// Every entry of a list of several may be the one that another covers.
fn list_cuts(name: &str, node: &Node, statement: usize, cuts: &mut Vec<Cut>) {
    let nodes = entries(node);
    if nodes.len() < 2 {
        return;
    }
    for entry in nodes.iter().rev() {
        let text = match &entry.value {
            Value::String(text) | Value::Number(text) => text.clone(),
            other => format!("{other:?}"),
        };
        let what = format!("`{text}` of {name} of statement {statement}");
        cuts.push(Cut { at: entry.at, end: entry.end, what });
    }
}

fn entries(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(nodes) => nodes,
        _ => std::slice::from_ref(node),
    }
}
