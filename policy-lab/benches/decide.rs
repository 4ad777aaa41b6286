//! What a decision costs: `cargo bench -p policy-lab --bench decide`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

#[path = "measure/thread_time.rs"]
mod thread_time;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use policy_lab::explain::explain;
use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Guardrails, Policy, PolicySet, Principal,
    Request, Resource, evaluate, rule,
};

use self::thread_time::ThreadTime;

const STATEMENTS_PER_POLICY: usize = 4;

fn request() -> Request {
    let mut context = Context::new();
    for (key, value) in [
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:SecureTransport", "true"),
        ("aws:username", "alice"),
        ("aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"),
        ("aws:CurrentTime", "2026-11-23T10:00:00Z"),
        ("aws:EpochTime", "1795428000"),
        ("aws:UserAgent", "bench"),
        ("s3:authType", "REST-HEADER"),
        ("s3:signatureversion", "AWS4-HMAC-SHA256"),
        ("s3:TlsVersion", "1.3"),
        ("s3:x-amz-server-side-encryption", "aws:kms"),
    ] {
        context.set(key, value);
    }
    Request {
        action: Action::parse("s3:GetObject").expect("action"),
        resource: Resource::Object {
            bucket: "bucket-0".into(),
            key: "team/alice/report.csv".into(),
        },
        principal: Principal::user("000000000000", "alice"),
        context,
    }
}

/// Four statements on one bucket: reading, writing, listing, and a deny without TLS or from outside.
fn policy(number: usize) -> Attached {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket-{number}/team/*"}},
        {{"Effect":"Allow","Action":"s3:Put*","Resource":"arn:aws:s3:::bucket-{number}/team/${{aws:username}}/*"}},
        {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-{number}","Condition":{{"StringLike":{{"s3:prefix":"team/*"}}}}}},
        {{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket-{number}/*","Condition":{{"Bool":{{"aws:SecureTransport":"false"}},"NotIpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}}}]}}"#
    );
    let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
    Attached { name: Arc::from(format!("p{number}")), policy: Arc::new(policy) }
}

/// Five statements on one bucket without conditions: reading, writing, listing, deleting, and a deny below a prefix.
fn plain_policy(number: usize) -> Attached {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket-{number}/team/*"}},
        {{"Effect":"Allow","Action":"s3:Put*","Resource":"arn:aws:s3:::bucket-{number}/team/in/*"}},
        {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-{number}"}},
        {{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket-{number}/team/tmp/*"}},
        {{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket-{number}/team/closed/*"}}]}}"#
    );
    let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
    Attached { name: Arc::from(format!("p{number}")), policy: Arc::new(policy) }
}

/// The rows of the goal: ten statements without conditions, and ten thousand.
fn plain_decisions(criterion: &mut Criterion<ThreadTime>) {
    let request = request();
    let mut group = criterion.benchmark_group("decision without conditions");
    for statements in [10, 10_000] {
        let identity = (0..statements / 5).map(plain_policy).collect();
        let compiled = Compiled::new(PolicySet { identity, ..PolicySet::default() });
        compiled_decision(&mut group, statements, &compiled, &request);
    }
    group.finish();
}

/// With the names of what decided, and without.
fn compiled_decision(
    group: &mut BenchmarkGroup<'_, ThreadTime>,
    statements: usize,
    compiled: &Compiled,
    request: &Request,
) {
    assert!(evaluate(compiled, request).is_allowed());
    group.bench_function(format!("{statements} statements, compiled"), |bencher| {
        bencher.iter(|| evaluate(black_box(compiled), black_box(request)));
    });
    group.bench_function(format!("{statements} statements, compiled, no names"), |bencher| {
        bencher.iter(|| rule(black_box(compiled), black_box(request)));
    });
}

fn set(statements: usize) -> PolicySet {
    let identity = (0..statements / STATEMENTS_PER_POLICY).map(policy).collect();
    PolicySet { identity, ..PolicySet::default() }
}

fn decisions(criterion: &mut Criterion<ThreadTime>) {
    let request = request();
    let mut group = criterion.benchmark_group("decision");
    for statements in [4, 100, 1000, 10_000] {
        let set = set(statements);
        assert!(evaluate(&set, &request).is_allowed());
        group.bench_function(format!("{statements} statements, walked"), |bencher| {
            bencher.iter(|| evaluate(black_box(&set), black_box(&request)));
        });
        compiled_decision(&mut group, statements, &Compiled::new(set), &request);
    }
    group.finish();
}

fn guardrails(criterion: &mut Criterion<ThreadTime>) {
    let rego = r#"package s3.authz
import rego.v1
deny contains {"id": "tls", "msg": "plain HTTP"} if not input.env.tls
deny contains {"id": "outside", "msg": "not from here"} if not net.cidr_contains("10.0.0.0/8", input.env.source_ip)
"#;
    let loaded = Guardrails::load(vec![("bench.rego".into(), rego.into())]).expect("loads");
    let set = PolicySet { guardrails: Some(Arc::new(loaded)), ..set(4) };
    let request = request();
    assert!(evaluate(&set, &request).is_allowed());
    criterion.bench_function("decision with two rego rules", |bencher| {
        bencher.iter(|| evaluate(black_box(&set), black_box(&request)));
    });
}

fn parse(criterion: &mut Criterion<ThreadTime>) {
    let text = policy(0).policy.source().to_owned();
    criterion.bench_function("parse a policy of 4 statements", |bencher| {
        bencher.iter(|| Policy::parse(black_box(&text), DocumentKind::Identity));
    });
}

fn explanation(criterion: &mut Criterion<ThreadTime>) {
    let (set, request) = (set(4), request());
    criterion.bench_function("explain 4 statements", |bencher| {
        bencher.iter(|| explain(black_box(&set), black_box(&request)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime::new());
    targets = decisions, plain_decisions, explanation, guardrails, parse
}
criterion_main!(benches);
