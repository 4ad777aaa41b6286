//! What a proof costs: `cargo bench -p policy-lab --bench prove`.
//!
//! A corpus of policies as teams write them, each compared in both directions with copies in which one thing was
//! changed. Half of the questions end in a proof, which needs the whole search. A proof has no typical cost, so the
//! percentiles of all questions are printed instead of a mean.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use policy_lab::analyze::{Access, Verdict, World, no_more_permissive, statements};
use policy_lab::{Attached, DocumentKind, Policy, PolicySet};
use serde_json::{Value, json};

const POLICIES: usize = 100;
const ROUNDS: usize = 3;

fn main() {
    let pairs = pairs();
    let mut times = Vec::new();
    let (mut proved, mut refuted, mut unknown) = (0, 0, 0);
    for (a, b) in &pairs {
        let mut best = Duration::MAX;
        let mut verdict = None;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            verdict = Some(no_more_permissive(a, b, World::S3));
            best = best.min(start.elapsed());
        }
        match verdict {
            Some(Verdict::Proved) => proved += 1,
            Some(Verdict::Refuted(_)) => refuted += 1,
            _ => unknown += 1,
        }
        times.push(best);
    }
    println!("no-more-permissive: {proved} proved, {refuted} refuted, {unknown} unknown");
    percentiles("no-more-permissive", times);
    let each = pairs.iter().step_by(8).map(|(a, _)| {
        let start = Instant::now();
        assert!(!statements(a, World::S3).is_empty());
        start.elapsed()
    });
    percentiles("statements of a policy", each.collect());
    hostile();
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
    println!(
        "{what}: {} questions, p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
}

/// What is refused instead of answered is refused soon.
fn hostile() {
    let infix = |n: usize| format!("arn:aws:s3:::b/*{n}x{n}*");
    let wild: Vec<_> = (0..40).map(infix).collect();
    let wild = access(&json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": wild }]));
    let all = access(&json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
    let start = Instant::now();
    let verdict = no_more_permissive(&wild, &all, World::S3);
    let verdict = if verdict == Verdict::Proved { "proved" } else { "not proved" };
    println!("40 infix patterns within all: {verdict} in {:?}", start.elapsed());
}

fn access(statements: &Value) -> Access {
    let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = Policy::parse(&document, DocumentKind::Identity).expect("valid");
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    Access { policies: PolicySet { identity, ..PolicySet::default() }, bucket: None }
}

/// Every policy against itself and against changed copies, both ways.
fn pairs() -> Vec<(Access, Access)> {
    let mut pairs = Vec::new();
    for number in 0..POLICIES {
        let original = policy(number);
        let before = access(&original);
        for change in 0..4 {
            let after = access(&changed(original.clone(), number, change));
            pairs.push((before.clone(), after.clone()));
            pairs.push((after, before.clone()));
        }
    }
    pairs
}

/// Two to ten statements on one to three buckets.
fn policy(number: usize) -> Value {
    let mut all = Vec::new();
    for part in 0..=number % 3 {
        let bucket = format!("team-{}", (number + part) % 7);
        let object = |key: &str| format!("arn:aws:s3:::{bucket}/{key}");
        let list = format!("arn:aws:s3:::{bucket}");
        all.push(json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": list,
            "Condition": { "StringLike": { "s3:prefix": ["", format!("in-{part}/*"), "shared/*"] } } }));
        all.push(json!({ "Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": [object("shared/*"), object(&format!("in-{}/*", number % 5))] }));
        if number.is_multiple_of(2) {
            all.push(json!({ "Effect": "Allow", "Action": "s3:Put*", "Resource": object("in-?/*"),
                "Condition": { "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "192.0.2.0/24"] },
                    "StringEquals": { "s3:x-amz-server-side-encryption": ["aws:kms", "AES256"] } } }));
        }
        if number % 4 == 1 {
            all.push(json!({ "Effect": "Allow", "Action": "s3:*",
                "Resource": object("home/${aws:username}/*") }));
        }
    }
    all.push(json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*",
        "Condition": { "Bool": { "aws:SecureTransport": "false" } } }));
    if number.is_multiple_of(3) {
        all.push(json!({ "Effect": "Deny", "NotAction": "s3:Get*", "Resource": "arn:aws:s3:::*/shared/*",
            "Condition": { "StringNotEqualsIfExists": { "s3:ExistingObjectTag/stage": ["draft", "test"] },
                "NumericLessThan": { "s3:TlsVersion": 1.2 } } }));
    }
    Value::Array(all)
}

fn changed(mut policy: Value, number: usize, change: usize) -> Value {
    let statements = policy.as_array_mut().expect("a list");
    let at = number % statements.len();
    match change {
        // The same in another order.
        0 => statements.reverse(),
        1 => drop(statements.remove(at)),
        2 => statements.push(json!({ "Effect": "Allow", "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::team-{}/shared/public/*", number % 7) })),
        _ => {
            statements[at]["Condition"] =
                json!({ "NotIpAddress": { "aws:SourceIp": "10.1.0.0/16" } })
        }
    }
    policy
}
