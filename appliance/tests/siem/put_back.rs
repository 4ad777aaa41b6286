//! The log's directory is put back to an earlier state, and the receiver remembers what came after it.
//!
//! Nothing in the directory shows it: records, heads and seals went back together. The cursors stayed.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::deployment::{Deployment, said};
use super::receiver::Reply;
use super::scene::until;

/// What the receiver has: batch ids with their bodies, and actions in the order in which they came.
#[derive(Default)]
struct Taken {
    batches: BTreeMap<String, Vec<String>>,
    records: Vec<(u64, String)>,
}

struct Scene {
    deployment: Deployment,
    taken: Arc<Mutex<Taken>>,
}

impl Deref for Scene {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}

impl Scene {
    /// A server that sends what `filter` wants to a receiver, and writes a CloudTrail digest every second.
    async fn new(filter: &str) -> Self {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let taking = Arc::clone(&taken);
        let tables = |_: &Path| "[audit.cloudtrail]\nbucket = \"trail\"\nperiod = \"1s\"".into();
        let filter = format!("filter = \"{filter}\"");
        let deployment = Deployment::new(tables, &filter, move |received| {
            let body = received.json();
            let mut taken = taking.lock().unwrap();
            for record in body["data"]["records"].as_array().unwrap() {
                let action = record["action"].as_str().unwrap().to_owned();
                taken.records.push((record["seq"].as_u64().unwrap(), action));
            }
            let id = received.header("webhook-id").to_owned();
            let records = body["data"]["records"].to_string();
            let bodies = taken.batches.entry(id).or_default();
            if !bodies.contains(&records) {
                bodies.push(records);
            }
            Reply::new(200)
        })
        .await;
        Self { deployment, taken }
    }

    fn audit(&self) -> PathBuf {
        self.launch.data_dir().join("audit")
    }

    fn came(&self, action: &str) -> Vec<u64> {
        let taken = self.taken.lock().unwrap();
        let found = taken.records.iter().filter(|(_, came)| came == action);
        found.map(|(seq, _)| *seq).collect()
    }

    /// A start that must fail, with its exit code and what it says.
    fn refused(&self) -> (Option<i32>, String) {
        let output = self.run(&["serve", "--json", "--address", "127.0.0.1:0"]);
        (output.status.code(), said(&output))
    }

    fn accept(&self, digest: &str, reason: &[&str]) -> Output {
        self.run(&[&["audit", "accept-gap", digest], reason].concat())
    }

    /// Writes and delivers three records, closes the log, and puts it back to what it was before them. Returns the digest
    /// of that gap, the size of the log, and how many records the destination knows.
    async fn put_back(&self) -> (String, u64, u64) {
        let server = self.start();
        self.test(&server);
        server.stop().unwrap();
        let earlier = self.launch.scratch.join("earlier");
        copy(&self.audit(), &earlier);
        let server = self.start();
        for _ in 0..3 {
            self.test(&server);
        }
        let size = self.next("siem/soc");
        until("delivery and a digest", || {
            // A period ends with a record of a later one.
            self.test(&server);
            (self.next("siem/soc") > size && self.next("cloudtrail") > size).then_some(())
        })
        .await;
        server.stop().unwrap();
        let knew = self.next("siem/soc");
        std::fs::remove_dir_all(self.audit()).unwrap();
        copy(&earlier, &self.audit());
        let (_, whole) = self.verify(&[]);
        assert_eq!(whole["state"], "TAIL-UNPROVEN", "nothing in the directory shows it: {whole}");
        let size = whole["size"].as_u64().unwrap();
        assert!(size < knew, "{size} {knew}");
        let (code, message) = self.refused();
        assert_eq!(code, Some(8), "{message}");
        let digest = message.split("accept-gap ").nth(1).unwrap().split('`').next().unwrap();
        (digest.to_owned(), size, knew)
    }
}

