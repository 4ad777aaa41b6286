//! Which policy wins: the order of layers, who a bucket policy speaks of, and a naive reading of the language that the
//! compiled one must agree with.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that cannot build its question has failed"
)]

mod apart;
#[path = "../support/statements.rs"]
mod generate;
mod operators;
mod peer;
mod reference;

use std::sync::Arc;

use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Guardrails, Layer, Policy, PolicySet,
    Principal, PrincipalKind, Profile, Reason, Request, Resource, evaluate,
};
use serde_json::{Value, json};

fn attached(name: &str, statements: Value, kind: DocumentKind) -> Attached {
    let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = Policy::parse(&document, kind).expect("valid policy");
    Attached { name: Arc::from(name), policy: Arc::new(policy) }
}

fn statement(effect: &str, action: &str) -> Value {
    json!({ "Sid": format!("{effect}It"), "Effect": effect, "Action": action, "Resource": "*" })
}

fn for_principal(effect: &str, principal: Value) -> Value {
    let mut statement = statement(effect, "s3:GetObject");
    statement["Principal"] = principal;
    statement
}

fn get(principal: Principal) -> Request {
    Request {
        action: Action::parse("s3:GetObject").expect("action"),
        resource: Resource::Object { bucket: "b".into(), key: "k".into() },
        principal,
        context: Context::new(),
    }
}

fn caller(kind: PrincipalKind) -> Principal {
    match kind {
        PrincipalKind::Anonymous => Principal::anonymous("111122223333"),
        kind => Principal { kind, ..Principal::user("111122223333", "alice") },
    }
}

/// What each layer says: `+` allows, `-` denies, `0` says nothing, `.` is not there.
/// Columns: identity, bucket, boundary, session, guardrail (`-` or `.`).
fn layers(pattern: &str) -> PolicySet {
    let mut signs = pattern.chars();
    let mut layer = |kind, principal: bool| {
        let (effect, action) = match signs.next() {
            Some('+') => ("Allow", "s3:GetObject"),
            Some('-') => ("Deny", "s3:GetObject"),
            Some('0') => ("Allow", "s3:PutObject"),
            _ => return None,
        };
        let mut statement = statement(effect, action);
        if principal {
            statement["Principal"] = json!("*");
        }
        Some(attached("p", statement, kind))
    };
    let identity = layer(DocumentKind::Identity, false).into_iter().collect();
    let bucket = layer(DocumentKind::Bucket, true);
    let boundary = layer(DocumentKind::Boundary, false);
    let session = layer(DocumentKind::Session, false);
    let rego = "package s3.authz\nimport rego.v1\ndeny contains {\"id\": \"no\"}\n";
    let guardrails = (signs.next() == Some('-'))
        .then(|| Arc::new(Guardrails::load(vec![("no.rego".into(), rego.into())]).expect("loads")));
    PolicySet { identity, bucket, boundary, session, guardrails }
}

#[test]
fn order_of_layers() {
    use PrincipalKind::{Anonymous, Root, Session, User};
    use Reason::{
        AdminBypass, Boundary, ExplicitDeny, Guardrail, IdentityAllow, ImplicitDeny, ResourceAllow,
        SessionLimit,
    };
    for (kind, pattern, reason) in [
        (User, ".....", ImplicitDeny),
        (User, "0....", ImplicitDeny),
        (User, "+....", IdentityAllow),
        (User, "++...", IdentityAllow),
        (User, ".+...", ResourceAllow),
        (User, "0+...", ResourceAllow),
        (User, "+0...", IdentityAllow),
        (User, "-+...", ExplicitDeny),
        (User, "+-...", ExplicitDeny),
        (User, "++-..", ExplicitDeny),
        (User, "+++-.", ExplicitDeny),
        (User, "+.+..", IdentityAllow),
        (User, "+.0..", Boundary),
        (User, ".+0..", Boundary),
        (User, "..+..", ImplicitDeny),
        (Session, "+..+.", IdentityAllow),
        (Session, "+..0.", SessionLimit),
        (Session, ".+.0.", SessionLimit),
        (Session, "...+.", ImplicitDeny),
        (Session, "+.00.", Boundary),
        (Session, "+.++.", IdentityAllow),
        (Anonymous, ".....", ImplicitDeny),
        (Anonymous, "+....", ImplicitDeny),
        (Anonymous, ".+...", ResourceAllow),
        (Anonymous, "++...", ResourceAllow),
        (Anonymous, ".-...", ExplicitDeny),
        (Root, ".....", AdminBypass),
        (Root, "--...", AdminBypass),
        (Root, "...+.", AdminBypass),
        (Root, "...0.", SessionLimit),
        (Root, ".-.+.", ExplicitDeny),
        (User, "+...-", Guardrail),
        (User, "-...-", Guardrail),
        (User, "....-", Guardrail),
        (Root, "....-", Guardrail),
        (Anonymous, ".+..-", Guardrail),
    ] {
        let decision = evaluate(&layers(pattern), &get(caller(kind)));
        assert_eq!(decision.reason, reason, "{kind:?} {pattern}");
        let allowing = matches!(reason, AdminBypass | IdentityAllow | ResourceAllow);
        assert_eq!(decision.is_allowed(), allowing, "{kind:?} {pattern}");
    }
}

