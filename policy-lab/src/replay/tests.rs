use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Change, Class, Detail, Export, Outcome, Recorded, RecordedDecision, World, audit_line,
    request_line, simulate, simulate_in_detail,
};
use crate::{Attached, DocumentKind, Guardrails, Policy, PolicySet, canned, evaluate, report};

/// A log in memory: events as the server would have recorded them, and the blobs.
#[derive(Default)]
struct Log {
    events: Vec<Recorded>,
    blobs: HashMap<[u8; 32], String>,
}

impl Log {
    fn record(&mut self, set: &PolicySet, line: &str) {
        let event = request_line(self.events.len() + 1, line).expect("a request").expect("one");
        let decision = evaluate(set, &event.recorded.request);
        self.blobs.insert(set.digest(), set.manifest());
        self.blobs.extend(set.documents().map(|(digest, text)| (digest, text.to_owned())));
        let recorded = Some(RecordedDecision {
            allowed: decision.is_allowed(),
            reason: Some(decision.reason.as_str().to_owned()),
            digest: Some(hex::encode(set.digest())),
        });
        self.events.push(Recorded { recorded, ..event.recorded });
    }

    fn world(&self) -> World {
        let blobs = self.blobs.clone();
        World::recorded(move |digest| blobs.get(&digest).cloned())
    }

    fn simulate(&self, changes: impl IntoIterator<Item = Change>) -> Outcome {
        let draft = changes.into_iter().fold(self.world(), World::with);
        simulate(self.events.iter().cloned(), &self.world(), &draft)
    }
}

fn attached(name: &str, text: &str, kind: DocumentKind) -> Attached {
    let policy = Arc::new(Policy::parse(text, kind).expect("valid"));
    Attached { name: Arc::from(name), policy }
}

