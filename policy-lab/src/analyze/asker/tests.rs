//! One caller in one context: against every request of a small world.

use proptest::prelude::*;
use serde_json::json;

use super::{Asker, Others, Outcome, Within, always, no_more_than};
use crate::analyze::tests::{callers, identity, layered, requests, statement};
use crate::analyze::{Access, Grant, Limit, Verdict, request_line};
use crate::{Effect, PrincipalKind, Request, Resource};

const OUTCOMES: [Outcome; 4] =
    [Outcome::Allowed, Outcome::Denied, Outcome::ExplicitlyDenied, Outcome::ImplicitlyDenied];

/// The same question about other objects of the bucket.
fn neighbours(request: &Request) -> Vec<Request> {
    let keys = ["x", "y", "xy", "X", "x/y", "x*", "é"];
    let object = |key: &str| Resource::Object { bucket: "a".into(), key: key.into() };
    keys.iter().map(|key| Request { resource: object(key), ..request.clone() }).collect()
}

/// Requests on objects, each with its caller.
fn asked() -> impl Strategy<Value = Request> {
    let objects: Vec<Request> = requests()
        .into_iter()
        .filter(|request| matches!(request.resource, Resource::Object { .. }))
        .collect();
    (prop::sample::select(objects), prop::sample::select(callers()))
        .prop_map(|(request, principal)| Request { principal, ..request })
        // A caller without a signature has no name; such a request does not exist.
        .prop_filter("anonymous", |request| {
            request.principal.kind != PrincipalKind::Anonymous
                || request.context.get("aws:username").is_none()
        })
}

fn asker(request: &Request, others: Others) -> Asker {
    Asker { principal: request.principal.clone(), context: request.context.clone(), others }
}

fn grant(request: &Request) -> Grant {
    let resources = ["arn:aws:s3:::a/*".to_owned()];
    Grant::new(&[request.action.as_str().to_owned()], &resources, None).expect("valid")
}

fn check(access: &Access, request: &Request) -> Result<(), TestCaseError> {
    let within = Within::Bucket("a".to_owned());
    let closed = asker(request, Others::AbsentBut(Vec::new()));
    for outcome in OUTCOMES {
        let verdict = always(access, &closed, &grant(request), &within, outcome);
        match &verdict {
            Verdict::Proved => {
                let other = neighbours(request)
                    .into_iter()
                    .find(|request| !outcome.is(access.decide(request).effect));
                prop_assert!(other.is_none(), "{outcome:?} {}", request_line(&other.expect("one")));
            }
            Verdict::Refuted(found) => {
                let found = &found.request;
                prop_assert_eq!(&found.context, &request.context);
                prop_assert_eq!(&found.principal, &request.principal);
                prop_assert!(!outcome.is(access.decide(found).effect));
            }
            Verdict::Unknown(limit) => prop_assert!(false, "{}", limit),
        }
    }
    // There are such requests, so nothing above was proved of nothing.
    let none = always(access, &closed, &grant(request), &within, Outcome::None);
    prop_assert!(matches!(none, Verdict::Refuted(_)));
    // What holds whatever else the request says holds of this one.
    let open = asker(
        &Request { context: crate::Context::new(), ..request.clone() },
        Others::OpenBut(Vec::new()),
    );
    let verdict = always(access, &open, &grant(request), &within, Outcome::Denied);
    match verdict {
        Verdict::Proved => {
            let allowed = |request: &Request| access.decide(request).effect == Effect::Allow;
            prop_assert!(!neighbours(request).iter().any(allowed));
        }
        Verdict::Refuted(found) => prop_assert!(access.decide(&found.request).is_allowed()),
        Verdict::Unknown(limit) => prop_assert!(
            matches!(limit, Limit::Variables | Limit::Case | Limit::Repeated),
            "{}",
            limit
        ),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_caller_is_decided_as_the_evaluator_does(access in layered(), request in asked()) {
        check(&Access { bucket: Some("a".to_owned()), ..access }, &request)?;
    }

    #[test]
    fn variables_are_known_of_a_caller(
        statements in prop::collection::vec(statement(true), 1..4),
        request in asked(),
    ) {
        check(&identity(&json!(statements)), &request)?;
    }

    #[test]
    fn nothing_beyond_a_limit(
        statements in prop::collection::vec(statement(true), 1..4),
        limit in prop::collection::vec(statement(true), 1..3),
        request in asked(),
    ) {
        let (access, limit) = (identity(&json!(statements)), identity(&json!(limit)));
        let closed = asker(&request, Others::AbsentBut(Vec::new()));
        let within = Within::Outside(Vec::new());
        let beyond = |request: &Request| {
            access.decide(request).is_allowed() && !limit.decide(request).is_allowed()
        };
        match no_more_than(&access, &limit, &closed, &within) {
            Verdict::Proved => prop_assert!(!neighbours(&request).iter().any(beyond)),
            Verdict::Refuted(found) => prop_assert!(beyond(&found.request)),
            Verdict::Unknown(limit) => prop_assert!(false, "{}", limit),
        }
    }
}