#[test]
fn all_denies_and_the_first_allow_are_named() {
    let set = PolicySet {
        identity: vec![
            attached("first", json!([statement("Allow", "s3:Put*")]), DocumentKind::Identity),
            attached("second", json!([statement("Allow", "s3:Get*")]), DocumentKind::Identity),
            attached("third", json!([statement("Allow", "s3:*")]), DocumentKind::Identity),
        ],
        ..PolicySet::default()
    };
    let decision = evaluate(&set, &get(caller(PrincipalKind::User)));
    let [by] = decision.by.as_slice() else { panic!("one statement allows: {decision:?}") };
    assert_eq!((&*by.policy, by.sid.as_deref(), by.index), ("second", Some("AllowIt"), 0));

    let decision = evaluate(&layers("----."), &get(caller(PrincipalKind::User)));
    let layers: Vec<_> = decision.by.iter().map(|by| by.layer).collect();
    assert_eq!(layers, [Layer::Identity, Layer::Bucket, Layer::Boundary, Layer::Session]);
}

/// `allow`: the grant lets the caller in; `deny`: a deny in its place would keep the caller out.
#[test]
fn forms_of_principals() {
    let user = || Principal::user("111122223333", "alice");
    let service = || Principal {
        kind: PrincipalKind::ServiceAccount,
        name: "SVC".into(),
        arn: "arn:aws:iam::111122223333:user/SVC".into(),
        parent: Some("alice".into()),
        ..user()
    };
    let session = || Principal {
        kind: PrincipalKind::Session,
        name: "s".into(),
        arn: "arn:aws:sts::111122223333:assumed-role/team/s".into(),
        ..user()
    };
    let anonymous = || Principal::anonymous("111122223333");
    let cases: [(Value, Principal, bool, bool); 19] = [
        (json!("*"), user(), true, true),
        (json!("*"), anonymous(), true, true),
        (json!({"AWS": "*"}), anonymous(), true, true),
        (json!({"AWS": ["*"]}), session(), true, true),
        (json!({"AWS": "111122223333"}), user(), false, true),
        (json!({"AWS": "arn:aws:iam::111122223333:root"}), user(), false, true),
        (json!({"AWS": "111122223333"}), anonymous(), false, false),
        (json!({"AWS": "444455556666"}), user(), false, false),
        (json!({"AWS": "arn:aws:iam::111122223333:user/alice"}), user(), true, true),
        (json!({"AWS": "arn:aws:iam::111122223333:user/bob"}), user(), false, false),
        (json!({"AWS": "arn:aws:iam::444455556666:user/alice"}), user(), false, false),
        (json!({"AWS": "arn:aws:iam::111122223333:user/alice"}), service(), true, true),
        (json!({"AWS": "arn:aws:iam::111122223333:user/alice"}), anonymous(), false, false),
        (json!({"AWS": "arn:aws:iam::111122223333:role/path/team"}), session(), true, true),
        (json!({"AWS": "arn:aws:iam::111122223333:role/other"}), session(), false, false),
        (json!({"AWS": "arn:aws:sts::111122223333:assumed-role/team/s"}), session(), true, true),
        (json!({"AWS": "arn:aws:sts::111122223333:assumed-role/team/t"}), session(), false, false),
        (json!({"Service": "logging.s3.amazonaws.com"}), user(), false, false),
        (json!({"CanonicalUser": "79a5"}), user(), false, false),
    ];
    for (principal, caller, allow, deny) in cases {
        for (effect, expected) in [("Allow", allow), ("Deny", deny)] {
            let statement = for_principal(effect, principal.clone());
            let bucket = Some(attached("b", statement, DocumentKind::Bucket));
            let decision =
                evaluate(&PolicySet { bucket, ..PolicySet::default() }, &get(caller.clone()));
            let takes_effect = decision.reason != Reason::ImplicitDeny;
            assert_eq!(takes_effect, expected, "{effect} {principal} {}", caller.arn);
        }
    }
}

