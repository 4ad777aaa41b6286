use std::path::{Path, PathBuf};
use std::sync::Mutex;

use audit::{Ed25519Signer, LocalFiles, Log, Options, SystemClock};
use futures::future::BoxFuture;
use serde_json::Value;
use storage::{DataKey, GeneratedKey, SealedKey};

use super::*;
use crate::config::Resolved;
use crate::recorder::Recorder;
use crate::scope::Scope;
use crate::server::Connection;

/// A log in `dir`.
pub(crate) fn log_in(dir: &Path) -> Arc<Log> {
    let origin = "appliance.test/1";
    let options = Options { origin: origin.into(), node: "n1".into(), ..Options::default() };
    let signer = Arc::new(Ed25519Signer::from_seed(origin, &[7; 32]));
    let files = Arc::new(LocalFiles::new(dir));
    Arc::new(Log::open(files, signer, Arc::new(SystemClock), options).unwrap().0)
}

/// The scope of a request from loopback.
pub(crate) fn scope_on(log: &Arc<Log>) -> Arc<Scope> {
    let connection = Connection {
        peer: "127.0.0.1:40000".parse().unwrap(),
        local: "127.0.0.1:9000".parse().unwrap(),
        tls: None,
    };
    Arc::new(Scope::open(recorder_on(log), Arc::new(connection), None))
}

/// A recorder as a server has one by default.
pub(crate) fn recorder_on(log: &Arc<Log>) -> Arc<Recorder> {
    let metrics = Arc::new(crate::telemetry::Metrics::new());
    let defaults = Resolved::in_directory("unused");
    let (rules, within) = (defaults.audit_rules, defaults.audit_wait);
    Arc::new(Recorder::new(Arc::clone(log), Arc::new(SystemClock), metrics, rules, within))
}

/// The records of one class that are durable now.
pub(crate) fn records_of(dir: &Path, class: &str) -> Vec<Value> {
    audit::records(dir)
        .map(|record| serde_json::from_slice::<Value>(&record.unwrap().1).unwrap())
        .filter(|record| record["class"] == class)
        .collect()
}

/// The records that tell a key operation and are durable now.
fn key_uses(dir: &Path) -> Vec<Value> {
    let records =
        audit::records(dir).map(|record| serde_json::from_slice(&record.unwrap().1).unwrap());
    records.filter(|record: &Value| record["kms"].is_object()).collect()
}

/// Notes at each call what the log on disk says at that moment.
struct Recording {
    dir: PathBuf,
    seen: Mutex<Vec<Vec<Value>>>,
    fails: bool,
}

impl Recording {
    fn new(dir: &Path, fails: bool) -> Arc<Self> {
        Arc::new(Self { dir: dir.into(), seen: Mutex::new(Vec::new()), fails })
    }

    fn note(&self) {
        self.seen.lock().unwrap().push(key_uses(&self.dir));
    }
}

impl Keys for Recording {
    fn default_key(&self) -> String {
        "chosen".to_owned()
    }
}

impl KeyService for Recording {
    fn generate<'a>(
        &'a self,
        key_id: Option<&'a str>,
        _context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        Box::pin(async move {
            self.note();
            let key_id = key_id.unwrap_or("chosen").to_owned();
            match self.fails {
                true => Err(KeyError::NotFound { key_id }),
                false => Ok(GeneratedKey {
                    key: DataKey::new([1; 32]),
                    sealed: SealedKey { key_id, version: 3, blob: vec![] },
                }),
            }
        })
    }

    fn unseal<'a>(
        &'a self,
        _sealed: &'a SealedKey,
        _context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        Box::pin(async move {
            self.note();
            if self.fails { Err(KeyError::Invalid) } else { Ok(DataKey::new([1; 32])) }
        })
    }
}