fn log() -> Log {
    let rego = "package s3.authz\nimport rego.v1\n\
        deny contains {\"id\": \"frozen\"} if input.resource.bucket == \"frozen\"\n";
    let set = |name: &str| PolicySet {
        identity: vec![canned::attached(name).expect("canned")],
        guardrails: Some(Arc::new(
            Guardrails::load(vec![("frozen.rego".into(), rego.into())]).expect("loads"),
        )),
        ..PolicySet::default()
    };
    let mut log = Log::default();
    for n in 0..4 {
        let line =
            format!(r#"{{"op":"PutObject","bucket":"b","key":"in/{n}","principal":"wendy"}}"#);
        log.record(&set("readwrite"), &line);
    }
    for line in [
        r#"{"op":"GetObject","bucket":"b","key":"in/0","principal":"wendy"}"#,
        r#"{"op":"GetObject","bucket":"b","key":"top","principal":"wendy"}"#,
        r#"{"op":"PutObject","bucket":"frozen","key":"x","principal":"wendy"}"#,
    ] {
        log.record(&set("readwrite"), line);
    }
    log.record(&set("readonly"), r#"{"op":"PutObject","bucket":"b","key":"x","principal":"rita"}"#);
    log.record(&PolicySet::default(), r#"{"op":"GetObject","bucket":"b","key":"p"}"#);
    log.record(
        &PolicySet::default(),
        r#"{"op":"ListBuckets","principal":{"arn":"arn:aws:iam::000000000000:root"}}"#,
    );
    log
}

fn classes(outcome: &Outcome) -> (u64, u64, u64) {
    let totals = outcome.totals;
    (totals.newly_denied, totals.newly_allowed, totals.reason_changed)
}

#[test]
fn the_past_is_reproduced() {
    let outcome = log().simulate([]);
    assert_eq!((outcome.self_check.compared, outcome.self_check.reproduced), (10, 10));
    assert_eq!(classes(&outcome), (0, 0, 0));
    assert_eq!(outcome.groups, []);
}

#[test]
fn reports_of_a_narrower_policy() {
    let log = log();
    let outcome =
        log.simulate([Change::Identity(vec![canned::attached("readonly").expect("canned")])]);
    assert!(outcome.self_check.holds());
    insta::assert_snapshot!("table", report::table(&outcome));
    insta::assert_snapshot!("markdown", report::markdown(&outcome));
    insta::assert_snapshot!("json", report::json(&outcome));
    let title = report::Title {
        source: "audit log /srv/audit, 10 records, verified".into(),
        baseline: "what was recorded".into(),
        draft: vec!["readonly".into()],
        file: Some("drafts/readonly.json".into()),
    };
    insta::assert_snapshot!("html", report::html(&outcome, &title));
    insta::assert_snapshot!("sarif", report::sarif(&outcome, &title));
    insta::assert_snapshot!("junit", report::junit(&outcome, &title, &[Class::NewlyDenied]));
    let detail = Detail { samples_max: 1, prefix_depth: 0 };
    let draft =
        log.world().with(Change::Identity(vec![canned::attached("writeonly").expect("canned")]));
    let outcome = simulate_in_detail(log.events.iter().cloned(), &log.world(), &draft, detail);
    let group = &outcome.groups[0];
    assert_eq!((group.prefix.as_str(), group.count, group.samples.len()), ("b/", 2, 1));
}

#[test]
fn each_kind_of_change() {
    let log = log();
    let deny = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}"#;
    let public = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::b/p"}}"#;
    let bucket = |name: &str, text| Change::Bucket {
        bucket: name.into(),
        policy: attached(name, text, DocumentKind::Bucket),
    };
    let rego = "package s3.authz\nimport rego.v1\n\
        deny contains {\"id\": \"all\"} if input.principal.type == \"root\"\n";
    let canned = |name| canned::attached(name).expect("canned");
    let named =
        |name: &str, policy: Attached| Change::Named(Attached { name: Arc::from(name), ..policy });
    let guardrail = |name: &str| Change::Guardrail { name: name.into(), text: rego.into() };
    for (change, expected) in [
        (named("readonly", canned("readwrite")), (0, 1, 0)),
        (named("nobody-has-it", canned("readwrite")), (0, 0, 0)),
        (bucket("b", deny), (6, 0, 2)),
        (bucket("b", public), (0, 1, 0)),
        (bucket("elsewhere", deny), (0, 0, 0)),
        (guardrail("root.rego"), (1, 0, 0)),
        (guardrail("frozen.rego"), (1, 1, 0)),
        (Change::Guardrails(Vec::new()), (0, 1, 0)),
        (Change::Guardrails(vec![("x.rego".into(), rego.into())]), (1, 1, 0)),
    ] {
        let outcome = log.simulate([change.clone()]);
        assert_eq!(classes(&outcome), expected, "{change:?}");
        assert!(outcome.self_check.holds());
    }
}

/// Names are data on every page, whatever they hold.
#[test]
fn a_report_has_no_markup_of_requests() {
    let evil = "<script>alert(1)</script>&\u{202e}\u{7}]]>";
    let line = serde_json::json!({"id": evil, "op": "GetObject", "bucket": evil, "key": evil, "principal": evil});
    let mut log = Log::default();
    log.record(&PolicySet::default(), &line.to_string());
    let outcome =
        log.simulate([Change::Identity(vec![canned::attached("readonly").expect("canned")])]);
    assert_eq!(outcome.totals.newly_allowed, 1);
    let title = report::Title { source: evil.into(), ..report::Title::default() };
    for text in [report::html(&outcome, &title), report::junit(&outcome, &title, &[])] {
        assert!(!text.contains("<script") && !text.contains('\u{202e}') && !text.contains('\u{7}'));
    }
}

/// A whole world in place of what was recorded: attachments by user and group, bucket policies.
#[test]
fn an_exported_world_decides_by_attachment() {
    let world = |wendys: &str| {
        let readonly = canned::source("readonly").expect("canned");
        let readwrite = canned::source("readwrite").expect("canned");
        let text = serde_json::json!({
            "schema": "appliance/world", "v": 1, "account": "000000000000",
            "users": {"wendy": {"enabled": true, "policies": [wendys]},
                      "rita": {"enabled": true, "policies": []}},
            "groups": {"readers": {"enabled": true, "members": ["rita"], "policies": ["readonly"]}},
            "policies": {"readonly": readonly, "readwrite": readwrite},
        });
        Arc::new(Export::parse(&text.to_string()).expect("a world"))
    };
    let log = log();
    let blobs = log.blobs.clone();
    let baseline =
        World::exported(world("readwrite")).with_blobs(move |digest| blobs.get(&digest).cloned());
    let draft = World::exported(world("readwrite")).with(Change::World(world("readonly")));
    let outcome = simulate(log.events.iter().cloned(), &baseline, &draft);
    // Wendy loses her five puts, the one to the frozen bucket included: the export has no guardrail.
    assert_eq!(classes(&outcome), (5, 0, 0));
    assert_eq!((outcome.self_check.compared, outcome.self_check.reproduced), (10, 10));
}

#[test]
fn what_a_record_does_not_hold_is_not_guessed() {
    let inside = r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*",
        "Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}"#;
    let draft = World::empty().with(Change::Identity(vec![attached(
        "inside",
        inside,
        DocumentKind::Identity,
    )]));
    let lines = [
        r#"{"id":"a","op":"GetObject","bucket":"b","key":"k","principal":"ann","complete":["s3:*"]}"#,
        r#"{"id":"b","op":"PutObject","bucket":"b","key":"k","principal":"ann","complete":["s3:*"]}"#,
        r#"{"id":"c","op":"GetObject","bucket":"b","key":"k","principal":"ann"}"#,
    ];
    let events =
        lines.iter().map(|line| request_line(1, line).expect("valid").expect("one").recorded);
    let outcome = simulate(events, &World::empty(), &draft);
    assert_eq!((outcome.totals.unknown, outcome.totals.newly_allowed), (1, 0));
    let [group] = outcome.groups.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(
        (group.class, &*group.after, &*group.samples),
        (Class::Unknown, "unknown", &["a".to_owned()][..])
    );
    assert_eq!(group.keys, ["aws:sourceip"]);
}

#[test]
fn drafts_that_touch_nothing_are_named() {
    let log = log();
    let named = |name: &str| {
        Change::Named(Attached {
            name: Arc::from(name),
            ..canned::attached("readonly").expect("c")
        })
    };
    let draft = log.world().with(named("readwrite")).with(named("readwirte"));
    simulate(log.events.iter().cloned(), &log.world(), &draft);
    assert_eq!(draft.unmatched(), ["readwirte"]);
}

#[test]
fn what_is_not_reproduced_or_not_found_is_said() {
    let mut log = log();
    let decision = log.events[0].recorded.as_mut().expect("recorded");
    decision.allowed = false;
    let decision = log.events[1].recorded.as_mut().expect("recorded");
    decision.reason = Some("resource-allow".to_owned());
    let decision = log.events[2].recorded.as_mut().expect("recorded");
    decision.digest = Some("00".repeat(32));
    log.events[3].recorded = None;
    let outcome = log.simulate([Change::Guardrails(Vec::new())]);
    assert_eq!((outcome.self_check.compared, outcome.self_check.reproduced), (9, 6));
    assert_eq!(outcome.totals.unresolved, 2);
    insta::assert_snapshot!("problems", report::table(&outcome));
    insta::assert_snapshot!("problems_markdown", report::markdown(&outcome));
}

#[test]
fn records_of_the_log() {
    let line = br#"{"action":"s3:PutObject","auth":{"by":[],"ctx":[{"k":"aws:SourceIp","v":["127.0.0.1"]},
        {"k":"aws:TagKeys","v":[]}],"decision":"deny","digest":"ab","reason":"implicit-deny","us":3},
        "class":"data","event":"01J","phase":"decision","principal":{"access_key":"k","account":"000000000000",
        "arn":"arn:aws:iam::000000000000:user/alice","groups":["eng"],"name":"alice","type":"IAMUser"},
        "resources":[{"arn":"arn:aws:s3:::b/k","bucket":"b","key":"k"}],"seq":12,"time":"2026-11-23T10:00:00.000001Z"}"#;
    let event = audit_line(12, line).expect("a record").expect("a decision");
    assert_eq!(event.time_us, Some(1_795_428_000_000_001));
    let Recorded { id, seq, request, recorded, complete } = event.recorded;
    assert!(complete.is_everything());
    assert_eq!((id.as_str(), seq), ("01J", Some(12)));
    assert_eq!(request.resource.arn(), "arn:aws:s3:::b/k");
    assert_eq!((request.principal.name.as_str(), request.principal.groups.len()), ("alice", 1));
    assert_eq!(request.context.get("aws:TagKeys"), Some([].as_slice()));
    assert!(recorded.is_some_and(|recorded| !recorded.allowed));

    let text = String::from_utf8_lossy(line);
    let outcome = text.replace("\"phase\":\"decision\"", "\"phase\":\"outcome\"");
    assert_eq!(audit_line(12, outcome.as_bytes()), Ok(None));
    let key_use = text.replace("\"digest\":\"ab\",", "");
    assert_eq!(audit_line(12, key_use.as_bytes()), Ok(None));
    let cut =
        text.replace("\"seq\":12", "\"seq\":12,\"trunc\":[{\"len\":9,\"path\":\"auth.ctx\"}]");
    assert!(audit_line(12, cut.as_bytes()).is_err());
}

