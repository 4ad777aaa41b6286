//! The language read naively, straight from the JSON: no compilation, no indices, recursion where it is clearest.
//!
//! `None` is "no sure answer". Shares no code with the library but its plain data types.

pub(crate) mod condition;

use std::ops::Range;
use std::sync::Arc;

use policy_lab::explain::explain;
use policy_lab::{
    Action, Attached, Compiled, Context, Decision, DocumentKind, Effect, Policy, PolicySet,
    Principal, PrincipalKind, Request, Resource, evaluate,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generate;

/// A pattern character: itself, or a wildcard.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Char(char),
    One,
    Star,
}

/// Sign by sign: how much of the text can be behind it.
fn covers(pattern: &[Sign], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for sign in pattern {
        let behind = |at: usize| match sign {
            Sign::Star => reached[..=at].contains(&true),
            Sign::One => at > 0 && reached[at - 1],
            Sign::Char(char) => at > 0 && reached[at - 1] && text[at - 1] == *char,
        };
        reached = (0..=text.len()).map(behind).collect();
    }
    reached[text.len()]
}

/// Puts values in; `None` if one is missing.
fn signs(pattern: &str, wildcards: bool, context: &Context) -> Option<Vec<Sign>> {
    let mut signs = Vec::new();
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        if let Some(name) = rest.strip_prefix("${") {
            let (name, after) = name.split_once('}').expect("closed");
            signs.extend(variable(name, context)?.chars().map(Sign::Char));
            rest = after;
            continue;
        }
        signs.push(match char {
            '*' if wildcards => Sign::Star,
            '?' if wildcards => Sign::One,
            other => Sign::Char(other),
        });
        rest = &rest[char.len_utf8()..];
    }
    Some(signs)
}

/// What `${…}` stands for.
fn variable(name: &str, context: &Context) -> Option<String> {
    if ["*", "?", "$"].contains(&name) {
        return Some(name.to_owned());
    }
    let (name, default) = match name.split_once(',') {
        Some((name, default)) => (name, Some(default.trim().trim_matches('\'').to_owned())),
        None => (name, None),
    };
    match context.get(name) {
        // Several-valued by nature, also with one value.
        Some([value]) if !name.eq_ignore_ascii_case("aws:TagKeys") => Some(value.clone()),
        _ => default,
    }
}

fn fits(pattern: &str, wildcards: bool, text: &str, context: &Context) -> bool {
    let text: Vec<_> = text.chars().collect();
    signs(pattern, wildcards, context).is_some_and(|signs| covers(&signs, &text))
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

fn action_holds(statement: &Value, action: &str) -> bool {
    let listed = |value: &Value| {
        let lower = action.to_lowercase();
        list(value).iter().any(|p| fits(&p.to_lowercase(), true, &lower, &Context::new()))
    };
    match (&statement["Action"], &statement["NotAction"]) {
        (Value::Null, not) => !listed(not),
        (yes, _) => listed(yes),
    }
}

fn resource_holds(statement: &Value, request: &Request, otherwise: &[&str]) -> Option<bool> {
    let (resource, context) = (&request.resource, &request.context);
    let covered = |pattern: &String| {
        if pattern == "*" || pattern == "arn:aws:s3:::*" {
            return true;
        }
        *resource != Resource::Any && fits(pattern, true, &resource.arn(), context)
    };
    match (&statement["Resource"], &statement["NotResource"]) {
        (Value::Null, not) if list(not).iter().any(covered) => Some(false),
        (Value::Null, not) => {
            let is_whole = list(not).iter().all(|p| signs(p, true, context).is_some());
            match is_whole {
                true => Some(true),
                false => otherwise.contains(&"not-resource-without-value").then_some(false),
            }
        }
        (yes, _) => Some(list(yes).iter().any(covered)),
    }
}

fn conditions_hold(statement: &Value, context: &Context, otherwise: &[&str]) -> Option<bool> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let clauses = operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| {
            condition::holds_as(otherwise, "aws", operator, key, values, context)
                .expect("a valid policy")
        })
    });
    and(clauses)
}

fn and(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    parts
        .try_fold(Some(true), |sure, part| match part {
            Some(false) => Err(()),
            Some(true) => Ok(sure),
            None => Ok(None),
        })
        .unwrap_or(Some(false))
}

/// Allow, deny, or nothing, from one document.
fn read(document: &Value, request: &Request, bounded: bool, otherwise: &[&str]) -> Effect {
    let mut answer = Effect::ImplicitDeny;
    for statement in document["Statement"].as_array().expect("a list") {
        let holds = and([
            Some(action_holds(statement, request.action.as_str())),
            resource_holds(statement, request, otherwise),
            conditions_hold(statement, &request.context, otherwise),
            Some(means(statement, request, bounded)),
        ]
        .into_iter());
        match statement["Effect"].as_str() {
            Some("Deny") if holds != Some(false) => return Effect::ExplicitDeny,
            Some("Allow") if holds == Some(true) => answer = Effect::Allow,
            _ => {}
        }
    }
    answer
}

