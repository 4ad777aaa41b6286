use std::sync::Arc;

use super::{Guardrails, REVIEW_TIME_MAX, RegoError};
use crate::{
    Action, Context, Decision, PolicySet, Principal, PrincipalKind, Reason, Request, Resource,
    canned, evaluate,
};

const HEAD: &str = "package s3.authz\nimport rego.v1\n";

fn load(body: &str) -> Result<Guardrails, RegoError> {
    Guardrails::load(vec![("rules.rego".to_owned(), format!("{HEAD}{body}\n"))])
}

fn request() -> Request {
    let mut context = Context::new();
    context.set("aws:SourceIp", "10.0.0.1");
    context.set("aws:SecureTransport", "true");
    context.set("aws:CurrentTime", "2026-11-23T10:00:00Z");
    context.set("s3:RequestObjectTag/class", "secret");
    Request {
        action: Action::parse("s3:PutObject").expect("action"),
        resource: Resource::Object { bucket: "ledger".into(), key: "2026/q3.csv".into() },
        principal: Principal::user("000000000000", "alice"),
        context,
    }
}

fn decide(body: &str, request: &Request) -> Decision {
    let set = PolicySet {
        identity: vec![canned::attached("readwrite").expect("canned")],
        // The probes are about rules, not about how busy the machine is.
        guardrails: Some(Arc::new(load(body).expect("loads").with_time_limit(REVIEW_TIME_MAX))),
        ..PolicySet::default()
    };
    evaluate(&set, request)
}

#[test]
fn a_denying_rule_wins_over_policies_and_root() {
    let body = r#"deny contains {"id": "frozen", "msg": "ledger is frozen", "severity": "block"} if {
        input.resource.bucket == "ledger"
        input.action == "s3:PutObject"
    }"#;
    let mut request = request();
    for kind in [PrincipalKind::User, PrincipalKind::Root] {
        request.principal.kind = kind;
        let decision = decide(body, &request);
        assert_eq!(decision.reason, Reason::Guardrail);
        assert!(!decision.is_allowed());
        assert_eq!(decision.denials[0].id, "frozen");
        assert_eq!(decision.denials[0].msg, "ledger is frozen");
    }
    request.resource = Resource::Bucket("other".into());
    assert_eq!(decide(body, &request).reason, Reason::AdminBypass);
}