#[test]
fn excepted_principals() {
    let arn = "arn:aws:iam::111122223333:user/alice";
    let mut statement = statement("Deny", "s3:GetObject");
    statement["NotPrincipal"] = json!({ "AWS": arn });
    let set = |boundary: &str| PolicySet {
        bucket: Some(attached("b", statement.clone(), DocumentKind::Bucket)),
        ..layers(boundary)
    };
    let alice = get(caller(PrincipalKind::User));
    let bob = get(Principal::user("111122223333", "bob"));
    assert!(evaluate(&set("+...."), &alice).is_allowed());
    assert_eq!(evaluate(&set("+...."), &bob).reason, Reason::ExplicitDeny);
    // AWS: with a boundary, every `NotPrincipal` denies.
    assert_eq!(evaluate(&set("+.+.."), &alice).reason, Reason::ExplicitDeny);
}

#[test]
fn buckets_objects_and_their_patterns() {
    let object =
        |bucket: &str, key: &str| Resource::Object { bucket: bucket.into(), key: key.into() };
    let bucket = |name: &str| Resource::Bucket(name.into());
    for (pattern, resource, covered) in [
        ("arn:aws:s3:::b", bucket("b"), true),
        ("arn:aws:s3:::b", object("b", "k"), false),
        ("arn:aws:s3:::b/*", bucket("b"), false),
        ("arn:aws:s3:::b/*", object("b", "k/l"), true),
        ("arn:aws:s3:::b/*", object("bb", "k"), false),
        ("arn:aws:s3:::b/k*", object("b", "kl/m"), true),
        ("arn:aws:s3:::b*", object("bb", "k"), true),
        ("arn:aws:s3:::b*/x", object("b", "y/x"), true),
        ("arn:aws:s3:::*/x", object("b", "y/x"), true),
        ("arn:aws:s3:::?", bucket("b"), true),
        ("arn:aws:s3:::B", bucket("b"), false),
        ("arn:*:s3:*:*:b", bucket("b"), true),
        ("arn:aws-cn:s3:::b", bucket("b"), false),
        ("arn:aws:s3:eu-west-1::b", bucket("b"), false),
        ("arn:aws:sqs:::b", bucket("b"), false),
        ("arn:aws:s3:::b/a:b", object("b", "a:b"), true),
        ("arn:aws:s3:::*", Resource::Any, true),
        ("*", Resource::Any, true),
        ("arn:aws:s3:::b", Resource::Any, false),
    ] {
        for (element, expected) in [("Resource", covered), ("NotResource", !covered)] {
            let statement = json!({ "Effect": "Allow", "Action": "*", element: pattern });
            let identity = vec![attached("p", statement, DocumentKind::Identity)];
            let request =
                Request { resource: resource.clone(), ..get(caller(PrincipalKind::User)) };
            let allowed =
                evaluate(&PolicySet { identity, ..PolicySet::default() }, &request).is_allowed();
            assert_eq!(allowed, expected, "{element} {pattern} {}", resource.arn());
        }
    }
}

