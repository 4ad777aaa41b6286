//! What the review remarks, and that what it remarks, and what a fix takes out, changes no decision.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Divergence, Remark, Review, access, divergence, review};
use crate::analyze::tests::{allow, as_minio, requests, statement, with};
use crate::analyze::{Access, Verdict, fix, request_line};
use crate::{DocumentKind, Policy, Request};

fn text(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn policy(statements: &Value, kind: DocumentKind) -> Policy {
    Policy::parse(&text(statements), kind).unwrap_or_else(|error| panic!("{error}: {statements}"))
}

fn deny(mut statement: Value) -> Value {
    statement["Effect"] = json!("Deny");
    statement
}

fn to(mut statement: Value, principal: Value) -> Value {
    statement["Principal"] = principal;
    statement
}

/// Remarks as text, `N: what` for each, with the open questions.
fn remarks(policy: &Policy) -> Vec<String> {
    let Review { remarks, open, limit } = review(policy);
    assert_eq!((open, limit), (0, None));
    let said = |remark: &Remark| match remark {
        Remark::NeverFires { because, .. } => format!("never {}", because.join(" + ")),
        Remark::Shadowed { by } => format!("shadowed {by:?}"),
        Remark::Covered { by } => format!("covered {by:?}"),
    };
    remarks.iter().map(|it| format!("{} {}", it.statement, said(&it.remark))).collect()
}

#[test]
fn what_is_remarked() {
    let get = |resource: &str| allow("s3:GetObject", &format!("arn:aws:s3:::{resource}"));
    let from = |network: &str| json!({ "IpAddress": { "aws:SourceIp": network } });
    let cases: [(Value, &[&str]); 11] = [
        (json!([get("b/*"), get("c/*")]), &[]),
        (json!([get("b/*"), get("b/x*")]), &["1 covered [0]"]),
        (json!([get("b/x*"), get("b/*")]), &["0 covered [1]"]),
        // The later of two that say the same; and both halves are needed for the whole.
        (json!([get("b/*"), get("b/*")]), &["1 covered [0]"]),
        (
            json!([
                with(get("b/*"), from("10.0.0.0/9")),
                get("c/*"),
                with(get("b/*"), from("10.128.0.0/9")),
                with(get("b/x"), from("10.0.0.0/8")),
            ]),
            &["3 covered [0, 2]"],
        ),
        (json!([get("b/x*"), deny(allow("s3:*", "arn:aws:s3:::b/*"))]), &["0 shadowed [1]"]),
        (
            json!([deny(get("b/*")), deny(get("b/x")), get("b/*")]),
            &["1 covered [0]", "2 shadowed [0]"],
        ),
        // A Deny that no Allow of the document meets may well be meant for other policies.
        (json!([get("b/*"), deny(get("c/*"))]), &[]),
        (json!([get("b")]), &["0 never Action + Resource"]),
        (
            json!([with(
                get("b/*"),
                json!({
                    "StringEquals": { "aws:username": "a" },
                    "StringNotEquals": { "aws:username": ["a", "b"] },
                    "Bool": { "aws:SecureTransport": "true" },
                })
            )]),
            &[
                "0 never Condition StringEquals aws:username + Condition StringNotEquals aws:username",
            ],
        ),
        // Of several values there is no sure answer, so that a Deny on both may fire.
        (
            json!([deny(with(
                get("b/*"),
                json!({
                    "StringEquals": { "aws:username": "a" },
                    "StringNotEquals": { "aws:username": "a" },
                })
            ))]),
            &[],
        ),
    ];
    for (statements, expected) in cases {
        let policy = policy(&statements, DocumentKind::Identity);
        assert_eq!(remarks(&policy), expected, "{statements}");
    }
}

#[test]
fn callers_count_in_a_bucket_policy() {
    let alice = json!({ "AWS": "arn:aws:iam::000000000000:user/alice" });
    let get = |principal: Value| to(allow("s3:GetObject", "arn:aws:s3:::b/*"), principal);
    for (statements, expected) in [
        (json!([get(json!("*")), get(alice.clone())]), vec!["1 covered [0]"]),
        (json!([get(json!({ "AWS": "111122223333" }))]), vec!["0 never Principal"]),
        (
            json!([get(alice.clone()), deny(get(json!({ "AWS": "000000000000" })))]),
            vec!["0 shadowed [1]"],
        ),
        (json!([get(alice), deny(get(json!({ "AWS": "111122223333" })))]), vec![]),
    ] {
        let policy = policy(&statements, DocumentKind::Bucket);
        assert_eq!(remarks(&policy), expected, "{statements}");
    }
}

#[test]
fn a_long_document_is_left_open() {
    let statements: Vec<_> =
        (0..101).map(|n| allow("s3:GetObject", &format!("arn:aws:s3:::b/{n}"))).collect();
    let reviewed = review(&policy(&json!(statements), DocumentKind::Identity));
    assert_eq!((reviewed.open, reviewed.remarks.len()), (1, 0));
}

/// `>` MinIO allows more, `<` less, `x` both, `=` neither, `!` it refuses.
#[test]
fn where_the_profiles_part() {
    let object = || allow("s3:GetObject", "arn:aws:s3:::b/*");
    for (statements, expected) in [
        (object(), '='),
        (allow("s3:*", "*"), '='),
        (allow("s3:*", "arn:aws:s3:::b/*"), '>'),
        (allow("s3:GetObjectVersion", "arn:aws:s3:::b/*"), '>'),
        (allow("s3:getobject", "arn:aws:s3:::b/*"), '!'),
        // A wildcard in the name lets in more there; an empty name is none there, and one here.
        (allow("s3:Get*", "arn:aws:s3:::b/${aws:username}/*"), 'x'),
        (with(object(), json!({ "NumericNotEquals": { "s3:max-keys": "5" } })), '<'),
        (with(object(), json!({ "ForAllValues:StringNotEquals": { "aws:TagKeys": "a" } })), 'x'),
        (with(object(), json!({ "Bool": { "aws:SecureTransport": "true" } })), '<'),
        (
            with(object(), json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:user/a" } })),
            '!',
        ),
    ] {
        let found = match divergence(&policy(&statements, DocumentKind::Identity)) {
            Divergence::Refused(_) => '!',
            Divergence::Read(difference) => match (&difference.gained, &difference.lost) {
                (Verdict::Proved, Verdict::Proved) => '=',
                (Verdict::Refuted(_), Verdict::Proved) => '>',
                (Verdict::Proved, Verdict::Refuted(_)) => '<',
                (Verdict::Refuted(_), Verdict::Refuted(_)) => 'x',
                unknown => panic!("{statements}: {unknown:?}"),
            },
        };
        assert_eq!(found, expected, "{statements}");
    }
    // A bucket policy speaks of anonymous callers only, there.
    let user = json!({ "AWS": "arn:aws:iam::000000000000:user/alice" });
    let bucket = policy(&json!([to(object(), user)]), DocumentKind::Bucket);
    let Divergence::Read(difference) = divergence(&bucket) else { panic!("both read it") };
    assert!(matches!(difference.lost, Verdict::Refuted(_)) && difference.gained == Verdict::Proved);
}

#[test]
fn what_a_fix_leaves() {
    for (before, after) in [
        (
            r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "",
      "Effect": "Allow",
      "Action": ["s3:GetObject", "s3:Get*", "s3:PutObject"],
      "Resource": ["arn:aws:s3:::b/*", "arn:aws:s3:::b/x*"],
      "Condition": {}
    },
    { "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/y" },
    { "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::c/*" }
  ]
}
"#,
            r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:Get*", "s3:PutObject"],
      "Resource": ["arn:aws:s3:::b/*"]
    },
    { "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::c/*" }
  ]
}
"#,
        ),
        // MinIO reads `b/*` as `b` and its objects, AWS does not: the second entry stays.
        (
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"]}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"]}}"#,
        ),
        (r#"{"Statement":[{"Effect":"Alow"}]}"#, r#"{"Statement":[{"Effect":"Alow"}]}"#),
    ] {
        let fixed = fix(before, DocumentKind::Identity);
        assert_eq!(fixed.text, after);
        assert_eq!(fixed.changes.is_empty(), before == after);
    }
}

