//! A deployment that is eight days old, and the people who ask it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use appliance::bootstrap::Bootstrap;
use appliance::config::Resolved;
use audit::{
    Class, Clock, Ed25519Signer, EventId, HandClock, LocalFiles, Log, Options, Principal, Record,
    Resource, SystemClock,
};
use fixtures::clients;
use fixtures::process::Server;
use serde_json::Value;

pub(crate) const DAY_US: u64 = 86_400_000_000;
/// Days of records that are there before the server is.
pub(crate) const DAYS: u64 = 8;
pub(crate) const RECORDS_A_DAY: u64 = 300;
pub(crate) const BOB_SECRET: &str = "bob's secret is long enough";

/// A deployment that is eight days old: its log was written by the same library, on earlier days.
pub(crate) fn aged(data_dir: &Path) -> anyhow::Result<()> {
    let material = Bootstrap::open_or_create(&Resolved::in_directory(data_dir))?;
    let signer = Arc::new(Ed25519Signer::from_seed(&material.origin, &material.audit_seed));
    let options = Options { origin: material.origin.clone(), ..Options::default() };
    let clock = Arc::new(HandClock::at(SystemClock.now_us() - DAYS * DAY_US));
    let files = Arc::new(LocalFiles::new(&material.paths.audit_dir));
    let (log, _) = Log::open(files, signer, Arc::clone(&clock) as Arc<dyn Clock>, options)?;
    for day in 0..DAYS {
        let records: Vec<Record> = (0..RECORDS_A_DAY).map(|i| read(day, i)).collect();
        log.append_all(&records)?.wait()?;
        clock.pass(DAY_US);
    }
    Ok(log.close()?)
}

/// Somebody reads an object; `ledger/q2` on the third day only.
pub(crate) fn read(day: u64, i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&(day * 1000 + i).to_be_bytes());
    let mut record = Record::new(Class::Data, "s3:GetObject", EventId::new(1, random));
    let key = if day == 2 && i == 7 { "q2" } else { "q1" };
    let (bucket, key) = (Some("ledger".to_owned()), Some(key.to_owned()));
    record.resources = vec![Resource { bucket, key, ..Resource::default() }];
    let name = Some("carol".to_owned());
    record.principal =
        Some(Arc::new(Principal { kind: "IAMUser".into(), name, ..Principal::default() }));
    record
}

pub(crate) struct Operator<'a> {
    pub(crate) server: &'a Server,
    pub(crate) credentials: Option<(&'a str, &'a str)>,
}

impl Operator<'_> {
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
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

    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat())?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs what must fail with this exit code, and returns what it said.
    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let said = clients::text(&output);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?} {said}", output.status);
        Ok(said)
    }

    /// Proposes until so many days are sealed and can go.
    pub(crate) fn propose(&self, days: u64) -> anyhow::Result<Value> {
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

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A verb that reads the directory.
pub(crate) fn offline(server: &Server, verb: &str) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", verb, "5", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    ensure!(output.status.code() == Some(6), "{}", clients::text(&output));
    Ok(clients::text(&output))
}

pub(crate) fn shown(server: &Server, seq: &str) -> anyhow::Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "show", seq, "--json", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
}

pub(crate) fn verified(server: &Server) -> anyhow::Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "verify", "--json", "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
}
