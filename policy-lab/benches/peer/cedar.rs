//! What a decision costs beside `cedar-policy`, on policies that say the same in both languages.
//!
//! Four statements per bucket: reading and writing below a prefix, listing below a prefix, and a denial of plain HTTP from
//! outside. Before anything is timed, both engines answer a grid of requests, and must agree on every one. Cedar has no
//! variables in patterns, so none is used. Reported is processor time; parsing of requests and, for Cedar, of entities is
//! not in it.

#[path = "../measure/thread_time.rs"]
mod thread_time;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy as cedar;
use cedar_policy::RestrictedExpression as Literal;
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Policy, PolicySet, Principal, Request,
    Resource, evaluate, rule,
};

use self::thread_time::ThreadTime;

const STATEMENTS_PER_POLICY: usize = 4;

const WARM_UP: Duration = Duration::from_secs(3);

/// What is asked, for both engines.
#[derive(Clone, Copy, Debug)]
struct Question {
    action: &'static str,
    bucket: usize,
    /// `None`: the bucket itself.
    key: Option<&'static str>,
    prefix: &'static str,
    tls: bool,
    ip: &'static str,
}

const TIMED: Question = Question {
    action: "s3:GetObject",
    bucket: 0,
    key: Some("team/alice/report.csv"),
    prefix: "",
    tls: true,
    ip: "10.1.2.3",
};

fn questions(buckets: usize) -> Vec<Question> {
    let mut questions = vec![TIMED];
    for bucket in [0, buckets / 2, buckets] {
        for tls in [true, false] {
            for ip in ["10.1.2.3", "192.0.2.1"] {
                let of = |action, key, prefix| Question { action, bucket, key, prefix, tls, ip };
                for key in ["team/alice/report.csv", "shared/x", "other/x"] {
                    for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"] {
                        questions.push(of(action, Some(key), ""));
                    }
                }
                for prefix in ["team/", "other/"] {
                    questions.push(of("s3:ListBucket", None, prefix));
                }
            }
        }
    }
    questions
}

