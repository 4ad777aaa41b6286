//! How `simulate`, `diff` and `check` end: every exit code that their help promises, for every word of `--fail-on`.
//!
//! That a log which fails verification ends with 8 is where logs are written: `cli.rs`.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::path::Path;

use self::transcript::run;

/// Reads, below `team/`.
const READER: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::team/*"}]}"#;

/// As the reader, over TLS only.
const TLS: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::team/*"},
    {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;

/// Allows nothing, and says so: what was denied because nobody allowed it is denied by a statement.
const CLOSED: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Action":"s3:*","Resource":"*"}]}"#;

/// A guardrail that no request meets.
const QUIET: &str =
    "package s3.authz\n\nimport rego.v1\n\ndeny contains {\"id\": \"x\"} if input.v == 2\n";

/// One request whose record says nothing of TLS, and one that is denied.
const REQUESTS: &str = r#"{"id":"r1","op":"GetObject","bucket":"team","key":"x","principal":"ana","complete":["s3:*"]}
{"id":"r2","op":"PutObject","bucket":"team","key":"x","principal":"ana","complete":["s3:*"]}
"#;

fn files(directory: &Path) {
    let typo = READER.replace("Allow", "Alow");
    let unsaid = READER.replace("team/*", "team*");
    for (name, text) in [
        ("reader.json", READER),
        ("tls.json", TLS),
        ("closed.json", CLOSED),
        ("typo.json", &typo),
        ("glob.json", &unsaid),
        ("quiet.rego", QUIET),
        ("requests.jsonl", REQUESTS),
        ("broken.jsonl", "{\"op\":\n"),
    ] {
        fs::write(directory.join(name), text).expect("written");
    }
}

/// Asserts the code of each call; all that are wrong are shown.
fn end_with(calls: &[(i32, &str)]) {
    let scratch = tempfile::tempdir().expect("scratch");
    files(scratch.path());
    let wrong: Vec<_> = calls
        .iter()
        .map(|(code, call)| (code, run(scratch.path(), &call.split(' ').collect::<Vec<_>>(), "")))
        .filter(|(code, said)| !said.ends_with(&format!("=> {code}\n\n")))
        .map(|(code, said)| format!("not {code}:\n{said}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn simulate() {
    let base = "simulate --requests requests.jsonl --baseline";
    let calls = [
        (0, "reader.json --draft closed.json"),
        (0, "reader.json --draft reader.json --fail-on newly-denied,newly-allowed,unknown"),
        (0, "reader.json --draft closed.json --fail-on newly-allowed"),
        (0, "reader.json --draft readwrite --fail-on newly-denied"),
        (1, "reader.json --draft closed.json --fail-on newly-denied"),
        (1, "reader.json --draft readwrite --fail-on newly-allowed"),
        (1, "reader.json --draft closed.json --fail-on reason-changed"),
        (0, "reader.json --draft reader.json quiet.rego --fail-on reason-changed"),
        (0, "reader.json --draft tls.json"),
        (0, "reader.json --draft tls.json --fail-on newly-denied"),
        (4, "reader.json --draft tls.json --fail-on unknown"),
        (4, "reader.json --draft tls.json --fail-on newly-denied,unknown"),
        (1, "tls.json --draft closed.json readwrite --fail-on unknown,newly-denied,reason-changed"),
        (2, "reader.json --draft typo.json"),
        (2, "reader.json --draft none.json"),
        (2, "reader.json --draft reader.json --fail-on newly"),
        (2, "recorded --draft reader.json"),
    ];
    let whole: Vec<_> =
        calls.iter().map(|(code, call)| (*code, format!("{base} {call}"))).collect();
    let mut calls: Vec<_> = whole.iter().map(|(code, call)| (*code, call.as_str())).collect();
    calls.push((2, "simulate --requests broken.jsonl --draft reader.json"));
    calls.push((2, "simulate --requests none.jsonl --draft reader.json"));
    calls.push((2, "simulate --audit none --draft reader.json"));
    end_with(&calls);
}

#[test]
fn diff() {
    end_with(&[
        (0, "diff reader.json closed.json --requests requests.jsonl"),
        (
            0,
            "diff reader.json reader.json --requests requests.jsonl --fail-on newly-denied,newly-allowed,unknown",
        ),
        (1, "diff reader.json closed.json --requests requests.jsonl --fail-on newly-denied"),
        (1, "diff closed.json reader.json --requests requests.jsonl --fail-on newly-allowed"),
        // No recorded request shows it; what is beyond them counts.
        (1, "diff reader.json glob.json --requests requests.jsonl --fail-on newly-allowed"),
        (0, "diff reader.json glob.json --requests requests.jsonl --fail-on newly-denied"),
        (1, "diff reader.json tls.json --requests requests.jsonl --fail-on newly-denied"),
        (4, "diff reader.json tls.json --requests requests.jsonl --fail-on unknown"),
        (2, "diff reader.json typo.json --requests requests.jsonl"),
        (2, "diff reader.json none.json --requests requests.jsonl"),
        (2, "diff reader.json reader.json --requests broken.jsonl"),
        (2, "diff reader.json --requests requests.jsonl"),
    ]);
}

#[test]
fn check() {
    end_with(&[
        (0, "check reader.json quiet.rego"),
        (0, "check reader.json --fail-on security"),
        (0, "check glob.json"),
        (0, "check glob.json --fail-on error"),
        (1, "check glob.json --fail-on security"),
        (1, "check glob.json --fail-on warning"),
        (1, "check glob.json --fail-on suggestion"),
        (0, "check tls.json --diff"),
        (0, "check --rules"),
        (2, "check typo.json"),
        (2, "check reader.json typo.json --fail-on suggestion"),
        (2, "check none.json"),
        (2, "check reader.json --fail-on everything"),
        (2, "check"),
    ]);
}
