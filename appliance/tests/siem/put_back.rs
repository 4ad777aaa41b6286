//! The log's directory is put back to an earlier state, and the receiver remembers what came after it.
//!
//! Nothing in the directory shows it: records, heads and seals went back together. The cursors stayed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use fixtures::process::{Launch, Server};
use serde_json::Value;

use super::receiver::{Authority, Receiver, Reply};
use super::scene::until;

/// What the receiver has: batch ids with their bodies, and actions in the order in which they came.
#[derive(Default)]
struct Taken {
    batches: BTreeMap<String, Vec<String>>,
    records: Vec<(u64, String)>,
}

struct Scene {
    launch: Launch,
    config: PathBuf,
    taken: Arc<Mutex<Taken>>,
    _receiver: Receiver,
    _scratch: tempfile::TempDir,
}

impl Scene {
    /// A server that sends what `filter` wants to a receiver, and writes a CloudTrail digest every second.
    async fn new(filter: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(&scratch.path().join("tls"));
        let taken = Arc::new(Mutex::new(Taken::default()));
        let taking = Arc::clone(&taken);
        let receiver = Receiver::start(&authority, None, move |received| {
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
        let config = scratch.path().join("appliance.toml");
        let text = format!(
            "[audit.cloudtrail]\nbucket = \"trail\"\nperiod = \"1s\"\n[[siem]]\nname = \"soc\"\nkind = \"webhook\"\n\
             url = \"{}\"\nca = \"{}\"\nfilter = \"{filter}\"\n",
            receiver.url(),
            authority.ca().display(),
        );
        std::fs::write(&config, text).unwrap();
        let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
            .argument("--config")
            .argument(&config);
        Self { launch, config, taken, _receiver: receiver, _scratch: scratch }
    }

    fn start(&self) -> Server {
        self.launch.start().unwrap()
    }

    /// Runs a verb about this deployment.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_appliance"))
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .arg("--data-dir")
            .arg(self.launch.data_dir())
            .env_clear()
            .output()
            .unwrap()
    }

    /// Writes a record that the destination wants, and sends it.
    fn test(&self, server: &Server) {
        let address = server.ready().unwrap().endpoint.replace("https://", "");
        let output = self.run(&["siem", "test", "soc", "--address", &address]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn audit(&self) -> PathBuf {
        self.launch.data_dir().join("audit")
    }

    fn next(&self, exit: &str) -> u64 {
        let bytes = std::fs::read(self.launch.data_dir().join(exit).join("cursor.json")).unwrap();
        let stored: Value = serde_json::from_slice(&bytes).unwrap();
        stored["next"].as_u64().unwrap()
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

    fn verify(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["audit", "verify", "--json"], arguments].concat());
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", said(&output))))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", said(&copied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_goes_on_only_when_somebody_says_so() {
    let scene = Scene::new("class=delivery").await;
    let server = scene.start();
    scene.test(&server);
    server.stop().unwrap();
    let earlier = scene.launch.scratch.join("earlier");
    copy(&scene.audit(), &earlier);
    let server = scene.start();
    for _ in 0..3 {
        scene.test(&server);
    }
    let size = scene.next("siem/soc");
    until("delivery and a digest", || {
        (scene.next("siem/soc") > size && scene.next("cloudtrail") > size).then_some(())
    })
    .await;
    server.stop().unwrap();
    let knew = scene.next("siem/soc");
    let tests_before = scene.came("delivery:test").len();
    std::fs::remove_dir_all(scene.audit()).unwrap();
    copy(&earlier, &scene.audit());
    let (_, whole) = scene.verify(&[]);
    assert_eq!(whole["state"], "TAIL-UNPROVEN", "nothing in the directory shows it: {whole}");
    let size = whole["size"].as_u64().unwrap();
    assert!(size < knew, "{size} {knew}");

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
    let digest = message.split("accept-gap ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    assert_eq!(scene.refused().1.split("accept-gap ").nth(1), message.split("accept-gap ").nth(1));
    assert_eq!(scene.verify(&[]).1, whole);
    let accept = |digest: &str, reason: &[&str]| {
        scene.run(&[&["audit", "accept-gap", digest], reason].concat())
    };
    let reason = ["--reason", "the drive died; this is Sunday's copy"];
    assert_eq!(accept(&digest, &[]).status.code(), Some(2));
    assert_eq!(accept(&"0".repeat(64), &reason).status.code(), Some(8));
    assert_eq!(scene.verify(&[]).1, whole);
    let accepted = accept(&digest, &reason);
    assert!(accepted.status.success(), "{}", said(&accepted));
    assert!(said(&accepted).contains(&format!("siem/soc knew {knew}")), "{}", said(&accepted));
    assert!(scene.next("siem/soc") <= size && scene.next("cloudtrail") <= size);
    let twice = accept(&digest, &reason);
    assert_eq!(twice.status.code(), Some(1), "{}", said(&twice));

    // The receiver is told, though its filter wants no such record, and gets what comes under the old numbers.
    let server = scene.start();
    scene.test(&server);
    until("the record of the gap", || (scene.came("audit:gap") == [size]).then_some(())).await;
    until("what came after it", || {
        (scene.came("delivery:test").len() > tests_before).then_some(())
    })
    .await;
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
    let known = size.to_string();
    let (code, report) = scene.verify(&["--known-gap", &known]);
    assert_eq!((code, &report["state"]), (Some(3), &"TAIL-UNPROVEN".into()), "{report}");
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
