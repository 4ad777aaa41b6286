//! What a review costs beside replaying a log: `cargo bench -p policy-lab --no-default-features --bench review`.
//!
//! Linting a thousand policies, and the matrix of who gains what: every one of a thousand principals asks two hundred
//! questions of a world with two hundred policies and of the same world with half of them changed. Processor time.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

#[path = "measure/thread_time.rs"]
mod thread_time;

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use policy_lab::lint::lint;
use policy_lab::replay::{
    Change, Complete, Export, ExportedGroup, ExportedUser, ExportedWorld, Recorded, SCHEMA, World,
    caller_context, simulate,
};
use policy_lab::{Action, Context, DocumentKind, Request, Resource, report};

use self::thread_time::ThreadTime;

const POLICIES: usize = 200;
const PRINCIPALS: usize = 1_000;
const LINTED: usize = 1_000;

/// What a team may do in its bucket; a changed policy has no more writing.
fn policy(number: usize, is_changed: bool) -> String {
    let write = if is_changed { "s3:PutObjectTagging" } else { "s3:PutObject" };
    format!(
        r#"{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Sid": "List",
      "Effect": "Allow",
      "Action": "s3:ListBucket",
      "Resource": "arn:aws:s3:::team-{number}",
      "Condition": {{ "StringLike": {{ "s3:prefix": ["", "home/${{aws:username}}/*"] }} }}
    }},
    {{
      "Sid": "Write",
      "Effect": "Allow",
      "Action": ["s3:GetObject", "{write}", "s3:DeleteObject"],
      "Resource": "arn:aws:s3:::team-{number}/home/${{aws:username}}/*"
    }},
    {{
      "Sid": "Inside",
      "Effect": "Deny",
      "Action": "s3:*",
      "Resource": ["arn:aws:s3:::team-{number}", "arn:aws:s3:::team-{number}/*"],
      "Condition": {{ "NotIpAddress": {{ "aws:SourceIp": ["10.0.0.0/8", "192.0.2.0/24"] }} }}
    }}
  ]
}}"#
    )
}

/// Each user has three policies, two of them by groups.
fn world(is_draft: bool) -> Arc<Export> {
    let name = |number: usize| format!("policy-{number}");
    let policies: BTreeMap<_, _> =
        (0..POLICIES).map(|n| (name(n), policy(n, is_draft && n % 2 == 0))).collect();
    let user =
        |n: usize| ExportedUser { enabled: true, policies: BTreeSet::from([name(n % POLICIES)]) };
    let group = |g: usize| ExportedGroup {
        enabled: true,
        members: (0..PRINCIPALS).filter(|n| n % 20 == g || n % 21 == g).map(user_name).collect(),
        policies: BTreeSet::from([name(g * 7 % POLICIES)]),
    };
    let world = ExportedWorld {
        schema: SCHEMA.to_owned(),
        v: 1,
        users: (0..PRINCIPALS).map(|n| (user_name(n), user(n))).collect(),
        groups: (0..20).map(|g| (format!("group-{g}"), group(g))).collect(),
        policies,
        ..ExportedWorld::default()
    };
    Arc::new(Export::new(world).expect("a world"))
}

fn user_name(number: usize) -> String {
    format!("user-{number}")
}

/// Every principal asks once for each policy's bucket.
fn questions(world: &Export) -> Vec<Recorded> {
    let mut given = Context::new();
    given.set("aws:SourceIp", "10.1.2.3");
    let action = Action::parse("s3:PutObject").expect("an action");
    let principals: Vec<_> = world.principals().collect();
    let ask = |principal: &policy_lab::Principal, bucket: usize| Recorded {
        id: String::new(),
        seq: None,
        request: Request {
            action: action.clone(),
            resource: Resource::Object {
                bucket: format!("team-{bucket}"),
                key: format!("home/{}/x", principal.name),
            },
            context: caller_context(&given, principal),
            principal: principal.clone(),
        },
        recorded: None,
        complete: Complete::everything(),
    };
    let asks = |principal| (0..POLICIES).map(move |bucket| ask(principal, bucket));
    principals.iter().flat_map(asks).collect()
}

fn matrix(criterion: &mut Criterion<ThreadTime>) {
    let (before, after) = (world(false), world(true));
    let questions = questions(&before);
    let ask = || {
        let baseline = World::exported(Arc::clone(&before));
        let draft = World::exported(Arc::clone(&before)).with(Change::World(Arc::clone(&after)));
        simulate(questions.iter().cloned(), &baseline, &draft)
    };
    let outcome = ask();
    assert_eq!(outcome.totals.evaluated, (PRINCIPALS * POLICIES) as u64);
    assert!(outcome.totals.newly_denied > 100, "somebody loses something");
    let mut group = criterion.benchmark_group("who gains what");
    group.sample_size(10).throughput(Throughput::Elements((PRINCIPALS * POLICIES) as u64));
    group.bench_function("1000 principals, 200 policies, 200 questions each", |bencher| {
        bencher.iter(|| report::json(black_box(&ask())));
    });
    group.finish();
}

fn linting(criterion: &mut Criterion<ThreadTime>) {
    let texts: Vec<_> = (0..LINTED).map(|number| policy(number, number % 3 == 0)).collect();
    let mut group = criterion.benchmark_group("lint");
    group.sample_size(10).throughput(Throughput::Elements(LINTED as u64));
    group.bench_function("1000 policies", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(lint(black_box(text), DocumentKind::Identity));
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime::new());
    targets = linting, matrix
}
criterion_main!(benches);
