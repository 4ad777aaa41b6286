//! The condition operators, held against tables that others can read and reuse.
//!
//! `samples.tsv` is written by hand; `operators.tsv` is what the rules in [`rules`] make of it, every operator with
//! every set operator and `IfExists` against every shape of a key. Neither comes from an engine. All of it is asked of
//! the walk, the index, the trace and the naive reading.

mod rules;

use std::fmt::Write as _;
use std::sync::Arc;

use policy_lab::explain::explain;
use policy_lab::{
    Action, Attached, Compiled, Context, DocumentKind, Effect, Policy, PolicySet, Principal,
    Profile, Request, Resource, evaluate,
};
use serde_json::{Value, json};

use self::rules::{BASES, Question, SHAPES, Shape};
use crate::reference::condition;

const KEY: &str = "test:key";
/// A key with several values by nature, whatever their number.
const LIST: &str = "aws:TagKeys";

/// A condition of one policy.
struct Asked<'a> {
    profile: Profile,
    operator: &'a str,
    key: &'a str,
    values: Value,
}

impl Asked<'_> {
    /// What the engines say, as the tables write it; they must agree.
    fn engines(&self, context: &Context) -> char {
        let applies = ["Allow", "Deny"].map(|effect| self.applies(effect, context));
        match applies {
            [None, None] => 'E',
            [Some(true), Some(true)] => 'T',
            [Some(false), Some(false)] => 'F',
            [Some(false), Some(true)] => 'U',
            odd => panic!("{odd:?} of {} on {}", self.operator, self.key),
        }
    }

    /// Whether a statement with the condition takes effect; `None`: the policy is refused.
    fn applies(&self, effect: &str, context: &Context) -> Option<bool> {
        let condition = json!({ self.operator: { self.key: self.values } });
        let policy = policy(self.profile, effect, &condition)?;
        let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
        let set = PolicySet { identity, ..PolicySet::default() };
        let request = request(context);
        let walked = evaluate(&set, &request);
        assert_eq!(explain(&set, &request).decision, walked, "{condition}");
        assert_eq!(evaluate(&Compiled::new(set), &request), walked, "{condition}");
        Some(walked.effect != Effect::ImplicitDeny)
    }

    /// What the naive reading says.
    fn naive(&self, context: &Context) -> char {
        let Self { profile, operator, key, values } = self;
        match condition::holds(profile.name, operator, key, values, context) {
            Err(condition::Refused) => 'E',
            Ok(Some(true)) => 'T',
            Ok(Some(false)) => 'F',
            Ok(None) => 'U',
        }
    }

    fn check(&self, context: &Context, expected: &str) {
        let about = || {
            let Self { profile, operator, key, values } = self;
            format!("{} {operator} {key} {values}: {context:?}", profile.name)
        };
        assert_eq!(self.engines(context).to_string(), expected, "engines: {}", about());
        assert_eq!(self.naive(context).to_string(), expected, "naive: {}", about());
    }
}

fn policy(profile: Profile, effect: &str, condition: &Value) -> Option<Policy> {
    let document = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": effect, "Action": "s3:GetObject", "Resource": "*", "Condition": condition,
    }});
    Policy::parse_as(&document.to_string(), DocumentKind::Identity, profile).ok()
}

fn request(context: &Context) -> Request {
    Request {
        action: Action::parse("s3:GetObject").expect("action"),
        resource: Resource::Object { bucket: "b".into(), key: "k".into() },
        principal: Principal::user("000000000000", "alice"),
        context: context.clone(),
    }
}

/// Whether a condition lets an allowing statement take effect.
fn holds(condition: &Value, context: &Context) -> bool {
    let policy = policy(Profile::AWS, "Allow", condition).expect("valid policy");
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    let set = PolicySet { identity, ..PolicySet::default() };
    evaluate(&set, &request(context)).is_allowed()
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| line.split('\t').collect())
}

fn strings(list: &str) -> Vec<String> {
    serde_json::from_str(list).expect("a list of texts")
}

/// A key of several values by nature can stand in for the row's own.
fn list_key(key: &str) -> Option<&'static str> {
    (key == KEY).then_some(LIST)
}

const SAMPLES: &str = include_str!("../data/samples.tsv");
const OPERATORS: &str = include_str!("../data/operators.tsv");
const HEAD: &str = "\
# Every condition operator, bare and with IfExists and the set operators, against every shape of a key, in both profiles.
# T: the condition holds; F: it does not; U: no sure answer, so an Allow does not apply and a Deny does; E: the policy is
# refused; -: the key cannot have the shape. `{…}` is a key with several values by nature.
# Made of samples.tsv by the rules in evaluation/operators/rules.rs, with POLICY_LAB_WRITE_TABLES=1; never by an engine.
";

