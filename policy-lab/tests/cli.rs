//! The binary, as people call it: commands, what they print, how they end.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use audit::{
    Auth, Class, Ed25519Signer, EventId, LocalFiles, Log, Options, Phase, Record, Signer as _,
    SystemClock, Verdict,
};
use policy_lab::replay::request_line;
use policy_lab::{PolicySet, canned, evaluate};

use self::transcript::run;

const REQUESTS: &str = r#"{"id":"r1","op":"PutObject","bucket":"team","key":"in/1","principal":"wendy"}
{"id":"r2","op":"GetObject","bucket":"team","key":"in/1","principal":"wendy"}

{"id":"r3","op":"ListObjectsV2","bucket":"team","principal":"rita","ctx":{"s3:prefix":"in/"}}
{"id":"r4","op":"GetObject","bucket":"team","key":"public/x"}
"#;

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("inside")).expect("made");
    fs::write(path, text).expect("written");
}

fn files(directory: &Path) {
    let policy = |effect: &str, principal: &str| {
        format!(
            "{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{{\n    \"Effect\": \"{effect}\",{principal}\n    \
             \"Action\": \"s3:GetObject\",\n    \"Resource\": \"arn:aws:s3:::team/*\"\n  }}]\n}}\n"
        )
    };
    write(directory, "reader.json", &policy("Allow", ""));
    write(directory, "public.json", &policy("Allow", "\n    \"Principal\": \"*\","));
    write(directory, "typo.json", &policy("Alow", ""));
    write(directory, "requests.jsonl", REQUESTS);
    let rego = "package s3.authz\n\nimport rego.v1\n\n\
        deny contains {\"id\": \"inbox\"} if startswith(input.resource.key, \"in/\")\n";
    write(directory, "inbox.rego", rego);
    write(directory, "clock.rego", &rego.replace("input.resource.key", "time.now_ns()"));
    write(directory, "world/readwrite.json", &policy("Allow", ""));
    write(directory, "half/good.json", &policy("Allow", ""));
    fs::create_dir_all(directory.join("half/directory.json")).expect("made");
    fs::write(directory.join("half/binary.json"), [0xff, 0xfe]).expect("written");
    write(directory, "world/bucket/team.json", &policy("Allow", "\n    \"Principal\": \"*\","));
}

/// `policy-lab … | head`: whoever closes the pipe has what they wanted.
#[test]
fn a_closed_pipe_is_no_failure() {
    for (code, arguments) in [
        (0, &["check", "--rules"][..]),
        (0, &["canned"]),
        (0, &["canned", "readwrite"]),
        (1, &["prove", "equivalent", "readonly", "writeonly"]),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_policy-lab"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(code), ""), "{arguments:?}");
    }
}

#[test]
fn requests_and_files() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    files(directory);
    let mut transcript = String::new();
    let requests = ["simulate", "--requests", "requests.jsonl"];
    for arguments in [
        &["canned"][..],
        &["canned", "writeonly"],
        &["canned", "nothing"],
        &["check", "reader.json", "public.json", "inbox.rego"],
        &["check", "reader.json", "typo.json", "clock.rego"],
        &["check", "reader.json", "missing.json"],
        &["check", "world", "--fail-on", "suggestion"],
        &["check", "world", "--fail-on", "security", "--ignore", "PUBLIC-ACCESS,DENY-TLS-MISSING"],
        &["check", "typo.json", "--json"],
        &["check", "half"],
        &["check", "--kind", "identity", "public.json"],
        &[&requests[..], &["--draft", "reader.json"]].concat(),
        &[
            &requests[..],
            &[
                "--baseline",
                "readwrite",
                "--draft",
                "reader.json",
                "bucket:team=public.json",
                "--fail-on",
                "newly-denied",
            ],
        ]
        .concat(),
        &[
            &requests[..],
            &[
                "--baseline",
                "readwrite",
                "--draft",
                "inbox.rego",
                "--format",
                "markdown",
                "--samples",
                "1",
            ],
        ]
        .concat(),
        &[&requests[..], &["--baseline", "readwrite", "--draft", "world"]].concat(),
        &[&requests[..], &["--draft", "nobody=readonly", "--fail-on", "newly-allowed"]].concat(),
        &[&requests[..], &["--draft", "typo.json"]].concat(),
        &[&requests[..], &["--draft", "nonsense"]].concat(),
        &[&requests[..], &["--baseline", "recorded", "--draft", "readonly"]].concat(),
    ] {
        transcript += &run(directory, arguments, "");
    }
    let broken = "{\"op\":\"ListBuckets\"}\n{\"op\":\"GetObject\",\"bucket\":\"b\",}\n";
    transcript += &run(directory, &["simulate", "--requests", "-", "--draft", "readonly"], broken);
    insta::assert_snapshot!(transcript);
}

