//! The analysis against brute force: every request of a small world, asked of the evaluator.

#[path = "../../tests/support/statements.rs"]
mod generate;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Access, Difference, Grant, Limit, Role, Verdict, World, differences, no_more_permissive,
    not_granted, not_public, request_line, statements,
};
use crate::replay::request_line as read_line;
use crate::{
    Action, Attached, Context, DocumentKind, Policy, PolicySet, Principal, PrincipalKind, Profile,
    Request, Resource,
};

fn attached(statements: &Value, kind: DocumentKind) -> Attached {
    let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = Policy::parse(&document, kind).unwrap_or_else(|e| panic!("{e}: {document}"));
    Attached { name: Arc::from("p"), policy: Arc::new(policy) }
}

pub(super) fn identity(statements: &Value) -> Access {
    let identity = vec![attached(statements, DocumentKind::Identity)];
    Access { policies: PolicySet { identity, ..PolicySet::default() }, bucket: None }
}

fn bucket(statements: &Value) -> Access {
    let bucket = Some(attached(statements, DocumentKind::Bucket));
    Access { policies: PolicySet { bucket, ..PolicySet::default() }, bucket: None }
}

pub(super) fn allow(action: &str, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

pub(super) fn with(statement: Value, condition: Value) -> Value {
    let mut statement = statement;
    statement["Condition"] = condition;
    statement
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Proved => "proved".to_owned(),
        Verdict::Refuted(found) => request_line(&found.request),
        Verdict::Unknown(limit) => format!("unknown: {limit}"),
    }
}

/// `<` less, `>` more, `=` the same, `x` neither, `?` unknown.
fn compare(a: &Access, b: &Access, world: World) -> char {
    let Difference { gained, lost } = differences(b, a, world);
    match (&gained, &lost) {
        (Verdict::Unknown(_), _) | (_, Verdict::Unknown(_)) => '?',
        (Verdict::Proved, Verdict::Proved) => '=',
        (Verdict::Proved, _) => '<',
        (_, Verdict::Proved) => '>',
        _ => 'x',
    }
}

#[test]
fn known_pairs() {
    let get = |resource: &str| allow("s3:GetObject", resource);
    let object = |key: &str| get(&format!("arn:aws:s3:::b/{key}"));
    let on = |condition: Value| with(object("*"), condition);
    let deny = |condition: Value| json!([object("*"), { "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": condition }]);
    for (a, b, expected) in [
        (object("*"), object("*"), '='),
        (object("a*"), object("*"), '<'),
        (object("*a*"), object("*a"), '>'),
        (object("a*"), object("*a"), 'x'),
        (object("a?"), json!([object("a*")]), '<'),
        (json!([object("a*"), object("ab*")]), object("a*"), '='),
        (allow("s3:Get*", "arn:aws:s3:::b/*"), allow("s3:*", "arn:aws:s3:::b/*"), '<'),
        // Whatever acts on objects, on a bucket, and the other way round, is nobody's request.
        (allow("s3:GetObject", "arn:aws:s3:::b*"), allow("s3:GetObject", "arn:aws:s3:::b*/*"), '='),
        (on(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})), object("*"), '<'),
        (
            on(json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/9", "10.128.0.0/9"]}})),
            on(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
            '=',
        ),
        (
            on(json!({"IpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/104"}})),
            on(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
            '=',
        ),
        (
            on(json!({"NumericLessThan": {"s3:max-keys": "10"}})),
            on(json!({"NumericLessThanEquals": {"s3:max-keys": 10.0}})),
            '<',
        ),
        (
            on(json!({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}})),
            on(json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-01"}})),
            '<',
        ),
        // No condition is more than one that an absent or malformed address fails.
        (on(json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/0", "::/0"]}})), object("*"), '<'),
        (deny(json!({"Bool": {"aws:SecureTransport": "false"}})), object("*"), '<'),
        (
            deny(json!({"Bool": {"aws:SecureTransport": "false"}})),
            deny(json!({"BoolIfExists": {"aws:SecureTransport": "FALSE"}})),
            '>',
        ),
        (
            on(json!({"StringEquals": {"aws:username": "a"}})),
            on(json!({"StringEqualsIgnoreCase": {"aws:username": "A"}})),
            '<',
        ),
        (
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}})),
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}})),
            '<',
        ),
        (
            on(json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}})),
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}})),
            'x',
        ),
        (
            on(
                json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}, "Null": {"aws:TagKeys": "false"}}),
            ),
            on(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}})),
            '<',
        ),
        (
            on(json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}})),
            on(json!({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}})),
            '<',
        ),
    ] {
        let found = compare(&identity(&a), &identity(&b), World::S3);
        assert_eq!(found, expected, "{a} against {b}");
    }
}

