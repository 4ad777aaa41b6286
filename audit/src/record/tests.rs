//! `schema.json` and the encoder say the same of every member.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::{encode::encode, stamp};

fn value(record: &Record) -> Value {
    let mut leaf = Vec::new();
    encode(record, "n1").unwrap().splice(7, &stamp::text(1_767_225_600_123_456), &mut leaf);
    serde_json::from_slice(&leaf).unwrap()
}

fn empty() -> Record {
    Record::new(Class::Data, "s3:GetObject", EventId::new(1, [7; 10]))
}

/// Everything that a record can have.
fn full() -> Record {
    let text = || Some("x".to_owned());
    let pairs = || BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let resource = Resource {
        bucket: text(),
        key: text(),
        version: text(),
        arn: text(),
        etag: text(),
        size: Some(1),
    };
    Record {
        request: text(),
        principal: Some(Arc::new(Principal {
            kind: "Root".to_owned(),
            arn: text(),
            account: text(),
            id: text(),
            name: text(),
            access_key: text(),
            session: text(),
            issuer: text(),
            source_identity: text(),
            mfa: Some(true),
            groups: vec!["g".to_owned()],
            parent: text(),
            sig: "v4".to_owned(),
        })),
        sig_sha256: Some("x".into()),
        auth: Some(Auth {
            decision: Verdict::Allow,
            reason: "allow".to_owned(),
            by: vec![Matched { id: "p".to_owned(), sid: text(), ver: text() }],
            digest: "d".to_owned(),
            ctx: BTreeMap::from([("aws:SourceIp".to_owned(), vec!["::1".to_owned()])]),
            implied: true,
            us: 1,
        }),
        masked: vec!["authorization".to_owned()],
        net: Some(Arc::new(Net {
            src: "::1".to_owned(),
            fwd: vec!["::2".to_owned()],
            endpoint: text(),
            port: Some(1),
            sni: text(),
            tls: text(),
            peer_cert: text(),
            // Too long, so that something is cut.
            ua: Some("u".repeat(1000)),
        })),
        kms: Some(Kms {
            op: "Decrypt".to_owned(),
            key: "k".to_owned(),
            ver: Some(1),
            ec: pairs(),
            parent: text(),
        }),
        resources: vec![resource; 101],
        outcome: Some(Outcome { ttfb_us: Some(1), aborted: true, ..Outcome::default() }),
        sse: Some(Sse { kind: "aws:kms".to_owned(), key: text(), bucket_key: true }),
        err: Some(ErrorInfo { code: "c".to_owned(), msg: "m".to_owned() }),
        trace: Some(Trace { trace_id: "t".to_owned(), span_id: "s".to_owned() }),
        params: pairs(),
        reference: Some(1),
        ..empty()
    }
}

/// Parts that have nothing which they can do without.
fn parts() -> Record {
    let pairs = || BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    Record {
        principal: Some(Arc::new(Principal::default())),
        auth: Some(Auth {
            decision: Verdict::Deny,
            reason: String::new(),
            by: Vec::new(),
            digest: String::new(),
            ctx: BTreeMap::new(),
            implied: false,
            us: 0,
        }),
        net: Some(Arc::new(Net::default())),
        kms: Some(Kms::default()),
        resources: vec![Resource::default()],
        outcome: Some(Outcome::default()),
        sse: Some(Sse::default()),
        err: Some(ErrorInfo::default()),
        trace: Some(Trace::default()),
        params: pairs(),
        ..empty()
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Calls `see` with every object of a value below its top, and what the schema says of it.
fn objects(value: &Value, schema: &Value, path: &str, see: &mut dyn FnMut(&str, &Value, &Value)) {
    match value {
        Value::Object(members) => {
            see(path, value, schema);
            for (name, member) in members {
                let path = format!("{path}.{name}");
                objects(member, &schema["properties"][name], &path, see);
            }
        }
        Value::Array(items) => {
            assert_eq!(schema["type"], "array", "{path}");
            items.iter().for_each(|item| objects(item, &schema["items"], path, see));
        }
        Value::String(text) => match &schema["enum"] {
            Value::Array(words) => assert!(words.contains(value), "{path}: {text}"),
            _ => assert_eq!(schema["type"], "string", "{path}"),
        },
        Value::Number(_) if path == ".v" => assert_eq!(&schema["const"], value),
        Value::Number(_) => assert_eq!(schema["type"], "integer", "{path}"),
        Value::Bool(true) if path == ".auth.implied" => assert_eq!(&schema["const"], value),
        Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{path}"),
        Value::Null => panic!("{path}"),
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_owned).collect()
}

fn members(value: &Value) -> BTreeSet<String> {
    names(value.as_object().unwrap().keys().map(String::as_str))
}

#[test]
fn every_member_is_in_the_schema_and_no_other() {
    objects(&value(&full()), &schema(), "", &mut |path, value, schema| {
        assert_eq!(members(value), members(&schema["properties"]), "{path}");
        assert_eq!(schema["additionalProperties"], false, "{path}");
    });
}

#[test]
fn what_is_required_is_always_there_and_nothing_else_is() {
    let required = |schema: &Value| {
        names(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str))
    };
    assert_eq!(members(&value(&empty())), required(&schema()));
    objects(&value(&parts()), &schema(), "", &mut |path, value, schema| {
        if !path.is_empty() {
            assert_eq!(members(value), required(schema), "{path}");
        }
    });
}

#[test]
fn words_are_those_that_are_written() {
    use Class::{Admin, Audit, Authn, Data, Delivery, Kms, Mgmt, Query};
    let schema = schema();
    let words = |place: &Value| {
        names(place["enum"].as_array().into_iter().flatten().filter_map(Value::as_str))
    };
    let classes = [Data, Mgmt, Kms, Authn, Admin, Query, Audit, Delivery];
    let phases = [Phase::Single, Phase::Decision, Phase::Outcome];
    let verdicts = [Verdict::Allow, Verdict::Deny, Verdict::Error];
    let place = &schema["properties"];
    assert_eq!(words(&place["class"]), names(classes.map(Class::as_str).into_iter()));
    assert_eq!(words(&place["phase"]), names(phases.map(Phase::as_str).into_iter()));
    let decision = &place["auth"]["properties"]["decision"];
    assert_eq!(words(decision), names(verdicts.map(Verdict::as_str).into_iter()));
}
