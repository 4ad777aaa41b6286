//! The quick replay against the slow one, and both against decisions made one at a time, over logs with odd records.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Chunk, LogOptions, Replayed, Unreadable, simulate_log};
use crate::replay::reader::Reader;
use crate::replay::{Change, Detail, Outcome, Recorded, World, audit_line, simulate_in_detail};
use crate::{Attached, DocumentKind, Guardrails, Policy, PolicySet, evaluate};

type Blobs = Arc<HashMap<[u8; 32], String>>;

fn attached(name: &str, statements: &str, kind: DocumentKind) -> Attached {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Attached { name: name.into(), policy: Arc::new(Policy::parse(&text, kind).expect("valid")) }
}

const STATEMENTS: [&str; 8] = [
    r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:username}/*"}"#,
    r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}"#,
    r#"{"Effect":"Deny","Action":"s3:Put*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#,
    r#"{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/*","Condition":{"StringEquals":{"s3:RequestObjectTag/Team":"${aws:PrincipalTag/team, 'none'}"}}}"#,
    r#"{"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"ForAllValues:StringLike":{"aws:TagKeys":["a*","b"]},"Null":{"aws:TagKeys":"false"}}}"#,
    r#"{"Effect":"Deny","NotAction":"s3:Get*","Resource":"arn:aws:s3:::c/*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-06-01T00:00:00Z"}}}"#,
    r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"jwt:custom":"x"}}}"#,
    r#"{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}"#,
];

const REGO: &str = "package s3.authz\nimport rego.v1\n\
    deny contains {\"id\": \"ua\"} if input.env.user_agent == \"curl\"\n\
    deny contains {\"id\": \"c\"} if {input.resource.bucket == \"c\"; input.iam.effect == \"allow\"}\n";

/// Sees everything, and fails on some of it.
const WHOLE_REGO: &str = "package s3.authz\nimport rego.v1\n\
    deny contains {\"id\": \"boto\"} if some \"boto\" in input.context[_]\n\
    deny contains {\"id\": \"ip\"} if {whole := input; net.cidr_contains(\"10.9.0.0/16\", whole.env.source_ip)}\n";

/// Sixteen sets: each has some of the statements, a few a bucket policy, a boundary or a guardrail.
fn sets() -> Vec<PolicySet> {
    let guardrails = |text: &str| {
        let loaded = Guardrails::load(vec![("g.rego".into(), text.into())]).expect("loads");
        // What is told apart here is not how busy the machine is.
        Arc::new(loaded.with_time_limit(crate::rego::REVIEW_TIME_MAX))
    };
    let (some_rules, whole_rules) = (guardrails(REGO), guardrails(WHOLE_REGO));
    let some = |number: usize| {
        let chosen: Vec<_> = (0..STATEMENTS.len())
            .filter(|at| (number * 37 + 11) >> at & 1 == 1)
            .map(|at| STATEMENTS[at])
            .collect();
        chosen.join(",")
    };
    let public = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/p*"}"#;
    (0..16)
        .map(|number| PolicySet {
            identity: vec![attached("team", &some(number), DocumentKind::Identity)],
            bucket: (number % 3 == 0).then(|| attached("b", public, DocumentKind::Bucket)),
            boundary: (number % 5 == 0)
                .then(|| attached("limit", STATEMENTS[1], DocumentKind::Boundary)),
            session: None,
            guardrails: match number % 8 {
                0 => Some(Arc::clone(&whole_rules)),
                4 => Some(Arc::clone(&some_rules)),
                _ => None,
            },
        })
        .collect()
}

fn blobs(sets: &[PolicySet]) -> Blobs {
    let mut blobs = HashMap::new();
    for set in sets {
        blobs.insert(set.digest(), set.manifest());
        blobs.extend(set.documents().map(|(digest, text)| (digest, text.to_owned())));
    }
    Arc::new(blobs)
}

fn changes() -> Vec<Vec<Change>> {
    let named = attached("team", STATEMENTS[0], DocumentKind::Identity);
    let nobody = Attached { name: "nobody".into(), ..named.clone() };
    let deny = r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}"#;
    vec![
        vec![],
        vec![Change::Named(named.clone()), Change::Named(nobody)],
        vec![Change::Identity(vec![named])],
        vec![Change::Bucket {
            bucket: "b".into(),
            policy: attached("b", deny, DocumentKind::Bucket),
        }],
        vec![Change::Guardrail { name: "g.rego".into(), text: REGO.replace("curl", "boto") }],
        vec![Change::Guardrails(Vec::new())],
    ]
}

/// What a record is made of; small numbers choose among a few texts each.
#[derive(Clone, Debug)]
struct Draw {
    set: usize,
    action: usize,
    user: usize,
    bucket: usize,
    keys: Vec<(usize, usize)>,
    odd: usize,
    decision: usize,
    minute: u8,
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (
        (0..18_usize, 0..6_usize, 0..8_usize, 0..6_usize),
        prop::collection::vec((0..KEYS.len(), 0..6_usize), 0..8),
        (0..64_usize, 0..4_usize, 0..60_u8),
    );
    let draw = draw.prop_map(|((set, action, user, bucket), keys, (odd, decision, minute))| Draw {
        set,
        action,
        user,
        bucket,
        keys,
        odd,
        decision,
        minute,
    });
    prop::collection::vec(draw, 0..60)
}

const KEYS: [(&str, &[&str]); 12] = [
    ("aws:CurrentTime", &["2026-01-01T00:00:00Z", "2026-12-01T00:00:00Z", "noon"]),
    ("aws:PrincipalTag/Team", &["red", "blue"]),
    ("aws:SecureTransport", &["true", "false"]),
    ("aws:SourceIp", &["10.1.2.3", "192.0.2.1", "::1"]),
    ("aws:sourceip", &["10.9.9.9"]),
    ("aws:TagKeys", &["a", "b", "ab", "c"]),
    ("aws:UserAgent", &["curl", "boto", "a \\\"quoted\\\" \\u00e9 agent"]),
    ("aws:username", &["ann", "bob", "*", "a\\\\b"]),
    ("jwt:custom", &["x", "y"]),
    ("s3:RequestObjectTag/team", &["red", "none", "blue"]),
    ("s3:prefix", &["home/", "Ünicode"]),
    ("zz:unknown", &["1"]),
];

fn context(draw: &Draw) -> String {
    let mut keys = draw.keys.clone();
    keys.sort_unstable();
    keys.dedup_by_key(|(key, _)| *key);
    let pair = |(key, choice): &(usize, usize)| {
        let (name, values) = KEYS[*key];
        let chosen: Vec<_> = match choice {
            0 => Vec::new(),
            1 => values.iter().take(2).collect(),
            choice => values.iter().skip(choice % values.len()).take(1).collect(),
        };
        let chosen: Vec<_> = chosen.iter().map(|value| format!("\"{value}\"")).collect();
        format!(r#"{{"k":"{name}","v":[{}]}}"#, chosen.join(","))
    };
    keys.iter().map(pair).collect::<Vec<_>>().join(",")
}

fn line(seq: usize, draw: &Draw, sets: &[PolicySet]) -> String {
    let digest = sets.get(draw.set).map_or("ab".repeat(32), |set| hex::encode(set.digest()));
    let action = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:ListAllMyBuckets",
        "s3:getobject",
        "s3:Later",
    ][draw.action];
    let principal = [
        r#"{"account":"000000000000","arn":"arn:aws:iam::000000000000:user/ann","name":"ann","sig":"v4","type":"IAMUser"}"#,
        r#"{"access_key":"k","account":"000000000000","arn":"arn:aws:iam::000000000000:user/bob","groups":["eng","a\"b"],"name":"bob","type":"IAMUser"}"#,
        r#"{"account":"000000000000","arn":"arn:aws:iam::000000000000:root","name":"root","type":"Root"}"#,
        r#"{"sig":"none","type":"Anonymous"}"#,
        r#"{"account":"000000000000","arn":"arn:aws:sts::000000000000:assumed-role/r/s","name":"s","parent":"ann","type":"AssumedRole"}"#,
        r#"{"arn":"arn:aws:iam::000000000000:user/c\u0041l","type":"Service"}"#,
        r#"{"arn":"x","type":"Martian"}"#,
        "{}",
    ][draw.user];
    let resources = [
        r#"[{"arn":"arn:aws:s3:::b/home/ann/x","bucket":"b","key":"home/ann/x","size":3}]"#,
        r#"[{"bucket":"b","key":"p"},{"bucket":"c","key":"q"}]"#,
        r#"[{"arn":"arn:aws:s3:::c/a\"b","bucket":"c","key":"a\"b"}]"#,
        r#"[{"bucket":"b"}]"#,
        r#"[{"arn":"*"}]"#,
        "[]",
    ][draw.bucket];
    let (decision, reason) = [
        ("allow", "identity-allow"),
        ("deny", "implicit-deny"),
        ("deny", "explicit-deny"),
        ("allow", "resource-allow"),
    ][draw.decision];
    let minute = draw.minute;
    let (implied, ua) = [
        ("", ""),
        ("", r#","ua":"boto""#),
        (r#","implied":true"#, r#","ua":"curl""#),
        (r#","implied":true"#, ""),
    ][usize::from(minute) % 4];
    let whole = format!(
        r#"{{"action":"{action}","auth":{{"by":[{{"id":"identity:team#0"}}],"ctx":[{}],"decision":"{decision}","digest":"{digest}"{implied},"reason":"{reason}","us":3}},"class":"data","event":"01KBN4WBA0{seq:016}","net":{{"port":443,"src":"10.0.0.1","tls":"1.3/TLS13_AES_256_GCM_SHA384"{ua}}},"phase":"decision","principal":{principal},"resources":{resources},"seq":{seq},"time":"2026-11-23T10:{minute:02}:59.000001Z","v":1}}"#,
        context(draw),
    );
    odd(whole, draw.odd)
}

/// Most records are as the server writes them; the others are not, in one way each.
fn odd(line: String, how: usize) -> String {
    let replaced = |from: &str, to: &str| line.replacen(from, to, 1);
    match how {
        0 => replaced("\"phase\":\"decision\"", "\"phase\":\"outcome\""),
        1 => replaced("\"digest\":", "\"digest_of\":"),
        2 => replaced("\"seq\":", "\"seq\": "),
        3 => replaced("\"v\":1}", "\"v\":1,\"x\":null}"),
        4 => replaced("\"v\":1}", "\"trunc\":[{\"len\":9,\"path\":\"auth.ctx\"}],\"v\":1}"),
        5 => replaced("\"v\":1}", "\"trunc\":[{\"len\":9,\"path\":\"net.ua\"}],\"v\":1}"),
        6 => replaced("\"time\":\"2026-11-23T10", "\"time\":\"2026-11-23T25"),
        7 => replaced("\"time\":\"2026-11-23T", "\"time\":\"2026-02-30T"),
        8 => replaced("2026-11-23T10:", "2026-11-23t10:"),
        9 => replaced("\"v\":1}", "\"v\":1"),
        10 => replaced("\"v\":1}", "\"v\":01}"),
        11 => replaced("\"event\":", "\"event\":\"twice\",\"event\":"),
        12 => replaced("\"ctx\":[", "\"ctx\":[{\"k\":\"aws:Referer\"},"),
        13 => replaced("\"ctx\":[", "\"ctx\":[{\"k\":\"aws\\u003aReferer\",\"v\":[\"x\"]},"),
        14 => replaced("\"action\":\"s3:", "\"action\":\"s3 "),
        15 => replaced("\"class\":\"data\"", "\"class\":\"\\ud800\""),
        16 => replaced("\"event\":\"01K", "\"event\":\"\\ud800"),
        17 => replaced("\"class\":\"data\"", "\"class\":-1.5e3"),
        18 => replaced("\"event\":", "\"evont\":"),
        19 => replaced("\"time\":", "\"tome\":"),
        20 => replaced("\"reason\":", "\"raison\":"),
        21 => replaced("\"auth\":{", "\"uath\":{"),
        22 => replaced("\"principal\":", "\"principal_of\":"),
        23 => replaced("\"implied\":true", "\"implied\":false"),
        24 => replaced("\"implied\":true", "\"implied\":1"),
        25 => replaced("\"src\":", "\"src\":7,\"source\":"),
        26 => replaced("\"event\":\"01K", "\"event\":\"81U"),
        27 => line.chars().rev().collect(),
        28 => String::new(),
        _ => line,
    }
}

fn worlds(blobs: &Blobs, changes: &[Change]) -> (World, World) {
    let world = || {
        let blobs = Arc::clone(blobs);
        World::recorded(move |digest| blobs.get(&digest).cloned())
    };
    (world(), changes.iter().cloned().fold(world(), World::with))
}

/// Line by line, with an event of its own each.
fn slow(text: &[u8], blobs: &Blobs, changes: &[Change], options: LogOptions) -> Replayed {
    let (baseline, draft) = worlds(blobs, changes);
    let mut complaints = Vec::new();
    let mut unreadable = 0;
    let mut number = 0;
    let events: Vec<_> = (100..)
        .zip(text.split_inclusive(|byte| *byte == b'\n'))
        .filter_map(|(seq, line)| {
            let line = line.strip_suffix(b"\n").expect("a whole line");
            audit_line(seq, line).unwrap_or_else(|error| {
                unreadable += 1;
                complaints.push(Unreadable { seq, error });
                None
            })
        })
        .filter(|event| event.time_us.is_none_or(|time| options.since_us.is_none_or(|s| time >= s)))
        .filter(|_| {
            number += 1;
            number % options.every == 0
        })
        .map(|event| event.recorded)
        .collect();
    complaints.truncate(5);
    let outcome = simulate_in_detail(events.iter().cloned(), &baseline, &draft, options.detail);
    let unmatched = draft.unmatched().into_iter().map(str::to_owned).collect();
    counts(&outcome, &events, blobs);
    Replayed { outcome, unreadable, complaints, unmatched }
}

/// The recorded decisions again, each from its manifest and by the evaluator alone.
fn counts(outcome: &Outcome, events: &[Recorded], blobs: &Blobs) {
    let reproduced = |event: &&Recorded| {
        let recorded = event.recorded.as_ref().expect("of a log");
        let mut digest = [0; 32];
        hex::decode_to_slice(recorded.digest.as_deref().expect("there"), &mut digest).is_ok()
            && blobs.get(&digest).is_some_and(|manifest| {
                let set = PolicySet::from_manifest(manifest, &mut |d| blobs.get(&d).cloned());
                let decision = evaluate(&set.expect("complete"), &event.request);
                let reason = recorded.reason.as_deref();
                decision.is_allowed() == recorded.allowed
                    && reason.is_none_or(|reason| reason == decision.reason.as_str())
            })
    };
    let expected = events.iter().filter(reproduced).count();
    assert_eq!(outcome.self_check.compared, events.len() as u64);
    assert_eq!(outcome.self_check.reproduced, expected as u64);
}

fn quick(
    text: &[u8],
    blobs: &Blobs,
    changes: &[Change],
    options: LogOptions,
    piece: usize,
) -> Replayed {
    let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let chunks: Vec<_> = lines
        .chunks(piece)
        .enumerate()
        .map(|(number, lines)| {
            let first = 100 + (number * piece) as u64;
            Ok::<_, Infallible>(Chunk { first, lines: lines.concat() })
        })
        .collect();
    simulate_log(chunks.into_iter(), &|| worlds(blobs, changes), options, &|_| {})
        .expect("no chunk fails")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_quick_replay_is_the_slow_one(
        draws in draws(),
        change in 0..6_usize,
        (samples_max, prefix_depth) in (0..3_usize, 0..3_usize),
        (threads, piece) in (1..4_usize, 1..9_usize),
        (since, every) in (prop::option::of(0..60_i64), prop_oneof![3 => Just(1_u64), 1 => Just(3)]),
        broken in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let sets = sets();
        let blobs = blobs(&sets);
        let mut text = String::new();
        for (seq, draw) in draws.iter().enumerate() {
            writeln!(text, "{}", line(100 + seq, draw, &sets)).expect("written");
        }
        let options = LogOptions {
            detail: Detail { samples_max, prefix_depth },
            threads: threads.try_into().expect("some"),
            since_us: since.map(|minute| (1_795_428_000 + minute * 60) * 1_000_000),
            every,
        };
        let mut text = text.into_bytes();
        if let Some(at) = broken {
            let places: Vec<_> = (0..text.len()).filter(|at| text[*at] != b'\n').collect();
            if !places.is_empty() {
                text[*at.get(&places)] = 0xff;
            }
        }
        let changes = &changes()[change];
        let slow = slow(&text, &blobs, changes, options);
        prop_assert_eq!(quick(&text, &blobs, changes, options, piece), slow);
    }
}

proptest! {
    #[test]
    fn a_line_with_a_changed_byte_is_read_alike(
        draws in draws(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut reader = Reader::new();
        for draw in &draws {
            let mut line = line(7, draw, &[]).into_bytes();
            prop_assert_ne!(reader.agrees(&line), Some(false));
            if !line.is_empty() {
                let at = at.index(line.len());
                if cut { line.truncate(at) } else { line[at] = byte }
            }
            prop_assert_ne!(reader.agrees(&line), Some(false), "{}", String::from_utf8_lossy(&line));
        }
    }
}

#[test]
fn usual_records_are_read_quickly() {
    let mut reader = Reader::new();
    let keys = (0..KEYS.len()).map(|key| (key, 2)).collect();
    let draw =
        Draw { set: 0, action: 0, user: 1, bucket: 2, keys, odd: 99, decision: 0, minute: 9 };
    for (action, user, bucket) in [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 4), (5, 5, 5)] {
        let line = line(7, &Draw { action, user, bucket, ..draw.clone() }, &sets());
        assert_eq!(reader.agrees(line.as_bytes()), Some(true), "{line}");
    }
}

#[test]
fn an_error_of_the_source_ends_the_replay() {
    let options = LogOptions {
        detail: Detail::default(),
        threads: 3.try_into().expect("some"),
        since_us: None,
        every: 1,
    };
    let chunks = (0..100).map(|n| if n == 40 { Err("torn") } else { Ok(Chunk::default()) });
    let replayed = simulate_log(chunks, &|| (World::empty(), World::empty()), options, &|_| {});
    assert_eq!(replayed, Err("torn"));
}