/// A world as the appliance exports it; `wendy` has the policy of this name.
fn world(directory: &Path, name: &str, wendys: &str) {
    let documents: BTreeMap<_, _> = canned::CANNED.into_iter().collect();
    let world = serde_json::json!({
        "schema": "appliance/world", "v": 1, "account": "000000000000",
        "users": {"wendy": {"enabled": true, "policies": [wendys]},
                  "rita": {"enabled": true, "policies": []}},
        "groups": {"all": {"enabled": true, "members": ["rita"], "policies": ["readonly"]}},
        "policies": documents, "buckets": {}, "guardrails": [],
    });
    write(directory, name, &world.to_string());
}

#[test]
fn whole_worlds_and_every_report() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    files(directory);
    world(directory, "now.json", "readwrite");
    world(directory, "next.json", "readonly");
    write(
        directory,
        "lost.json",
        &fs::read_to_string(directory.join("now.json"))
            .expect("read")
            .replace("[\"readonly\"]", "[\"raedonly\"]"),
    );
    let simulate = |more: &[&str]| {
        let requests = ["simulate", "--world", "now.json", "--requests", "requests.jsonl"];
        run(directory, &[&requests[..], more].concat(), "")
    };
    let mut transcript = simulate(&["--draft", "next.json", "--fail-on", "newly-denied"]);
    transcript +=
        &simulate(&["--draft", "readwrite=reader.json", "--format", "sarif", "--out", "r.sarif"]);
    transcript += &simulate(&["--draft", "lost.json"]);
    transcript +=
        &simulate(&["--draft", "next.json", "--format", "junit", "--fail-on", "newly-denied"]);
    transcript += &simulate(&["--draft", "next.json", "--every", "2", "--json"]);
    let partial = "{\"id\":\"p\",\"op\":\"PutObject\",\"bucket\":\"team\",\"key\":\"x\",\"principal\":\"wendy\",\"complete\":[]}\n";
    let draft = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
    write(directory, "tls.json", draft);
    let unknown = [
        "simulate",
        "--world",
        "now.json",
        "--requests",
        "-",
        "--draft",
        "bucket:team=public.json",
        "readwrite=tls.json",
        "--fail-on",
        "unknown,newly-allowed",
    ];
    transcript += &run(directory, &unknown, partial);
    insta::assert_snapshot!(transcript);

    let page = directory.join("review.html");
    simulate(&["--draft", "next.json", "--format", "html", "--out", "review.html"]);
    let html = fs::read_to_string(page).expect("written");
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    for from_elsewhere in ["http://", "https://", "src=", "<script", "url(", "@import"] {
        assert!(!html.contains(from_elsewhere), "{from_elsewhere}");
    }
}

#[test]
fn findings_as_sarif() {
    let scratch = tempfile::tempdir().expect("scratch");
    files(scratch.path());
    let text = run(scratch.path(), &["check", "typo.json", "public.json", "--sarif"], "");
    let (_, document) = text.split_once('\n').expect("the command first");
    let document = document.split("2> ").next().expect("stdout first");
    let log: serde_json::Value = serde_json::from_str(document).expect("JSON");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    let codes: Vec<_> = results.iter().map(|result| result["ruleId"].clone()).collect();
    assert_eq!(
        codes,
        ["INVALID_EFFECT", "DENY-TLS-MISSING", "PROFILE-DIVERGENCE", "PUBLIC-ACCESS"]
    );
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
    }
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "typo.json");
    let region = serde_json::json!({ "startLine": 4, "startColumn": 15, "endColumn": 21 });
    assert_eq!(place["region"], region);
}

