//! Every parser of foreign bytes in this crate, as functions of bytes.
//!
//! A target must not panic, and asserts whatever else holds for all inputs. `cargo test` walks around the committed
//! seeds; `./test fuzz` lets libFuzzer search.

use std::sync::Arc;

use crate::condition::{Clause, Operator};
use crate::context::Context;
use crate::pattern::Glob;
use crate::replay::{
    self, Change, Complete, Export, Foreign, Recorded, World, audit_line, decide_one, request_line,
};
use crate::{
    Action, Attached, DocumentKind, Guardrails, Policy, PolicySet, Principal, Request, Resource,
    arn::Arn, canned, evaluate,
};

/// Name and function; the name is also that of the seeds' directory.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("policy-lab/bounds", bounds),
    ("policy-lab/condition", condition),
    ("policy-lab/glob", glob),
    ("policy-lab/import", import),
    ("policy-lab/line", line),
    ("policy-lab/lint", lint),
    ("policy-lab/manifest", manifest),
    ("policy-lab/policy", policy),
    ("policy-lab/quick", quick),
    ("policy-lab/rego", rego),
    ("policy-lab/world", world),
    #[cfg(feature = "cli")]
    ("policy-lab/yaml", yaml),
];

/// What is refused has an error, and what is taken is looked at.
fn lint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for kind in [DocumentKind::Identity, DocumentKind::Bucket] {
        let findings = crate::lint::lint(text, kind);
        assert_eq!(findings.refused, Policy::parse(text, kind).is_err());
        assert!(!findings.refused || findings.worst() == Some(crate::lint::Severity::Error));
    }
}

/// What is said of a record that lacks keys is so whatever the keys were.
fn bounds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(policy) = Policy::parse(text, DocumentKind::Identity) else { return };
    let attached = Attached { name: "fuzzed".into(), policy: Arc::new(policy) };
    let set = PolicySet { identity: vec![attached.clone()], ..PolicySet::default() };
    for request in requests() {
        let event = Recorded {
            id: String::new(),
            seq: None,
            request: Request { context: Context::new(), ..request.clone() },
            recorded: None,
            complete: Complete::only([]),
        };
        let world = World::empty().with(Change::Identity(vec![attached.clone()]));
        let Ok(Ok(said)) = decide_one(&world, &event) else { continue };
        let several = Context::from_pairs(
            request.context.iter().map(|(key, values)| (key.to_owned(), [values, values].concat())),
        );
        for context in [Context::new(), request.context.clone(), several] {
            let decided = evaluate(&set, &Request { context, ..request.clone() });
            assert_eq!(decided.is_allowed(), said.is_allowed());
        }
    }
}

/// Expectations: what is read, or refused, has its place in the text.
#[cfg(feature = "cli")]
fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (line, column) = match crate::yaml::read(text) {
        Ok(node) => (node.line, node.column),
        Err(error) => (error.line, error.column),
    };
    assert!(line > 0 && column > 0 && column <= text.len() + 1, "a place outside of the text");
}

/// Lines of other servers' logs: what is imported is a request.
fn import(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for (_, log) in Foreign::ALL {
        for line in replay::import(log, text).map(|imported| imported.lines).unwrap_or_default() {
            let _ = request_line(1, &line);
        }
    }
}

/// An exported world: who is in it gets an answer.
fn world(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(export) = Export::parse(text) else { return };
    for request in requests() {
        let _ = evaluate(&export.policies(&request.principal, request.resource.bucket()), &request);
    }
    let _ = export.principals().count();
}

fn requests() -> Vec<Request> {
    let mut context = Context::new();
    context.set("aws:SourceIp", "10.0.0.1");
    context.set("aws:SecureTransport", "true");
    context.set("aws:CurrentTime", "2026-11-23T10:00:00Z");
    context.set("s3:prefix", "2026/");
    let request = |action: &str, resource| {
        let principal = Principal::user("000000000000", "alice");
        let context = context.clone();
        Some(Request { action: Action::parse(action).ok()?, resource, principal, context })
    };
    let object = Resource::Object { bucket: "ledger".into(), key: "2026/q3.csv".into() };
    [request("s3:GetObject", object), request("s3:ListBucket", Resource::Bucket("ledger".into()))]
        .into_iter()
        .flatten()
        .collect()
}

/// Policy documents of every kind, and what follows from them.
fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Arn::parse(text);
    let _ = Action::parse(text);
    for kind in [
        DocumentKind::Identity,
        DocumentKind::Bucket,
        DocumentKind::Session,
        DocumentKind::Boundary,
    ] {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        assert_eq!(policy.source(), text, "what was decided with is what was written");
        let attached = Attached { name: "fuzzed".into(), policy: Arc::new(policy) };
        let mut set = PolicySet::default();
        match kind {
            DocumentKind::Bucket => set.bucket = Some(attached),
            DocumentKind::Identity => set.identity = vec![attached],
            DocumentKind::Session => set.session = Some(attached),
            DocumentKind::Boundary => set.boundary = Some(attached),
        }
        for request in requests() {
            let decision = evaluate(&set, &request);
            let alone = matches!(kind, DocumentKind::Session | DocumentKind::Boundary);
            assert!(!(alone && decision.is_allowed()), "what only narrows never allows by itself");
        }
    }
}

