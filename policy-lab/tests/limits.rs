//! What is too large, too deep or made to take long gets an answer, with its place, and never hangs.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use policy_lab::lint::lint;
use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Policy, PolicySet, Principal, Request,
    Resource, evaluate,
};
use serde_json::json;

fn statement(resource: &str) -> serde_json::Value {
    json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource })
}

fn document(statements: &serde_json::Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// A valid document of exactly so many bytes.
fn of_bytes(bytes: usize) -> String {
    let text = document(&json!([{
        "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
    }]));
    let spaces = bytes.checked_sub(text.len()).expect("small enough");
    text + &" ".repeat(spaces)
}

#[test]
fn sizes_are_taken_up_to_the_limit_and_not_beyond() {
    for (kind, bytes_max) in
        [(DocumentKind::Bucket, 20 * 1024), (DocumentKind::Identity, 64 * 1024)]
    {
        let text = of_bytes(bytes_max);
        let text = match kind {
            DocumentKind::Bucket => text,
            _ => {
                text.replace("\"Principal\":\"*\",", "") + &" ".repeat("\"Principal\":\"*\",".len())
            }
        };
        assert_eq!(text.len(), bytes_max);
        Policy::parse(&text, kind).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let error = Policy::parse(&(text.clone() + " "), kind).expect_err("one byte too many");
        assert!(error.message.contains(&bytes_max.to_string()), "{error}");
        assert!(lint(&(text + " "), kind).refused);
    }
}

#[test]
fn a_thousand_statements_and_one() {
    let all = |count: usize| {
        let short = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
        document(&json!(vec![short; count]))
    };
    Policy::parse(&all(1000), DocumentKind::Identity).expect("a thousand");
    let error = Policy::parse(&all(1001), DocumentKind::Identity).expect_err("one too many");
    assert!(error.message.contains("1000"), "{error}");
}

#[test]
fn deep_documents_are_refused_where_they_get_too_deep() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [17, 5_000] {
            let text = format!("{{\"Statement\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            let error = Policy::parse(&text, DocumentKind::Identity).expect_err("too deep");
            assert!(error.message.contains("deep"), "{error}");
            assert_eq!(error.line, 1);
            assert!(error.column < 16 * open.len() + 20, "{error}");
            assert!(lint(&text, DocumentKind::Identity).refused);
        }
    }
}

/// Patterns that a backtracking matcher never gets done with.
#[test]
fn hostile_patterns_are_answered() {
    let stars = "*a".repeat(2_000);
    let key = "a".repeat(1024);
    for (pattern, value, holds) in [
        (format!("{stars}b"), key.clone(), false),
        (format!("{}b", "*a".repeat(512)), key.clone(), false),
        (format!("{}*", "*a".repeat(512)), key.clone(), true),
        ("*".repeat(10_000), key.clone(), true),
        (format!("{}?", "*?".repeat(1_000)), key.clone(), true),
        (format!("{}?", "*?".repeat(1_100)), key.clone(), false),
        // Nothing of this is a regular expression.
        ("(a+)+$".to_owned(), key.clone(), false),
        ("(a+)+$".to_owned(), "(a+)+$".to_owned(), true),
        ("[a-z]{1,9999}".to_owned(), "b".to_owned(), false),
    ] {
        let resource = statement(&format!("arn:aws:s3:::b/{pattern}"));
        let mut condition = statement("*");
        condition["Condition"] = json!({ "StringLike": { "s3:prefix": pattern } });
        for statement in [resource, condition] {
            let text = document(&statement);
            let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
            let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
            let set = PolicySet { identity, ..PolicySet::default() };
            let mut context = Context::new();
            context.set("s3:prefix", value.clone());
            let request = Request {
                action: Action::parse("s3:GetObject").expect("action"),
                resource: Resource::Object { bucket: "b".into(), key: value.clone() },
                principal: Principal::user("000000000000", "alice"),
                context,
            };
            let shown = pattern.get(..20).unwrap_or(&pattern);
            assert_eq!(evaluate(&set, &request).is_allowed(), holds, "{shown}");
            assert_eq!(evaluate(&Compiled::new(set), &request).is_allowed(), holds, "{shown}");
        }
    }
}

/// The exit code, and what was printed.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let text = transcript::run(directory, arguments, "");
    let (_, said) = text.split_once('\n').expect("the command stands above");
    let (said, code) = said.trim_end().rsplit_once("=> ").expect("the code stands below");
    (code.parse().expect("a number"), said.to_owned())
}

#[test]
fn a_line_without_end_is_not_read() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    std::os::unix::fs::symlink("/dev/zero", directory.join("endless.jsonl")).expect("linked");
    fs::write(directory.join("binary.jsonl"), b"{\"op\":\"ListBuckets\"}\r\n\n{\"op\":\"\xff\"}")
        .expect("written");
    for (file, place, reason) in [
        ("endless.jsonl", "endless.jsonl:1: ", "the line has more than 67108864 bytes"),
        ("binary.jsonl", "binary.jsonl:3: ", "the line is not UTF-8"),
    ] {
        for arguments in [
            &["simulate", "--requests", file, "--draft", "readonly"][..],
            &["import", "minio", file],
        ] {
            let (code, said) = run(directory, arguments);
            if arguments[0] == "import" && file == "binary.jsonl" {
                // Its first line is no line of that log.
                assert!(said.contains("binary.jsonl:1:"), "{said}");
                continue;
            }
            assert_eq!(code, 2, "{arguments:?}: {said}");
            assert!(said.contains(place) && said.contains(reason), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn files_that_are_too_large_are_not_read() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    fs::write(directory.join("none.jsonl"), "").expect("written");
    let large = fs::File::create(directory.join("large.json")).expect("made");
    large.set_len(65 * 1024 * 1024).expect("sparse");
    std::os::unix::fs::symlink("/dev/zero", directory.join("endless.json")).expect("linked");
    for file in ["large.json", "endless.json"] {
        for arguments in [
            &["check", file][..],
            &["prove", "not-public", file],
            &["simulate", "--requests", "none.jsonl", "--draft", file],
        ] {
            let (code, said) = run(directory, arguments);
            assert_eq!(code, 2, "{arguments:?}: {said}");
            assert!(said.contains(file) && said.contains("bytes"), "{arguments:?}: {said}");
        }
    }
}

/// Half of a directory is no answer about it.
#[test]
fn a_directory_that_is_read_by_half_fails_whole() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    fs::create_dir_all(directory.join("half/bucket")).expect("made");
    let good = document(&json!([statement("arn:aws:s3:::b/*")]));
    fs::write(directory.join("half/good.json"), &good).expect("written");
    fs::write(directory.join("half/bucket/b.json"), [0xff, 0xfe]).expect("written");
    fs::write(directory.join("requests.jsonl"), "{\"op\":\"ListBuckets\"}\n").expect("written");
    fs::create_dir_all(directory.join("suites")).expect("made");
    fs::write(
        directory.join("suites/a.yaml"),
        "version: 1\npolicies: [readonly]\ntests:\n- {name: n, principal: p, action: s3:PutObject, resource: b/k, expect: deny}\n",
    )
    .expect("written");
    fs::write(directory.join("suites/b.yaml"), "version: 1\npolicies: [nothing]\n")
        .expect("written");
    for arguments in [
        &["check", "half"][..],
        &["check", "half/good.json", "half"],
        &["simulate", "--requests", "requests.jsonl", "--draft", "half"],
        &["test", "suites"],
    ] {
        let (code, said) = run(directory, arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(!said.contains("ok") && !said.contains("self-check"), "{arguments:?}: {said}");
    }
}
