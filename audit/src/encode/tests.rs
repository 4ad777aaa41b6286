use std::sync::Arc;

use proptest::{collection, option, prelude::*};

use super::*;
use crate::record::*;

fn leaf(record: &Record, seq: u64) -> Vec<u8> {
    let encoded = encode(record, "n1").unwrap();
    let mut out = Vec::new();
    encoded.splice(seq, &stamp::text(1_767_225_600_123_456), &mut out);
    assert!(out.len() <= encoded.len_max());
    out
}

fn event() -> EventId {
    EventId::new(1_767_225_600_123, [7; 10])
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
        Just("\u{1}\u{1f}\"\\\n\u{7f}é\u{1f600}".repeat(900)),
    ]
}

prop_compose! {
    fn some_auth()(reason in hostile(), digest in hostile(), us in any::<u64>(),
        by in collection::vec((hostile(), option::of(hostile())), 0..12),
        ctx in collection::btree_map(hostile(), collection::vec(hostile(), 0..4), 0..5),
    ) -> Auth {
        let by = by.into_iter().map(|(id, sid)| Matched { id, sid, ver: None }).collect();
        Auth { decision: Verdict::Deny, reason, by, digest, ctx, implied: us % 2 == 0, us }
    }
}

prop_compose! {
    fn some_record()(action in hostile(), auth in option::of(some_auth()), text in hostile(), ua in option::of(hostile()),
        resources in collection::vec((hostile(), option::of(any::<u64>())), 0..120),
        params in collection::btree_map(hostile(), hostile(), 0..4),
        ec in collection::btree_map(hostile(), hostile(), 0..20),
        groups in collection::vec(hostile(), 0..40), reference in option::of(any::<u64>()),
    ) -> Record {
        let mut record = Record::new(Class::Data, action, event());
        record.auth = auth;
        record.request = Some(text.clone());
        record.net = Some(Arc::new(Net { src: text.clone(), ua, fwd: vec![text.clone(); 6], ..Net::default() }));
        record.kms = Some(Kms { op: text.clone(), key: text.clone(), ec, ..Kms::default() });
        record.principal = Some(Arc::new(Principal { kind: text.clone(), arn: Some(text.clone()), groups,
            mfa: Some(false), ..Principal::default() }));
        record.resources = resources.into_iter()
            .map(|(key, size)| Resource { key: Some(key), size, ..Resource::default() }).collect();
        record.outcome = Some(Outcome { aborted: true, ..Outcome::default() });
        record.err = Some(ErrorInfo { code: text.clone(), msg: text.clone() });
        record.sse = Some(Sse { kind: text, key: None, bucket_key: true });
        record.params = params;
        record.reference = reference;
        record
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// The oracle is another author's RFC 8785.
    #[test]
    fn any_record_is_canonical_and_bounded(record in some_record(), seq in 0u64..(1 << 53)) {
        let bytes = leaf(&record, seq);
        prop_assert!(bytes.len() <= LEAF_BYTES_MAX);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let canonical = serde_json_canonicalizer::to_vec(&value).unwrap();
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(canonical).unwrap());
        prop_assert_eq!(&value["seq"], seq);
    }
}

#[test]
fn small_record_has_only_what_it_knows() {
    let mut record = Record::new(Class::Audit, "audit:heartbeat", event());
    record.params.insert("size".into(), "7".into());
    assert_eq!(
        String::from_utf8(leaf(&record, 7)).unwrap(),
        r#"{"action":"audit:heartbeat","class":"audit","event":"01JFY4SM7V0W3GE1R70W3GE1R7","node":"n1","params":[{"k":"size","v":"7"}],"phase":"single","seq":7,"time":"2026-01-01T00:00:00.123456Z","v":1}"#
            .replace("01JFY4SM7V0W3GE1R70W3GE1R7", &event().to_string())
    );
}

#[test]
fn cut_value_leaves_its_hash() {
    let mut record = Record::new(Class::Data, "s3:GetObject", event());
    let ua = "x".repeat(300);
    record.net =
        Some(Arc::new(Net { src: "10.0.0.1".into(), ua: Some(ua.clone()), ..Net::default() }));
    let value: serde_json::Value = serde_json::from_slice(&leaf(&record, 0)).unwrap();
    assert_eq!(value["net"]["ua"].as_str().unwrap().len(), 256);
    assert_eq!(value["trunc"][0]["path"], "net.ua");
    assert_eq!(value["trunc"][0]["len"], 300);
    assert_eq!(value["trunc"][0]["sha256"], sha256_hex(ua.as_bytes()));
}