#[tokio::test]
async fn the_record_is_on_disk_before_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let scope = scope_on(&log);
    let inner = Recording::new(dir.path(), false);
    let keys = Audited::new(inner.clone(), Arc::clone(&scope));
    let home = context("ledger", "2026/q3");
    let sealed = keys.generate(Some("team"), &home).await.unwrap().sealed;
    keys.unseal(&sealed, &home).await.unwrap();

    let seen = inner.seen.lock().unwrap();
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    let (generate, decrypt) = (&seen[1][0], &seen[1][1]);
    assert_eq!(generate["action"], "kms:GenerateDataKey");
    assert_eq!(generate["kms"]["key"], "team");
    assert_eq!(generate["kms"]["parent"], scope.request_id.as_str());
    assert_eq!(generate["request"], scope.request_id.as_str());
    assert_eq!(decrypt["kms"]["op"], "Decrypt");
    assert_eq!(decrypt["kms"]["ver"], 3);
    // How they called stands in the request's own record.
    assert_eq!(decrypt["net"], serde_json::json!({"src": "127.0.0.1"}));
    let context = decrypt["kms"]["ec"].to_string();
    assert!(context.contains("ledger") && context.contains("2026/q3"), "{context}");
    assert_eq!(key_uses(dir.path()).len(), 2, "a success needs no second record");
    let page = scope.metrics.encode();
    for line in [
        "appliance_kms_requests_total{operation=\"GenerateDataKey\",result=\"success\"} 1",
        "appliance_kms_requests_total{operation=\"Decrypt\",result=\"success\"} 1",
        "appliance_audit_append_seconds_count 2",
    ] {
        assert!(page.contains(line), "no `{line}` in\n{page}");
    }
    log.close().unwrap();
}

#[tokio::test]
async fn the_only_decision_tells_the_first_key_use() {
    let decision = |scope: &Scope| {
        let mut record = scope.record(audit::Class::Data, "s3:GetObject");
        record.phase = audit::Phase::Decision;
        record
    };
    // How many decisions the scope holds, and the actions of the records that tell two key operations after them.
    for (decisions, told) in [
        (0, ["kms:Decrypt", "kms:Decrypt"]),
        (1, ["s3:GetObject", "kms:Decrypt"]),
        (2, ["kms:Decrypt", "kms:Decrypt"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(dir.path());
        let scope = scope_on(&log);
        scope.hold((0..decisions).map(|_| decision(&scope)).collect());
        scope.promise("GetObject", 200, 5);
        let inner = Recording::new(dir.path(), false);
        let keys = Audited::new(inner.clone(), Arc::clone(&scope));
        let sealed = SealedKey { key_id: "team".into(), version: 3, blob: vec![] };
        for _ in 0..2 {
            keys.unseal(&sealed, &context("ledger", "2026/q3")).await.unwrap();
        }
        let seen = inner.seen.lock().unwrap();
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2], "{decisions}");
        let actions: Vec<&Value> = seen[1].iter().map(|record| &record["action"]).collect();
        assert_eq!(actions, told, "{decisions}");
        for record in &seen[1] {
            assert_eq!((&record["kms"]["key"], &record["kms"]["ver"]), (&"team".into(), &3.into()));
            assert_eq!(record["request"], scope.request_id.as_str());
        }
        assert_eq!(seen[1][0]["result"]["code"] == 200, decisions == 1, "the promise stands");
        assert_eq!(records_of(dir.path(), "data").len(), decisions, "each decision is there");
        log.close().unwrap();
    }
}

#[tokio::test]
async fn a_failure_is_a_second_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let keys = Audited::new(Recording::new(dir.path(), true), scope_on(&log));
    let home = context("ledger", "k");
    assert!(matches!(keys.generate(Some("gone"), &home).await, Err(KeyError::NotFound { .. })));
    let records = key_uses(dir.path());
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["phase"], "single");
    assert_eq!(records[1]["phase"], "outcome");
    assert_eq!(records[1]["err"]["code"], "KeyNotFound");
    log.close().unwrap();
}

#[tokio::test]
async fn without_a_record_there_is_no_call() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let inner = Recording::new(dir.path(), false);
    let keys = Audited::new(inner.clone(), scope_on(&log));
    log.close().unwrap();
    let answer = keys.generate(None, &context("ledger", "k")).await;
    assert!(matches!(answer, Err(KeyError::Unavailable(_))));
    assert!(inner.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_nobody_named_is_recorded_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let keys = Audited::new(Recording::new(dir.path(), false), scope_on(&log));
    let generated = keys.generate(None, &context("ledger", "k")).await.unwrap();
    assert_eq!(generated.sealed.key_id, "chosen");
    assert_eq!(key_uses(dir.path())[0]["kms"]["key"], "chosen");
    log.close().unwrap();
}
