use proptest::prelude::*;

use super::{DocumentKind, Policy, STATEMENTS_MAX};
use crate::Profile;

/// Every fault names its place; the table is text that people read.
#[test]
fn faults_name_line_column_and_remedy() {
    let statement =
        |body: &str| format!("{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{body}]\n}}");
    let s3 = r#""Effect": "Allow", "Action": "s3:GetObject", "Resource": "*""#;
    let identity = [
        "{".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"Version": "2012-10-18", "Statement": []}"#.to_owned(),
        r#"{"Id": "x", "Statement": []}"#.to_owned(),
        r#"{"statement": []}"#.to_owned(),
        r#"{"Statement": [], "Statement": []}"#.to_owned(),
        statement(r#"{"Effect": "allow", "Action": "s3:*", "Resource": "*"}"#),
        statement(r#"{"Effect": "Allow", "Action": "s3:*"}"#),
        statement(r#"{"Effect": "Allow", "Resource": "*"}"#),
        statement(r#"{"Action": "s3:*", "Resource": "*"}"#),
        statement(
            r#"{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObjet"], "Resource": "*"}"#,
        ),
        statement(r#"{"Effect": "Allow", "Action": [], "Resource": "*"}"#),
        statement(
            r#"{"Effect": "Allow", "Action": "s3:*", "NotAction": "s3:Get*", "Resource": "*"}"#,
        ),
        statement(r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "bucket/*"}"#),
        statement(r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::"}"#),
        statement(
            r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:username"}"#,
        ),
        statement(&format!(r#"{{{s3}, "Principal": "*"}}"#)),
        statement(&format!(r#"{{{s3}, "Sid": "a"}}, {{{s3}, "Sid": "a"}}"#)),
        statement(&format!(
            r#"{{{s3}, "Condition": {{"stringequals": {{"aws:username": "a"}}}}}}"#
        )),
        statement(&format!(r#"{{{s3}, "Condition": {{"StringEquals": {{"username": "a"}}}}}}"#)),
        statement(&format!(
            r#"{{{s3}, "Condition": {{"IpAddress": {{"aws:SourceIp": ["::1", "10.0.0"]}}}}}}"#
        )),
        statement(&format!(
            r#"{{{s3}, "Condition": {{"Bool": {{"aws:SecureTransport": null}}}}}}"#
        )),
        statement(&format!(r#"{{{s3}, "Conditions": {{}}}}"#)),
    ];
    let principal = |principal: &str| statement(&format!(r#"{{{s3}, "Principal": {principal}}}"#));
    let bucket = [
        principal("[]"),
        principal(r#""alice""#),
        principal(r#"{"AWS": "arn:aws:iam::000000000000:user/*"}"#),
        principal(r#"{"AWS": "alice"}"#),
        principal(r#"{"Aws": "*"}"#),
        statement(&format!(r#"{{{s3}, "NotPrincipal": "*"}}"#)),
        statement(
            r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:sqs:::q"}"#,
        ),
        " ".repeat(20 * 1024 + 1),
    ];
    let faults = |texts: &[String], kind| {
        let fault = |text: &String| Policy::parse(text, kind).expect_err(text).to_string();
        texts.iter().map(fault).collect::<Vec<_>>().join("\n")
    };
    let text = format!(
        "{}\n{}",
        faults(&identity, DocumentKind::Identity),
        faults(&bucket, DocumentKind::Bucket)
    );
    insta::assert_snapshot!(text);
}

const SLIPS: &str = r#"{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*",
"arn:aws:iam::000000000042:user/bob"],"Federated":"f"},"Action":["s3:GetObject","s3:Put*"],"Resource":["arn:aws:s3:::b/${aws:username}/*",
"arn:aws:s3:::b"],"Condition":{"StringLike":{"aws:username":"${aws:userid, 'x'}"},"ForAnyValue:StringEquals":{"s3:prefix":["a\u00e9\n"]},
"NumericLessThanEquals":{"s3:max-keys":-10.5},"DateLessThan":{"aws:CurrentTime":"2026-01-31T12:00:00Z"},"Bool":{"aws:SecureTransport":true},
"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::1"]},"BinaryEquals":{"x:y":"aGk="},"Null":{"aws:Referer":"true"},
"ArnLikeIfExists":{"aws:PrincipalArn":"arn:aws:iam::*:user/a"}}},{"Sid":"b","Effect":"Deny","NotPrincipal":"*","NotAction":"*","NotResource":"*"}]}"#;

#[test]
fn statements_are_counted() {
    let statement = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;
    let document =
        |count: usize| format!("{{\"Statement\":[{}]}}", vec![statement; count].join(","));
    let parse = |text: &str| Policy::parse(text, DocumentKind::Identity);
    assert_eq!(parse(&document(STATEMENTS_MAX)).expect("valid").statement_count(), STATEMENTS_MAX);
    assert!(parse(&document(STATEMENTS_MAX + 1)).is_err());
}

#[test]
fn digest_is_of_the_source_text() {
    let text = " {\"Statement\":[]}\n";
    let policy = Policy::parse(text, DocumentKind::Identity).expect("valid");
    assert_eq!(policy.source(), text);
    assert_eq!(
        hex::encode(policy.digest()),
        "e6d75b8919399ec19fcf0f582e5db356cf7f3fd2e0c17cfa5ac67f5ecd0c4a6d"
    );
}

proptest! {
    /// Near-policies of every kind: no panic, and every place lies in the text.
    #[test]
    fn hostile_documents(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"Statement\"", "\"Effect\"", "\"Allow\"", "\"Action\"",
            "\"s3:*\"", "\"Resource\"", "\"*\"", "\"arn:aws:s3:::b/${a\"", "\"Condition\"", "\"Bool\"",
            "1", "null", "\"Principal\"", "\"AWS\"", "\n", "\"\\u00e9\"",
        ]), 0..30),
        kind in prop::sample::select(vec![DocumentKind::Identity, DocumentKind::Bucket]),
    ) {
        let text = pieces.concat();
        if let Err(error) = Policy::parse(&text, kind) {
            prop_assert!(error.line <= text.matches('\n').count() + 1);
            prop_assert!(error.column <= text.chars().count() + 1);
            prop_assert!(error.hint.is_some(), "{error}");
        }
    }

    #[test]
    fn arbitrary_text(text in ".{0,60}") {
        if let Err(error) = Policy::parse(&text, DocumentKind::Bucket) {
            prop_assert!(error.hint.is_some(), "{error}");
        }
    }

    /// A policy with every kind of value and a slip of the hand: whoever is told that it is wrong is told what to do.
    #[test]
    fn a_slip_has_a_remedy(
        at in 0..SLIPS.len(),
        kept in 0..3_usize,
        typed in prop::sample::select(vec!["", "x", "\"", "\\", ",", "{", "]", "*", ":", "$", "-", "9", "\t"]),
        profile in prop::sample::select(vec![Profile::AWS, Profile::MINIO]),
    ) {
        let (before, after) = (SLIPS.chars().take(at), SLIPS.chars().skip(at + kept));
        let text: String = before.chain(typed.chars()).chain(after).collect();
        if let Err(error) = Policy::parse_as(&text, DocumentKind::Bucket, profile) {
            prop_assert!(error.hint.is_some(), "{error}\n{text}");
        }
    }
}