fn ours(buckets: usize) -> Compiled {
    let policy = |bucket: usize| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket-{bucket}/team/*"}},
            {{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket-{bucket}/shared/*"}},
            {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-{bucket}","Condition":{{"StringLike":{{"s3:prefix":"team/*"}}}}}},
            {{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket-{bucket}/*","Condition":{{"Bool":{{"aws:SecureTransport":"false"}},"NotIpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}}}]}}"#
        );
        let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
        Attached { name: Arc::from(format!("p{bucket}")), policy: Arc::new(policy) }
    };
    let identity = (0..buckets).map(policy).collect();
    Compiled::new(PolicySet { identity, ..PolicySet::default() })
}

fn our_request(question: &Question) -> Request {
    let mut context = Context::new();
    context.set("aws:SecureTransport", question.tls.to_string());
    context.set("aws:SourceIp", question.ip);
    context.set("s3:prefix", question.prefix);
    let bucket = format!("bucket-{}", question.bucket);
    let resource = match question.key {
        None => Resource::Bucket(bucket),
        Some(key) => Resource::Object { bucket, key: key.to_owned() },
    };
    Request {
        action: Action::parse(question.action).expect("an action"),
        resource,
        principal: Principal::user("000000000000", "alice"),
        context,
    }
}

fn theirs(buckets: usize) -> cedar::PolicySet {
    let mut text = String::new();
    for bucket in 0..buckets {
        let bucket = format!("Bucket::\"bucket-{bucket}\"");
        write!(
            text,
            r#"
            permit(principal, action in [Action::"s3:GetObject", Action::"s3:GetObjectVersion"], resource is Object in {bucket})
                when {{ context.key like "team/*" }};
            permit(principal, action == Action::"s3:PutObject", resource is Object in {bucket})
                when {{ context.key like "shared/*" }};
            permit(principal, action == Action::"s3:ListBucket", resource == {bucket})
                when {{ context.prefix like "team/*" }};
            forbid(principal, action, resource is Object in {bucket})
                when {{ !context.tls && !context.ip.isInRange(ip("10.0.0.0/8")) }};"#
        )
        .expect("written");
    }
    text.parse().expect("valid")
}

/// A request with the entities that it speaks of.
fn their_request(question: &Question) -> (cedar::Request, cedar::Entities) {
    let uid = |text: String| text.parse::<cedar::EntityUid>().expect("an entity");
    let bucket = uid(format!("Bucket::\"bucket-{}\"", question.bucket));
    let mut entities = vec![entity(bucket.clone(), [])];
    let resource = match question.key {
        None => bucket,
        Some(key) => {
            let object = uid(format!("Object::\"bucket-{}/{key}\"", question.bucket));
            entities.push(entity(object.clone(), [bucket]));
            object
        }
    };
    let context = cedar::Context::from_pairs([
        ("key".to_owned(), Literal::new_string(question.key.unwrap_or_default().to_owned())),
        ("prefix".to_owned(), Literal::new_string(question.prefix.to_owned())),
        ("tls".to_owned(), Literal::new_bool(question.tls)),
        ("ip".to_owned(), Literal::new_ip(question.ip)),
    ]);
    let request = cedar::Request::new(
        uid("User::\"alice\"".to_owned()),
        uid(format!("Action::\"{}\"", question.action)),
        resource,
        context.expect("a context"),
        None,
    );
    let entities = cedar::Entities::from_entities(entities, None).expect("a tree");
    (request.expect("a request"), entities)
}

fn entity(
    uid: cedar::EntityUid,
    parents: impl IntoIterator<Item = cedar::EntityUid>,
) -> cedar::Entity {
    let parents: HashSet<_> = parents.into_iter().collect();
    cedar::Entity::new(uid, HashMap::new(), parents).expect("an entity")
}

fn decisions(criterion: &mut Criterion<ThreadTime>) {
    let authorizer = cedar::Authorizer::new();
    let mut group = criterion.benchmark_group("decision");
    for statements in [10, 100, 1_000, 10_000] {
        let buckets = statements / STATEMENTS_PER_POLICY;
        let (ours, theirs) = (ours(buckets), theirs(buckets));
        let mut allowed = 0;
        for question in questions(buckets) {
            let we = evaluate(&ours, &our_request(&question)).is_allowed();
            let (request, entities) = their_request(&question);
            let they = authorizer.is_authorized(&request, &theirs, &entities);
            assert!(they.diagnostics().errors().next().is_none(), "{question:?}");
            assert_eq!(we, they.decision() == cedar::Decision::Allow, "{question:?}");
            allowed += usize::from(we);
        }
        assert!(allowed > 5, "some are allowed");
        let request = our_request(&TIMED);
        group.sampling_mode(SamplingMode::Auto).sample_size(100).warm_up_time(WARM_UP);
        group.bench_function(format!("{statements} statements, policy-lab"), |bencher| {
            bencher.iter(|| rule(black_box(&ours), black_box(&request)));
        });
        group.bench_function(
            format!("{statements} statements, policy-lab with names"),
            |bencher| {
                bencher.iter(|| evaluate(black_box(&ours), black_box(&request)));
            },
        );
        let (request, entities) = their_request(&TIMED);
        // A decision of theirs over ten thousand statements takes ten milliseconds: ten samples of equal length are enough,
        // and a hundred that grow would be five thousand decisions.
        group.sampling_mode(SamplingMode::Flat).sample_size(10).warm_up_time(WARM_UP / 3);
        group.bench_function(format!("{statements} statements, cedar-policy"), |bencher| {
            bencher.iter(|| {
                authorizer.is_authorized(black_box(&request), black_box(&theirs), &entities)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime::new());
    targets = decisions
}
criterion_main!(benches);