#[test]
fn variables() {
    let home =
        |tail: &str| allow("s3:GetObject", &format!("arn:aws:s3:::b/home/${{aws:username}}{tail}"));
    let plain = |path: &str| allow("s3:GetObject", &format!("arn:aws:s3:::b/{path}"));
    let deny = |path: &str| {
        let resource = format!("arn:aws:s3:::b/{path}");
        json!({ "Effect": "Deny", "Action": "s3:*", "Resource": resource })
    };
    let on = |statement: Value, operator: &str, name: &str| {
        with(statement, json!({ operator: { "aws:username": name } }))
    };
    let on_user = |operator: &str, pattern: &str, id: &str| {
        // Two clauses: the identifier is this, and it fits the name.
        let condition = match operator {
            "StringEquals" => {
                json!({ "StringLike": { "aws:userid": id }, operator: { "aws:userid": pattern } })
            }
            _ => {
                json!({ "StringEquals": { "aws:userid": id }, operator: { "aws:userid": pattern } })
            }
        };
        with(plain("*"), condition)
    };
    for (a, b, expected) in [
        (home("/*"), home("/*"), '='),
        (home("/*"), home("*"), '<'),
        (home("/*"), plain("home/*"), '<'),
        (home("/*"), plain("home/a*"), 'x'),
        (plain("home/alice/*"), home("/*"), 'x'),
        (json!([home("/*"), deny("home/alice/*")]), home("/*"), '<'),
        (json!([home("/*"), plain("home/*")]), plain("home/*"), '='),
        (
            with(plain("*"), json!({"StringEquals": {"aws:userid": "${aws:username}"}})),
            with(plain("*"), json!({"StringLike": {"aws:userid": "${aws:username}*"}})),
            '<',
        ),
        (
            with(plain("*"), json!({"StringNotEquals": {"aws:userid": "${aws:username}"}})),
            plain("*"),
            '<',
        ),
        // Equal, but only whoever follows the value through both knows.
        (
            json!([with(home("/*"), json!({"StringLike": {"aws:username": "a*"}}))]),
            json!([
                with(home("/*"), json!({"StringLike": {"aws:username": "a*"}})),
                with(home("/*"), json!({"StringEquals": {"aws:username": "alice"}}))
            ]),
            '=',
        ),
        // What a condition says of the variable is followed into the patterns that it stands in.
        (on(home("/*"), "StringEquals", "alice"), plain("home/alice/*"), '<'),
        (on(home("/*"), "StringLike", "dev-*"), plain("home/dev-*/*"), '<'),
        (on(home("/*"), "StringLike", "dev-*"), plain("home/dev-?*/*"), 'x'),
        (
            json!([on(home("/*"), "StringEquals", "alice"), on(home("/*"), "StringEquals", "bob")]),
            json!([
                on(plain("home/alice/*"), "StringEquals", "alice"),
                on(plain("home/bob/*"), "StringEquals", "bob")
            ]),
            '=',
        ),
        (
            json!([on(plain("home/*"), "StringEquals", "alice"), deny("home/${aws:username}/*")]),
            on(plain("home/*"), "StringEquals", "alice"),
            '<',
        ),
        (
            json!([
                on(plain("home/alice/*"), "StringEquals", "alice"),
                deny("home/${aws:username}/*")
            ]),
            deny("*"),
            '=',
        ),
        (
            with(
                plain("*"),
                json!({"StringEquals": {"aws:userid": "${aws:username}", "aws:username": ["a", "b"]}}),
            ),
            with(plain("*"), json!({"StringEquals": {"aws:userid": ["a", "b", "c"]}})),
            '<',
        ),
        // Letter case that does not count in the condition counts in the resource: every spelling is followed.
        (on(home("/*"), "StringEqualsIgnoreCase", "alice"), plain("home/?????/*"), '<'),
        (on(home("/*"), "StringEqualsIgnoreCase", "alice"), plain("home/????/*"), 'x'),
        (
            on(home("/*"), "StringEqualsIgnoreCase", "7"),
            on(plain("home/7/*"), "StringEquals", "7"),
            '=',
        ),
        (
            json!([
                on(plain("home/*"), "StringEqualsIgnoreCase", "a"),
                deny("home/${aws:username}/*")
            ]),
            json!([
                on(plain("home/*"), "StringEqualsIgnoreCase", "A"),
                deny("home/a/*"),
                deny("home/A/*")
            ]),
            '>',
        ),
        // Where a place holds a text, the values of the variable that fit are known.
        (on_user("StringEquals", "${aws:username}", "x"), on(plain("*"), "StringEquals", "x"), '<'),
        (on_user("StringLike", "${aws:username}?", "xy"), on(plain("*"), "StringEquals", "x"), '<'),
        (
            on_user("StringEqualsIgnoreCase", "${aws:username}", "x"),
            on(plain("*"), "StringEqualsIgnoreCase", "X"),
            '<',
        ),
        (
            json!([allow("s3:GetObject", "arn:aws:s3:::b/home/al"), deny("home/${aws:username}*")]),
            json!([allow("s3:GetObject", "arn:aws:s3:::b/home/al")]),
            '<',
        ),
        // Also where it stands twice.
        (
            on_user("StringEquals", "${aws:username}${aws:username}", "xyxy"),
            on(plain("*"), "StringEquals", "xy"),
            '<',
        ),
        (on_user("StringLike", "${aws:username}-${aws:username}*", "x-yx"), deny("*"), '='),
        (home("/${aws:username}"), json!([home("/${aws:username}"), deny("home/a/b")]), '='),
        (home("/${aws:username}"), json!([home("/${aws:username}"), deny("home/a/a")]), '>'),
    ] {
        let found = compare(&identity(&a), &identity(&b), World::S3);
        assert_eq!(found, expected, "{a} against {b}");
    }
    // A wildcard in the value is data, so nobody is let into other homes by their name.
    let grant = |resource: &str| Grant::new(&[], &[resource.to_owned()], None).expect("valid");
    let access = identity(&home("/*"));
    assert_eq!(not_granted(&access, &grant("arn:aws:s3:::b/other/*"), World::S3), Verdict::Proved);
    let unsure =
        with(plain("*"), json!({"StringLike": {"aws:userid": "*${aws:username}${s3:prefix}"}}));
    let other = with(plain("*"), json!({"StringLike": {"aws:userid": "*${s3:prefix}"}}));
    let verdict = no_more_permissive(&identity(&unsure), &identity(&other), World::S3);
    assert_eq!(verdict, Verdict::Proved);
    let split =
        with(plain("*"), json!({"StringEquals": {"aws:userid": "${s3:prefix}${s3:prefix}"}}));
    let not = |pattern: &str| {
        let even = with(plain("*"), json!({"StringNotLike": {"aws:userid": pattern}}));
        no_more_permissive(&identity(&split), &identity(&even), World::S3)
    };
    assert_eq!(not("a"), Verdict::Proved);
    assert!(matches!(not("aa"), Verdict::Refuted(_)));
    // That two equal halves never make three characters is beyond what is looked at: said, and not passed.
    assert_eq!(not("???"), Verdict::Unknown(Limit::Repeated));
    // A name that is x or X, in a place that letter case counts in.
    let both =
        json!([deny("home/x/*"), deny("home/X/*"), on(home("/*"), "StringEqualsIgnoreCase", "x")]);
    let verdict = no_more_permissive(&identity(&both), &identity(&deny("*")), World::S3);
    assert_eq!(verdict, Verdict::Proved);
    let narrow = json!({
        "StringEqualsIgnoreCase": {"aws:username": "x"},
        "StringEquals": {"aws:userid": "${aws:username}"},
    });
    let wide = json!({
        "StringEqualsIgnoreCase": {"aws:username": "x", "aws:userid": "${aws:username}"},
    });
    let (narrow, wide) = (with(plain("*"), narrow), with(plain("*"), wide));
    let within =
        |new: &Value, old: &Value| no_more_permissive(&identity(new), &identity(old), World::S3);
    assert_eq!(within(&narrow, &wide), Verdict::Proved);
    assert!(matches!(within(&wide, &narrow), Verdict::Refuted(_)));
    // Other spellings are tried, but not all of them: said, and not passed.
    let alice = on(home("/*"), "StringEqualsIgnoreCase", "alice");
    let spelled = |names: &[&str]| {
        Value::Array(names.iter().map(|name| plain(&format!("home/{name}/*"))).collect())
    };
    assert!(matches!(within(&alice, &spelled(&["alice", "Alice"])), Verdict::Refuted(_)));
    let most = spelled(&["alice", "Alice", "ALICE"]);
    assert_eq!(within(&alice, &most), Verdict::Unknown(Limit::Case));
}

