//! Our decisions beside those of another author's simulator, `@cloud-copilot/iam-simulate`, in a process of its own.
//!
//! Every difference must be one of `data/differences.tsv`: the naive reading with the other author's rule in the place of
//! ours must decide as they do. Where a row says `stricter` we never allow what they do not. The slow lane sets `POLICY_LAB_PEER_PAIRS`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use policy_lab::{Action, Compiled, Context, Effect, Principal, Request, Resource, evaluate};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use crate::generate;
use crate::reference::{Documents, document, read_all};

/// Pairs of policies and request when nobody asks for more.
const PAIRS: usize = 400;

/// Pairs in work at a time.
const CHUNK: usize = 1000;

const PACKAGE: &str = "@cloud-copilot/iam-simulate@0.1.173";

/// Where the package is installed; made on first use.
fn package() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("iam-simulate");
    let installed = target.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|package| package == PACKAGE) {
        return target;
    }
    fs::create_dir_all(&target).expect("made");
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&target)
        .arg(PACKAGE)
        .status()
        .expect("npm starts; Debian has it in the package `npm`");
    assert!(status.success(), "{PACKAGE} was not installed");
    // Last, so that an interrupted installation is done again.
    fs::write(installed, PACKAGE).expect("written");
    target
}

/// A request with the documents that decide it.
#[derive(Clone, Debug)]
struct Pair {
    documents: Documents,
    request: Request,
}

impl Pair {
    fn line(&self) -> String {
        let context: Map<String, Value> = self
            .request
            .context
            .iter()
            .map(|(key, values)| match values {
                [value] if key != "aws:CalledVia" => (key.to_owned(), json!(value)),
                values => (key.to_owned(), json!(values)),
            })
            .collect();
        json!({
            "principal": self.request.principal.arn,
            "action": self.request.action.as_str(),
            "resource": self.request.resource.arn(),
            "context": context,
            "identity": self.documents.identity,
            "bucket": self.documents.bucket,
            "boundary": self.documents.boundary,
        })
        .to_string()
    }

    fn ours(&self) -> Effect {
        let set = self.documents.parse();
        let decision = evaluate(&set, &self.request);
        assert_eq!(evaluate(&Compiled::new(set), &self.request), decision, "{self:?}");
        decision.effect
    }

    /// The fewest rules that, read as the other author does, make our decision theirs; `None` if none do.
    fn differs_by(&self, theirs: Effect, rules: &[&'static str]) -> Option<Vec<&'static str>> {
        let mut choices: Vec<Vec<&'static str>> = (0_u32..1 << rules.len())
            .map(|bits| {
                let chosen = rules.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                chosen.map(|(_, rule)| *rule).collect()
            })
            .collect();
        choices.sort_by_key(Vec::len);
        choices.into_iter().find(|rules| read_all(&self.documents, &self.request, rules) == theirs)
    }
}

fn statement() -> impl Strategy<Value = Value> {
    let actions = generate::some_of(&[
        "*",
        "s3:*",
        "S3:get*",
        "s3:GetObject",
        "s3:?utObject",
        "s3:ListBucket",
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
        "arn:aws:s3:::ab/x?",
    ]);
    let names = &["aws:username", "aws:PrincipalTag/team", "aws:CalledVia"];
    let text = generate::test(
        &[
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIgnoreCase",
        ],
        names,
        &["x", "x*", "*", "?", "X", "alice", "${aws:username}"],
    );
    let number = generate::test(
        &["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"],
        &["aws:MultiFactorAuthAge"],
        &["1", "5", "10"],
    );
    let date = generate::test(
        &["DateLessThan", "DateGreaterThan", "DateEquals", "DateNotEquals"],
        &["aws:CurrentTime"],
        &["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"],
    );
    let address = generate::test(
        &["IpAddress", "NotIpAddress"],
        &["aws:SourceIp"],
        &["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"],
    );
    let bool = generate::test(&["Bool"], &["aws:SecureTransport"], &["true", "false"]);
    let test = prop_oneof![4 => text, 1 => number, 1 => date, 1 => address, 1 => bool];
    // A set operator on a key with one value is a lint, and not what the two are compared in.
    let clause = generate::clause(test, |key| key == "aws:CalledVia");
    let clause = prop_oneof![5 => clause, 1 => generate::null(names, false)];
    generate::statement((0.5, 0.2), actions, resources, clause)
}

fn pair() -> impl Strategy<Value = Pair> {
    let policy = || prop::collection::vec(statement(), 1..4).prop_map(document);
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "arn:aws:iam::000000000000:user/alice"}),
        json!({"AWS": "arn:aws:iam::000000000000:user/bob"}),
    ]);
    // Only what S3 knows, so that the other one's validation lets the bucket policy pass.
    let spoken = (statement(), principal).prop_map(|(mut statement, who)| {
        statement["Principal"] = who;
        statement["Action"] = json!("s3:*");
        if let Some(statement) = statement.as_object_mut() {
            statement.remove("NotAction");
        }
        statement
    });
    let bucket = prop::collection::vec(spoken, 1..3).prop_map(document);
    let documents = (
        prop::collection::vec(policy(), 1..3),
        prop::option::weighted(0.3, bucket),
        prop::option::weighted(0.2, policy()),
    )
        .prop_map(|(identity, bucket, boundary)| Documents {
            identity,
            bucket,
            boundary,
            session: None,
        });
    let target = prop_oneof![
        (
            prop::sample::select(vec!["s3:GetObject", "s3:PutObject"]),
            prop::sample::select(vec!["a", "ab", "b"]),
            "[xy]{1,2}(/[xy]{1,2})?"
        )
            .prop_map(|(action, bucket, key)| (
                action,
                Resource::Object { bucket: bucket.into(), key }
            )),
        prop::sample::select(vec!["a", "ab", "b"])
            .prop_map(|bucket| ("s3:ListBucket", Resource::Bucket(bucket.into()))),
    ];
    let one = |key: &'static str, values: &'static [&'static str]| {
        prop::option::of(prop::sample::select(values))
            .prop_map(move |value| value.map(|value| (key, vec![value.to_owned()])))
    };
    let called = prop::option::of(prop::collection::vec(
        prop::sample::select(vec!["x", "xy", "alice"]),
        1..3,
    ))
    .prop_map(|values| {
        values.map(|values| ("aws:CalledVia", values.into_iter().map(str::to_owned).collect()))
    });
    let context = (
        one("aws:username", &["alice", "x", "a*"]),
        one("aws:PrincipalTag/team", &["x", "X", "alice", "xy"]),
        one("aws:MultiFactorAuthAge", &["1", "5", "7"]),
        one("aws:CurrentTime", &["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"]),
        one("aws:SourceIp", &["10.1.2.3", "192.0.2.7", "2001:db8::1"]),
        one("aws:SecureTransport", &["true", "false"]),
        called,
    )
        .prop_map(|(a, b, c, d, e, f, g)| {
            [a, b, c, d, e, f, g].into_iter().flatten().collect::<Vec<_>>()
        });
    (documents, target, context).prop_map(|(documents, (action, resource), context)| Pair {
        documents,
        request: Request {
            action: Action::parse(action).expect("action"),
            resource,
            principal: Principal::user("000000000000", "alice"),
            context: Context::from_pairs(context),
        },
    })
}