/// What the engines do with doubtful rules, measured: an upgrade that changes one of these must be noticed.
#[test]
fn probes_of_the_interpreter() {
    let rule = |body: &str| format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
    for (name, body, reason) in [
        ("no rule fires", rule("input.v == 2"), Reason::IdentityAllow),
        ("a rule fires", rule("input.v == 1"), Reason::Guardrail),
        ("error in a body", rule(r#"net.cidr_contains("junk", "10.0.0.1")"#), Reason::EngineError),
        (
            "negated error in a body",
            rule(r#"not net.cidr_contains("junk", "10.0.0.1")"#),
            Reason::EngineError,
        ),
        (
            "conflicting complete rules",
            format!("a := 1\na := 2\n{}", rule("a == 1")),
            Reason::EngineError,
        ),
        (
            "function default",
            format!("default f(_) := false\nf(x) if x == 2\n{}", rule("f(1) == false")),
            Reason::Guardrail,
        ),
        ("with", rule(r#"y with input as {"z": 1}"#) + "\ny if input.z == 1", Reason::Guardrail),
        (
            "30 000 iterations",
            rule("count([x | some x in numbers.range(1, 30000)]) == 30000"),
            Reason::Guardrail,
        ),
        ("unknown field under not", rule("not input.resource.buckett"), Reason::Guardrail),
        (
            "partial set with an iterating body",
            "deny contains {\"id\": x} if some x in [\"a\", \"b\"]".to_owned(),
            Reason::Guardrail,
        ),
    ] {
        let decision = decide(&body, &request());
        assert_eq!(decision.reason, reason, "{name}: {:?}", decision.denials);
        let both = name.starts_with("partial");
        assert!(!both || decision.denials.len() == 2, "{name}");
    }
}

#[test]
fn malformed_results_deny() {
    for body in [
        "deny := true",
        "deny := {\"id\": \"x\"}",
        "deny contains \"x\"",
        "deny contains {\"msg\": \"no id\"}",
        "deny contains {\"id\": 7}",
        "deny contains {\"id\": \"\"}",
        "deny contains {\"id\": \"x\", \"severity\": \"fatal\"}",
        "deny := x if { x := 1; input.v == 2 }",
    ] {
        assert_eq!(decide(body, &request()).reason, Reason::EngineError, "{body}");
    }
    for severity in ["warn", "audit"] {
        let body = format!("deny contains {{\"id\": \"x\", \"severity\": \"{severity}\"}}");
        assert!(decide(&body, &request()).is_allowed());
    }
}

#[test]
fn an_endless_rule_is_stopped() {
    let body = "deny contains {\"id\": \"x\"} if {
        some a in numbers.range(1, 100000)
        some b in numbers.range(1, 100000)
        a * b == -1
    }";
    let guardrails = load(body).expect("loads");
    let implicit = evaluate(&PolicySet::default(), &request());
    let error = guardrails.denials(&request(), &implicit).expect_err("stopped");
    assert!(error.contains("time limit"), "{error}");
}

#[test]
fn input_has_every_field() {
    let mut paths = Vec::new();
    for path in [
        "v",
        "action",
        "actions",
        "api",
        "principal.arn",
        "principal.type",
        "principal.id",
        "principal.parent",
        "principal.groups",
        "principal.tags",
        "principal.policies",
        "principal.claims",
        "resource.arn",
        "resource.bucket",
        "resource.key",
        "resource.version_id",
        "resource.tags",
        "resource.bucket_tags",
        "resource.lock.mode",
        "resource.lock.retain_until",
        "resource.lock.legal_hold",
        "resource.size",
        "resource.exists",
        "request.id",
        "request.method",
        "request.headers",
        "request.headers_all",
        "request.query",
        "request.tags",
        "request.object_lock.mode",
        "request.copy_source",
        "request.content_sha256",
        "request.auth_type",
        "request.signature_version",
        "request.signature_age_ms",
        "env.time",
        "env.time_ns",
        "env.source_ip",
        "env.tls",
        "env.tls_version",
        "env.user_agent",
        "env.referer",
        "context",
        "iam.effect",
        "iam.statements",
    ] {
        paths.push(format!(
            "deny contains {{\"id\": \"{path}\"}} if object.get(input, {:?}, \"absent\") == \"absent\"",
            path.split('.').collect::<Vec<_>>()
        ));
    }
    let mut bare = request();
    bare.context = Context::new();
    for request in [request(), bare] {
        let decision = decide(&paths.join("\n"), &request);
        assert!(decision.is_allowed(), "{:?}", decision.denials);
    }
}

#[test]
fn input_says_what_the_request_says() {
    for fact in [
        r#"input.env.tls == true"#,
        r#"input.env.source_ip == "10.0.0.1""#,
        r#"input.env.time_ns == 1795428000000000000"#,
        r#"input.request.tags["class"] == "secret""#,
        r#"input.context["aws:SourceIp"] == ["10.0.0.1"]"#,
        r#"input.principal.type == "user""#,
        r#"input.iam.effect == "allow""#,
        r#"input.iam.statements[0].policy == "readwrite""#,
        r#"input.resource.arn == "arn:aws:s3:::ledger/2026/q3.csv""#,
    ] {
        let body = format!("deny contains {{\"id\": \"x\"}} if {fact}");
        assert_eq!(decide(&body, &request()).reason, Reason::Guardrail, "{fact}");
    }
}

#[test]
fn sources_without_repeatable_answers_are_refused() {
    for (call, line) in [
        ("x := time.now_ns()", 3),
        ("x := time . now_ns()", 3),
        ("x := time[\"now_ns\"]()", 3),
        ("x := time[\"now\\u005fns\"]()", 3),
        ("y := 1\n\nx := rand.intn(\"a\", 6)", 5),
        ("x := uuid.rfc4122(\"a\")", 3),
        ("x := opa.runtime()", 3),
        ("x := http.send({})", 3),
        ("x if print(\"hello\")", 3),
    ] {
        let body = format!("{call}\ndeny contains {{\"id\": \"x\"}} if x");
        let error = load(&body).expect_err(call);
        assert_eq!((error.file.as_str(), error.line), ("rules.rego", line), "{error}");
    }
    load("f(x) := upper(x)\ndeny contains {\"id\": \"x\"} if (f(\"a\") == data.s3.authz.f(\"b\"))")
        .expect("own functions");
    let harmless = "# time.now_ns() in a comment\n\
        deny contains {\"id\": \"time.now_ns\"} if input.time.now_ns == `rand.intn(`";
    load(harmless).expect("only mentions them");
}

#[test]
fn sources_that_do_not_compile_are_refused() {
    for (body, line) in [
        ("deny contains {\"id\": \"x\"} if {", 4),
        ("deny contains {\"id\": x} if true", 3),
        ("deny contains {\"id\": \"x\"} if { input.v == 7; x == y }", 3),
        ("deny contains {\"id\": \"x\"} if {\ninput.v == 7\nnot crypto.sha256(\"a\") }", 5),
        ("f(x) := x\ndeny contains {\"id\": \"x\"} if ff(1)", 4),
        ("allow := true", 1),
    ] {
        let error = load(body).expect_err(body);
        assert_eq!((error.file.as_str(), error.line), ("rules.rego", line), "{body}: {error}");
    }
    let foreign = vec![("other.rego".to_owned(), "package other\ndeny := true".to_owned())];
    assert_eq!(Guardrails::load(foreign).expect_err("package").file, "other.rego");
    assert!(Guardrails::load(Vec::new()).is_err(), "nothing to load");
}

#[test]
fn engines_are_reused_between_threads() {
    let guardrails = Arc::new(
        load("deny contains {\"id\": \"k\"} if endswith(input.resource.key, \"7\")")
            .expect("loads")
            .with_time_limit(REVIEW_TIME_MAX),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50 {
                    let mut request = request();
                    let key = format!("k{n}");
                    request.resource = Resource::Object { bucket: "b".into(), key };
                    let set = PolicySet {
                        identity: vec![canned::attached("readwrite").expect("canned")],
                        guardrails: Some(Arc::clone(&guardrails)),
                        ..PolicySet::default()
                    };
                    assert_eq!(evaluate(&set, &request).is_allowed(), n % 10 != 7);
                }
            });
        }
    });
    assert!(guardrails.idle().len() <= 4, "one engine per thread at most");
}