/// Whatever a policy names, somebody is not named. Found by five thousand rounds of the comparison below: an account that
/// is also the one of our strangers left nobody who was not denied, and the answer was a false "proved".
#[test]
fn strangers_are_not_named() {
    let open = allow("s3:GetObject", "arn:aws:s3:::b/*");
    let denied = |principals: &[&str]| {
        let mut deny = open.clone();
        deny["Effect"] = json!("Deny");
        deny["Principal"] = json!({ "AWS": principals });
        let all = identity(&json!([open]));
        let bucket = Some(attached(&json!([deny]), DocumentKind::Bucket));
        Access { policies: PolicySet { bucket, ..all.policies }, bucket: None }
    };
    for principals in [
        &["000000000000"][..],
        &["000000000000", "000000000001", "000000000003"],
        &["arn:aws:iam::000000000000:user/someone", "arn:aws:iam::000000000000:user/someone-else"],
        &[
            "arn:aws:iam::000000000000:user/someone",
            "arn:aws:iam::000000000000:user/someone-service",
        ],
        &["arn:aws:iam::000000000000:role/some-role"],
        &["arn:aws:sts::000000000000:assumed-role/some-role/some-session"],
    ] {
        let access = denied(principals);
        let verdict = no_more_permissive(&access, &identity(&json!([])), World::S3);
        let Verdict::Refuted(found) = verdict else { panic!("{principals:?}: {}", word(&verdict)) };
        assert!(access.decide(&found.request).is_allowed(), "{principals:?}");
    }
    // A session of the named role that is not the named session is a stranger too.
    let mut only = open.clone();
    only["Principal"] = json!({ "AWS": "arn:aws:iam::000000000000:role/some-role" });
    let mut not = only.clone();
    not["Effect"] = json!("Deny");
    not["Principal"] =
        json!({ "AWS": "arn:aws:sts::000000000000:assumed-role/some-role/some-session" });
    let access = bucket(&json!([only, not]));
    let verdict = no_more_permissive(&access, &identity(&json!([])), World::S3);
    assert!(matches!(verdict, Verdict::Refuted(_)), "{}", word(&verdict));
}