/// A row of the table.
#[derive(Debug)]
struct Difference {
    /// We never allow what they do not.
    stricter: bool,
    count: usize,
}

/// Rows by rule.
fn known() -> BTreeMap<&'static str, Difference> {
    let rows = include_str!("../data/differences.tsv").lines();
    let rows = rows.filter(|row| !row.starts_with('#')).skip(1);
    rows.map(|row| {
        let [rule, direction, _where, _ours, _theirs, _why] =
            row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("odd row: {row}")
        };
        (rule, Difference { stricter: direction == "stricter", count: 0 })
    })
    .collect()
}

/// The other simulator, running.
struct Peer {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start() -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evaluation/simulate.mjs"))
            .arg(package())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts; Debian has it in the package `nodejs`");
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, questions, answers }
    }

    /// Their decisions; `None` where they refuse to decide.
    fn decide(&mut self, cases: &[Pair]) -> Vec<Option<Effect>> {
        let Self { questions, answers, .. } = self;
        std::thread::scope(|scope| {
            // A thread of its own: the pipes are smaller than the questions.
            scope.spawn(move || {
                for case in cases {
                    writeln!(questions, "{}", case.line()).expect("the other simulator reads");
                }
            });
            answers.take(cases.len()).map(|answer| effect(&answer.expect("read"))).collect()
        })
    }

    fn stop(self) {
        let Self { mut child, questions, .. } = self;
        drop(questions);
        assert!(child.wait().expect("it ends").success());
    }
}

fn effect(answer: &str) -> Option<Effect> {
    match answer.trim_matches('"') {
        "Allowed" => Some(Effect::Allow),
        "ExplicitlyDenied" => Some(Effect::ExplicitDeny),
        "ImplicitlyDenied" => Some(Effect::ImplicitDeny),
        other => {
            assert!(other.starts_with("error"), "{other}");
            None
        }
    }
}

#[test]
fn decisions_are_those_of_another_simulator() {
    let asked = std::env::var("POLICY_LAB_PEER_PAIRS").ok().and_then(|pairs| pairs.parse().ok());
    let pairs: usize = asked.unwrap_or(PAIRS);
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), seed);
    let strategy = pair();
    let mut peer = Peer::start();
    let mut seen = known();
    let names: Vec<&'static str> = seen.keys().copied().collect();
    let (mut decided, mut refused) = (0, 0);
    let mut unexplained = Vec::new();
    while decided + refused < pairs {
        let count = CHUNK.min(pairs - decided - refused);
        let cases: Vec<Pair> =
            (0..count).map(|_| strategy.new_tree(&mut runner).expect("a pair").current()).collect();
        let answers = peer.decide(&cases);
        assert_eq!(answers.len(), count, "every question is answered");
        for (case, theirs) in cases.iter().zip(answers) {
            let ours = case.ours();
            match theirs {
                None => refused += 1,
                Some(theirs) => {
                    decided += 1;
                    if ours == theirs {
                        continue;
                    }
                    let rules = case.differs_by(theirs, &names).unwrap_or_default();
                    let is_safe = |rule: &&str| !seen[*rule].stricter || ours != Effect::Allow;
                    if rules.is_empty() || !rules.iter().all(is_safe) {
                        unexplained.push(format!("{ours:?}, they {theirs:?}: {}", case.line()));
                    }
                    for rule in rules {
                        seen.entry(rule).and_modify(|difference| difference.count += 1);
                    }
                }
            }
        }
    }
    peer.stop();
    assert!(refused * 20 <= pairs, "{refused} of {pairs} were refused by the other simulator");
    let count = unexplained.len();
    unexplained.truncate(5);
    assert!(unexplained.is_empty(), "{count} unexplained:\n{}", unexplained.join("\n"));
    if pairs > 1000 {
        let never: Vec<_> = seen.iter().filter(|(_, row)| row.count == 0).collect();
        assert!(never.is_empty(), "rows that no pair needs: {never:?}");
    }
    println!("{decided} decided, {refused} refused; differences by rule: {seen:?}");
}
