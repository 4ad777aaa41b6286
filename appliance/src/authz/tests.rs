use std::path::Path;
use std::time::Duration;

use policy_lab::replay::{Change, Outcome, World, audit_line, simulate};
use policy_lab::{Attached, Context, DocumentKind, Guardrails, Policy, Principal, PrincipalKind};

use super::*;
use crate::iam::tests::{iam_on, store_in};
use crate::iam::{Entity, Status};
use crate::kms::Local;
use crate::kms::tests::audited::{log_in, recorder_on, scope_on};
use crate::s3::request::{principal_context, transport_context};
use crate::scope::Actor;

const REQUESTS: usize = 10_000;
/// Checks of one call, which is one append to the log.
const AT_ONCE: usize = 250;

/// A sequence that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const TEAM: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::ledger/home/${aws:username}/*"},
    {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::ledger","Condition":{"StringLike":{"s3:prefix":"home/*"}}},
    {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"},"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#;
const BUCKET: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::public/*"},
    {"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000042:user/bob"},"Action":"s3:*","Resource":"arn:aws:s3:::public/secret/*"}]}"#;
const GUARDRAIL: &str = "package s3.authz\nimport rego.v1\n\
    deny contains {\"id\": \"frozen\"} if startswith(input.resource.key, \"frozen/\")\n";

/// Every other request has the keys that the server fills, the others a few of them only.
fn check(dice: &mut Dice, scope: &Scope, principal: &Principal) -> Check {
    let bucket = dice.pick(&["ledger", "public", "other"]).to_owned();
    let (action, is_object) = [
        ("s3:GetObject", true),
        ("s3:PutObject", true),
        ("s3:DeleteObject", true),
        ("s3:ListBucket", false),
        ("s3:GetBucketPolicy", false),
    ][dice.roll(5)];
    let key = format!(
        "{}{}/{}",
        dice.pick(&["home/", "secret/", "frozen/", ""]),
        dice.pick(&["alice", "bob", "é*?"]),
        dice.roll(100)
    );
    let mut context = Context::new();
    context.set("aws:username", principal.name.clone());
    if dice.roll(2) == 0 {
        transport_context(&mut context, scope);
        principal_context(&mut context, scope, "000000000042");
        context.set("s3:authType", "REST-HEADER");
        context.set("s3:signatureversion", "AWS4-HMAC-SHA256");
    }
    for (name, values) in [
        ("aws:SourceIp", &["10.1.2.3", "192.0.2.7", "::1"][..]),
        ("aws:SecureTransport", &["true", "false"]),
        ("s3:prefix", &["home/x", "", "other/"]),
    ] {
        if dice.roll(4) > 0 {
            context.set(name, dice.pick(values));
        }
    }
    Check {
        action: Action::parse(action).unwrap(),
        resource: match is_object {
            true => Resource::Object { bucket, key },
            false => Resource::Bucket(bucket),
        },
        context,
        class: Class::Data,
        params: [].into(),
    }
}

/// Records decisions of the live gate, as many as there shall be; also gives the condition keys of each.
async fn recorded(dir: &Path) -> (Arc<audit::Log>, Vec<Context>) {
    let log = log_in(&dir.join("audit"));
    let store = store_in(dir);
    let iam = iam_on(&store).await;
    iam.put_policy("team", TEAM, 1).await.unwrap();
    let policies = [("alice", "team"), ("bob", "readwrite"), ("carol", "readonly")];
    for (name, policy) in policies {
        iam.add_user(name, "a-secret-of-test", Status::Enabled, 1).await.unwrap();
        iam.attach(&[policy.to_owned()], &Entity::User(name.into()), 1).await.unwrap();
    }
    std::fs::create_dir(dir.join("keys")).unwrap();
    let keys = Arc::new(Local::open(dir, &[1; 32]).unwrap());
    let guardrails = Guardrails::load(vec![("frozen.rego".into(), GUARDRAIL.into())]).unwrap();
    // Time is on the clock: on a busy machine a thread may stand still for longer than a request may take.
    let guardrails = guardrails.with_time_limit(Duration::from_secs(30));
    let rules = Rules { guardrails: Some(Arc::new(guardrails)), ..Rules::default() };
    let gate = Gate::new(store.clone(), keys, Arc::clone(&iam), rules, recorder_on(&log));
    let policy = Arc::new(Policy::parse(BUCKET, DocumentKind::Bucket).unwrap());
    gate.set_bucket_policy("public", Some(Attached { name: "public".into(), policy }));

    let mut dice = Dice(20_261_125);
    let mut asked = Vec::new();
    for _ in 0..REQUESTS / AT_ONCE {
        let name = dice.pick(&["alice", "bob", "carol", "operator", "anonymous"]);
        let principal = match iam.snapshot().credential(name) {
            Some(credential) => credential.principal,
            None => Principal::anonymous("000000000042"),
        };
        let scope = scope_on(&log);
        let is_anonymous = principal.kind == PrincipalKind::Anonymous;
        scope.identify(Actor {
            principal: principal.clone(),
            access_key: (!is_anonymous).then(|| name.to_owned()),
            scheme: if is_anonymous { "none" } else { "v4" },
            signature_sha256: None,
        });
        let checks: Vec<_> = (0..AT_ONCE).map(|_| check(&mut dice, &scope, &principal)).collect();
        asked.extend(checks.iter().map(|check| check.context.clone()));
        // Most are denied; what counts is what is in the log.
        let _ = gate.decide::<()>(&scope, Effect::Write, checks).await;
    }
    store.close();
    (log, asked)
}

fn replayed(dir: &Path, changes: &[Change]) -> Outcome {
    let directory = dir.join("audit");
    let world = || {
        let directory = directory.clone();
        World::recorded(move |digest| {
            let bytes = audit::read_blob(&directory, &hex::encode(digest)).ok()?;
            String::from_utf8(bytes).ok()
        })
    };
    let draft = changes.iter().cloned().fold(world(), World::with);
    let events = audit::records(&directory).filter_map(|record| {
        let (seq, leaf) = record.unwrap();
        audit_line(seq, &leaf).unwrap().map(|event| event.recorded)
    });
    simulate(events, &world(), &draft)
}

/// What the server decided, the lab decides: for ten thousand requests of every kind of caller, resource and context.
#[tokio::test]
async fn the_lab_decides_ten_thousand_requests_as_the_server_did() {
    let dir = tempfile::tempdir().unwrap();
    let (log, asked) = recorded(dir.path()).await;
    log.close().unwrap();
    let leaves = audit::records(&dir.path().join("audit")).map(|record| record.unwrap());
    let decisions: Vec<_> = leaves
        .filter_map(|(seq, leaf)| Some((audit_line(seq, &leaf).unwrap()?.recorded, leaf)))
        .collect();
    let named = decisions.iter().map(|(decision, _)| &decision.request.context);
    assert!(named.eq(&asked));
    let implied = |leaf: &[u8]| String::from_utf8_lossy(leaf).contains(r#","implied":true,"#);
    let implied = decisions.iter().filter(|(_, leaf)| implied(leaf)).count();
    assert!((4_000..6_000).contains(&implied), "{implied} records say it with other members");
    let outcome = replayed(dir.path(), &[]);
    assert_eq!(outcome.totals.events, REQUESTS as u64);
    assert_eq!(outcome.self_check.compared, REQUESTS as u64);
    assert_eq!(outcome.self_check.mismatches, []);
    assert!(outcome.self_check.holds());
    assert!(outcome.groups.is_empty());
    // The requests are not all of one kind: taking the guardrail away lets some through, and not all.
    let opened = replayed(dir.path(), &[Change::Guardrails(Vec::new())]);
    assert!((1..5_000).contains(&opened.totals.newly_allowed), "{:?}", opened.totals);
}