#[test]
fn guardrails_only_narrow() {
    let guarded = |statements: Value, body: &str| {
        let text = format!(
            "package s3.authz\nimport rego.v1\ndeny contains {{\"id\": \"x\"}} if {{ {body} }}\n"
        );
        let loaded = crate::Guardrails::load(vec![("x.rego".to_owned(), text)]).expect(body);
        let mut access = identity(&statements);
        access.policies.guardrails = Some(Arc::new(loaded));
        access
    };
    let get = |key: &str| allow("s3:GetObject", &format!("arn:aws:s3:::b/{key}"));
    let (narrow, wide) = (|| json!([get("x/*")]), || json!([get("*"), get("x/*")]));
    let never = "input.v == 2";
    let within = |new: &Access, old: &Access| word(&no_more_permissive(new, old, World::S3));
    let open = "unknown: Rego guardrails are tested, not proved";
    let plain = |statements: Value| identity(&statements);
    // Whatever it says, it takes away.
    assert_eq!(within(&guarded(narrow(), never), &plain(wide())), "proved");
    // The same rules take the same from both, if they do not ask what the policies said.
    assert_eq!(within(&guarded(narrow(), never), &guarded(wide(), never)), "proved");
    let asks = "input.iam.statements[0].index == 7";
    assert_eq!(within(&guarded(narrow(), asks), &guarded(wide(), asks)), open);
    let asks = "whole := input; whole.v == 7";
    assert_eq!(within(&guarded(narrow(), asks), &guarded(wide(), asks)), open);
    // Of rules on one side only, what they do to a request decides.
    assert_eq!(within(&plain(narrow()), &guarded(wide(), never)), open);
    let found =
        within(&plain(narrow()), &guarded(wide(), "startswith(input.resource.key, \"x/\")"));
    assert!(found.contains("\"key\":\"x/"), "{found}");
    // The first request that comes to mind is denied, another statement's is not.
    let elsewhere = "not startswith(input.resource.key, \"x/\")";
    let grant = Grant::new(&[], &["arn:aws:s3:::b/*".to_owned()], None).expect("valid");
    let granted = |access: &Access| word(&not_granted(access, &grant, World::S3));
    assert!(granted(&guarded(wide(), elsewhere)).contains("\"key\":\"x/"));
    assert_eq!(granted(&guarded(json!([get("*")]), elsewhere)), open);
    assert_eq!(
        granted(&guarded(json!([allow("s3:GetObject", "arn:aws:s3:::c/*")]), never)),
        "proved"
    );
    assert!(within(&guarded(wide(), elsewhere), &plain(json!([]))).contains("\"key\":\"x/"));
}