#[test]
fn usage_errors_end_with_2() {
    let scratch = tempfile::tempdir().expect("scratch");
    for arguments in [
        &["simulate", "--draft", "readonly"][..],
        &["simulate", "--requests", "-"],
        &["simulate", "--requests", "-", "--audit", ".", "--draft", "readonly"],
        &["simulate", "--requests", "-", "--draft", "readonly", "--since", "yesterday"],
        &["explain"],
    ] {
        let text = run(scratch.path(), arguments, "");
        assert!(text.ends_with("=> 2\n\n"), "{text}");
    }
}

/// Writes a log as the server does, one decision per request; answers its verifier key.
fn write_log(directory: &Path) -> String {
    let origin = "audit.example.com/test";
    let signer = Arc::new(Ed25519Signer::from_seed(origin, &[7; 32]));
    let options = Options { origin: origin.to_owned(), ..Options::default() };
    let files = Arc::new(LocalFiles::new(directory));
    let key = signer.vkey();
    let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options).expect("opens");
    for (number, line) in (1..).zip(REQUESTS.lines()) {
        let Some(event) = request_line(number, line).expect("a request") else { continue };
        let name = if line.contains("rita") { "readonly" } else { "readwrite" };
        let identity = vec![canned::attached(name).expect("canned")];
        let set = PolicySet { identity, ..PolicySet::default() };
        for (_, text) in set.documents() {
            log.put_blob(text.as_bytes()).expect("kept");
        }
        log.put_blob(set.manifest().as_bytes()).expect("kept");
        let record = record(number, &set, &event.recorded.request);
        log.append(&record).expect("taken").wait().expect("durable");
    }
    log.close().expect("closed");
    key
}

fn record(number: usize, set: &PolicySet, request: &policy_lab::Request) -> Record {
    let decision = evaluate(set, request);
    let mut id = [0; 10];
    id[9] = u8::try_from(number).expect("few");
    let mut record =
        Record::new(Class::Data, request.action.as_str(), EventId::new(1_767_225_600_000, id));
    record.phase = Phase::Decision;
    let kind = match request.principal.kind {
        policy_lab::PrincipalKind::Anonymous => "Anonymous",
        _ => "IAMUser",
    };
    record.principal = Some(Arc::new(audit::Principal {
        kind: kind.into(),
        arn: Some(request.principal.arn.clone()),
        account: Some(request.principal.account.clone()),
        name: Some(request.principal.name.clone()),
        ..audit::Principal::default()
    }));
    record.resources = vec![audit::Resource {
        bucket: request.resource.bucket().map(str::to_owned),
        key: request.resource.key().map(str::to_owned),
        arn: Some(request.resource.arn()),
        ..audit::Resource::default()
    }];
    let context = request.context.iter().map(|(key, values)| (key.to_owned(), values.to_vec()));
    record.auth = Some(Auth {
        decision: if decision.is_allowed() { Verdict::Allow } else { Verdict::Deny },
        reason: decision.reason.as_str().into(),
        by: Vec::new(),
        digest: hex::encode(set.digest()),
        ctx: context.collect::<BTreeMap<_, _>>(),
        implied: false,
        us: 1,
    });
    record
}

