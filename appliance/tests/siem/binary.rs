//! The whole: `appliance serve` with a configured destination, and `appliance siem` against it.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use fixtures::process::Server;
use serde_json::Value;

use super::deployment::{Deployment, said};
use super::receiver::Reply;
use super::scene::until;

struct Operator {
    server: Server,
    deployment: Deployment,
}

impl Operator {
    fn siem(&self, arguments: &[&str]) -> Output {
        self.deployment.siem(&self.server, arguments)
    }

    fn status(&self) -> (i32, Value) {
        let output = self.siem(&["status", "--json"]);
        let status = serde_json::from_slice(&output.stdout);
        let status = status.unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
        (output.status.code().unwrap(), status)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_delivers_its_own_records_and_obeys_the_command_line() {
    let (status, seqs) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(Vec::new())));
    let (answer, taken) = (Arc::clone(&status), Arc::clone(&seqs));
    let metrics = |_: &Path| "[telemetry]\nmetrics = \"public\"".to_owned();
    let deployment = Deployment::new(metrics, "", move |received| {
        let records = received.json();
        let records = records["data"]["records"].as_array().unwrap().iter();
        let status = answer.load(Ordering::Acquire);
        if status == 200 {
            taken.lock().unwrap().extend(records.map(|record| record["seq"].as_u64().unwrap()));
        }
        Reply::new(status)
    })
    .await;
    let operator = Operator { server: deployment.start(), deployment };

    let destination = until("a delivery", || {
        let (code, status) = operator.status();
        let destination = status[0].clone();
        (code == 0 && destination["delivered"].as_u64()? > 0).then_some(destination)
    })
    .await;
    assert_eq!(destination["name"], "soc");
    assert_eq!(destination["guarantee"], "stored");
    let table = operator.siem(&["status"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("soc") && table.contains("delivering"), "{table}");

    let test = operator.siem(&["test", "soc"]);
    assert_eq!(test.status.code(), Some(0), "{}", String::from_utf8_lossy(&test.stderr));
    assert_eq!(operator.siem(&["test", "nobody"]).status.code(), Some(6));
    assert_eq!(operator.siem(&["replay", "soc"]).status.code(), Some(2));
    let zeros = || seqs.lock().unwrap().iter().filter(|seq| **seq == 0).count();
    assert_eq!(zeros(), 1);
    let replay = operator.siem(&["replay", "soc", "--from", "0"]);
    assert_eq!(replay.status.code(), Some(0), "{}", String::from_utf8_lossy(&replay.stderr));
    until("the first record again", || (zeros() == 2).then_some(())).await;

    status.store(403, Ordering::Release);
    let paused = until("a pause", || {
        let (code, status) = operator.status();
        (status[0]["state"] == "paused").then_some((code, status))
    });
    let (code, paused) = paused.await;
    assert_eq!((code, &paused[0]["last_error"]), (1, &"403 Forbidden".into()));
    assert_eq!(operator.siem(&["test", "soc"]).status.code(), Some(1));
    status.store(200, Ordering::Release);
    assert_eq!(operator.siem(&["resume", "soc"]).status.code(), Some(0));
    until("delivery after the pause", || {
        let (code, status) = operator.status();
        (code == 0 && status[0]["state"] == "delivering").then_some(())
    })
    .await;

    // What the commands did is decided and recorded like any other call.
    let (launch, ended) = operator.server.stop().unwrap();
    assert!(ended.success(), "the server ended with {ended}");
    let audit_dir = launch.data_dir().join("audit");
    for query in [
        "class=admin and action=admin:SIEMStatus and decision=allow",
        "class=admin and action=admin:SIEMControl and decision=allow",
        "class=delivery and action=delivery:replay",
        "class=delivery and action=delivery:pause",
        "class=delivery and action=delivery:resume",
        "class=delivery and action=delivery:test",
    ] {
        let parsed = audit::Query::parse(query, u64::MAX).unwrap();
        let found = audit::search(&audit_dir, &parsed, audit::SearchOptions::default()).unwrap();
        assert!(!found.rows.is_empty(), "nothing in the log matches {query}");
    }
    let cursor: Value = serde_json::from_slice(
        &std::fs::read(launch.data_dir().join("siem/soc/cursor.json")).unwrap(),
    )
    .unwrap();
    assert!(cursor["next"].as_u64().unwrap() > 10, "{cursor}");
}