/// Each level doubles the time of the library's parser; without the bound the second load does not end.
#[test]
fn brackets_that_the_parser_could_not_finish_are_refused() {
    let nested = |levels: usize| {
        let inner = levels - 1; // The body is a level of its own.
        format!(
            "deny contains {{\"id\": \"d\"}} if {{\n x := {}1{}\n count(x) > 1\n}}",
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };
    load(&nested(super::certify::NESTING_MAX)).expect("deep enough for people");
    for levels in [super::certify::NESTING_MAX + 1, 66] {
        let error = load(&nested(levels)).expect_err("too deep");
        assert!(error.message.contains("nested"), "{error}");
        assert_eq!(error.line, 4);
    }
    let text = format!(
        "deny contains {{\"id\": \"{}\"}} if {{ false }} # {}",
        "[".repeat(99),
        "{".repeat(99)
    );
    load(&text).expect("text and comments nest nothing");
}

/// A review shows a guardrail only what it can see: the answers are those to the whole document, and requests that look
/// alike to it get equal ones.
#[test]
fn what_a_guardrail_cannot_see_changes_nothing() {
    let bodies = [
        "not input.env.tls",
        "input.env.tls; startswith(input.resource.key, \"2026/\")",
        "not input.env.bogus",
        "not input.bogus.tls",
        "not input.action.part",
        "input.action == \"s3:PutObject\"; input.action.part",
        "input.actions[0] == \"s3:PutObject\"",
        "some group in input.principal.groups; group == \"eng\"",
        "input.principal; input.principal.id == \"alice\"",
        "input.context[\"aws:SourceIp\"][_] == \"10.0.0.1\"",
        "not input.context[\"aws:sourceip\"]",
        "input.request.tags.class == \"secret\"",
        "input.request.headers[\"user-agent\"] == \"curl\"",
        "count(input.iam.statements) > 0; input.iam.effect == \"allow\"",
        "net.cidr_contains(\"10.0.0.0/8\", input.env.source_ip)",
        "object.get(input, [\"env\", \"tls\"], null) == true",
        "x := input; not x.env.tls",
        "input.env.tls with input.env.tls as true",
    ];
    let mut requests = vec![request()];
    for (key, value) in [
        ("aws:SecureTransport", "false"),
        ("aws:SourceIp", "junk"),
        ("aws:SourceIp", "192.0.2.1"),
        ("aws:UserAgent", "curl"),
        ("s3:RequestObjectTag/class", "public"),
        ("aws:PrincipalTag/x", "secret"),
    ] {
        let mut request = request();
        request.context.set(key, value);
        request.principal.groups.push("eng".to_owned());
        requests.push(request);
    }
    requests.push(Request { context: Context::new(), resource: Resource::Any, ..request() });
    let sets = [vec![canned::attached("readwrite").expect("canned")], Vec::new()];
    let sets = sets.map(|identity| PolicySet { identity, ..PolicySet::default() });
    for body in bodies {
        let rule = format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
        let guardrails = load(&rule).expect(body).with_time_limit(REVIEW_TIME_MAX);
        let mut answers = std::collections::HashMap::new();
        for (request, set) in
            requests.iter().flat_map(|request| sets.iter().map(move |set| (request, set)))
        {
            let policies = evaluate(set, request);
            let whole = guardrails.denials(request, &policies);
            let seen = guardrails.denials_in_review(request, &policies);
            assert_eq!(seen.is_ok(), whole.is_ok(), "{body}");
            assert_eq!(seen.as_ref().ok(), whole.as_ref().ok(), "{body}");
            let mut fingerprint = Vec::new();
            if guardrails.fingerprint(request, &policies, &mut fingerprint) {
                let before = answers.entry(fingerprint).or_insert_with(|| whole.clone().ok());
                assert_eq!(*before, whole.ok(), "{body}");
            }
        }
    }
}
