//! Records as a server writes them, for the benches.

use std::sync::{Arc, LazyLock};

use audit::*;

/// Where the log says that it comes from.
pub(crate) const ORIGIN: &str = "audit.example.com/bench";
/// The policy set that every decision names; the verifier looks for it.
pub(crate) const POLICIES: &[u8] = b"{}";
static DIGEST: LazyLock<String> = LazyLock::new(|| Sha256Hex::of(POLICIES).into());

/// A read as the server records it, with the members that it really has.
pub(crate) fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let event = EventId::new(1_767_225_600_000 + i / 100, random);
    let mut record = Record::new(Class::Data, "s3:GetObject", event);
    record.request = Some(format!("{:016X}", 0x17CD_C1F4_D7E6_0000 + i));
    record.sig_sha256 =
        Some("0f343b0931126a20f133d67c2b018a3b0f343b0931126a20f133d67c2b018a3b".into());
    record.principal = Some(Arc::new(Principal {
        kind: "IAMUser".into(),
        arn: Some(format!("arn:aws:iam::123456789012:user/u{}", i % 2000)),
        account: Some("123456789012".into()),
        access_key: Some("AKIAIOSFODNN7EXAMPLE".into()),
        sig: "v4".into(),
        ..Default::default()
    }));
    record.auth = Some(Auth {
        decision: if i.is_multiple_of(50) { Verdict::Deny } else { Verdict::Allow },
        reason: "identity-allow".into(),
        by: vec![Matched { id: "readonly".into(), sid: Some("AllowRead".into()), ver: None }],
        digest: DIGEST.clone(),
        ctx: [("s3:prefix".to_owned(), vec!["10.1.2.3".to_owned()])].into(),
        implied: true,
        us: 41,
    });
    record.net = Some(Arc::new(Net {
        src: format!("10.1.{}.{}", i % 64, i % 251),
        tls: Some("1.3/TLS_AES_128_GCM_SHA256".into()),
        ua: Some("aws-cli/2.17.1".into()),
        ..Default::default()
    }));
    record.resources = vec![Resource {
        bucket: Some(format!("bucket-{}", i % 500)),
        key: Some(format!("year=2026/month=01/part-{i:08}.parquet")),
        version: Some("null".into()),
        ..Default::default()
    }];
    record.outcome = Some(Outcome { code: 200, bytes_out: 40960, us: 3120, ..Default::default() });
    record
}
