use proptest::prelude::*;

use super::{DocumentKind, Policy, STATEMENTS_MAX};

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
        }
    }

    #[test]
    fn arbitrary_text(text in ".{0,60}") {
        let _ = Policy::parse(&text, DocumentKind::Bucket);
    }
}