#[test]
fn public() {
    let statement = |condition: Value| {
        let mut statement = with(allow("s3:GetObject", "arn:aws:s3:::b/*"), condition);
        statement["Principal"] = json!("*");
        bucket(&json!([statement]))
    };
    let verdict = not_public(&statement(json!({})), World::S3);
    assert_eq!(word(&verdict), r#"{"action":"s3:GetObject","bucket":"b","key":"a"}"#);
    // Nobody without a signature has an ARN.
    let named = json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}});
    assert_eq!(not_public(&statement(named.clone()), World::S3), Verdict::Proved);
    assert!(matches!(not_public(&statement(named), World::Any), Verdict::Refuted(_)));
    let mut denied = allow("s3:*", "*");
    denied["Effect"] = json!("Deny");
    denied["NotPrincipal"] = json!({"AWS": "arn:aws:iam::111122223333:user/alice"});
    let mut open = allow("s3:*", "*");
    open["Principal"] = json!("*");
    assert_eq!(not_public(&bucket(&json!([open, denied])), World::S3), Verdict::Proved);
    assert_eq!(not_public(&identity(&allow("s3:*", "*")), World::S3), Verdict::Proved);
}

#[test]
fn what_statements_contribute() {
    let roles = |access: &Access| -> String {
        statements(access, World::S3)
            .iter()
            .map(|finding| match &finding.role {
                Role::Needed(_) => 'n',
                Role::Redundant => 'r',
                Role::Dead => 'd',
                Role::Unknown(_) => '?',
            })
            .collect()
    };
    let get = |resource: &str| allow("s3:GetObject", resource);
    let mut deny = get("arn:aws:s3:::c/*");
    deny["Effect"] = json!("Deny");
    let all =
        json!([get("arn:aws:s3:::b/*"), get("arn:aws:s3:::b/x*"), get("arn:aws:s3:::b"), deny]);
    assert_eq!(roles(&identity(&all)), "nrdr");
    let twice = json!([get("arn:aws:s3:::b/*"), get("arn:aws:s3:::b/*")]);
    assert_eq!(roles(&identity(&twice)), "rr");
    let never =
        json!({"StringEquals": {"aws:username": "a"}, "StringNotEquals": {"aws:username": "a"}});
    assert_eq!(roles(&identity(&json!([with(get("*"), never)]))), "d");
    let mut account = get("arn:aws:s3:::b/*");
    account["Principal"] = json!({"AWS": "111122223333"});
    assert_eq!(roles(&bucket(&json!([account]))), "d");
}

fn clause(variables: bool) -> impl Strategy<Value = (String, Value)> {
    let names = &["aws:username", "aws:TagKeys", "s3:prefix"];
    let words: &[&str] = match variables {
        true => &["x", "x*", "*", "?", "X", "xy", "${aws:username}", "${s3:prefix}*"],
        false => &["x", "x*", "*", "?", "X", "xy"],
    };
    let text = &[
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIgnoreCase",
    ];
    let number = &["NumericLessThan", "NumericEquals", "NumericGreaterThanEquals"];
    let test = prop_oneof![
        generate::test(text, names, words),
        generate::test(number, &["s3:max-keys"], &["1", "2", "1.5"]),
        generate::test(&["Bool"], &["aws:SecureTransport"], &["true", "false"]),
    ];
    let null = generate::null(&["aws:username", "aws:TagKeys", "s3:max-keys"], true);
    prop_oneof![4 => generate::clause(test, |_| true), 1 => null]
}

pub(super) fn statement(variables: bool) -> impl Strategy<Value = Value> {
    let actions = &["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:*Object", "s3:ListBucket"];
    let resources: &[&str] = match variables {
        true => &[
            "*",
            "arn:aws:s3:::a",
            "arn:aws:s3:::a/*",
            "arn:aws:s3:::a/${aws:username}",
            "arn:aws:s3:::*/${aws:username}*",
            "arn:aws:s3:::?/x*",
        ],
        false => &[
            "*",
            "arn:aws:s3:::a",
            "arn:aws:s3:::a*",
            "arn:aws:s3:::a/*",
            "arn:aws:s3:::?/x*",
            "arn:aws:s3:::*y",
        ],
    };
    let (actions, resources) = (generate::some_of(actions), generate::some_of(resources));
    generate::statement((0.65, 0.15), actions, resources, clause(variables))
}

