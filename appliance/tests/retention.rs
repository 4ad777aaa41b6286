//! The end of records, as an operator and a colleague bring it about: proposed, held, confirmed by somebody else, and proven.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use appliance::bootstrap::Bootstrap;
use appliance::config::Resolved;
use audit::{
    Class, Clock, Ed25519Signer, EventId, LocalFiles, Log, Options, Principal, Record, Resource,
    SystemClock,
};
use fixtures::clients;
use fixtures::process::{Launch, Server};
use serde_json::Value;

const DAY_US: u64 = 86_400_000_000;
/// Days of records that are there before the server is.
const DAYS: u64 = 8;
const RECORDS_A_DAY: u64 = 300;
const BOB_SECRET: &str = "bob's secret is long enough";

/// A clock that the test moves.
#[derive(Debug)]
struct Past(AtomicU64);

impl Clock for Past {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A deployment that is eight days old: its log was written by the same library, on earlier days.
fn aged(data_dir: &Path) -> anyhow::Result<()> {
    let material = Bootstrap::open_or_create(&Resolved::in_directory(data_dir))?;
    let signer = Arc::new(Ed25519Signer::from_seed(&material.origin, &material.audit_seed));
    let options = Options { origin: material.origin.clone(), ..Options::default() };
    let clock = Arc::new(Past(AtomicU64::new(SystemClock.now_us() - DAYS * DAY_US)));
    let files = Arc::new(LocalFiles::new(&material.paths.audit_dir));
    let (log, _) = Log::open(files, signer, Arc::clone(&clock) as Arc<dyn Clock>, options)?;
    for day in 0..DAYS {
        let records: Vec<Record> = (0..RECORDS_A_DAY).map(|i| read(day, i)).collect();
        log.append_all(&records)?.wait()?;
        clock.0.fetch_add(DAY_US, Ordering::Relaxed);
    }
    Ok(log.close()?)
}

/// Somebody reads an object; `ledger/q2` on the third day only.
fn read(day: u64, i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&(day * 1000 + i).to_be_bytes());
    let mut record = Record::new(Class::Data, "s3:GetObject", EventId::new(1, random));
    let key = if day == 2 && i == 7 { "q2" } else { "q1" };
    let (bucket, key) = (Some("ledger".to_owned()), Some(key.to_owned()));
    record.resources = vec![Resource { bucket, key, ..Resource::default() }];
    let name = Some("carol".to_owned());
    record.principal = Some(Principal { kind: "IAMUser".into(), name, ..Principal::default() });
    record
}

struct Operator<'a> {
    server: &'a Server,
    credentials: Option<(&'a str, &'a str)>,
}

