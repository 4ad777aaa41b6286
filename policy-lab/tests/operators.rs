//! The condition operators, held against tables that others can read and reuse.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

use std::sync::Arc;

use policy_lab::{
    Action, Attached, Context, DocumentError, DocumentKind, Effect, Policy, PolicySet, Principal,
    Profile, Request, Resource, evaluate,
};
use serde_json::json;

const KEY: &str = "test:key";

fn policy(effect: &str, operator: &str, value: &str) -> Result<Policy, DocumentError> {
    policy_as(Profile::AWS, effect, operator, KEY, value)
}

fn policy_as(
    profile: Profile,
    effect: &str,
    operator: &str,
    key: &str,
    value: &str,
) -> Result<Policy, DocumentError> {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": {
            "Effect": effect,
            "Action": "s3:GetObject",
            "Resource": "*",
            "Condition": { operator: { key: value } },
        },
    });
    Policy::parse_as(&document.to_string(), DocumentKind::Identity, profile)
}

/// Whether the statement takes effect.
fn applies(policy: Policy, context: Context) -> bool {
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    let set = PolicySet { identity, ..PolicySet::default() };
    let request = Request {
        action: Action::parse("s3:GetObject").expect("action"),
        resource: Resource::Object { bucket: "b".into(), key: "k".into() },
        principal: Principal::user("000000000000", "alice"),
        context,
    };
    evaluate(&set, &request).effect != Effect::ImplicitDeny
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| line.split('\t').collect())
}

/// Tries one row: `hit` and `miss` in every shape of the key, allowing and denying. Answers the number of checks.
fn check_row(
    profile: Profile,
    [operator, key, value, hit, miss]: [&str; 5],
    expected: &[&str],
) -> usize {
    let shapes: [Option<&[&str]>; 7] = [
        None,
        Some(&[]),
        Some(&[hit]),
        Some(&[miss]),
        Some(&[hit, hit]),
        Some(&[hit, miss]),
        Some(&[miss, miss]),
    ];
    assert_eq!(expected.len(), shapes.len(), "{operator}");
    for (shape, expected) in shapes.into_iter().zip(expected) {
        let mut context = Context::new();
        if let Some(values) = shape {
            context.set_many(key, values.iter().map(ToString::to_string).collect());
        }
        for (effect, applying) in [("Allow", "T"), ("Deny", "TU")] {
            let policy = policy_as(profile, effect, operator, key, value).expect("valid policy");
            let actual = applies(policy, context.clone());
            assert_eq!(
                actual,
                applying.contains(expected),
                "{}: {effect} {operator} {shape:?}",
                profile.name
            );
        }
    }
    shapes.len() * 2
}

#[test]
fn every_operator_against_every_shape_of_a_key() {
    let mut checked = 0;
    for row in rows(include_str!("data/operators.tsv")) {
        let [operator, value, hit, miss, expected @ ..] = row.as_slice() else {
            panic!("short row: {row:?}")
        };
        checked += check_row(Profile::AWS, [operator, KEY, value, hit, miss], expected);
    }
    assert_eq!(checked, (26 * 6 + 2) * 7 * 2, "26 operators with qualifiers, and Null");
}

#[test]
fn every_operator_as_minio_reads_it() {
    let mut checked = 0;
    for row in rows(include_str!("data/operators-minio.tsv")) {
        let [operator, key, value, hit, miss, expected @ ..] = row.as_slice() else {
            panic!("short row: {row:?}")
        };
        checked += check_row(Profile::MINIO, [operator, key, value, hit, miss], expected);
    }
    assert_eq!(checked, (6 * 3 + 6 * 3 + 1 + 6 + 1 + 2 + 2) * 7 * 2);
    for (operator, key, value) in [
        ("ArnLike", KEY, "arn:aws:s3:::b"),
        ("StringEqualsIfExists", KEY, "a"),
        ("Bool", KEY, "true"),
        ("IpAddress", "aws:VpcSourceIp", "10.0.0.0/8"),
        ("NumericEquals", KEY, "1.5"),
        ("DateEquals", KEY, "2026-01-01"),
    ] {
        let error = policy_as(Profile::MINIO, "Allow", operator, key, value).expect_err(operator);
        assert!(error.message.contains("profile `minio`"), "{error}");
        assert!(policy_as(Profile::AWS, "Allow", operator, key, value).is_ok(), "{operator}");
    }
}

#[test]
fn one_value_against_one_value() {
    for row in rows(include_str!("data/values.tsv")) {
        let [operator, pattern, value, expected] = row.as_slice() else {
            panic!("odd row: {row:?}")
        };
        let mut context = Context::new();
        context.set("aws:username", "al*ce");
        context.set("aws:PrincipalTag/team", "red");
        context.set(KEY, *value);
        let actual = match policy("Allow", operator, pattern).map(|policy| applies(policy, context))
        {
            Err(_) => "E",
            Ok(true) => "T",
            Ok(false) => "F",
        };
        assert_eq!(actual, *expected, "{operator} {pattern} {value}");
    }
}

#[test]
fn variables_are_plain_text_before_2012() {
    let document = json!({
        "Statement": {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "*",
            "Condition": { "StringEquals": { KEY: "${aws:username}" } },
        },
    });
    for (value, expected) in [("${aws:username}", true), ("alice", false)] {
        let policy = Policy::parse(&document.to_string(), DocumentKind::Identity).expect("valid");
        let mut context = Context::new();
        context.set("aws:username", "alice");
        context.set(KEY, value);
        assert_eq!(applies(policy, context), expected);
    }
}

/// Values of one key are alternatives, for a negated operator none may fit; keys and operators must all hold.
#[test]
fn values_keys_and_operators_combine() {
    let condition = |condition: serde_json::Value| {
        let document = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": condition,
        }});
        let policy = Policy::parse(&document.to_string(), DocumentKind::Identity).expect("valid");
        let mut context = Context::new();
        context.set("test:a", "1");
        context.set("test:b", "2");
        applies(policy, context)
    };
    assert!(condition(json!({})));
    assert!(condition(json!({ "StringEquals": { "test:a": ["0", "1"] } })));
    assert!(!condition(json!({ "StringNotEquals": { "test:a": ["0", "1"] } })));
    assert!(!condition(json!({ "StringEquals": { "test:a": "1", "test:b": "1" } })));
    assert!(condition(json!({ "StringEquals": { "test:a": "1", "test:b": "2" } })));
    assert!(!condition(json!({ "StringEquals": { "test:a": "1" }, "Null": { "TEST:B": true } })));
    assert!(condition(json!({ "NumericEquals": { "test:a": 1 }, "Null": { "TEST:B": false } })));
}