/// Whether a statement of a bucket policy means the caller. Of an identity policy every statement does.
fn means(statement: &Value, request: &Request, bounded: bool) -> bool {
    let lists = |value: &Value, text: &str| match value {
        Value::String(all) => all == "*",
        other => list(&other["AWS"]).iter().any(|entry| entry == "*" || entry == text),
    };
    let (arn, account) = (&request.principal.arn, &request.principal.account);
    let denies = statement["Effect"] == "Deny";
    match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, Value::Null) => true,
        (Value::Null, not) => bounded || !lists(not, arn),
        (yes, _) => {
            let by_account = denies && request.principal.kind != PrincipalKind::Anonymous;
            lists(yes, arn) || by_account && lists(yes, account)
        }
    }
}

/// The layers of a whole set, in the order of the user guide; with the rules of another author in the place of ours, by
/// the names in `differences.tsv`.
pub(crate) fn read_all(documents: &Documents, request: &Request, otherwise: &[&str]) -> Effect {
    let Documents { identity, bucket, boundary, session } = documents;
    let kind = request.principal.kind;
    if kind == PrincipalKind::Root && boundary.is_none() && session.is_none() {
        return Effect::Allow;
    }
    let read = |document: &Value| read(document, request, boundary.is_some(), otherwise);
    let all: Vec<Effect> =
        identity.iter().chain(bucket).chain(boundary).chain(session).map(read).collect();
    if all.contains(&Effect::ExplicitDeny) {
        return Effect::ExplicitDeny;
    }
    let allows = |document: &Value| read(document) == Effect::Allow;
    let granted = kind == PrincipalKind::Root
        || kind != PrincipalKind::Anonymous && identity.iter().any(allows)
        || bucket.iter().any(allows);
    let passes = otherwise.contains(&"bucket-grant-passes-boundary") && bucket.iter().any(allows);
    let within = passes || boundary.iter().all(allows);
    match granted && within && session.iter().all(allows) {
        true => Effect::Allow,
        false => Effect::ImplicitDeny,
    }
}

/// The JSON of a policy set.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    pub(crate) identity: Vec<Value>,
    pub(crate) bucket: Option<Value>,
    pub(crate) boundary: Option<Value>,
    pub(crate) session: Option<Value>,
}

impl Documents {
    pub(crate) fn parse(&self) -> PolicySet {
        let attached = |document: &Value, kind| {
            let policy = Policy::parse(&document.to_string(), kind).expect("valid");
            Attached { name: Arc::from("p"), policy: Arc::new(policy) }
        };
        let layer = |document: &Option<Value>, kind| {
            document.as_ref().map(|document| attached(document, kind))
        };
        PolicySet {
            identity: self.identity.iter().map(|d| attached(d, DocumentKind::Identity)).collect(),
            bucket: layer(&self.bucket, DocumentKind::Bucket),
            boundary: layer(&self.boundary, DocumentKind::Boundary),
            session: layer(&self.session, DocumentKind::Session),
            guardrails: None,
        }
    }
}

pub(crate) fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn documents(statements: Range<usize>) -> impl Strategy<Value = Documents> {
    let policy = move || prop::collection::vec(statement(), statements.clone()).prop_map(document);
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "arn:aws:iam::000000000000:user/alice"}),
        json!({"AWS": ["arn:aws:iam::000000000000:user/bob"]}),
        json!({"AWS": "000000000000"}),
    ]);
    let spoken = (statement(), principal, any::<bool>()).prop_map(|(mut statement, who, not)| {
        let not = not && statement["Effect"] == "Deny" && who != "*";
        statement[if not { "NotPrincipal" } else { "Principal" }] = who;
        statement
    });
    (
        prop::collection::vec(policy(), 0..3),
        prop::option::of(prop::collection::vec(spoken, 1..5).prop_map(document)),
        prop::option::weighted(0.2, policy()),
        prop::option::weighted(0.2, policy()),
    )
        .prop_map(|(identity, bucket, boundary, session)| Documents {
            identity,
            bucket,
            boundary,
            session,
        })
}