#[test]
fn a_log_is_verified_and_reproduced() {
    let scratch = tempfile::tempdir().expect("scratch");
    let log = scratch.path().join("log");
    fs::create_dir(&log).expect("made");
    let key = write_log(&log);
    let audit = ["simulate", "--audit", "log", "--vkey", &key];
    let simulate = |more: &[&str]| run(scratch.path(), &[&audit[..], more].concat(), "");
    let mut transcript = simulate(&["--draft", "readonly"]);
    transcript += &simulate(&[
        "--draft",
        "readwrite=readonly",
        "misspelt=readonly",
        "--fail-on",
        "newly-denied",
    ]);
    transcript += &simulate(&["--baseline", "recorded", "writeonly", "--draft", "readonly"]);
    transcript += &simulate(&["--draft", "readonly", "--since", "2999-01-01"]);
    transcript += &run(scratch.path(), &["simulate", "--audit", "log", "--draft", "readwrite"], "");
    insta::assert_snapshot!(transcript.replace(&key, "KEY"));
}

/// The policies of a record are gone: nobody knows whether the draft changes anything for it.
#[test]
fn an_event_that_cannot_be_decided_is_no_pass() {
    let scratch = tempfile::tempdir().expect("scratch");
    let log = scratch.path().join("log");
    fs::create_dir(&log).expect("made");
    let key = write_log(&log);
    fs::remove_dir_all(log.join("blob")).expect("removed");
    fs::create_dir(log.join("blob")).expect("made");
    let audit =
        ["simulate", "--audit", "log", "--vkey", &key, "--unverified", "--draft", "q=readonly"];
    for more in [&[][..], &["--fail-on", "newly-denied"], &["--fail-on", "unknown"]] {
        let said = run(scratch.path(), &[&audit[..], more].concat(), "");
        assert!(said.contains("4 undecided"), "{said}");
        // As a past that was not reproduced.
        assert!(said.ends_with("=> 1\n\n"), "{said}");
    }
}

