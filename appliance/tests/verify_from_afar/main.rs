//! `appliance audit verify URL`: a log that is somewhere else, by what it serves.

mod hosts;
mod liars;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::process::{Launch, Server};
use serde_json::Value;

/// What the command says.
#[derive(Debug)]
struct Verdict {
    code: i32,
    said: String,
    report: Value,
}

impl Verdict {
    fn names(&self, state: &str, file: &str) -> bool {
        let findings = self.report["findings"].as_array();
        findings.into_iter().flatten().any(|f| f["state"] == state && f["file"] == file)
    }
}

/// Runs `audit verify` where nothing of a deployment is but what the arguments name.
fn verify(place: &Path, arguments: &[&str]) -> anyhow::Result<Verdict> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    command.args(["audit", "verify", "--json"]).args(arguments).current_dir(place).env_clear();
    let output = command.output()?;
    Ok(Verdict {
        code: output.status.code().context("killed")?,
        report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        said: clients::text(&output),
    })
}

/// Stores this many objects, as root.
fn store(server: &Server, scratch: &Path, bucket: &str, objects: usize) -> anyhow::Result<()> {
    let script = format!(
        "aws s3 mb s3://{bucket} && mkdir {bucket} && for i in $(seq {objects}); do echo $i > {bucket}/$i; done \
         && aws s3 cp --quiet --recursive {bucket} s3://{bucket}"
    );
    let mut shell = clients::shell(&script, scratch)?;
    Access::root(server)?.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A checkpoint, kept where the server cannot write.
fn keep(data_dir: &Path, to: &Path) -> anyhow::Result<String> {
    std::fs::copy(data_dir.join("audit/checkpoint"), to)?;
    Ok(text(to))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}

/// Changes one letter of the first object's name in the records of the log's oldest segment.
fn tamper(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let mut segments = fixtures::data::files_below(&data_dir.join("audit/seg"))?;
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    segments.sort();
    let path = segments.into_iter().next().context("no segment")?;
    let mut bytes = std::fs::read(&path)?;
    let at = bytes.windows(12).position(|it| it == b"CreateBucket").context("no bucket")?;
    bytes[at] = b'G';
    std::fs::write(&path, bytes)?;
    Ok(path)
}

#[test]
fn a_running_log_is_verified_by_what_it_serves() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let place = scratch.path();
    let elsewhere = place.join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let config = place.join("appliance.toml");
    std::fs::write(&config, "")?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), place);
    let launch = launch.argument("--config").argument(&config);
    let server = launch.start()?;
    store(&server, place, "first", 150)?;
    let data_dir = launch.data_dir();
    let vkey = text(&data_dir.join("config/audit.vkey"));
    let earlier = keep(&data_dir, &place.join("earlier"))?;
    let url = server.ready()?.endpoint.clone();

    // With what the deployment has: its key, its authority, its credentials.
    let deployment = text(&data_dir);
    let ours = |server: &Server, since: &str| {
        let url = &server.ready()?.endpoint;
        verify(&elsewhere, &[url, "--data-dir", &deployment, "--since", since, "--strict"])
    };
    let verdict = ours(&server, &earlier)?;
    ensure!(verdict.code == 0 && verdict.report["seen"] == "records", "{verdict:?}");
    ensure!(
        verdict.report["records"].as_u64() > Some(256),
        "too short for a full tile: {verdict:?}"
    );
    let remembered = text(&place.join("seen"));
    for code in [3, 0] {
        let verdict =
            verify(&elsewhere, &[&url, "--data-dir", &deployment, "--remember", &remembered])?;
        ensure!(verdict.code == code, "{verdict:?}");
    }
    // Of strangers it asks for credentials, and there are none.
    let ca = text(&server.ready()?.ca.clone().context("no authority")?);
    let stranger = ["--vkey", &vkey, "--ca", &ca];
    let verdict = verify(&elsewhere, &[&[url.as_str()][..], &stranger].concat())?;
    ensure!(verdict.code == 2 && verdict.said.contains("not open to us"), "{verdict:?}");
    // Who trusts nobody asks nobody; and what is about directories is refused.
    let verdict = verify(&elsewhere, &[&url, "--vkey", &vkey])?;
    ensure!(verdict.code == 2, "{verdict:?}");
    let verdict = verify(&elsewhere, &[&url, "--vkey", &vkey, "--index"])?;
    ensure!(verdict.code == 2 && verdict.said.contains("about directories"), "{verdict:?}");

    rotate_key(&server)?;
    let verdict = ours(&server, &earlier)?;
    ensure!(verdict.code == 0, "the first key leads to the second: {verdict:?}");
    server.stop()?;

    // A second history from here on, which the first does not know; its hashes are open.
    let other = place.join("other");
    copy(&data_dir, &other)?;
    let server = launch.start()?;
    store(&server, place, "second", 150)?;
    let later = keep(&data_dir, &place.join("later"))?;
    let verdict = ours(&server, &later)?;
    ensure!(verdict.code == 0, "{verdict:?}");
    tamper(&data_dir)?;
    let verdict = ours(&server, &later)?;
    ensure!(verdict.code == 10 && verdict.names("MODIFIED", "tile/entries/000"), "{verdict:?}");
    server.stop()?;

    std::fs::write(&config, "[audit]\nopen = \"hashes\"\n")?;
    let forked = Launch::new(env!("CARGO_BIN_EXE_appliance"), place.join("fork"));
    std::fs::create_dir(place.join("fork"))?;
    std::fs::rename(&other, forked.data_dir())?;
    let forked = forked.argument("--config").argument(&config);
    let server = forked.start()?;
    let url = server.ready()?.endpoint.clone();
    let theirs = || {
        let since = ["--since", later.as_str()];
        verify(&elsewhere, &[&[url.as_str()][..], &stranger, &since].concat())
    };
    let verdict = theirs()?;
    ensure!(verdict.code == 13 && verdict.report["seen"] == "hashes", "{verdict:?}");
    ensure!(verdict.said.contains("records are not open to us"), "{verdict:?}");
    store(&server, &place.join("fork"), "third", 250)?;
    let verdict = theirs()?;
    ensure!(verdict.code == 14 && verdict.names("FORKED", "the head kept outside"), "{verdict:?}");
    server.stop()?;
    Ok(())
}

fn rotate_key(server: &Server) -> anyhow::Result<()> {
    let endpoint = server.ready()?.endpoint.clone();
    let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "key", "rotate", "--address", address, "--data-dir"])
        .arg(server.launch().data_dir())
        .output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}
