//! Somebody else's tool reads the log of a running server, tile by tile, and believes none of it without the key.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::Launch;

/// A key that signed nothing here.
const STRANGER: &str =
    "audit.example.com/node1+50a5011a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n";

#[test]
fn aics_tlog_reads_the_log_of_a_running_server() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let config = scratch.path().join("appliance.toml");
    std::fs::write(&config, "[audit]\nopen = \"records\"\n")?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let server = launch.argument("--config").argument(&config).start()?;
    // More than 256 records, so that there is a full tile, and levels above it.
    let mut script =
        "for i in $(seq 3); do aws s3 mb s3://bucket-$i; done; mkdir many\n".to_owned();
    for i in 0..90 {
        writeln!(script, "echo {i} > many/{i}")?;
    }
    script +=
        "aws s3 cp --quiet --recursive many s3://bucket-1; aws s3 sync --quiet many s3://bucket-2";
    let mut shell = clients::shell(&script, scratch.path())?;
    Access::root(&server)?.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));

    let vkey = server.launch().data_dir().join("config/audit.vkey");
    let text = std::fs::read_to_string(&vkey)?;
    let origin = text.split('+').next().context("no origin")?;
    let ready = server.ready()?;
    let url = format!("{}/_/log/{origin}", ready.endpoint);
    let read = |vkey: &std::path::Path| -> anyhow::Result<std::process::Output> {
        let mut python = clients::command("python", scratch.path())?;
        if let Some(ca) = &ready.ca {
            python.env("SSL_CERT_FILE", ca);
        }
        let script = data::checkout().join("fixtures/clients/tlog_over_http.py");
        Ok(python.arg("-B").arg(script).arg(&url).arg(vkey).output()?)
    };
    let output = read(&vkey)?;
    let said = clients::text(&output);
    ensure!(output.status.success(), "{said}\nserver log:\n{}", server.log());
    let size: u64 = said.split(' ').next().unwrap_or_default().parse().context(said.clone())?;
    ensure!(size > 256, "too short to have a full tile: {said}");
    let stranger = scratch.path().join("stranger.vkey");
    std::fs::write(&stranger, STRANGER)?;
    ensure!(!read(&stranger)?.status.success(), "the tool believes any key");
    server.stop()?;
    Ok(())
}
