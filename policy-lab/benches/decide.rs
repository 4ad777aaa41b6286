//! What a decision costs, and how fast a log is replayed: `cargo bench -p policy-lab --bench decide`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use policy_lab::explain::explain;
use policy_lab::replay::{
    Change, Complete, Recorded, RecordedDecision, World, audit_line, simulate,
};
use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Guardrails, Policy, PolicySet, Principal,
    Request, Resource, canned, evaluate, rule,
};

const STATEMENTS_PER_POLICY: usize = 4;

/// Processor time of the thread: what a decision costs, also on a machine that others use.
struct ThreadTime(WallTime);

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(now.tv_sec).expect("not negative");
        Duration::new(seconds, u32::try_from(now.tv_nsec).expect("below a second"))
    }

    fn end(&self, started: Duration) -> Duration {
        self.start() - started
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

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

fn set(statements: usize) -> PolicySet {
    let identity = (0..statements / STATEMENTS_PER_POLICY).map(policy).collect();
    PolicySet { identity, ..PolicySet::default() }
}

fn decisions(criterion: &mut Criterion<ThreadTime>) {
    let request = request();
    let mut group = criterion.benchmark_group("decision");
    for statements in [4, 100, 400, 1000, 10_000] {
        let set = set(statements);
        assert!(evaluate(&set, &request).is_allowed());
        group.bench_function(format!("{statements} statements, walked"), |bencher| {
            bencher.iter(|| evaluate(black_box(&set), black_box(&request)));
        });
        let compiled = Compiled::new(set);
        assert!(evaluate(&compiled, &request).is_allowed());
        group.bench_function(format!("{statements} statements, compiled"), |bencher| {
            bencher.iter(|| evaluate(black_box(&compiled), black_box(&request)));
        });
        group.bench_function(format!("{statements} statements, compiled, no names"), |bencher| {
            bencher.iter(|| rule(black_box(&compiled), black_box(&request)));
        });
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

fn replay(criterion: &mut Criterion<ThreadTime>) {
    const EVENTS: u64 = 1000;
    let recorded_set = set(4);
    let (manifest, digest) = (recorded_set.manifest(), recorded_set.digest());
    let source = recorded_set.identity[0].policy.source().to_owned();
    let world = || {
        let (manifest, source) = (manifest.clone(), source.clone());
        World::recorded(move |wanted| {
            Some(if wanted == digest { manifest.clone() } else { source.clone() })
        })
    };
    let baseline = world();
    let readonly = vec![canned::attached("readonly").expect("canned")];
    let draft = world().with(Change::Identity(readonly));
    let event = |seq| Recorded {
        id: format!("e{seq}"),
        seq: Some(seq),
        request: request(),
        recorded: Some(RecordedDecision {
            allowed: true,
            reason: Some("identity-allow".into()),
            digest: Some(hex::encode(digest)),
        }),
        complete: Complete::everything(),
    };
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("two worlds", |bencher| {
        bencher.iter(|| simulate(events.iter().cloned(), &baseline, &draft));
    });
    let line = record(&request(), &hex::encode(digest));
    group.bench_function("two worlds, from lines of the log", |bencher| {
        bencher.iter(|| {
            let read = |seq| audit_line(seq, line.as_bytes()).ok().flatten();
            let events = (0..EVENTS).filter_map(read).map(|event| event.recorded);
            simulate(events, &baseline, &draft)
        });
    });
    group.finish();
}

/// A decision record as the audit log has it.
fn record(request: &Request, digest: &str) -> String {
    let pair = |(key, values): (&str, &[String])| {
        format!(r#"{{"k":"{key}","v":["{}"]}}"#, values.join("\",\""))
    };
    let context: Vec<_> = request.context.iter().map(pair).collect();
    format!(
        r#"{{"action":"s3:GetObject","auth":{{"by":[{{"id":"identity:p0#0"}}],"ctx":[{}],"decision":"allow","digest":"{digest}","reason":"identity-allow","us":3}},"class":"data","event":"01JDBZ6V0G0000000000000001","phase":"decision","principal":{{"access_key":"alice","account":"000000000000","arn":"arn:aws:iam::000000000000:user/alice","name":"alice","type":"IAMUser"}},"resources":[{{"arn":"arn:aws:s3:::bucket-0/team/alice/report.csv","bucket":"bucket-0","key":"team/alice/report.csv"}}],"seq":12,"time":"2026-11-23T10:00:00.000001Z","v":1}}"#,
        context.join(",")
    )
}

fn load(criterion: &mut Criterion<ThreadTime>) {
    const STATEMENTS: usize = 10_000;
    let texts: Vec<_> = (0..STATEMENTS / STATEMENTS_PER_POLICY)
        .map(|number| policy(number).policy.source().to_owned())
        .collect();
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10).throughput(Throughput::Elements(STATEMENTS as u64));
    group.bench_function("parse and compile 10000 statements in 2500 policies", |bencher| {
        bencher.iter(|| {
            let attached = |text: &String| Attached {
                name: Arc::from("p"),
                policy: Arc::new(Policy::parse(text, DocumentKind::Identity).expect("valid")),
            };
            let identity = texts.iter().map(attached).collect();
            Compiled::new(PolicySet { identity, ..PolicySet::default() })
        });
    });
    let large = set(STATEMENTS);
    group.bench_function("compile 10000 statements", |bencher| {
        bencher.iter_batched(|| large.clone(), Compiled::new, BatchSize::LargeInput);
    });
    group.finish();
}

fn explanation(criterion: &mut Criterion<ThreadTime>) {
    let (set, request) = (set(4), request());
    criterion.bench_function("explain 4 statements", |bencher| {
        bencher.iter(|| explain(black_box(&set), black_box(&request)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime(WallTime));
    targets = decisions, explanation, guardrails, parse, load, replay
}
criterion_main!(benches);