pub(super) fn requests() -> Vec<Request> {
    let contexts = |keys: &[(&str, &[&[&str]])]| {
        // At most two keys at a time: brute force stays quick, and no statement has more than two clauses.
        let mut all: Vec<(Context, usize)> = vec![(Context::new(), 0)];
        for (key, values) in keys {
            let more: Vec<_> = all
                .iter()
                .filter(|(_, set)| *set < 2)
                .flat_map(|(context, set)| {
                    values.iter().map(move |values| {
                        let mut context = context.clone();
                        context.set_many(key, values.iter().map(|v| (*v).to_owned()).collect());
                        (context, set + 1)
                    })
                })
                .collect();
            all.extend(more);
        }
        all.into_iter().map(|(context, _)| context).collect::<Vec<_>>()
    };
    let contexts = contexts(&[
        ("aws:username", &[&["x"], &["X"], &["y"], &["x", "y"]]),
        ("aws:TagKeys", &[&[], &["x"], &["x", "xy"], &["z"]]),
        ("s3:prefix", &[&["x"], &["xyz"]]),
        ("s3:max-keys", &[&["1"], &["1.7"], &["none"]]),
        ("aws:SecureTransport", &[&["true"], &["false"]]),
    ]);
    let object = |key: &str| Resource::Object { bucket: "a".into(), key: key.into() };
    let shapes = [
        ("s3:GetObject", object("x")),
        ("s3:GetObject", object("y")),
        ("s3:PutObject", object("xy")),
        ("s3:ListBucket", Resource::Bucket("a".into())),
        ("s3:ListBucket", Resource::Bucket("ay".into())),
        ("s3:ListAllMyBuckets", Resource::Any),
    ];
    let mut requests = Vec::new();
    for (action, resource) in shapes {
        for context in &contexts {
            requests.push(Request {
                action: Action::parse(action).expect("action"),
                resource: resource.clone(),
                principal: Principal::user("000000000000", "someone"),
                context: context.clone(),
            });
        }
    }
    requests
}

/// As MinIO reads it; as it is where MinIO does not have the operators.
pub(super) fn as_minio(access: &Access) -> Access {
    let policies = access.policies.read_as(Profile::MINIO);
    Access {
        policies: policies.unwrap_or_else(|_| access.policies.clone()),
        bucket: access.bucket.clone(),
    }
}

/// What the analysis says must not be contradicted by any request of the small world; what it finds, it found.
fn agrees(a: &Value, b: &Value, requests: &[Request]) -> Result<bool, TestCaseError> {
    agree(&identity(a), &identity(b), requests)
}

fn agree(a: &Access, b: &Access, requests: &[Request]) -> Result<bool, TestCaseError> {
    let verdict = no_more_permissive(a, b, World::S3);
    match &verdict {
        Verdict::Proved => {
            let found =
                requests.iter().find(|r| a.decide(r).is_allowed() && !b.decide(r).is_allowed());
            prop_assert!(found.is_none(), "proved, but {}", request_line(found.expect("some")));
        }
        Verdict::Refuted(found) => {
            let line = request_line(&found.request);
            let again =
                read_line(1, &line).expect("a request").expect("not empty").recorded.request;
            prop_assert_eq!(&again.context, &found.request.context, "{}", line);
            prop_assert!(
                a.decide(&again).is_allowed() && !b.decide(&again).is_allowed(),
                "{}",
                line
            );
        }
        Verdict::Unknown(limit) => prop_assert!(limit.is_of_variables(), "{}", limit),
    }
    Ok(!matches!(verdict, Verdict::Unknown(_)))
}

/// Cases of a round; the slow lane asks for more.
fn cases(quick: u32) -> ProptestConfig {
    let asked = std::env::var("POLICY_LAB_PROOFS").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(quick))
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn agrees_with_brute_force(
        a in prop::collection::vec(statement(false), 1..4),
        b in prop::collection::vec(statement(false), 1..4),
    ) {
        let requests = REQUESTS.with(Arc::clone);
        prop_assert!(agrees(&json!(a), &json!(b), &requests)?, "nothing is left open without variables");
    }
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn agrees_with_brute_force_about_variables(
        a in prop::collection::vec(statement(true), 1..4),
        b in prop::collection::vec(statement(true), 1..3),
    ) {
        let requests = REQUESTS.with(Arc::clone);
        agrees(&json!(a), &json!(b), &requests)?;
    }
}

