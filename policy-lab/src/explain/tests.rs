use std::sync::Arc;

use super::{Detail, Miss, Relevance, explain, json, text};
use crate::{
    Action, Attached, Context, DocumentKind, Effect, Policy, PolicySet, Principal, Request,
    Resource,
};

fn attached(name: &str, text: &str, kind: DocumentKind) -> Attached {
    Attached { name: Arc::from(name), policy: Arc::new(Policy::parse(text, kind).expect("valid")) }
}

const WRITER: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Sid": "Upload", "Effect": "Allow", "Action": "s3:PutObject",
      "Resource": "arn:aws:s3:::ledger/incoming/*",
      "Condition": {
        "StringEquals": { "s3:x-amz-server-side-encryption": "aws:kms" },
        "Bool": { "aws:SecureTransport": true }
      } },
    { "Sid": "Read", "Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::ledger/*" },
    { "Sid": "Inside", "Effect": "Deny", "Action": "s3:*", "Resource": "*",
      "Condition": { "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } } }
  ]
}"#;

const BUCKET: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Principal": { "AWS": "000000000000" }, "Action": "s3:*",
      "Resource": "arn:aws:s3:::ledger/*" }
  ]
}"#;

fn set() -> PolicySet {
    PolicySet {
        identity: vec![attached("writer", WRITER, DocumentKind::Identity)],
        bucket: Some(attached("ledger", BUCKET, DocumentKind::Bucket)),
        ..PolicySet::default()
    }
}

fn put(pairs: &[(&str, &str)]) -> Request {
    let pairs = pairs.iter().map(|(key, value)| (*key, vec![(*value).to_owned()]));
    Request {
        action: Action::parse("s3:PutObject").expect("action"),
        resource: Resource::Object { bucket: "ledger".into(), key: "incoming/q3.csv".into() },
        principal: Principal::user("000000000000", "alice"),
        context: Context::from_pairs(pairs),
    }
}

#[test]
fn texts() {
    let inside = ("aws:SourceIp", "10.1.2.3");
    let tls = ("aws:SecureTransport", "true");
    let kms = ("s3:x-amz-server-side-encryption", "aws:kms");
    let aes = ("s3:x-amz-server-side-encryption", "AES256");
    let mut texts = Vec::new();
    for pairs in [
        vec![inside, tls, kms],
        vec![inside, tls, aes],
        vec![inside],
        vec![tls, kms, ("aws:SourceIp", "192.0.2.7")],
    ] {
        texts.push(text(&explain(&set(), &put(&pairs)), Detail::Relevant));
    }
    let mut elsewhere = put(&[inside, tls, kms]);
    elsewhere.resource = Resource::Bucket("other".into());
    texts.push(text(&explain(&set(), &elsewhere), Detail::All));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn the_nearest_statement_and_the_smallest_change() {
    let request = put(&[
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:SecureTransport", "true"),
        ("s3:x-amz-server-side-encryption", "AES256"),
    ]);
    let explanation = explain(&set(), &request);
    let nearest = &explanation.statements[explanation.nearest.expect("one")];
    assert_eq!((nearest.at.sid.as_deref(), nearest.line), (Some("Upload"), 4));
    assert_eq!(nearest.relevance(), Relevance::NearMiss);
    let [failing] = nearest.failing().collect::<Vec<_>>()[..] else { panic!("one fails") };
    assert_eq!((failing.miss, failing.line, failing.column), (Some(Miss::ValueNotListed), 7, 27));
    let flip = explanation.flip.expect("one key");
    assert_eq!(flip.effect, Effect::Allow);
    let [change] = flip.changes.as_slice() else { panic!("one key") };
    assert_eq!(change.key, "s3:x-amz-server-side-encryption");
    assert_eq!(change.to.as_deref(), Some("aws:kms"));
}

#[test]
fn two_keys_when_one_is_not_enough() {
    let explanation = explain(&set(), &put(&[("aws:SourceIp", "10.1.2.3")]));
    assert_eq!(explanation.flip.expect("two keys").changes.len(), 2);
    let allowed = explain(
        &set(),
        &put(&[
            ("aws:SourceIp", "10.1.2.3"),
            ("aws:SecureTransport", "true"),
            ("s3:x-amz-server-side-encryption", "aws:kms"),
        ]),
    );
    assert_eq!(allowed.flip.expect("any of them").effect, Effect::ImplicitDeny);
}

#[test]
fn json_is_one_object() {
    let value: serde_json::Value =
        serde_json::from_str(&json(&explain(&set(), &put(&[])))).expect("JSON");
    assert_eq!(value["effect"], "explicit-deny");
    assert_eq!(value["statements"][0]["elements"][2]["miss"], "key-absent");
    assert_eq!(value["statements"][3]["elements"][0]["miss"], "principal-account-only");
}
