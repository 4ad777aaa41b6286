//! Guardrails tried on plain requests. A rule that fails denies the request, and hardly anybody means that: most often it
//! reads the key of an object where the request has none.

use std::sync::Arc;

use policy_lab::lint::Finding;
use policy_lab::{
    Action, Context, Guardrails, PolicySet, Principal, Reason, Request, Resource, evaluate,
};

use super::rule;

/// What the server knows of every request.
const ALWAYS: [(&str, &str); 5] = [
    ("aws:CurrentTime", "2026-01-01T00:00:00Z"),
    ("aws:EpochTime", "1767225600"),
    ("aws:SecureTransport", "true"),
    ("aws:SourceIp", "192.0.2.1"),
    ("s3:TlsVersion", "1.3"),
];

/// What to do about rules that fail, and about what they answer.
const AN_ABSENT_VALUE: &str =
    "ask first whether it is there (`is_string(…)`): what a request does not have is null";
const A_RESULT: &str = "write `deny contains {\"id\": \"…\", \"msg\": \"…\"} if { … }`";

/// What a request of each kind would meet that the guardrails fail on, once for each place. What is wrong with the result of
/// all rules is said of the first file.
pub(super) fn findings(guardrails: Guardrails, first: &str) -> Vec<(String, Finding)> {
    let set = PolicySet { guardrails: Some(Arc::new(guardrails)), ..PolicySet::default() };
    let mut found: Vec<(String, Finding)> = Vec::new();
    for request in requests() {
        let decision = evaluate(&set, &request);
        if decision.reason != Reason::EngineError {
            continue;
        }
        let Some(denial) = decision.denials.first() else { continue };
        let (file, (line, column), message) = place(&denial.msg);
        let (file, remedy) = match file {
            Some(file) => (file, AN_ABSENT_VALUE),
            None => (first, A_RESULT),
        };
        if found.iter().any(|(there, finding)| there == file && finding.line == line) {
            continue;
        }
        let who = if request.principal.name.is_empty() { " without a signature" } else { "" };
        let finding = Finding {
            rule: rule("REGO-FAILS"),
            line,
            column,
            end_column: column + 1,
            message: format!("the rule fails, and so denies, `{}`{who}: {message}", request.action),
            remedy: Some(remedy.to_owned()),
        };
        found.push((file.to_owned(), finding));
    }
    found
}

/// One of each kind: without a bucket, on a bucket, on an object, and by somebody who did not sign.
fn requests() -> Vec<Request> {
    let bucket = || "bucket".to_owned();
    let object = || Resource::Object { bucket: bucket(), key: "key".to_owned() };
    let alice = || Principal::user("000000000000", "alice");
    let kinds = [
        ("s3:ListAllMyBuckets", Resource::Any, alice()),
        ("s3:ListBucket", Resource::Bucket(bucket()), alice()),
        ("s3:PutObject", object(), alice()),
        ("s3:GetObject", object(), Principal::anonymous("000000000000")),
    ];
    let request = |(action, resource, principal): (&str, Resource, Principal)| {
        let mut context = Context::new();
        ALWAYS.iter().for_each(|(key, value)| context.set(key, *value));
        let action = Action::parse(action).ok()?;
        Some(Request { action, resource, principal, context })
    };
    kinds.into_iter().filter_map(request).collect()
}

/// File, place and complaint of an engine's error: `--> FILE:LINE:COLUMN`, an excerpt, `error: MESSAGE`.
fn place(text: &str) -> (Option<&str>, (usize, usize), &str) {
    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "));
    let mut fields = place.map(|place| place.rsplitn(3, ':')).into_iter().flatten();
    let mut number = || fields.next().and_then(|number| number.parse().ok()).unwrap_or(1);
    let (column, line) = (number(), number());
    let message = text.lines().find_map(|line| line.trim().strip_prefix("error: "));
    (fields.next(), (line, column), message.unwrap_or_else(|| text.trim()))
}

#[cfg(test)]
mod tests {
    use policy_lab::Guardrails;

    use super::findings;

    fn tried(body: &str) -> Vec<(usize, String)> {
        let text = format!("package s3.authz\nimport rego.v1\n{body}\n");
        let loaded = Guardrails::load(vec![("g.rego".to_owned(), text)]).expect("loads");
        findings(loaded, "g.rego")
            .into_iter()
            .map(|(_, finding)| (finding.line, finding.message))
            .collect()
    }

    #[test]
    fn what_fails_on_plain_requests_is_said_once() {
        let found =
            tried("deny contains {\"id\": \"x\"} if startswith(input.resource.key, \"in/\")");
        let [(3, message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            message.contains("`s3:ListAllMyBuckets`: `startswith` expects string"),
            "{message}"
        );
        let found =
            tried("deny contains {\"id\": \"x\"} if upper(input.request.auth_type) == \"V4\"");
        assert_eq!(found.len(), 1, "{found:?}");
        let found = tried("deny := true");
        let [(1, message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(message.contains("`deny` is not a set"), "{message}");
        for quiet in [
            "deny contains {\"id\": \"x\"} if {is_string(input.resource.key); startswith(input.resource.key, \"in/\")}",
            "deny contains {\"id\": \"x\"} if not net.cidr_contains(\"10.0.0.0/8\", input.env.source_ip)",
            "deny contains {\"id\": \"x\"} if input.resource.key == \"in\"",
        ] {
            assert_eq!(tried(quiet), [], "{quiet}");
        }
    }
}