#[test]
fn what_other_members_of_a_record_imply_holds() {
    let line = r#"{"action":"s3:PutObject","auth":{"ctx":[{"k":"aws:SecureTransport","v":["true"]}],"decision":"allow","digest":"ab","implied":true,"reason":"identity-allow","us":3},"class":"data","event":"01M8CK10XGBXFFV38TSPZZS6QT","net":{"port":443,"src":"10.0.0.1","ua":"boto3"},"phase":"decision","principal":{"account":"000000000000","arn":"arn:aws:iam::000000000000:user/alice","name":"alice","sig":"v4","type":"IAMUser"},"resources":[{"bucket":"b","key":"k"}],"seq":12,"time":"2026-11-26T18:49:03.000001Z","trunc":[],"v":1}"#;
    let context = |line: &str| {
        let event = audit_line(12, line.as_bytes()).expect("a record").expect("a decision");
        event.recorded.request.context
    };
    let read = context(line);
    for (key, value) in [
        ("aws:CurrentTime", Some("2026-11-26T18:48:59Z")),
        ("aws:SourceIp", Some("10.0.0.1")),
        ("aws:UserAgent", Some("boto3")),
        ("aws:username", Some("alice")),
        ("s3:authType", Some("REST-HEADER")),
        ("s3:TlsVersion", None),
        // Named, so that what is implied does not hold.
        ("aws:SecureTransport", Some("true")),
    ] {
        assert_eq!(read.get(key).map(|values| values.join("|")), value.map(str::to_owned), "{key}");
    }
    let named_only = context(&line.replace(",\"implied\":true", ""));
    assert_eq!(named_only.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["aws:SecureTransport"]);
    let cut = line.replace("\"trunc\":[]", "\"trunc\":[{\"len\":900,\"path\":\"net.ua\"}]");
    let whole =
        cut.replace("\"ctx\":[", "\"ctx\":[{\"k\":\"aws:UserAgent\",\"v\":[\"boto3 and more\"]},");
    let agent = ["boto3 and more".to_owned()];
    assert_eq!(context(&whole).get("aws:UserAgent"), Some(agent.as_slice()));
    let error = audit_line(12, cut.as_bytes()).expect_err("what is implied was cut");
    assert_eq!(error.message, "the record's `net.ua` was cut");
}

proptest! {
    #[test]
    fn hostile_lines(line in r#"[\[\]{}",:a-c0-9 \\]{0,40}"#) {
        let _ = request_line(1, &line);
        let _ = audit_line(1, line.as_bytes());
    }

    #[test]
    fn hostile_members(member in prop::sample::select(vec![
        "op", "action", "bucket", "key", "principal", "ctx", "recorded", "ts", "auth", "resources", "event",
    ]), value in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "[1]", "{}", "{\"arn\":1}", "{\"digest\":\"a\"}"])) {
        let line = format!(r#"{{"op":"GetObject","bucket":"b","{member}":{value}}}"#);
        let _ = request_line(1, &line);
        let line = format!(r#"{{"action":"s3:GetObject","auth":{{"digest":"a"}},"{member}":{value}}}"#);
        let _ = audit_line(1, line.as_bytes());
    }
}
