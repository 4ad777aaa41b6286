//! The copy of the log that is read is damaged while the server runs: delivery goes on from another one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::deployment::{Deployment, said};
use super::receiver::Reply;
use super::scene::until;

/// Changes a byte of the first record, on the disk of one copy.
fn rot(copy: &Path) -> PathBuf {
    let mut segments = fixtures::data::files_below(&copy.join("seg")).unwrap();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    segments.sort();
    let path = segments.swap_remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_damaged_in_one_copy_are_delivered_from_another() {
    let seqs = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&seqs);
    let mirrors = |scratch: &Path| {
        let [b, c] = ["b", "c"].map(|drive| scratch.join(drive).join("audit"));
        format!("[audit]\nmirrors = [{b:?}, {c:?}]")
    };
    let deployment = Deployment::new(mirrors, "", move |received| {
        let records = received.json();
        let records = records["data"]["records"].as_array().unwrap().iter();
        taken.lock().unwrap().extend(records.map(|record| record["seq"].as_u64().unwrap()));
        Reply::new(200)
    })
    .await;
    let firsts = || seqs.lock().unwrap().iter().filter(|seq| **seq == 0).count();
    let server = deployment.start();
    until("the first record", || (firsts() == 1).then_some(())).await;
    let damaged = rot(&deployment.launch.data_dir().join("audit"));

    let replay = deployment.siem(&server, &["replay", "soc", "--from", "0"]);
    assert!(replay.status.success(), "{}", said(&replay));
    until("the first record again", || (firsts() == 2).then_some(())).await;
    let other = deployment.launch.scratch.join("b").join("audit");
    let link = deployment.launch.data_dir().join("config").join("audit-copy");
    assert_eq!(std::fs::read_link(link).unwrap(), other);
    let told = || {
        let output = deployment.run(&["audit", "search", "action=audit:copy", "--json"]);
        said(&output).contains("damaged: ").then_some(())
    };
    until("a record of it", told).await;
    // The log is written on, and delivered.
    let before = seqs.lock().unwrap().len();
    deployment.test(&server);
    until("what comes after it", || (seqs.lock().unwrap().len() > before).then_some(())).await;
    server.stop().unwrap();

    let (code, report) = deployment.verify(&[]);
    assert_eq!((code, &report["state"]), (Some(10), &"MODIFIED".into()), "{report}");
    let file = report["findings"][0]["file"].as_str().unwrap();
    assert!(damaged.ends_with(file), "{report}");
    let vkey = deployment.launch.data_dir().join("config").join("audit.vkey");
    let alone = [other.to_str().unwrap(), "--vkey", vkey.to_str().unwrap()];
    let (code, report) = deployment.verify(&alone);
    assert_eq!((code, &report["state"]), (Some(3), &"TAIL-UNPROVEN".into()), "{report}");
}