/// Every pair of resources that short patterns make, from the policy's text to the verdict.
#[test]
fn resources_exhaustively() {
    let mut patterns: Vec<String> = vec!["arn:aws:s3:::*".into(), "arn:aws:s3:::b*".into()];
    let signs = ["", "a", "b", "*", "?"];
    for first in signs {
        for second in signs {
            patterns.push(format!("arn:aws:s3:::b/x{first}{second}"));
        }
    }
    patterns.sort();
    patterns.dedup();
    let keys = ["", "a", "b", "c"];
    let keys = keys
        .iter()
        .flat_map(|a| keys.iter().flat_map(move |b| keys.map(|c| format!("x{a}{b}{c}"))));
    let requests: Vec<_> = keys
        .map(|key| (Resource::Object { bucket: "b".into(), key }, "s3:GetObject"))
        .chain([
            (Resource::Object { bucket: "b".into(), key: "y".into() }, "s3:GetObject"),
            (Resource::Object { bucket: "bb".into(), key: "y".into() }, "s3:GetObject"),
            (Resource::Object { bucket: "c".into(), key: "y".into() }, "s3:GetObject"),
            (Resource::Bucket("b".into()), "s3:ListBucket"),
            (Resource::Bucket("c".into()), "s3:ListBucket"),
            (Resource::Any, "s3:ListAllMyBuckets"),
        ])
        .map(|(resource, action)| Request {
            action: Action::parse(action).expect("action"),
            resource,
            principal: Principal::user("000000000000", "someone"),
            context: Context::new(),
        })
        .collect();
    let policies: Vec<_> =
        patterns.iter().map(|pattern| identity(&allow("s3:*", pattern))).collect();
    for (a, pattern) in policies.iter().zip(&patterns) {
        for (b, other) in policies.iter().zip(&patterns) {
            let within =
                requests.iter().all(|r| !a.decide(r).is_allowed() || b.decide(r).is_allowed());
            let verdict = no_more_permissive(a, b, World::S3);
            assert_eq!(verdict == Verdict::Proved, within, "{pattern} {other} {}", word(&verdict));
            assert!(!matches!(verdict, Verdict::Unknown(_)));
        }
    }
}

/// The documents of a caller, for a message.
fn shown(access: &Access) -> String {
    let shown = |(layer, _, attached): (crate::decision::Layer, _, &Attached)| {
        format!(
            "{} as {}: {}",
            layer.as_str(),
            attached.policy.profile().name,
            attached.policy.source()
        )
    };
    let documents: Vec<_> = access.policies.attachments().map(shown).collect();
    format!("{} (bucket {:?})", documents.join(" "), access.bucket)
}

/// All layers of a caller, and callers of every kind.
pub(super) fn layered() -> impl Strategy<Value = Access> {
    let user = "arn:aws:iam::000000000000:user/alice";
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({ "AWS": "000000000000" }),
        json!({ "AWS": user }),
        json!({ "AWS": "arn:aws:iam::000000000000:role/team" }),
        json!({ "AWS": ["arn:aws:sts::000000000000:assumed-role/team/s", user] }),
        json!({ "AWS": [user, "000000000000", "arn:aws:iam::000000000000:role/team",
            "arn:aws:sts::000000000000:assumed-role/team/s"] }),
        json!({ "Service": "logging.s3.amazonaws.com" }),
    ]);
    let plain = || prop::collection::vec(statement(false), 1..3);
    let of_bucket =
        (statement(false), principal, any::<bool>()).prop_map(|(mut statement, principal, not)| {
            let not = not && statement["Effect"] == json!("Deny");
            statement[if not { "NotPrincipal" } else { "Principal" }] = principal;
            statement
        });
    let document = |kind| move |statements: Vec<Value>| attached(&json!(statements), kind);
    (
        prop::option::weighted(0.7, plain().prop_map(document(DocumentKind::Identity))),
        prop::option::weighted(
            0.8,
            prop::collection::vec(of_bucket, 1..4).prop_map(document(DocumentKind::Bucket)),
        ),
        prop::option::weighted(0.25, plain().prop_map(document(DocumentKind::Boundary))),
        prop::option::weighted(0.25, plain().prop_map(document(DocumentKind::Session))),
        any::<bool>(),
    )
        .prop_map(|(identity, bucket, boundary, session, named)| Access {
            policies: PolicySet {
                identity: identity.into_iter().collect(),
                bucket,
                boundary,
                session,
                guardrails: None,
            },
            bucket: named.then(|| "a".to_owned()),
        })
        .prop_flat_map(|access| {
            any::<bool>()
                .prop_map(move |other| if other { as_minio(&access) } else { access.clone() })
        })
}

