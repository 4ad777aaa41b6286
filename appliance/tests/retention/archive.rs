//! Copies somewhere else: made, recorded, locked where the store can, and put back when the records are pruned here.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::process::{Credentials, Launch, Server};
use fixtures::seaweed::Seaweed;
use serde_json::Value;

use super::scene::{BOB_SECRET, DAYS, Operator, aged, text};

const WITHIN: Duration = Duration::from_secs(120);

/// SeaweedFS with a bucket that has object lock.
fn locking(directory: &Path) -> anyhow::Result<Seaweed> {
    let credentials = Credentials {
        access_key: "archiver".to_owned(),
        secret_key: "archiver-secret-1".to_owned(),
    };
    let peer = Seaweed::start(directory, credentials, 20, None)?;
    let create = "aws s3api create-bucket --bucket vault --object-lock-enabled-for-bucket && \
                  echo 1 | aws s3 cp - s3://vault/probe";
    peer.wait(|access| aws(access, create, &directory.join("probe")).map(drop))?;
    Ok(peer)
}

/// Runs the AWS command line against a store; what it printed.
fn aws(access: &Access, script: &str, scratch: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(scratch)?;
    let mut shell = clients::shell(script, scratch)?;
    access.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "{script}: {}", clients::text(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An aged deployment that archives into the bucket `vault` of a store.
fn launched(scratch: &Path, access: &Access) -> anyhow::Result<Server> {
    let Credentials { access_key, secret_key } = &access.credentials;
    let ca = access.ca.as_ref().map(|ca| format!("ca = \"{}\"\n", ca.display()));
    let text = format!(
        "[audit]\nretention = \"3d\"\n[audit.archive]\nurl = \"{}/vault\"\naccess_key = \"{access_key}\"\n\
         secret_key = \"{secret_key}\"\nlock = \"2d\"\n{}",
        access.endpoint,
        ca.unwrap_or_default()
    );
    let settings = scratch.join("appliance.toml");
    std::fs::write(&settings, text)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch)
        .argument("--config")
        .argument(settings.as_os_str());
    aged(&launch.data_dir())?;
    launch.start()
}

/// The records of copies.
fn copies(server: &Server) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "search", "action=audit:archive", "--json", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(records.filter(|record| record["action"] == "audit:archive").collect())
}

fn param<'a>(record: &'a Value, name: &str) -> &'a str {
    let params = record["params"].as_array().into_iter().flatten();
    params.filter(|pair| pair["k"] == name).map(|pair| text(&pair["v"])).next().unwrap_or_default()
}

fn verified(dir: &Path, vkey: &Path) -> anyhow::Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "verify", "--json", "--audit-dir"])
        .arg(dir)
        .arg("--vkey")
        .arg(vkey)
        .output()?;
    serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
}

#[test]
fn pruned_records_come_back_from_a_locked_archive() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let peer = locking(&scratch.path().join("peer"))?;
    let server = launched(scratch.path(), &peer.access)?;
    let alice = Operator { server: &server, credentials: None };
    let secret = scratch.path().join("bob");
    std::fs::write(&secret, BOB_SECRET)?;
    let path = secret.display().to_string();
    ensure!(alice.run(&["user", "add", "bob", "--secret-file", &path])?.status.success());
    let attach = ["policy", "attach", "recordsOfficer", "--user", "bob"];
    ensure!(alice.run(&attach)?.status.success());
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };

    // What has no copy yet is not proposed; in the end all six days have one.
    let proposed = alice.propose(DAYS - 2)?;
    let (id, digest) = (text(&proposed["id"]), text(&proposed["digest"]));
    bob.json(&["audit", "prune", "confirm", id, "--digest", digest])?;
    let copies = copies(&server)?;
    ensure!(copies.len() as u64 >= DAYS - 2, "{copies:?}");
    let locked = |record: &&Value| param(record, "lock").starts_with("COMPLIANCE until ");
    ensure!(copies.iter().filter(locked).count() == copies.len(), "{copies:?}");
    let (launch, _) = server.stop()?;
    let audit = launch.data_dir().join("audit");
    let vkey = launch.data_dir().join("config/audit.vkey");
    let pruned = verified(&audit, &vkey)?;
    ensure!(pruned["state"] == "TAIL-UNPROVEN" && pruned["pruned"].is_object(), "{pruned}");

    // The store says so as well, and keeps what it was given.
    let key = "$(aws s3api list-objects-v2 --bucket vault --query 'Contents[?ends_with(Key, `.zst`)].Key | [0]' --output text)";
    let head = format!("aws s3api head-object --bucket vault --key \"{key}\"");
    let head = aws(&peer.access, &head, &scratch.path().join("head"))?;
    ensure!(head.contains("COMPLIANCE"), "{head}");

    // Put back where they lay, the records are the log's again.
    let restored = scratch.path().join("restored");
    let copy = Command::new("cp").arg("-r").arg(&audit).arg(&restored).output()?;
    ensure!(copy.status.success(), "{}", clients::text(&copy));
    let origin = text(&pruned["origin"]);
    let sync = format!("aws s3 sync s3://vault/{origin}/ {}", restored.display());
    aws(&peer.access, &sync, &scratch.path().join("sync"))?;
    let whole = verified(&restored, &vkey)?;
    ensure!(whole["state"] == "TAIL-UNPROVEN" && whole["pruned"].is_null(), "{whole}");
    ensure!(whole["records"] == whole["size"] && whole["size"] == pruned["size"], "{whole}");
    // What came back is checked like everything else.
    let find =
        format!("find {} -name '0000000000000000.jsonl.zst'", restored.join("seg").display());
    let first = aws(&peer.access, &find, &scratch.path().join("find"))?;
    let first = Path::new(first.trim());
    let mut bytes = std::fs::read(first)?;
    bytes[100] ^= 1;
    std::fs::write(first, bytes)?;
    let changed = verified(&restored, &vkey)?;
    ensure!(changed["state"] == "MODIFIED", "{changed}");
    Ok(())
}

#[test]
fn another_appliance_is_an_archive_without_a_lock() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let elsewhere = scratch.path().join("store");
    std::fs::create_dir(&elsewhere)?;
    let store = Server::start(env!("CARGO_BIN_EXE_appliance"), &elsewhere)?;
    let access = Access::root(&store)?;
    let server = launched(scratch.path(), &access)?;
    // The bucket is not there: nothing is copied, and nothing may be pruned.
    let alice = Operator { server: &server, credentials: None };
    let deadline = Instant::now() + WITHIN;
    loop {
        let said = alice.refused(7, &["audit", "prune", "propose", "--reason", "over"])?;
        if said.contains("the archive is at record 0") {
            break;
        }
        ensure!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(200));
    }
    aws(&access, "aws s3 mb s3://vault", &scratch.path().join("mb"))?;
    let copies = loop {
        let copies = copies(&server)?;
        if copies.len() as u64 >= DAYS - 2 {
            break copies;
        }
        ensure!(Instant::now() < deadline, "{copies:?}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(200));
    };
    ensure!(copies.iter().all(|copy| param(copy, "lock") == "the bucket has none"), "{copies:?}");
    // After a restart it goes on, and does not begin again.
    let (launch, _) = server.stop()?;
    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    alice.propose(DAYS - 2)?;
    let again = self::copies(&server)?;
    let begun = again.iter().filter(|copy| param(copy, "first") == "0").count();
    ensure!(begun == 1, "{again:?}");
    server.stop()?;
    store.stop()?;
    Ok(())
}
