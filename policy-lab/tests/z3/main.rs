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

#[path = "../support/statements.rs"]
mod generate;
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

/// How the solver is asked: first as it comes; then, where it gave up, with other choices at the start. Work is limited
/// by the solver's own count and not by a clock, so that a busy machine changes nothing. A million is about a second.
const ATTEMPTS: [&[&str]; 2] =
    [&["rlimit=1000000"], &["smt.random_seed=7", "smt.arith.solver=2", "rlimit=2000000"]];

fn clause(variables: bool) -> impl Strategy<Value = (String, Value)> {
    let texts: &[&str] = match variables {
        true => &["x", "x*", "?", "xy", "home/*", "${aws:username}", "x${s3:prefix}"],
        false => &["x", "x*", "*y", "?", "x?z", "xy", "*x*", "home/*"],
    };
    let text = generate::test(
        &["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"],
        &["aws:username", "aws:TagKeys", "s3:prefix"],
        texts,
    );
    let number = generate::test(
        &["NumericLessThan", "NumericEquals", "NumericGreaterThanEquals"],
        &["s3:max-keys"],
        &["1", "2", "1.5", "-3"],
    );
    let null = generate::null(&["aws:username", "aws:TagKeys", "s3:max-keys"], true);
    prop_oneof![5 => generate::clause(prop_oneof![3 => text, 1 => number], |_| true), 1 => null]
}

fn statement(variables: bool) -> impl Strategy<Value = Value> {
    let actions = generate::some_of(&[
        "*",
        "s3:*",
        "s3:Get*",
        "s3:GetObject",
        "s3:*Object",
        "s3:List*",
        "admin:*",
    ]);
    let resources: &[&str] = match variables {
        true => &[
            "*",
            "arn:aws:s3:::a/*",
            "arn:aws:s3:::a/x*",
            "arn:aws:s3:::a/x/*",
            "arn:aws:s3:::a/${aws:username}",
            "arn:aws:s3:::a/${aws:username}/*",
            "arn:aws:s3:::a/x${s3:prefix}*",
        ],
        false => &[
            "*",
            "arn:aws:s3:::a",
            "arn:aws:s3:::a*",
            "arn:aws:s3:::a/*",
            "arn:aws:s3:::?/x*",
            "arn:aws:s3:::*y",
            "arn:aws:s3:::a/*/b?",
        ],
    };
    let resources = generate::some_of(resources);
    generate::statement((0.65, 0.15), actions, resources, clause(variables))
}

fn access(statements: &[Value]) -> Access {
    let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = Policy::parse(&document, DocumentKind::Identity).expect("valid");
    let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
    Access { policies: PolicySet { identity, ..PolicySet::default() }, bucket: None }
}

/// One answer for each question: `sat`, `unsat` or `unknown`.
fn solve(questions: &[String]) -> Vec<String> {
    let [first, again] = ATTEMPTS;
    let mut answers = solve_with(first, questions);
    let open = |(at, answer): (usize, &String)| (answer == "unknown").then_some(at);
    let open: Vec<_> = answers.iter().enumerate().filter_map(open).collect();
    let asked: Vec<_> = open.iter().map(|at| questions[*at].clone()).collect();
    for (at, answer) in open.into_iter().zip(solve_with(again, &asked)) {
        answers[at] = answer;
    }
    answers
}

/// The same from one process of the solver.
fn solve_with(options: &[&str], questions: &[String]) -> Vec<String> {
    if questions.is_empty() {
        return Vec::new();
    }
    let solver = std::env::var_os("POLICY_LAB_Z3").expect("`POLICY_LAB_Z3` names the solver");
    let mut child = Command::new(solver)
        .arg("-in")
        .args(options)
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
    let answers: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len(), "{answers:?}");
    answers
}

/// What both said, of so many pairs.
#[derive(Default)]
struct Tally {
    compared: usize,
    proved: usize,
    /// By the solver.
    undecided: usize,
    /// By us.
    unknown: usize,
}

fn compare(variables: bool, cases: usize) -> Tally {
    let mut runner = TestRunner::deterministic();
    let policy = || prop::collection::vec(statement(variables), 1..4);
    let mut sample = || {
        let pair = (policy(), policy()).new_tree(&mut runner).expect("a pair");
        pair.current()
    };
    let mut tally = Tally::default();
    while tally.compared + tally.undecided + tally.unknown < cases {
        let pairs: Vec<_> = (0..BATCH).map(|_| sample()).collect();
        let questions: Vec<_> = pairs.iter().map(|(a, b)| smt::question(a, b)).collect();
        let answers = solve(&questions);
        for ((a, b), answer) in pairs.iter().zip(&answers) {
            let verdict = no_more_permissive(&access(a), &access(b), World::S3);
            let (ours, witness) = match &verdict {
                Verdict::Proved => ("unsat", String::new()),
                Verdict::Refuted(found) => ("sat", request_line(&found.request)),
                Verdict::Unknown(limit) => {
                    assert!(variables, "{limit}: {a:?} {b:?}");
                    tally.unknown += 1;
                    continue;
                }
            };
            if answer == "unknown" {
                tally.undecided += 1;
                continue;
            }
            tally.compared += 1;
            tally.proved += usize::from(ours == "unsat");
            assert_eq!(ours, answer, "{} {} {witness}", json!(a), json!(b));
        }
    }
    let Tally { compared, proved, undecided, unknown } = tally;
    println!(
        "{compared} answers are z3's ({proved} of them proofs), {undecided} it did not decide, {unknown} we did not"
    );
    tally
}

fn cases() -> usize {
    let asked = std::env::var("POLICY_LAB_Z3_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(500)
}

impl Tally {
    /// Nearly everything was compared, and with both outcomes.
    fn says_something(&self, undecided_percent: usize) {
        let Self { compared, proved, undecided, unknown } = *self;
        let all = compared + undecided + unknown;
        assert!(proved > 0 && proved < compared, "{proved} of {compared} are proofs");
        assert!(undecided * 100 <= all * undecided_percent, "{undecided} of {all} undecided");
        assert!(unknown * 100 <= all, "{unknown} of {all} unknown to us");
    }
}

#[test]
fn proofs_and_refutations_are_the_solvers() {
    compare(false, cases()).says_something(2);
}

#[test]
fn what_is_said_of_variables_is_what_the_solver_says() {
    compare(true, cases() / 5).says_something(4);
}