/// An exception for nobody knows whom: neither grants nor stops denying.
#[test]
fn exceptions_without_a_value_are_doubtful() {
    let element = "arn:aws:s3:::b/${aws:username}/*";
    for (effect, reason) in [("Allow", Reason::ImplicitDeny), ("Deny", Reason::ExplicitDeny)] {
        let statement = json!({ "Effect": effect, "Action": "s3:*", "NotResource": element });
        let identity = vec![attached("p", statement, DocumentKind::Identity)];
        let set = PolicySet { identity, ..PolicySet::default() };
        assert_eq!(evaluate(&set, &get(caller(PrincipalKind::User))).reason, reason);
    }
}

#[test]
fn admin_and_key_statements() {
    let decide = |statement: Value, action: &str| {
        let identity = vec![attached("p", statement, DocumentKind::Identity)];
        let request = Request {
            action: Action::parse(action).expect("action"),
            resource: Resource::Any,
            ..get(caller(PrincipalKind::User))
        };
        evaluate(&PolicySet { identity, ..PolicySet::default() }, &request).reason
    };
    let admin = json!({"Effect": "Allow", "Action": "admin:*", "Resource": "arn:aws:s3:::b/*"});
    assert_eq!(decide(admin, "admin:ServerInfo"), Reason::IdentityAllow);
    // `*` on one bucket is no administrator.
    let all = json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/*"});
    assert_eq!(decide(all, "admin:ServerInfo"), Reason::ImplicitDeny);
    // Requests do not name the key: a grant of one key is none, a deny of one key is one.
    let key = |effect: &str| json!({"Effect": effect, "Action": "kms:*", "Resource": "arn:minio:kms:::one"});
    assert_eq!(decide(key("Allow"), "kms:CreateKey"), Reason::ImplicitDeny);
    assert_eq!(decide(key("Deny"), "kms:CreateKey"), Reason::ExplicitDeny);
}

/// One request per switch that a single statement shows: the answer of each reading.
#[test]
fn the_two_readings_differ_where_they_are_said_to() {
    let object = Resource::Object { bucket: "b".into(), key: "home/alice/x".into() };
    let bucket = Resource::Bucket("b".into());
    let allow = |action: &str, resource: &str| json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    for (switch, statement, action, resource, aws, minio) in [
        ("action_case_counts", allow("s3:getobject", "*"), "s3:GetObject", &object, true, false),
        (
            "version_grants_plain",
            allow("s3:GetObjectVersion", "*"),
            "s3:GetObject",
            &object,
            false,
            true,
        ),
        (
            "keys_cover_bucket",
            allow("s3:ListBucket", "arn:aws:s3:::b/*"),
            "s3:ListBucket",
            &bucket,
            false,
            true,
        ),
        (
            "variables_are_raw",
            allow("s3:GetObject", "arn:aws:s3:::b/home/${aws:username}/*"),
            "s3:GetObject",
            &object,
            false,
            true,
        ),
    ] {
        let identity = vec![attached("p", statement, DocumentKind::Identity)];
        let set = PolicySet { identity, ..PolicySet::default() };
        let mut context = Context::new();
        context.set("aws:username", "al*");
        let request = Request {
            action: Action::parse(action).expect("action"),
            resource: resource.clone(),
            principal: caller(PrincipalKind::User),
            context,
        };
        assert_eq!(evaluate(&set, &request).is_allowed(), aws, "aws: {switch}");
        match set.read_as(Profile::MINIO) {
            Ok(set) => {
                for compiled in [false, true] {
                    let decision = match compiled {
                        true => evaluate(&Compiled::new(set.clone()), &request),
                        false => evaluate(&set, &request),
                    };
                    assert_eq!(decision.is_allowed(), minio, "minio: {switch}");
                }
            }
            // The catalogue knows no such name in this letter case.
            Err(error) => assert!(!minio, "{switch}: {error}"),
        }
    }
    let set = layers(".+...").read_as(Profile::MINIO).expect("valid");
    assert_eq!(evaluate(&set, &get(caller(PrincipalKind::User))).reason, Reason::ImplicitDeny);
    assert_eq!(
        evaluate(&set, &get(caller(PrincipalKind::Anonymous))).reason,
        Reason::ResourceAllow
    );
}