fn statement() -> impl Strategy<Value = Value> {
    let actions = generate::some_of(&[
        "*",
        "s3:*",
        "S3:get*",
        "s3:GetObject",
        "s3:?utObject",
        "s3:*Bucket",
        "s3:PutObjectTagging",
    ]);
    let resources = generate::some_of(&[
        "*",
        "arn:aws:s3:::*",
        "arn:aws:s3:::a",
        "arn:aws:s3:::a*",
        "arn:aws:s3:::a/*",
        "arn:aws:s3:::a/${aws:username}/*",
        "arn:aws:s3:::?/x*",
        "arn:aws:s3:::*/y",
        "arn:aws:s3:::a/x",
        "arn:aws:s3:::a/x*",
        "arn:aws:s3:::a/xy*x",
        "arn:aws:s3:::a/x/${aws:username}",
        "arn:aws:s3:::ab/?",
        "arn:aws:s3:::b*/x*",
        "arn:aws:s3:::${s3:prefix}/x",
    ]);
    let test = |operators, values| {
        let keys = &["s3:prefix", "aws:TagKeys", "AWS:UserName", "test:other"];
        generate::test(operators, keys, values)
    };
    let clause = prop_oneof![
        test(
            &["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"],
            &["x", "x*", "*", "?", "${aws:username}", "${s3:prefix}", "${aws:TagKeys}"],
        ),
        test(
            &["StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"],
            &["X", "a*", "${aws:username}"],
        ),
        test(
            &["NumericLessThan", "NumericNotEquals", "NumericGreaterThanEquals"],
            &["1", "3.0", "5"],
        ),
        test(&["DateLessThan", "DateNotEquals"], &["3", "5", "1970-01-01T00:00:03Z"]),
        test(&["IpAddress", "NotIpAddress"], &["10.0.0.0/8", "::/0"]),
        test(&["ArnLike", "ArnNotEquals"], &["arn:aws:s3:::*", "arn:aws:s3:::${aws:username}"]),
        test(&["BinaryEquals"], &["eA==", "Kg=="]),
        test(&["Bool"], &["true", "false"]),
    ];
    let null = generate::null(&["s3:prefix", "aws:TagKeys"], false);
    let clause = prop_oneof![4 => generate::clause(clause, |_| true), 1 => null];
    generate::statement((0.5, 0.5), actions, resources, clause)
}

/// What keys of requests hold.
const VALUES: [&str; 9] = ["x", "xy", "a", "*", "3", "True", "10.1.2.3", "::1", "arn:aws:s3:::x"];

fn request() -> impl Strategy<Value = Request> {
    let values = || prop::collection::vec(prop::sample::select(VALUES.to_vec()), 0..3);
    let context = prop::collection::btree_map(
        prop::sample::select(vec!["s3:prefix", "aws:TagKeys", "aws:username", "test:other"]),
        values(),
        0..4,
    );
    let resource = prop_oneof![
        Just(Resource::Any),
        prop::sample::select(vec!["a", "ab", "b"]).prop_map(|b| Resource::Bucket(b.into())),
        (prop::sample::select(vec!["a", "ab", "b"]), "[xy*]{1,2}(/[xy*]{0,2})?")
            .prop_map(|(bucket, key)| Resource::Object { bucket: bucket.into(), key }),
    ];
    let action = prop::sample::select(vec![
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:PutObjectTagging",
    ]);
    let kind = prop::sample::select(vec![
        PrincipalKind::User,
        PrincipalKind::User,
        PrincipalKind::Anonymous,
        PrincipalKind::Root,
    ]);
    (action, resource, context, kind).prop_map(|(action, resource, context, kind)| Request {
        action: Action::parse(action).expect("action"),
        resource,
        principal: match kind {
            PrincipalKind::Anonymous => Principal::anonymous("000000000000"),
            kind => Principal { kind, ..Principal::user("000000000000", "alice") },
        },
        context: Context::from_pairs(
            context
                .into_iter()
                .map(|(key, values)| (key, values.into_iter().map(str::to_owned).collect())),
        ),
    })
}

/// Cases of the property below in the usual lane.
const CASES: u32 = 400;

/// Cases of one property, out of so many of [`CASES`]; the slow lane asks for more of all.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("POLICY_LAB_TEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(CASES) / (CASES / usual))
}

/// The walk, the index and the trace.
fn engines_agree(set: &PolicySet, compiled: &Compiled, request: &Request) -> Decision {
    let walked = evaluate(set, request);
    assert_eq!(evaluate(compiled, request), walked, "{request:?}");
    let explanation = explain(set, request);
    assert_eq!(explanation.decision, walked, "{request:?}");
    // It is changed and put right again while a way round the decision is looked for.
    assert_eq!(explanation.request, *request);
    if let Some(flip) = explanation.flip {
        assert_ne!(flip.effect == Effect::Allow, walked.is_allowed(), "{request:?} {flip:?}");
    }
    walked
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// Every engine against the naive reading, layer by layer.
    #[test]
    fn the_compiled_readings_are_the_naive_one(
        documents in documents(1..4),
        requests in prop::collection::vec(request(), 1..4),
    ) {
        let set = documents.parse();
        let compiled = Compiled::new(set.clone());
        for request in requests {
            let decision = engines_agree(&set, &compiled, &request);
            prop_assert_eq!(decision.effect, read_all(&documents, &request, &[]), "{:?} {:?}", documents, request);
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Sets that are large enough for the index to search by prefix.
    #[test]
    fn the_index_finds_what_the_walk_finds(
        documents in documents(10..30),
        requests in prop::collection::vec(request(), 8),
    ) {
        let set = documents.parse();
        let compiled = Compiled::new(set.clone());
        for request in requests {
            prop_assert_eq!(evaluate(&compiled, &request), evaluate(&set, &request), "{:?}", request);
        }
    }
}
