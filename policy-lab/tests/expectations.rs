//! `test`: expectations about patterns are proved for every key, invariants for every request.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

fn run(directory: &Path, arguments: &[&str]) -> String {
    transcript::run(directory, &[&["test"], arguments].concat(), "")
}

fn document(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// Analysts read records and their own home; operators do everything there but undo locks; one bucket is public.
fn world() -> String {
    let statement = |effect: &str, action: &str, resource: &str| json!({ "Effect": effect, "Action": action, "Resource": resource });
    let analysts = document(json!([
        statement("Allow", "s3:GetObject", "arn:aws:s3:::records/*"),
        statement("Allow", "s3:*Object", "arn:aws:s3:::home/${aws:username}/*"),
        statement("Deny", "s3:DeleteObject", "arn:aws:s3:::records/*"),
    ]));
    let operators = document(json!([
        statement("Allow", "s3:*", "arn:aws:s3:::records*"),
        statement("Deny", "s3:BypassGovernanceRetention", "arn:aws:s3:::records/20*"),
    ]));
    let mut public = statement("Allow", "s3:GetObject", "arn:aws:s3:::site/*");
    public["Principal"] = json!("*");
    let mut tls = statement("Deny", "s3:*", "arn:aws:s3:::records/*");
    tls["Principal"] = json!("*");
    tls["Condition"] = json!({ "Bool": { "aws:SecureTransport": "false" } });
    json!({
        "schema": "appliance/world", "v": 1, "account": "000000000000",
        "users": {
            "ana": { "enabled": true, "policies": ["analysts"] },
            "olaf": { "enabled": true, "policies": ["operators"] },
        },
        "groups": {},
        "policies": { "analysts": analysts, "operators": operators },
        "buckets": { "site": document(json!([public])), "records": document(json!([tls])) },
        "guardrails": [],
    })
    .to_string()
}

const SUITE: &str = "version: 1
world: world.json
tests:
- name: analysts never delete records
  principal: user/ana
  action: s3:DeleteObject
  resource: records/*
  unknown: [aws:SourceIp, aws:SecureTransport]
  expect: explicit-deny
- name: analysts read records over TLS
  principal: ana
  action: s3:GetObject
  resource: records/2026/*
  given: {aws:SecureTransport: 'true'}
  expect: allow
- name: analysts read records however they come
  principal: ana
  action: s3:GetObject
  resource: records/2026/*
  unknown: [aws:SecureTransport]
  expect: allow
- name: homes are their owners'
  principal: ana
  action: s3:GetObject
  resource: home/olaf/*
  expect: implicit-deny
- name: ana has a home
  principal: ana
  action: s3:PutObject
  resource: home/ana/*
  expect: allow
- name: every home is closed to ana
  principal: ana
  action: s3:GetObject
  resource: home/*
  expect: deny
- name: an action on objects is on no bucket
  principal: ana
  action: s3:ListBucket
  resource: records/*
  expect: deny
invariants:
- no-one-except: [user/olaf]
  may: [s3:Delete*, s3:PutObject]
  on: records/*
- nobody-except: []
  may: [s3:BypassGovernanceRetention]
  on: records/20*
- nobody-except: []
  may: [s3:BypassGovernanceRetention]
  on: records/*
- not-public: records
- not-public: 're?ords'
- not-public: '*'
- no-more-permissive-than: readonly
  for: [user/ana]
- no-more-permissive-than: limit.json
";

#[test]
fn a_world_is_held_to_what_is_expected() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("written");
    write("world.json", &world());
    write("suite.yaml", SUITE);
    let all = json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": [
        "arn:aws:s3:::records*", "arn:aws:s3:::home/*", "arn:aws:s3:::site/*"] }]);
    write("limit.json", &document(all));
    let mut transcript = run(directory, &["suite.yaml", "--junit", "suite.xml"]);
    transcript += &fs::read_to_string(directory.join("suite.xml")).expect("written");
    for (name, test) in [
        ("root", "{name: r, principal: root, action: s3:GetObject, resource: b/*, expect: allow}"),
        (
            "because",
            "{name: b, principal: ana, action: s3:GetObject, resource: b/*, expect: deny, because: x#0}",
        ),
        (
            "unknown",
            "{name: u, principal: ana, action: s3:GetObject, resource: b/*, expect: unknown}",
        ),
    ] {
        let file = format!("{name}.yaml");
        write(&file, &format!("version: 1\nworld: world.json\ntests: [{test}]\n"));
        transcript += &run(directory, &[&file]);
    }
    write(
        "mixed.yaml",
        "version: 1\npolicies: [readonly]\ninvariants:\n- {not-public: '*', may: [s3:GetObject]}\n",
    );
    transcript += &run(directory, &["mixed.yaml"]);
    write(
        "policies.yaml",
        "version: 1\npolicies: [readonly]\ntests:\n\
         - {name: no writes, principal: eve, action: s3:PutObject, resource: 'b*', expect: deny}\n\
         invariants:\n- no-more-permissive-than: readwrite\n- no-more-permissive-than: writeonly\n",
    );
    transcript += &run(directory, &["policies.yaml"]);
    insta::assert_snapshot!(transcript);
}

/// Whatever is wrong with a file of expectations, it says file, line, column and what to do.
#[test]
fn a_broken_file_says_where_and_what_to_do() {
    let scratch = tempfile::tempdir().expect("scratch");
    let directory = scratch.path();
    let head = "version: 1\npolicies: [readonly]\n";
    let test = |member: &str, value: &str| {
        let members = [
            ("name", "n"),
            ("principal", "user/ana"),
            ("action", "s3:GetObject"),
            ("resource", "b/x"),
            ("expect", "allow"),
        ];
        let mut text = format!("{head}tests:\n");
        let mut indent = "- ";
        for (name, there) in members {
            let value = if name == member { value } else { there };
            if !value.is_empty() {
                text += &format!("{indent}{name}: {value}\n");
                indent = "  ";
            }
        }
        let is_more = members.iter().all(|(name, _)| *name != member);
        if is_more { format!("{text}  {member}: {value}\n") } else { text }
    };
    let invariant = |text: &str| format!("{head}invariants:\n- {text}\n");
    let mut wrong = Vec::new();
    for (text, place, hint) in [
        (String::new(), "1:1", "version: 1"),
        ("- a\n".to_owned(), "1:1", "its members are"),
        (head.replace('1', "2"), "1:10", "write `version: 1`"),
        (head.replace('1', "one"), "1:10", "write `version: 1`"),
        ("version: 1\n".to_owned(), "1:1", "policies: [readonly]"),
        (head.replace("[readonly]", "readonly"), "2:11", "[one, another]"),
        (format!("{head}world: w.json\n"), "3:8", ""),
        (head.replace("readonly", "none.json"), "2:11", ""),
        (format!("{head}foo: 1\n"), "3:1", "there are version"),
        (format!("{head}tests: 5\n"), "3:8", "begin each"),
        (format!("{head}tests: [5]\n"), "3:9", "its members are"),
        (format!("{head}tests: [\n"), "", "indent"),
        (format!("{head}tests: &x []\ninvariants: *x\n"), "4:13", "write it out"),
        (test("expect", "allowed"), "8:11", "implicit-deny"),
        (test("expect", ""), "4:3", "write `expect: deny`"),
        (test("action", "s3:GetObjcet"), "6:11", "s3:GetObject"),
        (test("action", "GetObject"), "6:11", "s3:GetObject"),
        (test("resource", "arn:foo"), "7:13", "bucket/key"),
        (test("principal", "role/ops"), "5:14", "user/NAME"),
        (test("principal", "arn:aws:iam::0:user/ana"), "5:14", "user/NAME"),
        (test("principal", "[ana]"), "5:14", "write `principal: user/ana`"),
        (test("given", "[x]"), "9:10", "aws:SourceIp"),
        (test("given", "{a:b: [[1]]}"), "9:16", "aws:SourceIp"),
        (test("unknown", "5"), "9:12", "[one, another]"),
        (test("foo", "5"), "9:3", "there are name"),
        (invariant("foo: x"), "4:3", "there are nobody-except"),
        (invariant("on: b/*"), "4:3", "an invariant is"),
        (invariant("not-public: 5"), "4:15", "write `not-public"),
        (invariant("{nobody-except: [a], may: [s3:Put*], on: b/*}"), "4:3", "a `world`"),
        (invariant("no-more-permissive-than: none.json"), "4:28", ""),
    ] {
        fs::write(directory.join("t.yaml"), &text).expect("written");
        let said = run(directory, &["t.yaml"]);
        let named = said.contains(&format!("error: t.yaml:{place}"));
        if !named || !said.contains(hint) || !said.ends_with("=> 2\n\n") {
            wrong.push(format!("{text}{said}not {place}, {hint}"));
        }
    }
    fs::write(directory.join("t.yaml"), b"version: 1\n# \xff\n").expect("written");
    let said = run(directory, &["t.yaml"]);
    assert!(said.contains("error: t.yaml:2:3: the text is not UTF-8"), "{said}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