pub(super) fn callers() -> Vec<Principal> {
    let user = |name: &str| Principal::user("000000000000", name);
    let session = |arn: &str| Principal {
        kind: PrincipalKind::Session,
        arn: format!("arn:aws:sts::000000000000:assumed-role/{arn}"),
        ..user("s")
    };
    vec![
        Principal::anonymous("000000000000"),
        user("alice"),
        user("bob"),
        Principal::user("111122223333", "alice"),
        Principal {
            kind: PrincipalKind::ServiceAccount,
            parent: Some("alice".into()),
            ..user("svc")
        },
        session("team/s"),
        session("team/other"),
        session("elsewhere/s"),
        Principal { parent: Some("alice".into()), ..session("team/s") },
    ]
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn layers_agree_with_brute_force(a in layered(), b in layered(), any_world in any::<bool>()) {
        let is_minio = |access: &Access| {
            let set = &access.policies;
            let layers = [&set.bucket, &set.boundary, &set.session];
            let mut all = set.identity.iter().chain(layers.into_iter().flatten());
            all.any(|attached| attached.policy.profile() == Profile::MINIO)
        };
        let any_world = any_world && !is_minio(&a) && !is_minio(&b);
        let world = if any_world { World::Any } else { World::S3 };
        let verdict = no_more_permissive(&a, &b, world);
        let exposed = not_public(&a, world);
        prop_assert!(!matches!(verdict, Verdict::Unknown(_)) && !matches!(exposed, Verdict::Unknown(_)));
        for request in REQUESTS.with(Arc::clone).iter().step_by(7) {
            for principal in callers() {
                let request = Request { principal, ..request.clone() };
                let is_anonymous = request.principal.kind == PrincipalKind::Anonymous;
                if is_anonymous && world == World::S3 && request.context.get("aws:username").is_some() {
                    continue;
                }
                let allowed = a.decide(&request).is_allowed();
                if allowed && !b.decide(&request).is_allowed() {
                    let line = request_line(&request);
                    prop_assert!(verdict != Verdict::Proved, "{line}\n{}\n{}", shown(&a), shown(&b));
                }
                if allowed && is_anonymous {
                    prop_assert!(exposed != Verdict::Proved, "{}", request_line(&request));
                }
            }
        }
    }

    /// The two readings of one policy, and two policies in the other reading.
    #[test]
    fn readings_agree_with_brute_force(
        a in prop::collection::vec(statement(false), 1..4),
        b in prop::collection::vec(statement(false), 1..3),
        open in prop::collection::vec(statement(true), 1..3),
    ) {
        let requests = REQUESTS.with(Arc::clone);
        let (a, b, open) = (identity(&json!(a)), identity(&json!(b)), identity(&json!(open)));
        let known = agree(&as_minio(&a), &as_minio(&b), &requests)?
            && agree(&as_minio(&a), &a, &requests)?
            && agree(&a, &as_minio(&a), &requests)?;
        prop_assert!(known, "nothing is left open without variables");
        agree(&as_minio(&open), &open, &requests)?;
        agree(&open, &as_minio(&open), &requests)?;
        agree(&as_minio(&open), &as_minio(&b), &requests)?;
    }

    /// Taking out a statement that is said to be of no use changes no decision, taking out another one does.
    #[test]
    fn statements_are_of_the_use_that_is_said(
        policy in prop::collection::vec(statement(false), 1..4),
    ) {
        let access = identity(&json!(policy));
        for (index, finding) in statements(&access, World::S3).iter().enumerate() {
            let mut less = policy.clone();
            less.remove(index);
            let less = identity(&json!(less));
            let changes = |r: &Request| access.decide(r).is_allowed() != less.decide(r).is_allowed();
            match &finding.role {
                Role::Needed(found) => prop_assert!(changes(&found.request)),
                Role::Redundant | Role::Dead => {
                    prop_assert!(!REQUESTS.with(Arc::clone).iter().any(changes));
                }
                Role::Unknown(limit) => prop_assert!(false, "{}", limit),
            }
        }
    }
}

thread_local! {
    static REQUESTS: Arc<Vec<Request>> = Arc::new(requests());
}