/// The same decisions, alone and beside another policy.
fn decides_the_same(before: &Access, after: &Access, other: &Access, requests: &[Request]) {
    let beside = |access: &Access| {
        let mut both = access.clone();
        both.policies.identity.extend(other.policies.identity.iter().cloned());
        both
    };
    let pairs = [(before.clone(), after.clone()), (beside(before), beside(after))];
    for (before, after) in pairs {
        for request in requests {
            let [before, after] = [&before, &after].map(|it| it.decide(request).is_allowed());
            assert_eq!(before, after, "{}", request_line(request));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_remarked_can_go_all_at_once(
        statements in prop::collection::vec(statement(false), 2..5),
        other in statement(false),
    ) {
        let whole = policy(&json!(statements), DocumentKind::Identity);
        let gone: Vec<usize> = review(&whole).remarks.iter().map(|it| it.statement).collect();
        let kept: Vec<_> =
            statements.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, s)| s).collect();
        let less = policy(&json!(kept), DocumentKind::Identity);
        let other = access(policy(&json!([other]), DocumentKind::Identity));
        let requests: Vec<_> = requests().into_iter().step_by(3).collect();
        decides_the_same(&access(whole), &access(less), &other, &requests);
    }

    #[test]
    fn a_fix_changes_no_decision(
        statements in prop::collection::vec(statement(true), 1..3),
        other in statement(false),
    ) {
        let before = text(&json!(statements));
        let fixed = fix(&before, DocumentKind::Identity);
        let read = |text: &str| access(Policy::parse(text, DocumentKind::Identity).expect("valid"));
        let (before, after) = (read(&before), read(&fixed.text));
        let other = access(policy(&json!([other]), DocumentKind::Identity));
        let requests: Vec<_> = requests().into_iter().step_by(3).collect();
        decides_the_same(&before, &after, &other, &requests);
        decides_the_same(&as_minio(&before), &as_minio(&after), &as_minio(&other), &requests);
    }
}