#[test]
fn a_changed_log_is_refused_unless_asked_for() {
    let scratch = tempfile::tempdir().expect("scratch");
    let log = scratch.path().join("log");
    fs::create_dir(&log).expect("made");
    let key = write_log(&log);
    // A decision is turned round, in place.
    let segment = segments(&log.join("seg")).pop().expect("a segment");
    let text = fs::read_to_string(&segment).expect("read");
    let denied = "\"decision\":\"deny\"";
    assert!(text.contains(denied), "rita's listing was denied");
    fs::write(&segment, text.replace(denied, "\"decision\":\"fine\"")).expect("written");

    let audit = ["simulate", "--audit", "log", "--vkey", &key, "--draft", "readonly"];
    let refused = run(scratch.path(), &audit, "");
    assert!(refused.ends_with("=> 8\n\n"), "{refused}");
    assert!(refused.contains("the log is MODIFIED"), "{refused}");
    let log = ["--audit", "log", "--vkey", &key];
    for verb in [
        &["diff", "readwrite", "readonly"][..],
        &["generate"],
        &["coverage", "--policy", "readonly"],
        &["bench", "--policy", "readonly"],
    ] {
        let refused = run(scratch.path(), &[verb, &log].concat(), "");
        assert!(refused.ends_with("=> 8\n\n"), "{refused}");
    }
    let insisted = run(scratch.path(), &[&audit[..], &["--unverified"]].concat(), "");
    assert!(insisted.contains("warning: the log is MODIFIED"), "{insisted}");
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every question with every kind of answer, and the request of a refutation replayed.
#[test]
fn proofs() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    files(directory);
    let policy =
        |statements: &str| format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{statements}]}}");
    let get = |key: &str, more: &str| {
        format!(
            "{{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::team/{key}\"{more}}}"
        )
    };
    let condition = |test: &str| format!(",\"Condition\":{{{test}}}");
    write(directory, "home.json", &policy(&get("${aws:username}/*", "")));
    let twice = condition(r#""StringEquals":{"aws:userid":"${s3:prefix}${s3:prefix}"}"#);
    write(directory, "twice.json", &policy(&get("*", &twice)));
    let even = condition(r#""StringNotLike":{"aws:userid":"???"}"#);
    write(directory, "even.json", &policy(&get("*", &even)));
    write(directory, "overlap.json", &policy(&[get("*", ""), get("x*", "")].join(",")));
    let mut transcript = String::new();
    for line in [
        "prove no-more-permissive reader.json readwrite",
        "prove no-more-permissive readwrite reader.json",
        "prove no-more-permissive readwrite+boundary:reader.json reader.json",
        "prove no-more-permissive home.json reader.json",
        "prove no-more-permissive twice.json even.json",
        "prove equivalent reader.json overlap.json",
        "prove equivalent readonly writeonly",
        "prove not-granted reader.json --action s3:Put*",
        "prove not-granted reader.json --action s3:Get* --resource arn:aws:s3:::team/in/* --format json",
        "prove not-granted reader.json --action s3:Gte*",
        "prove not-public reader.json",
        "prove not-public bucket:team=public.json",
        "prove statements overlap.json",
        "prove no-more-permissive nothing.json readwrite",
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        transcript += &run(directory, &arguments, "");
    }
    insta::assert_snapshot!(transcript);
    let answer = run(directory, &["prove", "not-public", "bucket:team=public.json"], "");
    let request = answer.lines().find(|line| line.starts_with('{')).expect("a request");
    let replay = ["simulate", "--requests", "-", "--draft", "bucket:team=public.json"];
    let replayed = run(directory, &replay, request);
    assert!(replayed.contains("newly-allowed"), "{replayed}");
}

/// The verbs that a reviewer uses beside `simulate`, on one small world.
#[test]
fn who_what_and_how_much() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    files(directory);
    world(directory, "now.json", "readwrite");
    write(
        directory,
        "expect.yaml",
        "version: 1\nworld: now.json\ntests:\n\
         - name: wendy writes\n  principal: user/wendy\n  action: s3:PutObject\n  resource: team/in/1\n  expect: allow\n  because: readwrite#0\n\
         - name: rita does not\n  principal: rita\n  action: s3:PutObject\n  resource: team/in/1\n  given: {aws:SecureTransport: true}\n  expect: deny\n\
         - name: nobody knows\n  principal: anonymous\n  action: s3:GetObject\n  resource: team/in/1\n  expect: allow\n\
         invariants:\n- nobody-except: [user/wendy]\n  may: [s3:DeleteObject, s3:GetObject]\n  on: team/in/1\n",
    );
    write(directory, "typo.yaml", "version: 1\nworld: now.json\ntests:\n- nmae: x\n");
    write(
        directory,
        "rego/inbox.rego",
        "package s3.authz\n\nimport rego.v1\n\n\
        deny contains {\"id\": \"inbox\"} if startswith(input.resource.key, \"in/\")\n\n\
        deny contains {\"id\": \"late\"} if {\n\tinput.env.tls == false\n\tinput.resource.bucket == \"team\"\n}\n",
    );
    write(
        directory,
        "rego/inbox_test.rego",
        "package s3.authz_test\n\nimport rego.v1\n\nimport data.s3.authz\n\n\
        test_inbox if count(authz.deny) == 1 with input as {\"resource\": {\"key\": \"in/1\", \"bucket\": \"b\"}, \"env\": {\"tls\": true}}\n\n\
        test_wrong if count(authz.deny) == 3 with input as {\"resource\": {\"key\": \"out/1\", \"bucket\": \"b\"}, \"env\": {\"tls\": true}}\n",
    );
    write(
        directory,
        "minio.log",
        "{\"version\":\"1\",\"time\":\"2026-11-05T10:00:00Z\",\"api\":{\"name\":\"PutObject\",\"bucket\":\"team\",\"object\":\"in/1\",\"statusCode\":200},\"remotehost\":\"10.0.0.1\",\"requestID\":\"q1\",\"accessKey\":\"wendy\"}\n{\"version\":\"1\",\"api\":{\"name\":\"SiteReplicationInfo\"}}\n",
    );
    let mut transcript = String::new();
    for arguments in [
        &["who-can", "s3:PutObject", "team/in/1", "--world", "now.json"][..],
        &["who-can", "s3:GetObject", "arn:aws:s3:::team/in/1", "--world", "now.json", "--json"],
        &["who-can", "s3:GetObject", "team/*", "--world", "now.json"],
        &["coverage", "--world", "now.json", "--requests", "requests.jsonl", "--fail-on-unused"],
        &["coverage", "--policy", "reader.json", "--requests", "requests.jsonl", "--json"],
        &[
            "generate",
            "--principal",
            "wendy",
            "--requests",
            "requests.jsonl",
            "--current",
            "readwrite",
        ],
        &["generate", "--principal", "nobody", "--requests", "requests.jsonl"],
        &[
            "diff",
            "readwrite",
            "reader.json",
            "--requests",
            "requests.jsonl",
            "--fail-on",
            "newly-denied",
        ],
        &["test", "expect.yaml", "--coverage", "--threshold", "90"],
        &["test", "typo.yaml"],
        &["test", "rego", "--coverage"],
        &["import", "minio", "minio.log"],
        &["import", "cloudtrail", "minio.log"],
        &[
            "simulate",
            "--requests",
            "minio.log",
            "--from",
            "minio",
            "--world",
            "now.json",
            "--draft",
            "readwrite=tls.json",
        ],
    ] {
        if arguments[0] == "simulate" {
            let draft = "{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"true\"}}}]}";
            write(directory, "tls.json", draft);
        }
        transcript += &run(directory, arguments, "");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_request_is_explained() {
    let directory = tempfile::tempdir().expect("made");
    let path = directory.path();
    files(path);
    write(path, "requests.jsonl", REQUESTS);
    let explain = |arguments: &[&str]| {
        let all = [&["explain", "--requests", "requests.jsonl"], arguments].concat();
        run(path, &all, "")
    };
    let denied = explain(&["r1", "--draft", "readonly"]);
    for line in [
        "DENIED: s3:PutObject on arn:aws:s3:::team/in/1 by arn:aws:iam::000000000000:user/wendy",
        "  nearest: readonly#0 would allow it, but",
        "the statement lists [\"s3:GetBucketLocation\", \"s3:GetObject\"] [action-not-listed]",
        "=> 1",
    ] {
        assert!(denied.contains(line), "{line} is missing in\n{denied}");
    }
    let allowed = explain(&["r2", "--draft", "readonly", "--json"]);
    assert!(allowed.contains("\"reason\":\"identity-allow\"") && allowed.contains("=> 0"));
    for (arguments, message) in [
        (&["r9", "--draft", "readonly"][..], "requests.jsonl has no request `r9`"),
        (&["--draft", "readonly"], "has several requests; name one by its id"),
    ] {
        let refused = explain(arguments);
        assert!(refused.contains(message) && refused.contains("=> 2"), "{refused}");
    }
}

#[test]
fn policies_are_timed() {
    let directory = tempfile::tempdir().expect("made");
    let path = directory.path();
    files(path);
    write(path, "requests.jsonl", REQUESTS);
    let timed = ["bench", "--policy", "reader.json", "inbox.rego", "--requests", "requests.jsonl"];
    let table = run(path, &timed, "");
    for line in ["policies alone", "as recorded", "4 requests of requests.jsonl", "=> 0"] {
        assert!(table.contains(line), "{line} is missing in\n{table}");
    }
    let document = run(path, &[&timed[..], &["--json"]].concat(), "");
    let json: serde_json::Value = serde_json::from_str(
        document.split_once('\n').and_then(|(_, rest)| rest.split_once("=>")).expect("ends").0,
    )
    .expect("one object");
    assert_eq!(json["requests"], 4);
    for part in ["policies", "recorded"] {
        let nanoseconds = |name: &str| json[part][name].as_f64().expect("a number");
        assert!(nanoseconds("p50_ns") > 0.0, "{json}");
        assert!(nanoseconds("p50_ns") <= nanoseconds("slowest_ns"), "{json}");
    }
    write(path, "none.jsonl", "");
    let none = run(path, &["bench", "--policy", "readonly", "--requests", "none.jsonl"], "");
    assert!(none.contains("has no request to decide") && none.contains("=> 2"), "{none}");
}
