//! A log whose oldest days were pruned: what is gone is proven by its hash, and the rest is whole from afar.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use appliance::bootstrap::Bootstrap;
use appliance::config::Resolved;
use audit::{
    Class, Clock, Ed25519Signer, EventId, HandClock, LocalFiles, Log, Options, PruneBounds, Pruned,
    Record, SystemClock, plan_prune, read_record,
};
use fixtures::clients;
use fixtures::process::Launch;
use sha2::{Digest as _, Sha256};

const DAY_US: u64 = 86_400_000_000;
const DAYS: u64 = 3;
/// Not a multiple of 256, so that a bundle has records of both kinds.
const RECORDS_A_DAY: u64 = 300;
const PLANNED_WITHIN: Duration = Duration::from_secs(90);

fn record(action: &str, i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let class = if action.starts_with("audit:") { Class::Audit } else { Class::Data };
    Record::new(class, action, EventId::new(1, random))
}

/// A deployment of which the first day is gone, and one of its records.
fn pruned(data_dir: &Path) -> anyhow::Result<(Pruned, Vec<u8>)> {
    let material = Bootstrap::open_or_create(&Resolved::in_directory(data_dir))?;
    let signer = Arc::new(Ed25519Signer::from_seed(&material.origin, &material.audit_seed));
    let options = Options { origin: material.origin.clone(), ..Options::default() };
    let begin_us = SystemClock.now_us() - DAYS * DAY_US;
    let clock = Arc::new(HandClock::at(begin_us));
    let dir = &material.paths.audit_dir;
    let files = Arc::new(LocalFiles::new(dir));
    let (log, _) = Log::open(files, signer, Arc::clone(&clock) as Arc<dyn Clock>, options)?;
    for day in 0..DAYS {
        let of_day = |i| record("s3:GetObject", day * RECORDS_A_DAY + i);
        let records: Vec<Record> = (0..RECORDS_A_DAY).map(of_day).collect();
        log.append_all(&records)?.wait()?;
        clock.pass(DAY_US);
    }
    let kept = read_record(dir, 5)?.context("no record 5")?;
    let bounds = PruneBounds { before_us: begin_us - begin_us % DAY_US + DAY_US, below: u64::MAX };
    let deadline = Instant::now() + PLANNED_WITHIN;
    let plan = loop {
        if let Some(plan) = plan_prune(dir, bounds)? {
            break plan;
        }
        ensure!(Instant::now() < deadline, "the first day is not sealed");
        std::thread::yield_now();
    };
    let pruned = log.prune(&plan, record("audit:prune", u64::MAX))?;
    log.close()?;
    Ok((pruned, kept))
}

#[test]
fn a_pruned_record_is_proven_by_its_hash() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let data_dir = launch.data_dir();
    let (pruned, record) = pruned(&data_dir)?;
    let vkey = scratch.path().join("log.vkey");
    std::fs::copy(data_dir.join("config/audit.vkey"), &vkey)?;
    let proof = scratch.path().join("proof");
    let output = run(
        &["audit", "prove", "5", "--json", "--data-dir"],
        &[&data_dir, Path::new("--out"), &proof],
    )?;
    let said = clients::text(&output);
    ensure!(output.status.success() && said.contains("record 5 was pruned by record"), "{said}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["pruned"]["record"] == pruned.record, "{told}");
    let guide = std::fs::read_to_string(proof.join("VERIFY.md"))?;
    ensure!(guide.contains(&format!("audit prove {}", pruned.record)), "{guide}");
    let hash = std::fs::read_to_string(proof.join("record.sha256"))?;
    let leaf = Sha256::new().chain_update([0]).chain_update(&record).finalize();
    ensure!(hash.trim_end() == hex::encode(leaf), "{hash}");

    // With nothing but the key: the hash, then the record itself where somebody has it, and neither another.
    let verify = |valid: Option<&str>| -> anyhow::Result<()> {
        let ours = run(&["audit", "verify", "--proof"], &[&proof, Path::new("--vkey"), &vkey])?;
        let script = proof.join("check.py");
        let theirs = Command::new("python3").arg("-B").arg(script).arg(&vkey).output()?;
        for output in [ours, theirs] {
            let said = clients::text(&output);
            let expected = valid.map_or(!output.status.success(), |what| {
                output.status.success() && said.starts_with(&format!("VALID: {what} 5 "))
            });
            ensure!(expected, "{said}");
        }
        Ok(())
    };
    verify(Some("the hash of the pruned record"))?;
    std::fs::write(proof.join("record.sha256"), hash.replace(char::is_numeric, "z"))?;
    verify(None)?;
    std::fs::write(proof.join("record.sha256"), format!("{}\n", "00".repeat(32)))?;
    verify(None)?;
    std::fs::write(proof.join("record.json"), &record)?;
    verify(Some("record"))?;
    std::fs::write(proof.join("record.json"), b"{}")?;
    verify(None)?;
    // What never was has no hash.
    let output = run(&["audit", "prove", "999999", "--data-dir"], &[&data_dir])?;
    ensure!(output.status.code() == Some(6), "{}", clients::text(&output));

    from_afar(&launch, &vkey, pruned)
}

/// The running server does not give out the records, and the log is whole.
fn from_afar(launch: &Launch, vkey: &Path, pruned: Pruned) -> anyhow::Result<()> {
    let server = launch.start()?;
    let url = server.ready()?.endpoint.clone();
    let kept = vkey.with_file_name("kept");
    std::fs::copy(launch.data_dir().join("audit/checkpoint"), &kept)?;
    let verify = |data_dir: &Path| {
        run(
            &["audit", "verify", &url, "--json", "--data-dir"],
            &[data_dir, Path::new("--since"), &kept],
        )
    };
    let output = verify(&launch.data_dir())?;
    let said = clients::text(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context(said.clone())?;
    ensure!(output.status.code() == Some(0) && report["seen"] == "records", "{said}");
    ensure!(report["pruned"]["end"] == pruned.end, "{said}");
    ensure!(
        report["records"].as_u64() > Some(0)
            && report["records"].as_u64() < report["size"].as_u64(),
        "{said}"
    );
    server.stop()?;
    Ok(())
}

fn run(arguments: &[&str], paths: &[&Path]) -> anyhow::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    Ok(command.args(arguments).args(paths).output()?)
}