/// `operator LF key LF value…`: dates, addresses, numbers, ARNs and the rest.
fn condition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let (Some(operator), Some(key)) = (lines.next(), lines.next()) else { return };
    let values: Vec<String> = lines.map(ToOwned::to_owned).collect();
    let Ok(operator) = Operator::parse(operator) else { return };
    for variables in [false, true] {
        let Ok(clause) = Clause::compile(operator, key, &values, variables) else { continue };
        let _ = clause.holds(&Context::new());
        for value in &values {
            let mut context = Context::new();
            context.set(key, value.clone());
            let _ = clause.holds(&context);
        }
    }
}

/// `pattern LF text`, beside a reading of the wildcards that one can see through.
fn glob(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((pattern, text)) = text.split_once('\n') else { return };
    // The plain reading takes the product of both lengths.
    if pattern.len().saturating_mul(text.len()) > 1 << 20 {
        return;
    }
    assert_eq!(Glob::parse(pattern).matches(text), plainly_matches(pattern, text));
}

/// Whether each beginning of the text is covered by the pattern so far, character by character.
fn plainly_matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut covered = vec![false; text.len() + 1];
    covered.iter_mut().take(1).for_each(|empty| *empty = true);
    for wildcard in pattern.chars() {
        let mut next = Vec::with_capacity(covered.len());
        let mut before = false;
        for (length, reached) in covered.iter().enumerate() {
            let last = length.checked_sub(1).and_then(|at| text.get(at));
            let through = match wildcard {
                '*' => *reached || next.last().copied().unwrap_or(false),
                '?' => before,
                other => before && last == Some(&other),
            };
            next.push(through);
            before = *reached;
        }
        covered = next;
    }
    covered.last().copied().unwrap_or(false)
}

/// Lines of a request file and of the audit log.
fn line(bytes: &[u8]) {
    let recorded = audit_line(7, bytes).ok().flatten();
    let written =
        std::str::from_utf8(bytes).ok().and_then(|text| request_line(1, text).ok().flatten());
    let set = PolicySet {
        identity: canned::attached("readonly").into_iter().collect(),
        ..PolicySet::default()
    };
    for event in recorded.into_iter().chain(written) {
        let _ = evaluate(&set, &event.recorded.request);
    }
}

/// Lines of the audit log, one after the other: whatever the quick reader remembers of those before, it says what the
/// plain one says.
fn quick(bytes: &[u8]) {
    let mut reader = replay::Reader::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        assert_ne!(reader.agrees(line), Some(false), "{}", line.escape_ascii());
    }
}

/// Manifests of policy sets, whose documents are all there or all missing.
fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = PolicySet::from_manifest(text, &mut |_| None);
    let document = canned::source("readonly").map(ToOwned::to_owned);
    if let Ok(set) = PolicySet::from_manifest(text, &mut |_| document.clone()) {
        let again = PolicySet::from_manifest(&set.manifest(), &mut |_| document.clone());
        assert!(again.is_ok_and(|again| again.manifest() == set.manifest()));
    }
}

/// Guardrail files, and one decision under those that load.
fn rego(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(guardrails) = Guardrails::load(vec![("fuzzed.rego".to_owned(), text.to_owned())]) else {
        return;
    };
    let set = PolicySet { guardrails: Some(Arc::new(guardrails)), ..PolicySet::default() };
    for request in requests() {
        assert!(!evaluate(&set, &request).is_allowed(), "a guardrail never allows");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_neighbour_of_a_seed_breaks_a_parser() {
        for (target, run) in TARGETS {
            // Loading a guardrail also tries it out, which takes milliseconds.
            let rounds = if *target == "policy-lab/rego" { 200 } else { 2000 };
            fixtures::corpus::replay(target, *run, rounds);
        }
    }

    #[test]
    fn seeds_are_understood() {
        let texts = |target| {
            let seeds = fixtures::corpus::seeds(target).into_iter();
            seeds.map(|seed| String::from_utf8(seed).unwrap())
        };
        for text in texts("policy-lab/policy") {
            let kinds = [DocumentKind::Identity, DocumentKind::Bucket];
            assert!(kinds.iter().any(|kind| Policy::parse(&text, *kind).is_ok()), "{text}");
        }
        for text in texts("policy-lab/condition") {
            let lines: Vec<&str> = text.split('\n').collect();
            let values: Vec<String> = lines[2..].iter().map(ToString::to_string).collect();
            let operator = Operator::parse(lines[0]).unwrap();
            assert!(Clause::compile(operator, lines[1], &values, true).is_ok(), "{text}");
        }
        for text in texts("policy-lab/line") {
            let read = [request_line(1, &text), audit_line(1, text.as_bytes())];
            assert!(read.iter().any(|event| matches!(event, Ok(Some(_)))), "{text}: {read:?}");
        }
        for text in texts("policy-lab/quick") {
            let mut reader = replay::Reader::new();
            let read: Vec<_> = text.lines().map(|line| reader.agrees(line.as_bytes())).collect();
            assert!(read.contains(&Some(true)), "{text}: {read:?}");
        }
        for text in texts("policy-lab/rego") {
            assert!(Guardrails::load(vec![("seed.rego".into(), text.clone())]).is_ok(), "{text}");
        }
    }
}
