use std::fs;

use audit::{Class, SystemClock};
use policy_lab::{Action, Context, Reason, Resource};
use serde_json::Value;

use super::*;
use crate::authz::{Check, Effect, Gate, Refusal};
use crate::iam::tests::{iam_on, store_in};
use crate::kms::Local;
use crate::kms::tests::audited::{log_in, recorder_on, records_of, scope_on};
use crate::scope::Actor;
use crate::telemetry::Metrics;

/// A gate with its directory of rules, looked at by hand.
struct House {
    dir: tempfile::TempDir,
    log: Arc<audit::Log>,
    gate: Arc<Gate>,
    iam: Arc<crate::iam::Iam>,
    metrics: Arc<Metrics>,
    looker: Looker,
}

impl House {
    async fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        let rules_dir = dir.path().join("rules");
        fs::create_dir_all(rules_dir.join("shadow")).unwrap();
        for (name, text) in files {
            fs::write(rules_dir.join(name), text).unwrap();
        }
        let log = log_in(&dir.path().join("audit"));
        let store = store_in(dir.path());
        let iam = iam_on(&store).await;
        let keys = Arc::new(Local::open(dir.path(), &[1; 32]).unwrap());
        let rules = Rules::load(&rules_dir).unwrap();
        let gate = Arc::new(Gate::new(store, keys, Arc::clone(&iam), rules, recorder_on(&log)));
        let metrics = Arc::new(Metrics::new());
        let looker = Looker::new(
            rules_dir,
            Arc::clone(&gate),
            Arc::clone(&log),
            Arc::new(SystemClock),
            Arc::clone(&metrics),
        );
        Self { dir, log, gate, iam, metrics, looker }
    }

    fn rules_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("rules")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.rules_dir().join(name), text).unwrap();
    }

    /// A change counts when it was seen twice.
    fn look_twice(&mut self) {
        self.looker.look();
        self.looker.look();
    }

    /// Whether root may read the key.
    async fn allows(&self, key: &str) -> bool {
        let scope = scope_on(&self.log);
        scope.identify(Actor {
            principal: self.iam.snapshot().credential("operator").unwrap().principal,
            access_key: None,
            scheme: "v4",
            signature_sha256: None,
        });
        let check = Check {
            action: Action::parse("s3:GetObject").unwrap(),
            resource: Resource::Object { bucket: "ledger".into(), key: key.into() },
            context: Context::new(),
            class: Class::Data,
            params: [].into(),
        };
        let permit = self.gate.decide::<()>(&scope, Effect::Read, vec![check]).await;
        scope.settle().await.unwrap();
        match permit {
            Ok(_) => true,
            Err(Refusal::Denied { reason, .. }) => {
                assert_eq!(reason, Reason::Guardrail);
                false
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn records(&self, action: &str) -> Vec<Value> {
        // Whatever was appended before this record is durable with it.
        let barrier =
            audit::Record::new(Class::Audit, "audit:Test", audit::EventId::new(0, [0; 10]));
        self.log.append(&barrier).unwrap().wait().unwrap();
        records_of(&self.dir.path().join("audit"), "admin")
            .into_iter()
            .filter(|record| record["action"] == action)
            .collect()
    }
}

/// The value of one of the record's parameters.
fn param<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    let pairs = record["params"].as_array()?;
    pairs.iter().find(|pair| pair["k"] == name)?["v"].as_str()
}

fn denies(key: &str) -> String {
    format!(
        "package s3.authz\nimport rego.v1\ndeny contains {{\"id\": \"{key}\"}} if input.resource.key == \"{key}\"\n"
    )
}

#[tokio::test]
async fn a_settled_change_is_in_force_for_sets_that_were_made_before() {
    let mut house = House::new(&[("a.rego", &denies("frozen"))]).await;
    assert!(!house.allows("frozen").await && house.allows("open").await);
    house.write("a.rego", &denies("open"));
    house.looker.look();
    assert!(house.allows("open").await, "seen once only");
    house.looker.look();
    assert!(house.allows("frozen").await && !house.allows("open").await);
    let records = house.records("policy:LoadGuardrails");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert!(param(record, "sha256").is_some() && record["err"].is_null(), "{record}");
    house.look_twice();
    assert_eq!(house.records("policy:LoadGuardrails").len(), 1, "nothing changed again");
}

/// Rules that were written for another server's plugin, in its syntax, see what it shows them.
#[tokio::test]
async fn rules_for_a_plugin_narrow_too() {
    let text = "# guardrail-input: minio\npackage httpapi.authz\ndefault allow = false\n\
                allow { input.owner; input.bucket == \"ledger\"; input.object != \"frozen\" }\n";
    let house = House::new(&[("plugin.rego", text)]).await;
    assert!(!house.allows("frozen").await && house.allows("open").await);
}

#[tokio::test]
async fn what_does_not_load_keeps_the_old_and_raises_an_alarm() {
    let mut house = House::new(&[("a.rego", &denies("frozen"))]).await;
    let bad = "package s3.authz\ndeny contains {\"id\": x} if true\n";
    for alarm in 1..=2 {
        match alarm {
            1 => house.write("b.rego", bad),
            _ => fs::remove_dir_all(house.rules_dir()).unwrap(),
        }
        house.look_twice();
        house.look_twice();
        assert!(!house.allows("frozen").await);
        let records = house.records("policy:LoadGuardrails");
        assert_eq!(records.len(), alarm, "one alarm for each bad state: {records:?}");
        assert_eq!(records[alarm - 1]["err"]["code"], "GuardrailsRefused");
        assert!(house.metrics.encode().contains("appliance_guardrails_bad 1"));
    }
    fs::create_dir(house.rules_dir()).unwrap();
    house.look_twice();
    assert!(house.allows("frozen").await, "an empty directory means no guardrails");
    assert!(house.metrics.encode().contains("appliance_guardrails_bad 0"));
}

#[tokio::test]
async fn what_is_on_trial_is_recorded_and_not_enforced() {
    let house = House::new(&[("shadow/s.rego", &denies("secret"))]).await;
    assert!(house.allows("secret").await && house.allows("open").await);
    let records = house.records("policy:ShadowDeny");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record["auth"]["decision"], "deny");
    assert_eq!(record["auth"]["by"][0]["id"], "guardrail:secret");
    assert_eq!(record["resources"][0]["key"], "secret");
    assert_eq!(param(record, "action"), Some("s3:GetObject"));
    assert!(param(record, "decision").is_some());
    // A replay of the log does not take it for a decision.
    let line = serde_json::to_vec(record).unwrap();
    assert!(policy_lab::replay::audit_line(0, &line).unwrap().is_none());
}

#[test]
fn a_shadow_that_does_not_load_is_refused_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("shadow/bucket")).unwrap();
    fs::write(dir.path().join("shadow/bucket/ledger.json"), "{").unwrap();
    let error = Rules::load(dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("ledger.json"), "{error:#}");
}