impl Operator<'_> {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let endpoint = self.server.ready()?.endpoint.clone();
        let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.args(arguments).args(["--address", address, "--data-dir"]);
        command.arg(self.server.launch().data_dir());
        if let Some((access_key, secret)) = self.credentials {
            command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", secret);
        }
        Ok(command.output()?)
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat())?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs what must fail with this exit code, and returns what it said.
    fn refused(&self, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let said = clients::text(&output);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?} {said}", output.status);
        Ok(said)
    }

    /// Proposes until so many days are sealed and can go.
    fn propose(&self, days: u64) -> anyhow::Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let output = self.run(&["audit", "prune", "propose", "--reason", "over", "--json"])?;
            if output.status.success() {
                let proposed: Value = serde_json::from_slice(&output.stdout)?;
                if proposed["days"].as_u64() == Some(days) {
                    return Ok(proposed);
                }
            }
            if Instant::now() > deadline {
                bail!("{days} days cannot be proposed: {}", clients::text(&output));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn records_go_when_two_people_want_it_and_no_hold_keeps_them() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let settings = scratch.path().join("appliance.toml");
    std::fs::write(&settings, "[audit]\nretention = \"3d\"\n")?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
        .argument("--config")
        .argument(settings.as_os_str());
    aged(&launch.data_dir())?;
    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    let secret = scratch.path().join("bob");
    std::fs::write(&secret, BOB_SECRET)?;
    let path = secret.display().to_string();
    for arguments in [
        &["user", "add", "bob", "--secret-file", &path][..],
        &["user", "add", "carol", "--secret-file", &path],
        &["policy", "attach", "recordsOfficer", "--user", "bob"],
        &["policy", "attach", "auditor", "--user", "carol"],
    ] {
        let output = alice.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
    }
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };

    // The eighth day before now to the third one.
    let whole = alice.propose(DAYS - 2)?;
    ensure!(whole["first"] == 0 && text(&whole["by"]).ends_with(":root"), "{whole}");
    // A hold keeps the day of its record, and what comes after.
    let hold = ["audit", "hold", "--prefix", "ledger/q2", "--reason", "case 7"];
    let held = text(&alice.json(&hold)?["hold"]).to_owned();
    let (id, digest) = (text(&whole["id"]), text(&whole["digest"]));
    let said = bob.refused(7, &["audit", "prune", "confirm", id, "--digest", digest])?;
    ensure!(said.contains("case 7"), "{said}");
    let two = alice.propose(2)?;
    ensure!(two["because"].as_array().is_some_and(|why| text(&why[0]).contains(&held)), "{two}");

    // The state survives a restart, because it is in the log.
    let (launch, _) = server.stop()?;
    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };
    let carol = Operator { server: &server, credentials: Some(("carol", BOB_SECRET)) };
    let status = carol.json(&["audit", "retention"])?;
    ensure!(status["proposal"]["id"] == two["id"], "{status}");
    ensure!(status["holds"][0]["id"] == held.as_str(), "{status}");

    // Neither who proposed it, nor who may only look, nor anybody with another digest.
    let (id, digest) = (text(&two["id"]), text(&two["digest"]));
    let words = ["audit", "prune", "confirm", id, "--digest", digest];
    let said = alice.refused(5, &words)?;
    ensure!(said.contains("SamePerson"), "{said}");
    carol.refused(5, &words)?;
    carol.refused(5, &hold)?;
    let other = "0".repeat(64);
    let said = bob.refused(7, &["audit", "prune", "confirm", id, "--digest", &other])?;
    ensure!(said.contains("digest"), "{said}");
    let done = bob.json(&words)?;
    ensure!(done["first"] == two["end"], "{done}");
    bob.refused(6, &words)?;

    // What is gone is said to be, and what is left proves itself.
    let said = offline(&server, "show")?;
    ensure!(said.contains(&format!("pruned by record {}", done["record"])), "{said}");
    let record = shown(&server, &done["record"].to_string())?;
    let param = |name: &str| {
        let params = record["params"].as_array().into_iter().flatten();
        params.filter(|pair| pair["k"] == name).map(|pair| text(&pair["v"])).next()
    };
    ensure!(param("proposal") == Some(id) && param("digest") == Some(digest), "{record}");
    ensure!(param("proposed_by").is_some_and(|by| by.ends_with(":root")), "{record}");
    ensure!(param("confirmed_by").is_some_and(|by| by.ends_with("/bob")), "{record}");
    let verified = verified(&server)?;
    ensure!(verified["state"] == "TAIL-UNPROVEN", "{verified}");
    ensure!(verified["pruned"]["end"] == two["end"], "{verified}");

    // Released, the rest can go; refused, it stays.
    let release = ["audit", "release", &held, "--reason", "closed"];
    ensure!(bob.run(&release)?.status.success());
    let rest = alice.propose(4)?;
    ensure!(rest["first"] == two["end"] && rest["end"] == whole["end"], "{rest}");
    let id = text(&rest["id"]);
    ensure!(bob.run(&["audit", "prune", "refuse", id, "--reason", "not yet"])?.status.success());
    bob.refused(6, &["audit", "prune", "confirm", id, "--digest", text(&rest["digest"])])?;
    server.stop()?;
    Ok(())
}

/// A verb that reads the directory.
fn offline(server: &Server, verb: &str) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", verb, "5", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    ensure!(output.status.code() == Some(6), "{}", clients::text(&output));
    Ok(clients::text(&output))
}

fn shown(server: &Server, seq: &str) -> anyhow::Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "show", seq, "--json", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
}

fn verified(server: &Server) -> anyhow::Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "verify", "--json", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
}
