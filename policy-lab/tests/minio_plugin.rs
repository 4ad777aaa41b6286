//! Rules that were written for MinIO's policy plugin, unchanged but for one comment: asked as there, and only denying.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::sync::Arc;

use policy_lab::explain::explain;
use policy_lab::replay::request_line;
use policy_lab::{Guardrails, PolicySet, Reason, canned, evaluate};
use serde_json::{Value, json};

const OLDER: &str = include_str!("data/minio-plugin/older.rego");
const NEWER: &str = include_str!("data/minio-plugin/newer.rego");

/// A request, and whether the rules allow it.
fn requests() -> Vec<(Value, bool)> {
    let request = |caller: Value, action: &str, bucket: &str, key: Option<&str>, ctx: Value| json!({ "action": action, "bucket": bucket, "key": key, "principal": caller, "ctx": ctx });
    let user = |name: &str| json!({ "type": "user", "name": name, "account": "000000000000" });
    let reader =
        json!({ "type": "user", "name": "rita", "account": "000000000000", "groups": ["readers"] });
    let root = json!({ "type": "root", "name": "root", "arn": "arn:aws:iam::000000000000:root" });
    let office = json!({ "aws:SourceIp": "10.1.2.3" });
    let get = "s3:GetObject";
    vec![
        (request(root, "s3:DeleteObject", "b", Some("k"), json!({})), true),
        (request(user("ingest"), "s3:PutObject", "ingest-2026", Some("k"), json!({})), true),
        (request(user("ingest"), "s3:ListBucket", "ingest-2026", None, json!({})), true),
        (request(user("ingest"), get, "ingest-2026", Some("k"), office.clone()), false),
        (request(user("ingest"), "s3:PutObject", "other", Some("k"), json!({})), false),
        (request(reader.clone(), get, "b", Some("k"), office.clone()), true),
        (request(reader.clone(), "s3:PutObject", "b", Some("k"), office), false),
        (
            request(reader.clone(), get, "b", Some("k"), json!({ "aws:SourceIp": "192.0.2.1" })),
            false,
        ),
        // Undefined, not an error: there is no such condition.
        (request(reader.clone(), get, "b", Some("k"), json!({})), false),
        (
            request(
                reader,
                get,
                "b",
                Some("k"),
                json!({ "aws:SourceIp": "10.1.2.3", "aws:UserAgent": "curl" }),
            ),
            false,
        ),
    ]
}

/// The server evaluates, the reviewer replays and asks why: one answer.
#[test]
fn everybody_gives_the_same_answer() {
    let scratch = tempfile::tempdir().expect("scratch");
    let write =
        |name: &str, text: &str| fs::write(scratch.path().join(name), text).expect("written");
    let mut lines = String::new();
    for (at, (mut request, _)) in requests().into_iter().enumerate() {
        request["id"] = json!(format!("r{at}"));
        lines += &format!("{request}\n");
    }
    write("requests.jsonl", &lines);
    for (name, text) in [("older.rego", OLDER), ("newer.rego", NEWER)] {
        write(name, text);
        let guardrails = Guardrails::load(vec![(name.to_owned(), text.to_owned())]).expect(name);
        let set = PolicySet {
            identity: vec![canned::attached("readwrite").expect("canned")],
            guardrails: Some(Arc::new(guardrails)),
            ..PolicySet::default()
        };
        for (at, (request, allows)) in requests().into_iter().enumerate() {
            let event = request_line(1, &request.to_string()).expect("a request").expect("one");
            let request = event.recorded.request;
            let decision = evaluate(&set, &request);
            assert_eq!(decision.is_allowed(), allows, "{name}: {request:?}");
            if !allows {
                assert_eq!(decision.reason, Reason::Guardrail);
                assert_eq!(decision.denials[0].id, "httpapi.authz");
            }
            assert_eq!(explain(&set, &request).decision, decision);
            let id = format!("r{at}");
            let arguments =
                ["explain", "--requests", "requests.jsonl", &id, "--draft", "readwrite", name];
            let said = transcript::run(scratch.path(), &arguments, "");
            assert!(said.ends_with(if allows { "=> 0\n\n" } else { "=> 1\n\n" }), "{said}");
            let said_so = "guardrail httpapi.authz: `allow` is not true";
            assert_eq!(said.contains(said_so), !allows, "{said}");
        }
        let arguments = [
            "simulate",
            "--requests",
            "requests.jsonl",
            "--baseline",
            "readwrite",
            "--draft",
            "readwrite",
            name,
            "--json",
        ];
        let report = transcript::run(scratch.path(), &arguments, "");
        let denied = requests().iter().filter(|(_, allows)| !allows).count();
        assert!(report.contains(&format!("\"newly_denied\": {denied}")), "{report}");
    }
}

