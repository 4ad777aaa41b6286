//! `prove` against z3: random pairs of policies, said a second time as SMT-LIB and decided by a solver that shares
//! nothing with us.
//!
//! `./test slow` installs z3 and names it in `POLICY_LAB_Z3`; a feature of its own keeps this out of the quick tests,
//! and without the solver it fails.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot build its question has failed"
)]

mod smt;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use policy_lab::analyze::{Access, Verdict, World, no_more_permissive, request_line};
use policy_lab::{Attached, DocumentKind, Policy, PolicySet};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Questions to one process of the solver.
const BATCH: usize = 50;

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(words), 1..3).prop_map(|words| json!(words))
}

fn clause() -> impl Strategy<Value = (String, Value)> {
    let quantifier = prop::sample::select(vec!["", "", "ForAllValues:", "ForAnyValue:"]);
    let if_exists = prop::sample::select(vec!["", "", "IfExists"]);
    let text = (
        prop::sample::select(vec![
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
        ]),
        prop::sample::select(vec!["aws:username", "aws:TagKeys", "s3:prefix"]),
        some_of(&["x", "x*", "*y", "?", "x?z", "xy", "*x*", "home/*"]),
    );
    let number = (
        prop::sample::select(vec!["NumericLessThan", "NumericEquals", "NumericGreaterThanEquals"]),
        Just("s3:max-keys"),
        some_of(&["1", "2", "1.5", "-3"]),
    );
    let test = prop_oneof![3 => text, 1 => number];
    let set =
        (quantifier, if_exists, test).prop_map(|(quantifier, if_exists, (base, key, values))| {
            (format!("{quantifier}{base}{if_exists}"), json!({ key: values }))
        });
    let null = (
        prop::sample::select(vec!["aws:username", "aws:TagKeys", "s3:max-keys"]),
        some_of(&["true", "false"]),
    )
        .prop_map(|(key, values)| ("Null".to_owned(), json!({ key: values })));
    prop_oneof![5 => set, 1 => null]
}

fn statement() -> impl Strategy<Value = Value> {
    let actions =
        some_of(&["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:*Object", "s3:List*", "admin:*"]);
    let resources = some_of(&[
        "*",
        "arn:aws:s3:::a",
        "arn:aws:s3:::a*",
        "arn:aws:s3:::a/*",
        "arn:aws:s3:::?/x*",
        "arn:aws:s3:::*y",
        "arn:aws:s3:::a/*/b?",
    ]);
    (
        prop::bool::weighted(0.65),
        (prop::bool::weighted(0.85), actions),
        (prop::bool::weighted(0.85), resources),
        prop::collection::vec(clause(), 0..3),
    )
        .prop_map(|(allows, (action, actions), (resource, resources), clauses)| {
            let condition: serde_json::Map<String, Value> = clauses.into_iter().collect();
            json!({
                "Effect": if allows { "Allow" } else { "Deny" },
                if action { "Action" } else { "NotAction" }: actions,
                if resource { "Resource" } else { "NotResource" }: resources,
                "Condition": condition,
            })
        })
}

fn access(statements: &[Value]) -> Access {
    let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = Policy::parse(&document, DocumentKind::Identity).expect("valid");
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    Access { policies: PolicySet { identity, ..PolicySet::default() }, bucket: None }
}

/// One answer for each question: `sat`, `unsat` or `unknown`.
fn solve(questions: &[String]) -> Vec<String> {
    let solver = std::env::var_os("POLICY_LAB_Z3").expect("`POLICY_LAB_Z3` names the solver");
    let mut child = Command::new(solver)
        .args(["-in", "-t:5000", "-T:550"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the solver starts");
    let mut input = child.stdin.take().expect("piped");
    let text: String =
        questions.iter().map(|question| format!("(reset)\n{question}\n(check-sat)\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written").expect("written");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!text.contains("(error"), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn proofs_and_refutations_are_the_solvers() {
    let asked = std::env::var("POLICY_LAB_Z3_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases: usize = asked.unwrap_or(500);
    let mut runner = TestRunner::deterministic();
    let policy = || prop::collection::vec(statement(), 1..4);
    let mut sample = || {
        let pair = (policy(), policy()).new_tree(&mut runner).expect("a pair");
        pair.current()
    };
    let (mut compared, mut undecided, mut proved) = (0, 0, 0);
    while compared + undecided < cases {
        let pairs: Vec<_> = (0..BATCH).map(|_| sample()).collect();
        let questions: Vec<_> = pairs.iter().map(|(a, b)| smt::question(a, b)).collect();
        let answers = solve(&questions);
        assert_eq!(answers.len(), pairs.len(), "{answers:?}");
        for ((a, b), answer) in pairs.iter().zip(&answers) {
            let verdict = no_more_permissive(&access(a), &access(b), World::S3);
            let ours = match &verdict {
                Verdict::Proved => "unsat",
                Verdict::Refuted(_) => "sat",
                Verdict::Unknown(limit) => panic!("{limit}: {a:?} {b:?}"),
            };
            let witness = match &verdict {
                Verdict::Refuted(found) => request_line(&found.request),
                _ => String::new(),
            };
            if answer == "unknown" {
                undecided += 1;
                continue;
            }
            compared += 1;
            proved += usize::from(ours == "unsat");
            assert_eq!(ours, answer, "{} {} {witness}", json!(a), json!(b));
        }
    }
    println!(
        "{compared} answers are z3's ({proved} of them proofs), {undecided} it did not decide"
    );
    assert!(compared > cases / 2 && proved > 0 && proved < compared);
}