const REASON: [&str; 2] = ["--reason", "the drive died; this is Sunday's copy"];

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", said(&copied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_goes_on_only_when_somebody_says_so() {
    let scene = Scene::new("class=delivery").await;
    let (digest, size, knew) = scene.put_back().await;
    let tests_before = scene.came("delivery:test").len();
    let (_, whole) = scene.verify(&[]);

    // Refused, with who knows what, and again with the same words: nothing was written.
    let (code, message) = scene.refused();
    assert_eq!(code, Some(8), "{message}");
    for part in [
        format!("the audit log has {size} records"),
        format!("siem/soc knows {knew} records"),
        "siem/soc/cursor.json".to_owned(),
        format!("cloudtrail knows {} records", scene.next("cloudtrail")),
        "`audit accept-gap ".to_owned(),
    ] {
        assert!(message.contains(&part), "{part}: {message}");
    }
    assert_eq!(scene.refused().1.split("accept-gap ").nth(1), message.split("accept-gap ").nth(1));
    assert_eq!(scene.verify(&[]).1, whole);
    assert_eq!(scene.accept(&digest, &[]).status.code(), Some(2));
    assert_eq!(scene.accept(&"0".repeat(64), &REASON).status.code(), Some(8));
    assert_eq!(scene.verify(&[]).1, whole);
    let accepted = scene.accept(&digest, &REASON);
    assert!(accepted.status.success(), "{}", said(&accepted));
    assert!(said(&accepted).contains(&format!("siem/soc knew {knew}")), "{}", said(&accepted));
    assert!(scene.next("siem/soc") <= size && scene.next("cloudtrail") <= size);
    let twice = scene.accept(&digest, &REASON);
    assert_eq!(twice.status.code(), Some(1), "{}", said(&twice));

    // The receiver is told, though its filter wants no such record, and gets what comes under the old numbers.
    let server = scene.start();
    scene.test(&server);
    until("the record of the gap", || (scene.came("audit:gap") == [size]).then_some(())).await;
    until("what came after it", || {
        (scene.came("delivery:test").len() > tests_before).then_some(())
    })
    .await;
    // Whoever sees only what the server gives out is told of it, and says that it is known, in the same way.
    let known = size.to_string();
    let url = server.ready().unwrap().endpoint.clone();
    let (code, report) = scene.verify(&[&url]);
    assert_eq!((code, &report["state"]), (Some(11), &"MISSING".into()), "{report}");
    assert_eq!((&report["seen"], &report["gaps"][0]["record"]), (&"records".into(), &size.into()));
    let (code, report) = scene.verify(&[&url, "--known-gap", &known]);
    assert_eq!((code, &report["state"]), (Some(3), &"TAIL-UNPROVEN".into()), "{report}");
    server.stop().unwrap();
    for (id, bodies) in &scene.taken.lock().unwrap().batches {
        assert_eq!(bodies.len(), 1, "one id for two batches: {id}");
    }

    // The log says what happened, to whom it is enough to know and to whom it is not.
    let (code, report) = scene.verify(&[]);
    assert_eq!((code, &report["state"]), (Some(11), &"MISSING".into()), "{report}");
    let gap = &report["gaps"][0];
    assert_eq!((&gap["record"], &gap["first"]), (&size.into(), &size.into()), "{report}");
    assert_eq!(gap["knew"]["siem/soc"].as_u64(), Some(knew), "{report}");
    assert_eq!(gap["reason"], "the drive died; this is Sunday's copy");
    assert!(gap["by"].as_str().unwrap().starts_with("uid "), "{report}");
    let (code, report) = scene.verify(&["--known-gap", &known]);
    assert_eq!((code, &report["state"]), (Some(3), &"TAIL-UNPROVEN".into()), "{report}");
}

/// The command ends after its record and before the cursors, because one of them cannot be written.
#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_that_was_interrupted_is_finished_without_a_second_record() {
    for by_a_start in [false, true] {
        let scene = Scene::new("class=delivery").await;
        let (digest, size, _) = scene.put_back().await;
        // Where the next cursor is written before it takes the place of the one before.
        let beside = scene.launch.data_dir().join("siem/soc/cursor.json.tmp");
        std::fs::create_dir(&beside).unwrap();
        let stood = scene.next("siem/soc");
        let interrupted = scene.accept(&digest, &REASON);
        assert!(!interrupted.status.success(), "{}", said(&interrupted));
        assert!(said(&interrupted).contains("siem/soc"), "{}", said(&interrupted));
        assert_eq!(scene.next("siem/soc"), stood);
        std::fs::remove_dir(&beside).unwrap();
        if !by_a_start {
            let again = scene.accept(&digest, &REASON);
            assert!(again.status.success(), "{}", said(&again));
            assert!(said(&again).contains(&format!("record {size} says")), "{}", said(&again));
            assert!(scene.next("siem/soc") <= size && scene.next("cloudtrail") <= size);
        }
        let server = scene.start();
        until("the record of the gap", || (scene.came("audit:gap") == [size]).then_some(())).await;
        server.stop().unwrap();
        let (code, report) = scene.verify(&["--known-gap", &size.to_string()]);
        let gaps = report["gaps"].as_array().unwrap().len();
        assert_eq!((code, gaps), (Some(3), 1), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_not_taken_for_one_that_was_put_back() {
    let scene = Scene::new("").await;
    let mut delivered = 0;
    for round in 0..8 {
        let server = scene.start();
        scene.test(&server);
        // Killed while it delivers what it writes, at another moment each time.
        let enough = delivered + 3 + round;
        until("a delivery", || (scene.taken.lock().unwrap().records.len() >= enough).then_some(()))
            .await;
        delivered = scene.taken.lock().unwrap().records.len();
        server.kill().unwrap();
    }
    scene.start().stop().unwrap();
    let (code, report) = scene.verify(&[]);
    assert_eq!((code, &report["gaps"]), (Some(3), &Value::Array(Vec::new())), "{report}");
}