#[test]
fn it_narrows_and_never_allows() {
    let load = |text: &str| Guardrails::load(vec![("rules.rego".to_owned(), text.to_owned())]);
    let (request, _) = requests().swap_remove(1);
    let event = request_line(1, &request.to_string()).expect("a request").expect("one");
    let request = event.recorded.request;
    let decide = |text: &str, policies: &[&str]| {
        let identity = policies.iter().filter_map(|name| canned::attached(name)).collect();
        let guardrails = Some(Arc::new(load(text).expect("loads")));
        evaluate(&PolicySet { identity, guardrails, ..PolicySet::default() }, &request)
    };
    assert!(!decide(OLDER, &[]).is_allowed(), "no policy allows it");
    let head = "# guardrail-input: minio\npackage p.q\n";
    for (rule, reason) in [
        ("allow := true", Reason::IdentityAllow),
        ("allow := false", Reason::Guardrail),
        ("allow := \"yes\"", Reason::Guardrail),
        ("allow if input.nothing", Reason::Guardrail),
        ("allow := net.cidr_contains(\"junk\", \"10.0.0.1\")", Reason::EngineError),
        ("allow { input.conditions.Authorization }", Reason::Guardrail),
    ] {
        assert_eq!(decide(&format!("{head}{rule}"), &["readwrite"]).reason, reason, "{rule}");
    }
    for (text, line, message) in [
        ("package p.q\nallow := true", 1, "guardrail-input: minio"),
        ("#guardrail-input: opa\npackage p.q\nallow := true", 1, "no input `opa`"),
        (
            "# guardrail-input: minio\npackage p.q\nallowed := true",
            1,
            "defines `allow` in package `p.q`",
        ),
        ("# guardrail-input: minio\npackage p.q\nallow { time.now_ns() > 1 }", 3, "repeatable"),
        ("# guardrail-input: minio\npackage p.q\n\nallow {", 4, ""),
        // Below the package it is a comment like others.
        ("package p.q\n# guardrail-input: minio\nallow := true", 1, "the package is"),
    ] {
        let error = load(text).expect_err(text);
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.line, line, "{error}");
    }
}

/// Guardrails of our own stand beside them: each may deny.
#[test]
fn both_kinds_hold_together() {
    let own = "package s3.authz\nimport rego.v1\ndeny contains {\"id\": \"closed\"} if input.resource.bucket == \"closed\"";
    let other = "# guardrail-input: minio\npackage other\nallow { input.object != \"secret\" }";
    let source = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let guardrails =
        Guardrails::load(vec![source("a.rego", own), source("b.rego", other)]).expect("load");
    let set = PolicySet {
        identity: vec![canned::attached("readwrite").expect("canned")],
        guardrails: Some(Arc::new(guardrails)),
        ..PolicySet::default()
    };
    for (bucket, key, denials) in [
        ("open", "k", &[][..]),
        ("closed", "k", &["closed"]),
        ("open", "secret", &["other"]),
        ("closed", "secret", &["closed", "other"]),
    ] {
        let line =
            json!({ "action": "s3:GetObject", "bucket": bucket, "key": key, "principal": "ana" });
        let event = request_line(1, &line.to_string()).expect("a request").expect("one");
        let decision = evaluate(&set, &event.recorded.request);
        let ids: Vec<_> = decision.denials.iter().map(|denial| denial.id.as_str()).collect();
        assert_eq!(ids, denials);
    }
}