/// The table that the rules make of the samples.
fn made() -> String {
    let names: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
    let mut table =
        format!("{HEAD}profile\toperator\tkey\tpolicy\thit\tmiss\t{}\tsource\n", names.join("\t"));
    for row in rows(SAMPLES) {
        let [profile, base, key, policy, hit, miss, source] = row[..] else {
            panic!("odd row: {row:?}")
        };
        let values = strings(policy);
        for set in ["", "ForAllValues", "ForAnyValue"] {
            for if_exists in [false, true] {
                let question = Question { profile, base, set, if_exists, key, policy: &values };
                let answers = SHAPES.map(|shape| match shape.is_list && list_key(key).is_none() {
                    true => "-".to_owned(),
                    false => question.answer(shape).to_string(),
                });
                // Writing to a string does not fail.
                let _ = writeln!(
                    table,
                    "{profile}\t{}\t{key}\t{policy}\t{hit}\t{miss}\t{}\t{source}; {}",
                    question.operator(),
                    answers.join("\t"),
                    question.source(),
                );
            }
        }
    }
    table
}

#[test]
fn the_table_is_what_the_rules_make_of_the_samples() {
    let made = made();
    if std::env::var_os("POLICY_LAB_WRITE_TABLES").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/operators.tsv");
        std::fs::write(path, &made).expect("written");
        return;
    }
    assert!(made == OPERATORS, "POLICY_LAB_WRITE_TABLES=1 writes it again");
    for profile in ["aws", "minio"] {
        for base in BASES {
            let is_there = |row: Vec<&str>| row[0] == profile && row[1] == base;
            assert!(rows(SAMPLES).any(is_there), "no sample of {base} for {profile}");
        }
    }
}

#[test]
fn every_operator_against_every_shape_of_a_key() {
    let mut checked = 0;
    for row in rows(OPERATORS) {
        let [profile, operator, key, policy, hit, miss, answers @ .., _source] = row.as_slice()
        else {
            panic!("short row: {row:?}")
        };
        let profile = Profile::named(profile).expect("a profile");
        assert_eq!(answers.len(), SHAPES.len(), "{operator}");
        for (Shape { hits, is_list, name }, expected) in SHAPES.into_iter().zip(answers) {
            let key = match (is_list, list_key(key)) {
                (false, _) => *key,
                (true, Some(list)) => list,
                (true, None) => {
                    assert_eq!(*expected, "-", "{operator} {name}");
                    continue;
                }
            };
            let mut context = Context::new();
            if let Some(hits) = hits {
                let values = hits.iter().map(|is_hit| if *is_hit { hit } else { miss });
                context.set_many(key, values.map(ToString::to_string).collect());
            }
            let asked = Asked { profile, operator, key, values: json!(strings(policy)) };
            asked.check(&context, expected);
            checked += 1;
        }
    }
    assert!(checked > 4_000, "{checked} checks are not the whole table");
}

#[test]
fn one_value_against_one_value() {
    for row in rows(include_str!("../data/values.tsv")) {
        let [profile, operator, key, pattern, value, expected, _source] = row[..] else {
            panic!("odd row: {row:?}")
        };
        let mut context = Context::new();
        context.set("aws:username", "al*ce");
        context.set("aws:PrincipalTag/team", "red");
        context.set(key, value);
        let profile = Profile::named(profile).expect("a profile");
        Asked { profile, operator, key, values: json!(pattern) }.check(&context, expected);
    }
}

#[test]
fn variables_are_plain_text_before_2012() {
    let document = json!({
        "Statement": {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "*",
            "Condition": { "StringEquals": { KEY: "${aws:username}" } },
        },
    });
    let policy = Policy::parse(&document.to_string(), DocumentKind::Identity).expect("valid");
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    let set = PolicySet { identity, ..PolicySet::default() };
    for (value, expected) in [("${aws:username}", true), ("alice", false)] {
        let mut context = Context::new();
        context.set("aws:username", "alice");
        context.set(KEY, value);
        assert_eq!(evaluate(&set, &request(&context)).is_allowed(), expected);
    }
}

/// Values of one key are alternatives, for a negated operator none may fit; keys and operators must all hold.
#[test]
fn values_keys_and_operators_combine() {
    let condition = |condition: Value| {
        let mut context = Context::new();
        context.set("test:a", "1");
        context.set("test:b", "2");
        holds(&condition, &context)
    };
    assert!(condition(json!({})));
    assert!(condition(json!({ "StringEquals": { "test:a": ["0", "1"] } })));
    assert!(!condition(json!({ "StringNotEquals": { "test:a": ["0", "1"] } })));
    assert!(!condition(json!({ "StringEquals": { "test:a": "1", "test:b": "1" } })));
    assert!(condition(json!({ "StringEquals": { "test:a": "1", "test:b": "2" } })));
    assert!(!condition(json!({ "StringEquals": { "test:a": "1" }, "Null": { "TEST:B": true } })));
    assert!(condition(json!({ "NumericEquals": { "test:a": 1 }, "Null": { "TEST:B": false } })));
}

/// What only one profile has is refused with that profile's name, not as a mistake.
#[test]
fn a_refusal_names_the_profile() {
    for row in rows(SAMPLES).filter(|row| row[0] == "minio") {
        let [_, operator, key, policy, ..] = row[..] else { panic!("odd row: {row:?}") };
        let document = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
            "Condition": { operator: { key: strings(policy) } },
        }});
        let read =
            |profile| Policy::parse_as(&document.to_string(), DocumentKind::Identity, profile);
        if let Err(error) = read(Profile::MINIO) {
            assert!(error.message.contains("profile `minio`"), "{error}");
            assert!(read(Profile::AWS).is_ok(), "{operator}");
        }
    }
}
